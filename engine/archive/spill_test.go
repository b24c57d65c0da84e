package archive

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// spillOne has a block of one message sealed.
func spillOne(a *Archive, text string) {
	p := a.Client(1)
	p.Append(&Entry{Time: time.Now(), Raw: []byte(text)})
	p.mu.Lock()
	p.seal()
	p.mu.Unlock()
}

// spilledAll says that all that waits has been spilled.
func spilledAll(a *Archive) bool {
	p := a.Client(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sealed {
		if s.place == 0 || s.spilling {
			return false
		}
	}
	return len(p.sealed) > 0
}

// TestSpillBehindATornBlock: a station that was killed while it wrote a block finds what it spills afterwards, if it is killed again.
func TestSpillBehindATornBlock(t *testing.T) {
	var stopped atomic.Bool
	refuse := func(int) error {
		if stopped.Load() {
			return nil
		}
		return errors.New("no")
	}
	defer stopped.Store(true)
	copied := func(dir string) string {
		to := t.TempDir()
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	one := t.TempDir()
	a := open(t, Options{Dir: one, publish: refuse})
	spillOne(a, "first")
	eventually(t, "it is spilled", func() bool { return spilledAll(a) })
	two := copied(one)
	f, err := os.OpenFile(filepath.Join(two, "waiting.0"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append([]byte(spillMagic), make([]byte, 50)...)); errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
	noted := ""
	b := open(t, Options{Dir: two, publish: refuse, OnNote: func(text string) { noted = text }})
	if want := "54 bytes at the end of " + filepath.Join(two, "waiting.0") + " are no whole block, they are left out"; noted != want {
		t.Errorf("noted: %s", noted)
	}
	spillOne(b, "second")
	eventually(t, "it is spilled", func() bool { return spilledAll(b) })
	c := open(t, Options{Dir: copied(two)})
	syncArchive(t, c, 1)
	if got, w := all(t, c, 1, Query{}); string(bytes.Join(got, []byte(" "))) != "first second" || len(w.Gaps) > 0 {
		t.Errorf("%q, gaps %+v", got, w.Gaps)
	}
}

// TestSpillLeftAtTheEnd: where storing works again just when the archive gives up, nothing is stored that would pass for what
// follows the blocks that are left to the next run.
func TestSpillLeftAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	var closed atomic.Pointer[chan struct{}]
	a := open(t, Options{Dir: dir, publish: func(int) error {
		if stop := closed.Load(); stop != nil {
			select {
			case <-*stop:
				return nil
			default:
			}
		}
		return errors.New("no")
	}})
	closed.Store(&a.stop)
	for _, text := range []string{"one", "two", "three"} {
		spillOne(a, text)
	}
	eventually(t, "they are spilled", func() bool { return spilledAll(a) })
	closeUnstored(t, a)
	b := open(t, Options{Dir: dir})
	syncArchive(t, b, 1)
	if got, w := all(t, b, 1, Query{}); string(bytes.Join(got, []byte(" "))) != "one two three" || len(w.Gaps) > 0 {
		t.Errorf("%q, gaps %+v", got, w.Gaps)
	}
}

// TestSpilledAndStoredLongAgo: what was stored by the run after, before that was killed, too, is not stored again behind what came
// then.
func TestSpilledAndStoredLongAgo(t *testing.T) {
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	clock := func(at time.Time) func() time.Time { return func() time.Time { return at } }
	copied := func(dir string) string {
		to := t.TempDir()
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	session := func(a *Archive, from time.Time, prefix string) {
		u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes(prefix)}
		p := a.Client(1)
		p.Begin(SessionRecord{Session: 1, Time: from, Start: from})
		feed(p, [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()}, from.Add(time.Second), time.Second)
		p.mu.Lock()
		p.seal()
		p.mu.Unlock()
	}
	large := make([]byte, 60_000)
	rand.NewChaCha8([32]byte{1}).Read(large)
	var stopped atomic.Bool
	defer stopped.Store(true)
	refuse := func(above int) func(int) error {
		return func(n int) error {
			if n >= above && !stopped.Load() {
				return errors.New("no")
			}
			return nil
		}
	}
	one := t.TempDir()
	a := open(t, Options{Dir: one, now: clock(began), publish: refuse(0)})
	session(a, began, "10.1.1.0/24")
	a.Client(2).Append(&Entry{Time: began, Raw: large})
	a.flushOld(time.Now().Add(time.Second))
	eventually(t, "both are spilled", func() bool {
		a.spill.mu.Lock()
		defer a.spill.mu.Unlock()
		return a.spill.files[0].live+a.spill.files[1].live == 2
	})
	two := copied(one)
	again := began.Add(10 * time.Minute)
	b := open(t, Options{Dir: two, now: clock(again), publish: refuse(20_000)}) // the other client's has to wait still
	syncArchive(t, b, 1)
	session(b, again.Add(time.Second), "10.2.2.0/24")
	syncArchive(t, b, 1)
	c := open(t, Options{Dir: copied(two), now: clock(began.Add(20 * time.Minute))})
	syncArchive(t, c, 1)
	if got, w := all(t, c, 1, Query{}); len(got) != 4 || len(w.Gaps) > 0 {
		t.Errorf("%d messages, %+v", len(got), w.Gaps)
	}
	if h, err := c.At(bg, 1, Want{}, again.Add(time.Minute)); err != nil || len(h.Routes) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
}
