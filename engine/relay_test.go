package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/engine/listen"
	"bmp/engine/rib"
	"bmp/engine/streamtest"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// quick is the timing of relays in tests.
func quick(o *Options) {
	o.relays = relayTiming{first: 5 * time.Millisecond, last: 50 * time.Millisecond}
}

// heldRoutes lists the routes of a client that are not stale, as "PEER VIEW FAMILY KEY PATHID" with their records.
func heldRoutes(t *testing.T, s *Station, c *client.Client) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, f := range s.Store().Families() {
		err := s.Store().Query(t.Context(), rib.Query{Family: f, Where: func(o rib.Owner) bool { return o.Client == c.ID() }}, func(batch []rib.Route) error {
			for _, x := range batch {
				o := x.Table.Owner()
				l, ok := c.PeerLabel(o.Peer)
				if x.Stale || !ok {
					continue
				}
				out[fmt.Sprintf("%s %x %s %s %x %d", l.Name(), l.BGPID, bmp.View(o.View), f, x.Key, x.PathID)] = string(x.Record)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// upPeers lists the peers that are up, with what their Peer Ups said.
func upPeers(c *client.Client) (out []string) {
	for _, p := range c.Peers() {
		if p.State == client.PeerUp && !p.Stale {
			d, _ := c.Peer(p.ID)
			out = append(out, fmt.Sprintf("%s AS%d %x %s %s sent %+v received %+v", p.Name(), p.AS, p.BGPID, p.Table, p.AdminLabel, d.Sent, d.Received))
		}
	}
	slices.Sort(out)
	return out
}

// difference tells in a few lines how two maps differ.
func difference(got, want map[string]string) string {
	var out []string
	for k, v := range want {
		if g, ok := got[k]; !ok {
			out = append(out, "missing "+k)
		} else if g != v {
			out = append(out, fmt.Sprintf("%s is %x, not %x", k, g, v))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			out = append(out, "extra "+k)
		}
	}
	slices.Sort(out)
	if n := len(out); n > 5 {
		out = append(out[:5], fmt.Sprintf("... %d differences", n))
	}
	return strings.Join(out, "\n")
}

// sameClient waits until a client of another station holds what a client here does, peers and routes.
func sameClient(t *testing.T, s *Station, c *client.Client, other *Station) *client.Client {
	t.Helper()
	want, peers := heldRoutes(t, s, c), upPeers(c)
	why := "there is no client"
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		for _, o := range other.Clients() {
			if _, _, up := o.Glance(); !up || o.Name() != c.Name() {
				continue
			}
			got := heldRoutes(t, other, o)
			if maps.Equal(got, want) && slices.Equal(upPeers(o), peers) {
				return o
			}
			why = difference(got, want) + "\n" + strings.Join(upPeers(o), "\n") + "\nnot\n" + strings.Join(peers, "\n")
		}
	}
	t.Fatalf("after 30 s: %s", why)
	return nil
}

// collector is a second station, on a port that can be used again after it.
func collector(t *testing.T, port uint16) (s *Station, stop func()) {
	t.Helper()
	o := Options{Listen: []listen.Spec{{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: port}}, MemoryLimit: -1}
	var err error
	until(t, "the port is free", func() bool {
		if s, err = New(o); err != nil {
			t.Fatal(err)
		}
		err = s.Start(t.Context())
		return err == nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(t.Context())
	}()
	stop = func() {
		s.Stop("the test wants it")
		<-done
	}
	t.Cleanup(stop)
	return s, stop
}

// sent is a stream sent to a station over a connection that stays open, and read to its end.
func sent(t *testing.T, s *Station, stream []byte) *client.Client {
	t.Helper()
	r := bmp.NewReader(bytes.NewReader(stream), bmp.ReaderOptions{})
	messages := uint64(0)
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil
		}
		messages++
	}
	conn := dial(t, s, "127.0.0.1")
	if _, err := conn.Write(stream); err != nil {
		t.Fatal(err)
	}
	var c *client.Client
	until(t, "the stream is read", func() bool {
		for _, x := range s.Clients() {
			if ses := x.Session(); ses != nil && ses.Endpoint().Remote.String() == conn.LocalAddr().String() {
				c = x
			}
		}
		return c != nil && c.Totals().Messages == messages
	})
	return c
}

// A collector that is there from the beginning has every byte, and the end. One that comes late, or comes back, has the
// same peers and tables.
func TestRelayStreams(t *testing.T) {
	files := streamtest.Files(t)
	if len(files) == 0 {
		t.Fatal("no streams")
	}
	n := 0
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			s := startStation(t, quick)
			b, _ := collector(t, 0)
			stream := streamtest.Read(t, file)
			if len(stream) > 4<<20 {
				t.Skip("it says nothing that a shorter one does not")
			}
			c := sent(t, s, stream)
			if c == nil {
				t.Skip("damaged in its framing")
			}
			if c.Name() == "" && len(heldRoutes(t, s, c)) == 0 && len(upPeers(c)) == 0 {
				t.Skip("no word that one who comes late would need")
			}
			if err := s.Relay(netip.MustParseAddrPort(b.address()), ""); err != nil {
				t.Fatal(err)
			}
			sameClient(t, s, c, b)
			i := s.Relays()[0]
			if i.Late != 1 || i.Left != 0 {
				t.Errorf("%+v", i)
			}
			n += len(heldRoutes(t, s, c))
		})
	}
	t.Logf("%d routes", n)
}

