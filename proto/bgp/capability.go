package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bmp/proto/wire"
)

// Capability codes, RFC 5492 and the RFC named with each.
const (
	CapMultiprotocol     uint8 = 1  // RFC 2858
	CapRouteRefresh      uint8 = 2  // RFC 2918
	CapORF               uint8 = 3  // RFC 5291
	CapMultipleRoutes    uint8 = 4  // RFC 8277, deprecated
	CapExtendedNextHop   uint8 = 5  // RFC 8950
	CapExtendedMessage   uint8 = 6  // RFC 8654
	CapBGPsec            uint8 = 7  // RFC 8205
	CapMultipleLabels    uint8 = 8  // RFC 8277
	CapRole              uint8 = 9  // RFC 9234
	CapGracefulRestart   uint8 = 64 // RFC 4724
	CapFourOctetAS       uint8 = 65 // RFC 6793
	CapDynamic           uint8 = 67
	CapMultisession      uint8 = 68
	CapAddPath           uint8 = 69 // RFC 7911
	CapEnhancedRefresh   uint8 = 70 // RFC 7313
	CapLongLivedGR       uint8 = 71 // RFC 9494
	CapRoutingPolicyDist uint8 = 72
	CapFQDN              uint8 = 73
	CapSoftwareVersion   uint8 = 75
	CapRouteRefreshCisco uint8 = 128
	CapORFCisco          uint8 = 130
	CapMultisessionCisco uint8 = 131
)

var capNames = map[uint8]string{
	CapMultiprotocol:     "multiprotocol",
	CapRouteRefresh:      "route-refresh",
	CapORF:               "orf",
	CapMultipleRoutes:    "multiple-routes",
	CapExtendedNextHop:   "extended-next-hop",
	CapExtendedMessage:   "extended-message",
	CapBGPsec:            "bgpsec",
	CapMultipleLabels:    "multiple-labels",
	CapRole:              "role",
	CapGracefulRestart:   "graceful-restart",
	CapFourOctetAS:       "4-octet-as",
	CapDynamic:           "dynamic",
	CapMultisession:      "multisession",
	CapAddPath:           "add-path",
	CapEnhancedRefresh:   "enhanced-route-refresh",
	CapLongLivedGR:       "long-lived-graceful-restart",
	CapRoutingPolicyDist: "routing-policy-distribution",
	CapFQDN:              "fqdn",
	CapSoftwareVersion:   "software-version",
	CapRouteRefreshCisco: "route-refresh-cisco",
	CapORFCisco:          "orf-cisco",
	CapMultisessionCisco: "multisession-cisco",
}

// Capability is one capability of an OPEN. Its value aliases the message.
type Capability struct {
	Code  uint8
	Value []byte
}

// Name is the name of the capability, "add-path"; "capability-99" where there is none.
func (c Capability) Name() string {
	if n, ok := capNames[c.Code]; ok {
		return n
	}
	if c.Code >= 239 && c.Code < 255 { // RFC 8810
		return fmt.Sprintf("experimental-%d", c.Code)
	}
	return fmt.Sprintf("capability-%d", c.Code)
}

var roleNames = [...]string{"provider", "route-server", "route-server-client", "customer", "peer"}

// Text is what the capability says: "ipv4-unicast", "65001", "ipv4-unicast both, ipv6-unicast receive"; "" when being
// there is all, and "0x..." for a value whose length is wrong or whose meaning is not known.
func (c Capability) Text() string {
	if len(c.Value) == 0 {
		return ""
	}
	if s := c.text(); s != "" {
		return s
	}
	return "0x" + hex.EncodeToString(c.Value)
}

