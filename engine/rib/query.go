package rib

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"bmp/proto/bgp"
)

// Match is how Query.Key selects.
type Match uint8

const (
	All     Match = iota // every route; Key is not looked at
	Exact                // the key itself
	LPM                  // for each table its longest prefix that covers the key
	Longer               // the key and everything more specific
	Shorter              // the key and everything that covers it
)

// Query selects routes of one family. The zero value of each field but Family selects everything.
type Query struct {
	Family bgp.Family
	Tables []*Table         // the tables asked; nil means all of the family
	Where  func(Owner) bool // further selects tables; called with no order and perhaps more than once per table

	Match Match
	Key   []byte // canonical key; LPM, Longer and Shorter need a family whose keys are prefixes (else ErrNotPrefixes)
	AnyRD bool   // the route distinguisher in Key is not looked at: every known one is asked

	PathID *uint32               // only this path identifier
	Stale  bool                  // only stale routes
	Attrs  func(rec []byte) bool // evaluated at most once or twice per attribute set, with a lock shared: keep it short

	// Sorted orders by key, then client, peer, view and path identifier. Unsorted is faster on many routes and
	// starts at once. Exact, Longer and Shorter are always so sorted; LPM by client, peer and view.
	Sorted bool
	Limit  int // most routes returned; 0 means no limit
}

// ErrNotPrefixes is returned for LPM, Longer and Shorter in a family whose keys are not prefixes, and for a key
// that is not one.
var ErrNotPrefixes = errors.New("not a prefix")

// ErrClosed is returned when the store was closed.
var ErrClosed = errors.New("route store closed")

// Route is one route. Key and Record are valid until the callback returns, and must not be written to; routes with
// equal attributes may share a Record.
type Route struct {
	Table  *Table
	Key    []byte
	PathID uint32
	Record []byte
	Since  time.Time // when it was first announced with these attributes
	Stale  bool
	AttrID uint32 // equal for one record only; where records move just now, the same record may have two within a callback
}

// Query calls fn with batches of the routes selected. No lock is held while fn runs, so it may take its time;
// routes that come, go or change meanwhile may or may not be seen, all others are seen exactly once. An error of fn ends
// the query and is returned; so does the context's end, within some milliseconds.
func (s *Store) Query(ctx context.Context, q Query, fn func(batch []Route) error) error {
	r := &query{s: s, ctx: ctx, q: q, fn: fn}
	return r.run()
}

// Totals of the routes a query selects.
type Totals struct {
	Routes        int
	Prefixes      int // distinct keys
	AttributeSets int // distinct attribute sets
	Tables        int // tables with at least one such route
}

// Count counts what Query would return, without Limit, at about 5 ns a route.
func (s *Store) Count(ctx context.Context, q Query) (Totals, error) {
	q.Limit, q.Sorted = 0, false
	r := &query{s: s, ctx: ctx, q: q, totals: &totals{
		attrs: numbers{shift: attrShare}, tables: map[*Table]struct{}{},
	}}
	err := r.run()
	return r.totals.Totals, err
}

const (
	queryBatch = 512     // routes in a batch, more or less
	queryWork  = 1 << 16 // cells looked at between looks at the context and at who else wants the guard
	queryEval  = 64      // what evaluating Query.Attrs counts for

	collectPart = 4
	collectMost = 1 << 20
)

// querySizes say from what size on a query takes another way.
type querySizes struct {
	// A query over tables that hold no more routes than this, or than 1/collectPart of all prefixes, orders those
	// routes' prefixes; a larger one goes along the index.
	collect int

	look   int // cells a query with a filter looks at, in search of first rows, before it prepares to look at all
	gather int // places of hits kept, and sorted, at a time; up to twice as many meanwhile
}

var (
	usualSizes = querySizes{collect: 1 << 14, look: 1 << 16, gather: 1 << 20}
	smallSizes = querySizes{collect: 16, look: 64, gather: 20} // for tests: a small store goes every way
)

// query is one run of Query or Count.
//
// It works in chunks: with the guard held shared it gathers hits and copies what they stand for; then it lets go of
// the guard and calls fn. What it remembers from one chunk to the next are tables, and prefix numbers: these keep
// their meaning, as the query is pinned. Page and record numbers it does not remember.
type query struct {
	s      *Store
	ctx    context.Context
	q      Query
	fn     func([]Route) error
	totals *totals

	f      *family
	d      *dict
	tables []*Table // those asked, or nil for all of the family
	memo   *memo    // verdicts of q.Attrs, or nil
	left   int      // routes still wanted; negative is without limit
	work   int      // done in this chunk

	*scratch
}

