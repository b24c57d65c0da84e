package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A labStation is a real bmp process that the lab's router dials.
type labStation struct {
	t      *testing.T
	binary string
	port   int
	env    []string
	state  string
	cmd    *exec.Cmd
	log    bytes.Buffer
}

func newLabStation(t *testing.T) *labStation {
	dir := t.TempDir()
	s := &labStation{t: t, binary: filepath.Join(dir, "bmp"), port: freePortPair(t), state: filepath.Join(dir, "state")}
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "BMP_RUNTIME_DIR="+run)
	if out, err := exec.Command("go", "build", "-o", s.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Cleanup(s.stop)
	return s
}

// freePortPair finds a port whose next one is free as well: the control port.
func freePortPair(t *testing.T) int {
	t.Helper()
	for range 100 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := a.Addr().(*net.TCPAddr).Port
		b, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		a.Close()
		if err == nil {
			b.Close()
			return port
		}
	}
	t.Fatal("no two ports in a row are free")
	return 0
}

func (s *labStation) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, "-s", fmt.Sprintf("127.0.0.1:%d", s.port), "-f", "-d", s.state)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.until("the station answers", 20*time.Second, func() error {
		_, err := s.ask("show", "summary")
		return err
	})
}

func (s *labStation) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("station: %v\n%s", err, s.log.String())
	}
	s.cmd = nil
}

// ask runs one command of control mode and returns its standard output.
func (s *labStation) ask(words ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, append([]string{"-j", strconv.Itoa(s.port)}, words...)...)
	cmd.Env = s.env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("bmp %s: %w: %s", strings.Join(words, " "), err, errs.String())
	}
	return out, nil
}

// until waits for a condition, asking every half second.
func (s *labStation) until(what string, limit time.Duration, cond func() error) {
	s.t.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("not reached in %v: %s: %v", limit, what, err)
		}
		<-tick.C
	}
}

// table asks for every route of the families.
func (s *labStation) table(families ...string) (routeTable, error) {
	all := routeTable{}
	for _, f := range families {
		out, err := s.ask("show", "bgp", f, "all")
		if err != nil {
			return nil, err
		}
		t, err := stationTable(out)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		for k, v := range t {
			all[k] = v
		}
	}
	return all, nil
}

// A heldRoute is when a route last changed, and what it says.
type heldRoute struct {
	since time.Time
	says  string
}

// held tells of each route of a family that is not stale, by peer, view, prefix
// and path ID.
func (s *labStation) held(family string) (map[string]heldRoute, error) {
	out, err := s.ask("show", "bgp", family, "all")
	if err != nil {
		return nil, err
	}
	var rows []map[string]any
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, err
	}
	m := map[string]heldRoute{}
	for _, r := range rows {
		since, err := time.Parse(time.RFC3339, fmt.Sprint(r["since"]))
		if err != nil {
			return nil, err
		}
		key := fmt.Sprint(r["peer"], r["view"], r["prefix"], r["path_id"])
		if r["stale"] != true {
			m[key] = heldRoute{since, fmt.Sprint(r["next_hop"], r["origin"], r["as_path"], r["med"], r["local_pref"], r["communities"],
				r["large_communities"], r["ext_communities"], r["attributes"])}
		}
	}
	return m, nil
}

// A lab is one of the router labs, in network namespaces of its own.
type lab struct {
	t      *testing.T
	script string
	dir    string // where it keeps pids, logs and configurations
	ns     string
}

func startLab(t *testing.T, name string, s *labStation, daemons ...string) *lab {
	t.Helper()
	l := &lab{t: t, script: filepath.Join(os.Getenv("BMP_LAB"), name+"-lab"), dir: filepath.Join(os.TempDir(), "bmplab-"+name), ns: "bmplab-" + name + "-dut"}
	if _, err := os.Stat(l.dir); err == nil {
		t.Skipf("%s exists: another run of this lab is up", l.dir)
	}
	t.Cleanup(func() { l.run(time.Minute, "down") })
	l.run(2*time.Minute, "up", "127.0.0.1", strconv.Itoa(s.port))
	return l
}

// needLab skips where the lab, root, or a daemon is missing.
func needLab(t *testing.T, daemons ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the labs take minutes")
	}
	if os.Getenv("BMP_LAB") == "" {
		t.Skip("BMP_LAB is not set: no router lab")
	}
	if os.Getuid() != 0 {
		t.Skip("the router labs make network namespaces: root is needed")
	}
	for _, d := range append(daemons, "exabgp", "bird", "gobgpd", "ip", "python3") {
		if _, err := exec.LookPath(d); err != nil {
			t.Skipf("%s is not installed", d)
		}
	}
}

