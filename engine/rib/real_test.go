package rib

import (
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bmp/engine/streamtest"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// BenchmarkReal reads recorded BMP streams of the folder BMP_DATA into a store and says what a route and an attribute
// set of theirs take. Sets are as large as they are in the wild, and as shared.
func BenchmarkReal(b *testing.B) {
	dir := streamtest.Folder(b)
	for _, name := range []string{"frr-8.4.4-fulltable.bmp.zst", "mrt-bgprs-updates.20190101.0000.bmp.gz", "mrt-bgpipe-sample.bmp.gz"} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			for range b.N {
				raw := streamtest.Read(b, filepath.Join(dir, name))
				s := testStore(b, Options{})
				w := s.NewWriter()
				from := cpu()
				seen := announceAll(b, s, w, raw)
				spent := cpu() - from
				st := s.Stats()
				if st.Routes == 0 {
					b.Fatal("no routes")
				}
				b.ReportMetric(float64(st.Used)/float64(st.Routes), "B/route")
				b.ReportMetric(float64(st.AttributeBytes+st.AttributeIndex)/float64(st.AttributeSets), "B/set")
				b.ReportMetric(float64(st.Routes)/float64(st.AttributeSets), "routes/set")
				b.ReportMetric(float64(spent.Nanoseconds())/float64(seen), "ns/route")
				b.ReportMetric(float64(st.Routes), "routes")
			}
		})
	}
}

// announceAll applies the Route Monitoring messages of a stream as a session does that believes all it is told.
func announceAll(b *testing.B, s *Store, w *Writer, raw []byte) (routes int) {
	tables := map[Owner]*Table{}
	peers := map[any]uint32{}
	var parser bmp.Parser
	var u bgp.Update
	var n bgp.NLRI
	var rec []byte
	reader := bmp.NewReader(strings.NewReader(string(raw)), bmp.ReaderOptions{})
	defer reader.Close()
	for {
		f, err := reader.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			w.Flush()
			return routes
		}
		if err != nil {
			b.Fatal(err)
		}
		m, err := parser.Parse(f)
		rm, ok := m.(*bmp.RouteMonitoring)
		if err != nil || !ok {
			continue
		}
		h := rm.PeerHeader
		if u.Parse(rm.Update, bgp.Context{AS4: h.AS4()}) != nil {
			continue
		}
		key := [3]any{h.Type, h.Distinguisher, h.Address}
		if _, ok := peers[key]; !ok {
			peers[key] = uint32(len(peers))
		}
		apply := func(family bgp.Family, field []byte, withdraw bool) {
			o := Owner{Peer: peers[key], View: uint8(h.View()), Family: family}
			if tables[o] == nil {
				tables[o] = s.NewTable(o, false)
			}
			n.Reset(family, false, withdraw, field)
			for n.Next() {
				routes++
				if withdraw {
					w.Withdraw(tables[o], n.Key, 0, benchNow)
					continue
				}
				rec = u.AppendRecord(rec[:0], family, n.Extra)
				w.Announce(tables[o], n.Key, 0, rec, benchNow)
			}
		}
		if len(u.Withdrawn) > 0 {
			apply(bgp.IPv4Unicast, u.Withdrawn, true)
		}
		if len(u.NLRI) > 0 {
			apply(bgp.IPv4Unicast, u.NLRI, false)
		}
		if u.HasReach {
			apply(u.Reach.Family, u.Reach.NLRI, false)
		}
		if u.HasUnreach {
			apply(u.Unreach.Family, u.Unreach.NLRI, true)
		}
	}
}
