package command

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"bmp/engine/client"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/wire"
)

// decodedMessage is a BMP message taken apart for people. Text is made of it
// once; the ring keeps bytes.
type decodedMessage struct {
	summary string         // one line
	routes  []messageRoute // of a Route Monitoring
	body    []field        // every field, in the message's order
	peer    netip.Addr     // of the Per-Peer Header; not valid for Loc-RIB or without one
}

// messageRoute is one NLRI of a Route Monitoring.
type messageRoute struct {
	Action string `json:"action"` // announce, withdraw
	Family string `json:"family"`
	RD     any    `json:"rd"`
	Prefix string `json:"prefix"`
	PathID any    `json:"path_id"`
}

// decodeMessage reads a kept message again, as it was read when it came.
// routes is how many NLRI are wanted at most; the summary needs a few.
func decodeMessage(m *client.Message, maxRoutes int) decodedMessage {
	parsed, err := m.Decode()
	var d decodedMessage
	if parsed != nil {
		if h := parsed.Peer(); h != nil {
			d.header(h)
		}
	}
	switch p := parsed.(type) {
	case *bmp.RouteMonitoring:
		d.routeMonitoring(p, m, maxRoutes)
	case *bmp.StatisticsReport:
		d.statistics(p)
	case *bmp.PeerDown:
		d.peerDown(p)
	case *bmp.PeerUp:
		d.peerUp(p)
	case *bmp.Initiation:
		d.initiation(p)
	case *bmp.Termination:
		d.termination(p)
	case *bmp.RouteMirroring:
		d.mirroring(p, m)
	case *bmp.Unknown:
		d.summary = fmt.Sprintf("type %d, %d bytes", p.Kind, len(p.Body))
		d.add("body", "0x"+hex.EncodeToString(p.Body))
	}
	if err != nil {
		d.summary = "malformed: " + err.Error()
		d.add("malformed", err.Error())
	} else if m.Malformed && !strings.HasPrefix(d.summary, "malformed") {
		d.summary = "malformed: " + d.summary
	}
	d.summary = oneLine(d.summary) // a router's text may be anything
	if d.summary == "" {
		d.summary = "empty"
	}
	return d
}

func (d *decodedMessage) add(name, value string) {
	if value != "" {
		d.body = append(d.body, field{name, value})
	}
}

// header adds the Per-Peer Header.
func (d *decodedMessage) header(h *bmp.PerPeerHeader) {
	d.add("peer type", fmt.Sprintf("%d (%s)", uint8(h.Type), h.Type))
	d.add("flags", fmt.Sprintf("0x%02x", h.Flags))
	if h.Distinguisher != 0 {
		d.add("distinguisher", bgp.RDOf(h.Distinguisher).String())
	}
	if h.Type != bmp.LocRIBPeer && h.Address.IsValid() {
		d.peer = h.Address
		d.add("address", h.Address.String())
	}
	d.add("as", strconv.FormatUint(uint64(h.AS), 10))
	d.add("bgp-id", h.ID().String())
	if t, ok := h.Time(); ok {
		d.add("router time", t.UTC().Format("2006-01-02T15:04:05.000000Z"))
	}
}

// shownRoutes is how many NLRI a one-line summary names.
const shownRoutes = 3

