package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

func ids(s *Station) (out []uint32) {
	for _, c := range s.Clients() {
		out = append(out, c.ID())
	}
	return out
}

func TestARouterThatComesBackIsTheSameClient(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "203.0.113.0/24")))
	r.close()
	again := connect(t, s, "127.0.0.2", "edge1")
	if again.client != r.client {
		t.Fatalf("client %d came back as %d", r.client.ID(), again.client.ID())
	}
	info := again.client.Info(time.Now())
	if info.ByType.Initiation != 2 || info.ByType.PeerUp != 1 || len(info.Sessions) != 2 {
		t.Errorf("counters and session log did not go on: %+v, %d sessions", info.ByType, len(info.Sessions))
	}

	// Another name, another address, no name: another client each.
	for _, x := range []struct{ from, name string }{{"127.0.0.2", "edge2"}, {"127.0.0.3", "edge1"}} {
		again.close()
		other := connect(t, s, x.from, x.name)
		if other.client == r.client {
			t.Errorf("%s from %s became client %d", x.name, x.from, r.client.ID())
		}
		other.close()
		again = connect(t, s, "127.0.0.2", "edge1")
	}
	again.close()
	nameless := &router{t: t, station: s, conn: dial(t, s, "127.0.0.2")}
	nameless.send(new(bmptest.Session).PeerUp(p))
	if nameless.client == r.client {
		t.Error("a session without Initiation became a client with a name")
	}
}

func TestSessionsAtOneTimeAreSeveralClients(t *testing.T) {
	s := startStation(t, nil)
	a := connect(t, s, "127.0.0.2", "edge1")
	b := connect(t, s, "127.0.0.2", "edge1")
	if a.client == b.client {
		t.Fatal("two sessions at one time are one client")
	}
	if found := s.FindClients("edge1"); len(found) != 2 {
		t.Errorf("%d clients by name", len(found))
	}
	if found := s.FindClients("127.0.0.2"); len(found) != 2 {
		t.Errorf("%d clients by address", len(found))
	}
	if found := s.FindClients(a.conn.LocalAddr().String()); len(found) != 1 || found[0] != a.client {
		t.Errorf("%d clients by address and port", len(found))
	}
	if found := s.FindClients(fmt.Sprint(b.client.ID())); len(found) != 1 || found[0] != b.client {
		t.Errorf("%d clients by ID", len(found))
	}
}

func TestASilentSessionGivesWay(t *testing.T) {
	s := startStation(t, func(o *Options) { o.ReplaceIdle = time.Nanosecond })
	p := bmptest.NewPeer("10.0.0.1", 65001)
	old := connect(t, s, "127.0.0.2", "edge1")
	old.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "203.0.113.0/24")))
	fresh := connect(t, s, "127.0.0.2", "edge1")
	if fresh.client != old.client {
		t.Fatalf("the new session is client %d, the silent one was %d", fresh.client.ID(), old.client.ID())
	}
	info := fresh.client.Info(time.Now())
	if want := "replaced by " + fresh.conn.LocalAddr().String(); info.Sessions[0].Reason != want {
		t.Errorf("the old session ended with %q, not %q", info.Sessions[0].Reason, want)
	}
	if len(fresh.routes()) != 1 {
		t.Error("its routes are gone")
	}
}

