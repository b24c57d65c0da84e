package rib

import (
	"cmp"
	"slices"
	"sync/atomic"
)

const (
	compactWaste = 16 // compact when more than this part of the arena is free blocks,
	compactLeast = 1  // and they come to more than this many chunks
	compactCells = 1 << 13
	movedUnits   = extentUnits >> attrShare
)

// moves says where records were moved to while a compaction runs: by extent, then by place in it. Whoever compares
// records by their numbers asks it first.
type moves struct {
	by []*[movedUnits]uint32
}

// to is the number that a record has now.
func (m *moves) to(id uint32) uint32 {
	if e := id >> extentShift; int(e) < len(m.by) && m.by[e] != nil {
		if n := atomic.LoadUint32(&m.by[e][id>>attrShare%movedUnits]); n != 0 {
			return n
		}
	}
	return id
}

func (m *moves) cell(c uint64) uint64 {
	return uint64(m.to(cellAttr(c)))<<attrShift | c&(1<<attrShift-1)
}

// wasteful says whether free blocks take so much of the arena of attribute records that compact is worth while.
func (s *Store) wasteful() bool {
	held := s.attrs.arena.held()
	waste := held - s.attrs.arena.live.Load()
	return waste > held/compactWaste && waste > compactLeast*chunkUnits
}

// held is the units in extents that lanes have.
func (a *arena) held() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return (int64(a.next) - int64(len(a.free))) * extentUnits
}

// compact empties the chunks of the arena that hold least, and gives them back: what changed over and over leaves the
// arena as large as it was at its worst. It runs beside writers and readers, in these steps:
//
//  1. Choose chunks, and take them out of the lanes, so that nothing new is put there.
//  2. Put moves in place, with nobody inside the guard: from here on writers compare records by where they are now.
//  3. Copy the records and change their slots, so that writers obtain the new numbers.
//  4. When all who came earlier have let go, change the cells, each table under its mutex.
//  5. When all who came earlier have let go, nobody knows the old numbers: the chunks are free.
//
// It is not given up between 3 and 5. sweepMu is held, and no marks are in place.
func (s *Store) compact() {
	a := &s.attrs.arena
	list, spare := a.evict()
	if len(list) == 0 {
		return
	}
	m := &moves{}
	for _, x := range list {
		for int(x.e) >= len(m.by) {
			m.by = append(m.by, nil)
		}
		m.by[x.e] = new([movedUnits]uint32)
	}
	s.alone(func() { s.moving.Store(m) })
	gone := int64(0)
	for i, x := range list {
		units, ok := s.moveExtent(m, x)
		if !ok { // no memory: what is left stays, and what was moved of it is dead
			a.adopt(list[i:])
			list = list[:i]
			break
		}
		gone += units
	}
	s.alone(func() { s.freed.Add(1) }) // verdicts on old numbers are not those on new ones
	for _, f := range *s.families.Load() {
		for _, t := range f.snapshot(nil) {
			for from, more := uint64(0), true; more; {
				from, more = t.move(m, from)
			}
		}
	}
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	s.alone(func() { s.freed.Add(1); s.moving.Store(nil) })
	a.live.Add(-gone)
	a.mu.Lock()
	a.free = append(a.free, spare...)
	for _, x := range list {
		a.free = append(a.free, x.e)
	}
	a.mu.Unlock()
	a.trim()
}

// alone calls fn with the guard held exclusively.
func (s *Store) alone(fn func()) {
	s.guard.Lock()
	defer s.guard.Unlock()
	fn()
}

// moveExtent copies the records of an extent that no lane owns. It returns their size. It is false when there is no
// memory.
func (s *Store) moveExtent(m *moves, x evicted) (units int64, ok bool) {
	a := &s.attrs.arena
	s.guard.RLock()
	defer s.guard.RUnlock()
	if s.closed {
		return 0, false
	}
	for n := x.e << extentShift; n < (x.e+1)<<extentShift; {
		size, free := a.blockUnits(n)
		if !free {
			if !s.attrs.move(s, m, n, x.lane) {
				return units, false
			}
			units += int64(size)
		}
		n += size
	}
	return units, true
}

