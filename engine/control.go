package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bmp/engine/cluster"
	"bmp/engine/event"
	"bmp/engine/listen"
	"bmp/proto/control"
)

// maxConsoles is how many consoles a control listener takes. Each listener has its own, so that TCP consoles cannot
// shut out the Unix socket.
const maxConsoles = 32

// tlsHandshakeTimeout is how long a console may take to agree on TLS.
const tlsHandshakeTimeout = 10 * time.Second

// loginTimeout is how long a console that may do nothing until auth may stay that way. Otherwise anybody who reaches a
// TLS listener could keep its places for as long as he likes.
const loginTimeout = time.Minute

// ClaimStation takes a station's name and BMP port for this process in its runtime directory (empty: the one of
// control.RuntimeDir; created by the caller otherwise). It comes before anything else a station opens: whatever is on
// disk under the name belongs to whoever holds the claim. A port that is another station's control port is refused.
func ClaimStation(dir, name string, port uint16) (*control.Claim, error) {
	if dir == "" {
		var err error
		if dir, err = control.RuntimeDir(); err != nil {
			return nil, err
		}
	}
	if name == "" {
		name = control.DefaultName(port)
	}
	found, err := control.StationsIn(dir)
	if err != nil {
		return nil, err
	}
	if err := controlPortTaken(found, port); err != nil {
		return nil, err
	}
	return control.ClaimStation(dir, name, port)
}

func controlPortTaken(found []control.Running, port uint16) error {
	for _, r := range found {
		if r.ControlPort() == int(port) {
			return &control.TakenError{Text: fmt.Sprintf("Port %d is the control port of server %d", port, r.Port)}
		}
	}
	return nil
}

// ExplainInUse makes of an error about a port in use one that says which running station has the port, where it is
// one of those that can be found; other errors are returned as they are.
func ExplainInUse(err error) error {
	var used *listen.InUseError
	if !errors.As(err, &used) || used.Spec.Netns != "" {
		return err
	}
	found, _ := control.RunningStations() // what cannot be found explains nothing
	if taken := controlPortTaken(found, used.Spec.Port); taken != nil {
		return taken
	}
	for _, r := range found {
		if r.Port == int(used.Spec.Port) && r.PID != os.Getpid() {
			return &control.TakenError{Text: fmt.Sprintf("Port %d is in use by server %s", r.Port, r.Name)}
		}
	}
	return err
}

// ControlOptions say what a station's control server listens on and whom it serves. Claim and Server.Handler are
// necessary.
type ControlOptions struct {
	Claim      *control.Claim // name and port; Close releases it
	NoLoopback bool           // no TCP on 127.0.0.1 and ::1 at the BMP port + 1
	Further    []ControlSpec  // --control
	KeysFile   string         // control.keys, made if absent; empty: nobody can log in

	// Server is completed with Station, Keys and Audit.
	Server control.ServerOptions

	// Events receives admin commands, refused connections and trouble; may be nil.
	Events *event.Bus
}

// Control is a station's control server: the sockets on which consoles connect, who they are, and what they may.
// The protocol itself is control.Server's. Its methods may be called concurrently.
//
//	Unix socket        root and the station's own user: admin; others whom its mode lets in: view
//	loopback TCP       view, until auth
//	--control, tls     nothing, until auth
//	--control, allow   view; no auth, a secret would go in clear
//	--nats             view; no auth, nobody vouches for what is said later
type Control struct {
	opts   ControlOptions
	port   uint16 // the BMP port of the station
	server *control.Server
	keys   *Keys

	ctx    context.Context // ends with Close; the consoles'
	cancel context.CancelFunc
	wg     sync.WaitGroup // accept loops and consoles

	mu        sync.Mutex
	listeners []*controlListener // in the order opened; the Unix socket first
	conns     map[net.Conn]struct{}
	closed    bool
}

