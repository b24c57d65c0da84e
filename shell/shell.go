package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/shell/edit"
)

// Options of New.
type Options struct {
	// Station is the one to begin with. Without a name there is none, and the
	// shell begins detached.
	Station Station
	// Dial connects to it; nil: Station.Dial, and then a shell on a terminal
	// connects again when the station goes away and comes back. A Dial of one's
	// own is called once. event takes the lines that belong to no reply.
	Dial func(ctx context.Context, event func(control.Line)) (*control.Client, error)
	// Editor is where lines come from. The shell does not close it.
	Editor edit.Editor
	// Assistant is the one that Editor was made with; nil: none.
	Assistant *Assistant
	// OpenEditor makes another editor, for `terminal editor`, and closes the one
	// in use; when it fails, that one stays. nil: there is no other.
	OpenEditor func(kind string) (edit.Editor, error)
	// Stderr is where errors go when nobody sits at a terminal.
	Stderr io.Writer
	// Terminal says that somebody does: there are prompts, a pager, colour,
	// errors are shown below the line they are about, and the station asks
	// before it acts.
	Terminal bool
	// Remote says that the shell is run by the station for somebody far away:
	// it then reads and writes no files of this machine, attaches to nothing
	// else, and runs no scripts.
	Remote bool
	// History holds the lines typed, for `show history`; nil: in memory only.
	History *edit.History
	// RC is the file of settings and aliases that is run first; "": none.
	RC string
	// Env is a variable of the environment: NO_COLOR, BMP_PAGER, TERM; nil:
	// all are unset.
	Env func(name string) string
}

// Shell reads command lines and runs them: its own words itself, all others on
// the station it is attached to.
//
// One goroutine, that of Run, reads lines and runs commands. The editor asks
// the assistant from a goroutine of its own, and each link has one that keeps
// it connected; what they share is under mu.
type Shell struct {
	o       Options
	history typedLines
	leave   bool
	plain   bool // left by `terminal plain`: the console goes back to lines without an editor
	status  int  // of the last command
	rewoken chan struct{}
	words   map[string]*word // the shell's own, by ID
	own     *grammar.Tree    // of them

	scripting scripting

	mu       sync.Mutex
	editor   edit.Editor
	links    []*link
	current  *link // nil: detached
	set      settings
	aliases  map[string]string
	watching func(string) // events go here while a screen is being drawn
}

// New returns a shell that is attached to nothing yet: Run attaches it.
func New(o Options) *Shell {
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	s := &Shell{o: o, editor: o.Editor, rewoken: make(chan struct{}, 1), aliases: map[string]string{}}
	s.bindWords()
	s.set = defaultSettings(s)
	s.history.file = o.History
	if o.Assistant != nil {
		o.Assistant.shell.Store(s)
	}
	return s
}

// attachFirst connects to the first station. The error is a *control.Error.
func (s *Shell) attachFirst(ctx context.Context) error {
	if s.o.Station.Name == "" {
		return nil
	}
	again := s.o.Terminal && s.o.Dial == nil
	return s.attachAll(ctx, &link{station: s.o.Station, dial: s.o.Dial, home: len(s.o.Station.Others) == 0, again: again})
}

// attachAll attaches to a station, and to the others of its cluster where that was named alone. Of those, one that cannot be
// reached is said, and awaited.
func (s *Shell) attachAll(ctx context.Context, l *link) error {
	if l.station.warning != "" {
		s.fail(errorf(control.CodeConflict, "%s", l.station.warning))
	}
	l.lazy = len(l.station.Others) > 0
	var here *link // that commands go to in the end
	reached := 0
	var failed error
	list := []string{}
	for i, x := range append([]Station{l.station}, l.station.Others...) {
		to := l
		if i > 0 {
			to = &link{station: x, readOnly: l.readOnly, again: l.again, lazy: true}
			if s.named(x.Name) != nil {
				continue // attached to before
			}
		}
		err := s.attach(ctx, to)
		switch {
		case err != nil && !to.lazy:
			return err
		case err != nil:
			failed = err
			if i > 0 || len(l.station.Others) > 0 {
				s.note("%% %v", err)
			}
			continue
		case here == nil:
			here = to
		}
		reached++
		list = append(list, to.name)
	}
	if here == nil {
		return failed
	}
	s.mu.Lock()
	s.current = here
	s.mu.Unlock()
	if len(l.station.Others) > 0 {
		s.note("%% Attached to %s: %s (on all COMMAND asks all, attach NAME goes to one)", plural(reached, "station"), strings.Join(list, ", "))
	}
	return nil
}

// Close ends all connections.
func (s *Shell) Close() {
	for _, l := range s.all() {
		l.close()
	}
}

// Run attaches, reads and runs lines until exit, the end of input, the end of
// ctx or of a connection that cannot be made again, and returns the exit
// status: that of the last command where nobody sits at a terminal, 3 for a
// lost connection.
func (s *Shell) Run(ctx context.Context) int {
	defer s.Close()
	if err := s.attachFirst(ctx); err != nil {
		return PrintError(s.o.Stderr, false, err)
	}
	s.runRC(ctx)
	for !s.leave {
		line, err := s.readLine(ctx)
		switch {
		case err == io.EOF:
			return s.end()
		case errors.Is(err, edit.ErrInterrupt), errors.Is(err, errPromptChanged):
			continue
		case errors.Is(err, edit.ErrLineTooLong):
			s.status = s.fail(errorf(control.CodeTooLong, "Line too long"))
			continue
		case ctx.Err() != nil:
			return control.ExitStatus(control.CodeCancelled)
		case err != nil:
			return s.fail(err)
		}
		s.Line(ctx, line)
		if ctx.Err() != nil {
			return control.ExitStatus(control.CodeCancelled)
		}
	}
	return s.end()
}

