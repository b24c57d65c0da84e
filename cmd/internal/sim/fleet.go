package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// Fleet is simulated routers. Its methods may be called concurrently.
type Fleet struct {
	o       Options
	tables  [families]*table
	routes  [families]int // of a peer
	routers []*Router
}

// New makes the routers, and the table they share. They do nothing yet.
func New(o Options) (*Fleet, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Fleet{o: o}
	n6 := int(float64(o.Prefixes)*o.IPv6 + 0.5)
	f.routes[ipv6] = min(int(float64(o.Routes)*o.IPv6+0.5), n6)
	f.routes[ipv4] = o.Routes - f.routes[ipv6]
	for fam, n := range [families]int{ipv4: max(o.Prefixes-n6, f.routes[ipv4]), ipv6: n6} {
		rng := rand.New(rand.NewPCG(o.Seed, uint64(fam)))
		f.tables[fam] = newTable(family(fam), n, o.PerUpdate, o.PerSet, rng)
	}
	for i := range o.Routers {
		f.routers = append(f.routers, &Router{fleet: f, number: i})
	}
	return f, nil
}

// Routers are all of them.
func (f *Fleet) Routers() []*Router { return f.routers }

// Router is number i, from 0.
func (f *Fleet) Router(i int) *Router { return f.routers[i] }

// Sets is the number of attribute sets that one peer with the whole table has.
func (f *Fleet) Sets() int { return f.tables[ipv4].sets + f.tables[ipv6].sets }

// Run has all routers dial addr, each in a goroutine of its own, and waits until the last is done: with its messages, or, with
// Hold or Redial, with the context. The error tells of the first router that failed, and how many did.
func (f *Fleet) Run(ctx context.Context, addr string) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	failed := 0
	for i, r := range f.routers {
		wg.Go(func() {
			if f.o.Within > 0 && !wait(ctx, f.o.Within*time.Duration(i)/time.Duration(len(f.routers))) {
				return
			}
			err := r.stay(ctx, addr)
			if err == nil || ctx.Err() != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if failed++; first == nil {
				first = fmt.Errorf("router %d: %w", i, err)
			}
		})
	}
	wg.Wait()
	if failed > 1 {
		return fmt.Errorf("%d of %d routers failed: %w", failed, len(f.routers), first)
	}
	return first
}

// wait waits for d, and says whether it was not the context that ended it.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Report is the sum of what all routers have sent so far.
func (f *Fleet) Report() Report {
	var sum Report
	for _, r := range f.routers {
		sum.add(r.Report())
	}
	return sum
}

// Report counts what was sent. Announced and withdrawn are NLRI; malformed UPDATEs are in Messages, but their NLRI in neither.
type Report struct {
	Connected int // sessions that are up
	Sessions  int // that ever were
	Dumped    int // that sent all of their dump
	Done      int // that sent everything they had to
	Messages  [bmp.MessageTypes]int64
	Bytes     int64
	Announced int64
	Withdrawn int64
	Malformed int64
	Flaps     int64
}

func (r *Report) add(s Report) {
	r.Connected += s.Connected
	r.Sessions += s.Sessions
	r.Dumped += s.Dumped
	r.Done += s.Done
	for i := range r.Messages {
		r.Messages[i] += s.Messages[i]
	}
	r.Bytes += s.Bytes
	r.Announced += s.Announced
	r.Withdrawn += s.Withdrawn
	r.Malformed += s.Malformed
	r.Flaps += s.Flaps
}

// Total is the number of messages of all types.
func (r Report) Total() int64 {
	var n int64
	for _, m := range r.Messages {
		n += m
	}
	return n
}

// Router is one simulated router. Report may be called at any time; what tells of routes once it has stopped sending.
type Router struct {
	fleet  *Fleet
	number int

	mu     sync.Mutex
	report Report

	peers []*peer // made by the first that needs them, and again for each session
}

// Report is what the router has sent so far, in all its sessions.
func (r *Router) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

func (r *Router) count(change func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.report)
}

// Name is its sysName.
func (r *Router) Name() string {
	return strings.ReplaceAll(r.fleet.o.Name, "%d", strconv.Itoa(r.number+1))
}

// peer is a peer of one session.
type peer struct {
	bmptest.Peer
	source attributeSource
	runs   [families]run
	// state is by unit what changed: the version of the attributes, and whether it is withdrawn. nil if nothing did.
	state [families][]uint8
}

const withdrawn = 0x80 // bit of a state

func (p *peer) stateOf(f family, i int) uint8 {
	if p.state[f] == nil {
		return 0
	}
	return p.state[f][i]
}

// newPeer is peer i of the router. Its address and AS tell it from all other peers of the fleet.
func (r *Router) newPeer(i int) *peer {
	f := r.fleet
	id := uint32(r.number*f.o.Peers+i) + 1
	v4 := [4]byte{10, byte(id >> 16), byte(id >> 8), byte(id)}
	v6 := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 10, 12: byte(id >> 24), 13: byte(id >> 16), 14: byte(id >> 8), 15: byte(id)}
	as := 64512 + uint32(i)
	if as > 65534 {
		as = 4200000000 + uint32(i)
	}
	address := netip.AddrFrom4(v4)
	if float64(i) >= float64(f.o.Peers)*(1-f.o.IPv6)-1e-9 {
		address = netip.AddrFrom16(v6)
	}
	p := &peer{Peer: bmptest.NewPeer(address.String(), as)}
	p.Header.BGPID, p.Received.ID = v4, v4
	p.RemotePort = uint16(32768 + id%28000)
	local := r.localAS()
	p.Sent.AS = local
	p.Sent.Families = f.families()
	p.Received.Families = f.families()
	p.source = attributeSource{seed: f.o.Seed, as: as, v4: v4, v6: v6, shared: uint64(f.o.Shared * (1 << 63))}
	for fam, t := range f.tables {
		rng := rand.New(rand.NewPCG(f.o.Seed^uint64(id)<<8, uint64(fam)+100))
		p.runs[fam] = newRun(t, f.routes[fam], rng)
	}
	return p
}

