package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bmp/engine"
	"bmp/engine/archive"
)

// summaryJSON is the one element that this station is in show summary | json. Of lags and queues it has what shows whether the
// station keeps up: nothing of that grows without a bound, and nothing is dropped that is not counted here.
type summaryJSON struct {
	Port          int    `json:"port"`
	Name          string `json:"name"`
	PID           int    `json:"pid"`
	Version       string `json:"version"`
	UptimeSeconds int64  `json:"uptime_seconds"`
	Clients       int    `json:"clients"`
	Peers         int    `json:"peers"`
	Messages      uint64 `json:"messages"`
	Bytes         uint64 `json:"bytes"`
	MemoryBytes   uint64 `json:"memory_bytes"`
	Routes        int64  `json:"routes"`
	AttributeSets int64  `json:"attribute_sets"`
	Events        uint64 `json:"events"`

	ReadLagSeconds  float64  `json:"read_lag_seconds"` // of the client that is furthest behind, to the millisecond
	ReadQueueBytes  int64    `json:"read_queue_bytes"` // received for all clients, and not read yet
	BatchesDelayed  int64    `json:"batches_delayed"`  // of routes, by the route store
	RoutesRefused   int64    `json:"routes_refused"`   // for want of memory
	StoreFallbacks  []string `json:"store_fallbacks"`
	MemoryLimit     any      `json:"memory_limit_bytes"`
	RefusingClients bool     `json:"refusing_clients"`
	ReadingPaused   bool     `json:"reading_paused"`   // until a client that was closed for memory has made room
	SessionsRefused uint64   `json:"sessions_refused"` // for want of memory
	ClientsClosed   uint64   `json:"clients_closed"`   // likewise

	Archive any `json:"archive"`
}

type summaryArchiveJSON struct {
	QueuedBytes     int64  `json:"queued_bytes"`
	QueueLimitBytes int64  `json:"queue_limit_bytes"`
	Gaps            uint64 `json:"gaps"` // of this run
	OpenGaps        int    `json:"open_gaps"`
	MessagesLost    uint64 `json:"messages_lost"`
	BytesLost       uint64 `json:"bytes_lost"`
	EventsLost      uint64 `json:"events_lost"`
	Failing         bool   `json:"failing"`
}

func showSummary(ctx context.Context, c *call) error {
	s := c.station.Summary()
	fields := []field{
		{"BMP Server pid", fmt.Sprint(s.PID)},
		{"BMP Server uptime", formatUptimeLong(s.Uptime)},
		{"Active BGP clients", formatCount(uint64(s.Clients), 2)},
		{"Active BGP peers", formatCount(uint64(s.Peers), 2)},
		{"Total msgs rcv'd", formatCount(s.Messages, 2)},
		{"Total data rcv'd", formatSize(s.Bytes, 2)},
		{"Total memory usage", formatSize(uint64(s.MemoryBytes), 2)},
		{"Routes held", formatCount(uint64(s.Routes), 2)},
		{"Attribute sets", formatCount(uint64(s.AttributeSets), 2)},
		{"Events", formatCount(s.Events, 2)},
		{"Read lag", s.ReadLag.Round(time.Millisecond).String()},
		{"Read queue", formatSize(uint64(s.QueueBytes), 2)},
		{"Route store", storeText(&s)},
		{"Memory limit", memoryText(&s)},
		{"Archive", c.archiveText(ctx)},
	}
	j := summaryJSON{
		Port: int(s.Port), Name: s.Name, PID: s.PID, Version: c.h.options.Version, UptimeSeconds: jsonSeconds(s.Uptime),
		Clients: s.Clients, Peers: s.Peers, Messages: s.Messages, Bytes: s.Bytes, MemoryBytes: uint64(s.MemoryBytes),
		Routes: s.Routes, AttributeSets: s.AttributeSets, Events: s.Events,
		ReadLagSeconds: s.ReadLag.Round(time.Millisecond).Seconds(), ReadQueueBytes: s.QueueBytes, BatchesDelayed: s.Throttled,
		RoutesRefused: s.Refused, StoreFallbacks: orEmpty(s.Fallbacks), RefusingClients: s.Refusing, ReadingPaused: s.Paused, SessionsRefused: s.TurnedAway,
		ClientsClosed: s.ClosedFor,
	}
	if s.MemoryLimit > 0 {
		j.MemoryLimit = s.MemoryLimit
	}
	if a := s.Archive; a != nil {
		fields = append(fields, field{"Archive queue", formatSize(uint64(a.Queued), 2) + " of " + formatSize(uint64(a.QueueLimit), 2)},
			field{"Archive gaps", gapsText(a)})
		j.Archive = summaryArchiveJSON{a.Queued, a.QueueLimit, a.Gaps, a.Open, a.Lost, a.LostBytes, a.EventsLost, a.Trouble}
	}
	lines := []string{fmt.Sprintf("BMP Server (port %d)", s.Port)}
	for _, f := range fields {
		lines = append(lines, "  "+pad(f.name, 20)+": "+f.value)
	}
	if err := c.out.Document([]summaryJSON{j}); err != nil {
		return err
	}
	return c.lines(lines...)
}

// memoryText is the limit, and what was done to keep it.
func memoryText(s *engine.Summary) string {
	if s.MemoryLimit == 0 {
		return "none"
	}
	words := []string{formatSize(uint64(s.MemoryLimit), 2)}
	if s.Refusing {
		words = append(words, "new clients are refused")
	}
	if s.Paused {
		words = append(words, "reading pauses")
	}
	if s.TurnedAway > 0 {
		words = append(words, formatCount(s.TurnedAway, 2)+" sessions refused so far")
	}
	if s.ClosedFor > 0 {
		words = append(words, formatCount(s.ClosedFor, 2)+" clients closed so far")
	}
	return strings.Join(words, ", ")
}

// storeText is what the route store had to do without, and what it made wait or refused.
func storeText(s *engine.Summary) string {
	var words []string
	if s.Refused > 0 {
		words = append(words, formatCount(uint64(s.Refused), 2)+" routes refused for want of memory")
	}
	if s.Throttled > 0 {
		words = append(words, formatCount(uint64(s.Throttled), 2)+" batches delayed")
	}
	words = append(words, s.Fallbacks...)
	if len(words) == 0 {
		return "keeps up"
	}
	return strings.Join(words, "; ")
}

// gapsText is what the archive lost in this run.
func gapsText(a *archive.Load) string {
	var words []string
	if a.Gaps > 0 {
		words = append(words, formatCount(a.Gaps, 2)+" of this run, "+messagesText(a.Lost)+" lost")
	}
	if a.Open > 0 {
		words = append(words, fmt.Sprintf("%d clients' messages are being lost", a.Open))
	}
	if a.EventsLost > 0 {
		words = append(words, formatCount(a.EventsLost, 2)+" events lost")
	}
	if a.Trouble {
		words = append(words, "storing fails (show log says why)")
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
