package rib

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"bmp/proto/bgp"
)

// Sizes of the benchmarks. The large ones are run by hand: RIB_PEERS=100 go test -bench 'Full' -benchtime 1x
// -timeout 1h.
func benchSize(name string, small int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return v
	}
	return small
}

// stream is one peer's initial dump as the store sees it: UPDATEs of about three prefixes with one record.
type stream struct {
	recs    []byte // length 2, record
	updates []streamUpdate
	keys    []byte // 5 bytes: bits, address
}

type streamUpdate struct {
	rec  uint32 // offset in recs
	keys uint8
}

func (s *stream) record(u streamUpdate) []byte {
	n := binary.LittleEndian.Uint16(s.recs[u.rec:])
	return s.recs[u.rec+2:][:n]
}

// generator makes the synthetic full tables of the published measurements: prefixes of which each peer announces 95
// %, 60 % of them /24; one attribute set for about 6 prefixes, random bytes of 75 on average; half of the sets are
// shared among 10 peers; the order of sets differs from peer to peer.
type generator struct {
	prefixes []uint64 // address << 8 | bits
	order    []uint32
	sharing  bool
	out      stream
}

const perSet = 6

func newGenerator(prefixes int) *generator {
	g := &generator{sharing: true}
	r := rand.New(rand.NewPCG(1, 2))
	seen := make(map[uint64]struct{}, prefixes)
	for len(g.prefixes) < prefixes {
		bits := uint64(24)
		if r.IntN(10) >= 6 {
			bits = 12 + r.Uint64N(12)
		}
		p := uint64(r.Uint32())>>(32-bits)<<(32-bits)<<8 | bits
		if _, ok := seen[p]; !ok {
			seen[p] = struct{}{}
			g.prefixes = append(g.prefixes, p)
		}
	}
	g.order = make([]uint32, (prefixes+perSet-1)/perSet)
	for i := range g.order {
		g.order[i] = uint32(i)
	}
	return g
}

// key is the canonical key of prefix i.
func (g *generator) key(i int) []byte { return key4(int(g.prefixes[i]&0xff), uint32(g.prefixes[i]>>8)) }

// appendRecord makes the record of one set: 50 to 100 bytes.
func appendRecord(dst []byte, seed uint64) []byte {
	x := seed*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
	next := func() uint64 {
		x ^= x >> 30
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 27
		x *= 0x94d049bb133111eb
		x ^= x >> 31
		return x
	}
	hops, comms := 2+int(next()%7), int(next()%8)
	dst = append(dst, 1, 0x40, 1, 1, 0, 0x40, 2, byte(2+4*hops), 2, byte(hops))
	for range hops {
		dst = binary.BigEndian.AppendUint32(dst, uint32(next()%70000))
	}
	dst = append(dst, 0x40, 3, 4, 10, 0, byte(seed>>8%16), byte(seed%250), 0x40, 5, 4, 0, 0, 0, 100)
	dst = append(dst, 0xc0, 8, byte(8+4*comms))
	for range 2 + comms {
		dst = binary.BigEndian.AppendUint32(dst, uint32(next()))
	}
	return dst
}

// peer makes the stream of a peer. version changes all attribute sets.
func (g *generator) peer(p, version int) *stream {
	r := rand.New(rand.NewPCG(uint64(p), 7))
	r.Shuffle(len(g.order), func(i, j int) { g.order[i], g.order[j] = g.order[j], g.order[i] })
	s := &g.out
	s.recs, s.updates, s.keys = s.recs[:0], s.updates[:0], s.keys[:0]
	for _, set := range g.order {
		group := uint64(p)<<40 | 1<<63
		if g.sharing && set%2 == 0 {
			group = uint64(p/10) << 40
		}
		at := len(s.recs)
		s.recs = appendRecord(append(s.recs, 0, 0), group|uint64(version)<<32|uint64(set))
		binary.LittleEndian.PutUint16(s.recs[at:], uint16(len(s.recs)-at-2))
		n := 0
		for i := int(set) * perSet; i < min(int(set+1)*perSet, len(g.prefixes)); i++ {
			if (uint64(p)<<32|uint64(i))*0x9e3779b97f4a7c15>>32%20 == 0 {
				continue // this peer does not have it
			}
			k := g.prefixes[i]
			s.keys = append(s.keys, byte(k), byte(k>>32), byte(k>>24), byte(k>>16), byte(k>>8))
			if n++; n == 3 {
				s.updates = append(s.updates, streamUpdate{uint32(at), 3})
				n = 0
			}
		}
		if n > 0 {
			s.updates = append(s.updates, streamUpdate{uint32(at), uint8(n)})
		}
	}
	return s
}

