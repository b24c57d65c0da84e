package lang

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// An Error is a fault in a source, at its place.
type Error struct {
	File      string
	Line, Col int // from 1; Col counts bytes. 0: not known
	Text      string
	Status    int // exit status of a script that ends with it
	Code      int // reply code of the command that failed; 0 without one
	// Incomplete says that more lines could make it right: a loop without its
	// end, a quote that is open.
	Incomplete bool
}

// Error is `FILE:LINE:COL: % message`.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return "% " + e.Text
	case e.Line == 0:
		return fmt.Sprintf("%s: %% %s", e.File, e.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %% %s", e.File, e.Line, e.Col, e.Text)
}

// A Script is a source that was parsed whole. It may be run any number of times.
type Script struct {
	name      string
	source    *rewritten
	file      *syntax.File
	functions map[string]bool         // that it declares, and those known before
	declares  bool                    // any itself
	words     map[uint][]*syntax.Word // of a call, by the offset where it starts
}

// Parse reads a source whole; name stands in errors. The error is an *Error:
// what the grammar does not know, or a construct that is refused (status 2).
func Parse(name string, source []byte) (*Script, error) { return parseWhole(name, string(source), nil) }

// parseWhole is parse, for a text that nothing else is around.
func parseWhole(name, text string, known map[string]bool) (*Script, error) {
	s, err := parse(name, text, known)
	if err == nil {
		err = s.misplaced()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// MaxSource bounds a source, in bytes; maxLanguage what of it is more than plain
// lines and comments. The parser is recursive: with this much of the deepest
// nesting there is, its stack stays below a third of what Go allows.
const (
	MaxSource   = 8 << 20
	maxLanguage = 64 << 10
)

// parse is Parse, with the functions that are there already.
func parse(name, text string, known map[string]bool) (*Script, error) {
	if len(text) > MaxSource {
		return nil, &Error{File: name, Text: fmt.Sprintf("Script larger than %d bytes", MaxSource), Status: 2}
	}
	if i := invalidByte(text); i >= 0 {
		line := 1 + strings.Count(text[:i], "\n")
		return nil, &Error{File: name, Line: line, Col: i - strings.LastIndexByte(text[:i], '\n'), Text: "Invalid byte in script", Status: 2}
	}
	functions := functionNames(text)
	declares := len(functions) > 0
	for f := range known {
		functions[f] = true
	}
	s := &Script{name: name, source: rewrite(text, functions), functions: functions, declares: declares, words: map[uint][]*syntax.Word{}}
	if s.source.language > maxLanguage {
		return nil, &Error{File: name, Text: fmt.Sprintf("Script larger than %d bytes, plain commands and comments not counted", maxLanguage), Status: 2}
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(s.source.text), name)
	if err != nil {
		return nil, s.parseError(err)
	}
	if err := s.refuse(file); err != nil {
		return nil, err
	}
	s.file = file
	s.literal(file)
	s.joinFilters(file)
	if err := s.countDepth(file); err != nil {
		return nil, err
	}
	countLoops(file)
	syntax.Walk(file, func(n syntax.Node) bool {
		if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 {
			s.words[c.Args[0].Pos().Offset()] = c.Args
		}
		return true
	})
	return s, nil
}

// A Line is a plain line of a script, at its place.
type Line struct {
	Text      string
	Line, Col int
}

// Plain are the plain lines: who knows the commands can judge them before the
// script runs. There are none where other files, or texts, may declare functions
// that look like commands.
func (s *Script) Plain() []Line {
	for _, c := range calls(s.file) {
		if name := static(c.Args[0]); name == "source" || name == "eval" {
			return nil
		}
	}
	return s.source.places
}

// Error makes an error at a byte (from 1) of a plain line.
func (s *Script) Error(l Line, col, status int, text string) *Error {
	return &Error{File: s.name, Line: l.Line, Col: l.Col + max(col, 1) - 1, Text: text, Status: status}
}

// invalidByte finds what no command may hold: NUL and other control bytes, what
// is not UTF-8, and the marks; or -1.
func invalidByte(text string) int {
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd") || r < ' ' && !strings.ContainsRune("\t\r\n", r) || r == 0x7f ||
			strings.ContainsRune(marks, r) {
			return i
		}
	}
	return -1
}

func (s *Script) parseError(err error) error {
	var pe syntax.ParseError
	if errors.As(err, &pe) {
		e := s.errorAt(pe.Pos, "%s", pe.Text)
		e.Incomplete = syntax.IsIncomplete(err)
		return e
	}
	var le syntax.LangError
	if errors.As(err, &le) {
		return s.errorAt(le.Pos, "%s is not part of the language", le.Feature)
	}
	return &Error{File: s.name, Text: err.Error(), Status: 2}
}

func (s *Script) errorAt(pos syntax.Pos, format string, a ...any) *Error {
	e := &Error{File: s.name, Text: fmt.Sprintf(format, a...), Status: 2}
	if pos.IsValid() {
		e.Line = int(pos.Line())
		e.Col = s.source.column(e.Line, int(pos.Col()))
	}
	return e
}

// refuse finds the first construct that scripts may not use.
func (s *Script) refuse(file *syntax.File) error {
	var fault *Error
	found := func(pos syntax.Pos, format string, a ...any) {
		if fault == nil {
			fault = s.errorAt(pos, format, a...)
		}
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Stmt:
			if n.Background || n.Coprocess {
				found(n.Semicolon, "Commands cannot run in the background ('&')")
			}
			for _, r := range n.Redirs {
				found(r.OpPos, "Redirection is not possible here; output goes to a file by '| save FILE'")
			}
		case *syntax.ForClause:
			if n.Select {
				found(n.Pos(), "select is not possible here")
			}
		case *syntax.CoprocClause:
			found(n.Pos(), "Coprocesses are not possible here")
		case *syntax.ProcSubst:
			found(n.Pos(), "Process substitution is not possible here")
		}
		return fault == nil
	})
	if fault != nil {
		return fault
	}
	return nil
}

