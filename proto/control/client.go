package control

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// ClientOptions of Dial and NewClient; the zero value works.
type ClientOptions struct {
	Product string // "bmp/0.1.0", for hello
	TLS     *tls.Config
	// Event is called by the reading goroutine for every 6xx line, in order. It must not block and must not call the client.
	Event     func(Line)
	Dialer    *net.Dialer
	Timeout   time.Duration // for the connection and its greeting; 5 s
	MaxBuffer int           // bytes of a reply held for a row function slower than the station; 64 MiB
}

func (o ClientOptions) filled() ClientOptions {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxBuffer == 0 {
		o.MaxBuffer = 64 << 20
	}
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{}
	}
	return o
}

// maxReplyLine bounds one line of the station.
const maxReplyLine = 64 << 20

// cancelGrace is how long a cancelled request may take to end before Do returns without its verdict.
const cancelGrace = 2 * time.Second

// LostError is a connection that could not be made or has gone: exit status 3.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "connection lost: " + e.Err.Error() }
func (e *LostError) Unwrap() error { return e.Err }

// Client is the shell's half. Its methods may be called from any goroutine; one request runs at a time, the others wait.
// A row function that is slow is only held against the station when MaxBuffer is full: then nothing is read, events
// neither, and after 30 s of that the station closes the connection.
type Client struct {
	o    ClientOptions
	conn net.Conn
	r    *bufio.Reader
	turn chan struct{} // holds one token: the right to ask

	writing sync.Mutex

	mu       sync.Mutex
	changed  sync.Cond
	greeting Greeting
	role     Role
	call     *call // that runs
	err      error
	done     chan struct{}
}

// call is a request under way.
type call struct {
	lines     []Line
	bytes     int
	begun     string // lines of a verdict that goes on
	verdict   *Verdict
	abandoned bool // nobody waits any more: the reader gives the turn back
}

// Greeting is what the station said first.
type Greeting struct {
	Product, Version string
	Proto            int
	Station          string // port of its first -s
	Role             Role
	Nonce            string // for auth; "" where there is none
}

// NewClient takes a connection and reads the greeting. A station that refuses the connection gives its *Error (429, 403); any other
// error is a *LostError. The connection is closed with the client, or on error.
func NewClient(ctx context.Context, conn net.Conn, o ClientOptions) (*Client, error) {
	c := &Client{o: o.filled(), conn: conn, r: bufio.NewReaderSize(conn, 64<<10), turn: make(chan struct{}, 1), done: make(chan struct{})}
	c.changed.L = &c.mu
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	_ = conn.SetReadDeadline(time.Now().Add(c.o.Timeout)) // an error shows at the read
	l, err := c.readLine()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil && l.Code != CodeGreeting {
		conn.Close()
		if l.Code/100 == 4 || l.Code/100 == 5 {
			return nil, &Error{l.Code, l.Text}
		}
		return nil, &LostError{fmt.Errorf("not a station: it said %d %s", l.Code, l.Text)}
	}
	if err == nil {
		err = conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, &LostError{err}
	}
	c.greeting = parseGreeting(l.Text)
	c.role = c.greeting.Role
	c.turn <- struct{}{}
	go c.read()
	return c, nil
}

func parseGreeting(text string) Greeting {
	var g Greeting
	fields := strings.Fields(text)
	for i, f := range fields {
		key, value, pair := strings.Cut(f, "=")
		switch {
		case !pair && i == 0:
			g.Product = f
		case !pair && i == 1:
			g.Version = f
		case key == "proto":
			g.Proto, _ = strconv.Atoi(value)
		case key == "station":
			g.Station = value
		case key == "role":
			g.Role, _ = ParseRole(value)
		case key == "nonce":
			g.Nonce = value
		}
	}
	return g
}

// readLine reads one line of the station.
func (c *Client) readLine() (Line, error) {
	b, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := append([]byte(nil), b...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > maxReplyLine {
				return Line{}, fmt.Errorf("a line longer than %d bytes", maxReplyLine)
			}
			b, err = c.r.ReadSlice('\n')
			long = append(long, b...)
		}
		b = long
	}
	if err != nil {
		return Line{}, err
	}
	return parseLine(bytes.TrimRight(b, "\r\n"))
}

