package command

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"bmp/engine/client"
	"bmp/proto/filter"
)

// clientJSON is a client in show clients | json, and the first part of show client X.
type clientJSON struct {
	ID            uint32 `json:"id"`
	Address       string `json:"address"`
	State         string `json:"state"`
	UptimeSeconds *int64 `json:"uptime_seconds"` // null when down
	Peers         int    `json:"peers"`
	Messages      uint64 `json:"messages"`
	Bytes         uint64 `json:"bytes"`
	Routes        int    `json:"routes"`
	Name          any    `json:"name"`
	Netns         any    `json:"netns"`
	Listener      any    `json:"listener"`
}

func newClientJSON(b *client.Brief, now time.Time) clientJSON {
	j := clientJSON{ID: b.ID, Address: addrPort(b.Address), State: b.State.String(), Peers: b.PeersUp, Messages: b.Messages,
		Bytes: b.Bytes, Routes: b.Routes, Name: jsonString(b.Name), Netns: jsonString(b.Netns), Listener: jsonString(b.Listener)}
	if b.State == client.Up {
		s := jsonSeconds(now.Sub(b.Since))
		j.UptimeSeconds = &s
	}
	return j
}

// addrPort is ADDR:PORT, IPv6 in brackets; the address alone where no port is
// known, as for a client that has not come back since the station was started;
// empty for none.
func addrPort(a netip.AddrPort) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Port() == 0:
		return a.Addr().String()
	}
	return a.String()
}

// uptime is the column of that name: how long, or that it is down.
func (c *call) uptime(b *client.Brief) string {
	if b.State != client.Up {
		return "down"
	}
	return formatUptime(c.Now.Sub(b.Since))
}

func showClients(ctx context.Context, c *call) error {
	clients := c.station.Clients()
	columns := []filter.Column{
		{Name: "ID", Width: 2, Right: true},
		{Name: "Address:Port", Key: "address", Width: 21, Gap: 3, Heading: " Address:Port"},
		{Name: "Uptime", Width: 8, Right: true},
		{Name: "Peers", Width: 7, Right: true},
		{Name: "Messages", Width: 8, Right: true},
		{Name: "Data", Key: "bytes", Width: 7, Right: true},
		{Name: "Routes", Width: 8, Right: true},
		{Name: "Name"},
	}
	netns := slices.ContainsFunc(clients, func(cl *client.Client) bool { return cl.Brief().Netns != "" })
	if netns { // the same addresses may be in several
		columns = append(columns, filter.Column{Name: "Netns"})
	}
	err := c.out.Columns(columns...)
	if err != nil {
		return err
	}
	for _, cl := range clients {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := cl.Brief()
		cells := []string{
			strconv.FormatUint(uint64(b.ID), 10), addrPort(b.Address), c.uptime(&b), formatCount(uint64(b.PeersUp), 1),
			formatCount(b.Messages, 1), formatSize(b.Bytes, 1), formatCount(uint64(b.Routes), 1), b.Name,
		}
		if netns {
			cells = append(cells, dash(b.Netns))
		}
		err := c.out.Record(filter.Record{JSON: newClientJSON(&b, c.Now), Cells: cells})
		if err != nil {
			return err
		}
	}
	return nil
}
