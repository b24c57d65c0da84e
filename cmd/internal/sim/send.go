package sim

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// sender writes the messages of one session. Whole messages are collected and written together.
type sender struct {
	ctx    context.Context
	w      io.Writer
	r      *Router
	buf    []byte
	counts Report // of what is in buf
	err    error  // the first; nothing is written after it

	clock time.Time // zero: now, as of the last write
	now   time.Time

	updates   int     // well-formed ones of the session
	malformed float64 // owed
	kind      int     // of the next malformed one
	attrs     []byte
	attrsOf   attrsKey
}

// attrsKey is what sender.attrs were made for.
type attrsKey struct {
	p       *peer
	f       family
	set     uint32
	version uint8
}

// chunk is how much is collected before it is written.
const chunk = 64 << 10

var chunks = sync.Pool{New: func() any { b := make([]byte, 0, chunk+8<<10); return &b }}

// Send writes a whole session to w: Initiation, Peer Ups, the dump, statistics, changes. It ends when all is written, or with
// the context. A Router sends one session at a time.
func (r *Router) Send(ctx context.Context, w io.Writer) error {
	o := &r.fleet.o
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	s := &sender{ctx: ctx, w: w, r: r, buf: (*buf)[:0], clock: o.Clock, now: o.Clock}
	if s.clock.IsZero() {
		s.now = time.Now()
	}
	r.makePeers()
	r.count(func(rep *Report) { rep.Sessions++ })

	s.add(&bmp.Initiation{TLVs: []bmp.TLV{
		{Type: bmp.InitSysDescr, Value: []byte("simulated router")},
		{Type: bmp.InitSysName, Value: []byte(r.Name())},
	}})
	views, loc := s.views()
	if loc {
		s.up(r.locRIB())
	}
	for _, p := range r.peers {
		s.up(p.Peer)
	}
	if loc && len(r.peers) > 0 {
		s.dump(r.peers[0], bmp.LocRIB)
	}
	for _, p := range r.peers {
		for _, v := range views {
			s.dump(p, v)
		}
	}
	s.statistics(views, loc)
	s.flush()
	if s.err != nil {
		return s.err
	}
	r.count(func(rep *Report) { rep.Dumped++ })
	if err := s.change(); err != nil {
		return err
	}
	r.count(func(rep *Report) { rep.Done++ })
	return nil
}

// views are those of peers, and whether there is a Loc-RIB.
func (s *sender) views() (views []bmp.View, loc bool) {
	for _, v := range s.r.fleet.o.Views {
		if v == bmp.LocRIB {
			loc = true
		} else {
			views = append(views, v)
		}
	}
	return views, loc
}

// flush writes what is collected.
func (s *sender) flush() {
	if len(s.buf) == 0 || s.err != nil {
		return
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return
	}
	if _, s.err = s.w.Write(s.buf); s.err != nil {
		return
	}
	s.counts.Bytes += int64(len(s.buf))
	s.r.count(func(r *Report) { r.add(s.counts) })
	s.counts = Report{}
	s.buf = s.buf[:0]
	if s.clock.IsZero() {
		s.now = time.Now()
	}
}

// tick is the time of the next message, and makes room for it.
func (s *sender) tick() time.Time {
	if len(s.buf) >= chunk {
		s.flush()
		if s.err != nil {
			s.buf, s.counts = s.buf[:0], Report{}
		}
	}
	if !s.clock.IsZero() {
		s.now = s.now.Add(time.Microsecond)
	}
	return s.now
}

// add appends a message that is not hot.
func (s *sender) add(m bmp.Message) {
	now := s.tick()
	if h := m.Peer(); h != nil {
		h.SetTime(now)
	}
	b, err := m.Append(s.buf, bmp.Encoding{})
	if err != nil && s.err == nil {
		s.err = err
	}
	s.buf = b
	s.counts.Messages[m.Type()]++
}

func (s *sender) up(p bmptest.Peer) { s.add(p.UpMessage()) }

// head is common and Per-Peer Header of a peer's messages, and the header of the UPDATE: a template.
type head [bmp.HeaderLen + bmp.PerPeerHeaderLen + 19]byte

// newHead is the head for Route Monitoring of a view.
func (s *sender) newHead(p *peer, v bmp.View) *head {
	h := p.In(v).Header
	if v == bmp.LocRIB {
		h = s.r.locRIB().Header
	}
	b := append([]byte{3, 0, 0, 0, 0, byte(bmp.RouteMonitoringType)}, h.AppendTo(nil)...)
	return (*head)(append(b, bmptest.PDU(2, nil)...))
}

