package filter

import (
	"errors"

	"bmp/proto/grammar"
)

// Column is one column of a table.
type Column struct {
	Name    string // what `sort` and `columns` call it, and the heading
	Key     string // its key in JSON; "": Name in lower_snake_case
	Width   int    // at least this wide; a longer cell of the first rows widens it
	Right   bool   // aligned right
	Gap     int    // blanks before it; 0: two (none before the first)
	Heading string // "": Name
}

// Record is one row of a table and one element of the JSON document.
// Which of its parts are looked at, Output.Needs says; the others may be left nil.
type Record struct {
	Cells []string // as many as columns; kept until Record returns, copied where it is held longer
	Lines []string // a paragraph (`detail`): printed instead of the cells
	JSON  any      // anything encoding/json takes; a Appender is faster
}

// Appender is a value that writes its own JSON.
type Appender interface{ AppendJSON(dst []byte) []byte }

// ErrDone comes back from an Output when nothing more is wanted (`first 10` has its ten). The handler stops and returns it, or nil.
var ErrDone = errors.New("no more rows wanted")

// Output is what a command writes to. Every method returns an error when the reply has ended (cancelled, connection gone,
// ErrDone): the handler then stops and returns it. One goroutine at a time.
type Output interface {
	// Needs says what the filters and the format look at. `| count` needs neither cells nor JSON: the handler may then
	// call Record with an empty Record.
	Needs() (cells, json bool)
	// Columns announces the table; once, before its records. Without it there is no heading. A second call starts a second table.
	Columns(c ...Column) error
	Record(r Record) error
	// Line is free text: one row of its own. In JSON it counts for nothing unless no record and no document was written.
	Line(text string) error
	// Document is the whole JSON of a command that prints free text (`show client X`); text output ignores it. Call it beside Line.
	Document(v any) error
	// Trailer is the line under a table ("3 routes, 2 clients"): not in JSON, and dropped by filters.
	Trailer(text string) error
	// Flush hands on what is held back for alignment. A handler calls it before it works for long without a row.
	Flush() error
}

// Sink takes finished lines. text is valid until the call returns.
type Sink interface {
	Heading(text []byte) error
	Row(text []byte) error
	JSON(text []byte) error
}

// Format of a reply.
type Format uint8

const (
	Text Format = iota
	JSON
	JSONLines
)

// Pipeline is a list of filters, parsed. It holds no state of a reply: Start may be called any number of times.
type Pipeline struct {
	Format Format // JSON or JSONLines where `json` is among the filters
	NoMore bool   // `no-more` is: no pager
	Save   string // file of a last `save` or `append` (client only)
	Append bool
}

// Options of Parse.
type Options struct {
	Client bool // save and append are possible (else refused with 403)
	Strict bool // no abbreviations
}

// Parse reads filters: the text after the first bar, "" for none. col is its column in the request (grammar.Match.RestCol), for
// errors, which are *grammar.Error.
func Parse(text string, col int, o Options) (*Pipeline, error) { return nil, nil }

// Grammar is the tree of the filters, for completion after a bar.
func Grammar() *grammar.Tree { return nil }

// Start begins a reply in format f (the pipeline's own wins). Finish must be called once at the end.
func (p *Pipeline) Start(s Sink, f Format) *Writer { return nil }

// Writer is the Output at the head of a pipeline.
type Writer struct{ w writer }

type writer struct{}

func (w *Writer) Needs() (cells, json bool) { return true, true }
func (w *Writer) Columns(c ...Column) error { return nil }
func (w *Writer) Record(r Record) error     { return nil }
func (w *Writer) Line(text string) error    { return nil }
func (w *Writer) Document(v any) error      { return nil }
func (w *Writer) Trailer(text string) error { return nil }
func (w *Writer) Flush() error              { return nil }

// Finish ends the reply: rows held back are written, JSON is closed so that it is valid even when the handler failed.
// failed: the handler returned an error (other than ErrDone).
func (w *Writer) Finish(failed bool) (Result, error) { return Result{}, nil }

// Result of a reply.
type Result struct {
	Rows    int64 // rows (records, lines) that came out
	Nothing bool  // include or exclude was the last filter and let nothing through: 204
}
