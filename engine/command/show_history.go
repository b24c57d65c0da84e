package command

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bmp/engine/archive"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/control"
	"bmp/proto/filter"
)

// changeJSON is a change of a route. cause is why a route went that no message withdrew.
type changeJSON struct {
	Time       any      `json:"time"`
	RouterTime any      `json:"router_time"`
	Action     string   `json:"action"`
	Cause      any      `json:"cause"`
	Changed    []string `json:"changed"`
	routeJSON
}

// shownChange is a change as a row has it.
type shownChange struct {
	time   time.Time
	stamp  time.Time // the router's own; zero: none
	action archive.Action
	cause  archive.Cause
	route  shownRoute
	before []byte // the record before, of a change
}

// maxPastChanges bounds how many changes of several clients are put in order; those of one are not held.
const maxPastChanges = 200_000

// writeHistory writes the changes of a time in the order of their arrival.
func (c *call) writeHistory(ctx context.Context, q *pastQuery) error {
	if q.match == rib.LPM {
		q.match = rib.Shorter // whatever may have been the longest match
	}
	w, err := c.changeWriter()
	if err != nil {
		return err
	}
	one := len(q.clients) == 1
	var held []shownChange
	limited := false
	for n, pc := range q.clients {
		err := c.changesOf(ctx, q, pc, n, q.from, q.to, func(ch *shownChange) error {
			if !q.attributes(ch.route.record) && (ch.before == nil || !q.attributes(ch.before)) {
				return nil
			}
			if !one {
				if len(held) == maxPastChanges {
					return control.Errorf(control.CodeFailed, "More than %d changes: ask for a client, a peer, a prefix, a filter or a shorter time", maxPastChanges)
				}
				held = append(held, *ch)
				return nil
			}
			if q.limit > 0 && w.changes == q.limit {
				limited = true
				return errLimit
			}
			return w.write(ch)
		})
		if err != nil && !errors.Is(err, errLimit) {
			return err
		}
	}
	slices.SortStableFunc(held, func(a, b shownChange) int { return a.time.Compare(b.time) })
	if limited = limited || q.limit > 0 && len(held) > q.limit; limited && !one {
		held = held[:q.limit]
	}
	for i := range held {
		if err := w.write(&held[i]); err != nil {
			return err
		}
	}
	return c.endPast(q, w.text(limited))
}

// changesOf calls f with the changes of one client. What f gets it may keep.
func (c *call) changesOf(ctx context.Context, q *pastQuery, pc *pastClient, n int, from, to time.Time, f func(*shownChange) error) error {
	if q.archive == nil {
		return errNoArchive
	}
	want, err := q.want(c, pc, n)
	if err != nil {
		return err
	}
	labels := pc.pastLabels(nil)
	h, err := q.archive.History(ctx, pc.id, want, from, to, func(a *archive.Change) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		ch := shownChange{time: a.Time, stamp: a.Stamp, action: a.Action, cause: a.Cause, route: pc.row(&a.Route, labels), before: a.Before}
		if !q.ofPeer(a.Family, ch.route.label) || q.stale && !ch.route.stale {
			return nil
		}
		return f(&ch)
	})
	limited := errors.Is(err, errLimit)
	if limited {
		// What has to be said beside it is of the whole time.
		h, err = q.archive.Presence(ctx, pc.id, from, to)
	}
	if err != nil {
		return tooMany(err)
	}
	q.notes.take(c, pc, &h, from, to)
	if !h.DownBefore.IsZero() {
		q.notes.downOf(c, pc, &h, h.DownBefore, from)
	}
	if !h.Down.IsZero() && !h.Down.Equal(h.DownBefore) {
		q.notes.downOf(c, pc, &h, h.Down, to)
	}
	if limited {
		return errLimit
	}
	return nil
}

// writeNet writes what was otherwise at the second time than at the first.
func (c *call) writeNet(ctx context.Context, q *pastQuery) error {
	if q.match == rib.LPM {
		q.match = rib.Shorter
	}
	w, err := c.changeWriter()
	if err != nil {
		return err
	}
	var all []shownChange
	for n, pc := range q.clients {
		list, err := c.netOf(ctx, q, pc, n)
		if err != nil {
			return err
		}
		if all = append(all, list...); len(all) > maxPastRoutes {
			return tooMany(archive.ErrTooMany)
		}
	}
	slices.SortStableFunc(all, func(a, b shownChange) int {
		x, y := &a.route, &b.route
		return cmp.Or(x.family.Compare(y.family), compareKeys(x.family, x.key, y.key), compareOwners(x, y), cmp.Compare(x.pathID, y.pathID))
	})
	limited := q.limit > 0 && len(all) > q.limit
	if limited {
		all = all[:q.limit]
	}
	for i := range all {
		if err := w.write(&all[i]); err != nil {
			return err
		}
	}
	return c.endPast(q, w.netText(limited))
}

