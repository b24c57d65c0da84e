package shell

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"bmp/proto/control"
)

func TestConsole(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, c *consoles, x *telnetClient)
	}{
		{"a command, and its answer", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("show clients\r")
			x.Ends("bmp# show clients\nID  Name\n 1  edge1\n 2  edge2\nbmp#")
		}},
		{"Enter as CR NUL, as CR LF and as LF", func(t *testing.T, c *consoles, x *telnetClient) {
			x.send("show client 1\r\x00show client 2\r\nshow clients | count\n")
			x.Ends("bmp# show client 1\nclient 1 .\nbmp# show client 2\nclient 2 .\nbmp# show clients | count\nCount: 2\nbmp#")
		}},
		{"CR and LF apart", func(t *testing.T, c *consoles, x *telnetClient) {
			x.send("show client 1\r")
			x.Ends("client 1 .\nbmp#")
			x.send("\nshow client 2\r")
			x.Ends("client 1 .\nbmp# show client 2\nclient 2 .\nbmp#")
		}},
		{"completion and its table, with live values", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("sh\tcl\t 1 peer \t\t")
			x.Ends("  10.0.0.1  AS65001 up 3d04h\n  10.0.0.2  AS65002 down hold timer expired\n  10.0.1.1  AS65003 up\nbmp# show client 1 peer 10.0.")
		}},
		{"a question mark", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("show client 1 ?")
			x.Ends("bmp# show client 1 ?\n  peer   one peer\n  peers  its peers\n  |      filter the output\n  <cr>\nbmp# show client 1")
		}},
		{"history by the arrow key, and listed", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("show client 1\r")
			x.Ends("client 1 .\nbmp#")
			x.Type("\x1b[A\x1b[D2\r")
			x.Ends("% No client '21'\nbmp#")
			x.Type("show history\r")
			x.Ends("    1  show client 1\n    2  show client 21\n    3  show history\nbmp#")
		}},
		{"more than may wait to be looked at", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("rows 1000000\r")
			x.Ends("--More-- (space, Enter, q, /)")
			c.came("no more rows")
			x.Type("/nothing\r")
			x.Ends("% Not found: nothing\n% Stopped: more than 8 MB waited to be looked at (filter it, or use '| no-more')\nbmp#")
		}},
		{"what is followed, and what goes on beside it", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("terminal monitor\r")
			x.Ends("a console line\nbmp#")
			x.Type("debug client 1\r")
			c.came("following")
			x.Type("debug client 2 | count\r")
			c.came("following")
			c.emitOn(1, "one")
			c.emitOn(1, "two")
			c.emitOn(0, "of the other")
			x.Ends("debug client 2 | count\nof the other")
			x.Type("\x03")
			x.Ends("of the other\nCount: 2\nbmp(1dbg)#")
			x.Type("debug client 2 | json lines\r")
			c.came("following")
			c.emitOn(0, "of the other again")
			x.Ends("of the other again")
			c.emitOn(2, `{"prefix":"203.0.113.0/24"}`)
			x.Ends("\n{\"prefix\":\"203.0.113.0/24\"}")
			x.Type("\x03")
			x.Ends("bmp(1dbg)#")
			if !c.asked("debug client 2 json") {
				t.Errorf("the station heard %q", c.lines)
			}
		}},
		{"an error below its place", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("show clients | sort X desc nonsense\r")
			x.Until("a caret", func(text string) bool { return strings.Contains(text, "^\n% Invalid") })
		}},
		{"Ctrl-C ends a command, by each of its names", func(t *testing.T, c *consoles, x *telnetClient) {
			for i, key := range []string{"\x03", "\xff\xf4", "\xff\xf3", "\xff\xee", "\xff\xf4\xff\xf2", "\xff\xf4\xff\xfd\x06"} {
				x.Type("block\r")
				c.came("block")
				x.send(key)
				x.Until("it is cancelled", func(text string) bool {
					return strings.Count(text, "% Cancelled\nbmp#") == i+1 && strings.HasSuffix(text, "bmp#")
				})
			}
			if !strings.Contains(x.received(), "\xff\xfb\x06") {
				t.Error("the timing mark is not answered")
			}
		}},
		{"Ctrl-C goes ahead of the lines typed behind", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("block\r")
			c.came("block")
			x.send("show client 1\rshow client 2\r\xff\xf4")
			x.Ends("% Cancelled\nbmp#")
			x.Type("show clients | count\r")
			x.Ends("% Cancelled\nbmp# show clients | count\nCount: 2\nbmp#")
			if c.asked("show client 1") {
				t.Error("a line typed ahead ran after Ctrl-C")
			}
		}},
		{"Ctrl-C drops the line", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("show cl\x03")
			x.Ends("bmp# show cl^C\nbmp#")
		}},
		{"erase by telnet's commands", func(t *testing.T, c *consoles, x *telnetClient) {
			x.send("rubbish\xff\xf8show clientsx\xff\xf7 | count\r")
			x.Ends("bmp# show clients | count\nCount: 2\nbmp#")
		}},
		{"Are You There", func(t *testing.T, c *consoles, x *telnetClient) {
			x.send("\xff\xf6")
			x.Holds("[bmp]")
		}},
		{"the pager, by the size of the window", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("rows 60\r")
			x.Ends("row 22\nrow 23\n--More-- (space, Enter, q, /)")
			x.Type(" ")
			x.Ends("row 46\n--More-- (space, Enter, q, /)")
			x.Type("q")
			x.Ends("row 46\nbmp#")
			x.resize(80, 12)
			x.Type("rows 60\r")
			x.Ends("row 11\n--More-- (space, Enter, q, /)")
			x.Type("/55\r")
			x.Ends("row 55\nrow 56\nrow 57\nrow 58\nrow 59\nrow 60\nbmp#")
			x.Type("terminal length 0\rrows 60\r")
			x.Ends("row 59\nrow 60\nbmp#")
		}},
		{"a line wraps where the window ends, also after a resize", func(t *testing.T, c *consoles, x *telnetClient) {
			x.resize(20, 24)
			x.Type("find 0123456789abcdefghijk")
			x.Until("wrapped", func(text string) bool { return strings.HasSuffix(text, "bmp# find 0123456789\nabcdefghijk") })
			x.Type("\x15")
			x.resize(60, 24)
			x.Type("find 0123456789abcdefghijk")
			x.Until("not wrapped", func(text string) bool { return strings.HasSuffix(text, "bmp# find 0123456789abcdefghijk") })
		}},
		{"watch, and q", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("watch every 100ms show clients\r")
			x.Holds("Every 100ms: show clients")
			x.Holds("edge2")
			x.Type("q")
			x.prompts()
			x.Type("watch every 100ms show clients\r")
			x.Holds("Every 100ms: show clients")
			x.send("\xff\xf4")
			x.prompts()
		}},
		{"the words that help", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("find peers\r")
			x.Holds("show client CLIENT peers\n    its peers")
			x.Type("list | include terminal plain\r")
			x.Holds("\nterminal plain\n")
			x.Type("help show clients\r")
			x.Holds("show clients | count")
			x.Type("show terminal | include editor|length\r")
			x.Holds("editor     readline\nlength     24 (of the terminal)")
		}},
		{"what works only in the shell", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("terminal length 0\r")
			x.prompts()
			for _, line := range []string{"attach 2222", "on all show clients", "source /etc/passwd", "run health-check", "alias a = show clients",
				"detach", "terminal editor popup"} {
				x.Type(line + "\r")
				x.Until(line, func(text string) bool {
					return strings.Contains(text, "% '") && strings.HasSuffix(text, "' works only in the shell (bmp shell)\nbmp#") &&
						strings.Contains(text, "bmp# "+line+"\n%")
				})
			}
			for _, line := range []string{"show clients | save x", "show clients | append x"} {
				x.Type(line + "\r")
				x.Until(line, func(text string) bool {
					_, behind, ok := strings.Cut(text, line)
					return ok && strings.Contains(behind, "\n% ") && strings.HasSuffix(text, "\nbmp#")
				})
			}
			// The script language is words that nobody knows.
			x.Type("for c in 1 2; do show client $c; done\r")
			x.Ends("% Invalid command: for (try 'help')\nbmp#")
		}},
		{"debug, events above the line, undebug", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("debug client 1\r")
			c.came("following")
			x.Until("it is counted", func(text string) bool { return strings.HasSuffix(text, "\nbmp(1dbg)#") })
			x.Type("show cl")
			x.Ends("bmp(1dbg)# show cl")
			c.emit("an event")
			x.Ends("an event\nbmp(1dbg)# show cl")
			x.Type("\x15undebug\r")
			x.prompts()
		}},
		{"a confirmation", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("clear client 1\r")
			x.Holds("Clear client 1? [yes/no]")
			x.Type("no\r")
			x.prompts()
		}},
		{"exit", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("exit\r")
			x.closed()
		}},
		{"Ctrl-D", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("\x04")
			x.closed()
		}},
		{"plain lines, and the editor again", func(t *testing.T, c *consoles, x *telnetClient) {
			for range 3 {
				x.Type("terminal plain\r")
				x.Ends("bmp# terminal plain\n200 Plain lines")
				for _, o := range [][2]byte{{telnetWill, optionEcho}, {telnetWill, optionSGA}, {telnetDo, optionNAWS}} {
					if x.hasOn(o[0], o[1]) {
						t.Errorf("option %v is still on", o)
					}
				}
				x.Type("show clients | count\r\n")
				x.Ends("100-Count: 2\n200 1 rows")
				x.resize(x.cols()+1, 24)
				x.Type("terminal interactive\r\n")
				x.prompts()
				x.Type("show terminal | include width\r")
				x.Holds(fmt.Sprintf("width      %d (of the terminal)", x.cols()))
				x.prompts()
			}
		}},
		{"lines typed behind `terminal plain` are plain lines", func(t *testing.T, c *consoles, x *telnetClient) {
			x.send("terminal plain\r\nshow clients | count\r\nterminal interactive\r\nshow client 2\r\n")
			x.Holds("200 Plain lines\n100-Count: 2\n200 1 rows\n200 Interactive\n")
			x.Ends("client 2 .\nbmp#")
		}},
		{"a byte 255 is no text", func(t *testing.T, c *consoles, x *telnetClient) {
			x.send("show client 2\xff\xff1\r")
			x.Ends("bmp# show client 21\n% No client '21'\nbmp#")
		}},
		{"the end of input finishes what was typed", func(t *testing.T, c *consoles, x *telnetClient) {
			x.send("show client 1\rshow client 2\r")
			x.conn.CloseWrite()
			x.closed()
			x.Holds("client 2 .")
		}},
		{"the listing of consoles has one", func(t *testing.T, c *consoles, x *telnetClient) {
			list := c.server.Consoles()
			if len(list) != 1 || !list[0].Interactive || list[0].Who != x.conn.LocalAddr().String() {
				t.Errorf("%+v", list)
			}
		}},
		{"no mode is left in the terminal", func(t *testing.T, c *consoles, x *telnetClient) {
			x.Type("show clients\r")
			x.Ends("edge2\nbmp#")
			if strings.Contains(x.received(), "\x1b[?") {
				t.Errorf("a mode was set: %q", x.received())
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConsoles(t, control.RoleAdmin, nil)
			tt.do(t, c, interactive(t, c, 80, 24))
		})
	}
}

