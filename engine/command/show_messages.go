package command

import (
	"context"
	"encoding/hex"
	"math"
	"strings"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/proto/bmp"
	"bmp/proto/control"
	"bmp/proto/filter"
)

// defaultMessages is how many messages are shown where `last` does not say.
const defaultMessages = 50

// messageJSON is a message in show client X messages | json; detail and hex add keys.
type messageJSON struct {
	Time       any    `json:"time"`
	RouterTime any    `json:"router_time"`
	Type       string `json:"type"`
	Peer       any    `json:"peer"` // an address; null for Loc-RIB and messages without a peer
	RD         any    `json:"rd"`
	PeerName   any    `json:"peer_name"` // as commands take it; null for messages without a peer
	View       any    `json:"view"`
	Summary    string `json:"summary"`
	Announced  int    `json:"announced"`
	Withdrawn  int    `json:"withdrawn"`
	Bytes      int    `json:"bytes"`

	Routes *[]messageRoute `json:"routes,omitempty"`
	Body   *[]nameValue    `json:"body,omitempty"`
	Hex    *string         `json:"hex,omitempty"`
}

// nameValue is one decoded field: a list of them, because names repeat and
// their order says something.
type nameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// messageForm is how messages are to be shown.
type messageForm struct{ detail, hex, json, text bool }

// routes is how many NLRI of a message the form names.
func (f messageForm) routes() int {
	if f.detail {
		return math.MaxInt
	}
	return shownRoutes
}

func (c *call) messageForm() messageForm {
	f := messageForm{detail: c.m.Has("detail"), hex: c.m.Has("hex")}
	f.text, f.json = c.out.Needs()
	return f
}

// messageRecord makes a row, a paragraph or JSON of a message.
func (c *call) messageRecord(m *client.Message, f messageForm) filter.Record {
	d := decodeMessage(m, f.routes())
	peer := m.PeerName
	if peer == "" {
		peer = "-"
	}
	typ := m.Type.Word()
	summary := d.summary
	if m.HasView {
		summary = m.View.String() + " " + summary
	}
	var rec filter.Record
	if f.text {
		rec.Cells = []string{c.clock(m.Time), typ, peer, summary}
		if f.detail || f.hex {
			rec.Lines = c.messageLines(m, &d, f, c.clock(m.Time)+"  "+typ+"  "+peer+"  "+summary)
		}
	}
	if f.json {
		j := messageJSON{Time: c.time(m.Time), RouterTime: c.time(m.RouterTime), Type: m.Type.String(), Peer: addrJSON(d.peer),
			Summary: d.summary, Announced: m.Announced, Withdrawn: m.Withdrawn, Bytes: len(m.Raw)}
		if m.PeerName != "" {
			place, _, ok := strings.Cut(m.PeerName, "/")
			if j.PeerName = m.PeerName; ok {
				j.RD = place
			}
		}
		if m.HasView {
			j.View = m.View.Key()
		}
		if f.detail {
			routes, body := orEmpty(d.routes), make([]nameValue, len(d.body))
			for i, b := range d.body {
				body[i] = nameValue{b.name, b.value}
			}
			j.Routes, j.Body = &routes, &body
		}
		if f.hex {
			h := hex.EncodeToString(m.Raw)
			j.Hex = &h
		}
		rec.JSON = j
	}
	return rec
}

// messageLines is the paragraph of `detail` and `hex`.
func (c *call) messageLines(m *client.Message, d *decodedMessage, f messageForm, title string) []string {
	lines := []string{title}
	if f.detail {
		for _, b := range d.body {
			lines = append(lines, "  "+pad(b.name, 22)+": "+b.value)
		}
		for _, r := range d.routes {
			text := "  " + pad(r.Action, 22) + ": " + r.Family + " "
			if rd, ok := r.RD.(string); ok {
				text += rd + ":"
			}
			text += r.Prefix
			if id, ok := r.PathID.(uint32); ok {
				text += " path-id " + count(int(id))
			}
			lines = append(lines, text)
		}
	}
	if f.hex {
		lines = append(lines, hexLines(m.Raw, "  ")...)
	}
	return append(lines, "")
}

var messageTable = []filter.Column{{Name: "Time", Width: 12}, {Name: "Type", Width: 17}, {Name: "Peer", Width: 15}, {Name: "Message", Key: "summary"}}

func showMessages(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if c.m.Has("since") || c.m.Has("from") {
		return showPastMessages(ctx, c, cl)
	}
	a := c.station.Archive()
	q := client.MessageQuery{Last: defaultMessages}
	if n, ok := c.m.Number("last"); ok {
		if a != nil && (n == 0 || n > pastMessages) {
			return c.invalidLast()
		}
		if n == 0 {
			return c.invalid("last", "a number of messages, 1 or more")
		}
		q.Last = int(min(n, 1<<20))
	}
	older, unknownPeer, err := c.messageFilter(cl)
	switch {
	case err != nil:
		return err
	case a != nil:
		if q.Key = older.Peer; unknownPeer != nil {
			q.Name = c.m.Value("peer")
		}
	case unknownPeer != nil:
		return unknownPeer
	case older.Peer != nil:
		p, err := findPeer(cl, c.m.Value("peer"))
		if err != nil {
			return err
		}
		q.Peer = p.ID
	}
	q.OfType, q.Type = older.OfType, older.Type
	form := c.messageForm()
	if err := c.columns(messageTable...); err != nil {
		return err
	}
	shown := 0
	show := func(m *client.Message) error {
		shown++
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.out.Record(c.messageRecord(m, form))
	}
	var tail archive.Tail
	var notes []string
	if a != nil {
		q.Begin = func(n int, oldest *archive.Place) (err error) {
			w := archive.Window{Last: q.Last - n, Before: oldest}
			if q.Name != "" {
				w.Match = func(m *archive.Message) bool { return strings.EqualFold(client.FromArchive(m).PeerName, q.Name) }
			}
			tail, notes, err = c.showOlderMessages(ctx, a, cl, older, w, show)
			return err
		}
	}
	ring, err := cl.Messages(ctx, q, show)
	if err != nil {
		return err
	}
	if shown == 0 && unknownPeer != nil {
		if !tail.Cut.IsZero() {
			return control.Errorf(control.CodeNotFound, "No peer '%s' on client %d, nor in its messages since %s", q.Name, cl.ID(), c.clock(tail.Cut))
		}
		return unknownPeer
	}
	switch {
	case ring.Dropped > 0 && (a == nil || tail.Whole && tail.Blocks == 0):
		notes = append(notes, formatCount(ring.Dropped, 1)+" older ones are no longer kept")
	case tail.Gone:
		notes = append(notes, "older ones are no longer kept")
	}
	return c.endWith(plural(shown, "message"), notes)
}

// unknownType stands for all types that BMP does not have.
const unknownType bmp.MessageType = 255

// typeMatch tests for a message type by its word; unknown is every type that BMP does not have.
func typeMatch(word string) func(bmp.MessageType) bool {
	if t, ok := bmp.ParseMessageType(word); ok {
		return func(x bmp.MessageType) bool { return x == t }
	}
	return func(x bmp.MessageType) bool { return !x.Known() }
}
