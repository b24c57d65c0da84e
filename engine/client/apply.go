package client

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"bmp/engine/event"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/wire"
)

// apply takes one whole message: counts it, changes what it changes, and keeps it.
func (s *Session) apply(f bmp.Frame) {
	c := s.client
	t := min(f.Type, bmp.MessageTypes)
	c.counts[t]++
	c.bytes += uint64(len(f.Raw))
	s.messages++
	s.bytes += uint64(len(f.Raw))
	c.last, c.stirred, s.heard = s.now, s.time, s.clock
	c.version = f.Version
	s.frame = f
	s.mark = entry{
		time: s.now, offset: f.Offset, typ: f.Type, version: f.Version, session: uint16(s.number), raw: f.Raw,
	}
	s.changed = change{}

	m, err := s.parser.Parse(f)
	var p *peer
	if m != nil {
		if h := m.Peer(); h != nil {
			if p = s.peerOf(h); p != nil {
				p.counts[t]++
				p.last = s.now
				s.mark.peer, s.mark.view = p.id, h.View()
			} else if err == nil {
				err = errTooManyPeers
			}
		}
		// A message whose body is malformed changes nothing but the counters: what was read of it before the fault is
		// not to be trusted more than the rest.
		if err == nil {
			s.dispatch(m, p)
		}
	}
	if err != nil {
		at := -1
		var we *wire.Error
		if errors.As(err, &we) {
			at = we.Offset
		}
		s.bad(p, 0, at, err.Error())
	}
	if f.Version >= 4 && f.Type == bmp.RouteMonitoringType {
		c.profile = s.parser.Profile
		if c.profile == bmp.ProfileAuto {
			c.profile = s.parser.DetectedProfile()
		}
		s.mark.profile = c.profile
	}
	if s.archive != nil && !s.keep() {
		s.mark.flags |= entryOnly
	}
	c.ring.append(&s.mark)
	if len(c.feeds) > 0 {
		s.feed()
	}
	if s.follow {
		s.tellMessage(p)
	}
}

func (s *Session) dispatch(m bmp.Message, p *peer) {
	switch m := m.(type) {
	case *bmp.RouteMonitoring:
		s.routeMonitoring(m, p)
	case *bmp.StatisticsReport:
		s.statistics(m, p)
	case *bmp.PeerUp:
		s.peerUp(m, p)
	case *bmp.PeerDown:
		s.peerDown(m, p)
	case *bmp.Initiation:
		s.initiation(m)
	case *bmp.Termination:
		s.termination(m)
	case *bmp.RouteMirroring:
		s.mirroring(m)
	}
}

// recentPeers is how many places a session has for the peers it met last: routers send the messages of a few peers in
// turns, and to find a peer in the map costs as much as to apply a route.
const recentPeers = 16

// maxPeers bounds the peers of one client: more than any router has, and what a stream of garbage can cost.
const maxPeers = 1 << 16

var errTooManyPeers = fmt.Errorf("peer not kept: there are %d", maxPeers)

// peerOf finds the peer of a header, or makes one that is unannounced; nil where there is no room for one more.
func (s *Session) peerOf(h *bmp.PerPeerHeader) *peer {
	k := keyOf(h)
	place := &s.recent[(h.AS^uint32(h.BGPID[3])^uint32(h.Distinguisher))%recentPeers]
	if p := *place; p != nil && p.key == k {
		return p
	}
	p := s.client.peerOf(k)
	if p == nil {
		if len(s.client.byID) >= maxPeers && !s.forgetDownPeer() {
			return nil
		}
		p = s.client.addPeer(k, h, s.now)
	}
	*place = p
	return p
}

// forgetDownPeer makes room for a peer: the one that is down for longest goes. It is false where none is down. It looks
// at all peers, so it does that once a second at most while there is nothing to be had.
func (s *Session) forgetDownPeer() bool {
	if s.clock < s.crowded {
		return false
	}
	var oldest *peer
	for _, p := range s.client.byID {
		if (p.state == PeerDown || p.state == PeerUnmonitored) && (oldest == nil || p.since < oldest.since) {
			oldest = p
		}
	}
	if oldest == nil {
		s.crowded = s.clock + int64(time.Second)
		return false
	}
	s.flush()
	s.archiveStaleOf(oldest)
	s.client.dropPeer(oldest)
	clear(s.recent[:])
	return true
}

