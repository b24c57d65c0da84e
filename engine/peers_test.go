package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

func TestPeerUpThatSaysTheSameChangesNothing(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	r.send(new(bmptest.Session).PeerUp(p).PeerUp(p.In(bmp.AdjOutPost)))
	d := r.peer("10.0.0.1")
	if d.UpCount != 1 || d.RepeatedUps != 2 || d.Total != 1 || d.State != client.PeerUp {
		t.Errorf("%d sessions, %d repeated, %d routes", d.UpCount, d.RepeatedUps, d.Total)
	}
	if n := r.finding(client.RepeatedPeerUp); n != 2 {
		t.Errorf("%d findings", n)
	}

	// Other ports: the session restarted.
	p.RemotePort++
	r.send(new(bmptest.Session).PeerUp(p))
	if d = r.peer("10.0.0.1"); d.UpCount != 2 || d.DownCount != 1 || d.Total != 0 || !strings.HasPrefix(d.DownReason, "restarted") {
		t.Errorf("after a restart: %d up, %d down (%s), %d routes", d.UpCount, d.DownCount, d.DownReason, d.Total)
	}
	until(t, "both changes are said", func() bool {
		return len(lines(s, "Peer 10.0.0.1 AS65001 DOWN (restarted")) == 1 && len(lines(s, "Peer 10.0.0.1 AS65001 UP")) == 2
	})
}

func TestPeerUpsOfALocRIBAreMerged(t *testing.T) {
	s := startStation(t, nil)
	v4, v6 := bmptest.NewLocRIB("global", 0, 65000), bmptest.NewLocRIB("global", 0, 65000)
	for p, f := range map[*bmptest.Peer]bmptest.Family{&v4: bmptest.IPv4Unicast, &v6: bmptest.IPv6Unicast} {
		p.Sent.Families, p.Received.Families = []bmptest.Family{f}, []bmptest.Family{f}
		p.Sent.AddPath = []bmptest.AddPath{{Family: f, Mode: 1}}
	}
	r := connect(t, s, "127.0.0.2", "edge1")
	with := bmptest.Update{ASPath: []uint32{65001}, AddPath: true, Announce: bmptest.Prefixes("10.1.0.0/16")}
	with.Announce[0].PathID = 7
	r.send(new(bmptest.Session).PeerUp(v4).Monitor(v4, bmp.LocRIB, with.Bytes()).PeerUp(v6).PeerUp(v4))
	d := r.peer("loc-rib")
	if d.Total != 1 || d.UpCount != 1 || d.RepeatedUps != 1 {
		t.Errorf("%d routes, %d sessions, %d repeated", d.Total, d.UpCount, d.RepeatedUps)
	}
	if got := d.Sent.Families(); len(got) != 2 {
		t.Errorf("families %v", got)
	}
	if _, ok := r.routes()["loc-rib loc-rib 10.1.0.0/16#7"]; !ok {
		t.Errorf("Loc-RIB has ADD-PATH if the sent OPEN lists the family: %v", r.routes())
	}
	if n := r.finding(client.AddPathNotNegotiated); n != 0 {
		t.Errorf("%d findings", n)
	}
}

func TestPeerDownDropsEveryView(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	full := new(bmptest.Session).PeerUp(p)
	for _, v := range []bmp.View{bmp.AdjInPre, bmp.AdjInPost, bmp.AdjOutPre, bmp.AdjOutPost} {
		full.Monitor(p, v, announce(65001, "10.1.0.0/16"))
	}
	r.send(full)
	if d := r.peer("10.0.0.1"); d.Total != 4 || d.Routes != (client.ViewRoutes{1, 1, 1, 1, 0}) {
		t.Errorf("routes %v", d.Routes)
	}
	r.send(new(bmptest.Session).PeerDown(p, bmp.DownRemoteNotification, bmptest.Shutdown("maintenance")))
	d := r.peer("10.0.0.1")
	if d.State != client.PeerDown || d.Total != 0 || !strings.Contains(d.DownReason, "maintenance") || d.Notification == nil || d.DownBy != "remote" {
		t.Errorf("%s, %d routes, %q, %v", d.State, d.Total, d.DownReason, d.Notification)
	}
	// Up again, then no longer monitored, told twice.
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).PeerDown(p, bmp.DownUnmonitored, nil))
	if d = r.peer("10.0.0.1"); d.State != client.PeerUnmonitored || d.Total != 0 || d.UpCount != 2 || d.DownCount != 2 {
		t.Errorf("%s, %d routes, up %d, down %d", d.State, d.Total, d.UpCount, d.DownCount)
	}
	if n := r.finding(client.DownNeverUp); n != 0 {
		t.Errorf("%d findings", n)
	}
	q := bmptest.NewPeer("10.0.0.2", 65002)
	r.send(new(bmptest.Session).PeerDown(q, bmp.DownRemote, nil).PeerDown(q, bmp.DownRemote, nil))
	if n := r.finding(client.DownNeverUp); n != 2 {
		t.Errorf("%d findings for a peer that was never up", n)
	}
	if d = r.peer("10.0.0.2"); d.State != client.PeerDown || d.DownCount != 1 {
		t.Errorf("%s, down %d", d.State, d.DownCount)
	}
}

