package rib

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"bmp/proto/bgp"
)

var testEpoch = time.Unix(1_700_000_000, 0)

// testSeed is RIB_SEED, or random; it is in the log of a test that fails.
func testSeed(t testing.TB) uint64 {
	seed := rand.Uint64()
	if v := os.Getenv("RIB_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("again with RIB_SEED=%d", seed)
	return seed
}

func testStore(t testing.TB, o Options) *Store {
	o.Epoch = testEpoch
	s := New(o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// modelKey and modelRoute are a route in the naive map.
type modelKey struct {
	key  string
	path uint32
}

type modelRoute struct {
	rec   string
	since time.Time
	stale bool
}

// modelTable is a table beside what should be in it.
type modelTable struct {
	t       *Table
	routes  map[modelKey]modelRoute
	counts  Counts
	emptied time.Time
}

// model is a store beside what should be in it.
type model struct {
	s       *Store
	w       *Writer
	rnd     *rand.Rand
	tables  []*modelTable
	now     time.Time
	changed map[bgp.Family]map[string]time.Time // last withdrawal or replacement
	keys    map[bgp.Family][][]byte             // what announcements choose from
	recs    [][]byte
	client  uint32
}

var modelFamilies = []bgp.Family{
	bgp.IPv4Unicast, bgp.IPv6Unicast, bgp.IPv4VPN, bgp.IPv6VPN, bgp.L2VPNEVPN, bgp.IPv4FlowSpec, bgp.IPv4Labeled, {AFI: 9999, SAFI: 99},
}

func newModel(s *Store, seed, stream uint64, keys, recs int) *model {
	m := &model{
		s: s, w: s.NewWriter(), rnd: rand.New(rand.NewPCG(seed, stream)), now: testEpoch.Add(time.Hour),
		changed: map[bgp.Family]map[string]time.Time{}, keys: map[bgp.Family][][]byte{}, client: uint32(stream),
	}
	for _, f := range modelFamilies {
		m.changed[f] = map[string]time.Time{}
		for range keys {
			m.keys[f] = append(m.keys[f], randomKey(m.rnd, f))
		}
	}
	for range recs {
		m.recs = append(m.recs, randomRecord(m.rnd))
	}
	return m
}

func randomKey(r *rand.Rand, f bgp.Family) []byte {
	p := shapeOf(f)
	if p == shapeOpaque {
		key := make([]byte, r.IntN(40))
		for i := range key {
			key[i] = byte(r.IntN(3))
		}
		return key
	}
	bits := r.IntN(p.maxBits() + 1)
	key := []byte{byte(bits)}
	if p.rd() > 0 {
		key = append(key, 0, 0, 0, 1, 0, 0, 0, byte(r.IntN(3)))
	}
	body := make([]byte, p.maxBits()/8)
	for i := range body {
		body[i] = byte(r.IntN(2)) << 7 // few, so that prefixes cover each other
	}
	return p.shorten(nil, append(key, body...), bits)
}

func randomRecord(r *rand.Rand) []byte {
	n := 20 + r.IntN(100)
	if r.IntN(200) == 0 {
		n = r.IntN(5000)
	}
	rec := make([]byte, n)
	for i := range rec {
		rec[i] = byte(r.Uint32())
	}
	return rec
}

func (m *model) addTable(f bgp.Family, addPath bool) {
	o := Owner{Client: m.client, Peer: uint32(len(m.tables)), View: uint8(m.rnd.IntN(5)), Family: f}
	t := m.s.NewTable(o, addPath)
	m.tables = append(m.tables, &modelTable{t: t, routes: map[modelKey]modelRoute{}})
}

func (m *model) pick() *modelTable { return m.tables[m.rnd.IntN(len(m.tables))] }

func (m *model) announce(t *modelTable, key []byte, path uint32, rec []byte) {
	m.w.Announce(t.t, key, path, rec, m.now)
	if !t.t.AddPath() {
		path = 0
	}
	k := modelKey{string(key), path}
	old, ok := t.routes[k]
	switch {
	case !ok:
		t.counts.Added++
		t.routes[k] = modelRoute{string(rec), m.now, false}
	case old.rec == string(rec):
		t.counts.Unchanged++
		old.stale = false
		t.routes[k] = old
	default:
		t.counts.Changed++
		t.routes[k] = modelRoute{string(rec), m.now, false}
		m.changed[t.t.Owner().Family][k.key] = m.now
	}
}

func (m *model) withdraw(t *modelTable, key []byte, path uint32) {
	m.w.Withdraw(t.t, key, path, m.now)
	if !t.t.AddPath() {
		path = 0
	}
	k := modelKey{string(key), path}
	if _, ok := t.routes[k]; !ok {
		t.counts.NotFound++
		return
	}
	t.counts.Withdrawn++
	delete(t.routes, k)
	m.changed[t.t.Owner().Family][k.key] = m.now
}

func (m *model) dropStale(t *modelTable) (n int) {
	for k, r := range t.routes {
		if r.stale {
			n++
			delete(t.routes, k)
			m.changed[t.t.Owner().Family][k.key] = m.now
		}
	}
	return n
}

// step does one random thing.
func (m *model) step(tb testing.TB) {
	m.now = m.now.Add(time.Duration(m.rnd.IntN(3)) * 125 * time.Millisecond)
	switch x := m.rnd.IntN(1000); {
	case x < 600: // an UPDATE, or many
		t := m.pick()
		n := 1 + m.rnd.IntN(4)
		if m.rnd.IntN(20) == 0 {
			n = m.rnd.IntN(600)
		}
		keys := m.keys[t.t.Owner().Family]
		rec := m.recs[m.rnd.IntN(len(m.recs))]
		for range n {
			if m.rnd.IntN(6) == 0 {
				rec = m.recs[m.rnd.IntN(len(m.recs))]
			}
			m.announce(t, keys[m.rnd.IntN(len(keys))], uint32(m.rnd.IntN(3)), rec)
		}
	case x < 900:
		t := m.pick()
		keys := m.keys[t.t.Owner().Family]
		for range 1 + m.rnd.IntN(6) {
			m.withdraw(t, keys[m.rnd.IntN(len(keys))], uint32(m.rnd.IntN(3)))
		}
	case x < 930:
		m.w.Flush()
	case x < 950: // peer down
		t := m.pick()
		m.w.Flush()
		if n := t.t.Clear(m.now); n != len(t.routes) {
			tb.Fatalf("Clear returned %d, want %d", n, len(t.routes))
		}
		clear(t.routes)
		t.emptied = m.now
	case x < 970:
		t := m.pick()
		m.w.Flush()
		want := m.dropStale(t)
		if n := t.t.BeginRefresh(m.now); n != want {
			tb.Fatalf("BeginRefresh returned %d, want %d", n, want)
		}
		for k, r := range t.routes {
			r.stale = true
			t.routes[k] = r
		}
	case x < 980:
		t := m.pick()
		m.w.Flush()
		want := m.dropStale(t)
		if n := t.t.SweepStale(m.now); n != want {
			tb.Fatalf("SweepStale returned %d, want %d", n, want)
		}
	case x < 985: // most keys go, others come
		for _, f := range modelFamilies {
			for i := range m.keys[f] {
				if m.rnd.IntN(3) == 0 {
					m.keys[f][i] = randomKey(m.rnd, f)
				}
			}
		}
		for i := range m.recs {
			if m.rnd.IntN(3) == 0 {
				m.recs[i] = randomRecord(m.rnd)
			}
		}
	case x < 990: // withdraw nearly all of a table
		t := m.pick()
		for _, k := range slices.SortedFunc(maps.Keys(t.routes), compareModelKeys) {
			if m.rnd.IntN(10) > 0 {
				m.withdraw(t, []byte(k.key), k.path)
			}
		}
	case x < 993 && len(m.tables) > 4: // a peer is forgotten, another comes
		i := m.rnd.IntN(len(m.tables))
		t := m.tables[i]
		m.w.Flush()
		t.t.Drop()
		m.w.Announce(t.t, m.keys[t.t.Owner().Family][0], 0, m.recs[0], m.now)
		m.w.Flush()
		if n := t.t.Len(); n != 0 || t.t.Counts().Refused != 1 {
			tb.Fatalf("a dropped table took a route: %d, %+v", n, t.t.Counts())
		}
		m.tables = slices.Delete(m.tables, i, i+1)
		m.client += 1000 // a new owner
		m.addTable(t.t.Owner().Family, m.rnd.IntN(3) == 0)
	}
}

func compareModelKeys(a, b modelKey) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.path, b.path))
}