// note counts a health finding, and tells the console of those that the operator must not miss.
func (s *Session) note(kind FindingKind, p *peer, sub uint32, offset int64, msg []byte, detail func() string) {
	c := s.client
	k := findingKey{kind: kind, sub: sub}
	if p != nil {
		k.peer = p.id
	}
	if !c.findings.note(k, s.now, offset, msg, detail) {
		return
	}
	switch kind {
	case IdentityCollision, AddPathNotNegotiated, ASWidthNotNegotiated, ProfileConflict:
	default:
		return
	}
	e := event.Event{Time: s.time, Kind: event.Health, Peer: k.peer, Console: true, Live: true, Text: kind.String()}
	if p != nil {
		e.Text = "Peer " + p.label.Name() + " " + e.Text
	}
	if detail != nil {
		e.Text += " (" + detail() + ")"
	}
	c.publish(e)
}

// noteHere is note with the message being applied as its proof.
func (s *Session) noteHere(kind FindingKind, p *peer, sub uint32, detail func() string) {
	s.note(kind, p, sub, s.frame.Offset, s.frame.Raw, detail)
}

// bad keeps the message being applied as malformed. at is where in it; -1 where that is not known.
func (s *Session) bad(p *peer, class bgp.ErrorClass, at int, reason string) {
	c := s.client
	e := malformedEntry{
		time: s.now, typ: s.frame.Type, class: class, offset: s.frame.Offset, at: at, reason: reason, raw: s.frame.Raw,
	}
	if p != nil {
		e.peer = p.id
		p.malformed++
	}
	c.malformed.add(e)
	s.mark.flags |= entryMalformed
	c.lastError, c.errorTime = reason, s.now
	s.badLine(p, reason)
}

// maxInitiation is the longest Initiation that is kept as it came.
const maxInitiation = 16 << 10

func (s *Session) initiation(m *bmp.Initiation) {
	c := s.client
	name := shortText(m.SysName())
	if c.initiated && name != c.identity.SysName {
		s.noteHere(IdentityCollision, nil, 0, func() string {
			return fmt.Sprintf("a second Initiation names %q, the first %q", name, c.identity.SysName)
		})
	}
	if was := c.identity; name != was.SysName && (name != "" || !c.initiated) {
		c.identity.SysName = name
		c.name.Store(&name)
		if c.env.Renamed != nil {
			c.env.Renamed(c, was, c.identity)
		}
	}
	c.initiated = true
	if len(s.frame.Raw) <= maxInitiation {
		c.init = bytes.Clone(s.frame.Raw)
	}
	c.sysDescr = shortText(m.SysDescr())
	c.initText = nil
	for _, t := range m.TLVs {
		if t.Type == bmp.InitString && !t.Enterprise && len(c.initText) < 16 {
			c.initText = append(c.initText, shortText(t.Text()))
		}
	}
}

func (s *Session) termination(m *bmp.Termination) {
	c := s.client
	c.ended = "no reason given"
	if r, ok := m.Reason(); ok {
		c.ended = r.String()
	}
	if text := m.Text(); text != "" {
		c.ended += ": " + shortText(text)
	}
}

func (s *Session) mirroring(m *bmp.RouteMirroring) {
	for _, t := range m.TLVs {
		if t.Type != bmp.MirrorInformation || t.Enterprise || len(t.Value) != 2 {
			continue
		}
		switch t.Value[1] {
		case 0:
			s.client.mirrorErrored++
		case 1:
			s.client.mirrorLost++
		}
	}
}

// checkTime looks at the router's stamp on a message. Uptimes are less than ten years.
func (s *Session) checkTime(p *peer, h *bmp.PerPeerHeader) {
	const year = 365 * 24 * 3600
	sec := s.now / 1e9
	off := int64(h.Sec) - sec
	switch {
	case off >= -300 && off <= 300:
	case h.Sec == 0:
		s.noteHere(TimestampZero, p, 0, nil)
	case h.Sec < 10*year:
		s.noteHere(TimestampUptime, p, 0, func() string {
			return "says " + time.Unix(int64(h.Sec), 0).UTC().Format(time.RFC3339)
		})
	default:
		s.noteHere(TimestampOff, p, 0, func() string {
			return fmt.Sprintf("%s from ours", time.Duration(off)*time.Second)
		})
	}
}

