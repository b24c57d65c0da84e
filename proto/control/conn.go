package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/proto/wire"
)

// Conn is one connection, as handlers see it. Three goroutines serve it:
//
//	read (Serve's own)   bytes -> requests, at most 64 ahead; acts on a cancel at once
//	execute              one request at a time, in order -> lines of its reply
//	output.run           lines of replies and events -> bytes
//
// and one a subscription. They end in this order: reading ends (end of input, exit, an error), requests run out or are cancelled,
// subscriptions are ended, what is left is written, the connection is closed.
type Conn struct {
	id     int
	server *Server
	link   Link
	conn   net.Conn
	in     *input
	out    *output
	outer  *Conn // the connection whose editor this is the control pipe of
	since  time.Time

	ctx context.Context // ends with the connection
	end context.CancelCauseFunc

	requests    chan request
	eventsJSON  atomic.Bool
	eventIDs    atomic.Bool
	count       atomic.Uint64
	interactive atomic.Bool

	// Of the executing goroutine alone.
	tree     *grammar.Tree
	nonce    string
	failures int // of auth
	badLines int // in a row
	confirm  bool
	strict   bool
	width    int
	format   filter.Format
	zone     *time.Location
	after    []func()      // to call when the verdict is given
	switched chan struct{} // after `terminal interactive` it waits here for plain lines to come back
	finished chan struct{} // and tells here that it has met the end of input
	yield    chan struct{} // and wakes a reader that waits for room in requests

	mu        sync.Mutex
	ended     bool // reading is to stop
	editor    bool // reading is to stop, an editor takes over
	role      Role
	product   string
	followers []*follower
	queued    int // requests read and not begun
	read      uint64
	cancelled uint64 // requests read up to this one are cancelled
	running   context.CancelCauseFunc
	line      string // that runs, secrets masked
	last      time.Time
}

// request is a token with its number.
type request struct {
	token
	number uint64
}

// ErrPlain is what a Console returns to go back to plain lines.
var ErrPlain = errors.New("back to plain lines")

// Why connections end.
var (
	errBye      = errors.New("bye")
	errForeign  = errors.New("HTTP or TLS on the control port")
	errIdle     = errors.New("idle")
	errNoLogin  = errors.New("no login")
	errBadLines = errors.New("too many bad lines")
	errAuth     = errors.New("too many failed logins")
	errStopping = &Error{CodeFailed, "Station stops"}
)

func (s *Server) newConn(ctx context.Context, conn net.Conn, l Link, outer *Conn) (*Conn, error) {
	_, tree, err := s.commands()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &Conn{
		server: s, link: l, conn: conn, outer: outer, since: now, last: now, role: l.Role, tree: tree, zone: time.Local,
		requests: make(chan request, s.o.Queue), switched: make(chan struct{}), finished: make(chan struct{}, 1), yield: make(chan struct{}, 1),
	}
	c.in = newInput(reader{c}, l.TCP)
	stall := s.o.WriteStall
	if outer != nil {
		stall = noStall // its reader is our own editor, and that one's console has the time of a stall
	}
	c.out = newOutput(conn, stall, s.o.EventQueue, func(err error) { c.stop(err) })
	c.ctx, c.end = context.WithCancelCause(context.WithoutCancel(ctx))
	c.newNonce()
	s.mu.Lock()
	s.lastConn++
	c.id = s.lastConn
	s.conns[c.id] = c
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		if !c.interactive.Load() { // the editor hears it from the inner connection
			c.out.event(CodeStopping, "Station stops", true)
		}
		c.out.hurry()
		c.stop(errStopping)
	})
	context.AfterFunc(c.ctx, func() { stop() })
	return c, nil
}

// ID is unique in the server.
func (c *Conn) ID() int { return c.id }

// stop ends the connection: nothing more is read, what runs is cancelled.
func (c *Conn) stop(why error) {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.end(why)
	_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; a connection that cannot is closed already
}

