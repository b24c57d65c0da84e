package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bmp/engine/client"
)

// What is heard is sent on: relays send it to other collectors, followers (follow.go) to consoles. Both take it from the
// clients' feeds: the session's own bytes, or, for who comes late, first what the live tables and peers say. The archive
// has no part in it: it may no longer have the beginning of a session that is up for months, and a relay shall go on
// when the disk does not.

// Bounds of relays and followers.
const (
	feedBytes    = 16 << 20        // that may wait of one client for one collector
	allFeedBytes = 256 << 20       // of all
	relayDrain   = 5 * time.Second // how long a station that stops goes on sending what it has
	maxRelays    = 64
)

// relayTiming is for tests; a zero field is its default.
type relayTiming struct {
	dial  time.Duration // 10 s
	first time.Duration // pause before the second attempt, 1 s
	last  time.Duration // longest pause, 60 s
	stall time.Duration // that a collector may take to read what it is sent, 30 s
	queue int64         // feedBytes
}

// relays are the relays of a station.
//
// Lock order: client.Client.mu, relays.mu, relayed.mu. No client is locked with relays.mu held.
type relays struct {
	s      *Station
	timing relayTiming
	ctx    context.Context
	cancel context.CancelFunc
	closed chan struct{} // the station stops
	said   flood
	done   sync.WaitGroup

	mu      sync.Mutex
	closing bool
	list    []*relay
	follows []*Follower
}

// relay is one `relay` of the configuration.
type relay struct {
	to     netip.AddrPort
	who    string // client X; empty: all
	stop   chan struct{}
	client map[uint32]*relayed // by ID; guarded by relays.mu
}

// relayed is one client being relayed to one collector: one connection.
type relayed struct {
	relays *relays
	relay  *relay
	client *client.Client
	notify chan struct{} // something to be taken, or a session has begun
	stop   chan struct{} // the client is gone

	mu      sync.Mutex
	fresh   *client.Feed // of a session that has begun
	current *client.Feed
	state   RelayState
	since   time.Time
	failure string // the last; empty: none
	told    bool   // the trouble was said

	messages, bytes, starts, late, overruns, left atomic.Uint64
}

// RelayState is what a relay does.
type RelayState string

// The states.
const (
	RelayWaiting    RelayState = "waiting"    // for the client, or for the next attempt
	RelayConnecting RelayState = "connecting" // to the collector
	RelayUp         RelayState = "up"
)

// RelayInfo is a relay of one client; Client is nil for a relay that has none yet.
type RelayInfo struct {
	To       netip.AddrPort
	Who      string // client X of the relay; empty: all
	Client   *client.Client
	State    RelayState
	Since    time.Time
	Messages uint64 // sent
	Bytes    uint64
	Sessions uint64 // connections made
	Late     uint64 // of them, such as began with what the live tables say
	Overruns uint64 // of them, such as ended because the collector read too slowly
	Left     uint64 // routes that could not be put into a message
	Queued   int64  // bytes that wait
	Failure  string // the last reason for which a connection could not be made or ended; empty: none
}

// Errors of Relay and NoRelay.
var (
	ErrRelayThere = errors.New("is relayed to already")
	ErrRelaySelf  = errors.New("is this station itself")
	ErrRelayMany  = fmt.Errorf("there are %d relays already", maxRelays)
	ErrNoRelay    = errors.New("no such relay")
)

