// Command bmpsim is routers for a BMP station: simulated ones at any scale, and recorded ones (raw BMP, pcap, pcapng, MRT).
// Run it without arguments for its usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit statuses, those of bmp.
const (
	statusDone         = 0
	statusFailed       = 1 // a file cannot be read, or is cut short
	statusUsage        = 2
	statusNoConnection = 3 // nobody listens there, or the station closed
	statusInterrupted  = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is bmpsim with its arguments. When ctx ends, so does it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		_, _ = io.WriteString(stdout, usage)
		return statusDone
	}
	var err error
	switch args[0] {
	case "replay":
		err = playFile(ctx, args[1:], stdout)
	case "bench":
		err = runBench(ctx, args[1:], stdout)
	case "bench-idle-loop": // of bench, as a process of its own
		idleLoop(os.Stdin, stdout)
	case "bench-station": // likewise
		err = stationWithoutArchive(ctx, args[1:])
	default:
		err = simulate(ctx, args, stdout)
	}
	switch {
	case err == nil:
		return statusDone
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "%% %v (try 'bmpsim help')\n", err)
		return statusUsage
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "% Interrupted")
		return statusInterrupted
	}
	fmt.Fprintf(stderr, "%% %v\n", err)
	if errors.As(err, new(*net.OpError)) {
		return statusNoConnection
	}
	return statusFailed
}

// usageError is a mistake in the arguments.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// parseTarget checks ADDR:PORT; a port alone is one on this machine.
func parseTarget(s string) (string, error) {
	if !strings.Contains(s, ":") {
		s = "127.0.0.1:" + s
	}
	host, port, err := net.SplitHostPort(s)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
		return "", usagef("%q is not ADDR:PORT", s)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

func perSecond(n int64, d time.Duration) string {
	if d < time.Millisecond {
		return "at once"
	}
	return fmt.Sprintf("in %.3gs, %.0f a second", d.Seconds(), float64(n)/d.Seconds())
}
