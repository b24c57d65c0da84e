package archive

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"github.com/nats-io/nats.go"
)

// info is what is known of a block without decoding it: its headers in JetStream, and an entry of the index.
type info struct {
	seq         uint64 // in the stream; not in the headers
	run         int64  // start of the station's run that wrote it, unix nanoseconds
	number      uint64 // of the block in its client and run, from 1
	first, last int64  // arrival, unix nanoseconds; first <= last
	routerFirst uint32 // the router's stamps: least and greatest, seconds, 0 for none
	routerLast  uint32
	count       int // records
	raw         int // bytes of messages
	stored      int // bytes of payload
	routes      int // announced and withdrawn
	flags       uint8
	peers       []uint16 // hashes of the peers touched, sorted
	filter      filter   // over the keys of the routes touched
	gap         *Gap     // before the block
	listed      bool     // its routes are in a list; it may have a filter all the same
	routesOf    *touched // on the way from the scanner to the list
}

// Flags of a block.
const (
	flagState    = 1 << iota // something in it changes more than routes: peers, sessions, End-of-RIB
	flagSession              // a session began in it
	flagRecoded              // a peer's UPDATEs are read otherwise than before: the filters of earlier blocks may miss keys
	flagBack                 // the clock was set back before it
	flagAllPeers             // too many peers to be listed
)

// manyPeers is the most peers that a block lists.
const manyPeers = 1000

// headers are those of the JetStream message.
const (
	hdrVersion = "Bmp-Version" // "1"
	hdrBlock   = "Bmp-Block"   // run, number
	hdrTime    = "Bmp-Time"    // arrival first, last, unix nanoseconds; router first, last, unix seconds
	hdrCount   = "Bmp-Count"   // records, bytes of messages, routes
	hdrCodec   = "Bmp-Codec"
	hdrFlags   = "Bmp-Flags"
	hdrPeers   = "Bmp-Peers"  // base64 of 16-bit hashes
	hdrFilter  = "Bmp-Filter" // base64
	hdrGap     = "Bmp-Gap"    // messages, bytes, first, last
)

const formatVersion = "1"

func (i *info) header() nats.Header {
	h := nats.Header{
		hdrVersion: {formatVersion},
		hdrCodec:   {strconv.Itoa(codecVersion)},
		hdrBlock:   {numbers(i.run, int64(i.number))},
		hdrTime:    {numbers(i.first, i.last, int64(i.routerFirst), int64(i.routerLast))},
		hdrCount:   {numbers(int64(i.count), int64(i.raw), int64(i.routes))},
		hdrFlags:   {strconv.Itoa(int(i.flags))},
	}
	if len(i.peers) > 0 {
		b := make([]byte, 0, 2*len(i.peers))
		for _, p := range i.peers {
			b = binary.BigEndian.AppendUint16(b, p)
		}
		h[hdrPeers] = []string{base64.RawStdEncoding.EncodeToString(b)}
	}
	if len(i.filter) > 0 {
		h[hdrFilter] = []string{base64.RawStdEncoding.EncodeToString(i.filter)}
	}
	if g := i.gap; g != nil {
		h[hdrGap] = []string{numbers(int64(g.Messages), int64(g.Bytes), g.From.UnixNano(), g.To.UnixNano())}
	}
	return h
}

