package client

import (
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Quirk is a setting that says how a client's messages are coded, against what its router says. One Quirk sets one
// thing.
type Quirk struct {
	Peer uint32 // ID of a peer; 0: all peers of the client

	AddPath bool // sets ADD-PATH of Family: On
	Family  bgp.Family
	On      bool

	ASWidth uint8       // 2 or 4 sets the width of AS numbers
	Profile bmp.Profile // sets the code points of BMP v4; of the client, not of a peer
}

// same says whether two quirks set the same thing.
func (q Quirk) same(r Quirk) bool {
	return q.Peer == r.Peer && q.AddPath == r.AddPath && q.Family == r.Family && (q.ASWidth != 0) == (r.ASWidth != 0) &&
		(q.Profile != 0) == (r.Profile != 0)
}

// SetQuirk sets a quirk, in place of one that set the same thing before. The tables that it concerns are emptied and
// rebuilt from the messages kept.
func (c *Client) SetQuirk(q Quirk) {
	c.mu.Lock()
	c.removeQuirk(q)
	c.quirks = append(c.quirks, q)
	c.mu.Unlock()
	c.requirk()
}

// RemoveQuirk ends what SetQuirk did, whatever value the quirk had; it is false when there was no such quirk.
func (c *Client) RemoveQuirk(q Quirk) bool {
	c.mu.Lock()
	ok := c.removeQuirk(q)
	c.mu.Unlock()
	if ok {
		c.requirk()
	}
	return ok
}

func (c *Client) removeQuirk(q Quirk) bool {
	for i := range c.quirks {
		if c.quirks[i].same(q) {
			c.quirks = append(c.quirks[:i:i], c.quirks[i+1:]...)
			return true
		}
	}
	return false
}

// Quirks lists the quirks that are set, oldest first.
func (c *Client) Quirks() []Quirk {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Quirk(nil), c.quirks...)
}

// requirk has the session take over the quirks.
func (c *Client) requirk() {
	if s := c.Session(); s != nil {
		s.poke()
	}
}

// doPoked is called by the session goroutine after poke.
func (s *Session) doPoked() {
	s.setProfile()
	for _, p := range s.client.byID {
		s.recode(p)
	}
	s.flush()
}

func (s *Session) setProfile() {
	s.profile = bmp.ProfileAuto
	for _, q := range s.client.quirks {
		if q.Profile != bmp.ProfileAuto {
			s.profile = q.Profile
		}
	}
	s.parser.Profile = s.profile
}

// quirkAddPath is the ADD-PATH form that was set for a peer and family; a quirk of the peer goes before one of the
// client.
func (c *Client) quirkAddPath(p *peer, f bgp.Family) (on, ok bool) {
	best := uint32(0)
	for _, q := range c.quirks {
		if q.AddPath && q.Family == f && (q.Peer == p.id || q.Peer == 0 && best == 0) {
			on, ok, best = q.On, true, q.Peer
		}
	}
	return on, ok
}

// quirkWidth is the AS width that was set for a peer; 0 when none was.
func (c *Client) quirkWidth(p *peer) (width uint8) {
	best := uint32(0)
	for _, q := range c.quirks {
		if q.ASWidth != 0 && (q.Peer == p.id || q.Peer == 0 && best == 0) {
			width, best = q.ASWidth, q.Peer
		}
	}
	return width
}
