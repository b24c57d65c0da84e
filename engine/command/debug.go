package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"bmp/engine/client"
	"bmp/engine/event"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/control"
)

// debugQueue is how many events may wait between the session that publishes and
// the console that reads.
const debugQueue = 4096

// debugTag marks the subscriptions of debug with the client they follow.
type debugTag struct{ client uint32 }

// debugClient follows a client. Without further words everything that happens:
// each route change as one line, every other message decoded as one line, peer
// and client changes, what is malformed. `route` narrows to routes, `type` to
// messages of a type; `detail` and `hex` show messages whole.
func debugClient(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	// The subscription outlives the request: it has a copy of its own.
	request := *c.Request
	own := *c
	own.Request, own.out = &request, nil
	f := &follow{call: &own, client: cl, form: messageForm{detail: c.m.Has("detail"), hex: c.m.Has("hex"), text: true}, json: c.m.Has("json")}
	what := fmt.Sprintf("client %d", cl.ID())
	filter := event.Filter{Client: cl.ID(), Kinds: event.AllKinds}
	if y := c.m.Value("peer"); y != "" {
		p, err := findPeer(cl, y)
		if err != nil {
			return err
		}
		filter.Peer = p.ID
		what += " peer " + p.Name()
	}
	if p, ok := c.m.Prefix("route"); ok {
		f.prefix = p
	} else if a, ok := c.m.Addr("route"); ok {
		f.prefix, f.covering = netip.PrefixFrom(a, a.BitLen()), true
	}
	if f.prefix.IsValid() {
		filter.Kinds = event.KindSet(event.Route)
		what += " route " + c.m.Value("route")
	}
	if text := c.m.Value("type"); text != "" {
		if f.prefix.IsValid() && text != bmp.RouteMonitoringType.Word() {
			return control.Errorf(control.CodeFailed, "Only route-monitoring messages speak of routes")
		}
		if !f.prefix.IsValid() {
			f.typ = typeMatch(text)
			filter.Kinds = event.KindSet(event.Message)
		}
		what += " type " + text
	}
	if f.form.detail || f.form.hex {
		// The message is the unit: it says its routes itself.
		f.whole = true
		if f.form.detail {
			what += " detail"
		} else {
			what += " hex"
		}
		if f.prefix.IsValid() {
			filter.Kinds = event.KindSet(event.Message)
		}
	}
	if f.json {
		what += " json"
	}
	if n, ok := c.m.Number("rate"); ok {
		if n == 0 {
			return c.invalid("rate", "events per second, 1 or more")
		}
		f.rate = int(min(n, 1<<30))
		what += fmt.Sprintf(" rate %d", n)
	}
	// From here on nothing is missed: what happens before the verdict is sent is sent after it.
	f.sub = c.station.Events().Subscribe(filter, debugQueue)
	id, err := c.Conn.Follow(what, debugTag{cl.ID()}, f.run)
	if err != nil {
		f.sub.Close()
		return err
	}
	c.out.Subscribed(id)
	// A console that goes before it has its verdict never starts run.
	time.AfterFunc(time.Minute, func() {
		if !f.started.Load() {
			f.sub.Close()
		}
	})
	return nil
}

// follow is one debug subscription. run is its only goroutine.
type follow struct {
	*call
	client  *client.Client
	sub     *event.Subscription
	started atomic.Bool
	form    messageForm
	json    bool // `json` was typed; otherwise the console chose
	whole   bool // messages are shown whole, routes are not shown one by one

	prefix   netip.Prefix // `route`; not valid: all
	covering bool         // it was an address: whatever covers it
	typ      func(bmp.MessageType) bool
	rate     int // events a second; 0: all

	second   time.Time // of the rate
	sent     int
	cut      int       // by the rate, not yet told
	cutSince time.Time // the first of these
}

func (f *follow) run(ctx context.Context, e *control.Emit) {
	f.started.Store(true)
	defer f.sub.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-f.sub.C():
			if !ok {
				return
			}
			f.event(e, &ev)
		}
		if n, _ := f.sub.Dropped(); n > 0 {
			e.Dropped(int(n))
		}
	}
}

// event sends one event if it is wanted and the rate allows.
func (f *follow) event(e *control.Emit, ev *event.Event) {
	f.Now = ev.Time
	if !f.wants(ev) {
		return
	}
	if f.rate > 0 {
		if now := ev.Time.Truncate(time.Second); !now.Equal(f.second) {
			f.second, f.sent = now, 0
			if f.cut > 0 {
				e.LeftOut(f.cut, f.cutSince, fmt.Sprintf("rate %d", f.rate))
				f.cut = 0
			}
		}
		if f.sent++; f.sent > f.rate {
			if f.cut == 0 {
				f.cutSince = ev.Time
			}
			f.cut++
			return
		}
	}
	asJSON := f.json || e.WantsJSON()
	if asJSON {
		v := f.eventJSON(ev)
		if e.WantsJSON() {
			e.Event("", v)
			return
		}
		text, err := json.Marshal(v)
		if err == nil {
			e.Text(string(text))
		}
		return
	}
	for _, l := range f.eventLines(ev) {
		e.Text(l)
	}
}

func (f *follow) wants(ev *event.Event) bool {
	switch d := ev.Data.(type) {
	case *client.Message:
		if f.typ != nil {
			return f.typ(d.Type)
		}
		if f.prefix.IsValid() {
			return d.Type == bmp.RouteMonitoringType && f.names(d)
		}
		// Its routes are events of their own.
		return f.whole || d.Type != bmp.RouteMonitoringType || d.EoR || d.Malformed
	case *client.RouteChange:
		return !f.whole && (!f.prefix.IsValid() || f.inside(d.Family, d.Key))
	}
	return true
}

