package bmp

import (
	"encoding/binary"
	"fmt"

	"bmp/proto/wire"
)

// Initiation is the Initiation message, RFC 7854, Section 4.3.
type Initiation struct {
	TLVs []TLV
}

// Type implements [Message].
func (m *Initiation) Type() MessageType { return InitiationType }

// Peer implements [Message]: there is none.
func (m *Initiation) Peer() *PerPeerHeader { return nil }

// SysName is the router's name as it sent it; "" if it sent none.
func (m *Initiation) SysName() string { return findText(m.TLVs, InitSysName) }

// SysDescr is the router's description as it sent it (Cisco's begins with a blank); "" if it sent none.
func (m *Initiation) SysDescr() string { return findText(m.TLVs, InitSysDescr) }

func (m *Initiation) parse(f Frame) error {
	c := wire.NewCursorAt(f.Raw[HeaderLen:], HeaderLen, "RFC 7854, Section 4.3")
	m.TLVs = readTLVs(m.TLVs[:0], &c, formOf(f.Version))
	return c.Done()
}

// Append implements [Message].
func (m *Initiation) Append(dst []byte, e Encoding) ([]byte, error) {
	return appendInformation(dst, e, InitiationType, nil, m.TLVs)
}

// Termination is the Termination message, RFC 7854, Section 4.5.
type Termination struct {
	TLVs []TLV
}

// TerminationReason is why the router ends the BMP session, RFC 7854, Section 4.5.
type TerminationReason uint16

// String is the reason in words, or its number.
func (r TerminationReason) String() string {
	switch r {
	case 0:
		return "session administratively closed"
	case 1:
		return "unspecified reason"
	case 2:
		return "out of resources"
	case 3:
		return "redundant connection"
	case 4:
		return "session permanently administratively closed"
	}
	return fmt.Sprintf("reason %d", uint16(r))
}

// Type implements [Message].
func (m *Termination) Type() MessageType { return TerminationType }

// Peer implements [Message]: there is none.
func (m *Termination) Peer() *PerPeerHeader { return nil }

// Reason is the reason given, if there is one of the right length.
func (m *Termination) Reason() (r TerminationReason, ok bool) {
	t, ok := FindTLV(m.TLVs, TermReason)
	if !ok || len(t.Value) != 2 {
		return 0, false
	}
	return TerminationReason(binary.BigEndian.Uint16(t.Value)), true
}

// Text is the free text, "" if there is none.
func (m *Termination) Text() string { return findText(m.TLVs, TermString) }

func (m *Termination) parse(f Frame) error {
	c := wire.NewCursorAt(f.Raw[HeaderLen:], HeaderLen, "RFC 7854, Section 4.5")
	m.TLVs = readTLVs(m.TLVs[:0], &c, formOf(f.Version))
	return c.Done()
}

// Append implements [Message].
func (m *Termination) Append(dst []byte, e Encoding) ([]byte, error) {
	return appendInformation(dst, e, TerminationType, nil, m.TLVs)
}

// appendInformation appends a message that is all TLVs.
func appendInformation(dst []byte, e Encoding, t MessageType, peer *PerPeerHeader, tlvs []TLV) ([]byte, error) {
	start := len(dst)
	dst, err := e.begin(dst, t, peer)
	if err != nil {
		return dst, err
	}
	if dst, err = appendTLVs(dst, tlvs, formOf(e.version())); err != nil {
		return dst, fmt.Errorf("%s: %w", t.Name(), err)
	}
	return e.end(dst, start)
}

// Unknown is a message of a type that there is no code for. Whether its body begins with a Per-Peer Header is not
// known, so it is not looked for.
type Unknown struct {
	Kind MessageType
	Body []byte // what follows the common header; aliases the frame
}

// Type implements [Message].
func (m *Unknown) Type() MessageType { return m.Kind }

// Peer implements [Message]: none is looked for.
func (m *Unknown) Peer() *PerPeerHeader { return nil }

// Append implements [Message].
func (m *Unknown) Append(dst []byte, e Encoding) ([]byte, error) {
	start := len(dst)
	dst, err := e.begin(dst, m.Kind, nil)
	if err != nil {
		return dst, err
	}
	return e.end(append(dst, m.Body...), start)
}
