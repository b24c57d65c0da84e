package client

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// stream is a connection from which bytes can be read and nothing else.
type stream struct {
	net.Conn
	r *bytes.Reader
}

func (s *stream) Read(p []byte) (int, error)      { return s.r.Read(p[:min(len(p), 100)]) }
func (s *stream) Close() error                    { return nil }
func (s *stream) SetReadDeadline(time.Time) error { return nil }

// seeds are sessions with a bit of everything.
func seeds() (out [][]byte) {
	for _, e := range []bmp.Encoding{{}, {Version: 4}, {Version: 4, Profile: bmp.ProfileDraft20}, {Version: 2}} {
		p := bmptest.NewPeer("10.0.0.1", 65001)
		p.Sent.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 3}}
		p.Received.AddPath = p.Sent.AddPath
		plain := bmptest.Update{ASPath: []uint32{65001}, AS2: true, Announce: bmptest.Prefixes("10.1.0.0/16", "10.2.0.0/16")}
		withID := bmptest.Update{ASPath: []uint32{65001}, AddPath: true, Announce: bmptest.Prefixes("10.1.0.0/16"), Withdraw: bmptest.Prefixes("10.9.0.0/16")}
		s := &bmptest.Session{Encoding: e}
		if e.Version != 2 {
			s.Initiation("edge1", "")
		}
		s.PeerUp(p)
		for range 4 {
			s.Monitor(p, bmp.AdjInPre, plain.Bytes()).Monitor(p, bmp.AdjInPost, withID.Bytes())
		}
		s.EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast).Statistics(p, bmptest.Gauge(7, 3), bmptest.FamilyGauge(9, bmptest.IPv4Unicast, 3))
		if e.Version != 2 {
			s.Mirror(p, plain.Bytes())
			s.PeerUp(bmptest.NewLocRIB("global", 0, 65000))
		}
		s.PeerUp(p).PeerDown(p, bmp.DownRemoteNotification, bmptest.Shutdown("bye"))
		if e.Version != 2 {
			s.Termination(1)
		}
		out = append(out, bytes.Clone(s.Bytes()))
	}
	return out
}

// FuzzSession reads anything as a session: nothing may panic, every whole message is counted and kept, and what is held
// can be read.
func FuzzSession(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		store := rib.New(rib.Options{NoBackground: true})
		defer store.Close()
		env := &Env{Store: store, Bus: event.NewBus(), Budget: new(Budget)}
		s := NewSession(env, &stream{r: bytes.NewReader(b)}, Endpoint{Remote: netip.MustParseAddrPort("10.0.0.9:4000")}, time.Now())
		var c *Client
		sub := env.Bus.Subscribe(event.Filter{Client: 1, Kinds: event.AllKinds}, 10)
		defer sub.Close()
		end := s.Serve(func(h Hello) (*Client, error) {
			c = New(env, 1, Identity{SysName: h.SysName}, h.Time)
			c.Begin(h.Session, h.Time)
			return c, nil
		})
		frames := uint64(0)
		r := bmp.NewReader(bytes.NewReader(b), bmp.ReaderOptions{})
		for {
			if _, err := r.Next(); err != nil {
				break
			}
			frames++
		}
		if end.Client == nil {
			if frames != 0 {
				t.Fatalf("%d messages and no client", frames)
			}
			return
		}
		info := c.Info(time.Now())
		if info.Messages != frames || info.State != Down || info.DownReason == "" {
			t.Fatalf("%d messages of %d, %s, %q", info.Messages, frames, info.State, info.DownReason)
		}
		kept := uint64(0)
		ring, err := c.Messages(context.Background(), MessageQuery{}, func(m *Message) error {
			kept++
			m.Decode()
			return nil
		})
		if err != nil || kept+ring.Dropped != frames {
			t.Fatalf("%d messages kept, %d dropped, of %d: %v", kept, ring.Dropped, frames, err)
		}
		held := 0
		for _, f := range store.Families() {
			store.Query(context.Background(), rib.Query{Family: f}, func(batch []rib.Route) error {
				for _, x := range batch {
					bgp.Decode(x.Record, f)
					bgp.KeyText(f, x.Key)
					held++
				}
				return nil
			})
		}
		if held != info.Brief.Routes {
			t.Fatalf("%d routes found, %d counted", held, info.Brief.Routes)
		}
		for _, p := range c.Peers() {
			d, ok := c.Peer(p.ID)
			if !ok || d.Total != p.Total {
				t.Fatalf("peer %d: %d routes, %d", p.ID, d.Total, p.Total)
			}
			if got := c.FindPeers(p.Name()); len(got) == 0 && p.Name() != "?" {
				t.Fatalf("peer %q is not found by its name", p.Name())
			}
		}
		c.Health()
		c.Malformed()
		c.Forget()
		if n := store.Stats().Routes; n != 0 {
			t.Fatalf("%d routes are left", n)
		}
	})
}
