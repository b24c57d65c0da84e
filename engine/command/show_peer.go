package command

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"bmp/engine/client"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

type capabilityJSON struct {
	Code int    `json:"code"`
	Name string `json:"name"`
	Text string `json:"text"`
}

type openJSON struct {
	Version      uint8            `json:"version"`
	AS           uint32           `json:"as"`
	HoldTime     uint16           `json:"hold_time_seconds"`
	BGPID        string           `json:"bgp_id"`
	Capabilities []capabilityJSON `json:"capabilities"`
}

type comparisonJSON struct {
	Name       string `json:"name"`
	Sent       any    `json:"sent"`
	Received   any    `json:"received"`
	Negotiated any    `json:"negotiated"`
}

type tableJSON struct {
	View              string `json:"view"`
	Family            string `json:"family"`
	Routes            int    `json:"routes"`
	Stale             int    `json:"stale"`
	Announced         uint64 `json:"announced"`
	Withdrawn         uint64 `json:"withdrawn"`
	EndOfRIB          any    `json:"end_of_rib"`
	AddPath           bool   `json:"add_path"`
	AddPathNegotiated bool   `json:"add_path_negotiated"`
	ASWidth           any    `json:"as_width"`
	ASWidthSaid       any    `json:"as_width_said"`
	Switched          bool   `json:"switched"`
	Forced            bool   `json:"forced"`
	Incomplete        bool   `json:"incomplete"`
	LastUpdate        any    `json:"last_update"`
	LastEmptied       any    `json:"last_emptied"`
}

type statisticJSON struct {
	PeerID uint32 `json:"peer_id"`
	Peer   any    `json:"peer"`
	Type   uint16 `json:"type"`
	Name   string `json:"name"`
	View   any    `json:"view"`
	Family any    `json:"family"`
	Value  any    `json:"value"` // null where it could not be read
	Time   any    `json:"time"`
}

type peerDetailJSON struct {
	peerJSON
	Client           uint32           `json:"client"`
	ClientName       any              `json:"client_name"`
	Distinguisher    any              `json:"distinguisher"`
	AdminLabel       any              `json:"admin_label"`
	RouterTime       any              `json:"router_time"`
	LocalAddress     any              `json:"local_address"`
	LocalPort        any              `json:"local_port"`
	RemotePort       any              `json:"remote_port"`
	Ups              uint64           `json:"ups"`
	Downs            uint64           `json:"downs"`
	RepeatedUps      uint64           `json:"repeated_ups"`
	LastUp           any              `json:"last_up"`
	LastDown         any              `json:"last_down"`
	LastMessage      any              `json:"last_message"`
	ByType           countsJSON       `json:"messages_by_type"`
	Malformed        uint64           `json:"malformed"`
	InfoStrings      []string         `json:"info_strings"`
	Sent             *openJSON        `json:"sent_open"`
	Received         *openJSON        `json:"received_open"`
	OpenError        any              `json:"open_error"`
	Negotiated       []comparisonJSON `json:"negotiated"`
	Families         []string         `json:"families"`
	HoldTime         any              `json:"hold_time_seconds"`
	Tables           []tableJSON      `json:"tables"`
	Statistics       []statisticJSON  `json:"statistics"`
	StatisticsTime   any              `json:"statistics_time"`
	DownCode         any              `json:"down_code"`
	LastDownReason   any              `json:"last_down_reason"` // down_reason, and what it was when the peer is up again
	DownBy           any              `json:"down_by"`
	FSMEvent         any              `json:"fsm_event"`
	Notification     any              `json:"notification"`
	NotificationTime any              `json:"notification_time"`
	Shutdown         any              `json:"shutdown_communication"` // RFC 9003
}

func showPeer(ctx context.Context, c *call) error {
	cl, p, err := c.peer()
	if err != nil {
		return err
	}
	d, ok := cl.Peer(p.ID)
	if !ok {
		return noPeer(cl, c.m.Value("peer")) // it went since it was found
	}
	if err := c.out.Document(c.peerDetailJSON(&d)); err != nil {
		return err
	}
	return c.peerText(&d)
}

