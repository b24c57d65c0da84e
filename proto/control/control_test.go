package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// station is a handler with a few commands. What it is told to do on the way, tests say.
type station struct {
	tree    *grammar.Tree
	running chan struct{}                    // told when `block` runs
	emit    chan func(e *Emit)               // what the follower does next
	check   func(q *Request, r *Reply) error // `check`
	stop    func()                           // after `shutdown`
}

func newStation(t testing.TB) *station {
	tree, err := grammar.New([]grammar.Command{
		{ID: "show clients", Pattern: "show clients", Help: "all clients", Columns: []string{"ID", "Name"}},
		{ID: "show client", Pattern: "show client CLIENT", Help: "one client"},
		{ID: "show client peer", Pattern: "show client CLIENT peer PEER", Help: "one peer"},
		{ID: "rows", Pattern: "rows N"},
		{ID: "block", Pattern: "block"},
		{ID: "clear", Pattern: "clear client CLIENT", Role: grammar.Admin},
		{ID: "md5", Pattern: "md5 SECRET", Role: grammar.Admin},
		{ID: "debug", Pattern: "debug client CLIENT"},
		{ID: "undebug", Pattern: "undebug (all|N)"},
		{ID: "fail", Pattern: "fail [LINE]"},
		{ID: "check", Pattern: "check"},
		{ID: "shutdown", Pattern: "shutdown!", Role: grammar.Admin},
	}, map[string]string{"show": "what is"})
	if err != nil {
		t.Fatal(err)
	}
	return &station{tree: tree.WithFilters(filter.Grammar()), running: make(chan struct{}, 100), emit: make(chan func(*Emit), 100)}
}

func (s *station) Tree() *grammar.Tree { return s.tree }

func (s *station) Values(_ context.Context, q *Request, kind, partial string, m *grammar.Match) []grammar.Candidate {
	switch kind {
	case "CLIENT":
		return []grammar.Candidate{{Text: "1", Help: "edge1 up"}, {Text: "2", Help: "edge2\tdown"}}
	case "PEER":
		return []grammar.Candidate{{Text: "10.0.0.1", Help: "AS65001 up 3d04h"}, {Text: "10.0.0.2", Help: "AS65002 down hold timer expired"}, {Text: "192.0.2.1"}}
	}
	return nil
}

func (s *station) Execute(ctx context.Context, q *Request, r *Reply) error {
	switch q.Match.Command.ID {
	case "show clients":
		if err := r.Columns(filter.Column{Name: "ID", Right: true}, filter.Column{Name: "Name"}); err != nil {
			return err
		}
		for i, n := range []string{"edge1", "edge2"} {
			if err := r.Record(filter.Record{Cells: []string{fmt.Sprint(i + 1), n}, JSON: map[string]any{"id": i + 1, "name": n}}); err != nil {
				return err
			}
		}
		return r.Trailer("2 clients")
	case "show client":
		return Errorf(CodeNotFound, "No client '%s'", q.Match.Value("client"))
	case "rows":
		n, _ := q.Match.Number("n")
		for i := range n {
			if err := r.Record(filter.Record{Cells: []string{"row", fmt.Sprint(i)}}); err != nil {
				return err
			}
		}
	case "block":
		s.running <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	case "clear":
		if ok, err := r.Confirm("Clear client " + q.Match.Value("client") + "?"); err != nil || !ok {
			return errors.Join(err, ErrDeclined)
		}
		r.Done("Cleared")
	case "debug":
		id, err := q.Conn.Follow("client "+q.Match.Value("client"), nil, func(ctx context.Context, e *Emit) {
			for {
				select {
				case f := <-s.emit:
					f(e)
				case <-ctx.Done():
					return
				}
			}
		})
		if err != nil {
			return err
		}
		r.Subscribed(id)
	case "undebug":
		n, one := q.Match.Number("n")
		ended := q.Conn.Unfollow(func(s Subscription) bool { return !one || s.ID == int(n) })
		r.Done("%d subscriptions ended", ended)
	case "fail":
		return errors.New(q.Match.Value("line"))
	case "check":
		return s.check(q, r)
	case "shutdown":
		r.After(s.stop)
		r.Done("Stopped")
	}
	return nil
}

// console is a client that sees bytes.
type console struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	done chan error // what Serve returned
}

// open serves one connection over a pipe, or over TCP where l says so.
func open(t testing.TB, o ServerOptions, l Link) (*console, *Server) {
	t.Helper()
	if o.Handler == nil {
		o.Handler = newStation(t)
	}
	if o.Station == "" {
		o.Version, o.Station = "0.1.0", "1111"
	}
	s := NewServer(o)
	return openOn(t, s, l), s
}

