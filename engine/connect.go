package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bmp/engine/client"
	"bmp/engine/listen"
)

// MaxRemotes bounds the routers that a station dials: while one in another namespace does not answer, its dial holds a
// thread.
const MaxRemotes = 256

// Pauses between the attempts to reach a router. A session that held for longer than the last begins with the first again.
const (
	firstRedial = time.Second
	lastRedial  = time.Minute
)

// A Dialled is a router that the station connects to, again and again (RFC 7854, Section 3.2: the router is passive).
type Dialled struct {
	remote listen.Remote
	stop   context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	session *client.Session // nil: not connected
	made    uint64          // connections
	failed  uint64          // attempts
	trouble string          // why the last attempt failed, or the last session ended; empty: neither yet
	next    time.Time
}

// DialledStats is how a Dialled stands.
type DialledStats struct {
	Connected bool
	Made      uint64    // connections
	Failed    uint64    // attempts
	Trouble   string    // the last; empty while connected
	Next      time.Time // next attempt, while not connected
}

// Remote is whom it dials.
func (d *Dialled) Remote() listen.Remote { return d.remote }

// Stats says how it stands.
func (d *Dialled) Stats() DialledStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := DialledStats{Connected: d.session != nil, Made: d.made, Failed: d.failed}
	if !st.Connected {
		st.Trouble, st.Next = d.trouble, d.next
	}
	return st
}

// ErrDialledAlready is a router that the station dials already.
var ErrDialledAlready = errors.New("dialled already")

// ErrTooManyRemotes is one router too many.
var ErrTooManyRemotes = fmt.Errorf("%d routers are dialled already", MaxRemotes)

// firstAnswer is how long Connect waits for the outcome of the first attempt. A configuration may name many routers.
const firstAnswer = 300 * time.Millisecond

// Connect begins to dial a router. What the machine lacks for it, as listen.Dial tells it, is told at once; a router that
// does not answer is tried for ever. The Dialled may be connected already.
func (s *Station) Connect(r listen.Remote) (*Dialled, error) {
	ctx, stop := context.WithCancel(context.Background())
	d := &Dialled{remote: r, stop: stop, done: make(chan struct{})}
	s.mu.Lock()
	err := error(nil)
	switch {
	case s.closing:
		err = net.ErrClosed
	case len(s.dialled) >= MaxRemotes:
		err = ErrTooManyRemotes
	case slices.ContainsFunc(s.dialled, func(o *Dialled) bool { return o.remote.Name() == r.Name() }):
		err = ErrDialledAlready
	}
	if err != nil {
		s.mu.Unlock()
		stop()
		return nil, err
	}
	s.dialled = append(s.dialled, d)
	s.accepts.Add(1)
	s.mu.Unlock()
	first := make(chan error, 1)
	go func() {
		defer s.accepts.Done()
		defer close(d.done)
		s.dial(ctx, d, first)
	}()
	timer := time.NewTimer(firstAnswer)
	defer timer.Stop()
	select {
	case err := <-first:
		if lacking(err) {
			s.forgetDialled(d)
			stop()
			return nil, err
		}
	case <-timer.C:
	}
	return d, nil
}

// lacking reports whether a dial failed for what this machine lacks.
func lacking(err error) bool {
	return errors.As(err, new(*listen.NoNamespaceError)) || errors.As(err, new(*listen.PlaceError)) || errors.As(err, new(*listen.CapabilityError))
}

// dial keeps a router connected until ctx ends. What comes of the first attempt is sent to first.
func (s *Station) dial(ctx context.Context, d *Dialled, first chan<- error) {
	pause := firstRedial
	told := ""
	for attempt := 1; ; attempt++ {
		began := time.Now()
		conn, err := listen.Dial(ctx, d.remote)
		if err == nil {
			told = ""
			s.connected(ctx, d, conn, func() {
				if attempt == 1 {
					first <- nil
				}
			})
			if time.Since(began) > lastRedial {
				pause = firstRedial
			}
		}
		wait := pause + rand.N(pause/4) // routers that were lost together are not dialled together
		pause = min(2*pause, lastRedial)
		d.ended(err, time.Now().Add(wait))
		if err != nil && ctx.Err() == nil {
			if attempt == 1 {
				first <- err
			}
			if told != err.Error() && (attempt > 1 || !lacking(err)) { // once, and not at every attempt
				told = err.Error()
				s.say("Router %s not reached: %s", d.remote.Name(), told)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// ended notes the end of an attempt, or of a session where err is nil.
func (d *Dialled) ended(err error, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session, d.next, d.trouble = nil, next, "session ended"
	if err != nil {
		d.failed++
		d.trouble = err.Error()
	}
}

// connected runs a session with a router that was dialled, to its end; begun is called when it runs.
func (s *Station) connected(ctx context.Context, d *Dialled, conn *listen.Conn, begun func()) {
	local, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	x := s.serve(conn, client.Endpoint{
		Remote: conn.Remote(), Local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), Listener: "connect " + d.remote.Name(),
		Netns: d.remote.Netns, VRF: d.remote.VRF,
	})
	if x == nil { // the station stops
		return
	}
	d.mu.Lock()
	d.session = x
	d.made++
	d.mu.Unlock()
	begun()
	end := context.AfterFunc(ctx, func() { x.Close("no longer dialled") })
	<-x.Done()
	end()
}

// NoConnect ends the session with a dialled router and dials it no more; name is its place, [NETNS/]ADDR:PORT. It is false
// when there is none.
func (s *Station) NoConnect(name string) bool {
	s.mu.Lock()
	i := slices.IndexFunc(s.dialled, func(d *Dialled) bool { return d.remote.Name() == name })
	if i < 0 {
		s.mu.Unlock()
		return false
	}
	d := s.dialled[i]
	s.mu.Unlock()
	s.forgetDialled(d)
	d.stop()
	<-d.done
	return true
}

func (s *Station) forgetDialled(d *Dialled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialled = slices.DeleteFunc(s.dialled, func(o *Dialled) bool { return o == d })
}

// Dialled lists the routers that the station dials, in the order they were asked for.
func (s *Station) Dialled() []*Dialled {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dialled)
}
