package client

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// peerKey is what makes two messages speak of one peer. The flags of the per-peer header are not part of it.
type peerKey struct {
	typ  bmp.PeerType
	dist uint64
	addr netip.Addr
	id   [4]byte // of Loc-RIB instance peers; zero for others, where it may be wrong (FRR sends 0.0.0.0 in Peer Down)
}

func keyOf(h *bmp.PerPeerHeader) peerKey {
	k := peerKey{typ: h.Type, dist: h.Distinguisher, addr: h.Address}
	if h.Type == bmp.LocRIBPeer {
		k.id = h.BGPID
	}
	return k
}

// Label is what a peer is called: the part of it that rows of routes show. It is immutable.
type Label struct {
	key     peerKey
	ID      uint32
	Type    bmp.PeerType
	RD      string // empty for none
	Address netip.Addr
	AS      uint32
	BGPID   [4]byte
	Table   string
}

// Name is how the peer is called in text: its address, RD/address, loc-rib, RD/loc-rib.
func (l *Label) Name() string { return peerName(l.Type, l.RD, l.Address) }

func peerName(typ bmp.PeerType, rd string, addr netip.Addr) string {
	name := "loc-rib"
	if addr.IsValid() {
		name = addr.String()
	} else if typ != bmp.LocRIBPeer {
		name = "?"
	}
	if rd != "" {
		return rd + "/" + name
	}
	return name
}

// parsePeerName takes apart what a command calls a peer: place is what stands before the last slash, the RD or the name of
// a table.
func parsePeerName(y string) (place string, addr netip.Addr, loc, ok bool) {
	name := y
	if i := strings.LastIndexByte(y, '/'); i >= 0 {
		place, name = y[:i], y[i+1:]
	}
	addr, err := netip.ParseAddr(name)
	loc = strings.EqualFold(name, "loc-rib")
	return place, addr, loc, err == nil || loc
}

// IsPeerName says whether y of a command can be what a peer is called, and is not an ID.
func IsPeerName(y string) bool {
	_, _, _, ok := parsePeerName(y)
	return ok
}

// named says whether a peer is called so. A Loc-RIB that has an address, which it should not, goes by that, too.
func (l *Label) named(place string, addr netip.Addr, loc bool) bool {
	if loc && l.Type != bmp.LocRIBPeer || !loc && l.Address != addr {
		return false
	}
	return place == "" || place == l.RD || place == l.Table
}

// peer is a BGP peer of the router, or a Loc-RIB of it. Guarded by Client.mu; written by the session goroutine, and by
// the station while the client is down.
type peer struct {
	id    uint32
	key   peerKey
	label *Label // never nil; replaced, never changed

	as    uint32 // of the Peer Up; of the first message when there was none
	bgpid [4]byte

	state      PeerState
	since      int64 // unix nanoseconds
	routerTime int64 // unix nanoseconds, of the message that changed the state; 0: none
	session    uint32
	// session is the number of the client's session in which the peer was last announced (spoken of, if the router
	// never announces it); told that in which it last announced routes while it was down.
	told uint32

	// Of the last Peer Up.
	upTime         int64
	upClock        int64 // the same on the clock of its session
	upOffset       int64 // of the Peer Up in its session's stream
	emptied        int64 // of the message that emptied its tables last, in the stream of the session emptiedIn
	emptiedIn      uint32
	upSession      uint32 // number of that session; 0: there was none
	sent, received []byte
	moreOpens      [][2][]byte // further pairs of OPENs of a Loc-RIB, one per family
	localAddr      netip.Addr
	localPort      uint16
	remotePort     uint16
	table          string
	admin          string
	strings        []string
	extended       bool // both OPENs have the extended message capability
	openError      string
	negotiated     [3]bgp.AddPathSet // ADD-PATH: in, out, Loc-RIB
	eorMissed      bool              // that End-of-RIB is missing was reported

	// Of the last Peer Down.
	downTime     int64
	downCode     bmp.PeerDownReason
	downReason   string
	fsmEvent     uint16
	notification []byte

	ups, downs, repeated uint64
	counts               [bmp.MessageTypes + 1]uint64
	malformed            uint64
	last                 int64 // arrival of the newest message

	views   [bmp.Views]*view
	stats   []stat
	statsAt int64
}

// view is one RIB of a peer.
type view struct {
	v       bmp.View
	addPath bgp.AddPathSet // what the NLRI of a message are read with: negotiated, or as tables were switched or set
	width   uint8          // AS width of the table last written, if it is not as the header says: where to begin with the next
	tables  []*table
}

// table is one family of a view: the rib table and how its messages are coded.
type table struct {
	rib    *rib.Table
	view   bmp.View
	family bgp.Family

	said        bool  // ADD-PATH as negotiated
	addPath     bool  // ADD-PATH as read
	width       uint8 // 2 or 4: AS width was switched or set; 0: as each message's header says
	widthSaid   uint8 // of the last message
	switched    bool
	forced      bool // ADD-PATH was set by a quirk: nothing is voted on
	forcedWidth bool
	incomplete  bool
	votes       uint8 // for the other ADD-PATH form, none for this one since
	widthVotes  uint8

	renewed              uint32 // number of the session that announced to it last
	announced, withdrawn uint64
	eor                  int64
	update               int64 // arrival of the last message with routes

	staleLen   int       // at the last look
	staleSince int64     // when that last changed, on the clock of the session
	staleBase  time.Time // when the first session began that has not announced again what is stale; zero: nothing is
}

