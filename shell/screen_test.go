package shell

import (
	"slices"
	"strings"
	"testing"
)

func TestWrapped(t *testing.T) {
	tests := []struct {
		text string
		cols int
		want []string
	}{
		{"short", 80, []string{"short"}},
		{"as long as it is wide", 21, []string{"as long as it is wide"}},
		{"of a width that nobody knows", 0, []string{"of a width that nobody knows"}},
		{"broken between words, and what goes on is indented", 24, []string{"broken between words,", "    and what goes on is", "    indented"}},
		{"  indented already, and then broken", 24, []string{"  indented already, and", "      then broken"}},
		{"show bgp {rd RD|next-hop ADDR|as-path RE}", 30, []string{"show bgp {rd RD|next-hop ADDR|", "    as-path RE}"}},
		{"show bgp {rd RD|next-hop ADDR|as-path RE}", 37, []string{"show bgp {rd RD|next-hop ADDR|", "    as-path RE}"}},
		{strings.Repeat("x", 40), 20, []string{strings.Repeat("x", 40)}},
		{"zürich zürich zürich", 14, []string{"zürich zürich", "    zürich"}},
	}
	for _, tt := range tests {
		if got := wrapped(tt.text, tt.cols); !slices.Equal(got, tt.want) {
			t.Errorf("%q at %d: %q, want %q", tt.text, tt.cols, got, tt.want)
		}
	}
}
