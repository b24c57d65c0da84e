package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// PlayOptions are the options of Play. The zero value plays as fast as the station reads.
type PlayOptions struct {
	// Speed is 1 for the pace of the recording, 10 for ten times as fast; 0 is as fast as possible. Where a file
	// knows no times (RIB dumps) there is no pace.
	Speed float64
	// Hold keeps the connections open after the last event until the context ends: the station goes on holding the
	// routes as those of a router that is up. A connection that ended in the recording is closed all the same.
	Hold bool
	// Dial connects a stream; nil is TCP to the address.
	Dial func(ctx context.Context, stream int) (net.Conn, error)
}

// Report is what was played.
type Report struct {
	Streams int // connections
	Events  int
	Bytes   int64
}

// gapOfRouterTimes is the longest gap in the times of raw BMP that is waited for. They are the router's, who dates the
// routes of a dump when it learned them.
const gapOfRouterTimes = time.Minute

// Play plays a file to a station at addr, "ADDR:PORT", with one connection for each stream. It returns when all is sent and
// the station has closed or read it, or with the context's error. The report is right with an error, too; where the file is
// cut short everything before is played.
func Play(ctx context.Context, f *File, addr string, o PlayOptions) (rep Report, err error) {
	p := &player{ctx: ctx, o: o, conns: map[int]*conn{}, open: map[net.Conn]struct{}{}, rep: &rep}
	if p.o.Dial == nil {
		p.o.Dial = func(ctx context.Context, _ int) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	// A write that the station does not read ends with the context.
	stop := context.AfterFunc(ctx, p.interrupt)
	defer stop()
	defer p.closeAll()

	patience := time.Duration(0)
	if f.Kind() == BMP {
		patience = gapOfRouterTimes
	}
	pace := pacer{speed: o.Speed, gap: patience}
	var fileErr error
	for {
		e, err := f.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fileErr = err
			}
			break
		}
		if wait := pace.wait(e.Time, time.Now()); wait > 0 {
			if err := p.flush(); err != nil {
				return rep, err
			}
			if err := sleep(ctx, wait); err != nil {
				return rep, err
			}
		}
		if err := p.play(e); err != nil {
			return rep, err
		}
	}
	if err := p.flush(); err != nil {
		return rep, err
	}
	if o.Hold && len(p.conns) > 0 { // all is sent: the end of the context is no failure
		<-ctx.Done()
		return rep, fileErr
	}
	if err := ctx.Err(); err != nil {
		return rep, err
	}
	for n := range p.conns {
		p.finish(n)
	}
	return rep, fileErr
}

// pacer says how long to wait for a time of the recording.
type pacer struct {
	speed float64
	gap   time.Duration // longer gaps are no waits; 0: all are
	begin time.Time     // when the first event with a time was played
	clock time.Duration // of the recording since then
	high  time.Time     // the latest time so far
}

func (p *pacer) wait(t, now time.Time) time.Duration {
	if p.speed <= 0 || t.IsZero() {
		return 0
	}
	if p.begin.IsZero() {
		p.begin, p.high = now, t
		return 0
	}
	d := t.Sub(p.high)
	if d <= 0 {
		return 0
	}
	p.high = t
	if p.gap > 0 && d > p.gap {
		return 0
	}
	p.clock += d
	return p.begin.Add(time.Duration(float64(p.clock) / p.speed)).Sub(now)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type conn struct {
	net.Conn
	w *bufio.Writer
}

type player struct {
	ctx   context.Context
	o     PlayOptions
	rep   *Report
	conns map[int]*conn

	mu   sync.Mutex // guards open, which the end of the context uses from another goroutine
	open map[net.Conn]struct{}
}

// track notes an open connection, so that the end of the context ends its writes.
func (p *player) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = struct{}{}
	if p.ctx.Err() != nil {
		_ = c.SetDeadline(time.Unix(1, 0))
	}
}

func (p *player) untrack(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *player) interrupt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.SetDeadline(time.Unix(1, 0))
	}
}

func (p *player) play(e Event) error {
	c := p.conns[e.Stream]
	if c == nil {
		if len(e.Data) == 0 {
			return nil
		}
		nc, err := p.o.Dial(p.ctx, e.Stream)
		if err != nil {
			return err
		}
		c = &conn{nc, bufio.NewWriterSize(nc, 64<<10)}
		p.conns[e.Stream] = c
		p.track(nc)
		p.rep.Streams++
	}
	if _, err := c.w.Write(e.Data); err != nil {
		return p.failed(e.Stream, err)
	}
	p.rep.Events++
	p.rep.Bytes += int64(len(e.Data))
	if e.End {
		if err := c.w.Flush(); err != nil {
			return p.failed(e.Stream, err)
		}
		p.finish(e.Stream)
	}
	return nil
}

// failed tells of a connection that broke. When the context ended it, that is the reason.
func (p *player) failed(stream int, err error) error {
	if p.ctx.Err() != nil {
		return p.ctx.Err()
	}
	return fmt.Errorf("stream %d: the station closed the connection: %w", stream, err)
}

func (p *player) flush() error {
	for n, c := range p.conns {
		if err := c.w.Flush(); err != nil {
			return p.failed(n, err)
		}
	}
	return nil
}

// finish closes a connection so that nothing sent is lost: it says that there is no more, and lets the station close.
func (p *player) finish(stream int) {
	c := p.conns[stream]
	delete(p.conns, stream)
	if t, ok := c.Conn.(interface{ CloseWrite() error }); ok && t.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.Copy(io.Discard, c)
	}
	p.untrack(c.Conn)
	c.Close()
}

func (p *player) closeAll() {
	for n, c := range p.conns {
		delete(p.conns, n)
		p.untrack(c.Conn)
		c.Close()
	}
}
