package rib

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

const indexBlock = 1 << 15 // items sorted or merged between looks at the context

// index keeps the live numbers of a dict in the order of their keys, for what is asked in order or by range. It is
// built when first asked for; from then on new numbers are collected and merged in at the next question.
//
// Invariant: the snapshot holds no number that is free. (A sweep takes numbers in limbo out before they can become
// free, and a query keeps what is in limbo from becoming free.)
type index struct {
	mu   sync.Mutex // one builder at a time; before dict.mu
	snap atomic.Pointer[indexSnap]

	addMu   sync.Mutex
	on      bool
	pending []uint32 // numbers given since the last merge
}

// indexSnap is immutable: two ordered runs without a common number.
type indexSnap struct {
	main, recent []uint32
}

// add notes a new number. dict.mu is held.
func (x *index) add(id uint32) {
	x.addMu.Lock()
	if x.on {
		x.pending = append(x.pending, id)
	}
	x.addMu.Unlock()
}

// indexItem is a number with the beginning of its key, so that most comparisons need no more.
type indexItem struct {
	first uint64
	id    uint32
	table uint32 // for gather: place among the tables asked
}

// sorted is the index, up to date. The caller holds a pin (Store.pins), so that no number becomes free.
func (d *dict) sorted(ctx context.Context, s *Store) (*indexSnap, error) {
	s.sorting.RLock()
	defer s.sorting.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	x := &d.index
	x.mu.Lock()
	defer x.mu.Unlock()
	x.addMu.Lock()
	built := x.on
	x.on = true
	x.addMu.Unlock()
	snap := x.snap.Load()
	if snap == nil {
		snap = &indexSnap{}
	}
	var fresh []uint32
	if !built {
		fresh = d.all(s)
	}
	// Only now: what is given a number while all are listed is in both, and is kept once; were it pending still, it would
	// be in both runs one day.
	x.addMu.Lock()
	fresh = append(fresh, x.pending...)
	x.pending = nil
	x.addMu.Unlock()
	if len(fresh) == 0 {
		return snap, nil
	}
	run, err := d.sortIDs(ctx, s, fresh)
	if err == nil {
		recent := snap.recent
		if run, err = d.mergeIDs(ctx, s, recent, run); err == nil {
			next := &indexSnap{snap.main, run}
			if len(run) > 1024+len(snap.main)/8 {
				run, err = d.mergeIDs(ctx, s, snap.main, run)
				next = &indexSnap{run, nil}
			}
			if err == nil {
				x.snap.Store(next)
				return next, nil
			}
		}
	}
	// Given up: the numbers are still to be merged.
	x.addMu.Lock()
	if built {
		x.pending = append(x.pending, fresh...)
	} else {
		x.on, x.pending = false, nil
	}
	x.addMu.Unlock()
	return nil, err
}

// all lists the live numbers.
func (d *dict) all(s *Store) []uint32 {
	var ids []uint32
	for id := uint32(1); ; {
		d.mu.Lock()
		for range indexBlock {
			if id >= d.next {
				d.mu.Unlock()
				return ids
			}
			if d.state(s, id)&stateLimbo == 0 {
				ids = append(ids, id)
			}
			id++
		}
		d.mu.Unlock()
	}
}

// sortIDs returns the numbers in the order of their keys, each once, without those that are not live.
func (d *dict) sortIDs(ctx context.Context, s *Store, ids []uint32) ([]uint32, error) {
	items := make([]indexItem, 0, len(ids))
	for _, id := range ids {
		if d.state(s, id)&stateLimbo == 0 { // also of free ones
			items = append(items, d.item(s, id))
		}
	}
	items, err := d.sortItems(ctx, s, items)
	if err != nil {
		return nil, err
	}
	sorted := make([]uint32, 0, len(items))
	for i, it := range items {
		if i == 0 || it.id != items[i-1].id {
			sorted = append(sorted, it.id)
		}
	}
	return sorted, nil
}

// sortItems returns items in order; it overwrites what it is given.
func (d *dict) sortItems(ctx context.Context, s *Store, items []indexItem) ([]indexItem, error) {
	if d.shape == shapeIPv4 && len(items) > digitLeast {
		return sortDigits(ctx, items)
	}
	compare := func(a, b indexItem) int { return d.compareItems(s, a, b) }
	for at := 0; at < len(items); at += indexBlock {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		slices.SortFunc(items[at:min(at+indexBlock, len(items))], compare)
	}
	if len(items) <= indexBlock {
		return items, nil
	}
	// Merge neighbouring runs until one is left.
	spare := make([]indexItem, len(items))
	for size := indexBlock; size < len(items); size *= 2 {
		for at := 0; at < len(items); at += 2 * size {
			mid, end := min(at+size, len(items)), min(at+2*size, len(items))
			a, b, out := items[at:mid], items[mid:end], spare[at:at]
			for len(a) > 0 && len(b) > 0 {
				if len(out)%indexBlock == 0 && ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if compare(a[0], b[0]) <= 0 {
					out, a = append(out, a[0]), a[1:]
				} else {
					out, b = append(out, b[0]), b[1:]
				}
			}
			copy(spare[at+len(out):], a)
			copy(spare[at+len(out)+len(a):], b)
		}
		items, spare = spare, items
	}
	return items, nil
}

const (
	digitBits  = 10
	digitLeast = 256 // fewer items are not worth the tables of counts
)

