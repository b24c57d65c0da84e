package command

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"bmp/engine/client"
	"bmp/proto/bmp"
)

// countsJSON are the messages of a client or peer by type.
type countsJSON struct {
	RouteMonitoring  uint64 `json:"route_monitoring"`
	StatisticsReport uint64 `json:"statistics_report"`
	PeerDown         uint64 `json:"peer_down"`
	PeerUp           uint64 `json:"peer_up"`
	Initiation       uint64 `json:"initiation"`
	Termination      uint64 `json:"termination"`
	RouteMirroring   uint64 `json:"route_mirroring"`
	Unknown          uint64 `json:"unknown"`
}

func newCountsJSON(m client.MessageCounts) countsJSON {
	return countsJSON{m.RouteMonitoring, m.StatisticsReport, m.PeerDown, m.PeerUp, m.Initiation, m.Termination, m.RouteMirroring, m.Unknown}
}

type peerStatsJSON struct {
	Total       int `json:"total"`
	Global      int `json:"global"`
	RD          int `json:"rd"`
	Local       int `json:"local"`
	LocRIB      int `json:"loc_rib"`
	Other       int `json:"other"`
	IPv4        int `json:"ipv4"`
	IPv6        int `json:"ipv6"`
	IBGP        int `json:"ibgp"`
	EBGP        int `json:"ebgp"`
	Up          int `json:"up"`
	Down        int `json:"down"`
	Unannounced int `json:"unannounced"`
	Unmonitored int `json:"unmonitored"`
	Stale       int `json:"stale"`
}

type viewCountJSON struct {
	View   string `json:"view"`
	Family string `json:"family"`
	Routes int    `json:"routes"`
	Stale  int    `json:"stale"`
}

