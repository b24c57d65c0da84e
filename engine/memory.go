package engine

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"bmp/engine/client"
	"bmp/engine/rib"
)

// Shares of the memory limit, in percent.
const (
	watchAt  = 80 // growth is counted from here on, and the collector of garbage told to use what is left with care
	refuseAt = 90 // new clients are refused
	acceptAt = 85 // and taken again
	closeAt  = 100
)

const (
	// memoryWatch is how often the memory is looked at between two rounds of the janitor, and memoryWatchClose how often where
	// there is little left: tables come in with 100 MB a second and more, which must not go by unseen for long.
	memoryWatch      = 100 * time.Millisecond
	memoryWatchClose = 20 * time.Millisecond
	// releaseEvery is how often memory that is free is given back to the system where what is resident is too much.
	releaseEvery = 5 * time.Second
	// heapRoom is the least that the Go heap may grow by beyond what lives in it.
	heapRoom = 16 << 20
	// keptShare is the part of the limit that the messages kept of clients may take, and that may wait for the archive, where
	// that is less than they may have by themselves.
	keptShare = 8
	// piecesShare is the part of the limit that may be resident beyond it, free and in pieces.
	piecesShare = 4
	// bytesPerByte is how much memory a byte that is read may cost: its route, where each has attributes of its own, and what is
	// kept of the message twice until it is archived. What may be read until the next look at the memory is bounded by it, as
	// that look may come late where there is much to do.
	bytesPerByte = 4
)

// memoryGuard keeps the process below its limit. Of the janitor alone, but for what is in atomics of the Station.
//
// It judges the whole process, against Options.MemoryLimit and against what the machine, a cgroup or a resource limit still
// give (lookAtMemory).
//
// Between two looks at the memory the sessions may read only what there is room for. When the limit is reached all stop reading at once (client.Gate): what routers send then waits with them. The
// client that grew most is closed, its memory swept; and another one, until there is room again.
type memoryGuard struct {
	watching  bool                             // growth is counted
	weights   atomic.Pointer[map[uint32]int64] // bytes of each client when that began; nil: not known yet
	reclaims  atomic.Int32                     // closed clients of which the memory is not free yet
	busy      sync.WaitGroup
	good      time.Time // since when there is memory enough to take new clients again; zero: there is not
	looked    time.Time
	released  time.Time // when free memory was given back last
	heapLimit int64     // given to the runtime; 0: none
}

// memoryUse is one look at the memory.
type memoryUse struct {
	resident int64
	used     int64
	limit    int64
	by       string // what makes it another limit than Options.MemoryLimit; empty: it is that
}

func (u memoryUse) at(percent int64) bool { return u.used >= u.limit/100*percent }

// String says it as console lines do.
func (u memoryUse) String() string {
	text := fmt.Sprintf("Memory %s of %s in use", size(u.used), size(u.limit))
	if u.by != "" {
		text += " (" + u.by + ")"
	}
	return text
}

// lookAtMemory asks everybody who knows, and judges by what is shortest: what is used against the limit, not counting what the
// store holds free for reuse; and what is resident against all there is, as free memory in small pieces may be of no use to who
// needs some next.
func (s *Station) lookAtMemory() memoryUse {
	resident, heap, store, limit := s.options.memory(), readHeap(), s.store.Stats(), s.options.MemoryLimit
	u := memoryUse{resident: resident, used: max(0, resident-store.FreeBytes-heap.free), limit: limit}
	whole := memoryUse{resident: resident, used: max(0, resident-heap.free), limit: limit + limit/piecesShare, by: "much of it in pieces"}
	if left, by := s.options.memoryLeft(); left < whole.limit-resident {
		whole.limit, whole.by = max(1<<20, resident+left), by+" has no more"
	}
	// Address space never comes back, but store and heap use what they have again.
	if left, ok := addressLeft(); ok {
		if left += max(0, store.Mapped-store.Used) + heap.released; left < u.limit-u.used {
			u.limit, u.by = max(1<<20, u.used+left), "ulimit has no more"
		}
	}
	if float64(whole.used)/float64(whole.limit) > float64(u.used)/float64(u.limit) {
		return whole
	}
	return u
}

// watchMemory is called every memoryWatchClose, and looks at the memory as often as is called for.
func (s *Station) watchMemory(now time.Time) {
	limit, g := s.memoryLimit.Load(), &s.guard
	if limit < 0 || !g.watching && !s.env.Gate.IsShut() && now.Sub(g.looked) < memoryWatch {
		return
	}
	g.looked = now
	if resident := s.options.memory(); g.watching || resident >= limit/100*watchAt {
		s.guardMemory(now)
	} else {
		s.env.Gate.Allow((limit - resident) / bytesPerByte)
	}
}

