package rib

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestConcurrentHistory runs several writers with their own tables and models, readers that ask all the time, and
// sweeps, all at once in one store, and compares each writer's tables with its model. Prefixes and attributes are
// common to the writers, so that they meet in the dictionaries. Under the race detector the memory is the Go heap,
// where the detector looks.
func TestConcurrentHistory(t *testing.T) {
	seed := testSeed(t)
	writers, steps := 3, benchSize("RIB_STEPS", 2000)
	if testing.Short() {
		steps = 1000
	}
	s := testStore(t, Options{NoBackground: true, heap: true, presenceFrom: 8, small: true})
	ctx, stop := context.WithCancel(t.Context())
	var readers, all sync.WaitGroup
	var sweeps, queries atomic.Int64
	models := make([]*model, writers)
	for i := range models {
		m := newModel(s, seed, uint64(i+1), 400, 200)
		if i > 0 { // what one announces others announce too
			m.keys, m.recs = map2(models[0].keys), bytesClone(models[0].recs)
		}
		for range 2 {
			for _, f := range modelFamilies {
				m.addTable(f, m.rnd.IntN(3) == 0)
			}
		}
		models[i] = m
	}
	for _, m := range models {
		all.Go(func() {
			for i := range steps {
				m.step(t)
				if i%1000 == 999 {
					m.checkOwn(t)
				}
			}
		})
	}
	readers.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			sweeps.Add(1)
		}
	})
	for i := range 2 {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1000+uint64(i)))
			for ctx.Err() == nil {
				askAnything(t, ctx, s, rnd)
				queries.Add(1)
			}
		})
	}
	all.Wait()
	stop()
	readers.Wait()
	for _, m := range models {
		m.checkOwn(t)
	}
	t.Logf("%d sweeps, %d queries", sweeps.Load(), queries.Load())
	if sweeps.Load() == 0 || queries.Load() == 0 {
		t.Error("nothing ran beside the writers")
	}
}

// checkOwn is check for one of several models: prefixes are common to all, so what others withdraw changes
// LastChange, but never to an earlier time than the model's own.
func (m *model) checkOwn(tb testing.TB) { m.check(tb) }

func map2[K comparable](in map[K][][]byte) map[K][][]byte {
	out := map[K][][]byte{}
	for k, v := range in {
		out[k] = bytesClone(v)
	}
	return out
}

func bytesClone(in [][]byte) [][]byte {
	out := make([][]byte, len(in))
	for i := range in {
		out[i] = bytes.Clone(in[i])
	}
	return out
}

// askAnything asks a random question and checks what must be true of any answer.
func askAnything(t *testing.T, ctx context.Context, s *Store, rnd *rand.Rand) {
	f := modelFamilies[rnd.IntN(len(modelFamilies))]
	p := shapeOf(f)
	q := Query{Family: f, Match: Match(rnd.IntN(5)), Sorted: rnd.IntN(2) == 0, Limit: rnd.IntN(2) * 50}
	if p == shapeOpaque && q.Match > Exact {
		q.Match = Exact
	}
	q.Key = randomKey(rnd, f)
	q.AnyRD = rnd.IntN(2) == 0
	if rnd.IntN(2) == 0 {
		q.Attrs = func(rec []byte) bool { return len(rec)%2 == 0 }
	}
	var last []byte
	n := 0
	err := s.Query(ctx, q, func(batch []Route) error {
		for _, r := range batch {
			n++
			if r.Table.Owner().Family != f || !p.valid(r.Key) || r.Since.Before(testEpoch) || q.Attrs != nil && !q.Attrs(r.Record) {
				t.Errorf("%+v gave %+v", q, r)
			}
			if !modelMatches(p, q, r.Key) {
				t.Errorf("%+v gave key %x", q, r.Key)
			}
			if q.Sorted && q.Match == All || q.Match == Longer {
				if last != nil && p.compare(last, r.Key) > 0 {
					t.Errorf("%+v gave %x after %x", q, r.Key, last)
				}
				last = append(last[:0], r.Key...)
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		t.Error(err)
	}
	if q.Limit > 0 && n > q.Limit {
		t.Errorf("%d routes, limit %d", n, q.Limit)
	}
}

// TestLastChangeSurvivesSweep: what a sweep forgets must not look unchanged.
func TestLastChangeSurvivesSweep(t *testing.T) {
	s := testStore(t, Options{NoBackground: true})
	f := modelFamilies[0]
	table := s.NewTable(Owner{Family: f}, false)
	w := s.NewWriter()
	at := testEpoch.Add(time.Minute)
	w.Announce(table, key4(24, 0x0a000000), 0, []byte("a"), at)
	w.Withdraw(table, key4(24, 0x0a000000), 0, at.Add(time.Minute))
	w.Flush()
	for range 2 {
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Prefixes; n != 0 {
		t.Fatalf("%d prefixes after the sweep", n)
	}
	if got := s.LastChange(f, key4(24, 0x0a000000)); got.Before(at.Add(time.Minute)) {
		t.Fatalf("last change %v", got)
	}
	// A prefix that takes over the number is not thought older than what went before it.
	w.Announce(table, key4(24, 0x0b000000), 0, []byte("a"), at)
	w.Flush()
	if got := s.LastChange(f, key4(24, 0x0b000000)); got.Before(at.Add(time.Minute)) {
		t.Fatalf("last change of the next %v", got)
	}
}
