package rib

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"bmp/proto/bgp"
)

const (
	idBits  = 26            // 67 million prefixes in a family
	idMax   = 1<<idBits - 1 // is not given: slotDead has it
	tagBits = 64 - idBits
	tagMask = 1<<tagBits - 1

	blockShift = 8 // numbers in a block, as cells in a dense page
	blockIDs   = 1 << blockShift

	// Of the state byte of a number: the lower bits are the length of an IPv4 prefix.
	stateLimbo = 0x80
	stateFree  = 0xff
)

// shape is how the keys of a family are built; package bgp defines them.
type shape uint8

const (
	shapeOpaque shape = iota // bytes that only say whether they are equal
	shapeIPv4                // bits 1 | 0 to 4 bytes
	shapeIPv6                // bits 1 | 0 to 16 bytes
	shapeVPN4                // bits 1 | RD 8 | 0 to 4 bytes
	shapeVPN6                // bits 1 | RD 8 | 0 to 16 bytes
)

func shapeOf(f bgp.Family) shape {
	if f.AFI != 1 && f.AFI != 2 {
		return shapeOpaque
	}
	six := shape(f.AFI - 1)
	switch f.SAFI {
	case 1, 2, 4:
		return shapeIPv4 + six
	case 76, 128, 129:
		return shapeVPN4 + six
	}
	return shapeOpaque
}

// rd is the length of the route distinguisher in a key.
func (p shape) rd() int {
	if p >= shapeVPN4 {
		return 8
	}
	return 0
}

// maxBits is the longest prefix.
func (p shape) maxBits() int {
	if p == shapeIPv6 || p == shapeVPN6 {
		return 128
	}
	return 32
}

// valid says whether key is built as the family's keys are.
func (p shape) valid(key []byte) bool {
	if p == shapeOpaque {
		return len(key) <= recordMax
	}
	if len(key) == 0 {
		return false
	}
	bits := int(key[0])
	return bits <= p.maxBits() && len(key) == 1+p.rd()+(bits+7)/8
}

// dict numbers the prefixes of one family. A number is small, so that a table can be an array indexed by it, and is
// the same in all tables: what a prefix is gets stored once. IPv4 prefixes are whole in their slot; other keys are
// in an arena and are compared.
//
// A number is live, in limbo (no table holds it, it cannot be found any more, but a query that runs may still
// remember it) or free. Invariant: the key of a number does not change while it is live or in limbo.
type dict struct {
	shape   shape
	shard   [shards]slots // slot: 38 bits of tag | number 26
	odd     [2]uint64     // of the permutation that makes an IPv4 prefix a tag: random, so that nobody can aim collisions
	seed    maphash.Seed
	made    atomic.Int64 // numbers given, ever
	held    atomic.Int64 // numbers live
	marks   atomic.Pointer[marks]
	blocks  atomic.Pointer[[]block]
	present atomic.Int32 // presenceOff and so on
	index   index

	mu      sync.Mutex // guards what follows, and all changes to blocks
	next    uint32
	free    []uint32
	limbo   []limbo
	dropped uint32                    // latest time of change of a number that was freed, +1
	lengths [129]int32                // numbers live, by prefix length
	rds     map[[8]byte]int32         // numbers live, by route distinguisher
	inUse   [3]atomic.Uint64          // bit set of the lengths with lengths[i] > 0
	rdList  atomic.Pointer[[][8]byte] // keys of rds in order, made when asked for

	freshLost bool // a page of presence bits could not be had: the sweep's are not complete
}

// block is where 256 consecutive numbers have their columns. Its fields are loaded and stored atomically.
type block struct {
	page  uint32 // big page: [256]u32 IPv4 address or arena number of the key, [256]u32 time of last change + 1
	state uint32 // small page: [256]u8 state
	// Big pages of presence (presence.go), each for half of the numbers. The first two are in use, the others are
	// built by a sweep to replace them. 0 while no sparse table holds any of the numbers.
	pres [4]uint32
}

// limbo is numbers that a sweep found dead.
type limbo struct {
	ids   []uint32
	epoch uint64 // queries that began later do not know them
}

