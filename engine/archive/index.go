package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
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
//	headers   Bmp-Kind: index | Bmp-Blocks: first and last sequence | Bmp-Time: arrival from, to
//	          Bmp-Sums: blocks, records, bytes of messages, stored, routes, messages lost, bytes lost, flags
//	payload   s2 of the infos, in varints
//
// What is not in an index yet is in memory; after a kill it is read again from the blocks, and indexed.
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

	kindIndex = "index"
	kindTable = "table"
)

type clientIndex struct {
	mu       sync.Mutex
	loaded   bool
	segments []*segment // in the order of their blocks
	pending  []*info    // blocks of this run that are in no index
	list     keyList    // of pending
	size     int        // of pending and list
	tables   []*tablePart
	lists    []*directory
}

// segment is an index that is stored.
type segment struct {
	seq         uint64 // of the index
	first, last uint64 // blocks
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
		x = &clientIndex{}
		c.clients[id] = x
	}
	return x
}

// forget drops what is known of a client.
func (c *catalog) forget(id uint32) {
	x := c.client(id)
	x.mu.Lock()
	c.hold(-x.size)
	x.segments, x.pending, x.list, x.size, x.tables, x.lists = nil, nil, keyList{}, 0, nil, nil
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
	x.mu.Lock()
	hour := int64(c.a.o.hour)
	routes := i.routesOf
	i.routesOf = nil
	most := indexBytes
	if x.list.entries > 0 {
		most = listPending
	}
	if n := len(x.pending); n > 0 && (x.pending[0].first/hour != i.first/hour || x.size-x.list.size() > most || !x.list.room(routes)) {
		c.writePending(client, x)
	}
	size := i.size() - x.list.size()
	x.pending = append(x.pending, i)
	x.list.add(i, routes)
	size += x.list.size()
	x.size += size
	full := c.hold(size)
	x.mu.Unlock()
	if full {
		c.relieve()
	}
}

// relieve makes room in memory: cached indices go, and what is pending of many clients is written.
func (c *catalog) relieve() {
	c.mu.Lock()
	ids := make([]uint32, 0, len(c.clients))
	for id := range c.clients {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	for _, id := range ids {
		x := c.client(id)
		if !x.mu.TryLock() {
			continue // its worker or a query is at it
		}
		for _, s := range x.segments {
			if s.infos != nil && s.seq != 0 {
				for _, i := range s.infos {
					c.hold(-i.size())
				}
				s.infos = nil
			}
		}
		for _, d := range x.lists {
			if d.blocks != nil {
				c.hold(-d.size())
				d.blocks, d.holders, d.parts = nil, nil, nil
			}
		}
		if x.size > 4<<10 {
			c.writePending(id, x)
		}
		x.mu.Unlock()
	}
}

// flush writes all that is pending.
func (c *catalog) flush(ctx context.Context) error {
	c.mu.Lock()
	ids := make([]uint32, 0, len(c.clients))
	for id := range c.clients {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		x := c.client(id)
		x.mu.Lock()
		if len(x.pending) > 0 {
			c.writePending(id, x)
		}
		x.mu.Unlock()
	}
	return nil
}

// writePending stores what is pending: its list, where it is worth one, and indices. It is called with x locked.
func (c *catalog) writePending(client uint32, x *clientIndex) {
	var d *directory
	if len(x.pending) >= c.a.o.list && x.list.entries > 0 {
		if d = c.writeList(client, &x.list); d != nil && x.loaded {
			x.lists = append(x.lists, d)
			c.hold(d.size())
		}
	}
	for rest := x.pending; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && size < indexBytes {
			size += rest[n].size()
			if d != nil && rest[n].listed {
				size -= len(rest[n].filter)
			}
			n++
		}
		c.write(client, x, rest[:n], d)
		rest = rest[n:]
	}
	c.hold(-x.size)
	x.pending, x.list, x.size = nil, keyList{}, 0
}

