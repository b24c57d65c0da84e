package client

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Bounds of the messages kept.
const (
	ringMessages  = 10_000   // of one client
	ringBytes     = 16 << 20 // of one client
	ringChunk     = 64 << 10
	ringFirst     = 3 << 9 // most of ten thousand idle routers never need a second chunk
	ringHeaderLen = 40

	// With an archive, which has all that is older, and what is not stored yet in memory of its own.
	archivedMessages = 1000      // and up to two chunks more, as they go as a whole
	archivedBytes    = 256 << 10 // but for a message that is longer alone
	archivedChunk    = 32 << 10
)

// DefaultBudget bounds the messages kept of all clients together, in bytes.
const DefaultBudget = 256 << 20

// ring keeps the newest messages of a client as the bytes they came in, decoded only when somebody asks.
//
//	chunk: | header 40 | message | header 40 | message | ...
//
//	header, big endian:
//	 0 arrival, unix nanoseconds     8      24 length of the message    4      33 view             1
//	 8 offset in the stream          8      28 peer ID, 0 for none      4      34 flags            1
//	16 ADD-PATH families (set)       8      32 type                     1      35 version          1
//	                                                                           36 profile of v4    1
//	                                                                           37 session, low     2
//
// Messages go in at the end of the newest chunk; the oldest chunk goes as a whole. A chunk is written once: readers
// pin the chunks and walk them without the lock, and a pinned chunk is left to the collector instead of being reused.
//
// Where the messages are archived, a short ring is enough: it saves asking the archive for the newest. A chunk with a message that
// the archive had no room for stays for as long as it would without an archive, with all behind it.
//
// Lock order: Client.mu, Budget.mu, ring.mu. The budget's lock is never taken with ring.mu held.
type ring struct {
	budget   *Budget
	archived bool         // what is put in is archived, too
	size     atomic.Int64 // bytes of all chunks; read by the budget without the lock
	chunkN   atomic.Int32 // how many; likewise

	mu      sync.Mutex
	chunks  []*chunk
	spare   *chunk // one that was dropped and nobody reads
	count   int    // messages in chunks
	dropped uint64
}

type chunk struct {
	buf   []byte // len: written
	count int
	pins  int
	only  bool // the archive lacks something in it
}

// entry is a message in the ring, its header decoded. raw aliases the chunk.
type entry struct {
	time    int64
	offset  int64
	addPath bgp.AddPathSet
	peer    uint32
	typ     bmp.MessageType
	view    bmp.View
	flags   uint8
	version uint8
	profile bmp.Profile
	session uint16 // low bits of the number of the session, which the offset is in
	raw     []byte
}

// Flags of an entry.
const (
	entryAS4       = 1 << iota // AS numbers of its UPDATE are read as 4 octets
	entryView                  // view says something
	entryMalformed             //
	entryOnly                  // the archive had no room for it
)

// append keeps a copy of e.raw. It is called by the session goroutine only.
func (r *ring) append(e *entry) {
	need := ringHeaderLen + len(e.raw)
	r.mu.Lock()
	for !r.fits(need) { // again, if another client's need took the new chunk away
		r.mu.Unlock()
		r.grow(need)
		r.mu.Lock()
	}
	c := r.chunks[len(r.chunks)-1]
	n := len(c.buf)
	c.buf = c.buf[:n+need]
	h := c.buf[n : n+ringHeaderLen]
	binary.BigEndian.PutUint64(h[0:], uint64(e.time))
	binary.BigEndian.PutUint64(h[8:], uint64(e.offset))
	binary.BigEndian.PutUint64(h[16:], uint64(e.addPath))
	binary.BigEndian.PutUint32(h[24:], uint32(len(e.raw)))
	binary.BigEndian.PutUint32(h[28:], e.peer)
	h[32], h[33], h[34], h[35], h[36] = uint8(e.typ), uint8(e.view), e.flags, e.version, uint8(e.profile)
	binary.BigEndian.PutUint16(h[37:], e.session)
	copy(c.buf[n+ringHeaderLen:], e.raw)
	c.count++
	c.only = c.only || e.flags&entryOnly != 0
	r.count++
	r.mu.Unlock()
}

// fits says whether there is room for so many bytes in the newest chunk. Called with the lock held.
func (r *ring) fits(need int) bool {
	if len(r.chunks) == 0 {
		return false
	}
	buf := r.chunks[len(r.chunks)-1].buf
	return cap(buf)-len(buf) >= need
}

func decodeEntry(b []byte) (e entry, rest []byte) {
	n := int(binary.BigEndian.Uint32(b[24:]))
	e = entry{
		time:    int64(binary.BigEndian.Uint64(b[0:])),
		offset:  int64(binary.BigEndian.Uint64(b[8:])),
		addPath: bgp.AddPathSet(binary.BigEndian.Uint64(b[16:])),
		peer:    binary.BigEndian.Uint32(b[28:]),
		typ:     bmp.MessageType(b[32]),
		view:    bmp.View(b[33]),
		flags:   b[34],
		version: b[35],
		profile: bmp.Profile(b[36]),
		session: binary.BigEndian.Uint16(b[37:]),
		raw:     b[ringHeaderLen : ringHeaderLen+n : ringHeaderLen+n],
	}
	return e, b[ringHeaderLen+n:]
}

