package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// A Feed is what a client says from a moment on, for somebody who passes it on: a relay, a recording. One that is there
// when the session begins has every byte of it. One that comes later (Client.Follow) begins with what the session has said
// so far, in short ([Feed.Start]): Initiation, Peer Ups, routes, End-of-RIB; then every message follows as it comes. A
// route may be told by both, which is no harm: the later word counts.
//
//	session goroutine -> put -> chunks, bounded -> Take -> the follower's goroutine
//
// The session never waits. When a follower is so slow that there is no more room its feed is over (Overrun): it has
// missed something, and has to begin again.
type Feed struct {
	limit  int64
	budget *FeedBudget
	notify chan struct{}
	start  *feedStart // nil: it has the session from its first byte

	mu     sync.Mutex
	client *Client // nil: it is not attached yet
	ep     Endpoint
	chunks [][]byte
	queued int64
	over   bool // closed by its follower
	ended  bool
	reason string
	missed uint64
}

// FeedBudget bounds what all feeds of a station hold. The zero FeedBudget has no room.
type FeedBudget struct {
	Limit int64 // bytes
	used  atomic.Int64
}

// Used is how many bytes wait for their followers.
func (b *FeedBudget) Used() int64 { return b.used.Load() }

func (b *FeedBudget) take(n int64) bool {
	if b.used.Add(n) > b.Limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// Sizes of a feed's chunks: one that little comes for has short ones.
const (
	feedFirst = 4 << 10
	feedChunk = 64 << 10
)

// feedHeader is before each message of a chunk, big endian:
//
//	length of the message 4 | arrival, unix nanoseconds 8 | ADD-PATH families 8 | flags 1
const feedHeader = 21

// FeedMessage is one message of a feed.
type FeedMessage struct {
	Time    time.Time   // of arrival
	Context bgp.Context // how the UPDATE of Route Monitoring is read
	Raw     []byte
}

// NewFeed makes a feed that holds at most limit bytes. notify, which must have a buffer, is sent to whenever there is
// something to be taken; several feeds may share it.
func NewFeed(limit int64, budget *FeedBudget, notify chan struct{}) *Feed {
	return &Feed{limit: limit, budget: budget, notify: notify}
}

// feedStart is what is told of a session to one who comes late.
type feedStart struct {
	time     time.Time
	encoding bmp.Encoding
	init     []byte
	peers    []feedPeer
}

type feedPeer struct {
	header bmp.PerPeerHeader
	ups    []bmp.PeerUp
	tables []feedTable
}

type feedTable struct {
	rib    *rib.Table
	view   bmp.View
	family bgp.Family
	eor    bool
}

// Follow attaches a feed to the running session. It is false when there is none, or it has not begun yet, or whoever
// waits for the feed's notify follows the session already.
func (c *Client) Follow(f *Feed, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.session.client == nil {
		return false
	}
	if slices.ContainsFunc(c.feeds, func(x *Feed) bool { return x.notify == f.notify && !x.closed() }) {
		return false
	}
	f.start = c.feedStart(now)
	c.attach(f)
	return true
}

// attach is called with the client locked.
func (c *Client) attach(f *Feed) {
	f.mu.Lock()
	f.client, f.ep = c, c.session.endpoint
	f.mu.Unlock()
	c.feeds = append(c.feeds, f)
	f.tell()
}

// beginFeeds attaches those who want the session from its first byte on.
func (s *Session) beginFeeds() {
	if s.env.Begun == nil {
		return
	}
	for _, f := range s.env.Begun(s.client) {
		s.client.attach(f)
	}
}

func (s *Session) endFeeds(reason string) {
	for _, f := range s.client.feeds {
		f.end(reason)
	}
	s.client.feeds = nil
}

// feed gives the message that was applied to the feeds.
func (s *Session) feed() {
	done := false
	for _, f := range s.client.feeds {
		done = !f.put(s.now, s.mark.flags&entryAS4 != 0, s.mark.addPath, s.mark.raw) || done
	}
	if done {
		s.client.feeds = slices.DeleteFunc(s.client.feeds, (*Feed).closed)
	}
}

// Client is the client that the feed is of; nil before it was attached.
func (f *Feed) Client() *Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.client
}

