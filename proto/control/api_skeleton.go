package control

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// Role of a connection.
type Role uint8

const (
	RoleNone  Role = iota // nothing until auth
	RoleView              // may show and debug
	RoleAdmin             // may everything
)

func (r Role) String() string { return "" }

// ParseRole reads none, view, admin.
func ParseRole(s string) (Role, error) { return 0, nil }

// Reply codes.
const (
	CodeRow, CodeHeading, CodeJSON, CodeCandidate, CodeHelp, CodeProgress, CodeWarning                        = 100, 101, 102, 103, 104, 105, 106
	CodeDone, CodeGreeting, CodeAuthenticated, CodeSubscribed, CodeNothing, CodeBye                           = 200, 201, 202, 203, 204, 205
	CodeChallenge, CodeConfirm                                                                                = 301, 310
	CodeFailed, CodeLogin, CodeForbidden, CodeNotFound, CodeTimeout, CodeConflict, CodeTooMany, CodeCancelled = 400, 401, 403, 404, 408, 409, 429, 499
	CodeUnknown, CodeIncomplete, CodeAmbiguous, CodeInvalid, CodeTooLong, CodeVersion, CodeBadBytes           = 500, 501, 502, 503, 504, 505, 506
	CodeEvent, CodeEventJSON, CodeDropped, CodeNotice, CodeStopping                                           = 600, 601, 602, 603, 604
)

// ExitStatus is the exit status of a command that ended with code (commands.md, Exit status).
func ExitStatus(code int) int { return 0 }

// Error is a verdict other than done. A handler returns it; Do hands it back.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an Error: Errorf(CodeNotFound, "No client '%s'", x).
func Errorf(code int, format string, a ...any) *Error { return nil }

// ErrorJSON is the error as the JSON that programs get on standard error.
func ErrorJSON(code int, text string) []byte { return nil }

// Handler runs commands. Its methods are called from the goroutines of many connections at once.
type Handler interface {
	// Tree is the station's command tree; asked once per connection.
	Tree() *grammar.Tree
	// Execute runs one matched command and writes to r. A nil error is 200, filter.ErrDone too; *Error and
	// *grammar.Error carry their code, a context error is 499 (408 for its deadline), anything else 400.
	Execute(ctx context.Context, q *Request, r *Reply) error
	// Values completes: see grammar.Env.Values. ctx has a deadline.
	Values(ctx context.Context, q *Request, kind, partial string, m *grammar.Match) []grammar.Candidate
}

// Request is one command to run.
type Request struct {
	Line   string         // as received
	Match  *grammar.Match // nil while completing
	Role   Role
	Who    string // "uid 1000", "127.0.0.1:40112"
	Format filter.Format
	Width  int            // columns of the terminal, 0 unknown
	Zone   *time.Location // never nil
	Now    time.Time      // when it was received
	Conn   *Conn          // for subscriptions
}

// Reply is where a handler writes. It is a filter.Output; rows go through the request's filters.
type Reply struct{ *filter.Writer }

// Done sets the text of the verdict, "N rows" otherwise.
func (r *Reply) Done(format string, a ...any) {}

// Subscribed makes the verdict 203.
func (r *Reply) Subscribed(id int) {}

// Progress (105) and Warn (106) are lines beside the data; they pass no filter.
func (r *Reply) Progress(text string) error { return nil }
func (r *Reply) Warn(text string) error     { return nil }

// Confirm asks (310) and reports whether the answer was yes; true at once where nobody is asked (`terminal confirm off`).
// When it returns false the handler returns ErrDeclined.
func (r *Reply) Confirm(question string) (bool, error) { return true, nil }

// ErrDeclined is what a handler returns when a confirmation was not given.
var ErrDeclined = &Error{CodeCancelled, "Not confirmed, nothing done"}

// Emit sends events of one subscription. It never blocks; what does not fit is dropped and counted (602).
type Emit struct{}

func (e *Emit) Text(text string)            {}
func (e *Emit) Event(text string, json any) {} // picks by hello events=
func (e *Emit) Dropped(n int)               {} // n events were lost before they came here
func (e *Emit) WantsJSON() bool             { return false }

// Subscription is something a connection follows.
type Subscription struct {
	ID            int
	What          string // "client 1 peer 10.0.0.2"
	Tag           any    // the handler's, to find it again
	Since         time.Time
	Sent, Dropped uint64
}

// Conn is one connection, as handlers see it.
type Conn struct{}

// ID is unique in the server.
func (c *Conn) ID() int { return 0 }

// Follow starts run in a goroutine of its own until the subscription or the connection ends; run returns when ctx is done.
// The limit of the role is CodeTooMany. The verdict of the request that starts one is r.Subscribed(id).
func (c *Conn) Follow(what string, tag any, run func(ctx context.Context, e *Emit)) (id int, err error) {
	return 0, nil
}

// Subscriptions lists them by ID.
func (c *Conn) Subscriptions() []Subscription { return nil }

// Unfollow ends those that match, waits for their goroutines, and says how many.
func (c *Conn) Unfollow(match func(Subscription) bool) int { return 0 }

// Key is one line of control.keys.
type Key struct {
	Role   Role
	Secret string
}