func TestRelayWhole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := startStation(t, quick)
	if err := s.Relay(netip.MustParseAddrPort(l.Addr().String()), "EDGE1"); err != nil {
		t.Fatal(err)
	}
	connect(t, s, "127.0.0.3", "edge2") // not relayed
	p := bmptest.NewPeer("10.0.0.1", 65001)
	m := new(bmptest.Session).Initiation("edge1", "a router of the test").PeerUp(p)
	for i := range 3000 {
		m.Monitor(p, bmp.AdjInPre, announce(65001, fmt.Sprintf("10.%d.%d.0/24", i/200, i%200)))
	}
	m.Raw(badMonitoring(p))
	conn := dial(t, s, "127.0.0.2")
	if _, err := conn.Write(m.Bytes()); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second))
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	in.SetDeadline(time.Now().Add(30 * time.Second))
	got, err := io.ReadAll(in)
	if err != nil || !bytes.Equal(got, m.Bytes()) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(m.Bytes()), err)
	}
	in.Close()
	until(t, "it is counted", func() bool {
		list := s.Relays()
		return len(list) == 1 && list[0].Messages == 3003 && list[0].Bytes == uint64(len(got)) && list[0].Sessions == 1 && list[0].Late == 0 &&
			list[0].State == RelayWaiting && list[0].Queued == 0
	})
	if s.feeds.Used() != 0 {
		t.Errorf("%d bytes are still held", s.feeds.Used())
	}
}

