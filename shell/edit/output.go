package edit

import (
	"io"
	"strings"
	"sync"
)

// lineWriter is the terminal's output: one writer at a time, and it knows
// whether the cursor stands at the start of a line.
type lineWriter struct {
	mu     sync.Mutex
	w      io.Writer
	middle bool // the last byte was no newline
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(p)
}

func (l *lineWriter) write(p []byte) (int, error) {
	if len(p) > 0 {
		last := p[len(p)-1]
		l.middle = last != '\n' && last != '\r'
	}
	return l.w.Write(p)
}

// writeLines writes whole lines, on a line of their own. The line editor has
// erased its line, or nothing stands there.
func (l *lineWriter) writeLines(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(p)
}

// mute throws away what is written from now on.
func (l *lineWriter) mute() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w = io.Discard
}

// ended notes that the line left open is ended by somebody else.
func (l *lineWriter) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.middle = false
}

// freshLine ends a line that output left open.
func (l *lineWriter) freshLine() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.middle {
		l.write([]byte("\n"))
	}
}

// tmuxWriter mends one sequence of the library: going up from the first column
// by a backspace first, it eats lines above under tmux.
type tmuxWriter struct{ w io.Writer }

// Write implements io.Writer.
func (t tmuxWriter) Write(p []byte) (int, error) {
	s := strings.ReplaceAll(string(p), "\b\x1b[A\r", "\x1b[A\r")
	if _, err := io.WriteString(t.w, s); err != nil {
		return 0, err
	}
	return len(p), nil
}