// ServerOptions of NewServer; zero values are the protocol's limits.
type ServerOptions struct {
	Handler Handler
	Version string                                              // of bmp
	Station string                                              // port of the first -s
	Keys    func() []Key                                        // read at each auth; may be nil
	Console func(ctx context.Context, conn, ctl net.Conn) error // telnet editor; nil: `terminal interactive` is refused. See Server
	Monitor func(ctx context.Context, e *Emit)                  // console lines of the station, for `terminal monitor`; may be nil
	Audit   func(q *Request, line string)                       // called for each admin command with its line, secrets masked; may be nil

	Queue, EventQueue int           // 64 requests, 1000 events
	WriteStall        time.Duration // 30 s
	Idle              time.Duration // 15 min, TCP only
	AuthDelay         time.Duration // 1 s between failures
	CompleteTimeout   time.Duration // 1 s
}

// Link says what a connection is allowed.
type Link struct {
	Role     Role   // at the start
	Who      string // for show sessions and events
	Listener string // where it came in, for show sessions
	TCP      bool   // idle consoles are closed, telnet's IAC is understood
	Token    bool   // `auth token` may be sent here: Unix socket, loopback, TLS
	NoAuth   bool   // auth is refused altogether
}

// Server runs the station's half.
type Server struct{}

func NewServer(o ServerOptions) *Server { return nil }

// Serve runs one connection until its end, and closes it. ctx ends it with 604.
func (s *Server) Serve(ctx context.Context, conn net.Conn, l Link) error { return nil }

// Connect serves a connection inside the process and returns the other end of it.
func (s *Server) Connect(ctx context.Context, l Link) net.Conn { return nil }

// Refuse answers a connection that is not let in (429, 403) and closes it.
func Refuse(conn net.Conn, code int, text string) {}

// Console is one connection in Server.Consoles.
type Console struct {
	ID                     int
	Who, Listener, Product string // Product: of hello, "" without
	Role                   Role
	Since                  time.Time
	Idle                   time.Duration
	Running                string // command running now, secrets masked
	Requests               uint64
	Interactive            bool
	Subscriptions          []Subscription
}

// Consoles lists the connections by ID: `show sessions`, `show debug`.
func (s *Server) Consoles() []Console { return nil }

// Target says where a station is: TARGET of commands.md.
type Target struct {
	Network string // "port" (a local station by its BMP port), "unix", "tcp", "tls", "nats"
	Address string
}

// ParseTarget reads PORT, HOST:PORT, unix:PATH, tls:HOST:PORT, nats://HOST[/STATION].
func ParseTarget(s string) (Target, error) { return Target{}, nil }

func (t Target) String() string { return "" }

// ClientOptions of Dial and NewClient.
type ClientOptions struct {
	Product   string // "bmp/0.1.0", for hello
	TLS       *tls.Config
	Event     func(Line) // called by the reading goroutine for every 6xx line, in order; must not block
	Dialer    *net.Dialer
	Timeout   time.Duration // for the connection and the greeting; 5 s
	MaxBuffer int           // bytes of a reply held for a row function that is slower than the station; 64 MiB
}

// Dial connects and reads the greeting. A "port" target is found through RunningStations, then on loopback at PORT+1.
func Dial(ctx context.Context, t Target, o ClientOptions) (*Client, error) { return nil, nil }

// NewClient takes a connection and reads the greeting.
func NewClient(ctx context.Context, conn net.Conn, o ClientOptions) (*Client, error) { return nil, nil }

// Client is the shell's half. Its methods may be called from any goroutine; requests are answered in the order sent.
type Client struct{}

// Greeting is what the station said first.
type Greeting struct {
	Product, Version string
	Proto            int
	Station          string
	Role             Role
	Nonce            string
}

func (c *Client) Greeting() Greeting { return Greeting{} }

// Line is one line of the station.
type Line struct {
	Code int
	Sep  byte // '-', ' ' or '+'
	Text string
}

// Verdict is the last line of a reply.
type Verdict struct {
	Code     int
	Text     string // without the place
	Col, Len int    // place in the request, 0 without
}

// Status is the exit status.
func (v Verdict) Status() int { return 0 }

// Err is nil for a good verdict (2xx), else an *Error.
func (v Verdict) Err() error { return nil }

// Do sends one line and hands every data line (1xx) to row, in the caller's goroutine; row may be nil, and an error of it
// cancels the request. When ctx ends the request is cancelled and the verdict is 499. err is a lost connection (*LostError).
func (c *Client) Do(ctx context.Context, line string, row func(Line) error) (Verdict, error) {
	return Verdict{}, nil
}

// DoConfirm is Do with an answer to 310.
func (c *Client) DoConfirm(ctx context.Context, line string, row func(Line) error, confirm func(question string) bool) (Verdict, error) {
	return Verdict{}, nil
}

// Cancel ends the running and the queued requests. It does not wait.
func (c *Client) Cancel() error { return nil }

// Hello is the optional first request.
type Hello struct {
	Format filter.Format
	Width  int
	Zone   string // IANA name
	Events string // text or json
}

func (c *Client) Hello(ctx context.Context, h Hello) (Verdict, error)      { return Verdict{}, nil }
func (c *Client) Auth(ctx context.Context, secret string) (Verdict, error) { return Verdict{}, nil } // by hmac; sets Role
func (c *Client) Role() Role                                               { return 0 }
func (c *Client) Grammar(ctx context.Context) (*grammar.Tree, error)       { return nil, nil }
func (c *Client) Complete(ctx context.Context, line string) (grammar.Completion, error) {
	return grammar.Completion{}, nil
}
func (c *Client) Help(ctx context.Context, line string) ([]grammar.Item, error) { return nil, nil }
func (c *Client) Close() error                                                  { return nil }

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return nil }
func (c *Client) Err() error            { return nil }

// LostError is a connection that could not be made or has gone: exit status 3.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "" }
func (e *LostError) Unwrap() error { return e.Err }
