package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"bmp/cmd/internal/sim"
	"bmp/shell/edit/edittest"
)

// The shell on a real station, on a terminal.
func TestShellOnATerminal(t *testing.T) {
	r := startStation(t)
	r.routers(sim.Options{Routers: 2, Peers: 3, Routes: 200})
	c := edittest.Start(t, r.command("shell"), 100, 30)
	c.Shows("bmp#")
	c.Type("show client \t")
	c.Until("the clients, with what one wants to know", func(text string) bool {
		return strings.Contains(text, "\n  1  127.") && strings.Contains(text, " up\n")
	})
	c.Type("1 peers | columns Addr\t,St\t | include up | first 1\r")
	c.Until("one peer", func(text string) bool {
		return strings.HasSuffix(text, "up\nbmp#") && strings.Contains(text, "columns Address,State |")
	})
	c.Type("show bgp all\r")
	c.Ends("--More-- (space, Enter, q, /)")
	c.Type(" q")
	c.Ends("bmp#")
	c.Type("debug client 1\r")
	c.Ends("bmp(1dbg)#")
	c.Type("clear client 1\r")
	c.Until("a question", func(text string) bool { return strings.HasSuffix(text, "[yes/no]") })
	c.Type("no\r")
	c.Ends("% Not confirmed, nothing done\nbmp(1dbg)#")
	c.Type("for c in 1 2; do show client $c peers | count; done\r")
	c.Until("both", func(text string) bool { return strings.Contains(text, "Count: 3\nCount: 3\n") })
	c.Type("run \t")
	c.Holds("health-check")
	c.Type("\x15exit\r")
	c.Holds("% 1 debug ended")
	c.Exits(0)

	one := r.command("debug", "client", "1")
	one.Stdout, one.Stderr = nil, os.Stderr
	if err := one.Start(); err != nil {
		t.Fatal(err)
	}
	r.until("it follows", "show debug", "client 1")
	one.Process.Signal(os.Interrupt)
	one.Wait()
	if status := one.ProcessState.ExitCode(); status != 130 {
		t.Errorf("debug ended with status %d, want 130", status)
	}
}

// A station with its shell attached gives the terminal back however it ends.
func TestShellAttached(t *testing.T) {
	start := func(t *testing.T) (*edittest.Child, int) {
		r := startStation(t) // for its surroundings
		port, err := freePorts(24_000)
		if err != nil {
			t.Fatal(err)
		}
		c := edittest.Start(t, r.command("-s", fmt.Sprintf("127.0.0.1:%d", port), "-i"), 80, 24)
		c.Until("the prompt below the console line", func(text string) bool {
			return strings.Contains(text, fmt.Sprintf("Listening on 127.0.0.1:%d\n", port)) && strings.HasSuffix(text, "bmp#")
		})
		return c, port
	}
	t.Run("exit", func(t *testing.T) {
		c, _ := start(t)
		c.Type("show version\r")
		c.Until("the answer", func(text string) bool { return strings.Count(text, "bmp#") == 2 })
		c.Type("exit\r")
		c.Exits(0)
	})
	t.Run("SIGTERM with a line half typed", func(t *testing.T) {
		c, _ := start(t)
		c.Type("show cl")
		c.Ends("bmp# show cl")
		c.Cmd.Process.Signal(syscall.SIGTERM)
		c.Exits(0)
	})
	t.Run("shutdown, confirmed", func(t *testing.T) {
		c, _ := start(t)
		c.Type("shutdown\r")
		c.Until("a question", func(text string) bool { return strings.HasSuffix(text, "[yes/no]") })
		c.Type("yes\r")
		c.Exits(0)
	})
	t.Run("console lines above the line being typed", func(t *testing.T) {
		c, port := start(t)
		c.Type("show li")
		c.Ends("bmp# show li")
		other, err := freePorts(25_000)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(c.Cmd.Path, fmt.Sprint(port), "listen", fmt.Sprintf("127.0.0.1:%d", other))
		cmd.Env = c.Cmd.Env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		c.Until("the line of it", func(text string) bool {
			return strings.Contains(text, fmt.Sprintf("Listening on 127.0.0.1:%d\n", other)) && strings.HasSuffix(text, "bmp# show li")
		})
		c.Type("\x15\x04")
		c.Exits(0)
	})
}
