package shell

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bmp/proto/control"
	"bmp/shell/edit/edittest"
)

func TestSeveralStations(t *testing.T) {
	other := func(t *testing.T) *fakeStation {
		f := newStation(t, control.RoleAdmin)
		return f
	}
	run(t, []scenario{
		{"attach, ask, go back, detach", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			g := other(t)
			c.Type("attach unix:" + g.path + " as edge\r")
			c.Ends("bmp[edge]#")
			c.Type("show client 2\r")
			c.Ends("client 2 .\nbmp[edge]#")
			if f.asked("show client 2") || !g.asked("show client 2") {
				t.Error("the wrong station was asked")
			}
			c.Type("attach unix:" + f.path + "\r")
			c.Ends("bmp#")
			c.Type("on edge show client 1 peer \t")
			c.Ends("on edge show client 1 peer 10.0.")
			c.Type("\x15detach e\t\r")
			c.Ends("bmp# detach edge\nbmp#")
			c.Type("detach\r")
			c.Ends("bmp(detached)>")
			c.Type("show clients\r")
			c.Ends("% Not attached to a station (try 'attach TARGET' or 'help')\nbmp(detached)>")
		}},
		{"on all: rows carry the name, one that fails hides no other", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			g, h := other(t), other(t)
			c.Type("attach unix:" + g.path + " as edge\r")
			c.Ends("bmp[edge]#")
			c.Type("attach unix:" + h.path + " as core\r")
			c.Ends("bmp[core]#")
			c.Type("detach unix:\t\rattach edge\r")
			c.Ends("bmp[edge]#")
			c.Type("on all show clients | exclude edge2\r")
			c.Ends("edge      1  edge1\ncore      1  edge1\nbmp[edge]#")
			c.Type("on all show clients | first 1\r")
			c.Ends("Station  ID  Name\nedge      1  edge1\ncore      1  edge1\nbmp[edge]#")
			c.Type("on all show clients | json lines\r")
			c.Holds(`{"station":"edge","id":"1","name":"edge1"}`)
			c.Holds(`{"station":"core","id":"2","name":"edge2"}`)
			g.stop()
			c.Until("it is gone", func(text string) bool { return strings.HasSuffix(text, "bmp[edge](gone)>") })
			c.Type("on all show clients | count\r")
			c.Until("the other", func(text string) bool {
				return strings.Contains(text, "% edge: No connection to unix:") && strings.Contains(text, "core     Count: 2\nbmp[edge](gone)>")
			})
		}},
		{"events say which station they are of", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			g := other(t)
			c.Type("attach unix:" + g.path + " as edge\r")
			c.Ends("bmp[edge]#")
			c.Type("debug client 1\r")
			c.Ends("bmp[edge](1dbg)#")
			g.came("following")
			c.Type("attach unix:" + f.path + "\r")
			c.Ends("bmp#")
			g.emit("an event")
			c.Holds("[edge] an event")
		}},
		{"read-only", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			g := other(t)
			c.Type("attach unix:" + g.path + " as edge ro\r")
			c.Ends("bmp[edge]>")
			c.Type("clear client 1\r")
			c.Ends("% 'clear client' changes something, and edge is attached read-only\nbmp[edge]>")
			c.Type("attach | columns Name,Role\r")
			c.Ends("  ro\nbmp[edge]>")
		}},
		{"no such station", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("attach 4711\r")
			c.Ends("% No server running on port: 4711\nbmp#")
			c.Type("attach unix:/nowhere/s\r")
			c.Ends("% No connection to unix:/nowhere/s: no such file or directory\nbmp#")
			c.Type("on nobody show clients\r")
			c.Ends("% Not attached to 'nobody'\nbmp#")
		}},
	})
}

func TestLogin(t *testing.T) {
	f := newStation(t, control.RoleView)
	c := shellOn(t, f, 80, 24)
	c.Type("clear client 1\r")
	c.Ends("% 'clear client' needs the role admin, this is view (see 'auth')\nbmp>")
	c.Type("auth\r")
	c.Ends("bmp> auth\nSecret:")
	c.Type("wrong\r")
	c.Ends("% Authentication failed\nbmp>")
	c.Type("auth\r")
	c.Ends("Secret:")
	c.Type("s3cretx\x7f\r")
	c.Ends("Authenticated role=admin\nbmp#")
	if strings.Contains(c.Written(), "s3cret") {
		t.Error("the secret was shown")
	}
	c.Type("auth token s3cret\r")
	c.Ends("bmp#")
	c.Type("\x04")
	c.Exits(0)
	history, err := os.ReadFile(filepath.Join(c.Cmd.Dir, "state/bmp/history"))
	if err != nil || strings.Contains(string(history), "s3cret") {
		t.Errorf("history %q, %v", history, err)
	}
}

