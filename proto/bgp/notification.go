package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"unicode/utf8"

	"bmp/proto/wire"
)

// Notification is a NOTIFICATION, RFC 4271, Section 4.5. Data aliases the message.
type Notification struct {
	Code    uint8
	Subcode uint8
	Data    []byte
}

type codeName struct {
	name     string
	subcodes []string // by subcode
}

var notificationCodes = [...]codeName{
	1: {"Message Header Error", []string{1: "Connection Not Synchronized", 2: "Bad Message Length", 3: "Bad Message Type"}},
	2: {"OPEN Message Error", []string{1: "Unsupported Version Number", 2: "Bad Peer AS", 3: "Bad BGP Identifier",
		4: "Unsupported Optional Parameter", 5: "Authentication Failure", 6: "Unacceptable Hold Time",
		7: "Unsupported Capability", 8: "Deprecated", 9: "Deprecated", 10: "Deprecated", 11: "Role Mismatch"}},
	3: {"UPDATE Message Error", []string{1: "Malformed Attribute List", 2: "Unrecognized Well-known Attribute",
		3: "Missing Well-known Attribute", 4: "Attribute Flags Error", 5: "Attribute Length Error",
		6: "Invalid ORIGIN Attribute", 7: "AS Routing Loop", 8: "Invalid NEXT_HOP Attribute",
		9: "Optional Attribute Error", 10: "Invalid Network Field", 11: "Malformed AS_PATH"}},
	4: {"Hold Timer Expired", nil},
	5: {"Finite State Machine Error", []string{1: "Unexpected Message in OpenSent", 2: "Unexpected Message in OpenConfirm",
		3: "Unexpected Message in Established"}},
	6: {"Cease", []string{1: "Maximum Number of Prefixes Reached", 2: "Administrative Shutdown", 3: "Peer De-configured",
		4: "Administrative Reset", 5: "Connection Rejected", 6: "Other Configuration Change",
		7: "Connection Collision Resolution", 8: "Out of Resources", 9: "Hard Reset", 10: "BFD Down"}},
	7: {"ROUTE-REFRESH Message Error", []string{1: "Invalid Message Length"}},
	8: {"Send Hold Timer Expired", nil}, // RFC 9687
}

const (
	codeOpen       = 2
	codeCease      = 6
	ceaseMaxPrefix = 1
	ceaseShutdown  = 2
	ceaseReset     = 4
	ceaseHardReset = 9
)

// ParseNotification parses a whole NOTIFICATION message.
func ParseNotification(pdu []byte) (Notification, error) {
	t, _, err := SplitHeader(pdu)
	if err != nil {
		return Notification{}, err
	}
	const section = "RFC 4271, Section 4.5"
	if t != PDUNotification {
		return Notification{}, &wire.Error{Offset: 18, Field: "type", Section: section, Msg: t.String() + ", not NOTIFICATION"}
	}
	c := wire.NewCursorAt(pdu[HeaderLen:], HeaderLen, section)
	n := Notification{Code: c.U8("error code"), Subcode: c.U8("error subcode")}
	n.Data = c.Rest()
	return n, c.Err()
}

// Append appends the NOTIFICATION as a message.
func (n Notification) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(appendHeader(dst, PDUNotification), n.Code, n.Subcode)
	return sealPDU(append(dst, n.Data...), start)
}

// Name is the name of the code and the subcode, "Cease/Administrative Shutdown"; numbers stand for what has no name.
func (n Notification) Name() string {
	if int(n.Code) >= len(notificationCodes) || notificationCodes[n.Code].name == "" {
		return fmt.Sprintf("code %d/subcode %d", n.Code, n.Subcode)
	}
	c := &notificationCodes[n.Code]
	if int(n.Subcode) < len(c.subcodes) && c.subcodes[n.Subcode] != "" {
		return c.name + "/" + c.subcodes[n.Subcode]
	}
	if n.Subcode == 0 {
		return c.name
	}
	return fmt.Sprintf("%s/subcode %d", c.name, n.Subcode)
}

// Shutdown is the shutdown communication of a Cease, RFC 9003, made fit for a terminal; "" where there is none or it is
// not UTF-8.
func (n Notification) Shutdown() string {
	if n.Code != codeCease || n.Subcode != ceaseShutdown && n.Subcode != ceaseReset || len(n.Data) == 0 {
		return ""
	}
	l := int(n.Data[0])
	if l == 0 || l > len(n.Data)-1 || !utf8.Valid(n.Data[1:1+l]) {
		return ""
	}
	return wire.CleanString(string(n.Data[1 : 1+l]))
}

// String is the name and what the data says: "Cease/Administrative Shutdown: upgrade at 22:00".
func (n Notification) String() string {
	s := n.Name()
	if d := n.detail(); d != "" {
		s += ": " + d
	}
	return s
}

func (n Notification) detail() string {
	d := n.Data
	if len(d) == 0 {
		return ""
	}
	switch {
	case n.Code == codeCease && n.Subcode == ceaseMaxPrefix && len(d) == 7: // RFC 4486
		return fmt.Sprintf("%s, limit %d", Family{binary.BigEndian.Uint16(d), d[2]}, binary.BigEndian.Uint32(d[3:]))
	case n.Code == codeCease && n.Subcode == ceaseHardReset && len(d) >= 2: // RFC 8538: the real reason inside
		inner := Notification{d[0], d[1], d[2:]}
		if inner.Code == codeCease && inner.Subcode == ceaseHardReset {
			break
		}
		return inner.String()
	case n.Code == codeCease && (n.Subcode == ceaseShutdown || n.Subcode == ceaseReset):
		if d[0] == 0 && len(d) == 1 {
			return ""
		}
		if s := n.Shutdown(); s != "" {
			return s
		}
	case n.Code == codeOpen && n.Subcode == 7: // the capabilities that are missing
		s := ""
		for len(d) >= 2 && 2+int(d[1]) <= len(d) {
			c := Capability{d[0], d[2 : 2+int(d[1])]}
			if s != "" {
				s += ", "
			}
			s += c.Name()
			if t := c.Text(); t != "" {
				s += " " + t
			}
			d = d[2+int(d[1]):]
		}
		if len(d) == 0 {
			return s
		}
	}
	return "0x" + hex.EncodeToString(n.Data)
}