// check compares everything one can ask of the model's own tables.
func (m *model) check(tb testing.TB) {
	tb.Helper()
	m.w.Flush()
	for _, t := range m.tables {
		stale := 0
		for _, r := range t.routes {
			if r.stale {
				stale++
			}
		}
		if t.t.Len() != len(t.routes) || t.t.StaleLen() != stale || t.t.Counts() != t.counts {
			tb.Fatalf("%+v: %d routes, %d stale, %+v; want %d, %d, %+v", t.t.Owner(), t.t.Len(), t.t.StaleLen(), t.t.Counts(), len(t.routes), stale, t.counts)
		}
		if !t.emptied.IsZero() && !t.t.Emptied().Equal(t.emptied) {
			tb.Fatalf("emptied %v, want %v", t.t.Emptied(), t.emptied)
		}
	}
	for _, f := range modelFamilies {
		var tables []*modelTable
		for _, t := range m.tables {
			if t.t.Owner().Family == f {
				tables = append(tables, t)
			}
		}
		for range 6 {
			m.checkQuery(tb, f, tables)
		}
		for i := range 20 {
			key := m.keys[f][i%len(m.keys[f])]
			want := m.changed[f][string(key)]
			if got := m.s.LastChange(f, key); got.Before(want) {
				tb.Fatalf("%v %x last changed %v, want %v", f, key, got, want)
			}
		}
	}
}

