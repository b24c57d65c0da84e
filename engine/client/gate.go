package client

import "sync/atomic"

// Gate lets the sessions of a station read, or has them wait before their next read: what routers send then waits in the
// kernel, and in the end with them. It may let a number of bytes through, and shut then by itself. The zero Gate is open. It
// may be used concurrently.
type Gate struct {
	shut    atomic.Pointer[chan struct{}] // closed when it opens; nil: open
	limited atomic.Bool
	credit  atomic.Int64 // bytes, where limited
}

// Shut has all sessions wait that come to read. A shut Gate stays shut.
func (g *Gate) Shut() {
	if g.shut.Load() == nil {
		c := make(chan struct{})
		g.shut.CompareAndSwap(nil, &c)
	}
}

// Open lets them read. An open Gate stays open.
func (g *Gate) Open() {
	g.limited.Store(false)
	g.unlock()
}

// Allow lets them read so many bytes together, and each at most one read more.
func (g *Gate) Allow(bytes int64) {
	g.credit.Store(bytes)
	g.limited.Store(true)
	g.unlock()
}

func (g *Gate) unlock() {
	if c := g.shut.Swap(nil); c != nil {
		close(*c)
	}
}

// IsShut says whether sessions wait that come to read.
func (g *Gate) IsShut() bool { return g.shut.Load() != nil }

// pass waits until the gate is open, or the session is closed by us.
func (g *Gate) pass(s *Session) {
	for c := g.shut.Load(); c != nil; c = g.shut.Load() {
		select {
		case <-*c:
		case <-s.closing:
			return
		}
	}
}

// spend tells how many bytes were read.
func (g *Gate) spend(n int) {
	if g.limited.Load() && g.credit.Add(-int64(n)) < 0 {
		g.Shut()
	}
}