// read takes lines apart until the connection ends.
func (c *Client) read() {
	for {
		l, err := c.readLine()
		if err != nil {
			c.lose(err)
			return
		}
		if l.Sep == '+' {
			if c.o.Event != nil {
				c.o.Event(l)
			}
			continue
		}
		c.mu.Lock()
		k := c.call
		if k == nil {
			c.mu.Unlock()
			c.lose(fmt.Errorf("a reply to nothing: %d %s", l.Code, l.Text))
			return
		}
		if l.Sep == '-' && l.Code >= CodeFailed && len(k.begun)+len(l.Text) < maxReplyLine {
			k.begun += l.Text + "\n" // of a verdict of several lines
		} else if l.Sep == ' ' {
			l.Text = k.begun + l.Text
			v := newVerdict(l)
			k.verdict = &v
			c.call = nil
			if k.abandoned {
				c.turn <- struct{}{}
			}
		} else if !k.abandoned {
			for k.bytes > c.o.MaxBuffer && !k.abandoned && c.err == nil {
				c.changed.Wait()
			}
			k.lines = append(k.lines, l)
			k.bytes += len(l.Text) + 40
		}
		c.changed.Broadcast()
		c.mu.Unlock()
	}
}

// lose ends the client.
func (c *Client) lose(err error) {
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = &LostError{err}
		close(c.done)
	}
	c.changed.Broadcast()
}

// Greeting is what the station said first.
func (c *Client) Greeting() Greeting {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.greeting
}

// Role is the role of the connection, which auth raises.
func (c *Client) Role() Role {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.role
}

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection stands, else a *LostError.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection.
func (c *Client) Close() error {
	c.lose(net.ErrClosed)
	return nil
}

func (c *Client) send(line string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	_, err := c.conn.Write([]byte(line + "\r\n"))
	return err
}

// Cancel ends the running request. It does not wait.
func (c *Client) Cancel() error { return c.send("cancel") }

// Do sends one line and hands every data line (1xx) to row, in the caller's goroutine; row may be nil, and an error of it cancels
// the request and is returned. When ctx ends the request is cancelled and the verdict is 499. Any other error is a lost connection
// (*LostError). Asked for a confirmation, it declines.
func (c *Client) Do(ctx context.Context, line string, row func(Line) error) (Verdict, error) {
	return c.DoConfirm(ctx, line, row, nil)
}

// DoConfirm is Do with an answer to 310, for which confirm is called in the caller's goroutine.
func (c *Client) DoConfirm(ctx context.Context, line string, row func(Line) error, confirm func(question string) bool) (Verdict, error) {
	if strings.ContainsAny(line, "\r\n") {
		return Verdict{Code: CodeBadBytes, Text: "Bad bytes: a line break in the command", Col: strings.IndexAny(line, "\r\n") + 1, Len: 1}, nil
	}
	if strings.TrimSpace(line) == "cancel" {
		return Verdict{Code: CodeDone, Text: "0 rows"}, c.Cancel() // it has no reply
	}
	if ctx.Err() != nil {
		return Verdict{Code: CodeCancelled, Text: "Cancelled"}, nil
	}
	select {
	case <-c.turn:
	case <-c.done:
		return Verdict{}, c.Err()
	case <-ctx.Done():
		return Verdict{Code: CodeCancelled, Text: "Cancelled"}, nil
	}
	v, kept, err := c.exchange(ctx, line, row)
	if v.Code == CodeConfirm && err == nil && !kept {
		answer := "no"
		if confirm != nil && confirm(v.Text) {
			answer = "yes"
		}
		v, kept, err = c.exchange(ctx, answer, row)
	}
	if !kept {
		c.turn <- struct{}{}
	}
	return v, err
}

// exchange sends a line and takes its reply. kept: the reply is still to come, and the reader gives the turn back then.
func (c *Client) exchange(ctx context.Context, line string, row func(Line) error) (v Verdict, kept bool, err error) {
	k := &call{}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return v, false, c.err
	}
	c.call = k
	c.mu.Unlock()
	if err := c.send(line); err != nil {
		c.lose(err)
		return v, false, c.Err()
	}
	var late *time.Timer
	overdue := false
	cancel := sync.OnceFunc(func() {
		_ = c.Cancel() // a connection that fails here is found by the reader
		late = time.AfterFunc(cancelGrace, func() {
			c.mu.Lock()
			overdue = true
			c.changed.Broadcast()
			c.mu.Unlock()
		})
	})
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		c.changed.Broadcast()
		c.mu.Unlock()
	})
	defer func() {
		stop()
		if late != nil {
			late.Stop()
		}
	}()
	var failed error
	for {
		c.mu.Lock()
		for len(k.lines) == 0 && k.verdict == nil && c.err == nil && !overdue && (ctx.Err() == nil || late != nil) {
			c.changed.Wait()
		}
		lines, verdict, lost, tooLate := k.lines, k.verdict, c.err, overdue
		k.lines, k.bytes = nil, 0
		if tooLate && verdict == nil && lost == nil {
			k.abandoned, kept = true, true
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		for _, l := range lines {
			if failed != nil || ctx.Err() != nil || row == nil {
				break
			}
			if failed = row(l); failed != nil {
				break
			}
		}
		switch {
		case verdict != nil:
			return *verdict, false, failed
		case lost != nil:
			return v, false, lost
		case kept:
			return Verdict{Code: CodeCancelled, Text: "Cancelled"}, true, failed
		case failed != nil || ctx.Err() != nil:
			cancel()
		}
	}
}

