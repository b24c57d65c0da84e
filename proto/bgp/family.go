package bgp

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Family is an address family: the AFI and SAFI under which a route is announced (RFC 4760). It is comparable and
// small: use it as a map key and pass it by value.
type Family struct {
	AFI  uint16
	SAFI uint8
}

// The families whose NLRI this package can split. Every other one is kept raw.
var (
	IPv4Unicast          = Family{1, 1}
	IPv4Multicast        = Family{1, 2}
	IPv4Labeled          = Family{1, 4}
	IPv4MVPN             = Family{1, 5}
	IPv4Encap            = Family{1, 7}
	IPv4SFC              = Family{1, 9}
	IPv4MDT              = Family{1, 66}
	IPv4SRPolicy         = Family{1, 73}
	IPv4CT               = Family{1, 76}
	IPv4CAR              = Family{1, 83}
	IPv4VPNCAR           = Family{1, 84}
	IPv4MUP              = Family{1, 85}
	IPv4Unreach          = Family{1, 81}
	IPv4VPN              = Family{1, 128}
	IPv4VPNMulticast     = Family{1, 129}
	IPv4RTC              = Family{1, 132}
	IPv4FlowSpec         = Family{1, 133}
	IPv4VPNFlowSpec      = Family{1, 134}
	IPv6Unicast          = Family{2, 1}
	IPv6Multicast        = Family{2, 2}
	IPv6Labeled          = Family{2, 4}
	IPv6MVPN             = Family{2, 5}
	IPv6Encap            = Family{2, 7}
	IPv6SFC              = Family{2, 9}
	IPv6SRPolicy         = Family{2, 73}
	IPv6CT               = Family{2, 76}
	IPv6CAR              = Family{2, 83}
	IPv6VPNCAR           = Family{2, 84}
	IPv6MUP              = Family{2, 85}
	IPv6Unreach          = Family{2, 81}
	IPv6VPN              = Family{2, 128}
	IPv6VPNMulticast     = Family{2, 129}
	IPv6RTC              = Family{2, 132}
	IPv6FlowSpec         = Family{2, 133}
	IPv6VPNFlowSpec      = Family{2, 134}
	L2VPNMSPW            = Family{25, 6}
	L2VPNMCASTVPLS       = Family{25, 8}
	L2VPNVPLS            = Family{25, 65}
	L2VPNEVPN            = Family{25, 70}
	L2VPNFlowSpec        = Family{25, 133}
	L2VPNVPNFlowSpec     = Family{25, 134}
	BGPLS                = Family{16388, 71}
	BGPLSVPN             = Family{16388, 72}
	BGPLSSPF             = Family{16388, 80}
	SFC                  = Family{31, 9}
	OpaqueKeyValue       = Family{16397, 241}
	RoutePolicyDistrib   = Family{16398, 75}
	MPLSNamespaceUnicast = Family{16399, 1}
)

// shape says by which rule the NLRI of a family is split.
type shape uint8

const (
	shapeRaw     shape = iota // one opaque key: the whole field
	shapePrefix               // length in bits, prefix
	shapeLabeled              // length in bits, labels, prefix (RFC 8277)
	shapeVPN                  // length in bits, labels, RD, prefix (RFC 4364)
	shapeRTC                  // length in bits, origin AS, route target (RFC 4684)
	shapeTLV                  // type 1, length 1, value (MCAST-VPN, EVPN, MCAST-VPLS)
	shapeEVPN                 // as shapeTLV, with labels, ESI and gateway cut
	shapeFlow                 // length 1 or 2, components (RFC 8955)
	shapeLS                   // type 2, length 2, value (BGP-LS, SFC)
	shapeMUP                  // architecture 1, type 2, length 1, value
	shapeLen2                 // length 2, value (VPLS)
	shapeBits8                // length in bits, value (SR Policy, MDT, encapsulation, MS-PW)
	shapeCAR                  // length 1, key length 1, type 1, key, non-key TLVs (RFC 9871)
)

// kind is what the package knows of one family.
type kind struct {
	family Family
	name   string
	shape  shape
	rd     bool // the key holds an RD
	words  string
}