// checkQuery asks one random question of some tables and answers it from the model.
func (m *model) checkQuery(tb testing.TB, f bgp.Family, tables []*modelTable) {
	tb.Helper()
	p := shapeOf(f)
	q := Query{Family: f, Match: Match(m.rnd.IntN(5)), Sorted: m.rnd.IntN(2) == 0, Stale: m.rnd.IntN(6) == 0}
	if p == shapeOpaque && q.Match > Exact {
		q.Match = Exact
	}
	if q.Match != All {
		q.Key = randomKey(m.rnd, f)
		if m.rnd.IntN(2) == 0 {
			q.Key = m.keys[f][m.rnd.IntN(len(m.keys[f]))]
		}
		q.AnyRD = m.rnd.IntN(3) == 0
	}
	if m.rnd.IntN(4) == 0 {
		q.PathID = new(uint32)
	}
	if m.rnd.IntN(3) == 0 {
		bit := byte(1 << m.rnd.IntN(3))
		q.Attrs = func(rec []byte) bool { return len(rec) > 0 && rec[0]&bit != 0 }
	}
	asked := tables
	switch m.rnd.IntN(3) {
	case 0: // by owner
		client := m.client % 1000
		q.Where = func(o Owner) bool { return o.Client%1000 == client }
	case 1:
		asked = nil
		for _, t := range tables {
			if m.rnd.IntN(2) == 0 {
				asked = append(asked, t)
			}
		}
		q.Tables = []*Table{}
		for _, t := range asked {
			q.Tables = append(q.Tables, t.t)
		}
	default:
		client := m.client % 1000
		q.Where = func(o Owner) bool { return o.Client%1000 == client && o.View < 3 }
		asked = slices.DeleteFunc(slices.Clone(tables), func(t *modelTable) bool { return t.t.Owner().View >= 3 })
	}
	type row struct {
		table int
		modelKey
		modelRoute
	}
	describe := func(r row) string {
		return fmt.Sprintf("%d %x %d %x %v %v", r.table, r.key, r.path, r.rec[:min(4, len(r.rec))], r.since.Sub(testEpoch), r.stale)
	}
	var want []row
	for i, t := range tables {
		if !slices.Contains(asked, t) {
			continue
		}
		// The longest match of each route distinguisher.
		longest := map[string]byte{}
		if q.Match == LPM {
			for k := range t.routes {
				if modelMatches(p, q, []byte(k.key)) {
					rd := k.key[1 : 1+p.rd()]
					longest[rd] = max(longest[rd], k.key[0])
				}
			}
		}
		for k, r := range t.routes {
			if !modelMatches(p, q, []byte(k.key)) || q.PathID != nil && k.path != *q.PathID || q.Stale && !r.stale ||
				q.Attrs != nil && !q.Attrs([]byte(r.rec)) || q.Match == LPM && longest[k.key[1:1+p.rd()]] != k.key[0] {
				continue
			}
			want = append(want, row{i, k, r})
		}
	}
	var got []row
	err := m.s.Query(context.Background(), q, func(batch []Route) error {
		for _, r := range batch {
			i := slices.IndexFunc(tables, func(t *modelTable) bool { return t.t == r.Table })
			if i < 0 {
				tb.Fatalf("a route of a table not asked: %+v", r.Table.Owner())
			}
			got = append(got, row{i, modelKey{string(r.Key), r.PathID}, modelRoute{string(r.Record), r.Since, r.Stale}})
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	order := func(a, b row) int {
		return cmp.Or(p.compare([]byte(a.key), []byte(b.key)), compareOwners(tables[a.table].t, tables[b.table].t), cmp.Compare(a.path, b.path))
	}
	slices.SortFunc(want, order)
	if q.Match == LPM && !slices.IsSortedFunc(got, func(a, b row) int {
		rd := func(r row) []byte { return []byte(r.key[1 : 1+p.rd()]) }
		return cmp.Or(bytes.Compare(rd(a), rd(b)), compareOwners(tables[a.table].t, tables[b.table].t), cmp.Compare(a.path, b.path))
	}) {
		tb.Fatalf("%v %+v: not in the order of owners", f, q)
	}
	if q.Match == All && !q.Sorted || q.Match == LPM {
		slices.SortFunc(got, order)
	}
	if len(got) != len(want) {
		tb.Errorf("%v %+v: %d routes, want %d", f, q, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if g, w := describe(got[i]), describe(want[i]); g != w {
			tb.Fatalf("%v %+v: route %d is\n%s, want\n%s", f, q, i, g, w)
		}
	}
	if tb.Failed() {
		tb.FailNow()
	}
	if q.Match == LPM && q.PathID != nil || m.rnd.IntN(4) > 0 {
		return
	}
	totals, err := m.s.Count(context.Background(), q)
	if err != nil {
		tb.Fatal(err)
	}
	distinct, sets, held := map[string]bool{}, map[string]bool{}, map[int]bool{}
	for _, r := range want {
		distinct[r.key], sets[r.rec], held[r.table] = true, true, true
	}
	if w := (Totals{len(want), len(distinct), len(sets), len(held)}); totals != w {
		tb.Fatalf("%v %+v: %+v, want %+v", f, q, totals, w)
	}
}

// modelMatches is Query.Match in words of one prefix at a time. LPM and Shorter look for what covers.
func modelMatches(p shape, q Query, key []byte) bool {
	if q.Match == All {
		return true
	}
	ask := q.Key
	if q.AnyRD && p.rd() > 0 {
		ask = append(slices.Clone(ask[:1]), key[1:9]...)
		ask = append(ask, q.Key[9:]...)
	}
	switch q.Match {
	case Exact:
		return bytes.Equal(ask, key)
	case Longer:
		return modelCovers(p, ask, key)
	}
	return modelCovers(p, key, ask)
}

// modelCovers compares bit by bit.
func modelCovers(p shape, a, b []byte) bool {
	if a[0] > b[0] || !bytes.Equal(a[1:1+p.rd()], b[1:1+p.rd()]) {
		return false
	}
	a, b, n := a[1+p.rd():], b[1+p.rd():], int(a[0])
	for i := range n {
		if (a[i/8]^b[i/8])>>(7-i%8)&1 != 0 {
			return false
		}
	}
	return true
}

func key4(bits int, addr uint32) []byte {
	var b [5]byte
	b[0] = byte(bits)
	binary.BigEndian.PutUint32(b[1:], addr)
	return b[:1+(bits+7)/8]
}

// TestHistory compares a random history with a naive map, in one goroutine, so that a seed replays it exactly.
func TestHistory(t *testing.T) {
	seed := testSeed(t)
	for round := range uint64(4) {
		s := testStore(t, Options{NoBackground: true, heap: round%2 == 0, presenceFrom: 1 + int(round), small: round > 0})
		m := newModel(s, seed, round, 20<<(2*(round%4)), 300)
		for range 3 {
			for _, f := range modelFamilies {
				m.addTable(f, m.rnd.IntN(3) == 0)
			}
		}
		for i := range 4000 {
			m.step(t)
			if i%500 == 499 {
				m.check(t)
			}
			if m.rnd.IntN(300) == 0 {
				if _, err := s.Sweep(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.check(t)
		// When all is gone, nothing is left.
		for _, x := range m.tables {
			x.t.Clear(m.now)
		}
		for range 2 {
			if _, err := s.Sweep(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		st := s.Stats()
		if st.Routes != 0 || st.AttributeSets != 0 || st.Prefixes != 0 || st.AttributeBytes != 0 {
			t.Fatalf("after the end there are %d routes, %d sets, %d prefixes, %d bytes of attributes", st.Routes, st.AttributeSets, st.Prefixes, st.AttributeBytes)
		}
	}
}
