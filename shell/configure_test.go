package shell

import (
	"strings"
	"testing"
)

func TestLanguage(t *testing.T) {
	for line, want := range map[string]string{
		"show clients":                            "",
		"show clients | include UP|DOWN":          "",
		"show bgp all as-path ^(65001|65002)_":    "",
		"show bgp all as-path _65001$":            "",
		"show bgp all as-path _65001$ | count":    "",
		"show log | include = ":                   "",
		"show client edge1.ams":                   "",
		"if show clients; then":                   "if",
		"for c in $(show clients)":                "for",
		"x=1":                                     "x=",
		"show client $c":                          "$c",
		"show client ${c}":                        "${",
		"show clients && show peers":              "&&",
		"show clients || show peers":              "||",
		"show clients; show peers":                ";",
		"show client `x`":                         "`",
		"done":                                    "done",
		"[ 1 = 1 ]":                               "[",
		"f() { show clients; }":                   "f()",
		"expect 3 rows":                           "expect",
		"show bgp all community 65000:1 limit 10": "",
	} {
		if got := language(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestConfigurationLines: what is no setting is refused before anything is done.
func TestConfigurationLines(t *testing.T) {
	for text, want := range map[string]string{
		"! comment\n\nlisten 1790\n ret stale 45m\nno listen 1790\n": "",
		"listen 1790\nshutdown\n":                                    "config:2:1: Invalid command: shutdown (a configuration has listen, connect, control, retention, quirk, relay, no)",
		"  show clients\n":                                           "config:1:3: Invalid command: show (a configuration has listen, connect, control, retention, quirk, relay, no)",
		"clear client 1\n":                                           "config:1:1: Invalid command: clear (a configuration has listen, connect, control, retention, quirk, relay, no)",
	} {
		lines, err := readLines("config", strings.NewReader(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || err == nil && len(lines) != 3 {
			t.Errorf("%q: %d lines, %q, want %q", text, len(lines), got, want)
		}
	}
}
