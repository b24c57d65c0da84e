package rib

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

const (
	guardBytes = 22 // a route, resident
	guardFloor = 12 // times the parse floor
)

// BenchmarkGuard fails when 10 peers with 1 M routes each take more than 22 bytes of resident memory a route, or
// when reading them from raw BMP bytes into the store takes more than 12 times as long as reading them alone, in
// the same process: best of five each, as single runs are too noisy to judge by.
func BenchmarkGuard(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const peers = 10
	for range b.N {
		g := newGenerator(1_050_000)
		raw := make([]byte, 0, 64<<20)
		raw = g.peer(0, 0).appendBMP(raw, 0)
		sink := &wireReader{}
		sink.read(b, raw, nil, nil)
		before := rss()
		s := testStore(b, Options{})
		w := s.NewWriter()
		routes, floor, store := 0, time.Hour, time.Hour
		for p := range peers {
			raw = g.peer(p, 0).appendBMP(raw[:0], p)
			from := cpu()
			n := sink.read(b, raw, nil, nil)
			alone := (cpu() - from) / time.Duration(n/1000)
			t := s.NewTable(Owner{Peer: uint32(p), Family: bgp.IPv4Unicast}, false)
			from = cpu()
			if held := sink.read(b, raw, w, t); held != n || t.Len() != n {
				b.Fatalf("%d routes read, %d held, want %d", held, t.Len(), n)
			}
			if p%2 == 0 || p == peers-1 { // five and one, the first of which fills the dictionary
				store = min(store, (cpu()-from)/time.Duration(n/1000))
				floor = min(floor, alone)
			}
			routes += n
		}
		size := float64(rss()-before) / float64(routes)
		runtime.KeepAlive(raw)
		runtime.KeepAlive(g)
		ratio := float64(store) / float64(floor)
		b.ReportMetric(size, "B/route")
		b.ReportMetric(float64(store)/1000, "ns/route")
		b.ReportMetric(float64(floor)/1000, "floor-ns/route")
		b.ReportMetric(ratio, "x-floor")
		if size > guardBytes {
			b.Fatalf("%.2f bytes a route, want %d at most: %+v", size, guardBytes, s.Stats())
		}
		if ratio > guardFloor {
			b.Fatalf("%.1f times the parse floor of %v for 1000 routes, want %d at most", ratio, floor, guardFloor)
		}
	}
}

// appendBMP makes the stream Route Monitoring messages of a peer.
func (s *stream) appendBMP(dst []byte, peer int) []byte {
	keys := s.keys
	for _, u := range s.updates {
		attrs := s.record(u)[1:]
		start := len(dst)
		dst = append(dst, 3, 0, 0, 0, 0, byte(bmp.RouteMonitoringType))
		dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		dst = append(dst, make([]byte, 12)...)
		dst = append(dst, 10, 0, byte(peer>>8), byte(peer), 0, 0, 0xfd, 0xe9, 10, 0, 0, 1)
		dst = binary.BigEndian.AppendUint32(dst, uint32(benchNow.Unix()))
		dst = append(dst, 0, 0, 0, 0)
		pdu := len(dst)
		dst = append(dst, bytes.Repeat([]byte{0xff}, 16)...)
		dst = append(dst, 0, 0, 2, 0, 0)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(attrs)))
		dst = append(dst, attrs...)
		for range u.keys {
			dst = append(dst, keys[:1+(keys[0]+7)/8]...)
			keys = keys[5:]
		}
		binary.BigEndian.PutUint16(dst[pdu+16:], uint16(len(dst)-pdu))
		binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start))
	}
	return dst
}

// wireReader reads raw BMP as a session does.
type wireReader struct {
	parser bmp.Parser
	update bgp.Update
	nlri   bgp.NLRI
	rec    []byte
	sum    int
}

// read reads raw; with a writer it announces what it reads. It returns the number of routes.
func (r *wireReader) read(b *testing.B, raw []byte, w *Writer, t *Table) (routes int) {
	reader := bmp.NewReader(bytes.NewReader(raw), bmp.ReaderOptions{})
	defer reader.Close()
	for {
		f, err := reader.Next()
		if err == io.EOF {
			if w != nil {
				w.Flush()
			}
			return routes
		}
		if err != nil {
			b.Fatal(err)
		}
		m, err := r.parser.Parse(f)
		if err != nil {
			b.Fatal(err)
		}
		u := &r.update
		if err := u.Parse(m.(*bmp.RouteMonitoring).Update, bgp.Context{AS4: true}); err != nil {
			b.Fatal(err)
		}
		if w != nil {
			r.rec = u.AppendRecord(r.rec[:0], bgp.IPv4Unicast, nil)
		}
		r.nlri.Reset(bgp.IPv4Unicast, false, false, u.NLRI)
		for r.nlri.Next() {
			routes++
			if w == nil {
				r.sum += len(r.nlri.Key)
				continue
			}
			w.Announce(t, r.nlri.Key, 0, r.rec, benchNow)
		}
	}
}
