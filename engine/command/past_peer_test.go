package command

import (
	"fmt"
	"testing"
)

// TestPeersOfThePastHaveIDs: after a restart of the station as before, of which each is the peer's when its router is back.
func TestPeersOfThePastHaveIDs(t *testing.T) {
	dir := t.TempDir()
	const router = `
initiation edge1 a router
up 10.0.0.2 as=65002
up 10.0.0.1 as=65001
announce 10.0.0.2 203.0.113.0/24 path=65002 nh=10.0.0.2
announce 10.0.0.1 203.0.113.0/24 path=65001 nh=10.0.0.1`
	end := ""
	t.Run("before", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		ts.router("edge1").play(ts.Station, router)
		ts.mark("END")
		end = ts.marks["END"]
		ts.router("edge1").play(ts.Station, "close")
	})
	ts := startStation(t, withArchive(dir))
	ids := make(map[any]any)
	for _, line := range []string{
		"show bgp all at " + end, "show bgp 203.0.113.0/24 at " + end, "show bgp 203.0.113.0/24 history", "show bgp all since -1h",
		"show client edge1 peer 10.0.0.1 routes at " + end, "show bgp all from -1h to " + end,
	} {
		list, _ := ts.asked(line + " | json").([]any)
		for _, e := range list {
			m := e.(map[string]any)
			id, ok := m["peer_id"].(float64)
			if was := ids[m["peer"]]; !ok || id < 1 || was != nil && was != id {
				t.Errorf("%s: peer_id of %v is %v, it was %v", line, m["peer"], m["peer_id"], was)
			}
			ids[m["peer"]] = m["peer_id"]
		}
		if len(list) == 0 {
			t.Errorf("%s: nothing", line)
		}
	}
	if len(ids) != 2 || ids["10.0.0.1"] == ids["10.0.0.2"] {
		t.Fatal(ids)
	}
	of := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			byID, v := ts.typed(fmt.Sprintf(line, ids["10.0.0.2"]))
			byName, _ := ts.typed(fmt.Sprintf(line, "10.0.0.2"))
			if v.Err() != nil || ts.stable(byID) != ts.stable(byName) {
				t.Errorf("%s:\n%s\n%s", line, byID, byName)
			}
			hasLines(t, byID, "10.0.0.2")
		}
	}
	questions := []string{
		"show client edge1 peer %v routes at " + end, "show bgp all at " + end + " client edge1 peer %v", "show client edge1 peer %v messages", "show client edge1 peer %v messages from -1h to " + end,
		"show client edge1 peer %v messages last 1", "show client edge1 peer %v routes from -1h to " + end,
	}
	of(questions...)
	if text, v := ts.typed("show client edge1 peer 77 routes at " + end); v.Err() == nil {
		t.Error(text)
	}
	text, _ := ts.typed("show bgp 203.0.113.0/24 detail at " + end)
	hasLines(t, text, fmt.Sprintf("10.0.0.2 AS65002 (ID %v)", ids["10.0.0.2"]))
	ts.router("edge1").play(ts.Station, router)
	list, _ := ts.asked("show client edge1 peers | json").([]any)
	if len(list) != 2 {
		t.Fatal(list)
	}
	for _, e := range list {
		if m := e.(map[string]any); ids[m["address"]] != m["id"] {
			t.Errorf("peer %v is %v, it was %v", m["address"], m["id"], ids[m["address"]])
		}
	}
	of(append(questions, "show client edge1 peer %v routes")...)
}
