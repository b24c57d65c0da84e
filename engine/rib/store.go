package rib

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bmp/proto/bgp"
)

const (
	tickMillis = 125
	tickMax    = 1<<31 - 1
)

// Options of a Store. The zero value is what a station uses.
type Options struct {
	// Epoch is the earliest time the store can express; earlier times are kept as Epoch. Times have a resolution of
	// 1/8 s (rounded down) and reach 8.5 years beyond it. Zero means the moment New is called.
	Epoch time.Time

	// MaxBytes bounds the memory taken from the system for routes. Zero means no bound. A route that needs memory
	// beyond it is refused and counted (Counts.Refused).
	MaxBytes int64

	// Same reports whether two attribute records say the same in other bytes. It is asked of a stale route that is
	// announced again with another record: such a route keeps its time. It must not keep the slices. Nil means that no
	// two do.
	Same func(a, b []byte) bool

	// NoBackground leaves the sweeping of dead attribute sets and prefixes to calls of Sweep.
	NoBackground bool

	heap         bool // take memory from the Go heap, so that the race detector sees it
	presenceFrom int  // instead of the constant
	small        bool // take smallSizes
}

// Store holds the routes of every table. All methods may be called from any goroutine.
//
// Lock order: sweepMu, evaluating, sorting, guard, Table.mu, family.mu, slots.mu, index.mu, dict.mu, lane.mu; then
// slab.mu or arena.mu, memory.mu; quarantine.mu, index.addMu and pins.mu are taken last and alone.
type Store struct {
	epochMillis int64
	same        func(a, b []byte) bool // Options.Same; may be nil

	// guard is held shared by whoever looks at pages or records: by a Writer for a batch, by a query for a chunk of
	// its work, for a millisecond at most. Holding it exclusively for a moment proves that all who came before have
	// let go.
	guard  sync.RWMutex
	closed bool // written with guard and sorting held exclusively

	// sorting is held shared by queries that order keys without the guard, which may take long: only Close waits
	// for it.
	sorting sync.RWMutex

	mem     *memory
	big     slab
	small   slab
	attrs   attrs
	keys    arena // keys of all families but the IPv4 ones
	retired quarantine
	pins    pins
	batches sync.Pool // *batch
	scratch sync.Pool // *scratch
	writers atomic.Uint32

	famMu    sync.Mutex
	families atomic.Pointer[map[bgp.Family]*family] // replaced, never changed

	refused   atomic.Int64
	throttled atomic.Int64 // batches that waited for a sweep
	guessed   atomic.Int64 // bytes of dense tables that were made in the hope that they fill up

	// What makes a sweep worth while: how many routes went away or changed since the last one, and what it left behind.
	departed atomic.Int64
	sweepMu  sync.Mutex // one sweep at a time
	goal     sweepGoal
	helped   atomic.Pointer[sweeper] // the sweep that walks, if one does
	sweeps   atomic.Int64
	moving   atomic.Pointer[moves] // while records move
	freed    atomic.Int64          // sweeps and compactions: numbers of records remembered from before may mean others now

	// evaluating is held shared by a query that looks at all records there are, exclusively by a sweep that frees some.
	evaluating sync.RWMutex

	presenceFrom int
	sizes        querySizes

	wake    chan struct{}
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// New makes an empty store. Close gives its memory back.
func New(o Options) *Store {
	if o.Epoch.IsZero() {
		o.Epoch = time.Now()
	}
	s := &Store{epochMillis: o.Epoch.UnixMilli(), same: o.Same, mem: newMemory(o.MaxBytes, o.heap), wake: make(chan struct{}, 1)}
	s.big.init(s.mem, bigWords, bigShift)
	s.small.init(s.mem, smallWords, smallShift)
	s.attrs.init(s.mem)
	s.keys.init(s.mem, 1, 1, 1)
	s.batches.New = func() any { return new(batch) }
	s.scratch.New = func() any { return new(scratch) }
	s.families.Store(&map[bgp.Family]*family{})
	s.setGoal()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if s.presenceFrom = o.presenceFrom; s.presenceFrom == 0 {
		s.presenceFrom = presenceFrom
	}
	if s.sizes = usualSizes; o.small {
		s.sizes = smallSizes
	}
	if !o.NoBackground {
		s.stopped.Go(func() { s.background(ctx) })
	}
	return s
}

// Close stops the background sweep, waits for it, and gives the memory back. Later calls of any method find an empty
// store; later announcements are refused. Queries that run end with ErrClosed; Close does not wait for their callbacks.
func (s *Store) Close() error {
	s.stop()
	s.stopped.Wait()
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	s.sorting.Lock()
	defer s.sorting.Unlock()
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, f := range *s.families.Load() {
		f.mu.Lock()
		for _, t := range f.tables {
			if t != nil {
				t.n.Store(0)
				t.stale.Store(0)
				t.root.Store(nil)
			}
		}
		f.mu.Unlock()
	}
	return s.mem.close()
}

// tick is a time in the resolution of cells.
func (s *Store) tick(t time.Time) uint32 {
	return uint32(min(max((t.UnixMilli()-s.epochMillis)/tickMillis, 0), tickMax))
}

func (s *Store) time(tick uint32) time.Time {
	return time.UnixMilli(s.epochMillis + int64(tick)*tickMillis)
}

// family is the tables and the prefixes of one address family.
type family struct {
	family bgp.Family
	dict   dict

	mu      sync.RWMutex
	tables  []*Table // by Table.number; nil where a number is free
	numbers []uint32 // free ones
	// A live table is in one of these.
	dense   []*Table               // in the order of their owners
	buckets [presenceBits][]sparse // by the first presence bit
}

// familyOf finds or makes a family.
func (s *Store) familyOf(f bgp.Family, make bool) *family {
	if fam := (*s.families.Load())[f]; fam != nil || !make {
		return fam
	}
	s.famMu.Lock()
	defer s.famMu.Unlock()
	old := *s.families.Load()
	if fam := old[f]; fam != nil {
		return fam
	}
	fam := &family{family: f}
	fam.dict.init(f)
	next := map[bgp.Family]*family{f: fam}
	for k, v := range old {
		next[k] = v
	}
	s.families.Store(&next)
	return fam
}

func compareOwners(a, b *Table) int {
	return cmp.Or(cmp.Compare(a.owner.Client, b.owner.Client), cmp.Compare(a.owner.Peer, b.owner.Peer),
		cmp.Compare(a.owner.View, b.owner.View), cmp.Compare(a.number, b.number))
}

// setDense moves a table to the dense ones, or back. f.mu is held.
func (f *family) setDense(t *Table, dense bool) {
	at, found := slices.BinarySearchFunc(f.dense, t, compareOwners)
	switch {
	case dense && !found:
		f.dense = slices.Insert(f.dense, at, t)
		f.dropSparse(t)
	case !dense && found:
		f.dense = slices.Delete(f.dense, at, at+1)
		f.addSparse(t)
	}
}

func (f *family) addSparse(t *Table) {
	b := &f.buckets[t.number%presenceBits]
	*b = append(*b, sparse{t.bits, t})
}

func (f *family) dropSparse(t *Table) {
	b := &f.buckets[t.number%presenceBits]
	*b = slices.DeleteFunc(*b, func(e sparse) bool { return e.t == t })
}

// NewTable makes an empty table. A table made with addPath keeps one route per key and path identifier; the others
// ignore path identifiers. Several tables may have the same Owner; the store does not look.
func (s *Store) NewTable(o Owner, addPath bool) *Table {
	f := s.familyOf(o.Family, true)
	t := &Table{store: s, family: f, owner: o, addPath: addPath}
	t.emptied.Store(s.tick(time.Now()))
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := len(f.numbers); k > 0 {
		t.number = f.numbers[k-1]
		f.numbers = f.numbers[:k-1]
		f.tables[t.number] = t
	} else {
		t.number = uint32(len(f.tables))
		f.tables = append(f.tables, t)
	}
	t.bits = presenceOf(t.number)
	f.addSparse(t)
	if len(f.tables)-len(f.numbers)-len(f.dense) == s.presenceFrom && f.dict.present.Load() == presenceOff {
		s.wakeNow()
	}
	return t
}

// forget takes a table out of its family.
func (f *family) forget(t *Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setDense(t, false)
	f.dropSparse(t)
	f.tables[t.number] = nil
	f.numbers = append(f.numbers, t.number)
}

// snapshot is the live tables that where lets through, in no order.
func (f *family) snapshot(where func(Owner) bool) []*Table {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]*Table, 0, len(f.tables)-len(f.numbers))
	for _, t := range f.tables {
		if t != nil && (where == nil || where(t.owner)) {
			all = append(all, t)
		}
	}
	return all
}

