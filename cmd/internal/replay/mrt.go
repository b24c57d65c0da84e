package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/wire"

	"github.com/osrg/gobgp/v4/pkg/packet/mrt"
)

// maxRecord bounds an MRT record. The longest that are known, RIB entries of a prefix with hundreds of peers, have some
// hundred KB.
const maxRecord = 16 << 20

// mrtType reports whether a type is one that RFC 6396 or its forerunners assign.
func mrtType(t uint16) bool {
	switch mrt.MRTType(t) {
	case mrt.TABLE_DUMP, mrt.TABLE_DUMPv2, mrt.BGP4MP, mrt.BGP4MP_ET, mrt.OSPFv2, mrt.OSPFv3, mrt.OSPFv3_ET, mrt.ISIS, mrt.ISIS_ET, mrt.BGP:
		return true
	}
	return t <= 10
}

// record is one MRT record: its header, by GoBGP's package, and the bytes of its body. The body is taken apart here and
// not there, because a monitored router passes on path attributes as its peers coded them, right or wrong.
type record struct {
	typ     mrt.MRTType
	subtype uint16
	time    time.Time
	body    []byte
	offset  int64 // of its header in the file
}

// records reads MRT records one by one.
type records struct {
	in  *input
	buf []byte
	n   int
}

// next reads a record, whose body is valid until the next call.
func (r *records) next() (record, error) {
	at := r.in.at()
	r.in.record = at
	fail := func(err error) (record, error) {
		return record{}, fmt.Errorf("MRT record %d at byte %d: %w", r.n+1, at, err)
	}
	var head [12]byte
	if n, err := io.ReadFull(r.in.r, head[:]); err != nil {
		if n == 0 && err == io.EOF {
			return record{}, io.EOF
		}
		if wrapped := r.in.wrap(err); r.in.packed != "" {
			return fail(wrapped)
		}
		return fail(fmt.Errorf("the file is cut short, %d bytes of a header are there", n))
	}
	h, err := mrt.ParseHeader(append(head[:], 0, 0, 0, 0)) // it wants the microseconds of the ET types, which are read below
	if err != nil {
		return fail(err)
	}
	if h.Len > maxRecord {
		return fail(fmt.Errorf("length %d", h.Len))
	}
	if n := int(h.Len); cap(r.buf) < n {
		r.buf = make([]byte, 0, n+n/4)
	}
	r.buf = r.buf[:h.Len]
	if n, err := io.ReadFull(r.in.r, r.buf); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF && r.in.packed == "" {
			return fail(fmt.Errorf("the file is cut short, %d of %d bytes are there", n, h.Len))
		}
		return fail(r.in.wrap(err))
	}
	r.n++
	rec := record{typ: h.Type, subtype: h.SubType, body: r.buf, offset: at, time: time.Unix(int64(h.Timestamp), 0)}
	if h.Type.HasExtendedTimestamp() {
		if len(rec.body) < 4 {
			return fail(errors.New("no microseconds"))
		}
		rec.time = rec.time.Add(time.Duration(binary.BigEndian.Uint32(rec.body)) * time.Microsecond)
		rec.body = rec.body[4:]
	}
	return rec, nil
}

// more appends n bytes that follow the record to its body. Old TABLE_DUMP records do not count their first four.
func (r *records) more(rec *record, n int) bool {
	b, err := r.in.r.Peek(n)
	if err != nil {
		return false
	}
	r.buf = append(rec.body, b...)
	rec.body = r.buf
	_, _ = r.in.r.Discard(n)
	return true
}

// peerID tells peers of an MRT file apart.
type peerID struct {
	addr netip.Addr
	as   uint32
}

// speaks is what a peer's records say of a family.
type speaks struct{ plain, addPath bool }

// plan is what the first reading of a file finds out: the families of each peer, and of which it has path identifiers.
type plan struct {
	peers map[peerID]map[bgp.Family]speaks
	order map[peerID]int // in which they came
}

func (p *plan) note(id peerID, f bgp.Family, addPath bool) {
	m := p.peers[id]
	if m == nil {
		m = map[bgp.Family]speaks{}
		p.peers[id] = m
		p.order[id] = len(p.order)
	}
	s := m[f]
	if addPath {
		s.addPath = true
	} else {
		s.plain = true
	}
	m[f] = s
}