// load announces a stream.
func (s *stream) load(w *Writer, t *Table, now time.Time) (routes int) {
	keys := s.keys
	for _, u := range s.updates {
		rec := s.record(u)
		for range u.keys {
			w.Announce(t, keys[:1+(keys[0]+7)/8], 0, rec, now)
			keys = keys[5:]
		}
		routes += int(u.keys)
	}
	w.Flush()
	return routes
}

// cpu is the CPU time of the thread, to which the goroutine is locked: others on the machine, the collector and the
// sweep do not count.
func cpu() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss is the resident memory of the process.
func rss() int64 {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	kib, _ := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	return kib << 10
}

var benchNow = testEpoch.Add(24 * time.Hour)

// fullTables loads n peers and reports what it costs.
type fullTables struct {
	s      *Store
	g      *generator
	tables []*Table
	routes int
	before int64
}

func loadFull(b *testing.B, peers, prefixes int, sharing bool) *fullTables {
	g := newGenerator(prefixes)
	g.sharing = sharing
	g.peer(0, 0)
	f := &fullTables{g: g, before: rss()}
	f.s = testStore(b, Options{})
	w := f.s.NewWriter()
	var spent, longest time.Duration
	runtime.GC()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	for p := range peers {
		s := g.peer(p, 0)
		t := f.s.NewTable(Owner{Client: uint32(p / 10), Peer: uint32(p), Family: bgp.IPv4Unicast}, false)
		f.tables = append(f.tables, t)
		from, wall := cpu(), time.Now()
		f.routes += s.load(w, t, benchNow)
		spent += cpu() - from
		longest = max(longest, time.Since(wall))
	}
	runtime.ReadMemStats(&m1)
	b.ReportMetric(float64(spent.Nanoseconds())/float64(f.routes), "load-ns/route")
	b.ReportMetric(float64(m1.NumGC-m0.NumGC), "GCs")
	b.ReportMetric(float64(rss()-f.before)/float64(f.routes), "B/route")
	b.ReportMetric(float64(f.routes), "routes")
	st := f.s.Stats()
	if st.Routes != int64(f.routes) {
		b.Fatalf("%d routes held, want %d", st.Routes, f.routes)
	}
	b.Logf("%d sets: attributes %.2f, index %.2f, cells %.2f, dictionary %.2f, tables %.2f, free %.2f B/route; %d sweeps; longest peer %v; %v",
		st.AttributeSets, per(st.AttributeBytes, f.routes), per(st.AttributeIndex, f.routes), per(st.CellBytes, f.routes),
		per(st.DictionaryBytes, f.routes), per(st.TableBytes, f.routes), per(st.FreeBytes+st.QueueBytes, f.routes), st.Sweeps, longest, st.Fallbacks)
	return f
}

func per(n int64, routes int) float64 { return float64(n) / float64(routes) }

// BenchmarkFull loads full tables into one store and then asks and changes everything, once each.
func BenchmarkFull(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	peers, prefixes := benchSize("RIB_PEERS", 4), benchSize("RIB_PREFIXES", 1_050_000)
	for range b.N {
		f := loadFull(b, peers, prefixes, os.Getenv("RIB_UNSHARED") == "")
		f.questions(b)
		f.churn(b)
		f.down(b)
	}
}

// timed is the CPU time of fn in ns for each of n.
func timed(n int, fn func()) float64 {
	from := cpu()
	fn()
	return float64((cpu() - from).Nanoseconds()) / float64(n)
}

type attributeQuestion struct {
	name string
	test func(rec []byte) bool
}

// attributeQuestions select few routes of full tables by what their attributes say.
func attributeQuestions() []attributeQuestion {
	nextHop, community := netip.AddrFrom4([4]byte{10, 0, 3, 77}), uint32(0)
	rec := appendRecord(nil, 0)
	community = binary.BigEndian.Uint32(rec[len(rec)-4:])
	return []attributeQuestion{
		{"next-hop", func(rec []byte) bool { a, ok := bgp.NextHop(rec); return ok && a == nextHop }},
		{"as-path", func(rec []byte) bool { return bgp.HasAS(rec, 4711) }},
		{"community", func(rec []byte) bool { return bgp.HasCommunity(rec, community) }},
	}
}

