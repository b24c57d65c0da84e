package rib

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// Outcome is what one announcement or withdrawal did to a table.
type Outcome uint8

// The outcomes; Counts explains them.
const (
	Added Outcome = iota
	Changed
	Unchanged
	Withdrawn
	NotFound
	Refused
)

// Change is one announcement or withdrawal as it took effect. Its slices are valid until the hook returns.
type Change struct {
	Table   *Table
	Outcome Outcome
	Key     []byte
	PathID  uint32
	Record  []byte // nil for a withdrawal
	Time    time.Time
}

// Writer stages announcements and withdrawals and applies them in batches, in the order they were made. One goroutine
// uses a Writer at a time; a table may be written by several Writers, whose order is then that of their batches.
type Writer struct {
	// Hook, when not nil, is called for every staged operation from within Flush, after it took effect and with no lock
	// held. It costs about as much as the operation.
	Hook func(Change)

	store *Store
	lane  int    // of attrs.arena
	batch *batch // nil while nothing is staged
	now   time.Time
	tick  uint32
}

const (
	batchOps   = 256
	batchBytes = 64 << 10
)

// batch is staged operations. A batch spans tables, so that streams with interleaved peers are batched too.
type batch struct {
	ops   []op
	recs  []staged
	bytes []byte // of keys and records

	ahead   [batchOps]*uint64 // see load
	cell    [batchOps]*uint64 // see cells
	loads   int
	loaded  uint64
	add     []entry              // to be inserted into the tree of the run's table
	places  [2 * batchOps]uint16 // hash table of 1 + place in add
	scratch []entry
}

// op is one operation. The flush fills in id and outcome.
type op struct {
	t       *Table
	word    uint64 // IPv4: word4 of the key; else offset<<32 | length in batch.bytes
	tag     uint64 // dict.tag of the key
	path    uint32
	rec     int32 // in batch.recs; -1 withdraws
	tick    uint32
	id      uint32
	outcome Outcome
	invalid bool // the key is not one of the family: word is as in families other than IPv4
}

// staged is one record.
type staged struct {
	from, to int // in batch.bytes
	hash     uint64
	id       uint32
}

// NewWriter makes a Writer. It holds no memory worth mention while nothing is staged, and needs no closing.
func (s *Store) NewWriter() *Writer {
	return &Writer{store: s, lane: int(s.writers.Add(1) % attrLanes)}
}

// Announce stages a route. The key is canonical (package bgp), the record is what Update.AppendRecord made; both are
// copied before Announce returns. It flushes when the batch is full. Announcing the same record again and again costs
// one comparison: make it once per UPDATE.
func (w *Writer) Announce(t *Table, key []byte, pathID uint32, rec []byte, now time.Time) {
	b := w.begin(len(key) + len(rec))
	k := len(b.recs)
	if k == 0 || !bytes.Equal(b.bytes[b.recs[k-1].from:b.recs[k-1].to], rec) {
		from := len(b.bytes)
		b.bytes = append(b.bytes, rec...)
		b.recs = append(b.recs, staged{from: from, to: len(b.bytes)})
		k++
	}
	w.stage(b, t, key, pathID, int32(k-1), now)
}

// Withdraw stages the end of a route; arguments as in Announce.
func (w *Writer) Withdraw(t *Table, key []byte, pathID uint32, now time.Time) {
	w.stage(w.begin(len(key)), t, key, pathID, -1, now)
}

// begin returns a batch with room for one operation.
func (w *Writer) begin(more int) *batch {
	b := w.batch
	if b != nil && (len(b.ops) == batchOps || len(b.bytes)+more > batchBytes && len(b.ops) > 0) {
		w.Flush()
		b = nil
	}
	if b == nil {
		b = w.store.batches.Get().(*batch)
		w.batch = b
	}
	return b
}