// guardMemory refuses new clients at refuseAt percent of the limit, and at closeAt closes the client that grew most.
func (s *Station) guardMemory(now time.Time) {
	if s.options.MemoryLimit < 0 {
		return
	}
	g := &s.guard
	u := s.lookAtMemory()
	s.memoryLimit.Store(u.limit)
	if !u.at(closeAt) {
		s.paused.Store(false)
		s.env.Gate.Allow((u.limit - u.used) / bytesPerByte)
	}
	s.noteGrowth(u.at(watchAt))
	if u.at(acceptAt) {
		g.good = time.Time{}
	} else if g.good.IsZero() {
		g.good = now
	}
	switch refusing := s.refusing.Load(); {
	case !refusing && u.at(refuseAt):
		s.refusing.Store(true)
		s.say("%v: new clients are refused", u)
	case refusing && !g.good.IsZero() && now.Sub(g.good) >= s.options.settle:
		s.refusing.Store(false)
		s.say("%v: new clients are taken again", u)
	}
	s.limitHeap(u)
	if u.resident >= u.limit/100*refuseAt && now.Sub(g.released) >= releaseEvery {
		g.released = now
		debug.FreeOSMemory()
	}
	if u.at(closeAt) {
		s.makeRoom(u)
	}
}

// noteGrowth begins to count growth, or ends it. What the clients take now is asked beside the guard's work: a client that
// is busy has to be waited for.
func (s *Station) noteGrowth(watch bool) {
	g := &s.guard
	switch {
	case !watch:
		g.watching = false
		g.weights.Store(nil)
	case !g.watching:
		g.watching = true
		g.busy.Go(func() {
			before := make(map[uint32]int64)
			for id, w := range s.weights() {
				before[id] = w.bytes
			}
			g.weights.Store(&before)
		})
	}
}

// makeRoom closes the client that grew most, and has nobody read until that has made room. As long as the memory of the one
// before is not free no other one is closed.
func (s *Station) makeRoom(u memoryUse) {
	g := &s.guard
	s.env.Gate.Shut()
	s.paused.Store(true)
	if g.reclaims.Load() > 0 {
		return
	}
	before := map[uint32]int64{}
	if p := g.weights.Load(); p != nil {
		before = *p
	}
	var worst weight
	for id, w := range s.weights() {
		w.growth = max(0, w.bytes-before[id])
		if worst.client == nil || w.growth > worst.growth || w.growth == worst.growth && w.bytes > worst.bytes {
			worst = w
		}
	}
	if worst.client == nil {
		s.paused.Store(false)
		s.env.Gate.Open() // it is nobody's
		return
	}
	s.closedForMemory.Add(1)
	s.say("%v: closing client %d, which grew most, and dropping its %d routes", u, worst.client.ID(), worst.routes)
	session := worst.client.Session()
	worst.client.DropForMemory(fmt.Sprintf("memory limit of %s reached, and this client grew most", size(u.limit)))
	// Its memory is swept as soon as its session has ended, instead of when others have changed enough.
	g.reclaims.Add(1)
	g.busy.Go(func() {
		defer g.reclaims.Add(-1)
		if session != nil {
			<-session.Done()
		}
		s.store.Sweep(context.Background()) // its only error is of the context
		debug.FreeOSMemory()
	})
}

// weight is what a client takes.
type weight struct {
	client *client.Client
	routes int
	bytes  int64 // of its routes, their attributes, and what else is kept of it
	growth int64
}

// weights are those of all clients that hold something. It costs about 2 ns for each route there is.
func (s *Station) weights() map[uint32]weight {
	all := make(map[uint32]weight)
	scale := s.store.NewScale()
	var tables []*rib.Table
	for _, c := range s.Clients() {
		w := weight{client: c}
		tables, w.bytes = c.Holds(tables[:0])
		for _, t := range tables {
			w.routes += t.Len()
		}
		if !c.Up() && w.routes == 0 {
			continue
		}
		w.bytes += scale.Weigh(tables)
		all[c.ID()] = w
	}
	return all
}

// limitHeap has the collector keep the Go heap within what the limit leaves to it, where that is little. Elsewhere it is
// left alone: it works the less the more there is.
func (s *Station) limitHeap(u memoryUse) {
	limit := int64(0)
	if u.at(watchAt) || u.resident >= u.limit/100*watchAt {
		h := readHeap()
		limit = max(u.limit/100*95-(u.resident-h.resident), h.live+h.live/4+heapRoom)
	}
	g := &s.guard
	if old := g.heapLimit; limit == old || limit > 0 && old > 0 && limit > old-old/16 && limit < old+old/16 {
		return
	}
	g.heapLimit = limit
	if limit == 0 {
		debug.SetMemoryLimit(s.heapLimit)
		return
	}
	debug.SetMemoryLimit(min(limit, s.heapLimit))
}

// heapLimit is what the environment wants of the runtime (GOMEMLIMIT).
func heapLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n > 0 {
		return n
	}
	return math.MaxInt64
}

// size writes bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KB", n>>10)
}
