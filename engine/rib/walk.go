package rib

import "sync/atomic"

func (r *query) all() error {
	r.fix()
	if r.q.Attrs != nil {
		r.memo = newMemo(r.s, r.q.Attrs)
	}
	if !r.q.Sorted {
		return r.walk()
	}
	if r.few() {
		return r.collected(nil)
	}
	return r.inOrder()
}

// walk goes through table after table. When there is much to go through, it first evaluates a filter on attributes
// for all records there are; but not before it has tried for a moment to find first rows.
func (r *query) walk() error {
	prepare := r.worthwhile()
	tables, from, seen := r.tables, uint64(0), 0
	step := func() bool {
		for len(tables) > 0 && !r.enough() {
			var more bool
			if from, more = r.walkTable(tables[0], from); !more {
				tables, from = tables[1:], 0
			}
		}
		seen += r.work
		return len(tables) == 0 || prepare && seen > r.s.sizes.look
	}
	if err := r.chunks(step); err != nil || len(tables) == 0 || r.left == 0 {
		return err
	}
	prepare = false
	if err := r.memo.evaluate(r.ctx); err != nil {
		return err
	}
	return r.chunks(step)
}

// worthwhile says whether it is cheaper to evaluate the filter on attributes for all records there are, in the order of
// memory, than for those of the routes walked, in their order: that is several times slower a record.
func (r *query) worthwhile() bool {
	return r.memo != nil && int64(r.routes()) > 2*r.s.attrs.sets.Load()
}

// walkTable adds the wanted routes of a table whose key is from or more, until it is enough.
func (r *query) walkTable(t *Table, from uint64) (next uint64, more bool) {
	root := t.root.Load()
	if root == nil {
		return 0, false
	}
	if !root.isDense() {
		t.each(root, from, func(id, path uint32, cell *uint64) bool {
			if r.enough() {
				next, more = t.key(id, path), true
				return false
			}
			r.work++
			if c := atomic.LoadUint64(cell); r.wanted(t, path, c) {
				r.hits = append(r.hits, hit{t, id, path, c})
			}
			return true
		})
		return next, more
	}
	// Page by page. Most cells fail by memo.none; and neighbouring routes often have equal attributes.
	plain := r.q.PathID == nil && !r.q.Stale && r.memo != nil
	var none []uint32
	settled := uint32(0)
	if plain {
		none, settled = r.memo.none, r.memo.settled
	}
	last, verdict := uint32(0), false
	for i := int(from >> blockShift); i < len(root.dense); i++ {
		n := atomic.LoadUint32(&root.dense[i])
		if n == 0 {
			continue
		}
		if r.enough() {
			return uint64(i) << blockShift, true
		}
		r.work += blockIDs
		page := r.s.big.big(n)
		for k := range page {
			c := atomic.LoadUint64(&page[k])
			if e := c >> (attrShift + extentShift); e < uint64(len(none)) &&
				none[e]>>(c>>(attrShift+noneShift)&31)&1 != 0 && uint32(c)&cellTime < settled || c == 0 {
				continue
			}
			if plain {
				if a := cellAttr(c); a != last {
					v := r.memo.known(a)
					last, verdict = a, v == 2 || v == 0 && r.memo.test(r, a)
				}
				if !verdict {
					continue
				}
			} else if !r.wanted(t, 0, c) {
				continue
			}
			r.hits = append(r.hits, hit{t, uint32(i<<blockShift + k), 0, c})
		}
	}
	return 0, false
}
