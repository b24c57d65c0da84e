package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"bmp/cmd/internal/quantity"
	"bmp/cmd/internal/sim"
	"bmp/proto/bmp"
)

// soak runs one station through round after round of routers that connect, change, flap, send what is malformed, and are cut
// off in the middle, while it is asked all the time. At the end it must hold what the routers hold, route by route, and must
// not have grown.
func (b *bench) soak() error {
	z := b.sizes
	s, err := b.start()
	if err != nil {
		return err
	}
	err = b.rounds(s, sim.Options{
		Seed: 5, Routers: z.soakRouters, Peers: z.soakPeers, Routes: z.soakRts, Prefixes: 4 * z.soakRts, IPv6: 0.3, Shared: 0.3,
		Views: []bmp.View{bmp.AdjInPre, bmp.AdjInPost, bmp.LocRIB}, Changes: -1, FlapEvery: 700, Malformed: 0.01, Name: "soak%d",
	})
	return errors.Join(err, s.stop(b))
}

func (b *bench) rounds(s *benchStation, o sim.Options) error {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var asked, failed int
	var askErr error
	var asking sync.WaitGroup
	console, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer console.Close()
	list, err := examples(o, 50)
	if err != nil {
		return err
	}
	asking.Go(func() {
		for ctx.Err() == nil {
			e := list[asked%len(list)]
			for _, line := range []string{
				"show bgp " + e.prefix.String(), "show bgp " + e.prefix.Addr().String(), fmt.Sprintf("show bgp as-path _%d$", e.origin),
				"show bgp all | count", "show clients", "show peers | json", "show bgp community " + firstCommunity(list),
			} {
				if _, err := ask(ctx, console, line); err != nil && ctx.Err() == nil {
					failed++
					askErr = fmt.Errorf("%s: %w", line, err)
				}
				asked++
			}
		}
	})
	end := time.Now().Add(b.sizes.soakFor)
	round := max(b.sizes.soakFor/8, 200*time.Millisecond)
	var memory []int64
	var changed int64
	var last *load
	var before stationSummary
	for n := 1; ; n++ {
		final := time.Now().Add(round).After(end)
		// Nothing of the round before may be on its way any more, so that the messages to come can be counted.
		if before, err = s.until(ctx, func(x stationSummary) bool { return x.Clients == 0 }); err != nil {
			return err
		}
		if final {
			o.Changes = 1500 // an end, at which all is sent that a router has changed
		}
		l, err := b.dump(s, o)
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		l.gate.set(-1)
		if final {
			if err := l.finish(); err != nil {
				l.close()
				return err
			}
			memory = append(memory, s.rss())
			last = l
			break
		}
		select {
		case <-time.After(round):
		case <-ctx.Done():
		}
		memory = append(memory, s.rss())
		rep := l.fleet.Report()
		changed += rep.Announced + rep.Withdrawn
		l.close() // without a word, what is on the way is lost
	}
	defer last.close()
	cancel()
	asking.Wait()
	rep := last.fleet.Report()
	if _, err := s.until(b.ctx, func(x stationSummary) bool { return x.Messages-before.Messages >= rep.Total() }); err != nil {
		return err
	}
	routes, err := b.holdsThat(s, last.fleet, o)
	if err != nil {
		return err
	}
	changed += rep.Announced + rep.Withdrawn
	fmt.Fprintf(b.out, "soak of %v: %s, %s changed, %d questions (%d failed), %d routes held, as the routers say; resident %s after the first round, %s after the last\n",
		b.sizes.soakFor, quantity.Of(len(memory), "round"), million(changed), asked, failed, routes, quantity.Bytes(memory[0]), quantity.Bytes(memory[len(memory)-1]))
	if failed > 0 {
		return askErr
	}
	// The messages kept of each client fill up in the first rounds: growth is that of the second half over the first.
	half := (len(memory) + 1) / 2
	first, second := int64(0), int64(0)
	for i, m := range memory {
		if i < half {
			first = max(first, m)
		} else {
			second = max(second, m)
		}
	}
	if second > first+first/4+(64<<20) {
		return fmt.Errorf("the station has grown from %s to %s", quantity.Bytes(first), quantity.Bytes(second))
	}
	return nil
}

// holdsThat compares what the station holds with what the routers hold: the number of routes of each peer in each view, and of
// each router the routes themselves of one peer.
func (b *bench) holdsThat(s *benchStation, fleet *sim.Fleet, o sim.Options) (total int, err error) {
	type views struct {
		Pre  int `json:"adj_in_pre"`
		Post int `json:"adj_in_post"`
		Loc  int `json:"loc_rib"`
	}
	var peers []struct {
		Client  string  `json:"client_name"`
		Address *string `json:"address"`
		State   string  `json:"state"`
		Stale   bool    `json:"stale"`
		Routes  views   `json:"routes"`
	}
	if err := askJSON(b.ctx, s, "show peers | json", &peers); err != nil {
		return 0, err
	}
	got := map[string]views{}
	for _, p := range peers {
		key := p.Client + " loc-rib"
		if p.Address != nil {
			key = p.Client + " " + *p.Address
		}
		if p.State != "up" || p.Stale {
			return 0, fmt.Errorf("peer %s is %s, stale %v", key, p.State, p.Stale)
		}
		got[key] = p.Routes
	}
	for i, r := range fleet.Routers() {
		want := map[string]views{r.Name() + " loc-rib": {Loc: r.Held(0)}}
		for j := range o.Peers {
			n := r.Held(j)
			want[r.Name()+" "+r.PeerHeader(j, bmp.AdjInPre).Address.String()] = views{Pre: n, Post: n}
		}
		for key, w := range want {
			if got[key] != w {
				return 0, fmt.Errorf("peer %s: the station holds %+v, the router %+v", key, got[key], w)
			}
			total += w.Pre + w.Post + w.Loc
		}
		if err := b.holdsRoutes(s, r, i%o.Peers); err != nil {
			return 0, err
		}
	}
	if n := len(fleet.Routers()) * (o.Peers + 1); len(peers) != n {
		return 0, fmt.Errorf("the station has %d peers, the routers %d", len(peers), n)
	}
	return total, nil
}

// holdsRoutes compares the routes of one peer, prefix and next hop.
func (b *bench) holdsRoutes(s *benchStation, r *sim.Router, peer int) error {
	var routes []struct {
		Prefix  netip.Prefix `json:"prefix"`
		NextHop netip.Addr   `json:"next_hop"`
	}
	address := r.PeerHeader(peer, bmp.AdjInPre).Address
	line := fmt.Sprintf("show client %s peer %v routes adj-in-post | json", r.Name(), address)
	if err := askJSON(b.ctx, s, line, &routes); err != nil {
		return err
	}
	got := make(map[netip.Prefix]netip.Addr, len(routes))
	for _, x := range routes {
		got[x.Prefix] = x.NextHop
	}
	n := 0
	for want := range r.Routes(peer) {
		n++
		if hop, ok := got[want.Prefix]; !ok || hop != want.NextHop {
			return fmt.Errorf("%s %v: %v by %v, the station has %v %v", r.Name(), address, want.Prefix, want.NextHop, hop, ok)
		}
	}
	if n != len(routes) {
		return fmt.Errorf("%s %v: %d routes, the station shows %d", r.Name(), address, n, len(routes))
	}
	return nil
}

// askJSON asks for a JSON document.
func askJSON(ctx context.Context, s *benchStation, line string, v any) error {
	lines, err := ask(ctx, s.console, line)
	if err == nil {
		err = json.Unmarshal([]byte(strings.Join(lines, "\n")), v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	return nil
}