// grow makes room for need bytes in a new newest chunk, first dropping the oldest as far as the client's own bounds
// and the budget of all clients want it.
func (r *ring) grow(need int) {
	r.mu.Lock()
	size := r.budget.chunk()
	if r.archived {
		size = min(size, archivedChunk)
	}
	size = max(need, size)
	if len(r.chunks) < 3 && need <= ringFirst<<(2*len(r.chunks)) {
		size = min(size, ringFirst<<(2*len(r.chunks))) // 1.5, 6, 24 KiB, then full chunks
	}
	for len(r.chunks) > 0 {
		most, mostBytes := ringMessages, ringBytes
		if r.archived && !r.chunks[0].only {
			most, mostBytes = archivedMessages, archivedBytes
		}
		if r.count-r.chunks[0].count < most && int(r.size.Load())+size <= mostBytes {
			break
		}
		r.dropOldest(true)
	}
	c := r.spare
	r.spare = nil
	if c == nil || cap(c.buf) != size {
		c = &chunk{buf: make([]byte, 0, size)}
	}
	r.chunks = append(r.chunks, c)
	r.size.Add(int64(cap(c.buf)))
	r.chunkN.Add(1)
	r.mu.Unlock()
	r.budget.take(int64(cap(c.buf)), r)
}

// dropOldest is called with the lock held and a chunk there.
func (r *ring) dropOldest(keepSpare bool) {
	c := r.chunks[0]
	r.chunks[0] = nil
	r.chunks = r.chunks[1:]
	r.count -= c.count
	r.dropped += uint64(c.count)
	r.size.Add(-int64(cap(c.buf)))
	r.chunkN.Add(-1)
	r.budget.used.Add(-int64(cap(c.buf)))
	if keepSpare && c.pins == 0 && cap(c.buf) <= ringChunk {
		c.buf, c.count, c.only = c.buf[:0], 0, false
		r.spare = c
	}
}

// clear drops everything, and says how many messages that were. They do not count as dropped for want of room.
func (r *ring) clear() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.count
	for len(r.chunks) > 0 {
		r.dropOldest(false)
	}
	r.chunks, r.spare = nil, nil
	r.dropped = 0
	return n
}

// span is a chunk as far as it was written when it was pinned.
type span struct {
	chunk *chunk
	buf   []byte
	count int
}

// pin returns the chunks as they are now; release must follow.
func (r *ring) pin() []span {
	_, s := r.look()
	return s
}

// look is pin with what is kept at that moment.
func (r *ring) look() (RingInfo, []span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := make([]span, len(r.chunks))
	for i, c := range r.chunks {
		c.pins++
		s[i] = span{c, c.buf, c.count}
	}
	return r.infoLocked(), s
}

func (r *ring) release(spans []span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range spans {
		s.chunk.pins--
	}
}

// info says what is kept.
func (r *ring) info() RingInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.infoLocked()
}

func (r *ring) infoLocked() RingInfo {
	over := max(0, r.count-ringMessages) // still in the oldest chunk, but no longer shown
	i := RingInfo{Kept: r.count - over, Bytes: int(r.size.Load()), Dropped: r.dropped + uint64(over)}
	if len(r.chunks) > 0 && r.chunks[0].count > 0 {
		e, _ := decodeEntry(r.chunks[0].buf)
		i.Oldest = time.Unix(0, e.time)
	}
	return i
}

// Budget bounds the messages kept of all clients together. When it is full the longest ring is cut first. The zero
// Budget works. It may be used concurrently.
type Budget struct {
	used  atomic.Int64
	count atomic.Int64 // rings
	Limit int64        // bytes; 0: DefaultBudget. Set before the first client is made

	mu    sync.Mutex
	rings map[*ring]struct{}
}

// Used is how many bytes are kept.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) add(r *ring) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rings == nil {
		b.rings = make(map[*ring]struct{})
	}
	b.rings[r] = struct{}{}
	b.count.Store(int64(len(b.rings)))
}

func (b *Budget) remove(r *ring) {
	b.mu.Lock()
	delete(b.rings, r)
	b.count.Store(int64(len(b.rings)))
	b.mu.Unlock()
}

func (b *Budget) max() int64 {
	if b.Limit > 0 {
		return b.Limit
	}
	return DefaultBudget
}

// chunk is how long a new chunk is: the more clients there are the shorter, so that each has several.
func (b *Budget) chunk() int {
	return int(max(ringFirst, min(ringChunk, b.max()/(4*max(1, b.count.Load())))))
}

// take accounts for a new chunk that its ring has already, and cuts rings, but not to that chunk, until all fit.
func (b *Budget) take(n int64, taker *ring) {
	limit := b.max()
	if b.used.Add(n) <= limit {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used.Load() > limit {
		var longest *ring
		var size int64
		for r := range b.rings {
			if s := r.size.Load(); s > size && (r != taker || r.chunkN.Load() > 1) {
				longest, size = r, s
			}
		}
		if longest == nil {
			return
		}
		longest.cut()
	}
}

// cut drops the oldest chunk for the budget.
func (r *ring) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.chunks) > 0 {
		r.dropOldest(false)
	}
}
