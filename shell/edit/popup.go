package edit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	prompt "github.com/c-bata/go-prompt"
	"github.com/mattn/go-runewidth"
)

// Popup shows what may be typed while it is typed, by
// github.com/c-bata/go-prompt: for people who explore. It works on a local
// terminal only, and the library allows one per process.
//
// The library draws in the goroutine of ReadLine. It reads keys through
// ReadLine's parser, which turns what is no key (lines to show above, the end
// of the read) into function keys that no keyboard has, bound to what is to be done.
type Popup struct {
	o      ReadlineOptions
	keys   *keys
	lib    *prompt.Prompt
	out    *lineWriter
	queue  *asyncQueue
	events handOff     // lines to show above, for ReadLine's goroutine
	asking atomic.Bool // suggestions are on their way
	once   sync.Once

	// Of ReadLine's goroutine.
	ctx     context.Context
	prompt  string
	end     error // why the read ends without a line
	lines   []string
	search  int    // how far back Ctrl-R has gone
	pattern string // what it looks for
	last    string // what it found
	ctrlD   bool   // the newest key was Ctrl-D
}

// The keys that stand for private runes.
const (
	keyAsync    = prompt.F24
	keyAbort    = prompt.F23
	keyBreak    = prompt.F22
	keyHelp     = prompt.F21
	keyQuestion = prompt.F16
)

// ErrNoTerminal is returned where the popup editor cannot work.
var ErrNoTerminal = errors.New("the popup editor needs a terminal")

// HasPopup reports whether the process has a terminal of its own, without which
// the library panics.
func HasPopup() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// NewPopup returns an editor on a terminal that is in raw mode already, which
// must be the process's own: the library writes to standard output.
func NewPopup(o ReadlineOptions) (*Popup, error) {
	if !HasPopup() {
		return nil, ErrNoTerminal
	}
	var err error
	if cols, rows := o.Size(); cols == 0 || rows == 0 {
		return nil, ErrNoTerminal
	}
	if o.History == nil {
		o.History = &History{}
	}
	e := &Popup{o: o, keys: newKeys(o.In, o.TypeAhead), out: &lineWriter{w: o.Out}, events: newHandOff()}
	if e.lines, err = o.History.Load(); err != nil {
		return nil, err
	}
	e.lib = prompt.New(func(string) {}, e.suggest,
		prompt.OptionParser(popupParser{e}),
		prompt.OptionWriter(prompt.NewStdoutWriter()),
		prompt.OptionLivePrefix(e.prefix),
		prompt.OptionPrefixTextColor(prompt.DefaultColor),
		prompt.OptionMaxSuggestion(8),
		prompt.OptionHistory(e.lines),
		prompt.OptionSetExitCheckerOnInput(func(_ string, breakline bool) bool { return e.end != nil && !breakline }),
		prompt.OptionAddKeyBind(
			prompt.KeyBind{Key: keyAsync, Fn: e.showPending},
			prompt.KeyBind{Key: keyAbort, Fn: func(*prompt.Buffer) { e.end = e.ctx.Err() }},
			prompt.KeyBind{Key: keyBreak, Fn: e.breakLine},
			prompt.KeyBind{Key: keyHelp, Fn: e.help},
			prompt.KeyBind{Key: keyQuestion, Fn: func(b *prompt.Buffer) { b.InsertText("?", false, true) }},
			prompt.KeyBind{Key: prompt.ControlR, Fn: e.searchBack},
		))
	e.queue = newAsyncQueue(e.showAsync)
	if o.Paste {
		io.WriteString(o.Out, "\x1b[?2004h")
	}
	return e, nil
}

// popupParser is the library's input.
type popupParser struct{ e *Popup }

// Setup and TearDown do nothing: the terminal stays in raw mode between lines,
// so that Ctrl-C is seen while a command runs.
func (popupParser) Setup() error    { return nil }
func (popupParser) TearDown() error { return nil }

// GetWinSize implements prompt.ConsoleParser.
func (p popupParser) GetWinSize() *prompt.WinSize {
	cols, rows := p.e.o.Size()
	return &prompt.WinSize{Col: uint16(cols), Row: uint16(rows)}
}