// Endpoint says between what the session runs.
func (f *Feed) Endpoint() Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ep
}

// Late says that the feed did not begin with the session.
func (f *Feed) Late() bool { return f.start != nil }

func (f *Feed) tell() {
	select {
	case f.notify <- struct{}{}:
	default:
	}
}

// put is false when nothing will be taken any more.
func (f *Feed) put(now int64, as4 bool, addPath bgp.AddPathSet, raw []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.missed > 0 {
		f.missed++
		return false
	}
	need := feedHeader + len(raw)
	n := len(f.chunks)
	if n == 0 || cap(f.chunks[n-1])-len(f.chunks[n-1]) < need {
		size := feedFirst
		if n > 0 {
			size = feedChunk
		}
		size = max(size, need)
		if f.queued+int64(size) > f.limit || !f.budget.take(int64(size)) {
			f.missed++
			f.tell()
			return false
		}
		f.queued += int64(size)
		f.chunks = append(f.chunks, make([]byte, 0, size))
		n++
	}
	b := f.chunks[n-1]
	b = binary.BigEndian.AppendUint32(b, uint32(len(raw)))
	b = binary.BigEndian.AppendUint64(b, uint64(now))
	b = binary.BigEndian.AppendUint64(b, uint64(addPath))
	flags := byte(0)
	if as4 {
		flags = 1
	}
	f.chunks[n-1] = append(append(b, flags), raw...)
	f.tell()
	return true
}

func (f *Feed) closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over || f.missed > 0
}

func (f *Feed) end(reason string) {
	f.mu.Lock()
	f.ended, f.reason = true, reason
	f.mu.Unlock()
	f.tell()
}

// Close ends the feed for its follower. What was not taken is let go.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.budget.used.Add(-f.queued)
	f.chunks, f.queued = nil, 0
}

// Take hands over the oldest messages that wait, for [EachFed]; empty when there are none. It does not wait: notify
// tells. What was taken is the caller's.
func (f *Feed) Take() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.chunks) == 0 {
		return nil
	}
	b := f.chunks[0]
	f.chunks[0] = nil
	f.chunks = f.chunks[1:]
	if len(f.chunks) == 0 {
		f.chunks = nil
	}
	f.queued -= int64(cap(b))
	f.budget.used.Add(-int64(cap(b)))
	return b
}

// Queued is how many bytes wait.
func (f *Feed) Queued() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queued
}

// Ended says that nothing comes after what waits, and why: the session is over.
func (f *Feed) Ended() (reason string, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reason, f.ended
}

// Overrun is true when messages were missed for want of room.
func (f *Feed) Overrun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.missed > 0
}

// ErrFed says that bytes are not what a feed makes.
var ErrFed = errors.New("not the messages of a feed")

// EachFed takes apart what Take or Start gave; Raw aliases b.
func EachFed(b []byte, fn func(*FeedMessage) error) error {
	for len(b) > 0 {
		if len(b) < feedHeader {
			return ErrFed
		}
		n := int(binary.BigEndian.Uint32(b))
		if n > len(b)-feedHeader {
			return ErrFed
		}
		m := FeedMessage{
			Time:    time.Unix(0, int64(binary.BigEndian.Uint64(b[4:]))),
			Context: bgp.Context{AddPath: bgp.AddPathSet(binary.BigEndian.Uint64(b[12:])), AS4: b[20]&1 != 0},
			Raw:     b[feedHeader : feedHeader+n],
		}
		if err := fn(&m); err != nil {
			return err
		}
		b = b[feedHeader+n:]
	}
	return nil
}

