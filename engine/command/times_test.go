package command

import (
	"fmt"
	"strings"
	"testing"
)

// A time that was printed, to the millisecond, can be asked about: what came at it is in the answer.
func TestPrintedTimesCanBeAsked(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	r := ts.router("edge1")
	r.play(ts.Station, `
initiation edge1 a router
up 10.0.0.1 as=65001`)
	for med := range 8 {
		r.play(ts.Station, fmt.Sprintf("announce 10.0.0.1 203.0.113.0/24 path=65001 nh=10.0.0.1 med=%d", med))
	}
	changes, _ := ts.asked("show bgp 203.0.113.0/24 history | json").([]any)
	if len(changes) != 8 {
		t.Fatalf("%d changes: %v", len(changes), changes)
	}
	last := map[string]any{} // of those that came in one millisecond, the last is what was held at its end
	for _, x := range changes {
		m := x.(map[string]any)
		last[m["time"].(string)] = m["med"]
	}
	for at, med := range last {
		held, _ := ts.asked("show bgp 203.0.113.0/24 at " + at + " | json").([]any)
		if len(held) != 1 || held[0].(map[string]any)["med"] != med {
			t.Errorf("at %s, with the change to med %v: %v", at, med, held)
		}
		for _, line := range []string{"show bgp 203.0.113.0/24 from %s to %s | json", "show client edge1 messages from %s to %s | json"} {
			if list, _ := ts.asked(fmt.Sprintf(line, at, at)).([]any); len(list) == 0 {
				t.Errorf("nothing from "+line, at, at)
			}
		}
	}
	lines, _ := ts.asked("show log | json").([]any)
	if len(lines) == 0 {
		t.Fatal("no log")
	}
	at := lines[0].(map[string]any)["time"].(string)
	if list, _ := ts.asked(fmt.Sprintf("show log from %s to %s | json", at, at)).([]any); len(list) == 0 {
		t.Errorf("no line of the log at %s", at)
	}
}

// TestWordsThatContradict: of a time, and within what as-path takes.
func TestWordsThatContradict(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	ts.router("edge1").play(ts.Station, "initiation edge1 a router\nup 10.0.0.1 as=65001\nannounce 10.0.0.1 203.0.113.0/24 path=65001 nh=10.0.0.1")
	for line, want := range map[string]string{
		"show client 1 messages since -10s from -1m to -30s": "expected one time: since T, or from T to T",
		"show bgp client 1 as-path _65001_ at -1s":           "without 'at', which no path has: as-path takes the rest of the line, put it last or in quotes",
		"show bgp client 1 as-path _65001_ limit 2":          "without 'limit', which no path has",
	} {
		if text, _ := ts.typed(line); !strings.HasPrefix(text, "% 503 ") || !strings.Contains(text, want) {
			t.Errorf("%s: %s", line, text)
		}
	}
	for line, want := range map[string]string{
		"show bgp client 1 as-path '_65001_' limit 2":            "1 route, 1 client",
		"show bgp client 1 as-path ^65001$":                      "1 route, 1 client",
		"show client 1 peer 10.0.0.1 routes view adj-in-pre":     "1 route, 1 client",
		"show client 1 messages since -1m type route-monitoring": "adj-in-pre announce 203.0.113.0/24",
	} {
		if text, v := ts.typed(line); v.Err() != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %s", line, text)
		}
	}
}
