package bmp

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Frame is one BMP message as it came.
type Frame struct {
	Version uint8
	Type    MessageType
	Raw     []byte // the whole message with its header; aliases the Reader's buffer until the next Next
	Offset  int64  // of the message in the stream
}

// FrameOf makes a frame of one whole message that was kept, of which the length is known: it is not checked again.
func FrameOf(raw []byte, offset int64) (Frame, error) {
	f := Frame{Raw: raw, Offset: offset}
	n, whole, reason := frameLength(raw, len(raw), true)
	switch {
	case reason != "":
		return f, &FramingError{Offset: offset, Reason: reason, Bytes: raw[:min(len(raw), errorAfter)]}
	case !whole || n != len(raw):
		return f, &TruncatedError{Offset: offset, Have: len(raw), Want: n, Err: io.ErrUnexpectedEOF}
	}
	f.Version, f.Type = raw[0], typeOf(raw)
	return f, nil
}

// typeOf is the message type of bytes that hold it.
func typeOf(b []byte) MessageType {
	if b[0] < 3 {
		return MessageType(b[1])
	}
	return MessageType(b[5])
}

// FramingError says that what comes is not a BMP message, so that the end of it is not known: the session is over.
type FramingError struct {
	Offset int64  // in the stream, of the first byte that is not understood
	Reason string // "version 9", "length 5 of a message is less than 6", "an HTTP request", ...
	Bytes  []byte // a copy of the bytes around it
	Before int    // how many of Bytes are before Offset
}

func (e *FramingError) Error() string {
	return fmt.Sprintf("framing lost at offset %d: %s", e.Offset, e.Reason)
}

// TruncatedError says that the stream ended within a message.
type TruncatedError struct {
	Offset int64 // of the message in the stream
	Have   int   // bytes of it that are there
	Want   int   // bytes of it that are needed at least: all of them once its length is known
	Err    error // what ended it: io.ErrUnexpectedEOF for io.EOF, else what the source returned
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("message at offset %d is cut: %d of at least %d bytes are there: %v", e.Offset, e.Have, e.Want, e.Err)
}

// Unwrap is what ended the stream.
func (e *TruncatedError) Unwrap() error { return e.Err }

// ReaderOptions are the options of a Reader. The zero value is the default.
type ReaderOptions struct {
	MaxMessage int // longest message in bytes; 0 is DefaultMaxMessage
}

// The buffer of a Reader. It waits for a router in the small one, which is its own; when a read fills that, it takes the next
// larger one from a pool, and gives it back as soon as a read fills it no more. A message longer than the largest gets a
// buffer that doubles as its bytes come in: a length in a header alone allocates nothing.
const (
	smallBuffer  = 1 << 10 // of many routers that have little to say, much of what is kept of each
	mediumBuffer = 32 << 10
	largeBuffer  = 256 << 10

	errorBefore = 32 // bytes kept before what is being read, for a FramingError
	errorAfter  = 64
)

