package carrier

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Options of a Conn. The zero value works.
type Options struct {
	Local, Remote string        // for LocalAddr and RemoteAddr
	Window        int           // most bytes under way, and held unread, in each direction; 256 KiB
	Again         time.Duration // without an answer for so long, what has not arrived is sent again; 1 s
	Alive         time.Duration // a frame goes out at least so often; 2 s
	Nobody        time.Duration // how long nobody may listen at the other end; 3 s
	Silent        time.Duration // how long nothing may come; 15 s
	Linger        time.Duration // how long Close goes on sending; 3 s
}

func (o Options) withDefaults() Options {
	if o.Window == 0 {
		o.Window = 256 << 10
	}
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{{&o.Again, time.Second}, {&o.Alive, 2 * time.Second}, {&o.Nobody, 3 * time.Second}, {&o.Silent, 15 * time.Second}, {&o.Linger, 3 * time.Second}} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	return o
}

// Why a stream is over.
var (
	ErrNobody = errors.New("nobody listens at the other end any more")
	ErrSilent = errors.New("the other end is silent")
)

// Conn is one end of a stream, a net.Conn. Write returns when the bytes are held to be sent; what is held is bounded by
// the window, as is what has come and is not read. Closing ends both directions. One goroutine sends, and ends with the
// stream.
type Conn struct {
	o    Options
	send func(Frame) error
	done func()

	mu      sync.Mutex
	changed sync.Cond
	wake    chan struct{}

	in    []byte // came and was not read
	got   uint64 // bytes that came, and one for the end
	ended bool   // the other end has ended
	ack   bool   // it is to be told at once what has come
	room  uint64 // that it was told of

	out   []byte // to be sent, or sent and not known to have arrived
	base  uint64 // place of out[0]
	sent  uint64 // up to where it was sent
	limit uint64 // up to where the other end has room
	lucky time.Time
	end   bool // the end was sent

	heard      time.Time // when something came last
	said       time.Time // when something was sent last
	nobody     time.Time // since when nobody listens; zero: somebody does
	closed     time.Time // zero: it is open
	err        error
	readBy     deadline
	writeBy    deadline
	terminated chan struct{}
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) past() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// New makes an end of a stream. send sends a frame, and does not keep its Data; it is called by one goroutine and may fail:
// the frame comes again. room is how much the other end has said to take. done, if not nil, is called when nothing will be
// sent any more; nothing need be given to Receive then.
func New(o Options, room uint64, send func(Frame) error, done func()) *Conn {
	now := time.Now()
	c := &Conn{o: o.withDefaults(), send: send, done: done, limit: room, heard: now, lucky: now, wake: make(chan struct{}, 1),
		ack: true, terminated: make(chan struct{})}
	c.changed.L = &c.mu
	go c.run()
	return c
}

// Room is what an end with these options takes at first.
func (o Options) Room() uint64 { return uint64(o.withDefaults().Window) }

// Receive takes a frame that came. It does not wait; Data is copied.
func (c *Conn) Receive(f Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard, c.nobody = time.Now(), time.Time{}
	if f.Got >= c.base && f.Got <= c.base+uint64(len(c.out))+1 {
		n := min(f.Got-c.base, uint64(len(c.out)))
		if n > 0 {
			c.out = c.out[:copy(c.out, c.out[n:])]
			c.base += n
			c.lucky = c.heard
		}
		if f.Got > c.base && !c.closed.IsZero() {
			c.terminate(nil) // the end has arrived
		}
		c.sent = max(c.sent, c.base)
		c.limit = max(c.limit, f.Got+f.Room)
	}
	if len(f.Data) > 0 || f.End != "" {
		c.ack = true
		c.take(f)
	}
	c.changed.Broadcast()
	c.signal()
}

// take takes the bytes of a frame that are new. The lock is held.
func (c *Conn) take(f Frame) {
	if c.ended || f.At > c.got {
		return // what is between comes again
	}
	skip := c.got - f.At
	if skip > uint64(len(f.Data)) {
		return
	}
	b := f.Data[skip:]
	fits := min(len(b), c.o.Window-len(c.in))
	if c.closed.IsZero() {
		c.in = append(c.in, b[:fits]...)
	}
	c.got += uint64(fits)
	if f.End != "" && fits == len(b) {
		c.got++
		c.ended = true
		c.out, c.sent = nil, c.base // nobody takes it
	}
}

// Unreachable says that nobody listens where the frames go. It may be a moment without a server.
func (c *Conn) Unreachable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nobody.IsZero() {
		c.nobody = time.Now()
		c.signal()
	}
}

// Broken ends the stream for something that cannot be mended.
func (c *Conn) Broken(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.terminate(err)
}

// Done is closed when the stream is over and nothing is sent any more.
func (c *Conn) Done() <-chan struct{} { return c.terminated }

