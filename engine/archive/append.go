package archive

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Sizes of the buffers of open blocks. A client that says little keeps the smallest; idle ones keep none.
var bufferSizes = [...]int{1 << 10, 8 << 10, 64 << 10, blockBytes}

// Appender takes the messages of one client. Its methods may be called by any goroutine, and never wait for the disk.
//
// Lock order: Appender.mu, Archive.mu.
type Appender struct {
	a  *Archive
	id uint32

	mu      sync.Mutex
	buf     []byte    // the open block; nil when there is none
	count   int       // records in it
	opened  time.Time // when its first record came
	first   int64     // arrival of its first record
	last    int64     // arrival of the record before
	raw     int       // bytes of its records, without their headers
	back    bool      // the clock was set back before the open block
	number  uint64    // of the open block, or the next one
	sealed  []*sealed
	busy    bool  // a worker has the client, or it waits for one
	gap     Gap   // since the last block was begun; Messages is 0: none
	gapTold bool  // Archive.gapped has the client
	ended   []Gap // gaps that are over and were not told
	before  *Gap  // the gap before the open block

	codings map[codingKey]coding // of the worker that has the client
}

// sealed is a block that waits to be stored.
type sealed struct {
	buf    []byte
	count  int
	first  int64 // arrival of the first record and of the last
	last   int64
	raw    int // bytes of the records, without their headers
	number uint64
	back   bool
	full   bool // it was ended because it was full
	gap    *Gap
	at     time.Time // when it was sealed
	run    int64     // of an earlier run; 0: of this one
	upTo   uint64    // of a gap of an earlier run: the last of the blocks in place of which it is; else 0

	// With Appender.mu held.
	place    int  // of the spill's file that has it; 0: none
	spilling bool // it is being written there, and its buffer must stay
	stored   bool // or given up
	left     bool // it was not stored, and the next run finds it
}

// Append keeps a copy of a message. It never blocks; a message for which there is no room becomes part of a Gap, and
// false is returned.
func (p *Appender) Append(e *Entry) bool {
	r := record{
		arrival: e.Time.UnixNano(), offset: e.Offset, session: e.Session, profile: e.Profile, addPath: e.Context.AddPath, raw: e.Raw,
	}
	if e.Context.AS4 {
		r.flags |= recordAS4
	}
	if e.Bad {
		r.flags |= recordBad
	}
	p.mu.Lock()
	ok := p.append(&r)
	p.mu.Unlock()
	return ok
}

// SessionRecord is the begin or the end of a session.
type SessionRecord struct {
	Session  uint32         `json:"session"`
	Time     time.Time      `json:"time"`
	Start    time.Time      `json:"start"` // when the connection came; the record of its start is that of its first message
	Address  netip.AddrPort `json:"address"`
	Listener string         `json:"listener,omitempty"`
	Netns    string         `json:"netns,omitempty"`
	VRF      string         `json:"vrf,omitempty"`
	Name     string         `json:"name,omitempty"`     // sysName
	Reason   string         `json:"reason,omitempty"`   // why it ended
	Messages uint64         `json:"messages,omitempty"` // of the session, at its end
	Bytes    uint64         `json:"bytes,omitempty"`
	// StaleFor is for how long what the client said is kept once it is down, as it was set then; 0: it is not known, as in the
	// records of earlier versions.
	StaleFor time.Duration `json:"stale_for,omitempty"`
	// Over says of an end that the session was over before: StaleFor was set anew while the client was down.
	Over bool `json:"over,omitempty"`
}

// Begin keeps that a session began. It comes before the session's messages.
func (p *Appender) Begin(s SessionRecord) { p.mark(SessionStart, s) }

// End keeps that a session ended, and why, and closes the client's block.
func (p *Appender) End(s SessionRecord) {
	p.mark(SessionEnd, s)
	p.mu.Lock()
	p.seal()
	p.mu.Unlock()
}

// DropStale keeps that the routes of a table that the running session has not announced again were dropped at its offset,
// for another reason than an End-of-RIB: none was announced again for long, or the table had to be read anew.
func (p *Appender) DropStale(at time.Time, session uint32, offset int64, peer PeerKey, v bmp.View, f bgp.Family) {
	b := appendTable(make([]byte, 0, 64), holder{peer: peer, view: v}, f)
	p.mu.Lock()
	p.append(&record{arrival: at.UnixNano(), offset: offset, session: session, kind: StaleDropped, raw: b})
	p.mu.Unlock()
}

func (p *Appender) mark(kind Kind, s SessionRecord) {
	b := s.appendJSON(make([]byte, 0, 256))
	p.mu.Lock()
	p.append(&record{arrival: s.Time.UnixNano(), session: s.Session, kind: kind, raw: b})
	p.mu.Unlock()
}

