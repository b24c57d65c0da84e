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

	"bmp/shell/edit/edittest"
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

func startChild(t *testing.T, kind string, cols, rows int) *edittest.Child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BMP_EDIT_CHILD="+kind, "TERM=xterm")
	p := edittest.Start(t, cmd, cols, rows)
	p.Shows("bmp#")
	return p
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
			p.Type("show x\r")
			p.Until("the line", contains("got \"show x\"\nbmp#"))
			p.Type("abc\x03")
			p.Until("Ctrl-C", contains("interrupted\n"))
			p.Type("slow\r")
			p.Until("the command runs", contains("got \"slow\""))
			p.Type("\x03")
			p.Until("the command is cancelled", contains("cancelled"))
			p.Type("event\r")
			p.Until("an event while the prompt waits", contains("an event\nbmp#"))
			p.Type("lend\r")
			p.Until("the terminal as it was found", contains("icanon\n"))
			if text, _, _ := p.Text(); strings.Contains(text, "-icanon") {
				t.Errorf("lent in raw mode:\n%s", text)
			}
			p.Type("show c?")
			p.Until("the table", contains("  clients  all clients\n"))
			p.Type("\x15") // the line away
			p.Type("\x1b[200~a?b\x1b[201~\r")
			p.Until("pasted text", contains("got \"a?b\"\n"))
			p.Type("\x1a\x04")
			p.Until("the end", ends("bye"))
			p.Exits(0)
		})
	}
}

func TestPopupSuggests(t *testing.T) {
	p := startChild(t, "popup", 80, 30)
	p.Type("cli")
	p.Until("suggestions with their helps", func(text string) bool {
		return strings.Contains(text, "clients") && strings.Contains(text, "all clients") && !strings.Contains(text, "clear")
	})
	p.Type("\t\r")
	p.Until("the first one taken", func(text string) bool { return strings.Contains(text, "got \"clients\"") })
	p.Type("\x12\r")
	p.Until("Ctrl-R finds it again", func(text string) bool { return strings.Count(text, "got \"clients\"") == 2 })
	p.Type("x\x1b[A\x1b[A\r")
}

func TestPopupNeedsATerminal(t *testing.T) {
	_, err := NewPopup(ReadlineOptions{In: strings.NewReader(""), Out: io.Discard, Size: func() (int, int) { return 0, 0 }})
	if err != ErrNoTerminal {
		t.Errorf("error %v", err)
	}
}
