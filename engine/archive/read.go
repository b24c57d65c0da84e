package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Query selects among the records of a client. The zero Query selects all.
type Query struct {
	From, To time.Time // of arrival, both included; zero is no bound
	Peer     *PeerKey  // only of this peer
	OfType   bool      // only messages of Type; where Type is not a known one, of all types not known
	Type     bmp.MessageType
	Markers  bool // SessionStart and SessionEnd, too; never StaleDropped
	// Key, with Family, is of a route: only Route Monitoring that announces or withdraws it.
	Family bgp.Family
	Key    []byte

	// Progress, if not nil, is called now and then with the blocks looked at and, as far as known, all there are.
	Progress func(done, all uint64)
}

// Walked is what a walk came upon.
type Walked struct {
	Blocks  uint64 // looked at
	Decoded uint64
	Corrupt []Corrupt // blocks, and lists of what is in them, that could not be read, at most 100
	More    uint64    // further ones
	Gaps    []Gap     // of the time asked for, at most 1000
}

// Corrupt is a block that cannot be read, or a list of the routes of blocks, in place of which these are read.
type Corrupt struct {
	Stream   string
	Sequence uint64
	Client   uint32
	Time     time.Time // when it was stored; zero where that is not known
	Err      error
}

func (c Corrupt) Error() string {
	stored := ""
	if !c.Time.IsZero() {
		stored = ", stored " + c.Time.Format(time.RFC3339)
	}
	return fmt.Sprintf("block %d of stream %s (client %d%s): %v", c.Sequence, c.Stream, c.Client, stored, c.Err)
}

func (w *Walked) corrupt(c Corrupt) {
	if len(w.Corrupt) < 100 {
		w.Corrupt = append(w.Corrupt, c)
	} else {
		w.More++
	}
}

// ErrStop, returned by a callback, ends a walk without an error.
var ErrStop = errors.New("stop")

// Messages calls f with the records that q selects, in the order of arrival. It holds one block and what the server sends
// ahead, some MiB.
func (a *Archive) Messages(ctx context.Context, client uint32, q Query, f func(*Message) error) (w Walked, err error) {
	m := matcher{q: &q}
	m.prepare()
	r, err := a.newReader()
	if err != nil {
		return w, err
	}
	defer r.close()
	waited := a.Client(client).waitingGaps()
	defer func() { w.Gaps = withWaiting(w.Gaps, waited, q.gap) }()
	start := walkFrom{seq: 1}
	end := uint64(1<<64 - 2) // the last block
	if !q.From.IsZero() {
		// The index says between which blocks what is asked for lies, also where the clock was set back.
		if start.seq, end, err = a.catalog.between(ctx, client, q.From.UnixNano(), m.to); err != nil || start.seq == 0 {
			return w, err
		}
	}
	block := func(i *info, data []byte, at time.Time) error {
		if !m.block(i) {
			return nil
		}
		w.Decoded++
		err := r.records(data, func(rec *record) error {
			if !m.record(rec) {
				return nil
			}
			out := rec.message(client, i.seq)
			return f(&out)
		})
		var bad *blockError
		if errors.As(err, &bad) {
			w.corrupt(a.unreadable(i.seq, client, at, bad.err))
			return nil
		}
		return err
	}
	var lastRun int64
	var lastNumber uint64
	last := start.seq - 1
	ended := false
	_, err = a.walk(ctx, messageStream, []string{a.store.subject("msg", client)}, start, false, func(x *storedMessage) error {
		w.Blocks++
		if q.Progress != nil && w.Blocks%64 == 0 {
			q.Progress(w.Blocks, w.Blocks+x.after)
		}
		i, err := parseInfo(x.header, x.seq, client)
		if err != nil {
			w.corrupt(a.unreadable(x.seq, client, x.at, err))
			return nil
		}
		if i.run == lastRun && i.number <= lastNumber {
			return nil // stored twice
		}
		if i.run == lastRun && i.number > lastNumber+1 || i.run != lastRun && (i.number > 1 || lastRun != 0) {
			if err := a.skipped(ctx, client, &m, last, min(i.seq, end+1), &w, block); err != nil {
				return err
			}
		}
		lastRun, lastNumber, last = i.run, i.number, i.seq
		if g := i.gap; g != nil && len(w.Gaps) < 1000 && q.gap(g) {
			w.Gaps = append(w.Gaps, *g)
		}
		if i.seq > end {
			ended = true
			return ErrStop
		}
		return block(i, x.data, x.at)
	})
	if err == nil && !ended {
		err = a.skipped(ctx, client, &m, last, end+1, &w, block)
	}
	if err == ErrStop {
		err = nil
	}
	return w, err
}

