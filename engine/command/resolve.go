package command

import (
	"fmt"
	"net/netip"
	"strings"

	"bmp/engine/client"
	"bmp/proto/control"
)

// client finds the client that the line names.
func (c *call) client() (*client.Client, error) { return c.findClient(c.m.Value("client")) }

// findClient finds the one client that x is: an ID, an address, an
// address:port, or a name. Several are an error that lists them.
func (c *call) findClient(x string) (*client.Client, error) {
	found := c.station.FindClients(x)
	switch len(found) {
	case 0:
		return nil, control.Errorf(control.CodeNotFound, "No client '%s'", x)
	case 1:
		return found[0], nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Multiple clients match '%s':", x)
	for _, cl := range found {
		brief := cl.Brief()
		fmt.Fprintf(&b, "\n* %d  %s", brief.ID, clientHelp(&brief))
	}
	return nil, &control.Error{Code: control.CodeConflict, Text: b.String()}
}

// clientHelp is what one wants to know of a client beside its ID.
func clientHelp(b *client.Brief) string {
	s := addrPort(b.Address)
	if b.Name != "" {
		s += " " + b.Name
	}
	return s + " " + b.State.String()
}

// peer finds the client and the peer that the line names.
func (c *call) peer() (*client.Client, client.PeerInfo, error) {
	cl, err := c.client()
	if err != nil {
		return nil, client.PeerInfo{}, err
	}
	p, err := findPeer(cl, c.m.Value("peer"))
	return cl, p, err
}

// findPeer finds the one peer of a client that y is.
func findPeer(cl *client.Client, y string) (client.PeerInfo, error) {
	found := cl.FindPeers(y)
	switch len(found) {
	case 0:
		return client.PeerInfo{}, noPeer(cl, y)
	case 1:
		return found[0], nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Multiple peers match '%s':", y)
	for _, p := range found {
		fmt.Fprintf(&b, "\n* %d  %s %s", p.ID, peerLabel(&p), peerHelp(&p))
	}
	return client.PeerInfo{}, &control.Error{Code: control.CodeConflict, Text: b.String()}
}

func noPeer(cl *client.Client, y string) error {
	return control.Errorf(control.CodeNotFound, "No peer '%s' on client %d", y, cl.ID())
}

// peerLabel is how a peer is written so that it can be typed again: with its
// table where the address alone may be ambiguous and no RD tells it apart.
func peerLabel(p *client.PeerInfo) string {
	name := p.Name()
	if p.Table != "" && p.RD == "" && !strings.Contains(p.Table, " ") {
		return p.Table + "/" + name
	}
	return name
}

// peerHelp is what one wants to know of a peer: AS65002 down hold timer expired.
func peerHelp(p *client.PeerInfo) string {
	s := fmt.Sprintf("AS%d %s", p.AS, p.State)
	if p.DownReason != "" && (p.State == client.PeerDown || p.State == client.PeerUnmonitored) {
		s += " " + p.DownReason
	}
	return s
}

// clientName is how a client is called in rows that speak of several: its name,
// or its address where it has none.
func clientName(b *client.Brief) string {
	if b.Name != "" {
		return b.Name
	}
	return addrPort(b.Address)
}

// addrJSON is an address for JSON, nil where there is none.
func addrJSON(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a.String()
}
