package engine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// archived are the messages that a station has of a client, and the sessions.
func archived(t *testing.T, s *Station, id uint32) (types []bmp.MessageType, raw [][]byte) {
	t.Helper()
	if err := s.Archive().Sync(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w, err := s.Archive().Messages(t.Context(), id, archive.Query{}, func(m *archive.Message) error {
		types, raw = append(types, m.Type), append(raw, slices.Clone(m.Raw))
		return nil
	})
	if err != nil || len(w.Corrupt) > 0 {
		t.Fatal(err, w.Corrupt)
	}
	return types, raw
}

func archiveIn(dir string) func(*Options) {
	return func(o *Options) { o.StateDir, o.Archive = dir, &archive.Options{} }
}

// What a station archived is there after a restart: messages byte for byte, sessions with why they ended, console
// lines, and how long all that is to be kept.
func TestArchiveOverRestart(t *testing.T) {
	dir := t.TempDir()
	p := bmptest.NewPeer("10.0.0.1", 65001)
	said := new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).Raw(badMonitoring(p))
	t.Run("before", func(t *testing.T) {
		s := startStation(t, archiveIn(dir))
		connect(t, s, "127.0.0.2", "edge1").send(said)
		if age, bytes := s.Archive().Retention(); age != 7*24*time.Hour || bytes != 20<<30 {
			t.Errorf("%v and %d bytes are kept where nothing was said", age, bytes)
		}
		if err := s.SetArchiveRetention(t.Context(), 30*24*time.Hour, 1<<30); err != nil {
			t.Error(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		s := startStation(t, archiveIn(dir))
		if age, bytes := s.Archive().Retention(); age != 30*24*time.Hour || bytes != 1<<30 {
			t.Errorf("%v and %d bytes are kept", age, bytes)
		}
		_, raw := archived(t, s, 1)
		want := said.Messages()
		if len(raw) != 1+len(want) {
			t.Fatalf("%d messages are archived", len(raw))
		}
		for i, m := range want {
			if !slices.Equal(raw[i+1], m) {
				t.Errorf("message %d is another one", i+1)
			}
		}
		list, err := s.Archive().Sessions(t.Context(), 1)
		if err != nil || len(list) != 1 || list[0].Messages != 4 || list[0].Name != "edge1" || list[0].End.IsZero() || list[0].Reason == "" {
			t.Errorf("sessions %+v, %v", list, err)
		}
		past, more, _, err := s.PastLines(t.Context(), time.Time{}, s.Started())
		if err != nil || more != 0 {
			t.Error(more, err)
		}
		var texts []string
		for _, e := range past {
			texts = append(texts, e.Text)
		}
		if n := len(texts); !slices.Contains(texts, "UP") || !strings.HasPrefix(texts[n-1], "Stopped: ") {
			t.Errorf("console lines of the run before: %q", texts)
		}
	})
}

func TestArchiveFlush(t *testing.T) {
	s := startStation(t, archiveIn(t.TempDir()))
	r, other := connect(t, s, "127.0.0.2", "edge1"), connect(t, s, "127.0.0.3", "edge2")
	if n, err := s.FlushArchive(t.Context(), r.client, false); n.Blocks == 0 || n.Records != 2 || err != nil { // its session began
		t.Errorf("%+v flushed, %v", n, err)
	}
	if types, _ := archived(t, s, r.client.ID()); len(types) != 0 {
		t.Errorf("%v are left", types)
	}
	if types, _ := archived(t, s, other.client.ID()); len(types) != 1 {
		t.Errorf("%v are left of another client", types)
	}
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r.send(new(bmptest.Session).PeerUp(p))
	if types, _ := archived(t, s, r.client.ID()); !slices.Equal(types, []bmp.MessageType{bmp.PeerUpType}) {
		t.Errorf("%v are archived after the flush", types)
	}
}

// What there is no room for is lost to the archive alone, and said.
func TestArchiveGap(t *testing.T) {
	s := startStation(t, func(o *Options) {
		o.StateDir, o.Archive = t.TempDir(), &archive.Options{QueueBytes: 4 << 10}
	})
	r := connect(t, s, "127.0.0.2", "edge1")
	p := bmptest.NewPeer("10.0.0.1", 65001)
	m := new(bmptest.Session).PeerUp(p)
	for range 200 {
		m.Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16"))
	}
	r.send(m)
	if len(r.routes()) != 1 {
		t.Error("the route is not held")
	}
	until(t, "the gap is said", func() bool { return len(lines(s, "lost")) > 0 })
	st, err := s.Archive().Stats(t.Context())
	if err != nil || st.LostNow == 0 || st.Gaps == 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestArchiveIsOptIn(t *testing.T) {
	dir := t.TempDir()
	s := startStation(t, func(o *Options) { o.StateDir = dir })
	r := connect(t, s, "127.0.0.2", "edge1")
	if s.Archive() != nil {
		t.Error("there is an archive")
	}
	if n, err := s.FlushArchive(t.Context(), r.client, false); n != (archive.Flushed{}) || err != nil {
		t.Error(n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "archive")); err == nil {
		t.Error("there is a folder for it")
	}
}

// smallDisk is a file system of 160 MiB, which a test can fill. Where there is no root it is skipped: nothing else can mount one.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a tmpfs")
	}
	mnt := t.TempDir()
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(mnt, syscall.MNT_DETACH) })
	return mnt
}

