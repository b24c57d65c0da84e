package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Route is a route as it was held.
type Route struct {
	Peer   PeerKey
	View   bmp.View
	Family bgp.Family
	Key    []byte
	PathID uint32
	Record []byte // its attributes, as package bgp reads them
	// Since is the arrival of the message from which on they were so. A search that need not go back to a session before
	// does not know that they were the same there: then it is that of the first message of this session.
	Since time.Time
	Stale bool // of a session before the one that ran, and not announced again
}

func (r *Route) compare(s *Route) int {
	return cmp.Or(comparePeers(r.Peer, s.Peer), cmp.Compare(r.View, s.View), cmp.Compare(r.Family.AFI, s.Family.AFI),
		cmp.Compare(r.Family.SAFI, s.Family.SAFI), bytes.Compare(r.Key, s.Key), cmp.Compare(r.PathID, s.PathID))
}

func comparePeers(p, q PeerKey) int {
	return cmp.Or(cmp.Compare(p.Type, q.Type), cmp.Compare(p.Distinguisher, q.Distinguisher), p.Address.Compare(q.Address), bytes.Compare(p.BGPID[:], q.BGPID[:]))
}

// Held is what a client's tables held at a time.
type Held struct {
	Routes []Route // by peer, view, family, key, path ID
	// Down is since when the client had no session; zero: it had one. Its routes are those it had, and stale.
	Down time.Time
	// Incomplete says that the messages do not go back to a session's beginning, nor is there a checkpoint: what was not
	// said since is missing.
	Incomplete bool
	Walked
}

// Want says which routes are asked for.
type Want struct {
	Peers  []PeerKey // none: of all
	Family bgp.Family
	Key    []byte // nil: all keys of all families

	noCheckpoint bool

	Progress func(done, all uint64)
}

// errAgain says that a table was found to be coded otherwise than it was read so far: the replay begins again.
var errAgain = errors.New("read again")

// At is what a client held of what is wanted at a time: the messages up to it are applied as the session did when they
// came. A prefix is searched through the index, so that few blocks are read; otherwise the newest checkpoints before the
// time and all blocks since are.
//
// A peer's tables are emptied by its Peer Down, and by a Peer Up of another session of it; routes of an earlier BMP session
// are stale until announced again, and gone with their table's End-of-RIB or Options.Grace after the next session began. A
// station that was started anew holds nothing.
func (a *Archive) At(ctx context.Context, client uint32, want Want, at time.Time) (h Held, err error) {
	r, w, err := a.replay(ctx, client, want, at, nil)
	if err != nil {
		return h, err
	}
	if r.run != 0 && r.run != a.run && at.UnixNano() >= a.run && r.down == 0 {
		r.now = max(r.now, r.gen) // the station was killed, and has held nothing of the client since
		r.clear()
	}
	h = Held{Routes: r.held(at.UnixNano()), Incomplete: r.incomplete, Walked: w}
	if r.down != 0 {
		h.Down = time.Unix(0, r.down)
	}
	return h, nil
}

// Action is what happened to a route.
type Action uint8

// The actions.
const (
	Announced Action = iota
	Withdrawn        // by a message, or with its table
	Changed          // its attributes
)

// String is "announce", "withdraw" or "change", as in JSON.
func (x Action) String() string { return [...]string{"announce", "withdraw", "change"}[x] }

// Change is one change of a route.
type Change struct {
	Time   time.Time
	Action Action
	Route         // as it is after the change; of one that is gone, as it was
	Before []byte // Changed: the record before
}

// History calls f with every change of the wanted routes from a time to a time, in the order of arrival, and returns what
// was held at from. Routes that go stale are no change; those that are swept are withdrawn, at the time of the
// End-of-RIB, or when the next message shows that the grace is over.
func (a *Archive) History(ctx context.Context, client uint32, want Want, from, to time.Time, f func(*Change) error) (h Held, err error) {
	var start []Route
	r, w, err := a.replay(ctx, client, want, to, &history{from: from.UnixNano(), f: f, start: &start})
	if err != nil {
		return h, err
	}
	if !r.history.begun {
		start = r.held(r.history.from)
	}
	return Held{Routes: start, Incomplete: r.incomplete, Walked: w}, nil
}

