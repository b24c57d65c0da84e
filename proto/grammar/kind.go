package grammar

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Kind is a kind of value. What its text means beyond its syntax (is there such a client?) is the handler's.
type Kind struct {
	Name     string // as patterns write it
	Label    string // as people see it; "": Name
	Help     string // for `?`
	Expected string // for the error: "expected A.B.C.D or X:X::X:X"
	parse    func(text string, env *Env) (any, error)
	words    []enum // the kind is one of these words instead
	rest     rest
	secret   bool
}

func (k *Kind) label() string {
	if k.Label != "" {
		return k.Label
	}
	return k.Name
}

// rest is how far a value goes.
type rest uint8

const (
	oneWord     rest = iota
	rawArgument      // to a bar with blanks round it, unless it starts with a quote
	restOfLine       // the same, quotes not interpreted
	restAll          // to the end of the line, bars too: a command with its filters
)

// enum is one spelling of a value that is one of a list: one word or two.
type enum struct {
	words string // "ipv4 vpn"
	value string // "ipv4-vpn"
	rare  bool   // not offered before a letter of it was typed
}

// errSyntax is a value that is not of its kind, where the kind's Expected says all there is to say.
var errSyntax = errors.New("syntax")

// Kinds are the kinds that have a syntax. Any other upper-case name in a pattern is a kind too: one word, whatever it is, whose
// name only says what it is for (FILE, NAME, LISTENER).
//
//	CLIENT    one word                                                PEER      ID, address, RD/address, TABLE/address, loc-rib ...
//	ADDR      netip.Addr             ADDRPORT  netip.AddrPort         PREFIX    netip.Prefix, no host bits
//	NLRI      [...] as routes of other families are printed           RD        65000:1, 10.0.0.1:1
//	FAMILY    its name: ipv4-unicast for ipv4, `ipv4 unicast`         VIEW      adj-in-pre ...
//	TYPE      route-monitoring ...   N         uint64                 AS        uint64 up to 4294967295 (65000, 1.10)
//	DURATION  time.Duration          SIZE      int64, bytes           T         time.Time
//	RE        *regexp.Regexp, raw    ASPATH    the same, with _       COMMUNITY uint64
//	LARGE     1:2:3                  EXT       rt:65000:1             ONOFF     bool
//	LINE      the rest of the line   COMMAND   the same, with filters SECRET    one word, hidden in logs
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

