package bmp

import (
	"encoding/binary"
	"fmt"

	"bmp/proto/wire"
)

// RouteMonitoring is the Route Monitoring message, RFC 7854, Section 4.6; version 4: draft-ietf-grow-bmp-tlv, Section 5.2,
// and see tlv4.go for what its TLVs say.
type RouteMonitoring struct {
	PeerHeader PerPeerHeader
	Update     []byte  // BGP UPDATE with its header; aliases the frame
	TLVs       []TLV   // version 4: all but the BGP Message TLV, in their order
	Profile    Profile // version 4: how the types of TLVs are to be understood; else ProfileAuto
}

// Type implements [Message].
func (m *RouteMonitoring) Type() MessageType { return RouteMonitoringType }

// Peer implements [Message].
func (m *RouteMonitoring) Peer() *PerPeerHeader { return &m.PeerHeader }

// parse reads versions 1 to 3, where the body is the UPDATE and nothing else.
func (m *RouteMonitoring) parse(body []byte, off int) error {
	if len(m.TLVs) > 0 {
		m.TLVs = m.TLVs[:0]
	}
	m.Profile = ProfileAuto
	if len(body) < bgpHeaderLen || int(binary.BigEndian.Uint16(body[16:])) != len(body) {
		m.Update = nil
		return badUpdate(body, off)
	}
	m.Update = body
	return nil
}

// badUpdate says what is wrong with a body that is not one BGP message.
func badUpdate(body []byte, off int) error {
	c := wire.NewCursorAt(body, off, "RFC 7854, Section 4.6")
	readPDU(&c, "UPDATE")
	return c.Done()
}

// Append implements [Message].
func (m *RouteMonitoring) Append(dst []byte, e Encoding) ([]byte, error) {
	start := len(dst)
	dst, err := e.begin(dst, RouteMonitoringType, &m.PeerHeader)
	if err != nil {
		return dst, err
	}
	if e.version() < 4 {
		if len(m.TLVs) > 0 {
			return dst, fmt.Errorf("route monitoring: BMP version %d has no TLVs", e.version())
		}
		return e.end(append(dst, m.Update...), start)
	}
	if dst, err = appendTLVs(dst, m.TLVs, indexedTLV); err == nil {
		pdu := TLV{Type: e.profile().code(BGPMessageTLV), Value: m.Update}
		dst, err = appendTLV(dst, &pdu, indexedTLV)
	}
	if err != nil {
		return dst, fmt.Errorf("route monitoring: %w", err)
	}
	return e.end(dst, start)
}
