package client

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bmp/engine/archive"
	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bmp"
)

// Env is what the clients of a station share. It is not changed once the first client is made.
type Env struct {
	Store      *rib.Store
	Bus        *event.Bus
	Budget     *Budget
	Archive    *archive.Archive // nil: none
	Timing     Timing
	MaxMessage int // longest BMP message; 0: bmp.DefaultMaxMessage
	Gate       Gate

	// StaleFor, if not nil, is for how long routes of a client that is down are kept, as it is set now.
	StaleFor func() time.Duration
	// Begun, if not nil, is told that a session has begun, before its first message is applied and with the client locked:
	// it may ask Client.ID and Glance alone. It returns feeds that have the session from its first byte on.
	Begun func(*Client) []*Feed
	// Renamed, if not nil, is told of a client that its router has given it another name, with the client locked.
	Renamed func(c *Client, was, is Identity)

	hellos atomic.Int64 // bytes held of sessions before their first whole message, beyond helloFree of each
	works  sync.Pool    // of *work
}

// Timing is how long things take. A zero field is its default.
type Timing struct {
	Silent    time.Duration // nothing for so long is an event; 10 min
	Settle    time.Duration // a peer not announced again so long after its client came back is dropped; 10 min
	DumpGrace time.Duration // stale routes go so long after the last of them was renewed; 10 min
	StaleMost time.Duration // and so long after the first session since began at the latest; six times DumpGrace
	EndOfRIB  time.Duration // an End-of-RIB missing so long after Peer Up is a finding; 10 min
	Bulk      time.Duration // peer changes are summed up until none came for so long; 250 ms
}

// WithDefaults is t without fields that are zero.
func (t Timing) WithDefaults() Timing {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&t.Silent, 10*time.Minute)
	set(&t.Settle, 10*time.Minute)
	set(&t.DumpGrace, 10*time.Minute)
	set(&t.StaleMost, 6*t.DumpGrace)
	set(&t.EndOfRIB, 10*time.Minute)
	set(&t.Bulk, 250*time.Millisecond)
	return t
}

// Identity is what makes a session that of a router known before: where it came in, its address, and its sysName.
type Identity struct {
	Netns   string
	VRF     string
	Address netip.Addr
	SysName string
}

// Client is one monitored router. It keeps its ID and all that is known of it from session to session. All exported
// methods may be called from any goroutine.
//
// Lock order: the station's registry lock, Client.mu, then any of rib's, the ring's and the event bus's locks.
type Client struct {
	id     uint32
	env    *Env
	timing Timing
	first  time.Time

	// labels can be read without waiting for a batch to end: rows of routes need nothing else of a client.
	labelMu  sync.RWMutex
	labels   map[uint32]*Label
	name     atomic.Pointer[string] // sysName
	sessions atomic.Uint32          // number of the newest session
	up       atomic.Bool            // there is a session
	remote   atomic.Pointer[netip.AddrPort]
	turned   atomic.Int64 // when it was made, a session began or ended, or peers were dropped last; unix nanoseconds

	mu        sync.Mutex
	identity  Identity
	endpoint  Endpoint
	session   *Session // nil while down
	initiated bool     // the session sent an Initiation
	sysDescr  string
	initText  []string
	version   uint8
	profile   bmp.Profile
	since     int64     // of the state, unix nanoseconds
	last      int64     // arrival of the newest message
	stirred   time.Time // the later of both, also by the monotonic clock: retention and silence go by that
	lastError string
	errorTime int64
	reason    string // why the last session ended
	ended     string // the router's Termination
	gone      bool   // forgotten by the station: it cannot be resumed

	byID      map[uint32]*peer
	byKey     map[peerKey]*peer // nil while there are few: most of many routers have one or two, and a map is made for eight
	nextID    uint32
	past      map[peerKey]uint32 // see pastID; nil while there are none. Written with labelMu held, too
	feeds     []*Feed            // of the running session
	init      []byte             // its newest Initiation; nil: none, or longer than anybody needs
	openBytes int                // of the OPENs kept of all peers

	counts        [bmp.MessageTypes + 1]uint64
	bytes         uint64
	announced     uint64
	withdrawn     uint64
	ignored       uint64 // routes that could not be applied
	mirrorErrored uint64
	mirrorLost    uint64
	countersSince int64

	rate      rate
	ring      ring
	findings  findings
	malformed malformed
	log       []SessionInfo // ended sessions, oldest first
	logLost   uint64
	quirks    []Quirk
}

