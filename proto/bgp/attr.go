package bgp

import (
	"encoding/binary"
	"strconv"
)

// Path attribute type codes this package names. Others keep their number.
const (
	AttrOrigin            uint8 = 1
	AttrASPath            uint8 = 2
	AttrNextHop           uint8 = 3
	AttrMED               uint8 = 4
	AttrLocalPref         uint8 = 5
	AttrAtomicAggregate   uint8 = 6
	AttrAggregator        uint8 = 7
	AttrCommunities       uint8 = 8
	AttrOriginatorID      uint8 = 9
	AttrClusterList       uint8 = 10
	AttrMPReach           uint8 = 14
	AttrMPUnreach         uint8 = 15
	AttrExtCommunities    uint8 = 16
	AttrAS4Path           uint8 = 17
	AttrAS4Aggregator     uint8 = 18
	AttrPMSITunnel        uint8 = 22
	AttrTunnelEncap       uint8 = 23
	AttrTrafficEng        uint8 = 24
	AttrIPv6ExtCommunity  uint8 = 25
	AttrAIGP              uint8 = 26
	AttrPEDistinguisher   uint8 = 27
	AttrEntropyLabel      uint8 = 28
	AttrBGPLS             uint8 = 29
	AttrLargeCommunities  uint8 = 32
	AttrBGPsecPath        uint8 = 33
	AttrCommunityContain  uint8 = 34
	AttrOTC               uint8 = 35
	AttrDPath             uint8 = 36
	AttrSFP               uint8 = 37
	AttrBFDDiscriminator  uint8 = 38
	AttrNextHopCapability uint8 = 39
	AttrPrefixSID         uint8 = 40
	AttrBIER              uint8 = 41
	AttrEdgeMetadata      uint8 = 42
	AttrAttrSet           uint8 = 128
)

// Bits of the Attribute Flags octet.
const (
	flagOptional   = 0x80
	flagTransitive = 0x40
	flagPartial    = 0x20
	flagExtended   = 0x10
)

// lengthRule is how the length of an attribute's value is judged.
type lengthRule uint8

const (
	anyLength lengthRule = iota
	exactly              // n bytes
	multiple             // a multiple of n bytes, and not 0
	atLeast              // n bytes or more
	special              // judged by checkSpecial
)

// attrRule is what a path attribute must look like, and what RFC 7606 (or the attribute's own RFC) makes of one that
// does not.
type attrRule struct {
	name  string // in commands and JSON
	flags uint8  // Optional and Transitive, as specified
	rule  lengthRule
	n     uint8
	class ErrorClass // 0: an attribute we know no rule for
}

