package engine

import (
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// distinct are UPDATEs of n routes with an attribute set each, of some hundred bytes of communities.
func distinct(t testing.TB, seed uint64, n, communities int) *bmptest.Session {
	p := bmptest.NewPeer("10.0.0.1", 65001)
	s := new(bmptest.Session).PeerUp(p)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		list := make([]uint32, communities)
		for j := range list {
			list[j] = r.Uint32()
		}
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 0}), 24)
		s.Monitor(p, bmp.AdjInPre, bmptest.Update{
			ASPath: []uint32{65001}, Communities: list, Announce: bmptest.Prefixes(prefix.String()),
		}.Bytes())
	}
	return s
}

// Who grows is judged by bytes, not by routes: few routes of many attributes weigh more than many of the same.
func TestMemoryWeighsBytes(t *testing.T) {
	used := new(atomicInt)
	s := startStation(t, func(o *Options) {
		o.MemoryLimit = 1 << 30
		o.janitor = time.Millisecond
		o.memory = used.load
	})
	many, heavy := connect(t, s, "127.0.0.2", "many"), connect(t, s, "127.0.0.3", "heavy")
	used.store(1 << 30 / 100 * 95)
	until(t, "new clients are refused", func() bool { return s.Summary().Refusing })
	p := bmptest.NewPeer("10.0.0.1", 65001)
	update := new(bmptest.Session).PeerUp(p)
	for i := range 8 {
		var prefixes []string
		for j := range 250 {
			prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{30, byte(i), byte(j), 0}), 24).String())
		}
		update.Monitor(p, bmp.AdjInPre, announce(65001, prefixes...))
	}
	many.send(update)
	heavy.send(distinct(t, 1, 500, 200))
	used.store(1 << 31)
	if why := heavy.closed(); !strings.Contains(why, "memory limit") {
		t.Errorf("closed with %q", why)
	}
	if b := many.client.Brief(); b.State != client.Up || b.Routes != 2000 {
		t.Errorf("the client with many routes: %+v", b)
	}
	until(t, "the closed client is counted", func() bool { return s.Summary().ClosedFor == 1 })
}

// What the machine, a cgroup or ulimit has left counts as much as the limit that was asked for.
func TestMemoryLeftElsewhere(t *testing.T) {
	used, left := new(atomicInt), new(atomicInt)
	used.store(1 << 29)
	left.store(1 << 29)
	s := startStation(t, func(o *Options) {
		o.MemoryLimit = 1 << 40
		o.settle = time.Millisecond
		o.janitor = time.Millisecond
		o.memory = used.load
		o.memoryLeft = func() (int64, string) { return left.load(), "the cgroup" }
	})
	until(t, "what is left is the limit", func() bool { return s.Summary().MemoryLimit == 1<<30 })
	left.store(1 << 24)
	until(t, "new clients are refused", func() bool { return s.Summary().Refusing })
	if said := lines(s, "new clients are refused"); len(said) != 1 || !strings.Contains(said[0], "(the cgroup has no more)") {
		t.Errorf("said %q", said)
	}
	stranger := &router{t: t, station: s, conn: dial(t, s, "127.0.0.4")}
	stranger.write(new(bmptest.Session).Initiation("new", "").Bytes())
	stranger.closed()
	until(t, "it is counted", func() bool { return s.Summary().TurnedAway == 1 })
	left.store(1 << 40)
	until(t, "new clients are taken again", func() bool { return !s.Summary().Refusing })
}

