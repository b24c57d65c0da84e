// Package edittest is a terminal for tests: keys go in, and what a program
// draws is seen as a person would see it.
//
//	Screen   a terminal in memory
//	Child    a program at the end of a pseudo-terminal, on such a screen
package edittest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
)

// limit is how long a test waits for what must come.
const limit = time.Minute

// Screen is a terminal in memory. Its methods are for the test's goroutine, but
// for Write, Size and Text.
type Screen struct {
	// In is where keys come from.
	In io.Reader
	// Resized says that Size has changed.
	Resized chan struct{}
	T       *testing.T

	vt   vt10x.Terminal
	keys *io.PipeWriter

	mu      sync.Mutex
	cols    int
	rows    int
	written strings.Builder // everything, as it was written
	changed chan struct{}   // a signal after every write
}

// New returns a terminal.
func New(t *testing.T, cols, rows int) *Screen {
	s := &Screen{T: t, vt: vt10x.New(vt10x.WithSize(cols, rows)), cols: cols, rows: rows,
		changed: make(chan struct{}, 1), Resized: make(chan struct{}, 1)}
	in, keys := io.Pipe()
	s.In, s.keys = in, keys
	t.Cleanup(func() { keys.Close() })
	return s
}

// Write implements io.Writer as a terminal with ONLCR does.
func (s *Screen) Write(p []byte) (int, error) {
	s.draw([]byte(strings.ReplaceAll(string(p), "\n", "\r\n")))
	return len(p), nil
}

func (s *Screen) draw(p []byte) {
	s.vt.Write(p)
	s.mu.Lock()
	s.written.Write(p)
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Size is the terminal's.
func (s *Screen) Size() (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cols, s.rows
}

// Resize gives the terminal another size.
func (s *Screen) Resize(cols, rows int) {
	s.mu.Lock()
	s.cols, s.rows = cols, rows
	s.mu.Unlock()
	s.vt.Resize(cols, rows)
	select {
	case s.Resized <- struct{}{}:
	default:
	}
}

// Type sends keys as they are: \r for Enter.
func (s *Screen) Type(keys string) {
	s.T.Helper()
	if _, err := io.WriteString(s.keys, keys); err != nil {
		s.T.Fatal(err)
	}
}

// Written is everything that was written until now, escape sequences too.
func (s *Screen) Written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String()
}

// Text is the screen without trailing blanks, and the cursor's place.
func (s *Screen) Text() (string, int, int) {
	s.vt.Lock()
	defer s.vt.Unlock()
	cols, rows := s.vt.Size()
	var lines []string
	for y := range rows {
		var b strings.Builder
		for x := range cols {
			if c := s.vt.Cell(x, y).Char; c == 0 {
				b.WriteByte(' ')
			} else {
				b.WriteRune(c)
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	c := s.vt.Cursor()
	return strings.TrimRight(strings.Join(lines, "\n"), "\n"), c.X, c.Y
}

// Until waits until the screen is as cond wants it.
func (s *Screen) Until(what string, cond func(text string) bool) {
	s.T.Helper()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		if text, _, _ := s.Text(); cond(text) {
			return
		}
		select {
		case <-s.changed:
		case <-end.C:
			text, x, y := s.Text()
			s.T.Fatalf("%s: not on the screen (cursor %d,%d):\n%s", what, x, y, text)
		}
	}
}

// Shows waits for a whole screen.
func (s *Screen) Shows(want string) {
	s.T.Helper()
	want = strings.Trim(want, "\n")
	s.Until(fmt.Sprintf("want\n%s\n", want), func(text string) bool { return text == want })
}

// Ends waits for the end of the screen.
func (s *Screen) Ends(want string) {
	s.T.Helper()
	want = strings.Trim(want, "\n")
	s.Until(fmt.Sprintf("want at the end\n%s\n", want), func(text string) bool {
		return strings.HasSuffix(text, want)
	})
}

// Holds waits for text anywhere on the screen.
func (s *Screen) Holds(want string) {
	s.T.Helper()
	s.Until(fmt.Sprintf("want %q", want), func(text string) bool { return strings.Contains(text, want) })
}

// CursorAt waits for the cursor's place.
func (s *Screen) CursorAt(x, y int) {
	s.T.Helper()
	s.Until(fmt.Sprintf("cursor at %d,%d", x, y), func(string) bool {
		_, cx, cy := s.Text()
		return cx == x && cy == y
	})
}

// Child is a program at the end of a pseudo-terminal.
type Child struct {
	*Screen
	Cmd *exec.Cmd
	TTY *os.File // our end

	before unix.Termios
	line   *os.File // its end
	ended  chan struct{}
	status int
}

// Start runs a program on a terminal of its own. It is killed when the test
// ends. Without a pseudo-terminal the test is skipped.
func Start(t *testing.T, cmd *exec.Cmd, cols, rows int) *Child {
	t.Helper()
	master, line, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	c := &Child{Screen: New(t, cols, rows), Cmd: cmd, TTY: master, line: line, ended: make(chan struct{})}
	if err := pty.Setsize(master, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)}); err != nil {
		t.Fatal(err)
	}
	c.before = c.Modes()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, line
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := master.Read(buf)
			c.draw(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	go io.Copy(master, c.In)
	go func() {
		defer close(c.ended)
		cmd.Wait()
		c.status = cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-c.ended
		line.Close()
		master.Close()
	})
	return c
}

// Resize gives the terminal another size, which its program is told.
func (c *Child) Resize(cols, rows int) {
	c.T.Helper()
	c.Screen.Resize(cols, rows)
	if err := pty.Setsize(c.TTY, &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows)}); err != nil {
		c.T.Fatal(err)
	}
}

// Modes are those of the terminal now.
func (c *Child) Modes() unix.Termios {
	c.T.Helper()
	m, err := unix.IoctlGetTermios(int(c.line.Fd()), unix.TCGETS)
	if err != nil {
		c.T.Fatal(err)
	}
	return *m
}

// Ended reports whether the program has ended.
func (c *Child) Ended() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// Exits waits for the program's end and checks its status, and that it left the
// terminal as it found it. A status of -1 is any signal.
func (c *Child) Exits(status int) {
	c.T.Helper()
	select {
	case <-c.ended:
	case <-time.After(limit):
		text, _, _ := c.Text()
		c.T.Fatalf("still running; screen:\n%s", text)
	}
	if c.status != status {
		text, _, _ := c.Text()
		c.T.Errorf("exit status %d, want %d; screen:\n%s", c.status, status, text)
	}
	if after := c.Modes(); after != c.before {
		c.T.Errorf("the terminal was left in other modes: %+v, before %+v", after, c.before)
	}
}
