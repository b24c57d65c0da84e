package lang

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// judge splits lines as a station and a shell do. Its commands have the forms
// that matter to a tokenizer: words, values of every reach, and a command that
// holds a command.
var judge = grammar.Must(grammar.New([]grammar.Command{
	{ID: "show", Pattern: "show [A] [B] [C] [D] [E] [F] [G] [H]"},
	{ID: "show bgp", Pattern: "show bgp [FAMILY] [rd RD] [PREFIX [exact|longer|shorter|lpm]|NLRI|all] {client X|peer X|view VIEW|next-hop ADDR|" +
		"as-path ASPATH|origin-as AS|community COMMUNITY...|large-community LARGE...|ext-community EXT...|limit N|stale|detail|since T}"},
	{ID: "debug", Pattern: "debug client X {peer P|route PREFIX|type TYPE|detail|rate N}"},
	{ID: "listen", Pattern: "listen LISTENER {vrf DEV|allow ALLOW...|limit N|md5 key:SECRET}"},
	{ID: "find", Pattern: "find RE"},
	{ID: "on", Pattern: "on NAME COMMAND"},
	{ID: "watch", Pattern: "watch {every D|diff|count N} COMMAND"},
	{ID: "clear", Pattern: "clear client X [counters]"},
	{ID: "help", Pattern: "help [A] [B] [C]"},
}, nil))

var fixedNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// argv is what the judge makes of a line: its words, filters included, each on
// a line of its own; or the error.
func argv(line string, strict bool) string {
	env := grammar.Env{Now: fixedNow, Zone: time.UTC, Strict: strict}
	m, err := judge.Match(line, env)
	if err != nil {
		return "error: " + err.Error()
	}
	var b strings.Builder
	for _, w := range m.Words {
		fmt.Fprintf(&b, "word %s\n", w)
	}
	for _, a := range m.Args {
		if a.Text == "as-path" {
			return "error: as-path is not the name of anything"
		}
		if a.Kind == "COMMAND" {
			fmt.Fprintf(&b, "command\n%s", argv(a.Text, strict))
			continue
		}
		fmt.Fprintf(&b, "%s %q\n", a.Name, a.Text)
	}
	rest, more := m.Rest, m.RestCol > 0
	for more {
		f, err := filter.Grammar().Match(rest, env)
		if err != nil {
			return "error in a filter: " + err.Error()
		}
		fmt.Fprintf(&b, "| %s\n", f.Command.ID)
		for _, w := range f.Words {
			fmt.Fprintf(&b, "word %s\n", w)
		}
		for _, a := range f.Args {
			fmt.Fprintf(&b, "%s %q\n", a.Name, a.Text)
		}
		rest, more = f.Rest, f.RestCol > 0
	}
	return b.String()
}

// sentFor runs a source and returns the one line that goes to the station.
func sentFor(source string) (string, error) {
	s, err := Parse("line", []byte(source+"\n"))
	if err != nil {
		return "", err
	}
	var sent []string
	r, err := New(Options{Exec: func(_ context.Context, l string, _ io.Reader, _ io.Writer) Result {
		sent = append(sent, l)
		return Result{}
	}})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := r.Run(ctx, s); err != nil {
		return "", err
	}
	if len(sent) != 1 {
		return "", fmt.Errorf("%d lines: %q", len(sent), sent)
	}
	return sent[0], nil
}

// forced is put before a line so that it goes the language's way, whatever it
// looks like.
const forced = "x=;"

// A line gives the station the same words whether it is sent as typed or goes
// through the language.
func TestBothPathsGiveTheSameWords(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "lines"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		if line == "" {
			continue
		}
		n++
		// What has a dollar or a semicolon goes the language's way at once.
		if !IsPlain(line) && !strings.ContainsAny(line, "$;&") {
			t.Errorf("not plain: %s", line)
			continue
		}
		typed := line
		if IsPlain(line) {
			var err error
			if typed, err = sentFor(line); err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			if cut := strings.TrimSpace(withoutComment(line)); typed != cut {
				t.Errorf("%q is sent as %q", line, typed)
			}
		}
		want := argv(typed, false)
		if strings.HasPrefix(want, "error") {
			t.Errorf("the judge does not know it: %s: %s", line, want)
			continue
		}
		sent, err := sentFor(forced + line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := argv(sent, false); got != want {
			t.Errorf("typed %s\nsent  %s\nas typed:\n%sby the language:\n%s", line, sent, want, got)
		}
	}
	if n < 200 {
		t.Errorf("only %d lines", n)
	}
}

// FuzzBothPaths looks for lines of which the two paths make something else, in
// whole words as in a script.
func FuzzBothPaths(f *testing.F) {
	f.Add("show clients | include a|b")
	f.Add(`show bgp as-path ^(65001|65002)_ | exclude -i "x y" | count`)
	f.Add("show a'b c'd {1,2} ~ * ?")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") || invalidByte(line) >= 0 || !IsPlain(line) || withoutComment(line) != line {
			return
		}
		plain := argv(line, true)
		if strings.HasPrefix(plain, "error") {
			return
		}
		sent, err := sentFor(forced + line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if got := argv(sent, true); got != plain {
			t.Fatalf("typed %q\nsent  %q\nas typed:\n%sby the language:\n%s", line, sent, plain, got)
		}
	})
}