// controlListener is one control socket and its consoles.
type controlListener struct {
	name    string // "unix", "127.0.0.1:1112", "blue/10.0.0.1:1112"
	address string // path or address
	spec    ControlSpec
	further bool             // made by --control or the command `control`
	local   net.Listener     // one of these two is set: the Unix socket or the cluster's,
	tcp     *listen.Listener // or this
	tls     atomic.Pointer[tls.Config]
	link    control.Link // what every console starts with; who it is, and on the Unix socket its role, is added
	closed  chan struct{}

	consoles atomic.Int64
	served   atomic.Uint64
	tooMany  atomic.Uint64
}

// StartControl opens all control sockets and begins to serve. Either all of them open or none; then, with the error, the
// claim is still the caller's to release.
func StartControl(o ControlOptions) (*Control, error) {
	c := &Control{opts: o, port: o.Claim.Port(), conns: make(map[net.Conn]struct{})}
	if o.KeysFile != "" {
		keys, err := OpenKeys(o.KeysFile)
		if err != nil {
			return nil, err
		}
		c.keys = keys
		c.opts.Server.Keys = keys.List
	}
	c.opts.Server.Station = fmt.Sprint(c.port)
	c.opts.Server.Audit = c.audit
	c.server = control.NewServer(c.opts.Server)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.open(); err != nil {
		for _, l := range c.listeners {
			l.close()
		}
		return nil, err
	}
	for _, l := range c.listeners {
		c.wg.Go(func() { c.accept(l) })
	}
	return c, nil
}

func (c *Control) open() error {
	// Where none of them takes the port after the BMP port, that is free for another station.
	tcp := !c.opts.NoLoopback || slices.ContainsFunc(c.opts.Further, func(x ControlSpec) bool {
		return x.Netns == "" && (x.Port == 0 || x.Port == c.port+1)
	})
	socket, err := c.opts.Claim.Listen(tcp)
	if err != nil {
		return err
	}
	c.listeners = append(c.listeners, &controlListener{
		name: "unix", address: c.opts.Claim.Socket(), local: socket, closed: make(chan struct{}),
		link: control.Link{Listener: "unix", Token: true},
	})
	if !c.opts.NoLoopback {
		for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			l, err := c.openTCP(ControlSpec{Addr: a, Port: c.port + 1, Role: control.RoleView})
			if err != nil && a.Is6() && errors.As(err, new(*listen.PlaceError)) {
				continue // a machine without IPv6
			}
			if err != nil {
				return err
			}
			l.link.Role, l.link.Token = control.RoleView, true
			c.listeners = append(c.listeners, l)
		}
	}
	for _, spec := range c.opts.Further {
		l, err := c.openFurther(spec)
		if err != nil {
			return err
		}
		c.listeners = append(c.listeners, l)
	}
	return nil
}

