package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/scripts"
	"bmp/shell/edit"
	"bmp/shell/lang"
)

// Script is a script that is run by itself: bmp -x FILE, bmp run NAME.
type Script struct {
	Target string
	Name   string // for errors
	Source []byte
	Args   []string
	Check  bool // read and judge it, run nothing
	JSON   bool // output and errors in JSON
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// endGrace is how long a script that was cancelled may take to notice.
const endGrace = time.Second

// Run runs the script and returns its exit status. It is read whole, and every
// line that is a plain command judged, before the first one runs. With Check
// that is all, and where no station runs the commands are not judged.
func (x Script) Run(ctx context.Context) int {
	ed := edit.NewPlain(strings.NewReader(""), x.Stdout, edit.PlainOptions{})
	defer ed.Close()
	s := New(Options{Editor: ed, Stderr: x.Stderr})
	s.scripting.stdin, s.scripting.json = x.Stdin, x.JSON
	script, err := lang.Parse(x.Name, x.Source)
	if err != nil {
		return s.scriptError(err)
	}
	if x.JSON {
		s.change(func(t *settings) { t.format = filter.JSON })
	}
	s.o.Station, err = Find(x.Target)
	if err == nil {
		err = s.attachFirst(ctx)
	}
	if err != nil {
		if x.Check && x.Target == "" && asError(err).Code == codeNoStation {
			return 0
		}
		return PrintError(x.Stderr, x.JSON, err)
	}
	defer s.Close()
	if x.Check {
		defer s.strictly()()
		return s.scriptError(s.judge(script))
	}
	ended := make(chan int, 1)
	go func() { ended <- s.runScript(ctx, script, x.Args, x.Stdout) }()
	select {
	case status := <-ended:
		return status
	case <-ctx.Done():
	}
	select {
	case status := <-ended:
		return status
	case <-time.After(endGrace): // it reads a terminal
		return s.scriptEnd(0, ctx.Err())
	}
}

func (s *Shell) runScript(ctx context.Context, script *lang.Script, args []string, out io.Writer) int {
	defer s.strictly()()
	if err := s.judge(script); err != nil {
		return s.scriptError(err)
	}
	r, err := s.newRunner(out)
	if err != nil {
		return s.fail(err)
	}
	status, err := r.Run(ctx, script, args...)
	return s.scriptEnd(status, err)
}

// scripting is what a shell keeps of the script language.
type scripting struct {
	stdin io.Reader // for `read`
	json  bool      // errors in JSON

	mu     sync.Mutex
	typed  *lang.Runner // of the lines typed, and of files sourced; nil until one is
	busy   bool         // it runs something
	out    io.Writer    // of what it runs now
	depth  int          // of scripts that run scripts
	strict int          // how many scripts run, in which words are whole
	before bool         // the setting of whoever types
}

// Write is the output of the lines typed.
func (l *scripting) Write(p []byte) (int, error) {
	l.mu.Lock()
	out := l.out
	l.mu.Unlock()
	return out.Write(p)
}

func (s *Shell) newRunner(out io.Writer) (*lang.Runner, error) {
	return lang.New(lang.Options{
		Exec: s.Exec, Stdin: s.scripting.stdin, Stdout: out, Stderr: s.errors(), Report: func(e *lang.Error) { s.scriptError(e) },
		Source: func(name string) ([]byte, error) { return readScript(fromHome(name)) },
	})
}

// strictly makes abbreviations be refused while a script runs, so that a later
// release cannot break it. What it returns puts things back.
func (s *Shell) strictly() func() {
	l := &s.scripting
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.strict++; l.strict == 1 {
		l.before = s.settings().strict
		s.change(func(t *settings) { t.strict = true })
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.strict--; l.strict == 0 {
			s.change(func(t *settings) { t.strict = l.before })
		}
	}
}

// judge finds the first plain line that is no command. A script that changes
// what is one is judged as it runs.
func (s *Shell) judge(script *lang.Script) error {
	lines := script.Plain()
	for _, l := range lines {
		if w := firstWord(l.Text); slices.Contains([]string{"alias", "attach", "detach", "source", "terminal"}, w) {
			return nil
		}
	}
	if l := s.at(); l == nil || l.grammar() == nil {
		return nil
	}
	for _, l := range lines {
		if w := firstWord(l.Text); w == "expect" || w == "wait-until" || w == "sleep" {
			continue
		}
		_, err := s.plan(l.Text)
		if err == nil {
			continue
		}
		v := verdictOf(err).Verdict
		e := script.Error(l, v.Col, control.ExitStatus(v.Code), nameWord(v, l.Text).Error())
		e.Code = v.Code
		return e
	}
	return nil
}

// scriptError says an error of a script and returns its status.
func (s *Shell) scriptError(err error) int {
	var e *lang.Error
	if !errors.As(err, &e) {
		if err == nil {
			return 0
		}
		return PrintError(s.errors(), s.scripting.json, err)
	}
	if s.scripting.json {
		code := e.Code
		if code == 0 {
			code = control.CodeFailed
			if e.Status == control.ExitStatus(control.CodeInvalid) {
				code = control.CodeInvalid
			}
		}
		PrintError(s.errors(), true, errorf(code, "%s", strings.Replace(e.Error(), "% ", "", 1)))
		return e.Status
	}
	fmt.Fprintln(s.errors(), e)
	return e.Status
}

// scriptEnd says why a script ended, where there is something to say.
func (s *Shell) scriptEnd(status int, err error) int {
	switch {
	case err == nil:
		return status
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		PrintError(s.errors(), s.scripting.json, errorf(control.CodeCancelled, "Cancelled"))
		return control.ExitStatus(control.CodeCancelled)
	}
	return s.scriptError(err)
}

// typedRunner runs what is typed: its variables and functions stay. Its output
// goes to out until it is given back by release.
func (s *Shell) typedRunner(out io.Writer) (r *lang.Runner, release func(), err error) {
	l := &s.scripting
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		return nil, nil, errorf(control.CodeConflict, "An alias of 'source' works at the prompt only: write 'source FILE'")
	}
	l.out = out
	if l.typed == nil {
		if l.typed, err = s.newRunner(l); err != nil {
			return nil, nil, err
		}
	}
	l.busy = true
	return l.typed, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busy = false
	}, nil
}

