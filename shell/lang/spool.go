package lang

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// spool stands between a command and a pipe: it takes everything at once and
// hands it on as the reader of the pipe takes it.
type spool struct {
	out   io.Writer
	limit int
	done  chan struct{} // closed when the writing goroutine has ended

	mu     sync.Mutex
	more   sync.Cond
	wait   []byte
	closed bool
	err    error // of out, or errSpool
}

var errSpool = errors.New("output waiting in a pipe")

func newSpool(out io.Writer, limit int) *spool {
	s := &spool{out: out, limit: limit, done: make(chan struct{})}
	s.more.L = &s.mu
	go s.run()
	return s
}

func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && len(s.wait)+len(p) > s.limit {
		s.err = fmt.Errorf("more than %d bytes of %w", s.limit, errSpool)
	}
	if s.err != nil {
		return 0, s.err
	}
	s.wait = append(s.wait, p...)
	s.more.Signal()
	return len(p), nil
}

func (s *spool) run() {
	defer close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.wait) == 0 && !s.closed && s.err == nil {
			s.more.Wait()
		}
		if len(s.wait) == 0 || s.err != nil {
			return
		}
		b := s.wait
		s.wait = nil
		s.mu.Unlock()
		_, err := s.out.Write(b)
		s.mu.Lock()
		if err != nil && s.err == nil {
			s.err = err
		}
	}
}

// close hands on what waits, and returns what went wrong with it. When ctx ends
// it does not wait for a reader any longer.
func (s *spool) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.more.Signal()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
