package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"bmp/cmd/internal/quantity"
	"bmp/cmd/internal/replay"
)

// playFile is `bmpsim replay`.
func playFile(ctx context.Context, args []string, stdout io.Writer) error {
	p, err := parseReplay(args)
	if err != nil {
		return err
	}
	f, err := replay.Open(p.file, replay.Options{Port: p.port})
	if err != nil {
		return err
	}
	defer f.Close()
	began := time.Now()
	rep, err := replay.Play(ctx, f, p.target, replay.PlayOptions{Speed: p.speed, Hold: p.hold})
	fmt.Fprintf(stdout, "%s (%s): %s, %s, %s\n", f.Name(), f.Kind(), quantity.Of(rep.Streams, "router"), quantity.Bytes(rep.Bytes), perSecond(int64(rep.Events), time.Since(began)))
	if s := f.Skipped(); len(s) > 0 {
		fmt.Fprintf(stdout, "left out: %s\n", strings.Join(s, "; "))
	}
	if err == nil && rep.Streams == 0 {
		return errors.New("there is no BMP in it")
	}
	return err
}

type replayArgs struct {
	file, target string
	speed        float64
	hold         bool
	port         uint16
}

// parseReplay reads FILE ADDR:PORT [speed N|max] [hold] and the options before or between them.
func parseReplay(args []string) (p replayArgs, err error) {
	p.speed = 1
	f := flag.NewFlagSet("bmpsim replay", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	port := f.Uint("port", 0, "")
	var words []string
	for {
		if err := f.Parse(args); err != nil {
			return p, usagef("%v", err)
		}
		if f.NArg() == 0 {
			break
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
	if *port > 65535 {
		return p, usagef("-port %d", *port)
	}
	p.port = uint16(*port)
	switch len(words) {
	case 0:
		return p, usagef("FILE is missing")
	case 1:
		return p, usagef("ADDR:PORT is missing")
	}
	p.file = words[0]
	if p.target, err = parseTarget(words[1]); err != nil {
		return p, err
	}
	for words = words[2:]; len(words) > 0; words = words[1:] {
		switch words[0] {
		case "hold":
			p.hold = true
		case "speed":
			if len(words) == 1 {
				return p, usagef("speed: a number, or max")
			}
			words = words[1:]
			if words[0] == "max" {
				p.speed = 0
				break
			}
			n, err := strconv.ParseFloat(words[0], 64)
			if err != nil || !(n > 0) || n > 1e9 {
				return p, usagef("speed %s: a number above 0, or max", words[0])
			}
			p.speed = n
		default:
			return p, usagef("what is %q?", words[0])
		}
	}
	return p, nil
}
