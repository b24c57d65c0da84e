package command

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine"
	"bmp/engine/archive"
)

func withArchive(dir string) engine.Options {
	return engine.Options{StateDir: dir, Archive: &archive.Options{}}
}

// hasLines checks that the words of each line of want are in one line of text, in that order.
func hasLines(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		words := strings.Fields(w)
		for i := range words {
			words[i] = regexp.QuoteMeta(words[i])
		}
		if !regexp.MustCompile(strings.Join(words, ".*")).MatchString(text) {
			t.Errorf("no line %q in\n%s", w, text)
		}
	}
}

// What was said before a restart of the station can be asked for after it, also of peers that the router has not spoken
// of since.
func TestPastOverRestart(t *testing.T) {
	dir := t.TempDir()
	var middle time.Time
	t.Run("before", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		r := ts.router("edge1")
		r.play(ts.Station, `
initiation edge1 a router
up 10.0.0.1 as=65001
up 10.0.0.2 as=65002
announce 10.0.0.1 203.0.113.0/24 path=65001,65010 nh=10.0.0.1`)
		middle = time.Now()
		r.play(ts.Station, `
withdraw 10.0.0.1 203.0.113.0/24
close`)
		text, _ := ts.typed("show client 1 messages since -1h")
		hasLines(t, text, "initiation - edge1", "peer-up 10.0.0.1", "5 messages")
	})
	t.Run("after", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		all, _ := ts.typed("show client 1 messages since -1h | json")
		if n := len(ts.asked("show client 1 messages since -1h | json").([]any)); n != 5 {
			t.Fatalf("%d messages:\n%s", n, all)
		}
		stamp := middle.UTC().Format("2006-01-02T15:04:05.000000Z")
		for _, c := range []struct {
			line string
			n    int
			has  string
		}{
			{"show client edge1 messages from -1h to " + stamp, 4, "announce"},
			{"show client edge1 messages since " + stamp, 1, "withdraw"},
			{"show client 1 messages since -1h type peer-up", 2, "peer_up"},
			{"show client 1 messages since -1h last 2", 2, "withdraw"},
			{"show client 1 peer 10.0.0.1 messages since -1h", 3, "10.0.0.1"},
			{"show client 1 peer 10.0.0.2 messages since -1h detail", 1, "peer_up"},
		} {
			list, _ := ts.asked(c.line + " | json").([]any)
			if len(list) != c.n || !strings.Contains(strings.ToLower(fmt.Sprint(list)), c.has) {
				t.Errorf("%s: %d messages, want %d with %s: %v", c.line, len(list), c.n, c.has, list)
			}
		}
		for _, line := range []string{"show client 1 peer 10.0.0.9 messages since -1h", "show client 1 messages from -1m to -2m"} {
			if text, v := ts.typed(line); v.Err() == nil {
				t.Errorf("%s: %s", line, text)
			}
		}
		text, _ := ts.typed("show client 1")
		hasLines(t, text, "127.0.0.11 for 5 messages remote closed")
		text, _ = ts.typed("show log since -1h")
		hasLines(t, text, "ADJCHANGE: Client 127.0.0.11 UP", "Stopped: 0 clients closed", "Listening on")
		if strings.Index(text, "ADJCHANGE") > strings.LastIndex(text, "Listening on") {
			t.Errorf("the log is not in order:\n%s", text)
		}
	})
}

// TestDamageIsSaid: a file of the archive that lost its end is said at the start, under answers about its time, with JSON and where
// rows are only counted, too, and by show archive.
func TestDamageIsSaid(t *testing.T) {
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		r := ts.router("edge1")
		for k := range 3 {
			r.play(ts.Station, talk(10*k, 10))
			ts.typed("show client 1 messages since -1h") // has all stored
		}
	})
	names, err := filepath.Glob(filepath.Join(dir, "archive", "jetstream", "*", "streams", "BMP_*", "msgs", "1.blk"))
	names = slices.DeleteFunc(names, func(s string) bool { return strings.Contains(s, "_EVENT") || strings.Contains(s, "_CHECKPOINT") })
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	size, err := os.Stat(names[0])
	if err == nil {
		err = os.Truncate(names[0], size.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Run("after", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		const note = "cannot be read, the first is block "
		for _, line := range []string{
			"show client 1 messages since -1h", "show client 1 messages", "show client 1 messages since -1h | json", "show client 1 messages | json",
			"show client 1 messages since -1h | count", "show bgp all at -0s | json",
		} {
			if text, v := ts.typed(line); v.Err() != nil || !strings.Contains(text, note) {
				t.Errorf("%s: %v\n%s", line, v.Err(), text)
			}
		}
		text, _ := ts.typed("show archive")
		hasLines(t, text, "Lost : 3 stored blocks, 3 blocks that questions of this run could not read")
		waitFor(t, "a console line", func() bool {
			text, _ := ts.typed("show log")
			return strings.Contains(text, "blocks of messages are missing")
		})
	})
}

