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
// Peer Up and a route a second after each other.
func killedStation(t *testing.T, dir string, began time.Time) (last time.Time) {
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
		last = began.Add(time.Duration(n+1) * time.Second)
		p.Append(&archive.Entry{Time: last, Session: 1, Raw: raw, Context: bgp.Context{AS4: true}})
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
	last := killedStation(t, dir, time.Now().Add(-time.Hour).Truncate(time.Second))
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
