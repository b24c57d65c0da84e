package command

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"bmp/engine"
	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/engine/listen"
	"bmp/proto/control"
)

var update = flag.Bool("update", false, "write what is printed into the transcripts")

// waitFor waits until a condition holds.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// testStation is a running station with its control server and one console on it.
type testStation struct {
	*engine.Station
	t       testing.TB
	handler *Handler
	console *control.Client
	events  chan control.Line
	routers map[string]*router
	marks   map[string]string // moments of a transcript
}

func startStation(t testing.TB, o engine.Options) *testStation {
	t.Helper()
	ts := &testStation{t: t, events: make(chan control.Line, 1000), routers: make(map[string]*router), marks: make(map[string]string)}
	o.Version = "0.0.0-test"
	o.Commands = func(s *engine.Station) control.Handler {
		ts.handler = New(s, Options{})
		return ts.handler
	}
	if o.Listen == nil {
		o.Listen = []listen.Spec{{Addr: netip.MustParseAddr("127.0.0.1")}}
	}
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	if o.Claim == nil {
		// The port that a claim is for says where the control port would be: none here.
		claim, err := engine.ClaimStation(t.TempDir(), "test", 1)
		if err != nil {
			t.Fatal(err)
		}
		o.Claim, o.NoLoopback = claim, true
	}
	s, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ts.Station = s
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	ts.console = ts.connect(control.ClientOptions{Event: func(l control.Line) {
		select {
		case ts.events <- l:
		default:
		}
	}})
	return ts
}

// connect opens a console with the rights of an admin.
func (ts *testStation) connect(o control.ClientOptions) *control.Client {
	ts.t.Helper()
	c, err := control.NewClient(ts.t.Context(), ts.Control().Connect(), o)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { c.Close() })
	if v, err := c.Hello(ts.t.Context(), control.Hello{Zone: "UTC"}); err != nil || v.Err() != nil {
		ts.t.Fatal(err, v)
	}
	return c
}

// router is the router of a name, connected from an address of its own.
func (ts *testStation) router(name string) *router {
	ts.t.Helper()
	r := ts.routers[name]
	if r == nil {
		r = dialRouter(ts.t, ts.Station, fmt.Sprintf("127.0.0.%d", 11+len(ts.routers)))
		ts.routers[name] = r
	}
	return r
}

// type1 types a line on the console and returns all that is printed: rows, and
// the verdict where it says more than how many.
func (ts *testStation) typed(line string) (string, control.Verdict) {
	ts.t.Helper()
	var b strings.Builder
	v, err := ts.console.Do(ts.t.Context(), line, func(l control.Line) error {
		b.WriteString(l.Text + "\n")
		return nil
	})
	if err != nil {
		ts.t.Fatalf("%s: %v", line, err)
	}
	switch {
	case v.Err() != nil && v.Col > 0:
		fmt.Fprintf(&b, "%% %d @%d+%d %s\n", v.Code, v.Col, v.Len, v.Text)
	case v.Err() != nil:
		fmt.Fprintf(&b, "%% %d %s\n", v.Code, v.Text)
	case !regexp.MustCompile(`^\d+ rows?$`).MatchString(v.Text):
		fmt.Fprintf(&b, "(%d %s)\n", v.Code, v.Text)
	}
	return b.String(), v
}

// stable replaces what differs from run to run by as many letters.
func (ts *testStation) stable(text string) string {
	port := fmt.Sprint(ts.Listeners()[0].Addr().Port())
	text = regexp.MustCompile(`\b`+port+`\b`).ReplaceAllString(text, "PORT1"[:len(port)])
	for _, x := range []struct{ re, with string }{
		{`(127\.0\.0\.\d+):\d{5}\b`, "$1:PPPPP"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "DATE"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? UTC`, "MOMENT"},
		{`\d\d:\d\d:\d\d\.\d{3}`, "hh:mm:ss.mmm"},
		{`\b\d\d:\d\d:\d\d\b`, "HH:MM:SS"},
		{`(BMP Server pid      : )\d+`, "${1}PID"},
		{`(Total memory usage  : )\S+`, "${1}MEMORY"},
		{`(Read lag            : )\S+`, "${1}LAG"},
		{`(Read queue          : )\S+`, "${1}QUEUE"},
		{`(Memory limit        : )\S+`, "${1}LIMIT"},
		{`(Route store         : ).*`, "${1}STORE"},
		{`\buid \d+`, "uid N"},
		{`\(there are: .*\)|\(there are none\)`, "(there are: NAMESPACES)"},
		{`/\S*/(test\.sock|config)\b`, "DIR/$1"},
		{`(?m)[ \t]+$`, ""},
	} {
		text = regexp.MustCompile(x.re).ReplaceAllString(text, x.with)
	}
	return text
}

// TestTranscripts plays every archive of testdata against a station of its own,
// file by file: "router NAME" is what that router sends, "console" what is typed
// after "bmp# " and must be printed, "mark NAME" a moment that $NAME stands for in what is typed. A transcript that says so
// at its head has a station with an archive.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var o engine.Options
			if strings.Contains(string(a.Comment), "with an archive") {
				o.Archive = &archive.Options{}
			}
			ts := startStation(t, o)
			changed := false
			for i := range a.Files {
				f := &a.Files[i]
				kind, name, _ := strings.Cut(f.Name, " ")
				switch kind {
				case "router":
					r := ts.router(name)
					r.play(ts.Station, string(f.Data))
					if r.client(ts.Station).Brief().State == client.Down {
						delete(ts.routers, name) // the next time it connects again
					}
				case "mark":
					ts.mark(name)
				case "console":
					got := ts.stable(ts.replay(string(f.Data)))
					if got == string(f.Data) {
						continue
					}
					if *update {
						f.Data, changed = []byte(got), true
						continue
					}
					t.Errorf("%s, %s:\n--- want\n%s--- got\n%s", file, f.Name, f.Data, got)
				default:
					t.Fatalf("%s: what is %q?", file, f.Name)
				}
			}
			if changed {
				if err := os.WriteFile(file, bytes.TrimRight(txtar.Format(a), "\n "), 0o644); err != nil {
					t.Fatal(err)
				}
				f, _ := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
				f.WriteString("\n")
				f.Close()
			}
		})
	}
}

// mark remembers a moment that nothing else happens at.
func (ts *testStation) mark(name string) {
	ts.t.Helper()
	past := func() func() bool {
		t := time.Now()
		return func() bool { return time.Since(t) > 2*time.Millisecond }
	}
	waitFor(ts.t, "the clock to go on", past())
	ts.marks[name] = time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
	waitFor(ts.t, "the clock to go on", past())
}

// replay types the lines of a console file again and returns what the file
// should be.
func (ts *testStation) replay(text string) string {
	ts.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "# ") {
			b.WriteString(line + "\n")
			continue
		}
		typed, ok := strings.CutPrefix(line, "bmp# ")
		if !ok {
			continue
		}
		for name, at := range ts.marks {
			typed = strings.ReplaceAll(typed, "$"+name, at)
		}
		out, _ := ts.typed(typed)
		b.WriteString(line + "\n" + out)
	}
	return b.String()
}
