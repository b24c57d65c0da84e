package command

import (
	"strconv"
	"time"

	"bmp/engine/client"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/filter"
)

// routeJSON is a route in every command that prints routes.
type routeJSON struct {
	Client           uint32            `json:"client"`
	ClientName       any               `json:"client_name"`
	PeerID           uint32            `json:"peer_id"`
	Peer             any               `json:"peer"` // an address; null for Loc-RIB
	RD               any               `json:"rd"`
	View             string            `json:"view"`
	Family           string            `json:"family"`
	Prefix           string            `json:"prefix"`
	PathID           any               `json:"path_id"`
	NextHop          any               `json:"next_hop"`
	Origin           any               `json:"origin"`
	ASPath           string            `json:"as_path"`
	MED              *uint32           `json:"med"`
	LocalPref        *uint32           `json:"local_pref"`
	Communities      []string          `json:"communities"`
	LargeCommunities []string          `json:"large_communities"`
	ExtCommunities   []string          `json:"ext_communities"`
	Labels           []string          `json:"labels"`
	Attributes       map[string]string `json:"attributes"`
	Since            any               `json:"since"`
	Stale            bool              `json:"stale"`
}

// clientNote is what rows of routes say of a client, looked up once a command.
type clientNote struct {
	name string // of the router; empty when it said none
	text string // what it is called
	down bool
	of   *client.Client
}

// note finds what is said of a client; one that has gone meanwhile is a number.
func (c *call) note(id uint32) *clientNote {
	if n, ok := c.notes[id]; ok {
		return n
	}
	n := &clientNote{text: "#" + strconv.FormatUint(uint64(id), 10), down: true}
	if cl, ok := c.station.Client(id); ok {
		// Not more than a glance: a question about routes must not wait for the sessions that bring them.
		name, remote, up := cl.Glance()
		*n = clientNote{name: name, text: clientName(&client.Brief{Name: name, Address: remote}), down: !up, of: cl}
	}
	if c.notes == nil {
		c.notes = make(map[uint32]*clientNote)
	}
	c.notes[id] = n
	return n
}

// down says whether a client is not connected: its routes are all stale.
func (c *call) down(id uint32) bool { return c.note(id).down }

// label finds what a peer is called; one that has gone meanwhile has no address.
func (c *call) label(id, peer uint32) *client.Label {
	if n := c.note(id); n.of != nil {
		key := peerKey(id, peer)
		if l, ok := c.labels[key]; ok {
			return l
		}
		if l, ok := n.of.PeerLabel(peer); ok {
			if c.labels == nil {
				c.labels = make(map[uint64]*client.Label)
			}
			c.labels[key] = l
			return l
		}
	}
	return &client.Label{ID: peer}
}

// routeTable is the heading of routes.
func routeTable() []filter.Column {
	return []filter.Column{
		{Name: "Client", Key: "client_name", Width: 11}, {Name: "Peer", Width: 14}, {Name: "View", Width: 11}, {Name: "Prefix", Width: 16},
		{Name: "Next hop", Width: 12}, {Name: "Path", Key: "as_path", Width: 19}, {Name: "Age", Key: "since"},
	}
}

// routeWriter writes routes as rows, paragraphs or JSON, and counts them.
type routeWriter struct {
	c           *call
	detail      bool
	cells, json bool

	routes  int
	clients map[uint32]bool

	// What was made of the attributes of the last record; routes with equal ones tend to come together.
	family  bgp.Family
	attrID  uint32
	hasAttr bool
	hop     string
	path    string
	decoded *bgp.Attributes
}

func (c *call) routeWriter() *routeWriter {
	w := &routeWriter{c: c, detail: c.m.Has("detail"), clients: make(map[uint32]bool)}
	w.cells, w.json = c.out.Needs()
	return w
}

// batch writes a batch of routes.
func (w *routeWriter) batch(f bgp.Family, routes []rib.Route) error {
	w.hasAttr = false // records and their numbers are of this batch alone
	for i := range routes {
		r := &routes[i]
		w.routes++
		w.clients[r.Table.Owner().Client] = true
		if err := w.c.out.Record(w.record(f, r)); err != nil {
			return err
		}
	}
	return nil
}

// trailer is the line under the routes: 3 routes, 2 clients.
func (w *routeWriter) trailer(limited bool) error {
	text := plural(w.routes, "route") + ", " + plural(len(w.clients), "client")
	if limited {
		text += " (limit reached, there are more)"
	}
	return w.c.out.Trailer(text)
}

func (w *routeWriter) record(f bgp.Family, r *rib.Route) filter.Record {
	if !w.hasAttr || w.attrID != r.AttrID || w.family != f {
		w.attrID, w.family, w.hasAttr = r.AttrID, f, true
		w.decoded, w.hop, w.path = nil, "", ""
	}
	var rec filter.Record
	if w.cells {
		if w.detail {
			rec.Lines = w.c.routeLines(f, r, w.attributes(f, r))
		}
		rec.Cells = w.row(f, r)
	}
	if w.json {
		rec.JSON = w.c.routeJSON(f, r, w.attributes(f, r))
	}
	return rec
}

func (w *routeWriter) attributes(f bgp.Family, r *rib.Route) *bgp.Attributes {
	if w.decoded == nil {
		a := bgp.Decode(r.Record, f)
		w.decoded = &a
	}
	return w.decoded
}

