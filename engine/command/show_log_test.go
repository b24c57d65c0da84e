package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine"
	"bmp/engine/archive"
	"bmp/engine/cluster/clustertest"
	"bmp/engine/event"
	"bmp/proto/control"
)

// say publishes console lines "line K", from the k-th on, and waits until the archive has them.
func (ts *testStation) say(k, n int) {
	ts.t.Helper()
	for i := k; i < k+n; i++ {
		ts.Events().Publish(event.Event{Time: time.Now(), Kind: event.Station, Text: fmt.Sprintf("line %d", i), Console: true})
		if i%1000 == 999 {
			ts.archived(i)
		}
	}
	ts.archived(k + n - 1)
}

// archived waits until the archive has a line.
func (ts *testStation) archived(k int) {
	ts.t.Helper()
	if ts.Archive() == nil {
		return
	}
	waitFor(ts.t, "the archive to have it", func() bool {
		found := false
		_, _, err := ts.Archive().NewestEvents(ts.t.Context(), func(piece []archive.Event, _ time.Time) bool {
			for _, e := range piece {
				found = found || strings.Contains(string(e.JSON), fmt.Sprintf(`"line %d"`, k))
			}
			return false
		})
		return err == nil && found
	})
}

func sayings(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("line %d", i))
	}
	return list
}

// logged are the lines that the log shows of those that a test said, or all, and the line under them.
func (ts *testStation) logged(line string, all bool) (list []string, under string) {
	ts.t.Helper()
	v, err := ts.console.Do(ts.t.Context(), line, func(l control.Line) error {
		_, text, ok := strings.Cut(l.Text, "] ")
		switch {
		case l.Code != control.CodeRow:
		case !ok:
			under = l.Text
		case all || strings.HasPrefix(text, "line "):
			list = append(list, text)
		}
		return nil
	})
	if err != nil || v.Err() != nil {
		ts.t.Errorf("%s: %v, %v", line, v, err)
	}
	return list, under
}

func (ts *testStation) logs(line string, want []string, under string) {
	ts.t.Helper()
	got, is := ts.logged(line, false)
	ts.compare(line, got, want, is, under)
}

// The newest console lines come from the memory and, where these are too few, from the archive: of earlier runs of the station, each
// once.
func TestLogOverRestart(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			ts := startStation(t, withArchive(dir))
			ts.say(400*run, 400)
			ts.logs("show log", sayings(0, 400*run+400), "")
			ts.logs("show log last 1", sayings(400*run+399, 400*run+400), "")
			ts.logs("show log last 400", sayings(400*run, 400*run+400), "")
			ts.logs("show log last 1000000", sayings(0, 400*run+400), "")
		})
	}
	ts := startStation(t, withArchive(dir))
	all, under := ts.logged("show log", true)
	if n := strings.Count(strings.Join(all, "\n"), "Stopped: "); n != 3 || under != "" {
		t.Errorf("%d runs have stopped, %s", n, under)
	}
	for _, n := range []int{1, 2, 3, 100, 450, 900} {
		if list, _ := ts.logged(fmt.Sprintf("show log last %d", n), true); !slices.Equal(list, all[max(0, len(all)-n):]) {
			t.Errorf("last %d: %d lines, %.3q", n, len(list), list)
		}
	}
}

// Where a run has said more than the memory holds, the archive has what came before that, without a seam.
func TestLogBeyondTheMemory(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	n := event.LogLines + 1500
	ts.say(0, n)
	older := "there are older lines (last N and since T show them)"
	ts.logs("show log", sayings(n-event.LogLines, n), older)
	ts.logs("show log last 20", sayings(n-20, n), "")
	for _, last := range []int{event.LogLines - 1, event.LogLines, event.LogLines + 1, event.LogLines + 700, n} {
		ts.logs(fmt.Sprintf("show log last %d", last), sayings(n-last, n), "")
	}
	ts.logs("show log last 1000000", sayings(0, n), "")

	// What is published late may have happened before the oldest line in memory, and bytes that are no text are no others.
	late := ts.Events()
	all, _ := late.Log(time.Time{})
	for _, text := range []string{"line late", "line \xff\xfe", "line 9000"} {
		late.Publish(event.Event{Time: all[0].Time.Add(-time.Millisecond), Kind: event.Station, Text: text, Console: true})
	}
	ts.say(n, 1)
	got, _ := ts.logged("show log last 11000", false)
	count := make(map[string]int)
	for _, l := range got {
		count[l]++
	}
	if count["line late"] != 1 || count["line 9000"] != 2 || len(got) != 11_000 || len(count) != 10_999 {
		t.Errorf("%d lines, %d late, %d of line 9000, %d others", len(got), count["line late"], count["line 9000"], len(count))
	}
}

// What is damaged on the disk is said.
func TestLogWithADamagedLine(t *testing.T) {
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) {
		startStation(t, withArchive(dir)).say(0, 600)
	})
	files, err := filepath.Glob(filepath.Join(dir, "archive", "jetstream", "*", "streams", "*_EVENT", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[strings.Index(string(b), `"line 500"`)+1] ^= 0x40
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	ts := startStation(t, withArchive(dir))
	ts.logs("show log", append(sayings(0, 500), sayings(501, 600)...), "1 event cannot be read from the archive")
}

// What the archive has dropped for want of room is said to be no longer kept.
func TestLogThatIsNoLongerKept(t *testing.T) {
	o := withArchive(t.TempDir())
	o.Archive.MaxBytes = 20 << 20 // of messages; of events there may be a twentieth
	t.Run("before", func(t *testing.T) {
		startStation(t, o).say(0, 8000)
	})
	ts := startStation(t, o)
	got, under := ts.logged("show log", false)
	if n := len(got); n < 100 || n >= 8000 || !slices.Equal(got, sayings(8000-n, 8000)) || under != "older lines are no longer kept" {
		t.Errorf("%d lines; %s", n, under)
	}
	ts.logs("show log last 50", sayings(8000-48, 8000), "") // and two of other words
}

// Where the archive cannot be asked, what is in memory is shown all the same.
func TestLogWhileTheArchiveIsAway(t *testing.T) {
	if testing.Short() {
		t.Skip("it is waited for seconds: run without -short")
	}
	servers := clustertest.Start(t, 1)
	ts := startStation(t, engine.Options{Name: "edge", StateDir: t.TempDir(), Archive: &archive.Options{URL: servers.URL(), MaxBytes: 1 << 30}})
	ts.say(0, 300)
	servers[0].Shutdown()
	ts.logs("show log last 300", sayings(0, 300), "")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	v, err := ts.console.Do(ctx, "show log", func(control.Line) error { return nil })
	if d := time.Since(began); d > archivePatience/2 {
		t.Errorf("cancelled after 100ms: %v, %v after %v", v, err, d)
	}
	began = time.Now()
	got, under := ts.logged("show log", false)
	if !slices.Equal(got, sayings(0, 300)) || !strings.Contains(under, "the archive does not answer") && !strings.Contains(under, "older lines cannot be read: ") {
		t.Errorf("%d lines; %s", len(got), under)
	}
	if d := time.Since(began); d > 2*archivePatience {
		t.Errorf("after %v", d)
	}
}

func TestLogOfNoTime(t *testing.T) {
	ts := startStation(t, engine.Options{})
	v, err := ts.console.Do(t.Context(), "show log from -1m to -2m", func(control.Line) error { return nil })
	if err != nil || v.Code != control.CodeInvalid || !strings.Contains(v.Text, "expected a time that is not before the other") {
		t.Errorf("%+v, %v", v, err)
	}
	ts.logs("show log from -2m to -1m", nil, "")
}