// Clients of one name are told apart where the line under an answer speaks of them.
func TestNotesOfClientsOfOneName(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	for n, name := range []string{"edge1", "edge2", "edge1"} {
		dialRouter(t, ts.Station, fmt.Sprintf("127.0.0.%d", 21+n)).play(ts.Station, "initiation "+name+" a router\nup 10.0.0.1 as=65001\nclose")
	}
	for line, want := range map[string]string{
		"show bgp all at -1h":          "nothing is archived of edge1 (client 1), edge2, edge1 (client 3) up to then",
		"show bgp client 3 all at -1h": "nothing is archived of edge1 up to then",
		"show bgp all at -0s":          "edge1 (client 3) was down at",
	} {
		text, v := ts.typed(line)
		if v.Err() != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %q is not in %s", line, want, text)
		}
	}
}

func TestShowArchive(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	text, _ := ts.typed("show archive")
	hasLines(t, text, "Span : nothing yet")
	ts.router("edge1").play(ts.Station, jsonRouter)
	ts.typed("show client 1 messages since -1h") // has all stored
	text, _ = ts.typed("show archive")
	hasLines(t, text, "Records : 12 in 1 block", "Kept for : 7d", "Lost : no message", "1 edge1.ams 12")
	doc := ts.asked("show archive | json")
	for where, want := range map[string]string{
		"": `from, to, span_seconds, blocks, records, bytes, packed_bytes, ratio, disk_bytes, index_bytes, events, events_lost, lists_lost,
			retention_seconds, retention_bytes, index_limit_bytes, queued_bytes, queue_limit_bytes, gaps, messages_lost, bytes_lost,
			blocks_missing, blocks_unreadable, failing, embedded, cluster,
			replicas, replicas_current, clients`,
		"clients": "client, client_name, from, to, blocks, records, bytes, packed_bytes, gaps",
	} {
		m, _ := doc.(map[string]any)
		if where != "" {
			m, _ = at(t, doc, where, 0).(map[string]any)
		}
		var got []string
		for k := range m {
			got = append(got, k)
		}
		slices.Sort(got)
		if !slices.Equal(got, keys(want)) {
			t.Errorf("%s: keys\n%v, want\n%v", where, got, keys(want))
		}
	}
	text, _ = ts.typed("show summary")
	hasLines(t, text, "Archive : KB, 0d 00h 00m", "Archive queue : 0B of 64.00MB", "Archive gaps : none")
	loaded, _ := at(t, ts.asked("show summary | json"), 0, "archive").(map[string]any)
	if len(loaded) != len(keys("queued_bytes, queue_limit_bytes, gaps, open_gaps, messages_lost, bytes_lost, events_lost, failing")) ||
		loaded["queue_limit_bytes"] != 64.0*(1<<20) || loaded["gaps"] != 0.0 || loaded["failing"] != false {
		t.Errorf("the archive in the summary: %v", loaded)
	}
	text, _ = ts.typed("retention archive 30d 1GB")
	hasLines(t, text, "archived for 30d, at most 1GB (before: 7d, 20GB)")
	for _, line := range []string{"retention archive 1s 1GB", "retention archive 1d 1KB"} {
		if text, v := ts.typed(line); v.Err() == nil {
			t.Errorf("%s: %s", line, text)
		}
	}
	text, _ = ts.typed("flush client 1")
	hasLines(t, text, "Thrown away of client 1 ; 1 archived block of 12 records (messages, begins and ends of sessions)")
	if list, _ := ts.asked("show client 1 messages since -1h | json").([]any); len(list) != 0 {
		t.Errorf("after the flush: %v", list)
	}
}

// What did not fit is said where the messages of its time are shown.
func TestArchiveGapShown(t *testing.T) {
	ts := startStation(t, engine.Options{StateDir: t.TempDir(), Archive: &archive.Options{QueueBytes: 4 << 10}})
	ts.router("edge1").play(ts.Station, "initiation edge1 router\nup 10.0.0.1 as=65001\n"+
		strings.Repeat("announce 10.0.0.1 203.0.113.0/24 path=65001,65010 nh=10.0.0.1\n", 200))
	waitFor(t, "the gap to be stored", func() bool {
		text, _ := ts.typed("show client 1 messages since -1h | json")
		shown, _ := ts.typed("show client 1 messages since -1h | count")
		doc := ts.asked("show archive | json")
		gaps, _ := at(t, doc, "clients", 0, "gaps").([]any)
		return text != "" && shown != "" && len(gaps) > 0
	})
	text, _ := ts.typed("show client 1 messages since -1h")
	hasLines(t, text, "messages; messages lost,")
	text, _ = ts.typed("show archive")
	hasLines(t, text, "gap: messages lost,")
	text, _ = ts.typed("show summary")
	hasLines(t, text, "Archive gaps : of this run, messages lost")
	if lost, _ := at(t, ts.asked("show summary | json"), 0, "archive", "messages_lost").(float64); lost < 1 {
		t.Errorf("%v messages lost", lost)
	}
}
