package archive

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// synthetic makes a stream with the shape of rib.md's generator: peers that announce the same prefixes, about three to an
// UPDATE, half of their attribute sets shared, then updates of random ones.
func synthetic(rng *rand.Rand, peers, routes, updates int) (messages [][]byte, n int) {
	type attr struct {
		path        []uint32
		communities []uint32
	}
	makeAttr := func() (a attr) {
		for range 2 + rng.IntN(6) {
			a.path = append(a.path, 1000+rng.Uint32N(64000)) // 2-octet range, as most are
		}
		for range rng.IntN(5) {
			a.communities = append(a.communities, a.path[0]<<16|rng.Uint32N(3000))
		}
		return a
	}
	shared := make([]attr, routes/6+1)
	for i := range shared {
		shared[i] = makeAttr()
	}
	prefixes := make([]bmptest.NLRI, routes)
	next := uint32(0x01000000)
	for i := range prefixes {
		bits := 24
		if x := rng.IntN(100); x < 40 {
			bits = 16 + rng.IntN(8)
		}
		size := uint32(1) << (32 - bits)
		next = (next+size-1)&^(size-1) + size*uint32(rng.IntN(3))
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], next)
		prefixes[i].Prefix = netip.PrefixFrom(netip.AddrFrom4(a), bits)
		next += size
	}
	all := make([]bmptest.Peer, peers)
	for i := range all {
		all[i] = bmptest.NewPeer(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String(), 65000+uint32(i))
	}
	s := new(bmptest.Session).Initiation("synthetic", "")
	clock := time.Unix(1_700_000_000, 0)
	announce := func(p bmptest.Peer, nlri []bmptest.NLRI, set int) {
		a := shared[set%len(shared)]
		if set%2 == 0 {
			a = makeAttr()
		}
		a.path = append([]uint32{p.Header.AS}, a.path...)
		s.Time = clock
		s.Monitor(p, bmp.AdjInPre, bmptest.Update{ASPath: a.path, Communities: a.communities, NextHop: p.Header.Address, Announce: nlri}.Bytes())
		n += len(nlri)
	}
	for _, p := range all {
		s.PeerUp(p)
	}
	for at := 0; at < routes; {
		k := min(1+rng.IntN(5), routes-at)
		for _, p := range all {
			clock = clock.Add(20 * time.Microsecond)
			announce(p, prefixes[at:at+k], at)
		}
		at += k
	}
	for _, p := range all {
		s.EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast)
	}
	for range updates {
		clock = clock.Add(5 * time.Millisecond)
		p := all[rng.IntN(peers)]
		at := rng.IntN(routes)
		k := min(1+rng.IntN(5), routes-at)
		if rng.IntN(5) == 0 {
			s.Time = clock
			s.Monitor(p, bmp.AdjInPre, bmptest.Update{Withdraw: prefixes[at : at+k]}.Bytes())
			n += k
		} else {
			announce(p, prefixes[at:at+k], rng.IntN(routes))
		}
	}
	return s.Messages(), n
}

// cpu is the CPU time of the process so far.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkCodec(b *testing.B) {
	messages, routes := synthetic(rand.New(rand.NewPCG(1, 1)), 10, 20_000, 50_000)
	var blocks [][]byte
	var counts []int
	raw := 0
	for len(messages) > 0 {
		n, size := 0, 0
		for n < len(messages) && size < blockBytes {
			size += recordHeader + len(messages[n])
			raw += len(messages[n])
			n++
		}
		block, count := blockOf(messages[:n], nil)
		blocks, counts = append(blocks, block), append(counts, count)
		messages = messages[n:]
	}
	e, d := codecs(b)
	for _, name := range []string{"encode", "decode"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(raw))
			size := 0
			var payloads [][]byte
			for i := range blocks {
				payloads = append(payloads, append([]byte(nil), e.encode(blocks[i], counts[i])...))
			}
			start := cpu()
			for b.Loop() {
				size = 0
				for i := range blocks {
					if name == "decode" {
						if _, _, err := d.decode(payloads[i]); err != nil {
							b.Fatal(err)
						}
						continue
					}
					size += len(e.encode(blocks[i], counts[i]))
				}
			}
			b.ReportMetric((cpu()-start).Seconds()*1e6/float64(b.N)/float64(routes), "CPU-s/Mroutes")
			if size > 0 {
				b.ReportMetric(float64(raw)/float64(size), "ratio")
				b.ReportMetric(float64(raw)/float64(routes), "rawB/route")
			}
		})
	}
}