// scratch is what queries use one after the other.
type scratch struct {
	hits []hit
	out  results
	ask  asked
	most int // hits that were ever in hits since reset

	ids      []uint32 // see covering
	answered tableSet // tables that had a longer match
	late     []hit    // see join
}

// reset lets go of tables.
func (c *scratch) reset() {
	clear(c.hits[:c.most])
	clear(c.out.routes[:min(c.most, cap(c.out.routes))])
	c.ask, c.most = asked{}, 0
	if cap(c.hits) > 16*queryBatch {
		c.hits, c.late, c.out = nil, nil, results{}
	}
}

// hit is a route found. It means something as long as the guard is held.
type hit struct {
	t        *Table
	id, path uint32
	cell     uint64
}

func (r *query) run() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.f = r.s.familyOf(r.q.Family, false)
	if r.f == nil {
		return nil
	}
	r.d = &r.f.dict
	r.left = -1
	if r.q.Limit > 0 {
		r.left = r.q.Limit
	}
	if r.q.Match != All {
		if !r.d.shape.valid(r.q.Key) || r.d.shape == shapeOpaque && r.q.Match != Exact {
			return ErrNotPrefixes
		}
	}
	defer r.s.pins.unpin(r.s.pins.pin())
	r.scratch = r.s.scratch.Get().(*scratch)
	defer func() {
		r.scratch.reset()
		r.s.scratch.Put(r.scratch)
	}()
	if r.q.Tables != nil {
		for _, t := range r.q.Tables {
			if t.family == r.f && (r.q.Where == nil || r.q.Where(t.owner)) {
				r.tables = append(r.tables, t)
			}
		}
		if len(r.tables) == 0 {
			return nil
		}
		slices.SortFunc(r.tables, compareOwners)
	}
	switch r.q.Match {
	case Exact:
		return r.exact()
	case LPM:
		return r.longest()
	case Shorter:
		return r.shorter()
	case Longer:
		return r.longer()
	}
	return r.all()
}

