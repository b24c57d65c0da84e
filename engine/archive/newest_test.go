package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// newestRaw asks for the newest messages, and returns them as they came.
func newestRaw(t testing.TB, a *Archive, q Query, w Window) (messages [][]byte, tail Tail) {
	t.Helper()
	list, tail, err := a.Newest(bg, 1, q, w)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		messages = append(messages, m.Raw)
	}
	return messages, tail
}

// TestNewestAgainstAll compares Newest with a list of all that was appended, wherever it is: in memory, stored, of earlier runs.
func TestNewestAgainstAll(t *testing.T) {
	seed := testSeed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	type said struct {
		raw   []byte
		place *Place // nil: of an earlier run
	}
	var list []said
	dir := t.TempDir()
	at := time.Now().Add(-time.Hour)
	prefix := 0
	for range 3 {
		var blocked atomic.Bool
		a := open(t, Options{Dir: dir, publish: func(int) error {
			if blocked.Load() {
				return errors.New("no space left on device")
			}
			return nil
		}})
		for i := range list {
			list[i].place = nil
		}
		p := a.Client(1)
		for session := range uint32(3) {
			p.Begin(SessionRecord{Session: session + 1, Time: at})
			offset := int64(0)
			for range 400 {
				peer := bmptest.NewPeer(fmt.Sprintf("10.0.0.%d", rng.IntN(20)*rng.IntN(2)+1), 65001)
				s := new(bmptest.Session)
				switch rng.IntN(40) {
				case 0:
					s.PeerUp(peer)
				case 1:
					s.Statistics(peer, bmptest.Counter(0, 7))
				default:
					prefix++
					u := bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes(fmt.Sprintf("10.%d.%d.0/24", prefix>>8, prefix&255))}
					s.Monitor(peer, bmp.AdjInPre, u.Bytes())
				}
				raw := s.Bytes()
				if rng.IntN(150) == 0 {
					at = at.Add(-10 * time.Second) // somebody sets the clock back
				}
				p.Append(&Entry{Time: at, Offset: offset, Session: session + 1, Raw: raw, Context: bgp.Context{AS4: true}})
				list = append(list, said{raw, &Place{Session: session + 1, Offset: offset, Time: at}})
				offset += int64(len(raw))
				at = at.Add(time.Duration(rng.IntN(100)) * time.Millisecond)
				switch rng.IntN(60) {
				case 0:
					if !blocked.Load() {
						syncArchive(t, a, 1)
					}
				case 1:
					p.mu.Lock()
					p.seal()
					p.mu.Unlock()
				case 2:
					blocked.Store(rng.IntN(2) == 0)
				case 3, 4, 5:
					w := Window{Last: 1 + rng.IntN(200)}
					if rng.IntN(5) == 0 {
						w.Last = math.MaxInt
					}
					end := len(list)
					if k := max(0, len(list)-1-rng.IntN(150)); rng.IntN(3) > 0 && list[k].place != nil {
						end, w.Before = k, list[k].place
					}
					begin := 0
					if k := max(0, end-1-rng.IntN(300)); rng.IntN(4) == 0 && list[k].place != nil && list[k].place.Session == session+1 {
						begin, w.After = k+1, list[k].place
					}
					var q Query
					var key PeerKey
					switch rng.IntN(4) {
					case 0:
						q.OfType, q.Type = true, []bmp.MessageType{bmp.PeerUpType, bmp.StatisticsReportType}[rng.IntN(2)]
					case 1:
						var h bmp.PerPeerHeader
						peerHeader(list[rng.IntN(len(list))].raw, &h)
						key = PeerKeyOf(&h)
						q.Peer = &key
					}
					var want [][]byte
					for _, s := range list[min(begin, end):end] {
						var h bmp.PerPeerHeader
						peerHeader(s.raw, &h)
						if (!q.OfType || messageType(s.raw) == q.Type) && (q.Peer == nil || PeerKeyOf(&h) == key) {
							want = append(want, s.raw)
						}
					}
					all := len(want)
					want = want[max(0, all-w.Last):]
					got, tail := newestRaw(t, a, q, w)
					if !slices.EqualFunc(got, want, bytes.Equal) {
						t.Fatalf("%d messages so far, %+v, %+v: %d, want %d", len(list), q, w, len(got), len(want))
					}
					if tail.Gone || len(tail.Corrupt)+len(tail.Gaps) > 0 || all < w.Last && !tail.Whole {
						t.Fatalf("%+v, %+v: %+v", q, w, tail)
					}
				}
			}
			p.End(SessionRecord{Session: session + 1, Time: at})
		}
		blocked.Store(false)
		closeArchive(t, a)
	}
}