// netOf is how the routes of a client at the second time differ from those at the first. It follows the changes between, so that
// what did not change is not held twice.
func (c *call) netOf(ctx context.Context, q *pastQuery, pc *pastClient, n int) ([]shownChange, error) {
	type net struct {
		last   shownChange
		before []byte // nil: it was not there
	}
	changed := make(map[string]*net)
	err := c.changesOf(ctx, q, pc, n, q.from.Add(1), q.to, func(ch *shownChange) error {
		r := &ch.route
		id := fmt.Sprintf("%d %x %s %d %d/%d %d %s", r.peer, r.label.BGPID, r.label.Name(), r.view, r.family.AFI, r.family.SAFI, r.pathID, r.key)
		x := changed[id]
		if x == nil {
			if len(changed) == maxPastRoutes {
				return archive.ErrTooMany
			}
			x = &net{}
			switch ch.action {
			case archive.Changed:
				x.before = ch.before
			case archive.Withdrawn:
				x.before = r.record
			}
			changed[id] = x
		}
		x.last = *ch
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []shownChange
	for _, x := range changed {
		ch := x.last
		switch {
		case ch.action == archive.Withdrawn && x.before == nil:
			continue // it came and went
		case ch.action == archive.Withdrawn:
			ch.route.record = x.before
		case x.before == nil:
			ch.action, ch.before = archive.Announced, nil
		case bytes.Equal(x.before, ch.route.record):
			continue
		default:
			ch.action, ch.before = archive.Changed, x.before
			a, b := bgp.Decode(x.before, ch.route.family), bgp.Decode(ch.route.record, ch.route.family)
			if names, _ := changedAttributes(&a, &b); len(names) == 0 {
				continue // the bytes differ in what says nothing
			}
		}
		if q.attributes(ch.route.record) || ch.before != nil && q.attributes(ch.before) {
			out = append(out, ch)
		}
	}
	return out, nil
}

// changeWriter writes changes as rows, paragraphs or JSON, and counts them.
type changeWriter struct {
	routeWriter
	changes int
	actions [3]int
	keys    map[string]struct{} // of the routes, up to maxPastChanges
}

func (c *call) changeWriter() (*changeWriter, error) {
	w := &changeWriter{routeWriter: *c.routeWriter(), keys: make(map[string]struct{})}
	list := append([]filter.Column{{Name: "Time", Width: 12}, {Name: "Router's time", Key: "router_time", Width: 13}, {Name: "Action", Width: 8}}, routeTable()...)
	list[len(list)-1] = filter.Column{Name: "Changed"}
	return w, c.columns(list...)
}

func (w *changeWriter) write(ch *shownChange) error {
	r := &ch.route
	w.changes++
	w.actions[ch.action]++
	w.clients[r.client] = true
	w.decoded, w.hop, w.path = nil, "", ""
	var names, texts []string
	if ch.action == archive.Changed {
		before := bgp.Decode(ch.before, r.family)
		names, texts = changedAttributes(&before, w.attributes(r))
		if len(names) == 0 {
			texts = []string{"the same in other bytes"}
		}
	} else if s := ch.cause.String(); s != "" {
		texts = []string{s}
	}
	stamp := "-"
	if !ch.stamp.IsZero() {
		stamp = w.c.clock(ch.stamp)
	}
	var rec filter.Record
	if w.cells {
		cells := w.row(r)
		cells[len(cells)-1] = strings.Join(texts, ", ")
		rec.Cells = append([]string{w.c.clock(ch.time), stamp, ch.action.String()}, cells...)
		if w.detail {
			rec.Lines = w.lines(ch, stamp, texts)
		}
	}
	if w.json {
		j := changeJSON{w.c.time(ch.time), w.c.time(ch.stamp), ch.action.String(), jsonString(ch.cause.String()), jsonNames(names), w.c.routeJSON(r, w.attributes(r))}
		rec.JSON = j
	}
	return w.c.out.Record(rec)
}

// lines is the paragraph of `detail`: what happened, and the route as it is then.
func (w *changeWriter) lines(ch *shownChange, stamp string, texts []string) []string {
	head := w.c.clock(ch.time) + " " + ch.action.String()
	if stamp != "-" {
		head += " (router's time " + stamp + ")"
	}
	lines := []string{head}
	w.c.asOf = ch.time
	route := w.c.routeLines(&ch.route, w.attributes(&ch.route))
	lines = append(lines, route[0])
	for _, t := range texts {
		lines = append(lines, "  "+pad("changed", 18)+": "+t)
	}
	return append(lines, route[1:]...)
}

// text is the line under the changes of a time.
func (w *changeWriter) text(limited bool) string {
	text := fmt.Sprintf("%s (%d announced, %d changed, %d withdrawn), %s", plural(w.changes, "change"), w.actions[archive.Announced],
		w.actions[archive.Changed], w.actions[archive.Withdrawn], plural(len(w.clients), "client"))
	if limited {
		text += " (limit reached, there are more)"
	}
	return text
}

// netText is the line under a difference.
func (w *changeWriter) netText(limited bool) string {
	text := fmt.Sprintf("%d came, %d changed, %d went, %s", w.actions[archive.Announced], w.actions[archive.Changed],
		w.actions[archive.Withdrawn], plural(len(w.clients), "client"))
	if limited {
		text += " (limit reached, there are more)"
	}
	return text
}