// chunks calls step, with the guard held, until it is done, and passes on what it has found after each call. Step
// returns when it has enough hits or has done enough work.
func (r *query) chunks(step func() (done bool)) error {
	for done := false; !done; {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.enter(); err != nil {
			return err
		}
		r.hits, r.work = r.hits[:0], 0
		done = step()
		r.most = max(r.most, len(r.hits))
		if r.left >= 0 && len(r.hits) >= r.left {
			r.hits, done = r.hits[:r.left], true
		}
		if r.left > 0 {
			r.left -= len(r.hits)
		}
		if r.totals != nil {
			r.totals.add(r.hits)
			r.hits = r.hits[:0]
		}
		r.out.fill(r.s, r.d, r.hits)
		r.s.guard.RUnlock()
		if len(r.hits) > 0 {
			if err := r.fn(r.out.routes); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter takes the guard.
func (r *query) enter() error {
	r.s.guard.RLock()
	if r.s.closed {
		r.s.guard.RUnlock()
		return ErrClosed
	}
	if r.memo != nil {
		r.memo.refresh()
	}
	return nil
}

// enough says that a chunk should end.
func (r *query) enough() bool {
	return len(r.hits) >= queryBatch && r.totals == nil || r.work >= queryWork || r.left >= 0 && len(r.hits) >= r.left
}

// wanted applies the filters to a route.
func (r *query) wanted(t *Table, path uint32, c uint64) bool {
	if c == 0 || r.q.PathID != nil && *r.q.PathID != path {
		return false
	}
	if r.q.Stale && (t.stale.Load() == 0 || c&cellGen == uint64(t.gen.Load())) {
		return false
	}
	switch {
	case r.q.Attrs == nil:
		return true
	case r.memo != nil:
		return r.memo.test(r, cellAttr(c))
	}
	r.work += queryEval
	return r.q.Attrs(r.s.attrs.arena.record(cellAttr(c)))
}

// keys is the keys asked for: one, or with AnyRD one for each route distinguisher known.
func (r *query) keys() [][]byte {
	key := r.q.Key
	if r.d.shape.rd() == 0 || !r.q.AnyRD {
		return [][]byte{key}
	}
	var all [][]byte
	for _, rd := range r.d.distinguishers() {
		k := bytes.Clone(key)
		copy(k[1:], rd[:])
		all = append(all, k)
	}
	return all
}

func (r *query) exact() error {
	keys := r.keys()
	return r.chunks(func() bool {
		for len(keys) > 0 && !r.enough() {
			r.work++
			if id := r.d.lookup(r.s, keys[0]); id != 0 {
				r.probeAll(id, nil)
			}
			keys = keys[1:]
		}
		return len(keys) == 0
	})
}

// covering is the numbers of the prefixes that cover key, the longest first.
func (r *query) covering(key []byte) []uint32 {
	type look struct {
		tag  uint64
		slot uint64 // loaded so that the misses overlap
		bits uint8
	}
	var buf [32]byte
	var looks [129]look
	n := 0
	for l := int(key[0]); l >= 0; l-- {
		if r.d.inUse[l/64].Load()>>(l%64)&1 != 0 {
			looks[n] = look{tag: r.d.tagOfFirst(buf[:0], key, l), bits: uint8(l)}
			n++
		}
	}
	r.work += n
	for i := range looks[:n] {
		if p := r.d.shard[looks[i].tag%shards].slot(r.s, looks[i].tag<<idBits); p != nil {
			looks[i].slot = atomic.LoadUint64(p)
		}
	}
	ids := r.ids[:0]
	for _, l := range looks[:n] {
		if l.slot == 0 {
			continue // the first place is empty: so the key is not there
		}
		if id := r.d.look(r.s, l.tag, r.d.shape.shorten(buf[:0], key, int(l.bits))); id != 0 {
			ids = append(ids, id)
		}
	}
	r.ids = ids
	return ids
}

// longest asks for each table's longest match. Filters apply to what is the longest match without them.
func (r *query) longest() error {
	keys := r.keys()
	return r.chunks(func() bool {
		for len(keys) > 0 && !r.enough() {
			r.answered.clear()
			first := len(r.hits)
			for _, id := range r.covering(keys[0]) {
				before := len(r.hits)
				r.probeAll(id, &r.answered)
				r.join(first, before)
				if r.allAnswered() {
					break
				}
			}
			keys = keys[1:]
		}
		return len(keys) == 0
	})
}

// allAnswered says whether no table is left to be asked. Tables come and go meanwhile: their number alone does not
// say so.
func (r *query) allAnswered() bool {
	if r.tables != nil {
		return r.answered.n == len(r.tables)
	}
	r.f.mu.RLock()
	defer r.f.mu.RUnlock()
	return r.answered.n >= len(r.f.tables)-len(r.f.numbers) &&
		!slices.ContainsFunc(r.f.tables, func(t *Table) bool { return t != nil && !r.answered.has(t) })
}

// join puts the hits from late on among those from first on. Both are in the order of their owners, and no table has
// hits in both.
func (r *query) join(first, late int) {
	if first == late || late == len(r.hits) {
		return
	}
	r.late = append(r.late[:0], r.hits[late:]...)
	for k := len(r.late) - 1; k >= 0; k-- {
		at, _ := slices.BinarySearchFunc(r.hits[first:late], r.late[k], func(a, b hit) int { return compareOwners(a.t, b.t) })
		copy(r.hits[first+at+k+1:], r.hits[first+at:late])
		r.hits[first+at+k] = r.late[k]
		late = first + at
	}
	clear(r.late)
}

func (r *query) shorter() error {
	keys := r.keys()
	var ids []uint32
	return r.chunks(func() bool {
		for !r.enough() {
			if len(ids) == 0 {
				if len(keys) == 0 {
					return true
				}
				ids = r.covering(keys[0])
				slices.Reverse(ids)
				keys = keys[1:]
				continue
			}
			r.probeAll(ids[0], nil)
			ids = ids[1:]
		}
		return false
	})
}

// few says whether the tables asked hold so few routes that ordering their prefixes beats the index.
func (r *query) few() bool {
	n := r.routes()
	return n <= r.s.sizes.collect || n <= min(collectMost, int(r.d.held.Load())/collectPart)
}

// routes is how many routes the tables asked hold.
func (r *query) routes() int {
	n := 0
	for _, t := range r.tables {
		n += t.Len()
	}
	return n
}

// select fixes the tables asked, when all are.
func (r *query) fix() {
	if r.tables == nil {
		r.tables = r.f.snapshot(r.q.Where)
		slices.SortFunc(r.tables, compareOwners)
	}
}

func (r *query) longer() error {
	keys := r.keys()
	if r.q.Where != nil {
		r.fix()
	}
	if r.tables != nil && r.few() {
		return r.collected(func(key []byte) bool {
			for _, k := range keys {
				if r.d.shape.covers(k, key) {
					return true
				}
			}
			return false
		})
	}
	snap, err := r.d.sorted(r.ctx, r.s)
	if err != nil {
		return err
	}
	inside := false
	var place [2]int
	var buf [32]byte
	return r.chunks(func() bool {
		for !r.enough() {
			if len(keys) == 0 {
				return true
			}
			if !inside {
				place, inside = snap.from(r.d, r.s, keys[0]), true
			}
			id := snap.next(r.d, r.s, &place)
			if id == 0 || !r.d.shape.covers(keys[0], r.d.appendKey(r.s, buf[:0], id)) {
				inside, keys = false, keys[1:]
				continue
			}
			r.probeAll(id, nil)
		}
		return false
	})
}

// collected answers from the prefixes that the tables asked hold, in order. want selects prefixes; nil takes all.
func (r *query) collected(want func(key []byte) bool) error {
	var ids []uint32
	var buf [32]byte
	for _, t := range r.tables {
		for from, more := uint64(0), true; more; {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			if err := r.enter(); err != nil {
				return err
			}
			more = false
			seen, last := 0, uint32(0)
			t.each(t.root.Load(), from, func(id, path uint32, cell *uint64) bool {
				if seen++; seen > queryWork {
					from, more = t.key(id, path), true
					return false
				}
				if c := atomic.LoadUint64(cell); c != 0 && id != last && (want == nil || want(r.d.appendKey(r.s, buf[:0], id))) {
					ids, last = append(ids, id), id
				}
				return true
			})
			r.s.guard.RUnlock()
		}
	}
	ids, err := r.sort(ids)
	if err != nil {
		return err
	}
	return r.chunks(func() bool {
		for len(ids) > 0 && !r.enough() {
			r.probeAll(ids[0], nil)
			ids = ids[1:]
		}
		return len(ids) == 0
	})
}

func (r *query) sort(ids []uint32) ([]uint32, error) {
	r.s.sorting.RLock()
	defer r.s.sorting.RUnlock()
	if r.s.closed {
		return nil, ErrClosed
	}
	return r.d.sortIDs(r.ctx, r.s, ids)
}

// results turns hits into routes.
type results struct {
	routes []Route
	buf    []byte
	looked byte
}

// fill copies what hits stand for. The guard is held.
func (o *results) fill(s *Store, d *dict, hits []hit) {
	// The first look at both ends of each record brings it into the cache; the looks overlap.
	size := 18 * len(hits)
	for i := range hits {
		rec := s.attrs.arena.record(cellAttr(hits[i].cell))
		if size += len(rec); len(rec) > 0 {
			o.looked += rec[len(rec)-1]
		}
	}
	o.routes = o.routes[:0]
	if cap(o.buf) < size {
		o.buf = make([]byte, 0, size)
	}
	buf := o.buf[:0]
	var key, rec []byte
	for i := range hits {
		h := &hits[i]
		if i == 0 || h.id != hits[i-1].id {
			at := len(buf)
			buf = d.appendKey(s, buf, h.id)
			key = buf[at:len(buf):len(buf)]
		}
		attr := cellAttr(h.cell)
		if i == 0 || attr != cellAttr(hits[i-1].cell) {
			at := len(buf)
			buf = append(buf, s.attrs.arena.record(attr)...)
			rec = buf[at:len(buf):len(buf)]
		}
		o.routes = append(o.routes, Route{
			Table: h.t, Key: key, PathID: h.path, Record: rec, Since: s.time(uint32(h.cell & cellTime)),
			Stale: h.cell&cellGen != uint64(h.t.gen.Load()), AttrID: attr,
		})
	}
}

// totals counts hits.
type totals struct {
	Totals
	ids, attrs numbers
	tables     map[*Table]struct{}
}

func (t *totals) add(hits []hit) {
	t.Routes += len(hits)
	var last *Table
	for i := range hits {
		h := &hits[i]
		if t.ids.add(h.id) {
			t.Prefixes++
		}
		if t.attrs.add(cellAttr(h.cell)) {
			t.AttributeSets++
		}
		if h.t != last {
			last = h.t
			t.tables[last] = struct{}{}
		}
	}
	t.Tables = len(t.tables)
}
