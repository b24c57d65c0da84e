package engine

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bmp/engine/event"
	"bmp/engine/listen"
	"bmp/engine/listen/netnstest"
	"bmp/proto/control"
	"bmp/proto/grammar"
)

// commands is a station of two commands: one to look, one to change.
type commands struct{ tree *grammar.Tree }

func newCommands(t *testing.T) commands {
	t.Helper()
	tree, err := grammar.New([]grammar.Command{
		{ID: "show version", Pattern: "show version", Help: "the version"},
		{ID: "clear client", Pattern: "clear client ID", Help: "close a session", Role: grammar.Admin},
		{ID: "wait", Pattern: "wait", Help: "until cancelled"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return commands{tree}
}

func (c commands) Tree() *grammar.Tree { return c.tree }

func (c commands) Execute(ctx context.Context, q *control.Request, r *control.Reply) error {
	switch q.Match.Command.ID {
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "show version":
		return r.Line("bmp test")
	}
	return nil
}

func (c commands) Values(context.Context, *control.Request, string, string, *grammar.Match) []grammar.Candidate {
	return nil
}

// freePort finds a port that is free together with the one above it, as a station needs them.
func freePort(t *testing.T) uint16 {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port >= listen.MaxPort {
			continue
		}
		next, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil {
			continue
		}
		next.Close()
		return uint16(port)
	}
	t.Fatal("no two free ports in a row")
	return 0
}

const (
	adminSecret = "an-admin-secret-for-tests"
	viewSecret  = "a-view-secret-for-tests"
)

// startControl starts a control server of its own kind: alone in its runtime directory, on free ports.
func startControl(t *testing.T, change func(*ControlOptions)) *Control {
	t.Helper()
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	keys := filepath.Join(dir, "control.keys")
	t.Setenv("BMP_RUNTIME_DIR", run)
	if err := os.WriteFile(keys, fmt.Appendf(nil, "admin %s\nview %s\n", adminSecret, viewSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	claim, err := ClaimStation("", "", freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	o := ControlOptions{
		Claim: claim, KeysFile: keys, Events: event.NewBus(),
		Server: control.ServerOptions{Handler: newCommands(t), Version: "0.0.0", AuthDelay: time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	c, err := StartControl(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// attach speaks the protocol on a connection.
func attach(t *testing.T, conn net.Conn, err error) *control.Client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := control.NewClient(t.Context(), conn, control.ClientOptions{})
	if err != nil {
		conn.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// ask runs a line and returns the code of its verdict.
func ask(t *testing.T, client *control.Client, line string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	v, err := client.Do(ctx, line, nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return v.Code
}

func want(t *testing.T, client *control.Client, line string, code int) {
	t.Helper()
	if got := ask(t, client, line); got != code {
		t.Errorf("%s: %d, want %d", line, got, code)
	}
}

func (c *Control) unixPath() string { return c.opts.Claim.Socket() }

func (c *Control) loopback() string { return fmt.Sprintf("127.0.0.1:%d", c.port+1) }

func TestRootIsAdminOnTheUnixSocket(t *testing.T) {
	c := startControl(t, nil)
	conn, err := net.Dial("unix", c.unixPath())
	client := attach(t, conn, err)
	g := client.Greeting()
	if g.Role != control.RoleAdmin || g.Station != fmt.Sprint(c.port) {
		t.Errorf("greeting %+v, want admin of station %d", g, c.port)
	}
	want(t, client, "show version", control.CodeDone)
	want(t, client, "clear client 1", control.CodeDone)
	found, err := control.RunningStations()
	if err != nil || len(found) != 1 || found[0].Port != int(c.port) || found[0].Socket != c.unixPath() {
		t.Errorf("found %+v, %v", found, err)
	}
	// The event says what was done and by whom.
	lines, _ := c.opts.Events.Log(time.Time{})
	if len(lines) != 1 || lines[0].Kind != event.Admin || !strings.Contains(lines[0].Text, "clear client 1") ||
		!strings.Contains(lines[0].Text, fmt.Sprintf("uid %d", os.Geteuid())) {
		t.Errorf("events %+v, want the admin command and its user", lines)
	}
	list := c.Consoles()
	if len(list) != 1 || list[0].Who != fmt.Sprintf("uid %d", os.Geteuid()) || list[0].Listener != "unix" || list[0].Requests != 2 {
		t.Errorf("sessions %+v", list)
	}
}

// dialUnixAs connects as another user, as the kernel tells it to the station.
func dialUnixAs(t *testing.T, uid int, path string) (net.Conn, error) {
	t.Helper()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The user is changed for this thread alone, and the thread ends with the goroutine.
		runtime.LockOSThread()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			done <- result{nil, err}
			return
		}
		f := os.NewFile(uintptr(fd), "unix")
		defer f.Close()
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- result{nil, errno}
			return
		}
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := net.FileConn(f)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

func TestOtherUsersAreViewOnTheUnixSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	c := startControl(t, nil)
	const nobody = 65534
	// The directory is private to the test, and the socket's mode lets nobody in.
	if conn, err := dialUnixAs(t, nobody, c.unixPath()); err == nil {
		conn.Close()
		t.Error("the socket's mode lets everybody in")
	}
	run := filepath.Dir(c.unixPath())
	err := errors.Join(os.Chmod(c.unixPath(), 0o666), os.Chmod(run, 0o755), os.Chmod(filepath.Dir(filepath.Dir(run)), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dialUnixAs(t, nobody, c.unixPath())
	client := attach(t, conn, err)
	if g := client.Greeting(); g.Role != control.RoleView || len(g.Nonce) != 32 {
		t.Errorf("greeting %+v, want view and a nonce", g)
	}
	want(t, client, "show version", control.CodeDone)
	want(t, client, "clear client 1", control.CodeForbidden)
	want(t, client, "auth token "+adminSecret, control.CodeAuthenticated)
	want(t, client, "clear client 1", control.CodeDone)
	if list := c.Consoles(); len(list) != 1 || list[0].Who != "uid 65534" {
		t.Errorf("sessions %+v", list)
	}
}

func TestLoopbackIsViewUntilAuth(t *testing.T) {
	c := startControl(t, nil)
	for _, host := range []string{"127.0.0.1", "::1"} {
		conn, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(c.port+1)))
		if err != nil && host == "::1" {
			t.Skip("no IPv6 loopback here")
		}
		client := attach(t, conn, err)
		if g := client.Greeting(); g.Role != control.RoleView || len(g.Nonce) != 32 {
			t.Errorf("%s: greeting %+v, want view and a nonce", host, g)
		}
		want(t, client, "clear client 1", control.CodeForbidden)
		if v, err := client.Auth(t.Context(), "not-the-secret-of-anybody"); err != nil || v.Err() == nil {
			t.Errorf("%s: a wrong secret: %+v, %v", host, v, err)
		}
		if v, err := client.Auth(t.Context(), adminSecret); err != nil || v.Err() != nil || client.Role() != control.RoleAdmin {
			t.Errorf("%s: auth: %+v, %v, role %s", host, v, err, client.Role())
		}
		want(t, client, "clear client 1", control.CodeDone)
	}
	lines, _ := c.opts.Events.Log(time.Time{})
	for _, l := range lines {
		if strings.Contains(l.Text, adminSecret) {
			t.Errorf("an event tells the secret: %s", l.Text)
		}
	}
	if len(lines) == 0 || !strings.Contains(lines[0].Text, "127.0.0.1:") {
		t.Errorf("events %+v, want the address of who gave the command", lines)
	}
}

func TestNoLoopback(t *testing.T) {
	c := startControl(t, func(o *ControlOptions) { o.NoLoopback = true })
	if conn, err := net.Dial("tcp", c.loopback()); err == nil {
		conn.Close()
		t.Error("the loopback port is open")
	}
	if list := c.Listeners(); len(list) != 1 || list[0].Name != "unix" {
		t.Errorf("listeners %+v, want the Unix socket alone", list)
	}
}

// Consoles on one listener cannot shut out those on another, and above all not the Unix socket.
func TestTooManyConsoles(t *testing.T) {
	c := startControl(t, nil)
	var open []*control.Client
	for range maxConsoles {
		conn, err := net.Dial("tcp", c.loopback())
		open = append(open, attach(t, conn, err))
	}
	conn, err := net.Dial("tcp", c.loopback())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	text, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(text), "429 Too many consoles") {
		t.Errorf("one too many is told %q, %v", text, err)
	}
	conn, err = net.Dial("unix", c.unixPath())
	want(t, attach(t, conn, err), "show version", control.CodeDone)
	for _, l := range c.Listeners() {
		if l.Name == c.loopback() && (l.Consoles != maxConsoles || l.TooMany != 1 || l.Served != maxConsoles) {
			t.Errorf("counts %+v", l)
		}
	}
	// One that leaves makes room.
	open[0].Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", c.loopback())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(deadline)
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if strings.HasPrefix(line, "201 ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no room after a console left: %q, %v", line, err)
		}
	}
}

func TestListenersWhileRunning(t *testing.T) {
	c := startControl(t, nil)
	spec, err := ParseControlSpec("127.0.0.3 allow 127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(spec); err != nil {
		t.Fatal(err)
	}
	place := fmt.Sprintf("127.0.0.3:%d", c.port+1)
	conn, err := net.Dial("tcp", place)
	client := attach(t, conn, err)
	want(t, client, "show version", control.CodeDone)
	want(t, client, "auth token "+adminSecret, control.CodeForbidden)
	if err := c.Listen(spec); err == nil || !strings.HasSuffix(err.Error(), "it is open already") {
		t.Errorf("the same place again: %v", err)
	}
	all, err := ParseControlSpec("0.0.0.0 allow 127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(all); err == nil || !strings.Contains(err.Error(), "--no-loopback") {
		t.Errorf("every address at the port that loopback has: %v", err)
	}
	if err := c.NoListen("127.0.0.4"); !errors.Is(err, ErrNoListener) {
		t.Errorf("no control for one that is not there: %v", err)
	}
	for _, name := range []string{"unix", c.loopback(), "127.0.0.1"} {
		if err := c.NoListen(name); !errors.Is(err, ErrBuiltInListener) {
			t.Errorf("no control %s: %v", name, err)
		}
	}
	if err := c.NoListen("127.0.0.3"); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", place); err == nil {
		conn.Close()
		t.Error("a closed listener takes consoles")
	}
	// Who was there stays.
	want(t, client, "show version", control.CodeDone)
}

func TestPortsInUse(t *testing.T) {
	c := startControl(t, nil)
	var taken *control.TakenError
	dir := filepath.Dir(c.unixPath())
	for port, text := range map[uint16]string{
		c.port + 1: fmt.Sprintf("Port %d is the control port of server %d", c.port+1, c.port),
		c.port:     fmt.Sprintf("Port %d is in use by server %s", c.port, c.opts.Claim.Name()),
	} {
		claim, err := ClaimStation(dir, "another", port)
		if !errors.As(err, &taken) || err.Error() != text {
			t.Errorf("a second station on %d: %v, %v; want %s", port, claim, err, text)
		}
	}
	// One without a control port leaves the port to others, but where it is further opened.
	for _, x := range []struct {
		further []ControlSpec
		free    bool
	}{{nil, true}, {[]ControlSpec{{Addr: netip.MustParseAddr("127.0.0.3"), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}, false}} {
		quiet := startControl(t, func(o *ControlOptions) { o.NoLoopback, o.Further = true, x.further })
		claim, err := ClaimStation(filepath.Dir(quiet.unixPath()), "another", quiet.port+1)
		if (err == nil) != x.free || err != nil && !errors.As(err, &taken) {
			t.Errorf("%v: a station on the port after that of one without a control port: %v", x.further, err)
		}
		if err == nil {
			claim.Release()
		}
	}
	t.Setenv("BMP_RUNTIME_DIR", dir)
	// A BMP port like that of another's control port, given later by `listen`.
	_, err := listen.Listen(t.Context(), listen.Spec{Addr: netip.MustParseAddr("127.0.0.1"), Port: c.port + 1}, listen.Options{})
	if want := fmt.Sprintf("Port %d is the control port of server %d", c.port+1, c.port); err == nil || ExplainInUse(err).Error() != want {
		t.Errorf("explained as %v, want %s", ExplainInUse(err), want)
	}
	// Somebody else has the control port: nothing is left open, and the name can be used again.
	port := freePort(t)
	squatter, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	claim, err := ClaimStation(dir, "unlucky", port)
	if err != nil {
		t.Fatal(err)
	}
	_, err = StartControl(ControlOptions{Claim: claim, Server: control.ServerOptions{Handler: newCommands(t)}})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("Port %d is in use", port+1)) {
		t.Errorf("control port in use: %v", err)
	}
	if err := claim.Release(); err != nil {
		t.Error(err)
	}
}

func TestCloseTellsTheConsoles(t *testing.T) {
	c := startControl(t, nil)
	conn, err := net.Dial("unix", c.unixPath())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "201 ") {
		t.Fatalf("greeting %q, %v", line, err)
	}
	io.WriteString(conn, "wait\r\n")
	until(t, "the command runs", func() bool { list := c.Consoles(); return len(list) == 1 && list[0].Running == "wait" })
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), "604+") {
		t.Errorf("told %q, %v; want a 604", rest, err)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if found, err := control.RunningStations(); err != nil || len(found) != 0 {
		t.Errorf("still found: %+v, %v", found, err)
	}
}

func TestReloadedKeys(t *testing.T) {
	c := startControl(t, nil)
	conn, err := net.Dial("tcp", c.loopback())
	client := attach(t, conn, err)
	const rotated = "another-secret-for-tests"
	if err := os.WriteFile(c.opts.KeysFile, []byte("admin "+rotated+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	if code := ask(t, client, "auth token "+adminSecret); code == control.CodeAuthenticated {
		t.Error("a secret that was taken out of the file still works")
	}
	want(t, client, "auth token "+rotated, control.CodeAuthenticated)
}

// certificate writes a certificate for a test's addresses that nobody else would trust.
func certificate(t *testing.T, addr netip.Addr) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bmp test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{addr.AsSlice()}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

// Attaching from another machine, which here is another network namespace at the end of a cable: in clear with an
// allow-list, and by TLS.
func TestAttachFromAnotherMachine(t *testing.T) {
	here, there := netnstest.New(t), netnstest.New(t)
	netnstest.Connect(t, "cable0", here, "10.9.9.1/24", there, "10.9.9.2/24")
	netnstest.IP(t, "-n", there, "addr", "add", "10.9.9.3/24", "dev", "cable0")
	station := netip.MustParseAddr("10.9.9.1")
	friend, stranger := netip.MustParseAddr("10.9.9.2"), netip.MustParseAddr("10.9.9.3")
	certFile, keyFile, pool := certificate(t, station)
	const plainPort, tlsPort, viewPort = 2001, 2002, 2003
	c := startControl(t, func(o *ControlOptions) {
		for _, text := range []string{
			fmt.Sprintf("%s/%s:%d,allow %s", here, station, plainPort, friend),
			fmt.Sprintf("%s/%s:%d,tls %s %s,allow 10.9.9.0/24", here, station, tlsPort, certFile, keyFile),
			fmt.Sprintf("%s/%s:%d,tls %s %s,role view", here, station, viewPort, certFile, keyFile),
		} {
			spec, err := ParseControlSpec(text)
			if err != nil {
				t.Fatal(err)
			}
			o.Further = append(o.Further, spec)
		}
	})

	t.Run("allow", func(t *testing.T) {
		conn, err := netnstest.Dial(there, friend, netip.AddrPortFrom(station, plainPort))
		client := attach(t, conn, err)
		if g := client.Greeting(); g.Role != control.RoleView {
			t.Errorf("greeting %+v, want view", g)
		}
		want(t, client, "show version", control.CodeDone)
		want(t, client, "clear client 1", control.CodeForbidden)
		// Whoever sends a secret in clear is not helped by its being right.
		want(t, client, "auth token "+adminSecret, control.CodeForbidden)
		want(t, client, "clear client 1", control.CodeForbidden)
	})
	t.Run("not allowed", func(t *testing.T) {
		conn, err := netnstest.Dial(there, stranger, netip.AddrPortFrom(station, plainPort))
		if err == nil {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			if text, _ := io.ReadAll(conn); len(text) != 0 {
				t.Errorf("a stranger is told %q", text)
			}
		}
		for _, l := range c.Listeners() {
			if l.Spec.Port == plainPort && l.NotAllowed != 1 {
				t.Errorf("counts %+v, want one not allowed", l)
			}
		}
	})
	secure := func(t *testing.T, from netip.Addr, port uint16) *control.Client {
		t.Helper()
		conn, err := netnstest.Dial(there, from, netip.AddrPortFrom(station, port))
		if err != nil {
			t.Fatal(err)
		}
		return attach(t, tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: station.String()}), nil)
	}
	t.Run("tls", func(t *testing.T) {
		client := secure(t, stranger, tlsPort)
		if g := client.Greeting(); g.Role != control.RoleNone || len(g.Nonce) != 32 {
			t.Errorf("greeting %+v, want no role and a nonce", g)
		}
		want(t, client, "show version", control.CodeLogin)
		want(t, client, "clear client 1", control.CodeLogin)
		if v, err := client.Auth(t.Context(), viewSecret); err != nil || v.Err() != nil {
			t.Fatalf("auth: %+v, %v", v, err)
		}
		want(t, client, "show version", control.CodeDone)
		want(t, client, "clear client 1", control.CodeForbidden)
		want(t, client, "auth token "+adminSecret, control.CodeAuthenticated)
		want(t, client, "clear client 1", control.CodeDone)
	})
	t.Run("tls with role view", func(t *testing.T) {
		client := secure(t, friend, viewPort)
		want(t, client, "show version", control.CodeLogin)
		want(t, client, "auth token "+adminSecret, control.CodeAuthenticated)
		want(t, client, "show version", control.CodeDone)
		want(t, client, "clear client 1", control.CodeForbidden)
	})
	t.Run("no tls spoken", func(t *testing.T) {
		conn, err := netnstest.Dial(there, friend, netip.AddrPortFrom(station, tlsPort))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "show version\r\n")
		text, _ := io.ReadAll(conn)
		if strings.Contains(string(text), "201 ") || strings.Contains(string(text), "bmp") {
			t.Errorf("in clear the TLS port says %q", text)
		}
	})
	t.Run("certificate renewed", func(t *testing.T) {
		newCert, newKey, newPool := certificate(t, station)
		for from, to := range map[string]string{newCert: certFile, newKey: keyFile} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Reload(); err != nil {
			t.Fatal(err)
		}
		pool = newPool
		secure(t, friend, tlsPort)
		// One that cannot be read leaves the old one in place, and is said.
		if err := os.WriteFile(keyFile, []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Reload(); err == nil || !strings.Contains(err.Error(), "tls") {
			t.Errorf("reload of rubbish: %v", err)
		}
		secure(t, friend, tlsPort)
	})
}

func TestNamespaceThatIsNotThere(t *testing.T) {
	c := startControl(t, nil)
	spec, err := ParseControlSpec("bmptest-none/10.0.0.1 allow 10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	var none *listen.NoNamespaceError
	if err := c.Listen(spec); !errors.As(err, &none) {
		t.Errorf("error %v", err)
	}
}

// TestListenersAreToldWhileAPortIsExplained has the runtime directory locked while the one who has a port is looked for in it.
func TestListenersAreToldWhileAPortIsExplained(t *testing.T) {
	c := startControl(t, nil)
	busy, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	spec, err := ParseControlSpec(busy.Addr().String() + " allow 127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(c.unixPath()), ".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	fi, err := lock.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/locks"); err != nil {
		t.Skip(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Listen(spec) }()
	until(t, "a look into the runtime directory", func() bool {
		locks, _ := os.ReadFile("/proc/locks")
		for l := range strings.Lines(string(locks)) {
			if strings.Contains(l, "-> FLOCK") && strings.Contains(l, fmt.Sprintf(":%d ", fi.Sys().(*syscall.Stat_t).Ino)) {
				return true
			}
		}
		return false
	})
	c.Listeners()
	select {
	case err := <-done:
		t.Fatalf("the listeners were told when the port was explained: %v", err)
	default:
	}
	lock.Close()
	var taken *control.TakenError
	if err := <-done; !errors.As(err, &taken) {
		t.Errorf("%v", err)
	}
}

// TestWithdraw has a console there when the station withdraws: it goes on, and nobody else finds the station.
func TestWithdraw(t *testing.T) {
	c := startControl(t, nil)
	conn, err := net.Dial("unix", c.unixPath())
	client := attach(t, conn, err)
	if err := c.Withdraw(); err != nil {
		t.Fatal(err)
	}
	for network, place := range map[string]string{"unix": c.unixPath(), "tcp": c.loopback()} {
		if conn, err := net.Dial(network, place); err == nil {
			conn.Close()
			t.Errorf("%s is open", place)
		}
	}
	if found, err := control.StationsIn(filepath.Dir(c.unixPath())); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	want(t, client, "show version", control.CodeDone)
	// The name is given back with Close, which the end of the test calls.
	var taken *control.TakenError
	if _, err := ClaimStation(filepath.Dir(c.unixPath()), c.opts.Claim.Name(), c.port); !errors.As(err, &taken) {
		t.Errorf("the name is free: %v", err)
	}
}
