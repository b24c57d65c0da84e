package rib

import (
	"sync"
	"sync/atomic"
)

const (
	shards     = 64
	slotRoom   = bigWords - 1        // word 0 of a page is its head
	slotFull   = slotRoom * 84 / 100 // a fuller page is split
	slotDepth  = 22
	headShift  = 16 // head: slots used | depth of the page << 16
	headNumber = 1<<headShift - 1
)

// slots is one shard of a hash table of 64-bit slots: extendible hashing over big pages. A table grows a page at a
// time, so there is never a long rehash, and nothing but fixed pages is ever allocated.
//
// A slot's upper 32 bits say where it belongs: the uppermost bits choose the page, the lower 16 the place in it to
// probe from. 0 is an empty slot.
//
// Invariants: finding takes no lock. mu is held to change anything. A slot once in a page stays there, and a page that
// is replaced (by split, merge or sweep) is retired as it was: so a reader that finds a slot finds a true one, and one
// that finds none repeats under mu before it believes so.
type slots struct {
	mu    sync.Mutex
	dir   atomic.Pointer[slotDir]
	used  int // slots, under mu
	pages int // under mu
	_     [32]byte
}

type slotDir struct {
	depth uint32
	pages []uint32 // 1<<depth page numbers, loaded and stored atomically
}

func (d *slotDir) index(slot uint64) uint32 { return uint32(slot>>32) >> (32 - d.depth) }

func slotStart(slot uint64) uint32 { return 1 + uint32(slot>>32&0xffff)*slotRoom>>16 }

// page is the number of the page a slot belongs to, 0 for none. The slot's id bits do not matter.
func (x *slots) page(slot uint64) uint32 {
	d := x.dir.Load()
	if d == nil {
		return 0
	}
	return atomic.LoadUint32(&d.pages[d.index(slot)])
}

// probe looks from place i on for a slot that equals want above the lowest shift bits. It returns the slot and the
// place to go on from, or 0 where there is none.
func (p *bigPage) probe(i uint32, shift uint, want uint64) (slot uint64, next uint32) {
	for {
		s := atomic.LoadUint64(&p[i&(bigWords-1)])
		i++
		if i == bigWords {
			i = 1
		}
		if s == 0 || s>>shift == want>>shift {
			return s, i
		}
	}
}

// slot is the first slot that find will look at, or nil.
func (x *slots) slot(s *Store, slot uint64) *uint64 {
	d := x.dir.Load()
	if d == nil {
		return nil
	}
	return &s.big.big(atomic.LoadUint32(&d.pages[d.index(slot)]))[slotStart(slot)]
}

// put stores a slot in a page that has room.
func (p *bigPage) put(slot uint64) {
	i := slotStart(slot)
	for atomic.LoadUint64(&p[i]) != 0 {
		if i++; i == bigWords {
			i = 1
		}
	}
	atomic.StoreUint64(&p[i], slot)
	p[0]++
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
			d = &slotDir{pages: []uint32{n}}
			x.dir.Store(d)
		}
		k := d.index(slot)
		p := s.big.big(d.pages[k])
		if p[0]&headNumber < slotFull {
			p.put(slot)
			x.used++
			return true
		}
		if !x.split(s, d, k) {
			return false
		}
	}
}

// split replaces page k of d by two. x.mu is held.
func (x *slots) split(s *Store, d *slotDir, k uint32) bool {
	old := d.pages[k]
	p := s.big.big(old)
	depth := uint32(p[0] >> headShift)
	if depth == d.depth {
		if depth == slotDepth {
			return false
		}
		wide := &slotDir{depth: d.depth + 1, pages: make([]uint32, 2*len(d.pages))}
		for i, n := range d.pages {
			wide.pages[2*i], wide.pages[2*i+1] = n, n
		}
		x.dir.Store(wide)
		d, k = wide, 2*k
	}
	var half [2]uint32
	for i := range half {
		if half[i] = s.big.alloc(true); half[i] == 0 {
			if i == 1 {
				s.big.give(half[:1])
			}
			return false
		}
		s.big.big(half[i])[0] = uint64(depth+1) << headShift
	}
	for i := 1; i < bigWords; i++ {
		if slot := p[i]; slot != 0 {
			s.big.big(half[slot>>(63-depth)&1]).put(slot)
		}
	}
	x.replace(d, k, depth, half)
	x.pages++
	s.retireBig(old)
	return true
}