func openOn(t testing.TB, s *Server, l Link) *console {
	t.Helper()
	var here, there net.Conn
	if l.TCP {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if there, err = net.Dial("tcp", listener.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if here, err = listener.Accept(); err != nil {
			t.Fatal(err)
		}
	} else {
		here, there = net.Pipe()
	}
	c := &console{t: t, conn: there, r: bufio.NewReader(there), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { c.done <- s.Serve(ctx, here, l) }()
	t.Cleanup(func() {
		cancel()
		there.Close()
	})
	return c
}

func (c *console) send(text string) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

// line reads one line, "" at the end.
func (c *console) line() string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	l, err := c.r.ReadString('\n')
	if err == io.EOF || errors.Is(err, io.ErrClosedPipe) {
		return ""
	}
	if err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Fatalf("read: %v (%q)", err, l)
	}
	if err == nil && !strings.HasSuffix(l, "\r\n") {
		c.t.Fatalf("%q does not end in CRLF", l)
	}
	return strings.TrimRight(l, "\r\n")
}

// reply reads to the last line of a reply, events left out.
func (c *console) reply() string {
	c.t.Helper()
	var lines []string
	for {
		l := c.line()
		if l == "" {
			return strings.Join(append(lines, "EOF"), "\n")
		}
		if l[3] == '+' {
			continue
		}
		lines = append(lines, l)
		if l[3] == ' ' {
			return strings.Join(lines, "\n")
		}
	}
}

func (c *console) do(line string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.reply()
}

func (c *console) want(line, reply string) {
	c.t.Helper()
	if got := c.do(line); got != reply {
		c.t.Errorf("%q:\n got %s\nwant %s", line, got, reply)
	}
}

// closed waits for the end of the connection and says what Serve returned.
func (c *console) closed() error {
	c.t.Helper()
	for c.line() != "" {
	}
	select {
	case err := <-c.done:
		c.done <- err
		return err
	case <-time.After(10 * time.Second):
		c.t.Fatal("the connection does not end")
		return nil
	}
}

var admin = Link{Role: RoleAdmin, Who: "uid 0"}

func TestDialogue(t *testing.T) {
	c, _ := open(t, ServerOptions{}, admin)
	if got := c.line(); got != "201 bmp 0.1.0 proto=1 station=1111 role=admin" {
		t.Errorf("greeting %q", got)
	}
	for _, x := range [][2]string{
		{"show clients", "101-ID  Name\n100- 1  edge1\n100- 2  edge2\n100-2 clients\n200 2 rows"},
		{"sh\tclients", "101-ID  Name\n100- 1  edge1\n100- 2  edge2\n100-2 clients\n200 2 rows"},
		{"show clients | include edge2 | columns Name", "100-edge2\n200 1 rows"},
		{"show clients | json", "102-[\n102-  {\"id\":1,\"name\":\"edge1\"},\n102-  {\"id\":2,\"name\":\"edge2\"}\n102-]\n200 2 rows"},
		{"show clients | include UP|DOWN", "204 0 rows"},
		{"show clients | include -q edge", "200 0 rows"},
		{"show client 9", "404 No client '9'"},
		{"complete show client 1 peer 10.0.0.", "103-10.0.0.1\tAS65001 up 3d04h\n103-10.0.0.2\tAS65002 down hold timer expired\n200 replace=20+7 prefix=10.0.0."},
		{"complete show client ", "103-1\tedge1 up\n103-2\tedge2 down\n200 replace=13+0 prefix="},
		{"complete show clients | so", "103-sort\tsorted by a column\n200 replace=16+2 prefix=sort"},
		{"help show cl", "104-client\tone client\tCLIENT\n104-clients\tall clients\n200 2 rows"},
		{"help show bogus ", "500 @6+5 Invalid command: show bogus (try 'help')"},
		{"bogus", "500 @1+5 Invalid command: bogus (try 'help')"},
		{"sh c", `502 @4+1 Ambiguous command: "sh c" (client, clients)`},
		{"show client 1 peer", "501 @19+0 Incomplete command: show client 1 peer (expected: PEER)"},
		{"show client 1 peer 10.0.0.999", "503 @20+10 Invalid input: expected A.B.C.D, X:X::X:X, an ID or RD/address"},
		{"show clients | bogus", "500 @16+5 Invalid filter: bogus (try '| ?')"},
		{"show clients | sort X", "503 @21+1 Invalid input: no column 'X' (ID, Name)"},
		{"show clients | save x", "403 'save' writes a file of the shell's machine: only in the shell"},
		{"attach unix:/x", "403 'attach' works only in the shell (bmp shell)"},
		{"fail once upon a time", "400 once upon a time"},
		{"terminal format json", "200 Format json"},
		{"show clients | columns Name | first 1", "102-[\n102-  {\"name\":\"edge1\"}\n102-]\n200 1 rows"},
		{"hello 1 client=x format=text width=80 tz=Europe/Berlin events=json future=1", "200 bmp 0.1.0 proto=1"},
		{"hello 2", "505 @7+1 Version 2 is not spoken here, only 1"},
		{"hello 1 ids=on", "200 bmp 0.1.0 proto=1"},
		{"hello 1 ids=1", "503 @9+5 Invalid input: ids=1"},
		{"hello 1 tz=Nowhere", "503 @9+10 Invalid input: tz=Nowhere"},
		{"hello", "501 @6+0 Incomplete command: hello (expected: VERSION)"},
		{"terminal strict on", "200 Strict on"},
		{"sh clients", "500 @1+2 Invalid command: sh (write it whole: show)"},
		{"terminal interactive", "403 No editor on this connection"},
		{"", "200 0 rows"},
		{"exit", "205 Bye"},
	} {
		c.want(x[0], x[1])
	}
	if err := c.closed(); err != nil {
		t.Errorf("exit is no error: %v", err)
	}
}

