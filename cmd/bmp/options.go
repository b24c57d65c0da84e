package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"bmp/shell/cluster"
)

// mode is what one invocation of bmp is for.
type mode int

const (
	modeUsage      mode = iota
	modeStation         // bmp -s PORT
	modeCommand         // bmp COMMAND
	modeShell           // bmp shell [TARGET], bmp -i
	modeScript          // bmp -x FILE, bmp run NAME
	modeDemo            // bmp demo
	modeCompletion      // bmp completion bash
	modeMan             // bmp man
	modeRecord          // bmp record FILE
	modeReplay          // bmp replay FILE ADDR:PORT
)

// invocation is the command line, read and checked, with nothing opened yet.
type invocation struct {
	mode mode

	// The station.
	listen      []string // -s, in order; the first names the station
	interactive bool     // -i
	foreground  bool     // -f
	quiet       bool     // -q
	logFile     string   // -l
	stateDir    string   // -d
	netns       string   // -n
	addr        string   // -a
	memory      int64    // -m, bytes; 0 is 75 % of what there is
	config      string   // -c
	name        string   // --name
	nats        string   // --nats, a URL or several by commas
	sync        string   // --sync, "always" or "1s"; "" is 1s
	noLoopback  bool     // --no-loopback
	control     []string // --control, as written

	// Control mode and the shell.
	target string // -t, or the PORT before the words
	json   bool   // -j
	check  bool   // --check
	script string // -x FILE, or the NAME of run
	run    bool   // script is a NAME of a shipped one
	record recordWords
	replay replayWords
	words  []string
}

// line is the command as it is sent: the words joined, so that
// bmp 'show clients | count' and bmp show clients '|' count are one command.
func (inv *invocation) line() string { return strings.Join(inv.words, " ") }

// usageError is a command line that cannot be meant. Its status is 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func badUsage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// option is a row of the option table.
type option struct {
	names string // "-s", or "-h --help"
	value string // what it takes, in the usage text's words; "" for a switch
	set   func(inv *invocation, value string) error
}

// options are all options, in the order of the usage text. Refused ones are
// in the table like the others, so that they are never silently a bad option.
var options = []option{
	{"-h --help", "", func(inv *invocation, _ string) error { return errHelp }},
	{"-s", "[NETNS/][ADDR:]PORT", func(inv *invocation, v string) error {
		inv.listen = append(inv.listen, v)
		return nil
	}},
	{"-i", "", func(inv *invocation, _ string) error { inv.interactive = true; return nil }},
	{"-f", "", func(inv *invocation, _ string) error { inv.foreground = true; return nil }},
	{"-q", "", func(inv *invocation, _ string) error { inv.quiet = true; return nil }},
	{"-l", "FILE", func(inv *invocation, v string) error { inv.logFile = v; return nil }},
	{"-d", "DIR", func(inv *invocation, v string) error { inv.stateDir = v; return nil }},
	{"-n", "NETNS", func(inv *invocation, v string) error { inv.netns = v; return nil }},
	{"-a", "ADDR", func(inv *invocation, v string) error { inv.addr = v; return nil }},
	{"-m", "SIZE", func(inv *invocation, v string) (err error) {
		if inv.memory, err = parseSize(v); err == nil && inv.memory < leastMemory {
			err = badUsage("Invalid size: %s (%dMB or more)", v, leastMemory>>20)
		}
		return err
	}},
	{"-c", "CONFIG", func(inv *invocation, v string) error { inv.config = v; return nil }},
	{"--name", "NAME", func(inv *invocation, v string) error { inv.name = v; return nil }},
	{"--nats", "URL[,URL...]", func(inv *invocation, v string) error {
		for u := range strings.SplitSeq(v, ",") {
			if host := u[strings.Index(u, "://")+1:]; strings.Trim(host, "/") == "" || strings.ContainsAny(u, " \t") {
				return badUsage("Invalid value: --nats %s (like nats://192.0.2.1:4222)", cluster.Redacted(v))
			}
		}
		inv.nats = v
		return nil
	}},
	{"--no-loopback", "", func(inv *invocation, _ string) error { inv.noLoopback = true; return nil }},
	{"--sync", "always|1s", func(inv *invocation, v string) error {
		if v != "always" && v != "1s" {
			return badUsage("Invalid value: --sync %s (expected: always or 1s)", v)
		}
		inv.sync = v
		return nil
	}},
	{"--control", "[NETNS/]ADDR[:PORT][,...]", func(inv *invocation, v string) error {
		inv.control = append(inv.control, v)
		return nil
	}},
	{"-t", "TARGET", func(inv *invocation, v string) error { inv.target = v; return nil }},
	{"-j", "", func(inv *invocation, _ string) error { inv.json = true; return nil }},
	{"-x", "FILE", func(inv *invocation, v string) error { inv.script = v; return nil }},
	{"--check", "", func(inv *invocation, _ string) error { inv.check = true; return nil }},
}

