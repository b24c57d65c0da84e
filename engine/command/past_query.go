package command

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/control"
)

// pastQuery is a question about routes of the past: what routeQuery reads, put to the archive client by client.
type pastQuery struct {
	*routeQuery
	period
	archive  *archive.Archive // nil: none
	peerText string           // what `peer` says, empty for none
	clients  []*pastClient
	notes    pastNotes
	progress func(string)
}

// pastClient is a client of a question about the past.
type pastClient struct {
	id     uint32
	live   *client.Client // nil: the station does not know it any more
	called string         // what notes call it: with its ID where another one that is asked has the same name
	peers  []archive.PeerKey
	labels map[archive.PeerKey]*client.Label // what peers are called now; with what the archive says of them, then
	full   bool                              // there is no ID for one more peer
}

// pastQuery reads the question from the line.
func (c *call) pastQuery(ctx context.Context, p period) (*pastQuery, error) {
	q := &pastQuery{routeQuery: &routeQuery{}, period: p, archive: c.station.Archive(), peerText: c.m.Value("peer"), progress: c.progress()}
	if err := c.routeView(q.routeQuery); err != nil {
		return nil, err
	}
	if err := c.routeFilters(q.routeQuery); err != nil {
		return nil, err
	}
	if err := c.pastClients(ctx, q); err != nil {
		return nil, err
	}
	return q, nil
}

// pastClients lists the clients that are asked: those that the station knows and those that it has messages of.
func (c *call) pastClients(ctx context.Context, q *pastQuery) error {
	var archived []uint32
	if q.archive != nil {
		var err error
		archived, err = q.archive.Clients(ctx)
		switch {
		case errors.Is(err, archive.ErrAway), errors.Is(err, archive.ErrNoAnswer):
			// What has not changed since the time asked for is known without it.
			q.notes.add("%v: clients that the station no longer knows are not asked", err)
		case err != nil:
			return err
		}
	}
	if x := c.m.Value("client"); x != "" {
		cl, err := c.findClient(x)
		if err == nil {
			q.clients = []*pastClient{{id: cl.ID(), live: cl}}
		} else {
			id, bad := strconv.ParseUint(x, 10, 32)
			if bad != nil || !slices.Contains(archived, uint32(id)) {
				return err
			}
			q.clients = []*pastClient{{id: uint32(id)}}
		}
	} else {
		for _, cl := range c.station.Clients() {
			q.clients = append(q.clients, &pastClient{id: cl.ID(), live: cl})
		}
		for _, id := range archived {
			if _, ok := c.station.Client(id); !ok {
				q.clients = append(q.clients, &pastClient{id: id})
			}
		}
		slices.SortFunc(q.clients, func(a, b *pastClient) int { return int(int64(a.id) - int64(b.id)) })
	}
	for _, pc := range q.clients {
		if pc.live != nil {
			pc.labels = pc.live.PeerLabels()
		} else {
			pc.labels = make(map[archive.PeerKey]*client.Label)
			c.noteGone(ctx, q, pc.id)
		}
	}
	if err := c.pastPeers(ctx, q); err != nil {
		return err
	}
	same := make(map[string]int)
	for _, pc := range q.clients {
		same[c.note(pc.id).text]++
	}
	for _, pc := range q.clients {
		if pc.called = c.note(pc.id).text; same[pc.called] > 1 {
			pc.called += fmt.Sprintf(" (client %d)", pc.id)
		}
	}
	return nil
}

// noteGone finds what a client that the station does not know any more was called.
func (c *call) noteGone(ctx context.Context, q *pastQuery, id uint32) {
	list, err := q.archive.Sessions(ctx, id)
	if err != nil || len(list) == 0 {
		return
	}
	s := &list[len(list)-1]
	n := &clientNote{name: s.Name, text: clientName(&client.Brief{Name: s.Name, Address: s.Address}), down: true}
	if c.notes == nil {
		c.notes = make(map[uint32]*clientNote)
	}
	c.notes[id] = n
}

