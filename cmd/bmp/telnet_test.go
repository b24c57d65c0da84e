package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"bmp/cmd/internal/sim"
	"bmp/shell/edit/edittest"
)

// telnet starts the system's telnet client on a pseudo-terminal, connected to
// the station's control port.
func (r *running) telnet(t *testing.T, args ...string) *edittest.Child {
	t.Helper()
	program, err := exec.LookPath("telnet")
	if err != nil {
		t.Skip("no telnet client (Debian package telnet)")
	}
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir = r.env, t.TempDir()
	return edittest.Start(t, cmd, 100, 24)
}

func TestTelnetClient(t *testing.T) {
	r := startStation(t)
	r.routers(sim.Options{Routers: 1, Peers: 3, Routes: 100})
	port := strconv.Itoa(r.port + 1)

	t.Run("line by line", func(t *testing.T) {
		c := r.telnet(t, "127.0.0.1", port)
		c.Holds("\n201 bmp")
		c.Type("show clients | count\r")
		c.Ends("show clients | count\n100-Count: 1\n200 1 rows")
		c.Type("show client 9\r")
		c.Ends("404 No client '9'")
		// What the terminal makes of Backspace and of Ctrl-C.
		c.Type("show clientsx\x7f | columns Name\r")
		c.Ends("101-Name\n100-sim1\n200 1 rows")
		c.Type("debug client 1\r")
		c.Ends("203 Subscribed id=1")
		c.Type("\x03")
		c.Type("undebug all\r")
		c.Ends("200 1 subscription ended")
		c.Type("attach 2222\r")
		c.Ends("403 'attach' works only in the shell (bmp shell)")
		c.Type("exit\r")
		c.Until("the end", func(text string) bool { return strings.HasSuffix(text, "205 Bye\nConnection closed by foreign host.") })
	})
	t.Run("Ctrl-C as the first word", func(t *testing.T) {
		c := r.telnet(t, "127.0.0.1", port)
		c.Holds("\n201 bmp")
		c.Type("\x03")
		c.Type("show clients | count\r")
		c.Ends("100-Count: 1\n200 1 rows")
	})
	for name, open := range map[string]func(t *testing.T) *edittest.Child{
		"asked for": func(t *testing.T) *edittest.Child {
			c := r.telnet(t, "127.0.0.1", port)
			c.Holds("\n201 bmp")
			c.Type("terminal interactive\r")
			return c
		},
		"by negotiation": func(t *testing.T) *edittest.Child { return r.telnet(t, "--", "127.0.0.1", "-"+port) },
	} {
		t.Run("the editor, "+name, func(t *testing.T) {
			c := open(t)
			c.Ends("200 Interactive\nbmp>")
			c.Type("sh\tcl\t 1 peer 10.0.0.\t")
			c.Ends("  10.0.0.1  AS64512 up\n  10.0.0.2  AS64513 up\n  10.0.0.3  AS64514 up\nbmp> show client 1 peer 10.0.0.")
			c.Type("2 routes loc?")
			c.Holds("  loc-rib     a view of the RIB")
			c.Type("\x15show clients | count\r")
			c.Ends("bmp> show clients | count\nCount: 1\nbmp>")
			c.Type("\x1b[A\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x7f 1\x0b | begin Routes\r") // history, edited in its middle
			c.Holds("bmp> show client 1 | begin Routes\nRoutes\n  adj-in-pre")
			c.Type("show client 1 peer 10.0.0.1 routes\r")
			c.Until("the pager", func(text string) bool { return strings.HasSuffix(text, "\n--More-- (space, Enter, q, /)") })
			c.Type("q")
			c.Ends("bmp>")
			// A long line wraps where the window ends, and again where it ends then.
			line := "find " + strings.Repeat("0123456789", 12)
			c.Type(line)
			c.Ends(("bmp> " + line)[:100] + "\n" + ("bmp> " + line)[100:])
			c.Type("\x15")
			c.Ends("bmp>")
			c.Resize(60, 20)
			c.Type("show terminal | include width|length\r")
			c.Ends("length     20 (of the terminal)\nwidth      60 (of the terminal)\nbmp>")
			c.Type(line)
			c.Ends(("bmp> " + line)[:60] + "\n" + ("bmp> " + line)[60:120] + "\n" + ("bmp> " + line)[120:])
			c.Type("\x03")
			c.Ends("^C\nbmp>")
			c.Type("find zürich\r")
			c.Ends("% No command about 'zürich'\nbmp>")
			c.Type("watch every 100ms show bgp all | count\r")
			c.Holds("Count: 300")
			c.Type("\x03")
			c.Ends("bmp>")
			c.Type("terminal plain\r")
			c.Ends("200 Plain lines")
			c.Type("show clients | count\r")
			c.Ends("show clients | count\n100-Count: 1\n200 1 rows") // echoed once, by the client
			c.Type("terminal interactive\r")
			c.Ends("200 Interactive\nbmp>")
			c.Type("show cl\t\texit\x17\x15exit\r")
			c.Holds("Connection closed by foreign host.")
			c.Exits(0)
		})
	}
	t.Run("the connection is closed by the escape key", func(t *testing.T) {
		c := r.telnet(t, "127.0.0.1", port)
		c.Holds("\n201 bmp")
		c.Type("terminal interactive\r")
		c.Ends("bmp>")
		c.Type("show cl\x1d")
		c.Ends("telnet>")
		c.Type("quit\r")
		c.Exits(0)
		r.until("no console is left", "show sessions | exclude -i unix | count", "Count: 0")
	})
}

