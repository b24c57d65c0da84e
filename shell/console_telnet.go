package shell

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Telnet's commands, RFC 854, and those that Linemode adds, RFC 1184.
const (
	telnetEOF   = 236
	telnetAbort = 238
	telnetSE    = 240
	telnetBRK   = 243
	telnetIP    = 244
	telnetAYT   = 246
	telnetEC    = 247
	telnetEL    = 248
	telnetSB    = 250
	telnetWill  = 251
	telnetWont  = 252
	telnetDo    = 253
	telnetDont  = 254
	telnetIAC   = 255
)

// Its options. All others are refused, Linemode (34) too: it is the editor that edits the line.
const (
	optionBinary = 0  // RFC 856
	optionEcho   = 1  // RFC 857
	optionSGA    = 3  // Suppress Go Ahead, RFC 858: with Echo it means a character at a time
	optionTiming = 6  // RFC 860
	optionNAWS   = 31 // RFC 1073, the size of the window
)

// optionState is where one option of one side stands, RFC 1143. There is no queue: an option is never asked for while the
// opposite is under way.
type optionState uint8

const (
	optionNo optionState = iota
	optionYes
	optionWantNo
	optionWantYes
)

// telnet is a telnet connection as a terminal: Read is what is typed, Write is what is shown, and the negotiation between them
// is dealt with here.
//
//	client -> Read     IAC commands and options taken out, IP and BRK as Ctrl-C, CR NUL and CR LF as CR
//	Write -> client    LF as CR LF, a CR alone as CR NUL, 255 as IAC IAC
//
// One goroutine reads; any may write.
type telnet struct {
	conn net.Conn
	fail func(error) // called when writing is over, and when the client refuses remote echo

	// Of the reading goroutine.
	state   telnetState
	verb    byte // WILL, WONT, DO, DONT: of the option that comes next
	cr      bool // the last byte was CR: a NUL or LF behind it belongs to it
	sub     []byte
	readErr error
	pending []byte // keys behind it
	once    sync.Once
	ended   chan struct{} // closed when Read has returned the end

	resized chan struct{}
	settled chan struct{} // a signal after each answer of the client

	writing sync.Mutex // before mu
	out     []byte     // reused
	written error      // why writing is over

	mu         sync.Mutex
	us, him    [256]optionState
	refused    bool // the client does its own echo
	cols, rows int
}

type telnetState uint8

const (
	telnetData telnetState = iota
	telnetCommand
	telnetOption
	telnetSub
	telnetSubCommand
)

// Bounds of what a client says.
const (
	maxSub  = 16 // bytes of a subnegotiation: the longest known has 9
	maxCols = 1000
	maxRows = 1000
	minCols = 10
)

// endKeys are typed by the end of the connection: to the end of the line, and kill it. Half a command is none, whoever hung up.
const endKeys = "\x05\x15"

// telnetChunk is written at once: a slow client takes so much in the time of a stall.
const telnetChunk = 4096

func newTelnet(conn net.Conn, fail func(error)) *telnet {
	return &telnet{conn: conn, fail: fail, ended: make(chan struct{}), resized: make(chan struct{}, 1), settled: make(chan struct{}, 1)}
}

// begin asks for what a line editor needs: we echo, character by character, and the client tells the size of its window.
func (t *telnet) begin() {
	t.mu.Lock()
	t.us[optionEcho], t.us[optionSGA], t.him[optionNAWS] = optionWantYes, optionWantYes, optionWantYes
	t.mu.Unlock()
	t.send(telnetIAC, telnetWill, optionEcho, telnetIAC, telnetWill, optionSGA, telnetIAC, telnetDo, optionNAWS)
}

