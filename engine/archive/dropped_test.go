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

// TestStaleRoutesGoWhenTheyDid: by what was set when the client was down, whatever is set when it is asked about.
func TestStaleRoutesGoWhenTheyDid(t *testing.T) {
	const keep, today = 20 * time.Second, time.Minute
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
	key := RouteKey{bgp.IPv4Unicast, bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("10.1.1.0/24"))}
	for _, c := range []struct {
		what   string
		kept   time.Duration
		change time.Duration // set so long after the end
		to     time.Duration
		gone   time.Duration // after the end
	}{
		{"as it was set", keep, 0, 0, keep},
		{"in an archive that does not say", 0, 0, 0, today},
		{"set for longer meanwhile", keep, 10 * time.Second, 30 * time.Second, 30 * time.Second},
		{"set for less than it was already", keep, 10 * time.Second, time.Second, 10 * time.Second},
		{"set for longer when they were gone", keep, 30 * time.Second, time.Hour, keep},
	} {
		for _, back := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, back %v", c.what, back), func(t *testing.T) {
				a := open(t, Options{})
				p := a.Client(1)
				began := time.Now().Add(-time.Hour).Truncate(time.Second)
				session := func(at time.Time) time.Time {
					p.Begin(SessionRecord{Session: 1, Time: at, Start: at, StaleFor: c.kept})
					return feed(p, [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()}, at, time.Second)
				}
				end := session(began)
				p.End(SessionRecord{Session: 1, Time: end, Start: began, StaleFor: c.kept})
				if c.change != 0 {
					p.End(SessionRecord{Session: 1, Time: end.Add(c.change), StaleFor: c.to, Over: true})
				}
				if back {
					session(end.Add(5 * time.Minute))
				}
				syncArchive(t, a, 1)
				for name, want := range map[string]Want{"all": {StaleFor: today}, "a prefix": {StaleFor: today, Keys: []RouteKey{key}}} {
					for _, at := range []time.Duration{0, c.gone - 1, c.gone, 4 * time.Minute} {
						h, err := a.At(bg, 1, want, end.Add(at))
						if err != nil || !h.Down.Equal(end) || (len(h.Routes) == 1) != (at < c.gone) {
							t.Errorf("%s, %v after the end: %d routes, down since %v, %v", name, at, len(h.Routes), h.Down, err)
						}
					}
					var told []string
					if _, err := a.History(bg, 1, want, end, end.Add(4*time.Minute), func(x *Change) error {
						told = append(told, fmt.Sprint(x.Time.Sub(end), " ", x.Action, " ", x.Cause))
						return nil
					}); err != nil {
						t.Fatal(err)
					}
					if got, want := fmt.Sprint(told), fmt.Sprintf("[%v withdraw stale]", c.gone); got != want {
						t.Errorf("%s: told %s, want %s", name, got, want)
					}
				}
				s, err := a.Sessions(bg, 1)
				if n := map[bool]int{false: 1, true: 2}[back]; err != nil || len(s) != n || !s[0].End.Equal(end) {
					t.Errorf("%+v, %v", s, err)
				}
			})
		}
	}
}
