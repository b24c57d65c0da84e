package archive

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
		kept = append(kept, unrepeated(byKey(place, spare), bars)...)
	}
	l.sorted = kept
}

// byKey sorts entries of one place that are in the order of their blocks, and keeps that order. It is a radix sort, as a
// comparing one takes many times as long.
func byKey(list, spare []touch) []touch {
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

// directory is a list that is stored.
type directory struct {
	seq         uint64 // of its message
	first, last uint64 // blocks

	// What follows is nil when it is not in memory.
	seed    uint64   // of listKey
	blocks  []uint64 // sequences
	holders []holder
	parts   []keysPart
}

// keysPart is a message with entries from a key on; of this there may be some in the part before.
type keysPart struct {
	first uint64
	seq   uint64
}

func (d *directory) size() int { return 64 + 8*len(d.blocks) + 64*len(d.holders) + 16*len(d.parts) }

// writeList stores a list that is sorted; nil if that cannot be, and then the blocks need their filters.
func (c *catalog) writeList(client uint32, l *keyList) *directory {
	entries := l.sorted
	d := &directory{seed: c.a.seed, first: l.blocks[0].seq, last: l.blocks[len(l.blocks)-1].seq, holders: l.holders}
	for _, i := range l.blocks {
		d.blocks = append(d.blocks, i.seq)
	}
	var b []byte
	var key, first uint64
	store := func() bool {
		m := &nats.Msg{Subject: c.a.store.subject("checkpoint", keysSubject(client)), Data: packed(b),
			Header: nats.Header{hdrVersion: {formatVersion}, hdrKind: {kindKeysPart}}}
		seq, err := c.a.store1(m, fmt.Sprintf("k%x.%d.%d.%d", c.a.run, client, d.first, len(d.parts)))
		d.parts = append(d.parts, keysPart{first, seq})
		b, key = b[:0], 0
		return err == nil
	}
	for at := 0; at < len(entries); {
		end, most := at+1, at+1+(listPart-len(b))/listEntry
		for end < min(most, len(entries)) && entries[end].key>>16 == entries[at].key>>16 {
			end++
		}
		if len(b) == 0 {
			first = entries[at].key >> 16
		}
		b = appendEntries(b, key, entries[at:end])
		key = entries[at].key >> 16
		if at = end; len(b) >= listPart-listEntry || at == len(entries) {
			if !store() {
				c.listsLost.Add(1)
				return nil
			}
		}
	}
	m := &nats.Msg{Subject: c.a.store.subject("checkpoint", client), Data: packed(d.append(nil)),
		Header: nats.Header{hdrVersion: {formatVersion}, hdrKind: {kindKeys}, hdrBlocks: {numbers(int64(d.first), int64(d.last))}}}
	seq, err := c.a.store1(m, fmt.Sprintf("k%x.%d.%d", c.a.run, client, d.first))
	if err != nil {
		c.listsLost.Add(1)
		return nil
	}
	d.seq = seq
	return d
}

func keysSubject(client uint32) string { return fmt.Sprintf("%d-keys", client) }

// appendEntries writes entries of one key, which may have more: difference to the key before | how many | each: difference of the holder,
// block or difference of it where the holder is the same, hash.
func appendEntries(b []byte, before uint64, list []touch) []byte {
	b = binary.AppendUvarint(b, list[0].key>>16-before)
	b = binary.AppendUvarint(b, uint64(len(list)))
	var p touch
	for _, e := range list {
		if e.holder() != p.holder() {
			p.block = 0
		}
		b = binary.AppendUvarint(b, uint64(e.holder()-p.holder()))
		b = binary.AppendUvarint(b, uint64(e.block-p.block))
		b = binary.LittleEndian.AppendUint32(b, e.hash)
		p = e
	}
	return b
}

func (d *directory) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, d.seed)
	b = binary.AppendUvarint(b, uint64(len(d.blocks)))
	last := uint64(0)
	for _, seq := range d.blocks {
		b, last = binary.AppendUvarint(b, seq-last), seq
	}
	b = binary.AppendUvarint(b, uint64(len(d.holders)))
	for _, h := range d.holders {
		b = append(b, byte(h.peer.Type), byte(h.view))
		b = binary.BigEndian.AppendUint64(b, h.peer.Distinguisher)
		b = append(b, h.peer.BGPID[:]...)
		a := h.peer.Address.AsSlice()
		b = append(append(b, byte(len(a))), a...)
		b = binary.AppendUvarint(b, uint64(h.path))
	}
	b = binary.AppendUvarint(b, uint64(len(d.parts)))
	for _, p := range d.parts {
		b = binary.AppendUvarint(binary.AppendUvarint(b, p.first), p.seq)
	}
	return b
}

