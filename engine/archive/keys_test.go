package archive

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// churned is an archive with lists of keys of a random history: few prefixes, most of what is announced again the same,
// sessions and peers that flap, blocks that are full and so are not listed, and restarts of the station.
func churned(t *testing.T, rng *rand.Rand, o Options) (a *Archive, begin, end time.Time, keys []RouteKey) {
	o.Dir, o.Grace = t.TempDir(), 20*time.Second
	at := time.Now().Add(-24 * time.Hour).Truncate(time.Millisecond)
	begin = at
	peers := []bmptest.Peer{bmptest.NewPeer("10.0.0.1", 65001), bmptest.NewPeer("10.0.0.2", 65002), bmptest.NewPeer("2001:db8::3", 65003),
		bmptest.NewLocRIB("vrf1", 1, 65000)}
	peers[0].Sent.AddPath = []bmptest.AddPath{{Family: bmptest.IPv4Unicast, Mode: 3}}
	peers[0].Received.AddPath = peers[0].Sent.AddPath
	prefixes := []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24"}
	for _, p := range prefixes {
		keys = append(keys, RouteKey{bgp.IPv4Unicast, bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix(p))})
	}
	a = open(t, o)
	put := func(s *bmptest.Session, addPath bool) {
		for _, m := range s.Messages() {
			c := bgp.Context{AS4: true}
			if addPath {
				c.AddPath = c.AddPath.With(bgp.IPv4Unicast)
			}
			a.Client(1).Append(&Entry{Time: at, Raw: m, Context: c})
		}
		at = at.Add(time.Duration(1+rng.IntN(50)) * time.Millisecond)
	}
	session := func() {
		a.Client(1).Begin(SessionRecord{Time: at})
		// All of them: where one was not announced, a search for everything goes further back than that for a prefix, and knows
		// of routes that they were the same for longer.
		for _, p := range peers {
			put(new(bmptest.Session).PeerUp(p), false)
		}
	}
	session()
	for range 2500 {
		i := rng.IntN(len(peers))
		view := bmp.AdjInPre
		if peers[i].Header.Type == bmp.LocRIBPeer {
			view = bmp.LocRIB
		}
		switch x := rng.IntN(1000); {
		case x < 3:
			put(new(bmptest.Session).PeerDown(peers[i], bmp.DownRemote, nil), false)
		case x < 6:
			put(new(bmptest.Session).PeerUp(peers[i]), false)
		case x < 8:
			put(new(bmptest.Session).EndOfRIB(peers[i], view, bmptest.IPv4Unicast), false)
		case x < 10:
			a.Client(1).End(SessionRecord{Time: at})
			at = at.Add(time.Duration(rng.IntN(20)) * time.Second)
			if rng.IntN(3) == 0 {
				closeArchive(t, a)
				if o.list = 1; rng.IntN(3) == 0 {
					o.list = 1 << 30 // as it was before there were lists
				}
				a = open(t, o)
			}
			session()
		default:
			n := bmptest.Prefixes(prefixes[min(rng.IntN(2*len(prefixes)), len(prefixes)-1)]) // the last one is hot
			if i == 0 {
				n[0].PathID = uint32(1 + rng.IntN(2))
			}
			u := bmptest.Update{AddPath: i == 0, ASPath: []uint32{peers[i].Header.AS, uint32(1 + min(rng.IntN(20), 2))}, Announce: n}
			if rng.IntN(12) == 0 {
				u = bmptest.Update{AddPath: i == 0, Withdraw: n}
			}
			b := u.Bytes()
			if rng.IntN(15) == 0 {
				b = spoilt(b, len(u.Withdraw) > 0)
			}
			put(new(bmptest.Session).Monitor(peers[i], view, b), i == 0)
		}
		if rng.IntN(4) == 0 {
			p := a.Client(1)
			p.mu.Lock()
			p.seal()
			if n := len(p.sealed); n > 0 && rng.IntN(15) == 0 {
				p.sealed[n-1].full = true
			}
			p.mu.Unlock()
			if rng.IntN(10) == 0 {
				syncArchive(t, a, 1)
			}
		}
	}
	syncArchive(t, a, 1)
	return a, begin, at, keys
}

