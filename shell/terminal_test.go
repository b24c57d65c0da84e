package shell

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bmp/proto/control"
	"bmp/shell/edit/edittest"
)

// A scenario types keys and waits for the screen.
type scenario struct {
	name string
	do   func(t *testing.T, f *fakeStation, c *edittest.Child)
}

// run runs scenarios each on a shell and station of its own, and leaves each by
// Ctrl-D, which must give the terminal back.
func run(t *testing.T, list []scenario) {
	for _, x := range list {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			f := newStation(t, control.RoleAdmin)
			c := shellOn(t, f, 80, 24)
			x.do(t, f, c)
			if !c.Ended() {
				c.Type("\x05\x15\x04")
				c.Exits(0)
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	run(t, []scenario{
		{"Tab completes to the common prefix, then shows the table", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("sh\t")
			c.Shows("bmp# show")
			c.Type("cl\t")
			c.Shows("bmp# show client")
			c.Type("\t")
			c.Shows("bmp# show client\n  client   one client\n  clients  all clients\nbmp# show client")
		}},
		{"a question mark acts at once", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client 1 ?")
			c.Shows("bmp# show client 1 ?\n  peer   one peer\n  peers  its peers\n  |      filter the output\n  <cr>\nbmp# show client 1")
			if len(f.lines) > 0 {
				t.Errorf("the station ran %q", f.lines)
			}
		}},
		{"live values with what one wants to know of them", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client 1 peer \t")
			c.Shows("bmp# show client 1 peer 10.0.")
			c.Type("\t")
			c.Shows("bmp# show client 1 peer 10.0.\n  10.0.0.1  AS65001 up 3d04h\n  10.0.0.2  AS65002 down hold timer expired\n  10.0.1.1  AS65003 up\n" +
				"bmp# show client 1 peer 10.0.")
			c.Type("1\t\r")
			c.Ends("bmp# show client 1 peer 10.0.1.1\nclient 1 10.0.1.1.\nbmp#")
		}},
		{"values for ?", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client ?")
			c.Holds("  1       192.0.2.1:4711 edge1 up\n  2       192.0.2.2:4711 edge2 down")
		}},
		{"after a bar", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show clients | inc\t")
			c.Shows("bmp# show clients | include")
			c.Type("\x15show clients | sort \t")
			c.Holds("  ID\n  Name\nbmp# show clients | sort")
			c.Type("N\tdesc\r")
			c.Holds("ID  Name\n 2  edge2\n 1  edge1")
		}},
		{"files for save", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			if err := os.WriteFile(filepath.Join(c.Cmd.Dir, "routes.txt"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c.Type("show clients | save rou\t\r")
			c.Ends("bmp# show clients | save routes.txt\n3 lines in routes.txt\nbmp#")
			got, err := os.ReadFile(filepath.Join(c.Cmd.Dir, "routes.txt"))
			if err != nil || string(got) != "ID  Name\n 1  edge1\n 2  edge2\n" {
				t.Errorf("saved %q, %v", got, err)
			}
			c.Type("show clients | no-header | append routes.txt\r")
			c.Ends("2 lines in routes.txt\nbmp#")
		}},
		{"within watch and on", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("watch every 1s show client 2 peer 10.0.1\t")
			c.Shows("bmp# watch every 1s show client 2 peer 10.0.1.1")
			c.Type("\x15on all sh\tcl\t")
			c.Shows("bmp# on all show client")
		}},
		{"aliases, and what they stand for", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("alias peerof = show client 1 peer\r")
			c.Ends("bmp#")
			c.Type("peer\t")
			c.Holds("bmp# peerof")
			c.Type("10.0.1\t\r")
			c.Ends("bmp# peerof 10.0.1.1\nclient 1 10.0.1.1.\nbmp#")
			c.Type("no alias \t\r")
			c.Ends("bmp# no alias peerof\nbmp#")
			c.Type("peerof\r")
			c.Ends("% Invalid command: peerof (try 'help')\nbmp#")
		}},
		{"a literal question mark in quotes", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client '?'\r")
			c.Ends("% No client '?'\nbmp#")
		}},
		{"? on a line that is wrong says why", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("bogus word ?")
			c.Holds("% Invalid command: bogus (try 'help')\nbmp# bogus word")
		}},
		{"Tab in the middle of a line", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("sh clients\x01\x1b[C\x1b[C\t")
			c.Holds("bmp# show clients")
		}},
	})
}

