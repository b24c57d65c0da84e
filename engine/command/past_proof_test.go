package command

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bmp/engine"
	"bmp/engine/client"
	"bmp/engine/streamtest"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
	"bmp/proto/control"
)

// pastSeed is PAST_SEED, or random; it is in the log of a test that fails.
func pastSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if v := os.Getenv("PAST_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("again with PAST_SEED=%d", seed)
	return seed
}

// said is one thing that happened between two marks: a message of a router, or the end of its session.
type said struct {
	router string
	raw    []byte // nil: the session ended
}

// naiveRoute is a route of the naive replay.
type naiveRoute struct {
	text string // its attributes
	gen  int
}

// replayNaively reads raw messages from the first one on, with maps and nothing else: what do the clients hold after them,
// by client, peer, view, family, prefix and path ID? addPath says which peers have path IDs.
func replayNaively(list []said, addPath map[string]bool) map[string]string {
	type peer struct {
		open   string
		gen    int
		routes map[string]naiveRoute // by view, family, prefix, path ID
		told   map[string]int        // by view and family: the session that announced to it last
	}
	type router struct {
		gen   int
		up    bool
		peers map[string]*peer
	}
	routers := map[string]*router{}
	for _, s := range list {
		r := routers[s.router]
		if r == nil {
			r = &router{peers: map[string]*peer{}}
			routers[s.router] = r
		}
		if s.raw == nil {
			// What was stale before goes, where the session announced anything to the table.
			for _, p := range r.peers {
				maps.DeleteFunc(p.routes, func(k string, n naiveRoute) bool {
					f := strings.Fields(k)
					return n.gen != r.gen && p.told[f[0]+" "+f[1]] == r.gen
				})
			}
			r.up = false
			continue
		}
		if !r.up {
			r.up = true
			r.gen++
		}
		f, err := bmp.FrameOf(s.raw, 0)
		if err != nil {
			panic(err)
		}
		var parser bmp.Parser
		m, err := parser.Parse(f)
		if err != nil {
			panic(err)
		}
		h := m.Peer()
		if h == nil {
			continue
		}
		name := "loc-rib"
		if h.Type != bmp.LocRIBPeer {
			name = h.Address.String()
		}
		p := r.peers[name]
		if p == nil {
			p = &peer{routes: map[string]naiveRoute{}, told: map[string]int{}}
			r.peers[name] = p
		}
		switch m := m.(type) {
		case *bmp.PeerUp:
			// A Loc-RIB has no session that could be another one: one Peer Up for each of its families is usual.
			open := string(m.SentOpen) + string(m.ReceivedOpen) + fmt.Sprint(m.LocalPort, m.RemotePort)
			if p.gen == r.gen && p.open != open && (name != "loc-rib" || p.open == "") {
				clear(p.routes)
			}
			p.gen, p.open = r.gen, open
		case *bmp.PeerDown:
			clear(p.routes)
			p.open = ""
		case *bmp.RouteMonitoring:
			ctx := bgp.Context{AS4: true}
			if addPath[name] {
				ctx.AddPath = ctx.AddPath.With(bgp.IPv4Unicast)
			}
			var u bgp.Update
			if err := u.Parse(m.Update, ctx); err != nil {
				panic(err)
			}
			table := h.View().Key() + " "
			if u.EoR {
				maps.DeleteFunc(p.routes, func(k string, n naiveRoute) bool {
					return strings.HasPrefix(k, table+u.EoRFamily.String()+" ") && n.gen != r.gen
				})
			}
			for _, sec := range u.Sections(nil) {
				for it := bgp.SplitNLRI(sec.Family, sec.AddPath, sec.Withdraw, sec.Field); it.Next(); {
					_, prefix := bgp.KeyText(sec.Family, it.Key)
					id := fmt.Sprintf("%s%s %s %d", table, sec.Family, prefix, it.PathID)
					if sec.Withdraw {
						delete(p.routes, id)
						continue
					}
					p.told[table+sec.Family.String()] = r.gen
					a := bgp.Decode(u.AppendRecord(nil, sec.Family, it.Extra), sec.Family)
					med := "-"
					if a.MED != nil {
						med = fmt.Sprint(*a.MED)
					}
					p.routes[id] = naiveRoute{text: fmt.Sprintf("hop %s path %s med %s", a.NextHop, a.ASPath, med), gen: r.gen}
				}
			}
		}
	}
	held := map[string]string{}
	for rn, r := range routers {
		for pn, p := range r.peers {
			for id, n := range p.routes {
				held[rn+" "+pn+" "+id] = fmt.Sprintf("%s stale %v", n.text, n.gen != r.gen || !r.up)
			}
		}
	}
	return held
}