// families is the table of known families, in the order shown to people. The place of a family in it is its bit in an
// AddPathSet: at most 64 can be split.
var families = [...]kind{
	{IPv4Unicast, "ipv4-unicast", shapePrefix, false, "ipv4"},
	{IPv6Unicast, "ipv6-unicast", shapePrefix, false, "ipv6"},
	{IPv4Multicast, "ipv4-multicast", shapePrefix, false, ""},
	{IPv6Multicast, "ipv6-multicast", shapePrefix, false, ""},
	{IPv4Labeled, "ipv4-labeled-unicast", shapeLabeled, false, "ipv4-labeled"},
	{IPv6Labeled, "ipv6-labeled-unicast", shapeLabeled, false, "ipv6-labeled"},
	{IPv4VPN, "ipv4-vpn", shapeVPN, true, "vpnv4"},
	{IPv6VPN, "ipv6-vpn", shapeVPN, true, "vpnv6"},
	{IPv4VPNMulticast, "ipv4-vpn-multicast", shapeVPN, true, ""},
	{IPv6VPNMulticast, "ipv6-vpn-multicast", shapeVPN, true, ""},
	{L2VPNEVPN, "l2vpn-evpn", shapeEVPN, true, "evpn"},
	{L2VPNVPLS, "l2vpn-vpls", shapeLen2, true, "vpls"},
	{IPv4FlowSpec, "ipv4-flowspec", shapeFlow, false, ""},
	{IPv6FlowSpec, "ipv6-flowspec", shapeFlow, false, ""},
	{IPv4VPNFlowSpec, "ipv4-vpn-flowspec", shapeFlow, true, ""},
	{IPv6VPNFlowSpec, "ipv6-vpn-flowspec", shapeFlow, true, ""},
	{L2VPNFlowSpec, "l2vpn-flowspec", shapeFlow, false, ""},
	{L2VPNVPNFlowSpec, "l2vpn-vpn-flowspec", shapeFlow, true, ""},
	{IPv4RTC, "ipv4-rtc", shapeRTC, false, "rtc"},
	{IPv6RTC, "ipv6-rtc", shapeRTC, false, ""},
	{IPv4MVPN, "ipv4-mvpn", shapeTLV, true, ""},
	{IPv6MVPN, "ipv6-mvpn", shapeTLV, true, ""},
	{L2VPNMCASTVPLS, "l2vpn-mcast-vpls", shapeTLV, true, ""},
	{IPv4MDT, "ipv4-mdt", shapeBits8, true, ""},
	{BGPLS, "bgp-ls", shapeLS, false, "ls"},
	{BGPLSVPN, "bgp-ls-vpn", shapeLS, true, "ls-vpn"},
	{BGPLSSPF, "bgp-ls-spf", shapeLS, false, "ls-spf"},
	{IPv4SRPolicy, "ipv4-sr-policy", shapeBits8, false, ""},
	{IPv6SRPolicy, "ipv6-sr-policy", shapeBits8, false, ""},
	{IPv4MUP, "ipv4-mup", shapeMUP, true, ""},
	{IPv6MUP, "ipv6-mup", shapeMUP, true, ""},
	{IPv4CT, "ipv4-ct", shapeVPN, true, ""},
	{IPv6CT, "ipv6-ct", shapeVPN, true, ""},
	{IPv4CAR, "ipv4-car", shapeCAR, false, ""},
	{IPv6CAR, "ipv6-car", shapeCAR, false, ""},
	{IPv4VPNCAR, "ipv4-vpn-car", shapeCAR, true, ""},
	{IPv6VPNCAR, "ipv6-vpn-car", shapeCAR, true, ""},
	{IPv4Encap, "ipv4-encap", shapeBits8, false, ""},
	{IPv6Encap, "ipv6-encap", shapeBits8, false, ""},
	{L2VPNMSPW, "l2vpn-ms-pw", shapeBits8, true, ""},
	{IPv4Unreach, "ipv4-unreach", shapeRaw, false, ""},
	{IPv6Unreach, "ipv6-unreach", shapeRaw, false, ""},
	{SFC, "sfc", shapeLS, false, ""},
	{IPv4SFC, "ipv4-sfc", shapeLS, false, ""},
	{IPv6SFC, "ipv6-sfc", shapeLS, false, ""},
	{OpaqueKeyValue, "opaque-key-value", shapeRaw, false, ""},
	{RoutePolicyDistrib, "route-policy-distribution", shapeRaw, false, ""},
	{MPLSNamespaceUnicast, "mpls-namespace", shapeRaw, false, ""},
	{Family{1, 64}, "ipv4-tunnel", shapeRaw, false, ""},
	{Family{2, 64}, "ipv6-tunnel", shapeRaw, false, ""},
	{Family{1, 67}, "ipv4-4over6", shapeRaw, false, ""},
	{Family{2, 68}, "ipv6-6over4", shapeRaw, false, ""},
	{Family{25, 69}, "l2vpn-l1vpn", shapeRaw, false, ""},
	{Family{1, 69}, "ipv4-l1vpn", shapeRaw, false, ""},
	{Family{1, 74}, "ipv4-sd-wan", shapeRaw, false, ""},
	{Family{2, 74}, "ipv6-sd-wan", shapeRaw, false, ""},
	{Family{1, 77}, "ipv4-tunneled-traffic", shapeRaw, false, ""},
	{Family{2, 77}, "ipv6-tunneled-traffic", shapeRaw, false, ""},
	{Family{1, 78}, "ipv4-mcast-tree", shapeRaw, false, ""},
	{Family{2, 78}, "ipv6-mcast-tree", shapeRaw, false, ""},
	{Family{1, 79}, "ipv4-dps", shapeRaw, false, ""},
	{Family{2, 79}, "ipv6-dps", shapeRaw, false, ""},
	{Family{1, 140}, "ipv4-vpn-ad", shapeRaw, false, ""},
	{Family{25, 140}, "l2vpn-vpn-ad", shapeRaw, false, ""},
}

