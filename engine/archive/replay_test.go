package archive

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// testSeed is ARCHIVE_SEED, or random; it is in the log of a test that fails.
func testSeed(t testing.TB) uint64 {
	seed := rand.Uint64()
	if v := os.Getenv("ARCHIVE_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("again with ARCHIVE_SEED=%d", seed)
	return seed
}

// naive is the second replay, against which the first is proven: it keeps every message and reads all of them again for
// every question, with plain maps and no search, and works out itself how tables are coded.
type naive struct {
	grace   time.Duration
	records []naiveRecord
}

type naiveRecord struct {
	at   time.Time
	kind Kind
	run  int
	raw  []byte
	of   naiveStale // of StaleDropped
}

// naiveStale is a table.
type naiveStale struct {
	peer   PeerKey
	view   bmp.View
	family bgp.Family
}

// put has the archive keep a record.
func (r *naiveRecord) put(p *Appender, ctx bgp.Context) {
	switch r.kind {
	case SessionStart:
		p.Begin(SessionRecord{Time: r.at})
	case SessionEnd:
		p.End(SessionRecord{Time: r.at})
	case StaleDropped:
		p.DropStale(r.at, 0, 0, r.of.peer, r.of.view, r.of.family)
	default:
		p.Append(&Entry{Time: r.at, Raw: r.raw, Context: ctx})
	}
}

type naiveTable struct {
	form, said bool
	votes      int
	messages   []func(form bool)            // to be applied again: of this session, since the peer came up or down
	told       int                          // in which it was announced to last
	routes     map[string]string            // to the record
	gens       map[string]int               // in which they were announced last
	since      map[string]time.Time         // when they became what they are
	renewed    map[string]map[int]time.Time // when each session since then announced them first
}

// drop takes out the routes that are not of a session.
func (t *naiveTable) drop(but int) {
	for id := range t.routes {
		if t.gens[id] != but {
			delete(t.routes, id)
		}
	}
}

// turn has the table read otherwise.
func (t *naiveTable) turn(form bool) {
	if t.votes = 0; t.form == form {
		return
	}
	t.form, t.routes = form, map[string]string{}
	for _, again := range t.messages {
		again(form)
	}
}

type naivePeer struct {
	up, session    int // generation of the last Peer Up, and in which it was spoken of
	told           int // in which it announced while down
	state          byte
	opens          [][2]string
	place          string
	in, out, local bgp.AddPathSet
	tables         map[string]*naiveTable
}

// replay is what is held after all records up to a time. Of each of them observe is told how the session would have read it,
// for Append.
func (n *naive) replay(until time.Time, observe func(i int, ctx bgp.Context)) (held map[string]string) {
	peers := map[PeerKey]*naivePeer{}
	gen, run := 0, 0
	var down time.Time
	begins := map[int]time.Time{}
	expire := func(now time.Time) {
		if gen < 2 {
			return
		}
		over := func(g int) bool { return g != gen && now.Sub(begins[g+1]) >= n.grace }
		for _, p := range peers {
			for _, t := range p.tables {
				for id := range t.routes {
					if over(t.gens[id]) {
						delete(t.routes, id)
					}
				}
			}
		}
	}
	wipe := func(p *naivePeer) {
		for _, t := range p.tables {
			t.routes, t.messages, t.votes = map[string]string{}, nil, 0
		}
	}
	for i, rec := range n.records {
		if rec.at.After(until) {
			break
		}
		if rec.run != run {
			clear(peers)
			run = rec.run
		}
		expire(rec.at)
		switch rec.kind {
		case SessionStart:
			gen, down = gen+1, time.Time{}
			begins[gen] = rec.at
			for _, p := range peers {
				for _, t := range p.tables {
					t.messages = nil
				}
			}
			continue
		case SessionEnd:
			down = rec.at
			for _, p := range peers {
				for _, t := range p.tables {
					if t.told == gen {
						t.drop(gen)
					}
				}
			}
			continue
		case StaleDropped:
			if p := peers[rec.of.peer]; p != nil {
				if t := p.tables[tableName(rec.of.view, rec.of.family)]; t != nil {
					t.drop(gen)
				}
			}
			continue
		}
		ctx := bgp.Context{AS4: true}
		f, err := bmp.FrameOf(rec.raw, 0)
		var m bmp.Message
		if err == nil {
			var parser bmp.Parser
			m, err = parser.Parse(f)
		}
		if err != nil || m.Peer() == nil {
			if observe != nil {
				observe(i, ctx)
			}
			continue
		}
		h := *m.Peer()
		p := peers[PeerKeyOf(&h)]
		if p == nil {
			p = &naivePeer{tables: map[string]*naiveTable{}}
			peers[PeerKeyOf(&h)] = p
		}
		switch m := m.(type) {
		case *bmp.PeerUp:
			pair := [2]string{string(m.SentOpen), string(m.ReceivedOpen)}
			place := fmt.Sprint(m.LocalAddress, m.LocalPort, m.RemotePort)
			known := slices.Contains(p.opens, pair)
			more := false
			if p.state == 'u' && p.up == gen {
				if known && (place == p.place || h.Type == bmp.LocRIBPeer) {
					break
				}
				if more = h.Type == bmp.LocRIBPeer; !more {
					wipe(p)
				}
			} else if p.up == gen && p.state == 'd' {
				wipe(p)
			}
			if !more {
				p.opens, p.place = nil, place
			}
			p.opens = append(p.opens, pair)
			p.state, p.up, p.session = 'u', gen, gen
			p.in, p.out, p.local = 0, 0, 0
			for _, o := range p.opens {
				sent, e1 := bgp.ParseOpen([]byte(o[0]))
				received, e2 := bgp.ParseOpen([]byte(o[1]))
				if e1 == nil && e2 == nil {
					p.in, p.out, p.local = p.in|bgp.AddPathIn(&sent, &received), p.out|bgp.AddPathOut(&sent, &received), p.local|bgp.AddPathListed(&sent)
				}
			}
			for name, t := range p.tables {
				if !more {
					t.messages = nil
				}
				form := t.form
				if said := p.says(name); said != t.said {
					t.said, form = said, said
				}
				t.turn(form)
			}
		case *bmp.PeerDown:
			// FRR says it of peers that have not come up since it began, which is no word on the routes before.
			if p.up == gen || p.told == gen || p.state == 0 || h.BGPID != [4]byte{} {
				wipe(p)
			}
			p.state, p.session = 'd', gen
		default:
			if !(p.state == 'u' && p.up == gen) && p.session != gen {
				p.session = gen
				if p.up != gen {
					p.state = 0
				}
			}
		}
		rm, ok := m.(*bmp.RouteMonitoring)
		if !ok {
			if observe != nil {
				observe(i, ctx)
			}
			continue
		}
		ctx.AS4 = h.AS4()
		var u bgp.Update
		if u.Parse(rm.Update, ctx) == nil {
			if two, four := u.ASPathWidths(); two != four {
				ctx.AS4 = four
			}
			for code, v := range rm.Capabilities() {
				if code == 69 {
					for ; len(v) >= 4; v = v[4:] {
						if v[3] != 0 {
							ctx.AddPath = ctx.AddPath.With(bgp.Family{AFI: uint16(v[0])<<8 | uint16(v[1]), SAFI: v[2]})
						}
					}
				}
				if code == 65 {
					ctx.AS4 = true
				}
			}
			stateless := f.Version >= 4
			u.Parse(rm.Update, ctx)
			if u.EoR {
				if t := p.tables[tableName(h.View(), u.EoRFamily)]; t != nil {
					t.drop(gen)
				}
			}
			for _, sec := range u.Sections(nil) {
				name := tableName(h.View(), sec.Family)
				t := p.tables[name]
				if t == nil {
					t = &naiveTable{routes: map[string]string{}, gens: map[string]int{}, since: map[string]time.Time{}, renewed: map[string]map[int]time.Time{}}
					p.tables[name] = t
					t.said = p.says(name)
					t.form = t.said
				}
				parses := func(form bool) bool {
					_, err := bgp.CheckNLRI(sec.Family, form, sec.Withdraw, sec.Field)
					return err == nil
				}
				asWithdraw := u.Malformed != nil && u.Malformed.Class >= bgp.TreatAsWithdraw
				pdu, c, g, at := rm.Update, ctx, gen, rec.at
				apply := func(form bool) {
					if stateless {
						form = c.AddPath.Has(sec.Family)
					}
					if !parses(form) {
						if form = !form; !parses(form) {
							return
						}
					}
					var u bgp.Update
					u.Parse(pdu, c)
					for it := bgp.SplitNLRI(sec.Family, form, sec.Withdraw, sec.Field); it.Next(); {
						id := fmt.Sprintf("%s %x %d", name, it.Key, it.PathID)
						if sec.Withdraw || asWithdraw {
							delete(t.routes, id)
							continue
						}
						if p.state == 'd' {
							p.told = g
						}
						rec := string(u.AppendRecord(nil, sec.Family, it.Extra))
						old, ok := t.routes[id]
						if !ok || old != rec {
							t.since[id], t.renewed[id] = at, map[int]time.Time{}
						}
						if _, ok := t.renewed[id][g]; !ok {
							t.renewed[id][g] = at
						}
						t.routes[id], t.gens[id] = rec, g
					}
				}
				form, turned := t.form, t.form
				switch {
				case !sec.Family.Splits():
				case stateless:
					form = ctx.AddPath.Has(sec.Family)
					turned = turned || form
				case parses(t.form) && parses(!t.form):
				case parses(t.form):
					t.votes = 0
				case parses(!t.form):
					form = !t.form
					if t.votes++; t.votes == 3 {
						turned = form
					}
				}
				if form {
					ctx.AddPath = ctx.AddPath.With(sec.Family)
				} else {
					ctx.AddPath = ctx.AddPath.Without(sec.Family)
				}
				if turned != t.form {
					t.turn(turned)
				}
				if !sec.Withdraw && !asWithdraw && parses(form) {
					t.told = gen
				}
				t.messages = append(t.messages, apply)
				apply(form)
			}
		}
		if observe != nil {
			observe(i, ctx)
		}
	}
	expire(until)
	held = map[string]string{}
	for k, p := range peers {
		for _, t := range p.tables {
			for id, rec := range t.routes {
				stale := t.gens[id] != gen || !down.IsZero()
				text := func(since time.Time) string {
					return fmt.Sprintf("%x %s %v", rec, since.Format(time.RFC3339Nano), stale)
				}
				may := []string{text(t.since[id])}
				// A search goes back to a session that began before the grace, and need not go further: it knows of what was
				// announced from then on.
				for g := 1; g <= gen && until.Sub(begins[g]) >= n.grace; g++ {
					var first time.Time
					for s, at := range t.renewed[id] {
						if s >= g && (first.IsZero() || at.Before(first)) {
							first = at
						}
					}
					may = append(may, text(first))
				}
				held[fmt.Sprint(k)+id] = strings.Join(may, "\n")
			}
		}
	}
	return held
}

func tableName(v bmp.View, f bgp.Family) string { return v.String() + " " + f.String() }

func (p *naivePeer) says(table string) bool {
	v, f, _ := bytes.Cut([]byte(table), []byte(" "))
	view, _ := bmp.ParseView(string(v))
	family, _ := bgp.ParseFamily(string(f))
	switch view {
	case bmp.AdjInPre, bmp.AdjInPost:
		return p.in.Has(family)
	case bmp.LocRIB:
		return p.local.Has(family)
	}
	return p.out.Has(family)
}

// heldText is what At answers, as naive has it.
func heldText(routes []Route) map[string]string {
	m := map[string]string{}
	for _, r := range routes {
		id := fmt.Sprintf("%s %x %d", tableName(r.View, r.Family), r.Key, r.PathID)
		m[fmt.Sprint(r.Peer)+id] = fmt.Sprintf("%x %s %v", r.Record, r.Since.Format(time.RFC3339Nano), r.Stale)
	}
	return m
}

func diffHeld(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	var lines []string
	for k, v := range want {
		if g, ok := got[k]; !ok || !slices.Contains(strings.Split(v, "\n"), g) {
			lines = append(lines, fmt.Sprintf("%s\n  want %.200s\n  got  %.200s", k, v, got[k]))
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			lines = append(lines, fmt.Sprintf("%s\n  not wanted: %.200s", k, v))
		}
	}
	sort.Strings(lines)
	if len(lines) > 0 {
		t.Fatalf("%s: %d of %d routes are wrong; the first:\n%s", what, len(lines), len(want), lines[0])
	}
}

// away are the times between sessions of which one end or both are from a time to a time.
func (n *naive) away(from, to time.Time) (list []Away) {
	var down time.Time
	for _, r := range n.records {
		switch {
		case r.kind == SessionEnd:
			down = r.at
		case r.kind == SessionStart && !down.IsZero() && !r.at.Before(from) && !r.at.After(to):
			list = append(list, Away{time.Unix(0, down.UnixNano()), time.Unix(0, r.at.UnixNano())})
		}
	}
	return list
}

// proveAt puts the records into an archive, and compares questions about random times with the naive replay.
func proveAt(t *testing.T, n *naive, rng *rand.Rand, questions int) {
	t.Helper()
	dir := t.TempDir()
	options := Options{Dir: dir, Grace: n.grace, list: 1 + 1000*rng.IntN(2)} // with lists of keys, or filters alone
	options.hour = max(n.records[len(n.records)-1].at.Sub(n.records[0].at)/time.Duration(1+rng.IntN(8)), time.Second)
	a := open(t, options)
	run := 0
	contexts := make([]bgp.Context, len(n.records))
	n.replay(n.records[len(n.records)-1].at, func(i int, ctx bgp.Context) { contexts[i] = ctx })
	for i, rec := range n.records {
		if rec.run != run {
			closeArchive(t, a)
			a, run = open(t, options), rec.run
		}
		rec.put(a.Client(1), contexts[i])
		if rng.IntN(len(n.records)/50+2) == 0 {
			syncArchive(t, a, 1) // small blocks, so that the filters leave some out
		}
	}
	syncArchive(t, a, 1)
	first, last := n.records[0].at, n.records[len(n.records)-1].at
	pruned := false
	for q := range questions {
		at := first.Add(time.Duration(rng.Int64N(int64(last.Sub(first)) + 1)))
		if q == 0 {
			at = last
		}
		held := n.replay(at, nil)
		h, err := a.At(bg, 1, Want{}, at)
		if err != nil || h.Incomplete || len(h.Corrupt) > 0 {
			t.Fatalf("%v, %+v", err, h.Walked)
		}
		diffHeld(t, fmt.Sprintf("everything at %s", at), heldText(h.Routes), held)
		if len(h.Routes) == 0 {
			continue
		}
		// One peer, and one prefix of it with those that others have.
		some := h.Routes[rng.IntN(len(h.Routes))]
		if q%4 == 0 {
			if err := a.Checkpoint(bg, 1, at, []PeerKey{some.Peer}); err != nil {
				t.Fatal(err)
			}
		}
		at2 := first.Add(time.Duration(rng.Int64N(int64(last.Sub(first)) + 1)))
		held = n.replay(at2, nil)
		of := map[string]string{}
		for k, v := range held {
			if len(k) > len(fmt.Sprint(some.Peer)) && k[:len(fmt.Sprint(some.Peer))] == fmt.Sprint(some.Peer) {
				of[k] = v
			}
		}
		h, err = a.At(bg, 1, Want{Peers: []PeerKey{some.Peer}}, at2)
		if err != nil {
			t.Fatal(err)
		}
		diffHeld(t, fmt.Sprintf("peer %v at %s", some.Peer, at2), heldText(h.Routes), of)
		all, _ := a.catalog.blocks(bg, 1, func(i *info) bool { return true })
		h, err = a.At(bg, 1, Want{Keys: []RouteKey{{some.Family, some.Key}}}, at2)
		if err != nil {
			t.Fatal(err)
		}
		pruned = pruned || int(h.Blocks) < len(all)
		of = map[string]string{}
		for k, v := range held {
			if bytes.Contains([]byte(k), fmt.Appendf(nil, " %s %x ", some.Family, some.Key)) {
				of[k] = v
			}
		}
		diffHeld(t, fmt.Sprintf("%s %x at %s", some.Family, some.Key, at2), heldText(h.Routes), of)
		// The history from one time to the other leads from what was held to what was held.
		t1, t2 := at, at2
		if t2.Before(t1) {
			t1, t2 = t2, t1
		}
		state := map[string]string{}
		var changes []Change
		h, err = a.History(bg, 1, Want{Keys: []RouteKey{{some.Family, some.Key}}}, t1, t2, func(c *Change) error {
			changes = append(changes, *c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(h.Away), fmt.Sprint(n.away(t1, t2)); got != want {
			t.Fatalf("from %v to %v away:\n  want %s\n  got  %s", t1, t2, want, got)
		}
		text := func(r *Route) (string, string) {
			return fmt.Sprint(r.Peer, r.View, r.PathID), fmt.Sprintf("%x", r.Record)
		}
		for i := range h.Routes {
			k, v := text(&h.Routes[i])
			state[k] = v
		}
		for i := range changes {
			k, v := text(&changes[i].Route)
			_, there := state[k]
			if there == (changes[i].Action == Announced) {
				t.Fatalf("history: %v of a route that is there: %v", changes[i].Action, there)
			}
			if state[k] = v; changes[i].Action == Withdrawn {
				delete(state, k)
			}
		}
		h, _ = a.At(bg, 1, Want{Keys: []RouteKey{{some.Family, some.Key}}}, t2)
		end := map[string]string{}
		for i := range h.Routes {
			k, v := text(&h.Routes[i])
			end[k] = v
		}
		diffHeld(t, "history", state, end)
	}
	if !pruned && len(n.records) > 2000 {
		t.Error("no question left a block out")
	}
}

// TestAtChurn: sessions, peers that flap, a restart of the station, ADD-PATH, over synthetic churn.
func TestAtChurn(t *testing.T) {
	first := testSeed(t)
	for round := range uint64(3) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(first+round, 7))
			n := &naive{grace: 30 * time.Second}
			at := time.Now().Add(-24 * time.Hour).Truncate(time.Millisecond)
			run := 0
			add := func(kind Kind, raw []byte) {
				n.records = append(n.records, naiveRecord{at: at, kind: kind, run: run, raw: bytes.Clone(raw)})
				at = at.Add(time.Duration(1+rng.IntN(20)) * time.Millisecond)
			}
			var peers []bmptest.Peer
			for i := range 5 {
				p := bmptest.NewPeer(fmt.Sprintf("10.0.0.%d", i+1), 65000)
				if i == 0 { // negotiated both ways
					p.Sent.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 3}}
					p.Received.AddPath = p.Sent.AddPath
				}
				if i == 1 { // negotiated, but never sent: FRR
					p.Sent.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 3}}
					p.Received.AddPath = p.Sent.AddPath
				}
				peers = append(peers, p)
			}
			peers = append(peers, bmptest.NewLocRIB("vrf1", 1, 65000))
			one := func(i int) {
				var s bmptest.Session
				p := peers[i]
				s.Time = at
				u := bmptest.Update{AddPath: i == 0}
				for range 1 + rng.IntN(4) {
					x := bmptest.Prefixes(fmt.Sprintf("10.%d.%d.0/24", rng.IntN(4), rng.IntN(64)))[0]
					if i == 0 {
						x.PathID = uint32(1 + rng.IntN(3))
					}
					if rng.IntN(3) == 0 {
						u.Withdraw = append(u.Withdraw, x)
					} else {
						u.Announce = append(u.Announce, x)
					}
				}
				if len(u.Announce) > 0 {
					u.ASPath = []uint32{65000, uint32(rng.IntN(3) + 1)}
				}
				v := bmp.AdjInPre
				if p.Header.Type == bmp.LocRIBPeer {
					v = bmp.LocRIB
				} else if rng.IntN(4) == 0 {
					v = bmp.AdjInPost
				}
				if s.Monitor(p, v, u.Bytes()); len(u.Announce)+len(u.Withdraw) > 0 {
					add(MessageRecord, s.Bytes())
				}
			}
			up := func(i int) { add(MessageRecord, new(bmptest.Session).PeerUp(peers[i]).Bytes()) }
			add(SessionStart, nil)
			for i := range peers {
				up(i)
			}
			for range 3000 {
				switch x := rng.IntN(1000); {
				case x < 4:
					add(MessageRecord, new(bmptest.Session).PeerDown(peers[rng.IntN(len(peers))], bmp.DownRemote, nil).Bytes())
				case x < 10:
					up(rng.IntN(len(peers)))
				case x < 12:
					add(SessionEnd, nil)
					at = at.Add(time.Duration(rng.IntN(20)) * time.Second)
					if rng.IntN(2) == 0 {
						run++
					}
					add(SessionStart, nil)
					for i := range peers {
						if rng.IntN(4) > 0 {
							up(i)
						}
					}
				case x < 20:
					i := rng.IntN(len(peers))
					v := bmp.AdjInPre
					if i == 5 {
						v = bmp.LocRIB
					}
					add(MessageRecord, new(bmptest.Session).EndOfRIB(peers[i], v, bmptest.IPv4Unicast).Bytes())
				case x < 24:
					i := rng.IntN(len(peers))
					of := naiveStale{PeerKeyOf(&peers[i].Header), bmp.AdjInPre, bgp.IPv4Unicast}
					if i == 5 {
						of.view = bmp.LocRIB
					}
					add(StaleDropped, nil)
					n.records[len(n.records)-1].of = of
				case x < 26:
					p := peers[2]
					p.RemotePort = uint16(rng.IntN(3))
					add(MessageRecord, new(bmptest.Session).PeerUp(p).Bytes())
				default:
					one(rng.IntN(len(peers)))
				}
			}
			proveAt(t, n, rng, 12)
		})
	}
}

