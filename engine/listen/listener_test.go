package listen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func open(t *testing.T, spec Spec, o Options) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func accept(t *testing.T, l *Listener) *Conn {
	t.Helper()
	// A test that waits for a session that does not come must end.
	stop := time.AfterFunc(10*time.Second, func() { l.Close() })
	defer stop.Stop()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// closed waits until the other side closes the connection.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, unix.EAGAIN) || isTimeout(err) {
		t.Errorf("read %d bytes, %v; want a closed connection", n, err)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestDualStack(t *testing.T) {
	l := open(t, Spec{}, Options{})
	for _, a := range []string{"127.0.0.1", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), l.Addr().Port())
		c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
		if err != nil && a == "::1" {
			t.Skip("no IPv6 loopback here")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// An IPv4 router is one also on a socket of both families.
		if got := accept(t, l).Remote(); got.String() != c.LocalAddr().String() {
			t.Errorf("remote %s, want %s", got, c.LocalAddr())
		}
	}
}

func TestOneAddressOnly(t *testing.T) {
	l := open(t, Spec{Addr: loopback}, Options{})
	if c, err := net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), l.Addr().Port()).String(), 5*time.Second); err == nil {
		c.Close()
		t.Error("a listener on 127.0.0.1 takes sessions on 127.0.0.2")
	}
	dial(t, l.Addr())
	accept(t, l)
}

func TestPortInUseIsSaid(t *testing.T) {
	l := open(t, Spec{Addr: loopback}, Options{})
	port := l.Addr().Port()
	for _, spec := range []Spec{{Addr: loopback, Port: port}, {Port: port}} {
		_, err := Listen(t.Context(), spec, Options{})
		var used *InUseError
		if !errors.As(err, &used) || used.Spec.Port != port || !strings.HasPrefix(err.Error(), "Port ") {
			t.Errorf("%s: %v, want an InUseError", spec, err)
		}
	}
	// SO_REUSEADDR: a port whose last sessions are in TIME_WAIT is free.
	c := dial(t, l.Addr())
	s := accept(t, l)
	s.Close()
	closed(t, c)
	c.Close()
	l.Close()
	open(t, Spec{Addr: loopback, Port: port}, Options{})
}

func TestAddressThatIsNotHere(t *testing.T) {
	_, err := Listen(t.Context(), Spec{Addr: netip.MustParseAddr("192.0.2.77")}, Options{})
	var e *PlaceError
	if !errors.As(err, &e) || err.Error() != "Address 192.0.2.77 is not on this machine" {
		t.Errorf("error %v", err)
	}
}

func TestDeviceThatIsNotHere(t *testing.T) {
	_, err := Listen(t.Context(), Spec{Addr: loopback, VRF: "bmpnone"}, Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "No device 'bmpnone' (there are: ") || !strings.Contains(err.Error(), "lo") {
		t.Errorf("error %v", err)
	}
}

