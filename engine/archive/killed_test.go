package archive

import (
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// killed is an archive with a client of which a run of the station, an hour ago, kept a session without its end, two seconds
// long, and which came back ten minutes after the station did.
func killed(t *testing.T) (a *Archive, last, again, back time.Time) {
	t.Helper()
	dir := t.TempDir()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	a = open(t, Options{Dir: dir, now: func() time.Time { return began }})
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	announced := func() []byte {
		u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
		return new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()
	}
	say := func(from time.Time) time.Time {
		p := a.Client(1)
		p.Begin(SessionRecord{Session: 1, Time: from, Start: from, Name: "edge1"})
		at := feed(p, [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), announced()}, from.Add(time.Second), time.Second)
		return at.Add(-time.Second)
	}
	last = say(began)
	closeArchive(t, a) // all is stored, as it is a second after
	again, back = began.Add(10*time.Minute), began.Add(20*time.Minute)
	a = open(t, Options{Dir: dir, now: func() time.Time { return again }})
	say(back)
	syncArchive(t, a, 1)
	return a, last, again, back
}

// TestAClientIsDownSinceItsStationWasKilled: nobody ended the session, and nothing is known of what came after its last message.
func TestAClientIsDownSinceItsStationWasKilled(t *testing.T) {
	a, last, again, back := killed(t)
	key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("10.1.1.0/24"))
	for name, want := range map[string]Want{"all": {}, "a prefix": {Keys: []RouteKey{{bgp.IPv4Unicast, key}}}} {
		for _, c := range []struct {
			what   string
			at     time.Time
			routes int
			down   bool
			gap    bool
		}{
			{"while it was up", last.Add(-time.Millisecond), 0, false, false},
			{"at the last message", last, 1, true, true},
			{"while the station was dead", last.Add(time.Minute), 1, true, true},
			{"after the station was started", again.Add(time.Minute), 0, true, false},
			{"after the client came back", back.Add(time.Minute), 1, false, false},
		} {
			h, err := a.At(bg, 1, want, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if len(h.Routes) != c.routes || h.Down.IsZero() == c.down || c.down && !h.Down.Equal(last) {
				t.Errorf("%s, %s: %d routes, down since %v", name, c.what, len(h.Routes), h.Down)
			}
			for _, r := range h.Routes {
				if r.Stale != c.down {
					t.Errorf("%s, %s: stale is %v", name, c.what, r.Stale)
				}
			}
			if gap := len(h.Unknown) == 1 && h.Unknown[0].From.Equal(last) && h.Unknown[0].To.Equal(again); gap != c.gap {
				t.Errorf("%s, %s: unknown is %v", name, c.what, h.Unknown)
			}
		}
	}
	for _, c := range []struct {
		from, to     time.Time
		before, down bool
		changes      int
		gap          bool
	}{
		{last.Add(time.Minute), last.Add(2 * time.Minute), true, true, 0, true},
		{last.Add(-5 * time.Second), back.Add(time.Minute), false, false, 3, true},
		{again.Add(time.Minute), again.Add(2 * time.Minute), true, true, 0, false},
	} {
		changes := 0
		h, err := a.History(bg, 1, Want{}, c.from, c.to, func(*Change) error { changes++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		if h.DownBefore.IsZero() == c.before || h.Down.IsZero() == c.down || changes != c.changes || (len(h.Unknown) == 1) != c.gap {
			t.Errorf("from %v to %v: down before %v, after %v, %d changes, unknown %v", c.from, c.to, h.DownBefore, h.Down, changes, h.Unknown)
		}
	}
}

// TestAStationThatRunsOnIsNotKilled: without another run after it, a session without an end is one that goes on.
func TestAStationThatRunsOnIsNotKilled(t *testing.T) {
	a, _, _, back := killed(t)
	h, err := a.At(bg, 1, Want{}, back.Add(5*time.Minute))
	if err != nil || !h.Down.IsZero() || len(h.Unknown) != 0 || len(h.Routes) != 1 || h.Routes[0].Stale {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestSessionsOfAKilledStationAreCounted: the session's end would have said how much it was, and how long.
func TestSessionsOfAKilledStationAreCounted(t *testing.T) {
	for name, every := range map[string]bool{"in one block": false, "in blocks of their own": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			began := time.Now().Add(-time.Hour).Truncate(time.Second)
			a := open(t, Options{Dir: dir})
			p := a.Client(1)
			p.Begin(SessionRecord{Session: 1, Time: began, Start: began})
			at := feed(p, someSession().Messages(), began, time.Second)
			p.End(SessionRecord{Session: 1, Time: at, Reason: "remote closed", Messages: 12, Bytes: 7})
			p.Begin(SessionRecord{Session: 2, Time: at, Start: at})
			var bytes uint64
			messages := someSession().Messages()
			last := at
			for n, m := range messages {
				last = at.Add(time.Duration(n) * time.Minute)
				p.Append(&Entry{Time: last, Session: 2, Raw: m, Context: bgp.Context{AS4: true}})
				bytes += uint64(len(m))
				if every {
					syncArchive(t, a, 1)
				}
			}
			closeArchive(t, a)
			a = open(t, Options{Dir: dir})
			check := func(what string, n int) {
				t.Helper()
				s, err := a.Sessions(bg, 1)
				if err != nil || len(s) != n {
					t.Fatalf("%s: %+v, %v", what, s, err)
				}
				if k := s[1]; k.Reason != "station killed" || !k.LastRecord.Equal(last) || k.Messages != uint64(len(messages)) || k.Bytes != bytes {
					t.Errorf("%s: %+v", what, k)
				}
				if s[0].Messages != 12 || s[0].Bytes != 7 {
					t.Errorf("%s: %+v", what, s[0])
				}
			}
			check("before the client comes back", 2)
			a.Client(1).Begin(SessionRecord{Session: 1, Time: last.Add(time.Minute)})
			syncArchive(t, a, 1)
			check("after", 3)
		})
	}
}

// TestRunsWithoutTheClient: what was held ended when the station was started the next time, whether the client came then
// or in a later run, or never.
func TestRunsWithoutTheClient(t *testing.T) {
	dir := t.TempDir()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	minute := func(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }
	start := func(at time.Time) *Archive {
		return open(t, Options{Dir: dir, now: func() time.Time { return at }})
	}
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
	come := func(a *Archive, at time.Time) time.Time {
		p := a.Client(1)
		p.Begin(SessionRecord{Session: 1, Time: at, Start: at, Name: "edge1"})
		messages := [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()}
		end := feed(p, messages, at.Add(time.Second), time.Second)
		p.End(SessionRecord{Session: 1, Time: end})
		return end
	}
	a := start(began)
	down := come(a, minute(1))
	closeArchive(t, a)
	key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("10.1.1.0/24"))
	check := func(what string, a *Archive, now time.Time) {
		t.Helper()
		for name, want := range map[string]Want{"all": {}, "a prefix": {Keys: []RouteKey{{bgp.IPv4Unicast, key}}}} {
			for at, routes := range map[time.Time]int{down.Add(time.Second): 1, minute(9): 1, minute(11): 0, minute(19): 0, now: 0} {
				h, err := a.At(bg, 1, want, at)
				if err != nil {
					t.Fatal(err)
				}
				if len(h.Routes) != routes {
					t.Errorf("%s, %s: %d routes after %v, want %d", what, name, len(h.Routes), at.Sub(began), routes)
				}
			}
			var anew []time.Time
			if _, err := a.History(bg, 1, want, began, now, func(c *Change) error {
				if c.Cause == StationAnew {
					anew = append(anew, c.Time)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if len(anew) != 1 || !anew[0].Equal(minute(10)) {
				t.Errorf("%s, %s: started anew %v, want once at %v", what, name, anew, minute(10))
			}
		}
	}
	for _, n := range []int{10, 20, 30} {
		a = start(minute(n))
		if n > 10 {
			check("before the client came", a, minute(n+1))
		}
		if n == 30 {
			come(a, minute(31))
			syncArchive(t, a, 1)
			check("after the client came", a, minute(31))
		}
		closeArchive(t, a)
	}
}

// TestAQuietClientOfAKilledStation: its session went on for as long as the station gave signs of life, whatever the client said.
func TestAQuietClientOfAKilledStation(t *testing.T) {
	dir, killed := t.TempDir(), t.TempDir()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	var now atomic.Int64
	now.Store(began.UnixNano())
	a := open(t, Options{Dir: dir, now: func() time.Time { return time.Unix(0, now.Load()) }})
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
	p := a.Client(1)
	p.Begin(SessionRecord{Session: 1, Time: began, Start: began, Name: "edge1"})
	feed(p, [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()}, began.Add(time.Second), time.Second)
	syncArchive(t, a, 1)
	end := began.Add(20 * time.Minute)
	now.Store(end.Add(aliveSpare).UnixNano())
	eventually(t, "the sign", func() bool { return readAlive(dir) == end.UnixNano() })
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again := began.Add(30 * time.Minute)
	for run := range 2 {
		b := open(t, Options{Dir: killed, now: func() time.Time { return again.Add(time.Duration(run) * time.Minute) }})
		for _, c := range []struct {
			at     time.Duration
			routes int
			down   bool
		}{{10 * time.Minute, 1, false}, {25 * time.Minute, 1, true}, {40 * time.Minute, 0, true}} {
			h, err := b.At(bg, 1, Want{}, began.Add(c.at))
			if err != nil || len(h.Routes) != c.routes || h.Down.IsZero() == c.down || c.routes > 0 && h.Routes[0].Stale != c.down {
				t.Errorf("run %d, after %v: %+v, %v", run, c.at, h, err)
			}
			if c.routes > 0 && c.down && (!h.Down.Equal(end) || len(h.Unknown) != 1 || !h.Unknown[0].From.Equal(end) || !h.Unknown[0].To.Equal(again)) {
				t.Errorf("run %d: down since %v, unknown %v", run, h.Down, h.Unknown)
			}
		}
		list, err := b.Sessions(bg, 1)
		if err != nil || len(list) != 1 || list[0].Reason != "station killed" || !list[0].LastRecord.Equal(end) || list[0].Messages != 2 {
			t.Errorf("run %d: %+v, %v", run, list, err)
		}
		closeArchive(t, b)
	}
}

// TestKnownUntil: what is open, or waits for so short that it is neither spilled nor remembered, is not known.
func TestKnownUntil(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration) int64 { return now.Add(-ago).UnixNano() }
	sealed := func(first, age time.Duration, place int) *Appender {
		return &Appender{sealed: []*sealed{{count: 1, first: at(first), at: now.Add(-age), place: place}}}
	}
	for what, c := range map[string]struct {
		p    *Appender
		want time.Duration // ago
	}{
		"nothing":               {&Appender{}, 0},
		"an open block":         {&Appender{count: 1, first: at(700 * time.Millisecond)}, 700 * time.Millisecond},
		"one that waits":        {sealed(900*time.Millisecond, spillAfter/2, 0), 900 * time.Millisecond},
		"one sealed meanwhile":  {sealed(900*time.Millisecond, -time.Second, 0), 900 * time.Millisecond},
		"one that is on a disk": {sealed(900*time.Millisecond, spillAfter/2, 1), 0},
		"one that is named":     {sealed(time.Minute, time.Minute, 0), 0},
	} {
		if got := knownUntil([]*Appender{{}, c.p}, now); got.UnixNano() != at(c.want) {
			t.Errorf("%s: until %v ago, want %v", what, now.Sub(got), c.want)
		}
	}
}