func (w *routeWriter) row(f bgp.Family, r *rib.Route) []string {
	if w.path == "" {
		w.hop, w.path = hopText(r.Record), pathText(r.Record)
	}
	o := r.Table.Owner()
	return []string{w.c.note(o.Client).text, w.c.label(o.Client, o.Peer).Name(), bmp.View(o.View).String(), nlriText(f, r.Key), w.hop, w.path,
		w.c.routeAge(r)}
}

// nlriText is a key in a column: prefix, or RD:prefix.
func nlriText(f bgp.Family, key []byte) string {
	rd, prefix := bgp.KeyText(f, key)
	if rd != "" {
		return rd + ":" + prefix
	}
	return prefix
}

func hopText(rec []byte) string {
	if a, ok := bgp.NextHop(rec); ok {
		return a.String()
	}
	return "-"
}

// pathText is the AS path with the origin behind it, as routers print it.
func pathText(rec []byte) string {
	b := bgp.AppendASPath(make([]byte, 0, 48), rec)
	if v, ok := bgp.FindAttr(rec, bgp.AttrOrigin); ok && len(v) == 1 {
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(b, originLetter(v[0])...)
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}

func originLetter(o byte) string {
	switch o {
	case 0:
		return "i"
	case 1:
		return "e"
	}
	return "?"
}

// routeAge is the column of that name.
func (c *call) routeAge(r *rib.Route) string {
	age := c.age(r.Since)
	if c.isStale(r) {
		age += " stale"
	}
	return age
}

func (c *call) isStale(r *rib.Route) bool { return r.Stale || c.down(r.Table.Owner().Client) }

func (c *call) routeJSON(f bgp.Family, r *rib.Route, a *bgp.Attributes) routeJSON {
	o := r.Table.Owner()
	note, label := c.note(o.Client), c.label(o.Client, o.Peer)
	rd, prefix := bgp.KeyText(f, r.Key)
	j := routeJSON{
		Client: o.Client, ClientName: jsonString(note.name), PeerID: o.Peer, Peer: addrJSON(label.Address), RD: jsonString(rd),
		View: bmp.View(o.View).Key(), Family: f.String(), Prefix: prefix, NextHop: addrJSON(a.NextHop), Origin: jsonString(a.Origin),
		ASPath: a.ASPath, MED: a.MED, LocalPref: a.LocalPref, Communities: orEmpty(a.Communities),
		LargeCommunities: orEmpty(a.LargeCommunities), ExtCommunities: orEmpty(a.ExtCommunities), Labels: orEmpty(a.Labels),
		Attributes: make(map[string]string, len(a.Others)), Since: c.time(r.Since), Stale: c.isStale(r),
	}
	if r.Table.AddPath() {
		j.PathID = r.PathID
	}
	if a.LinkLocal.IsValid() {
		j.Attributes["link_local"] = a.LinkLocal.String()
	}
	for _, o := range a.Others {
		key := jsonKey(o.Name)
		if before, ok := j.Attributes[key]; ok {
			j.Attributes[key] = before + ", " + o.Text // an attribute that came twice
			continue
		}
		j.Attributes[key] = o.Text
	}
	return j
}

// routeLines is the paragraph of `detail`.
func (c *call) routeLines(f bgp.Family, r *rib.Route, a *bgp.Attributes) []string {
	o := r.Table.Owner()
	label := c.label(o.Client, o.Peer)
	lines := []string{nlriText(f, r.Key) + ", " + f.String() + ", " + bmp.View(o.View).String()}
	add := func(name, text string) {
		if text != "" {
			lines = append(lines, "  "+pad(name, 18)+": "+text)
		}
	}
	note := c.note(o.Client)
	add("client", note.text+" (ID "+strconv.FormatUint(uint64(o.Client), 10)+")")
	peer := label.Name() + " AS" + strconv.FormatUint(uint64(label.AS), 10) + " (ID " + strconv.FormatUint(uint64(o.Peer), 10) + ")"
	if label.Table != "" {
		peer += " table " + label.Table
	}
	add("peer", peer)
	if r.Table.AddPath() {
		add("path-id", strconv.FormatUint(uint64(r.PathID), 10))
	}
	for _, nt := range a.All() {
		text := nt.Text
		if nt.Name == "origin" {
			text = originName(text)
		}
		add(nt.Name, text)
	}
	since := c.age(r.Since) + ", since " + r.Since.In(c.Zone).Format(time.RFC3339)
	if c.isStale(r) {
		since += ", stale"
	}
	add("age", since)
	return append(lines, "")
}

func originName(letter string) string {
	switch letter {
	case "i":
		return "IGP"
	case "e":
		return "EGP"
	case "?":
		return "incomplete"
	}
	return letter
}

func pad(s string, width int) string {
	for len(s) < width {
		s += " "
	}
	return s
}

// jsonKey writes the name of an attribute as JSON keys are: lower_snake_case.
func jsonKey(name string) string {
	b := []byte(name)
	for i, x := range b {
		switch {
		case x == '-' || x == ' ':
			b[i] = '_'
		case x >= 'A' && x <= 'Z':
			b[i] = x + 'a' - 'A'
		}
	}
	return string(b)
}