// heldOf asks for routes and writes them as replayNaively does.
func (ts *testStation) heldOf(line string) map[string]string {
	ts.t.Helper()
	doc := ts.askedOfPast(line)
	held := map[string]string{}
	for _, e := range doc {
		m := e.(map[string]any)
		k, v := routeText(m)
		if _, ok := held[k]; ok {
			ts.t.Errorf("%s: %s twice", line, k)
		}
		held[k] = v
	}
	return held
}

// askedOfPast asks for a list, which is empty where nothing had been said of the peer by then.
func (ts *testStation) askedOfPast(line string) []any {
	ts.t.Helper()
	if strings.Contains(line, " peer ") {
		v, err := ts.console.Do(ts.t.Context(), line, func(control.Line) error { return nil })
		if e := new(control.Error); err == nil && errors.As(v.Err(), &e) && e.Code == control.CodeNotFound && strings.HasPrefix(e.Text, "No peer ") {
			return nil
		}
	}
	doc, _ := ts.asked(line + " | json").([]any)
	return doc
}

func routeText(m map[string]any) (key, value string) {
	dash := func(v any) any {
		if v == nil {
			return "-"
		}
		return v
	}
	peer, id := m["peer"], m["path_id"]
	if peer == nil {
		peer = "loc-rib"
	}
	if id == nil {
		id = 0
	}
	return fmt.Sprintf("%v %v %v %v %v %v", m["client_name"], peer, m["view"], m["family"], m["prefix"], id),
		fmt.Sprintf("hop %v path %v med %v stale %v", m["next_hop"], m["as_path"], dash(m["med"]), m["stale"])
}

// sameHeld compares what was answered with what the naive replay holds, of the keys that want is true of.
func sameHeld(t *testing.T, what string, got, held map[string]string, want func(key string) bool) {
	t.Helper()
	n := 0
	for k, v := range held {
		if want != nil && !want(k) {
			continue
		}
		n++
		if got[k] != v {
			t.Fatalf("%s: %s\n  want %s\n  got  %s", what, k, v, got[k])
		}
	}
	if n != len(got) {
		for k := range got {
			if _, ok := held[k]; !ok || want != nil && !want(k) {
				t.Fatalf("%s: %d routes, want %d; not wanted: %s", what, len(got), n, k)
			}
		}
	}
}

// churn is what random routers say; from is the batch from which on the station ran, as one started anew holds nothing.
type churn struct {
	rng     *rand.Rand
	peers   map[string][]bmptest.Peer // by router
	addPath map[string]bool
	batches [][]said
	marks   []string
	from    []int // of each batch
}

func newChurn(seed uint64) *churn {
	c := &churn{rng: rand.New(rand.NewPCG(seed, 5)), peers: map[string][]bmptest.Peer{}, addPath: map[string]bool{"10.0.0.1": true}}
	for _, r := range []string{"edge1", "edge2"} {
		for i := range 3 {
			p := bmptest.NewPeer(fmt.Sprintf("10.0.0.%d", i+1), 65001+uint32(i))
			if c.addPath[p.Header.Address.String()] {
				p.Sent.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 3}}
				p.Received.AddPath = p.Sent.AddPath
			}
			c.peers[r] = append(c.peers[r], p)
		}
		c.peers[r] = append(c.peers[r], bmptest.NewPeer("2001:db8::9", 65009), bmptest.NewLocRIB("vrf", 0, 65000))
	}
	return c
}

func (c *churn) begin(router string) (list []said) {
	s := new(bmptest.Session).Initiation(router, "")
	for _, p := range c.peers[router] {
		if c.rng.IntN(6) > 0 || p.Header.Type == bmp.LocRIBPeer || len(p.Sent.AddPath) > 0 {
			s.PeerUp(p)
		}
	}
	for _, m := range s.Messages() {
		list = append(list, said{router, m})
	}
	return list
}

