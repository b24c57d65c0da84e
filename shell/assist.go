package shell

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bmp/proto/control"
	"bmp/proto/grammar"
	"bmp/shell/edit"
)

// Assistant answers Tab and `?`: from the command tree that the shell has
// already, and with live values that the station is asked for. An editor is
// made with it before there is a shell; New binds the two.
type Assistant struct {
	shell atomic.Pointer[Shell]
}

// Complete implements edit.Assistant.
func (a *Assistant) Complete(ctx context.Context, line string, pos int) edit.Completion {
	s := a.shell.Load()
	if s == nil {
		return edit.Completion{From: pos}
	}
	text, moved := s.unaliased(line[:pos])
	c := s.tree().Complete(ctx, text, s.valuesEnv(text))
	out := edit.Completion{From: c.Col - 1 - moved, Len: c.Len, Insert: c.Prefix}
	for _, x := range c.Candidates {
		out.Items = append(out.Items, edit.Item{Text: x.Text, Help: x.Help})
	}
	if names := s.aliasesFor(text); len(names) > 0 {
		out.Items = append(out.Items, names...)
		out.Insert = out.Items[0].Text
		for _, x := range out.Items {
			for !strings.HasPrefix(x.Text, out.Insert) {
				out.Insert = out.Insert[:len(out.Insert)-1]
			}
		}
	}
	if out.From < 0 || out.From > pos {
		return edit.Completion{From: pos}
	}
	if len(out.Items) == 1 && !strings.HasSuffix(out.Insert, "/") && !strings.HasPrefix(line[pos:], " ") && !namesColumns(text) {
		out.Insert += " "
	}
	return out
}

// Help implements edit.Assistant. Where nothing is possible because the line is
// wrong, that is the answer.
func (a *Assistant) Help(ctx context.Context, line string, pos int) []edit.Item {
	s := a.shell.Load()
	if s == nil {
		return nil
	}
	text, _ := s.unaliased(line[:pos])
	var out []edit.Item
	for _, x := range s.tree().Help(ctx, text, s.valuesEnv(text)) {
		out = append(out, edit.Item{Text: x.Word, Help: x.Help})
	}
	out = append(out, s.aliasesFor(text)...)
	if len(out) == 0 {
		if _, err := s.plan(text); err != nil {
			out = append(out, edit.Item{Text: "% " + nameWord(verdictOf(err).Verdict, text).Error()})
		}
	}
	return out
}

// pageLength is how many lines of a table are shown at once, 0 for all of them, on a terminal that has so many rows.
func (a *Assistant) pageLength(rows int) int {
	if s := a.shell.Load(); s != nil {
		if n := s.settings().length; n >= 0 {
			return n
		}
	}
	return rows
}

// namesColumns reports whether a line ends in the list of `columns`, which a
// comma may go on.
func namesColumns(text string) bool {
	w := strings.Fields(text[strings.LastIndexByte(text, '|')+1:])
	return strings.Contains(text, "|") && (len(w) == 2 || len(w) == 1 && strings.HasSuffix(text, " ")) &&
		len(w[0]) > 2 && strings.HasPrefix("columns", w[0])
}

// unaliased writes out an alias that words follow, and says by how much the line
// has grown.
func (s *Shell) unaliased(text string) (string, int) {
	if !strings.ContainsAny(strings.TrimLeft(text, " \t"), " \t") {
		return text, 0
	}
	out, _ := s.expandAlias(text)
	return out, len(out) - len(text)
}

// aliasesFor are the aliases that may stand at the end of text.
func (s *Shell) aliasesFor(text string) []edit.Item {
	word := strings.TrimLeft(text, " \t")
	if strings.ContainsAny(word, " \t|") || word == "" {
		return nil
	}
	var out []edit.Item
	for _, n := range s.aliasNames() {
		if strings.HasPrefix(n, word) {
			line, _ := s.alias(n)
			out = append(out, edit.Item{Text: n, Help: "alias: " + line})
		}
	}
	return out
}

// valuesEnv lets a completion ask for values. The station is asked once,
// whatever the kinds that are possible.
func (s *Shell) valuesEnv(line string) grammar.Env {
	l := s.linkOf(line)
	asked := map[string]bool{}
	return grammar.Env{Values: func(ctx context.Context, kind, partial string, m *grammar.Match) []grammar.Candidate {
		switch kind {
		case "FILE":
			if m.Command.Local && !s.o.Remote {
				return files(partial)
			}
			return nil
		case "SCRIPT":
			return shippedScripts()
		case "ALIAS":
			var list []grammar.Candidate
			for _, n := range s.aliasNames() {
				line, _ := s.alias(n)
				list = append(list, grammar.Candidate{Text: n, Help: line})
			}
			return list
		case "STATION":
			if m.Has("attach") {
				return nil
			}
			return s.stationValues()
		case "TARGET":
			if strings.HasPrefix(partial, "nats://") {
				return ClusterValues(ctx, partial)
			}
			return append(s.stationValues(), runningValues()...)
		}
		if l == nil || slices.Contains(noValues, kind) {
			return nil
		}
		question := m.Line + " " + partial
		if partial == "" {
			question = strings.TrimRight(m.Line, " ") + " "
		}
		if asked[question] {
			return nil
		}
		asked[question] = true
		return l.live(ctx, question)
	}}
}

