package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"bmp/engine/client"
	"bmp/engine/cluster"
	"bmp/engine/event"
	"bmp/engine/listen"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/control"
)

// Station is a BMP station. Make it with New, Start it, Run it. All other methods may be called from any goroutine
// between Start and the end of Run.
type Station struct {
	options Options
	name    string
	started time.Time
	store   *rib.Store
	bus     *event.Bus
	budget  client.Budget
	env     client.Env
	archive *archiving      // nil: none
	cluster *cluster.Member // nil: none
	relays  *relays
	feeds   client.FeedBudget
	state   *State
	waiting *listen.Waiting
	control atomic.Pointer[Control]

	stop     chan string // reason, from Stop
	accepts  sync.WaitGroup
	sessions sync.WaitGroup
	refused  flood
	retire   sync.Once
	retired  int // clients that Retire closed

	memoryLimit     atomic.Int64  // as it was judged by last
	refusing        atomic.Bool   // new clients, for want of memory
	paused          atomic.Bool   // nobody reads, for want of memory
	refusedSessions atomic.Uint64 // that were refused so
	closedForMemory atomic.Uint64 // clients
	heapLimit       int64         // of the runtime, where the guard wants none
	retention       atomic.Int64
	unreadable      atomic.Uint64 // connections that ended before a first whole message
	guard           memoryGuard
	named           named
	unread          unread

	mu        sync.Mutex
	port      uint16
	clients   map[uint32]*client.Client
	listeners []*listen.Listener // in the order opened
	dialled   []*Dialled         // in the order asked for
	running   map[*client.Session]struct{}
	closing   bool
}

// New makes a station that does nothing yet. The error is about the state folder.
func New(o Options) (*Station, error) {
	o = o.withDefaults()
	state, known, err := OpenState(o.StateDir)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	ribOptions := rib.Options{Same: bgp.Equivalent}
	if o.MemoryLimit > 0 {
		ribOptions.MaxBytes = o.MemoryLimit
	}
	s := &Station{
		options: o, started: now, state: state, store: rib.New(ribOptions), bus: event.NewBus(),
		waiting: listen.NewWaiting(o.HalfOpen), stop: make(chan string, 1),
		clients: make(map[uint32]*client.Client), running: make(map[*client.Session]struct{}), heapLimit: heapLimit(),
	}
	s.budget.Limit = o.RingBudget
	s.retention.Store(int64(o.Retention))
	s.feeds.Limit = allFeedBytes
	s.relays = newRelays(s, o.relays)
	s.env = client.Env{Store: s.store, Bus: s.bus, Budget: &s.budget, Timing: o.Timing, MaxMessage: o.MaxMessage, Begun: s.relays.begun}
	s.env.Renamed, s.env.StaleFor = s.named.renamed, s.Retention
	if err := s.joinCluster(o); err != nil {
		return nil, errors.Join(err, s.store.Close(), state.Close())
	}
	if err := s.openArchive(o); err != nil {
		s.leaveCluster()
		return nil, errors.Join(err, s.store.Close(), state.Close())
	}
	for id, k := range known {
		c := client.Known(&s.env, id, k.Identity, k.First, now)
		s.clients[id] = c
		s.named.add(c, k.Identity)
	}
	s.memoryLimit.Store(s.options.MemoryLimit)
	return s, nil
}

// Start opens all listeners, and the control server if there is a claim: all of them or none. Then the station is not
// to be started again, and the claim is still the caller's.
func (s *Station) Start(ctx context.Context) error {
	s.port = s.options.Port
	for _, spec := range s.options.Listen {
		if _, err := s.Listen(ctx, spec); err != nil {
			s.abandon()
			return err
		}
	}
	s.mu.Lock()
	if s.port == 0 && len(s.listeners) > 0 {
		s.port = s.listeners[0].Addr().Port()
	}
	s.name = s.options.Name
	if s.name == "" {
		s.name = strconv.Itoa(int(s.port))
	}
	s.mu.Unlock()
	if s.options.Claim == nil {
		return nil
	}
	if s.cluster != nil {
		if err := s.cluster.Open(); err != nil {
			s.abandon()
			return err
		}
	}
	o := ControlOptions{
		Claim: s.options.Claim, NoLoopback: s.options.NoLoopback, Further: s.options.Control, KeysFile: s.options.KeysFile,
		Events: s.bus,
		Server: control.ServerOptions{
			Handler: s.options.Commands(s), Version: s.options.Version, Console: s.options.Console, Monitor: s.monitor,
		},
	}
	c, err := StartControl(o)
	if err != nil {
		s.abandon()
		return err
	}
	s.control.Store(c)
	if s.cluster != nil {
		c.serveCluster(s.cluster)
	}
	return nil
}

