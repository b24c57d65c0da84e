package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"bmp/cmd/internal/sim"
	"bmp/proto/bmp"
)

// load is simulated routers that are connected to a station and send when they are let: first their dump, then, with
// Changes, as many changes a second as the gate says.
type load struct {
	fleet *sim.Fleet
	conns []net.Conn
	gate  gate
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu  sync.Mutex
	err error
}

// dump connects the routers and sends their dumps; the station may not have worked on all of that yet. close must follow.
func (b *bench) dump(s *benchStation, o sim.Options) (*load, error) {
	fleet, err := sim.New(o)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(b.ctx)
	l := &load{fleet: fleet, stop: stop}
	l.gate.changed.L = &l.gate.mu
	dumped := make(chan struct{}, o.Routers)
	for i, r := range fleet.Routers() {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("router %d: %w", i, err)
		}
		l.conns = append(l.conns, conn)
		l.done.Go(func() {
			w := &gatedWriter{conn: conn, router: r, gate: &l.gate, dumped: dumped}
			err := r.Send(ctx, w)
			w.tell()
			if err != nil && ctx.Err() == nil {
				l.mu.Lock()
				l.err = errors.Join(l.err, err)
				l.mu.Unlock()
			}
		})
	}
	for range fleet.Routers() {
		select {
		case <-dumped:
		case <-b.ctx.Done():
			l.close()
			return nil, b.ctx.Err()
		}
	}
	l.mu.Lock()
	err = l.err
	l.mu.Unlock()
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// close ends the sessions.
func (l *load) close() {
	l.stop()
	l.gate.set(-1)
	for _, c := range l.conns {
		c.Close()
	}
	l.done.Wait()
}

// finish waits until the routers have sent all they have to. They stay connected.
func (l *load) finish() error {
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// gate says how many routes a second the routers may change together: 0 none, negative as many as the station takes.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	rate    float64
	since   time.Time // of the rate
	sent    float64   // since then
	waiting int       // routers that wait for a rate
}

func (g *gate) set(rate float64) {
	g.mu.Lock()
	g.rate, g.since, g.sent = rate, time.Now(), 0
	g.mu.Unlock()
	g.changed.Broadcast()
}

// shut closes the gate and waits until all of n routers stand before it: what they sent has been written.
func (g *gate) shut(n int) {
	g.set(0)
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.waiting < n && g.rate == 0 {
		g.changed.Wait()
	}
}

// pass waits until so many routes more may be sent.
func (g *gate) pass(routes float64) {
	g.mu.Lock()
	g.waiting++
	g.changed.Broadcast()
	for g.rate == 0 {
		g.changed.Wait()
	}
	g.waiting--
	g.sent += routes
	var early time.Duration
	if g.rate > 0 {
		early = time.Duration(g.sent/g.rate*float64(time.Second)) - time.Since(g.since)
	}
	g.mu.Unlock()
	if early > 0 {
		time.Sleep(min(early, time.Second))
	}
}

// gatedWriter lets a dump through and holds what comes after it at the gate.
type gatedWriter struct {
	conn   net.Conn
	router *sim.Router
	gate   *gate
	dumped chan<- struct{}
	told   bool
	sent   int64 // routes changed
}

func (w *gatedWriter) Write(p []byte) (int, error) {
	// The report counts what was written before: it is one write late, which a pace does not mind.
	if r := w.router.Report(); r.Dumped > 0 {
		w.tell()
		n := r.Announced + r.Withdrawn
		w.gate.pass(float64(n - max(w.sent, 0)))
		w.sent = n
	} else {
		w.sent = r.Announced + r.Withdrawn
	}
	return w.conn.Write(p)
}

// tell says that the dump is sent.
func (w *gatedWriter) tell() {
	if !w.told {
		w.told = true
		w.dumped <- struct{}{}
	}
}

// settled waits until the station has worked on all that was sent to it, by several loads together.
func (s *benchStation) settled(ctx context.Context, loads ...*load) (stationSummary, error) {
	var sent int64
	for _, l := range loads {
		sent += l.fleet.Report().Total()
	}
	if sum, err := s.until(ctx, func(x stationSummary) bool { return x.Messages >= sent }); err != nil {
		return sum, err
	}
	// A summary counts the routes before the messages: those of the last messages are in the next one.
	return s.summary(ctx)
}

// example is something of a route that a question can ask for.
type example struct {
	prefix    netip.Prefix
	nextHop   netip.Addr
	origin    uint32
	community string
}

// examples are n routes of peer 0 of the first router of a fleet with these options, from all of its table.
func examples(o sim.Options, n int) ([]example, error) {
	o.Routers = 1
	fleet, err := sim.New(o)
	if err != nil {
		return nil, err
	}
	r := fleet.Router(0)
	step := max(1, r.Held(0)/n)
	var list []example
	i := 0
	for route := range r.Routes(0) {
		if i++; i%step != 0 {
			continue
		}
		e := example{prefix: route.Prefix, nextHop: route.NextHop}
		for a := route.Attributes; len(a) >= 3; {
			head, size := 3, int(a[2])
			if a[0]&0x10 != 0 { // extended length, RFC 4271, Section 4.3
				if len(a) < 4 {
					break
				}
				head, size = 4, int(a[2])<<8|int(a[3])
			}
			if len(a) < head+size {
				break
			}
			switch v := a[head : head+size]; {
			case a[1] == 2 && len(v) >= 6: // AS_PATH of 4-octet AS numbers: the last is the origin
				o := v[len(v)-4:]
				e.origin = uint32(o[0])<<24 | uint32(o[1])<<16 | uint32(o[2])<<8 | uint32(o[3])
			case a[1] == 8 && len(v) >= 4: // COMMUNITIES
				v = v[len(v)-4:]
				e.community = fmt.Sprintf("%d:%d", int(v[0])<<8|int(v[1]), int(v[2])<<8|int(v[3]))
			}
			a = a[head+size:]
		}
		list = append(list, e)
	}
	return list, nil
}

// peerDown is the message that takes peer i of a router down.
func peerDown(r *sim.Router, i int) ([]byte, error) {
	h := r.PeerHeader(i, bmp.AdjInPre)
	h.SetTime(time.Now())
	m := &bmp.PeerDown{PeerHeader: h, Reason: bmp.DownRemote}
	return m.Append(nil, bmp.Encoding{})
}
