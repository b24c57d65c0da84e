package bmp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"bmp/proto/wire"
)

// PeerUp is the Peer Up Notification, RFC 7854, Section 4.10; for Loc-RIB RFC 9069, Section 4.4: no address, no ports, and
// two OPENs that the router makes up.
type PeerUp struct {
	PeerHeader   PerPeerHeader
	LocalAddress netip.Addr // as PerPeerHeader.Address
	LocalPort    uint16
	RemotePort   uint16
	SentOpen     []byte // BGP OPEN with its header; aliases the frame
	ReceivedOpen []byte // likewise
	TLVs         []TLV  // not in versions 1 and 2
}

// Type implements [Message].
func (m *PeerUp) Type() MessageType { return PeerUpType }

// Peer implements [Message].
func (m *PeerUp) Peer() *PerPeerHeader { return &m.PeerHeader }

// TableName is the VRF/Table Name, "" if there is none. Juniper puts it into a free text; see Text.
func (m *PeerUp) TableName() string { return findText(m.TLVs, PeerTableName) }

// AdminLabel is the Admin Label of RFC 8671, Section 6.3.1, "" if there is none.
func (m *PeerUp) AdminLabel() string { return findText(m.TLVs, PeerAdminLabel) }

// Text is the free text, "" if there is none.
func (m *PeerUp) Text() string { return findText(m.TLVs, PeerString) }

func (m *PeerUp) parse(f Frame, c *wire.Cursor) error {
	c.Section("RFC 7854, Section 4.10")
	m.LocalAddress, m.SentOpen, m.ReceivedOpen, m.TLVs = netip.Addr{}, nil, nil, m.TLVs[:0]
	if b := c.Bytes(16, "local address"); b != nil {
		m.LocalAddress = parseAddress(&m.PeerHeader, b)
	}
	m.LocalPort = c.U16("local port")
	m.RemotePort = c.U16("remote port")
	m.SentOpen = readOpen(c, "sent OPEN")
	m.ReceivedOpen = readOpen(c, "received OPEN")
	if f.Version >= 3 {
		m.TLVs = readTLVs(m.TLVs, c, formOf(f.Version))
	}
	return c.Done()
}

// Append implements [Message].
func (m *PeerUp) Append(dst []byte, e Encoding) ([]byte, error) {
	start := len(dst)
	dst, err := e.begin(dst, PeerUpType, &m.PeerHeader)
	if err != nil {
		return dst, err
	}
	if e.version() < 3 && len(m.TLVs) > 0 {
		return dst, fmt.Errorf("peer up: BMP version %d has no TLVs", e.version())
	}
	dst = appendAddress(dst, m.LocalAddress)
	dst = binary.BigEndian.AppendUint16(dst, m.LocalPort)
	dst = binary.BigEndian.AppendUint16(dst, m.RemotePort)
	dst = append(dst, m.SentOpen...)
	dst = append(dst, m.ReceivedOpen...)
	if dst, err = appendTLVs(dst, m.TLVs, formOf(e.version())); err != nil {
		return dst, fmt.Errorf("peer up: %w", err)
	}
	return e.end(dst, start)
}

// readPDU reads a BGP message by the length in its own header; package bgp judges the rest of it.
func readPDU(c *wire.Cursor, field string) []byte {
	head := c.Peek(bgpHeaderLen)
	if head == nil {
		c.Fail(field, fmt.Sprintf("%d bytes are too short for a BGP message", c.Len()))
		return nil
	}
	n := int(binary.BigEndian.Uint16(head[16:]))
	if n < bgpHeaderLen || n > c.Len() {
		c.FailAt(c.Off()+16, field, fmt.Sprintf("BGP length %d, %d bytes there", n, c.Len()))
		return nil
	}
	return c.Bytes(n, field)
}

// maxOpen is the length of the longest OPEN: RFC 8654, Section 4 leaves it at that of RFC 4271, Section 4.1.
const maxOpen = 4096

// readOpen is readPDU for an OPEN.
func readOpen(c *wire.Cursor, field string) []byte {
	at := c.Off() + 16
	b := readPDU(c, field)
	if len(b) > maxOpen {
		c.FailAt(at, field, fmt.Sprintf("BGP length %d, an OPEN has at most %d", len(b), maxOpen))
		return nil
	}
	return b
}

// PeerDownReason is why a peer went down, RFC 7854, Section 4.9 and RFC 9069, Section 5.3.
type PeerDownReason uint8

// The reasons.
const (
	DownLocalNotification  PeerDownReason = 1 // local system closed, NOTIFICATION follows
	DownLocal              PeerDownReason = 2 // local system closed, FSM event follows
	DownRemoteNotification PeerDownReason = 3 // remote system closed, NOTIFICATION follows
	DownRemote             PeerDownReason = 4 // remote system closed without a word
	DownUnmonitored        PeerDownReason = 5 // the router no longer tells of the peer, which may be well
	DownLocalTLV           PeerDownReason = 6 // local system closed, TLVs follow: Loc-RIB
)

