package client

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bmptest"
)

// Rows of routes say whose they are while the session is in the middle of a batch, with its lock held.
func TestGlanceDoesNotWait(t *testing.T) {
	env := &Env{Store: rib.New(rib.Options{}), Bus: event.NewBus(), Budget: new(Budget)}
	defer env.Store.Close()
	defer env.Bus.Close()
	now := time.Now()
	c := New(env, 1, Identity{Address: netip.MustParseAddr("192.0.2.1"), SysName: "edge1"}, now)
	look := func(remote string, up bool) {
		t.Helper()
		c.mu.Lock()
		defer c.mu.Unlock()
		if name, a, is := c.Glance(); name != "edge1" || a.String() != remote || is != up {
			t.Errorf("%s %v up %v, want %s up %v", name, a, is, remote, up)
		}
	}
	look("192.0.2.1:0", false)
	conn, router := net.Pipe()
	s := NewSession(env, conn, Endpoint{Remote: netip.MustParseAddrPort("192.0.2.1:4000")}, now)
	ended := make(chan *End)
	go func() {
		ended <- s.Serve(func(h Hello) (*Client, error) {
			c.Begin(s, h.Time)
			return c, nil
		})
	}()
	for _, b := range [][]byte{new(bmptest.Session).Initiation("edge1", "test").Bytes(), {3}} { // when the second was read the first was applied
		if _, err := router.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	look("192.0.2.1:4000", true)
	router.Close()
	<-ended
	look("192.0.2.1:4000", false)
}