// planMRT reads a file for its plan. It ends at the first error, which the second reading will tell.
func planMRT(in *input) *plan {
	p := &plan{peers: map[peerID]map[bgp.Family]speaks{}, order: map[peerID]int{}}
	r := records{in: in}
	var index []indexPeer
	for {
		rec, err := r.next()
		if err != nil {
			return p
		}
		switch rec.typ {
		case mrt.TABLE_DUMP:
			entries, _ := tableDump(&r, &rec)
			for _, e := range entries {
				p.note(e.peer, e.family, false)
			}
		case mrt.TABLE_DUMPv2:
			if mrt.MRTSubTypeTableDumpv2(rec.subtype) == mrt.PEER_INDEX_TABLE {
				index, _, _ = peerIndex(rec.body)
				continue
			}
			rib, err := ribRecord(&rec)
			for err == nil && rib.next() {
				if rib.peer < len(index) {
					p.note(index[rib.peer].peerID, rib.family, rib.addPath)
				}
			}
		case mrt.BGP4MP, mrt.BGP4MP_ET:
			m, ok := bgp4mp(&rec)
			if !ok || m.state {
				continue
			}
			if t, _, err := bgp.SplitHeader(m.pdu); err != nil || t != bgp.PDUUpdate {
				continue
			}
			var u bgp.Update
			if u.Parse(m.pdu, bgp.Context{AS4: m.as4}) != nil {
				continue
			}
			var buf [4]bgp.Section
			for _, s := range u.Sections(buf[:0]) {
				p.note(m.peer, s.Family, m.addPath)
			}
		}
	}
}

// message4MP is a BGP4MP record, RFC 6396, Section 4.4, and RFC 8050.
type message4MP struct {
	peer    peerID
	local   peerID
	as4     bool
	addPath bool
	sent    bool // by the collector: the "local" subtypes
	state   bool
	old     uint16
	new     uint16
	pdu     []byte
}

func bgp4mp(rec *record) (m message4MP, ok bool) {
	switch mrt.MRTSubTypeBGP4MP(rec.subtype) {
	case mrt.STATE_CHANGE:
		m.state = true
	case mrt.STATE_CHANGE_AS4:
		m.state, m.as4 = true, true
	case mrt.MESSAGE:
	case mrt.MESSAGE_AS4:
		m.as4 = true
	case mrt.MESSAGE_LOCAL:
		m.sent = true
	case mrt.MESSAGE_AS4_LOCAL:
		m.sent, m.as4 = true, true
	case mrt.MESSAGE_ADDPATH:
		m.addPath = true
	case mrt.MESSAGE_AS4_ADDPATH:
		m.addPath, m.as4 = true, true
	case mrt.MESSAGE_LOCAL_ADDPATH:
		m.addPath, m.sent = true, true
	case mrt.MESSAGE_AS4_LOCAL_ADDPATH:
		m.addPath, m.sent, m.as4 = true, true, true
	default:
		return m, false
	}
	c := wire.NewCursor(rec.body, "RFC 6396, Section 4.4")
	as := func(field string) uint32 {
		if m.as4 {
			return c.U32(field)
		}
		return uint32(c.U16(field))
	}
	m.peer.as, m.local.as = as("peer AS"), as("local AS")
	c.Skip(2, "interface index")
	six := c.U16("address family") == 2
	m.peer.addr, m.local.addr = address(&c, six, "peer address"), address(&c, six, "local address")
	if m.state {
		m.old, m.new = c.U16("old state"), c.U16("new state")
		return m, c.Err() == nil
	}
	m.pdu = c.Rest()
	return m, c.Err() == nil
}

func address(c *wire.Cursor, six bool, field string) netip.Addr {
	if six {
		b := c.Bytes(16, field)
		if b == nil {
			return netip.Addr{}
		}
		return netip.AddrFrom16([16]byte(b))
	}
	b := c.Bytes(4, field)
	if b == nil {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b))
}

// mrtPeer is a peer in its BMP session.
type mrtPeer struct {
	id      peerID
	hdr     bmp.PerPeerHeader
	local   peerID
	as4     bool
	up      bool
	ever    bool // was up
	rib     bool // has routes of a RIB dump: End-of-RIB at the end
	pending pendingUpdate
}

// mrtFile plays an MRT file as one router.
type mrtFile struct {
	r         records
	plan      *plan
	skip      func(string)
	peers     map[peerID]*mrtPeer
	addresses map[netip.Addr]int // peers of an address so far
	order     []*mrtPeer
	index     []indexPeer
	local     netip.Addr // of the collector
	began     bool
	ended     error
	queue     []byte // messages
	queued    []Event
	head      int
}

func newMRT(in *input, p *plan, skip func(string)) *mrtFile {
	return &mrtFile{r: records{in: in}, plan: p, skip: skip, peers: map[peerID]*mrtPeer{}, addresses: map[netip.Addr]int{}}
}