func (c *Control) openFurther(spec ControlSpec) (*controlListener, error) {
	if spec.Port == 0 {
		spec.Port = c.port + 1
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	var config *tls.Config
	if spec.TLS() {
		var err error
		if config, err = loadCertificate(spec); err != nil {
			return nil, err
		}
	}
	l, err := c.openTCP(spec)
	if err != nil {
		return nil, err
	}
	l.further = true
	if spec.TLS() {
		l.tls.Store(config)
		l.link.Token, l.link.Most, l.link.Login = true, spec.Role, loginTimeout
	} else {
		l.link.Role, l.link.NoAuth = control.RoleView, true
	}
	return l, nil
}

func (c *Control) openTCP(spec ControlSpec) (*controlListener, error) {
	l := &controlListener{
		name: spec.Name(), address: spec.Name(), spec: spec, closed: make(chan struct{}),
		link: control.Link{Listener: spec.Name(), TCP: true},
	}
	socket, err := listen.Listen(context.Background(),
		listen.Spec{Netns: spec.Netns, Addr: spec.Addr, Port: spec.Port, Allow: spec.Allow},
		listen.Options{
			Refused: func(from netip.AddrPort, reason string, more int) {
				text := fmt.Sprintf("Console %s refused on %s: %s", from, l.name, reason)
				if more > 0 {
					text += fmt.Sprintf(" (and %d more before)", more)
				}
				c.event(event.Station, text)
			},
			Trouble: func(err error) { c.trouble(l, err) },
		})
	if err != nil {
		return nil, c.explain(spec, err)
	}
	l.tcp = socket
	return l, nil
}

// explain says of a port in use whose it is, as far as can be found.
func (c *Control) explain(spec ControlSpec, err error) error {
	if !errors.As(err, new(*listen.InUseError)) {
		return err
	}
	taken := func(format string, args ...any) error {
		return &control.TakenError{Text: fmt.Sprintf("Control listener %s: ", spec.Name()) + fmt.Sprintf(format, args...)}
	}
	c.mu.Lock()
	listeners := slices.Clone(c.listeners)
	c.mu.Unlock()
	for _, l := range listeners {
		if l.tcp == nil || l.spec.Netns != spec.Netns || l.spec.Port != spec.Port {
			continue
		}
		if l.spec.Addr == spec.Addr {
			return taken("it is open already")
		}
		if spec.Addr.IsUnspecified() && !l.further {
			return taken("this server has port %d on loopback: take another port, or start with --no-loopback", spec.Port)
		}
	}
	if spec.Netns == "" {
		found, _ := control.RunningStations() // what cannot be found explains nothing
		for _, r := range found {
			switch {
			case r.Socket == c.opts.Claim.Socket():
			case r.Port == int(spec.Port):
				return taken("port %d is in use by server %s", spec.Port, r.Name)
			case r.ControlPort() == int(spec.Port):
				return taken("port %d is the control port of server %d", spec.Port, r.Port)
			}
		}
	}
	return taken("%v", err)
}

func loadCertificate(spec ControlSpec) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(spec.Cert, spec.Key)
	if err != nil {
		return nil, fmt.Errorf("control listener %s: tls: %w", spec.Name(), err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// close stops listening; consoles go on.
func (l *controlListener) close() {
	select {
	case <-l.closed:
		return
	default:
	}
	close(l.closed)
	if l.tcp != nil {
		l.tcp.Close()
	} else {
		l.local.Close()
	}
}

// accept serves a listener until it is closed.
func (c *Control) accept(l *controlListener) {
	var backoff listen.Backoff
	failing := false
	for {
		conn, err := l.next()
		if err != nil {
			select {
			case <-l.closed:
				return
			default:
			}
			if !failing {
				failing = true
				c.trouble(l, fmt.Errorf("cannot accept: %w", listen.AcceptCause(err)))
			}
			if !backoff.Wait(l.closed) {
				return
			}
			continue
		}
		if failing {
			failing = false
			c.trouble(l, nil)
		}
		backoff.Reset()
		if l.consoles.Add(1) > maxConsoles {
			l.consoles.Add(-1)
			l.tooMany.Add(1)
			// In clear also where TLS is spoken: a handshake for each of those who are too many is what a flood wants.
			conn.SetDeadline(time.Now().Add(time.Second))
			control.Refuse(conn, control.CodeTooMany, fmt.Sprintf("Too many consoles on %s (%d)", l.name, maxConsoles))
			continue
		}
		l.served.Add(1)
		c.wg.Go(func() {
			defer l.consoles.Add(-1)
			c.serve(l, conn)
		})
	}
}

// next is the listener's next connection. A TCP listener waits its troubles out by itself.
func (l *controlListener) next() (net.Conn, error) {
	if l.tcp != nil {
		c, err := l.tcp.Accept()
		if err != nil {
			return nil, err
		}
		urgentInline(c)
		return c, nil
	}
	return l.local.Accept()
}

// urgentInline leaves urgent data where it stands in the stream. Telnet's Synch sends the second byte of a command so; without
// it the byte behind would be taken for that.
func urgentInline(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // closed already: the first read tells
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) // no console fails for this
	})
}