func TestEditors(t *testing.T) {
	run(t, []scenario{
		{"from one to the other and back", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show clients\r")
			c.Ends("edge2\nbmp#")
			c.Type("terminal editor popup\r")
			c.Until("the suggestions' editor", func(text string) bool { return strings.Contains(text, "editor popup\nbmp#") })
			c.Type("show client ")
			c.Until("suggestions", func(text string) bool { return strings.Contains(text, "192.0.2.1:4711 edge1 up") })
			c.Type("1\r")
			c.Holds("client 1 .\nbmp#")
			c.Type("block\r")
			f.came("block")
			c.Type("\x03")
			c.Holds("% Cancelled\nbmp#")
			c.Type("terminal editor plain\r")
			c.Ends("terminal editor plain\nbmp#")
			c.Type("show client 1 ?\r")
			c.Holds("one peer")
			c.Type("block\r")
			f.came("block")
			c.Type("\x03")
			c.Until("cancelled", func(text string) bool { return strings.HasSuffix(text, "% Cancelled\nbmp#") })
			c.Type("terminal editor readline\r")
			c.Ends("terminal editor readline\nbmp#")
			c.Type(strings.Repeat("\x1b[A", 8) + "\r")
			c.Until("the first line again", func(text string) bool { return strings.HasSuffix(text, " 2  edge2\nbmp#") })
		}},
		{"popup keeps the half-typed line while the station is away", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("terminal editor popup\r")
			c.Until("the editor", func(text string) bool { return strings.Contains(text, "editor popup\nbmp#") })
			c.Type("show clie")
			c.Holds("bmp# show clie")
			f.end()
			c.Holds("bmp(gone)> show clie")
			f.start()
			c.Until("it is back", func(text string) bool { return strings.Count(text, "bmp# show clie") >= 2 })
			c.Type("nts\r")
			c.Holds(" 2  edge2\nbmp#")
			c.Type("terminal editor readline\r")
			c.Ends("bmp#")
		}},
	})
	t.Run("TERM=dumb", func(t *testing.T) {
		f := newStation(t, control.RoleAdmin)
		c := shellOn(t, f, 80, 24, "TERM=dumb")
		c.Type("show clients\r")
		c.Ends(" 2  edge2\nbmp#")
		if text := c.Written(); strings.Contains(text, "\x1b") {
			t.Errorf("escape sequences: %q", text)
		}
		c.Type("\x04")
		c.Exits(0)
	})
	t.Run("NO_COLOR", func(t *testing.T) {
		f := newStation(t, control.RoleAdmin)
		for _, env := range []string{"NO_COLOR=1", "X=1"} {
			c := shellOn(t, f, 80, 24, env)
			c.Type("bogus\r")
			c.Ends("help')\nbmp#")
			if colored := strings.Contains(c.Written(), colorRed); colored != (env == "X=1") {
				t.Errorf("%s: coloured %v", env, colored)
			}
			c.Type("\x04")
			c.Exits(0)
		}
	})
}

