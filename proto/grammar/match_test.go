package grammar

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const filtersForRoutes = "client CLIENT|view VIEW|next-hop ADDR|as-path ASPATH|community COMMUNITY...|limit N|stale|since T"

// testTree is a small tree with every notation in it.
func testTree(t testing.TB) *Tree {
	t.Helper()
	tree, err := New([]Command{
		{ID: "show summary", Pattern: "show summary", Help: "the station"},
		{ID: "show clients", Pattern: "show clients", Help: "all clients", Columns: []string{"ID", "Uptime", "Name"}, Examples: []string{"show clients | include down"}},
		{ID: "show client", Pattern: "show client CLIENT", Help: "one client"},
		{ID: "show client peers", Pattern: "show client CLIENT peers", Help: "its peers"},
		{ID: "show client peer", Pattern: "show client CLIENT peer PEER", Help: "one peer"},
		{ID: "show client messages", Pattern: "show client CLIENT messages {last N|from T to T|type TYPE|detail|hex}", Help: "its messages"},
		{ID: "show client routes", Pattern: "show client CLIENT peer PEER routes [VIEW] [FAMILY] [(PREFIX|ADDR) [exact|longer|lpm]] {" + filtersForRoutes + "}", Help: "routes"},
		{ID: "show bgp", Pattern: "show bgp [FAMILY] [all|(PREFIX|ADDR|NLRI) [exact|longer|shorter|lpm]] {" + filtersForRoutes + "}", Help: "routes of all"},
		{ID: "show bgp summary", Pattern: "show bgp [FAMILY] summary", Help: "per family"},
		{ID: "show diff", Pattern: "show diff client CLIENT VIEW VIEW", Help: "two views"},
		{ID: "show bgp routers", Pattern: "show bgp routers", Help: "later spelling", Hidden: true},
		{ID: "listen", Pattern: "listen LISTENER {vrf DEV|allow PREFIX...|md5 KEY:SECRET|md5 key:SECRET|limit N}", Role: Admin, Help: "open a listener"},
		{ID: "retention", Pattern: "retention archive DURATION SIZE", Role: Admin},
		{ID: "clear", Pattern: "clear client CLIENT [counters]", Role: Admin, Help: "end a session"},
		{ID: "undebug", Pattern: "undebug (client CLIENT|N|all)"},
		{ID: "quirk", Pattern: "quirk add-path FAMILY ONOFF", Role: Admin},
		{ID: "watch", Pattern: "watch [every DURATION] [diff] [count N] COMMAND", Local: true},
		{ID: "find", Pattern: "find RE", Local: true},
		{ID: "run", Pattern: "run! NAME [ARG...]", Local: true},
		{ID: "alias", Pattern: "alias NAME = COMMAND", Local: true},
		{ID: "echo", Pattern: "echo LINE", Local: true},
		{ID: "shutdown", Pattern: "shutdown!", Role: Admin, Help: "stop"},
	}, map[string]string{"show": "what is", "client": "a client", "show client": "one client of all"})
	if err != nil {
		t.Fatal(err)
	}
	filters, err := NewFilters([]Command{
		{ID: "include", Pattern: "include {-i|-q} RE", Help: "rows that match"},
		{ID: "count", Pattern: "count", Help: "how many rows"},
		{ID: "columns", Pattern: "columns COLUMN", Help: "these columns"},
		{ID: "sort", Pattern: "sort COLUMN [desc]", Help: "in order"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tree.WithFilters(filters)
}

func testEnv() Env {
	return Env{Now: time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC), Zone: time.UTC}
}

func TestMatch(t *testing.T) {
	tree := testTree(t)
	for _, c := range []struct{ line, id, whole, args string }{
		{"show summary", "show summary", "show summary", ""},
		{"  sh su  ", "show summary", "show summary", ""},
		{"sh sum", "show summary", "show summary", ""},
		{"show client 1", "show client", "show client 1", "client=1"},
		{"show clients", "show clients", "show clients", ""},
		{"show clie", "", "", ""}, // clients, client
		{"show client clients", "show client", "show client clients", "client=clients"},
		{"show client peers peers", "show client peers", "show client peers peers", "client=peers"},
		{"show client 'edge 1' peer 65000:1/10.0.0.1", "show client peer", "show client 'edge 1' peer 65000:1/10.0.0.1", "client=edge 1,peer=65000:1/10.0.0.1"},
		{`show client "a\"b" peer blue/loc-rib`, "show client peer", `show client 'a"b' peer blue/loc-rib`, `client=a"b,peer=blue/loc-rib`},
		{"show client 1 mess hex last 5", "show client messages", "show client 1 messages hex last 5", "client=1,n=5"},
		{"show client 1 messages type route-mon", "show client messages", "show client 1 messages type route-monitoring", "client=1,type=route-monitoring"},
		{"show bgp ipv4 vpn summ", "show bgp summary", "show bgp ipv4-vpn summary", "family=ipv4-vpn"},
		{"show bgp ipv4 summary", "show bgp summary", "show bgp ipv4-unicast summary", "family=ipv4-unicast"},
		{"show bgp 1/200 summary", "show bgp summary", "show bgp 1/200 summary", "family=1/200"},
		{"show bgp vpnv4 summary", "show bgp summary", "show bgp ipv4-vpn summary", "family=ipv4-vpn"},
		{"show bgp ipv4-v summary", "", "", ""},
		{"show bgp l2vpn vpls all", "show bgp", "show bgp l2vpn-vpls all", "family=l2vpn-vpls"},
		{"show bgp ipv4 vpn view loc", "show bgp", "show bgp ipv4-vpn view loc-rib", "family=ipv4-vpn,view=loc-rib"},
		{"show bgp ipv4 vi loc", "show bgp", "show bgp ipv4-unicast view loc-rib", "family=ipv4-unicast,view=loc-rib"},
		{"show bgp ipv4 v loc", "", "", ""}, // view, vpn
		{"show bgp 10.0.0.0/8 longer stale limit 3", "show bgp", "show bgp 10.0.0.0/8 longer stale limit 3", "prefix=10.0.0.0/8,n=3"},
		{"show bgp 2001:db8::1 lpm", "show bgp", "show bgp 2001:db8::1 lpm", "addr=2001:db8::1"},
		{"show bgp '[2][65000:1]' exact", "show bgp", "show bgp '[2][65000:1]' exact", "nlri=[2][65000:1]"},
		{"show bgp community 65000:1 limit 1 comm no-export", "show bgp", "show bgp community 65000:1 limit 1 community no-export", "community=65000:1,n=1,community=no-export"},
		{"show bgp limit 1 limit 2", "", "", ""},
		{"show bgp as-path ^(65001|65002)_ | count", "show bgp", "show bgp as-path '^(65001|65002)_'", "aspath=^(65001|65002)_"},
		{"show bgp as-path ^65001 65002$", "show bgp", "show bgp as-path '^65001 65002$'", "aspath=^65001 65002$"},
		{"show bgp as-path '_65001_' limit 2", "show bgp", "show bgp as-path _65001_ limit 2", "aspath=_65001_,n=2"},
		{"show bgp routers", "show bgp routers", "show bgp routers", ""},
		{"show diff client 1 adj-in-pre loc-rib", "show diff", "show diff client 1 adj-in-pre loc-rib", "client=1,view=adj-in-pre,view=loc-rib"},
		{"listen blue/1111 allow 10.0.0.0/8 vrf x allow ::/0", "listen", "listen blue/1111 allow 10.0.0.0/8 vrf x allow ::/0", "listener=blue/1111,prefix=10.0.0.0/8,dev=x,prefix=::/0"},
		{"ret arch 7d 10GB", "retention", "retention archive 7d 10GB", "duration=7d,size=10GB"},
		{"undebug al", "undebug", "undebug all", ""},
		{"undebug 7", "undebug", "undebug 7", "n=7"},
		{"quirk add-path ipv6 unicast of", "quirk", "quirk add-path ipv6-unicast off", "family=ipv6-unicast,onoff=off"},
		{"watch every 2s sh cl | include 'a b' | count", "watch", "watch every 2s sh cl | include 'a b' | count", "duration=2s,command=sh cl | include 'a b' | count"},
		{"watch ev 2s diff show clients", "watch", "watch every 2s diff show clients", "duration=2s,command=show clients"},
		{"find UP|DOWN", "find", "find 'UP|DOWN'", "re=UP|DOWN"},
		{"run peers-down 1 2 3", "run", "run peers-down 1 2 3", "name=peers-down,arg=1,arg=2,arg=3"},
		{"alias x = show clients | count", "alias", "alias x = show clients | count", "name=x,command=show clients | count"},
		{"echo it's | count", "echo", "echo it's", "line=it's"},
		{"shutdown", "shutdown", "shutdown", ""},
		{"shutdow", "", "", ""},
	} {
		m, err := tree.Match(c.line, testEnv())
		if c.id == "" {
			if err == nil {
				t.Errorf("%q matched %s", c.line, m.Line)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		var args []string
		for _, a := range m.Args {
			args = append(args, a.Name+"="+a.Text)
		}
		if m.Command.ID != c.id || m.Line != c.whole || strings.Join(args, ",") != c.args {
			t.Errorf("%q:\n got %s | %s | %s\nwant %s | %s | %s", c.line, m.Command.ID, m.Line, strings.Join(args, ","), c.id, c.whole, c.args)
		}
		if strings.Contains(c.line, "as-path") || m.Command.ID == "echo" {
			continue // a raw argument and its quoted form are the same argument, not the same line
		}
		if again, err := tree.Match(m.Line, testEnv()); err != nil || again.Line != m.Line {
			t.Errorf("%q: its own line %q reads %v, %v", c.line, m.Line, again, err)
		}
	}
}

func TestMatchValues(t *testing.T) {
	tree := testTree(t)
	match := func(line string) *Match {
		t.Helper()
		m, err := tree.Match(line, testEnv())
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return m
	}
	m := match("show bgp ipv4 10.0.0.0/8 next-hop 10.0.0.1 limit 7 stale as-path _65010$ | include UP|DOWN | count")
	if m.Rest != " include UP|DOWN | count" || m.RestCol != strings.Index("show bgp ipv4 10.0.0.0/8 next-hop 10.0.0.1 limit 7 stale as-path _65010$ | i", "| i")+2 {
		t.Errorf("rest %q at %d", m.Rest, m.RestCol)
	}
	if p, ok := m.Prefix("prefix"); !ok || p != netip.MustParsePrefix("10.0.0.0/8") {
		t.Errorf("prefix %v", p)
	}
	for _, name := range []string{"next-hop", "addr"} {
		if a, ok := m.Addr(name); !ok || a != netip.MustParseAddr("10.0.0.1") {
			t.Errorf("%s = %v", name, a)
		}
	}
	if n, ok := m.Number("limit"); !ok || n != 7 {
		t.Errorf("limit %d", n)
	}
	if !m.Has("stale") || m.Has("longer") {
		t.Error("Has")
	}
	if re, ok := m.Regexp("as-path"); !ok || !re.MatchString("65001 65010") || re.MatchString("65001 165010") {
		t.Errorf("as-path %v", re)
	}
	if a, _ := m.Arg("as-path"); a.Col != 66 || a.Len != 7 {
		t.Errorf("as-path at %d+%d", a.Col, a.Len)
	}
	m = match("show client 1 messages from 10:00 to -5m")
	from, ok1 := m.Time("from")
	to, ok2 := m.Time("to")
	if !ok1 || !ok2 || !from.Equal(testEnv().Now.Add(-30*time.Minute)) || !to.Equal(testEnv().Now.Add(-5*time.Minute)) {
		t.Errorf("from %v to %v", from, to)
	}
	m = match("retention archive 1h30m 2GB")
	if d, ok := m.Duration("duration"); !ok || d != 90*time.Minute {
		t.Errorf("duration %v", d)
	}
	if s, ok := m.Size("size"); !ok || s != 2<<30 {
		t.Errorf("size %v", s)
	}
	m = match("show bgp ipv4 flowspec all")
	if a, _ := m.Arg("family"); a.Col != 10 || a.Len != len("ipv4 flowspec") || a.Text != "ipv4-flowspec" {
		t.Errorf("family %+v", a)
	}
	m = match("show diff client 1 adj-in-pre adj-in-post")
	if got := m.Values("view"); !reflect.DeepEqual(got, []string{"adj-in-pre", "adj-in-post"}) {
		t.Errorf("views %v", got)
	}
	if m = match("listen 1790 md5 s3cret limit 3"); !m.Secret() || m.Redacted() != "listen 1790 md5 *** limit 3" || strings.Contains(m.Redacted(), "s3cret") {
		t.Errorf("redacted %q", m.Redacted())
	}
	if v, _ := match("quirk add-path ipv4 on").Arg("onoff"); v.Value != true {
		t.Errorf("on = %v", v.Value)
	}
}

func TestErrors(t *testing.T) {
	tree := testTree(t)
	for _, c := range []struct {
		line     string
		code     int
		col, len int
		text     string
	}{
		{"bogus", 500, 1, 5, "Invalid command: bogus (try 'help')"},
		{"shwo clients", 500, 1, 4, "Invalid command: shwo (try 'help'). Did you mean 'show'?"},
		{"show cleints", 500, 6, 7, "Invalid command: show cleints (try 'help'). Did you mean 'clients'?"},
		{"sh c", 502, 4, 1, `Ambiguous command: "sh c" (client, clients)`},
		{"  sh  c 1", 502, 7, 1, `Ambiguous command: "sh  c" (client, clients)`},
		{"show client 1 peer", 501, 19, 0, "Incomplete command: show client 1 peer (expected: PEER)"},
		{"show client 1 peer  ", 501, 21, 0, "Incomplete command: show client 1 peer (expected: PEER)"},
		{"show", 501, 5, 0, "Incomplete command: show (expected: bgp, client, clients, diff, summary)"},
		{"show client 1 peer 10.0.0.999", 503, 20, 10, "Invalid input: expected A.B.C.D, X:X::X:X, an ID or RD/address"},
		{"show clients x", 503, 14, 1, "Invalid input: expected <cr>"},
		{"show client 1 messages last x", 503, 29, 1, "Invalid input: expected a number"},
		{"show client 1 messages from 2027-01-01 to 10:00", 503, 29, 10, "Invalid input: 2027-01-01 is in the future (now is 2026-11-22T10:30:00Z)"},
		{"show bgp 10.0.0.1/8", 503, 10, 10, "Invalid input: 10.0.0.1/8 has bits beyond its length (10.0.0.0/8)"},
		{"show bgp as-path (65001", 503, 18, 6, "Invalid input: regular expression: missing closing ): `(65001`"},
		{"show client 'edge", 503, 13, 5, "Invalid input: the quote is not closed"},
		{"shut", 500, 1, 4, "Invalid command: shut (try 'help')"},
		{"clear client 1 countres", 503, 16, 8, "Invalid input: expected counters, <cr>. Did you mean 'counters'?"},
		{"show bgp ipv4 v", 502, 15, 1, `Ambiguous command: "show bgp ipv4 v" (view, vpn, vpn-ad, vpn-car, vpn-flowspec, vpn-multicast)`},
		{"", 501, 1, 0, "Incomplete command (expected: alias, clear, echo, find, listen, quirk, retention, run, show, shutdown, undebug, watch)"},
	} {
		_, err := tree.Match(c.line, testEnv())
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: error %v", c.line, err)
			continue
		}
		if e.Code != c.code || e.Col != c.col || e.Len != c.len || e.Text != c.text {
			t.Errorf("%q:\n got %d @%d+%d %s\nwant %d @%d+%d %s", c.line, e.Code, e.Col, e.Len, e.Text, c.code, c.col, c.len, c.text)
		}
	}
}

func TestStrictRefusesAbbreviations(t *testing.T) {
	tree := testTree(t)
	env := testEnv()
	env.Strict = true
	for line, good := range map[string]bool{
		"show clients": true, "sh clients": false, "show client 1 mess": false, "show bgp ipv4 vpn summary": true,
		"show bgp view loc-rib": true, "show bgp view loc": false, "shutdown": true,
	} {
		if _, err := tree.Match(line, env); (err == nil) != good {
			t.Errorf("%q: %v", line, err)
		}
	}
	for line, want := range map[string]string{
		"sh clients":         "Invalid command: sh (write it whole: show)",
		"show client 1 mess": "(write it whole: messages)",
		"shut":               "Invalid command: shut (try 'help')",
	} {
		if _, err := tree.Match(line, env); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func TestExplain(t *testing.T) {
	line := "show client 1 peer 10.0.0.999"
	_, err := testTree(t).Match(line, testEnv())
	e := err.(*Error)
	caret, message := Explain(e.Code, e.Text, line, e.Col, e.Len, true, len("bmp# "))
	if caret != strings.Repeat(" ", 24)+"^" || message != "% Invalid input at '^': expected A.B.C.D, X:X::X:X, an ID or RD/address" {
		t.Errorf("%q %q", caret, message)
	}
	caret, message = Explain(e.Code, e.Text, line, e.Col, e.Len, false, 0)
	if caret != "" || message != "% Invalid input '10.0.0.999': expected A.B.C.D, X:X::X:X, an ID or RD/address" {
		t.Errorf("%q %q", caret, message)
	}
	if _, message = Explain(404, "No client 'r9'", "x", 0, 0, true, 5); message != "% No client 'r9'" {
		t.Errorf("%q", message)
	}
}

func TestPatternsRefused(t *testing.T) {
	for _, p := range []string{"", "show [", "show ]", "show (a|)", "show {[a]|b}", "show a...", "( a ...)", "show x:low", "sh!ow", "show {a|b"} {
		if _, err := New([]Command{{ID: "x", Pattern: p}}, nil); err == nil {
			t.Errorf("%q compiles", p)
		}
	}
	if _, err := New([]Command{{ID: "x", Pattern: "a"}, {ID: "x", Pattern: "b"}}, nil); err == nil {
		t.Error("an ID twice compiles")
	}
}

// A line typed in full is always understood like its abbreviation; nothing panics, positions lie in the line.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"show client 1 peer 10.0.0.1 routes adj-in-pre ipv4 vpn 10.0.0.0/8 longer stale", "sh c", "watch every 2s sh cl | count",
		"show bgp as-path ^(1|2)_ | include UP|DOWN | sort ID desc", `show client "a\"b' | x`, "alias x = y", "show client 1 messages from 10:00 to 11:00",
		"show bgp ipv4", "run a b 'c d", "echo \\", "|", "| |", "listen x md5 k"} {
		f.Add(s)
	}
	tree := testTree(f)
	f.Fuzz(func(t *testing.T, line string) {
		m, err := tree.Match(line, testEnv())
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Col < 1 || e.Len < 0 || e.Col-1+e.Len > len(line) || e.Code < 500 || e.Code > 503 {
				t.Fatalf("%q: %#v", line, err)
			}
		} else {
			for _, a := range m.Args {
				if a.Col < 1 || a.Col-1+a.Len > len(line) {
					t.Fatalf("%q: %+v", line, a)
				}
			}
			strict := testEnv()
			strict.Strict = true
			if again, err := tree.Match(m.Line, strict); err != nil || again.Command != m.Command {
				t.Fatalf("%q: its own line %q: %v", line, m.Line, err)
			}
		}
		c := tree.Complete(t.Context(), line, testEnv())
		if c.Col < 1 || c.Col-1+c.Len > len(line) {
			t.Fatalf("%q: %+v", line, c)
		}
		tree.Help(t.Context(), line, testEnv())
		_, _ = tree.Doc(line)
	})
}
