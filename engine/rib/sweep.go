package rib

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Swept says what a sweep found.
type Swept struct {
	AttributeSets int   // dead attribute sets freed
	Prefixes      int   // numbers of prefixes that no table holds, freed
	Bytes         int64 // of attribute sets freed
}

// sweepGoal is when a sweep is worth while: records or prefix numbers made since the last one, and routes departed.
// What is only loaded is never swept.
type sweepGoal struct {
	bytes    atomic.Int64 // of attrs.arena.grown
	ids      atomic.Int64 // of all dicts' made
	madeThen atomic.Int64
	departed atomic.Int64
	running  atomic.Bool
}

const (
	sweepBytes    = 1 << 20 // records made since the last sweep: at least this, and
	sweepShare    = 4       // this part of what there is
	sweepIDs      = 1 << 16
	sweepSettle   = 30 * time.Second
	walkCells     = 1 << 14 // cells marked between looks at who else wants the guard
	sweepPerBytes = 256     // a route must have departed for so many bytes of records made,
	sweepPerIDs   = 4       // or prefix numbers
	settleShare   = 64      // part of all cells that must have departed where nothing was made
	throttleTime  = 500 * time.Microsecond
)

// setGoal is called when nothing needs sweeping.
func (s *Store) setGoal() {
	live := s.attrs.arena.live.Load() * unitBytes
	s.attrs.arena.grown.Store(0)
	s.goal.bytes.Store(max(sweepBytes, live/sweepShare))
	made, held := int64(0), int64(0)
	for _, f := range *s.families.Load() {
		made += f.dict.made.Load()
		held += f.dict.held.Load()
	}
	s.goal.madeThen.Store(made)
	s.goal.ids.Store(max(sweepIDs, held/sweepShare))
	s.goal.departed.Store(max(sweepIDs/16, s.attrs.sets.Load()/(2*sweepShare)))
}

// wakeSweep starts a sweep in the background when it is worth while: when enough was made, and so much has departed
// that a good part of what was made may replace what is dead.
func (s *Store) wakeSweep() {
	departed := s.departed.Load()
	if departed < s.goal.departed.Load() || s.goal.running.Load() {
		return
	}
	grown := s.attrs.arena.grown.Load()
	if grown >= s.goal.bytes.Load() && departed >= grown/sweepPerBytes {
		s.wakeNow()
	} else if ids := s.idsMade(); ids >= s.goal.ids.Load() && departed >= ids/sweepPerIDs {
		s.wakeNow()
	}
}

func (s *Store) wakeNow() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// throttle delays a writer that makes records faster than the sweep that runs can free them: by then twice what
// makes a sweep worth while. Where the sweep gets a processor of its own this does not happen. No lock is held.
func (s *Store) throttle() {
	if s.goal.running.Load() && s.attrs.arena.grown.Load() > 2*s.goal.bytes.Load() && s.departed.Load() >= s.goal.departed.Load() {
		s.throttled.Add(1)
		time.Sleep(throttleTime)
	}
}

// idsMade is how many prefix numbers were given since the last sweep.
func (s *Store) idsMade() int64 {
	made := int64(0)
	for _, f := range *s.families.Load() {
		made += f.dict.made.Load()
	}
	return made - s.goal.madeThen.Load()
}

// background sweeps when writers say so, and now and then when much is gone and nothing new comes.
func (s *Store) background(ctx context.Context) {
	tick := time.NewTicker(sweepSettle)
	defer tick.Stop()
	compacted := int64(0) // the last sweep after which that was tried
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			_, _ = s.sweep(ctx) // its only error is that ctx has ended
		case <-tick.C:
			if s.retired.bytes.Load() > 0 {
				s.reclaim()
			}
			if s.sweeps.Load() != compacted && s.wasteful() {
				_, _ = s.Sweep(ctx)
				compacted = s.sweeps.Load()
				continue
			}
			if s.departed.Load() < max(sweepIDs, s.big.used.Load()*bigWords/settleShare) && s.guessed.Load() == 0 {
				continue
			}
			_, _ = s.sweep(ctx)
		}
	}
}

// Sweep frees the attribute sets and prefix numbers that no table holds any more, and gives memory back where that left
// holes. It runs beside writers and readers; the store does it by itself when enough has died, and the latter when it
// has been quiet for a while.
func (s *Store) Sweep(ctx context.Context) (Swept, error) {
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	found, err := s.sweepLocked(ctx)
	if err == nil && s.wasteful() {
		s.compact()
	}
	return found, err
}

