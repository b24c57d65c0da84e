package archive

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type eventMessage struct {
	kind string
	at   time.Time
	json []byte
}

// Event is an event as it was stored.
type Event struct {
	Kind string
	Time time.Time
	JSON []byte
}

const hdrEventTime = "Bmp-Time"

// PublishEvent stores an event, json being kept, not copied. It never waits: one that there is no room for is counted
// as lost and false is returned. It must not be called after Close.
func (a *Archive) PublishEvent(kind string, at time.Time, json []byte) bool {
	select {
	case a.events <- eventMessage{kind, at, json}:
		return true
	default:
		a.eventsLost.Add(1)
		return false
	}
}

func (a *Archive) eventWriter() {
	n := uint64(0)
	for e := range a.events {
		n++
		m := &nats.Msg{
			Subject: a.store.subject("event", token(e.kind)), Data: e.json,
			Header: nats.Header{hdrVersion: {formatVersion}, hdrEventTime: {numbers(e.at.UnixNano())}},
		}
		if _, err := a.store1(m, numbers(a.run, int64(n))); err != nil {
			a.eventsLost.Add(1)
		}
	}
}

// Events calls f with the events of the kinds (none: of all) from a time to a time, in the order in which they happened.
// A zero time is no bound.
func (a *Archive) Events(ctx context.Context, kinds []string, from, to time.Time, f func(Event) error) error {
	subjects := []string{a.store.subject("event", "*")}
	if len(kinds) > 0 {
		subjects = subjects[:0]
		for _, k := range kinds {
			subjects = append(subjects, a.store.subject("event", token(k)))
		}
	}
	return a.walk(ctx, eventStream, subjects, walkFrom{time: from}, false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		var at int64
		if parseNumbers(m.Headers().Get(hdrEventTime), &at) != nil {
			return nil
		}
		e := Event{Kind: untoken(m.Subject()), Time: time.Unix(0, at), JSON: m.Data()}
		if !to.IsZero() && e.Time.After(to) || !from.IsZero() && e.Time.Before(from) {
			return nil
		}
		return f(e)
	})
}