// Routers that say more than there is memory for: new ones are refused, the one that grows is closed, its memory comes
// back, and what the kernel says the process has stays by the limit all the while.
func TestMemoryOfRealRoutes(t *testing.T) {
	debug.FreeOSMemory()
	base := residentBytes()
	if base == 0 {
		t.Skip("no /proc/self/statm")
	}
	const room, slack = 96 << 20, 64 << 20
	limit := base + room
	s := startStation(t, func(o *Options) { o.MemoryLimit, o.settle = limit, 10*time.Millisecond })
	quiet := connect(t, s, "127.0.0.2", "quiet")
	quiet.send(distinct(t, 7, 100, 10))
	greedy := connect(t, s, "127.0.0.3", "greedy")
	most := base
	p := bmptest.NewPeer("10.0.0.1", 65001)
	sent := new(bmptest.Session).PeerUp(p).Bytes()
	r := rand.New(rand.NewPCG(3, 1))
	refused := false
	greedy.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	for i := 0; ; i++ {
		list := make([]uint32, 900)
		for j := range list {
			list[j] = r.Uint32()
		}
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 0}), 24)
		sent = append(sent, new(bmptest.Session).Monitor(p, bmp.AdjInPre, bmptest.Update{
			ASPath: []uint32{65001}, Communities: list, Announce: bmptest.Prefixes(prefix.String()),
		}.Bytes()).Bytes()...)
		if len(sent) < 1<<20 {
			continue
		}
		if _, err := greedy.conn.Write(sent); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatalf("not closed after %d routes with %d MB resident of %d", i, residentBytes()>>20, limit>>20)
			}
			break // closed
		}
		sent = sent[:0]
		most = max(most, residentBytes())
		refused = refused || s.Summary().Refusing
	}
	if why := greedy.closed(); !strings.Contains(why, "memory limit") {
		t.Errorf("closed with %q", why)
	}
	if !refused || len(lines(s, "new clients are refused")) == 0 {
		t.Error("no new client was refused before a client was closed")
	}
	if most > limit+slack {
		t.Errorf("%d MB resident, the limit is %d MB", most>>20, limit>>20)
	}
	if b := quiet.client.Brief(); b.State != client.Up || b.Routes != 100 {
		t.Errorf("the quiet client: %+v", b)
	}
	until(t, "new clients are taken again", func() bool { return !s.Summary().Refusing })
	connect(t, s, "127.0.0.4", "new")
}

// What a cgroup has left is its limit less what it holds, but for files, which can go.
func TestMemoryGroup(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "memory.max"), "max\n")
	writeFile(t, filepath.Join(dir, "memory.current"), "700\n")
	writeFile(t, filepath.Join(dir, "memory.stat"), "anon 400\ninactive_file 200\nactive_file 50\nfile 250\nfile_dirty 10\n")
	g := memoryGroup{dir: dir, limits: []string{"memory.max", "memory.high"}, usage: "memory.current"}
	if limit, ok := g.limit(); ok {
		t.Errorf("no limit is %d", limit)
	}
	writeFile(t, filepath.Join(dir, "memory.max"), "1000\n")
	writeFile(t, filepath.Join(dir, "memory.high"), "900\n")
	limit, ok := g.limit()
	if left, has := g.left(limit); !ok || limit != 900 || !has || left != 440 {
		t.Errorf("limit %d, left %d", limit, left)
	}
	writeFile(t, filepath.Join(dir, "memory.limit_in_bytes"), "9223372036854771712\n") // version 1's word for none
	if limit, ok := (memoryGroup{dir: dir, limits: []string{"memory.limit_in_bytes"}}).limit(); ok {
		t.Errorf("no limit is %d", limit)
	}
	if left, by := memoryLeft(); left == math.MaxInt64 || left <= 0 || by == "" {
		if _, err := os.Stat("/proc/meminfo"); err == nil {
			t.Errorf("left here: %d by %q", left, by)
		}
	}
}

// What the kernel holds for a session and what the station has not read is the queue that is shown.
func TestReadQueueIsShown(t *testing.T) {
	s := startStation(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	x := client.NewSession(&s.env, b, client.Endpoint{}, time.Now()) // which nobody reads
	s.mu.Lock()
	s.running[x] = struct{}{}
	s.mu.Unlock()
	if _, err := a.Write(make([]byte, 12345)); err != nil {
		t.Fatal(err)
	}
	until(t, "the queue is shown", func() bool { return s.Summary().QueueBytes == 12345 })
	s.mu.Lock()
	delete(s.running, x)
	s.mu.Unlock()
}

// A connection that has not said who it is yet is no session of a client.
func TestHalfOpenIsCountedApart(t *testing.T) {
	s := startStation(t, nil)
	connect(t, s, "127.0.0.2", "edge1")
	silent := dial(t, s, "127.0.0.3")
	name := ListenerName(s.Listeners()[0])
	until(t, "one of each", func() bool {
		sessions, halfOpen := s.Open()
		return sessions[name] == 1 && halfOpen[name] == 1
	})
	silent.Close()
	until(t, "the silent one is gone", func() bool {
		sessions, halfOpen := s.Open()
		return sessions[name] == 1 && halfOpen[name] == 0
	})
}
