package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// connect is a client on a server inside the test.
func connect(t testing.TB, o ServerOptions, l Link, co ClientOptions) (*Client, *Server) {
	t.Helper()
	if o.Handler == nil {
		o.Handler = newStation(t)
	}
	s := NewServer(o)
	ctx, cancel := context.WithCancel(context.Background())
	c, err := NewClient(t.Context(), s.Connect(ctx, l), co)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		s.Wait()
	})
	return c, s
}

func TestClient(t *testing.T) {
	s := newStation(t)
	c, _ := connect(t, ServerOptions{Handler: s, Version: "0.1.0", Station: "1111"}, admin, ClientOptions{Product: "bmp/0.1.0"})
	if g := c.Greeting(); g != (Greeting{Product: "bmp", Version: "0.1.0", Proto: 1, Station: "1111", Role: RoleAdmin}) {
		t.Errorf("%+v", g)
	}
	ctx := t.Context()
	if v, err := c.Hello(ctx, Hello{Format: filter.Text, Width: 100, Zone: "UTC"}); err != nil || v.Code != CodeDone {
		t.Errorf("%+v %v", v, err)
	}
	var rows []string
	v, err := c.Do(ctx, "show clients", func(l Line) error {
		rows = append(rows, fmt.Sprint(l.Code, " ", l.Text))
		return nil
	})
	if err != nil || v.Code != CodeDone || v.Text != "2 rows" || v.Err() != nil || strings.Join(rows, "|") != "101 ID  Name|100  1  edge1|100  2  edge2|100 2 clients" {
		t.Errorf("%+v %v %q", v, err, rows)
	}
	v, err = c.Do(ctx, "show client 1 peer 10.0.0.999", nil)
	if err != nil || v.Code != CodeInvalid || v.Col != 20 || v.Len != 10 || v.Status() != 2 || !strings.HasPrefix(v.Text, "Invalid input: expected") {
		t.Errorf("%+v %v", v, err)
	}
	if _, message := v.Explain("show client 1 peer 10.0.0.999", false, 0); message != "% Invalid input '10.0.0.999': expected A.B.C.D, X:X::X:X, an ID or RD/address" {
		t.Error(message)
	}
	tree, err := c.Grammar(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := tree.Match("sh clients", grammar.Env{}); err != nil || m.Command.ID != "show clients" {
		t.Errorf("%v %v", m, err)
	}
	if _, err := tree.Match("terminal strict on", grammar.Env{}); err == nil {
		t.Error("the connection's own words are in the station's tree")
	}
	x, err := c.Complete(ctx, "show client 1 peer 10.0.0.")
	if err != nil || x.Col != 20 || x.Len != 7 || x.Prefix != "10.0.0." || len(x.Candidates) != 2 || x.Candidates[0].Help != "AS65001 up 3d04h" {
		t.Errorf("%+v %v", x, err)
	}
	items, err := c.Help(ctx, "show cl")
	if err != nil || len(items) != 2 || items[0] != (grammar.Item{Word: "client", Help: "one client", Next: "CLIENT"}) {
		t.Errorf("%+v %v", items, err)
	}
	s.check = func(*Request, *Reply) error { return Errorf(CodeFailed, "Multiple clients match 'x':\n\n* 1\n* 2") }
	if v, err := c.Do(ctx, "check", func(l Line) error { t.Errorf("a row %+v", l); return nil }); err != nil || v.Text != "Multiple clients match 'x':\n\n* 1\n* 2" {
		t.Errorf("a verdict of several lines: %+v %v", v, err)
	}
	if v, _ := c.Do(ctx, "a\nb", nil); v.Code != CodeBadBytes {
		t.Errorf("%+v", v)
	}
	// Many at once are answered, each with its own.
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			v, err := c.Do(ctx, fmt.Sprintf("rows %d", i), nil)
			if err != nil || v.Text != fmt.Sprintf("%d rows", i) {
				t.Errorf("%d: %+v %v", i, v, err)
			}
		})
	}
	wg.Wait()
}

