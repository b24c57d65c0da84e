package command

import (
	"context"
	"net/netip"
	"strconv"

	"bmp/engine/client"
	"bmp/proto/bmp"
	"bmp/proto/filter"
)

type viewRoutesJSON struct {
	AdjInPre   int `json:"adj_in_pre"`
	AdjInPost  int `json:"adj_in_post"`
	AdjOutPre  int `json:"adj_out_pre"`
	AdjOutPost int `json:"adj_out_post"`
	LocRIB     int `json:"loc_rib"`
}

func newViewRoutesJSON(r client.ViewRoutes) viewRoutesJSON {
	return viewRoutesJSON{r[bmp.AdjInPre], r[bmp.AdjInPost], r[bmp.AdjOutPre], r[bmp.AdjOutPost], r[bmp.LocRIB]}
}

// peerJSON is a peer in show client X peers | json.
type peerJSON struct {
	ID         uint32         `json:"id"`
	Type       string         `json:"type"`
	RD         any            `json:"rd"`
	Address    any            `json:"address"` // null for Loc-RIB
	AS         uint32         `json:"as"`
	BGPID      string         `json:"bgp_id"`
	State      string         `json:"state"`
	Table      any            `json:"table"`
	Since      any            `json:"since"`
	DownReason any            `json:"down_reason"`
	Routes     viewRoutesJSON `json:"routes"`
	Stale      bool           `json:"stale"` // state is what it was when it was last heard of
}

func (c *call) peerJSON(p *client.PeerInfo) peerJSON {
	j := peerJSON{ID: p.ID, Type: p.Type.String(), RD: jsonString(p.RD), Address: addrJSON(p.Address), AS: p.AS,
		BGPID: netip.AddrFrom4(p.BGPID).String(), State: p.State.String(), Table: jsonString(p.Table), Since: c.time(p.Since),
		Routes: newViewRoutesJSON(p.Routes), Stale: p.Stale}
	if p.State == client.PeerDown || p.State == client.PeerUnmonitored {
		j.DownReason = jsonString(p.DownReason)
	}
	return j
}

// anyPeerJSON is a peer in show peers | json.
type anyPeerJSON struct {
	Client     uint32 `json:"client"`
	ClientName any    `json:"client_name"`
	peerJSON
}

func peerTable() []filter.Column {
	return []filter.Column{
		{Name: "ID", Width: 4, Right: true},
		{Name: "Address", Width: 15},
		{Name: "R-D", Key: "rd", Width: 7},
		{Name: "AS", Width: 6, Right: true},
		{Name: "BGP-ID", Key: "bgp_id", Width: 12},
		{Name: "State", Width: 11},
		{Name: "Uptime", Width: 8, Right: true},
		{Name: "Pre", Width: 7, Right: true},
		{Name: "Post", Width: 7, Right: true},
		{Name: "Out", Width: 7, Right: true},
		{Name: "Loc", Width: 7, Right: true},
		{Name: "Table", Width: 5},
		{Name: "Reason"},
	}
}

func (c *call) peerCells(p *client.PeerInfo) []string {
	address := p.Address.String()
	if !p.Address.IsValid() {
		address = "loc-rib"
	}
	uptime, reason := "down", ""
	switch p.State {
	case client.PeerUp, client.PeerUnannounced:
		uptime = c.age(p.Since)
		if p.Stale {
			uptime = "-" // who would know
		}
	default:
		reason = p.DownReason
	}
	state := p.State.String()
	if p.Stale {
		reason = join(reason, "stale")
	}
	table := p.Table
	if table == "" {
		table = p.AdminLabel
	}
	return []string{
		strconv.FormatUint(uint64(p.ID), 10), address, dash(p.RD), strconv.FormatUint(uint64(p.AS), 10), netip.AddrFrom4(p.BGPID).String(),
		state, uptime, formatCount(uint64(p.Routes[bmp.AdjInPre]), 1), formatCount(uint64(p.Routes[bmp.AdjInPost]), 1),
		formatCount(uint64(p.Routes[bmp.AdjOutPre]+p.Routes[bmp.AdjOutPost]), 1), formatCount(uint64(p.Routes[bmp.LocRIB]), 1),
		dash(table), reason,
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

func showClientPeers(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if err := c.out.Columns(peerTable()...); err != nil {
		return err
	}
	for _, p := range cl.Peers() {
		if err := c.out.Record(filter.Record{Cells: c.peerCells(&p), JSON: c.peerJSON(&p)}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func showPeers(ctx context.Context, c *call) error {
	clients := c.station.Clients()
	if x := c.m.Value("client"); x != "" {
		cl, err := c.findClient(x)
		if err != nil {
			return err
		}
		clients = []*client.Client{cl}
	}
	as, hasAS := c.m.Number("as")
	rd, table := c.m.Value("rd"), c.m.Value("table")
	states := []client.PeerState{client.PeerUp, client.PeerDown, client.PeerUnannounced, client.PeerUnmonitored}
	state, hasState := client.PeerState(0), false
	for _, s := range states {
		if c.m.Has(s.String()) {
			state, hasState = s, true
		}
	}
	if err := c.out.Columns(append([]filter.Column{{Name: "Client", Width: 11}}, peerTable()...)...); err != nil {
		return err
	}
	for _, cl := range clients {
		for _, p := range cl.Peers() {
			if hasState && (p.State != state || state == client.PeerUp && p.Stale) || hasAS && uint64(p.AS) != as || rd != "" && p.RD != rd ||
				table != "" && p.Table != table && p.AdminLabel != table {
				continue
			}
			name := p.ClientName
			if name == "" {
				name = addrPort(p.ClientAddress)
			}
			err := c.out.Record(filter.Record{Cells: append([]string{name}, c.peerCells(&p)...),
				JSON: anyPeerJSON{p.Client, jsonString(p.ClientName), c.peerJSON(&p)}})
			if err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
