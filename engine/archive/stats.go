package archive

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	MaxIndex int64  // what they may take; -1: it is not bounded, as the server has no room set aside
	MaxAge   time.Duration
	MaxBytes int64

	// Of the blocks that are indexed, all but those that a killed run left and nobody asked about yet.
	Messages uint64 // records
	Raw      uint64 // bytes of messages
	Packed   uint64 // the same, packed
	Routes   uint64 // announced and withdrawn
	Missing  uint64 // blocks, at least, that are not there and have no reason not to be: the store has lost them
	Lost     uint64 // messages in gaps
	LostRaw  uint64

	// Of this run.
	Queued     int64 // bytes that wait to be stored
	QueueLimit int64
	Gaps       uint64
	LostNow    uint64 // messages lost in this run
	EventsLost uint64
	ListsLost  uint64 // lists of routes that could not be stored: searches for a prefix read more blocks
	Unreadable int    // blocks that were met and cannot be read, at most 10,000
	Trouble    bool   // storing fails at present

	Embedded bool // the server is the archive's own
	// Of the stream of messages; Cluster is empty where the server is alone.
	Cluster  string
	Leader   string // the server that writes it now
	Replicas int
	Current  int // of them that have all
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
		Embedded: a.o.Dir != "", LostNow: a.lost.Load(), EventsLost: a.eventsLost.Load(), ListsLost: a.catalog.listsLost.Load(), Trouble: a.troubled.Load(),
	}
	var infos [3]*jetstream.StreamInfo
	var err error
	for i, st := range []jetstream.Stream{a.store.msgs, a.store.events, a.store.checks} {
		if infos[i], err = st.Info(ctx); err != nil {
			a.storeMu.RUnlock()
			return s, wrapIn(ctx, err)
		}
	}
	a.storeMu.RUnlock()
	a.mu.Lock()
	s.Unreadable = len(a.met)
	a.mu.Unlock()
	m := infos[0].State
	if s.Blocks, s.Bytes = m.Msgs, m.Bytes; m.Msgs > 0 {
		s.From, s.To = m.FirstTime, m.LastTime
	}
	s.Events, s.Index = infos[1].State.Msgs, infos[2].State.Bytes
	s.MaxAge, s.MaxBytes, s.MaxIndex = infos[0].Config.MaxAge, infos[0].Config.MaxBytes, infos[2].Config.MaxBytes
	s.Replicas, s.Current = infos[0].Config.Replicas, 1
	if c := infos[0].Cluster; c != nil {
		s.Cluster, s.Leader = c.Name, c.Leader
		if c.Leader == "" {
			s.Current = 0 // they are choosing one
		}
		for _, r := range c.Replicas {
			if r.Current && !r.Offline {
				s.Current++
			}
		}
	}
	state := newStreamState(infos[0])
	clients, young, err := a.sums(ctx, state)
	if err != nil {
		return s, err
	}
	if young > m.Msgs && !state.full() {
		s.Missing = young - m.Msgs
	}
	var t sums
	for _, x := range clients {
		t.addSums(x.sums)
	}
	s.Messages, s.Raw, s.Packed, s.Routes = uint64(t.records), uint64(t.raw), uint64(t.stored), uint64(t.routes)
	s.Lost, s.LostRaw = uint64(t.lost), uint64(t.lostBytes)
	return s, nil
}

// clientSums adds up the blocks of a client that are indexed, or were stored in this run.
type clientSums struct {
	sums
	from, to int64 // arrival of the oldest and the newest record
}

func (x *clientSums) span(from, to int64) {
	if x.from == 0 || from < x.from {
		x.from = from
	}
	x.to = max(x.to, to)
}

// sums adds up all clients in one walk over their indices. young is how many blocks there are, at least, that are not of an age to
// be gone.
func (a *Archive) sums(ctx context.Context, state streamState) (all map[uint32]*clientSums, young uint64, err error) {
	cut := a.changed.Load()
	if state.maxAge > 0 {
		cut = max(cut, time.Now().Add(-state.maxAge).UnixNano())
	}
	out := make(map[uint32]*clientSums)
	of := func(client uint32) *clientSums {
		x := out[client]
		if x == nil {
			x = &clientSums{}
			out[client] = x
		}
		return x
	}
	_, err = a.walk(ctx, checkpointStream, []string{a.store.subject("checkpoint", "*")}, walkFrom{}, true, func(x *storedMessage) error {
		if h := x.header; h.Get(hdrKind) == kindIndex || h.Get(hdrKind) == kindLean {
			id, ok := subjectClient(x.subject)
			g, err := parseSegment(h, x.seq)
			if !ok || err != nil {
				return nil
			}
			if g.from > cut {
				young += uint64(g.sums.blocks)
			}
			if g.last >= state.first {
				x := of(id)
				x.addSums(g.sums)
				x.span(g.from, g.to)
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	a.catalog.mu.Lock()
	clients := maps.Clone(a.catalog.clients)
	a.catalog.mu.Unlock()
	for id, c := range clients {
		c.mu.Lock()
		for _, i := range slices.Concat(c.storing, c.pending) {
			if i.last > cut {
				young++
			}
			if !a.expired(&state, i) {
				x := of(id)
				x.add(i)
				x.span(i.first, i.last)
			}
		}
		c.mu.Unlock()
	}
	return out, young, nil
}

// subjectClient is the client that a subject ends in.
func subjectClient(s string) (id uint32, ok bool) {
	n, err := strconv.ParseUint(s[strings.LastIndexByte(s, '.')+1:], 10, 32)
	return uint32(n), err == nil
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

// EachClient sums up what is kept of every client of which there are blocks. It walks the indices once, and once more
// those of clients with gaps or with blocks that a killed run left.
func (a *Archive) EachClient(ctx context.Context) (map[uint32]ClientStats, error) {
	a.storeMu.RLock()
	st, err := a.store.msgs.Info(ctx, jetstream.WithSubjectFilter(a.store.subject("msg", ">")))
	a.storeMu.RUnlock()
	if err != nil {
		return nil, wrap(err)
	}
	all, _, err := a.sums(ctx, newStreamState(st))
	if err != nil {
		return nil, err
	}
	out := make(map[uint32]ClientStats, len(st.State.Subjects))
	for subject, blocks := range st.State.Subjects {
		id, ok := subjectClient(subject)
		if !ok {
			continue
		}
		x := all[id]
		if x == nil || uint64(x.blocks) < blocks || x.lost > 0 {
			if out[id], err = a.ClientStats(ctx, id); err != nil {
				return nil, err
			}
			continue
		}
		out[id] = ClientStats{From: time.Unix(0, x.from), To: time.Unix(0, x.to), Blocks: uint64(x.blocks), Messages: uint64(x.records),
			Raw: uint64(x.raw), Packed: uint64(x.stored)}
	}
	return out, nil
}
