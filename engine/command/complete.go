package command

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"bmp/engine"
	"bmp/engine/client"
	"bmp/engine/listen"
	"bmp/proto/bgp"
	"bmp/proto/control"
	"bmp/proto/grammar"
)

// maxCandidates bounds what one completion looks at; consoles show fewer.
const maxCandidates = 400

// Values lists what may stand for a value: the clients that are there with what
// one wants to know of each, the peers of the client named before, and so on.
func (h *Handler) Values(ctx context.Context, q *control.Request, kind, partial string, m *grammar.Match) []grammar.Candidate {
	v := &values{partial: partial}
	switch kind {
	case "CLIENT":
		h.clientValues(ctx, v)
	case "PEER":
		h.peerValues(ctx, v, m)
	case "FAMILY":
		h.familyValues(v)
	case "RD":
		h.eachPeer(ctx, m, func(_ *client.Client, p *client.PeerInfo) bool {
			v.add(p.RD, p.Name()+" "+peerHelp(p))
			return v.more()
		})
	case "TABLE":
		h.eachPeer(ctx, m, func(_ *client.Client, p *client.PeerInfo) bool {
			v.add(p.Table, p.Name()+" "+peerHelp(p))
			v.add(p.AdminLabel, p.Name()+" "+peerHelp(p))
			return v.more()
		})
	case "AS":
		h.eachPeer(ctx, m, func(_ *client.Client, p *client.PeerInfo) bool {
			if p.AS != 0 {
				v.add(strconv.FormatUint(uint64(p.AS), 10), "of peer "+p.Name())
			}
			return v.more()
		})
	case "LISTENER":
		h.listenerValues(v, m)
	case "ADDRPORT":
		if m.Command.ID == "no relay" {
			for _, r := range h.station.RelayRules() {
				help := "of all clients"
				if r.Who != "" {
					help = "of client " + r.Who
				}
				v.add(r.To.String(), help)
			}
		}
	case "ROUTER":
		if m.Command.ID == "no connect" {
			for _, d := range h.station.Dialled() {
				v.add(d.Remote().Name(), "router the station dials")
			}
		}
	case "NETNS":
		list, _ := listen.Namespaces()
		for _, n := range list {
			v.add(n.Name, "network namespace")
		}
	case "DEV":
		list, _ := net.Interfaces()
		for _, d := range list {
			v.add(d.Name, "device")
		}
	case "ID":
		if q != nil && q.Conn != nil {
			for _, s := range q.Conn.Subscriptions() {
				v.add(strconv.Itoa(s.ID), s.What)
			}
		}
	case "WIDTH":
		v.add("2", "octets")
		v.add("4", "octets")
	case "N":
		h.malformedValues(v, m)
	case "NAME":
		h.statisticValues(v, m)
	}
	return v.list
}

// values gathers the candidates that go on as what was typed.
type values struct {
	partial string
	list    []grammar.Candidate
	seen    map[string]bool
}

func (v *values) more() bool { return len(v.list) < maxCandidates }

// wants reports whether text goes on as what was typed, before a help is made for it.
func (v *values) wants(text string) bool { return strings.HasPrefix(text, v.partial) }

// add takes a candidate once; an empty one is none. The grammar quotes it where it must be.
func (v *values) add(text, help string) {
	if text == "" || !v.wants(text) || !v.more() || v.seen[text] {
		return
	}
	if v.seen == nil {
		v.seen = make(map[string]bool)
	}
	v.seen[text] = true
	v.list = append(v.list, grammar.Candidate{Text: text, Help: help})
}

// clientValues offers IDs; names and addresses once a letter of them was typed.
func (h *Handler) clientValues(ctx context.Context, v *values) {
	for _, cl := range h.station.Clients() {
		if ctx.Err() != nil || !v.more() {
			return
		}
		b := cl.Brief()
		v.add(strconv.FormatUint(uint64(b.ID), 10), clientHelp(&b))
		if v.partial != "" {
			v.add(b.Name, fmt.Sprintf("%d %s %s", b.ID, addrPort(b.Address), b.State))
			if b.Address.IsValid() {
				v.add(b.Address.Addr().String(), clientHelp(&b))
			}
		}
	}
}

// named is the client that the words before name; nil for none.
func (h *Handler) named(m *grammar.Match) *client.Client {
	if m == nil {
		return nil
	}
	if found := h.station.FindClients(m.Value("client")); len(found) == 1 {
		return found[0]
	}
	return nil
}

// eachPeer calls f with the peers of the client named before, or of all, until
// it has enough.
func (h *Handler) eachPeer(ctx context.Context, m *grammar.Match, f func(*client.Client, *client.PeerInfo) bool) {
	clients := h.station.Clients()
	if cl := h.named(m); cl != nil {
		clients = []*client.Client{cl}
	}
	for _, cl := range clients {
		if ctx.Err() != nil {
			return
		}
		peers := cl.Peers()
		for i := range peers {
			if !f(cl, &peers[i]) {
				return
			}
		}
	}
}

// peerValues offers the peers' names as short as they are unambiguous, and IDs
// once a digit was typed that begins one.
func (h *Handler) peerValues(ctx context.Context, v *values, m *grammar.Match) {
	count := make(map[string]int)
	var peers []*client.PeerInfo
	var names []string
	h.eachPeer(ctx, m, func(_ *client.Client, p *client.PeerInfo) bool {
		name := p.Name()
		count[name]++
		peers, names = append(peers, p), append(names, name)
		return len(peers) < 100_000
	})
	one := h.named(m) != nil
	for i, p := range peers {
		if !v.more() {
			return
		}
		name := names[i]
		if one && count[name] > 1 {
			name = peerLabel(p)
		}
		if v.wants(name) {
			v.add(name, peerHelp(p))
		}
		if id := strconv.FormatUint(uint64(p.ID), 10); one && v.partial != "" && v.wants(id) {
			v.add(id, names[i]+" "+peerHelp(p))
		}
	}
}

// familyValues offers the families that routes are held of.
func (h *Handler) familyValues(v *values) {
	families := h.station.Store().Families()
	slices.SortFunc(families, bgp.Family.Compare)
	for _, f := range families {
		v.add(f.String(), "routes are held")
	}
}

func (h *Handler) listenerValues(v *values, m *grammar.Match) {
	if m != nil && slices.Contains(m.Words, "control") {
		if ctl := h.station.Control(); ctl != nil {
			for _, l := range ctl.Listeners() {
				if l.Further {
					v.add(l.Name, plural(l.Consoles, "console"))
				}
			}
		}
		return
	}
	if m == nil || !slices.Contains(m.Words, "no") {
		return // a new one
	}
	for _, l := range h.station.Listeners() {
		v.add(engine.ListenerName(l), plural(l.Stats().Sessions, "session"))
	}
}

func (h *Handler) malformedValues(v *values, m *grammar.Match) {
	cl := h.named(m)
	if cl == nil || !slices.Contains(m.Words, "malformed") {
		return
	}
	list, _ := cl.Malformed()
	for i := range list {
		v.add(strconv.FormatUint(list[i].Number, 10), strings.TrimSpace(list[i].PeerName+" "+list[i].Reason))
	}
}

// statisticValues offers the statistics that the client's router reports.
func (h *Handler) statisticValues(v *values, m *grammar.Match) {
	cl := h.named(m)
	if cl == nil || !slices.Contains(m.Words, "statistics") {
		return
	}
	for _, p := range cl.Statistics() {
		for i := range p.Statistics {
			s := &p.Statistics[i]
			v.add(strconv.Itoa(int(s.Type)), s.Name)
		}
	}
}
