package engine

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/engine/streamtest"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// recorded replays a stream and returns the router that it was of.
func recorded(t *testing.T, file string) *router {
	t.Helper()
	dir := streamtest.Folder(t)
	s := startStation(t, nil)
	return &router{t: t, station: s, client: replay(t, s, streamtest.Read(t, filepath.Join(dir, file)))}
}

// findings are counts by kind and peer, those about the router's clock left out: a recording is old.
func (r *router) findings() map[string]uint64 {
	out := make(map[string]uint64)
	list, _ := r.client.Health()
	for _, f := range list {
		switch f.Kind {
		case client.TimestampOff, client.TimestampUptime, client.TimestampZero:
		default:
			out[strings.TrimSpace(f.Kind.String()+" "+f.PeerName)] += f.Count
		}
	}
	return out
}

func (r *router) expectFindings(want map[string]uint64) {
	r.t.Helper()
	got := r.findings()
	for k, n := range want {
		if got[k] != n {
			r.t.Errorf("%q %d times, not %d", k, got[k], n)
		}
	}
	for k, n := range got {
		if _, ok := want[k]; !ok {
			r.t.Errorf("%q %d times, not at all", k, n)
		}
	}
}

// TestFRR84: ADD-PATH is negotiated and path IDs are missing; paths of a 2-octet peer come as 2 octets without the A flag;
// one Peer Up serves both views; Peer Down comes for peers that are not up, again and again.
func TestFRR84(t *testing.T) {
	r := recorded(t, "frr-8.4.4-policy.bmp.gz")
	r.expectFindings(map[string]uint64{
		"ADD-PATH not as negotiated 10.1.0.12": 6, "AS width not as negotiated 10.1.0.13": 6,
		"Peer Down for a peer never up 10.1.0.11": 1, "Peer Down for a peer never up 10.1.0.12": 2,
		"Peer Down for a peer never up 10.1.0.13": 1, "Peer Down for a peer never up 10.1.0.15": 3,
		"Peer Down for a peer never up 10.1.0.16": 73, "Peer Down for a peer never up fd00:1::14": 1,
	})
	for _, v := range []bmp.View{bmp.AdjInPre, bmp.AdjInPost} {
		if x := r.table("10.1.0.12", v, bgp.IPv4Unicast); !x.Switched || x.AddPath || !x.AddPathSaid || x.Incomplete || x.Routes != 40 {
			t.Errorf("%s of the ADD-PATH peer: %+v", v, x)
		}
		if x := r.table("10.1.0.13", v, bgp.IPv4Unicast); !x.Switched || x.ASWidth != 2 || x.ASWidthSaid != 4 || x.Incomplete || x.Routes != 53 {
			t.Errorf("%s of the 2-octet peer: %+v", v, x)
		}
	}
	found := false
	for _, x := range r.client.Statistics() {
		found = found || slices.ContainsFunc(x.Statistics, func(s client.Statistic) bool { return s.Name == "type 65531" })
	}
	if !found {
		t.Error("the statistic of type 65531 is not shown")
	}
}

// TestFRR80: Route Monitoring without any Peer Up, Loc-RIB too; timestamps of zero; one AS path as 2 octets.
func TestFRR80(t *testing.T) {
	r := recorded(t, "pmacct-206-bmp-high-availability-0.bmp")
	r.expectFindings(map[string]uint64{
		"Loc-RIB without its Peer Up loc-rib": 72, "AS width not as negotiated 0.0.0.0": 1, "AS width not as negotiated loc-rib": 1,
	})
	if n := r.finding(client.TimestampZero); n != 12 {
		t.Errorf("%d timestamps of zero", n)
	}
	if p := r.peer("loc-rib"); p.State != client.PeerUnannounced || p.Total != 68 {
		t.Errorf("%s, %d routes", p.State, p.Total)
	}
}

// TestGoBGP: path IDs before policy and none after it, of one peer; the A flag before policy alone; Loc-RIB without its
// Peer Up. Nothing of that is malformed, and no table is switched that need not be.
func TestGoBGP(t *testing.T) {
	r := recorded(t, "gobgp-3.10-all.bmp.gz")
	got := r.findings()
	if got["Loc-RIB without its Peer Up loc-rib"] == 0 {
		t.Error("no finding about the Loc-RIB")
	}
	pre, post := r.table("10.1.0.12", bmp.AdjInPre, bgp.IPv4Unicast), r.table("10.1.0.12", bmp.AdjInPost, bgp.IPv4Unicast)
	if !pre.AddPath || pre.Switched || post.AddPath || !post.Switched || post.Incomplete {
		t.Errorf("pre-policy %+v, post-policy %+v", pre, post)
	}
	if x := r.table("10.1.0.13", bmp.AdjInPre, bgp.IPv4Unicast); x.ASWidthSaid != 2 || x.Switched {
		t.Errorf("the 2-octet peer before policy: %+v", x)
	}
	for _, p := range r.client.Peers() {
		if p.Type == bmp.LocRIBPeer && p.State != client.PeerUnannounced {
			t.Errorf("%s is %s", p.Name(), p.State)
		}
	}
}

