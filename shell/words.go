package shell

import (
	"context"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// word is a command that the shell runs itself.
type word struct {
	grammar.Command
	run   func(c *call) error
	flags wordFlags
}

type wordFlags uint8

const (
	local     wordFlags = 1 << iota // not for somebody far away, whose shell the station runs
	ownScreen                       // draws or asks by itself: no pager
	prose                           // long lines are broken between words
)

func (w *word) is(f wordFlags) bool { return w.flags&f != 0 }

// call is one of them being run. Its context ends with Ctrl-C.
type call struct {
	context.Context
	shell *Shell
	match *grammar.Match
	line  string                   // as matched
	out   filter.Output            // through the line's filters
	row   func(control.Line) error // past them, for commands within the line that have filters of their own
}

func own(id, pattern, help string, examples ...string) grammar.Command {
	return grammar.Command{ID: id, Pattern: pattern, Help: help, Examples: examples, Local: true}
}

// ownWords are the shell's own commands, in the order of the manual. Those that
// the station knows too, so that it can refuse them or answer them itself, have
// the same ID there.
func ownWords() []word {
	return []word{
		{own("exit", "exit", "leave the shell"), leave, ownScreen},
		{grammar.Command{ID: "quit", Pattern: "quit", Help: "leave the shell", Hidden: true, Local: true}, leave, ownScreen},
		{own("shell help", "help [COMMAND]", "what a command does, with examples", "help show client", "help watch"), help, prose},
		{own("shell list", "list", "every command", "list", "list | include client"), list, prose},
		{own("shell find", "find RE", "commands about something", "find next-hop", "find as.path"), find, prose},
		{own("shell show history", "show history", "the lines typed", "show history | last 20"), showHistory, 0},
		{own("shell undebug", "undebug", "end following, all of it"), undebugAll, 0},
		{own("shell watch", "watch {every DURATION|diff|count N} COMMAND", "a command again and again",
			"watch show clients", "watch every 1s diff show client 1 peers | include down", "watch count 10 show summary"), watch, ownScreen},
		{own("shell show terminal", "show terminal", "settings of the shell"), showTerminal, 0},
		{own("shell terminal length", "terminal length N", "lines of a page; 0: no pager", "terminal length 0"), setTerminal, 0},
		{own("terminal width", "terminal width N", "columns; 0: those of the terminal"), setTerminal, 0},
		{own("terminal monitor", "terminal monitor [ONOFF]", "show the station's console lines as they happen"), setTerminal, 0},
		{own("terminal format", "terminal format (text|json|json-lines)", "of all output"), setTerminal, 0},
		{own("shell terminal timing", "terminal timing ONOFF", "say how long each command took"), setTerminal, 0},
		{own("shell terminal color", "terminal color (on|off|auto)", "colour"), setTerminal, 0},
		{own("shell terminal timestamp", "terminal timestamp ONOFF", "say when each command ran, and when each event came"), setTerminal, 0},
		{own("terminal confirm", "terminal confirm ONOFF", "ask before what cannot be undone"), setTerminal, 0},
		{own("terminal strict", "terminal strict ONOFF", "refuse abbreviations"), setTerminal, 0},
		{own("shell terminal editor", "terminal editor (readline|popup|plain)", "how lines are edited"), setTerminal, local | ownScreen},
		{own("auth", "auth", "log in with a secret, which is asked for"), auth, ownScreen},
		{own("auth token", "auth token SECRET", "log in with a secret"), authToken, ownScreen},
		{own("shell attach", "attach TARGET [as STATION] [ro]", "attach to another station: PORT, HOST:PORT, unix:PATH, tls:HOST:PORT, nats://HOST[/STATION]",
			"attach 2222", "attach 192.0.2.1:1112 as edge ro", "attach nats://192.0.2.1/edge", "attach nats://192.0.2.1"), attachTo, local},
		{own("shell attach list", "attach", "the stations attached to"), listStations, local},
		{own("shell detach", "detach [STATION]", "leave a station", "detach", "detach edge"), detach, local},
		{own("shell on", "on (all|STATION) COMMAND", "a command on another station, or on all", "on all show summary", "on edge show clients | count"), onStations, local},
		{own(aliasID, "alias WORD = LINE", "a word for a command, or its beginning", "alias sc = show client", "alias dn = show peers down"), setAlias, local},
		{own("shell alias list", "alias", "the aliases"), listAliases, local},
		{own("shell no alias", "no alias ALIAS", "forget an alias", "no alias sc"), noAlias, local},
		{own("shell source", "source FILE [ARG...]", "run a script from a file", "source check.bmpsh 1 2"), source, local | ownScreen},
		{own("shell run!", "run SCRIPT [ARG...]", "run a shipped script", "run health-check"), runShipped, local | ownScreen},
		{grammar.Command{ID: "terminal plain", Pattern: "terminal plain", Help: "lines without an editor", Local: true}, plainLines, ownScreen},
	}
}

// ownHelps are the helps of their keywords.
var ownHelps = map[string]string{
	"alias": "a word for a command", "attach": "attach to another station", "auth": "log in", "undebug": "end following", "on": "ask another station, or all",
	"terminal": "settings of the shell", "watch every": "how often", "watch diff": "mark what has changed", "watch count": "how many times",
	"on all": "every station attached to", "attach as": "what to call it", "attach ro": "read-only: refuse what changes something",
	"terminal length": "lines of a page", "terminal format text": "as a person reads it", "terminal format json": "one JSON document",
	"terminal format json-lines": "one JSON element a line", "terminal color auto": "where the terminal has it",
	"terminal editor readline": "the editor of a router's console", "terminal editor popup": "suggestions as you type",
	"terminal editor plain": "none: the terminal's own line",
}

// bindWords makes the tree of the shell's own words. A shell that the station
// runs for somebody far away has those of them that work there.
func (s *Shell) bindWords() {
	var commands []grammar.Command
	s.words = make(map[string]*word)
	for _, w := range ownWords() {
		switch {
		case s.o.Remote && w.is(local):
			w.Hidden = true // known, to be refused for what it is
		case !s.o.Remote && w.ID == "terminal plain":
			continue
		default:
			s.words[w.ID] = &w
		}
		commands = append(commands, w.Command)
	}
	s.own = grammar.Must(grammar.New(commands, ownHelps)).WithFilters(filter.Grammar())
}

func leave(c *call) error {
	c.shell.leave = true
	return nil
}

// plainLines ends the editor of a telnet console.
func plainLines(c *call) error {
	c.shell.leave, c.shell.plain = true, true
	return nil
}

// undebugAll ends everything that the current station is followed for.
func undebugAll(c *call) error {
	l := c.shell.at()
	if l == nil {
		return nil
	}
	v := l.ask(c, "undebug all", c.row, nil)
	l.followed(c, []string{"undebug", "all"}, v.Verdict)
	if v.Err() != nil {
		return v.Err()
	}
	return c.out.Line(v.Text)
}

// Commands are the shell's own words, for manuals.
func Commands() []grammar.Command {
	var list []grammar.Command
	for _, w := range ownWords() {
		list = append(list, w.Command)
	}
	return list
}
