package archive

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// TestAGapThatWaits: a gap that is over is named while the block that says so waits to be stored, as before and after.
func TestAGapThatWaits(t *testing.T) {
	var allowed atomic.Int64 // blocks that can be stored
	allowed.Store(1 << 40)
	a := open(t, Options{QueueBytes: 64 << 10, publish: func(int) error {
		if allowed.Add(-1) < 0 {
			return errors.New("disk full")
		}
		return nil
	}})
	p := a.Client(1)
	begin := time.Now()
	p.Append(&Entry{Time: begin, Raw: make([]byte, 100)})
	syncArchive(t, a, 1)
	allowed.Store(0)
	for p.Append(&Entry{Time: time.Now(), Raw: make([]byte, 7000)}) {
		p.mu.Lock()
		p.seal()
		p.mu.Unlock()
	}
	at := time.Now()
	check := func(what string) {
		t.Helper()
		if h, err := a.At(bg, 1, Want{}, at); err == nil && len(h.Gaps) != 1 || err != nil && !errors.Is(err, ErrUnstored) {
			t.Errorf("%s: at %+v, %v", what, h.Gaps, err)
		}
		if w, err := a.Messages(bg, 1, Query{From: begin}, func(*Message) error { return nil }); err != nil || len(w.Gaps) != 1 || w.Gaps[0].Messages != 1 {
			t.Errorf("%s: messages %+v, %v", what, w.Gaps, err)
		}
	}
	check("while it lasts")
	p.mu.Lock()
	n := len(p.sealed)
	p.mu.Unlock()
	allowed.Store(int64(n))
	eventually(t, "the gap is over and waits", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.sealed) == 1 && p.sealed[0].gap != nil && p.gap.Messages == 0 && a.troubled.Load()
	})
	check("while it waits")
	allowed.Store(1 << 40)
	syncArchive(t, a, 1)
	check("when it is stored")
}

// TestAGapEndsMeanwhile: one that is over, and stored, while messages are read, is named, and once.
func TestAGapEndsMeanwhile(t *testing.T) {
	var full atomic.Bool
	a := noRoom(t, Options{QueueBytes: 64 << 10}, &full)
	p := a.Client(1)
	began := time.Now()
	p.Append(&Entry{Time: began, Raw: make([]byte, 100)})
	syncArchive(t, a, 1)
	full.Store(true)
	for p.Append(&Entry{Time: time.Now(), Raw: make([]byte, 7000)}) {
	}
	for range 2 {
		w, err := a.Messages(bg, 1, Query{From: began}, func(*Message) error {
			if full.CompareAndSwap(true, false) {
				eventually(t, "it is over", func() bool { syncArchive(t, a, 1); return len(p.waitingGaps()) == 0 && !a.pending(p) })
			}
			return nil
		})
		if err != nil || len(w.Gaps) != 1 {
			t.Errorf("%+v, %v", w.Gaps, err)
		}
	}
}