// sessionLog is how many ended sessions a client remembers.
const sessionLog = 64

// New makes a client without a session. now is when it got its ID.
func New(env *Env, id uint32, ident Identity, now time.Time) *Client {
	c := &Client{
		id: id, env: env, timing: env.Timing.WithDefaults(), first: now, identity: ident, since: now.UnixNano(), stirred: now,
		countersSince: now.UnixNano(),
		byID:          make(map[uint32]*peer), labels: make(map[uint32]*Label),
	}
	c.name.Store(&ident.SysName)
	remote := netip.AddrPortFrom(ident.Address, 0)
	c.remote.Store(&remote)
	c.turned.Store(now.UnixNano())
	c.ring.budget, c.ring.archived = env.Budget, env.Archive != nil
	env.Budget.add(&c.ring)
	return c
}

// Known is New for a client of an earlier run of the station, which had its ID since first; zero where that is not known.
func Known(env *Env, id uint32, ident Identity, first, now time.Time) *Client {
	c := New(env, id, ident, now)
	if !first.IsZero() {
		c.first = first
	}
	return c
}

// First is when the client got its ID.
func (c *Client) First() time.Time { return c.first }

// ID is the client's number, never given to another.
func (c *Client) ID() uint32 { return c.id }

// Name is the sysName of the router's last Initiation; empty when there was none. It never waits.
func (c *Client) Name() string { return *c.name.Load() }

// Glance is what a row of routes says of the client: its name, where it came from (port 0 before its first session), and
// whether it is connected. It never waits for the session.
func (c *Client) Glance() (name string, remote netip.AddrPort, up bool) {
	return c.Name(), *c.remote.Load(), c.up.Load()
}

// Turned is when a session of the client began or ended, peers of it were dropped, or it was made, whatever was last: its
// tables are those that it had since then. sessions is how many it has had since the station started: after the first, routes
// may have been stale until they were announced again. It never waits.
func (c *Client) Turned() (at time.Time, sessions uint32) {
	return time.Unix(0, c.turned.Load()), c.sessions.Load()
}

// turn notes that a session began or ended, or that peers were dropped.
func (c *Client) turn() { c.turned.Store(time.Now().UnixNano()) }

// PeerLabel names a peer for a row of routes. It never waits for the session. Not ok when the peer is gone.
func (c *Client) PeerLabel(peer uint32) (*Label, bool) {
	c.labelMu.RLock()
	defer c.labelMu.RUnlock()
	l, ok := c.labels[peer]
	return l, ok
}

// Identity is what the client is known by.
func (c *Client) Identity() Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity
}

// Silence is whether the client is up, and for how long nothing has come from it.
func (c *Client) Silence(now time.Time) (up bool, silent time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return false, 0
	}
	return true, now.Sub(c.stirred)
}

// DownSince is since when the client is down; the zero time while it is up.
func (c *Client) DownSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		return time.Time{}
	}
	return time.Unix(0, c.since)
}

// Began is when its newest session began; the zero time if it had none since the station started.
func (c *Client) Began() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		return c.session.start
	}
	if n := len(c.log); n > 0 {
		return c.log[n-1].Start
	}
	return time.Time{}
}

// Session is the running session; nil while the client is down.
func (c *Client) Session() *Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Begin gives the client a session, which must not have begun yet. It is false when the client has one already, or was
// forgotten.
func (c *Client) Begin(s *Session, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil || c.gone {
		return false
	}
	if keep := c.env.staleFor(); keep > 0 && now.Sub(c.stirred) >= keep {
		c.dropPeers() // as Expired would have, which is not called all the time; the archive tells it by the time alone
	}
	c.session = s
	c.sessions.Add(1)
	c.endpoint = s.endpoint
	c.remote.Store(&s.endpoint.Remote)
	c.up.Store(true)
	c.turn()
	c.since, c.stirred = now.UnixNano(), now
	c.initiated, c.ended, c.reason = false, "", ""
	c.version, c.profile = 0, bmp.ProfileAuto
	c.init = nil
	return true
}

