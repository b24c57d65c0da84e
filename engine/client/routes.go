package client

import (
	"bytes"
	"fmt"

	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// change is what one UPDATE did.
type change struct {
	announced, withdrawn int
	eor                  bool
}

// maxPlainUpdate is the longest BGP message without the extended message capability, RFC 8654.
const maxPlainUpdate = 4096

// routeMonitoring applies an UPDATE. It is the hot path: nothing is allocated here but for what is seen the first time.
func (s *Session) routeMonitoring(m *bmp.RouteMonitoring, p *peer) {
	h := &m.PeerHeader
	if off := int64(h.Sec) - s.now/1e9; off < -300 || off > 300 {
		s.checkTime(p, h)
	}
	if p.state != PeerUp || p.upSession != s.number {
		s.announcedCheck(p)
	} else if h.AS != p.as || h.BGPID != p.bgpid {
		s.checkIdentity(p, h)
	}
	if len(m.Update) > maxPlainUpdate && !p.extended {
		s.noteHere(ExtendedMessage, p, 0, func() string { return fmt.Sprintf("%d bytes", len(m.Update)) })
	}
	v := p.views[h.View()]
	if v == nil {
		v = s.addView(p, h.View())
	}
	s.applyUpdate(p, v, m.Update, s.codingOf(m, nil))
}

// coding is what a message itself says of how its UPDATE is coded.
type coding struct {
	said      uint8          // AS width by the header, or by stateless parsing
	stateless bool           // a BMP v4 message that says it all: nothing is voted on
	addPath   bgp.AddPathSet // then these families have path IDs
	rebuild   *table         // not nil: apply what is of this table alone, and judge nothing
}

// codingOf is what a message says of its coding: the A flag (versions 1 and 2 have none), or the capabilities of
// Stateless Parsing TLVs (draft-ietf-grow-bmp-tlv, Section 5.2.3).
func (s *Session) codingOf(m *bmp.RouteMonitoring, rebuild *table) coding {
	c := coding{said: 4, rebuild: rebuild}
	if !m.PeerHeader.AS4() && s.frame.Version >= 3 {
		c.said = 2
	}
	if !m.Stateless() {
		return c
	}
	c.stateless = true
	for code, v := range m.Capabilities() {
		switch code {
		case bgp.CapFourOctetAS:
			c.said = 4
		case bgp.CapAddPath:
			for f := range bgp.AddPathModes(v) {
				c.addPath = c.addPath.With(f)
			}
		}
	}
	return c
}

// applyUpdate splits an UPDATE and stages its routes.
func (s *Session) applyUpdate(p *peer, v *view, pdu []byte, c coding) {
	u := &s.update
	ctx := bgp.Context{AS4: c.said == 4, AddPath: v.addPath}
	if v.width != 0 {
		ctx.AS4 = v.width == 4
	}
	if c.stateless {
		ctx = bgp.Context{AS4: c.said == 4, AddPath: c.addPath}
	}
	if err := u.Parse(pdu, ctx); err != nil {
		if c.rebuild == nil {
			s.bad(p, u.Malformed.Class, s.updateOffset(pdu)+u.Malformed.Offset, err.Error())
		}
		return
	}
	s.sections = u.Sections(s.sections[:0])
	s.mark.addPath = ctx.AddPath
	if u.EoR && c.rebuild == nil {
		s.endOfRIB(p, v, u.EoRFamily)
	}
	// The AS width is a matter of the table that is announced to.
	if n := len(s.sections); n > 0 && !s.sections[n-1].Withdraw {
		t := s.table(p, v, s.sections[n-1].Family)
		s.chooseWidth(p, v, t, u, &ctx, c)
	}
	if ctx.AS4 {
		s.mark.flags |= entryAS4
	}
	s.mark.flags |= entryView
	withdrawAll := false
	if m := u.Malformed; m != nil {
		withdrawAll = m.Class >= bgp.TreatAsWithdraw
		if c.rebuild == nil {
			s.bad(p, m.Class, s.updateOffset(pdu)+m.Offset, m.Error())
		}
	}
	for i := range s.sections {
		s.applySection(p, v, &s.sections[i], u, c, withdrawAll)
	}
}

// applySection stages the routes of one NLRI field.
func (s *Session) applySection(p *peer, v *view, sec *bgp.Section, u *bgp.Update, c coding, withdrawAll bool) {
	t := s.table(p, v, sec.Family)
	if c.rebuild != nil && c.rebuild != t {
		return
	}
	addPath := sec.AddPath
	n, err := bgp.CheckNLRI(sec.Family, addPath, sec.Withdraw, sec.Field)
	if c.stateless {
		if c.rebuild == nil {
			s.adopt(p, v, t, addPath)
		}
	} else if sec.Family.Splits() && !t.forced && (err != nil || t.switched || t.votes > 0) {
		addPath, n, err = s.judgeAddPath(p, v, t, sec, c, addPath, n, err)
	}
	if err != nil {
		if c.rebuild == nil {
			s.client.ignored += uint64(n)
			s.bad(p, bgp.SessionReset, s.updateOffset(u.PDU)+sec.Offset+nlriOffset(err), err.Error())
		}
		return
	}
	if c.rebuild == nil {
		t.update = s.now
		if sec.Withdraw || withdrawAll {
			t.withdrawn += uint64(n)
			s.client.withdrawn += uint64(n)
			s.changed.withdrawn += n
		} else {
			t.announced += uint64(n)
			t.renewed = s.number
			s.client.announced += uint64(n)
			s.changed.announced += n
			if p.state != PeerUp && p.state != PeerUnannounced {
				p.told = s.number
				s.noteHere(RoutesWhileDown, p, tableSub(t), func() string { return fmt.Sprintf("%s %s", t.view, t.family) })
			}
		}
	}
	s.dirty = true
	it := &s.nlri
	it.Reset(sec.Family, addPath, sec.Withdraw, sec.Field)
	if sec.Withdraw || withdrawAll {
		for it.Next() {
			s.writer.Withdraw(t.rib, it.Key, it.PathID, s.time)
		}
		return
	}
	made := false
	for it.Next() {
		if !made || !bytes.Equal(it.Extra, s.extra) {
			s.extra = append(s.extra[:0], it.Extra...)
			s.record = u.AppendRecord(s.record[:0], sec.Family, it.Extra)
			made = true
		}
		s.writer.Announce(t.rib, it.Key, it.PathID, s.record, s.time)
	}
}

// updateOffset is where in the message being applied its UPDATE begins.
func (s *Session) updateOffset(pdu []byte) int {
	if s.frame.Version < 4 {
		return len(s.frame.Raw) - len(pdu)
	}
	return max(0, bytes.Index(s.frame.Raw, pdu))
}

func nlriOffset(err error) int {
	if e, ok := err.(*bgp.NLRIError); ok {
		return e.Offset
	}
	return 0
}

func (s *Session) addView(p *peer, v bmp.View) *view {
	x := &view{v: v}
	p.views[v] = x
	s.recodeView(p, x)
	return x
}

// table finds or makes the table of a family.
func (s *Session) table(p *peer, v *view, f bgp.Family) *table {
	if t := v.tableOf(f); t != nil {
		return t
	}
	t := &table{view: v.v, family: f, said: p.negotiatedFor(v.v).Has(f)}
	t.addPath = t.said
	if on, ok := s.client.quirkAddPath(p, f); ok {
		t.addPath, t.forced = on, true
	}
	if w := s.client.quirkWidth(p); w != 0 {
		t.width, t.forcedWidth = w, true
	}
	t.rib = s.newRIB(p, t)
	v.tables = append(v.tables, t)
	return t
}

func (s *Session) newRIB(p *peer, t *table) *rib.Table {
	return s.env.Store.NewTable(rib.Owner{Client: s.client.id, Peer: p.id, View: uint8(t.view), Family: t.family}, t.addPath)
}

// endOfRIB records the marker: the routes of an earlier session that were not announced again are gone.
func (s *Session) endOfRIB(p *peer, v *view, f bgp.Family) {
	t := s.table(p, v, f)
	s.changed.eor = true
	t.eor = s.now
	if t.rib.StaleLen() > 0 || t.staleLen > 0 || s.dirty {
		s.flush()
		t.rib.SweepStale(s.time)
		t.staleLen = 0
	}
}

// followRoutes has the route changes of the batches to come published, or not.
func (s *Session) followRoutes(on bool) {
	switch {
	case !on:
		s.writer.Hook = nil
	case s.writer.Hook == nil:
		s.writer.Hook = s.tellRoute
	}
}

func (s *Session) tellRoute(ch rib.Change) {
	o := ch.Table.Owner()
	p := s.client.byID[o.Peer]
	if p == nil {
		return
	}
	s.client.publish(event.Event{
		Time: s.time, Kind: event.Route, Peer: o.Peer, Live: true,
		Data: &RouteChange{
			Peer: o.Peer, PeerName: p.label.Name(), View: bmp.View(o.View), Family: o.Family, Outcome: ch.Outcome,
			Withdraw: ch.Record == nil, Key: bytes.Clone(ch.Key), PathID: ch.PathID, AddPath: ch.Table.AddPath(),
			Record: bytes.Clone(ch.Record),
		},
	})
}