// TestListsAgree: what is found through lists is what a replay of everything finds.
func TestListsAgree(t *testing.T) {
	fewer := 0
	first := testSeed(t)
	for round := range uint64(3) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(first+round, 11))
			a, begin, end, keys := churned(t, rng, Options{list: 1, hour: 10 * time.Second})
			for range 15 {
				at := begin.Add(time.Duration(rng.Int64N(int64(end.Sub(begin)))))
				some := keys[rng.IntN(len(keys)):]
				some = some[:1+rng.IntN(len(some))]
				of := func(key []byte) bool {
					for _, k := range some {
						if bytes.Equal(k.Key, key) {
							return true
						}
					}
					return false
				}
				found, err := a.At(bg, 1, Want{Keys: some}, at)
				if err != nil {
					t.Fatal(err)
				}
				held, err := a.At(bg, 1, Want{Select: func(_ bmp.View, _ bgp.Family, key []byte, _ uint32) bool { return of(key) }}, at)
				if err != nil {
					t.Fatal(err)
				}
				diffHeld(t, fmt.Sprintf("%d keys at %s", len(some), at), heldText(found.Routes), heldText(held.Routes))
				if found.Down != held.Down || found.Incomplete != held.Incomplete {
					t.Fatalf("%+v, not %+v", found, held)
				}
				if found.Blocks*4 < held.Blocks {
					fewer++
				}
				var told [2][]string
				to := at.Add(time.Duration(rng.Int64N(int64(end.Sub(at)) + 1)))
				for n, w := range []Want{{Keys: some}, {Select: func(_ bmp.View, _ bgp.Family, key []byte, _ uint32) bool { return of(key) }}} {
					if _, err := a.History(bg, 1, w, at, to, func(c *Change) error {
						told[n] = append(told[n], fmt.Sprint(c.Action, c.Cause, c.Peer, c.View, c.PathID, c.Key, c.Record, c.Before, c.Since))
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				if a, b := fmt.Sprint(told[0]), fmt.Sprint(told[1]); a != b {
					t.Fatalf("history from %s to %s: %d changes, not %d:\n%s\n%s", at, to, len(told[0]), len(told[1]), a, b)
				}
			}
		})
	}
	if fewer == 0 {
		t.Error("no question was answered with less than a quarter of the blocks")
	}
}

// TestListsLost: what a list is missing of is found in the blocks.
func TestListsLost(t *testing.T) {
	for _, what := range []string{kindKeys, kindKeysPart} {
		t.Run(what, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 12))
			o := Options{list: 1, hour: 10 * time.Second}
			a, begin, end, keys := churned(t, rng, o)
			lost := 0
			if _, err := a.walk(bg, checkpointStream, []string{a.store.subject("checkpoint", "*")}, walkFrom{}, true, func(x *storedMessage) error {
				if x.header.Get(hdrKind) == what && lost < 3 {
					lost++
					return a.store.checks.DeleteMsg(bg, x.seq)
				}
				return nil
			}); err != nil || lost == 0 {
				t.Fatal(lost, err)
			}
			for range 40 {
				at := begin.Add(time.Duration(rng.Int64N(int64(end.Sub(begin)))))
				key := keys[rng.IntN(len(keys))]
				found, err := a.At(bg, 1, Want{Keys: []RouteKey{key}}, at)
				if err != nil {
					t.Fatal(err)
				}
				held, err := a.At(bg, 1, Want{Select: func(_ bmp.View, _ bgp.Family, k []byte, _ uint32) bool { return bytes.Equal(k, key.Key) }}, at)
				if err != nil {
					t.Fatal(err)
				}
				diffHeld(t, fmt.Sprintf("%x at %s", key.Key, at), heldText(found.Routes), heldText(held.Routes))
			}
			// And nothing of a client that is thrown away stays.
			if _, err := a.Flush(bg, 1, false); err != nil {
				t.Fatal(err)
			}
			if i, err := a.store.checks.Info(bg); err != nil || i.State.Msgs > 0 {
				t.Errorf("%d messages are left: %v", i.State.Msgs, err)
			}
		})
	}
}