func (d *dict) init(f bgp.Family) {
	d.shape = shapeOf(f)
	d.odd = [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}
	d.seed = maphash.MakeSeed()
	d.next = 1
	d.blocks.Store(new([]block))
	d.rds = map[[8]byte]int32{}
}

// word4 makes an IPv4 key one word that sorts as the key does.
func word4(key []byte) uint64 {
	var b [4]byte
	copy(b[:], key[1:])
	return uint64(binary.BigEndian.Uint32(b[:]))<<6 | uint64(key[0])
}

// tag4 is a permutation of the 38-bit words.
func (d *dict) tag4(word uint64) uint64 {
	x := word * d.odd[0] & tagMask
	x ^= x >> 19
	x = x * d.odd[1] & tagMask
	return x ^ x>>19
}

// tag is the 38 bits by which a key is found. word is word4 of an IPv4 key.
func (d *dict) tag(key []byte, word uint64) uint64 {
	if d.shape == shapeIPv4 {
		return d.tag4(word)
	}
	return maphash.Bytes(d.seed, key) & tagMask
}

// find looks for a key; see attrs.find.
func (d *dict) find(s *Store, tag uint64, key []byte) (slot uint64, f found) {
	want := tag << idBits
	if f.page = d.shard[tag%shards].page(want); f.page == 0 {
		return 0, f
	}
	p := s.big.big(f.page)
	for i := slotStart(want); ; i = f.at + 1 {
		slot, f.at = p.probe(i, idBits, want)
		if slot == 0 || d.shape == shapeIPv4 || bytes.Equal(d.keyN(s, uint32(slot&idMax)), key) {
			return slot, f
		}
	}
}

// look is the number of a key, or 0, for those who only look.
func (d *dict) look(s *Store, tag uint64, key []byte) uint32 {
	slot, _ := d.find(s, tag, key)
	if slot == 0 && d.marks.Load() != nil {
		x := &d.shard[tag%shards]
		x.mu.Lock() // the sweep may be about to put it back
		slot, _ = d.find(s, tag, key)
		x.mu.Unlock()
	}
	return uint32(slot & idMax)
}

// get is look for those who will write to a cell of the number: it tells a sweep that the number is wanted.
func (d *dict) get(s *Store, tag uint64, key []byte) uint32 {
	for {
		slot, f := d.find(s, tag, key)
		id := uint32(slot & idMax)
		m := d.marks.Load()
		switch {
		case m == nil:
			return id
		case slot == 0:
			x := &d.shard[tag%shards]
			x.mu.Lock() // as in look
			defer x.mu.Unlock()
			return d.got(s, tag, key)
		}
		m.set(id)
		if d.shard[tag%shards].holds(s, f, slot) {
			return id
		}
	}
}

// got is get for those who hold the shard's mu.
func (d *dict) got(s *Store, tag uint64, key []byte) uint32 {
	slot, _ := d.find(s, tag, key)
	id := uint32(slot & idMax)
	if m := d.marks.Load(); id != 0 && m != nil {
		m.set(id)
	}
	return id
}

// intern returns the number of a key, or 0 when there is no room. The guard is held as in attrs.intern. word is
// word4 of an IPv4 key, whose bytes are not needed; of others it is not looked at.
func (d *dict) intern(s *Store, tag uint64, key []byte, word uint64) uint32 {
	if id := d.get(s, tag, key); id != 0 {
		return id
	}
	x := &d.shard[tag%shards]
	x.mu.Lock()
	defer x.mu.Unlock()
	id := d.got(s, tag, key)
	if id != 0 {
		return id
	}
	if id = d.allot(s, key, word); id == 0 {
		return 0
	}
	if m := d.marks.Load(); m != nil {
		m.set(id)
	}
	if !x.insert(s, tag<<idBits|uint64(id)) {
		d.bury(s, []uint32{id})
		return 0
	}
	d.made.Add(1)
	d.held.Add(1)
	return id
}

func (d *dict) block(id uint32) *block { return &(*d.blocks.Load())[id>>blockShift] }

