package command

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/engine"
	"bmp/proto/control"
)

// words are the keys of a JSON element, as the manual lists them.
func keys(text string) []string {
	k := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
	slices.Sort(k)
	return k
}

const routeKeys = `client, client_name, peer_id, peer, rd, view, family, prefix, path_id, next_hop, origin, as_path, med,
	local_pref, communities, large_communities, ext_communities, labels, attributes, since, stale`

// asked types a line and decodes the JSON that comes.
func (ts *testStation) asked(line string) any {
	ts.t.Helper()
	var b bytes.Buffer
	v, err := ts.console.Do(ts.t.Context(), line, func(l control.Line) error {
		if l.Code == control.CodeWarning || l.Code == control.CodeProgress {
			return nil
		}
		if l.Code != control.CodeJSON {
			ts.t.Errorf("%s: line %d %s in JSON", line, l.Code, l.Text)
		}
		b.WriteString(l.Text + "\n")
		return nil
	})
	if err != nil || v.Err() != nil {
		ts.t.Fatalf("%s: %v %v", line, err, v.Err())
	}
	var doc any
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		ts.t.Fatalf("%s: %v\n%s", line, err, b.Bytes())
	}
	return doc
}

const jsonRouter = `
initiation edge1.ams a router
up 10.0.0.1 as=65001 addpath=ipv4
up 10.0.0.3 as=65000 rd=65000:1 table=red families=vpn4
up loc-rib as=65000 table=global
announce 10.0.0.1 203.0.113.0/24 path=65001,65010 nh=10.0.0.1 med=10 comm=65001:100 large=65001:1:2 pathid=7
announce 10.0.0.1 203.0.113.0/24 path=65001,65010 nh=10.0.0.1 lp=200 view=adj-in-post pathid=7
announce 10.0.0.3 10.1.0.0/16 nh=10.0.0.3 family=vpn4 nrd=65000:1 label=100
announce loc-rib 203.0.113.0/24 path=65001,65010 nh=10.0.0.1
stats 10.0.0.1 7=1
down 10.0.0.3 3 6/2
announce 10.0.0.9 192.0.2.0/24 path=65009
`

const changeKeys = "time, router_time, action, cause, changed, " + routeKeys

