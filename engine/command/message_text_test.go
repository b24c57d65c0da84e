package command

import (
	"fmt"
	"strings"
	"testing"

	"bmp/engine/client"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// What TLVs of BMP version 4 say is in words.
func TestVersion4TLVs(t *testing.T) {
	p := bmptest.NewPeer("10.0.0.1", 65001)
	for _, c := range []struct {
		profile bmp.Profile
		tlvs    []bmp.TLV
		want    []string
	}{
		{bmp.ProfileDraft20, []bmp.TLV{
			{Type: 1, Value: []byte{0, 0, 0, 0, 0, 0, 1, 2}},
			{Type: 3, Index: 2, Value: []byte{2, 0x5f, 0x5e, 0x10, 0, 0, 0, 0, 0}},
		}, []string{"258", "route 2 Adj-RIB-In time"}},
		{bmp.ProfileDeployed, []bmp.TLV{{Type: 5, Value: []byte{0, 0, 0, 2, 0, 6}}}, []string{"route 1 path marking", "best (MED)", "route 2 path marking"}},
	} {
		m := bmp.RouteMonitoring{PeerHeader: p.Header, TLVs: c.tlvs,
			Update: bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes("203.0.113.0/24", "198.51.100.0/24")}.Bytes()}
		raw, err := m.Append(nil, bmp.Encoding{Version: 4, Profile: c.profile})
		if err != nil {
			t.Fatal(err)
		}
		d := decodeMessage(&client.Message{Raw: raw, Version: 4, Context: bgp.Context{AS4: true}}, 100)
		text := fmt.Sprint(d.body)
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%v: no %q in %s", c.profile, want, text)
			}
		}
	}
}

// Whatever a router sent, its text is one line, and making it panics on nothing.
func FuzzMessageText(f *testing.F) {
	p := bmptest.NewPeer("10.0.0.1", 65001)
	s := new(bmptest.Session).Initiation("edge1", "a\nrouter").PeerUp(p).PeerUp(bmptest.NewLocRIB("red", 0, 65000))
	s.Monitor(p, bmp.AdjInPre, bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes("203.0.113.0/24"),
		Communities: []uint32{1}, ExtCommunities: []uint64{2}}.Bytes())
	s.Monitor(p, bmp.AdjOutPost, bmptest.Update{Family: bmptest.IPv6Unicast, Withdraw: bmptest.Prefixes("2001:db8::/32")}.Bytes())
	s.EndOfRIB(p, bmp.AdjInPost, bmptest.EVPN).Mirror(p, bmptest.Keepalive(), p.Sent.Bytes())
	s.Statistics(p, bmptest.Counter(0, 1), bmptest.Gauge(7, 2), bmptest.FamilyGauge(9, bmptest.IPv4Unicast, 3))
	s.PeerDown(p, bmp.DownRemoteNotification, bmptest.Shutdown("bye")).Termination(1)
	for _, m := range s.Messages() {
		f.Add(m, true, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, as4, addPath bool) {
		m := &client.Message{Raw: raw, Context: bgp.Context{AS4: as4}}
		if addPath {
			m.Context.AddPath = m.Context.AddPath.With(bgp.IPv4Unicast)
		}
		if len(raw) > 5 {
			m.Type = bmp.MessageType(raw[5])
		}
		d := decodeMessage(m, 100)
		if d.summary == "" {
			t.Error("no summary")
		}
		if len(d.routes) > 100 {
			t.Errorf("%d routes", len(d.routes))
		}
		if strings.ContainsAny(d.summary, "\r\n\x00\x1b") {
			t.Errorf("control characters in %q", d.summary)
		}
	})
}
