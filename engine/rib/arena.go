package rib

import (
	"encoding/binary"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	unitBytes   = 4
	chunkUnits  = chunkBytes / unitBytes
	chunkShift  = 19      // log2 of chunkUnits
	extentUnits = 1 << 15 // 128 KiB
	extentShift = 15
	arenaChunks = 1 << 13 // 16 GiB
	recordMax   = 65500   // bytes in one record
	exactUnits  = 64      // blocks below are kept in one free list per size, those above in one per power of two
	freeLists   = exactUnits + 12

	freeBlock = 0xffff // in place of a record's length
)

// arena keeps byte records of any size; a record's number is its address in units of four bytes.
//
//	record      length 2 | bytes | up to 3 bytes of padding
//	free block  0xffff 2 | units 2 | next free block 4 (if there is room) ...
//
// Memory is divided into extents, each owned by one lane or by none: a writer adds to one lane, so that what it
// adds lies together. Invariants: an extent is tiled by records and free blocks without a gap, but for its part
// beyond cur while it is the lane's current one; so it can be walked. A record does not change from its publication
// until it is freed, and is freed only when nobody looks at it. Number 0 is no record.
type arena struct {
	m      *memory
	modest int    // chunks that are not made of huge pages
	least  uint32 // units in the smallest record
	lanes  []lane
	live   atomic.Int64 // units in records
	grown  atomic.Int64 // bytes of records made since the last sweep

	mu       sync.Mutex
	next     uint32   // first extent never handed out
	free     []uint32 // extents without owner
	released []bool   // by chunk, as in slab

	dir [arenaChunks]atomic.Pointer[chunk]
}

// lane is one of several places where records are added. mu guards all of it, and the headers of its free blocks.
type lane struct {
	mu       sync.Mutex
	cur, end uint32 // the unused part of the current extent
	extents  []uint32
	some     [2]uint64 // which lists are not empty
	heads    [freeLists]uint32
	touched  byte // or the loop in touch would be left out
}

func (a *arena) init(m *memory, lanes, modest int, least uint32) {
	a.m, a.modest, a.least, a.lanes = m, modest, least, make([]lane, lanes)
}

// record is the bytes of a record: a view, to be looked at under the guard.
func (a *arena) record(n uint32) []byte {
	c := a.dir[n>>chunkShift].Load()
	return recordAt(c.bytes()[(n&(chunkUnits-1))*unitBytes:])
}

// recordAt is the bytes of the record that b begins with.
func recordAt(b []byte) []byte { return b[2 : 2+int(binary.LittleEndian.Uint16(b))] }

// extentBytes is the memory of an extent.
func (a *arena) extentBytes(e uint32) []byte {
	return a.block(e << extentShift)[:extentUnits*unitBytes]
}

// block is the memory from unit n to the end of its chunk.
func (a *arena) block(n uint32) []byte {
	return a.dir[n>>chunkShift].Load().bytes()[(n&(chunkUnits-1))*unitBytes:]
}

func (a *arena) recordUnits(length int) uint32 {
	return max(a.least, uint32(length+2+unitBytes-1)/unitBytes)
}

// blockUnits is the size of the record or free block at n, and whether it is a free block.
func (a *arena) blockUnits(n uint32) (units uint32, free bool) {
	return a.unitsOf(a.block(n))
}

func (a *arena) unitsOf(b []byte) (units uint32, free bool) {
	length := binary.LittleEndian.Uint16(b)
	if length == freeBlock {
		return uint32(binary.LittleEndian.Uint16(b[2:])), true
	}
	return a.recordUnits(int(length)), false
}

// add stores a record and returns its number, or 0 when there is no room. The number is in m, if m is not nil,
// before a sweep can see the record.
func (a *arena) add(k int, rec []byte, m *marks) uint32 {
	if len(rec) > recordMax {
		return 0
	}
	units := a.recordUnits(len(rec))
	l := &a.lanes[k]
	l.mu.Lock()
	defer l.mu.Unlock()
	n := a.take(l, units)
	if n == 0 {
		return 0
	}
	b := a.block(n)
	binary.LittleEndian.PutUint16(b, uint16(len(rec)))
	copy(b[2:], rec)
	if m != nil {
		m.set(n)
	}
	a.live.Add(int64(units))
	a.grown.Add(int64(units) * unitBytes)
	return n
}

