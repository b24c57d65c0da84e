package client

import (
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"bmp/engine/archive"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

func fromNano(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, t)
}

// Brief is the client in one line.
func (c *Client) Brief() Brief {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brief()
}

func (c *Client) brief() Brief {
	b := Brief{
		ID: c.id, Address: c.endpoint.Remote, Name: c.identity.SysName, Netns: c.identity.Netns, Listener: c.endpoint.Listener,
		State: Down, Since: fromNano(c.since), Peers: len(c.byID), Bytes: c.bytes, Routes: c.routes(),
		Malformed: c.malformed.total,
	}
	if !b.Address.IsValid() {
		b.Address = netip.AddrPortFrom(c.identity.Address, 0)
	}
	for _, n := range c.counts {
		b.Messages += n
	}
	if c.session != nil {
		b.State, b.PeersUp = Up, c.peersUp()
	}
	return b
}

// Info is all of the client.
func (c *Client) Info(now time.Time) Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := Info{
		Brief: c.brief(), SysDescr: c.sysDescr, InitStrings: slices.Clone(c.initText), VRF: c.identity.VRF,
		Local: c.endpoint.Local, Version: c.version, FirstSeen: c.first, LastMessage: fromNano(c.last),
		ByType: messageCounts(&c.counts), LastError: c.lastError, LastErrorTime: fromNano(c.errorTime),
		DownReason: c.reason, Terminated: c.ended, Sessions: slices.Clone(c.log), SessionsLost: c.logLost,
		Ring: c.ring.info(), Health: len(c.findings.m), CountersSince: fromNano(c.countersSince),
		MirrorErrored: c.mirrorErrored, MirrorLost: c.mirrorLost, UpdatesIgnored: c.ignored,
	}
	if c.profile != bmp.ProfileAuto {
		i.Profile = c.profile.String()
	}
	if s := c.session; s != nil {
		i.Uptime = now.Sub(i.Since)
		i.Sessions = append(i.Sessions, SessionInfo{
			Address: s.endpoint.Remote, Listener: s.endpoint.Listener, Start: s.start, Messages: s.messages, Bytes: s.bytes,
		})
	}
	sums := make(map[ViewCount]*ViewCount)
	for _, p := range c.byID {
		i.PeerStats.add(p, c.stale(p))
		for _, v := range p.views {
			if v == nil {
				continue
			}
			for _, t := range v.tables {
				k := ViewCount{View: t.view, Family: t.family}
				if sums[k] == nil {
					sums[k] = &ViewCount{View: t.view, Family: t.family}
				}
				sums[k].Routes += t.rib.Len()
				sums[k].Stale += t.rib.StaleLen()
			}
		}
	}
	for _, s := range sums {
		i.Routes = append(i.Routes, *s)
	}
	slices.SortFunc(i.Routes, func(a, b ViewCount) int {
		return cmp.Or(cmp.Compare(a.View, b.View), cmp.Compare(a.Family.AFI, b.Family.AFI), cmp.Compare(a.Family.SAFI, b.Family.SAFI))
	})
	return i
}

func messageCounts(n *[bmp.MessageTypes + 1]uint64) MessageCounts {
	return MessageCounts{n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]}
}

func (s *PeerStats) add(p *peer, stale bool) {
	s.Total++
	switch p.key.typ {
	case bmp.GlobalPeer:
		s.Global++
	case bmp.RDPeer:
		s.RD++
	case bmp.LocalPeer:
		s.Local++
	case bmp.LocRIBPeer:
		s.LocRIB++
	default:
		s.Other++
	}
	switch {
	case p.locRIB():
	case p.key.addr.Is4():
		s.IPv4++
	case p.key.addr.IsValid():
		s.IPv6++
	}
	if sent, err := bgp.ParseOpen(p.sent); err == nil && !p.locRIB() {
		if sent.AS == p.as {
			s.IBGP++
		} else {
			s.EBGP++
		}
	}
	switch p.state {
	case PeerUp:
		if stale {
			s.Stale++
		} else {
			s.Up++
		}
	case PeerDown:
		s.Down++
	case PeerUnannounced:
		s.Unannounced++
	case PeerUnmonitored:
		s.Unmonitored++
	}
}

// stale says that the running session has not spoken of the peer, or that there is none.
func (c *Client) stale(p *peer) bool { return c.session == nil || p.session != c.sessions.Load() }

