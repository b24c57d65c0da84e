package lang

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// Result is how a command line ended.
type Result struct {
	Status   int    // exit status
	Abort    bool   // the line was wrong (unknown, ambiguous, incomplete): a script ends
	Message  string // of a command that did not succeed, without "% "; empty when there is nothing to say
	Col, Len int    // place of the fault in the line, bytes from 1; 0 without one
	Code     int    // reply code of control-protocol; handed on in Error
}

// Exec runs one command line with its filters. Data goes to out; in is what is
// piped into a line that is a filter alone, nil otherwise.
type Exec func(ctx context.Context, line string, in io.Reader, out io.Writer) Result

// Options of New. Exec must be set.
type Options struct {
	Exec           Exec
	Stdin          io.Reader // for `read`; nil: empty
	Stdout, Stderr io.Writer // nil: nothing is shown
	MaxSteps       int       // commands in one Run; 0: 10 million
	MaxDepth       int       // nested function calls; 0: 200
	MaxMemory      int       // bytes in all variables; 0: 64 MiB
	// Environment is what scripts may read of the environment; they never see
	// the process's own.
	Environment []string
	// Every is the pause between two tries of wait-until; 0: one second.
	Every time.Duration
	// Source reads the file that `source FILE` names; nil: `source` is a command
	// like any other.
	Source func(name string) ([]byte, error)
	// Report shows the error of a command that failed and does not end the
	// script; nil: a line on Stderr.
	Report func(*Error)
}

// maxKept bounds the output kept for `expect`.
const maxKept = 1 << 20

// A Runner keeps variables and functions from one Run to the next. It belongs
// to one goroutine; the commands of a pipeline run in goroutines of its own, so
// that Exec is called from several at once.
type Runner struct {
	o     Options
	sh    *interp.Runner
	steps atomic.Int64
	// arraysDue is the step at which arrays are added up again.
	arraysDue atomic.Int64

	mu        sync.Mutex
	functions map[string]bool
	parts     []*part    // of what runs, and those before it that declared functions
	kept      int        // how many are of scripts that ran before
	last      *kept      // output of the command that ended last, for expect
	at        syntax.Pos // of the command announced last
	running   string     // its name where it is a builtin
	ending    *Error     // a complaint that ends the script
}

// New makes a Runner.
func New(o Options) (*Runner, error) {
	if o.MaxSteps == 0 {
		o.MaxSteps = 10_000_000
	}
	if o.MaxDepth == 0 {
		o.MaxDepth = 200
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 64 << 20
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	r := &Runner{o: o, functions: map[string]bool{}}
	sh, err := interp.New(
		interp.Env(expand.ListEnviron(append([]string{"HOME=/", "PATH=", depthVariable + "=0"}, o.Environment...)...)),
		interp.Dir("/"),
		interp.StdIO(o.Stdin, o.Stdout, complaints{r}),
		interp.CallHandler(r.call),
		interp.OpenHandler(refuseFiles),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return r.exec }),
	)
	if err != nil {
		return nil, err
	}
	r.sh = sh
	return r, nil
}

// refuseFiles is what is left to redirections that the syntax tree did not show.
func refuseFiles(_ context.Context, path string, _ int, _ os.FileMode) (io.ReadWriteCloser, error) {
	return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrPermission}
}

// Run runs a script with its arguments and returns its exit status. The error,
// if any, is an *Error that ended it, or ctx's; it was not printed.
func (r *Runner) Run(ctx context.Context, s *Script, args ...string) (int, error) {
	r.steps.Store(0)
	r.arraysDue.Store(0)
	file, err := r.begin(s)
	if err != nil {
		return 2, err
	}
	defer r.end()
	if err := interp.Params(append([]string{"-f", "-o", "pipefail", "--"}, args...)...)(r.sh); err != nil {
		return 2, &Error{File: s.name, Text: err.Error(), Status: 2}
	}
	status := 0
	for _, st := range file.Stmts {
		r.atStatement(st)
		err := r.sh.Run(ctx, st)
		var exit interp.ExitStatus
		fault := r.ended()
		switch {
		case fault != nil && ctx.Err() == nil:
			return fault.Status, fault
		case err == nil:
			status = 0
		case errors.As(err, &exit):
			status = int(exit)
		case ctx.Err() != nil:
			return 130, ctx.Err()
		default:
			if !errors.As(err, &fault) {
				fault = &Error{File: s.name, Text: err.Error(), Status: 1}
			}
			return fault.Status, fault
		}
		if ctx.Err() != nil {
			return 130, ctx.Err()
		}
		if r.sh.Exited() {
			break
		}
	}
	return status, nil
}

