package archive

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// replayer applies records as the session did when they came, for what is wanted alone.
type replayer struct {
	a     *Archive
	want  *Want
	only  map[PeerKey]bool
	at    int64
	grace int64

	run       int64
	gen       int64           // arrival of the running session's beginning
	genBlock  uint64          // that it is in
	after     map[int64]int64 // the beginning of the session after that of one
	graces    []int64         // when stale routes are over their time, in order
	down      int64           // 0: a session runs
	unknown   []Unknown       // where the station was killed
	away      []Away          // between sessions, the time after a kill included
	staleFor  int64           // how long what the client said is kept once it is down; 0: for ever
	staleEnd  int64           // when that is over; 0: it is not to be
	now       int64
	block     uint64 // of the record being applied
	ordinal   uint64
	peers     map[PeerKey]*replayPeer
	gone      map[PeerKey]HeldPeer // of earlier runs of the station
	overrides map[formKey]override
	again     bool                           // overrides were found: the replay begins again
	undecided bool                           // what was left out decides about a stale route
	unclear   bool                           // what was before the first record does
	whole     bool                           // the first record is the client's first in its run: nothing was before it
	settled   bool                           // no more of that
	keys      map[bgp.Family]map[string]bool // nil: all
	plan      *plan
	count     int // routes held
	history   *history

	needles [][]byte // what a message about the wanted keys has in it; nil: all are looked at
	recent  [128]nearPeer

	parser   bmp.Parser
	update   bgp.Update
	nlri     bgp.NLRI
	sections []bgp.Section
	rec      []byte
	extra    []byte
	key      []byte
	lastRec  string
	kept     bool  // lastRec is of those that Want.Keep lets through
	stamp    int64 // the router's, of the record being applied
}

// formKey is a table in one stretch: since a session began, or the peer came up or down. When it turns out within a stretch
// that a table was coded otherwise, the session reads what came in that stretch again, and drops the rest.
type formKey struct {
	peer    PeerKey
	view    bmp.View
	family  bgp.Family
	stretch int64 // ordinal of the record that began it
}

// override is a form that a table was found to have, with the messages of the stretch read again.
type override struct {
	addPath bool
	until   uint64 // ordinal of the record that showed it
}

type replayPeer struct {
	state          uint8 // of statesOfPeer
	session        int64 // gen in which it was spoken of last
	upGen          int64 // gen of the last Peer Up
	stretch        int64 // of formKey
	sent, received []byte
	more           [][2][]byte
	local          [18]byte // address and ports of the Peer Up
	ports          [2]uint16
	negotiated     [3]bgp.AddPathSet
	told           int64 // gen in which routes were announced while it was down
	as             uint32
	bgpid          [4]byte
	name, text     string
	tables         map[tableKey]*replayTable
	until          int64 // records up to here are in the checkpoint it comes from
}

const (
	peerUnannounced = iota
	peerUp
	peerDown
)

type tableKey struct {
	view   bmp.View
	family bgp.Family
}

type replayTable struct {
	addPath bool
	known   bool // addPath is what the session had; false: that was found out before the first record, and no record has told
	said    bool
	votes   int
	old     bool  // it holds something of an earlier stretch
	read    int   // messages in this stretch
	seeded  bool  // some of them are known from a checkpoint alone
	renewed int64 // gen in which something was announced to it last
	routes  map[string]replayRoute
}

type replayRoute struct {
	record string
	since  int64
	stamp  int64 // the router's, 0 for none
	gen    int64
}

// history is what a replay tells on its way.
type history struct {
	from  int64
	f     func(*Change) error
	start *[]Route
	begun bool
	down  int64 // of the replayer, at from
	quiet bool
	err   error

	// What a pass finds may be that everything is to be read again, otherwise. So the changes are held back until it is over;
	// where they are too many, the rest of it is quiet, and another pass, which is final, tells them as they come.
	back  []Change
	final bool
}

// maxBack bounds the changes that are held back, a few hundred bytes each.
const maxBack = 8192