// TestListsDamaged: where a list cannot be read the blocks are, and the answer says so; it is the same.
func TestListsDamaged(t *testing.T) {
	for _, what := range []string{kindKeys, kindKeysPart} {
		t.Run(what, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 13))
			a, begin, end, keys := churned(t, rng, Options{list: 1, hour: 10 * time.Second})
			if err := a.catalog.flush(bg); err != nil {
				t.Fatal(err)
			}
			a = damaged(t, a, what)
			told := 0
			for range 40 {
				at := begin.Add(time.Duration(rng.Int64N(int64(end.Sub(begin)))))
				key := keys[rng.IntN(len(keys))]
				all := Want{Select: func(_ bmp.View, _ bgp.Family, k []byte, _ uint32) bool { return bytes.Equal(k, key.Key) }}
				found, err := a.At(bg, 1, Want{Keys: []RouteKey{key}}, at)
				if err != nil {
					t.Fatal(err)
				}
				held, err := a.At(bg, 1, all, at)
				if err != nil {
					t.Fatal(err)
				}
				diffHeld(t, fmt.Sprintf("%x at %s", key.Key, at), heldText(found.Routes), heldText(held.Routes))
				var changes [2][]Change
				to := at.Add(time.Duration(rng.Int64N(int64(end.Sub(at)) + 1)))
				for n, w := range []Want{{Keys: []RouteKey{key}}, all} {
					h, err := a.History(bg, 1, w, at, to, func(c *Change) error {
						changes[n] = append(changes[n], *c)
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					if n == 0 {
						found.Corrupt = append(found.Corrupt, h.Corrupt...)
					} else if len(h.Corrupt) > 0 {
						t.Fatalf("without lists: %v", h.Corrupt)
					}
				}
				if a, b := fmt.Sprint(changes[0]), fmt.Sprint(changes[1]); a != b {
					t.Fatalf("%d changes, not %d:\n%s\n%s", len(changes[0]), len(changes[1]), a, b)
				}
				for _, c := range found.Corrupt {
					told++
					if c.Stream != "BMP_edge=2E1_CHECKPOINT" || !strings.Contains(c.Error(), "list of routes: ") {
						t.Fatal(c)
					}
				}
			}
			if told == 0 {
				t.Error("no answer says that a list cannot be read")
			}
			ctx, cancel := context.WithCancel(bg)
			cancel()
			if _, err := a.At(ctx, 1, Want{Keys: keys[:1]}, end); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		})
	}
}

// damaged opens an archive again, every other of whose lists has wrong bytes: in its directory or in all its parts.
func damaged(t *testing.T, a *Archive, what string) *Archive {
	spoil := func(b []byte) []byte {
		b = bytes.Clone(b)
		for n := len(b) / 2; n < min(len(b)/2+8, len(b)); n++ {
			b[n] ^= 0x55
		}
		return b
	}
	put := func(kind string, part any, h nats.Header, b []byte) uint64 {
		h = maps.Clone(h)
		h.Del("Nats-Msg-Id")
		h.Set(hdrKind, kind)
		ack, err := a.store.js.PublishMsg(bg, &nats.Msg{Subject: a.store.subject("checkpoint", part), Header: h, Data: b})
		if err != nil {
			t.Fatal(err)
		}
		return ack.Sequence
	}
	var lists []*storedMessage
	if _, err := a.walk(bg, checkpointStream, []string{a.store.subject("checkpoint", 1)}, walkFrom{}, false, func(x *storedMessage) error {
		if x.header.Get(hdrKind) == kindKeys {
			lists = append(lists, x)
		}
		return nil
	}); err != nil || len(lists) < 4 {
		t.Fatal(len(lists), err)
	}
	for n := 0; n < len(lists); n += 2 {
		l := lists[n]
		b := spoil(l.data)
		if what == kindKeysPart {
			var d directory
			if err := d.read(l.data); err != nil {
				t.Fatal(err)
			}
			for k := range d.parts {
				m, err := a.store.checks.GetMsg(bg, d.parts[k].seq)
				if err != nil {
					t.Fatal(err)
				}
				d.parts[k].seq = put(kindKeysPart, keysSubject(1), m.Header, spoil(m.Data))
			}
			b = packed(d.append(nil))
		}
		put(kindKeys, 1, l.header, b)
		if err := a.store.checks.DeleteMsg(bg, l.seq); err != nil {
			t.Fatal(err)
		}
	}
	o := a.o
	closeArchive(t, a)
	return open(t, o)
}

