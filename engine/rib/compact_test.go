package rib

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bmp/proto/bgp"
)

// TestCompact leaves holes in an arena and has them taken out, while a writer announces again what there is, and a
// reader asks for it by attributes: no route may change, nor be missed.
func TestCompact(t *testing.T) {
	seed := testSeed(t)
	const peers, prefixes, sets = 3, 12_000, 30_000
	s := testStore(t, Options{NoBackground: true, heap: true})
	now := testEpoch.Add(time.Hour)
	r := rand.New(rand.NewPCG(seed, 1))
	key := func(i int) []byte { return key4(24, uint32(i)<<8) }
	// A dense table, a sparse one, and one with ADD-PATH.
	var tables [peers]*Table
	w := s.NewWriter()
	model := make([]map[modelKey]uint64, peers)
	for p := range tables {
		tables[p] = s.NewTable(Owner{Peer: uint32(p), Family: bgp.IPv4Unicast}, p == 2)
		model[p] = map[modelKey]uint64{}
	}
	for round := range 3 {
		for i := range sets {
			seed := uint64(round*sets + i)
			p, k := r.IntN(peers), r.IntN(prefixes)
			if p == 1 {
				k /= 64
			}
			path := uint32(0)
			if p == 2 {
				path = uint32(r.IntN(3))
			}
			w.Announce(tables[p], key(k), path, appendRecord(nil, seed), now)
			model[p][modelKey{string(key(k)), path}] = seed
		}
	}
	w.Flush()
	if _, err := s.sweep(t.Context()); err != nil { // not Sweep
		t.Fatal(err)
	}
	if !s.wasteful() {
		t.Fatalf("nothing to compact: %+v", s.Stats())
	}
	before, held := s.Stats(), s.attrs.arena.held()
	var counts [peers]Counts
	for p, table := range tables {
		counts[p] = table.Counts()
	}
	const probe = 100 // AS number that some records have
	check := func() {
		routes := 0
		for p, table := range tables {
			err := s.Query(t.Context(), Query{Family: bgp.IPv4Unicast, Tables: []*Table{table}}, func(batch []Route) error {
				for _, x := range batch {
					routes++
					want, ok := model[p][modelKey{string(x.Key), x.PathID}]
					if !ok || string(x.Record) != string(appendRecord(nil, want)) || !x.Since.Equal(now) {
						t.Errorf("peer %d: %x %d is %x since %v, want %x; id %d", p, x.Key, x.PathID, x.Record, x.Since, appendRecord(nil, want), x.AttrID)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if want := len(model[0]) + len(model[1]) + len(model[2]); routes != want {
			t.Errorf("%d routes, want %d", routes, want)
		}
	}
	matches := func(rec []byte) bool { return binary.BigEndian.Uint32(rec[10:])%probe == 0 }
	want := 0
	for p := range model {
		for _, seed := range model[p] {
			if matches(appendRecord(nil, seed)) {
				want++
			}
		}
	}
	var others sync.WaitGroup
	var done atomic.Bool
	var asked, again atomic.Int64
	for _, sorted := range []bool{false, true} {
		others.Go(func() {
			for !done.Load() || asked.Load() < 2 {
				n := 0
				q := Query{Family: bgp.IPv4Unicast, Attrs: matches, Sorted: sorted}
				if err := s.Query(t.Context(), q, func(b []Route) error { n += len(b); return nil }); err != nil || n != want {
					t.Errorf("%d routes, want %d; %v", n, want, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	others.Go(func() { // what is announced again is unchanged, and all else is as before
		w := s.NewWriter()
		for !done.Load() || again.Load() < 2 {
			for p := range model {
				for k, seed := range model[p] {
					w.Announce(tables[p], []byte(k.key), k.path, appendRecord(nil, seed), now.Add(time.Hour))
				}
			}
			w.Flush()
			again.Add(1)
		}
	})
	for asked.Load() == 0 && !t.Failed() {
		runtime.Gosched()
	}
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	done.Store(true)
	others.Wait()
	check()
	after := s.Stats()
	if now := s.attrs.arena.held(); now > held-chunkUnits || s.moving.Load() != nil {
		t.Errorf("%d units held, before %d", now, held)
	}
	if after.AttributeSets != before.AttributeSets || after.AttributeBytes != before.AttributeBytes {
		t.Errorf("%d sets in %d bytes, want %d in %d", after.AttributeSets, after.AttributeBytes, before.AttributeSets, before.AttributeBytes)
	}
	for p, table := range tables {
		want := counts[p]
		want.Unchanged += uint64(again.Load()) * uint64(len(model[p]))
		if c := table.Counts(); c != want {
			t.Errorf("peer %d: %+v, want %+v", p, c, want)
		}
	}
	// The arena is whole: it can be swept to the last record.
	for _, table := range tables {
		table.Clear(now)
	}
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.AttributeSets != 0 || st.AttributeBytes != 0 {
		t.Errorf("%d sets, %d bytes are left", st.AttributeSets, st.AttributeBytes)
	}
	t.Logf("%d questions, announced %d times", asked.Load(), again.Load())
}