func TestIDsAreNeverReused(t *testing.T) {
	dir := t.TempDir()
	var first time.Time // of client 1, who says its name in its first message
	run := func(f func(s *Station)) {
		t.Run("run", func(t *testing.T) {
			f(startStation(t, func(o *Options) { o.StateDir = dir; o.Retention = time.Nanosecond }))
		})
	}
	run(func(s *Station) {
		edge1 := connect(t, s, "127.0.0.2", "edge1")
		nameless := &router{t: t, station: s, conn: dial(t, s, "127.0.0.3")}
		nameless.send(new(bmptest.Session).PeerUp(bmptest.NewPeer("10.0.0.1", 65001)))
		edge3 := connect(t, s, "127.0.0.4", "edge \"3\"\n")
		if got := ids(s); !slices.Equal(got, []uint32{1, 2, 3}) {
			t.Fatalf("IDs %v", got)
		}
		first = edge1.client.First()
		edge3.close()
		if f := s.FlushClient(edge3.client, false); !f.Client {
			t.Errorf("a client that is down was not flushed: %+v", f)
		}
	})
	run(func(s *Station) {
		if got := ids(s); !slices.Equal(got, []uint32{1}) {
			t.Fatalf("known after the restart: %v", got)
		}
		if r := connect(t, s, "127.0.0.4", "edge \"3\"\n"); r.client.ID() != 4 {
			t.Errorf("a flushed client came back as %d", r.client.ID())
		}
		if r := connect(t, s, "127.0.0.2", "edge1"); r.client.ID() != 1 {
			t.Errorf("client 1 came back as %d", r.client.ID())
		}
	})
	run(func(s *Station) {
		if got := ids(s); !slices.Equal(got, []uint32{1, 4}) {
			t.Fatalf("known after the restart: %v", got)
		}
		c, _ := s.Client(1)
		if got := c.Info(time.Now()).FirstSeen; got.UnixMilli() != first.UnixMilli() {
			t.Errorf("client 1 was seen first at %v, not %v", got, first)
		}
	})
}

func TestStateFileThatCannotBeReadIsAnError(t *testing.T) {
	for _, text := range []string{"something else\n", "bmp clients 1\nnext x\n", "bmp clients 1\nclient 7 \"\" \"\" nowhere \"x\"\n",
		"bmp clients 1\nclient 7 \"\" \"\" 10.0.0.1 \"x\" today\n"} {
		dir := t.TempDir()
		writeFile(t, dir+"/clients", text)
		if _, _, err := OpenState(dir); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	// A line that a power failure cut is not.
	dir := t.TempDir()
	writeFile(t, dir+"/clients", "bmp clients 1\nnext 5\nclient 9 \"\" \"\" 10.0.0.1 \"e\"\nclient 10 \"\" \"")
	s, known, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := s.NewID(client.Identity{}, time.Now()); id != 10 || len(known) != 1 || known[9].SysName != "e" || !known[9].First.IsZero() {
		t.Errorf("next ID %d, known %v", id, known)
	}
}

func TestRoutesOfADownClientAreStaleAndKept(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")))
	before := r.routes()
	r.close()
	for k, x := range r.routes() {
		if !x.Stale {
			t.Errorf("%s is not stale while its client is down", k)
		}
	}
	if b := r.client.Brief(); b.Routes != 3 || b.Peers != 1 || b.PeersUp != 0 {
		t.Errorf("%+v", b)
	}

	// 10.1 again with equal attributes, 10.2 with others, 10.3 not at all.
	r = connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).
		Monitor(p, bmp.AdjInPre, announce(65009, "10.2.0.0/16")))
	after := r.routes()
	for k, stale := range map[string]bool{"10.1.0.0/16": false, "10.2.0.0/16": false, "10.3.0.0/16": true} {
		k = "10.0.0.1 adj-in-pre " + k
		if after[k].Table == nil || after[k].Stale != stale {
			t.Errorf("%s: %+v, stale should be %v", k, after[k], stale)
		}
	}
	if k := "10.0.0.1 adj-in-pre 10.1.0.0/16"; !after[k].Since.Equal(before[k].Since) {
		t.Errorf("a route announced again with equal attributes lost its time")
	}
	r.send(new(bmptest.Session).EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast))
	if got := r.routes(); len(got) != 2 {
		t.Errorf("%d routes after End-of-RIB", len(got))
	}
	if d := r.peer("10.0.0.1"); len(d.Tables) != 1 || d.Tables[0].EoR.IsZero() {
		t.Errorf("End-of-RIB is not recorded: %+v", d.Tables)
	}
}

func TestStaleRoutesGoAfterTheDump(t *testing.T) {
	s := startStation(t, func(o *Options) { o.Timing.DumpGrace = 40 * time.Millisecond; o.Timing.Settle = time.Hour })
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16")))
	r.close()
	r = connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	until(t, "the route that was not renewed is gone", func() bool { return len(r.routes()) == 1 })
	if x := r.routes()["10.0.0.1 adj-in-pre 10.1.0.0/16"]; x.Table == nil || x.Stale {
		t.Errorf("the renewed route: %+v", x)
	}
}

