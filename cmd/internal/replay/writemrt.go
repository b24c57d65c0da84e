package replay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"

	"github.com/osrg/gobgp/v4/pkg/packet/mrt"
)

// mrtWriter writes what MRT has a place for (RFC 6396, RFC 8050): the UPDATEs of one router's peers as they were
// received, and how their sessions came and went, as BGP4MP_ET records. A peer is known by its address and AS number, and
// a table is not told at all; so of each peer one view is written, the first that is met of Adj-RIB-In pre-policy and
// post-policy. All else is counted.
type mrtWriter struct {
	out
	session int
	peers   map[netip.Addr]*writtenPeer
	left    map[string]int
	parser  bmp.Parser
	update  bgp.Update
	body    []byte
}

// writtenPeer is a peer of the session.
type writtenPeer struct {
	as, localAS uint32
	local       netip.Addr
	up          bool
	view        bmp.View
	hasView     bool
}

// States of BGP4MP_STATE_CHANGE.
const (
	mrtIdle        = 1
	mrtEstablished = 6
)

func newMRTWriter(o out) *mrtWriter {
	return &mrtWriter{out: o, session: -1, peers: make(map[netip.Addr]*writtenPeer), left: make(map[string]int)}
}

func (m *mrtWriter) Begin(session int, _, _ netip.AddrPort, at time.Time) error {
	if m.session >= 0 {
		return fmt.Errorf("MRT holds one router")
	}
	m.session = session
	return nil
}

// End writes that the router's peers are gone: whoever reads the file knows nothing of the router.
func (m *mrtWriter) End(_ int, at time.Time) error {
	m.session = -1
	for addr, p := range m.peers {
		if err := m.state(at, addr, p, false); err != nil {
			return err
		}
	}
	clear(m.peers)
	return nil
}

func (m *mrtWriter) Message(_ int, msg *Message) error {
	f, err := bmp.FrameOf(msg.Raw, 0)
	if err != nil {
		m.left["messages that cannot be read"]++
		return nil
	}
	parsed, err := m.parser.Parse(f)
	if err != nil {
		m.left["messages that cannot be read"]++
		return nil
	}
	h := parsed.Peer()
	if h == nil {
		return nil // of the session, not of a peer
	}
	if h.Type != bmp.GlobalPeer || !h.Address.IsValid() {
		m.left["messages of peers in a VRF, an instance or a Loc-RIB"]++
		return nil
	}
	p := m.peers[h.Address]
	if p == nil {
		p = &writtenPeer{local: netip.IPv4Unspecified(), localAS: localAS}
		if h.Address.Is6() {
			p.local = netip.IPv6Unspecified()
		}
		m.peers[h.Address] = p
	}
	p.as = h.AS
	switch x := parsed.(type) {
	case *bmp.PeerUp:
		if open, err := bgp.ParseOpen(x.SentOpen); err == nil {
			p.localAS = open.AS
		}
		if x.LocalAddress.Is4() == h.Address.Is4() && x.LocalAddress.IsValid() {
			p.local = x.LocalAddress
		}
		return m.state(msg.Time, h.Address, p, true)
	case *bmp.PeerDown:
		return m.state(msg.Time, h.Address, p, false)
	case *bmp.RouteMonitoring:
		return m.monitoring(msg, h, p, x.Update)
	}
	m.left["messages of type "+parsed.Type().Word()]++
	return nil
}

func (m *mrtWriter) monitoring(msg *Message, h *bmp.PerPeerHeader, p *writtenPeer, pdu []byte) error {
	v := h.View()
	if !p.hasView && (v == bmp.AdjInPre || v == bmp.AdjInPost) {
		p.view, p.hasView = v, true
	}
	if !p.hasView || v != p.view {
		m.left["messages of "+v.String()]++
		return nil
	}
	if err := m.state(msg.Time, h.Address, p, true); err != nil { // a router may tell of a peer whose Peer Up it never sent
		return err
	}
	addPath := false
	if m.update.Parse(pdu, msg.Context) == nil {
		for _, s := range m.update.Sections(nil) {
			addPath = addPath || s.AddPath
		}
	}
	subtype := mrt.MESSAGE
	switch {
	case msg.Context.AS4 && addPath:
		subtype = mrt.MESSAGE_AS4_ADDPATH
	case msg.Context.AS4:
		subtype = mrt.MESSAGE_AS4
	case addPath:
		subtype = mrt.MESSAGE_ADDPATH
	}
	m.head(h.Address, p, msg.Context.AS4)
	m.body = append(m.body, pdu...)
	return m.record(msg.Time, subtype)
}

// state writes that a session came or went, if that is news.
func (m *mrtWriter) state(at time.Time, addr netip.Addr, p *writtenPeer, up bool) error {
	if p.up == up {
		return nil
	}
	p.up = up
	from, to := uint16(mrtIdle), uint16(mrtEstablished)
	if !up {
		from, to = to, from
	}
	m.head(addr, p, true)
	m.body = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(m.body, from), to)
	return m.record(at, mrt.STATE_CHANGE_AS4)
}

// head begins the body of a record: peer AS, local AS, interface, AFI, peer address, local address.
func (m *mrtWriter) head(addr netip.Addr, p *writtenPeer, as4 bool) {
	m.body = m.body[:0]
	for _, as := range []uint32{p.as, p.localAS} {
		switch {
		case as4:
			m.body = binary.BigEndian.AppendUint32(m.body, as)
		case as > 65535:
			m.body = binary.BigEndian.AppendUint16(m.body, 23456) // AS_TRANS, RFC 6793
		default:
			m.body = binary.BigEndian.AppendUint16(m.body, uint16(as))
		}
	}
	afi := uint16(1)
	if addr.Is6() {
		afi = 2
	}
	m.body = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(m.body, 0), afi)
	m.body = append(append(m.body, addr.AsSlice()...), p.local.AsSlice()...)
}

func (m *mrtWriter) record(at time.Time, subtype mrt.MRTSubTypeBGP4MP) error {
	var h [16]byte
	binary.BigEndian.PutUint32(h[0:], uint32(at.Unix()))
	binary.BigEndian.PutUint16(h[4:], uint16(mrt.BGP4MP_ET))
	binary.BigEndian.PutUint16(h[6:], uint16(subtype))
	binary.BigEndian.PutUint32(h[8:], uint32(4+len(m.body)))
	binary.BigEndian.PutUint32(h[12:], uint32(at.Nanosecond()/1000))
	if _, err := m.w.Write(h[:]); err != nil {
		return err
	}
	_, err := m.w.Write(m.body)
	return err
}

func (m *mrtWriter) Left() []string { return counted(m.left) }
