package command

import (
	"context"
	"fmt"
	"time"
)

// summaryJSON is the one element that this station is in show summary | json.
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
}

func showSummary(ctx context.Context, c *call) error {
	s := c.station.Summary()
	lines := []string{fmt.Sprintf("BMP Server (port %d)", s.Port)}
	for _, f := range []field{
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
		{"Archive", c.archiveText(ctx)},
	} {
		lines = append(lines, "  "+pad(f.name, 20)+": "+f.value)
	}
	if err := c.out.Document([]summaryJSON{{int(s.Port), s.Name, s.PID, c.h.options.Version, jsonSeconds(s.Uptime), s.Clients, s.Peers,
		s.Messages, s.Bytes, uint64(s.MemoryBytes), s.Routes, s.AttributeSets}}); err != nil {
		return err
	}
	return c.lines(lines...)
}
