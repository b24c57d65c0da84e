package command

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"bmp/engine"
	"bmp/engine/event"
	"bmp/proto/filter"
)

type logJSON struct {
	Time   any    `json:"time"`
	Kind   string `json:"kind"`
	Client any    `json:"client"`
	PeerID any    `json:"peer_id"`
	Text   string `json:"text"` // without the time
}

// showLog prints the console lines. Unlike the other commands it can answer times: the lines carry their own.
func showLog(ctx context.Context, c *call) error {
	var events []event.Event
	var notes []string
	var err error
	if c.m.Has("since") || c.m.Has("from") {
		events, notes, err = c.logOfTime(ctx)
	} else {
		events, notes, err = c.newestLog(ctx)
	}
	if err != nil {
		return err
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
	if len(notes) > 0 {
		return c.endWith("", notes)
	}
	return nil
}

// logOfTime are the console lines since T, and from T to T.
func (c *call) logOfTime(ctx context.Context) (events []event.Event, notes []string, err error) {
	var from time.Time
	to := c.Now
	if t, ok := c.m.Time("since"); ok {
		from = t
	}
	if t, ok := c.m.Time("from"); ok {
		from = t
		to, _ = c.m.Time("to")
		if to = c.through(to); to.Before(from) {
			return nil, nil, c.invalid("to", "a time that is not before the other")
		}
	}
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
				return nil, nil, err
			}
			events, lost = append(past, events...), more
			if damaged > 0 {
				notes = append(notes, damagedLines(damaged))
			}
		}
	}
	for len(events) > 0 && events[len(events)-1].Time.After(to) {
		events = events[:len(events)-1]
	}
	if lost > 0 {
		notes = append(notes, formatCount(lost, 1)+" older lines are no longer kept")
	}
	return events, notes, nil
}

// newestLog are the newest console lines: those in memory and, where these are too few, those before them that the archive has, in
// earlier runs of the station, too. Without an archive that answers they are those in memory.
func (c *call) newestLog(ctx context.Context) (events []event.Event, notes []string, err error) {
	last := uint64(event.LogLines)
	n, isLast := c.m.Number("last")
	if isLast {
		if last = n; n == 0 {
			return nil, nil, c.invalid("last", "a number of lines, 1 or more")
		}
	}
	events, lost := c.station.Events().Log(time.Time{})
	var tail engine.LinesTail
	older := false // there are more
	if c.station.Archive() != nil {
		lost = 0 // to the memory alone
		missing := int(min(last, 1<<30)) - len(events)
		older = missing < 0
		if !isLast {
			missing++ // says whether there are more
		}
		if missing > 0 {
			var past []event.Event
			var unread string
			past, tail, unread, err = c.olderLines(ctx, missing, events)
			if err != nil {
				return nil, nil, err
			}
			if unread != "" {
				notes = append(notes, unread)
			}
			// What was in memory once may have happened later than the oldest there.
			events = append(past, events...)
			slices.SortStableFunc(events, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
			older = len(past) == missing || len(past) == engine.MaxPastLines
		}
	}
	if uint64(len(events)) > last {
		events = events[uint64(len(events))-last:]
	}
	if tail.Damaged > 0 {
		notes = append(notes, damagedLines(tail.Damaged))
	}
	switch {
	case older && (!isLast || uint64(len(events)) < last):
		notes = append(notes, "there are older lines (last N and since T show them)")
	case !tail.Cut.IsZero():
		notes = append(notes, "what came before "+c.clock(tail.Cut)+" was not looked through (since T does)")
	case tail.Gone && !older:
		notes = append(notes, "older lines are no longer kept")
	case lost > 0:
		notes = append(notes, formatCount(lost, 1)+" older lines are no longer kept")
	}
	return events, notes, nil
}

// olderLines are the newest lines that the archive has beside those that are known; unread says why there may be more.
func (c *call) olderLines(ctx context.Context, most int, known []event.Event) (lines []event.Event, t engine.LinesTail, unread string, err error) {
	rctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(archivePatience, cancel)
	defer patience.Stop()
	tell := c.progress()
	lines, t, err = c.station.NewestLines(rctx, most, known, func(n int) {
		patience.Reset(archivePatience)
		tell(fmt.Sprintf("%d events looked through", n))
	})
	switch {
	case ctx.Err() != nil:
		return nil, t, "", ctx.Err()
	case err != nil && rctx.Err() != nil:
		unread = "the archive does not answer"
	case err != nil:
		unread = "older lines cannot be read: " + err.Error()
	}
	return lines, t, unread, nil
}

func damagedLines(n int) string { return plural(n, "event") + " cannot be read from the archive" }

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
