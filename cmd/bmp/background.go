package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// A station in the background is a second bmp with the same words, started by
// the first in a session of its own. The first waits for the verdict, so that
// whoever typed bmp -s learns what became of it:
//
//	parent                          child (setsid)
//	  pipe, start ----------------->  reads options, listens
//	  prints "1 text" to stdout <---  console lines of the start
//	  prints "2 text" to stderr <---  what is wrong
//	  exits with N              <---  "= N", closes the pipe
//
// A child that ends without a verdict has failed, and the parent says how.
const (
	verdictEnv = "BMP_VERDICT_FD" // marks the child, and names its end of the pipe
	verdictFD  = 3                // the first of exec.Cmd.ExtraFiles
)

// startBackground starts the child and returns its verdict.
func startBackground(inv *invocation, args []string, stdout, stderr *os.File) int {
	exe, err := os.Executable()
	if err != nil {
		return fail(stderr, 1, "cannot find my own program: %v", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fail(stderr, 1, "%v", err)
	}
	defer r.Close()
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), verdictEnv+"="+strconv.Itoa(verdictFD))
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Only a terminal is handed on. A pipe that the child kept open would
	// hold up whoever reads it, as $(bmp -s 1111) or ssh does, for as long
	// as the station runs.
	if !inv.quiet && inv.logFile == "" && isTerminal(stdout) {
		cmd.Stdout = stdout
	}
	if isTerminal(stderr) {
		cmd.Stderr = stderr
	}

	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(interrupted)
	if err := cmd.Start(); err != nil {
		w.Close()
		return fail(stderr, 1, "cannot start the station: %v", err)
	}
	w.Close()
	go func() {
		// The child is in another session and hears no Ctrl-C itself.
		if _, ok := <-interrupted; ok {
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}()

	status, ok := readVerdict(r, stdout, stderr)
	if ok && status == 0 {
		cmd.Process.Release()
		return 0
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ok:
		return status
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
		return fail(stderr, 1, "Server ended at start: %v", exit.Sys().(syscall.WaitStatus).Signal())
	default:
		return fail(stderr, 1, "Server ended at start without a word (%v)", cmd.ProcessState)
	}
}

// readVerdict prints what the child says until its verdict. ok is false when
// there was none.
func readVerdict(r io.Reader, stdout, stderr io.Writer) (status int, ok bool) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		tag, text, _ := strings.Cut(in.Text(), " ")
		switch tag {
		case "1":
			fmt.Fprintln(stdout, text)
		case "2":
			fmt.Fprintln(stderr, text)
		case "=":
			if n, err := strconv.Atoi(text); err == nil {
				return n, true
			}
		}
	}
	return 0, false
}

// verdict is the child's end of the pipe. The zero value is that of a station
// in the foreground: what it says goes to stdout and stderr.
type verdict struct {
	pipe *os.File
}

// openVerdict finds the pipe, if this process is the child. The variable goes
// away, so that nothing started from here believes to be one too.
func openVerdict() verdict {
	s, ok := os.LookupEnv(verdictEnv)
	os.Unsetenv(verdictEnv)
	fd, err := strconv.Atoi(s)
	if !ok || err != nil {
		return verdict{}
	}
	syscall.CloseOnExec(fd)
	return verdict{pipe: os.NewFile(uintptr(fd), "verdict")}
}

// background says whether this process is the child.
func (v verdict) background() bool { return v.pipe != nil }

// say carries one line, or several, to the parent's stream: 1 or 2.
func (v verdict) say(stream int, text string) {
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		fmt.Fprintf(v.pipe, "%d %s\n", stream, line)
	}
}

// end gives the verdict and lets the parent go.
func (v verdict) end(status int) {
	fmt.Fprintf(v.pipe, "= %d\n", status)
	v.pipe.Close()
}

// verdictWriter is one stream of the parent as a writer of whole lines.
type verdictWriter struct {
	v      verdict
	stream int
}

func (w verdictWriter) Write(p []byte) (int, error) {
	w.v.say(w.stream, string(p))
	return len(p), nil
}

// fail prints an error the way all of bmp does and returns its status.
func fail(stderr io.Writer, status int, format string, args ...any) int {
	fmt.Fprintf(stderr, "%% "+format+"\n", args...)
	return status
}
