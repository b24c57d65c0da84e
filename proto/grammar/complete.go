package grammar

import (
	"context"
	"slices"
	"sort"
	"strings"
)

// Candidate is one completion.
type Candidate struct {
	Text string // what is put in the line; Complete quotes it where it must be
	Help string // what one wants to know beside it
}

// Completion answers Tab. Col+Len is the part of the line that the candidates replace (bytes, Col from 1).
type Completion struct {
	Col, Len   int
	Prefix     string // longest common prefix of the candidates; what was typed, if there are none
	Candidates []Candidate
}

// Item is one row of the answer to `?`. Word is "<cr>" where the line may end, "|" where filters may follow, and the
// kind in upper case for a value.
type Item struct {
	Word, Help string
	Next       string // the value that must follow the word, "" if none
}

// maxValues is how many live values one question gets.
const maxValues = 200

// position is where completion stands: behind the whole words of a line, at its last, partial one.
type position struct {
	tree    *Tree
	states  []state
	partial word
	offset  int      // of the tree's line in the whole line: not 0 behind a bar or in a COMMAND
	columns []string // of the command before the bar
}

// positions finds where the end of line stands: nowhere if it cannot be understood, and in two trees at once where a COMMAND may begin
// beside other words.
func (t *Tree) positions(line string, offset int, env *Env, columns []string) []position {
	states := t.start
	i := skipBlanks(line, 0)
	for ; i < len(line); i = skipBlanks(line, i) {
		if line[i] == '|' {
			if t.filters == nil && t.noun != "filter" {
				return nil
			}
			filters := t.filters
			if filters == nil {
				filters = t
			}
			for k := range states {
				if columns == nil && states[k].n.accept {
					columns = t.commands[states[k].command].Columns
				}
			}
			return filters.positions(line[i+1:], offset+i+1, env, columns)
		}
		w, r, open := readWord(states, line, i, env)
		inCommand := len(r.picks) > 0 && r.picks[0].edge.word == "" && r.picks[0].edge.kind.rest == restAll
		if inCommand {
			// The words of a command are read by the tree itself; its first one may still be a word of this place.
			list := t.positions(line[i:], offset+i, env, nil)
			if first, _ := lexWord(line, i); first.end == len(line) {
				list = append([]position{{tree: t, states: states, partial: first, offset: offset}}, list...)
			}
			return list
		}
		raw := len(r.picks) > 0 && r.picks[0].edge.word == "" && r.picks[0].edge.kind.rest != oneWord
		if w.end == len(line) || open >= 0 || raw && skipBlanks(line, w.end) == len(line) {
			w.end = len(line)
			return []position{{tree: t, states: states, partial: w, offset: offset, columns: columns}}
		}
		if len(r.picks) == 0 {
			return nil
		}
		states = t.take(r, w)
		i = w.end
	}
	list := []position{{tree: t, states: states, partial: word{start: len(line), end: len(line)}, offset: offset, columns: columns}}
	for k := range states {
		for j := range states[k].n.edges {
			if e := &states[k].n.edges[j]; e.word == "" && e.kind != nil && e.kind.rest == restAll {
				return append(list, t.positions("", offset+len(line), env, nil)...)
			}
		}
	}
	return list
}

// keywords are the words possible at a position, each with the first edge and state that has it.
func (p *position) keywords() []pick {
	var all, rare, whole []pick
	seen := make(map[string]bool)
	for i := range p.states {
		s := &p.states[i]
		if s.hidden {
			continue
		}
		for j := range s.n.edges {
			e := &s.n.edges[j]
			if e.word == "" || seen[e.word] || !strings.HasPrefix(e.word, p.partial.text) {
				continue
			}
			seen[e.word] = true
			switch {
			case e.whole && p.partial.text != "":
				whole = append(whole, pick{state: s, edge: e})
			case e.rare:
				rare = append(rare, pick{state: s, edge: e})
			default:
				all = append(all, pick{state: s, edge: e})
			}
		}
	}
	// A rare spelling, and a word that must be typed whole, are not offered beside others, and the first not without a letter.
	if len(all) == 0 && p.partial.text != "" {
		all = append(rare, whole...)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].edge.word < all[j].edge.word })
	return all
}

// values are the kinds possible at a position by syntax, each once.
func (p *position) values() []pick {
	var list []pick
	for i := range p.states {
		s := &p.states[i]
		if s.hidden {
			continue
		}
		for j := range s.n.edges {
			e := &s.n.edges[j]
			known := func(q pick) bool { return q.edge.kind == e.kind }
			if e.word == "" && e.kind != nil && e.kind.rest != restAll && !slices.ContainsFunc(list, known) {
				list = append(list, pick{state: s, edge: e})
			}
		}
	}
	return list
}

// live asks for the values of a kind that start with the partial word. more: there may be others.
func (p *position) live(ctx context.Context, v pick, env *Env) (good []Candidate, more bool) {
	var list []Candidate
	if v.edge.kind.Name == "COLUMN" {
		// A list with commas: the last name is the one to complete.
		typed := p.partial.text[:strings.LastIndexByte(p.partial.text, ',')+1]
		for _, c := range p.columns {
			list = append(list, Candidate{Text: typed + strings.ReplaceAll(c, " ", "-")})
		}
	} else if env.Values != nil {
		list = env.Values(ctx, v.edge.kind.Name, p.partial.text, p.tree.matchOf(v.state.thread))
	}
	for _, c := range list {
		if strings.HasPrefix(c.Text, p.partial.text) && len(good) < maxValues {
			good = append(good, c)
		}
	}
	return good, len(good) == maxValues
}

