package grammar

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Env is what the judgement of a line depends on besides the tree.
type Env struct {
	Now    time.Time      // zero: time.Now()
	Zone   *time.Location // zone of bare clock times; nil: time.Local
	Strict bool           // words must be whole
	// Values lists live values while completing; may be nil. kind is the name of the kind (CLIENT), partial what is typed
	// of it, m what was matched before it (m.Command: the first command that it may still become). A few hundred are enough;
	// those that do not start with partial are left out by the caller.
	Values func(ctx context.Context, kind, partial string, m *Match) []Candidate
}

func (e Env) filled() *Env {
	if e.Zone == nil {
		e.Zone = time.Local
	}
	if e.Now.IsZero() {
		e.Now = time.Now()
	}
	return &e
}

// Match is a line understood.
type Match struct {
	Command  *Command // the tree's own
	Args     []Arg    // the values in the order typed
	Words    []string // the keywords in the order typed, whole
	Rest     string   // what follows the first bar, "" without one
	RestCol  int      // byte column (from 1) of Rest in the line; 0 without a bar
	Line     string   // the command without its filters, abbreviations written out
	secrets  bool
	redacted string
}

// Arg is one value of a matched line.
type Arg struct {
	Name  string // of name:KIND, else the kind in lower case
	After string // the keyword right before it, "" if none
	Kind  string
	Text  string // without quotes; enumerated values written out (ipv4-vpn)
	Col   int    // byte column from 1, in the line
	Len   int
	Value any // as Kinds says; nil for a kind that is only text
}

// Has reports whether the keyword was typed (whole or abbreviated).
func (m *Match) Has(word string) bool { return slices.Contains(m.Words, word) }

// Arg finds the first value by its name, or by the keyword right before it: after `next-hop ADDR`, both "next-hop" and
// "addr" find it.
func (m *Match) Arg(name string) (Arg, bool) {
	for _, a := range m.Args {
		if a.Name == name || a.After == name {
			return a, true
		}
	}
	return Arg{}, false
}

// Value is the text of Arg, "" if it was not given.
func (m *Match) Value(name string) string {
	a, _ := m.Arg(name)
	return a.Text
}

// Values are the texts of all values of that name.
func (m *Match) Values(name string) []string {
	var list []string
	for _, a := range m.Args {
		if a.Name == name || a.After == name {
			list = append(list, a.Text)
		}
	}
	return list
}

func typed[V any](m *Match, name string) (V, bool) {
	a, _ := m.Arg(name)
	v, ok := a.Value.(V)
	return v, ok
}

// Number is the value of a number or AS; false if it was not given.
func (m *Match) Number(name string) (uint64, bool) { return typed[uint64](m, name) }

// Time is the value of a T.
func (m *Match) Time(name string) (time.Time, bool) { return typed[time.Time](m, name) }

// Duration is the value of a DURATION.
func (m *Match) Duration(name string) (time.Duration, bool) { return typed[time.Duration](m, name) }

// Size is the value of a SIZE, in bytes.
func (m *Match) Size(name string) (int64, bool) { return typed[int64](m, name) }

// Addr is the value of an ADDR.
func (m *Match) Addr(name string) (netip.Addr, bool) { return typed[netip.Addr](m, name) }

// AddrPort is the value of an ADDRPORT.
func (m *Match) AddrPort(name string) (netip.AddrPort, bool) { return typed[netip.AddrPort](m, name) }

// Prefix is the value of a PREFIX.
func (m *Match) Prefix(name string) (netip.Prefix, bool) { return typed[netip.Prefix](m, name) }

// Regexp is the value of a RE or ASPATH.
func (m *Match) Regexp(name string) (*regexp.Regexp, bool) { return typed[*regexp.Regexp](m, name) }

// Secret reports whether the line holds a secret: it is then kept out of history and logs.
func (m *Match) Secret() bool { return m.secrets }

// Redacted is Line with secrets replaced by ***, for logs and events.
func (m *Match) Redacted() string {
	if !m.secrets {
		return m.Line
	}
	return m.redacted
}