// oneRoute has client 1 begin a session in which its one peer announces one route, from at on. It returns the time of what
// comes next.
func oneRoute(a *Archive, at time.Time) time.Time {
	peer := bmptest.NewPeer("10.0.0.1", 65001)
	a.Client(1).Begin(SessionRecord{Time: at})
	u := bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes("192.0.2.0/24")}
	s := new(bmptest.Session).PeerUp(peer).Monitor(peer, bmp.AdjInPre, u.Bytes())
	return feed(a.Client(1), s.Messages(), at, time.Second)
}

// TestListedKeysCollideByChance: two prefixes that are listed as one in one run are not in another, so that a router cannot
// hide one behind the other.
func TestListedKeysCollideByChance(t *testing.T) {
	dir := t.TempDir()
	seeds := make(map[uint64]bool)
	at := time.Now().Add(-time.Hour)
	for range 3 {
		a := open(t, Options{Dir: dir, list: 1})
		at = oneRoute(a, at)
		closeArchive(t, a)
	}
	a := open(t, Options{Dir: dir, list: 1})
	key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("192.0.2.0/24"))
	x, err := a.catalog.load(bg, 1)
	if err != nil {
		t.Fatal(err)
	}
	lists := slices.Clone(x.lists)
	x.mu.Unlock()
	for _, l := range lists {
		d, err := a.catalog.directory(bg, x, l)
		if err != nil {
			t.Fatal(err)
		}
		seeds[d.seed] = true
		found := &mentions{keys: []RouteKey{{bgp.IPv4Unicast, key}}, routes: make(map[routeID][]mention)}
		if err := a.catalog.stored(bg, &d, found); err != nil || len(found.routes) != 1 {
			t.Errorf("list %d: %d routes, %v", d.seq, len(found.routes), err)
		}
	}
	if len(seeds) != 3 {
		t.Fatalf("%d seeds in the lists of three runs", len(seeds))
	}
	// In so many prefixes some pairs of equal 24 bits there are: with another seed they differ.
	of := make(map[uint64][]byte)
	pairs, both := 0, 0
	for n := range uint32(20_000) {
		k := binary.BigEndian.AppendUint32([]byte{32}, 10<<24|n*2654435761>>8)
		h := listKey(1, bgp.IPv4Unicast, k) >> 16 & (1<<24 - 1)
		if o := of[h]; o != nil {
			pairs++
			if listKey(2, bgp.IPv4Unicast, k)>>16&(1<<24-1) == listKey(2, bgp.IPv4Unicast, o)>>16&(1<<24-1) {
				both++
			}
		}
		of[h] = k
	}
	if pairs == 0 || both > 0 {
		t.Errorf("of %d pairs that collide with one seed %d do with another", pairs, both)
	}
}

// leastServer is options with which messages that not every server takes are refused.
func leastServer() Options {
	return Options{list: 1, publish: func(bytes int) error {
		if bytes+1024 > leastPayload {
			return nats.ErrMaxPayload
		}
		return nil
	}}
}

