package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"bmp/proto/control"
)

// TestMain makes the test binary also the programs that the scripts run: bmp
// itself, bmpsend (router_test.go), and notified (notify_test.go).
func TestMain(m *testing.M) {
	// Scripts and labs wait for stations and routers for most of their time: more of them at once than there are
	// processors, where -parallel does not say how many.
	_ = flag.Set("test.parallel", "8")
	testscript.Main(m, map[string]func(){
		"bmp":      main,
		"bmpsend":  bmpsend,
		"notified": notified,
	})
}

// scriptDir is made absolute, because a script changes the folder it is in.
var scriptDir, _ = filepath.Abs(filepath.Join("testdata", "script"))

// scriptLimit bounds each wait of a script.
const scriptLimit = 20 * time.Second

// TestScript runs the transcripts: what the router sent, what the user typed,
// what must be printed, with the real binary over real sockets.
//
// Each script has its own runtime and state folder, and ports that nobody
// else has: $P1 < $P2 < $P3, with the control ports $C1 $C2 $C3 behind them. The
// stations that it started are ended with it. UPDATE_SCRIPTS=1 in the environment
// writes what is printed into the scripts instead of comparing it. Besides the commands of testscript
// there are
//
//	status N COMMAND ARG...         run a program, which must exit with status N
//	until REGEX COMMAND ARG...      run a program again until its output matches
//	output FILE                     the last standard output, with what changes from run to
//	                                run replaced (see scrub), is exactly FILE
//	errput FILE                     standard error likewise
//	json EXPR                       the last standard output is one JSON document, in which
//	                                PATH=VALUE, like 0.port=$P1
//	interrupt N REGEX COMMAND...    run a program, send it SIGINT when what it printed matches;
//	                                it must exit with status N then
//	stamp NAME                      $NAME is the time
//	ended PORT                      wait until no station runs on PORT
//	nats N                          start a cluster of N NATS servers: $NATS is its --nats, $CLUSTER its target
//	natskill N                      end the Nth of them, from 0
func TestScript(t *testing.T) {
	t.Parallel() // beside the labs
	testscript.Run(t, testscript.Params{
		Dir:   scriptDir,
		Setup: setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    scriptStatus,
			"until":     scriptUntil,
			"output":    func(ts *testscript.TestScript, neg bool, args []string) { scriptCompare(ts, "stdout", neg, args) },
			"errput":    func(ts *testscript.TestScript, neg bool, args []string) { scriptCompare(ts, "stderr", neg, args) },
			"json":      scriptJSON,
			"ended":     scriptEnded,
			"stamp":     scriptStamp,
			"nats":      scriptNATS,
			"natskill":  scriptNATSKill,
			"interrupt": scriptInterrupt,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "ipv6":
				l, err := net.Listen("tcp", "[::1]:0")
				if err == nil {
					l.Close()
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		},
		RequireExplicitExec: true,
	})
}

func setupScript(env *testscript.Env) error {
	run := filepath.Join(env.WorkDir, "r")
	if err := os.Mkdir(run, 0o700); err != nil {
		return err
	}
	env.Setenv("BMP_RUNTIME_DIR", run)
	env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "s"))
	env.Setenv("TZ", "UTC")
	env.Setenv("NOTIFY_SOCKET", "")
	env.Setenv("BMP_TARGET", "")
	env.Setenv("NO_COLOR", "1")
	for i := 1; i <= 3; i++ {
		p, err := freePorts(4000 + 6000*i)
		if err != nil {
			return err
		}
		env.Setenv("P"+strconv.Itoa(i), strconv.Itoa(p))
		env.Setenv("C"+strconv.Itoa(i), strconv.Itoa(p+1))
	}
	env.Defer(func() { endStations(run) })
	return nil
}

// freePorts finds a BMP port and a control port that are free, among the 6000
// from base on, below the range that the system hands out by itself.
func freePorts(base int) (int, error) {
	for range 1000 {
		port := base + 2*rand.IntN(3000)
		var ls []net.Listener
		for _, p := range []int{port, port + 1} {
			if l, err := net.Listen("tcp", ":"+strconv.Itoa(p)); err == nil {
				ls = append(ls, l)
			}
		}
		for _, l := range ls {
			l.Close()
		}
		if len(ls) == 2 {
			return port, nil
		}
	}
	return 0, errors.New("no two free ports in a row")
}

// scriptStamp puts the time into a variable. Nothing else happens within the millisecond before and after.
func scriptStamp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stamp NAME")
	}
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	<-pause.C
	ts.Setenv(args[0], time.Now().UTC().Format(time.RFC3339Nano))
	<-pause.C
}

