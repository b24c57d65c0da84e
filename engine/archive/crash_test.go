package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestMain runs the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BMP_ARCHIVE_KILL"); dir != "" {
		floodUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

// floodUntilKilled appends numbered messages as fast as it can and says on standard output which were appended when.
func floodUntilKilled(dir string) {
	a, err := Open(bg, Options{Station: "kill", Dir: dir})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	p := a.Client(1)
	m := make([]byte, 200)
	rng := rand.NewChaCha8([32]byte{1})
	told := time.Time{}
	fmt.Println("ready")
	first, _ := strconv.ParseUint(os.Getenv("BMP_ARCHIVE_KILL_FROM"), 10, 64)
	for n := first; ; n++ {
		rng.Read(m[8:])
		binary.BigEndian.PutUint64(m, n)
		now := time.Now()
		for !p.Append(&Entry{Time: now, Raw: m}) {
			time.Sleep(time.Millisecond) // this process wants no gap: what it loses shall be what the kill loses
		}
		if now.Sub(told) > 10*time.Millisecond {
			fmt.Println(n, now.UnixNano())
			told = now
		}
	}
}

// killLost is how much of what came before a kill may be lost here: a block waits for a second, and what waits to be
// stored for a tenth of one until it is where a kill does not reach it. The rest is for a shared machine with the race
// detector on. What it was is in the log.
const killLost = 5 * time.Second

// TestKill kills a process under full load, at random moments, again and again in one folder. Each time the archive opens
// at once, holds every message from the first to one that came about a second before the kill, and nothing is damaged.
// BMP_KILLS is how often.
func TestKill(t *testing.T) {
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	kills := 3
	if n, err := strconv.Atoi(os.Getenv("BMP_KILLS")); err == nil {
		kills = n
	} else if testing.Short() {
		kills = 1
	}
	dir := t.TempDir()
	next := uint64(0)
	var lost []time.Duration
	for kill := range kills {
		begin := time.Now()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BMP_ARCHIVE_KILL="+dir, "BMP_ARCHIVE_KILL_FROM="+strconv.FormatUint(next, 10))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			cmd.Process.Kill()
			t.Fatalf("%q", lines.Text())
		}
		timer := time.AfterFunc(time.Duration(300+rng.IntN(1700))*time.Millisecond, func() { cmd.Process.Signal(syscall.SIGKILL) })
		type step struct{ n, at uint64 }
		var told []step
		for lines.Scan() {
			var s step
			if _, err := fmt.Sscan(lines.Text(), &s.n, &s.at); err == nil {
				told = append(told, s)
			}
		}
		timer.Stop()
		cmd.Wait()
		start := time.Now()
		a := open(t, Options{Station: "kill", Dir: dir})
		opened := time.Since(start)
		syncArchive(t, a, 1) // what the killed process had waiting is stored first
		first := next
		var last time.Time
		w, err := a.Messages(bg, 1, Query{From: begin}, func(m *Message) error {
			if n := binary.BigEndian.Uint64(m.Raw); n != next {
				return fmt.Errorf("message %d where %d is due", n, next)
			}
			next++
			last = m.Time
			return nil
		})
		if err != nil || len(w.Corrupt) > 0 {
			t.Fatalf("kill %d: %v, %+v", kill, err, w)
		}
		if len(told) > 0 {
			final := told[len(told)-1]
			if last.IsZero() {
				last = time.Unix(0, int64(told[0].at))
			}
			d := time.Unix(0, int64(final.at)).Sub(last)
			lost = append(lost, d)
			t.Logf("kill %d: %d messages, opened in %s, the last %s lost", kill, next-first, opened.Round(time.Millisecond), d.Round(time.Millisecond))
			if d > killLost {
				t.Errorf("kill %d: the last %s are lost", kill, d)
			}
		}
		// It goes on where it was.
		a.Client(1).Append(&Entry{Time: time.Now(), Raw: binary.BigEndian.AppendUint64(nil, next)})
		next++
		syncArchive(t, a, 1)
		if s, err := a.ClientStats(bg, 1); err != nil || s.Messages != next {
			t.Errorf("kill %d: %d messages in the index, not %d; %v", kill, s.Messages, next, err)
		}
		closeArchive(t, a)
		if left, _ := filepath.Glob(filepath.Join(dir, "waiting.*")); len(left) > 0 {
			t.Errorf("%q are left though everything is stored", left)
		}
	}
	slices.Sort(lost)
	if n := len(lost); n > 0 {
		t.Logf("%d kills: median %s lost, most %s", n, lost[n/2].Round(time.Millisecond), lost[n-1].Round(time.Millisecond))
	}
	a := open(t, Options{Station: "kill", Dir: dir})
	n := uint64(0)
	if w, err := a.Messages(bg, 1, Query{}, func(m *Message) error {
		if got := binary.BigEndian.Uint64(m.Raw); got != n {
			return fmt.Errorf("message %d where %d is due", got, n)
		}
		n++
		return nil
	}); err != nil || n != next || len(w.Corrupt) > 0 {
		t.Errorf("%d messages in all, not %d: %v, %+v", n, next, err, w)
	}
	closeArchive(t, a)
}