// Events come above the line that is being typed, and a debug with filters is
// counted by itself.
func TestTelnetFollows(t *testing.T) {
	r := startStation(t)
	r.routers(sim.Options{Routers: 1, Peers: 1, Routes: 100, PerUpdate: 1, Changes: -1, Rate: 2})
	c := r.telnet(t, "127.0.0.1", strconv.Itoa(r.port+1))
	c.Holds("\n201 bmp")
	c.Type("terminal interactive\r")
	c.Ends("200 Interactive\nbmp>")
	wrote := func(what string) {
		t.Helper()
		c.Until(what, func(string) bool { return strings.Contains(c.Written(), what) })
	}
	c.Type("debug client 1\r")
	wrote("Subscribed id=")
	c.Type("show clients | cou")
	seen := strings.Count(c.Written(), " peer 10.0.0.1 ")
	c.Until("an event above the line typed", func(text string) bool {
		return strings.Count(c.Written(), " peer 10.0.0.1 ") > seen && strings.HasSuffix(text, "\nbmp(1dbg)> show clients | cou")
	})
	c.Type("nt\r")
	wrote("Count: 1\r")
	c.Type("debug client 1 | first 2 | count\r")
	wrote("Count: 2\r")
	c.Until("the prompt", func(text string) bool { return strings.HasSuffix(text, "\nbmp(1dbg)>") })
	c.Type("undebug all\r")
	wrote("1 subscription ended")
	c.Until("the prompt", func(text string) bool { return strings.HasSuffix(text, "\nbmp>") })
	c.Type("exit\r")
	c.Exits(0)
}

func TestNetcat(t *testing.T) {
	r := startStation(t)
	nc, err := exec.LookPath("nc")
	if err != nil {
		t.Skip("no nc (Debian package netcat-openbsd)")
	}
	ask := func(in string) string {
		cmd := exec.Command(nc, "-N", "127.0.0.1", strconv.Itoa(r.port+1))
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		_, out2, _ := strings.Cut(string(out), "\r\n") // the greeting
		return out2
	}
	for in, want := range map[string]string{
		"show clients\n":                          "101-ID    Address:Port            Uptime    Peers  Messages     Data    Routes  Name\r\n200 0 rows\r\n",
		"show clients | count":                    "100-Count: 0\r\n200 1 rows\r\n",
		"show client 1\nshow clients | count\r\n": "404 No client '1'\r\n100-Count: 0\r\n200 1 rows\r\n",
		"exit\nshow clients\n":                    "205 Bye\r\n",
	} {
		if got := ask(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	// Whoever asks for the editor and has no terminal gets it, and its end.
	if got := ask("terminal interactive\nshow clients | count\nexit\n"); !strings.Contains(got, "\r\nCount: 0\r\n") {
		t.Errorf("%q", got)
	}
}

// The consoles of one listener are 32, the next one is told; the Unix socket is
// another listener.
func TestManyConsoles(t *testing.T) {
	r := startStation(t)
	addr := fmt.Sprintf("127.0.0.1:%d", r.port+1)
	var open []net.Conn
	for range 32 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.WriteString(c, "terminal interactive\r\nshow clients | count\r\n"); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for i, c := range open {
		var got strings.Builder
		b := make([]byte, 4096)
		for !strings.Contains(got.String(), "\r\nCount: 0\r\n") {
			n, err := c.Read(b)
			got.Write(b[:n])
			if err != nil {
				t.Fatalf("console %d: %v after %q", i, err, got.String())
			}
		}
	}
	late, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	late.SetDeadline(time.Now().Add(30 * time.Second))
	if said, err := io.ReadAll(late); err != nil || !strings.HasPrefix(string(said), "429 ") {
		t.Errorf("the 33rd: %q, %v", said, err)
	}
	r.until("all are listed", "show sessions | count", "Count: 33")
	for _, c := range open {
		c.Close()
	}
	r.until("they have ended", "show sessions | count", "Count: 1")
}
