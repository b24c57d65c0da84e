package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/engine/listen"
	"bmp/engine/rib"
	"bmp/engine/streamtest"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// startStation starts a station on a free loopback port, which the end of the test stops.
func startStation(t testing.TB, change func(*Options)) *Station {
	t.Helper()
	o := Options{Listen: []listen.Spec{{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})}}, MemoryLimit: -1}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := s.Run(ctx)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the station's end: %v", err)
		}
	})
	return s
}

// address is where the station listens.
func (s *Station) address() string { return s.Listeners()[0].Addr().String() }

// until waits for a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// dial connects to the station as a router, from an address of 127.0.0.0/8.
func dial(t testing.TB, s *Station, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// replay sends a stream as one session and waits until the station has read it to its end.
func replay(t testing.TB, s *Station, stream []byte) *client.Client {
	t.Helper()
	before := len(s.Clients())
	conn := dial(t, s, "127.0.0.1")
	if _, err := conn.Write(stream); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	var c *client.Client
	until(t, "the client is known and down again", func() bool {
		all := s.Clients()
		if len(all) == before {
			return false
		}
		c = all[len(all)-1]
		return c.Brief().State == client.Down && c.Info(time.Now()).DownReason != ""
	})
	return c
}

// heldRoute is a route out of the store.
type heldRoute struct {
	peer   client.PeerInfo
	view   bmp.View
	family bgp.Family
	rd     string
	prefix string
	pathID uint32
	record []byte
}

// held lists every route of a client.
func held(t *testing.T, s *Station, c *client.Client) []heldRoute {
	t.Helper()
	peers := make(map[uint32]client.PeerInfo)
	for _, p := range c.Peers() {
		peers[p.ID] = p
	}
	var out []heldRoute
	for _, f := range s.Store().Families() {
		err := s.Store().Query(t.Context(), rib.Query{
			Family: f, Where: func(o rib.Owner) bool { return o.Client == c.ID() },
		}, func(batch []rib.Route) error {
			for _, r := range batch {
				o := r.Table.Owner()
				h := heldRoute{peer: peers[o.Peer], view: bmp.View(o.View), family: o.Family, pathID: r.PathID, record: bytes.Clone(r.Record)}
				h.rd, h.prefix = bgp.KeyText(o.Family, r.Key)
				out = append(out, h)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// countsOf is the messages by type number; every unknown type is counted as 255.
func countsOf(m client.MessageCounts) map[int]uint64 {
	n := map[int]uint64{
		0: m.RouteMonitoring, 1: m.StatisticsReport, 2: m.PeerDown, 3: m.PeerUp, 4: m.Initiation, 5: m.Termination,
		6: m.RouteMirroring, 255: m.Unknown,
	}
	maps.DeleteFunc(n, func(_ int, v uint64) bool { return v == 0 })
	return n
}

// oracleCounts is what the oracle beside the stream says of message types.
func oracleCounts(t *testing.T, base string) map[int]uint64 {
	t.Helper()
	n := make(map[int]uint64)
	if path := base + ".tshark.jsonl.gz"; exists(path) {
		sc := bufio.NewScanner(bytes.NewReader(streamtest.Read(t, path)))
		sc.Buffer(nil, 1<<24)
		for sc.Scan() {
			var m struct{ Type *int }
			if err := json.Unmarshal(sc.Bytes(), &m); err != nil || m.Type == nil {
				t.Fatalf("%s: %v: %s", path, err, sc.Text())
			}
			if *m.Type > 6 {
				*m.Type = 255
			}
			n[*m.Type]++
		}
		return n
	}
	if path := base + ".expect.json"; exists(path) {
		var e struct{ Types map[int]uint64 }
		if err := json.Unmarshal(streamtest.Read(t, path), &e); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return e.Types
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// digest is the count and hash of expect.json: of the sorted prefixes, each with a newline behind it.
type digest struct {
	Routes int    `json:"routes"`
	Hash   string `json:"sha256_of_sorted_prefixes"`
}

func digestOf(prefixes []string) digest {
	slices.Sort(prefixes)
	h := sha256.New()
	for _, p := range prefixes {
		io.WriteString(h, p+"\n")
	}
	return digest{len(prefixes), hex.EncodeToString(h.Sum(nil))}
}

// explained is how many malformed messages streams hold. FRR leaves NEXT_HOP out of routes that it has in a VRF (8.0), and
// of labelled ones that it reports as unicast (8.4).
var explained = map[string]uint64{
	"pmacct-206-bmp-high-availability-0": 140,
	"frr-8.4.4-policy":                   10,
}

// TestStreams replays every recorded stream into a station: the messages are counted as tshark counts them, and the
// routes held at the end are those that were worked out independently.
func TestStreams(t *testing.T) {
	dir := streamtest.Folder(t)
	var files []string
	for _, pattern := range []string{"*.bmp", "*.bmp.gz", "*.bmp.zst"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		files = append(files, found...)
	}
	if len(files) < 37 {
		t.Fatalf("only %d streams in %s", len(files), dir)
	}
	for _, path := range files {
		name := filepath.Base(path)
		name = name[:strings.Index(name, ".bmp")]
		t.Run(name, func(t *testing.T) {
			if st, err := os.Stat(path); err == nil && st.Size() > 2<<20 && (raceDetector || testing.Short()) {
				t.Skip("a large stream: run without -race and without -short")
			}
			s := startStation(t, nil)
			stream := streamtest.Read(t, path)
			c := replay(t, s, stream)
			info := c.Info(time.Now())
			base := filepath.Join(dir, name)
			if want := oracleCounts(t, base); want != nil {
				if got := countsOf(info.ByType); !maps.Equal(got, want) {
					t.Errorf("messages by type %v, the oracle has %v", got, want)
				}
			} else if name != "frr-8.4.4-fulltable" {
				t.Error("no oracle")
			}
			if info.Bytes != uint64(len(stream)) {
				t.Errorf("%d bytes counted of %d", info.Bytes, len(stream))
			}
			if info.DownReason != "remote closed" {
				t.Errorf("the session ended with %q", info.DownReason)
			}
			bad, total := c.Malformed()
			if want := explained[name]; total != want {
				t.Errorf("%d malformed messages, %d are explained", total, want)
			}
			for _, m := range bad {
				if m.Reason != "UPDATE attribute 3 missing" || explained[name] == 0 {
					t.Errorf("malformed at %d: %s %s: %s", m.Offset, m.PeerName, m.Type, m.Reason)
				}
			}
			compareExpected(t, s, c, base)
			if testing.Verbose() {
				report(t, c)
			}
		})
	}
}

// report shows what a stream left behind.
func report(t *testing.T, c *client.Client) {
	for _, p := range c.Peers() {
		t.Logf("peer %d %s AS%d %s %s %v table %q %s", p.ID, p.Name(), p.AS, p.State, p.Type, p.Routes, p.Table, p.DownReason)
		d, _ := c.Peer(p.ID)
		for _, x := range d.Tables {
			t.Logf("  %s %s %d routes, announced %d withdrawn %d, add-path %v/%v width %d/%d switched %v incomplete %v eor %v", x.View, x.Family, x.Routes,
				x.Announced, x.Withdrawn, x.AddPath, x.AddPathSaid, x.ASWidth, x.ASWidthSaid, x.Switched, x.Incomplete, !x.EoR.IsZero())
		}
	}
	health, _ := c.Health()
	for _, f := range health {
		t.Logf("health %s: %s %dx %s", f.Kind, f.PeerName, f.Count, f.Detail)
	}
}

// compareExpected compares with .expect.json (by peer and family), or with that in .final (by view too).
func compareExpected(t *testing.T, s *Station, c *client.Client, base string) {
	t.Helper()
	views := false
	path := base + ".expect.json"
	if !exists(path) {
		path, views = base+".final/expect.json", true
	}
	if !exists(path) {
		return
	}
	type expected struct {
		Addr  string
		Flags uint8
		Type  bmp.PeerType
		V4    *digest `json:"1/1"`
		V6    *digest `json:"2/1"`
	}
	var file struct {
		Messages uint64
		Peers    map[string]expected
		Views    []expected
	}
	if err := json.Unmarshal(streamtest.Read(t, path), &file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if got := c.Info(time.Now()).Messages; got != file.Messages {
		t.Errorf("%d messages, expected %d", got, file.Messages)
	}
	want := make(map[string]digest)
	add := func(addr string, view bmp.View, e expected) {
		for f, d := range map[bgp.Family]*digest{bgp.IPv4Unicast: e.V4, bgp.IPv6Unicast: e.V6} {
			if d != nil && d.Routes > 0 {
				want[fmt.Sprint(addr, " ", view, " ", f)] = *d
			}
		}
	}
	for addr, e := range file.Peers {
		add(addr, bmp.AdjInPre, e)
	}
	for _, e := range file.Views {
		h := bmp.PerPeerHeader{Type: e.Type, Flags: e.Flags}
		add(e.Addr, h.View(), e)
	}
	if len(want) == 0 || views != (len(file.Views) > 0) {
		t.Fatalf("%s expects nothing", path)
	}
	got := make(map[string][]string)
	for _, r := range held(t, s, c) {
		k := fmt.Sprint(r.peer.Address, " ", r.view, " ", r.family)
		got[k] = append(got[k], r.prefix)
	}
	for k, w := range want {
		if g := digestOf(got[k]); g != w {
			t.Errorf("%s: %d routes %s, expected %d %s", k, g.Routes, g.Hash, w.Routes, w.Hash)
		}
		delete(got, k)
	}
	for k, prefixes := range got {
		t.Errorf("%s: %d routes, expected none", k, len(prefixes))
	}
}
