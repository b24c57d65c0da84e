package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stats is what `show archive` shows.
type Stats struct {
	From, To time.Time // when the oldest and the newest block was stored; zero: there is none
	Blocks   uint64
	Bytes    uint64 // on the disk: blocks with their headers; of one of the replicas
	Events   uint64
	Index    uint64 // bytes of indices and checkpoints
	MaxAge   time.Duration
	MaxBytes int64

	// Of the blocks that are indexed, all but those that a killed run left and nobody asked about yet.
	Messages uint64 // records
	Raw      uint64 // bytes of messages
	Packed   uint64 // the same, packed
	Routes   uint64 // announced and withdrawn
	Lost     uint64 // messages in gaps
	LostRaw  uint64

	// Of this run.
	Queued     int64 // bytes that wait to be stored
	QueueLimit int64
	Gaps       uint64
	LostNow    uint64 // messages lost in this run
	EventsLost uint64
	Trouble    bool // storing fails at present
}

// Ratio is how much smaller packing makes the messages; 0 if nothing is known.
func (s Stats) Ratio() float64 {
	if s.Packed == 0 {
		return 0
	}
	return float64(s.Raw) / float64(s.Packed)
}

// Stats sums up the archive.
func (a *Archive) Stats(ctx context.Context) (Stats, error) {
	a.storeMu.RLock()
	s := Stats{
		MaxAge: a.o.MaxAge, MaxBytes: a.o.MaxBytes, Queued: a.used.Load(), QueueLimit: a.o.QueueBytes, Gaps: a.gaps.Load(),
		LostNow: a.lost.Load(), EventsLost: a.eventsLost.Load(), Trouble: a.troubled.Load(),
	}
	var infos [3]*jetstream.StreamInfo
	var err error
	for i, st := range []jetstream.Stream{a.store.msgs, a.store.events, a.store.checks} {
		if infos[i], err = st.Info(ctx); err != nil {
			a.storeMu.RUnlock()
			return s, fmt.Errorf("archive: %w", err)
		}
	}
	a.storeMu.RUnlock()
	m := infos[0].State
	if s.Blocks, s.Bytes = m.Msgs, m.Bytes; m.Msgs > 0 {
		s.From, s.To = m.FirstTime, m.LastTime
	}
	s.Events, s.Index = infos[1].State.Msgs, infos[2].State.Bytes
	var t sums
	err = a.walk(ctx, checkpointStream, []string{a.store.subject("checkpoint", "*")}, walkFrom{}, true, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if h := msg.Headers(); h.Get(hdrKind) == kindIndex {
			if g, err := parseSegment(h, meta.Sequence.Stream); err == nil && g.last >= m.FirstSeq {
				t.addSums(g.sums)
			}
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	a.catalog.mu.Lock()
	clients := make([]*clientIndex, 0, len(a.catalog.clients))
	for _, x := range a.catalog.clients {
		clients = append(clients, x)
	}
	a.catalog.mu.Unlock()
	for _, x := range clients {
		x.mu.Lock()
		for _, i := range x.pending {
			t.add(i)
		}
		x.mu.Unlock()
	}
	s.Messages, s.Raw, s.Packed, s.Routes = uint64(t.records), uint64(t.raw), uint64(t.stored), uint64(t.routes)
	s.Lost, s.LostRaw = uint64(t.lost), uint64(t.lostBytes)
	return s, nil
}

// ClientStats is the archive of one client.
type ClientStats struct {
	From, To time.Time // arrival of the oldest and the newest record; zero: there is none
	Blocks   uint64
	Messages uint64
	Raw      uint64
	Packed   uint64
	Gaps     []Gap // oldest first
}

// ClientStats sums up what is kept of a client.
func (a *Archive) ClientStats(ctx context.Context, client uint32) (s ClientStats, err error) {
	var t sums
	infos, err := a.catalog.blocks(ctx, client, func(i *info) bool { return true })
	if err != nil {
		return s, err
	}
	for _, i := range infos {
		t.add(i)
		if i.gap != nil {
			s.Gaps = append(s.Gaps, *i.gap)
		}
		if s.From.IsZero() {
			s.From = time.Unix(0, i.first)
		}
		s.To = time.Unix(0, i.last)
	}
	s.Blocks, s.Messages, s.Raw, s.Packed = uint64(t.blocks), uint64(t.records), uint64(t.raw), uint64(t.stored)
	return s, nil
}
