package archive

import (
	"net/netip"
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
