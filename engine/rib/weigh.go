package rib

import "sync/atomic"

// Scale weighs tables. It is for one goroutine.
type Scale struct {
	store *Store
	seen  numbers // attribute sets counted already
	each  int64   // mean bytes of an attribute set with its slot
}

// NewScale makes a Scale that takes attribute sets for as long as their mean is now.
func (s *Store) NewScale() *Scale {
	x := &Scale{store: s, seen: numbers{shift: attrShare}}
	if n := s.attrs.sets.Load(); n > 0 {
		x.each = s.attrs.arena.live.Load()*unitBytes/n + 10
	}
	return x
}

// Weigh is about how many bytes the routes of some tables take: their cells, and the attribute sets they have, each
// counted once. It costs some 2 ns a route, and holds nobody up.
func (x *Scale) Weigh(tables []*Table) (bytes int64) {
	defer x.seen.clear()
	s := x.store
	sets := int64(0)
	for _, t := range tables {
		for from, more := uint64(0), true; more; {
			s.guard.RLock()
			if s.closed {
				s.guard.RUnlock()
				return 0
			}
			var n, cells int64
			n, cells, from, more = x.weigh(t, from)
			s.guard.RUnlock()
			sets += n
			bytes += cells
		}
	}
	return bytes + sets*x.each
}

// weigh weighs some of a table's cells, from a key on. The guard is held.
func (x *Scale) weigh(t *Table, from uint64) (sets, bytes int64, next uint64, more bool) {
	r := t.root.Load()
	if r == nil {
		return 0, 0, 0, false
	}
	entry := int64(14) // of a leaf that is as full as most
	if r.isDense() {
		entry = 8
	}
	seen := 0
	t.each(r, from, func(id, path uint32, cell *uint64) bool {
		if seen++; seen > walkCells {
			next, more = t.key(id, path), true
			return false
		}
		bytes += entry
		if c := atomic.LoadUint64(cell); c != 0 && x.seen.add(cellAttr(c)) {
			sets++
		}
		return true
	})
	return sets, bytes, next, more
}