// feedStart copies out what Start needs; the routes are read later. It is called with the client locked.
func (c *Client) feedStart(now time.Time) *feedStart {
	s := &feedStart{time: now, init: c.init, encoding: bmp.Encoding{Version: c.version, Profile: c.profile}}
	number := c.sessions.Load()
	for _, p := range c.byID {
		up := p.state == PeerUp && p.upSession == number
		if !up && p.session != number {
			continue // of an earlier session: the router has not said yet that it is there
		}
		x := feedPeer{header: bmp.PerPeerHeader{Type: p.key.typ, Distinguisher: p.key.dist, Address: p.key.addr, AS: p.as, BGPID: p.bgpid}}
		if p.key.addr.Is6() && !p.locRIB() {
			x.header.Flags = bmp.FlagIPv6
		}
		if up {
			x.ups = p.upMessages(x.header)
		}
		for _, v := range p.views {
			if v == nil {
				continue
			}
			for _, t := range v.tables {
				x.tables = append(x.tables, feedTable{t.rib, t.view, t.family, t.eor != 0})
			}
		}
		s.peers = append(s.peers, x)
	}
	slices.SortFunc(s.peers, func(a, b feedPeer) int {
		return cmp.Or(cmp.Compare(a.header.Type, b.header.Type), cmp.Compare(a.header.Distinguisher, b.header.Distinguisher), a.header.Address.Compare(b.header.Address))
	})
	return s
}

// upMessages are the Peer Ups that say what the peer's own said: one, or for a Loc-RIB one for each pair of OPENs.
func (p *peer) upMessages(h bmp.PerPeerHeader) []bmp.PeerUp {
	if p.routerTime != 0 {
		h.SetTime(time.Unix(0, p.routerTime))
	}
	m := bmp.PeerUp{PeerHeader: h, LocalAddress: p.localAddr, LocalPort: p.localPort, RemotePort: p.remotePort, SentOpen: p.sent, ReceivedOpen: p.received}
	for _, text := range p.strings {
		m.TLVs = append(m.TLVs, bmp.TLV{Type: bmp.PeerString, Value: []byte(text)})
	}
	if p.table != "" && tableName(&m) != p.table {
		m.TLVs = append(m.TLVs, bmp.TLV{Type: bmp.PeerTableName, Value: []byte(p.table)})
	}
	if p.admin != "" {
		m.TLVs = append(m.TLVs, bmp.TLV{Type: bmp.PeerAdminLabel, Value: []byte(p.admin)})
	}
	out := []bmp.PeerUp{m}
	for _, pair := range p.moreOpens {
		m.SentOpen, m.ReceivedOpen = pair[0], pair[1]
		out = append(out, m)
	}
	return out
}

// Start makes the messages that a late feed begins with and calls fn with them, in batches for [EachFed] that are valid
// during the call. It says how many routes could not be put into a message. Where the feed is not late there are none.
func (f *Feed) Start(ctx context.Context, fn func(batch []byte) error) (left int, err error) {
	if f.start == nil {
		return 0, nil
	}
	w := feedWriter{start: f.start, fn: fn}
	if f.start.init != nil {
		if err := w.add(f.start.init, bgp.Context{}); err != nil {
			return 0, err
		}
	}
	for i := range f.start.peers {
		for k := range f.start.peers[i].ups {
			if err := w.message(&f.start.peers[i].ups[k], bgp.Context{}); err != nil {
				return w.left, err
			}
		}
	}
	store := f.Client().env.Store
	for i := range f.start.peers {
		p := &f.start.peers[i]
		for k := range p.tables {
			t := &p.tables[k]
			err := store.Query(ctx, rib.Query{Family: t.family, Tables: []*rib.Table{t.rib}}, func(batch []rib.Route) error {
				return w.routes(p, t, batch)
			})
			if err == nil && t.eor {
				w.pdu = bgp.AppendEndOfRIB(w.pdu[:0], t.family)
				h := t.header(p, true)
				h.SetTime(f.start.time)
				err = w.message(&bmp.RouteMonitoring{PeerHeader: h, Update: w.pdu}, bgp.Context{AS4: true})
			}
			if err != nil {
				return w.left, err
			}
		}
	}
	f.start.peers = nil // the tables need not live on
	return w.left, w.flush()
}