// sortDigits sorts items whose first is all of the key, digit by digit from the lowest: several times faster than by
// comparisons. Items of one number stay in their order, which is that of their tables.
func sortDigits(ctx context.Context, items []indexItem) ([]indexItem, error) {
	spare := make([]indexItem, len(items))
	for shift := 0; shift < tagBits; shift += digitBits {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var ends [1<<digitBits + 1]int // [d+1] counts digit d, and then is where it goes
		for i := range items {
			ends[items[i].first>>shift&(1<<digitBits-1)+1]++
		}
		for d := 1; d < len(ends); d++ {
			ends[d] += ends[d-1]
		}
		for _, it := range items {
			at := &ends[it.first>>shift&(1<<digitBits-1)]
			spare[*at] = it
			*at++
		}
		items, spare = spare, items
	}
	return items, nil
}

// mergeIDs merges two ordered runs. A number in both is kept once.
func (d *dict) mergeIDs(ctx context.Context, s *Store, a, b []uint32) ([]uint32, error) {
	if len(a) == 0 {
		return b, nil
	}
	out := make([]uint32, 0, len(a)+len(b))
	for len(b) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// Where b[0] goes: near by, as both runs have the same range, or anywhere.
		n, found := d.search(s, a, b[0])
		out = append(out, a[:n]...)
		a = a[n:]
		if found && a[0] == b[0] {
			a = a[1:]
		}
		out, b = append(out, b[0]), b[1:]
	}
	return append(out, a...), nil
}

// search finds the place of number id in an ordered run, looking near the beginning first.
func (d *dict) search(s *Store, run []uint32, id uint32) (int, bool) {
	it := d.item(s, id)
	step := 1
	for step < len(run) && d.compareItems(s, d.item(s, run[step-1]), it) < 0 {
		step *= 2
	}
	return slices.BinarySearchFunc(run[:min(step, len(run))], it, func(id uint32, it indexItem) int {
		return d.compareItems(s, d.item(s, id), it)
	})
}

// purge takes the numbers in limbo out of the index.
func (d *dict) purge(s *Store) {
	x := &d.index
	x.mu.Lock()
	defer x.mu.Unlock()
	snap := x.snap.Load()
	if snap == nil {
		return
	}
	live := func(ids []uint32) []uint32 {
		kept := make([]uint32, 0, len(ids))
		for _, id := range ids {
			if d.state(s, id)&stateLimbo == 0 {
				kept = append(kept, id)
			}
		}
		return kept
	}
	x.snap.Store(&indexSnap{live(snap.main), live(snap.recent)})
}

// item is a number with the first bytes of what it is ordered by.
func (d *dict) item(s *Store, id uint32) indexItem {
	if d.shape == shapeIPv4 {
		return indexItem{first: uint64(d.columns(s, id)[id%blockIDs])<<6 | uint64(d.state(s, id)&63), id: id}
	}
	key := d.keyN(s, id)
	if d.shape != shapeOpaque {
		key = key[1:]
	}
	var b [8]byte
	copy(b[:], key)
	return indexItem{first: binary.BigEndian.Uint64(b[:]), id: id}
}

func (d *dict) compareItems(s *Store, a, b indexItem) int {
	switch {
	case a.first < b.first:
		return -1
	case a.first > b.first:
		return 1
	case a.id == b.id || d.shape == shapeIPv4: // whose first is all of the key; one of two numbers is in limbo
		return cmp.Compare(a.table, b.table)
	}
	return d.shape.compare(d.keyN(s, a.id), d.keyN(s, b.id))
}

// compare is the order of keys: prefixes by route distinguisher, address, length; others by their bytes.
func (p shape) compare(a, b []byte) int {
	if p == shapeOpaque {
		return bytes.Compare(a, b)
	}
	if c := bytes.Compare(a[1:], b[1:]); c != 0 {
		return c
	}
	return cmp.Compare(a[0], b[0])
}

// covers says whether prefix a covers b, or equals it.
func (p shape) covers(a, b []byte) bool {
	if p == shapeOpaque {
		return bytes.Equal(a, b)
	}
	if a[0] > b[0] {
		return false
	}
	whole := 1 + p.rd() + int(a[0])/8
	if !bytes.Equal(a[1:whole], b[1:whole]) {
		return false
	}
	rest := a[0] % 8
	return rest == 0 || (a[whole]^b[whole])>>(8-rest) == 0
}

// shorten cuts a prefix key down to bits, into dst.
func (p shape) shorten(dst, key []byte, bits int) []byte {
	n := p.rd() + (bits+7)/8
	dst = append(append(dst[:0], byte(bits)), key[1:1+n]...)
	if rest := bits % 8; rest != 0 {
		dst[n] &= 0xff << (8 - rest)
	}
	return dst
}

// from is the place of the first number in each run whose key is not before key.
func (x *indexSnap) from(d *dict, s *Store, key []byte) [2]int {
	var buf [32]byte
	find := func(run []uint32) int {
		n, _ := slices.BinarySearchFunc(run, key, func(id uint32, key []byte) int {
			return d.shape.compare(d.appendKey(s, buf[:0], id), key)
		})
		return n
	}
	return [2]int{find(x.main), find(x.recent)}
}

// next returns the number at the places, the lower of the two runs', and moves on. 0 is the end.
func (x *indexSnap) next(d *dict, s *Store, at *[2]int) uint32 {
	a, b := x.main[min(at[0], len(x.main)):], x.recent[min(at[1], len(x.recent)):]
	switch {
	case len(a) == 0 && len(b) == 0:
		return 0
	case len(b) == 0 || len(a) > 0 && d.compareItems(s, d.item(s, a[0]), d.item(s, b[0])) <= 0:
		at[0]++
		return a[0]
	}
	at[1]++
	return b[0]
}