// move copies a record and changes its slot. One without a slot is dead: it is left behind.
func (t *attrs) move(s *Store, m *moves, id uint32, lane int) bool {
	rec := t.arena.record(id)
	h := t.hash(rec)
	x := &t.shard[h>>hashShard]
	x.mu.Lock()
	defer x.mu.Unlock()
	old := h&hashSlot<<attrShift | uint64(id)
	page := x.page(old)
	if page == 0 {
		return true
	}
	p := s.big.big(page)
	slot, at := p.probe(slotStart(old), 0, old)
	if slot == 0 {
		return true
	}
	to := t.arena.add(lane, rec, nil)
	if to == 0 {
		return false
	}
	t.arena.grown.Add(-int64(t.arena.recordUnits(len(rec))) * unitBytes) // nothing new
	atomic.StoreUint32(&m.by[id>>extentShift][id>>attrShare%movedUnits], to)
	atomic.StoreUint64(&p[at], old&^hashSlot|uint64(to))
	return true
}

// move changes some cells, from a key on, to what their records are numbered now.
func (t *Table) move(m *moves, from uint64) (next uint64, more bool) {
	if !t.enter() {
		return 0, false
	}
	defer t.leave()
	seen := 0
	t.each(t.root.Load(), from, func(id, path uint32, cell *uint64) bool {
		if seen++; seen > compactCells {
			next, more = t.key(id, path), true
			return false
		}
		if c := atomic.LoadUint64(cell); c != 0 {
			if to := m.cell(c); to != c {
				atomic.StoreUint64(cell, to)
			}
		}
		return true
	})
	return next, more
}

// evicted is an extent taken out of its lane.
type evicted struct {
	e    uint32
	lane int    // where what is in it goes
	live uint32 // units
}

// evict takes the extents of chunks that hold least out of their lanes: so many that the free blocks of the others
// have room for what is in them. It leaves alone the first chunk, and those where a lane adds. spare is the extents of
// the same chunks that no lane had.
func (a *arena) evict() (list []evicted, spare []uint32) {
	const perChunk = chunkUnits / extentUnits
	a.mu.Lock()
	whole := a.next / perChunk
	a.mu.Unlock()
	live := make([]uint32, whole) // by chunk
	busy := make([]bool, whole+1)
	busy[0] = true
	var all []evicted
	room := make([]int64, len(a.lanes))
	var ids []uint32
	for k := range a.lanes {
		for i := 0; ; i++ {
			var e uint32
			var current, more bool
			if ids, e, current, more = a.walkExtent(ids[:0], k, i); !more {
				break
			}
			c := min(e/perChunk, whole)
			if busy[c] = busy[c] || current || c == whole; current || c == whole {
				continue
			}
			x := evicted{e: e, lane: k}
			for _, n := range ids {
				units, _ := a.blockUnits(n)
				x.live += units
			}
			live[c] += x.live
			room[k] += int64(extentUnits - x.live)
			all = append(all, x)
		}
	}
	left := int64(0)
	for _, n := range room {
		left += n
	}
	var chunks []uint32
	for c := range live {
		if !busy[c] && live[c] > 0 {
			chunks = append(chunks, uint32(c))
		}
	}
	slices.SortFunc(chunks, func(x, y uint32) int { return cmp.Compare(live[x], live[y]) })
	chosen := make([]bool, whole+1)
	n := 0
	for _, c := range chunks {
		// Some of the room is in pieces too small.
		if left -= chunkUnits; left < 0 || live[c] > chunkUnits/8*7 {
			break
		}
		chosen[c] = true
		n++
	}
	if n == 0 {
		return nil, nil
	}
	is := func(e uint32) bool { return chosen[min(e/perChunk, whole)] }
	a.mu.Lock()
	kept := a.free[:0]
	for _, e := range a.free {
		if is(e) && !a.released[e/perChunk] {
			spare = append(spare, e)
		} else {
			kept = append(kept, e)
		}
	}
	a.free = kept
	a.mu.Unlock()
	out := map[uint32]bool{}
	for k := range a.lanes {
		_, _, evicted := a.rebuild(k, func(uint32) bool { return false }, is)
		for _, e := range evicted {
			out[e] = true
		}
	}
	// Each goes where there is most room.
	for _, x := range all {
		if out[x.e] {
			room[x.lane] -= int64(extentUnits - x.live)
		}
	}
	for _, x := range all {
		if !out[x.e] {
			continue
		}
		x.lane = 0
		for k := range room {
			if room[k] > room[x.lane] {
				x.lane = k
			}
		}
		room[x.lane] -= int64(x.live)
		list = append(list, x)
		delete(out, x.e)
	}
	for e := range out { // it came to its lane meanwhile
		list = append(list, evicted{e: e})
	}
	return list, spare
}

// adopt gives extents to a lane.
func (a *arena) adopt(list []evicted) {
	l := &a.lanes[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range list {
		l.extents = append(l.extents, x.e)
	}
}
