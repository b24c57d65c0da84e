package command

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"bmp/engine/archive"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// killedStation leaves in a state folder what a station did that was killed: a session from a time on, without its end, with a
// Peer Up and a route a step after each other.
func killedStation(t *testing.T, dir string, began time.Time, step time.Duration) (last time.Time) {
	t.Helper()
	return archivedSession(t, dir, began, step, "")
}

// archivedSession is killedStation, but with an end that has a reason, a step after the last message, where the reason is not empty.
func archivedSession(t *testing.T, dir string, began time.Time, step time.Duration, reason string) (last time.Time) {
	t.Helper()
	a, err := archive.Open(t.Context(), archive.Options{Station: "station", Dir: filepath.Join(dir, "archive")})
	if err != nil {
		t.Fatal(err)
	}
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
	p := a.Client(1)
	p.Begin(archive.SessionRecord{Session: 1, Time: began, Start: began, Name: "edge1"})
	for n, raw := range [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()} {
		last = began.Add(time.Duration(n+1) * step)
		p.Append(&archive.Entry{Time: last, Session: 1, Raw: raw, Context: bgp.Context{AS4: true}})
	}
	if reason != "" {
		p.End(archive.SessionRecord{Session: 1, Time: last.Add(step), Name: "edge1", Reason: reason})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return last
}

// TestAKilledStationIsMentioned: what was held while it was dead is stale, and answers say that nothing is known.
func TestAKilledStationIsMentioned(t *testing.T) {
	dir := t.TempDir()
	last := killedStation(t, dir, time.Now().Add(-time.Hour).Truncate(time.Second), time.Second)
	ts := startStation(t, withArchive(dir))
	stamp := func(d time.Duration) string { return last.Add(d).UTC().Format("2006-01-02T15:04:05Z") }
	note := fmt.Sprintf("the station was killed, nothing is known of edge1 from %s to", last.UTC().Format("15:04:05.000"))
	for line, want := range map[string]string{
		"show bgp all at " + stamp(time.Minute):                                             "1 route",
		"show bgp 10.1.1.0/24 at " + stamp(time.Minute):                                     "1 route",
		"show bgp all diff " + stamp(time.Minute) + " " + stamp(2*time.Minute):              "0 came, 0 changed, 0 went",
		"show bgp all history from " + stamp(-time.Minute) + " to " + stamp(30*time.Minute): "nothing is known",
	} {
		text, v := ts.typed(line)
		if v.Err() != nil {
			t.Fatal(line, v.Err())
		}
		hasLines(t, text, want, note)
	}
	list, _ := ts.asked("show bgp all stale at " + stamp(time.Minute) + " | json").([]any)
	if len(list) != 1 {
		t.Errorf("stale: %v", list)
	}
	text, _ := ts.typed("show bgp all at " + stamp(-time.Millisecond))
	if list, _ := ts.asked("show bgp all stale at " + stamp(-time.Second) + " | json").([]any); len(list) != 0 {
		t.Errorf("stale before: %v\n%s", list, text)
	}
}

// TestSessionsOfAKilledStationHaveAnEnd: as long as their messages came, and as much as is archived of them.
func TestSessionsOfAKilledStationHaveAnEnd(t *testing.T) {
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) {
		ts := startStation(t, withArchive(dir))
		ts.router("edge1").play(ts.Station, "initiation edge1 a router\nclose")
	})
	began := time.Now().Truncate(time.Millisecond)
	last := killedStation(t, dir, began, 100*time.Millisecond)
	ts := startStation(t, withArchive(dir))
	list, _ := at(t, ts.asked("show client edge1 | json"), "sessions").([]any)
	if len(list) != 2 {
		t.Fatal(list)
	}
	s, _ := list[1].(map[string]any)
	end, err := time.Parse(time.RFC3339Nano, fmt.Sprint(s["end"]))
	if bytes, _ := s["bytes"].(float64); err != nil || !end.Equal(last) || s["messages"] != 2.0 || bytes < 100 || s["reason"] != "station killed" {
		t.Errorf("%v, want the end %v", s, last)
	}
	text, _ := ts.typed("show client edge1")
	hasLines(t, text, "2 messages B station killed")
}
