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
	Client     uint32 `json:"client"`
	ClientName any    `json:"client_name"`
	PeerID     any    `json:"peer_id"` // null: of a client that the station does not know any more, or that has too many
	routeSaidJSON
	Since any `json:"since"`
	Stale any `json:"stale"`
}

// routeSaidJSON is what every row about a route says of it: the route, and its attributes, which are null where there are none,
// as in a withdrawal.
type routeSaidJSON struct {
	Peer             any               `json:"peer"` // an address; null for Loc-RIB
	RD               any               `json:"rd"`
	View             any               `json:"view"`
	Family           string            `json:"family"`
	Prefix           string            `json:"prefix"`
	PathID           any               `json:"path_id"`
	NextHop          any               `json:"next_hop"`
	Origin           any               `json:"origin"`
	ASPath           any               `json:"as_path"`
	MED              *uint32           `json:"med"`
	LocalPref        *uint32           `json:"local_pref"`
	Communities      []string          `json:"communities"`
	LargeCommunities []string          `json:"large_communities"`
	ExtCommunities   []string          `json:"ext_communities"`
	Labels           []string          `json:"labels"`
	Attributes       map[string]string `json:"attributes"`
}

// say fills in the attributes.
func (j *routeSaidJSON) say(a *bgp.Attributes) {
	j.NextHop, j.Origin, j.ASPath, j.MED, j.LocalPref = addrJSON(a.NextHop), jsonString(a.Origin), a.ASPath, a.MED, a.LocalPref
	j.Communities, j.LargeCommunities = orEmpty(a.Communities), orEmpty(a.LargeCommunities)
	j.ExtCommunities, j.Labels = orEmpty(a.ExtCommunities), orEmpty(a.Labels)
	j.Attributes = make(map[string]string, len(a.Others))
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
}

// shownRoute is a route as rows have it, of now or of the past. Key and record are as long-lived as where they came from.
type shownRoute struct {
	client, peer uint32 // peer 0: one without an ID, see routeJSON
	view         bmp.View
	family       bgp.Family
	key          []byte
	pathID       uint32
	addPath      bool
	record       []byte
	since        time.Time
	coarse       bool // since has the store's grain of an eighth of a second
	stale        bool
	label        *client.Label // nil: what the peer is called now
	stamp        time.Time     // the router's, of the message that announced it; zero: none, or not known
}

// live makes a row of a route of the store.
func (c *call) live(f bgp.Family, r *rib.Route) shownRoute {
	o := r.Table.Owner()
	return shownRoute{
		client: o.Client, peer: o.Peer, view: bmp.View(o.View), family: f, key: r.Key, pathID: r.PathID, addPath: r.Table.AddPath(),
		record: r.Record, since: r.Since, coarse: true, stale: r.Stale || c.down(o.Client),
	}
}

// labelOf is what the peer of a route is called.
func (c *call) labelOf(r *shownRoute) *client.Label {
	if r.label != nil {
		return r.label
	}
	return c.label(r.client, r.peer)
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
		r := w.c.live(f, &routes[i])
		if err := w.write(&r, routes[i].AttrID); err != nil {
			return err
		}
	}
	return nil
}

// write writes one route. What is known of the attributes of the one before is used again where attrID is the same, and
// not 0.
func (w *routeWriter) write(r *shownRoute, attrID uint32) error {
	w.routes++
	w.clients[r.client] = true
	if !w.hasAttr || attrID == 0 || w.attrID != attrID || w.family != r.family {
		w.attrID, w.family, w.hasAttr = attrID, r.family, true
		w.decoded, w.hop, w.path = nil, "", ""
	}
	return w.c.out.Record(w.record(r))
}

// trailer is the line under the routes: 3 routes, 2 clients.
func (w *routeWriter) trailer(limited bool) error { return w.c.out.Trailer(w.text(limited)) }

func (w *routeWriter) text(limited bool) string {
	text := plural(w.routes, "route") + ", " + plural(len(w.clients), "client")
	if limited {
		text += " (limit reached, there are more)"
	}
	return text
}

func (w *routeWriter) record(r *shownRoute) filter.Record {
	var rec filter.Record
	if w.cells {
		if w.detail {
			rec.Lines = w.c.routeLines(r, w.attributes(r))
		}
		rec.Cells = w.row(r)
	}
	if w.json {
		rec.JSON = w.c.routeJSON(r, w.attributes(r))
	}
	return rec
}

func (w *routeWriter) attributes(r *shownRoute) *bgp.Attributes {
	if w.decoded == nil {
		a := bgp.Decode(r.record, r.family)
		w.decoded = &a
	}
	return w.decoded
}

func (w *routeWriter) row(r *shownRoute) []string {
	if w.path == "" {
		w.hop, w.path = hopText(r.record), pathText(r.record)
	}
	return []string{w.c.note(r.client).text, w.c.labelOf(r).Name(), r.view.String(), nlriText(r.family, r.key), w.hop, w.path, w.c.routeAge(r)}
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

// routeAge is the column of that name; of the past, how old the route was.
func (c *call) routeAge(r *shownRoute) string {
	age := c.age(r.since)
	if r.stale {
		age += " stale"
	}
	return age
}

func (c *call) routeJSON(r *shownRoute, a *bgp.Attributes) routeJSON {
	note, label := c.note(r.client), c.labelOf(r)
	rd, prefix := bgp.KeyText(r.family, r.key)
	j := routeJSON{
		Client: r.client, ClientName: jsonString(note.name), Since: c.time(r.since), Stale: r.stale,
		routeSaidJSON: routeSaidJSON{
			Peer: addrJSON(label.Address), RD: jsonString(rd), View: r.view.Key(), Family: r.family.String(), Prefix: prefix,
		},
	}
	if r.coarse {
		j.Since = jsonCoarseTime(r.since, c.Zone)
	}
	if r.peer != 0 {
		j.PeerID = r.peer
	}
	if r.addPath {
		j.PathID = r.pathID
	}
	j.say(a)
	return j
}

// routeLines is the paragraph of `detail`.
func (c *call) routeLines(r *shownRoute, a *bgp.Attributes) []string {
	label := c.labelOf(r)
	lines := []string{nlriText(r.family, r.key) + ", " + r.family.String() + ", " + r.view.String()}
	add := func(name, text string) {
		if text != "" {
			lines = append(lines, "  "+pad(name, 18)+": "+text)
		}
	}
	note := c.note(r.client)
	add("client", note.text+" (ID "+strconv.FormatUint(uint64(r.client), 10)+")")
	peer := label.Name() + " AS" + strconv.FormatUint(uint64(label.AS), 10)
	if r.peer != 0 {
		peer += " (ID " + strconv.FormatUint(uint64(r.peer), 10) + ")"
	}
	if label.Table != "" {
		peer += " table " + label.Table
	}
	add("peer", peer)
	if r.addPath {
		add("path-id", strconv.FormatUint(uint64(r.pathID), 10))
	}
	for _, nt := range a.All() {
		text := nt.Text
		if nt.Name == "origin" {
			text = originName(text)
		}
		add(nt.Name, text)
	}
	since := c.age(r.since) + ", since " + r.since.In(c.Zone).Format(time.RFC3339)
	if r.stale {
		since += ", stale"
	}
	add("age", since)
	if !r.stamp.IsZero() {
		add("router's time", r.stamp.In(c.Zone).Format(time.RFC3339Nano))
	}
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