// SetStatus makes n the exit status of the command before, `$?` of what runs next.
func (r *Runner) SetStatus(ctx context.Context, n int) error {
	file, err := syntax.NewParser().Parse(strings.NewReader(fmt.Sprintf("(exit %d)", n)), "")
	if err != nil {
		return err
	}
	var exit interp.ExitStatus
	if err := r.sh.Run(ctx, file.Stmts[0]); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// Exited reports whether the script that ran last ended by `exit`.
func (r *Runner) Exited() bool { return r.sh.Exited() }

// call sees every simple command before it runs: limits are kept here, and
// commands of ours that are named like builtins are kept from the interpreter.
func (r *Runner) call(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.announce(hc.Pos, args[0]); err != nil {
		return nil, err
	}
	if r.steps.Add(1) > int64(r.o.MaxSteps) {
		return nil, r.fault(hc.Pos, 1, "More than %d commands: the script is stopped", r.o.MaxSteps)
	}
	if depth, err := strconv.Atoi(hc.Env.Get(depthVariable).String()); err == nil && depth > r.o.MaxDepth {
		return nil, r.fault(hc.Pos, 1, "Functions nested more than %d deep: the script is stopped", r.o.MaxDepth)
	}
	if r.tooLarge(hc.Env) {
		return nil, r.fault(hc.Pos, 1, "Variables hold more than %d bytes: the script is stopped", r.o.MaxMemory)
	}
	if r.IsFunction(args[0]) {
		return args, nil
	}
	switch {
	case args[0] == plainMark:
		// Since the script was read, a file that was sourced may have made a
		// function of what looked like a command.
		if line := r.plainLine(hc.Pos, args); r.IsFunction(strings.Fields(line + " x")[0]) {
			return r.eval(hc.Pos, []string{"eval", line})
		}
	case args[0] == "eval":
		return r.eval(hc.Pos, args)
	case args[0] == "source" && r.o.Source != nil:
		return r.source(hc.Pos, args)
	case interp.IsBuiltin(args[0]) && !isOneOf(builtins, args[0]):
		return append([]string{ourMark + args[0]}, args[1:]...), nil
	}
	return args, nil
}

// tooLarge adds up what variables hold. A large array is not added up again
// before as many steps as would be worth the work.
func (r *Runner) tooLarge(env expand.Environ) bool {
	bytes, elements := 0, 0
	due := r.steps.Load() >= r.arraysDue.Load()
	for name, v := range env.Each {
		bytes += len(name) + len(v.Str)
		elements += len(v.List) + len(v.Map)
		if !due {
			continue
		}
		for _, e := range v.List {
			bytes += len(e)
		}
		for k, e := range v.Map {
			bytes += len(k) + len(e)
		}
	}
	if due && elements > 1000 {
		r.arraysDue.Store(r.steps.Load() + int64(elements))
	}
	return bytes > r.o.MaxMemory
}

// exec runs what is neither a builtin nor a function.
func (r *Runner) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	args[0] = strings.TrimPrefix(args[0], ourMark)
	var in io.Reader
	line := ""
	starts := make([]int, 0, 16) // where each word starts in the line
	switch {
	case args[0] == plainMark:
		if line = r.plainLine(hc.Pos, args); line == "" {
			return r.fault(hc.Pos, 2, "Invalid plain line")
		}
		args = strings.Fields(line)
	default:
		var piped bool
		if args[0], piped = strings.CutPrefix(args[0], pipedMark); piped {
			in = hc.Stdin
		}
		line, starts = joinWords(args, starts)
	}
	switch args[0] {
	case "expect":
		return r.expect(hc, line)
	case "wait-until":
		return r.waitUntil(ctx, hc, line, starts)
	case "sleep":
		return r.sleep(ctx, hc, afterWord(line))
	}
	res := r.run(ctx, line, in, hc.Stdout, hc.Stdout != r.o.Stdout)
	return r.verdict(ctx, hc, res, starts)
}

// plainLine is the line that a placeholder stands for.
func (r *Runner) plainLine(pos syntax.Pos, args []string) string {
	lines := r.partAt(pos).script.source.plain
	if len(args) == 2 {
		if n, err := strconv.Atoi(args[1]); err == nil && n >= 0 && n < len(lines) {
			return lines[n]
		}
	}
	return ""
}

// run executes a line and keeps its output for expect. What goes into a pipe is
// taken from Exec as it comes: the reader of the pipe may be waiting for a
// command of its own, which has its turn only after this one.
func (r *Runner) run(ctx context.Context, line string, in io.Reader, out io.Writer, pipe bool) Result {
	k := &kept{}
	defer func() {
		r.mu.Lock()
		r.last = k
		r.mu.Unlock()
	}()
	if !pipe {
		return r.o.Exec(ctx, line, in, io.MultiWriter(out, k))
	}
	s := newSpool(out, r.o.MaxMemory)
	res := r.o.Exec(ctx, line, in, io.MultiWriter(s, k))
	switch err := s.close(ctx); {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, os.ErrClosed):
		return Result{} // whoever read it wanted no more
	case errors.Is(err, errSpool) && res.Status == 0:
		return Result{Status: 1, Message: err.Error()}
	}
	return res
}

