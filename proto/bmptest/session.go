package bmptest

import (
	"fmt"
	"net/netip"
	"time"

	"bmp/proto/bmp"
)

// Peer is a monitored peer: its Per-Peer Header as of Adj-RIB-In pre-policy, and both OPENs.
type Peer struct {
	Header         bmp.PerPeerHeader
	Local          netip.Addr
	LocalPort      uint16
	RemotePort     uint16
	Sent, Received Open
	TLVs           []bmp.TLV // of its Peer Up
}

// NewPeer is a global peer whose BGP identifier and local side are derived from the address: two calls make equal peers.
func NewPeer(address string, as uint32) Peer {
	a := netip.MustParseAddr(address)
	b := a.As16()
	id := [4]byte(b[12:])
	p := Peer{
		Header:     bmp.PerPeerHeader{Address: a, AS: as, BGPID: id},
		LocalPort:  179,
		RemotePort: 40000 + uint16(b[15]),
		Sent:       Open{AS: 65000, ID: [4]byte{198, 51, 100, 1}},
		Received:   Open{AS: as, ID: id},
		Local:      netip.MustParseAddr("198.51.100.1"),
	}
	if a.Is6() {
		p.Header.Flags = bmp.FlagIPv6
		p.Local = netip.MustParseAddr("2001:db8:ffff::1")
		p.Sent.Families, p.Received.Families = []Family{IPv6Unicast}, []Family{IPv6Unicast}
	}
	return p
}

// NewLocRIB is the Loc-RIB of a table, RFC 9069: with an RD if it is a VRF's.
func NewLocRIB(table string, rd uint64, as uint32) Peer {
	id := [4]byte{198, 51, 100, 1}
	open := Open{AS: as, ID: id, Families: []Family{IPv4Unicast, IPv6Unicast}}
	p := Peer{
		Header: bmp.PerPeerHeader{Type: bmp.LocRIBPeer, Distinguisher: rd, AS: as, BGPID: id},
		Sent:   open, Received: open,
	}
	if table != "" {
		p.TLVs = []bmp.TLV{{Type: bmp.PeerTableName, Value: []byte(table)}}
	}
	return p
}

// In is the peer with its header set for a view.
func (p Peer) In(v bmp.View) Peer {
	if p.Header.Type == bmp.LocRIBPeer {
		return p
	}
	p.Header.Flags &^= bmp.FlagPostPolicy | bmp.FlagAdjRIBOut
	if v == bmp.AdjInPost || v == bmp.AdjOutPost {
		p.Header.Flags |= bmp.FlagPostPolicy
	}
	if v == bmp.AdjOutPre || v == bmp.AdjOutPost {
		p.Header.Flags |= bmp.FlagAdjRIBOut
	}
	return p
}

// UpMessage is its Peer Up.
func (p Peer) UpMessage() *bmp.PeerUp {
	return &bmp.PeerUp{PeerHeader: p.Header, LocalAddress: p.Local, LocalPort: p.LocalPort, RemotePort: p.RemotePort,
		SentOpen: p.Sent.Bytes(), ReceivedOpen: p.Received.Bytes(), TLVs: p.TLVs}
}

// Session collects the messages of one BMP session. The zero value is ready, and of version 3. Its methods return it, to be
// chained.
type Session struct {
	Encoding bmp.Encoding
	// Time goes into the Per-Peer Headers of messages to come; zero leaves what their peer has.
	Time time.Time

	buf  []byte
	ends []int
}

// Bytes is the whole stream so far. It is valid until the next message is added.
func (s *Session) Bytes() []byte { return s.buf }

// Messages are the messages so far, one by one.
func (s *Session) Messages() [][]byte {
	var list [][]byte
	start := 0
	for _, end := range s.ends {
		list = append(list, s.buf[start:end:end])
		start = end
	}
	return list
}

// Add appends a message.
func (s *Session) Add(m bmp.Message) *Session {
	b, err := m.Append(s.buf, s.Encoding)
	if err != nil {
		panic(fmt.Sprintf("bmptest: %v", err))
	}
	s.buf = b
	s.ends = append(s.ends, len(b))
	return s
}

