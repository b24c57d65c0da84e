package rib

import (
	"math"
	"slices"
)

// A filter that lets through more than this part of the routes is answered along the index.
const gatherShare = 8

// inOrder answers a question about all prefixes in the order of the index. When the filters let few routes through,
// looking at every prefix in every table in that order, which is not that of memory, would take most of the time: then
// the query goes through the tables as walk does, gathers where what it finds is, and sorts that. But it begins along
// the index, for what may be found at once.
func (r *query) inOrder() error {
	snap, err := r.d.sorted(r.ctx, r.s)
	if err != nil {
		return err
	}
	filtered := r.q.Attrs != nil || r.q.PathID != nil || r.q.Stale
	asked := r.tables
	if r.q.Tables == nil && r.q.Where == nil {
		r.tables = nil // all: by presence
	}
	var place [2]int
	last, seen, found, end := uint32(0), 0, 0, false
	err = r.chunks(func() bool {
		for !r.enough() {
			if last = snap.next(r.d, r.s, &place); last == 0 {
				end = true
				return true
			}
			r.probeAll(last, nil)
		}
		seen, found = seen+r.work, found+len(r.hits)
		if seen < r.s.sizes.look {
			return false
		}
		few := filtered && found*gatherShare < seen
		seen, found = 0, 0
		return few
	})
	if err != nil || end || r.left == 0 {
		return err
	}
	r.tables = asked
	if r.worthwhile() {
		if err := r.memo.evaluate(r.ctx); err != nil {
			return err
		}
	}
	if err := r.enter(); err != nil {
		return err
	}
	after := r.d.item(r.s, last)
	r.s.guard.RUnlock()
	after.table = math.MaxUint32
	return r.gather(after)
}

// gather answers from the places of hits behind after, in their order: of as many as it may keep at a time. What it
// goes through for the next ones it goes through anew.
func (r *query) gather(after indexItem) error {
	most := r.s.sizes.gather
	if r.left > 0 {
		most = min(most, r.left)
	}
	for more := true; more; {
		list, cut, err := r.places(after, most)
		if err != nil {
			return err
		}
		if more = cut; more {
			after = list[len(list)-1]
		}
		err = r.chunks(func() bool {
			for len(list) > 0 && !r.enough() {
				r.probe(r.tables[list[0].table], list[0].id)
				list = list[1:]
			}
			return len(list) == 0
		})
		if err != nil || r.left == 0 {
			return err
		}
	}
	return nil
}

// places is where the first hits behind after are, in order. cut says that there are more.
func (r *query) places(after indexItem, most int) (list []indexItem, cut bool, err error) {
	before := indexItem{first: math.MaxUint64} // of those kept, when cut
	for i, t := range r.tables {
		last := uint32(0)
		for from, more := uint64(0), true; more; {
			if err := r.ctx.Err(); err != nil {
				return nil, false, err
			}
			if err := r.enter(); err != nil {
				return nil, false, err
			}
			r.hits, r.work = r.hits[:0], 0
			from, more = r.walkTable(t, from)
			for k := range r.hits {
				if id := r.hits[k].id; id != last { // with ADD-PATH a prefix may have several
					last = id
					it := r.d.item(r.s, id)
					it.table = uint32(i)
					if r.d.compareItems(r.s, it, after) > 0 && (!cut || r.d.compareItems(r.s, it, before) < 0) {
						list = append(list, it)
					}
				}
			}
			r.most = max(r.most, len(r.hits))
			r.s.guard.RUnlock()
			if len(list) >= 2*most {
				if list, err = r.order(list); err != nil {
					return nil, false, err
				}
				list, cut = list[:most], true
				before = list[most-1]
			}
		}
	}
	if list, err = r.order(list); err != nil {
		return nil, false, err
	}
	if len(list) > most {
		list, cut = list[:most], true
	}
	return list, cut, nil
}

// order sorts places.
func (r *query) order(list []indexItem) ([]indexItem, error) {
	r.s.sorting.RLock()
	defer r.s.sorting.RUnlock()
	if r.s.closed {
		return nil, ErrClosed
	}
	return r.d.sortItems(r.ctx, r.s, slices.Clip(list))
}
