package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options are what a listener tells its owner. The zero value works.
type Options struct {
	// Refused is called for a connection that was closed unread, with the reason: "not allowed" or "limit of N
	// sessions"; at most once a second, with how many more were refused since the last call. Called from Accept; it must
	// not block.
	Refused func(from netip.AddrPort, reason string, more int)
	// Trouble is called when accepting begins to fail, with the error, and with nil when it works again. Called from
	// Accept; it must not block.
	Trouble func(err error)
}

// A Listener is a listening BMP socket. Its methods, but for Accept, may be called concurrently.
type Listener struct {
	spec   Spec
	opts   Options
	socket acceptor
	addr   netip.AddrPort
	nsID   uint64
	tls    *tls.Config // nil: none
	closed chan struct{}
	once   sync.Once

	sessions   atomic.Int64
	accepted   atomic.Uint64
	notAllowed atomic.Uint64
	overLimit  atomic.Uint64
	failures   atomic.Uint64

	// Of the goroutine that accepts.
	backoff     Backoff
	failing     bool
	lastRefusal time.Time
	untold      int // refusals since then
}

// acceptor is the part of a *net.TCPListener that is used, so that a test can make it fail.
type acceptor interface {
	AcceptTCP() (*net.TCPConn, error)
	Close() error
}

// Stats counts what became of the connections to a listener.
type Stats struct {
	Sessions   int    // open now
	Accepted   uint64 // handed out by Accept
	NotAllowed uint64 // closed because no allow prefix covers them
	OverLimit  uint64 // closed because the limit was reached
	Failures   uint64 // times the kernel refused to accept
}

// Listen creates the socket. What a user can do something about comes as an *InUseError, *NoNamespaceError,
// *PlaceError or *CapabilityError, whose texts are sentences fit to be shown as they are.
func Listen(ctx context.Context, spec Spec, opts Options) (*Listener, error) {
	var config *tls.Config
	if spec.TLS != (TLS{}) {
		var err error
		if config, err = serverTLS(spec.TLS); err != nil {
			return nil, err
		}
	}
	socket, nsID, err := ListenTCP(ctx, spec)
	if err != nil {
		return nil, err
	}
	addr := socket.Addr().(*net.TCPAddr).AddrPort()
	return &Listener{
		spec: spec, opts: opts, socket: socket, nsID: nsID, tls: config, closed: make(chan struct{}),
		addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()),
	}, nil
}

// ListenTCP creates a listening socket at the place a Spec names, with its MD5 key, and nothing more: allow-list, limit
// and TLS are the caller's. It also returns the ID of the namespace the socket is in.
func ListenTCP(ctx context.Context, spec Spec) (*net.TCPListener, uint64, error) {
	var socket *net.TCPListener
	var nsID uint64
	key, err := spec.MD5.read()
	if err != nil {
		return nil, 0, err
	}
	err = In(spec.Netns, func() error {
		id, err := currentNamespaceID()
		if err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
		addr, err := numericZone(spec.Addr)
		if err != nil {
			return err
		}
		host := ""
		if addr.IsValid() {
			host = addr.String()
		}
		lc := net.ListenConfig{
			KeepAlive: -1, // set with the user timeout when a session is accepted
			Control: func(network, _ string, c syscall.RawConn) error {
				return control(c, func(fd int) error {
					if spec.VRF != "" {
						if err := unix.BindToDevice(fd, spec.VRF); err != nil {
							return err
						}
					}
					if !spec.MD5.Set() {
						return nil
					}
					return signWith(fd, strings.HasSuffix(network, "6"), key, spec.Allow)
				})
			},
		}
		// Routers speak no MPTCP, and what a signed session needs is not to be had on an MPTCP socket.
		lc.SetMultipathTCP(false)
		// The net package sets SO_REUSEADDR, so that a restart does not wait for old sessions to leave TIME_WAIT; it does
		// not let two sockets listen at one place. With no host the socket takes IPv4 and IPv6.
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(spec.Port)))
		if err != nil {
			return listenError(spec, err)
		}
		socket, nsID = l.(*net.TCPListener), id
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return socket, nsID, nil
}

// numericZone turns the zone of a link-local address into an interface index. The net package caches what zones mean
// for the whole process, but the index of an interface is another one in each namespace.
func numericZone(a netip.Addr) (netip.Addr, error) {
	if a.Zone() == "" {
		return a, nil
	}
	dev, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return a, &PlaceError{Text: fmt.Sprintf("No device '%s'%s", a.Zone(), devices())}
	}
	return a.WithZone(fmt.Sprint(dev.Index)), nil
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// An InUseError is a place that another socket already listens at.
type InUseError struct {
	Spec Spec
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("Port %d is in use%s", e.Spec.Port, where(e.Spec))
}

// A PlaceError is an address or device that this machine does not have.
type PlaceError struct {
	Text string
}

func (e *PlaceError) Error() string { return e.Text }

// where says which of several sockets on a port is meant.
func where(s Spec) string {
	var b strings.Builder
	if s.Addr.IsValid() {
		b.WriteString(" on address " + s.Addr.String())
	}
	if s.VRF != "" {
		b.WriteString(" on device " + s.VRF)
	}
	if s.Netns != "" {
		b.WriteString(" in network namespace " + s.Netns)
	}
	return b.String()
}

