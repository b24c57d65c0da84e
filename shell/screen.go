package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/mattn/go-runewidth"

	"bmp/proto/control"
	"bmp/shell/edit"
)

// errQuit ends a command whose output nobody wants to see more of.
var errQuit = errors.New("quit")

// maxWaiting is how much output waits behind --More--, in bytes.
const (
	maxWaiting       = 64 << 20
	maxWaitingRemote = 8 << 20 // it is the station's memory
	maxAhead         = 1 << 20 // while nobody is asked: the command waits for the terminal
)

// screen shows the output of one command. The command puts lines in, from any
// goroutine; one goroutine of the screen's own writes them, page by page where
// there is a pager. A page that somebody looks at does not hold up the station:
// what comes meanwhile waits here, up to a bound at which the command is
// cancelled, and says so.
type screen struct {
	ctx    context.Context
	quit   context.CancelCauseFunc // of the command
	ed     edit.Editor
	keys   edit.KeyReader // nil: no pager
	length func() int     // lines of a page, 0: no pager
	live   func() bool    // what comes is watched as it comes, and not read page by page
	wrap   bool           // long lines are broken between words
	color  bool
	errors io.Writer
	limit  int
	less   *external // another program as the pager; nil: none

	progress bool // how far a long search has come is shown

	mu      sync.Mutex
	changed sync.Cond
	waiting []outLine
	bytes   int
	asking  bool // somebody looks at a page
	full    bool // limit was reached
	ended   bool // no more comes
	off     bool // nothing more is shown
	shown   bool // all that came is on the terminal
	err     error
	done    chan struct{}
}

type outLine struct {
	text     string
	heading  bool
	progress bool // shown until something else is
}

// show begins the output of a command. quit is called when its output is not
// wanted any more. What a debug follows until source ends is live.
func (s *Shell) show(ctx, source context.Context, quit context.CancelCauseFunc, p *plan) *screen {
	set := s.settings()
	follows := p.follows()
	v := &screen{ctx: ctx, quit: quit, ed: s.ed(), color: set.colored() && p.filters.Format == 0 && set.format == 0,
		live:   func() bool { return follows && source.Err() == nil },
		errors: s.errors(), limit: maxWaiting, length: func() int { return 0 }, done: make(chan struct{})}
	v.changed.L = &v.mu
	if s.o.Remote {
		v.limit = maxWaitingRemote
	}
	v.wrap = s.o.Terminal && p.word != nil && p.word.is(prose)
	keys, ok := v.ed.(edit.KeyReader)
	if ok && s.o.Terminal && !p.filters.NoMore && set.length != 0 && !(p.word != nil && p.word.is(ownScreen)) {
		v.keys = keys
		v.length = func() int {
			if set.length > 0 {
				return max(set.length-1, 1)
			}
			if _, rows := v.ed.Size(); rows > 0 {
				return max(rows-1, 1)
			}
			return 23
		}
		if command := s.o.Env("BMP_PAGER"); command != "" && !s.o.Remote && !follows {
			v.less = &external{command: command, ed: v.ed}
		}
	}
	v.progress = s.o.Terminal && set.editor != "plain" && v.less == nil
	go v.run()
	return v
}

// line takes a line of a reply.
func (v *screen) line(l control.Line) error {
	switch l.Code {
	case control.CodeProgress:
		if !v.progress {
			return nil
		}
		return v.put(outLine{text: l.Text, progress: true})
	case control.CodeWarning:
		return v.put(outLine{text: "% " + l.Text})
	case control.CodeCandidate, control.CodeHelp:
		var b strings.Builder
		cells := strings.Split(l.Text, "\t")
		fmt.Fprintf(&b, "  %-22s", cells[0])
		for _, c := range cells[1:] {
			b.WriteString(" " + c)
		}
		return v.put(outLine{text: b.String()})
	}
	if v.wrap {
		cols, _ := v.ed.Size()
		for _, text := range wrapped(l.Text, cols) {
			if err := v.put(outLine{text: text}); err != nil {
				return err
			}
		}
		return nil
	}
	return v.put(outLine{text: l.Text, heading: l.Code == control.CodeHeading})
}

