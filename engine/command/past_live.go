package command

import (
	"context"
	"time"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// storeTick is how exact the times of the route store are: they are rounded down by less than that.
const storeTick = 125 * time.Millisecond

// unchangedSince adds to what the archive knows of a client at a time, where that is not all, the live routes that have not
// changed since: they were the routes then, too.
func (c *call) unchangedSince(ctx context.Context, q *pastQuery, pc *pastClient, w *archive.Want, at time.Time, rows []shownRoute) ([]shownRoute, error) {
	if pc.live == nil || c.h.pastOnly {
		return rows, nil
	}
	type name struct {
		peer   uint32
		view   bmp.View
		family bgp.Family
		path   uint32
		key    string
	}
	of := func(r *shownRoute) name { return name{r.peer, r.view, r.family, r.pathID, string(r.key)} }
	known := make(map[name]bool, len(rows))
	for i := range rows {
		known[of(&rows[i])] = true
	}
	wanted := make(map[uint32]bool)
	for _, k := range pc.peers {
		if l := pc.labels[k]; l != nil {
			wanted[l.ID] = true
		}
	}
	labels := make(map[uint32]*client.Label)
	where := func(o rib.Owner) bool { return o.Client == pc.id && (len(pc.peers) == 0 || wanted[o.Peer]) }
	take := func(f bgp.Family, batch []rib.Route) error {
		for i := range batch {
			r := c.live(f, &batch[i])
			if r.since.Add(storeTick).After(at) || known[of(&r)] || w.Select != nil && !w.Select(r.view, f, r.key, r.pathID) ||
				w.Keep != nil && !w.Keep(archive.PeerKey{}, f, r.record) {
				continue
			}
			r = c.hold(f, &batch[i])
			if labels[r.peer] == nil {
				labels[r.peer] = c.label(r.client, r.peer)
			}
			r.label = labels[r.peer]
			if rows = append(rows, r); len(rows) > maxPastRoutes {
				return archive.ErrTooMany
			}
		}
		return nil
	}
	queries := make([]rib.Query, 0, max(len(w.Keys), len(q.families)))
	for _, k := range w.Keys {
		queries = append(queries, rib.Query{Family: k.Family, Where: where, Match: rib.Exact, Key: k.Key})
	}
	for _, f := range q.families {
		if w.Keys == nil {
			queries = append(queries, rib.Query{Family: f, Where: where})
		}
	}
	for _, x := range queries {
		if err := c.station.Store().Query(ctx, x, func(batch []rib.Route) error { return take(x.Family, batch) }); err != nil {
			return nil, tooMany(err)
		}
	}
	return rows, nil
}

// liveAt answers from the live tables, as far as they can tell what was at a time: a route whose last change is before it
// was the route then; and where neither a route of the prefix was withdrawn or replaced since, nor a table emptied or
// dropped, what is not there now was not there then. vouched are the clients for which that is so; the others' routes
// are not among the rows.
func (c *call) liveAt(ctx context.Context, q *pastQuery, at time.Time) (rows []shownRoute, vouched map[uint32]bool, err error) {
	if c.h.pastOnly {
		return nil, nil, nil
	}
	keys, err := q.keys()
	if err != nil || len(keys) == 0 {
		return nil, nil, err
	}
	before := func(t time.Time) bool { return t.IsZero() || !t.Add(storeTick).After(at) }
	vouched = make(map[uint32]bool)
	asked := make(map[uint32]*pastClient)
	wanted := make(map[uint64]bool) // peers
	for _, pc := range q.clients {
		if pc.live == nil {
			continue
		}
		asked[pc.id] = pc
		vouched[pc.id] = true
		for _, k := range pc.peers {
			if l := pc.labels[k]; l != nil {
				wanted[peerKey(pc.id, l.ID)] = true
			} else {
				delete(vouched, pc.id)
			}
		}
	}
	store := c.station.Store()
	families := make(map[bgp.Family]bool)
	for _, k := range keys {
		families[k.Family] = true
	}
	where := func(o rib.Owner) bool {
		return asked[o.Client] != nil && (q.view == nil || o.View == uint8(*q.view)) && (q.peerText == "" || wanted[peerKey(o.Client, o.Peer)])
	}
	labels := make(map[uint64]*client.Label)
	for _, k := range keys {
		rq := rib.Query{Family: k.Family, Where: where, Match: rib.Exact, Key: k.Key}
		err := store.Query(ctx, rq, func(batch []rib.Route) error {
			for i := range batch {
				r := c.hold(k.Family, &batch[i])
				switch {
				case before(r.since):
					id := peerKey(r.client, r.peer)
					if labels[id] == nil {
						labels[id] = c.label(r.client, r.peer)
					}
					r.label = labels[id]
					rows = append(rows, r)
				case !r.since.After(at):
					delete(vouched, r.client) // it came at about that time
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	// What changed meanwhile changed after the time asked for, and shows now.
	for _, k := range keys {
		if !before(store.LastChange(k.Family, k.Key)) {
			return nil, nil, nil
		}
	}
	for f := range families {
		for _, t := range store.Tables(f) {
			if id := t.Owner().Client; vouched[id] && (!before(t.Emptied()) || t.Counts().Refused > 0) {
				delete(vouched, id)
			}
		}
	}
	for id := range vouched {
		turned, sessions := asked[id].live.Turned()
		if sessions > 1 && !c.down(id) {
			turned = turned.Add(c.station.StaleMost()) // until then routes of the session before may have been stale
		}
		// Since when a client is down that has not come since the station started is in the archive.
		if turned.After(at) || sessions == 0 && q.archive != nil {
			delete(vouched, id)
		}
	}
	n := 0
	for i := range rows {
		if vouched[rows[i].client] {
			rows[n] = rows[i]
			n++
		}
	}
	return rows[:n], vouched, nil
}