// read fills in what a stored directory says.
func (d *directory) read(payload []byte) error {
	raw, err := unpacked(payload)
	if err != nil {
		return err
	}
	s := source{b: raw}
	if b := s.take(8); len(b) == 8 {
		d.seed = binary.BigEndian.Uint64(b)
	}
	last := uint64(0)
	for n := s.uvarint(); n > 0 && !s.bad; n-- {
		last += s.uvarint()
		d.blocks = append(d.blocks, last)
	}
	for n := s.uvarint(); n > 0 && !s.bad; n-- {
		var h holder
		if b := s.take(15); len(b) == 15 {
			h.peer.Type, h.view = bmp.PeerType(b[0]), bmp.View(b[1])
			h.peer.Distinguisher, h.peer.BGPID = binary.BigEndian.Uint64(b[2:]), [4]byte(b[10:])
			h.peer.Address, _ = netip.AddrFromSlice(s.take(uint64(b[14])))
		}
		h.path = uint32(s.uvarint())
		d.holders = append(d.holders, h)
	}
	for n := s.uvarint(); n > 0 && !s.bad; n-- {
		d.parts = append(d.parts, keysPart{s.uvarint(), s.uvarint()})
	}
	if s.bad || len(s.b) > 0 {
		return errCut
	}
	return nil
}

