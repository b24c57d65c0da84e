package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// spoil changes a byte of a message of a stream on the disk, which nobody has open.
func spoil(t *testing.T, dir, stream string, seq uint64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", stream, "msgs", "*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of %s: %v", stream, err)
	}
	// length 4, top bit for headers | sequence 8 | time 8 | length of the subject 2 | subject "bmp.…"
	want := binary.LittleEndian.AppendUint64(nil, seq)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 4; ; at++ {
			n := bytes.Index(b[min(at, len(b)):], want)
			if n < 0 {
				break
			}
			at += n
			if at+22 > len(b) || string(b[at+18:at+22]) != "bmp." {
				continue
			}
			length := int(binary.LittleEndian.Uint32(b[at-4:]) &^ (1 << 31))
			b[at-4+length-9] ^= 0x40 // before the checksum
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("message %d of %s is in none of %v", seq, stream, files)
}

// TestDamageOnTheDisk: what is damaged is named, and it alone is missing, wherever it stands; nobody waits for it.
func TestDamageOnTheDisk(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	now := time.Now().Add(-time.Minute)
	const blocks = 6
	for i := range blocks {
		for c := range uint32(2) {
			a.Client(c + 1).Append(&Entry{Time: now.Add(time.Duration(i) * time.Second), Raw: []byte{byte(i), byte(c)}})
			syncArchive(t, a, c+1)
		}
	}
	for i := range 5 {
		a.PublishEvent("adjacency", now.Add(time.Duration(i)), []byte(fmt.Sprint(i)))
	}
	eventually(t, "events", func() bool { st, err := a.Stats(bg); return err == nil && st.Events == 5 })
	closeArchive(t, a)
	for _, seq := range []uint64{1, 5, 8, 11} { // the first, one, one of the other client, and the last of client 1
		spoil(t, dir, "BMP_edge=2E1", seq)
	}
	spoil(t, dir, "BMP_edge=2E1_EVENT", 2)
	spoil(t, dir, "BMP_edge=2E1_EVENT", 5)

	a = open(t, Options{Dir: dir})
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	defer cancel()
	want := [][]byte{{1, 0}, {3, 0}, {4, 0}}
	check := func(what string, got [][]byte, w Walked, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		same(t, got, want)
		var named []string
		for _, c := range w.Corrupt {
			named = append(named, fmt.Sprint(c.Sequence))
			if c.Client != 1 || !strings.Contains(c.Error(), "damaged") {
				t.Errorf("%s: %v", what, c)
			}
		}
		if strings.Join(named, " ") != "1 5 11" {
			t.Errorf("%s: named were %v", what, named)
		}
	}
	for what, q := range map[string]Query{"all": {}, "since": {From: now.Add(-time.Second)}, "to": {From: now.Add(-time.Second), To: now.Add(time.Hour)}} {
		var got [][]byte
		w, err := a.Messages(ctx, 1, q, func(m *Message) error { got = append(got, bytes.Clone(m.Raw)); return nil })
		check(what, got, w, err)
	}
	infos, err := a.catalog.blocks(ctx, 1, func(*info) bool { return true })
	if err != nil || len(infos) != blocks {
		t.Fatalf("%d blocks, %v", len(infos), err)
	}
	var got [][]byte
	w, err := a.fetch(ctx, 1, infos, func(r *record, _ *info) error { got = append(got, bytes.Clone(r.raw)); return nil })
	check("one by one", got, w, err)

	for _, c := range []struct {
		to      time.Time
		want    string
		damaged int
	}{{time.Time{}, "023", 2}, {now.Add(3), "023", 2}, {now.Add(2), "02", 1}, {now, "0", 1}} { // what stood between may have been of that time
		events := ""
		damaged, err := a.Events(ctx, nil, time.Time{}, c.to, func(e Event) error { events += string(e.JSON); return nil })
		if events != c.want || damaged != c.damaged || err != nil {
			t.Errorf("events to %v: %q, %d damaged, %v", c.to, events, damaged, err)
		}
	}
}

