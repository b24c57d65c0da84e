package listen

import (
	"container/list"
	"net/netip"
	"sync"
)

// MaxWaiting is how many sessions may be open that have sent nothing yet.
const MaxWaiting = 1024

// Waiting holds the sessions, of all listeners together, that have sent nothing yet, and bounds their number: a flood
// of silent connections costs bounded memory and cannot shut a router out. It may be used concurrently.
//
// Who is closed when it is full is the point: the oldest session of the address that has the most. A flood from one
// address takes its own places away; a router elsewhere keeps the one it waits in.
type Waiting struct {
	mu     sync.Mutex
	max    int
	count  int
	byAddr map[netip.Addr]*list.List // of *Place, oldest first
	closed uint64
}

// NewWaiting makes room for so many sessions; 0 stands for MaxWaiting.
func NewWaiting(most int) *Waiting {
	if most <= 0 {
		most = MaxWaiting
	}
	return &Waiting{max: most, byAddr: make(map[netip.Addr]*list.List)}
}

// A Place is one session's place among the waiting.
type Place struct {
	w     *Waiting
	addr  netip.Addr
	elem  *list.Element // nil once the place has been left; guarded by w.mu
	evict func()
}

// Enter takes a place for a session from an address. If there is none, another waiting session, or this one where its
// own address has the most, loses its place and its evict function is called, which must close that session and not
// block. evict is called before Enter returns or, for this session, by a later Enter; never after Leave returned true.
func (w *Waiting) Enter(from netip.Addr, evict func()) *Place {
	from = from.Unmap()
	w.mu.Lock()
	p := &Place{w: w, addr: from, evict: evict}
	var victim *Place
	if w.count >= w.max {
		// A waiting session is removed before the new one is entered, which therefore is never its own victim. The new one
		// counts for its address already: among equals the newcomer's own address gives way.
		victim = w.victim(from)
		w.remove(victim)
		w.closed++
	}
	l := w.byAddr[from]
	if l == nil {
		l = list.New()
		w.byAddr[from] = l
	}
	p.elem = l.PushBack(p)
	w.count++
	w.mu.Unlock()
	if victim != nil {
		victim.evict()
	}
	return p
}

// victim finds the oldest place of the address with the most; entering is about to have one more. It is called only
// when all places are taken, so a walk over the addresses, at most as many as there are places, is cheap enough.
func (w *Waiting) victim(entering netip.Addr) *Place {
	var most *list.List
	n := 0
	if l := w.byAddr[entering]; l != nil {
		most, n = l, l.Len()+1
	}
	for _, l := range w.byAddr {
		if l.Len() > n {
			most, n = l, l.Len()
		}
	}
	return most.Front().Value.(*Place)
}

func (w *Waiting) remove(p *Place) {
	l := w.byAddr[p.addr]
	l.Remove(p.elem)
	p.elem = nil
	w.count--
	if l.Len() == 0 {
		delete(w.byAddr, p.addr)
	}
}

// Leave gives the place back, because the session has sent something or has ended. It says whether the session still
// had it: false means that evict has been or is being called, or that Leave was called before.
func (p *Place) Leave() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.elem == nil {
		return false
	}
	p.w.remove(p)
	return true
}

// Len is the number of sessions waiting.
func (w *Waiting) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// Closed is how many sessions have lost their place to another so far.
func (w *Waiting) Closed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}
