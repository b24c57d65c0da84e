package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/shell/edit"
	"bmp/shell/lang"
)

// plan is a line that was understood: who runs it, and what happens to its
// output.
type plan struct {
	line    string // with aliases written out, and without a `save` at its end
	match   *grammar.Match
	filters *filter.Pipeline
	word    *word // the shell's own; nil: the station's
	aliased bool
	// foreground is for a script: a debug is followed, with filters or without.
	foreground bool
}

// plan judges a line without asking anybody.
func (s *Shell) plan(line string) (*plan, error) {
	p := &plan{}
	p.line, p.aliased = s.expandAlias(line)
	env := grammar.Env{Strict: s.settings().strict}
	var err error
	if p.match, err = s.tree().Match(p.line, env); err != nil {
		var wrong *grammar.Error
		if errors.As(err, &wrong) && wrong.Code == control.CodeUnknown && s.at() == nil {
			// A station would know more commands than the shell's own.
			return nil, errorf(codeNoStation, "Not attached to a station (try 'attach TARGET' or 'help')")
		}
		return nil, err
	}
	if p.filters, err = filter.Parse(p.match.Rest, p.match.RestCol, filter.Options{Client: !s.o.Remote, Strict: env.Strict}); err != nil {
		return nil, err
	}
	p.word = s.words[p.match.Command.ID]
	if p.match.Command.ID == aliasID {
		p.filters, err = filter.Parse("", 0, filter.Options{}) // they are of the line that the alias stands for
		return p, err
	}
	if p.filters.Save != "" {
		p.line = p.line[:lastBar(p.line, p.match.RestCol)]
	}
	return p, nil
}

// lastBar is where the last filter of a line begins; the first begins in column col.
func lastBar(line string, col int) int {
	for {
		m, err := filter.Grammar().Match(line[col-1:], grammar.Env{})
		if err != nil || m.RestCol == 0 {
			return col - 2
		}
		col += m.RestCol - 1
	}
}

// outcome is how a line went: the verdict of the station, or one of the shell's
// own making.
type outcome struct {
	control.Verdict
	status int  // of a script, where it is not that of the verdict
	said   bool // what was wrong has been said already
}

// Status is the exit status.
func (o outcome) Status() int {
	if o.said {
		return o.status
	}
	return o.Verdict.Status()
}

func failed(code int, format string, a ...any) outcome {
	return verdictOf(errorf(code, format, a...))
}

func went(code int, text string) outcome {
	return outcome{Verdict: control.Verdict{Code: code, Text: text}}
}

// verdictOf is the outcome that an error stands for.
func verdictOf(err error) outcome {
	var own *control.Error
	var wrong *grammar.Error
	var said *statusError
	switch {
	case err == nil || errors.Is(err, filter.ErrDone):
		return went(control.CodeDone, "")
	case errors.As(err, &said):
		return outcome{Verdict: control.Verdict{Code: control.CodeFailed}, status: said.status, said: true}
	case errors.As(err, &own):
		return went(own.Code, own.Text)
	case errors.As(err, &wrong):
		return outcome{Verdict: control.Verdict{Code: wrong.Code, Text: wrong.Text, Col: wrong.Col, Len: wrong.Len}}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, edit.ErrInterrupt):
		return went(control.CodeCancelled, "Cancelled")
	}
	return went(control.CodeFailed, err.Error())
}

// perform runs a plan on l, or by the shell itself, and hands every line of the
// output to row. confirm answers what the station asks back; nil declines.
func (s *Shell) perform(ctx context.Context, l *link, p *plan, row func(control.Line) error, confirm func(string) bool) outcome {
	var file *saving
	if p.filters.Save != "" {
		file = &saving{path: p.filters.Save, appending: p.filters.Append}
		row = file.line
	}
	v := s.run(ctx, l, p, row, confirm)
	if file == nil {
		return v
	}
	if err := file.finish(v.Err() == nil); err != nil {
		return verdictOf(err)
	}
	if v.Err() == nil {
		s.note("%s in %s", plural(file.lines, "line"), file.path)
	}
	return v
}