// kept is the beginning of a command's output, which expect looks at.
type kept struct {
	bytes.Buffer
	cut bool
}

func (k *kept) Write(p []byte) (int, error) {
	room := min(maxKept-k.Len(), len(p))
	k.cut = k.cut || room < len(p)
	k.Buffer.Write(p[:room])
	return len(p), nil
}

// verdict turns a result into what the interpreter understands. What did not
// succeed is said, with its place; what was wrong ends the script.
func (r *Runner) verdict(ctx context.Context, hc interp.HandlerContext, res Result, starts []int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if res.Status == 0 {
		return nil
	}
	fault := r.fault(hc.Pos, res.Status, "%s", res.Message)
	fault.Code = res.Code
	if res.Col > 0 {
		r.place(fault, hc.Pos, res.Col, starts)
	}
	if res.Abort {
		return fault
	}
	switch {
	case res.Message == "":
	case r.o.Report != nil:
		r.o.Report(fault)
	default:
		fmt.Fprintln(r.stderr(hc.Stderr), fault)
	}
	return interp.ExitStatus(res.Status)
}

// place finds the word of the source that stands at col of the line sent.
func (r *Runner) place(e *Error, pos syntax.Pos, col int, starts []int) {
	p := r.partAt(pos)
	if p.origin != nil {
		return // text that the script made: the command that runs it is the place
	}
	if len(starts) == 0 { // sent as typed
		e.Col += col - 1
		return
	}
	word := 0
	for word+1 < len(starts) && starts[word+1] <= col {
		word++
	}
	words := p.call(pos)
	if len(words) != len(starts) || !words[word].Pos().IsValid() {
		return // an expansion made more or fewer words: the command's place stays
	}
	at := words[word].Pos()
	e.Line, e.Col = int(at.Line()), p.script.source.column(int(at.Line()), int(at.Col()))
}

// expect checks the output of the command before it.
func (r *Runner) expect(hc interp.HandlerContext, line string) error {
	pattern := afterWord(line)
	re, err := regexp.Compile(pattern)
	if err != nil || pattern == "" {
		return r.fault(hc.Pos, 2, "Invalid regular expression: %s", pattern)
	}
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if last == nil {
		last = &kept{}
	}
	if re.Match(last.Bytes()) {
		return nil
	}
	seen := "there was none"
	if first, _, _ := strings.Cut(last.String(), "\n"); first != "" {
		seen = fmt.Sprintf("it begins %q", first)
	}
	if last.cut {
		seen += fmt.Sprintf("; only its first %d bytes were looked at", maxKept)
	}
	return r.fault(hc.Pos, 1, "Expected /%s/ in the output: %s", pattern, seen)
}

// afterWord is the argument of a one-word command, without quotes.
func afterWord(line string) string {
	_, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	if n := len(arg); n >= 2 && arg[0] == arg[n-1] && (arg[0] == '\'' || arg[0] == '"') {
		if q := arg[0]; q == '\'' {
			return strings.ReplaceAll(arg[1:n-1], `'\''`, `'`)
		}
		return unescaped(arg[1 : n-1])
	}
	return arg
}

// waitUntil repeats a command until it succeeds.
func (r *Runner) waitUntil(ctx context.Context, hc interp.HandlerContext, line string, starts []int) error {
	limit := time.Minute
	command := afterWord(line)
	skipped := len(line) - len(command)
	if first, rest, ok := strings.Cut(command, " "); ok && first == "timeout" {
		word, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
		d, err := time.ParseDuration(word)
		if err != nil || d <= 0 {
			return r.fault(hc.Pos, 2, "Invalid duration '%s' (for example 30s, 5m)", word)
		}
		limit, command = d, strings.TrimSpace(rest)
		skipped = len(line) - len(command)
	}
	if command == "" {
		return r.fault(hc.Pos, 2, "Incomplete command: wait-until (expected: COMMAND)")
	}
	end := time.Now().Add(limit)
	tick := time.NewTicker(r.o.Every)
	defer tick.Stop()
	for {
		var out bytes.Buffer
		res := r.run(ctx, command, nil, &out, false)
		if res.Col > 0 {
			res.Col += skipped
		}
		if res.Status == 0 || res.Abort || ctx.Err() != nil {
			if _, err := out.WriteTo(hc.Stdout); err != nil {
				return err
			}
			return r.verdict(ctx, hc, res, starts)
		}
		if time.Now().After(end) {
			return r.fault(hc.Pos, 1, "Not reached in %v: %s", limit, command)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// sleep does nothing for a while: seconds, or a duration with its unit.
func (r *Runner) sleep(ctx context.Context, hc interp.HandlerContext, word string) error {
	d, err := time.ParseDuration(word)
	if err != nil {
		d, err = time.ParseDuration(word + "s")
	}
	if err != nil || d < 0 {
		return r.fault(hc.Pos, 2, "Invalid duration '%s' (for example 5, 30s, 5m)", word)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