// noValues are the kinds that no station has values for.
var noValues = []string{"PREFIX", "ADDR", "ADDRPORT", "NLRI", "T", "RE", "ASPATH", "LINE", "COMMAND", "SECRET", "DURATION", "SIZE",
	"COMMUNITY", "LARGE", "EXT", "ONOFF", "WORD", "ARG", "OPTION", "VIEW", "TYPE"}

// linkOf is the station that a line is for: that of `on NAME`, or the current.
func (s *Shell) linkOf(line string) *link {
	w := strings.Fields(line)
	if len(w) > 2 && w[0] == "on" {
		if l := s.named(w[1]); l != nil {
			return l
		}
	}
	return s.at()
}

func (s *Shell) stationValues() []grammar.Candidate {
	var list []grammar.Candidate
	for _, l := range s.all() {
		help := "gone"
		if c := l.connected(); c != nil {
			help = "attached, " + c.Role().String()
		}
		list = append(list, grammar.Candidate{Text: l.name, Help: help})
	}
	return list
}

// runningValues are the stations of this machine.
func runningValues() []grammar.Candidate {
	list, _ := running()
	var out []grammar.Candidate
	for _, s := range list {
		out = append(out, grammar.Candidate{Text: s.Name, Help: "a station that runs here"})
	}
	return out
}

// maxFiles is how many names of files are offered.
const maxFiles = 200

// files are the files of this machine that begin as typed.
func files(partial string) []grammar.Candidate {
	folder, name := filepath.Split(partial)
	look := fromHome(folder)
	if look == "" {
		look = "."
	}
	entries, err := os.ReadDir(look)
	if err != nil {
		return nil
	}
	var list []grammar.Candidate
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), name) || name == "" && e.Name()[0] == '.' || len(list) >= maxFiles {
			continue
		}
		c := grammar.Candidate{Text: folder + e.Name(), Help: "file"}
		if info, err := os.Stat(filepath.Join(look, e.Name())); err == nil && info.IsDir() {
			c.Text, c.Help = c.Text+"/", "folder"
		}
		list = append(list, c)
	}
	return list
}

// valueCache holds the newest answers of a station about values, for a moment:
// one question is asked at every key that is typed.
type valueCache struct {
	mu      sync.Mutex
	answers map[string]*answer
}

type answer struct {
	at   time.Time
	done chan struct{} // closed when list is there
	list []grammar.Candidate
}

// valuesFresh is how long an answer about values is good.
const valuesFresh = time.Second

// live asks the station what may stand at the end of a line; nil when it does
// not say so in time.
func (l *link) live(ctx context.Context, question string) []grammar.Candidate {
	client := l.connected()
	if client == nil || len(question) > maxBatchLine {
		return nil
	}
	c := &l.values
	c.mu.Lock()
	a := c.answers[question]
	if a == nil || time.Since(a.at) > valuesFresh {
		if c.answers == nil || len(c.answers) > 100 {
			c.answers = make(map[string]*answer)
		}
		a = &answer{at: time.Now(), done: make(chan struct{})}
		c.answers[question] = a
		go l.fetch(client, question, a)
	}
	c.mu.Unlock()
	timeout := time.NewTimer(l.valueTime())
	defer timeout.Stop()
	select {
	case <-a.done:
		return a.list
	case <-timeout.C:
	case <-ctx.Done():
	}
	return nil
}

// fetch asks one question. It ends with its time, or with the connection.
func (l *link) fetch(client *control.Client, question string, a *answer) {
	defer close(a.done)
	ctx, cancel := context.WithTimeout(context.Background(), 2*l.valueTime())
	defer cancel()
	began := time.Now()
	got, err := client.Complete(ctx, question)
	if err != nil {
		return
	}
	took := time.Since(began)
	l.mu.Lock()
	l.rtt = (3*l.rtt + took) / 4
	tree := l.tree
	l.mu.Unlock()
	// Keywords are known here without asking.
	var words []string
	if tree != nil {
		for _, x := range tree.Complete(ctx, question, grammar.Env{}).Candidates {
			words = append(words, x.Text)
		}
	}
	for _, x := range got.Candidates {
		x.Text = unquoted(x.Text)
		if !slices.Contains(words, x.Text) {
			a.list = append(a.list, x)
		}
	}
}

// unquoted is a candidate without its quotes: the tree puts them on.
func unquoted(s string) string {
	for len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		s = strings.ReplaceAll(s[1:len(s)-1], `'\''`, `'`)
	}
	return s
}