func (s *Shell) run(ctx context.Context, l *link, p *plan, row func(control.Line) error, confirm func(string) bool) outcome {
	c := p.match.Command
	switch {
	case p.word != nil:
		w := p.filters.Start(rowSink{row}, s.settings().format)
		past := false // a command within the line has written its own, which may be a document
		err := p.word.run(&call{Context: ctx, shell: s, match: p.match, line: p.line, out: w, row: func(l control.Line) error {
			past = true
			return row(l)
		}})
		r, ferr := w.Finish(past && w.Format() != filter.Text || err != nil && !errors.Is(err, filter.ErrDone))
		if err == nil {
			err = ferr
		}
		if v := verdictOf(err); v.Code != control.CodeDone {
			return v
		}
		if r.Nothing {
			return went(control.CodeNothing, "0 rows")
		}
		if r.Rows == 0 {
			return went(control.CodeDone, "") // most of them answer nothing
		}
		return went(control.CodeDone, plural(int(r.Rows), "row"))
	case c.Local:
		return failed(control.CodeForbidden, "'%s' works only in the shell (bmp shell)", strings.Join(p.match.Words, " "))
	case l == nil:
		return failed(codeNoStation, "Not attached to a station (use 'attach TARGET')")
	case l.readOnly && c.Role == grammar.Admin:
		return failed(control.CodeForbidden, "'%s' changes something, and %s is attached read-only", strings.Join(p.match.Words, " "), l.name)
	}
	if p.follows() {
		return s.follow(ctx, l, p, row)
	}
	v := l.ask(ctx, p.line, row, confirm)
	l.followed(ctx, p.match.Words, v.Verdict)
	return v
}

// cancelGrace is how long somebody who typed Ctrl-C waits to hear that the
// station has stopped. After that it stops by itself, unheard.
const cancelGrace = 30 * time.Millisecond

// ask sends one line to the station. When ctx ends it returns at once, and no
// row comes after it has returned.
func (l *link) ask(ctx context.Context, line string, row func(control.Line) error, confirm func(string) bool) outcome {
	client := l.connected()
	if client == nil {
		return verdictOf(l.lostError())
	}
	type reply struct {
		v   control.Verdict
		err error
	}
	replies := make(chan reply, 1)
	questions, answers := make(chan string), make(chan bool, 1)
	var mu sync.Mutex // held while row runs
	over := false
	go func() {
		v, err := client.DoConfirm(ctx, line, func(x control.Line) error {
			mu.Lock()
			defer mu.Unlock()
			if over {
				return context.Canceled
			}
			return row(x)
		}, func(question string) bool {
			if confirm == nil {
				return false
			}
			select {
			case questions <- question:
				return <-answers
			case <-ctx.Done():
				return false
			}
		})
		replies <- reply{v, err}
	}()
	var late <-chan time.Time
	cancelled := ctx.Done()
	for {
		select {
		case r := <-replies:
			var gone *control.LostError
			switch {
			case errors.As(r.err, &gone) && l.again:
				return failed(codeNoStation, "The reply was cut short") // the link tells why
			case errors.As(r.err, &gone):
				return failed(codeNoStation, "Connection to %s lost: %s", l.station.Name, reason(r.err))
			case errors.Is(r.err, errQuit) && ctx.Err() != nil: // the screen heard of the cancel first
				return went(control.CodeCancelled, "Cancelled")
			case errors.Is(r.err, errQuit): // the screen takes no more, and says why
				return went(control.CodeDone, "")
			case r.err != nil && !errors.Is(r.err, context.Canceled):
				return verdictOf(r.err)
			}
			return outcome{Verdict: r.v}
		case q := <-questions:
			answers <- confirm(q)
		case <-cancelled:
			cancelled, late = nil, time.After(cancelGrace)
		case <-late:
			mu.Lock()
			over = true
			mu.Unlock()
			return went(control.CodeCancelled, "Cancelled")
		}
	}
}

// command runs a line for whoever typed it.
func (s *Shell) command(ctx context.Context, line string) {
	p, err := s.plan(line)
	if err != nil {
		s.verdict(verdictOf(err), line, false)
		return
	}
	if s.settings().timestamp {
		s.note("[%s]", time.Now().Format("2006-01-02 15:04:05.000"))
	}
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seen := ctx
	if p.follows() {
		var stop func()
		seen, stop = s.afterInterrupt(ctx)
		defer stop()
	}
	show := s.show(seen, ctx, cancel, p)
	l := s.at()
	v := s.perform(ctx, l, p, show.line, func(question string) bool {
		show.drain()
		return s.confirmer(ctx)(question)
	})
	if err := show.finish(); err != nil && v.Err() == nil {
		v = verdictOf(err)
	}
	if errors.Is(context.Cause(ctx), errQuit) {
		v = went(control.CodeDone, "")
	}
	s.verdict(v, line, p.aliased)
	if s.settings().timing {
		took := time.Since(began).Round(10 * time.Microsecond).String()
		if v.Text != "" {
			took = v.Text + ", " + took
		}
		s.note("%s", took)
	}
	if l != nil && !l.again && s.lostForGood() == nil && v.Code == codeNoStation {
		// The end of the connection is known here before its reader tells.
		select {
		case <-l.gone:
		case <-time.After(time.Second):
		}
	}
}

