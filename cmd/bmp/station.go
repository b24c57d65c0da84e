package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"bmp/engine"
	"bmp/engine/archive"
	enginecluster "bmp/engine/cluster"
	"bmp/engine/command"
	"bmp/engine/event"
	"bmp/engine/listen"
	"bmp/proto/control"
	"bmp/shell"
	"bmp/shell/cluster"
)

// stationOptions makes the station's options of the command line's. Its errors
// are those of somebody who typed: status 2.
func stationOptions(inv *invocation) (engine.Options, error) {
	o := engine.Options{
		Name: inv.name, Version: shell.Version, MemoryLimit: inv.memory, NoLoopback: inv.noLoopback, Archive: &archive.Options{},
		Console: shell.Console,
		Commands: func(s *engine.Station) control.Handler {
			return command.New(s, command.Options{Version: shell.Version, Config: inv.config})
		},
	}
	var addr netip.Addr
	if inv.addr != "" {
		var err error
		if addr, err = netip.ParseAddr(inv.addr); err != nil {
			return o, badUsage("Invalid address: -a %s", inv.addr)
		}
	}
	for _, text := range inv.listen {
		spec, err := listen.ParsePlace(text)
		if err != nil {
			return o, badUsage("Invalid value: -s %s: %v", text, err)
		}
		o.Listen = append(o.Listen, spec.WithDefaults(inv.netns, addr))
	}
	o.Port = o.Listen[0].Port
	for _, text := range inv.control {
		spec, err := engine.ParseControlSpec(text)
		if err != nil {
			return o, badUsage("Invalid value: --control %s: %v", text, err)
		}
		o.Control = append(o.Control, spec)
	}
	if o.Name == "" {
		o.Name = control.DefaultName(o.Port)
	}
	if err := control.ValidName(o.Name); err != nil {
		return o, badUsage("Invalid %v", err)
	}
	o.Archive.SyncAlways = inv.sync == "always"
	if inv.nats != "" {
		access, err := cluster.Environment(os.Getenv)
		if err != nil {
			return o, badUsage("Invalid environment: %v", err)
		}
		o.Archive.URL, o.Archive.NATS = inv.nats, access
		o.Cluster = &enginecluster.Options{URL: inv.nats, NATS: access}
	}
	return o, nil
}

// defaultStateDir is where a station of that name keeps its state: the
// system's place for root, the user's for others.
func defaultStateDir(name string) (string, error) {
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib/bmp", name), nil
	}
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("state folder: %w (use -d)", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "bmp", name), nil
}

// opened is a station that listens, and what it holds for as long as it runs.
type opened struct {
	*engine.Station
	lines *event.Subscription // its console lines, from the first one on
	state *os.File            // lock of the state folder
}

// openStation claims the name and port in a runtime directory ("": the usual
// one) and the state folder, makes the station and opens its listeners. The
// station is to be Run, and state to be closed then.
func openStation(o engine.Options, runtimeDir string) (_ *opened, err error) {
	claim, err := engine.ClaimStation(runtimeDir, o.Name, o.Port)
	if err != nil {
		return nil, err
	}
	if o.StateDir == "" {
		if o.StateDir, err = defaultStateDir(o.Name); err != nil {
			claim.Release()
			return nil, err
		}
	}
	s := &opened{}
	if s.state, err = lockState(o.StateDir); err != nil {
		claim.Release()
		return nil, err
	}
	o.Claim, o.KeysFile = claim, filepath.Join(o.StateDir, "control.keys")
	if s.Station, err = engine.New(o); err == nil {
		s.lines = s.Events().Subscribe(event.Filter{Console: true}, 10_000)
		err = s.Start(context.Background())
	}
	if err != nil {
		s.state.Close()
		claim.Release()
		return nil, err
	}
	return s, nil
}

