package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/proto/bmp"
	"bmp/proto/control"
)

// archive is the station's archive; an error where it keeps none.
func (c *call) archive() (*archive.Archive, error) {
	if a := c.station.Archive(); a != nil {
		return a, nil
	}
	return nil, control.Errorf(control.CodeFailed, "This station keeps no archive")
}

// archivePatience is how long a command that can do without the archive waits for it.
const archivePatience = 5 * time.Second

type archiveJSON struct {
	From            any                 `json:"from"`
	To              any                 `json:"to"`
	SpanSeconds     int64               `json:"span_seconds"`
	Blocks          uint64              `json:"blocks"`
	Records         uint64              `json:"records"`      // messages, and begins and ends of sessions
	Bytes           uint64              `json:"bytes"`        // of messages
	PackedBytes     uint64              `json:"packed_bytes"` // the same, packed
	Ratio           any                 `json:"ratio"`
	DiskBytes       uint64              `json:"disk_bytes"`
	IndexBytes      uint64              `json:"index_bytes"`
	Events          uint64              `json:"events"`
	EventsLost      uint64              `json:"events_lost"`
	ListsLost       uint64              `json:"lists_lost"` // of routes, of this run
	RetentionSecs   int64               `json:"retention_seconds"`
	RetentionBytes  int64               `json:"retention_bytes"`
	IndexLimitBytes int64               `json:"index_limit_bytes"` // -1: none
	QueuedBytes     int64               `json:"queued_bytes"`
	QueueLimitBytes int64               `json:"queue_limit_bytes"`
	Gaps            uint64              `json:"gaps"` // of this run
	MessagesLost    uint64              `json:"messages_lost"`
	BytesLost       uint64              `json:"bytes_lost"`
	BlocksMissing   uint64              `json:"blocks_missing"`    // that the store has lost
	BlocksMet       int                 `json:"blocks_unreadable"` // that questions of this run met
	Failing         bool                `json:"failing"`
	Embedded        bool                `json:"embedded"` // the server is the station's own
	Cluster         any                 `json:"cluster"`  // name
	Replicas        int                 `json:"replicas"`
	ReplicasCurrent int                 `json:"replicas_current"`
	Clients         []archiveClientJSON `json:"clients"`
}

type archiveClientJSON struct {
	Client      uint32    `json:"client"`
	Name        any       `json:"client_name"`
	From        any       `json:"from"`
	To          any       `json:"to"`
	Blocks      uint64    `json:"blocks"`
	Records     uint64    `json:"records"`
	Bytes       uint64    `json:"bytes"`
	PackedBytes uint64    `json:"packed_bytes"`
	Gaps        []gapJSON `json:"gaps"`
}

