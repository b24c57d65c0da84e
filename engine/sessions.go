package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"bmp/engine/client"
	"bmp/engine/listen"
)

// Addr is a router's address and port.
type Addr = netip.AddrPort

// accept takes sessions until the listener is closed.
func (s *Station) accept(l *listen.Listener) {
	defer s.accepts.Done()
	name := ListenerName(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		local, _ := netip.ParseAddrPort(conn.LocalAddr().String())
		s.serve(conn, client.Endpoint{
			Remote: conn.Remote(), Local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), Listener: name,
			Netns: l.Spec().Netns, VRF: l.Spec().VRF,
		})
	}
}

// serve starts the goroutine of a session; nil when the station stops.
func (s *Station) serve(conn *listen.Conn, ep client.Endpoint) *client.Session {
	x := client.NewSession(&s.env, conn, ep, time.Now())
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		conn.Close()
		return nil
	}
	s.running[x] = struct{}{}
	s.sessions.Add(1)
	s.mu.Unlock()
	place := s.waiting.Enter(ep.Remote.Addr(), func() {
		x.Close("closed to make room: too many connections that have sent nothing")
	})
	go s.run(x, place)
	return x
}

// run is the goroutine of a session. It is there for as long as its router is connected: what it does before and after that
// is in functions of their own, so that their stack is not needed meanwhile.
func (s *Station) run(x *client.Session, place *listen.Place) {
	s.left(x, place, x.Serve(func(h client.Hello) (*client.Client, error) {
		place.Leave()
		return s.attach(h)
	}))
	s.sessions.Done()
}

// left is called when a session has ended.
func (s *Station) left(x *client.Session, place *listen.Place, end *client.End) {
	place.Leave()
	s.mu.Lock()
	delete(s.running, x)
	s.mu.Unlock()
	if end.Client == nil {
		s.unreadable.Add(1)
		if more, ok := s.refused.tell(time.Now()); ok {
			s.say("Connection from %s closed before a first message: %s%s", x.Endpoint().Remote, end.Reason, andMore(more))
		}
		return
	}
	s.ended(end.Client)
}

// Open counts the open sessions of each listener, by the name that Endpoint has: those of clients, and those that have not said
// who they are yet.
func (s *Station) Open() (sessions, silent map[string]int) {
	sessions, silent = make(map[string]int), make(map[string]int)
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := range s.running {
		if x.Greeted() {
			sessions[x.Endpoint().Listener]++
		} else {
			silent[x.Endpoint().Listener]++
		}
	}
	return sessions, silent
}

// floodLines may come at once.
const floodLines = 16

// flood lets one line a second through, and up to floodLines after a quiet
// time, and counts the rest.
type flood struct {
	mu   sync.Mutex
	free time.Time // when all floodLines may come again
	more int
}

func (f *flood) tell(now time.Time) (more int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.free.Before(now) {
		f.free = now
	}
	if f.free.Sub(now) > (floodLines-1)*time.Second {
		f.more++
		return 0, false
	}
	f.free = f.free.Add(time.Second)
	more, f.more = f.more, 0
	return more, true
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more before)", n)
}

// attach finds the client of a session at its first whole message, or makes one.
func (s *Station) attach(h client.Hello) (*client.Client, error) {
	ep := h.Session.Endpoint()
	ident := client.Identity{Netns: ep.Netns, VRF: ep.VRF, Address: ep.Remote.Addr(), SysName: h.SysName}
	for {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			return nil, fmt.Errorf("station stops")
		}
		if h.Initiation && h.SysName != "" {
			c, old := s.known(ident, h)
			if c != nil {
				s.mu.Unlock()
				return c, nil
			}
			if old != nil {
				s.mu.Unlock()
				// It is closed and waited for with nothing locked; then it is down and this session goes on with it.
				old.Close("replaced by " + ep.Remote.String())
				<-old.Done()
				continue
			}
		}
		if s.refusing.Load() {
			s.mu.Unlock()
			s.refusedSessions.Add(1)
			return nil, fmt.Errorf("refused: the memory limit is near")
		}
		id, err := s.state.NewID(ident, h.Time)
		if err != nil {
			s.mu.Unlock()
			s.say("State folder: %v", err)
			return nil, fmt.Errorf("state folder: %w", err)
		}
		c := client.New(&s.env, id, ident, h.Time)
		s.clients[id] = c
		s.named.add(c, ident)
		c.Begin(h.Session, h.Time)
		s.mu.Unlock()
		return c, nil
	}
}

// ended is called when a session of the client has ended.
func (s *Station) ended(c *client.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ident := c.Identity()
	if ident.SysName != "" && s.clients[c.ID()] == c {
		// The name may have come after the first message, or have changed.
		if err := s.state.Renamed(c.ID(), ident, c.First()); err != nil {
			s.say("State folder: %v", err)
		}
	}
}

// expire drops what down clients have kept for long enough, and forgets those that nobody can come back as, and the
// oldest when there are too many.
func (s *Station) expire(now time.Time) {
	retention := s.Retention()
	var down []*client.Client
	for _, c := range s.Clients() {
		if up, _ := c.Silence(now); up {
			continue
		}
		if c.Expired(now, retention) {
			s.forget(c)
			continue
		}
		down = append(down, c)
	}
	if over := len(down) - s.options.MaxDown; over > 0 {
		slices.SortFunc(down, func(a, b *client.Client) int { return a.DownSince().Compare(b.DownSince()) })
		for _, c := range down[:over] {
			s.forget(c)
		}
	}
}

// forget takes a down client out of the registry.
func (s *Station) forget(c *client.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Forget() {
		s.drop(c)
	}
}

// drop is forget for a client that has dropped everything itself. Called with the registry locked.
func (s *Station) drop(c *client.Client) {
	delete(s.clients, c.ID())
	s.named.remove(c, c.Identity()) // it stays: without a session nobody changes it
	if c.Name() != "" {
		s.state.Gone(c.ID()) // not written down, it is a client that does not come back
	}
}

// unsorted lists the clients, up and down.
func (s *Station) unsorted() []*client.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(make([]*client.Client, 0, len(s.clients)), maps.Values(s.clients))
}

// Clients lists the clients, up and down, by ID.
func (s *Station) Clients() []*client.Client {
	out := s.unsorted()
	slices.SortFunc(out, func(a, b *client.Client) int { return int(int64(a.ID()) - int64(b.ID())) })
	return out
}

// Client finds a client by its ID.
func (s *Station) Client(id uint32) (*client.Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	return c, ok
}

// Gone says that the client of an ID is gone and never comes back: the ID was given, and is given to nobody else. An ID that
// was not given yet is not gone.
func (s *Station) Gone(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[id] == nil && s.state.Given(id)
}

// FindClients is the clients that X of a command names: an ID, an address, an address:port or a name. An ID wins over
// everything else.
func (s *Station) FindClients(x string) []*client.Client {
	if id, err := strconv.ParseUint(x, 10, 32); err == nil {
		if c, ok := s.Client(uint32(id)); ok {
			return []*client.Client{c}
		}
	}
	return slices.DeleteFunc(s.Clients(), func(c *client.Client) bool { return !c.Matches(x) })
}

// ClearClient closes the client's session; the router reconnects and sends everything again. It is false when the
// client is down.
func (s *Station) ClearClient(c *client.Client) bool { return c.Close("operator cleared") }

// FlushClient throws away what is stored of a client, and says what; see client.Client.Flush.
func (s *Station) FlushClient(c *client.Client, routes bool) client.Flushed {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := c.Flush(routes)
	if f.Client {
		s.drop(c)
	}
	return f
}