// A client that negotiates by itself gets the editor at once.
func TestConsoleByNegotiation(t *testing.T) {
	c := newConsoles(t, control.RoleView, nil)
	x := dialTelnet(t, c, 91, 33, usual)
	x.offers()
	x.prompts()
	x.Type("show terminal | include width|length\r")
	x.Ends("length     33 (of the terminal)\nwidth      91 (of the terminal)\nbmp>")
	for _, o := range []string{"\xff\xfe\x18", "\xff\xfe\x20", "\xff\xfe\x21", "\xff\xfe\x22", "\xff\xfe\x27", "\xff\xfc\x05"} {
		if !strings.Contains(x.received(), o) {
			t.Errorf("not refused: %q", o)
		}
	}
	// The secret is not seen, and raises the role.
	x.Type("auth\r")
	x.Ends("Secret:")
	x.Type("s3cret\r")
	x.Until("the prompt of an admin", func(text string) bool { return strings.HasSuffix(text, "\nbmp#") })
	if strings.Contains(x.received(), "s3cret") {
		t.Error("the secret was echoed")
	}
	// The role stays when the editor goes.
	x.Type("terminal plain\r")
	x.Ends("200 Plain lines")
	x.Type("clear client 1\r\n")
	x.Ends("200 Client 1 cleared")
}