var kinds = []Kind{
	{Name: "CLIENT", Help: "a client: ID, address, address:port or name", Expected: "an ID, an address, an address:port or a name"},
	{Name: "PEER", Help: "a peer: ID, address, RD/address, TABLE/address or loc-rib", Expected: "A.B.C.D, X:X::X:X, an ID or RD/address", parse: parsePeer},
	{Name: "ADDR", Help: "an IP address", Expected: "A.B.C.D or X:X::X:X", parse: parseAddr},
	{Name: "ADDRPORT", Label: "ADDR:PORT", Help: "an IP address and a port", Expected: "A.B.C.D:PORT or [X:X::X:X]:PORT", parse: parseAddrPort},
	{Name: "PREFIX", Help: "an IP prefix", Expected: "A.B.C.D/LEN or X:X::X:X/LEN", parse: parsePrefix},
	{Name: "NLRI", Help: "a route of another family, as it is printed", Expected: "[NLRI]", parse: parseNLRI},
	{Name: "RD", Help: "a route distinguisher", Expected: "AS:N or A.B.C.D:N", parse: parseRD},
	{Name: "FAMILY", Help: "an address family", Expected: "a family (ipv4, ipv6 vpn, l2vpn-evpn ...)", words: families, parse: parseAFISAFI},
	{Name: "VIEW", Help: "a view of the RIB", Expected: "adj-in-pre, adj-in-post, adj-out-pre, adj-out-post or loc-rib", words: views},
	{Name: "TYPE", Help: "a type of BMP message", Expected: "a message type (peer-up, route-monitoring ...)", words: messageTypes},
	{Name: "N", Help: "a number", Expected: "a number", parse: parseNumber},
	{Name: "AS", Help: "an AS number", Expected: "an AS number (1 to 4294967295, or 1.10)", parse: parseAS},
	{Name: "DURATION", Help: "a duration: 30s, 5m, 2h, 3d", Expected: "a duration (30s, 5m, 2h, 3d)", parse: func(s string, _ *Env) (any, error) { return wrapSyntax(ParseDuration(s)) }},
	{Name: "SIZE", Help: "a size: 500MB, 10GB", Expected: "a size (500MB, 10GB)", parse: func(s string, _ *Env) (any, error) { return wrapSyntax(ParseSize(s)) }},
	{Name: "T", Help: "a time: 10:05, 2026-11-22T10:05Z, -15m, yesterday", Expected: "a time (10:05, 10:05:30, 2026-11-22T10:05Z, -15m, yesterday)",
		parse: func(s string, env *Env) (any, error) { return ParseTime(s, env.Now, env.Zone) }},
	{Name: "RE", Help: "a regular expression", Expected: "a regular expression", parse: parseRE, rest: rawArgument},
	{Name: "ASPATH", Label: "RE", Help: "a regular expression on the AS path; _ is a boundary", Expected: "a regular expression", parse: parseASPath, rest: rawArgument},
	{Name: "COMMUNITY", Label: "COMMUNITY", Help: "a community", Expected: "N:N or a well-known name", parse: parseCommunity},
	{Name: "LARGE", Label: "COMMUNITY", Help: "a large community", Expected: "N:N:N", parse: parseLarge},
	{Name: "EXT", Label: "COMMUNITY", Help: "an extended community", Expected: "an extended community as it is printed (rt:65000:1)", parse: parseExt},
	{Name: "ONOFF", Label: "on|off", Help: "on or off", Expected: "on or off", words: []enum{{words: "on", value: "on"}, {words: "off", value: "off"}}, parse: parseOnOff},
	{Name: "LINE", Help: "the rest of the line", Expected: "text", rest: restOfLine},
	{Name: "COMMAND", Help: "a command, with its filters", Expected: "a command", rest: restAll},
	{Name: "SECRET", Help: "a secret", Expected: "a secret", secret: true},
}

var kindsByName = func() map[string]*Kind {
	m := make(map[string]*Kind, len(kinds))
	for i := range kinds {
		m[kinds[i].Name] = &kinds[i]
	}
	return m
}()

// views are the values of VIEW.
var views = plainEnums("adj-in-pre", "adj-in-post", "adj-out-pre", "adj-out-post", "loc-rib")

// messageTypes are the values of TYPE: the keys of messages_by_type, with hyphens.
var messageTypes = plainEnums("route-monitoring", "statistics-report", "peer-down", "peer-up", "initiation", "termination",
	"route-mirroring", "unknown")

// families are the spellings of FAMILY: the name the station prints, the two words of the original, and its short names.
var families = familyEnums()

func plainEnums(words ...string) []enum {
	list := make([]enum, len(words))
	for i, w := range words {
		list[i] = enum{words: w, value: w}
	}
	return list
}

// familyNames are the families that have a name, as proto/bgp prints them, common ones first.
var familyNames = strings.Fields(`
	ipv4-unicast ipv6-unicast ipv4-multicast ipv6-multicast ipv4-labeled-unicast ipv6-labeled-unicast ipv4-vpn ipv6-vpn
	ipv4-vpn-multicast ipv6-vpn-multicast l2vpn-evpn l2vpn-vpls ipv4-flowspec ipv6-flowspec ipv4-vpn-flowspec
	ipv6-vpn-flowspec l2vpn-flowspec l2vpn-vpn-flowspec ipv4-rtc ipv6-rtc ipv4-mvpn ipv6-mvpn l2vpn-mcast-vpls ipv4-mdt
	bgp-ls bgp-ls-vpn bgp-ls-spf ipv4-sr-policy ipv6-sr-policy ipv4-mup ipv6-mup ipv4-ct ipv6-ct ipv4-car ipv6-car
	ipv4-vpn-car ipv6-vpn-car ipv4-encap ipv6-encap l2vpn-ms-pw ipv4-unreach ipv6-unreach sfc ipv4-sfc ipv6-sfc
	opaque-key-value route-policy-distribution mpls-namespace ipv4-tunnel ipv6-tunnel ipv4-4over6 ipv6-6over4
	l2vpn-l1vpn ipv4-l1vpn ipv4-sd-wan ipv6-sd-wan ipv4-tunneled-traffic ipv6-tunneled-traffic ipv4-mcast-tree
	ipv6-mcast-tree ipv4-dps ipv6-dps ipv4-vpn-ad l2vpn-vpn-ad`)