type gapJSON struct {
	From     any    `json:"from"`
	To       any    `json:"to"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

// shownGaps is how many gaps of one client text shows; JSON has all.
const shownGaps = 10

func showArchive(ctx context.Context, c *call) error {
	a, err := c.archive()
	if err != nil {
		return err
	}
	// First, as it looks at the blocks that a killed run left, which Stats leaves out otherwise.
	each, err := a.EachClient(ctx)
	if err != nil {
		return err
	}
	st, err := a.Stats(ctx)
	if err != nil {
		return err
	}
	j := archiveJSON{
		From: c.time(st.From), To: c.time(st.To), SpanSeconds: jsonSeconds(st.To.Sub(st.From)), Blocks: st.Blocks, Records: st.Messages,
		Bytes: st.Raw, PackedBytes: st.Packed, DiskBytes: st.Bytes, IndexBytes: st.Index, Events: st.Events, EventsLost: st.EventsLost, ListsLost: st.ListsLost,
		RetentionSecs: jsonSeconds(st.MaxAge), RetentionBytes: st.MaxBytes, IndexLimitBytes: st.MaxIndex, QueuedBytes: st.Queued, QueueLimitBytes: st.QueueLimit,
		Gaps: st.Gaps, MessagesLost: st.Lost, BytesLost: st.LostRaw, BlocksMissing: st.Missing, BlocksMet: st.Unreadable, Failing: st.Trouble,
		Embedded: st.Embedded, Cluster: jsonString(st.Cluster), Replicas: st.Replicas, ReplicasCurrent: st.Current, Clients: []archiveClientJSON{},
	}
	ratio := ""
	if st.Packed > 0 {
		j.Ratio = st.Ratio()
		ratio = fmt.Sprintf(", packed %s (ratio %.2f)", formatSize(st.Packed, 1), st.Ratio())
	}
	span := "nothing yet"
	if !st.From.IsZero() {
		span = c.clock(st.From) + " to " + c.clock(st.To) + " (" + formatUptime(st.To.Sub(st.From)) + ")"
	}
	state := "messages are being stored"
	if st.Trouble {
		state = "storing fails (show log says why)"
	}
	kept := durationText(st.MaxAge) + ", at most " + formatSize(uint64(st.MaxBytes), 1)
	if st.MaxIndex > 0 {
		kept += ", and " + formatSize(uint64(st.MaxIndex), 1) + " of index"
	}
	var losses []string
	if st.Lost > 0 {
		losses = append(losses, messagesText(st.Lost)+", "+formatSize(st.LostRaw, 1))
	}
	if st.Missing > 0 {
		losses = append(losses, plural(int(st.Missing), "stored block"))
	}
	if st.EventsLost > 0 {
		losses = append(losses, formatCount(st.EventsLost, 1)+" events of this run")
	}
	if st.ListsLost > 0 {
		losses = append(losses, plural(int(st.ListsLost), "list of routes")+" of this run (searches read more)")
	}
	if st.Unreadable > 0 {
		losses = append(losses, plural(st.Unreadable, "block")+" that questions of this run could not read")
	}
	if len(losses) == 0 {
		losses = append(losses, "no message")
	}
	rows := []string{fmt.Sprintf("  %6s  %-20s  %-23s  %9s  %9s  %9s", "Client", "Name", "Since", "Records", "Data", "Packed")}
	ids := slices.Sorted(maps.Keys(each))
	for _, id := range ids {
		s := each[id]
		name := ""
		if cl, ok := c.station.Client(id); ok {
			name = cl.Name()
		}
		x := archiveClientJSON{id, jsonString(name), c.time(s.From), c.time(s.To), s.Blocks, s.Messages, s.Raw, s.Packed, []gapJSON{}}
		rows = append(rows, fmt.Sprintf("  %6d  %-20s  %-23s  %9s  %9s  %9s", id, dash(name), c.clock(s.From), formatCount(s.Messages, 1),
			formatSize(s.Raw, 1), formatSize(s.Packed, 1)))
		for i, g := range s.Gaps {
			x.Gaps = append(x.Gaps, gapJSON{c.time(g.From), c.time(g.To), g.Messages, g.Bytes})
			if older := len(s.Gaps) - shownGaps; i >= older {
				rows = append(rows, "          gap: "+c.gapText(&g))
			} else if i == 0 {
				rows = append(rows, "          "+plural(older, "older gap"))
			}
		}
		j.Clients = append(j.Clients, x)
	}
	if err := c.out.Document(j); err != nil {
		return err
	}
	if err := c.lines("Message archive"); err != nil {
		return err
	}
	err = c.block(
		field{"State", state},
		field{"Span", span},
		field{"Records", formatCount(st.Messages, 1) + " in " + plural(int(st.Blocks), "block")},
		field{"Data", formatSize(st.Raw, 1) + ratio},
		field{"On the disk", formatSize(st.Bytes, 1) + ", and " + formatSize(st.Index, 1) + " of index"},
		field{"Kept for", kept},
		field{"Servers", archiveServers(st)},
		field{"Waiting", formatSize(uint64(st.Queued), 1) + " of at most " + formatSize(uint64(st.QueueLimit), 1)},
		field{"Lost", strings.Join(losses, ", ")},
		field{"Events", formatCount(st.Events, 1)},
	)
	if err != nil || len(ids) == 0 {
		return err
	}
	return c.lines(append([]string{""}, rows...)...)
}

// archiveServers says where the archive is kept.
func archiveServers(st archive.Stats) string {
	switch {
	case st.Embedded:
		return "the station's own"
	case st.Cluster == "":
		return "one NATS server"
	}
	return fmt.Sprintf("%s of NATS cluster %s, %d up to date, %s leads", plural(st.Replicas, "replica"), st.Cluster, st.Current, dash(st.Leader))
}

func (c *call) gapText(g *archive.Gap) string {
	return messagesText(g.Messages) + " lost, " + c.clock(g.From) + " to " + c.clock(g.To)
}

// archiveText is the archive in a word: its size and span.
func (c *call) archiveText(ctx context.Context) string {
	a := c.station.Archive()
	if a == nil {
		return "none"
	}
	ctx, cancel := context.WithTimeout(ctx, archivePatience)
	defer cancel()
	bytes, from, to, err := a.Span(ctx)
	if err != nil {
		return "not to be read: " + err.Error()
	}
	if from.IsZero() {
		return "empty"
	}
	return formatSize(bytes, 2) + ", " + formatUptimeLong(to.Sub(from))
}

func retentionArchive(ctx context.Context, c *call) error {
	a, err := c.archive()
	if err != nil {
		return err
	}
	age, _ := c.m.Duration("duration")
	if age < time.Minute {
		return c.invalid("duration", "a duration of a minute or more (7d)")
	}
	size, _ := c.m.Size("size")
	if size < 1<<20 {
		return c.invalid("size", "a size of 1MB or more (20GB)")
	}
	beforeAge, beforeSize := a.Retention()
	if err := c.station.SetArchiveRetention(ctx, age, size); err != nil {
		return err
	}
	c.out.Done("Messages are archived for %s, at most %s (before: %s, %s)", durationText(age), sizeText(size), durationText(beforeAge), sizeText(beforeSize))
	return nil
}

// sizeText writes a size as it is typed, exactly.
func sizeText(n int64) string {
	for _, u := range []struct {
		name string
		n    int64
	}{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}} {
		if n%u.n == 0 {
			return strconv.FormatInt(n/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// pastMessages is how many `last` may say of messages of a time: they are held while the time is walked.
const pastMessages = 10_000

// messageFilter is which of the archived messages of a client the line wants, whatever their time. A peer that the router has not
// spoken of since the station started is known by the ID that an answer gave it, or by its name alone: unknown is what to say if no
// message has it.
func (c *call) messageFilter(cl *client.Client) (q archive.Query, unknown, err error) {
	if text := c.m.Value("type"); text != "" {
		q.OfType, q.Type = true, unknownType
		if t, ok := bmp.ParseMessageType(text); ok {
			q.Type = t
		}
	}
	y := c.m.Value("peer")
	if y == "" {
		return q, nil, nil
	}
	p, err := findPeer(cl, y)
	if err == nil {
		if k, ok := cl.ArchivePeer(p.ID); ok {
			q.Peer = &k
			return q, nil, nil
		}
		return q, nil, noPeer(cl, y)
	}
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeNotFound {
		return q, nil, err
	}
	if k, ok := cl.PastPeer(y); ok {
		q.Peer = &k
		return q, nil, nil
	}
	if client.IsPeerName(y) {
		return q, err, nil
	}
	return q, nil, err
}

// walkedNotes are what is to be said of what could not be read.
func (c *call) walkedNotes(w *archive.Walked) (notes []string) {
	for i := range w.Gaps {
		if i == shownGaps {
			notes = append(notes, fmt.Sprintf("%d more gaps", len(w.Gaps)-i))
			break
		}
		notes = append(notes, c.gapText(&w.Gaps[i]))
	}
	if n := uint64(len(w.Corrupt)) + w.More; n > 0 {
		notes = append(notes, fmt.Sprintf("%s cannot be read, the first is %v", plural(int(n), "block"), w.Corrupt[0]))
	}
	return notes
}

// showPastMessages is show client X messages since, and from ... to.
func showPastMessages(ctx context.Context, c *call, cl *client.Client) error {
	a, err := c.archive()
	if err != nil {
		return err
	}
	var from, to time.Time
	if t, ok := c.m.Time("since"); ok {
		from = t
	}
	if t, ok := c.m.Time("from"); ok {
		if !from.IsZero() {
			return c.invalid("from", "one time: since T, or from T to T")
		}
		from = t
		t, _ := c.m.Time("to")
		if to = c.through(t); to.Before(from) {
			return c.invalid("to", "a time that is not before the other")
		}
	}
	last, isLast := c.m.Number("last")
	if isLast && (last == 0 || last > pastMessages) {
		return c.invalidLast()
	}
	q, unknownPeer, err := c.messageFilter(cl)
	if err != nil {
		return err
	}
	q.From, q.To = from, to
	var notes []string
	if until := to; until.IsZero() || c.Now.Sub(until) < 5*time.Second || a.Load().Trouble {
		if until.IsZero() {
			until = c.Now
		}
		sctx, cancel := context.WithTimeout(ctx, archivePatience)
		err := a.SyncTo(sctx, cl.ID(), until)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, archive.ErrUnstored):
			notes = append(notes, "storing fails, the newest messages are not among these (show client X messages has them)")
		case err != nil:
			notes = append(notes, "the newest are not stored yet")
		}
	}
	form := c.messageForm()
	if err := c.columns(messageTable...); err != nil {
		return err
	}
	shown := 0
	show := func(m *client.Message) error {
		shown++
		return c.out.Record(c.messageRecord(m, form))
	}
	var newest []client.Message // a ring once it has as many as are wanted
	oldest := 0
	w, err := a.Messages(ctx, cl.ID(), q, func(am *archive.Message) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := client.FromArchive(am)
		if unknownPeer != nil && !strings.EqualFold(m.PeerName, c.m.Value("peer")) {
			return nil
		}
		if !isLast {
			return show(&m)
		}
		m.Raw = bytes.Clone(m.Raw)
		if uint64(len(newest)) < last {
			newest = append(newest, m)
		} else {
			newest[oldest] = m
			oldest = (oldest + 1) % len(newest)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range newest {
		if err := show(&newest[(oldest+i)%len(newest)]); err != nil {
			return err
		}
	}
	if shown == 0 && unknownPeer != nil {
		return unknownPeer
	}
	return c.endWith(plural(shown, "message"), append(notes, c.walkedNotes(&w)...))
}

func (c *call) invalidLast() error {
	return c.invalid("last", fmt.Sprintf("a number of messages, 1 to %d", pastMessages))
}

// searchBytes is how many bytes of archived messages are looked through for the newest ones, which may be few of very many.
const searchBytes = 256 << 20

// showOlderMessages shows the archived messages that came before what the memory has, the newest of them; notes are what is to be said beside
// the answer about them. Without an archive that answers the answer is what the memory has.
func (c *call) showOlderMessages(ctx context.Context, a *archive.Archive, cl *client.Client, q archive.Query, w archive.Window, show func(*client.Message) error) (t archive.Tail, notes []string, err error) {
	rctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(2*archivePatience, cancel)
	defer patience.Stop()
	tell := c.progress()
	q.Progress = func(done, _ uint64) {
		patience.Reset(2 * archivePatience)
		tell(fmt.Sprintf("%d blocks looked through", done))
	}
	w.Bytes = searchBytes
	list, t, err := a.Newest(rctx, cl.ID(), q, w)
	switch {
	case ctx.Err() != nil:
		return t, nil, ctx.Err()
	case err != nil && rctx.Err() != nil:
		notes = append(notes, "the archive does not answer")
	case err != nil:
		notes = append(notes, "older ones cannot be read: "+err.Error())
	case !t.Cut.IsZero():
		notes = append(notes, "what came before "+c.clock(t.Cut)+" was not looked through (since T does)")
	}
	for i := range list {
		m := client.FromArchive(&list[i])
		if err := show(&m); err != nil {
			return t, nil, err
		}
	}
	return t, append(notes, c.walkedNotes(&t.Walked)...), nil
}

// addPastSessions puts the sessions that the client's log does not have, those of earlier runs of the station, before those
// that it has; a note says what is wrong with that. A client that has had none in this run is down since the last of them ended.
func (c *call) addPastSessions(ctx context.Context, i *client.Info) (note string) {
	a := c.station.Archive()
	if a == nil {
		return ""
	}
	before := c.Now
	if len(i.Sessions) > 0 {
		before = i.Sessions[0].Start
	}
	ctx, cancel := context.WithTimeout(ctx, archivePatience)
	defer cancel()
	list, err := a.Sessions(ctx, i.ID)
	if err != nil {
		note = "earlier ones could not be read: " + err.Error()
	}
	var past []client.SessionInfo
	for _, s := range list {
		if !s.Start.Before(before) {
			continue
		}
		x := client.SessionInfo{Address: s.Address, Listener: s.Listener, Start: s.Start, End: s.End, Reason: s.Reason, Messages: s.Messages, Bytes: s.Bytes}
		if x.End.IsZero() {
			x.End = s.LastRecord
		}
		past = append(past, x)
	}
	if n := len(list); n > 0 && len(past) == n && len(i.Sessions) == 0 && i.State == client.Down {
		i.Since, i.LastMessage, i.DownReason = past[n-1].End, list[n-1].LastMessage, past[n-1].Reason
	}
	i.SessionsLost -= min(i.SessionsLost, uint64(len(past)))
	if over := len(past) - pastSessions; over > 0 {
		past = past[over:]
		i.SessionsLost += uint64(over)
	}
	i.Sessions = append(past, i.Sessions...)
	return note
}

// pastSessions is how many sessions of earlier runs are shown.
const pastSessions = 64
