package shell

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// link is one station that the shell is attached to.
type link struct {
	name     string // what `on` and the prompt call it
	station  Station
	dial     func(ctx context.Context, event func(control.Line)) (*control.Client, error)
	home     bool // the one the shell began with
	readOnly bool // attached `ro`
	again    bool // dialled again when it goes away
	lazy     bool // attached to also where it cannot be reached: it may come

	shell *Shell
	stop  context.CancelFunc
	ended chan struct{} // closed when the goroutine that keeps it has ended
	gone  chan struct{} // closed when the connection is lost and not made again
	never error         // why it was never reached; nil: it was, or may yet be

	mu       sync.Mutex
	client   *control.Client // nil while away
	tree     *grammar.Tree   // the station's, merged with the shell's words
	rtt      time.Duration   // of the quickest request
	debugs   []int           // subscriptions, without that of the monitor
	monitor  int             // subscription of `terminal monitor`, 0 none
	values   valueCache
	diverted func(control.Line) // the events of a debug that is followed go here; nil: there is none
}

// How long a station that went away is waited for between two tries.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// attach connects a link and makes it the current one.
func (s *Shell) attach(ctx context.Context, l *link) error {
	l.shell, l.gone, l.ended = s, make(chan struct{}), make(chan struct{})
	if l.name == "" {
		l.name = l.station.Name
	}
	if l.dial == nil {
		l.dial = l.station.Dial
	}
	client, err := l.connect(ctx)
	if err != nil && (!l.lazy || ctx.Err() != nil) {
		return err
	}
	keep, stop := context.WithCancel(context.Background())
	l.stop = stop
	s.mu.Lock()
	s.links = append(s.links, l)
	if err == nil {
		s.current = l
	}
	s.mu.Unlock()
	switch {
	case err == nil:
		go l.keep(keep, client)
	case l.again:
		go l.await(keep)
	default:
		l.never = err
		close(l.gone)
		close(l.ended)
	}
	return err
}

// await keeps a link to a station that could not be reached at first.
func (l *link) await(ctx context.Context) {
	client := l.retry(ctx)
	if client == nil {
		close(l.ended)
		return
	}
	l.say(fmt.Sprintf("%% Connected to %s", l.station.Name))
	l.shell.wake()
	l.keep(ctx, client)
}

// connect makes a connection and the settings of the shell on it.
func (l *link) connect(ctx context.Context) (*control.Client, error) {
	client, err := l.dial(ctx, l.event)
	if err != nil {
		return nil, asError(err)
	}
	if err := l.begin(ctx, client); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

func (l *link) begin(ctx context.Context, client *control.Client) error {
	s := l.shell
	set := s.settings()
	h := control.Hello{Zone: zoneName(), Format: set.format, Width: s.width(), IDs: true}
	if set.format != filter.Text {
		h.Events = "json"
	}
	asked := time.Now()
	v, err := client.Hello(ctx, h)
	rtt := time.Since(asked)
	if err != nil {
		return lost(l.station, err)
	} else if v.Err() != nil {
		return asError(v.Err())
	}
	if set.confirm {
		if _, err := client.Do(ctx, "terminal confirm on", nil); err != nil {
			return lost(l.station, err)
		}
	}
	monitor := 0
	if set.monitor {
		if v, err := client.Do(ctx, "terminal monitor on", nil); err != nil {
			return lost(l.station, err)
		} else {
			monitor = subscription(v)
		}
	}
	tree, err := client.Grammar(ctx)
	var e *control.Error
	switch {
	case errors.As(err, &e) && e.Code == control.CodeLogin:
		tree = nil // until auth
	case err != nil:
		return lost(l.station, err)
	default:
		if tree, err = grammar.Merge(tree, s.own); err != nil {
			return errorf(control.CodeFailed, "%v", err)
		}
		tree = tree.WithFilters(filter.Grammar())
	}
	l.mu.Lock()
	l.client, l.tree, l.rtt, l.debugs, l.monitor = client, tree, rtt, nil, monitor
	l.mu.Unlock()
	return nil
}

// keep waits for the connection to end and makes it again, until the link is
// closed.
func (l *link) keep(ctx context.Context, client *control.Client) {
	defer close(l.ended)
	for {
		select {
		case <-ctx.Done():
			client.Close()
			return
		case <-client.Done():
		}
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		debugs := len(l.debugs)
		l.client, l.debugs, l.monitor = nil, nil, 0
		l.mu.Unlock()
		if !l.again {
			close(l.gone)
			l.shell.wake()
			return
		}
		text := fmt.Sprintf("%% Connection to %s lost, trying again", l.station.Name)
		if debugs > 0 {
			text += fmt.Sprintf(" (%s ended with it)", plural(debugs, "debug"))
		}
		l.say(text)
		l.shell.wake()
		if client = l.retry(ctx); client == nil {
			return
		}
		l.say(fmt.Sprintf("%% Connected to %s again", l.station.Name))
		l.shell.wake()
	}
}

// retry dials until the station answers, or ctx ends.
func (l *link) retry(ctx context.Context) *control.Client {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		// Many shells on one station do not come back at the same instant.
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return nil
		}
		// The station may have come back elsewhere: a port leads to its socket.
		if l.station.Port != 0 {
			if found, err := findPort(l.station.Port); err == nil {
				l.dial = found.Dial
			}
		}
		client, err := l.connect(ctx)
		if err == nil {
			return client
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// close ends the connection and waits for the goroutine that keeps it.
func (l *link) close() {
	l.stop()
	if c := l.connected(); c != nil {
		c.Close()
	}
	<-l.ended
}

// connected is the connection; nil while the station is away.
func (l *link) connected() *control.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client
}

func (l *link) grammar() *grammar.Tree {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree
}

func (l *link) following() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.debugs)
}

