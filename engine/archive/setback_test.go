package archive

import (
	"net/netip"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// Of a time that was twice, because the clock was set back, the last is meant, and what came before it counts, whatever
// its time says.
func TestAtClockSetBack(t *testing.T) {
	a := open(t, Options{})
	p := a.Client(1)
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	peer := bmptest.NewPeer("10.0.0.1", 65001)
	say := func(after time.Duration, s *bmptest.Session) {
		p.Append(&Entry{Time: begin.Add(after), Raw: s.Bytes(), Context: bgp.Context{AS4: true}})
	}
	announce := func(prefix string) *bmptest.Session {
		return new(bmptest.Session).Monitor(peer, bmp.AdjInPre, bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes(prefix)}.Bytes())
	}
	p.Begin(SessionRecord{Time: begin})
	say(0, new(bmptest.Session).PeerUp(peer))
	say(100*time.Second, announce("192.0.2.0/24"))
	say(200*time.Second, announce("198.51.100.0/24"))
	say(300*time.Second, new(bmptest.Session).Monitor(peer, bmp.AdjInPre, bmptest.Update{Withdraw: bmptest.Prefixes("192.0.2.0/24")}.Bytes()))
	say(150*time.Second, announce("203.0.113.0/24")) // set back
	say(400*time.Second, announce("10.0.0.0/8"))
	syncArchive(t, a, 1)
	var peers []PeerKey
	for _, checked := range []bool{false, true} {
		if checked {
			if err := a.Checkpoint(bg, 1, begin.Add(350*time.Second), peers); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			at      time.Duration
			want    []string
			setBack bool
		}{
			{110 * time.Second, []string{"192.0.2.0/24"}, false},
			{160 * time.Second, []string{"198.51.100.0/24", "203.0.113.0/24"}, true},
			{250 * time.Second, []string{"198.51.100.0/24", "203.0.113.0/24"}, true},
			{500 * time.Second, []string{"10.0.0.0/8", "198.51.100.0/24", "203.0.113.0/24"}, false},
		} {
			for _, want := range []Want{{}, {Peers: peers}} {
				h, err := a.At(bg, 1, want, begin.Add(c.at))
				if err != nil {
					t.Fatal(err)
				}
				held := map[string]bool{}
				for _, r := range h.Routes {
					_, text := bgp.KeyText(r.Family, r.Key)
					held[netip.MustParsePrefix(text).String()] = true
					peers = []PeerKey{r.Peer}
				}
				ok := len(held) == len(c.want) && h.SetBack == c.setBack
				for _, w := range c.want {
					ok = ok && held[w]
				}
				if !ok {
					t.Errorf("at %s, checkpoint %v: %v, set back %v; want %v, %v", c.at, checked, held, h.SetBack, c.want, c.setBack)
				}
			}
		}
	}
}