func (m *mrtFile) next() (Event, error) {
	for m.head == len(m.queued) {
		if m.ended != nil {
			return Event{}, m.ended
		}
		m.queue, m.queued, m.head = m.queue[:0], m.queued[:0], 0
		rec, err := m.r.next()
		if err != nil {
			m.end()
			m.ended = err
			continue
		}
		if !m.began {
			m.began = true
			m.put(rec.time, &bmp.Initiation{TLVs: []bmp.TLV{
				{Type: bmp.InitSysDescr, Value: []byte("recorded BGP data, played as a router")},
				{Type: bmp.InitSysName, Value: []byte("replay")}}})
		}
		m.record(&rec)
	}
	e := m.queued[m.head]
	m.head++
	return e, nil
}

// put queues a message. Where the queue moves while it grows, earlier events keep what it was.
func (m *mrtFile) put(t time.Time, msg bmp.Message) {
	start := len(m.queue)
	b, err := msg.Append(m.queue, bmp.Encoding{})
	if err != nil {
		m.skip("messages that BMP cannot hold: " + err.Error())
		return
	}
	m.queue = b
	m.queued = append(m.queued, Event{Time: t, Data: m.queue[start:len(m.queue):len(m.queue)]})
}

// record turns one record into messages.
func (m *mrtFile) record(rec *record) {
	switch rec.typ {
	case mrt.BGP4MP, mrt.BGP4MP_ET:
		msg, ok := bgp4mp(rec)
		if !ok {
			m.skip(fmt.Sprintf("BGP4MP records of subtype %d, or cut", rec.subtype))
			return
		}
		m.message(rec, &msg)
	case mrt.TABLE_DUMP:
		entries, err := tableDump(&m.r, rec)
		if err != nil {
			m.skip("malformed TABLE_DUMP records")
		}
		for _, e := range entries {
			p := m.peer(e.peer, peerID{as: localAS}, false)
			m.route(rec, p, &e)
		}
	case mrt.TABLE_DUMPv2:
		m.dump(rec)
	default:
		m.skip(fmt.Sprintf("MRT records of type %d", rec.typ))
	}
}

// localAS is the AS of a collector that does not tell its own.
const localAS = 64999

// message handles a BGP4MP record: a state change or a BGP message. Only UPDATEs have a place in BMP; what else was
// recorded is counted.
func (m *mrtFile) message(rec *record, msg *message4MP) {
	p := m.peer(msg.peer, msg.local, msg.as4)
	if !p.ever {
		p.local, p.as4 = msg.local, msg.as4
	}
	const established = 6
	if msg.state {
		switch {
		case msg.old == established && p.up:
			m.down(rec.time, p)
		case msg.new == established && !p.up:
			p.as4 = true // what follows says of itself how wide its AS numbers are
			m.up(rec.time, p)
		}
		return
	}
	t, _, err := bgp.SplitHeader(msg.pdu)
	if err != nil {
		m.skip("BGP messages with a malformed header")
		return
	}
	if t != bgp.PDUUpdate {
		m.skip("BGP messages other than UPDATE")
		return
	}
	if !m.agrees(p, msg) {
		m.skip("UPDATEs with path identifiers of a family that has them in others only, or the reverse")
		return
	}
	m.up(rec.time, p)
	h := p.hdr
	if !msg.as4 {
		h.Flags |= bmp.FlagAS2
	}
	if msg.sent {
		h.Flags |= bmp.FlagAdjRIBOut | bmp.FlagPostPolicy
	}
	h.SetTime(rec.time)
	m.put(rec.time, &bmp.RouteMonitoring{PeerHeader: h, Update: msg.pdu})
}

// agrees reports whether the families of an UPDATE are coded as the OPENs of its peer say. Where a file has a family of a
// peer both ways, that with path identifiers was announced.
func (m *mrtFile) agrees(p *mrtPeer, msg *message4MP) bool {
	var u bgp.Update
	if u.Parse(msg.pdu, bgp.Context{AS4: msg.as4}) != nil {
		return true // malformed: the station shall see it
	}
	var buf [4]bgp.Section
	for _, s := range u.Sections(buf[:0]) {
		if m.plan.peers[p.id][s.Family].addPath != msg.addPath {
			return false
		}
	}
	return true
}

