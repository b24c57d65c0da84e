package command

import (
	"strings"
	"testing"
	"time"

	"bmp/engine"
	"bmp/engine/archive"
	"bmp/engine/cluster/clustertest"
)

// laterThanTheStoreSays is a time that is past, and later than what the route store, which is coarse, says of what is there by now.
func laterThanTheStoreSays(t *testing.T) time.Time {
	t.Helper()
	at := time.Now().Add(2 * storeTick)
	waitFor(t, "the time to be past", func() bool { return time.Now().After(at) })
	return at
}

// TestPastOfWhatHasExpired: of a router that said what it has before what is kept, the routes that have not changed since are
// answered from the live tables, and the answer says that it may not be all.
func TestPastOfWhatHasExpired(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	r := ts.router("edge1")
	r.play(ts.Station, `
initiation edge1 a router
up 10.0.0.1 as=65001
announce 10.0.0.1 203.0.113.0/24 path=65001 nh=10.0.0.1
announce 10.0.0.1 203.0.114.0/24 path=65001,65002 nh=10.0.0.1`)
	at := laterThanTheStoreSays(t)
	if err := ts.SetArchiveRetention(t.Context(), 100*time.Millisecond, 1<<20); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all that is archived to go", func() bool {
		if err := ts.Archive().Sync(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		_, from, _, err := ts.Archive().Span(t.Context())
		return err == nil && from.IsZero()
	})
	when := at.UTC().Format(time.RFC3339Nano)
	for line, want := range map[string]int{
		"show bgp client 1 at " + when:                                                2,
		"show client 1 peer 10.0.0.1 routes at " + when:                               2,
		"show bgp 203.0.112.0/22 longer at " + when:                                   2,
		"show bgp 203.0.113.9 lpm at " + when:                                         1,
		"show bgp client 1 at " + when + " as-path _65002_":                           1,
		"show bgp client 1 view loc-rib at " + when:                                   0,
		"show bgp client 1 at " + at.Add(-time.Minute).UTC().Format(time.RFC3339Nano): 0,
	} {
		if got, _ := ts.asked(line + " | json").([]any); len(got) != want {
			t.Errorf("%s: %d routes, want %d", line, len(got), want)
		}
		notes := ts.warned(line + " | json")
		if known := strings.Contains(line, "lpm"); len(notes) == 0 && !known { // of one prefix the live tables know all
			t.Errorf("%s: it does not say that it may not be all", line)
		}
	}
	text, _ := ts.typed("show bgp client 1 at " + when)
	if !strings.Contains(text, "; edge1: incomplete, what it said up to then is no longer kept") {
		t.Errorf("%s", text)
	}
}

// TestPastWithoutTheCluster: what has not changed since is answered from the live tables, with the archive away.
func TestPastWithoutTheCluster(t *testing.T) {
	servers := clustertest.Start(t, 1)
	ts := startStation(t, engine.Options{StateDir: t.TempDir(), Name: "edge", Archive: &archive.Options{URL: servers.URL(), MaxBytes: 1 << 30}})
	ts.router("edge1").play(ts.Station, "initiation edge1 a router\nup 10.0.0.1 as=65001\nannounce 10.0.0.1 203.0.113.0/24 path=65001 nh=10.0.0.1")
	when := laterThanTheStoreSays(t).UTC().Format(time.RFC3339Nano)
	if err := ts.Archive().Sync(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	servers[0].Shutdown()
	line := "show bgp 203.0.113.0/24 at " + when
	waitFor(t, "the archive to be away", func() bool { return len(ts.warned(line+" | json")) > 0 })
	if got, _ := ts.asked(line + " | json").([]any); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if text, v := ts.typed("show bgp client 1 at " + when); v.Err() == nil {
		t.Errorf("%s", text)
	}
}
