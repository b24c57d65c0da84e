package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// NameText is an attribute as a name and what it says.
type NameText struct{ Name, Text string }

// Attributes is a record decoded for people. It aliases nothing.
type Attributes struct {
	NextHop          netip.Addr // not valid: none (FlowSpec)
	LinkLocal        netip.Addr // the second next hop that IPv6 may have
	Origin           string     // "i", "e", "?"; "" without an ORIGIN
	ASPath           string     // "65001 65010 {65020,65021}"
	MED              *uint32
	LocalPref        *uint32
	Communities      []string
	LargeCommunities []string
	ExtCommunities   []string
	Labels           []string   // outermost first; the VNI where the route is of a VXLAN
	Others           []NameText // the rest in the peer's order, then esi, gateway and other parts cut from the NLRI
}

// Decode decodes a record of a route of family f. It cannot fail: what does not parse is in Others, in hex.
func Decode(rec []byte, f Family) Attributes {
	var a Attributes
	path, w := recordPath(rec)
	a.ASPath = string(appendPath(nil, path, w))
	it := attrs{rest: RecordAttrs(rec)}
	for it.next() {
		a.attribute(&it, f, RecordAS4(rec))
	}
	if len(it.rest) > 0 {
		a.other("undecoded", "0x"+hex.EncodeToString(it.rest))
	}
	a.extra(RecordExtra(rec), f)
	return a
}

func (a *Attributes) other(name, text string) {
	a.Others = append(a.Others, NameText{name, text})
}

// attribute adds one path attribute.
func (a *Attributes) attribute(it *attrs, f Family, as4 bool) {
	v := it.value
	hexText := "0x" + hex.EncodeToString(v)
	if it.code == AttrMPReach { // its value is the next hop alone
		global, linkLocal := parseNextHop(v)
		switch {
		case global.IsValid():
			if a.NextHop.IsValid() { // that of NEXT_HOP, which counts for nothing here
				a.other("next-hop", a.NextHop.String())
			}
			a.NextHop, a.LinkLocal = global, linkLocal
		case !slices.Equal(v, make([]byte, len(v))): // an RD of zeros alone says nothing
			a.other("next-hop", hexText)
		}
		return
	}
	r := &attrRules[it.code]
	if reason, _ := checkValue(it.code, r, v, as4); reason != "" {
		a.other(AttrName(it.code), hexText)
		return
	}
	switch it.code {
	case AttrOrigin:
		a.Origin = [...]string{"i", "e", "?"}[v[0]]
	case AttrASPath:
	case AttrNextHop:
		if a.NextHop.IsValid() {
			a.other("next-hop", netip.AddrFrom4([4]byte(v)).String())
			break
		}
		a.NextHop = netip.AddrFrom4([4]byte(v))
	case AttrMED:
		n := binary.BigEndian.Uint32(v)
		a.MED = &n
	case AttrLocalPref:
		n := binary.BigEndian.Uint32(v)
		a.LocalPref = &n
	case AttrCommunities:
		for c := range slices.Chunk(v, 4) {
			a.Communities = append(a.Communities, CommunityText(binary.BigEndian.Uint32(c)))
		}
	case AttrLargeCommunities:
		for c := range slices.Chunk(v, 12) {
			a.LargeCommunities = append(a.LargeCommunities, LargeCommunityText([3]uint32{
				binary.BigEndian.Uint32(c), binary.BigEndian.Uint32(c[4:]), binary.BigEndian.Uint32(c[8:])}))
		}
	case AttrExtCommunities:
		for c := range slices.Chunk(v, 8) {
			a.ExtCommunities = append(a.ExtCommunities, ExtCommunityText([8]byte(c)))
		}
	default:
		text := attributeText(it, f, as4)
		if text == "" {
			text = hexText
		}
		a.other(AttrName(it.code), text)
	}
}

