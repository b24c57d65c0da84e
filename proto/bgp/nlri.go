package bgp

import (
	"encoding/binary"
	"fmt"
)

// NLRI iterates over an NLRI field without allocating: Reset, then Next until it is false, then Err. Keep one and reset
// it (it is too large to copy for each field, and lives on the heap). For one goroutine.
//
// A well-formed NLRI before a malformed one is returned; the rest of the field is lost with the malformed one.
type NLRI struct {
	// PathID is the path identifier (RFC 7911), 0 where there is none.
	PathID uint32
	// Key identifies the route among those of its family and path identifier. It aliases the field, or the iterator
	// itself: it holds until the next call of Next or Reset.
	Key []byte
	// Extra is what was cut out of the NLRI because it is not part of the key: labels, ESI, gateway. It holds as long
	// as Key. It is nil for a withdrawal, whose labels mean nothing.
	Extra []byte

	family   Family
	shape    shape
	max      int // bits in an address of the family
	addPath  bool
	withdraw bool
	field    []byte
	at       int // of the NLRI returned last
	next     int // of the one after it
	err      NLRIError
	keyLen   int // when the key is in buf
	extraLen int // when Extra is in ext
	buf      [96]byte
	ext      [40]byte
}

// NLRIError says where and why an NLRI field does not parse.
type NLRIError struct {
	Family Family
	Offset int // in the field
	Reason string
	Value  int
}

func (e *NLRIError) Error() string {
	return fmt.Sprintf("%s NLRI %s %d at offset %d", e.Family, e.Reason, e.Value, e.Offset)
}

// SplitNLRI returns an iterator over an NLRI field. Where it must not allocate, keep an NLRI and Reset it.
func SplitNLRI(f Family, addPath, withdraw bool, field []byte) *NLRI {
	n := new(NLRI)
	n.Reset(f, addPath, withdraw, field)
	return n
}

// Reset starts over with a field. addPath says that each NLRI has a path identifier before it; it means nothing for
// families that are kept raw. withdraw says that the field withdraws routes.
func (n *NLRI) Reset(f Family, addPath, withdraw bool, field []byte) {
	n.PathID, n.Key, n.Extra = 0, nil, nil
	if f != n.family || n.max == 0 {
		n.family, n.shape, n.max = f, f.shape(), 32
		if f.AFI == 2 {
			n.max = 128
		}
	}
	n.addPath = addPath && n.shape != shapeRaw
	n.withdraw = withdraw
	n.field, n.at, n.next = field, 0, 0
	n.err.Reason = ""
}

// Next moves to the next NLRI. It is false at the end and after an error.
func (n *NLRI) Next() bool {
	// The plain prefix, most of what there is: everything else about it, errors included, is for step.
	if i := n.next; n.shape == shapePrefix && !n.addPath && i < len(n.field) {
		bits := int(n.field[i])
		end := i + 1 + (bits+7)>>3
		if bits <= n.max && end <= len(n.field) && (bits&7 == 0 || n.field[end-1]&(0xff>>(bits&7)) == 0) {
			n.at, n.next = i, end
			n.Key = n.field[i:end]
			return true
		}
	}
	if n.next >= len(n.field) {
		return false
	}
	if !n.step() {
		return false
	}
	if n.keyLen > 0 {
		n.Key = n.buf[:n.keyLen]
	}
	switch {
	case n.withdraw:
		n.Extra = nil
	case n.extraLen > 0:
		n.Extra = n.ext[:n.extraLen]
	}
	return true
}

// Err is the error that ended the iteration, an *NLRIError that belongs to the iterator; nil at the end of the field.
func (n *NLRI) Err() error {
	if n.err.Reason == "" {
		return nil
	}
	return &n.err
}

// Offset is where the NLRI that Next returned, or the error, is in the field.
func (n *NLRI) Offset() int { return n.at }

func (n *NLRI) fail(reason string, value int) bool {
	n.err = NLRIError{n.family, n.at, reason, value}
	n.next = len(n.field)
	return false
}

// CheckNLRI tells whether the field splits exactly, to its last byte, and into how many NLRI; with an error, how many
// came before it. It allocates only for the error.
func CheckNLRI(f Family, addPath, withdraw bool, field []byte) (count int, err error) {
	var n NLRI
	n.Reset(f, addPath, withdraw, field)
	for n.next < len(n.field) && n.step() {
		count++
	}
	if n.err.Reason != "" {
		e := n.err
		return count, &e
	}
	return count, nil
}