func TestRC(t *testing.T) {
	f := newStation(t, control.RoleAdmin)
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "bmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	rc := "! settings\nalias sc = show clients | no-header\nterminal timing on\n\nbogus\nterminal length 9\n"
	if err := os.WriteFile(filepath.Join(folder, "bmp/rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	c := shellOn(t, f, 80, 24, "XDG_CONFIG_HOME="+folder)
	c.Until("the error of its fifth line", func(text string) bool {
		return strings.Contains(strings.ReplaceAll(text, "\n", ""), "bmp/rc:5: Invalid command: bogus")
	})
	c.Type("sc | exclude edge2\r")
	c.Until("the alias, timed", func(text string) bool { return strings.Contains(text, " 1  edge1\n1 rows, ") })
	c.Type("show terminal | include length\r")
	c.Holds("length     9")
	c.Type("\x04")
	c.Exits(0)
}

// A shell that is far from its station answers keywords and ? at once.
func TestFarStation(t *testing.T) {
	f := newStation(t, control.RoleAdmin)
	f.delay.Store(int64(200 * time.Millisecond))
	c := shellOn(t, f, 80, 24)
	began := time.Now()
	c.Type("sh\tcl\t?")
	c.Ends("bmp# show client?\n  client   one client\n  clients  all clients\nbmp# show client")
	c.Type("x\r")
	c.Holds("% Invalid command: show clientx")
	t.Logf("keywords, ? and an error took %v", time.Since(began))
	if len(f.lines) > 0 {
		t.Errorf("the station was asked %q", f.lines)
	}
	c.Type("show client 1 peer \t\t")
	c.Holds("10.0.0.2  AS65002 down hold timer expired")
	c.Type("\x15\x04")
	c.Exits(0)
}

// pipe gives lines to a shell that no terminal is near.
func pipe(t *testing.T, f *fakeStation, lines string) (stdout, stderr string, status int) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BMP_SHELL_CHILD=unix:"+f.path, "HOME="+home, "BMP_RUNTIME_DIR="+home)
	cmd.Stdin = strings.NewReader(lines)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Dir = home
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// One command of the command line may be a word of the shell, or write a file.
func TestOneShotOfTheShell(t *testing.T) {
	f := newStation(t, control.RoleAdmin)
	file := filepath.Join(t.TempDir(), "out")
	tests := []struct {
		line, stdout, stderr string
		status               int
	}{
		{"watch count 2 every 100ms show client 1", "client 1 .\n\nclient 1 .\n", "", 0},
		{"show clients | no-header | save " + file, "", "", 0},
		{"show client 9 | append " + file, "", "% No client '9'\n", 1},
		{"help show clients | first 1", "show clients\n", "", 0},
		{"on all show clients | no-header | first 1", "unix:" + f.path + "   1  edge1\n", "", 0},
		{"no alias x", "", "% No alias 'x'\n", 1},
		{"attach nowhere:x", "", "% 'nowhere:x' is no target: expected PORT, HOST:PORT, unix:PATH, tls:HOST:PORT or nats://HOST[/STATION]\n", 2},
	}
	for _, tt := range tests {
		var out, errs strings.Builder
		status := OneShot(t.Context(), Command{Target: "unix:" + f.path, Line: tt.line, Stdout: &out, Stderr: &errs})
		if out.String() != tt.stdout || errs.String() != tt.stderr || status != tt.status {
			t.Errorf("%s: stdout %q, stderr %q, status %d; want %q, %q, %d", tt.line, out.String(), errs.String(), status, tt.stdout, tt.stderr, tt.status)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != " 1  edge1\n 2  edge2\n" {
		t.Errorf("saved %q, %v", got, err)
	}
}

func TestPipe(t *testing.T) {
	f := newStation(t, control.RoleAdmin)
	tests := []struct {
		name, lines, stdout, stderr string
		status                      int
	}{
		{"rows, no prompt, no pager", "show clients | no-header\nrows 30 | last 1\n", " 1  edge1\n 2  edge2\nrow 30\n", "", 0},
		{"an error names the word", "show client 1 peer x\n", "", "% Invalid input 'x': expected A.B.C.D, X:X::X:X, an ID or RD/address\n", 2},
		{"the status is that of the last", "bogus\nshow client 9\n", "", "% Invalid command: bogus (try 'help')\n% No client '9'\n", 1},
		{"nobody is asked for confirmation", "clear client 1\n", "", "", 0},
		{"watch prints one after the other", "watch count 2 every 100ms show client 1\n", "client 1 .\n\nclient 1 .\n", "", 0},
		{"watch diff prints what changed", "watch count 2 every 100ms diff show client 1\n", "  client 1 .\n", "", 0},
		{"a filter that lets nothing through", "show clients | include nothing\n", "", "", 1},
		{"control characters", "show\x01 clients\n", "", "% Invalid input: control character at byte 5\n", 2},
		{"a line too long", "show client " + strings.Repeat("x", 9000) + "\n", "", "% Line too long: 9012 bytes, at most 8192\n", 2},
		{"a line of 2 MB", strings.Repeat("x", 2<<20) + "\nshow client 1\n", "client 1 .\n", "% Line too long\n", 0},
		{"an error in JSON", "show client 9 | json\n", "", `{"error":"No client '9'","code":404}` + "\n", 1},
		{"the station dies", "die\n", "the first row\n", "", 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, status := pipe(t, f, tt.lines)
			if stdout != tt.stdout || status != tt.status || stderr != tt.stderr && tt.name != "the station dies" {
				t.Errorf("stdout %q\nstderr %q\nstatus %d\nwant %q, %q, %d", stdout, stderr, status, tt.stdout, tt.stderr, tt.status)
			}
		})
	}
}