// serve runs the connection.
func (c *Conn) serve() error {
	go c.out.run()
	_ = c.out.reply(c.ctx, CodeGreeting, ' ', []byte(c.greeting())) // an error shows at the first read
	executed := make(chan struct{})
	go func() {
		defer close(executed)
		c.execute()
	}()
	why := c.readAll()
	if why != nil {
		c.stop(why)
	}
	close(c.requests)
	<-executed
	c.Unfollow(func(Subscription) bool { return true })
	c.out.finish()
	c.stop(errBye)
	if cause := context.Cause(c.ctx); why == nil && cause != errBye {
		why = cause
	}
	if err := c.conn.Close(); why == nil && err != nil {
		why = err
	}
	if why == errBye {
		why = nil
	}
	return why
}

// reader is the connection to read from: an idle TCP console is told and closed.
type reader struct{ c *Conn }

func (r reader) Read(b []byte) (int, error) {
	c := r.c
	for {
		c.mu.Lock()
		if c.ended || c.editor {
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		var deadline time.Time
		if c.link.TCP {
			left := c.server.o.Idle - time.Since(c.last)
			if left <= 0 || c.busy() {
				left = c.server.o.Idle
			}
			deadline = time.Now().Add(left)
		}
		if by, must := c.loginBy(); must {
			deadline = by
		}
		err := c.conn.SetReadDeadline(deadline)
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		n, err := c.conn.Read(b)
		if n > 0 || err == nil {
			return n, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		c.mu.Lock()
		stopped, busy := c.ended || c.editor, c.busy() || time.Since(c.last) < c.server.o.Idle
		by, must := c.loginBy()
		c.mu.Unlock()
		if stopped {
			return 0, err
		}
		if must && !time.Now().Before(by) {
			c.out.event(CodeNotice, fmt.Sprintf("No login for %s, closing", shortDuration(c.link.Login)), true)
			return 0, errNoLogin
		}
		if busy {
			continue
		}
		c.out.event(CodeNotice, fmt.Sprintf("Idle for %s, closing", shortDuration(c.server.o.Idle)), true)
		return 0, errIdle
	}
}

// loginBy is when a connection that may do nothing yet is closed, if it is to be. The lock is held.
func (c *Conn) loginBy() (time.Time, bool) {
	return c.since.Add(c.link.Login), c.role == RoleNone && c.link.Login > 0
}

// busy reports whether a console that says nothing is not idle. The lock is held.
func (c *Conn) busy() bool {
	return len(c.followers) > 0 || c.queued > 0 || c.running != nil
}

// readAll reads until the end of input, nil, or says why it stopped.
func (c *Conn) readAll() error {
	for {
		c.mu.Lock()
		editor := c.editor && !c.ended
		c.mu.Unlock()
		if editor {
			if err := c.runEditor(); err != nil {
				return err
			}
		}
		t, err := c.in.next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe):
			if more, err := c.finishQueue(); !more {
				return err
			}
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.ctx.Err() != nil {
				return context.Cause(c.ctx)
			}
			continue // an editor takes over
		default:
			return err
		}
		switch t.kind {
		case foreignToken:
			return errForeign
		case cancelToken:
			c.cancel()
			continue
		case timingToken:
			c.out.raw(telnetIAC, telnetWill, telnetTiming)
			continue
		case negotiateToken:
			// A client that negotiates wants more than lines.
			if c.server.o.Console == nil || c.link.Role == RoleNone {
				continue
			}
			t = token{kind: lineToken, line: "terminal interactive"}
		case lineToken:
			if strings.TrimSpace(t.line) == "cancel" {
				c.cancel()
				continue
			}
		}
		c.mu.Lock()
		c.read++
		c.queued++
		c.last = time.Now()
		q := request{t, c.read}
		c.mu.Unlock()
		if err := c.enqueue(q); err != nil {
			return err
		}
	}
}

