package edit

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// TestMain is also the program at the end of the pty: the popup editor works on
// the process's own terminal only.
func TestMain(m *testing.M) {
	if kind := os.Getenv("BMP_EDIT_CHILD"); kind != "" {
		os.Exit(editorChild(kind))
	}
	os.Exit(m.Run())
}

// editorChild reads lines until Ctrl-D and says each. `flood` is a command
// during which events come; `slow` is one that runs until Ctrl-C.
func editorChild(kind string) int {
	t, err := OpenTerminal(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	o := ReadlineOptions{In: t, Out: os.Stdout, Assistant: routerWords, Size: t.Size, Resized: t.Resized(), Restore: t.Close, Lend: t.Lend,
		History: &History{}, Paste: true}
	var ed interface {
		Editor
		Remember(string) error
	}
	if kind == "popup" {
		ed, err = NewPopup(o)
	} else {
		ed, err = NewReadline(o)
	}
	if err != nil {
		t.Close()
		fmt.Println(err)
		return 1
	}
	defer ed.Close()
	for {
		line, err := ed.ReadLine(context.Background(), "bmp# ")
		switch {
		case err == ErrInterrupt:
			fmt.Fprintln(ed.Out(), "interrupted")
			continue
		case err == io.EOF:
			fmt.Fprintln(ed.Out(), "bye")
			return 0
		case err != nil:
			fmt.Fprintln(ed.Out(), err)
			return 1
		}
		ed.Remember(line)
		fmt.Fprintf(ed.Out(), "got %q\n", line)
		switch line {
		case "event":
			time.AfterFunc(time.Millisecond, func() { fmt.Fprintln(ed.Async(), "an event") })
		case "slow":
			<-ed.Interrupts()
			fmt.Fprintln(ed.Out(), "cancelled")
		case "lend":
			resume := ed.Suspend()
			cmd := exec.Command("sh", "-c", "stty -a | tr ' ;' '\\n\\n' | grep -x -e icanon -e -icanon")
			cmd.Stdin, cmd.Stdout = os.Stdin, ed.Out()
			cmd.Run()
			resume()
		}
	}
}

// A ptyScreen is a child on a pseudo-terminal.
type ptyScreen struct {
	*testScreen
	cmd *exec.Cmd
	tty *os.File
}

func startChild(t *testing.T, kind string, cols, rows int) *ptyScreen {
	t.Helper()
	s := newScreen(t, cols, rows)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BMP_EDIT_CHILD="+kind, "TERM=xterm")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)})
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	p := &ptyScreen{s, cmd, tty}
	go io.Copy(rawScreen{s}, tty)
	go io.Copy(tty, s.in)
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		tty.Close()
	})
	s.shows("bmp#")
	return p
}

// rawScreen takes what a terminal driver has dealt with already.
type rawScreen struct{ s *testScreen }

func (r rawScreen) Write(p []byte) (int, error) {
	r.s.vt.Write(p)
	select {
	case r.s.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestOnATerminal(t *testing.T) {
	for _, kind := range []string{"popup", "readline"} {
		contains := func(want string) func(string) bool {
			return func(text string) bool { return strings.Contains(text, want) }
		}
		ends := func(want string) func(string) bool {
			return func(text string) bool { return strings.HasSuffix(text, want) }
		}
		t.Run(kind, func(t *testing.T) {
			p := startChild(t, kind, 80, 30)
			p.typeKeys("show x\r")
			p.until("the line", contains("got \"show x\"\n"))
			p.typeKeys("abc\x03")
			p.until("Ctrl-C", contains("interrupted\n"))
			p.typeKeys("slow\r")
			p.until("the command runs", contains("got \"slow\""))
			p.typeKeys("\x03")
			p.until("the command is cancelled", contains("cancelled"))
			p.typeKeys("event\r")
			p.until("an event while the prompt waits", contains("an event\nbmp#"))
			p.typeKeys("lend\r")
			p.until("the terminal as it was found", contains("icanon\n"))
			if text, _, _ := p.text(); strings.Contains(text, "-icanon") {
				t.Errorf("lent in raw mode:\n%s", text)
			}
			p.typeKeys("show c?")
			p.until("the table", contains("  clients  all clients\n"))
			p.typeKeys("\x15") // the line away
			p.typeKeys("\x1b[200~a?b\x1b[201~\r")
			p.until("pasted text", contains("got \"a?b\"\n"))
			p.typeKeys("\x1a\x04")
			p.until("the end", ends("bye"))
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("exit: %v", err)
			}
		})
	}
}

func TestPopupSuggests(t *testing.T) {
	p := startChild(t, "popup", 80, 30)
	p.typeKeys("cli")
	p.until("suggestions with their helps", func(text string) bool {
		return strings.Contains(text, "clients") && strings.Contains(text, "all clients") && !strings.Contains(text, "clear")
	})
	p.typeKeys("\t\r")
	p.until("the first one taken", func(text string) bool { return strings.Contains(text, "got \"clients\"") })
	p.typeKeys("\x12\r")
	p.until("Ctrl-R finds it again", func(text string) bool { return strings.Count(text, "got \"clients\"") == 2 })
	p.typeKeys("x\x1b[A\x1b[A\r")
}

func TestPopupNeedsATerminal(t *testing.T) {
	_, err := NewPopup(ReadlineOptions{In: strings.NewReader(""), Out: io.Discard, Size: func() (int, int) { return 0, 0 }})
	if err != ErrNoTerminal {
		t.Errorf("error %v", err)
	}
}