// Read implements prompt.ConsoleParser: one key, or a single NUL for none.
func (p popupParser) Read() ([]byte, error) {
	key := p.e.keys.next()
	if len(key) == 0 {
		if p.e.keys.atEnd() {
			return []byte{4}, nil
		}
		return []byte{0}, nil
	}
	p.e.ctrlD = key[0] == 4
	if len(key) == 1 {
		switch key[0] {
		case runeAsync:
			return keyBytes(keyAsync), nil
		case runeAbort:
			return keyBytes(keyAbort), nil
		case 3:
			return keyBytes(keyBreak), nil
		case '?':
			return keyBytes(keyHelp), nil
		case runeQuestion:
			return keyBytes(keyQuestion), nil
		case runeDelete:
			return keyBytes(prompt.Delete), nil
		case 26: // Ctrl-Z
			return []byte{0}, nil
		}
	}
	return []byte(string(key)), nil
}

// keyBytes are what the library takes for a key.
func keyBytes(k prompt.Key) []byte {
	for _, s := range prompt.ASCIISequences {
		if s.Key == k {
			return s.ASCIICode
		}
	}
	return []byte{0}
}

// ReadLine implements Editor.
func (e *Popup) ReadLine(ctx context.Context, p string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	e.out.freshLine()
	e.ctx, e.prompt, e.end, e.search = ctx, p, nil, 0
	e.ctrlD = false
	e.keys.begin()
	e.keys.start()
	stop := context.AfterFunc(ctx, func() { e.keys.inject(runeAbort) })
	defer stop()
	line := e.lib.Input()
	e.keys.stop(e.end == nil)
	e.out.writeLines(e.events.take())
	switch {
	case e.end != nil:
		return "", e.end
	case line == "" && (e.ctrlD || e.keys.atEnd()):
		return "", io.EOF
	}
	return line, nil
}

// breakLine answers Ctrl-C: the line stays on the screen and is dropped. The
// library then ends the line with an empty prefix, which adds only the newline.
func (e *Popup) breakLine(b *prompt.Buffer) {
	up, _ := e.cursor(b)
	e.out.writeLines([]byte(eraseFrom(up) + e.prompt + b.Text() + "^C"))
	b.CursorRight(len([]rune(b.Text())))
	b.DeleteBeforeCursor(len([]rune(b.Text())))
	e.out.ended()
	e.end = ErrInterrupt
}

func (e *Popup) prefix() (string, bool) {
	if e.end == ErrInterrupt {
		return "", true
	}
	return e.prompt, true
}

// cursor is where the cursor stands, from the start of the prompt.
func (e *Popup) cursor(b *prompt.Buffer) (down, x int) {
	cols, _ := e.o.Size()
	if cols == 0 {
		cols = 80
	}
	at := runewidth.StringWidth(e.prompt) + b.DisplayCursorPosition()
	return at / cols, at % cols
}

// eraseFrom goes up to the start of the prompt and erases what is below.
func eraseFrom(up int) string {
	if up > 0 {
		return fmt.Sprintf("\x1b[%dA\r\x1b[J", up)
	}
	return "\r\x1b[J"
}

// suggestTime is how long a key may wait for suggestions. Those that take longer
// are drawn when they are there.
const suggestTime = 10 * time.Millisecond

// suggest lists what may stand at the cursor.
func (e *Popup) suggest(d prompt.Document) []prompt.Suggest {
	if e.o.Assistant == nil || e.ctx == nil {
		return nil
	}
	text := d.TextBeforeCursor()
	ctx, cancel := context.WithTimeout(e.ctx, suggestTime)
	defer cancel()
	got := e.o.Assistant.Complete(ctx, text, len(text))
	if ctx.Err() != nil && e.asking.CompareAndSwap(false, true) {
		go func(ctx context.Context, have int) {
			defer e.asking.Store(false)
			if later := e.o.Assistant.Complete(ctx, text, len(text)); len(later.Items) > have {
				e.keys.inject(runeAsync) // draw again
			}
		}(e.ctx, len(got.Items))
	}
	var out []prompt.Suggest
	for _, it := range got.Items[:min(len(got.Items), maxItems)] {
		out = append(out, prompt.Suggest{Text: it.Text, Description: it.Help})
	}
	return out
}

