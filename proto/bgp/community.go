package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// wellKnown are the communities that are written by name, everywhere. Numbers are understood as well.
var wellKnown = [...]struct {
	value uint32
	name  string
}{
	{0xffff0000, "graceful-shutdown"},   // RFC 8326
	{0xffff0001, "accept-own"},          // RFC 7611
	{0xffff0006, "llgr-stale"},          // RFC 9494
	{0xffff0007, "no-llgr"},             // RFC 9494
	{0xffff029a, "blackhole"},           // RFC 7999
	{0xffffff01, "no-export"},           // RFC 1997
	{0xffffff02, "no-advertise"},        // RFC 1997
	{0xffffff03, "no-export-subconfed"}, // RFC 1997
	{0xffffff04, "no-peer"},             // RFC 3765
}

// CommunityText writes a community: "65000:1", or the name of a well-known one, "no-export".
func CommunityText(c uint32) string {
	if c>>16 == 0xffff {
		for i := range wellKnown {
			if wellKnown[i].value == c {
				return wellKnown[i].name
			}
		}
	}
	return strconv.Itoa(int(c>>16)) + ":" + strconv.Itoa(int(c&0xffff))
}

// ParseCommunity reads "65000:1", a name of CommunityText, or one number.
func ParseCommunity(s string) (uint32, error) {
	for i := range wellKnown {
		if strings.EqualFold(s, wellKnown[i].name) {
			return wellKnown[i].value, nil
		}
	}
	if hi, lo, ok := strings.Cut(s, ":"); ok {
		a, err1 := strconv.ParseUint(hi, 10, 16)
		b, err2 := strconv.ParseUint(lo, 10, 16)
		if err1 == nil && err2 == nil {
			return uint32(a<<16 | b), nil
		}
	} else if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return uint32(n), nil
	}
	return 0, fmt.Errorf("%q is not a community (65000:1, no-export)", s)
}

// LargeCommunityText writes "65000:1:2".
func LargeCommunityText(c [3]uint32) string { return fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]) }

// ParseLargeCommunity reads "65000:1:2".
func ParseLargeCommunity(s string) (c [3]uint32, err error) {
	parts := strings.Split(s, ":")
	if len(parts) == 3 {
		for i, p := range parts {
			var n uint64
			if n, err = strconv.ParseUint(p, 10, 32); err != nil {
				break
			}
			c[i] = uint32(n)
		}
		if err == nil {
			return c, nil
		}
	}
	return c, fmt.Errorf("%q is not a large community (65000:1:2)", s)
}

// Kinds of extended communities: type (the high octet) and subtype.
const (
	extTransitive = 0x00 // 2-octet AS
	extIPv4       = 0x01
	extAS4        = 0x02
	extOpaque     = 0x03
	extEVPN       = 0x06
	extNonTrans   = 0x40 // bit: not transitive
	extGeneric    = 0x80 // FlowSpec actions
	extGenericIP  = 0x81
	extGenericAS4 = 0x82
)

// adminText writes the administrator and the number of a community of type 0, 1 or 2, whatever its subtype.
func adminText(c []byte) (string, bool) {
	switch c[0] &^ extNonTrans {
	case extTransitive, extGeneric:
		return fmt.Sprintf("%d:%d", binary.BigEndian.Uint16(c[2:]), binary.BigEndian.Uint32(c[4:])), true
	case extIPv4, extGenericIP:
		return fmt.Sprintf("%s:%d", netip.AddrFrom4([4]byte(c[2:6])), binary.BigEndian.Uint16(c[6:])), true
	case extAS4, extGenericAS4:
		as := binary.BigEndian.Uint32(c[2:])
		long := ""
		if as <= 65535 {
			long = "L" // else it would read as a 2-octet one
		}
		return fmt.Sprintf("%d%s:%d", as, long, binary.BigEndian.Uint16(c[6:])), true
	}
	return "", false
}

// adminKinds are the subtypes that have an administrator and a number (types 0 to 2), by name.
var adminKinds = [...]struct {
	subtype uint8
	name    string
}{
	{0x02, "rt"},
	{0x03, "soo"},
	{0x05, "ospf-domain-id"},
	{0x07, "ospf-router-id"},
	{0x08, "bgp-data-collection"},
	{0x09, "source-as"},
	{0x0b, "vrf-route-import"},
	{0x10, "vpn-id"},
}