// errHelp ends the parsing where help was asked for.
var errHelp = &usageError{"help"}

func findOption(name string) *option {
	for i := range options {
		for n := range strings.FieldsSeq(options[i].names) {
			if n == name {
				return &options[i]
			}
		}
	}
	return nil
}

// parseArgs reads the command line without the program's name. Options come
// before the first word that is not one; from there on everything belongs to
// the command, so that "show client 1 | include -i up" needs no care. What
// follows -x FILE is the script's.
func parseArgs(args []string) (*invocation, error) {
	inv := &invocation{}
	seen := map[*option]bool{}
	for len(args) > 0 && inv.script == "" {
		a := args[0]
		// "-" alone is a word: standard input, after -x.
		if len(a) < 2 || a[0] != '-' {
			break
		}
		args = args[1:]
		if a == "--" {
			break
		}
		name, value, attached := a, "", false
		rest := ""
		if strings.HasPrefix(a, "--") {
			name, value, attached = strings.Cut(a, "=")
		} else if len(a) > 2 {
			name, rest = a[:2], a[2:] // -s1111, or -fq
		}
		o := findOption(name)
		switch {
		case o == nil:
			return nil, badUsage("Invalid option: %s (try 'bmp --help')", name)
		case o.value == "" && attached:
			return nil, badUsage("Option %s takes no value", name)
		case o.value == "" && rest != "":
			args = append([]string{"-" + rest}, args...)
		case o.value != "" && rest != "":
			value = rest
		case o.value != "" && !attached:
			if len(args) == 0 {
				return nil, badUsage("Option %s needs a value: %s", name, o.value)
			}
			value, args = args[0], args[1:]
		}
		if o.value != "" && value == "" {
			return nil, badUsage("Option %s needs a value: %s", name, o.value)
		}
		if seen[o] && o.value != "" && name != "-s" && name != "--control" {
			return nil, badUsage("Option %s is given twice", name)
		}
		seen[o] = true
		if err := o.set(inv, value); err != nil {
			if err == errHelp {
				return &invocation{mode: modeUsage}, nil
			}
			return nil, err
		}
	}
	if inv.script != "" && len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	inv.words = args
	if err := inv.resolve(); err != nil {
		return nil, err
	}
	return inv, inv.checkOptions(seen)
}

// resolve finds the mode from the options and the first word.
func (inv *invocation) resolve() error {
	first := ""
	if len(inv.words) > 0 {
		first = inv.words[0]
	}
	switch {
	case len(inv.listen) > 0:
		inv.mode = modeStation
	case inv.script != "":
		inv.mode = modeScript
	case first == "" && inv.interactive:
		inv.mode = modeShell
	case first == "":
		inv.mode = modeUsage
	case first == "help" && len(inv.words) == 1:
		inv.mode, inv.words = modeUsage, nil
	case first == "shell":
		inv.mode = modeShell
		inv.words = inv.words[1:]
		switch {
		case len(inv.words) > 1:
			return badUsage("Invalid input: %s (usage: bmp shell [TARGET])", inv.words[1])
		case len(inv.words) == 1 && inv.target != "":
			return badUsage("Two targets: %s and %s", inv.target, inv.words[0])
		case len(inv.words) == 1:
			inv.target, inv.words = inv.words[0], nil
		}
	case first == "demo":
		inv.mode = modeDemo
		if len(inv.words) > 1 {
			return badUsage("Invalid input: %s (usage: bmp demo)", inv.words[1])
		}
		inv.words = nil
	case first == "run":
		inv.mode = modeScript
		if len(inv.words) < 2 {
			return badUsage("Incomplete command: run (expected: NAME)")
		}
		inv.run, inv.script, inv.words = true, inv.words[1], inv.words[2:]
	case first == "completion":
		inv.mode, inv.words = modeCompletion, inv.words[1:]
		switch {
		case len(inv.words) == 0:
			return badUsage("Incomplete command: completion (expected: bash)")
		case inv.words[0] == completeWord && len(inv.words) == 2:
		case inv.words[0] != "bash" || len(inv.words) > 1:
			return badUsage("Invalid input: %s (usage: bmp completion bash)", strings.Join(inv.words, " "))
		}
	case first == "man":
		inv.mode = modeMan
		if len(inv.words) > 1 {
			return badUsage("Invalid input: %s (usage: bmp man)", inv.words[1])
		}
	case first == "record":
		return inv.resolveRecord()
	case first == "replay":
		inv.mode = modeReplay
		var err error
		inv.replay, err = parseReplay(inv.words[1:])
		return err
	default:
		inv.mode = modeCommand
		if isDigits(first) {
			if inv.target != "" {
				return badUsage("Two targets: %s and %s", inv.target, first)
			}
			if _, err := parsePort(first); err != nil {
				return err
			}
			inv.target, inv.words = first, inv.words[1:]
			if len(inv.words) == 0 {
				return badUsage("Incomplete command: %s (expected: COMMAND)", first)
			}
			if inv.words[0] == "record" {
				return inv.resolveRecord()
			}
		}
	}
	return nil
}

