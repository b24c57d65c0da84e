package edit

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Runes of the private use area tell the line editor what is no key. They are
// stripped from what is really typed.
const (
	firstPrivate = '\ue000'
	runeAsync    = '\ue000' // lines wait to be shown above the line being typed
	runeResize   = '\ue001' // the width has changed
	runeAbort    = '\ue002' // the read is called off
	runeDelete   = '\ue003' // the Delete key, which on an empty line is not the end of input
	runeQuestion = '\ue004' // a pasted `?`
	runeText     = '\ue005' // many characters at once, which run holds
	lastPrivate  = '\ue00f'
)

// maxTypedAhead bounds what is typed (or pasted) while nothing reads it, in runes, where nobody says less.
const maxTypedAhead = 4 << 20

// keys is the input of a line editor: a pump reads bytes and makes runes of
// them, Read hands them out one at a time, and only while a line is being
// read. So Ctrl-C is seen at once while a command runs, and what is typed
// ahead waits here.
type keys struct {
	breaks chan struct{} // Ctrl-C while no line is being read

	starting sync.Mutex // held while a line begins to be read; before mu
	mu       sync.Mutex
	ready    sync.Cond
	typed    []rune
	injected []rune // go first, one of each at most
	wanted   bool   // somebody waits for a line, though the library may not read yet
	reading  bool
	held     bool   // a key that may end the line is being looked at
	ended    bool   // no more input
	most     int    // runes in typed
	lost     int    // runes beyond that
	escape   rune   // the library is in an escape sequence of this kind, [ or O; ESC before it is known; 0: in none
	pasted   []rune // what a runeText stands for
	singly   int    // runes that are handed out one by one
}

// newKeys begins to read in. most is how many runes may be typed ahead, 0: maxTypedAhead.
func newKeys(in io.Reader, most int) *keys {
	if most == 0 {
		most = maxTypedAhead
	}
	k := &keys{breaks: make(chan struct{}, 1), most: most}
	k.ready.L = &k.mu
	go k.pump(in)
	return k
}

// pump ends when in does.
func (k *keys) pump(in io.Reader) {
	var d decoder
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		k.add(d.decode(buf[:n]))
		if err != nil {
			k.end()
			return
		}
	}
}

func (k *keys) add(rs []rune) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range rs {
		if r == 3 && !k.wanted {
			k.typed = k.typed[:0] // as a terminal does: what was typed ahead is dropped
			k.interrupt()
			continue
		}
		if r == 3 {
			// While a line is being read its keys stay, and are seen to be dropped; the lines that wait behind it go.
			k.typed = slices.Delete(k.typed, firstLine(k.typed), len(k.typed))
		}
		if len(k.typed) >= k.most {
			k.lost++
			continue
		}
		k.typed = append(k.typed, r)
	}
	k.ready.Broadcast()
}

// firstLine is how many of the runes typed belong to the line being typed: all, where none of them ends it.
func firstLine(typed []rune) int {
	if i := slices.IndexFunc(typed, func(r rune) bool { return r == '\r' || r == '\n' }); i >= 0 {
		return i
	}
	return len(typed)
}

// ahead takes everything typed that nobody has read.
func (k *keys) ahead() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	for _, r := range k.typed {
		switch {
		case r == runeQuestion:
			b.WriteByte('?')
		case r < firstPrivate || r > lastPrivate:
			b.WriteRune(r)
		}
	}
	k.typed = nil
	return b.String()
}

// end makes Read return io.EOF once what was typed is used up.
func (k *keys) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	k.ready.Broadcast()
}

// inject puts a private rune before everything typed. It reports whether a line
// is being read, which is when it will be seen.
func (k *keys) inject(r rune) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.reading {
		return false
	}
	for _, have := range k.injected {
		if have == r {
			return true
		}
	}
	k.injected = append(k.injected, r)
	k.ready.Broadcast()
	return true
}

// idle runs f unless a line is being read, and none begins to be before f has
// returned.
func (k *keys) idle(f func()) bool {
	k.starting.Lock()
	defer k.starting.Unlock()
	k.mu.Lock()
	reading := k.reading
	k.mu.Unlock()
	if !reading {
		f()
	}
	return !reading
}

// want comes before start: from now on Ctrl-C is a key of the line.
func (k *keys) want() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted = true
}

// begin, start and stop bracket the reading of a line. From begin to start, in
// which the prompt is drawn, nothing else is.
func (k *keys) begin() { k.starting.Lock() }

func (k *keys) start() {
	defer k.starting.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted, k.reading, k.held = true, true, false
	k.ready.Broadcast()
}

// stop ends the reading; entered says that it ended with a line. A Ctrl-C that
// came behind Enter is then for the command, though a line was still wanted
// when it was typed.
func (k *keys) stop(entered bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted, k.reading, k.held, k.injected = false, false, false, nil
	for i := len(k.typed) - 1; entered && i >= 0; i-- {
		if k.typed[i] == 3 {
			k.typed = k.typed[i+1:]
			k.interrupt()
			return
		}
	}
}

// interrupt tells of a Ctrl-C, unless one waits already. The lock is held.
func (k *keys) interrupt() {
	select {
	case k.breaks <- struct{}{}:
	default:
	}
}

// release goes on after a key that might have ended the line and did not.
func (k *keys) release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = false
	k.ready.Broadcast()
}

