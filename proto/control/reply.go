package control

import (
	"context"
	"fmt"

	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/proto/wire"
)

// Reply is where a handler writes. It is a filter.Output: rows go through the request's filters. One goroutine at a time.
type Reply struct {
	*filter.Writer
	ctx        context.Context
	conn       *Conn
	text       string
	subscribed int
}

// replySink puts finished lines on the wire.
type replySink struct {
	ctx context.Context
	out *output
}

func (s replySink) Heading(text []byte) error { return s.out.reply(s.ctx, CodeHeading, '-', text) }
func (s replySink) Row(text []byte) error     { return s.out.reply(s.ctx, CodeRow, '-', text) }
func (s replySink) JSON(text []byte) error    { return s.out.reply(s.ctx, CodeJSON, '-', text) }

// Record writes a row. Beside what filter.Output says, it returns the context's error once the request is cancelled, even
// where filters let nothing through.
func (r *Reply) Record(rec filter.Record) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return r.Writer.Record(rec)
}

// Line writes free text; like Record it fails once the request is cancelled.
func (r *Reply) Line(text string) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return r.Writer.Line(text)
}

// Done sets the text of the verdict, "N rows" otherwise.
func (r *Reply) Done(format string, a ...any) { r.text = fmt.Sprintf(format, a...) }

// After has f called once the verdict is on its way to the console: for what ends the connection, too. The request may have failed
// by then.
func (r *Reply) After(f func()) { r.conn.after = append(r.conn.after, f) }

// Subscribed makes the verdict 203.
func (r *Reply) Subscribed(id int) { r.subscribed = id }

// Progress (105) is a line beside the data, which passes no filter.
func (r *Reply) Progress(text string) error { return r.aside(CodeProgress, text) }

// Warn (106) likewise.
func (r *Reply) Warn(text string) error { return r.aside(CodeWarning, text) }

func (r *Reply) aside(code int, text string) error {
	return r.conn.out.reply(r.ctx, code, '-', wire.Clean([]byte(text)))
}

// Confirm asks (310) and reports whether the answer was yes; true at once where nobody is asked (`terminal confirm off`, which is
// the start). When it returns false the handler returns ErrDeclined. It is called before anything is written.
func (r *Reply) Confirm(question string) (bool, error) {
	c := r.conn
	if !c.confirm {
		return true, nil
	}
	if err := c.out.reply(r.ctx, CodeConfirm, ' ', wire.Clean([]byte(question))); err != nil {
		return false, err
	}
	select {
	case q, ok := <-c.requests:
		if !ok {
			return false, nil // end of input
		}
		c.taken()
		return q.kind == lineToken && q.line == "yes", nil
	case <-r.ctx.Done():
		return false, context.Cause(r.ctx)
	}
}

// Invalid is the error of a value that has the right form and is wrong (503); the shell points at it.
func Invalid(a grammar.Arg, format string, args ...any) *grammar.Error {
	return &grammar.Error{Code: CodeInvalid, Col: a.Col, Len: a.Len, Text: "Invalid input: " + fmt.Sprintf(format, args...)}
}
