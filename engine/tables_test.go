package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bmp/engine/streamtest"
	"bmp/proto/bgp"
)

// tableLines are routes as a router's own table and the station can both write it: "PEER VIEW FAMILY RD PREFIX", and
// its attributes in one string. Several paths of one prefix are several strings, sorted.
type tableLines map[string][]string

func (t tableLines) add(key, attributes string) {
	t[key] = append(t[key], attributes)
	slices.Sort(t[key])
}

// compare reports every difference, up to a few.
func (want tableLines) compare(t *testing.T, got tableLines) {
	t.Helper()
	wrong := 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf(format, args...)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if !slices.Equal(want[k], got[k]) {
			complain("%s\n\trouter  %q\n\tstation %q", k, want[k], got[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if want[k] == nil {
			complain("%s\n\tnot in the router's table\n\tstation %q", k, got[k])
		}
	}
	if wrong > 20 {
		t.Errorf("%d differences in all, of %d routes", wrong, len(want))
	}
}

func attributeLine(nextHop, origin, path, med, localPref string, communities, large []string) string {
	return fmt.Sprintf("via %s origin %s path [%s] med %s local-pref %s communities %v large %v", nextHop, origin, path, med, localPref,
		slices.Sorted(slices.Values(communities)), slices.Sorted(slices.Values(large)))
}

func number(n *uint32) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// plain is an address without zone, IPv4 where it is mapped.
func plain(s string) string {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil {
		return s
	}
	return a.Unmap().String()
}

func readTable(t *testing.T, path string, v any) bool {
	t.Helper()
	if !exists(path) {
		return false
	}
	if err := json.Unmarshal(streamtest.Read(t, path), v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return true
}

var labPeers = map[string]string{
	"a": "10.1.0.11", "b": "10.1.0.12", "c": "10.1.0.13", "d": "fd00:1::14", "e": "10.1.0.15", "f": "10.1.0.16",
}

// TestGoBGPTables compares with GoBGP's tables at the end of the stream: Adj-RIB-In before policy, its global table as
// Adj-RIB-In after policy, and the best of it as Loc-RIB; every family, every attribute that is compared.
func TestGoBGPTables(t *testing.T) {
	dir := streamtest.Folder(t)
	s := startStation(t, nil)
	c := replay(t, s, streamtest.Read(t, filepath.Join(dir, "gobgp-3.10-all.bmp.gz")))
	final := filepath.Join(dir, "gobgp-3.10-all.final")
	want, got := make(tableLines), make(tableLines)
	type path struct {
		NLRI  json.RawMessage   `json:"nlri"`
		Best  bool              `json:"best"`
		Attrs []json.RawMessage `json:"attrs"`
		From  string            `json:"neighbor-ip"`
	}
	families := map[string]bgp.Family{
		"ipv4": bgp.IPv4Unicast, "ipv6": bgp.IPv6Unicast, "vpnv4": bgp.IPv4VPN, "vpnv6": bgp.IPv6VPN, "evpn": bgp.L2VPNEVPN,
		"ipv4-mpls": bgp.IPv4Labeled, "ipv4-flowspec": bgp.IPv4FlowSpec, "ipv6-flowspec": bgp.IPv6FlowSpec,
	}
	for name, f := range families {
		for letter, peer := range labPeers {
			var in map[string][]path
			if readTable(t, filepath.Join(final, "adj-in-"+letter+"-"+name+".json"), &in) {
				for k, paths := range in {
					for _, p := range paths {
						want.add(fmt.Sprintf("%s adj-in-pre %s %s", peer, f, gobgpKey(t, f, k, p.NLRI)), gobgpAttributes(t, p.Attrs))
					}
				}
			}
		}
		var all map[string][]path
		if readTable(t, filepath.Join(final, "global-rib-"+name+".json"), &all) {
			for k, paths := range all {
				for _, p := range paths {
					key := gobgpKey(t, f, k, p.NLRI)
					want.add(fmt.Sprintf("%s adj-in-post %s %s", p.From, f, key), gobgpAttributes(t, p.Attrs))
					if p.Best {
						want.add(fmt.Sprintf("loc-rib loc-rib %s %s", f, key), gobgpAttributes(t, p.Attrs))
					}
				}
			}
		}
	}
	for _, r := range held(t, s, c) {
		a := bgp.Decode(r.record, r.family)
		hop := ""
		if a.NextHop.IsValid() {
			hop = a.NextHop.Unmap().String()
		}
		got.add(fmt.Sprintf("%s %s %s %s", r.peer.Name(), r.view, r.family, strings.TrimSpace(r.rd+" "+r.prefix)),
			attributeLine(hop, a.Origin, a.ASPath, number(a.MED), number(a.LocalPref), a.Communities, a.LargeCommunities))
	}
	if len(want) < 1000 {
		t.Fatalf("the router's tables hold only %d routes", len(want))
	}
	want.compare(t, got)
}

// gobgpKey is the route's key in our text.
func gobgpKey(t *testing.T, f bgp.Family, key string, raw json.RawMessage) string {
	t.Helper()
	var n struct {
		Prefix string
		RD     *struct{ Admin, Assigned any }
		Type   int
		Value  json.RawMessage
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	rd := func(admin, assigned any) string {
		word := func(v any) string {
			if f, ok := v.(float64); ok {
				return fmt.Sprintf("%.0f", f)
			}
			return fmt.Sprint(v)
		}
		return word(admin) + ":" + word(assigned)
	}
	switch {
	case n.RD != nil:
		return rd(n.RD.Admin, n.RD.Assigned) + " " + n.Prefix
	case f == bgp.L2VPNEVPN:
		var v struct {
			RD struct{ Admin, Assigned any }
		}
		if err := json.Unmarshal(n.Value, &v); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		return rd(v.RD.Admin, v.RD.Assigned) + " " + gobgpEVPN(t, key)
	case n.Prefix != "":
		return n.Prefix
	}
	return key
}

// gobgpEVPN turns GoBGP's text of the EVPN routes of the lab into ours.
func gobgpEVPN(t *testing.T, key string) string {
	t.Helper()
	part := func(name string) string {
		_, rest, ok := strings.Cut(key, "["+name+":")
		if !ok {
			t.Fatalf("no %s in %s", name, key)
		}
		value, _, _ := strings.Cut(rest, "]")
		return value
	}
	switch part("type") {
	case "macadv":
		return fmt.Sprintf("[2]:[%s]:[48]:[%s]:[32]:[%s]", part("etag"), part("mac"), part("ip"))
	case "multicast":
		return fmt.Sprintf("[3]:[%s]:[32]:[%s]", part("etag"), part("ip"))
	case "Prefix":
		addr, bits, _ := strings.Cut(part("prefix"), "/")
		return fmt.Sprintf("[5]:[%s]:[%s]:[%s]", part("etag"), bits, addr)
	case "A-D":
		// RFC 7432, Section 5: type 1, system MAC 6, port key 2, 0.
		var mac string
		var port int
		if _, err := fmt.Sscanf(part("esi"), "ESI_LACP | system mac %17s, port key %d", &mac, &port); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return fmt.Sprintf("[1]:[01:%s:%02x:%02x:00]:[%s]", mac, port>>8, port&0xff, part("etag"))
	}
	t.Fatalf("EVPN route %s", key)
	return ""
}

func gobgpAttributes(t *testing.T, attrs []json.RawMessage) string {
	t.Helper()
	hop, origin, path, med, localPref := "", "", "", "-", "-"
	var communities, large []string
	for _, raw := range attrs {
		var a struct {
			Type        int
			Value       json.RawMessage
			NextHop     string
			Metric      *uint32
			Communities []uint32
			Paths       []struct {
				Type int      `json:"segment_type"`
				ASNs []uint32 `json:"asns"`
			} `json:"as_paths"`
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		switch a.Type {
		case 1:
			origin = map[string]string{"0": "i", "1": "e", "2": "?"}[string(a.Value)]
		case 2:
			var segments []string
			for _, p := range a.Paths {
				words := strings.Trim(fmt.Sprint(p.ASNs), "[]")
				switch p.Type {
				case 1:
					words = "{" + strings.ReplaceAll(words, " ", ",") + "}"
				case 3:
					words = "(" + words + ")"
				}
				segments = append(segments, words)
			}
			path = strings.Join(segments, " ")
		case 3, 14:
			if hop = plain(a.NextHop); hop == "0.0.0.0" || hop == "::" { // FlowSpec has none
				hop = ""
			}
		case 4:
			med = number(a.Metric)
		case 5:
			localPref = string(a.Value)
		case 8:
			for _, n := range a.Communities {
				communities = append(communities, fmt.Sprintf("%d:%d", n>>16, n&0xffff))
			}
		case 32:
			var l []struct{ ASN, LocalData1, LocalData2 uint32 }
			if err := json.Unmarshal(a.Value, &l); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			for _, c := range l {
				large = append(large, fmt.Sprintf("%d:%d:%d", c.ASN, c.LocalData1, c.LocalData2))
			}
		}
	}
	return attributeLine(hop, origin, path, med, localPref, communities, large)
}

// frrRoute is a route as `show bgp ... json` has it.
type frrRoute struct {
	NextHop, NextHopGlobal, Path, BgpOriginCode, Origin, PeerID string
	Metric, LocPrf                                              *uint32
	NextHops                                                    []struct {
		IP   string
		Used bool
	}
}

// attributes is the route as FRR monitors it: it codes what it would announce, so that an external path has the
// router's own AS before it and no LOCAL_PREF. Communities are not in its tables.
func (r frrRoute) attributes() string {
	hop := r.NextHop + r.NextHopGlobal
	for _, n := range r.NextHops {
		if n.Used {
			hop = n.IP
		}
	}
	origin := r.BgpOriginCode
	if origin == "" {
		origin = map[string]string{"IGP": "i", "EGP": "e", "incomplete": "?"}[r.Origin]
	}
	path, localPref := r.Path, number(r.LocPrf)
	if path != "" {
		path, localPref = "65000 "+path, "-"
	}
	return attributeLine(plain(hop), origin, path, number(r.Metric), localPref, nil, nil)
}

// TestFRRTables compares with FRR's tables at the end of the stream, but for what FRR is known to do: see attributes;
// routes that its import policy refuses are missing from pre-policy messages while it runs; pre-policy messages of a peer
// without soft reconfiguration (e) only ever withdraw; labelled routes come as plain ones without NEXT_HOP.
func TestFRRTables(t *testing.T) {
	dir := streamtest.Folder(t)
	s := startStation(t, nil)
	c := replay(t, s, streamtest.Read(t, filepath.Join(dir, "frr-8.4.4-policy.bmp.gz")))
	final := filepath.Join(dir, "frr-8.4.4-policy.final")
	want, got := make(tableLines), make(tableLines)
	refused := 0
	for _, af := range []string{"ipv4", "ipv6"} {
		for letter, peer := range labPeers {
			var in struct{ ReceivedRoutes map[string]frrRoute }
			if readTable(t, filepath.Join(final, af+"-adj-in-"+letter+".json"), &in) {
				for p, r := range in.ReceivedRoutes {
					if strings.HasPrefix(p, "20.66.") {
						refused++
						continue
					}
					want.add(fmt.Sprintf("%s adj-in-pre %s-unicast %s", peer, af, p), r.attributes())
				}
			}
			var post struct{ Routes map[string][]frrRoute }
			if readTable(t, filepath.Join(final, af+"-post-"+letter+".json"), &post) {
				for p, routes := range post.Routes {
					for _, r := range routes {
						want.add(fmt.Sprintf("%s adj-in-post %s-unicast %s", peer, af, p), r.attributes())
					}
				}
			}
		}
		var vpn struct {
			Routes struct {
				RouteDistinguishers map[string]map[string][]frrRoute
			}
		}
		if readTable(t, filepath.Join(final, af+"-vpn.json"), &vpn) {
			for rd, prefixes := range vpn.Routes.RouteDistinguishers {
				for p, routes := range prefixes {
					for _, r := range routes {
						want.add(fmt.Sprintf("%s adj-in-post %s-vpn %s %s", r.PeerID, af, rd, p), r.attributes())
					}
				}
			}
		}
	}
	var global struct{ Routes map[string][]frrRoute }
	readTable(t, filepath.Join(final, "ipv4-unicast.json"), &global)
	for p, routes := range global.Routes {
		for _, r := range routes {
			if r.PeerID == labPeers["e"] {
				r.NextHop, r.NextHops = "", nil
				want.add(fmt.Sprintf("%s adj-in-post ipv4-unicast %s", r.PeerID, p), r.attributes())
			}
		}
	}
	var evpn map[string]json.RawMessage
	readTable(t, filepath.Join(final, "evpn.json"), &evpn)
	for rd, raw := range evpn {
		var routes map[string]json.RawMessage
		if json.Unmarshal(raw, &routes) != nil {
			continue // a count
		}
		for k, raw := range routes {
			var e struct{ Paths [][]frrRoute }
			if json.Unmarshal(raw, &e) != nil {
				continue // the RD again
			}
			if f := strings.Split(k, "]:["); f[0] == "[1" { // [1]:[TAG]:[ESI]:... of FRR is [1]:[ESI]:[TAG] of ours
				k = "[1]:[" + f[2] + "]:[" + f[1] + "]"
			}
			for _, paths := range e.Paths {
				for _, r := range paths {
					want.add(fmt.Sprintf("%s adj-in-post l2vpn-evpn %s %s", r.PeerID, rd, k), r.attributes())
				}
			}
		}
	}
	for _, r := range held(t, s, c) {
		a := bgp.Decode(r.record, r.family)
		hop := ""
		if a.NextHop.IsValid() {
			hop = a.NextHop.Unmap().String()
		}
		got.add(fmt.Sprintf("%s %s %s %s", r.peer.Name(), r.view, r.family, strings.TrimSpace(r.rd+" "+r.prefix)),
			attributeLine(hop, a.Origin, a.ASPath, number(a.MED), number(a.LocalPref), nil, nil))
	}
	if len(want) < 800 || refused == 0 {
		t.Fatalf("the router's tables hold only %d routes, %d refused", len(want), refused)
	}
	want.compare(t, got)
}
