package wire

import (
	"encoding/binary"
	"fmt"
)

// Error says where bytes do not mean what they should. It is the error of every decoder of this module.
type Error struct {
	Offset  int    // of the first byte in question, from the start of what the outermost cursor was made of
	Field   string // the field that was read, in the words of the RFC
	Section string // where it is specified, "RFC 7854, Section 4.10"; may be empty
	Msg     string // what is wrong with it
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s at offset %d", e.Field, e.Msg, e.Offset)
	if e.Section != "" {
		s += " (" + e.Section + ")"
	}
	return s
}

// Cursor reads a slice from front to back. The zero value is an empty cursor. A copy reads on its own, from where the
// copied one stood. It is for one goroutine.
type Cursor struct {
	b       []byte // what is left
	off     int    // offset of b[0], as errors tell it
	err     *Error
	section string
}

// NewCursor returns a cursor over b; section is told in its errors.
func NewCursor(b []byte, section string) Cursor { return Cursor{b: b, section: section} }

// NewCursorAt is [NewCursor] for bytes that begin at offset off of the message that errors shall speak of.
func NewCursorAt(b []byte, off int, section string) Cursor {
	return Cursor{b: b, off: off, section: section}
}

// Section sets the section of the RFC that errors from here on cite.
func (c *Cursor) Section(section string) { c.section = section }

// Len is the number of bytes left; 0 after an error.
func (c *Cursor) Len() int { return len(c.b) }

// Off is the offset of the next byte.
func (c *Cursor) Off() int { return c.off }

// Err is the first error, or nil. The error is an *[Error].
func (c *Cursor) Err() error {
	if c.err == nil {
		return nil // not a nil *Error in an error
	}
	return c.err
}

// Done is Err, and an error if bytes are left.
func (c *Cursor) Done() error {
	if c.err == nil && len(c.b) > 0 {
		c.Fail("end", fmt.Sprintf("%d bytes left over", len(c.b)))
	}
	return c.Err()
}

// Fail makes msg about field the error of the cursor, at the next byte, unless there is one already.
func (c *Cursor) Fail(field, msg string) { c.FailAt(c.off, field, msg) }

// FailAt is Fail about an earlier offset: a field that was read and turned out to be wrong.
func (c *Cursor) FailAt(off int, field, msg string) {
	if c.err == nil {
		c.err = &Error{Offset: off, Field: field, Section: c.section, Msg: msg}
	}
	c.b = nil
}

// short is kept out of the readers so that they can be inlined.
func (c *Cursor) short(n int, field string) {
	c.Fail(field, fmt.Sprintf("%d bytes needed, %d there", n, len(c.b)))
}

// U8 reads one byte.
func (c *Cursor) U8(field string) uint8 {
	if len(c.b) < 1 {
		c.short(1, field)
		return 0
	}
	v := c.b[0]
	c.b, c.off = c.b[1:], c.off+1
	return v
}

// U16 reads two bytes.
func (c *Cursor) U16(field string) uint16 {
	if len(c.b) < 2 {
		c.short(2, field)
		return 0
	}
	v := binary.BigEndian.Uint16(c.b)
	c.b, c.off = c.b[2:], c.off+2
	return v
}

// U32 reads four bytes.
func (c *Cursor) U32(field string) uint32 {
	if len(c.b) < 4 {
		c.short(4, field)
		return 0
	}
	v := binary.BigEndian.Uint32(c.b)
	c.b, c.off = c.b[4:], c.off+4
	return v
}

// U64 reads eight bytes.
func (c *Cursor) U64(field string) uint64 {
	if len(c.b) < 8 {
		c.short(8, field)
		return 0
	}
	v := binary.BigEndian.Uint64(c.b)
	c.b, c.off = c.b[8:], c.off+8
	return v
}

// Bytes reads n bytes. They alias the message, with no capacity beyond them; nil after an error. A negative n, which
// a length field minus a header can give, is an error.
func (c *Cursor) Bytes(n int, field string) []byte {
	if n < 0 || n > len(c.b) {
		c.short(n, field)
		return nil
	}
	v := c.b[:n:n]
	c.b, c.off = c.b[n:], c.off+n
	return v
}

// Skip reads n bytes and forgets them.
func (c *Cursor) Skip(n int, field string) { c.Bytes(n, field) }

// Peek is the n bytes that come next, without reading them; nil if there are fewer, which is no error.
func (c *Cursor) Peek(n int) []byte {
	if n < 0 || n > len(c.b) {
		return nil
	}
	return c.b[:n:n]
}

// Rest reads all that is left. It aliases the message.
func (c *Cursor) Rest() []byte {
	v := c.b
	c.b, c.off = nil, c.off+len(v)
	return v
}

// Sub reads n bytes as a cursor of their own, whose errors tell offsets of the same message. Its error is its own:
// the caller looks at it, or takes it over with [Cursor.Join]. After an error of c it is empty and has that error.
func (c *Cursor) Sub(n int, field string) Cursor {
	off := c.off
	b := c.Bytes(n, field)
	return Cursor{b: b, off: off, err: c.err, section: c.section}
}

// Join takes over the error of a sub-cursor, unless c has one already.
func (c *Cursor) Join(sub *Cursor) {
	if c.err == nil && sub.err != nil {
		c.err, c.b = sub.err, nil
	}
}
