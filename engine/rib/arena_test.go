package rib

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRebuildBesideAdds has a lane rebuilt again and again while records are added to it: none may be written over
// another.
func TestRebuildBesideAdds(t *testing.T) {
	seed := testSeed(t)
	var a arena
	a.init(newMemory(0, true), 1, 1, 1<<attrShare)
	r := rand.New(rand.NewPCG(seed, 1))
	content := func(n int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(n >> 16)}, 5+n%90) }
	const kept = 40_000
	var mu sync.Mutex
	records := map[uint32]int{}
	dead := map[uint32]bool{}
	add := func(n int) {
		mu.Lock() // before a rebuild can see it
		defer mu.Unlock()
		records[a.add(0, content(n), nil)] = n
	}
	for n := range kept {
		add(n)
	}
	for round := range 6 {
		mu.Lock()
		clear(dead)
		for n := range records {
			if r.IntN(4) == 0 {
				dead[n] = true
			}
		}
		for n := range dead {
			delete(records, n)
		}
		mu.Unlock()
		var done atomic.Bool
		var adding sync.WaitGroup
		adding.Go(func() {
			for n := range kept / 4 {
				add(round<<20 | n)
			}
			done.Store(true)
		})
		for !done.Load() {
			mu.Lock()
			gone := dead
			dead = nil
			mu.Unlock()
			a.rebuild(0, func(n uint32) bool { return gone[n] }, nil)
		}
		adding.Wait()
		for n, want := range records {
			if got := a.record(n); !bytes.Equal(got, content(want)) {
				t.Fatalf("round %d: record %d is %x, want %x", round, n, got, content(want))
			}
		}
		dead = map[uint32]bool{}
	}
}
