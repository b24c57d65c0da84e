package grammar

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// live is a station with two clients and two peers.
func live(_ context.Context, kind, partial string, m *Match) []Candidate {
	switch kind {
	case "CLIENT":
		return []Candidate{{Text: "1", Help: "10.1.0.1:22011 edge1 up"}, {Text: "2", Help: "edge2 down"}, {Text: "my router", Help: "x"}}
	case "PEER":
		return []Candidate{{Text: "10.0.0.1", Help: "of client " + m.Value("client")}, {Text: "10.0.0.2"}, {Text: "192.0.2.1"}}
	}
	return nil
}

func texts(c Completion) string {
	var list []string
	for _, x := range c.Candidates {
		list = append(list, x.Text)
	}
	return strings.Join(list, " ")
}

func TestComplete(t *testing.T) {
	tree := testTree(t)
	env := testEnv()
	env.Values = live
	for _, c := range []struct {
		line, want, prefix string
		col, length        int
	}{
		{"sh", "show", "show", 1, 2},
		{"shu", "shutdown", "shutdown", 1, 3},
		{"show ", "bgp client clients diff summary", "", 6, 0},
		{"sh cl", "client clients", "client", 4, 2},
		{"show client ", "1 2 'my router'", "", 13, 0},
		{"show client 1 peer 10.0.0.", "10.0.0.1 10.0.0.2", "10.0.0.", 20, 7},
		{"show client 1 p", "peer peers", "peer", 15, 1},
		{"show client 1 messages hex ", "detail from last type", "", 28, 0}, // hex is used up
		{"show client 1 messages type peer", "peer-down peer-up", "peer-", 29, 4},
		{"show bgp ipv4 ", "", "", 15, 0},
		{"show bgp ipv4-v", "ipv4-vpn ipv4-vpn-ad ipv4-vpn-car ipv4-vpn-flowspec ipv4-vpn-multicast", "ipv4-vpn", 10, 6},
		{"show bgp routers", "", "routers", 10, 7}, // hidden
		{"show clients | ", "columns count include sort", "", 16, 0},
		{"show clients | co", "columns count", "co", 16, 2},
		{"show clients | sort U", "Uptime", "Uptime", 21, 1},
		{"show clients | columns Name,U", "Name,Uptime", "Name,Uptime", 24, 6},
		{"show clients | count | sort ", "ID Uptime Name", "", 29, 0},
		{"show clients | include -", "-i -q", "-", 24, 1},
		{"watch every 2s show cl", "client clients", "client", 21, 2},
		{"watch ", "count diff every alias clear echo find listen quirk retention run show undebug watch shutdown", "", 7, 0},
		{"watch d", "diff", "diff", 7, 1},
		{"watch show clients | cou", "count", "count", 22, 3},
		{"bogus x", "", "", 8, 0},
		{"show client 'my", "'my router'", "'my router'", 13, 3},
	} {
		got := tree.Complete(t.Context(), c.line, env)
		if c.line == "watch " {
			if len(got.Candidates) < 10 {
				t.Errorf("%q: %s", c.line, texts(got))
			}
			continue
		}
		if c.line == "show bgp ipv4 " {
			if !strings.Contains(texts(got), "vpn") || !strings.Contains(texts(got), "stale") || !strings.Contains(texts(got), "summary") {
				t.Errorf("%q: %s", c.line, texts(got))
			}
			continue
		}
		if c.line == "bogus x" {
			if len(got.Candidates) != 0 {
				t.Errorf("%q: %s", c.line, texts(got))
			}
			continue
		}
		if texts(got) != c.want || got.Prefix != c.prefix || got.Col != c.col || got.Len != c.length {
			t.Errorf("%q:\n got %q prefix %q @%d+%d\nwant %q prefix %q @%d+%d", c.line, texts(got), got.Prefix, got.Col, got.Len, c.want, c.prefix, c.col, c.length)
		}
	}
	if got := tree.Complete(t.Context(), "show client 2 peer 10.0.0.1", env); got.Candidates[0].Help != "of client 2" {
		t.Errorf("what was typed before is not told: %+v", got)
	}
}

// Where there are more values than are told, nobody knows what all of them begin with.
func TestCompleteOfMany(t *testing.T) {
	tree := testTree(t)
	env := testEnv()
	env.Values = func(context.Context, string, string, *Match) []Candidate {
		var list []Candidate
		for i := range 1000 {
			list = append(list, Candidate{Text: fmt.Sprintf("10.0.%d.%d", i/200, i%200)})
		}
		return list
	}
	x := tree.Complete(t.Context(), "show client 1 peer 10.", env)
	if len(x.Candidates) != maxValues || x.Prefix != "10." || x.Col != 20 || x.Len != 3 {
		t.Errorf("%d candidates, %q at %d+%d", len(x.Candidates), x.Prefix, x.Col, x.Len)
	}
	if x = tree.Complete(t.Context(), "show client 1 peer 10.0.4.19", env); x.Prefix != "10.0.4.19" || len(x.Candidates) != 11 {
		t.Errorf("%d candidates, %q", len(x.Candidates), x.Prefix)
	}
}