var (
	mediumBuffers = sync.Pool{New: func() any { return new([mediumBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// Reader cuts a stream into BMP messages. It is for one goroutine.
type Reader struct {
	src io.Reader
	max int

	buf        []byte // buf[start:end] is what was read and not returned
	start, end int
	offset     int64 // of buf[start] in the stream
	more       bool  // the last read filled its buffer, so there is more to come at once
	readErr    error // what the source ended with
	err        error // what Next goes on returning

	small  []byte
	medium *[mediumBuffer]byte // when buf is one of a pool
	large  *[largeBuffer]byte
}

// NewReader returns a Reader of src.
func NewReader(src io.Reader, o ReaderOptions) *Reader {
	if o.MaxMessage <= 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	r := &Reader{src: src, max: max(o.MaxMessage, HeaderLen), small: make([]byte, smallBuffer)}
	r.buf = r.small
	return r
}

// Next returns the next message, after as many reads as it takes. Where the stream ends between two messages the error is what
// the source returned, io.EOF as a rule; within one a *[TruncatedError]; where framing is lost a *[FramingError]. Whole messages
// that came before are returned first. The error stays.
func (r *Reader) Next() (Frame, error) {
	for {
		b := r.buf[r.start:r.end]
		if len(b) >= HeaderLen && (b[0] == 3 || b[0] == 4) { // the common case of frameLength, at hand
			if n := uint64(binary.BigEndian.Uint32(b[1:])); n <= uint64(len(b)) && n >= HeaderLen && n <= uint64(r.max) {
				f := Frame{Version: b[0], Type: MessageType(b[5]), Raw: b[:n:n], Offset: r.offset}
				r.start += int(n)
				r.offset += int64(n)
				return f, nil
			}
		}
		f, again, err := r.rare(b)
		if !again {
			return f, err
		}
		r.fill() // here, and not deeper: this is where a session waits
	}
}

// rare is Next for all but the common case; again says that more is to be read first.
func (r *Reader) rare(b []byte) (f Frame, again bool, err error) {
	if r.err != nil {
		return Frame{}, false, r.err
	}
	n, whole, reason := frameLength(b, r.max, r.readErr != nil)
	switch {
	case reason != "":
		return Frame{}, false, r.fail(r.framingError(reason))
	case whole && n <= len(b):
		f = Frame{Version: b[0], Type: typeOf(b), Raw: b[:n:n], Offset: r.offset}
		r.start += n
		r.offset += int64(n)
		return f, false, nil
	case r.readErr == nil:
		return Frame{}, true, nil
	case len(b) > 0:
		cause := r.readErr
		if cause == io.EOF {
			cause = io.ErrUnexpectedEOF
		}
		return Frame{}, false, r.fail(&TruncatedError{Offset: r.offset, Have: len(b), Want: n, Err: cause})
	}
	return Frame{}, false, r.fail(r.readErr)
}

// fail makes err what Next returns from now on, and gives the buffers back.
func (r *Reader) fail(err error) error {
	r.err = err
	r.Close()
	return err
}

// Buffered is the number of bytes that were read and not returned if Next can return without reading: 0 means that Next may
// wait for the router, so that what is batched is to be flushed before.
func (r *Reader) Buffered() int {
	b := r.buf[r.start:r.end]
	if n, whole, reason := frameLength(b, r.max, r.readErr != nil); reason == "" && (!whole || n > len(b)) && r.readErr == nil {
		return 0
	}
	return len(b)
}

// Offset is the offset in the stream of the message that Next will return.
func (r *Reader) Offset() int64 { return r.offset }

// Close gives buffers back that the Reader may hold of a pool; Next does so itself when it returns an error. The frame
// returned last is no longer valid, and what was buffered is lost. It does not close the source.
func (r *Reader) Close() {
	r.release()
	r.buf, r.start, r.end = nil, 0, 0
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
}

func (r *Reader) release() {
	if r.medium != nil {
		mediumBuffers.Put(r.medium)
		r.medium = nil
	}
	if r.large != nil {
		largeBuffers.Put(r.large)
		r.large = nil
	}
}

// fill reads once, or until a source that returns nothing has done so too often.
func (r *Reader) fill() {
	r.room()
	for range 100 {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		r.more = r.end == len(r.buf)
		if err != nil {
			r.readErr = err
			return
		}
		if n > 0 {
			return
		}
	}
	r.readErr = io.ErrNoProgress
}

// room makes room for a read in a buffer of the size that suits what is going on.
func (r *Reader) room() {
	pending := r.end - r.start
	keep := min(r.start, errorBefore)
	held := keep + pending
	size := smallBuffer // nobody knows when the next byte comes
	if r.more {
		size = min(largerBuffer(len(r.buf)), max(len(r.buf), largeBuffer))
	}
	for size < held+held/8+1 { // a long message: room for at least another eighth of it
		size = largerBuffer(size)
	}
	if size == len(r.buf) {
		if r.start > keep {
			copy(r.buf, r.buf[r.start-keep:r.end])
		}
		r.start, r.end = keep, held
		return
	}
	old := r.buf[r.start-keep : r.end]
	oldMedium, oldLarge := r.medium, r.large
	r.medium, r.large = nil, nil
	switch size {
	case smallBuffer:
		r.buf = r.small
	case mediumBuffer:
		r.medium = mediumBuffers.Get().(*[mediumBuffer]byte)
		r.buf = r.medium[:]
	case largeBuffer:
		r.large = largeBuffers.Get().(*[largeBuffer]byte)
		r.buf = r.large[:]
	default:
		r.buf = make([]byte, size)
	}
	copy(r.buf, old)
	r.start, r.end = keep, held
	if oldMedium != nil {
		mediumBuffers.Put(oldMedium)
	}
	if oldLarge != nil {
		largeBuffers.Put(oldLarge)
	}
}

// largerBuffer is the next size.
func largerBuffer(size int) int {
	switch {
	case size < mediumBuffer:
		return mediumBuffer
	case size < largeBuffer:
		return largeBuffer
	}
	return size * 2
}

// framingError keeps the bytes around the one that is not understood.
func (r *Reader) framingError(reason string) *FramingError {
	before := min(r.start, errorBefore)
	b := r.buf[r.start-before : min(r.end, r.start+errorAfter)]
	return &FramingError{Offset: r.offset, Reason: reason, Bytes: append([]byte(nil), b...), Before: before}
}

// frameLength looks at the beginning of a message. If whole, n is its length; else n bytes are needed to know more. A reason
// says why it is no message. atEnd says that no more bytes will come, which decides one case of versions 1 and 2.
func frameLength(b []byte, limit int, atEnd bool) (n int, whole bool, reason string) {
	if len(b) == 0 {
		return 1, false, ""
	}
	switch b[0] {
	case 1, 2:
		n, whole, reason = legacyLength(b, atEnd)
		if reason == "" && n > limit {
			reason = fmt.Sprintf("a message of at least %d bytes, more than %d", n, limit)
		}
		return n, whole, reason
	case 3, 4:
	default:
		return 0, false, notBMP(b)
	}
	if len(b) < HeaderLen {
		return HeaderLen, false, ""
	}
	switch length := binary.BigEndian.Uint32(b[1:]); {
	case length < HeaderLen:
		return 0, false, fmt.Sprintf("message length %d is less than %d", length, HeaderLen)
	case uint64(length) > uint64(limit):
		return 0, false, fmt.Sprintf("message length %d is more than %d", length, limit)
	default:
		return int(length), true, ""
	}
}

// notBMP names what begins with a version that does not exist, where it is something that is often pointed at a wrong port.
func notBMP(b []byte) string {
	for _, known := range [...]struct{ prefix, name string }{
		{"GET ", "an HTTP request"}, {"HEAD ", "an HTTP request"}, {"POST ", "an HTTP request"}, {"PUT ", "an HTTP request"},
		{"DELETE ", "an HTTP request"}, {"OPTIONS ", "an HTTP request"}, {"CONNECT ", "an HTTP request"},
		{"PATCH ", "an HTTP request"}, {"TRACE ", "an HTTP request"}, {"PRI * HTTP/2", "an HTTP/2 connection"},
		{"SSH-", "an SSH connection"}, {"PROXY ", "a PROXY protocol header"},
		{"\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a", "a PROXY protocol header"},
		{"\xff\xff\xff\xff\xff\xff\xff\xff", "a BGP message: this is the BMP port"},
	} {
		if len(b) >= len(known.prefix) && string(b[:len(known.prefix)]) == known.prefix {
			return fmt.Sprintf("version %d, %s", b[0], known.name)
		}
	}
	// RFC 8446, Section 5.1: a handshake record, version 3.x, then its length.
	if len(b) >= 3 && b[0] == 22 && b[1] == 3 && b[2] <= 4 {
		return fmt.Sprintf("version %d, a TLS ClientHello", b[0])
	}
	return fmt.Sprintf("version %d", b[0])
}
