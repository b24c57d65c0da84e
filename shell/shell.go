package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"bmp/proto/control"
	"bmp/proto/grammar"
	"bmp/shell/edit"
)

// Options of New.
type Options struct {
	// Client is an attached station. The shell closes it.
	Client *control.Client
	// Station names it in messages.
	Station Station
	// Editor is where lines come from. The shell does not close it.
	Editor edit.Editor
	// Stderr is where errors go when nobody sits at a terminal.
	Stderr io.Writer
	// Terminal says that somebody does: there are prompts, errors are shown
	// below the line they are about, and the station asks before it acts.
	Terminal bool
}

// Shell is the prompt on one station.
type Shell struct {
	client   *control.Client
	station  Station
	editor   edit.Editor
	stderr   io.Writer
	terminal bool
	leave    bool
	status   int // of the last command
}

// Events hands what comes by itself to an editor. It is the event function for
// the client that a shell gets, made before the shell because the connection
// comes first.
func Events(ed edit.Editor) func(control.Line) {
	return func(l control.Line) {
		switch l.Code {
		case control.CodeEvent, control.CodeEventJSON:
			fmt.Fprintln(ed.Async(), l.Text)
		default:
			fmt.Fprintf(ed.Async(), "%% %s\n", eventText(l))
		}
	}
}

// New returns a shell, ready to run.
func New(o Options) *Shell {
	return &Shell{client: o.Client, station: o.Station, editor: o.Editor, stderr: o.Stderr, terminal: o.Terminal}
}

// Run reads and runs lines until exit, the end of input, the end of ctx or of
// the connection, and returns the exit status: that of the last command where
// nobody sits at a terminal, 3 for a lost connection.
func (s *Shell) Run(ctx context.Context) int {
	defer s.client.Close()
	h := control.Hello{Zone: zoneName()}
	h.Width, _ = s.editor.Size()
	if v, err := s.client.Hello(ctx, h); err != nil {
		return s.fail(lost(s.station, err))
	} else if v.Err() != nil {
		return s.fail(v.Err())
	}
	if s.terminal {
		if _, err := s.client.Do(ctx, "terminal confirm on", nil); err != nil {
			return s.fail(lost(s.station, err))
		}
	}
	for !s.leave {
		line, err := s.readLine(ctx)
		switch {
		case err == io.EOF:
			return s.end()
		case errors.Is(err, edit.ErrInterrupt):
			continue
		case errors.Is(err, edit.ErrLineTooLong):
			s.status = s.fail(errorf(control.CodeTooLong, "Line too long"))
			continue
		case ctx.Err() != nil:
			return control.ExitStatus(control.CodeCancelled)
		case err != nil:
			return s.fail(lost(s.station, err))
		}
		if err := s.Line(ctx, line); err != nil {
			return s.fail(err)
		}
	}
	return s.end()
}

// readLine waits for a line, or for the station to go away.
func (s *Shell) readLine(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.client.Done():
			cancel(errorf(codeNoStation, "Connection to %s lost", s.station.Name))
		case <-stop:
		}
	}()
	line, err := s.editor.ReadLine(ctx, s.prompt())
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return line, err
}

// end is the exit status of a shell that was left.
func (s *Shell) end() int {
	if s.terminal {
		return 0
	}
	return s.status
}

// fail says an error that has no line to stand below.
func (s *Shell) fail(err error) int {
	if s.terminal {
		return PrintError(s.editor.Out(), false, err)
	}
	return PrintError(s.stderr, false, err)
}

func (s *Shell) prompt() string {
	if s.client.Role() == control.RoleAdmin {
		return "bmp# "
	}
	return "bmp> "
}

// Line runs one line as it was typed. What was wrong with it is said; the
// error returned is one that ends the shell.
func (s *Shell) Line(ctx context.Context, line string) error {
	if strings.HasPrefix(line, "!") || strings.TrimSpace(line) == "" {
		return nil
	}
	if err := oneLine(line); err != nil {
		s.status = s.fail(err)
		return nil
	}
	if q, ok := strings.CutSuffix(strings.TrimRight(line, " \t"), "?"); ok && s.terminal {
		return s.help(ctx, q)
	}
	if w, ok := ownWords[firstWord(line)]; ok {
		w(s, ctx, line)
		return nil
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-s.editor.Interrupts():
			cancel()
		case <-over:
		}
	}()
	stderr := s.stderr
	if s.terminal {
		stderr = s.editor.Out()
	}
	p := newPrinter(s.editor.Out(), stderr)
	v, err := s.client.DoConfirm(ctx, line, p.line, func(question string) bool {
		p.flush()
		answer, err := s.editor.ReadLine(ctx, question+" [yes/no] ")
		return err == nil && strings.TrimSpace(answer) == "yes"
	})
	if ferr := p.flush(); err == nil {
		err = ferr
	}
	if err != nil {
		return lost(s.station, err)
	}
	s.status = v.Status()
	s.verdict(v, line)
	return nil
}

// verdict shows how a command went, where there is something to say.
func (s *Shell) verdict(v control.Verdict, line string) {
	if v.Err() == nil {
		if s.terminal && (v.Code == control.CodeSubscribed || v.Code == control.CodeAuthenticated) {
			fmt.Fprintln(s.editor.Out(), v.Text)
		}
		if v.Code == control.CodeBye {
			s.leave = true
		}
		return
	}
	if !s.terminal {
		s.fail(nameWord(v, line))
		return
	}
	cols, _ := s.editor.Size()
	place, err := pointAt(v, s.prompt(), line, cols)
	if place != "" {
		fmt.Fprintln(s.editor.Out(), place)
	}
	s.fail(err)
}

// help answers a question mark at the end of a line.
func (s *Shell) help(ctx context.Context, line string) error {
	items, err := s.client.Help(ctx, line)
	var e *control.Error
	var g *grammar.Error
	switch {
	case errors.As(err, &e) || errors.As(err, &g):
		s.status = s.fail(err)
		return nil
	case err != nil:
		return lost(s.station, err)
	}
	for _, i := range items {
		fmt.Fprintf(s.editor.Out(), "  %-20s %s\n", i.Word, i.Help)
	}
	return nil
}

func firstWord(line string) string {
	for w := range strings.FieldsSeq(line) {
		return w
	}
	return ""
}
