package command

import (
	"time"

	"bmp/proto/control"
	"bmp/proto/grammar"
)

// period is the time that a question is about.
type period struct {
	word     string // "at", "history" (also for since and from), "diff"; empty: now
	from, to time.Time
}

// times reads at T, since T, from T to T, history and diff T [T]; of these a question has one, but history, which the
// bounds of a time may limit.
func (c *call) times() (p period, err error) {
	var list []grammar.Arg
	for _, a := range c.m.Args {
		if a.Kind == "T" {
			list = append(list, a)
		}
	}
	first := "" // the word that was there first
	if c.m.Has("history") {
		p.word, p.to = "history", c.Now
	}
	for i, a := range list {
		t, _ := a.Value.(time.Time)
		switch a.After {
		case "at", "since", "from", "diff":
			if first != "" || p.word == "history" && (a.After == "at" || a.After == "diff") {
				return p, c.invalidArg(a, "one time: at T, since T, from T to T, history or diff T [T]")
			}
			first = a.After
		}
		switch a.After {
		case "at":
			t = c.through(t)
			p.word, p.from, p.to = "at", t, t
		case "since":
			p.word, p.from, p.to = "history", t, c.Now
		case "from":
			p.word, p.from = "history", t
		case "diff":
			p.word, p.from, p.to = "diff", c.through(t), c.Now
		default: // the second of two
			if p.to = c.through(t); p.to.Before(p.from) {
				return p, c.invalidArg(a, "a time that is not before the other ("+c.moment(list[i-1].Value.(time.Time))+")")
			}
		}
	}
	return p, nil
}

// through is the end of the millisecond that a time names which was given to the millisecond: times are shown so, and who
// asks about the time of a change that was shown means what was true with it. The change came some microseconds later.
func (c *call) through(t time.Time) time.Time {
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		return t
	}
	if end := t.Add(time.Millisecond - 1); end.Before(c.Now) {
		return end
	}
	return c.Now
}

// moment is a time in full, in the zone of who asks, as it is printed back.
func (c *call) moment(t time.Time) string {
	layout := "2006-01-02 15:04:05.000 MST"
	if t.Nanosecond() == 0 {
		layout = "2006-01-02 15:04:05 MST"
	}
	return t.In(c.Zone).Format(layout)
}

// String is the time in words: at 2026-11-23 10:05:00 UTC.
func (c *call) periodText(p period) string {
	switch {
	case p.word == "at":
		return "at " + c.moment(p.to)
	case p.from.IsZero():
		return "up to " + c.moment(p.to)
	}
	return "from " + c.moment(p.from) + " to " + c.moment(p.to)
}

// progress tells, from the first second on and then once a second, how far a search has come.
func (c *call) progress() func(text string) {
	next := time.Now().Add(time.Second)
	return func(text string) {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(time.Second)
			c.out.Progress(text)
		}
	}
}

// errNoArchive is for questions about the past that the live tables cannot answer.
var errNoArchive = control.Errorf(control.CodeFailed, "This station keeps no archive")