// Reasons of an NLRIError.
const (
	nlriPathID    = "path identifier in bytes:"
	nlriBits      = "length"
	nlriShort     = "bytes missing:"
	nlriCutHeader = "header in bytes:"
	nlriLabels    = "without end of label stack, length"
)

// step reads one NLRI. Key and Extra are set unless they had to be put together in buf and ext, where keyLen and
// extraLen tell their length: a pointer of the iterator into itself would force CheckNLRI's onto the heap.
func (n *NLRI) step() bool {
	n.at, n.keyLen, n.extraLen = n.next, 0, 0
	n.Extra = nil
	b := n.field[n.next:]
	if n.addPath {
		if len(b) < 5 {
			return n.fail(nlriPathID, len(b))
		}
		n.PathID = binary.BigEndian.Uint32(b)
		b = b[4:]
		n.next += 4
	}
	switch n.shape {
	case shapePrefix:
		bits := int(b[0])
		size := 1 + (bits+7)>>3
		if bits > n.max {
			return n.fail(nlriBits, bits)
		}
		if size > len(b) {
			return n.fail(nlriShort, size-len(b))
		}
		n.next += size
		n.Key = b[:size]
		if r := bits & 7; r != 0 && b[size-1]&(0xff>>r) != 0 {
			n.keyLen = copy(n.buf[:], n.Key)
			n.buf[size-1] &^= 0xff >> r
		}
		return true
	case shapeLabeled, shapeVPN:
		return n.stepLabeled(b)
	case shapeRTC:
		bits := int(b[0])
		if bits > 96 || bits != 0 && bits < 32 {
			return n.fail(nlriBits, bits)
		}
		return n.stepBits(b, bits)
	case shapeBits8:
		return n.stepBits(b, int(b[0]))
	case shapeTLV:
		return n.stepWhole(b, 2, 1)
	case shapeEVPN:
		return n.stepEVPN(b)
	case shapeFlow:
		return n.stepFlow(b)
	case shapeLS:
		return n.stepWhole(b, 4, 2)
	case shapeMUP:
		return n.stepMUP(b)
	case shapeLen2:
		return n.stepVPLS(b)
	case shapeCAR:
		return n.stepCAR(b)
	}
	n.Key = b
	n.next = len(n.field)
	return true
}

// stepWhole reads an NLRI with a header of `header` bytes that ends in a length of `l` bytes. All of it is the key.
func (n *NLRI) stepWhole(b []byte, header, l int) bool {
	if len(b) < header {
		return n.fail(nlriCutHeader, len(b))
	}
	size := header + int(b[header-1])
	if l == 2 {
		size = header + int(binary.BigEndian.Uint16(b[header-2:]))
	}
	if size > len(b) {
		return n.fail(nlriShort, size-len(b))
	}
	n.Key = b[:size]
	n.next += size
	return true
}

// stepBits reads a length in bits and as many bits. Bits beyond the length are cleared in the key.
func (n *NLRI) stepBits(b []byte, bits int) bool {
	size := 1 + (bits+7)>>3
	if size > len(b) {
		return n.fail(nlriShort, size-len(b))
	}
	n.Key = b[:size]
	n.next += size
	if r := bits & 7; r != 0 {
		n.keyLen = copy(n.buf[:], n.Key)
		n.buf[size-1] &^= 0xff >> r
	}
	return true
}

// stepLabeled reads {length in bits 1, labels 3 each, [RD 8], prefix}. The key has the length without labels and RD.
func (n *NLRI) stepLabeled(b []byte) bool {
	bits := int(b[0])
	size := 1 + (bits+7)>>3
	if size > len(b) {
		return n.fail(nlriShort, size-len(b))
	}
	labels := n.labels(b[1:size], bits)
	if labels < 0 {
		return n.fail(nlriLabels, bits)
	}
	rd := 0
	if n.shape == shapeVPN {
		rd = 8
	}
	plen := bits - 24*labels - 8*rd
	if plen < 0 || plen > n.max {
		return n.fail(nlriBits, bits)
	}
	n.next += size
	n.Extra = b[1 : 1+3*labels]
	n.buf[0] = byte(plen)
	n.keyLen = 1 + copy(n.buf[1:], b[1+3*labels:size])
	if r := plen & 7; r != 0 {
		n.buf[n.keyLen-1] &^= 0xff >> r
	}
	return true
}