// pastPeers finds the peers that `peer` says: those of now, or else those that the archive knows of the time.
func (c *call) pastPeers(ctx context.Context, q *pastQuery) error {
	if q.peerText == "" {
		return nil
	}
	one := len(q.clients) == 1 && c.m.Value("client") != ""
	var with []*pastClient
	for _, pc := range q.clients {
		var names []string
		if pc.live != nil {
			for _, p := range pc.live.FindPeers(q.peerText) {
				if k, ok := pc.live.ArchivePeer(p.ID); ok {
					pc.peers = append(pc.peers, k)
					names = append(names, fmt.Sprintf("\n* %d  %s %s", p.ID, peerLabel(&p), peerHelp(&p)))
				}
			}
		}
		if len(pc.peers) == 0 && pc.live != nil {
			if k, ok := pc.live.PastPeer(q.peerText); ok {
				pc.peers = append(pc.peers, k)
			}
		}
		if len(pc.peers) == 0 && q.archive != nil {
			list, err := q.archive.Peers(ctx, pc.id, q.from, q.to)
			if err != nil {
				return err
			}
			for i := range list {
				if l := client.PastLabel(&list[i]); l.Named(q.peerText) {
					pc.peers = append(pc.peers, list[i].Key)
					names = append(names, fmt.Sprintf("\n* %s AS%d", l.Name(), l.AS))
				}
			}
		}
		if addr, err := netip.ParseAddr(q.peerText); err == nil && len(pc.peers) == 0 && q.archive != nil {
			// A peer that the router spoke of without ever having announced it.
			k := archive.PeerKey{Address: addr}
			spoken, err := q.archive.Spoken(ctx, pc.id, k, q.from, q.to)
			if err != nil {
				return err
			}
			if spoken {
				pc.peers = append(pc.peers, k)
			}
		}
		if one && len(pc.peers) > 1 {
			slices.Sort(names)
			return &control.Error{Code: control.CodeConflict, Text: fmt.Sprintf("Multiple peers match '%s':", q.peerText) + strings.Join(names, "")}
		}
		if len(pc.peers) > 0 {
			with = append(with, pc)
		}
	}
	if len(with) == 0 {
		if one {
			return control.Errorf(control.CodeNotFound, "No peer '%s' on client %d", q.peerText, q.clients[0].id)
		}
		return control.Errorf(control.CodeNotFound, "No peer '%s' on any client", q.peerText)
	}
	q.clients = with
	return nil
}

// maxPastRoutes bounds how many routes of one client a question about the past holds, a few hundred bytes each.
const maxPastRoutes = 3_000_000

// want is the question as the archive takes it. What depends on the peer, and for a longest match the filters, is left to
// wanted.
func (q *pastQuery) want(c *call, pc *pastClient, done int) (archive.Want, error) {
	w := archive.Want{Peers: pc.peers, MaxRoutes: maxPastRoutes, StaleFor: c.station.Retention()}
	name := pc.called
	if len(q.clients) > 1 {
		name += fmt.Sprintf(" (client %d of %d)", done+1, len(q.clients))
	}
	w.Progress = func(done, all uint64) { q.progress(fmt.Sprintf("%s: %d of %d blocks read", name, done, all)) }
	var err error
	if w.Keys, err = q.keys(); err != nil {
		return w, err
	}
	if w.Select, err = q.selector(w.Keys != nil); err != nil {
		return w, err
	}
	return w, nil
}

// keys are the keys that the question is about, where they can be counted; nil if not.
func (q *pastQuery) keys() (list []archive.RouteKey, err error) {
	switch {
	case q.prefix.IsValid() && q.match != rib.Longer:
		for _, f := range q.families {
			var rd bgp.RD
			if f.HasRD() {
				if q.rd == "" {
					return nil, nil
				}
				if rd, err = bgp.ParseRD(q.rd); err != nil {
					return nil, err
				}
			}
			for p := q.prefix; ; {
				list = append(list, archive.RouteKey{Family: f, Key: bgp.AppendPrefixKey(nil, f, rd, p)})
				if q.match == rib.Exact || p.Bits() == 0 {
					break
				}
				p, _ = p.Addr().Prefix(p.Bits() - 1)
			}
		}
	case q.nlri != "" && !q.all:
		key, err := bgp.ParseKey(q.families[0], q.rd, q.nlri)
		if err == nil && (!q.families[0].HasRD() || q.rd != "") {
			list = append(list, archive.RouteKey{Family: q.families[0], Key: key})
		}
	}
	return list, nil
}