func TestRequestCarries(t *testing.T) {
	s := newStation(t)
	var got Request
	s.check = func(q *Request, r *Reply) error {
		got = *q
		return errors.Join(r.Progress("half\nway"), r.Warn("hot"), r.Line("x"))
	}
	c, _ := open(t, ServerOptions{Handler: s}, Link{Role: RoleView, Who: "uid 1000"})
	c.line()
	c.do("hello 1 width=80 tz=Asia/Tokyo")
	c.want("check | json", "105-half\\x0away\n106-hot\n102-[\n102-  \"x\"\n102-]\n200 1 rows")
	if got.Width != 80 || got.Zone.String() != "Asia/Tokyo" || got.Role != RoleView || got.Who != "uid 1000" || got.Format != filter.JSON || got.Line != "check | json" {
		t.Errorf("%+v", got)
	}
}

// A terminal and a program read the same bytes: one hostile name cannot forge a line.
func TestNothingForgesALine(t *testing.T) {
	s := newStation(t)
	s.check = func(q *Request, r *Reply) error {
		return errors.Join(r.Line("a\r\n200 done"), Errorf(CodeNotFound, "No\r\n200 x"))
	}
	c, _ := open(t, ServerOptions{Handler: s}, admin)
	c.line()
	c.want("check", "100-a\\x0d\\x0a200 done\n404-No\\x0d\n404 200 x") // a verdict may have lines, each under its code
}

func TestBadInput(t *testing.T) {
	c, _ := open(t, ServerOptions{}, admin)
	c.line()
	long := strings.Repeat("x", MaxLine)
	for _, x := range [][2]string{
		{"show\x00clients", "506 @5+1 Bad bytes: control byte"},
		{"show \xff\xfe", "506 @6+1 Bad bytes: not UTF-8"},
		{"\x1b[A", "506 @1+1 Bad bytes: control byte"},
		{"a\rb", "506 @2+1 Bad bytes: control byte"},
		{long + "y", "504 @8193+0 Line too long: at most 8192 bytes"},
		{strings.Repeat("show clients ", 100_000), "504 @8193+0 Line too long: at most 8192 bytes"},
		{long, "500 @1+8192 Invalid command: " + long + " (try 'help')"},
		{"show clients | count", "100-Count: 2\n200 1 rows"},
	} {
		c.want(x[0], x[1])
	}
	for i := range 9 {
		if got := c.do("\x01"); !strings.HasPrefix(got, "506") {
			t.Fatalf("bad line %d: %s", i, got)
		}
	}
	c.want("show clients | count", "100-Count: 2\n200 1 rows") // in a row, it was said
	for range 10 {
		c.do("\x01")
	}
	if err := c.closed(); !errors.Is(err, errBadLines) {
		t.Errorf("ended by %v", err)
	}
}

func TestForeignProtocolsAreClosedAtOnce(t *testing.T) {
	for _, first := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /x HTTP/1.0\r\n", "\x16\x03\x01\x02\x00", "PRI * HTTP/2.0\r\n\r\n"} {
		c, _ := open(t, ServerOptions{}, Link{Role: RoleAdmin, TCP: true})
		c.line()
		c.send(first)
		if got := c.line(); got != "" {
			t.Errorf("%q was answered %q", first, got)
		}
		if err := c.closed(); !errors.Is(err, errForeign) {
			t.Errorf("%q: ended by %v", first, err)
		}
	}
}

func TestEndOfInputFinishesTheQueue(t *testing.T) {
	c, _ := open(t, ServerOptions{}, Link{Role: RoleAdmin, TCP: true})
	c.line()
	c.send("show clients\nrows 1000\nshow clients | count") // the last without an end
	c.conn.(*net.TCPConn).CloseWrite()
	if got := c.reply(); !strings.HasSuffix(got, "200 2 rows") {
		t.Error(got)
	}
	if got := c.reply(); !strings.HasSuffix(got, "200 1000 rows") {
		t.Error(got)
	}
	if got := c.reply(); got != "100-Count: 2\n200 1 rows" {
		t.Error(got)
	}
	if err := c.closed(); err != nil {
		t.Errorf("ended by %v", err)
	}
}

func TestCancel(t *testing.T) {
	for _, how := range []struct {
		name, bytes string
		tcp         bool
	}{{"line", "cancel\r\n", false}, {"0x03", "\x03", false}, {"0x03 in a line", "show cl\x03", false}, {"telnet IP", "\xff\xf4", true}, {"telnet BRK", "\xff\xf3", true}} {
		t.Run(how.name, func(t *testing.T) {
			s := newStation(t)
			c, _ := open(t, ServerOptions{Handler: s}, Link{Role: RoleAdmin, TCP: how.tcp})
			c.line()
			c.send("block\r\nshow clients\r\nblock\r\n")
			<-s.running
			start := time.Now()
			c.send(how.bytes)
			for i := range 3 {
				if got := c.reply(); got != "499 Cancelled" {
					t.Fatalf("reply %d: %s", i, got)
				}
			}
			if d := time.Since(start); d > 2*time.Second { // milliseconds, on a machine that has time
				t.Errorf("cancelled after %v", d)
			}
			c.want("show clients | count", "100-Count: 2\n200 1 rows") // no reply of its own
			c.send(how.bytes)
			c.want("show clients | count", "100-Count: 2\n200 1 rows") // nothing to cancel
		})
	}
}