// checkIdentity compares a header with the Peer Up of its key.
func (s *Session) checkIdentity(p *peer, h *bmp.PerPeerHeader) {
	if p.state == PeerUp && p.upSession == s.number && (h.AS != p.as || h.BGPID != p.bgpid) {
		s.noteHere(IdentityCollision, p, 1, func() string {
			return fmt.Sprintf("%s says AS%d BGP ID %s, the Peer Up AS%d %s", s.frame.Type.Name(), h.AS, h.ID(), p.as, id4(p.bgpid))
		})
	}
}

func id4(id [4]byte) string { return fmt.Sprintf("%d.%d.%d.%d", id[0], id[1], id[2], id[3]) }

// announcedCheck notes messages of a peer that this session did not announce.
func (s *Session) announcedCheck(p *peer) {
	if p.state == PeerUp && p.upSession == s.number {
		return
	}
	if p.session != s.number {
		// Of an earlier session, or new: the router speaks of it without having announced it.
		p.session = s.number
		if p.upSession != s.number && p.state != PeerUnannounced {
			s.setState(p, PeerUnannounced, nil)
		}
	}
	if p.state != PeerUnannounced {
		return
	}
	if p.locRIB() && s.frame.Type == bmp.RouteMonitoringType {
		s.noteHere(LocRIBNotAnnounced, p, 0, nil)
		return
	}
	s.noteHere(NeverAnnounced, p, uint32(s.frame.Type), s.frame.Type.Name)
}

func (s *Session) setState(p *peer, state PeerState, h *bmp.PerPeerHeader) {
	p.state, p.since, p.routerTime = state, s.now, 0
	if h == nil {
		return
	}
	if t, ok := h.Time(); ok {
		p.routerTime = t.UnixNano()
	}
}

// emptyPeer drops the peer's routes in all views, RFC 7854, Section 4.9.
func (s *Session) emptyPeer(p *peer) {
	s.flush()
	p.emptied, p.emptiedIn = s.frame.Offset, s.number
	for _, v := range p.views {
		if v == nil {
			continue
		}
		for _, t := range v.tables {
			t.rib.Clear(s.time)
			t.eor, t.update = 0, 0
			t.incomplete = false
			t.votes, t.widthVotes = 0, 0
		}
	}
}

func (s *Session) peerUp(m *bmp.PeerUp, p *peer) {
	h := &m.PeerHeader
	s.checkTime(p, h)
	same := p.sameSession(m)
	if !p.hasOpens(m.SentOpen, m.ReceivedOpen) && !s.client.roomForOpens(m) {
		s.bad(p, 0, -1, errTooManyOpens.Error())
		return
	}
	if p.state == PeerUp && p.upSession == s.number {
		// The session of the peer was up: does the router only say so again?
		switch {
		case same || p.locRIB() && p.hasOpens(m.SentOpen, m.ReceivedOpen):
			p.repeated++
			s.noteHere(RepeatedPeerUp, p, 0, func() string { return fmt.Sprintf("flags %#02x", h.Flags) })
			s.checkTable(p, m, false)
			s.checkIdentity(p, h)
			return
		case p.locRIB():
			// One Peer Up per family: what they can is merged, and nothing was restarted.
			s.client.keepFurtherOpens(p, m)
			s.checkTable(p, m, true)
			p.negotiate()
			s.recode(p)
			return
		}
		s.emptyPeer(p)
		p.downs++
		p.downTime, p.downReason = s.now, "restarted: Peer Up with other ports or OPENs"
		s.peerChanged(p, "DOWN", p.downReason)
	}
	resumed := same && p.upSession != 0 && p.upSession != s.number
	if !resumed && p.upSession == s.number && p.state != PeerUnannounced {
		s.emptyPeer(p) // after a Peer Down it is empty but for what the router sent in between
	}
	since, stamp := p.since, p.routerTime
	stays := resumed && p.state == PeerUp
	s.setState(p, PeerUp, h)
	if stays {
		// The BMP session ended, the BGP session did not.
		p.since, p.routerTime = since, stamp
	} else {
		p.ups++
	}
	p.as, p.bgpid = h.AS, h.BGPID
	p.session, p.upSession, p.upTime, p.upClock, p.upOffset = s.number, s.number, s.now, s.clock, s.frame.Offset
	p.eorMissed = false
	s.client.keepOpens(p, m)
	p.localAddr, p.localPort, p.remotePort = m.LocalAddress, m.LocalPort, m.RemotePort
	p.table, p.admin, p.strings = tableName(m), shortText(m.AdminLabel()), nil
	for _, t := range m.TLVs {
		if t.Type == bmp.PeerString && !t.Enterprise && len(p.strings) < 16 {
			p.strings = append(p.strings, shortText(t.Text()))
		}
	}
	p.relabel(h)
	s.client.publishLabel(p)
	p.negotiate()
	if p.openError != "" {
		s.bad(p, 0, -1, "Peer Up: "+p.openError)
	}
	s.recode(p)
	for _, v := range p.views {
		if v == nil {
			continue
		}
		for _, t := range v.tables {
			t.eor = 0
		}
	}
	s.peerChanged(p, "UP", "")
	s.due.eor = min(s.due.eor, s.clock+int64(s.client.timing.EndOfRIB))
	s.setDue()
}