// terminate ends the sending. The lock is held.
func (c *Conn) terminate(err error) {
	if c.err == nil {
		c.err = net.ErrClosed
		if err != nil {
			c.err = err
		}
		close(c.terminated)
	}
	c.changed.Broadcast()
}

func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run sends: what there is to send, that the end is alive, and again what did not arrive.
func (c *Conn) run() {
	if c.done != nil {
		defer c.done()
	}
	tick := time.NewTicker(min(c.o.Again, c.o.Alive, c.o.Nobody) / 4)
	defer tick.Stop()
	buf := make([]byte, 0, MaxData)
	for {
		select {
		case <-c.wake:
		case <-tick.C:
		case <-c.terminated:
			return
		}
		for {
			f, ok := c.next(buf)
			if !ok {
				break
			}
			if c.send(f) != nil {
				break // it was counted as sent, and comes again
			}
		}
		c.mu.Lock()
		over := c.err != nil
		c.mu.Unlock()
		if over {
			return
		}
	}
}

// next is the frame to send now, if there is one.
func (c *Conn) next(buf []byte) (f Frame, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	closed := !c.closed.IsZero()
	switch {
	case c.err != nil:
		return f, false
	case !c.nobody.IsZero() && now.Sub(c.nobody) > c.o.Nobody:
		c.terminate(ErrNobody)
		return f, false
	case now.Sub(c.heard) > c.o.Silent:
		c.terminate(fmt.Errorf("%w for %s", ErrSilent, c.o.Silent))
		return f, false
	case closed && now.Sub(c.closed) > c.o.Linger:
		c.terminate(nil)
		return f, false
	}
	if (c.sent > c.base || c.end) && now.Sub(c.lucky) > c.o.Again {
		c.sent, c.end, c.lucky = c.base, false, now
	}
	room := uint64(c.o.Window - len(c.in))
	f = Frame{At: c.sent, Got: c.got, Room: room}
	from := c.sent - c.base
	n := min(uint64(len(c.out))-from, MaxData)
	if c.sent >= c.limit {
		n = 0
	} else {
		n = min(n, c.limit-c.sent)
	}
	f.Data = append(buf, c.out[from:from+n]...)
	if closed && !c.end && from+n == uint64(len(c.out)) {
		f.End, c.end, ok = "closed", true, true
	}
	// A reader that had no room has it again when half of the window is free.
	grown := c.room < uint64(c.o.Window/2) && room >= uint64(c.o.Window/2)
	alive := c.o.Alive
	if !c.nobody.IsZero() {
		alive = min(alive, c.o.Nobody/4)
	}
	if n == 0 && !ok && !c.ack && !grown && now.Sub(c.said) < alive {
		return f, false
	}
	if n > 0 && c.sent == c.base {
		c.lucky = now // what is awaited begins to be so
	}
	c.sent += n
	c.ack, c.room, c.said = false, room, now
	if closed && c.ended {
		c.terminate(nil) // both have ended: this is the last frame
	}
	return f, true
}

// Read reads what has come.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case !c.closed.IsZero():
			return 0, net.ErrClosed
		case c.readBy.past():
			return 0, os.ErrDeadlineExceeded
		case len(c.in) > 0:
			n := copy(b, c.in)
			c.in = c.in[:copy(c.in, c.in[n:])]
			if c.room < uint64(c.o.Window/2) {
				c.signal()
			}
			return n, nil
		case c.ended:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.err
		}
		c.changed.Wait()
	}
}

// Write holds bytes to be sent, and waits while the window is full of them.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case !c.closed.IsZero():
			return n, net.ErrClosed
		case c.ended:
			return n, io.ErrClosedPipe
		case c.err != nil:
			return n, c.err
		case len(b) == 0:
			return n, nil
		case c.writeBy.past():
			return n, os.ErrDeadlineExceeded
		}
		if k := min(len(b), c.o.Window-len(c.out)); k > 0 {
			c.out = append(c.out, b[:k]...)
			b, n = b[k:], n+k
			c.signal()
			continue
		}
		c.changed.Wait()
	}
}

// Close ends the stream. What was written goes on being sent, for the time of Linger at most.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed.IsZero() {
		return nil
	}
	c.closed = time.Now()
	c.in = nil
	c.changed.Broadcast()
	c.signal()
	return nil
}

type addr string

func (addr) Network() string  { return "nats" }
func (a addr) String() string { return string(a) }

// LocalAddr is Options.Local.
func (c *Conn) LocalAddr() net.Addr { return addr(c.o.Local) }

// RemoteAddr is Options.Remote.
func (c *Conn) RemoteAddr() net.Addr { return addr(c.o.Remote) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readBy, t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeBy, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed.IsZero() {
		return net.ErrClosed
	}
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if left := time.Until(t); !t.IsZero() && left > 0 {
		d.timer = time.AfterFunc(left, func() {
			c.mu.Lock()
			c.changed.Broadcast()
			c.mu.Unlock()
		})
	}
	c.changed.Broadcast()
	return nil
}
