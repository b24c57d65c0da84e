package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// A checkpoint is the tables of one peer at a time, as a replay of the messages up to it left them: later replays of the
// peer begin there. It is stored in parts:
//
//	headers   Bmp-Kind: table | Bmp-Time: the time | Bmp-Block: run | Bmp-Peer: the peer | Bmp-Part: number, how many |
//	          Bmp-Set: how many peers the client had in all, if there is one of each
//	payload   s2 of a table, in gob
type tablePart struct {
	seq   uint64
	at    int64
	run   int64
	peer  PeerKey
	part  int64
	parts int64
	set   int64 // 0: not of all peers
}

const (
	hdrPeer = "Bmp-Peer"
	hdrPart = "Bmp-Part"
	hdrSet  = "Bmp-Set"
)

// partRoutes is how many routes a part has at most, so that it stays below a megabyte.
const partRoutes = 4000

// table is what a part holds. The first part of a peer has its state.
type table struct {
	At, Run, Gen, Down int64
	Peer               PeerKey
	First              bool
	State              uint8
	Session, UpGen     int64
	Sent, Received     []byte
	More               [][2][]byte
	Local              [18]byte
	Ports              [2]uint16
	Tables             []savedTable
	After              map[int64]int64
	Told               int64
	AS                 uint32
	BGPID              [4]byte
	Name, Text         string
	StaleFor           int64 // missing in those of an earlier version, as is StaleEnd
	StaleEnd           int64
}

type savedTable struct {
	View     uint8
	Family   bgp.Family
	AddPath  bool
	Said     bool
	Votes    int
	Read     int
	Renewed  int64
	Records  []string
	Keys     []string // path ID and key
	Which    []int    // of Records
	Since    []int64
	Stamps   []int64 // missing in those of an earlier version
	Sessions []int64
}

func peerText(k PeerKey) string {
	a := "-"
	if k.Address.IsValid() {
		a = k.Address.String()
	}
	return fmt.Sprintf("%d %x %s %x", k.Type, k.Distinguisher, a, k.BGPID)
}

func parsePeer(s string) (k PeerKey, err error) {
	var typ uint8
	var a string
	var id []byte
	if _, err := fmt.Sscanf(s, "%d %x %s %x", &typ, &k.Distinguisher, &a, &id); err != nil {
		return k, err
	}
	if len(id) != 4 {
		return k, strconv.ErrSyntax
	}
	k.Type, k.BGPID = bmp.PeerType(typ), [4]byte(id)
	if a != "-" {
		k.Address, err = netip.ParseAddr(a)
	}
	return k, err
}

func parseTablePart(h nats.Header, seq uint64) (*tablePart, error) {
	t := &tablePart{seq: seq}
	var err error
	if err = parseNumbers(h.Get(hdrTime), &t.at); err == nil {
		if err = parseNumbers(h.Get(hdrBlock), &t.run); err == nil {
			if err = parseNumbers(h.Get(hdrPart), &t.part, &t.parts); err == nil {
				t.peer, err = parsePeer(h.Get(hdrPeer))
			}
			if v := h.Get(hdrSet); v != "" && err == nil {
				err = parseNumbers(v, &t.set)
			}
		}
	}
	return t, err
}

// ErrNoBase is that there can be no checkpoint of a client.
var ErrNoBase = errors.New("archive: no checkpoint, messages do not go back to a session's beginning")

// Checkpoint stores what peers of a client held at a time, so that later questions about them need not go back further.
// It replays the messages since the checkpoint before, a few peers at once. The time must be past, and messages up to
// it appended. Where no peers are given it is of all that the client had then, so that later questions about all of it need not
// go back, either. It is meant to be called now and then, by one goroutine: for clients with many messages, and before their oldest
// are no longer kept.
func (a *Archive) Checkpoint(ctx context.Context, client uint32, at time.Time, peers []PeerKey) error {
	const together = 16
	set := 0
	if len(peers) == 0 {
		r, _, err := a.replay(ctx, client, Want{Select: func(bmp.View, bgp.Family, []byte, uint32) bool { return false }, noRoutes: true}, at, nil)
		if err != nil {
			return err
		}
		if r.plan.incomplete || r.run == 0 {
			return fmt.Errorf("client %d: %w", client, ErrNoBase)
		}
		peers = slices.SortedFunc(maps.Keys(r.peers), comparePeers)
		set = len(peers)
	}
	for len(peers) > 0 {
		n := min(together, len(peers))
		r, _, err := a.replay(ctx, client, Want{Peers: peers[:n]}, at, nil)
		if err != nil {
			return err
		}
		if r.plan.incomplete || r.run == 0 {
			return fmt.Errorf("client %d: %w", client, ErrNoBase)
		}
		for _, k := range peers[:n] {
			if err := a.savePeer(client, r, k, at.UnixNano(), set); err != nil {
				return err
			}
		}
		peers = peers[n:]
	}
	i, err := a.stream(checkpointStream).Info(ctx)
	if err != nil {
		return wrapIn(ctx, err)
	}
	x := a.catalog.client(client)
	x.mu.Lock()
	x.tables = slices.DeleteFunc(x.tables, func(t *tablePart) bool { return t.seq < i.State.FirstSeq })
	x.mu.Unlock()
	return nil
}

