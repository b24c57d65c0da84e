package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"bmp/proto/bmp"
)

// Options say what a Fleet is and does. The zero value is one router with one peer of 1,000 IPv4 routes, that sends its dump
// and goes.
type Options struct {
	Seed    uint64
	Routers int // 0 is 1
	Peers   int // of each router; 0 is 1
	Routes  int // of each peer, all families together; 0 is 1,000, negative none
	// Prefixes are those that peers draw from; 0 is Routes: each peer has all of them.
	Prefixes int
	IPv6     float64 // share of routes, and of the peers' own addresses, that is IPv6: 0 to 1

	PerUpdate float64 // mean routes of an UPDATE; 0 is 3.5
	PerSet    float64 // mean routes of a peer with one attribute set; 0 is 10.75, as a full table has it
	Shared    float64 // share of attribute sets that all peers of all routers have alike: 0 to 1

	Views []bmp.View // nil is Adj-RIB-In pre-policy. Each has the same routes; Loc-RIB has those of the first peer

	// Malformed is how many malformed UPDATEs are sent, as a share of the others. They are of five kinds in turn, and announce
	// nothing that the others do, so that whatever a station makes of them the routes held stay the same.
	Malformed float64

	Changes   int     // UPDATEs of each router after its dump; negative: until the context ends
	Rate      float64 // of these, a second and router; 0 is as fast as the station reads
	Withdraw  float64 // share of changes that withdraw; 0 is 0.3, negative none
	FlapEvery int     // a peer goes down and up after this many changes; 0 is never

	// Clock is the time of the first message, as the router tells it; each message is a microsecond later. Zero is the
	// real time.
	Clock time.Time
	Name  string // sysName, with %d for the number of the router, which counts from 1; "" is "sim%d"

	// What follows is for Fleet.Run and Router.Dial.

	Sources []netip.Addr  // local addresses in turn; nil leaves it to the system
	Within  time.Duration // the routers dial one by one within this time
	Hold    bool          // stay connected after the last message, until the context ends
	Redial  time.Duration // dial again this long after a session was lost; 0 is never
}

// withDefaults fills in what is zero, and refuses what makes no sense.
func (o Options) withDefaults() (Options, error) {
	defaultInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defaultInt(&o.Routers, 1)
	defaultInt(&o.Peers, 1)
	defaultInt(&o.Routes, 1000)
	o.Routes = max(o.Routes, 0)
	defaultInt(&o.Prefixes, o.Routes)
	if o.PerUpdate == 0 {
		o.PerUpdate = 3.5
	}
	if o.PerSet == 0 {
		o.PerSet = 10.75
	}
	switch {
	case o.Withdraw == 0:
		o.Withdraw = 0.3
	case o.Withdraw < 0:
		o.Withdraw = 0
	}
	if o.Views == nil {
		o.Views = []bmp.View{bmp.AdjInPre}
	}
	if o.Name == "" {
		o.Name = "sim%d"
	}
	switch {
	case o.Routers < 0 || o.Peers < 0:
		return o, fmt.Errorf("%d routers with %d peers", o.Routers, o.Peers)
	case o.Prefixes < o.Routes:
		return o, fmt.Errorf("%d routes of %d prefixes", o.Routes, o.Prefixes)
	case o.IPv6 < 0 || o.IPv6 > 1 || o.Shared < 0 || o.Shared > 1 || o.Withdraw > 1 || o.Malformed < 0:
		return o, fmt.Errorf("a share that is not from 0 to 1")
	case o.PerUpdate < 1 || o.PerSet < 1:
		return o, fmt.Errorf("%g routes an UPDATE, %g an attribute set: less than 1", o.PerUpdate, o.PerSet)
	case o.Routers > 1 && !strings.Contains(o.Name, "%d"):
		return o, fmt.Errorf("%d routers with one name, %q: it wants %%d for their numbers", o.Routers, o.Name)
	case o.Rate < 0:
		return o, fmt.Errorf("%g changes a second", o.Rate)
	}
	for _, v := range o.Views {
		if v >= bmp.Views {
			return o, fmt.Errorf("no such view: %d", v)
		}
	}
	return o, nil
}

// LoopbackSources are n addresses of 127.0.0.0/8 that a Linux host has without being told: 127.1.0.1 and on.
func LoopbackSources(n int) []netip.Addr {
	list := make([]netip.Addr, 0, n)
	for a := netip.MustParseAddr("127.1.0.1"); len(list) < n && a.As4()[0] == 127; a = a.Next() {
		if last := a.As4()[3]; last != 0 && last != 255 {
			list = append(list, a)
		}
	}
	return list
}