// end gives back what begin got, and waits until the client has taken note: its answers would otherwise be taken for those of the
// next time. It does not wait for who has never answered.
func (t *telnet) end(limit time.Duration) {
	var b []byte
	t.mu.Lock()
	for _, o := range []byte{optionEcho, optionSGA, optionBinary} {
		if t.us[o] == optionYes {
			t.us[o] = optionWantNo
			b = append(b, telnetIAC, telnetWont, o)
		}
	}
	for _, o := range []byte{optionNAWS, optionSGA, optionBinary} {
		if t.him[o] == optionYes {
			t.him[o] = optionWantNo
			b = append(b, telnetIAC, telnetDont, o)
		}
	}
	t.mu.Unlock()
	t.send(b...)
	t.await(limit, func() bool {
		for o := range t.us {
			if t.us[o] == optionWantNo || t.him[o] == optionWantNo {
				return false
			}
		}
		return true
	})
}

// await waits until the client's answers are as cond wants them, until the end of its input, or for the time given. mu is held
// for cond.
func (t *telnet) await(limit time.Duration, cond func() bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		t.mu.Lock()
		ok := cond()
		t.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-t.settled:
		case <-t.ended:
			return
		case <-timer.C:
			return
		}
	}
}

// size is that of the client's window; 0 where it has not said.
func (t *telnet) size() (cols, rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cols, t.rows
}

// refuses reports whether the client echoes what is typed by itself, and will go on to.
func (t *telnet) refuses() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// stop ends reading, and waits for it.
func (t *telnet) stop() {
	_ = t.conn.SetReadDeadline(time.Unix(1, 0)) // a connection that cannot is closed
	<-t.ended
}

// Read implements io.Reader.
func (t *telnet) Read(p []byte) (int, error) {
	for t.readErr == nil {
		n, err := t.conn.Read(p)
		// What is left of the bytes is never more than they were.
		out := p[:0]
		for _, c := range p[:n] {
			out = t.take(out, c)
		}
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) { // stop: what was typed goes on elsewhere
				t.pending = append(t.pending, endKeys...)
			}
			t.readErr = err
		}
		if len(out) > 0 {
			return len(out), nil
		}
	}
	n := copy(p, t.pending)
	t.pending = t.pending[n:]
	if n > 0 {
		return n, nil
	}
	t.once.Do(func() { close(t.ended) })
	return 0, io.EOF
}

// take looks at one byte, and appends what was typed.
func (t *telnet) take(out []byte, c byte) []byte {
	switch t.state {
	case telnetData:
		cr := t.cr
		t.cr = c == '\r'
		switch {
		case c == telnetIAC:
			t.state = telnetCommand
			t.cr = cr // commands stand anywhere
		case cr && (c == 0 || c == '\n'):
		default:
			return append(out, c)
		}
	case telnetCommand:
		t.state = telnetData
		if c != telnetIAC && c < telnetSB {
			return t.command(out, c)
		}
		switch c {
		case telnetIAC:
			t.cr = false
			return append(out, c) // no UTF-8 has it: the editor drops it
		case telnetSB:
			t.state, t.sub = telnetSub, t.sub[:0]
		default:
			t.state, t.verb = telnetOption, c
		}
	case telnetOption:
		t.state = telnetData
		t.option(t.verb, c)
	case telnetSub:
		if c == telnetIAC {
			t.state = telnetSubCommand
		} else {
			t.addSub(c)
		}
	case telnetSubCommand:
		t.state = telnetSub
		switch c {
		case telnetIAC:
			t.addSub(c)
		case telnetSE:
			t.state = telnetData
			t.subnegotiated()
		default:
			// The end was lost: what stands here is a command of its own.
			t.state = telnetCommand
			return t.take(out, c)
		}
	}
	return out
}

// command is a command without an option, as the key that it stands for.
func (t *telnet) command(out []byte, c byte) []byte {
	key := byte(0)
	switch c {
	case telnetIP, telnetBRK, telnetAbort:
		key = 0x03
	case telnetEC:
		key = 0x7f
	case telnetEL:
		key = 0x15
	case telnetEOF:
		key = 0x04
	case telnetAYT:
		_, _ = t.Write([]byte("\n[bmp]\n")) // an error is met again by the next write
	}
	if key == 0 {
		return out
	}
	t.cr = false
	return append(out, key)
}