// The collector goes and comes back, the router goes and comes back, routes change meanwhile: the tables are equal again.
func TestRelayRestarts(t *testing.T) {
	s := startStation(t, quick)
	b, stop := collector(t, 0)
	to := netip.MustParseAddrPort(b.address())
	if err := s.Relay(to, ""); err != nil {
		t.Fatal(err)
	}
	p, q := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.2", 65002)
	loc := bmptest.NewLocRIB("red", 7<<32, 65000)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).PeerUp(q).PeerUp(loc).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16")).
		Monitor(q, bmp.AdjInPost, announce(65002, "10.3.0.0/16")).Monitor(loc, bmp.LocRIB, announce(65002, "10.3.0.0/16")).EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast))
	sameClient(t, s, r.client, b)
	if s.Relays()[0].Late != 0 {
		t.Error("the first session was not relayed from its first byte on")
	}

	// The collector is away while a route goes and a peer with it.
	stop()
	until(t, "that is noticed", func() bool { return s.Relays()[0].State != RelayUp && s.Relays()[0].Failure != "" })
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, bmptest.Update{Withdraw: bmptest.Prefixes("10.2.0.0/16")}.Bytes()).PeerDown(q, bmp.DownRemote, nil))
	b, _ = collector(t, to.Port())
	o := sameClient(t, s, r.client, b)
	if i := s.Relays()[0]; i.Late != 1 || i.Sessions != 2 || len(heldRoutes(t, b, o)) != 2 {
		t.Errorf("%+v, %d routes", i, len(heldRoutes(t, b, o)))
	}
	if d, ok := o.Peer(o.FindPeers("10.0.0.1")[0].ID); !ok || d.Tables[0].EoR.IsZero() {
		t.Errorf("the End-of-RIB was not told: %+v", d.Tables)
	}
	// What comes now follows as it is.
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, "10.9.0.0/16")))
	sameClient(t, s, r.client, b)

	// The router goes: the collector sees it go, and come back as the same client.
	r.close()
	until(t, "the collector knows that it is down", func() bool { _, _, up := o.Glance(); return !up })
	r = connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	if again := sameClient(t, s, r.client, b); again.ID() != o.ID() {
		t.Errorf("client %d has become %d", o.ID(), again.ID())
	}

	// The collector closes the session alone: it is opened again.
	n := s.Relays()[0].Sessions
	b.ClearClient(o)
	until(t, "it is opened again", func() bool { return s.Relays()[0].Sessions > n })
	sameClient(t, s, r.client, b)

	// The operator has enough.
	if closed, err := s.NoRelay(to); closed != 1 || err != nil {
		t.Errorf("%d closed, %v", closed, err)
	}
	until(t, "the collector knows that it is down", func() bool { _, _, up := o.Glance(); return !up })
	if len(s.Relays()) != 0 {
		t.Errorf("%+v", s.Relays())
	}
	if _, err := s.NoRelay(to); !errors.Is(err, ErrNoRelay) {
		t.Error(err)
	}
}

// A collector that reads slowly costs a bounded amount of memory, and its relay begins again.
func TestRelaySlowCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := startStation(t, func(o *Options) { quick(o); o.relays.queue, o.relays.stall = 256<<10, time.Hour })
	to := netip.MustParseAddrPort(l.Addr().String())
	if err := s.Relay(to, ""); err != nil {
		t.Fatal(err)
	}
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p))
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() { // slower than what is sent, and never so slow that a write takes too long
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for b := make([]byte, 16<<10); ; <-tick.C {
			if _, err := in.Read(b); err != nil {
				return
			}
		}
	}()
	text := bytes.Repeat([]byte("x"), 60_000)
	until(t, "it has too much", func() bool { // socket buffers and queue are full
		m := new(bmptest.Session)
		for range 20 {
			m.Add(&bmp.Initiation{TLVs: []bmp.TLV{{Type: bmp.InitSysName, Value: []byte("edge1")}, {Type: bmp.InitString, Value: text}}})
		}
		r.send(m)
		if q := s.Relays()[0].Queued; q > 256<<10 {
			t.Fatalf("%d bytes wait", q)
		}
		return s.Relays()[0].Overruns > 0
	})
	l.Close()
	r.send(new(bmptest.Session).Initiation("edge1", "").Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	b, _ := collector(t, to.Port())
	sameClient(t, s, r.client, b)
	if len(lines(s, "reads too slowly")) == 0 {
		t.Error("nothing was said")
	}
}

// A collector that stops reading is an overrun when the time of a write is over, with room left in the queue.
func TestRelayStalledCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := startStation(t, func(o *Options) { quick(o); o.relays.stall = 50 * time.Millisecond })
	if err := s.Relay(netip.MustParseAddrPort(l.Addr().String()), ""); err != nil {
		t.Fatal(err)
	}
	r := connect(t, s, "127.0.0.2", "edge1")
	text := bytes.Repeat([]byte("x"), 60_000)
	until(t, "the time is over", func() bool {
		i := s.Relays()[0]
		if i.State == RelayUp && i.Queued == 0 {
			r.send(new(bmptest.Session).Add(&bmp.Initiation{TLVs: []bmp.TLV{{Type: bmp.InitSysName, Value: []byte("edge1")}, {Type: bmp.InitString, Value: text}}}))
		}
		return i.Overruns > 0 && i.Failure == errOverrun.Error()
	})
}