// runStation is a station in this process, until it is stopped. v leads to the
// process that waits for the verdict, if this one is in the background.
func runStation(inv *invocation, v verdict) int {
	refuse := func(err error, status int) int {
		if v.background() {
			v.say(2, "% "+err.Error())
			v.end(status)
			return status
		}
		return fail(os.Stderr, status, "%v", err)
	}
	engine.SpareProcessors()
	o, err := stationOptions(inv)
	if err != nil {
		return refuse(err, control.ExitStatus(control.CodeInvalid))
	}
	if err := inv.absolute(); err != nil {
		return refuse(err, 1)
	}
	o.StateDir = inv.stateDir

	var out io.Writer
	switch {
	case v.background():
		out = verdictWriter{v, 1}
	default:
		out = os.Stdout
	}
	if inv.quiet || inv.logFile != "" && !v.background() {
		out = nil
	}
	con, err := newConsole(out, inv.logFile)
	if err != nil {
		return refuse(err, 1)
	}
	defer con.Close()

	// A console that nobody reads any more is an error to be seen by the
	// one who writes to it, and no reason for the station to die.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	if !inv.interactive {
		signal.Notify(signals, os.Interrupt)
	}

	s, err := openStation(o, "")
	if err != nil {
		return refuse(err, 1)
	}
	defer s.state.Close()
	lines := s.lines
	sayLimits(s.Station, o)
	done := make(chan error, 1)
	go func() {
		_, err := s.Run(context.Background())
		done <- err
	}()
	if err := configure(s.Station, inv.config, true); err != nil {
		s.Stop("the configuration could not be read")
		<-done
		return refuse(err, shell.ErrorStatus(err))
	}

	// What has been said until now belongs to the start; the terminal
	// gets what comes later.
	label := s.Label()
	for pending := true; pending; {
		select {
		case e, ok := <-lines.C():
			if pending = ok; ok {
				con.Line(e.Time, e.Line(label))
			}
		default:
			pending = false
		}
	}
	con.do(func() {})
	if v.background() {
		if inv.quiet || inv.logFile != "" || !isTerminal(os.Stdout) {
			con.redirect(nil, false)
		} else {
			con.redirect(os.Stdout, true)
		}
		v.end(0)
	}
	sdNotify("READY=1")

	printed := make(chan struct{})
	go func() {
		defer close(printed)
		for e := range lines.C() {
			con.Line(e.Time, e.Line(label))
			if n, _ := lines.Dropped(); n > 0 {
				con.Line(time.Now(), fmt.Sprintf("%d console lines dropped", n))
			}
		}
	}()
	left := make(chan struct{})
	if inv.interactive {
		go func() {
			defer close(left)
			attached(s.Station, con, out != nil)
		}()
	} else {
		close(left)
	}
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP && !inv.interactive {
				reload(s.Station, con, inv.config)
				continue
			}
			sdNotify("STOPPING=1")
			s.Stop("station stops")
		case err := <-done:
			<-printed
			<-left // the terminal is as it was
			if err != nil {
				return fail(os.Stderr, 1, "%v", err)
			}
			return 0
		}
	}
}

// absolute makes the paths of the options independent of the working folder,
// which may be another one when SIGHUP comes.
func (inv *invocation) absolute() (err error) {
	for _, p := range []*string{&inv.logFile, &inv.stateDir, &inv.config} {
		if *p != "" {
			if *p, err = filepath.Abs(*p); err != nil {
				return err
			}
		}
	}
	return nil
}

// attached is the shell of -i. Leaving it stops the station. The console lines
// that go to the terminal go through its editor, above the line being typed.
func attached(s *engine.Station, con *console, watch bool) {
	defer s.Stop("station stops")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	shell.Interactive(ctx, shell.Options{Station: shell.Station{Name: s.Label()}, Dial: inProcess(s)}, func(async io.Writer) {
		if watch {
			con.redirect(async, false)
		}
	})
	if watch {
		con.redirect(os.Stdout, false)
	}
}

// inProcess connects a shell to the station of its own process.
func inProcess(s *engine.Station) func(context.Context, func(control.Line)) (*control.Client, error) {
	return func(ctx context.Context, event func(control.Line)) (*control.Client, error) {
		return control.NewClient(ctx, s.Control().Connect(), control.ClientOptions{Product: shell.Product, Event: event})
	}
}

// reload is what SIGHUP asks for. What is wrong is said on the console, and
// what was before goes on.
func reload(s *engine.Station, con *console, config string) {
	sdReloading()
	err := errors.Join(con.reopen(), s.Control().Reload(), configure(s, config, false))
	text := "Reloaded"
	if err != nil {
		text = "Reload: " + err.Error()
	}
	s.Events().Publish(event.Event{Time: time.Now(), Kind: event.Station, Text: text, Console: true, Live: true})
	sdNotify("READY=1")
}

// configure runs the lines of a configuration as its owner: of the file that
// -c names, else of the one in the state folder, where there is one. A listener
// or setting that is there already is no error when it is read again, nor is
// one of the state folder's that an option has brought.
func configure(s *engine.Station, path string, start bool) error {
	again := !start
	if path == "" {
		path, again = filepath.Join(s.StateDir(), command.ConfigFile), true
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && start {
		s.Events().Publish(event.Event{Time: time.Now(), Kind: event.Station, Console: true, Live: true,
			Text: fmt.Sprintf("No configuration %s yet; write makes it", path)})
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	client, err := control.NewClient(context.Background(), s.Control().Configure(), control.ClientOptions{Product: shell.Product})
	if err != nil {
		return err
	}
	return shell.Configure(context.Background(), client, path, f, again)
}

// sayLimits tells when the system allows fewer open files than the options
// allow sessions: better known at start than found out by a router.
func sayLimits(s *engine.Station, o engine.Options) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	need := uint64(listen.MaxWaiting + 256) // connections that say nothing; consoles, files
	for _, l := range o.Listen {
		need += uint64(l.Limit)
	}
	if limit.Cur < need {
		s.Events().Publish(event.Event{Time: time.Now(), Kind: event.Station, Console: true, Live: true,
			Text: fmt.Sprintf("Open files are limited to %d, and the sessions allowed may need %d (ulimit -n)", limit.Cur, need)})
	}
}