func (r *replayer) change(t int64, cause Cause, action Action, p PeerKey, k tableKey, id string, rr replayRoute, before string) {
	h := r.history
	if h == nil || !h.begun || t < h.from || t > r.at || h.err != nil || h.quiet {
		return
	}
	c := Change{Time: time.Unix(0, t), Stamp: stampTime(r.stamp), Action: action, Cause: cause, Route: r.route(p, k, id, rr)}
	if action == Changed {
		c.Before = []byte(before)
	}
	switch {
	case h.final:
		h.err = h.f(&c)
	case len(h.back) == maxBack:
		h.back, h.quiet = nil, true
	default:
		h.back = append(h.back, c)
	}
}

// tell tells what was held back.
func (h *history) tell() error {
	for i := range h.back {
		if err := h.f(&h.back[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *replayer) route(p PeerKey, k tableKey, id string, rr replayRoute) Route {
	return Route{
		Peer: p, View: k.view, Family: k.family, Key: []byte(id[4:]), PathID: uint32(id[0])<<24 | uint32(id[1])<<16 | uint32(id[2])<<8 | uint32(id[3]),
		Record: []byte(rr.record), Since: time.Unix(0, rr.since), Router: stampTime(rr.stamp), Stale: rr.gen != r.gen || r.down != 0,
		AddPath: r.peers[p].tables[k].addPath,
	}
}

// stampTime is a router's stamp; 0 is none.
func stampTime(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, t)
}

// remove takes a route out of its table.
func (r *replayer) remove(t *replayTable, id string) {
	if _, ok := t.routes[id]; ok {
		delete(t.routes, id)
		r.count--
	}
}

// held lists the routes at a time, which is not before the last record applied.
func (r *replayer) held(at int64) []Route {
	var out []Route
	for pk, p := range r.peers {
		for k, t := range p.tables {
			for id, rr := range t.routes {
				if r.expired(rr, at) {
					continue
				}
				out = append(out, r.route(pk, k, id, rr))
			}
		}
	}
	slices.SortFunc(out, func(a, b Route) int { return a.compare(&b) })
	return out
}

// expired says that a stale route is over its time: the session after its own began so long ago.
func (r *replayer) expired(rr replayRoute, at int64) bool {
	return rr.gen != r.gen && at >= r.expiry(rr)
}

func (r *replayer) expiry(rr replayRoute) int64 {
	next, ok := r.after[rr.gen]
	if !ok {
		next = r.gen
	}
	return next + r.grace
}

func (r *replayer) apply(rec *record, i *info) error {
	if rec.arrival > r.at && i.seq == r.plan.cut {
		return nil
	}
	r.ordinal++
	r.block = i.seq
	if i.run != r.run {
		if r.run != 0 {
			began := min(max(r.now, r.a.runAfter(r.run, i.run)), rec.arrival)
			r.cutOff(began)
			r.anew(began)
		}
		r.whole = r.whole || r.run != 0
		r.run = i.run
	}
	r.advance(rec.arrival)
	r.now = rec.arrival
	r.stamp = 0
	switch rec.kind {
	case SessionStart:
		r.keptFor(rec)
		if r.down != 0 {
			r.away = append(r.away, Away{time.Unix(0, r.down), time.Unix(0, rec.arrival)})
		}
		r.after[r.gen] = rec.arrival
		r.gen, r.genBlock, r.down, r.staleEnd = rec.arrival, i.seq, 0, 0
		r.addGrace(rec.arrival)
		for _, p := range r.peers {
			if !p.seededAt(r.now) {
				r.beginStretch(p)
			}
		}
		return nil
	case SessionEnd:
		if over := r.keptFor(rec); !over {
			r.endSession()
			r.down = rec.arrival
		}
		r.goDown()
		return nil
	case StaleDropped:
		r.dropStale(rec)
		return nil
	}
	head := perPeer(rec.raw)
	if head == nil {
		return nil
	}
	if r.skips(rec.raw) {
		p := r.near(rec.raw, head).p
		if p == nil || p.seededAt(rec.arrival) {
			return nil
		}
		// That the peer was spoken of, or announced something while it was down, decides about its next Peer Down.
		if r.spoken(p); p.state != peerDown || p.told == r.gen {
			return nil
		}
	}
	near := r.near(rec.raw, head)
	if near.p == nil {
		return nil // of a peer that is not wanted
	}
	h, pk, p := near.header, near.key, near.p
	h.Sec, h.Micro = binary.BigEndian.Uint32(head[34:]), binary.BigEndian.Uint32(head[38:])
	if p.seededAt(rec.arrival) {
		return nil
	}
	if h.Sec != 0 {
		r.stamp = int64(h.Sec)*1e9 + int64(h.Micro)*1e3
	}
	switch messageType(rec.raw) {
	case bmp.RouteMonitoringType:
		if err := r.routes(rec, &h, pk, p); err != nil {
			return err
		}
	case bmp.PeerUpType, bmp.PeerDownType:
		f, err := bmp.FrameOf(rec.raw, rec.offset)
		if err != nil {
			return nil
		}
		m, err := r.parser.Parse(f)
		if err != nil {
			return nil // it changed nothing when it came, either
		}
		switch m := m.(type) {
		case *bmp.PeerUp:
			if err := r.peerUp(m, pk, p); err != nil {
				return err
			}
		case *bmp.PeerDown:
			// A router that has just started says of peers that have not come up that they are down, with BGP ID 0.0.0.0
			// (FRR): no word on the routes of the session before.
			if p.upGen == r.gen || p.told == r.gen || p.state == peerUnannounced || h.BGPID != [4]byte{} {
				r.empty(pk, p, PeerWentDown)
			} else if r.plan.pruned && r.holdsStale(p) {
				r.undecided = r.undecided || r.plan.leftOut(pk.hash(), r.genBlock, i.seq)
			}
			p.session, p.state = r.gen, peerDown
		}
	case bmp.StatisticsReportType, bmp.RouteMirroringType:
		r.spoken(p)
	}
	if r.history != nil && r.history.err != nil {
		return r.history.err
	}
	return nil
}

// holdsStale says that something of an earlier session is held of a peer.
func (r *replayer) holdsStale(p *replayPeer) bool {
	for _, t := range p.tables {
		for _, rr := range t.routes {
			if rr.gen != r.gen {
				return true
			}
		}
	}
	return false
}

// nearPeer is a per-peer header met lately, without its times, with what it means.
type nearPeer struct {
	head   [34]byte
	header bmp.PerPeerHeader
	key    PeerKey
	p      *replayPeer // nil: not wanted
	known  bool
}

// near finds the peer of a header: messages of few peers come in turns, and to read each header anew, and to find its peer,
// costs as much as all the rest.
func (r *replayer) near(raw, head []byte) *nearPeer {
	n := &r.recent[(head[29]^head[33]^head[25]^head[9])%byte(len(r.recent))]
	if n.known && n.head == [34]byte(head) {
		return n
	}
	*n = nearPeer{head: [34]byte(head), known: true}
	peerHeader(raw, &n.header)
	n.key = PeerKeyOf(&n.header)
	if r.only != nil && !r.only[n.key] {
		return n
	}
	if n.p = r.peers[n.key]; n.p == nil {
		n.p = &replayPeer{as: n.header.AS, bgpid: n.header.BGPID, stretch: int64(r.ordinal), tables: make(map[tableKey]*replayTable)}
		r.peers[n.key] = n.p
	}
	return n
}

// shortUpdate is longer than any Route Monitoring that is an End-of-RIB.
const shortUpdate = bmp.HeaderLen + bmp.PerPeerHeaderLen + 48

// skips says that a message is Route Monitoring about other keys than those wanted. As blocks without these are not read, nor
// need it be.
func (r *replayer) skips(raw []byte) bool {
	if len(r.needles) == 0 || len(raw) <= shortUpdate || raw[0] != 3 || bmp.MessageType(raw[5]) != bmp.RouteMonitoringType {
		return false
	}
	for _, n := range r.needles {
		if bytes.Contains(raw[bmp.HeaderLen+bmp.PerPeerHeaderLen:], n) {
			return false
		}
	}
	return true
}

// maxNeedles is up to how many keys a message is searched for before it is parsed.
const maxNeedles = 4

// needlesOf are bytes that a message about any of the keys has; nil where there are none.
func needlesOf(keys []RouteKey) (list [][]byte) {
	if len(keys) > maxNeedles {
		return nil
	}
	for _, k := range keys {
		n := k.Key
		if !k.Family.IsPrefix() || len(n) < 3 {
			return nil
		}
		if n[0]%8 != 0 {
			n = n[:len(n)-1] // what stands behind the prefix in its last octet is anything
		}
		if k.Family.HasRD() || k.Family.SAFI != 1 && k.Family.SAFI != 2 {
			n = n[1:] // on the wire the length counts the labels
		}
		list = append(list, n)
	}
	return list
}

// spoken marks a peer that the session speaks of without having announced it.
func (r *replayer) spoken(p *replayPeer) {
	if p.state == peerUp && p.upGen == r.gen || p.session == r.gen {
		return
	}
	p.session = r.gen
	if p.upGen != r.gen {
		p.state = peerUnannounced
	}
}

// advance does what time alone does, before what came at a time is applied: a History begins, and stale routes are over their
// time.
func (r *replayer) advance(t int64) {
	if h := r.history; h != nil && !h.begun && t >= h.from {
		r.expire(h.from) // nothing has begun: that is not told
		h.begun, h.down = true, r.down
		if !h.quiet {
			*h.start = r.held(h.from)
		}
	}
	r.expire(t)
}

// keptFor notes what a session's record says of how long the client's routes are kept once it is down.
func (r *replayer) keptFor(rec *record) (over bool) {
	var s struct {
		StaleFor int64 `json:"stale_for"`
		Over     bool  `json:"over"`
	}
	if json.Unmarshal(rec.raw, &s) != nil {
		return false
	}
	if s.StaleFor > 0 {
		r.staleFor = s.StaleFor
	}
	return s.Over
}

// goDown sets when what a client that is down left is over its time, not before now.
func (r *replayer) goDown() {
	if r.staleEnd = 0; r.down != 0 && r.staleFor > 0 && r.staleFor < 1<<62 {
		r.staleEnd = max(r.down+r.staleFor, r.now)
	}
}

// abandon drops all that is held, as the station does when a client has been down for long enough. Nothing is left of its peers.
func (r *replayer) abandon(at int64) {
	r.staleEnd = 0
	now := r.now
	r.now, r.stamp = at, 0
	r.eachPeer(func(pk PeerKey, p *replayPeer) {
		if !p.seededAt(at) {
			r.empty(pk, p, DownForLong)
			r.gone[pk] = p.described(pk)
			delete(r.peers, pk)
		}
	})
	r.recent = [len(r.recent)]nearPeer{}
	r.now = now
}

// expire drops the stale routes that are over their time by then, at the time at which they were.
func (r *replayer) expire(t int64) {
	if at := r.staleEnd; at != 0 && at <= t {
		r.expireGraces(at)
		r.abandon(at)
	}
	r.expireGraces(t)
}

func (r *replayer) expireGraces(t int64) {
	for len(r.graces) > 0 && r.graces[0] <= t {
		at := r.graces[0]
		r.graces = r.graces[1:]
		r.stamp = 0
		r.eachPeer(func(pk PeerKey, p *replayPeer) {
			if p.seededAt(at) {
				return
			}
			r.eachTable(p, func(k tableKey, t *replayTable) {
				r.drop(pk, k, t, at, NotRenewed, func(rr replayRoute) bool { return r.expired(rr, at) })
			})
		})
	}
}

// seededAt says that what came at a time is in the checkpoint the peer comes from.
func (p *replayPeer) seededAt(t int64) bool { return t <= p.until }

// dropStale does what Appender.DropStale says. Of a client that is down everything is stale.
func (r *replayer) dropStale(rec *record) {
	h, f, ok := parseTable(rec.raw)
	if !ok {
		return
	}
	p, k := r.peers[h.peer], tableKey{h.view, f}
	if p == nil || p.seededAt(rec.arrival) || p.tables[k] == nil {
		return
	}
	cause := NotRenewed
	if r.down != 0 {
		cause = DroppedDown
	}
	r.drop(h.peer, k, p.tables[k], r.now, cause, func(rr replayRoute) bool { return rr.gen != r.gen || r.down != 0 })
}

// addGrace notes when routes from before a session that began then are over their time.
func (r *replayer) addGrace(began int64) {
	at, found := slices.BinarySearch(r.graces, began+r.grace)
	if !found {
		r.graces = slices.Insert(r.graces, at, began+r.grace)
	}
}

// beginStretch says that of what came up to now nothing will be read again.
func (r *replayer) beginStretch(p *replayPeer) {
	p.stretch = int64(r.ordinal)
	for _, t := range p.tables {
		t.read, t.seeded, t.old = 0, false, len(t.routes) > 0
		t.known = t.known && !r.plan.pruned // what is left out may turn it without a block's header telling
	}
}

// endSession marks all routes as stale. As a table tells what is stale from what is not and nothing more, routes that were
// stale before go, unless the session announced nothing to their table.
func (r *replayer) endSession() {
	r.eachPeer(func(pk PeerKey, p *replayPeer) {
		if p.seededAt(r.now) {
			return
		}
		r.eachTable(p, func(k tableKey, t *replayTable) {
			stale := func(rr replayRoute) bool { return rr.gen != r.gen }
			if t.renewed == r.gen {
				r.drop(pk, k, t, r.now, NotRenewed, stale)
				return
			}
			for _, rr := range t.routes {
				r.undecided = r.undecided || r.plan.pruned && stale(rr)
			}
		})
	})
}

// cutOff ends a session that has no end though the station was started anew at a time: it was killed. Of what the client said
// after its last record that is kept, or the last sign of life of the station, nothing is known.
func (r *replayer) cutOff(began int64) {
	last, over := r.plan.lasts[r.run]
	last = max(last, r.now, min(r.a.aliveIn(r.run), began))
	if !over || r.down != 0 || last > r.at || last > began {
		return
	}
	r.advance(last)
	r.now, r.stamp = last, 0
	r.endSession()
	r.down = last
	r.goDown()
	r.unknown = append(r.unknown, Unknown{time.Unix(0, last), time.Unix(0, began)})
}

// anew forgets everything: the station was started anew.
func (r *replayer) anew(t int64) {
	r.advance(t)
	r.now, r.stamp = t, 0
	r.eachPeer(func(pk PeerKey, p *replayPeer) {
		r.empty(pk, p, StationAnew)
		r.gone[pk] = p.described(pk)
	})
	clear(r.peers)
	r.staleEnd = 0
	r.recent = [len(r.recent)]nearPeer{}
	if r.down == 0 {
		r.down = r.now
	}
}

// empty empties the tables of a peer.
func (r *replayer) empty(pk PeerKey, p *replayPeer, cause Cause) {
	r.beginStretch(p)
	r.eachTable(p, func(k tableKey, t *replayTable) {
		r.clear(pk, k, t, cause)
		t.votes = 0
	})
}

// clear empties a table.
func (r *replayer) clear(pk PeerKey, k tableKey, t *replayTable, cause Cause) {
	r.drop(pk, k, t, r.now, cause, func(replayRoute) bool { return true })
}

// told says that changes are told, so that things are done in an order.
func (r *replayer) told() bool { return r.history != nil && !r.history.quiet }

// final says that nothing can be read again, as it was told.
func (r *replayer) final() bool { return r.history != nil && r.history.final }

func (r *replayer) eachPeer(f func(PeerKey, *replayPeer)) {
	if !r.told() {
		for pk, p := range r.peers {
			f(pk, p)
		}
		return
	}
	for _, pk := range slices.SortedFunc(maps.Keys(r.peers), comparePeers) {
		f(pk, r.peers[pk])
	}
}

func (r *replayer) eachTable(p *replayPeer, f func(tableKey, *replayTable)) {
	if !r.told() {
		for k, t := range p.tables {
			f(k, t)
		}
		return
	}
	for _, k := range slices.SortedFunc(maps.Keys(p.tables), func(a, b tableKey) int {
		return cmp.Or(cmp.Compare(a.view, b.view), a.family.Compare(b.family))
	}) {
		f(k, p.tables[k])
	}
}

// drop takes routes out of a table.
func (r *replayer) drop(pk PeerKey, k tableKey, t *replayTable, at int64, cause Cause, gone func(replayRoute) bool) {
	n := len(t.routes)
	if n == 0 {
		return
	}
	if r.told() {
		for _, id := range slices.SortedFunc(maps.Keys(t.routes), func(a, b string) int { return cmp.Or(cmp.Compare(a[4:], b[4:]), cmp.Compare(a[:4], b[:4])) }) {
			if rr := t.routes[id]; gone(rr) {
				r.change(at, cause, Withdrawn, pk, k, id, rr, "")
			}
		}
	}
	maps.DeleteFunc(t.routes, func(_ string, rr replayRoute) bool { return gone(rr) })
	r.count -= n - len(t.routes)
}

func (r *replayer) peerUp(m *bmp.PeerUp, pk PeerKey, p *replayPeer) error {
	same := p.ports == [2]uint16{m.LocalPort, m.RemotePort} && p.local == addressBytes(m) && p.hasOpens(m.SentOpen, m.ReceivedOpen)
	locRIB := pk.Type == bmp.LocRIBPeer
	if p.state == peerUp && p.upGen == r.gen {
		switch {
		case same || locRIB && p.hasOpens(m.SentOpen, m.ReceivedOpen):
			return nil
		case locRIB:
			if len(p.more) < 64 {
				p.more = append(p.more, [2][]byte{bytes.Clone(m.SentOpen), bytes.Clone(m.ReceivedOpen)})
			}
			p.negotiate()
			return r.recode(pk, p, false)
		}
		r.empty(pk, p, PeerCameUp)
	} else if p.upGen == r.gen && p.state != peerUnannounced {
		r.empty(pk, p, PeerCameUp)
	}
	unknown := p.sent == nil && !r.whole // what was negotiated before
	p.state, p.session, p.upGen = peerUp, r.gen, r.gen
	p.sent, p.received, p.more = bytes.Clone(m.SentOpen), bytes.Clone(m.ReceivedOpen), nil
	p.local, p.ports = addressBytes(m), [2]uint16{m.LocalPort, m.RemotePort}
	p.as, p.bgpid = m.PeerHeader.AS, m.PeerHeader.BGPID
	p.name, p.text = shortened(m.TableName()), shortened(m.Text())
	p.negotiate()
	r.beginStretch(p)
	return r.recode(pk, p, unknown)
}

// described is what is known of the peer.
func (p *replayPeer) described(k PeerKey) HeldPeer {
	return HeldPeer{Key: k, AS: p.as, BGPID: p.bgpid, Table: p.name, Text: p.text}
}

// shortened bounds what is kept of a text.
func shortened(s string) string { return s[:min(len(s), 256)] }

func addressBytes(m *bmp.PeerUp) (b [18]byte) {
	if a := m.LocalAddress; a.IsValid() {
		b[0] = 1
		if a.Is4() {
			b[1] = 1
		}
		x := a.As16()
		copy(b[2:], x[:])
	}
	return b
}

func (p *replayPeer) hasOpens(sent, received []byte) bool {
	if p.sent != nil && bytes.Equal(p.sent, sent) && bytes.Equal(p.received, received) {
		return true
	}
	return slices.ContainsFunc(p.more, func(x [2][]byte) bool { return bytes.Equal(x[0], sent) && bytes.Equal(x[1], received) })
}

// negotiate works out the families with path IDs of the OPENs.
func (p *replayPeer) negotiate() {
	p.negotiated = [3]bgp.AddPathSet{}
	for _, pair := range append([][2][]byte{{p.sent, p.received}}, p.more...) {
		sent, err1 := bgp.ParseOpen(pair[0])
		received, err2 := bgp.ParseOpen(pair[1])
		if err1 != nil || err2 != nil {
			continue
		}
		p.negotiated[0] |= bgp.AddPathIn(&sent, &received)
		p.negotiated[1] |= bgp.AddPathOut(&sent, &received)
		p.negotiated[2] |= bgp.AddPathListed(&sent)
	}
}

// recode gives tables for which what is negotiated has changed the new form. Where it is not known what was before, that
// may have been the same.
func (r *replayer) recode(pk PeerKey, p *replayPeer, unknown bool) (err error) {
	r.eachTable(p, func(k tableKey, t *replayTable) {
		was := t.said
		t.said, t.votes = p.says(k), 0
		if unknown {
			r.unclear = r.unclear || t.old && (!t.known || t.said != t.addPath)
			return
		}
		if t.said == was {
			return
		}
		r.unclear = r.unclear || t.old && !t.known
		t.known = !r.plan.pruned
		if t.said != t.addPath {
			if e := r.turn(pk, p, k, t, t.said); e != nil {
				err = e
			}
		}
	})
	return err
}

// turn gives a table another form. What it holds goes, and what came in this stretch is read again.
func (r *replayer) turn(pk PeerKey, p *replayPeer, k tableKey, t *replayTable, to bool) error {
	t.addPath, t.votes = to, 0
	switch {
	case t.read == 0:
		r.clear(pk, k, t, NotRenewed)
	case r.settled || len(r.overrides) > 1000 || r.final():
		// A router that changes it all the time: what was read stays.
	case t.seeded:
		return errUnseed
	default:
		r.overrides[formKey{pk, k.view, k.family, p.stretch}] = override{to, r.ordinal}
		r.again = true // with what else is found on the way
	}
	return nil
}

func (p *replayPeer) says(k tableKey) bool {
	switch k.view {
	case bmp.AdjInPre, bmp.AdjInPost:
		return p.negotiated[0].Has(k.family)
	case bmp.AdjOutPre, bmp.AdjOutPost:
		return p.negotiated[1].Has(k.family)
	}
	return p.negotiated[2].Has(k.family)
}

func (r *replayer) table(pk PeerKey, p *replayPeer, k tableKey) *replayTable {
	t := p.tables[k]
	if t == nil {
		t = &replayTable{routes: make(map[string]replayRoute), said: p.says(k), known: r.whole && !r.plan.pruned}
		t.addPath = t.said
		p.tables[k] = t
	}
	if t.read == 0 {
		if o, ok := r.overrides[formKey{pk, k.view, k.family, p.stretch}]; ok {
			t.addPath, t.known = o.addPath, true
			r.clear(pk, k, t, NotRenewed) // what was before is not read again
		}
	}
	return t
}

// routes applies a Route Monitoring.
func (r *replayer) routes(rec *record, h *bmp.PerPeerHeader, pk PeerKey, p *replayPeer) error {
	r.spoken(p)
	pdu := updateOf(&r.parser, rec)
	if pdu == nil {
		return nil
	}
	u := &r.update
	if u.Parse(pdu, bgp.Context{AS4: rec.flags&recordAS4 != 0, AddPath: rec.addPath}) != nil {
		return nil
	}
	view := h.View()
	if u.EoR {
		k := tableKey{view, u.EoRFamily}
		t := r.table(pk, p, k)
		r.drop(pk, k, t, r.now, EndOfRIB, func(rr replayRoute) bool { return rr.gen != r.gen })
	}
	withdrawAll := u.Malformed != nil && u.Malformed.Class >= bgp.TreatAsWithdraw
	r.sections = u.Sections(r.sections[:0])
	for n := range r.sections {
		sec := &r.sections[n]
		k := tableKey{view, sec.Family}
		t := r.table(pk, p, k)
		addPath, ok, err := r.form(rec, pk, p, k, t, sec)
		t.read++
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if !sec.Withdraw && !withdrawAll {
			t.renewed = r.gen
			if p.state == peerDown {
				p.told = r.gen
			}
		}
		if err := r.section(u, sec, addPath, withdrawAll, pk, k, t); err != nil {
			return err
		}
	}
	return nil
}

// form decides whether an NLRI field carries path IDs. The record says how it was read when it came; a table that was
// found to be of the other form had the messages before read again, and so it is here.
func (r *replayer) form(rec *record, pk PeerKey, p *replayPeer, k tableKey, t *replayTable, sec *bgp.Section) (addPath, ok bool, err error) {
	said := rec.addPath.Has(k.family)
	if !k.family.Splits() {
		return said, true, nil
	}
	if rec.raw[0] >= 4 {
		// Stateless parsing: the message said it. A table that has held path IDs goes on doing so.
		if said && !t.addPath {
			if err := r.turn(pk, p, k, t, true); err != nil {
				return false, false, err
			}
		}
		_, err := bgp.CheckNLRI(k.family, said, sec.Withdraw, sec.Field)
		return said, err == nil, nil
	}
	o, known := r.overrides[formKey{pk, k.view, k.family, p.stretch}]
	known = known && r.ordinal <= o.until
	if known {
		t.addPath = o.addPath // whatever a Peer Up said meanwhile
	}
	_, err1 := bgp.CheckNLRI(k.family, t.addPath, sec.Withdraw, sec.Field)
	if err1 == nil && (known || said == t.addPath && t.votes == 0 && t.known) {
		return t.addPath, true, nil // the way of nearly all
	}
	_, err2 := bgp.CheckNLRI(k.family, !t.addPath, sec.Withdraw, sec.Field)
	if known {
		return !t.addPath, err2 == nil, nil
	}
	switch {
	case err1 != nil && err2 != nil:
		return false, false, nil
	case err1 == nil && err2 == nil:
		switch {
		case said == t.addPath && t.known:
		case !r.proves(k.family, said):
			r.unclear = r.unclear || !t.known // one of them may have been read so by itself
		case !t.known: // it was so all along, or there were three that could be read otherwise alone
			r.unclear = r.unclear || r.plan.pruned && t.old && said != t.addPath
			t.addPath, t.known, t.votes = said, true, 0
		default:
			if err := r.turn(pk, p, k, t, said); err != nil {
				return false, false, err
			}
		}
		return t.addPath, true, nil
	case err1 == nil:
		t.votes = 0
		return t.addPath, true, nil
	}
	if t.votes++; t.votes >= 3 {
		other := !t.addPath
		r.unclear = r.unclear || t.old && !t.known
		t.known = true
		return other, true, r.turn(pk, p, k, t, other)
	}
	return !t.addPath, true, nil
}

// proves says that the fields of a family in the message being applied were read in the form that its record names because
// their table was: none of them could be read in this form alone.
func (r *replayer) proves(f bgp.Family, said bool) bool {
	for n := range r.sections {
		sec := &r.sections[n]
		if sec.Family != f {
			continue
		}
		if _, err := bgp.CheckNLRI(f, said, sec.Withdraw, sec.Field); err != nil {
			continue
		}
		if _, err := bgp.CheckNLRI(f, !said, sec.Withdraw, sec.Field); err != nil {
			return false
		}
	}
	return true
}

func (r *replayer) section(u *bgp.Update, sec *bgp.Section, addPath, withdrawAll bool, pk PeerKey, k tableKey, t *replayTable) error {
	var keys map[string]bool
	if r.keys != nil {
		if keys = r.keys[sec.Family]; keys == nil {
			return nil
		}
	}
	it := &r.nlri
	it.Reset(sec.Family, addPath, sec.Withdraw, sec.Field)
	made := false
	for it.Next() {
		if keys != nil && !keys[string(it.Key)] || r.want.Select != nil && !r.want.Select(k.view, sec.Family, it.Key, it.PathID) {
			continue
		}
		if r.plan.cuts != nil && r.block < r.plan.cuts[routeName{holder{pk, k.view, it.PathID}, k.family, string(it.Key)}] {
			continue
		}
		r.key = append(r.key[:0], byte(it.PathID>>24), byte(it.PathID>>16), byte(it.PathID>>8), byte(it.PathID))
		r.key = append(r.key, it.Key...)
		old, had := t.routes[string(r.key)]
		gone := sec.Withdraw || withdrawAll
		if !gone {
			if !made || !bytes.Equal(it.Extra, r.extra) {
				r.extra = append(r.extra[:0], it.Extra...)
				r.rec = u.AppendRecord(r.rec[:0], sec.Family, it.Extra)
				if string(r.rec) != r.lastRec {
					r.lastRec = string(r.rec)
				}
				r.kept = r.want.Keep == nil || r.want.Keep(pk, sec.Family, r.rec)
				made = true
			}
			gone = !r.kept
		}
		if gone {
			if had {
				r.change(r.now, Said, Withdrawn, pk, k, string(r.key), old, "")
				r.remove(t, string(r.key))
			}
			continue
		}
		now := replayRoute{record: r.lastRec, since: r.now, stamp: r.stamp, gen: r.gen}
		switch {
		case had && old.record == now.record:
			now.record, now.since, now.stamp = old.record, old.since, old.stamp
		case had:
			r.change(r.now, Said, Changed, pk, k, string(r.key), now, old.record)
		default:
			r.change(r.now, Said, Announced, pk, k, string(r.key), now, "")
			if r.count++; r.want.MaxRoutes > 0 && r.count > r.want.MaxRoutes {
				return ErrTooMany
			}
		}
		t.routes[string(r.key)] = now
	}
	return nil
}