// wrapped breaks a line between words, and a usage between its choices: what
// goes on is indented. cols of 0 are any number.
func wrapped(text string, cols int) []string {
	indent := strings.Repeat(" ", len(text)-len(strings.TrimLeft(text, " "))+4)
	if cols < 2*len(indent) {
		return []string{text}
	}
	var out []string
	for runewidth.StringWidth(text) > cols {
		room := runewidth.Truncate(text, cols, "")
		at := strings.LastIndexByte(room, '|') + 1
		if blank := strings.LastIndexByte(room, ' ') + 1; at == 0 || at < len(room)-20 {
			at = max(at, blank)
		}
		if at <= len(indent) {
			break
		}
		out = append(out, strings.TrimRight(text[:at], " "))
		text = indent + text[at:]
	}
	return append(out, text)
}

func (v *screen) put(l outLine) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.bytes > maxAhead && !v.asking && !v.off {
		v.changed.Wait()
	}
	switch {
	case v.off:
		return errQuit
	case v.bytes > v.limit:
		v.full = true
		return errQuit
	}
	v.waiting = append(v.waiting, l)
	v.bytes += len(l.text) + 32
	v.shown = false
	v.changed.Broadcast()
	return nil
}

// drain waits until what came is on the terminal.
func (v *screen) drain() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for !v.shown && !v.off && len(v.waiting) > 0 {
		v.changed.Wait()
	}
}

// finish says that no more comes, and waits until all of it was shown, or
// until nobody wants to see it.
func (v *screen) finish() error {
	v.mu.Lock()
	v.ended = true
	v.changed.Broadcast()
	v.mu.Unlock()
	<-v.done
	if v.full {
		way := "'| no-more' or '| save FILE'"
		if v.limit == maxWaitingRemote {
			way = "'| no-more'" // the files are somebody else's
		}
		return errorf(control.CodeFailed, "Stopped: more than %d MB waited to be looked at (filter it, or use %s)", v.limit>>20, way)
	}
	return v.err
}

// next waits for lines and takes them.
func (v *screen) next() (lines []outLine, more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shown = len(v.waiting) == 0
	v.changed.Broadcast()
	for len(v.waiting) == 0 && !v.ended && v.ctx.Err() == nil {
		v.changed.Wait()
	}
	if v.ctx.Err() != nil {
		return nil, false
	}
	lines = v.waiting
	v.waiting, v.bytes = nil, 0
	v.changed.Broadcast()
	return lines, len(lines) > 0
}

// stopped ends the showing.
func (v *screen) stopped(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.off, v.err = true, err
	v.waiting, v.bytes = nil, 0
	v.changed.Broadcast()
}

func (v *screen) run() {
	defer close(v.done)
	stop := context.AfterFunc(v.ctx, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.changed.Broadcast()
	})
	defer stop()
	p := page{screen: v, left: v.length()}
	for {
		lines, more := v.next()
		if !more {
			p.untell()
			v.stopped(p.end())
			return
		}
		for len(lines) > 0 {
			n, err := p.write(lines)
			if err != nil {
				p.untell()
				p.end()
				if errors.Is(err, errQuit) {
					v.quit(errQuit)
					err = nil
				}
				v.stopped(err)
				return
			}
			lines = lines[n:]
		}
	}
}

// page is where the screen is: how many lines fit before it asks.
type page struct {
	*screen
	left     int            // lines until --More--
	free     bool           // nobody is asked any more
	find     *regexp.Regexp // what is being skipped to
	searched string
	out      strings.Builder
	first    []outLine // held back until it is known whether all fit on a page
	told     bool      // how far a search has come stands there
}

