package command

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bmp/engine/client"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/control"
	"bmp/proto/grammar"
)

// routeQuery is a question about routes: what the line says, understood. It is
// put to the store family by family.
type routeQuery struct {
	families []bgp.Family
	all      bool // families are those that the store has, not those that were typed

	match  rib.Match
	prefix netip.Prefix // of PREFIX or ADDR
	nlri   string       // of NLRI
	rd     string       // canonical; of the NLRI, or of the peer where the family has none
	pathID *uint32
	stale  bool
	limit  int // 0: none
	client *client.Client
	peer   *client.PeerInfo
	view   *bmp.View
	views  []bmp.View      // several of them; nil: all
	peers  map[uint64]bool // client and peer (peerKey) of a `peer` that is not of one client; nil: all
	attrs  []func(rec []byte) bool
}

// peerKey is a client and a peer of it in one number.
func peerKey(client, peer uint32) uint64 { return uint64(client)<<32 | uint64(peer) }

// errLimit ends a query that has its rows.
var errLimit = errors.New("limit reached")

// routeQuery reads the question from the line.
func (c *call) routeQuery() (*routeQuery, error) {
	q := &routeQuery{}
	if err := c.routeOwners(q); err != nil {
		return nil, err
	}
	return q, c.routeFilters(q)
}

// routeFilters reads what routes are asked for, whosever they are.
func (c *call) routeFilters(q *routeQuery) error {
	for _, word := range []string{"path-id", "med", "local-pref", "origin-as"} {
		if n, ok := c.m.Number(word); ok && n > math.MaxUint32 {
			return c.invalid(word, "a number, 0 to 4294967295")
		}
	}
	if n, ok := c.m.Number("path-id"); ok {
		id := uint32(n)
		q.pathID = &id
	}
	if n, ok := c.m.Number("limit"); ok {
		if n == 0 || n > 1<<31 {
			return c.invalid("limit", "a number of routes, 1 to 2147483648")
		}
		q.limit = int(n)
	}
	q.stale = c.m.Has("stale")
	if text := c.m.Value("rd"); text != "" {
		rd, err := bgp.ParseRD(text)
		if err != nil {
			return c.invalid("rd", "AS:N or A.B.C.D:N")
		}
		q.rd = rd.String()
	}
	if err := c.routeAttrs(q); err != nil {
		return err
	}
	return c.routeKey(q)
}

// invalid is a value that passed the grammar and is still not one.
func (c *call) invalid(name, expected string) error {
	a, _ := c.m.Arg(name)
	return c.invalidArg(a, expected)
}

func (c *call) invalidArg(a grammar.Arg, expected string) error {
	return control.Invalid(a, "expected %s", expected)
}

// routeOwners reads whose routes are asked for.
func (c *call) routeOwners(q *routeQuery) error {
	if x := c.m.Value("client"); x != "" {
		cl, err := c.findClient(x)
		if err != nil {
			return err
		}
		q.client = cl
	}
	if y := c.m.Value("peer"); y != "" {
		if q.client != nil {
			p, err := findPeer(q.client, y)
			if err != nil {
				return err
			}
			q.peer = &p
		} else {
			// Of whichever client has such a peer.
			q.peers = make(map[uint64]bool)
			for _, cl := range c.station.Clients() {
				for _, p := range cl.FindPeers(y) {
					q.peers[peerKey(p.Client, p.ID)] = true
				}
			}
			if len(q.peers) == 0 {
				return control.Errorf(control.CodeNotFound, "No peer '%s' on any client", y)
			}
		}
	}
	return c.routeView(q)
}

// routeView reads the view.
func (c *call) routeView(q *routeQuery) error {
	if text := c.m.Value("view"); text != "" {
		v, ok := bmp.ParseView(text)
		if !ok {
			return c.invalid("view", "a view")
		}
		q.view = &v
	}
	return nil
}

// filterWithin is a word of another filter, or of a time, behind a blank in what was taken for a regular expression; empty for none.
func filterWithin(re string) string {
	words := strings.Fields(re)
	for _, w := range words[min(1, len(words)):] {
		switch w {
		case "at", "since", "from", "history", "diff", "limit", "detail", "stale", "client", "peer", "view", "rd", "next-hop", "origin-as", "community",
			"large-community", "ext-community", "med", "local-pref", "path-id":
			return w
		}
	}
	return ""
}

