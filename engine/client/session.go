package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bmp/engine/archive"
	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Endpoint says between what a session runs.
type Endpoint struct {
	Remote   netip.AddrPort // of the router
	Local    netip.AddrPort
	Listener string // [NETNS/][ADDR:]PORT
	Netns    string
	VRF      string
}

// Session is one BMP session: a connection of a router. Its goroutine, which is the one that calls Serve, is the only
// writer of the client while it runs.
type Session struct {
	env      *Env
	conn     net.Conn
	endpoint Endpoint
	start    time.Time
	done     chan struct{}
	closing  chan struct{} // closed by Close

	closeOnce sync.Once
	reason    atomic.Pointer[string] // why we closed it; nil: we did not
	poked     atomic.Bool            // something waits to be done by the session goroutine
	greeted   atomic.Bool            // its first whole message has come, and it has a client
	readAt    atomic.Int64           // when the batch being worked on was read; 0 while waiting for the router

	hello        int   // bytes read before the first whole message; of the session goroutine, as all below
	helloCharged int64 // of env.hellos

	// With client.mu held from attach on.
	client     *Client
	number     uint32      // of the session, on its client
	profile    bmp.Profile // that was set
	detected   bmp.Profile // that its messages showed
	frame      bmp.Frame   // the message being applied, or the last one
	writer     *rib.Writer
	now        int64 // of the batch
	clock      int64 // now since start, by the monotonic clock: what timers go by
	heard      int64 // clock of the newest message
	time       time.Time
	dirty      bool // something is staged in writer
	follow     bool // somebody follows messages or routes of the client
	messages   uint64
	bytes      uint64
	dropRoutes bool // do not keep the routes when it ends
	silent     bool // silence was reported
	deadline   int64
	due        due
	bulk       bulk
	badLines   badLines
	crowded    int64             // until then, on the clock, there is no room for another peer
	archive    *archive.Appender // nil: none
	reread     time.Duration     // taken to read archived messages again, less what has been earned back since
	rereadAt   time.Time

	*work // nil while the session waits for the router
}

// work is what a session needs while it works through a batch, and nothing of it from one batch to the next: most of many
// routers have nothing to say at a time, and this is more than all else that is kept of a session.
type work struct {
	parser   bmp.Parser
	update   bgp.Update
	sections []bgp.Section
	nlri     bgp.NLRI
	record   []byte
	extra    []byte
	recent   [recentPeers]*peer
	mark     entry // what the ring keeps of the message
	changed  change
	kept     archive.Entry
}

// takeWork is called when there is something to work on, giveWork when it is done. Both may be called twice.
func (s *Session) takeWork() {
	if s.work != nil {
		return
	}
	w, _ := s.env.works.Get().(*work)
	if w == nil {
		w = &work{sections: make([]bgp.Section, 0, 4)}
	}
	clear(w.recent[:]) // another client's
	w.parser.Resume(s.profile, s.detected)
	s.work = w
}

func (s *Session) giveWork() {
	if w := s.work; w != nil {
		s.detected = w.parser.DetectedProfile()
		s.work = nil
		s.env.works.Put(w)
	}
}

// NewSession makes the session of a connection. Serve runs it.
func NewSession(env *Env, conn net.Conn, ep Endpoint, now time.Time) *Session {
	return &Session{env: env, conn: conn, endpoint: ep, start: now, done: make(chan struct{}), closing: make(chan struct{})}
}

// Endpoint says between what the session runs.
func (s *Session) Endpoint() Endpoint { return s.endpoint }

// SyscallConn is the connection's socket, for asking the kernel about it.
func (s *Session) SyscallConn() (syscall.RawConn, error) {
	c, ok := s.conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return c.SyscallConn()
}

// Greeted says whether the first whole message has come, so that the session is a client's.
func (s *Session) Greeted() bool { return s.greeted.Load() }

// Done is closed when the session has ended and its client is down.
func (s *Session) Done() <-chan struct{} { return s.done }

// Lag is how long the session has been working on what it read last; 0 while it waits for the router.
func (s *Session) Lag(now time.Time) time.Duration {
	if at := s.readAt.Load(); at != 0 {
		return max(0, now.Sub(time.Unix(0, at)))
	}
	return 0
}

// Close ends the session with a reason. The first reason counts. It does not wait; Done tells.
func (s *Session) Close(reason string) {
	s.closeOnce.Do(func() {
		s.reason.Store(&reason)
		s.conn.Close()
		close(s.closing)
	})
}

