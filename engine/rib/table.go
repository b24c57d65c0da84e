package rib

import (
	"sync"
	"sync/atomic"
	"time"

	"bmp/proto/bgp"
)

// Owner says whose routes a table holds.
type Owner struct {
	Client uint32
	Peer   uint32 // the peer's number on that client; not given to another peer while a table of it lives
	View   uint8  // bmp.View
	Family bgp.Family
}

// Counts says what announcements and withdrawals did.
type Counts struct {
	Added     uint64 // announced, and was not there
	Changed   uint64 // announced with other attributes than before
	Unchanged uint64 // announced again with equal attributes: the route keeps its time
	Withdrawn uint64 // withdrawn, and was there
	NotFound  uint64 // withdrawn, and was not there
	Refused   uint64 // announced, but no memory or number was left for it: the route is not held, nor is its predecessor
}

// A cell is one route: attribute record 32 bits | generation 1 | time 31. 0 is no route, as a record's number is
// not 0. It is one aligned word, stored and loaded atomically: its parts never disagree.
const (
	cellGen  = 1 << 31
	cellTime = cellGen - 1
)

func cellAttr(c uint64) uint32 { return uint32(c >> 32) }

// Table holds the routes of one peer, view and family. Its methods may be called from any goroutine. What a Writer has
// staged is not part of the table until its Flush: flush before Clear, Drop, BeginRefresh and SweepStale.
//
// Invariants: mu is held to change a table, so it has one writer at a time. Readers take no lock but Store.guard,
// shared: they load root once and see what was there then and, in part, what changed since. A route whose
// generation is not gen is stale; gen changes only while no route is stale, so one bit is enough.
type Table struct {
	store   *Store
	family  *family
	owner   Owner
	number  uint32 // in family.tables
	bits    presence
	addPath bool

	root    atomic.Pointer[root] // nil while empty
	n       atomic.Uint32        // routes
	stale   atomic.Uint32
	gen     atomic.Uint32 // 0 or cellGen
	emptied atomic.Uint32

	mu      sync.Mutex
	counts  Counts
	tombs   uint32 // entries of a tree whose cell is 0
	guess   uint32 // KiB charged to Store.guessed
	lastLen uint32 // at the last sweep
	dropped bool
}

// root is what a table's cells are in: either an array of pages indexed by prefix number, or a tree (tree.go).
type root struct {
	dense    []uint32 // big pages of cells, by number>>blockShift; 0 is none. Loaded and stored atomically
	firsts   []uint64 // first key of each branch; that of the first branch is 0
	branches []atomic.Pointer[branch]
	only     [1]atomic.Pointer[branch] // branches of most trees: one thing less to fetch
}

func (r *root) isDense() bool { return r.dense != nil }

// page is a dense root's page for a number, or 0.
func (r *root) page(id uint32) uint32 {
	if i := int(id >> blockShift); i < len(r.dense) {
		return atomic.LoadUint32(&r.dense[i])
	}
	return 0
}

// pages appends the page numbers of a root that is no longer in use.
func (r *root) pages(big, small []uint32) ([]uint32, []uint32) {
	for _, n := range r.dense {
		if n != 0 {
			big = append(big, n)
		}
	}
	for i := range r.branches {
		for _, ref := range r.branches[i].Load().leaves {
			if ref&smallLeaf != 0 {
				small = append(small, ref&^smallLeaf)
			} else {
				big = append(big, ref)
			}
		}
	}
	return big, small
}

// bytes is about what the pages of a root take.
func (r *root) bytes() int64 {
	n := int64(len(r.dense)) * bigWords * 8
	for i := range r.branches {
		n += int64(len(r.branches[i].Load().leaves)) * bigWords * 8
	}
	return n
}

// Owner is what the table was made with.
func (t *Table) Owner() Owner { return t.owner }

// AddPath says whether path identifiers tell routes of one key apart.
func (t *Table) AddPath() bool { return t.addPath }

// Len is the number of routes held, stale ones included.
func (t *Table) Len() int { return int(t.n.Load()) }

// StaleLen is the number of routes that were not announced since the last BeginRefresh.
func (t *Table) StaleLen() int { return int(t.stale.Load()) }

// Counts is what was done to the table since it was made.
func (t *Table) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// Emptied is when the table last lost all its routes at once (Clear), or when it was made.
func (t *Table) Emptied() time.Time { return t.store.time(t.emptied.Load()) }

