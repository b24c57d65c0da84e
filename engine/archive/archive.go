package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// workers is how many blocks may be on their way to JetStream at once, of different clients.
const workers = 8

// Archive is an open archive. Its methods may be called by any goroutine.
type Archive struct {
	o    Options
	run  int64   // when it was opened, unix nanoseconds: with a client's block numbers, what makes a block unique
	runs []int64 // those of the station that are remembered, this one the last
	ends []int64 // of each, its last sign of life; 0: none
	seed uint64  // of the hashes in this run's lists: no router can know it

	retaining sync.Mutex // held by SetRetention, and while the store is opened anew

	storeMu sync.RWMutex // held shared while the store is used, exclusively while it is opened anew
	store   *store
	revived time.Time
	failing atomic.Int32 // failures to store in a row

	used        atomic.Int64 // bytes of buffers: open, sealed, being stored
	sealedCount atomic.Int64 // blocks sealed and not yet stored or given up
	lost        atomic.Uint64
	lostBytes   atomic.Uint64
	gaps        atomic.Uint64
	stored      atomic.Uint64 // blocks of this run
	rawBytes    atomic.Uint64 // of messages in them
	packedBytes atomic.Uint64

	encoders chan *packer
	free     [len(bufferSizes)]chan []byte

	mu        sync.Mutex
	work      sync.Cond // ready has something, or closing
	appenders map[uint32]*Appender
	ready     []*Appender
	busy      map[*Appender]struct{} // that have something sealed
	open      []openBlock            // in the order in which they were begun
	givenUp   []unkeptBlocks         // when it was closed
	gapped    map[*Appender]bool     // that the gap is open was told
	met       map[uint64]struct{}    // blocks that could not be read
	changed   atomic.Int64           // Options.Changed, or of this run; unix nanoseconds
	closed    bool
	closing   bool // and no more blocks come

	events      chan eventMessage
	eventsLost  atomic.Uint64
	catalog     catalog
	spill       *spill
	stop        chan struct{} // closed: what is not stored is given up
	flushing    chan struct{}
	done        sync.WaitGroup // workers and events
	flusherDone chan struct{}
	troubled    atomic.Bool
}

// packer is what one block needs to be packed.
type packer struct {
	*encoder
	*scanner
}

type openBlock struct {
	p      *Appender
	number uint64
	at     time.Time
}

// Open opens the archive of a station, or makes it. ctx bounds the opening alone.
func Open(ctx context.Context, o Options) (*Archive, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Archive{
		o: o, run: o.now().UnixNano(), seed: rand.Uint64(), appenders: make(map[uint32]*Appender), gapped: make(map[*Appender]bool), met: make(map[uint64]struct{}), busy: make(map[*Appender]struct{}),
		events: make(chan eventMessage, 4096), stop: make(chan struct{}), flushing: make(chan struct{}), flusherDone: make(chan struct{}),
	}
	if !o.Changed.IsZero() {
		a.changed.Store(o.Changed.UnixNano())
	}
	a.work.L = &a.mu
	a.catalog.init(a)
	n := o.Encoders
	if n == 0 {
		n = max(1, runtime.NumCPU()/4)
	}
	a.encoders = make(chan *packer, n)
	for range n {
		e, err := newEncoder()
		if err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
		a.encoders <- &packer{e, newScanner(a.seed)}
	}
	for i := range a.free {
		a.free[i] = make(chan []byte, 64)
	}
	if a.store, err = openStore(ctx, &a.o, a.run); err != nil {
		return nil, err
	}
	a.runs, a.ends = a.store.runs, a.store.ends
	a.spill = &spill{a: a, stop: make(chan struct{}), done: make(chan struct{})}
	if err := a.spill.open(); err != nil {
		a.store.close()
		return nil, err
	}
	for range workers {
		a.done.Go(a.worker)
	}
	a.done.Go(a.eventWriter)
	go a.flusher()
	return a, nil
}