func TestLinesTyped(t *testing.T) {
	run(t, []scenario{
		{"the caret points at the word", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client 1 peer 10.0.0.999\r")
			c.Ends("bmp# show client 1 peer 10.0.0.999\n                        ^\n" +
				"% Invalid input at '^': expected A.B.C.D, X:X::X:X, an ID or RD/address\nbmp#")
			if len(f.lines) > 0 {
				t.Errorf("the station was asked %q", f.lines)
			}
		}},
		{"unknown, ambiguous, incomplete", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("bogus\r")
			c.Ends("% Invalid command: bogus (try 'help')\nbmp#")
			c.Type("sh cl 1\r")
			c.Ends("% Ambiguous command: \"sh cl\" (client, clients)\nbmp#")
			c.Type("show client 1 peer\r")
			c.Ends("% Incomplete command: show client 1 peer (expected: PEER)\nbmp#")
		}},
		{"abbreviations, and strict", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("sh clients\r")
			c.Ends(" 2  edge2\nbmp#")
			c.Type("terminal strict on\r")
			c.Ends("bmp#")
			c.Type("sh clients\r")
			c.Ends("% Invalid command: sh (write it whole: show)\nbmp#")
		}},
		{"an unbalanced quote", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client 'a b\r")
			c.Ends("                 ^\n% Invalid input at '^': the quote is not closed\nbmp#")
		}},
		{"a paste of 500 lines", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			var b strings.Builder
			for i := range 500 {
				fmt.Fprintf(&b, "show client %d\n", i%2+1)
			}
			c.Type("\x1b[200~" + b.String() + "\x1b[201~")
			c.Type("show bgp as-path done\r")
			c.Ends("path done\nbmp#")
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.lines) != 501 {
				t.Errorf("%d lines came, want 501", len(f.lines))
			}
		}},
		{"a line of 1 MB", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client " + strings.Repeat("x", 1<<20) + "\r")
			c.Until("the refusal", func(text string) bool {
				return strings.Contains(text, "% Line too long") && strings.HasSuffix(text, "bmp#")
			})
			c.Type("show clients\r")
			c.Ends(" 2  edge2\nbmp#")
		}},
		{"NUL and invalid UTF-8 are no keys", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("sh\x00ow cli\xff\xfeents\r")
			c.Ends("bmp# show clients\nID  Name\n 1  edge1\n 2  edge2\nbmp#")
		}},
		{"a confirmation", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("clear client 1\r")
			c.Ends("Clear client 1? [yes/no]")
			c.Type("no\r")
			c.Ends("% Not confirmed, nothing done\nbmp#")
			c.Type("clear client 1\r")
			c.Ends("Clear client 1? [yes/no]")
			c.Type("yes\r")
			c.Ends("bmp#")
			c.Type("clear client 1\r")
			c.Ends("Clear client 1? [yes/no]")
			c.Type("\x03")
			c.Ends("% Not confirmed, nothing done\nbmp#")
		}},
		{"history, and secrets that are not in it", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show clients\r")
			c.Ends("edge2\nbmp#")
			c.Type("md5 topsecret\r")
			c.Until("", func(text string) bool { return strings.HasSuffix(text, "md5 topsecret\nbmp#") })
			c.Type("show history\r")
			c.Ends("    1  show clients\n    2  show history\nbmp#")
			got, err := os.ReadFile(filepath.Join(c.Cmd.Dir, "state/bmp/history"))
			if err != nil || string(got) != "show clients\nshow history\n" {
				t.Errorf("history %q, %v", got, err)
			}
			c.Type("\x1b[A\x1b[A\r")
			c.Ends("bmp# show clients\nID  Name\n 1  edge1\n 2  edge2\nbmp#")
		}},
		{"Ctrl-R finds a line", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show clients\rrows 1\r")
			c.Ends("row 1\nbmp#")
			c.Type("\x12cli")
			c.Holds("show clients")
			c.Type("\r")
			c.Ends(" 2  edge2\nbmp#")
		}},
		{"Ctrl-C drops the line, Ctrl-Z does nothing", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show cli\x1aents\x03")
			c.Ends("bmp# show clients^C\nbmp#")
			if f.asked("show clients") {
				t.Error("it was run")
			}
		}},
		{"help, list and find", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("help show clients\r")
			c.Ends("Examples:\n  show clients | count\nbmp#")
			c.Type("list | include peer\r")
			c.Ends("show client CLIENT peer PEER\nshow client CLIENT peers\nbmp#")
			c.Type("find peers\r")
			c.Ends("show client CLIENT peers\n    its peers\nbmp#")
			c.Type("help watch\r")
			c.Holds("A command again and again.")
		}},
		{"timing and timestamp", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("terminal timing on\rrows 2\r")
			c.Until("how long it took", func(text string) bool { return strings.Contains(text, "row 2\n2 rows, ") })
			c.Until("nothing of rows where there are none", func(text string) bool { return !strings.Contains(text, "0 rows") })
			c.Type("terminal timing off\rterminal timestamp on\rrows 1\r")
			c.Until("when it ran", func(text string) bool {
				return strings.Contains(text, fmt.Sprintf("[%d-", time.Now().Year())) && strings.HasSuffix(text, "row 1\nbmp#")
			})
			c.Type("show terminal | include ^tim\r")
			c.Ends("timing     off\ntimestamp  on\nbmp#")
		}},
		{"a line of the script language", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("for i in 1 2; do show client $i; done\r")
			c.Ends("done\nclient 1 .\nclient 2 .\nbmp#")
		}},
		{"the status of the line before", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show client 9\r")
			c.Ends("% No client '9'\nbmp#")
			c.Type("echo status $?\r")
			c.Ends("echo status $?\nstatus 1\nbmp#")
			c.Type("show client 1\recho status $?\r")
			c.Ends("status 0\nbmp#")
		}},
		{"an alias keeps its filters to itself", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("alias cc = show clients | count | save count.txt\r")
			c.Ends("count.txt\nbmp#")
			if _, err := os.Stat(filepath.Join(c.Cmd.Dir, "count.txt")); err == nil {
				t.Error("the file of the alias was written when it was made")
			}
			c.Type("alias\r")
			c.Ends("cc          show clients | count | save count.txt\nbmp#")
			c.Type("cc\r")
			c.Ends("1 line in count.txt\nbmp#")
		}},
		{"JSON, of the shell's own words too", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show clients | json\r")
			c.Holds(`{"id":"1","name":"edge1"}`)
			c.Type("show terminal | json\r")
			c.Holds(`"editor": "readline"`)
		}},
	})
}

