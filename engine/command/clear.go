package command

import (
	"context"
	"fmt"
	"strings"

	"bmp/engine/client"
	"bmp/proto/control"
)

// confirm asks before something is thrown away, where the console wants to be asked.
func (c *call) confirm(question string) error {
	yes, err := c.out.Confirm(question)
	if err != nil {
		return err
	}
	if !yes {
		return control.ErrDeclined
	}
	return nil
}

// called is how a client is named in a sentence: client 1 (edge1.ams, 10.0.0.1:2201).
func called(cl *client.Client) string {
	b := cl.Brief()
	return fmt.Sprintf("client %d (%s)", b.ID, strings.TrimSpace(b.Name+" "+addrPort(b.Address)))
}

func clearClient(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if err := c.confirm(fmt.Sprintf("Close the BMP session of %s?", called(cl))); err != nil {
		return err
	}
	if !c.station.ClearClient(cl) {
		return control.Errorf(control.CodeFailed, "Client %d is down: there is no session to clear", cl.ID())
	}
	c.out.Done("Session of %s closed", called(cl))
	return nil
}

func clearCounters(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if err := c.confirm(fmt.Sprintf("Zero the counters of %s?", called(cl))); err != nil {
		return err
	}
	n := cl.ClearCounters()
	c.out.Done("Counters of %s zeroed: they stood at %s", called(cl), messagesText(n))
	return nil
}

func messagesText(n uint64) string {
	if n == 1 {
		return "1 message"
	}
	return formatCount(n, 1) + " messages"
}

func flushClient(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	routes := c.m.Has("routes")
	name := called(cl)
	b := cl.Brief()
	question := "Throw away what is stored of " + name + ": messages, session log, malformed messages, counters"
	switch {
	case b.State != client.Up:
		question += ", its routes and the client itself"
	case routes:
		question += ", its routes, and close its session so that they come again"
	}
	if err := c.confirm(question + "?"); err != nil {
		return err
	}
	f := c.station.FlushClient(cl, routes)
	fctx, cancel := context.WithTimeout(ctx, 6*archivePatience) // where storing fails it would wait for ever
	defer cancel()
	archived, flushErr := c.station.FlushArchive(fctx, cl, f.Client)
	text := fmt.Sprintf("Thrown away of %s: %s, %s, %s, %s, counters", name, plural(f.Messages, "message"), entries(f.Sessions),
		plural(f.Malformed, "malformed message"), plural(f.Findings, "finding"))
	if f.Client || f.Cleared {
		text += fmt.Sprintf(", %s, %s", plural(f.Peers, "peer"), plural(f.Routes, "route"))
	}
	switch {
	case f.Client:
		text += ", the client"
	case f.Cleared:
		text += "; its session is closed so that the routes come again"
	case b.Routes > 0:
		text += fmt.Sprintf("; its routes stay, %d of them (flush client %d routes drops them too)", b.Routes, b.ID)
	}
	if flushErr != nil {
		return control.Errorf(control.CodeFailed, "%s. What is archived could not be thrown away: %v", text, flushErr)
	}
	if c.station.Archive() != nil {
		text += "; " + plural(int(archived.Blocks), "archived block")
		if archived.Records > 0 {
			text += " of " + plural(int(archived.Records), "record") + " (messages, begins and ends of sessions)"
		}
	}
	c.out.Done("%s", text)
	return nil
}

func entries(n int) string {
	if n == 1 {
		return "1 session log entry"
	}
	return fmt.Sprintf("%d session log entries", n)
}