func (c *Client) peerInfo(p *peer) PeerInfo {
	i := PeerInfo{
		Client: c.id, ClientName: c.identity.SysName, ClientAddress: c.endpoint.Remote, ID: p.id, Type: p.key.typ,
		RD: p.label.RD, Distinguisher: p.key.dist, Address: p.key.addr, AS: p.as, BGPID: p.bgpid, State: p.state,
		Since: fromNano(p.since), RouterTime: fromNano(p.routerTime), Table: p.table, AdminLabel: p.admin,
		DownReason: p.downReason, Stale: c.stale(p), Malformed: p.malformed,
	}
	for _, n := range p.counts {
		i.Messages += n
	}
	for _, v := range p.views {
		if v == nil {
			continue
		}
		for _, t := range v.tables {
			n := t.rib.Len()
			i.Routes[v.v] += n
			i.Total += n
		}
	}
	return i
}

// Peers lists the peers by ID.
func (c *Client) Peers() []PeerInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]PeerInfo, 0, len(c.byID))
	for _, id := range slices.Sorted(maps.Keys(c.byID)) { // what is sorted is small
		out = append(out, c.peerInfo(c.byID[id]))
	}
	return out
}

// FindPeers is the peers that Y of a command names: an ID, an address, RD/address, TABLE/address, or loc-rib,
// RD/loc-rib, TABLE/loc-rib. An ID wins over everything else.
func (c *Client) FindPeers(y string) []PeerInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, err := strconv.ParseUint(y, 10, 32); err == nil {
		if p := c.byID[uint32(id)]; p != nil {
			return []PeerInfo{c.peerInfo(p)}
		}
		return nil
	}
	place, addr, loc, ok := parsePeerName(y)
	if !ok {
		return nil
	}
	var out []PeerInfo
	for _, p := range c.byID {
		if !p.label.named(place, addr, loc) {
			continue
		}
		out = append(out, c.peerInfo(p))
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Peer is all of one peer; not ok when there is none with the ID.
func (c *Client) Peer(id uint32) (PeerDetail, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.byID[id]
	if p == nil {
		return PeerDetail{}, false
	}
	d := PeerDetail{
		PeerInfo: c.peerInfo(p), ByType: messageCounts(&p.counts), LastMessage: fromNano(p.last), OpenError: p.openError,
		LocalAddress: p.localAddr, LocalPort: p.localPort, RemotePort: p.remotePort, UpCount: p.ups, DownCount: p.downs,
		RepeatedUps: p.repeated, LastUp: fromNano(p.upTime), LastDown: fromNano(p.downTime),
		InfoStrings: slices.Clone(p.strings), StatisticsTime: fromNano(p.statsAt), SentPDU: p.sent, ReceivedPDU: p.received,
		FSMEvent: p.fsmEvent, DownCode: uint8(p.downCode),
	}
	if p.sent != nil {
		sent, err1 := bgp.ParseOpen(p.sent)
		received, err2 := bgp.ParseOpen(p.received)
		for _, pair := range p.moreOpens {
			merge(&sent, pair[0])
			merge(&received, pair[1])
		}
		d.Sent, d.Received, d.HasOpens = sent, received, err1 == nil && err2 == nil
	}
	switch p.downCode {
	case bmp.DownLocalNotification, bmp.DownLocal, bmp.DownLocalTLV:
		d.DownBy = "local"
	case bmp.DownRemoteNotification, bmp.DownRemote:
		d.DownBy = "remote"
	}
	if len(p.notification) > 0 {
		if n, err := bgp.ParseNotification(p.notification); err == nil {
			n.Data = slices.Clone(n.Data)
			d.Notification, d.NotificationTime = &n, fromNano(p.downTime)
		}
	}
	for _, v := range p.views {
		if v == nil {
			continue
		}
		for _, t := range v.tables {
			d.Tables = append(d.Tables, t.info())
		}
	}
	slices.SortFunc(d.Tables, func(a, b TableInfo) int {
		return cmp.Or(cmp.Compare(a.View, b.View), cmp.Compare(a.Family.AFI, b.Family.AFI), cmp.Compare(a.Family.SAFI, b.Family.SAFI))
	})
	d.Statistics = p.statistics()
	return d, true
}

// merge adds the capabilities of another OPEN that are not there yet.
func merge(o *bgp.Open, pdu []byte) {
	more, err := bgp.ParseOpen(pdu)
	if err != nil {
		return
	}
	for _, c := range more.Capabilities {
		if !slices.ContainsFunc(o.Capabilities, func(x bgp.Capability) bool {
			return x.Code == c.Code && string(x.Value) == string(c.Value)
		}) {
			o.Capabilities = append(o.Capabilities, c)
		}
	}
}

func (t *table) info() TableInfo {
	i := TableInfo{
		View: t.view, Family: t.family, Routes: t.rib.Len(), Stale: t.rib.StaleLen(), Announced: t.announced,
		Withdrawn: t.withdrawn, EoR: fromNano(t.eor), AddPath: t.addPath, AddPathSaid: t.said, ASWidth: int(t.width),
		ASWidthSaid: int(t.widthSaid), Switched: t.switched, Forced: t.forced || t.forcedWidth, Incomplete: t.incomplete,
		LastUpdate: fromNano(t.update), LastEmptied: t.rib.Emptied(),
	}
	if i.ASWidth == 0 {
		i.ASWidth = i.ASWidthSaid
	}
	return i
}

func (p *peer) statistics() []Statistic {
	out := make([]Statistic, len(p.stats))
	for i, x := range p.stats {
		st := bmp.Stat{Type: x.typ, Enterprise: x.ent, PEN: x.pen, Raw: slices.Clone(x.raw)}
		out[i] = Statistic{
			Type: x.typ, Name: st.Name(), View: x.view, Family: x.family, Raw: st.Raw, Time: fromNano(x.time),
		}
		out[i].Value, out[i].Known = st.Value()
	}
	slices.SortFunc(out, func(a, b Statistic) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.View, b.View), cmp.Compare(a.Family.AFI, b.Family.AFI),
			cmp.Compare(a.Family.SAFI, b.Family.SAFI))
	})
	return out
}