// Close stores what is open and closes the archive. What is not stored when ctx ends is lost; the error says how much.
func (a *Archive) Close(ctx context.Context) error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	list := make([]*Appender, 0, len(a.appenders))
	for _, p := range a.appenders {
		list = append(list, p)
	}
	a.mu.Unlock()
	close(a.flushing)
	<-a.flusherDone
	for _, p := range list {
		p.mu.Lock()
		p.seal()
		p.sealGap()
		p.mu.Unlock()
	}
	a.mu.Lock()
	a.closing = true
	a.work.Broadcast()
	a.mu.Unlock()
	close(a.events)
	finished := make(chan struct{})
	go func() {
		a.done.Wait()
		close(finished)
	}()
	var err error
	var lost []unkeptBlocks
	select {
	case <-finished:
	case <-ctx.Done():
		a.spill.end()
		waiting := a.sealedCount.Load()
		close(a.stop)
		<-finished
		lost = mergeUnkept(append(a.givenUp, inMemoryAlone(a.unsettled(), time.Now())...))
		err = fmt.Errorf("archive: %w with %d blocks not stored", ctx.Err(), waiting)
	}
	if err == nil {
		err = a.catalog.flush(ctx)
	}
	a.spill.close(lost)
	a.storeMu.Lock()
	a.store.close()
	a.storeMu.Unlock()
	return err
}

// Client is what the messages of a client are given to. It is the same for an ID until Forget.
func (a *Archive) Client(id uint32) *Appender {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.appenders[id]
	if p == nil {
		p = &Appender{a: a, id: id, codings: make(map[codingKey]coding)}
		a.appenders[id] = p
	}
	return p
}

// buffer is an empty buffer of a size; nil when the queue is full.
func (a *Archive) buffer(size int) []byte {
	if a.used.Add(int64(size)) > a.o.QueueBytes {
		a.used.Add(-int64(size))
		return nil
	}
	for i, s := range bufferSizes {
		if s != size {
			continue
		}
		select {
		case b := <-a.free[i]:
			return b
		default:
		}
	}
	return make([]byte, 0, size)
}

func (a *Archive) recycle(b []byte) {
	a.used.Add(-int64(cap(b)))
	for i, s := range bufferSizes {
		if s == cap(b) {
			select {
			case a.free[i] <- b[:0]:
			default:
			}
		}
	}
}

func (a *Archive) opened(p *Appender) {
	a.mu.Lock()
	a.open = append(a.open, openBlock{p, p.number, p.opened})
	a.mu.Unlock()
}

func (a *Archive) gapBegins(p *Appender) {
	a.gaps.Add(1)
	a.mu.Lock()
	a.gapped[p] = false
	a.mu.Unlock()
}

// push has a worker take the client.
func (a *Archive) push(p *Appender) {
	a.mu.Lock()
	a.ready = append(a.ready, p)
	a.busy[p] = struct{}{}
	a.mu.Unlock()
	a.work.Signal()
}

// flusher ends blocks that are a second old, and tells of gaps.
func (a *Archive) flusher() {
	defer close(a.flusherDone)
	const tick = blockTime / 10
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-a.flushing:
			return
		case now := <-t.C:
			a.flushOld(now.Add(tick - blockTime))
			a.tellGaps()
		}
	}
}

func (a *Archive) flushOld(before time.Time) {
	a.mu.Lock()
	n := 0
	for n < len(a.open) && !a.open[n].at.After(before) {
		n++
	}
	old := append([]openBlock(nil), a.open[:n]...)
	a.open = append(a.open[:0], a.open[n:]...)
	a.mu.Unlock()
	for _, o := range old {
		o.p.sealOld(o.number)
	}
}

// tellGaps tells OnGap of gaps that began and ended, and stores gaps after which nothing came.
func (a *Archive) tellGaps() {
	a.mu.Lock()
	list := make(map[*Appender]bool, len(a.gapped))
	for p, told := range a.gapped {
		list[p] = told
	}
	a.mu.Unlock()
	for p, told := range list {
		p.mu.Lock()
		if p.gap.Messages > 0 && a.used.Load() < a.o.QueueBytes/2 {
			p.sealGap()
		}
		now, ended, open := p.gap, p.ended, p.gap.Messages > 0
		p.ended, p.gapTold = nil, open
		told = told && len(ended) == 0
		a.mu.Lock()
		if open {
			a.gapped[p] = true
		} else {
			delete(a.gapped, p)
		}
		a.mu.Unlock()
		p.mu.Unlock()
		if a.o.OnGap == nil {
			continue
		}
		for _, g := range ended {
			a.o.OnGap(g)
		}
		if open && !told {
			a.o.OnGap(now)
		}
	}
}

