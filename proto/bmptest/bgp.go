package bmptest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// Family is an AFI and SAFI. It converts to the type of package bgp.
type Family struct {
	AFI  uint16
	SAFI uint8
}

// Families that builders know. Any other may be used where NLRI are given as bytes.
var (
	IPv4Unicast = Family{1, 1}
	IPv6Unicast = Family{2, 1}
	IPv4Labeled = Family{1, 4}
	IPv6Labeled = Family{2, 4}
	IPv4VPN     = Family{1, 128}
	IPv6VPN     = Family{2, 128}
	EVPN        = Family{25, 70}
	IPv4Flow    = Family{1, 133}
)

// BGP message types, RFC 4271, Section 4.1 and RFC 2918.
const (
	openType         = 1
	updateType       = 2
	notificationType = 3
	keepaliveType    = 4
	refreshType      = 5
)

// Hex reads hexadecimal with blanks, newlines, and comments from # to the end of a line.
func Hex(s string) []byte {
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		panic(err)
	}
	return b
}

// PDU is a BGP message with its header, RFC 4271, Section 4.1.
func PDU(typ uint8, body []byte) []byte {
	n := 19 + len(body)
	if n > 0xffff {
		panic(fmt.Sprintf("bmptest: BGP message of %d bytes", n))
	}
	b := make([]byte, 0, n)
	for range 16 {
		b = append(b, 0xff)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return append(append(b, typ), body...)
}

// Capability is a BGP capability, RFC 5492.
type Capability struct {
	Code  uint8
	Value []byte
}

// AddPath is the ADD-PATH mode of a family, RFC 7911, Section 4: 1 receive, 2 send, 3 both.
type AddPath struct {
	Family Family
	Mode   uint8
}

// Open is an OPEN, RFC 4271, Section 4.2. The zero value lacks all but what a speaker of today has: IPv4 unicast, 4-octet AS
// numbers, route refresh.
type Open struct {
	AS       uint32
	HoldTime uint16 // 0 is 180
	ID       [4]byte
	Families []Family // nil is IPv4 unicast
	AddPath  []AddPath
	AS2      bool         // without 4-octet AS numbers
	More     []Capability // after the others
	Extended bool         // optional parameters in the long form of RFC 9072
}

// Bytes is the message.
func (o Open) Bytes() []byte {
	if o.Families == nil {
		o.Families = []Family{IPv4Unicast}
	}
	if o.HoldTime == 0 {
		o.HoldTime = 180
	}
	var caps []byte
	capability := func(code uint8, value ...byte) {
		caps = append(append(caps, code, uint8(len(value))), value...)
	}
	for _, f := range o.Families { // RFC 4760, Section 8
		capability(1, byte(f.AFI>>8), byte(f.AFI), 0, f.SAFI)
	}
	capability(2) // RFC 2918
	as := o.AS
	if !o.AS2 { // RFC 6793
		capability(65, binary.BigEndian.AppendUint32(nil, as)...)
	}
	if as > 0xffff {
		as = 23456 // AS_TRANS
	}
	if o.AddPath != nil {
		var v []byte
		for _, a := range o.AddPath {
			v = append(v, byte(a.Family.AFI>>8), byte(a.Family.AFI), a.Family.SAFI, a.Mode)
		}
		capability(69, v...)
	}
	for _, c := range o.More {
		capability(c.Code, c.Value...)
	}
	b := []byte{4, byte(as >> 8), byte(as), byte(o.HoldTime >> 8), byte(o.HoldTime), o.ID[0], o.ID[1], o.ID[2], o.ID[3]}
	switch {
	case o.Extended:
		b = append(b, 255, 255)
		b = binary.BigEndian.AppendUint16(b, uint16(3+len(caps)))
		b = append(b, 2)
		b = binary.BigEndian.AppendUint16(b, uint16(len(caps)))
	case len(caps) > 253:
		panic("bmptest: so many capabilities need Extended")
	default:
		b = append(b, uint8(2+len(caps)), 2, uint8(len(caps)))
	}
	return PDU(openType, append(b, caps...))
}

// Notification is a NOTIFICATION, RFC 4271, Section 4.5.
func Notification(code, subcode uint8, data ...byte) []byte {
	return PDU(notificationType, append([]byte{code, subcode}, data...))
}

// Shutdown is the NOTIFICATION of an administrative shutdown with a text, RFC 9003.
func Shutdown(text string) []byte {
	return Notification(6, 2, append([]byte{uint8(len(text))}, text...)...)
}

// Keepalive is a KEEPALIVE.
func Keepalive() []byte { return PDU(keepaliveType, nil) }

// RouteRefresh is a ROUTE-REFRESH, RFC 2918 and, for its subtype, RFC 7313.
func RouteRefresh(f Family, subtype uint8) []byte {
	return PDU(refreshType, []byte{byte(f.AFI >> 8), byte(f.AFI), subtype, f.SAFI})
}

// NLRI is one route: a prefix with what its family puts before it, or all of it as bytes.
type NLRI struct {
	Prefix netip.Prefix
	PathID uint32   // written where the Update has AddPath
	Labels []uint32 // families 4 and 128; the last one gets the bottom of stack bit. 0x800000 is the label of a withdraw
	RD     uint64   // family 128
	Raw    []byte   // if not nil, the NLRI in place of the above but the path ID
}

// Prefixes are NLRI of nothing but prefixes.
func Prefixes(prefixes ...string) []NLRI {
	var list []NLRI
	for _, p := range prefixes {
		list = append(list, NLRI{Prefix: netip.MustParsePrefix(p)})
	}
	return list
}

// appendNLRI appends an NLRI as the family has it: RFC 4271, Section 4.3; RFC 8277, Section 2; RFC 4364, Section 4.3.4.
func appendNLRI(b []byte, f Family, addPath bool, n NLRI) []byte {
	if addPath {
		b = binary.BigEndian.AppendUint32(b, n.PathID)
	}
	if n.Raw != nil {
		return append(b, n.Raw...)
	}
	bits := n.Prefix.Bits()
	var before []byte
	if f.SAFI == 4 || f.SAFI == 128 {
		for i, label := range n.Labels {
			v := label << 4
			switch {
			case label == 0x800000:
				v = label
			case i == len(n.Labels)-1:
				v |= 1
			}
			before = append(before, byte(v>>16), byte(v>>8), byte(v))
		}
	}
	if f.SAFI == 128 {
		before = binary.BigEndian.AppendUint64(before, n.RD)
	}
	b = append(b, uint8(bits+8*len(before)))
	b = append(b, before...)
	return append(b, n.Prefix.Masked().Addr().AsSlice()[:(bits+7)/8]...)
}

// Attribute is a path attribute as bytes.
type Attribute struct {
	Flags uint8 // the extended length bit is set where it is needed
	Type  uint8
	Value []byte
}

// Update is an UPDATE, RFC 4271, Section 4.3. Announced and withdrawn routes are of one family: IPv4 unicast in the fields of
// the message, unless MP says otherwise; others in MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760).
type Update struct {
	Family   Family // the zero value is IPv4 unicast
	MP       bool   // IPv4 unicast in MP_REACH_NLRI as well
	AddPath  bool
	Announce []NLRI
	Withdraw []NLRI

	NextHop          netip.Addr // the zero value is 192.0.2.1, or 2001:db8::1 for AFI 2
	Origin           uint8      // 0 IGP, 1 EGP, 2 INCOMPLETE
	ASPath           []uint32   // one AS_SEQUENCE
	AS2              bool       // AS numbers in 2 octets
	MED, LocalPref   *uint32
	Communities      []uint32
	LargeCommunities [][3]uint32
	ExtCommunities   []uint64
	More             []Attribute // after the others
}

// Bytes is the message.
func (u Update) Bytes() []byte {
	if u.Family == (Family{}) {
		u.Family = IPv4Unicast
	}
	classic := u.Family == IPv4Unicast && !u.MP
	next := u.NextHop
	if !next.IsValid() {
		next = netip.MustParseAddr("192.0.2.1")
		if u.Family.AFI == 2 {
			next = netip.MustParseAddr("2001:db8::1")
		}
	}
	var announce, withdraw []byte
	for _, n := range u.Announce {
		announce = appendNLRI(announce, u.Family, u.AddPath, n)
	}
	for _, n := range u.Withdraw {
		withdraw = appendNLRI(withdraw, u.Family, u.AddPath, n)
	}
	var attrs []byte
	if len(u.Withdraw) > 0 && !classic {
		v := []byte{byte(u.Family.AFI >> 8), byte(u.Family.AFI), u.Family.SAFI}
		attrs = appendAttribute(attrs, Attribute{0x80, 15, append(v, withdraw...)})
	}
	if len(u.Announce) > 0 {
		attrs = appendAttribute(attrs, Attribute{0x40, 1, []byte{u.Origin}})
		var path []byte
		if len(u.ASPath) > 0 {
			path = []byte{2, uint8(len(u.ASPath))}
			for _, as := range u.ASPath {
				if u.AS2 {
					path = binary.BigEndian.AppendUint16(path, uint16(as))
				} else {
					path = binary.BigEndian.AppendUint32(path, as)
				}
			}
		}
		attrs = appendAttribute(attrs, Attribute{0x40, 2, path})
		if classic {
			attrs = appendAttribute(attrs, Attribute{0x40, 3, next.AsSlice()})
		}
		attrs = u.appendOptional(attrs)
		if !classic {
			v := []byte{byte(u.Family.AFI >> 8), byte(u.Family.AFI), u.Family.SAFI}
			hop := next.AsSlice()
			if u.Family.SAFI == 128 {
				hop = append(make([]byte, 8), hop...) // an RD of zero: RFC 4364, Section 4.3.2
			}
			v = append(append(v, uint8(len(hop))), hop...)
			v = append(append(v, 0), announce...)
			attrs = appendAttribute(attrs, Attribute{0x80, 14, v})
		}
	}
	for _, a := range u.More {
		attrs = appendAttribute(attrs, a)
	}
	if !classic {
		announce, withdraw = nil, nil
	}
	body := binary.BigEndian.AppendUint16(nil, uint16(len(withdraw)))
	body = append(body, withdraw...)
	body = binary.BigEndian.AppendUint16(body, uint16(len(attrs)))
	body = append(body, attrs...)
	return PDU(updateType, append(body, announce...))
}

func (u Update) appendOptional(attrs []byte) []byte {
	if u.MED != nil {
		attrs = appendAttribute(attrs, Attribute{0x80, 4, binary.BigEndian.AppendUint32(nil, *u.MED)})
	}
	if u.LocalPref != nil {
		attrs = appendAttribute(attrs, Attribute{0x40, 5, binary.BigEndian.AppendUint32(nil, *u.LocalPref)})
	}
	if len(u.Communities) > 0 {
		var v []byte
		for _, c := range u.Communities {
			v = binary.BigEndian.AppendUint32(v, c)
		}
		attrs = appendAttribute(attrs, Attribute{0xc0, 8, v})
	}
	if len(u.ExtCommunities) > 0 {
		var v []byte
		for _, c := range u.ExtCommunities {
			v = binary.BigEndian.AppendUint64(v, c)
		}
		attrs = appendAttribute(attrs, Attribute{0xc0, 16, v})
	}
	if len(u.LargeCommunities) > 0 {
		var v []byte
		for _, c := range u.LargeCommunities {
			for _, part := range c {
				v = binary.BigEndian.AppendUint32(v, part)
			}
		}
		attrs = appendAttribute(attrs, Attribute{0xc0, 32, v})
	}
	return attrs
}

func appendAttribute(b []byte, a Attribute) []byte {
	if len(a.Value) > 255 {
		b = append(b, a.Flags|0x10, a.Type)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
	} else {
		b = append(b, a.Flags&^0x10, a.Type, uint8(len(a.Value)))
	}
	return append(b, a.Value...)
}

// EndOfRIB is the End-of-RIB marker of a family, RFC 4724, Section 2.
func EndOfRIB(f Family) []byte {
	if f == IPv4Unicast {
		return PDU(updateType, make([]byte, 4))
	}
	attr := appendAttribute(nil, Attribute{0x80, 15, []byte{byte(f.AFI >> 8), byte(f.AFI), f.SAFI}})
	return PDU(updateType, append([]byte{0, 0, 0, uint8(len(attr))}, attr...))
}

// EVPN NLRI, RFC 7432, Section 7 and RFC 9136, Section 3.1; for NLRI.Raw. Labels are 20 bits, as MPLS has them.

// EVPNMAC is a route of type 2; without an address ip is the zero Addr.
func EVPNMAC(rd uint64, esi [10]byte, tag uint32, mac [6]byte, ip netip.Addr, label uint32) []byte {
	b := binary.BigEndian.AppendUint64(nil, rd)
	b = append(b, esi[:]...)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = append(append(b, 48), mac[:]...)
	b = append(b, uint8(ip.BitLen()))
	b = append(b, ip.AsSlice()...)
	return evpn(2, appendLabel(b, label))
}

// EVPNMulticast is a route of type 3.
func EVPNMulticast(rd uint64, tag uint32, router netip.Addr) []byte {
	b := binary.BigEndian.AppendUint64(nil, rd)
	b = binary.BigEndian.AppendUint32(b, tag)
	return evpn(3, append(append(b, uint8(router.BitLen())), router.AsSlice()...))
}

// EVPNPrefix is a route of type 5.
func EVPNPrefix(rd uint64, esi [10]byte, tag uint32, prefix netip.Prefix, gateway netip.Addr, label uint32) []byte {
	b := binary.BigEndian.AppendUint64(nil, rd)
	b = append(b, esi[:]...)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = append(append(b, uint8(prefix.Bits())), prefix.Masked().Addr().AsSlice()...)
	if !gateway.IsValid() {
		b = append(b, make([]byte, prefix.Addr().BitLen()/8)...)
	} else {
		b = append(b, gateway.AsSlice()...)
	}
	return evpn(5, appendLabel(b, label))
}

func evpn(typ uint8, b []byte) []byte { return append([]byte{typ, uint8(len(b))}, b...) }

func appendLabel(b []byte, label uint32) []byte {
	v := label<<4 | 1
	return append(b, byte(v>>16), byte(v>>8), byte(v))
}
