package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bmp/engine/client"
	"bmp/engine/listen"
	"bmp/engine/listen/netnstest"
	"bmp/proto/bmptest"
)

// passive is a router that waits for the station to dial it: each connection gets the hello.
type passive struct {
	listener net.Listener
	conns    chan net.Conn
}

func newPassive(t *testing.T, l net.Listener) *passive {
	p := &passive{l, make(chan net.Conn, 16)}
	t.Cleanup(func() { l.Close() })
	hello := new(bmptest.Session).Initiation("passive", "a router of the test").Bytes()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := c.Write(hello); err == nil {
				p.conns <- c
			}
		}
	}()
	return p
}

func (p *passive) conn(t *testing.T) net.Conn {
	t.Helper()
	select {
	case c := <-p.conns:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(30 * time.Second):
		t.Fatal("the station did not dial")
		return nil
	}
}

func (p *passive) remote() listen.Remote {
	return listen.Remote{Addr: netip.MustParseAddrPort(p.listener.Addr().String())}
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// onlyClient is the client of the station once it is in a state.
func onlyClient(t *testing.T, s *Station, state client.State) *client.Client {
	t.Helper()
	var found *client.Client
	until(t, "the router is "+state.String(), func() bool {
		list := s.Clients()
		if len(list) != 1 || list[0].Brief().State != state {
			return false
		}
		found = list[0]
		return true
	})
	return found
}

// A passive router is dialled, dialled again when the session ends, as the same client, and left alone at last.
func TestConnect(t *testing.T) {
	s := startStation(t, nil)
	p := newPassive(t, listenLocal(t))
	r := p.remote()
	d, err := s.Connect(r)
	if err != nil {
		t.Fatal(err)
	}
	first := p.conn(t)
	c := onlyClient(t, s, client.Up)
	if got := c.Session().Endpoint().Listener; got != "connect "+r.Name() {
		t.Errorf("the session came by %q", got)
	}
	if _, err := s.Connect(r); !errors.Is(err, ErrDialledAlready) {
		t.Errorf("a second connect: %v", err)
	}
	first.Close()
	p.conn(t)
	if again := onlyClient(t, s, client.Up); again != c {
		t.Error("it came back as another client")
	}
	if st := d.Stats(); !st.Connected || st.Made != 2 {
		t.Errorf("stats %+v", st)
	}
	if !s.NoConnect(r.Name()) || s.NoConnect(r.Name()) || len(s.Dialled()) != 0 {
		t.Error("not forgotten once and for all")
	}
	onlyClient(t, s, client.Down)
	if got := c.Info(time.Now()).DownReason; got != "no longer dialled" {
		t.Errorf("the session ended for %q", got)
	}
}

// A router that is not there is tried until it is.
func TestConnectLater(t *testing.T) {
	s := startStation(t, nil)
	l := listenLocal(t)
	addr := l.Addr().String()
	l.Close()
	d, err := s.Connect(listen.Remote{Addr: netip.MustParseAddrPort(addr)})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "an attempt fails", func() bool { return d.Stats().Failed > 0 })
	if st := d.Stats(); st.Connected || !strings.Contains(st.Trouble, "refused") || st.Next.IsZero() {
		t.Errorf("stats %+v", st)
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Skip("the port was taken meanwhile:", err)
	}
	newPassive(t, l)
	onlyClient(t, s, client.Up)
}

// What this machine lacks is told at once, and nothing is dialled.
func TestConnectLacking(t *testing.T) {
	s := startStation(t, nil)
	at := netip.MustParseAddrPort("127.0.0.1:9")
	for _, r := range []listen.Remote{
		{Netns: "no-such-namespace", Addr: at}, {Addr: at, VRF: "no-such-device"}, {Addr: at, MD5: listen.MD5{File: "/no/such/file"}},
		{Addr: at, TLS: true, CA: "/no/such/file"},
	} {
		if _, err := s.Connect(r); err == nil || !lacking(err) {
			t.Errorf("%s: %v", r, err)
		}
	}
	if n := len(s.Dialled()); n != 0 {
		t.Errorf("%d are dialled", n)
	}
}

