package filter

import (
	"errors"
	"io"
	"strings"
)

// Column is one column of a table.
type Column struct {
	Name    string // what `sort` and `columns` call it, and the heading
	Key     string // its key in JSON; "": Name in lower_snake_case
	Width   int    // at least this wide; a longer cell among the first rows widens it
	Right   bool   // aligned right
	Gap     int    // blanks before it; 0: two (none before the first)
	Heading string // "": Name
}

func (c Column) heading() string {
	if c.Heading != "" {
		return c.Heading
	}
	return c.Name
}

func (c Column) key() string {
	if c.Key != "" {
		return c.Key
	}
	return plain(c.Name)
}

// plain is a name as it is compared: "Next hop", next-hop and next_hop are the same.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '/' || r == ':' {
			return '_'
		}
		return r
	}, strings.ToLower(strings.TrimSpace(name)))
}

// Record is one row of a table and one element of the JSON document. Which of its parts are looked at, Output.Needs says;
// the others may be left nil.
type Record struct {
	Cells []string // as many as columns, without line breaks; not kept after Record returns
	Lines []string // a paragraph (`detail`): printed instead of the cells
	JSON  any      // anything encoding/json takes, marshalled before Record returns or never; an Appender is faster
}

// Appender is a value that writes its own JSON, as encoding/json would and without line breaks.
type Appender interface{ AppendJSON(dst []byte) []byte }

// ErrDone comes back from an Output when nothing more is wanted (`first 10` has its ten). The handler stops and returns it, or nil.
var ErrDone = errors.New("no more rows wanted")

// Output is what a command writes to. Every method returns an error when the reply has ended (cancelled, connection gone,
// ErrDone): the handler then stops and returns it. One goroutine at a time.
type Output interface {
	// Needs says what the filters and the format look at. `| count` needs neither cells nor JSON: the handler may then
	// call Record with an empty Record.
	Needs() (cells, json bool)
	// Columns announces the table, before its records. Without it there is no heading. Another call starts another table.
	Columns(c ...Column) error
	Record(r Record) error
	// Line is free text: a row of its own. In JSON it is a string in an array, unless there is a document or a table.
	Line(text string) error
	// Document is the whole JSON of a command that prints free text, or text and tables (`show client X`); text output ignores it.
	// Call it once, and before records. Where filters pick rows, `| json` shows the text of these rows instead.
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

// Lines is a Sink that writes lines, headings and JSON among them, to a Writer.
type Lines struct{ W io.Writer }

func (l Lines) Heading(text []byte) error { return l.Row(text) }
func (l Lines) JSON(text []byte) error    { return l.Row(text) }
func (l Lines) Row(text []byte) error {
	_, err := l.W.Write(append(text[:len(text):len(text)], '\n'))
	return err
}

// Format of a reply.
type Format uint8

const (
	Text      Format = iota
	JSON             // one document
	JSONLines        // one element a line
)

// row is what passes through the filters. It is valid until the call returns; who keeps it takes a copy.
type row struct {
	table  bool     // a record: cells or lines
	cells  []string // may be nil where nobody needs them
	lines  []string // the paragraph of a record
	text   string   // free text, or one line of a paragraph taken apart
	json   any
	record int  // number of the record it comes from, 0 for free text: lines of one record are one element of JSON
	scalar bool // json is the whole document
}