// TestNewestOfWhatIsBeingStored: what is stored while it is looked through in memory is not found again.
func TestNewestOfWhatIsBeingStored(t *testing.T) {
	var blocked atomic.Bool
	a := open(t, Options{publish: func(int) error {
		if blocked.Load() {
			return errors.New("no space left on device")
		}
		return nil
	}})
	p := a.Client(1)
	var want [][]byte
	for i := range 40 {
		if i == 10 {
			syncArchive(t, a, 1)
			blocked.Store(true)
		}
		want = append(want, []byte{byte(i)})
		p.Append(&Entry{Time: time.Now(), Session: 1, Offset: int64(i), Raw: want[i]})
		if i%10 == 9 && i < 39 {
			p.mu.Lock()
			p.seal()
			p.mu.Unlock()
		}
	}
	n := 0
	got, tail := newestRaw(t, a, Query{}, Window{Last: 100, Match: func(*Message) bool {
		if n++; n == 15 { // in the second block of those in memory
			blocked.Store(false)
			syncArchive(t, a, 1)
		}
		return true
	}})
	same(t, got, want)
	if !tail.Whole {
		t.Errorf("%+v", tail)
	}
}

// TestNewestOfAnEarlierRun: what an earlier run could not store, and this one neither yet, is found.
func TestNewestOfAnEarlierRun(t *testing.T) {
	o := Options{Dir: t.TempDir(), publish: func(int) error { return errors.New("no space left on device") }}
	var want [][]byte
	put := func(p *Appender, n int) {
		for i := range n {
			want = append(want, []byte{byte(len(want))})
			p.Append(&Entry{Time: time.Now(), Session: 1, Offset: int64(i), Raw: want[len(want)-1]})
			p.mu.Lock()
			p.seal()
			p.mu.Unlock()
		}
	}
	a := open(t, o)
	p := a.Client(1)
	put(p, 5)
	eventually(t, "the blocks are in files", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.sealed) == 5 && !slices.ContainsFunc(p.sealed, func(s *sealed) bool { return s.place == 0 })
	})
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if a.Close(ctx) == nil {
		t.Fatal("they were stored")
	}
	a = open(t, o)
	put(a.Client(1), 4)
	got, tail := newestRaw(t, a, Query{}, Window{Last: 100, Before: &Place{Session: 1, Offset: 3, Time: time.Now()}})
	same(t, got, want[:8])
	if !tail.Whole || tail.Gone {
		t.Errorf("%+v", tail)
	}
	got, _ = newestRaw(t, a, Query{}, Window{Last: 7})
	same(t, got, want[2:])
	a.Close(ctx) // as nothing can be stored
}

// TestNewestIsBounded: it goes no further back than it has to, nor than it may.
func TestNewestIsBounded(t *testing.T) {
	a := open(t, Options{})
	p := a.Client(1)
	at := time.Now().Add(-time.Hour)
	for i := range 200 {
		p.Append(&Entry{Time: at.Add(time.Duration(i) * time.Second), Session: 1, Offset: int64(1000 * i), Raw: make([]byte, 1000)})
		syncArchive(t, a, 1)
	}
	got, tail := newestRaw(t, a, Query{}, Window{Last: 7, Before: &Place{Session: 1, Offset: 190_000, Time: at.Add(190 * time.Second)}})
	if len(got) != 7 || tail.Decoded > 8 || tail.Whole || !tail.Cut.IsZero() {
		t.Errorf("%d messages, %+v", len(got), tail)
	}
	never := func(*Message) bool { return false }
	if _, tail := newestRaw(t, a, Query{}, Window{Last: 7, Match: never, Bytes: 50_000}); tail.Decoded < 50 || tail.Decoded > 70 || tail.Whole || tail.Cut.IsZero() {
		t.Errorf("with a bound: %+v", tail)
	}
	if _, tail := newestRaw(t, a, Query{}, Window{Last: 7, Match: never}); tail.Decoded != 200 || !tail.Whole || tail.Gone {
		t.Errorf("without one: %+v", tail)
	}
	ctx, cancel := context.WithCancel(bg)
	q := Query{Progress: func(uint64, uint64) { cancel() }}
	if _, tail, err := a.Newest(ctx, 1, q, Window{Last: 7, Match: never}); !errors.Is(err, context.Canceled) || tail.Decoded > 100 {
		t.Errorf("cancelled: %v, %+v", err, tail)
	}
}

