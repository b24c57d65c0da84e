package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/proto/wire"
)

// Proto is the version of the protocol.
const Proto = 1

// Handler runs commands. Its methods are called from the goroutines of many connections at once.
type Handler interface {
	// Tree is the station's command tree.
	Tree() *grammar.Tree
	// Execute runs one matched command and writes to r. A nil error is 200, filter.ErrDone too; *Error and *grammar.Error
	// carry their code, a context error is 499 (408 for its deadline), anything else 400.
	Execute(ctx context.Context, q *Request, r *Reply) error
	// Values completes: see grammar.Env.Values. ctx has a deadline.
	Values(ctx context.Context, q *Request, kind, partial string, m *grammar.Match) []grammar.Candidate
}

// Request is one command to run.
type Request struct {
	Line   string         // as received
	Match  *grammar.Match // nil while completing
	Role   Role
	Who    string        // of the Link: "uid 1000", "127.0.0.1:40112"
	Format filter.Format // of the reply
	Width  int           // columns of the terminal, 0 unknown
	Zone   *time.Location
	Now    time.Time // when it began
	Conn   *Conn     // for subscriptions
}

// Key is one line of control.keys.
type Key struct {
	Role   Role
	Secret string
}

// ServerOptions of NewServer; zero values are the protocol's limits.
type ServerOptions struct {
	Handler Handler
	Version string       // of bmp
	Station string       // port of the first -s
	Keys    func() []Key // read at each auth; may be nil
	// Console is the telnet editor, for `terminal interactive`: conn is the connection, ctl a pipe into this server that carries
	// the connection's role. A nil error closes the connection, ErrPlain goes back to lines. nil refuses the command.
	Console func(ctx context.Context, conn, ctl net.Conn) error
	Monitor func(ctx context.Context, e *Emit) // console lines of the station, for `terminal monitor`; returns when ctx is done; may be nil
	// Audit is called before each admin command with its line, secrets masked, and once more, with what it ended with, where
	// it failed. It may be nil.
	Audit  func(q *Request, line, failed string)
	Closed func(who, listener string, why error) // called at the end of each connection; why is nil after `exit` and end of input; may be nil

	Queue, EventQueue int           // 64 requests, 1000 events
	WriteStall        time.Duration // 30 s
	Idle              time.Duration // 15 min, of TCP
	AuthDelay         time.Duration // 1 s between failures
	CompleteTimeout   time.Duration // 1 s
}

func (o ServerOptions) filled() ServerOptions {
	if o.Queue == 0 {
		o.Queue = 64
	}
	if o.EventQueue == 0 {
		o.EventQueue = 1000
	}
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{{&o.WriteStall, 30 * time.Second}, {&o.Idle, 15 * time.Minute}, {&o.AuthDelay, time.Second}, {&o.CompleteTimeout, time.Second}} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	if o.Version == "" {
		o.Version = "0"
	}
	return o
}

// Link says what a connection is and may.
type Link struct {
	Role     Role   // at the start
	Who      string // for show sessions and events
	Listener string // where it came in, for show sessions
	TCP      bool   // telnet's IAC is understood, and idle connections are closed
	Token    bool   // `auth token` may be sent here: Unix socket, loopback, TLS
	NoAuth   bool   // auth is refused altogether
	Most     Role   // the most that auth gives here; zero: whatever the key says

	Login time.Duration // how long a connection may stay without any role; zero: as long as it is not idle
}

// Server runs the station's half. It does not listen.
type Server struct {
	o    ServerOptions
	held filter.Budget // of the sort and last of all connections

	mu         sync.Mutex
	conns      map[int]*Conn
	lastConn   int
	lastFollow int
	base       *grammar.Tree // of the handler
	tree       *grammar.Tree // with the connection's own words
	pipes      sync.WaitGroup
}

// NewServer makes a server; o.Handler must be set.
func NewServer(o ServerOptions) *Server {
	return &Server{o: o.filled(), conns: make(map[int]*Conn)}
}

