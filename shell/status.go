package shell

import (
	"fmt"
	"io"
	"strings"

	"bmp/proto/control"
	"bmp/proto/grammar"
)

// errorf makes an error of the shell's own, with the code that a station's
// reply would have had. Its exit status follows from the code alone.
func errorf(code int, format string, args ...any) *control.Error {
	return &control.Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// codeNoStation is the code of "there is nobody to ask": its exit status is 3.
const codeNoStation = control.CodeTooMany

// asError finds the code of any error. What has none is a lost connection.
func asError(err error) *control.Error {
	switch e := err.(type) {
	case *control.Error:
		return e
	case *control.LostError:
		return errorf(codeNoStation, "%v", e)
	default:
		return errorf(control.CodeFailed, "%v", err)
	}
}

// PrintError writes an error the way all of bmp does: "% " before it, or as
// JSON. It returns the exit status.
func PrintError(w io.Writer, json bool, err error) int {
	e := asError(err)
	if json {
		text, _, _ := strings.Cut(e.Text, "\n")
		fmt.Fprintf(w, "%s\n", control.ErrorJSON(e.Code, text))
	} else {
		fmt.Fprintf(w, "%% %s\n", e.Text)
	}
	return control.ExitStatus(e.Code)
}

// ErrorStatus is the exit status of an error.
func ErrorStatus(err error) int { return control.ExitStatus(asError(err).Code) }

// nameWord turns a verdict into an error that makes sense without the line
// above it: where a caret would be drawn, the word stands instead.
func nameWord(v control.Verdict, line string) error {
	_, text := grammar.Explain(v.Code, v.Text, line, v.Col, v.Len, false, 0)
	return &control.Error{Code: v.Code, Text: strings.TrimPrefix(text, "% ")}
}

// pointAt is a verdict for somebody who has the line before his eyes, typed
// behind a prompt: the error, and the line with the caret that goes above it.
// The caret is "" where there is nothing to point at, or where the line was
// wider than the terminal, so that it would point at something else.
func pointAt(v control.Verdict, prompt, line string, cols int) (caret string, err error) {
	caret, text := grammar.Explain(v.Code, v.Text, line, v.Col, v.Len, true, len(prompt))
	if caret == "" || cols > 0 && len(caret) > cols {
		return "", nameWord(v, line)
	}
	return caret, &control.Error{Code: v.Code, Text: strings.TrimPrefix(text, "% ")}
}