func (c Capability) text() string {
	v := c.Value
	switch c.Code {
	case CapMultiprotocol:
		if len(v) == 4 {
			return Family{binary.BigEndian.Uint16(v), v[3]}.String()
		}
	case CapFourOctetAS:
		if len(v) == 4 {
			return strconv.FormatUint(uint64(binary.BigEndian.Uint32(v)), 10)
		}
	case CapAddPath:
		return eachFamily(v, 4, func(t []byte) string { return AddPathMode(t[3]).String() })
	case CapExtendedNextHop: // AFI 2, SAFI 2, next hop AFI 2
		return capList(v, 6, func(t []byte) string {
			return fmt.Sprintf("%s by AFI %d", Family{binary.BigEndian.Uint16(t), t[3]}, binary.BigEndian.Uint16(t[4:]))
		})
	case CapMultipleLabels: // AFI 2, SAFI 1, count 1
		return eachFamily(v, 4, func(t []byte) string { return strconv.Itoa(int(t[3])) })
	case CapRole:
		if len(v) == 1 && int(v[0]) < len(roleNames) {
			return roleNames[v[0]]
		}
	case CapGracefulRestart: // flags 4 bits, time 12 bits, {AFI 2, SAFI 1, flags 1}
		if len(v) < 2 {
			return ""
		}
		t := binary.BigEndian.Uint16(v)
		s := fmt.Sprintf("%ds", t&0x0fff)
		if t&0x8000 != 0 {
			s += " restarting"
		}
		if t&0x4000 != 0 { // RFC 8538
			s += " notification"
		}
		if len(v) == 2 {
			return s
		}
		if fs := eachFamily(v[2:], 4, func(t []byte) string { return forwarding(t[3]) }); fs != "" {
			return s + ", " + fs
		}
	case CapLongLivedGR: // {AFI 2, SAFI 1, flags 1, time 3}
		return eachFamily(v, 7, func(t []byte) string {
			return strings.TrimSpace(fmt.Sprintf("%ds %s", uint32(t[4])<<16|uint32(t[5])<<8|uint32(t[6]), forwarding(t[3])))
		})
	case CapFQDN: // length 1, host, length 1, domain
		if n := int(v[0]); n < len(v) {
			host := string(v[1 : 1+n])
			if rest := v[1+n:]; len(rest) > 0 && int(rest[0]) == len(rest)-1 {
				return strings.TrimSuffix(wire.CleanString(host)+"."+wire.CleanString(string(rest[1:])), ".")
			}
			if 1+n == len(v) {
				return wire.CleanString(host)
			}
		}
	case CapSoftwareVersion:
		if int(v[0]) == len(v)-1 {
			return wire.CleanString(string(v[1:]))
		}
	case CapORF, CapORFCisco:
		return orfText(v)
	}
	return ""
}

func forwarding(flags uint8) string {
	if flags&0x80 != 0 {
		return "forwarding"
	}
	return ""
}

// eachFamily writes entries of n bytes that begin with an AFI and a SAFI.
func eachFamily(v []byte, n int, text func([]byte) string) string {
	return capList(v, n, func(t []byte) string {
		return strings.TrimSpace(Family{binary.BigEndian.Uint16(t), t[2]}.String() + " " + text(t))
	})
}

func capList(v []byte, n int, text func([]byte) string) string {
	if len(v)%n != 0 {
		return ""
	}
	var out []string
	for t := range slices.Chunk(v, n) {
		out = append(out, text(t))
	}
	return strings.Join(out, ", ")
}

// orfText writes {AFI 2, reserved 1, SAFI 1, count 1, {type 1, mode 1}...}...
func orfText(v []byte) string {
	var out []string
	for len(v) > 0 {
		if len(v) < 5 || 5+2*int(v[4]) > len(v) {
			return ""
		}
		f := Family{binary.BigEndian.Uint16(v), v[3]}
		for t := range slices.Chunk(v[5:5+2*int(v[4])], 2) {
			out = append(out, fmt.Sprintf("%s type %d %s", f, t[0], AddPathMode(t[1])))
		}
		v = v[5+2*int(v[4]):]
	}
	return strings.Join(out, ", ")
}
