package edit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/chzyer/readline"
	"github.com/mattn/go-runewidth"
)

// Readline is the classic editor of a router's console, by
// github.com/chzyer/readline: on a local terminal, and run by the station for
// telnet consoles.
//
// The library's goroutine is the only one that draws while a line is being
// read: whatever comes from elsewhere (lines to show above, a new width, the
// end of the read) is queued and announced by a private rune in its input.
type Readline struct {
	o     ReadlineOptions
	keys  *keys
	lib   *readline.Instance
	queue *asyncQueue
	once  sync.Once

	out *lineWriter

	resize   func()  // of the library: takes the new width
	verbatim bool    // the last key was Ctrl-V; of the library's goroutine
	events   handOff // lines to show above, for the library's goroutine
	history  int     // lines in the library's history
	typed    string  // a line given up half typed, for the next ReadLine

	// The library's goroutine tells its listener of the key that ended a line
	// when ReadLine may have begun the next. The library draws with a lock of
	// its own held, and then takes mu: nothing of the library is called with mu
	// held.
	mu     sync.Mutex
	ctx    context.Context // of the ReadLine that runs
	prompt string
	line   []rune
	pos    int
	ending bool   // the key that the library deals with ends the line
	holds  bool   // it is one that holds back those behind it
	cut    bool   // what was typed beyond maxTyped was dropped
	before []rune // the line as it was when a search began
	redo   bool   // the search was given up: before is to be read on
	ended  bool   // the library has met the end of input
	// prompting says that the library is about to draw the prompt.
	prompting bool
	owed      int // ends of input that the library tells and ReadLine has not heard: Ctrl-D, and the end itself
}

// charVerbatim, Ctrl-V, takes the meaning from the `?` behind it.
const charVerbatim = 22

// maxTyped is how long a line may become, in characters. No station takes one
// that is longer, and the library draws all of it at every key.
const maxTyped = 10_000

// ReadlineOptions are what a Readline needs to know. In and Out must be set.
type ReadlineOptions struct {
	In        io.Reader // what is typed, from a terminal in raw mode
	Out       io.Writer
	Assistant Assistant // nil: no completion and no help
	// Size is the terminal's, 0, 0 when not known. Resized says that it has
	// changed; may be nil.
	Size    func() (cols, rows int)
	Resized <-chan struct{}
	// History is where lines are kept; nil: in memory.
	History *History
	// Restore gives the terminal back; called once by Close. May be nil.
	Restore func() error
	// Lend hands the terminal to another program, until resume. May be nil.
	Lend func() (resume func())
	// Paste is whether the terminal is asked to mark pasted text.
	Paste bool
	// PageLength is how many lines of a table are shown at once; nil: the
	// terminal's. 0 is all of them.
	PageLength func() int
	// TypeAhead is how much may be typed while nothing reads it, in runes; what
	// is beyond it is dropped. 0: 4 Mi.
	TypeAhead int
}

// NewReadline returns an editor on a terminal that is in raw mode already.
func NewReadline(o ReadlineOptions) (*Readline, error) {
	if o.Size == nil {
		o.Size = func() (int, int) { return 0, 0 }
	}
	if o.History == nil {
		o.History = &History{}
	}
	e := &Readline{o: o, keys: newKeys(o.In, o.TypeAhead), out: &lineWriter{w: tmuxWriter{o.Out}}, events: newHandOff()}
	lib, err := readline.NewEx(&readline.Config{
		Stdin: e.keys, Stdout: libraryOutput{e}, Stderr: libraryOutput{e},
		AutoComplete:           completer{e},
		HistoryLimit:           maxHistory,
		DisableAutoSaveHistory: true,
		HistorySearchFold:      true,
		ForceUseInteractive:    true,
		FuncIsTerminal:         func() bool { return true },
		FuncMakeRaw:            func() error { return nil },
		FuncExitRaw:            func() error { return nil },
		FuncGetWidth:           e.width,
		FuncOnWidthChanged:     func(f func()) { e.resize = f },
		FuncFilterInputRune:    e.filter,
		Listener:               listener{e},
		InterruptPrompt:        "^C",
		EOFPrompt:              "\n",
	})
	if err != nil {
		return nil, err
	}
	e.lib = lib
	lines, err := o.History.Load()
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		e.remember(l)
	}
	e.queue = newAsyncQueue(e.showAsync)
	if o.Paste {
		io.WriteString(o.Out, "\x1b[?2004h")
	}
	if o.Resized != nil {
		go e.watchSize()
	}
	return e, nil
}

