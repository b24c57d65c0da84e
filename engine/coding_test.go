package engine

import (
	"fmt"
	"testing"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// addPathPeer has negotiated ADD-PATH for IPv4 from the peer.
func addPathPeer() bmptest.Peer {
	p := bmptest.NewPeer("10.0.0.1", 65001)
	p.Sent.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 1}}
	p.Received.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 2}}
	return p
}

// withPath is an UPDATE with path IDs.
func withPath(id uint32, prefixes ...string) []byte {
	u := bmptest.Update{ASPath: []uint32{65001}, AddPath: true, Announce: bmptest.Prefixes(prefixes...)}
	for i := range u.Announce {
		u.Announce[i].PathID = id
	}
	return u.Bytes()
}

func (r *router) table(y string, v bmp.View, f bgp.Family) client.TableInfo {
	r.t.Helper()
	for _, x := range r.peer(y).Tables {
		if x.View == v && x.Family == f {
			return x
		}
	}
	r.t.Fatalf("no table %s %s", v, f)
	return client.TableInfo{}
}

func (r *router) hasRoutes(keys ...string) {
	r.t.Helper()
	got := r.routes()
	if len(got) != len(keys) {
		r.t.Errorf("%d routes: %v", len(got), got)
	}
	for _, k := range keys {
		if _, ok := got[k]; !ok {
			r.t.Errorf("no %s in %v", k, got)
		}
	}
}

func TestAddPathAsNegotiated(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := addPathPeer()
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, withPath(1, "10.1.0.0/16")).Monitor(p, bmp.AdjInPre, withPath(2, "10.1.0.0/16")))
	// Not negotiated towards the peer.
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjOutPost, announce(65000, "10.1.0.0/16")))
	r.hasRoutes("10.0.0.1 adj-in-pre 10.1.0.0/16#1", "10.0.0.1 adj-in-pre 10.1.0.0/16#2", "10.0.0.1 adj-out-post 10.1.0.0/16")
	if n := r.finding(client.AddPathNotNegotiated); n != 0 {
		t.Errorf("%d findings", n)
	}
}

// TestThreeVotesSwitch: path IDs are negotiated and missing, as with FRR 8.4.
func TestThreeVotesSwitch(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := addPathPeer()
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPost, withPath(3, "10.7.0.0/16")))
	for i := range 3 {
		if x := i; x > 0 {
			if tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); tab.Switched || !tab.AddPath {
				t.Fatalf("switched after %d votes", x)
			}
		}
		r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, fmt.Sprintf("10.%d.0.0/16", i))))
		if n := len(r.routes()); n != i+2 {
			t.Fatalf("%d routes after %d messages: one that reads one way alone is read that way", n, i+1)
		}
	}
	tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast)
	if !tab.Switched || tab.AddPath || !tab.AddPathSaid || tab.Incomplete {
		t.Errorf("%+v", tab)
	}
	// The other view stays as negotiated, and what was read before is rebuilt.
	r.hasRoutes("10.0.0.1 adj-in-pre 10.0.0.0/16", "10.0.0.1 adj-in-pre 10.1.0.0/16", "10.0.0.1 adj-in-pre 10.2.0.0/16", "10.0.0.1 adj-in-post 10.7.0.0/16#3")
	if n := r.finding(client.AddPathNotNegotiated); n != 3 {
		t.Errorf("%d findings", n)
	}
	if list, total := r.client.Malformed(); total != 0 {
		t.Errorf("malformed: %+v", list)
	}
	// Withdrawals are read in the new form, too.
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, withdraw("10.1.0.0/16")))
	if len(r.routes()) != 3 {
		t.Errorf("%v", r.routes())
	}
}

