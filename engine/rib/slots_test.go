package rib

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bmp/proto/bgp"
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
		p := m.s.big.big(d.pages[k])
		for i, slot := range p {
			switch {
			case slot == slotDead:
				h.dead++
				h.used++
				if p[(i+1)%bigWords] == 0 {
					m.t.Fatalf("%s: a dead place before an empty one", what)
				}
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
	if live != len(m.held) || m.x.pages != pages {
		m.t.Fatalf("%s: %d slots in %d pages, want %d; counted are %d pages", what, live, pages, len(m.held), m.x.pages)
	}
}

// sweep sweeps all but a part of the slots, while writers look for some of them, at the worst moments and at any, and
// add others. What they obtained stays.
func (m *slotsModel) sweep(part float64) {
	m.t.Helper()
	marks := newMarks(uint64(m.next)+1, 0)
	all := make([]uint64, 0, len(m.held))
	places := make(map[uint64]found)
	for slot := range m.held {
		if all = append(all, slot); m.r.Float64() < part {
			marks.set(uint32(slot))
		}
		places[slot], _ = m.find(slot)
	}
	var writers sync.WaitGroup
	var swept atomic.Bool
	var wanted, added []uint64 // of the writers
	seed := m.r.Uint64()
	writers.Go(func() {
		r := rand.New(rand.NewPCG(seed, 1))
		for n := 0; n < len(all)/20 && !swept.Load(); n++ {
			slot := all[r.IntN(len(all))]
			m.s.guard.RLock()
			if f, ok := m.find(slot); ok {
				if marks.set(uint32(slot)); m.x.holds(m.s, f, slot) {
					wanted = append(wanted, slot)
				}
			}
			m.s.guard.RUnlock()
		}
	})
	first := m.next
	writers.Go(func() {
		r := rand.New(rand.NewPCG(seed, 2))
		for n := uint32(1); n < 2000 && !swept.Load(); n++ {
			slot := r.Uint64()<<32 | uint64(first+n)
			m.x.mu.Lock()
			if marks.set(uint32(slot)); m.x.insert(m.s, slot) {
				added = append(added, slot)
			}
			m.x.mu.Unlock()
		}
	})
	// Before a slot goes: it is found, and so is one of the same page that has gone a moment ago.
	var before, obtained []uint64
	going := 0
	gone := 0
	n := m.x.sweep(m.s, marks, slotsMask, func(slot uint64) {
		going++
		switch f := places[slot]; m.r.IntN(20) {
		case 0:
			marks.set(uint32(slot))
			if m.x.page(slot) == f.page {
				if !m.x.holds(m.s, f, slot) {
					m.t.Errorf("slot %#x is there, and passes for swept", slot)
				}
				obtained = append(obtained, slot)
			}
		case 1:
			if k := len(before); k > 0 && m.x.page(before[k-1]) == m.x.page(slot) {
				last := before[k-1]
				if marks.set(uint32(last)); m.x.holds(m.s, places[last], last) {
					m.t.Errorf("slot %#x is taken out, and passes for held", last)
				}
				obtained = append(obtained, last) // it is put back
			}
		}
		before = append(before, slot)
	}, func(slot uint64) {
		gone++
		delete(m.held, slot)
		if m.x.holds(m.s, places[slot], slot) {
			m.t.Errorf("slot %#x was swept, and passes for held", slot)
		}
	})
	swept.Store(true)
	writers.Wait()
	if n != gone || going < gone {
		m.t.Fatalf("%d dropped, told of %d after %d were to go", n, gone, going)
	}
	for slot := range m.held {
		if !marks.has(uint32(slot)) {
			m.t.Fatalf("slot %#x was not swept", slot)
		}
		if f := places[slot]; m.x.page(slot) != f.page && m.x.holds(m.s, f, slot) {
			m.t.Fatalf("slot %#x was found in a page that is replaced, and passes for held", slot)
		}
	}
	for _, slot := range slices.Concat(wanted, obtained) {
		if !m.held[slot] {
			m.t.Fatalf("slot %#x was obtained, and swept", slot)
		}
	}
	for _, slot := range added {
		m.held[slot] = true
		m.next = max(m.next, uint32(slot))
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

// TestSlotsLikeDead has slots whose tag is that of slotDead.
func TestSlotsLikeDead(t *testing.T) {
	s := testStore(t, Options{NoBackground: true, heap: true})
	var x slots
	m := newMarks(4, 0)
	m.set(3)
	const tag = slotsMask << 32
	for id := range uint64(3) {
		x.insert(s, tag|(id+1))
	}
	if n := x.sweep(s, m, slotsMask, nil, nil); n != 2 {
		t.Fatalf("%d of 2 slots were swept", n)
	}
	if slot, _ := s.big.big(x.page(tag)).probe(slotStart(tag), 32, tag); slot != tag|3 {
		t.Fatalf("found %#x, want %#x", slot, uint64(tag|3))
	}
}

// TestNumberPutBack: a number that a sweep takes out for a moment and puts back is found all the same by who withdraws,
// announces or asks.
func TestNumberPutBack(t *testing.T) {
	s := testStore(t, Options{NoBackground: true, heap: true})
	d := &s.familyOf(bgp.IPv4Unicast, true).dict
	key := key4(24, 0x0a000000)
	tag := d.tagOf(key)
	id := d.intern(s, tag, key, word4(key))
	for name, ask := range map[string]func() uint32{
		"withdrawn": func() uint32 { return d.get(s, tag, key) },
		"announced": func() uint32 { return d.intern(s, tag, key, word4(key)) },
		"asked for": func() uint32 { return d.lookup(s, key) },
	} {
		d.marks.Store(newMarks(uint64(id)+1, 0))
		slot, f := d.find(s, tag, key)
		place := &s.big.big(f.page)[f.at]
		x := &d.shard[tag%shards]
		x.mu.Lock()
		atomic.StoreUint64(place, slotDead)
		got := make(chan uint32)
		go func() { got <- ask() }()
		select {
		case early := <-got:
			t.Errorf("%s: %d before it was put back, want %d", name, early, id)
			go func() { got <- id }()
		case <-time.After(20 * time.Millisecond): // it waits for the shard
		}
		atomic.StoreUint64(place, slot)
		x.mu.Unlock()
		if n := <-got; n != id {
			t.Errorf("%s: %d, want %d", name, n, id)
		}
	}
}
