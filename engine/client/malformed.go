package client

import (
	"bytes"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Bounds of the malformed messages kept of one client.
const (
	malformedMessages = 64
	malformedBytes    = 1 << 20
)

type malformedEntry struct {
	number uint64
	time   int64
	peer   uint32
	typ    bmp.MessageType
	class  bgp.ErrorClass
	offset int64
	at     int
	reason string
	raw    []byte
}

// malformed keeps the newest messages that could not be read, whole. Guarded by Client.mu.
type malformed struct {
	total   uint64 // since the counters began
	last    uint64 // number of the newest, which no clearing of counters gives again
	bytes   int
	entries []malformedEntry // oldest first
}

// add keeps a copy of e.raw and numbers it. The newest always fits: a message is at most as long as the bound.
func (m *malformed) add(e malformedEntry) {
	m.total++
	m.last++
	e.number = m.last
	if len(e.raw) > malformedBytes {
		// MaxMessage can be set above the bound; then the start is what is kept.
		e.raw = e.raw[:malformedBytes]
	}
	drop := 0
	for drop < len(m.entries) && (len(m.entries)-drop >= malformedMessages || m.bytes+len(e.raw) > malformedBytes) {
		m.bytes -= len(m.entries[drop].raw)
		drop++
	}
	if drop > 0 {
		n := copy(m.entries, m.entries[drop:])
		clear(m.entries[n:])
		m.entries = m.entries[:n]
	}
	e.raw = bytes.Clone(e.raw)
	m.bytes += len(e.raw)
	m.entries = append(m.entries, e)
}

func (m *malformed) list(name func(peer uint32) string) []MalformedMessage {
	out := make([]MalformedMessage, len(m.entries))
	for i, e := range m.entries {
		out[i] = MalformedMessage{
			Number: e.number, Time: time.Unix(0, e.time), Peer: e.peer, PeerName: name(e.peer), Type: e.typ,
			Offset: e.offset, At: e.at, Reason: e.reason, Class: e.class, Raw: e.raw,
		}
	}
	return out
}
