package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"bmp/proto/bmp"
)

// key is a route of a peer in a view; the Loc-RIB has no address.
type key struct {
	peer netip.Addr
	view bmp.View
	pfx  netip.Prefix
}

// station is what a stream leaves behind, kept by the plainest means and read by GoBGP.
type station struct {
	t         *testing.T
	routes    map[key]string // next hop and attributes but MP_REACH_NLRI
	up        map[netip.Addr]bool
	eor       map[string]int
	names     []string
	messages  [bmp.MessageTypes]int64
	announced int64
	withdrawn int64
	updates   int64 // with routes
	malformed int64
	stats     map[netip.Addr]uint64
}

func newStation(t *testing.T) *station {
	return &station{t: t, routes: map[key]string{}, up: map[netip.Addr]bool{}, eor: map[string]int{}, stats: map[netip.Addr]uint64{}}
}

func (s *station) read(src io.Reader) {
	s.t.Helper()
	r, p := bmp.NewReader(src, bmp.ReaderOptions{}), bmp.Parser{}
	for {
		f, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.t.Fatal(err)
		}
		m, err := p.Parse(f)
		s.messages[f.Type]++
		if err != nil {
			s.malformed++
			continue
		}
		switch m := m.(type) {
		case *bmp.Initiation:
			s.names = append(s.names, m.SysName())
		case *bmp.PeerUp:
			if s.up[m.PeerHeader.Address] {
				s.t.Errorf("%v is up already", m.PeerHeader.Address)
			}
			s.up[m.PeerHeader.Address] = true
		case *bmp.PeerDown:
			if !s.up[m.PeerHeader.Address] {
				s.t.Errorf("%v is not up", m.PeerHeader.Address)
			}
			delete(s.up, m.PeerHeader.Address)
			for k := range s.routes {
				if k.peer == m.PeerHeader.Address {
					delete(s.routes, k)
				}
			}
		case *bmp.StatisticsReport:
			s.stats[m.PeerHeader.Address], _ = m.Stats[0].Value()
		case *bmp.RouteMonitoring:
			if !s.up[m.PeerHeader.Address] {
				s.t.Errorf("routes of %v, which is not up", m.PeerHeader.Address)
			}
			s.update(m)
		}
	}
}

func (s *station) update(m *bmp.RouteMonitoring) {
	msg, err := bgp.ParseBGPMessage(m.Update)
	if err != nil || !valid(msg) {
		s.malformed++
		return
	}
	u := msg.Body.(*bgp.BGPUpdate)
	if eor, family := u.IsEndOfRib(); eor {
		s.eor[fmt.Sprint(m.PeerHeader.Address, m.PeerHeader.View(), family)]++
		return
	}
	announced, withdrawn := u.NLRI, u.WithdrawnRoutes
	var attrs bytes.Buffer
	hop := netip.Addr{}
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeMpReachNLRI:
			announced, hop = append(announced, a.Value...), a.Nexthop
			continue
		case *bgp.PathAttributeMpUnreachNLRI:
			withdrawn = append(withdrawn, a.Value...)
			continue
		case *bgp.PathAttributeNextHop:
			hop = a.Value
		}
		b, err := a.Serialize()
		if err != nil {
			s.t.Fatal(err)
		}
		attrs.Write(b)
	}
	s.updates++
	for _, n := range withdrawn {
		s.withdrawn++
		k := key{m.PeerHeader.Address, m.PeerHeader.View(), netip.MustParsePrefix(n.NLRI.String())}
		if _, ok := s.routes[k]; !ok {
			s.t.Errorf("%v withdrawn, which is not there", k)
		}
		delete(s.routes, k)
	}
	for _, n := range announced {
		s.announced++
		s.routes[key{m.PeerHeader.Address, m.PeerHeader.View(), netip.MustParsePrefix(n.NLRI.String())}] = fmt.Sprintf("%v %x", hop, attrs.Bytes())
	}
}

// valid is what GoBGP leaves to be checked after parsing.
func valid(m *bgp.BGPMessage) bool {
	u := m.Body.(*bgp.BGPUpdate)
	ok, err := bgp.ValidateUpdateMsg(u, map[bgp.Family]bgp.BGPAddPathMode{bgp.RF_IPv4_UC: 0, bgp.RF_IPv6_UC: 0}, true, false, false)
	return ok && err == nil
}

