package bmp

import (
	"fmt"

	"bmp/proto/wire"
)

// Parser makes messages of the frames of one session, in their order. It returns the same structs again and again. The
// zero value is ready. It is for one goroutine. Resume has it go on with another session.
type Parser struct {
	// Profile is the profile of version 4; ProfileAuto has it detected. It may be set between two messages.
	Profile Profile

	detected   Profile
	monitoring RouteMonitoring
	statistics StatisticsReport
	down       PeerDown
	up         PeerUp
	initiation Initiation
	terminated Termination
	mirroring  RouteMirroring
	unknown    Unknown
}

// DetectedProfile is what version 4 messages showed so far; ProfileAuto before the first one that does.
func (p *Parser) DetectedProfile() Profile { return p.detected }

// Resume makes p the parser of a session of which the profile was set, and detected so far, as they are.
func (p *Parser) Resume(set, detected Profile) { p.Profile, p.detected = set, detected }

// Parse makes a message of a frame. The message is valid until the next Parse, and aliases the frame.
//
// The error of a malformed body is a *[wire.Error]; its offset counts from the start of the frame. The message is then not
// nil if its type is known and, where it has a Per-Peer Header, that is there; it holds what was read before the error.
func (p *Parser) Parse(f Frame) (Message, error) {
	head := HeaderLen
	if f.Version < 3 {
		head = LegacyHeaderLen
	}
	if len(f.Raw) < head {
		return nil, &wire.Error{Offset: len(f.Raw), Field: "common header", Section: "RFC 7854, Section 4.1",
			Msg: fmt.Sprintf("%d bytes needed, %d there", head, len(f.Raw))}
	}
	switch f.Type {
	case InitiationType:
		return &p.initiation, p.initiation.parse(f)
	case TerminationType:
		return &p.terminated, p.terminated.parse(f)
	}
	if !f.Type.Known() {
		p.unknown = Unknown{Kind: f.Type, Body: f.Raw[head:]}
		return &p.unknown, nil
	}
	body := head + PerPeerHeaderLen
	if len(f.Raw) < body {
		return nil, &wire.Error{Offset: head, Field: "Per-Peer Header", Section: "RFC 7854, Section 4.2",
			Msg: fmt.Sprintf("%d bytes needed, %d there", PerPeerHeaderLen, len(f.Raw)-head)}
	}
	if f.Type == RouteMonitoringType && f.Version < 4 {
		p.monitoring.PeerHeader.parse(f.Raw[head:])
		return &p.monitoring, p.monitoring.parse(f.Raw[body:], body)
	}
	c := wire.NewCursorAt(f.Raw[body:], body, "")
	switch f.Type {
	case StatisticsReportType:
		p.statistics.PeerHeader.parse(f.Raw[head:])
		return &p.statistics, p.statistics.parse(f, &c)
	case PeerDownType:
		p.down.PeerHeader.parse(f.Raw[head:])
		return &p.down, p.down.parse(f, &c)
	case PeerUpType:
		p.up.PeerHeader.parse(f.Raw[head:])
		return &p.up, p.up.parse(f, &c)
	case RouteMirroringType:
		p.mirroring.PeerHeader.parse(f.Raw[head:])
		return &p.mirroring, p.mirroring.parse(f, &c)
	}
	p.monitoring.PeerHeader.parse(f.Raw[head:])
	var err error
	p.detected, err = p.monitoring.parse4(&c, p.Profile, p.detected)
	return &p.monitoring, err
}
