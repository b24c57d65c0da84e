package grammar

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Roles of a command.
const (
	View  = "view"  // may be run by everybody who is let in
	Admin = "admin" // changes something
)

// Command is one row of the tree. The zero Role is View.
type Command struct {
	ID       string   `json:"id"`                 // stable and unique: what the handler is found by ("show client peers")
	Pattern  string   `json:"pattern"`            // see the package comment
	Help     string   `json:"help,omitempty"`     // one line, lower case, no full stop
	Long     string   `json:"long,omitempty"`     // paragraphs for `help COMMAND`
	Role     string   `json:"role,omitempty"`     // View or Admin
	Examples []string `json:"examples,omitempty"` // whole lines
	Columns  []string `json:"columns,omitempty"`  // names of the columns it prints, for completing `sort` and `columns`
	Hidden   bool     `json:"hidden,omitempty"`   // matches, but is in no list, help or completion (later spellings)
	Local    bool     `json:"local,omitempty"`    // belongs to the shell; the station refuses it
}

// Usage is the pattern as people read it, without names of values and marks.
func (c *Command) Usage() string {
	var b strings.Builder
	tokens := splitPattern(c.Pattern)
	for i, token := range tokens {
		// A bracket or bar stands close to what it belongs to.
		if i > 0 && !strings.Contains("])}|...", token) && !strings.Contains("[({|", tokens[i-1]) {
			b.WriteByte(' ')
		}
		if name, kind, ok := strings.Cut(token, ":"); ok && name != "" {
			token = kind
		}
		if k := kindsByName[token]; k != nil {
			token = k.label()
		}
		b.WriteString(strings.TrimSuffix(token, "!"))
	}
	return b.String()
}

// Tree is a compiled set of commands. It never changes: any goroutine may use it.
type Tree struct {
	commands []Command
	programs []*program
	words    map[string]string
	filters  *Tree
	noun     string  // "command" or "filter", for errors
	start    []state // where a line begins
}

// New compiles commands. words are the helps shown by `?` for keywords, keyed by the word or by the words that lead to it
// ("show client peer"): the longest key that fits wins, and without one the help of the command that the word completes.
func New(commands []Command, words map[string]string) (*Tree, error) {
	return newTree("command", commands, words)
}

// NewFilters compiles the commands that may follow a bar: the same, but for the wording of errors.
func NewFilters(filters []Command, words map[string]string) (*Tree, error) {
	return newTree("filter", filters, words)
}

func newTree(noun string, commands []Command, words map[string]string) (*Tree, error) {
	t := &Tree{commands: slices.Clone(commands), words: words, noun: noun}
	kinds := make(map[string]*Kind)
	ids := make(map[string]bool)
	for i := range t.commands {
		c := &t.commands[i]
		if c.ID == "" || ids[c.ID] {
			return nil, fmt.Errorf("pattern %q: ID %q is empty or used twice", c.Pattern, c.ID)
		}
		ids[c.ID] = true
		if c.Role == "" {
			c.Role = View
		}
		if c.Role != View && c.Role != Admin {
			return nil, fmt.Errorf("pattern %q: no role %q", c.Pattern, c.Role)
		}
		p, err := compilePattern(c.Pattern, kinds)
		if err != nil {
			return nil, err
		}
		t.programs = append(t.programs, p)
	}
	var threads []thread
	for i := range t.programs {
		threads = append(threads, thread{command: i})
	}
	t.start = t.expand(nil, threads)
	return t, nil
}

// Must is New for trees written in the program: it panics with the error.
func Must(t *Tree, err error) *Tree {
	if err != nil {
		panic(err)
	}
	return t
}

// WithFilters returns the tree with the words that may follow a bar, for completion and help.
func (t *Tree) WithFilters(filters *Tree) *Tree {
	u := *t
	u.filters = filters
	return &u
}

// Filters is what WithFilters was given, or nil.
func (t *Tree) Filters() *Tree { return t.filters }

// Merge returns a tree of both: of two commands with the same ID or pattern, the one of b is taken. Filters and words are
// those of both, b's winning.
func Merge(a, b *Tree) (*Tree, error) {
	taken := make(map[string]bool)
	for _, c := range b.commands {
		taken["i"+c.ID], taken["p"+c.Pattern] = true, true
	}
	var commands []Command
	for _, c := range a.commands {
		if !taken["i"+c.ID] && !taken["p"+c.Pattern] {
			commands = append(commands, c)
		}
	}
	commands = append(commands, b.commands...)
	words := make(map[string]string, len(a.words)+len(b.words))
	for _, t := range []*Tree{a, b} {
		for k, v := range t.words {
			words[k] = v
		}
	}
	t, err := newTree(a.noun, commands, words)
	if err != nil {
		return nil, err
	}
	t.filters = a.filters
	if b.filters != nil {
		t.filters = b.filters
	}
	return t, nil
}

// Commands are the rows, in the order given. The slice is the tree's own.
func (t *Tree) Commands() []Command { return t.commands }

// Usages are the patterns as a person reads them, sorted, hidden ones left out: the shell's `list`.
func (t *Tree) Usages() []string {
	var list []string
	for i := range t.commands {
		if !t.commands[i].Hidden {
			list = append(list, t.commands[i].Usage())
		}
	}
	sort.Strings(list)
	return list
}

// wireTree is the JSON form of a Tree: its rows, from which the other side compiles it again.
type wireTree struct {
	Commands []Command         `json:"commands"`
	Words    map[string]string `json:"words,omitempty"`
	Filters  *wireTree         `json:"filters,omitempty"`
}

func (t *Tree) wire() *wireTree {
	if t == nil {
		return nil
	}
	return &wireTree{Commands: t.commands, Words: t.words, Filters: t.filters.wire()}
}

// MarshalJSON writes the rows of the tree, its helps and its filters.
func (t *Tree) MarshalJSON() ([]byte, error) { return json.Marshal(t.wire()) }

// UnmarshalJSON compiles what MarshalJSON wrote. A row that cannot be understood (a later station's notation) is left out,
// so that the rest can be used.
func (t *Tree) UnmarshalJSON(data []byte) error {
	var w wireTree
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("command tree: %w", err)
	}
	*t = *w.tree("command")
	if w.Filters != nil {
		t.filters = w.Filters.tree("filter")
	}
	return nil
}

func (w *wireTree) tree(noun string) *Tree {
	var good []Command
	ids := make(map[string]bool)
	for _, c := range w.Commands {
		if _, err := newTree(noun, []Command{c}, nil); err == nil && !ids[c.ID] {
			ids[c.ID] = true
			good = append(good, c)
		}
	}
	return Must(newTree(noun, good, w.Words)) // each row compiles alone, and IDs are unique
}