func TestHelp(t *testing.T) {
	tree := testTree(t)
	env := testEnv()
	env.Values = live
	for _, c := range []struct{ line, want string }{
		{"show cl", "client/one client of all/CLIENT clients/all clients/"},
		{"show clients ", "|/filter the output/ <cr>//"},
		{"show client ", "CLIENT/a client: ID, address, address:port or name/ 1/10.1.0.1:22011 edge1 up/ 2/edge2 down/ my router/x/"},
		{"show client 1 peer 19", "192.0.2.1//"},
		{"clear ", "client/a client/CLIENT"},
		{"show clients | so", "sort/in order/COLUMN"},
		{"bogus ", ""},
		{"show bgp as-path ", "RE/a regular expression on the AS path; _ is a boundary/"},
	} {
		var rows []string
		for _, x := range tree.Help(t.Context(), c.line, env) {
			rows = append(rows, x.Word+"/"+x.Help+"/"+x.Next)
		}
		if got := strings.Join(rows, " "); got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestTreeOverTheWire(t *testing.T) {
	tree := testTree(t)
	data, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var far Tree
	if err := json.Unmarshal(data, &far); err != nil {
		t.Fatal(err)
	}
	line := "sh cl 1 peer 10.0.0.1"
	m, err := far.Match("show client 1 peer 10.0.0.1", testEnv())
	if err != nil || m.Command.ID != "show client peer" {
		t.Fatalf("%v %v", m, err)
	}
	_, here := tree.Match(line, testEnv())
	_, there := far.Match(line, testEnv())
	if here.Error() != there.Error() {
		t.Errorf("%v, %v", here, there)
	}
	if got := far.Complete(t.Context(), "show clients | sort U", testEnv()); texts(got) != "Uptime" {
		t.Errorf("filters did not come along: %+v", got)
	}
	// A row of a later notation is left out, the rest works.
	if err := json.Unmarshal([]byte(`{"commands":[{"id":"a","pattern":"a <<b>>]"},{"id":"b","pattern":"b"}]}`), &far); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Match("b", Env{}); err != nil {
		t.Error(err)
	}
}

func TestMerge(t *testing.T) {
	station := testTree(t)
	shell, err := New([]Command{
		{ID: "exit", Pattern: "exit", Local: true}, {ID: "mine", Pattern: "show summary", Local: true, Help: "of all stations"},
	}, map[string]string{"show": "from the shell"})
	if err != nil {
		t.Fatal(err)
	}
	both, err := Merge(station, shell)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := both.Match("sh su", Env{}); err != nil || m.Command.ID != "mine" || !m.Command.Local {
		t.Errorf("%v %v", m, err)
	}
	if m, err := both.Match("show clients", Env{}); err != nil || m.Command.Local {
		t.Errorf("%v %v", m, err)
	}
	if _, err := both.Match("exit", Env{}); err != nil {
		t.Error(err)
	}
	if both.Filters() == nil {
		t.Error("filters are gone")
	}
}

func TestDoc(t *testing.T) {
	tree := testTree(t)
	text := func(line string) string {
		t.Helper()
		lines, err := tree.Doc(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return strings.Join(lines, "\n")
	}
	for _, want := range []string{"show clients\n", "All clients.", "Columns: ID, Uptime, Name", "Examples:\n  show clients | include down"} {
		if got := text("show clients"); !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
	if got := text("show client peers"); !strings.HasPrefix(got, "show client CLIENT peers\n") { // without the value
		t.Error(got)
	}
	if got := text("show client 1 peer 10.0.0.1"); !strings.HasPrefix(got, "show client CLIENT peer PEER\n") || !strings.Contains(got, "See also") {
		t.Error(got)
	}
	if got := text("listen"); !strings.Contains(got, "role admin") || !strings.Contains(got, "SECRET") || strings.Contains(got, "key:") {
		t.Error(got)
	}
	if got := text(""); !strings.Contains(got, "show bgp [FAMILY] summary") || strings.Contains(got, "routers") {
		t.Error(got)
	}
	if _, err := tree.Doc("show bogus"); err == nil {
		t.Error("help for nothing")
	}
	if got := tree.Usages(); !strings.Contains(strings.Join(got, "\n"), "run NAME [ARG...]") {
		t.Error(got)
	}
}