func TestClientCancels(t *testing.T) {
	s := newStation(t)
	c, _ := connect(t, ServerOptions{Handler: s}, admin, ClientOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.running
		cancel()
	}()
	if v, err := c.Do(ctx, "block", nil); err != nil || v.Code != CodeCancelled || v.Status() != 130 {
		t.Errorf("%+v %v", v, err)
	}
	// A row function that has had enough.
	enough := errors.New("enough")
	n := 0
	v, err := c.Do(t.Context(), "rows 1000000000", func(Line) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || v.Code != CodeCancelled || n != 3 {
		t.Errorf("%+v %v after %d rows", v, err, n)
	}
	if v, err := c.Do(ctx, "show clients", func(Line) error { t.Error("a row"); return nil }); err != nil || v.Code != CodeCancelled {
		t.Errorf("with a context that is over: %+v %v", v, err)
	}
	if v, err := c.Do(t.Context(), "show clients", nil); err != nil || v.Code != CodeDone {
		t.Errorf("the connection is of no use any more: %+v %v", v, err)
	}
	// Cancel from elsewhere.
	go func() {
		<-s.running
		_ = c.Cancel()
	}()
	if v, err := c.Do(t.Context(), "block", nil); err != nil || v.Code != CodeCancelled {
		t.Errorf("%+v %v", v, err)
	}
}

func TestClientConfirms(t *testing.T) {
	c, _ := connect(t, ServerOptions{}, admin, ClientOptions{})
	if _, err := c.Do(t.Context(), "terminal confirm on", nil); err != nil {
		t.Fatal(err)
	}
	asked := ""
	answer := true
	ask := func(q string) bool { asked = q; return answer }
	if v, err := c.DoConfirm(t.Context(), "clear client 7", nil, ask); err != nil || v.Code != CodeDone || asked != "Clear client 7?" {
		t.Errorf("%+v %v %q", v, err, asked)
	}
	answer = false
	if v, err := c.DoConfirm(t.Context(), "clear client 7", nil, ask); err != nil || v.Code != CodeCancelled {
		t.Errorf("%+v %v", v, err)
	}
	if v, err := c.Do(t.Context(), "clear client 7", nil); err != nil || v.Code != CodeCancelled {
		t.Errorf("nobody to ask: %+v %v", v, err)
	}
}

func TestClientLogsIn(t *testing.T) {
	o := ServerOptions{Keys: func() []Key { return []Key{{RoleAdmin, "boss"}, {RoleView, "looker"}} }, AuthDelay: time.Microsecond}
	c, _ := connect(t, o, Link{Role: RoleNone}, ClientOptions{})
	for _, x := range []struct {
		secret string
		code   int
		role   Role
	}{{"wrong", CodeLogin, RoleNone}, {"looker", CodeAuthenticated, RoleView}, {"wrong", CodeLogin, RoleView}, {"boss", CodeAuthenticated, RoleAdmin}, {"boss", CodeAuthenticated, RoleAdmin}} {
		v, err := c.Auth(t.Context(), x.secret)
		if err != nil || v.Code != x.code || c.Role() != x.role {
			t.Errorf("%s: %+v %v role %s", x.secret, v, err, c.Role())
		}
	}
	if v, err := c.Do(t.Context(), "clear client 1", nil); err != nil || v.Code != CodeDone {
		t.Errorf("%+v %v", v, err)
	}
}

func TestClientHearsEvents(t *testing.T) {
	s := newStation(t)
	events := make(chan Line, 10)
	c, _ := connect(t, ServerOptions{Handler: s}, admin, ClientOptions{Event: func(l Line) { events <- l }})
	if v, err := c.Do(t.Context(), "debug client 1", nil); err != nil || v.Code != CodeSubscribed || v.Text != "Subscribed id=1" || v.Status() != 0 {
		t.Errorf("%+v %v", v, err)
	}
	s.emit <- func(e *Emit) { e.Text("hi") }
	if l := <-events; l.Code != CodeEvent || l.Text != "hi" {
		t.Errorf("%+v", l)
	}
}

func TestLostConnection(t *testing.T) {
	s := newStation(t)
	server := NewServer(ServerOptions{Handler: s})
	ctx, cancel := context.WithCancel(t.Context())
	c, err := NewClient(t.Context(), server.Connect(ctx, admin), ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-s.running
		cancel()
	}()
	if v, err := c.Do(t.Context(), "block", nil); err == nil && v.Code/100 != 4 {
		t.Errorf("%+v", v)
	}
	server.Wait()
	<-c.Done()
	var lost *LostError
	if _, err := c.Do(t.Context(), "show clients", nil); !errors.As(err, &lost) || !errors.As(c.Err(), &lost) {
		t.Errorf("%v, %v", err, c.Err())
	}
}

// What is not a station is told from one.
func TestNotAStation(t *testing.T) {
	for _, said := range []string{"HTTP/1.1 400 Bad Request\r\n", "SSH-2.0-OpenSSH_9\r\n", "", "200 hello\r\n", "\x00\x01\n"} {
		here, there := net.Pipe()
		go func() {
			_, _ = here.Write([]byte(said))
			here.Close()
		}()
		var lost *LostError
		if _, err := NewClient(t.Context(), there, ClientOptions{}); !errors.As(err, &lost) {
			t.Errorf("%q: %v", said, err)
		}
	}
	here, there := net.Pipe()
	defer here.Close()
	if _, err := NewClient(t.Context(), there, ClientOptions{Timeout: 20 * time.Millisecond}); err == nil {
		t.Error("waits for ever for a greeting")
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"1111": {"port", "1111"}, "10.0.0.1:1112": {"tcp", "10.0.0.1:1112"}, "[::1]:1112": {"tcp", "[::1]:1112"}, "host:1": {"tcp", "host:1"},
		"unix:/run/x.sock": {"unix", "/run/x.sock"}, "tls:host:1112": {"tls", "host:1112"}, "nats://h": {"nats", "h"}, "nats://h/s": {"nats", "h/s"},
		"": {}, "0": {}, "65535": {}, "x": {}, ":1112": {}, "host:": {}, "host:0": {}, "host:x": {}, "unix:": {}, "tls:host": {}, "nats://": {}, "::1:1112": {},
	} {
		got, err := ParseTarget(text)
		if got != want || (err != nil) != (want == Target{}) {
			t.Errorf("%q = %+v, %v", text, got, err)
		}
		if err == nil && got.String() != text {
			t.Errorf("%q writes %q", text, got.String())
		}
	}
}

// certificate is one that nobody signed but itself.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestDial(t *testing.T) {
	cert, pool := certificate(t)
	s := NewServer(ServerOptions{Handler: newStation(t), Station: "1111", Keys: func() []Key { return []Key{{RoleAdmin, "boss"}} }})
	listen := func(network, address string, l Link, wrap func(net.Listener) net.Listener) string {
		t.Helper()
		x, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		if wrap != nil {
			x = wrap(x)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				conn, err := x.Accept()
				if err != nil {
					return
				}
				wg.Go(func() { _ = s.Serve(ctx, conn, l) })
			}
		})
		t.Cleanup(func() {
			x.Close()
			cancel()
			wg.Wait()
		})
		return x.Addr().String()
	}
	sock := listen("unix", filepath.Join(t.TempDir(), "s.sock"), admin, nil)
	tcp := listen("tcp", "127.0.0.1:0", Link{Role: RoleView, TCP: true}, nil)
	secure := listen("tcp", "127.0.0.1:0", Link{Role: RoleNone, TCP: true, Token: true}, func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	})
	for target, role := range map[string]Role{"unix:" + sock: RoleAdmin, tcp: RoleView, "tls:" + secure: RoleNone} {
		x, err := ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Dial(t.Context(), x, ClientOptions{TLS: &tls.Config{RootCAs: pool}})
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if c.Role() != role || c.Greeting().Station != "1111" {
			t.Errorf("%s: %+v", target, c.Greeting())
		}
		if role == RoleNone {
			if v, err := c.Do(t.Context(), "auth token boss", nil); err != nil || v.Code != CodeAuthenticated {
				t.Errorf("%+v %v", v, err)
			}
		}
		n := 0
		if v, err := c.Do(t.Context(), "rows 5000", func(Line) error { n++; return nil }); err != nil || v.Code != CodeDone || n != 5000 {
			t.Errorf("%s: %+v %v %d rows", target, v, err, n)
		}
		c.Close()
	}
	if _, err := Dial(t.Context(), Target{"tls", secure}, ClientOptions{}); err == nil {
		t.Error("a certificate that nobody signed is good")
	}
	var lost *LostError
	if _, err := Dial(t.Context(), Target{"unix", filepath.Join(t.TempDir(), "none")}, ClientOptions{}); !errors.As(err, &lost) {
		t.Errorf("%v", err)
	}
	if _, err := Dial(t.Context(), Target{"nats", "h"}, ClientOptions{}); !errors.As(err, &lost) {
		t.Errorf("%v", err)
	}
}

