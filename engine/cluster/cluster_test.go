package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"bmp/engine/cluster/clustertest"
	"bmp/proto/carrier"
	"bmp/proto/control"
	"bmp/proto/grammar"
)

var bg = context.Background()

// commands are those of a station that is asked through a cluster.
type commands struct{ tree *grammar.Tree }

var tree = grammar.Must(grammar.New([]grammar.Command{
	{ID: "show version", Pattern: "show version", Help: "the version"},
	{ID: "rows", Pattern: "rows N", Help: "so many rows of 1000 bytes"},
	{ID: "wait", Pattern: "wait", Help: "until cancelled"},
	{ID: "debug", Pattern: "debug", Help: "follow"},
	{ID: "shutdown", Pattern: "shutdown", Help: "stop", Role: grammar.Admin},
}, nil))

func (c *commands) Tree() *grammar.Tree { return c.tree }

func (c *commands) Execute(ctx context.Context, q *control.Request, r *control.Reply) error {
	switch q.Match.Command.ID {
	case "rows":
		n, _ := q.Match.Number("n")
		for i := range n {
			if err := r.Line(fmt.Sprintf("%08d%s", i, strings.Repeat("x", 992))); err != nil {
				return err
			}
		}
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "debug":
		id, err := q.Conn.Follow("debug", nil, func(ctx context.Context, _ *control.Emit) { <-ctx.Done() })
		if err != nil {
			return err
		}
		r.Subscribed(id)
	default:
		return r.Line("by " + q.Who)
	}
	return nil
}

func (c *commands) Values(context.Context, *control.Request, string, string, *grammar.Match) []grammar.Candidate {
	return nil
}

// station is a member of a cluster that answers.
type station struct {
	*Member
	server *control.Server
	closed chan string // who, at the end of each console
	mu     sync.Mutex
	said   []string
}

func join(t *testing.T, servers clustertest.Servers, name string) *station {
	t.Helper()
	s := &station{closed: make(chan string, 100)}
	s.server = control.NewServer(control.ServerOptions{
		Handler: &commands{tree: tree}, Station: "1111", Version: "1.0.0",
		Closed: func(who, _ string, _ error) { s.closed <- who },
	})
	var err error
	s.Member, err = Connect(bg, Options{URL: servers.URL(), Station: name, Port: 1111, Version: "1.0.0", again: 50 * time.Millisecond,
		Say: func(text string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.said = append(s.said, text)
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(bg)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_ = s.server.Serve(ctx, c, control.Link{Role: control.RoleView, NoAuth: true, Who: c.(*Console).Who, Listener: "nats"})
			})
		}
	})
	t.Cleanup(func() {
		s.Close()
		stop()
		serving.Wait()
		s.Leave()
	})
	return s
}

func connect(t *testing.T, servers clustertest.Servers) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(servers.URL(), nats.ReconnectWait(50*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// asked sends one request and collects the reply, as any program would. stop, if not nil, is called with each message.
func asked(t *testing.T, nc *nats.Conn, subject, line string, stop func(*nats.Msg)) (text, code string) {
	t.Helper()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	if err := nc.PublishRequest(subject, inbox, []byte(line)); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatalf("%s: %v after %d bytes", line, err, len(text))
		}
		text += string(m.Data)
		if stop != nil {
			stop(m)
		}
		if code = m.Header.Get(carrier.HeaderCode); code != "" {
			return text, code
		}
	}
}

func TestOneRequest(t *testing.T) {
	servers := clustertest.Start(t, 1)
	join(t, servers, "edge")
	nc := connect(t, servers)
	for _, x := range []struct{ line, text, code string }{
		{"show version", "100-by nats\r\n200 1 rows\r\n", "200"},
		{"show version\r\n", "100-by nats\r\n200 1 rows\r\n", "200"},
		{"show version | count", "100-Count: 1\r\n200 1 rows\r\n", "200"},
		{"bogus", "500 @1+5 ", "500"},
		{"shutdown", "403 'shutdown' needs the role admin", "403"},
		{"auth token x", "403 No login on this connection\r\n", "403"},
		{"debug", "403 What follows something needs a console", "403"},
		{"show version\nshutdown", "506 ", "506"},
		{"rows 20000", "", "400"},
	} {
		text, code := asked(t, nc, carrier.RequestSubject("edge"), x.line, nil)
		if !strings.HasPrefix(text, x.text) || code != x.code {
			t.Errorf("%q: %s %.200q", x.line, code, text)
		}
	}
	text, code := asked(t, nc, carrier.RequestSubject("edge"), "rows 5000", nil)
	lines := strings.Split(text, "\r\n")
	if code != "200" || len(lines) != 5002 || lines[5000] != "200 5000 rows" || !strings.HasPrefix(lines[4999], "100-00004999x") {
		t.Errorf("5000 rows: %s, %d lines", code, len(lines))
	}
	if n := strings.Count(text, "\r\n100-"); n != 4999 {
		t.Errorf("%d rows begin a line", n)
	}
}

// A request ends when its requester says so, and when he is gone.
func TestOneRequestCancelled(t *testing.T) {
	servers := clustertest.Start(t, 1)
	s := join(t, servers, "edge")
	nc := connect(t, servers)
	// The reply subject comes with the first message: the rows of a reply that goes on.
	_, code := asked(t, nc, carrier.RequestSubject("edge"), "rows 10000", func(m *nats.Msg) {
		if m.Reply != "" {
			nc.Publish(m.Reply, nil)
		}
	})
	if code != "499" && code != "200" { // 200 where it was quicker
		t.Errorf("cancelled: %s", code)
	}
	<-s.closed
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest(carrier.RequestSubject("edge"), inbox, []byte("rows 15000")); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.closed:
	case <-time.After(30 * time.Second):
		t.Fatal("a request of somebody who is gone goes on")
	}
}