// write stores an index of infos; those that are in a list are without their filters. If that cannot be, they are found
// again from the blocks. It is called with x locked.
func (c *catalog) write(client uint32, x *clientIndex, infos []*info, list *directory) {
	kind := kindIndex
	if list != nil {
		kind = kindLean
	}
	s := &segment{lean: list != nil, list: list, first: infos[0].seq, last: infos[len(infos)-1].seq, from: infos[0].first, to: infos[0].last}
	var b []byte
	for _, i := range infos {
		s.sums.add(i)
		s.from, s.to = min(s.from, i.first), max(s.to, i.last)
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
			hdrSums: {numbers(s.sums.blocks, s.sums.records, s.sums.raw, s.sums.stored, s.sums.routes, s.sums.lost, s.sums.lostBytes, int64(s.sums.flags))},
		},
	}
	seq, err := c.a.store1(m, fmt.Sprintf("i%x.%d.%d", c.a.run, client, s.first))
	if err != nil {
		// Keep them in memory as if they were written; a later run finds them from the blocks.
		seq = 0
	}
	s.seq = seq
	if seq == 0 {
		s.infos, s.lean, s.list = slices.Clone(infos), false, nil
	}
	if x.loaded {
		x.segments = append(x.segments, s)
	}
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
	s := &segment{seq: seq}
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
	var segments []*segment
	var tables []*tablePart
	var lists []*directory
	err := c.a.walk(ctx, checkpointStream, []string{c.a.store.subject("checkpoint", client)}, walkFrom{}, true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		h := m.Headers()
		if h.Get(hdrVersion) != formatVersion {
			return nil
		}
		switch h.Get(hdrKind) {
		case kindIndex, kindLean:
			if s, err := parseSegment(h, meta.Sequence.Stream); err == nil {
				s.lean = h.Get(hdrKind) == kindLean
				segments = append(segments, s)
			}
		case kindKeys:
			var first, last int64
			if parseNumbers(h.Get(hdrBlocks), &first, &last) == nil {
				lists = append(lists, &directory{seq: meta.Sequence.Stream, first: uint64(first), last: uint64(last)})
			}
		case kindTable:
			if t, err := parseTablePart(h, meta.Sequence.Stream); err == nil {
				tables = append(tables, t)
			}
		}
		return nil
	})
	if err != nil {
		x.mu.Unlock()
		return nil, err
	}
	slices.SortFunc(segments, func(p, q *segment) int { return int(int64(p.first) - int64(q.first)) })
	for _, s := range segments {
		for _, d := range lists {
			if s.lean && d.first <= s.first && s.last <= d.last {
				s.list = d
			}
		}
	}
	// Blocks behind the last index: of a run that was killed.
	var next uint64
	for _, s := range segments {
		next = max(next, s.last+1)
	}
	var found []*info
	err = c.a.walk(ctx, messageStream, []string{c.a.store.subject("msg", client)}, walkFrom{seq: next}, true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if len(x.pending) > 0 && meta.Sequence.Stream >= x.pending[0].seq {
			return ErrStop
		}
		i, err := parseInfo(m.Headers(), meta.Sequence.Stream, client)
		if err != nil {
			return nil // a reader of the block says so
		}
		if i.run == c.a.run {
			return ErrStop // it is about to be added
		}
		if n, err := strconv.Atoi(m.Headers().Get("Nats-Msg-Size")); err == nil {
			i.stored = n
		}
		if n := len(found); n > 0 && found[n-1].run == i.run && found[n-1].number >= i.number {
			return nil
		}
		found = append(found, i)
		return nil
	})
	if err != nil {
		x.mu.Unlock()
		return nil, err
	}
	x.segments, x.tables, x.lists, x.loaded = segments, tables, lists, true
	for len(found) > 0 {
		n, size := 0, 0
		for n < len(found) && size < indexBytes {
			size += found[n].size()
			n++
		}
		c.write(client, x, found[:n], nil)
		found = found[n:]
	}
	return x, nil
}