// TestDiskFull fills a small file system: the archive says so, goes on when there is room, and loses nothing but the gap.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a tmpfs")
	}
	mnt := t.TempDir()
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(mnt, syscall.MNT_DETACH) })
	for _, test := range []struct {
		name string
		fail func()
		mend func()
	}{
		{"full", func() {
			os.WriteFile(filepath.Join(mnt, "ballast"), make([]byte, 130<<20), 0o600)
		}, func() { os.Remove(filepath.Join(mnt, "ballast")) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			gaps := make(chan Gap, 100)
			a := open(t, Options{
				Dir: filepath.Join(mnt, test.name), QueueBytes: 2 << 20, OnGap: func(g Gap) { gaps <- g },
				server: natsOptions{publishTimeout: 500 * time.Millisecond},
			})
			p := a.Client(1)
			var kept [][]byte
			n := uint64(0)
			add := func() bool {
				m := make([]byte, 2000)
				binary.BigEndian.PutUint64(m, n)
				n++
				if !p.Append(&Entry{Time: time.Now(), Raw: m}) {
					return false
				}
				kept = append(kept, m)
				return true
			}
			for range 500 {
				add()
			}
			syncArchive(t, a, 1)
			test.fail()
			lost := 0
			for range 3000 {
				if !add() {
					lost++
				}
			}
			if lost == 0 {
				t.Error("nothing was lost on a full disk with a small queue")
			}
			t.Logf("%d lost", lost)
			if lost > 0 {
				select {
				case g := <-gaps:
					if g.Messages == 0 || g.Client != 1 {
						t.Errorf("%+v", g)
					}
				case <-time.After(10 * time.Second):
					t.Error("the gap was not told")
				}
			}
			test.mend()
			eventually(t, "room again", func() bool { return a.used.Load() == 0 })
			for range 100 {
				if !add() {
					t.Fatal("lost though the disk is well")
				}
			}
			syncArchive(t, a, 1)
			got, w := all(t, a, 1, Query{})
			same(t, got, kept)
			closeArchive(t, a)
			sum := uint64(0)
			for _, g := range w.Gaps {
				sum += g.Messages
			}
			if sum != uint64(lost) {
				t.Errorf("%d lost, gaps %+v", lost, w.Gaps)
			}
		})
	}
	t.Run("read-only from the start", func(t *testing.T) {
		if err := syscall.Mount("", mnt, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("cannot be made read-only: %v", err)
		}
		for _, name := range []string{"full", "new"} {
			if a, err := Open(bg, Options{Station: "edge.1", Dir: filepath.Join(mnt, name)}); err == nil {
				closeArchive(t, a)
				t.Errorf("%s: opened on a read-only file system", name)
			} else if !strings.Contains(err.Error(), "read-only") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestSpill: what waits to be stored is found by the next run, each block once, in order, also when the files end in the
// middle of a block, and some of it was stored.
func TestSpill(t *testing.T) {
	var down atomic.Bool
	dir, after := t.TempDir(), t.TempDir()
	a := open(t, Options{Dir: dir, publish: func(int) error {
		if down.Load() {
			return errors.New("down")
		}
		return nil
	}})
	var want [2][][]byte
	add := func(client int, n int) {
		for range n {
			m := binary.BigEndian.AppendUint64(bytes.Repeat([]byte{3}, 3000), uint64(len(want[client])))
			want[client] = append(want[client], m)
			if !a.Client(uint32(client + 1)).Append(&Entry{Time: time.Now(), Raw: m}) {
				t.Fatal("no room")
			}
		}
	}
	add(0, 10)
	syncArchive(t, a, 1)
	down.Store(true)
	add(0, 200)
	add(1, 100)
	seal := func(id uint32, lost uint64) {
		p := a.Client(id)
		p.mu.Lock()
		p.seal()
		if lost > 0 {
			p.lose(lost, 1000*lost, 1, 2)
		}
		p.mu.Unlock()
	}
	seal(1, 0)
	seal(2, 7)
	add(1, 1)
	seal(2, 0)
	live := func() (n int) {
		a.spill.mu.Lock()
		defer a.spill.mu.Unlock()
		for _, x := range a.spill.files {
			n += x.live
		}
		return n
	}
	eventually(t, "all that waits is spilled", func() bool { return live() >= 5 && live() == int(a.sealedCount.Load()) })
	// As if it had been killed now: what is on the disk is all there is.
	if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(after, "waiting.0"), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(spillMagic + "and no more")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, Options{Dir: after})
	for c := range want {
		syncArchive(t, b, uint32(c+1))
		got, w := all(t, b, uint32(c+1), Query{})
		same(t, got, want[c])
		if len(w.Corrupt) > 0 || c == 1 && (len(w.Gaps) != 1 || w.Gaps[0].Messages != 7) {
			t.Errorf("%+v", w)
		}
	}
	closeArchive(t, b)
	if left, _ := filepath.Glob(filepath.Join(after, "waiting.*")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	// This one goes on, and stores all of it.
	down.Store(false)
	for c := range want {
		syncArchive(t, a, uint32(c+1))
		got, _ := all(t, a, uint32(c+1), Query{})
		same(t, got, want[c])
	}
	eventually(t, "the files are empty", func() bool { return live() == 0 })
}

// TestDiskReadOnlyAndSlow: a disk that refuses to be written to, and one of 10 MB/s, by way of the store's write (a file
// system cannot be made read-only under a file that is open for writing, as JetStream's is). Append never waits, what is
// lost is a gap that is told, and everything else is there in the end.
func TestDiskReadOnlyAndSlow(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(bytes int) error // while the disk is not well
	}{
		{"read-only", func(int) error { return fmt.Errorf("write blk: %w", syscall.EROFS) }},
		{"slow", func(bytes int) error { <-time.After(time.Duration(bytes) * time.Second / (10 << 20)); return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ill atomic.Bool
			gaps, troubles := make(chan Gap, 1000), make(chan error, 1000)
			var one sync.Mutex // there is one disk
			a := open(t, Options{QueueBytes: 2 << 20, OnGap: func(g Gap) { gaps <- g }, OnTrouble: func(err error) { troubles <- err },
				publish: func(bytes int) error {
					if !ill.Load() {
						return nil
					}
					one.Lock()
					defer one.Unlock()
					return test.fail(bytes)
				}})
			p := a.Client(1)
			var kept [][]byte
			rng := rand.NewChaCha8([32]byte{1})
			n, lost := uint64(0), uint64(0)
			add := func() {
				m := make([]byte, 2000)
				rng.Read(m[8:]) // nothing to be packed
				binary.BigEndian.PutUint64(m, n)
				n++
				if p.Append(&Entry{Time: time.Now(), Raw: m}) {
					kept = append(kept, m)
				} else {
					lost++
				}
			}
			for range 500 {
				add()
			}
			syncArchive(t, a, 1)
			ill.Store(true)
			begin := time.Now()
			for range 10_000 { // 20 MB at once: two seconds of the slow disk
				add()
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("Append waited: %s", took)
			}
			if lost == 0 {
				t.Fatal("nothing was lost with a small queue")
			}
			select {
			case g := <-gaps:
				if g.Client != 1 || g.Messages == 0 {
					t.Errorf("%+v", g)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the gap was not told")
			}
			if test.name == "read-only" {
				if err := <-troubles; !errors.Is(err, syscall.EROFS) {
					t.Errorf("trouble %v", err)
				}
			}
			ill.Store(false)
			eventually(t, "all is stored", func() bool { return a.used.Load() == 0 })
			if test.name == "read-only" {
				if err := <-troubles; err != nil {
					t.Errorf("trouble %v", err)
				}
			}
			for range 100 {
				add()
			}
			syncArchive(t, a, 1)
			got, w := all(t, a, 1, Query{})
			same(t, got, kept)
			sum := uint64(0)
			for _, g := range w.Gaps {
				sum += g.Messages
			}
			if sum != lost || len(w.Corrupt) > 0 {
				t.Errorf("%d lost, %+v", lost, w)
			}
			if st, err := a.Stats(bg); err != nil || st.Lost != lost || st.Trouble {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}