// packed is the payload of a directory or a part: CRC-32C | s2. What would be unpacked of a damaged one might pass for a list.
func packed(b []byte) []byte {
	out := append(make([]byte, 4), s2.Encode(nil, b)...)
	binary.BigEndian.PutUint32(out, crc32.Checksum(out[4:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

func unpacked(b []byte) ([]byte, error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, errSum
	}
	b = b[4:]
	if n, err := s2.DecodedLen(b); err != nil || n > listMaxBytes {
		return nil, errCut
	}
	return s2.Decode(nil, b)
}

// keyEvent is that a block says something about a route.
type keyEvent struct {
	block uint64
	hash  uint32
}

// routeID is a route: one of the keys asked for, and whose.
type routeID struct {
	key    int
	holder holder
}

// events are what the lists say of the routes asked for.
type events struct {
	keys   []RouteKey
	routes map[routeID][]keyEvent

	corrupt []Corrupt // lists that cannot be read, in place of which the blocks are
}

// routeName is a route in full.
type routeName struct {
	holder
	family bgp.Family
	key    string
}

// between says that one of the blocks of a list in order is among those from one to another.
func between(list []uint64, from, to uint64) bool {
	n, _ := slices.BinarySearch(list, from)
	return n < len(list) && list[n] <= to
}

// within leaves what is in some blocks and of some peers, none meaning all, puts it in order, and leaves out what repeats
// the event before, unless one of the states or others, blocks in order, stands between.
func (v *events) within(blocks []*info, peers []PeerKey, states, others []uint64) {
	for id, list := range v.routes {
		list = slices.DeleteFunc(list, func(e keyEvent) bool {
			return len(blocks) == 0 || e.block < blocks[0].seq || e.block > blocks[len(blocks)-1].seq
		})
		if len(list) == 0 || len(peers) > 0 && !slices.Contains(peers, id.holder.peer) {
			delete(v.routes, id)
			continue
		}
		slices.SortFunc(list, func(a, b keyEvent) int { return cmp.Compare(a.block, b.block) })
		kept := list[:1]
		for _, e := range list[1:] {
			if last := kept[len(kept)-1]; e.hash != last.hash || e.hash == hashMixed || between(states, last.block, e.block) || between(others, last.block, e.block) {
				kept = append(kept, e)
			}
		}
		v.routes[id] = kept
	}
}

// blocks are all those that say something.
func (v *events) blocks() (out []uint64) {
	for _, list := range v.routes {
		for _, e := range list {
			out = append(out, e.block)
		}
	}
	return out
}

// deciding are the blocks from which it follows what the routes are at a time in the block cut, and since when, together with
// states, blocks that change more than routes, and others, which may be about the keys without being listed, both in order.
// What blocks before those in cuts say of a route is to be left out, as some of what follows it is not read.
//
// Of each route these are, besides the block with the time, that in which its attributes became what they are. And of each
// stretch between two states the first that speaks of it, and that announces it, as what follows from a Peer Down hangs on
// whether the peer was spoken of.
func (v *events) deciding(keys []RouteKey, cut uint64, states, others []uint64) (out []uint64, cuts map[routeName]uint64) {
	cuts = make(map[routeName]uint64)
	for id, list := range v.routes {
		k := len(list) - 1
		if list[k].block == cut {
			out = append(out, cut)
			k--
		}
		if k < 0 {
			continue
		}
		announced := false
		for n, e := range list[:k+1] {
			first := n == 0 || between(states, list[n-1].block, e.block)
			announced = announced && !first
			if first || !announced && e.hash != hashWithdrawn {
				out = append(out, e.block)
			}
			announced = announced || e.hash != hashWithdrawn
		}
	back:
		for k > 0 && list[k].hash != hashMixed && list[k].hash != hashWithdrawn {
			before := list[k-1]
			switch {
			case before.hash == hashMixed || between(others, before.block, list[k].block):
				out = append(out, list[k].block) // it may be here, or there
			case before.hash != list[k].hash:
				break back
			}
			k--
		}
		out = append(out, list[k].block)
		if k > 0 {
			h := keys[id.key]
			cuts[routeName{id.holder, h.Family, string(h.Key)}] = list[k].block
		}
	}
	return out, cuts
}

// withBlocks adds some of all blocks to a list of them; all is in their order, and what is returned, too.
func withBlocks(list, all []*info, more []uint64) []*info {
	bySeq := func(i *info, seq uint64) int { return cmp.Compare(i.seq, seq) }
	slices.Sort(more)
	out := slices.Clone(list)
	for _, seq := range slices.Compact(more) {
		if n, ok := slices.BinarySearchFunc(all, seq, bySeq); ok && all[n].count > 0 {
			if _, ok := slices.BinarySearchFunc(list, seq, bySeq); !ok {
				out = append(out, all[n])
			}
		}
	}
	slices.SortFunc(out, func(a, b *info) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

// byKey are the keys asked for by what they are listed as with a seed.
func (v *events) byKey(seed uint64) map[uint64][]int {
	of := make(map[uint64][]int)
	for n, k := range v.keys {
		key := listKey(seed, k.Family, k.Key)
		of[key] = append(of[key], n)
	}
	return of
}

// pending takes what is not stored yet, of a list with this seed.
func (v *events) pending(l *keyList, seed uint64) {
	if len(v.keys) == 0 {
		return
	}
	of := v.byKey(seed)
	take := func(e *touch, block uint64) {
		for _, k := range of[e.key&^0xffff] {
			id := routeID{k, l.holders[e.holder()]}
			list := v.routes[id]
			if n := len(list); n > 0 && list[n-1].block == block {
				if list[n-1].hash != e.hash {
					list[n-1].hash = hashMixed
				}
				continue
			}
			v.routes[id] = append(list, keyEvent{block, e.hash})
		}
	}
	for n := range l.sorted {
		take(&l.sorted[n], l.blocks[l.sorted[n].block].seq)
	}
	for _, b := range l.blocks {
		for n := range b.routes {
			take(&b.routes[n], b.seq)
		}
	}
}

// errNoList says that a list is no longer kept.
var errNoList = errors.New("no list")

// errSum says that a message is not as it was stored.
var errSum = errors.New("wrong checksum")

// listError is that a message of a list was read and makes no sense.
type listError struct {
	seq uint64
	at  time.Time // when it was stored
	err error
}

func (e *listError) Error() string { return fmt.Sprintf("archive: list %d: %v", e.seq, e.err) }

// unreadable counts a list that cannot be read.
func (v *events) unreadable(station string, client uint32, e *listError) {
	v.corrupt = append(v.corrupt, Corrupt{"BMP_" + station + "_CHECKPOINT", e.seq, client, e.at, fmt.Errorf("list of routes: %w", e.err)})
}

// directory is a list's, cached.
func (c *catalog) directory(ctx context.Context, x *clientIndex, d *directory) (directory, error) {
	x.mu.Lock()
	whole, forgot := *d, x.forgot
	x.mu.Unlock()
	if whole.blocks != nil {
		return whole, nil
	}
	m, err := c.message(ctx, d.seq)
	if err != nil {
		return directory{}, err
	}
	if err := whole.read(m.Data); err != nil {
		return directory{}, &listError{d.seq, m.Time, err}
	}
	x.mu.Lock()
	if d.blocks == nil && x.forgot == forgot {
		*d = whole
		c.hold(d.size())
	}
	x.mu.Unlock()
	return whole, nil
}

func (c *catalog) message(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	c.a.storeMu.RLock()
	defer c.a.storeMu.RUnlock()
	m, err := c.a.store.checks.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errNoList
	}
	if err != nil {
		return nil, fmt.Errorf("archive: list %d: %w", seq, err)
	}
	return m, nil
}

// stored takes what a stored list says, or nothing. d is the caller's copy.
func (c *catalog) stored(ctx context.Context, d *directory, v *events) error {
	found := &events{routes: make(map[routeID][]keyEvent)}
	of := v.byKey(d.seed)
	wanted := make([]bool, len(d.parts)) // parts that may have one of the keys
	for key := range of {
		n, _ := slices.BinarySearchFunc(d.parts, key>>16, func(p keysPart, key uint64) int { return cmp.Compare(p.first, key) })
		if n > 0 {
			wanted[n-1] = true
		}
		for ; n < len(d.parts) && d.parts[n].first == key>>16; n++ {
			wanted[n] = true
		}
	}
	for n, p := range d.parts {
		if !wanted[n] {
			continue
		}
		m, err := c.message(ctx, p.seq)
		if err != nil {
			return err
		}
		raw, err := unpacked(m.Data)
		if err == nil {
			err = found.part(raw, d, of)
		}
		if err != nil {
			return &listError{p.seq, m.Time, err}
		}
	}
	for id, list := range found.routes {
		v.routes[id] = append(v.routes[id], list...)
	}
	return nil
}

// part takes the entries of keys, given by what they are listed as.
func (v *events) part(raw []byte, d *directory, of map[uint64][]int) error {
	s := source{b: raw}
	for key := uint64(0); len(s.b) > 0; {
		key += s.uvarint()
		wanted := of[key<<16]
		var who, block uint64
		for n := s.uvarint(); n > 0 && !s.bad; n-- {
			if more := s.uvarint(); more != 0 {
				who, block = who+min(more, listHolders+1), 0
			}
			block += min(s.uvarint(), listBlocks+1)
			hash := s.take(4)
			if block >= uint64(len(d.blocks)) || who >= uint64(len(d.holders)) {
				return errCut // whatever is asked for: the numbers after it are wrong, too
			}
			if wanted == nil || s.bad {
				continue
			}
			for _, k := range wanted {
				id := routeID{k, d.holders[who]}
				v.routes[id] = append(v.routes[id], keyEvent{d.blocks[block], binary.LittleEndian.Uint32(hash)})
			}
		}
		if s.bad {
			return errCut
		}
	}
	return nil
}
