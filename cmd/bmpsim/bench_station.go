package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bmp/proto/control"
)

// benchStation is a station process, with folders and a port of its own, and a console on it.
type benchStation struct {
	cmd     *exec.Cmd
	addr    string // for routers
	dir     string
	socket  string
	console *control.Client
	exited  chan struct{}

	mu   sync.Mutex
	gc   gcTrace
	text []string // the last of what it said besides
	said sync.WaitGroup
}

// stationKind is which station is measured.
type stationKind bool

const (
	withArchive    stationKind = true // the program as it is
	withoutArchive stationKind = false
)

func (k stationKind) String() string {
	if k == withArchive {
		return "archived"
	}
	return "no archive"
}

// goal is that of the kind: none may be set for it.
func (k stationKind) goal(without, with string) string {
	if k == withArchive {
		without = with
	}
	if without == "" {
		return ""
	}
	return "<= " + without + " CPU-s/M"
}

// start starts a station. stop must follow.
func (b *bench) start(args ...string) (*benchStation, error) {
	return b.startKind(withArchive, args...)
}

func (b *bench) startKind(kind stationKind, args ...string) (*benchStation, error) {
	dir, err := os.MkdirTemp(b.dir, "station-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	s := &benchStation{addr: addr.String(), dir: dir, exited: make(chan struct{})}
	s.socket = filepath.Join(dir, strconv.Itoa(addr.Port)+".sock")
	args = append([]string{"-s", s.addr, "-f", "-d", filepath.Join(dir, "state"), "--no-loopback"}, args...)
	s.cmd = exec.Command(b.station, args...)
	if kind == withoutArchive {
		s.cmd = exec.Command(b.self, "bench-station", s.addr, dir)
	}
	s.cmd.Env = append(os.Environ(), "BMP_RUNTIME_DIR="+dir, "GODEBUG=gctrace=1", "NOTIFY_SOCKET=")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no station outlives its bench
	out, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	lines, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	listen := func(r *bufio.Scanner) {
		for r.Scan() {
			s.hear(r.Text())
		}
	}
	s.said.Go(func() { listen(bufio.NewScanner(out)) })
	s.said.Go(func() { listen(bufio.NewScanner(lines)) })
	go func() {
		s.said.Wait() // Wait closes the pipes
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	deadline := time.Now().Add(20 * time.Second)
	for {
		if s.console, err = s.dial(b.ctx); err == nil {
			return s, nil
		}
		select {
		case <-s.exited:
			return nil, fmt.Errorf("%s ended at once: %s", b.station, s.last())
		case <-b.ctx.Done():
			err = b.ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			_ = s.cmd.Process.Kill()
			<-s.exited
			return nil, fmt.Errorf("the station does not answer: %w", err)
		}
	}
}

// hear takes one line of what the station says.
func (s *benchStation) hear(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gc.parse(line) {
		return
	}
	if len(s.text) == 1000 {
		s.text = s.text[1:]
	}
	s.text = append(s.text, line)
}

// collections are those of garbage so far.
func (s *benchStation) collections() gcTrace {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gc
	g.pauses = slices.Clone(g.pauses)
	return g
}

// last is what the station said last.
func (s *benchStation) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.text[max(0, len(s.text)-5):], "; ")
}

// lines are those the station has said with a text in them.
func (s *benchStation) lines(with string) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.text {
		if strings.Contains(l, with) {
			list = append(list, l)
		}
	}
	return list
}

// dial is a further console.
func (s *benchStation) dial(ctx context.Context) (*control.Client, error) {
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		return nil, err
	}
	return control.NewClient(ctx, conn, control.ClientOptions{})
}

// stop ends the station and adds its collections to the bench's. It is an error if it has ended by itself.
func (s *benchStation) stop(b *bench) error {
	select {
	case <-s.exited:
		return fmt.Errorf("the station has ended by itself: %v: %s", s.cmd.ProcessState, s.last())
	default:
	}
	s.console.Close()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	b.gc.add(s.collections())
	return os.RemoveAll(s.dir)
}

func (s *benchStation) pid() int { return s.cmd.Process.Pid }

// cpu is the processor time it has had.
func (s *benchStation) cpu() time.Duration {
	d, _ := processCPU(s.pid()) // a station that is gone shows in the next question
	return d
}

// rss is its resident memory.
func (s *benchStation) rss() int64 {
	now, _, _ := processMemory(s.pid())
	return now
}

// ask runs a command on a console and returns its lines.
func ask(ctx context.Context, c *control.Client, line string) ([]string, error) {
	var lines []string
	v, err := c.Do(ctx, line, func(l control.Line) error {
		lines = append(lines, l.Text)
		return nil
	})
	if err == nil {
		err = v.Err()
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return lines, err
}

// stationSummary is of `show summary | json`.
type stationSummary struct {
	Clients       int   `json:"clients"`
	Peers         int   `json:"peers"`
	Messages      int64 `json:"messages"`
	Routes        int64 `json:"routes"`
	AttributeSets int64 `json:"attribute_sets"`
}

func (s *benchStation) summary(ctx context.Context) (sum stationSummary, err error) {
	lines, err := ask(ctx, s.console, "show summary | json")
	if err != nil {
		return sum, err
	}
	var list []stationSummary
	if err := json.Unmarshal([]byte(strings.Join(lines, "\n")), &list); err != nil {
		return sum, err
	}
	if len(list) != 1 {
		return sum, errors.New("show summary | json: not one station")
	}
	return list[0], nil
}

// readLag is what `show summary` says of it: how long the station has been working on what it read last.
func (s *benchStation) readLag(ctx context.Context) (time.Duration, error) {
	lines, err := ask(ctx, s.console, "show summary")
	if err != nil {
		return 0, err
	}
	for _, l := range lines {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "Read lag" {
			return time.ParseDuration(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("show summary has no read lag")
}

// until asks for the summary until it is as wanted. To ask costs the station the more the more clients it has: it is to be
// asked a tenth of its time where that is not too seldom.
func (s *benchStation) until(ctx context.Context, ok func(stationSummary) bool) (stationSummary, error) {
	for {
		began := time.Now()
		sum, err := s.summary(ctx)
		pause := min(max(10*time.Millisecond, 9*time.Since(began)), 100*time.Millisecond)
		if err != nil {
			return sum, err
		}
		if ok(sum) {
			return sum, nil
		}
		select {
		case <-time.After(pause):
		case <-s.exited:
			return sum, fmt.Errorf("the station has ended: %s", s.last())
		case <-ctx.Done():
			return sum, fmt.Errorf("%w with %d clients, %d messages, %d routes", ctx.Err(), sum.Clients, sum.Messages, sum.Routes)
		}
	}
}
