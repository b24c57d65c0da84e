package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine"
	"bmp/engine/archive"
	"bmp/engine/cluster/clustertest"
	"bmp/proto/control"
)

// talk is an Initiation, two peers that come up, and n announcements of them in turns, from the k-th on.
func talk(k, n int) string {
	var b strings.Builder
	b.WriteString("initiation edge1 a router\nup 10.0.0.1 as=65001\nup 10.0.0.2 as=65002\n")
	b.WriteString(more(k, n))
	return b.String()
}

func more(k, n int) string {
	var b strings.Builder
	for i := k; i < k+n; i++ {
		fmt.Fprintf(&b, "announce 10.0.0.%d 10.%d.%d.0/24 path=65001,65010 nh=10.0.0.1\n", 1+i%2, i>>8, i&255)
	}
	return b.String()
}

// talked is what is shown of talk: a word for each message.
func talked(k, n int) []string {
	return append([]string{"initiation", "peer_up", "peer_up"}, mored(k, n)...)
}

func mored(k, n int) (list []string) {
	for i := k; i < k+n; i++ {
		list = append(list, fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255))
	}
	return list
}

// shownWords are the messages that a line shows, and the line under them.
func (ts *testStation) shownWords(line string) (list []string, under string) {
	ts.t.Helper()
	var last time.Time
	for _, e := range ts.asked(line + " detail | json").([]any) {
		m := e.(map[string]any)
		word := fmt.Sprint(m["type"])
		for _, r := range m["routes"].([]any) {
			word = fmt.Sprint(r.(map[string]any)["prefix"])
		}
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(m["time"]))
		if err != nil || at.Before(last) {
			ts.t.Errorf("%s: %s comes after %s, %v", line, at, last, err)
		}
		last = at
		list = append(list, word)
	}
	text, _ := ts.typed(line)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return list, lines[len(lines)-1]
}

func (ts *testStation) shows(line string, want []string, under string) {
	ts.t.Helper()
	got, is := ts.shownWords(line)
	ts.compare(line, got, want, is, under)
}

// compare checks the rows that a line gave, and what stands under them.
func (ts *testStation) compare(line string, got, want []string, is, under string) {
	ts.t.Helper()
	if !slices.Equal(got, want) {
		n := 0
		for n < min(len(got), len(want)) && got[n] == want[n] {
			n++
		}
		ts.t.Errorf("%s: %d rows, want %d; row %d is another: %.3q, want %.3q", line, len(got), len(want), n, got[n:], want[n:])
	}
	if is != under {
		ts.t.Errorf("%s: %q under it, want %q", line, is, under)
	}
}

// each is every second of a list, from the first or the second on.
func each(list []string, from int) (out []string) {
	for i := from; i < len(list); i += 2 {
		out = append(out, list[i])
	}
	return out
}

