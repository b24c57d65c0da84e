package main

import (
	"strings"
	"testing"

	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/scripts"
	"bmp/shell"
)

// The manual holds every command, filter and script, and no line of it is a
// request that was not meant as one.
func TestManPage(t *testing.T) {
	page := manPage()
	var all []grammar.Command
	all = append(all, stationTree().Commands()...)
	all = append(all, shell.Commands()...)
	all = append(all, filter.Grammar().Commands()...)
	for i := range all {
		if want := "\n.B " + roff(all[i].Usage()) + "\n"; !all[i].Hidden && !strings.Contains(page, want) {
			t.Errorf("not in the manual: %s", all[i].Usage())
		}
	}
	for _, name := range scripts.Names() {
		if !strings.Contains(page, "\n.SS "+roff(name)+"\n") {
			t.Errorf("not in the manual: the script %s", name)
		}
	}
	known := map[string]bool{".TH": true, ".SH": true, ".SS": true, ".TP": true, ".B": true, ".br": true, ".nf": true, ".fi": true, ".RS": true, ".RE": true}
	fill := 0
	for n, line := range strings.Split(page, "\n") {
		word, _, _ := strings.Cut(line, " ")
		if (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) && !known[word] {
			t.Errorf("line %d is a request: %s", n+1, line)
		}
		switch word {
		case ".nf":
			fill++
		case ".fi":
			fill--
		}
		if fill < 0 || fill > 1 {
			t.Fatalf("line %d: .nf and .fi do not match", n+1)
		}
	}
	if got := roff(`.a\b 'c' d-e`); got != `\&.a\eb \(aqc\(aq d\-e` {
		t.Errorf("escaped: %s", got)
	}
}

func TestSplitAsBash(t *testing.T) {
	for line, want := range map[string]string{
		"":                    "",
		"bmp":                 "bmp",
		"bmp ":                "bmp,",
		"bmp show  cl":        "bmp,show,cl",
		`bmp 'show cl`:        "bmp,show cl",
		`bmp "a\"b" c\ d `:    `bmp,a"b,c d,`,
		`bmp ''`:              "bmp,",
		`bmp show client 'x'`: "bmp,show,client,x",
	} {
		words, _ := splitShell(line)
		if got := strings.Join(words, ","); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