func adminKind(subtype uint8) string {
	for i := range adminKinds {
		if adminKinds[i].subtype == subtype {
			return adminKinds[i].name
		}
	}
	return ""
}

var tunnelTypes = [...]string{1: "l2tpv3", 2: "gre", 7: "ip-in-ip", 8: "vxlan", 9: "nvgre", 10: "mpls", 11: "mpls-in-gre",
	12: "vxlan-gpe", 13: "mpls-in-udp", 15: "sr-policy", 19: "geneve", 25: "srv6"}

func tunnelType(t uint16) string {
	if int(t) < len(tunnelTypes) && tunnelTypes[t] != "" {
		return tunnelTypes[t]
	}
	return strconv.Itoa(int(t))
}

var rpkiStates = [...]string{"valid", "not-found", "invalid"}

// ExtCommunityText writes an extended community as a name and a value: "rt 65000:1", "soo 10.0.0.1:2", "color 100",
// "encapsulation vxlan", "mac-mobility 3 sticky", "traffic-rate 0". Kinds without a name are "0x" and 16 hex digits.
func ExtCommunityText(c [8]byte) string {
	sub := c[1]
	n := binary.BigEndian.Uint32(c[4:])
	switch c[0] {
	case extTransitive, extIPv4, extAS4:
		if name := adminKind(sub); name != "" {
			s, _ := adminText(c[:])
			return name + " " + s
		}
		if c[0] == extTransitive && sub == 0x04 { // RFC 10005 has it transitive as well
			return bandwidth(c)
		}
	case extTransitive | extNonTrans:
		if sub == 0x04 {
			return bandwidth(c)
		}
	case extOpaque:
		switch sub {
		case 0x01:
			return fmt.Sprintf("cost %d:%d", c[3], n)
		case 0x06:
			return fmt.Sprintf("ospf-route-type %s:%d:%d", netip.AddrFrom4([4]byte(c[2:6])), c[6], c[7])
		case 0x0b: // RFC 9012, flags of RFC 9256 (CO bits)
			if flags := binary.BigEndian.Uint16(c[2:]); flags != 0 {
				return fmt.Sprintf("color %02b:%d", flags>>14, n)
			}
			return "color " + strconv.FormatUint(uint64(n), 10)
		case 0x0c:
			return "encapsulation " + tunnelType(binary.BigEndian.Uint16(c[6:]))
		case 0x0d:
			return "default-gateway"
		}
	case extOpaque | extNonTrans:
		if sub == 0x00 { // RFC 8097
			if s := int(c[7]); s < len(rpkiStates) {
				return "rpki " + rpkiStates[s]
			}
		}
	case extEVPN:
		if s := evpnCommunity(c); s != "" {
			return s
		}
	case extGeneric, extGenericIP, extGenericAS4:
		if s := flowAction(c); s != "" {
			return s
		}
	}
	return "0x" + hex.EncodeToString(c[:])
}

func bandwidth(c [8]byte) string {
	f := math.Float32frombits(binary.BigEndian.Uint32(c[4:]))
	return fmt.Sprintf("link-bandwidth %d:%s", binary.BigEndian.Uint16(c[2:]), strconv.FormatFloat(float64(f), 'f', -1, 32))
}

// evpnCommunity writes those of RFC 7432, 8365, 9135 and 8584.
func evpnCommunity(c [8]byte) string {
	switch c[1] {
	case 0x00:
		s := "mac-mobility " + strconv.FormatUint(uint64(binary.BigEndian.Uint32(c[4:])), 10)
		if c[2]&1 != 0 {
			s += " sticky"
		}
		return s
	case 0x01:
		s := fmt.Sprintf("esi-label %d", uint32(c[5])<<12|uint32(c[6])<<4|uint32(c[7])>>4)
		if c[2]&1 != 0 {
			s += " single-active"
		}
		return s
	case 0x02:
		return "es-import " + colonHex(c[2:8])
	case 0x03:
		return "router-mac " + colonHex(c[2:8])
	case 0x04:
		return fmt.Sprintf("layer2 flags 0x%04x mtu %d", binary.BigEndian.Uint16(c[2:]), binary.BigEndian.Uint16(c[4:]))
	case 0x05:
		s := fmt.Sprintf("e-tree label %d", uint32(c[5])<<12|uint32(c[6])<<4|uint32(c[7])>>4)
		if c[2]&1 != 0 {
			s += " leaf"
		}
		return s
	case 0x06:
		return fmt.Sprintf("df-election algorithm %d bitmap 0x%04x", c[2]&0x1f, binary.BigEndian.Uint16(c[3:]))
	}
	return ""
}