// poke makes the session goroutine look at what is to be done, also while it waits for the router.
func (s *Session) poke() {
	s.poked.Store(true)
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

// Hello is the first whole message of a session, by which the client is found that it belongs to.
type Hello struct {
	Session    *Session
	Initiation bool
	SysName    string // of the Initiation
	Time       time.Time
}

// End is how a session ended.
type End struct {
	Client  *Client // nil: it ended before a first whole message
	Reason  string
	Framing *bmp.FramingError // nil unless framing was lost
	Bytes   int64             // read, whole messages
}

// Serve reads the session to its end. attach is called once, at the first whole message, to find or make the client and
// Begin the session on it; when it returns nil the session is closed with the error as its reason.
//
// Most sessions of many wait for their router most of the time, in here. What is done once is therefore in functions of its
// own: this and what it calls to wait are to need as little stack as can be, for each to live on one of 4 KiB.
func (s *Session) Serve(attach func(Hello) (*Client, error)) *End {
	r, f, end := s.greet(attach)
	if end == nil {
		end = s.finish(r, s.applyAll(r, f))
	}
	r.Close()
	s.giveWork()
	s.conn.Close()
	close(s.done)
	return end
}

// greet waits for the first whole message, and finds the client by it, which is locked from then on; without one, end says
// why.
func (s *Session) greet(attach func(Hello) (*Client, error)) (r *bmp.Reader, f bmp.Frame, end *End) {
	r = bmp.NewReader(s, bmp.ReaderOptions{MaxMessage: s.env.MaxMessage})
	f, err := r.Next()
	s.helloOver()
	if err != nil {
		end = new(End)
		end.Reason, end.Framing = s.why(err)
		return r, f, end
	}
	s.takeWork()
	c, err := attach(s.helloOf(f))
	if c == nil {
		return r, f, &End{Reason: err.Error()}
	}
	s.greeted.Store(true)
	s.writer = s.env.Store.NewWriter()
	c.mu.Lock()
	s.client = c
	return r, f, nil
}

func (s *Session) helloOf(f bmp.Frame) Hello {
	hello := Hello{Session: s, Time: s.time}
	if m, err := s.parser.Parse(f); err == nil {
		if init, ok := m.(*bmp.Initiation); ok {
			hello.Initiation, hello.SysName = true, shortText(init.SysName())
		}
	}
	return hello
}

// applyAll applies the first message and all after it, and returns what ended them.
func (s *Session) applyAll(r *bmp.Reader, f bmp.Frame) (err error) {
	s.begin()
	for ; err == nil; f, err = r.Next() {
		s.apply(f)
	}
	return err
}

// Read reads from the router for the Reader: with the client unlocked and nothing staged, as it may take hours.
func (s *Session) Read(p []byte) (int, error) {
	if s.client == nil {
		return s.readHello(p)
	}
	for {
		s.release()
		n, err := 0, os.ErrDeadlineExceeded
		if !s.poked.Load() {
			s.env.Gate.pass(s)
			n, err = s.conn.Read(p)
		}
		if s.resume(n, err) {
			return n, err
		}
	}
}

// release is called before a read.
func (s *Session) release() {
	s.endBatch()
	s.client.mu.Unlock()
	s.arm()
}

// resume is called after a read. It is false when that read nothing because something else was to be done, which it does.
func (s *Session) resume(n int, err error) bool {
	s.env.Gate.spend(n)
	now := time.Now()
	s.client.mu.Lock()
	s.startBatch(now)
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	s.deadline = -1 // it is over, or poke has set another one
	return false
}

func (s *Session) stamp(now time.Time) {
	s.time = now
	s.now = now.UnixNano()
	s.clock = int64(now.Sub(s.start))
}

func (s *Session) startBatch(now time.Time) {
	s.takeWork()
	s.stamp(now)
	s.readAt.Store(s.now)
	s.follow = s.env.Bus.Wants(s.client.id)
	s.followRoutes(s.follow)
	if s.poked.Swap(false) {
		s.doPoked()
	}
	if s.clock >= s.due.at {
		s.runTimers()
	}
}

// endBatch makes visible what was applied, before the session waits.
func (s *Session) endBatch() {
	s.flush()
	c := s.client
	var messages uint64
	for _, n := range c.counts {
		messages += n
	}
	if messages != c.rate.messages || c.announced != c.rate.announced {
		c.rate.note(s.now, messages, c.bytes, c.announced, c.withdrawn)
	}
	s.readAt.Store(0)
	s.frame.Raw = nil // the buffer it is in is not for a session that waits
	s.giveWork()
}

// flush applies what is staged.
func (s *Session) flush() {
	if s.dirty {
		s.writer.Flush()
		s.dirty = false
	}
}

// arm sets the read deadline to when the next timer is due, if that has changed.
func (s *Session) arm() {
	if s.deadline != s.due.at {
		s.deadline = s.due.at
		s.conn.SetReadDeadline(s.deadlineTime())
	}
}

// deadlineTime is the deadline as a time of the monotonic clock, as now and start are: nothing that is due comes earlier or later
// where somebody sets the machine's clock.
func (s *Session) deadlineTime() time.Time {
	if s.deadline == never {
		return time.Time{}
	}
	return s.start.Add(time.Duration(s.deadline))
}

// begin is called once the client is known.
func (s *Session) begin() {
	c := s.client
	s.number = c.sessions.Load()
	s.setProfile()
	s.readAt.Store(s.now)
	s.follow = c.env.Bus.Wants(c.id)
	s.followRoutes(s.follow)
	c.since = s.now
	s.beginArchive()
	s.beginFeeds()
	c.publish(event.Event{Time: s.time, Kind: event.Adjacency, Text: "UP", Console: true, Live: true})
	s.startTimers()
}

// finish puts the client down, and unlocks it.
func (s *Session) finish(r *bmp.Reader, err error) *End {
	s.flush()
	end := &End{Client: s.client, Bytes: r.Offset()}
	end.Reason, end.Framing = s.why(err)
	s.end(end, err)
	s.client.mu.Unlock()
	return end
}

// end puts the client down.
func (s *Session) end(e *End, err error) {
	c := s.client
	s.flushBulk()
	s.flushBadLines()
	info := SessionInfo{
		Address: s.endpoint.Remote, Listener: s.endpoint.Listener, Start: s.start, End: time.Now(), Reason: e.Reason,
		Messages: s.messages, Bytes: s.bytes,
	}
	if e.Framing != nil {
		info.Around, info.AroundOffset = e.Framing.Bytes, e.Framing.Offset-int64(e.Framing.Before)
	}
	if len(c.log) == sessionLog {
		c.log = append(c.log[:0], c.log[1:]...)
		c.logLost++
	}
	c.log = append(c.log, info)
	s.endArchive(info.End, e.Reason)
	s.endFeeds(e.Reason)

	var cut *bmp.TruncatedError
	switch {
	case e.Framing != nil:
		s.note(StreamDamaged, nil, 0, e.Framing.Offset, e.Framing.Bytes, e.Framing.Error)
	case errors.As(err, &cut):
		s.note(StreamDamaged, nil, 0, cut.Offset, nil, cut.Error)
	}
	c.session = nil
	c.up.Store(false)
	c.turn()
	c.since = s.now
	if t := info.End.UnixNano(); t > s.now {
		c.since = t
	}
	c.reason = e.Reason
	c.stirred = info.End
	c.lastError, c.errorTime = e.Reason, c.since
	if s.dropRoutes {
		c.archiveDropped(info.End)
		c.dropPeers()
	}
	// From now on every route is one of an earlier session. A table to which this session announced nothing is left as it
	// is: to mark it again would drop what it holds. What the session announced, not what is left of it, decides, as a replay
	// of the archive can know that.
	c.eachTable(func(_ *peer, t *table) {
		if t.renewed == s.number {
			t.rib.BeginRefresh(info.End)
			t.staleBase = time.Time{}
		}
	})
	c.publish(event.Event{
		Time: info.End, Kind: event.Adjacency, Text: "DOWN (" + e.Reason + ")", Console: true, Live: true,
	})
}

// why tells in words why the session ended.
func (s *Session) why(err error) (reason string, framing *bmp.FramingError) {
	var cut *bmp.TruncatedError
	if p := s.reason.Load(); p != nil {
		return *p, nil
	}
	ended := ""
	if s.client != nil && s.client.ended != "" {
		ended = "terminated: " + s.client.ended
	}
	switch {
	case errors.As(err, &framing):
		return framing.Error(), framing
	case errors.As(err, &cut):
		what := "remote closed"
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			what = readError(err)
		}
		reason = fmt.Sprintf("%s within a message at offset %d", what, cut.Offset)
	case errors.Is(err, io.EOF):
		if ended != "" {
			return ended, nil
		}
		return "remote closed", nil
	default:
		reason = readError(err)
	}
	if ended != "" {
		return ended + ", " + reason, nil
	}
	return reason, nil
}

// readError is why a connection could not be read, in the kernel's words without the addresses: they are known.
func readError(err error) string {
	var sys *os.SyscallError
	var op *net.OpError
	switch {
	case errors.As(err, &sys):
		return sys.Err.Error()
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}