// TestDamageBesideRestarts: the last block of a run is named, too, and blocks that are in no index, as after a kill.
func TestDamageBesideRestarts(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	at := time.Now().Add(-time.Minute)
	for run := range 2 {
		a := open(t, Options{Dir: dir})
		for i := range 5 {
			a.Client(1).Append(&Entry{Time: at, Raw: []byte{byte(run), byte(i)}})
			syncArchive(t, a, 1)
			at = at.Add(time.Second)
		}
		closeArchive(t, a)
	}
	spoil(t, dir, "BMP_edge=2E1", 5)
	spoil(t, dir, "BMP_edge=2E1", 8)
	spoil(t, dir, "BMP_edge=2E1", 10)
	for _, indexed := range []bool{true, false} {
		a := open(t, Options{Dir: dir})
		if !indexed {
			if err := a.store.checks.Purge(bg); err != nil {
				t.Fatal(err)
			}
		}
		got, w := all(t, a, 1, Query{})
		h, err := a.At(bg, 1, Want{}, at)
		if err != nil {
			t.Fatal(err)
		}
		newest, found, err := a.Newest(bg, 1, Query{}, Window{Last: 100})
		if err != nil || len(newest) != len(got) {
			t.Errorf("indexed %v: the newest are %d, %v", indexed, len(newest), err)
		}
		same(t, got, [][]byte{{0, 0}, {0, 1}, {0, 2}, {0, 3}, {1, 0}, {1, 1}, {1, 3}})
		for what, list := range map[string][]Corrupt{"messages": w.Corrupt, "newest": found.Corrupt, "at": h.Corrupt} {
			var named []uint64
			for _, c := range list {
				named = append(named, c.Sequence)
			}
			want := "[5 8 10]"
			if what == "at" {
				want = "[8 10]" // what was before the last run does not matter to it
			}
			if fmt.Sprint(named) != want {
				t.Errorf("indexed %v: %s named %v", indexed, what, named)
			}
		}
		closeArchive(t, a)
	}
}

// TestGoneMeanwhile: what expires while blocks are read is no damage.
func TestGoneMeanwhile(t *testing.T) {
	a := open(t, Options{MaxAge: time.Hour})
	for i := range 20 {
		a.Client(1).Append(&Entry{Time: time.Now().Add(-2 * time.Hour), Raw: []byte{byte(i)}})
		syncArchive(t, a, 1)
	}
	infos, err := a.catalog.blocks(bg, 1, func(*info) bool { return true })
	if err != nil || len(infos) != 20 {
		t.Fatalf("%d blocks, %v", len(infos), err)
	}
	purge := func(before uint64) {
		if err := a.store.msgs.Purge(bg, jetstream.WithPurgeSequence(before)); err != nil {
			t.Fatal(err)
		}
	}
	purge(3)
	n := 0
	var w Walked
	err = a.fetchRaw(bg, 1, infos, &w, func(i *info, _ []byte, _ time.Time) error {
		if n++; n == 1 {
			purge(17)
		}
		return nil
	})
	if err != nil || n != 5 || len(w.Corrupt) > 0 {
		t.Errorf("%d blocks, %v, %v", n, w.Corrupt, err)
	}
}