func familyEnums() []enum {
	list := []enum{
		{words: "ipv4", value: "ipv4-unicast"}, {words: "ipv6", value: "ipv6-unicast"}, {words: "evpn", value: "l2vpn-evpn"},
		{words: "vpnv4", value: "ipv4-vpn", rare: true}, {words: "vpnv6", value: "ipv6-vpn", rare: true},
		{words: "rtc", value: "ipv4-rtc", rare: true}, {words: "vpls", value: "l2vpn-vpls", rare: true},
	}
	for _, name := range familyNames {
		list = append(list, enum{words: name, value: name, rare: name != "bgp-ls"})
		if afi, safi, ok := strings.Cut(name, "-"); ok && (afi == "ipv4" || afi == "ipv6" || afi == "l2vpn") {
			list = append(list, enum{words: afi + " " + safi, value: name})
		}
	}
	return list
}

func wrapSyntax[V any](v V, err error) (any, error) {
	if err != nil {
		return nil, errSyntax
	}
	return v, nil
}

// parseAFISAFI accepts the name of a family nobody knows: afi/safi in numbers.
func parseAFISAFI(s string, _ *Env) (any, error) {
	afi, safi, ok := strings.Cut(s, "/")
	if !ok {
		return nil, errSyntax
	}
	if _, err := strconv.ParseUint(afi, 10, 16); err != nil {
		return nil, errSyntax
	}
	if _, err := strconv.ParseUint(safi, 10, 8); err != nil {
		return nil, errSyntax
	}
	return s, nil
}

func parseAddr(s string, _ *Env) (any, error) { return wrapSyntax(netip.ParseAddr(s)) }

func parseAddrPort(s string, _ *Env) (any, error) { return wrapSyntax(netip.ParseAddrPort(s)) }

func parsePrefix(s string, _ *Env) (any, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, errSyntax
	}
	if m := p.Masked(); m != p {
		return nil, fmt.Errorf("%s has bits beyond its length (%s)", s, m)
	}
	return p, nil
}

func parseNLRI(s string, _ *Env) (any, error) {
	if !strings.HasPrefix(s, "[") {
		return nil, errSyntax
	}
	return nil, nil
}

// parsePeer checks the forms a peer may be named by. What stands before the last slash is an RD or the name of a table.
func parsePeer(s string, _ *Env) (any, error) {
	last := s
	if i := strings.LastIndexByte(s, '/'); i == 0 {
		return nil, errSyntax
	} else if i > 0 {
		last = s[i+1:]
	} else if _, err := strconv.ParseUint(s, 10, 32); err == nil {
		return nil, nil
	}
	if last == "loc-rib" {
		return nil, nil
	}
	if _, err := netip.ParseAddr(last); err != nil {
		return nil, errSyntax
	}
	return nil, nil
}

// parseRD checks the text forms of RFC 4364, Section 4.2: AS:N (an L after a small AS number says that it is coded in
// four octets), A.B.C.D:N, and eight octets in hex.
func parseRD(s string, _ *Env) (any, error) {
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		if _, err := strconv.ParseUint(h, 16, 64); err != nil || len(h) != 16 {
			return nil, errSyntax
		}
		return nil, nil
	}
	admin, number, _ := strings.Cut(s, ":")
	if _, err := strconv.ParseUint(number, 10, 32); err != nil {
		return nil, errSyntax
	}
	if a, err := netip.ParseAddr(admin); err == nil && a.Is4() {
		return nil, nil
	}
	if _, err := parseAS(strings.TrimSuffix(admin, "L"), nil); err != nil {
		return nil, errSyntax
	}
	return nil, nil
}

