package replay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/wire"

	"github.com/osrg/gobgp/v4/pkg/packet/mrt"
)

// entry is one route of a RIB dump.
type entry struct {
	peer    peerID
	family  bgp.Family
	addPath bool
	pathID  uint32
	nlri    []byte // without path identifier
	attrs   []byte // as recorded
	time    time.Time
}

// indexPeer is a peer of a PEER_INDEX_TABLE.
type indexPeer struct {
	peerID
	bgpID [4]byte
}

// peerIndex reads a PEER_INDEX_TABLE, RFC 6396, Section 4.3.1: collector 4, name length 2, name, count 2, peers of {type
// 1, BGP ID 4, address 4 or 16, AS 2 or 4}.
func peerIndex(body []byte) (peers []indexPeer, collector [4]byte, err error) {
	c := wire.NewCursor(body, "RFC 6396, Section 4.3.1")
	copy(collector[:], c.Bytes(4, "collector BGP ID"))
	c.Skip(int(c.U16("view name length")), "view name")
	for range c.U16("peer count") {
		t := c.U8("peer type")
		var p indexPeer
		copy(p.bgpID[:], c.Bytes(4, "peer BGP ID"))
		p.addr = address(&c, t&1 != 0, "peer address")
		if t&2 != 0 {
			p.as = c.U32("peer AS")
		} else {
			p.as = uint32(c.U16("peer AS"))
		}
		if err := c.Err(); err != nil {
			return peers, collector, err
		}
		peers = append(peers, p)
	}
	return peers, collector, c.Err()
}

// ribEntries goes over the entries of a RIB record of TABLE_DUMP_V2, RFC 6396, Section 4.3.2.
type ribEntries struct {
	entry
	peer int // in the index
	c    wire.Cursor
	left int
}

// ribRecord reads the head of a RIB record: sequence 4, prefix, count 2; RIB_GENERIC has sequence 4, AFI 2, SAFI 1, NLRI.
func ribRecord(rec *record) (*ribEntries, error) {
	r := &ribEntries{c: wire.NewCursor(rec.body, "RFC 6396, Section 4.3.2")}
	sub := mrt.MRTSubTypeTableDumpv2(rec.subtype)
	switch sub {
	case mrt.RIB_IPV4_UNICAST, mrt.RIB_IPV4_UNICAST_ADDPATH:
		r.family = bgp.IPv4Unicast
	case mrt.RIB_IPV4_MULTICAST, mrt.RIB_IPV4_MULTICAST_ADDPATH:
		r.family = bgp.IPv4Multicast
	case mrt.RIB_IPV6_UNICAST, mrt.RIB_IPV6_UNICAST_ADDPATH:
		r.family = bgp.IPv6Unicast
	case mrt.RIB_IPV6_MULTICAST, mrt.RIB_IPV6_MULTICAST_ADDPATH:
		r.family = bgp.IPv6Multicast
	case mrt.RIB_GENERIC, mrt.RIB_GENERIC_ADDPATH:
	default:
		r.c.Fail("subtype", "not a RIB")
		return r, r.c.Err()
	}
	r.addPath = sub >= mrt.RIB_IPV4_UNICAST_ADDPATH
	r.c.Skip(4, "sequence number")
	if sub == mrt.RIB_GENERIC || sub == mrt.RIB_GENERIC_ADDPATH {
		r.family = bgp.Family{AFI: r.c.U16("AFI"), SAFI: r.c.U8("SAFI")}
		// The NLRI says itself how long it is: what the first one takes of the rest.
		rest := r.c.Peek(r.c.Len())
		n := nlriLength(r.family, rest)
		r.nlri = r.c.Bytes(n, "NLRI")
	} else if p := r.c.Peek(1); p != nil {
		r.nlri = r.c.Bytes(1+(int(p[0])+7)/8, "prefix")
	} else {
		r.c.U8("prefix length")
	}
	r.left = int(r.c.U16("entry count"))
	return r, r.c.Err()
}