// inside says whether a key is of a prefix that is followed.
func (f *follow) inside(family bgp.Family, key []byte) bool {
	_, p, ok := bgp.KeyPrefix(family, key)
	if !ok {
		return false
	}
	if f.covering {
		return p.Contains(f.prefix.Addr())
	}
	return p.Bits() >= f.prefix.Bits() && f.prefix.Contains(p.Addr())
}

// names says whether a Route Monitoring speaks of the prefix that is followed.
func (f *follow) names(m *client.Message) bool {
	u, ok := m.Update()
	if !ok {
		return false
	}
	var buf [4]bgp.Section
	var nlri bgp.NLRI
	for _, s := range u.Sections(buf[:0]) {
		nlri.Reset(s.Family, s.AddPath, s.Withdraw, s.Field)
		for nlri.Next() {
			if f.inside(s.Family, nlri.Key) {
				return true
			}
		}
	}
	return false
}

// place is the start of every line: when, and on which client.
func (f *follow) place(ev *event.Event) string {
	address := f.client.Name()
	if ev.Address.IsValid() {
		address = ev.Address.Addr().String()
	}
	return ev.Time.In(f.Zone).Format("15:04:05.000") + " " + address
}

func (f *follow) eventLines(ev *event.Event) []string {
	switch d := ev.Data.(type) {
	case *client.Message:
		dm := decodeMessage(d, f.form.routes())
		title := f.place(ev)
		if d.PeerName != "" {
			title += " peer " + d.PeerName
		}
		if d.HasView {
			title += " " + d.View.String()
		}
		title += " " + d.Type.Word() + ": " + dm.summary
		if !f.whole {
			return []string{title}
		}
		lines := f.messageLines(d, &dm, f.form, title)
		return lines[:len(lines)-1] // without the empty line between paragraphs
	case *client.RouteChange:
		text := f.place(ev) + " peer " + d.PeerName + " " + d.View.String()
		if d.Withdraw {
			text += " withdraw " + nlriText(d.Family, d.Key)
		} else {
			text += " announce " + nlriText(d.Family, d.Key)
		}
		if d.AddPath {
			text += fmt.Sprintf(" path-id %d", d.PathID)
		}
		if !d.Withdraw {
			if path := string(bgp.AppendASPath(nil, d.Record)); path != "" {
				text += " path " + path
			}
		}
		return []string{text}
	}
	return []string{f.place(ev) + " " + strings.TrimSpace(ev.Kind.String()+" "+ev.Text)}
}

// eventHead is what every event says in JSON.
type eventHead struct {
	Time       any    `json:"time"`
	Kind       string `json:"kind"`
	Client     uint32 `json:"client"`
	ClientName any    `json:"client_name"`
	PeerID     any    `json:"peer_id"`
}

type eventTextJSON struct {
	eventHead
	Text string `json:"text"`
}

type eventMessageJSON struct {
	Kind       string `json:"kind"`
	Client     uint32 `json:"client"`
	ClientName any    `json:"client_name"`
	PeerID     any    `json:"peer_id"`
	messageJSON
}

type eventRouteJSON struct {
	eventHead
	Action string `json:"action"`
	routeSaidJSON
}

func (f *follow) eventJSON(ev *event.Event) any {
	head := eventHead{Time: f.time(ev.Time), Kind: ev.Kind.String(), Client: f.client.ID(), ClientName: jsonString(f.client.Name())}
	if ev.Peer != 0 {
		head.PeerID = ev.Peer
	}
	switch d := ev.Data.(type) {
	case *client.Message:
		form := f.form
		form.text, form.json = false, true
		j, _ := f.messageRecord(d, form).JSON.(messageJSON)
		return eventMessageJSON{head.Kind, head.Client, head.ClientName, head.PeerID, j}
	case *client.RouteChange:
		rd, prefix := bgp.KeyText(d.Family, d.Key)
		j := eventRouteJSON{eventHead: head, Action: "announce", routeSaidJSON: routeSaidJSON{
			RD: jsonString(rd), View: d.View.Key(), Family: d.Family.String(), Prefix: prefix,
		}}
		if l, ok := f.client.PeerLabel(d.Peer); ok {
			j.Peer = addrJSON(l.Address)
		}
		if d.AddPath {
			j.PathID = d.PathID
		}
		if d.Withdraw {
			j.Action = "withdraw"
			j.say(&bgp.Attributes{})
			j.ASPath = nil
			return j
		}
		a := bgp.Decode(d.Record, d.Family)
		j.say(&a)
		return j
	}
	return eventTextJSON{head, ev.Text}
}

// undebug ends everything that this console follows, or one subscription of it.
func undebug(ctx context.Context, c *call) error {
	n := 0
	if c.m.Has("all") {
		n = c.Conn.Unfollow(func(control.Subscription) bool { return true })
	} else {
		id := c.m.Value("id")
		n = c.Conn.Unfollow(func(s control.Subscription) bool { return fmt.Sprint(s.ID) == id })
		if n == 0 {
			return control.Errorf(control.CodeNotFound, "No subscription '%s' of this console", id)
		}
	}
	c.out.Done("%s ended", plural(n, "subscription"))
	return nil
}

func undebugClient(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	n := c.Conn.Unfollow(func(s control.Subscription) bool { return s.Tag == any(debugTag{cl.ID()}) })
	if n == 0 {
		return control.Errorf(control.CodeNotFound, "Client %d is not followed by this console", cl.ID())
	}
	c.out.Done("%s ended", plural(n, "subscription"))
	return nil
}