// TestAmbiguousMessagesAreReadAgain: path IDs are there and not negotiated, as with GoBGP before policy. A first message
// that reads both ways is read the wrong way, until the switch.
func TestAmbiguousMessagesAreReadAgain(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := bmptest.NewPeer("10.0.0.1", 65001)
	// 00 00 00 01 | 10 0a 09 reads as 0/0, 0/0, 0/0, 0x10/1, 10: 9 is short; with /8: 00 00 00 01 08 0a as 0/0 x3, 8/1, 10 short.
	// 0.0.0.0/0 with path ID 0 is five times 0.0.0.0/0.
	ambiguous := withPath(0, "0.0.0.0/0")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, ambiguous))
	r.hasRoutes("10.0.0.1 adj-in-pre 0.0.0.0/0")
	certain := new(bmptest.Session)
	for i := range 3 {
		certain.Monitor(p, bmp.AdjInPre, withPath(uint32(0x21000001+i), fmt.Sprintf("10.%d.0.0/16", i)))
	}
	r.send(certain)
	tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast)
	if !tab.Switched || !tab.AddPath {
		t.Fatalf("%+v", tab)
	}
	if got := r.routes(); len(got) != 4 {
		t.Errorf("%v", got)
	}
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, ambiguous))
	if n := r.finding(client.AmbiguousCoding); n != 1 {
		t.Errorf("%d findings of a message that reads both ways on a peer that switched", n)
	}
	// Three votes back, with one for the present form between the second and the third.
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).Monitor(p, bmp.AdjInPre, announce(65001, "10.2.0.0/16")).
		Monitor(p, bmp.AdjInPre, withPath(0x21000001, "10.0.0.0/16")).Monitor(p, bmp.AdjInPre, announce(65001, "10.3.0.0/16")))
	if tab = r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); !tab.Switched {
		t.Error("votes for both forms switched")
	}
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, "10.4.0.0/16")).Monitor(p, bmp.AdjInPre, announce(65001, "10.5.0.0/16")))
	if tab = r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); tab.Switched || tab.AddPath {
		t.Errorf("three votes in a row did not switch back: %+v", tab)
	}
}

// TestASWidthVotes: 2-octet paths without the A flag, as with FRR and a 2-octet peer.
// TestReadingAgainEndsAtAPeerDown: what a peer said before it went down does not come back when its table turns out to be
// coded otherwise.
func TestReadingAgainEndsAtAPeerDown(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := addPathPeer()
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.8.0.0/16")).PeerDown(p, bmp.DownRemote, nil))
	for i := range 3 {
		r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, fmt.Sprintf("10.%d.0.0/16", i))))
	}
	if tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); !tab.Switched {
		t.Fatal("not switched")
	}
	r.hasRoutes("10.0.0.1 adj-in-pre 10.0.0.0/16", "10.0.0.1 adj-in-pre 10.1.0.0/16", "10.0.0.1 adj-in-pre 10.2.0.0/16")
}

func TestASWidthVotes(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := bmptest.NewPeer("10.0.0.1", 65001)
	narrow := func(prefix string) []byte {
		return bmptest.Update{ASPath: []uint32{65001, 65002, 65003}, AS2: true, Announce: bmptest.Prefixes(prefix)}.Bytes()
	}
	r.send(new(bmptest.Session).PeerUp(p))
	for i := range 4 {
		r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, narrow(fmt.Sprintf("10.%d.0.0/16", i))))
	}
	for k, x := range r.routes() {
		if got := bgp.Decode(x.Record, bgp.IPv4Unicast).ASPath; got != "65001 65002 65003" {
			t.Errorf("%s: path %q", k, got)
		}
	}
	tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast)
	if !tab.Switched || tab.ASWidth != 2 || tab.ASWidthSaid != 4 || tab.Routes != 4 {
		t.Errorf("%+v", tab)
	}
	if n := r.finding(client.ASWidthNotNegotiated); n != 3 {
		t.Errorf("%d findings", n)
	}
	if _, total := r.client.Malformed(); total != 0 {
		t.Errorf("%d malformed", total)
	}
	// The A flag says 2 octets: as it should be.
	q := bmptest.NewPeer("10.0.0.2", 65001)
	q.Header.Flags |= bmp.FlagAS2
	r.send(new(bmptest.Session).PeerUp(q).Monitor(q, bmp.AdjInPre, narrow("10.1.0.0/16")))
	if tab = r.table("10.0.0.2", bmp.AdjInPre, bgp.IPv4Unicast); tab.Switched || tab.ASWidth != 2 {
		t.Errorf("%+v", tab)
	}
}

