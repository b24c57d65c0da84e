package shell

import "testing"

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