// endStations stops what a script left running and waits for it.
func endStations(run string) {
	found, _ := control.StationsIn(run)
	for _, r := range found {
		if r.PID > 1 {
			syscall.Kill(r.PID, syscall.SIGTERM)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, r := range found {
		for r.PID > 1 && syscall.Kill(r.PID, 0) == nil {
			if time.Now().After(deadline) {
				syscall.Kill(r.PID, syscall.SIGKILL)
				break
			}
			<-tick.C
		}
	}
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// scriptCommand is a program with the script's folder and environment, for what
// testscript's own exec cannot do.
func scriptCommand(ts *testscript.TestScript, args []string) *exec.Cmd {
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(program, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = os.Environ()
	for _, name := range []string{"BMP_RUNTIME_DIR", "XDG_STATE_HOME", "HOME", "TZ", "BMP_TARGET"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEX COMMAND ARG...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(scriptLimit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// Not by ts.Exec, whose every attempt would be in the log.
		out, err := scriptCommand(ts, args[1:]).Output()
		if re.Match(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q not printed within %v (%v), but:\n%s", args[0], scriptLimit, err, out)
		}
		<-tick.C
	}
}

func scriptInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: interrupt N REGEX COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	cmd := scriptCommand(ts, args[2:])
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	limit := time.AfterFunc(scriptLimit, func() { cmd.Process.Kill() })
	defer limit.Stop()
	var text strings.Builder
	buf := make([]byte, 4096)
	sent := false
	for {
		n, err := out.Read(buf)
		text.Write(buf[:n])
		if !sent && re.MatchString(text.String()) {
			sent = true
			cmd.Process.Signal(os.Interrupt)
		}
		if err != nil {
			break
		}
	}
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); !sent || got != want {
		ts.Fatalf("exit status %d, want %d; printed:\n%s", got, want, text.String())
	}
}

func scriptCompare(ts *testscript.TestScript, which string, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: output FILE")
	}
	got, want := scrub(ts, ts.ReadFile(which)), ts.ReadFile(args[0])
	if got == want {
		return
	}
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		ts.Check(updateScript(filepath.Join(scriptDir, ts.Name()+".txtar"), args[0], got))
		return
	}
	ts.Fatalf("%s is\n%s\nand should be\n%s", which, got, want)
}

// updateScript puts what was printed into a script, for a person to compare
// with the contract before it is committed.
func updateScript(path, file, content string) error {
	a, err := txtar.ParseFile(path)
	if err != nil {
		return err
	}
	for i := range a.Files {
		if a.Files[i].Name == file {
			a.Files[i].Data = []byte(content)
		}
	}
	return os.WriteFile(path, txtar.Format(a), 0o644)
}

// scrubs are what changes from run to run. Where the columns of a table count,
// the replacement is as wide as what it replaces.
var scrubs = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\r\n`), "\n"},
	{regexp.MustCompile(`nonce=[0-9a-f]{32}`), "nonce=32HEX"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d`), "YYYY-MM-DD"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`), "HH:MM:SS.mmm"},
	{regexp.MustCompile(`\b00:0\d:\d\d\b`), "00:00:SS"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b( [0-9-]{10})?`), "HH:MM:SS"},
	{regexp.MustCompile(`(127\.\d+\.\d+\.\d+|\[::1\]):\d{5}\b`), "$1:nnnnn"},
	{regexp.MustCompile(`(?m)(BMP Server pid +: )\d+$`), "${1}PID"},
	{regexp.MustCompile(`(?m)(BMP Server uptime +: )\S.*$`), "${1}UPTIME"},
	{regexp.MustCompile(`(?m)(Total memory usage +: )\S.*$`), "${1}MEMORY"},
	{regexp.MustCompile(`(?m)(Attribute sets +: )\d+$`), "${1}SETS"},
	{regexp.MustCompile(`(?m)(Read lag +: )\S.*$`), "${1}LAG"},
	{regexp.MustCompile(`(?m)(Read queue +: )\S.*$`), "${1}QUEUE"},
	{regexp.MustCompile(`(?m)(Memory limit +: )\S.*$`), "${1}LIMIT"},
	{regexp.MustCompile(`(?m)(Route store +: )\S.*$`), "${1}STORE"},
	{regexp.MustCompile(`(?m)(Archive +: )\S.*$`), "${1}ARCHIVE"},
	{regexp.MustCompile(`(?m)(Archive queue +: )\S.*$`), "${1}QUEUE"},
}

func scrub(ts *testscript.TestScript, text string) string {
	for i := 1; i <= 3; i++ {
		p := strconv.Itoa(i)
		text = regexp.MustCompile(`\b`+ts.Getenv("P"+p)+`\b`).ReplaceAllString(text, "PORT"+p)
		text = regexp.MustCompile(`\b`+ts.Getenv("C"+p)+`\b`).ReplaceAllString(text, "CTRL"+p)
	}
	text = strings.ReplaceAll(text, ts.Getenv("WORK"), "$WORK")
	for _, s := range scrubs {
		text = s.re.ReplaceAllString(text, s.with)
	}
	return text
}

func scriptEnded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ended PORT")
	}
	port, err := strconv.Atoi(args[0])
	ts.Check(err)
	deadline := time.Now().Add(scriptLimit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := control.StationsIn(ts.Getenv("BMP_RUNTIME_DIR"))
		ts.Check(err)
		runs := false
		for _, r := range found {
			runs = runs || r.Port == port
		}
		if !runs {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the station on port %d still runs", port)
		}
		<-tick.C
	}
}