func (e *Readline) remember(line string) {
	if e.lib.SaveHistory(line) == nil {
		e.history++
	}
}

func (e *Readline) width() int {
	if cols, _ := e.o.Size(); cols > 0 {
		return cols
	}
	return 80
}

// watchSize ends with Close.
func (e *Readline) watchSize() {
	for {
		select {
		case _, ok := <-e.o.Resized:
			if !ok {
				return
			}
			e.keys.inject(runeResize)
		case <-e.events.closed:
			return
		}
	}
}

// ReadLine implements Editor.
func (e *Readline) ReadLine(ctx context.Context, prompt string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if e.toldAll() {
		return "", io.EOF
	}
	called := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(called)
		e.keys.inject(runeAbort)
	})
	e.out.freshLine()
	typed := e.typed
	e.typed = ""
	var line string
	var err error
	for again := true; again; {
		e.keys.want()
		e.begin(ctx, prompt, typed)
		line, err = e.lib.ReadlineWithDefault(typed)
		typed, again = e.searchGivenUp()
		again = again && ctx.Err() == nil
		if again {
			e.eraseRead(prompt, line)
		}
	}
	if !stop() {
		<-called // what calls this read off must not meet the next one
	}
	if ctx.Err() != nil && err != nil && err != io.EOF {
		e.eraseRead(prompt, line) // the next read shows the line again, perhaps behind another prompt
	}
	e.keys.stop(err == nil)
	e.out.writeLines(e.events.take())
	if err == io.EOF {
		e.heardEnd()
	}
	switch {
	case ctx.Err() != nil && err != nil:
		e.typed = line
		return "", ctx.Err()
	case errors.Is(err, readline.ErrInterrupt):
		return "", ErrInterrupt
	case err != nil:
		e.out.freshLine()
		return "", io.EOF
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cut {
		return "", ErrLineTooLong
	}
	return line, nil
}

// eraseRead takes a line whose read was broken off from the screen.
func (e *Readline) eraseRead(prompt, line string) {
	rows := (runewidth.StringWidth(prompt+line))/e.width() + 1
	fmt.Fprintf(e.out, "\x1b[%dA\r\x1b[J\r", rows)
}

// searchGivenUp reports whether a read was broken off to give up a search, and the line that it began with.
func (e *Readline) searchGivenUp() (before string, was bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, e.redo = e.redo, false
	return string(e.before), was
}

func (e *Readline) begin(ctx context.Context, prompt, typed string) {
	e.set(func() {
		e.ctx, e.prompt, e.line, e.pos, e.cut = ctx, prompt, []rune(typed), len([]rune(typed)), false
	})
	e.lib.SetPrompt(prompt)
}

// now is the line as the library's goroutine last had it.
func (e *Readline) now() (prompt string, line []rune, pos int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.prompt, e.line, min(e.pos, len(e.line))
}

// set changes what ReadLine's goroutine and the library's share.
func (e *Readline) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

// oweEnd notes that the library is about to tell an end of input: of one line, by Ctrl-D, or of all of them.
func (e *Readline) oweEnd(all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	e.ended = all
	e.owed++
}

func (e *Readline) heardEnd() { e.set(func() { e.owed-- }) }

// toldAll reports whether the library has met the end of input and every word of it was heard: it would never answer again.
func (e *Readline) toldAll() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended && e.owed == 0
}

