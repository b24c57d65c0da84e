// Bmp is an interactive BMP (RFC 7854) station and the shell to it.
//
// It is one program with several ways to be started: as a station, as a question
// to a running one, as a shell. This package reads the command line, makes
// options of it and wires the parts together; what a station is stands in package
// engine, what a shell is in package shell.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"bmp/proto/control"
	"bmp/shell"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is the whole program: it returns the exit status.
func run(args []string) int {
	v := openVerdict()
	inv, err := parseArgs(args)
	if err != nil {
		if v.background() {
			v.say(2, "% "+err.Error())
			v.end(control.ExitStatus(control.CodeInvalid))
		}
		return fail(os.Stderr, control.ExitStatus(control.CodeInvalid), "%v", err)
	}
	switch inv.mode {
	case modeStation:
		if !inv.foreground && !inv.interactive && !v.background() {
			// Words that cannot be meant need no second process to say so.
			if _, err := stationOptions(inv); err != nil {
				return fail(os.Stderr, control.ExitStatus(control.CodeInvalid), "%v", err)
			}
			return startBackground(inv, args, os.Stdout, os.Stderr)
		}
		return runStation(inv, v)
	case modeCommand:
		ctx, stop := untilInterrupt()
		defer stop()
		return shell.OneShot(ctx, shell.Command{
			Target: inv.target, Line: inv.line(), JSON: inv.json, Stdout: os.Stdout, Stderr: os.Stderr, Abort: secondInterrupt(ctx),
		})
	case modeShell:
		return attach(inv.target)
	case modeScript:
		return runScript(inv)
	case modeDemo:
		return demo()
	case modeCompletion:
		return completion(inv)
	case modeMan:
		io.WriteString(os.Stdout, manPage())
		return 0
	case modeRecord:
		return recordFile(inv)
	case modeReplay:
		return replayFile(inv.replay)
	}
	io.WriteString(os.Stdout, usage)
	return 0
}

// untilInterrupt is a context that Ctrl-C, or the end of the terminal, ends.
func untilInterrupt() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

// secondInterrupt is a context that Ctrl-C ends when first has ended already.
func secondInterrupt(first context.Context) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(first, func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		<-signals
		cancel()
	})
	return ctx
}

// isTerminal says whether somebody sits at the other end of f.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// attach is bmp shell: a prompt on a running station.
func attach(target string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	station, err := shell.Find(target)
	if err != nil {
		return shell.PrintError(os.Stderr, false, err)
	}
	return shell.Interactive(ctx, shell.Options{Station: station}, nil)
}