func TestPager(t *testing.T) {
	more := "--More-- (space, Enter, q, /)"
	run(t, []scenario{
		{"space, Enter, q", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 100\r")
			c.Ends("row 23\n" + more)
			c.Type(" ")
			c.Ends("row 46\n" + more)
			c.Type("\r")
			c.Ends("row 47\n" + more)
			c.Type("q")
			c.Ends("row 47\nbmp#")
		}},
		{"search", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 1000\r")
			c.Ends("row 23\n" + more)
			c.Type("/99x\x7f9\r")
			c.Ends("row 999\nrow 1000\nbmp#")
			c.Type("rows 100\r")
			c.Ends(more)
			c.Type("/nothing\r")
			c.Ends("% Not found: nothing\nbmp#")
		}},
		{"a page that just fits is not asked about", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 23\r")
			c.Ends("row 23\nbmp#")
		}},
		{"no-more and length", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 60 | no-more\r")
			c.Ends("row 60\nbmp#")
			c.Type("terminal length 5\rrows 100\r")
			c.Ends("row 4\n" + more)
			c.Type("G")
			c.Ends("row 100\nbmp#")
			c.Type("terminal length 0\rrows 50\r")
			c.Ends("row 50\nbmp#")
		}},
		{"Ctrl-C ends it", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 100000\r")
			c.Ends(more)
			c.Type("\x03")
			c.Ends("% Cancelled\nbmp#")
			c.Type("show clients\r")
			c.Ends(" 2  edge2\nbmp#")
		}},
		{"resize while it asks", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 100\r")
			c.Ends("row 23\n" + more)
			c.Resize(80, 11)
			c.Type(" ")
			c.Ends("row 33\n" + more)
			c.Type("q")
			c.Ends("bmp#")
		}},
		{"a million rows wait, or are stopped", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 4000000\r")
			c.Ends(more)
			c.Type("q")
			c.Ends("bmp#")
		}},
	})
	t.Run("what is followed comes as it comes, to the pager of BMP_PAGER too", func(t *testing.T) {
		for _, pager := range []string{"", "cat"} {
			f := newStation(t, control.RoleAdmin)
			c := shellOn(t, f, 80, 10, "BMP_PAGER="+pager)
			c.Type("debug client 1 | exclude nothing\r")
			f.came("following")
			for i := range 30 {
				f.emit(fmt.Sprintf("event %d", i))
				c.Ends(fmt.Sprintf("event %d", i))
			}
			c.Type("\x03")
			c.Ends("event 29\nbmp#")
			c.Type("\x04")
			c.Exits(0)
		}
	})
	t.Run("another program", func(t *testing.T) {
		f := newStation(t, control.RoleAdmin)
		c := shellOn(t, f, 80, 24, "BMP_PAGER=tail -n 2; stty -a </dev/tty | grep -o -e -icanon; echo paged")
		c.Type("rows 10\r")
		c.Ends("row 10\nbmp#")
		c.Type("rows 100\r")
		c.Ends("bmp# rows 100\nrow 99\nrow 100\npaged\nbmp#")
		c.Type("\x04")
		c.Exits(0)
	})
}