func TestPeersNotAnnouncedAgainAreDropped(t *testing.T) {
	s := startStation(t, func(o *Options) { o.Timing.Settle = 30 * time.Millisecond; o.Timing.DumpGrace = time.Hour })
	a, b := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.2", 65002)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(a).PeerUp(b).Monitor(a, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).
		Monitor(b, bmp.AdjInPre, announce(65002, "10.1.0.0/16")))
	idOfA := r.peer("10.0.0.1").ID
	r.close()
	r = connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(a))
	until(t, "the peer that was not announced again is gone", func() bool { return len(r.client.Peers()) == 1 })
	if got := r.routes(); len(got) != 1 {
		t.Errorf("%d routes", len(got))
	}
	if got := r.peer("10.0.0.1"); got.ID != idOfA {
		t.Errorf("peer %d came back as %d", idOfA, got.ID)
	}
	r.send(new(bmptest.Session).PeerUp(b))
	if got := r.peer("10.0.0.2"); got.ID != 3 {
		t.Errorf("a peer's ID was given twice: %d", got.ID)
	}
}

func TestDownClientsAreForgotten(t *testing.T) {
	s := startStation(t, func(o *Options) { o.Retention = time.Nanosecond; o.janitor = time.Millisecond })
	p := bmptest.NewPeer("10.0.0.1", 65001)
	named := connect(t, s, "127.0.0.2", "edge1")
	named.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	nameless := &router{t: t, station: s, conn: dial(t, s, "127.0.0.3")}
	nameless.send(new(bmptest.Session).PeerUp(p))
	named.close()
	nameless.close()
	until(t, "the client without a name is forgotten, the other keeps only its name", func() bool {
		return len(s.Clients()) == 1 && len(named.client.Peers()) == 0
	})
	if n := s.Store().Stats().Routes; n != 0 {
		t.Errorf("%d routes are still held", n)
	}
	if again := connect(t, s, "127.0.0.2", "edge1"); again.client != named.client {
		t.Error("it did not come back as itself")
	}
}

func TestOnlySoManyDownClientsAreKept(t *testing.T) {
	s := startStation(t, func(o *Options) { o.MaxDown = 3; o.janitor = time.Millisecond })
	for i := range 6 {
		connect(t, s, "127.0.0.2", fmt.Sprint("edge", i)).close()
	}
	until(t, "three are left", func() bool { return len(s.Clients()) == 3 })
	if got := ids(s); !slices.Equal(got, []uint32{4, 5, 6}) {
		t.Errorf("left are %v, not those that went last", got)
	}
}

func TestSilentConnectionsGiveWay(t *testing.T) {
	s := startStation(t, func(o *Options) { o.HalfOpen = 4 })
	patient := dial(t, s, "127.0.0.9")
	for range 10 {
		dial(t, s, "127.0.0.2")
	}
	until(t, "the flood is cut", func() bool { return s.waiting.Closed() == 7 && s.waiting.Len() == 4 })
	r := &router{t: t, station: s, conn: patient}
	r.send(new(bmptest.Session).Initiation("edge1", ""))
	if got := lines(s, "make room"); len(got) == 0 {
		t.Error("nothing was said")
	}
}

func TestShutdownSaysHowManyClientsWereClosed(t *testing.T) {
	s := startStation(t, nil)
	a, b := connect(t, s, "127.0.0.2", "edge1"), connect(t, s, "127.0.0.3", "edge2")
	dial(t, s, "127.0.0.4")
	s.Stop("operator shutdown")
	for _, r := range []*router{a, b} {
		if why := r.closed(); why != "operator shutdown" {
			t.Errorf("closed with %q", why)
		}
	}
	until(t, "the count is said", func() bool { return len(lines(s, "Stopped: 2 clients closed")) == 1 })
}