// addPeer makes a peer of a header that speaks of an unknown one.
func (c *Client) addPeer(k peerKey, h *bmp.PerPeerHeader, now int64) *peer {
	p := &peer{id: c.takeID(k), key: k, as: h.AS, bgpid: h.BGPID, since: now}
	p.relabel(h)
	c.byID[p.id] = p
	switch {
	case c.byKey != nil:
		c.byKey[k] = p
	case len(c.byID) > fewPeers:
		c.byKey = make(map[peerKey]*peer)
		for _, p := range c.byID {
			c.byKey[p.key] = p
		}
	}
	c.publishLabel(p)
	return p
}

// fewPeers is how many are looked at one after the other to find one by its key.
const fewPeers = 8

// peerOf finds a peer by its key; nil when there is none.
func (c *Client) peerOf(k peerKey) *peer {
	if c.byKey != nil {
		return c.byKey[k]
	}
	for _, p := range c.byID {
		if p.key == k {
			return p
		}
	}
	return nil
}

func (c *Client) publishLabel(p *peer) {
	c.labelMu.Lock()
	c.labels[p.id] = p.label
	c.labelMu.Unlock()
}

// dropPeer forgets a peer and its routes, and says how many those were. Nothing may be staged for its tables.
func (c *Client) dropPeer(p *peer) (routes int) {
	c.turn() // before they go: who missed them finds that
	defer c.turn()
	for _, v := range p.views {
		if v == nil {
			continue
		}
		for _, t := range v.tables {
			routes += t.rib.Len()
			t.rib.Drop()
		}
	}
	c.openBytes -= p.openBytes()
	delete(c.byKey, p.key)
	delete(c.byID, p.id)
	c.findings.forget(p.id)
	c.labelMu.Lock()
	delete(c.labels, p.id)
	c.labelMu.Unlock()
	return routes
}

// dropPeers forgets all peers.
func (c *Client) dropPeers() (peers, routes int) {
	for _, p := range c.byID {
		routes += c.dropPeer(p)
		peers++
	}
	return peers, routes
}

// eachTable calls f for every table of every peer.
func (c *Client) eachTable(f func(p *peer, t *table)) {
	for _, p := range c.byID {
		p.eachTable(func(t *table) { f(p, t) })
	}
}

func (p *peer) eachTable(f func(t *table)) {
	for _, v := range p.views {
		if v == nil {
			continue
		}
		for _, t := range v.tables {
			f(t)
		}
	}
}

// peerNameOf is the name of a peer by its ID; empty for 0 and for peers that are gone.
func (c *Client) peerNameOf(id uint32) string {
	if p := c.byID[id]; p != nil {
		return p.label.Name()
	}
	return ""
}

func (c *Client) routes() (n int) {
	c.eachTable(func(_ *peer, t *table) { n += t.rib.Len() })
	return n
}

// publish sends an event of the client.
func (c *Client) publish(e event.Event) {
	e.Client = c.id
	e.Address = c.endpoint.Remote
	c.env.Bus.Publish(e)
}

// Close ends the running session with a reason, which the session log and the DOWN line show. It does not wait, and is
// false when there is no session.
func (c *Client) Close(reason string) bool {
	s := c.Session()
	if s == nil {
		return false
	}
	s.Close(reason)
	return true
}

// Expired is called for a client that may be down. From retention after its end on, its peers and routes are dropped;
// it is true when nothing is left to be dropped and the client has no name to come back by, so that it can be
// forgotten.
func (c *Client) Expired(now time.Time, retention time.Duration) (forget bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil || now.Sub(c.stirred) < retention {
		return false
	}
	c.dropPeers()
	return c.identity.SysName == ""
}

// Forget drops all that is kept of a client that is down; it can have no session after that. It is false if it is up.
func (c *Client) Forget() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		return false
	}
	c.forget()
	return true
}

func (c *Client) forget() {
	c.gone = true
	c.dropPeers()
	c.forgetIDs()
	c.ring.clear()
	c.env.Budget.remove(&c.ring)
	c.env.Bus.Forget(c.id)
}

// Flushed says what Flush threw away.
type Flushed struct {
	Messages  int // kept messages
	Sessions  int // entries of the session log
	Malformed int // malformed messages
	Findings  int
	Peers     int // of a client that is down, or with its routes
	Routes    int
	Client    bool // the client itself: it was down
	Cleared   bool // the session is being closed so that the routes come again
}

