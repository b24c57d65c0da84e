package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/engine/event"
)

// archiveClose is how long a station that stops waits for what is not stored yet.
const archiveClose = 10 * time.Second

// busyMessages is how many messages since the last look make a checkpoint of a client worth its room.
const busyMessages = 10_000

// Checkpoints are made at every look, which is an eighth of what is kept after the one before, within these bounds.
const (
	leastLook = 10 * time.Second
	mostLook  = time.Hour
)

// archiving is what a station does for its archive besides giving it messages: it keeps events, and makes checkpoints.
type archiving struct {
	*archive.Archive
	events sync.WaitGroup
	checks sync.WaitGroup
	stop   context.CancelFunc // of the checkpoints
	kept   chan struct{}      // how much is kept has been changed
}

// openArchive opens the archive in the state folder, if the options want one.
func (s *Station) openArchive(o Options) error {
	if o.Archive == nil || o.StateDir == "" && o.Archive.URL == "" {
		return nil
	}
	ao := *o.Archive
	if ao.Station == "" {
		ao.Station = cmp.Or(o.Name, "station")
	}
	if ao.Dir == "" && ao.URL == "" {
		ao.Dir = filepath.Join(o.StateDir, "archive")
	}
	if ao.MaxAge == 0 && ao.MaxBytes == 0 {
		// Opened with less than it was, it would lose at once what it may keep.
		if err := readRetention(o.StateDir, &ao); err != nil {
			return err
		}
	}
	if ao.URL != "" && ao.Owner == "" {
		owner, err := stateID(o.StateDir)
		if err != nil {
			return err
		}
		ao.Owner = owner
	}
	if ao.Grace == 0 {
		most := o.Timing.WithDefaults().StaleMost
		ao.Grace = most + most/10 // the session looks for it now and then
	}
	ao.OnGap, ao.OnTrouble = s.sayGap, s.sayTrouble
	ao.OnNote = func(text string) { s.say("Archive: %s", text) }
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, err := archive.Open(ctx, ao)
	if err != nil {
		return err
	}
	x := &archiving{Archive: a, kept: make(chan struct{}, 1)}
	ctx, x.stop = context.WithCancel(context.Background())
	sub := s.bus.Subscribe(event.Filter{All: event.AllKinds &^ event.KindSet(event.Message, event.Route)}, 4096)
	x.events.Go(func() { x.keepEvents(ctx, sub) })
	x.checks.Go(func() {
		s.sayMissing(ctx, a)
		s.checkpoints(ctx, x)
	})
	s.archive, s.env.Archive = x, a
	return nil
}

// close ends the archive, after the sessions have ended and the bus is closed.
func (x *archiving) close() error {
	if x == nil {
		return nil
	}
	x.stop()
	x.checks.Wait()
	x.events.Wait() // what is published after Close is nobody's
	ctx, cancel := context.WithTimeout(context.Background(), archiveClose)
	defer cancel()
	return x.Close(ctx)
}

// Archive is the message archive; nil for none.
func (s *Station) Archive() *archive.Archive { return s.env.Archive }

func (s *Station) sayGap(g archive.Gap) {
	e := event.Event{Time: time.Now(), Kind: event.Station, Client: g.Client, Console: true, Live: true}
	if g.Open {
		e.Text = fmt.Sprintf("Archive: messages of client %d are being lost, there is no room for them", g.Client)
	} else {
		e.Text = fmt.Sprintf("Archive: %d messages (%d bytes) of client %d were lost, from %s to %s", g.Messages, g.Bytes, g.Client,
			g.From.Format(time.RFC3339Nano), g.To.Format(time.RFC3339Nano))
	}
	s.bus.Publish(e)
}

// sayMissing says at the start that a file of the archive has been damaged or cut meanwhile.
func (s *Station) sayMissing(ctx context.Context, a *archive.Archive) {
	if st, err := a.Stats(ctx); err == nil && st.Missing > 0 {
		s.say("Archive: %d stored blocks of messages are missing, a file was damaged or cut; answers about their time say so", st.Missing)
	}
}

func (s *Station) sayTrouble(err error) {
	if err != nil {
		s.say("Archive: storing fails: %v", err)
	} else {
		s.say("Archive: storing goes on")
	}
}

// retentionFile is what keeps Station.SetArchiveRetention from one run to the next, in the state folder: nanoseconds, bytes,
// and when that was set, which older files lack.
const retentionFile = "archive-retention"