// thread is one way in which a line may be read so far.
type thread struct {
	command int
	node    int
	used    uint64 // options that were used up
	last    *read
}

// read is one word read, the newest first.
type read struct {
	prev *read
	word string // keyword
	arg  *Arg   // or value
	kind *Kind
}

// state is a thread at a node from which it may go on.
type state struct {
	thread
	n      *node
	hidden bool // its command is
}

// expand follows the steps of threads: the result holds every node they may be at, in the order of the rows and of
// their patterns.
func (t *Tree) expand(list []state, threads []thread) []state {
	for _, th := range threads {
		from := len(list)
		list = t.follow(list, from, th)
	}
	return list
}

func (t *Tree) follow(list []state, from int, th thread) []state {
	for _, s := range list[from:] {
		if s.node == th.node && s.used == th.used {
			return list
		}
	}
	n := &t.programs[th.command].nodes[th.node]
	list = append(list, state{thread: th, n: n, hidden: t.commands[th.command].Hidden}) // even where it is only a way to others: that ends cycles
	for _, s := range n.steps {
		if th.used&s.need != 0 {
			continue
		}
		next := th
		next.node, next.used = s.to, th.used|s.set
		list = t.follow(list, from, next)
	}
	return list
}

// pick is an edge that a word may take.
type pick struct {
	state *state
	edge  *edge
	value any
}

// reading is what choose found for one word.
type reading struct {
	picks []pick
	words []string // when ambiguous: the keywords that the word may mean
	fault error    // of a value that had the right form and is wrong
}

// choose finds the edges that word w may take from states: an exact keyword wins, then a prefix of one keyword, then a
// prefix of a rare or hidden one, then values.
func choose(states []state, w word, env *Env) reading {
	var exact, prefix, rare, values []pick
	var r reading
	for i := range states {
		s := &states[i]
		for j := range s.n.edges {
			e := &s.n.edges[j]
			switch {
			case e.word == "":
			case e.word == w.text:
				exact = append(exact, pick{s, e, e.value})
			case env.Strict || e.whole || w.text == "" || !strings.HasPrefix(e.word, w.text):
			case e.rare || s.hidden:
				rare = append(rare, pick{s, e, e.value})
			default:
				prefix = append(prefix, pick{s, e, e.value})
			}
		}
	}
	for _, tier := range [][]pick{exact, prefix, rare} {
		if len(tier) == 0 {
			continue
		}
		r.picks = tier
		for _, p := range tier {
			if !slices.Contains(r.words, p.edge.word) {
				r.words = append(r.words, p.edge.word)
			}
		}
		if len(r.words) > 1 {
			slices.Sort(r.words)
			r.picks = nil
		} else {
			r.words = nil
		}
		return r
	}
	for i := range states {
		s := &states[i]
		for j := range s.n.edges {
			e := &s.n.edges[j]
			if e.word != "" {
				continue
			}
			var v any
			if e.kind.parse != nil {
				var err error
				if v, err = e.kind.parse(w.text, env); err != nil {
					if err != errSyntax && r.fault == nil {
						r.fault = err
					}
					continue
				}
			} else if w.text == "" && e.kind.rest == oneWord && !w.quoted {
				continue
			}
			values = append(values, pick{s, e, v})
		}
	}
	r.picks = values
	return r
}

// readWord reads the word at position i of line, where states expect it, and finds what it may be. Where a value is possible
// that goes further than a word, that is taken instead of anything but an exact keyword; a keyword that is only abbreviated
// still goes before a command. open is as in lexWord.
func readWord(states []state, line string, i int, env *Env) (w word, r reading, open int) {
	w, open = lexWord(line, i)
	r = choose(states, w, env)
	widest := oneWord
	for k := range states {
		for j := range states[k].n.edges {
			if e := &states[k].n.edges[j]; e.word == "" && e.kind != nil {
				widest = max(widest, e.kind.rest)
			}
		}
	}
	if widest == oneWord || widest == rawArgument && (line[i] == '\'' || line[i] == '"') {
		return w, r, open
	}
	if len(r.picks) > 0 && r.picks[0].edge.word != "" && (widest == restAll || r.picks[0].edge.word == w.text) {
		return w, r, open
	}
	if widest == restAll {
		w = word{text: strings.TrimRight(line[i:], " \t"), start: i, quoted: true}
		w.end = i + len(w.text)
	} else {
		w = lexRaw(line, i)
	}
	return w, choose(rawOnly(states), w, env), -1
}

