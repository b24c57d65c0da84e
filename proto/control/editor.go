package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// noStall is the time that an editor may leave its control pipe unread.
const noStall = 365 * 24 * time.Hour

// Plain is what a Console returns to go back to plain lines. ahead is what it has read and not used: the first of what is read
// as lines. The Console has ended its own reading by SetReadDeadline and reads no more.
func Plain(ahead []byte) error { return &plainError{ahead} }

type plainError struct{ ahead []byte }

func (e *plainError) Error() string        { return ErrPlain.Error() }
func (e *plainError) Is(target error) bool { return target == ErrPlain }

// wantEditor begins `terminal interactive`: after its verdict the connection is handed to ServerOptions.Console.
func (c *Conn) wantEditor(_ *Request, r *Reply) error {
	if c.server.o.Console == nil || c.outer != nil {
		return Errorf(CodeForbidden, "No editor on this connection")
	}
	c.Unfollow(func(Subscription) bool { return true }) // their events would be lines in the editor's screen
	c.interactive.Store(true)
	r.Done("Interactive")
	return nil
}

// handOver stops the reader, if an editor is to take over.
func (c *Conn) handOver() bool {
	if !c.interactive.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	// The reader is woken wherever it waits: for room in the queue, or for bytes.
	c.editor = true
	c.yield <- struct{}{}
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	return true
}

// runEditor runs the console's editor on the connection, in the reading goroutine. The executing goroutine waits meanwhile. What
// was typed ahead is the editor's.
func (c *Conn) runEditor(ahead ...request) error {
	select {
	case <-c.yield:
	default:
	}
	c.out.drained()
	var first []byte
	for waiting := true; waiting; {
		select {
		case q := <-c.requests:
			if q.kind == endToken {
				continue
			}
			c.taken()
			first = append(append(first, q.line...), '\r', '\n')
		default:
			waiting = false
		}
	}
	for _, q := range ahead {
		c.taken()
		first = append(append(first, q.line...), '\r', '\n')
	}
	here, there := net.Pipe()
	link := c.link
	c.mu.Lock()
	link.Role = c.role
	c.mu.Unlock()
	link.TCP = false
	inner, err := c.server.newConn(c.ctx, here, link, c)
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = inner.serve() // its end is the editor's
		c.server.mu.Lock()
		delete(c.server.conns, inner.id)
		c.server.mu.Unlock()
	}()
	conn := &editorConn{Conn: c.conn, c: c, inner: inner, first: append(first, c.in.rest()...)}
	err = c.server.o.Console(c.ctx, conn, there)
	there.Close()
	<-served
	if conn.idle() {
		return errIdle
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if !errors.Is(err, ErrPlain) {
		if err == nil {
			err = errBye
		}
		return err
	}
	var plain *plainError
	if errors.As(err, &plain) {
		c.in.unread = append(conn.left(), append(plain.ahead, c.in.unread...)...)
	}
	c.mu.Lock()
	c.editor = false
	c.role = inner.role // what was reached by auth in there
	c.mu.Unlock()
	c.interactive.Store(false)
	select {
	case c.switched <- struct{}{}:
	case <-c.ctx.Done():
	}
	return nil
}

// editorConn is the connection as the editor sees it: what was read before comes first, an idle one ends, and so does one
// that is not read from.
type editorConn struct {
	net.Conn
	c     *Conn
	inner *Conn

	mu       sync.Mutex
	first    []byte
	idled    bool
	deadline time.Time // of the editor
}

// left is what was read before and not taken.
func (e *editorConn) left() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.first
}

// SetReadDeadline implements net.Conn.
func (e *editorConn) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	e.deadline = t
	e.mu.Unlock()
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	if e.c.ended {
		return nil // its deadline is over already
	}
	return e.Conn.SetReadDeadline(t)
}

// by is when a Read that begins now is over: at the editor's own deadline, or idle.
func (e *editorConn) by() (by time.Time, own bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	by = time.Now().Add(e.c.server.o.Idle)
	if !e.deadline.IsZero() && e.deadline.Before(by) {
		return e.deadline, true
	}
	return by, false
}

func (e *editorConn) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.idled
}

func (e *editorConn) Read(b []byte) (int, error) {
	e.mu.Lock()
	if len(e.first) > 0 {
		n := copy(b, e.first)
		e.first = e.first[n:]
		e.mu.Unlock()
		return n, nil
	}
	e.mu.Unlock()
	for {
		e.c.mu.Lock()
		ended := e.c.ended
		var err error
		if !ended {
			by, _ := e.by()
			err = e.Conn.SetReadDeadline(by)
		}
		e.c.mu.Unlock()
		if ended || err != nil {
			return 0, io.EOF
		}
		n, err := e.Conn.Read(b)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if by, own := e.by(); own && !time.Now().Before(by) {
			return 0, os.ErrDeadlineExceeded
		}
		e.c.mu.Lock()
		ended = e.c.ended // then it was not the time that ran out
		e.c.mu.Unlock()
		e.inner.mu.Lock()
		busy := e.inner.busy()
		e.inner.mu.Unlock()
		if busy || ended {
			continue
		}
		e.mu.Lock()
		e.idled = true
		e.mu.Unlock()
		_, _ = fmt.Fprintf(e, "\r\n%% Idle for %s, closing\r\n", shortDuration(e.c.server.o.Idle))
		return 0, io.EOF
	}
}

func (e *editorConn) Write(b []byte) (int, error) {
	if err := e.Conn.SetWriteDeadline(time.Now().Add(e.c.server.o.WriteStall)); err != nil {
		return 0, err
	}
	return e.Conn.Write(b)
}
