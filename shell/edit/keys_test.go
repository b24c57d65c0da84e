package edit

import (
	"strings"
	"testing"
)

// The command runs from Enter on, for whoever types, and not from when the line
// editor has returned the line.
func TestCtrlCBehindEnter(t *testing.T) {
	for _, tt := range []struct {
		name, behind string
		entered      bool
		breaks       int
		ahead        string
	}{
		{"Ctrl-C", "\x03", true, 1, ""},
		{"twice", "\x03\x03", true, 1, ""},
		{"behind half a line", "half\x03", true, 1, ""},
		{"before half a line", "\x03half", true, 1, "half"},
		{"none", "half", true, 0, "half"},
		{"of a read that was called off", "\x03", false, 0, "\x03"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeys(strings.NewReader(""), 0)
			k.begin()
			k.start()
			k.add([]rune("\r"))
			if _, err := k.Read(make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			k.add([]rune(tt.behind))
			k.stop(tt.entered)
			if len(k.breaks) != tt.breaks {
				t.Errorf("%d breaks, want %d", len(k.breaks), tt.breaks)
			}
			if got := k.ahead(); got != tt.ahead {
				t.Errorf("typed ahead: %q, want %q", got, tt.ahead)
			}
		})
	}
}
