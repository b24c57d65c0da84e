package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// A tableRoute is one route in the words of `| json`, reduced to what a
// router's own table says too. Lists are sorted and joined, so that two routes
// compare with ==.
type tableRoute struct {
	nextHop, origin, asPath string
	med, localPref          string // empty: not there
	communities, large      string
}

// A tableKey names a route of one peer in one view.
type tableKey struct {
	peer, view, family, rd, prefix string
}

func (k tableKey) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", k.peer, k.view, k.family, k.rd, k.prefix))
}

// A routeTable is a set of routes. Several paths of one prefix (ADD-PATH) are
// a sorted list, for routers print path IDs of their own.
type routeTable map[tableKey][]tableRoute

func (t routeTable) add(k tableKey, r tableRoute) {
	t[k] = append(t[k], r)
	sort.Slice(t[k], func(i, j int) bool { return fmt.Sprint(t[k][i]) < fmt.Sprint(t[k][j]) })
}

// where keeps the routes that keep accepts.
func (t routeTable) where(keep func(tableKey) bool) routeTable {
	out := routeTable{}
	for k, v := range t {
		if keep(k) {
			out[k] = v
		}
	}
	return out
}

// diff lists how got differs from want, a line per route, sorted. view brings
// both sides to the fields that the router's table tells.
func (want routeTable) diff(got routeTable, view func(tableRoute) tableRoute) []string {
	var out []string
	reduce := func(rs []tableRoute) string {
		s := make([]string, len(rs))
		for i, r := range rs {
			s[i] = fmt.Sprintf("%+v", view(r))
		}
		sort.Strings(s)
		return strings.Join(s, "; ")
	}
	for k, w := range want {
		switch g, ok := got[k]; {
		case !ok:
			out = append(out, "missing "+k.String())
		case reduce(w) != reduce(g):
			out = append(out, fmt.Sprintf("differs %s\n\trouter  %s\n\tstation %s", k, reduce(w), reduce(g)))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			out = append(out, "extra "+k.String())
		}
	}
	sort.Strings(out)
	return out
}

