package listen

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestFloodFromOneAddressTakesItsOwnPlaces(t *testing.T) {
	const most = 8
	w := NewWaiting(most)
	evicted := map[string]bool{}
	enter := func(addr string, n int) *Place {
		id := fmt.Sprintf("%s#%d", addr, n)
		return w.Enter(netip.MustParseAddr(addr), func() {
			if evicted[id] {
				t.Errorf("%s was evicted twice", id)
			}
			evicted[id] = true
		})
	}
	router := enter("192.0.2.1", 0)
	var flood []*Place
	for n := range 1000 {
		// The flood comes from one address in two notations.
		addr := "10.0.0.1"
		if n%2 == 1 {
			addr = "::ffff:10.0.0.1"
		}
		flood = append(flood, enter(addr, n))
	}
	if w.Len() != most {
		t.Errorf("%d wait, want %d", w.Len(), most)
	}
	if want := uint64(1000 - (most - 1)); w.Closed() != want || len(evicted) != int(want) {
		t.Errorf("%d were closed and %d told, want %d", w.Closed(), len(evicted), want)
	}
	if evicted["192.0.2.1#0"] {
		t.Error("the flood shut the router out")
	}
	// The oldest of the flood went first: the newest seven are left.
	for n, p := range flood {
		if had := p.Leave(); had != (n >= 1000-(most-1)) {
			t.Errorf("number %d: still had its place: %v", n, had)
		}
	}
	if !router.Leave() || router.Leave() {
		t.Error("a place is left once")
	}
	if w.Len() != 0 || len(w.byAddr) != 0 {
		t.Errorf("%d wait at %d addresses when all have left", w.Len(), len(w.byAddr))
	}
}

// When no address has more than another, the newcomer's own gives way rather than a stranger.
func TestAmongEqualsTheNewcomersAddressGivesWay(t *testing.T) {
	w := NewWaiting(2)
	var gone string
	a := netip.MustParseAddr("192.0.2.1")
	b := netip.MustParseAddr("192.0.2.2")
	w.Enter(a, func() { gone += "a" })
	w.Enter(b, func() { gone += "b" })
	w.Enter(b, func() { gone += "B" })
	if gone != "b" {
		t.Errorf("evicted %q, want b", gone)
	}
	// A third address: somebody has to go, and it is the oldest of those with the most.
	w.Enter(a, func() { gone += "A" })
	w.Enter(netip.MustParseAddr("192.0.2.3"), func() { gone += "c" })
	if len(gone) != 3 || w.Len() != 2 {
		t.Errorf("evicted %q, %d wait", gone, w.Len())
	}
}

func BenchmarkWaitingFullFromManyAddresses(b *testing.B) {
	w := NewWaiting(0)
	var a [4]byte
	b.ReportAllocs()
	for i := range b.N {
		a = [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		w.Enter(netip.AddrFrom4(a), func() {})
	}
}
