package archive

import (
	"net/netip"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// TestTheDumpHasExpired: what a session said long ago is no longer kept. Then answers are incomplete, and say so, unless there is
// a checkpoint of all that is newer than what is gone.
func TestTheDumpHasExpired(t *testing.T) {
	peers := []bmptest.Peer{bmptest.NewPeer("10.0.0.1", 65000), bmptest.NewPeer("10.0.0.2", 65000)}
	var keys []PeerKey
	for i := range peers {
		keys = append(keys, PeerKeyOf(&peers[i].Header))
	}
	key := func(p string) RouteKey {
		return RouteKey{bgp.IPv4Unicast, bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix(p))}
	}
	now := time.Now()
	dump, later := now.Add(-2*time.Hour), now.Add(-10*time.Minute)
	for name, c := range map[string]struct {
		checkpoint time.Time // zero: none
		of         []PeerKey
		more       bool // something is kept
		purge      uint64
		want       int // routes at the end, of 2 peers with 2 each and, with more, one that came later
		incomplete bool
		noIndex    bool // what has gone is not in the index, either
	}{
		"nothing is kept":              {purge: 100, incomplete: true},
		"something is kept":            {more: true, purge: 6, want: 1, incomplete: true},
		"a checkpoint":                 {checkpoint: now.Add(-50 * time.Minute), of: keys, purge: 100, want: 4},
		"a checkpoint alone":           {checkpoint: now.Add(-50 * time.Minute), of: keys, purge: 100, want: 4, noIndex: true},
		"a checkpoint and more":        {checkpoint: now.Add(-50 * time.Minute), of: keys, more: true, purge: 6, want: 5},
		"of one peer alone":            {checkpoint: now.Add(-50 * time.Minute), of: keys[:1], more: true, purge: 6, want: 1, incomplete: true},
		"older than what is gone":      {checkpoint: dump.Add(90 * time.Second), of: keys, more: true, purge: 6, want: 1, incomplete: true},
		"all is kept":                  {more: true, want: 5},
		"all is kept and a checkpoint": {checkpoint: now.Add(-50 * time.Minute), of: keys, more: true, want: 5},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, Options{MaxAge: time.Hour})
			p := a.Client(1)
			at := dump
			say := func(s *bmptest.Session) {
				p.Append(&Entry{Time: at, Raw: s.Bytes(), Context: bgp.Context{AS4: true}})
				syncArchive(t, a, 1)
				at = at.Add(time.Minute)
			}
			announce := func(i int, prefixes ...string) {
				u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes(prefixes...)}
				say(new(bmptest.Session).Monitor(peers[i], bmp.AdjInPre, u.Bytes()))
			}
			p.Begin(SessionRecord{Session: 1, Time: at})
			for i := range peers {
				say(new(bmptest.Session).PeerUp(peers[i])) // blocks 1, 2
			}
			for i := range peers {
				announce(i, "10.1.1.0/24") // 3, 4
				announce(i, "10.2.2.0/24")
			}
			if !c.checkpoint.IsZero() {
				if len(c.of) == len(keys) {
					c.of = nil
				}
				if err := a.Checkpoint(bg, 1, c.checkpoint, c.of); err != nil {
					t.Fatal(err)
				}
			}
			if at = later; c.more {
				announce(1, "10.3.3.0/24")
			}
			if err := a.store.msgs.Purge(bg, jetstream.WithPurgeSequence(c.purge+1)); c.purge > 0 && err != nil {
				t.Fatal(err)
			}
			if c.noIndex {
				x := a.catalog.client(1)
				x.mu.Lock()
				x.segments, x.pending, x.storing = nil, nil, nil
				x.mu.Unlock()
			}
			st, err := a.Stats(bg)
			if kept := st.Blocks; err != nil || st.Missing > 0 || st.Messages < kept || c.purge > 0 && st.Messages > kept {
				t.Errorf("%d records in %d blocks, %d missing, %v", st.Messages, kept, st.Missing, err)
			}
			for what, want := range map[string]Want{"all": {}, "peers": {Peers: keys}, "keys": {Keys: []RouteKey{key("10.1.1.0/24"), key("10.2.2.0/24"), key("10.3.3.0/24")}}} {
				if what == "peers" && name == "of one peer alone" {
					continue // that one is known
				}
				h, err := a.At(bg, 1, want, now)
				if err != nil || len(h.Routes) != c.want || h.Incomplete != c.incomplete || !c.incomplete && h.Begin.IsZero() || len(h.Corrupt) > 0 {
					t.Errorf("%s: %d routes, want %d, incomplete %v, begin %v, %v, %v", what, len(h.Routes), c.want, h.Incomplete, h.Begin, h.Corrupt, err)
				}
			}
		})
	}
}

