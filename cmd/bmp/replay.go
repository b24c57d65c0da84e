package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bmp/cmd/internal/quantity"
	"bmp/cmd/internal/replay"
	"bmp/proto/control"
)

// replayWords are the words of `bmp replay FILE ADDR:PORT [speed N]`.
type replayWords struct {
	file  string
	to    netip.AddrPort
	speed float64 // 1: as it was recorded; 0: as fast as the station reads
}

const replayUsage = "bmp replay FILE ADDR:PORT [speed N]"

func parseReplay(words []string) (r replayWords, err error) {
	r.speed = 1
	switch len(words) {
	case 0:
		return r, badUsage("Incomplete command: replay (expected: FILE)")
	case 1:
		return r, badUsage("Incomplete command: replay %s (expected: ADDR:PORT)", words[0])
	case 2:
	case 3:
		if words[2] == "speed" {
			return r, badUsage("Incomplete command: replay %s (expected: N)", strings.Join(words, " "))
		}
		return r, badUsage("Invalid input: '%s' (usage: %s)", words[2], replayUsage)
	case 4:
		if words[2] != "speed" {
			return r, badUsage("Invalid input: '%s' (usage: %s)", words[2], replayUsage)
		}
		if words[3] == "max" {
			r.speed = 0 // as fast as the station reads
			break
		}
		if r.speed, err = strconv.ParseFloat(words[3], 64); err != nil || !(r.speed > 0) || r.speed > 1e9 {
			return r, badUsage("Invalid input: '%s' (expected: N, how many times as fast as it was recorded, or max)", words[3])
		}
	default:
		return r, badUsage("Invalid input: '%s' (usage: %s)", words[4], replayUsage)
	}
	r.file = words[0]
	if r.to, err = netip.ParseAddrPort(words[1]); err != nil || r.to.Port() == 0 {
		return r, badUsage("Invalid input: '%s' (expected: A.B.C.D:PORT or [X:X::X:X]:PORT)", words[1])
	}
	return r, nil
}

// replayFile plays a recording into a BMP port, one connection for each router in it, and says how it went. What
// cannot be used is left out and counted, with its place; where the file is cut short everything before it is played.
func replayFile(r replayWords) int {
	ctx, stop := untilInterrupt()
	defer stop()
	return playRecording(ctx, r, os.Stdout, os.Stderr)
}

func playRecording(ctx context.Context, r replayWords, stdout, stderr io.Writer) int {
	f, err := replay.Open(r.file, replay.Options{})
	if err != nil {
		return fail(stderr, 1, "%v", err)
	}
	defer f.Close()
	began := time.Now()
	rep, err := replay.Play(ctx, f, r.to.String(), replay.PlayOptions{Speed: r.speed})
	var refused *net.OpError
	if rep.Streams == 0 && errors.As(err, &refused) && refused.Op == "dial" {
		return fail(stderr, noConnection, "No connection to %s: %s", r.to, reasonOf(refused))
	}
	broken := ""
	if ctx.Err() != nil {
		broken = "interrupted after "
	}
	fmt.Fprintf(stdout, "%s (%s): %s%s, %s in %s\n", f.Name(), f.Kind(), broken, quantity.Of(rep.Streams, "router"), quantity.Bytes(rep.Bytes), time.Since(began).Round(10*time.Millisecond))
	for _, what := range f.Skipped() {
		fmt.Fprintf(stderr, "%% Left out: %s\n", what)
	}
	switch {
	case ctx.Err() != nil:
		return control.ExitStatus(control.CodeCancelled)
	case err != nil:
		return fail(stderr, 1, "%v", err)
	case rep.Streams == 0:
		return fail(stderr, 1, "%s: there is no BMP in it", f.Name())
	}
	return 0
}

// noConnection is the exit status of a connection that could not be made.
const noConnection = 3

// reasonOf is an error of a connection in the kernel's words.
func reasonOf(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return err.Error()
}