// labels counts the labels of a labelled NLRI, RFC 8277. A stack ends at the label with the bottom-of-stack bit; the
// compatibility label of a withdrawal (0x800000, or 0 from some) stands alone. Where the stack so found leaves no valid
// prefix there is one label, whose bottom-of-stack bit says nothing: RFC 8277, Section 2.2 has it ignored without the
// multiple labels capability, and labels that carry part of an SRv6 SID (RFC 9252) come without it. -1: no way to split.
func (n *NLRI) labels(v []byte, bits int) int {
	for i := 0; 3*i+3 <= len(v); i++ {
		l := v[3*i : 3*i+3]
		if l[2]&1 == 0 && !(i == 0 && l[1] == 0 && l[2] == 0 && (l[0] == 0x80 || l[0] == 0)) {
			continue
		}
		if n.plausible(v[3*i+3:], bits-24*(i+1)) {
			return i + 1
		}
		break
	}
	if len(v) >= 3 && n.plausible(v[3:], bits-24) {
		return 1
	}
	return -1
}

// plausible tells whether `bits` bits in v can be a prefix of the family, with an RD of an assigned type before it.
func (n *NLRI) plausible(v []byte, bits int) bool {
	if n.shape == shapeVPN {
		return bits >= 64 && bits <= 64+n.max && v[0] == 0 && v[1] <= 2
	}
	return bits >= 0 && bits <= n.max
}

// stepFlow reads a FlowSpec NLRI, RFC 8955, Section 4.1: a length of one byte below 240, of two with the high four
// bits set from there on. The length is no part of the key: it can be written in two ways.
func (n *NLRI) stepFlow(b []byte) bool {
	header, size := 1, int(b[0])
	if size >= 0xf0 {
		if len(b) < 2 {
			return n.fail(nlriCutHeader, len(b))
		}
		header, size = 2, size&0x0f<<8|int(b[1])
	}
	if header+size > len(b) {
		return n.fail(nlriShort, header+size-len(b))
	}
	n.Key = b[header : header+size]
	n.next += header + size
	return true
}

// stepVPLS reads {length 2, value}. A VPLS NLRI of RFC 4761 is 17 bytes long: RD 8, VE ID 2, block offset 2, block size
// 2 and label base 3, which is cut; the NLRI of RFC 6074 is {RD 8, address}.
func (n *NLRI) stepVPLS(b []byte) bool {
	if !n.stepWhole(b, 2, 2) {
		return false
	}
	n.Key = n.Key[2:]
	if len(n.Key) == 17 {
		n.Key, n.Extra = n.Key[:14], n.Key[14:]
	}
	return true
}

// stepCAR reads {length 1, key length 1, type 1, key, TLVs}, RFC 9871: the key says itself where it ends.
func (n *NLRI) stepCAR(b []byte) bool {
	if !n.stepWhole(b, 1, 1) {
		return false
	}
	k := n.Key
	if len(k) < 3 || 3+int(k[1]) > len(k) {
		return n.fail(nlriShort, len(k))
	}
	end := 3 + int(k[1])
	n.Key, n.Extra = k[2:end], k[end:]
	return true
}

// stepMUP reads {architecture 1, type 2, length 1, value}. Of a Type 1 Session Transformed route of the 3GPP 5G
// architecture only RD and prefix are the key (draft-ietf-bess-mup-safi); TEID, QFI and endpoint are cut.
func (n *NLRI) stepMUP(b []byte) bool {
	if !n.stepWhole(b, 4, 1) {
		return false
	}
	k := n.Key
	if k[0] != 1 || binary.BigEndian.Uint16(k[1:]) != 3 || len(k) < 13 {
		return true
	}
	end := 13 + (int(k[12])+7)>>3
	if int(k[12]) > n.max || end > len(k) {
		return true // odd: all of it is the key
	}
	n.Extra = k[end:]
	n.keyLen = copy(n.buf[:], k[:end])
	n.buf[3] = byte(end - 4)
	if r := k[12] & 7; r != 0 {
		n.buf[end-1] &^= 0xff >> r
	}
	return true
}