// The port says nothing of telnet to who has not.
func TestConsoleStartsNoNegotiation(t *testing.T) {
	c := newConsoles(t, control.RoleView, nil)
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show clients\nterminal plain\nbogus\nexit\n"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(string(all), '\xff') || strings.ContainsRune(string(all), '\x1b') || strings.ContainsRune(string(all), 0) {
		t.Errorf("%q", all)
	}
	if !strings.HasSuffix(string(all), "205 Bye\r\n") {
		t.Errorf("%q", all)
	}
}

// A client that insists on its own echo would show each key twice: it keeps its lines.
func TestConsoleOfOwnEcho(t *testing.T) {
	c := newConsoles(t, control.RoleView, nil)
	x := dialTelnet(t, c, 80, 24, nil)
	x.Holds("201 bmp")
	x.Type("terminal interactive\r\nshow clients | count\r\n")
	x.Holds("200 Plain lines: the telnet client refuses remote echo\n")
	x.Ends("100-Count: 2\n200 1 rows")
	if text, _, _ := x.Text(); strings.Contains(text, "bmp>") {
		t.Errorf("a prompt:\n%s", text)
	}
}

// Somebody without telnet who asks for the editor has it all the same, and is not waited for.
func TestConsoleWithoutTelnet(t *testing.T) {
	c := newConsoles(t, control.RoleView, nil)
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "terminal interactive\nshow clients | count\nterminal plain\nshow clients | count\nexit\n"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(all); !strings.Contains(text, "\r\nCount: 2\r\n") || !strings.HasSuffix(text, "200 Plain lines\r\n100-Count: 2\r\n200 1 rows\r\n205 Bye\r\n") {
		t.Errorf("%q", text)
	}
}

