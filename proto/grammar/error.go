package grammar

import (
	"fmt"
	"slices"
	"strings"
)

// Error is a line not understood.
type Error struct {
	Code       int      // 500 unknown, 501 incomplete, 502 ambiguous, 503 invalid, 403 not on this side
	Col, Len   int      // bytes, Col from 1; Len 0 at the end of an incomplete line
	Text       string   // without the place and without "% "
	Expected   []string // what could have stood there
	Candidates []string // what an ambiguous word may mean
}

func (e *Error) Error() string { return e.Text }

// Wire is the text of the reply: the place, then the text.
func (e *Error) Wire() string { return fmt.Sprintf("@%d+%d %s", e.Col, e.Len, e.Text) }

// maxExpected is how many possibilities an error names.
const maxExpected = 12

// refuse says why no edge takes a word.
func (t *Tree) refuse(states []state, line string, first int, w word, r reading) *Error {
	e := &Error{Col: w.start + 1, Len: w.end - w.start, Candidates: r.words}
	typed := line[first:w.end]
	switch {
	case len(r.words) > 0:
		e.Code = 502
		e.Text = fmt.Sprintf("Ambiguous %s: \"%s\" (%s)", t.noun, typed, enough(r.words))
		return e
	case r.fault != nil:
		e.Code = 503
		e.Text = "Invalid input: " + r.fault.Error()
		return e
	}
	name := true // still among the words that name the command
	for i := range states {
		s := &states[i]
		for j := range s.n.edges {
			name = name && s.n.edges[j].kind == nil
		}
		for x := s.last; x != nil; x = x.prev {
			name = name && x.arg == nil
		}
		name = name && !s.n.accept
	}
	e.Expected = t.expected(states, func(k *Kind) string { return k.Expected })
	whole := unabbreviated(states, w.text)
	if name {
		e.Code = 500
		try := "try 'help'"
		switch {
		case len(whole) > 0:
			try = "write it whole: " + enough(whole)
		case t.noun == "filter":
			try = "try '| ?'"
		}
		e.Text = fmt.Sprintf("Invalid %s: %s (%s)", t.noun, typed, try)
	} else {
		e.Code = 503
		e.Text = "Invalid input: expected " + enough(e.Expected)
		if len(whole) > 0 {
			e.Text += " (write it whole: " + enough(whole) + ")"
		}
	}
	if len(whole) > 0 {
		e.Candidates = whole
		return e
	}
	if near := t.nearest(states, w.text); near != "" {
		e.Candidates = []string{near}
		e.Text += fmt.Sprintf(". Did you mean '%s'?", near)
	}
	return e
}

// unabbreviated are the keywords that a word would stand for if words could be abbreviated here.
func unabbreviated(states []state, text string) []string {
	var words []string
	for i := range states {
		s := &states[i]
		for j := range s.n.edges {
			e := &s.n.edges[j]
			if text != "" && e.word != "" && !e.whole && !s.hidden && strings.HasPrefix(e.word, text) && !slices.Contains(words, e.word) {
				words = append(words, e.word)
			}
		}
	}
	slices.Sort(words)
	return words
}

// incomplete says what a line lacks that ends at position end.
func (t *Tree) incomplete(states []state, typed string, end int) *Error {
	typed = strings.TrimRight(typed, " \t")
	e := &Error{Code: 501, Col: end + 1}
	e.Expected = t.expected(states, (*Kind).label)
	if typed == "" {
		e.Text = fmt.Sprintf("Incomplete %s (expected: %s)", t.noun, enough(e.Expected))
		return e
	}
	e.Text = fmt.Sprintf("Incomplete %s: %s (expected: %s)", t.noun, typed, enough(e.Expected))
	return e
}

// expected lists what may follow: keywords, then values as text says them, then the end.
func (t *Tree) expected(states []state, text func(*Kind) string) []string {
	var words, values []string
	add := func(list []string, s string) []string {
		if s == "" || slices.Contains(list, s) {
			return list
		}
		return append(list, s)
	}
	end := false
	// Hidden commands are not offered, but to whom is in the middle of one.
	hidden := !slices.ContainsFunc(states, func(s state) bool { return !s.hidden })
	for i := range states {
		s := &states[i]
		if s.hidden && !hidden {
			continue
		}
		end = end || s.n.accept
		for j := range s.n.edges {
			switch e := &s.n.edges[j]; {
			case e.kind == nil:
				words = add(words, e.word)
			case e.more:
				if !e.rare {
					words = add(words, e.word)
				}
			default:
				values = add(values, text(e.kind))
			}
		}
	}
	slices.Sort(words)
	list := append(values, words...)
	if end {
		list = append(list, "<cr>")
	}
	return list
}

// enough joins a list and leaves out what would not be read.
func enough(list []string) string {
	if len(list) > maxExpected {
		return strings.Join(list[:maxExpected], ", ") + ", ..."
	}
	return strings.Join(list, ", ")
}

// nearest is the one keyword possible here that a typing error away is w, or "".
func (t *Tree) nearest(states []state, w string) string {
	best, found := 3, ""
	for i := range states {
		s := &states[i]
		if s.hidden {
			continue
		}
		for j := range s.n.edges {
			e := &s.n.edges[j]
			if e.word == "" || e.word == found {
				continue
			}
			if e.whole && strings.HasPrefix(e.word, w) {
				return "" // begun, not mistyped
			}
			// Two errors in a word of three letters make any word of any other.
			d := distance(w, e.word)
			if d > 2 || d == 0 || min(len(w), len(e.word)) < d+2 {
				continue
			}
			if d < best {
				best, found = d, e.word
			} else if d == best {
				found = ""
			}
		}
	}
	return found
}

// distance counts the letters to insert, delete, replace or swap with their neighbour between two words; more than 2 is
// only known to be more.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 || len(a) > 64 {
		return 3
	}
	var before, last [70]int
	for j := 0; j <= len(b); j++ {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		var row [70]int
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// Explain writes a verdict of the station about line (5xx, or any other) as a person reads it. For an interactive shell,
// caret is the line that points at the place when it is printed under the line typed after a prompt promptCols wide; "" where there is nothing
// to point at. A one-shot command has no line to point into, so its message names the word.
func Explain(code int, text, line string, col, length int, interactive bool, promptCols int) (caret, message string) {
	if code != 503 || col <= 0 || !strings.HasPrefix(text, "Invalid input: ") || col > len(line)+1 {
		return "", "% " + text
	}
	if interactive {
		return strings.Repeat(" ", promptCols+columns(line[:col-1])) + "^", "% Invalid input at '^': " + text[len("Invalid input: "):]
	}
	word := strings.TrimSpace(line[col-1 : min(len(line), col-1+length)])
	return "", fmt.Sprintf("%% Invalid input '%s': %s", word, text[len("Invalid input: "):])
}

// columns is how wide text is on a terminal, near enough for a caret: a rune is one column.
func columns(text string) int { return len([]rune(text)) }
