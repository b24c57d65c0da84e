package filter

import (
	"encoding/json"
	"fmt"
	"strings"

	"bmp/proto/grammar"
)

// match is what the filters have in common that look at the text of rows: it puts rows into text.
type match struct {
	*stage
	next  link
	cols  []Column
	shape layout
	buf   []byte
}

// heading drops it: what a text filter picks is no table any more. The columns stay known.
func (m *match) heading(cols []Column, _ bool) error {
	m.setColumns(cols)
	return m.next.heading(cols, false)
}

func (m *match) setColumns(cols []Column) {
	m.cols = cols
	m.shape = newLayout(cols)
}

func (m *match) end() error { return m.next.end() }

// text is a row as it would be printed. It is valid until the next call.
func (m *match) text(r *row) []byte {
	m.buf = m.buf[:0]
	if r.table && r.lines == nil {
		m.buf = m.shape.appendRow(m.buf, r.cells)
	} else {
		m.buf = append(m.buf, r.text...)
	}
	return m.buf
}

// each hands on the lines of a paragraph one by one, and every other row as it is.
func (m *match) each(r *row, f func(r *row, text []byte) error) error {
	if r.lines == nil {
		return f(r, m.text(r))
	}
	for _, l := range r.lines {
		part := row{text: l, json: r.json, record: r.record}
		if err := f(&part, m.text(&part)); err != nil {
			return err
		}
	}
	return nil
}

// passed is include and exclude.
type passed struct {
	match
	rows int64
}

func (p *passed) row(r *row) error {
	return p.each(r, func(r *row, text []byte) error {
		if p.re.Match(text) != (p.op == "include") {
			return nil
		}
		p.rows++
		if p.quiet {
			return ErrDone
		}
		return p.next.row(r)
	})
}

// begin lets through from the first match on.
type begin struct {
	match
	begun bool
}

func (b *begin) row(r *row) error {
	return b.each(r, func(r *row, text []byte) error {
		if b.begun = b.begun || b.re.Match(text); !b.begun {
			return nil
		}
		return b.next.row(r)
	})
}

// until lets through up to the first match, which is the last row.
type until struct{ match }

func (u *until) row(r *row) error {
	return u.each(r, func(r *row, text []byte) error {
		last := u.re.Match(text)
		if err := u.next.row(r); err != nil || !last {
			return err
		}
		return ErrDone
	})
}

// section lets through what matches, with the text under it that is indented more. A row of a table stands alone.
type section struct {
	match
	open  bool
	depth int
}

func (s *section) row(r *row) error {
	return s.each(r, func(r *row, text []byte) error {
		depth := 0
		for !r.table && depth < len(text) && text[depth] == ' ' {
			depth++
		}
		if !s.open || r.table || depth <= s.depth {
			s.open, s.depth = s.re.Match(text), depth
		}
		if !s.open {
			return nil
		}
		return s.next.row(r)
	})
}

// uniq leaves out rows that read like the one before.
type uniq struct {
	match
	last  string
	begun bool
}

func (u *uniq) heading(cols []Column, shown bool) error {
	u.setColumns(cols)
	u.begun = false
	return u.next.heading(cols, shown)
}

func (u *uniq) row(r *row) error {
	var text []byte
	if r.lines != nil {
		text = []byte(strings.Join(r.lines, "\n"))
	} else {
		text = u.text(r)
	}
	if u.begun && u.last == string(text) {
		return nil
	}
	u.begun, u.last = true, string(text)
	return u.next.row(r)
}

// count says how many rows came.
type count struct {
	next link
	n    int64
}

func (c *count) heading([]Column, bool) error { return nil }

func (c *count) row(*row) error {
	c.n++
	return nil
}

func (c *count) end() error {
	// The record number keeps it apart from any other row.
	err := c.next.row(&row{text: "Count: " + thousands(c.n), json: c.n, record: -1, scalar: true})
	if err != nil && err != ErrDone {
		return err
	}
	return c.next.end()
}

// first lets through n rows.
type first struct {
	next link
	left int
}

func (f *first) heading(cols []Column, shown bool) error { return f.next.heading(cols, shown) }

func (f *first) row(r *row) error {
	if f.left == 0 {
		return ErrDone
	}
	f.left--
	if err := f.next.row(r); err != nil || f.left > 0 {
		return err
	}
	return ErrDone
}

func (f *first) end() error { return f.next.end() }

// noHeader drops the heading.
type noHeader struct{ next link }

func (h *noHeader) heading(cols []Column, _ bool) error { return h.next.heading(cols, false) }
func (h *noHeader) row(r *row) error                    { return h.next.row(r) }
func (h *noHeader) end() error                          { return h.next.end() }

// held is rows kept back, copied.
type held struct {
	op     string // "sort", "last"
	json   bool   // their JSON is wanted
	rows   []row
	bytes  int
	budget *Budget // has bytes taken of it; nil: there is none
}

// hold counts the bytes of one row more, or what it has more than the one whose place it takes.
func (h *held) hold(size, most int) error {
	if err := h.budget.take(h.op, size); err != nil {
		return err
	}
	if h.bytes += size; h.bytes > maxBytes {
		return errHeld(h.op, most)
	}
	return nil
}