// sweep is Sweep without giving memory back.
func (s *Store) sweep(ctx context.Context) (Swept, error) {
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	return s.sweepLocked(ctx)
}

// sweepLocked frees what is dead. sweepMu is held.
//
// Instead of reference counts, which would be two contended writes per changed route:
//
//  1. Put marks in place, with nobody inside the guard: from here on every number a writer obtains is marked (mark.go).
//  2. Walk all tables and mark what their cells hold. What is neither marked here nor there was dead at 1 and stays so, as
//     it can only be obtained from the hash tables.
//  3. Take what is dead out of the hash tables.
//  4. Wait for all who came earlier, by holding the guard exclusively for a moment.
//  5. Free the memory.
func (s *Store) sweepLocked(ctx context.Context) (Swept, error) {
	s.goal.running.Store(true)
	defer s.goal.running.Store(false)
	departed := s.departed.Load()

	w := sweeper{s: s}
	if !w.begin() {
		return Swept{}, ErrClosed
	}
	defer w.end()
	if err := w.walk(ctx); err != nil {
		return Swept{}, err
	}
	w.unlink()
	w.free()
	s.departed.Add(-departed)
	s.sweeps.Add(1)
	s.setGoal()
	return w.found, nil
}

type sweeper struct {
	s        *Store
	attrs    *marks
	families []*family // whose numbers are marked
	walked   bool
	found    Swept

	mu   sync.Mutex // guards what is to be walked: the sweep walks, and writers help
	work []sweepWork
	from uint64 // in work[0]: the first key that is not walked
}

type sweepWork struct {
	t *Table
	m *marks // nil in a family that is younger than the sweep: its numbers are not swept
}

// begin puts the marks in place.
func (w *sweeper) begin() bool {
	s := w.s
	w.attrs = newMarks(s.attrs.arena.end(), attrShare)
	for _, f := range *s.families.Load() {
		w.families = append(w.families, f)
	}
	dicts := make([]*marks, len(w.families))
	for i, f := range w.families {
		dicts[i] = newMarks(uint64(f.dict.maxID())+1, 0)
	}
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.closed {
		return false
	}
	s.attrs.marks.Store(w.attrs)
	for i, f := range w.families {
		f.dict.marks.Store(dicts[i])
		f.switchPresence(s)
	}
	return true
}

// end takes the marks away.
func (w *sweeper) end() {
	s := w.s
	s.guard.Lock()
	s.attrs.marks.Store(nil)
	for _, f := range w.families {
		f.dict.marks.Store(nil)
		f.dict.renewPresence(s, w.walked)
	}
	s.reclaimLocked()
	s.big.trim()
	s.small.trim()
	s.attrs.arena.trim()
}

// walk marks what all tables hold, and shrinks tables that became too large for what they hold.
func (w *sweeper) walk(ctx context.Context) error {
	s := w.s
	for _, f := range *s.families.Load() {
		m := f.dict.marks.Load()
		for _, t := range f.snapshot(nil) {
			t.settle()
			w.work = append(w.work, sweepWork{t, m})
		}
	}
	s.helped.Store(w)
	defer s.helped.Store(nil)
	for {
		c, from, to := w.claim(false)
		if c.t == nil {
			break
		}
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.guard.RLock()
			from, more = w.mark(c.t, c.m, from, to)
			s.guard.RUnlock()
		}
	}
	s.guard.Lock() // writers help with the guard held: they have done what they claimed
	w.walked = !s.closed
	s.guard.Unlock()
	return nil
}

// claim takes a part of the walk: some pages of a dense table, or a whole tree; of these a writer only takes small
// ones.
func (w *sweeper) claim(help bool) (c sweepWork, from, to uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.work) > 0 {
		c = w.work[0]
		r := c.t.root.Load()
		switch {
		case r == nil:
		case r.isDense():
			// Pages that are added behind what is there now hold nothing that is not marked by its writer.
			if from = w.from; from>>blockShift < uint64(len(r.dense)) {
				w.from += walkCells
				return c, from, w.from
			}
		case help && c.t.Len() > walkCells:
			return sweepWork{}, 0, 0
		default:
			w.work, w.from = w.work[1:], 0
			return c, 0, math.MaxUint64
		}
		w.work, w.from = w.work[1:], 0
	}
	return sweepWork{}, 0, 0
}