// Remember keeps a line in the history, here and in the file.
func (e *Readline) Remember(line string) error {
	if strings.TrimSpace(line) == "" {
		return nil
	}
	e.remember(line)
	return e.o.History.Add(line)
}

// Out implements Editor.
func (e *Readline) Out() io.Writer { return e.out }

// Async implements Editor.
func (e *Readline) Async() io.Writer { return e.queue }

// showAsync is called by the queue's goroutine: it hands the lines to the
// library's goroutine while a line is being read, and writes them otherwise.
func (e *Readline) showAsync(text []byte) {
	e.events.give(text, func() bool { return e.keys.inject(runeAsync) }, e.keys.idle, e.out.writeLines)
}

// Size implements Editor.
func (e *Readline) Size() (cols, rows int) { return e.o.Size() }

// Interrupts implements Editor.
func (e *Readline) Interrupts() <-chan struct{} { return e.keys.breaks }

// Key implements KeyReader.
func (e *Readline) Key(ctx context.Context) (string, error) { return e.keys.key(ctx) }

// TypedAhead implements KeyReader.
func (e *Readline) TypedAhead() bool { return e.keys.typedAhead() }

// Ahead takes what was typed and not read, for whoever reads the input next.
// The input has ended.
func (e *Readline) Ahead() string { return e.keys.ahead() }

// Suspend implements Editor.
func (e *Readline) Suspend() (resume func()) {
	if e.o.Lend == nil {
		return func() {}
	}
	return e.o.Lend()
}

// Close implements Editor. It is not called while ReadLine runs.
func (e *Readline) Close() error {
	var err error
	e.once.Do(func() {
		close(e.events.closed)
		e.queue.close()
		e.endLibrary()
		err = e.lib.Close()
		if e.o.Paste {
			io.WriteString(e.o.Out, "\x1b[?2004l")
		}
		if e.o.Restore != nil {
			err = errors.Join(err, e.o.Restore())
		}
	})
	return err
}

// endLibrary lets the library meet the end of its input and takes its word for
// it, for otherwise its goroutine would wait for somebody to hear it: closing
// leaves room for one word alone. Nothing it draws meanwhile is seen.
func (e *Readline) endLibrary() {
	e.keys.Close()
	e.out.mute()
	e.begin(context.Background(), "bmp", "") // which is not seen
	for !e.toldAll() {
		if _, err := e.lib.Readline(); err == io.EOF {
			e.heardEnd()
		}
	}
}

// libraryOutput is where the library draws. No key reaches it before the prompt
// has: it draws the prompt in the goroutine of ReadLine, and a key in its own,
// and nothing keeps the two from each other.
type libraryOutput struct{ e *Readline }

// Write implements io.Writer.
func (o libraryOutput) Write(p []byte) (int, error) {
	e := o.e
	n, err := e.out.Write(p)
	e.mu.Lock()
	prompted := e.prompting && strings.HasPrefix(string(p), e.prompt)
	if prompted {
		e.prompting = false
	}
	ctx := e.ctx
	e.mu.Unlock()
	if prompted {
		e.keys.start()
		if ctx.Err() != nil { // before there was a read to call off
			e.keys.inject(runeAbort)
		}
	}
	return n, err
}

// listener is told of every key that the library has dealt with.
type listener struct{ e *Readline }

