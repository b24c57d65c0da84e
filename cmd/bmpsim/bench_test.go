package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bmp/cmd/internal/sim"
)

// TestMain lets the test program be bmpsim, as bench starts one for its idle loop and its station without an archive.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "bench-idle-loop" || os.Args[1] == "bench-station") {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func TestGCTrace(t *testing.T) {
	var g gcTrace
	for line, want := range map[string]bool{
		"gc 3 @0.128s 2%: 0.018+0.84+1.5 ms clock, 0.036+0.26/0.62/0.38+0.010 ms cpu, 4->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P": true,
		"gc forced":                         false,
		"Listening on port 1111":            false,
		"gc 3 @0.128s 2%: 0.018+0.84+1.5":   false,
		"gc 3 @0.1s 2%: 1 ms clock, 1 ms c": false,
		"":                                  false,
	} {
		if got := g.parse(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	if us := g.cpu.Microseconds(); g.cycles != 1 || us < 2777 || us > 2779 {
		t.Errorf("%d cycles, %v", g.cycles, g.cpu)
	}
	if want := []time.Duration{18 * time.Microsecond, 1500 * time.Microsecond}; !slices.Equal(g.pauses, want) {
		t.Errorf("pauses %v", g.pauses)
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{5, 1, 3, 2, 4}
	if a, b, c := quantile(v, 0.5), quantile(v, 0.999), quantile(v, 0); a != 3 || b != 5 || c != 1 {
		t.Error(a, b, c)
	}
	if quantile([]time.Duration(nil), 0.5) != 0 {
		t.Error("of nothing")
	}
}

func TestExamples(t *testing.T) {
	o := sim.Options{Peers: 2, Routes: 300}
	list, err := examples(o, 20)
	if err != nil || len(list) != 20 {
		t.Fatal(len(list), err)
	}
	communities := 0
	for _, e := range list {
		if !e.prefix.IsValid() || !e.nextHop.IsValid() || e.origin == 0 {
			t.Errorf("%+v", e)
		}
		if e.community != "" {
			communities++
		}
	}
	if communities == 0 {
		t.Error("none has a community")
	}
}

func TestBenchArguments(t *testing.T) {
	for _, args := range []string{"bench bogus", "bench quick full", "bench -for 1s", "bench soak -for -1s", "bench -x"} {
		var errs bytes.Buffer
		if status := run(t.Context(), strings.Fields(args), &errs, &errs); status != statusUsage {
			t.Errorf("bmpsim %s: status %d, %s", args, status, errs.String())
		}
	}
	var errs bytes.Buffer
	if status := run(t.Context(), []string{"bench", "-station", "/nonexistent/bmp"}, &errs, &errs); status != statusFailed {
		t.Errorf("no station: status %d, %s", status, errs.String())
	}
}

// testBench is a bench of small sizes with a station that was built for it.
func testBench(t *testing.T, z benchSizes) (*bench, *bytes.Buffer) {
	ctx, cancel := context.WithTimeout(t.Context(), z.limit)
	t.Cleanup(cancel)
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	b := &bench{ctx: ctx, out: out, sizes: z, self: self, dir: dir}
	if b.station, err = findStation(ctx, "", dir+"/bmpsim", dir); err != nil {
		t.Fatal(err)
	}
	return b, out
}

// Every row is measured with a real station, on loads that take a second or two.
func TestBench(t *testing.T) {
	b, out := testBench(t, benchSizes{
		limit: 2 * time.Minute, runs: 1, small: 500, large: 2_000, manyRouters: 5, many: 200, idleRouters: 50, idleWithin: 100 * time.Millisecond,
		down: 2_000, probe: 300 * time.Millisecond, churn: 100 * time.Millisecond, memory: 128 << 20, hogs: 24, hogPeers: 1, hogRoutes: 60_000,
	})
	t.Setenv("PATH", "") // no pmbmpd: it would have to be waited for
	err := b.all("tiny")
	t.Log(out)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"CPU ", "memory ", "CPU-s a GB touched first", "kernel ", "CPU-s/M (median of", "garbage collection during the larger load, no archive", "10 full peers of one router", "next hop over 0.02M routes", "AS path over", "community over",
		"until the verdict", "'show bgp PREFIX' over the socket", "read lag", "changes per CPU second", "peer down, 2k routes", "an idle loop wakes late by",
		"5 routers x 10 peers x 200 of 1M, archived", "5 routers x 10 peers x 200 of 1M, no archive", "2k routes each, no archive", "'show debug' p50", "50 served, 0 lost", "alive, at most", "said 1 refusal", "not installed here", "go test",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestSoak(t *testing.T) {
	b, out := testBench(t, benchSizes{limit: 3 * time.Minute, soakFor: 2 * time.Second, soakRouters: 6, soakPeers: 3, soakRts: 500})
	if err := b.soak(); err != nil {
		t.Error(err)
	}
	if text := out.String(); !strings.Contains(text, "routes held, as the routers say") || !strings.Contains(text, "(0 failed)") {
		t.Error(text)
	}
}