// attributeText writes the attributes that have no field of their own in Attributes; "" where hex must do. The value has
// passed checkValue.
func attributeText(it *attrs, f Family, as4 bool) string {
	v := it.value
	switch it.code {
	case AttrAtomicAggregate:
		return "yes"
	case AttrAggregator, AttrAS4Aggregator:
		w := 4
		if it.code == AttrAggregator {
			w = width(as4)
		}
		return fmt.Sprintf("%d %s", asNumber(v, w), netip.AddrFrom4([4]byte(v[w:])))
	case AttrOriginatorID:
		return netip.AddrFrom4([4]byte(v)).String()
	case AttrClusterList:
		var ids []string
		for c := range slices.Chunk(v, 4) {
			ids = append(ids, netip.AddrFrom4([4]byte(c)).String())
		}
		return strings.Join(ids, " ")
	case AttrAS4Path:
		return string(appendPath(nil, v, 4))
	case AttrPMSITunnel:
		return pmsiText(v)
	case AttrIPv6ExtCommunity:
		var all []string
		for c := range slices.Chunk(v, 20) {
			all = append(all, ipv6ExtText(c))
		}
		return strings.Join(all, ", ")
	case AttrAIGP:
		return aigpText(v)
	case AttrPEDistinguisher:
		return peLabelsText(v)
	case AttrNextHopCapability:
		return nextHopCapabilityText(v)
	case AttrOTC:
		return strconv.FormatUint(uint64(binary.BigEndian.Uint32(v)), 10)
	case AttrDPath:
		return dPathText(v)
	case AttrBFDDiscriminator:
		return fmt.Sprintf("mode %d discriminator %d", v[0], binary.BigEndian.Uint32(v[1:]))
	case AttrAttrSet:
		return attrSetText(v, f)
	case AttrPrefixSID:
		return prefixSIDText(v)
	case AttrTunnelEncap, AttrBGPLS:
		return libraryAttr(it)
	}
	return ""
}

var pmsiTypes = [...]string{"none", "rsvp-te-p2mp", "mldp-p2mp", "pim-ssm", "pim-sm", "bidir-pim", "ingress-replication",
	"mldp-mp2mp", 10: "assisted-replication", 11: "bier"}

// pmsiText writes a PMSI Tunnel, RFC 6514, Section 5: flags 1, type 1, label 3, identifier.
func pmsiText(v []byte) string {
	t := strconv.Itoa(int(v[1]))
	if int(v[1]) < len(pmsiTypes) && pmsiTypes[v[1]] != "" {
		t = pmsiTypes[v[1]]
	}
	s := fmt.Sprintf("%s label %d", t, uint32(v[2])<<12|uint32(v[3])<<4|uint32(v[4])>>4)
	switch id := v[5:]; {
	case len(id) == 4 || len(id) == 16:
		s += " id " + addrText(id)
	case len(id) == 8 && v[1] >= 3 && v[1] <= 5: // sender, group
		s += " id " + addrText(id[:4]) + " " + addrText(id[4:])
	case len(id) > 0:
		s += " id 0x" + hex.EncodeToString(id)
	}
	if v[0] != 0 {
		s += fmt.Sprintf(" flags 0x%02x", v[0])
	}
	return s
}

// aigpText writes the metric of the AIGP TLV, RFC 7311, which checkValue found whole.
func aigpText(v []byte) string {
	for len(v) >= 3 {
		n := int(binary.BigEndian.Uint16(v[1:]))
		if n < 3 || n > len(v) {
			break
		}
		if v[0] == 1 && n == 11 {
			return strconv.FormatUint(binary.BigEndian.Uint64(v[3:]), 10)
		}
		v = v[n:]
	}
	return ""
}

// peLabelsText writes PE Distinguisher Labels, RFC 6514, Section 8: addresses, each with a label.
func peLabelsText(v []byte) string {
	n := 7 // IPv4 and label
	if len(v)%n != 0 {
		n = 19
	}
	if len(v) == 0 || len(v)%n != 0 {
		return ""
	}
	var all []string
	for c := range slices.Chunk(v, n) {
		all = append(all, fmt.Sprintf("%s %d", addrText(c[:n-3]), uint32(c[n-3])<<12|uint32(c[n-2])<<4|uint32(c[n-1])>>4))
	}
	return strings.Join(all, ", ")
}

// nextHopCapabilityText writes the Next Hop Dependent Characteristics of draft-ietf-idr-next-hop-capability: AFI 2, SAFI
// 1, next hop length 1, next hop, and characteristics of code 2, length 2, value.
func nextHopCapabilityText(v []byte) string {
	if len(v) < 4 || 4+int(v[3]) > len(v) || v[3] != 4 && v[3] != 16 {
		return ""
	}
	s := Family{binary.BigEndian.Uint16(v), v[2]}.String() + " " + addrText(v[4:4+int(v[3])])
	for v = v[4+int(v[3]):]; len(v) > 0; {
		if len(v) < 4 {
			return ""
		}
		n := 4 + int(binary.BigEndian.Uint16(v[2:]))
		if n > len(v) {
			return ""
		}
		switch code := binary.BigEndian.Uint16(v); {
		case code == 1 && n == 4:
			s += ", entropy-label"
		case n == 4:
			s += fmt.Sprintf(", code %d", code)
		default:
			s += fmt.Sprintf(", code %d 0x%x", code, v[4:n])
		}
		v = v[n:]
	}
	return s
}

