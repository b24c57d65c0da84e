package shell

import (
	"fmt"
	"strings"

	"bmp/proto/grammar"
	"bmp/shell/edit"
)

// typedLines are the lines typed, for `show history`. The editor has its own
// for the arrow keys; both are in the same file.
type typedLines struct {
	file  *edit.History
	lines []string
}

// maxTyped is how many are kept without a file.
const maxTyped = 1000

// remember keeps a line that was typed, unless it holds a secret.
func (s *Shell) remember(line string) {
	if !s.o.Terminal || s.Secret(line) {
		return
	}
	if ed, ok := s.ed().(interface{ Remember(string) error }); ok {
		// A history that cannot be written is no reason not to run the line.
		_ = ed.Remember(line)
	} else if s.history.file != nil {
		_ = s.history.file.Add(line)
	}
	s.history.lines = append(s.history.lines, line)
	if n := len(s.history.lines); n > maxTyped {
		s.history.lines = s.history.lines[n-maxTyped:]
	}
}

// Secret reports whether a line holds a secret, or looks as if it did: it is
// kept in no history.
func (s *Shell) Secret(line string) bool {
	if _, rest, ok := strings.Cut(line, "nats://"); ok && strings.Contains(firstWord(rest), "@") {
		return true // with a password or token in it
	}
	p, _ := s.expandAlias(line)
	if m, err := s.tree().Match(p, grammar.Env{}); err == nil {
		if m.Secret() {
			return true
		}
		if inner := m.Value("command"); inner != "" && inner != line {
			return s.Secret(inner)
		}
		return false
	}
	// Mistyped, it is a secret all the same.
	for w := range strings.FieldsSeq(strings.ToLower(line)) {
		switch w {
		case "md5", "token", "auth", "secret", "key", "password":
			return true
		}
	}
	return false
}

func showHistory(c *call) error {
	h := &c.shell.history
	lines := h.lines
	if h.file != nil && h.file.Path != "" {
		all, err := h.file.Load()
		if err != nil {
			return err
		}
		lines = all
	}
	for i, l := range lines {
		if err := c.out.Line(fmt.Sprintf("%5d  %s", i+1, l)); err != nil {
			return err
		}
	}
	return nil
}
