package client

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"bmp/engine/archive"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

func archivedPeer(i int) archive.PeerKey {
	return archive.PeerKey{Address: netip.MustParseAddr(address(i))}
}

// serveAgain gives a client another session with a router that says this.
func serveAgain(c *Client, b *bmptest.Session) {
	s := NewSession(c.env, &stream{r: bytes.NewReader(b.Bytes())}, Endpoint{}, time.Now())
	s.Serve(func(h Hello) (*Client, error) { c.Begin(h.Session, h.Time); return c, nil })
}

// TestAPeerOfThePastKeepsTheIDThatAnAnswerGaveIt: when the router speaks of it, also while questions name it. One that is forgotten has
// another ID from then on.
func TestAPeerOfThePastKeepsTheIDThatAnAnswerGaveIt(t *testing.T) {
	b := &bmptest.Session{}
	b.Initiation("edge1", "").PeerUp(bmptest.NewPeer(address(0), 65001))
	c, _ := serve(t, &stream{r: bytes.NewReader(b.Bytes())})
	const peers = 200
	b = &bmptest.Session{}
	b.Initiation("edge1", "")
	for i := range peers {
		b.PeerUp(bmptest.NewPeer(address(i), 65001))
	}
	var named [2][peers]uint32
	var all sync.WaitGroup
	for n := range named {
		all.Go(func() {
			for i := range peers {
				named[n][i] = c.PeerID(archivedPeer(i))
			}
		})
	}
	all.Go(func() { serveAgain(c, b) })
	all.Wait()
	if named[0] != named[1] || named[0][0] != 1 {
		t.Fatalf("%v\n%v", named[0], named[1])
	}
	check := func(what string) {
		t.Helper()
		seen := make(map[uint32]bool)
		for i, id := range named[0] {
			p := c.FindPeers(address(i))
			if len(p) != 1 || p[0].ID != id || id == 0 || seen[id] || c.PeerID(archivedPeer(i)) != id {
				t.Fatalf("%s: peer %d is %d, not %d: %+v", what, i, c.PeerID(archivedPeer(i)), id, p)
			}
			if _, ok := c.PastPeer(fmt.Sprint(id)); ok || c.byKey[keyOfArchived(archivedPeer(i))].label.ID != id {
				t.Fatalf("%s: peer %d is one of the past", what, i)
			}
			seen[id] = true
		}
	}
	check("spoken of")
	c.mu.Lock()
	c.dropPeers()
	c.mu.Unlock()
	for i := range peers {
		named[0][i] = c.PeerID(archivedPeer(i))
		if k, ok := c.PastPeer(fmt.Sprint(named[0][i])); named[0][i] <= peers || !ok || k != archivedPeer(i) {
			t.Fatalf("forgotten: %d is %v, %v", named[0][i], k, ok)
		}
	}
	serveAgain(c, b)
	check("back")
	for _, y := range []string{"0", "1", "-1", "999999", address(0)} {
		if k, ok := c.PastPeer(y); ok {
			t.Errorf("%s is %v", y, k)
		}
	}
	if !c.Forget() || c.PeerID(archivedPeer(peers)) != 0 || c.PeerID(archivedPeer(0)) != 0 {
		t.Error("a client that is forgotten gives IDs")
	}
}

// TestPeersOfThePastAreBounded: as those that the router speaks of, which they do not keep out.
func TestPeersOfThePastAreBounded(t *testing.T) {
	b := &bmptest.Session{}
	b.Initiation("edge1", "").PeerUp(bmptest.NewPeer(address(0), 65001))
	c, _ := serve(t, &stream{r: bytes.NewReader(b.Bytes())})
	for i := 1; i < maxPeers; i++ {
		if id := c.PeerID(archivedPeer(i)); id != uint32(i)+1 {
			t.Fatalf("peer %d is %d", i, id)
		}
	}
	if id := c.PeerID(archivedPeer(maxPeers)); id != 0 {
		t.Errorf("one more is %d", id)
	}
	if c.PeerID(archivedPeer(0)) != 1 || c.PeerID(archivedPeer(5)) != 6 {
		t.Error("those that have IDs lose them")
	}
	b = &bmptest.Session{}
	serveAgain(c, b.Initiation("edge1", "").PeerUp(bmptest.NewPeer(address(maxPeers), 65001)).PeerUp(bmptest.NewPeer(address(5), 65001)))
	if p := c.FindPeers(address(maxPeers)); len(p) != 1 || p[0].ID != maxPeers+1 {
		t.Errorf("%+v", p)
	}
	if p := c.FindPeers(address(5)); len(p) != 1 || p[0].ID != 6 || p[0].Type != bmp.GlobalPeer {
		t.Errorf("%+v", p)
	}
}
