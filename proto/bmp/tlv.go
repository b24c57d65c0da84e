package bmp

import (
	"encoding/binary"
	"fmt"
	"strings"

	"bmp/proto/wire"
)

// TLV types of the Initiation message, RFC 7854, Section 4.4.
const (
	InitString   = 0 // free text
	InitSysDescr = 1
	InitSysName  = 2
)

// TLV types of the Termination message, RFC 7854, Section 4.5.
const (
	TermString = 0
	TermReason = 1 // 2 bytes, a [TerminationReason]
)

// TLV types of the Peer Up and, with reason 6 or in version 4, the Peer Down message: RFC 9736; RFC 9069,
// Sections 4.4 and 5.3; RFC 8671, Section 6.3.
const (
	PeerString     = 0
	PeerTableName  = 3 // VRF/Table Name
	PeerAdminLabel = 4
)

// TLV types of the Route Mirroring message, RFC 7854, Section 4.7.
const (
	MirrorBGPMessage  = 0
	MirrorInformation = 1 // 2 bytes, a [MirrorCode]
)

// TLV is one Information TLV, RFC 7854, Section 4.4; in version 4 with what draft-ietf-grow-bmp-tlv, Section 4 adds.
type TLV struct {
	Type uint16 // in version 4 without the E bit
	// Enterprise is the E bit of version 4: PEN is the IANA number of the enterprise that gives Type its meaning.
	Enterprise bool
	// Index, in Route Monitoring of version 4 alone: the NLRI it is about, from 1; 0 is all; with [GroupBit] a group.
	Index uint16
	PEN   uint32
	Value []byte // aliases the message
}

// GroupBit is the G bit of an index.
const GroupBit = 0x8000

// Text is the value as a string for people: what is not UTF-8 is replaced, and NULs some routers end it with are cut.
func (t TLV) Text() string {
	return strings.ToValidUTF8(strings.TrimRight(string(t.Value), "\x00"), "\uFFFD")
}

// FindTLV returns the first TLV of a type defined by IANA.
func FindTLV(tlvs []TLV, typ uint16) (TLV, bool) {
	for i := range tlvs {
		if tlvs[i].Type == typ && !tlvs[i].Enterprise {
			return tlvs[i], true
		}
	}
	return TLV{}, false
}

// findText is the text of the first TLV of a type, or "".
func findText(tlvs []TLV, typ uint16) string {
	t, _ := FindTLV(tlvs, typ)
	return t.Text()
}

// tlvForm is how the TLVs of a message are coded.
type tlvForm uint8

const (
	plainTLV      tlvForm = iota // versions up to 3
	enterpriseTLV                // version 4
	indexedTLV                   // version 4, Route Monitoring
)

func formOf(version uint8) tlvForm {
	if version >= 4 {
		return enterpriseTLV
	}
	return plainTLV
}

const (
	enterpriseBit = 0x8000
	// reservedTLV is not an enterprise's type 0x7fff: draft-ietf-grow-bmp-tlv, Section 4.2.
	reservedTLV = 0xffff
)

// readTLVs reads all that is left of c and appends it to dst. With an error, what came before is in the result.
func readTLVs(dst []TLV, c *wire.Cursor, form tlvForm) []TLV {
	for c.Len() > 0 {
		t := readTLV(c, form)
		if c.Err() != nil {
			break
		}
		dst = append(dst, t)
	}
	return dst
}

// readTLV reads one. It is nothing if c has an error then.
func readTLV(c *wire.Cursor, form tlvForm) TLV {
	var t TLV
	off := c.Off()
	t.Type = c.U16("TLV type")
	n := int(c.U16("TLV length"))
	if form == indexedTLV {
		t.Index = c.U16("TLV index") // not within the length
	}
	if form != plainTLV && t.Type&enterpriseBit != 0 && t.Type != reservedTLV {
		if n < 4 {
			c.FailAt(off+2, "TLV length", fmt.Sprintf("%d, too short for an enterprise number", n))
		}
		t.Type &^= enterpriseBit
		t.Enterprise = true
		t.PEN = c.U32("enterprise number")
		n -= 4
	}
	if n > c.Len() {
		c.FailAt(off+2, "TLV length", fmt.Sprintf("%d bytes, of which %d are there", n, c.Len()))
	}
	t.Value = c.Bytes(n, "TLV value")
	return t
}

// appendTLVs is the inverse of readTLVs.
func appendTLVs(dst []byte, tlvs []TLV, form tlvForm) ([]byte, error) {
	var err error
	for i := range tlvs {
		if dst, err = appendTLV(dst, &tlvs[i], form); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendTLV is the inverse of readTLV.
func appendTLV(dst []byte, t *TLV, form tlvForm) ([]byte, error) {
	n, typ := len(t.Value), t.Type
	switch {
	case form == plainTLV && (t.Enterprise || t.Index != 0), form == enterpriseTLV && t.Index != 0:
		return dst, fmt.Errorf("TLV of type %d: this version has no enterprise bit or index there", t.Type)
	case form != plainTLV && typ&enterpriseBit != 0 && (t.Enterprise || typ != reservedTLV):
		return dst, fmt.Errorf("TLV of type %d: more than 15 bits", t.Type)
	case t.Enterprise && typ == reservedTLV&^enterpriseBit:
		return dst, fmt.Errorf("TLV of type %d: reserved, not an enterprise's", t.Type)
	}
	if t.Enterprise {
		typ |= enterpriseBit
		n += 4
	}
	if n > 0xffff {
		return dst, fmt.Errorf("TLV of type %d: %d bytes are too long", t.Type, n)
	}
	dst = binary.BigEndian.AppendUint16(dst, typ)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	if form == indexedTLV {
		dst = binary.BigEndian.AppendUint16(dst, t.Index)
	}
	if t.Enterprise {
		dst = binary.BigEndian.AppendUint32(dst, t.PEN)
	}
	return append(dst, t.Value...), nil
}