func (l *lab) run(limit time.Duration, args ...string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, l.script, args...).CombinedOutput()
	if err != nil {
		l.t.Errorf("%s %s: %v\n%s", filepath.Base(l.script), args[0], err, out)
	}
}

func (l *lab) oracle() string {
	dir := l.t.TempDir()
	l.run(2*time.Minute, "oracle", dir)
	return dir
}

// A labProcess is one that the lab started and recorded.
type labProcess struct {
	l    *lab
	name string
	args []string
}

func (l *lab) process(name string) *labProcess {
	l.t.Helper()
	pid := l.pid(name)
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		l.t.Fatal(err)
	}
	return &labProcess{l, name, strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")}
}

func (l *lab) pid(name string) int {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, name+".pid"))
	if err != nil {
		l.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(b))[0])
	if err != nil {
		l.t.Fatal(err)
	}
	return pid
}

// kill ends it as a crash would, without a word to its neighbours.
func (p *labProcess) kill() {
	p.l.t.Helper()
	pid := p.l.pid(p.name)
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		p.l.t.Fatal(err)
	}
	waitGone(p.l.t, pid)
}

// alive reports whether it runs.
func (p *labProcess) alive() bool {
	p.l.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.l.pid(p.name)))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(end) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(b, []byte(") Z ")) {
			return
		}
		<-tick.C
	}
	t.Fatalf("process %d does not end", pid)
}

