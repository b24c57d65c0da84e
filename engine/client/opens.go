package client

import (
	"bytes"
	"fmt"

	"bmp/proto/bmp"
)

// Bounds of what is kept of the BGP messages in Peer Ups and Peer Downs.
const (
	maxOpenBytes    = 64 << 20 // OPENs of all peers of a client: thrice what those of maxPeers peers are
	maxFurtherOpens = 64       // further pairs of a Loc-RIB peer: one per family, and there are about thirty
	maxNotification = 4096     // one that is longer says nothing that its reason in words does not
)

var errTooManyOpens = fmt.Errorf("Peer Up not taken: the OPENs of this client's peers have %d MB already", maxOpenBytes>>20)

// openBytes is how much of its OPENs the peer keeps.
func (p *peer) openBytes() int {
	n := len(p.sent) + len(p.received)
	for _, pair := range p.moreOpens {
		n += len(pair[0]) + len(pair[1])
	}
	return n
}

// roomForOpens says whether the OPENs of a Peer Up may be kept.
func (c *Client) roomForOpens(m *bmp.PeerUp) bool {
	return c.openBytes+len(m.SentOpen)+len(m.ReceivedOpen) <= maxOpenBytes
}

// keepOpens keeps the OPENs of a Peer Up instead of those of the one before.
func (c *Client) keepOpens(p *peer, m *bmp.PeerUp) {
	c.openBytes -= p.openBytes()
	p.sent, p.received, p.moreOpens = bytes.Clone(m.SentOpen), bytes.Clone(m.ReceivedOpen), nil
	c.openBytes += p.openBytes()
}

// keepFurtherOpens keeps the OPENs of a Loc-RIB's Peer Up for another family, beside those that are there.
func (c *Client) keepFurtherOpens(p *peer, m *bmp.PeerUp) {
	if len(p.moreOpens) < maxFurtherOpens {
		p.moreOpens = append(p.moreOpens, [2][]byte{bytes.Clone(m.SentOpen), bytes.Clone(m.ReceivedOpen)})
		c.openBytes += len(m.SentOpen) + len(m.ReceivedOpen)
	}
}