func listenError(s Spec, err error) error {
	elsewhere := where(Spec{Netns: s.Netns})
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return &InUseError{Spec: s}
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return &PlaceError{Text: fmt.Sprintf("Address %s is not on this machine%s", s.Addr, elsewhere)}
	case errors.Is(err, unix.ENODEV):
		return &PlaceError{Text: fmt.Sprintf("No device '%s'%s%s", s.VRF, elsewhere, devices())}
	case errors.Is(err, unix.EACCES) && s.Port < 1024:
		return &CapabilityError{What: fmt.Sprintf("Port %d", s.Port), Capability: "CAP_NET_BIND_SERVICE"}
	case errors.Is(err, unix.EPERM) && s.VRF != "":
		return &CapabilityError{What: "Device " + s.VRF, Capability: "CAP_NET_RAW"}
	}
	return fmt.Errorf("listener %s: %w", s.Name(), err)
}

// devices names the interfaces of the calling thread's namespace, for an error.
func devices() string {
	list, err := net.Interfaces()
	if err != nil || len(list) == 0 {
		return ""
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return " (there are: " + strings.Join(names, ", ") + ")"
}

// Spec returns what the listener was made from.
func (l *Listener) Spec() Spec { return l.spec }

// Addr is the address and port the socket is bound to; the port is the real one where the Spec left it to the kernel.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// NamespaceID is the ID of the namespace the socket is in. It differs from that of the namespace which has the name
// now, if that was removed and made again: then nobody can reach this socket any more.
func (l *Listener) NamespaceID() uint64 { return l.nsID }

// Stats returns the counts so far.
func (l *Listener) Stats() Stats {
	return Stats{
		Sessions: int(l.sessions.Load()), Accepted: l.accepted.Load(), NotAllowed: l.notAllowed.Load(),
		OverLimit: l.overLimit.Load(), Failures: l.failures.Load(),
	}
}

// Close stops listening and makes Accept return net.ErrClosed. Sessions that were accepted go on.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.closed)
		err = l.socket.Close()
	})
	return err
}

// Accept returns the next session that the listener takes, with dead peer detection on. It returns an error, always
// net.ErrClosed, only after Close: all other trouble passes, is told through Options, counted, and waited out. One
// goroutine calls it.
func (l *Listener) Accept() (*Conn, error) {
	for {
		tcp, err := l.socket.AcceptTCP()
		if err != nil {
			select {
			case <-l.closed:
				return nil, net.ErrClosed
			default:
			}
			l.failures.Add(1)
			if !l.failing {
				l.failing = true
				l.trouble(fmt.Errorf("listener %s cannot accept: %w", l.spec.Name(), AcceptCause(err)))
			}
			if !l.backoff.Wait(l.closed) {
				return nil, net.ErrClosed
			}
			continue
		}
		if l.failing {
			l.failing = false
			l.trouble(nil)
		}
		l.backoff.Reset()
		if c := l.take(tcp); c != nil {
			return c, nil
		}
	}
}

func (l *Listener) trouble(err error) {
	if l.opts.Trouble != nil {
		l.opts.Trouble(err)
	}
}

// AcceptCause strips the address and operation that the net package adds: the listener is named already.
func AcceptCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// take applies allow-list and limit; nil means that the connection was refused.
func (l *Listener) take(tcp *net.TCPConn) *Conn {
	from := remote(tcp)
	if !Allowed(l.spec.Allow, from.Addr()) {
		l.notAllowed.Add(1)
		l.refuse(tcp, from, "not allowed")
		return nil
	}
	if n := l.sessions.Add(1); l.spec.Limit > 0 && n > int64(l.spec.Limit) {
		l.sessions.Add(-1)
		l.overLimit.Add(1)
		l.refuse(tcp, from, fmt.Sprintf("limit of %d sessions", l.spec.Limit))
		return nil
	}
	// An error here means that the session is dead already; its first read will tell.
	_ = DetectDeadPeer(tcp, DeadPeerTimeout)
	l.accepted.Add(1)
	c := &Conn{TCPConn: tcp, from: from, release: func() { l.sessions.Add(-1) }}
	if l.tls != nil {
		c.secure(tls.Server(tcp, l.tls))
	}
	return c
}

func (l *Listener) refuse(tcp *net.TCPConn, from netip.AddrPort, reason string) {
	// A reset leaves nothing in TIME_WAIT, and the router learns at once.
	_ = tcp.SetLinger(0)
	_ = tcp.Close()
	if l.opts.Refused == nil {
		return
	}
	if now := time.Now(); now.Sub(l.lastRefusal) >= time.Second {
		l.opts.Refused(from, reason, l.untold)
		l.lastRefusal, l.untold = now, 0
	} else {
		l.untold++
	}
}

// remote is the address of the other side, IPv4 as IPv4 also where it came through an IPv6 socket.
func remote(tcp *net.TCPConn) netip.AddrPort {
	a, _ := tcp.RemoteAddr().(*net.TCPAddr)
	if a == nil {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
