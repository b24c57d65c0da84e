package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
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
