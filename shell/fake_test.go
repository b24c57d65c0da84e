package shell

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/shell/edit/edittest"
)

// TestMain is also the shell at the end of a pseudo-terminal.
func TestMain(m *testing.M) {
	target, child := os.LookupEnv("BMP_SHELL_CHILD")
	if !child {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	station, err := Find(target)
	if err != nil {
		os.Exit(PrintError(os.Stderr, false, err))
	}
	status := Interactive(ctx, Options{Station: station}, nil)
	os.Exit(status)
}

// fakeStation is a station of a few commands on a Unix socket.
type fakeStation struct {
	t      *testing.T
	path   string
	role   control.Role
	label  string
	tree   *grammar.Tree
	delay  atomic.Int64 // of everything it hears, in nanoseconds
	hears  chan struct{}
	hear   func() // ends `deaf`
	server *control.Server

	mu    sync.Mutex
	lines []string // commands that came
	stop  func()
	emits map[int]*control.Emit
	seen  chan string // each command, as it begins
}

var fakePeers = [][2]string{{"10.0.0.1", "AS65001 up 3d04h"}, {"10.0.0.2", "AS65002 down hold timer expired"}, {"10.0.1.1", "AS65003 up"}}

func newStation(t *testing.T, role control.Role) *fakeStation {
	f := &fakeStation{t: t, path: filepath.Join(t.TempDir(), "s"), role: role, label: "1111", seen: make(chan string, 1000), hears: make(chan struct{})}
	f.hear = sync.OnceFunc(func() { close(f.hears) })
	f.tree = grammar.Must(grammar.New([]grammar.Command{
		{ID: "show clients", Pattern: "show clients", Help: "all clients", Columns: []string{"ID", "Name"}, Examples: []string{"show clients | count"}},
		{ID: "show client", Pattern: "show client CLIENT", Help: "one client"},
		{ID: "show client peers", Pattern: "show client CLIENT peers", Help: "its peers"},
		{ID: "show client peer", Pattern: "show client CLIENT peer PEER", Help: "one peer"},
		{ID: "show bgp", Pattern: "show bgp {as-path ASPATH|limit N}", Help: "routes"},
		{ID: "rows", Pattern: "rows N", Help: "so many rows"},
		{ID: "block", Pattern: "block", Help: "until cancelled"},
		{ID: "deaf", Pattern: "deaf", Help: "until it hears, whatever comes"},
		{ID: "search", Pattern: "search", Help: "for long"},
		{ID: "die", Pattern: "die", Help: "in the middle of a reply"},
		{ID: "clear client", Pattern: "clear client CLIENT", Role: grammar.Admin, Help: "end a session"},
		{ID: "md5", Pattern: "md5 SECRET", Role: grammar.Admin, Help: "a key"},
		{ID: "debug client", Pattern: "debug client CLIENT [json]", Help: "follow"},
		{ID: "undebug", Pattern: "undebug (all|ID)", Help: "end following"},
	}, map[string]string{"show": "what is"})).WithFilters(filter.Grammar())
	f.server = control.NewServer(control.ServerOptions{
		Handler: f, Version: "9", Station: f.label, Keys: func() []control.Key { return []control.Key{{Role: control.RoleAdmin, Secret: "s3cret"}} },
		AuthDelay: time.Millisecond,
		Monitor:   func(ctx context.Context, e *control.Emit) { e.Text("[05:11:33.471] a console line"); <-ctx.Done() },
	})
	f.start()
	t.Cleanup(func() { f.hear(); f.end() })
	return f
}

// start listens; stop ends the listener and every connection.
func (f *fakeStation) start() {
	f.t.Helper()
	l, err := net.Listen("unix", f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer conn.Close()
				f.server.Serve(ctx, slowConn{conn, time.Duration(f.delay.Load())}, control.Link{Role: f.role, Who: "test", Token: true})
			}()
		}
	}()
	stop := sync.OnceFunc(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close() // as when it is killed
		}
		mu.Unlock()
		cancel()
		wg.Wait()
	})
	f.mu.Lock()
	f.stop = stop
	f.mu.Unlock()
}

// end stops it, as when it is killed.
func (f *fakeStation) end() {
	f.mu.Lock()
	stop := f.stop
	f.mu.Unlock()
	stop()
}

// slowConn answers late, as from far away.
type slowConn struct {
	net.Conn
	delay time.Duration
}

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.delay > 0 {
		time.Sleep(c.delay)
	}
	return n, err
}

func (f *fakeStation) Tree() *grammar.Tree { return f.tree }

