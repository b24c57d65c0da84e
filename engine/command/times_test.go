package command

import (
	"fmt"
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