func newRelays(s *Station, t relayTiming) *relays {
	t.dial = cmp.Or(t.dial, 10*time.Second)
	t.first = cmp.Or(t.first, time.Second)
	t.last = cmp.Or(t.last, time.Minute)
	t.stall = cmp.Or(t.stall, 30*time.Second)
	t.queue = cmp.Or(t.queue, feedBytes)
	r := &relays{s: s, timing: t, closed: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// begun is client.Env.Begun. The client is locked.
func (r *relays) begun(c *client.Client) (feeds []*client.Feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return nil
	}
	for _, x := range r.list {
		if w := r.relayed(x, c); w != nil {
			feeds = append(feeds, w.begun(r.s))
		}
	}
	for _, f := range r.follows {
		if feed := f.begun(c); feed != nil {
			feeds = append(feeds, feed)
		}
	}
	return feeds
}

// concerns says whether X of a command names the client, without locking it.
func concerns(who string, c *client.Client) bool {
	if who == "" {
		return true
	}
	name, remote, _ := c.Glance()
	if name != "" && strings.EqualFold(who, name) || who == strconv.FormatUint(uint64(c.ID()), 10) {
		return true
	}
	if a, err := netip.ParseAddr(who); err == nil {
		return a == remote.Addr()
	}
	ap, err := netip.ParseAddrPort(who)
	return err == nil && ap == remote
}

// relayed finds or makes the worker of a client; nil where the relay is not for it. It is called with mu held.
func (r *relays) relayed(x *relay, c *client.Client) *relayed {
	if w := x.client[c.ID()]; w != nil {
		return w
	}
	if !concerns(x.who, c) {
		return nil
	}
	for _, y := range r.list {
		if y != x && y.to == x.to && y.client[c.ID()] != nil {
			return nil // it has one connection there already
		}
	}
	w := &relayed{relays: r, relay: x, client: c, notify: make(chan struct{}, 1), stop: make(chan struct{}), state: RelayWaiting, since: time.Now()}
	x.client[c.ID()] = w
	r.done.Go(w.run)
	return w
}

// Relay has what arrives of all clients, or of the one that who names, now or later, sent on to a collector.
func (s *Station) Relay(to netip.AddrPort, who string) error {
	r := s.relays
	if s.listensAt(to) {
		return ErrRelaySelf
	}
	x := &relay{to: to, who: who, stop: make(chan struct{}), client: make(map[uint32]*relayed)}
	r.mu.Lock()
	switch {
	case r.closing:
		r.mu.Unlock()
		return net.ErrClosed
	case slices.ContainsFunc(r.list, func(y *relay) bool { return y.to == to && y.who == who }):
		r.mu.Unlock()
		return ErrRelayThere
	case len(r.list) >= maxRelays:
		r.mu.Unlock()
		return ErrRelayMany
	}
	r.list = append(r.list, x)
	r.mu.Unlock()
	for _, c := range s.Clients() {
		if _, _, up := c.Glance(); up {
			r.mu.Lock()
			r.relayed(x, c)
			r.mu.Unlock()
		}
	}
	return nil
}

// listensAt says whether routers or consoles connect to this station at an address.
func (s *Station) listensAt(to netip.AddrPort) bool {
	at := func(netns string, a netip.AddrPort) bool {
		return netns == "" && a.Port() == to.Port() && (a.Addr() == to.Addr() || a.Addr().IsUnspecified() && isLocal(to.Addr()))
	}
	for _, l := range s.Listeners() {
		if at(l.Spec().Netns, l.Addr()) {
			return true
		}
	}
	c := s.Control()
	return c != nil && slices.ContainsFunc(c.Listeners(), func(l ControlListener) bool {
		return l.Spec.Addr.IsValid() && at(l.Spec.Netns, netip.AddrPortFrom(l.Spec.Addr, l.Spec.Port)) // the Unix socket has none
	})
}

// isLocal says whether an address is one of this machine.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(list, func(x net.Addr) bool {
		p, err := netip.ParsePrefix(x.String())
		return err == nil && p.Addr() == a
	})
}

// NoRelay ends the relays to a collector, and says how many connections that closes.
func (s *Station) NoRelay(to netip.AddrPort) (closed int, err error) {
	r := s.relays
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.list)
	r.list = slices.DeleteFunc(r.list, func(x *relay) bool {
		if x.to != to {
			return false
		}
		close(x.stop)
		for _, w := range x.client {
			if w.up() {
				closed++
			}
		}
		return true
	})
	if len(r.list) == n {
		return 0, ErrNoRelay
	}
	return closed, nil
}

// Relays lists the relays in the order in which they were made, each with its clients by ID.
func (s *Station) Relays() (out []RelayInfo) {
	r := s.relays
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.list {
		if len(x.client) == 0 {
			out = append(out, RelayInfo{To: x.to, Who: x.who, State: RelayWaiting})
		}
		first := len(out)
		for _, w := range x.client {
			out = append(out, w.info())
		}
		slices.SortFunc(out[first:], func(a, b RelayInfo) int { return cmp.Compare(a.Client.ID(), b.Client.ID()) })
	}
	return out
}

// RelayRule is a relay as it is configured.
type RelayRule struct {
	To  netip.AddrPort
	Who string // client X; empty: all
}

// RelayRules are the relays in the order in which they were made.
func (s *Station) RelayRules() (out []RelayRule) {
	s.relays.mu.Lock()
	defer s.relays.mu.Unlock()
	for _, x := range s.relays.list {
		out = append(out, RelayRule{x.to, x.who})
	}
	return out
}

