package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

var bg = context.Background()

// open opens an archive that the test closes.
func open(t testing.TB, o Options) *Archive {
	t.Helper()
	if o.Station == "" {
		o.Station = "edge.1"
	}
	if o.Dir == "" && o.URL == "" {
		o.Dir = t.TempDir()
	}
	a, err := Open(bg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(bg, 10*time.Second)
		defer cancel()
		a.Close(ctx)
	})
	return a
}

func closeArchive(t testing.TB, a *Archive) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// feed appends messages as one session, each step later than the one before; it returns the time after the last.
func feed(p *Appender, messages [][]byte, at time.Time, step time.Duration) time.Time {
	offset := int64(0)
	for _, m := range messages {
		p.Append(&Entry{Time: at, Offset: offset, Session: 1, Raw: m, Context: bgp.Context{AS4: true}})
		offset += int64(len(m))
		at = at.Add(step)
	}
	return at
}

// all reads what a query selects.
func all(t testing.TB, a *Archive, client uint32, q Query) (messages [][]byte, w Walked) {
	t.Helper()
	w, err := a.Messages(bg, client, q, func(m *Message) error {
		messages = append(messages, bytes.Clone(m.Raw))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages, w
}

func same(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d messages, not %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("message %d is another", i)
		}
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func syncArchive(t testing.TB, a *Archive, client uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	if err := a.Sync(ctx, client); err != nil {
		t.Fatal(err)
	}
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	messages, _ := synthetic(rand.New(rand.NewPCG(1, 1)), 4, 500, 3000)
	start := time.Now().Add(-time.Minute)
	feed(a.Client(7), messages, start, time.Millisecond)
	feed(a.Client(8), messages[:10], start, time.Millisecond)
	syncArchive(t, a, 7)
	got, w := all(t, a, 7, Query{})
	same(t, got, messages)
	if w.Decoded < 2 || len(w.Corrupt) > 0 || len(w.Gaps) > 0 {
		t.Errorf("%+v", w)
	}
	closeArchive(t, a)

	a = open(t, Options{Dir: dir})
	got, _ = all(t, a, 7, Query{})
	same(t, got, messages)
	got, _ = all(t, a, 8, Query{})
	same(t, got, messages[:10])
	got, _ = all(t, a, 9, Query{})
	same(t, got, nil)
	// A part of the time.
	got, _ = all(t, a, 7, Query{From: start.Add(100 * time.Millisecond), To: start.Add(199 * time.Millisecond)})
	same(t, got, messages[100:200])
	// A peer, a type, a prefix.
	var h bmp.PerPeerHeader
	peerHeader(messages[1], &h)
	key := PeerKeyOf(&h)
	var want, ups, withKey [][]byte
	var prefix []byte
	var u bgp.Update
	for _, m := range messages {
		if peerHeader(m, &h) && PeerKeyOf(&h) == key {
			want = append(want, m)
		}
		if messageType(m) == bmp.PeerUpType {
			ups = append(ups, m)
		}
		if messageType(m) != bmp.RouteMonitoringType || u.Parse(m[48:], bgp.Context{AS4: true}) != nil {
			continue
		}
		found := false
		for _, sec := range u.Sections(nil) {
			for it := bgp.SplitNLRI(sec.Family, false, sec.Withdraw, sec.Field); it.Next(); {
				if prefix == nil {
					prefix = bytes.Clone(it.Key)
				}
				found = found || bytes.Equal(it.Key, prefix)
			}
		}
		if found {
			withKey = append(withKey, m)
		}
	}
	got, _ = all(t, a, 7, Query{Peer: &key})
	same(t, got, want)
	got, _ = all(t, a, 7, Query{OfType: true, Type: bmp.PeerUpType})
	same(t, got, ups)
	got, _ = all(t, a, 7, Query{Family: bgp.IPv4Unicast, Key: prefix})
	same(t, got, withKey)
	if len(withKey) < 4 {
		t.Errorf("the test's prefix is in %d messages", len(withKey))
	}
	st, err := a.Stats(bg)
	if err != nil || st.Raw == 0 || st.Ratio() < 2 || st.Messages != uint64(len(messages)+10) || st.From.IsZero() {
		t.Errorf("%+v, %v", st, err)
	}
	cs, err := a.ClientStats(bg, 8)
	if err != nil || cs.Messages != 10 || cs.Blocks != 1 {
		t.Errorf("%+v, %v", cs, err)
	}
	if ids, err := a.Clients(bg); err != nil || len(ids) != 2 {
		t.Errorf("clients %v, %v", ids, err)
	}
	// Flush takes one client's.
	cs, err = a.ClientStats(bg, 7)
	if n, ferr := a.Flush(bg, 7, true); err != nil || ferr != nil || n != (Flushed{cs.Blocks, uint64(len(messages))}) {
		t.Errorf("%+v of %+v, %v, %v", n, cs, err, ferr)
	}
	got, _ = all(t, a, 7, Query{})
	same(t, got, nil)
	got, _ = all(t, a, 8, Query{})
	same(t, got, messages[:10])
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := a.Messages(ctx, 8, Query{}, func(*Message) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestBlockWithinASecond: what a client said is stored within about a second, without more coming.
func TestBlockWithinASecond(t *testing.T) {
	a := open(t, Options{})
	a.Client(1).Append(&Entry{Time: time.Now(), Raw: []byte("anything")})
	start := time.Now()
	eventually(t, "stored", func() bool { return a.stored.Load() == 1 })
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("after %s", d)
	}
	if a.used.Load() != 0 {
		t.Errorf("%d bytes still counted", a.used.Load())
	}
}

func TestSessions(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	now := time.Now().Add(-time.Hour).Truncate(time.Second)
	p := a.Client(3)
	p.Begin(SessionRecord{Session: 1, Time: now, Name: "edge1"})
	feed(p, someSession().Messages(), now, time.Second)
	p.End(SessionRecord{Session: 1, Time: now.Add(time.Minute), Reason: "remote closed", Messages: 12})
	p.Begin(SessionRecord{Session: 2, Time: now.Add(2 * time.Minute)})
	p.Append(&Entry{Time: now.Add(3 * time.Minute), Session: 2, Raw: []byte{3}})
	closeArchive(t, a)
	a = open(t, Options{Dir: dir})
	p = a.Client(3)
	p.Begin(SessionRecord{Session: 1, Time: now.Add(10 * time.Minute)})
	syncArchive(t, a, 3)
	s, err := a.Sessions(bg, 3)
	if err != nil || len(s) != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s[0].Reason != "remote closed" || s[0].Messages != 12 || !s[0].End.Equal(now.Add(time.Minute)) || s[0].Name != "edge1" {
		t.Errorf("%+v", s[0])
	}
	if s[1].Reason != "station killed" || !s[1].End.IsZero() {
		t.Errorf("%+v", s[1])
	}
	if s[2].Reason != "" || !s[2].End.IsZero() || !s[2].Time.Equal(now.Add(10*time.Minute)) {
		t.Errorf("%+v", s[2])
	}
}

func TestEvents(t *testing.T) {
	a := open(t, Options{})
	start := time.Now().Truncate(time.Millisecond)
	for i := range 10 {
		a.PublishEvent([]string{"adjacency", "peer change"}[i%2], start.Add(time.Duration(i)*time.Millisecond), []byte(fmt.Sprint(i)))
	}
	read := func(kinds []string, from, to time.Time) (s string) {
		if _, err := a.Events(bg, kinds, from, to, func(e Event) error { s += string(e.JSON); return nil }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	eventually(t, "events", func() bool { return len(read(nil, time.Time{}, time.Time{})) == 10 })
	if s := read([]string{"peer change"}, time.Time{}, time.Time{}); s != "13579" {
		t.Error(s)
	}
	if s := read(nil, start.Add(2*time.Millisecond), start.Add(5*time.Millisecond)); s != "2345" {
		t.Error(s)
	}
}

func TestFolderOfAnother(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, Station: "a"})
	if _, err := Open(bg, Options{Dir: dir, Station: "a"}); !errors.Is(err, ErrInUse) {
		t.Errorf("twice: %v", err)
	}
	closeArchive(t, a)
	if _, err := Open(bg, Options{Dir: dir, Station: "b"}); !errors.Is(err, ErrStation) || !strings.Contains(err.Error(), dir) {
		t.Errorf("other station: %v", err)
	}
	os.WriteFile(filepath.Join(dir, identityFile), []byte("bmp archive 9\nstation \"a\"\n"), 0o600)
	if _, err := Open(bg, Options{Dir: dir, Station: "a"}); !errors.Is(err, ErrVersion) {
		t.Errorf("other version: %v", err)
	}
	os.WriteFile(filepath.Join(dir, identityFile), []byte("hello"), 0o600)
	if _, err := Open(bg, Options{Dir: dir, Station: "a"}); err == nil {
		t.Error("no error for a file that is not ours")
	}
	// Another version of the streams, as in a cluster.
	dir = t.TempDir()
	a = open(t, Options{Dir: dir, Station: "a"})
	c := a.store.msgs.CachedInfo().Config
	c.Metadata = map[string]string{"bmp-archive": "2", "bmp-station": "a"}
	if _, err := a.store.js.UpdateStream(bg, c); err != nil {
		t.Fatal(err)
	}
	closeArchive(t, a)
	if _, err := Open(bg, Options{Dir: dir, Station: "a"}); !errors.Is(err, ErrVersion) {
		t.Errorf("other version of the stream: %v", err)
	}
}

// TestGap: a disk that is slow or fails makes a gap, never a stall; what came before and after it is there, the gap is in
// the archive, and it goes on by itself.
func TestGap(t *testing.T) {
	var blocked atomic.Bool
	blocked.Store(true)
	var mu sync.Mutex
	var told []Gap
	var trouble []error
	dir := t.TempDir()
	a := open(t, Options{
		Dir: dir, QueueBytes: 1 << 20,
		OnGap:     func(g Gap) { mu.Lock(); told = append(told, g); mu.Unlock() },
		OnTrouble: func(err error) { mu.Lock(); trouble = append(trouble, err); mu.Unlock() },
		publish: func(int) error {
			if blocked.Load() {
				return errors.New("no space left on device")
			}
			return nil
		},
	})
	messages, _ := synthetic(rand.New(rand.NewPCG(2, 1)), 4, 5000, 0)
	p := a.Client(1)
	at := time.Now().Add(-time.Hour)
	kept := [][]byte{}
	lost, firstLost := 0, time.Time{}
	start := time.Now()
	for _, m := range messages {
		if p.Append(&Entry{Time: at, Raw: m, Context: bgp.Context{AS4: true}}) {
			kept = append(kept, m)
		} else {
			if lost == 0 {
				firstLost = at
			}
			lost++
		}
		at = at.Add(time.Microsecond)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Append took %s while nothing could be stored", d)
	}
	if lost == 0 || len(kept) == 0 {
		t.Fatalf("%d kept, %d lost", len(kept), lost)
	}
	eventually(t, "the gap is told", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 1 && told[0].Open })
	eventually(t, "the trouble is told", func() bool { mu.Lock(); defer mu.Unlock(); return len(trouble) == 1 })
	blocked.Store(false)
	eventually(t, "the gap has ended", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 2 && !told[1].Open })
	at = at.Add(time.Second)
	for _, m := range messages[:100] {
		if !p.Append(&Entry{Time: at, Raw: m}) {
			t.Fatal("lost though there is room again")
		}
		kept = append(kept, m)
	}
	closeArchive(t, a)
	if told[1].Messages != uint64(lost) || !told[1].From.Equal(firstLost) {
		t.Errorf("told %+v; %d were lost since %s", told[1], lost, firstLost)
	}
	if len(trouble) != 2 || trouble[0] == nil || trouble[1] != nil {
		t.Errorf("trouble: %v", trouble)
	}
	a = open(t, Options{Dir: dir})
	got, w := all(t, a, 1, Query{})
	same(t, got, kept)
	if len(w.Gaps) != 1 || w.Gaps[0].Messages != uint64(lost) || !w.Gaps[0].From.Equal(firstLost) {
		t.Errorf("gaps %+v; %d were lost", w.Gaps, lost)
	}
	if st, _ := a.Stats(bg); st.Lost != uint64(lost) {
		t.Errorf("stats say %d lost, not %d", st.Lost, lost)
	}
}

// TestCorruptBlock: a block that cannot be read is named and counted, and the others are read.
func TestCorruptBlock(t *testing.T) {
	a := open(t, Options{})
	p := a.Client(1)
	now := time.Now()
	for i := range 5 {
		p.Append(&Entry{Time: now.Add(time.Duration(i)), Raw: []byte{byte(i)}})
		syncArchive(t, a, 1)
	}
	// Blocks are stored anew, one damaged and one of another version.
	var rest []*jetstream.RawStreamMsg
	for seq := uint64(3); seq <= 5; seq++ {
		m, err := a.store.msgs.GetMsg(bg, seq)
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, m)
		if err := a.store.msgs.DeleteMsg(bg, seq); err != nil {
			t.Fatal(err)
		}
	}
	rest[0].Data[len(rest[0].Data)-1] ^= 0x40
	for i, m := range rest {
		m.Header.Del("Nats-Msg-Id")
		if i == 2 {
			m.Header.Set(hdrVersion, "77")
		}
		if _, err := a.store.js.PublishMsg(bg, rawMsg(m)); err != nil {
			t.Fatal(err)
		}
	}
	got, w := all(t, a, 1, Query{})
	same(t, got, [][]byte{{0}, {1}, {3}})
	if len(w.Corrupt) != 2 || w.Corrupt[0].Sequence != 6 || w.Corrupt[1].Sequence != 8 || !strings.Contains(w.Corrupt[0].Error(), "block 6 of stream BMP_edge=2E1") {
		t.Errorf("%v", w.Corrupt)
	}
}