// prefixSIDText writes the TLVs of a Prefix-SID, {type 1, length 2, value}: label index and SRGB (RFC 8669), SRv6 services
// (RFC 9252). Those of other types or lengths are hex.
func prefixSIDText(v []byte) string {
	var all []string
	for len(v) >= 3 && 3+int(binary.BigEndian.Uint16(v[1:])) <= len(v) {
		t, b := v[0], v[3:3+int(binary.BigEndian.Uint16(v[1:]))]
		v = v[3+len(b):]
		switch {
		case t == 1 && len(b) == 7: // reserved 1, flags 2, index 4
			all = append(all, fmt.Sprintf("label-index %d", binary.BigEndian.Uint32(b[3:])))
		case t == 3 && len(b) >= 8 && (len(b)-2)%6 == 0: // flags 2, {base 3, range 3}
			for r := range slices.Chunk(b[2:], 6) {
				all = append(all, fmt.Sprintf("srgb %d-%d", u24(r), u24(r)+u24(r[3:])-1))
			}
		case (t == 5 || t == 6) && len(b) >= 1:
			all = append(all, srv6Text(map[uint8]string{5: "srv6-l3", 6: "srv6-l2"}[t], b[1:]))
		default:
			all = append(all, fmt.Sprintf("tlv-%d 0x%x", t, b))
		}
	}
	return strings.Join(all, ", ")
}

func u24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// srv6Text writes the sub-TLVs of an SRv6 service, {type 1, length 2, value}. SID Information is {reserved 1, SID 16, flags
// 1, behavior 2, reserved 1, sub-sub-TLVs}; SID Structure has the lengths of block, node, function and argument, and the
// length and offset of what is transposed into the label.
func srv6Text(name string, v []byte) string {
	for len(v) >= 3 && 3+int(binary.BigEndian.Uint16(v[1:])) <= len(v) {
		t, b := v[0], v[3:3+int(binary.BigEndian.Uint16(v[1:]))]
		v = v[3+len(b):]
		if t != 1 || len(b) < 21 {
			name += fmt.Sprintf(" sub-tlv-%d 0x%x", t, b)
			continue
		}
		name += fmt.Sprintf(" sid %s behavior %d", addrText(b[1:17]), binary.BigEndian.Uint16(b[18:]))
		switch s := b[21:]; {
		case len(s) == 9 && s[0] == 1 && s[1] == 0 && s[2] == 6:
			name += fmt.Sprintf(" structure %d:%d:%d:%d transposed %d:%d", s[3], s[4], s[5], s[6], s[7], s[8])
		case len(s) > 0:
			name += fmt.Sprintf(" 0x%x", s)
		}
	}
	if len(v) > 0 {
		name += fmt.Sprintf(" 0x%x", v)
	}
	return name
}

// dPathText writes a D-PATH: segments of {count 1, count domains of 6 bytes, SAFI 1}.
func dPathText(v []byte) string {
	var all []string
	for len(v) > 0 {
		n := int(v[0])
		if 1+6*n+1 > len(v) {
			return ""
		}
		for c := range slices.Chunk(v[1:1+6*n], 6) {
			all = append(all, fmt.Sprintf("%d:%d", binary.BigEndian.Uint32(c), binary.BigEndian.Uint16(c[4:])))
		}
		all = append(all, fmt.Sprintf("(safi %d)", v[1+6*n]))
		v = v[2+6*n:]
	}
	return strings.Join(all, " ")
}

// attrSetText writes an ATTR_SET, RFC 6368: the AS of the origin and path attributes, whose AS numbers have 4 octets.
func attrSetText(v []byte, f Family) string {
	s := "origin-as " + strconv.FormatUint(uint64(binary.BigEndian.Uint32(v)), 10)
	inner := attrs{rest: v[4:]}
	for inner.next() {
		if inner.code == AttrAttrSet { // not nested
			s += ", attr-set 0x" + hex.EncodeToString(inner.value)
			continue
		}
		var a Attributes
		if inner.code == AttrMPReach {
			s += ", mp-reach-nlri 0x" + hex.EncodeToString(inner.value)
			continue
		}
		a.attribute(&inner, f, true)
		if inner.code == AttrASPath {
			a.ASPath = string(appendPath(nil, inner.value, 4))
		}
		for _, nt := range a.All() {
			s += ", " + nt.Name + " " + nt.Text
		}
	}
	if len(inner.rest) > 0 {
		s += ", undecoded 0x" + hex.EncodeToString(inner.rest)
	}
	return s
}