// write shows lines as far as the page goes, and asks at its end. It reports
// how many it took.
func (p *page) write(lines []outLine) (int, error) {
	if p.less != nil {
		return p.toProgram(lines)
	}
	cols, _ := p.ed.Size()
	for i, l := range lines {
		if p.ctx.Err() != nil {
			return 0, p.ctx.Err()
		}
		if l.progress {
			if err := p.tell(l.text, cols); err != nil {
				return 0, err
			}
			continue
		}
		p.untell()
		if p.find != nil {
			if !p.find.MatchString(l.text) {
				continue
			}
			p.find = nil
			p.left = p.length()
		}
		if p.live() {
			p.left = p.length()
		}
		if p.length() > 0 && !p.free && p.left <= 0 {
			if err := p.flush(); err != nil {
				return 0, err
			}
			if err := p.ask(); err != nil {
				return 0, err
			}
			if p.find != nil {
				return i, nil
			}
		}
		text := l.text
		if p.color {
			if l.heading {
				text = colorBold + text + colorOff
			} else {
				text = paint(text)
			}
		}
		p.out.WriteString(text)
		p.out.WriteByte('\n')
		p.left -= lineHeight(l.text, cols)
		if p.out.Len() > 32<<10 {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(lines), p.flush()
}

// tell shows how far a search has come, over what was told before.
func (p *page) tell(text string, cols int) error {
	if err := p.flush(); err != nil {
		return err
	}
	if cols > 1 {
		text = runewidth.Truncate(text, cols-1, "")
	}
	p.told = true
	_, err := io.WriteString(p.ed.Out(), "\r\x1b[K"+text)
	return err
}

func (p *page) untell() {
	if p.told {
		p.told = false
		_, _ = io.WriteString(p.ed.Out(), "\x1b[2K\r") // the next write tells of a terminal that is gone
	}
}

func (p *page) flush() error {
	if p.out.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(p.ed.Out(), p.out.String())
	p.out.Reset()
	return err
}

// lineHeight is how many rows of the terminal a line takes.
func lineHeight(text string, cols int) int {
	if cols <= 0 {
		return 1
	}
	return max(1, (runewidth.StringWidth(text)+cols-1)/cols)
}

const moreText = "--More-- (space, Enter, q, /)"

// ask stops at the end of a page until a key says how to go on.
func (p *page) ask() error {
	if p.keys.TypedAhead() {
		p.free = true // what was pasted behind the command is no answer
		return nil
	}
	p.setAsking(true)
	defer p.setAsking(false)
	text := moreText
	if cols, _ := p.ed.Size(); cols > 0 && len(text) >= cols {
		text = text[:max(cols-1, 1)]
	}
	if p.color {
		text = "\x1b[7m" + text + "\x1b[0m"
	}
	out := p.ed.Out()
	defer io.WriteString(out, "\x1b[2K\r")
	for {
		io.WriteString(out, "\r\x1b[K"+text)
		key, err := p.keys.Key(p.ctx)
		if err != nil {
			return err
		}
		switch key {
		case " ", "f", "\x06", "\x1b[6~":
			p.left = p.length()
		case "\r", "\n", "j", "\x1b[B":
			p.left = 1
		case "d", "\x04":
			p.left = max(p.length()/2, 1)
		case "G", "c":
			p.free = true
		case "q", "Q":
			return errQuit
		case "/", "n":
			if key == "/" {
				if p.searched, err = p.read(out); err != nil {
					return err
				}
			}
			if p.searched == "" {
				continue
			}
			if p.find, err = regexp.Compile(p.searched); err != nil {
				text = fmt.Sprintf("%v --More--", err)
				p.find = nil
				continue
			}
		default:
			continue
		}
		return nil
	}
}

// read takes the pattern of a search.
func (p *page) read(out io.Writer) (string, error) {
	var typed []rune
	for {
		io.WriteString(out, "\r\x1b[K/"+string(typed))
		key, err := p.keys.Key(p.ctx)
		switch {
		case err != nil:
			return "", err
		case key == "\r", key == "\n":
			return string(typed), nil
		case key == "\x7f", key == "\b":
			if len(typed) == 0 {
				return "", nil
			}
			typed = typed[:len(typed)-1]
		case key == "\x15":
			typed = typed[:0]
		case key[0] >= ' ':
			typed = append(typed, []rune(key)...)
		}
	}
}

func (p *page) setAsking(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = on
	p.changed.Broadcast()
}

// end is called behind the last line.
func (p *page) end() error {
	if p.find != nil && p.ctx.Err() == nil {
		fmt.Fprintf(p.ed.Out(), "%% Not found: %s\n", p.searched)
	}
	if p.less != nil {
		return p.less.finish(p)
	}
	return nil
}

// Colours of a terminal.
const (
	colorBold  = "\x1b[1m"
	colorRed   = "\x1b[31m"
	colorGreen = "\x1b[32m"
	colorOff   = "\x1b[0m"
)

var painted = regexp.MustCompile(`\b(?:DOWN|down|MALFORMED|withdraw|UP|up|announce)\b`)

// paint colours the words that say how something is.
func paint(text string) string {
	return painted.ReplaceAllStringFunc(text, func(w string) string {
		switch w {
		case "UP", "up", "announce":
			return colorGreen + w + colorOff
		}
		return colorRed + w + colorOff
	})
}