// checkRouter compares what a router says of itself with what a station made of its stream.
func checkRouter(t *testing.T, r *Router, s *station, views []bmp.View) {
	t.Helper()
	want := map[key]string{}
	for _, v := range views {
		for i := range r.fleet.o.Peers {
			if v == bmp.LocRIB && i > 0 {
				continue
			}
			h := r.PeerHeader(i, v)
			n := 0
			for route := range r.Routes(i) {
				n++
				want[key{h.Address, v, route.Prefix}] = fmt.Sprintf("%v %x", route.NextHop, route.Attributes)
			}
			if n != r.Held(i) {
				t.Errorf("peer %d: Held = %d, Routes yields %d", i, r.Held(i), n)
			}
		}
	}
	if len(want) != len(s.routes) {
		t.Errorf("%d routes at the station, the router says %d", len(s.routes), len(want))
	}
	wrong := 0
	for k, w := range want {
		if got := s.routes[k]; got != w {
			if wrong++; wrong < 5 {
				t.Errorf("%v: station %q, router %q", k, got, w)
			}
		}
	}
	rep := r.Report()
	if rep.Messages != s.messages || rep.Announced != s.announced || rep.Withdrawn != s.withdrawn || rep.Malformed != s.malformed {
		t.Errorf("report %+v\nstation: messages %v, announced %d, withdrawn %d, malformed %d", rep, s.messages, s.announced, s.withdrawn, s.malformed)
	}
}

func send(t *testing.T, r *Router) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Send(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if n := r.Report().Bytes; n != int64(b.Len()) {
		t.Errorf("%d bytes sent, the report says %d", b.Len(), n)
	}
	return b.Bytes()
}

// TestStationHoldsWhatRouterSays: dump, changes, flaps, malformed UPDATEs; the same routes at both ends.
func TestStationHoldsWhatRouterSays(t *testing.T) {
	for name, o := range map[string]Options{
		"dump":          {},
		"IPv6 alone":    {IPv6: 1, Peers: 2},
		"no routes":     {Routes: -1, Peers: 2, Changes: 10},
		"sparse":        {Peers: 7, Routes: 300, Prefixes: 5000, IPv6: 0.3, Shared: 0.5},
		"one by one":    {PerUpdate: 1, PerSet: 1, Changes: 500},
		"malformed":     {Malformed: 0.1, Changes: 100},
		"all of it":     {Peers: 3, IPv6: 0.4, Changes: 3000, FlapEvery: 700, Malformed: 0.03, Views: []bmp.View{bmp.AdjInPre, bmp.AdjInPost, bmp.AdjOutPost, bmp.LocRIB}},
		"Loc-RIB alone": {Views: []bmp.View{bmp.LocRIB}, Changes: 200, FlapEvery: 50},
	} {
		t.Run(name, func(t *testing.T) {
			o.Seed = 42
			f, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			views := f.o.Views
			s := newStation(t)
			s.read(bytes.NewReader(send(t, f.Router(0))))
			checkRouter(t, f.Router(0), s, views)
			if fmt.Sprint(s.names) != "[sim1]" {
				t.Errorf("names %v", s.names)
			}
			if o.Changes > 200 && (s.withdrawn == 0 || f.Router(0).Held(0) == f.o.Routes) {
				t.Error("nothing was withdrawn")
			}
			if o.Malformed > 0 && s.malformed == 0 {
				t.Error("nothing was malformed")
			}
			if want := int64(0); o.FlapEvery > 0 {
				want = int64(o.Changes / o.FlapEvery)
				if got := f.Report().Flaps; got != want {
					t.Errorf("%d flaps, want %d", got, want)
				}
			}
		})
	}
}

func TestEndOfRIBAndStatistics(t *testing.T) {
	f, err := New(Options{Peers: 2, Routes: 100, IPv6: 0.5, Views: []bmp.View{bmp.AdjInPre, bmp.AdjInPost, bmp.LocRIB}})
	if err != nil {
		t.Fatal(err)
	}
	s := newStation(t)
	s.read(bytes.NewReader(send(t, f.Router(0))))
	// Two families: two peers in two views, and the Loc-RIB.
	if len(s.eor) != 10 {
		t.Errorf("End-of-RIB: %v", s.eor)
	}
	for what, n := range s.eor {
		if n != 1 {
			t.Errorf("%d End-of-RIB of %s", n, what)
		}
	}
	if len(s.stats) != 3 {
		t.Errorf("statistics: %v", s.stats)
	}
	for peer, n := range s.stats {
		if n != 100 {
			t.Errorf("statistics of %v say %d routes", peer, n)
		}
	}
}