func freeList(units uint32) int {
	if units < exactUnits {
		return int(units)
	}
	return exactUnits + bits.Len32(units/exactUnits) - 1
}

// take takes units from a lane, which is locked.
func (a *arena) take(l *lane, units uint32) uint32 {
	// A block of the same size, or one that leaves room for another such record, or fresh memory, or any block, or
	// more memory.
	if units < exactUnits && l.heads[units] != 0 {
		return l.pop(a, int(units), units)
	}
	if n := l.pop(a, freeList(2*units)+1, units); n != 0 {
		return n
	}
	if l.end-l.cur < units {
		if n := l.pop(a, freeList(units)+1, units); n != 0 {
			return n
		}
		a.pushFree(l, l.cur, l.end-l.cur)
		l.cur, l.end = 0, 0
		e, ok := a.extent()
		if !ok {
			return 0
		}
		l.extents = append(l.extents, e)
		l.cur, l.end = e<<extentShift, (e+1)<<extentShift
		if e == 0 {
			l.cur += unitWaste // number 0 is no record
			a.header(0, unitWaste)
		}
	}
	n := l.cur
	l.cur += units
	return n
}

const unitWaste = 2

func (a *arena) header(n, units uint32) {
	b := a.block(n)
	binary.LittleEndian.PutUint16(b, freeBlock)
	binary.LittleEndian.PutUint16(b[2:], uint16(units))
}

// pop takes a block from free list k or the first that is not empty above it, and gives back what is left of it.
func (l *lane) pop(a *arena, k int, units uint32) uint32 {
	for w := k / 64; w < len(l.some); w++ {
		m := l.some[w]
		if w == k/64 {
			m &= ^uint64(0) << (k % 64)
		}
		if m == 0 {
			continue
		}
		k = w*64 + bits.TrailingZeros64(m)
		n := l.heads[k]
		size, _ := a.blockUnits(n)
		l.heads[k] = binary.LittleEndian.Uint32(a.block(n)[4:])
		if l.heads[k] == 0 {
			l.some[w] &^= 1 << (k % 64)
		}
		if size > units {
			a.pushFree(l, n+units, size-units)
		}
		return n
	}
	return 0
}

// pushFree makes units from n on a free block. One of a single unit is in no list: it waits to be joined with others.
func (a *arena) pushFree(l *lane, n, units uint32) {
	if units == 0 {
		return
	}
	a.header(n, units)
	if units == 1 {
		return
	}
	k := freeList(units)
	binary.LittleEndian.PutUint32(a.block(n)[4:], l.heads[k])
	l.heads[k] = n
	l.some[k/64] |= 1 << (k % 64)
}

// extent hands out an extent.
func (a *arena) extent() (uint32, bool) {
	const perChunk = chunkUnits / extentUnits
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := len(a.free); k > 0 {
		e := a.free[k-1]
		if c := e / perChunk; a.released[c] {
			if !a.m.revive() {
				return 0, false
			}
			a.released[c] = false
		}
		a.free = a.free[:k-1]
		return e, true
	}
	e := a.next
	if e/perChunk >= arenaChunks {
		return 0, false
	}
	if c := e / perChunk; a.dir[c].Load() == nil {
		m := a.m.take(int(c) >= a.modest)
		if m == nil {
			return 0, false
		}
		a.dir[c].Store(m)
		a.released = append(a.released, false)
	}
	a.next++
	return e, true
}

// end is the first number that no record has had yet.
func (a *arena) end() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return uint64(a.next) << extentShift
}

// drop frees one record, without joining it to its neighbours.
func (a *arena) drop(k int, n uint32) {
	l := &a.lanes[k]
	l.mu.Lock()
	defer l.mu.Unlock()
	units, _ := a.blockUnits(n)
	a.live.Add(-int64(units))
	a.pushFree(l, n, units)
}

