package edit

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hinshun/vt10x"
)

// A testScreen is a terminal in memory: keys go in, and what an editor writes is
// seen as a person would see it.
type testScreen struct {
	t    *testing.T
	vt   vt10x.Terminal
	keys *io.PipeWriter
	in   *io.PipeReader

	mu      sync.Mutex
	cols    int
	rows    int
	changed chan struct{} // a signal after every write
	resized chan struct{}
}

func newScreen(t *testing.T, cols, rows int) *testScreen {
	s := &testScreen{t: t, vt: vt10x.New(vt10x.WithSize(cols, rows)), cols: cols, rows: rows, changed: make(chan struct{}, 1), resized: make(chan struct{}, 1)}
	s.in, s.keys = io.Pipe()
	t.Cleanup(func() { s.keys.Close() })
	return s
}

// Write implements io.Writer as a terminal with ONLCR does.
func (s *testScreen) Write(p []byte) (int, error) {
	s.vt.Write([]byte(strings.ReplaceAll(string(p), "\n", "\r\n")))
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *testScreen) size() (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cols, s.rows
}

func (s *testScreen) resize(cols, rows int) {
	s.mu.Lock()
	s.cols, s.rows = cols, rows
	s.mu.Unlock()
	s.vt.Resize(cols, rows)
	s.resized <- struct{}{}
}

// typeKeys sends keys as they are: \r for Enter.
func (s *testScreen) typeKeys(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keys, keys); err != nil {
		s.t.Fatal(err)
	}
}

// text is the screen without trailing blanks, and the cursor's place.
func (s *testScreen) text() (string, int, int) {
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

// until waits until the screen is as cond wants it.
func (s *testScreen) until(what string, cond func(text string) bool) {
	s.t.Helper()
	end := time.NewTimer(10 * time.Second)
	defer end.Stop()
	for {
		if text, _, _ := s.text(); cond(text) {
			return
		}
		select {
		case <-s.changed:
		case <-end.C:
			text, x, y := s.text()
			s.t.Fatalf("%s: not on the screen (cursor %d,%d):\n%s", what, x, y, text)
		}
	}
}

// shows waits for a whole screen.
func (s *testScreen) shows(want string) {
	s.t.Helper()
	want = strings.Trim(want, "\n")
	s.until(fmt.Sprintf("want\n%s\n", want), func(text string) bool { return text == want })
}

// cursorAt waits for the cursor's place.
func (s *testScreen) cursorAt(x, y int) {
	s.t.Helper()
	s.until(fmt.Sprintf("cursor at %d,%d", x, y), func(string) bool {
		_, cx, cy := s.text()
		return cx == x && cy == y
	})
}

// A reader reads lines with an editor, as a shell does.
type reader struct {
	s     *testScreen
	ed    *Readline
	lines chan readLine
	next  chan string // prompts of the next reads
	ctx   context.Context
	stop  context.CancelFunc
	ended chan struct{}
}

type readLine struct {
	text string
	err  error
}

func newReader(t *testing.T, s *testScreen, o ReadlineOptions) *reader {
	t.Helper()
	o.In, o.Out, o.Size, o.Resized = s.in, s, s.size, s.resized
	ed, err := NewReadline(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{s: s, ed: ed, lines: make(chan readLine, 600), next: make(chan string, 600), ended: make(chan struct{})}
	r.ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		for prompt := range r.next {
			text, err := ed.ReadLine(r.ctx, prompt)
			if err == nil {
				if err := ed.Remember(text); err != nil {
					r.lines <- readLine{text, err}
					continue
				}
			}
			r.lines <- readLine{text, err}
		}
	}()
	t.Cleanup(func() {
		r.stop()
		close(r.next)
		<-r.ended
		if err := ed.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// read begins to read lines, n of them.
func (r *reader) read(n int) {
	for range n {
		r.next <- "bmp# "
	}
	r.s.until("the prompt", func(text string) bool { return strings.HasSuffix(text, "bmp#") || strings.Contains(text, "bmp# ") })
}

// got waits for the next line.
func (r *reader) got(want string, wantErr error) {
	r.s.t.Helper()
	select {
	case l := <-r.lines:
		if l.text != want || l.err != wantErr {
			r.s.t.Errorf("line %q, %v; want %q, %v", l.text, l.err, want, wantErr)
		}
	case <-time.After(10 * time.Second):
		text, x, y := r.s.text()
		r.s.t.Fatalf("no line; want %q\nscreen (cursor %d,%d):\n%s", want, x, y, text)
	}
}

// fakeAssistant knows a few words.
type fakeAssistant struct{ words []Item }

var routerWords = fakeAssistant{[]Item{{"clear", "end a session"}, {"clients", "all clients"}, {"client", "one client"}, {"show", "ask"}}}

func (f fakeAssistant) Help(_ context.Context, line string, pos int) []Item {
	_, word := lastWord(line[:pos])
	var out []Item
	for _, w := range f.words {
		if strings.HasPrefix(w.Text, word) {
			out = append(out, w)
		}
	}
	return out
}

func (f fakeAssistant) Complete(ctx context.Context, line string, pos int) Completion {
	at, word := lastWord(line[:pos])
	items := f.Help(ctx, line, pos)
	c := Completion{From: at, Len: len(word), Insert: word, Items: items}
	for i, it := range items {
		if i == 0 {
			c.Insert = it.Text
		}
		for !strings.HasPrefix(it.Text, c.Insert) {
			c.Insert = c.Insert[:len(c.Insert)-1]
		}
	}
	if len(items) == 1 {
		c.Insert += " "
	}
	return c
}

func lastWord(s string) (int, string) {
	at := strings.LastIndexByte(s, ' ') + 1
	return at, s[at:]
}
