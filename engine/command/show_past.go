package command

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"bmp/engine/archive"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// showPast answers a question about routes of the past.
func showPast(ctx context.Context, c *call, p period) error {
	q, err := c.pastQuery(ctx, p)
	if err != nil {
		return err
	}
	switch p.word {
	case "at":
		return c.writeAt(ctx, q)
	case "diff":
		return c.writeNet(ctx, q)
	}
	return c.writeHistory(ctx, q)
}

// writeAt writes the routes as they were at a time.
func (c *call) writeAt(ctx context.Context, q *pastQuery) error {
	rows, err := c.routesAt(ctx, q, q.to)
	if err != nil {
		return err
	}
	limited := false
	if limited = q.limit > 0 && len(rows) > q.limit; limited {
		rows = rows[:q.limit]
	}
	c.asOf = q.to
	w := c.routeWriter()
	if err := c.columns(routeTable()...); err != nil {
		return err
	}
	for i := range rows {
		if err := w.write(&rows[i], 0); err != nil {
			return err
		}
	}
	return c.endPast(q, w.text(limited))
}

// routesAt finds the routes at a time, in the order in which those of now are shown.
func (c *call) routesAt(ctx context.Context, q *pastQuery, at time.Time) (rows []shownRoute, err error) {
	live, vouched, err := c.liveAt(ctx, q, at)
	if err != nil {
		return nil, err
	}
	for n, pc := range q.clients {
		if vouched[pc.id] {
			if down := pc.live.DownSince(); !down.IsZero() {
				q.notes.down(c, pc, down, at)
			}
			continue
		}
		if q.archive == nil {
			return nil, errNoArchive
		}
		w, err := q.want(c, pc, n)
		if err != nil {
			return nil, err
		}
		if q.match != rib.LPM && len(q.attrs) > 0 {
			w.Keep = func(_ archive.PeerKey, _ bgp.Family, rec []byte) bool { return q.attributes(rec) }
		}
		h, err := q.archive.At(ctx, pc.id, w, at)
		if err != nil {
			return nil, tooMany(err)
		}
		q.notes.take(c, pc, &h, at, at)
		unknown := h.Incomplete || h.Begin.IsZero()
		switch {
		case h.Begin.IsZero() && (!h.Incomplete || pc.existedNot(&h, at, at)):
			q.notes.unseen = append(q.notes.unseen, pc.called)
		case !h.Down.IsZero():
			q.notes.downOf(c, pc, &h, h.Down, at)
		}
		labels := pc.pastLabels(h.Peers)
		rows := make([]shownRoute, 0, len(h.Routes))
		for i := range h.Routes {
			rows = append(rows, pc.row(&h.Routes[i], labels))
		}
		if unknown {
			if rows, err = c.unchangedSince(ctx, q, pc, &w, at, rows); err != nil {
				return nil, err
			}
		}
		live = append(live, rows...)
		if len(live) > maxPastRoutes {
			return nil, tooMany(archive.ErrTooMany)
		}
	}
	if q.match == rib.LPM {
		live = longestMatches(live)
	}
	for i := range live {
		if q.wanted(&live[i]) {
			rows = append(rows, live[i])
		}
	}
	q.sort(rows)
	return rows, nil
}

// sort orders routes as those of now are: by family and key, then client, peer, view and path identifier; of a longest match, by
// client, peer and view.
func (q *pastQuery) sort(rows []shownRoute) {
	slices.SortStableFunc(rows, func(a, b shownRoute) int {
		owner := compareOwners(&a, &b)
		if q.match == rib.LPM {
			return cmp.Or(a.family.Compare(b.family), owner)
		}
		return cmp.Or(a.family.Compare(b.family), compareKeys(a.family, a.key, b.key), owner, cmp.Compare(a.pathID, b.pathID))
	})
}

// compareOwners orders by client, peer and view; peers that the client does not have any more come last.
func compareOwners(a, b *shownRoute) int {
	return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.peer-1, b.peer-1), cmp.Compare(a.label.RD, b.label.RD),
		a.label.Address.Compare(b.label.Address), bytes.Compare(a.label.BGPID[:], b.label.BGPID[:]), cmp.Compare(a.view, b.view))
}

// compareKeys is the order of the store: prefixes by RD, address and length.
func compareKeys(f bgp.Family, a, b []byte) int {
	if !f.IsPrefix() || len(a) == 0 || len(b) == 0 {
		return bytes.Compare(a, b)
	}
	return cmp.Or(bytes.Compare(a[1:], b[1:]), cmp.Compare(a[0], b[0]))
}

// longestMatches leaves of the routes of a table, and of an RD, those with the longest prefix.
func longestMatches(rows []shownRoute) []shownRoute {
	type table struct {
		client, peer uint32
		label        string // of peers without a number
		view         bmp.View
		family       bgp.Family
		rd           bgp.RD
	}
	of := func(r *shownRoute) table {
		t := table{client: r.client, peer: r.peer, view: r.view, family: r.family}
		if r.peer == 0 {
			t.label = r.label.Name()
		}
		t.rd, _ = bgp.KeyRD(r.family, r.key)
		return t
	}
	longest := make(map[table]byte)
	for i := range rows {
		t := of(&rows[i])
		longest[t] = max(longest[t], rows[i].key[0])
	}
	return slices.DeleteFunc(rows, func(r shownRoute) bool { return r.key[0] < longest[of(&r)] })
}