// A disk that is full is the archive's trouble alone: the routes are held, the gap is said and counted, and when there is
// room again storing goes on by itself.
func TestArchiveDiskFull(t *testing.T) {
	mnt := smallDisk(t)
	s := startStation(t, func(o *Options) {
		o.StateDir, o.Archive = t.TempDir(), &archive.Options{Dir: filepath.Join(mnt, "archive"), QueueBytes: 256 << 10}
	})
	r := connect(t, s, "127.0.0.2", "edge1")
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r.send(new(bmptest.Session).PeerUp(p))
	if err := s.Archive().Sync(t.Context(), r.client.ID()); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(mnt, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 130<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	routes := 0
	for len(lines(s, "are being lost")) == 0 && routes < 60_000 {
		m := new(bmptest.Session)
		for range 500 {
			m.Monitor(p, bmp.AdjInPre, announce(65001, fmt.Sprintf("10.%d.%d.0/24", routes/250, routes%250)))
			routes++
		}
		r.send(m) // waits until they are applied
	}
	if n := len(r.routes()); n != routes {
		t.Errorf("%d routes of %d are held", n, routes)
	}
	until(t, "the trouble and the gap are said", func() bool {
		return len(lines(s, "Archive: storing fails: archive: disk full")) == 1 && len(lines(s, "are being lost")) == 1
	})
	st, err := s.Archive().Stats(t.Context())
	if err != nil || !st.Trouble || st.LostNow == 0 || st.Gaps != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "storing goes on", func() bool {
		return len(lines(s, "Archive: storing goes on")) == 1 && len(lines(s, "were lost, from ")) == 1
	})
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, "11.0.0.0/8")))
	types, _ := archived(t, s, r.client.ID())
	st, err = s.Archive().Stats(t.Context())
	if err != nil || st.Trouble || st.Lost == 0 || uint64(len(types))+st.Lost != uint64(routes+3) {
		t.Errorf("%d messages of %d are archived, %+v, %v", len(types), routes+3, st, err)
	}
	of, err := s.Archive().ClientStats(t.Context(), r.client.ID())
	if err != nil || len(of.Gaps) == 0 {
		t.Errorf("%+v, %v", of, err)
	}
}

// Stale routes that go because of the time, or because their table is read anew, go in the past as well: no message says so.
func TestThePastDropsWhatTimeDropped(t *testing.T) {
	p, q := bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.2", 65002)
	again := func() *bmptest.Session {
		return new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16"))
	}
	narrow := func() *bmptest.Session {
		m := new(bmptest.Session).PeerUp(p).PeerUp(q)
		for range 3 {
			m.Monitor(p, bmp.AdjInPre, bmptest.Update{ASPath: []uint32{65001, 65002, 65003}, AS2: true, Announce: bmptest.Prefixes("10.1.0.0/16")}.Bytes())
		}
		return m
	}
	for name, c := range map[string]struct {
		timing client.Timing
		again  *bmptest.Session
		left   int
	}{
		"not renewed for long":     {client.Timing{DumpGrace: 40 * time.Millisecond, Settle: time.Hour}, again(), 1},
		"stale for long":           {client.Timing{DumpGrace: time.Hour, StaleMost: 40 * time.Millisecond, Settle: time.Hour}, again(), 1},
		"peers not announced":      {client.Timing{DumpGrace: time.Hour, Settle: 40 * time.Millisecond}, again(), 3},
		"AS numbers of two octets": {client.Timing{DumpGrace: time.Hour, Settle: time.Hour}, narrow(), 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStation(t, func(o *Options) {
				o.StateDir, o.Archive, o.Timing = t.TempDir(), &archive.Options{Grace: time.Hour}, c.timing
			})
			said := new(bmptest.Session).Initiation("edge1", "")
			r := connect(t, s, "127.0.0.2", "edge1")
			r.send(new(bmptest.Session).PeerUp(p).PeerUp(q).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")).
				Monitor(q, bmp.AdjInPre, announce(65002, "10.1.0.0/16", "10.2.0.0/16")))
			r.close()
			r = connect(t, s, "127.0.0.2", "")
			for _, m := range c.again.Messages() {
				said.Raw(m)
			}
			r.send(said) // at once: what is not announced at first may be dropped before it is
			until(t, "what is stale has gone", func() bool { return len(r.routes()) == c.left })
			r.sameInThePast()
		})
	}
}

