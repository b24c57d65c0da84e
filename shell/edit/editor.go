package edit

import (
	"context"
	"errors"
	"io"
)

// ErrInterrupt is ReadLine's word for Ctrl-C: the line is dropped, the next
// ReadLine begins a new one.
var ErrInterrupt = errors.New("interrupted")

// Editor reads lines and shares its terminal with output that comes by itself.
//
// ReadLine, Suspend and Close belong to one goroutine; Async, Size and
// Interrupts may be used from any.
type Editor interface {
	// ReadLine shows prompt and returns the line typed, without its end. It
	// returns io.EOF at the end of input (a last line without an end is
	// returned first), ErrInterrupt on Ctrl-C, ctx.Err() when ctx ends.
	ReadLine(ctx context.Context, prompt string) (string, error)

	// Out is where replies go while no line is being read.
	Out() io.Writer

	// Async takes text that comes by itself. One Write is one or more whole
	// lines; it never blocks and keeps no part of the slice. When the reader
	// is slower than what comes, lines are dropped, counted, and the count is
	// shown.
	Async() io.Writer

	// Size is the terminal's; 0, 0 when there is none.
	Size() (cols, rows int)

	// Interrupts delivers each Ctrl-C (telnet: Interrupt Process) that comes
	// while no line is being read.
	Interrupts() <-chan struct{}

	// Suspend leaves the terminal to somebody else, a pager, until resume.
	Suspend() (resume func())

	// Close restores the terminal. It is safe to call twice.
	Close() error
}

// KeyReader is an Editor that hands out single keys while no line is being
// read: for a pager, or a secret.
type KeyReader interface {
	// Key waits for one key: a character, a control character, or a whole
	// escape sequence. Ctrl-C is no key: it comes by Interrupts. The error is
	// io.EOF or ctx's.
	Key(ctx context.Context) (string, error)
	// TypedAhead reports whether a whole line was typed that nobody has read:
	// who typed or pasted it does not want to be stopped before it.
	TypedAhead() bool
}

// Assistant tells an editor what may stand in a line. Both calls may ask the
// station and are bounded by their context; pos is a byte offset in line.
type Assistant interface {
	Complete(ctx context.Context, line string, pos int) Completion
	Help(ctx context.Context, line string, pos int) []Item
}

// Completion is what may replace line[From:From+Len]. Insert is what all
// candidates begin with; it is never shorter than what is there.
type Completion struct {
	From, Len int
	Insert    string
	Items     []Item
}

// Item is a word or a value with its help.
type Item struct {
	Text, Help string
}
