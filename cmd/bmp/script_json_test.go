package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptJSON reads the last standard output as exactly one JSON document and
// checks what stands at a path of keys and indexes. A VALUE is JSON, or a bare
// string; "#" at the end of a path is how many elements there are.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	doc, err := oneDocument(ts.ReadFile("stdout"))
	ts.Check(err)
	for _, a := range args {
		path, want, ok := strings.Cut(a, "=")
		if !ok {
			ts.Fatalf("usage: json PATH=VALUE...")
		}
		got, err := atPath(doc, path)
		ts.Check(err)
		text, err := json.Marshal(got)
		ts.Check(err)
		s, isString := got.(string)
		equal := string(text) == want || isString && s == want
		if equal == neg {
			ts.Fatalf("%s is %s", path, text)
		}
	}
}

func oneDocument(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("not JSON: %w\n%s", err, text)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON document:\n%s", text)
	}
	return doc, nil
}

func atPath(v any, path string) (any, error) {
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[step]
			if step == "#" {
				next, ok = json.Number(strconv.Itoa(len(x))), true
			}
			if !ok {
				return nil, fmt.Errorf("%s: no key %s", path, step)
			}
			v = next
		case []any:
			if step == "#" {
				v = json.Number(strconv.Itoa(len(x)))
				continue
			}
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(x) {
				return nil, fmt.Errorf("%s: no element %s of %d", path, step, len(x))
			}
			v = x[i]
		default:
			return nil, fmt.Errorf("%s: %s of %v", path, step, v)
		}
	}
	return v, nil
}
