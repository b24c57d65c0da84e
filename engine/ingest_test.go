package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"bmp/engine/client"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// ingestStream is the dump of a router: peers with so many IPv4 routes each, 3.5 to an UPDATE on average, 75 bytes of
// attributes. The peers are interleaved.
func ingestStream(peers, routes int) []byte {
	s := new(bmptest.Session).Initiation("edge1", "bench")
	list := make([]bmptest.Peer, peers)
	for i := range list {
		list[i] = bmptest.NewPeer(fmt.Sprintf("10.0.%d.%d", i>>8, i&255), uint32(65001+i))
		s.PeerUp(list[i])
	}
	out := append([]byte(nil), s.Bytes()...)
	next := make([]int, peers)
	for n := 0; ; n++ {
		done := true
		for i, p := range list {
			if next[i] >= routes {
				continue
			}
			done = false
			u := bmptest.Update{
				ASPath:      []uint32{p.Header.AS, uint32(64512 + n%500), uint32(4200000000 + n/3), uint32(n)},
				NextHop:     p.Header.Address,
				Communities: []uint32{uint32(n), uint32(n + 1), uint32(n + 2)},
			}
			for range 3 + n&1 {
				var a [4]byte
				binary.BigEndian.PutUint32(a[:], uint32(0x14000000+next[i]<<8))
				u.Announce = append(u.Announce, bmptest.NLRI{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 24)})
				next[i]++
			}
			m := bmp.RouteMonitoring{PeerHeader: p.Header, Update: u.Bytes()}
			m.PeerHeader.Sec = 0
			out, _ = m.Append(out, bmp.Encoding{})
		}
		if done {
			return out
		}
	}
}

// BenchmarkIngest reports the processor time of the whole process, the sending side included, for each route that a
// router dumps over loopback TCP.
func BenchmarkIngest(b *testing.B) {
	for _, size := range []struct{ peers, routes int }{{10, 20_000}, {10, 200_000}} {
		b.Run(fmt.Sprintf("peers=%d/routes=%d", size.peers, size.routes), func(b *testing.B) {
			stream := ingestStream(size.peers, size.routes)
			b.ReportAllocs()
			var cpu int64
			for b.Loop() {
				b.StopTimer()
				s := startStation(b, nil)
				b.StartTimer()
				before := processCPU()
				c := replay(b, s, stream)
				cpu += processCPU() - before
				b.StopTimer()
				if got := c.Brief(); got.Routes < size.peers*size.routes || got.State != client.Down {
					b.Fatalf("%d routes held", got.Routes)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(cpu)/float64(b.N)/float64(size.peers*size.routes), "cpu-ns/route")
		})
	}
}

// processCPU is the processor time used so far, nanoseconds.
func processCPU() int64 {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