func TestSwitchWithoutTheMessagesIsIncomplete(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := addPathPeer()
	m := new(bmptest.Session).PeerUp(p)
	for range 25_000 { // more than are kept
		m.Monitor(p, bmp.AdjInPost, withPath(1, "10.1.0.0/16"))
	}
	for i := range 3 {
		m.Monitor(p, bmp.AdjInPre, announce(65001, fmt.Sprintf("10.%d.0.0/16", i)))
	}
	r.send(m)
	if tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); !tab.Switched || !tab.Incomplete || tab.Routes != 3 {
		t.Errorf("%+v", tab)
	}
	// Announced anew it is complete again.
	p.RemotePort++
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	if tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); tab.Incomplete || tab.Routes != 1 {
		t.Errorf("%+v", tab)
	}
}

// TestSwitchReadsTheArchive: what the memory no longer has of a table that turns out to be coded otherwise is read from the archive,
// from the Peer Up on and no further.
func TestSwitchReadsTheArchive(t *testing.T) {
	s := startStation(t, func(o *Options) { o.StateDir, o.Archive = t.TempDir(), &archive.Options{} })
	r := connect(t, s, "127.0.0.2", "edge1")
	p, other := addPathPeer(), bmptest.NewPeer("10.0.0.2", 65002)
	ambiguous := func(prefix string) []byte { // reads with path IDs, too, as other routes
		return bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes(prefix, prefix, prefix, prefix, prefix)}.Bytes()
	}
	m := new(bmptest.Session).PeerUp(other).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.99.0.0/16")).PeerDown(p, bmp.DownRemote, nil)
	p.RemotePort++
	m.PeerUp(p).Monitor(p, bmp.AdjInPre, ambiguous("0.0.0.0/0")).Monitor(p, bmp.AdjInPost, announce(65001, "10.98.0.0/16"))
	for range 25_000 {
		m.Monitor(other, bmp.AdjInPre, announce(65002, "10.1.0.0/16"))
	}
	r.send(m)
	if ring := r.client.Info(now()).Ring; ring.Kept > 2000 {
		t.Fatalf("in memory: %+v", ring)
	}
	m = new(bmptest.Session)
	for i := range 3 {
		m.Monitor(p, bmp.AdjInPre, announce(65001, fmt.Sprintf("10.%d.0.0/16", i)))
	}
	r.send(m)
	if tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); !tab.Switched || tab.Incomplete || tab.Routes != 4 {
		t.Errorf("%+v", tab)
	}
	r.hasRoutes("10.0.0.1 adj-in-pre 0.0.0.0/0", "10.0.0.1 adj-in-pre 10.0.0.0/16", "10.0.0.1 adj-in-pre 10.1.0.0/16", "10.0.0.1 adj-in-pre 10.2.0.0/16",
		"10.0.0.1 adj-in-post 10.98.0.0/16#0", "10.0.0.2 adj-in-pre 10.1.0.0/16")
	// When somebody says how it is coded, too.
	r.client.SetQuirk(client.Quirk{Peer: 2, AddPath: true, Family: bgp.IPv4Unicast, On: true})
	until(t, "the table was read again", func() bool { return r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast).AddPath })
	if tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast); tab.Incomplete || tab.Routes != 1 {
		t.Errorf("%+v", tab) // the route of the archive: the other messages cannot be read so
	}
}