// Every JSON document has exactly the keys that the manual promises.
func TestJSONKeys(t *testing.T) {
	ts := startStation(t, withArchive(t.TempDir()))
	ts.router("edge1").play(ts.Station, jsonRouter)
	ts.mark("T")
	ts.router("edge1").play(ts.Station, "announce 10.0.0.1 203.0.113.0/24 path=65001,65010 nh=10.0.0.1 med=11 pathid=7")
	for _, c := range []struct {
		line, keys string
		more       bool // further keys are promised only as "..."
	}{
		{"show summary", "port, name, pid, version, uptime_seconds, clients, peers, messages, bytes, memory_bytes, routes, attribute_sets, " +
			"events, read_lag_seconds, read_queue_bytes, batches_delayed, routes_refused, store_fallbacks, memory_limit_bytes, " +
			"refusing_clients, reading_paused, sessions_refused, clients_closed, archive", false},
		{"show clients", "id, address, state, uptime_seconds, peers, messages, bytes, routes, name, netns, listener", false},
		{"show client 1", "id, address, state, sys_name, sys_descr, messages_by_type, malformed, sessions", true},
		{"show client 1 peers", "id, type, rd, address, as, bgp_id, state, table, since, down_reason, routes, stale", false},
		{"show peers", "client, client_name, id, type, rd, address, as, bgp_id, state, table, since, down_reason, routes, stale", false},
		{"show client 1 messages", "time, router_time, type, peer, rd, peer_name, view, summary, announced, withdrawn, bytes", false},
		{"show client 1 messages detail", "time, router_time, type, peer, rd, peer_name, view, summary, announced, withdrawn, bytes, routes, body", false},
		{"show client 1 messages hex", "time, router_time, type, peer, rd, peer_name, view, summary, announced, withdrawn, bytes, hex", false},
		{"show client 1 peer 10.0.0.1 messages", "time, router_time, type, peer, rd, peer_name, view, summary, announced, withdrawn, bytes", false},
		{"show client 1 peer 10.0.0.1 routes", routeKeys, false},
		{"show bgp all", routeKeys, false},
		{"show bgp 203.0.113.0/24 detail", routeKeys, false},
		{"show bgp summary", "family, view, routes, prefixes, peers, attribute_sets", false},
		{"show diff client 1 peer 10.0.0.1 adj-in-pre adj-in-post", "time, action, changed, " + routeKeys, false},
		{"show diff 203.0.113.0/24", "time, action, changed, " + routeKeys, false},
		{"show bgp all at $T", routeKeys, false},
		{"show bgp 203.0.113.0/24 at $T detail", routeKeys, false},
		{"show client 1 peer 10.0.0.1 routes at $T", routeKeys, false},
		{"show bgp 203.0.113.0/24 history", changeKeys, false},
		{"show bgp all since $T", changeKeys, false},
		{"show bgp all diff $T", changeKeys, false},
		{"show diff client 1 peer 10.0.0.1 at $T -0s", changeKeys, false},
		{"show diff client 1 peer 10.0.0.1 adj-in-pre adj-in-post at $T -0s", "time, action, changed, " + routeKeys, false},
		{"show client 1 health", "time, peer, finding, count, detail, proof", false},
	} {
		doc := ts.asked(strings.ReplaceAll(c.line, "$T", ts.marks["T"]) + " | json")
		elements, isList := doc.([]any)
		if !isList {
			elements = []any{doc}
		}
		if isList == (c.line == "show client 1") {
			t.Errorf("%s: list is %v", c.line, isList)
		}
		if len(elements) == 0 {
			t.Errorf("%s: nothing", c.line)
		}
		for _, e := range elements {
			m, _ := e.(map[string]any)
			var got []string
			for k := range m {
				got = append(got, k)
			}
			slices.Sort(got)
			want := keys(c.keys)
			if c.more {
				for _, k := range want {
					if _, ok := m[k]; !ok {
						t.Errorf("%s: no key %s", c.line, k)
					}
				}
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: keys\n%v, want\n%v", c.line, got, want)
			}
		}
	}
}

// at finds a value in a document: by key in an object, by number in a list.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: %v is no object", path, v)
			}
			if v, ok = m[p]; !ok {
				t.Fatalf("%v: no %s in %v", path, p, m)
			}
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				t.Fatalf("%v: no element %d of %v", path, p, v)
			}
			v = l[p]
		}
	}
	return v
}