// tidy ends the workers of clients that are gone.
func (r *relays) tidy() {
	var all []*relayed
	r.mu.Lock()
	for _, x := range r.list {
		for _, w := range x.client {
			all = append(all, w)
		}
	}
	r.mu.Unlock()
	for _, w := range all {
		if c, ok := r.s.Client(w.client.ID()); ok && c == w.client {
			continue
		}
		r.mu.Lock()
		if id := w.client.ID(); w.relay.client[id] == w {
			delete(w.relay.client, id)
			close(w.stop)
		}
		r.mu.Unlock()
	}
}

// close lets the workers send what waits, and ends them.
func (r *relays) close() {
	r.mu.Lock()
	if !r.closing {
		r.closing = true
		close(r.closed)
	}
	r.mu.Unlock()
	t := time.AfterFunc(relayDrain, r.cancel)
	r.done.Wait()
	t.Stop()
	r.cancel()
}

func (w *relayed) wake() {
	select {
	case w.notify <- struct{}{}:
	default:
	}
}

// begun makes the feed of a session that begins. The client and relays.mu are locked.
func (w *relayed) begun(s *Station) *client.Feed {
	f := client.NewFeed(w.relays.timing.queue, &s.feeds, w.notify)
	w.mu.Lock()
	if w.fresh != nil {
		w.fresh.Close() // of a session that was over before it was its turn
	}
	w.fresh = f
	w.mu.Unlock()
	w.wake()
	return f
}

func (w *relayed) takeFresh() *client.Feed {
	w.mu.Lock()
	f := w.fresh
	w.fresh = nil
	w.mu.Unlock()
	if f != nil && f.Overrun() {
		f.Close()
		w.overruns.Add(1)
		return nil
	}
	return f
}

func (w *relayed) up() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state == RelayUp
}

func (w *relayed) info() RelayInfo {
	w.mu.Lock()
	i := RelayInfo{To: w.relay.to, Who: w.relay.who, Client: w.client, State: w.state, Since: w.since, Failure: w.failure}
	feeds := []*client.Feed{w.fresh, w.current}
	w.mu.Unlock()
	for _, f := range feeds {
		if f != nil {
			i.Queued += f.Queued()
		}
	}
	i.Messages, i.Bytes, i.Sessions, i.Late = w.messages.Load(), w.bytes.Load(), w.starts.Load(), w.late.Load()
	i.Overruns, i.Left = w.overruns.Load(), w.left.Load()
	return i
}

func (w *relayed) set(state RelayState) {
	w.mu.Lock()
	if w.state != state {
		w.state, w.since = state, time.Now()
	}
	w.mu.Unlock()
}

// fail notes why there is no connection, and says it once until there is one again.
func (w *relayed) fail(err error) {
	w.mu.Lock()
	w.failure = err.Error()
	say := !w.told
	w.told = true
	w.mu.Unlock()
	if say {
		w.say("%s; trying again", err)
	}
}

func (w *relayed) connected() {
	w.mu.Lock()
	say := w.told
	w.told = false
	w.mu.Unlock()
	if say {
		w.say("goes on")
	}
}

func (w *relayed) say(format string, args ...any) {
	if more, ok := w.relays.said.tell(time.Now()); ok {
		name, remote, _ := w.client.Glance()
		w.relays.s.say("Relay to %s of client %s: %s%s", w.relay.to, cmp.Or(name, remote.String()), fmt.Sprintf(format, args...), andMore(more))
	}
}