// routeAttrs reads the filters on attributes; all of them must let a route through.
func (c *call) routeAttrs(q *routeQuery) error {
	add := func(f func(rec []byte) bool) { q.attrs = append(q.attrs, f) }
	if a, ok := c.m.Addr("next-hop"); ok {
		a = a.Unmap()
		add(func(rec []byte) bool {
			got, ok := bgp.NextHop(rec)
			return ok && got.Unmap() == a
		})
	}
	if re, ok := c.m.Regexp("as-path"); ok {
		if word := filterWithin(c.m.Value("as-path")); word != "" {
			return c.invalid("as-path", fmt.Sprintf("a regular expression without '%s', which no path has: as-path takes the rest of the line, "+
				"put it last or in quotes", word))
		}
		var path []byte // one query is one goroutine's
		needs := literalASes(c.m.Value("as-path"))
		add(func(rec []byte) bool {
			for _, as := range needs {
				if !bgp.HasAS(rec, as) {
					return false
				}
			}
			path = bgp.AppendASPath(path[:0], rec)
			return re.Match(path)
		})
	}
	if n, ok := c.m.Number("origin-as"); ok {
		add(func(rec []byte) bool {
			got, ok := bgp.OriginAS(rec)
			return ok && uint64(got) == n
		})
	}
	if n, ok := c.m.Number("med"); ok {
		add(func(rec []byte) bool {
			got, ok := bgp.MED(rec)
			return ok && uint64(got) == n
		})
	}
	if n, ok := c.m.Number("local-pref"); ok {
		add(func(rec []byte) bool {
			got, ok := bgp.LocalPref(rec)
			return ok && uint64(got) == n
		})
	}
	for _, a := range c.m.Args {
		switch a.After {
		case "community":
			n, ok := a.Value.(uint64)
			if !ok || n > 1<<32-1 {
				return c.invalidArg(a, "N:N or a well-known name")
			}
			add(func(rec []byte) bool { return bgp.HasCommunity(rec, uint32(n)) })
		case "large-community":
			lc, err := bgp.ParseLargeCommunity(a.Text)
			if err != nil {
				return c.invalidArg(a, "N:N:N")
			}
			add(func(rec []byte) bool { return bgp.HasLargeCommunity(rec, lc) })
		case "ext-community":
			ec, err := bgp.ParseExtCommunity(a.Text)
			if err != nil {
				return c.invalidArg(a, "an extended community as it is printed (rt:65000:1)")
			}
			add(func(rec []byte) bool { return bgp.HasExtCommunity(rec, ec) })
		}
	}
	return nil
}

// literalASes are the AS numbers that a path must have for the expression to match, as far as that is plain to see: those
// between boundaries, where there are only numbers, boundaries and ".*". To look for a number in the bytes of a path costs a
// fiftieth of making text of it and matching that.
func literalASes(expr string) (list []uint32) {
	const any = "A" // in place of ".*", as "_*" is something else
	plain := strings.ReplaceAll(expr, ".*", any)
	if strings.Contains(expr, any) || strings.Trim(plain, "0123456789_^$ "+any) != "" {
		return nil
	}
	const boundary = "_^$ "
	for i := 0; i < len(plain); i++ {
		end := i
		for end < len(plain) && plain[end] >= '0' && plain[end] <= '9' {
			end++
		}
		if end == i {
			continue
		}
		if i > 0 && strings.IndexByte(boundary, plain[i-1]) >= 0 && end < len(plain) && strings.IndexByte(boundary, plain[end]) >= 0 {
			if n, err := strconv.ParseUint(plain[i:end], 10, 32); err == nil {
				list = append(list, uint32(n))
			}
		}
		i = end - 1
	}
	return list
}

// routeKey reads family, prefix and how the prefix is meant.
func (c *call) routeKey(q *routeQuery) error {
	if p, ok := c.m.Prefix("prefix"); ok {
		q.prefix, q.match = p, rib.Exact
	} else if arg, a, ok := c.routeAddr(); ok {
		if a.Zone() != "" || a.Is4In6() {
			return c.invalidArg(arg, "A.B.C.D or X:X::X:X")
		}
		q.prefix, q.match = netip.PrefixFrom(a, a.BitLen()), rib.LPM
	} else if text := c.m.Value("nlri"); text != "" {
		q.nlri, q.match = text, rib.Exact
	}
	for word, m := range map[string]rib.Match{"exact": rib.Exact, "longer": rib.Longer, "shorter": rib.Shorter, "lpm": rib.LPM} {
		if c.m.Has(word) {
			q.match = m
		}
	}
	if q.nlri != "" && q.match != rib.Exact {
		return control.Errorf(control.CodeFailed, "Only prefixes have a longer, shorter or longest match")
	}
	family := c.m.Value("family")
	switch {
	case family != "":
		f, err := bgp.ParseFamily(family)
		if err != nil {
			return c.invalid("family", "a family")
		}
		if q.prefix.IsValid() && (!f.IsPrefix() || (f.AFI == 2) != q.prefix.Addr().Is6()) {
			arg, ok := c.m.Arg("prefix")
			if !ok {
				arg, _, _ = c.routeAddr()
			}
			return c.invalidArg(arg, "a route of "+f.String())
		}
		q.families = []bgp.Family{f}
	case q.prefix.IsValid() && q.rd != "":
		// An RD is one of a VPN route, or that of the peer.
		q.families = []bgp.Family{bgp.FamilyOf(q.prefix.Addr()), bgp.IPv4VPN}
		if q.prefix.Addr().Is6() {
			q.families[1] = bgp.IPv6VPN
		}
	case q.prefix.IsValid():
		q.families = []bgp.Family{bgp.FamilyOf(q.prefix.Addr())}
	default:
		q.all = true
		q.families = c.station.Store().Families()
		slices.SortFunc(q.families, bgp.Family.Compare)
		if q.nlri != "" {
			q.families = slices.DeleteFunc(q.families, bgp.Family.IsPrefix)
		}
	}
	return nil
}