// header is the Per-Peer Header of a message about routes of the table.
func (t *feedTable) header(p *feedPeer, as4 bool) bmp.PerPeerHeader {
	h := p.header
	if h.Type == bmp.LocRIBPeer {
		return h
	}
	if t.view == bmp.AdjInPost || t.view == bmp.AdjOutPost {
		h.Flags |= bmp.FlagPostPolicy
	}
	if t.view == bmp.AdjOutPre || t.view == bmp.AdjOutPost {
		h.Flags |= bmp.FlagAdjRIBOut
	}
	if !as4 {
		h.Flags |= bmp.FlagAS2
	}
	return h
}

// feedWriter puts messages together.
type feedWriter struct {
	start *feedStart
	fn    func([]byte) error
	batch []byte
	raw   []byte
	pdu   []byte
	field []byte
	order []int
	left  int
}

func (w *feedWriter) flush() error {
	if len(w.batch) == 0 {
		return nil
	}
	err := w.fn(w.batch)
	w.batch = w.batch[:0]
	return err
}

func (w *feedWriter) add(raw []byte, ctx bgp.Context) error {
	w.batch = binary.BigEndian.AppendUint32(w.batch, uint32(len(raw)))
	w.batch = binary.BigEndian.AppendUint64(w.batch, uint64(w.start.time.UnixNano()))
	w.batch = binary.BigEndian.AppendUint64(w.batch, uint64(ctx.AddPath))
	flags := byte(0)
	if ctx.AS4 {
		flags = 1
	}
	w.batch = append(append(w.batch, flags), raw...)
	if len(w.batch) >= feedChunk/2 {
		return w.flush()
	}
	return nil
}

func (w *feedWriter) message(m bmp.Message, ctx bgp.Context) (err error) {
	e := w.start.encoding
	if p, ok := m.(*bmp.PeerUp); ok && e.Version < 3 {
		p.TLVs = nil
	}
	if w.raw, err = m.Append(w.raw[:0], e); err != nil {
		w.left++ // it cannot be said in the session's version
		return nil
	}
	return w.add(w.raw, ctx)
}

// maxFedUpdate is how long an UPDATE of several routes is made: what every BGP speaker takes.
const maxFedUpdate = 4096

// routes puts the routes of a batch that have one record into as few UPDATEs as they fit into.
func (w *feedWriter) routes(p *feedPeer, t *feedTable, batch []rib.Route) error {
	w.order = w.order[:0]
	for i := range batch {
		if !batch[i].Stale { // those are of the session before
			w.order = append(w.order, i)
		}
	}
	slices.SortStableFunc(w.order, func(a, b int) int { return cmp.Compare(batch[a].AttrID, batch[b].AttrID) })
	for len(w.order) > 0 {
		first := &batch[w.order[0]]
		n := 0
		w.field = w.field[:0]
		for n < len(w.order) && (n == 0 || t.family.Splits()) {
			r := &batch[w.order[n]]
			if n > 0 && (r.AttrID != first.AttrID || !bytes.Equal(r.Record, first.Record)) {
				break
			}
			before := len(w.field)
			w.field = bgp.AppendNLRI(w.field, t.family, t.rib.AddPath(), r.PathID, r.Key, bgp.RecordExtra(r.Record))
			if n > 0 && len(w.field)+len(first.Record)+40 > maxFedUpdate {
				w.field = w.field[:before]
				break
			}
			n++
		}
		w.order = w.order[n:]
		var err error
		if w.pdu, err = bgp.AppendAnnouncement(w.pdu[:0], t.family, first.Record, w.field); err != nil {
			w.left += n
			continue
		}
		ctx := bgp.Context{AS4: bgp.RecordAS4(first.Record)}
		if t.rib.AddPath() {
			ctx.AddPath = ctx.AddPath.With(t.family)
		}
		h := t.header(p, ctx.AS4)
		h.SetTime(first.Since)
		if err := w.message(&bmp.RouteMonitoring{PeerHeader: h, Update: w.pdu}, ctx); err != nil {
			return err
		}
	}
	return nil
}
