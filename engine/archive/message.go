package archive

import (
	"encoding/binary"
	"net/netip"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// PeerKey is what makes two messages of a client speak of one peer. It is comparable.
type PeerKey struct {
	Type          bmp.PeerType
	Distinguisher uint64
	Address       netip.Addr // not valid: none
	BGPID         [4]byte    // of Loc-RIB peers alone
}

// PeerKeyOf is the key of the peer that a Per-Peer Header speaks of.
func PeerKeyOf(h *bmp.PerPeerHeader) PeerKey {
	k := PeerKey{Type: h.Type, Distinguisher: h.Distinguisher, Address: h.Address}
	if h.Type == bmp.LocRIBPeer {
		k.BGPID = h.BGPID
	}
	return k
}

// hash is the same in every run: it is stored.
func (k PeerKey) hash() uint16 {
	var b [29]byte
	b[0] = byte(k.Type)
	binary.BigEndian.PutUint64(b[1:], k.Distinguisher)
	a := k.Address.As16()
	if k.Address.IsValid() {
		copy(b[9:], a[:])
	}
	copy(b[25:], k.BGPID[:])
	h := hashBytes(0x70656572, b[:])
	return uint16(h ^ h>>16 ^ h>>32)
}

// Entry is one message as it is given to the archive.
type Entry struct {
	Time    time.Time   // of arrival
	Offset  int64       // in the session's stream
	Session uint32      // number of the session on its client
	Raw     []byte      // the whole message; copied
	Context bgp.Context // how its UPDATE was read, when it is Route Monitoring
	Profile bmp.Profile // of version 4
	Bad     bool        // it could not be read
}

// Kind is what a record of the archive is.
type Kind uint8

// The kinds.
const (
	MessageRecord Kind = iota
	SessionStart       // Data of the record is a SessionRecord in JSON
	SessionEnd         // likewise
	StaleDropped       // Appender.DropStale; no Message is of this kind
)

// Message is one record as it is read. Raw aliases a buffer that is used again for the next block: it is valid during
// the callback only.
type Message struct {
	Entry
	Client uint32
	Kind   Kind
	Type   bmp.MessageType // of a message
	Block  uint64          // its block's sequence in the stream, the place to name when something is wrong with it
}

// header is the Per-Peer Header of the message, if it has one.
func (m *Message) header(h *bmp.PerPeerHeader) bool {
	if m.Kind != MessageRecord || len(m.Raw) < 2 {
		return false
	}
	return peerHeader(m.Raw, h)
}

// Peer is the peer that the message speaks of, and in which view; not ok when it speaks of none.
func (m *Message) Peer() (k PeerKey, v bmp.View, ok bool) {
	var h bmp.PerPeerHeader
	if !m.header(&h) {
		return PeerKey{}, 0, false
	}
	return PeerKeyOf(&h), h.View(), true
}

// Decode parses the message. The result aliases Raw.
func (m *Message) Decode() (bmp.Message, error) {
	f, err := bmp.FrameOf(m.Raw, m.Offset)
	if err != nil {
		return nil, err
	}
	p := bmp.Parser{Profile: m.Profile}
	return p.Parse(f)
}

// peerHeader reads the Per-Peer Header of a raw message that has one.
func peerHeader(raw []byte, h *bmp.PerPeerHeader) bool {
	b := perPeer(raw)
	if b == nil {
		return false
	}
	*h = bmp.PerPeerHeader{
		Type: bmp.PeerType(b[0]), Flags: b[1], Distinguisher: binary.BigEndian.Uint64(b[2:]),
		AS: binary.BigEndian.Uint32(b[26:]), BGPID: [4]byte(b[30:34]),
		Sec: binary.BigEndian.Uint32(b[34:]), Micro: binary.BigEndian.Uint32(b[38:]),
	}
	h.Address = address(b)
	return true
}

// address reads the Peer Address as package bmp does, whose PerPeerHeader.Address says why.
func address(b []byte) netip.Addr {
	locRIB := bmp.PeerType(b[0]) == bmp.LocRIBPeer
	zero := binary.BigEndian.Uint64(b[10:]) == 0 && binary.BigEndian.Uint32(b[18:]) == 0
	if zero && locRIB && binary.BigEndian.Uint32(b[22:]) == 0 {
		return netip.Addr{}
	}
	if zero && (locRIB || b[1]&bmp.FlagIPv6 == 0) {
		return netip.AddrFrom4([4]byte(b[22:26]))
	}
	return netip.AddrFrom16([16]byte(b[10:26]))
}

// perPeer is the 42 bytes of the Per-Peer Header; nil for messages that have none or are too short for it.
func perPeer(raw []byte) []byte {
	if len(raw) < 2 {
		return nil
	}
	head, typ := bmp.HeaderLen, byte(0)
	if raw[0] < 3 {
		head, typ = bmp.LegacyHeaderLen, raw[1]
	} else {
		if len(raw) < bmp.HeaderLen {
			return nil
		}
		typ = raw[5]
	}
	if len(raw) < head+bmp.PerPeerHeaderLen {
		return nil
	}
	switch bmp.MessageType(typ) {
	case bmp.RouteMonitoringType, bmp.StatisticsReportType, bmp.PeerDownType, bmp.PeerUpType, bmp.RouteMirroringType:
		return raw[head : head+bmp.PerPeerHeaderLen]
	}
	return nil
}

func messageType(raw []byte) bmp.MessageType {
	switch {
	case len(raw) >= bmp.HeaderLen && raw[0] >= 3:
		return bmp.MessageType(raw[5])
	case len(raw) >= 2:
		return bmp.MessageType(raw[1])
	}
	return bmp.MessageTypes
}
