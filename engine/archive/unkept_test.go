package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// TestUnkept: with no room on the disk, neither to store nor for what waits, the next run says what is missing, whether this one
// is killed or closed, and once.
func TestUnkept(t *testing.T) {
	var full atomic.Bool
	dir, killed := t.TempDir(), t.TempDir()
	a := open(t, Options{Dir: dir, free: func() (uint64, error) {
		if full.Load() {
			return 0, nil
		}
		return 1 << 40, nil
	}, publish: func(int) error {
		if full.Load() {
			return errors.New("disk full")
		}
		return nil
	}})
	began := time.Now()
	add := func(client uint32, n int) {
		for range n {
			if !a.Client(client).Append(&Entry{Time: time.Now(), Raw: make([]byte, 100)}) {
				t.Fatal("no room")
			}
		}
	}
	add(1, 10)
	add(2, 10)
	syncArchive(t, a, 1)
	syncArchive(t, a, 2)
	full.Store(true)
	lostFrom := time.Now()
	add(1, 20)
	path := filepath.Join(dir, "unkept")
	named := func(path string) (n uint64) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range parseUnkept(b) {
			if g.Client != 1 || g.Bytes != 100*g.Messages || g.From.Before(lostFrom) || g.To.After(time.Now()) {
				t.Errorf("%+v", g)
			}
			n += g.Messages
		}
		return n
	}
	eventually(t, "they are remembered", func() bool { return named(path) == 20 })
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	lostTo := time.Now()
	add(1, 5)
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("closed with %v", err)
	}
	for folder, want := range map[string]uint64{killed: 20, dir: 25} {
		for run := range 3 { // told by the first, and not again by the others
			told := make(chan Gap, 10)
			b := open(t, Options{Dir: folder, OnGap: func(g Gap) { told <- g }})
			syncArchive(t, b, 1)
			got, w := all(t, b, 1, Query{})
			if len(got) != 10 || len(w.Gaps) != 1 || w.Gaps[0].Messages != want || w.Gaps[0].From.Before(lostFrom) || w.Gaps[0].To.After(time.Now()) {
				t.Errorf("run %d of %s: %d messages, %+v", run, filepath.Base(folder), len(got), w.Gaps)
			}
			// What is asked about the time says it, and not what is asked about the time before, or after this run began.
			for at, gaps := range map[time.Time]int{began: 0, lostTo: 1, time.Now(): 0} {
				h, err := b.At(bg, 1, Want{}, at)
				if err != nil || len(h.Gaps) != gaps {
					t.Errorf("run %d of %s: at %v: %+v, %v", run, filepath.Base(folder), at, h.Gaps, err)
				}
			}
			middle := w.Gaps[0].From.Add(w.Gaps[0].To.Sub(w.Gaps[0].From) / 2)
			if got, w := all(t, b, 1, Query{From: middle, To: middle.Add(1)}); len(got) != 0 || len(w.Gaps) != 1 {
				t.Errorf("run %d of %s: amid it %d messages, %+v", run, filepath.Base(folder), len(got), w.Gaps)
			}
			if _, w := all(t, b, 2, Query{}); len(w.Gaps) > 0 {
				t.Errorf("client 2 has lost %+v", w.Gaps)
			}
			eventually(t, "it is no longer remembered", func() bool { return named(filepath.Join(folder, "unkept")) == 0 })
			if run == 0 {
				select {
				case g := <-told:
					if g.Messages != want {
						t.Errorf("told was %+v", g)
					}
				case <-time.After(30 * time.Second):
					t.Error("it was not told")
				}
			}
			closeArchive(t, b)
			if len(told) > 0 {
				t.Errorf("told was %+v", <-told)
			}
		}
	}
}

// TestUnkeptDamaged: what makes no sense says nothing, and the archive opens.
func TestUnkeptDamaged(t *testing.T) {
	u := new(unkept)
	dir := t.TempDir()
	if gaps, err := u.open(dir); err != nil || len(gaps) > 0 {
		t.Fatal(gaps, err)
	}
	all := make([]Gap, unkeptClients+1)
	for i := range all {
		all[i] = Gap{Client: uint32(i), Messages: 1, From: time.Unix(0, 1), To: time.Unix(0, 2)}
	}
	if err := u.remember(all); err != nil {
		t.Fatal(err)
	}
	u.close()
	path := filepath.Join(dir, "unkept")
	whole, err := os.ReadFile(path)
	if err != nil || len(parseUnkept(whole)) != unkeptClients {
		t.Fatalf("%d, %v", len(parseUnkept(whole)), err)
	}
	many := append([]byte(nil), whole...)
	binary.BigEndian.PutUint32(many[8:], 1<<31)
	other := append([]byte(nil), whole...)
	other[100] ^= 1
	for what, b := range map[string][]byte{"empty": nil, "cut": whole[:len(whole)-1], "too many": many, "a changed byte": other, "another": make([]byte, 100)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if gaps, err := u.open(dir); err != nil || len(gaps) > 0 {
			t.Errorf("%s: %d gaps, %v", what, len(gaps), err)
		}
		u.close()
		if st, err := os.Stat(path); err != nil || st.Size() != int64(len(whole)) {
			t.Errorf("%s: it has no room: %v, %v", what, st, err)
		}
	}
}