func (f *fakeStation) Values(_ context.Context, q *control.Request, kind, partial string, m *grammar.Match) []grammar.Candidate {
	var list []grammar.Candidate
	switch kind {
	case "CLIENT":
		return []grammar.Candidate{{Text: "1", Help: "192.0.2.1:4711 edge1 up"}, {Text: "2", Help: "192.0.2.2:4711 edge2 down"}}
	case "PEER":
		for _, p := range fakePeers {
			list = append(list, grammar.Candidate{Text: p[0], Help: p[1]})
		}
	case "ID":
		for _, s := range q.Conn.Subscriptions() {
			list = append(list, grammar.Candidate{Text: fmt.Sprint(s.ID), Help: s.What})
		}
	}
	return list
}

func (f *fakeStation) Execute(ctx context.Context, q *control.Request, r *control.Reply) error {
	f.mu.Lock()
	f.lines = append(f.lines, q.Line)
	f.mu.Unlock()
	select {
	case f.seen <- q.Line:
	default:
	}
	m := q.Match
	switch m.Command.ID {
	case "show clients":
		r.Columns(filter.Column{Name: "ID", Width: 2, Right: true}, filter.Column{Name: "Name"})
		for _, c := range [][2]string{{"1", "edge1"}, {"2", "edge2"}} {
			if err := r.Record(filter.Record{Cells: []string{c[0], c[1]}, JSON: map[string]string{"id": c[0], "name": c[1]}}); err != nil {
				return err
			}
		}
	case "show client", "show client peers", "show client peer":
		if c := m.Value("client"); c != "1" && c != "2" {
			return control.Errorf(control.CodeNotFound, "No client '%s'", c)
		}
		return r.Line("client " + m.Value("client") + " " + m.Value("peer") + ".")
	case "show bgp":
		return r.Line("path " + m.Value("as-path"))
	case "rows":
		n, _ := m.Number("n")
		for i := range n {
			if err := r.Line(fmt.Sprintf("row %d", i+1)); err != nil {
				select {
				case f.seen <- "no more rows":
				default:
				}
				return err
			}
		}
	case "block":
		r.Line("blocked")
		r.Flush()
		<-ctx.Done()
		return ctx.Err()
	case "deaf":
		<-f.hears
	case "search":
		r.Progress("hour 1 of 24")
		r.Flush()
		select {
		case <-f.hears:
		case <-ctx.Done():
			return ctx.Err()
		}
		r.Progress("hour 2 of 24")
		return r.Line("found")
	case "die":
		r.Line("the first row")
		r.Flush()
		time.AfterFunc(100*time.Millisecond, func() { f.end() }) // when the row has gone out
		<-ctx.Done()
	case "clear client":
		ok, err := r.Confirm("Clear client " + m.Value("client") + "?")
		if err != nil || !ok {
			return control.ErrDeclined
		}
		r.Done("Client %s cleared", m.Value("client"))
	case "debug client":
		id, err := q.Conn.Follow("client "+m.Value("client"), nil, func(ctx context.Context, e *control.Emit) {
			f.mu.Lock()
			if f.emits == nil {
				f.emits = map[int]*control.Emit{}
			}
			f.emits[len(f.emits)] = e
			f.mu.Unlock()
			select {
			case f.seen <- "following":
			default:
			}
			<-ctx.Done()
		})
		if err != nil {
			return err
		}
		r.Subscribed(id)
	case "undebug":
		n := q.Conn.Unfollow(func(s control.Subscription) bool { return m.Has("all") || fmt.Sprint(s.ID) == m.Value("id") })
		r.Done("%d subscriptions ended", n)
	}
	return nil
}

// waits until a command has come to the station.
func (f *fakeStation) came(line string) {
	f.t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case l := <-f.seen:
			if l == line {
				return
			}
		case <-end:
			f.t.Fatalf("no %q came, but %q", line, f.lines)
		}
	}
}

// emit sends an event to everybody who follows.
func (f *fakeStation) emit(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.emits {
		e.Text(text)
	}
}

// emitOn sends an event of the nth debug alone.
func (f *fakeStation) emitOn(n int, text string) {
	f.mu.Lock()
	e := f.emits[n]
	f.mu.Unlock()
	e.Text(text)
}

func (f *fakeStation) asked(line string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.lines, line)
}

// shellOn starts a shell on a pseudo-terminal, attached to f.
func shellOn(t *testing.T, f *fakeStation, cols, rows int, env ...string) *edittest.Child {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(os.Args[0])
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BMP_") && !strings.HasPrefix(v, "NO_COLOR") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "BMP_SHELL_CHILD=unix:"+f.path, "TERM=xterm", "HOME="+home, "XDG_STATE_HOME="+home+"/state",
		"XDG_CONFIG_HOME="+home+"/config", "BMP_RUNTIME_DIR="+home, "TZ=UTC")
	cmd.Env = append(cmd.Env, env...)
	cmd.Dir = home
	c := edittest.Start(t, cmd, cols, rows)
	prompt := "bmp#"
	if f.role != control.RoleAdmin {
		prompt = "bmp>"
	}
	c.Until("the prompt", func(text string) bool { return strings.HasSuffix(text, prompt) })
	return c
}