// selector is what routes have to be beyond their keys, as far as neither peer nor attributes matter; nil: nothing.
func (q *pastQuery) selector(keyed bool) (func(bmp.View, bgp.Family, []byte, uint32) bool, error) {
	var tests []func(v bmp.View, f bgp.Family, key []byte, pathID uint32) bool
	if q.view != nil {
		tests = append(tests, func(v bmp.View, _ bgp.Family, _ []byte, _ uint32) bool { return v == *q.view })
	}
	if q.views != nil {
		tests = append(tests, func(v bmp.View, _ bgp.Family, _ []byte, _ uint32) bool { return slices.Contains(q.views, v) })
	}
	if q.pathID != nil && q.match != rib.LPM {
		tests = append(tests, func(_ bmp.View, _ bgp.Family, _ []byte, id uint32) bool { return id == *q.pathID })
	}
	if !keyed && !q.all {
		tests = append(tests, func(_ bmp.View, f bgp.Family, _ []byte, _ uint32) bool { return slices.Contains(q.families, f) })
	}
	if !keyed && q.prefix.IsValid() {
		target := make(map[bgp.Family][]byte)
		for _, f := range q.families {
			target[f] = bgp.AppendPrefixKey(nil, f, bgp.RD{}, q.prefix)
		}
		tests = append(tests, func(_ bmp.View, f bgp.Family, key []byte, _ uint32) bool {
			rd := 0
			if f.HasRD() {
				rd = 8
			}
			t := target[f]
			if len(key) < 1+rd || len(t) < 1+rd {
				return false
			}
			switch q.match {
			case rib.Exact:
				return key[0] == t[0] && string(key[1+rd:]) == string(t[1+rd:])
			case rib.Longer:
				return coversKey(t, key, rd)
			}
			return coversKey(key, t, rd)
		})
	}
	if !keyed && q.nlri != "" {
		tests = append(tests, func(_ bmp.View, f bgp.Family, key []byte, _ uint32) bool {
			if f.IsPrefix() {
				return false
			}
			_, text := bgp.KeyText(f, key)
			return text == q.nlri
		})
	}
	if q.rd != "" {
		want, err := bgp.ParseRD(q.rd)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(_ bmp.View, f bgp.Family, key []byte, _ uint32) bool {
			rd, ok := bgp.KeyRD(f, key)
			return !f.HasRD() || ok && rd == want
		})
	}
	if len(tests) == 0 {
		return nil, nil
	}
	return func(v bmp.View, f bgp.Family, key []byte, id uint32) bool {
		for _, ok := range tests {
			if !ok(v, f, key, id) {
				return false
			}
		}
		return true
	}, nil
}

// coversKey says whether the prefix of key a covers that of b; rd bytes of both are not looked at.
func coversKey(a, b []byte, rd int) bool {
	if a[0] > b[0] {
		return false
	}
	x, y := a[1+rd:], b[1+rd:]
	whole := int(a[0]) / 8
	if len(x) < whole || len(y) < whole || string(x[:whole]) != string(y[:whole]) {
		return false
	}
	rest := int(a[0]) % 8
	return rest == 0 || len(x) > whole && len(y) > whole && (x[whole]^y[whole])>>(8-rest) == 0
}

// attributes says whether a record passes the filters on attributes.
func (q *routeQuery) attributes(rec []byte) bool {
	for _, ok := range q.attrs {
		if !ok(rec) {
			return false
		}
	}
	return true
}

