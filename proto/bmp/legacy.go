package bmp

import (
	"encoding/binary"
	"fmt"
)

// maxLegacyStats bounds the statistics of one report: they are walked again for each read until all are there.
const maxLegacyStats = 1024

// legacyLength is frameLength for versions 1 and 2, whose messages have no length and end where their contents do:
//
//	version 1 | type 1 | Per-Peer Header 42 | ...
//	  0 Route Monitoring    BGP message, by its length
//	  1 Statistics Report   count 4, then as many of type 2, length 2, data
//	  2 Peer Down           reason 1; 1 and 3: BGP message; 2: perhaps an FSM event of 2 bytes
//	  3 Peer Up             address 16, ports 2 + 2, two BGP messages
//
// There are no other types. The FSM event is there if the next byte is 0; a version byte there begins the next message.
// Until one byte more has come, such a Peer Down is not known to be whole.
func legacyLength(b []byte, atEnd bool) (n int, whole bool, reason string) {
	const head = LegacyHeaderLen + PerPeerHeaderLen
	if len(b) < LegacyHeaderLen {
		return LegacyHeaderLen, false, ""
	}
	t := MessageType(b[1])
	if t > PeerUpType {
		return 0, false, fmt.Sprintf("message type %d, which version %d does not have", t, b[0])
	}
	switch t {
	case RouteMonitoringType:
		return legacyPDU(b, head)
	case StatisticsReportType:
		n = head + 4
		if len(b) < n {
			return n, false, ""
		}
		count := binary.BigEndian.Uint32(b[head:])
		if count > maxLegacyStats {
			return 0, false, fmt.Sprintf("%d statistics, more than %d", count, maxLegacyStats)
		}
		for ; count > 0; count-- {
			if len(b) < n+4 {
				return n + 4, false, ""
			}
			n += 4 + int(binary.BigEndian.Uint16(b[n+2:]))
			if len(b) < n && count > 1 {
				return n + 4, false, ""
			}
		}
		return n, true, ""
	case PeerDownType:
		n = head + 1
		if len(b) < n {
			return n, false, ""
		}
		switch PeerDownReason(b[head]) {
		case DownLocalNotification, DownRemoteNotification:
			return legacyPDU(b, n)
		case DownLocal:
			if len(b) == n {
				if atEnd {
					return n, true, ""
				}
				return n + 1, false, ""
			}
			if b[n] == 0 {
				return n + 2, true, ""
			}
		}
		return n, true, ""
	default: // Peer Up
		n, whole, reason = legacyPDU(b, head+20)
		if !whole || len(b) < n {
			return n, false, reason
		}
		return legacyPDU(b, n)
	}
}

// legacyPDU is the end of a BGP message that begins at off.
func legacyPDU(b []byte, off int) (n int, whole bool, reason string) {
	if len(b) < off+bgpHeaderLen {
		return off + bgpHeaderLen, false, ""
	}
	length := int(binary.BigEndian.Uint16(b[off+16:]))
	if length < bgpHeaderLen {
		return 0, false, fmt.Sprintf("BGP length %d is less than %d", length, bgpHeaderLen)
	}
	return off + length, true, ""
}
