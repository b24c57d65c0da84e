package engine

import (
	"sync"
	"time"

	"bmp/engine/client"
)

// Follower has the feeds of all clients, or of the one that it was made for: of the sessions that are there, which come
// late, and of those to come. It is for one goroutine, and must be closed.
type Follower struct {
	r      *relays
	who    string
	notify chan struct{}

	mu    sync.Mutex
	fresh []*client.Feed
}

// Follow makes a follower. who is X of a command; empty: all clients.
func (s *Station) Follow(who string) *Follower {
	f := &Follower{r: s.relays, who: who, notify: make(chan struct{}, 1)}
	s.relays.mu.Lock()
	s.relays.follows = append(s.relays.follows, f)
	s.relays.mu.Unlock()
	for _, c := range s.Clients() {
		if concerns(who, c) {
			f.Again(c)
		}
	}
	return f
}

// Again attaches another feed to the running session of a client: after an overrun. It is false when there is none.
func (f *Follower) Again(c *client.Client) bool {
	feed := client.NewFeed(f.r.timing.queue, &f.r.s.feeds, f.notify)
	if !c.Follow(feed, time.Now()) {
		feed.Close()
		return false
	}
	f.add(feed)
	return true
}

func (f *Follower) add(feed *client.Feed) {
	f.mu.Lock()
	f.fresh = append(f.fresh, feed)
	f.mu.Unlock()
	select {
	case f.notify <- struct{}{}:
	default:
	}
}

// begun is called with the client and relays.mu locked.
func (f *Follower) begun(c *client.Client) *client.Feed {
	if !concerns(f.who, c) {
		return nil
	}
	feed := client.NewFeed(f.r.timing.queue, &f.r.s.feeds, f.notify)
	f.add(feed)
	return feed
}

// Notify says that there may be new feeds, or something in one.
func (f *Follower) Notify() <-chan struct{} { return f.notify }

// Feeds are those that have come since it was last called. They are the caller's, to be closed.
func (f *Follower) Feeds() []*client.Feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list, rest []*client.Feed
	for _, x := range f.fresh {
		if x.Client() != nil {
			list = append(list, x)
		} else { // of a session that is just about to begin
			rest = append(rest, x)
		}
	}
	f.fresh = rest
	return list
}

// Close ends the follower: no feeds come any more.
func (f *Follower) Close() {
	r := f.r
	r.mu.Lock()
	for i, x := range r.follows {
		if x == f {
			r.follows = append(r.follows[:i:i], r.follows[i+1:]...)
			break
		}
	}
	r.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, feed := range f.fresh {
		feed.Close()
	}
}