// routeAddr is the address that is looked up, which is not that of a next hop.
func (c *call) routeAddr() (grammar.Arg, netip.Addr, bool) {
	for _, arg := range c.m.Args {
		if a, ok := arg.Value.(netip.Addr); ok && arg.Kind == "ADDR" && arg.After != "next-hop" {
			return arg, a, true
		}
	}
	return grammar.Arg{}, netip.Addr{}, false
}

// where says whether a table is among those asked.
func (q *routeQuery) where(o rib.Owner) bool {
	switch {
	case q.client != nil && o.Client != q.client.ID(),
		q.peer != nil && o.Peer != q.peer.ID,
		q.view != nil && o.View != uint8(*q.view),
		q.views != nil && !slices.Contains(q.views, bmp.View(o.View)),
		q.peers != nil && !q.peers[peerKey(o.Client, o.Peer)]:
		return false
	}
	return true
}

// run puts the question to the store. fn gets batches in a stable order; the
// routes in them are valid until it returns. limited says that the limit cut
// the answer short.
func (q *routeQuery) run(ctx context.Context, c *call, fn func(bgp.Family, []rib.Route) error) (limited bool, err error) {
	left := q.limit
	for _, f := range q.families {
		rq := rib.Query{Family: f, Where: q.where, PathID: q.pathID, Sorted: true}
		if len(q.attrs) > 0 {
			rq.Attrs = q.attributes
		}
		keep, err := q.key(c, f, &rq)
		if err != nil {
			return false, err
		}
		if keep == nil && left > 0 {
			rq.Limit = left + 1 // one more says that there was more
		}
		var kept []rib.Route
		err = c.station.Store().Query(ctx, rq, func(batch []rib.Route) error {
			if keep != nil {
				kept = kept[:0]
				for i := range batch {
					if keep(&batch[i]) {
						kept = append(kept, batch[i])
					}
				}
				batch = kept
			}
			full := q.limit > 0 && len(batch) > left
			if full {
				batch = batch[:left]
			}
			if len(batch) > 0 {
				left -= len(batch)
				if err := fn(f, batch); err != nil {
					return err
				}
			}
			if full {
				return errLimit
			}
			return nil
		})
		if errors.Is(err, errLimit) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// key completes a query of one family with what it looks for, and returns what
// has to be looked at route by route; nil when that is nothing.
func (q *routeQuery) key(c *call, f bgp.Family, rq *rib.Query) (keep func(*rib.Route) bool, err error) {
	var tests []func(*rib.Route) bool
	if q.stale {
		tests = append(tests, func(r *rib.Route) bool { return r.Stale || c.down(r.Table.Owner().Client) })
	}
	switch {
	case q.prefix.IsValid():
		var rd bgp.RD
		if f.HasRD() {
			if q.rd == "" {
				rq.AnyRD = true
			} else if rd, err = bgp.ParseRD(q.rd); err != nil {
				return nil, err
			}
		}
		rq.Match, rq.Key = q.match, bgp.AppendPrefixKey(nil, f, rd, q.prefix)
	case q.nlri != "":
		key, err := bgp.ParseKey(f, q.rd, q.nlri)
		if err == nil && (!f.HasRD() || q.rd != "") {
			rq.Match, rq.Key = rib.Exact, key
			break
		}
		// Without an RD, or in a family whose text cannot be read back, the text is compared.
		tests = append(tests, func(r *rib.Route) bool {
			_, text := bgp.KeyText(f, r.Key)
			return text == q.nlri
		})
	}
	if q.rd != "" && rq.Match == rib.All && f.HasRD() {
		want, err := bgp.ParseRD(q.rd)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(r *rib.Route) bool {
			rd, ok := bgp.KeyRD(f, r.Key)
			return ok && rd == want
		})
	}
	if q.rd != "" && !f.HasRD() {
		// The family has no RD: it is that of the peer.
		where := rq.Where
		rq.Where = func(o rib.Owner) bool { return where(o) && c.label(o.Client, o.Peer).RD == q.rd }
	}
	if len(tests) == 0 {
		return nil, nil
	}
	return func(r *rib.Route) bool {
		for _, ok := range tests {
			if !ok(r) {
				return false
			}
		}
		return true
	}, nil
}
