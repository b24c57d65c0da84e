package event

import (
	"net/netip"
	"strconv"
	"time"

	"bmp/proto/wire"
)

// Kind is the sort of thing that happened.
type Kind uint8

// The kinds. Their names (String) are what `show events` prints.
const (
	Station    Kind = iota // listening, stopping, memory, refused connections: the station's own
	Adjacency              // a client came up or went down
	PeerChange             // a peer of a client changed its state
	Malformed              // a message that could not be read
	Silent                 // a client from which nothing came for long
	Health                 // identity collision, ADD-PATH or AS width not as negotiated
	Admin                  // a command that changed something, with who gave it
	Message                // a BMP message, while somebody follows its client
	Route                  // a route announced or withdrawn, while somebody follows its client
	NumKinds
)

var kindNames = [NumKinds]string{"station", "client", "peer", "malformed", "silent", "health", "admin", "message", "route"}

// tags are the words of the console lines: BMP-1111-ADJCHANGE.
var tags = [NumKinds]string{"", "ADJCHANGE", "PEERCHANGE", "MALFORMED", "SILENT", "HEALTH", "ADMIN", "MESSAGE", "ROUTE"}

// String is the kind in lower case, as `show events` prints it.
func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Tag is the word of the kind in a console line; empty for the station's own lines, which have none.
func (k Kind) Tag() string {
	if k < NumKinds {
		return tags[k]
	}
	return ""
}

// Event is one thing that happened. It is passed by value and never changed after Publish; what Data points to is
// shared by all who receive it and must not be changed either.
type Event struct {
	Time    time.Time      // of arrival, the station's clock
	Kind    Kind           //
	Client  uint32         // ID; 0 when it concerns no client
	Address netip.AddrPort // of the client; invalid when it concerns none, and Address.Port() is 0 for a dialled host not yet known
	Peer    uint32         // ID on that client; 0 when it concerns no peer
	Text    string         // what happened, without the place, as it came: "UP", "DOWN (remote closed)", "Peer 10.0.0.2 AS65002 DOWN (hold timer expired)"
	Console bool           // is a line on consoles, in the log file and in `show log`
	Live    bool           // is counted, and sent to those who follow the client
	Data    any            // Message: *client.Message; Route: *client.RouteChange; otherwise nil
}

// Line is the console line without its time: "BMP-1111-ADJCHANGE: Client 10.1.0.1:22011 UP". Station is what the
// station is called in it: its first port. Text may hold words of a router; control characters in them are written out
// (\x1b), so that no router can forge a line of a log or steer a terminal.
func (e Event) Line(station string) string {
	tag := e.Kind.Tag()
	if tag == "" {
		return wire.CleanString(e.Text)
	}
	b := make([]byte, 0, 96)
	b = append(b, "BMP-"...)
	b = append(b, station...)
	b = append(b, '-')
	b = append(b, tag...)
	b = append(b, ": "...)
	if e.Address.IsValid() {
		b = append(b, "Client "...)
		b = e.Address.AppendTo(b)
		b = append(b, ' ')
	}
	b = append(b, e.Text...)
	return string(wire.Clean(b))
}

// ConsoleLine is Line with the local time in brackets before it, milliseconds, in the zone of loc (nil: local).
func (e Event) ConsoleLine(station string, loc *time.Location) string {
	t := e.Time
	if loc != nil {
		t = t.In(loc)
	} else {
		t = t.Local()
	}
	return t.Format("[15:04:05.000] ") + e.Line(station)
}
