package archive

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// TestAHistorySaysWhenTheClientWasAway: between its sessions, also where the blocks without the wanted prefix are not read, over
// a restart of the station, and from a checkpoint on; not where there was no session before, nor none after.
func TestAHistorySaysWhenTheClientWasAway(t *testing.T) {
	dir := t.TempDir()
	t0 := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	at := func(minute int) time.Time { return t0.Add(time.Duration(minute) * time.Minute) }
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	// A session says each minute something about another prefix, in a block of its own.
	session := func(a *Archive, from, to int) {
		p := a.Client(1)
		p.Begin(SessionRecord{Session: 1, Time: at(from), Start: at(from), Name: "edge1"})
		feed(p, new(bmptest.Session).PeerUp(peer).Messages(), at(from), 0)
		for m := from; m < to; m++ {
			prefix := fmt.Sprintf("10.1.%d.0/24", m)
			if m == from {
				prefix = "10.9.9.0/24"
			}
			u := bmptest.Update{ASPath: []uint32{65000, uint32(m)}, Announce: bmptest.Prefixes(prefix)}
			feed(p, new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Messages(), at(m).Add(time.Second), 0)
			syncArchive(t, a, 1)
		}
		p.End(SessionRecord{Session: 1, Time: at(to)})
		syncArchive(t, a, 1)
	}
	a := open(t, Options{Dir: dir, now: func() time.Time { return at(-1) }})
	session(a, 0, 20)
	session(a, 22, 40)
	if err := a.Checkpoint(bg, 1, at(39), []PeerKey{{Address: netip.MustParseAddr("10.0.0.1")}}); err != nil {
		t.Fatal(err)
	}
	session(a, 41, 60)
	closeArchive(t, a)
	a = open(t, Options{Dir: dir, now: func() time.Time { return at(61) }})
	session(a, 63, 70)
	key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("10.9.9.0/24"))
	one := []PeerKey{{Address: netip.MustParseAddr("10.0.0.1")}}
	for name, want := range map[string]Want{
		"all": {}, "a peer": {Peers: one}, "a prefix": {Keys: []RouteKey{{bgp.IPv4Unicast, key}}}, "a prefix of a peer": {Peers: one, Keys: []RouteKey{{bgp.IPv4Unicast, key}}},
	} {
		for _, c := range []struct {
			from, to int
			away     [][2]int
		}{
			{-5, 75, [][2]int{{20, 22}, {40, 41}, {60, 63}}},
			{5, 19, nil},
			{5, 21, nil}, // it is down at the end, and that is another thing
			{21, 30, [][2]int{{20, 22}}},
			{10, 30, [][2]int{{20, 22}}},
			{23, 39, nil},
			{39, 50, [][2]int{{40, 41}}},
			{50, 65, [][2]int{{60, 63}}},
			{62, 65, [][2]int{{60, 63}}},
			{64, 69, nil},
			{71, 75, nil},
		} {
			h, err := a.History(bg, 1, want, at(c.from).Add(30*time.Second), at(c.to).Add(30*time.Second), func(*Change) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			var got [][2]int
			for _, x := range h.Away {
				got = append(got, [2]int{int(x.From.Sub(t0) / time.Minute), int(x.To.Sub(t0) / time.Minute)})
				if !x.From.Equal(x.From.Truncate(time.Second)) || !x.To.Equal(x.To.Truncate(time.Second)) {
					t.Errorf("%s, %d to %d: %v", name, c.from, c.to, x)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.away) {
				t.Errorf("%s, %d to %d: away %v, want %v", name, c.from, c.to, got, c.away)
			}
		}
	}
}

// TestAKilledStationIsNotToldTwice: the client was away from when the station was started again, as nothing is known of the time
// before; where that is not within the time asked about, since it was heard of last.
func TestAKilledStationIsNotToldTwice(t *testing.T) {
	a, last, again, back := killed(t)
	for _, c := range []struct{ from, away time.Time }{{last.Add(-5 * time.Second), again}, {last.Add(time.Minute), again}, {again.Add(time.Minute), last}} {
		h, err := a.Presence(bg, 1, c.from, back.Add(time.Minute))
		if err != nil || len(h.Away) != 1 || !h.Away[0].From.Equal(c.away) || !h.Away[0].To.Equal(back) {
			t.Errorf("from %v: %v, %v", c.from, h.Away, err)
		}
	}
}