// checkTable compares the table name of a further Peer Up. Juniper's Peer Up for another family of a Loc-RIB has the
// name of that family's table, "inet6.0" after "inet.0", in its free text: it is kept among the texts.
func (s *Session) checkTable(p *peer, m *bmp.PeerUp, otherFamily bool) {
	name := tableName(m)
	if name == p.table || name == "" {
		return
	}
	if otherFamily && m.TableName() == "" && p.table != "" {
		if len(p.strings) < 16 {
			p.strings = append(p.strings, name)
		}
		return
	}
	if p.table == "" {
		p.table = name
		p.relabel(&m.PeerHeader)
		s.client.publishLabel(p)
		return
	}
	s.noteHere(IdentityCollision, p, 2, func() string {
		return fmt.Sprintf("Peer Up with table %q for a peer of table %q", name, p.table)
	})
}

func (s *Session) peerDown(m *bmp.PeerDown, p *peer) {
	h := &m.PeerHeader
	s.checkTime(p, h)
	wasUp := p.state == PeerUp && p.upSession == s.number
	if !wasUp && (p.state != PeerUnannounced || p.session != s.number) {
		s.noteHere(DownNeverUp, p, 0, func() string { return downText(m) })
	}
	// A router that has just started says of peers that never came up since that they are down, with BGP ID 0.0.0.0
	// (FRR, again and again). That is no word on the routes of the session before: they are stale until the dump ends.
	if p.upSession == s.number || p.told == s.number || p.state == PeerUnannounced || h.BGPID != [4]byte{} {
		s.emptyPeer(p)
	}
	p.session = s.number
	p.downTime, p.downCode, p.downReason = s.now, m.Reason, shortText(downText(m))
	p.fsmEvent, p.notification = m.FSMEvent, nil
	if len(m.Notification) <= maxNotification {
		p.notification = bytes.Clone(m.Notification)
	}
	state := PeerDown
	if m.Reason == bmp.DownUnmonitored {
		state = PeerUnmonitored
	}
	if p.state == state {
		// Told again, as FRR does of peers that never come up: since when stays.
		return
	}
	s.setState(p, state, h)
	p.downs++
	s.peerChanged(p, "DOWN", p.downReason)
}

func (s *Session) tellMessage(p *peer) {
	m := s.client.messageOf(s.mark)
	m.Raw = bytes.Clone(m.Raw)
	m.Announced, m.Withdrawn, m.EoR = s.changed.announced, s.changed.withdrawn, s.changed.eor
	e := event.Event{Time: s.time, Kind: event.Message, Live: true, Data: &m}
	if p != nil {
		e.Peer = p.id
	}
	s.client.publish(e)
}
