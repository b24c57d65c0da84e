package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bmp/cmd/internal/sim"
	"bmp/engine"
	"bmp/engine/archive"
	"bmp/engine/command"
	"bmp/engine/listen"
	"bmp/proto/bmp"
	"bmp/proto/control"
	"bmp/shell"
)

// demoRouters are what demo shows: small enough to be there at once, and with
// something of everything. Where somebody sits and looks, routes change and
// peers flap.
func demoRouters(changing bool) sim.Options {
	o := sim.Options{
		Seed: 1, Routers: 4, Peers: 6, Routes: 2000, Prefixes: 5000, IPv6: 0.3, Shared: 0.3,
		Views: []bmp.View{bmp.AdjInPre, bmp.AdjInPost, bmp.LocRIB}, Malformed: 0.0005,
		Name: "edge%d.demo", Sources: sim.LoopbackSources(4), Hold: true, Redial: time.Second,
	}
	if changing {
		o.Changes, o.Rate, o.FlapEvery = -1, 5, 300
	}
	return o
}

// demoLimit is how long the routers may take to tell what they have.
const demoLimit = time.Minute

// demo is a station with simulated routers, on ports and in folders of its own.
// On a terminal it is a shell on the station, and leaving it stops everything;
// otherwise it prints two answers and ends.
func demo() int {
	terminal := isTerminal(os.Stdin) && isTerminal(os.Stdout)
	// Signals that end the demo end it with its folder removed. Ctrl-C on a
	// terminal belongs to the shell.
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGHUP}
	if !terminal {
		signals = append(signals, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	folder, err := os.MkdirTemp("", "bmp-demo-")
	if err != nil {
		return fail(os.Stderr, 1, "%v", err)
	}
	defer os.RemoveAll(folder)
	if err := runDemo(ctx, folder, terminal); err != nil {
		if ctx.Err() != nil {
			return control.ExitStatus(control.CodeCancelled)
		}
		return shell.PrintError(os.Stderr, false, err)
	}
	return 0
}

func runDemo(ctx context.Context, folder string, terminal bool) error {
	demo, err := openDemo(folder)
	if err != nil {
		return err
	}
	defer demo.state.Close()
	demo.lines.Close() // nobody watches them here; show log has them
	s := demo.Station
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Run(context.Background())
	}()
	defer func() {
		s.Stop("the demo ends")
		<-stopped
	}()

	fleet, err := sim.New(demoRouters(terminal))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() { left <- fleet.Run(ctx, fmt.Sprintf("127.0.0.1:%d", s.Port())) }()
	defer func() {
		cancel()
		<-left
	}()
	if err := heard(ctx, s, fleet); err != nil {
		return err
	}
	if !terminal {
		return printDemo(ctx, s)
	}

	port := s.Port()
	fmt.Printf(`A station on 127.0.0.1 port %d with %d simulated routers. Try:

  show clients
  show client 1 peers
  show bgp summary
  show log last 5
  debug client 1
  exit                      ends the demo

From another terminal: telnet 127.0.0.1 %d

`, port, len(fleet.Routers()), port+1)
	shell.Interactive(ctx, shell.Options{Station: shell.Station{Name: "the demo"}, Dial: inProcess(s)}, nil)
	return nil
}

// openDemo starts a station on loopback ports that are free. Between finding
// them and listening somebody else may take one: then others are tried.
func openDemo(folder string) (*opened, error) {
	run := filepath.Join(folder, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s, err := openStation(engine.Options{
			Name: "demo", Version: shell.Version, Port: port, StateDir: filepath.Join(folder, "state"),
			Archive: &archive.Options{MaxBytes: 256 << 20}, // the folder is a temporary one
			Listen:  []listen.Spec{{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: port}},
			Console: shell.Console,
			Commands: func(s *engine.Station) control.Handler {
				return command.New(s, command.Options{Version: shell.Version})
			},
		}, run)
		var used *listen.InUseError
		var taken *control.TakenError
		if err == nil || try == 10 || !errors.As(err, &used) && !errors.As(err, &taken) {
			return s, err
		}
	}
}

// freePort finds a loopback port of which the next one, for the control port,
// is free as well.
func freePort() (uint16, error) {
	for range 100 {
		a, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return 0, err
		}
		port := a.Addr().(*net.TCPAddr).Port
		b, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1})
		a.Close()
		if err == nil {
			b.Close()
			if port <= listen.MaxPort {
				return uint16(port), nil
			}
		}
	}
	return 0, errors.New("no two free ports in a row on 127.0.0.1")
}

// heard waits until the station has all that the routers had to tell at first.
func heard(ctx context.Context, s *engine.Station, fleet *sim.Fleet) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// What was sent is read first: the station may be ahead of it, and
		// never behind, when it has all.
		sent := fleet.Report()
		if sent.Dumped == len(fleet.Routers()) && s.Summary().Messages >= uint64(sent.Total()) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("demo: the routers sent %d messages and the station has %d: %w",
				sent.Total(), s.Summary().Messages, ctx.Err())
		}
	}
}

// printDemo asks what a newcomer would ask, and shows the questions.
func printDemo(ctx context.Context, s *engine.Station) error {
	client, err := inProcess(s)(ctx, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	var out strings.Builder
	for i, line := range []string{"show summary", "show clients"} {
		if i > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "bmp# %s\n", line)
		v, err := client.Do(ctx, line, func(l control.Line) error {
			fmt.Fprintln(&out, l.Text)
			return nil
		})
		if err == nil {
			err = v.Err()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	_, err = os.Stdout.WriteString(out.String())
	return err
}
