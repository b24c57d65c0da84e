package bgp

import (
	"encoding/binary"
	"fmt"

	"bmp/proto/wire"
)

// PDUType is the type of a BGP message, RFC 4271, Section 4.1.
type PDUType uint8

// The BGP messages.
const (
	PDUOpen         PDUType = 1
	PDUUpdate       PDUType = 2
	PDUNotification PDUType = 3
	PDUKeepalive    PDUType = 4
	PDURouteRefresh PDUType = 5 // RFC 2918
)

// String is the name in the RFC, "UPDATE"; for a type nobody assigned, "type 9".
func (t PDUType) String() string {
	switch t {
	case PDUOpen:
		return "OPEN"
	case PDUUpdate:
		return "UPDATE"
	case PDUNotification:
		return "NOTIFICATION"
	case PDUKeepalive:
		return "KEEPALIVE"
	case PDURouteRefresh:
		return "ROUTE-REFRESH"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

const (
	// HeaderLen is the length of the header of every BGP message: marker 16, length 2, type 1.
	HeaderLen = 19
	// MaxLen is the longest BGP message without the Extended Message capability (RFC 8654); what is longer is read all
	// the same, up to the 65,535 bytes that the length field can say.
	MaxLen = 4096
)

const marker = ^uint64(0)

func headerOK(pdu []byte) bool {
	return len(pdu) >= HeaderLen && len(pdu) <= 65535 &&
		binary.BigEndian.Uint64(pdu) == marker && binary.BigEndian.Uint64(pdu[8:]) == marker &&
		int(binary.BigEndian.Uint16(pdu[16:])) == len(pdu)
}

// SplitHeader checks the header of a BGP message that is whole in pdu, and returns its type and what follows the
// header (it aliases pdu). The marker must be all ones, and the length that of pdu. The error is a *wire.Error.
func SplitHeader(pdu []byte) (PDUType, []byte, error) {
	if headerOK(pdu) {
		return PDUType(pdu[18]), pdu[HeaderLen:], nil
	}
	return 0, nil, headerError(pdu)
}

func headerError(pdu []byte) error {
	const section = "RFC 4271, Section 4.1"
	c := wire.NewCursor(pdu, section)
	for i, b := range c.Bytes(16, "marker") {
		if b != 0xff {
			return &wire.Error{Offset: i, Field: "marker", Section: section, Msg: fmt.Sprintf("%#02x, not 0xff", b)}
		}
	}
	if n := c.U16("length"); c.Err() == nil && int(n) != len(pdu) {
		return &wire.Error{Offset: 16, Field: "length", Section: section, Msg: fmt.Sprintf("%d, in %d bytes", n, len(pdu))}
	}
	c.U8("type")
	return c.Err()
}

// appendHeader appends a header whose length sealPDU fills in.
func appendHeader(dst []byte, t PDUType) []byte {
	for range 16 {
		dst = append(dst, 0xff)
	}
	return append(dst, 0, 0, byte(t))
}

func sealPDU(dst []byte, start int) []byte {
	binary.BigEndian.PutUint16(dst[start+16:], uint16(len(dst)-start))
	return dst
}

// AppendKeepalive appends a KEEPALIVE.
func AppendKeepalive(dst []byte) []byte {
	start := len(dst)
	return sealPDU(appendHeader(dst, PDUKeepalive), start)
}

// Summary tells any BGP message in one line, as `show client X messages` and mirrored messages need it. What cannot be
// read is said in the line.
func Summary(pdu []byte, ctx Context) string {
	t, body, err := SplitHeader(pdu)
	if err != nil {
		return "BGP message malformed: " + err.Error()
	}
	switch t {
	case PDUOpen:
		o, err := ParseOpen(pdu)
		if err != nil {
			return "OPEN malformed: " + err.Error()
		}
		return "OPEN " + o.String()
	case PDUUpdate:
		var u Update
		if err := u.Parse(pdu, ctx); err != nil {
			return err.Error()
		}
		return "UPDATE " + u.String()
	case PDUNotification:
		n, err := ParseNotification(pdu)
		if err != nil {
			return "NOTIFICATION malformed: " + err.Error()
		}
		return "NOTIFICATION " + n.String()
	case PDUKeepalive:
		if len(body) != 0 {
			return fmt.Sprintf("KEEPALIVE malformed: %d bytes left over at offset %d", len(body), HeaderLen)
		}
	case PDURouteRefresh:
		r, err := ParseRouteRefresh(pdu)
		if err != nil {
			return "ROUTE-REFRESH malformed: " + err.Error()
		}
		return "ROUTE-REFRESH " + r.String()
	}
	return t.String()
}
