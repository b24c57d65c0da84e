package client

import (
	"strconv"
	"time"

	"bmp/engine/archive"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// beginArchive keeps in the archive that the session began, if there is one.
func (s *Session) beginArchive() {
	if s.env.Archive == nil {
		return
	}
	s.archive = s.env.Archive.Client(s.client.id)
	s.archive.Begin(s.archiveRecord(s.time))
}

func (s *Session) archiveRecord(at time.Time) archive.SessionRecord {
	return archive.SessionRecord{
		Session: s.number, Time: at, Start: s.start, Address: s.endpoint.Remote, Listener: s.endpoint.Listener,
		Netns: s.endpoint.Netns, VRF: s.endpoint.VRF, Name: s.client.identity.SysName, StaleFor: s.env.staleFor(),
	}
}

// staleFor is for how long routes of a client that is down are kept; 0: nobody says.
func (e *Env) staleFor() time.Duration {
	if e.StaleFor == nil {
		return 0
	}
	return e.StaleFor()
}

// ArchiveStaleFor keeps in the archive that Env.StaleFor is another one from now on, if the client is down and left something that
// this decides about.
func (c *Client) ArchiveStaleFor() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.env.Archive == nil || c.session != nil || c.gone || len(c.byID) == 0 {
		return
	}
	c.env.Archive.Client(c.id).End(archive.SessionRecord{
		Session: c.sessions.Load(), Time: time.Now(), Address: c.endpoint.Remote, StaleFor: c.env.staleFor(), Over: true,
	})
}

func (s *Session) endArchive(at time.Time, reason string) {
	if s.archive == nil {
		return
	}
	r := s.archiveRecord(at)
	r.Reason, r.Messages, r.Bytes = reason, s.messages, s.bytes
	s.archive.End(r)
}

// archiveStale keeps that the stale routes of a table go, which no message says.
func (s *Session) archiveStale(p *peer, t *table) {
	if s.archive != nil && t.rib.StaleLen() > 0 {
		s.archive.DropStale(s.time, s.number, s.mark.offset, p.key.archived(), t.view, t.family)
	}
}

// archiveStaleOf is archiveStale for all tables of a peer that goes.
func (s *Session) archiveStaleOf(p *peer) {
	p.eachTable(func(t *table) { s.archiveStale(p, t) })
}

// archiveDropped keeps that all that is held of a client that is down goes.
func (c *Client) archiveDropped(at time.Time) {
	if c.env.Archive == nil {
		return
	}
	a := c.env.Archive.Client(c.id)
	c.eachTable(func(p *peer, t *table) {
		if t.rib.Len() > 0 {
			a.DropStale(at, c.sessions.Load(), 0, p.key.archived(), t.view, t.family)
		}
	})
}

// keep gives the message that was applied to the archive, and is false if that has no room for it.
func (s *Session) keep() bool {
	e := &s.kept
	e.Time, e.Offset, e.Session, e.Raw = s.time, s.mark.offset, s.number, s.mark.raw
	e.Context = bgp.Context{AS4: s.mark.flags&entryAS4 != 0, AddPath: s.mark.addPath}
	e.Profile, e.Bad = s.mark.profile, s.mark.flags&entryMalformed != 0
	return s.archive.Append(e)
}

// ArchivePeer is a peer by its ID as the archive knows it; not ok when there is none.
func (c *Client) ArchivePeer(id uint32) (k archive.PeerKey, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.byID[id]
	if p == nil {
		return k, false
	}
	return p.key.archived(), true
}

// PeerLabels are what the peers are called now, by how the archive knows them. It never waits for the session.
func (c *Client) PeerLabels() map[archive.PeerKey]*Label {
	c.labelMu.RLock()
	defer c.labelMu.RUnlock()
	out := make(map[archive.PeerKey]*Label, len(c.labels))
	for _, l := range c.labels {
		out[l.key.archived()] = l
	}
	return out
}