// stationTable is what `bmp -j show bgp FAMILY all` printed.
func stationTable(data []byte) (routeTable, error) {
	var rows []struct {
		Peer        *string  `json:"peer"`
		RD          *string  `json:"rd"`
		View        string   `json:"view"`
		Family      string   `json:"family"`
		Prefix      string   `json:"prefix"`
		NextHop     *string  `json:"next_hop"`
		Origin      *string  `json:"origin"`
		ASPath      *string  `json:"as_path"`
		MED         *int64   `json:"med"`
		LocalPref   *int64   `json:"local_pref"`
		Communities []string `json:"communities"`
		Large       []string `json:"large_communities"`
		Stale       bool     `json:"stale"`
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, err
	}
	t := routeTable{}
	for _, r := range rows {
		if r.Stale {
			continue
		}
		t.add(tableKey{deref(r.Peer), r.View, r.Family, deref(r.RD), r.Prefix}, tableRoute{
			nextHop: plainAddress(deref(r.NextHop)), origin: originWord(deref(r.Origin)), asPath: deref(r.ASPath),
			med: derefNumber(r.MED), localPref: derefNumber(r.LocalPref),
			communities: joined(r.Communities), large: joined(r.Large),
		})
	}
	return t, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func derefNumber(n *int64) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

func joined(s []string) string {
	s = append([]string(nil), s...)
	sort.Strings(s)
	return strings.Join(s, " ")
}

// plainAddress takes the global one of two IPv6 next hops and unmaps an
// IPv4-mapped one, as routers print them.
func plainAddress(s string) string {
	s, _, _ = strings.Cut(s, " ")
	a, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return a.Unmap().String()
}

func originWord(s string) string {
	switch strings.ToLower(s) {
	case "i", "igp":
		return "igp"
	case "e", "egp":
		return "egp"
	case "?", "incomplete":
		return "incomplete"
	}
	return s
}

// labPeers are the peers of both labs by the letter in the tables' file names.
var labPeers = map[string]string{
	"a": "10.1.0.11", "b": "10.1.0.12", "c": "10.1.0.13", "d": "fd00:1::14", "e": "10.1.0.15", "f": "10.1.0.16",
}

// frrTables reads what FRR's vtysh printed of its tables into dir: Adj-RIB-In
// before and after policy, and of peer e the VPN tables after policy.
func frrTables(t *testing.T, dir string) routeTable {
	t.Helper()
	out := routeTable{}
	type frrRoute struct {
		Prefix     string `json:"network"`
		NextHop    string `json:"nextHop"`
		NextHop6   string `json:"nextHopGlobal"`
		Metric     *int64 `json:"metric"`
		Path       string `json:"path"`
		OriginCode string `json:"bgpOriginCode"`
		Origin     string `json:"origin"`
		LocalPref  *int64 `json:"locPrf"`
		Peer       string `json:"peerId"`
		NextHops   []struct {
			IP   string `json:"ip"`
			Used bool   `json:"used"`
		} `json:"nexthops"`
	}
	route := func(r frrRoute) tableRoute {
		hop := r.NextHop + r.NextHop6
		for _, n := range r.NextHops {
			if n.Used {
				hop = n.IP
			}
		}
		return tableRoute{nextHop: plainAddress(hop), origin: originWord(r.OriginCode + r.Origin), asPath: r.Path,
			med: derefNumber(r.Metric), localPref: derefNumber(r.LocalPref)}
	}
	for _, af := range []string{"ipv4", "ipv6"} {
		for letter, peer := range labPeers {
			var in struct {
				Routes map[string]frrRoute `json:"receivedRoutes"`
			}
			if readJSON(t, filepath.Join(dir, af+"-adj-in-"+letter+".json"), &in) {
				for p, r := range in.Routes {
					out.add(tableKey{peer, "adj_in_pre", af + "-unicast", "", p}, route(r))
				}
			}
			var post struct {
				Routes map[string][]frrRoute `json:"routes"`
			}
			if readJSON(t, filepath.Join(dir, af+"-post-"+letter+".json"), &post) {
				for p, rs := range post.Routes {
					for _, r := range rs {
						out.add(tableKey{peer, "adj_in_post", af + "-unicast", "", p}, route(r))
					}
				}
			}
		}
		var vpn struct {
			Routes struct {
				RDs map[string]map[string][]frrRoute `json:"routeDistinguishers"`
			} `json:"routes"`
		}
		if readJSON(t, filepath.Join(dir, af+"-vpn.json"), &vpn) {
			for rd, prefixes := range vpn.Routes.RDs {
				for p, rs := range prefixes {
					for _, r := range rs {
						out.add(tableKey{r.Peer, "adj_in_post", af + "-vpn", rd, p}, route(r))
					}
				}
			}
		}
	}
	return out
}

// gobgpTables reads what `gobgp -j` printed: adj-in is Adj-RIB-In before
// policy; the global RIB holds what each peer's import policy let through
// (Adj-RIB-In after policy) and marks the best (Loc-RIB).
func gobgpTables(t *testing.T, dir string) routeTable {
	t.Helper()
	out := routeTable{}
	families := map[string]string{"ipv4": "ipv4-unicast", "ipv6": "ipv6-unicast", "vpnv4": "ipv4-vpn", "vpnv6": "ipv6-vpn",
		"ipv4-mpls": "ipv4-labeled-unicast"}
	type path struct {
		NLRI struct {
			Prefix string          `json:"prefix"`
			RD     json.RawMessage `json:"rd"`
		} `json:"nlri"`
		Best  bool              `json:"best"`
		Attrs []json.RawMessage `json:"attrs"`
		From  string            `json:"neighbor-ip"`
	}
	for name, family := range families {
		for letter, peer := range labPeers {
			var in map[string][]path
			if readJSON(t, filepath.Join(dir, "adj-in-"+letter+"-"+name+".json"), &in) {
				for _, ps := range in {
					for _, p := range ps {
						out.add(tableKey{peer, "adj_in_pre", family, gobgpRD(p.NLRI.RD), p.NLRI.Prefix}, gobgpRoute(t, p.Attrs))
					}
				}
			}
		}
		var rib map[string][]path
		if readJSON(t, filepath.Join(dir, "global-rib-"+name+".json"), &rib) {
			for _, ps := range rib {
				for _, p := range ps {
					r := gobgpRoute(t, p.Attrs)
					rd := gobgpRD(p.NLRI.RD)
					out.add(tableKey{p.From, "adj_in_post", family, rd, p.NLRI.Prefix}, r)
					if p.Best {
						out.add(tableKey{"", "loc_rib", family, rd, p.NLRI.Prefix}, r)
					}
				}
			}
		}
	}
	return out
}

func gobgpRD(raw json.RawMessage) string {
	var rd struct {
		Admin    any `json:"admin"`
		Assigned any `json:"assigned"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &rd) != nil {
		return ""
	}
	word := func(v any) string {
		if f, ok := v.(float64); ok {
			return fmt.Sprintf("%.0f", f)
		}
		return fmt.Sprint(v)
	}
	return word(rd.Admin) + ":" + word(rd.Assigned)
}

func gobgpRoute(t *testing.T, attrs []json.RawMessage) tableRoute {
	var r tableRoute
	for _, raw := range attrs {
		var a struct {
			Type        int             `json:"type"`
			Value       json.RawMessage `json:"value"`
			NextHop     string          `json:"nexthop"`
			Metric      *int64          `json:"metric"`
			Communities []uint32        `json:"communities"`
			Paths       []struct {
				Type int      `json:"segment_type"`
				ASNs []uint32 `json:"asns"`
			} `json:"as_paths"`
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatalf("attribute %s: %v", raw, err)
		}
		switch a.Type {
		case 1:
			r.origin = map[string]string{"0": "igp", "1": "egp", "2": "incomplete"}[string(a.Value)]
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
			r.asPath = strings.Join(segments, " ")
		case 3, 14:
			r.nextHop = plainAddress(a.NextHop)
		case 4:
			r.med = derefNumber(a.Metric)
		case 5:
			r.localPref = string(a.Value)
		case 8:
			var c []string
			for _, n := range a.Communities {
				c = append(c, fmt.Sprintf("%d:%d", n>>16, n&0xffff))
			}
			r.communities = joined(c)
		case 32:
			var l []struct {
				ASN    uint32 `json:"ASN"`
				Local1 uint32 `json:"LocalData1"`
				Local2 uint32 `json:"LocalData2"`
			}
			if json.Unmarshal(a.Value, &l) == nil {
				var s []string
				for _, c := range l {
					s = append(s, fmt.Sprintf("%d:%d:%d", c.ASN, c.Local1, c.Local2))
				}
				r.large = joined(s)
			}
		}
	}
	return r
}

// readJSON reports whether the file is there; one that does not parse fails
// the test. FRR prints lone newlines before the document.
func readJSON(t *testing.T, file string, v any) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return false
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return true
}
