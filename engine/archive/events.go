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
// how many are damaged on the disk among those that were stored between the first and the last of all kinds that it came upon.
func (a *Archive) Events(ctx context.Context, kinds []string, from, to time.Time, f func(Event) error) (damaged int, err error) {
	wanted := make(map[string]bool)
	for _, k := range kinds {
		wanted[a.store.subject("event", token(k))] = true
	}
	h := eventHoles{lookup: lookup{st: a.stream(eventStream)}}
	last, within := uint64(0), false // the last one, and that it happened in the time
	short, err := a.walk(ctx, eventStream, []string{a.store.subject("event", "*")}, walkFrom{time: from}, false, func(x *storedMessage) error {
		e, ok := eventOf(x)
		if !ok {
			return nil
		}
		before := within
		within = (to.IsZero() || !e.Time.After(to)) && (from.IsZero() || !e.Time.Before(from))
		if last != 0 && (before || within) {
			if err := h.look(ctx, last, x.seq); err != nil {
				return err
			}
		}
		last = x.seq
		if !within || len(wanted) > 0 && !wanted[x.subject] {
			return nil
		}
		return f(e)
	})
	if err == nil && short && (within || last == 0) {
		err = h.look(ctx, last, 1<<64-1)
	}
	return h.damaged, err
}

// eventOf is an event as it was stored; not ok where a message is none.
func eventOf(x *storedMessage) (e Event, ok bool) {
	var at int64
	if parseNumbers(x.header.Get(hdrEventTime), &at) != nil {
		return e, false
	}
	return Event{Kind: untoken(x.subject), Time: time.Unix(0, at), JSON: x.data}, true
}

// eventHoles counts damaged events.
type eventHoles struct {
	lookup
	damaged int
}

// look counts those between two that followed each other in a walk.
func (h *eventHoles) look(ctx context.Context, after, before uint64) error {
	seqs, err := h.between(ctx, after, before)
	h.damaged += len(seqs)
	return err
}

// How many events NewestEvents reads in one go, at first and at most.
const (
	firstEvents = 256
	mostEvents  = 16 << 10
)

// NewestEvents calls f with what is stored of the events, a piece at a time and the newest piece first, until f wants no more or
// nothing older is kept; gone is that older ones were once. The events of a piece are in the order in which they were stored, which is
// not always that in which they happened; what is older than the piece was stored before the time that f gets. How many are damaged on
// the disk among those that were read it returns as well.
func (a *Archive) NewestEvents(ctx context.Context, f func(piece []Event, stored time.Time) (more bool)) (gone bool, damaged int, err error) {
	st := a.stream(eventStream)
	i, err := st.Info(ctx)
	if err != nil {
		return false, 0, wrapIn(ctx, err)
	}
	h := eventHoles{lookup: lookup{st: st}}
	first, end := max(i.State.FirstSeq, 1), i.State.LastSeq+1
	for size := uint64(firstEvents); first < end; size = min(4*size, mostEvents) {
		from := max(first, end-min(size, end))
		var piece []Event
		var stored time.Time
		last := from - 1
		_, err := a.walk(ctx, eventStream, []string{a.store.subject("event", "*")}, walkFrom{seq: from}, false, func(x *storedMessage) error {
			if x.seq >= end {
				return ErrStop
			}
			if err := h.look(ctx, last, x.seq); err != nil {
				return err
			}
			if last = x.seq; stored.IsZero() {
				stored = x.at
			}
			if e, ok := eventOf(x); ok {
				piece = append(piece, e)
			}
			if x.seq == end-1 {
				return ErrStop
			}
			return nil
		})
		if err == nil {
			err = h.look(ctx, last, end)
		}
		if err != nil {
			return false, h.damaged, err
		}
		if end = from; !f(piece, stored) {
			return false, h.damaged, nil
		}
	}
	return first > 1, h.damaged, nil
}
