package main

import (
	"fmt"
	"io"
	"strings"

	"bmp/engine/command"
	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/scripts"
	"bmp/shell"
	"bmp/shell/cluster"
)

// manPage is the manual in roff, generated: what follows -h stands in the usage,
// the commands are the rows of the station's tree and of the shell's own words,
// the filters and the scripts say themselves what they do.
func manPage() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH BMP 1 \"\" \"bmp %s\" \"User Commands\"\n", shell.Version)
	section := func(name string) { fmt.Fprintf(&b, ".SH %s\n", name) }
	section("NAME")
	b.WriteString("bmp \\- BMP (RFC 7854) station and the shell to it\n")
	section("SYNOPSIS")
	for _, line := range []string{
		"bmp -s [NETNS/][ADDR:]PORT ... [options]", "bmp [-j] [PORT] COMMAND", "bmp -t TARGET COMMAND", "bmp shell [TARGET]",
		"bmp [--check] -x FILE [ARG ...]", "bmp run NAME [ARG ...]", "bmp [PORT] record FILE [client X]", "bmp replay FILE ADDR:PORT [speed N]", "bmp demo", "bmp completion bash", "bmp man",
	} {
		fmt.Fprintf(&b, "%s\n.br\n", roff(line))
	}
	section("DESCRIPTION")
	b.WriteString("Routers connect to a station, which keeps everything they say, and a network engineer questions it as if the whole network were one router.\n")
	preformatted(&b, usage[:strings.Index(usage, "\nCommands (")])
	section("COMMANDS")
	b.WriteString("Every word may be abbreviated to a unique prefix, but not in scripts.\n")
	commands(&b, stationTree().Commands())
	section("SHELL")
	b.WriteString("Words of the shell itself, which are not sent to the station.\n")
	commands(&b, shell.Commands())
	section("FILTERS")
	b.WriteString("Behind a bar after any command; several may follow each other.\n")
	commands(&b, filter.Grammar().Commands())
	section("SCRIPTS")
	b.WriteString("POSIX shell grammar over the commands. Shipped, for\n.B run NAME\n:\n")
	for _, n := range scripts.Names() {
		fmt.Fprintf(&b, ".SS %s\n", roff(n))
		preformatted(&b, scripts.Doc(n))
	}
	section("EXIT STATUS")
	for _, s := range [][2]string{
		{"0", "done; an empty list is an answer"},
		{"1", "failed, no such object, not allowed, timed out, conflict, several clients or peers match; or include or exclude was the last filter and let nothing through; a script past its limits"},
		{"2", "wrong words or bytes, bad options, several servers and none named, a construct refused in a script"},
		{"3", "no connection, login needed, too many, version, connection lost"},
		{"127", "unknown command"},
		{"130", "cancelled (Ctrl-C)"},
	} {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", s[0], roff(s[1]))
	}
	section("ENVIRONMENT")
	for _, s := range [][2]string{
		{"BMP_TARGET", "the station that is asked where none is named"},
		{"BMP_PAGER", "a program to page with, instead of the one built in"},
		{"BMP_RUNTIME_DIR", "where control sockets are"},
		cluster.Variables[0], cluster.Variables[1], cluster.Variables[2],
		{"NO_COLOR", "no colour"},
		{"XDG_STATE_HOME, XDG_CONFIG_HOME", "state and history; settings and aliases (bmp/rc)"},
	} {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(s[0]), roff(s[1]))
	}
	return b.String()
}

// stationTree are the commands of a station, without one.
func stationTree() *grammar.Tree {
	return command.New(nil, command.Options{Version: shell.Version}).Tree()
}

// commands writes one paragraph a command: its pattern, its help, its examples.
func commands(b *strings.Builder, rows []grammar.Command) {
	for i := range rows {
		c := &rows[i]
		if c.Hidden {
			continue
		}
		fmt.Fprintf(b, ".TP\n.B %s\n", roff(c.Usage()))
		help := c.Help
		if help != "" {
			help = strings.ToUpper(help[:1]) + help[1:] + "."
		}
		if c.Role == grammar.Admin {
			help += " Needs the role admin."
		}
		if help == "" {
			help = "See the help of the shell."
		}
		fmt.Fprintln(b, roff(strings.TrimSpace(help)))
		for _, line := range strings.Split(strings.TrimSpace(c.Long), "\n") {
			if line != "" {
				fmt.Fprintln(b, roff(strings.TrimSpace(line)))
			}
		}
		if len(c.Examples) > 0 {
			b.WriteString(".RS\n.nf\n")
			for _, x := range c.Examples {
				fmt.Fprintln(b, roff(x))
			}
			b.WriteString(".fi\n.RE\n")
		}
	}
}

func preformatted(w io.StringWriter, text string) {
	w.WriteString(".nf\n")
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		w.WriteString(roff(line) + "\n")
	}
	w.WriteString(".fi\n")
}

// roff writes a line of text so that nothing in it is a request or an escape.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, "|", `\&|`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