// enter locks the table for a change that is not a Writer's. It is false when the store is closed.
func (t *Table) enter() bool {
	t.store.guard.RLock()
	if t.store.closed {
		t.store.guard.RUnlock()
		return false
	}
	t.mu.Lock()
	return true
}

func (t *Table) leave() {
	t.mu.Unlock()
	t.store.guard.RUnlock()
	t.store.tidy()
	t.store.wakeSweep()
}

// Clear drops all routes, in microseconds whatever their number, and returns how many there were.
func (t *Table) Clear(now time.Time) int {
	if !t.enter() {
		return 0
	}
	defer t.leave()
	return t.clear(now)
}

func (t *Table) clear(now time.Time) int {
	n := t.n.Load()
	t.emptied.Store(t.store.tick(now))
	t.setRoot(nil)
	t.n.Store(0)
	t.stale.Store(0)
	t.tombs = 0
	t.store.departed.Add(int64(n))
	return int(n)
}

// setRoot replaces the root and retires the old one. t.mu is held.
func (t *Table) setRoot(r *root) {
	old := t.root.Load()
	t.root.Store(r)
	t.store.retireRoot(old)
	wasDense, isDense := old != nil && old.isDense(), r != nil && r.isDense()
	if wasDense && !isDense {
		t.charge(0)
	}
	if wasDense != isDense {
		t.family.mu.Lock()
		if !t.dropped {
			t.family.setDense(t, isDense)
		}
		t.family.mu.Unlock()
	}
}

// charge says how many KiB the table takes on the guess that it will fill up.
func (t *Table) charge(kib uint32) {
	t.store.guessed.Add((int64(kib) - int64(t.guess)) << 10)
	t.guess = kib
}

// BeginRefresh marks every route as stale; each that is announced again is not. Routes that were still stale from an
// earlier refresh are dropped first; their number is returned.
func (t *Table) BeginRefresh(now time.Time) int {
	dropped := 0
	for {
		dropped += t.SweepStale(now)
		if !t.enter() {
			return dropped
		}
		ready := t.stale.Load() == 0
		if ready {
			t.stale.Store(t.n.Load())
			t.gen.Store(t.gen.Load() ^ cellGen)
		}
		t.leave()
		if ready {
			return dropped
		}
	}
}

// SweepStale drops the routes that are still stale and returns how many there were.
func (t *Table) SweepStale(now time.Time) int {
	dropped, from, more := 0, uint64(0), true
	for more && t.enter() {
		var n int
		n, from, more = t.sweepSome(from, now)
		dropped += n
		t.leave()
	}
	return dropped
}

const sweepCells = 1 << 16 // cells looked at between looks at who else wants the guard

// sweepSome drops the stale ones among the first cells whose key is from or more.
func (t *Table) sweepSome(from uint64, now time.Time) (dropped int, next uint64, more bool) {
	r := t.root.Load()
	if t.stale.Load() == 0 || r == nil {
		return 0, 0, false
	}
	s, d, gen, tick, dense := t.store, &t.family.dict, uint64(t.gen.Load()), t.store.tick(now), r.isDense()
	seen := 0
	t.each(r, from, func(id, path uint32, cell *uint64) bool {
		if seen++; seen > sweepCells {
			more = true
			next = t.key(id, path)
			return false
		}
		if c := atomic.LoadUint64(cell); c != 0 && c&cellGen != gen {
			atomic.StoreUint64(cell, 0)
			d.changed(s, id, tick)
			dropped++
		}
		return true
	})
	if !dense {
		t.tombs += uint32(dropped)
	}
	t.stale.Add(-uint32(dropped))
	t.n.Add(-uint32(dropped))
	s.departed.Add(int64(dropped))
	if !more {
		t.compact()
	}
	return dropped, next, more
}

// key is what orders the cells of the table.
func (t *Table) key(id, path uint32) uint64 {
	if t.addPath {
		return uint64(id)<<32 | uint64(path)
	}
	return uint64(id)
}

// Drop clears the table and takes it out of the store. What is announced to it later is refused.
func (t *Table) Drop() {
	if !t.enter() {
		return
	}
	defer t.leave()
	if t.dropped {
		return
	}
	t.clear(time.Now())
	t.dropped = true
	t.family.forget(t)
}

