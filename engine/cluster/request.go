package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"bmp/proto/carrier"
	"bmp/proto/control"
)

// Bounds of the reply to a single request.
const (
	maxReply   = 16 << 20 // bytes
	replyChunk = 32 << 10 // bytes of a message, about
	flushEvery = 8        // messages: then the server must have taken them
)

// request answers one line.
func (m *Member) request(req micro.Request) {
	if req.Reply() == "" {
		return
	}
	r := &reply{m: m, to: req.Reply()}
	line := strings.TrimRight(string(req.Data()), "\r\n")
	if strings.ContainsAny(line, "\r\n") {
		r.finish(control.CodeBadBytes, "@1+0 Bad bytes: one line is one request")
		return
	}
	select {
	case m.requests <- struct{}{}:
	default:
		r.finish(control.CodeTooMany, fmt.Sprintf("Too many requests (%d)", maxRequests))
		return
	}
	who := "nats"
	if w := req.Headers().Get(carrier.HeaderWho); w != "" {
		who += " " + carrier.Frame{Who: w}.Header()[carrier.HeaderWho][0]
	}
	m.running.Go(func() {
		defer func() { <-m.requests }()
		r.run(line, who)
	})
}

// reply is the reply to a single request.
type reply struct {
	m     *Member
	to    string
	own   string // whatever comes there cancels
	chunk []byte
	bytes int // sent
	parts int
}

// errCut ends a reply that has become too long.
var errCut = errors.New("reply cut")

// errGone ends a reply that cannot be sent.
var errGone = errors.New("not sent")

// run asks a console of the station, as anybody would.
func (r *reply) run(line, who string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.own = carrier.ConsoleSubject(r.m.o.Station) + "." + newID()
	sub, err := r.m.nc.Subscribe(r.own, func(*nats.Msg) { cancel() })
	if err != nil {
		return // without a connection there is nobody to answer
	}
	defer sub.Unsubscribe()
	here, there := net.Pipe()
	if !r.m.hand(&Console{Conn: there, Who: who}) {
		here.Close()
		r.finish(control.CodeFailed, "Station stops")
		return
	}
	c, err := control.NewClient(ctx, here, control.ClientOptions{MaxBuffer: 1 << 20})
	var refused *control.Error
	switch {
	case errors.As(err, &refused):
		r.finish(refused.Code, refused.Text)
		return
	case err != nil:
		r.finish(control.CodeFailed, "Station stops")
		return
	}
	defer c.Close()
	v, err := c.Do(ctx, line, func(l control.Line) error {
		if r.bytes+len(r.chunk)+len(l.Text) > maxReply {
			return errCut
		}
		r.chunk = fmt.Appendf(r.chunk, "%03d-%s\r\n", l.Code, l.Text)
		if len(r.chunk) >= replyChunk && !r.send(0) {
			return errGone
		}
		return nil
	})
	console := fmt.Sprintf("(bmp -t nats://HOST/%s)", r.m.o.Station)
	switch {
	case errors.Is(err, errGone):
	case errors.Is(err, errCut):
		r.finish(control.CodeFailed, fmt.Sprintf("More than %d MiB: ask through a console %s", maxReply>>20, console))
	case err != nil:
		r.finish(control.CodeFailed, "Station stops")
	case v.Code == control.CodeSubscribed:
		r.finish(control.CodeForbidden, "What follows something needs a console "+console)
	default:
		if v.Col > 0 {
			v.Text = fmt.Sprintf("@%d+%d %s", v.Col, v.Len, v.Text)
		}
		r.finish(v.Code, v.Text)
	}
}

// finish sends the last line of the reply.
func (r *reply) finish(code int, text string) {
	// A verdict of several lines has its code on each.
	for head, rest, more := strings.Cut(text, "\n"); more; head, rest, more = strings.Cut(text, "\n") {
		r.chunk = fmt.Appendf(r.chunk, "%03d-%s\r\n", code, head)
		text = rest
	}
	r.chunk = fmt.Appendf(r.chunk, "%03d %s\r\n", code, text)
	r.send(code)
}

// send sends the lines that wait. A requester that reads slowly is the server's to drop; the server itself is waited for.
func (r *reply) send(code int) bool {
	msg := &nats.Msg{Subject: r.to, Data: r.chunk, Header: nats.Header{}}
	if r.own != "" {
		msg.Reply = r.own
	}
	if code != 0 {
		msg.Header.Set(carrier.HeaderCode, strconv.Itoa(code))
	}
	if r.m.nc.PublishMsg(msg) != nil {
		return false
	}
	r.bytes += len(r.chunk)
	r.chunk = r.chunk[:0]
	if r.parts++; r.parts%flushEvery == 0 {
		return r.m.nc.FlushTimeout(10*time.Second) == nil
	}
	return true
}
