package shell

import (
	"bytes"
	"testing"

	"bmp/proto/control"
)

// TestWarningsBesideJSON: what a program reads from standard error is JSON, where it asked for JSON.
func TestWarningsBesideJSON(t *testing.T) {
	for _, c := range []struct {
		json bool
		want string
	}{
		{false, "% edge1 was down\n"},
		{true, `{"warning":"edge1 was down"}` + "\n"},
	} {
		var out, errs bytes.Buffer
		p := newPrinter(&out, &errs, c.json)
		if err := p.line(control.Line{Code: control.CodeWarning, Text: "edge1 was down"}); err != nil {
			t.Fatal(err)
		}
		if err := p.flush(); err != nil {
			t.Fatal(err)
		}
		if errs.String() != c.want || out.Len() > 0 {
			t.Errorf("json %v: %q and %q, want %q on standard error", c.json, out.String(), errs.String(), c.want)
		}
	}
}