// A reply that is being written is cancelled too, also where the filters let nothing through.
func TestCancelOfRows(t *testing.T) {
	for _, line := range []string{"rows 1000000000", "rows 100000000000 | count", "rows 100000000000 | include x"} {
		c, _ := open(t, ServerOptions{}, admin)
		c.line()
		c.send(line + "\r\n")
		if !strings.Contains(line, "|") {
			c.line()
		}
		c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		go func() { _, _ = c.conn.Write([]byte{0x03}) }()
		if got := c.reply(); !strings.HasSuffix(got, "499 Cancelled") {
			t.Errorf("%s: ends %s", line, got[max(0, len(got)-40):])
		}
	}
}

func TestQueueHoldsBack(t *testing.T) {
	s := newStation(t)
	c, _ := open(t, ServerOptions{Handler: s, Queue: 4}, admin)
	c.line()
	c.send("block\r\n")
	<-s.running
	sent := make(chan int, 100)
	go func() {
		for i := range 50 {
			if _, err := fmt.Fprintf(c.conn, "show clients | count\r\n"); err != nil {
				return
			}
			sent <- i
		}
		close(sent)
	}()
	// With a queue of 4, one more in the reader's hand and what it has read ahead, 50 do not fit: a pipe has no room of its own.
	waited := time.NewTimer(200 * time.Millisecond)
	n := 0
	for full := false; !full; {
		select {
		case _, ok := <-sent:
			if !ok {
				t.Fatal("50 requests fit a queue of 4")
			}
			n++
		case <-waited.C:
			full = true
		}
	}
	if n > 10 {
		t.Errorf("%d requests were read", n)
	}
}

func TestConfirm(t *testing.T) {
	c, _ := open(t, ServerOptions{}, admin)
	c.line()
	c.want("clear client 1", "200 Cleared") // a batch is never asked
	c.want("terminal confirm on", "200 Confirmation on")
	c.want("clear client 1", "310 Clear client 1?")
	c.want("yes", "200 Cleared")
	for _, no := range []string{"no", "show clients", "", "YES", "\x01"} {
		c.want("clear client 1", "310 Clear client 1?")
		c.want(no, "499 Not confirmed, nothing done")
	}
	c.want("clear client 1", "310 Clear client 1?")
	c.send("\x03")
	if got := c.reply(); got != "499 Cancelled" {
		t.Error(got)
	}
	c.want("terminal confirm off", "200 Confirmation off")
	c.want("clear client 1", "200 Cleared")
}

func TestRoles(t *testing.T) {
	var mu sync.Mutex
	var audit []string
	o := ServerOptions{Audit: func(q *Request, line, failed string) {
		mu.Lock()
		defer mu.Unlock()
		if failed != "" {
			line += ", failed: " + failed
		}
		audit = append(audit, q.Who+": "+line)
	}}
	c, _ := open(t, o, Link{Role: RoleView, Who: "uid 1000"})
	if got := c.line(); !strings.Contains(got, " role=view nonce=") || len(got) != len("201 bmp 0.1.0 proto=1 station=1111 role=view nonce=")+32 {
		t.Errorf("greeting %q", got)
	}
	c.want("clear client 1", "403 'clear client' needs the role admin, this is view (see 'auth')")
	c.want("show clients | count", "100-Count: 2\n200 1 rows")
	c, _ = open(t, o, Link{Role: RoleNone, Token: true, Who: "far"})
	c.line()
	for _, line := range []string{"show clients", "help", "grammar", "complete ", "clear client 1", "terminal strict on"} {
		c.want(line, "401 Log in first: auth hmac HEX, or auth token SECRET")
	}
	c, _ = open(t, o, admin)
	c.line()
	c.want("clear client 1", "200 Cleared")
	c.want("md5 geheim", "200 0 rows")
	c.want("terminal confirm on", "200 Confirmation on")
	c.want("clear client 2", "310 Clear client 2?")
	c.want("no", "499 Not confirmed, nothing done")
	mu.Lock()
	defer mu.Unlock()
	want := "uid 0: clear client 1; uid 0: md5 ***; uid 0: clear client 2; uid 0: clear client 2, failed: Not confirmed, nothing done"
	if got := strings.Join(audit, "; "); got != want {
		t.Errorf("audit: %s, want %s", got, want)
	}
}