func TestClearAndFlush(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).Raw(badMonitoring(p)))
	if n := r.client.ClearCounters(); n != 4 {
		t.Errorf("%d messages were counted", n)
	}
	if b := r.client.Brief(); b.Messages != 0 || b.Bytes != 0 || b.State != client.Up || b.Routes != 1 {
		t.Errorf("after clear counters: %+v", b)
	}
	f := s.FlushClient(r.client, false)
	if f.Messages != 4 || f.Malformed != 1 || f.Client || f.Routes != 0 || f.Cleared {
		t.Errorf("flushed %+v", f)
	}
	if got := r.routes(); len(got) != 1 {
		t.Errorf("flush dropped live routes: %d are left", len(got))
	}
	if bad, total := r.client.Malformed(); len(bad) != 0 || total != 0 {
		t.Errorf("%d malformed messages are left", len(bad))
	}
	if f = s.FlushClient(r.client, true); f.Routes != 1 || !f.Cleared {
		t.Errorf("flushed with routes %+v", f)
	}
	if why := r.closed(); why != "operator flushed its routes" {
		t.Errorf("closed with %q", why)
	}
	if n := s.Store().Stats().Routes; n != 0 {
		t.Errorf("%d routes are left", n)
	}

	r = connect(t, s, "127.0.0.2", "edge1")
	if !s.ClearClient(r.client) {
		t.Error("nothing was cleared")
	}
	if why := r.closed(); why != "operator cleared" {
		t.Errorf("closed with %q", why)
	}
	if s.ClearClient(r.client) {
		t.Error("a client that is down was cleared")
	}
	if f = s.FlushClient(r.client, false); !f.Client || len(s.Clients()) != 0 {
		t.Errorf("flushed %+v, %d clients left", f, len(s.Clients()))
	}
	if n := connect(t, s, "127.0.0.2", "edge1"); n.client.ID() != 2 {
		t.Errorf("a flushed client's ID was given again: %d", n.client.ID())
	}
}

func TestMemoryLimit(t *testing.T) {
	used := new(atomicInt)
	s := startStation(t, func(o *Options) {
		o.MemoryLimit = 1 << 30
		o.janitor = time.Millisecond
		o.settle = time.Millisecond
		o.memory = used.load
	})
	p := bmptest.NewPeer("10.0.0.1", 65001)
	small, large := connect(t, s, "127.0.0.2", "small"), connect(t, s, "127.0.0.3", "large")
	small.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	large.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")))

	used.store(1 << 30 / 100 * 95)
	until(t, "new clients are refused", func() bool { return s.Summary().Refusing })
	stranger := &router{t: t, station: s, conn: dial(t, s, "127.0.0.4")}
	stranger.write(new(bmptest.Session).Initiation("new", "").Bytes())
	stranger.closed()
	until(t, "the refusal is said", func() bool { return len(lines(s, "memory limit is near")) == 1 })
	// One that is known, and whose routes are held already, comes back.
	small.close()
	small = connect(t, s, "127.0.0.2", "small")

	used.store(1 << 31)
	if why := large.closed(); !strings.Contains(why, "memory limit") {
		t.Errorf("closed with %q", why)
	}
	if b := small.client.Brief(); b.State != client.Up || b.Routes != 1 {
		t.Errorf("the client that did not grow: %+v", b)
	}
	if b := large.client.Brief(); b.Routes != 0 {
		t.Errorf("the routes of the client that grew most are still held: %d", b.Routes)
	}
	used.store(0)
	until(t, "new clients are taken again", func() bool { return !s.Summary().Refusing })
	connect(t, s, "127.0.0.4", "new")
}

// Memory that is used up between two rounds of the janitor is seen.
func TestMemoryIsWatched(t *testing.T) {
	used := new(atomicInt)
	s := startStation(t, func(o *Options) {
		o.MemoryLimit = 1 << 30
		o.janitor = time.Hour
		o.memory = used.load
	})
	used.store(1 << 30 / 100 * 95)
	until(t, "new clients are refused", func() bool { return s.Summary().Refusing })
}

