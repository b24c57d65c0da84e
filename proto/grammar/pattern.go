package grammar

import (
	"fmt"
	"strings"
)

// A pattern is parsed to elements, and these are compiled to a small automaton: nodes with edges that consume a word of
// the line, and empty steps. The options of { } are one node each that all their alternatives return to; a bit per
// alternative, carried by the thread that walks (match.go), keeps each to once.

// element is one part of a pattern.
type element struct {
	form   form
	word   string // keyword; for a value its own name, "" for the kind's
	whole  bool   // keyword!
	kind   *Kind  // value
	alts   [][]element
	repeat []bool // of alts, in options
	again  bool   // value ...
}

type form uint8

const (
	keyword  form = iota
	value         // KIND
	choice        // ( )
	optional      // [ ]
	options       // { }
)

// patternParser reads one pattern.
type patternParser struct {
	tokens []string
	kinds  map[string]*Kind // those the tree made up
}

// splitPattern gives the tokens of a pattern: brackets, bars and "..." alone, everything else by blanks.
func splitPattern(p string) []string {
	var tokens []string
	start := -1
	flush := func(i int) {
		if start < 0 {
			return
		}
		token, again := strings.CutSuffix(p[start:i], "...")
		if token != "" {
			tokens = append(tokens, token)
		}
		if again {
			tokens = append(tokens, "...")
		}
		start = -1
	}
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case strings.IndexByte("[](){}|", c) >= 0:
			flush(i)
			tokens = append(tokens, p[i:i+1])
		case isBlank(c) || c == '\n':
			flush(i)
		case start < 0:
			start = i
		}
	}
	flush(len(p))
	return tokens
}

func (p *patternParser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

// sequence reads elements to a bar, a closing bracket or the end.
func (p *patternParser) sequence() ([]element, error) {
	var list []element
	for {
		token := p.next()
		switch token {
		case "", "|", "]", ")", "}":
			return list, nil
		case "...":
			return list, nil // the caller knows what it repeats
		case "[", "(", "{":
			p.tokens = p.tokens[1:]
			e, err := p.bracket(token)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
			continue
		}
		p.tokens = p.tokens[1:]
		e, err := p.single(token)
		if err != nil {
			return nil, err
		}
		// "..." after a value repeats it; at the end of an alternative of { } it repeats the alternative.
		if p.next() == "..." && e.form == value && (len(p.tokens) == 1 || p.tokens[1] == "]") {
			p.tokens = p.tokens[1:]
			e.again = true
		}
		list = append(list, e)
	}
}

func (p *patternParser) single(token string) (element, error) {
	name, kind, named := strings.Cut(token, ":")
	if !named {
		kind = token
	}
	if kind == "" || kind[0] < 'A' || kind[0] > 'Z' {
		if named {
			return element{}, fmt.Errorf("%s: a kind is upper case", token)
		}
		w, whole := strings.CutSuffix(token, "!")
		if w == "" || strings.ContainsAny(w, "'\"\\!") {
			return element{}, fmt.Errorf("%q is not a keyword", token)
		}
		return element{form: keyword, word: w, whole: whole}, nil
	}
	k := kindsByName[kind]
	if k == nil {
		k = p.kinds[kind]
	}
	if k == nil {
		k = &Kind{Name: kind, Help: "", Expected: kind}
		p.kinds[kind] = k
	}
	if !named {
		name = ""
	}
	return element{form: value, word: name, kind: k}, nil
}

func (p *patternParser) bracket(open string) (element, error) {
	e := element{form: optional}
	closing := "]"
	switch open {
	case "(":
		e.form, closing = choice, ")"
	case "{":
		e.form, closing = options, "}"
	}
	for {
		alt, err := p.sequence()
		if err != nil {
			return e, err
		}
		repeat := false
		if p.next() == "..." {
			if e.form != options {
				return e, fmt.Errorf("... repeats a value or an alternative of { }")
			}
			p.tokens = p.tokens[1:]
			repeat = true
		}
		if len(alt) == 0 {
			return e, fmt.Errorf("an empty alternative in %s %s", open, closing)
		}
		if e.form == options && alt[0].form != keyword && alt[0].form != value && alt[0].form != choice {
			return e, fmt.Errorf("an alternative of { } starts with a word, a value or a choice")
		}
		e.alts = append(e.alts, alt)
		e.repeat = append(e.repeat, repeat)
		token := p.next()
		if token == "" {
			return e, fmt.Errorf("%s is not closed", open)
		}
		p.tokens = p.tokens[1:]
		switch token {
		case "|":
		case closing:
			return e, nil
		default:
			return e, fmt.Errorf("%s closed by %s", open, token)
		}
	}
}

// node is a state of the automaton.
type node struct {
	steps  []step
	edges  []edge
	accept bool
}

// step goes to another node without a word.
type step struct {
	to   int
	need uint64 // bits that must not be set
	set  uint64
}

// edge consumes a word of the line.
type edge struct {
	to    int
	word  string // keyword, or the word of an enumerated value; "" for a value by syntax
	whole bool
	kind  *Kind  // nil for a keyword
	name  string // of the value
	after string // keyword right before the value
	value string // enumerated value as far as this word says it
	more  bool   // second word of an enumerated value
	rare  bool
}

// program is a compiled pattern.
type program struct {
	nodes []node
	bits  int
}

func compilePattern(pattern string, kinds map[string]*Kind) (*program, error) {
	p := patternParser{tokens: splitPattern(pattern), kinds: kinds}
	list, err := p.sequence()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%s without its opening", p.tokens[0])
	}
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("empty")
	}
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	g := &program{nodes: make([]node, 1)}
	end := g.sequence(list, 0, "")
	g.nodes[end].accept = true
	if g.bits > 64 {
		return nil, fmt.Errorf("pattern %q: more than 64 options", pattern)
	}
	return g, nil
}

