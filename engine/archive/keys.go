package archive

import (
	"cmp"
	"slices"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// The filters say in which blocks a key may be, and to find out whose it is, and whether anything changed, each of them has
// to be read: of a prefix that flaps all day, all blocks of a day, and of one that hardly changes, few that lie in as many
// files of JetStream, which reads these whole. So the routes of blocks that were ended by time are listed, too, by key, for
// up to an hour:
//
//	bmp.STATION.checkpoint.CLIENT       headers Bmp-Kind: keys | Bmp-Blocks: first and last sequence
//	                                    payload s2 of a directory: seed, blocks, holders, parts
//	bmp.STATION.checkpoint.CLIENT-keys  headers Bmp-Kind: keys-part
//	                                    payload s2 of entries, sorted: key | holder | block | hash of the attributes
//
// A key is eight bits of where the prefix lies, so that those that cover an address are in few parts, and 40 bits of its
// hash, so that in a part there is hardly ever another one with the same. The hash has a seed, of the run that wrote the
// list: what is said of another prefix with the same would pass for what is asked for, and nobody shall know two such.
//
// Entries that repeat what the entry before said are left out where nothing came between that could have changed it. The
// index of blocks that are listed has no filters for them: Bmp-Kind lean in place of index.
//
// Blocks that are full are not listed: they come when work counts, with a dump, and hold so many keys that a list saves
// little. Nor are those of a run that was killed before its list was written. Their filters are searched.
const (
	kindLean     = "lean"
	kindKeys     = "keys"
	kindKeysPart = "keys-part"

	flagListed = 1 << 5 // in an index alone: the block's keys are in a list, and it has no filter there
)

// Bounds of a list.
const (
	listEntries  = 5 << 19 // in memory, 40 MiB: an hour of some 200 UPDATEs a second
	listHolders  = 6000    // so that a directory of them, of up to 36 bytes, and of the blocks is no longer than leastPayload
	listBlocks   = 1 << 14
	listPending  = 8 << 20   // of infos that wait with their list for being written
	listPart     = 192 << 10 // when another part is begun; one is no longer than leastPayload, however badly it packs
	listMaxBytes = 64 << 20  // of a directory or a part, unpacked
	listEntry    = 3 + 3 + 4 // bytes of an entry in a part, at most
)

// holder is whose a route is: two messages about the same key of the same holder are about the same route.
type holder struct {
	peer PeerKey
	view bmp.View
	path uint32
}

// Hashes of attributes that stand for something else.
const (
	hashWithdrawn = iota
	hashMixed     // several different ones in one block
	hashFirst
)

// touch is one route of a block; its holder is one of the block's, or of the list.
type touch struct {
	key   uint64 // of listKey and, in its last 16 bits, the holder
	hash  uint32
	block uint16
}

func (e *touch) holder() uint16 { return uint16(e.key) }

// touchSize is what a touch takes in memory.
const touchSize = 16

// touched are the routes of a block, as the scanner hands them to the catalog.
type touched struct {
	holders []holder
	routes  []touch
}

// placeOther marks, as what is hashed to a place, prefixes that are shorter than what places are told apart by.
const placeOther = 0x80

// placeSeed is that of the hash of places, which is no secret: they only say which part of a list is read.
const placeSeed = 1

// listKey is what a key is listed as, in the upper 48 bits, in lists with a seed.
func listKey(seed uint64, f bgp.Family, key []byte) uint64 {
	hash := hashBytes(seed^familySeed(f), key)
	n := 0 // octets of the address that are looked at
	if f.SAFI == 1 || f.SAFI == 2 {
		if n = 1; f.AFI == 2 {
			n = 2
		}
	}
	place := hash >> 56
	if n > 0 && len(key) > 0 {
		b := [4]byte{byte(f.AFI), f.SAFI}
		if int(key[0]) >= 8*n && len(key) > n {
			copy(b[2:], key[1:1+n])
		} else {
			b[0] |= placeOther
		}
		place = hashBytes(placeSeed, b[:]) >> 56
	}
	return place<<56 | hash&(1<<40-1)<<16
}

// recordHash is the hash of a route's attributes. Its seed is another one in each run of the station, so that no router can
// know which attributes would pass for others; by chance one change in four thousand million goes unseen. Hashes of two
// runs are never of one stretch of a route, as a station that is started anew holds nothing.
func recordHash(seed uint64, record []byte) uint32 {
	h := hashBytes(seed, record)
	return max(uint32(h^h>>32), hashFirst)
}

// keyList is a list that is being made.
type keyList struct {
	index   map[holder]uint16
	holders []holder
	blocks  []listBlock
	entries int
	sorted  []touch // all entries, once sort was called, and blocks have none
}

type listBlock struct {
	*info
	routes []touch
}

// size is what it takes in memory, about.
func (l *keyList) size() int { return touchSize*l.entries + 128*len(l.holders) + 32*len(l.blocks) }

// room says that a block with these routes, which may be nil, still fits.
func (l *keyList) room(t *touched) bool {
	if t == nil {
		t = new(touched)
	}
	return len(l.blocks) < listBlocks && l.entries+len(t.routes) <= listEntries && len(l.holders)+len(t.holders) <= listHolders
}

// add takes a block, and what is to be listed of it, which it keeps.
func (l *keyList) add(i *info, t *touched) {
	block := uint16(len(l.blocks))
	if t == nil {
		t = new(touched)
	}
	l.blocks = append(l.blocks, listBlock{i, t.routes})
	l.entries += len(t.routes)
	if l.index == nil {
		l.index = make(map[holder]uint16)
	}
	ids := make([]uint16, len(t.holders))
	for n, h := range t.holders {
		id, ok := l.index[h]
		if !ok {
			id = uint16(len(l.holders))
			l.holders = append(l.holders, h)
			l.index[h] = id
		}
		ids[n] = id
	}
	for n := range t.routes {
		e := &t.routes[n]
		e.key, e.block = e.key&^0xffff|uint64(ids[e.holder()]), block
	}
}

// barriers counts, for each block, those up to it that may change what a route is without being listed for it.
func (l *keyList) barriers() []int {
	out := make([]int, len(l.blocks)+1)
	for n, i := range l.blocks {
		out[n+1] = out[n]
		if i.state() || !i.listed || n > 0 && l.blocks[n-1].run != i.run {
			out[n+1]++
		}
	}
	return out
}

// sort puts the entries in the order of key, holder and block, without those that say nothing new. What the blocks have of
// them is given up on the way, as there may be many. The list takes no more blocks.
func (l *keyList) sort() {
	// By the place first, and then each place by itself, which fits into a processor's cache.
	var ends [257]int
	for _, b := range l.blocks {
		for _, e := range b.routes {
			ends[e.key>>56+1]++
		}
	}
	for n := range 256 {
		ends[n+1] += ends[n]
	}
	next := ends
	out := make([]touch, l.entries)
	for n, b := range l.blocks {
		for _, e := range b.routes {
			out[next[e.key>>56]] = e
			next[e.key>>56]++
		}
		l.blocks[n].routes = nil
	}
	bars := l.barriers()
	kept := out[:0]
	var spare []touch
	for n := range 256 {
		place := out[ends[n]:ends[n+1]]
		spare = slices.Grow(spare[:0], len(place))[:len(place)]
		kept = append(kept, unrepeated(sortByKey(place, spare), bars)...)
	}
	l.sorted = kept
}

// sortByKey sorts entries of one place that are in the order of their blocks, and keeps that order. It is a radix sort, as a
// comparing one takes many times as long.
func sortByKey(list, spare []touch) []touch {
	if len(list) < 64 {
		slices.SortStableFunc(list, func(a, b touch) int { return cmp.Compare(a.key, b.key) })
		return list
	}
	for shift := 0; shift < 56; shift += 8 {
		var next [256]int
		for n := range list {
			next[uint8(list[n].key>>shift)]++
		}
		if next[uint8(list[0].key>>shift)] == len(list) {
			continue
		}
		at := 0
		for n, count := range next {
			next[n] = at
			at += count
		}
		for n := range list {
			o := uint8(list[n].key >> shift)
			spare[next[o]] = list[n]
			next[o]++
		}
		list, spare = spare, list
	}
	return list
}

// unrepeated leaves out entries that repeat the one before, unless something stands between them that may have changed
// the route, and makes one of those of a block.
func unrepeated(list []touch, bars []int) []touch {
	kept := list[:0]
	for at := 0; at < len(list); {
		e := list[at]
		for at++; at < len(list) && list[at].key == e.key && list[at].block == e.block; at++ {
			if list[at].hash != e.hash {
				e.hash = hashMixed
			}
		}
		if n := len(kept); n > 0 && kept[n-1].key == e.key && kept[n-1].hash == e.hash && e.hash != hashMixed && bars[kept[n-1].block] == bars[e.block+1] {
			continue
		}
		kept = append(kept, e)
	}
	return kept
}