// Raw appends bytes that are counted as one message, whatever they are.
func (s *Session) Raw(b []byte) *Session {
	s.buf = append(s.buf, b...)
	s.ends = append(s.ends, len(s.buf))
	return s
}

func (s *Session) stamp(h bmp.PerPeerHeader) bmp.PerPeerHeader {
	if !s.Time.IsZero() {
		h.SetTime(s.Time)
	}
	return h
}

// Initiation appends an Initiation; what is empty is left out.
func (s *Session) Initiation(sysName, sysDescr string) *Session {
	m := new(bmp.Initiation)
	if sysDescr != "" {
		m.TLVs = append(m.TLVs, bmp.TLV{Type: bmp.InitSysDescr, Value: []byte(sysDescr)})
	}
	if sysName != "" {
		m.TLVs = append(m.TLVs, bmp.TLV{Type: bmp.InitSysName, Value: []byte(sysName)})
	}
	return s.Add(m)
}

// Termination appends a Termination with a reason.
func (s *Session) Termination(reason bmp.TerminationReason) *Session {
	return s.Add(&bmp.Termination{TLVs: []bmp.TLV{{Type: bmp.TermReason, Value: []byte{byte(reason >> 8), byte(reason)}}}})
}

// PeerUp appends the peer's Peer Up.
func (s *Session) PeerUp(p Peer) *Session {
	m := p.UpMessage()
	m.PeerHeader = s.stamp(m.PeerHeader)
	return s.Add(m)
}

// PeerDown appends a Peer Down without data, or with the NOTIFICATION that reasons 1 and 3 have.
func (s *Session) PeerDown(p Peer, reason bmp.PeerDownReason, notification []byte) *Session {
	return s.Add(&bmp.PeerDown{PeerHeader: s.stamp(p.Header), Reason: reason, Notification: notification})
}

// Monitor appends a Route Monitoring of a view with an UPDATE; TLVs are for version 4.
func (s *Session) Monitor(p Peer, v bmp.View, update []byte, tlvs ...bmp.TLV) *Session {
	return s.Add(&bmp.RouteMonitoring{PeerHeader: s.stamp(p.In(v).Header), Update: update, TLVs: tlvs})
}

// EndOfRIB appends the End-of-RIB of a view and family.
func (s *Session) EndOfRIB(p Peer, v bmp.View, f Family) *Session {
	return s.Monitor(p, v, EndOfRIB(f))
}

// Mirror appends a Route Mirroring of BGP messages.
func (s *Session) Mirror(p Peer, messages ...[]byte) *Session {
	m := &bmp.RouteMirroring{PeerHeader: s.stamp(p.Header)}
	for _, b := range messages {
		m.TLVs = append(m.TLVs, bmp.TLV{Type: bmp.MirrorBGPMessage, Value: b})
	}
	return s.Add(m)
}

// Statistics appends a Statistics Report.
func (s *Session) Statistics(p Peer, stats ...bmp.Stat) *Session {
	return s.Add(&bmp.StatisticsReport{PeerHeader: s.stamp(p.Header), Stats: stats})
}

// Counter is a statistic of 4 bytes, RFC 7854, Section 4.8.
func Counter(typ uint16, v uint32) bmp.Stat {
	return bmp.Stat{Type: typ, Raw: []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}}
}

// Gauge is a statistic of 8 bytes.
func Gauge(typ uint16, v uint64) bmp.Stat {
	hi, lo := Counter(typ, uint32(v>>32)), Counter(typ, uint32(v))
	return bmp.Stat{Type: typ, Raw: append(hi.Raw, lo.Raw...)}
}

// FamilyGauge is a statistic of a family and 8 bytes.
func FamilyGauge(typ uint16, f Family, v uint64) bmp.Stat {
	return bmp.Stat{Type: typ, Raw: append([]byte{byte(f.AFI >> 8), byte(f.AFI), f.SAFI}, Gauge(typ, v).Raw...)}
}
