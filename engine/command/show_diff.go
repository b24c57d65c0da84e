package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/control"
	"bmp/proto/filter"
)

// diffJSON is a difference: what happened, and to which route. Of an announce
// or a change it is the new route, of a withdraw the one that is not there.
type diffJSON struct {
	Time    any      `json:"time"`
	Action  string   `json:"action"`
	Changed []string `json:"changed"`
	routeJSON
}

// hold makes a row of a route that is kept beyond its batch.
func (c *call) hold(f bgp.Family, r *rib.Route) shownRoute {
	h := c.live(f, r)
	h.key, h.record = slices.Clone(h.key), slices.Clone(h.record)
	return h
}

// changedAttributes names the attributes that two records do not have alike, in
// order, and says how they differ.
func changedAttributes(a, b *bgp.Attributes) (names, texts []string) {
	before, after := a.All(), b.All()
	seen := make(map[string]bool)
	value := func(list []bgp.NameText, name string) string {
		var all []string
		for _, nt := range list {
			if nt.Name == name {
				all = append(all, nt.Text)
			}
		}
		return strings.Join(all, ", ")
	}
	for _, nt := range append(slices.Clone(before), after...) {
		if seen[nt.Name] {
			continue
		}
		seen[nt.Name] = true
		if x, y := value(before, nt.Name), value(after, nt.Name); x != y {
			names = append(names, nt.Name)
			texts = append(texts, fmt.Sprintf("%s %s -> %s", nt.Name, dash(x), dash(y)))
		}
	}
	return names, texts
}

// jsonNames are names of attributes as keys.
func jsonNames(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = jsonKey(n)
	}
	return out
}

