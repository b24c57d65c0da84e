package shell

import (
	"testing"

	"bmp/proto/control"
)

func TestCaret(t *testing.T) {
	v := control.Verdict{Code: 503, Text: "Invalid input at '^': expected A.B.C.D, X:X::X:X, an ID or RD/address", Col: 20, Len: 10}
	line := "show client 1 peer 10.0.0.999 routes"
	v.Col = 20
	place, ok := caret(v, "bmp# ", line, 80)
	if want := "                        ^"; !ok || place != want {
		t.Errorf("caret %q, %v; want %q", place, ok, want)
	}
	if _, ok := caret(v, "bmp# ", line, 24); ok {
		t.Error("a caret is drawn below a line that has wrapped")
	}
	if got, want := nameWord(v, line).Error(), "Invalid input '10.0.0.999': expected A.B.C.D, X:X::X:X, an ID or RD/address"; got != want {
		t.Errorf("one shot: %q, want %q", got, want)
	}
	// A tab is as wide below as above, and what is not ASCII one column.
	if place, _ := caret(control.Verdict{Text: "'^'", Col: 8}, "> ", "é\tshow x", 0); place != "   \t    ^" {
		t.Errorf("caret %q", place)
	}
	for _, v := range []control.Verdict{
		{Code: 404, Text: "No client '9'"},
		{Code: 500, Text: "Invalid command: bogus (try 'help')", Col: 1, Len: 5},
		{Code: 503, Text: "Invalid input at '^'", Col: 1000},
	} {
		if place, ok := caret(v, "bmp# ", "bogus", 80); ok {
			t.Errorf("%s: a caret at %q", v.Text, place)
		}
		nameWord(v, "bogus") // must not look outside the line
	}
}

func TestOneLine(t *testing.T) {
	for _, line := range []string{"", " ", "show\nclients", "show\x00", "show \x03", "show\r"} {
		if oneLine(line) == nil {
			t.Errorf("%q is taken as a command", line)
		}
	}
	if err := oneLine("show\tclients | include é"); err != nil {
		t.Error(err)
	}
}