// PeerID is the ID by which an answer names a peer that the archive knows. One that the client does not have gets its ID so, and keeps
// it when the router speaks of it again. It is 0 where there are too many peers, or the client was forgotten.
func (c *Client) PeerID(k archive.PeerKey) uint32 {
	key := keyOfArchived(k)
	c.labelMu.RLock()
	id := c.past[key]
	c.labelMu.RUnlock()
	if id != 0 {
		return id // as nearly always: without waiting for the session
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peerOf(key); p != nil {
		return p.id
	}
	return c.pastID(key)
}

// PastPeer is the peer that has an ID (y of a command), though the client does not have the peer, as the archive knows it; not ok when
// there is none.
func (c *Client) PastPeer(y string) (k archive.PeerKey, ok bool) {
	id, err := strconv.ParseUint(y, 10, 32)
	if err != nil || id == 0 {
		return k, false
	}
	c.labelMu.RLock()
	defer c.labelMu.RUnlock()
	for key, n := range c.past {
		if n == uint32(id) {
			return key.archived(), true
		}
	}
	return k, false
}

// pastID is the ID of a peer that the client does not have, which an answer about the past names. There are maxPeers of these and of those
// that the client has; beyond that it is 0.
func (c *Client) pastID(k peerKey) uint32 {
	if id := c.past[k]; id != 0 {
		return id
	}
	if c.gone || len(c.byID)+len(c.past) >= maxPeers {
		return 0
	}
	c.nextID++
	c.labelMu.Lock()
	defer c.labelMu.Unlock()
	if c.past == nil {
		c.past = make(map[peerKey]uint32)
	}
	c.past[k] = c.nextID
	return c.nextID
}

// takeID gives a new peer the ID that an answer gave it, or the next one.
func (c *Client) takeID(k peerKey) uint32 {
	if id := c.past[k]; id != 0 {
		c.labelMu.Lock()
		delete(c.past, k)
		c.labelMu.Unlock()
		return id
	}
	c.nextID++
	return c.nextID
}

// forgetIDs has no peer of the past keep its ID.
func (c *Client) forgetIDs() {
	c.labelMu.Lock()
	c.past = nil
	c.labelMu.Unlock()
}

// PastLabel is what a peer was called; its ID is 0.
func PastLabel(p *archive.HeldPeer) *Label {
	l := &Label{
		key: keyOfArchived(p.Key), Type: p.Key.Type,
		RD: rdOf(p.Key.Distinguisher), Address: p.Key.Address, AS: p.AS, BGPID: p.BGPID, Table: tableNameOf(p.Table, p.Text),
	}
	return l
}

// Named says whether y of a command (an address, RD/address, TABLE/address, loc-rib ...) is the peer. An ID is not looked at.
func (l *Label) Named(y string) bool {
	place, addr, loc, ok := parsePeerName(y)
	return ok && l.named(place, addr, loc)
}

// rdOf is a distinguisher as the names of peers have it; empty for none.
func rdOf(distinguisher uint64) string {
	if distinguisher == 0 {
		return ""
	}
	return bgp.RDOf(distinguisher).String()
}

func (k peerKey) archived() archive.PeerKey {
	return archive.PeerKey{Type: k.typ, Distinguisher: k.dist, Address: k.addr, BGPID: k.id}
}

func keyOfArchived(k archive.PeerKey) peerKey {
	return peerKey{typ: k.Type, dist: k.Distinguisher, addr: k.Address, id: k.BGPID}
}

// FromArchive makes a Message of an archived one, with what can be read of it alone: Peer is 0, as the archive does not
// know the numbers of peers. Raw is the archive's and as short-lived.
func FromArchive(a *archive.Message) Message {
	m := Message{
		Time: a.Time, Offset: a.Offset, Type: a.Type, Client: a.Client, Context: a.Context, Malformed: a.Bad, Raw: a.Raw,
		profile: a.Profile,
	}
	if len(a.Raw) > 0 {
		m.Version = a.Raw[0]
	}
	k, v, ok := a.Peer()
	if ok {
		m.PeerName = peerName(k.Type, rdOf(k.Distinguisher), k.Address)
		m.View, m.HasView = v, a.Type == bmp.RouteMonitoringType
		m.RouterTime = routerTime(a.Raw, m.Version)
	}
	m.count()
	return m
}