// Complete lists what may stand at the end of line.
func (t *Tree) Complete(ctx context.Context, line string, env Env) Completion {
	e := env.filled()
	e.Strict = false
	c := Completion{Col: len(line) + 1}
	cut := false
	for _, p := range t.positions(line, 0, e, nil) {
		c.Col, c.Len = p.offset+p.partial.start+1, p.partial.end-p.partial.start
		c.Prefix = line[c.Col-1 : c.Col-1+c.Len]
		for _, k := range p.keywords() {
			c.add(Candidate{Text: k.edge.word, Help: p.help(k)})
		}
		for _, v := range p.values() {
			list, more := p.live(ctx, v, e)
			for _, x := range list {
				x.Text = Quote(x.Text)
				c.add(x)
			}
			cut = cut || more
		}
	}
	if cut {
		return c // what they begin with may not be what the others do
	}
	for i, x := range c.Candidates {
		if i == 0 {
			c.Prefix = x.Text
		}
		for !strings.HasPrefix(x.Text, c.Prefix) {
			c.Prefix = c.Prefix[:len(c.Prefix)-1]
		}
	}
	return c
}

func (c *Completion) add(x Candidate) {
	if !slices.ContainsFunc(c.Candidates, func(y Candidate) bool { return y.Text == x.Text }) {
		c.Candidates = append(c.Candidates, x)
	}
}

// Help answers `?`: the words and values possible at the end of line that start with its last, partial word; none if
// the line before it cannot be understood (Match says why).
func (t *Tree) Help(ctx context.Context, line string, env Env) []Item {
	e := env.filled()
	e.Strict = false
	var words, values, end []Item
	add := func(list []Item, x Item) []Item {
		if slices.ContainsFunc(list, func(y Item) bool { return y.Word == x.Word }) {
			return list
		}
		return append(list, x)
	}
	for _, p := range t.positions(line, 0, e, nil) {
		for _, k := range p.keywords() {
			words = add(words, Item{Word: k.edge.word, Help: p.help(k), Next: p.next(k)})
		}
		for _, v := range p.values() {
			live, _ := p.live(ctx, v, e)
			if p.partial.text == "" || len(live) == 0 {
				fits := p.partial.text == "" || len(words) == 0
				if fits {
					values = add(values, Item{Word: v.edge.kind.label(), Help: v.edge.kind.Help})
				}
			}
			for _, c := range live {
				values = add(values, Item{Word: c.Text, Help: c.Help})
			}
		}
		if p.partial.end > p.partial.start {
			continue
		}
		for i := range p.states {
			if p.states[i].n.accept && !p.states[i].hidden {
				if p.tree.filters != nil || p.tree.noun == "filter" {
					end = add(end, Item{Word: "|", Help: "filter the output"})
				}
				end = add(end, Item{Word: "<cr>"})
			}
		}
	}
	sort.SliceStable(words, func(i, j int) bool { return words[i].Word < words[j].Word })
	return append(append(words, values...), end...)
}

// help finds the line of help of a keyword.
func (p *position) help(k pick) string {
	if k.edge.kind != nil {
		if k.edge.value == "" || k.edge.value == k.edge.word {
			return k.edge.kind.Help
		}
		return k.edge.value
	}
	path := append([]string(nil), p.tree.matchOf(k.state.thread).Words...)
	path = append(path, k.edge.word)
	for i := range path {
		if h, ok := p.tree.words[strings.Join(path[i:], " ")]; ok {
			return h
		}
	}
	// The command that ends here, or behind the value that follows, or the only one that goes on.
	only, short := "", ""
	for i := range p.states {
		s := &p.states[i]
		c := &p.tree.commands[s.command]
		if c.Hidden {
			continue
		}
		for j := range s.n.edges {
			e := &s.n.edges[j]
			if e.word != k.edge.word || e.kind != nil {
				continue
			}
			th := s.thread
			th.node = e.to
			for _, after := range p.tree.expand(nil, []thread{th}) {
				if after.n.accept {
					return c.Help
				}
				for x := range after.n.edges {
					if e := &after.n.edges[x]; e.kind != nil && short == "" && p.tree.accepts(after.command, e.to) {
						short = c.Help
					}
				}
			}
			if only == "" {
				only = c.Help
			} else if only != c.Help {
				only = "\x00"
			}
		}
	}
	if only == "\x00" {
		return short
	}
	return only
}

// accepts reports whether a command may end at a node of its pattern.
func (t *Tree) accepts(command, node int) bool {
	for _, s := range t.expand(nil, []thread{{command: command, node: node}}) {
		if s.n.accept {
			return true
		}
	}
	return false
}

// next names the value that must follow a keyword.
func (p *position) next(k pick) string {
	if k.edge.kind != nil {
		return ""
	}
	var labels []string
	for i := range p.states {
		s := &p.states[i]
		for j := range s.n.edges {
			e := &s.n.edges[j]
			if e.word != k.edge.word || e.kind != nil || s.hidden {
				continue
			}
			th := s.thread
			th.node = e.to
			for _, after := range p.tree.expand(nil, []thread{th}) {
				if after.n.accept {
					return ""
				}
				for x := range after.n.edges {
					kind := after.n.edges[x].kind
					if kind == nil {
						return ""
					}
					if !slices.Contains(labels, kind.label()) {
						labels = append(labels, kind.label())
					}
				}
			}
		}
	}
	return strings.Join(labels, "|")
}
