package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
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
	// Router is the router's own stamp on that message; zero: it gave none.
	Router  time.Time
	Stale   bool // of a session before the one that ran, and not announced again
	AddPath bool // path identifiers tell routes of one key apart in its table
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
	Routes []Route    // by peer, view, family, key, path ID
	Peers  []HeldPeer // those that were spoken of, of the wanted ones, in no order
	// Down is since when the client had no session; zero: it had one. Its routes are those it had, and stale.
	Down time.Time
	// DownBefore is the same at the beginning of a History.
	DownBefore time.Time
	// Unknown is where the station was killed while the client had a session, if that was at the time, or within a History.
	// Since the beginning of it the client counts as down.
	Unknown []Unknown
	// Away is where the client had no session between two, of a History: those times of which the beginning or the end is in it,
	// oldest first, but for what is in Unknown.
	Away []Away
	// Begin is the arrival of the oldest message from which this is known; zero: there is none up to the time.
	Begin time.Time
	// Incomplete says that the messages do not go back to a session's beginning, nor is there a checkpoint: what was not
	// said since is missing.
	Incomplete bool
	// SetBack says that the clock was set back over the time asked for, so that it was more than once: this is the last.
	SetBack bool
	Walked
}

// Unknown is a time of which nothing is known of a client: from its last message that was kept before the station was killed
// until it was started again.
type Unknown struct{ From, To time.Time }

// Away is from the end of a client's session to the beginning of its next one, which announced everything anew: what that changed
// may have changed at any time since From.
type Away struct{ From, To time.Time }

// HeldPeer is a peer as its last Peer Up, or the first message that spoke of it, described it.
type HeldPeer struct {
	Key   PeerKey
	AS    uint32
	BGPID [4]byte
	Table string // of the Table Name TLV
	Text  string // of the free text, which names the table on some routers
}

// RouteKey is a key in its family.
type RouteKey struct {
	Family bgp.Family
	Key    []byte
}

// Want says which routes are asked for. The zero value wants all.
type Want struct {
	Peers []PeerKey  // none: of all
	Keys  []RouteKey // none: all. What has none of them is not read
	// Select, if not nil, lets further routes through, those of Keys alone. It must not keep the key.
	Select func(v bmp.View, f bgp.Family, key []byte, pathID uint32) bool
	// Keep, if not nil, says of which attributes they are: a route that is announced with others counts as withdrawn.
	Keep func(peer PeerKey, f bgp.Family, record []byte) bool
	// MaxRoutes bounds how many are held meanwhile, beyond which ErrTooMany is returned; 0 is no bound.
	MaxRoutes int
	// StaleFor is for how long what a client said is kept once it is down, where its sessions' records do not say; 0: for ever.
	StaleFor time.Duration

	// Progress, if not nil, is called now and then with the blocks read and how many there are to be read.
	Progress func(done, all uint64)

	noCheckpoint bool
	noPrune      bool // also blocks without the wanted keys are read
	further      int  // so many sessions more are read than should be needed
	noRoutes     bool // only what changes more than routes is read
}

// ErrTooMany is returned when more routes than Want.MaxRoutes were held.
var ErrTooMany = errors.New("archive: too many routes")

