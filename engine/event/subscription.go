package event

import (
	"slices"
	"sync/atomic"
	"time"
)

// Filter says which events a subscription takes. The zero Filter takes none.
type Filter struct {
	Console bool   // console lines, of every client
	Client  uint32 // live events of this client; 0 for none
	Kinds   Kinds  // which kinds of them
	Peer    uint32 // of these, those of this peer alone; 0 for all
	All     Kinds  // console lines and live events of these kinds, of every client; not Message or Route, which nobody makes for it
	// Match refines further; nil takes all. It is called for live events of Client by the publisher: it must be
	// quick, take no lock and keep nothing.
	Match func(*Event) bool
}

// Kinds is a set of kinds.
type Kinds uint16

// AllKinds has every kind.
const AllKinds = Kinds(1<<NumKinds - 1)

// KindSet makes a set.
func KindSet(kinds ...Kind) Kinds {
	var s Kinds
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

// Has says whether k is a member.
func (s Kinds) Has(k Kind) bool { return s>>k&1 != 0 }

const dearKinds = Kinds(1<<Message | 1<<Route)

func (f *Filter) takes(e *Event) bool {
	if f.Console && e.Console {
		return true
	}
	if f.All.Has(e.Kind) && (e.Live || e.Console) {
		return true
	}
	return e.Live && f.Client != 0 && f.Client == e.Client && f.Kinds.Has(e.Kind) &&
		(f.Peer == 0 || f.Peer == e.Peer) && (f.Match == nil || f.Match(e))
}

func (f *Filter) dear(client uint32) bool {
	return f.Client == client && f.Kinds&dearKinds != 0
}

// Subscription is one follower's bounded queue of events. C delivers them; Dropped says what did not fit.
type Subscription struct {
	bus    *Bus
	filter Filter
	c      chan Event
	done   atomic.Bool

	dropped atomic.Uint64
	since   atomic.Int64 // unix nanoseconds of the first drop not yet told
}

// Subscribe starts a subscription with a queue of n events (at least 1). It ends with Close, or with the bus.
func (b *Bus) Subscribe(f Filter, n int) *Subscription {
	s := &Subscription{bus: b, filter: f, c: make(chan Event, max(n, 1))}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.done.Store(true)
		close(s.c)
		return s
	}
	b.subs = append(b.subs, s)
	if f.Client != 0 && f.Kinds&dearKinds != 0 {
		b.dear.Add(1)
	}
	return s
}

// put is called with the bus locked, so that C is not closed under it.
func (s *Subscription) put(e Event) {
	select {
	case s.c <- e:
	default:
		if s.dropped.Add(1) == 1 {
			s.since.Store(e.Time.UnixNano())
		}
	}
}

// C delivers the events in order. It is closed when the subscription ends.
func (s *Subscription) C() <-chan Event { return s.c }

// Dropped returns how many events did not fit since it was last called, and when the first of them happened.
func (s *Subscription) Dropped() (n uint64, since time.Time) {
	n = s.dropped.Swap(0)
	if n == 0 {
		return 0, time.Time{}
	}
	return n, time.Unix(0, s.since.Load())
}

// Close ends the subscription; what is queued can still be read from C. It may be called twice.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.done.Swap(true) {
		return
	}
	s.bus.subs = slices.DeleteFunc(s.bus.subs, func(x *Subscription) bool { return x == s })
	if s.filter.Client != 0 && s.filter.Kinds&dearKinds != 0 {
		s.bus.dear.Add(-1)
	}
	close(s.c)
}