// peer finds a peer or makes it. Two of one address and different AS numbers are told apart as local instance peers.
func (m *mrtFile) peer(id, local peerID, as4 bool) *mrtPeer {
	p := m.peers[id]
	if p != nil {
		return p
	}
	p = &mrtPeer{id: id, local: local, as4: as4, hdr: bmp.PerPeerHeader{Address: id.addr, AS: id.as}}
	if id.addr.Is6() {
		p.hdr.Flags = bmp.FlagIPv6
		b := id.addr.As16()
		copy(p.hdr.BGPID[:], b[12:])
	} else {
		p.hdr.BGPID = id.addr.As4()
	}
	if n := m.addresses[id.addr]; n > 0 {
		p.hdr.Type, p.hdr.Distinguisher = bmp.LocalPeer, uint64(n)
	}
	m.addresses[id.addr]++
	m.peers[id] = p
	m.order = append(m.order, p)
	return p
}

// up sends the Peer Up of a peer, with two OPENs made up to fit what the file has of it.
func (m *mrtFile) up(t time.Time, p *mrtPeer) {
	if p.up {
		return
	}
	p.up, p.ever = true, true
	h := p.hdr
	h.SetTime(t)
	local := p.local.addr
	if !local.IsValid() {
		if local = m.local; !local.IsValid() || local.Is6() != p.id.addr.Is6() {
			local = netip.MustParseAddr("10.0.0.1")
			if p.id.addr.Is6() {
				local = netip.MustParseAddr("fd00::1")
			}
		}
	}
	families := m.plan.peers[p.id]
	sent := openOf(p.local.as, [4]byte{10, 0, 0, 1}, p.as4, families, bgp.AddPathReceive)
	received := openOf(p.id.as, p.hdr.BGPID, p.as4, families, bgp.AddPathSend)
	m.put(t, &bmp.PeerUp{PeerHeader: h, LocalAddress: local, LocalPort: 179, RemotePort: 40000,
		SentOpen: sent.Append(nil), ReceivedOpen: received.Append(nil)})
}

func openOf(as uint32, id [4]byte, as4 bool, families map[bgp.Family]speaks, mode bgp.AddPathMode) *bgp.Open {
	o := &bgp.Open{Version: 4, HoldTime: 180, ID: id, MyAS: 23456, AS: as}
	if as <= 65535 {
		o.MyAS = uint16(as)
	}
	all := []bgp.Family{bgp.IPv4Unicast, bgp.IPv6Unicast}
	var addPath []byte
	for f, s := range families {
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
		if s.addPath {
			addPath = append(binary.BigEndian.AppendUint16(addPath, f.AFI), f.SAFI, byte(mode))
		}
	}
	slices.SortFunc(all, bgp.Family.Compare)
	for _, f := range all {
		v := append(binary.BigEndian.AppendUint16(nil, f.AFI), 0, f.SAFI)
		o.Capabilities = append(o.Capabilities, bgp.Capability{Code: bgp.CapMultiprotocol, Value: v})
	}
	o.Capabilities = append(o.Capabilities, bgp.Capability{Code: bgp.CapExtendedMessage})
	if as4 {
		o.Capabilities = append(o.Capabilities, bgp.Capability{Code: bgp.CapFourOctetAS, Value: binary.BigEndian.AppendUint32(nil, as)})
	}
	if addPath != nil {
		o.Capabilities = append(o.Capabilities, bgp.Capability{Code: bgp.CapAddPath, Value: addPath})
	}
	return o
}

// down sends a Peer Down: the file does not say why.
func (m *mrtFile) down(t time.Time, p *mrtPeer) {
	p.up = false
	h := p.hdr
	h.SetTime(t)
	m.put(t, &bmp.PeerDown{PeerHeader: h, Reason: bmp.DownRemote})
}

// end sends what still waits, and the End-of-RIB of every dumped family.
func (m *mrtFile) end() {
	for _, p := range m.order {
		m.flush(p)
		if !p.rib || !p.up {
			continue
		}
		var families []bgp.Family
		for f := range m.plan.peers[p.id] {
			families = append(families, f)
		}
		slices.SortFunc(families, bgp.Family.Compare)
		for _, f := range families {
			m.put(time.Time{}, &bmp.RouteMonitoring{PeerHeader: p.hdr, Update: endOfRIB(f)})
		}
	}
}

func endOfRIB(f bgp.Family) []byte {
	if f == bgp.IPv4Unicast {
		return updatePDU(nil, nil)
	}
	return updatePDU([]byte{0x80, bgp.AttrMPUnreach, 3, byte(f.AFI >> 8), byte(f.AFI), f.SAFI}, nil)
}

// updatePDU makes an UPDATE that withdraws nothing by the classic field.
func updatePDU(attrs, nlri []byte) []byte {
	n := bgp.HeaderLen + 4 + len(attrs) + len(nlri)
	b := make([]byte, 0, n)
	b = append(b, strings.Repeat("\xff", 16)...)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, byte(bgp.PDUUpdate), 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attrs)))
	return append(append(b, attrs...), nlri...)
}