func (g *program) node() int {
	g.nodes = append(g.nodes, node{})
	return len(g.nodes) - 1
}

func (g *program) step(from int, s step) { g.nodes[from].steps = append(g.nodes[from].steps, s) }

// sequence compiles elements from a node and returns the node behind them.
func (g *program) sequence(list []element, from int, after string) int {
	for _, e := range list {
		from = g.element(e, from, after)
		after = ""
		if e.form == keyword {
			after = e.word
		}
	}
	return from
}

func (g *program) element(e element, from int, after string) int {
	switch e.form {
	case keyword:
		to := g.node()
		g.nodes[from].edges = append(g.nodes[from].edges, edge{to: to, word: e.word, whole: e.whole})
		return to
	case value:
		to := g.value(e, from, after)
		if e.again {
			loop := g.value(e, to, after)
			g.step(loop, step{to: to})
		}
		return to
	case options:
		loop := g.node()
		g.step(from, step{to: loop})
		for i, alt := range e.alts {
			start := g.node()
			var bit uint64
			if !e.repeat[i] {
				bit = 1 << (g.bits % 64)
				g.bits++
			}
			g.step(loop, step{to: start, need: bit, set: bit})
			g.step(g.sequence(alt, start, ""), step{to: loop})
		}
		return loop
	}
	to := g.node()
	for _, alt := range e.alts {
		start := g.node()
		g.step(from, step{to: start})
		first := ""
		if e.form == choice {
			first = after
		}
		g.step(g.sequence(alt, start, first), step{to: to})
	}
	if e.form == optional {
		g.step(from, step{to: to})
	}
	return to
}

// value compiles a value: one edge by syntax, and one for each word of an enumerated kind.
func (g *program) value(e element, from int, after string) int {
	k := e.kind
	name := e.word
	if name == "" {
		name = strings.ToLower(k.Name)
	}
	to := g.node()
	heads := make(map[string]int) // node after the first of two words
	for _, en := range k.words {
		first, second, two := strings.Cut(en.words, " ")
		add := edge{to: to, word: first, kind: k, name: name, after: after, value: en.value, rare: en.rare}
		if !two {
			g.nodes[from].edges = append(g.nodes[from].edges, add)
			continue
		}
		head, ok := heads[first]
		if !ok {
			head = g.node()
			heads[first] = head
			add.to, add.value = head, ""
			g.nodes[from].edges = append(g.nodes[from].edges, add)
		}
		g.nodes[head].edges = append(g.nodes[head].edges,
			edge{to: to, word: second, kind: k, name: name, after: after, value: en.value, more: true, rare: en.rare})
	}
	if k.words == nil || k.Name == "FAMILY" {
		g.nodes[from].edges = append(g.nodes[from].edges, edge{to: to, kind: k, name: name, after: after})
	}
	return to
}