// The values in the documents have the types and the meaning of the manual.
func TestJSONValues(t *testing.T) {
	ts := startStation(t, engine.Options{})
	r := ts.router("edge1")
	r.play(ts.Station, jsonRouter)
	docs := make(map[string]any)
	type path []any
	for _, c := range []struct {
		line string
		path path
		want any
	}{
		{"show summary", path{0, "clients"}, 1.0},
		{"show summary", path{0, "peers"}, 2.0},
		{"show summary", path{0, "routes"}, 4.0},
		{"show summary", path{0, "version"}, "0.0.0-test"},
		{"show clients", path{0, "address"}, r.from.String()},
		{"show clients", path{0, "state"}, "up"},
		{"show clients", path{0, "name"}, "edge1.ams"},
		{"show clients", path{0, "netns"}, nil},
		{"show clients", path{0, "peers"}, 2.0},
		{"show client 1", path{"messages_by_type", "route_monitoring"}, 5.0},
		{"show client 1", path{"messages_by_type", "unknown"}, 0.0},
		{"show client 1", path{"sessions", 0, "end"}, nil},
		{"show client 1", path{"sys_descr"}, "a router"},
		{"show client 1 peers", path{0, "address"}, "10.0.0.1"},
		{"show client 1 peers", path{0, "rd"}, nil},
		{"show client 1 peers", path{0, "routes", "adj_in_pre"}, 1.0},
		{"show client 1 peers", path{0, "routes", "adj_in_post"}, 1.0},
		{"show client 1 peers", path{1, "rd"}, "65000:1"},
		{"show client 1 peers", path{1, "state"}, "down"},
		{"show client 1 peers", path{1, "table"}, "red"},
		{"show client 1 peers", path{2, "address"}, nil},
		{"show client 1 peers", path{2, "type"}, "loc-rib"},
		{"show client 1 peers", path{3, "state"}, "unannounced"},
		{"show client 1 messages", path{0, "type"}, "initiation"},
		{"show client 1 messages", path{0, "peer"}, nil},
		{"show client 1 messages", path{0, "view"}, nil},
		{"show client 1 messages", path{4, "announced"}, 1.0},
		{"show client 1 messages", path{4, "view"}, "adj_in_pre"},
		{"show client 1 messages detail", path{4, "routes", 0, "action"}, "announce"},
		{"show client 1 messages detail", path{4, "routes", 0, "prefix"}, "203.0.113.0/24"},
		{"show client 1 messages detail", path{4, "routes", 0, "path_id"}, 7.0},
		{"show client 1 messages detail", path{6, "routes", 0, "rd"}, "65000:1"},
		{"show bgp 203.0.113.0/24", path{0, "client"}, 1.0},
		{"show bgp 203.0.113.0/24", path{0, "peer_id"}, 1.0},
		{"show bgp 203.0.113.0/24", path{0, "peer"}, "10.0.0.1"},
		{"show bgp 203.0.113.0/24", path{0, "path_id"}, 7.0},
		{"show bgp 203.0.113.0/24", path{0, "next_hop"}, "10.0.0.1"},
		{"show bgp 203.0.113.0/24", path{0, "origin"}, "i"},
		{"show bgp 203.0.113.0/24", path{0, "as_path"}, "65001 65010"},
		{"show bgp 203.0.113.0/24", path{0, "med"}, 10.0},
		{"show bgp 203.0.113.0/24", path{0, "local_pref"}, nil},
		{"show bgp 203.0.113.0/24", path{0, "communities", 0}, "65001:100"},
		{"show bgp 203.0.113.0/24", path{0, "large_communities", 0}, "65001:1:2"},
		{"show bgp 203.0.113.0/24", path{0, "stale"}, false},
		{"show bgp 203.0.113.0/24", path{1, "view"}, "adj_in_post"},
		{"show bgp 203.0.113.0/24", path{1, "local_pref"}, 200.0},
		{"show bgp 203.0.113.0/24", path{2, "view"}, "loc_rib"},
		{"show bgp 203.0.113.0/24", path{2, "peer"}, nil},
		{"show bgp 203.0.113.0/24", path{2, "path_id"}, nil},
		{"show diff client 1 peer 10.0.0.1 adj-in-pre adj-in-post", path{0, "action"}, "change"},
		{"show diff client 1 peer 10.0.0.1 adj-in-pre adj-in-post", path{0, "changed", 0}, "med"},
	} {
		if docs[c.line] == nil {
			docs[c.line] = ts.asked(c.line + " | json")
		}
		if got := at(t, docs[c.line], c.path...); got != c.want {
			t.Errorf("%s: %v is %v, want %v", c.line, c.path, got, c.want)
		}
	}
	since, _ := at(t, docs["show bgp 203.0.113.0/24"], 0, "since").(string)
	if when, err := time.Parse(time.RFC3339, since); err != nil || time.Since(when) > time.Minute || time.Since(when) < -time.Second {
		t.Errorf("since %q: %v", since, err)
	}
	// An empty list is one.
	for _, line := range []string{"show peers unmonitored", "show bgp 192.0.2.99/32", "show client 1 malformed", "show debug"} {
		if list, ok := ts.asked(line + " | json").([]any); !ok || len(list) != 0 {
			t.Errorf("%s: %v", line, list)
		}
	}
	// What is down has no uptime.
	r.play(ts.Station, "close")
	doc := ts.asked("show clients | json")
	if at(t, doc, 0, "state") != "down" || at(t, doc, 0, "uptime_seconds") != nil {
		t.Errorf("a client that is down: %v", doc)
	}
	if stale := at(t, ts.asked("show client 1 peers | json"), 0, "stale"); stale != true {
		t.Errorf("its peers are not stale: %v", stale)
	}
	if stale := at(t, ts.asked("show bgp 203.0.113.0/24 stale | json"), 0, "stale"); stale != true {
		t.Errorf("its routes are not stale: %v", stale)
	}
}