func (w *Writer) stage(b *batch, t *Table, key []byte, pathID uint32, rec int32, now time.Time) {
	if now != w.now {
		w.now, w.tick = now, w.store.tick(now)
	}
	o := op{t: t, rec: rec, tick: w.tick}
	if t.addPath {
		o.path = pathID
	}
	p := t.family.dict.shape
	o.invalid = !p.valid(key)
	if p == shapeIPv4 && !o.invalid {
		o.word = word4(key)
	} else {
		o.word = uint64(len(b.bytes))<<32 | uint64(len(key))
		b.bytes = append(b.bytes, key...)
	}
	b.ops = append(b.ops, o)
}

// key is the key of an operation in a family other than IPv4.
func (b *batch) key(o *op) []byte {
	from := o.word >> 32
	return b.bytes[from : from+o.word&0xffffffff]
}

// Flush applies what is staged. It must be called before the goroutine waits for more input, and before Clear, Drop,
// BeginRefresh and SweepStale of a table that was written to.
//
// It is one loop per stage, so that the memory accesses of neighbouring operations overlap.
func (w *Writer) Flush() {
	b, s := w.batch, w.store
	if b == nil {
		return
	}
	w.batch = nil
	for i := range b.recs {
		r := &b.recs[i]
		r.hash = s.attrs.hash(b.bytes[r.from:r.to])
	}
	s.guard.RLock()
	if s.closed {
		for i := range b.ops {
			b.ops[i].outcome = Refused
		}
	} else {
		for i := range b.recs {
			r := &b.recs[i]
			b.want(s.attrs.shard[r.hash>>hashShard].slot(s, r.hash<<attrShift))
		}
		b.load()
		for i := range b.recs {
			r := &b.recs[i]
			r.id = s.attrs.intern(s, r.hash, b.bytes[r.from:r.to], w.lane)
		}
		b.number(s)
		b.cells(s)
		departed := int64(0)
		for i := 0; i < len(b.ops); {
			j := i + 1
			for j < len(b.ops) && b.ops[j].t == b.ops[i].t {
				j++
			}
			departed += b.apply(s, b.ops[i].t, b.ops[i:j])
			i = j
		}
		if departed > 0 {
			s.departed.Add(departed)
			s.help()
		}
	}
	s.guard.RUnlock()
	s.tidy()
	s.wakeSweep()
	s.throttle()
	if w.Hook != nil {
		w.tell(b)
	}
	b.reset()
	s.batches.Put(b)
}

func (b *batch) reset() {
	clear(b.ops) // tables
	b.ops, b.recs, b.bytes, b.add = b.ops[:0], b.recs[:0], b.bytes[:0], b.add[:0]
	if cap(b.bytes) > 2*batchBytes {
		b.bytes = nil
	}
}

func (w *Writer) tell(b *batch) {
	var key [5]byte
	for i := range b.ops {
		o := &b.ops[i]
		c := Change{Table: o.t, Outcome: o.outcome, PathID: o.path, Time: w.store.time(o.tick)}
		if o.t.family.dict.shape == shapeIPv4 && !o.invalid {
			c.Key = appendKey4(key[:0], uint32(o.word>>6), byte(o.word&63))
		} else {
			c.Key = b.key(o)
		}
		if o.rec >= 0 {
			c.Record = b.bytes[b.recs[o.rec].from:b.recs[o.rec].to]
		}
		w.Hook(c)
	}
}

// number finds the number of every operation's prefix, 0 for none.
func (b *batch) number(s *Store) {
	for i := range b.ops {
		o := &b.ops[i]
		if o.invalid {
			continue
		}
		d := &o.t.family.dict
		var key []byte
		if d.shape != shapeIPv4 {
			key = b.key(o)
		}
		o.tag = d.tag(key, o.word)
	}
	for i := range b.ops {
		o := &b.ops[i]
		b.want(o.t.family.dict.shard[o.tag%shards].slot(s, o.tag<<idBits))
	}
	b.load()
	for i := range b.ops {
		o := &b.ops[i]
		if o.invalid {
			continue
		}
		d := &o.t.family.dict
		var key []byte
		if d.shape != shapeIPv4 {
			key = b.key(o)
		}
		tag := o.tag
		if o.rec >= 0 && b.recs[o.rec].id != 0 {
			o.id = d.intern(s, tag, key, o.word)
		} else {
			o.id = d.get(s, tag, key)
		}
	}
}