func (r *Router) localAS() uint32 { return 64500 }

// families are those that the OPENs tell.
func (f *Fleet) families() []bmptest.Family {
	list := []bmptest.Family{}
	for fam, n := range f.routes {
		if n > 0 {
			list = append(list, bgpFamilies[fam])
		}
	}
	if len(list) == 0 {
		list = append(list, bmptest.IPv4Unicast)
	}
	return list
}

var bgpFamilies = [families]bmptest.Family{ipv4: bmptest.IPv4Unicast, ipv6: bmptest.IPv6Unicast}

func (r *Router) makePeers() {
	r.peers = nil
	for i := range r.fleet.o.Peers {
		r.peers = append(r.peers, r.newPeer(i))
	}
}

// PeerHeader is the Per-Peer Header of a peer in a view, without a time.
func (r *Router) PeerHeader(i int, v bmp.View) bmp.PerPeerHeader {
	if v == bmp.LocRIB {
		return r.locRIB().Header
	}
	return r.newPeer(i).In(v).Header
}

// locRIB is the router's Loc-RIB as a peer.
func (r *Router) locRIB() bmptest.Peer {
	p := bmptest.NewLocRIB("global", 0, r.localAS())
	p.Sent.Families = r.fleet.families()
	p.Received = p.Sent
	return p
}

// Route is a route that a peer holds.
type Route struct {
	Prefix     netip.Prefix
	NextHop    netip.Addr
	Attributes []byte // path attributes as sent, with 4-octet AS numbers, but for MP_REACH_NLRI; valid until the next route
}

// Routes yields the routes that a peer, counted from 0, holds in each of its views: those that were announced last and not
// withdrawn. Loc-RIB holds those of peer 0.
func (r *Router) Routes(peer int) iter.Seq[Route] {
	return func(yield func(Route) bool) {
		if r.peers == nil {
			r.makePeers()
		}
		p := r.peers[peer]
		var attrs []byte
		for fam, t := range r.fleet.tables {
			fam := family(fam)
			for i := range p.runs[fam].n {
				state := p.stateOf(fam, i)
				if state&withdrawn != 0 {
					continue
				}
				u, nlri := p.runs[fam].at(t, i)
				attrs = p.source.appendAttributes(attrs[:0], fam, u.set, state)
				hop := p.source.nextHop(fam, u.set)
				if !prefixes(fam, nlri, func(pfx netip.Prefix) bool { return yield(Route{pfx, hop, attrs}) }) {
					return
				}
			}
		}
	}
}

// Held is the number of routes that a peer, counted from 0, holds in each of its views.
func (r *Router) Held(peer int) int {
	if r.peers == nil {
		r.makePeers()
	}
	p := r.peers[peer]
	n := 0
	for fam, t := range r.fleet.tables {
		n += r.fleet.routes[fam]
		for i, state := range p.state[fam] {
			if state&withdrawn != 0 {
				u, _ := p.runs[fam].at(t, i)
				n -= int(u.count)
			}
		}
	}
	return n
}

// stay dials, and dials again if it is to.
func (r *Router) stay(ctx context.Context, addr string) error {
	for {
		err := r.Dial(ctx, addr)
		if r.fleet.o.Redial <= 0 || ctx.Err() != nil || err == nil && !r.fleet.o.Hold {
			return err
		}
		if !wait(ctx, r.fleet.o.Redial) {
			return ctx.Err()
		}
	}
}

// errClosed is the end of a session that the station closed.
var errClosed = errors.New("the station closed the session")

// Dial is one session with a station: it dials, sends everything, and with Hold stays until the context ends. When that
// happens the router says so in a Termination message, unless it was in the middle of another, and there is no error.
func (r *Router) Dial(ctx context.Context, addr string) error {
	var d net.Dialer
	if s := r.fleet.o.Sources; len(s) > 0 {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s[r.number%len(s)], 0))
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r.count(func(s *Report) { s.Connected++ })
	defer r.count(func(s *Report) { s.Connected-- })

	gone := make(chan struct{}) // a station says nothing, so the end of reading is the end of the session
	go func() {
		defer close(gone)
		var b [16]byte
		for {
			if _, err := conn.Read(b[:]); err != nil {
				return
			}
		}
	}()
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		conn.SetWriteDeadline(time.Now())
	})
	defer stop()

	w := &wholeWriter{w: conn}
	err = r.Send(ctx, w)
	if err == nil && r.fleet.o.Hold {
		select {
		case <-ctx.Done():
		case <-gone:
			return errClosed
		}
	}
	if ctx.Err() != nil && w.whole() {
		if !stop() {
			<-cut // or it would end the Termination's own time
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		b := new(bmptest.Session).Termination(0).Bytes()
		if _, werr := conn.Write(b); werr == nil {
			r.count(func(s *Report) { s.Messages[bmp.TerminationType]++; s.Bytes += int64(len(b)) })
		}
		return nil
	}
	if err == nil {
		// Everything is sent; closing with bytes unread on the way would lose them.
		if tcp, ok := conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
			select {
			case <-gone:
			case <-ctx.Done():
			}
		}
	}
	return err
}

// wholeWriter knows whether all that was written went out.
type wholeWriter struct {
	w   net.Conn
	cut bool
}

func (w *wholeWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.cut = n > 0 && n < len(b)
	return n, err
}

func (w *wholeWriter) whole() bool { return !w.cut }