// above erases the line being typed, writes text there, and leaves the cursor
// where the library believes it to be, as many rows further down.
func (e *Popup) above(b *prompt.Buffer, text []byte) {
	up, x := e.cursor(b)
	e.out.writeLines([]byte(eraseFrom(up) + string(text) + backTo(up, x)))
}

// backTo goes from the start of an empty row to where the cursor stands.
func backTo(down, x int) string {
	s := strings.Repeat("\n", down)
	if x > 0 {
		s += fmt.Sprintf("\x1b[%dC", x)
	}
	return s
}

// help answers `?`.
func (e *Popup) help(b *prompt.Buffer) {
	line := b.Text()
	before := b.Document().TextBeforeCursor()
	if e.o.Assistant == nil || literal(before) {
		b.InsertText("?", false, true)
		return
	}
	items := e.o.Assistant.Help(e.ctx, line, len(before))
	var s strings.Builder
	fmt.Fprintf(&s, "%s%s?\n", e.prompt, line)
	cols, _ := e.o.Size()
	writeItems(&s, items, cols)
	up, x := e.cursor(b)
	e.out.writeLines([]byte(eraseFrom(up)))
	pageItems(e.ctx, e.o, e.keys, e.out, s.String())
	e.out.writeLines([]byte(backTo(up, x)))
}

// searchBack answers Ctrl-R: the newest line that holds what is typed, and with
// each further Ctrl-R the one before.
func (e *Popup) searchBack(b *prompt.Buffer) {
	if e.search == 0 || b.Text() != e.last {
		e.search, e.pattern = 0, b.Text()
	}
	for i := len(e.lines) - 1 - e.search; i >= 0; i-- {
		e.search = len(e.lines) - i
		if strings.Contains(e.lines[i], e.pattern) && e.lines[i] != b.Text() {
			e.last = e.lines[i]
			b.CursorRight(len([]rune(b.Text())))
			b.DeleteBeforeCursor(len([]rune(b.Text())))
			b.InsertText(e.last, false, true)
			return
		}
	}
}

// Remember keeps a line in the history, here and in the file. The library has
// it already for the arrow keys.
func (e *Popup) Remember(line string) error {
	if strings.TrimSpace(line) == "" {
		return nil
	}
	e.lines = append(e.lines, line)
	if len(e.lines) > maxHistory {
		e.lines = e.lines[len(e.lines)-maxHistory:]
	}
	return e.o.History.Add(line)
}

// showAsync is called by the queue's goroutine.
func (e *Popup) showAsync(text []byte) {
	e.events.give(text, func() bool { return e.keys.inject(runeAsync) }, e.keys.idle, e.out.writeLines)
}

// showPending shows waiting lines above the line being typed.
func (e *Popup) showPending(b *prompt.Buffer) {
	if text := e.events.take(); text != nil {
		e.above(b, text)
	}
}

// Out implements Editor.
func (e *Popup) Out() io.Writer { return e.out }

// Async implements Editor.
func (e *Popup) Async() io.Writer { return e.queue }

// Size implements Editor.
func (e *Popup) Size() (cols, rows int) { return e.o.Size() }

// Interrupts implements Editor.
func (e *Popup) Interrupts() <-chan struct{} { return e.keys.breaks }

// Key implements KeyReader.
func (e *Popup) Key(ctx context.Context) (string, error) { return e.keys.key(ctx) }

// TypedAhead implements KeyReader.
func (e *Popup) TypedAhead() bool { return e.keys.typedAhead() }

// Suspend implements Editor.
func (e *Popup) Suspend() (resume func()) {
	if e.o.Lend == nil {
		return func() {}
	}
	return e.o.Lend()
}

// Close implements Editor. It is not called while ReadLine runs.
func (e *Popup) Close() error {
	var err error
	e.once.Do(func() {
		close(e.events.closed)
		e.queue.close()
		e.keys.Close()
		if e.o.Paste {
			io.WriteString(e.o.Out, "\x1b[?2004l")
		}
		if e.o.Restore != nil {
			err = e.o.Restore()
		}
	})
	return err
}