// TestListOfOneHotKey: a key that changes all the time is listed, in as many messages as that takes.
func TestListOfOneHotKey(t *testing.T) {
	a := open(t, leastServer())
	rng := rand.New(rand.NewPCG(1, 14))
	keys := []RouteKey{{bgp.IPv4Unicast, []byte{24, 10, 0, 0}}, {bgp.IPv4Unicast, []byte{24, 10, 0, 1}}, {bgp.IPv4Unicast, []byte{24, 10, 0, 2}}}
	slices.SortFunc(keys, func(p, q RouteKey) int {
		return cmp.Compare(listKey(a.seed, p.Family, p.Key), listKey(a.seed, q.Family, q.Key))
	})
	var l keyList
	const blocks, holders = 6000, 20
	var hashes []uint32 // of the hot key
	for n := range blocks {
		var routes touched
		for h := range holders {
			routes.holders = append(routes.holders, holder{path: uint32(h)})
			for k := range keys {
				if k == 1 || n == 0 {
					routes.routes = append(routes.routes, touch{key: listKey(a.seed, keys[k].Family, keys[k].Key) | uint64(h), hash: hashFirst + rng.Uint32()>>1})
				}
				if k == 1 {
					hashes = append(hashes, routes.routes[len(routes.routes)-1].hash)
				}
			}
		}
		i := &info{seq: uint64(1 + n), listed: true}
		if !l.room(&routes) {
			t.Fatalf("block %d does not fit", n)
		}
		l.add(i, &routes)
	}
	l.sort()
	d := a.catalog.writeList(1, &l)
	if d == nil {
		t.Fatal("it was not stored")
	}
	if len(d.parts) < 3 {
		t.Fatalf("%d parts", len(d.parts))
	}
	found := &mentions{keys: keys, routes: make(map[routeID][]mention)}
	if err := a.catalog.stored(bg, d, found); err != nil {
		t.Fatal(err)
	}
	for h := range holders {
		for k, want := range []int{1, blocks, 1} {
			list := found.routes[routeID{k, holder{path: uint32(h)}}]
			if len(list) != want {
				t.Fatalf("key %d of holder %d: %d events, not %d", k, h, len(list), want)
			}
			for n := range list {
				if k == 1 && (list[n].block != uint64(1+n) || list[n].hash != hashes[n*holders+h]) {
					t.Fatalf("event %d of holder %d is another", n, h)
				}
			}
		}
	}
}

// TestLongestDirectory: the longest directory that there can be is taken by any server.
func TestLongestDirectory(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 15))
	d := &directory{seed: rng.Uint64()}
	for range listBlocks {
		d.blocks = append(d.blocks, uint64(len(d.blocks))<<20|rng.Uint64()>>45)
	}
	for range listHolders {
		h := holder{view: bmp.AdjInPost, path: rng.Uint32()}
		var address [16]byte
		binary.BigEndian.PutUint64(address[:], rng.Uint64())
		binary.BigEndian.PutUint64(address[8:], rng.Uint64())
		h.peer.Distinguisher, h.peer.Address = rng.Uint64(), netip.AddrFrom16(address)
		binary.BigEndian.PutUint32(h.peer.BGPID[:], rng.Uint32())
		d.holders = append(d.holders, h)
	}
	for range listEntries*listEntry/listPart + 1 {
		d.parts = append(d.parts, keysPart{rng.Uint64() >> 16, rng.Uint64() >> 24})
	}
	if n := len(packed(d.append(nil))); n+1024 > leastPayload {
		t.Errorf("%d bytes, more than %d", n, leastPayload)
	}
	l := keyList{}
	more := &touched{}
	for n := range listHolders {
		more.holders = append(more.holders, holder{path: uint32(n)})
	}
	if !l.room(more) {
		t.Error("so many holders do not fit")
	}
	l.add(&info{seq: 1}, more)
	if l.room(&touched{holders: make([]holder, 1)}) {
		t.Error("one more fits")
	}
}