// confirmer asks whoever typed the line whether to go on.
func (s *Shell) confirmer(ctx context.Context) func(string) bool {
	return func(question string) bool {
		answer, err := s.ed().ReadLine(ctx, question+" [yes/no] ")
		return err == nil && strings.TrimSpace(answer) == "yes"
	}
}

// verdict shows how a typed line went, where there is something to say.
func (s *Shell) verdict(v outcome, line string, aliased bool) {
	s.status = v.Status()
	if v.said {
		return
	}
	if v.Err() == nil {
		if v.Code == control.CodeSubscribed || v.Code == control.CodeAuthenticated {
			s.note("%s", v.Text)
		} else if text := doneText(v.Verdict); text != "" {
			s.note("%s", text)
		}
		if v.Code == control.CodeBye {
			s.leave = true
		}
		return
	}
	if asksJSON(line) {
		s.failIn(true, nameWord(v.Verdict, line))
		return
	}
	if !s.o.Terminal || aliased {
		s.fail(nameWord(v.Verdict, line))
		return
	}
	cols, _ := s.ed().Size()
	place, err := pointAt(v.Verdict, s.prompt(), line, cols)
	if place != "" {
		fmt.Fprintln(s.ed().Out(), place)
	}
	s.fail(err)
}

// Exec runs one command line, a word of the shell's own or one for the station,
// with its filters. Data goes to out, nothing else is shown: what went wrong is
// in the result. in is what is piped into a line that is filters alone; nil
// otherwise.
func (s *Shell) Exec(ctx context.Context, line string, in io.Reader, out io.Writer) lang.Result {
	w := newPrinter(out, s.errors(), false)
	var v outcome
	if in != nil {
		v = s.filterAlone(ctx, line, in, w)
	} else if p, err := s.plan(line); err != nil {
		v = verdictOf(err)
	} else {
		p.foreground = true
		v = s.perform(ctx, s.at(), p, w.line, nil)
	}
	if err := w.flush(); err != nil && v.Err() == nil {
		v = verdictOf(err)
	}
	return s.resultOf(v, line)
}

// resultOf is a verdict as a script sees it. A line that was no command, or
// half of one, ends a script, and so does a station that has gone for good.
func (s *Shell) resultOf(v outcome, line string) lang.Result {
	r := lang.Result{Status: v.Status(), Col: v.Col, Len: v.Len, Code: v.Code}
	if v.Err() != nil && !v.said {
		r.Message = nameWord(v.Verdict, line).Error()
	}
	switch v.Code {
	case control.CodeUnknown, control.CodeIncomplete, control.CodeAmbiguous:
		r.Abort = true
	case codeNoStation:
		r.Abort = s.lostForGood() != nil
	}
	return r
}

// filterAlone runs `| filter` on lines that come from elsewhere.
func (s *Shell) filterAlone(ctx context.Context, line string, in io.Reader, w *printer) outcome {
	p, err := filter.Parse(line, 1, filter.Options{Client: !s.o.Remote, Strict: s.settings().strict})
	if err != nil {
		return verdictOf(err)
	}
	row := w.line
	var file *saving
	if p.Save != "" {
		file = &saving{path: p.Save, appending: p.Append}
		row = file.line
	}
	out := p.Start(rowSink{row}, filter.Text)
	r := bufio.NewReader(in)
	for err == nil {
		var text string
		if text, err = edit.ReadLine(r, 64<<20); err == nil {
			err = out.Line(text)
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	if err == io.EOF || errors.Is(err, filter.ErrDone) {
		err = nil
	}
	result, ferr := out.Finish(err != nil)
	if file != nil {
		ferr = errors.Join(ferr, file.finish(err == nil))
	}
	if err = errors.Join(err, ferr); err != nil {
		return verdictOf(err)
	}
	if result.Nothing {
		return went(control.CodeNothing, "0 rows")
	}
	return went(control.CodeDone, "")
}

// rowSink makes lines of a reply of what the shell's own words write.
type rowSink struct{ row func(control.Line) error }

func (r rowSink) Heading(b []byte) error {
	return r.row(control.Line{Code: control.CodeHeading, Text: string(b)})
}
func (r rowSink) Row(b []byte) error {
	return r.row(control.Line{Code: control.CodeRow, Text: string(b)})
}
func (r rowSink) JSON(b []byte) error {
	return r.row(control.Line{Code: control.CodeJSON, Text: string(b)})
}
