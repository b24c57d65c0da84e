package client

import (
	"fmt"
	"math"
	"time"

	"bmp/engine/event"
)

// never is a time that does not come.
const never = math.MaxInt64

// due is when the session has something to do by itself; on the session's own clock (Session.clock), never for nothing. The read
// deadline is set to the earliest, at.
type due struct {
	at      int64
	silence int64 // look whether nothing came
	settle  int64 // drop peers not announced again
	stale   int64 // look at stale routes
	eor     int64 // look for missing End-of-RIB
	bulk    int64 // sum up peer changes
	bad     int64 // sum up malformed messages
}

func (s *Session) startTimers() {
	c := s.client
	s.due = due{silence: s.clock + int64(c.timing.Silent), settle: never, stale: never, eor: never, bulk: never, bad: never}
	if len(c.byID) > 0 {
		s.due.settle = s.clock + int64(c.timing.Settle)
		s.due.stale = s.clock + c.timing.staleLook()
		c.eachTable(func(_ *peer, t *table) {
			if t.staleLen, t.staleSince = t.rib.StaleLen(), s.clock; t.staleLen == 0 {
				return
			}
			if t.staleBase.IsZero() {
				t.staleBase = s.time
			}
			// A router that comes and goes all the time does not keep them for ever.
			s.due.stale = min(s.due.stale, s.clock+int64(c.timing.StaleMost-s.time.Sub(t.staleBase)))
		})
	}
	s.setDue()
}

func (s *Session) setDue() {
	d := &s.due
	d.at = min(d.silence, d.settle, d.stale, d.eor, d.bulk, d.bad)
}

// runTimers does what is due. Nothing is staged that it could miss: it flushes first.
func (s *Session) runTimers() {
	s.flush()
	d := &s.due
	if s.clock >= d.silence {
		s.checkSilence()
	}
	if s.clock >= d.settle {
		d.settle = never
		s.dropUnconfirmed()
	}
	if s.clock >= d.stale {
		s.checkStale()
	}
	if s.clock >= d.eor {
		s.checkEndOfRIB()
	}
	if s.clock >= d.bulk {
		s.flushBulk()
	}
	if s.clock >= d.bad {
		s.flushBadLines()
	}
	s.setDue()
}

// checkSilence reports a silence once; the next message ends it.
func (s *Session) checkSilence() {
	c := s.client
	over := s.heard + int64(c.timing.Silent)
	if s.clock < over {
		s.silent = false
		s.due.silence = over
		return
	}
	if !s.silent {
		s.silent = true
		c.publish(event.Event{
			Time: s.time, Kind: event.Silent, Text: "nothing for " + shortDuration(c.timing.Silent), Console: true, Live: true,
		})
	}
	s.due.silence = s.clock + int64(c.timing.Silent)
}

// shortDuration writes a duration without the units that are zero: 10m, 1h30m.
func shortDuration(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// dropUnconfirmed drops the peers of earlier sessions that this one has not announced.
func (s *Session) dropUnconfirmed() {
	c := s.client
	peers, routes := 0, 0
	for _, p := range c.byID {
		if p.session == s.number {
			continue
		}
		s.archiveStaleOf(p)
		routes += c.dropPeer(p)
		peers++
	}
	clear(s.recent[:])
	if peers > 0 {
		c.publish(event.Event{
			Time: s.time, Kind: event.PeerChange, Console: true, Live: true,
			Text: fmt.Sprintf("%d peers not announced again, dropped with %d routes", peers, routes),
		})
	}
}

// checkStale drops the stale routes of tables of which none was renewed for the grace time, and those that are stale for as long as
// any may be.
func (s *Session) checkStale() {
	c := s.client
	left := false
	c.eachTable(func(p *peer, t *table) {
		n := t.rib.StaleLen()
		if n == 0 {
			t.staleLen = 0
			return
		}
		if n != t.staleLen {
			t.staleLen, t.staleSince = n, s.clock
		}
		if s.time.Sub(t.staleBase) >= c.timing.StaleMost || s.clock-t.staleSince >= int64(c.timing.DumpGrace) {
			s.archiveStale(p, t)
			t.rib.SweepStale(s.time)
			t.staleLen = 0
			return
		}
		left = true
	})
	s.due.stale = never
	if left {
		s.due.stale = s.clock + c.timing.staleLook()
	}
}

// staleLook is how often a session looks for stale routes that are over their time.
func (t Timing) staleLook() int64 { return int64(min(t.DumpGrace, t.StaleMost)) / 20 }

// checkEndOfRIB reports peers that are up for long and have a table without End-of-RIB.
func (s *Session) checkEndOfRIB() {
	c := s.client
	wait := int64(c.timing.EndOfRIB)
	next := int64(never)
	for _, p := range c.byID {
		if p.state != PeerUp || p.upSession != s.number || p.eorMissed {
			continue
		}
		if s.clock < p.upClock+wait {
			next = min(next, p.upClock+wait)
			continue
		}
		p.eorMissed = true
		for _, v := range p.views {
			if v == nil {
				continue
			}
			for _, t := range v.tables {
				if t.eor != 0 || t.update == 0 {
					continue
				}
				s.note(NoEndOfRIB, p, tableSub(t), p.upOffset, nil, func() string {
					return fmt.Sprintf("%s %s: none %s after Peer Up", t.view, t.family, shortDuration(c.timing.EndOfRIB))
				})
			}
		}
	}
	s.due.eor = next
}

// tableSub tells findings about the tables of one peer apart.
func tableSub(t *table) uint32 {
	return uint32(t.view)<<24 | uint32(t.family.AFI)<<8 | uint32(t.family.SAFI)
}