// abandon undoes a start that failed half-way.
func (s *Station) abandon() {
	s.closeListeners()
	s.closeSessions("the station did not start")
	s.accepts.Wait()
	s.sessions.Wait()
	s.relays.close()
	s.bus.Close()
	s.archive.close()
	s.leaveCluster()
	s.store.Close()
	s.state.Close()
}

// Run keeps the station going until the context ends or Stop is called, then closes everything and says how many
// clients were connected.
func (s *Station) Run(ctx context.Context) (closed int, err error) {
	janitor := time.NewTicker(s.options.janitor)
	defer janitor.Stop()
	watch := time.NewTicker(memoryWatchClose)
	defer watch.Stop()
	reason := ""
	for reason == "" {
		select {
		case <-ctx.Done():
			reason = "station stops"
		case reason = <-s.stop:
		case now := <-janitor.C:
			s.tidy(now)
		case now := <-watch.C:
			s.watchMemory(now)
		}
	}
	closed, err = s.Retire(reason)
	s.env.Gate.Open()
	s.guard.busy.Wait()
	if c := s.control.Load(); c != nil {
		err = errors.Join(err, c.Close())
	}
	s.bus.Close()
	err = errors.Join(err, s.store.Close(), s.state.Close(), s.archive.close())
	s.leaveCluster() // the name is free for others when nothing is written any more
	return closed, err
}

// Retire closes all listeners, also those of consoles, dials no more, closes all sessions, waits for them, and says how many clients were
// connected; consoles that are there go on. From then on the station is of no use but to be stopped: call Stop next, or
// after the last word to the console that asked. Another Retire, and Run's own, do nothing and say the same.
func (s *Station) Retire(reason string) (closed int, err error) {
	s.retire.Do(func() {
		s.closeListeners()
		s.retired = s.closeSessions(reason)
		s.accepts.Wait()
		s.sessions.Wait()
		s.relays.close()
		clients := "clients"
		if s.retired == 1 {
			clients = "client"
		}
		s.say("Stopped: %d %s closed", s.retired, clients)
		if c := s.control.Load(); c != nil {
			err = c.Withdraw()
		}
	})
	return s.retired, err
}

// Stop makes Run end; reason is why, as the clients' logs are to show it. It does not wait.
func (s *Station) Stop(reason string) {
	select {
	case s.stop <- reason:
	default:
	}
}

// tidy is what the janitor does.
func (s *Station) tidy(now time.Time) {
	s.expire(now)
	s.relays.tidy()
	s.guardMemory(now)
	if err := s.state.Sync(); err != nil {
		s.say("State folder: %v", err)
	}
}

// say writes a console line of the station's own.
func (s *Station) say(format string, args ...any) {
	s.bus.Publish(event.Event{Time: time.Now(), Kind: event.Station, Text: fmt.Sprintf(format, args...), Console: true, Live: true})
}

// Port is the station's: the first listener's, by which it is named in console lines.
func (s *Station) Port() uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// Label is the port as console lines have it: "1111".
func (s *Station) Label() string { return strconv.Itoa(int(s.Port())) }

// Name is the station's name.
func (s *Station) Name() string { return s.name }

// Version is that of the program.
func (s *Station) Version() string { return s.options.Version }

// Started is when the station was made.
func (s *Station) Started() time.Time { return s.started }

// Store is the route store.
func (s *Station) Store() *rib.Store { return s.store }

// Events is the event bus: log, counts, subscriptions.
func (s *Station) Events() *event.Bus { return s.bus }

// Control is the control server; nil when there is none, and before Start has opened it.
func (s *Station) Control() *Control { return s.control.Load() }

// StateDir is the state folder; empty for none.
func (s *Station) StateDir() string { return s.options.StateDir }

// Retention is how long the routes of a down client are kept.
func (s *Station) Retention() time.Duration { return time.Duration(s.retention.Load()) }