// TestSeed: the same seed and clock give the same bytes, another seed others.
func TestSeed(t *testing.T) {
	stream := func(seed uint64, router int) []byte {
		f, err := New(Options{Seed: seed, Routers: 2, Peers: 2, Routes: 500, IPv6: 0.2, Changes: 500, FlapEvery: 100, Malformed: 0.01,
			Clock: time.Unix(1700000000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		return send(t, f.Router(router))
	}
	one := stream(1, 0)
	if !bytes.Equal(one, stream(1, 0)) {
		t.Error("the same seed sends other bytes")
	}
	if bytes.Equal(one, stream(2, 0)) || bytes.Equal(one, stream(1, 1)) {
		t.Error("another seed or router sends the same bytes")
	}
}

// TestTwoSessions: a router that is redialled begins again with all it had at first.
func TestTwoSessions(t *testing.T) {
	f, err := New(Options{Changes: 300})
	if err != nil {
		t.Fatal(err)
	}
	send(t, f.Router(0))
	var b bytes.Buffer
	if err := f.Router(0).Send(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	s := newStation(t)
	s.read(&b)
	rep := f.Router(0).Report()
	if rep.Sessions != 2 || rep.Announced != 2*s.announced {
		t.Errorf("%+v; the second session alone announced %d", rep, s.announced)
	}
}

// TestTableIsRealistic: prefixes are distinct, and means are as asked for.
func TestTableIsRealistic(t *testing.T) {
	for _, fam := range []family{ipv4, ipv6} {
		const n = 200000
		tab := newTable(fam, n, 3.5, 10.75, rand.New(rand.NewPCG(1, 2)))
		seen := map[netip.Prefix]bool{}
		lengths := map[int]int{}
		prefixes(fam, tab.nlri, func(p netip.Prefix) bool {
			if seen[p] || p != p.Masked() {
				t.Fatalf("%v is there twice, or has host bits", p)
			}
			seen[p] = true
			lengths[p.Bits()]++
			return true
		})
		if len(seen) != n {
			t.Errorf("%d prefixes, want %d", len(seen), n)
		}
		common := map[family]int{ipv4: 24, ipv6: 48}[fam]
		if share := float64(lengths[common]) / n; share < 0.4 || share > 0.75 || len(lengths) < 8 {
			t.Errorf("lengths %v", lengths)
		}
		routes, off := 0, 0
		for _, u := range tab.units {
			if int(u.off) != off || u.count == 0 {
				t.Fatalf("unit at %d, want %d", u.off, off)
			}
			off += int(u.size)
			routes += int(u.count)
		}
		if routes != n || off != len(tab.nlri) {
			t.Errorf("%d routes in %d bytes of units", routes, off)
		}
		if mean := n / float64(len(tab.units)); math.Abs(mean-3.5) > 0.5 {
			t.Errorf("%.2f routes an UPDATE", mean)
		}
		if mean := n / float64(tab.sets); math.Abs(mean-10.75) > 1.5 {
			t.Errorf("%.2f routes an attribute set", mean)
		}
	}
}

// TestTableWithoutSpaceLeft: more prefixes than IPv4 has of the usual lengths.
func TestTableWithoutSpaceLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("4 million prefixes")
	}
	const n = 4 << 20
	tab := newTable(ipv4, n, 3.5, 10.75, rand.New(rand.NewPCG(1, 2)))
	seen := make(map[netip.Prefix]bool, n)
	prefixes(ipv4, tab.nlri, func(p netip.Prefix) bool { seen[p] = true; return true })
	if len(seen) != n {
		t.Errorf("%d different prefixes of %d", len(seen), n)
	}
}

// TestAttributeSetsAreDistinct: as many as the table has within a peer, none in common between peers, unless asked for.
func TestAttributeSetsAreDistinct(t *testing.T) {
	count := func(shared float64) (sets, all int) {
		f, err := New(Options{Routers: 2, Peers: 2, Routes: 3000, Shared: shared})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, r := range f.Routers() {
			for p := range 2 {
				for route := range r.Routes(p) {
					seen[string(route.Attributes)] = true
				}
			}
		}
		return f.Sets(), len(seen)
	}
	if sets, all := count(0); all != 4*sets {
		t.Errorf("%d attribute sets on 4 peers, %d in the table", all, sets)
	}
	if sets, all := count(1); all != sets {
		t.Errorf("%d shared attribute sets, %d in the table", all, sets)
	}
	if sets, all := count(0.5); all < 2*sets || all > 3*sets {
		t.Errorf("%d attribute sets, half of them shared, %d in the table", all, sets)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{{Routers: -1}, {Peers: -1}, {Routes: 10, Prefixes: 5}, {IPv6: 2}, {Shared: -1}, {PerUpdate: 0.5},
		{PerSet: 0.1}, {Rate: -1}, {Views: []bmp.View{9}}, {Withdraw: 2}, {Malformed: -1}, {Routers: 2, Name: "edge"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v", o)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ name, want string }{{"", "sim1"}, {"edge", "edge"}, {"e%d.ams", "e1.ams"}, {"100%s", "100%s"}} {
		f, err := New(Options{Name: c.name, Routes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Router(0).Name(); got != c.want {
			t.Errorf("%q is %q, not %q", c.name, got, c.want)
		}
	}
}

// listen accepts sessions and hands each to a function of its own goroutine.
func listen(t *testing.T, session func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go session(c)
		}
	}()
	return l.Addr().String()
}

// TestRun: routers dial from addresses of their own, and everything arrives.
func TestRun(t *testing.T) {
	const routers = 20
	f, err := New(Options{Routers: routers, Peers: 2, Routes: 200, Changes: 50, Sources: LoopbackSources(routers)})
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		from  string
		bytes int64
	}
	results := make(chan result, routers)
	addr := listen(t, func(c net.Conn) {
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		results <- result{host, n}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.Run(ctx, addr); err != nil {
		t.Fatal(err)
	}
	from, total := map[string]bool{}, int64(0)
	for range routers {
		select {
		case r := <-results:
			from[r.from] = true
			total += r.bytes
		case <-ctx.Done():
			t.Fatal("not all sessions arrived")
		}
	}
	rep := f.Report()
	if len(from) != routers || total != rep.Bytes || rep.Done != routers || rep.Connected != 0 || rep.Total() == 0 {
		t.Errorf("%d addresses, %d bytes; report %+v", len(from), total, rep)
	}
}

// TestHoldAndRedial: a router that holds its session comes back when the station closes it, and takes leave when it is ended.
func TestHoldAndRedial(t *testing.T) {
	f, err := New(Options{Routes: 10, Hold: true, Redial: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sessions := make(chan net.Conn)
	addr := listen(t, func(c net.Conn) { sessions <- c })
	done := make(chan error)
	go func() { done <- f.Run(ctx, addr) }()
	first := <-sessions
	r := bmp.NewReader(first, bmp.ReaderOptions{})
	for range 3 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	second := <-sessions
	defer second.Close()
	r = bmp.NewReader(second, bmp.ReaderOptions{})
	var p bmp.Parser
	for ended := false; ; {
		fr, err := r.Next()
		if err != nil {
			t.Fatalf("no Termination: %v", err)
		}
		m, err := p.Parse(fr)
		if err != nil {
			t.Fatal(err)
		}
		if term, ok := m.(*bmp.Termination); ok {
			if reason, ok := term.Reason(); !ok || reason != 0 {
				t.Errorf("reason %v", reason)
			}
			break
		}
		if m.Type() == bmp.StatisticsReportType && !ended {
			ended = true
			cancel()
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the Termination: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if rep := f.Report(); rep.Sessions != 2 || rep.Connected != 0 {
		t.Errorf("%+v", rep)
	}
}

// TestRate: changes come no faster than asked for.
func TestRate(t *testing.T) {
	f, err := New(Options{Routes: 10, Changes: -1, Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	began := time.Now()
	w := writerFunc(func(b []byte) (int, error) {
		if f.Report().Messages[bmp.RouteMonitoringType] > 60 {
			cancel()
		}
		return len(b), nil
	})
	if err := f.Router(0).Send(ctx, w); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Errorf("50 changes in %v", took)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestErrorOfTheStation ends the session and is told.
func TestErrorOfTheStation(t *testing.T) {
	f, err := New(Options{Routes: 100000})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	n := 0
	err = f.Router(0).Send(context.Background(), writerFunc(func(b []byte) (int, error) {
		if n++; n == 3 {
			return 0, broken
		}
		return len(b), nil
	}))
	if err != broken || n != 3 {
		t.Errorf("%v after %d writes", err, n)
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	addr := l.Addr().String()
	l.Close()
	if err := f.Run(context.Background(), addr); err == nil {
		t.Error("nobody listens, and no error")
	}
}

// BenchmarkDump is how fast a dump is written, by the route.
func BenchmarkDump(b *testing.B) {
	for _, bb := range []struct {
		name string
		ipv6 float64
	}{{"ipv4", 0}, {"ipv6", 1}} {
		b.Run(bb.name, func(b *testing.B) {
			const routes = 1000000
			f, err := New(Options{Routes: routes, IPv6: bb.ipv6})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := f.Router(0).Send(context.Background(), io.Discard); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*routes/b.Elapsed().Seconds()/1e6, "Mroutes/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/routes, "ns/route")
		})
	}
}

// BenchmarkChanges is how fast changes are written, by the UPDATE.
func BenchmarkChanges(b *testing.B) {
	f, err := New(Options{Routes: 100000, Peers: 10, Changes: b.N})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := f.Router(0).Send(context.Background(), io.Discard); err != nil {
		b.Fatal(err)
	}
}