// PeerStatistics is what one peer's statistics said last.
type PeerStatistics struct {
	Peer       PeerInfo
	Statistics []Statistic
}

// Statistics is what the peers' statistics said last; peers without any are left out.
func (c *Client) Statistics() []PeerStatistics {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []PeerStatistics
	for _, p := range c.byID {
		if len(p.stats) > 0 {
			out = append(out, PeerStatistics{c.peerInfo(p), p.statistics()})
		}
	}
	slices.SortFunc(out, func(a, b PeerStatistics) int { return cmp.Compare(a.Peer.ID, b.Peer.ID) })
	return out
}

// Health lists the findings, oldest first; more says how many occurrences found no room.
func (c *Client) Health() (f []Finding, more uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.findings.list(c.peerNameOf), c.findings.more
}

// Malformed lists the kept malformed messages, oldest first, and how many there were in all since the counters began.
func (c *Client) Malformed() (m []MalformedMessage, total uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.malformed.list(c.peerNameOf), c.malformed.total
}

// Rate is how fast the client talks.
func (c *Client) Rate(now time.Time) Rate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rate.snapshot(now)
}

// MessageQuery selects among the messages kept. The zero MessageQuery selects all.
type MessageQuery struct {
	Peer     uint32 // 0: of every peer and of none
	Type     bmp.MessageType
	OfType   bool // only Type; where Type is not a known one, those of all types not known
	From, To time.Time
	Last     int // the newest so many; 0: all

	// Key, if not nil, is of the only peer, also of messages from before it got the ID that it has now; and Name what PeerName is to be.
	Key  *archive.PeerKey
	Name string
	// Begin, if not nil, is told before the first message how many come, and where the oldest one kept stands, whether it is selected
	// or not; nil where none is kept.
	Begin func(n int, oldest *archive.Place) error
}