type sessionJSON struct {
	Address  string `json:"address"`
	Listener any    `json:"listener"`
	Start    any    `json:"start"`
	End      any    `json:"end"` // null while it runs
	Reason   any    `json:"reason"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

type ringJSON struct {
	Kept    int    `json:"kept"`
	Bytes   int    `json:"bytes"`
	Dropped uint64 `json:"dropped"`
	Oldest  any    `json:"oldest"`
}

type clientInfoJSON struct {
	clientJSON
	DownSeconds    any             `json:"down_seconds"` // null while it is up
	PeersKnown     int             `json:"peers_known"`
	SysName        any             `json:"sys_name"`
	SysDescr       any             `json:"sys_descr"`
	InitStrings    []string        `json:"init_strings"`
	VRF            any             `json:"vrf"`
	LocalAddress   any             `json:"local_address"`
	BMPVersion     any             `json:"bmp_version"`
	Profile        any             `json:"v4_profile"`
	FirstSeen      any             `json:"first_seen"`
	LastMessage    any             `json:"last_message"`
	LastMessageAge any             `json:"last_message_age_seconds"`
	ByType         countsJSON      `json:"messages_by_type"`
	Malformed      uint64          `json:"malformed"`
	UpdatesIgnored uint64          `json:"updates_ignored"`
	CountersSince  any             `json:"counters_since"`
	PeerStats      peerStatsJSON   `json:"peer_statistics"`
	RoutesByView   []viewCountJSON `json:"routes_by_view"`
	LastError      any             `json:"last_error"`
	LastErrorTime  any             `json:"last_error_time"`
	DownReason     any             `json:"down_reason"`
	Terminated     any             `json:"terminated"`
	StaleUntil     any             `json:"stale_until"`
	Health         int             `json:"health_findings"`
	MirrorErrored  uint64          `json:"mirror_errored_pdus"`
	MirrorLost     uint64          `json:"mirror_messages_lost"`
	MessagesKept   ringJSON        `json:"messages_kept"`
	SessionsLost   uint64          `json:"sessions_lost"`
	Sessions       []sessionJSON   `json:"sessions"`
}

func showClient(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	i := cl.Info(c.Now)
	note := c.addPastSessions(ctx, &i)
	if err := c.out.Document(c.clientJSON(&i)); err != nil {
		return err
	}
	return c.clientText(&i, note)
}

func (c *call) clientText(i *client.Info, sessionsNote string) error {
	uptime := "down"
	if i.State == client.Up {
		uptime = "up " + formatUptime(c.Now.Sub(i.Since))
	} else if !i.Since.IsZero() {
		uptime = "down for " + c.age(i.Since)
	}
	listener := i.Listener
	if i.VRF != "" {
		listener += " vrf " + i.VRF
	}
	local := ""
	if i.Local.IsValid() {
		local = i.Local.String()
	}
	version := ""
	if i.Version != 0 {
		version = strconv.Itoa(int(i.Version))
		if i.Profile != "" {
			version += " (code points: " + i.Profile + ")"
		}
	}
	last := "none"
	if !i.LastMessage.IsZero() {
		last = c.age(i.LastMessage) + " ago"
	}
	lastError := ""
	if i.LastError != "" {
		lastError = i.LastError
		if !i.LastErrorTime.IsZero() {
			lastError += " (" + c.age(i.LastErrorTime) + " ago)"
		}
	}
	stale := ""
	if !i.StaleUntil.IsZero() {
		stale = "kept for another " + formatUptime(i.StaleUntil.Sub(c.Now))
	}
	title := "Client " + strconv.FormatUint(uint64(i.ID), 10)
	if i.Name != "" {
		title += ": " + i.Name
	}
	if err := c.lines(title); err != nil {
		return err
	}
	fields := []field{
		{"Address", addrPort(i.Address)}, {"State", uptime}, {"Down because", i.DownReason}, {"Terminated", i.Terminated},
		{"Stale routes", stale},
		{"Listener", listener}, {"Network namespace", i.Netns}, {"Local address", local},
		{"sysName", i.Name}, {"sysDescr", i.SysDescr},
	}
	for _, s := range i.InitStrings {
		fields = append(fields, field{"Information", s})
	}
	fields = append(fields,
		field{"BMP version", version}, field{"First seen", c.clock(i.FirstSeen)},
		field{"Messages", formatCount(i.Messages, 1)}, field{"Data", formatSize(i.Bytes, 1)}, field{"Last message", last},
		field{"Counters since", c.clock(i.CountersSince)},
		field{"Messages kept", c.ringText(i.Ring)}, field{"Health findings", strconv.Itoa(i.Health)},
		field{"Last error", lastError})
	if err := c.block(fields...); err != nil {
		return err
	}

	if err := c.title("Message Statistics"); err != nil {
		return err
	}
	m := i.ByType
	err := c.block(
		field{bmp.RouteMonitoringType.Name(), formatCount(m.RouteMonitoring, 1)},
		field{bmp.StatisticsReportType.Name(), formatCount(m.StatisticsReport, 1)},
		field{bmp.PeerDownType.Name(), formatCount(m.PeerDown, 1)},
		field{bmp.PeerUpType.Name(), formatCount(m.PeerUp, 1)},
		field{bmp.InitiationType.Name(), formatCount(m.Initiation, 1)},
		field{bmp.TerminationType.Name(), formatCount(m.Termination, 1)},
		field{bmp.RouteMirroringType.Name(), formatCount(m.RouteMirroring, 1)},
		field{"Unknown", formatCount(m.Unknown, 1)},
		field{"Malformed", formatCount(i.Malformed, 1)},
		field{"Routes ignored", countOrNothing(i.UpdatesIgnored)},
		field{"Mirrored with errors", countOrNothing(i.MirrorErrored)},
		field{"Mirroring lost", countOrNothing(i.MirrorLost)},
	)
	if err != nil {
		return err
	}

	p := i.PeerStats
	if err := c.title("Peer Statistics"); err != nil {
		return err
	}
	kinds := fmt.Sprintf("%d global, %d RD, %d local, %d Loc-RIB", p.Global, p.RD, p.Local, p.LocRIB)
	if p.Other != 0 {
		kinds += fmt.Sprintf(", %d of unknown type", p.Other)
	}
	states := fmt.Sprintf("%d up, %d down, %d unannounced, %d unmonitored", p.Up, p.Down, p.Unannounced, p.Unmonitored)
	if p.Stale != 0 {
		states += fmt.Sprintf(", %d stale (up when last heard of)", p.Stale)
	}
	err = c.block(
		field{"Peers", strconv.Itoa(p.Total)},
		field{"By type", kinds},
		field{"By address", fmt.Sprintf("%d IPv4, %d IPv6", p.IPv4, p.IPv6)},
		field{"By AS", fmt.Sprintf("%d iBGP, %d eBGP", p.IBGP, p.EBGP)},
		field{"By state", states},
	)
	if err != nil {
		return err
	}

	if err := c.title("Routes"); err != nil {
		return err
	}
	if len(i.Routes) == 0 {
		err = c.lines("  none")
	}
	for _, r := range i.Routes {
		line := fmt.Sprintf("  %-12s %-20s %9s", r.View, r.Family, formatCount(uint64(r.Routes), 1))
		if r.Stale > 0 {
			line += fmt.Sprintf("  (%s stale)", formatCount(uint64(r.Stale), 1))
		}
		if err = c.out.Line(line); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}

	if err := c.title("Sessions"); err != nil {
		return err
	}
	if sessionsNote != "" {
		if err := c.lines("  " + sessionsNote); err != nil {
			return err
		}
	}
	if i.SessionsLost > 0 {
		if err := c.lines(fmt.Sprintf("  %d older ones are no longer kept", i.SessionsLost)); err != nil {
			return err
		}
	}
	for _, s := range i.Sessions {
		if err := c.out.Line("  " + c.sessionText(s)); err != nil {
			return err
		}
		if len(s.Around) > 0 {
			if err := c.lines(fmt.Sprintf("    bytes around %d:", s.AroundOffset)); err != nil {
				return err
			}
			if err := c.lines(hexLines(s.Around, "    ")...); err != nil {
				return err
			}
		}
	}
	return nil
}

// sessionText is one session of the session log.
func (c *call) sessionText(s client.SessionInfo) string {
	end, reason := c.Now, "up"
	if !s.End.IsZero() {
		end, reason = s.End, dash(s.Reason)
	}
	return fmt.Sprintf("%s  %s  for %s  %s messages  %s  %s", c.clock(s.Start), addrPort(s.Address), formatUptime(end.Sub(s.Start)),
		formatCount(s.Messages, 1), formatSize(s.Bytes, 1), reason)
}

// ringText says what of the messages is kept.
func (c *call) ringText(r client.RingInfo) string {
	archived := r.Dropped > 0 && c.station.Archive() != nil
	s := plural(r.Kept, "message")
	if archived {
		s += " in memory"
	}
	if r.Kept > 0 {
		s += ", " + formatSize(uint64(r.Bytes), 1) + ", since " + c.clock(r.Oldest)
	}
	switch {
	case archived:
		s += "; " + formatCount(r.Dropped, 1) + " older left to the archive"
	case r.Dropped > 0:
		s += ", " + formatCount(r.Dropped, 1) + " older dropped"
	}
	return s
}

// countOrNothing leaves out a field whose count is zero.
func countOrNothing(n uint64) string {
	if n == 0 {
		return ""
	}
	return formatCount(n, 1)
}

func (c *call) clientJSON(i *client.Info) clientInfoJSON {
	p := i.PeerStats
	j := clientInfoJSON{
		clientJSON: newClientJSON(&i.Brief, c.Now), PeersKnown: i.Peers, SysName: jsonString(i.Name), SysDescr: jsonString(i.SysDescr),
		InitStrings: orEmpty(i.InitStrings), VRF: jsonString(i.VRF), Profile: jsonString(i.Profile),
		FirstSeen: c.time(i.FirstSeen), LastMessage: c.time(i.LastMessage), LastMessageAge: c.since(i.LastMessage),
		ByType: newCountsJSON(i.ByType), Malformed: i.Malformed, UpdatesIgnored: i.UpdatesIgnored, CountersSince: c.time(i.CountersSince),
		PeerStats: peerStatsJSON{p.Total, p.Global, p.RD, p.Local, p.LocRIB, p.Other, p.IPv4, p.IPv6, p.IBGP, p.EBGP,
			p.Up, p.Down, p.Unannounced, p.Unmonitored, p.Stale},
		RoutesByView: []viewCountJSON{}, LastError: jsonString(i.LastError), LastErrorTime: c.time(i.LastErrorTime),
		DownReason: jsonString(i.DownReason), Terminated: jsonString(i.Terminated), StaleUntil: c.time(i.StaleUntil),
		Health: i.Health, MirrorErrored: i.MirrorErrored, MirrorLost: i.MirrorLost,
		MessagesKept: ringJSON{i.Ring.Kept, i.Ring.Bytes, i.Ring.Dropped, c.time(i.Ring.Oldest)},
		SessionsLost: i.SessionsLost, Sessions: []sessionJSON{},
	}
	if i.State == client.Down {
		j.DownSeconds = c.since(i.Since)
	}
	if i.Local.IsValid() {
		j.LocalAddress = i.Local.String()
	}
	if i.Version != 0 {
		j.BMPVersion = i.Version
	}
	for _, r := range i.Routes {
		j.RoutesByView = append(j.RoutesByView, viewCountJSON{r.View.Key(), r.Family.String(), r.Routes, r.Stale})
	}
	for _, s := range i.Sessions {
		j.Sessions = append(j.Sessions, sessionJSON{addrPort(s.Address), jsonString(s.Listener), c.time(s.Start), c.time(s.End),
			jsonString(s.Reason), s.Messages, s.Bytes})
	}
	return j
}

// orEmpty makes of no list an empty one: [] in JSON, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// hexLines are bytes, sixteen a line, each line with its offset.
func hexLines(b []byte, indent string) []string {
	var out []string
	for at := 0; at < len(b); at += 16 {
		row := b[at:min(at+16, len(b))]
		text := make([]byte, len(row))
		for i, x := range row {
			if x < ' ' || x > '~' {
				x = '.'
			}
			text[i] = x
		}
		out = append(out, fmt.Sprintf("%s%04x  %-47s  %s", indent, at, fmt.Sprintf("% x", row), text))
	}
	return out
}

// momentOr is a moment, or a word where there is none.
func (c *call) momentOr(t time.Time, word string) string {
	if t.IsZero() {
		return word
	}
	return c.clock(t)
}
