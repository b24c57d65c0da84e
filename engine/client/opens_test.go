package client

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// TestOpensAreBounded has a client whose peers have almost as much of OPENs as is kept.
func TestOpensAreBounded(t *testing.T) {
	store := rib.New(rib.Options{NoBackground: true})
	t.Cleanup(func() { store.Close() })
	env := &Env{Store: store, Bus: event.NewBus(), Budget: new(Budget)}
	first, second, third := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.2", 65002), bmptest.NewPeer("10.0.0.3", 65003)
	room := len(first.Sent.Bytes()) + len(first.Received.Bytes())
	b := new(bmptest.Session)
	b.Initiation("edge1", "").PeerUp(first).PeerUp(second).PeerUp(first)
	c := New(env, 1, Identity{SysName: "edge1"}, time.Now())
	c.openBytes = maxOpenBytes - room
	NewSession(env, &stream{r: bytes.NewReader(b.Bytes())}, Endpoint{Remote: netip.MustParseAddrPort("10.0.0.9:4000")}, time.Now()).
		Serve(func(h Hello) (*Client, error) { c.Begin(h.Session, h.Time); return c, nil })
	kept, _ := c.Malformed()
	if len(kept) != 1 || kept[0].Reason != errTooManyOpens.Error() || c.openBytes != maxOpenBytes {
		t.Fatalf("%d bytes, malformed %+v", c.openBytes, kept)
	}
	if p := c.FindPeers("10.0.0.1")[0]; p.State != PeerUp || c.byID[p.ID].repeated != 1 {
		t.Errorf("%+v", p)
	}
	if p := c.FindPeers("10.0.0.2")[0]; p.State == PeerUp || c.byID[p.ID].openBytes() != 0 {
		t.Errorf("%+v", p)
	}

	// Room comes free with a peer that goes, and is taken by each further pair of a Loc-RIB, up to a number of them.
	c.mu.Lock()
	c.dropPeers()
	c.openBytes -= maxOpenBytes - room
	c.mu.Unlock()
	if c.openBytes != 0 {
		t.Fatalf("%d bytes without peers", c.openBytes)
	}
	b = new(bmptest.Session)
	b.Initiation("edge1", "").PeerUp(third)
	loc := third
	loc.Header.Type, loc.Header.Address, loc.Local, loc.LocalPort, loc.RemotePort = bmp.LocRIBPeer, netip.Addr{}, netip.Addr{}, 0, 0
	for i := range maxFurtherOpens + 6 {
		loc.Sent.ID[3] = byte(i)
		b.PeerUp(loc)
	}
	NewSession(env, &stream{r: bytes.NewReader(b.Bytes())}, Endpoint{Remote: netip.MustParseAddrPort("10.0.0.9:4001")}, time.Now()).
		Serve(func(h Hello) (*Client, error) { c.Begin(h.Session, h.Time); return c, nil })
	if want := room * (1 + 1 + maxFurtherOpens); c.openBytes != want {
		t.Errorf("%d bytes of OPENs, want %d", c.openBytes, want)
	}
}