func parseNumber(s string, _ *Env) (any, error) { return wrapSyntax(strconv.ParseUint(s, 10, 64)) }

// parseAS reads asplain and asdot (RFC 5396).
func parseAS(s string, _ *Env) (any, error) {
	if hi, lo, ok := strings.Cut(s, "."); ok {
		h, err1 := strconv.ParseUint(hi, 10, 16)
		l, err2 := strconv.ParseUint(lo, 10, 16)
		if err1 != nil || err2 != nil {
			return nil, errSyntax
		}
		return h<<16 | l, nil
	}
	return wrapSyntax(strconv.ParseUint(s, 10, 32))
}

func parseOnOff(s string, _ *Env) (any, error) { return s == "on", nil }

// compile is regexp.Compile with an error that names the fault alone.
func compile(s string) (any, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

func parseRE(s string, _ *Env) (any, error) {
	if s == "" {
		return nil, errSyntax
	}
	return compile(s)
}

func parseASPath(s string, _ *Env) (any, error) {
	if s == "" {
		return nil, errSyntax
	}
	re, err := regexp.Compile(ASPathRegexp(s))
	if err == nil {
		return re, nil
	}
	// The message shows the expression: as it was typed, where that has the same fault.
	if _, err := compile(s); err != nil {
		return nil, err
	}
	return compile(ASPathRegexp(s))
}

// ASPathRegexp writes a regular expression on AS paths as RE2: outside of classes `_` is the boundary of IOS (start,
// end, blank, comma, `{}()`), and `\_` is an underscore.
func ASPathRegexp(s string) string {
	var b strings.Builder
	class := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			b.WriteByte(c)
			i++
			b.WriteByte(s[i])
		case c == '_' && !class:
			b.WriteString(`(?:^|[ ,{}()]|$)`)
		case c == '[' && !class:
			class = true
			b.WriteByte(c)
			// A bracket that comes first in a class is one of its characters.
			for i+1 < len(s) && (s[i+1] == '^' && s[i] == '[' || s[i+1] == ']') {
				i++
				b.WriteByte(s[i])
				if s[i] == ']' {
					break
				}
			}
		default:
			if c == ']' {
				class = false
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// wellKnown are the names of communities (IANA, BGP Well-known Communities).
var wellKnown = map[string]uint64{
	"graceful-shutdown": 0xffff0000, "accept-own": 0xffff0001, "llgr-stale": 0xffff0006, "no-llgr": 0xffff0007, "accept-own-nexthop": 0xffff0008,
	"blackhole": 0xffff029a, "no-export": 0xffffff01, "no-advertise": 0xffffff02, "no-export-subconfed": 0xffffff03, "nopeer": 0xffffff04,
	"no-peer": 0xffffff04, "local-as": 0xffffff03, "internet": 0,
}

func parseCommunity(s string, _ *Env) (any, error) {
	if v, ok := wellKnown[strings.ToLower(s)]; ok {
		return v, nil
	}
	hi, lo, ok := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(hi, 10, 16)
	l, err2 := strconv.ParseUint(lo, 10, 16)
	if !ok || err1 != nil || err2 != nil {
		return nil, errSyntax
	}
	return h<<16 | l, nil
}

func parseLarge(s string, _ *Env) (any, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return nil, errSyntax
	}
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 32); err != nil {
			return nil, errSyntax
		}
	}
	return nil, nil
}

func parseExt(s string, _ *Env) (any, error) {
	if !strings.ContainsAny(s, ":=") && !strings.HasPrefix(s, "0x") {
		return nil, errSyntax
	}
	return nil, nil
}