// Messages calls f with the messages kept that the query selects, oldest first. Their Raw is valid during the call
// only, all else stays. f may take its time: the session does not wait for it. What is kept and lost is in the RingInfo.
func (c *Client) Messages(ctx context.Context, q MessageQuery, f func(*Message) error) (RingInfo, error) {
	info, spans := c.ring.look()
	defer c.ring.release(spans)
	total := 0
	for _, s := range spans {
		total += s.count
	}
	skip := max(0, total-ringMessages)
	selected := func(e *entry) bool {
		if q.Peer != 0 && e.peer != q.Peer {
			return false
		}
		if q.Key != nil || q.Name != "" {
			m := archive.Message{Entry: archive.Entry{Raw: e.raw}}
			k, _, ok := m.Peer()
			if !ok || q.Key != nil && k != *q.Key || q.Name != "" && !strings.EqualFold(peerName(k.Type, rdOf(k.Distinguisher), k.Address), q.Name) {
				return false
			}
		}
		if q.OfType && e.typ != q.Type && (q.Type.Known() || e.typ.Known()) {
			return false
		}
		return (q.From.IsZero() || e.time >= q.From.UnixNano()) && (q.To.IsZero() || e.time <= q.To.UnixNano())
	}
	var oldest *archive.Place
	walk := func(f func(e *entry) error) error {
		seen := 0
		for _, s := range spans {
			b := s.buf
			if err := ctx.Err(); err != nil {
				return err
			}
			for range s.count {
				var e entry
				e, b = decodeEntry(b)
				if seen++; seen == skip+1 {
					oldest = &archive.Place{Session: c.sessionOf(e.session), Offset: e.offset, Time: time.Unix(0, e.time)}
				}
				if seen <= skip || !selected(&e) {
					continue
				}
				if err := f(&e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	from := 0
	if q.Last > 0 || q.Begin != nil {
		n := 0
		if err := walk(func(*entry) error { n++; return nil }); err != nil {
			return info, err
		}
		if q.Last > 0 {
			from = max(0, n-q.Last)
		}
		if q.Begin != nil {
			if err := q.Begin(n-from, oldest); err != nil {
				return info, err
			}
		}
	}
	n := 0
	err := walk(func(e *entry) error {
		if n++; n <= from {
			return nil
		}
		m := c.messageOf(*e)
		m.count()
		return f(&m)
	})
	return info, err
}

// sessionOf is the number of a session of which the ring has the low bits: it has not so many messages that they could be of
// two.
func (c *Client) sessionOf(low uint16) uint32 {
	now := c.sessions.Load()
	return now - uint32(uint16(now)-low)
}

// messageOf makes a Message that aliases the entry.
func (c *Client) messageOf(e entry) Message {
	m := Message{
		Time: time.Unix(0, e.time), Offset: e.offset, Type: e.typ, Version: e.version, Client: c.id, Peer: e.peer,
		View: e.view, HasView: e.flags&entryView != 0,
		Context: bgp.Context{AS4: e.flags&entryAS4 != 0, AddPath: e.addPath}, Malformed: e.flags&entryMalformed != 0,
		Raw: e.raw, profile: e.profile,
	}
	if e.peer != 0 {
		if l, ok := c.PeerLabel(e.peer); ok {
			m.PeerName = l.Name()
		}
		m.RouterTime = routerTime(e.raw, e.version)
	}
	return m
}

// routerTime is the stamp in the Per-Peer Header of a message that has one; zero for none.
func routerTime(raw []byte, version uint8) time.Time {
	head := bmp.HeaderLen
	if version < 3 {
		head = bmp.LegacyHeaderLen
	}
	if len(raw) < head+bmp.PerPeerHeaderLen {
		return time.Time{}
	}
	sec, micro := binary.BigEndian.Uint32(raw[head+34:]), binary.BigEndian.Uint32(raw[head+38:])
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(int64(sec), int64(micro)*1000)
}

// Decode parses the message again. The result aliases Raw and belongs to the caller.
func (m *Message) Decode() (bmp.Message, error) {
	f, err := bmp.FrameOf(m.Raw, m.Offset)
	if err != nil {
		return nil, err
	}
	p := bmp.Parser{Profile: m.profile}
	return p.Parse(f)
}

// Update splits the UPDATE of a Route Monitoring message as it was read when it came; not ok for other messages and
// where it cannot be split.
func (m *Message) Update() (u *bgp.Update, ok bool) {
	if m.Type != bmp.RouteMonitoringType {
		return nil, false
	}
	d, err := m.Decode()
	if err != nil {
		return nil, false
	}
	u = new(bgp.Update)
	if u.Parse(d.(*bmp.RouteMonitoring).Update, m.Context) != nil {
		return nil, false
	}
	return u, true
}

// count fills in what the UPDATE says.
func (m *Message) count() {
	u, ok := m.Update()
	if !ok {
		return
	}
	m.EoR = u.EoR
	var buf [4]bgp.Section
	for _, sec := range u.Sections(buf[:0]) {
		n, _ := bgp.CheckNLRI(sec.Family, sec.AddPath, sec.Withdraw, sec.Field)
		if sec.Withdraw {
			m.Withdrawn += n
		} else {
			m.Announced += n
		}
	}
}