// stationOnly are the options of a station besides -s.
const stationOnly = "-i -f -q -l -d -n -a -m -c --name --nats --no-loopback --sync --control"

func (inv *invocation) resolveRecord() (err error) {
	inv.mode = modeRecord
	inv.record, err = parseRecord(inv.words[1:])
	return err
}

// checkOptions refuses options that the mode does not know: an option that is
// ignored is an option that lies.
func (inv *invocation) checkOptions(seen map[*option]bool) error {
	var allowed string
	switch inv.mode {
	case modeStation:
		allowed = "-s " + stationOnly
		if len(inv.words) > 0 {
			return badUsage("Invalid input: %s (options of -s only)", inv.words[0])
		}
		if inv.interactive && inv.foreground {
			return badUsage("Options -i and -f exclude each other")
		}
		if inv.nats != "" && inv.sync != "" {
			return badUsage("Options --nats and --sync exclude each other: the servers of the cluster decide when they write")
		}
		if inv.netns != "" && strings.Contains(inv.netns, "/") {
			return badUsage("Invalid value: -n %s (a name, not a path)", inv.netns)
		}
	case modeCommand:
		allowed = "-t -j"
	case modeShell:
		allowed = "-t -i"
	case modeRecord:
		allowed = "-t"
	case modeScript:
		allowed = "-t -j -x --check"
	case modeUsage:
		allowed = "-i"
	}
	for i := range options {
		o := &options[i]
		if !seen[o] || containsWord(allowed, o.names) {
			continue
		}
		switch {
		case containsWord(stationOnly, o.names) && o.names != "-i":
			return badUsage("Option %s needs -s PORT", o.names)
		case inv.mode == modeUsage:
			return badUsage("Incomplete command: expected COMMAND after %s", o.names)
		default:
			return badUsage("Option %s is not used here", o.names)
		}
	}
	return nil
}

func containsWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// parsePort reads a BMP port. 65535 is not one: the control port is the next.
func parsePort(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || !isDigits(s) || n < 1 || n > 65534 {
		return 0, badUsage("Invalid port: %s (1 to 65534)", s)
	}
	return n, nil
}

// leastMemory is the least that -m may say: an idle station takes about half
// of it.
const leastMemory = 64 << 20

// parseSize reads a memory size: bytes, or with K, M, G, T, each a power of
// 1024, with or without a B behind.
func parseSize(s string) (int64, error) {
	bad := badUsage("Invalid size: %s (like 512MB or 4GB)", s)
	t := strings.TrimSuffix(strings.ToUpper(s), "B")
	shift := 0
	for i, unit := range []string{"K", "M", "G", "T"} {
		if strings.HasSuffix(t, unit) {
			t, shift = strings.TrimSuffix(t, unit), 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseFloat(t, 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n*float64(int64(1)<<shift) > math.MaxInt64/2 {
		return 0, bad
	}
	return int64(n * float64(int64(1)<<shift)), nil
}