// The newest messages come from the memory and, what that has no longer, from the archive: over a restart of the station, of peers
// and of clients that have not been heard of since, too.
func TestNewestMessagesOverRestart(t *testing.T) {
	dir := t.TempDir()
	n := 3000
	first := talked(0, n)
	t.Run("before", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		r := ts.router("edge1")
		r.play(ts.Station, talk(0, n))
		ring := r.client(ts.Station).Info(time.Now()).Ring
		if ring.Kept < 1000 || ring.Kept > 1500 || ring.Bytes > 256<<10 || ring.Dropped == 0 {
			t.Fatalf("in memory: %+v", ring)
		}
		for _, last := range []int{1, 50, ring.Kept - 1, ring.Kept, ring.Kept + 1, 2500, n + 3} {
			ts.shows(fmt.Sprintf("show client 1 messages last %d", last), first[n+3-last:], plural(last, "message"))
		}
		ts.shows("show client 1 messages", first[n+3-50:], "50 messages")
		ts.shows("show client 1 messages last 10000", first, "3003 messages")
		ts.shows("show client 1 messages type peer-up", []string{"peer_up", "peer_up"}, "2 messages")
		ts.shows("show client 1 messages type initiation last 1", first[:1], "1 message")
		ts.shows("show client 1 messages type termination", nil, "0 messages")
		ts.shows("show client 1 peer 10.0.0.2 messages last 1200", each(first[3:], 1)[300:], "1200 messages")
		ts.shows("show client 1 peer 1 messages last 10000", append([]string{"peer_up"}, each(first[3:], 0)...), "1501 messages")
		ts.shows("show client 1 peer 10.0.0.1 messages last 1499 type route-monitoring", each(first[3:], 0)[1:], "1499 messages")
		info, _ := ts.typed("show client 1")
		hasLines(t, info, "Messages kept : messages in memory, KB, since ; older left to the archive")
		for _, line := range []string{"show client 1 messages last 0", "show client 1 messages last 10001"} {
			if text, v := ts.typed(line); v.Err() == nil || !strings.Contains(text, "1 to 10000") {
				t.Errorf("%s: %s", line, text)
			}
		}
		for _, line := range []string{"show client 1 peer 10.0.0.9 messages", "show client 1 peer 77 messages"} {
			if text, v := ts.typed(line); v.Err() == nil || !strings.Contains(text, "No peer") {
				t.Errorf("%s: %s", line, text)
			}
		}
		r.play(ts.Station, "close")
	})
	t.Run("after", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		ts.shows("show client edge1 messages", first[n+3-50:], "50 messages")
		ts.shows("show client 1 messages last 10000", first, "3003 messages")
		ts.shows("show client 1 peer 10.0.0.2 messages last 1200", each(first[3:], 1)[300:], "1200 messages")
		r := ts.router("edge1")
		r.play(ts.Station, "initiation edge1 a router\nup 10.0.0.2 as=65002\n")
		second := []string{"initiation", "peer_up"}
		ts.shows("show client 1 messages last 4", append(first[n+1:n+3:n+3], second...), "4 messages")
		// Of one that is spoken of again, and of one that is not.
		ts.shows("show client 1 peer 10.0.0.2 messages last 3", append(each(first[3:], 1)[1498:], "peer_up"), "3 messages")
		ts.shows("show client 1 peer 10.0.0.1 messages last 1400", each(first[3:], 0)[100:], "1400 messages")
		if text, v := ts.typed("show client 1 peer 10.0.0.9 messages"); v.Err() == nil || !strings.Contains(text, "No peer '10.0.0.9' on client 1") {
			t.Errorf("of a peer that nobody knows: %s", text)
		}
		// What is in memory has a seam within it, too, where it begins in a later session.
		r.play(ts.Station, "close")
		delete(ts.routers, "edge1")
		ts.router("edge1").play(ts.Station, talk(n, 2000))
		all := append(append(first[:n+3:n+3], second...), talked(n, 2000)...)
		ts.shows("show client 1 messages last 10000", all, "5008 messages")
		ts.shows("show client 1 peer 10.0.0.1 messages last 2000", append(append(each(first[3:], 0)[501:], "peer_up"), each(mored(n, 2000), 0)...), "2000 messages")

		// Nothing of what was thrown away comes again.
		ts.typed("flush client 1")
		ts.shows("show client 1 messages last 10000", nil, "0 messages")
		ts.router("edge1").play(ts.Station, more(7000, 2500))
		got, under := ts.shownWords("show client 1 messages last 10000")
		if !slices.Equal(got, mored(7000, 2500)) {
			t.Errorf("after the flush: %d messages", len(got))
		}
		if under != "2500 messages; older ones are no longer kept" {
			t.Errorf("after the flush: %s", under)
		}
	})
}