// TestHistoryBeginsAfterGrace: a route whose grace was over before the time asked for is not told of as withdrawn.
func TestHistoryBeginsAfterGrace(t *testing.T) {
	a := open(t, Options{Grace: 30 * time.Second})
	c := a.Client(1)
	at := time.Now().Add(-time.Hour)
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	put := func(s *bmptest.Session) {
		for _, m := range s.Messages() {
			c.Append(&Entry{Time: at, Raw: m, Context: bgp.Context{AS4: true}})
		}
	}
	route := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("192.0.2.0/24")}.Bytes()
	c.Begin(SessionRecord{Time: at})
	put(new(bmptest.Session).PeerUp(peer).Monitor(peer, bmp.AdjInPre, route))
	at = at.Add(time.Second)
	c.End(SessionRecord{Time: at})
	c.Begin(SessionRecord{Time: at})
	from := at.Add(time.Minute) // beyond the grace, of which no message has told yet
	at = from.Add(time.Second)
	c.End(SessionRecord{Time: at})
	syncArchive(t, a, 1)
	key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("192.0.2.0/24"))
	var changes []Change
	h, err := a.History(bg, 1, Want{Keys: []RouteKey{{bgp.IPv4Unicast, key}}}, from, at, func(c *Change) error {
		changes = append(changes, *c)
		return nil
	})
	if err != nil || len(h.Routes) > 0 || len(changes) > 0 {
		t.Errorf("%v, held at first: %v, told: %v", err, h.Routes, changes)
	}
}

// TestAtStreams is the same on the recorded streams.
func TestAtStreams(t *testing.T) {
	// Sessions begin with what makes them differ: OPENs, tables, End-of-RIB. What follows is more of the same.
	most := 1000
	if testing.Short() {
		most = 300
	}
	for name, stream := range dataStreams(t, 1<<20) {
		messages := framesOf(t, stream)
		if len(messages) < 2 {
			continue
		}
		messages = messages[:min(len(messages), most)]
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(len(messages)), 3))
			n := &naive{grace: 10 * time.Minute}
			at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
			n.records = append(n.records, naiveRecord{at: at, kind: SessionStart})
			for _, m := range messages {
				at = at.Add(time.Duration(rng.IntN(50)) * time.Millisecond)
				n.records = append(n.records, naiveRecord{at: at, raw: m})
			}
			proveAt(t, n, rng, 2)
		})
	}
}