func (f *fullTables) questions(b *testing.B) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(3, 4))
	found := 0
	count := func(batch []Route) error { found += len(batch); return nil }
	ask := func(name string, n int, q func() Query) {
		found = 0
		ns := timed(n, func() {
			for range n {
				if err := f.s.Query(ctx, q(), count); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.ReportMetric(ns/1000, name+"-us")
		b.Logf("%s: %.1f us, %.1f routes", name, ns/1000, float64(found)/float64(n))
	}
	some := func() []byte { return f.g.key(r.IntN(len(f.g.prefixes))) }
	ask("exact", 10000, func() Query { return Query{Family: bgp.IPv4Unicast, Match: Exact, Key: some()} })
	ask("lpm", 10000, func() Query {
		k := some()
		return Query{Family: bgp.IPv4Unicast, Match: LPM, Key: append([]byte{32}, append(k[1:], 1, 1, 1, 1)[:4]...)}
	})
	ask("longer-first", 1, func() Query { return Query{Family: bgp.IPv4Unicast, Match: Longer, Key: key4(16, 0x0a0a0000)} })
	ask("longer-16", 1000, func() Query {
		return Query{Family: bgp.IPv4Unicast, Match: Longer, Key: key4(16, r.Uint32()&0xffff0000)}
	})
	ask("walk-peer", 1, func() Query { return Query{Family: bgp.IPv4Unicast, Tables: f.tables[:1]} })
	for _, a := range attributeQuestions() {
		for _, sorted := range []bool{false, true} {
			name := a.name + map[bool]string{true: "-sorted"}[sorted]
			start, first := time.Now(), time.Duration(0)
			found = 0
			b.ReportMetric(timed(1, func() {
				q := Query{Family: bgp.IPv4Unicast, Attrs: a.test, Sorted: sorted}
				if err := f.s.Query(ctx, q, func(batch []Route) error {
					if found == 0 {
						first = time.Since(start)
					}
					found += len(batch)
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			})/1e6, name+"-ms")
			b.Logf("%s: %d routes, the first after %v, all after %v", name, found, first, time.Since(start))
		}
	}
	ask("count", 1, func() Query { return Query{Family: bgp.IPv4Unicast, Limit: 1} })
	if t, err := f.s.Count(ctx, Query{Family: bgp.IPv4Unicast}); err != nil || t.Routes != f.routes {
		b.Fatal(t, err)
	}
	// Cancellation.
	var worst time.Duration
	for i := range 20 {
		c, cancel := context.WithCancel(ctx)
		var at time.Time
		time.AfterFunc(time.Duration(i)*2*time.Millisecond, func() { at = time.Now(); cancel() })
		_ = f.s.Query(c, Query{Family: bgp.IPv4Unicast, Attrs: func(rec []byte) bool { return len(rec) == 1 }}, count)
		if c.Err() != nil {
			worst = max(worst, time.Since(at))
		}
		cancel()
	}
	b.ReportMetric(float64(worst.Microseconds())/1000, "cancel-ms")
}

// churn changes 1 % of the routes of all peers, interleaved: one route of each peer in turn, 3 of a set.
func (f *fullTables) churn(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	n := max(f.routes/100, benchSize("RIB_CHANGES", 300_000))
	keys := make([][]byte, n/3+1)
	recs := make([][]byte, n/3+1)
	for i := range keys {
		keys[i] = f.g.key(r.IntN(len(f.g.prefixes)))
		recs[i] = appendRecord(nil, 1<<62|uint64(i))
	}
	w := f.s.NewWriter()
	ns := timed(n, func() {
		i := 0
		for k := range keys {
			for j := range 3 {
				if i++; i > n {
					break
				}
				w.Announce(f.tables[(k*3+j)%len(f.tables)], keys[(k+j)%len(keys)], 0, recs[k], benchNow.Add(time.Hour))
			}
		}
		w.Flush()
	})
	b.ReportMetric(ns, "churn-ns/change")
	// A change has to find the prefix, the cell and the time of change, and for each set its slot and a place.
	p := f.places()
	b.ReportMetric(ns/(loads(p.prefixes, p.cells, p.changeTimes)+loads(p.sets, p.records)/3), "churn-x-floor")
}

// BenchmarkChurn changes routes of full tables, one of each peer in turn, three of an attribute set that is new, and
// withdraws and announces again three of ten. Unlike others it counts all of the process: sweeps are part of it.
func BenchmarkChurn(b *testing.B) {
	const changes = 4_000_000
	f := loadFull(b, benchSize("RIB_PEERS", 10), 1_050_000, true)
	r := rand.New(rand.NewPCG(5, 6))
	keys, recs := make([][5]byte, changes), make([][]byte, changes/3+1)
	b.ResetTimer()
	b.ReportAllocs()
	w := f.s.NewWriter()
	sweeps, spent := f.s.Stats().Sweeps, time.Duration(0)
	for n := range b.N {
		// As on a wire, what changes comes in the order of memory.
		for i := range keys {
			copy(keys[i][:], f.g.key(r.IntN(len(f.g.prefixes))))
		}
		for i := range recs {
			recs[i] = appendRecord(recs[i][:0], 1<<62|uint64(n)<<32|uint64(i))
		}
		from := processCPU()
		for j := range keys {
			t, k := f.tables[j%len(f.tables)], keys[j][:1+(keys[j][0]+7)/8]
			if j/len(f.tables)%10 < 3 {
				w.Withdraw(t, k, 0, benchNow.Add(time.Hour))
			} else {
				w.Announce(t, k, 0, recs[j/3], benchNow.Add(time.Hour))
			}
		}
		w.Flush()
		spent += processCPU() - from
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/changes, "cpu-ns/change")
	b.ReportMetric(float64(f.s.Stats().Sweeps-sweeps)/float64(b.N), "sweeps")
}

// BenchmarkSweep sweeps full tables in which nothing has died.
func BenchmarkSweep(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := loadFull(b, benchSize("RIB_PEERS", 10), 1_050_000, true)
	b.ResetTimer()
	b.ReportAllocs()
	from := cpu()
	for range b.N {
		if _, err := f.s.Sweep(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu()-from).Nanoseconds())/float64(b.N)/float64(f.routes), "cpu-ns/route")
}

// processCPU is the CPU time of all threads.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (f *fullTables) down(b *testing.B) {
	var worst time.Duration
	from := cpu()
	n := min(len(f.tables), 10)
	for _, t := range f.tables[:n] {
		at := time.Now()
		t.Clear(benchNow)
		worst = max(worst, time.Since(at))
	}
	b.ReportMetric(float64((cpu()-from).Microseconds())/float64(n)/1000, "down-ms")
	b.ReportMetric(float64(worst.Microseconds())/1000, "down-worst-ms")
}

// BenchmarkSparse holds 1,000 routes of each of 10,000 peers, with few attribute sets, and asks for prefixes over
// all of them.
func BenchmarkSparse(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	peers, each := benchSize("RIB_SPARSE_PEERS", 10_000), 1000
	for range b.N {
		g := newGenerator(1_050_000)
		recs := make([][]byte, 1000)
		for i := range recs {
			recs[i] = appendRecord(nil, uint64(i))
		}
		r := rand.New(rand.NewPCG(8, 9))
		which := make([][5]byte, each)
		before := rss()
		s := testStore(b, Options{})
		w := s.NewWriter()
		var spent time.Duration
		for p := range peers {
			t := s.NewTable(Owner{Client: uint32(p), Peer: uint32(p), Family: bgp.IPv4Unicast}, false)
			for i := range which {
				k := g.prefixes[r.IntN(len(g.prefixes))]
				which[i] = [5]byte{byte(k), byte(k >> 32), byte(k >> 24), byte(k >> 16), byte(k >> 8)}
			}
			from := cpu()
			for i := range which {
				k := &which[i]
				w.Announce(t, k[:1+(k[0]+7)/8], 0, recs[(p+i/3)%len(recs)], benchNow)
			}
			w.Flush()
			spent += cpu() - from
		}
		st := s.Stats()
		routes := int(st.Routes)
		b.ReportMetric(float64(rss()-before)/float64(routes), "B/route")
		b.ReportMetric(float64(spent.Nanoseconds())/float64(routes), "load-ns/route")
		b.Logf("%d routes: cells %.2f, dictionary %.2f, tables %.2f, attributes %.2f, free %.2f B/route", routes, per(st.CellBytes, routes),
			per(st.DictionaryBytes, routes), per(st.TableBytes, routes), per(st.AttributeBytes+st.AttributeIndex, routes), per(st.FreeBytes+st.QueueBytes, routes))
		found, most := 0, 0.0
		const n = 5000
		for range 5 {
			most = max(most, timed(n/5, func() {
				for range n / 5 {
					q := Query{Family: bgp.IPv4Unicast, Match: Exact, Key: g.key(r.IntN(len(g.prefixes)))}
					if err := s.Query(b.Context(), q, func(batch []Route) error { found += len(batch); return nil }); err != nil {
						b.Fatal(err)
					}
				}
			}))
		}
		b.ReportMetric(most/1000, "exact-us")
		b.Logf("exact: %.1f routes", float64(found)/n)
		b.ReportMetric(timed(n, func() {
			for range n {
				q := Query{Family: bgp.IPv4Unicast, Match: LPM, Key: key4(32, r.Uint32())}
				if err := s.Query(b.Context(), q, func([]Route) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})/1000, "lpm-us")
		w = s.NewWriter()
		tables := s.Tables(bgp.IPv4Unicast)
		changes := 300_000
		keys := make([][]byte, 0, changes)
		from := make([]*Table, 0, changes)
		for range changes / 100 { // routes that are there
			t := tables[r.IntN(len(tables))]
			k := 0
			_ = s.Query(b.Context(), Query{Family: bgp.IPv4Unicast, Tables: []*Table{t}, Limit: 100}, func(batch []Route) error {
				for _, x := range batch {
					if k++; k <= 100 {
						keys, from = append(keys, append([]byte(nil), x.Key...)), append(from, t)
					}
				}
				return nil
			})
		}
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j], from[i], from[j] = keys[j], keys[i], from[j], from[i] })
		b.ReportMetric(timed(len(keys), func() {
			for i, k := range keys {
				w.Announce(from[i], k, 0, recs[i/3%len(recs)], benchNow.Add(time.Hour))
			}
			w.Flush()
		}), "churn-ns/change")
		b.ReportMetric(timed(len(keys), func() {
			for i, k := range keys {
				w.Announce(from[(i+7)%len(from)], k, 0, recs[i/3%len(recs)], benchNow.Add(time.Hour))
			}
			w.Flush()
		}), "insert-ns/route")
		b.ReportMetric(timed(1, func() { tables[0].Clear(benchNow) })/1000, "down-us")
	}
}

// BenchmarkRouters loads 100 routers of 10 peers with 10,000 of 1M prefixes each, all side by side: a router's 10 peers
// one after the other, of all routers some thousand routes in turn. "run" has peers whose routes follow each other in a
// table common to all, "scattered" has peers with any prefixes. In both, half of the attribute sets are the router's own.
func BenchmarkRouters(b *testing.B) {
	const routers, peers, each, slice, perSet = 100, 10, 10_000, 2_000, 10
	g := newGenerator(1_000_000)
	keys := make([][5]byte, len(g.prefixes))
	for i := range keys {
		copy(keys[i][:], g.key(i))
	}
	for _, name := range []string{"run", "scattered"} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			for range b.N {
				s := testStore(b, Options{})
				var writers [routers]*Writer
				var tables [routers]*Table
				for i := range writers {
					writers[i] = s.NewWriter()
				}
				routes, rec := 0, []byte(nil)
				pick := rand.New(rand.NewPCG(1, 2))
				before, from := rss(), cpu()
				for at := 0; at < peers*each; at += slice {
					for i, w := range writers {
						peer := uint32(i*peers + at/each)
						if at%each == 0 {
							tables[i] = s.NewTable(Owner{Client: uint32(i), Peer: peer, Family: bgp.IPv4Unicast}, false)
						}
						start := int(peer*2654435761) % len(keys)
						for k := at % each; k < at%each+slice; k++ {
							n := (start + k) % len(keys)
							if name == "scattered" {
								n = pick.IntN(len(keys))
							}
							if k%perSet == 0 || len(rec) == 0 {
								seed := uint64(n)
								if n&1 == 0 {
									seed |= uint64(i+1) << 32
								}
								rec = appendRecord(rec[:0], seed)
							}
							key := &keys[n]
							w.Announce(tables[i], key[:1+(key[0]+7)/8], 0, rec, benchNow)
							routes++
						}
						w.Flush()
					}
				}
				b.ReportMetric(float64((cpu()-from).Nanoseconds())/float64(routes), "load-ns/route")
				st := s.Stats()
				b.ReportMetric(per(rss()-before, int(st.Routes)), "B/route")
				b.ReportMetric(per(st.CellBytes, int(st.Routes)), "cell-B/route")
				dense := len(s.familyOf(bgp.IPv4Unicast, false).dense)
				b.Logf("%d routes, %d sets, %d sweeps; %d tables of %d dense", st.Routes, st.AttributeSets, st.Sweeps, dense, st.Tables)
			}
		})
	}
}

