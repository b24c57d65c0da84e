package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Subscriptions a connection may have at once.
const (
	maxFollowView  = 4
	maxFollowAdmin = 64
)

// Subscription is something a connection follows.
type Subscription struct {
	ID            int
	What          string // "client 1 peer 10.0.0.2"
	Tag           any    // the handler's, to find it again
	Since         time.Time
	Sent, Dropped uint64
}

// follower is a Subscription at work.
type follower struct {
	Subscription
	emit   *Emit
	run    func(ctx context.Context, e *Emit)
	cancel context.CancelFunc
	done   chan struct{} // nil until started
}

// Emit sends the events of one subscription. It never blocks; what does not fit is dropped and counted (602). Any goroutine may
// use it.
type Emit struct {
	conn          *Conn
	id            int
	sent, dropped atomic.Uint64
}

// send queues an event, with the ID of its subscription where the console asked for that.
func (e *Emit) send(code int, text string) bool {
	if e.conn.eventIDs.Load() {
		text = fmt.Sprintf("id=%d %s", e.id, text)
	}
	return e.conn.out.event(code, text, false)
}

func (e *Emit) count(sent bool) {
	if sent {
		e.sent.Add(1)
	} else {
		e.dropped.Add(1)
	}
}

// Text sends an event as text (600). Line breaks in it are written out.
func (e *Emit) Text(text string) { e.count(e.send(CodeEvent, text)) }

// Event sends an event as text, or as JSON (601) where the console asked for that; v is anything encoding/json takes.
func (e *Emit) Event(text string, v any) {
	if !e.WantsJSON() {
		e.Text(text)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		e.Text(text)
		return
	}
	e.count(e.send(CodeEventJSON, string(b)))
}

// WantsJSON reports whether the console asked for events in JSON, so that a handler need not make both forms.
func (e *Emit) WantsJSON() bool { return e.conn.eventsJSON.Load() }

// Dropped says that n events were lost before they came here.
func (e *Emit) Dropped(n int) {
	if n > 0 {
		e.dropped.Add(uint64(n))
		e.conn.out.lost(n)
	}
}

// LeftOut says that n events, the first of them at since, were not to be sent, and why (602): they count as dropped.
func (e *Emit) LeftOut(n int, since time.Time, why string) {
	e.dropped.Add(uint64(n))
	e.send(CodeDropped, droppedText(n, since, why))
}

// Follow runs run in a goroutine of its own from the verdict of the current request on, until the subscription or the connection ends;
// run returns soon after its ctx is done. The verdict of the request is to be Reply.Subscribed(id). Too many are CodeTooMany.
func (c *Conn) Follow(what string, tag any, run func(ctx context.Context, e *Emit)) (id int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := maxFollowView
	if c.role == RoleAdmin {
		limit = maxFollowAdmin
	}
	if len(c.followers) >= limit {
		return 0, Errorf(CodeTooMany, "Too many subscriptions on this connection: %d (see 'undebug')", limit)
	}
	id = c.server.nextSubscription()
	c.followers = append(c.followers, &follower{
		Subscription: Subscription{ID: id, What: what, Tag: tag, Since: time.Now()}, emit: &Emit{conn: c, id: id}, run: run,
	})
	return id, nil
}

// startFollowers starts what the request that has just ended began to follow, or forgets it if the request failed.
func (c *Conn) startFollowers(good bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followers = slices.DeleteFunc(c.followers, func(f *follower) bool { return f.done == nil && !good })
	for _, f := range c.followers {
		if f.done != nil {
			continue
		}
		ctx, cancel := context.WithCancel(c.ctx)
		f.cancel, f.done = cancel, make(chan struct{})
		go func() {
			defer close(f.done)
			f.run(ctx, f.emit)
		}()
	}
}

// Subscriptions lists them by ID.
func (c *Conn) Subscriptions() []Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Subscription, 0, len(c.followers))
	for _, f := range c.followers {
		list = append(list, f.snapshot())
	}
	return list
}

func (f *follower) snapshot() Subscription {
	s := f.Subscription
	s.Sent, s.Dropped = f.emit.sent.Load(), f.emit.dropped.Load()
	return s
}

// Unfollow ends those that match, waits for their goroutines, and says how many.
func (c *Conn) Unfollow(match func(Subscription) bool) int {
	c.mu.Lock()
	var ended []*follower
	c.followers = slices.DeleteFunc(c.followers, func(f *follower) bool {
		if !match(f.snapshot()) {
			return false
		}
		ended = append(ended, f)
		return true
	})
	c.mu.Unlock()
	for _, f := range ended {
		if f.done != nil {
			f.cancel()
			<-f.done
		}
	}
	return len(ended)
}