// ofPeer says whether a route's peer is one that is asked for, as far as want could not say.
func (q *routeQuery) ofPeer(f bgp.Family, l *client.Label) bool {
	return q.rd == "" || f.HasRD() || l.RD == q.rd
}

// wanted is what remains to be looked at of a route that the archive found.
func (q *routeQuery) wanted(r *shownRoute) bool {
	return q.ofPeer(r.family, r.label) && (!q.stale || r.stale) && (q.pathID == nil || *q.pathID == r.pathID) && q.attributes(r.record)
}

// row makes a row of a route of the archive. A peer that the client does not have gets its ID here, where the answer first names it.
func (pc *pastClient) row(r *archive.Route, labels map[archive.PeerKey]*client.Label) shownRoute {
	l := labels[r.Peer]
	if l == nil {
		l = pc.label(&archive.HeldPeer{Key: r.Peer})
		labels[r.Peer] = l
	}
	if l.ID == 0 && pc.live != nil && !pc.full {
		l.ID = pc.live.PeerID(r.Peer)
		pc.full = l.ID == 0
	}
	return shownRoute{
		client: pc.id, peer: l.ID, view: r.View, family: r.Family, key: r.Key, pathID: r.PathID, addPath: r.AddPath, record: r.Record,
		since: r.Since, stale: r.Stale, label: l, stamp: r.Router,
	}
}

// label is what a peer was called then, with the number that it has now.
func (pc *pastClient) label(h *archive.HeldPeer) *client.Label {
	l := client.PastLabel(h)
	if now := pc.labels[h.Key]; now != nil {
		l.ID = now.ID
		if l.Table == "" {
			l.Table = now.Table
		}
		if l.AS == 0 {
			l.AS = now.AS
		}
	}
	return l
}

// pastLabels are what the peers of an answer were called.
func (pc *pastClient) pastLabels(list []archive.HeldPeer) map[archive.PeerKey]*client.Label {
	m := make(map[archive.PeerKey]*client.Label, len(list))
	for i := range list {
		m[list[i].Key] = pc.label(&list[i])
	}
	return m
}

// tooMany makes an error of the archive's that says what to do.
func tooMany(err error) error {
	if errors.Is(err, archive.ErrTooMany) {
		return control.Errorf(control.CodeFailed, "More than %d routes: ask for a client, a peer, a view, a prefix or a filter", maxPastRoutes)
	}
	return err
}

// pastNotes is what has to be said beside an answer about the past.
type pastNotes struct {
	list   []string
	more   int
	unseen []string // clients of which nothing is known up to the time

	aways     map[uint32][]archive.Away // of each client
	away      []string                  // the first of them
	awayMore  int                       // how many more there are
	awayOther string                    // the client of these; empty: of several
}

// How many notes are shown, and of these how many say where clients were away: there is one for each after a restart of the station.
const (
	maxPastNotes = 8
	maxAwayNotes = 3
)

func (n *pastNotes) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case slices.Contains(n.list, text): // of another time of the same question
	case len(n.list) == maxPastNotes:
		n.more++
	default:
		n.list = append(n.list, text)
	}
}

// existedNot says that a client was not there before what is known of it, in a question that begins at a time and ends at another.
func (pc *pastClient) existedNot(h *archive.Held, from, to time.Time) bool {
	if pc.live == nil {
		return false
	}
	const soon = 5 * time.Second // between a connection and its first message
	first := pc.live.First()
	return first.After(from) && (first.After(to) || !h.Begin.IsZero() && h.Begin.Before(first.Add(soon)))
}

