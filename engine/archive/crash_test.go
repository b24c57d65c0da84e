package archive

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	for n := uint64(0); ; n++ {
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

// TestKill kills a process under full load, at random moments, in one folder. Each time the archive opens at once, holds
// every message from the first to one that came at most a second and a bit before the kill, and nothing is damaged.
func TestKill(t *testing.T) {
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	kills := 4
	if testing.Short() {
		kills = 1
	}
	for kill := range kills {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BMP_ARCHIVE_KILL="+dir)
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
		next := uint64(0)
		var last time.Time
		w, err := a.Messages(bg, 1, Query{}, func(m *Message) error {
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
			// The queue may hold more than a second's worth at this speed; what a kill may lose is what was not yet stored.
			lost := time.Unix(0, int64(final.at)).Sub(last)
			t.Logf("kill %d: %d messages, opened in %s, the last %s lost", kill, next, opened.Round(time.Millisecond), lost.Round(time.Millisecond))
			// The figure is the log's: a block waits for a second, and a shared machine with the race detector on for as
			// long as it likes. The bound only tells a lost second from a lost archive.
			if lost > 10*time.Second {
				t.Errorf("kill %d: the last %s are lost", kill, lost)
			}
		}
		// It goes on where it was.
		a.Client(1).Append(&Entry{Time: time.Now(), Raw: binary.BigEndian.AppendUint64(nil, next)})
		syncArchive(t, a, 1)
		if s, err := a.ClientStats(bg, 1); err != nil || s.Messages != next+1 {
			t.Errorf("kill %d: %d messages in the index, not %d; %v", kill, s.Messages, next+1, err)
		}
		closeArchive(t, a)
	}
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