func (c *churn) update(router string) (list []said) {
	s := new(bmptest.Session)
	p := c.peers[router][c.rng.IntN(len(c.peers[router]))]
	view, family := bmp.AdjInPre, bmptest.IPv4Unicast
	switch {
	case p.Header.Type == bmp.LocRIBPeer:
		view = bmp.LocRIB
	case c.rng.IntN(3) == 0:
		view = bmp.AdjInPost
	}
	if p.Header.Address.Is6() {
		family = bmptest.IPv6Unicast
	}
	switch x := c.rng.IntN(60); {
	case x == 0:
		s.PeerDown(p, bmp.DownRemote, nil)
	case x <= 2:
		s.PeerUp(p)
	case x == 3:
		p.RemotePort += uint16(c.rng.IntN(2))
		s.PeerUp(p)
	case x == 4:
		s.EndOfRIB(p, view, family)
	default:
		with := c.addPath[p.Header.Address.String()]
		u := bmptest.Update{AddPath: with}
		for range 1 + c.rng.IntN(3) {
			n := bmptest.Prefixes(c.prefix(family))[0]
			if with {
				n.PathID = uint32(1 + c.rng.IntN(2))
			}
			if c.rng.IntN(3) == 0 {
				u.Withdraw = append(u.Withdraw, n)
			} else {
				u.Announce = append(u.Announce, n)
			}
		}
		if len(u.Announce) > 0 {
			med := uint32(c.rng.IntN(3))
			u.ASPath, u.MED, u.NextHop = []uint32{p.Header.AS, 65100 + uint32(c.rng.IntN(3))}, &med, p.Header.Address
			if !u.NextHop.IsValid() {
				u.NextHop = netip.MustParseAddr("192.0.2.1")
			}
		}
		s.Monitor(p, view, u.Bytes())
	}
	for _, m := range s.Messages() {
		list = append(list, said{router, m})
	}
	return list
}

// prefix is one of few, some inside of others.
func (c *churn) prefix(f bmptest.Family) string {
	bits := []int{16, 20, 24}[c.rng.IntN(3)]
	a := netip.AddrFrom4([4]byte{10, byte(c.rng.IntN(2)), byte(c.rng.IntN(4) * 16), 0})
	if f == bmptest.IPv6Unicast {
		a, bits = netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", c.rng.IntN(8))), bits+24
	}
	p, _ := a.Prefix(bits)
	return p.String()
}

// tell has the routers say it, and notes the moment behind it.
func (ts *testStation) tell(list []said) {
	ts.t.Helper()
	for len(list) > 0 {
		n := 0
		s := new(bmptest.Session)
		for n < len(list) && list[n].router == list[0].router && list[n].raw != nil {
			s.Raw(list[n].raw)
			n++
		}
		r := ts.routers[list[0].router]
		if r == nil {
			// From the same address each time, so that it is the same client.
			from := "127.0.0.11"
			if list[0].router == "edge2" {
				from = "127.0.0.12"
			}
			r = dialRouter(ts.t, ts.Station, from)
			ts.routers[list[0].router] = r
		}
		if n > 0 {
			r.send(ts.Station, s)
		} else {
			n = 1
			r.conn.Close()
			waitFor(ts.t, "the session to end", func() bool { return r.client(ts.Station).Brief().State == client.Down })
			delete(ts.routers, list[0].router)
		}
		list = list[n:]
	}
}

// run lets the routers talk for some batches.
func (c *churn) run(ts *testStation, batches int) {
	ts.t.Helper()
	from := len(c.batches)
	up := map[string]bool{}
	for range batches {
		var b []said
		for range 1 + c.rng.IntN(30) {
			r := []string{"edge1", "edge2"}[c.rng.IntN(2)]
			switch {
			case !up[r]:
				b = append(b, c.begin(r)...)
				up[r] = true
			case c.rng.IntN(60) == 0:
				b = append(b, said{router: r})
				up[r] = false
			default:
				b = append(b, c.update(r)...)
			}
		}
		ts.tell(b)
		ts.mark("M")
		c.batches, c.marks, c.from = append(c.batches, b), append(c.marks, ts.marks["M"]), append(c.from, from)
	}
}

// held is the naive replay up to a mark.
func (c *churn) held(mark int) map[string]string {
	return replayNaively(slices.Concat(c.batches[c.from[mark]:mark+1]...), c.addPath)
}