// giveUp leaves a block to the next run, which finds it, or that it is missing.
func (a *Archive) giveUp(p *Appender, s *sealed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.left = true
	if s.place > 0 {
		return
	}
	list := p.unkeptOf(nil, s, true)
	a.mu.Lock()
	a.givenUp = append(a.givenUp, list...)
	a.mu.Unlock()
	for _, g := range list {
		a.lost.Add(g.Messages)
		a.lostBytes.Add(g.Bytes)
	}
}

// tellEnded has a gap told that is over.
func (a *Archive) tellEnded(p *Appender, g Gap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, g)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.gapped[p]; !ok {
		a.gapped[p] = false
	}
}

// worker stores blocks until there will be none.
func (a *Archive) worker() {
	var payload []byte
	for {
		a.mu.Lock()
		for len(a.ready) == 0 && !(a.closing && a.sealedCount.Load() == 0) {
			a.work.Wait()
		}
		if len(a.ready) == 0 {
			a.mu.Unlock()
			return
		}
		p := a.ready[0]
		a.ready = append(a.ready[:0], a.ready[1:]...)
		a.mu.Unlock()

		p.mu.Lock()
		s := p.sealed[0]
		p.mu.Unlock()
		payload = a.writeBlock(p, s, payload)
		p.mu.Lock()
		p.sealed[0] = nil
		p.sealed = p.sealed[1:]
		more := len(p.sealed) > 0
		if !more {
			p.busy, p.sealed = false, nil
			a.mu.Lock()
			delete(a.busy, p)
			a.mu.Unlock()
		}
		s.stored = true
		spilling := s.spilling
		p.mu.Unlock()
		if !spilling {
			a.release(s)
		}
		a.mu.Lock() // so that no worker that is about to wait misses that this was the last
		a.sealedCount.Add(-1)
		if more {
			a.ready = append(a.ready, p) // this worker takes the next itself
		}
		if a.closing {
			a.work.Broadcast()
		}
		a.mu.Unlock()
	}
}

// writeBlock packs a block and stores it, however long that takes. payload is used for it and returned.
func (a *Archive) writeBlock(p *Appender, s *sealed, payload []byte) []byte {
	i := &info{run: s.of(a), number: s.number, gap: s.gap}
	if s.run != 0 {
		n, ok := a.lastStored(p.id, s.run)
		if !ok {
			a.giveUp(p, s)
			return payload
		}
		if n >= max(s.number, s.upTo) {
			return payload // by it, before it was killed
		}
		i.number = max(s.number, s.upTo, n+1)
	}
	if s.run != 0 && s.count > 0 {
		i.flags |= flagRecoded // how the peers' UPDATEs were read before it was known to the run that was killed
	}
	if s.back {
		i.flags |= flagBack
	}
	pk := <-a.encoders
	pk.scan(i, s.buf, p.codings, !s.full && s.run == 0)
	payload = append(payload[:0], pk.encode(s.buf, s.count, s.full)...)
	a.encoders <- pk
	if i.count == 0 && i.gap != nil {
		i.first, i.last = i.gap.To.UnixNano(), i.gap.To.UnixNano()
	}
	i.stored = len(payload)
	m := &nats.Msg{Subject: a.store.subject("msg", p.id), Header: i.header(), Data: payload}
	id := fmt.Sprintf("%x.%d.%d", i.run, p.id, i.number)
	seq, err := a.store1(m, id)
	if err != nil {
		select {
		case <-a.stop:
			a.giveUp(p, s)
			return payload
		default:
		}
		p.mu.Lock()
		if s.place > 0 || s.run != 0 { // the next program may be able to
			s.left = true
			p.mu.Unlock()
			return payload
		}
		if i.gap != nil {
			p.lose(i.gap.Messages, i.gap.Bytes, i.gap.From.UnixNano(), i.gap.To.UnixNano())
		}
		if s.count > 0 {
			p.lose(uint64(s.count), uint64(i.raw), i.first, i.last)
		}
		p.mu.Unlock()
		return payload
	}
	i.seq = seq
	if s.upTo > 0 {
		a.tellEnded(p, *s.gap)
	}
	a.stored.Add(1)
	a.rawBytes.Add(uint64(i.raw))
	a.packedBytes.Add(uint64(i.stored))
	a.catalog.add(p.id, i)
	return payload
}

