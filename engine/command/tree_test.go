package command

import (
	"strings"
	"testing"

	"bmp/proto/grammar"
)

func testTree(t *testing.T) *grammar.Tree {
	t.Helper()
	table := rows()
	commands := make([]grammar.Command, len(table))
	for i, r := range table {
		commands[i] = r.Command
	}
	tree, err := grammar.New(commands, words)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// Every command has a handler, a help, an ID of its own; every example is a line that leads to it.
func TestTree(t *testing.T) {
	tree := testTree(t)
	seen := make(map[string]bool)
	for _, r := range rows() {
		if seen[r.ID] {
			t.Errorf("ID %q twice", r.ID)
		}
		seen[r.ID] = true
		if r.run == nil {
			t.Errorf("%s: no handler", r.ID)
		}
		if r.Help == "" {
			t.Errorf("%s: no help", r.ID)
		}
		for _, e := range r.Examples {
			m, err := tree.Match(e, grammar.Env{})
			if err != nil {
				t.Errorf("%s: example %q: %v", r.ID, e, err)
				continue
			}
			if m.Command.ID != r.ID {
				t.Errorf("%s: example %q leads to %s", r.ID, e, m.Command.ID)
			}
		}
	}
}

// Later spellings are offered to nobody, but who has begun one is told how it goes on.
func TestLaterSpellings(t *testing.T) {
	tree := testTree(t)
	for line, want := range map[string]string{
		"show bgp router":        "(expected: CLIENT)",
		"show bgp router 1 peer": "(expected: PEER)",
	} {
		if _, err := tree.Match(line, grammar.Env{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if _, err := tree.Match("show bgp bogus", grammar.Env{}); err == nil || strings.Contains(err.Error(), "router") {
		t.Errorf("show bgp bogus: %v", err)
	}
}

// Lines of the manual, and what they lead to: a command, or the code of the error.
func TestLines(t *testing.T) {
	tree := testTree(t)
	for _, c := range []struct {
		line, id string
		code     int
	}{
		{"show summary", "show summary", 0},
		{"sh su", "show summary", 0},
		{"show clients", "show clients", 0},
		{"show bgp routers", "show bgp routers", 0},
		{"show bgp router 1", "show bgp router", 0},
		{"show bgp router 1 peer 10.0.0.1 routes adj-in-pre", "show bgp router peer routes", 0},
		{"show client 1 messages last 5 type route-monitoring hex", "show client messages", 0},
		{"show client 1 messages since -5m", "show client messages", 0},
		{"show client 1 messages from 10:00 to 10:05", "show client messages", 0},
		{"show client 1 peer 65000:1/10.0.0.1", "show client peer", 0},
		{"show client 1 peer A7/loc-rib messages", "show client peer messages", 0},
		{"show client 1 peer 10.0.0.1 routes ipv4 vpn 10.0.0.0/8 longer limit 5", "show client peer routes", 0},
		{"show peers down client 1 as 65001 rd 65000:1 table red", "show peers", 0},
		{"show bgp summary", "show bgp summary", 0},
		{"show bgp ipv4 vpn summary", "show bgp summary", 0},
		{"show bgp 203.0.113.0/24", "show bgp", 0},
		{"show bgp 203.0.113.7 exact detail", "show bgp", 0},
		{"show bgp ipv4 vpn rd 65000:1 10.0.0.0/8", "show bgp", 0},
		{"show bgp ipv4 vpn rd 65000:1", "show bgp", 0},
		{"show bgp evpn all", "show bgp", 0},
		{"show bgp l2vpn evpn all", "show bgp", 0},
		{"show bgp ipv4-vpn all", "show bgp", 0},
		{"show bgp 1/99 all", "show bgp", 0},
		{"show bgp attribute next-hop 10.0.0.1", "show bgp attribute", 0},
		{"show bgp ipv4 community 65000:1 community 65000:2 large-community 1:2:3", "show bgp", 0},
		{"show bgp 10.0.0.0/8 at 10:05", "show bgp", 0},
		{"show bgp 10.0.0.0/8 history since -1h", "show bgp", 0},
		{"show bgp 10.0.0.0/8 diff -2h -1h", "show bgp", 0},
		{"show diff client 1 peer 10.0.0.1 adj-in-pre adj-in-post ipv4", "show diff client", 0},
		{"show diff client 1 peer 10.0.0.1 adj-in-pre at -2h -1h", "show diff client at", 0},
		{"show diff 203.0.113.0/24", "show diff", 0},
		{"debug client 1 peer 10.0.0.1 route 10.0.0.0/8 type route-monitoring detail rate 10", "debug client", 0},
		{"undebug all", "undebug", 0},
		{"undebug 7", "undebug", 0},
		{"undebug client 1", "undebug client", 0},
		{"clear client 1 counters", "clear client counters", 0},
		{"flush client 1 routes", "flush client routes", 0},
		{"listen blue/1111 vrf red allow 10.0.0.0/8 allow 192.0.2.0/24 limit 5", "listen", 0},
		{"listen 1111 md5 secret", "listen", 0},
		{"listen 1111 md5 file /etc/key", "listen", 0},
		{"listen 1111 tls cert.pem key.pem", "listen", 0},
		{"no listen 1111", "no listen", 0},
		{"control 192.0.2.1 tls cert.pem key.pem allow 192.0.2.0/24 role view", "control", 0},
		{"connect 192.0.2.1:1790 netns blue", "connect", 0},
		{"retention archive 7d 20GB", "retention archive", 0},
		{"retention stale 2h", "retention stale", 0},
		{"relay 192.0.2.1:1790 client 1", "relay", 0},
		{"quirk client 1 peer 10.0.0.1 add-path ipv4 unicast on", "quirk add-path", 0},
		{"quirk client 1 as-width 2", "quirk as-width", 0},
		{"no quirk client 1 add-path ipv4", "no quirk", 0},
		{"shutdown", "shutdown", 0},
		{"shut", "", 500},
		{"bogus", "", 500},
		{"sh c", "", 502},
		{"show client 1 peer", "", 501},
		{"show client 1 peer 10.0.0.999", "", 503},
		{"show bgp 10.0.0.1/8", "", 503},
	} {
		m, err := tree.Match(c.line, grammar.Env{})
		if c.code != 0 {
			if e, ok := err.(*grammar.Error); !ok || e.Code != c.code {
				t.Errorf("%q: %v, want code %d", c.line, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		if m.Command.ID != c.id {
			t.Errorf("%q leads to %q, want %q", c.line, m.Command.ID, c.id)
		}
	}
}