// TestNewestSaysWhatIsMissing: messages that were lost, blocks that cannot be read or are no longer kept, each where the answer
// goes back so far, and not otherwise.
func TestNewestSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, QueueBytes: 64 << 10})
	p := a.Client(1)
	now := time.Now().Add(-time.Minute)
	moment := func(i int) time.Time { return now.Add(time.Duration(i) * time.Second) }
	for i := range 8 {
		e := &Entry{Time: moment(i), Session: 1, Offset: int64(i), Raw: []byte{byte(i)}}
		if i == 4 {
			e.Raw = make([]byte, 100_000)
		}
		if p.Append(e) != (i != 4) {
			t.Fatalf("%d is lost, or not", i)
		}
		syncArchive(t, a, 1)
	}
	for _, c := range []struct {
		w         Window
		got, gaps int
	}{
		{Window{Last: 3}, 3, 0},
		{Window{Last: 4}, 4, 1},
		{Window{Last: 10}, 7, 1},
		{Window{Last: 2, Before: &Place{Session: 1, Offset: 3, Time: moment(3)}}, 2, 0},  // before the gap
		{Window{Last: 9, Before: &Place{Session: 1, Offset: 4, Time: moment(4)}}, 4, 0},  // what was lost is there
		{Window{Last: 9, Before: &Place{Session: 1, Offset: 5, Time: moment(5)}}, 4, 1},  // it is not
		{Window{Last: 1, Before: &Place{Session: 1, Offset: 0, Time: moment(0)}}, 0, 0},  // nothing came before
		{Window{Last: 9, After: &Place{Session: 1, Offset: 5}}, 2, 0},                    // after the gap
		{Window{Last: 9, After: &Place{Session: 1, Offset: 2}}, 4, 1},                    // over it
		{Window{Last: 9, Before: &Place{Session: 2, Offset: 0, Time: moment(20)}}, 7, 1}, // in a later session
	} {
		got, tail := newestRaw(t, a, Query{}, c.w)
		if len(got) != c.got || len(tail.Gaps) != c.gaps || tail.Gone || tail.Whole != (c.got < c.w.Last) {
			t.Errorf("%+v: %d messages, %+v", c.w, len(got), tail)
		}
	}
	p.Append(&Entry{Time: moment(8), Session: 1, Offset: 8, Raw: make([]byte, 100_000)}) // a gap that is not over
	if got, tail := newestRaw(t, a, Query{}, Window{Last: 1}); len(got) != 1 || got[0][0] != 7 || len(tail.Gaps) != 1 {
		t.Errorf("in a gap: %v, %+v", got, tail)
	}

	closeArchive(t, a)
	a = open(t, Options{Dir: dir})
	m, err := a.store.msgs.GetMsg(bg, 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.msgs.DeleteMsg(bg, 7); err != nil {
		t.Fatal(err)
	}
	m.Header.Del("Nats-Msg-Id")
	m.Data[len(m.Data)-1] ^= 0x40
	if _, err := a.store.js.PublishMsg(bg, rawMsg(m)); err != nil {
		t.Fatal(err)
	}
	closeArchive(t, a)
	a = open(t, Options{Dir: dir})
	got, tail := newestRaw(t, a, Query{}, Window{Last: 20})
	if len(got) != 6 || len(tail.Corrupt) != 1 || !tail.Whole || tail.Gone {
		t.Errorf("with a damaged block: %v, %+v", got, tail)
	}
	a.Client(1).Append(&Entry{Time: moment(30), Session: 1, Raw: []byte{30}})
	if got, tail := newestRaw(t, a, Query{}, Window{Last: 1}); len(got) != 1 || len(tail.Corrupt) != 0 {
		t.Errorf("behind it: %v, %+v", got, tail)
	}
	for seq := uint64(1); seq <= 3; seq++ {
		if err := a.store.msgs.DeleteMsg(bg, seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, tail := newestRaw(t, a, Query{}, Window{Last: 20}); tail.Gone || len(tail.Corrupt) != 4 {
		t.Errorf("with the oldest lost: %+v", tail)
	}
	if err := a.SetRetention(bg, 50*time.Second, 1<<30); err != nil { // which is why they are gone
		t.Fatal(err)
	}
	got, tail = newestRaw(t, a, Query{}, Window{Last: 20})
	if !tail.Gone || !tail.Whole || got[0][0] != 3 {
		t.Errorf("with the oldest gone: %v, %+v", got, tail)
	}
	if _, tail := newestRaw(t, a, Query{}, Window{Last: 2}); tail.Gone {
		t.Errorf("without coming to the end: %+v", tail)
	}
}

// TestNewestOfABusyClient: what comes, and is stored, while what waits is looked through, is left out, and nothing else.
func TestNewestOfABusyClient(t *testing.T) {
	for _, open1 := range []bool{true, false} {
		a := open(t, Options{})
		p := a.Client(1)
		add := func(i byte) { p.Append(&Entry{Time: time.Now(), Session: 1, Offset: int64(i), Raw: []byte{i}}) }
		add(0)
		add(1)
		syncArchive(t, a, 1)
		if open1 {
			add(2)
		}
		met := 0
		list, _, err := a.Newest(bg, 1, Query{}, Window{Last: 100, Match: func(*Message) bool {
			if met++; met == 1 {
				for i := byte(3); i < 6; i++ {
					add(i)
					syncArchive(t, a, 1)
				}
			}
			return true
		}})
		got := ""
		for _, m := range list {
			got += strconv.Itoa(int(m.Raw[0]))
		}
		if want := map[bool]string{true: "012", false: "01"}[open1]; err != nil || got != want {
			t.Errorf("%s, want %s, %v", got, want, err)
		}
	}
}
