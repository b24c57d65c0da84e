package rib

import "context"

const memoUnits = extentUnits >> attrShare // records of one extent share a block of verdicts

// memo remembers the verdicts of a predicate on attribute records, so that it is asked about once per record and
// not once per route.
type memo struct {
	s      *Store
	attrs  func([]byte) bool
	freed  int64                     // Store.freed when the verdicts were reached
	blocks []*[memoUnits / 32]uint64 // by extent; 2 bits for each 4 units: 0 unknown, 1 no, 2 yes
}

func newMemo(s *Store, attrs func([]byte) bool) *memo {
	return &memo{s: s, attrs: attrs, freed: s.freed.Load()}
}

// refresh forgets all when record numbers may have been given to other records. The guard is held.
func (m *memo) refresh() {
	if f := m.s.freed.Load(); f != m.freed {
		m.freed = f
		clear(m.blocks)
	}
}

// known is the verdict on a record, or 0. It is small enough to be inlined.
func (m *memo) known(id uint32) uint64 {
	e, i := id>>extentShift, id>>attrShare
	if int(e) >= len(m.blocks) || m.blocks[e] == nil {
		return 0
	}
	return m.blocks[e][i%memoUnits/32] >> (i % 32 * 2) & 3
}

// test is the verdict on a record. The guard is held, and has been since the record's number was read from a cell.
func (m *memo) test(r *query, id uint32) bool {
	e := int(id >> extentShift)
	for e >= len(m.blocks) {
		m.blocks = append(m.blocks, nil)
	}
	b := m.blocks[e]
	if b == nil {
		b = new([memoUnits / 32]uint64)
		m.blocks[e] = b
	}
	i := id >> attrShare
	w := &b[i%memoUnits/32]
	shift := i % 32 * 2
	switch *w >> shift & 3 {
	case 1:
		return false
	case 2:
		return true
	}
	if r != nil {
		r.work += queryEval
	}
	if m.attrs(m.s.attrs.arena.record(id)) {
		*w |= 2 << shift
		return true
	}
	*w |= 1 << shift
	return false
}

// evaluate reaches a verdict on every record there is, unless a sweep is about to free some. The guard is not held.
func (m *memo) evaluate(ctx context.Context) error {
	s := m.s
	if !s.evaluating.TryRLock() {
		return nil
	}
	defer s.evaluating.RUnlock()
	var ids []uint32
	for k := range s.attrs.arena.lanes {
		for i, more := 0, true; more; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.guard.RLock()
			if s.closed {
				s.guard.RUnlock()
				return ErrClosed
			}
			m.refresh()
			ids, more = s.attrs.arena.walk(ids[:0], k, i)
			for _, id := range ids {
				m.test(nil, id)
			}
			s.guard.RUnlock()
		}
	}
	return nil
}
