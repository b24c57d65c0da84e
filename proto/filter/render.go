package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"bmp/proto/wire"
)

// layout is how wide the columns of a table are.
type layout struct {
	cols   []Column
	widths []int
}

func newLayout(cols []Column) layout {
	l := layout{cols: cols, widths: make([]int, len(cols))}
	for i, c := range cols {
		l.widths[i] = max(c.Width, width(c.heading()))
	}
	return l
}

// widest is how wide a cell may make its column. One AS path of fifty hops
// would otherwise put what follows off the screen in every row.
const widest = 96

// fit widens the columns for a row.
func (l *layout) fit(cells []string) {
	for i := range min(len(cells), len(l.widths)) {
		if w := width(cells[i]); w <= widest {
			l.widths[i] = max(l.widths[i], w)
		}
	}
}

// appendRow writes the cells of a row, aligned, without blanks at the end. A cell wider than its column pushes the others.
func (l *layout) appendRow(dst []byte, cells []string) []byte {
	start := len(dst)
	for i, cell := range cells {
		gap, pad, right := 2, 0, false
		if i < len(l.cols) {
			gap, right = l.cols[i].Gap, l.cols[i].Right
			if gap == 0 && i > 0 {
				gap = 2
			}
			pad = l.widths[i] - width(cell)
		} else if i == 0 {
			gap = 0
		}
		for ; gap > 0; gap-- {
			dst = append(dst, ' ')
		}
		if right {
			for ; pad > 0; pad-- {
				dst = append(dst, ' ')
			}
		}
		dst = append(dst, cell...)
		for ; pad > 0; pad-- {
			dst = append(dst, ' ')
		}
	}
	for len(dst) > start && dst[len(dst)-1] == ' ' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// width is how many columns of a terminal a text takes: one a rune.
func width(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return utf8.RuneCountInString(s)
		}
	}
	return len(s)
}

// A table's first rows are held back until there are so many of them, or so long, to see how wide its columns are.
const (
	fitRows = 100
	fitTime = 250 * time.Millisecond
)

// renderer ends the chain: it writes aligned rows or JSON.
type renderer struct {
	sink     Sink
	format   Format
	trailers bool
	silent   bool // -q
	begun    bool // something was written
	rows     int64
	buf      []byte

	// Text.
	shape   layout
	shown   bool // the heading of the table is to be printed
	fitting bool // its first rows are in wait
	wait    [][]string
	since   time.Time

	// JSON.
	hasDocument bool
	pending     []byte // element not written yet, because what follows it is not known
	record      int    // of the element written last
	scalar      bool
	opened      bool
}

