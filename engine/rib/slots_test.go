package rib

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// slotsModel is one shard beside a naive map, filled and swept at random.
type slotsModel struct {
	t    *testing.T
	s    *Store
	x    slots
	r    *rand.Rand
	held map[uint64]bool // slots
	next uint32          // number
}

const slotsMask = 1<<32 - 1

// insert adds n slots. narrow ones crowd into few places, so that pages are full of chains.
func (m *slotsModel) insert(n int, narrow bool) {
	m.t.Helper()
	for range n {
		tag := m.r.Uint64() << 32
		if narrow {
			tag &= 0xfff0_0f00 << 32
		}
		m.next++
		slot := tag | uint64(m.next)
		m.x.mu.Lock()
		ok := m.x.insert(m.s, slot)
		m.x.mu.Unlock()
		if !ok {
			m.t.Fatalf("slot %#x was not inserted", slot)
		}
		m.held[slot] = true
	}
}

// find is what attrs.find and dict.find do.
func (m *slotsModel) find(slot uint64) (found, bool) {
	page := m.x.page(slot)
	if page == 0 {
		return found{}, false
	}
	got, at := m.s.big.big(page).probe(slotStart(slot), 0, slot)
	return found{page, at}, got == slot
}

// check compares with the map, and the counts with what the pages hold.
func (m *slotsModel) check(what string) {
	m.t.Helper()
	for slot := range m.held {
		if f, ok := m.find(slot); !ok || !m.x.holds(m.s, f, slot) {
			m.t.Fatalf("%s: slot %#x is not found", what, slot)
		}
	}
	pages, live := 0, 0
	d := m.x.dir.Load()
	for k := uint32(0); int(k) < len(d.pages); {
		first, entries := d.page(k)
		var h slotHead
		for _, slot := range m.s.big.big(d.pages[k]) {
			switch {
			case slot == slotDead:
				h.dead++
				h.used++
			case slot != 0:
				h.used++
				live++
				if !m.held[slot] {
					m.t.Fatalf("%s: slot %#x is still there", what, slot)
				}
			}
		}
		if h.depth = d.heads[first].depth; first != k || d.heads[first] != h || h.used > slotFull {
			m.t.Fatalf("%s: entry %d of %d holds %+v, its head is %+v", what, k, entries, h, d.heads[first])
		}
		for i := k; i < k+entries; i++ {
			if d.pages[i] != d.pages[k] || d.heads[i].depth != h.depth || i > k && d.heads[i].used != 0 {
				m.t.Fatalf("%s: entry %d leads to page %d, %+v; entry %d to %d, %+v", what, k, d.pages[k], h, i, d.pages[i], d.heads[i])
			}
		}
		pages++
		k += entries
	}
	if live != len(m.held) || m.x.used != live || m.x.pages != pages {
		m.t.Fatalf("%s: %d slots in %d pages, want %d; counted are %d and %d", what, live, pages, len(m.held), m.x.used, m.x.pages)
	}
}

// sweep sweeps all but a part of the slots, while others look for some of them as writers do: what they obtained
// stays.
func (m *slotsModel) sweep(part float64) {
	m.t.Helper()
	marks := newMarks(uint64(m.next)+1, 0)
	all := make([]uint64, 0, len(m.held))
	for slot := range m.held {
		if all = append(all, slot); m.r.Float64() < part {
			marks.set(uint32(slot))
		}
	}
	var wanted [2][]uint64
	var looking sync.WaitGroup
	var swept atomic.Bool
	for i := range wanted {
		r := rand.New(rand.NewPCG(m.r.Uint64(), 0))
		looking.Go(func() {
			for n := 0; n < len(all)/20 && !swept.Load(); n++ {
				slot := all[r.IntN(len(all))]
				f, ok := m.find(slot)
				if !ok {
					continue
				}
				if marks.set(uint32(slot)); m.x.holds(m.s, f, slot) {
					wanted[i] = append(wanted[i], slot)
				}
			}
		})
	}
	places := make(map[uint64]found)
	for _, slot := range all {
		places[slot], _ = m.find(slot)
	}
	going, gone := 0, 0
	n := m.x.sweep(m.s, marks, slotsMask, func(uint64) { going++ }, func(slot uint64) {
		gone++
		delete(m.held, slot)
		if f := places[slot]; m.x.holds(m.s, f, slot) {
			m.t.Errorf("slot %#x is taken for wanted, and was swept", slot)
		}
	})
	swept.Store(true)
	looking.Wait()
	for slot := range m.held {
		if f := places[slot]; m.x.page(slot) != f.page && m.x.holds(m.s, f, slot) {
			m.t.Fatalf("slot %#x was found in a page that is replaced, and passes for held", slot)
		}
	}
	if n != gone || going < gone {
		m.t.Fatalf("%d dropped, told of %d after %d were to go", n, gone, going)
	}
	for _, list := range wanted {
		for _, slot := range list {
			if !m.held[slot] {
				m.t.Fatalf("slot %#x was obtained, and swept", slot)
			}
		}
	}
}

func TestSlots(t *testing.T) {
	for _, narrow := range []bool{false, true} {
		seed := testSeed(t)
		m := &slotsModel{t: t, s: testStore(t, Options{NoBackground: true, heap: true}), r: rand.New(rand.NewPCG(seed, 1)), held: map[uint64]bool{}}
		for range 15 {
			m.insert(m.r.IntN(3000), narrow && m.r.IntN(2) == 0)
			m.check("inserted")
			m.sweep([]float64{0.05, 0.5, 0.8, 1}[m.r.IntN(4)])
			m.check("swept")
		}
		m.sweep(0)
		m.insert(100, narrow)
		m.check("almost all swept")
	}
}
