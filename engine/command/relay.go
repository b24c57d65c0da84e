package command

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"

	"bmp/engine"
	"bmp/engine/client"
	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

func relayTo(ctx context.Context, c *call) error {
	to, _ := c.m.AddrPort("addrport")
	if to.Port() == 0 {
		return c.invalid("addrport", "a port above zero")
	}
	who := c.m.Value("client")
	of := "all clients"
	if who != "" {
		cl, err := c.client()
		var e *control.Error
		switch {
		case err == nil:
			of = called(cl)
		case errors.As(err, &e) && e.Code == control.CodeNotFound:
			of = fmt.Sprintf("client '%s', when it comes", who)
		default:
			return err
		}
	}
	err := c.station.Relay(to, who)
	switch {
	case errors.Is(err, engine.ErrRelayThere), errors.Is(err, engine.ErrRelaySelf):
		return control.Errorf(control.CodeConflict, "%s %v", to, err)
	case errors.Is(err, engine.ErrRelayMany):
		return control.Errorf(control.CodeTooMany, "Not relayed to %s: %v", to, err)
	case errors.Is(err, net.ErrClosed):
		return control.Errorf(control.CodeFailed, "The station stops")
	case err != nil:
		return err
	}
	c.out.Done("Relaying to %s what arrives of %s", to, of)
	return nil
}

func noRelay(ctx context.Context, c *call) error {
	to, _ := c.m.AddrPort("addrport")
	there := false
	for _, r := range c.station.RelayRules() {
		there = there || r.To == to
	}
	if !there {
		return control.Errorf(control.CodeNotFound, "No relay to %s", to)
	}
	if err := c.confirm("Stop relaying to " + to.String() + "?"); err != nil {
		return err
	}
	n, err := c.station.NoRelay(to)
	if err != nil {
		return control.Errorf(control.CodeNotFound, "No relay to %s", to)
	}
	c.out.Done("No longer relaying to %s; %s closed", to, plural(n, "connection"))
	return nil
}

// relayLine is a relay as the command that makes it.
func relayLine(r engine.RelayRule) string {
	line := "relay " + r.To.String()
	if r.Who != "" {
		line += " client " + grammar.Quote(r.Who)
	}
	return line
}

type relayJSON struct {
	Collector string `json:"collector"`
	For       any    `json:"for"` // client X of the command; null: all
	Client    any    `json:"client"`
	Name      any    `json:"client_name"`
	State     string `json:"state"` // up, connecting, waiting
	Since     any    `json:"since"`
	Messages  uint64 `json:"messages"`
	Bytes     uint64 `json:"bytes"`
	Sessions  uint64 `json:"sessions"`
	Late      uint64 `json:"late_sessions"` // of them, such as began with what the live tables said
	Overruns  uint64 `json:"overruns"`
	Left      uint64 `json:"routes_left_out"`
	Queued    int64  `json:"queued_bytes"`
	Failure   any    `json:"last_failure"`
}

var relayColumns = []string{"Collector", "Client", "Name", "State", "Since", "Messages", "Data", "Sessions", "Overruns", "Waiting", "Last failure"}

func showRelays(ctx context.Context, c *call) error {
	err := c.out.Columns(filter.Column{Name: "Collector", Width: 21}, filter.Column{Name: "Client", Width: 6, Right: true},
		filter.Column{Name: "Name", Key: "client_name", Width: 16}, filter.Column{Name: "State", Width: 10},
		filter.Column{Name: "Since", Width: 9, Right: true}, filter.Column{Name: "Messages", Width: 8, Right: true},
		filter.Column{Name: "Data", Key: "bytes", Width: 7, Right: true}, filter.Column{Name: "Sessions", Width: 8, Right: true},
		filter.Column{Name: "Overruns", Width: 8, Right: true}, filter.Column{Name: "Waiting", Key: "queued_bytes", Width: 7, Right: true},
		filter.Column{Name: "Last failure", Key: "last_failure"})
	if err != nil {
		return err
	}
	for _, r := range c.station.Relays() {
		j := relayJSON{Collector: r.To.String(), For: jsonString(r.Who), State: string(r.State), Since: c.time(r.Since), Messages: r.Messages,
			Bytes: r.Bytes, Sessions: r.Sessions, Late: r.Late, Overruns: r.Overruns, Left: r.Left, Queued: r.Queued, Failure: jsonString(r.Failure)}
		id, name := "-", "-"
		if r.Who != "" {
			name = r.Who
		}
		if r.Client != nil {
			n := r.Client.Name()
			j.Client, j.Name = r.Client.ID(), jsonString(n)
			id, name = fmt.Sprint(r.Client.ID()), dash(n)
		}
		err := c.out.Record(filter.Record{JSON: j, Cells: []string{j.Collector, id, name, j.State, c.age(r.Since), formatCount(r.Messages, 1),
			formatSize(r.Bytes, 1), formatCount(r.Sessions, 1), formatCount(r.Overruns, 1), formatSize(uint64(r.Queued), 1), dash(r.Failure)}})
		if err != nil {
			return err
		}
	}
	return nil
}