// Flush throws away what is stored of the client: messages, session log, malformed messages, findings, counters; and if
// it is down its peers, routes and the client itself, which the caller then takes out of the registry. With routes, the
// live routes of a client that is up go too, and the session is closed so that they come again.
func (c *Client) Flush(routes bool) Flushed {
	c.mu.Lock()
	f := Flushed{Sessions: len(c.log), Malformed: len(c.malformed.entries), Findings: len(c.findings.m)}
	f.Messages = c.ring.clear()
	c.log, c.logLost = nil, 0
	c.malformed = malformed{}
	c.findings = findings{}
	c.lastError, c.errorTime = "", 0
	c.zeroCounters()
	s := c.session
	switch {
	case s == nil:
		f.Client = true
		f.Peers, f.Routes = len(c.byID), c.routes()
		c.forget()
	case routes:
		f.Peers, f.Routes, f.Cleared = len(c.byID), c.routes(), true
		s.dropRoutes = true
	}
	c.mu.Unlock()
	if f.Cleared {
		s.Close("operator flushed its routes")
	}
	return f
}

// ClearCounters zeroes what is counted and shown; it says how many messages the old count was. The session stays.
func (c *Client) ClearCounters() (messages uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.counts {
		messages += n
	}
	c.zeroCounters()
	return messages
}

func (c *Client) zeroCounters() {
	clear(c.counts[:])
	c.bytes, c.announced, c.withdrawn, c.ignored, c.mirrorErrored, c.mirrorLost = 0, 0, 0, 0, 0, 0
	c.rate = rate{}
	c.malformed.total = 0
	c.countersSince = time.Now().UnixNano()
	if c.session != nil {
		c.session.messages, c.session.bytes = 0, 0
	}
	for _, p := range c.byID {
		clear(p.counts[:])
		p.ups, p.downs, p.repeated, p.malformed = 0, 0, 0, 0
	}
	c.eachTable(func(_ *peer, t *table) { t.announced, t.withdrawn = 0, 0 })
}

// What is kept of a peer and of a table besides what is counted, about.
const (
	peerBytes  = 1500
	tableBytes = 450
	pastBytes  = 100 // of a peer that has its ID alone
)

// Holds appends the tables of the client's routes, and says about how many bytes everything else takes that is kept of it.
func (c *Client) Holds(tables []*rib.Table) (_ []*rib.Table, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eachTable(func(_ *peer, t *table) { tables = append(tables, t.rib) })
	bytes = c.ring.size.Load() + int64(c.openBytes) + int64(c.malformed.bytes) + int64(len(c.byID))*peerBytes + int64(len(c.past))*pastBytes + int64(len(tables))*tableBytes
	return tables, bytes
}

// Up says whether there is a session. It never waits for it.
func (c *Client) Up() bool { return c.up.Load() }

// DropForMemory closes the session and drops its routes at once, because the station has no memory left for them.
func (c *Client) DropForMemory(reason string) bool {
	c.mu.Lock()
	s := c.session
	if s != nil {
		s.dropRoutes = true
	} else {
		c.archiveDropped(time.Now())
		c.dropPeers()
	}
	c.mu.Unlock()
	if s != nil {
		s.Close(reason)
	}
	return s != nil
}

// Totals is what a client adds to the station's sums.
type Totals struct {
	Up       bool
	PeersUp  int
	Messages uint64
	Bytes    uint64
	Routes   int
}

// Totals sums up in microseconds, holding the lock.
func (c *Client) Totals() Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := Totals{Up: c.session != nil, Bytes: c.bytes, Routes: c.routes()}
	for _, n := range c.counts {
		t.Messages += n
	}
	if t.Up {
		t.PeersUp = c.peersUp()
	}
	return t
}

func (c *Client) peersUp() (n int) {
	for _, p := range c.byID {
		if p.state == PeerUp && p.session == c.sessions.Load() {
			n++
		}
	}
	return n
}

// Matches says whether X of a command names this client: its ID, address, address:port or name.
func (c *Client) Matches(x string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	remote := c.endpoint.Remote
	if !remote.IsValid() {
		remote = netip.AddrPortFrom(c.identity.Address, 0)
	}
	if c.identity.SysName != "" && strings.EqualFold(x, c.identity.SysName) {
		return true
	}
	if a, err := netip.ParseAddr(x); err == nil {
		return a == remote.Addr()
	}
	if ap, err := netip.ParseAddrPort(x); err == nil {
		return ap == remote
	}
	return false
}
