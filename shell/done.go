package shell

import (
	"strings"

	"bmp/proto/control"
)

// doneText is what a command says that it did ("Thrown away of client 5: 140 messages"); empty where its rows say all,
// and for codes that have a way of their own.
func doneText(v control.Verdict) string {
	n, rows := strings.CutSuffix(strings.TrimSuffix(v.Text, "s"), " row")
	if v.Code != control.CodeDone || rows && strings.Trim(n, "0123456789") == "" {
		return ""
	}
	return v.Text
}
