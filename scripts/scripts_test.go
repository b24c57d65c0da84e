package scripts

import (
	"strings"
	"testing"

	"bmp/shell/lang"
)

// Every script can be read, and its first comment says what it is for, how it is
// called, and what its exit status means.
func TestEveryScriptIsDocumented(t *testing.T) {
	if len(Names()) < 6 {
		t.Errorf("scripts: %v", Names())
	}
	for _, name := range Names() {
		text, ok := Text(name)
		if !ok {
			t.Fatalf("%s: no text", name)
		}
		if _, err := lang.Parse(name, text); err != nil {
			t.Error(err)
		}
		doc := Doc(name)
		for _, part := range []string{"run " + name, "exit status"} {
			if !strings.Contains(strings.ReplaceAll(doc, "\n", " "), part) {
				t.Errorf("%s: the comment does not say %q:\n%s", name, part, doc)
			}
		}
		if h := Help(name); h == "" || len(h) > 70 || strings.HasSuffix(h, ".") {
			t.Errorf("%s: help %q", name, h)
		}
	}
	if _, ok := Text("nothing"); ok {
		t.Error("a script that is not there has a text")
	}
	if _, ok := Text("../shell/shell"); ok {
		t.Error("a path is a script")
	}
}
