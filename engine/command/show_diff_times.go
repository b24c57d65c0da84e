package command

import (
	"context"
	"time"

	"bmp/engine/rib"
	"bmp/proto/bmp"
)

// showDiffTimes compares a peer's routes at two times: with one view or none, what time did to each; with two, the first
// view at the first time with the second view at the second.
func showDiffTimes(ctx context.Context, c *call) error {
	p := period{word: "diff"}
	n := 0
	for _, a := range c.m.Args {
		if a.Kind != "T" {
			continue
		}
		t, _ := a.Value.(time.Time)
		t = c.through(t)
		if n++; n == 1 {
			p.from = t
		} else if p.to = t; t.Before(p.from) {
			return c.invalidArg(a, "a time that is not before the other ("+c.moment(p.from)+")")
		}
	}
	var views []bmp.View
	for _, a := range c.m.Args {
		if a.Kind == "VIEW" {
			v, _ := bmp.ParseView(a.Text)
			views = append(views, v)
		}
	}
	if len(views) == 2 {
		if err := refuseLocRIB(views[0], views[1]); err != nil {
			return err
		}
	}
	q, err := c.pastQuery(ctx, p)
	if err != nil {
		return err
	}
	if q.match == rib.LPM {
		q.match = rib.Exact
	}
	if len(views) < 2 || views[0] == views[1] {
		return c.writeNet(ctx, q)
	}
	if q.archive != nil {
		// What was between the two times is not read for the routes.
		for _, pc := range q.clients {
			h, err := q.archive.Presence(ctx, pc.id, p.from.Add(1), p.to)
			if err != nil {
				return err
			}
			q.notes.take(c, pc, &h, p.from, p.to)
		}
	}
	var sides [2][]shownRoute
	for i, t := range []time.Time{p.from, p.to} {
		q.view = &views[i]
		if sides[i], err = c.routesAt(ctx, q, t); err != nil {
			return err
		}
	}
	d, err := c.viewDiff()
	if err != nil {
		return err
	}
	for a, b := sides[0], sides[1]; len(a) > 0 || len(b) > 0; {
		second := len(a) == 0
		if !second && len(b) > 0 {
			order := a[0].family.Compare(b[0].family)
			if order == 0 {
				order = compareKeys(a[0].family, a[0].key, b[0].key)
			}
			second = order > 0
		}
		from := &a
		if second {
			from = &b
		}
		if err := d.add((*from)[0], second); err != nil {
			return err
		}
		*from = (*from)[1:]
	}
	if err := d.flush(); err != nil {
		return err
	}
	return c.endPast(q, d.trailer())
}