// cols is how wide the window is.
func (x *telnetClient) cols() int {
	cols, _ := x.Size()
	return cols
}

func TestConsoleOfStrangeSize(t *testing.T) {
	c := newConsoles(t, control.RoleAdmin, nil)
	x := interactive(t, c, 10, 24)
	x.Type("show clients and more\x1b[D\x1b[Dx\x01\x05\x15show clients | count\r")
	x.Until("ten columns", func(text string) bool { return strings.HasSuffix(text, "Count: 2\nbmp#") })
	x.Type("sh ?\x15rows 30\r")
	x.Until("a short question", func(text string) bool { return strings.HasSuffix(text, "\n--More--") })
	x.Type("q")
	x.prompts()
	for len(c.seen) > 0 {
		<-c.seen
	}
	for _, size := range [][2]int{{0, 0}, {1, 1}, {65535, 65535}, {255, 255}, {0, 24}, {80, 0}, {3, 2}} {
		x.Resize(80, 24)
		x.naws(size[0], size[1])
		x.Type("watch every 100ms count 2 show clients\r")
		c.came("show clients")
		c.came("show clients")
		x.Until("the prompt", func(text string) bool { return strings.HasSuffix(text, "bmp#") && !strings.Contains(text, "watch") })
		x.Type("find nothingatall\r")
		x.Until(fmt.Sprint(size), func(text string) bool {
			return strings.Contains(strings.ReplaceAll(text, "\n", ""), "'nothingatall'bmp#")
		})
		x.Type("terminal length 0\r\x0c") // clears the screen
		x.Until("cleared", func(text string) bool { return strings.TrimSpace(text) == "bmp#" })
	}
	// Sizes that are none.
	x.resize(80, 24)
	x.send("\xff\xfa\x1f\xff\xf0\xff\xfa\x1f\x00\xff\xf0\xff\xfa\x1f\x00\x14\x00\x18\x00\xff\xf0\xff\xfa\xff\xf0\xff\xfa\x1f\x00\x14\x00")
	x.send("\xff\xfb\x63show terminal | include width\r") // the subnegotiation above never ended: a command ends it
	x.Holds("width      80 (of the terminal)")
}

