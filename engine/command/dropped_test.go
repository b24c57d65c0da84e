package command

import (
	"fmt"
	"testing"
	"time"
)

// TestPastShowsStaleRoutesDropped: as they were when they were kept for a second, though they are kept for an hour now, and since
// when the router was down.
func TestPastShowsStaleRoutesDropped(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	ts.typed("retention stale 1s")
	ts.router("edge1").play(ts.Station, "initiation edge1 a router\nup 10.0.0.1 as=65001\nannounce 10.0.0.1 203.0.113.0/24 path=65001 nh=10.0.0.1")
	held := time.Now()
	ts.router("edge1").play(ts.Station, "close")
	down := ts.Clients()[0].DownSince()
	stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
	waitFor(t, "the route to be dropped", func() bool { return ts.Clients()[0].Totals().Routes == 0 })
	dropped := time.Now()
	ts.typed("retention stale 1h")
	since := fmt.Sprintf("(since %s)", down.UTC().Format("15:04:05.000"))
	for line, want := range map[string]string{
		"show bgp all at " + stamp(dropped):                                  "0 routes",
		"show bgp 203.0.113.0/24 at " + stamp(dropped):                       "0 routes",
		"show bgp all at " + stamp(down.Add(500*time.Millisecond)):           "1 route",
		"show bgp all diff " + stamp(held) + " " + stamp(dropped):            "1 went",
		"show bgp 203.0.113.0/24 diff " + stamp(held) + " " + stamp(dropped): "1 went",
		"show bgp all history from " + stamp(held) + " to " + stamp(dropped): "1 withdrawn",
	} {
		text, v := ts.typed(line)
		if v.Err() != nil {
			t.Fatal(line, v.Err())
		}
		hasLines(t, text, want+" edge1 was down at "+since)
	}
	later := dropped.Add(500 * time.Millisecond)
	waitFor(t, "that time to have been", func() bool { return time.Now().After(later) })
	// The live tables answer what the archive need not be asked for.
	text, _ := ts.typed("show bgp 203.0.113.0/24 at " + stamp(later))
	hasLines(t, text, "0 routes edge1 was down at "+since)
}
