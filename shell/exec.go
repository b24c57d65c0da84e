package shell

import (
	"context"
	"fmt"
	"io"

	"bmp/proto/control"
	"bmp/shell/lang"
)

// Exec runs one command line, a word of the shell's own or one for the station,
// with its filters. Data goes to out, nothing else is shown: what went wrong is
// in the result. in is what is piped into a line that is filters alone; nil
// otherwise.
func (s *Shell) Exec(ctx context.Context, line string, in io.Reader, out io.Writer) lang.Result {
	v, err := s.client.Do(ctx, line, func(l control.Line) error {
		_, err := fmt.Fprintln(out, l.Text)
		return err
	})
	if err != nil {
		e := asError(lost(s.station, err))
		return lang.Result{Status: control.ExitStatus(e.Code), Message: e.Text}
	}
	return resultOf(v)
}

// resultOf is a verdict as a script sees it. A line that was no command, or
// half of one, ends a script.
func resultOf(v control.Verdict) lang.Result {
	r := lang.Result{Status: v.Status(), Col: v.Col, Len: v.Len}
	if v.Err() != nil {
		r.Message = v.Text
	}
	switch v.Code {
	case control.CodeUnknown, control.CodeIncomplete, control.CodeAmbiguous:
		r.Abort = true
	}
	return r
}