func (d *dict) columns(s *Store, id uint32) *columns {
	return s.big.big(atomic.LoadUint32(&d.block(id).page)).columns()
}

// state is the state byte of a number. Four share a word; d.mu is held to change one.
func (d *dict) state(s *Store, id uint32) byte {
	w := s.small.small(atomic.LoadUint32(&d.block(id).state)).halves()
	return byte(atomic.LoadUint32(&w[id%blockIDs/4]) >> (id % 4 * 8))
}

func (d *dict) setState(s *Store, id uint32, state byte) {
	w := s.small.small(atomic.LoadUint32(&d.block(id).state)).halves()
	p, shift := &w[id%blockIDs/4], id%4*8
	atomic.StoreUint32(p, atomic.LoadUint32(p)&^(0xff<<shift)|uint32(state)<<shift)
}

// allot gives a key a number.
func (d *dict) allot(s *Store, key []byte, word uint64) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var id uint32
	if k := len(d.free); k > 0 {
		id = d.free[k-1]
		d.free = d.free[:k-1]
	} else {
		if d.next == idMax || !d.grow(s, d.next) {
			return 0
		}
		id = d.next
		d.next++
	}
	c := d.columns(s, id)
	if d.shape == shapeIPv4 {
		c[id%blockIDs] = uint32(word >> 6)
		d.setState(s, id, byte(word&63))
	} else {
		at := s.keys.add(0, key, nil)
		if at == 0 {
			d.setState(s, id, stateFree)
			d.free = append(d.free, id)
			return 0
		}
		c[id%blockIDs] = at
		d.setState(s, id, 0)
	}
	atomic.StoreUint32(&c[blockIDs+id%blockIDs], d.dropped)
	d.tally(s, id, 1)
	d.index.add(id)
	return id
}

// grow makes room for the columns of a number that was never given before. d.mu is held.
func (d *dict) grow(s *Store, id uint32) bool {
	old := *d.blocks.Load()
	i := int(id >> blockShift)
	if i < len(old) && old[i].page != 0 {
		return true
	}
	b := block{page: s.big.alloc(true), state: s.small.alloc(true)}
	if b.page == 0 || b.state == 0 {
		if b.page != 0 {
			s.big.give([]uint32{b.page})
		}
		if b.state != 0 {
			s.small.give([]uint32{b.state})
		}
		return false
	}
	if i >= len(old) {
		wide := make([]block, i+1+i/4)
		copy(wide, old)
		wide[i] = b
		d.blocks.Store(&wide)
		return true
	}
	atomic.StoreUint32(&old[i].state, b.state)
	atomic.StoreUint32(&old[i].page, b.page)
	return true
}

// outlive keeps the time of change of a number that will be found no more. It comes before the number is taken out
// of the hash table: whoever finds no number asks d.dropped.
func (d *dict) outlive(s *Store, id uint32) {
	d.mu.Lock()
	d.dropped = max(d.dropped, atomic.LoadUint32(&d.columns(s, id)[blockIDs+id%blockIDs]))
	d.mu.Unlock()
}

// bury puts live numbers that cannot be found any more in limbo.
func (d *dict) bury(s *Store, ids []uint32) {
	if len(ids) == 0 {
		return
	}
	d.mu.Lock()
	for _, id := range ids {
		d.tally(s, id, -1)
		d.setState(s, id, d.state(s, id)|stateLimbo)
	}
	d.mu.Unlock()
	d.purge(s)
	epoch := s.pins.advance()
	d.mu.Lock()
	d.limbo = append(d.limbo, limbo{ids, epoch})
	d.mu.Unlock()
}

// exhume frees the numbers in limbo that no query remembers. Since they were buried, the guard has been held
// exclusively at least once.
func (d *dict) exhume(s *Store) (freed int) {
	oldest := s.pins.oldest()
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := d.limbo[:0]
	for _, l := range d.limbo {
		if l.epoch >= oldest {
			kept = append(kept, l)
			continue
		}
		for _, id := range l.ids {
			d.unnumber(s, id)
		}
		freed += len(l.ids)
	}
	clear(d.limbo[len(kept):])
	d.limbo = kept
	return freed
}