// isScript reports whether a typed line is one of the script language: it uses
// its grammar, calls a function, or is no command and begins with one of the
// language's words.
func (s *Shell) isScript(line string) bool {
	if usesLanguage(line) {
		return true
	}
	s.scripting.mu.Lock()
	r := s.scripting.typed
	s.scripting.mu.Unlock()
	if r != nil && r.IsFunction(firstWord(line)) {
		return true
	}
	if lang.IsPlain(line) {
		return false
	}
	_, err := s.plan(line)
	return err != nil && verdictOf(err).Code == control.CodeUnknown
}

// typed runs a line of the language, with those that it needs to be whole.
func (s *Shell) typed(ctx context.Context, line string) {
	r, release, err := s.typedRunner(s.ed().Out())
	if err != nil {
		s.status = s.fail(err)
		return
	}
	defer release()
	source := line + "\n"
	var script *lang.Script
	for {
		var e *lang.Error
		if script, err = r.Parse("line", []byte(source)); err == nil {
			break
		} else if !errors.As(err, &e) || !e.Incomplete {
			s.status = s.scriptError(err)
			return
		}
		select {
		case <-s.ed().Interrupts(): // Ctrl-C right behind Enter
			s.status = control.ExitStatus(control.CodeCancelled)
			return
		default:
		}
		more, rerr := s.ed().ReadLine(ctx, "> ")
		switch {
		case errors.Is(rerr, edit.ErrInterrupt):
			s.status = control.ExitStatus(control.CodeCancelled)
			return
		case rerr != nil:
			s.status = s.scriptError(err)
			return
		}
		s.remember(more)
		source += more + "\n"
	}
	ctx, stop := s.interruptible(ctx)
	defer stop()
	if err := r.SetStatus(ctx, s.status); err != nil {
		s.status = s.scriptEnd(0, err)
		return
	}
	status, err := r.Run(ctx, script)
	s.status = s.scriptEnd(status, err)
	s.leave = s.leave || err == nil && r.Exited()
}