func readRetention(dir string, o *archive.Options) error {
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, retentionFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		var set int64
		if _, err = fmt.Sscanf(string(b), "%d %d %d\n", (*int64)(&o.MaxAge), &o.MaxBytes, &set); err == nil {
			o.Changed = time.Unix(0, set)
		} else {
			o.Changed = time.Now()
			_, err = fmt.Sscanf(string(b), "%d %d\n", (*int64)(&o.MaxAge), &o.MaxBytes)
		}
	}
	if err == nil && (o.MaxAge <= 0 || o.MaxBytes <= 0) {
		err = fmt.Errorf("%q is no retention", b)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// SetArchiveRetention changes how long and how much of the messages is archived, also for the runs to come.
func (s *Station) SetArchiveRetention(ctx context.Context, age time.Duration, bytes int64) error {
	if err := s.env.Archive.SetRetention(ctx, age, bytes); err != nil {
		return err
	}
	select {
	case s.archive.kept <- struct{}{}:
	default:
	}
	if s.options.StateDir != "" {
		path := filepath.Join(s.options.StateDir, retentionFile)
		err := os.WriteFile(path+".new", fmt.Appendf(nil, "%d %d %d\n", int64(age), bytes, time.Now().UnixNano()), 0o640)
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			return fmt.Errorf("it holds until the station is started again: state folder: %w", err)
		}
	}
	return nil
}

// pastEvent is an event as the archive keeps it; its time and kind are beside it.
type pastEvent struct {
	Kind    event.Kind     `json:"kind"`
	Client  uint32         `json:"client,omitempty"`
	Address netip.AddrPort `json:"address,omitzero"`
	Peer    uint32         `json:"peer_id,omitempty"`
	Text    string         `json:"text"`
	Console bool           `json:"console,omitempty"`
	Live    bool           `json:"live,omitempty"`
}

// eventPause is how long events may gather: a thread that is woken for each costs more than the event.
const eventPause = 10 * time.Millisecond

func (x *archiving) keepEvents(ctx context.Context, sub *event.Subscription) {
	for e := range sub.C() {
		if len(sub.C()) == 0 {
			select {
			case <-time.After(eventPause):
			case <-ctx.Done():
			}
		}
		b, err := json.Marshal(pastEvent{e.Kind, e.Client, e.Address, e.Peer, e.Text, e.Console, e.Live})
		if err == nil { // its fields cannot fail to be written
			x.PublishEvent(e.Kind.String(), e.Time, b)
		}
		if n, since := sub.Dropped(); n > 0 {
			b, _ := json.Marshal(pastEvent{Kind: event.Station, Text: fmt.Sprintf("Archive: %d events were not kept", n), Console: true})
			x.PublishEvent(event.Station.String(), since, b)
		}
	}
}

// MaxPastLines bounds what PastLines and NewestLines hold.
const MaxPastLines = 100_000