// savePeer stores the tables of a peer.
func (a *Archive) savePeer(client uint32, r *replayer, k PeerKey, at int64, set int) error {
	parts := []*table{{At: at, Run: r.run, Gen: r.gen, Down: r.down, Peer: k, First: true, After: r.after, StaleFor: r.staleFor, StaleEnd: r.staleEnd}}
	if p := r.peers[k]; p != nil {
		t := parts[0]
		t.State, t.Session, t.UpGen = p.state, p.session, p.upGen
		t.Sent, t.Received, t.More, t.Local, t.Ports = p.sent, p.received, p.more, p.local, p.ports
		t.Told, t.AS, t.BGPID, t.Name, t.Text = p.told, p.as, p.bgpid, p.name, p.text
		for tk, rt := range p.tables {
			s := savedTable{View: uint8(tk.view), Family: tk.family, AddPath: rt.addPath, Said: rt.said, Votes: rt.votes, Read: rt.read, Renewed: rt.renewed}
			records := make(map[string]int)
			full := func() {
				last := parts[len(parts)-1]
				last.Tables = append(last.Tables, s)
				s.Records, s.Keys, s.Which, s.Since, s.Stamps, s.Sessions = nil, nil, nil, nil, nil, nil
				clear(records)
			}
			for id, rr := range rt.routes {
				if r.expired(rr, at) {
					continue
				}
				n, ok := records[rr.record]
				if !ok {
					n = len(s.Records)
					records[rr.record] = n
					s.Records = append(s.Records, rr.record)
				}
				s.Keys, s.Which, s.Since, s.Sessions = append(s.Keys, id), append(s.Which, n), append(s.Since, rr.since), append(s.Sessions, rr.gen)
				s.Stamps = append(s.Stamps, rr.stamp)
				if len(s.Keys) == partRoutes {
					full()
					parts = append(parts, &table{At: at, Run: r.run, Gen: r.gen, Down: r.down, Peer: k, StaleFor: r.staleFor, StaleEnd: r.staleEnd})
				}
			}
			full()
		}
	}
	var stored []*tablePart
	for n, t := range parts {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(t); err != nil {
			return fmt.Errorf("archive: checkpoint: %w", err)
		}
		m := &nats.Msg{
			Subject: a.store.subject("checkpoint", client), Data: s2.EncodeBetter(nil, b.Bytes()),
			Header: nats.Header{
				hdrVersion: {formatVersion}, hdrKind: {kindTable}, hdrTime: {numbers(at)}, hdrBlock: {numbers(t.Run)},
				hdrPeer: {peerText(k)}, hdrPart: {numbers(int64(n), int64(len(parts)))},
			},
		}
		if set > 0 {
			m.Header[hdrSet] = []string{strconv.Itoa(set)}
		}
		seq, err := a.store1(m, fmt.Sprintf("t%x.%d.%d.%d.%s", a.run, client, at, n, peerText(k)))
		if err != nil {
			return fmt.Errorf("archive: checkpoint: %w", err)
		}
		stored = append(stored, &tablePart{seq, at, t.Run, k, int64(n), int64(len(parts)), int64(set)})
	}
	x := a.catalog.client(client)
	x.mu.Lock()
	if x.loaded {
		x.tables = append(x.tables, stored...)
	}
	x.mu.Unlock()
	return nil
}

