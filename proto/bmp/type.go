package bmp

import (
	"strconv"
	"strings"
)

// Sizes of the fixed parts, in bytes.
const (
	HeaderLen        = 6  // common header of versions 3 and 4
	LegacyHeaderLen  = 2  // version and type: versions 1 and 2, which have no length
	PerPeerHeaderLen = 42 // RFC 7854, Section 4.2

	// DefaultMaxMessage is the longest message a Reader takes unless told otherwise.
	DefaultMaxMessage = 1 << 20

	bgpHeaderLen = 19 // RFC 4271, Section 4.1: marker 16, length 2, type 1
)

// MessageType is the message type of the common header, RFC 7854, Section 4.1.
type MessageType uint8

// The message types. 251 to 254 are for experiments; they and all others are read as [Unknown].
const (
	RouteMonitoringType  MessageType = 0
	StatisticsReportType MessageType = 1
	PeerDownType         MessageType = 2
	PeerUpType           MessageType = 3
	InitiationType       MessageType = 4
	TerminationType      MessageType = 5
	RouteMirroringType   MessageType = 6

	// MessageTypes is the number of types that are known: for arrays that count by type, with one more for the rest.
	MessageTypes = 7
)

var messageTypeKeys = [MessageTypes]string{"route_monitoring", "statistics_report", "peer_down", "peer_up", "initiation",
	"termination", "route_mirroring"}

// Known says that the type is one of the seven of RFC 7854.
func (t MessageType) Known() bool { return t < MessageTypes }

// String is the key under which messages are counted: "route_monitoring"; "unknown" for every type not known.
func (t MessageType) String() string {
	if t.Known() {
		return messageTypeKeys[t]
	}
	return "unknown"
}

// Word is String as one types it in a command: "route-monitoring".
func (t MessageType) Word() string { return strings.ReplaceAll(t.String(), "_", "-") }

// Name is the name in the words of the RFC; "Message type 100" where there is none.
func (t MessageType) Name() string {
	switch t {
	case RouteMonitoringType:
		return "Route Monitoring"
	case StatisticsReportType:
		return "Statistics Report"
	case PeerDownType:
		return "Peer Down"
	case PeerUpType:
		return "Peer Up"
	case InitiationType:
		return "Initiation"
	case TerminationType:
		return "Termination"
	case RouteMirroringType:
		return "Route Mirroring"
	}
	return "Message type " + strconv.Itoa(int(t))
}

// ParseMessageType finds the type by its String or its Word. "unknown" is not a type.
func ParseMessageType(s string) (MessageType, bool) {
	s = strings.ReplaceAll(s, "-", "_")
	for t, key := range messageTypeKeys {
		if key == s {
			return MessageType(t), true
		}
	}
	return 0, false
}

// PeerType is the peer type of the Per-Peer Header, RFC 7854, Section 4.2 and RFC 9069, Section 4.1.
type PeerType uint8

// The peer types.
const (
	GlobalPeer PeerType = 0 // Global Instance Peer
	RDPeer     PeerType = 1 // RD Instance Peer
	LocalPeer  PeerType = 2 // Local Instance Peer
	LocRIBPeer PeerType = 3 // Loc-RIB Instance Peer
)

// String is "global", "rd", "local", "loc-rib", or "type 251".
func (t PeerType) String() string {
	switch t {
	case GlobalPeer:
		return "global"
	case RDPeer:
		return "rd"
	case LocalPeer:
		return "local"
	case LocRIBPeer:
		return "loc-rib"
	}
	return "type " + strconv.Itoa(int(t))
}

// View is the RIB that a message speaks of: RFC 7854 (Adj-RIB-In), RFC 8671 (Adj-RIB-Out), RFC 9069 (Loc-RIB).
type View uint8

// The views. They index arrays of length [Views].
const (
	AdjInPre View = iota
	AdjInPost
	AdjOutPre
	AdjOutPost
	LocRIB

	Views = 5 // how many there are
)

var viewNames = [Views]string{"adj-in-pre", "adj-in-post", "adj-out-pre", "adj-out-post", "loc-rib"}

// String is the view as in commands: "adj-in-pre".
func (v View) String() string {
	if v < Views {
		return viewNames[v]
	}
	return "view " + strconv.Itoa(int(v))
}

// Key is the view as in JSON: "adj_in_pre".
func (v View) Key() string { return strings.ReplaceAll(v.String(), "-", "_") }

// ParseView finds a view by its String or its Key.
func ParseView(s string) (View, bool) {
	s = strings.ReplaceAll(s, "_", "-")
	for v, name := range viewNames {
		if name == s {
			return View(v), true
		}
	}
	return 0, false
}
