package command

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"bmp/proto/control"
)

// warned are the warnings beside an answer in JSON.
func (ts *testStation) warned(line string) (notes []string) {
	ts.t.Helper()
	v, err := ts.console.Do(ts.t.Context(), line, func(l control.Line) error {
		if l.Code == control.CodeWarning {
			notes = append(notes, l.Text)
		}
		return nil
	})
	if err != nil || v.Err() != nil {
		ts.t.Fatal(line, err, v)
	}
	return notes
}

const awayRouter = `
initiation edge1 a router
up 10.0.0.1 as=65001
announce 10.0.0.1 203.0.113.0/24 path=65001,%d nh=10.0.0.1`

// TestAClientThatWasAwayIsNamed: what changed with the new dump of a router that came back may have changed at any time while it was
// away, which every answer says that such a change may be in.
func TestAClientThatWasAwayIsNamed(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	session := func(n int) {
		r := dialRouter(t, ts.Station, "127.0.0.12")
		r.play(ts.Station, fmt.Sprintf(awayRouter, n)+"\nclose")
	}
	ts.router("edge2").play(ts.Station, "initiation edge2 a router\nup 10.0.0.1 as=65001\nannounce 10.0.0.1 203.0.113.0/24 path=65001 nh=10.0.0.1")
	session(1)
	ts.mark("DOWN")
	session(2)
	session(3)
	ts.mark("END")
	list := ts.FindClients("edge1")[0].Info(time.Now()).Sessions
	if len(list) != 3 {
		t.Fatal(list)
	}
	clock := func(t time.Time) string { return t.UTC().Format("15:04:05.000") }
	// Each until the first message of the next session, which the log does not have.
	both := regexp.MustCompile(fmt.Sprintf("edge1 was away from %s to ([0-9:.]+); edge1 was away from %s to ([0-9:.]+)", clock(list[0].End), clock(list[1].End)))
	named := func(text string) bool {
		m := both.FindStringSubmatch(text)
		return m != nil && clock(list[1].Start) <= m[1] && m[1] <= clock(list[1].End) && clock(list[2].Start) <= m[2] && m[2] <= clock(list[2].End)
	}
	for _, c := range []struct {
		line string
		both bool
	}{
		{"show bgp 203.0.113.0/24 history", true},
		{"show bgp 203.0.113.0/24 since -1m client edge1", true},
		{"show bgp 203.0.113.0/24 since -1m client edge1 limit 1", true},
		{"show bgp all from -1m to " + ts.marks["END"], true},
		{"show bgp 203.0.113.0/24 diff " + ts.marks["DOWN"], true},
		{"show bgp 203.0.113.0/24 diff " + ts.marks["DOWN"] + " " + ts.marks["END"], true},
		{"show client edge1 peer 10.0.0.1 routes since -1m", true},
		{"show diff client edge1 peer 10.0.0.1 adj-in-pre at " + ts.marks["DOWN"] + " " + ts.marks["END"], true},
		{"show diff client edge1 peer 10.0.0.1 adj-in-pre adj-in-post at " + ts.marks["DOWN"] + " " + ts.marks["END"], true},
		{"show bgp all since -1m client edge2", false},
		{"show bgp all since " + ts.marks["END"], false},
		{"show bgp all at " + ts.marks["END"], false},
	} {
		text, v := ts.typed(c.line)
		if v.Err() != nil {
			t.Fatal(c.line, v.Err())
		}
		if n := strings.Count(text, "was away"); c.both && (n != 2 || !named(text)) || !c.both && n != 0 {
			t.Errorf("%s: want %v\n%s", c.line, both, text)
		}
		if strings.Count(text, "edge1 was down at") > 1 { // it is at the end
			t.Errorf("%s: down as well as away\n%s", c.line, text)
		}
		notes := strings.Join(ts.warned(c.line+" | json"), "; ")
		if c.both != named(notes) {
			t.Errorf("%s | json: %s", c.line, notes)
		}
	}
	for n := range 4 {
		session(4 + n)
	}
	text, _ := ts.typed("show bgp 203.0.113.0/24 history")
	if hasLines(t, text, "; edge1 was away 3 more times"); !named(text) || strings.Count(text, "was away from") != maxAwayNotes {
		t.Error(text)
	}
}