func TestAuth(t *testing.T) {
	keys := func() []Key { return []Key{{RoleView, "looker"}, {RoleAdmin, "boss"}, {RoleAdmin, ""}} }
	o := ServerOptions{Keys: keys, AuthDelay: time.Microsecond}
	nonce := func(text string) string { return nonceOf(text) }

	c, _ := open(t, o, Link{Role: RoleView})
	n := nonce(c.line())
	got := c.do("auth")
	if !strings.HasPrefix(got, "301 ") || nonce(got) != n {
		t.Errorf("challenge %s", got)
	}
	c.want("auth token boss", "403 No secret in clear on this connection: use auth hmac")
	c.want("auth x y z", "503 @1+4 Invalid input: expected auth hmac HEX, or auth token SECRET")
	got = c.do("auth hmac " + authCode("wrong", n))
	if !strings.HasPrefix(got, "401 Authentication failed nonce=") || nonce(got) == n {
		t.Errorf("failure %s", got)
	}
	if stale := c.do("auth hmac " + authCode("boss", n)); !strings.HasPrefix(stale, "401 ") {
		t.Errorf("a nonce was good twice: %s", stale)
	} else {
		n = nonce(stale)
	}
	c.want("auth hmac "+authCode("boss", n), "202 Authenticated role=admin")
	c.want("clear client 1", "200 Cleared")

	c, _ = open(t, o, Link{Role: RoleNone, Token: true})
	c.line()
	if got := c.do("auth token looker"); !strings.HasPrefix(got, "202 Authenticated role=view nonce=") {
		t.Error(got)
	}
	if got := c.do("auth token "); !strings.HasPrefix(got, "503") {
		t.Errorf("no secret: %s", got)
	}
	c.want("auth token boss", "202 Authenticated role=admin")

	c, _ = open(t, o, Link{Role: RoleView, Token: true})
	c.line()
	c.do("auth token x")
	c.do("auth hmac y")
	c.want("auth token z", "401 Authentication failed too often, closing")
	if err := c.closed(); !errors.Is(err, errAuth) {
		t.Errorf("ended by %v", err)
	}

	c, _ = open(t, o, Link{Role: RoleView, NoAuth: true})
	if got := c.line(); strings.Contains(got, "nonce") {
		t.Errorf("greeting %q", got)
	}
	c.want("auth token boss", "403 No login on this connection")
}

func TestAuthFailuresTakeTime(t *testing.T) {
	c, _ := open(t, ServerOptions{AuthDelay: 30 * time.Millisecond}, Link{Role: RoleView, Token: true})
	c.line()
	start := time.Now()
	c.send("auth token x\r\n")
	if got := c.reply(); !strings.HasPrefix(got, "401") {
		t.Error(got)
	}
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
}

func TestEvents(t *testing.T) {
	s := newStation(t)
	c, server := open(t, ServerOptions{Handler: s}, Link{Role: RoleView})
	c.line()
	c.want("debug client 1", "203 Subscribed id=1")
	s.emit <- func(e *Emit) { e.Text("up\nand\x1b down") }
	if got := c.line(); got != "600+up\\x0aand\\x1b down" {
		t.Errorf("%q", got)
	}
	s.emit <- func(e *Emit) { e.Event("text", map[string]int{"n": 1}) }
	if got := c.line(); got != "600+text" {
		t.Errorf("%q", got)
	}
	c.do("hello 1 events=json")
	s.emit <- func(e *Emit) { e.Event("text", map[string]int{"n": 1}) }
	if got := c.line(); got != `601+{"n":1}` {
		t.Errorf("%q", got)
	}
	c.do("hello 1 ids=on")
	s.emit <- func(e *Emit) { e.Event("text", map[string]int{"n": 1}) }
	if got := c.line(); got != `601+id=1 {"n":1}` {
		t.Errorf("%q", got)
	}
	c.do("hello 1 ids=off")
	s.emit <- func(e *Emit) { e.Dropped(7) }
	if got := c.line(); !strings.HasPrefix(got, "602+n=7 since=") || !strings.HasSuffix(got, " (reading too slowly)") {
		t.Errorf("%q", got)
	}
	s.emit <- func(e *Emit) { e.LeftOut(2, time.Date(2026, 11, 22, 5, 12, 5, 0, time.Local), "rate 5") }
	if got := c.line(); got != "602+n=2 since=05:12:05 (rate 5)" {
		t.Errorf("%q", got)
	}
	for i := 2; i <= 4; i++ {
		c.want("debug client 1", fmt.Sprintf("203 Subscribed id=%d", i))
	}
	if got := c.do("debug client 1"); !strings.HasPrefix(got, "429 ") {
		t.Error(got)
	}
	list := server.Consoles()
	if len(list) != 1 || len(list[0].Subscriptions) != 4 || list[0].Subscriptions[0].What != "client 1" || list[0].Subscriptions[0].Sent != 4 || list[0].Subscriptions[0].Dropped != 9 {
		t.Errorf("%+v", list)
	}
	c.want("undebug 2", "200 1 subscriptions ended")
	c.want("undebug 2", "200 0 subscriptions ended")
	c.want("undebug all", "200 3 subscriptions ended")
}

// What a handler wants done after its request is done when the verdict is out, and may end the server.
func TestAfterTheVerdict(t *testing.T) {
	s := newStation(t)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	here, there := net.Pipe()
	c := &console{t: t, conn: there, r: bufio.NewReader(there), done: make(chan error, 1)}
	go func() { c.done <- NewServer(ServerOptions{Handler: s}).Serve(ctx, here, admin) }()
	defer there.Close()
	c.line()
	c.want("shutdown", "200 Stopped")
	if err := c.closed(); err != errStopping {
		t.Errorf("%v", err)
	}
}

