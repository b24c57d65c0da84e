package edit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// screen is a writer that may be read while it is written.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestPlainReadsLines(t *testing.T) {
	long := strings.Repeat("x", 3000)
	in := strings.NewReader("one\r\n\n" + long + "\nlast")
	p := NewPlain(in, io.Discard, PlainOptions{MaxLine: 2000})
	defer p.Close()
	for i, want := range []struct {
		line string
		err  error
	}{{"one", nil}, {"", nil}, {"", ErrLineTooLong}, {"last", nil}, {"", io.EOF}, {"", io.EOF}} {
		line, err := p.ReadLine(t.Context(), "bmp# ")
		if line != want.line || err != want.err {
			t.Errorf("line %d: %q, %v; want %q, %v", i, line, err, want.line, want.err)
		}
	}
}

func TestPlainReadsNoFurtherThanAsked(t *testing.T) {
	r, w := io.Pipe()
	p := NewPlain(r, io.Discard, PlainOptions{})
	defer p.Close()
	go w.Write([]byte("one\n"))
	if line, err := p.ReadLine(t.Context(), ""); line != "one" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	synctest.Test(t, func(t *testing.T) {
		// Nothing of the pipe is taken before the next ReadLine.
		wrote := make(chan error, 1)
		r, w := io.Pipe()
		p := NewPlain(r, io.Discard, PlainOptions{})
		defer p.Close()
		go func() {
			_, err := w.Write([]byte("two\n"))
			wrote <- err
		}()
		synctest.Wait()
		select {
		case <-wrote:
			t.Fatal("a line was read that nobody asked for")
		default:
		}
		if line, err := p.ReadLine(t.Context(), ""); line != "two" || err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		w.Close()
	})
}

func TestPlainGivesUpWithoutLosingTheLine(t *testing.T) {
	r, w := io.Pipe()
	p := NewPlain(r, io.Discard, PlainOptions{})
	defer p.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	if _, err := p.ReadLine(ctx, ""); err == nil {
		t.Fatal("no error from a context that ended")
	}
	go w.Write([]byte("kept\n"))
	if line, err := p.ReadLine(t.Context(), ""); line != "kept" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
}

func TestPlainPromptsAndEvents(t *testing.T) {
	r, w := io.Pipe()
	out := &screen{}
	p := NewPlain(r, out, PlainOptions{Prompt: true})
	defer p.Close()
	done := make(chan string)
	go func() {
		line, _ := p.ReadLine(t.Context(), "bmp# ")
		done <- line
	}()
	await(t, func() bool { return out.String() == "bmp# " })
	io.WriteString(p.Async(), "event\n")
	await(t, func() bool { return out.String() == "bmp# \revent\nbmp# " })
	io.WriteString(w, "exit\n")
	if line := <-done; line != "exit" {
		t.Errorf("line %q", line)
	}
	io.WriteString(p.Async(), "late\n")
	await(t, func() bool { return strings.HasSuffix(out.String(), "bmp# late\n") })
}

func TestAsyncNeverBlocksAndCountsDrops(t *testing.T) {
	stuck := make(chan struct{})
	var mu sync.Mutex
	var text bytes.Buffer
	q := newAsyncQueue(func(b []byte) {
		<-stuck
		mu.Lock()
		defer mu.Unlock()
		text.Write(b)
	})
	for range 5 * asyncLines { // would hang here
		q.Write([]byte("line\n"))
	}
	close(stuck)
	q.close()
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(text.String(), "event lines dropped here") {
		t.Error("nothing says that lines were dropped")
	}
	if _, err := q.Write([]byte("x")); err == nil {
		t.Error("a closed queue takes lines")
	}
}

func await(t *testing.T, cond func() bool) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("condition never met")
		}
	}
}
