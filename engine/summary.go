package engine

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/engine/event"
)

// Summary is the station in a few numbers: `show summary`.
type Summary struct {
	Port          uint16
	Name          string
	PID           int
	Version       string
	Uptime        time.Duration
	Clients       int // connected
	KnownClients  int // and down
	Peers         int // up, of connected clients
	Messages      uint64
	Bytes         uint64
	MemoryBytes   int64  // resident
	MemoryLimit   int64  // as it is judged by: less than the option's where the system has no more; 0: none
	Refusing      bool   // new clients, because memory is near its limit
	TurnedAway    uint64 // sessions that were refused so, since the start
	Paused        bool   // nobody reads until a client that was closed for memory has made room
	ClosedFor     uint64 // clients closed because memory had reached its limit
	Routes        int64
	Prefixes      int64
	AttributeSets int64
	Refused       int64 // routes refused for want of memory
	Throttled     int64 // batches of routes that waited for old attributes to be freed
	Tables        int
	Fallbacks     []string // what the store could not have, and does instead
	Events        uint64
	HalfOpen      int           // connections that have sent nothing yet
	Unreadable    uint64        // connections that ended before a first message
	ReadLag       time.Duration // longest time that a session has been working on what it read last
	QueueBytes    int64         // received by the kernel and not read yet, all sessions; at most unreadAge old
	RingBytes     int64         // messages kept

	Archive *archive.Load // what the archive has not stored yet, and what it lost; nil: there is none
}

// Summary sums up. It costs some microseconds per client.
func (s *Station) Summary() Summary {
	now := time.Now()
	st := s.store.Stats()
	sum := Summary{
		Port: s.Port(), Name: s.name, PID: s.PID(), Version: s.options.Version, Uptime: now.Sub(s.started),
		MemoryBytes: s.options.memory(), MemoryLimit: max(0, s.memoryLimit.Load()), Refusing: s.refusing.Load(),
		TurnedAway: s.refusedSessions.Load(), Paused: s.paused.Load(), ClosedFor: s.closedForMemory.Load(),
		Routes: st.Routes, Prefixes: st.Prefixes, AttributeSets: st.AttributeSets, Refused: st.Refused, Throttled: st.Throttled, Tables: st.Tables,
		Fallbacks: st.Fallbacks, HalfOpen: s.waiting.Len(), Unreadable: s.unreadable.Load(), RingBytes: s.budget.Used(),
	}
	if a := s.Archive(); a != nil {
		load := a.Load()
		sum.Archive = &load
	}
	s.mu.Lock()
	sessions := make([]*client.Session, 0, len(s.running))
	for x := range s.running {
		sessions = append(sessions, x)
	}
	s.mu.Unlock()
	// The lag is looked at before the clients are: to ask a client is to wait for its batch to end.
	for _, x := range sessions {
		sum.ReadLag = max(sum.ReadLag, x.Lag(now))
	}
	sum.QueueBytes = s.unread.of(sessions, now)
	for _, c := range s.unsorted() {
		t := c.Totals()
		sum.KnownClients++
		if t.Up {
			sum.Clients++
		}
		sum.Peers += t.PeersUp
		sum.Messages += t.Messages
		sum.Bytes += t.Bytes
	}
	totals := s.bus.Totals()
	for k := range event.NumKinds {
		if k != event.Message && k != event.Route {
			sum.Events += totals[k]
		}
	}
	return sum
}

// unreadAge is for how long what the kernel said is said again: with ten thousand sessions it takes longer to ask it about
// each than all else that a Summary has.
const unreadAge = time.Second

// unread is how much the kernel holds that was not read yet.
type unread struct {
	mu    sync.Mutex
	at    time.Time
	bytes int64
}

func (u *unread) of(sessions []*client.Session, now time.Time) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.at) >= unreadAge {
		u.at, u.bytes = now, 0
		for _, x := range sessions {
			u.bytes += unreadOf(x)
		}
	}
	return u.bytes
}

// unreadOf asks the kernel how much it holds for a session.
func unreadOf(x *client.Session) int64 {
	raw, err := x.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return int64(n)
}
