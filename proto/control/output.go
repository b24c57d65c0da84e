package control

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"bmp/proto/wire"
)

// output is the writing half of a connection: replies wait for room, events never do. One goroutine (run) writes;
// any may add lines. Both are added as whole lines, so an event stands between two lines of a reply and never in one.
type output struct {
	conn  net.Conn
	stall atomic.Int64 // nanoseconds: a write that makes no progress so long ends the connection
	fail  func(error)  // called once, when writing is over

	mu        sync.Mutex
	changed   sync.Cond // room in replies, or the end
	replies   []byte
	events    [][]byte // at most maxEvents
	maxEvents int
	dropped   int
	since     time.Time // of the first dropped
	err       error
	writing   bool // run has lines in hand
	finishing bool
	wake      chan struct{}
	done      chan struct{} // run has returned
}

// Sizes of writing.
const (
	maxReplies = 256 << 10 // bytes of replies waiting
	writeChunk = 32 << 10  // a write of so much has the time of the stall
)

func newOutput(conn net.Conn, stall time.Duration, maxEvents int, fail func(error)) *output {
	o := &output{conn: conn, maxEvents: maxEvents, fail: fail, wake: make(chan struct{}, 1), done: make(chan struct{})}
	o.stall.Store(int64(stall))
	o.changed.L = &o.mu
	return o
}

func (o *output) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// reply adds a line of a reply, and waits while too much of them waits already. Of data lines the context ends the waiting; a
// verdict goes out even then.
func (o *output) reply(ctx context.Context, code int, sep byte, text []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if sep == '-' {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if len(o.replies) >= maxReplies {
			stop := context.AfterFunc(ctx, func() {
				o.mu.Lock()
				o.changed.Broadcast()
				o.mu.Unlock()
			})
			for len(o.replies) >= maxReplies && o.err == nil && ctx.Err() == nil {
				o.changed.Wait()
			}
			stop()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	if o.err != nil {
		return o.err
	}
	o.replies = appendLine(o.replies, code, sep, text)
	o.signal()
	return nil
}

// event adds an event, or counts it as dropped. notices are few and always kept.
func (o *output) event(code int, text string, notice bool) bool {
	line := appendLine(nil, code, '+', wire.Clean([]byte(text)))
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return false
	}
	if len(o.events) >= o.maxEvents && !notice {
		o.drop(1)
		return false
	}
	o.events = append(o.events, line)
	o.signal()
	return true
}

// raw adds bytes that are no line, between two of a reply. A console that does not read them does without.
func (o *output) raw(b ...byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && len(o.replies) < 2*maxReplies {
		o.replies = append(o.replies, b...)
		o.signal()
	}
}

// drop counts events that are lost. The lock is held.
func (o *output) drop(n int) {
	if o.dropped == 0 {
		o.since = time.Now()
	}
	o.dropped += n
}

// lost counts events that were lost before they came here.
func (o *output) lost(n int) {
	o.mu.Lock()
	o.drop(n)
	o.mu.Unlock()
	o.signal()
}

func droppedText(n int, since time.Time, why string) string {
	return fmt.Sprintf("n=%d since=%s (%s)", n, since.Format("15:04:05"), why)
}

// run writes until finish was called and everything is written, or writing fails.
func (o *output) run() {
	defer close(o.done)
	var replies, events []byte
	for {
		<-o.wake
		for {
			o.mu.Lock()
			replies, o.replies = o.replies, replies[:0]
			events = events[:0]
			for _, e := range o.events {
				events = append(events, e...)
			}
			clear(o.events)
			o.events = o.events[:0]
			if o.dropped > 0 {
				events = appendLine(events, CodeDropped, '+', []byte(droppedText(o.dropped, o.since, "reading too slowly")))
				o.dropped = 0
			}
			finishing, err := o.finishing, o.err
			o.writing = len(replies) > 0 || len(events) > 0
			o.changed.Broadcast()
			o.mu.Unlock()
			if err != nil {
				return
			}
			if len(replies) == 0 && len(events) == 0 {
				if finishing {
					return
				}
				break
			}
			if err := o.write(replies); err != nil {
				o.end(err)
				return
			}
			if err := o.write(events); err != nil {
				o.end(err)
				return
			}
		}
	}
}

// write writes all of b; each chunk may take the time of a stall.
func (o *output) write(b []byte) error {
	for len(b) > 0 {
		chunk := b[:min(len(b), writeChunk)]
		if err := o.conn.SetWriteDeadline(time.Now().Add(time.Duration(o.stall.Load()))); err != nil {
			return err
		}
		n, err := o.conn.Write(chunk)
		b = b[n:]
		if err == nil {
			continue
		}
		if e, ok := err.(net.Error); ok && e.Timeout() && n > 0 {
			continue // slow, but reading
		}
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// end stops all writing.
func (o *output) end(err error) {
	o.mu.Lock()
	first := o.err == nil
	if first {
		o.err = err
	}
	o.changed.Broadcast()
	o.mu.Unlock()
	o.signal()
	if first {
		o.fail(err)
	}
}

// finish waits until everything is written, at most for the time of a stall.
func (o *output) finish() {
	o.mu.Lock()
	o.finishing = true
	o.mu.Unlock()
	o.signal()
	<-o.done
}

// drained waits until everything added so far is handed to the connection.
func (o *output) drained() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && (o.writing || len(o.replies) > 0 || len(o.events) > 0 || o.dropped > 0) {
		o.changed.Wait()
	}
}

// hurry leaves a console that does not read only a moment more.
func (o *output) hurry() { o.stall.Store(int64(min(time.Duration(o.stall.Load()), time.Second))) }