// replace puts two pages of depth+1 in place of the page of depth that entry k leads to.
func (x *slots) replace(d *slotDir, k, depth uint32, half [2]uint32) {
	span := uint32(1) << (d.depth - depth)
	first := k &^ (span - 1)
	for i := range span {
		n := half[0]
		if i >= span/2 {
			n = half[1]
		}
		atomic.StoreUint32(&d.pages[first+i], n)
	}
}

// sweep drops the slots that are dead. A writer that found a slot without taking mu marks it alive and then looks
// whether the page is still in place (mark.go): so pages are replaced first, and then those slots are put back that
// were marked meanwhile. gone is called for each slot that is dropped for good. It holds x.mu page by page.
func (x *slots) sweep(s *Store, dead func(slot uint64) bool, gone func(slot uint64)) {
	var lost []uint64
	for k := uint32(0); ; {
		x.mu.Lock()
		d := x.dir.Load()
		if d == nil || k >= uint32(len(d.pages)) {
			x.mu.Unlock()
			break
		}
		old := d.pages[k]
		p := s.big.big(old)
		span := uint32(1) << (d.depth - uint32(p[0]>>headShift))
		lost = lost[:0]
		for i := 1; i < bigWords; i++ {
			if p[i] != 0 && dead(p[i]) {
				lost = append(lost, p[i])
			}
		}
		var n uint32
		if len(lost) > 0 {
			n = s.big.alloc(true) // without memory the dead stay for the next sweep
		}
		if n != 0 {
			q := s.big.big(n)
			q[0] = p[0] &^ headNumber
			j := 0
			for i := 1; i < bigWords; i++ {
				switch {
				case p[i] == 0:
				case j < len(lost) && p[i] == lost[j]:
					j++
				default:
					q.put(p[i])
				}
			}
			x.replace(d, k, uint32(p[0]>>headShift), [2]uint32{n, n})
			for _, slot := range lost {
				if dead(slot) {
					x.used--
					gone(slot)
				} else {
					q.put(slot)
				}
			}
			s.retireBig(old)
		}
		x.merge(s, d, k)
		x.mu.Unlock()
		k = k&^(span-1) + span
		if s.retired.bytes.Load() >= reclaimBytes {
			s.reclaim()
		}
	}
}

// merge joins the page of entry k with its buddy before it when both together are less than half full. x.mu is held.
func (x *slots) merge(s *Store, d *slotDir, k uint32) {
	b := d.pages[k]
	q := s.big.big(b)
	depth := uint32(q[0] >> headShift)
	if depth == 0 {
		return
	}
	span := uint32(1) << (d.depth - depth)
	k &^= span - 1
	if k&span == 0 {
		return // the buddy comes after this page and will look back
	}
	a := d.pages[k-span]
	p := s.big.big(a)
	if uint32(p[0]>>headShift) != depth || p[0]&headNumber+q[0]&headNumber > slotFull/2 {
		return
	}
	n := s.big.alloc(true)
	if n == 0 {
		return
	}
	joined := s.big.big(n)
	joined[0] = uint64(depth-1) << headShift
	for _, from := range []*bigPage{p, q} {
		for i := 1; i < bigWords; i++ {
			if from[i] != 0 {
				joined.put(from[i])
			}
		}
	}
	x.replace(d, k, depth-1, [2]uint32{n, n})
	x.pages--
	s.retireBig(a)
	s.retireBig(b)
}