// TestFileThatIsCut: a file that the server cuts, as it cannot tell where the next message begins, or that was cut, has lost what came
// behind; that is named, and what is stored from then on is not taken for it.
func TestFileThatIsCut(t *testing.T) {
	t.Parallel() // it waits more than it works
	const blocks = 20
	for what, harm := range map[string]func(b []byte) []byte{
		"cut":            func(b []byte) []byte { return b[:len(b)/2] },
		"a length":       func(b []byte) []byte { copy(b, "\xff\xff\xff\xff\xff\xff\xff\xff"); return b },
		"zeros":          func(b []byte) []byte { clear(b[len(b)/2 : len(b)/2+500]); return b },
		"an empty file":  func(b []byte) []byte { return nil },
		"no file at all": nil,
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			a := open(t, Options{Dir: dir})
			began := time.Now().Add(-time.Hour)
			for i := range blocks {
				a.Client(1).Append(&Entry{Time: began.Add(time.Duration(i) * time.Minute), Raw: []byte{byte(i)}})
				syncArchive(t, a, 1)
			}
			closeArchive(t, a)
			names, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "BMP_edge=2E1", "msgs", "1.blk"))
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			if harm == nil {
				err = os.Remove(names[0])
			} else {
				var b []byte
				if b, err = os.ReadFile(names[0]); err == nil {
					err = os.WriteFile(names[0], harm(b), 0o600)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			a = open(t, Options{Dir: dir})
			for i := range blocks {
				a.Client(2).Append(&Entry{Time: time.Now(), Raw: []byte{byte(100 + i)}})
				syncArchive(t, a, 2)
			}
			got, w := all(t, a, 1, Query{})
			if len(got) > blocks*2/3 || len(got)+len(w.Corrupt) != blocks {
				t.Errorf("%d of %d messages, %d named", len(got), blocks, len(w.Corrupt))
			}
			for i, m := range got {
				if m[0] != byte(i) {
					t.Errorf("message %d is %d", i, m)
				}
			}
			h, err := a.At(bg, 1, Want{}, time.Now())
			if err != nil || len(h.Corrupt) == 0 {
				t.Errorf("at: %v, %v", h.Corrupt, err)
			}
			_, tail, err := a.Newest(bg, 1, Query{}, Window{Last: 2 * blocks})
			if err != nil || len(tail.Corrupt) != len(w.Corrupt) {
				t.Errorf("newest: %d named, %v", len(tail.Corrupt), err)
			}
			if st, err := a.Stats(bg); err != nil || st.Missing != uint64(len(w.Corrupt)) || st.Unreadable != len(w.Corrupt) {
				t.Errorf("%d missing, %d met of %d, %v", st.Missing, st.Unreadable, len(w.Corrupt), err)
			}
			if got, _ := all(t, a, 2, Query{}); len(got) != blocks {
				t.Errorf("%d new messages", len(got))
			}
		})
	}
}

// TestDamagedBlocksInOneGo: many blocks that lie near each other are sent in one go.
func TestDamagedBlocksInOneGo(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	now := time.Now().Add(-time.Minute)
	const blocks = 80
	for i := range blocks {
		a.Client(1).Append(&Entry{Time: now.Add(time.Duration(i) * time.Millisecond), Raw: []byte{byte(i)}})
		syncArchive(t, a, 1)
	}
	closeArchive(t, a)
	spoil(t, dir, "BMP_edge=2E1", 40)
	a = open(t, Options{Dir: dir})
	infos, err := a.catalog.blocks(bg, 1, func(*info) bool { return true })
	if err != nil || len(infos) != blocks {
		t.Fatalf("%d blocks, %v", len(infos), err)
	}
	n := 0
	w, err := a.fetch(bg, 1, infos, func(r *record, _ *info) error { n++; return nil })
	if err != nil || n != blocks-1 || len(w.Corrupt) != 1 || w.Corrupt[0].Sequence != 40 {
		t.Errorf("%d read, %v, %v", n, w.Corrupt, err)
	}
}

