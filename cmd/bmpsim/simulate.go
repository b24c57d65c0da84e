package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"bmp/cmd/internal/quantity"
	"bmp/cmd/internal/sim"
	"bmp/proto/bmp"
)

// simulate runs simulated routers.
func simulate(ctx context.Context, args []string, stdout io.Writer) error {
	o, file, target, err := parseSimulation(args)
	if err != nil {
		return err
	}
	fleet, err := sim.New(o)
	if err != nil {
		return usagef("%v", err)
	}
	if file != "" {
		return writeStream(ctx, fleet, file)
	}
	began := time.Now()
	err = fleet.Run(ctx, target)
	r := fleet.Report()
	fmt.Fprintf(stdout, "%d of %s sent everything: %d messages, %s, %d routes announced, %d withdrawn, %d malformed UPDATEs, %d flaps, %s\n",
		r.Done, quantity.Of(o.Routers, "router"), r.Total(), quantity.Bytes(r.Bytes), r.Announced, r.Withdrawn, r.Malformed, r.Flaps, perSecond(r.Announced+r.Withdrawn, time.Since(began)))
	if err == nil && ctx.Err() != nil && r.Done < o.Routers {
		return ctx.Err()
	}
	return err
}

// parseSimulation reads the arguments: options, and a target or -o.
func parseSimulation(args []string) (o sim.Options, file, target string, err error) {
	f := flag.NewFlagSet("bmpsim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Uint64Var(&o.Seed, "seed", 1, "")
	f.IntVar(&o.Routers, "routers", 1, "")
	f.IntVar(&o.Peers, "peers", 1, "")
	f.IntVar(&o.Routes, "routes", 1000, "")
	f.IntVar(&o.Prefixes, "prefixes", 0, "")
	f.Float64Var(&o.IPv6, "ipv6", 0, "")
	f.Float64Var(&o.Shared, "shared", 0, "")
	views := f.String("views", "adj-in-pre", "")
	f.Float64Var(&o.PerUpdate, "per-update", 0, "")
	f.Float64Var(&o.PerSet, "per-set", 0, "")
	f.IntVar(&o.Changes, "changes", 0, "")
	f.Float64Var(&o.Rate, "rate", 0, "")
	withdraw := f.Float64("withdraw", 0.3, "")
	f.IntVar(&o.FlapEvery, "flap", 0, "")
	f.Float64Var(&o.Malformed, "malformed", 0, "")
	f.StringVar(&o.Name, "name", "", "")
	f.DurationVar(&o.Within, "within", 0, "")
	sources := f.Int("sources", 0, "")
	f.BoolVar(&o.Hold, "hold", false, "")
	f.DurationVar(&o.Redial, "redial", 0, "")
	f.StringVar(&file, "o", "", "")
	if err := f.Parse(args); err != nil {
		return o, "", "", usagef("%v", err)
	}
	if o.Withdraw = *withdraw; o.Withdraw == 0 { // the zero value of Options is a default
		o.Withdraw = -1
	}
	if o.Routes == 0 {
		o.Routes = -1
	}
	for _, name := range strings.Split(*views, ",") {
		v, ok := bmp.ParseView(name)
		if !ok {
			return o, "", "", usagef("no such view: %q", name)
		}
		o.Views = append(o.Views, v)
	}
	if *sources < 0 || o.Routers < 1 || o.Peers < 1 {
		return o, "", "", usagef("%d routers, %d peers, %d sources", o.Routers, o.Peers, *sources)
	}
	o.Sources = sim.LoopbackSources(*sources)
	switch {
	case file != "" && f.NArg() > 0:
		return o, "", "", usagef("-o %s and %q: either a file or a station", file, f.Arg(0))
	case file != "" && o.Changes < 0:
		return o, "", "", usagef("-o with changes without end")
	case file != "":
		return o, file, "", nil
	case f.NArg() == 0:
		return o, "", "", usagef("ADDR:PORT is missing")
	case f.NArg() > 1:
		return o, "", "", usagef("what is %q?", f.Arg(1))
	}
	target, err = parseTarget(f.Arg(0))
	return o, "", target, err
}

// writeStream writes the stream of the first router to a file.
func writeStream(ctx context.Context, fleet *sim.Fleet, name string) error {
	if name == "-" {
		w := bufio.NewWriterSize(os.Stdout, 1<<20)
		return errors.Join(fleet.Router(0).Send(ctx, w), w.Flush())
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(fleet.Router(0).Send(ctx, w), w.Flush(), f.Close())
}
