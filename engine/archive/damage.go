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
// something deleted. So what should be there and does not come is looked up among what is deleted.
//
// Where a file of JetStream is damaged in what says where the next message begins, the server cuts it there, and counts what came
// behind as deleted. But messages go from the front alone, by age and size, or all of a client: so blocks that the index knows and
// that have no reason to be gone are missing.

var (
	errDamaged = errors.New("damaged: the store cannot read it")
	errMissing = errors.New("missing: the store has lost it")
)

// lookup gets messages of a stream by their sequences.
type lookup struct {
	st   jetstream.Stream
	gone *deleted // as it was known last
}

// get is ErrMsgNotFound for what is rightly gone, and errDamaged for what is not.
func (l *lookup) get(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	m, err := l.st.GetMsg(ctx, seq)
	if !errors.Is(err, jetstream.ErrMsgNotFound) || l.gone != nil && !l.gone.lacks(seq) {
		return m, err
	}
	// What has gone meanwhile is no damage, nor is what the server that was asked did not have yet.
	if l.gone, err = deletedOf(ctx, l.st); err != nil {
		return nil, err
	}
	if m, err = l.st.GetMsg(ctx, seq); errors.Is(err, jetstream.ErrMsgNotFound) && l.gone.lacks(seq) {
		err = errDamaged
	}
	return m, err
}

// deleted is what a stream has no more: all before its first message, and some.
type deleted struct {
	streamState
	some []uint64 // in order
}

func deletedOf(ctx context.Context, st jetstream.Stream) (*deleted, error) {
	i, err := st.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, wrapIn(ctx, err)
	}
	slices.Sort(i.State.Deleted)
	return &deleted{newStreamState(i), i.State.Deleted}, nil
}

// lacks says that a message was not deleted.
func (d *deleted) lacks(seq uint64) bool {
	_, found := slices.BinarySearch(d.some, seq)
	return seq >= d.first && seq <= d.last && !found
}

// streamState is what there is of a stream, and what may be.
type streamState struct {
	first, last uint64
	bytes       uint64
	maxAge      time.Duration // 0: no bound
	maxBytes    int64         // 0 or less: no bound
}

func newStreamState(i *jetstream.StreamInfo) streamState {
	return streamState{i.State.FirstSeq, i.State.LastSeq, i.State.Bytes, i.Config.MaxAge, i.Config.MaxBytes}
}

// expired says that a block is rightly gone, if it is: it came before the first, and was of such an age, or the stream is so large,
// that it had to go, or had to before that was changed. A stream that is nearly full may have been so when it went.
func (a *Archive) expired(s *streamState, i *info) bool {
	old := s.maxAge > 0 && time.Since(time.Unix(0, i.last)) >= s.maxAge
	return i.seq < s.first && (old || s.full() || i.last < a.changed.Load())
}

func (s *streamState) full() bool { return s.maxBytes > 0 && s.bytes >= uint64(s.maxBytes)/10*9 }

// between lists the damaged messages of a stream between two sequences, which are left out.
func (l *lookup) between(ctx context.Context, after, before uint64) (seqs []uint64, err error) {
	if before-after <= 1 {
		return nil, nil
	}
	if l.gone, err = deletedOf(ctx, l.st); err != nil {
		return nil, err
	}
	for seq := max(after+1, l.gone.first); seq < before && seq <= l.gone.last; seq++ {
		if !l.gone.lacks(seq) {
			continue
		}
		switch _, err := l.get(ctx, seq); {
		case err == errDamaged:
			seqs = append(seqs, seq)
		case err != nil && !errors.Is(err, jetstream.ErrMsgNotFound):
			return seqs, err
		}
	}
	return seqs, nil
}

// skipped calls f with those blocks of a client between two, which are left out, that match and that a walk did not give, but could
// have, and notes those that are damaged.
func (a *Archive) skipped(ctx context.Context, client uint32, m *matcher, after, before uint64, w *Walked, f func(*info, []byte, time.Time) error) error {
	var infos []*info
	outside := func(s, _ *segment) bool { return s.last <= after || s.first >= before }
	if err := a.catalog.back(ctx, client, outside, func(i *info) bool {
		if i.seq > after && i.seq < before && m.block(i) {
			infos = append(infos, i)
		}
		return i.seq > after
	}); err != nil || len(infos) == 0 {
		return err
	}
	st, err := a.stream(messageStream).Info(ctx)
	if err != nil {
		return wrapIn(ctx, err)
	}
	state := newStreamState(st)
	slices.Reverse(infos)
	return a.fetchRaw(ctx, client, slices.DeleteFunc(infos, func(i *info) bool { return a.expired(&state, i) }), w, f)
}

// damagedBlock stands for a block of which nothing is known but where it is: as far as one can tell it has something of everything.
// near is the block before or after it.
func damagedBlock(seq uint64, near *info) *info {
	i := &info{
		seq: seq, run: near.run, number: near.number, first: near.first, last: near.last, count: 1,
		flags: flagState | flagAllPeers, filter: filter{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	if seq > near.seq {
		i.number, i.first, i.last = near.number+1, near.last, near.last+int64(blockTime)
	} else if i.number > 0 {
		i.number, i.last = near.number-1, near.first
		i.first = near.first - int64(blockTime)
	}
	return i
}