// nlriLength is the length of the first NLRI of a field that goes on with something else; -1 if there is none.
func nlriLength(f bgp.Family, b []byte) int {
	if !f.Splits() {
		return -1
	}
	it := bgp.SplitNLRI(f, false, false, b)
	if !it.Next() {
		return -1
	}
	if it.Next(); it.Offset() > 0 {
		return it.Offset()
	}
	return len(b)
}

// next moves to the next entry: peer index 2, time 4, [path identifier 4], length 2, attributes.
func (r *ribEntries) next() bool {
	if r.left == 0 || r.c.Err() != nil {
		return false
	}
	r.left--
	r.peer = int(r.c.U16("peer index"))
	r.time = time.Unix(int64(r.c.U32("originated time")), 0)
	r.pathID = 0
	if r.addPath {
		r.pathID = r.c.U32("path identifier")
	}
	r.attrs = r.c.Bytes(int(r.c.U16("attribute length")), "attributes")
	return r.c.Err() == nil
}

// dump handles a record of TABLE_DUMP_V2.
func (m *mrtFile) dump(rec *record) {
	if mrt.MRTSubTypeTableDumpv2(rec.subtype) == mrt.PEER_INDEX_TABLE {
		peers, collector, err := peerIndex(rec.body)
		if err != nil {
			m.skip("malformed PEER_INDEX_TABLEs")
		}
		m.index = peers
		m.local = netip.AddrFrom4(collector)
		for _, ip := range peers {
			p := m.peer(ip.peerID, peerID{as: localAS}, true)
			p.hdr.BGPID = ip.bgpID
			m.up(rec.time, p)
		}
		return
	}
	r, err := ribRecord(rec)
	if err != nil {
		m.skip("TABLE_DUMP_V2 records that are no RIB, or malformed")
		return
	}
	for r.next() {
		if r.peer >= len(m.index) {
			m.skip("RIB entries of a peer that is not in the index")
			continue
		}
		p := m.peer(m.index[r.peer].peerID, peerID{as: localAS}, true)
		p.as4 = true
		if m.plan.peers[p.id][r.family].addPath != r.addPath {
			m.skip("RIB entries with path identifiers of a family that has them in others only, or the reverse")
			continue
		}
		m.route(rec, p, &r.entry)
	}
	if err := r.c.Done(); err != nil {
		m.skip("malformed RIB records")
	}
}

// tableDump reads a record of TABLE_DUMP, RFC 6396, Section 4.2: view 2, sequence 2, then prefix, length 1, status 1, time 4,
// peer address, peer AS 2, length 2, attributes. Records of the year 2000 have many such entries, and do not count view and
// sequence in their length.
func tableDump(r *records, rec *record) ([]entry, error) {
	all, err := tableEntries(rec)
	if err != nil && len(all) > 0 || err != nil && len(rec.body) > 4 {
		if r.more(rec, 4) {
			return tableEntries(rec)
		}
	}
	return all, err
}

func tableEntries(rec *record) ([]entry, error) {
	six := rec.subtype == 2
	c := wire.NewCursor(rec.body, "RFC 6396, Section 4.2")
	c.Skip(4, "view and sequence number")
	if rec.subtype != 1 && rec.subtype != 2 {
		c.Fail("subtype", "neither IPv4 nor IPv6")
	}
	var all []entry
	for c.Err() == nil && (len(all) == 0 || c.Len() > 0) {
		e := entry{family: bgp.IPv4Unicast}
		if six {
			e.family = bgp.IPv6Unicast
		}
		prefix := address(&c, six, "prefix")
		bits := int(c.U8("prefix length"))
		c.U8("status")
		e.time = time.Unix(int64(c.U32("originated time")), 0)
		e.peer.addr = address(&c, six, "peer address")
		e.peer.as = uint32(c.U16("peer AS"))
		e.attrs = c.Bytes(int(c.U16("attribute length")), "attributes")
		if c.Err() != nil {
			break
		}
		if bits > prefix.BitLen() {
			c.Fail("prefix length", "too long")
			break
		}
		e.nlri = bgp.AppendPrefixKey(nil, e.family, bgp.RD{}, netip.PrefixFrom(prefix, bits))
		all = append(all, e)
	}
	return all, c.Err()
}