// PastLines are the console lines that the archive has of a time, the bounds included, in the order in which they
// happened; at most the newest 100,000, how many more there are, and how many cannot be read.
func (s *Station) PastLines(ctx context.Context, from, to time.Time) (lines []event.Event, more uint64, damaged int, err error) {
	if s.env.Archive == nil {
		return nil, 0, 0, nil
	}
	damaged, err = s.env.Archive.Events(ctx, nil, from, to, func(a archive.Event) error {
		e, ok := pastLine(&a)
		if !ok {
			return nil
		}
		if len(lines) == MaxPastLines {
			more += MaxPastLines / 10
			lines = append(lines[:0], lines[MaxPastLines/10:]...)
		}
		lines = append(lines, e)
		return nil
	})
	// Peer changes wait for others to be summed up with, and come later than what happened after them.
	slices.SortStableFunc(lines, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	return lines, more, damaged, err
}

// pastLine is a console line as it was archived; not ok where an event is none.
func pastLine(a *archive.Event) (e event.Event, ok bool) {
	var p pastEvent
	if json.Unmarshal(a.JSON, &p) != nil || !p.Console {
		return e, false
	}
	return event.Event{Time: a.Time, Kind: p.Kind, Client: p.Client, Address: p.Address, Peer: p.Peer, Text: p.Text, Console: true, Live: p.Live}, true
}

// searchEvents is how many archived events are looked through for the newest console lines, which may be few of very many.
const searchEvents = 500_000

// LinesTail is what a search back for console lines came upon.
type LinesTail struct {
	Gone    bool      // nothing older is kept, but was once
	Cut     time.Time // what was stored before this was not looked through; zero: not so
	Damaged int       // events that cannot be read
}

// lineName tells console lines apart. Those of one name follow each other in memory as they do in the archive.
type lineName struct {
	time         int64
	kind         event.Kind
	client, peer uint32
	text         string
}

func nameOf(e *event.Event) lineName {
	return lineName{e.Time.UnixNano(), e.Kind, e.Client, e.Peer, string([]rune(e.Text))} // as JSON has it
}

// NewestLines are the newest console lines that the archive has beside those that are known, of earlier runs, too, in the order in
// which they happened: so many, at most 100,000. progress, which may be nil, is told how many events were looked through.
func (s *Station) NewestLines(ctx context.Context, most int, known []event.Event, progress func(events int)) (lines []event.Event, t LinesTail, err error) {
	most = min(most, MaxPastLines)
	if s.env.Archive == nil || most <= 0 {
		return nil, t, nil
	}
	have := make(map[lineName]int, len(known))
	for i := range known {
		have[nameOf(&known[i])]++
	}
	looked := 0
	t.Gone, t.Damaged, err = s.env.Archive.NewestEvents(ctx, func(piece []archive.Event, stored time.Time) bool {
		for i := range slices.Backward(piece) {
			e, ok := pastLine(&piece[i])
			if !ok {
				continue
			}
			if n := nameOf(&e); have[n] > 0 {
				have[n]--
				continue
			}
			lines = append(lines, e)
		}
		// Newest first; of those of one time, those that were stored last.
		slices.SortStableFunc(lines, func(a, b event.Event) int { return b.Time.Compare(a.Time) })
		if looked += len(piece); progress != nil {
			progress(looked)
		}
		// What happened later than the oldest that is wanted was not stored before it happened.
		if len(lines) >= most && !stored.IsZero() && stored.Before(lines[most-1].Time) {
			return false
		}
		if looked >= searchEvents {
			t.Cut = stored
			return false
		}
		return true
	})
	lines = lines[:min(len(lines), most)]
	slices.Reverse(lines)
	return lines, t, err
}

// checkpoints makes checkpoints of busy clients, so that questions about the past need not go back further than to the
// newest, and of all before what they were built of is no longer kept.
func (s *Station) checkpoints(ctx context.Context, x *archiving) {
	messages := make(map[uint32]uint64) // of each client at the last look
	made := make(map[uint32]time.Time)  // the last checkpoint
	for {
		kept := s.archiveKept(ctx, x)
		select {
		case <-ctx.Done():
			return
		case <-x.kept:
			continue
		case <-time.After(min(max(kept/8, cmp.Or(s.options.look, leastLook)), mostLook)):
		}
		now := make(map[uint32]uint64)
		last := make(map[uint32]time.Time)
		failed := 0
		var first error
		for _, c := range s.Clients() {
			id := c.ID()
			now[id] = c.Totals().Messages
			base, began := made[id], c.Began()
			if base.Before(began) {
				base = began
			}
			last[id] = base
			at := time.Now()
			old := kept/2 + kept/4*time.Duration(id%64)/64 // not all that came at a time at once
			if now[id] < messages[id]+busyMessages && at.Sub(base) < old {
				continue
			}
			err := x.Checkpoint(ctx, id, at.Add(-time.Second), nil)
			if err == nil || errors.Is(err, archive.ErrNoBase) { // there will be one when its router comes again
				last[id] = at
			} else if ctx.Err() == nil {
				failed++
				first = cmp.Or(first, err)
			}
		}
		messages, made = now, last
		if failed > 0 {
			s.say("Archive: %d checkpoints could not be made, the first: %v", failed, first)
		}
	}
}

// StaleMost is for how long after a session began routes of the one before may be stale.
func (s *Station) StaleMost() time.Duration { return s.options.Timing.WithDefaults().StaleMost }

// archiveKept is for how long messages are kept: as retention says, or less where they are too many.
func (s *Station) archiveKept(ctx context.Context, x *archiving) time.Duration {
	age, most := x.Retention()
	if bytes, from, _, err := x.Span(ctx); err == nil && bytes >= uint64(most)/10*8 && !from.IsZero() {
		age = min(age, time.Since(from))
	}
	return age
}

// FlushArchive throws away what is archived of a client, forever where gone says that the client is no more, and says
// how much that was. It waits for the disk.
func (s *Station) FlushArchive(ctx context.Context, c *client.Client, gone bool) (archive.Flushed, error) {
	if s.env.Archive == nil {
		return archive.Flushed{}, nil
	}
	return s.env.Archive.Flush(ctx, c.ID(), gone)
}
