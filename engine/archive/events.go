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

// eventsAtOnce is how many events are sent before the first is waited for.
const eventsAtOnce = 256

// eventWriter stores events until there will be none. Those that have gathered are sent together: to wait for each costs
// more than to store it.
func (a *Archive) eventWriter() {
	var batch []pendingEvent
	n := int64(0)
	take := func(e eventMessage) {
		n++
		batch = append(batch, pendingEvent{id: numbers(a.run, n), msg: &nats.Msg{
			Subject: a.store.subject("event", token(e.kind)), Data: e.json,
			Header: nats.Header{hdrVersion: {formatVersion}, hdrEventTime: {numbers(e.at.UnixNano())}},
		}})
	}
	for e := range a.events {
		take(e)
		for more := true; more && len(batch) < eventsAtOnce; {
			select {
			case e, more = <-a.events:
				if more {
					take(e)
				}
			default:
				more = false
			}
		}
		a.storeEvents(batch)
		clear(batch)
		batch = batch[:0]
	}
}

type pendingEvent struct {
	msg *nats.Msg
	id  string
	ack jetstream.PubAckFuture // nil: it was not sent
}

// storeEvents stores events, in their order but for those that are not stored at once: these are tried again, one after the
// other, and then lie behind what was sent with them.
func (a *Archive) storeEvents(batch []pendingEvent) {
	if len(batch) > 1 && !a.troubled.Load() {
		a.storeMu.RLock()
		for i := range batch {
			if batch[i].ack = a.send(&batch[i]); batch[i].ack == nil {
				break
			}
		}
		a.storeMu.RUnlock()
	}
	for _, e := range batch {
		if e.ack != nil {
			select {
			case <-e.ack.Ok():
				continue
			case <-e.ack.Err():
			case <-a.stop:
			}
		}
		if _, err := a.store1(e.msg, e.id); err != nil {
			a.eventsLost.Add(1)
		}
	}
}

// send sends an event without waiting for it to be stored; nil where that cannot be done now. It is called with the store
// held.
func (a *Archive) send(e *pendingEvent) jetstream.PubAckFuture {
	if a.o.publish != nil && a.o.publish(len(e.msg.Data)) != nil || a.store.free() != nil || a.store.nc == nil {
		return nil
	}
	ack, err := a.store.js.PublishMsgAsync(e.msg, jetstream.WithMsgID(e.id), jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil
	}
	return ack
}

// Events calls f with the events of the kinds (none: of all) from a time to a time, in the order in which they were
// stored: that in which they happened, but for those that could not be stored at once. A zero time is no bound. It returns
// how many are damaged and were left out.
func (a *Archive) Events(ctx context.Context, kinds []string, from, to time.Time, f func(Event) error) (damaged uint64, err error) {
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
