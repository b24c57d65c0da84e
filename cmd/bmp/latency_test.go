package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/cmd/internal/sim"
	"bmp/shell/edit/edittest"
)

// TestLatency prints how long the shell takes, in figures that depend on the
// machine: it fails for none of them.
//
//	BMP_LATENCY=1 go test -run TestLatency -v ./cmd/bmp
//
// What is measured is what a person sees: from the key to the screen of a
// terminal, or the whole process of one shot.
func TestLatency(t *testing.T) {
	if os.Getenv("BMP_LATENCY") == "" {
		t.Skip("figures only: set BMP_LATENCY=1")
	}
	bmp := filepath.Join(t.TempDir(), "bmp")
	if out, err := exec.Command("go", "build", "-o", bmp, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Run("10,000 peers", func(t *testing.T) {
		r := startProgram(t, bmp)
		r.routers(sim.Options{Routers: 1, Peers: 10_000, Routes: -1})
		for _, kind := range consoleKinds {
			c := kind.open(t, r)
			report(t, kind.name+", key to echo", 300, func(i int) time.Duration {
				if i%40 == 0 {
					c.Type("\x15")
					c.Until("an empty line", func(text string) bool { return !strings.Contains(text, "bmp"+kind.prompt+" x") })
				}
				line := "bmp" + kind.prompt + " " + strings.Repeat("x", i%40+1)
				began := time.Now()
				c.Type("x")
				c.Until(line, func(text string) bool { return strings.Contains(text, line) })
				return time.Since(began)
			})
			c.Type("\x15")
			if kind.name == "popup" {
				continue // the same but for the screen, on which it shows what is possible
			}
			question := "show client 1 peer 10."
			report(t, kind.name+", Tab to a table of 10,000 peers", 20, func(i int) time.Duration {
				time.Sleep(1100 * time.Millisecond) // answers are kept for a second
				c.Type("\x15\x0c" + question)
				c.Until("cleared", func(text string) bool { return text == "bmp"+kind.prompt+" "+question })
				began := time.Now()
				c.Type("\t")
				c.Ends("--More--")
				took := time.Since(began)
				c.Type("q")
				c.Ends("bmp" + kind.prompt + " " + question)
				return took
			})
			c.Type("\x15exit\r")
		}
		report(t, "bmp show clients, whole process", 50, func(int) time.Duration {
			cmd := r.command("show", "clients")
			began := time.Now()
			if out, err := cmd.Output(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return time.Since(began)
		})
	})
	t.Run("1,000,000 routes", func(t *testing.T) {
		r := startProgram(t, bmp)
		r.routers(sim.Options{Routers: 1, Peers: 10, Routes: 100_000})
		report(t, "bmp show bgp all | count, whole process", 5, func(int) time.Duration {
			began := time.Now()
			out, err := r.command("show bgp all | count").Output()
			if err != nil || string(out) != "Count: 1,000,000\n" {
				t.Fatalf("%v: %s", err, out)
			}
			return time.Since(began)
		})
		for _, kind := range consoleKinds {
			c := kind.open(t, r)
			report(t, kind.name+", a million rows | count", 3, func(i int) time.Duration {
				began := time.Now()
				c.Type("show bgp all | count\r")
				c.Until("the count", func(text string) bool { return strings.Count(text, "Count: 1,000,000") == i+1 })
				return time.Since(began)
			})
			if kind.name == "popup" {
				continue // the same but for the screen, on which it shows what is possible
			}
			report(t, kind.name+", Ctrl-C to the end of a running show", 20, func(i int) time.Duration {
				line := "show bgp all | include nothing"
				c.Type("\x0c" + line + "\r")
				c.Until("the command", func(text string) bool { return strings.Contains(text, line) })
				time.Sleep(20 * time.Millisecond) // it runs
				began := time.Now()
				c.Type("\x03")
				c.Ends("% Cancelled\nbmp" + kind.prompt)
				took := time.Since(began)
				c.Type("\x0c")
				c.Until("cleared", func(text string) bool { return strings.TrimSpace(text) == "bmp"+kind.prompt })
				return took
			})
			report(t, kind.name+", Ctrl-C to the end of rows that are shown", 10, func(i int) time.Duration {
				c.Type("show bgp all | no-more\r")
				c.Holds("sim1  ")
				time.Sleep(100 * time.Millisecond) // it runs
				began := time.Now()
				c.Type("\x03")
				c.Ends("% Cancelled\nbmp" + kind.prompt)
				took := time.Since(began)
				c.Type("\x0c")
				c.Until("cleared", func(text string) bool { return strings.TrimSpace(text) == "bmp"+kind.prompt })
				return took
			})
			c.Type("exit\r")
		}
	})
}

// consoleKinds are the ways to sit at a station.
var consoleKinds = []struct {
	name, prompt string
	open         func(t *testing.T, r *running) *edittest.Child
}{
	{"readline", "#", func(t *testing.T, r *running) *edittest.Child {
		c := edittest.Start(t, r.command("shell"), 100, 30)
		c.Ends("bmp#")
		return c
	}},
	{"popup", "#", func(t *testing.T, r *running) *edittest.Child {
		c := edittest.Start(t, r.command("shell"), 100, 30)
		c.Ends("bmp#")
		c.Type("terminal editor popup\r")
		c.Until("the other editor", func(text string) bool { return strings.Count(text, "bmp#") == 2 })
		return c
	}},
	{"telnet", ">", func(t *testing.T, r *running) *edittest.Child {
		c := r.telnet(t, "127.0.0.1", fmt.Sprint(r.port+1))
		c.Holds("\n201 bmp")
		c.Type("terminal interactive\r")
		c.Ends("bmp>")
		return c
	}},
}

// report measures n times and prints the median, the nine-tenths and the worst.
func report(t *testing.T, what string, n int, once func(i int) time.Duration) {
	t.Helper()
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = once(i)
	}
	slices.Sort(all)
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	t.Logf("%-55s median %10v   9 of 10 %10v   worst %10v", what, round(all[n/2]), round(all[n*9/10]), round(all[n-1]))
}