// BenchmarkEmpty is what 30,000 tables without a route take.
func BenchmarkEmpty(b *testing.B) {
	for range b.N {
		s := testStore(b, Options{NoBackground: true})
		s.NewTable(Owner{Family: bgp.IPv4Unicast}, false)
		var m0, m1 runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m0)
		const n = 30_000
		for i := range n {
			s.NewTable(Owner{Client: uint32(i), Family: bgp.IPv4Unicast}, false)
		}
		runtime.GC()
		runtime.ReadMemStats(&m1)
		b.ReportMetric(float64(m1.HeapAlloc-m0.HeapAlloc)/n, "B/table")
		runtime.KeepAlive(s)
	}
}

// BenchmarkRounds announces full tables ten times over, each time with all attributes changed, while sweeps run in
// the background. It fails when the memory afterwards, when the background has had its time, is more than 1.1 times
// what it was after the first time. most-x-RSS is the most it was meanwhile: what is announced during a sweep is
// only swept by the next.
func BenchmarkRounds(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	peers, prefixes, rounds := benchSize("RIB_PEERS", 10), benchSize("RIB_PREFIXES", 1_050_000), 10
	for range b.N {
		g := newGenerator(prefixes)
		g.peer(0, 0)
		base := rss()
		s := testStore(b, Options{})
		w := s.NewWriter()
		tables := make([]*Table, peers)
		var before int64
		var spent time.Duration
		routes, most := 0, 0.0
		for round := range rounds + 1 {
			for p := range peers {
				st := g.peer(p, round)
				if round == 0 {
					tables[p] = s.NewTable(Owner{Peer: uint32(p), Family: bgp.IPv4Unicast}, false)
				}
				from := cpu()
				n := st.load(w, tables[p], benchNow.Add(time.Duration(round)*time.Hour))
				if round > 0 {
					spent += cpu() - from
					routes += n
				}
			}
			if now := rss() - base; round == 0 {
				before = now
			} else {
				most = max(most, float64(now)/float64(before))
			}
		}
		for range 2 {
			if _, err := s.Sweep(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		after := float64(rss()-base) / float64(before)
		b.ReportMetric(after, "x-RSS")
		b.ReportMetric(most, "most-x-RSS")
		st := s.Stats()
		b.ReportMetric(float64(spent.Nanoseconds())/float64(routes), "ns/change")
		b.ReportMetric(float64(st.Sweeps), "sweeps")
		b.ReportMetric(float64(st.Throttled), "throttled")
		b.ReportMetric(float64(before)/float64(st.Routes), "B/route-before")
		b.Logf("%d sets in the end, %.1f MB in %.1f MB of extents; %.1f MB of pages, %.1f free; %.1f MB before, %.1f after",
			st.AttributeSets, float64(st.AttributeBytes)/1e6, float64(s.attrs.arena.next)*extentUnits*unitBytes/1e6,
			float64(s.big.next)*bigWords*8/1e6, float64(len(s.big.free))*bigWords*8/1e6, float64(before)/1e6, after*float64(before)/1e6)
		runtime.KeepAlive(g)
		if after > 1.1 {
			b.Fatalf("%.2f times the memory: %+v", after, st)
		}
	}
}

// BenchmarkFamilies loads each kind of table: two peers that announce the same keys, of a size natural to the family.
func BenchmarkFamilies(b *testing.B) {
	for _, f := range []struct {
		name    string
		family  bgp.Family
		keys    int
		addPath int
		key     func(i uint32) []byte
	}{
		{"ipv4", bgp.IPv4Unicast, 200_000, 0, func(i uint32) []byte { return key4(24, i<<8) }},
		{"ipv4-add-path-4", bgp.IPv4Unicast, 100_000, 4, func(i uint32) []byte { return key4(24, i<<8) }},
		{"ipv4-labeled", bgp.IPv4Labeled, 200_000, 0, func(i uint32) []byte { return key4(24, i<<8) }},
		{"ipv6", bgp.IPv6Unicast, 200_000, 0, func(i uint32) []byte {
			return binary.BigEndian.AppendUint32([]byte{48, 0x20, 1}, i)
		}},
		{"ipv4-vpn", bgp.IPv4VPN, 200_000, 0, func(i uint32) []byte {
			return append([]byte{24, 0, 0, 0xfd, 0xe8, 0, 0, byte(i % 3), byte(i % 251)}, byte(i>>16), byte(i>>8), byte(i))
		}},
		{"ipv6-vpn", bgp.IPv6VPN, 200_000, 0, func(i uint32) []byte {
			return binary.BigEndian.AppendUint32([]byte{48, 0, 0, 0xfd, 0xe8, 0, 0, 0, byte(i % 251), 0x20, 1}, i)
		}},
		{"evpn", bgp.L2VPNEVPN, 200_000, 0, func(i uint32) []byte {
			k := append([]byte{2, 25, 0, 1, 10, 0, 0, 1, 0, byte(i % 200)}, 0, 0, 0, 0, 48, 2, 0)
			return binary.BigEndian.AppendUint32(k, i)
		}},
		{"flowspec", bgp.IPv4FlowSpec, 100_000, 0, func(i uint32) []byte {
			return append([]byte{1, 24, byte(i >> 16), byte(i >> 8), byte(i), 3, 0x81, 6, 5, 0x91}, byte(i), byte(i>>8))
		}},
		{"unknown", bgp.Family{AFI: 9999, SAFI: 99}, 100_000, 0, func(i uint32) []byte {
			return binary.BigEndian.AppendUint32(make([]byte, 28), i)
		}},
	} {
		b.Run(f.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			for range b.N {
				keys, recs := make([][]byte, f.keys), make([][]byte, f.keys/5)
				for i := range keys {
					keys[i] = f.key(uint32(i))
				}
				for i := range recs {
					recs[i] = appendRecord(nil, uint64(i))
				}
				r := rand.New(rand.NewPCG(1, 1))
				s := testStore(b, Options{})
				w := s.NewWriter()
				paths := max(f.addPath, 1)
				var spent time.Duration
				for p := range uint32(2) {
					r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
					t := s.NewTable(Owner{Peer: p, Family: f.family}, f.addPath > 0)
					from := cpu()
					for i, k := range keys {
						for path := range paths {
							w.Announce(t, k, uint32(path), recs[(i+path)/5%len(recs)], benchNow)
						}
					}
					w.Flush()
					spent += cpu() - from
				}
				st := s.Stats()
				if st.Routes != int64(2*f.keys*paths) {
					b.Fatal(st)
				}
				b.ReportMetric(float64(spent.Nanoseconds())/float64(st.Routes), "load-ns/route")
				b.ReportMetric(per(st.CellBytes, int(st.Routes)), "cell-B/route")
				b.ReportMetric(per(st.DictionaryBytes, int(st.Prefixes)), "dict-B/prefix")
				b.ReportMetric(timed(20000, func() {
					for range 20000 {
						q := Query{Family: f.family, Match: Exact, Key: keys[r.IntN(len(keys))]}
						if err := s.Query(b.Context(), q, func([]Route) error { return nil }); err != nil {
							b.Fatal(err)
						}
					}
				})/1000, "exact-us")
				b.ReportMetric(timed(int(st.Routes), func() {
					n := 0
					if err := s.Query(b.Context(), Query{Family: f.family}, func(l []Route) error { n += len(l); return nil }); err != nil || int64(n) != st.Routes {
						b.Fatal(n, err)
					}
				}), "walk-ns/route")
				tables := s.Tables(f.family)
				b.ReportMetric(timed(f.keys*paths, func() {
					for _, k := range keys {
						for path := range paths {
							w.Withdraw(tables[0], k, uint32(path), benchNow)
						}
					}
					w.Flush()
				}), "withdraw-ns/route")
			}
		})
	}
}

// places is where random routes have what is looked at for them.
type places struct {
	cells, records, sets  []*uint64 // cell, attribute record, slot of the record
	prefixes, changeTimes []*uint64 // slot of the prefix, time of its last change
}

func (f *fullTables) places() (p places) {
	s, d := f.s, &f.tables[0].family.dict
	r := rand.New(rand.NewPCG(9, 9))
	for len(p.cells) < 1<<20 {
		id := 1 + r.Uint32N(d.maxID())
		cell := &s.big.big(f.tables[r.IntN(len(f.tables))].root.Load().page(id))[id%blockIDs]
		if *cell == 0 {
			continue
		}
		record := s.attrs.arena.block(cellAttr(*cell))
		h := s.attrs.hash(s.attrs.arena.record(cellAttr(*cell)))
		tag := d.tagOf(d.appendKey(s, nil, id))
		p.cells = append(p.cells, cell)
		p.records = append(p.records, (*uint64)(unsafe.Pointer(uintptr(unsafe.Pointer(&record[0]))&^7)))
		p.sets = append(p.sets, s.attrs.shard[h>>hashShard].slot(s, h<<attrShift))
		p.prefixes = append(p.prefixes, d.shard[tag%shards].slot(s, tag<<idBits))
		p.changeTimes = append(p.changeTimes, d.changedWord(s, id))
	}
	return p
}

// loads is the CPU time in ns of one load from each list, none of which waits for another: what no layout with these
// in places of their own gets below, whatever it does with what it loads.
func loads(lists ...[]*uint64) float64 {
	sum, from := uint64(0), cpu()
	for i := range lists[0] {
		for _, l := range lists {
			sum += *l[i]
		}
	}
	spent := cpu() - from
	runtime.KeepAlive(sum)
	return float64(spent.Nanoseconds()) / float64(len(lists[0]))
}

// BenchmarkExact asks for one prefix over full tables, again and again. x-floor is what a route found takes, against
// loading its cell and its record alone.
func BenchmarkExact(b *testing.B) {
	f := loadFull(b, benchSize("RIB_PEERS", 30), 1_050_000, true)
	p := f.places()
	runtime.LockOSThread()
	floor := loads(p.cells, p.records)
	runtime.UnlockOSThread()
	for _, m := range []Match{Exact, LPM} {
		b.Run([]string{"", "exact", "lpm"}[m], func(b *testing.B) {
			r := rand.New(rand.NewPCG(3, 4))
			n := 0
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			from := cpu()
			for range b.N {
				k := f.g.key(r.IntN(len(f.g.prefixes)))
				if m == LPM {
					k = append([]byte{32}, append(k[1:], 1, 1, 1, 1)[:4]...)
				}
				q := Query{Family: bgp.IPv4Unicast, Match: m, Key: k}
				if err := f.s.Query(b.Context(), q, func(l []Route) error { n += len(l); return nil }); err != nil {
					b.Fatal(err)
				}
			}
			spent := float64((cpu() - from).Nanoseconds())
			b.ReportMetric(spent/float64(b.N)/1000, "cpu-us")
			b.ReportMetric(spent/float64(n), "ns/found")
			b.ReportMetric(spent/float64(n)/floor, "x-floor")
			b.ReportMetric(float64(n)/float64(b.N), "found")
		})
	}
}

// BenchmarkAttributes asks full tables for what few attribute sets say, again and again.
func BenchmarkAttributes(b *testing.B) {
	f := loadFull(b, benchSize("RIB_PEERS", 10), 1_050_000, true)
	for _, a := range attributeQuestions() {
		for _, sorted := range []bool{false, true} {
			b.Run(a.name+map[bool]string{true: "-sorted"}[sorted], func(b *testing.B) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				b.ReportAllocs()
				n, from := 0, cpu()
				for range b.N {
					q := Query{Family: bgp.IPv4Unicast, Attrs: a.test, Sorted: sorted}
					if err := f.s.Query(b.Context(), q, func(l []Route) error { n += len(l); return nil }); err != nil {
						b.Fatal(err)
					}
				}
				spent := float64((cpu() - from).Nanoseconds())
				b.ReportMetric(spent/float64(b.N)/1e6, "cpu-ms")
				b.ReportMetric(spent/float64(b.N)/float64(f.routes), "ns/route")
				b.ReportMetric(float64(n)/float64(b.N), "found")
			})
		}
	}
}