// flowAction writes the FlowSpec actions of RFC 8955, Section 7, and the redirect of draft-ietf-idr-flowspec-redirect-ip.
func flowAction(c [8]byte) string {
	number := strconv.FormatFloat(float64(math.Float32frombits(binary.BigEndian.Uint32(c[4:]))), 'f', -1, 32)
	switch {
	case c[1] == 0x06 && c[0] == extGeneric:
		return fmt.Sprintf("traffic-rate %d:%s", binary.BigEndian.Uint16(c[2:]), number)
	case c[1] == 0x0c && c[0] == extGeneric:
		return fmt.Sprintf("traffic-rate-packets %d:%s", binary.BigEndian.Uint16(c[2:]), number)
	case c[1] == 0x07 && c[0] == extGeneric:
		s := "traffic-action"
		if c[7]&2 != 0 {
			s += " sample"
		}
		if c[7]&1 != 0 {
			s += " continue"
		}
		return s
	case c[1] == 0x08:
		s, _ := adminText(c[:])
		return "redirect " + s
	case c[1] == 0x09 && c[0] == extGeneric:
		return "traffic-marking " + strconv.Itoa(int(c[7]&0x3f))
	}
	return ""
}

// ParseExtCommunity reads an extended community: "rt 65000:1" or "rt:65000:1", likewise for the other kinds with an
// administrator, "color 100", "0x" and 16 hex digits. The administrator is a 2-octet AS number where it fits, unless it
// ends in L ("65000L:1"), a 4-octet one, or an IPv4 address.
func ParseExtCommunity(s string) (c [8]byte, err error) {
	bad := fmt.Errorf("%q is not an extended community (rt 65000:1, soo 10.0.0.1:1, color 100, 0x...)", s)
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != 8 {
			return c, bad
		}
		return [8]byte(b), nil
	}
	at := strings.IndexAny(s, " :")
	if at < 0 {
		return c, bad
	}
	name, value := strings.ToLower(s[:at]), strings.TrimSpace(s[at+1:])
	switch name {
	case "color":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return c, bad
		}
		c[0], c[1] = extOpaque, 0x0b
		binary.BigEndian.PutUint32(c[4:], uint32(n))
		return c, nil
	case "encapsulation", "encap":
		for t, n := range tunnelTypes {
			if n != "" && strings.EqualFold(n, value) {
				return [8]byte{extOpaque, 0x0c, 7: byte(t)}, nil
			}
		}
		return c, bad
	case "rpki":
		for i, n := range rpkiStates {
			if strings.EqualFold(n, value) {
				return [8]byte{extOpaque | extNonTrans, 0, 7: byte(i)}, nil
			}
		}
		return c, bad
	case "target":
		name = "rt"
	case "origin":
		name = "soo"
	}
	for _, k := range adminKinds {
		if k.name == name {
			rd, err := ParseRD(value) // an RD and these communities have the same three forms
			if err != nil || strings.HasPrefix(value, "0x") {
				return c, bad
			}
			c = [8]byte(rd)
			c[0], c[1] = rd[1], k.subtype
			return c, nil
		}
	}
	return c, bad
}

// ipv6ExtText writes an IPv6 address specific extended community, RFC 5701: "rt 2001:db8::1:5".
func ipv6ExtText(c []byte) string {
	name := adminKind(c[1])
	if c[0] != 0 || name == "" {
		return "0x" + hex.EncodeToString(c)
	}
	return fmt.Sprintf("%s [%s]:%d", name, netip.AddrFrom16([16]byte(c[2:18])), binary.BigEndian.Uint16(c[18:]))
}
