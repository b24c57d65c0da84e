package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestCursorReadsInOrder(t *testing.T) {
	c := NewCursor([]byte{
		0x01,       // u8
		0x02, 0x03, // u16
		0x04, 0x05, 0x06, 0x07, // u32
		0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, // u64
		0x10, 0x11, // bytes
		0x12,       // skipped
		0x13, 0x14, // sub
		0x15, // rest
	}, "Section 1")
	if v := c.U8("a"); v != 1 {
		t.Errorf("U8 = %#x", v)
	}
	if v := c.U16("b"); v != 0x0203 {
		t.Errorf("U16 = %#x", v)
	}
	if v := c.U32("c"); v != 0x04050607 {
		t.Errorf("U32 = %#x", v)
	}
	if v := c.U64("d"); v != 0x08090a0b0c0d0e0f {
		t.Errorf("U64 = %#x", v)
	}
	if v := c.Peek(2); !bytes.Equal(v, []byte{0x10, 0x11}) {
		t.Errorf("Peek = %x", v)
	}
	if v := c.Bytes(2, "e"); !bytes.Equal(v, []byte{0x10, 0x11}) || cap(v) != 2 {
		t.Errorf("Bytes = %x, capacity %d", v, cap(v))
	}
	c.Skip(1, "f")
	s := c.Sub(2, "g")
	if v := s.U16("h"); v != 0x1314 || s.Done() != nil {
		t.Errorf("Sub: U16 = %#x, %v", v, s.Done())
	}
	if c.Off() != 20 || c.Len() != 1 {
		t.Errorf("Off = %d, Len = %d", c.Off(), c.Len())
	}
	if v := c.Rest(); !bytes.Equal(v, []byte{0x15}) {
		t.Errorf("Rest = %x", v)
	}
	if err := c.Done(); err != nil {
		t.Error(err)
	}
}

func TestFirstErrorStays(t *testing.T) {
	c := NewCursorAt([]byte{1, 2, 3}, 40, "Section 2")
	c.U8("first")
	c.U32("second")
	if v := c.U8("third"); v != 0 {
		t.Errorf("a read after the error gave %d", v)
	}
	if c.Len() != 0 || c.Rest() != nil || c.Bytes(0, "x") != nil {
		t.Error("bytes after the error")
	}
	var e *Error
	if !errors.As(c.Err(), &e) || *e != (Error{41, "second", "Section 2", "4 bytes needed, 2 there"}) {
		t.Errorf("error is %+v", e)
	}
	if got, want := e.Error(), "second: 4 bytes needed, 2 there at offset 41 (Section 2)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s := c.Sub(0, "sub")
	if s.Err() != c.Err() {
		t.Error("the sub-cursor does not have the error")
	}
}

func TestLengthsThatDoNotFit(t *testing.T) {
	for _, n := range []int{-1, 4, 1 << 40} {
		c := NewCursor([]byte{1, 2, 3}, "")
		if c.Bytes(n, "x") != nil || c.Err() == nil {
			t.Errorf("Bytes(%d) gave no error", n)
		}
		c = NewCursor([]byte{1, 2, 3}, "")
		if c.Peek(n) != nil || c.Err() != nil {
			t.Errorf("Peek(%d): %v", n, c.Err())
		}
	}
}

func TestLeftoverIsAnError(t *testing.T) {
	c := NewCursor([]byte{1, 2, 3}, "")
	c.U8("a")
	if err := c.Done(); err == nil || err.Error() != "end: 2 bytes left over at offset 1" {
		t.Error(err)
	}
}

func TestJoin(t *testing.T) {
	c := NewCursor([]byte{1, 2, 3}, "")
	s := c.Sub(1, "sub")
	s.U16("inner")
	if c.Join(&s); c.Err() != s.Err() || c.Err() == nil {
		t.Error(c.Err())
	}
	c = NewCursor([]byte{1}, "")
	s = c.Sub(1, "sub")
	if c.Join(&s); c.Err() != nil {
		t.Error(c.Err())
	}
}

func TestNoAllocation(t *testing.T) {
	b := make([]byte, 64)
	n := testing.AllocsPerRun(100, func() {
		c := NewCursor(b, "x")
		s := c.Sub(8, "s")
		s.U64("a")
		c.U32("b")
		c.Bytes(3, "c")
		c.Rest()
		if c.Done() != nil || s.Done() != nil {
			t.Fail()
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCursor drives a cursor by the bytes it reads: no length may get it out of its slice.
func FuzzCursor(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, 1)
	f.Add([]byte{}, -1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		c := NewCursor(b, "")
		for c.Len() > 0 {
			before := c.Off() + c.Len()
			switch c.U8("op") % 8 {
			case 0:
				c.U8("")
			case 1:
				c.U16("")
			case 2:
				c.U32("")
			case 3:
				c.U64("")
			case 4:
				c.Bytes(n, "")
			case 5:
				s := c.Sub(n, "")
				s.Rest()
				c.Join(&s)
			case 6:
				c.Peek(n)
			case 7:
				c.Rest()
			}
			if c.Err() == nil && c.Off()+c.Len() != before {
				t.Fatalf("offset %d and length %d do not make %d", c.Off(), c.Len(), before)
			}
		}
	})
}
