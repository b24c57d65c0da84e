package archive

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"bmp/proto/bmp"
)

// Place is where a message stands among those of its client in this run of the station.
type Place struct {
	Session uint32
	Offset  int64     // in the session's stream
	Time    time.Time // of arrival
}

// compare says whether a record of this run came before the place, is the one there, or came after it.
func (p *Place) compare(r *record) int {
	if r.session != p.Session {
		return cmp.Compare(int32(r.session-p.Session), 0)
	}
	return cmp.Compare(r.offset, p.Offset)
}

// Window says which of the records that a Query selects Newest gives.
type Window struct {
	Last   int    // the newest so many
	Before *Place // of those that came before this message; nil: of all
	After  *Place // and after this one, in the same session; nil: of all. Its Time is not looked at
	// Bytes is how many bytes of messages are looked through at most, about; 0: as many as there are.
	Bytes int64
	Match func(*Message) bool // if not nil, selects, too
}

// Tail is what a search back from the newest record came upon. Gaps and corrupt blocks that lie before the oldest record it
// gave are not in it.
type Tail struct {
	Walked
	Whole bool      // the search ended where nothing older is kept, or came to Window.After
	Gone  bool      // Whole, and older records were kept once
	Cut   time.Time // what came before this was not looked at, for want of Window.Bytes; zero: not so
}

// Bounds of a search back.
const (
	searchWindow = 64      // blocks that are read in one go
	searchBlocks = 100_000 // looked at, with what the index says of them, where Window.Bytes bounds the search
)

// Newest returns the newest records that q and w select, oldest first. It goes back from the newest block, through what waits
// to be stored in memory and then through what is stored, by the index and no further than it has to. Nothing is stored for it.
func (a *Archive) Newest(ctx context.Context, client uint32, q Query, w Window) (list []Message, t Tail, err error) {
	if w.Last <= 0 {
		return nil, t, ctx.Err()
	}
	n := &newest{a: a, client: client, w: &w, need: w.Last, waited: make(map[blockName]bool)}
	n.m.q = &q
	n.m.prepare()
	n.filters = q.Peer != nil || q.OfType || q.Key != nil || w.Match != nil
	if n.inMemory(); !n.over {
		err = n.stored(ctx)
	}
	slices.Reverse(n.pieces)
	slices.Reverse(n.tail.Gaps)
	return slices.Concat(n.pieces...), n.tail, err
}

// newest is a search. Blocks are taken newest first.
type newest struct {
	a       *Archive
	client  uint32
	w       *Window
	m       matcher
	filters bool // not every record counts
	need    int  // records that are missing
	pieces  [][]Message
	tail    Tail
	waited  map[blockName]bool // that were in memory
	setBack bool               // the clock was set back behind the block that is looked at
	reached uint64             // the newest stored block with something that came before Window.After; 0: none
	over    bool
	newest  uint64 // the newest block of this run when the search began
}

// blockName is what makes a block of a client unique.
type blockName struct {
	run    int64
	number uint64
}

// takes says whether a record of a run is one of those wanted.
func (n *newest) takes(r *record, run int64, seq uint64, out *Message) bool {
	if n.w.Before != nil && run == n.a.run && n.w.Before.compare(r) >= 0 {
		return false
	}
	if p := n.w.After; p != nil {
		early := run != n.a.run || r.session != p.Session || p.compare(r) <= 0
		if early || r.kind == SessionStart {
			n.tail.Whole = true
			n.reached = max(n.reached, seq)
		}
		if early {
			return false
		}
	}
	if !n.m.record(r) {
		return false
	}
	*out = r.message(n.client, seq)
	return n.w.Match == nil || n.w.Match(out)
}

// later says that nothing of a block came before what is wanted, by the times of its records. Where the clock was set back
// they do not tell.
func (n *newest) later(run, first int64) bool {
	return n.w.Before != nil && run == n.a.run && !n.setBack && first > n.w.Before.Time.UnixNano()
}

// take counts what a block, which is 0 where it is not stored, gave, and takes note of the gap before it.
func (n *newest) take(seq uint64, got int, gap *Gap) {
	n.need -= got
	if n.need <= 0 || n.tail.Whole && n.reached == seq {
		n.over = true
		return
	}
	if gap == nil || n.w.Before != nil && !gap.From.Before(n.w.Before.Time) {
		return
	}
	if len(n.tail.Gaps) < maxPlanGaps {
		n.tail.Gaps = append(n.tail.Gaps, *gap)
	}
}

// newestOf keeps the newest records, which are given in their order.
type newestOf struct {
	most   int
	list   []Message // a ring once there are so many
	oldest int
}

func (k *newestOf) add(m *Message) {
	out := *m
	out.Raw = bytes.Clone(m.Raw)
	if len(k.list) < k.most {
		k.list = append(k.list, out)
		return
	}
	k.list[k.oldest] = out
	k.oldest = (k.oldest + 1) % k.most
}

func (k *newestOf) inOrder() []Message { return slices.Concat(k.list[k.oldest:], k.list[:k.oldest]) }