var attrRules = [256]attrRule{
	AttrOrigin:            {"origin", flagTransitive, exactly, 1, TreatAsWithdraw},
	AttrASPath:            {"as-path", flagTransitive, special, 0, TreatAsWithdraw},
	AttrNextHop:           {"next-hop", flagTransitive, exactly, 4, TreatAsWithdraw},
	AttrMED:               {"med", flagOptional, exactly, 4, TreatAsWithdraw},
	AttrLocalPref:         {"local-pref", flagTransitive, exactly, 4, TreatAsWithdraw},
	AttrAtomicAggregate:   {"atomic-aggregate", flagTransitive, exactly, 0, AttributeDiscard},
	AttrAggregator:        {"aggregator", flagOptional | flagTransitive, special, 0, AttributeDiscard},
	AttrCommunities:       {"communities", flagOptional | flagTransitive, multiple, 4, TreatAsWithdraw},
	AttrOriginatorID:      {"originator-id", flagOptional, exactly, 4, TreatAsWithdraw},
	AttrClusterList:       {"cluster-list", flagOptional, multiple, 4, TreatAsWithdraw},
	11:                    {"dpa", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	12:                    {"advertiser", flagOptional, anyLength, 0, AttributeDiscard},
	13:                    {"rcid-path", flagOptional, anyLength, 0, AttributeDiscard},
	AttrMPReach:           {"mp-reach-nlri", flagOptional, special, 0, SessionReset},
	AttrMPUnreach:         {"mp-unreach-nlri", flagOptional, special, 0, SessionReset},
	AttrExtCommunities:    {"ext-communities", flagOptional | flagTransitive, multiple, 8, TreatAsWithdraw},
	AttrAS4Path:           {"as4-path", flagOptional | flagTransitive, special, 0, AttributeDiscard},
	AttrAS4Aggregator:     {"as4-aggregator", flagOptional | flagTransitive, exactly, 8, AttributeDiscard},
	19:                    {"ssa", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	20:                    {"connector", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	21:                    {"as-pathlimit", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	AttrPMSITunnel:        {"pmsi-tunnel", flagOptional | flagTransitive, atLeast, 5, TreatAsWithdraw},
	AttrTunnelEncap:       {"tunnel-encapsulation", flagOptional | flagTransitive, special, 0, AttributeDiscard},
	AttrTrafficEng:        {"traffic-engineering", flagOptional, anyLength, 0, AttributeDiscard},
	AttrIPv6ExtCommunity:  {"ipv6-ext-communities", flagOptional | flagTransitive, multiple, 20, TreatAsWithdraw},
	AttrAIGP:              {"aigp", flagOptional, special, 0, AttributeDiscard},
	AttrPEDistinguisher:   {"pe-distinguisher-labels", flagOptional | flagTransitive, anyLength, 0, TreatAsWithdraw},
	AttrEntropyLabel:      {"entropy-label", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	AttrBGPLS:             {"bgp-ls", flagOptional, special, 0, AttributeDiscard},
	30:                    {"attribute-30", flagOptional, anyLength, 0, 0},
	31:                    {"attribute-31", flagOptional, anyLength, 0, 0},
	AttrLargeCommunities:  {"large-communities", flagOptional | flagTransitive, multiple, 12, TreatAsWithdraw},
	AttrBGPsecPath:        {"bgpsec-path", flagOptional, anyLength, 0, TreatAsWithdraw},
	AttrCommunityContain:  {"community-container", flagOptional | flagTransitive, anyLength, 0, TreatAsWithdraw},
	AttrOTC:               {"otc", flagOptional | flagTransitive, exactly, 4, TreatAsWithdraw},
	AttrDPath:             {"d-path", flagOptional | flagTransitive, anyLength, 0, TreatAsWithdraw},
	AttrSFP:               {"sfp", flagOptional | flagTransitive, anyLength, 0, TreatAsWithdraw},
	AttrBFDDiscriminator:  {"bfd-discriminator", flagOptional | flagTransitive, atLeast, 5, AttributeDiscard},
	AttrNextHopCapability: {"next-hop-capability", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	AttrPrefixSID:         {"prefix-sid", flagOptional | flagTransitive, special, 0, AttributeDiscard},
	AttrBIER:              {"bier", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	AttrEdgeMetadata:      {"edge-metadata", flagOptional | flagTransitive, anyLength, 0, AttributeDiscard},
	99:                    {"bgp-ls-old", flagOptional, anyLength, 0, 0},
	AttrAttrSet:           {"attr-set", flagOptional | flagTransitive, special, 0, TreatAsWithdraw},
}

// AttrName is the name of a path attribute in commands and JSON: "local-pref", or "attribute-200".
func AttrName(code uint8) string {
	if r := &attrRules[code]; r.name != "" {
		return r.name
	}
	return "attribute-" + strconv.Itoa(int(code))
}

// ErrorClass is what RFC 7606 has a speaker do about a malformed UPDATE. The larger class wins.
type ErrorClass uint8

// The classes of RFC 7606, Section 2. SessionReset stands for both "AFI/SAFI disable" and "session reset": whoever holds
// routes resets nothing, and takes those that can be read out of the message as withdrawn.
const (
	AttributeDiscard ErrorClass = 1 + iota
	TreatAsWithdraw
	SessionReset
)

// String is the name in the RFC, with blanks as hyphens.
func (c ErrorClass) String() string {
	switch c {
	case AttributeDiscard:
		return "attribute-discard"
	case TreatAsWithdraw:
		return "treat-as-withdraw"
	case SessionReset:
		return "session-reset"
	}
	return "none"
}

// AttrError is what is wrong with an UPDATE.
type AttrError struct {
	Class  ErrorClass
	Attr   uint8  // type code; 0 when it is not about one attribute
	Offset int    // from the start of the BGP message, of the attribute or the field
	Reason string // "length", "flags", "missing", ...
	Value  int    // the bad length, flags or value; -1 when there is none
}

// Error tells it as "UPDATE attribute 5 length 3".
func (e *AttrError) Error() string {
	b := append(make([]byte, 0, 48), "UPDATE "...)
	if e.Attr != 0 {
		b = append(b, "attribute "...)
		b = strconv.AppendUint(b, uint64(e.Attr), 10)
		b = append(b, ' ')
	}
	b = append(b, e.Reason...)
	switch {
	case e.Value < 0:
	case e.Reason == reasonFlags:
		b = append(b, " 0x"...)
		b = append(b, "0123456789abcdef"[e.Value>>4&15], "0123456789abcdef"[e.Value&15])
	default:
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(e.Value), 10)
	}
	return string(b)
}

const (
	reasonFlags     = "flags"
	reasonLength    = "length"
	reasonValue     = "value"
	reasonMissing   = "missing"
	reasonDuplicate = "appears twice"
	reasonOverrun   = "runs over the end: length"
	reasonCut       = "cut in its header"
	reasonSegment   = "segment type"
	reasonCount     = "segment of AS numbers"
	reasonPath      = "ends inside a segment"
	reasonNextHop   = "next hop length"
	reasonTLV       = "TLV length"
	reasonUnknown   = "well-known and unknown"
)

// checkValue judges the value of an attribute by its rule. as4 is the width of AS numbers. It returns a reason and the
// number that goes with it, or "".
func checkValue(code uint8, r *attrRule, v []byte, as4 bool) (reason string, value int) {
	n := len(v)
	switch r.rule {
	case exactly:
		if n != int(r.n) {
			return reasonLength, n
		}
		if code == AttrOrigin && v[0] > 2 {
			return reasonValue, int(v[0])
		}
	case multiple:
		if n == 0 || n%int(r.n) != 0 {
			return reasonLength, n
		}
	case atLeast:
		if n < int(r.n) {
			return reasonLength, n
		}
	case special:
		return checkSpecial(code, v, as4)
	}
	return "", 0
}

func checkSpecial(code uint8, v []byte, as4 bool) (reason string, value int) {
	switch code {
	case AttrASPath:
		return checkPath(v, width(as4))
	case AttrAS4Path:
		return checkPath(v, 4)
	case AttrAggregator:
		if len(v) != 4+width(as4) {
			return reasonLength, len(v)
		}
	case AttrTunnelEncap: // RFC 9012: type 2, length 2
		return checkTLVs(v, 2, 2, 0)
	case AttrBGPLS: // RFC 9552: type 2, length 2
		return checkTLVs(v, 2, 2, 0)
	case AttrAIGP: // RFC 7311: type 1, length 2 that counts the header; type 1 is 11 bytes
		if reason, value = checkTLVs(v, 1, 2, 3); reason == "" && (len(v) == 0 || v[0] == 1 && binary.BigEndian.Uint16(v[1:]) != 11) {
			return reasonLength, len(v)
		}
		return reason, value
	case AttrPrefixSID: // RFC 8669: type 1, length 2
		return checkTLVs(v, 1, 2, 0)
	case AttrAttrSet: // RFC 6368: origin AS, then attributes
		if len(v) < 4 {
			return reasonLength, len(v)
		}
	}
	return "", 0
}

// checkTLVs walks TLVs with a type of t bytes and a length of l bytes that counts `counted` bytes of its own header.
func checkTLVs(v []byte, t, l, counted int) (reason string, value int) {
	for len(v) > 0 {
		if len(v) < t+l {
			return reasonTLV, len(v)
		}
		n := int(v[t])
		if l == 2 {
			n = int(binary.BigEndian.Uint16(v[t:]))
		}
		end := n - counted + t + l
		if end < t+l || end > len(v) {
			return reasonTLV, n
		}
		v = v[end:]
	}
	return "", 0
}

func width(as4 bool) int {
	if as4 {
		return 4
	}
	return 2
}
