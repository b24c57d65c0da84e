package command

import (
	"context"

	"bmp/engine/rib"
	"bmp/proto/bmp"
	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

func showBGP(ctx context.Context, c *call) error {
	if !c.asksSomething() {
		return &grammar.Error{Code: control.CodeIncomplete, Col: len(c.Line) + 1, Text: "Incomplete command: " + c.m.Line +
			" (expected: PREFIX, an address, a filter or all)", Expected: []string{"PREFIX", "A.B.C.D", "a filter", "all"}}
	}
	return c.showRoutes(ctx)
}

// showRoutes shows routes of now or of the past.
func (c *call) showRoutes(ctx context.Context) error {
	p, err := c.times()
	if err != nil {
		return err
	}
	if p.word != "" {
		return showPast(ctx, c, p)
	}
	q, err := c.routeQuery()
	if err != nil {
		return err
	}
	return c.writeRoutes(ctx, q)
}

// asksSomething says whether show bgp was told what to show: a table of a
// million routes must be asked for by name.
func (c *call) asksSomething() bool {
	if c.m.Has("all") || c.m.Has("stale") {
		return true
	}
	for _, a := range c.m.Args {
		if a.Kind != "FAMILY" && a.Kind != "T" {
			return true
		}
	}
	return false
}

func showPeerRoutes(ctx context.Context, c *call) error { return c.showRoutes(ctx) }

func (c *call) writeRoutes(ctx context.Context, q *routeQuery) error {
	w := c.routeWriter()
	if err := c.columns(routeTable()...); err != nil {
		return err
	}
	limited, err := q.run(ctx, c, w.batch)
	if err != nil {
		return err
	}
	return w.trailer(limited)
}

type bgpSummaryJSON struct {
	Family        string `json:"family"`
	View          string `json:"view"`
	Routes        int    `json:"routes"`
	Prefixes      int    `json:"prefixes"`
	Peers         int    `json:"peers"`
	AttributeSets int    `json:"attribute_sets"`
}

func showBGPSummary(ctx context.Context, c *call) error {
	q := &routeQuery{}
	if err := c.routeKey(q); err != nil {
		return err
	}
	err := c.out.Columns(
		filter.Column{Name: "Family", Width: 20}, filter.Column{Name: "View", Width: 12},
		filter.Column{Name: "Routes", Width: 9, Right: true}, filter.Column{Name: "Prefixes", Width: 9, Right: true},
		filter.Column{Name: "Peers", Width: 6, Right: true}, filter.Column{Name: "Attribute sets", Key: "attribute_sets", Right: true})
	if err != nil {
		return err
	}
	store := c.station.Store()
	for _, f := range q.families {
		for v := range bmp.View(bmp.Views) {
			rq := rib.Query{Family: f, Where: func(o rib.Owner) bool { return o.View == uint8(v) }}
			t, err := store.Count(ctx, rq)
			if err != nil {
				return err
			}
			if t.Routes == 0 {
				continue
			}
			err = c.out.Record(filter.Record{
				Cells: []string{f.String(), v.String(), count(t.Routes), count(t.Prefixes), count(t.Tables), count(t.AttributeSets)},
				JSON:  bgpSummaryJSON{f.String(), v.Key(), t.Routes, t.Prefixes, t.Tables, t.AttributeSets},
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func count(n int) string { return formatCount(uint64(n), 1) }