type stat struct {
	typ    uint16
	ent    bool
	pen    uint32
	view   bmp.View
	family bgp.Family
	time   int64
	raw    []byte
}

func (p *peer) locRIB() bool { return p.key.typ == bmp.LocRIBPeer }

// relabel makes the label anew after what it shows has changed.
func (p *peer) relabel(h *bmp.PerPeerHeader) {
	l := &Label{key: p.key, ID: p.id, Type: p.key.typ, Address: p.key.addr, AS: p.as, BGPID: p.bgpid, Table: p.table}
	if p.label != nil {
		l.RD = p.label.RD
	} else if h.Distinguisher != 0 {
		l.RD = bgp.RDOf(h.Distinguisher).String()
	}
	p.label = l
}

// tableOf finds the table of a family; nil when there is none.
func (v *view) tableOf(f bgp.Family) *table {
	for i, t := range v.tables {
		if t.family == f {
			if i > 0 { // most messages are of the family of the one before
				v.tables[0], v.tables[i] = t, v.tables[0]
			}
			return t
		}
	}
	return nil
}

// negotiatedFor is what the OPENs say about ADD-PATH in a view.
func (p *peer) negotiatedFor(v bmp.View) bgp.AddPathSet {
	switch v {
	case bmp.AdjInPre, bmp.AdjInPost:
		return p.negotiated[0]
	case bmp.AdjOutPre, bmp.AdjOutPost:
		return p.negotiated[1]
	}
	return p.negotiated[2]
}

// negotiate works out of the OPENs what decides the coding. Loc-RIB peers may have several pairs.
func (p *peer) negotiate() {
	p.negotiated = [3]bgp.AddPathSet{}
	p.extended, p.openError = false, ""
	p.addOpens(p.sent, p.received)
	for _, pair := range p.moreOpens {
		p.addOpens(pair[0], pair[1])
	}
}

func (p *peer) addOpens(sentPDU, receivedPDU []byte) {
	sent, err := bgp.ParseOpen(sentPDU)
	if err != nil {
		p.openError = "sent OPEN: " + err.Error()
		return
	}
	received, err := bgp.ParseOpen(receivedPDU)
	if err != nil {
		p.openError = "received OPEN: " + err.Error()
		return
	}
	p.extended = p.extended || sent.ExtendedMessage() && received.ExtendedMessage()
	p.negotiated[0] |= bgp.AddPathIn(&sent, &received)
	p.negotiated[1] |= bgp.AddPathOut(&sent, &received)
	p.negotiated[2] |= bgp.AddPathListed(&sent)
}

// sameSession says whether a Peer Up speaks of the BGP session of the last one: the same OPENs and ports.
func (p *peer) sameSession(m *bmp.PeerUp) bool {
	return p.localPort == m.LocalPort && p.remotePort == m.RemotePort && p.localAddr == m.LocalAddress &&
		p.hasOpens(m.SentOpen, m.ReceivedOpen)
}

func (p *peer) hasOpens(sent, received []byte) bool {
	if bytes.Equal(p.sent, sent) && bytes.Equal(p.received, received) {
		return true
	}
	for _, pair := range p.moreOpens {
		if bytes.Equal(pair[0], sent) && bytes.Equal(pair[1], received) {
			return true
		}
	}
	return false
}

// tableName is the VRF/table name that a Peer Up gives. Juniper puts it into the free text: "inet.0",
// "A7.inet.0" (RFC 9069, Section 4.4 has a TLV for it since).
func tableName(m *bmp.PeerUp) string { return tableNameOf(m.TableName(), m.Text()) }

func tableNameOf(name, text string) string {
	if name != "" {
		return shortText(name)
	}
	text = shortText(text)
	if i := strings.LastIndexByte(text, '.'); i > 0 && i < len(text)-1 && strings.Trim(text[i+1:], "0123456789") == "" &&
		!strings.ContainsAny(text, " \t\r\n") && strings.Trim(text, "0123456789.") != "" {
		return text
	}
	return ""
}

// downText says in a few words why a peer went down.
func downText(m *bmp.PeerDown) string {
	switch m.Reason {
	case bmp.DownLocalNotification, bmp.DownRemoteNotification:
		n, err := bgp.ParseNotification(m.Notification)
		if err != nil {
			return m.Reason.String()
		}
		if n.Code == 4 { // RFC 4271, Section 4.5
			return "hold timer expired"
		}
		if m.Reason == bmp.DownLocalNotification {
			return "sent " + n.String()
		}
		return "received " + n.String()
	case bmp.DownLocal:
		switch m.FSMEvent {
		case 0:
			return "local system closed"
		case 10:
			return "hold timer expired"
		}
		return "local system closed, " + bmp.FSMEventName(m.FSMEvent)
	case bmp.DownRemote:
		return "remote system closed"
	}
	return m.Reason.String()
}
