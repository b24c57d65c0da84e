// Package wire reads big-endian fields from a slice of bytes.
//
// It knows no protocol. A [Cursor] walks one message; the first read that does not fit makes its error, which names the
// field, the offset and the section of the RFC, and stays: every later read returns zero values. A decoder therefore
// reads all fields in a row and looks at the error once:
//
//	c := wire.NewCursor(body, "RFC 7854, Section 4.10")
//	up.LocalPort = c.U16("local port")
//	up.RemotePort = c.U16("remote port")
//	if err := c.Done(); err != nil { // also an error: bytes left over
//		return err
//	}
//
// Nothing is copied: what [Cursor.Bytes] and [Cursor.Rest] return aliases the slice the cursor was made of. A read
// that succeeds allocates nothing.
//
// Text that came so is for [Clean] before it is printed.
package wire
