package rib

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"bmp/proto/bgp"
)

// bareTree is a table into whose tree a test puts cells of its own making.
type bareTree struct {
	s *Store
	t *Table
}

func newBareTree(t *testing.T, addPath bool) bareTree {
	s := testStore(t, Options{NoBackground: true, heap: true})
	return bareTree{s, s.NewTable(Owner{Family: bgp.IPv4Unicast}, addPath)}
}

// cellOf is the cell that a key has in a bareTree.
func cellOf(key uint64) uint64 { return key*0x9e3779b97f4a7c15 | 1 }

// insert puts keys, which the tree does not have, into it.
func (b bareTree) insert(tb testing.TB, keys []uint64) {
	tb.Helper()
	var entries, scratch []entry
	for _, k := range keys {
		entries = append(entries, entry{k, cellOf(k)})
	}
	b.s.guard.RLock()
	defer b.s.guard.RUnlock()
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	n := b.t.insert(entries, &scratch)
	b.t.n.Add(uint32(n))
	if n != len(keys) {
		tb.Fatalf("%d of %d entries inserted", n, len(keys))
	}
}

// set changes the cell of a key: withdrawn, or there again. It is false when the tree does not have the key.
func (b bareTree) set(key uint64, there bool) bool {
	b.s.guard.RLock()
	defer b.s.guard.RUnlock()
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	r := b.t.root.Load()
	if r == nil {
		return false
	}
	p := b.t.find(r, key)
	if p == nil {
		return false
	}
	switch was := atomic.LoadUint64(p) != 0; {
	case was && !there:
		atomic.StoreUint64(p, 0)
		b.t.tombs++
		b.t.n.Add(^uint32(0))
		b.t.compact()
	case !was && there:
		atomic.StoreUint64(p, cellOf(key))
		b.t.tombs--
		b.t.n.Add(1)
	}
	return true
}

// sizes is how many entries each leaf has, after it is checked that they are where they belong. No one writes.
func (b bareTree) sizes(tb testing.TB) (sizes []int, refs []uint32) {
	tb.Helper()
	r := b.t.root.Load()
	if r == nil {
		return nil, nil
	}
	n, tombs := uint32(0), uint32(0)
	for bi := range r.branches {
		br := r.branches[bi].Load()
		if br.firsts[0] != r.firsts[bi] {
			tb.Fatalf("branch %d begins with %d, not %d", bi, br.firsts[0], r.firsts[bi])
		}
		for li, ref := range br.leaves {
			l := b.t.leaf(ref)
			limit, limited := r.limit(br, bi, li)
			for i, c := range l.words {
				k := l.key(i)
				if k < br.firsts[li] || limited && k >= limit || i > 0 && k <= l.key(i-1) || c != 0 && c != cellOf(k) {
					tb.Fatalf("branch %d, leaf %d from %d to %d: entry %d is {%d, %x}", bi, li, br.firsts[li], limit, i, k, c)
				}
				if n++; c == 0 {
					n--
					tombs++
				}
			}
			sizes, refs = append(sizes, len(l.words)), append(refs, ref)
		}
	}
	if n != b.t.n.Load() || tombs != b.t.tombs {
		tb.Fatalf("%d entries and %d withdrawn, want %d and %d", n, tombs, b.t.n.Load(), b.t.tombs)
	}
	return sizes, refs
}

func keysFrom(first, n int) (keys []uint64) {
	for i := range n {
		keys = append(keys, uint64(first+i))
	}
	return keys
}

// TestLeavesFilled: what comes after all other entries goes into the page that is there, beside withdrawn ones too, and
// leaves full leaves behind.
func TestLeavesFilled(t *testing.T) {
	for _, addPath := range []bool{false, true} {
		b := newBareTree(t, addPath)
		small, most := plainSmall, plainCap
		if addPath {
			small, most = pathSmall, pathCap
		}
		b.insert(t, keysFrom(1, 1))
		_, first := b.sizes(t)
		for i := 2; i <= small; i++ {
			b.insert(t, keysFrom(i, 1))
			b.set(3, i%2 == 0)
		}
		if sizes, refs := b.sizes(t); !slices.Equal(sizes, []int{small}) || refs[0] != first[0] {
			t.Errorf("leaves of %d entries in pages %x, before in %x", sizes, refs, first)
		}
		b.set(3, true)
		b.insert(t, keysFrom(small+1, 1))
		_, first = b.sizes(t)
		b.insert(t, keysFrom(small+2, 5))
		b.insert(t, keysFrom(small+7, 3*most-small-8))
		sizes, refs := b.sizes(t)
		if !slices.Equal(sizes, []int{most, most, most - 2}) || refs[0] != first[0] {
			t.Errorf("leaves of %d entries in pages %x, before in %x", sizes, refs, first)
		}
	}
}

// TestLongRun: a long run between two entries of a full leaf parts it there, and the next runs fill leaves.
func TestLongRun(t *testing.T) {
	for _, addPath := range []bool{false, true} {
		b := newBareTree(t, addPath)
		most := b.t.leafCap()
		var keys []uint64
		for i := range most {
			keys = append(keys, uint64(i+1)*10_000)
		}
		b.insert(t, keys)
		var apart []uint64
		for i := range longRun {
			apart = append(apart, uint64(i+1)*10_000-5_000)
		}
		for _, more := range [][]uint64{keysFrom(400_001, longRun-1), apart} { // not long; no run
			b.insert(t, more)
			if sizes, _ := b.sizes(t); slices.Max(sizes)-slices.Min(sizes) > 1 {
				t.Errorf("leaves of %d, want them alike", sizes)
			}
			b = newBareTree(t, addPath)
			b.insert(t, keys)
		}
		for i := range 3 {
			b.insert(t, keysFrom(400_001+i*200, 200))
		}
		b.insert(t, keysFrom(1, 200)) // before all
		sizes, _ := b.sizes(t)
		want := []int{most, 200 - most}
		left := 40 + 3*200
		for ; left > most; left -= most {
			want = append(want, most)
		}
		want = append(want, left, most-40)
		if !slices.Equal(sizes, want) {
			t.Errorf("leaves of %d, want %d", sizes, want)
		}
	}
}