func (r *renderer) heading(cols []Column, shown bool) error {
	if r.format != Text {
		r.shape = newLayout(cols)
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.shape, r.shown, r.fitting = newLayout(cols), shown, true
	return nil
}

func (r *renderer) row(x *row) error {
	if r.silent {
		return nil
	}
	if r.format != Text {
		return r.element(x)
	}
	if !x.table || x.lines != nil {
		if err := r.flush(); err != nil {
			return err
		}
		r.rows++
		if x.lines == nil {
			return r.print(append(r.buf[:0], x.text...))
		}
		for _, l := range x.lines {
			if err := r.print(append(r.buf[:0], l...)); err != nil {
				return err
			}
		}
		return nil
	}
	r.rows++
	if !r.fitting {
		return r.print(r.shape.appendRow(r.buf[:0], x.cells))
	}
	// The cells are the handler's only until we return.
	keep := make([]string, len(x.cells))
	for i, c := range x.cells {
		keep[i] = strings.Clone(c)
	}
	if r.wait = append(r.wait, keep); len(r.wait) == 1 {
		r.since = time.Now()
		return nil
	}
	if len(r.wait) >= fitRows || time.Since(r.since) > fitTime {
		return r.flush()
	}
	return nil
}

// flush ends the fitting of a table: heading and rows held back are printed.
func (r *renderer) flush() error {
	if !r.fitting || r.silent || r.format != Text {
		return nil
	}
	r.fitting = false
	for _, cells := range r.wait {
		r.shape.fit(cells)
	}
	if r.shown {
		names := make([]string, len(r.shape.cols))
		for i, c := range r.shape.cols {
			names[i] = c.heading()
		}
		r.buf = wire.Clean(r.shape.appendRow(r.buf[:0], names))
		r.begun = true
		if err := r.sink.Heading(r.buf); err != nil {
			return err
		}
	}
	for _, cells := range r.wait {
		if err := r.print(r.shape.appendRow(r.buf[:0], cells)); err != nil {
			return err
		}
	}
	r.wait = r.wait[:0]
	return nil
}

// print writes one line, which is in r.buf's memory.
func (r *renderer) print(line []byte) error {
	r.buf = line
	r.begun = true
	return r.sink.Row(wire.Clean(line))
}

func (r *renderer) trailer(text string) error {
	if r.format != Text || !r.trailers {
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.print(append(r.buf[:0], text...))
}

func (r *renderer) end() error {
	if r.silent {
		return nil
	}
	if r.format == Text {
		return r.flush()
	}
	if r.hasDocument {
		return nil
	}
	if r.format == JSONLines || r.scalar {
		return nil
	}
	if !r.opened {
		return r.writeJSON([]byte("[]"))
	}
	if err := r.writeJSON(r.pending); err != nil {
		return err
	}
	return r.writeJSON([]byte("]"))
}

// element writes a row as an element of the document.
func (r *renderer) element(x *row) error {
	if x.record != 0 && x.record == r.record {
		return nil // another line of a record that is written already
	}
	r.record = x.record
	var err error
	b := r.buf[:0]
	if r.format == JSON && !x.scalar {
		b = append(b, "  "...)
	}
	switch {
	case x.json != nil:
		b, err = appendJSON(b, x.json)
	case x.record == 0 && x.table && x.lines == nil:
		b, err = appendJSON(b, string(r.shape.appendRow(nil, x.cells)))
	case x.record == 0 && x.table:
		b, err = appendJSON(b, strings.Join(x.lines, "\n"))
	case x.table && len(r.shape.cols) > 0:
		b, err = r.object(b, x.cells)
	case x.table:
		b = append(b, "null"...)
	default:
		b, err = appendJSON(b, x.text)
	}
	if err != nil {
		return fmt.Errorf("JSON: %w", err)
	}
	r.buf = b
	r.rows++
	if x.scalar {
		r.scalar = true
		return r.writeJSON(b)
	}
	if r.format == JSONLines {
		return r.writeJSON(b)
	}
	if !r.opened {
		r.opened = true
		if err := r.writeJSON([]byte("[")); err != nil {
			return err
		}
	} else {
		r.pending = append(r.pending, ',')
		if err := r.writeJSON(r.pending); err != nil {
			return err
		}
	}
	r.pending = append(r.pending[:0], b...)
	return nil
}

// object makes JSON of the cells of a record that brought none.
func (r *renderer) object(dst []byte, cells []string) ([]byte, error) {
	dst = append(dst, '{')
	for i, c := range r.shape.cols {
		if i > 0 {
			dst = append(dst, ',')
		}
		cell := ""
		if i < len(cells) {
			cell = cells[i]
		}
		var err error
		if dst, err = appendJSON(dst, c.key()); err != nil {
			return dst, err
		}
		if dst, err = appendJSON(append(dst, ':'), cell); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// document writes the JSON of a whole command.
func (r *renderer) document(v any) error {
	r.hasDocument = true
	raw, err := appendJSON(nil, v)
	if err != nil {
		return fmt.Errorf("JSON: %w", err)
	}
	if r.format == JSONLines {
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil || elements == nil {
			elements = []json.RawMessage{raw}
		}
		for _, e := range elements {
			r.rows++
			if err := r.writeJSON(e); err != nil {
				return err
			}
		}
		return nil
	}
	r.rows++
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("JSON: %w", err)
	}
	for line := range bytes.SplitSeq(b.Bytes(), []byte{'\n'}) {
		if err := r.writeJSON(line); err != nil {
			return err
		}
	}
	return nil
}

func (r *renderer) writeJSON(line []byte) error {
	r.begun = true
	return r.sink.JSON(line)
}

// appendJSON writes a value as JSON on one line, < and > as they are.
func appendJSON(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case Appender:
		return v.AppendJSON(dst), nil
	case json.RawMessage:
		return append(dst, v...), nil
	}
	w := appendWriter{dst}
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return dst, err
	}
	return w.b[:len(w.b)-1], nil // the encoder ends it with a line feed
}

type appendWriter struct{ b []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}