// FuzzState reads anything as the state file: what is taken is written again so that it reads the same.
func FuzzState(f *testing.F) {
	f.Add("bmp clients 1\nnext 8\nclient 3 \"blue\" \"vrf1\" 10.1.0.1 \"edge1.ams\"\nclient 4 \"\" \"\" 2001:db8::1 \"\"\nclient 5 \"\" \"\" 10.1.0.1 \"e\" 1764460800123\ngone 3\n")
	f.Add("bmp clients 1\nclient 9 \"\" \"\" 10.0.0.1 \"e\"\nclient 10 \"\" \"")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		writeFile(t, dir+"/clients", text)
		s, known, err := OpenState(dir)
		if err != nil {
			return
		}
		id, err := s.NewID(client.Identity{SysName: "new", Address: netip.AddrFrom4([4]byte{10, 0, 0, 1})}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, taken := known[id]; taken {
			t.Fatalf("ID %d is given twice", id)
		}
		s.Close()
		again, knownAgain, err := OpenState(dir)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		defer again.Close()
		if len(knownAgain) != len(known)+1 {
			t.Fatalf("%d clients, then %d", len(known), len(knownAgain))
		}
		for id, i := range known {
			if knownAgain[id] != i {
				t.Fatalf("client %d was %+v, is %+v", id, i, knownAgain[id])
			}
		}
	})
}

// TestARouterThatRestarts says of its peer, before it is up again, that it is down, in a session that also ends at once:
// the routes that come again with equal attributes keep their time.
func TestARouterThatRestarts(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16")))
	before := r.routes()
	r.close()
	r = connect(t, s, "127.0.0.2", "edge1")
	never := p // came up: FRR has no BGP ID then
	never.Header.BGPID = [4]byte{}
	r.send(new(bmptest.Session).PeerDown(never, bmp.DownLocal, nil).PeerDown(never, bmp.DownLocal, nil))
	if d := r.peer("10.0.0.1"); d.State != client.PeerDown || d.Total != 2 || d.Tables[0].Stale != 2 {
		t.Errorf("%s, %d routes: %+v", d.State, d.Total, d.Tables)
	}
	r.close()
	r = connect(t, s, "127.0.0.2", "edge1")
	p.RemotePort++ // the BGP session is another one
	r.send(new(bmptest.Session).PeerDown(never, bmp.DownLocal, nil).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).
		EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast))
	k := "10.0.0.1 adj-in-pre 10.1.0.0/16"
	if x := r.routes(); len(x) != 1 || x[k].Stale || !x[k].Since.Equal(before[k].Since) {
		t.Errorf("after the restart: %+v, before: %+v", x, before)
	}
	// Down once more, and now it was up: its routes go at once.
	r.send(new(bmptest.Session).PeerDown(p, bmp.DownRemote, nil))
	r.hasRoutes()
}

// A router comes back as the client whose name it said last: one that came after the first message, or another one.
func TestARouterIsKnownByTheNameItSaidLast(t *testing.T) {
	s := startStation(t, nil)
	late := &router{t: t, station: s, conn: dial(t, s, "127.0.0.2")}
	late.send(new(bmptest.Session).PeerUp(bmptest.NewPeer("10.0.0.1", 65001)))
	late.send(new(bmptest.Session).Initiation("late", ""))
	late.close()
	if again := connect(t, s, "127.0.0.2", "late"); again.client != late.client {
		t.Error("it did not come back by a name that came late")
	}
	r := connect(t, s, "127.0.0.3", "old")
	r.send(new(bmptest.Session).Initiation("new", ""))
	r.close()
	other := connect(t, s, "127.0.0.3", "old")
	if other.client == r.client {
		t.Error("a router came back by a name that it no longer has")
	}
	if again := connect(t, s, "127.0.0.3", "new"); again.client != r.client {
		t.Error("it did not come back by its new name")
	}
	// A client that was forgotten does not come back, and others of its identity do.
	twin := connect(t, s, "127.0.0.3", "old")
	other.close()
	twin.close()
	s.FlushClient(other.client, false)
	if again := connect(t, s, "127.0.0.3", "old"); again.client != twin.client {
		t.Errorf("it came back as client %d, not %d", again.client.ID(), twin.client.ID())
	}
}