// TestCheckpointsAreForgotten: what is known of those that are no longer kept.
func TestCheckpointsAreForgotten(t *testing.T) {
	a := open(t, Options{})
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	began := time.Now().Add(-time.Hour)
	p := a.Client(1)
	p.Begin(SessionRecord{Session: 1, Time: began})
	p.Append(&Entry{Time: began, Raw: new(bmptest.Session).PeerUp(peer).Bytes(), Context: bgp.Context{AS4: true}})
	syncArchive(t, a, 1)
	tables := func() int {
		x := a.catalog.client(1)
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.tables)
	}
	for n := range 4 {
		if err := a.Checkpoint(bg, 1, began.Add(time.Duration(n+1)*time.Minute), nil); err != nil {
			t.Fatal(err)
		}
		if want := min(n+1, 2); tables() != want {
			t.Errorf("%d are known, want %d", tables(), want)
		}
		if i, err := a.store.checks.Info(bg); err != nil || a.store.checks.Purge(bg, jetstream.WithPurgeSequence(i.State.LastSeq)) != nil {
			t.Fatal(err)
		}
	}
}

// TestACheckpointOfAnEarlierRun: where the station was started anew since, what it held is gone, and the client down, though all that
// is left of it is a checkpoint.
func TestACheckpointOfAnEarlierRun(t *testing.T) {
	for _, index := range []bool{true, false} {
		dir := t.TempDir()
		now := time.Now()
		clock := func(at time.Time) func() time.Time { return func() time.Time { return at } }
		a := open(t, Options{Dir: dir, MaxAge: time.Hour, now: clock(now.Add(-2 * time.Hour))})
		peer := bmptest.NewPeer("10.0.0.1", 65000)
		u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
		p := a.Client(1)
		p.Begin(SessionRecord{Session: 1, Time: now.Add(-2 * time.Hour)})
		feed(p, [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()}, now.Add(-119*time.Minute), time.Second)
		syncArchive(t, a, 1)
		if err := a.Checkpoint(bg, 1, now.Add(-50*time.Minute), nil); err != nil {
			t.Fatal(err)
		}
		closeArchive(t, a)
		b := open(t, Options{Dir: dir, MaxAge: time.Hour, now: clock(now.Add(-40 * time.Minute))})
		check := func(what string) {
			t.Helper()
			for ago, routes := range map[time.Duration]int{45 * time.Minute: 1, 10 * time.Minute: 0} {
				h, err := b.At(bg, 1, Want{}, now.Add(-ago))
				if err != nil || len(h.Routes) != routes || h.Down.IsZero() || h.Incomplete {
					t.Errorf("index %v, %s, %v ago: %+v, %v", index, what, ago, h, err)
				}
			}
		}
		check("kept")
		if err := b.store.msgs.Purge(bg, jetstream.WithPurgeSequence(100)); err != nil {
			t.Fatal(err)
		}
		if !index {
			x := b.catalog.client(1)
			x.mu.Lock()
			x.segments, x.pending, x.storing = nil, nil, nil
			x.mu.Unlock()
		}
		check("expired")
	}
}

// TestOnlyAnEarlierRunHasExpired: what is gone of a run before does not matter to one of which all is kept.
func TestOnlyAnEarlierRunHasExpired(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
	var a *Archive
	for _, began := range []time.Time{now.Add(-2 * time.Hour), now.Add(-20 * time.Minute)} {
		if a != nil {
			closeArchive(t, a)
		}
		a = open(t, Options{Dir: dir, MaxAge: time.Hour, now: func() time.Time { return began }})
		p := a.Client(1)
		p.Begin(SessionRecord{Session: 1, Time: began})
		feed(p, [][]byte{new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()}, began.Add(time.Second), time.Second)
		syncArchive(t, a, 1)
	}
	i, err := a.store.msgs.Info(bg)
	if err == nil {
		err = a.store.msgs.Purge(bg, jetstream.WithPurgeSequence(i.State.LastSeq)) // all but the last, of the second run
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []time.Time{{}, now.Add(-time.Minute)} {
		h, err := a.At(bg, 1, Want{}, now)
		if !from.IsZero() {
			h, err = a.History(bg, 1, Want{}, from, now, func(*Change) error { return nil })
		}
		if err != nil || len(h.Routes) != 1 || h.Incomplete {
			t.Errorf("from %v: %+v, %v", from, h, err)
		}
	}
}
