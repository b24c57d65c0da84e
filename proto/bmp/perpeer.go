package bmp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// The flags of the Per-Peer Header: RFC 7854, Section 4.2; RFC 8671, Section 4; RFC 9069, Section 4.2.
const (
	FlagIPv6       = 0x80 // V: the address is IPv6. Not for peer type 3
	FlagFiltered   = 0x80 // F: the Loc-RIB is filtered. Peer type 3 alone
	FlagPostPolicy = 0x40 // L
	FlagAS2        = 0x20 // A: AS_PATH in 2 octets
	FlagAdjRIBOut  = 0x10 // O
	FlagExtended   = 0x01 // X: the flags to consider are in a TLV. Version 4 alone
)

// PerPeerHeader is the Per-Peer Header, RFC 7854, Section 4.2. It is comparable, holds no reference to the message,
// and may be copied.
type PerPeerHeader struct {
	Type          PeerType
	Flags         uint8
	Distinguisher uint64 // an RD for peer type 1, of local meaning for type 2 (and for type 3 of a VRF), else 0
	// Address of the peer. The zero Addr where there is none, which is the case for Loc-RIB. IPv6 where the V flag
	// says so, and also where it does not but the 12 bytes before an IPv4 address are not zero: two peers that
	// differ there must not become one.
	Address netip.Addr
	AS      uint32
	BGPID   [4]byte
	Sec     uint32 // the router's time; see Time
	Micro   uint32
}

// View is the RIB the message speaks of. Whatever its flags, a message of peer type 3 speaks of Loc-RIB.
func (h *PerPeerHeader) View() View {
	switch {
	case h.Type == LocRIBPeer:
		return LocRIB
	case h.Flags&(FlagAdjRIBOut|FlagPostPolicy) == FlagAdjRIBOut|FlagPostPolicy:
		return AdjOutPost
	case h.Flags&FlagAdjRIBOut != 0:
		return AdjOutPre
	case h.Flags&FlagPostPolicy != 0:
		return AdjInPost
	}
	return AdjInPre
}

// AS4 says that AS numbers in AS_PATH and AGGREGATOR have 4 octets: the A flag is clear, or it is a Loc-RIB, where
// they always have (RFC 9069, Section 4.2). Versions 1 and 2 have no A flag.
func (h *PerPeerHeader) AS4() bool { return h.Type == LocRIBPeer || h.Flags&FlagAS2 == 0 }

// IPv6 is the V flag; false for Loc-RIB, where the bit is F.
func (h *PerPeerHeader) IPv6() bool { return h.Type != LocRIBPeer && h.Flags&FlagIPv6 != 0 }

// PostPolicy is the L flag; false for Loc-RIB.
func (h *PerPeerHeader) PostPolicy() bool { return h.Type != LocRIBPeer && h.Flags&FlagPostPolicy != 0 }

// AdjOut is the O flag; false for Loc-RIB.
func (h *PerPeerHeader) AdjOut() bool { return h.Type != LocRIBPeer && h.Flags&FlagAdjRIBOut != 0 }

// Filtered is the F flag, of Loc-RIB alone.
func (h *PerPeerHeader) Filtered() bool { return h.Type == LocRIBPeer && h.Flags&FlagFiltered != 0 }

// Time is what the router says: when the routes were received, by its own clock. Not ok where it says nothing
// (zero). Routers also send their uptime here.
func (h *PerPeerHeader) Time() (t time.Time, ok bool) {
	if h.Sec == 0 && h.Micro == 0 {
		return time.Time{}, false
	}
	return time.Unix(int64(h.Sec), int64(h.Micro)*1000), true
}

// SetTime stores t in the resolution of the wire; the zero Time as none.
func (h *PerPeerHeader) SetTime(t time.Time) {
	if t.IsZero() {
		h.Sec, h.Micro = 0, 0
		return
	}
	h.Sec, h.Micro = uint32(t.Unix()), uint32(t.Nanosecond()/1000)
}

// ID is the BGP Identifier as one writes it, as an IPv4 address.
func (h *PerPeerHeader) ID() netip.Addr { return netip.AddrFrom4(h.BGPID) }

// parse reads the header from the 42 bytes at the beginning of b, which are there. It is the hottest code of the
// package, so it indexes instead of walking a cursor.
func (h *PerPeerHeader) parse(b []byte) {
	_ = b[PerPeerHeaderLen-1]
	h.Type = PeerType(b[0])
	h.Flags = b[1]
	h.Distinguisher = binary.BigEndian.Uint64(b[2:])
	h.Address = parseAddress(h, b[10:26])
	h.AS = binary.BigEndian.Uint32(b[26:])
	h.BGPID = [4]byte(b[30:34])
	h.Sec = binary.BigEndian.Uint32(b[34:])
	h.Micro = binary.BigEndian.Uint32(b[38:])
}

// parseAddress reads one of the 16-byte addresses whose form the header tells; see PerPeerHeader.Address.
func parseAddress(h *PerPeerHeader, b []byte) netip.Addr {
	zero := binary.BigEndian.Uint64(b) == 0 && binary.BigEndian.Uint32(b[8:]) == 0
	if zero && h.Type == LocRIBPeer && binary.BigEndian.Uint32(b[12:]) == 0 {
		return netip.Addr{}
	}
	if zero && !h.IPv6() {
		return netip.AddrFrom4([4]byte(b[12:16]))
	}
	return netip.AddrFrom16([16]byte(b))
}

// AppendTo appends the 42 bytes.
func (h *PerPeerHeader) AppendTo(dst []byte) []byte {
	dst = append(dst, byte(h.Type), h.Flags)
	dst = binary.BigEndian.AppendUint64(dst, h.Distinguisher)
	dst = appendAddress(dst, h.Address)
	dst = binary.BigEndian.AppendUint32(dst, h.AS)
	dst = append(dst, h.BGPID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, h.Sec)
	return binary.BigEndian.AppendUint32(dst, h.Micro)
}

// appendAddress writes an IPv4 address into the last 4 of 16 bytes, and none as zero.
func appendAddress(dst []byte, a netip.Addr) []byte {
	var b [16]byte
	switch {
	case a.Is4():
		v4 := a.As4()
		copy(b[12:], v4[:])
	case a.IsValid():
		b = a.As16()
	}
	return append(dst, b[:]...)
}