// rebuild frees every record of a lane that is dead, joins neighbouring free blocks, and gives empty extents back.
// It lets go of the lane now and then, so that nobody waits for more than a fraction of a millisecond. Extents that evict, if
// it is not nil, says so of are taken out of the lane, unless it adds there; nothing can be added to them then.
func (a *arena) rebuild(k int, dead, evict func(n uint32) bool) (records int, freed int64, evicted []uint32) {
	l := &a.lanes[k]
	l.mu.Lock()
	l.heads, l.some = [freeLists]uint32{}, [2]uint64{} // what is not walked yet is not handed out meanwhile
	todo := len(l.extents)
	// The one where the lane adds comes first: were it left for another while the lane is let go of, the rest of it would
	// be put in a list then, and once more when it is walked.
	for i, e := range l.extents {
		if (e+1)<<extentShift == l.end {
			l.extents[0], l.extents[i] = e, l.extents[0]
		}
	}
	var empty []uint32
	kept := l.extents[:0:0]
	for i := range todo {
		e := l.extents[i]
		from, to := e<<extentShift, (e+1)<<extentShift
		current := l.end == to
		if current {
			to = l.cur
		}
		if e == 0 {
			from = unitWaste
		}
		var run, runUnits uint32
		whole := true
		type span struct{ at, units uint32 }
		var spans []span
		b := a.extentBytes(e)
		l.touch(b[from%extentUnits*unitBytes:][:(to-from)*unitBytes])
		for n := from; n < to; {
			units, isFree := a.unitsOf(b[n%extentUnits*unitBytes:])
			if !isFree && dead(n) {
				records++
				freed += int64(units) * unitBytes
				isFree = true
			}
			if isFree {
				if runUnits == 0 {
					run = n
				}
				runUnits += units
			} else {
				whole = false
				if runUnits > 0 {
					spans = append(spans, span{run, runUnits})
				}
				runUnits = 0
			}
			n += units
		}
		if runUnits > 0 {
			spans = append(spans, span{run, runUnits})
		}
		switch {
		case whole && !current && e != 0:
			empty = append(empty, e)
		case evict != nil && !current && evict(e):
			evicted = append(evicted, e)
		default:
			for _, f := range spans {
				a.pushFree(l, f.at, f.units)
			}
			kept = append(kept, e)
		}
		if i%8 == 7 {
			l.mu.Unlock()
			runtime.Gosched() // or who waits would hardly ever get it
			l.mu.Lock()
		}
	}
	l.extents = append(kept, l.extents[todo:]...)
	l.mu.Unlock()
	a.live.Add(-freed / unitBytes)
	a.mu.Lock()
	a.free = append(a.free, empty...)
	a.mu.Unlock()
	return records, freed, evicted
}

// touch brings an extent into the cache, whose misses overlap so: where a record begins is known only when the one
// before it was looked at. l is locked.
func (l *lane) touch(extent []byte) {
	for i := 0; i < len(extent); i += 64 {
		l.touched += extent[i]
	}
}

// trim is slab.trim for extents.
func (a *arena) trim() {
	const perChunk = chunkUnits / extentUnits
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.free) < perChunk {
		return
	}
	count := make([]int, len(a.released))
	for _, e := range a.free {
		count[e/perChunk]++
	}
	for c := range count {
		if count[c] == perChunk && !a.released[c] {
			a.released[c] = a.m.release(a.dir[c].Load())
		}
	}
	last := 0
	for i, e := range a.free {
		if a.released[e/perChunk] {
			a.free[i], a.free[last] = a.free[last], e
			last++
		}
	}
}

// walk appends the numbers of the records in extent i of a lane. It is false behind the last extent.
func (a *arena) walk(dst []uint32, k, i int) ([]uint32, bool) {
	dst, _, _, ok := a.walkExtent(dst, k, i)
	return dst, ok
}

// walkExtent also says which extent that is, and whether the lane adds there.
func (a *arena) walkExtent(dst []uint32, k, i int) (ids []uint32, e uint32, current, ok bool) {
	l := &a.lanes[k]
	l.mu.Lock()
	defer l.mu.Unlock()
	if i >= len(l.extents) {
		return dst, 0, false, false
	}
	e = l.extents[i]
	from, to := e<<extentShift, (e+1)<<extentShift
	if current = l.end == to; current {
		to = l.cur
	}
	b := a.extentBytes(e)
	for n := from; n < to; {
		units, free := a.unitsOf(b[n%extentUnits*unitBytes:])
		if !free {
			dst = append(dst, n)
		}
		n += units
	}
	return dst, e, current, true
}