// gap says that something was lost in the time asked for.
func (q *Query) gap(g *Gap) bool {
	return g.Messages > 0 && (q.To.IsZero() || !g.From.After(q.To)) && !g.To.Before(q.From)
}

// unreadable names a block of the messages that cannot be read.
func (a *Archive) unreadable(seq uint64, client uint32, at time.Time, err error) Corrupt {
	a.mu.Lock()
	if len(a.met) < maxMet {
		a.met[seq] = struct{}{}
	}
	a.mu.Unlock()
	return Corrupt{"BMP_" + a.store.token, seq, client, at, err}
}

// maxMet is how many blocks that cannot be read are counted.
const maxMet = 10_000

// matcher is a Query made fast.
type matcher struct {
	q        *Query
	from, to int64
	peer     uint16
	key      uint64
	update   bgp.Update
	nlri     bgp.NLRI
	sections []bgp.Section
	parser   bmp.Parser
}

func (m *matcher) prepare() {
	m.from, m.to = -1<<63, 1<<63-1
	if !m.q.From.IsZero() {
		m.from = m.q.From.UnixNano()
	}
	if !m.q.To.IsZero() {
		m.to = m.q.To.UnixNano()
	}
	if m.q.Peer != nil {
		m.peer = m.q.Peer.hash()
	}
	if m.q.Key != nil {
		m.key = keyHash(m.q.Family, m.q.Key)
	}
}

// block says that something in a block may match.
func (m *matcher) block(i *info) bool {
	if i.last < m.from || i.first > m.to || i.count == 0 {
		return false
	}
	if m.q.Markers && i.state() {
		return true
	}
	return (m.q.Peer == nil || i.touches(m.peer)) && (m.q.Key == nil || i.filter.has(m.key))
}

func (m *matcher) record(r *record) bool {
	if r.arrival < m.from || r.arrival > m.to {
		return false
	}
	if r.kind != MessageRecord {
		return m.q.Markers && r.kind != StaleDropped
	}
	t := messageType(r.raw)
	if m.q.OfType && t != m.q.Type && (m.q.Type.Known() || t.Known()) {
		return false
	}
	if m.q.Peer != nil {
		var h bmp.PerPeerHeader
		if !peerHeader(r.raw, &h) || PeerKeyOf(&h) != *m.q.Peer {
			return false
		}
	}
	return m.q.Key == nil || t == bmp.RouteMonitoringType && m.hasKey(r)
}

func (m *matcher) hasKey(r *record) bool {
	pdu := updateOf(&m.parser, r)
	if pdu == nil || m.update.Parse(pdu, bgp.Context{AS4: r.flags&recordAS4 != 0, AddPath: r.addPath}) != nil {
		return false
	}
	m.sections = m.update.Sections(m.sections[:0])
	for k := range m.sections {
		sec := &m.sections[k]
		if sec.Family != m.q.Family {
			continue
		}
		m.nlri.Reset(sec.Family, sec.AddPath, sec.Withdraw, sec.Field)
		for m.nlri.Next() {
			if string(m.nlri.Key) == string(m.q.Key) {
				return true
			}
		}
	}
	return false
}

// reader decodes blocks.
type reader struct{ *decoder }

func (a *Archive) newReader() (reader, error) {
	d, err := newDecoder()
	if err != nil {
		return reader{}, wrap(err)
	}
	return reader{d}, nil
}

// blockError says that a block cannot be read.
type blockError struct{ err error }

func (e *blockError) Error() string { return e.err.Error() }

// records calls f with the records of a payload.
func (r reader) records(payload []byte, f func(*record) error) error {
	b, _, err := r.decode(payload)
	if err != nil {
		return &blockError{err}
	}
	var rec record
	for ok := true; len(b) > 0; {
		if b, ok = nextRecord(b, &rec); !ok {
			return &blockError{errCut}
		}
		if err := f(&rec); err != nil {
			return err
		}
	}
	return nil
}

// Session is a session of a client as the archive knows it.
type Session struct {
	// SessionRecord is that of its beginning, with Reason, Messages and Bytes of its end; where the station was killed before that,
	// those that are archived.
	SessionRecord
	End         time.Time // zero: it goes on, or the station was killed before it ended
	LastRecord  time.Time // arrival of the newest record of it; of a station that was killed its last sign of life, if that was later
	LastMessage time.Time // arrival of the newest message of it that is kept; zero: none is
}

