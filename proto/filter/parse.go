package filter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"bmp/proto/grammar"
)

// Bounds of what filters hold.
const (
	maxSorted = 1_000_000 // rows of sort
	maxLast   = 100_000   // rows of last
	maxBytes  = 512 << 20 // of either
)

// Options of Parse.
type Options struct {
	Client bool    // save and append are possible (else refused with 403)
	Strict bool    // no abbreviations
	Budget *Budget // of what sort and last hold, with other replies together; nil: each has its own bound alone
}

// Pipeline is a list of filters, parsed. It holds no state of a reply: Start may be called any number of times.
type Pipeline struct {
	Format Format // JSON or JSONLines where `json` is among the filters, wherever it stands
	NoMore bool   // `no-more` is among them: no pager
	Save   string // file of a last `save` or `append` (client only); the caller writes it
	Append bool
	stages []stage
	budget *Budget
}

// stage is one filter, parsed.
type stage struct {
	op     string
	re     *regexp.Regexp
	n      int
	names  []string
	desc   bool
	quiet  bool
	column int // of the names in the request, from 1
}

var filters = []grammar.Command{
	{ID: "include", Pattern: "include {-i|-q} RE", Help: "rows that match; -i either case, -q print nothing, only the status",
		Examples: []string{"show clients | include down", "show peers | include -q ' up '"}},
	{ID: "exclude", Pattern: "exclude {-i|-q} RE", Help: "rows that do not match; -i either case, -q print nothing, only the status"},
	{ID: "begin", Pattern: "begin RE", Help: "from the first row that matches"},
	{ID: "until", Pattern: "until RE", Help: "to the first row that matches"},
	{ID: "section", Pattern: "section RE", Help: "rows that match, with the indented rows under them"},
	{ID: "count", Pattern: "count", Help: "how many rows"},
	{ID: "first", Pattern: "first N", Help: "the first N rows"},
	{ID: "last", Pattern: "last N", Help: "the last N rows"},
	{ID: "sort", Pattern: "sort COLUMN [desc]", Help: "sorted by a column", Examples: []string{"show clients | sort Routes desc | first 10"}},
	{ID: "columns", Pattern: "columns COLUMN", Help: "these columns, in this order: A,B", Examples: []string{"show clients | columns ID,Name"}},
	{ID: "no-header", Pattern: "no-header", Help: "without the heading"},
	{ID: "uniq", Pattern: "uniq", Help: "without rows equal to the one before"},
	{ID: "json", Pattern: "json [lines]", Help: "as one JSON document, or one element a line"},
	{ID: "no-more", Pattern: "no-more", Help: "without the pager"},
	{ID: "save", Pattern: "save FILE", Help: "into a file", Local: true},
	{ID: "append", Pattern: "append FILE", Help: "at the end of a file", Local: true},
}

var tree = grammar.Must(grammar.NewFilters(filters, map[string]string{
	"-i": "upper and lower case are the same", "-q": "print nothing, only the status", "desc": "largest first", "lines": "one element a line",
}))

// Grammar is the tree of the filters, for completion after a bar. The kind of the names of columns is COLUMN.
func Grammar() *grammar.Tree { return tree }

// Parse reads filters: the text after the first bar, "" for none. col is its column in the request (grammar.Match.RestCol; 0
// where there was no bar), for errors, which are *grammar.Error.
func Parse(text string, col int, o Options) (*Pipeline, error) {
	p := &Pipeline{budget: o.Budget}
	if col == 0 && strings.TrimSpace(text) == "" {
		return p, nil
	}
	offset := max(col, 1) - 1 // of text in the request
	for {
		m, err := tree.Match(text, grammar.Env{Strict: o.Strict})
		if err != nil {
			return nil, moved(err, offset)
		}
		own := text
		if m.RestCol > 0 {
			own = text[:m.RestCol-2]
		}
		blanks := len(own) - len(strings.TrimLeft(own, " \t"))
		whole := grammar.Arg{Col: blanks + 1, Len: len(strings.TrimSpace(own))}
		if err := p.add(m, whole, offset, o); err != nil {
			return nil, moved(err, offset)
		}
		if m.RestCol == 0 {
			return p, nil
		}
		text, offset = m.Rest, offset+m.RestCol-1
	}
}

// moved puts an error of a filter at its place in the request.
func moved(err error, offset int) error {
	var e *grammar.Error
	if errors.As(err, &e) {
		e.Col += offset
	}
	return err
}

func invalid(a grammar.Arg, format string, args ...any) *grammar.Error {
	return &grammar.Error{Code: 503, Col: a.Col, Len: a.Len, Text: "Invalid input: " + fmt.Sprintf(format, args...)}
}

// add takes one matched filter; whole is its place in a text that stands at offset in the request.
func (p *Pipeline) add(m *grammar.Match, whole grammar.Arg, offset int, o Options) error {
	s := stage{op: m.Command.ID}
	if p.Save != "" {
		return invalid(whole, "nothing can follow save or append")
	}
	if m.Command.Local && !o.Client {
		return &grammar.Error{Code: 403, Col: whole.Col, Len: whole.Len, Text: fmt.Sprintf("'%s' writes a file of the shell's machine: only in the shell", s.op)}
	}
	switch s.op {
	case "json":
		p.Format = JSON
		if m.Has("lines") {
			p.Format = JSONLines
		}
		return nil
	case "no-more":
		p.NoMore = true
		return nil
	case "save", "append":
		p.Save, p.Append = m.Value("file"), s.op == "append"
		return nil
	}
	if len(p.stages) > 0 && p.stages[len(p.stages)-1].quiet {
		return invalid(whole, "%s -q prints nothing: only json and no-more can follow", p.stages[len(p.stages)-1].op)
	}
	switch s.op {
	case "include", "exclude", "begin", "until", "section":
		a, _ := m.Arg("re")
		s.re, _ = m.Regexp("re")
		s.quiet = m.Has("-q")
		if m.Has("-i") {
			re, err := regexp.Compile("(?i)" + a.Text)
			if err != nil {
				return invalid(a, "%v", err)
			}
			s.re = re
		}
	case "first", "last":
		a, _ := m.Arg("n")
		n, _ := m.Number("n")
		if n == 0 {
			return invalid(a, "expected a number from 1")
		}
		if s.op == "last" && n > maxLast {
			return invalid(a, "last holds at most %d rows", maxLast)
		}
		s.n = int(min(n, 1<<62))
	case "sort", "columns":
		a, _ := m.Arg("column")
		s.column = offset + a.Col
		s.desc = m.Has("desc")
		s.names = []string{a.Text}
		if s.op == "columns" {
			s.names = strings.Split(a.Text, ",")
		}
		for _, n := range s.names {
			if strings.TrimSpace(n) == "" {
				return invalid(a, "expected the names of columns: A,B")
			}
		}
	}
	p.stages = append(p.stages, s)
	return nil
}

// Filters reports whether rows pass through any filter.
func (p *Pipeline) Filters() bool { return len(p.stages) > 0 }