func TestRelayRefused(t *testing.T) {
	s := startStation(t, quick)
	if err := s.Relay(netip.MustParseAddrPort(s.address()), ""); !errors.Is(err, ErrRelaySelf) {
		t.Error(err)
	}
	to := netip.MustParseAddrPort("127.0.0.1:9")
	if err := errors.Join(s.Relay(to, "a"), s.Relay(to, "b")); err != nil {
		t.Error(err)
	}
	if err := s.Relay(to, "a"); !errors.Is(err, ErrRelayThere) {
		t.Error(err)
	}
	if got := s.RelayRules(); !slices.Equal(got, []RelayRule{{to, "a"}, {to, "b"}}) {
		t.Error(got)
	}
	if n, err := s.NoRelay(to); n != 0 || err != nil || len(s.RelayRules()) != 0 {
		t.Error(n, err, s.RelayRules())
	}
	for i := range maxRelays {
		if err := s.Relay(netip.AddrPortFrom(to.Addr(), uint16(i+1)), "nobody"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Relay(to, "c"); !errors.Is(err, ErrRelayMany) {
		t.Error(err)
	}
}

// The station's own control ports are no collectors.
func TestRelayToControlRefused(t *testing.T) {
	c := startControl(t, func(o *ControlOptions) {
		o.Further = []ControlSpec{{Addr: netip.IPv4Unspecified(), Port: freePort(t), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	})
	s := startStation(t, quick)
	s.control.Store(c)
	defer s.control.Store(nil)
	further := c.opts.Further[0].Port
	for _, to := range []string{c.loopback(), fmt.Sprintf("127.0.0.1:%d", further), fmt.Sprintf("127.0.0.9:%d", further)} {
		if err := s.Relay(netip.MustParseAddrPort(to), ""); !errors.Is(err, ErrRelaySelf) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	for _, to := range []string{fmt.Sprintf("127.0.0.9:%d", c.port+1), fmt.Sprintf("192.0.2.1:%d", further)} {
		if err := s.Relay(netip.MustParseAddrPort(to), ""); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
	}
}

// A collector that closes the connection while it is told the tables closes it, whoever notices it first.
func TestRelayCollectorClosesAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := startStation(t, quick)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	m := new(bmptest.Session).PeerUp(p)
	for i := range 3000 {
		m.Monitor(p, bmp.AdjInPre, announce(65001, fmt.Sprintf("10.%d.%d.0/24", i/200, i%200)))
	}
	connect(t, s, "127.0.0.2", "edge1").send(m)
	if err := s.Relay(netip.MustParseAddrPort(l.Addr().String()), ""); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		for _, i := range s.Relays() {
			if strings.Contains(i.Failure, "cancel") {
				t.Fatalf("last failure: %s", i.Failure)
			}
		}
	}
}

// TestRelayWaitsForItsSession: what wakes a relay that has connected may be of an earlier session. It goes on waiting for
// the one that is about to begin, and does not close the connection with nothing sent.
func TestRelayWaitsForItsSession(t *testing.T) {
	s := startStation(t, nil)
	w := &relayed{relays: &relays{s: s, timing: relayTiming{first: time.Minute, queue: 1 << 20}, closed: make(chan struct{})}, notify: make(chan struct{}, 1)}
	w.wake()
	got := make(chan *client.Feed)
	go func() { got <- w.awaitFresh(t.Context()) }()
	until(t, "the stale wake-up to be taken", func() bool { return len(w.notify) == 0 })
	select {
	case f := <-got:
		t.Fatalf("gave up with %v", f)
	default:
	}
	f := w.begun(s)
	if x := <-got; x != f {
		t.Errorf("%p, not the session's feed %p", x, f)
	}
}
