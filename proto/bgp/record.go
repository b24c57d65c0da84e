package bgp

import (
	"encoding/binary"
	"net/netip"
)

// Bits of the flags octet of a record.
const (
	recordAS4   = 0x01 // AS numbers of AS_PATH and AGGREGATOR are 4 octets wide
	recordExtra = 0x02 // the record ends with what was cut out of the NLRI, and its length
)

// AppendRecord appends the record of the attributes of u for its announced routes of family f (doc.go draws it): what
// the route store interns. extra is what [NLRI.Next] cut out of the NLRI; it is part of the record, so routes of one
// UPDATE with other labels have other records. It is at most 255 bytes long. u may be malformed: attributes to be
// discarded are left out.
func (u *Update) AppendRecord(dst []byte, f Family, extra []byte) []byte {
	flags := byte(0)
	if u.Context.AS4 {
		flags = recordAS4
	}
	if len(extra) > 0 && len(extra) <= 255 {
		flags |= recordExtra
	}
	dst = append(dst, flags)
	if u.dropped || u.reachAttr[1]|u.unreachAttr[1] != 0 {
		dst = u.appendAttrs(dst, f)
	} else {
		dst = append(dst, u.Attrs...)
	}
	if flags&recordExtra != 0 {
		dst = append(dst, extra...)
		dst = append(dst, byte(len(extra)))
	}
	return dst
}

// appendAttrs is the way of messages with MP attributes, and of those with something to discard.
func (u *Update) appendAttrs(dst []byte, f Family) []byte {
	a := u.Attrs
	mp := u.HasReach && f == u.Reach.Family && (f != IPv4Unicast || len(u.NLRI) == 0)
	if u.dropped {
		return u.appendKept(dst, mp)
	}
	// Copy what lies between the two MP attributes, which come in any order and often first.
	first, second := u.reachAttr, u.unreachAttr
	if first[1] == 0 || second[1] != 0 && second[0] < first[0] {
		first, second = second, first
	}
	dst = append(dst, a[:first[0]]...)
	if mp && first == u.reachAttr {
		dst = u.appendNextHop(dst)
	}
	if second[1] == 0 {
		return append(dst, a[first[1]:]...)
	}
	dst = append(dst, a[first[1]:second[0]]...)
	if mp && second == u.reachAttr {
		dst = u.appendNextHop(dst)
	}
	return append(dst, a[second[1]:]...)
}

// appendNextHop appends MP_REACH_NLRI cut down to its next hop. The family is known to whoever holds the route.
func (u *Update) appendNextHop(dst []byte) []byte {
	dst = append(dst, u.Attrs[u.reachAttr[0]]&^flagExtended, AttrMPReach, byte(len(u.Reach.NextHop)))
	return append(dst, u.Reach.NextHop...)
}

// appendKept copies attribute by attribute, without those to be discarded and without second ones.
func (u *Update) appendKept(dst []byte, mp bool) []byte {
	var seen [256 / 64]uint64
	it := attrs{rest: u.Attrs}
	for it.next() {
		word, bit := it.code>>6, uint64(1)<<(it.code&63)
		if (seen[word]|u.drop[word])&bit != 0 {
			continue
		}
		seen[word] |= bit
		switch it.code {
		case AttrMPReach:
			if mp {
				dst = u.appendNextHop(dst)
			}
		case AttrMPUnreach:
		default:
			dst = append(dst, it.whole...)
		}
	}
	return dst
}

// attrs iterates over path attributes that were walked before; it stops where they do not parse.
type attrs struct {
	rest  []byte
	whole []byte // with the header
	value []byte
	flags uint8
	code  uint8
}

func (it *attrs) next() bool {
	a := it.rest
	if len(a) < 3 {
		return false
	}
	v, n := 3, int(a[2])
	if a[0]&flagExtended != 0 {
		if len(a) < 4 {
			return false
		}
		v, n = 4, n<<8|int(a[3])
	}
	if n > len(a)-v {
		return false
	}
	it.flags, it.code = a[0], a[1]
	it.whole, it.value, it.rest = a[:v+n], a[v:v+n], a[v+n:]
	return true
}

// RecordAS4 reports whether the AS numbers in the record are 4 octets wide.
func RecordAS4(rec []byte) bool { return len(rec) > 0 && rec[0]&recordAS4 != 0 }

// RecordAttrs is the path attributes of a record, in the peer's order; MP_REACH_NLRI (type 14) has the next hop alone
// for its value. It aliases rec.
func RecordAttrs(rec []byte) []byte {
	if len(rec) == 0 {
		return nil
	}
	return rec[1 : len(rec)-extraLen(rec)]
}

// RecordExtra is what was cut out of the NLRI: labels, ESI, gateway. It aliases rec.
func RecordExtra(rec []byte) []byte {
	n := extraLen(rec)
	if n == 0 {
		return nil
	}
	return rec[len(rec)-n : len(rec)-1]
}

// extraLen is the number of bytes at the end of rec that are not attributes.
func extraLen(rec []byte) int {
	if len(rec) < 2 || rec[0]&recordExtra == 0 {
		return 0
	}
	n := int(rec[len(rec)-1]) + 1
	if n > len(rec)-1 {
		return 0
	}
	return n
}

// FindAttr finds the value of a path attribute in a record. It aliases rec.
//
// It is attrs.next in one loop: questions over all routes go through millions of records.
func FindAttr(rec []byte, code uint8) (value []byte, ok bool) {
	a := RecordAttrs(rec)
	for i := 0; len(a)-i >= 3; {
		v, n := i+3, int(a[i+2])
		if a[i]&flagExtended != 0 {
			if v >= len(a) {
				break
			}
			n = n<<8 | int(a[v])
			v++
		}
		end := v + n
		if end > len(a) {
			break
		}
		if a[i+1] == code {
			return a[v:end], true
		}
		i = end
	}
	return nil, false
}

