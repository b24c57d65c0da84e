package archive

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// aDirectory is one with everything in it.
func aDirectory() *directory {
	return &directory{
		seed: 1 << 63, blocks: []uint64{7, 8, 1 << 40},
		holders: []holder{
			{PeerKey{Type: bmp.LocRIBPeer, Distinguisher: 1<<63 | 5, BGPID: [4]byte{198, 51, 100, 1}}, bmp.LocRIB, 0},
			{PeerKey{Address: netip.MustParseAddr("10.0.0.1")}, bmp.AdjInPost, 1<<32 - 1},
			{PeerKey{Address: netip.MustParseAddr("2001:db8::1")}, bmp.AdjOutPre, 1},
		},
		parts: []keysPart{{0, 9}, {1<<48 - 1, 10}, {1<<48 - 1, 11}},
	}
}

// FuzzDirectory: whatever is read of a directory is read again the same from what it is written as.
func FuzzDirectory(f *testing.F) {
	d := aDirectory()
	var read directory
	if err := read.read(packed(d.append(nil))); err != nil || !reflect.DeepEqual(d, &read) {
		f.Fatalf("%+v, not %+v: %v", read, d, err)
	}
	f.Add(d.append(nil))
	f.Add((&directory{}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, again directory
		if d.read(packed(b)) != nil {
			return
		}
		if err := again.read(packed(d.append(nil))); err != nil || !reflect.DeepEqual(d, again) {
			t.Fatalf("%+v, not %+v: %v", again, d, err)
		}
	})
}

// FuzzPart: the entries of a part are read as they were written, and what is no part is refused without harm.
func FuzzPart(f *testing.F) {
	d := aDirectory()
	keys := []RouteKey{{bgp.IPv4Unicast, []byte{24, 10, 0, 0}}, {bgp.IPv4Unicast, []byte{8, 10}}}
	asked := func() *mentions { return &mentions{keys: keys, routes: make(map[routeID][]mention)} }
	of := asked().byKey(d.seed)
	listed := []uint64{listKey(d.seed, keys[0].Family, keys[0].Key), listKey(d.seed, keys[1].Family, keys[1].Key)}
	order := []int{0, 1}
	slices.SortFunc(order, func(a, b int) int { return int(int64(listed[a]>>16) - int64(listed[b]>>16)) })
	rng := rand.New(rand.NewPCG(1, 18))
	var b []byte
	want := asked()
	before := uint64(0)
	for _, k := range order {
		var list []touch
		for who := range uint16(3) {
			for block := range uint16(3) {
				e := touch{listed[k] | uint64(who), rng.Uint32(), block}
				list = append(list, e)
				id := routeID{k, d.holders[who]}
				want.routes[id] = append(want.routes[id], mention{d.blocks[block], e.hash})
			}
		}
		b = appendEntries(b, before, list[:4])
		b = appendEntries(b, listed[k]>>16, list[4:])
		before = listed[k] >> 16
	}
	got := asked()
	if err := got.part(b, d, of); err != nil || !reflect.DeepEqual(got, want) {
		f.Fatalf("%+v, not %+v: %v", got, want, err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := asked()
		_ = v.part(b, d, of)
		for id, list := range v.routes {
			for _, e := range list {
				if !slices.Contains(d.holders, id.holder) || !slices.Contains(d.blocks, e.block) {
					t.Fatalf("%+v of %+v, which is not in the directory", e, id)
				}
			}
		}
	})
}