// free gives back to the budget what was taken of it.
func (h *held) free() {
	_ = h.budget.take(h.op, -h.bytes) // giving back is no error
	h.bytes, h.rows = 0, nil
}

// keep copies a row: its cells and JSON are the handler's only until it returns.
func (h *held) copy(r *row) (row, int, error) {
	c := *r
	size := 96 + len(r.text)
	if r.cells != nil {
		c.cells = make([]string, len(r.cells))
		for i, s := range r.cells {
			c.cells[i] = strings.Clone(s)
			size += 16 + len(s)
		}
	}
	if r.lines != nil {
		c.lines = make([]string, len(r.lines))
		for i, s := range r.lines {
			c.lines[i] = strings.Clone(s)
			size += 16 + len(s)
		}
	}
	if h.json && r.json != nil {
		raw, err := appendJSON(nil, r.json)
		if err != nil {
			return c, 0, err
		}
		c.json = json.RawMessage(raw)
		size += len(raw)
	} else {
		c.json = nil
	}
	return c, size, nil
}

// release hands on rows in order; when nothing more is wanted that is no error.
func release(next link, rows []row) error {
	for i := range rows {
		if err := next.row(&rows[i]); err == ErrDone {
			break
		} else if err != nil {
			return err
		}
	}
	return next.end()
}

// last keeps the newest n rows in a ring.
type last struct {
	held
	n, at int
	sizes []int
	next  link
}

func (l *last) heading(cols []Column, shown bool) error { return l.next.heading(cols, shown) }

func (l *last) row(r *row) error {
	c, size, err := l.copy(r)
	if err != nil {
		return err
	}
	if len(l.rows) < l.n {
		l.rows, l.sizes = append(l.rows, c), append(l.sizes, size)
		return l.hold(size, maxLast)
	}
	more := size - l.sizes[l.at]
	l.rows[l.at], l.sizes[l.at] = c, size
	l.at = (l.at + 1) % l.n
	return l.hold(more, maxLast)
}

func (l *last) end() error {
	return release(l.next, append(l.rows[l.at:len(l.rows):len(l.rows)], l.rows[:l.at]...))
}

// columns picks and reorders columns.
type columns struct {
	*stage
	next link
	json bool
	from []int
	keys []string
	out  []string
}

func (c *columns) heading(cols []Column, shown bool) error {
	c.from, c.keys = c.from[:0], c.keys[:0]
	picked := make([]Column, 0, len(c.names))
	for _, name := range c.names {
		i, err := findColumn(cols, name, c.stage)
		if err != nil {
			return err
		}
		col := cols[i]
		if len(picked) == 0 {
			col.Gap = 0
			col.Heading = strings.TrimLeft(col.Heading, " ")
		}
		c.from, c.keys = append(c.from, i), append(c.keys, col.key())
		picked = append(picked, col)
	}
	return c.next.heading(picked, shown)
}

func (c *columns) row(r *row) error {
	if c.from == nil || !r.table || r.lines != nil {
		return c.none()
	}
	p := *r
	c.out = c.out[:0]
	for _, i := range c.from {
		cell := ""
		if i < len(r.cells) {
			cell = r.cells[i]
		}
		c.out = append(c.out, cell)
	}
	p.cells = c.out
	if c.json && r.json != nil {
		picked, err := pickKeys(r.json, c.keys)
		if err != nil {
			return err
		}
		p.json = picked
	}
	return c.next.row(&p)
}

func (c *columns) end() error { return c.next.end() }

// none says that there are no columns to speak of.
func (s *stage) none() error {
	return &grammar.Error{Code: 503, Col: s.column, Len: len(strings.Join(s.names, ",")), Text: "Invalid input: this output has no columns"}
}

// findColumn finds a column by its name or JSON key, or a prefix of one of them that no other has.
func findColumn(cols []Column, name string, s *stage) (int, error) {
	want := plain(name)
	var found, names []string
	at := -1
	for i, c := range cols {
		n, k := plain(c.Name), c.key()
		if n == want || k == want {
			return i, nil
		}
		if strings.HasPrefix(n, want) || strings.HasPrefix(k, want) {
			found = append(found, c.Name)
			at = i
		}
		names = append(names, c.Name)
	}
	e := &grammar.Error{Col: s.column, Len: len(strings.Join(s.names, ","))}
	switch {
	case len(found) == 1:
		return at, nil
	case len(found) > 1:
		e.Code, e.Candidates = 502, found
		e.Text = fmt.Sprintf("Ambiguous column: \"%s\" (%s)", name, strings.Join(found, ", "))
	default:
		e.Code, e.Expected = 503, names
		e.Text = fmt.Sprintf("Invalid input: no column '%s' (%s)", name, strings.Join(names, ", "))
	}
	return 0, e
}

// pickKeys is an object with some of the keys of another, in their order; absent ones are null.
func pickKeys(v any, keys []string) (json.RawMessage, error) {
	raw, err := appendJSON(nil, v)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return raw, nil // not an object: nothing to pick from
	}
	out := []byte{'{'}
	for i, k := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), k...), `":`...)
		if x, ok := object[k]; ok {
			out = append(out, x...)
		} else {
			out = append(out, "null"...)
		}
	}
	return append(out, '}'), nil
}