// Rubbish of telnet harms nobody, and what is typed behind it is understood.
func TestConsoleOfRubbish(t *testing.T) {
	c := newConsoles(t, control.RoleAdmin, nil)
	x := interactive(t, c, 80, 24)
	var all strings.Builder
	for b := range 256 {
		if b < 0xec || b == 0xff { // single commands, but for those that are keys
			fmt.Fprintf(&all, "\xff%c", b)
		}
		for verb := byte(telnetWill); verb <= telnetDont && verb >= telnetWill; verb++ {
			if b == optionEcho || verb == telnetDont && b == optionSGA {
				continue
			}
			all.Write([]byte{telnetIAC, verb, byte(b)})
			if verb == telnetDont {
				break
			}
		}
		all.Write([]byte{telnetIAC, telnetSB, byte(b), telnetIAC, telnetSE})
	}
	all.WriteString("\xff\xfa" + strings.Repeat("x", 100_000) + "\xff\xf0")
	all.WriteString("\x15show clients | count\r")
	x.send(all.String())
	x.Ends("Count: 2\nbmp#")
}

// A client goes, at the worst of times: nothing of its console goes on.
func TestConsoleDisconnected(t *testing.T) {
	for name, do := range map[string]func(c *consoles, x *telnetClient){
		"at once":                    func(c *consoles, x *telnetClient) {},
		"in the negotiation":         func(c *consoles, x *telnetClient) { x.send("\xff\xfb\x1f\xff") },
		"in a subnegotiation":        func(c *consoles, x *telnetClient) { x.offers(); x.prompts(); x.send("\xff\xfa\x1f\x00") },
		"as it asks for the editor":  func(c *consoles, x *telnetClient) { x.Holds("201"); x.send("terminal interactive\r\n") },
		"as it asks for plain lines": func(c *consoles, x *telnetClient) { x.offers(); x.prompts(); x.send("terminal plain\r") },
		"at the prompt":              func(c *consoles, x *telnetClient) { x.offers(); x.prompts() },
		"in a line":                  func(c *consoles, x *telnetClient) { x.offers(); x.prompts(); x.Type("show cl"); x.Ends("show cl") },
		"in a completion":            func(c *consoles, x *telnetClient) { x.offers(); x.prompts(); x.send("show client \t") },
		"in a command": func(c *consoles, x *telnetClient) {
			x.offers()
			x.prompts()
			x.Type("rows 100000000 | no-more\r")
			x.Holds("row 9")
		},
		"at --More--": func(c *consoles, x *telnetClient) {
			x.offers()
			x.prompts()
			x.Type("rows 100000000\r")
			x.Holds("--More--")
		},
		"in watch": func(c *consoles, x *telnetClient) {
			x.offers()
			x.prompts()
			x.Type("watch show clients\r")
			x.Holds("Every")
		},
		"in a confirmation": func(c *consoles, x *telnetClient) {
			x.offers()
			x.prompts()
			x.Type("clear client 1\r")
			x.Holds("yes/no")
		},
		"as a secret is asked for": func(c *consoles, x *telnetClient) {
			x.offers()
			x.prompts()
			x.Type("terminal confirm off\rdebug client 1\r")
			c.came("following")
		},
		"in a search of history": func(c *consoles, x *telnetClient) {
			x.offers()
			x.prompts()
			x.Type("show clients\r")
			x.Holds("edge2")
			x.Type("\x12sh")
		},
		"where it has stopped to read": func(c *consoles, x *telnetClient) {
			x.offers()
			x.prompts()
			resume := x.pause()
			x.T.Cleanup(resume)
			x.Type("rows 10000000 | no-more\r")
			c.came("rows 10000000 | no-more")
		},
	} {
		for _, how := range []string{"reset", "closed"} {
			t.Run(name+", "+how, func(t *testing.T) {
				c := newConsoles(t, control.RoleAdmin, nil)
				x := dialTelnet(t, c, 80, 24, usual)
				do(c, x)
				if how == "reset" {
					x.conn.SetLinger(0)
				}
				x.mu.Lock()
				if x.paused != nil {
					select {
					case <-x.paused:
					default:
					}
				}
				x.mu.Unlock()
				x.conn.Close()
				await(t, "its console ends", func() bool { return len(c.server.Consoles()) == 0 })
			})
		}
	}
}

