package lang

import (
	"bytes"
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A script may run text: that of a file (source), or that it made itself (eval);
// and a Runner runs one script after the other, the functions of which stay. All
// are parts of what runs. A text goes through the same hands as the script, is
// printed again, and given to the interpreter. So that a place in it is known
// from the number of a byte alone, it is given with blanks before it, as many as
// are the bytes of all parts before it:
//
//	bytes  0          len(a)+1       len(a)+len(b)+2
//	       script a   part b         part c
//
// A part knows the words of its commands by these numbers.
type part struct {
	script *Script
	base   uint // where it begins
	shift  uint // lines before its first: one, with the blanks
	words  map[uint][]*syntax.Word
	origin *origin // of eval; nil: the text has a file and lines of its own
	text   string  // for the interpreter
	depth  int
}

// origin is the command that runs a text.
type origin struct {
	part *part
	pos  syntax.Pos
}

// maxParts bounds the text that one run makes, in bytes.
const maxParts = 256 << 10

// begin makes s the script that runs, and returns the tree to run.
func (r *Runner) begin(s *Script) (*syntax.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = len(r.parts)
	if len(r.parts) == 0 {
		r.declare(s)
		r.parts = append(r.parts, &part{script: s, words: s.words, text: s.source.text})
		return s.file, nil
	}
	p, file, err := r.makePart(s, nil, 0)
	if err != nil {
		return nil, &Error{File: s.name, Text: capital(err), Status: 2}
	}
	r.parts = append(r.parts, p)
	return file, nil
}

// end forgets the parts of the script that ran, unless functions of theirs stay.
func (r *Runner) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.parts[r.kept:] {
		if p.script.declares {
			return
		}
	}
	r.parts = r.parts[:r.kept]
}

func (r *Runner) declare(s *Script) {
	for name := range s.functions {
		r.functions[name] = true
	}
}

// Parse is the function Parse, for a source that may call the functions which
// were declared in sources that ran before.
func (r *Runner) Parse(name string, source []byte) (*Script, error) {
	return parseWhole(name, string(source), r.known())
}

// IsPlain is the function IsPlain, for a line that may call a function.
func (r *Runner) IsPlain(line string) bool { return isPlain(line, r.known()) }

func (r *Runner) known() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := make(map[string]bool, len(r.functions))
	for f := range r.functions {
		known[f] = true
	}
	return known
}

// IsFunction reports whether a source that ran before declared a function.
func (r *Runner) IsFunction(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.functions[name]
}

// partAt finds the part in which a place is.
func (r *Runner) partAt(pos syntax.Pos) *part {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.parts) - 1; i > 0; i-- {
		if pos.Offset() >= r.parts[i].base {
			return r.parts[i]
		}
	}
	return r.parts[0]
}

// call are the words of the command at a place, as the source has them.
func (p *part) call(pos syntax.Pos) []*syntax.Word { return p.words[pos.Offset()] }

// fault is an error at a place of the script that runs.
func (r *Runner) fault(pos syntax.Pos, status int, format string, a ...any) *Error {
	p := r.partAt(pos)
	for p.origin != nil {
		p, pos = p.origin.part, p.origin.pos
	}
	if words := p.call(pos); p.shift > 0 && len(words) > 0 {
		pos = words[0].Pos()
	}
	e := p.script.errorAt(pos, format, a...)
	e.Status = status
	return e
}

// eval makes of `eval TEXT...` the same with text that went through our hands.
func (r *Runner) eval(pos syntax.Pos, args []string) ([]string, error) {
	text := strings.Join(args[1:], " ")
	from := &origin{r.partAt(pos), pos}
	p, err := r.addPart(pos, from.part.script.name, text, from)
	if err != nil {
		return nil, err
	}
	return []string{"eval", p.text}, nil
}

// source likewise of `source FILE`.
func (r *Runner) source(pos syntax.Pos, args []string) ([]string, error) {
	if len(args) != 2 {
		return nil, r.fault(pos, 2, "Incomplete command: source (expected: one FILE)")
	}
	text, err := r.o.Source(args[1])
	if err != nil {
		return nil, r.fault(pos, 1, "%v", err)
	}
	p, err := r.addPart(pos, args[1], string(text), nil)
	if err != nil {
		return nil, err
	}
	return []string{"eval", p.text}, nil
}

// addPart reads a text and makes a part of it. The same text at the same place,
// as in a loop, is the same part.
func (r *Runner) addPart(pos syntax.Pos, name, text string, from *origin) (*part, error) {
	parent := r.partAt(pos)
	script, err := parse(name, text, r.known())
	if err != nil {
		if e, ok := err.(*Error); ok && from != nil {
			return nil, r.fault(pos, e.Status, "%s (column %d of line %d of what is evaluated)", e.Text, e.Col, e.Line)
		}
		return nil, err
	}
	r.mu.Lock()
	for _, p := range r.parts[r.kept:] {
		if p.script.name == name && p.script.source.text == script.source.text && p.depth == parent.depth+1 &&
			(p.origin == nil && from == nil || p.origin != nil && from != nil && *p.origin == *from) {
			r.mu.Unlock()
			return p, nil
		}
	}
	var p *part
	if parent.depth >= r.o.MaxDepth {
		err = fmt.Errorf("texts that evaluate texts are nested more than %d deep: the script is stopped", r.o.MaxDepth)
	} else if p, _, err = r.makePart(script, from, parent.depth+1); err == nil {
		r.parts = append(r.parts, p)
	}
	r.mu.Unlock()
	if err != nil {
		return nil, r.fault(pos, 1, "%s", capital(err))
	}
	return p, nil
}

// makePart makes a part of a script, to be put behind the others. r.mu is held.
func (r *Runner) makePart(s *Script, from *origin, depth int) (*part, *syntax.File, error) {
	var printed bytes.Buffer
	if err := syntax.NewPrinter().Print(&printed, s.file); err != nil {
		return nil, nil, err
	}
	p := &part{script: s, origin: from, shift: 1, depth: depth}
	if n := len(r.parts); n > 0 {
		p.base = uint(len(r.parts[n-1].text)) + 1
	}
	if int(p.base)+printed.Len() > maxParts+len(r.parts[0].text) {
		return nil, nil, fmt.Errorf("more than %d bytes of text were evaluated: the script is stopped", maxParts)
	}
	p.text = strings.Repeat(" ", int(p.base)) + "\n" + printed.String()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(p.text), "")
	if err != nil {
		return nil, nil, err
	}
	// Both trees have the same commands in the same order.
	was, is := calls(s.file), calls(file)
	if len(was) != len(is) {
		return nil, nil, fmt.Errorf("%s: a text reads otherwise when it is printed", s.name)
	}
	p.words = make(map[uint][]*syntax.Word, len(is))
	for i := range is {
		p.words[is[i].Args[0].Pos().Offset()] = was[i].Args
	}
	r.declare(s)
	return p, file, nil
}

// calls are the commands of a tree, in order.
func calls(file *syntax.File) []*syntax.CallExpr {
	var list []*syntax.CallExpr
	syntax.Walk(file, func(n syntax.Node) bool {
		if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 {
			list = append(list, c)
		}
		return true
	})
	return list
}

// capital is an error as a sentence begins.
func capital(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