// valueTime is how long live values may take: three round trips, and never less
// than what nobody notices.
func (l *link) valueTime() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(150*time.Millisecond, 3*l.rtt)
}

// lostError is the answer to a command while the station is away.
func (l *link) lostError() *control.Error {
	if l.never != nil {
		return asError(l.never)
	}
	if l.again {
		return errorf(codeNoStation, "No connection to %s (trying again)", l.station.Name)
	}
	return errorf(codeNoStation, "Connection to %s lost", l.station.Name)
}

// event takes what the station says by itself. It is called by the connection's
// reading goroutine and does not block. While a debug is followed on this
// connection, what belongs to no subscription known before it is of that debug.
func (l *link) event(e control.Line) {
	var id int
	id, e.Text = control.SplitID(e.Text)
	l.mu.Lock()
	take := l.diverted
	known := id != 0 && (id == l.monitor || slices.Contains(l.debugs, id))
	l.mu.Unlock()
	if take != nil && !known {
		take(e)
		return
	}
	switch e.Code {
	case control.CodeEvent, control.CodeEventJSON:
		l.say(e.Text)
	default:
		l.say("% " + eventText(e))
	}
}

// divert lets the events go to take, which must not block; nil ends it.
func (l *link) divert(take func(control.Line)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diverted = take
}

// say shows a line above the one being typed. Where several stations may
// speak, it says which one does.
func (l *link) say(text string) {
	s := l.shell
	s.mu.Lock()
	ed, several, watching := s.editor, len(s.links) > 1, s.watching
	stamp := s.set.timestamp
	color := s.set.colored()
	s.mu.Unlock()
	if several {
		text = "[" + l.name + "] " + text
	}
	if stamp {
		text = time.Now().Format("15:04:05.000 ") + text
	}
	if color {
		text = paint(text)
	}
	if watching != nil {
		watching(text)
		return
	}
	fmt.Fprintln(ed.Async(), text)
}

// subscription is the ID in `Subscribed id=7`, 0 without one.
func subscription(v control.Verdict) int {
	id := 0
	if v.Code == control.CodeSubscribed {
		_, text, _ := strings.Cut(v.Text, "id=")
		fmt.Sscan(text, &id)
	}
	return id
}

// followed keeps count of what the connection follows, after a command that may
// have changed it.
func (l *link) followed(ctx context.Context, words []string, v control.Verdict) {
	switch {
	case v.Code == control.CodeSubscribed:
		id := subscription(v)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(words) > 0 && words[0] == "terminal" {
			l.monitor = id
		} else if id != 0 {
			l.debugs = append(l.debugs, id)
		}
	case v.Code == control.CodeDone && len(words) > 0 && words[0] == "undebug":
		client := l.connected()
		if client == nil {
			return
		}
		// What is left, as the station sees it.
		left, err := client.Complete(ctx, "undebug ")
		if err != nil {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.debugs = slices.DeleteFunc(l.debugs, func(id int) bool {
			return !slices.ContainsFunc(left.Candidates, func(c grammar.Candidate) bool { return c.Text == fmt.Sprint(id) })
		})
		if !slices.ContainsFunc(left.Candidates, func(c grammar.Candidate) bool { return c.Text == fmt.Sprint(l.monitor) }) {
			l.monitor = 0
		}
	case v.Code == control.CodeDone && slices.Equal(words, []string{"terminal", "monitor"}):
		l.mu.Lock()
		defer l.mu.Unlock()
		l.monitor = 0
	}
}