// cells brings the cells of dense tables into the cache, and the presence of what may be new in others; then the times
// of change of those prefixes where there is something to change. It takes no lock on the tables: what it loads is looked
// at again.
func (b *batch) cells(s *Store) {
	for i := range b.ops {
		o := &b.ops[i]
		b.cell[i] = nil
		if o.id == 0 {
			continue
		}
		if r := o.t.root.Load(); r != nil && r.isDense() {
			if n := r.page(o.id); n != 0 {
				b.cell[i] = &s.big.big(n)[o.id%blockIDs]
				b.want(b.cell[i])
			}
		} else if d := &o.t.family.dict; o.rec >= 0 {
			if n := atomic.LoadUint32(&d.block(o.id).pres[o.id%blockIDs/presenceIDs]); n != 0 {
				b.want(&presenceWords(s, n, o.id)[0])
			}
		}
	}
	b.load()
	for i := range b.ops {
		p, o := b.cell[i], &b.ops[i]
		if p == nil {
			continue
		}
		if c := atomic.LoadUint64(p); c != 0 && (o.rec < 0 || cellAttr(c) != b.recs[o.rec].id) {
			b.want(o.t.family.dict.changedWord(s, o.id))
		}
	}
	b.load()
}

// want notes a word to be brought into the cache by load.
func (b *batch) want(p *uint64) {
	if p != nil {
		b.ahead[b.loads] = p
		b.loads++
	}
}

// load loads all words wanted, in a loop so small that the processor waits for many of them at once. The stages
// that follow would wait for one after the other, as they branch on what they find.
func (b *batch) load() {
	sum := uint64(0)
	for _, p := range b.ahead[:b.loads] {
		sum += atomic.LoadUint64(p)
	}
	b.loaded += sum // or the loop would be left out
	b.loads = 0
}

// saysTheSame reports whether two records that differ in their bytes say the same.
func (s *Store) saysTheSame(old, attr uint32) bool {
	return s.same != nil && s.same(s.attrs.arena.record(old), s.attrs.arena.record(attr))
}

