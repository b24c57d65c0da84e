package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/proto/wire"
)

// Reply codes. The first digit is the verdict: an unknown code is taken by it.
const (
	CodeRow       = 100
	CodeHeading   = 101
	CodeJSON      = 102
	CodeCandidate = 103
	CodeHelp      = 104
	CodeProgress  = 105
	CodeWarning   = 106

	CodeDone          = 200
	CodeGreeting      = 201
	CodeAuthenticated = 202
	CodeSubscribed    = 203
	CodeNothing       = 204 // done, a filter let nothing through
	CodeBye           = 205

	CodeChallenge = 301
	CodeConfirm   = 310

	CodeFailed    = 400
	CodeLogin     = 401
	CodeForbidden = 403
	CodeNotFound  = 404
	CodeTimeout   = 408
	CodeConflict  = 409
	CodeTooMany   = 429
	CodeCancelled = 499

	CodeUnknown    = 500
	CodeIncomplete = 501
	CodeAmbiguous  = 502
	CodeInvalid    = 503
	CodeTooLong    = 504
	CodeVersion    = 505
	CodeBadBytes   = 506

	CodeEvent     = 600
	CodeEventJSON = 601
	CodeDropped   = 602
	CodeNotice    = 603
	CodeStopping  = 604
)

// ExitStatus is the exit status of a command that ended with code (commands.md, Exit status).
func ExitStatus(code int) int {
	switch code {
	case CodeNothing:
		return 1
	case CodeLogin, CodeTooMany, CodeVersion, CodeChallenge:
		return 3
	case CodeUnknown:
		return 127
	case CodeCancelled:
		return 130
	}
	switch code / 100 {
	case 2:
		return 0
	case 3, 4:
		return 1
	case 5:
		return 2
	}
	return 3 // not a verdict: the other side does not speak the protocol
}

// Error is a verdict other than done. A handler returns it, and Verdict.Err.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an Error: Errorf(CodeNotFound, "No client '%s'", x).
func Errorf(code int, format string, a ...any) *Error {
	return &Error{code, fmt.Sprintf(format, a...)}
}

// ErrDeclined is what a handler returns when a confirmation was not given.
var ErrDeclined = &Error{CodeCancelled, "Not confirmed, nothing done"}

// ErrorJSON is an error as programs get it on standard error.
func ErrorJSON(code int, text string) []byte {
	b, _ := json.Marshal(struct { // of a string and a number: cannot fail
		Error string `json:"error"`
		Code  int    `json:"code"`
	}{text, code})
	return b
}

// WarningJSON is what goes with an answer, as programs get it on standard error.
func WarningJSON(text string) []byte {
	b, _ := json.Marshal(struct {
		Warning string `json:"warning"`
	}{text})
	return b
}

// verdictOf is the code and the text that an error ends a reply with.
func verdictOf(err error) (int, string) {
	var own *Error
	var wrong *grammar.Error
	switch {
	case err == nil || errors.Is(err, filter.ErrDone):
		return CodeDone, ""
	case errors.As(err, &own):
		return own.Code, own.Text
	case errors.As(err, &wrong):
		if wrong.Code >= 500 {
			return wrong.Code, wrong.Wire()
		}
		return wrong.Code, wrong.Text
	case errors.Is(err, context.DeadlineExceeded):
		return CodeTimeout, "Took too long"
	case errors.Is(err, context.Canceled):
		return CodeCancelled, "Cancelled"
	}
	return CodeFailed, err.Error()
}

// Line is one line of the station: three digits, a separator, and the text from the fifth byte.
type Line struct {
	Code int
	Sep  byte // '-' more of this reply follows, ' ' its last, '+' an event
	Text string
}

// parseLine reads a line without its end.
func parseLine(b []byte) (Line, error) {
	bad := func() (Line, error) {
		return Line{}, fmt.Errorf("not a line of the protocol: %q", b[:min(len(b), 40)])
	}
	if len(b) < 4 || b[0] < '1' || b[0] > '6' || b[1] < '0' || b[1] > '9' || b[2] < '0' || b[2] > '9' {
		return bad()
	}
	l := Line{Code: int(b[0]-'0')*100 + int(b[1]-'0')*10 + int(b[2]-'0'), Sep: b[3], Text: string(b[4:])}
	if l.Sep != '-' && l.Sep != ' ' && l.Sep != '+' {
		return bad()
	}
	return l, nil
}

// appendLine writes a line with its end. The text has been through wire.Clean, so that nothing a router says can look like a line
// of the station.
func appendLine(dst []byte, code int, sep byte, text []byte) []byte {
	dst = append(dst, byte('0'+code/100), byte('0'+code/10%10), byte('0'+code%10), sep)
	return append(append(dst, text...), '\r', '\n')
}

// tabbed makes a line of fields; TABs within them become blanks.
func tabbed(fields ...string) []byte {
	for i, f := range fields {
		fields[i] = wire.CleanString(f)
	}
	return []byte(strings.TrimRight(strings.Join(fields, "\t"), "\t"))
}

// Verdict is the last line of a reply.
type Verdict struct {
	Code     int
	Text     string // without the place
	Col, Len int    // place in the request, bytes from 1; 0 without
}

func newVerdict(l Line) Verdict {
	v := Verdict{Code: l.Code, Text: l.Text}
	if l.Code/100 != 5 || !strings.HasPrefix(l.Text, "@") {
		return v
	}
	place, text, _ := strings.Cut(l.Text[1:], " ")
	col, length, ok := strings.Cut(place, "+")
	c, err1 := strconv.Atoi(col)
	n, err2 := strconv.Atoi(length)
	if ok && err1 == nil && err2 == nil && c > 0 && n >= 0 {
		v.Col, v.Len, v.Text = c, n, text
	}
	return v
}

// Status is the exit status.
func (v Verdict) Status() int { return ExitStatus(v.Code) }

// Err is nil for a good verdict (2xx), else an *Error.
func (v Verdict) Err() error {
	if v.Code/100 == 2 {
		return nil
	}
	return &Error{v.Code, v.Text}
}

// Explain writes the verdict as a person reads it: see grammar.Explain.
func (v Verdict) Explain(line string, interactive bool, promptCols int) (caret, message string) {
	return grammar.Explain(v.Code, v.Text, line, v.Col, v.Len, interactive, promptCols)
}

// Role of a connection.
type Role uint8

const (
	RoleNone  Role = iota // nothing until auth
	RoleView              // may show and debug
	RoleAdmin             // may everything
)

func (r Role) String() string {
	switch r {
	case RoleView:
		return grammar.View
	case RoleAdmin:
		return grammar.Admin
	}
	return "none"
}

// ParseRole reads none, view, admin.
func ParseRole(s string) (Role, error) {
	for r := RoleNone; r <= RoleAdmin; r++ {
		if r.String() == s {
			return r, nil
		}
	}
	return RoleNone, fmt.Errorf("no role %q (view, admin)", s)
}

// may reports whether the role is enough for a command.
func (r Role) may(command *grammar.Command) bool {
	return r == RoleAdmin || r == RoleView && command.Role != grammar.Admin
}
