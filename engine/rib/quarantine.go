package rib

import (
	"sync"
	"sync/atomic"
)

const (
	reclaimBytes = 1 << 20  // retired bytes from which on reclaiming is tried
	reclaimMust  = 16 << 20 // and insisted on
)

// quarantine keeps what was taken out of use while readers and writers that came earlier may still look at it.
//
// Whoever looks at pages holds Store.guard shared. So whoever has held it exclusively for a moment knows that
// everything retired before has been let go by all.
type quarantine struct {
	bytes atomic.Int64
	mu    sync.Mutex
	big   []uint32
	small []uint32
	roots []*root // of tables that were cleared or converted: all their pages
}

func (s *Store) retireBig(n uint32) {
	s.retired.mu.Lock()
	s.retired.big = append(s.retired.big, n)
	s.retired.mu.Unlock()
	s.retired.bytes.Add(bigWords * 8)
}

func (s *Store) retireLeaf(ref uint32) {
	if ref&smallLeaf == 0 {
		s.retireBig(ref)
		return
	}
	s.retired.mu.Lock()
	s.retired.small = append(s.retired.small, ref&^smallLeaf)
	s.retired.mu.Unlock()
	s.retired.bytes.Add(smallWords * 8)
}

// retireRoot retires all pages of a table in one step, whatever their number.
func (s *Store) retireRoot(r *root) {
	if r == nil {
		return
	}
	s.retired.mu.Lock()
	s.retired.roots = append(s.retired.roots, r)
	s.retired.mu.Unlock()
	s.retired.bytes.Add(r.bytes())
}

// tidy reclaims when enough was retired. s.guard is not held.
func (s *Store) tidy() {
	n := s.retired.bytes.Load()
	if n < reclaimBytes {
		return
	}
	if n < reclaimMust {
		if !s.guard.TryLock() {
			return // readers are at work; the next one will do it
		}
		s.reclaimLocked()
		return
	}
	s.reclaim()
}

// reclaim makes everything retired so far free for reuse. s.guard is not held.
func (s *Store) reclaim() {
	s.guard.Lock()
	s.reclaimLocked()
}

// reclaimLocked unlocks s.guard, which is held exclusively, as soon as it can.
func (s *Store) reclaimLocked() {
	if s.closed {
		s.guard.Unlock()
		return
	}
	q := &s.retired
	q.mu.Lock()
	big, small, roots := q.big, q.small, q.roots
	q.big, q.small, q.roots = nil, nil, nil
	q.bytes.Store(0)
	q.mu.Unlock()
	s.guard.Unlock()

	for _, r := range roots {
		big, small = r.pages(big, small)
	}
	s.big.give(big)
	s.small.give(small)
}