// finishQueue waits, at the end of input, for the last request: it may have asked for an editor. more: that one has gone back to
// lines, and left some.
func (c *Conn) finishQueue() (more bool, err error) {
	if c.server.o.Console == nil || c.outer != nil {
		return false, nil
	}
	select {
	case c.requests <- request{token: token{kind: endToken}}:
	case <-c.yield:
		err := c.runEditor()
		return err == nil, err
	case <-c.ctx.Done():
		return false, context.Cause(c.ctx)
	}
	select {
	case <-c.finished:
		return false, nil
	case <-c.yield:
		err := c.runEditor()
		return err == nil, err
	case <-c.ctx.Done():
		return false, context.Cause(c.ctx)
	}
}

// enqueue waits for room: that is what holds back a console that asks faster than it is answered.
func (c *Conn) enqueue(q request) error {
	select {
	case c.requests <- q:
		return nil
	case <-c.yield:
		return c.runEditor(q)
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// errCancelled is the cause of a request that was cancelled.
var errCancelled = &Error{CodeCancelled, "Cancelled"}

// cancel ends the running request, and those that wait.
func (c *Conn) cancel() {
	c.mu.Lock()
	c.cancelled = c.read
	running := c.running
	c.mu.Unlock()
	if running != nil {
		running(errCancelled)
	}
}

// taken counts a request as begun.
func (c *Conn) taken() {
	c.mu.Lock()
	c.queued--
	c.last = time.Now()
	c.mu.Unlock()
	c.count.Add(1)
}

// execute runs requests until there are no more.
func (c *Conn) execute() {
	for q := range c.requests {
		if q.kind == endToken {
			c.finished <- struct{}{}
			continue
		}
		c.taken()
		ctx, cancel := context.WithCancelCause(c.ctx)
		c.mu.Lock()
		gone, dropped := c.ended && c.ctx.Err() != nil, q.number <= c.cancelled
		c.running = cancel
		c.mu.Unlock()
		if gone {
			cancel(nil)
			continue // to the end of the channel, so that the reader is not held
		}
		code, text := CodeCancelled, "Cancelled"
		if !dropped {
			code, text = c.answer(ctx, q.token)
		}
		c.mu.Lock()
		c.running, c.line, c.last = nil, "", time.Now()
		c.mu.Unlock()
		// A verdict of several lines ("Multiple clients match ...") has its code on each; the last one ends the reply.
		for head, rest, more := strings.Cut(text, "\n"); more; head, rest, more = strings.Cut(text, "\n") {
			_ = c.out.reply(ctx, code, '-', wire.Clean([]byte(head)))
			text = rest
		}
		_ = c.out.reply(ctx, code, ' ', wire.Clean([]byte(text))) // an error ends the connection by itself
		cancel(nil)
		c.startFollowers(code/100 == 2)
		for _, f := range c.after {
			f()
		}
		c.after = nil
		if q.kind == badToken || q.kind == longToken {
			c.badLines++
		} else {
			c.badLines = 0
		}
		switch {
		case code == CodeBye:
			c.stop(errBye)
		case c.badLines >= 10:
			c.stop(errBadLines)
		case c.failures >= 3:
			c.stop(errAuth)
		}
		if c.handOver() {
			select {
			case <-c.switched:
			case <-c.ctx.Done():
			}
		}
	}
}

// newNonce makes the challenge for the next auth.
func (c *Conn) newNonce() {
	if c.link.NoAuth || c.role == RoleAdmin {
		c.nonce = ""
		return
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	c.nonce = hex.EncodeToString(b[:])
}

// console describes the connection. Of one with an editor the inner one is shown, as one.
func (c *Conn) console() (Console, bool) {
	if c.interactive.Load() {
		return Console{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x := Console{
		ID: c.id, Who: c.link.Who, Listener: c.link.Listener, Product: c.product, Role: c.role, Since: c.since, Running: c.line,
		Requests: c.count.Load(), Interactive: c.outer != nil,
	}
	if c.running == nil {
		x.Idle = time.Since(c.last)
	}
	for _, f := range c.followers {
		x.Subscriptions = append(x.Subscriptions, f.snapshot())
	}
	return x, true
}

// shortDuration writes 15m0s as 15m.
func shortDuration(d time.Duration) string {
	s := d.String()
	for _, tail := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, tail) {
			s = s[:len(s)-2]
		}
	}
	return s
}
