package bgp

import (
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// benchPDUs makes UPDATEs as a full table has them: three or four prefixes each, 75 bytes of attributes.
func benchPDUs() (pdus [][]byte, routes, bytes int) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 4096 {
		attrs := []byte{0x40, 1, 1, 0, 0x40, 2, 22, 2, 5}
		for range 5 {
			attrs = binary.BigEndian.AppendUint32(attrs, r.Uint32N(400000))
		}
		attrs = append(attrs, 0x40, 3, 4, 10, 0, 0, 1, 0x80, 4, 4, 0, 0, 0, 0, 0xc0, 8, 12)
		for range 3 {
			attrs = binary.BigEndian.AppendUint32(attrs, r.Uint32())
		}
		var nlri []byte
		for range 3 + r.IntN(2) {
			p := r.Uint32()
			nlri = append(nlri, 24, byte(p), byte(p>>8), byte(p>>16))
			routes++
		}
		pdu := update(nil, attrs, nlri)
		pdus = append(pdus, pdu)
		bytes += len(pdu)
	}
	return pdus, routes, bytes
}

// cpu is the CPU time of the process so far: on a busy machine the only clock that says something.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportRoutes reports the CPU time of a route since start.
func reportRoutes(b *testing.B, start time.Duration, routes int) {
	b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N)/float64(routes), "cpu-ns/route")
	b.ReportAllocs()
}

var sink int

// BenchmarkFloor reads the bytes and does nothing with them.
func BenchmarkFloor(b *testing.B) {
	pdus, routes, bytes := benchPDUs()
	b.SetBytes(int64(bytes))
	start := cpu(b)
	for b.Loop() {
		var sum uint64
		for _, p := range pdus {
			for ; len(p) >= 8; p = p[8:] {
				sum += binary.LittleEndian.Uint64(p)
			}
		}
		sink += int(sum)
	}
	reportRoutes(b, start, routes)
}

// BenchmarkUpdate is the way of a route from the BGP message to what the store takes: UPDATE, attribute walk, NLRI and
// one record per UPDATE.
func BenchmarkUpdate(b *testing.B) {
	pdus, routes, bytes := benchPDUs()
	b.SetBytes(int64(bytes))
	var u Update
	var it NLRI
	rec := make([]byte, 0, 512)
	start := cpu(b)
	for b.Loop() {
		n := 0
		for _, p := range pdus {
			if u.Parse(p, Context{AS4: true}) != nil {
				b.Fatal("malformed")
			}
			var buf [4]Section
			for _, s := range u.Sections(buf[:0]) {
				rec = u.AppendRecord(rec[:0], s.Family, nil)
				it.Reset(s.Family, s.AddPath, s.Withdraw, s.Field)
				for it.Next() {
					n += len(it.Key)
				}
			}
		}
		sink += n
	}
	reportRoutes(b, start, routes)
}

func BenchmarkParse(b *testing.B) {
	pdus, routes, _ := benchPDUs()
	var u Update
	start := cpu(b)
	for b.Loop() {
		for _, p := range pdus {
			if u.Parse(p, Context{AS4: true}) != nil {
				b.Fatal("malformed")
			}
		}
	}
	reportRoutes(b, start, routes)
}

// BenchmarkVPN is the same for labelled routes in MP_REACH_NLRI, one an UPDATE.
func BenchmarkVPN(b *testing.B) {
	attrs := unhex(b, mandated+"80 0e 20 0001 80 0c 0000000000000000 0a000001 00 70 0003e1 0000fde800000001 c00002")
	pdu := update(nil, attrs, nil)
	var u Update
	var it NLRI
	rec := make([]byte, 0, 512)
	start := cpu(b)
	for b.Loop() {
		if u.Parse(pdu, Context{AS4: true}) != nil || u.Malformed != nil {
			b.Fatal(u.Malformed)
		}
		it.Reset(u.Reach.Family, false, false, u.Reach.NLRI)
		for it.Next() {
			rec = u.AppendRecord(rec[:0], u.Reach.Family, it.Extra)
		}
	}
	reportRoutes(b, start, 1)
}

// The accessors that filters ask of every attribute set.
func BenchmarkAccessors(b *testing.B) {
	pdus, _, _ := benchPDUs()
	var recs [][]byte
	for _, p := range pdus {
		var u Update
		if u.Parse(p, Context{AS4: true}) != nil {
			b.Fatal("malformed")
		}
		recs = append(recs, u.AppendRecord(nil, IPv4Unicast, nil))
	}
	for _, bench := range []struct {
		name string
		f    func(rec []byte)
	}{
		{"NextHop", func(rec []byte) { NextHop(rec) }},
		{"OriginAS", func(rec []byte) { OriginAS(rec) }},
		{"MED", func(rec []byte) { MED(rec) }},
		{"HasCommunity", func(rec []byte) { HasCommunity(rec, 65000<<16|1) }},
		{"HasAS", func(rec []byte) { HasAS(rec, 4711) }},
		{"AppendASPath", func() func(rec []byte) {
			buf := make([]byte, 0, 256)
			return func(rec []byte) { buf = AppendASPath(buf[:0], rec) }
		}()},
		{"Decode", func(rec []byte) { Decode(rec, IPv4Unicast) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				bench.f(recs[i&4095])
				i++
			}
		})
	}
}
