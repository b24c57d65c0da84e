package client

import (
	"bytes"
	"fmt"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// maxStats bounds the statistics kept of a peer; a router has about forty, per family some more.
const maxStats = 512

// maxStatBytes is how much of a statistic's value is kept: a counter or gauge has at most 11 bytes.
const maxStatBytes = 64

// settled is how long a peer's routes must have been quiet for the router's count of them to be compared with ours.
const settled = 2 * time.Second

func (s *Session) statistics(m *bmp.StatisticsReport, p *peer) {
	h := &m.PeerHeader
	s.checkTime(p, h)
	s.announcedCheck(p)
	s.checkIdentity(p, h)
	p.statsAt = s.now
	view := h.View()
	for i := range m.Stats {
		x := &m.Stats[i]
		var f bgp.Family
		if afi, safi, ok := x.Family(); ok {
			f = bgp.Family{AFI: afi, SAFI: safi}
		}
		p.keepStat(x, view, f, s.now)
		s.compareCount(p, x, view, f)
	}
}

func (p *peer) keepStat(x *bmp.Stat, v bmp.View, f bgp.Family, now int64) {
	raw := x.Raw[:min(len(x.Raw), maxStatBytes)]
	for i := range p.stats {
		y := &p.stats[i]
		if y.typ == x.Type && y.view == v && y.family == f && y.ent == x.Enterprise && y.pen == x.PEN {
			y.raw, y.time = append(y.raw[:0], raw...), now
			return
		}
	}
	if len(p.stats) < maxStats {
		p.stats = append(p.stats, stat{
			typ: x.Type, ent: x.Enterprise, pen: x.PEN, view: v, family: f, time: now, raw: bytes.Clone(raw),
		})
	}
}

// countOf says which routes a gauge counts: 7 to 10 of RFC 7854, 14 to 17 of RFC 8671, 18 to 21 of RFC 9972.
func countOf(typ uint16) (views []bmp.View, family, ok bool) {
	switch typ {
	case 7, 9:
		return adjIn, typ == 9, true
	case 8, 10:
		return locRIB, typ == 10, true
	case 14, 16:
		return adjOutPre, typ == 16, true
	case 15, 17:
		return adjOutPost, typ == 17, true
	case 18, 19:
		return adjIn[:1], typ == 19, true
	case 20, 21:
		return adjIn[1:], typ == 21, true
	}
	return nil, false, false
}

var (
	adjIn      = []bmp.View{bmp.AdjInPre, bmp.AdjInPost}
	adjOutPre  = []bmp.View{bmp.AdjOutPre}
	adjOutPost = []bmp.View{bmp.AdjOutPost}
	locRIB     = []bmp.View{bmp.LocRIB}
)

// compareCount compares what the router counts with what is held. A view that the router does not send is not compared,
// nor one that has changed just now: the two were then not counted at one moment. Adj-RIB-In of statistics 7 and 9 may
// mean either side of the policy: it is enough if one agrees.
func (s *Session) compareCount(p *peer, x *bmp.Stat, _ bmp.View, f bgp.Family) {
	views, perFamily, ok := countOf(x.Type)
	said, known := x.Value()
	if x.Enterprise || !ok || !known || p.state != PeerUp {
		return
	}
	s.flush()
	var held []string
	for _, v := range views {
		if p.views[v] == nil {
			continue
		}
		n, any := 0, false
		for _, t := range p.views[v].tables {
			if perFamily && t.family != f {
				continue
			}
			if t.update == 0 {
				continue
			}
			if s.now-t.update < int64(settled) || t.incomplete || t.rib.StaleLen() > 0 {
				return
			}
			n += t.rib.Len()
			any = true
		}
		if !any {
			continue
		}
		if uint64(n) == said {
			return
		}
		held = append(held, fmt.Sprintf("%d held in %s", n, v))
	}
	if len(held) == 0 {
		return
	}
	s.noteHere(CountDiffers, p, uint32(x.Type)<<16|tableSub(&table{family: f})&0xffff, func() string {
		text := fmt.Sprintf("statistic %d says %d", x.Type, said)
		if perFamily {
			text += " " + f.String()
		}
		for _, h := range held {
			text += ", " + h
		}
		return text
	})
}