// What sort and last of all connections hold together is bounded, and comes free when a reply ends.
func TestRepliesShareABudget(t *testing.T) {
	s := NewServer(ServerOptions{Handler: newStation(t)})
	s.held.Limit = 2000
	c, other := openOn(t, s, admin), openOn(t, s, admin)
	c.line()
	other.line()
	c.send("rows 100 | last 50\r\n")
	if got := c.reply(); !strings.HasPrefix(got, "400 last: the replies being sorted or cut hold ") {
		t.Error(got)
	}
	if got := other.do("rows 100 | last 2"); !strings.HasSuffix(got, "\n200 2 rows") {
		t.Error(got)
	}
	if n := s.held.Used(); n != 0 {
		t.Errorf("%d bytes are held with no reply under way", n)
	}
}

// A console that does not read loses events, which are counted, and never holds up who sends them.
func TestSlowConsoleLosesEvents(t *testing.T) {
	s := newStation(t)
	c, _ := open(t, ServerOptions{Handler: s, EventQueue: 10}, admin)
	c.line()
	c.want("debug client 1", "203 Subscribed id=1")
	sent := make(chan struct{})
	s.emit <- func(e *Emit) {
		for i := range 5000 {
			e.Text(fmt.Sprint("event ", i))
		}
		close(sent)
	}
	<-sent // nobody has read
	events, dropped := 0, 0
	for events+dropped < 5000 {
		l := c.line()
		if n, ok := strings.CutPrefix(l, "602+n="); ok {
			d := 0
			fmt.Sscan(n, &d)
			dropped += d
		} else if strings.HasPrefix(l, "600+event ") {
			events++
		} else {
			t.Fatalf("%q", l)
		}
	}
	if events+dropped != 5000 || dropped == 0 || events < 10 {
		t.Errorf("%d events, %d dropped", events, dropped)
	}
	c.want("show clients | count", "100-Count: 2\n200 1 rows")
}

// Events stand between the lines of a reply, never in one, and do not disturb it.
func TestEventsAndRows(t *testing.T) {
	s := newStation(t)
	c, _ := open(t, ServerOptions{Handler: s}, admin)
	c.line()
	c.want("debug client 1", "203 Subscribed id=1")
	stop := make(chan struct{})
	s.emit <- func(e *Emit) {
		for {
			select {
			case <-stop:
				return
			default:
				e.Text("event")
			}
		}
	}
	got := c.do("rows 20000")
	close(stop)
	if n := strings.Count(got, "\n"); n != 20000 {
		t.Errorf("%d rows", n)
	}
}

func TestMonitor(t *testing.T) {
	o := ServerOptions{Monitor: func(ctx context.Context, e *Emit) {
		e.Text("[05:12:02.211] BMP-1111-ADJCHANGE: Client 10.1.0.1:22011 UP")
		<-ctx.Done()
	}}
	c, _ := open(t, o, Link{Role: RoleView})
	c.line()
	c.want("terminal monitor on", "203 Subscribed id=1")
	if got := c.line(); !strings.HasPrefix(got, "600+[05:12:02.211] BMP-1111") {
		t.Errorf("%q", got)
	}
	c.send("terminal monitor\r\n") // again: the same, not twice
	if got := c.reply(); got != "203 Subscribed id=2" {
		t.Error(got)
	}
	c.send("terminal monitor off\r\n")
	if got := c.reply(); got != "200 1 subscription ended" {
		t.Error(got)
	}
}

func TestStalledWriteCloses(t *testing.T) {
	c, _ := open(t, ServerOptions{WriteStall: 50 * time.Millisecond}, admin)
	c.line()
	c.send("rows 1000000000\r\n")
	select {
	case err := <-c.done: // nobody reads
		if err == nil || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("ended by %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a console that does not read holds its command for ever")
	}
}

func TestGoneConsoleCancels(t *testing.T) {
	s := newStation(t)
	c, _ := open(t, ServerOptions{Handler: s}, Link{Role: RoleAdmin, TCP: true})
	c.line()
	c.send("rows 100000000000\r\n")
	c.line()
	c.conn.(*net.TCPConn).SetLinger(0)
	c.conn.Close()
	select {
	case <-c.done:
	case <-time.After(20 * time.Second):
		t.Fatal("goes on for nobody")
	}
}

func TestIdle(t *testing.T) {
	s := newStation(t)
	o := ServerOptions{Handler: s, Idle: 100 * time.Millisecond}
	c, _ := open(t, o, Link{Role: RoleView, TCP: true})
	c.line()
	if got := c.line(); got != "603+Idle for 100ms, closing" {
		t.Errorf("%q", got)
	}
	if err := c.closed(); !errors.Is(err, errIdle) {
		t.Errorf("ended by %v", err)
	}
	// Not while a command runs, not while it follows something, and not on other sockets.
	follows, _ := open(t, o, Link{Role: RoleView, TCP: true})
	follows.line()
	follows.want("debug client 1", "203 Subscribed id=1")
	runs, _ := open(t, o, Link{Role: RoleView, TCP: true})
	runs.line()
	runs.send("block\r\n")
	<-s.running
	pipe, _ := open(t, o, Link{Role: RoleView})
	pipe.line()
	time.AfterFunc(350*time.Millisecond, func() { s.emit <- func(e *Emit) { e.Text("later") } })
	if got := follows.line(); got != "600+later" {
		t.Errorf("%q", got)
	}
	runs.send("\x03")
	if got := runs.reply(); got != "499 Cancelled" {
		t.Error(got)
	}
	pipe.want("show clients | count", "100-Count: 2\n200 1 rows")
	follows.want("undebug all", "200 1 subscriptions ended")
	if got := follows.line(); got != "603+Idle for 100ms, closing" {
		t.Errorf("%q", got)
	}
}

