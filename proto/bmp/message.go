package bmp

import (
	"encoding/binary"
	"fmt"
)

// Message is a parsed BMP message: one of *[RouteMonitoring], *[StatisticsReport], *[PeerDown], *[PeerUp], *[Initiation],
// *[Termination], *[RouteMirroring], *[Unknown].
type Message interface {
	// Type is the message type of the common header.
	Type() MessageType
	// Peer is the Per-Peer Header, within the message; nil for Initiation, Termination and Unknown, which have none.
	Peer() *PerPeerHeader
	// Append appends the whole message in the version that e asks for. It is an error if the message, or a
	// part of it, cannot be said in that version, or is too long for its length field.
	Append(dst []byte, e Encoding) ([]byte, error)
}

// Encoding says how messages are written. The zero value is version 3.
type Encoding struct {
	Version uint8   // 1 to 4; 0 is 3
	Profile Profile // the code points of version 4; ProfileAuto is ProfileDeployed
}

func (e Encoding) version() uint8 {
	if e.Version == 0 {
		return 3
	}
	return e.Version
}

func (e Encoding) profile() Profile {
	if e.Profile == ProfileAuto {
		return ProfileDeployed
	}
	return e.Profile
}

// begin appends the common header, with the length to be filled in by end, and the Per-Peer Header if there is one.
func (e Encoding) begin(dst []byte, t MessageType, peer *PerPeerHeader) ([]byte, error) {
	switch v := e.version(); {
	case v > 4:
		return dst, fmt.Errorf("%s: there is no BMP version %d", t.Name(), v)
	case v >= 3:
		dst = append(dst, v, 0, 0, 0, 0, byte(t))
	case t > PeerUpType:
		return dst, fmt.Errorf("%s: not in BMP version %d", t.Name(), v)
	default:
		dst = append(dst, v, byte(t))
	}
	if peer != nil {
		dst = peer.AppendTo(dst)
	}
	return dst, nil
}

// end fills in the length of the message that begins at start.
func (e Encoding) end(dst []byte, start int) ([]byte, error) {
	if e.version() >= 3 {
		n := len(dst) - start
		if uint64(n) > 1<<32-1 {
			return dst, fmt.Errorf("message of %d bytes: too long", n)
		}
		binary.BigEndian.PutUint32(dst[start+1:], uint32(n))
	}
	return dst, nil
}