// misplaced finds break and continue outside a loop, return outside a function, and either of exit and return with what is no
// number, where that is plain before anything runs.
func (s *Script) misplaced() error {
	var fault *Error
	var around []syntax.Node
	within := func(is func(syntax.Node) bool) bool {
		for _, n := range around {
			if is(n) {
				return true
			}
		}
		return false
	}
	inFunction := func(n syntax.Node) bool { _, ok := n.(*syntax.FuncDecl); return ok }
	inLoop := func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.ForClause, *syntax.WhileClause:
			return true
		}
		return inFunction(n) // it may be called in one
	}
	syntax.Walk(s.file, func(n syntax.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		around = append(around, n)
		c, ok := n.(*syntax.CallExpr)
		if !ok || fault != nil || len(c.Args) == 0 {
			return true
		}
		name := static(c.Args[0])
		switch {
		case s.functions[name]:
		case (name == "break" || name == "continue") && !within(inLoop):
			fault = s.errorAt(c.Pos(), "Invalid %s: it is not in a loop", name)
		case name == "return" && !within(inFunction):
			fault = s.errorAt(c.Pos(), "Invalid return: it is not in a function (exit ends the script)")
		case (name == "exit" || name == "return") && len(c.Args) > 2:
			fault = s.errorAt(c.Args[2].Pos(), "Invalid %s: one status at most", name)
		case (name == "exit" || name == "return") && len(c.Args) == 2:
			if text := static(c.Args[1]); text != "" {
				if _, err := strconv.Atoi(text); err != nil {
					fault = s.errorAt(c.Args[1].Pos(), "Invalid %s status '%s' (expected: a number)", name, text)
				}
			}
		}
		return true
	})
	if fault != nil {
		return fault
	}
	return nil
}

// literal takes the meaning from braces and tildes in words of commands.
// Patterns (* ? [) have none already: the interpreter runs with noglob.
func (s *Script) literal(file *syntax.File) {
	word := func(w *syntax.Word) {
		if w == nil {
			return
		}
		var parts []syntax.WordPart
		for i, p := range w.Parts {
			if lit, ok := p.(*syntax.Lit); ok && (strings.Contains(lit.Value, "{") || i == 0 && strings.HasPrefix(lit.Value, "~")) {
				// It may be printed again (see part): a single quote cannot stand in single quotes.
				for j, text := range strings.Split(unescaped(lit.Value), "'") {
					if j > 0 {
						parts = append(parts, &syntax.Lit{ValuePos: lit.ValuePos, ValueEnd: lit.ValueEnd, Value: `\'`})
					}
					parts = append(parts, &syntax.SglQuoted{Left: lit.ValuePos, Right: lit.ValueEnd, Value: text})
				}
				continue
			}
			parts = append(parts, p)
		}
		w.Parts = parts
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			for _, w := range n.Args {
				word(w)
			}
		case *syntax.Assign:
			word(n.Value)
		case *syntax.WordIter:
			for _, w := range n.Items {
				word(w)
			}
		}
		return true
	})
}