// source runs a file, the variables and functions of which stay.
func source(c *call) error {
	path := c.match.Value("file")
	text, err := readScript(fromHome(path))
	if err != nil {
		return errorf(control.CodeFailed, "%v", err)
	}
	s := c.shell
	return s.nested(func() int {
		out := &lineWriter{out: c.out}
		r, release, err := s.typedRunner(out)
		if err != nil {
			return s.fail(err)
		}
		defer release()
		script, err := r.Parse(path, text)
		if err != nil {
			return s.scriptError(err)
		}
		defer s.strictly()()
		if err := s.judge(script); err != nil {
			return s.scriptError(err)
		}
		status, err := r.Run(c, script, c.match.Values("arg")...)
		if ferr := out.flush(); err == nil {
			err = ferr
		}
		return s.scriptEnd(status, err)
	})
}

// runShipped runs one of the scripts that come with the program.
func runShipped(c *call) error {
	name := c.match.Value("script")
	text, err := ShippedScript(name)
	if err != nil {
		return err
	}
	return c.shell.nested(func() int {
		script, err := lang.Parse(name, text)
		if err != nil {
			return c.shell.scriptError(err)
		}
		out := &lineWriter{out: c.out}
		status := c.shell.runScript(c, script, c.match.Values("arg"), out)
		if err := out.flush(); err != nil && status == 0 {
			return c.shell.scriptError(err)
		}
		return status
	})
}

// ShippedScript is the text of a script that comes with the program. The error
// is a *control.Error that names those there are.
func ShippedScript(name string) ([]byte, error) {
	text, ok := scripts.Text(name)
	if !ok {
		return nil, errorf(control.CodeNotFound, "No script '%s' (%s)", name, strings.Join(scripts.Names(), ", "))
	}
	return text, nil
}

// shippedScripts are their names, each with the first line of its comment.
func shippedScripts() []grammar.Candidate {
	var list []grammar.Candidate
	for _, n := range scripts.Names() {
		list = append(list, grammar.Candidate{Text: n, Help: scripts.Help(n)})
	}
	return list
}

// maxNestedScripts is how deep scripts may run each other.
const maxNestedScripts = 10

// nested runs a script within what runs already, and makes a verdict of its
// status that says nothing more: what was wrong has been said.
func (s *Shell) nested(run func() int) error {
	l := &s.scripting
	l.mu.Lock()
	deep := l.depth >= maxNestedScripts
	if !deep {
		l.depth++
	}
	l.mu.Unlock()
	if deep {
		return errorf(control.CodeFailed, "Scripts call each other more than %d deep", maxNestedScripts)
	}
	status := run()
	l.mu.Lock()
	l.depth--
	l.mu.Unlock()
	if status == 0 {
		return nil
	}
	return &statusError{status}
}

// statusError is an exit status whose reason has been said.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// readScript reads a file that may be a script.
func readScript(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadScript(path, f)
}

// ReadScript reads a source to its end, which has to come before lang.MaxSource.
func ReadScript(name string, in io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, lang.MaxSource+1))
	if err == nil && len(text) > lang.MaxSource {
		err = fmt.Errorf("%s: larger than %d bytes", name, lang.MaxSource)
	}
	return text, err
}

// lineWriter makes rows of what is written.
type lineWriter struct {
	out  filter.Output
	mu   sync.Mutex
	part []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, p...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := string(w.part[:i])
		w.part = w.part[i+1:]
		if err := w.out.Line(line); err != nil {
			return 0, err
		}
	}
}

// flush hands on a last line without an end.
func (w *lineWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) == 0 {
		return nil
	}
	line := string(w.part)
	w.part = nil
	return w.out.Line(line)
}