// feedSession is what `feed` says of a session when its messages begin.
type feedSession struct {
	Feed   int    `json:"feed"` // by which its messages are told from those of others, and its end
	Client uint32 `json:"client"`
	Name   string `json:"name"`
	Remote string `json:"remote"`
	Local  string `json:"local"`
	Late   bool   `json:"late"` // the session was there: what comes first are its peers and tables
}

// feed sends what arrives, as the bytes it came in, until it is cancelled. It is what `bmp record` asks for. That there is no session
// yet is a warning: its client is waited for. A client that cannot come any more is an error. A line is
//
//	begin {"feed":1,"client":1,...}       of a session: there, or begun
//	data FEED BASE64                      messages, as client.EachFed takes them apart
//	end FEED REASON                       the session is over
//	lost FEED                             the console reads too slowly: what follows of the client is another feed
func feed(ctx context.Context, c *call) error {
	who := c.m.Value("client")
	if who != "" {
		_, err := c.client()
		var e *control.Error
		missing := errors.As(err, &e) && e.Code == control.CodeNotFound
		if id, bad := strconv.ParseUint(who, 10, 32); err != nil && (!missing || bad == nil && c.station.Gone(uint32(id))) {
			return err
		}
	}
	f := c.station.Follow(who)
	defer f.Close()
	running := make(map[*client.Feed]int)
	defer func() {
		for x := range running {
			x.Close()
		}
	}()
	next := 0
	for first := true; ; first = false {
		fresh := f.Feeds()
		if first && len(fresh) == 0 {
			text := "Waiting for a client"
			if who != "" {
				text = "Waiting for client " + who
			}
			if err := c.out.Warn(text); err != nil {
				return err
			}
		}
		for _, x := range fresh {
			next++
			running[x] = next
			cl := x.Client()
			if cl == nil {
				continue
			}
			begin, err := json.Marshal(feedSession{next, cl.ID(), cl.Name(), x.Endpoint().Remote.String(), x.Endpoint().Local.String(), x.Late()})
			if err != nil {
				return err
			}
			if err := c.out.Line("begin " + string(begin)); err != nil {
				return err
			}
			if _, err := x.Start(ctx, func(batch []byte) error { return c.feedLine(running[x], batch) }); err != nil {
				return err
			}
		}
		more := false
		for x, n := range running {
			reason, ended := x.Ended()
			if batch := x.Take(); batch != nil {
				more = true
				if err := c.feedLine(n, batch); err != nil {
					return err
				}
				continue
			}
			if !ended && !x.Overrun() {
				continue
			}
			line := fmt.Sprintf("end %d %s", n, reason)
			if x.Overrun() {
				line = fmt.Sprintf("lost %d", n)
			}
			if err := c.out.Line(line); err != nil {
				return err
			}
			x.Close()
			delete(running, x)
			if !ended {
				f.Again(x.Client())
			}
		}
		if more {
			continue
		}
		select {
		case <-f.Notify():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *call) feedLine(n int, batch []byte) error {
	return c.out.Line(fmt.Sprintf("data %d %s", n, base64.StdEncoding.EncodeToString(batch)))
}

// ownProgram is the handler of commands that are programs of their own.
func ownProgram(usage string) func(context.Context, *call) error {
	return func(context.Context, *call) error {
		return control.Errorf(control.CodeForbidden, "Not a command of the station, but a program of its own: bmp %s", usage)
	}
}