// Diff is how routes changed between two answers of At for the same client: announced, withdrawn, changed. Time is that of
// the change where it is known: Since of what is there after it.
func Diff(before, after []Route) (out []Change) {
	for len(before) > 0 || len(after) > 0 {
		c := 1
		switch {
		case len(before) == 0:
		case len(after) == 0:
			c = -1
		default:
			c = before[0].compare(&after[0])
		}
		switch {
		case c < 0:
			out = append(out, Change{Action: Withdrawn, Route: before[0]})
			before = before[1:]
		case c > 0:
			out = append(out, Change{Time: after[0].Since, Action: Announced, Route: after[0]})
			after = after[1:]
		default:
			if !bytes.Equal(before[0].Record, after[0].Record) {
				out = append(out, Change{Time: after[0].Since, Action: Changed, Route: after[0], Before: before[0].Record})
			}
			before, after = before[1:], after[1:]
		}
	}
	return out
}

// errUnseed says that this was so for a table that came from a checkpoint.
var errUnseed = errors.New("read again without checkpoints")

// plan is what a replay reads.
type plan struct {
	blocks     []*info
	parts      []*tablePart // checkpoints it starts from
	incomplete bool
}

// plan finds the blocks that decide about what is wanted at a time; prune leaves out those whose filters say that they do
// not.
func (a *Archive) plan(ctx context.Context, client uint32, want *Want, at time.Time, from int64, prune bool) (p plan, recoded bool, err error) {
	t := at.UnixNano()
	base := t
	if from != 0 && from < base {
		base = from
	}
	var key uint64
	if want.Key != nil {
		key = keyHash(want.Family, want.Key)
	} else {
		prune = false
	}
	var peers []uint16
	for _, k := range want.Peers {
		peers = append(peers, k.hash())
	}
	// Checkpoints of all peers that are wanted make what is before them unnecessary. A search for a prefix does without,
	// as long as it finds the beginning of the session.
	var parts []*tablePart
	var covered int64
	if !want.noCheckpoint {
		if parts, covered, err = a.checkpoints(ctx, client, want, base); err != nil {
			return p, false, err
		}
	}
	floor := int64(-1 << 63)
	if len(want.Peers) > 0 && want.Key == nil && parts != nil {
		p.parts, floor = parts, covered
	}
	var run int64 // of the station that holds what is held at base
	found := false
	err = a.catalog.back(ctx, client, nil, func(i *info) bool {
		if i.first > t {
			return true
		}
		if i.first <= base {
			if run == 0 {
				run = i.run
			}
			if found = i.run != run || i.last < floor; found {
				return false
			}
		}
		recoded = recoded || i.flags&flagRecoded != 0
		take := i.state() || !prune || i.filter.has(key)
		if take && len(peers) > 0 && !i.state() {
			take = slices.ContainsFunc(peers, i.touches)
		}
		if take && i.count > 0 {
			p.blocks = append(p.blocks, i)
		}
		found = i.flags&flagSession != 0 && i.last+int64(a.o.Grace) <= base
		return !found
	})
	slices.Reverse(p.blocks)
	// The archive ends before the beginning of a session was found: it began there, or what is older is no longer kept.
	if !found && p.parts == nil && len(p.blocks) > 0 && !a.begins(ctx, client, p.blocks[0]) {
		p.parts, p.incomplete = parts, parts == nil
	}
	return p, recoded, err
}

// begins says that a block is the first of its client in its run, so that nothing is missing before it.
func (a *Archive) begins(_ context.Context, _ uint32, i *info) bool { return i.number == 1 }

