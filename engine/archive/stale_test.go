package archive

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// story is what a router does, a second from one thing to the next.
type story struct {
	naive
	t        *testing.T
	at       time.Time
	peer     bmptest.Peer
	a        *Archive
	together bool // blocks have several records
}

func newStory(t *testing.T) *story {
	return &story{naive: naive{grace: 30 * time.Second}, t: t, at: time.Now().Add(-time.Hour).Truncate(time.Second), peer: bmptest.NewPeer("10.0.0.1", 65000)}
}

func (s *story) add(kind Kind, raw []byte) {
	s.records = append(s.records, naiveRecord{at: s.at, kind: kind, raw: slices.Clone(raw)})
	s.at = s.at.Add(time.Second)
}

func (s *story) begin() { s.add(SessionStart, nil) }
func (s *story) end()   { s.add(SessionEnd, nil) }

// down is a Peer Down without a BGP ID, as FRR sends it of peers that have not come up since it began.
func (s *story) down() {
	p := s.peer
	p.Header.BGPID = [4]byte{}
	s.add(MessageRecord, new(bmptest.Session).PeerDown(p, bmp.DownRemote, nil).Bytes())
}

func (s *story) up(p bmptest.Peer) { s.add(MessageRecord, new(bmptest.Session).PeerUp(p).Bytes()) }

// announce is without path IDs. Of two prefixes, it could be read with them; of one, it could not.
func (s *story) announce(prefixes ...string) {
	u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes(prefixes...)}
	s.add(MessageRecord, new(bmptest.Session).Monitor(s.peer, bmp.AdjInPre, u.Bytes()).Bytes())
}

// withAddPath is the peer with path IDs negotiated.
func (s *story) withAddPath() bmptest.Peer {
	p := s.peer
	p.Sent.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 3}}
	p.Received.AddPath = p.Sent.AddPath
	return p
}

// held asks for everything at a time, and for each prefix by itself, which must be the same.
func (s *story) held(at time.Time) (prefixes []string) {
	s.t.Helper()
	if s.a == nil {
		s.a = open(s.t, Options{Grace: s.grace, list: 1})
		contexts := make([]bgp.Context, len(s.records))
		s.replay(s.at, func(i int, ctx bgp.Context) { contexts[i] = ctx })
		c := s.a.Client(1)
		for i, rec := range s.records {
			if rec.put(c, contexts[i]); !s.together {
				syncArchive(s.t, s.a, 1) // a block for each
			}
		}
		syncArchive(s.t, s.a, 1)
	}
	h, err := s.a.At(bg, 1, Want{}, at)
	if err != nil {
		s.t.Fatal(err)
	}
	diffHeld(s.t, "everything", heldText(h.Routes), s.replay(at, nil))
	for _, p := range []string{"10.1.1.0/24", "10.2.2.0/24", "10.3.3.0/24"} {
		key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix(p))
		has := func(r Route) bool { return string(r.Key) == string(key) }
		one, err := s.a.At(bg, 1, Want{Keys: []RouteKey{{bgp.IPv4Unicast, key}}}, at)
		if err != nil {
			s.t.Fatal(err)
		}
		if slices.ContainsFunc(h.Routes, has) {
			prefixes = append(prefixes, p)
		}
		of := slices.DeleteFunc(slices.Clone(h.Routes), func(r Route) bool { return !has(r) })
		diffHeld(s.t, p+" alone", heldText(one.Routes), heldText(of))
	}
	return prefixes
}

func (s *story) holds(what string, at time.Time, want ...string) {
	s.t.Helper()
	if got := s.held(at); !slices.Equal(got, want) {
		s.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestABrokenDumpEndsWhatWasStale: as the table of the session, which tells stale from not and nothing more.
func TestABrokenDumpEndsWhatWasStale(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.peer)
	s.announce("10.1.1.0/24", "10.2.2.0/24")
	s.end()
	s.begin()
	s.up(s.peer)
	s.end()
	silent := s.at
	s.begin()
	s.up(s.peer)
	s.announce("10.1.1.0/24")
	during := s.at
	s.at = s.at.Add(time.Second)
	s.end()
	after := s.at
	s.begin()
	s.holds("after a session that announced nothing", silent, "10.1.1.0/24", "10.2.2.0/24")
	s.holds("while the dump runs", during, "10.1.1.0/24", "10.2.2.0/24")
	s.holds("after the dump broke", after, "10.1.1.0/24")
}

// TestAnotherFormEndsWhatWasStale: where a Peer Up negotiates path IDs anew, the table begins anew.
func TestAnotherFormEndsWhatWasStale(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.peer)
	s.announce("10.1.1.0/24")
	s.end()
	s.begin()
	before := s.at
	s.at = s.at.Add(time.Second)
	s.up(s.withAddPath())
	s.holds("before the Peer Up", before, "10.1.1.0/24")
	s.holds("after it", s.at)
}