// infos are those of a segment, cached. It is called with the client locked.
func (c *catalog) infos(ctx context.Context, s *segment, client uint32) ([]*info, error) {
	if s.infos != nil {
		return s.infos, nil
	}
	c.a.storeMu.RLock()
	m, err := c.a.store.checks.GetMsg(ctx, s.seq)
	c.a.storeMu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("archive: index %d: %w", s.seq, err)
	}
	list, err := readInfos(m.Data, client)
	if err != nil {
		return nil, fmt.Errorf("archive: index %d: %w", s.seq, err)
	}
	s.infos = list
	n := 0
	for _, i := range list {
		n += i.size()
	}
	c.hold(n)
	return list, nil
}

// back calls f with the blocks of a client, newest first, until it is false. Segments of which skip is true are left out;
// it is asked about each with the one before, nil for the oldest.
func (c *catalog) back(ctx context.Context, client uint32, skip func(s, before *segment) bool, f func(*info) bool) error {
	return c.backFor(ctx, client, nil, skip, func(i *info, _ bool) bool { return f(i) })
}

// backFor is back with what lists say of keys. It is all that there is of the blocks of which f is told that they are listed.
func (c *catalog) backFor(ctx context.Context, client uint32, v *events, skip func(s, before *segment) bool, f func(i *info, listed bool) bool) error {
	x, err := c.load(ctx, client)
	if err != nil {
		return err
	}
	pending := slices.Clone(x.pending)
	segments := slices.Clone(x.segments)
	if v != nil {
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
		x.mu.Lock()
		infos, err := c.infos(ctx, s, client)
		var d directory // stays empty where there is nothing new to be looked up
		if v != nil && s.list != nil && s.list != last && err == nil {
			last = s.list
			if err = c.directory(ctx, last); err == nil {
				d = *last
			}
		}
		x.mu.Unlock()
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
		c.relieve()
	}
	return nil
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

// newest is the newest block of a client; nil if there is none.
func (c *catalog) newest(ctx context.Context, client uint32) (last *info, err error) {
	err = c.back(ctx, client, nil, func(i *info) bool { last = i; return false })
	return last, err
}

// between is the first and the last block of a client with something of a time; first is 0 if there is none. What was
// appended but is not stored is not among them.
func (c *catalog) between(ctx context.Context, client uint32, from, to int64) (first, last uint64, err error) {
	err = c.back(ctx, client, func(s, _ *segment) bool { return s.to < from || s.from > to }, func(i *info) bool {
		if i.last >= from && i.first <= to {
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
			w.corrupt(Corrupt{"BMP_" + a.store.token, b.info.seq, client, b.at, bad.err})
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

// fetchRaw calls f with the payloads of blocks.
func (a *Archive) fetchRaw(ctx context.Context, client uint32, infos []*info, w *Walked, f func(i *info, data []byte, at time.Time) error) error {
	// Many that lie near each other are sent in one go; few are asked for one by one.
	if n := len(infos); n > 64 && (infos[n-1].seq-infos[0].seq)/uint64(n) < 16 {
		k := 0
		return a.walk(ctx, messageStream, []string{a.store.subject("msg", client)}, walkFrom{seq: infos[0].seq}, false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			for k < n && infos[k].seq < meta.Sequence.Stream {
				k++
			}
			if k == n {
				return ErrStop
			}
			if infos[k].seq != meta.Sequence.Stream {
				return nil
			}
			k++
			return f(infos[k-1], m.Data(), meta.Timestamp)
		})
	}
	for _, i := range infos {
		a.storeMu.RLock()
		m, err := a.store.msgs.GetMsg(ctx, i.seq)
		a.storeMu.RUnlock()
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			w.corrupt(Corrupt{"BMP_" + a.store.token, i.seq, client, time.Time{}, err})
			continue
		}
		if err := f(i, m.Data, m.Time); err != nil {
			return err
		}
	}
	return nil
}