// run relays the client's sessions, one after the other, until the relay or the client is gone or the station stops.
func (w *relayed) run() {
	ctx, cancel := context.WithCancel(w.relays.ctx)
	defer cancel()
	go func() {
		select {
		case <-w.relay.stop:
			cancel()
		case <-w.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() {
		if f := w.takeFresh(); f != nil {
			f.Close()
		}
	}()
	pause := time.Duration(0)
	for ctx.Err() == nil {
		w.set(RelayWaiting)
		if !w.sleep(ctx, pause) || !w.session(ctx) {
			return
		}
		w.set(RelayConnecting)
		err := w.connection(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			pause = 0
			continue
		}
		w.fail(err)
		var sent *sentError
		if errors.As(err, &sent) && sent.long { // it worked for a while: not the same trouble again
			pause = 0
		}
		pause = min(max(2*pause, w.relays.timing.first), w.relays.timing.last)
	}
}

// sleep waits up to a fifth longer or shorter, so that thousands do not come back at once.
func (w *relayed) sleep(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d*4/5 + rand.N(d*2/5+1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.relays.closed:
		return false
	case <-ctx.Done():
		return false
	}
}

// session waits until there is a session to be relayed.
func (w *relayed) session(ctx context.Context) bool {
	for {
		w.mu.Lock()
		fresh := w.fresh != nil
		w.mu.Unlock()
		if _, _, up := w.client.Glance(); up || fresh {
			return true
		}
		select {
		case <-w.notify:
		case <-w.relays.closed:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// awaitFresh waits for a moment for a feed that has its session from the first byte on; nil when none came. What notify says
// may be of an earlier feed.
func (w *relayed) awaitFresh(ctx context.Context) *client.Feed {
	late := time.NewTimer(w.relays.timing.first)
	defer late.Stop()
	for {
		if f := w.takeFresh(); f != nil {
			return f
		}
		select {
		case <-w.notify:
		case <-late.C:
			return w.takeFresh()
		case <-w.relays.closed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// connection makes a connection and relays one session over it. It returns nil when the session has ended.
func (w *relayed) connection(ctx context.Context) error {
	d := net.Dialer{Timeout: w.relays.timing.dial}
	conn, err := d.DialContext(ctx, "tcp", w.relay.to.String())
	if err != nil {
		// What has waited so far would only grow: who comes late gets the tables.
		if f := w.takeFresh(); f != nil {
			f.Close()
		}
		return readableError(err)
	}
	defer conn.Close()
	f := w.takeFresh()
	if f == nil {
		f = client.NewFeed(w.relays.timing.queue, &w.relays.s.feeds, w.notify)
		if !w.client.Follow(f, time.Now()) {
			// It is down, or about to begin, and then there is a fresh one soon, for this connection.
			f.Close()
			if f = w.awaitFresh(ctx); f == nil {
				return nil
			}
		} else {
			w.late.Add(1)
		}
	}
	defer f.Close()
	w.mu.Lock()
	w.current = f
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.current = nil
		w.mu.Unlock()
	}()
	w.starts.Add(1)
	w.set(RelayUp)
	w.connected()
	began := time.Now()
	if err := w.send(ctx, conn, f); err != nil {
		return &sentError{err, time.Since(began) > w.relays.timing.last}
	}
	return nil
}

// sentError is a connection that broke.
type sentError struct {
	err  error
	long bool // it had lasted
}

func (e *sentError) Error() string { return e.err.Error() }

var (
	errOverrun = errors.New("the collector reads too slowly")
	errClosed  = errors.New("the collector closed the connection")
)

// send sends a feed to its end.
func (w *relayed) send(ctx context.Context, conn net.Conn, f *client.Feed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	over := make(chan struct{})
	defer func() {
		conn.SetReadDeadline(time.Unix(1, 0))
		<-over
	}()
	go func() { // BMP goes one way: whatever a collector says, it is only looked at whether it is there
		defer close(over)
		_, _ = io.Copy(io.Discard, conn)
		cancel(errClosed)
	}()
	var out []byte
	write := func(batch []byte) error {
		n := uint64(0)
		out = out[:0]
		if err := client.EachFed(batch, func(m *client.FeedMessage) error {
			out = append(out, m.Raw...)
			n++
			return nil
		}); err != nil {
			return err
		}
		conn.SetWriteDeadline(time.Now().Add(w.relays.timing.stall))
		if ctx.Err() != nil { // looked at after the deadline was set, which the context's end would have moved
			return context.Cause(ctx)
		}
		sent, err := conn.Write(out)
		w.bytes.Add(uint64(sent))
		if err == nil {
			w.messages.Add(n)
			return nil
		}
		var timeout net.Error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &timeout) && timeout.Timeout():
			w.overruns.Add(1)
			return errOverrun
		}
		return readableError(err)
	}
	left, err := f.Start(ctx, write)
	w.left.Add(uint64(left))
	switch {
	case err != nil && ctx.Err() != nil: // why, the store does not say
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	for {
		_, ended := f.Ended() // looked at before the queue: what comes before the end is in it
		if batch := f.Take(); batch != nil {
			if err := write(batch); err != nil {
				return err
			}
			continue
		}
		if f.Overrun() {
			w.overruns.Add(1)
			return errOverrun
		}
		if ended {
			if c, ok := conn.(*net.TCPConn); ok && c.CloseWrite() == nil {
				conn.SetReadDeadline(time.Now().Add(relayDrain))
				<-over // the collector has read all
			}
			return nil
		}
		select {
		case <-w.notify:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// readableError is an error of a connection without the addresses, which are known.
func readableError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
