package archive

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// synthetic makes a stream with the shape of rib.md's generator: peers that announce the same prefixes, about three to an
// UPDATE, half of their attribute sets shared, then updates of random ones.
func synthetic(rng *rand.Rand, peers, routes, updates int) (messages [][]byte, n int) {
	return synthetic2(rng, peers, routes, routes, updates)
}

// synthetic2 has the peers announce only the first dump of the routes at the beginning.
func synthetic2(rng *rand.Rand, peers, routes, dump, updates int) (messages [][]byte, n int) {
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
	for at := 0; at < dump; {
		k := min(1+rng.IntN(5), dump-at)
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
	for _, name := range []string{"encode", "encode-hot", "decode"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(raw))
			size := 0
			var payloads [][]byte
			for i := range blocks {
				payloads = append(payloads, append([]byte(nil), e.encode(blocks[i], counts[i], name == "encode-hot")...))
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
					size += len(e.encode(blocks[i], counts[i], name == "encode-hot"))
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

// BenchmarkIngest is all that the archive costs: Append, packing, and the embedded server's writing.
func BenchmarkIngest(b *testing.B) {
	messages, routes := synthetic(rand.New(rand.NewPCG(1, 1)), 10, 20_000, 50_000)
	raw := 0
	for _, m := range messages {
		raw += len(m)
	}
	a := open(b, Options{})
	p := a.Client(1)
	b.ReportAllocs()
	b.SetBytes(int64(raw))
	start := cpu()
	for b.Loop() {
		now := time.Now()
		offset := int64(0)
		for _, m := range messages {
			for !p.Append(&Entry{Time: now, Offset: offset, Raw: m, Context: bgp.Context{AS4: true}}) {
				<-time.After(time.Millisecond) // faster than the disk: wait, to measure all of it
			}
			offset += int64(len(m))
		}
		syncArchive(b, a, 1)
	}
	b.ReportMetric((cpu()-start).Seconds()*1e6/float64(b.N)/float64(routes), "CPU-s/Mroutes")
	b.ReportMetric(float64(a.rawBytes.Load())/float64(a.packedBytes.Load()), "ratio")
	if st, err := a.Stats(bg); err == nil {
		b.ReportMetric(float64(st.Raw)/float64(st.Bytes), "ratio-on-disk")
	}
}

// BenchmarkAppend is what the session goroutine pays for a message.
func BenchmarkAppend(b *testing.B) {
	messages, _ := synthetic(rand.New(rand.NewPCG(1, 1)), 10, 1000, 1000)
	a := open(b, Options{QueueBytes: 1 << 30})
	p := a.Client(1)
	b.ReportAllocs()
	i := 0
	e := Entry{Time: time.Now()}
	for b.Loop() {
		e.Raw = messages[i%len(messages)]
		p.Append(&e)
		i++
	}
}

// BenchmarkFind looks for one peer's minute in 1 GiB of messages of a day.
func BenchmarkFind(b *testing.B) {
	messages, _ := synthetic(rand.New(rand.NewPCG(1, 1)), 100, 100, 200_000)
	a := open(b, Options{})
	p := a.Client(1)
	at := time.Now().Add(-24 * time.Hour)
	begin := at
	total := 0
	for total < 1<<30 {
		for _, m := range messages {
			for !p.Append(&Entry{Time: at, Raw: m, Context: bgp.Context{AS4: true}}) {
				<-time.After(time.Millisecond)
			}
			at = at.Add(5 * time.Millisecond)
			total += len(m)
		}
	}
	syncArchive(b, a, 1)
	span := at.Sub(begin)
	var h bmp.PerPeerHeader
	peerHeader(messages[50], &h)
	key := PeerKeyOf(&h)
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	found := 0
	for b.Loop() {
		from := begin.Add(time.Duration(rng.Int64N(int64(span - time.Minute))))
		if _, err := a.Messages(bg, 1, Query{From: from, To: from.Add(time.Minute), Peer: &key}, func(*Message) error { found++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(found)/float64(b.N), "messages")
}

// day makes the archive of one day of 100 peers, 200 updates a second in all, blocks of a second each.
// One prefix, hot, flaps all the time.
func day(b *testing.B) (a *Archive, peers []PeerKey, prefixes [][]byte, hot []byte, begin time.Time) {
	messages, _ := synthetic2(rand.New(rand.NewPCG(1, 1)), 100, 200_000, 2000, 400_000)
	a = open(b, Options{})
	p := a.Client(1)
	begin = time.Now().Add(-25 * time.Hour)
	at := begin
	p.Begin(SessionRecord{Time: at})
	dump := 100*2000/3 + 300
	var u bgp.Update
	seen := map[PeerKey]bool{}
	put := func(m []byte) {
		for !p.Append(&Entry{Time: at, Raw: m, Context: bgp.Context{AS4: true}}) {
			<-time.After(time.Millisecond)
		}
	}
	for i, m := range messages[:min(dump, len(messages))] {
		put(m)
		at = at.Add(time.Millisecond)
		var h bmp.PerPeerHeader
		if peerHeader(m, &h) && !seen[PeerKeyOf(&h)] {
			seen[PeerKeyOf(&h)] = true
			peers = append(peers, PeerKeyOf(&h))
		}
		if i%97 == 0 && len(m) > 70 && messageType(m) == bmp.RouteMonitoringType && u.Parse(m[48:], bgp.Context{AS4: true}) == nil && len(u.NLRI) > 0 {
			it := bgp.SplitNLRI(bgp.IPv4Unicast, false, false, u.NLRI)
			it.Next()
			prefixes = append(prefixes, append([]byte(nil), it.Key...))
		}
	}
	updates := messages[len(messages)-390_000:]
	flapping := bmptest.NewPeer("10.0.0.7", 65007)
	var flaps bmptest.Session
	for i := range 2 {
		flaps.Monitor(flapping, bmp.AdjInPre, bmptest.Update{ASPath: []uint32{65007, uint32(i + 1)}, Announce: bmptest.Prefixes("192.0.2.0/24")}.Bytes())
	}
	hot = bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("192.0.2.0/24"))
	k := 0
	for i := range 86_400 {
		put(flaps.Messages()[i%2])
		for range 200 {
			put(updates[k%len(updates)])
			k++
			at = at.Add(5 * time.Millisecond)
		}
		p.mu.Lock()
		p.seal()
		p.mu.Unlock()
	}
	syncArchive(b, a, 1)
	return a, peers, prefixes, hot, begin
}

// BenchmarkDay asks about random times of a day.
func BenchmarkDay(b *testing.B) {
	start := cpu()
	a, peers, prefixes, hot, begin := day(b)
	st, _ := a.Stats(bg)
	b.Logf("made with %s CPU: %d blocks, %d MiB raw, ratio %.2f packed, %.2f on disk, index %d MiB", (cpu() - start).Round(time.Second), st.Blocks, st.Raw>>20,
		st.Ratio(), float64(st.Raw)/float64(st.Bytes+st.Index), st.Index>>20)
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() time.Time { return begin.Add(time.Hour + time.Duration(rng.Int64N(int64(23*time.Hour)))) }
	// measure asks again and again, and reports the median of the times and the CPU time of the process for each: wall times are also
	// those of whoever else uses the machine.
	measure := func(name string, ask func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			var times []time.Duration
			start := cpu()
			for b.Loop() {
				t := time.Now()
				ask(b)
				times = append(times, time.Since(t))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "median-ms")
			b.ReportMetric(float64((cpu()-start).Milliseconds())/float64(len(times)), "CPU-ms/op")
		})
	}
	at := func(b *testing.B, w Want, t time.Time) {
		h, err := a.At(bg, 1, w, t)
		if err != nil || len(h.Routes) == 0 || h.Incomplete {
			b.Fatal(len(h.Routes), h.Incomplete, err)
		}
	}
	of := func(key []byte) Want { return Want{Keys: []RouteKey{{bgp.IPv4Unicast, key}}} }
	measure("prefix", func(b *testing.B) { at(b, of(prefixes[rng.IntN(len(prefixes))]), random()) })
	measure("hot-prefix", func(b *testing.B) { at(b, of(hot), random()) })
	// The day repeats itself every half hour, so that most of the updates change nothing; they are read all the same.
	measure("history", func(b *testing.B) {
		if _, err := a.History(bg, 1, of(prefixes[rng.IntN(len(prefixes))]), begin.Add(time.Hour), random(), func(*Change) error { return nil }); err != nil {
			b.Fatal(err)
		}
	})
	measure("peer", func(b *testing.B) { at(b, Want{Peers: peers[:1]}, random()) })
	if err := a.Checkpoint(bg, 1, begin.Add(12*time.Hour), peers[:1]); err != nil {
		b.Fatal(err)
	}
	measure("peer-with-checkpoint-an-hour-before", func(b *testing.B) { at(b, Want{Peers: peers[:1]}, begin.Add(13*time.Hour)) })
}