// A row function slower than the station is waited for, not filled up.
func TestSlowReaderIsBounded(t *testing.T) {
	c, _ := connect(t, ServerOptions{}, admin, ClientOptions{MaxBuffer: 10_000})
	n, most := 0, 0
	v, err := c.Do(t.Context(), "rows 50000", func(Line) error {
		if n++; n%1000 == 0 {
			c.mu.Lock()
			if c.call != nil {
				most = max(most, c.call.bytes)
			}
			c.mu.Unlock()
		}
		return nil
	})
	if err != nil || v.Code != CodeDone || n != 50000 || most > 11_000 {
		t.Errorf("%+v %v %d rows, %d bytes held", v, err, n, most)
	}
}

// Whatever bytes come, the reader makes tokens of them, what it calls a line is one, and every line has its verdict.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{"show clients\r\n", "a\rb\n", "\xff\xfb\x1fx\n", "\xff\xfa\x1f\xff\xf0cancel\n", "\x03\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01", "x\x00y\n",
		"show client 1 | include a|b\r\x00", "hello 1 tz=UTC width=x\n", "auth hmac 00\n", "complete sh", "help show ", "terminal format json\nshow clients | sort ID\n",
		"fail a b c\n", "undebug 1\n"} {
		f.Add([]byte(s))
	}
	handler := newStation(f)
	handler.check = func(q *Request, r *Reply) error { return r.Line(q.Line) }
	server := NewServer(ServerOptions{Handler: handler, AuthDelay: 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Nobody reads from this connection: what is written stays in its buffer, where the lines are looked at.
		here, there := net.Pipe()
		defer there.Close()
		c, err := server.newConn(t.Context(), here, admin, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			c.stop(errBye)
			here.Close()
			server.mu.Lock()
			clear(server.conns)
			server.mu.Unlock()
		}()
		in := newInput(strings.NewReader(string(data)), true)
		for {
			x, err := in.next()
			if err != nil {
				return
			}
			if x.kind == lineToken && (len(x.line) > MaxLine || strings.ContainsAny(x.line, "\r\n\x00\t\x03")) {
				t.Fatalf("%q is a line", x.line)
			}
			if m, err := c.tree.Match(x.line, c.env()); err == nil && (m.Command.ID == "block" || m.Command.ID == "rows") {
				continue // waits, or writes more than the buffer holds
			}
			code, text := c.answer(t.Context(), x)
			if code < 200 || code > 599 || code/100 == 5 && !strings.HasPrefix(text, "@") {
				t.Fatalf("%q: %d %s", x.line, code, text)
			}
			for l := range strings.SplitSeq(strings.TrimSuffix(string(c.out.replies), "\r\n"), "\r\n") {
				if l == "" {
					continue
				}
				if p, err := parseLine([]byte(l)); err != nil || p.Code/100 != 1 || p.Sep != '-' {
					t.Fatalf("%q wrote %q: %v", x.line, l, err)
				}
			}
			c.out.replies = c.out.replies[:0]
		}
	})
}