// A client that does not read is closed when it has had its time, and holds up nobody else; one that reads slowly is served.
func TestConsoleSlowReader(t *testing.T) {
	c := newConsoles(t, control.RoleAdmin, func(o *control.ServerOptions) { o.WriteStall = 300 * time.Millisecond })
	stuck := dialTelnet(t, c, 80, 24, usual)
	stuck.offers()
	stuck.prompts()
	defer stuck.pause()()
	stuck.Type("rows 50000000 | no-more\r")
	c.came("rows 50000000 | no-more")
	other := interactive(t, c, 80, 24)
	other.Type("show clients | count\r")
	other.Ends("Count: 2\nbmp#")
	await(t, "the console is closed", func() bool { return len(c.server.Consoles()) == 1 })
	// At --More-- nothing is written, however long somebody looks at it.
	other.Type("rows 100000\r")
	other.Ends("--More-- (space, Enter, q, /)")
	time.Sleep(700 * time.Millisecond) // more than twice the time of a stall
	other.Type("q")
	other.prompts()
}

func TestConsoleIdle(t *testing.T) {
	c := newConsoles(t, control.RoleAdmin, func(o *control.ServerOptions) { o.Idle = 400 * time.Millisecond })
	x := interactive(t, c, 80, 24)
	x.closed()
	x.Holds("% Idle for 400ms, closing")
	// Not while it follows something, nor while a command runs.
	x = interactive(t, c, 80, 24)
	x.Type("debug client 1\r")
	c.came("following")
	y := interactive(t, c, 80, 24)
	y.Type("block\r")
	c.came("block")
	time.Sleep(900 * time.Millisecond) // more than twice as long as it may be idle
	c.emit("still here")
	x.Holds("still here")
	y.send("\xff\xf4")
	y.Ends("% Cancelled\nbmp#")
	y.closed()
	x.Type("undebug\r")
	x.closed()
}

func TestConsoleStationStops(t *testing.T) {
	c := newConsoles(t, control.RoleAdmin, func(o *control.ServerOptions) { o.WriteStall = time.Minute })
	var all []*telnetClient
	for _, line := range []string{"", "show cl", "block\r", "rows 100000\r", "watch show clients\r", "debug client 1\r", "auth\r"} {
		x := interactive(t, c, 80, 24)
		x.Type(line)
		switch line {
		case "block\r":
			c.came("block")
		case "rows 100000\r":
			x.Holds("--More--")
		case "watch show clients\r":
			x.Holds("edge2")
		case "debug client 1\r":
			c.came("following")
		}
		all = append(all, x)
	}
	stuck := interactive(t, c, 80, 24)
	defer stuck.pause()()
	stuck.Type("rows 50000000 | no-more\r")
	c.came("rows 50000000 | no-more")
	began := time.Now()
	c.stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the station waited %v for its consoles", took)
	}
	for i, x := range all {
		x.closed()
		x.Holds("% Station stops")
		if text, _, _ := x.Text(); i == 1 && strings.Contains(text, "Ambiguous") {
			t.Errorf("half a command was run:\n%s", text)
		}
	}
}