// pendingUpdate collects routes of one peer with equal attributes and time into one UPDATE.
type pendingUpdate struct {
	family bgp.Family
	attrs  []byte // as recorded
	nlri   []byte
	time   time.Time
}

// route adds a route of a dump to its peer.
func (m *mrtFile) route(rec *record, p *mrtPeer, e *entry) {
	m.up(rec.time, p)
	p.rib = true
	q := &p.pending
	if len(q.nlri) > 0 && (q.family != e.family || !q.time.Equal(e.time) || !bytes.Equal(q.attrs, e.attrs) ||
		len(q.attrs)+len(q.nlri)+len(e.nlri) > bgp.MaxLen-64) {
		m.flush(p)
	}
	if len(q.nlri) == 0 {
		q.family, q.time = e.family, e.time
		q.attrs = append(q.attrs[:0], e.attrs...)
	}
	if e.addPath {
		q.nlri = binary.BigEndian.AppendUint32(q.nlri, e.pathID)
	}
	q.nlri = append(q.nlri, e.nlri...)
}

// flush sends the UPDATE that a peer collects.
func (m *mrtFile) flush(p *mrtPeer) {
	q := &p.pending
	if len(q.nlri) == 0 {
		return
	}
	attrs, nlri := dumpAttributes(q.family, q.attrs, q.nlri)
	if bgp.HeaderLen+4+len(attrs)+len(nlri) > 65535 {
		m.skip("routes whose attributes do not fit a BGP message")
	} else {
		h := p.hdr
		if !p.as4 {
			h.Flags |= bmp.FlagAS2
		}
		h.SetTime(q.time)
		// No time for the pace: a dump is as old as its routes, in no order.
		m.put(time.Time{}, &bmp.RouteMonitoring{PeerHeader: h, Update: updatePDU(attrs, nlri)})
	}
	q.nlri = q.nlri[:0]
}

// dumpAttributes makes the attributes of an UPDATE of those of a RIB entry. There MP_REACH_NLRI is cut down to {next hop
// length 1, next hop} (RFC 6396, Section 4.3.4), or whole where the collector knew no better.
func dumpAttributes(f bgp.Family, attrs, nlri []byte) (out, classic []byte) {
	var nextHop []byte
	hasClassic := false
	rest := attrs
	for len(rest) >= 3 {
		flags, code := rest[0], rest[1]
		v, n := 3, int(rest[2])
		if flags&0x10 != 0 {
			if len(rest) < 4 {
				break
			}
			v, n = 4, n<<8|int(rest[3])
		}
		if n > len(rest)-v {
			break
		}
		whole, value := rest[:v+n], rest[v:v+n]
		rest = rest[v+n:]
		switch code {
		case bgp.AttrMPReach:
			switch {
			case n > 0 && int(value[0]) == n-1:
				nextHop = value[1:]
			case n >= 5 && 4+int(value[3]) <= n:
				nextHop = value[4 : 4+int(value[3])]
			}
			continue
		case bgp.AttrMPUnreach:
			continue
		case bgp.AttrNextHop:
			hasClassic = true
		}
		out = append(out, whole...)
	}
	out = append(out, rest...) // malformed: the station shall see it
	if f == bgp.IPv4Unicast && (hasClassic || nextHop == nil) {
		return out, nlri
	}
	mp := binary.BigEndian.AppendUint16(nil, f.AFI)
	mp = append(mp, f.SAFI, byte(len(nextHop)))
	mp = append(append(append(mp, nextHop...), 0), nlri...)
	head := binary.BigEndian.AppendUint16([]byte{0x90, bgp.AttrMPReach}, uint16(len(mp)))
	return append(append(head, mp...), out...), nil
}
