package rib

import (
	"sync"
	"sync/atomic"
)

const (
	shards    = 64
	slotFull  = bigWords * 84 / 100 // a page with more places in use is split, or made anew without dead slots
	slotDepth = 22
	slotDead  = ^uint64(0) // in place of a slot that was swept; neither a prefix nor a record has its number
)

// slots is one shard of a hash table of 64-bit slots: extendible hashing over big pages. A table grows a page at a
// time, so there is never a long rehash, and nothing but fixed pages is ever allocated.
//
// A slot's upper 32 bits say where it belongs: the uppermost bits choose the page, the lower 16 the place in it to
// probe from. 0 is an empty place, slotDead one that was in use.
//
// Invariants: finding takes no lock. mu is held to change anything. From where a slot is to be probed from to where it
// is, no place is empty: a dead one is emptied only in front of an empty one. A slot stays in its place until it is
// swept (compact changes its number there), and a page that is replaced is retired as it was. So a reader that finds a
// slot finds a true one. One that finds none repeats under mu before it adds it, and wherever a sweep runs, which may
// take a slot out for a moment and put it back.
type slots struct {
	mu    sync.Mutex
	dir   atomic.Pointer[slotDir]
	pages int // under mu
	_     [40]byte
}

// slotDir leads to pages. A page of a depth below the directory's has several entries, one after the other.
type slotDir struct {
	depth uint32
	pages []uint32   // 1<<depth page numbers, loaded and stored atomically
	heads []slotHead // of the same entries, under mu: apart from the page, which is seldom in the cache when one is added
}

// slotHead is the depth of a page, and, at its first entry, how many of its places are not empty, and how many of those
// are dead.
type slotHead struct{ depth, used, dead uint16 }

func (h slotHead) live() uint16 { return h.used - h.dead }

func (d *slotDir) index(slot uint64) uint32 { return uint32(slot>>32) >> (32 - d.depth) }

// page is the first entry of the page that entry k leads to, and how many it has. The shard's mu is held.
func (d *slotDir) page(k uint32) (first, entries uint32) {
	entries = 1 << (d.depth - uint32(d.heads[k].depth))
	return k &^ (entries - 1), entries
}

// lead makes entries from first on lead to a page.
func (d *slotDir) lead(first, entries, page, depth, used uint32) {
	for i := first; i < first+entries; i++ {
		d.heads[i] = slotHead{depth: uint16(depth)}
		atomic.StoreUint32(&d.pages[i], page)
	}
	d.heads[first].used = uint16(used)
}

func slotStart(slot uint64) uint32 { return uint32(slot>>32&0xffff) * bigWords >> 16 }

// page is the number of the page a slot belongs to, 0 for none. The slot's id bits do not matter.
func (x *slots) page(slot uint64) uint32 {
	d := x.dir.Load()
	if d == nil {
		return 0
	}
	return atomic.LoadUint32(&d.pages[d.index(slot)])
}

// probe looks from place i on for a slot that equals want above the lowest shift bits. It returns the slot and its
// place, or 0 where there is none.
func (p *bigPage) probe(i uint32, shift uint, want uint64) (slot uint64, at uint32) {
	for ; ; i++ {
		s := atomic.LoadUint64(&p[i%bigWords])
		if s == 0 || s>>shift == want>>shift && s != slotDead {
			return s, i % bigWords
		}
	}
}

// found is where a slot was found.
type found struct{ page, at uint32 }

// holds says whether a slot still is where it was found. Who then has marked it keeps it from a sweep (mark.go).
func (x *slots) holds(s *Store, f found, slot uint64) bool {
	return x.page(slot) == f.page && atomic.LoadUint64(&s.big.big(f.page)[f.at]) == slot
}

// slot is the first slot that find will look at, or nil.
func (x *slots) slot(s *Store, slot uint64) *uint64 {
	d := x.dir.Load()
	if d == nil {
		return nil
	}
	return &s.big.big(atomic.LoadUint32(&d.pages[d.index(slot)]))[slotStart(slot)]
}

// put stores a slot in a page that has an empty place. It is false where that took the place of a dead one.
func (p *bigPage) put(slot uint64) (more bool) {
	i := slotStart(slot)
	for ; ; i++ {
		if old := atomic.LoadUint64(&p[i%bigWords]); old == 0 || old == slotDead {
			atomic.StoreUint64(&p[i%bigWords], slot)
			return old == 0
		}
	}
}

// insert adds a slot that is not there. It is false when there is no memory. x.mu is held.
func (x *slots) insert(s *Store, slot uint64) bool {
	for {
		d := x.dir.Load()
		if d == nil {
			n := s.big.alloc(true)
			if n == 0 {
				return false
			}
			x.pages++
			d = &slotDir{pages: []uint32{n}, heads: make([]slotHead, 1)}
			x.dir.Store(d)
		}
		k := d.index(slot)
		first, _ := d.page(k)
		if h := &d.heads[first]; h.used < slotFull {
			if s.big.big(d.pages[k]).put(slot) {
				h.used++
			} else {
				h.dead--
			}
			return true
		}
		if !x.makeRoom(s, d, k) {
			return false
		}
	}
}