// appendJSON appends what json.Marshal makes of s. It is written out because it runs in the goroutine of each session,
// and json.Marshal alone would need so deep a stack that each of them kept one twice as large.
func (s *SessionRecord) appendJSON(b []byte) []byte {
	number := func(key string, n uint64) {
		b = strconv.AppendUint(append(b, key...), n, 10)
	}
	text := func(key, v string) {
		if v != "" {
			b = appendJSONString(append(b, key...), v)
		}
	}
	number(`{"session":`, uint64(s.Session))
	b = append(s.Time.AppendFormat(append(b, `,"time":"`...), time.RFC3339Nano), '"')
	b = append(s.Start.AppendFormat(append(b, `,"start":"`...), time.RFC3339Nano), '"')
	b = append(b, `,"address":"`...)
	if s.Address.IsValid() {
		b = s.Address.AppendTo(b)
	}
	b = append(b, '"')
	text(`,"listener":`, s.Listener)
	text(`,"netns":`, s.Netns)
	text(`,"vrf":`, s.VRF)
	text(`,"name":`, s.Name)
	text(`,"reason":`, s.Reason)
	if s.Messages != 0 {
		number(`,"messages":`, s.Messages)
	}
	if s.Bytes != 0 {
		number(`,"bytes":`, s.Bytes)
	}
	if s.StaleFor > 0 {
		number(`,"stale_for":`, uint64(s.StaleFor))
	}
	if s.Over {
		b = append(b, `,"over":true`...)
	}
	return append(b, '}')
}

// appendJSONString appends a JSON string.
func appendJSONString(b []byte, v string) []byte {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(v) // a string cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), v...), '"')
}

// append is called with mu held.
func (p *Appender) append(r *record) bool {
	need := recordHeader + len(r.raw)
	if p.buf != nil && (len(p.buf)+need > blockBytes || r.arrival < p.last) {
		full := len(p.buf)+need > blockBytes
		p.seal()
		p.sealed[len(p.sealed)-1].full = full
	}
	if cap(p.buf)-len(p.buf) < need && !p.room(need) {
		p.lose(1, uint64(len(r.raw)), r.arrival, r.arrival)
		p.last = r.arrival
		return false
	}
	if p.count == 0 {
		p.begin(r.arrival < p.last)
		p.first, p.raw = r.arrival, 0
	}
	p.buf = appendRecord(p.buf, r)
	p.count++
	p.raw += len(r.raw)
	p.last = r.arrival
	return true
}

// begin begins a block: what was lost before it is said in it.
func (p *Appender) begin(back bool) {
	p.opened = time.Now()
	p.number++
	p.back = back
	if p.gap.Messages > 0 {
		g := p.gap
		g.Open = false
		p.before = &g
		p.ended = append(p.ended, g)
		p.gap = Gap{}
	}
	p.a.opened(p)
}

// room makes the open block's buffer large enough for need more bytes, if the queue is not full.
func (p *Appender) room(need int) bool {
	size := len(p.buf) + need
	for _, s := range bufferSizes {
		if s >= size {
			size = s
			break
		}
	}
	b := p.a.buffer(size)
	if b == nil {
		return false
	}
	old := p.buf
	p.buf = append(b, old...)
	if old != nil {
		p.a.recycle(old)
	}
	return true
}

// lose counts what could not be kept.
func (p *Appender) lose(messages, bytes uint64, from, to int64) {
	g := &p.gap
	if g.Messages == 0 {
		*g = Gap{Client: p.id, From: time.Unix(0, from), Open: true}
		if !p.gapTold {
			p.gapTold = true
			p.a.gapBegins(p)
		}
	}
	g.Messages += messages
	g.Bytes += bytes
	g.To = time.Unix(0, to)
	p.a.lost.Add(messages)
	p.a.lostBytes.Add(bytes)
}

// begin is the time of the first message that the block has, or that was lost before it.
func (w *sealed) begin() time.Time {
	if w.gap != nil {
		return w.gap.From
	}
	return time.Unix(0, w.first)
}

// waitingGaps are those that no stored block names yet, oldest first.
func (p *Appender) waitingGaps() (list []Gap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.sealed {
		if w.gap != nil {
			list = append(list, *w.gap)
		}
	}
	if p.before != nil {
		list = append(list, *p.before)
	}
	if p.gap.Messages > 0 {
		list = append(list, p.gap)
	}
	return list
}

// withWaiting adds gaps that waited when a question began to those that were found, without those that were stored meanwhile.
func withWaiting(found, waited []Gap, wanted func(*Gap) bool) []Gap {
	for i := range waited {
		g := &waited[i]
		if wanted(g) && !slices.ContainsFunc(found, func(x Gap) bool { return x.From.Equal(g.From) }) {
			found = append(found, *g)
		}
	}
	return found
}

// seal ends the open block and hands it over. It is called with mu held.
func (p *Appender) seal() {
	if p.buf == nil && p.before == nil {
		return
	}
	p.sealed = append(p.sealed, &sealed{buf: p.buf, count: p.count, first: p.first, last: p.last, raw: p.raw, number: p.number, back: p.back, gap: p.before, at: time.Now()})
	p.buf, p.count, p.before, p.back = nil, 0, nil, false
	p.a.sealedCount.Add(1)
	if !p.busy {
		p.busy = true
		p.a.push(p)
	}
}

// sealGap stores a gap without a block after it, when there is room again.
func (p *Appender) sealGap() {
	if p.gap.Messages > 0 && p.buf == nil {
		p.begin(false)
		p.seal()
	}
}

// sealOld ends the open block if it is still the one of a number.
func (p *Appender) sealOld(number uint64) {
	p.mu.Lock()
	if p.number == number && p.buf != nil {
		p.seal()
	}
	p.mu.Unlock()
}
