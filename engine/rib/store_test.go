package rib

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"bmp/proto/bgp"
)

// TestRefused: at the memory bound routes are refused and counted, what is held stays whole, and room made by a
// peer's end is used again.
func TestRefused(t *testing.T) {
	for _, addPath := range []bool{false, true} {
		for _, f := range []bgp.Family{bgp.IPv4Unicast, bgp.IPv6Unicast, bgp.L2VPNEVPN} {
			t.Run(fmt.Sprintf("%v/%v", f, addPath), func(t *testing.T) {
				s := testStore(t, Options{NoBackground: true, MaxBytes: 8 * chunkBytes})
				a := s.NewTable(Owner{Client: 1, Family: f}, addPath)
				b := s.NewTable(Owner{Client: 2, Family: f}, addPath)
				w := s.NewWriter()
				outcomes := map[Outcome]int{}
				w.Hook = func(c Change) { outcomes[c.Outcome]++ }
				key := func(i int) []byte {
					var k [17]byte
					switch shapeOf(f) {
					case shapeIPv4:
						return key4(32, uint32(i))
					case shapeIPv6:
						k[0] = 128
					}
					binary.BigEndian.PutUint32(k[13:], uint32(i))
					return k[:]
				}
				const n = 150_000
				rec := make([]byte, 120)
				for i := range n {
					binary.BigEndian.PutUint32(rec, uint32(i/2))
					table := a
					if i%3 == 0 {
						table = b
					}
					w.Announce(table, key(i), uint32(i%2), rec, benchNow)
				}
				w.Flush()
				st := s.Stats()
				ca, cb := a.Counts(), b.Counts()
				if st.Refused == 0 || int64(ca.Refused+cb.Refused) != st.Refused || len(st.Fallbacks) == 0 {
					t.Fatalf("nothing was refused, or not counted: %+v %+v %+v", ca, cb, st)
				}
				if outcomes[Refused] != int(st.Refused) || outcomes[Added] != int(ca.Added+cb.Added) || outcomes[Added]+outcomes[Refused] != n {
					t.Fatalf("the hook saw %v, the tables %+v %+v", outcomes, ca, cb)
				}
				if a.Len() != int(ca.Added) || b.Len() != int(cb.Added) {
					t.Fatalf("%d and %d routes, counted %d and %d", a.Len(), b.Len(), ca.Added, cb.Added)
				}
				held := 0
				err := s.Query(t.Context(), Query{Family: f}, func(batch []Route) error {
					for _, r := range batch {
						i := binary.BigEndian.Uint32(r.Key[len(r.Key)-4:])
						if binary.BigEndian.Uint32(r.Record) != i/2 {
							return fmt.Errorf("route %d has record %x", i, r.Record[:4])
						}
						held++
					}
					return nil
				})
				if err != nil || held != a.Len()+b.Len() {
					t.Fatalf("%d routes found, %d held: %v", held, a.Len()+b.Len(), err)
				}
				// A route that cannot be kept as it is now is not kept as it was.
				before := a.Len()
				var big [60000]byte
				for i := range 200 {
					binary.BigEndian.PutUint32(big[:], uint32(i))
					w.Announce(a, key(1), 1, big[:], benchNow)
				}
				w.Flush()
				if a.Counts().Refused == ca.Refused || a.Len() < before-1 {
					t.Fatalf("%+v after %+v, %d routes after %d", a.Counts(), ca, a.Len(), before)
				}
				a.Clear(benchNow)
				b.Clear(benchNow)
				for range 2 {
					if _, err := s.Sweep(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				w.Announce(a, key(5), 1, rec, benchNow)
				w.Flush()
				if a.Len() != 1 {
					t.Fatalf("no room after everything went: %+v", s.Stats())
				}
			})
		}
	}
}

// TestInvalidKeys: a key that no peer can have sent is refused, not stored and not believed.
func TestInvalidKeys(t *testing.T) {
	s := testStore(t, Options{NoBackground: true})
	for _, f := range modelFamilies {
		table := s.NewTable(Owner{Family: f}, false)
		w := s.NewWriter()
		var told []Change
		w.Hook = func(c Change) {
			c.Key = append([]byte(nil), c.Key...)
			told = append(told, c)
		}
		bad := [][]byte{nil, {33}, {24, 1, 2}, {8, 1, 2}, {129}, {255, 0, 0, 0, 0, 0, 0, 0, 0}}
		if shapeOf(f) == shapeOpaque {
			bad = [][]byte{make([]byte, recordMax+1)}
		}
		for _, k := range bad {
			w.Announce(table, k, 0, []byte("x"), benchNow)
			w.Withdraw(table, k, 0, benchNow)
			if err := s.Query(t.Context(), Query{Family: f, Match: Exact, Key: k}, nil); !errors.Is(err, ErrNotPrefixes) {
				t.Errorf("%v %x: %v", f, k, err)
			}
			if !s.LastChange(f, k).IsZero() {
				t.Errorf("%v %x changed", f, k)
			}
		}
		w.Flush()
		if c := table.Counts(); c != (Counts{Refused: uint64(len(bad)), NotFound: uint64(len(bad))}) || table.Len() != 0 {
			t.Errorf("%v: %+v", f, c)
		}
		for i, c := range told {
			if string(c.Key) != string(bad[i/2]) {
				t.Errorf("%v: told of %x, want %x", f, c.Key, bad[i/2])
			}
		}
		w.Announce(table, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0}[:1+shapeOf(f).rd()], 0, make([]byte, recordMax+1), benchNow)
		w.Flush()
		if c := table.Counts(); c.Added != 0 {
			t.Errorf("%v took a record of %d bytes", f, recordMax+1)
		}
	}
}

// TestClose: a closed store is empty, refuses, and ends queries.
func TestClose(t *testing.T) {
	s := New(Options{Epoch: testEpoch})
	f := bgp.IPv4Unicast
	table := s.NewTable(Owner{Family: f}, false)
	w := s.NewWriter()
	for i := range uint32(5000) {
		w.Announce(table, key4(32, i), 0, []byte("x"), benchNow)
	}
	w.Flush()
	batches := 0
	err := s.Query(t.Context(), Query{Family: f}, func([]Route) error {
		if batches++; batches == 1 {
			return s.Close()
		}
		return nil
	})
	if !errors.Is(err, ErrClosed) || batches != 1 {
		t.Fatalf("%v after %d batches", err, batches)
	}
	w.Announce(table, key4(32, 1), 0, []byte("x"), benchNow)
	w.Flush()
	if table.Len() != 0 || table.Clear(benchNow) != 0 || table.BeginRefresh(benchNow) != 0 || table.SweepStale(benchNow) != 0 {
		t.Error("a table of a closed store holds routes")
	}
	table.Drop()
	if _, err := s.Sweep(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestCloseAmongAll closes a store while everything goes on in it. What the memory was must not be touched afterwards.
func TestCloseAmongAll(t *testing.T) {
	seed := testSeed(t)
	for round := range uint64(10) {
		s := New(Options{Epoch: testEpoch})
		var all sync.WaitGroup
		started := make(chan struct{}, 10)
		done := make(chan struct{})
		for i := range uint64(2) {
			all.Go(func() {
				m := newModel(s, seed, 10*round+i, 2000, 100)
				f := modelFamilies[m.rnd.IntN(len(modelFamilies))]
				table := s.NewTable(Owner{Family: f}, i == 1)
				for n := 0; ; n++ {
					m.w.Announce(table, m.keys[f][m.rnd.IntN(2000)], 0, m.recs[m.rnd.IntN(100)], benchNow)
					if n == 5000 {
						started <- struct{}{}
					}
					select {
					case <-done:
						m.w.Flush()
						return
					default:
					}
				}
			})
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, round))
				for {
					f := modelFamilies[rnd.IntN(len(modelFamilies))]
					err := s.Query(t.Context(), Query{Family: f, Sorted: true}, func([]Route) error { return nil })
					if errors.Is(err, ErrClosed) {
						return
					}
					s.Stats()
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		for range 2 {
			<-started
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		close(done)
		all.Wait()
	}
}

// TestQueryEnds: at the context's end, at an error of the callback, at the limit.
func TestQueryEnds(t *testing.T) {
	s := testStore(t, Options{NoBackground: true})
	f := bgp.IPv4Unicast
	w := s.NewWriter()
	for p := range uint32(3) {
		table := s.NewTable(Owner{Peer: p, Family: f}, p == 2)
		for i := range uint32(20000) {
			w.Announce(table, key4(32, i), 0, binary.BigEndian.AppendUint32(nil, i), benchNow)
		}
	}
	w.Flush()
	for _, sorted := range []bool{false, true} {
		for _, limit := range []int{0, 1, 511, 512, 513, 40001} {
			n := 0
			err := s.Query(t.Context(), Query{Family: f, Sorted: sorted, Limit: limit}, func(b []Route) error { n += len(b); return nil })
			want := limit
			if limit == 0 {
				want = 60000
			}
			if err != nil || n != want {
				t.Errorf("limit %d: %d routes, %v", limit, n, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := s.Query(ctx, Query{Family: f, Sorted: sorted}, func(b []Route) error { n += len(b); cancel(); return nil })
		if !errors.Is(err, context.Canceled) || n > 2*queryBatch {
			t.Errorf("%v after %d routes", err, n)
		}
		stop := errors.New("stop")
		if err := s.Query(t.Context(), Query{Family: f, Sorted: sorted}, func([]Route) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
		// A filter that nothing passes must not hide the context from the query.
		ctx, cancel = context.WithCancel(t.Context())
		asked := 0
		err = s.Query(ctx, Query{Family: f, Sorted: sorted, Attrs: func([]byte) bool {
			if asked++; asked == 100 {
				cancel()
			}
			return false
		}}, func([]Route) error { return nil })
		if !errors.Is(err, context.Canceled) || asked > 5000 {
			t.Errorf("%v after %d records", err, asked)
		}
	}
}

// TestWritersShareTable: several writers on one table lose nothing.
func TestWritersShareTable(t *testing.T) {
	s := testStore(t, Options{heap: true})
	f := bgp.IPv4Unicast
	table := s.NewTable(Owner{Family: f}, false)
	var all sync.WaitGroup
	const each = 3000
	for p := range uint32(4) {
		all.Go(func() {
			w := s.NewWriter()
			for i := range uint32(each) {
				w.Announce(table, key4(32, p*each/2+i), 0, []byte{byte(p), byte(i)}, benchNow.Add(time.Duration(i)*time.Second))
			}
			w.Flush()
		})
	}
	all.Wait()
	c := table.Counts()
	if table.Len() != each/2*5 || c.Added != each/2*5 || c.Added+c.Changed+c.Unchanged != 4*each {
		t.Errorf("%d routes, %+v", table.Len(), c)
	}
}

// TestViewsShareAttributes: the same routes in three views cost their attributes once.
func TestViewsShareAttributes(t *testing.T) {
	s := testStore(t, Options{NoBackground: true})
	f := bgp.IPv6Unicast
	w := s.NewWriter()
	var bytes int64
	for view := range uint8(3) {
		table := s.NewTable(Owner{View: view, Family: f}, false)
		for i := range uint32(9000) {
			var k [17]byte
			k[0] = 128
			binary.BigEndian.PutUint32(k[1:], i)
			w.Announce(table, k[:], 0, appendRecord(nil, uint64(i/3)), benchNow)
		}
		w.Flush()
		st := s.Stats()
		if view == 0 {
			bytes = st.AttributeBytes
		}
		if st.AttributeSets != 3000 || st.AttributeBytes != bytes || st.Prefixes != 9000 {
			t.Errorf("view %d: %d sets, %d bytes, %d prefixes", view, st.AttributeSets, st.AttributeBytes, st.Prefixes)
		}
	}
}

// TestGuessUndone: a table that was made dense in the hope that it fills up, and does not, gives the memory back.
func TestGuessUndone(t *testing.T) {
	s := testStore(t, Options{NoBackground: true})
	f := bgp.IPv4Unicast
	w := s.NewWriter()
	full := s.NewTable(Owner{Family: f}, false)
	for i := range uint32(200_000) {
		w.Announce(full, key4(32, i), 0, []byte("x"), benchNow)
	}
	part := s.NewTable(Owner{Peer: 1, Family: f}, false)
	for i := range uint32(5000) {
		w.Announce(part, key4(32, i*40), 0, []byte("x"), benchNow)
	}
	w.Flush()
	if s.guessed.Load() == 0 || !part.root.Load().isDense() {
		t.Fatal("no guess was made")
	}
	before := s.Stats().CellBytes
	for range 2 { // the first sees it grow
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); s.guessed.Load() != 0 || part.root.Load().isDense() || st.CellBytes > before/2+100_000 {
		t.Fatalf("%d bytes of cells, %d before; %d guessed", st.CellBytes, before, s.guessed.Load())
	}
	n := 0
	if err := s.Query(t.Context(), Query{Family: f, Tables: []*Table{part}}, func(b []Route) error { n += len(b); return nil }); err != nil || n != 5000 {
		t.Fatal(n, err)
	}
	if err := s.Query(t.Context(), Query{Family: f, Match: Exact, Key: key4(32, 40)}, func(b []Route) error { n += len(b); return nil }); err != nil || n != 5002 {
		t.Fatal(n, err)
	}
}

// TestAllAnswered: a table that answered and was dropped since does not stand for one that was not asked.
func TestAllAnswered(t *testing.T) {
	s := testStore(t, Options{NoBackground: true})
	var tables [3]*Table
	for i := range tables {
		tables[i] = s.NewTable(Owner{Peer: uint32(i), Family: bgp.IPv4Unicast}, false)
	}
	r := &query{f: s.familyOf(bgp.IPv4Unicast, false), scratch: new(scratch)}
	r.answered.add(tables[0])
	r.answered.add(tables[1])
	if r.allAnswered() {
		t.Error("two of three have answered, and that is all")
	}
	tables[1].Drop()
	if r.allAnswered() {
		t.Error("one of two has answered, and that is all")
	}
	tables[2].Drop()
	if !r.allAnswered() {
		t.Error("the only one left has answered, and that is not all")
	}
}