// checkpoints finds, for each wanted peer, the parts of its newest whole checkpoint at or before a time; nil if one of them
// has none. covered is the time of the oldest. Where all peers are wanted these are the newest that are of all of one time.
func (a *Archive) checkpoints(ctx context.Context, client uint32, want *Want, at int64) (parts []*tablePart, covered int64, err error) {
	x, err := a.catalog.load(ctx, client)
	if err != nil {
		return nil, 0, err
	}
	type point struct {
		peer PeerKey
		at   int64
	}
	whole := make(map[point][]*tablePart)
	best := make(map[PeerKey]int64)
	sets := make(map[int64]int64) // how many peers are whole
	newest := int64(-1 << 63)
	for _, t := range x.tables {
		if t.at > at {
			continue
		}
		p := point{t.peer, t.at}
		if int64(len(whole[p])) != t.part {
			continue
		}
		if whole[p] = append(whole[p], t); int64(len(whole[p])) != t.parts {
			continue
		}
		best[t.peer] = max(best[t.peer], t.at)
		if sets[t.at]++; sets[t.at] == t.set {
			newest = max(newest, t.at)
		}
	}
	x.mu.Unlock()
	peers := want.Peers
	if len(peers) == 0 {
		for p := range whole {
			if p.at == newest {
				peers = append(peers, p.peer)
				best[p.peer] = newest
			}
		}
		if len(peers) == 0 {
			return nil, 0, nil
		}
	}
	covered = at
	for _, k := range peers {
		t, ok := best[k]
		if !ok {
			return nil, 0, nil
		}
		covered = min(covered, t)
		parts = append(parts, whole[point{k, t}]...)
	}
	return parts, covered, nil
}

func (a *Archive) readPart(ctx context.Context, p *tablePart) (*table, error) {
	a.storeMu.RLock()
	m, err := a.store.checks.GetMsg(ctx, p.seq)
	a.storeMu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("archive: checkpoint %d: %w", p.seq, err)
	}
	if n, err := s2.DecodedLen(m.Data); err != nil || n > 64<<20 {
		return nil, fmt.Errorf("archive: checkpoint %d: %w", p.seq, errCut)
	}
	b, err := s2.Decode(nil, m.Data)
	t := new(table)
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(b)).Decode(t)
	}
	if err != nil {
		return nil, fmt.Errorf("archive: checkpoint %d: %w", p.seq, err)
	}
	return t, nil
}

// seed begins a replay with a part of a checkpoint.
func (r *replayer) seed(s *table) {
	if s.Gen >= r.gen {
		r.run, r.gen, r.down, r.staleEnd = s.Run, s.Gen, s.Down, s.StaleEnd
		if s.StaleFor > 0 {
			r.staleFor = s.StaleFor
		}
		if r.down != 0 && s.StaleFor == 0 {
			r.now = r.down
			r.goDown()
		}
	}
	p := r.peers[s.Peer]
	if p == nil {
		p = &replayPeer{tables: make(map[tableKey]*replayTable)}
		r.peers[s.Peer] = p
	}
	p.until, p.stretch = s.At, -1 // of no record of this replay
	if s.First {
		maps.Copy(r.after, s.After)
		r.addGrace(s.Gen)
		for _, began := range s.After {
			r.addGrace(began)
		}
		p.state, p.session, p.upGen = s.State, s.Session, s.UpGen
		p.sent, p.received, p.more, p.local, p.ports = s.Sent, s.Received, s.More, s.Local, s.Ports
		p.told, p.as, p.bgpid, p.name, p.text = s.Told, s.AS, s.BGPID, s.Name, s.Text
		p.negotiate()
	}
	for _, st := range s.Tables {
		k := tableKey{bmp.View(st.View), st.Family}
		t := p.tables[k]
		if t == nil {
			t = &replayTable{routes: make(map[string]replayRoute)}
			p.tables[k] = t
		}
		t.addPath, t.said, t.votes, t.read, t.renewed = st.AddPath, st.Said, st.Votes, st.Read, st.Renewed
		t.seeded, t.known = true, true
		for i, id := range st.Keys {
			if len(id) < 4 || i >= len(st.Which) || i >= len(st.Since) || i >= len(st.Sessions) || uint(st.Which[i]) >= uint(len(st.Records)) {
				continue
			}
			record := st.Records[st.Which[i]]
			if r.keys != nil && !r.keys[k.family][id[4:]] || r.want.Select != nil &&
				!r.want.Select(k.view, k.family, []byte(id[4:]), binary.BigEndian.Uint32([]byte(id))) ||
				r.want.Keep != nil && !r.want.Keep(s.Peer, k.family, []byte(record)) {
				continue
			}
			rr := replayRoute{record: record, since: st.Since[i], gen: st.Sessions[i]}
			if i < len(st.Stamps) {
				rr.stamp = st.Stamps[i]
			}
			if _, ok := t.routes[id]; !ok {
				r.count++
			}
			t.routes[id] = rr
		}
	}
}