// SetRetention changes it, for clients that are down already, too.
func (s *Station) SetRetention(d time.Duration) {
	s.retention.Store(int64(d))
	for _, c := range s.Clients() { // one that goes down from here on takes the new one by itself
		c.ArchiveStaleFor()
	}
}

// monitor sends the console lines to a console that wants them.
func (s *Station) monitor(ctx context.Context, e *control.Emit) {
	sub := s.bus.Subscribe(event.Filter{Console: true}, 1000)
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-sub.C():
			if !ok {
				return
			}
			if n, _ := sub.Dropped(); n > 0 {
				e.Dropped(int(n))
			}
			e.Event(ev.ConsoleLine(s.Label(), nil), s.EventJSON(ev))
		}
	}
}

// EventJSON is a console line as a JSON value.
func (s *Station) EventJSON(e event.Event) any {
	v := struct {
		Time    string  `json:"time"`
		Kind    string  `json:"kind"`
		Client  *uint32 `json:"client"`
		Address *string `json:"address"`
		Peer    *uint32 `json:"peer_id"`
		Text    string  `json:"text"`
	}{Time: e.Time.Format(time.RFC3339Nano), Kind: e.Kind.String(), Text: e.Text}
	if e.Client != 0 {
		v.Client = &e.Client
	}
	if e.Address.IsValid() {
		a := e.Address.String()
		v.Address = &a
	}
	if e.Peer != 0 {
		v.Peer = &e.Peer
	}
	return v
}

// Listen opens a listener and begins to accept on it.
func (s *Station) Listen(ctx context.Context, spec listen.Spec) (*listen.Listener, error) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil, net.ErrClosed
	}
	s.mu.Unlock()
	l, err := listen.Listen(ctx, spec, listen.Options{
		Refused: func(from Addr, reason string, more int) {
			s.say("Connection from %s refused: %s%s", from, reason, andMore(more))
		},
		Trouble: func(err error) {
			if err != nil {
				s.say("%v", err)
			} else {
				s.say("Listener %s accepts again", spec.Name())
			}
		},
	})
	if err != nil {
		return nil, ExplainInUse(err)
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		l.Close()
		return nil, net.ErrClosed
	}
	s.listeners = append(s.listeners, l)
	s.accepts.Add(1)
	s.mu.Unlock()
	s.say("Listening on %s", placeText(ListenerName(l)))
	go s.accept(l)
	return l, nil
}

// ListenerName is [NETNS/][ADDR:]PORT with the real port.
func ListenerName(l *listen.Listener) string {
	spec := l.Spec()
	spec.Port = l.Addr().Port()
	return spec.Name()
}

func placeText(name string) string {
	if _, err := strconv.Atoi(name); err == nil {
		return "port " + name
	}
	return name
}

// NoListen closes the listener of that name, as Listeners gives it. Its sessions go on. It is false when there is none.
func (s *Station) NoListen(name string) bool {
	s.mu.Lock()
	i := slices.IndexFunc(s.listeners, func(l *listen.Listener) bool { return ListenerName(l) == name })
	if i < 0 {
		s.mu.Unlock()
		return false
	}
	l := s.listeners[i]
	s.listeners = slices.Delete(s.listeners, i, i+1)
	s.mu.Unlock()
	l.Close()
	s.say("No longer listening on %s", placeText(name))
	return true
}

// Listeners lists the BMP listeners in the order opened.
func (s *Station) Listeners() []*listen.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listeners)
}

func (s *Station) closeListeners() {
	s.mu.Lock()
	s.closing = true
	list, dialled := s.listeners, s.dialled
	s.listeners, s.dialled = nil, nil
	s.mu.Unlock()
	for _, l := range list {
		l.Close()
	}
	for _, d := range dialled {
		d.stop()
	}
}

// closeSessions ends all sessions, also those without a client, and says how many clients were connected.
func (s *Station) closeSessions(reason string) (clients int) {
	s.mu.Lock()
	running := make([]*client.Session, 0, len(s.running))
	for x := range s.running {
		running = append(running, x)
	}
	list := make([]*client.Client, 0, len(s.clients))
	for _, c := range s.clients {
		list = append(list, c)
	}
	s.mu.Unlock()
	for _, c := range list {
		if c.Session() != nil {
			clients++
		}
	}
	for _, x := range running {
		x.Close(reason)
	}
	return clients
}

// PID is the process.
func (s *Station) PID() int { return os.Getpid() }