// TestLeavesFilledBesideReaders: who looks at the end of a tree while leaves are filled sees whole entries only.
func TestLeavesFilledBesideReaders(t *testing.T) {
	for _, addPath := range []bool{false, true} {
		b := newBareTree(t, addPath)
		b.insert(t, keysFrom(1, 1))
		var end atomic.Uint64
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for from := uint64(0); from < 50_000 && t.Context().Err() == nil; from = end.Load() {
					b.s.guard.RLock()
					last := from
					b.t.each(b.t.root.Load(), from+1, func(id, path uint32, cell *uint64) bool {
						k := b.t.key(id, path)
						if c := atomic.LoadUint64(cell); k != last+1 || c != cellOf(k) {
							t.Errorf("after %d there is %d with cell %x", last, k, c)
						}
						last = k
						return true
					})
					b.s.guard.RUnlock()
				}
			})
		}
		for next := 2; next <= 50_000; next += 40 {
			b.insert(t, keysFrom(next, 40))
			end.Store(uint64(next + 39))
		}
		readers.Wait()
		b.sizes(t)
	}
}

// TestTreeBesideReaders inserts runs of all lengths in random places and withdraws some of what is there, while
// readers walk, in pieces, and look for keys: each finds all that was there and is never withdrawn, once and in order,
// and no cell but the key's own.
func TestTreeBesideReaders(t *testing.T) {
	seed := testSeed(t)
	for _, addPath := range []bool{false, true} {
		t.Run(fmt.Sprint(addPath), func(t *testing.T) {
			b := newBareTree(t, addPath)
			big, small := b.s.big.used.Load(), b.s.small.used.Load()
			ctx, stop := context.WithCancel(t.Context())
			var readers sync.WaitGroup
			var mu sync.Mutex
			var kept []uint64 // never withdrawn
			for i := range 2 {
				readers.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(i)))
					for ctx.Err() == nil {
						mu.Lock()
						want := slices.Clone(kept)
						mu.Unlock()
						b.read(t, rnd, want)
					}
				})
			}
			rnd := rand.New(rand.NewPCG(seed, 100))
			had := map[uint64]bool{}
			var others []uint64 // withdrawn now and then
			last := 0
			for i := range 600 {
				first, n := rnd.IntN(60_000), 1+rnd.IntN(6)
				switch rnd.IntN(8) {
				case 0:
					n = rnd.IntN(600)
				case 1, 2, 3: // goes on
					first = last
				}
				var keys []uint64
				for _, k := range keysFrom(first, n) {
					if addPath {
						k = k/3<<32 | k%3
					}
					if !had[k] && k%4 == 0 {
						others = append(others, k)
					}
					if !had[k] || !b.set(k, true) {
						keys, had[k] = append(keys, k), true
					}
				}
				last = first + n
				b.insert(t, keys)
				mu.Lock()
				kept = append(kept, slices.DeleteFunc(keys, func(k uint64) bool { return k%4 == 0 })...)
				mu.Unlock()
				if i > 300 && len(others) > 0 && rnd.IntN(3) == 0 {
					for range rnd.IntN(30) {
						b.set(others[rnd.IntN(len(others))], false)
					}
				}
				b.sizes(t)
				b.s.tidy()
				if rnd.IntN(20) == 0 {
					b.s.reclaim()
				}
			}
			stop()
			readers.Wait()
			b.read(t, rnd, kept)
			b.t.Clear(benchNow)
			b.s.reclaim()
			if big, small = b.s.big.used.Load()-big, b.s.small.used.Load()-small; big != 0 || small != 0 {
				t.Errorf("%d big and %d small pages are still in use", big, small)
			}
		})
	}
}

// read walks the tree in pieces and looks for some keys.
func (b bareTree) read(t *testing.T, rnd *rand.Rand, want []uint64) {
	seen := map[uint64]bool{}
	next, more, last := uint64(0), true, int64(-1)
	for more {
		more = false
		left := 1 + rnd.IntN(500)
		b.s.guard.RLock()
		b.t.each(b.t.root.Load(), next, func(id, path uint32, cell *uint64) bool {
			k := b.t.key(id, path)
			if left--; left < 0 {
				next, more = k, true
				return false
			}
			if c := atomic.LoadUint64(cell); int64(k) <= last || c != 0 && c != cellOf(k) || c == 0 && k%4 != 0 {
				t.Errorf("after %d there is %d with cell %x", last, k, c)
			}
			last, seen[k] = int64(k), true
			return true
		})
		b.s.guard.RUnlock()
	}
	for _, k := range want {
		if !seen[k] {
			t.Errorf("a walk did not see %d", k)
		}
	}
	b.s.guard.RLock()
	defer b.s.guard.RUnlock()
	for range min(100, len(want)) {
		k := want[rnd.IntN(len(want))]
		if p := b.t.find(b.t.root.Load(), k); p == nil || atomic.LoadUint64(p) != cellOf(k) {
			t.Errorf("%d is not found", k)
		}
	}
}