// dial is a shell's way to a console, in the few lines that the wire needs.
func dial(t *testing.T, nc *nats.Conn, name string) *carrier.Conn {
	t.Helper()
	inbox := nc.NewInbox()
	first := make(chan *nats.Msg, 1000)
	sub, err := nc.ChanSubscribe(inbox, first)
	if err != nil {
		t.Fatal(err)
	}
	f := carrier.Frame{Room: carrier.Options{}.Room(), Who: "al@host\x00"}
	var m *nats.Msg
	clustertest.Eventually(t, "the station is known to all servers", func() bool {
		if err := nc.PublishMsg(&nats.Msg{Subject: carrier.ConsoleSubject(name), Reply: inbox, Header: f.Header()}); err != nil {
			t.Fatal(err)
		}
		m = <-first
		return m.Header.Get("Status") != noResponders
	})
	f, err = carrier.ParseFrame(m.Header, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	c := carrier.New(carrier.Options{}, f.Room, func(f carrier.Frame) error {
		return nc.PublishMsg(&nats.Msg{Subject: m.Reply, Reply: inbox, Header: f.Header(), Data: f.Data})
	}, func() { sub.Unsubscribe() })
	c.Receive(f)
	go func() {
		for {
			select {
			case m := <-first:
				receive(c, m)
			case <-c.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { c.Broken(net.ErrClosed) })
	return c
}

// A console is the whole protocol, of a viewer, and outlives the server it goes through.
func TestConsole(t *testing.T) {
	servers := clustertest.Start(t, 3)
	s := join(t, servers, "edge")
	nc := connect(t, servers)
	c, err := control.NewClient(bg, dial(t, nc, "edge"), control.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if g := c.Greeting(); g.Role != control.RoleView || g.Nonce != "" {
		t.Errorf("greeted %+v", g)
	}
	rows := func(n int, during func(i int)) {
		t.Helper()
		i := 0
		v, err := c.Do(bg, fmt.Sprintf("rows %d", n), func(l control.Line) error {
			if !strings.HasPrefix(l.Text, fmt.Sprintf("%08d", i)) {
				return fmt.Errorf("row %d is %.10s", i, l.Text)
			}
			during(i)
			i++
			return nil
		})
		if err != nil || v.Code != control.CodeDone || i != n {
			t.Fatalf("%d rows: %d, %+v, %v", n, i, v, err)
		}
	}
	rows(3000, func(int) {})
	ctx, cancel := context.WithCancel(bg)
	time.AfterFunc(10*time.Millisecond, cancel)
	if v, err := c.Do(ctx, "wait", nil); err != nil || v.Code != control.CodeCancelled {
		t.Errorf("cancel: %+v, %v", v, err)
	}
	// The server that the shell is connected to ends in the middle of a reply.
	var ended string
	rows(4000, func(i int) {
		for _, x := range servers {
			if i >= 1000 && ended == "" && x.Addr() != nil && strings.HasSuffix(nc.ConnectedUrl(), x.Addr().String()) {
				ended = nc.ConnectedUrl()
				x.Shutdown()
			}
		}
	})
	if ended == "" || nc.ConnectedUrl() == ended {
		t.Errorf("no server was ended: %q, now %q", ended, nc.ConnectedUrl())
	}
	c.Close()
	select {
	case who := <-s.closed:
		if who != "nats al@host?" {
			t.Errorf("it was %q", who)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the station does not know that the console is closed")
	}
}

// A station that stops says so to its consoles.
func TestLeave(t *testing.T) {
	servers := clustertest.Start(t, 1)
	m, err := Connect(bg, Options{URL: servers.URL(), Station: "edge", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	nc := connect(t, servers)
	c := dial(t, nc, "edge")
	there, err := m.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(there, "604+Station stops\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	there.Close()
	m.Leave()
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || got != "604+Station stops\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := nc.Request(carrier.HereSubject("edge"), nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("the name is not free: %v", err)
	}
	if _, err := m.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
}

// A name is one station's. One that could not be seen is told of when it is.
func TestName(t *testing.T) {
	servers := clustertest.Start(t, 1)
	s := join(t, servers, "edge")
	join(t, servers, "core")
	_, err := Connect(bg, Options{URL: servers.URL(), Station: "edge", Version: "1.0.0"})
	var taken *TakenError
	if !errors.As(err, &taken) || taken.Other.Instance != s.self.Instance || taken.Other.PID == 0 {
		t.Errorf("a second edge: %v", err)
	}
	nc := connect(t, servers)
	_, err = nc.Subscribe(carrier.HereSubject("edge"), func(m *nats.Msg) {
		m.Respond([]byte(`{"station":"edge","instance":"other","host":"far","pid":7,"port":1111,"since":"2026-01-01T00:00:00Z"}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the other is told of", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.said) > 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.said) != 1 || !strings.Contains(s.said[0], "another server named edge runs in the cluster, and both write the same archive: port 1111 on far, pid 7") {
		t.Errorf("said %q", s.said)
	}
}

// A station that may not do what it must is told so at once, and not that its name is taken.
func TestDenied(t *testing.T) {
	servers := clustertest.Start(t, 1, func(o *server.Options) {
		o.Users = []*server.User{{Username: "al", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"bmp.core.>", "_INBOX.>"}}, Subscribe: &server.SubjectPermission{Allow: []string{">"}},
		}}}
	})
	for name, wrong := range map[string]string{"edge": "bmp.edge.here", "core": ""} {
		m, err := Connect(bg, Options{URL: servers.URL(), NATS: []nats.Option{nats.UserInfo("al", "p")}, Station: name, Version: "1.0.0"})
		if err == nil {
			m.Leave()
		}
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
