package shell

import (
	"fmt"
	"io"
	"strings"

	"bmp/proto/control"
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

// nameWord turns the error of a verdict into one that makes sense without the
// line above it: where a caret would be drawn, the word stands instead.
func nameWord(v control.Verdict, line string) error {
	text := v.Text
	if v.Col > 0 && v.Col <= len(line) && strings.Contains(text, "at '^'") {
		word := line[v.Col-1:]
		if v.Len > 0 && v.Len < len(word) {
			word = word[:v.Len]
		}
		text = strings.Replace(text, "at '^'", "'"+word+"'", 1)
	}
	return &control.Error{Code: v.Code, Text: text}
}

// caret draws the place of an error below a line that was typed behind a
// prompt. ok is false when the error has no place, or the line was wider than
// the terminal, so that nothing would point at it.
func caret(v control.Verdict, prompt, line string, cols int) (drawn string, ok bool) {
	if v.Col <= 0 || v.Col > len(line)+1 || !strings.Contains(v.Text, "'^'") {
		return "", false
	}
	blank := []rune(prompt + line[:v.Col-1])
	if cols > 0 && len(blank) >= cols {
		return "", false
	}
	for i, r := range blank {
		if r != '\t' { // a tab is as wide here as it was above
			blank[i] = ' '
		}
	}
	return string(blank) + "^", true
}
