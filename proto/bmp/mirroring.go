package bmp

import (
	"encoding/binary"
	"fmt"
	"iter"

	"bmp/proto/wire"
)

// RouteMirroring is the Route Mirroring message, RFC 7854, Section 4.7: BGP messages as the peer sent them.
type RouteMirroring struct {
	PeerHeader PerPeerHeader
	TLVs       []TLV
}

// MirrorCode is the code of the Information TLV, RFC 7854, Section 4.7.
type MirrorCode uint16

// String is the code in words, or its number.
func (c MirrorCode) String() string {
	switch c {
	case 0:
		return "errored PDU"
	case 1:
		return "messages lost"
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// Type implements [Message].
func (m *RouteMirroring) Type() MessageType { return RouteMirroringType }

// Peer implements [Message].
func (m *RouteMirroring) Peer() *PerPeerHeader { return &m.PeerHeader }

// Messages yields the BGP messages, each with its header, as they are: an errored one may be anything.
func (m *RouteMirroring) Messages() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range m.TLVs {
			t := &m.TLVs[i]
			if t.Type == MirrorBGPMessage && !t.Enterprise && !yield(t.Value) {
				return
			}
		}
	}
}

// Information is the first information code, if there is one of the right length.
func (m *RouteMirroring) Information() (c MirrorCode, ok bool) {
	t, ok := FindTLV(m.TLVs, MirrorInformation)
	if !ok || len(t.Value) != 2 {
		return 0, false
	}
	return MirrorCode(binary.BigEndian.Uint16(t.Value)), true
}

func (m *RouteMirroring) parse(f Frame, c *wire.Cursor) error {
	c.Section("RFC 7854, Section 4.7")
	m.TLVs = readTLVs(m.TLVs[:0], c, formOf(f.Version))
	return c.Done()
}

// Append implements [Message].
func (m *RouteMirroring) Append(dst []byte, e Encoding) ([]byte, error) {
	return appendInformation(dst, e, RouteMirroringType, &m.PeerHeader, m.TLVs)
}
