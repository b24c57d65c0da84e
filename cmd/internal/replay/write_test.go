package replay

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// written is what two routers say, message by message.
func written() (a, b [][]byte) {
	p, v6 := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("2001:db8::1", 4200000001)
	s := new(bmptest.Session).Initiation("edge1", "").PeerUp(p).PeerUp(v6).
		Monitor(p, bmp.AdjInPre, bmptest.Update{ASPath: []uint32{65001}, NextHop: p.Header.Address, Announce: bmptest.Prefixes("10.1.0.0/16")}.Bytes()).
		Monitor(p, bmp.AdjInPost, bmptest.Update{ASPath: []uint32{65001}, NextHop: p.Header.Address, Announce: bmptest.Prefixes("10.1.0.0/16")}.Bytes())
	s.Add(&bmp.Initiation{TLVs: []bmp.TLV{{Type: bmp.InitString, Value: bytes.Repeat([]byte("long "), 2000)}}})
	s.PeerDown(v6, bmp.DownRemote, nil)
	q := bmptest.NewPeer("10.0.0.2", 65002)
	return s.Messages(), new(bmptest.Session).Initiation("edge2", "").PeerUp(q).Messages()
}

var (
	routerA = netip.MustParseAddrPort("192.0.2.1:40001")
	routerB = netip.MustParseAddrPort("[2001:db8::2]:40002")
	place4  = netip.MustParseAddrPort("192.0.2.9:1790")
	place6  = netip.MustParseAddrPort("[2001:db8::9]:1790")
)

// What was written is read again, byte for byte where the format keeps bytes: routers at the same time, and one that
// comes twice.
func TestWrite(t *testing.T) {
	a, b := written()
	at := time.Date(2026, 11, 22, 10, 0, 0, 123_456_000, time.UTC)
	for _, name := range []string{"x.bmp", "x.pcap", "x.mrt"} {
		path := filepath.Join(t.TempDir(), name)
		w, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Create(path); !os.IsExist(err) {
			t.Errorf("%s was written over: %v", name, err)
		}
		put := func(session int, raw []byte) {
			t.Helper()
			if err := w.Message(session, &Message{Time: at, Context: bgp.Context{AS4: true}, Raw: raw}); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Millisecond)
		}
		begin := func(session int, remote, local netip.AddrPort) {
			t.Helper()
			if err := w.Begin(session, remote, local, at); err != nil {
				t.Fatal(err)
			}
		}
		var want []string
		begin(1, routerA, place4)
		switch name {
		case "x.pcap":
			begin(2, routerB, place6)
			for i := range max(len(a), len(b)) {
				if i < len(a) {
					put(1, a[i])
				}
				if i < len(b) {
					put(2, b[i])
				}
			}
			w.End(1, at)
			begin(3, routerA, place4)
			put(3, b[0])
			want = []string{string(bytes.Join(a, nil)), string(bytes.Join(b, nil)), string(b[0])}
		default:
			if err := w.Begin(2, routerB, place6, at); err == nil {
				t.Errorf("%s took a second router", name)
			}
			for _, raw := range a {
				put(1, raw)
			}
			want = []string{string(bytes.Join(a, nil))}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if k, _ := WriterKind(path); f.Kind() != k {
			t.Errorf("%s is read as %s", name, f.Kind())
		}
		var got []string
		var times []time.Time
		for {
			e, err := f.Next()
			if err != nil {
				break
			}
			for len(got) <= e.Stream {
				got = append(got, "")
			}
			got[e.Stream] += string(e.Data)
			times = append(times, e.Time)
		}
		if s := f.Skipped(); len(s) > 0 {
			t.Errorf("%s: skipped %q", name, s)
		}
		f.Close()
		if name == "x.mrt" {
			h := hold(t, strings.NewReader(got[0]))
			if !h.routes["10.0.0.1"]["1/1"]["10.1.0.0/16"] || h.types["3"] != 2 || h.types["2"] < 1 {
				t.Errorf("held %v, messages %v", h.routes, h.types)
			}
			if left := w.Left(); !slices.Equal(left, []string{"1 messages of adj-in-post"}) {
				t.Errorf("left out %q", left)
			}
			continue
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d streams, or other bytes", name, len(got))
		}
		if name == "x.pcap" && !times[0].Equal(time.Date(2026, 11, 22, 10, 0, 0, times[0].Nanosecond(), time.UTC)) {
			t.Errorf("times begin at %s", times[0])
		}
	}
	for _, name := range []string{"x.pcapng", "x.bmp.gz", "x.ZST"} {
		if _, err := Create(filepath.Join(t.TempDir(), name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}