// ownWords are the commands of a connection, and those of the shell, which are known so that they can be refused for what they are.
var ownWords = func() *grammar.Tree {
	commands := []grammar.Command{
		{ID: "exit", Pattern: "exit", Help: "close this connection"},
		{ID: "quit", Pattern: "quit", Help: "close this connection", Hidden: true},
		{ID: "terminal confirm", Pattern: "terminal confirm ONOFF", Help: "ask before what cannot be undone"},
		{ID: "terminal monitor", Pattern: "terminal monitor [ONOFF]", Help: "show the station's console lines as they happen"},
		{ID: "terminal format", Pattern: "terminal format (text|json|json-lines)", Help: "of replies"},
		{ID: "terminal width", Pattern: "terminal width N", Help: "columns of the terminal"},
		{ID: "terminal strict", Pattern: "terminal strict ONOFF", Help: "refuse abbreviations"},
		{ID: "terminal interactive", Pattern: "terminal interactive", Help: "a line editor with completion, over telnet"},
		{ID: "terminal plain", Pattern: "terminal plain", Help: "lines without an editor"},
	}
	for _, w := range []string{"attach", "detach", "on", "watch", "alias", "no alias", "find", "list", "source", "run!", "save", "append", "expect", "wait-until",
		"show history", "show terminal", "terminal length", "terminal timing", "terminal editor", "terminal color", "terminal timestamp"} {
		commands = append(commands, grammar.Command{ID: "shell " + w, Pattern: w + " [LINE]", Local: true, Hidden: true})
	}
	return grammar.Must(grammar.New(commands, map[string]string{"terminal": "settings of this connection"}))
}()

// commands is the handler's tree with the connection's own words.
func (s *Server) commands() (handler, all *grammar.Tree, err error) {
	base := s.o.Handler.Tree()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base != base {
		all, err := grammar.Merge(ownWords, base)
		if err != nil {
			return nil, nil, err
		}
		s.base, s.tree = base, all
	}
	return s.base, s.tree, nil
}

func (s *Server) nextSubscription() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastFollow++
	return s.lastFollow
}

// Serve runs one connection until its end, and closes it. ctx ends it with 604. The error says why it ended, nil after `exit`
// and end of input.
func (s *Server) Serve(ctx context.Context, conn net.Conn, l Link) error {
	return s.serve(ctx, conn, l, nil)
}

func (s *Server) serve(ctx context.Context, conn net.Conn, l Link, outer *Conn) error {
	c, err := s.newConn(ctx, conn, l, outer)
	if err != nil {
		conn.Close()
		return err
	}
	err = c.serve()
	s.mu.Lock()
	delete(s.conns, c.id)
	s.mu.Unlock()
	if s.o.Closed != nil && outer == nil {
		s.o.Closed(l.Who, l.Listener, err)
	}
	return err
}

// Connect serves a connection inside the process and returns the other end of it.
func (s *Server) Connect(ctx context.Context, l Link) net.Conn {
	here, there := net.Pipe()
	s.pipes.Add(1)
	go func() {
		defer s.pipes.Done()
		_ = s.Serve(ctx, here, l) // Closed tells
	}()
	return there
}

// Wait returns when the connections of Connect have ended.
func (s *Server) Wait() { s.pipes.Wait() }

// Refuse answers a connection that is not let in (429, 403) and closes it.
func Refuse(conn net.Conn, code int, text string) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // whether it is heard is its own affair
	_, _ = conn.Write(appendLine(nil, code, ' ', wire.Clean([]byte(text))))
	conn.Close()
}

// Console is one connection in Server.Consoles.
type Console struct {
	ID                     int
	Who, Listener, Product string // Product: of hello, "" without
	Role                   Role
	Since                  time.Time
	Idle                   time.Duration // since the last request
	Running                string        // command that runs now, secrets masked
	Requests               uint64
	Interactive            bool // with the station's editor
	Subscriptions          []Subscription
}

// Consoles lists the connections by ID, for `show sessions` and `show debug`.
func (s *Server) Consoles() []Console {
	s.mu.Lock()
	conns := make([]*Conn, 0, len(s.conns))
	for _, c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	slices.SortFunc(conns, func(a, b *Conn) int { return a.id - b.id })
	var list []Console
	for _, c := range conns {
		if x, ok := c.console(); ok {
			list = append(list, x)
		}
	}
	return list
}

// greeting is the first line.
func (c *Conn) greeting() string {
	o := &c.server.o
	g := fmt.Sprintf("bmp %s proto=%d station=%s role=%s", o.Version, Proto, o.Station, c.role)
	if c.nonce != "" {
		g += " nonce=" + c.nonce
	}
	return g
}

// grammarReply sends the handler's tree.
func (c *Conn) grammarReply(ctx context.Context) (int, string) {
	tree, _, err := c.server.commands()
	if err == nil {
		var raw []byte
		if raw, err = json.MarshalIndent(tree, "", ""); err == nil {
			for line := range strings.SplitSeq(string(raw), "\n") {
				if err := c.out.reply(ctx, CodeJSON, '-', []byte(line)); err != nil {
					return verdictOf(err)
				}
			}
			return CodeDone, fmt.Sprintf("%d commands", len(tree.Commands()))
		}
	}
	return verdictOf(err)
}