// TestWhatIsReadAgainIsOfOneSession: three messages that read in one way alone have the session read again what it said
// itself since the peer came up, and nothing of before.
func TestWhatIsReadAgainIsOfOneSession(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.withAddPath())
	s.announce("10.1.1.0/24")
	s.end()
	s.begin()
	s.up(s.withAddPath())
	s.announce("10.2.2.0/24", "10.3.3.0/24")
	s.announce("10.2.2.0/24")
	s.announce("10.2.2.0/24")
	before := s.at.Add(-time.Millisecond)
	s.announce("10.2.2.0/24")
	// The first of the two prefixes is taken for the path ID of the second.
	s.holds("before the third", before, "10.1.1.0/24", "10.2.2.0/24", "10.3.3.0/24")
	s.holds("after it", s.at, "10.2.2.0/24", "10.3.3.0/24")
}

// TestTheFormFromBeforeASearch: a search that begins with a session in which the peer was not announced does not know
// what was negotiated before, and must not take the next Peer Up for another one.
func TestTheFormFromBeforeASearch(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.withAddPath())
	s.announce("10.1.1.0/24")
	s.announce("10.1.1.0/24")
	s.announce("10.1.1.0/24")
	s.end()
	s.begin()
	s.announce("10.2.2.0/24")
	s.at = s.at.Add(s.grace)
	s.end()
	s.begin()
	s.up(s.withAddPath())
	s.holds("after the Peer Up", s.at, "10.2.2.0/24")
}

// TestTheEndOfGraceIsTold: at the time at which it was, also where nothing came after.
func TestTheEndOfGraceIsTold(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.peer)
	s.announce("10.1.1.0/24")
	s.end()
	from := s.at
	s.begin()
	s.holds("at the beginning", from, "10.1.1.0/24")
	var changes []Change
	_, err := s.a.History(bg, 1, Want{}, from, from.Add(10*s.grace), func(c *Change) error {
		changes = append(changes, *c)
		return nil
	})
	if err != nil || len(changes) != 1 || changes[0].Action != Withdrawn || changes[0].Cause != NotRenewed || !changes[0].Time.Equal(from.Add(s.grace)) {
		t.Errorf("%v, %+v; the grace was over at %v", err, changes, from.Add(s.grace))
	}
}

// TestWhatTheSessionDropped: stale routes go when the session dropped them, and what it announced again stays.
func TestWhatTheSessionDropped(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.peer)
	s.announce("10.1.1.0/24", "10.2.2.0/24")
	s.end()
	s.begin()
	s.up(s.peer)
	s.announce("10.1.1.0/24")
	before := s.at.Add(-time.Millisecond)
	of := naiveStale{PeerKeyOf(&s.peer.Header), bmp.AdjInPre, bgp.IPv4Unicast}
	other := of
	other.view = bmp.AdjInPost
	for _, table := range []naiveStale{other, of} {
		s.add(StaleDropped, nil)
		s.records[len(s.records)-1].of = table
	}
	s.holds("before", before, "10.1.1.0/24", "10.2.2.0/24")
	s.holds("another table's went", s.at.Add(-1500*time.Millisecond), "10.1.1.0/24", "10.2.2.0/24")
	s.holds("after", s.at, "10.1.1.0/24")
	// It is no message, and no session.
	n := 0
	_, err := s.a.Messages(bg, 1, Query{Markers: true}, func(m *Message) error {
		n++
		if m.Kind == StaleDropped {
			t.Error("it is read as a message")
		}
		return nil
	})
	if want := len(s.records) - 2; err != nil || n != want {
		t.Errorf("%d records, want %d, %v", n, want, err)
	}
	if list, err := s.a.Sessions(bg, 1); err != nil || len(list) != 2 || !list[1].End.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestPeersSpokenOfByOthers: whether a Peer Down without a BGP ID empties the tables hangs on whether the session has spoken of the
// peer, which it may have done about other prefixes than the one that is asked for, or about none.
func TestPeersSpokenOfByOthers(t *testing.T) {
	for name, speak := range map[string]func(*story){
		"nothing":        func(*story) {},
		"another prefix": func(s *story) { s.announce("10.2.2.0/24") },
		"a withdrawal": func(s *story) {
			s.add(MessageRecord, new(bmptest.Session).Monitor(s.peer, bmp.AdjInPre, bmptest.Update{Withdraw: bmptest.Prefixes("10.2.2.0/24")}.Bytes()).Bytes())
		},
		"statistics": func(s *story) {
			s.add(MessageRecord, new(bmptest.Session).Statistics(s.peer, bmptest.Counter(0, 7)).Bytes())
		},
		"down and another": func(s *story) { s.down(); s.announce("10.2.2.0/24") },
	} {
		for _, sync := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " a block each: ", sync), func(t *testing.T) {
				s := newStory(t)
				s.together = !sync
				s.begin()
				s.up(s.peer)
				s.announce("10.1.1.0/24")
				s.announce("10.2.2.0/24")
				s.end()
				s.begin()
				speak(s)
				s.down()
				s.at = s.at.Add(time.Second)
				var want []string
				if name == "nothing" {
					want = []string{"10.1.1.0/24", "10.2.2.0/24"}
				}
				s.holds("after", s.at.Add(-time.Second), want...)
			})
		}
	}
}

