package archive

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The headers of a client's blocks are written once more, together: one index of an hour of them, or less where they
// are many. A search reads indices and then only the blocks that it needs. They lie under the checkpoint subject:
//
//	headers   Bmp-Kind: index, or lean | Bmp-Blocks: first and last sequence | Bmp-Time: arrival from, to
//	          Bmp-Sums: blocks, records, bytes of messages, stored, routes, messages lost, bytes lost, flags
//	          Bmp-After: sequence of the client's block before the first; 0: it is not known
//	payload   s2 of the infos, in varints
//
// A lean one has no filters of the blocks whose routes are in a list, which lies beside it (keys.go) and says more.
//
// What is not in an index yet is in memory; after a kill it is read again from the blocks, and indexed. So is, by what
// comes after it, what could not be stored.
//
// Lock order: clientIndex.writing, clientIndex.mu, Archive.storeMu, catalog.mu. Whoever holds storeMu takes no other; a
// clientIndex.mu is not held while something is stored, which lasts as long as the server is away.
type catalog struct {
	a       *Archive
	mu      sync.Mutex
	clients map[uint32]*clientIndex
	held    int // bytes of infos and lists in memory

	listsLost atomic.Uint64 // lists of this run that could not be stored: the blocks' filters are, in place of them
}

// Bounds of the catalog.
const (
	indexBytes = 256 << 10 // of filters in one index
	heldBytes  = 64 << 20  // of infos and lists in memory
)

const (
	hdrKind   = "Bmp-Kind"
	hdrBlocks = "Bmp-Blocks"
	hdrSums   = "Bmp-Sums"
	hdrAfter  = "Bmp-After"

	kindIndex = "index"
	kindTable = "table"
)

type clientIndex struct {
	// writing is held, by putting something into it, by the one who loads what is stored, or stores what is pending.
	writing chan struct{}
	last    uint64 // the last block that is in an index, or should be; 0: it is not known. Of who holds writing

	mu       sync.Mutex
	loaded   bool
	segments []*segment // in the order of their blocks
	storing  []*info    // blocks behind these that are being indexed
	stored   keyList    // of storing, sorted
	pending  []*info    // blocks behind these that are in no index
	list     keyList    // of pending
	size     int        // of pending and list
	tables   []*tablePart
	lists    []*directory
	forgot   int // how often the client was forgotten
}

// segment is an index that is stored.
type segment struct {
	seq         uint64 // of the index
	first, last uint64 // blocks
	after       int64  // the block before the first; 0: it is not known; -1: nothing says so
	from, to    int64
	sums        sums
	infos       []*info // nil: not in memory
	lean        bool    // those listed have no filter
	list        *directory
}

// sums add up blocks.
type sums struct {
	blocks, records, raw, stored, routes, lost, lostBytes int64
	flags                                                 uint8
}

func (s *sums) add(i *info) {
	s.blocks++
	s.records += int64(i.count)
	s.raw += int64(i.raw)
	s.stored += int64(i.stored)
	s.routes += int64(i.routes)
	s.flags |= i.flags
	if i.gap != nil {
		s.lost += int64(i.gap.Messages)
		s.lostBytes += int64(i.gap.Bytes)
	}
}

func (s *sums) addSums(o sums) {
	s.blocks += o.blocks
	s.records += o.records
	s.raw += o.raw
	s.stored += o.stored
	s.routes += o.routes
	s.lost += o.lost
	s.lostBytes += o.lostBytes
	s.flags |= o.flags
}

func (c *catalog) init(a *Archive) { c.a, c.clients = a, make(map[uint32]*clientIndex) }

func (c *catalog) client(id uint32) *clientIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.clients[id]
	if x == nil {
		x = &clientIndex{writing: make(chan struct{}, 1)}
		c.clients[id] = x
	}
	return x
}

// forget drops what is known of a client.
func (c *catalog) forget(id uint32) {
	x := c.client(id)
	x.mu.Lock()
	c.drop(x)
	for _, s := range x.segments {
		c.hold(-s.held())
	}
	c.hold(-x.size)
	x.segments, x.pending, x.list, x.size, x.tables, x.lists = nil, nil, keyList{}, 0, nil, nil
	x.storing, x.stored = nil, keyList{}
	x.forgot++ // what is being stored is not taken
	x.mu.Unlock()
}

