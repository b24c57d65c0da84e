package engine

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
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
	// memoryWatch is how often the memory is looked at between two rounds of the janitor: tables come in with 100 MB a
	// second and more, which must not go by unseen for long.
	memoryWatch = 100 * time.Millisecond
	// settleAfterClose is how long memory may take to come free after a client was closed, before another one is.
	settleAfterClose = 10 * time.Second
	// releaseEvery is how often memory that is free is given back to the system where all that is resident is too much.
	releaseEvery = 5 * time.Second
	// heapRoom is the least that the Go heap may grow by beyond what lives in it.
	heapRoom = 32 << 20
)

// memoryGuard keeps the process below its limit. Of the janitor alone, but for what is in atomics of the Station.
//
// It judges the whole process: what is resident, less what the route store and the Go heap hold free for reuse. The
// limit is Options.MemoryLimit, or less where the machine, a cgroup or a resource limit has no more to give.
type memoryGuard struct {
	weights  map[uint32]int64 // bytes of each client when memory got short; nil before
	closed   time.Time        // when a client was closed last
	floor    int64            // what was used then
	released time.Time        // when free memory was given back last
	heap     int64            // limit given to the runtime; 0: none
	reclaims sync.WaitGroup
}

// memoryUse is one look at the memory.
type memoryUse struct {
	resident int64
	used     int64 // of it, less what is free for reuse
	limit    int64
	by       string // what makes the limit less than Options.MemoryLimit; empty: nothing does
}

func (u memoryUse) at(percent int64) bool { return u.used >= u.limit/100*percent }

// String says it as console lines do.
func (u memoryUse) String() string {
	text := fmt.Sprintf("Memory %s of %s in use", size(u.used), size(u.limit))
	if u.by != "" {
		text += " (" + u.by + " has no more)"
	}
	return text
}

// lookAtMemory asks everybody who knows.
func (s *Station) lookAtMemory() memoryUse {
	u := memoryUse{resident: s.options.memory(), limit: s.options.MemoryLimit}
	u.used = max(0, u.resident-s.store.Stats().FreeBytes-readHeap().free)
	// What is resident and free is as good as what the system has.
	if left, by := s.options.memoryLeft(); left < u.limit-u.resident {
		u.limit, u.by = max(1<<20, u.resident+left), by
	}
	return u
}

// watchMemory has the memory guarded at once where there is little left.
func (s *Station) watchMemory(now time.Time) {
	if limit := s.options.MemoryLimit; limit >= 0 && (s.guard.weights != nil || s.options.memory() >= limit/100*watchAt) {
		s.guardMemory(now)
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
	switch {
	case !u.at(watchAt):
		g.weights = nil
	case g.weights == nil:
		g.weights = make(map[uint32]int64)
		for id, w := range s.weights() {
			g.weights[id] = w.bytes
		}
	}
	switch refusing := s.refusing.Load(); {
	case !refusing && u.at(refuseAt):
		s.refusing.Store(true)
		s.say("%v: new clients are refused", u)
	case refusing && !u.at(acceptAt):
		s.refusing.Store(false)
		s.say("%v: new clients are taken again", u)
	}
	s.limitHeap(u)
	if u.resident >= u.limit && now.Sub(g.released) >= releaseEvery {
		g.released = now
		debug.FreeOSMemory()
	}
	if !u.at(closeAt) || now.Sub(g.closed) < settleAfterClose && u.used < g.floor+u.limit/50 {
		return
	}
	var worst weight
	for id, w := range s.weights() {
		w.growth = max(0, w.bytes-g.weights[id])
		if worst.client == nil || w.growth > worst.growth || w.growth == worst.growth && w.bytes > worst.bytes {
			worst = w
		}
	}
	if worst.client == nil {
		return
	}
	g.closed, g.floor = now, u.used
	s.closedForMemory.Add(1)
	s.say("%v: closing client %d, which grew most, and dropping its %d routes", u, worst.client.ID(), worst.routes)
	delete(g.weights, worst.client.ID())
	worst.client.DropForMemory(fmt.Sprintf("memory limit of %s reached, and this client grew most", size(u.limit)))
	s.reclaim(worst.client)
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

// reclaim gets the memory back of a client that was closed: it sweeps, as soon as its session has ended, instead of
// waiting until others have changed enough.
func (s *Station) reclaim(c *client.Client) {
	x := c.Session()
	s.guard.reclaims.Go(func() {
		if x != nil {
			<-x.Done()
		}
		s.store.Sweep(context.Background()) // its only error is of the context
		debug.FreeOSMemory()
	})
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
	if limit == g.heap || limit > 0 && g.heap > 0 && limit > g.heap-g.heap/16 && limit < g.heap+g.heap/16 {
		return
	}
	g.heap = limit
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