func TestStationStops(t *testing.T) {
	s := newStation(t)
	server := NewServer(ServerOptions{Handler: s})
	here, there := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, here, admin) }()
	c := &console{t: t, conn: there, r: bufio.NewReader(there), done: done}
	c.line()
	c.send("block\r\n")
	<-s.running
	cancel()
	var lines []string
	for l := c.line(); l != ""; l = c.line() {
		lines = append(lines, l)
	}
	if !strings.Contains(strings.Join(lines, "\n"), "604+Station stops") {
		t.Errorf("%q", lines)
	}
	if err := c.closed(); !errors.Is(err, errStopping) {
		t.Errorf("ended by %v", err)
	}
	if len(server.Consoles()) != 0 {
		t.Error("it is still listed")
	}
}

func TestTelnet(t *testing.T) {
	c, _ := open(t, ServerOptions{}, Link{Role: RoleView, TCP: true})
	c.line()
	// Options, a subnegotiation with an escaped IAC in it, and NOP are swallowed; CR NUL ends a line.
	c.send("\xff\xfb\x1f\xff\xfd\x03sh\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0ow cli\xff\xf1ents | count\r\x00")
	if got := c.reply(); got != "100-Count: 2\n200 1 rows" {
		t.Error(got)
	}
	// Behind an Interrupt Process a client throws away all output until its timing mark is answered, and that is no wish for an
	// editor.
	c, _ = open(t, ServerOptions{Console: func(context.Context, net.Conn, net.Conn) error { return nil }}, Link{Role: RoleView, TCP: true})
	c.line()
	c.send("\xff\xf4\xff\xfd\x06show clients | count\r\n")
	if got := c.reply(); got != "\xff\xfb\x06100-Count: 2\n200 1 rows" {
		t.Errorf("%q", got)
	}
	c.send("x\xff\xffy\r\n")
	if got := c.reply(); got != "506 @2+1 Bad bytes: control byte" {
		t.Error(got)
	}
}

// editor is a Console hook that types what it gets into the control pipe.
func TestInteractive(t *testing.T) {
	first := make(chan string, 1)
	o := ServerOptions{Console: func(ctx context.Context, conn, ctl net.Conn) error {
		client, err := NewClient(ctx, ctl, ClientOptions{})
		if err != nil {
			return err
		}
		defer client.Close()
		r := bufio.NewReader(conn)
		fmt.Fprintf(conn, "editor role=%s\r\n", client.Role())
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return nil
			}
			line = strings.TrimRight(line, "\r\n")
			select {
			case first <- line:
			default:
			}
			if line == "terminal plain" {
				fmt.Fprintf(conn, "plain\r\n")
				return ErrPlain
			}
			if line == "exit" {
				return nil
			}
			v, err := client.Do(ctx, line, nil)
			fmt.Fprintf(conn, "edited %d %v\r\n", v.Code, err)
		}
	}}
	c, server := open(t, o, Link{Role: RoleView, TCP: true, Who: "127.0.0.1:9"})
	c.line()
	c.want("terminal interactive", "200 Interactive")
	if got := c.line(); got != "editor role=view" {
		t.Errorf("%q", got)
	}
	c.send("show clients\r\n")
	if got := c.line(); got != "edited 200 <nil>" {
		t.Errorf("%q", got)
	}
	if list := server.Consoles(); len(list) != 1 || !list[0].Interactive || list[0].Who != "127.0.0.1:9" {
		t.Errorf("%+v", list)
	}
	c.send("terminal interactive\r\n")
	if got := c.line(); got != "edited 403 <nil>" {
		t.Errorf("an editor in an editor: %q", got)
	}
	c.send("terminal plain\r\n")
	if got := c.line(); got != "plain" {
		t.Errorf("%q", got)
	}
	c.want("show clients | count", "100-Count: 2\n200 1 rows")
	if list := server.Consoles(); len(list) != 1 || list[0].Interactive {
		t.Errorf("%+v", list)
	}
	// Again, with words typed ahead; then the end by the editor.
	c.send("terminal interactive\r\nshow clients\r\nexit\r\n")
	if got := c.reply(); got != "200 Interactive" {
		t.Error(got)
	}
	if err := c.closed(); err != nil {
		t.Errorf("ended by %v", err)
	}

	// A client that negotiates by itself gets the editor, which sees what the client said.
	for len(first) > 0 {
		<-first
	}
	c, _ = open(t, o, Link{Role: RoleView, TCP: true})
	c.line()
	c.send("\xff\xfb\x1f")
	if got := c.reply(); got != "200 Interactive" {
		t.Error(got)
	}
	if got := c.line(); got != "editor role=view" {
		t.Errorf("%q", got)
	}
	c.send("show clients\r\n")
	if got := <-first; got != "\xff\xfb\x1fshow clients" {
		t.Errorf("the editor saw %q", got)
	}
	c.line()
	c.send("exit\r\n")
	if err := c.closed(); err != nil {
		t.Errorf("ended by %v", err)
	}
}