// TestACheckpointThatIsTooOld: a search that finds a session to begin with has no use for a checkpoint from before it, as it
// does not know what came between.
func TestACheckpointThatIsTooOld(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.peer)
	s.announce("10.1.1.0/24")
	checkpoint := s.at
	s.at = s.at.Add(time.Second)
	other := bmptest.Update{ASPath: []uint32{65000, 65001}, Announce: bmptest.Prefixes("10.1.1.0/24")}
	s.add(MessageRecord, new(bmptest.Session).Monitor(s.peer, bmp.AdjInPre, other.Bytes()).Bytes())
	s.end()
	s.begin()
	s.up(s.peer)
	again := s.at
	s.announce("10.1.1.0/24")
	s.at = s.at.Add(s.grace)
	s.holds("at the end", s.at, "10.1.1.0/24")
	if err := s.a.Checkpoint(bg, 1, checkpoint, []PeerKey{PeerKeyOf(&s.peer.Header)}); err != nil {
		t.Fatal(err)
	}
	h, err := s.a.At(bg, 1, Want{Peers: []PeerKey{PeerKeyOf(&s.peer.Header)}}, s.at)
	if err != nil || len(h.Routes) != 1 || !h.Routes[0].Since.Equal(again) {
		t.Errorf("%v, %+v, want it since %v", err, h.Routes, again)
	}
}

// TestAHistoryThatBeginsAgain: what is left out of the search for a prefix may decide about how a message reads; then all is
// read, before anything was told.
func TestAHistoryThatBeginsAgain(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.up(s.withAddPath())
	for range 3 {
		s.announce("10.2.2.0/24")
	}
	from := s.at
	// The first field reads without path IDs alone, the second with them, too.
	u := bmptest.Update{ASPath: []uint32{65000}, Withdraw: bmptest.Prefixes("10.2.2.0/24"), Announce: bmptest.Prefixes("10.3.3.0/24", "10.1.1.0/24")}
	s.add(MessageRecord, new(bmptest.Session).Monitor(s.peer, bmp.AdjInPre, u.Bytes()).Bytes())
	s.holds("at the end", s.at, "10.1.1.0/24", "10.3.3.0/24")
	for _, p := range []string{"10.1.1.0/24", "10.3.3.0/24"} {
		key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix(p))
		var changes []Change
		_, err := s.a.History(bg, 1, Want{Keys: []RouteKey{{bgp.IPv4Unicast, key}}}, from, s.at, func(c *Change) error {
			changes = append(changes, *c)
			return nil
		})
		if err != nil || len(changes) != 1 || changes[0].Action != Announced || changes[0].PathID != 0 {
			t.Errorf("%s: %v, %+v", p, err, changes)
		}
	}
}

// TestALongHistory: more changes than are held back come in order, and once.
func TestALongHistory(t *testing.T) {
	a := open(t, Options{})
	c := a.Client(1)
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	put := func(at time.Time, s *bmptest.Session) {
		for _, m := range s.Messages() {
			c.Append(&Entry{Time: at, Raw: m, Context: bgp.Context{AS4: true}})
		}
	}
	c.Begin(SessionRecord{Time: begin})
	put(begin, new(bmptest.Session).PeerUp(peer))
	const changes = 2*maxBack + 1
	at := begin
	for n := range changes {
		at = at.Add(time.Millisecond)
		u := bmptest.Update{ASPath: []uint32{65000, uint32(n)}, Announce: bmptest.Prefixes("10.1.1.0/24")}
		put(at, new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()))
	}
	syncArchive(t, a, 1)
	key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("10.1.1.0/24"))
	told := 0
	_, err := a.History(bg, 1, Want{Keys: []RouteKey{{bgp.IPv4Unicast, key}}}, begin, at, func(c *Change) error {
		if told++; !c.Time.Equal(begin.Add(time.Duration(told) * time.Millisecond)) {
			t.Fatalf("change %d is of %v", told, c.Time)
		}
		return nil
	})
	if err != nil || told != changes {
		t.Errorf("%v, %d changes, want %d", err, told, changes)
	}
}

// TestATurnThatASearchLeavesOut: a Peer Up negotiates path IDs, and messages about other prefixes, which the search for one
// does not read, show that there are none.
func TestATurnThatASearchLeavesOut(t *testing.T) {
	s := newStory(t)
	s.begin()
	s.announce("10.1.1.0/24", "10.3.3.0/24")
	s.up(s.withAddPath())
	for range 3 {
		s.announce("10.2.2.0/24")
	}
	u := bmptest.Update{ASPath: []uint32{65000}, Withdraw: bmptest.Prefixes("10.2.2.0/24"), Announce: bmptest.Prefixes("10.3.3.0/24", "10.1.1.0/24")}
	s.add(MessageRecord, new(bmptest.Session).Monitor(s.peer, bmp.AdjInPre, u.Bytes()).Bytes())
	s.holds("at the end", s.at, "10.1.1.0/24", "10.3.3.0/24")
}
