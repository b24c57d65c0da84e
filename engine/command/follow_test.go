package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bmp/engine"
	"bmp/engine/event"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
	"bmp/proto/control"
)

// next waits for the next event that contains a text, and returns it; those
// before it are returned, too.
func (ts *testStation) next(text string) (seen []control.Line) {
	ts.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case l := <-ts.events:
			seen = append(seen, l)
			if strings.Contains(l.Text, text) {
				return seen
			}
		case <-deadline:
			ts.t.Fatalf("no event with %q; seen: %v", text, seen)
		}
	}
}

func texts(lines []control.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

// What is followed arrives: all of a client, one peer, a prefix, a type; whole, as JSON.
func TestDebug(t *testing.T) {
	ts := startStation(t, engine.Options{})
	r := ts.router("edge1")
	r.play(ts.Station, "initiation edge1.ams a router\nup 10.0.0.1 as=65001\nup 10.0.0.2 as=65002")
	const said = `
announce 10.0.0.1 203.0.113.0/24 198.51.100.0/24 path=65001,65010 nh=10.0.0.1
announce 10.0.0.2 203.0.113.0/24 path=65002 nh=10.0.0.2
withdraw 10.0.0.1 198.51.100.0/24
eor 10.0.0.1
stats 10.0.0.2 7=1
`
	for _, c := range []struct {
		line  string
		last  string   // what the last event has
		want  []string // what must be among the lines, in this order
		never []string
	}{
		{"debug client 1", "statistics-report", []string{
			"127.0.0.11 peer 10.0.0.1 adj-in-pre announce 203.0.113.0/24 path 65001 65010",
			"peer 10.0.0.1 adj-in-pre announce 198.51.100.0/24 path 65001 65010",
			"peer 10.0.0.2 adj-in-pre announce 203.0.113.0/24 path 65002",
			"peer 10.0.0.1 adj-in-pre withdraw 198.51.100.0/24",
			"peer 10.0.0.1 adj-in-pre route-monitoring: End-of-RIB ipv4-unicast",
			"peer 10.0.0.2 statistics-report: 1 statistic: routes in Adj-RIB-In 1"}, nil},
		{"debug client 1 peer 10.0.0.1", "End-of-RIB", []string{"announce 203.0.113.0/24", "withdraw 198.51.100.0/24"}, []string{"10.0.0.2"}},
		{"debug client 1 route 198.51.0.0/16", "withdraw", []string{"announce 198.51.100.0/24", "withdraw 198.51.100.0/24"}, []string{"203.0.113"}},
		{"debug client 1 route 198.51.100.9", "withdraw", []string{"announce 198.51.100.0/24", "withdraw 198.51.100.0/24"}, []string{"203.0.113"}},
		{"debug client 1 type statistics-report", "statistics-report", []string{"routes in Adj-RIB-In 1"}, []string{"203.0.113"}},
		{"debug client 1 type statistics-report detail", "routes in Adj-RIB-In  :", []string{"statistics-report: 1 statistic", "bgp-id"}, []string{"203.0.113"}},
		{"debug client 1 route 198.51.0.0/16 hex", "ff ff", []string{"route-monitoring: announce", "0000  03 00"}, []string{"statistics"}},
	} {
		v, err := ts.console.Do(t.Context(), c.line, nil)
		if err != nil || v.Code != control.CodeSubscribed || !strings.Contains(v.Text, "id=") {
			t.Fatalf("%s: %v %v", c.line, v, err)
		}
		r.play(ts.Station, said)
		got := texts(ts.next(c.last))
		rest := got
		for _, w := range c.want {
			i := strings.Index(rest, w)
			if i < 0 {
				t.Errorf("%s: no %q, in its place, in\n%s", c.line, w, got)
				continue
			}
			rest = rest[i+len(w):]
		}
		for _, n := range c.never {
			if strings.Contains(got, n) {
				t.Errorf("%s: %q in\n%s", c.line, n, got)
			}
		}
		out, _ := ts.typed("undebug client 1")
		if out != "(200 1 subscription ended)\n" {
			t.Errorf("undebug: %s", out)
		}
		for len(ts.events) > 0 {
			<-ts.events
		}
		// So that the same is a change again.
		r.play(ts.Station, "withdraw 10.0.0.1 203.0.113.0/24\nwithdraw 10.0.0.2 203.0.113.0/24")
	}

	if _, err := ts.console.Do(t.Context(), "debug client 1 json", nil); err != nil {
		t.Fatal(err)
	}
	r.play(ts.Station, said)
	for _, l := range ts.next("statistics_report") {
		var e map[string]any
		if err := json.Unmarshal([]byte(l.Text), &e); err != nil {
			t.Errorf("%s: %v", l.Text, err)
		}
		if e["client"] != 1.0 || e["time"] == nil {
			t.Errorf("%v", e)
		}
		if e["kind"] == "route" && e["action"] == "announce" && e["next_hop"] == nil {
			t.Errorf("%v", e)
		}
	}
	// Peers that go and malformed messages are followed as well, and who follows is seen.
	if out, _ := ts.typed("show debug"); !strings.Contains(out, "client 1 json") {
		t.Errorf("show debug:\n%s", out)
	}
	r.play(ts.Station, "down 10.0.0.2 4")
	ts.next("DOWN")
	if out, _ := ts.typed("undebug all"); out != "(200 1 subscription ended)\n" {
		t.Errorf("undebug: %s", out)
	}
	if v, _ := ts.console.Do(t.Context(), "debug client 9", nil); v.Code != control.CodeNotFound {
		t.Errorf("%v", v)
	}
}

// The rate bounds what is sent, and says what was not.
func TestDebugRate(t *testing.T) {
	ts := startStation(t, engine.Options{})
	r := ts.router("edge1")
	r.play(ts.Station, "initiation edge1.ams a router\nup 10.0.0.1 as=65001")
	if v, err := ts.console.Do(t.Context(), "debug client 1 rate 5", nil); err != nil || v.Code != control.CodeSubscribed {
		t.Fatal(v, err)
	}
	sent := 0
	deadline := time.Now().Add(20 * time.Second)
	for n := 0; ; n++ {
		r.play(ts.Station, fmt.Sprintf("announce 10.0.0.1 10.%d.%d.0/24 path=65001 nh=10.0.0.1", n/256, n%256))
		for len(ts.events) > 0 {
			l := <-ts.events
			if l.Code == control.CodeDropped {
				if sent == 0 || sent > 10 {
					t.Errorf("%d events before the first drop was told", sent)
				}
				if !strings.HasSuffix(l.Text, " (rate 5)") {
					t.Errorf("%q", l.Text)
				}
				return
			}
			sent++
		}
		if time.Now().After(deadline) {
			t.Fatalf("no drop was told; %d events sent", sent)
		}
	}
}

// A console that wants to be asked is asked, and no is no.
func TestConfirm(t *testing.T) {
	ts := startStation(t, engine.Options{})
	r := ts.router("edge1")
	r.play(ts.Station, "initiation edge1.ams a router\nup 10.0.0.1 as=65001\nannounce 10.0.0.1 203.0.113.0/24 path=65001")
	if v, err := ts.console.Do(t.Context(), "terminal confirm on", nil); err != nil || v.Err() != nil {
		t.Fatal(v, err)
	}
	for _, c := range []struct{ line, asked string }{
		{"clear client 1", "Close the BMP session of client 1 (edge1.ams 127.0.0.11:"},
		{"clear client 1 counters", "Zero the counters of client 1"},
		{"flush client 1", "Throw away what is stored of client 1"},
		{"flush client 1 routes", "Throw away what is stored of client 1"},
		{"shutdown", "Stop the station"},
	} {
		question := ""
		v, err := ts.console.DoConfirm(t.Context(), c.line, nil, func(q string) bool {
			question = q
			return false
		})
		if err != nil || v.Err() == nil || !strings.Contains(question, c.asked) {
			t.Errorf("%s: asked %q, verdict %v %v", c.line, question, v, err)
		}
	}
	if b := r.client(ts.Station).Brief(); b.State.String() != "up" || b.Routes != 1 || b.Messages != 3 {
		t.Errorf("something was done: %+v", b)
	}
	v, err := ts.console.DoConfirm(t.Context(), "flush client 1 routes", nil, func(string) bool { return true })
	if err != nil || v.Err() != nil || !strings.Contains(v.Text, "3 messages") || !strings.Contains(v.Text, "1 route") {
		t.Errorf("flush: %v %v", v, err)
	}
	waitFor(t, "the session to end", func() bool { b, _ := ts.Client(1); return b.Brief().State.String() == "down" && b.Brief().Routes == 0 })
}

// Live values complete with what one wants to know of each.
func TestCompletion(t *testing.T) {
	ts := startStation(t, engine.Options{})
	ts.router("edge1").play(ts.Station, jsonRouter)
	ts.router("core").send(ts.Station, new(bmptest.Session).Initiation("core 1's", ""))
	for _, c := range []struct {
		line string
		want []string // TEXT<TAB>start of help
	}{
		{"show client ", []string{"1\t127.0.0.11:"}},
		{"show client co", []string{`'core 1'\''s'` + "\t2 127.0.0.12:"}},
		{"show client e", []string{"edge1.ams\t1 127.0.0.11:"}},
		{"show client 1 peer ", []string{"10.0.0.1\tAS65001 up", "65000:1/10.0.0.3\tAS65000 down", "loc-rib\tAS65000 up"}},
		{"show client 1 peer 65", []string{"65000:1/10.0.0.3\tAS65000 down"}},
		{"show peers rd ", []string{"65000:1\t65000:1/10.0.0.3 AS65000 down"}},
		{"show peers table r", []string{"red\t65000:1/10.0.0.3"}},
		{"show bgp rd 6", []string{"65000:1\t"}},
		{"no listen ", []string{"127.0.0.1:"}},
		{"show client 1 statistics ", []string{"7\troutes in Adj-RIB-In"}},
		{"quirk client 1 as-width ", []string{"2\toctets", "4\toctets"}},
		{"show client 1 peer 10.0.0.1 routes adj-in-po", []string{"adj-in-post"}},
	} {
		got, err := ts.console.Complete(t.Context(), c.line)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, x := range got.Candidates {
			b.WriteString("\n" + x.Text + "\t" + x.Help)
		}
		for _, w := range c.want {
			if !strings.Contains(b.String(), "\n"+w) {
				t.Errorf("%q: no %q in:%s", c.line, w, b.String())
			}
		}
	}
}

// The views of a role: one that may only look changes nothing.
func TestViewRole(t *testing.T) {
	table := rows()
	for _, r := range table {
		first, _, _ := strings.Cut(r.Pattern, " ")
		looks := first == "show" || first == "debug" || first == "undebug" || first == "list" || first == "find"
		if looks == (r.Role == "admin") {
			t.Errorf("%s: role %q", r.ID, r.Role)
		}
	}
}

// A listener that is opened while the station runs takes routers, is shown, is
// written, and is closed.
func TestListen(t *testing.T) {
	ts := startStation(t, engine.Options{})
	out, v := ts.typed("listen 127.0.0.1:1 limit 3")
	if v.Err() == nil { // root may
		name := "127.0.0.1:1"
		if out, _ := ts.typed("show listeners"); !strings.Contains(out, name) {
			t.Errorf("show listeners:\n%s", out)
		}
		if out, _ := ts.typed("listen 127.0.0.1:1"); !strings.HasPrefix(out, "% 409 ") {
			t.Errorf("the same again: %s", out)
		}
		if out, _ := ts.typed("write"); !strings.HasPrefix(out, "(200 1 line written to ") {
			t.Errorf("write: %s", out)
		}
		if out, _ := ts.typed("no listen " + name); out != "(200 Listener 127.0.0.1:1 closed)\n" {
			t.Errorf("no listen: %s", out)
		}
		if out, _ := ts.typed("no listen " + name); out != "% 404 No listener '127.0.0.1:1'\n" {
			t.Errorf("no listen: %s", out)
		}
	} else {
		t.Logf("no right to listen on port 1: %s", out)
	}
}

// An address in brackets, or any word in quotes, is the word it is without them.
func TestListenWords(t *testing.T) {
	ts := startStation(t, engine.Options{})
	in := func(line, want string) {
		t.Helper()
		if out, _ := ts.typed(line); !strings.Contains(out, want) {
			t.Errorf("%s: %swant %q", line, out, want)
		}
	}
	in("listen [2001:db8::99]:1790", "% 400 Address 2001:db8::99 is not on this machine") // documentation's, nobody's
	in("listen '[2001:db8::99]:1790' limit '3'", "% 400 Address 2001:db8::99 is not on this machine")
	in("listen 2001:db8::99:1790", "% 503 ")
	in("no listen [::1]:1790", "% 404 No listener '[::1]:1790'")
	missing := filepath.Join(t.TempDir(), "no such file")
	in("control [::1]:1790 tls '"+missing+"' key.pem", "open "+missing+": no such file")
}

// The log is in the order in which things happened, which is not always that in which they were told.
func TestLogOrder(t *testing.T) {
	ts := startStation(t, engine.Options{})
	now := time.Now()
	for _, e := range []struct {
		text string
		ago  time.Duration
	}{{"then that", time.Second}, {"first this", 2 * time.Second}, {"and now", 0}} {
		ts.Events().Publish(event.Event{Time: now.Add(-e.ago), Kind: event.Station, Text: e.text, Console: true})
	}
	out, _ := ts.typed("show log | include this|that|now")
	first, then, last := strings.Index(out, "first this"), strings.Index(out, "then that"), strings.Index(out, "and now")
	if first < 0 || then < first || last < then {
		t.Errorf("%s", out)
	}
	if out, _ := ts.typed("show log last 1"); !strings.Contains(out, "and now") {
		t.Errorf("last 1: %s", out)
	}
}

// Clients that have not come back since the station was started have no port, and those of a namespace are told apart.
func TestClientsOfNamespaces(t *testing.T) {
	dir := t.TempDir()
	known := "bmp clients 1\nnext 3\nclient 1 \"blue\" \"\" 10.0.0.1 \"edge\"\nclient 2 \"\" \"\" 10.0.0.1 \"edge\"\n"
	if err := os.WriteFile(filepath.Join(dir, "clients"), []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	ts := startStation(t, engine.Options{StateDir: dir})
	out, _ := ts.typed("show clients")
	for _, want := range []string{"  Routes  Name  Netns\n", " 1   10.0.0.1  ", "  edge  blue\n", "  edge  -\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out, _ := ts.typed("show clients | json"); !strings.Contains(out, `"address":"10.0.0.1",`) {
		t.Errorf("%s", out)
	}
}

// manyRoutes is a router with n routes of one peer.
func (ts *testStation) manyRoutes(n int) *router {
	ts.t.Helper()
	r := ts.router("big")
	r.play(ts.Station, "initiation big a big router\nup 10.0.0.1 as=65001")
	session := new(bmptest.Session)
	p := r.peers["10.0.0.1"]
	for i := 0; i < n; i += 200 {
		u := bmptest.Update{ASPath: []uint32{65001, uint32(i)}}
		for k := i; k < min(i+200, n); k++ {
			u.Announce = append(u.Announce, bmptest.Prefixes(fmt.Sprintf("%d.%d.%d.0/24", 20+k>>16, k>>8&255, k&255))...)
		}
		session.Monitor(p, bmp.AdjInPre, u.Bytes())
	}
	r.send(ts.Station, session)
	return r
}

// A long answer streams, in order and whole, and ends at once when it is cancelled.
func TestLongAnswer(t *testing.T) {
	ts := startStation(t, engine.Options{})
	const n = 100_000
	ts.manyRoutes(n)
	rows, last := 0, ""
	v, err := ts.console.Do(t.Context(), "show bgp all | no-header", func(l control.Line) error {
		if l.Code == control.CodeRow {
			rows++
			if len(l.Text) > 42 && strings.Contains(l.Text, "adj-in-pre") {
				last = strings.Fields(l.Text)[3]
			}
		}
		return nil
	})
	if err != nil || v.Err() != nil || rows < n || last != "21.134.159.0/24" {
		t.Errorf("%d rows, last %s: %v %v", rows, last, v, err)
	}
	if out, _ := ts.typed("show bgp all | count"); out != "Count: 100,000\n" {
		t.Errorf("count: %s", out)
	}
	first := 0
	v, err = ts.console.Do(t.Context(), "show bgp all", func(l control.Line) error {
		if first++; first == 10 {
			ts.console.Cancel()
		}
		return nil
	})
	if err != nil || v.Code != control.CodeCancelled || first > n/2 {
		t.Errorf("cancelled after %d rows: %v %v", first, v, err)
	}
}