// sameInThePast compares what the tables have with what the archive says of now.
func (r *router) sameInThePast() {
	r.t.Helper()
	var got []string
	h, err := r.station.Archive().At(r.t.Context(), r.client.ID(), archive.Want{}, now())
	for _, x := range h.Routes {
		rd, prefix := bgp.KeyText(x.Family, x.Key)
		got = append(got, strings.TrimSpace(x.Peer.Address.String()+" "+x.View.String()+" "+rd+prefix))
	}
	if want := slices.Sorted(maps.Keys(r.routes())); err != nil || !slices.Equal(got, want) {
		r.t.Errorf("held were %v, %v, the tables have %v", got, err, want)
	}
}

// A router that says nothing more for longer than is kept can be asked about all the same: a checkpoint is made before what it said
// goes.
func TestThePastOfAQuietRouter(t *testing.T) {
	t.Parallel() // it waits more than it works
	const kept = 4 * time.Second
	s := startStation(t, func(o *Options) { archiveIn(t.TempDir())(o); o.look = 50 * time.Millisecond })
	if err := s.SetArchiveRetention(t.Context(), kept, 1<<30); err != nil {
		t.Fatal(err)
	}
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16")))
	said := now()
	until(t, "it is long ago", func() bool { return time.Since(said) > 2*kept })
	for _, ago := range []time.Duration{0, kept / 4} {
		h, err := s.Archive().At(t.Context(), r.client.ID(), archive.Want{}, now().Add(-ago))
		if err != nil || h.Incomplete || len(h.Routes) != 2 {
			t.Errorf("%v ago: %d routes, %+v, %v", ago, len(h.Routes), h, err)
		}
	}
	r.sameInThePast()
	if n := len(lines(s, "could not be made")); n > 0 {
		t.Errorf("%q", lines(s, "could not be made"))
	}
}

// A router that comes and goes does not keep what is stale for longer than any may be.
func TestStaleRoutesOfAFlappingRouter(t *testing.T) {
	p := bmptest.NewPeer("10.0.0.1", 65001)
	s := startStation(t, func(o *Options) {
		o.StateDir, o.Archive = t.TempDir(), &archive.Options{Grace: time.Hour}
		o.Timing = client.Timing{DumpGrace: time.Hour, StaleMost: 200 * time.Millisecond, Settle: time.Hour}
	})
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
	began := time.Now()
	until(t, "it is gone", func() bool {
		r.close() // none of the sessions is as long as that
		r = connect(t, s, "127.0.0.2", "edge1")
		return len(r.routes()) == 0
	})
	if d := time.Since(began); d < 200*time.Millisecond {
		t.Errorf("it was gone after %v", d)
	}
	r.sameInThePast()
}

// What is dropped for want of memory is so in the past, too.
func TestThePastDropsWhatMemoryCost(t *testing.T) {
	for _, down := range []bool{false, true} {
		p := bmptest.NewPeer("10.0.0.1", 65001)
		s := startStation(t, archiveIn(t.TempDir()))
		r := connect(t, s, "127.0.0.2", "edge1")
		r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")))
		before := now()
		if down {
			r.close()
		}
		r.client.DropForMemory("no memory")
		until(t, "the routes are gone", func() bool { return len(r.routes()) == 0 && !r.client.Up() })
		r.sameInThePast()
		var changes []string
		_, err := s.Archive().History(t.Context(), r.client.ID(), archive.Want{}, before, now(), func(c *archive.Change) error {
			changes = append(changes, c.Action.String()+" "+c.Cause.String())
			return nil
		})
		if err != nil || !slices.Equal(changes, []string{"withdraw out of memory"}) {
			t.Errorf("down %v: %q, %v", down, changes, err)
		}
	}
}

// A station that was stopped starts with the disk full, too: it knows its clients, takes routes, and says that it cannot store.
func TestStartOnAFullDisk(t *testing.T) {
	mnt := smallDisk(t)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	said := new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16"))
	t.Run("before", func(t *testing.T) {
		connect(t, startStation(t, archiveIn(mnt)), "127.0.0.2", "edge1").send(said)
	})
	f, err := os.Create(filepath.Join(mnt, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(b)
	}
	for b := make([]byte, 1); ; {
		if _, err := f.Write(b); err != nil {
			break
		}
	}
	if err := f.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	s := startStation(t, archiveIn(mnt))
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(said)
	if r.client.ID() != 1 || len(r.routes()) != 1 {
		t.Errorf("client %d, %d routes", r.client.ID(), len(r.routes()))
	}
	until(t, "it says so", func() bool { return len(lines(s, "storing fails")) > 0 })
	if err := os.Remove(filepath.Join(mnt, "ballast")); err != nil {
		t.Fatal(err)
	}
	until(t, "it goes on", func() bool { return len(lines(s, "storing goes on")) > 0 })
	r.sameInThePast()
}
