package bmptest

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"bmp/proto/bmp"
)

// TestUpdatesAreUnderstood has another implementation read what is written here by hand.
func TestUpdatesAreUnderstood(t *testing.T) {
	med, pref := uint32(5), uint32(200)
	for _, tt := range []struct {
		u    Update
		want string // attribute types, and NLRI as GoBGP writes them
	}{
		{Update{ASPath: []uint32{65001, 4200000000}, Announce: Prefixes("203.0.113.0/24", "10.0.0.0/9"), MED: &med, LocalPref: &pref,
			Communities: []uint32{65000<<16 | 1}, LargeCommunities: [][3]uint32{{1, 2, 3}}, ExtCommunities: []uint64{0x0002fde800000001}},
			"[1 2 3 4 5 8 16 32] [203.0.113.0/24 10.0.0.0/9] []"},
		{Update{Withdraw: Prefixes("203.0.113.0/24")}, "[] [] [203.0.113.0/24]"},
		{Update{Family: IPv6Unicast, Announce: Prefixes("2001:db8::/33")}, "[1 2 14] [2001:db8::/33] []"},
		{Update{Family: IPv6Unicast, Withdraw: Prefixes("2001:db8::/33")}, "[15] [] [2001:db8::/33]"},
		{Update{Family: IPv4VPN, Announce: []NLRI{{Prefix: netip.MustParsePrefix("10.1.0.0/16"), Labels: []uint32{100}, RD: 0x0000fde800000001}}},
			"[1 2 14] [65000:1:10.1.0.0/16] []"},
		{Update{Family: IPv6VPN, Announce: []NLRI{{Prefix: netip.MustParsePrefix("2001:db8::/48"), Labels: []uint32{100}, RD: 0x0000fde800000001}}},
			"[1 2 14] [65000:1:2001:db8::/48] []"},
		{Update{Family: IPv4Labeled, Announce: []NLRI{{Prefix: netip.MustParsePrefix("10.1.0.0/16"), Labels: []uint32{100, 200}}}},
			"[1 2 14] [10.1.0.0/16] []"},
		{Update{Family: EVPN, Announce: []NLRI{{Raw: EVPNMAC(0x0000fde800000001, [10]byte{}, 7, [6]byte{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.1"), 100)}}},
			"[1 2 14] [[type:macadv][rd:65000:1][etag:7][mac:02:00:00:00:00:01][ip:10.0.0.1]] []"},
		{Update{Family: EVPN, Announce: []NLRI{{Raw: EVPNMulticast(0x0000fde800000001, 7, netip.MustParseAddr("10.0.0.1"))}}},
			"[1 2 14] [[type:multicast][rd:65000:1][etag:7][ip:10.0.0.1]] []"},
		{Update{Family: EVPN, Announce: []NLRI{{Raw: EVPNPrefix(0x0000fde800000001, [10]byte{}, 7, netip.MustParsePrefix("10.0.0.0/24"), netip.Addr{}, 100)}}},
			"[1 2 14] [[type:Prefix][rd:65000:1][etag:7][prefix:10.0.0.0/24]] []"},
	} {
		m, err := bgp.ParseBGPMessage(tt.u.Bytes())
		if err != nil {
			t.Errorf("%+v: %v", tt.u, err)
			continue
		}
		body := m.Body.(*bgp.BGPUpdate)
		var types []int
		announced, withdrawn := body.NLRI, body.WithdrawnRoutes
		for _, a := range body.PathAttributes {
			types = append(types, int(a.GetType()))
			switch a := a.(type) {
			case *bgp.PathAttributeMpReachNLRI:
				announced = append(announced, a.Value...)
			case *bgp.PathAttributeMpUnreachNLRI:
				withdrawn = append(withdrawn, a.Value...)
			}
		}
		if got := fmt.Sprint(types, texts(announced), texts(withdrawn)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func texts(list []bgp.PathNLRI) []string {
	s := []string{}
	for _, n := range list {
		s = append(s, n.NLRI.String())
	}
	return s
}

func TestOpensAreUnderstood(t *testing.T) {
	o := Open{AS: 4200000000, ID: [4]byte{192, 0, 2, 1}, Families: []Family{IPv4Unicast, EVPN},
		AddPath: []AddPath{{IPv4Unicast, 3}}, More: []Capability{{6, nil}}}
	m, err := bgp.ParseBGPMessage(o.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var codes []int
	open := m.Body.(*bgp.BGPOpen)
	for _, p := range open.OptParams {
		for _, c := range p.(*bgp.OptionParameterCapability).Capability {
			codes = append(codes, int(c.Code()))
		}
	}
	if open.MyAS != 23456 || open.HoldTime != 180 || fmt.Sprint(codes) != "[1 1 2 65 69 6]" {
		t.Errorf("%+v, capabilities %v", open, codes)
	}
	extended := Open{AS: 65001, ID: [4]byte{192, 0, 2, 1}, Extended: true}.Bytes()
	if want := Hex(`ffffffffffffffffffffffffffffffff 0031 01
		04 fde9 00b4 c0000201
		ff ff 0011               # RFC 9072: marker, marker, length of what follows
		02 000e                  # capabilities
		  01 04 0001 00 01
		  02 00
		  41 04 0000fde9`); !bytes.Equal(extended, want) {
		t.Errorf("%x, want %x", extended, want)
	}
	for _, b := range [][]byte{Notification(6, 2), Shutdown("bye"), Keepalive(), RouteRefresh(IPv6Unicast, 1), EndOfRIB(IPv4Unicast), EndOfRIB(EVPN)} {
		if _, err := bgp.ParseBGPMessage(b); err != nil {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestSessionIsRead(t *testing.T) {
	p, loc := NewPeer("2001:db8::7", 65001), NewLocRIB("red", 0x0000fde800000001, 65000)
	for _, e := range []bmp.Encoding{{}, {Version: 4, Profile: bmp.ProfileDraft20}} {
		s := &Session{Encoding: e}
		s.Initiation("edge1", "descr").PeerUp(p).PeerUp(loc)
		s.Monitor(p, bmp.AdjOutPost, Update{Family: IPv6Unicast, Announce: Prefixes("2001:db8::/32")}.Bytes())
		s.Monitor(loc, bmp.LocRIB, Update{Announce: Prefixes("10.0.0.0/8")}.Bytes()).EndOfRIB(loc, bmp.LocRIB, IPv4Unicast)
		s.Statistics(p, Counter(0, 7), Gauge(7, 1<<40), FamilyGauge(9, EVPN, 3)).Mirror(p, Keepalive())
		s.PeerDown(p, bmp.DownRemoteNotification, Shutdown("bye")).Termination(3)
		r, parser := bmp.NewReader(bytes.NewReader(s.Bytes()), bmp.ReaderOptions{}), bmp.Parser{}
		var got []string
		for i := 0; ; i++ {
			f, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(f.Raw, s.Messages()[i]) {
				t.Errorf("message %d: %x", i, f.Raw)
			}
			m, err := parser.Parse(f)
			if err != nil {
				t.Fatal(err)
			}
			word := m.Type().String()
			if m.Peer() != nil {
				word += " " + m.Peer().View().String()
			}
			if sr, ok := m.(*bmp.StatisticsReport); ok {
				for _, stat := range sr.Stats {
					v, _ := stat.Value()
					word += fmt.Sprint(" ", v)
				}
			}
			got = append(got, word)
		}
		want := "[initiation peer_up adj-in-pre peer_up loc-rib route_monitoring adj-out-post route_monitoring loc-rib " +
			"route_monitoring loc-rib statistics_report adj-in-pre 7 1099511627776 3 route_mirroring adj-in-pre peer_down adj-in-pre termination]"
		if fmt.Sprint(got) != want {
			t.Errorf("%v\nwant %v", got, want)
		}
	}
}
