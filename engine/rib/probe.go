package rib

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

// probe adds the wanted routes of one prefix in one table. It says whether the table has the prefix at all.
func (r *query) probe(t *Table, id uint32) (has bool) {
	r.work++
	if !t.addPath {
		c := t.cell(id)
		if c != 0 && r.wanted(t, 0, c) {
			r.hits = append(r.hits, hit{t, id, 0, c})
		}
		return c != 0
	}
	t.each(t.root.Load(), uint64(id)<<32, func(i, path uint32, cell *uint64) bool {
		if i != id {
			return false
		}
		r.work++
		c := atomic.LoadUint64(cell)
		has = has || c != 0
		if r.wanted(t, path, c) {
			r.hits = append(r.hits, hit{t, id, path, c})
		}
		return true
	})
	return has
}

// probeAll adds the wanted routes of one prefix in all tables asked, in the order of their owners. skip says which
// tables not to ask, and learns which had the prefix; it may be nil.
func (r *query) probeAll(id uint32, skip *tableSet) {
	first := len(r.hits)
	if r.tables != nil {
		r.probeDense(r.tables, id, skip, nil)
		return
	}
	f := r.f
	f.mu.RLock()
	r.probeDense(f.dense, id, skip, r.q.Where)
	dense := len(r.hits)
	held := presence{^uint64(0), ^uint64(0)}
	if r.d.present.Load() == presenceReady {
		held = r.d.presence(r.s, id)
	}
	ask := &r.ask
	for k, set := range held {
		for ; set != 0; set &= set - 1 {
			bucket := f.buckets[k*64+bits.TrailingZeros64(set)]
			for i := range bucket {
				if held.has(bucket[i].bits) && !skip.has(bucket[i].t) {
					if ask.tables[ask.n], ask.n = bucket[i].t, ask.n+1; ask.n == len(ask.tables) {
						r.probeSparse(ask, id, skip)
					}
				}
			}
		}
	}
	r.probeSparse(ask, id, skip)
	f.mu.RUnlock()
	if len(r.hits) > dense {
		slices.SortStableFunc(r.hits[first:], func(a, b hit) int { return compareOwners(a.t, b.t) })
	}
}

// probeDense adds the wanted routes of one prefix in tables most of which are dense. As in probeSparse, each step
// is taken in many tables before the next.
func (r *query) probeDense(tables []*Table, id uint32, skip *tableSet, where func(Owner) bool) {
	a := &r.ask
	for len(tables) > 0 {
		n := 0
		for ; n < len(a.tables) && len(tables) > 0; tables = tables[1:] {
			if t := tables[0]; !skip.has(t) {
				a.tables[n], n = t, n+1
			}
		}
		r.work += n
		for i, t := range a.tables[:n] {
			a.roots[i] = t.root.Load()
		}
		for i, root := range a.roots[:n] {
			a.pages[i] = 0
			if root != nil {
				a.pages[i] = root.page(id)
			}
		}
		for i, page := range a.pages[:n] {
			a.cells[i] = 0
			if page != 0 {
				a.cells[i] = atomic.LoadUint64(&r.s.big.big(page)[id%blockIDs])
			}
		}
		for i, t := range a.tables[:n] {
			c, root := a.cells[i], a.roots[i]
			tree := root != nil && !root.isDense()
			if c == 0 && !tree || where != nil && !where(t.owner) {
				continue
			}
			if tree {
				if r.probe(t, id) {
					skip.add(t)
				}
				continue
			}
			skip.add(t)
			if r.wanted(t, 0, c) {
				r.hits = append(r.hits, hit{t, id, 0, c})
			}
		}
	}
}

// asked is tables that may hold a prefix.
type asked struct {
	n      int
	tables [64]*Table
	roots  [64]*root
	pages  [64]uint32
	cells  [64]uint64
	tops   [64]*branch
	leaves [64]leaf
}

// probeSparse adds the wanted routes of one prefix in the tables of a, and empties a. None of what it looks at is
// likely to be in the cache; so it goes through all tables step by step, and the misses of a step overlap: ten
// times faster than table by table.
func (r *query) probeSparse(a *asked, id uint32, skip *tableSet) {
	for i, t := range a.tables[:a.n] {
		a.roots[i] = t.root.Load()
	}
	for i, root := range a.roots[:a.n] {
		a.tops[i] = nil
		if root != nil && len(root.branches) > 0 {
			a.tops[i] = root.branches[at(root.firsts, a.tables[i].key(id, 0))].Load()
		}
	}
	for i, b := range a.tops[:a.n] {
		a.leaves[i] = leaf{}
		if b != nil {
			t := a.tables[i]
			a.leaves[i] = t.leaf(atomic.LoadUint32(&b.leaves[at(b.firsts, t.key(id, 0))]))
		}
	}
	for i, t := range a.tables[:a.n] {
		r.work++
		before := len(r.hits)
		has := false
		switch l := a.leaves[i]; {
		case t.addPath || a.tops[i] == nil:
			has = r.probe(t, id)
		default:
			if k := l.search(uint64(id)); k < len(l.words) && l.keys4[k] == id {
				c := atomic.LoadUint64(&l.words[k])
				has = c != 0
				if r.wanted(t, 0, c) {
					r.hits = append(r.hits, hit{t, id, 0, c})
				}
			}
		}
		if has {
			skip.add(t)
			if r.q.Where != nil && !r.q.Where(t.owner) {
				r.hits = r.hits[:before]
			}
		}
	}
	a.n = 0
}

// tableSet is a set of tables of one family. Nil is an empty one that stays empty.
type tableSet struct {
	words []uint64
	n     int
}

func (s *tableSet) has(t *Table) bool {
	return s != nil && int(t.number/64) < len(s.words) && s.words[t.number/64]>>(t.number%64)&1 != 0
}

func (s *tableSet) clear() {
	clear(s.words)
	s.n = 0
}

func (s *tableSet) add(t *Table) {
	if s == nil {
		return
	}
	for int(t.number/64) >= len(s.words) {
		s.words = append(s.words, 0)
	}
	if !s.has(t) {
		s.words[t.number/64] |= 1 << (t.number % 64)
		s.n++
	}
}
