package shell

import (
	"bufio"
	"context"
	"os"
	"regexp"
	"slices"
	"strings"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/shell/edit"
)

var aliasName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// aliasID is the command whose line is kept whole, with its filters.
const aliasID = "shell alias"

// setAlias makes or replaces an alias.
func setAlias(c *call) error {
	name, a := c.match.Value("word"), c.match.Value("line")
	if !aliasName.MatchString(name) {
		w, _ := c.match.Arg("word")
		return control.Invalid(w, "expected a word of letters, digits and hyphens")
	}
	for _, x := range c.shell.tree().Commands() {
		if first, _, _ := strings.Cut(x.Pattern, " "); strings.TrimSuffix(first, "!") == name {
			return errorf(control.CodeConflict, "'%s' is a command", name)
		}
	}
	// Its line begins behind the sign, with the bars of its filters.
	_, rest, _ := strings.Cut(c.line, "=")
	if rest = strings.TrimSpace(rest); rest == "" {
		rest = a
	}
	c.shell.mu.Lock()
	defer c.shell.mu.Unlock()
	c.shell.aliases[name] = rest
	return nil
}

func noAlias(c *call) error {
	s := c.shell
	name := c.match.Value("alias")
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.aliases[name]; !ok {
		return errorf(control.CodeNotFound, "No alias '%s'", name)
	}
	delete(s.aliases, name)
	return nil
}

// aliasNames are in order.
func (s *Shell) aliasNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for n := range s.aliases {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (s *Shell) alias(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line, ok := s.aliases[name]
	return line, ok
}

func listAliases(c *call) error {
	if err := c.out.Columns(filter.Column{Name: "Alias", Width: 10}, filter.Column{Name: "Command"}); err != nil {
		return err
	}
	for _, n := range c.shell.aliasNames() {
		line, _ := c.shell.alias(n)
		if err := c.out.Record(filter.Record{Cells: []string{n, line}, JSON: map[string]string{"alias": n, "command": line}}); err != nil {
			return err
		}
	}
	return nil
}

// maxAliases is how many aliases one may stand for another.
const maxAliases = 10

// expandAlias writes out the alias that a line begins with.
func (s *Shell) expandAlias(line string) (string, bool) {
	done := false
	seen := map[string]bool{}
	for range maxAliases {
		blanks := len(line) - len(strings.TrimLeft(line, " \t"))
		end := blanks + strings.IndexAny(line[blanks:]+" ", " \t|")
		name := line[blanks:end]
		stands, ok := s.alias(name)
		if !ok || seen[name] {
			break
		}
		seen[name], done = true, true
		line = stands + line[end:]
	}
	return line, done
}

// scriptStatus is the end of a script as an error; nil for 0.
func scriptStatus(status int) error {
	switch status {
	case 0:
		return nil
	case control.ExitStatus(control.CodeCancelled):
		return context.Canceled
	}
	return &statusError{status}
}

// runRC runs the file of settings and aliases. What is wrong with it is said,
// and the shell begins all the same.
func (s *Shell) runRC(ctx context.Context) {
	if s.o.RC == "" {
		return
	}
	f, err := os.Open(s.o.RC)
	if err != nil {
		if !os.IsNotExist(err) {
			s.fail(err)
		}
		return
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := edit.ReadLine(in, maxBatchLine)
		if err != nil {
			break
		}
		if text := strings.TrimSpace(line); text == "" || text[0] == '!' || text[0] == '#' {
			continue
		}
		p, err := s.plan(line)
		v := verdictOf(err)
		if err == nil {
			w := newPrinter(s.ed().Out(), s.errors(), false)
			v = s.perform(ctx, s.at(), p, w.line, nil)
			w.flush()
		}
		if v.Err() != nil && !v.said {
			s.fail(errorf(v.Code, "%s:%d: %v", s.o.RC, n, nameWord(v.Verdict, line)))
		}
	}
}
