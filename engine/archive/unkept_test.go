package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// unkeptIn is what the file of a folder names, which may be written to meanwhile.
func unkeptIn(t *testing.T, dir string) (list []unkeptBlocks) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "unkept"))
	if err != nil {
		t.Fatal(err)
	}
	var newest uint64
	for at := 0; at < len(b); at += unkeptPlace {
		if turn, l, ok := parseUnkept(b[at:]); ok && turn >= newest {
			newest, list = turn, l
		}
	}
	return list
}

// noRoom is an archive on a disk without room, for blocks and for those that wait, while full says so.
func noRoom(t *testing.T, o Options, full *atomic.Bool) *Archive {
	t.Helper()
	o.free = func() (uint64, error) {
		if full.Load() {
			return 0, nil
		}
		return 1 << 40, nil
	}
	o.publish = func(int) error {
		if full.Load() {
			return errors.New("disk full")
		}
		return nil
	}
	return open(t, o)
}

// closeUnstored closes an archive that cannot store.
func closeUnstored(t *testing.T, a *Archive) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("closed with %v", err)
	}
}

// TestUnkept: with no room on the disk, neither to store nor for what waits, the next run says what is missing, whether this one
// is killed or closed, and once.
func TestUnkept(t *testing.T) {
	var full atomic.Bool
	dir, killed := t.TempDir(), t.TempDir()
	a := noRoom(t, Options{Dir: dir}, &full)
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
	named := func(path string) (n uint64) {
		for _, g := range unkeptIn(t, path) {
			if g.Client != 1 || g.Bytes != 100*g.Messages || g.From.Before(lostFrom) || g.To.After(time.Now()) {
				t.Errorf("%+v", g)
			}
			n += g.Messages
		}
		return n
	}
	eventually(t, "they are remembered", func() bool { return named(dir) == 20 })
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	lostTo := time.Now()
	add(1, 5)
	closeUnstored(t, a)
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
			eventually(t, "it is no longer remembered", func() bool { return named(folder) == 0 })
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

// TestUnkeptIsOfItsRun: a gap that an earlier run left changes nothing of what is known of the restart, also where it was carried
// over a run that could not store it either.
func TestUnkeptIsOfItsRun(t *testing.T) {
	for _, gaps := range []int{0, 1} {
		dir := t.TempDir()
		began := time.Now().Add(-time.Hour).Truncate(time.Second)
		at := func(when time.Time) func() time.Time { return func() time.Time { return when } }
		var full atomic.Bool
		a := noRoom(t, Options{Dir: dir, now: at(began)}, &full)
		peer := bmptest.NewPeer("10.0.0.1", 65000)
		u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
		p := a.Client(1)
		p.Begin(SessionRecord{Session: 1, Time: began, Start: began, Name: "edge1"})
		last := feed(p, [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()},
			began.Add(time.Second), time.Second)
		syncArchive(t, a, 1)
		if gaps > 0 {
			full.Store(true)
			p.Append(&Entry{Time: last.Add(time.Second), Raw: make([]byte, 10)})
			closeUnstored(t, a)
			a = noRoom(t, Options{Dir: dir, now: at(began.Add(5 * time.Minute))}, &full)
			closeUnstored(t, a)
			if list := unkeptIn(t, dir); len(list) != 1 || list[0].run != began.UnixNano() || !list[0].To.Equal(last.Add(time.Second)) {
				t.Errorf("carried over is %+v", list)
			}
		} else {
			closeArchive(t, a)
			closeArchive(t, open(t, Options{Dir: dir, now: at(began.Add(5 * time.Minute))}))
		}
		again := began.Add(10 * time.Minute)
		a = open(t, Options{Dir: dir, now: at(again)})
		syncArchive(t, a, 1)
		for _, when := range []time.Time{began.Add(7 * time.Minute), again.Add(time.Minute)} {
			h, err := a.At(bg, 1, Want{}, when)
			if err != nil || h.Down.IsZero() || len(h.Routes) > 0 || len(h.Gaps) > 0 {
				t.Errorf("%d gaps: at %v %+v, %v", gaps, when, h, err)
			}
		}
		changes := 0
		h, err := a.History(bg, 1, Want{}, began, again.Add(time.Minute), func(*Change) error { changes++; return nil })
		if err != nil || changes != 2 || h.Down.IsZero() || len(h.Unknown) != 1 || len(h.Gaps) != gaps {
			t.Errorf("%d gaps: history: %d changes, %+v, %v", gaps, changes, h, err)
		}
	}
}

// TestUnkeptAndStored: what was stored after all is no gap, though it was named when the station was killed.
func TestUnkeptAndStored(t *testing.T) {
	dir, killed := t.TempDir(), t.TempDir()
	var full atomic.Bool
	full.Store(true)
	a := noRoom(t, Options{Dir: dir}, &full)
	a.Client(1).Append(&Entry{Time: time.Now(), Raw: []byte("x")})
	eventually(t, "it is remembered", func() bool { return len(unkeptIn(t, dir)) == 1 })
	named, err := os.ReadFile(filepath.Join(dir, "unkept"))
	if err != nil {
		t.Fatal(err)
	}
	full.Store(false)
	syncArchive(t, a, 1)
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(killed, "unkept"), named, 0o600); err != nil { // as it is for up to a second
		t.Fatal(err)
	}
	b := open(t, Options{Dir: killed})
	syncArchive(t, b, 1)
	if got, w := all(t, b, 1, Query{}); len(got) != 1 || len(w.Gaps) > 0 {
		t.Errorf("%d messages, gaps %+v", len(got), w.Gaps)
	}
}

