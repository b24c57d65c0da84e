package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bmp/cmd/internal/quantity"
)

// benchSizes are how much `bmpsim bench` does. Times are upper bounds, routes are of each peer.
type benchSizes struct {
	limit              time.Duration // for everything
	runs               int           // of what is measured as a median
	small, large       int           // 1 router x 10 peers: the slope between these
	manyRouters, many  int           // routers x 10 peers x routes
	idleRouters        int           // with one peer and 10 routes
	idleWithin         time.Duration // they connect
	down               int           // routes of the peer that goes down
	probe, churn       time.Duration // of the questions while routes come in; of the churn
	memory             int64         // limit of the station that is filled
	hogs, hogPeers     int           // that fill it
	hogRoutes          int           // of each of their peers, with an attribute set each
	soakFor            time.Duration
	soakRouters        int
	soakPeers, soakRts int
}

var benchScales = map[string]benchSizes{
	"quick": {
		limit: 55 * time.Second, runs: 1, small: 20_000, large: 100_000, manyRouters: 100, many: 1_000,
		idleRouters: 2_000, idleWithin: 2 * time.Second, down: 200_000, probe: 3 * time.Second, churn: 2 * time.Second,
		memory: 200 << 20, hogs: 12, hogPeers: 2, hogRoutes: 100_000,
	},
	"full": {
		limit: 15 * time.Minute, runs: 3, small: 200_000, large: 1_000_000, manyRouters: 100, many: 10_000,
		idleRouters: 10_000, idleWithin: 10 * time.Second, down: 1_000_000, probe: 15 * time.Second, churn: 10 * time.Second,
		memory: 400 << 20, hogs: 12, hogPeers: 2, hogRoutes: 200_000,
	},
	"latency": {limit: 2 * time.Minute, large: 1_000_000, probe: 15 * time.Second},
	"soak":    {limit: 24 * time.Hour, soakFor: time.Minute, soakRouters: 20, soakPeers: 5, soakRts: 2_000},
}

// bench is `bmpsim bench`: a station process of its own for each load, and what it took.
type bench struct {
	ctx     context.Context
	out     io.Writer
	sizes   benchSizes
	station string // the bmp program
	self    string // this program
	dir     string // for everything that is written
	gc      gcTrace
	failed  int // goals of kind yes or no that were missed
}

// runBench is `bmpsim bench`.
func runBench(ctx context.Context, args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("bmpsim bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	station := f.String("station", "", "")
	soakFor := f.Duration("for", 0, "")
	what := ""
	for {
		if err := f.Parse(args); err != nil {
			return usagef("%v", err)
		}
		if f.NArg() == 0 {
			break
		}
		if what != "" {
			return usagef("what is %q?", f.Arg(0))
		}
		what, args = f.Arg(0), f.Args()[1:]
	}
	if what == "" {
		what = "quick"
	}
	sizes, ok := benchScales[what]
	switch {
	case !ok:
		return usagef("what is %q? quick, full, latency or soak", what)
	case *soakFor < 0 || *soakFor > 0 && what != "soak":
		return usagef("-for is of soak, and a time above 0")
	case *soakFor > 0:
		sizes.soakFor = *soakFor
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bmpsim-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{out: stdout, sizes: sizes, self: self, dir: dir}
	if b.station, err = findStation(ctx, *station, self, dir); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, sizes.limit)
	defer cancel()
	b.ctx = limited
	if what == "soak" {
		return b.soak()
	}
	return b.all(what)
}

// findStation finds the bmp program: the one named, the one beside this one, or one built from the source around.
func findStation(ctx context.Context, named, self, dir string) (string, error) {
	if named != "" {
		return exec.LookPath(named)
	}
	beside := filepath.Join(filepath.Dir(self), "bmp")
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		return beside, nil
	}
	built := filepath.Join(dir, "bmp")
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", built, "bmp/cmd/bmp").CombinedOutput(); err != nil {
		return "", fmt.Errorf("no bmp beside %s, and it cannot be built here (-station names one): %w\n%s", self, err, text)
	}
	return built, nil
}

// all measures everything and prints the table. What fails is told in its row, and does not keep the rest from being measured.
func (b *bench) all(what string) error {
	began := time.Now()
	for _, line := range machineFacts() {
		fmt.Fprintln(b.out, line)
	}
	fmt.Fprintf(b.out, "\nbmpsim bench %s: CPU seconds are those of the station process alone; M is a million routes.\n\n", what)
	b.row("what", "goal", "measured")
	type step struct {
		name string
		run  func() error
	}
	steps := []step{
		{"one router", b.oneRouter}, {"many routers", b.manyRouters}, {"idle routers", b.idleRouters},
		{"memory limit", b.memoryLimit}, {"pmbmpd", b.pmbmpd},
	}
	if what == "latency" {
		steps = []step{{"latency", b.latency}}
	}
	for _, s := range steps {
		err := s.run()
		if b.ctx.Err() != nil && errors.Is(context.Cause(b.ctx), context.Canceled) {
			return b.ctx.Err()
		}
		if err != nil {
			b.failed++
			why := err.Error()
			if b.ctx.Err() != nil {
				why = fmt.Sprintf("not finished within %v", b.sizes.limit)
			}
			b.row(s.name, "", "NOT MEASURED: "+why)
		}
	}
	fmt.Fprintf(b.out, "\n%.0f s. The store alone (100M routes, exact and longest match, peer down, next hop, AS path, rounds):\n", time.Since(began).Seconds())
	fmt.Fprintln(b.out, "  RIB_PEERS=100 go test -run '^$' -bench . -benchtime 1x -timeout 1h ./engine/rib/")
	if b.failed > 0 {
		return fmt.Errorf("%s not measured, or the station failed at", quantity.Of(b.failed, "row"))
	}
	return nil
}

// row prints one line of the table.
func (b *bench) row(what, goal, measured string) {
	fmt.Fprintf(b.out, "%-66s %-24s %s\n", what, goal, measured)
}

// quantile of values, which it sorts; 0 for none.
func quantile[T time.Duration | float64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// million writes 2000000 as "2M" and 500000 as "0.5M".
func million(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'g', 3, 64) + "M" }

// count writes 200000 as "200k".
func count1000(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + "M"
	case n >= 1000 && n%1000 == 0:
		return strconv.Itoa(n/1000) + "k"
	}
	return strconv.Itoa(n)
}

func ms(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64) + " ms"
}

func floats(values []float64, format string) string {
	var words []string
	for _, v := range values {
		words = append(words, fmt.Sprintf(format, v))
	}
	return strings.Join(words, " ")
}
