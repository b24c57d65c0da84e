package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bmp/cmd/internal/sim"
)

// A running is a station of the real program, in its own runtime and state
// folder, with simulated routers.
type running struct {
	t    testing.TB
	bmp  string // the program
	port int    // its control port is the next one
	env  []string
}

// startStation starts a station and waits until it answers. It ends with the test.
func startStation(t testing.TB, options ...string) *running {
	t.Helper()
	bmp, err := exec.LookPath("bmp") // this test binary: see TestMain
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, bmp, options...)
}

func startProgram(t testing.TB, bmp string, options ...string) *running {
	t.Helper()
	home := t.TempDir()
	folder := filepath.Join(home, "run")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, bmp: bmp}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BMP_") && !strings.HasPrefix(v, "NO_COLOR=") && !strings.HasPrefix(v, "TERM=") {
			r.env = append(r.env, v)
		}
	}
	r.env = append(r.env, "BMP_RUNTIME_DIR="+folder, "HOME="+home, "XDG_STATE_HOME="+home+"/state", "XDG_CONFIG_HOME="+home+"/config", "TZ=UTC", "TERM=xterm")
	var err error
	if r.port, err = freePorts(22_000); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	// A state folder of its own: root's would be that of every station that ever had the port.
	cmd := r.command(append([]string{"-s", fmt.Sprintf("127.0.0.1:%d", r.port), "-f", "-d", home + "/station"}, options...)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the station ended with %v\n%s", err, said.String())
			}
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			<-ended
			t.Errorf("the station did not end\n%s", said.String())
		}
	})
	r.until("the station answers", "show version", "bmp")
	return r
}

// command is the program in the station's surroundings.
func (r *running) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.bmp, args...)
	cmd.Env, cmd.Dir = r.env, r.t.TempDir()
	return cmd
}

// until asks the station until the answer holds want.
func (r *running) until(what, line, want string) {
	r.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, err := r.command(line).CombinedOutput()
		if err == nil && strings.Contains(string(out), want) {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s: never; %s says\n%s", what, line, out)
		}
	}
}

// routers lets simulated routers dial in and waits until they have said
// everything. They stay until the test ends.
func (r *running) routers(o sim.Options) {
	r.t.Helper()
	o.Hold = true
	fleet, err := sim.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() { left <- fleet.Run(ctx, fmt.Sprintf("127.0.0.1:%d", r.port)) }()
	r.t.Cleanup(func() {
		cancel()
		<-left
	})
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		sent := fleet.Report() // first: the station is never ahead
		if sent.Dumped == len(fleet.Routers()) && r.heard() >= sent.Total() {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("the station heard %d messages of %d", r.heard(), sent.Total())
		}
	}
}

// heard is the number of messages that the station has had.
func (r *running) heard() (sum int64) {
	r.t.Helper()
	out, err := r.command("-j", "show", "clients").Output()
	var clients []struct{ Messages int64 }
	if err == nil {
		err = json.Unmarshal(out, &clients)
	}
	if err != nil {
		r.t.Fatalf("show clients: %v", err)
	}
	for _, c := range clients {
		sum += c.Messages
	}
	return sum
}