// Sessions lists the sessions of a client that began in the archive or ended in it, oldest first. A session without an end
// is followed by one if its station was killed: then its reason is "station killed", and it ends for all that is known with its
// last record.
func (a *Archive) Sessions(ctx context.Context, client uint32) ([]Session, error) {
	// A session without an end is the last of its run: what came after the block in which it began is known by the headers.
	type rest struct {
		last     int64
		messages uint64 // in blocks that are not read
		bytes    uint64
		open     bool // no session is known to have begun in a later block
	}
	runs := make(map[int64]*rest)
	// Of the blocks that are not read, with messages alone, the newest before each that is, and after the last (nil).
	unread := make(map[*info]int64)
	var next *info
	infos, err := a.catalog.blocks(ctx, client, func(i *info) bool {
		t := runs[i.run]
		if t == nil {
			t = &rest{last: i.last, open: true}
			runs[i.run] = t
		}
		if t.open = t.open && i.flags&flagSession == 0; t.open && !i.state() {
			t.messages += uint64(i.count)
			t.bytes += uint64(i.raw)
		}
		switch _, newer := unread[next]; {
		case i.state():
			next = i
		case i.count > 0 && !newer:
			unread[next] = i.last
		}
		return i.state()
	})
	if err != nil {
		return nil, err
	}
	var out []Session
	var run int64 // of the newest session
	killed := func() {
		s, t := &out[len(out)-1], runs[run]
		s.Reason, s.LastRecord = "station killed", time.Unix(0, max(t.last, a.aliveIn(run)))
		s.Messages, s.Bytes = s.Messages+t.messages, s.Bytes+t.bytes
	}
	var said int64 // arrival of its newest message
	ended := func() {
		if n := len(out); n > 0 && said != 0 {
			out[n-1].LastMessage = time.Unix(0, said)
		}
	}
	var at *info
	_, err = a.fetch(ctx, client, infos, func(r *record, i *info) error {
		n := len(out)
		if t, ok := unread[i]; ok && i != at {
			said = t
		}
		at = i
		if r.kind == MessageRecord {
			said = r.arrival
			if n > 0 && i.run == run && out[n-1].End.IsZero() {
				out[n-1].Messages++
				out[n-1].Bytes += uint64(len(r.raw))
			}
			return nil
		}
		var s SessionRecord
		if r.kind == StaleDropped || json.Unmarshal(r.raw, &s) != nil {
			return nil
		}
		if s.Over {
			return nil
		}
		if r.kind == SessionStart {
			if n > 0 && out[n-1].End.IsZero() {
				ended()
				killed()
			}
			said = 0
			out = append(out, Session{SessionRecord: s, LastRecord: s.Time})
			run = i.run
			return nil
		}
		if n == 0 || !out[n-1].End.IsZero() {
			out = append(out, Session{SessionRecord: s}) // its beginning is no longer kept
			n++
		}
		ended()
		e := &out[n-1]
		e.End, e.LastRecord, e.Reason, e.Messages, e.Bytes = s.Time, s.Time, s.Reason, s.Messages, s.Bytes
		if s.Name != "" {
			e.Name = s.Name
		}
		return nil
	})
	if n := len(out); n > 0 && out[n-1].End.IsZero() {
		if t, ok := unread[nil]; ok {
			said = t
		}
		ended()
		if run != a.run {
			killed()
		} else {
			s := &out[n-1]
			s.LastRecord, s.Messages, s.Bytes = time.Unix(0, runs[run].last), 0, 0
		}
	}
	return out, err
}

// Clients lists the IDs of the clients of which there are messages.
func (a *Archive) Clients(ctx context.Context) ([]uint32, error) {
	a.storeMu.RLock()
	defer a.storeMu.RUnlock()
	st, err := a.store.msgs.Info(ctx, jetstream.WithSubjectFilter(a.store.subject("msg", ">")))
	if err != nil {
		return nil, wrapIn(ctx, err)
	}
	out := make([]uint32, 0, len(st.State.Subjects))
	for s := range st.State.Subjects {
		if id, ok := subjectClient(s); ok {
			out = append(out, id)
		}
	}
	return out, nil
}

// untoken is the last part of a subject as it was before token.
func untoken(subject string) string {
	s := subject[strings.LastIndexByte(subject, '.')+1:]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '=' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
