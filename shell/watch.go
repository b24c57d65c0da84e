package shell

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"bmp/proto/control"
)

// defaultEvery is how often watch asks.
const defaultEvery = 2 * time.Second

// watch runs a command again and again: on a terminal in place, elsewhere one
// answer after the other.
func watch(c *call) error {
	s := c.shell
	every, ok := c.match.Duration("every")
	if !ok {
		every = defaultEvery
	}
	if every < 100*time.Millisecond {
		a, _ := c.match.Arg("every")
		return control.Invalid(a, "expected at least 100ms")
	}
	count, limited := c.match.Number("count")
	command := c.match.Value("command")
	p, err := s.inner(c, command)
	if err != nil {
		return err
	}
	if p.word != nil && p.word.is(ownScreen) {
		return errorf(control.CodeForbidden, "'%s' cannot be watched", strings.Join(p.match.Words, " "))
	}
	w := &watcher{shell: s, title: fmt.Sprintf("Every %v: %s", every, strings.TrimSpace(command)), diff: c.match.Has("diff")}
	if s.o.Terminal && s.settings().editor != "plain" {
		s.mu.Lock()
		s.watching = w.event
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			s.watching = nil
			s.mu.Unlock()
		}()
	} else {
		w.row = c.row
	}
	quit, stop := w.untilKey(c)
	defer stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		var lines []string
		v := s.perform(quit, s.at(), p, func(l control.Line) error {
			if l.Code != control.CodeProgress && len(lines) < maxWatched {
				lines = append(lines, l.Text)
			}
			return nil
		}, nil)
		switch {
		case quit.Err() != nil:
			return w.end(c)
		case v.Code == control.CodeSubscribed:
			return errorf(control.CodeForbidden, "'%s' cannot be watched: it goes on by itself", strings.Join(p.match.Words, " "))
		case v.Err() != nil && v.Code != codeNoStation && v.Code/100 != 4:
			return verdictError(v, c, command)
		case v.Err() != nil:
			lines = append(lines, "% "+v.Text) // it may be better the next time
		}
		if err := w.show(lines); err != nil {
			return err
		}
		if limited && n >= count {
			return nil
		}
		select {
		case <-tick.C:
		case <-quit.Done():
			return w.end(c)
		}
	}
}

// maxWatched is how many lines of an answer are compared and shown.
const maxWatched = 10_000

// watcher shows one answer after the other.
type watcher struct {
	shell  *Shell
	title  string
	diff   bool
	row    func(control.Line) error // not on a terminal: where lines go
	before []string
	shown  bool
	events []string // that came meanwhile; under the shell's lock
}

// untilKey is a context that `q` ends too.
func (w *watcher) untilKey(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	keys, ok := w.shell.ed().(interface {
		Key(context.Context) (string, error)
	})
	if !ok || w.row != nil {
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			key, err := keys.Key(ctx)
			if err != nil || key == "q" || key == "Q" {
				cancel()
				return
			}
		}
	}()
	return ctx, func() { cancel(); <-done }
}

// end is nil where somebody left by `q`. Ctrl-C is how a watch ends: nothing is
// said of it.
func (w *watcher) end(c *call) error {
	if c.Err() != nil {
		return &statusError{control.ExitStatus(control.CodeCancelled)}
	}
	return nil
}

// event keeps what came by itself, to be shown under the answer. It is called
// from any goroutine.
func (w *watcher) event(text string) {
	s := w.shell
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(w.events) >= 5 {
		w.events = w.events[1:]
	}
	w.events = append(w.events, text)
}

func (w *watcher) show(lines []string) error {
	defer func() { w.before, w.shown = lines, true }()
	if w.row != nil {
		return w.print(lines)
	}
	s := w.shell
	cols, rows := s.ed().Size()
	if cols <= 0 {
		cols = 80
	}
	if rows <= 0 {
		rows = 24
	}
	clock := time.Now().Format("15:04:05")
	title := runewidth.Truncate(w.title, max(cols-len(clock)-2, 0), "")
	s.mu.Lock()
	events := w.events
	color := s.set.colored()
	s.mu.Unlock()
	var b strings.Builder
	if w.shown {
		b.WriteString("\x1b[H")
	} else {
		b.WriteString("\x1b[H\x1b[2J")
	}
	fmt.Fprintf(&b, "%s%*s\x1b[K\r\n\x1b[K", title, max(cols-1-runewidth.StringWidth(title), 0), clock)
	room := max(rows-3-len(events), 1)
	for i, l := range lines {
		if i == room-1 && len(lines) > room {
			fmt.Fprintf(&b, "\r\n... %d more lines\x1b[K", len(lines)-i)
			break
		}
		text := runewidth.Truncate(l, cols-1, "")
		if w.diff && w.shown {
			text = marked(text, w.line(i))
		} else if color {
			text = paint(text)
		}
		b.WriteString("\r\n" + text + "\x1b[K")
	}
	for _, e := range events {
		b.WriteString("\r\n" + runewidth.Truncate(e, cols-1, "") + "\x1b[K")
	}
	b.WriteString("\x1b[J\n")
	_, err := io.WriteString(s.ed().Out(), b.String())
	return err
}

// line is a line of the answer before.
func (w *watcher) line(i int) string {
	if i < len(w.before) {
		return w.before[i]
	}
	return ""
}

// marked shows in reverse what is not as before: the words that differ in place.
func marked(now, before string) string {
	if now == before {
		return now
	}
	old := []rune(before)
	var b strings.Builder
	on := false
	for i, r := range []rune(now) {
		differs := i >= len(old) || old[i] != r
		if differs != on {
			if differs {
				b.WriteString("\x1b[7m")
			} else {
				b.WriteString("\x1b[27m")
			}
			on = differs
		}
		b.WriteRune(r)
	}
	if on {
		b.WriteString("\x1b[27m")
	}
	return b.String()
}

// print writes an answer where there is no screen to draw on: whole, or what is
// new and gone since the one before.
func (w *watcher) print(lines []string) error {
	write := func(text string) error { return w.row(control.Line{Code: control.CodeRow, Text: text}) }
	if !w.diff {
		if w.shown {
			lines = append([]string{""}, lines...)
		}
		for _, l := range lines {
			if err := write(l); err != nil {
				return err
			}
		}
		return nil
	}
	if !w.shown {
		for _, l := range lines {
			if err := write("  " + l); err != nil {
				return err
			}
		}
		return nil
	}
	count := make(map[string]int)
	for _, l := range lines {
		count[l]++
	}
	for _, l := range w.before {
		if count[l]--; count[l] < 0 {
			if err := write("- " + l); err != nil {
				return err
			}
		}
	}
	clear(count)
	for _, l := range w.before {
		count[l]++
	}
	for _, l := range lines {
		if count[l]--; count[l] < 0 {
			if err := write("+ " + l); err != nil {
				return err
			}
		}
	}
	return nil
}