// At is what a client held of what is wanted at a time: the messages up to it are applied as the session did when they
// came. A prefix is searched through the index, so that few blocks are read; otherwise the newest checkpoints before the
// time and all blocks since are.
//
// A peer's tables are emptied by its Peer Down, and by a Peer Up of another session of it; routes of an earlier BMP session
// are stale until announced again, and gone with their table's End-of-RIB, when the session dropped them (Appender.DropStale),
// Options.Grace after the next session began, or with the end of a session that announced others to their table; and all are gone
// when the client was down for as long as was set then. A table that turns out to be coded otherwise begins anew with what
// the session said of it since the peer came up. A station that was started anew holds nothing.
func (a *Archive) At(ctx context.Context, client uint32, want Want, at time.Time) (h Held, err error) {
	r, w, err := a.replay(ctx, client, want, at, nil)
	if err != nil {
		return h, err
	}
	h = r.result(w)
	h.Routes = r.held(at.UnixNano())
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

// Cause is why something happened to a route.
type Cause uint8

// The causes. All but the first are of withdrawals.
const (
	Said         Cause = iota // by a message about it
	PeerWentDown              // Peer Down
	PeerCameUp                // Peer Up of another session of the peer
	EndOfRIB                  // End-of-RIB without it, after the client came back
	NotRenewed                // nor was it announced again within the grace
	StationAnew               // the station was started anew, and held nothing
	DownForLong               // the client was down for as long as its routes are kept
	DroppedDown               // they were dropped while it was down, for want of memory
)

// String is a few words; empty for Said.
func (c Cause) String() string {
	return [...]string{"", "peer down", "peer up anew", "not in the new dump", "not announced again", "station restarted", "stale", "out of memory"}[c]
}

// Change is one change of a route.
type Change struct {
	Time   time.Time
	Stamp  time.Time // the router's own on the message that made the change; zero: it gave none, or no message did
	Action Action
	Cause  Cause
	Route         // as it is after the change; of one that is gone, as it was
	Before []byte // Changed: the record before
}

// History calls f with every change of the wanted routes from a time to a time, both included, in the order of arrival, and
// returns what was held just before from. The slices of a Change may be kept, not written to. Routes that go stale are no change; those that are swept are withdrawn, at the time of the
// End-of-RIB or of the session's end, or when the grace is over.
func (a *Archive) History(ctx context.Context, client uint32, want Want, from, to time.Time, f func(*Change) error) (h Held, err error) {
	var start []Route
	r, w, err := a.replay(ctx, client, want, to, &history{from: from.UnixNano(), f: f, start: &start})
	if err != nil {
		return h, err
	}
	if !r.history.begun {
		start, r.history.down = r.held(r.history.from), r.down
	}
	h = r.result(w)
	h.Routes = start
	if r.history.down != 0 {
		h.DownBefore = time.Unix(0, r.history.down)
	}
	return h, nil
}

// Presence is what History returns of a time, without the routes: when the client was down, or away, and which peers it had.
func (a *Archive) Presence(ctx context.Context, client uint32, from, to time.Time) (Held, error) {
	want := Want{Select: func(bmp.View, bgp.Family, []byte, uint32) bool { return false }, noRoutes: true}
	return a.History(ctx, client, want, from, to, func(*Change) error { return nil })
}

// Peers are those that announced themselves to a client's sessions and were known from a time to a time, in no order.
func (a *Archive) Peers(ctx context.Context, client uint32, from, to time.Time) ([]HeldPeer, error) {
	h, err := a.Presence(ctx, client, from, to)
	return h.Peers, err
}

// Spoken says whether a client may have spoken of a peer from a time to a time, also without ever having announced it. It is
// seldom wrong, and never when it is false.
func (a *Archive) Spoken(ctx context.Context, client uint32, peer PeerKey, from, to time.Time) (found bool, err error) {
	hash, first, last := peer.hash(), from.Add(-a.o.Grace).UnixNano(), to.UnixNano()
	err = a.catalog.back(ctx, client, func(s, _ *segment) bool { return s.from > last }, func(i *info) bool {
		found = i.first <= last && i.touches(hash)
		return !found && (i.last >= first || i.flags&flagSession == 0)
	})
	return found, err
}

// First is the arrival of the oldest message kept of a client; zero: there is none.
func (a *Archive) First(ctx context.Context, client uint32) (time.Time, error) {
	st, err := a.stream(messageStream).Info(ctx)
	if err != nil {
		return time.Time{}, wrapIn(ctx, err)
	}
	x, err := a.catalog.load(ctx, client)
	if err != nil {
		return time.Time{}, err
	}
	defer x.mu.Unlock()
	for _, s := range x.segments {
		if s.last >= st.State.FirstSeq {
			return time.Unix(0, s.from), nil
		}
	}
	for _, list := range [][]*info{x.storing, x.pending} {
		if len(list) > 0 {
			return time.Unix(0, list[0].first), nil
		}
	}
	return time.Time{}, nil
}

// awayWithin are the times in a History that the client was away, each from where what is told as unknown ends.
func (r *replayer) awayWithin(told []Unknown) (list []Away) {
	if r.history == nil {
		return nil
	}
	for _, x := range r.away {
		for _, u := range told {
			if u.From.Equal(x.From) {
				x.From = u.To
			}
		}
		if x.From.Before(x.To) && x.To.UnixNano() >= r.history.from && x.From.UnixNano() <= r.at {
			list = append(list, x)
		}
	}
	return list
}

// result is what is known beside the routes.
func (r *replayer) result(w Walked) Held {
	h := Held{Incomplete: r.plan.incomplete, SetBack: r.plan.setBack, Walked: w}
	h.Gaps = r.plan.gaps
	if r.plan.begin != 0 {
		h.Begin = time.Unix(0, r.plan.begin)
	}
	if r.down != 0 {
		h.Down = time.Unix(0, r.down)
	}
	from := r.at
	if r.history != nil {
		from = r.history.from
	}
	for _, u := range r.unknown {
		if u.To.UnixNano() > from {
			h.Unknown = append(h.Unknown, u)
		}
	}
	h.Away = r.awayWithin(h.Unknown)
	for k, p := range r.peers {
		h.Peers = append(h.Peers, p.described(k))
	}
	for k, p := range r.gone {
		if r.peers[k] == nil {
			h.Peers = append(h.Peers, p)
		}
	}
	return h
}
