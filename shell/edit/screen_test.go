package edit

import (
	"context"
	"strings"
	"testing"
	"time"

	"bmp/shell/edit/edittest"
)

// A reader reads lines with an editor, as a shell does.
type reader struct {
	s     *edittest.Screen
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

func newReader(t *testing.T, s *edittest.Screen, o ReadlineOptions) *reader {
	t.Helper()
	o.In, o.Out, o.Size, o.Resized = s.In, s, s.Size, s.Resized
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
	r.s.Until("the prompt", func(text string) bool { return strings.HasSuffix(text, "bmp#") || strings.Contains(text, "bmp# ") })
}

// got waits for the next line.
func (r *reader) got(want string, wantErr error) {
	r.s.T.Helper()
	select {
	case l := <-r.lines:
		if l.text != want || l.err != wantErr {
			r.s.T.Errorf("line %q, %v; want %q, %v", l.text, l.err, want, wantErr)
		}
	case <-time.After(time.Minute):
		text, x, y := r.s.Text()
		r.s.T.Fatalf("no line; want %q\nscreen (cursor %d,%d):\n%s", want, x, y, text)
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