// help does a part of the walk of a sweep that runs, for a writer that makes records faster than sweeps free them:
// so what a sweep finds does not grow without bound when everything changes all the time. The guard is held.
func (s *Store) help() {
	w := s.helped.Load()
	if w == nil || s.attrs.arena.grown.Load() < s.goal.bytes.Load() {
		return
	}
	if c, from, to := w.claim(true); c.t != nil {
		for more := true; more; {
			from, more = w.mark(c.t, c.m, from, to)
		}
	}
}

// settle undoes the guess that a table would fill up, and what became of tables that were full once. While a table
// grows it is left alone.
func (t *Table) settle() {
	if !t.enter() {
		return
	}
	defer t.leave()
	n := t.n.Load()
	growing := n > t.lastLen+t.lastLen/16
	t.lastLen = n
	r := t.root.Load()
	if r == nil || growing {
		return
	}
	if !r.isDense() {
		return
	}
	if n == 0 {
		t.setRoot(nil)
		return
	}
	pages := uint32(0)
	for _, p := range r.dense {
		if p != 0 {
			pages++
		}
	}
	limit := pages * blockIDs / 4
	if t.guess > 0 {
		limit = pages * blockIDs / 2
	}
	if n < limit {
		t.makeTree()
	} else {
		t.charge(0) // it fills its pages well enough
	}
}

// mark marks what some cells of a table hold, from a key on and up to another.
func (w *sweeper) mark(t *Table, m *marks, from, to uint64) (next uint64, more bool) {
	s := w.s
	r := t.root.Load()
	if r == nil || s.closed {
		return 0, false
	}
	seen := 0
	if !r.isDense() {
		d := &t.family.dict
		t.each(r, from, func(id, path uint32, cell *uint64) bool {
			if seen++; seen > walkCells {
				next, more = t.key(id, path), true
				return false
			}
			if c := atomic.LoadUint64(cell); c != 0 {
				w.attrs.set(cellAttr(c))
				if m != nil {
					m.set(id)
					d.renewedPresence(s, id, t)
				}
			}
			return true
		})
		return next, more
	}
	last := uint32(0)
	for i := int(from >> blockShift); i < len(r.dense) && uint64(i)<<blockShift < to; i++ {
		n := atomic.LoadUint32(&r.dense[i])
		if n == 0 {
			continue
		}
		if seen += blockIDs; seen > walkCells {
			return uint64(i) << blockShift, true
		}
		page := s.big.big(n)
		for k := 0; k < blockIDs; k += 64 {
			var live uint64
			for j := range 64 {
				a := cellAttr(atomic.LoadUint64(&page[k+j]))
				if a == 0 {
					continue
				}
				live |= 1 << j
				if a != last {
					w.attrs.set(a)
					last = a
				}
			}
			if live != 0 && m != nil {
				m.setWord(uint32(i)<<blockShift+uint32(k), live)
			}
		}
	}
	return 0, false
}

// unlink takes the dead out of the hash tables.
func (w *sweeper) unlink() {
	s := w.s
	for i := range s.attrs.shard {
		n := s.attrs.shard[i].sweep(s, w.attrs, 1<<attrShift-1, nil, nil)
		s.attrs.sets.Add(-int64(n))
		w.found.AttributeSets += n
	}
	for _, f := range w.families {
		d := &f.dict
		m := d.marks.Load()
		var dead []uint32
		for i := range d.shard {
			d.shard[i].sweep(s, m, idMax, func(slot uint64) {
				d.outlive(s, uint32(slot&idMax))
			}, func(slot uint64) {
				dead = append(dead, uint32(slot&idMax))
			})
		}
		d.held.Add(-int64(len(dead)))
		d.bury(s, dead)
	}
}

// free frees what was unlinked, when nobody looks at it any more.
func (w *sweeper) free() {
	s := w.s
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	s.guard.Lock()
	s.freed.Add(1)
	s.guard.Unlock()
	for i := range s.attrs.arena.lanes {
		records, bytes, _ := s.attrs.arena.rebuild(i, func(n uint32) bool { return !w.attrs.has(n) }, nil)
		_ = records // those unlinked here, and by sweeps that were cut short
		w.found.Bytes += bytes
	}
	for _, f := range w.families {
		w.found.Prefixes += f.dict.exhume(s)
	}
}