func (d *decodedMessage) routeMonitoring(p *bmp.RouteMonitoring, m *client.Message, maxRoutes int) {
	for i := range p.TLVs {
		t := &p.TLVs[i]
		name := "tlv " + p.Profile.Kind(t).String()
		if p.Profile.Kind(t) == bmp.UnknownTLV {
			name = fmt.Sprintf("tlv type %d", t.Type)
		}
		text := "0x" + hex.EncodeToString(t.Value)
		if n, ok := p.Sequence(); ok && p.Profile.Kind(t) == bmp.SequenceTLV {
			text = strconv.FormatUint(n, 10)
		}
		if p.Profile.Kind(t) == bmp.TableNameTLV {
			text = t.Text()
		}
		if t.Index != 0 {
			text += fmt.Sprintf(" (index %d)", t.Index)
		}
		d.add(name, text)
	}
	if p.Update == nil {
		return
	}
	var u bgp.Update
	if err := u.Parse(p.Update, m.Context); err != nil {
		d.summary = "malformed: " + err.Error()
		d.add("update", err.Error())
		return
	}
	if u.EoR {
		d.summary = "End-of-RIB " + u.EoRFamily.String()
		d.add("end-of-rib", u.EoRFamily.String())
		return
	}
	var announced, withdrawn []string // the first few
	var nAnnounced, nWithdrawn int
	var family bgp.Family
	var record []byte
	var nlri bgp.NLRI
	for _, s := range u.Sections(nil) {
		nlri.Reset(s.Family, s.AddPath, s.Withdraw, s.Field)
		for nlri.Next() {
			rd, prefix := bgp.KeyText(s.Family, nlri.Key)
			r := messageRoute{Action: "announce", Family: s.Family.String(), RD: jsonString(rd), Prefix: prefix}
			name := prefix
			if rd != "" {
				name = rd + ":" + prefix
			}
			if s.AddPath {
				r.PathID = nlri.PathID
				name += fmt.Sprintf(" (path %d)", nlri.PathID)
			}
			if s.Withdraw {
				r.Action = "withdraw"
				if nWithdrawn++; nWithdrawn <= shownRoutes {
					withdrawn = append(withdrawn, name)
				}
			} else {
				if nAnnounced++; nAnnounced <= shownRoutes {
					announced = append(announced, name)
				}
				if record == nil {
					family, record = s.Family, u.AppendRecord(nil, s.Family, nlri.Extra)
				}
			}
			if len(d.routes) < maxRoutes {
				d.routes = append(d.routes, r)
			}
		}
		if err := nlri.Err(); err != nil {
			d.add("nlri", err.Error())
		}
	}
	d.aboutRoutes(p, min(nAnnounced+nWithdrawn, maxRoutes))
	var parts []string
	if nWithdrawn > 0 {
		parts = append(parts, "withdraw "+few(withdrawn, nWithdrawn))
	}
	if nAnnounced > 0 {
		text := "announce " + few(announced, nAnnounced)
		if path := pathText(record); path != "-" {
			text += " path " + path
		}
		if hop := hopText(record); hop != "-" {
			text += " next-hop " + hop
		}
		parts = append(parts, text)
	}
	d.summary = strings.Join(parts, ", ")
	if d.summary == "" {
		d.summary = "UPDATE without routes"
	}
	if u.Malformed != nil {
		d.summary = "malformed: " + u.Malformed.Error() + " (" + u.Malformed.Class.String() + "), " + d.summary
		d.add("malformed", fmt.Sprintf("%s, %s, offset %d", u.Malformed.Error(), u.Malformed.Class, u.Malformed.Offset))
	}
	if record != nil {
		a := bgp.Decode(record, family)
		for _, nt := range a.All() {
			text := nt.Text
			if nt.Name == "origin" {
				text = originName(text)
			}
			d.add(nt.Name, text)
		}
	}
}

