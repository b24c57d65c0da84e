package command

import (
	"testing"
	"time"

	"bmp/engine"
)

// TestAClientIsDownSinceItsLastSession: also where that was in an earlier run of the station, until the router is back.
func TestAClientIsDownSinceItsLastSession(t *testing.T) {
	const step = 10 * time.Minute
	for name, c := range map[string]struct {
		reason, shown string
		down          time.Duration // since the last message
	}{
		"ended":  {"remote closed", "remote closed", step},
		"killed": {"", "station killed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Run("before", func(t *testing.T) { // so that the client is known
				ts := startStation(t, engine.Options{StateDir: dir})
				ts.router("edge1").play(ts.Station, "initiation edge1 a router\nclose")
			})
			last := archivedSession(t, dir, time.Now().Add(-time.Hour).Truncate(time.Second), step, c.reason)
			ts := startStation(t, withArchive(dir))
			ago := func(v any, since time.Time) bool {
				s, ok := v.(float64)
				return ok && s >= time.Since(since).Seconds()-60 && s <= time.Since(since).Seconds()
			}
			doc := ts.asked("show client edge1 | json")
			if at(t, doc, "state") != "down" || at(t, doc, "uptime_seconds") != nil || !ago(at(t, doc, "down_seconds"), last.Add(c.down)) ||
				at(t, doc, "last_message") != last.UTC().Format("2006-01-02T15:04:05.000Z") || !ago(at(t, doc, "last_message_age_seconds"), last) ||
				at(t, doc, "down_reason") != c.shown {
				t.Errorf("%v", doc)
			}
			text, _ := ts.typed("show client edge1")
			hasLines(t, text, "State : down for 00:"+time.Time{}.Add(time.Since(last.Add(c.down))).Format("04:"), "Last message : 00:"+time.Time{}.Add(time.Since(last)).Format("04:")+" ago",
				"Down because : "+c.shown)
			r := ts.router("edge1")
			r.play(ts.Station, "initiation edge1 a router")
			doc = ts.asked("show client edge1 | json")
			if at(t, doc, "state") != "up" || at(t, doc, "down_seconds") != nil || at(t, doc, "down_reason") != nil || !ago(at(t, doc, "last_message_age_seconds"), time.Now().Add(-30*time.Second)) {
				t.Errorf("back: %v", doc)
			}
			r.play(ts.Station, "close")
			doc = ts.asked("show client edge1 | json")
			if s, _ := at(t, doc, "down_seconds").(float64); at(t, doc, "state") != "down" || s > 30 || at(t, doc, "down_reason") != "remote closed" {
				t.Errorf("down again: %v", doc)
			}
		})
	}
}
