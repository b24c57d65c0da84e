package shell

import (
	"testing"

	"bmp/proto/control"
)

func TestDoneText(t *testing.T) {
	for text, want := range map[string]string{
		"0 rows": "", "1 rows": "", "1 row": "", "4812 rows": "",
		"Thrown away of client 5: 140 messages": "Thrown away of client 5: 140 messages",
		"1 subscription ended":                  "1 subscription ended",
		"Client 1 has 3 rows":                   "Client 1 has 3 rows",
	} {
		if got := doneText(control.Verdict{Code: control.CodeDone, Text: text}); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := doneText(control.Verdict{Code: control.CodeBye, Text: "bye"}); got != "" {
		t.Errorf("205: %q", got)
	}
}