func TestAllowList(t *testing.T) {
	var mu sync.Mutex
	var refused []string
	l := open(t, Spec{Addr: netip.MustParseAddr("127.0.0.1"), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.8/29")}}, Options{
		Refused: func(from netip.AddrPort, reason string, more int) {
			mu.Lock()
			defer mu.Unlock()
			refused = append(refused, from.Addr().String()+" "+reason)
		},
	})
	from := func(a string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(a)}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	stranger := from("127.0.0.7")
	friend := from("127.0.0.9")
	if got := accept(t, l).Remote().String(); got != friend.LocalAddr().String() {
		t.Errorf("accepted %s, want %s", got, friend.LocalAddr())
	}
	closed(t, stranger)
	if s := l.Stats(); s.NotAllowed != 1 || s.Accepted != 1 || s.Sessions != 1 {
		t.Errorf("counts %+v", s)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(refused) != 1 || refused[0] != "127.0.0.7 not allowed" {
		t.Errorf("told of %q", refused)
	}
}

func TestLimitCountsOpenSessions(t *testing.T) {
	l := open(t, Spec{Addr: loopback, Limit: 2}, Options{})
	dial(t, l.Addr())
	first := accept(t, l)
	dial(t, l.Addr())
	accept(t, l)
	third := dial(t, l.Addr())
	done := make(chan *Conn, 1)
	go func() {
		c, _ := l.Accept()
		done <- c
	}()
	closed(t, third)
	if s := l.Stats(); s.OverLimit != 1 || s.Sessions != 2 {
		t.Errorf("counts %+v", s)
	}
	// A session that ends gives its place back, once however often it is closed.
	first.Close()
	first.Close()
	fourth := dial(t, l.Addr())
	if c := <-done; c == nil || c.Remote().String() != fourth.LocalAddr().String() {
		t.Errorf("accepted %v, want %s", c, fourth.LocalAddr())
	} else {
		defer c.Close()
	}
	if s := l.Stats(); s.Sessions != 2 {
		t.Errorf("counts %+v", s)
	}
}

func TestRefusalsAreToldOnceASecondAndCounted(t *testing.T) {
	calls, more := 0, 0
	l := &Listener{opts: Options{Refused: func(_ netip.AddrPort, _ string, n int) { calls++; more += n }}}
	for range 100 {
		l.refuse(new(net.TCPConn), netip.AddrPort{}, "not allowed")
	}
	told := calls
	l.lastRefusal = l.lastRefusal.Add(-time.Second)
	l.refuse(new(net.TCPConn), netip.AddrPort{}, "not allowed")
	if calls != told+1 || calls+more != 101 {
		t.Errorf("%d calls that tell of %d more, want all 101", calls, more)
	}
}

// failing refuses to accept a number of times, then works.
type failing struct {
	*net.TCPListener
	mu   sync.Mutex
	left int
}

func (f *failing) AcceptTCP() (*net.TCPConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left > 0 {
		f.left--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.TCPListener.AcceptTCP()
}

func TestListenerSurvivesRunningOutOfDescriptors(t *testing.T) {
	var told []error
	l := open(t, Spec{Addr: loopback}, Options{Trouble: func(err error) { told = append(told, err) }})
	l.socket = &failing{TCPListener: l.socket.(*net.TCPListener), left: 4}
	dial(t, l.Addr())
	accept(t, l)
	if n := l.Stats().Failures; n != 4 {
		t.Errorf("%d failures counted, want 4", n)
	}
	if len(told) != 2 || !errors.Is(told[0], syscall.EMFILE) || told[1] != nil ||
		!strings.HasSuffix(told[0].Error(), "cannot accept: too many open files") {
		t.Errorf("told %q, want the trouble once and its end once", told)
	}
}

func TestCloseEndsAWaitAfterFailure(t *testing.T) {
	started := make(chan struct{})
	l := open(t, Spec{Addr: loopback}, Options{Trouble: func(error) { close(started) }})
	l.socket = &failing{TCPListener: l.socket.(*net.TCPListener), left: 1 << 30}
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	<-started
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestSessionsAreWatchedForDeath(t *testing.T) {
	l := open(t, Spec{Addr: loopback}, Options{})
	dial(t, l.Addr())
	c := accept(t, l)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = control(raw, func(fd int) error {
		for _, o := range []struct {
			name         string
			level, which int
			want         int
		}{
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 20},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000},
		} {
			got, err := unix.GetsockoptInt(fd, o.level, o.which)
			if err != nil {
				return err
			}
			if got != o.want {
				t.Errorf("%s is %d, want %d", o.name, got, o.want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestListenInNoNamespace(t *testing.T) {
	_, err := Listen(context.Background(), Spec{Netns: "bmptest-none", Port: 1111}, Options{})
	var none *NoNamespaceError
	if !errors.As(err, &none) || !strings.HasPrefix(err.Error(), "No network namespace 'bmptest-none' (there are") {
		t.Errorf("error %v", err)
	}
}