func TestQuirks(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := addPathPeer()
	// Reads both ways: nobody votes, and what was negotiated is wrong here.
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, bmptest.Update{
		ASPath: []uint32{65001}, Announce: bmptest.Prefixes("0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0"),
	}.Bytes()))
	r.hasRoutes("10.0.0.1 adj-in-pre 0.0.0.0/0#0")
	q := client.Quirk{AddPath: true, Family: bgp.IPv4Unicast}
	r.client.SetQuirk(q)
	until(t, "the table was read again", func() bool {
		tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast)
		return !tab.AddPath && tab.Forced && tab.Routes == 1
	})
	r.hasRoutes("10.0.0.1 adj-in-pre 0.0.0.0/0")
	// Of a peer goes before that of the client.
	r.client.SetQuirk(client.Quirk{Peer: 1, AddPath: true, Family: bgp.IPv4Unicast, On: true})
	until(t, "the peer's own quirk holds", func() bool { return r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast).AddPath })
	if n := len(r.client.Quirks()); n != 2 {
		t.Errorf("%d quirks", n)
	}
	r.client.SetQuirk(client.Quirk{ASWidth: 2})
	until(t, "the width is set", func() bool { return r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast).ASWidth == 2 })
	for _, q := range r.client.Quirks() {
		if !r.client.RemoveQuirk(q) {
			t.Errorf("%+v was not there", q)
		}
	}
	until(t, "all is as negotiated", func() bool {
		tab := r.table("10.0.0.1", bmp.AdjInPre, bgp.IPv4Unicast)
		return tab.AddPath && !tab.Forced && !tab.Switched && tab.ASWidth == 4
	})
}

// TestStatelessParsing: a BMP v4 message says itself how it is coded.
func TestStatelessParsing(t *testing.T) {
	s := startStation(t, nil)
	r := connect(t, s, "127.0.0.2", "edge1")
	p := bmptest.NewPeer("10.0.0.1", 65001)
	m := &bmptest.Session{Encoding: bmp.Encoding{Version: 4}}
	addPath, _ := bmp.ProfileDeployed.TLV(bmp.StatelessTLV, 0, []byte{69, 4, 0, 1, 1, 3})
	m.PeerUp(p).Monitor(p, bmp.AdjInPre, withPath(5, "10.1.0.0/16"), addPath).Monitor(p, bmp.AdjInPre, announce(65001, "10.2.0.0/16"))
	r.send(m)
	r.hasRoutes("10.0.0.1 adj-in-pre 10.1.0.0/16#5", "10.0.0.1 adj-in-pre 10.2.0.0/16#0")
	if info := r.client.Info(now()); info.Version != 4 || info.Profile != "deployed" {
		t.Errorf("version %d profile %q", info.Version, info.Profile)
	}
}

// TestVersions1And2: no Initiation, no A flag (that only 2 octets parse is how one knows), Peer Up in version 2 alone.
func TestVersions1And2(t *testing.T) {
	s := startStation(t, nil)
	for _, version := range []uint8{1, 2} {
		p := bmptest.NewPeer("10.0.0.1", 65001)
		r := &router{t: t, station: s, conn: dial(t, s, fmt.Sprintf("127.0.0.%d", version+1))}
		m := &bmptest.Session{Encoding: bmp.Encoding{Version: version}}
		if version == 2 {
			m.PeerUp(p)
		}
		narrow := bmptest.Update{ASPath: []uint32{65001, 65002, 65003}, AS2: true, Announce: bmptest.Prefixes("10.2.0.0/16")}
		m.Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).Monitor(p, bmp.AdjInPre, narrow.Bytes()).Statistics(p, bmptest.Counter(0, 5))
		r.send(m)
		r.hasRoutes("10.0.0.1 adj-in-pre 10.1.0.0/16", "10.0.0.1 adj-in-pre 10.2.0.0/16")
		for k, want := range map[string]string{"10.1.0.0/16": "65001 64512", "10.2.0.0/16": "65001 65002 65003"} {
			if got := bgp.Decode(r.routes()["10.0.0.1 adj-in-pre "+k].Record, bgp.IPv4Unicast).ASPath; got != want {
				t.Errorf("version %d, %s: path %q", version, k, got)
			}
		}
		state := client.PeerUnannounced
		if version == 2 {
			state = client.PeerUp
		}
		if d := r.peer("10.0.0.1"); d.State != state || len(d.Statistics) != 1 {
			t.Errorf("version %d: %s, %d statistics", version, d.State, len(d.Statistics))
		}
		if n := r.finding(client.ASWidthNotNegotiated); n != 0 {
			t.Errorf("version %d: %d findings about what it cannot say", version, n)
		}
		down := &bmptest.Session{Encoding: bmp.Encoding{Version: version}}
		r.send(down.PeerDown(p, bmp.DownLocal, nil))
		r.hasRoutes()
	}
}