// Hello is the optional first request: what a program wants by default.
type Hello struct {
	Format filter.Format
	Width  int    // columns, 0 unknown
	Zone   string // IANA name; "" is the station's zone
	Events string // "text" or "json"; "" is text
	IDs    bool   // events begin with the ID of their subscription, as SplitID takes it off
}

// Hello sends it.
func (c *Client) Hello(ctx context.Context, h Hello) (Verdict, error) {
	line := "hello " + strconv.Itoa(Proto)
	if c.o.Product != "" {
		line += " client=" + c.o.Product
	}
	for name, f := range formats {
		if f == h.Format {
			line += " format=" + name
		}
	}
	if h.Width > 0 {
		line += " width=" + strconv.Itoa(h.Width)
	}
	if h.Zone != "" {
		line += " tz=" + h.Zone
	}
	if h.Events != "" {
		line += " events=" + h.Events
	}
	if h.IDs {
		line += " ids=on"
	}
	return c.Do(ctx, line, nil)
}

// SplitID takes the ID of its subscription from the text of an event: `id=7 text`, where Hello has asked for it. An event of the
// connection itself, like what was dropped of all, has none: 0.
func SplitID(text string) (id int, rest string) {
	word, rest, ok := strings.Cut(text, " ")
	number, is := strings.CutPrefix(word, "id=")
	n, err := strconv.ParseUint(number, 10, 31)
	if !ok || !is || err != nil {
		return 0, text
	}
	return int(n), rest
}

// Auth raises the role by a secret, which does not cross the connection.
func (c *Client) Auth(ctx context.Context, secret string) (Verdict, error) {
	nonce := c.Greeting().Nonce
	if nonce == "" {
		v, err := c.Do(ctx, "auth", nil)
		if err != nil || v.Code != CodeChallenge {
			return v, err
		}
		nonce = nonceOf(v.Text)
	}
	v, err := c.Do(ctx, "auth hmac "+authCode(secret, nonce), nil)
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeting.Nonce = nonceOf(v.Text)
	if _, role, ok := strings.Cut(v.Text, "role="); ok && v.Code == CodeAuthenticated {
		name, _, _ := strings.Cut(role, " ")
		if c.role, err = ParseRole(name); err != nil {
			return v, err
		}
	}
	return v, nil
}

func nonceOf(text string) string {
	_, nonce, _ := strings.Cut(text, "nonce=")
	return nonce
}

// Grammar fetches the station's command tree.
func (c *Client) Grammar(ctx context.Context) (*grammar.Tree, error) {
	var b bytes.Buffer
	v, err := c.Do(ctx, "grammar", func(l Line) error {
		b.WriteString(l.Text)
		return nil
	})
	if err == nil {
		err = v.Err()
	}
	if err != nil {
		return nil, err
	}
	t := new(grammar.Tree)
	if err := json.Unmarshal(b.Bytes(), t); err != nil {
		return nil, err
	}
	return t, nil
}

// Complete asks what may stand at the end of line.
func (c *Client) Complete(ctx context.Context, line string) (grammar.Completion, error) {
	var x grammar.Completion
	v, err := c.Do(ctx, "complete "+line, func(l Line) error {
		text, help, _ := strings.Cut(l.Text, "\t")
		x.Candidates = append(x.Candidates, grammar.Candidate{Text: text, Help: help})
		return nil
	})
	if err == nil {
		err = v.Err()
	}
	if err != nil {
		return x, err
	}
	place, prefix, _ := strings.Cut(v.Text, " prefix=")
	x.Prefix = prefix
	if n, err := fmt.Sscanf(place, "replace=%d+%d", &x.Col, &x.Len); n != 2 || x.Col < 1 || x.Len < 0 || x.Col-1+x.Len > len(line) {
		return grammar.Completion{}, fmt.Errorf("reply to complete: %q: %v", v.Text, err)
	}
	return x, nil
}

// Help asks what `?` shows at the end of line.
func (c *Client) Help(ctx context.Context, line string) ([]grammar.Item, error) {
	var list []grammar.Item
	v, err := c.Do(ctx, "help "+line, func(l Line) error {
		f := strings.SplitN(l.Text, "\t", 3)
		x := grammar.Item{Word: f[0]}
		if len(f) > 1 {
			x.Help = f[1]
		}
		if len(f) > 2 {
			x.Next = f[2]
		}
		list = append(list, x)
		return nil
	})
	if err == nil {
		err = v.Err()
	}
	return list, err
}