// apply carries out operations on one table, and returns how many routes went away or changed.
func (b *batch) apply(s *Store, t *Table, ops []op) (departed int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := &t.family.dict
	moving := s.moving.Load()
	gen := uint64(t.gen.Load())
	n, stale := t.n.Load(), t.stale.Load()
	wasN, wasStale := n, stale
	r := t.root.Load()
	tree := r == nil || !r.isDense()
	var last near
	b.add = b.add[:0]
	for i := range ops {
		o := &ops[i]
		attr := uint32(0)
		if o.rec >= 0 {
			attr = b.recs[o.rec].id
		}
		refused := o.rec >= 0 && (attr == 0 || o.id == 0 || t.dropped)
		if refused {
			attr = 0
		}
		var cell *uint64 // where the route is or goes
		inLeaf := false
		switch {
		case o.id == 0 || t.dropped:
		case tree:
			key := t.key(o.id, o.path)
			if r != nil {
				cell = last.find(t, r, key)
			}
			if inLeaf = cell != nil; !inLeaf {
				cell = b.place(key)
			}
			if attr == 0 || cell != nil && atomic.LoadUint64(cell) != 0 {
				break
			}
			if !d.setPresence(s, o.id, t) {
				refused = true
			} else if cell == nil {
				cell = b.put(key)
			}
		case attr != 0:
			if p := t.densePage(o.id); p != nil {
				cell = &p[o.id%blockIDs]
			} else {
				refused = true
			}
		default:
			if k := t.root.Load().page(o.id); k != 0 {
				cell = &s.big.big(k)[o.id%blockIDs]
			}
		}
		var old uint64
		if cell != nil {
			old = atomic.LoadUint64(cell)
			if moving != nil && old != 0 && attr != 0 {
				// If both are one record that is moved just now, one of these looks sees it for each.
				attr = moving.to(attr)
				old = moving.cell(old)
				attr = moving.to(attr)
			}
		}
		if refused {
			attr = 0
		}
		switch {
		case old == 0:
			if attr == 0 {
				break
			}
			n++
			if inLeaf {
				t.tombs--
			}
			o.outcome = Added
			t.counts.Added++
		case cellAttr(old) == attr:
			if old&cellGen != gen {
				atomic.StoreUint64(cell, old^cellGen)
				stale--
			}
			o.outcome = Unchanged
			t.counts.Unchanged++
			continue
		case attr != 0 && old&cellGen != gen && s.saysTheSame(cellAttr(old), attr):
			atomic.StoreUint64(cell, uint64(attr)<<32|gen|old&cellTime)
			stale--
			departed++ // of the old record
			o.outcome = Unchanged
			t.counts.Unchanged++
			continue
		default:
			if old&cellGen != gen {
				stale--
			}
			d.changed(s, o.id, o.tick)
			departed++
			if attr != 0 {
				o.outcome = Changed
				t.counts.Changed++
				break
			}
			n--
			if inLeaf {
				t.tombs++
			}
			atomic.StoreUint64(cell, 0)
			if !refused {
				o.outcome = Withdrawn
				t.counts.Withdrawn++
			}
		}
		switch {
		case attr != 0:
			atomic.StoreUint64(cell, uint64(attr)<<32|gen|uint64(o.tick))
		case refused:
			o.outcome = Refused
			t.counts.Refused++
			s.refused.Add(1)
		case old == 0:
			o.outcome = NotFound
			t.counts.NotFound++
		}
	}
	if len(b.add) > 0 {
		if lost := b.insert(t); lost > 0 {
			b.refuse(t, ops)
			n -= lost
			t.counts.Added -= uint64(lost)
			t.counts.Refused += uint64(lost)
			s.refused.Add(int64(lost))
		}
	}
	if n != wasN {
		t.n.Store(n)
	}
	if stale != wasStale {
		t.stale.Store(stale)
	}
	if n > wasN {
		t.adapt()
	} else if tree && t.tombs > 0 {
		t.compact()
	}
	return departed
}

func placeOf(key uint64) int { return int(key * 0x9e3779b97f4a7c15 >> (64 - 9)) }

// place is the cell of a key among those to be inserted, or nil.
func (b *batch) place(key uint64) *uint64 {
	if len(b.add) == 0 {
		return nil
	}
	for i := placeOf(key); b.places[i] != 0; i = (i + 1) % len(b.places) {
		if e := &b.add[b.places[i]-1]; e.key == key {
			return &e.cell
		}
	}
	return nil
}

// put adds a key to those to be inserted, and returns its cell.
func (b *batch) put(key uint64) *uint64 {
	if len(b.add) == 0 {
		clear(b.places[:])
	}
	b.add = append(b.add, entry{key: key})
	i := placeOf(key)
	for b.places[i] != 0 {
		i = (i + 1) % len(b.places)
	}
	b.places[i] = uint16(len(b.add))
	return &b.add[len(b.add)-1].cell
}

// insert puts what is to be inserted into the tree and returns how many routes could not be.
func (b *batch) insert(t *Table) (lost uint32) {
	b.add = slices.DeleteFunc(b.add, func(e entry) bool { return e.cell == 0 })
	slices.SortFunc(b.add, func(x, y entry) int { return cmp.Compare(x.key, y.key) })
	return uint32(len(b.add) - t.insert(b.add, &b.scratch))
}

// refuse corrects the outcome of those routes that could not be inserted.
func (b *batch) refuse(t *Table, ops []op) {
	r := t.root.Load()
	for i := range ops {
		o := &ops[i]
		if o.outcome == Added && (r == nil || t.find(r, t.key(o.id, o.path)) == nil) {
			o.outcome = Refused
		}
	}
}