// Tables is a snapshot of the live tables of a family, ordered by client, peer and view.
func (s *Store) Tables(f bgp.Family) []*Table {
	fam := s.familyOf(f, false)
	if fam == nil {
		return nil
	}
	all := fam.snapshot(nil)
	slices.SortFunc(all, compareOwners)
	return all
}

// Families lists the families that have ever had a table, in ascending order.
func (s *Store) Families() []bgp.Family {
	var all []bgp.Family
	for f := range *s.families.Load() {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b bgp.Family) int {
		return cmp.Or(cmp.Compare(a.AFI, b.AFI), cmp.Compare(a.SAFI, b.SAFI))
	})
	return all
}

// LastChange is when a route for this key was last withdrawn from, or replaced in, any table: if it is at or before
// T and so is Table.Emptied, then what the table holds now for the key is what it held at T. It is never too early
// by more than the resolution; it may be too late for a key that no table holds. Zero when nothing was ever
// withdrawn or replaced.
func (s *Store) LastChange(f bgp.Family, key []byte) time.Time {
	fam := s.familyOf(f, false)
	if fam == nil || !fam.dict.shape.valid(key) {
		return time.Time{}
	}
	d := &fam.dict
	s.guard.RLock()
	defer s.guard.RUnlock()
	if s.closed {
		return time.Time{}
	}
	var at uint32
	if id := d.lookup(s, key); id != 0 {
		at = atomic.LoadUint32(&d.columns(s, id)[blockIDs+id%blockIDs])
	} else {
		d.mu.Lock()
		at = d.dropped
		d.mu.Unlock()
	}
	if at == 0 {
		return time.Time{}
	}
	return s.time(at - 1)
}