func TestPeersWithoutPeerUpAreUnannounced(t *testing.T) {
	s := startStation(t, nil)
	p, loc := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewLocRIB("", 0, 65000)
	r := &router{t: t, station: s, conn: dial(t, s, "127.0.0.2")}
	r.send(new(bmptest.Session).Statistics(p, bmptest.Gauge(7, 12)).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).
		Monitor(loc, bmp.LocRIB, announce(65001, "10.1.0.0/16")))
	if d := r.peer("10.0.0.1"); d.State != client.PeerUnannounced || d.Total != 1 || len(d.Statistics) != 1 || d.Statistics[0].Value != 12 {
		t.Errorf("%s %d %+v", d.State, d.Total, d.Statistics)
	}
	if n := r.finding(client.NeverAnnounced); n != 2 {
		t.Errorf("%d findings", n)
	}
	if n := r.finding(client.LocRIBNotAnnounced); n != 1 {
		t.Errorf("%d findings of the Loc-RIB", n)
	}
	// The Peer Up comes late: the routes are its own.
	r.send(new(bmptest.Session).PeerUp(p))
	if d := r.peer("10.0.0.1"); d.State != client.PeerUp || d.Total != 1 {
		t.Errorf("%s %d", d.State, d.Total)
	}
}

func TestKeyOfAPeer(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	global, vrf1, vrf2 := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.1", 65001)
	vrf1.Header.Type, vrf1.Header.Distinguisher = bmp.RDPeer, 65000<<32|1
	vrf2.Header.Type, vrf2.Header.Distinguisher = bmp.RDPeer, 65000<<32|2
	vrf1.TLVs = []bmp.TLV{{Type: bmp.PeerTableName, Value: []byte("blue")}}
	r.send(new(bmptest.Session).PeerUp(global).PeerUp(vrf1).PeerUp(vrf2).PeerUp(bmptest.NewLocRIB("blue", 65000<<32|1, 65000)))
	for y, want := range map[string][]uint32{
		"10.0.0.1": {1, 2, 3}, "2": {2}, "65000:1/10.0.0.1": {2}, "65000:2/10.0.0.1": {3}, "blue/10.0.0.1": {2},
		"blue/loc-rib": {4}, "loc-rib": {4}, "65000:1/loc-rib": {4}, "10.0.0.2": nil, "9": nil, "red/10.0.0.1": nil,
	} {
		var got []uint32
		for _, p := range r.client.FindPeers(y) {
			got = append(got, p.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: peers %v, not %v", y, got, want)
		}
	}
}

func TestIdentityCollisionsAreReported(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	p.TLVs = []bmp.TLV{{Type: bmp.PeerTableName, Value: []byte("blue")}}
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p))
	other := p
	other.Header.BGPID = [4]byte{9, 9, 9, 9}
	r.send(new(bmptest.Session).Monitor(other, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).Monitor(other, bmp.AdjInPre, announce(65001, "10.2.0.0/16")))
	renamed := p
	renamed.TLVs = []bmp.TLV{{Type: bmp.PeerTableName, Value: []byte("red")}}
	r.send(new(bmptest.Session).PeerUp(renamed))
	var details []string
	list, _ := r.client.Health()
	for _, f := range list {
		if f.Kind == client.IdentityCollision {
			details = append(details, fmt.Sprintf("%s %d %s", f.PeerName, f.Count, f.Detail))
			if len(f.Proof) == 0 || f.ProofOffset <= 0 {
				t.Errorf("no proof: %+v", f)
			}
		}
	}
	want := []string{
		"10.0.0.1 2 Route Monitoring says AS65001 BGP ID 9.9.9.9, the Peer Up AS65001 10.0.0.1",
		`10.0.0.1 1 Peer Up with table "red" for a peer of table "blue"`,
	}
	if !slices.Equal(details, want) {
		t.Errorf("findings %q", details)
	}
	if got := lines(s, "BMP-1111-HEALTH"); len(got) != 2 {
		t.Errorf("console lines %q", got)
	}
}