// serve runs one console to its end.
func (c *Control) serve(l *controlListener, conn net.Conn) {
	if !c.hold(conn) {
		conn.Close()
		return
	}
	defer c.drop(conn)
	link := l.link
	switch t := conn.(type) {
	case *net.UnixConn:
		uid, err := peerUser(t)
		if err != nil {
			conn.Close()
			return
		}
		link.Who = fmt.Sprintf("uid %d", uid)
		link.Role = control.RoleView
		if uid == 0 || int(uid) == os.Geteuid() {
			link.Role = control.RoleAdmin
		}
	case *listen.Conn:
		link.Who = t.Remote().String()
	case *cluster.Console:
		link.Who = t.Who
	}
	if config := l.tls.Load(); config != nil {
		secure := tls.Server(conn, config)
		ctx, cancel := context.WithTimeout(c.ctx, tlsHandshakeTimeout)
		err := secure.HandshakeContext(ctx)
		cancel()
		if err != nil {
			conn.Close()
			return
		}
		conn = secure
	}
	// What ends a console is told to the console; there is nobody else to tell.
	_ = c.server.Serve(c.ctx, conn, link)
}

// hold remembers a console's connection for Close; false means that Close has been called.
func (c *Control) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.conns[conn] = struct{}{}
	}
	return !c.closed
}

func (c *Control) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// peerUser is the user at the other end of a Unix socket, by the kernel's word.
func peerUser(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// Connect opens a console inside the process with the rights of the station's own user: the shell of -i. The caller
// closes it.
func (c *Control) Connect() net.Conn {
	return c.connect(fmt.Sprintf("uid %d", os.Geteuid()), "shell")
}

// configuration is who a command of the configuration comes from.
const configuration = "configuration"

// Configure is Connect for the lines of the configuration.
func (c *Control) Configure() net.Conn { return c.connect(configuration, configuration) }

func (c *Control) connect(who, listener string) net.Conn {
	return c.server.Connect(c.ctx, control.Link{Role: control.RoleAdmin, Who: who, Listener: listener, Token: true})
}

// audit makes an event of an admin command, and another where it failed. The line comes with its secrets masked. Of a
// configuration that is read again, much is there already; who reads it says what else is wrong with it.
func (c *Control) audit(q *control.Request, line, failed string) {
	if failed != "" && q.Who == configuration {
		return
	}
	text := fmt.Sprintf("%s (%s)", line, q.Who)
	if failed != "" {
		text += ", failed: " + failed
	}
	c.event(event.Admin, text)
}

func (c *Control) trouble(l *controlListener, err error) {
	if err == nil {
		c.event(event.Station, fmt.Sprintf("Control listener %s accepts again", l.name))
		return
	}
	c.event(event.Station, fmt.Sprintf("Control listener %s: %v", l.name, err))
}

func (c *Control) event(kind event.Kind, text string) {
	if c.opts.Events != nil {
		c.opts.Events.Publish(event.Event{Time: time.Now(), Kind: kind, Text: text, Console: true, Live: true})
	}
}

// ErrNoListener is a control listener that is not there.
var ErrNoListener = errors.New("no such control listener")

// ErrBuiltInListener is a control listener that the station always has; --no-loopback at start is the way to be without
// the TCP ones.
var ErrBuiltInListener = errors.New("this control listener is part of the station (--no-loopback at start turns the loopback ones off)")

// Listen opens a further control listener while the station runs.
func (c *Control) Listen(spec ControlSpec) error {
	// With nothing locked: the one who has the port may be looked for, among stations that are slow to answer.
	l, err := c.openFurther(spec)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close()
		return net.ErrClosed
	}
	c.listeners = append(c.listeners, l)
	c.wg.Go(func() { c.accept(l) })
	return nil
}