// few is a list cut short: a, b, c and 7 more.
func few(list []string, total int) string {
	s := strings.Join(list, ", ")
	if more := total - len(list); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

func (d *decodedMessage) statistics(p *bmp.StatisticsReport) {
	d.summary = plural(len(p.Stats), "statistic")
	for i, s := range p.Stats {
		name, value := s.Name(), statValue(s)
		d.add(name, value)
		if i < shownRoutes {
			sep := ", "
			if i == 0 {
				sep = ": "
			}
			d.summary += sep + name + " " + value
		}
	}
	if len(p.Stats) > shownRoutes {
		d.summary += " ..."
	}
}

// statValue is a statistic's value, with the family where it is of one.
func statValue(s bmp.Stat) string {
	text := "0x" + hex.EncodeToString(s.Raw)
	if v, ok := s.Value(); ok {
		text = strconv.FormatUint(v, 10)
	}
	if afi, safi, ok := s.Family(); ok {
		text += " (" + bgp.Family{AFI: afi, SAFI: safi}.String() + ")"
	}
	return text
}

func (d *decodedMessage) peerDown(p *bmp.PeerDown) {
	d.summary = p.Reason.String()
	d.add("reason", fmt.Sprintf("%d (%s)", uint8(p.Reason), p.Reason))
	if p.Notification != nil {
		n, err := bgp.ParseNotification(p.Notification)
		if err != nil {
			d.add("notification", "malformed: "+err.Error())
		} else {
			d.summary += ": " + n.String()
			d.add("notification", n.String())
		}
	}
	if p.Reason == bmp.DownLocal && !p.NoFSMEvent {
		d.summary += ": " + bmp.FSMEventName(p.FSMEvent)
		d.add("fsm event", fmt.Sprintf("%d (%s)", p.FSMEvent, bmp.FSMEventName(p.FSMEvent)))
	}
	d.peerTLVs(p.TLVs)
	if len(p.Data) > 0 {
		d.add("data", "0x"+hex.EncodeToString(p.Data))
	}
}

func (d *decodedMessage) peerUp(p *bmp.PeerUp) {
	local := ""
	if p.PeerHeader.Type != bmp.LocRIBPeer { // which has no session: the fields are zero
		local = ", local " + addrText(p.LocalAddress)
		d.add("local address", addrText(p.LocalAddress))
		d.add("local port", strconv.Itoa(int(p.LocalPort)))
		d.add("remote port", strconv.Itoa(int(p.RemotePort)))
	}
	for _, o := range []struct {
		name string
		pdu  []byte
	}{{"sent OPEN", p.SentOpen}, {"received OPEN", p.ReceivedOpen}} {
		open, err := bgp.ParseOpen(o.pdu)
		if err != nil {
			d.add(o.name, "malformed: "+err.Error())
			continue
		}
		d.add(o.name, fmt.Sprintf("AS%d, hold time %d s, BGP ID %s", open.AS, open.HoldTime, netip.AddrFrom4(open.ID)))
		for _, c := range open.Capabilities {
			d.add("  "+c.Name(), c.Text())
		}
		if o.name == "received OPEN" {
			d.summary = fmt.Sprintf("AS%d, BGP ID %s, hold time %d s", open.AS, netip.AddrFrom4(open.ID), open.HoldTime) + local
		}
	}
	d.peerTLVs(p.TLVs)
	if name := p.TableName(); name != "" {
		d.summary += ", table " + name
	}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// peerTLVs adds the TLVs of Peer Up and Peer Down.
func (d *decodedMessage) peerTLVs(tlvs []bmp.TLV) {
	for _, t := range tlvs {
		name := fmt.Sprintf("tlv type %d", t.Type)
		switch {
		case t.Enterprise:
			name = fmt.Sprintf("tlv enterprise %d type %d", t.PEN, t.Type)
		case t.Type == bmp.PeerString:
			name = "information"
		case t.Type == bmp.PeerTableName:
			name = "table"
		case t.Type == bmp.PeerAdminLabel:
			name = "admin label"
		}
		d.add(name, tlvText(t))
	}
}

// tlvText is a value as text where it is one, else as hex.
func tlvText(t bmp.TLV) string {
	text := t.Text()
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == '\uFFFD' {
			return "0x" + hex.EncodeToString(t.Value)
		}
	}
	return oneLine(text)
}

// aboutRoutes tells what TLVs of BMP version 4 say of the first routes of the message, each with its number.
func (d *decodedMessage) aboutRoutes(p *bmp.RouteMonitoring, routes int) {
	if len(p.TLVs) == 0 {
		return
	}
	for n := 1; n <= routes; n++ {
		if mark, ok := p.Marking(n); ok {
			text := mark.Status.String()
			if reason := mark.Reason.String(); reason != "" {
				text += " (" + reason + ")"
			}
			d.add(fmt.Sprintf("route %d path marking", n), text)
		}
		for what, at := range p.Timestamps(n) {
			d.add(fmt.Sprintf("route %d %v time", n, what), at.UTC().Format("2006-01-02T15:04:05.000000Z"))
		}
	}
}

// oneLine makes one line of a text that a router may have written in several.
func oneLine(s string) string { return wire.CleanString(strings.Join(strings.Fields(s), " ")) }

func (d *decodedMessage) initiation(p *bmp.Initiation) {
	d.summary = strings.TrimSpace(oneLine(p.SysName() + " " + p.SysDescr()))
	if len(d.summary) > 100 {
		d.summary = d.summary[:100] + "..."
	}
	d.summary = strings.ToValidUTF8(d.summary, "")
	for _, t := range p.TLVs {
		name := fmt.Sprintf("tlv type %d", t.Type)
		switch t.Type {
		case bmp.InitString:
			name = "information"
		case bmp.InitSysDescr:
			name = "sysDescr"
		case bmp.InitSysName:
			name = "sysName"
		}
		d.add(name, tlvText(t))
	}
}

func (d *decodedMessage) termination(p *bmp.Termination) {
	d.summary = "no reason given"
	if r, ok := p.Reason(); ok {
		d.summary = r.String()
		d.add("reason", r.String())
	}
	if t := oneLine(p.Text()); t != "" {
		d.summary += ": " + t
		d.add("information", t)
	}
}

func (d *decodedMessage) mirroring(p *bmp.RouteMirroring, m *client.Message) {
	var parts []string
	if code, ok := p.Information(); ok {
		parts = append(parts, code.String())
		d.add("information", code.String())
	}
	for pdu := range p.Messages() {
		text := bgp.Summary(pdu, m.Context)
		parts = append(parts, text)
		d.add("bgp message", text)
	}
	d.summary = strings.Join(parts, "; ")
}