// again starts it with the same arguments and records it for the lab's down.
func (p *labProcess) again(ns string) {
	p.l.t.Helper()
	args := p.args
	if ns != "" {
		args = append([]string{"ip", "netns", "exec", ns}, args...)
	}
	log, err := os.OpenFile(filepath.Join(p.l.dir, p.name+".log"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		p.l.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.l.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		p.l.t.Fatal(err)
	}
	go cmd.Wait() // reaped when the lab's down ends it
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		p.l.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
	pid := fmt.Sprintf("%d %s", cmd.Process.Pid, strings.Fields(rest)[19])
	if err := os.WriteFile(filepath.Join(p.l.dir, p.name+".pid"), []byte(pid), 0o644); err != nil {
		p.l.t.Fatal(err)
	}
}

// feed appends commands for an ExaBGP peer.
func (l *lab) feed(peer string, lines ...string) {
	l.t.Helper()
	f, err := os.OpenFile(filepath.Join(l.dir, "exa-"+peer+".cmd"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		l.t.Fatal(err)
	}
}

var labFamilies = []string{"ipv4-unicast", "ipv6-unicast", "ipv4-vpn", "ipv6-vpn", "ipv4-labeled-unicast"}

// compareLab says how what the station shows differs from the router's tables.
type compareLab func(oracle routeTable, station routeTable) []string

// exerciseLab runs a lab through its scenario under one station: the tables
// are right at the end, right again after the station was restarted, and right
// after the BMP session and then the router itself were cut off: routes that
// are gone go, ages of unchanged routes stay.
func exerciseLab(t *testing.T, name, daemon string, tables func(*testing.T, string) routeTable, compare compareLab) {
	s := newLabStation(t)
	s.start()
	l := startLab(t, name, s)
	l.run(4*time.Minute, "scenario")
	want := tables(t, l.oracle())
	right := func() error {
		got, err := s.table(labFamilies...)
		if err != nil {
			return err
		}
		if d := compare(want, got); len(d) > 0 {
			return fmt.Errorf("%d of %d routes:\n%s", len(d), len(want), strings.Join(d[:min(len(d), 8)], "\n"))
		}
		return nil
	}
	if len(want) < 500 {
		t.Fatalf("the router's tables hold only %d routes", len(want))
	}
	s.until("the station's tables are the router's", 30*time.Second, right)

	s.stop()
	s.start()
	s.until("the tables are right after the station's restart", 60*time.Second, right)

	// The BMP session is cut; meanwhile the router loses a route.
	before, err := s.held("ipv4-unicast")
	if err != nil {
		t.Fatal(err)
	}
	relay := l.process("relay")
	relay.kill()
	l.feed("c", "withdraw route 30.3.0.0/19 next-hop 10.1.0.13")
	gone := func(k tableKey) bool { return k.prefix != "30.3.0.0/19" }
	if len(want.where(gone)) == len(want) {
		t.Fatal("30.3.0.0/19 is not in the router's tables: nothing is withdrawn")
	}
	want = want.where(gone)
	relay.again("")
	s.until("the tables are right after the BMP session was cut", 60*time.Second, right)
	agesStay(t, s, before, "after the BMP session was cut")

	// The router crashes and starts again with the same neighbours.
	router := l.process(daemon)
	router.kill()
	router.again(l.ns)
	l.untilFull(router, tables, len(want))
	s.until("the tables are right after the router's restart", 90*time.Second, func() error {
		want = tables(t, l.oracle()) // it may still be learning
		return right()
	})
	agesStay(t, s, before, "after the router's restart")
}

// untilFull waits until the peers of a router that has just started have told
// it again what they told the one before, about n routes. One that gave up, for
// the sockets of the one before are not all gone, is started again.
func (l *lab) untilFull(router *labProcess, tables func(*testing.T, string) routeTable, n int) {
	l.t.Helper()
	end := time.Now().Add(150 * time.Second)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for last := -1; ; <-tick.C {
		if !router.alive() {
			l.t.Logf("%s has ended, and is started again", router.name)
			router.again(l.ns)
			continue
		}
		have := len(tables(l.t, l.oracle()))
		if have >= n*9/10 && have == last {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(l.dir, router.name+".log"))
			l.t.Fatalf("the router has %d of %d routes after its restart; the end of its log:\n%s", have, n, log[max(0, len(log)-2000):])
		}
		last = have
	}
}

// agesStay checks that routes that say what they said before kept their time.
func agesStay(t *testing.T, s *labStation, before map[string]heldRoute, when string) {
	t.Helper()
	now, err := s.held("ipv4-unicast")
	if err != nil {
		t.Fatal(err)
	}
	kept, moved := 0, []string{}
	for k, r := range now {
		b, ok := before[k]
		switch {
		case !ok || b.says != r.says:
		case b.since.Equal(r.since):
			kept++
		default:
			moved = append(moved, fmt.Sprintf("%s %s: %v, not %v", k, r.says, r.since, b.since))
		}
	}
	if len(moved) > 0 {
		t.Errorf("%s %d routes that say the same have another time:\n%s", when, len(moved), strings.Join(moved[:min(len(moved), 5)], "\n"))
	}
	if kept < len(before)/2 {
		t.Errorf("%s %d of %d routes kept their age", when, kept, len(before))
	}
}

// TestFRRLab compares with FRR's own tables. FRR codes what it monitors as it
// would announce it: its own AS stands before an external path, and LOCAL_PREF
// is missing from one. Routes refused by import policy are missing from
// pre-policy while it runs and present in the dump after a reconnect. Labelled
// routes (41.0.x.0/24 of peer e) it codes as plain ones without a next hop.
func TestFRRLab(t *testing.T) {
	needLab(t, "vtysh")
	t.Parallel() // the labs have namespaces of their own
	exerciseLab(t, "frr", "bgpd", frrTables, compareFRR)
}

func compareFRR(oracle, station routeTable) []string {
	refused := func(k tableKey) bool { return k.view == "adj_in_pre" && strings.HasPrefix(k.prefix, "20.66.") }
	comparable := func(k tableKey) bool {
		labelled := k.peer == labPeers["e"] && k.family == "ipv4-unicast"
		return k.view != "loc_rib" && !labelled && !refused(k) && !(k.peer == labPeers["e"] && k.view == "adj_in_pre")
	}
	same := func(r tableRoute) tableRoute {
		r.asPath = strings.TrimPrefix(strings.TrimPrefix(r.asPath, "65000"), " ")
		r.communities, r.large, r.localPref = "", "", ""
		return r
	}
	diffs := oracle.where(comparable).diff(station.where(comparable), same)
	for k := range station.where(refused) {
		if _, ok := oracle[k]; !ok {
			diffs = append(diffs, "extra "+k.String())
		}
	}
	return diffs
}

// TestGoBGPLab compares with GoBGP's own tables, every attribute they print.
func TestGoBGPLab(t *testing.T) {
	needLab(t, "gobgp")
	t.Parallel()
	exerciseLab(t, "gobgp", "gobgpd", gobgpTables, compareGoBGP)
}

func compareGoBGP(oracle, station routeTable) []string {
	return oracle.diff(station, func(r tableRoute) tableRoute { return r })
}