// prove asks random questions about random times.
func (c *churn) prove(ts *testStation, questions int) {
	t := ts.t.(*testing.T)
	t.Helper()
	for range questions {
		mark := c.rng.IntN(len(c.marks))
		held, at := c.held(mark), " at "+c.marks[mark]
		ts.handler.pastOnly = c.rng.IntN(2) == 0
		family := []bmptest.Family{bmptest.IPv4Unicast, bmptest.IPv6Unicast}[c.rng.IntN(5)/4]
		prefix := c.prefix(family)
		has := func(k string) bool { return strings.Contains(k, " "+prefix+" ") }
		line := "show bgp " + prefix + at
		sameHeld(t, line, ts.heldOf(line), held, has)
		line = "show bgp " + prefix + " view adj-in-post client edge1" + at
		sameHeld(t, line, ts.heldOf(line), held, func(k string) bool {
			return has(k) && strings.HasPrefix(k, "edge1 ") && strings.Contains(k, " adj_in_post ")
		})
		line = "show bgp " + prefix + " med 1" + at
		sameHeld(t, line, ts.heldOf(line), held, func(k string) bool { return has(k) && strings.Contains(held[k], " med 1 ") })
		peer := []string{"10.0.0.1", "10.0.0.3", "2001:db8::9", "loc-rib"}[c.rng.IntN(4)]
		line = "show client edge2 peer " + peer + " routes" + at
		sameHeld(t, line, ts.heldOf(line), held, func(k string) bool { return strings.HasPrefix(k, "edge2 "+peer+" ") })
		line = "show bgp all" + at
		sameHeld(t, line, ts.heldOf(line), held, nil)
		inside := netip.MustParsePrefix(prefix)
		line = "show bgp " + prefix + " longer" + at
		sameHeld(t, line, ts.heldOf(line), held, func(k string) bool {
			p := netip.MustParsePrefix(strings.Fields(k)[4])
			return p.Bits() >= inside.Bits() && inside.Contains(p.Addr())
		})
		// The longest match: of each table, the longest of those that cover the address.
		addr := inside.Addr().Next()
		longest := map[string]int{}
		table := func(k string) string { return strings.Join(strings.Fields(k)[:4], " ") }
		for k := range held {
			if p := netip.MustParsePrefix(strings.Fields(k)[4]); p.Contains(addr) {
				longest[table(k)] = max(longest[table(k)], p.Bits())
			}
		}
		line = "show bgp " + addr.String() + at
		sameHeld(t, line, ts.heldOf(line), held, func(k string) bool {
			p := netip.MustParsePrefix(strings.Fields(k)[4])
			return p.Contains(addr) && p.Bits() == longest[table(k)]
		})
		// The way from one time to another: step by step, and at once.
		other := c.rng.IntN(len(c.marks))
		if other < mark {
			mark, other, held = other, mark, c.held(other)
		}
		c.proveChanges(ts, fmt.Sprintf("show bgp %s from %s to %s", prefix, c.marks[mark], c.marks[other]), c.held(mark), c.held(other), has)
		c.proveChanges(ts, fmt.Sprintf("show bgp %s diff %s %s", prefix, c.marks[mark], c.marks[other]), c.held(mark), c.held(other), has)
		c.proveChanges(ts, fmt.Sprintf("show diff client edge2 peer %s at %s %s", peer, c.marks[mark], c.marks[other]), c.held(mark), c.held(other),
			func(k string) bool { return strings.HasPrefix(k, "edge2 "+peer+" ") })
	}
}

// proveChanges applies changes to what was held at the first time, which must lead to what was held at the second. That
// routes become stale is no change.
func (c *churn) proveChanges(ts *testStation, line string, before, after map[string]string, want func(string) bool) {
	t := ts.t.(*testing.T)
	t.Helper()
	fresh := func(held map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range held {
			if want(k) {
				out[k], _, _ = strings.Cut(v, " stale")
			}
		}
		return out
	}
	state, end := fresh(before), fresh(after)
	net := strings.Contains(line, " diff ")
	doc := ts.askedOfPast(line)
	for _, e := range doc {
		m := e.(map[string]any)
		k, v := routeText(m)
		v, _, _ = strings.Cut(v, " stale")
		old, there := state[k]
		switch m["action"] {
		case "announce":
			if there {
				t.Fatalf("%s: %s announced, and was there", line, k)
			}
			state[k] = v
		case "change":
			if !there || old == v {
				t.Fatalf("%s: %s changed from %q to %q", line, k, old, v)
			}
			state[k] = v
		case "withdraw":
			if !there || net && old != v {
				t.Fatalf("%s: %s withdrawn as %q, and was %q", line, k, v, old)
			}
			delete(state, k)
		}
	}
	sameHeld(t, line, state, end, nil)
}