// BenchmarkDown drops a peer of 1 M routes while another session announces: how long that takes, and how long the
// other's batches take at most, beside what they take at most while nothing is dropped.
func BenchmarkDown(b *testing.B) {
	for range b.N {
		g := newGenerator(1_050_000)
		s := testStore(b, Options{})
		w := s.NewWriter()
		down := s.NewTable(Owner{Peer: 1, Family: bgp.IPv4Unicast}, false)
		other := s.NewTable(Owner{Peer: 2, Family: bgp.IPv4Unicast}, false)
		st := g.peer(2, 0)
		st.load(w, other, benchNow)
		keys := append([]byte(nil), st.keys[:5*batchOps*1000]...)
		st = g.peer(1, 0)
		var dropping atomic.Bool
		var batches atomic.Int64
		var worst [2]atomic.Int64 // of a batch: without a drop, with one
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			w := s.NewWriter()
			rec := appendRecord(nil, 1)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				for k := range batchOps {
					key := keys[(i%1000*batchOps+k)*5:]
					rec[5] = byte(i)
					w.Announce(other, key[:1+(key[0]+7)/8], 0, rec, benchNow)
				}
				during := dropping.Load()
				from := time.Now()
				w.Flush()
				took := int64(time.Since(from))
				at := &worst[0]
				if during || dropping.Load() {
					at = &worst[1]
				}
				at.Store(max(at.Load(), took))
				batches.Add(1)
			}
		}()
		var longest time.Duration
		for range 10 {
			st.load(w, down, benchNow)
			dropping.Store(true)
			from := time.Now()
			n := down.Clear(benchNow)
			longest = max(longest, time.Since(from))
			for until := batches.Load() + 20; batches.Load() < until; { // these find what was retired, and reclaim it
				runtime.Gosched()
			}
			dropping.Store(false)
			if n < 900_000 || down.Len() != 0 {
				b.Fatal(n, down.Len())
			}
		}
		close(stop)
		<-done
		b.ReportMetric(float64(longest.Microseconds())/1000, "down-ms")
		b.ReportMetric(float64(worst[1].Load())/1e6, "others-ms")
		b.ReportMetric(float64(worst[0].Load())/1e6, "others-idle-ms")
	}
}