// begin appends the head; end, given where it began, fills in the lengths.
func (s *sender) begin(h *head) int {
	now := s.tick()
	start := len(s.buf)
	s.buf = append(s.buf, h[:]...)
	binary.BigEndian.PutUint32(s.buf[start+40:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(s.buf[start+44:], uint32(now.Nanosecond()/1000))
	return start
}

func (s *sender) end(start int) {
	n := len(s.buf) - start
	binary.BigEndian.PutUint32(s.buf[start+1:], uint32(n))
	binary.BigEndian.PutUint16(s.buf[start+64:], uint16(n-48))
	s.counts.Messages[bmp.RouteMonitoringType]++
}

// announce appends an UPDATE that announces a unit.
func (s *sender) announce(h *head, p *peer, f family, i int, version uint8) {
	u, nlri := p.runs[f].at(s.r.fleet.tables[f], i)
	if key := (attrsKey{p, f, u.set, version}); key != s.attrsOf || len(s.attrs) == 0 {
		s.attrs = p.source.appendAttributes(s.attrs[:0], f, u.set, version)
		s.attrsOf = key
	}
	start := s.begin(h)
	b := s.buf
	if f == ipv4 {
		b = append(b, 0, 0, byte(len(s.attrs)>>8), byte(len(s.attrs)))
		b = append(b, s.attrs...)
		b = append(b, nlri...)
	} else {
		reach := 3 + 1 + 16 + 1 + len(nlri) // RFC 4760, Section 3
		n := len(s.attrs) + 4 + reach
		b = append(b, 0, 0, byte(n>>8), byte(n))
		b = append(b, s.attrs...)
		b = append(b, 0x90, 14, byte(reach>>8), byte(reach), 0, 2, 1, 16)
		hop := p.source.resolve(u.set).v6
		b = append(append(b, hop[:]...), 0)
		b = append(b, nlri...)
	}
	s.buf = b
	s.end(start)
	s.counts.Announced += int64(u.count)
	s.owe(h)
}

// withdraw appends an UPDATE that withdraws a unit.
func (s *sender) withdraw(h *head, p *peer, f family, i int) {
	u, nlri := p.runs[f].at(s.r.fleet.tables[f], i)
	start := s.begin(h)
	if f == ipv4 {
		s.buf = append(s.buf, byte(len(nlri)>>8), byte(len(nlri)))
		s.buf = append(s.buf, nlri...)
		s.buf = append(s.buf, 0, 0)
	} else {
		n := 3 + len(nlri) // RFC 4760, Section 4
		s.buf = append(s.buf, 0, 0, byte((n+4)>>8), byte(n+4), 0x90, 15, byte(n>>8), byte(n), 0, 2, 1)
		s.buf = append(s.buf, nlri...)
	}
	s.end(start)
	s.counts.Withdrawn += int64(u.count)
	s.owe(h)
}

// owe sends the malformed UPDATEs that are due.
func (s *sender) owe(h *head) {
	s.updates++
	for s.malformed += s.r.fleet.o.Malformed; s.malformed >= 1; s.malformed-- {
		s.break1(h)
	}
}

// break1 appends a malformed UPDATE about a host of 192.0.2.0/24, which no unit announces.
func (s *sender) break1(h *head) {
	nlri := []byte{32, 192, 0, 2, byte(s.kind)}
	origin, hop := []byte{0x40, 1, 1, 0}, []byte{0x40, 3, 4, 192, 0, 2, 1}
	path := []byte{0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf4}
	tooLong := 0
	switch s.kind % 5 {
	case 0:
		origin = []byte{0x40, 1, 2, 0, 0} // ORIGIN of 2 bytes: treat-as-withdraw
	case 1:
		path[4] = 7 // a segment of more AS numbers than there are: treat-as-withdraw
	case 2:
		nlri[0] = 33 // a prefix length that IPv4 does not have
	case 3:
		hop[2] = 200 // an attribute longer than the attributes
	case 4:
		tooLong = 1 // a BGP length that is not that of the message
	}
	start := s.begin(h)
	n := len(origin) + len(path) + len(hop)
	b := append(s.buf, 0, 0, byte(n>>8), byte(n))
	b = append(append(append(append(b, origin...), path...), hop...), nlri...)
	s.buf = b
	s.end(start)
	binary.BigEndian.PutUint16(b[start+64:], uint16(len(b)-start-48+tooLong))
	s.kind++
	s.counts.Malformed++
}

// endOfRIB appends the End-of-RIB of a family.
func (s *sender) endOfRIB(h *head, f family) {
	start := s.begin(h)
	s.buf = append(s.buf, bmptest.EndOfRIB(bgpFamilies[f])[19:]...)
	s.end(start)
}

// dump sends all that a peer has in a view, as it is, and End-of-RIB for each family of its OPENs.
func (s *sender) dump(p *peer, v bmp.View) {
	h := s.newHead(p, v)
	for fam, r := range p.runs {
		for i := range r.n {
			if s.err != nil {
				return
			}
			if state := p.stateOf(family(fam), i); state&withdrawn == 0 {
				s.announce(h, p, family(fam), i, state)
			}
		}
	}
	for fam, n := range s.r.fleet.routes {
		if n > 0 {
			s.endOfRIB(h, family(fam))
		}
	}
}

// statistics sends how many routes each peer has where that is a statistic of RFC 7854.
func (s *sender) statistics(views []bmp.View, loc bool) {
	if loc && len(s.r.peers) > 0 {
		s.add(&bmp.StatisticsReport{PeerHeader: s.r.locRIB().Header, Stats: []bmp.Stat{bmptest.Gauge(8, uint64(s.r.Held(0)))}})
	}
	for _, v := range views {
		if v != bmp.AdjInPre {
			continue
		}
		for i, p := range s.r.peers {
			s.add(&bmp.StatisticsReport{PeerHeader: p.Header, Stats: []bmp.Stat{bmptest.Gauge(7, uint64(s.r.Held(i)))}})
		}
	}
}

// change sends the changes after the dump.
func (s *sender) change() error {
	o := &s.r.fleet.o
	if o.Changes == 0 || len(s.r.peers) == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(o.Seed, uint64(s.r.number)+1000))
	views, loc := s.views()
	heads := make([][]*head, len(s.r.peers))
	for i, p := range s.r.peers {
		for _, v := range views {
			heads[i] = append(heads[i], s.newHead(p, v))
		}
		if loc && i == 0 {
			heads[i] = append(heads[i], s.newHead(p, bmp.LocRIB))
		}
	}
	began, sent := time.Now(), 0
	for ; sent != o.Changes; sent++ {
		if s.err != nil {
			return s.err
		}
		if o.Rate > 0 {
			if due := time.Duration(float64(sent) / o.Rate * float64(time.Second)); due > time.Since(began) {
				s.flush()
				if s.err == nil && !wait(s.ctx, due-time.Since(began)) {
					return s.ctx.Err()
				}
			}
		}
		i := rng.IntN(len(s.r.peers))
		s.change1(heads[i], s.r.peers[i], rng)
		if o.FlapEvery > 0 && (sent+1)%o.FlapEvery == 0 {
			s.flap(rng.IntN(len(s.r.peers)), views, loc)
		}
	}
	s.flush()
	return s.err
}

// change1 changes one unit of a peer in all views: withdraws it, brings it back, or gives it other attributes.
func (s *sender) change1(heads []*head, p *peer, rng *rand.Rand) {
	i := p.runs[ipv4].n + p.runs[ipv6].n
	if i == 0 {
		return
	}
	i = rng.IntN(i)
	fam := ipv4
	if i >= p.runs[ipv4].n {
		fam, i = ipv6, i-p.runs[ipv4].n
	}
	if p.state[fam] == nil {
		p.state[fam] = make([]uint8, p.runs[fam].n)
	}
	state := &p.state[fam][i]
	if *state&withdrawn == 0 && rng.Float64() < s.r.fleet.o.Withdraw {
		*state |= withdrawn
		for _, h := range heads {
			s.withdraw(h, p, fam, i)
		}
		return
	}
	version := *state &^ withdrawn
	if version++; version == withdrawn {
		version = 1
	}
	*state = version
	for _, h := range heads {
		s.announce(h, p, fam, i, version)
	}
}

// flap takes a peer down and up, after which it has what it had at first.
func (s *sender) flap(i int, views []bmp.View, loc bool) {
	p := s.r.peers[i]
	s.counts.Flaps++
	down := &bmp.PeerDown{PeerHeader: p.Header, Reason: bmp.DownRemoteNotification, Notification: bmptest.Notification(6, 4)}
	s.add(down)
	old := p.state
	p.state = [families][]uint8{}
	s.up(p.Peer)
	for _, v := range views {
		s.dump(p, v)
	}
	if !loc || i != 0 {
		return
	}
	h := s.newHead(p, bmp.LocRIB) // which did not go down: it follows
	for fam, states := range old {
		for i, state := range states {
			if state != 0 {
				s.announce(h, p, family(fam), i, 0)
			}
		}
	}
}