// lastStored is the number of the newest block of a client that was stored in a run; 0: there is none. It tries until it knows,
// or the archive is closed, and then it is not ok.
func (a *Archive) lastStored(client uint32, run int64) (number uint64, ok bool) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), a.o.server.openTimeout)
		err := a.catalog.back(ctx, client, nil, func(i *info) bool {
			if i.run == run {
				number = i.number
			}
			return i.run > run // runs are the times of their starts
		})
		cancel()
		if err == nil {
			return number, true
		}
		select {
		case <-a.stop:
			return 0, false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// store1 stores a message under an ID by which it is not stored twice, and tries until it can or the archive is closed.
// Other errors are of messages that never can.
func (a *Archive) store1(m *nats.Msg, id string) (seq uint64, err error) {
	wait := 20 * time.Millisecond
	for {
		select {
		case <-a.stop: // what is stored now would pass for what follows a block that is not
			return 0, errStopped
		default:
		}
		a.storeMu.RLock()
		seq, err = a.publish(m, id)
		a.storeMu.RUnlock()
		if err == nil {
			a.failing.Store(0)
			if a.troubled.CompareAndSwap(true, false) && a.o.OnTrouble != nil {
				a.o.OnTrouble(nil)
			}
			return seq, nil
		}
		if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || refusedFor(err, errHeaderLong) {
			return 0, err
		}
		if a.troubled.CompareAndSwap(false, true) && a.o.OnTrouble != nil {
			a.o.OnTrouble(wrap(err))
		}
		select {
		case <-a.stop:
			return 0, err
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
		if a.failing.Load() >= 3 {
			a.revive()
		}
	}
}

var errStopped = errors.New("archive: it was closed")

// publish makes one attempt. It is called with the store held.
func (a *Archive) publish(m *nats.Msg, id string) (uint64, error) {
	if a.o.publish != nil {
		if err := a.o.publish(len(m.Data)); err != nil {
			return 0, err
		}
	}
	if err := a.store.free(); err != nil {
		return 0, err
	}
	if a.store.nc == nil {
		a.failing.Add(1)
		return 0, nats.ErrConnectionClosed
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.o.server.publishTimeout)
	defer cancel()
	ack, err := a.store.js.PublishMsg(ctx, m, jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0))
	if err != nil {
		a.failing.Add(1)
		return 0, err
	}
	return ack.Sequence, nil
}

// revive starts the embedded server anew: after a failed write JetStream may have turned itself, or a stream, off.
func (a *Archive) revive() {
	if a.o.Dir == "" || !a.retaining.TryLock() { // streams are being changed, by way of what there is
		return
	}
	defer a.retaining.Unlock()
	a.storeMu.Lock()
	defer a.storeMu.Unlock()
	if a.failing.Load() < 3 || time.Since(a.revived) < 2*time.Second || a.store.free() != nil {
		return
	}
	a.revived = time.Now()
	a.store.shut()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := a.store.connect(ctx); err != nil {
		a.store.shut()
		return
	}
	a.failing.Store(0)
}

// aliveIn is up to when all is known that came in a run that ended without a word, as far as other signs of life tell than
// what a client said; 0: there is none.
func (a *Archive) aliveIn(run int64) int64 {
	if i := slices.Index(a.runs, run); i >= 0 {
		return a.ends[i]
	}
	return 0
}

// runAfter is the run that followed another: when the station was started anew. It is next, which followed some time,
// where it is not known.
func (a *Archive) runAfter(run, next int64) int64 {
	if i := slices.Index(a.runs, run); i >= 0 && i+1 < len(a.runs) {
		return a.runs[i+1]
	}
	return next
}

// ErrNoRoom is what SetRetention returns where there can be no streams as large as that.
var ErrNoRoom = errors.New("archive: no room for so much")

// retentionPatience is for how long streams are tried to be changed, and to be given back what they had.
const retentionPatience = 5 * time.Second

// SetRetention changes how long and how much is kept of messages; zero leaves a bound as it is. Where it fails all is as it was.
func (a *Archive) SetRetention(ctx context.Context, age time.Duration, bytes int64) error {
	a.retaining.Lock()
	defer a.retaining.Unlock()
	a.storeMu.RLock()
	was := a.o
	want := was
	if age != 0 {
		want.MaxAge = age
	}
	if bytes != 0 {
		want.MaxBytes = bytes
	}
	st := a.store
	try, cancel := context.WithTimeout(ctx, retentionPatience)
	opened, err := st.openStreams(try, &want, true)
	cancel()
	if err != nil {
		// One of them may have been changed. What is not given back now is when the archive is opened again.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), retentionPatience)
		_, _ = st.openStreams(back, &was, false)
		cancel()
		a.storeMu.RUnlock()
		if refusedFor(err, errNoPlace, errNoStorage) {
			return ErrNoRoom
		}
		return wrapIn(ctx, err)
	}
	a.storeMu.RUnlock()
	a.storeMu.Lock()
	defer a.storeMu.Unlock()
	a.o.MaxAge, a.o.MaxBytes = want.MaxAge, want.MaxBytes
	a.store.streams = opened
	a.changed.Store(a.o.now().UnixNano())
	return nil
}

// Retention is what SetRetention sets.
func (a *Archive) Retention() (age time.Duration, bytes int64) {
	a.storeMu.RLock()
	defer a.storeMu.RUnlock()
	return a.o.MaxAge, a.o.MaxBytes
}

// Flushed is what Flush threw away.
type Flushed struct {
	Blocks  uint64
	Records uint64 // in them, messages and begins and ends of sessions; 0: it is not known
}

// Flush throws away all that is stored of a client, and says how much that was. Messages that come meanwhile may go, too. With
// forget the client will have no more messages.
func (a *Archive) Flush(ctx context.Context, client uint32, forget bool) (f Flushed, err error) {
	p := a.Client(client)
	p.mu.Lock()
	p.seal()
	p.mu.Unlock()
	// What waits to be stored is stored first, so that it goes, too.
	for a.pending(p) {
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	if n, err := a.records(ctx, client); err == nil {
		f.Records = n
	}
	a.catalog.forget(client) // what is being stored now is deleted afterwards
	if f.Blocks, err = a.purge(ctx, client); err != nil {
		return f, err
	}
	a.catalog.forget(client)
	if forget {
		a.mu.Lock()
		delete(a.appenders, client)
		a.mu.Unlock()
	}
	return f, nil
}

// countPatience is how long Flush waits for the index, which may be waiting to be stored.
const countPatience = time.Second

// records is how many records are stored of a client, by the index.
func (a *Archive) records(ctx context.Context, client uint32) (n uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	st, err := a.stream(messageStream).Info(ctx)
	if err != nil {
		return 0, wrapIn(ctx, err)
	}
	first := st.State.FirstSeq
	err = a.catalog.back(ctx, client, func(s, _ *segment) bool {
		if s.first >= first {
			n += uint64(s.sums.records)
		}
		return s.first >= first || s.last < first // else some of its blocks are no longer kept
	}, func(i *info) bool {
		if i.seq >= first {
			n += uint64(i.count)
		}
		return true
	})
	return n, err
}

// purge throws away what the streams have of a client.
func (a *Archive) purge(ctx context.Context, client uint32) (blocks uint64, err error) {
	a.storeMu.RLock()
	defer a.storeMu.RUnlock()
	subject := a.store.subject("msg", client)
	st, err := a.store.msgs.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, wrap(err)
	}
	blocks = st.State.Subjects[subject]
	if err := a.store.msgs.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return 0, wrap(err)
	}
	for _, part := range []any{client, keysSubject(client)} {
		if err := a.store.checks.Purge(ctx, jetstream.WithPurgeSubject(a.store.subject("checkpoint", part))); err != nil {
			return blocks, wrap(err)
		}
	}
	return blocks, nil
}

// Sync has what was appended so far stored, for queries that want it. It does not wait longer than ctx.
func (a *Archive) Sync(ctx context.Context, client uint32) error {
	p := a.Client(client)
	p.mu.Lock()
	p.seal()
	p.mu.Unlock()
	for a.pending(p) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// SyncTo is Sync for a question about a time. While storing fails it does not wait: what waits to be stored is of that time
// or earlier, ErrUnstored, or does not matter.
func (a *Archive) SyncTo(ctx context.Context, client uint32, at time.Time) error {
	p := a.Client(client)
	p.mu.Lock()
	p.seal()
	p.mu.Unlock()
	for a.pending(p) {
		if a.troubled.Load() {
			p.mu.Lock()
			later := len(p.sealed) > 0 && p.sealed[0].begin().After(at)
			p.mu.Unlock()
			if later {
				return nil
			}
			return ErrUnstored
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func (a *Archive) pending(p *Appender) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy
}