// TestListLost: a list that cannot be stored is counted, and what it would have told is found in the blocks.
func TestListLost(t *testing.T) {
	o := Options{list: 1}
	refuse := false
	var mu sync.Mutex
	o.publish = func(int) error {
		mu.Lock()
		defer mu.Unlock()
		if refuse {
			refuse = false
			return nats.ErrMaxPayload
		}
		return nil
	}
	a := open(t, o)
	at := oneRoute(a, time.Now().Add(-time.Hour))
	syncArchive(t, a, 1)
	mu.Lock()
	refuse = true
	mu.Unlock()
	if err := a.catalog.flush(bg); err != nil {
		t.Fatal(err)
	}
	if s, err := a.Stats(bg); err != nil || s.ListsLost != 1 {
		t.Errorf("%d lists lost, %v", s.ListsLost, err)
	}
	key := RouteKey{bgp.IPv4Unicast, bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("192.0.2.0/24"))}
	if h, err := a.At(bg, 1, Want{Keys: []RouteKey{key}}, at); err != nil || len(h.Routes) != 1 {
		t.Errorf("%d routes, %v", len(h.Routes), err)
	}
}

// TestBlocksWithoutIndex: blocks whose index could not be stored, and those that a killed run had in no index, are found by
// later runs, though there is an index of what came after them.
func TestBlocksWithoutIndex(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %t", killed), func(t *testing.T) {
			dir := t.TempDir()
			var refuse atomic.Bool
			o := Options{Dir: dir, publish: func(int) error {
				if refuse.Load() {
					return nats.ErrMaxPayload
				}
				return nil
			}}
			peer := bmptest.NewPeer("10.0.0.1", 65001)
			at := time.Now().Add(-time.Hour)
			a := open(t, o)
			say := func(prefix string) {
				u := bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes(prefix)}
				at = feed(a.Client(1), new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Messages(), at, time.Second)
				syncArchive(t, a, 1)
			}
			flush := func() {
				if err := a.catalog.flush(bg); err != nil {
					t.Fatal(err)
				}
			}
			a.Client(1).Begin(SessionRecord{Time: at})
			at = feed(a.Client(1), new(bmptest.Session).PeerUp(peer).Messages(), at, time.Second)
			say("10.0.0.0/8")
			flush()
			say("192.0.2.0/24")
			if killed {
				a.catalog.mu.Lock()
				clear(a.catalog.clients)
				a.catalog.mu.Unlock()
				closeArchive(t, a)
				a = open(t, o)
			} else {
				refuse.Store(true)
				flush()
				refuse.Store(false)
			}
			say("198.51.100.0/24")
			flush()
			for _, again := range []bool{false, true} {
				if again {
					closeArchive(t, a)
					a = open(t, o)
				}
				for n, p := range []string{"192.0.2.0/24", "198.51.100.0/24"} {
					key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix(p))
					changes := 0
					if _, err := a.History(bg, 1, Want{Keys: []RouteKey{{bgp.IPv4Unicast, key}}}, at.Add(-time.Hour), at, func(c *Change) error {
						if c.Action == Announced {
							changes++
						}
						return nil
					}); err != nil || changes != 1 {
						t.Errorf("opened again %t: prefix %d was announced %d times, %v", again, n, changes, err)
					}
				}
				if s, err := a.ClientStats(bg, 1); err != nil || s.Messages != 5 {
					t.Errorf("opened again %t: %d messages, %v", again, s.Messages, err)
				}
			}
		})
	}
}

// TestIndexIsBounded: indices and checkpoints have a bound, and where a checkpoint went before the messages these are read.
func TestIndexIsBounded(t *testing.T) {
	a := open(t, Options{MaxBytes: 1 << 30})
	if s, err := a.Stats(bg); err != nil || s.MaxIndex != 256<<20 {
		t.Errorf("at most %d bytes, %v", s.MaxIndex, err)
	}
	if err := a.SetRetention(bg, 0, 2<<30); err != nil {
		t.Fatal(err)
	}
	if s, err := a.Stats(bg); err != nil || s.MaxIndex != 512<<20 {
		t.Errorf("then at most %d bytes, %v", s.MaxIndex, err)
	}
	at := oneRoute(a, time.Now().Add(-time.Hour))
	syncArchive(t, a, 1)
	h, err := a.At(bg, 1, Want{}, at)
	if err != nil || len(h.Routes) != 1 {
		t.Fatal(len(h.Routes), err)
	}
	key := h.Routes[0].Peer
	if err := a.Checkpoint(bg, 1, at, []PeerKey{key}); err != nil {
		t.Fatal(err)
	}
	if err := a.store.checks.Purge(bg); err != nil {
		t.Fatal(err)
	}
	if h, err := a.At(bg, 1, Want{Peers: []PeerKey{key}}, at.Add(time.Second)); err != nil || len(h.Routes) != 1 {
		t.Errorf("%d routes, %v", len(h.Routes), err)
	}
}