// take notes what an answer of a client leaves open, to a question that begins at a time and ends at another.
func (n *pastNotes) take(c *call, pc *pastClient, h *archive.Held, from, to time.Time) {
	name := pc.called
	switch {
	case h.Incomplete && pc.existedNot(h, from, to):
	case h.Incomplete && h.Begin.IsZero():
		n.add("%s: incomplete, what it said up to then is no longer kept", name)
	case h.Incomplete:
		n.add("%s: incomplete, its messages from before %s are no longer kept", name, c.moment(h.Begin))
	}
	if h.SetBack {
		n.add("%s: the clock was set back, this is the last time it was then", name)
	}
	for _, u := range h.Unknown {
		n.add("the station was killed, nothing is known of %s from %s to %s", name, c.clock(u.From), c.clock(u.To))
	}
	n.awayFrom(c, pc, h)
	for i := range h.Gaps {
		if i == 2 {
			n.add("%s: %d more gaps", name, len(h.Gaps)-i)
			break
		}
		n.add("%s: %s", name, c.gapText(&h.Gaps[i]))
	}
	if k := uint64(len(h.Corrupt)) + h.More; k > 0 {
		n.add("%s cannot be read, the first is %v", plural(int(k), "block"), h.Corrupt[0])
	}
}

// awayFrom notes where a client was away within the time asked about. What the dump of the session after it changed is shown at that
// session's beginning, and nobody knows when it happened.
func (n *pastNotes) awayFrom(c *call, pc *pastClient, h *archive.Held) {
	if len(h.Away) == 0 {
		return
	}
	if n.aways == nil {
		n.aways = make(map[uint32][]archive.Away)
	}
	n.aways[pc.id] = h.Away
	name := pc.called
	for _, x := range h.Away {
		switch {
		case len(n.away) < maxAwayNotes:
			n.away = append(n.away, fmt.Sprintf("%s was away from %s to %s", name, c.clock(x.From), c.clock(x.To)))
			continue
		case n.awayMore == 0:
			n.awayOther = name
		case n.awayOther != name:
			n.awayOther = ""
		}
		n.awayMore++
	}
}

// downOf is down for what the archive says. Where the client counts as down because the station was, that is noted already.
func (n *pastNotes) downOf(c *call, pc *pastClient, h *archive.Held, since, at time.Time) {
	if !slices.ContainsFunc(h.Unknown, func(u archive.Unknown) bool { return u.From.Equal(since) && at.Before(u.To) }) {
		n.down(c, pc, since, at)
	}
}

// down notes that a client was down, where it is not said from when to when it was away.
func (n *pastNotes) down(c *call, pc *pastClient, since, at time.Time) {
	if slices.ContainsFunc(n.aways[pc.id], func(x archive.Away) bool { return x.From.Equal(since) && at.Before(x.To) }) {
		return
	}
	n.add("%s was down at %s (since %s)", pc.called, c.clock(at), c.clock(since))
}

// texts are the notes.
func (n *pastNotes) texts() []string {
	list := append(slices.Clip(n.list), n.away...)
	switch {
	case n.awayMore == 0:
	case n.awayOther != "":
		list = append(list, fmt.Sprintf("%s was away %s", n.awayOther, plural(n.awayMore, "more time")))
	default:
		list = append(list, fmt.Sprintf("clients were away %s", plural(n.awayMore, "more time")))
	}
	if n.more > 0 {
		list = append(list, fmt.Sprintf("%d more notes", n.more))
	}
	switch len(n.unseen) {
	case 0:
	case 1, 2, 3:
		list = append(slices.Clip(list), "nothing is archived of "+strings.Join(n.unseen, ", ")+" up to then")
	default:
		list = append(slices.Clip(list), fmt.Sprintf("nothing is archived of %d clients up to then", len(n.unseen)))
	}
	return list
}

// endPast is endWith for an answer about the past.
func (c *call) endPast(q *pastQuery, text string) error {
	return c.endWith(text+" "+c.periodText(q.period), q.notes.texts())
}

// endWith writes the line under an answer, with notes; where there are no such lines, the notes are warnings.
func (c *call) endWith(text string, notes []string) error {
	if cells, _ := c.out.Needs(); !cells {
		for _, n := range notes {
			if err := c.out.Warn(n); err != nil {
				return err
			}
		}
		return nil
	}
	if text != "" {
		notes = append([]string{text}, notes...)
	}
	return c.out.Trailer(strings.Join(notes, "; "))
}
