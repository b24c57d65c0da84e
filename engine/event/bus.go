package event

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// LogLines is how many console lines are kept in memory, and how many `show log` shows where nothing is said.
const LogLines = 10_000

// Bus takes events and hands them on. The zero Bus is not usable: NewBus. All methods may be called concurrently.
//
// Its lock is a leaf: nothing else is locked while it is held, and callers may hold any other lock.
type Bus struct {
	dear atomic.Int32 // subscriptions that want messages or routes of any client: the fast answer of Wants

	mu     sync.Mutex
	closed bool
	counts map[countKey]uint64
	total  [NumKinds]uint64
	log    []Event // ring, once it is full
	next   int     // place of the oldest in log once it is full
	lost   uint64  // console lines that the ring no longer has
	subs   []*Subscription
}

type countKey struct {
	client uint32
	kind   Kind
}

// NewBus returns a Bus without subscriptions.
func NewBus() *Bus {
	return &Bus{counts: make(map[countKey]uint64)}
}

// Publish counts e, keeps it and hands it on. It never blocks.
func (b *Bus) Publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if e.Live && e.Kind < NumKinds {
		b.counts[countKey{e.Client, e.Kind}]++
		b.total[e.Kind]++
	}
	if e.Console {
		if len(b.log) < LogLines {
			b.log = append(b.log, e)
		} else {
			b.log[b.next] = e
			b.next = (b.next + 1) % LogLines
			b.lost++
		}
	}
	for _, s := range b.subs {
		if s.filter.takes(&e) {
			s.put(e)
		}
	}
}

// Wants says whether somebody follows messages or routes of the client, so that it is worth making such events.
func (b *Bus) Wants(client uint32) bool {
	if b.dear.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.subs, func(s *Subscription) bool { return s.filter.dear(client) })
}

// Log copies the console lines from since on (zero time: all that are kept), oldest first, and says how many older
// ones the ring no longer has. Oldest is by their times: peer changes wait for others to be summed up with, and are
// published later than what came after them.
func (b *Bus) Log(since time.Time) (events []Event, lost uint64) {
	b.mu.Lock()
	events = make([]Event, 0, len(b.log))
	for i := range b.log {
		e := b.log[(b.next+i)%len(b.log)]
		if !e.Time.Before(since) {
			events = append(events, e)
		}
	}
	lost = b.lost
	b.mu.Unlock()
	slices.SortStableFunc(events, func(x, y Event) int { return x.Time.Compare(y.Time) })
	return events, lost
}

// Count is how often a kind of event happened on a client (0: on the station itself).
type Count struct {
	Client uint32
	Kind   Kind
	N      uint64
}

// Counts lists the counts, by kind and client. Clients that were forgotten are counted no more.
func (b *Bus) Counts() []Count {
	b.mu.Lock()
	out := make([]Count, 0, len(b.counts))
	for k, n := range b.counts {
		out = append(out, Count{k.client, k.kind, n})
	}
	b.mu.Unlock()
	slices.SortFunc(out, func(x, y Count) int {
		if x.Client != y.Client {
			return int(int64(x.Client) - int64(y.Client))
		}
		return int(x.Kind) - int(y.Kind)
	})
	return out
}

// Totals is how often each kind happened on all clients together, forgotten ones included.
func (b *Bus) Totals() [NumKinds]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// Forget drops the counts of a client.
func (b *Bus) Forget(client uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range NumKinds {
		delete(b.counts, countKey{client, k})
	}
}

// Close ends all subscriptions; later events go nowhere.
func (b *Bus) Close() {
	b.mu.Lock()
	subs := slices.Clone(b.subs)
	b.closed = true
	b.mu.Unlock()
	for _, s := range subs {
		s.Close()
	}
}