// TestIndexThatCannotBeStored: while an index waits for being stored questions are answered, or can be cancelled, and the
// client can be thrown away; what is stored of it afterwards does not stay.
func TestIndexThatCannotBeStored(t *testing.T) {
	var refuse atomic.Bool
	var refused atomic.Int32
	a := open(t, Options{list: 1, publish: func(int) error {
		if refuse.Load() {
			refused.Add(1)
			return errors.New("disk full")
		}
		return nil
	}})
	at := oneRoute(a, time.Now().Add(-time.Hour))
	syncArchive(t, a, 1)
	refuse.Store(true)
	flushed := make(chan error, 1)
	go func() { flushed <- a.catalog.flush(bg) }()
	eventually(t, "it is refused", func() bool { return refused.Load() > 0 })
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	within := func(what string, f func() error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- f() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case <-ctx.Done():
			refuse.Store(false) // let all of it end
			t.Fatalf("%s does not end", what)
		}
	}
	key := RouteKey{bgp.IPv4Unicast, bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("192.0.2.0/24"))}
	within("a question that is cancelled", func() error {
		short, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		defer cancel()
		if _, err := a.At(short, 1, Want{Keys: []RouteKey{key}}, at); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("it is answered with %v", err)
		}
		return nil
	})
	within("the statistics", func() error {
		if s, err := a.Stats(ctx); err != nil || s.Messages != 3 {
			return fmt.Errorf("%d messages, %v", s.Messages, err)
		}
		return nil
	})
	within("to throw the client away", func() error { _, err := a.Flush(ctx, 1, false); return err })
	refuse.Store(false)
	within("to store", func() error { return <-flushed })
	if i, err := a.store.checks.Info(bg); err != nil || i.State.Msgs > 0 {
		t.Errorf("%d messages are left: %v", i.State.Msgs, err)
	}
	if h, err := a.At(bg, 1, Want{Keys: []RouteKey{key}}, at); err != nil || len(h.Routes) > 0 {
		t.Errorf("%d routes, %v", len(h.Routes), err)
	}
}

// TestQuestionsWhileAnIndexIsStored: a client whose indices are known is answered for, from memory.
func TestQuestionsWhileAnIndexIsStored(t *testing.T) {
	var refuse atomic.Bool
	var refused atomic.Int32
	o := Options{list: 1, hour: 10 * time.Second, publish: func(int) error {
		if refuse.Load() {
			refused.Add(1)
			return errors.New("disk full")
		}
		return nil
	}}
	rng := rand.New(rand.NewPCG(1, 16))
	a, begin, end, keys := churned(t, rng, o)
	if _, err := a.At(bg, 1, Want{Keys: keys}, end); err != nil { // loads the indices
		t.Fatal(err)
	}
	ask := func() (out []map[string]string) {
		rng := rand.New(rand.NewPCG(1, 17))
		for range 30 {
			at := begin.Add(time.Duration(rng.Int64N(int64(end.Sub(begin)))))
			h, err := a.At(bg, 1, Want{Keys: keys[rng.IntN(len(keys)):]}, at)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, heldText(h.Routes))
		}
		return out
	}
	before := ask()
	refuse.Store(true)
	flushed := make(chan error, 1)
	go func() { flushed <- a.catalog.flush(bg) }()
	eventually(t, "it is refused", func() bool { return refused.Load() > 0 })
	meanwhile := ask()
	refuse.Store(false)
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	after := ask()
	for n := range before {
		diffHeld(t, "meanwhile", meanwhile[n], before[n])
		diffHeld(t, "afterwards", after[n], before[n])
	}
}