// rawOnly leaves the edges that take more than a word.
func rawOnly(states []state) []state {
	var list []state
	for _, s := range states {
		n := &node{}
		for _, e := range s.n.edges {
			if e.word == "" && e.kind.rest != oneWord {
				n.edges = append(n.edges, e)
			}
		}
		if len(n.edges) > 0 {
			s.n = n
			list = append(list, s)
		}
	}
	return list
}

// take moves threads over a word.
func (t *Tree) take(r reading, w word) []state {
	threads := make([]thread, 0, len(r.picks))
	for _, p := range r.picks {
		th := p.state.thread
		th.node = p.edge.to
		th.last = &read{prev: th.last, word: p.edge.word, kind: p.edge.kind}
		if p.edge.kind != nil {
			a := &Arg{Name: p.edge.name, After: p.edge.after, Kind: p.edge.kind.Name, Text: w.text, Col: w.start + 1,
				Len: w.end - w.start, Value: p.value}
			if p.edge.word != "" {
				a.Text, a.Value = p.edge.value, nil
				if p.edge.kind.parse != nil && p.edge.kind.Name != "FAMILY" {
					a.Value, _ = p.edge.kind.parse(a.Text, nil)
				}
			}
			if p.edge.more {
				first := th.last.prev.arg
				a.Col, a.Len = first.Col, w.end+1-first.Col
				th.last.prev = th.last.prev.prev
			}
			th.last.arg, th.last.word = a, ""
		}
		threads = append(threads, th)
	}
	return t.expand(nil, threads)
}

// Match judges a line. The error is *Error.
func (t *Tree) Match(line string, env Env) (*Match, error) {
	e := env.filled()
	states := t.start
	first := skipBlanks(line, 0)
	i := first
	for ; i < len(line) && line[i] != '|'; i = skipBlanks(line, i) {
		w, r, open := readWord(states, line, i, e)
		if open >= 0 {
			return nil, &Error{Code: 503, Col: open + 1, Len: len(line) - open, Text: "Invalid input: the quote is not closed"}
		}
		if len(r.picks) == 0 {
			return nil, t.refuse(states, line, first, w, r)
		}
		states = t.take(r, w)
		i = w.end
	}
	for k := range states {
		if !states[k].n.accept {
			continue
		}
		m := t.matchOf(states[k].thread)
		if i < len(line) {
			m.Rest, m.RestCol = line[i+1:], i+2
		}
		return m, nil
	}
	return nil, t.incomplete(states, line[first:i], i)
}

// matchOf makes a Match of what a thread has read.
func (t *Tree) matchOf(th thread) *Match {
	m := &Match{Command: &t.commands[th.command]}
	var reads []*read
	for r := th.last; r != nil; r = r.prev {
		reads = append(reads, r)
	}
	slices.Reverse(reads)
	var plain, masked strings.Builder
	for i, r := range reads {
		if i > 0 {
			plain.WriteByte(' ')
			masked.WriteByte(' ')
		}
		text, mask := r.word, r.word
		switch {
		case r.arg == nil:
			m.Words = append(m.Words, r.word)
		case r.kind.rest >= restOfLine:
			m.Args = append(m.Args, *r.arg)
			text, mask = r.arg.Text, r.arg.Text
		default:
			m.Args = append(m.Args, *r.arg)
			text = Quote(r.arg.Text)
			mask = text
			if r.kind.secret {
				m.secrets, mask = true, "***"
			}
		}
		plain.WriteString(text)
		masked.WriteString(mask)
	}
	m.Line, m.redacted = plain.String(), masked.String()
	return m
}
