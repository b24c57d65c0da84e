package bmp

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// monitoringStream is n Route Monitoring messages of 3.5 IPv4 routes or so each.
func monitoringStream(n int) []byte {
	update := pdu(23 + 40 + 14)
	var b []byte
	for i := range n {
		m := RouteMonitoring{PeerHeader: peer(GlobalPeer, 0), Update: update}
		m.PeerHeader.Micro = uint32(i)
		b, _ = m.Append(b, Encoding{})
	}
	return b
}

// loop is a source without an end, for reads as large as one likes.
type loop struct {
	b   []byte
	off int
}

func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.b[l.off:])
	if l.off += n; l.off == len(l.b) {
		l.off = 0
	}
	return n, nil
}

func TestRouteMonitoringAllocatesNothing(t *testing.T) {
	b := monitoringStream(5000)
	r, p := NewReader(&loop{b: b}, ReaderOptions{}), Parser{}
	bytesSeen := 0
	n := testing.AllocsPerRun(20000, func() {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		m, err := p.Parse(f)
		if err != nil {
			t.Fatal(err)
		}
		bytesSeen += len(m.(*RouteMonitoring).Update)
	})
	if n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

// BenchmarkFloor walks the lengths of the same stream and does nothing else: what no parser can do without.
func BenchmarkFloor(b *testing.B) {
	s := monitoringStream(10000)
	b.ReportAllocs()
	sum := 0
	for i, off := 0, 0; i < b.N; i++ {
		n := int(binary.BigEndian.Uint32(s[off+1:]))
		sum += int(s[off+6])
		if off += n; off == len(s) {
			off = 0
		}
	}
	_ = sum
}

// BenchmarkNext cuts frames, copying from the source as a socket does.
func BenchmarkNext(b *testing.B) {
	s := monitoringStream(10000)
	r := NewReader(&loop{b: s}, ReaderOptions{})
	b.SetBytes(int64(len(s) / 10000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse parses frames that are at hand.
func BenchmarkParse(b *testing.B) {
	r := NewReader(bytes.NewReader(monitoringStream(1000)), ReaderOptions{})
	frames, err := readAll(r)
	if err != io.EOF {
		b.Fatal(err)
	}
	var p Parser
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i == len(frames) {
			i = 0
		}
		if _, err := p.Parse(frames[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNextParse is both, as a session does it.
func BenchmarkNextParse(b *testing.B) {
	s := monitoringStream(10000)
	r, p := NewReader(&loop{b: s}, ReaderOptions{}), Parser{}
	b.SetBytes(int64(len(s) / 10000))
	b.ReportAllocs()
	for b.Loop() {
		f, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Parse(f); err != nil {
			b.Fatal(err)
		}
	}
}