// spoilt is an UPDATE whose field of routes does not split: it has a byte too many at its end.
func spoilt(update []byte, withdraw bool) []byte {
	b := append([]byte(nil), update...)
	if at := 21 + int(binary.BigEndian.Uint16(b[19:])); withdraw {
		binary.BigEndian.PutUint16(b[19:], uint16(at-21+1))
		b = slices.Insert(b, at, 0xff)
	} else {
		b = append(b, 0xff)
	}
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)))
	return b
}

// TestMalformedRoutesAreNotListed: an UPDATE that the session ignored, as its routes do not split, is no word on them.
func TestMalformedRoutesAreNotListed(t *testing.T) {
	a := open(t, Options{list: 1})
	peer := bmptest.NewPeer("10.0.0.1", 65001)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	block := func(u ...[]byte) {
		s := new(bmptest.Session)
		for _, b := range u {
			s.Monitor(peer, bmp.AdjInPre, b)
		}
		at = feed(a.Client(1), s.Messages(), at, time.Second)
		syncArchive(t, a, 1)
	}
	a.Client(1).Begin(SessionRecord{Time: at})
	at = feed(a.Client(1), new(bmptest.Session).PeerUp(peer).Messages(), at, time.Second)
	syncArchive(t, a, 1)
	announce := func(prefix string, as uint32) bmptest.Update {
		return bmptest.Update{ASPath: []uint32{65001, as}, Announce: bmptest.Prefixes(prefix)}
	}
	key := RouteKey{bgp.IPv4Unicast, bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, netip.MustParsePrefix("192.0.2.0/24"))}
	first, other := announce("192.0.2.0/24", 1), announce("198.51.100.0/24", 1)
	withdraw := bmptest.Update{Withdraw: bmptest.Prefixes("192.0.2.0/24")}
	for _, spoil := range []struct {
		u        bmptest.Update
		withdraw bool
	}{{announce("192.0.2.0/24", 2), false}, {withdraw, true}} {
		block(first.Bytes())
		block(spoilt(spoil.u.Bytes(), spoil.withdraw))
		block(other.Bytes())
		found, err := a.At(bg, 1, Want{Keys: []RouteKey{key}}, at)
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Routes) != 1 {
			t.Errorf("after %+v: %d routes", spoil.u, len(found.Routes))
		}
		held, err := a.At(bg, 1, Want{Select: func(_ bmp.View, _ bgp.Family, k []byte, _ uint32) bool { return bytes.Equal(k, key.Key) }}, at)
		if err != nil {
			t.Fatal(err)
		}
		diffHeld(t, "after what is malformed", heldText(found.Routes), heldText(held.Routes))
	}
}

// TestAListThatIsWrong: numbers of holders and blocks that no list has are an error, also where they would come round to some
// that there are.
func TestAListThatIsWrong(t *testing.T) {
	d := &directory{blocks: []uint64{7, 8}, holders: []holder{{view: bmp.AdjInPre}}}
	part := func(holder, block uint64) error {
		b := binary.AppendUvarint(nil, 5)          // key
		b = binary.AppendUvarint(b, 1)             // entries
		b = binary.AppendUvarint(b, holder)        // from 0
		b = binary.AppendUvarint(b, block)         // from 0
		b = binary.LittleEndian.AppendUint32(b, 9) // hash
		v := &mentions{routes: make(map[routeID][]mention)}
		return v.part(b, d, map[uint64][]int{5 << 16: {0}})
	}
	if err := part(0, 1); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][2]uint64{{1, 0}, {0, 2}, {1 << 16, 1}, {0, 1<<16 + 1}, {1<<64 - 1, 0}, {0, 1<<64 - 1}} {
		if err := part(wrong[0], wrong[1]); err == nil {
			t.Errorf("holder %d, block %d: no error", wrong[0], wrong[1])
		}
	}
}