// Read implements io.Reader: one rune at a time.
func (k *keys) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		switch {
		case k.reading && !k.held && k.cutShort():
			// The library would take the next rune for the end of the sequence, and nobody would let go of what it holds.
			k.escape = 0
			return utf8.EncodeRune(p, endOfSequence), nil
		case k.reading && !k.held && len(k.injected) > 0:
			r := k.injected[0]
			k.injected = k.injected[1:]
			k.held = holds(r)
			return utf8.EncodeRune(p, r), nil
		case k.reading && !k.held && k.singly == 0 && k.escape == 0 && waitingText(k.typed) >= textRun:
			// What was pasted is drawn at once and not letter by letter.
			n := waitingText(k.typed)
			k.pasted, k.typed = k.typed[:n:n], k.typed[n:]
			k.held = true
			return utf8.EncodeRune(p, runeText), nil
		case k.reading && !k.held && len(k.typed) > 0:
			r := k.typed[0]
			k.singly = max(k.singly-1, 0)
			k.typed = k.typed[1:]
			k.held = holds(r)
			k.follow(r)
			return utf8.EncodeRune(p, r), nil
		case k.reading && !k.held && k.ended:
			// Nor does the end of input come before somebody waits for a line: the library would end beside its caller.
			return 0, io.EOF
		}
		k.ready.Wait()
	}
}

// endOfSequence ends any escape sequence without a meaning.
const endOfSequence = '~'

// follow keeps account of the escape sequence that the library is in after a rune. The lock is held.
func (k *keys) follow(r rune) {
	switch {
	case k.escape == 27 && (r == '[' || r == 'O'):
		k.escape = r
	case k.escape == 0 && r == 27:
		k.escape = r
	case k.escape > 27 && (r == ';' || r >= '0' && r <= '9'):
	default:
		k.escape = 0
	}
}

// cutShort reports whether what comes next in an escape sequence is no part of one. The lock is held.
func (k *keys) cutShort() bool {
	if k.escape <= 27 {
		return false
	}
	return len(k.injected) > 0 || len(k.typed) > 0 && (k.typed[0] < ' ' || k.typed[0] > '~') || len(k.typed) == 0 && k.ended
}

// Close implements io.Closer: the next line that is read meets the end of input.
func (k *keys) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended, k.typed = true, nil
	k.ready.Broadcast()
	return nil
}

// next takes one key without waiting: a run of printable runes, or a single
// control key, or a whole escape sequence. Empty: there is none, or no line is
// being read.
func (k *keys) next() []rune {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.reading {
		return nil
	}
	if len(k.injected) > 0 {
		r := k.injected[0]
		k.injected = k.injected[1:]
		return []rune{r}
	}
	n := keyLength(k.typed)
	key := append([]rune(nil), k.typed[:n]...)
	k.typed = k.typed[n:]
	return key
}

// holds reports whether nothing behind a rune may be read before it has been
// dealt with: it may end the line, or ask for a table that is read by keys.
func holds(r rune) bool {
	return r == 3 || r == 4 || r == 7 || r == '\t' || r == '?' || r == '\r' || r == '\n' || r == runeAbort
}

// run takes the characters that a runeText stands for.
func (k *keys) run() []rune {
	k.mu.Lock()
	defer k.mu.Unlock()
	run := k.pasted
	k.pasted = nil
	return run
}

// unread gives them back, to be handed out one by one.
func (k *keys) unread(run []rune) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.typed = append(run, k.typed...)
	k.singly = len(run)
}

// textRun is how many characters must be waiting for them to be taken at once.
const textRun = 16

// waitingText is how many characters come before anything else.
func waitingText(typed []rune) int {
	n := 0
	for n < len(typed) && isText(typed[n]) {
		n++
	}
	return n
}

// isText reports whether a rune is a character that stands for itself.
func isText(r rune) bool {
	return r >= 32 && r != 127 && r != '?' && (r < firstPrivate || r > lastPrivate)
}

// keyLength is how many of the runes typed make the first key.
func keyLength(typed []rune) int {
	if len(typed) == 0 {
		return 0
	}
	if typed[0] == 27 && len(typed) > 2 && (typed[1] == '[' || typed[1] == 'O') {
		for i := 2; i < len(typed); i++ {
			if typed[i] >= 0x40 && typed[i] <= 0x7e {
				return i + 1
			}
		}
	}
	if typed[0] == 27 && len(typed) > 1 && typed[1] != 27 {
		return 2
	}
	n := 1
	for isText(typed[0]) && n < len(typed) && isText(typed[n]) {
		n++
	}
	return n
}

// key waits for one key while no line is being read.
func (k *keys) key(ctx context.Context) (string, error) {
	stop := context.AfterFunc(ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.ready.Broadcast()
	})
	defer stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.typed) == 0 && !k.ended && ctx.Err() == nil {
		k.ready.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case len(k.typed) == 0:
		return "", io.EOF
	}
	n := 1
	if k.typed[0] == 27 {
		n = keyLength(k.typed)
	}
	key := string(k.typed[:n])
	if k.typed[0] == runeQuestion {
		key = "?"
	}
	k.typed = k.typed[n:]
	return key, nil
}

// typedAhead reports whether a whole line waits.
func (k *keys) typedAhead() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.typed, func(r rune) bool { return r == '\r' || r == '\n' })
}

// atEnd reports whether nothing more will come.
func (k *keys) atEnd() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ended && len(k.typed) == 0
}