// TestDamagedIndex: without the index of some blocks they are found by themselves, whether it was met when the others were
// listed or later.
func TestDamagedIndex(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	messages, _ := synthetic(rand.New(rand.NewPCG(1, 1)), 4, 50, 300)
	at := time.Now().Add(-time.Hour)
	for part := range 3 {
		at = feed(a.Client(1), messages, at.Add(time.Duration(part)*time.Minute), time.Millisecond)
		syncArchive(t, a, 1)
		closeArchive(t, a) // each run leaves an index
		a = open(t, Options{Dir: dir})
	}
	before, err := a.catalog.blocks(bg, 1, func(*info) bool { return true })
	if err != nil || len(before) < 3 {
		t.Fatalf("%d blocks, %v", len(before), err)
	}
	x, err := a.catalog.load(bg, 1)
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for _, s := range x.segments {
		if s.seq != 0 {
			seqs = append(seqs, s.seq)
		}
	}
	x.mu.Unlock()
	if len(seqs) < 2 {
		t.Fatalf("indices %v", seqs)
	}
	closeArchive(t, a)
	spoil(t, dir, "BMP_edge=2E1_CHECKPOINT", seqs[len(seqs)-2])
	for _, known := range []bool{false, true} {
		a = open(t, Options{Dir: dir})
		if known {
			// As if it had been damaged after it was listed.
			x, err := a.catalog.load(bg, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range x.segments {
				if s.seq == 0 {
					s.seq, s.infos = seqs[len(seqs)-2], nil
				}
			}
			x.mu.Unlock()
		}
		after, err := a.catalog.blocks(bg, 1, func(*info) bool { return true })
		if err != nil || len(after) != len(before) {
			t.Fatalf("known %v: %d blocks, not %d, %v", known, len(after), len(before), err)
		}
		for i := range after {
			if after[i].seq != before[i].seq || after[i].count != before[i].count {
				t.Errorf("known %v: block %+v, not %+v", known, after[i], before[i])
			}
		}
		closeArchive(t, a)
	}
}

// TestDamageIsNeverSilent harms the files of an archive at random: every answer is what it was, or says that something is missing. Of
// what nothing else knows, the last blocks of a killed run, no answer can say so: the archive is closed before.
// ARCHIVE_HARM is how often.
func TestDamageIsNeverSilent(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	o := Options{list: 1, hour: 10 * time.Second}
	whole, begin, end, keys := churned(t, rng, o)
	dir := whole.o.Dir
	closeArchive(t, whole)
	type question struct {
		want Want
		at   time.Time
	}
	var questions []question
	for range 20 {
		q := question{at: begin.Add(time.Duration(rng.Int64N(int64(end.Sub(begin)))))}
		if rng.IntN(2) == 0 {
			q.want.Keys = []RouteKey{keys[rng.IntN(len(keys))]}
		}
		questions = append(questions, q)
	}
	ask := func(dir string) (answers []string, noted []bool) {
		o := o
		o.Dir, o.Grace = dir, 20*time.Second
		a := open(t, o)
		defer closeArchive(t, a)
		messages, w := all(t, a, 1, Query{})
		answers, noted = append(answers, fmt.Sprintf("%x", messages)), append(noted, len(w.Corrupt) > 0)
		for _, q := range questions {
			h, err := a.At(bg, 1, q.want, q.at)
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, r := range h.Routes {
				text += fmt.Sprintf("%v %v %x %d %x %v\n", r.Peer, r.View, r.Key, r.PathID, r.Record, r.Stale)
			}
			answers, noted = append(answers, text), append(noted, len(h.Corrupt) > 0 || h.Incomplete || h.Begin.IsZero())
		}
		return answers, noted
	}
	truth, _ := ask(dir)
	harms := 4
	if n, err := strconv.Atoi(os.Getenv("ARCHIVE_HARM")); err == nil {
		harms = n
	}
	said := 0
	for n := range harms {
		copied := filepath.Join(t.TempDir(), "archive")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(copied, "jetstream", "*", "streams", "BMP_edge=2E1*", "msgs", "*.blk"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		file := files[rng.IntN(len(files))]
		b, err := os.ReadFile(file)
		if err != nil || len(b) == 0 {
			continue // no events
		}
		at := rng.IntN(len(b))
		what := ""
		switch rng.IntN(4) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
			what = "a bit"
		case 1:
			clear(b[at:min(at+512, len(b))])
			what = "zeros"
		case 2:
			b = b[:at]
			what = "cut"
		case 3:
			for i := at; i < min(at+64, len(b)); i++ {
				b[i] = byte(rng.Uint32())
			}
			what = "noise"
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, noted := ask(copied)
		for i := range truth {
			if got[i] != truth[i] && !noted[i] {
				t.Errorf("harm %d, %s at byte %d of %s: answer %d is another, and nothing is said", n, what, at, strings.TrimPrefix(file, copied), i)
			}
			if noted[i] {
				said++
			}
		}
	}
	t.Logf("%d harms, %d answers with a note", harms, said)
}