// showDiffViews compares two views of a peer: what was rejected, changed, added
// on the way from the first to the second.
func showDiffViews(ctx context.Context, c *call) error {
	q, err := c.routeQuery()
	if err != nil {
		return err
	}
	var views [2]bmp.View
	n := 0
	for _, a := range c.m.Args {
		if a.Kind == "VIEW" && n < 2 {
			views[n], _ = bmp.ParseView(a.Text)
			n++
		}
	}
	if n < 2 {
		return control.Errorf(control.CodeIncomplete, "Incomplete command: two views are compared")
	}
	if views[0] == views[1] {
		return control.Errorf(control.CodeFailed, "The two views are the same")
	}
	if err := refuseLocRIB(views[0], views[1]); err != nil {
		return err
	}
	q.view = nil
	q.views = views[:]
	if q.match == rib.LPM {
		q.match = rib.Exact
	}
	d, err := c.viewDiff()
	if err != nil {
		return err
	}
	// Sorted by key, then view: what has the same key comes together.
	_, err = q.run(ctx, c, func(f bgp.Family, batch []rib.Route) error {
		for i := range batch {
			r := &batch[i]
			if err := d.add(c.hold(f, r), bmp.View(r.Table.Owner().View) == views[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = d.flush()
	}
	if err != nil {
		return err
	}
	return c.out.Trailer(d.trailer())
}

// refuseLocRIB refuses Loc-RIB beside another view: it is of a peer of its own (RFC 9069), which has no other.
func refuseLocRIB(a, b bmp.View) error {
	if a != b && (a == bmp.LocRIB || b == bmp.LocRIB) {
		return control.Errorf(control.CodeFailed, "Loc-RIB is not of this peer but of the client: there is nothing to compare (show bgp PREFIX shows both)")
	}
	return nil
}

// viewDiff compares the routes of one key at a time.
type viewDiff struct {
	c          *call
	text, json bool
	sides      [2][]shownRoute // of the key gathered, by view

	rejected, changed, added, same int
}

// viewDiff writes the heading.
func (c *call) viewDiff() (*viewDiff, error) {
	d := &viewDiff{c: c}
	d.text, d.json = c.out.Needs()
	return d, c.out.Columns(filter.Column{Name: "Action", Width: 8}, filter.Column{Name: "Prefix", Width: 18}, filter.Column{Name: "Next hop", Width: 15},
		filter.Column{Name: "Path", Key: "as_path", Width: 19}, filter.Column{Name: "Changed"})
}

func (d *viewDiff) trailer() string {
	return fmt.Sprintf("%d rejected, %d changed, %d added, %d the same", d.rejected, d.changed, d.added, d.same)
}

// add takes the next route, in the order of keys; second says that it is of the second view.
func (d *viewDiff) add(r shownRoute, second bool) error {
	for _, side := range d.sides {
		if len(side) > 0 && (side[0].family != r.family || string(side[0].key) != string(r.key)) {
			if err := d.flush(); err != nil {
				return err
			}
			break
		}
	}
	side := 0
	if second {
		side = 1
	}
	d.sides[side] = append(d.sides[side], r)
	return nil
}

// flush compares the routes of the key gathered. Routes are paired by their path
// ID where both views have them; where one has not, an equal one is the pair, or
// the first that is left.
func (d *viewDiff) flush() error {
	before, after := d.sides[0], d.sides[1]
	d.sides[0], d.sides[1] = nil, nil
	byID := len(before) > 0 && len(after) > 0 && before[0].addPath && after[0].addPath
	used := make([]bool, len(before))
	for i := range after {
		a := &after[i]
		pair := pairOf(a, before, used, byID)
		if pair < 0 {
			d.added++
			if err := d.record("added", "announce", a, nil, nil); err != nil {
				return err
			}
			continue
		}
		used[pair] = true
		if string(before[pair].record) == string(a.record) {
			d.same++
			continue
		}
		x, y := bgp.Decode(before[pair].record, a.family), bgp.Decode(a.record, a.family)
		names, texts := changedAttributes(&x, &y)
		if len(names) == 0 {
			// The bytes differ in what says nothing: order, flags, width of AS numbers.
			d.same++
			continue
		}
		d.changed++
		if err := d.record("changed", "change", a, names, texts); err != nil {
			return err
		}
	}
	for j := range before {
		if !used[j] {
			d.rejected++
			if err := d.record("rejected", "withdraw", &before[j], nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// pairOf finds the route of the other view that a is to be compared with; -1 for none.
func pairOf(a *shownRoute, before []shownRoute, used []bool, byID bool) int {
	left := -1
	for j := range before {
		switch {
		case used[j]:
		case byID:
			if before[j].pathID == a.pathID {
				return j
			}
		case string(before[j].record) == string(a.record):
			return j
		case left < 0:
			left = j
		}
	}
	return left
}

func (d *viewDiff) record(word, action string, r *shownRoute, names, texts []string) error {
	var rec filter.Record
	if d.text {
		rec.Cells = []string{word, nlriText(r.family, r.key), hopText(r.record), pathText(r.record), strings.Join(texts, ", ")}
	}
	if d.json {
		a := bgp.Decode(r.record, r.family)
		rec.JSON = diffJSON{d.c.time(r.since), action, jsonNames(names), d.c.routeJSON(r, &a)}
	}
	return d.c.out.Record(rec)
}

// maxSideBySide is how many routes of one prefix are compared; all of them are held.
const maxSideBySide = 100_000

// showDiffPrefix shows one prefix on all clients side by side: who has it how,
// what differs from the attributes that most have, and who has it not.
func showDiffPrefix(ctx context.Context, c *call) error {
	q, err := c.routeQuery()
	if err != nil {
		return err
	}
	if q.limit == 0 {
		q.limit = maxSideBySide
	}
	var routes []shownRoute
	limited, err := q.run(ctx, c, func(f bgp.Family, batch []rib.Route) error {
		for i := range batch {
			routes = append(routes, c.hold(f, &batch[i]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = c.out.Columns(filter.Column{Name: "Client", Key: "client_name", Width: 11}, filter.Column{Name: "Peer", Width: 14},
		filter.Column{Name: "View", Width: 11}, filter.Column{Name: "Prefix", Width: 16}, filter.Column{Name: "Next hop", Width: 12},
		filter.Column{Name: "Path", Key: "as_path", Width: 19}, filter.Column{Name: "Age", Key: "since", Width: 8}, filter.Column{Name: "Differs", Key: "changed"})
	if err != nil {
		return err
	}
	slices.SortStableFunc(routes, func(a, b shownRoute) int {
		return int(int64(a.client) - int64(b.client))
	})
	reference := commonest(routes)
	var common bgp.Attributes
	if reference != nil {
		common = bgp.Decode(reference.record, reference.family)
	}
	w := &routeWriter{c: c, clients: make(map[uint32]bool)}
	w.cells, w.json = c.out.Needs()
	next := 0
	with, without := 0, 0
	for _, cl := range c.station.Clients() {
		first := next
		for next < len(routes) && routes[next].client <= cl.ID() {
			r := &routes[next]
			next++
			if r.client < cl.ID() {
				continue // a client that was flushed meanwhile
			}
			a := bgp.Decode(r.record, r.family)
			names, texts := changedAttributes(&common, &a)
			var rec filter.Record
			if w.cells {
				w.hasAttr = false
				w.hop, w.path = hopText(r.record), pathText(r.record)
				rec.Cells = append(w.row(r), strings.Join(texts, ", "))
			}
			if w.json {
				action := "announce"
				if len(names) > 0 {
					action = "change"
				}
				rec.JSON = diffJSON{c.time(r.since), action, jsonNames(names), c.routeJSON(r, &a)}
			}
			if err := c.out.Record(rec); err != nil {
				return err
			}
		}
		if next > first {
			with++
			continue
		}
		without++
		n := c.note(cl.ID())
		prefix, family := q.nlri, ""
		if q.prefix.IsValid() {
			prefix = q.prefix.String()
		}
		if len(q.families) > 0 {
			family = q.families[0].String()
		}
		err := c.out.Record(filter.Record{Cells: []string{n.text, "-", "-", prefix, "-", "-", "-", "no route"},
			JSON: diffJSON{nil, "withdraw", []string{}, routeJSON{Client: cl.ID(), ClientName: jsonString(n.name),
				routeSaidJSON: routeSaidJSON{Family: family, Prefix: prefix}}}})
		if err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s on %s", plural(len(routes), "route"), plural(with, "client"))
	if without > 0 {
		text += fmt.Sprintf(", %s without", plural(without, "client"))
	}
	if limited {
		text += " (limit reached, there are more)"
	}
	return c.out.Trailer(text)
}

// commonest is a route with the attributes that most have.
func commonest(routes []shownRoute) *shownRoute {
	counts := make(map[string]int)
	var best *shownRoute
	for i := range routes {
		counts[string(routes[i].record)]++
	}
	for i := range routes {
		if best == nil || counts[string(routes[i].record)] > counts[string(best.record)] {
			best = &routes[i]
		}
	}
	return best
}