// TestUnkeptMarkers: begins and ends of sessions count.
func TestUnkeptMarkers(t *testing.T) {
	dir := t.TempDir()
	var full atomic.Bool
	full.Store(true)
	a := noRoom(t, Options{Dir: dir}, &full)
	p := a.Client(1)
	p.Begin(SessionRecord{Session: 1, Time: time.Now()})
	p.End(SessionRecord{Session: 1, Time: time.Now()})
	for _, when := range []string{"before", "after"} {
		eventually(t, when, func() bool { list := unkeptIn(t, dir); return len(list) == 1 && list[0].Messages == 2 })
		if when == "before" {
			closeUnstored(t, a)
		}
	}
}

// TestInMemoryAlone: what is lost before a block is, too, however young the block is, and blocks that do not follow each other
// are named each.
func TestInMemoryAlone(t *testing.T) {
	now := time.Now()
	block := func(number uint64, place int, at time.Time, gap *Gap) *sealed {
		w := &sealed{count: 1, buf: appendRecord(make([]byte, 0, 100), &record{arrival: 7, raw: []byte("abc")}), number: number, place: place, at: at, gap: gap}
		w.measure()
		return w
	}
	old := now.Add(-time.Minute)
	p := &Appender{a: &Archive{run: 1}, id: 9, sealed: []*sealed{
		block(1, 0, old, nil), block(2, 0, old, nil), block(3, 1, old, nil), block(4, 0, now, &Gap{Messages: 5, From: time.Unix(0, 2), To: time.Unix(0, 4)}),
	}}
	got := mergeUnkept(p.inMemoryAlone(now))
	want := []unkeptBlocks{
		{1, 1, 2, Gap{Client: 9, Messages: 2, Bytes: 6, From: time.Unix(0, 7), To: time.Unix(0, 7)}},
		{1, 4, 4, Gap{Client: 9, Messages: 5, From: time.Unix(0, 2), To: time.Unix(0, 4)}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	// As if the last were to be given up, too.
	want[1].Gap = Gap{Client: 9, Messages: 6, Bytes: 3, From: time.Unix(0, 2), To: time.Unix(0, 7)}
	if got := mergeUnkept(append(got, p.unkeptOf(nil, block(4, 0, now, nil), true)...)); !slices.Equal(got, want) {
		t.Errorf("with what is given up: %+v", got)
	}
}

// TestUnkeptTwice: a gap that was stored, and is still named because the station was killed before it could say so, is not stored
// again, however often that happens; and a start that fails does not forget it.
func TestUnkeptTwice(t *testing.T) {
	dir := t.TempDir()
	var full atomic.Bool
	a := noRoom(t, Options{Dir: dir}, &full)
	full.Store(true)
	for range 3 {
		spillOne(a, "x")
	}
	closeUnstored(t, a)
	if err := os.Remove(filepath.Join(dir, aliveFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, aliveFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if b, err := Open(bg, Options{Station: "edge.1", Dir: dir}); err == nil {
		closeArchive(t, b)
		t.Error("it is opened without a place for signs of life")
	}
	if err := os.Remove(filepath.Join(dir, aliveFile)); err != nil {
		t.Fatal(err)
	}
	named, err := os.ReadFile(filepath.Join(dir, "unkept"))
	if err != nil {
		t.Fatal(err)
	}
	for run := range 3 {
		if err := os.WriteFile(filepath.Join(dir, "unkept"), named, 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, Options{Dir: dir})
		syncArchive(t, b, 1)
		if _, w := all(t, b, 1, Query{}); len(w.Gaps) != 1 || w.Gaps[0].Messages != 3 {
			t.Errorf("run %d: %+v", run, w.Gaps)
		}
		closeArchive(t, b)
	}
}

// TestUnkeptDamaged: what makes no sense says nothing, or what was written before says it, and the archive opens.
func TestUnkeptDamaged(t *testing.T) {
	u := new(unkept)
	dir := t.TempDir()
	if list, err := u.open(dir); err != nil || len(list) > 0 {
		t.Fatal(list, err)
	}
	list := make([]unkeptBlocks, unkeptMost+1)
	for i := range list {
		list[i] = unkeptBlocks{1, 2, 3, Gap{Client: uint32(i), Messages: 1, From: time.Unix(0, 1), To: time.Unix(0, 2)}}
	}
	if err := u.remember(list[:1]); err != nil {
		t.Fatal(err)
	}
	if err := u.remember(list); err != errUnkeptMany {
		t.Errorf("of more than there is room for: %v", err)
	}
	u.close()
	path := filepath.Join(dir, "unkept")
	whole, err := os.ReadFile(path)
	if got := unkeptIn(t, dir); err != nil || len(got) != unkeptMost || got[5] != list[5] {
		t.Fatalf("%d, %v", len(got), err)
	}
	places := [2]int{unkeptPlace, 0} // of the first and the second
	changed := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] ^= 1
		return b
	}
	both := changed(places[0] + 30)
	both[places[1]+30] ^= 1
	many := changed(places[1] + 16)
	many[places[1]+16] = 0x80
	for _, c := range []struct {
		what string
		b    []byte
		want int
	}{
		{"whole", whole, unkeptMost}, {"empty", nil, 0}, {"cut", whole[:len(whole)-1], unkeptMost}, {"too many", many, 1}, {"the second", changed(places[1] + 100), 1},
		{"the first", changed(places[0] + 30), unkeptMost}, {"both", both, 0}, {"another", make([]byte, 100), 0},
	} {
		if err := os.WriteFile(path, c.b, 0o600); err != nil {
			t.Fatal(err)
		}
		u := new(unkept)
		if got, err := u.open(dir); err != nil || len(got) != c.want {
			t.Errorf("%s: %d blocks, %v", c.what, len(got), err)
		}
		// What is written next is what counts.
		if err := u.remember(list[:3]); err != nil {
			t.Error(err)
		}
		u.close()
		if got := unkeptIn(t, dir); len(got) != 3 {
			t.Errorf("%s: then %d", c.what, len(got))
		}
		if st, err := os.Stat(path); err != nil || st.Size() != int64(len(whole)) {
			t.Errorf("%s: it has no room: %v, %v", c.what, st, err)
		}
	}
}
