package archive

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// streamOf says which stream.
type streamOf uint8

const (
	messageStream streamOf = iota
	eventStream
	checkpointStream
)

// stream is the handle of one. It stays good for reading when the store is opened anew meanwhile, or gives errors.
func (a *Archive) stream(which streamOf) jetstream.Stream {
	a.storeMu.RLock()
	defer a.storeMu.RUnlock()
	return [...]jetstream.Stream{messageStream: a.store.msgs, eventStream: a.store.events, checkpointStream: a.store.checks}[which]
}

// storedMessage is a message of a stream. Its slices may be kept.
type storedMessage struct {
	seq     uint64
	at      time.Time // when it was stored
	subject string
	header  nats.Header
	data    []byte // nil in a walk over headers
	size    int    // of the data
	after   uint64 // messages that are to come, as far as known
}

func storedOf(m jetstream.Msg) (*storedMessage, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, wrap(err)
	}
	out := &storedMessage{meta.Sequence.Stream, meta.Timestamp, m.Subject(), m.Headers(), m.Data(), len(m.Data()), meta.NumPending}
	if n, err := strconv.Atoi(out.header.Get("Nats-Msg-Size")); err == nil {
		out.size = n
	}
	return out, nil
}

// walkFrom is where a walk begins: a sequence, or what was stored at or after a time, or all.
type walkFrom struct {
	seq  uint64
	time time.Time
}

const (
	// slack is how much earlier than asked for a walk by time begins, as times are taken before things are stored.
	slack = 2 * time.Second
	// walkAhead is how many messages the server sends ahead.
	walkAhead = 256
	// heartbeat is how often the server says that it has nothing. stalled is how long a walk waits for the next message
	// before it looks why there is none: longer than two heartbeats, whose absence has the consumer made anew on another
	// server.
	heartbeat = 500 * time.Millisecond
	stalled   = 2 * time.Second
)

// walk calls f with the messages of a stream, in their order, until it has caught up, or f returns ErrStop. Those that are damaged
// on the disk it leaves out. It is short if the server had said that there was more, which is damaged, or was deleted meanwhile.
func (a *Archive) walk(ctx context.Context, which streamOf, subjects []string, from walkFrom, headers bool, f func(*storedMessage) error) (short bool, err error) {
	st := a.stream(which)
	for {
		next, short, err := a.walkOn(ctx, st, subjects, from, headers, f)
		if err == ErrStop {
			return false, nil
		}
		if next == 0 || err != nil {
			return short, err
		}
		from = walkFrom{seq: next}
	}
}

// walkOn is walk until its consumer stands still. Then what comes next is asked for otherwise, and next is where the walk
// is to go on; 0: nothing is left.
func (a *Archive) walkOn(ctx context.Context, st jetstream.Stream, subjects []string, from walkFrom, headers bool, f func(*storedMessage) error) (next uint64, short bool, err error) {
	c := jetstream.OrderedConsumerConfig{FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverAllPolicy, HeadersOnly: headers, InactiveThreshold: 30 * time.Second}
	switch {
	case from.seq != 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from.seq
	case !from.time.IsZero():
		t := from.time.Add(-slack)
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &t
	}
	cons, err := st.OrderedConsumer(ctx, c)
	if err != nil {
		return 0, false, wrapIn(ctx, err)
	}
	defer a.endWalk(ctx, st, cons)
	next = max(from.seq, 1)
	left := uint64(1)
	if i := cons.CachedInfo(); i != nil {
		left, next = i.NumPending, max(next, i.Delivered.Stream+1)
	}
	if left == 0 {
		return 0, false, nil
	}
	// Without a limit of bytes, whose notes come on top of the messages and do not fit where those are queued.
	iter, err := cons.Messages(jetstream.PullMaxMessages(walkAhead), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return 0, false, wrap(err)
	}
	defer iter.Stop()
	defer context.AfterFunc(ctx, iter.Stop)() // it looks at no context while it makes a consumer anew
	for left > 0 {
		m, err := iter.Next(jetstream.NextMaxWait(stalled))
		switch {
		case ctx.Err() != nil:
			return 0, false, ctx.Err()
		case errors.Is(err, nats.ErrTimeout):
			x, err := nextOf(ctx, st, subjects, next)
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
				return 0, true, nil
			case ctx.Err() != nil:
				return 0, false, ctx.Err()
			case err != nil:
				continue // no server answers; the consumer goes on when one does
			}
			return x.seq + 1, false, f(x)
		case err != nil:
			return 0, false, wrap(err)
		}
		x, err := storedOf(m)
		if err != nil {
			return 0, false, err
		}
		left, next = x.after, x.seq+1
		if err := f(x); err != nil {
			return 0, false, err
		}
	}
	return 0, false, nil
}

// nextOf is the first message of the subjects from a sequence on that can be read, or ErrMsgNotFound.
func nextOf(ctx context.Context, st jetstream.Stream, subjects []string, seq uint64) (*storedMessage, error) {
	var first *jetstream.RawStreamMsg
	for _, s := range subjects {
		m, err := st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(s))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return nil, wrapIn(ctx, err)
		case first == nil || m.Sequence < first.Sequence:
			first = m
		}
	}
	if first == nil {
		return nil, jetstream.ErrMsgNotFound
	}
	return &storedMessage{seq: first.Sequence, at: first.Time, subject: first.Subject, header: first.Header, data: first.Data, size: len(first.Data)}, nil
}

// endWalk deletes the consumer of a walk, also of one that was cancelled. One that cannot be deleted goes when it has
// not been used for a while; without that, walks over many clients would meet the server's limit of consumers.
func (a *Archive) endWalk(ctx context.Context, st jetstream.Stream, cons jetstream.Consumer) {
	i := cons.CachedInfo()
	if i == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = st.DeleteConsumer(ctx, i.Name)
}