func (c *catalog) hold(n int) (full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held += n
	return c.held > heldBytes
}

func (i *info) size() int { return 160 + len(i.filter) + 2*len(i.peers) }

// add takes a block that was stored. It is called by the worker that has the client.
func (c *catalog) add(client uint32, i *info) {
	x := c.client(client)
	routes := i.routesOf
	i.routesOf = nil
	_ = c.writePending(context.Background(), client, x, func() bool { return c.isFull(x, i, routes) }) // it has no end
	x.mu.Lock()
	if i.seq <= x.newest() {
		x.mu.Unlock()
		return // it was found among the blocks before it came here
	}
	size := i.size() - x.list.size()
	x.pending = append(x.pending, i)
	x.list.add(i, routes)
	size += x.list.size()
	x.size += size
	full := c.hold(size)
	x.mu.Unlock()
	if full {
		c.dropCaches()
		c.relieve()
	}
}

// newest is the last block that is known. It is called with x locked.
func (x *clientIndex) newest() uint64 {
	for _, list := range [][]*info{x.pending, x.storing} {
		if n := len(list); n > 0 {
			return list[n-1].seq
		}
	}
	if n := len(x.segments); n > 0 {
		return x.segments[n-1].last
	}
	return 0
}

// isFull says that what is pending is to be written before a block with these routes is added. It is called with x locked.
func (c *catalog) isFull(x *clientIndex, i *info, routes *touched) bool {
	hour := int64(c.a.o.hour)
	most := indexBytes
	if x.list.entries > 0 {
		most = listPending
	}
	return x.pending[0].first/hour != i.first/hour || x.size-x.list.size() > most || !x.list.room(routes)
}

// dropCaches makes room in memory: indices and directories that can be read again go.
func (c *catalog) dropCaches() {
	for _, id := range c.ids() {
		if x := c.client(id); x.mu.TryLock() { // else its worker or a query is at it
			c.drop(x)
			x.mu.Unlock()
		}
	}
}

// drop drops what can be read again, and accounts for it. It is called with x locked.
func (c *catalog) drop(x *clientIndex) {
	for _, s := range x.segments {
		if s.seq != 0 {
			c.hold(-s.held())
			s.infos = nil
		}
	}
	for _, d := range x.lists {
		if d.blocks != nil {
			c.hold(-d.size())
			*d = directory{seq: d.seq, first: d.first, last: d.last}
		}
	}
}

// held is what the segment has in memory.
func (s *segment) held() (n int) {
	for _, i := range s.infos {
		n += i.size()
	}
	return n
}

// relieve writes what is pending of many clients.
func (c *catalog) relieve() {
	for _, id := range c.ids() {
		x := c.client(id)
		select {
		case x.writing <- struct{}{}:
			c.writeHeld(id, x, func() bool { return x.size > 4<<10 })
			<-x.writing
		default: // it is being written
		}
	}
}

func (c *catalog) ids() []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.clients))
}

// flush writes all that is pending.
func (c *catalog) flush(ctx context.Context) error {
	for _, id := range c.ids() {
		if err := c.writePending(ctx, id, c.client(id), func() bool { return true }); err != nil {
			return err
		}
	}
	return nil
}