// What the editor has read and not used is the first of the plain lines, also where a sequence of telnet is cut in two.
func TestPlainGoesOnWithWhatWasRead(t *testing.T) {
	halves, seen := make(chan string, 1), make(chan string, 1)
	o := ServerOptions{Console: func(ctx context.Context, conn, _ net.Conn) error {
		want := <-halves
		b := make([]byte, len(want))
		if _, err := io.ReadFull(conn, b); err != nil { // in as many portions as it comes
			return err
		}
		// A reader is called off and does not take the console for idle.
		done := make(chan error)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			done <- err
		}()
		conn.SetReadDeadline(time.Unix(1, 0))
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("reading ended with %w", err)
		}
		seen <- string(b)
		return Plain([]byte("show cl"))
	}}
	for _, half := range []string{"\xff", "\xff\xfd", "\xff\xfa\x1f\x00", "\xff\xfa\x1f\x00\xff", "sh", "sh\xff"} {
		c, _ := open(t, o, Link{Role: RoleView, TCP: true})
		c.line()
		halves <- half
		c.send("terminal interactive\r\n" + half)
		if got := c.reply(); got != "200 Interactive" {
			t.Fatalf("%q: %q", half, got)
		}
		if got := <-seen; got != half {
			t.Errorf("the editor saw %q, want %q", got, half)
		}
		c.send("ients | count\r\n")
		if got := c.reply(); got != "100-Count: 2\n200 1 rows" {
			t.Errorf("%q: %q", half, got)
		}
	}
}

// The end of input may come before the station has read that an editor is wanted: what was typed is the editor's all the same.
func TestInteractiveAtTheEnd(t *testing.T) {
	o := ServerOptions{Console: func(ctx context.Context, conn, _ net.Conn) error {
		all, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "editor saw %q\r\n", all)
		return Plain([]byte("show clients | count\r\n"))
	}}
	for range 50 {
		c, _ := open(t, o, Link{Role: RoleView, TCP: true})
		c.line()
		c.send("show clients | count\r\nterminal interactive\r\nx\r\n")
		c.conn.(*net.TCPConn).CloseWrite()
		c.reply()
		if got := c.reply(); got != "200 Interactive" {
			t.Fatal(got)
		}
		if got := c.line(); got != `editor saw "x\r\n"` {
			t.Fatal(got)
		}
		if got := c.reply(); got != "100-Count: 2\n200 1 rows" {
			t.Fatal(got)
		}
		if err := c.closed(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInteractiveIdleAndStop(t *testing.T) {
	o := ServerOptions{Idle: 100 * time.Millisecond, Console: func(ctx context.Context, conn, ctl net.Conn) error {
		_, err := io.Copy(io.Discard, conn)
		return err
	}}
	c, _ := open(t, o, Link{Role: RoleView, TCP: true})
	c.line()
	c.do("terminal interactive")
	c.line()
	if got := c.line(); got != "% Idle for 100ms, closing" {
		t.Errorf("%q", got)
	}
	if err := c.closed(); !errors.Is(err, errIdle) {
		t.Errorf("ended by %v", err)
	}
	o.Idle = time.Hour
	server := NewServer(ServerOptions{Handler: newStation(t), Idle: time.Hour, Console: o.Console})
	ctx, cancel := context.WithCancel(t.Context())
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, here, Link{Role: RoleView}) }()
	c = &console{t: t, conn: there, r: bufio.NewReader(there), done: done}
	c.line()
	c.do("terminal interactive")
	cancel()
	if err := c.closed(); !errors.Is(err, errStopping) && !errors.Is(err, errBye) {
		t.Errorf("ended by %v", err)
	}
}

func TestRefuse(t *testing.T) {
	here, there := net.Pipe()
	go Refuse(here, CodeTooMany, "Too many consoles")
	_, err := NewClient(t.Context(), there, ClientOptions{})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeTooMany || e.Text != "Too many consoles" {
		t.Errorf("%v", err)
	}
}

func TestExitStatus(t *testing.T) {
	for status, codes := range map[int][]int{
		0: {200, 201, 202, 203, 205, 299}, 1: {204, 310, 400, 403, 404, 408, 409, 477}, 2: {501, 502, 503, 504, 506, 599},
		3: {401, 429, 505, 0, 600}, 127: {500}, 130: {499},
	} {
		for _, c := range codes {
			if got := ExitStatus(c); got != status {
				t.Errorf("%d: %d, want %d", c, got, status)
			}
		}
	}
	if got := string(ErrorJSON(404, `No "x"`)); got != `{"error":"No \"x\"","code":404}` {
		t.Error(got)
	}
}