// NextHop is the next hop of a record: that of MP_REACH_NLRI, or NEXT_HOP. An RD before it and a link-local address
// behind it are left out.
func NextHop(rec []byte) (netip.Addr, bool) {
	if v, ok := FindAttr(rec, AttrMPReach); ok {
		if a, _ := parseNextHop(v); a.IsValid() {
			return a, true
		}
	}
	v, _ := FindAttr(rec, AttrNextHop)
	if len(v) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(v)), true
}

// parseNextHop reads a next hop of any length that nextHopLen lets through.
func parseNextHop(v []byte) (global, linkLocal netip.Addr) {
	switch len(v) {
	case 4:
		return netip.AddrFrom4([4]byte(v)), netip.Addr{}
	case 12: // RD, IPv4
		return netip.AddrFrom4([4]byte(v[8:])), netip.Addr{}
	case 16:
		return netip.AddrFrom16([16]byte(v)), netip.Addr{}
	case 24: // RD, IPv6
		return netip.AddrFrom16([16]byte(v[8:])), netip.Addr{}
	case 32:
		return netip.AddrFrom16([16]byte(v)), netip.AddrFrom16([16]byte(v[16:]))
	case 48: // RD, IPv6, RD, link-local
		return netip.AddrFrom16([16]byte(v[8:])), netip.AddrFrom16([16]byte(v[32:]))
	}
	return netip.Addr{}, netip.Addr{}
}

// recordPath is the AS_PATH of a record and the width of its numbers. Where a 2-octet speaker sent an AS4_PATH it is
// the path that both make (RFC 6793, Section 4.2.3), which is the only case that allocates.
func recordPath(rec []byte) (path []byte, w int) {
	if w = width(RecordAS4(rec)); w == 4 {
		path, _ = FindAttr(rec, AttrASPath)
		return path, w
	}
	var as4, aggregator, as4Aggregator []byte
	it := attrs{rest: RecordAttrs(rec)}
	for it.next() {
		switch it.code {
		case AttrASPath:
			path = it.value
		case AttrAS4Path:
			as4 = it.value
		case AttrAggregator:
			aggregator = it.value
		case AttrAS4Aggregator:
			as4Aggregator = it.value
		}
	}
	if len(as4) == 0 {
		return path, w
	}
	// Both aggregators, and the old one is no AS_TRANS: a 2-octet speaker has aggregated anew and passed the AS4 ones on.
	if as4Aggregator != nil && len(aggregator) == 6 && binary.BigEndian.Uint16(aggregator) != asTrans {
		return path, w
	}
	return mergeAS4(path, as4), 4
}

// asTrans stands for a 4-octet AS number where there is room for two octets only, RFC 6793.
const asTrans = 23456

// AppendASPath appends the AS path as text, "65001 65010 {65020,65021}".
func AppendASPath(dst []byte, rec []byte) []byte {
	path, w := recordPath(rec)
	return appendPath(dst, path, w)
}

// HasAS says whether an AS number is in the path, in any segment of it.
func HasAS(rec []byte, as uint32) bool {
	path, w := recordPath(rec)
	for len(path) >= 2 {
		n := int(path[1])
		if 2+n*w > len(path) {
			return false
		}
		for i := range n {
			if asNumber(path[2+i*w:], w) == as {
				return true
			}
		}
		path = path[2+n*w:]
	}
	return false
}

// OriginAS is the last AS number of the path. There is none in an empty path (the route is of the peer's own AS), nor
// in one that ends in a set or a confederation segment.
func OriginAS(rec []byte) (uint32, bool) {
	path, w := recordPath(rec)
	as, ok := uint32(0), false
	for len(path) >= 2 {
		n := int(path[1])
		if 2+n*w > len(path) {
			return 0, false
		}
		if ok = path[0] == segSequence && n > 0; ok {
			as = asNumber(path[2+(n-1)*w:], w)
		}
		path = path[2+n*w:]
	}
	return as, ok
}

func recordU32(rec []byte, code uint8) (uint32, bool) {
	v, ok := FindAttr(rec, code)
	if !ok || len(v) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

// MED is the MULTI_EXIT_DISC of a record.
func MED(rec []byte) (uint32, bool) { return recordU32(rec, AttrMED) }

// LocalPref is the LOCAL_PREF of a record.
func LocalPref(rec []byte) (uint32, bool) { return recordU32(rec, AttrLocalPref) }

// hasMember looks for want among the members, all of its length, of a list attribute.
func hasMember(rec []byte, code uint8, want []byte) bool {
	v, _ := FindAttr(rec, code)
	for ; len(v) >= len(want); v = v[len(want):] {
		if string(v[:len(want)]) == string(want) {
			return true
		}
	}
	return false
}

// HasCommunity reports whether the record carries the community c (RFC 1997).
func HasCommunity(rec []byte, c uint32) bool {
	v, _ := FindAttr(rec, AttrCommunities)
	for ; len(v) >= 4; v = v[4:] {
		if binary.BigEndian.Uint32(v) == c {
			return true
		}
	}
	return false
}

// HasLargeCommunity reports whether the record carries the large community c (RFC 8092).
func HasLargeCommunity(rec []byte, c [3]uint32) bool {
	var b [12]byte
	for i, n := range c {
		binary.BigEndian.PutUint32(b[4*i:], n)
	}
	return hasMember(rec, AttrLargeCommunities, b[:])
}

// HasExtCommunity reports whether the record carries the extended community c (RFC 4360), all eight bytes.
func HasExtCommunity(rec []byte, c [8]byte) bool { return hasMember(rec, AttrExtCommunities, c[:]) }
