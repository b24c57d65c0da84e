package shell

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// help prints what is known of the commands that its words lead to.
func help(c *call) error {
	words := c.match.Value("command")
	if words == "" {
		for _, l := range strings.Split(shortHelp, "\n") {
			if err := c.out.Line(l); err != nil {
				return err
			}
		}
		return nil
	}
	// The words may be any command's, so that they are completed; a bar among
	// them begins the filters of help itself.
	words, filters, barred := strings.Cut(words, "|")
	lines, err := c.shell.tree().Doc(words)
	if err != nil {
		return err
	}
	col := 0
	if barred {
		a, _ := c.match.Arg("command")
		col = a.Col + len(words) + 1
	}
	p, err := filter.Parse(filters, col, filter.Options{})
	if err != nil {
		return err
	}
	out := p.Start(rowSink{c.row}, c.shell.settings().format)
	for _, l := range lines {
		if err = out.Line(l); err != nil {
			break
		}
	}
	_, ferr := out.Finish(err != nil && !errors.Is(err, filter.ErrDone))
	return errors.Join(err, ferr)
}

const shortHelp = `?                   what is possible here, at once, anywhere in a line
                    (Ctrl-V ? is a question mark)
Tab                 complete; words may be abbreviated
list                every command            list | include client
find RE             commands about it        find next-hop
help COMMAND        one command              help show client peers
| FILTER            of any output            show clients | sort Routes | last 5
show clients        begin here
exit                leave`

// list prints every command.
func list(c *call) error {
	for _, u := range c.shell.tree().Usages() {
		if err := c.out.Line(u); err != nil {
			return err
		}
	}
	return nil
}

// find prints the commands whose words, help or examples match.
func find(c *call) error {
	re, _ := c.match.Regexp("re")
	found := false
	for _, x := range c.shell.tree().Commands() {
		if x.Hidden || !re.MatchString(x.Usage()) && !re.MatchString(x.Help) && !re.MatchString(x.Long) {
			continue
		}
		found = true
		if err := errors.Join(c.out.Line(x.Usage()), c.out.Line("    "+x.Help)); err != nil {
			return err
		}
	}
	if !found {
		return errorf(control.CodeNotFound, "No command about '%s'", c.match.Value("re"))
	}
	return nil
}

// asksHelp reports whether a `?` at the end of a line, where the editor does not
// take it as a key, is a question and not part of a word.
func (s *Shell) asksHelp(line string) bool {
	if line == "" || strings.HasSuffix(line, " ") {
		return true
	}
	if strings.HasSuffix(line, "$") {
		return false // the status of the line before
	}
	_, err := s.tree().Match(line+"?", grammar.Env{})
	return err != nil
}

// questionMark answers it.
func (s *Shell) questionMark(ctx context.Context, line string) {
	a := Assistant{}
	a.shell.Store(s)
	for _, i := range a.Help(ctx, line, len(line)) {
		fmt.Fprintln(s.ed().Out(), strings.TrimRight(fmt.Sprintf("  %-20s %s", i.Text, i.Help), " "))
	}
}
