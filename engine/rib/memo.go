package rib

import (
	"context"
	"time"
)

const (
	memoUnits = extentUnits >> attrShare // records of one extent share a block of verdicts
	noneShift = extentShift - 5          // 32 bits of memo.none for an extent

	// A route announced longer ago than this, when a query begins, has an attribute record that was there then.
	memoSettled = 10 * time.Second
)

// memo remembers the verdicts of a predicate on attribute records, so that it is asked about once per record and
// not once per route.
type memo struct {
	s      *Store
	attrs  func([]byte) bool
	freed  int64                     // Store.freed when the verdicts were reached
	blocks []*[memoUnits / 32]uint64 // by extent; 2 bits for each 4 units: 0 unknown, 1 no, 2 yes

	// What most records come to when few pass, in so few bytes that they stay in the nearest cache: by extent, a bit for
	// each 4 KiB that says that no record there passes. It holds for records older than settled: cells of a time before
	// that.
	none    []uint32
	settled uint32
}

func newMemo(s *Store, attrs func([]byte) bool) *memo {
	return &memo{s: s, attrs: attrs, freed: s.freed.Load(), settled: s.tick(time.Now().Add(-memoSettled))}
}

// refresh forgets all when record numbers may have been given to other records. The guard is held.
func (m *memo) refresh() {
	if f := m.s.freed.Load(); f != m.freed {
		m.freed = f
		clear(m.blocks)
		m.none = nil
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

// block is the verdicts on the records of an extent.
func (m *memo) block(e uint32) *[memoUnits / 32]uint64 {
	for int(e) >= len(m.blocks) {
		m.blocks = append(m.blocks, nil)
	}
	if m.blocks[e] == nil {
		m.blocks[e] = new([memoUnits / 32]uint64)
	}
	return m.blocks[e]
}

// test is the verdict on a record. The guard is held, and has been since the record's number was read from a cell.
func (m *memo) test(r *query, id uint32) bool {
	if v := m.known(id); v != 0 {
		return v == 2
	}
	r.work += queryEval
	b, i := m.block(id>>extentShift), id>>attrShare
	w, shift := &b[i%memoUnits/32], i%32*2
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
			if ids, more = s.attrs.arena.walk(ids[:0], k, i); len(ids) > 0 {
				m.extent(ids)
			}
			s.guard.RUnlock()
		}
	}
	return nil
}

// extent reaches a verdict on all records of an extent, which it looks up once. The guard is held.
func (m *memo) extent(ids []uint32) {
	e := ids[0] >> extentShift
	b, none, bytes := m.block(e), ^uint32(0), m.s.attrs.arena.extentBytes(e)
	for _, id := range ids {
		i := id >> attrShare
		w, shift := &b[i%memoUnits/32], i%32*2
		v := *w >> shift & 3
		if v == 0 {
			if v = 1; m.attrs(recordAt(bytes[id%extentUnits*unitBytes:])) {
				v = 2
			}
			*w |= v << shift
		}
		if v == 2 {
			none &^= 1 << (id >> noneShift % 32)
		}
	}
	for int(e) >= len(m.none) {
		m.none = append(m.none, 0)
	}
	m.none[e] = none
}