// each calls fn for the cells of r whose key is from or more, in order of keys, empty ones too, until it returns
// false. A key is the prefix's number, and with ADD-PATH that<<32 | path identifier.
func (t *Table) each(r *root, from uint64, fn func(id, path uint32, cell *uint64) bool) {
	switch {
	case r == nil:
	case r.isDense():
		for i := int(from >> blockShift); i < len(r.dense); i++ {
			n := atomic.LoadUint32(&r.dense[i])
			if n == 0 {
				continue
			}
			page := t.store.big.big(n)
			first := uint64(i) << blockShift
			for k := max(from, first) - first; k < blockIDs; k++ {
				if !fn(uint32(first+k), 0, &page[k]) {
					return
				}
			}
		}
	default:
		t.eachLeaf(r, from, fn)
	}
}

// cell is the route of a number in a table without ADD-PATH, or 0.
func (t *Table) cell(id uint32) uint64 {
	r := t.root.Load()
	switch {
	case r == nil:
		return 0
	case r.isDense():
		if n := r.page(id); n != 0 {
			return atomic.LoadUint64(&t.store.big.big(n)[id%blockIDs])
		}
		return 0
	}
	if cell := t.find(r, uint64(id)); cell != nil {
		return atomic.LoadUint64(cell)
	}
	return 0
}

// densePage returns the page of a number of a dense table, and makes it if need be; nil when there is no memory.
// t.mu is held.
func (t *Table) densePage(id uint32) *bigPage {
	r := t.root.Load()
	if n := r.page(id); n != 0 {
		return t.store.big.big(n)
	}
	i := int(id >> blockShift)
	if i >= len(r.dense) {
		wide := make([]uint32, max(i+1+i/4, 16))
		copy(wide, r.dense)
		r = &root{dense: wide}
		t.root.Store(r) // the old one keeps no page that the new one does not
	}
	n := t.store.big.alloc(true)
	if n == 0 {
		return nil
	}
	atomic.StoreUint32(&r.dense[i], n)
	return t.store.big.big(n)
}

const (
	denseMin      = blockIDs // routes below which a table is a tree
	guessMin      = 2048     // routes from which on a table may be made dense on the guess that it fills up
	guessShare    = 64       // ... when it holds this part of all prefixes
	guessAllowed  = 64 << 20 // bytes that such guesses may take together; or
	guessFraction = 8        // this part of all cells
)

// adapt makes a tree dense when that is smaller, or will be soon: a full table that is being loaded should not grow
// through all sizes of trees. A sweep undoes wrong guesses. t.mu is held.
func (t *Table) adapt() {
	r := t.root.Load()
	n := int64(t.n.Load())
	if r == nil || t.addPath || n < denseMin {
		return
	}
	ids := t.family.dict.held.Load()
	if r.isDense() {
		if t.guess > 0 && n*2 >= ids {
			t.charge(0)
		}
		return
	}
	if n*2 >= ids {
		t.makeDense()
		return
	}
	s := t.store
	if n < guessMin || n*guessShare < ids {
		return
	}
	cost := ids * 8
	if s.guessed.Load()+cost > max(guessAllowed, s.big.used.Load()*bigWords*8/guessFraction) {
		return
	}
	if t.makeDense() {
		t.charge(uint32(cost >> 10))
	}
}

// makeDense turns a tree into an array of pages. It is false when there is no memory: then the tree stays.
func (t *Table) makeDense() bool {
	s := t.store
	tree := t.root.Load()
	dense := &root{dense: make([]uint32, t.family.dict.maxID()>>blockShift+1)}
	ok := true
	t.each(tree, 0, func(id, _ uint32, cell *uint64) bool {
		c := atomic.LoadUint64(cell)
		if c == 0 {
			return true
		}
		i := id >> blockShift
		if dense.dense[i] == 0 {
			if dense.dense[i] = s.big.alloc(true); dense.dense[i] == 0 {
				ok = false
				return false
			}
		}
		s.big.big(dense.dense[i])[id%blockIDs] = c
		return true
	})
	if !ok {
		big, _ := dense.pages(nil, nil)
		s.big.give(big)
		return false
	}
	t.setRoot(dense)
	t.tombs = 0
	return true
}

// makeTree turns an array of pages into a tree, where that is smaller.
func (t *Table) makeTree() bool {
	s, d := t.store, &t.family.dict
	var entries []entry
	t.each(t.root.Load(), 0, func(id, _ uint32, cell *uint64) bool {
		if c := atomic.LoadUint64(cell); c != 0 {
			entries = append(entries, entry{uint64(id), c})
		}
		return true
	})
	for _, e := range entries {
		if !d.setPresence(s, uint32(e.key), t) {
			return false
		}
	}
	tree, ok := t.buildTree(entries)
	if ok {
		t.setRoot(tree)
		t.tombs = 0
	}
	return ok
}
