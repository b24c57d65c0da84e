package engine

import (
	"slices"
	"sync"

	"bmp/engine/client"
)

// named finds the clients that have a name by their identity: with ten thousand of them, to look at each for every
// session that begins would be most of the station's work. A client may take a name, or another one, while its session
// has it locked, so the lock here is below that one. The zero named is empty.
type named struct {
	mu sync.Mutex
	m  map[client.Identity][]*client.Client // several where a router had several sessions at one time
}

// add is for a client that is not there yet; one without a name is nobody's to find.
func (n *named) add(c *client.Client, ident client.Identity) {
	if ident.SysName == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil {
		n.m = make(map[client.Identity][]*client.Client)
	}
	n.m[ident] = append(n.m[ident], c)
}

func (n *named) remove(c *client.Client, ident client.Identity) {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := slices.DeleteFunc(n.m[ident], func(x *client.Client) bool { return x == c })
	if len(left) == 0 {
		delete(n.m, ident)
	} else {
		n.m[ident] = left
	}
}

// renamed is client.Env.Renamed.
func (n *named) renamed(c *client.Client, was, is client.Identity) {
	n.remove(c, was)
	n.add(c, is)
}

// find lists the clients of an identity by their IDs. One may have taken another name since.
func (n *named) find(ident client.Identity) []*client.Client {
	n.mu.Lock()
	same := slices.Clone(n.m[ident])
	n.mu.Unlock()
	slices.SortFunc(same, func(a, b *client.Client) int { return int(int64(a.ID()) - int64(b.ID())) })
	return same
}

// known finds the client that a session goes on with: one that is down and has the identity; Begin has been called for
// it. Where there is none but one that is up and has been silent for long, its session is returned: it is to be
// replaced. Called with the registry locked.
func (s *Station) known(ident client.Identity, h client.Hello) (c *client.Client, old *client.Session) {
	same := slices.DeleteFunc(s.named.find(ident), func(x *client.Client) bool { return x.Identity() != ident })
	for _, x := range same {
		if up, _ := x.Silence(h.Time); up {
			continue
		}
		if s.refusing.Load() && x.Totals().Routes == 0 {
			continue // it would have to be loaded like a new one
		}
		if x.Begin(h.Session, h.Time) {
			return x, nil
		}
	}
	for _, x := range same {
		if up, silent := x.Silence(h.Time); up && silent >= s.options.ReplaceIdle {
			return nil, x.Session()
		}
	}
	return nil, nil
}
