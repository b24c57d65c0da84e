package control

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// MaxLine is the longest request in bytes, without its end.
const MaxLine = 8192

// Telnet's commands, RFC 854 and 855. The station swallows them, but for those that mean "stop that".
const (
	telnetSE     = 240
	telnetBRK    = 243
	telnetIP     = 244
	telnetSB     = 250
	telnetWill   = 251
	telnetDo     = 253
	telnetDont   = 254
	telnetIAC    = 255
	telnetTiming = 6 // an option, RFC 860
	interrupt    = 0x03
)

// token is what the reading goroutine makes of the bytes of a connection.
type token struct {
	kind     tokenKind
	line     string
	col, len int // place of bad bytes, from 1
	why      string
}

type tokenKind uint8

const (
	lineToken      tokenKind = iota
	cancelToken              // 0x03, IP, BRK
	badToken                 // control bytes or not UTF-8: the line is dropped
	longToken                // the line is dropped
	foreignToken             // another protocol speaks: TLS, HTTP
	negotiateToken           // telnet negotiates options
	timingToken              // telnet asks for a timing mark
	endToken                 // the end of input, behind the last request
)

// input splits a byte stream into requests. It is used by one goroutine.
type input struct {
	r      io.Reader
	telnet bool // IAC is understood
	buf    []byte
	unread []byte // of buf

	line        []byte
	long        bool // the line is beyond MaxLine: what follows is skipped
	bad         int  // where the first bad byte was, from 1
	cr          bool // the last byte was CR
	started     bool // a byte was seen
	lines       int  // that were read
	iac         iacState
	verb        byte   // WILL, WONT, DO, DONT: of the option that comes next
	negotiation []byte // options that the client talked of, for an editor that will
	told        bool
}

type iacState uint8

const (
	iacNone iacState = iota
	iacCommand
	iacOption
	iacSub
	iacSubCommand
)

// maxNegotiation bounds what is remembered of it.
const maxNegotiation = 1024

func newInput(r io.Reader, telnet bool) *input {
	return &input{r: r, telnet: telnet, buf: make([]byte, 4096)}
}

// next returns the next token. At the end of input a line without an end is still a line.
func (in *input) next() (token, error) {
	for {
		for len(in.unread) > 0 {
			c := in.unread[0]
			in.unread = in.unread[1:]
			if t, ok := in.take(c); ok {
				return t, nil
			}
		}
		n, err := in.r.Read(in.buf)
		if n > 0 {
			in.unread = in.buf[:n]
			continue
		}
		if err == nil {
			continue
		}
		if err == io.EOF && (len(in.line) > 0 || in.bad > 0 || in.long) {
			return in.finish(), nil
		}
		return token{}, err
	}
}

// take looks at one byte.
func (in *input) take(c byte) (token, bool) {
	if !in.started {
		in.started = true
		if c == 0x16 { // the type of a TLS handshake record
			return token{kind: foreignToken}, true
		}
	}
	if in.telnet && (in.iac != iacNone || c == telnetIAC) {
		return in.takeTelnet(c)
	}
	if in.cr {
		in.cr = false
		if c == '\n' || c == 0 && in.telnet { // CR NUL is telnet's carriage return
			return in.finish(), true
		}
		in.add('\r', true)
	}
	switch {
	case c == '\n':
		return in.finish(), true
	case c == '\r':
		in.cr = true
	case c == interrupt:
		in.reset()
		return token{kind: cancelToken}, true
	case c == '\t':
		in.add(' ', false)
	default:
		in.add(c, c < ' ' || c == 0x7f)
	}
	return token{}, false
}

func (in *input) add(c byte, bad bool) {
	if len(in.line) == MaxLine {
		in.long = true
		return
	}
	in.line = append(in.line, c)
	if bad && in.bad == 0 {
		in.bad = len(in.line)
	}
}

func (in *input) reset() {
	in.line, in.long, in.bad, in.cr = in.line[:0], false, 0, false
}

// finish makes a token of the line read.
func (in *input) finish() token {
	defer in.reset()
	in.lines++
	if in.lines == 1 && isHTTP(in.line) {
		return token{kind: foreignToken}
	}
	switch {
	case in.long:
		return token{kind: longToken}
	case in.bad > 0:
		return token{kind: badToken, col: in.bad, len: 1, why: "control byte"}
	case !utf8.Valid(in.line):
		at := 0
		for at < len(in.line) {
			r, n := utf8.DecodeRune(in.line[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return token{kind: badToken, col: at + 1, len: 1, why: "not UTF-8"}
	}
	return token{kind: lineToken, line: string(in.line)}
}

var httpVerbs = [][]byte{[]byte("GET "), []byte("POST "), []byte("HEAD "), []byte("PUT "), []byte("DELETE "), []byte("OPTIONS "), []byte("PATCH "),
	[]byte("TRACE "), []byte("CONNECT "), []byte("PRI ")}

func isHTTP(line []byte) bool {
	for _, v := range httpVerbs {
		if bytes.HasPrefix(line, v) {
			return true
		}
	}
	return false
}

func (in *input) takeTelnet(c byte) (token, bool) {
	switch in.iac {
	case iacNone:
		in.iac = iacCommand
	case iacCommand:
		in.iac = iacNone
		switch {
		case c == telnetIAC: // a data byte 255, which no UTF-8 has
			in.add(c, true)
		case c == telnetIP || c == telnetBRK:
			in.reset()
			return token{kind: cancelToken}, true
		case c == telnetSB:
			in.iac = iacSub
			in.keep(telnetIAC, c)
		case c >= telnetWill && c <= telnetDont:
			in.iac, in.verb = iacOption, c
		}
	case iacOption:
		in.iac = iacNone
		if in.verb == telnetDo && c == telnetTiming {
			// No wish for an option: behind an Interrupt Process a client throws away all output until this is answered.
			return token{kind: timingToken}, true
		}
		in.keep(telnetIAC, in.verb, c)
		if !in.told && in.lines == 0 && (in.verb == telnetWill || in.verb == telnetDo) {
			in.told = true
			return token{kind: negotiateToken}, true
		}
	case iacSub:
		in.keep(c)
		if c == telnetIAC {
			in.iac = iacSubCommand
		}
	case iacSubCommand:
		in.keep(c)
		in.iac = iacSub
		if c == telnetSE {
			in.iac = iacNone
		}
	}
	return token{}, false
}

// keep remembers what the client negotiates.
func (in *input) keep(b ...byte) {
	if len(in.negotiation)+len(b) <= maxNegotiation {
		in.negotiation = append(in.negotiation, b...)
	}
}

// rest is what was received and not made a token: what an editor that takes the connection over must see first.
func (in *input) rest() []byte {
	b := in.negotiation
	// What was begun goes on in there; what was cut short ends here.
	switch in.iac {
	case iacNone:
		if len(b)+3 > maxNegotiation {
			b = append(b, telnetIAC, telnetSE)
		}
		b = append(b, in.line...)
		if in.cr {
			b = append(b, '\r')
		}
	case iacCommand:
		b = append(append(b, in.line...), telnetIAC)
	case iacOption:
		b = append(append(b, in.line...), telnetIAC, in.verb)
	default:
		b = append(append([]byte(nil), in.line...), b...)
	}
	b = append(b, in.unread...)
	in.negotiation, in.unread, in.iac = nil, nil, iacNone
	in.reset()
	return b
}