// place finds f in the table of families, or -1.
func (f Family) place() int {
	switch f {
	case IPv4Unicast:
		return 0
	case IPv6Unicast:
		return 1
	}
	for i := 2; i < len(families); i++ {
		if families[i].family == f {
			return i
		}
	}
	return -1
}

func (f Family) shape() shape {
	if i := f.place(); i >= 0 {
		return families[i].shape
	}
	return shapeRaw
}

// String gives the name used in commands and JSON ("ipv4-unicast", "l2vpn-evpn"), or "afi/safi" in numbers.
func (f Family) String() string {
	if i := f.place(); i >= 0 {
		return families[i].name
	}
	return strconv.Itoa(int(f.AFI)) + "/" + strconv.Itoa(int(f.SAFI))
}

// Splits reports whether the NLRI of f can be told apart. Those of other families are kept raw: the whole NLRI field of
// a message is then one key.
func (f Family) Splits() bool { return f.shape() != shapeRaw }

// IsPrefix reports whether a key of f is an IP prefix, possibly under an RD: the families where longest match and
// more-specifics have a meaning.
func (f Family) IsPrefix() bool {
	s := f.shape()
	return s == shapePrefix || s == shapeLabeled || s == shapeVPN
}

// HasRD reports whether the routes of f stand under a route distinguisher.
func (f Family) HasRD() bool {
	i := f.place()
	return i >= 0 && families[i].rd
}

// Compare orders families as the table of names does, unknown ones last by number.
func (f Family) Compare(g Family) int {
	a, b := f.place(), g.place()
	switch {
	case a >= 0 && b >= 0:
		return a - b
	case a >= 0:
		return -1
	case b >= 0:
		return 1
	case f.AFI != g.AFI:
		return int(f.AFI) - int(g.AFI)
	}
	return int(f.SAFI) - int(g.SAFI)
}

// FamilyOf is the unicast family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() || a.Is4In6() {
		return IPv4Unicast
	}
	return IPv6Unicast
}

// KnownFamilies lists all families that have a name, in the order in which they are shown.
func KnownFamilies() []Family {
	out := make([]Family, len(families))
	for i := range families {
		out[i] = families[i].family
	}
	return out
}

// ParseFamily reads a family as a person types it, in one word or two: "ipv4-vpn", "ipv4 vpn", "ipv4" (unicast),
// "evpn", "vpnv4", "1/128". Case does not matter.
func ParseFamily(words ...string) (Family, error) {
	s := strings.ToLower(strings.Join(strings.Fields(strings.Join(words, " ")), "-"))
	for i := range families {
		if k := &families[i]; s == k.name || (k.words != "" && s == k.words) {
			return k.family, nil
		}
	}
	if a, b, ok := strings.Cut(s, "/"); ok {
		afi, err1 := strconv.ParseUint(a, 10, 16)
		safi, err2 := strconv.ParseUint(b, 10, 8)
		if err1 == nil && err2 == nil {
			return Family{uint16(afi), uint8(safi)}, nil
		}
	}
	return Family{}, fmt.Errorf("no address family %q", strings.Join(words, " "))
}

// AddPathSet is a set of the families that carry path identifiers (RFC 7911). The zero value is the empty set; it is a
// value, comparable and free to copy. Families that cannot be split are never in it: their NLRI is kept raw, path
// identifiers included.
type AddPathSet uint64

// Has reports whether f is in the set.
func (s AddPathSet) Has(f Family) bool {
	if s == 0 {
		return false
	}
	i := f.place()
	return i >= 0 && s>>uint(i)&1 != 0
}

// With is the set with f added.
func (s AddPathSet) With(f Family) AddPathSet {
	if i := f.place(); i >= 0 && families[i].shape != shapeRaw {
		return s | 1<<uint(i)
	}
	return s
}

// Without is the set with f taken out.
func (s AddPathSet) Without(f Family) AddPathSet {
	if i := f.place(); i >= 0 {
		return s &^ (1 << uint(i))
	}
	return s
}

// Families lists the members.
func (s AddPathSet) Families() []Family {
	out := make([]Family, 0, bits.OnesCount64(uint64(s)))
	for i := range families {
		if s>>uint(i)&1 != 0 {
			out = append(out, families[i].family)
		}
	}
	return slices.Clip(out)
}