func TestHealthOfAFeed(t *testing.T) {
	s := startStation(t, func(o *Options) { o.Timing.EndOfRIB = 30 * time.Millisecond; o.Timing.Silent = 40 * time.Millisecond })
	r := connect(t, s, "127.0.0.2", "edge1")
	send := func(ts time.Time, f func(m *bmptest.Session)) {
		m := &bmptest.Session{Time: ts}
		f(m)
		r.send(m)
	}
	p := bmptest.NewPeer("10.0.0.1", 65001)
	send(time.Now(), func(m *bmptest.Session) { m.PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")) })
	if list, _ := r.client.Health(); len(list) != 0 {
		t.Errorf("findings on a healthy feed: %+v", list)
	}
	until(t, "the missing End-of-RIB is found", func() bool { return r.finding(client.NoEndOfRIB) == 1 })
	until(t, "the silence is said", func() bool { return len(lines(s, "BMP-1111-SILENT")) > 0 })
	if got := lines(s, "BMP-1111-SILENT"); len(got) != 1 || !strings.HasSuffix(got[0], " nothing for 40ms") {
		t.Errorf("%q", got)
	}
	for _, x := range []struct {
		at   time.Time
		kind client.FindingKind
	}{
		{time.Unix(0, 0), client.TimestampZero}, {time.Unix(86400*30, 0), client.TimestampUptime},
		{time.Now().Add(-time.Hour), client.TimestampOff}, {time.Now().Add(time.Hour), client.TimestampOff},
	} {
		before := r.finding(x.kind)
		q := p
		if x.at.Unix() > 0 {
			send(x.at, func(m *bmptest.Session) { m.Monitor(q, bmp.AdjInPre, announce(65001, "10.1.0.0/16")) })
		} else {
			r.send(new(bmptest.Session).Monitor(q, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
		}
		if r.finding(x.kind) != before+1 {
			t.Errorf("no finding %q for a stamp of %v", x.kind, x.at)
		}
	}
	long := bmptest.Update{ASPath: []uint32{65001}}
	for i := range 1100 {
		long.Announce = append(long.Announce, bmptest.Prefixes(fmt.Sprintf("20.%d.%d.0/24", i>>8, i&255))...)
	}
	send(time.Now(), func(m *bmptest.Session) { m.Monitor(p, bmp.AdjInPre, long.Bytes()) })
	if r.finding(client.ExtendedMessage) != 1 || r.peer("10.0.0.1").Total != 1101 {
		t.Errorf("an extended message: %d findings, %d routes", r.finding(client.ExtendedMessage), r.peer("10.0.0.1").Total)
	}
}

func TestChangesInBulkAreSummedUp(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	sub := s.Events().Subscribe(event.Filter{Client: r.client.ID(), Kinds: event.KindSet(event.PeerChange)}, 1000)
	defer sub.Close()
	m := new(bmptest.Session)
	for i := range 300 {
		m.PeerUp(bmptest.NewPeer(fmt.Sprintf("10.0.%d.%d", i>>8, i&255), uint32(65000+i)))
	}
	r.send(m)
	until(t, "they are summed up", func() bool { return len(lines(s, "300 peers UP in ")) == 1 })
	if got := lines(s, "PEERCHANGE"); len(got) != 1 {
		t.Errorf("%d lines", len(got))
	}
	for range 300 { // followers are told of each
		if e := <-sub.C(); !strings.HasSuffix(e.Text, " UP") {
			t.Fatalf("%q", e.Text)
		}
	}
	if n := kindsOf(s, r.client.ID())[event.PeerChange]; n != 300 {
		t.Errorf("%d counted", n)
	}
	p := bmptest.NewPeer("10.0.0.7", 65007)
	r.send(new(bmptest.Session).PeerDown(p, bmp.DownRemoteNotification, bmptest.Notification(4, 0)))
	until(t, "one change is one line", func() bool {
		return len(lines(s, "Client "+r.conn.LocalAddr().String()+" Peer 10.0.0.7 AS65007 DOWN (hold timer expired)")) == 1
	})
}

// The sums are in the order in which the changes began.
func TestSumsInOrder(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	m := new(bmptest.Session)
	peers := make([]bmptest.Peer, 9)
	for i := range peers {
		peers[i] = bmptest.NewPeer(fmt.Sprintf("10.0.0.%d", i+1), uint32(65001+i))
		m.PeerUp(peers[i])
	}
	for _, p := range peers[:4] {
		m.PeerDown(p, bmp.DownRemoteNotification, bmptest.Notification(4, 0))
	}
	r.send(m)
	until(t, "they are summed up", func() bool { return len(lines(s, "PEERCHANGE")) == 2 })
	if got := lines(s, "PEERCHANGE"); !strings.Contains(got[0], "9 peers UP in ") || !strings.Contains(got[1], "4 peers DOWN in ") {
		t.Errorf("%q", got)
	}
}

func TestFollowersSeeMessagesAndRoutes(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p))
	sub := s.Events().Subscribe(event.Filter{Client: r.client.ID(), Kinds: event.KindSet(event.Message, event.Route)}, 100)
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16")).
		Monitor(p, bmp.AdjInPre, withdraw("10.1.0.0/16")))
	var got []string
	for range 5 {
		switch x := (<-sub.C()).Data.(type) {
		case *client.Message:
			got = append(got, fmt.Sprintf("%s %s %s +%d -%d", x.Type, x.PeerName, x.View, x.Announced, x.Withdrawn))
			if m, err := x.Decode(); err != nil || m.Type() != x.Type {
				t.Errorf("decoded again: %v %v", m, err)
			}
		case *client.RouteChange:
			_, prefix := bgp.KeyText(x.Family, x.Key)
			got = append(got, fmt.Sprintf("%v %s %s", x.Withdraw, prefix, x.PeerName))
			if !x.Withdraw && bgp.Decode(x.Record, x.Family).ASPath != "65001 64512" {
				t.Errorf("record %x", x.Record)
			}
			if x.Withdraw && x.Outcome != rib.Withdrawn {
				t.Errorf("outcome %v", x.Outcome)
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"false 10.1.0.0/16 10.0.0.1", "false 10.2.0.0/16 10.0.0.1", "route_monitoring 10.0.0.1 adj-in-pre +0 -1",
		"route_monitoring 10.0.0.1 adj-in-pre +2 -0", "true 10.1.0.0/16 10.0.0.1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	sub.Close()
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, "10.3.0.0/16")))
	if n := s.Events().Totals()[event.Route]; n != 3 {
		t.Errorf("%d route events: they are not to be made when nobody follows", n)
	}
}

func TestMessagesAreKept(t *testing.T) {
	s := startStation(t, nil)
	a, b := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.2", 65002)
	r := connect(t, s, "127.0.0.2", "edge1")
	m := new(bmptest.Session).PeerUp(a).PeerUp(b)
	for range 20_000 {
		m.Monitor(a, bmp.AdjInPre, announce(65001, "10.1.0.0/16"))
	}
	m.Monitor(b, bmp.AdjInPost, withdraw("10.1.0.0/16", "10.2.0.0/16"))
	r.send(m)
	collect := func(q client.MessageQuery) (list []client.Message, info client.RingInfo) {
		info, err := r.client.Messages(t.Context(), q, func(m *client.Message) error {
			c := *m
			c.Raw = slices.Clone(m.Raw)
			list = append(list, c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return list, info
	}
	all, info := collect(client.MessageQuery{})
	if len(all) != 10_000 || info.Kept != 10_000 || info.Dropped != 20_004-10_000 {
		t.Errorf("%d messages, %+v", len(all), info)
	}
	last, _ := collect(client.MessageQuery{Last: 2})
	if len(last) != 2 || last[1].PeerName != "10.0.0.2" || last[1].View != bmp.AdjInPost || last[1].Withdrawn != 2 || last[0].Announced != 1 {
		t.Errorf("%+v", last)
	}
	ofB, _ := collect(client.MessageQuery{Peer: 2})
	if len(ofB) != 1 {
		t.Errorf("%d of peer 2", len(ofB))
	}
	if got, _ := collect(client.MessageQuery{OfType: true, Type: bmp.PeerUpType}); len(got) != 0 {
		t.Errorf("%d Peer Ups should be gone", len(got))
	}
	if got, _ := collect(client.MessageQuery{From: time.Now().Add(time.Hour)}); len(got) != 0 {
		t.Errorf("%d from the future", len(got))
	}
	if rate := r.client.Rate(time.Now()); rate.Messages <= 0 || rate.Announced <= 0 || rate.PeakMessages <= 0 {
		t.Errorf("%+v", rate)
	}
}

func TestRouterCountsThatDifferAreFound(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16")))
	report := func(n uint64) {
		r.send(new(bmptest.Session).Statistics(p, bmptest.Gauge(7, n), bmptest.FamilyGauge(9, bmptest.IPv4Unicast, n), bmptest.Gauge(8, 99)))
	}
	report(5)
	if n := r.finding(client.CountDiffers); n != 0 {
		t.Error("counts were compared while routes were coming")
	}
	until(t, "the difference is found once it is quiet", func() bool { report(5); return r.finding(client.CountDiffers) > 0 })
	before := r.finding(client.CountDiffers)
	report(2)
	if r.finding(client.CountDiffers) != before {
		t.Error("a count that agrees is a finding")
	}
	list, _ := r.client.Health()
	i := slices.IndexFunc(list, func(f client.Finding) bool { return f.Kind == client.CountDiffers })
	if want := "statistic 7 says 5, 2 held in adj-in-pre"; list[i].Detail != want {
		t.Errorf("%q, not %q", list[i].Detail, want)
	}
	got := r.client.Statistics()
	if len(got) != 1 || !slices.ContainsFunc(got[0].Statistics, func(s client.Statistic) bool { return s.Type == 8 && s.Value == 99 }) {
		t.Errorf("%+v", got)
	}
}