func TestCommandsRunning(t *testing.T) {
	run(t, []scenario{
		{"how far a search has come is shown until there is an answer", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("search\r")
			c.Shows("bmp# search\nhour 1 of 24")
			f.hear()
			c.Shows("bmp# search\nfound\nbmp#")
			c.Type("search | count\r")
			c.Shows("bmp# search\nfound\nbmp# search | count\nCount: 1\nbmp#")
		}},
		{"how far a search has come goes with Ctrl-C", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("search\r")
			c.Shows("bmp# search\nhour 1 of 24")
			c.Type("\x03")
			c.Shows("bmp# search\n% Cancelled\nbmp#")
		}},
		{"Ctrl-C cancels", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("block\r")
			c.Ends("blocked")
			c.Type("\x03")
			c.Ends("blocked\n% Cancelled\nbmp#")
		}},
		{"Ctrl-C gives the prompt back though the station does not hear", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("deaf\r")
			f.came("deaf")
			c.Type("\x03")
			c.Ends("% Cancelled\nbmp#")
			f.hear()
			c.Type("show clients\r")
			c.Ends(" 2  edge2\nbmp#")
		}},
		{"what is typed ahead is run", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("deaf\r")
			f.came("deaf")
			c.Type("rows 1\r")
			f.hear()
			c.Ends("row 1\nbmp#")
		}},
		{"resize during output", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("rows 20000 | no-more\r")
			c.Holds("row 1")
			c.Resize(40, 10)
			c.Resize(100, 30)
			c.Ends("row 20000\nbmp#")
			c.Type("show cl?")
			c.Ends("bmp# show cl?\n  client   one client\n  clients  all clients\nbmp# show cl")
		}},
		{"ten columns", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Resize(10, 24)
			c.Type("show cli?")
			c.Ends("bmp# show\ncli")
			c.Type("ents\r")
			c.Ends(" 1  edge1\n 2  edge2\nbmp#")
			c.Type("show client 1 peer x\r")
			c.Until("an error without a caret", func(text string) bool { return strings.Contains(text, "% Invalid") })
		}},
		{"watch", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("watch every 100ms diff show clients | no-header\r")
			c.Holds("Every 100ms: show clients | no-header")
			c.Holds(" 1  edge1\n 2  edge2")
			f.came("show clients | no-header")
			f.came("show clients | no-header")
			f.came("show clients | no-header")
			c.Type("q")
			c.Ends("bmp#")
			c.Type("watch count 2 every 100ms rows 2\r")
			c.Ends("row 1\nrow 2\nbmp#")
			c.Type("watch every 100ms show clients\r")
			c.Holds("Every 100ms: show clients")
			c.Type("\x03")
			c.Ends("bmp#")
		}},
		{"an error within watch points at its word", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("watch count 1 show client 1 peer x\r")
			c.Ends("bmp# watch count 1 show client 1 peer x\n                                      ^\n" +
				"% Invalid input at '^': expected A.B.C.D, X:X::X:X, an ID or RD/address\nbmp#")
		}},
	})
}