// writePending stores what is pending, if there is something and a condition holds, for which x is locked.
func (c *catalog) writePending(ctx context.Context, client uint32, x *clientIndex, due func() bool) error {
	x.mu.Lock()
	is := len(x.pending) > 0 && due()
	x.mu.Unlock()
	if !is {
		return ctx.Err()
	}
	select {
	case x.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.writeHeld(client, x, due)
	<-x.writing
	return nil
}

// writeHeld is writePending by who holds x.writing. What is stored, a list, where it is worth one, and indices, is known to
// questions meanwhile as it was.
func (c *catalog) writeHeld(client uint32, x *clientIndex, due func() bool) {
	x.mu.Lock()
	if len(x.pending) == 0 || !due() {
		x.mu.Unlock()
		return
	}
	x.storing, x.stored = x.pending, x.list
	x.pending, x.list = nil, keyList{}
	size := x.size
	x.size = 0
	listed := len(x.storing) >= c.a.o.list && x.stored.entries > 0
	if listed {
		n := touchSize * x.stored.entries
		c.hold(n) // there are two of each while they are put in order
		x.stored.sort()
		c.hold(-n)
	}
	infos, list, forgot := x.storing, x.stored, x.forgot
	x.mu.Unlock()

	var d *directory
	if listed {
		d = c.writeList(client, &list)
	}
	var segments []*segment
	for rest := infos; len(rest) > 0; {
		// Those of a run that was killed come before what the list is of.
		of := d
		if d != nil && rest[0].seq < d.first {
			of = nil
		}
		n, size := 0, 0
		for n < len(rest) && size < indexBytes && (of != nil || d == nil || rest[n].seq < d.first) {
			size += rest[n].size()
			if of != nil && rest[n].listed {
				size -= len(rest[n].filter)
			}
			n++
		}
		segments = append(segments, c.write(client, rest[:n], x.last, of))
		x.last = rest[n-1].seq
		rest = rest[n:]
	}

	c.hold(-size)
	x.mu.Lock()
	if x.forgot != forgot {
		x.mu.Unlock()
		c.discard(segments, d)
		return
	}
	for _, s := range segments {
		if x.loaded || s.seq == 0 {
			x.segments = append(x.segments, s)
			c.hold(s.held())
		}
	}
	if x.loaded && d != nil {
		x.lists = append(x.lists, d)
		c.hold(d.size())
	}
	x.storing, x.stored = nil, keyList{}
	x.mu.Unlock()
}

// discard deletes what was stored of a client that was forgotten meanwhile. What cannot be deleted goes with its age.
func (c *catalog) discard(segments []*segment, d *directory) {
	var all []uint64
	for _, s := range segments {
		if s.seq != 0 {
			all = append(all, s.seq)
		}
	}
	if d != nil {
		all = append(all, d.seq)
		for _, p := range d.parts {
			all = append(all, p.seq)
		}
	}
	for _, seq := range all {
		ctx, cancel := context.WithTimeout(context.Background(), c.a.o.server.publishTimeout)
		c.a.storeMu.RLock()
		_ = c.a.store.checks.DeleteMsg(ctx, seq)
		c.a.storeMu.RUnlock()
		cancel()
	}
}

// write stores an index of infos, which come after a block; those that are in a list are without their filters. If that
// cannot be, it stays in memory, and a later run finds them again from the blocks.
func (c *catalog) write(client uint32, infos []*info, after uint64, list *directory) *segment {
	kind := kindIndex
	if list != nil {
		kind = kindLean
	}
	s := inMemory(infos)
	size := 0
	for _, i := range infos {
		if size += i.size(); list != nil && i.listed {
			size -= len(i.filter)
		}
	}
	b := make([]byte, 0, size)
	for _, i := range infos {
		if list != nil && i.listed {
			lean := *i
			lean.filter, lean.flags = nil, i.flags|flagListed
			i = &lean
		}
		b = appendInfo(b, i)
	}
	m := &nats.Msg{
		Subject: c.a.store.subject("checkpoint", client), Data: s2.Encode(nil, b),
		Header: nats.Header{
			hdrVersion: {formatVersion}, hdrKind: {kind}, hdrBlocks: {numbers(int64(s.first), int64(s.last))}, hdrTime: {numbers(s.from, s.to)},
			hdrAfter: {numbers(int64(after))},
			hdrSums:  {numbers(s.sums.blocks, s.sums.records, s.sums.raw, s.sums.stored, s.sums.routes, s.sums.lost, s.sums.lostBytes, int64(s.sums.flags))},
		},
	}
	seq, err := c.a.store1(m, fmt.Sprintf("i%x.%d.%d", c.a.run, client, s.first))
	if err == nil {
		s.seq, s.lean, s.list, s.infos = seq, list != nil, list, nil
	}
	return s
}

func appendInfo(b []byte, i *info) []byte {
	for _, v := range []uint64{i.seq, uint64(i.run), i.number, uint64(i.first), uint64(i.last), uint64(i.routerFirst), uint64(i.routerLast),
		uint64(i.count), uint64(i.raw), uint64(i.stored), uint64(i.routes), uint64(i.flags), uint64(len(i.peers))} {
		b = binary.AppendUvarint(b, v)
	}
	for _, p := range i.peers {
		b = binary.BigEndian.AppendUint16(b, p)
	}
	b = binary.AppendUvarint(b, uint64(len(i.filter)))
	b = append(b, i.filter...)
	if i.gap == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, v := range []uint64{i.gap.Messages, i.gap.Bytes, uint64(i.gap.From.UnixNano()), uint64(i.gap.To.UnixNano())} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func readInfos(packed []byte, client uint32) ([]*info, error) {
	if n, err := s2.DecodedLen(packed); err != nil || n > 64<<20 {
		return nil, errCut
	}
	raw, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, err
	}
	s := source{b: raw}
	var out []*info
	for len(s.b) > 0 {
		i := &info{seq: s.uvarint(), run: int64(s.uvarint()), number: s.uvarint(), first: int64(s.uvarint()), last: int64(s.uvarint())}
		i.routerFirst, i.routerLast = uint32(s.uvarint()), uint32(s.uvarint())
		i.count, i.raw, i.stored, i.routes, i.flags = int(s.uvarint()), int(s.uvarint()), int(s.uvarint()), int(s.uvarint()), uint8(s.uvarint())
		n := s.uvarint()
		for p := s.take(min(2*n, 1<<17)); len(p) >= 2; p = p[2:] {
			i.peers = append(i.peers, binary.BigEndian.Uint16(p))
		}
		i.filter = s.take(s.uvarint())
		if g := s.take(1); len(g) == 1 && g[0] == 1 {
			i.gap = &Gap{Client: client, Messages: s.uvarint(), Bytes: s.uvarint(), From: time.Unix(0, int64(s.uvarint())), To: time.Unix(0, int64(s.uvarint()))}
		}
		if s.bad {
			return nil, errCut
		}
		i.listed = i.flags&flagListed != 0
		i.flags &^= flagListed
		out = append(out, i)
	}
	return out, nil
}

func parseSegment(h nats.Header, seq uint64) (*segment, error) {
	s := &segment{seq: seq, after: -1}
	if text := h.Get(hdrAfter); text != "" {
		_ = parseNumbers(text, &s.after)
	}
	var first, last, flags int64
	err := errors.Join(
		parseNumbers(h.Get(hdrBlocks), &first, &last),
		parseNumbers(h.Get(hdrTime), &s.from, &s.to),
		parseNumbers(h.Get(hdrSums), &s.sums.blocks, &s.sums.records, &s.sums.raw, &s.sums.stored, &s.sums.routes, &s.sums.lost, &s.sums.lostBytes, &flags))
	s.first, s.last, s.sums.flags = uint64(first), uint64(last), uint8(flags)
	return s, err
}

// load makes the list of a client's segments and checkpoints whole. It returns the client's index locked.
func (c *catalog) load(ctx context.Context, client uint32) (*clientIndex, error) {
	x := c.client(client)
	x.mu.Lock()
	if x.loaded {
		return x, nil
	}
	x.mu.Unlock()
	select {
	case x.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-x.writing }()
	for {
		x.mu.Lock()
		if x.loaded {
			return x, nil
		}
		forgot := x.forgot
		unstored := slices.Clone(x.segments) // of this run
		x.mu.Unlock()
		segments, tables, lists, err := c.walkIndices(ctx, client)
		if err != nil {
			return nil, err
		}
		segments = append(segments, unstored...)
		slices.SortFunc(segments, func(p, q *segment) int { return cmp.Compare(p.first, q.first) })
		var next uint64 // the first block that may be in none
		var holes []*segment
		for _, s := range segments {
			if s.seq != 0 && s.first > next && (s.after == 0 || s.after > 0 && next > 0 && uint64(s.after) >= next) {
				found, err := c.walkUnindexed(ctx, client, next, s.first)
				if err != nil {
					return nil, err
				}
				if len(found) > 0 {
					holes = append(holes, inMemory(found))
				}
			}
			next = max(next, s.last+1)
		}
		segments = append(segments, holes...)
		slices.SortFunc(segments, func(p, q *segment) int { return cmp.Compare(p.first, q.first) })
		// Blocks behind the last index: of a run that was killed.
		found, err := c.walkUnindexed(ctx, client, next, 0)
		if err != nil {
			return nil, err
		}
		x.mu.Lock()
		if x.forgot != forgot {
			x.mu.Unlock()
			continue
		}
		for _, s := range holes {
			c.hold(s.held())
		}
		if next > 0 {
			x.last = max(x.last, next-1)
		}
		x.segments, x.tables, x.lists, x.loaded = segments, tables, lists, true
		for n := len(found); len(x.pending) > 0 && n > 0 && found[n-1].seq >= x.pending[0].seq; n-- {
			found = found[:n-1] // it came here meanwhile
		}
		size := 0
		for _, i := range found {
			size += i.size()
		}
		x.pending = append(found, x.pending...)
		x.size += size
		c.hold(size)
		return x, nil
	}
}

// walkIndices finds what is stored under a client's checkpoint subject.
func (c *catalog) walkIndices(ctx context.Context, client uint32) (segments []*segment, tables []*tablePart, lists []*directory, err error) {
	_, err = c.a.walk(ctx, checkpointStream, []string{c.a.store.subject("checkpoint", client)}, walkFrom{}, true, func(x *storedMessage) error {
		h := x.header
		if h.Get(hdrVersion) != formatVersion {
			return nil
		}
		switch h.Get(hdrKind) {
		case kindIndex, kindLean:
			if s, err := parseSegment(h, x.seq); err == nil {
				s.lean = h.Get(hdrKind) == kindLean
				segments = append(segments, s)
			}
		case kindKeys:
			var first, last int64
			if parseNumbers(h.Get(hdrBlocks), &first, &last) == nil {
				lists = append(lists, &directory{seq: x.seq, first: uint64(first), last: uint64(last)})
			}
		case kindTable:
			if t, err := parseTablePart(h, x.seq); err == nil {
				tables = append(tables, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, err
	}
	slices.SortFunc(segments, func(p, q *segment) int { return cmp.Compare(p.first, q.first) })
	for _, s := range segments {
		for _, d := range lists {
			if s.lean && d.first <= s.first && s.last <= d.last {
				s.list = d
			}
		}
	}
	return segments, tables, lists, nil
}

// inMemory is an index of blocks that was not stored.
func inMemory(infos []*info) *segment {
	s := &segment{first: infos[0].seq, last: infos[len(infos)-1].seq, from: infos[0].first, to: infos[0].last, infos: infos}
	for _, i := range infos {
		s.sums.add(i)
		s.from, s.to = min(s.from, i.first), max(s.to, i.last)
	}
	return s
}

// walkUnindexed finds the blocks from one on, up to another, or 0: up to the first that this run stored. Damaged ones, which
// nobody else may know of, are among them as damagedBlock has them; they may be of other clients.
func (c *catalog) walkUnindexed(ctx context.Context, client uint32, next, end uint64) (found []*info, err error) {
	l := lookup{st: c.a.stream(messageStream)}
	var late error
	// hole looks for damaged blocks between two that follow each other, nil: the first or last.
	hole := func(after, before *info) error {
		from, to, near := max(next, 1)-1, end, before
		if after != nil {
			from, near = after.seq, after
		}
		if before != nil {
			to = before.seq
		} else if end == 0 {
			to = 1<<64 - 1
		}
		if near == nil {
			return nil // nothing is known of when these were
		}
		seqs, err := l.between(ctx, from, to)
		for _, seq := range seqs {
			near = damagedBlock(seq, near)
			found = append(found, near)
		}
		return err
	}
	var last *info
	short, err := c.a.walk(ctx, messageStream, []string{c.a.store.subject("msg", client)}, walkFrom{seq: next}, true, func(x *storedMessage) error {
		if end != 0 && x.seq >= end {
			return ErrStop
		}
		i, err := parseInfo(x.header, x.seq, client)
		if err != nil {
			return nil // a reader of the block says so
		}
		if end == 0 && i.run == c.a.run {
			return ErrStop // it is about to be added
		}
		i.stored = x.size
		if last != nil && last.run == i.run && last.number >= i.number {
			return nil
		}
		if last == nil && i.number > 1 || last != nil && (last.run != i.run || i.number > last.number+1) {
			if err := hole(last, i); err != nil {
				late = err
				return ErrStop
			}
		}
		last = i
		found = append(found, i)
		return nil
	})
	if err = cmp.Or(err, late); err == nil && short {
		err = hole(last, nil)
	}
	return found, err
}

// infos are those of a segment, cached.
func (c *catalog) infos(ctx context.Context, x *clientIndex, s *segment, client uint32) ([]*info, error) {
	x.mu.Lock()
	list, forgot := s.infos, x.forgot
	x.mu.Unlock()
	if list != nil {
		return list, nil
	}
	l := lookup{st: c.a.stream(checkpointStream)}
	m, err := l.get(ctx, s.seq)
	damaged := err == errDamaged
	if err == nil {
		list, err = readInfos(m.Data, client)
		damaged = err != nil
	}
	if damaged {
		list, err = c.walkUnindexed(ctx, client, s.first, s.last+1) // the blocks say the same
	}
	if err != nil {
		return nil, fmt.Errorf("archive: index %d: %w", s.seq, err)
	}
	x.mu.Lock()
	if s.infos == nil && x.forgot == forgot {
		s.infos = list
		c.hold(s.held())
	}
	x.mu.Unlock()
	return list, nil
}

// back calls f with the blocks of a client, newest first, until it is false. Segments of which skip is true are left out;
// it is asked about each with the one before, nil for the oldest.
func (c *catalog) back(ctx context.Context, client uint32, skip func(s, before *segment) bool, f func(*info) bool) error {
	return c.backFor(ctx, client, nil, skip, func(i *info, _ bool) bool { return f(i) })
}

// backFor is back with what lists say of keys. It is all that there is of the blocks of which f is told that they are listed.
func (c *catalog) backFor(ctx context.Context, client uint32, v *mentions, skip func(s, before *segment) bool, f func(i *info, listed bool) bool) error {
	x, err := c.load(ctx, client)
	if err != nil {
		return err
	}
	pending := slices.Concat(x.storing, x.pending)
	segments := slices.Clone(x.segments)
	if v != nil {
		v.pending(&x.stored, c.a.seed)
		v.pending(&x.list, c.a.seed)
	}
	x.mu.Unlock()
	for k := len(pending) - 1; k >= 0; k-- {
		if !f(pending[k], v != nil && pending[k].listed) {
			return nil
		}
	}
	var last, gone *directory
	for k := len(segments) - 1; k >= 0; k-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		var before *segment
		if k > 0 {
			before = segments[k-1]
		}
		s := segments[k]
		if skip != nil && skip(s, before) {
			continue
		}
		infos, err := c.infos(ctx, x, s, client)
		var d directory // stays empty where there is nothing new to be looked up
		if v != nil && s.list != nil && s.list != last && err == nil {
			last = s.list
			d, err = c.directory(ctx, x, last)
		}
		if err == nil && len(d.parts) > 0 {
			err = c.stored(ctx, &d, v)
		}
		var bad *listError
		if errors.As(err, &bad) {
			v.unreadable(c.a.store.token, client, bad)
		}
		if bad != nil || errors.Is(err, errNoList) {
			gone, err = last, nil // its blocks are read
		}
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // no longer kept, as all before it
		}
		if err != nil {
			return err
		}
		for n := len(infos) - 1; n >= 0; n-- {
			if !f(infos[n], v != nil && infos[n].listed && s.list != nil && s.list != gone) {
				return nil
			}
		}
	}
	if c.hold(0) {
		c.dropCaches()
	}
	return nil
}

// flushes is how often a client was forgotten.
func (c *catalog) flushes(client uint32) int {
	x := c.client(client)
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.forgot
}

// blocks lists the blocks of a client that f selects, oldest first.
func (c *catalog) blocks(ctx context.Context, client uint32, f func(*info) bool) ([]*info, error) {
	var out []*info
	err := c.back(ctx, client, nil, func(i *info) bool {
		if f(i) {
			out = append(out, i)
		}
		return true
	})
	slices.Reverse(out)
	return out, err
}

// between is the first and the last block of a client with something of a time; first is 0 if there is none. What was
// appended but is not stored is not among them.
func (c *catalog) between(ctx context.Context, client uint32, from, to int64) (first, last uint64, err error) {
	// The block after the time says what was lost in it.
	skip := func(s, before *segment) bool { return s.to < from || s.from > to && before != nil && before.from > to }
	err = c.back(ctx, client, skip, func(i *info) bool {
		if i.last >= from && i.first <= to || i.gap != nil && i.gap.From.UnixNano() <= to && i.gap.To.UnixNano() >= from {
			first = i.seq
			last = max(last, i.seq)
		}
		return true
	})
	return first, last, err
}

// fetch calls f with the records of blocks, which are in the order of the stream. Blocks that are no longer kept are left
// out. Some blocks are decoded ahead.
func (a *Archive) fetch(ctx context.Context, client uint32, infos []*info, f func(*record, *info) error) (w Walked, err error) {
	w.Blocks = uint64(len(infos))
	ahead, err := a.newAhead(min(maxAhead, runtime.GOMAXPROCS(0), len(infos)), func(b *aheadBlock) error {
		w.Decoded++
		err := b.each(f)
		var bad *blockError
		if errors.As(err, &bad) {
			w.corrupt(a.unreadable(b.info.seq, client, b.at, bad.err))
			return nil
		}
		return err
	})
	if err != nil {
		return w, err
	}
	defer ahead.close()
	if err := a.fetchRaw(ctx, client, infos, &w, ahead.add); err != nil {
		return w, err
	}
	return w, ahead.drain(0)
}

// fetchRaw calls f with the payloads of blocks. Those that are no longer kept are left out, those that are damaged also noted.
func (a *Archive) fetchRaw(ctx context.Context, client uint32, infos []*info, w *Walked, f func(i *info, data []byte, at time.Time) error) error {
	l := lookup{st: a.stream(messageStream)}
	flushes := a.catalog.flushes(client)
	bad := func(i *info, at time.Time, err error) {
		if a.catalog.flushes(client) == flushes { // else all of it has gone
			w.corrupt(a.unreadable(i.seq, client, at, err))
		}
	}
	give := func(i *info, h nats.Header, data []byte, at time.Time) error {
		// A store that has lost its end gives the same sequences once more.
		var run, number int64
		if err := parseNumbers(h.Get(hdrBlock), &run, &number); err != nil || run != i.run || uint64(number) != i.number {
			bad(i, time.Unix(0, i.last), errMissing)
			return nil
		}
		return f(i, data, at)
	}
	one := func(i *info) error {
		m, err := l.get(ctx, i.seq)
		switch {
		case err == nil:
			return give(i, m.Header, m.Data, m.Time)
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			bad(i, time.Unix(0, i.last), err)
		case !a.expired(&l.gone.streamState, i):
			bad(i, time.Unix(0, i.last), errMissing)
		}
		return nil
	}
	// Many that lie near each other are sent in one go; few are asked for one by one.
	if n := len(infos); n > 64 && (infos[n-1].seq-infos[0].seq)/uint64(n) < 16 {
		_, err := a.walk(ctx, messageStream, []string{a.store.subject("msg", client)}, walkFrom{seq: infos[0].seq}, false, func(x *storedMessage) error {
			for len(infos) > 0 && infos[0].seq < x.seq {
				if err := one(infos[0]); err != nil {
					return err
				}
				infos = infos[1:]
			}
			if len(infos) > 0 && infos[0].seq == x.seq {
				if err := give(infos[0], x.header, x.data, x.at); err != nil {
					return err
				}
				infos = infos[1:]
			}
			if len(infos) == 0 {
				return ErrStop
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, i := range infos {
		if err := one(i); err != nil {
			return err
		}
	}
	return nil
}
