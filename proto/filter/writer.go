package filter

import (
	"errors"
	"fmt"
)

// link is one filter at work, or the renderer at the end of the chain.
type link interface {
	// heading announces a table; shown is false once a filter has dropped the heading.
	heading(cols []Column, shown bool) error
	row(r *row) error
	// end comes once, after the last row: what was held back goes on.
	end() error
}

// Writer is the Output at the head of a pipeline.
type Writer struct {
	head     link
	renderer *renderer
	counted  *passed // of a last include or exclude
	held     []*held // of sort and last
	cells    bool
	json     bool
	filtered bool // rows go through filters
	document bool // one was given
	table    bool // columns were announced
	records  int
	ended    error    // why nothing more is taken
	lines    []string // free text of JSON output, until it is known that neither a document nor a table comes
	r        row
}

// Start begins a reply in format f (the pipeline's own wins). Finish must be called once at the end.
func (p *Pipeline) Start(s Sink, f Format) *Writer {
	if p.Format != Text {
		f = p.Format
	}
	w := &Writer{filtered: len(p.stages) > 0}
	w.cells, w.json = needs(p.stages, f)
	w.renderer = &renderer{sink: s, format: f, trailers: !w.filtered}
	w.head = w.renderer
	for i := len(p.stages) - 1; i >= 0; i-- {
		s := &p.stages[i]
		if s.quiet {
			w.renderer.silent = true
		}
		switch s.op {
		case "include", "exclude":
			x := &passed{match: match{stage: s, next: w.head}}
			if i == len(p.stages)-1 {
				w.counted = x
			}
			w.head = x
		case "begin":
			w.head = &begin{match: match{stage: s, next: w.head}}
		case "until":
			w.head = &until{match: match{stage: s, next: w.head}}
		case "section":
			w.head = &section{match: match{stage: s, next: w.head}}
		case "count":
			w.head = &count{next: w.head}
		case "first":
			w.head = &first{left: s.n, next: w.head}
		case "last":
			x := &last{n: s.n, next: w.head, held: held{op: s.op, json: w.json, budget: p.budget}}
			w.held, w.head = append(w.held, &x.held), x
		case "sort":
			x := &sorter{stage: s, next: w.head, held: held{op: s.op, json: w.json, budget: p.budget}}
			w.held, w.head = append(w.held, &x.held), x
		case "columns":
			w.head = &columns{stage: s, next: w.head, json: w.json}
		case "no-header":
			w.head = &noHeader{next: w.head}
		case "uniq":
			w.head = &uniq{match: match{next: w.head}}
		}
	}
	return w
}

// needs says what of a record is looked at by the first filters, up to one that makes something else of the rows.
func needs(stages []stage, f Format) (cells, json bool) {
	for _, s := range stages {
		switch s.op {
		case "count":
			return cells, false
		case "first", "last", "no-header":
		default:
			cells = true
		}
		if s.quiet {
			return cells, false
		}
	}
	return cells || f == Text, f != Text
}

// Needs implements Output.
func (w *Writer) Needs() (cells, json bool) { return w.cells, w.json }

// Format is the format of the reply.
func (w *Writer) Format() Format { return w.renderer.format }

// keep remembers why the reply has ended.
func (w *Writer) keep(err error) error {
	if err != nil && w.ended == nil {
		w.ended = err
	}
	return err
}

// Columns implements Output.
func (w *Writer) Columns(c ...Column) error {
	if w.ended != nil {
		return w.ended
	}
	w.table, w.lines = true, nil
	if w.document && !w.filtered && w.renderer.format != Text {
		return nil
	}
	return w.keep(w.head.heading(c, true))
}

// Record implements Output.
func (w *Writer) Record(r Record) error {
	if w.ended != nil {
		return w.ended
	}
	w.records++
	w.lines = nil
	w.r = row{table: true, cells: r.Cells, lines: r.Lines, json: r.JSON, record: w.records}
	if w.document && w.renderer.format != Text {
		if !w.filtered {
			return nil
		}
		w.r.json, w.r.record = nil, 0 // its text is shown
	}
	return w.keep(w.head.row(&w.r))
}

// Line implements Output.
func (w *Writer) Line(text string) error {
	if w.ended != nil {
		return w.ended
	}
	if w.renderer.format != Text {
		if w.document && !w.filtered || (w.table || w.records > 0) && !w.document {
			return nil
		}
		if !w.filtered && len(w.lines) < maxLast {
			w.lines = append(w.lines, text)
			return nil
		}
	}
	w.r = row{text: text}
	return w.keep(w.head.row(&w.r))
}

// release writes the lines that were held back.
func (w *Writer) release() error {
	for _, l := range w.lines {
		w.r = row{text: l}
		if err := w.head.row(&w.r); err != nil {
			return err
		}
	}
	w.lines = nil
	return nil
}

// Document implements Output.
func (w *Writer) Document(v any) error {
	if w.ended != nil {
		return w.ended
	}
	if w.document || w.records > 0 || w.table {
		return w.keep(errors.New("a document comes once, and before records"))
	}
	w.document, w.lines = true, nil
	if w.renderer.format == Text || w.filtered {
		return nil
	}
	return w.keep(w.renderer.document(v))
}

// Trailer implements Output.
func (w *Writer) Trailer(text string) error {
	if w.ended != nil {
		return w.ended
	}
	return w.keep(w.renderer.trailer(text))
}

// Flush implements Output.
func (w *Writer) Flush() error {
	if w.ended != nil {
		return w.ended
	}
	return w.keep(w.renderer.flush())
}

// Result of a reply.
type Result struct {
	Rows    int64 // rows (records, lines, elements) that came out
	Nothing bool  // include or exclude was the last filter and let nothing through: 204
}

// Finish ends the reply: what is held back is written, and JSON is closed so that it is one valid document even when the
// handler failed; a reply that failed before its first row has no output at all.
func (w *Writer) Finish(failed bool) (Result, error) {
	var err error
	if w.ended != nil && w.ended != ErrDone {
		failed = true
	}
	if !failed {
		if err = w.release(); err == nil || err == ErrDone {
			err = w.head.end()
		}
	} else if w.renderer.begun || len(w.renderer.wait) > 0 {
		err = w.renderer.end()
	}
	for _, h := range w.held {
		h.free()
	}
	if err == ErrDone {
		err = nil
	}
	result := Result{Rows: w.renderer.rows}
	if w.counted != nil {
		result.Nothing = w.counted.rows == 0
	}
	return result, err
}

// errHeld is a bound that was reached.
func errHeld(op string, rows int) error {
	return fmt.Errorf("%s holds at most %s rows and %d MB: filter before it, or ask for less", op, thousands(int64(rows)), maxBytes>>20)
}

// thousands writes a number with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
