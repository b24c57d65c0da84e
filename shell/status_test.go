package shell

import (
	"testing"

	"bmp/proto/control"
)

func TestPlaceOfAnError(t *testing.T) {
	line := "show client 1 peer 10.0.0.999 routes"
	v := control.Verdict{Code: 503, Text: "Invalid input: expected A.B.C.D, X:X::X:X, an ID or RD/address", Col: 20, Len: 10}
	place, err := pointAt(v, "bmp# ", line, 80)
	if want := "                        ^"; place != want {
		t.Errorf("caret %q, want %q", place, want)
	}
	if got, want := err.Error(), "Invalid input at '^': expected A.B.C.D, X:X::X:X, an ID or RD/address"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	oneShot := "Invalid input '10.0.0.999': expected A.B.C.D, X:X::X:X, an ID or RD/address"
	if got := nameWord(v, line).Error(); got != oneShot {
		t.Errorf("one shot: %q, want %q", got, oneShot)
	}
	// Below a line that has wrapped a caret would point at something else.
	if place, err := pointAt(v, "bmp# ", line, 24); place != "" || err.Error() != oneShot {
		t.Errorf("24 columns: caret %q, %v", place, err)
	}
	for _, v := range []control.Verdict{
		{Code: 404, Text: "No client '9'"},
		{Code: 500, Text: "Invalid command: bogus (try 'help')", Col: 1, Len: 5},
	} {
		if place, err := pointAt(v, "bmp# ", "bogus", 80); place != "" || err.Error() != v.Text {
			t.Errorf("%s: caret %q, %v", v.Text, place, err)
		}
	}
	// A station may send any place: nothing is looked for outside the line.
	pointAt(control.Verdict{Code: 503, Text: "Invalid input: x", Col: 1000, Len: 9}, "bmp# ", "bogus", 80)
	pointAt(control.Verdict{Code: 503, Text: "Invalid input: x", Col: 5, Len: 1 << 30}, "bmp# ", "bogus", 80)
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