// What a station says is read as it was written.
func FuzzReplyLine(f *testing.F) {
	for _, s := range []string{"200 done", "100-row", "600+event", "503 @20+7 Invalid input", "503 @x", "1", "999 ", "20x "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLine(data)
		if err != nil {
			return
		}
		if again := string(appendLine(nil, l.Code, l.Sep, []byte(l.Text))); again != string(data)+"\r\n" {
			t.Fatalf("%q is written %q", data, again)
		}
		v := newVerdict(l)
		if v.Col < 0 || v.Len < 0 || v.Code != l.Code {
			t.Fatalf("%q: %+v", data, v)
		}
		parseGreeting(l.Text)
	})
}

// A million rows through `| count`, from one end of a connection to the other.
func BenchmarkMillionCount(b *testing.B) { benchmarkRows(b, "rows 1000000 | count") }

// A million rows across the connection.
func BenchmarkMillionRows(b *testing.B) { benchmarkRows(b, "rows 1000000") }

// One question and its answer.
func BenchmarkRoundTrip(b *testing.B) { benchmarkRows(b, "show clients") }

func benchmarkRows(b *testing.B, line string) {
	c, _ := connect(b, ServerOptions{}, admin, ClientOptions{})
	b.ReportAllocs()
	for b.Loop() {
		if v, err := c.Do(context.Background(), line, func(Line) error { return nil }); err != nil || v.Code != CodeDone {
			b.Fatalf("%+v %v", v, err)
		}
	}
}

func TestSplitID(t *testing.T) {
	for text, want := range map[string]struct {
		id   int
		rest string
	}{
		"id=7 05:12:04.501 up":        {7, "05:12:04.501 up"},
		`id=12 {"n":1}`:               {12, `{"n":1}`},
		"05:12:04.501 up":             {0, "05:12:04.501 up"},
		"n=4120 since=05:12:05 (why)": {0, "n=4120 since=05:12:05 (why)"},
		"id=7":                        {0, "id=7"},
		"id=x up":                     {0, "id=x up"},
		"":                            {0, ""},
	} {
		if id, rest := SplitID(text); id != want.id || rest != want.rest {
			t.Errorf("%q: %d %q", text, id, rest)
		}
	}
}