// A peer that was forgotten and has come again has another ID; its messages are its own all the same, in memory and out of it.
func TestNewestMessagesOfAPeerThatCameAgain(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	r := ts.router("edge1")
	r.play(ts.Station, "initiation edge1 a router\nup 10.0.0.7 as=65007\nannounce 10.0.0.7 10.0.0.0/24 path=65007 nh=10.0.0.7\nclose")
	r.client(ts.Station).DropForMemory("test")
	delete(ts.routers, "edge1")
	first := []string{"peer_up", "10.0.0.0/24"}
	ts.shows("show client 1 peer 10.0.0.7 messages", first, "2 messages") // it is not known
	ts.router("edge1").play(ts.Station, "initiation edge1 a router\nup 10.0.0.7 as=65007\n")
	ts.shows("show client 1 peer 10.0.0.7 messages", append(first, "peer_up"), "3 messages")
	if peers := ts.Clients()[0].FindPeers("10.0.0.7"); len(peers) != 1 || peers[0].ID != 2 {
		t.Errorf("%+v", peers)
	}
}

// Without an archive all is as it is in memory.
func TestNewestMessagesWithoutArchive(t *testing.T) {
	ts := startStation(t, engine.Options{})
	ts.router("edge1").play(ts.Station, talk(0, 12_000))
	first := talked(0, 12_000)
	ts.shows("show client 1 messages last 1000000", first[2003:], "10000 messages; 2003 older ones are no longer kept")
	ts.shows("show client 1 peer 10.0.0.1 messages last 2", []string{first[11_999], first[12_001]}, "2 messages; 2003 older ones are no longer kept")
	info, _ := ts.typed("show client 1")
	hasLines(t, info, "Messages kept : 10000 messages, 2003 older dropped")
	for _, line := range []string{"show client 1 peer 10.0.0.9 messages", "show client 1 messages since -1h"} {
		if text, v := ts.typed(line); v.Err() == nil {
			t.Errorf("%s: %s", line, text)
		}
	}
}

// What the archive had no room for is in memory for as long as it would be without one, and where it is not any more either, that is
// said.
func TestNewestMessagesOfAGap(t *testing.T) {
	ts := startStation(t, engine.Options{StateDir: t.TempDir(), Archive: &archive.Options{QueueBytes: 4 << 10}})
	n := 5000
	ts.router("edge1").play(ts.Station, talk(0, n))
	cl := ts.Clients()[0]
	if info := cl.Info(time.Now()).Ring; info.Kept < n {
		t.Errorf("in memory: %+v", info)
	}
	ts.shows("show client 1 messages last 10000", talked(0, n), "5003 messages")
	ts.router("edge1").play(ts.Station, more(n, 9000))
	got, under := ts.shownWords("show client 1 messages last 10000")
	if len(got) < 9999 || got[len(got)-1] != mored(n, 9000)[8999] {
		t.Errorf("%d messages", len(got))
	}
	if kept := cl.Info(time.Now()).Ring.Kept; kept < 10_000 && !strings.Contains(under, "lost,") {
		t.Errorf("%d in memory: %s", kept, under)
	}
}

// Where the archive cannot be asked, what is in memory is shown all the same.
func TestNewestMessagesWhileTheArchiveIsAway(t *testing.T) {
	if testing.Short() {
		t.Skip("it is waited for seconds: run without -short")
	}
	servers := clustertest.Start(t, 1)
	ts := startStation(t, engine.Options{Name: "edge", StateDir: t.TempDir(), Archive: &archive.Options{URL: servers.URL(), MaxBytes: 1 << 30}})
	ts.router("edge1").play(ts.Station, talk(0, 3000))
	servers[0].Shutdown()
	ts.shows("show client 1 messages", talked(0, 3000)[2953:], "50 messages")
	got, under := ts.shownWords("show client 1 messages last 10000")
	if len(got) < 1000 || got[len(got)-1] != talked(0, 3000)[3002] || !strings.Contains(under, "messages; older ones cannot be read: ") {
		t.Errorf("%d messages; %s", len(got), under)
	}
}

// A console that has seen enough ends the search.
func TestNewestMessagesCancelled(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	ts.router("edge1").play(ts.Station, talk(0, 3000))
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	v, err := ts.console.Do(ctx, "show client 1 messages last 10000", func(control.Line) error {
		if n++; n == 10 {
			cancel()
		}
		return nil
	})
	if err == nil && v.Err() == nil || n > 2900 {
		t.Errorf("%d lines, %v, %v", n, v, err)
	}
}