// OnChange implements readline.Listener. The library calls it with key 0 before
// it begins to read, in the goroutine of ReadLine.
func (l listener) OnChange(line []rune, pos int, key rune) ([]rune, int, bool) {
	e := l.e
	if key == 0 && line == nil && pos == 0 {
		e.keys.begin()
		e.set(func() { e.prompting = true })
		return nil, 0, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ending {
		return nil, 0, false // the next line may have begun: it is not this one, and what it holds is its own
	}
	e.line, e.pos = append([]rune(nil), line...), pos
	// The next key is read while this one is dealt with: only the one that
	// holds may let go.
	if e.holds {
		e.keys.release()
	}
	return nil, 0, false
}

// filter sees every rune first, in the library's goroutine. What it refuses,
// the library answers by drawing the line again.
func (e *Readline) filter(r rune) (rune, bool) {
	searching := e.lib.Operation.IsSearchMode()
	_, line, pos := e.now()
	e.set(func() { e.holds, e.ending = holds(r), false })
	if r != '?' && r < firstPrivate {
		e.verbatim = false
	}
	switch r {
	case 0: // the end of input
		e.oweEnd(true)
		return r, true
	case runeAsync:
		if text := e.events.take(); text != nil {
			e.above(text)
		}
		return 0, false
	case runeResize:
		e.lib.Clean()
		e.resize()
		return 0, false
	case runeAbort:
		e.set(func() { e.ending = true })
		e.lib.Config.InterruptPrompt = ""
		if searching {
			e.lib.Operation.ExitSearchMode(true)
		}
		return readline.CharInterrupt, true
	case runeDelete:
		if len(line) == 0 {
			return 0, false
		}
		return readline.CharDelete, true
	case runeQuestion:
		return '?', true
	case runeText:
		e.typeRun(e.keys.run(), line, pos, searching)
		return 0, false
	case '?':
		if e.o.Assistant == nil || searching || e.verbatim || literal(string(line[:pos])) {
			e.verbatim = false
			return r, true
		}
		e.help()
		e.keys.release()
		return 0, false
	case charVerbatim:
		e.verbatim = true
		return 0, false
	case readline.CharCtrlZ:
		return 0, false
	case readline.CharTab:
		if searching {
			e.keys.release()
			return 0, false
		}
		return r, true
	case readline.CharBckSearch, readline.CharFwdSearch:
		// The library dies when a search of nothing is given up.
		if e.history == 0 {
			return readline.CharBell, true
		}
		if !searching {
			e.set(func() { e.before = line })
		}
		return r, true
	case readline.CharBell: // Ctrl-G
		if !searching {
			e.keys.release()
			return 0, false
		}
		// The library would go back to the match before the last. As if the read were called off, it goes to the end of the history.
		e.set(func() { e.redo, e.ending = true, true })
		e.lib.Config.InterruptPrompt = ""
		e.lib.Operation.ExitSearchMode(true)
		return readline.CharInterrupt, true
	case readline.CharInterrupt:
		e.lib.Config.InterruptPrompt = "^C"
		if searching {
			e.lib.Operation.ExitSearchMode(true) // which is not all that Ctrl-C does, to the library
		}
		e.set(func() { e.ending = true })
		return r, true
	case readline.CharDelete: // Ctrl-D
		if len(line) > 0 || searching {
			e.keys.release()
		} else {
			e.oweEnd(false)
			e.set(func() { e.ending = true })
		}
		return r, true
	case readline.CharEnter, readline.CharCtrlJ:
		e.set(func() { e.ending = true })
		return r, true
	case readline.CharCtrlL, readline.CharKill:
		return r, true
	}
	if isText(r) && !searching && len(line) >= maxTyped {
		e.set(func() { e.cut = true })
		return 0, false
	}
	return r, true
}

// typeRun takes many characters at once, at the end of the line; elsewhere the
// library inserts them one by one.
func (e *Readline) typeRun(run, line []rune, pos int, searching bool) {
	defer e.keys.release()
	if searching || pos < len(line) {
		e.keys.unread(run[:min(len(run), maxTyped)])
		return
	}
	text := append(append([]rune(nil), line...), run...)
	if len(text) > maxTyped {
		e.set(func() { e.cut = true })
		text = text[:maxTyped]
	}
	e.lib.Operation.SetBuffer(string(text))
	e.set(func() { e.line, e.pos = text, len(text) })
}

// above shows text over the line being typed, which the library draws again.
func (e *Readline) above(text []byte) {
	e.lib.Clean()
	e.out.writeLines(text)
}