func numbers(v ...int64) string {
	var b []byte
	for i, n := range v {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(b)
}

func parseNumbers(s string, v ...*int64) error {
	for i, p := range v {
		end := len(s)
		for j := range s {
			if s[j] == ' ' {
				end = j
				break
			}
		}
		n, err := strconv.ParseInt(s[:end], 10, 64)
		if err != nil {
			return fmt.Errorf("number %d: %q", i+1, s[:end])
		}
		*p = n
		s = s[min(end+1, len(s)):]
	}
	return nil
}

// parseInfo reads the headers of a block.
func parseInfo(h nats.Header, seq uint64, client uint32) (*info, error) {
	if v := h.Get(hdrVersion); v != formatVersion {
		return nil, fmt.Errorf("version %q, not %q", v, formatVersion)
	}
	i := &info{seq: seq}
	var number, rf, rl, count, raw, routes, flags int64
	if err := errors.Join(
		parseNumbers(h.Get(hdrBlock), &i.run, &number),
		parseNumbers(h.Get(hdrTime), &i.first, &i.last, &rf, &rl),
		parseNumbers(h.Get(hdrCount), &count, &raw, &routes),
		parseNumbers(h.Get(hdrFlags), &flags)); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	i.number, i.routerFirst, i.routerLast, i.flags = uint64(number), uint32(rf), uint32(rl), uint8(flags)
	i.count, i.raw, i.routes = int(count), int(raw), int(routes)
	b, err := base64.RawStdEncoding.DecodeString(h.Get(hdrPeers))
	if err == nil {
		for ; len(b) >= 2; b = b[2:] {
			i.peers = append(i.peers, binary.BigEndian.Uint16(b))
		}
		var f []byte
		if f, err = base64.RawStdEncoding.DecodeString(h.Get(hdrFilter)); err == nil {
			i.filter = f
		}
	}
	if err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	if s := h.Get(hdrGap); s != "" {
		var n, bytes, from, to int64
		if err := parseNumbers(s, &n, &bytes, &from, &to); err != nil {
			return nil, fmt.Errorf("headers: %w", err)
		}
		i.gap = &Gap{Client: client, Messages: uint64(n), Bytes: uint64(bytes), From: time.Unix(0, from), To: time.Unix(0, to)}
	}
	return i, nil
}

// touches says that the block may have something of a peer.
func (i *info) touches(peer uint16) bool {
	if i.flags&flagAllPeers != 0 {
		return true
	}
	_, ok := slices.BinarySearch(i.peers, peer)
	return ok
}

// hasSession says that a session began or ended in the block, or a peer's state changed.
func (i *info) state() bool { return i.flags&flagState != 0 }

// scanner finds out what an info says of a block. It is for one goroutine.
type scanner struct {
	hashes  []uint64
	peers   map[PeerKey]uint16
	touched map[uint16]struct{}
	near    [64]struct { // headers met in this block, with how their UPDATEs were read
		header [34]byte
		coding coding
		ok     bool
		holder holder
		id     int // of holder in list, and 1; 0: it is not there yet
	}
	update   bgp.Update
	nlri     bgp.NLRI
	sections []bgp.Section
	parser   bmp.Parser
	filter   []byte

	list     *touched          // the block's routes; nil: it is not listed
	unlisted bool              // something in it may be read in another way, so that list is not used
	holders  map[holder]uint16 // those of list
	touches  []touch
	seed     uint64
	record   []byte
	extra    []byte
}

type codingKey struct {
	peer PeerKey
	view bmp.View
}

// coding is how a peer's UPDATEs were read.
type coding struct {
	addPath bgp.AddPathSet
	as4     bool
}

// newScanner makes one that hashes what it lists with a seed.
func newScanner(seed uint64) *scanner {
	return &scanner{seed: seed, peers: make(map[PeerKey]uint16), touched: make(map[uint16]struct{}), holders: make(map[holder]uint16)}
}

// scan fills in what the records of a block tell; codings is the client's, of earlier blocks. What the info keeps is
// its own. With list it has the routes, too.
func (s *scanner) scan(i *info, block []byte, codings map[codingKey]coding, list bool) {
	s.hashes = s.hashes[:0]
	clear(s.touched)
	s.list, s.unlisted = nil, false
	if list {
		s.list = &touched{routes: s.touches[:0]}
		clear(s.holders)
	}
	if len(s.peers) > 100_000 {
		clear(s.peers)
	}
	s.forget()
	i.first, i.last = 0, 0
	var r record
	for b := block; len(b) > 0; {
		b, _ = nextRecord(b, &r)
		if i.count == 0 || r.arrival < i.first {
			i.first = r.arrival
		}
		if i.count == 0 || r.arrival > i.last {
			i.last = r.arrival
		}
		i.count++
		if r.kind != MessageRecord {
			i.flags |= flagState
			if r.kind == SessionStart {
				i.flags |= flagSession
				clear(codings)
				s.forget()
			}
			continue
		}
		i.raw += len(r.raw)
		p, typ := perPeer(r.raw), messageType(r.raw)
		if p == nil {
			if typ == bmp.PeerUpType || typ == bmp.PeerDownType {
				i.flags |= flagState // so that it is found by its type, though it is too short to say anything
			}
			continue
		}
		now := coding{r.addPath, r.flags&recordAS4 != 0}
		near := &s.near[(p[25]^p[24]<<3^p[29]^p[28]^p[33]^p[1]>>2^p[9])%64]
		if !near.ok || near.header != [34]byte(p) || near.coding != now {
			var h bmp.PerPeerHeader
			peerHeader(r.raw, &h)
			key := PeerKeyOf(&h)
			hash, ok := s.peers[key]
			if !ok {
				hash = key.hash()
				s.peers[key] = hash
			}
			s.touched[hash] = struct{}{}
			if typ == bmp.RouteMonitoringType {
				ck := codingKey{key, h.View()}
				if was, ok := codings[ck]; ok && was != now {
					i.flags |= flagRecoded
				} else if !ok && len(codings) > 100_000 {
					clear(codings)
				}
				codings[ck] = now
				near.header, near.coding, near.ok = [34]byte(p), now, true
				near.holder, near.id = holder{peer: key, view: h.View()}, 0
			}
		}
		if sec := binary.BigEndian.Uint32(p[34:]); sec != 0 {
			if i.routerFirst == 0 || sec < i.routerFirst {
				i.routerFirst = sec
			}
			i.routerLast = max(i.routerLast, sec)
		}
		switch typ {
		case bmp.PeerUpType:
			i.flags |= flagState
			var h bmp.PerPeerHeader
			peerHeader(r.raw, &h)
			for v := range bmp.View(bmp.Views) {
				delete(codings, codingKey{PeerKeyOf(&h), v})
			}
			s.forget()
		case bmp.PeerDownType:
			i.flags |= flagState
		case bmp.RouteMonitoringType:
			s.routes(i, &r, &near.holder, &near.id)
		}
	}
	i.routes = len(s.hashes)
	s.filter = newFilter(s.filter, s.hashes)
	i.filter = slices.Clone(s.filter)
	if s.list != nil && !s.unlisted && len(s.list.holders) <= listHolders {
		s.touches = s.list.routes
		i.listed, i.routesOf = true, &touched{s.list.holders, slices.Clone(s.touches)}
	}
	if len(s.touched) > manyPeers {
		i.flags |= flagAllPeers
		return
	}
	i.peers = make([]uint16, 0, len(s.touched))
	for h := range s.touched {
		i.peers = append(i.peers, h)
	}
	slices.Sort(i.peers)
}

// forget has the headers looked at again.
func (s *scanner) forget() {
	for i := range s.near {
		s.near[i].ok = false
	}
}

// routes takes the keys of the routes of a Route Monitoring.
func (s *scanner) routes(i *info, r *record, h *holder, id *int) {
	pdu := updateOf(&s.parser, r)
	if pdu == nil {
		return
	}
	ctx := bgp.Context{AS4: r.flags&recordAS4 != 0, AddPath: r.addPath}
	if s.update.Parse(pdu, ctx) != nil {
		return
	}
	if s.update.EoR {
		i.flags |= flagState
	}
	s.sections = s.update.Sections(s.sections[:0])
	for k := range s.sections {
		sec := &s.sections[k]
		if s.list != nil {
			before := len(s.list.routes)
			if s.listed(sec, h, id); s.nlri.Err() == nil {
				continue
			}
			s.list.routes = s.list.routes[:before]
		} else if s.filtered(sec, sec.AddPath) == nil {
			continue
		}
		// What does not split to its last byte is not applied, unless the table turns out to have, or not to have, path
		// identifiers, other than was thought when it came. The filter knows the keys of both ways, the list of none.
		if sec.Family.Splits() && s.filtered(sec, !sec.AddPath) == nil {
			s.unlisted = true
		}
	}
}

// filtered takes the keys of a section, for the filter alone, up to what cannot be read, which is the error.
func (s *scanner) filtered(sec *bgp.Section, addPath bool) error {
	s.nlri.Reset(sec.Family, addPath, sec.Withdraw, sec.Field)
	for s.nlri.Next() {
		s.hashes = append(s.hashes, keyHash(sec.Family, s.nlri.Key))
	}
	return s.nlri.Err()
}

// listed takes the routes of a section with what is said of them, as a replay will read it, up to what cannot be read.
func (s *scanner) listed(sec *bgp.Section, h *holder, id *int) {
	s.nlri.Reset(sec.Family, sec.AddPath, sec.Withdraw, sec.Field)
	gone := sec.Withdraw || s.update.Malformed != nil && s.update.Malformed.Class >= bgp.TreatAsWithdraw
	said := uint32(hashWithdrawn)
	for first := true; s.nlri.Next(); first = false {
		s.hashes = append(s.hashes, keyHash(sec.Family, s.nlri.Key))
		if !gone && (first || !bytes.Equal(s.nlri.Extra, s.extra)) {
			s.extra = append(s.extra[:0], s.nlri.Extra...)
			s.record = s.update.AppendRecord(s.record[:0], sec.Family, s.nlri.Extra)
			said = recordHash(s.seed, s.record)
		}
		var who uint16
		if p := s.nlri.PathID; p != 0 {
			who = s.holder(holder{h.peer, h.view, p})
		} else {
			if *id == 0 {
				*id = int(s.holder(*h)) + 1
			}
			who = uint16(*id - 1)
		}
		s.list.routes = append(s.list.routes, touch{key: listKey(s.seed, sec.Family, s.nlri.Key) | uint64(who), hash: said})
	}
}

// holder is the number of one in list. Where there are more than it can have, list is not used.
func (s *scanner) holder(h holder) uint16 {
	id, ok := s.holders[h]
	if !ok && len(s.list.holders) <= listHolders {
		id = uint16(len(s.list.holders))
		s.list.holders = append(s.list.holders, h)
		s.holders[h] = id
	}
	return id
}

// updateOf is the UPDATE in a Route Monitoring; nil if it has none.
func updateOf(p *bmp.Parser, r *record) []byte {
	if r.raw[0] == 3 {
		if len(r.raw) < bmp.HeaderLen+bmp.PerPeerHeaderLen {
			return nil
		}
		return r.raw[bmp.HeaderLen+bmp.PerPeerHeaderLen:]
	}
	f, err := bmp.FrameOf(r.raw, r.offset)
	if err != nil {
		return nil
	}
	p.Profile = r.profile
	m, err := p.Parse(f)
	if err != nil {
		return nil
	}
	if rm, ok := m.(*bmp.RouteMonitoring); ok {
		return rm.Update
	}
	return nil
}