// String is the reason in words, or its number.
func (r PeerDownReason) String() string {
	switch r {
	case DownLocalNotification:
		return "local system closed, notification sent"
	case DownLocal:
		return "local system closed, no notification"
	case DownRemoteNotification:
		return "remote system closed, notification received"
	case DownRemote:
		return "remote system closed, no notification"
	case DownUnmonitored:
		return "no longer monitored"
	case DownLocalTLV:
		return "local system closed"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// PeerDown is the Peer Down Notification, RFC 7854, Section 4.9.
type PeerDown struct {
	PeerHeader   PerPeerHeader
	Reason       PeerDownReason
	Notification []byte // reasons 1 and 3: BGP NOTIFICATION with its header; aliases the frame
	// FSMEvent, reason 2: the event of RFC 4271, Section 8.1 that ended the session, 0 if the router cannot say.
	FSMEvent uint16
	// NoFSMEvent: versions 1 and 2 may leave the FSM event out, and Notification, too.
	NoFSMEvent bool
	TLVs       []TLV  // reason 6; in version 4 all reasons
	Data       []byte // what follows a reason that there is no code for, before version 4; aliases the frame
}

// Type implements [Message].
func (m *PeerDown) Type() MessageType { return PeerDownType }

// Peer implements [Message].
func (m *PeerDown) Peer() *PerPeerHeader { return &m.PeerHeader }

// TableName is the VRF/Table Name, "" if there is none.
func (m *PeerDown) TableName() string { return findText(m.TLVs, PeerTableName) }

func (m *PeerDown) parse(f Frame, c *wire.Cursor) error {
	c.Section("RFC 7854, Section 4.9")
	*m = PeerDown{PeerHeader: m.PeerHeader, TLVs: m.TLVs[:0]}
	m.Reason = PeerDownReason(c.U8("reason"))
	switch m.Reason {
	case DownLocalNotification, DownRemoteNotification:
		m.Notification = readPDU(c, "NOTIFICATION")
	case DownLocal:
		if f.Version < 3 && c.Len() == 0 {
			m.NoFSMEvent = true
			break
		}
		m.FSMEvent = c.U16("FSM event")
	case DownRemote, DownUnmonitored:
	case DownLocalTLV:
		c.Section("RFC 9069, Section 5.3")
		m.TLVs = readTLVs(m.TLVs, c, formOf(f.Version))
	default:
		if f.Version < 4 {
			m.Data = c.Rest()
		}
	}
	if f.Version >= 4 {
		c.Section("draft-ietf-grow-bmp-tlv, Section 5.3")
		m.TLVs = readTLVs(m.TLVs, c, enterpriseTLV)
	}
	return c.Done()
}

// Append implements [Message].
func (m *PeerDown) Append(dst []byte, e Encoding) ([]byte, error) {
	start := len(dst)
	dst, err := e.begin(dst, PeerDownType, &m.PeerHeader)
	if err != nil {
		return dst, err
	}
	dst = append(dst, byte(m.Reason))
	switch m.Reason {
	case DownLocalNotification, DownRemoteNotification:
		dst = append(dst, m.Notification...)
	case DownLocal:
		if m.NoFSMEvent && e.version() < 3 {
			break
		}
		dst = binary.BigEndian.AppendUint16(dst, m.FSMEvent)
	}
	if len(m.TLVs) > 0 && e.version() < 4 && (m.Reason != DownLocalTLV || e.version() < 3) {
		return dst, fmt.Errorf("peer down: BMP version %d has no TLVs with reason %d", e.version(), m.Reason)
	}
	dst = append(dst, m.Data...)
	if dst, err = appendTLVs(dst, m.TLVs, formOf(e.version())); err != nil {
		return dst, fmt.Errorf("peer down: %w", err)
	}
	return e.end(dst, start)
}

// fsmEvents are the names of RFC 4271, Section 8.1.2 to 8.1.5, by number.
var fsmEvents = [...]string{1: "ManualStart", "ManualStop", "AutomaticStart", "ManualStart with passive TCP establishment",
	"AutomaticStart with passive TCP establishment", "AutomaticStart with DampPeerOscillations",
	"AutomaticStart with DampPeerOscillations and passive TCP establishment", "AutomaticStop", "ConnectRetryTimer expires",
	"HoldTimer expires", "KeepaliveTimer expires", "DelayOpenTimer expires", "IdleHoldTimer expires", "TcpConnection valid",
	"Tcp CR invalid", "Tcp CR acked", "TcpConnection confirmed", "TcpConnection fails", "BGP open",
	"BGP open with DelayOpenTimer running", "BGP header error", "BGP open message error", "open collision dump",
	"notification message version error", "notification message", "keepalive message", "update message",
	"update message error"}

// FSMEventName is the name of an event of the BGP state machine, RFC 4271, Section 8.1; its number if it has none.
func FSMEventName(event uint16) string {
	if int(event) < len(fsmEvents) && fsmEvents[event] != "" {
		return fsmEvents[event]
	}
	if event == 0 {
		return "no event given"
	}
	return fmt.Sprintf("event %d", event)
}