// inMemory looks through the blocks that are not stored yet.
func (n *newest) inMemory() {
	p := n.a.Client(n.client)
	b, ok := p.waiting(nil)
	if n.newest = b.name.number; b.name.run != n.a.run {
		p.mu.Lock()
		n.newest = p.number
		p.mu.Unlock()
	}
	if b.lost.Messages > 0 {
		n.take(0, 0, &b.lost)
	}
	for ; ok && !n.over; b, ok = p.waiting(&b) {
		n.waited[b.name] = true
		keep := newestOf{most: n.need}
		got := 0
		var r record
		var m Message
		for rest, ok := b.records, true; len(rest) > 0; {
			if rest, ok = nextRecord(rest, &r); !ok {
				break
			}
			if n.takes(&r, b.name.run, 0, &m) {
				keep.add(&m)
				got++
			}
		}
		n.tail.Blocks++
		n.pieces = append(n.pieces, keep.inOrder())
		n.setBack = n.setBack || b.back
		n.take(0, got, b.gap)
	}
}

// waitingBlock is a copy of a block that is not stored yet.
type waitingBlock struct {
	name    blockName
	old     bool // of an earlier run
	records []byte
	gap     *Gap // before it
	lost    Gap  // behind the newest block, where that was asked for
	back    bool
}

// waiting is the block that is not stored yet before another one, nil: the newest one; not ok where there is none, so that all
// that came before is stored.
func (p *Appender) waiting(next *waitingBlock) (b waitingBlock, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost Gap
	if next == nil {
		if lost = p.gap; p.buf != nil || p.before != nil {
			return waitingBlock{name: blockName{p.a.run, p.number}, records: bytes.Clone(p.buf), gap: p.before, lost: lost, back: p.back}, true
		}
	}
	for _, s := range slices.Backward(p.sealed) {
		old := s.run != 0
		name := blockName{s.of(p.a), s.number}
		if next != nil {
			switch {
			case old && !next.old: // those of earlier runs come first
			case old != next.old, name.run > next.name.run, name.run == next.name.run && name.number >= next.name.number:
				continue
			}
		}
		return waitingBlock{name: name, old: old, records: bytes.Clone(s.buf), gap: s.gap, lost: lost, back: s.back}, true
	}
	return waitingBlock{lost: lost}, false
}

// stored looks through the blocks that are stored.
func (n *newest) stored(ctx context.Context) error {
	// What the stream begins with is the oldest there is: the index may go back further.
	a := n.a
	st, err := a.stream(messageStream).Info(ctx)
	if err != nil {
		return wrapIn(ctx, err)
	}
	state := newStreamState(st)
	var window, wanted []*info // newest first
	var raw int64
	var looked uint64
	count, size := 0, 1
	read := func() error {
		err := n.read(ctx, window, wanted)
		window, wanted, count = window[:0], wanted[:0], 0
		size = min(2*size, searchWindow)
		if n.m.q.Progress != nil {
			n.m.q.Progress(looked, 0)
		}
		return err
	}
	// Peers come up and go down in blocks that say so.
	states := n.m.q.OfType && (n.m.q.Type == bmp.PeerUpType || n.m.q.Type == bmp.PeerDownType)
	var oldest *info
	var failed error
	err = a.catalog.back(ctx, n.client, nil, func(i *info) bool {
		if n.tail.Gone = a.expired(&state, i); n.tail.Gone {
			return false
		}
		if i.run == a.run && i.number > n.newest {
			return true // what came since would stand before what was in memory
		}
		if n.waited[blockName{i.run, i.number}] || oldest != nil && i.run == oldest.run && i.number >= oldest.number { // stored twice
			return true
		}
		oldest = i
		if n.w.After != nil && i.run != a.run {
			n.tail.Whole = true
			return false
		}
		if looked++; looked%64 == 0 && n.m.q.Progress != nil {
			n.m.q.Progress(looked, 0)
		}
		if n.w.Bytes > 0 && (raw >= n.w.Bytes || looked > searchBlocks) {
			if failed = read(); failed == nil && !n.over {
				n.tail.Cut = time.Unix(0, i.last)
			}
			return false
		}
		window = append(window, i)
		if n.m.block(i) && (!states || i.state()) && !n.later(i.run, i.first) {
			wanted = append(wanted, i)
			count += i.count
			raw += int64(i.raw)
		}
		n.setBack = n.setBack || i.flags&flagBack != 0
		if len(wanted) >= searchWindow || n.filters && len(wanted) >= size || !n.filters && count >= n.need {
			failed = read()
		}
		return failed == nil && !n.over
	})
	if err = cmp.Or(failed, err); err == nil && !n.over && n.tail.Cut.IsZero() {
		if err = read(); err == nil && !n.over {
			n.tail.Gone = n.tail.Gone || oldest != nil && oldest.number > 1
			n.tail.Whole = true
		}
	}
	n.tail.Gone = n.tail.Gone && n.tail.Whole
	return err
}

// read looks through the blocks of a window, of which those wanted are read.
func (n *newest) read(ctx context.Context, window, wanted []*info) error {
	if len(window) == 0 {
		return ctx.Err()
	}
	slices.Reverse(wanted)
	keep := newestOf{most: n.need}
	got := make(map[uint64]int, len(wanted))
	var m Message
	w, err := n.a.fetch(ctx, n.client, wanted, func(r *record, i *info) error {
		if n.takes(r, i.run, i.seq, &m) {
			keep.add(&m)
			got[i.seq]++
		}
		return nil
	})
	n.tail.Blocks += uint64(len(window))
	n.tail.Decoded += w.Decoded
	if err != nil {
		return err
	}
	n.pieces = append(n.pieces, keep.inOrder())
	last := window[0].seq
	for _, i := range window {
		last = i.seq
		if n.take(i.seq, got[i.seq], i.gap); n.over {
			break
		}
	}
	for _, c := range w.Corrupt {
		if c.Sequence >= last {
			n.tail.corrupt(c)
		}
	}
	n.over = n.over || n.tail.Whole
	return nil
}
