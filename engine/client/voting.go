package client

import (
	"context"
	"fmt"
	"math"
	"time"

	"bmp/engine/archive"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Whether an NLRI carries a path identifier, and whether AS numbers have 2 or 4 octets, is said by what was negotiated.
// Routers get it wrong: FRR 8.4 negotiates ADD-PATH and sends no path IDs in Route Monitoring, and sends the AS paths of
// a 2-octet peer in 2 octets without the A flag; GoBGP 3.10 sends path IDs in pre-policy messages and none in
// post-policy ones of the same peer.
//
// Most fields can be read both ways and then prove nothing. One that can be read one way alone is read that way, for
// itself, and votes for it; three votes for the other way, with none for the present one between them, switch the
// peer, view and family. The table is then emptied, because ambiguous messages before were read the wrong way, and
// rebuilt from the messages kept, in memory or in the archive.
const votesToSwitch = 3

// judgeAddPath decides about a field that does not read as its table is, or of a table on which there is doubt. It
// returns the form to read it in, and the result of CheckNLRI in that form.
func (s *Session) judgeAddPath(p *peer, v *view, t *table, sec *bgp.Section, c coding, addPath bool, n int, err error) (bool, int, error) {
	if c.rebuild != nil {
		// Judged when it came; here it is read in the form of the table if it can be.
		if err != nil {
			if n2, err2 := bgp.CheckNLRI(sec.Family, !addPath, sec.Withdraw, sec.Field); err2 == nil {
				return !addPath, n2, nil
			}
		}
		return addPath, n, err
	}
	n2, err2 := bgp.CheckNLRI(sec.Family, !addPath, sec.Withdraw, sec.Field)
	switch {
	case err == nil && err2 == nil:
		if t.switched {
			s.noteHere(AmbiguousCoding, p, tableSub(t), func() string {
				return fmt.Sprintf("%s %s reads with and without path IDs", t.view, t.family)
			})
		}
		return addPath, n, nil
	case err == nil:
		t.votes = 0
		return addPath, n, nil
	case err2 != nil:
		return addPath, n, err
	}
	// One way alone, and not the one that is thought to be right.
	s.noteHere(AddPathNotNegotiated, p, tableSub(t), func() string {
		negotiated, found := "negotiated", "missing"
		if !t.said {
			negotiated = "not negotiated"
		}
		if !addPath {
			found = "there"
		}
		return fmt.Sprintf("%s %s: ADD-PATH %s, path IDs %s", t.view, t.family, negotiated, found)
	})
	t.votes++
	if t.votes >= votesToSwitch {
		s.switchAddPath(p, v, t, !addPath)
	}
	s.mark.addPath = with(s.mark.addPath, t.family, !addPath)
	return !addPath, n2, nil
}

func with(set bgp.AddPathSet, f bgp.Family, on bool) bgp.AddPathSet {
	if on {
		return set.With(f)
	}
	return set.Without(f)
}

// switchAddPath changes the form of a table, empties it and rebuilds it. The message being applied is not part of that.
func (s *Session) switchAddPath(p *peer, v *view, t *table, on bool) {
	s.setAddPath(p, v, t, on)
	t.switched = t.addPath != t.said
	s.rebuild(p, v, t)
}

// setAddPath gives the table a new, empty rib table if its form changes.
func (s *Session) setAddPath(p *peer, v *view, t *table, on bool) {
	t.votes = 0
	v.addPath = with(v.addPath, t.family, on)
	if t.addPath == on {
		return
	}
	s.flush()
	s.archiveStale(p, t)
	t.addPath = on
	t.rib.Drop()
	t.rib = s.newRIB(p, t)
}

// adopt takes over what stateless parsing says. A table that has held path IDs goes on doing so; routes without one have
// path ID 0 in it. So a router cannot have tables rebuilt again and again.
func (s *Session) adopt(p *peer, v *view, t *table, addPath bool) {
	if addPath && !t.addPath && !t.forced {
		s.switchAddPath(p, v, t, true)
		t.switched = false
	}
}

// chooseWidth has the UPDATE read with the AS width that its table has, and votes.
func (s *Session) chooseWidth(p *peer, v *view, t *table, u *bgp.Update, ctx *bgp.Context, c coding) {
	want := c.said
	t.widthSaid = c.said
	if !c.stateless && t.width != 0 {
		want = t.width
	}
	v.width = 0
	if want != c.said {
		v.width = want
	}
	read := func(w uint8) {
		if ctx.AS4 != (w == 4) {
			ctx.AS4 = w == 4
			u.Parse(u.PDU, *ctx)
			s.sections = u.Sections(s.sections[:0])
		}
	}
	read(want)
	wrong := u.Malformed != nil && (u.Malformed.Attr == bgp.AttrASPath || u.Malformed.Attr == bgp.AttrAggregator)
	if c.stateless || !wrong && t.widthVotes == 0 && t.width == 0 {
		return
	}
	if t.forcedWidth {
		return
	}
	two, four := u.ASPathWidths()
	other := 6 - want
	fits, otherFits := four, two
	if want == 2 {
		fits, otherFits = two, four
	}
	switch {
	case fits && otherFits:
		if t.width != 0 && c.rebuild == nil && len(u.Attrs) > 0 && !emptyPath(u) {
			s.noteHere(AmbiguousCoding, p, tableSub(t)|1<<31, func() string {
				return fmt.Sprintf("%s %s: AS numbers read as 2 and as 4 octets", t.view, t.family)
			})
		}
	case fits:
		t.widthVotes = 0
	case otherFits:
		read(other)
		if c.rebuild != nil {
			return
		}
		// In BMP before version 3 there is no A flag: that only 2 octets parse is how one knows.
		if s.frame.Version >= 3 {
			s.noteHere(ASWidthNotNegotiated, p, tableSub(t), func() string {
				return fmt.Sprintf("%s %s: the header says %d octets, they are %d", t.view, t.family, c.said, other)
			})
		}
		t.widthVotes++
		if t.widthVotes >= votesToSwitch {
			t.widthVotes = 0
			t.width = other
			if other == c.said {
				t.width = 0
			}
			t.switched = t.width != 0 || t.addPath != t.said
			s.clearTable(p, t)
			s.rebuild(p, v, t)
			v.width = t.width
		}
	}
}

// emptyPath says that there is no AS number in the UPDATE that could be read in two ways.
func emptyPath(u *bgp.Update) bool {
	rec := u.AppendRecord(nil, bgp.IPv4Unicast, nil)
	path, ok := bgp.FindAttr(rec, bgp.AttrASPath)
	return !ok || len(path) == 0
}

func (s *Session) clearTable(p *peer, t *table) {
	s.flush()
	s.archiveStale(p, t)
	t.rib.Clear(s.time)
}

// rebuild applies the kept messages of a table that was emptied once more. If they do not reach back to the Peer Up,
// the table is marked incomplete.
func (s *Session) rebuild(p *peer, v *view, t *table) {
	s.flush()
	sections, update, frame, mark, changed := s.sections, s.update, s.frame, s.mark, s.changed
	now, stamp := s.now, s.time
	s.sections = make([]bgp.Section, 0, 4)
	defer func() {
		s.flush()
		s.sections, s.update, s.frame, s.mark, s.changed = sections, update, frame, mark, changed
		s.now, s.time = now, stamp
	}()
	after := int64(-1) // offset of the message that the table begins after
	if p.upSession == s.number {
		after = p.upOffset
	}
	if p.emptiedIn == s.number {
		after = max(after, p.emptied) // by a Peer Down: what was before is gone
	}
	spans := s.client.ring.pin()
	defer s.client.ring.release(spans)
	var before *archive.Place // the oldest in the ring; nil: it is empty
	t.incomplete = frame.Offset > 0
	if len(spans) > 0 && spans[0].count > 0 {
		e, _ := decodeEntry(spans[0].buf)
		before = &archive.Place{Session: s.client.sessionOf(e.session), Offset: e.offset, Time: time.Unix(0, e.time)}
		t.incomplete = before.Session == s.number && e.offset > max(after, 0)
	}
	var parser bmp.Parser
	again := func(raw []byte, offset int64, profile bmp.Profile, at int64) {
		f, err := bmp.FrameOf(raw, offset)
		if err != nil {
			return
		}
		parser.Profile = profile
		m, err := parser.Parse(f)
		if err != nil {
			return
		}
		rm := m.(*bmp.RouteMonitoring)
		s.frame = f
		s.now, s.time = at, time.Unix(0, at)
		s.applyUpdate(p, v, rm.Update, s.codingOf(rm, t))
	}
	if t.incomplete && s.archive != nil {
		var list []archive.Message
		list, t.incomplete = s.archived(p, t.view, after, before)
		for _, m := range list {
			again(m.Raw, m.Offset, m.Profile, m.Time.UnixNano())
		}
	}
	for _, span := range spans {
		b := span.buf
		for range span.count {
			var e entry
			e, b = decodeEntry(b)
			if e.peer != p.id || e.typ != bmp.RouteMonitoringType || e.view != t.view || e.session != uint16(s.number) ||
				e.offset <= after {
				continue
			}
			again(e.raw, e.offset, e.profile, e.time)
		}
	}
}

// Bounds of what is read from the archive to rebuild tables. The session waits for it, and who asks about its client.
const (
	rebuildBytes = ringBytes       // of messages, for one table: as far back as is kept in memory where there is no archive
	rebuildWait  = 2 * time.Second // for one table, and for many that are rebuilt at a time
	rebuildShare = 20              // in the long run, one part of so many of the time
)

// archived are the Route Monitoring messages of a table that came after an offset of the session's stream and before what the ring
// has; incomplete says that there may be more.
func (s *Session) archived(p *peer, view bmp.View, after int64, before *archive.Place) (list []archive.Message, incomplete bool) {
	if s.env.Archive.Load().Trouble {
		return nil, true
	}
	began := time.Now()
	s.reread = max(0, s.reread-began.Sub(s.rereadAt)/rebuildShare)
	s.rereadAt = began
	ctx, cancel := context.WithTimeout(context.Background(), rebuildWait-s.reread)
	defer cancel()
	key := p.key.archived()
	q := archive.Query{Peer: &key, Markers: true}
	w := archive.Window{
		Last: math.MaxInt, Bytes: rebuildBytes,
		Before: before, After: &archive.Place{Session: s.number, Offset: after},
		Match: func(m *archive.Message) bool {
			_, v, ok := m.Peer()
			return ok && v == view && m.Type == bmp.RouteMonitoringType
		},
	}
	type answer struct {
		list []archive.Message
		tail archive.Tail
		err  error
	}
	answered := make(chan answer, 1)
	// A cluster that goes away just now may keep it for longer than the session can wait.
	go func() {
		list, tail, err := s.env.Archive.Newest(ctx, s.client.id, q, w)
		answered <- answer{list, tail, err}
	}()
	var x answer
	select {
	case x = <-answered:
	case <-ctx.Done():
		x.err = ctx.Err()
	}
	s.reread += time.Since(began)
	return x.list, x.err != nil || !x.tail.Whole || x.tail.Gone || len(x.tail.Gaps) > 0 || len(x.tail.Corrupt) > 0
}

// recode works out anew, after a Peer Up or when a quirk was set, how the peer's tables are coded. A form that votes
// settled on stays as long as what is negotiated stays.
func (s *Session) recode(p *peer) {
	for _, v := range p.views {
		if v != nil {
			s.recodeView(p, v)
		}
	}
}

func (s *Session) recodeView(p *peer, v *view) {
	c := s.client
	said := p.negotiatedFor(v.v)
	v.addPath, v.width = said, 0
	for _, q := range c.quirks {
		if on, ok := c.quirkAddPath(p, q.Family); ok {
			v.addPath = with(v.addPath, q.Family, on)
		}
	}
	width := c.quirkWidth(p)
	for _, t := range v.tables {
		was, now := t.said, said.Has(t.family)
		on, forced := c.quirkAddPath(p, t.family)
		if !forced {
			on = now
			if was == now && !t.forced {
				on = t.addPath // as votes have it, if there were any
			}
		}
		redo := on != t.addPath
		t.said, t.forced = now, forced
		s.setAddPath(p, v, t, on)
		if width != 0 || t.forcedWidth {
			redo = redo || t.width != width
			t.width, t.forcedWidth = width, width != 0
		}
		t.switched = !t.forced && t.addPath != t.said || !t.forcedWidth && t.width != 0
		if redo {
			s.clearTable(p, t)
			s.rebuild(p, v, t)
		}
	}
}