// serveCluster serves the consoles that come through a cluster, from the start on.
func (c *Control) serveCluster(m *cluster.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &controlListener{
		name: "nats", local: m, closed: make(chan struct{}),
		link: control.Link{Listener: "nats", Role: control.RoleView, NoAuth: true},
	}
	c.listeners = append(c.listeners, l)
	c.wg.Go(func() { c.accept(l) })
}

// NoListen closes the further control listener of that name, as Listeners gives it; without the port where it is the
// station's control port. Consoles that came in by it go on until they end. The error is ErrNoListener or
// ErrBuiltInListener.
func (c *Control) NoListen(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.listeners, func(l *controlListener) bool {
		s := l.spec
		if s.Port == c.port+1 {
			s.Port = 0
		}
		return l.name == name || l.tcp != nil && s.Name() == name
	})
	if i < 0 {
		return ErrNoListener
	}
	if !c.listeners[i].further {
		return ErrBuiltInListener
	}
	c.listeners[i].close()
	c.listeners = slices.Delete(c.listeners, i, i+1)
	return nil
}

// ControlListener is a control listener as `show listeners` tells of it.
type ControlListener struct {
	Name       string      // "unix", "nats", [NETNS/]ADDR:PORT
	Address    string      // path of the socket, URL of the NATS server, or as Name
	Spec       ControlSpec // zero for the Unix socket and the cluster
	Further    bool        // may be closed by NoListen, and belongs into a written configuration
	NsID       uint64      // listen.Namespace.ID of where the socket is; 0 for the Unix socket
	Consoles   int         // now
	Served     uint64      // so far
	NotAllowed uint64      // closed unread
	TooMany    uint64      // answered 429
}

// Listeners lists the control listeners: the Unix socket, loopback, the further ones in the order opened.
func (c *Control) Listeners() []ControlListener {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]ControlListener, len(c.listeners))
	for i, l := range c.listeners {
		list[i] = ControlListener{
			Name: l.name, Address: l.address, Spec: l.spec, Further: l.further,
			Consoles: int(l.consoles.Load()), Served: l.served.Load(), TooMany: l.tooMany.Load(),
		}
		if m, ok := l.local.(*cluster.Member); ok {
			list[i].Address = m.Addr().String()
		}
		if l.tcp != nil {
			list[i].NotAllowed, list[i].NsID = l.tcp.Stats().NotAllowed, l.tcp.NamespaceID()
		}
	}
	return list
}

// Consoles lists the connected consoles: `show sessions`.
func (c *Control) Consoles() []control.Console { return c.server.Consoles() }

// Reload reads control.keys and the certificates again, as SIGHUP asks for. What cannot be read stays as it was, and
// the error says which.
func (c *Control) Reload() error {
	var errs []error
	if c.keys != nil {
		errs = append(errs, c.keys.Reload())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.listeners {
		if !l.spec.TLS() {
			continue
		}
		config, err := loadCertificate(l.spec)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.tls.Store(config)
	}
	return errors.Join(errs...)
}

// goodbyeTimeout is how long Close waits for consoles to take the news.
const goodbyeTimeout = 2 * time.Second

// Withdraw stops listening and removes the Unix socket, so that nobody finds the station any more. Consoles go on until
// Close. A handler may call it.
func (c *Control) Withdraw() error {
	c.mu.Lock()
	for _, l := range c.listeners {
		l.close()
	}
	c.mu.Unlock()
	return c.opts.Claim.Withdraw()
}

// Close stops listening, tells the consoles that the station stops (604), waits for them to end, at most for two
// seconds, and gives the name and port free. It must not be called by a command's handler, which it would wait for.
func (c *Control) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	for _, l := range c.listeners {
		l.close()
	}
	c.mu.Unlock()
	c.cancel()
	deaf := time.AfterFunc(goodbyeTimeout, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for conn := range c.conns {
			conn.Close()
		}
	})
	c.wg.Wait()
	deaf.Stop()
	return c.opts.Claim.Release()
}
