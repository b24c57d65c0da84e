package archive

import (
	"context"
	"time"
)

// Span is how many bytes of blocks there are, and when the oldest and the newest of them were stored; zero: there is
// none. Unlike Stats it looks at no block, so that it costs the same however much there is.
func (a *Archive) Span(ctx context.Context) (bytes uint64, from, to time.Time, err error) {
	a.storeMu.RLock()
	defer a.storeMu.RUnlock()
	i, err := a.store.msgs.Info(ctx)
	if err != nil {
		return 0, from, to, wrap(err)
	}
	if i.State.Msgs > 0 {
		from, to = i.State.FirstTime, i.State.LastTime
	}
	return i.State.Bytes, from, to, nil
}

// Load is how the archive keeps up. It costs nothing to ask.
type Load struct {
	Queued     int64 // bytes that wait to be stored
	QueueLimit int64
	Open       int    // clients of which messages are being lost now
	Gaps       uint64 // of this run, as is what follows
	Lost       uint64 // messages
	LostBytes  uint64
	EventsLost uint64
	Trouble    bool // storing fails at present
}

// Load says how the archive keeps up.
func (a *Archive) Load() Load {
	a.mu.Lock()
	open := len(a.gapped)
	a.mu.Unlock()
	return Load{
		Queued: a.used.Load(), QueueLimit: a.o.QueueBytes, Open: open, Gaps: a.gaps.Load(), Lost: a.lost.Load(),
		LostBytes: a.lostBytes.Load(), EventsLost: a.eventsLost.Load(), Trouble: a.troubled.Load(),
	}
}