// TestHuawei: the same Peer Up again and again, one per family for a Loc-RIB.
func TestHuawei(t *testing.T) {
	r := recorded(t, "pmacct-200-bmp-huawei-locrib_instance-0.bmp")
	r.expectFindings(map[string]uint64{"repeated Peer Up 192.0.2.52": 3, "repeated Peer Up 198.51.100.52": 7})
	for _, p := range r.client.Peers() {
		if d := r.peer(p.Name()); d.UpCount != 1 || d.DownCount != 0 {
			t.Errorf("%s: %d sessions, %d downs", p.Name(), d.UpCount, d.DownCount)
		}
	}
	if d := r.peer("64499:11/loc-rib"); len(d.Sent.Families()) != 2 || d.Total != 16 {
		t.Errorf("the Loc-RIB has families %v and %d routes", d.Sent.Families(), d.Total)
	}
	if n := r.client.Info(time.Now()).ByType.PeerUp; n != 18 {
		t.Errorf("%d Peer Ups", n)
	}
}

// TestJuniper: table names in the free text of Peer Ups, one Peer Up per family of a Loc-RIB, statistics 14 to 17.
func TestJuniper(t *testing.T) {
	r := recorded(t, "trafrep-multi-203.0.113.19.bmp")
	for _, y := range []string{"inet.0/loc-rib", "A7.inet.0/loc-rib", "A7_TEST_1.inet.0/loc-rib"} {
		if found := r.client.FindPeers(y); len(found) != 1 {
			t.Errorf("%s names %d peers", y, len(found))
		}
	}
	if d := r.peer("inet.0/loc-rib"); d.UpCount != 1 || len(d.Sent.Families()) < 2 {
		t.Errorf("%d sessions, families %v", d.UpCount, d.Sent.Families())
	}
	if n := r.finding(client.IdentityCollision); n != 0 {
		t.Errorf("%d collisions", n)
	}
	types := map[uint16]bool{}
	for _, p := range r.client.Statistics() {
		for _, x := range p.Statistics {
			types[x.Type] = x.Known && x.Value > 0 || types[x.Type]
		}
	}
	for _, typ := range []uint16{14, 15, 16, 17} {
		if _, ok := types[typ]; !ok {
			t.Errorf("statistic %d is missing", typ)
		}
	}
}

// TestCisco: a sysDescr with a leading blank, Loc-RIBs with a table name, Peer Down.
func TestCisco(t *testing.T) {
	r := recorded(t, "pmacct-204-bmp-cisco-peer_down-0.bmp")
	info := r.client.Info(time.Now())
	if info.SysDescr != " 7.10.1.30I" || info.Name != "ipf-zbl1327-r-daisy-90" {
		t.Errorf("%q %q", info.SysDescr, info.Name)
	}
	if d := r.peer("A2/loc-rib"); d.Table != "A2" || d.State != client.PeerUp || d.Routes[bmp.LocRIB] != 27 {
		t.Errorf("%+v", d.PeerInfo)
	}
	if d := r.peer("203.0.113.44"); d.State != client.PeerUp || d.UpCount != 2 || d.DownCount != 1 || d.DownBy != "remote" {
		t.Errorf("%+v: %d up, %d down", d.PeerInfo, d.UpCount, d.DownCount)
	}
	r.expectFindings(nil)

	// Reason 6 of RFC 9069.
	r = recorded(t, "netgauze-bmp_path-status_ipv4_unicast_path_marking.bmp")
	if d := r.peer("loc-rib"); d.DownReason != "local system closed" || d.DownCode != 6 {
		t.Errorf("down because of %q (%d)", d.DownReason, d.DownCode)
	}
}

// TestStreamsThatBeginInTheMiddle have statistics alone.
func TestStreamsThatBeginInTheMiddle(t *testing.T) {
	r := recorded(t, "trafrep-multi-203.0.113.54-0.bmp")
	peers := r.client.Peers()
	if len(peers) == 0 {
		t.Fatal("no peers")
	}
	for _, p := range peers {
		if p.State != client.PeerUnannounced {
			t.Errorf("%s is %s", p.Name(), p.State)
		}
	}
	if len(r.client.Statistics()) != len(peers) {
		t.Error("not every peer has its statistics")
	}
}