// makeRoom replaces the page of entry k of d by one without dead slots, where these are many, or else by two. x.mu is
// held.
func (x *slots) makeRoom(s *Store, d *slotDir, k uint32) bool {
	first, entries := d.page(k)
	old, h := d.pages[k], d.heads[first]
	if h.dead > h.used/4 {
		n := s.big.alloc(true)
		if n == 0 {
			return false
		}
		used := s.big.big(n).putAll(s.big.big(old))
		d.lead(first, entries, n, uint32(h.depth), used)
		s.retireBig(old)
		return true
	}
	if uint32(h.depth) == d.depth {
		if d.depth == slotDepth {
			return false
		}
		d = d.double()
		x.dir.Store(d)
		first, entries = 2*first, 2
	}
	var half, used [2]uint32
	for i := range half {
		if half[i] = s.big.alloc(true); half[i] == 0 {
			if i == 1 {
				s.big.give(half[:1])
			}
			return false
		}
	}
	for _, slot := range s.big.big(old) {
		if slot != 0 && slot != slotDead {
			i := slot >> (63 - h.depth) & 1
			s.big.big(half[i]).put(slot)
			used[i]++
		}
	}
	for i := range half {
		d.lead(first+uint32(i)*entries/2, entries/2, half[i], uint32(h.depth)+1, used[i])
	}
	x.pages++
	s.retireBig(old)
	return true
}

// double is a directory with two entries for each of d.
func (d *slotDir) double() *slotDir {
	wide := &slotDir{depth: d.depth + 1, pages: make([]uint32, 2*len(d.pages)), heads: make([]slotHead, 2*len(d.heads))}
	for i, n := range d.pages {
		wide.pages[2*i], wide.pages[2*i+1] = n, n
		wide.heads[2*i], wide.heads[2*i+1] = d.heads[i], slotHead{depth: d.heads[i].depth}
	}
	return wide
}

// putAll puts the slots of another page that are not dead, and returns how many.
func (p *bigPage) putAll(from *bigPage) (n uint32) {
	for _, slot := range from {
		if slot != 0 && slot != slotDead {
			p.put(slot)
			n++
		}
	}
	return n
}

// sweep drops the slots whose numbers, their bits in mask, are not in m, and returns how many. A writer that found a
// slot without taking mu marks it and then looks whether it is still there (mark.go): so slots are dropped first, and
// then those are put back that were marked meanwhile. going, where it is not nil, is called before a slot is dropped,
// gone when it is for good. It holds x.mu page by page.
func (x *slots) sweep(s *Store, m *marks, mask uint64, going, gone func(slot uint64)) (dropped int) {
	type lostSlot struct {
		at   int
		slot uint64
	}
	var lost []lostSlot
	var alive [bigWords]bool
	for k := uint32(0); ; {
		x.mu.Lock()
		d := x.dir.Load()
		if d == nil || k >= uint32(len(d.pages)) {
			x.mu.Unlock()
			return dropped
		}
		// Where the directory has doubled since the last page, k is before the page that comes next.
		first, entries := d.page(k)
		h, p := &d.heads[first], s.big.big(d.pages[k])
		for i, slot := range p { // by itself, so that cache misses overlap
			alive[i] = m.has(uint32(slot & mask))
		}
		lost = lost[:0]
		for i, slot := range p {
			if alive[i] || slot == 0 || slot == slotDead {
				continue
			}
			if going != nil {
				going(slot)
			}
			atomic.StoreUint64(&p[i], slotDead)
			lost = append(lost, lostSlot{i, slot})
		}
		before := dropped
		for _, l := range lost {
			if m.has(uint32(l.slot & mask)) {
				atomic.StoreUint64(&p[l.at], l.slot)
				continue
			}
			dropped++
			if gone != nil {
				gone(l.slot)
			}
		}
		if h.dead += uint16(dropped - before); h.dead > 0 {
			n := p.clean()
			h.used -= n
			h.dead -= n
		}
		x.merge(s, d, k)
		x.mu.Unlock()
		k = first + entries
		if s.retired.bytes.Load() >= reclaimBytes {
			s.reclaim()
		}
	}
}

// clean empties the places of dead slots behind which there is an empty place, where nobody needs to look on, and
// returns how many.
func (p *bigPage) clean() (n uint16) {
	for i := 2*bigWords - 1; i >= 0; i-- { // twice around, for those before the first empty place
		if p[i%bigWords] == slotDead && p[(i+1)%bigWords] == 0 {
			atomic.StoreUint64(&p[i%bigWords], 0)
			n++
		}
	}
	return n
}

// merge joins the page of entry k with its buddy before it when both together are less than half full. x.mu is held.
func (x *slots) merge(s *Store, d *slotDir, k uint32) {
	depth := d.heads[k].depth
	if depth == 0 {
		return
	}
	b, entries := d.page(k)
	if b&entries == 0 {
		return // the buddy comes after this page and will look back
	}
	a := b - entries
	if d.heads[a].depth != depth || d.heads[a].live()+d.heads[b].live() > slotFull/2 {
		return
	}
	n := s.big.alloc(true)
	if n == 0 {
		return
	}
	joined := s.big.big(n)
	pages := [2]uint32{d.pages[a], d.pages[b]}
	used := joined.putAll(s.big.big(pages[0]))
	used += joined.putAll(s.big.big(pages[1]))
	d.lead(a, 2*entries, n, uint32(depth)-1, used)
	x.pages--
	s.retireBig(pages[0])
	s.retireBig(pages[1])
}