// In another network namespace, where the router has an address that the station's own namespace does not know.
func TestConnectInNamespace(t *testing.T) {
	here, there := netnstest.New(t), netnstest.New(t)
	netnstest.Connect(t, "cable0", here, "10.9.8.1/24", there, "10.9.8.2/24")
	at := netip.MustParseAddrPort("10.9.8.2:11790")
	var l net.Listener
	err := listen.In(there, func() (err error) {
		l, err = net.Listen("tcp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	newPassive(t, l)
	s := startStation(t, nil)
	if _, err := s.Connect(listen.Remote{Netns: here, Addr: at}); err != nil {
		t.Fatal(err)
	}
	c := onlyClient(t, s, client.Up)
	if ident := c.Identity(); ident.Netns != here || ident.Address != at.Addr() {
		t.Errorf("identity %+v", ident)
	}
}

// A listener with a key takes the sessions that are signed with it and no others; the same way round for a dialled router.
func TestMD5(t *testing.T) {
	if lacksMD5(t) {
		t.Skip("this kernel has no TCP MD5 signatures")
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"127.0.0.1", "::", "::1"} {
		t.Run(place, func(t *testing.T) {
			s := startStation(t, nil)
			spec := listen.Spec{Addr: netip.MustParseAddr(place), MD5: listen.MD5{File: file}}
			if place == "::" {
				spec.Addr = netip.Addr{} // every address, IPv4 through the IPv6 socket
				spec.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
			l, err := s.Listen(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			host := place
			if place == "::" {
				host = "127.0.0.1"
			}
			to := listen.Remote{Addr: netip.AddrPortFrom(netip.MustParseAddr(host), l.Addr().Port()), MD5: listen.MD5{Key: "secret"}}
			conn, err := listen.Dial(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.TCPConn.Write(new(bmptest.Session).Initiation("signed", "").Bytes()); err != nil {
				t.Fatal(err)
			}
			onlyClient(t, s, client.Up)
			// Segments with another key, and with none, are dropped: nobody answers.
			for _, key := range []string{"wrong", ""} {
				to.MD5.Key = key
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				if c, err := listen.Dial(ctx, to); err == nil {
					c.Close()
					t.Errorf("a session with key %q was taken", key)
				}
				cancel()
			}
		})
	}
}

func lacksMD5(t *testing.T) bool {
	l, err := listen.Listen(t.Context(), listen.Spec{Addr: netip.MustParseAddr("127.0.0.1"), MD5: listen.MD5{Key: "x"}}, listen.Options{})
	if err == nil {
		l.Close()
	}
	return errors.Is(err, unix.ENOPROTOOPT)
}

// A listener with a certificate speaks TLS alone, and with a CA it wants one of the router.
func TestTLSListener(t *testing.T) {
	here := netip.MustParseAddr("127.0.0.1")
	cert, key, pool := certificate(t, here)
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	hello := new(bmptest.Session).Initiation("secured", "").Bytes()
	for _, ca := range []string{"", cert} {
		s := startStation(t, nil)
		l, err := s.Listen(t.Context(), listen.Spec{Addr: here, TLS: listen.TLS{Cert: cert, Key: key, CA: ca}})
		if err != nil {
			t.Fatal(err)
		}
		send := func(c net.Conn) {
			t.Cleanup(func() { c.Close() })
			_, _ = c.Write(hello) // a refusal is seen by its effect
		}
		plain, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		send(plain)
		bare := &tls.Config{RootCAs: pool, ServerName: here.String()}
		if ca != "" {
			unknown, err := tls.Dial("tcp", l.Addr().String(), bare)
			if err == nil {
				send(unknown)
			}
		}
		until(t, "what is not as wanted is closed", func() bool {
			return s.unreadable.Load() == map[string]uint64{"": 1, cert: 2}[ca]
		})
		if n := len(s.Clients()); n != 0 {
			t.Fatalf("%d clients", n)
		}
		bare.Certificates = []tls.Certificate{own}
		secured, err := tls.Dial("tcp", l.Addr().String(), bare)
		if err != nil {
			t.Fatal(err)
		}
		send(secured)
		c := onlyClient(t, s, client.Up)
		// A wait for the router that is cut short does not break what comes after it.
		c.SetQuirk(client.Quirk{ASWidth: 4})
		send(secured)
		until(t, "the session goes on", func() bool { return c.Totals().Messages == 2 })
		s.ClearClient(c)
		onlyClient(t, s, client.Down)
	}
}

// A router that waits with TLS is dialled with it, and is known by its certificate.
func TestConnectTLS(t *testing.T) {
	cert, key, _ := certificate(t, netip.MustParseAddr("127.0.0.1"))
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	p := newPassive(t, tls.NewListener(listenLocal(t), &tls.Config{Certificates: []tls.Certificate{own}}))
	s := startStation(t, nil)
	r := p.remote()
	r.TLS = true // by the machine's own CAs: nobody there knows it
	if _, err := s.Connect(r); err != nil {
		t.Fatal(err)
	}
	until(t, "the certificate is refused", func() bool {
		return s.unreadable.Load() > 0 && len(lines(s, x509.UnknownAuthorityError{}.Error())) > 0
	})
	s.NoConnect(r.Name())
	r.CA = cert
	if _, err := s.Connect(r); err != nil {
		t.Fatal(err)
	}
	onlyClient(t, s, client.Up)
}
