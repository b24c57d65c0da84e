package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"bmp/engine/client"
	"bmp/engine/listen"
	"bmp/engine/listen/netnstest"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// One station listening in three namespaces, a router behind each. Station, routers and their peers have the same
// addresses and names everywhere; only what they announce differs. Nothing may be mixed up, also when a router comes
// back: it is the client of its own namespace again.
func TestThreeNamespacesWithTheSameAddresses(t *testing.T) {
	const port = 11019
	at, from := netip.MustParseAddr("10.9.9.1"), netip.MustParseAddr("10.9.9.2")
	var sites, routers [3]string
	for i := range sites {
		sites[i], routers[i] = netnstest.New(t), netnstest.New(t)
		netnstest.Connect(t, "cable0", sites[i], "10.9.9.1/24", routers[i], "10.9.9.2/24")
	}
	s := startStation(t, func(o *Options) {
		o.Listen = nil
		for _, ns := range sites[:2] {
			o.Listen = append(o.Listen, listen.Spec{Netns: ns, Addr: at, Port: port})
		}
	})
	// The third one is added while the station runs.
	if _, err := s.Listen(t.Context(), listen.Spec{Netns: sites[2], Addr: at, Port: port}); err != nil {
		t.Fatal(err)
	}

	announce := func(i, n int) func() {
		conn, err := netnstest.Dial(routers[i], from, netip.AddrPortFrom(at, port))
		if err != nil {
			t.Fatal(err)
		}
		p := bmptest.NewPeer("10.0.0.2", 65002)
		x := new(bmptest.Session).Initiation("edge", "a router")
		x.PeerUp(p)
		for j := range n {
			u := bmptest.Update{ASPath: []uint32{65002}, Announce: bmptest.Prefixes(fmt.Sprintf("203.0.%d.%d/32", i, j))}
			x.Monitor(p, bmp.AdjInPre, u.Bytes())
		}
		if _, err := conn.Write(x.Bytes()); err != nil {
			t.Fatal(err)
		}
		return func() { conn.Close() }
	}
	in := func(ns string) []*client.Client {
		return slices.DeleteFunc(s.Clients(), func(c *client.Client) bool { return c.Brief().Netns != ns })
	}
	var hangUp [3]func()
	for i := range sites {
		hangUp[i] = announce(i, 5+i)
		t.Cleanup(func() { hangUp[i]() })
	}
	check := func() {
		t.Helper()
		if n := len(s.Clients()); n != len(sites) {
			t.Errorf("%d clients, want %d", n, len(sites))
		}
		for i, ns := range sites {
			list := in(ns)
			if len(list) != 1 {
				t.Fatalf("%d clients in namespace %s, want one", len(list), ns)
			}
			b := list[0].Brief()
			if b.Address.Addr() != from || b.Name != "edge" || b.PeersUp != 1 || b.Routes != 5+i ||
				b.Listener != fmt.Sprintf("%s/%s:%d", ns, at, port) {
				t.Errorf("in %s: %+v, want %d routes", ns, b, 5+i)
			}
			for prefix := range prefixesOf(t, s, list[0]) {
				if want := netip.MustParsePrefix(fmt.Sprintf("203.0.%d.0/24", i)); !want.Contains(prefix.Addr()) {
					t.Errorf("the client in %s has %s, which another router announced", ns, prefix)
				}
			}
		}
	}
	settled := func() bool {
		routes := 0
		for _, c := range s.Clients() {
			routes += c.Brief().Routes
		}
		return len(s.Clients()) == len(sites) && routes == 5+6+7
	}
	until(t, "three clients with their routes", settled)
	check()

	// The one in the middle reconnects.
	id := in(sites[1])[0].ID()
	hangUp[1]()
	until(t, "the client is down", func() bool { return in(sites[1])[0].Brief().State == client.Down })
	hangUp[1] = announce(1, 6)
	until(t, "the client is back", func() bool { return in(sites[1])[0].Brief().State == client.Up && settled() })
	if got := in(sites[1])[0].ID(); got != id {
		t.Errorf("the router came back as client %d, was %d", got, id)
	}
	check()

	// A listener that is removed lets nobody in any more; the sessions it took go on.
	if !s.NoListen(fmt.Sprintf("%s/%s:%d", sites[0], at, port)) {
		t.Error("the listener is not known by its name")
	}
	if conn, err := netnstest.Dial(routers[0], from, netip.AddrPortFrom(at, port)); err == nil {
		conn.Close()
		t.Error("a removed listener takes sessions")
	}
	check()
}

// prefixesOf is every prefix a client's tables hold.
func prefixesOf(t *testing.T, s *Station, c *client.Client) map[netip.Prefix]bool {
	t.Helper()
	found := make(map[netip.Prefix]bool)
	q := rib.Query{
		Family: bgp.IPv4Unicast, Where: func(o rib.Owner) bool { return o.Client == c.ID() },
	}
	err := s.Store().Query(context.Background(), q, func(batch []rib.Route) error {
		for _, r := range batch {
			_, text := bgp.KeyText(q.Family, r.Key)
			found[netip.MustParsePrefix(text)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
