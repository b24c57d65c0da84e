package edit

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// asyncQueue is the Async writer: bounded, never blocking, with its drops
// counted and said.
type asyncQueue struct {
	mu      sync.Mutex
	waiting [][]byte
	dropped int
	wake    chan struct{}
	done    chan struct{}
	closed  bool
	write   func([]byte)
}

// asyncLines is how many writes wait at most.
const asyncLines = 1000

func newAsyncQueue(write func([]byte)) *asyncQueue {
	q := &asyncQueue{wake: make(chan struct{}, 1), done: make(chan struct{}), write: write}
	go q.run()
	return q
}

// Write implements io.Writer. It reports success for what it drops: the one
// who writes has nothing to do about it.
func (q *asyncQueue) Write(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, io.ErrClosedPipe
	}
	if len(q.waiting) >= asyncLines {
		q.dropped++
		return len(b), nil
	}
	q.waiting = append(q.waiting, append([]byte(nil), b...))
	q.poke()
	return len(b), nil
}

func (q *asyncQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *asyncQueue) run() {
	defer close(q.done)
	for range q.wake {
		q.mu.Lock()
		waiting, dropped, closed := q.waiting, q.dropped, q.closed
		q.waiting, q.dropped = nil, 0
		q.mu.Unlock()
		var text []byte
		for _, b := range waiting {
			text = append(text, b...)
		}
		if dropped > 0 {
			text = fmt.Appendf(text, "%% %d event lines dropped here\n", dropped)
		}
		if len(text) > 0 {
			q.write(text)
		}
		if closed {
			return
		}
	}
}

func (q *asyncQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.poke()
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(time.Second): // the terminal is stopped
	}
}

// handOff passes lines from the queue's goroutine to the one that draws the
// line being typed.
type handOff struct {
	waiting chan []byte   // at most one
	taken   chan struct{} // a hint that it was taken
	closed  chan struct{}
}

func newHandOff() handOff {
	return handOff{waiting: make(chan []byte, 1), taken: make(chan struct{}, 1), closed: make(chan struct{})}
}

// give waits until text was taken. announce tells the drawing goroutine and
// reports whether a line is being read; where none is, idle runs the write
// before one can begin to be, or reports that one was faster.
func (h handOff) give(text []byte, announce func() bool, idle func(func()) bool, write func([]byte)) {
	h.waiting <- text
	for len(h.waiting) > 0 {
		if !announce() && idle(func() {
			if text := h.take(); text != nil {
				write(text)
			}
		}) {
			return
		}
		select {
		case <-h.taken:
		case <-h.closed:
			return
		case <-time.After(100 * time.Millisecond): // announced to a read that ended just then
		}
	}
}

// take is what waits, nil when nothing does.
func (h handOff) take() []byte {
	select {
	case text := <-h.waiting:
		select {
		case h.taken <- struct{}{}:
		default:
		}
		return text
	default:
		return nil
	}
}