func (a *Archive) replay(ctx context.Context, client uint32, want Want, at time.Time, hist *history) (*replayer, Walked, error) {
	if err := a.Sync(ctx, client); err != nil && ctx.Err() != nil {
		return nil, Walked{}, err
	}
	from := int64(0)
	if hist != nil {
		from = hist.from
	}
	p, recoded, err := a.plan(ctx, client, &want, at, from, true)
	if err == nil && recoded && want.Key != nil {
		// What was read otherwise when it came may be about the prefix though its block's filter does not know.
		p, _, err = a.plan(ctx, client, &want, at, from, false)
	}
	if err != nil {
		return nil, Walked{}, err
	}
	var saved []*table
	for _, part := range p.parts {
		t, err := a.readPart(ctx, part)
		if err != nil {
			return nil, Walked{}, err
		}
		saved = append(saved, t)
	}
	overrides := make(map[formKey]override)
	for {
		r := &replayer{
			a: a, want: &want, at: at.UnixNano(), grace: int64(a.o.Grace), peers: make(map[PeerKey]*replayPeer), after: make(map[int64]int64), overrides: overrides,
			incomplete: p.incomplete,
		}
		if len(want.Peers) > 0 {
			r.only = make(map[PeerKey]bool)
			for _, k := range want.Peers {
				r.only[k] = true
			}
		}
		if hist != nil {
			c := *hist
			c.quiet = recoded // find out how everything is coded before anything is told
			r.history = &c
		}
		for _, t := range saved {
			r.seed(t)
		}
		done := uint64(0)
		last := uint64(0)
		w, err := a.fetch(ctx, client, p.blocks, func(rec *record, i *info) error {
			if i.seq != last {
				last = i.seq
				if done++; want.Progress != nil && done%64 == 0 {
					want.Progress(done, uint64(len(p.blocks)))
				}
				if done%16 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return r.apply(rec, i)
		})
		switch err {
		case errAgain:
			continue
		case errUnseed:
			want.noCheckpoint = true
			return a.replay(ctx, client, want, at, hist)
		}
		if err == nil && hist != nil && r.history.quiet {
			recoded = false
			continue
		}
		return r, w, err
	}
}

// replayer applies records as the session did when they came, for what is wanted alone.
type replayer struct {
	a     *Archive
	want  *Want
	only  map[PeerKey]bool
	at    int64
	grace int64

	run        int64
	gen        int64           // arrival of the running session's beginning
	after      map[int64]int64 // the beginning of the session after that of one
	down       int64           // 0: a session runs
	now        int64
	ordinal    uint64
	peers      map[PeerKey]*replayPeer
	overrides  map[formKey]override
	incomplete bool
	history    *history

	parser   bmp.Parser
	update   bgp.Update
	nlri     bgp.NLRI
	sections []bgp.Section
	rec      []byte
	extra    []byte
	key      []byte
	lastRec  string
}

// formKey is a table between two times at which it was emptied.
type formKey struct {
	peer        PeerKey
	view        bmp.View
	family      bgp.Family
	incarnation int64 // arrival of what emptied it
}

// override is a form that a table was found to have, with the messages before read again.
type override struct {
	addPath bool
	until   uint64 // ordinal of the record that showed it
}

type replayPeer struct {
	state          uint8 // of statesOfPeer
	session        int64 // gen in which it was spoken of last
	upGen          int64 // gen of the last Peer Up
	incarnation    int64
	sent, received []byte
	more           [][2][]byte
	local          [18]byte // address and ports of the Peer Up
	ports          [2]uint16
	negotiated     [3]bgp.AddPathSet
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
	said    bool
	votes   int
	read    int // messages since it was emptied
	seeded  bool
	routes  map[string]replayRoute
}

type replayRoute struct {
	record string
	since  int64
	gen    int64
}

// history is what a replay tells on its way.
type history struct {
	from  int64
	f     func(*Change) error
	start *[]Route
	begun bool
	quiet bool
	err   error
}

func (r *replayer) change(t int64, action Action, p PeerKey, k tableKey, id string, rr replayRoute, before string) {
	h := r.history
	if h == nil || t < h.from || h.err != nil || h.quiet {
		return
	}
	c := Change{Time: time.Unix(0, t), Action: action, Route: r.route(p, k, id, rr)}
	if action == Changed {
		c.Before = []byte(before)
	}
	h.err = h.f(&c)
}

func (r *replayer) route(p PeerKey, k tableKey, id string, rr replayRoute) Route {
	return Route{
		Peer: p, View: k.view, Family: k.family, Key: []byte(id[4:]), PathID: uint32(id[0])<<24 | uint32(id[1])<<16 | uint32(id[2])<<8 | uint32(id[3]),
		Record: []byte(rr.record), Since: time.Unix(0, rr.since), Stale: rr.gen != r.gen || r.down != 0,
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
	if rec.arrival > r.at {
		return nil
	}
	r.ordinal++
	r.now = rec.arrival
	if h := r.history; h != nil && !h.begun && rec.arrival >= h.from {
		h.begun = true
		*h.start = r.held(h.from)
	}
	if i.run != r.run {
		if r.run != 0 {
			r.clear()
		}
		r.run = i.run
	}
	switch rec.kind {
	case SessionStart:
		r.sweep()
		r.after[r.gen] = rec.arrival
		r.gen, r.down = rec.arrival, 0
		return nil
	case SessionEnd:
		r.sweep()
		r.down = rec.arrival
		return nil
	}
	var h bmp.PerPeerHeader
	if !peerHeader(rec.raw, &h) {
		return nil
	}
	pk := PeerKeyOf(&h)
	if r.only != nil && !r.only[pk] {
		return nil
	}
	p := r.peers[pk]
	if p == nil {
		p = &replayPeer{tables: make(map[tableKey]*replayTable)}
		r.peers[pk] = p
	}
	if rec.arrival <= p.until {
		return nil
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
			r.peerUp(m, pk, p)
		case *bmp.PeerDown:
			r.empty(pk, p)
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

// clear forgets everything: the station was started anew.
func (r *replayer) clear() {
	for pk, p := range r.peers {
		r.empty(pk, p)
	}
	clear(r.peers)
	r.down = r.now
}

// empty empties the tables of a peer.
func (r *replayer) empty(pk PeerKey, p *replayPeer) {
	p.incarnation = r.now
	for k, t := range p.tables {
		for id, rr := range t.routes {
			r.change(r.now, Withdrawn, pk, k, id, rr, "")
		}
		clear(t.routes)
		t.votes, t.read, t.seeded = 0, 0, false
	}
}

// sweep drops stale routes whose time is over.
func (r *replayer) sweep() {
	for pk, p := range r.peers {
		for k, t := range p.tables {
			for id, rr := range t.routes {
				if r.expired(rr, r.now) {
					r.change(r.now, Withdrawn, pk, k, id, rr, "")
					delete(t.routes, id)
				}
			}
		}
	}
}

func (r *replayer) peerUp(m *bmp.PeerUp, pk PeerKey, p *replayPeer) {
	same := p.ports == [2]uint16{m.LocalPort, m.RemotePort} && p.local == addressBytes(m) && p.hasOpens(m.SentOpen, m.ReceivedOpen)
	locRIB := pk.Type == bmp.LocRIBPeer
	if p.state == peerUp && p.upGen == r.gen {
		switch {
		case same || locRIB && p.hasOpens(m.SentOpen, m.ReceivedOpen):
			return
		case locRIB:
			if len(p.more) < 64 {
				p.more = append(p.more, [2][]byte{bytes.Clone(m.SentOpen), bytes.Clone(m.ReceivedOpen)})
			}
			p.negotiate()
			return
		}
		r.empty(pk, p)
	} else if p.upGen == r.gen && p.state != peerUnannounced {
		r.empty(pk, p)
	}
	p.state, p.session, p.upGen = peerUp, r.gen, r.gen
	p.sent, p.received, p.more = bytes.Clone(m.SentOpen), bytes.Clone(m.ReceivedOpen), nil
	p.local, p.ports = addressBytes(m), [2]uint16{m.LocalPort, m.RemotePort}
	p.negotiate()
}

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

// negotiate works out the families with path IDs of the OPENs, and gives tables for which that has changed the new form.
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
	for k, t := range p.tables {
		if said := p.says(k); said != t.said {
			t.said, t.addPath, t.votes = said, said, 0
		}
	}
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
		t = &replayTable{routes: make(map[string]replayRoute), said: p.says(k)}
		t.addPath = t.said
		p.tables[k] = t
	}
	if t.read == 0 {
		if o, ok := r.overrides[formKey{pk, k.view, k.family, p.incarnation}]; ok {
			t.addPath = o.addPath
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
		for id, rr := range t.routes {
			if rr.gen != r.gen {
				r.change(r.now, Withdrawn, pk, k, id, rr, "")
				delete(t.routes, id)
			}
		}
	}
	withdrawAll := u.Malformed != nil && u.Malformed.Class >= bgp.TreatAsWithdraw
	r.sections = u.Sections(r.sections[:0])
	for n := range r.sections {
		sec := &r.sections[n]
		k := tableKey{view, sec.Family}
		t := r.table(pk, p, k)
		// What the record says is of its last field of a family: of one of two it proves nothing.
		alone := true
		for m := range r.sections {
			alone = alone && (m == n || r.sections[m].Family != sec.Family)
		}
		addPath, ok, err := r.form(rec, pk, p, k, t, sec, alone)
		t.read++
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		r.section(u, sec, addPath, withdrawAll, pk, k, t)
	}
	return nil
}

// form decides whether an NLRI field carries path IDs. The record says how it was read when it came; a table that was
// found to be of the other form had the messages before read again, and so it is here.
func (r *replayer) form(rec *record, pk PeerKey, p *replayPeer, k tableKey, t *replayTable, sec *bgp.Section, alone bool) (addPath, ok bool, err error) {
	said := rec.addPath.Has(k.family)
	if !k.family.Splits() {
		return said, true, nil
	}
	fk := formKey{pk, k.view, k.family, p.incarnation}
	o, known := r.overrides[fk]
	known = known && r.ordinal <= o.until
	if known {
		t.addPath = o.addPath // whatever a Peer Up said meanwhile
	}
	_, err1 := bgp.CheckNLRI(k.family, t.addPath, sec.Withdraw, sec.Field)
	if err1 == nil && (known || said == t.addPath && t.votes == 0) {
		return t.addPath, true, nil // the way of nearly all
	}
	if rec.raw[0] >= 4 {
		// Stateless parsing: the message said it.
		_, err := bgp.CheckNLRI(k.family, said, sec.Withdraw, sec.Field)
		return said, err == nil, nil
	}
	_, err2 := bgp.CheckNLRI(k.family, !t.addPath, sec.Withdraw, sec.Field)
	if known {
		return !t.addPath, err2 == nil, nil
	}
	turn := func(to bool) error {
		t.votes = 0
		if t.read == 0 {
			t.addPath = to
			return nil
		}
		if len(r.overrides) > 1000 || r.history != nil && !r.history.quiet {
			t.addPath = to // a router that changes it all the time: what was read stays
			return nil
		}
		if t.seeded {
			return errUnseed
		}
		r.overrides[fk] = override{to, r.ordinal}
		return errAgain
	}
	switch {
	case err1 != nil && err2 != nil:
		return false, false, nil
	case err1 == nil && err2 == nil:
		if said != t.addPath && alone {
			if err := turn(said); err != nil {
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
		if err := turn(other); err != nil {
			return false, false, err
		}
		return other, true, nil
	}
	return !t.addPath, true, nil
}

func (r *replayer) section(u *bgp.Update, sec *bgp.Section, addPath, withdrawAll bool, pk PeerKey, k tableKey, t *replayTable) {
	it := &r.nlri
	it.Reset(sec.Family, addPath, sec.Withdraw, sec.Field)
	made := false
	for it.Next() {
		if r.want.Key != nil && (sec.Family != r.want.Family || string(it.Key) != string(r.want.Key)) {
			continue
		}
		r.key = append(r.key[:0], byte(it.PathID>>24), byte(it.PathID>>16), byte(it.PathID>>8), byte(it.PathID))
		r.key = append(r.key, it.Key...)
		old, had := t.routes[string(r.key)]
		if had && r.expired(old, r.now) {
			r.change(r.expiry(old), Withdrawn, pk, k, string(r.key), old, "")
			had = false
		}
		if sec.Withdraw || withdrawAll {
			if had {
				r.change(r.now, Withdrawn, pk, k, string(r.key), old, "")
			}
			delete(t.routes, string(r.key))
			continue
		}
		if !made || !bytes.Equal(it.Extra, r.extra) {
			r.extra = append(r.extra[:0], it.Extra...)
			r.rec = u.AppendRecord(r.rec[:0], sec.Family, it.Extra)
			if string(r.rec) != r.lastRec {
				r.lastRec = string(r.rec)
			}
			made = true
		}
		now := replayRoute{record: r.lastRec, since: r.now, gen: r.gen}
		switch {
		case had && old.record == now.record:
			now.record, now.since = old.record, old.since
		case had:
			r.change(r.now, Changed, pk, k, string(r.key), now, old.record)
		default:
			r.change(r.now, Announced, pk, k, string(r.key), now, "")
		}
		t.routes[string(r.key)] = now
	}
}