func (c *call) peerText(d *client.PeerDetail) error {
	title := fmt.Sprintf("Peer %d: %s AS%d", d.ID, d.Name(), d.AS)
	if d.Table != "" {
		title += " table " + d.Table
	}
	client := fmt.Sprintf("%d", d.Client)
	if d.ClientName != "" {
		client += " (" + d.ClientName + ")"
	}
	state := d.State.String() + " for " + c.age(d.Since)
	if d.Stale {
		state = d.State.String() + " when last heard of, since " + c.clock(d.Since) + ", stale"
	}
	router := ""
	if !d.RouterTime.IsZero() {
		router = d.RouterTime.In(c.Zone).Format("2006-01-02 15:04:05 MST")
	}
	local := ""
	if d.LocalAddress.IsValid() {
		local = netip.AddrPortFrom(d.LocalAddress, d.LocalPort).String()
	}
	remote := ""
	if d.HasOpens && d.Type != bmp.LocRIBPeer {
		remote = strconv.Itoa(int(d.RemotePort))
	}
	last := ""
	if !d.LastMessage.IsZero() {
		last = c.age(d.LastMessage) + " ago"
	}
	if err := c.lines(title); err != nil {
		return err
	}
	rd := d.RD
	fields := []field{
		{"Client", client}, {"Type", d.Type.String()}, {"R-D", rd}, {"BGP ID", netip.AddrFrom4(d.BGPID).String()},
		{"Admin label", d.AdminLabel}, {"State", state}, {"Router's time of it", router}, {"Local address", local}, {"Remote port", remote},
		{"Sessions", fmt.Sprintf("%d up, %d down, %d repeated", d.UpCount, d.DownCount, d.RepeatedUps)},
		{"Last up", c.momentOr(d.LastUp, "never")}, {"Last down", c.momentOr(d.LastDown, "never")}, {"Last message", last},
		{"Messages", fmt.Sprintf("%d route monitoring, %d statistics, %d up, %d down, %d mirrored",
			d.ByType.RouteMonitoring, d.ByType.StatisticsReport, d.ByType.PeerUp, d.ByType.PeerDown, d.ByType.RouteMirroring)},
		{"Malformed", countOrNothing(d.Malformed)},
	}
	for _, s := range d.InfoStrings {
		fields = append(fields, field{"Information", oneLine(s)})
	}
	if d.DownReason != "" {
		fields = append(fields, field{"Last down because", d.DownReason})
	}
	if d.DownBy != "" {
		fields = append(fields, field{"Closed by", d.DownBy})
	}
	if d.DownCode == uint8(bmp.DownLocal) {
		fields = append(fields, field{"FSM event", fmt.Sprintf("%d (%s)", d.FSMEvent, bmp.FSMEventName(d.FSMEvent))})
	}
	if d.Notification != nil {
		text := d.Notification.String()
		if !d.NotificationTime.IsZero() {
			text += " (" + c.age(d.NotificationTime) + " ago)"
		}
		fields = append(fields, field{"Last notification", text})
	}
	if err := c.block(fields...); err != nil {
		return err
	}
	if err := c.opensText(d); err != nil {
		return err
	}

	if err := c.title("Tables"); err != nil {
		return err
	}
	if len(d.Tables) == 0 {
		if err := c.lines("  none"); err != nil {
			return err
		}
	} else if err := c.lines(fmt.Sprintf("  %-12s %-20s %9s %10s %10s  %-24s %s", "View", "Family", "Routes", "Announced", "Withdrawn", "End-of-RIB", "Coding")); err != nil {
		return err
	}
	for _, t := range d.Tables {
		line := fmt.Sprintf("  %-12s %-20s %9s %10s %10s  %-24s %s", t.View, t.Family, count(t.Routes), formatCount(t.Announced, 1),
			formatCount(t.Withdrawn, 1), c.momentOr(t.EoR, "none"), codingText(&t))
		if err := c.out.Line(strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}

	if err := c.title("Statistics"); err != nil {
		return err
	}
	if len(d.Statistics) == 0 {
		return c.lines("  none reported")
	}
	if err := c.lines("  reported " + c.age(d.StatisticsTime) + " ago"); err != nil {
		return err
	}
	for _, s := range d.Statistics {
		name := s.Name
		if s.Family != (bgp.Family{}) {
			name += " " + s.Family.String()
		}
		if err := c.lines("  " + pad(name, 58) + " : " + statisticText(&s)); err != nil {
			return err
		}
	}
	return nil
}

// codingText says how the routes of a table are coded, and where that is not as
// the OPENs and flags say.
func codingText(t *client.TableInfo) string {
	var s []string
	if t.AddPath {
		s = append(s, "path IDs")
	}
	if t.AddPath != t.AddPathSaid {
		s = append(s, "ADD-PATH not as negotiated")
	}
	if t.ASWidth != 0 {
		s = append(s, strconv.Itoa(t.ASWidth)+"-octet AS")
	}
	if t.ASWidth != 0 && t.ASWidthSaid != 0 && t.ASWidth != t.ASWidthSaid {
		s = append(s, "AS width not as announced")
	}
	if t.Forced {
		s = append(s, "set by quirk")
	} else if t.Switched {
		s = append(s, "switched")
	}
	if t.Incomplete {
		s = append(s, "incomplete")
	}
	if t.Stale > 0 {
		s = append(s, count(t.Stale)+" stale")
	}
	return strings.Join(s, ", ")
}

// statisticText is the value of a statistic.
func statisticText(s *client.Statistic) string {
	if s.Known {
		return strconv.FormatUint(s.Value, 10)
	}
	return fmt.Sprintf("0x%x", s.Raw)
}

// opensText writes both OPENs side by side with what they come to.
func (c *call) opensText(d *client.PeerDetail) error {
	if err := c.title("OPEN messages"); err != nil {
		return err
	}
	if d.OpenError != "" {
		if err := c.lines("  malformed: " + d.OpenError); err != nil {
			return err
		}
	}
	if !d.HasOpens {
		return c.lines("  none: no Peer Up came")
	}
	n := bgp.Negotiate(&d.Sent, &d.Received)
	rows := append([]bgp.ComparisonRow{{Name: "", Sent: "sent", Received: "received", Negotiated: "negotiated"}}, n.Rows...)
	var w [3]int
	for _, r := range rows {
		w[0], w[1], w[2] = max(w[0], len(r.Name)), max(w[1], min(len(r.Sent), 40)), max(w[2], min(len(r.Received), 40))
	}
	for _, r := range rows {
		line := "  " + pad(r.Name, w[0]) + "  " + pad(dash(r.Sent), w[1]) + "  " + pad(dash(r.Received), w[2]) + "  " + r.Negotiated
		if err := c.out.Line(strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

func newOpenJSON(o *bgp.Open) *openJSON {
	j := &openJSON{o.Version, o.AS, o.HoldTime, netip.AddrFrom4(o.ID).String(), []capabilityJSON{}}
	for _, c := range o.Capabilities {
		j.Capabilities = append(j.Capabilities, capabilityJSON{int(c.Code), c.Name(), c.Text()})
	}
	return j
}

func (c *call) statisticJSON(p *client.PeerInfo, s *client.Statistic) statisticJSON {
	j := statisticJSON{PeerID: p.ID, Peer: addrJSON(p.Address), Type: s.Type, Name: s.Name, View: s.View.Key(), Time: c.time(s.Time)}
	if s.Family != (bgp.Family{}) {
		j.Family = s.Family.String()
	}
	if s.Known {
		j.Value = s.Value
	}
	return j
}

func (c *call) peerDetailJSON(d *client.PeerDetail) peerDetailJSON {
	j := peerDetailJSON{
		peerJSON: c.peerJSON(&d.PeerInfo), Client: d.Client, ClientName: jsonString(d.ClientName), AdminLabel: jsonString(d.AdminLabel),
		RouterTime: c.time(d.RouterTime), LocalAddress: addrJSON(d.LocalAddress), Ups: d.UpCount, Downs: d.DownCount,
		RepeatedUps: d.RepeatedUps, LastUp: c.time(d.LastUp), LastDown: c.time(d.LastDown), LastMessage: c.time(d.LastMessage),
		ByType: newCountsJSON(d.ByType), Malformed: d.Malformed, InfoStrings: orEmpty(d.InfoStrings), OpenError: jsonString(d.OpenError),
		Negotiated: []comparisonJSON{}, Families: []string{}, Tables: []tableJSON{}, Statistics: []statisticJSON{},
		StatisticsTime: c.time(d.StatisticsTime), LastDownReason: jsonString(d.DownReason), DownBy: jsonString(d.DownBy), NotificationTime: c.time(d.NotificationTime),
	}
	if d.Distinguisher != 0 {
		j.Distinguisher = strconv.FormatUint(d.Distinguisher, 10) // 64 bits: more than a JSON number keeps
	}
	if d.HasOpens {
		j.LocalPort, j.RemotePort = d.LocalPort, d.RemotePort
		j.Sent, j.Received = newOpenJSON(&d.Sent), newOpenJSON(&d.Received)
		n := bgp.Negotiate(&d.Sent, &d.Received)
		j.HoldTime = n.HoldTime
		for _, f := range n.Families {
			j.Families = append(j.Families, f.String())
		}
		for _, r := range n.Rows {
			j.Negotiated = append(j.Negotiated, comparisonJSON{r.Name, jsonString(r.Sent), jsonString(r.Received), jsonString(r.Negotiated)})
		}
	}
	for _, t := range d.Tables {
		j.Tables = append(j.Tables, tableJSON{t.View.Key(), t.Family.String(), t.Routes, t.Stale, t.Announced, t.Withdrawn, c.time(t.EoR),
			t.AddPath, t.AddPathSaid, numberOrNil(t.ASWidth), numberOrNil(t.ASWidthSaid), t.Switched, t.Forced, t.Incomplete,
			c.time(t.LastUpdate), c.time(t.LastEmptied)})
	}
	for i := range d.Statistics {
		j.Statistics = append(j.Statistics, c.statisticJSON(&d.PeerInfo, &d.Statistics[i]))
	}
	if d.DownCode != 0 {
		j.DownCode = d.DownCode
		if d.DownCode == uint8(bmp.DownLocal) {
			j.FSMEvent = d.FSMEvent
		}
	}
	if d.Notification != nil {
		j.Notification, j.Shutdown = d.Notification.String(), jsonString(d.Notification.Shutdown())
	}
	return j
}

// numberOrNil is nil for zero, where zero is not known.
func numberOrNil(n int) any {
	if n == 0 {
		return nil
	}
	return n
}