// What is said of the past is what a naive replay of the raw messages up to then holds: while the station runs, and after
// a restart of it, when the routers are gone.
func TestPastProven(t *testing.T) {
	first := pastSeed(t)
	for round := range uint64(3) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			c := newChurn(first + round)
			dir := t.TempDir()
			t.Run("running", func(t *testing.T) {
				ts := startStation(t, withArchive(dir))
				c.run(ts, 15)
				c.prove(ts, 6)
			})
			t.Run("restarted", func(t *testing.T) {
				ts := startStation(t, withArchive(dir))
				c.prove(ts, 6)
				c.run(ts, 8)
				c.prove(ts, 6)
			})
		})
	}
}

// TestPastOfStreams has recorded routers talk to a station, and asks it about random times: it must say what a second
// station says that was told the messages up to then and nothing else.
func TestPastOfStreams(t *testing.T) {
	for name, messages := range recorded(t) {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(len(messages)), 9))
			ts := startStation(t, withArchive(t.TempDir()))
			var marks []string
			var ends []int
			for n := 0; n < len(messages); {
				k := min(len(messages), n+1+rng.IntN(len(messages)/4+1))
				ts.tell(messages[n:k])
				ts.mark("M")
				n = k
				marks, ends = append(marks, ts.marks["M"]), append(ends, n)
			}
			at := rng.IntN(len(marks))
			second := startStation(t, engine.Options{})
			second.tell(messages[:ends[at]])
			list := func(ts *testStation, line string) (out []string) {
				doc, _ := ts.asked(line + " | json").([]any)
				for _, e := range doc {
					m := e.(map[string]any)
					delete(m, "since") // when the second was told it
					out = append(out, fmt.Sprint(m))
				}
				return out
			}
			for _, pastOnly := range []bool{true, false} {
				ts.handler.pastOnly = pastOnly
				now, then := list(second, "show bgp all"), list(ts, "show bgp all at "+marks[at])
				if !slices.Equal(now, then) {
					for i := range min(len(now), len(then)) {
						if now[i] != then[i] {
							t.Fatalf("all at %d of %d: route %d\n  want %s\n  got  %s", ends[at], len(messages), i, now[i], then[i])
						}
					}
					t.Fatalf("all at %d of %d: %d routes, want %d", ends[at], len(messages), len(then), len(now))
				}
				doc, _ := second.asked("show bgp all limit 100000 | json").([]any)
				const enough = 4000 // routes compared: a peer of some streams has thousands
				for n, compared := 0, 0; n < min(5, len(doc)) && compared < enough; n++ {
					m := doc[rng.IntN(len(doc))].(map[string]any)
					for _, question := range []string{
						fmt.Sprintf("show bgp %v %v", m["family"], m["prefix"]),
						fmt.Sprintf("show client 1 peer %v routes", m["peer_id"]),
						fmt.Sprintf("show client 1 peer %v routes %v", m["peer_id"], strings.ReplaceAll(fmt.Sprint(m["view"]), "_", "-")),
					} {
						if strings.ContainsAny(question, `"|' `+"\t") && strings.Count(question, " ") > 7 {
							continue // not to be typed without quotes
						}
						now, then := list(second, question), list(ts, question+" at "+marks[at])
						compared += len(now)
						if !slices.Equal(now, then) {
							t.Fatalf("%s at %d of %d: %d routes, want %d\n  want %.300q\n  got  %.300q", question, ends[at], len(messages), len(then), len(now), now, then)
						}
					}
				}
			}
		})
	}
}

// recorded reads the recorded streams, the first messages of each.
func recorded(t *testing.T) map[string][]said {
	t.Helper()
	most := 32 << 10 // bytes of each
	if testing.Short() {
		most /= 8
	}
	streams := make(map[string][]said)
	for _, name := range streamtest.Files(t) {
		frames := bmp.NewReader(streamtest.Open(t, name), bmp.ReaderOptions{})
		var list []said
		for size := 0; size < most; {
			fr, err := frames.Next()
			if err != nil {
				break
			}
			size += len(fr.Raw)
			list = append(list, said{"edge", slices.Clone(fr.Raw)})
		}
		frames.Close()
		if len(list) > 1 {
			streams[filepath.Base(name)] = list
		}
	}
	return streams
}
