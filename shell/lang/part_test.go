package lang

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// A conversation is one Runner that is given one source after the other.
type conversation struct {
	t      *testing.T
	r      *Runner
	f      *fakeStation
	stdout bytes.Buffer
	stderr bytes.Buffer
}

func newConversation(t *testing.T, files map[string]string) *conversation {
	c := &conversation{t: t, f: &fakeStation{results: map[string]Result{
		"show client 9": {Status: 1, Message: "No client '9'", Col: 13, Len: 1},
		"bogus":         {Status: 127, Abort: true, Message: "Invalid command: bogus (try 'help')", Col: 1, Len: 5},
	}, answers: map[string]string{"show clients": "one\ntwo\n"}}}
	var err error
	c.r, err = New(Options{Exec: c.f.exec, Stdout: &c.stdout, Stderr: &c.stderr, MaxSteps: 20000, MaxDepth: 50, MaxMemory: 1 << 20,
		Source: func(name string) ([]byte, error) {
			text, ok := files[name]
			if !ok {
				return nil, os.ErrNotExist
			}
			return []byte(text), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run gives a source and returns its status, and what was said of errors.
func (c *conversation) run(source string) (int, string) {
	c.t.Helper()
	c.f.lines = nil
	c.stderr.Reset()
	c.stdout.Reset()
	s, err := c.r.Parse("t", []byte(source))
	if err != nil {
		return err.(*Error).Status, err.Error()
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	status, err := c.r.Run(ctx, s)
	if err != nil {
		return status, c.stderr.String() + err.Error()
	}
	return status, strings.TrimSpace(c.stderr.String())
}

func (c *conversation) want(source string, status int, said string, lines ...string) {
	c.t.Helper()
	gotStatus, got := c.run(source)
	if gotStatus != status || got != said {
		c.t.Errorf("%q: status %d, %q; want %d, %q", source, gotStatus, got, status, said)
	}
	if got := strings.Join(c.f.lines, "\n"); got != strings.Join(lines, "\n") {
		c.t.Errorf("%q sent\n%s\nwant\n%s", source, got, strings.Join(lines, "\n"))
	}
}

func TestVariablesAndFunctionsStay(t *testing.T) {
	c := newConversation(t, nil)
	c.want("x=5", 0, "")
	c.want("show client $x", 0, "", "show client 5")
	c.want("f() {\n  show clients\n  show client 9\n  show client $1 | include a|b\n}", 0, "")
	if c.r.IsPlain("f 7") || !c.r.IsPlain("show clients") {
		t.Error("a call of a function is plain, or a command is not")
	}
	// Lines of a script that ran before keep their places and their words.
	c.want("echo much in between; echo and more; echo and more\nf 7", 0, "t:3:15: % No client '9'", "show clients", "show client 9", "show client 7 | include 'a|b'")
	c.want("f 8 | count", 0, "t:3:15: % No client '9'", "show clients", "show client 9", "show client 8 | include 'a|b'",
		"count < one\ntwo")
	for range 100 {
		c.want("x=1; : aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, "")
	}
	if n := len(c.r.parts); n != 1 {
		t.Errorf("%d parts are kept", n)
	}
	c.want("f() { show new; }", 0, "")
	c.want("f", 0, "", "show new")
}

func TestEvalAndSource(t *testing.T) {
	c := newConversation(t, map[string]string{
		"lib":   "! a library\ng() {\n  show g $1 'x y'\n  bogus\n}\ny=7\nshow clients | include a|b\n",
		"lib2":  "late() {\n  show late $1\n}\n",
		"wrong": "show a\nif true; then\n",
		"self":  "source self\n",
	})
	c.want("eval 'show client $((1+2)) | include a|b | count'", 0, "", "show client 3 | include 'a|b' | count")
	c.want("x='show  plain'; eval $x; eval \"$x\"", 0, "", "show plain", "show  plain")
	c.want("for i in 1 2 3; do eval \"v$i=$i; show client \\$v$i\"; done", 0, "", "show client 1", "show client 2", "show client 3")
	c.want("true\n  eval 'x=1; show client 9'", 1, "t:2:3: % No client '9'", "show client 9")
	c.want("eval 'echo a >/x'", 2, "t:1:1: % Redirection is not possible here; output goes to a file by '| save FILE' (column 8 of line 1 of what is evaluated)")
	c.want("eval 'if'", 2, "t:1:1: % `if` must be followed by a statement list (column 1 of line 1 of what is evaluated)")
	c.want("eval 'z=;' '{a,b}' \"c{it\\'s}\"", 0, "", `{a,b} 'c{it'\''s}'`)
	c.want("source lib; show client $y; g 1", 127, "lib:4:3: % Invalid command: bogus (try 'help')",
		"show clients | include a|b", "show client 7", "show g 1 'x y'", "bogus")
	c.want("g 2", 127, "lib:4:3: % Invalid command: bogus (try 'help')", "show g 2 'x y'", "bogus")
	c.want("source lib2\nlate 5\nlate 6 | count", 0, "", "show late 5", "show late 6", "count < ")
	c.want("source wrong", 2, "wrong:2:10: % `then` must be followed by a statement list")
	c.want("source none", 1, "t:1:1: % file does not exist")
	c.want("source", 2, "t:1:1: % Incomplete command: source (expected: one FILE)")
	c.want("f='eval \"$f\"'; eval \"$f\"", 1, "t:1:16: % Texts that evaluate texts are nested more than 50 deep: the script is stopped")
	if _, said := c.run("source self"); !strings.Contains(said, "nested more than 50 deep") {
		t.Errorf("a file that sources itself: %s", said)
	}
	if _, said := c.run("x=" + strings.Repeat("a", 5000) + "; while :; do ((i++)); eval \": $x $i\"; done"); !strings.Contains(said, "of text were evaluated") {
		t.Errorf("texts without end: %s", said)
	}
}

// A loop that runs no command ends all the same.
func TestLoopsAreSteps(t *testing.T) {
	c := newConversation(t, nil)
	for _, loop := range []string{"while [[ a ]]; do [[ b ]]; done", "until false; do let x=1; done", "for ((;;)); do ((x++)); done"} {
		if status, said := c.run(loop); status != 1 || !strings.Contains(said, "More than 20000 commands") {
			t.Errorf("%s: %d %s", loop, status, said)
		}
	}
}

// A turnstile is a station that answers one request at a time: the next waits
// until the output of the one before was taken.
func TestCommandsOnBothSidesOfAPipe(t *testing.T) {
	turn := make(chan struct{}, 1)
	var out bytes.Buffer
	rows := strings.Repeat("a long row, so that a pipe of the system fills up\n", 20_000)
	r, err := New(Options{Stdout: &out, Exec: func(ctx context.Context, line string, in io.Reader, w io.Writer) Result {
		turn <- struct{}{}
		defer func() { <-turn }()
		if line == "show many" {
			for row := range strings.Lines(rows) {
				if _, err := io.WriteString(w, row); err != nil {
					return Result{Status: 1, Message: err.Error()}
				}
			}
			return Result{}
		}
		io.WriteString(w, "x")
		return Result{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]int{
		"show many | while read l; do show one; done":                                       20_000,
		"n=0; show many | while read l; do show one; if ((++n == 3)); then break; fi; done": 3,
	} {
		out.Reset()
		s, err := Parse("t", []byte(source))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if status, err := r.Run(ctx, s); err != nil || status != 0 || out.Len() != want {
			t.Errorf("%s: %d commands, status %d, %v", source, out.Len(), status, err)
		}
		cancel()
	}
	small, err := New(Options{MaxMemory: 1000, Exec: func(_ context.Context, _ string, _ io.Reader, w io.Writer) Result {
		io.WriteString(w, strings.Repeat("x", 1000))
		if _, err := io.WriteString(w, strings.Repeat("x", 1_000_000)); err == nil {
			return Result{}
		} else {
			return Result{Status: 1, Message: err.Error()}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse("t", []byte("show many | while :; do wait-until show x; done"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if status, err := small.Run(ctx, s); status != 130 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pipe that nobody reads: %d, %v", status, err)
	}
}