// All is every attribute that is there as a name and its text, for the `detail` form and to compare two records.
func (a *Attributes) All() []NameText {
	var out []NameText
	add := func(name, text string) {
		if text != "" {
			out = append(out, NameText{name, text})
		}
	}
	if a.NextHop.IsValid() {
		add("next-hop", a.NextHop.String())
	}
	if a.LinkLocal.IsValid() {
		add("link-local", a.LinkLocal.String())
	}
	add("origin", a.Origin)
	add("as-path", a.ASPath)
	if a.MED != nil {
		add("med", strconv.FormatUint(uint64(*a.MED), 10))
	}
	if a.LocalPref != nil {
		add("local-pref", strconv.FormatUint(uint64(*a.LocalPref), 10))
	}
	add("communities", strings.Join(a.Communities, " "))
	add("large-communities", strings.Join(a.LargeCommunities, " "))
	add("ext-communities", strings.Join(a.ExtCommunities, ", "))
	add("labels", strings.Join(a.Labels, " "))
	return append(out, a.Others...)
}

// extra adds what was cut out of the NLRI.
func (a *Attributes) extra(x []byte, f Family) {
	if len(x) == 0 {
		return
	}
	switch f.shape() {
	case shapeLabeled, shapeVPN:
		for l := range slices.Chunk(x, 3) {
			a.label(l, false)
		}
		return
	case shapeEVPN:
		if a.evpnExtra(x) {
			return
		}
	case shapeLen2:
		if len(x) == 3 {
			a.label(x, false)
			return
		}
	case shapeMUP:
		if s := mupText(x); s != "" {
			a.other("session", s)
			return
		}
	}
	a.other("nlri", "0x"+hex.EncodeToString(x))
}

// label adds a label: 20 bits of 3 bytes, or all 24 of a virtual network identifier.
func (a *Attributes) label(l []byte, vni bool) {
	if len(l) < 3 {
		return
	}
	n := uint64(l[0])<<16 | uint64(l[1])<<8 | uint64(l[2])
	if !vni {
		n >>= 4
	}
	a.Labels = append(a.Labels, strconv.FormatUint(n, 10))
}

// evpnExtra takes apart what stepEVPN cut, by its length.
func (a *Attributes) evpnExtra(x []byte) bool {
	vni := false
	for _, c := range a.ExtCommunities {
		switch c { // RFC 8365: the label field is a 24-bit VNI
		case "encapsulation vxlan", "encapsulation nvgre", "encapsulation vxlan-gpe", "encapsulation geneve":
			vni = true
		}
	}
	switch len(x) {
	case 1: // types 6 and 7
		a.other("flags", fmt.Sprintf("0x%02x", x[0]))
	case 6: // type 8
		a.other("max-response-time", strconv.Itoa(int(x[4])))
		a.other("flags", fmt.Sprintf("0x%02x", x[5]))
	case 3: // type 1
		a.label(x, vni)
	case 13, 16: // type 2
		a.other("esi", colonHex(x[:10]))
		for l := range slices.Chunk(x[10:], 3) {
			a.label(l, vni)
		}
	case 17, 29: // type 5
		a.other("esi", colonHex(x[:10]))
		a.other("gateway", addrText(x[10:len(x)-3]))
		a.label(x[len(x)-3:], vni)
	default:
		return false
	}
	return true
}

// mupText writes what is cut from a Type 1 Session Transformed route: TEID 4, QFI 1, endpoint length 1 (bits),
// endpoint, and perhaps source length 1, source.
func mupText(x []byte) string {
	if len(x) < 6 {
		return ""
	}
	s := fmt.Sprintf("teid 0x%08x qfi %d", binary.BigEndian.Uint32(x), x[4])
	for i, name := 5, "endpoint"; i < len(x); name = "source" {
		n := int(x[i]) / 8
		if (n != 4 && n != 16 && n != 0) || i+1+n > len(x) {
			return ""
		}
		if n > 0 {
			s += " " + name + " " + addrText(x[i+1:i+1+n])
		}
		i += 1 + n
	}
	return s
}
