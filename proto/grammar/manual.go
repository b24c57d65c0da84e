package grammar

import (
	"slices"
	"strings"
)

// Doc is the generated help of the commands that line leads to: words, possibly abbreviated, without the values between
// them if one likes (`help show client peers`). Of one command everything is said, of several a line each. The error
// is an *Error as for Match.
func (t *Tree) Doc(line string) ([]string, error) {
	env := Env{}.filled()
	states := t.start
	first := skipBlanks(line, 0)
	for i := first; i < len(line); i = skipBlanks(line, i) {
		w, open := lexWord(line, i)
		if w.end == i { // a bar
			return nil, &Error{Code: 503, Col: i + 1, Len: 1, Text: "Invalid input: expected the words of a command"}
		}
		r := choose(states, w, env)
		from := states
		for skips := 0; skips < maxSkips && (len(r.picks) == 0 || r.picks[0].edge.word == ""); skips++ {
			if len(r.words) > 0 || open >= 0 {
				return nil, t.refuse(from, line, first, w, r)
			}
			// No keyword: perhaps behind the values that stand here.
			skipped := t.skipValues(from)
			if len(skipped) == 0 {
				break
			}
			from = skipped
			if deeper := choose(from, w, env); len(deeper.words) > 0 || len(deeper.picks) > 0 && deeper.picks[0].edge.word != "" {
				r = deeper
			}
		}
		if len(r.picks) == 0 {
			return nil, t.refuse(states, line, first, w, r)
		}
		states = t.take(r, w)
		i = w.end
	}
	var rows []*Command
	exact := false
	for i := range states {
		c := &t.commands[states[i].command]
		if c.Hidden && len(t.visible(states)) > 0 {
			continue
		}
		if !slices.Contains(rows, c) {
			rows = append(rows, c)
		}
		exact = exact || states[i].n.accept
	}
	if len(rows) == 1 {
		return rows[0].doc(t), nil
	}
	// The command that the words name, before those that only begin with them.
	var lines []string
	if exact && first < len(line) {
		for i := range states {
			if c := &t.commands[states[i].command]; states[i].n.accept && !c.Hidden {
				lines = append(c.doc(t), "", "See also:")
				rows = slices.DeleteFunc(rows, func(r *Command) bool { return r == c })
				break
			}
		}
	}
	width := 0
	for _, c := range rows {
		width = max(width, min(len(c.Usage()), 48))
	}
	for _, c := range rows {
		u := c.Usage()
		pad := strings.Repeat(" ", max(width-len(u), 0))
		lines = append(lines, strings.TrimRight("  "+u+pad+"  "+c.Help, " "))
	}
	return lines, nil
}

// maxSkips is how many values Doc steps over to find a keyword: some repeat for ever.
const maxSkips = 6

// visible leaves out states of hidden commands.
func (t *Tree) visible(states []state) []state {
	return slices.DeleteFunc(slices.Clone(states), func(s state) bool { return s.hidden })
}

// skipValues steps over every value that states expect.
func (t *Tree) skipValues(states []state) []state {
	var threads []thread
	for i := range states {
		s := &states[i]
		for j := range s.n.edges {
			if e := &s.n.edges[j]; e.kind != nil && !e.more && (e.word == "" || e.value != "") {
				th := s.thread
				th.node = e.to
				if !slices.Contains(threads, th) {
					threads = append(threads, th)
				}
			}
		}
	}
	return t.expand(nil, threads)
}

// doc is everything there is to say of a command.
func (c *Command) doc(t *Tree) []string {
	lines := []string{c.Usage(), ""}
	help := c.Help
	if help != "" {
		help = strings.ToUpper(help[:1]) + help[1:] + "."
	}
	if c.Role == Admin {
		help = strings.TrimLeft(help+" Needs the role admin.", " ")
	}
	if help != "" {
		lines = append(lines, "  "+help)
	}
	for l := range strings.SplitSeq(strings.TrimSpace(c.Long), "\n") {
		if l != "" || c.Long != "" {
			lines = append(lines, strings.TrimRight("  "+l, " "))
		}
	}
	var seen []*Kind
	for i := range t.commands {
		if &t.commands[i] != c {
			continue
		}
		for _, n := range t.programs[i].nodes {
			for _, e := range n.edges {
				if e.kind != nil && e.kind.Help != "" && !slices.Contains(seen, e.kind) {
					seen = append(seen, e.kind)
				}
			}
		}
	}
	if len(seen) > 0 {
		lines = append(lines, "")
		for _, k := range seen {
			lines = append(lines, "  "+k.label()+strings.Repeat(" ", max(12-len(k.label()), 1))+k.Help)
		}
	}
	if len(c.Columns) > 0 {
		lines = append(lines, "", "  Columns: "+strings.Join(c.Columns, ", "))
	}
	if len(c.Examples) > 0 {
		lines = append(lines, "", "Examples:")
		for _, x := range c.Examples {
			lines = append(lines, "  "+x)
		}
	}
	return lines
}