// errPromptChanged ends the reading of a line whose prompt is no longer true;
// what was typed of it is kept by the editor.
var errPromptChanged = errors.New("the prompt has changed")

// readLine waits for a line, for another prompt, or for a station to go away
// for good.
func (s *Shell) readLine(ctx context.Context) (string, error) {
	ed := s.ed()
	select {
	case <-ed.Interrupts(): // of a command that had ended already
	default:
	}
	select {
	case <-s.rewoken:
	default:
	}
	if err := s.lostForGood(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	prompt := s.prompt()
	go func() {
		for {
			select {
			case <-s.rewoken:
				if err := s.lostForGood(); err != nil {
					cancel(err)
				} else if s.prompt() != prompt {
					cancel(errPromptChanged)
				}
			case <-stop:
				return
			}
		}
	}()
	line, err := ed.ReadLine(ctx, prompt)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return line, err
}

// wake makes a prompt that is being shown be looked at again. Any goroutine may
// call it.
func (s *Shell) wake() {
	select {
	case s.rewoken <- struct{}{}:
	default:
	}
}

// lostForGood is the error of a station that has gone and is not dialled again,
// where it was the only one.
func (s *Shell) lostForGood() error {
	l := s.at()
	if l == nil || l.again {
		return nil
	}
	select {
	case <-l.gone:
		return errorf(codeNoStation, "Connection to %s lost", l.station.Name)
	default:
		return nil
	}
}

// end is the exit status of a shell that was left.
func (s *Shell) end() int {
	if s.o.Terminal {
		for _, l := range s.all() {
			if n := len(l.following()); n > 0 {
				fmt.Fprintf(s.ed().Out(), "%% %s ended\n", plural(n, "debug"))
			}
		}
		return 0
	}
	return s.status
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// ed is the editor in use.
func (s *Shell) ed() edit.Editor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.editor
}

// at is the station that commands go to; nil when detached.
func (s *Shell) at() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// all are the stations attached to, in the order they were.
func (s *Shell) all() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*link(nil), s.links...)
}

// tree is what lines are judged by.
func (s *Shell) tree() *grammar.Tree {
	if l := s.at(); l != nil {
		if t := l.grammar(); t != nil {
			return t
		}
	}
	return s.own
}

// errors is where errors are written.
func (s *Shell) errors() io.Writer {
	if s.o.Terminal {
		return s.ed().Out()
	}
	return s.o.Stderr
}

// fail says an error that has no line to stand below.
func (s *Shell) fail(err error) int {
	return s.failIn(s.settings().format != filter.Text && !s.o.Terminal, err)
}

// failIn says it as JSON, for programs, or as text.
func (s *Shell) failIn(json bool, err error) int {
	if set := s.settings(); s.o.Terminal && set.colored() && !json {
		var b strings.Builder
		status := PrintError(&b, false, err)
		io.WriteString(s.errors(), colorRed+strings.TrimSuffix(b.String(), "\n")+colorOff+"\n")
		return status
	}
	return PrintError(s.errors(), json, err)
}

// note says something that is no error to whoever sits at a terminal.
func (s *Shell) note(format string, a ...any) {
	if s.o.Terminal {
		fmt.Fprintf(s.ed().Out(), format+"\n", a...)
	}
}

// prompt says where lines go, and what they may do there.
func (s *Shell) prompt() string {
	l := s.at()
	if l == nil {
		return "bmp(detached)> "
	}
	p := "bmp"
	if !l.home {
		p += "[" + l.name + "]"
	}
	client := l.connected()
	if client == nil {
		return p + "(gone)> "
	}
	if n := len(l.following()); n > 0 {
		p += fmt.Sprintf("(%ddbg)", n)
	}
	if client.Role() == control.RoleAdmin && !l.readOnly {
		return p + "# "
	}
	return p + "> "
}

// Line runs one line as it was typed, and says what was wrong with it.
func (s *Shell) Line(ctx context.Context, line string) {
	if strings.HasPrefix(line, "!") || strings.TrimSpace(line) == "" {
		return
	}
	if err := oneLine(line); err != nil {
		s.status = s.fail(err)
		return
	}
	if len(line) > maxBatchLine {
		s.status = s.fail(errorf(control.CodeTooLong, "Line too long: %d bytes, at most %d", len(line), maxBatchLine))
		return
	}
	s.remember(line)
	if q, ok := strings.CutSuffix(strings.TrimRight(line, " \t"), "?"); ok && s.o.Terminal && s.asksHelp(q) {
		s.questionMark(ctx, q)
		return
	}
	if !s.o.Remote && s.isScript(line) {
		s.typed(ctx, line)
		return
	}
	ctx, stop := s.interruptible(ctx)
	defer stop()
	s.command(ctx, line)
}

// interruptible is a context that Ctrl-C ends, for as long as a command runs.
func (s *Shell) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-s.ed().Interrupts():
			cancel()
		case <-over:
		}
	}()
	return ctx, func() {
		close(over)
		<-ended // or it would take the Ctrl-C of the next command
		cancel()
	}
}

// firstWord is the first word of a line.
func firstWord(line string) string {
	for w := range strings.FieldsSeq(line) {
		return w
	}
	return ""
}