// The most that a listener takes at once, all of them working.
func TestConsoles32AtOnce(t *testing.T) {
	c := newConsoles(t, control.RoleAdmin, nil)
	before := runtime.NumGoroutine()
	screens := make([]*telnetClient, 32)
	for i := range screens {
		screens[i] = dialTelnet(t, c, 80, 24, usual)
	}
	var wg sync.WaitGroup
	for i, x := range screens {
		wg.Go(func() {
			if i%2 == 0 {
				x.offers()
			} else {
				x.send("terminal interactive\r\n")
			}
			for n := range 5 {
				x.send(fmt.Sprintf("show client %d\r", 100*i+n+1000))
				x.waits(fmt.Sprintf("%% No client '%d'\nbmp#", 100*i+n+1000))
				x.send("show client 1 p\t\t")
				x.waits("  peers  its peers\nbmp# show client 1 peer")
				x.send("\x15")
				x.resize(60+n, 24)
			}
			x.send("block\r")
			x.waits("blocked")
			x.send("\xff\xf4")
			x.waits("% Cancelled\nbmp#")
			x.send("exit\r")
			<-x.ended
		})
	}
	wg.Wait()
	if list := c.server.Consoles(); len(list) > 32 {
		t.Errorf("%d consoles", len(list))
	}
	await(t, "goroutines of consoles end", func() bool { return runtime.NumGoroutine() <= before+2*32 }) // what types, on each screen
}

// waits is Ends for many goroutines: it fails without ending the goroutine.
func (x *telnetClient) waits(want string) {
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		text, _, _ := x.Text()
		if strings.HasSuffix(text, want) {
			return
		}
		if time.Now().After(end) {
			x.T.Errorf("want at the end\n%s\nscreen:\n%s", want, text)
			x.conn.Close()
			return
		}
	}
}

// What a terminal sends and shows passes telnet unchanged.
func TestTelnetBytes(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	x := newTelnet(here, func(error) {})
	read := make(chan string)
	go func() {
		b := make([]byte, 1000)
		n, _ := io.ReadFull(there, b[:len("a\r\nb\r\nc\r\x00d\xff\xff\r\x00")])
		read <- string(b[:n])
		n, _ = io.ReadFull(there, b[:len("\xff\xfb\x00\xff\xfd\x00\rx\r\n")])
		read <- string(b[:n])
	}()
	for _, s := range []string{"a\nb\r\nc\rd", "\xff\r"} {
		if n, err := x.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := <-read, "a\r\nb\r\nc\r\x00d\xff\xff\r\x00"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// Binary is for who asks for it: then CR stands alone.
	for _, b := range []byte("\xff\xfd\x00\xff\xfb\x00") {
		x.take(nil, b)
	}
	if _, err := x.Write([]byte("\rx\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := <-read, "\xff\xfb\x00\xff\xfd\x00\rx\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzTelnet: any bytes, in any portions, are taken; never more comes out than went in; and what is typed behind them is
// understood once what was begun has ended.
func FuzzTelnet(f *testing.F) {
	f.Add([]byte("show\r\x00\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0clients\r\n"), uint8(1))
	f.Add([]byte("\xff\xff\xff\xf4\xff\xfd\x06\xff\xfa\x22\x01\x02\xff\xff\xff\xf0"), uint8(3))
	f.Add([]byte("\xff\xfa\xff\xfa\xff\xfb\xff\xfe\x01"), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, portion uint8) {
		x := newTelnet(&byteConn{in: b, portion: int(portion)%16 + 1}, func(error) {})
		x.us[optionEcho] = optionWantYes
		got, err := io.ReadAll(x)
		if err != nil || len(got) > len(b)+len(endKeys) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(b), err)
		}
		if cols, rows := x.size(); cols < 0 || cols > maxCols || cols > 0 && cols < minCols || rows < 0 || rows > maxRows {
			t.Fatalf("size %d, %d", cols, rows)
		}
		var out []byte
		for _, c := range []byte("\xff\xf1\xff\xf1\xff\xf0 ok") {
			out = x.take(out, c)
		}
		if !strings.HasSuffix(string(out), "ok") {
			t.Fatalf("%q behind %q", out, b)
		}
	})
}

// byteConn is a connection that says some bytes and takes everything.
type byteConn struct {
	net.Conn
	in      []byte
	portion int
}

func (c *byteConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.portion)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *byteConn) Write(p []byte) (int, error) { return len(p), nil }
