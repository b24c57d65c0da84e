package client

import (
	"fmt"
	"slices"
	"time"

	"bmp/engine/event"
)

// Up to so many peer changes or malformed messages that come together are lines of their own; more are summed up.
const bulkLines = 8

// bulkMost bounds how long peer changes wait for their sum.
const bulkMost = 5 * time.Second

// bulk is the peer changes that are not on the console yet. Followers of the client were told at once.
type bulk struct {
	first, last int64     // on the session's clock
	at          time.Time // of the last
	ups, downs  int
	downFirst   bool          // what began it
	kept        []event.Event // the first bulkLines of them
}

// peerChanged tells that a peer changed its state.
func (s *Session) peerChanged(p *peer, state, reason string) {
	text := fmt.Sprintf("Peer %s AS%d %s", p.label.Name(), p.as, state)
	if p.locRIB() {
		text = fmt.Sprintf("Peer %s %s", p.label.Name(), state)
	}
	if reason != "" {
		text += " (" + reason + ")"
	}
	e := event.Event{Time: s.time, Kind: event.PeerChange, Peer: p.id, Text: text, Live: true}
	s.client.publish(e)
	b := &s.bulk
	if b.ups+b.downs == 0 {
		b.first, b.downFirst = s.clock, state != "UP"
	}
	b.last, b.at = s.clock, s.time
	if state == "UP" {
		b.ups++
	} else {
		b.downs++
	}
	if len(b.kept) < bulkLines {
		e.Live, e.Console = false, true
		b.kept = append(b.kept, e)
	}
	s.due.bulk = min(s.clock+int64(s.client.timing.Bulk), b.first+int64(bulkMost))
	s.setDue()
}

// flushBulk writes the lines, or their sums.
func (s *Session) flushBulk() {
	b := &s.bulk
	s.due.bulk = never
	if b.ups+b.downs == 0 {
		return
	}
	if b.ups+b.downs <= bulkLines {
		for _, e := range b.kept {
			s.client.publish(e)
		}
	} else {
		took := time.Duration(b.last - b.first).Seconds()
		type sum struct {
			n     int
			state string
		}
		sums := []sum{{b.ups, "UP"}, {b.downs, "DOWN"}}
		if b.downFirst {
			slices.Reverse(sums)
		}
		for _, sum := range sums {
			if sum.n > 0 {
				s.client.publish(event.Event{
					Time: b.at, Kind: event.PeerChange, Console: true,
					Text: fmt.Sprintf("%d peers %s in %.1fs", sum.n, sum.state, took),
				})
			}
		}
	}
	*b = bulk{}
}

// badLines is the malformed messages of the second that began at first.
type badLines struct {
	first int64
	n     int // lines written
	more  int // that were only counted
}

// badLine writes the line of a malformed message, or counts it for a sum if there were many within a second.
func (s *Session) badLine(p *peer, text string) {
	b := &s.badLines
	if s.due.bad == never {
		b.first = s.clock
		s.due.bad = s.clock + int64(time.Second)
		s.setDue()
	}
	e := event.Event{Time: s.time, Kind: event.Malformed, Live: true, Console: b.n < bulkLines}
	if p != nil {
		e.Peer = p.id
		e.Text = "Peer " + p.label.Name() + " "
	}
	e.Text += fmt.Sprintf("%s (kept, %d so far)", text, s.client.malformed.total)
	s.client.publish(e)
	if e.Console {
		b.n++
	} else {
		b.more++
	}
}

func (s *Session) flushBadLines() {
	b := &s.badLines
	s.due.bad = never
	if b.more > 0 {
		s.client.publish(event.Event{
			Time: s.time, Kind: event.Malformed, Console: true,
			Text: fmt.Sprintf("%d more malformed messages within %.1fs (newest kept, %d so far)", b.more,
				time.Duration(s.clock-b.first).Seconds(), s.client.malformed.total),
		})
	}
	*b = badLines{}
}