func (t *telnet) addSub(c byte) {
	if len(t.sub) < maxSub {
		t.sub = append(t.sub, c)
	}
}

// subnegotiated takes the size of the window. A size of 0 is one that the client does not know.
func (t *telnet) subnegotiated() {
	b := t.sub
	if len(b) != 5 || b[0] != optionNAWS {
		return
	}
	cols, rows := int(b[1])<<8|int(b[2]), int(b[3])<<8|int(b[4])
	if cols > 0 {
		cols = min(max(cols, minCols), maxCols)
	}
	t.mu.Lock()
	changed := cols != t.cols || rows != t.rows
	t.cols, t.rows = cols, min(rows, maxRows)
	t.mu.Unlock()
	poke(t.settled)
	if changed {
		poke(t.resized)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// option takes WILL, WONT, DO or DONT.
func (t *telnet) option(verb, o byte) {
	if o == optionTiming {
		if verb == telnetDo { // a question each time, not a state
			t.send(telnetIAC, telnetWill, o)
		}
		return
	}
	var answer byte
	t.mu.Lock()
	switch verb {
	case telnetDo:
		answer = t.us[o].wanted(o == optionEcho || o == optionSGA || o == optionBinary, telnetWill, telnetWont)
	case telnetDont:
		if o == optionEcho && t.us[o] == optionWantYes {
			t.refused = true
			defer t.fail(errOwnEcho)
		}
		answer = t.us[o].unwanted(telnetWont)
	case telnetWill:
		answer = t.him[o].wanted(o == optionNAWS || o == optionSGA || o == optionBinary, telnetDo, telnetDont)
	case telnetWont:
		answer = t.him[o].unwanted(telnetDont)
	}
	t.mu.Unlock()
	if answer != 0 {
		t.send(telnetIAC, answer, o)
	}
	poke(t.settled)
}

// wanted is the other side's DO or WILL, and what to answer, 0 nothing.
func (s *optionState) wanted(may bool, yes, no byte) byte {
	switch *s {
	case optionNo:
		if !may {
			return no
		}
		*s = optionYes
		return yes
	case optionWantYes:
		*s = optionYes
	case optionWantNo: // a side that breaks the rules, RFC 1143 says
		*s = optionNo
	}
	return 0
}

// unwanted is the other side's DONT or WONT.
func (s *optionState) unwanted(no byte) byte {
	was := *s
	*s = optionNo
	if was == optionYes {
		return no
	}
	return 0
}

// Write implements io.Writer.
func (t *telnet) Write(p []byte) (int, error) {
	t.mu.Lock()
	binary := t.us[optionBinary] == optionYes
	t.mu.Unlock()
	t.writing.Lock()
	defer t.writing.Unlock()
	b := t.out[:0]
	for i, c := range p {
		switch c {
		case '\n':
			if i == 0 || p[i-1] != '\r' {
				b = append(b, '\r')
			}
			b = append(b, '\n')
		case '\r':
			b = append(b, c)
			if !binary && (i+1 == len(p) || p[i+1] != '\n') {
				b = append(b, 0)
			}
		case telnetIAC:
			b = append(b, c, c)
		default:
			b = append(b, c)
		}
	}
	t.out = b
	if cap(t.out) > 64<<10 {
		t.out = nil
	}
	if err := t.flush(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// send writes commands as they are.
func (t *telnet) send(b ...byte) {
	t.writing.Lock()
	defer t.writing.Unlock()
	_ = t.flush(b) // fail tells
}

// flush writes all of b. A chunk that makes no progress in the time of a stall ends writing. The lock is held.
func (t *telnet) flush(b []byte) error {
	for len(b) > 0 && t.written == nil {
		n, err := t.conn.Write(b[:min(len(b), telnetChunk)])
		b = b[n:]
		var timeout net.Error
		if err == nil || n > 0 && errors.As(err, &timeout) && timeout.Timeout() {
			continue // slow, but reading
		}
		t.written = err
		t.fail(err)
	}
	return t.written
}
