package command

import (
	"context"
	"strconv"
	"time"

	"bmp/proto/filter"
)

type logJSON struct {
	Time   any    `json:"time"`
	Kind   string `json:"kind"`
	Client any    `json:"client"`
	PeerID any    `json:"peer_id"`
	Text   string `json:"text"` // without the time
}

// showLog prints the console lines that are still kept. Unlike the other
// commands it can answer times: the lines carry their own.
func showLog(ctx context.Context, c *call) error {
	var from time.Time
	to := c.Now
	if t, ok := c.m.Time("since"); ok {
		from = t
	}
	if t, ok := c.m.Time("from"); ok {
		from = t
		to, _ = c.m.Time("to")
		to = c.through(to)
	}
	var notes []string
	events, lost := c.station.Events().Log(from)
	if !from.IsZero() && c.station.Archive() != nil {
		// What was before the oldest line kept in memory, in earlier runs of the station, too, is in the archive.
		oldest := c.Now
		if all, _ := c.station.Events().Log(time.Time{}); len(all) > 0 {
			oldest = all[0].Time
		}
		if from.Before(oldest) {
			past, more, damaged, err := c.station.PastLines(ctx, from, oldest.Add(-1))
			if err != nil {
				return err
			}
			events, lost = append(past, events...), more
			if damaged > 0 {
				notes = append(notes, plural(damaged, "event")+" cannot be read from the archive")
			}
		}
	}
	for len(events) > 0 && events[len(events)-1].Time.After(to) {
		events = events[:len(events)-1]
	}
	if n, ok := c.m.Number("last"); ok {
		if n == 0 {
			return c.invalid("last", "a number of lines, 1 or more")
		}
		if uint64(len(events)) > n {
			events = events[uint64(len(events))-n:]
		}
	}
	station := c.station.Label()
	for i := range events {
		e := &events[i]
		j := logJSON{Time: c.time(e.Time), Kind: e.Kind.String(), Text: e.Line(station)}
		if e.Client != 0 {
			j.Client = e.Client
		}
		if e.Peer != 0 {
			j.PeerID = e.Peer
		}
		line := e.ConsoleLine(station, c.Zone)
		if err := c.out.Record(filter.Record{Cells: []string{line}, Lines: []string{line}, JSON: j}); err != nil {
			return err
		}
		if i%1000 == 999 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	if lost > 0 {
		notes = append(notes, formatCount(lost, 1)+" older lines are no longer kept")
	}
	if len(notes) > 0 {
		return c.endWith("", notes)
	}
	return nil
}

type eventCountJSON struct {
	Client     any    `json:"client"` // null: the station itself
	ClientName any    `json:"client_name"`
	Kind       string `json:"kind"`
	Count      uint64 `json:"count"`
}

func showEvents(ctx context.Context, c *call) error {
	err := c.out.Columns(filter.Column{Name: "Client", Width: 6, Right: true}, filter.Column{Name: "Name", Key: "client_name", Width: 20},
		filter.Column{Name: "Kind", Width: 10}, filter.Column{Name: "Count", Width: 9, Right: true})
	if err != nil {
		return err
	}
	for _, n := range c.station.Events().Counts() {
		id, name := "-", "(station)"
		j := eventCountJSON{Kind: n.Kind.String(), Count: n.N}
		if n.Client != 0 {
			id = strconv.FormatUint(uint64(n.Client), 10)
			note := c.note(n.Client)
			name = note.text
			j.Client, j.ClientName = n.Client, jsonString(note.name)
		}
		if err := c.out.Record(filter.Record{Cells: []string{id, name, n.Kind.String(), formatCount(n.N, 1)}, JSON: j}); err != nil {
			return err
		}
	}
	sum := c.station.Summary()
	if sum.Unreadable > 0 {
		// They never became clients, and have no other place.
		err := c.out.Record(filter.Record{Cells: []string{"-", "(station)", "unreadable", formatCount(sum.Unreadable, 1)},
			JSON: eventCountJSON{Kind: "unreadable", Count: sum.Unreadable}})
		if err != nil {
			return err
		}
	}
	return c.out.Trailer(formatCount(sum.Events, 1) + " events in all")
}
