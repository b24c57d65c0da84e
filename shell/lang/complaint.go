package lang

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// The interpreter writes what is wrong while a script runs to standard error, without a place, and goes on: after `1/0`
// with status 0. Commands write there through us, and redirections are refused, so that all it gets is such complaints.
// They are turned into errors with their places:
//
//	of a builtin      shift: usage ...      a line with the place of the builtin, which has its status; of exit, return, break
//	                                        and continue, which would do nothing, the script ends
//	of an expansion   division by zero      the script ends, as it does with an unknown command
//
// An expansion comes before its command is announced (Runner.call), or belongs to none. Its place is where the source has
// the next of its kind, behind the command that ran last.
type complaints struct{ r *Runner }

// Write takes one complaint, as the interpreter writes them, or a command of set -x.
func (c complaints) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("+ ")) {
		return c.r.o.Stderr.Write(p)
	}
	if err := c.r.complain(strings.ReplaceAll(strings.TrimRight(string(p), "\n"), "\n", " ")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// announce notes the command that is about to run. It returns what ends the script before it.
func (r *Runner) announce(pos syntax.Pos, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending != nil {
		return r.ending
	}
	r.at, r.running = pos, ""
	if isOneOf(builtins, name) {
		r.running = name
	}
	return nil
}

// atStatement notes the statement that is about to run.
func (r *Runner) atStatement(st *syntax.Stmt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.running = st.Pos(), ""
}

// ended is the complaint that ends the script; nil: there was none.
func (r *Runner) ended() *Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.ending
	r.ending = nil
	return e
}

var complaintPlace = regexp.MustCompile(`^[0-9]+:[0-9]+: `) // in the text that the interpreter has

// complain takes a line of the interpreter's.
func (r *Runner) complain(line string) error {
	r.mu.Lock()
	at, running := r.at, r.running
	r.mu.Unlock()
	text := line[len(complaintPlace.FindString(line)):]
	of := running != "" && (text != line || ofBuiltin(running, text))
	var e *Error
	if of {
		text = strings.TrimPrefix(text, running+": ")
		e = r.fault(at, 1, "Invalid %s: %s", running, text)
	} else {
		e = r.expansion(at, text)
	}
	goesOn := of && !isOneOf([]string{"exit", "return", "break", "continue"}, running) // these would be passed over
	if !goesOn && !strings.HasSuffix(text, ": readonly variable") {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ending == nil {
			r.ending = e
		}
		return nil
	}
	if r.o.Report != nil {
		r.o.Report(e)
		return nil
	}
	_, err := fmt.Fprintln(r.o.Stderr, e)
	return err
}

// ofBuiltin says that a complaint is of the builtin that runs.
func ofBuiltin(name, text string) bool {
	return strings.HasPrefix(text, name+":") || name == "return" && strings.HasPrefix(text, "invalid return") || strings.HasPrefix(text, name+" ") || strings.HasPrefix(text, "usage: "+name) ||
		strings.HasPrefix(text, "invalid "+name+" ") || name == "printf" && strings.HasPrefix(text, "invalid ")
}

// expansion is the error that a complaint of an expansion is, after the command at a place was announced.
func (r *Runner) expansion(at syntax.Pos, text string) *Error {
	p := r.partAt(at)
	after := at.Offset()
	if words := p.call(at); len(words) > 0 {
		after = words[0].Pos().Offset()
	} else if p.shift > 0 {
		after = 0 // where that is in the source is known of commands alone
	}
	if p.origin == nil {
		if pos := find(p.script.file, after, expansionOf(text)); pos.IsValid() {
			e := p.script.errorAt(pos, "%s", expansionText(text))
			e.Status = 1
			return e
		}
	}
	return r.fault(at, 1, "%s", expansionText(text))
}

// expansionText is a complaint in our words.
func expansionText(text string) string {
	name, what, ok := strings.Cut(text, ": ")
	switch {
	case ok && what == "unbound variable":
		return "Variable '" + name + "' is not set"
	case ok && what == "readonly variable":
		return "Variable '" + name + "' is read-only"
	case ok && syntax.ValidName(name): // ${name:?what}
		return name + ": " + what
	}
	return strings.ToUpper(text[:min(1, len(text))]) + text[min(1, len(text)):]
}

// expansionOf tells the nodes that a complaint can be of.
func expansionOf(text string) func(syntax.Node) bool {
	name, what, _ := strings.Cut(text, ": ")
	return func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ParamExp:
			return n.Param != nil && n.Param.Value == name && what != "readonly variable"
		case *syntax.Assign:
			return n.Name != nil && n.Name.Value == name && what == "readonly variable"
		case *syntax.DeclClause:
			return n.Variant.Value == name
		case *syntax.ArithmExp, *syntax.ArithmCmd, *syntax.LetClause:
			return !syntax.ValidName(name) && (text != "division by zero" || divides(n))
		}
		return false
	}
}

func divides(n syntax.Node) (yes bool) {
	syntax.Walk(n, func(n syntax.Node) bool {
		if b, ok := n.(*syntax.BinaryArithm); ok {
			switch b.Op {
			case syntax.Quo, syntax.Rem, syntax.QuoAssgn, syntax.RemAssgn:
				yes = true
			}
		}
		return !yes
	})
	return yes
}

// find is the first of some nodes that begins at a byte or behind it, or else the first there is.
func find(file *syntax.File, after uint, of func(syntax.Node) bool) (pos syntax.Pos) {
	var first syntax.Pos
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil || !of(n) {
			return true
		}
		at := n.Pos()
		if !first.IsValid() || at.Offset() < first.Offset() {
			first = at
		}
		if at.Offset() >= after && (!pos.IsValid() || at.Offset() < pos.Offset()) {
			pos = at
		}
		return true
	})
	if !pos.IsValid() {
		return first
	}
	return pos
}

// stderr is where a command says what went wrong: past the complaints.
func (r *Runner) stderr(w io.Writer) io.Writer {
	if w == io.Writer(complaints{r}) {
		return r.o.Stderr
	}
	return w
}