func TestEvents(t *testing.T) {
	run(t, []scenario{
		{"events above the line being typed, and undebug", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("debug client 1\r")
			c.Ends("Subscribed id=1\nbmp(1dbg)#")
			f.came("following")
			c.Type("show cli")
			c.Ends("bmp(1dbg)# show cli")
			f.emit("05:12:04.501 an event")
			c.Ends("05:12:04.501 an event\nbmp(1dbg)# show cli")
			c.Type("ents\r")
			c.Ends(" 2  edge2\nbmp(1dbg)#")
			c.Type("debug client 2\r")
			c.Ends("bmp(2dbg)#")
			c.Type("undebug 1\r")
			c.Ends("bmp(1dbg)#")
			c.Type("undebug\r")
			c.Ends("1 subscriptions ended\nbmp#")
		}},
		{"a thousand events a second leave the line whole", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("debug client 1\r")
			c.Ends("bmp(1dbg)#")
			f.came("following")
			done := make(chan bool)
			go func() {
				defer close(done)
				for i := range 2000 {
					f.emit(fmt.Sprintf("event %d", i))
					time.Sleep(time.Millisecond)
				}
			}()
			for _, k := range "show clients" {
				c.Type(string(k))
			}
			<-done
			f.emit("the last")
			c.Ends("the last\nbmp(1dbg)# show clients")
			c.Type("\r")
			c.Ends("ID  Name\n 1  edge1\n 2  edge2\nbmp(1dbg)#")
		}},
		{"terminal monitor", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("terminal monitor\r")
			c.Holds("[05:11:33.471] a console line")
			c.Ends("bmp#")
			c.Type("terminal monitor off\r")
			c.Ends("terminal monitor off\nbmp#")
		}},
		{"debugs end with the shell, and it says so", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("debug client 1\r")
			c.Ends("bmp(1dbg)#")
			c.Type("exit\r")
			c.Ends("% 1 debug ended")
			c.Exits(0)
		}},
	})
}

func TestStationGoesAway(t *testing.T) {
	run(t, []scenario{
		{"it comes back, and the half-typed line is there", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("debug client 1\r")
			c.Ends("bmp(1dbg)#")
			c.Type("show cli")
			c.Ends("bmp(1dbg)# show cli")
			f.end()
			c.Ends("lost, trying again (1 debug ended with it)\nbmp(gone)> show cli")
			f.start()
			c.Ends("again\nbmp# show cli")
			c.Type("ents\r")
			c.Ends(" 2  edge2\nbmp#")
		}},
		{"in the middle of a reply", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("die\r")
			c.Holds("the first row\n")
			c.Holds("% The reply was cut short\n")
			c.Until("the prompt says so", func(text string) bool { return strings.HasSuffix(text, "bmp(gone)>") })
			c.Type("show clients\r")
			c.Holds("% No connection to unix:")
			c.Type("show term\t | include editor\r")
			c.Ends("editor     readline\nbmp(gone)>")
			f.start()
			c.Ends("bmp#")
		}},
		{"terminated", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("show cl")
			c.Ends("show cl")
			c.Cmd.Process.Signal(syscall.SIGTERM)
			c.Exits(130)
		}},
		{"terminated while a command runs", func(t *testing.T, f *fakeStation, c *edittest.Child) {
			c.Type("block\r")
			c.Ends("blocked")
			c.Cmd.Process.Signal(syscall.SIGTERM)
			c.Exits(130)
		}},
	})
}