// unnumber frees a number in limbo. d.mu is held, and nobody remembers the number.
func (d *dict) unnumber(s *Store, id uint32) {
	c := d.columns(s, id)
	if d.shape != shapeIPv4 {
		s.keys.drop(0, c[id%blockIDs])
	}
	d.setState(s, id, stateFree)
	d.clearPresence(s, id)
	d.free = append(d.free, id)
}

// tally counts a live number by its length and route distinguisher. d.mu is held.
func (d *dict) tally(s *Store, id uint32, n int32) {
	if d.shape == shapeOpaque {
		return
	}
	var buf [32]byte
	key := d.appendKey(s, buf[:0], id)
	l := key[0]
	if d.lengths[l] += n; d.lengths[l] == 0 {
		d.inUse[l/64].Store(d.inUse[l/64].Load() &^ (1 << (l % 64)))
	} else if n > 0 && d.lengths[l] == 1 {
		d.inUse[l/64].Store(d.inUse[l/64].Load() | 1<<(l%64))
	}
	if d.shape.rd() > 0 {
		rd := [8]byte(key[1:9])
		d.rds[rd] += n
		if d.rds[rd] == 0 {
			delete(d.rds, rd)
			d.rdList.Store(nil)
		} else if n > 0 && d.rds[rd] == 1 {
			d.rdList.Store(nil)
		}
	}
}

// keyN is the key of a number in a family other than IPv4: a view.
func (d *dict) keyN(s *Store, id uint32) []byte {
	return s.keys.record(d.columns(s, id)[id%blockIDs])
}

// appendKey appends the key of a number that is live or in limbo.
func (d *dict) appendKey(s *Store, dst []byte, id uint32) []byte {
	if d.shape != shapeIPv4 {
		return append(dst, d.keyN(s, id)...)
	}
	return appendKey4(dst, d.columns(s, id)[id%blockIDs], d.state(s, id)&^stateLimbo)
}

func appendKey4(dst []byte, address uint32, bits byte) []byte {
	var b [5]byte
	b[0] = bits
	binary.BigEndian.PutUint32(b[1:], address)
	return append(dst, b[:1+(bits+7)/8]...)
}

// changed records the time of a withdrawal or replacement.
func (d *dict) changed(s *Store, id, tick uint32) {
	w := &d.columns(s, id)[blockIDs+id%blockIDs]
	if atomic.LoadUint32(w) <= tick {
		atomic.StoreUint32(w, tick+1)
	}
}

// changedWord is where changed writes: two numbers share a word.
func (d *dict) changedWord(s *Store, id uint32) *uint64 {
	return &s.big.big(atomic.LoadUint32(&d.block(id).page))[(blockIDs+id%blockIDs)/2]
}

// distinguishers lists the route distinguishers in use, in ascending order.
func (d *dict) distinguishers() [][8]byte {
	if l := d.rdList.Load(); l != nil {
		return *l
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l := make([][8]byte, 0, len(d.rds))
	for rd := range d.rds {
		l = append(l, rd)
	}
	slices.SortFunc(l, func(a, b [8]byte) int { return bytes.Compare(a[:], b[:]) })
	d.rdList.Store(&l)
	return l
}

// lookup is look for a key from outside, which is valid.
func (d *dict) lookup(s *Store, key []byte) uint32 {
	return d.look(s, d.tagOf(key), key)
}

// tagOf is tag for a key from outside.
func (d *dict) tagOf(key []byte) uint64 {
	if d.shape == shapeIPv4 {
		return d.tag4(word4(key))
	}
	return d.tag(key, 0)
}

// tagOfFirst is tagOf for the first bits of a prefix. Its key is made in dst, where one is needed.
func (d *dict) tagOfFirst(dst, key []byte, bits int) uint64 {
	if d.shape == shapeIPv4 {
		return d.tag4(word4(key)>>6&(math.MaxUint32<<(32-bits))<<6 | uint64(bits))
	}
	return d.tag(d.shape.shorten(dst, key, bits), 0)
}

// maxID is the highest number ever given.
func (d *dict) maxID() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next - 1
}