// unescaped takes the backslashes off that a literal still has.
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// joinFilters turns `command | filter | filter` into one command with its
// filters, so that the station runs them, where command is one of ours.
func (s *Script) joinFilters(file *syntax.File) {
	// Inner pipelines first: a | b | c is (a | b) | c.
	var join func(st *syntax.Stmt)
	join = func(st *syntax.Stmt) {
		b, ok := st.Cmd.(*syntax.BinaryCmd)
		if !ok || b.Op != syntax.Pipe {
			return
		}
		join(b.X)
		filter, ok := b.Y.Cmd.(*syntax.CallExpr)
		if !ok || b.Y.Negated || len(filter.Args) == 0 || len(filter.Assigns) > 0 || !s.isFilterName(filter.Args[0]) {
			return
		}
		command, ok := b.X.Cmd.(*syntax.CallExpr)
		if !ok || b.X.Negated || len(command.Args) == 0 || len(command.Assigns) > 0 || !s.isOurs(command) {
			name := filter.Args[0]
			filter.Args[0] = &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{ValuePos: name.Pos(), ValueEnd: name.End(),
				Value: pipedMark + static(name)}}}
			return
		}
		bar := &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{ValuePos: b.OpPos, ValueEnd: b.OpPos, Value: barMark}}}
		command.Args = append(append(command.Args, bar), filter.Args...)
		st.Cmd = command
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		if st, ok := n.(*syntax.Stmt); ok {
			join(st)
		}
		return true
	})
}

// isOurs reports whether a call is a command for Exec and no builtin, function
// or filter.
func (s *Script) isOurs(c *syntax.CallExpr) bool {
	name := static(c.Args[0])
	return name != "" && !isOneOf(builtins, name) && !isOneOf(filterWords, name) && !s.functions[name]
}

// static is the text of a word in which nothing expands; "" of others.
func static(w *syntax.Word) string {
	var b strings.Builder
	for _, p := range w.Parts {
		switch p := p.(type) {
		case *syntax.Lit:
			b.WriteString(unescaped(p.Value))
		case *syntax.SglQuoted:
			if p.Dollar {
				return ""
			}
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			inner := static(&syntax.Word{Parts: p.Parts})
			if p.Dollar || inner == "" && len(p.Parts) > 0 {
				return ""
			}
			b.WriteString(inner)
		default:
			return ""
		}
	}
	return b.String()
}

// isFilterName reports whether a word behind a bar is a filter and not a builtin
// or function, which go first where the filter is abbreviated.
func (s *Script) isFilterName(w *syntax.Word) bool {
	name := strings.TrimPrefix(w.Lit(), `\`) // of \until, see quoteRaw
	return isOneOf(filterWords, name) || isFilter(name) && !isOneOf(builtins, name) && !s.functions[name]
}

// countDepth lets every function count how deep it is nested.
func (s *Script) countDepth(file *syntax.File) error {
	var fault error
	syntax.Walk(file, func(n syntax.Node) bool {
		f, ok := n.(*syntax.FuncDecl)
		if !ok {
			return true
		}
		count, err := syntax.NewParser().Parse(strings.NewReader("local "+depthVariable+"=$(("+depthVariable+"+1))"), "")
		if err != nil {
			fault = err
			return false
		}
		f.Body = &syntax.Stmt{Position: f.Body.Position, Cmd: &syntax.Block{Lbrace: f.Body.Pos(), Rbrace: f.Body.End(),
			Stmts: []*syntax.Stmt{count.Stmts[0], f.Body}}}
		return true
	})
	return fault
}

// countLoops lets every turn of a loop be a step, also of one that runs no
// command.
func countLoops(file *syntax.File) {
	step := func(body []*syntax.Stmt) []*syntax.Stmt {
		at := body[0].Pos()
		word := &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{ValuePos: at, ValueEnd: at, Value: ":"}}}
		return append([]*syntax.Stmt{{Position: at, Cmd: &syntax.CallExpr{Args: []*syntax.Word{word}}}}, body...)
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.WhileClause:
			n.Do = step(n.Do)
		case *syntax.ForClause:
			n.Do = step(n.Do)
		}
		return true
	})
}
