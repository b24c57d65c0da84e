package archive

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What is damaged on the disk, so that its checksum does not hold, is still there for the server: its sequence is not deleted,
// and a consumer counts it as pending, though it passes over it without a word; a request for it is answered as one for
// something deleted. So a walk on which nothing comes looks whether anything is to come, and what was not found is looked up
// among what is deleted.

// errDamaged says that the store has a message and cannot read it.
var errDamaged = errors.New("damaged: the store cannot read it")

// stalled is how long a walk waits for the next message before it looks why there is none.
const stalled = time.Second

// delivery takes what a consumer is sent, one by one.
type delivery struct {
	iter  jetstream.MessagesContext
	ctx   context.Context
	wait  context.Context // ends with ctx, or when nothing came for a while
	end   context.CancelFunc
	timer *time.Timer
}

func newDelivery(ctx context.Context, iter jetstream.MessagesContext) *delivery {
	d := &delivery{iter: iter, ctx: ctx}
	d.renew()
	return d
}

func (d *delivery) renew() {
	d.wait, d.end = context.WithCancel(d.ctx)
	d.timer = time.AfterFunc(stalled, d.end)
}

// next is the next message; nil when nothing came for a while.
func (d *delivery) next() (jetstream.Msg, error) {
	d.timer.Reset(stalled)
	m, err := d.iter.Next(jetstream.NextContext(d.wait))
	d.timer.Stop()
	switch {
	case err == nil:
		return m, nil
	case d.ctx.Err() != nil:
		return nil, d.ctx.Err()
	case d.wait.Err() != nil:
		d.end()
		d.renew()
		return nil, nil
	}
	return nil, wrap(err)
}

func (d *delivery) close() {
	d.timer.Stop()
	d.end()
	d.iter.Stop()
}

// deleted is what a stream has no more: all before its first message, and some.
type deleted struct {
	first, last uint64
	some        []uint64 // in order
}

func deletedOf(ctx context.Context, st jetstream.Stream) (deleted, error) {
	i, err := st.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return deleted{}, wrapIn(ctx, err)
	}
	slices.Sort(i.State.Deleted)
	return deleted{i.State.FirstSeq, i.State.LastSeq, i.State.Deleted}, nil
}

// has says that a message that could not be read is there all the same.
func (d *deleted) has(seq uint64) bool {
	_, gone := slices.BinarySearch(d.some, seq)
	return seq >= d.first && seq <= d.last && !gone
}

// over says that a walk on which nothing comes is at its end: there is nothing more from a message on that can be read.
func over(ctx context.Context, st jetstream.Stream, subjects []string, next uint64) (bool, error) {
	for _, s := range subjects {
		_, err := st.GetMsg(ctx, max(next, 1), jetstream.WithGetMsgSubject(s))
		if err == nil {
			return false, nil // the server is slow
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, wrapIn(ctx, err)
		}
	}
	return true, nil
}

// missing sorts what could not be got: errDamaged, or ErrMsgNotFound where it is rightly gone. known may be nil, or is filled
// in once for several.
func missing(ctx context.Context, st jetstream.Stream, seq uint64, known *deleted) error {
	if known == nil {
		known = new(deleted)
	}
	if known.last == 0 {
		var err error
		if *known, err = deletedOf(ctx, st); err != nil {
			return err
		}
	}
	if known.has(seq) {
		return errDamaged
	}
	return jetstream.ErrMsgNotFound
}

// unread adds to w those blocks of a client between two, which are left out, that match and are damaged.
func (a *Archive) unread(ctx context.Context, client uint32, m *matcher, after, before uint64, w *Walked) error {
	var infos []*info
	outside := func(s, _ *segment) bool { return s.last <= after || s.first >= before }
	if err := a.catalog.back(ctx, client, outside, func(i *info) bool {
		if i.seq > after && i.seq < before && m.block(i) {
			infos = append(infos, i)
		}
		return i.seq > after
	}); err != nil {
		return err
	}
	slices.Reverse(infos)
	return a.fetchRaw(ctx, client, infos, w, func(*info, []byte, time.Time) error { return nil })
}