// TestClockBack: after the clock was set back an hour is there twice, in the order of arrival.
func TestClockBack(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	p := a.Client(1)
	at := time.Now().Add(-3 * time.Hour)
	var want [][]byte
	for i := range 200 {
		if i == 100 {
			at = at.Add(-100 * time.Second)
		}
		m := []byte{byte(i)}
		p.Append(&Entry{Time: at, Raw: m})
		if i%100 >= 40 && i%100 < 60 {
			want = append(want, m)
		}
		at = at.Add(time.Second)
	}
	syncArchive(t, a, 1)
	from := at.Add(-60 * time.Second)
	got, _ := all(t, a, 1, Query{From: from, To: from.Add(19 * time.Second)})
	same(t, got, want)
	closeArchive(t, a)
	a = open(t, Options{Dir: dir})
	got, _ = all(t, a, 1, Query{From: from, To: from.Add(19 * time.Second)})
	same(t, got, want)
}

func rawMsg(m *jetstream.RawStreamMsg) *nats.Msg {
	return &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
}

// TestWalksLeaveNothing: whatever a walk ends by, the server keeps nothing of it.
func TestWalksLeaveNothing(t *testing.T) {
	a := open(t, Options{})
	for id := range uint32(50) {
		a.Client(id + 1).Append(&Entry{Time: time.Now(), Raw: []byte{3, 0, 0, 0, 6, 4}})
		syncArchive(t, a, id+1)
	}
	each, err := a.EachClient(bg)
	if err != nil || len(each) != 50 || each[50].Messages != 1 || each[50].Raw != 6 || each[50].From.IsZero() {
		t.Errorf("%d clients, the last %+v; %v", len(each), each[50], err)
	}
	for id := range uint32(60) { // of ten there is nothing
		all(t, a, id+1, Query{From: time.Now().Add(-time.Hour)})
		if _, err := a.ClientStats(bg, id+1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Messages(bg, 1, Query{}, func(*Message) error { return ErrStop }); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(bg)
	if _, err := a.Messages(ctx, 1, Query{}, func(*Message) error { cancel(); return ctx.Err() }); err == nil {
		t.Error("a walk that was cancelled ended well")
	}
	for _, st := range []jetstream.Stream{a.store.msgs, a.store.checks} {
		i, err := st.Info(bg)
		if err != nil || i.State.Consumers != 0 {
			t.Errorf("%s has %d consumers, %v", i.Config.Name, i.State.Consumers, err)
		}
	}
}

// TestRetentionRefused: where the streams cannot be as large as that, or who asked went away, all is as it was, and goes on.
func TestRetentionRefused(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, MaxAge: time.Hour, MaxBytes: 1 << 30})
	gone, cancel := context.WithCancel(bg)
	cancel()
	for _, c := range []struct {
		ctx   context.Context
		bytes int64
		want  error
	}{{bg, 99999 << 40, ErrNoRoom}, {gone, 2 << 30, context.Canceled}} {
		if err := a.SetRetention(c.ctx, 2*time.Hour, c.bytes); !errors.Is(err, c.want) {
			t.Errorf("%d: %v, want %v", c.bytes, err, c.want)
		}
		st, err := a.Stats(bg)
		if age, bytes := a.Retention(); err != nil || age != time.Hour || bytes != 1<<30 || st.MaxBytes != 1<<30 {
			t.Errorf("%d: kept are %v, %d; %+v, %v", c.bytes, age, bytes, st, err)
		}
		if i := a.store.msgs.CachedInfo().Config; i.MaxBytes != 1<<30 || i.MaxAge != time.Hour {
			t.Errorf("%d: the stream has %d, %v", c.bytes, i.MaxBytes, i.MaxAge)
		}
		if _, err := a.EachClient(bg); err != nil {
			t.Errorf("%d: %v", c.bytes, err)
		}
		a.Client(1).Append(&Entry{Time: time.Now(), Raw: []byte("x")})
		syncArchive(t, a, 1)
	}
	if got, _ := all(t, a, 1, Query{}); len(got) != 2 {
		t.Errorf("%d messages", len(got))
	}
	// One that was set by an earlier version all the same does not keep the archive from being opened.
	closeArchive(t, a)
	a = open(t, Options{Dir: dir, MaxAge: time.Hour, MaxBytes: 99999 << 40})
	if got, _ := all(t, a, 1, Query{}); len(got) != 2 {
		t.Errorf("%d messages, opened with more than there can be", len(got))
	}
}

// TestRetentionWhileTheStoreIsOpenedAnew: what is opened anew meanwhile stays.
func TestRetentionWhileTheStoreIsOpenedAnew(t *testing.T) {
	a := open(t, Options{MaxAge: time.Hour})
	done := make(chan error, 1)
	go func() { done <- a.SetRetention(bg, 2*time.Hour, 0) }()
	for over := false; !over; {
		a.failing.Store(3)
		a.revive()
		select {
		case err := <-done:
			if over = true; err != nil {
				t.Error(err)
			}
		default:
		}
	}
	a.failing.Store(3)
	a.storeMu.Lock()
	a.revived = time.Time{}
	a.storeMu.Unlock()
	a.revive()
	if i, err := a.store.msgs.Info(bg); err != nil || i.Config.MaxAge != 2*time.Hour {
		t.Errorf("%+v, %v", i, err)
	}
}
