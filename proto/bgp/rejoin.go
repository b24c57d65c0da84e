package bgp

import (
	"encoding/binary"
	"fmt"
)

// AppendNLRI is the reverse of [NLRI.Next]: it appends the NLRI of a route to an NLRI field, from its key and from what
// was cut out of it ([RecordExtra]). Host bits that the peer had set are zero, all else is as it came. A family that is
// kept raw ([Family.Splits]) has the whole field for its key: nothing may stand beside it, and it has no path identifier.
func AppendNLRI(dst []byte, f Family, addPath bool, pathID uint32, key, extra []byte) []byte {
	s := f.shape()
	if addPath && s != shapeRaw {
		dst = binary.BigEndian.AppendUint32(dst, pathID)
	}
	switch {
	case (s == shapeLabeled || s == shapeVPN) && len(key) > 0:
		bits := int(key[0]) + 8*len(extra)
		if s == shapeVPN {
			bits += 64
		}
		dst = append(append(dst, byte(bits)), extra...)
		return append(dst, key[1:]...)
	case s == shapeEVPN && len(extra) > 0 && len(key) >= 2:
		start := len(dst)
		const rd = 2 + 8 // type, length, RD: behind them stands the ESI, all else that was cut at the end
		if (key[0] == evpnMACIP || key[0] == evpnPrefix) && len(extra) > 10 && len(key) >= rd {
			dst = append(append(append(dst, key[:rd]...), extra[:10]...), key[rd:]...)
			extra = extra[10:]
		} else {
			dst = append(dst, key...)
		}
		dst = append(dst, extra...)
		dst[start+1] = byte(len(dst) - start - 2)
		return dst
	case s == shapeMUP && len(extra) > 0 && len(key) >= 4:
		start := len(dst)
		dst = append(append(dst, key...), extra...)
		dst[start+3] = byte(len(dst) - start - 4)
		return dst
	case s == shapeFlow:
		if n := len(key); n < 0xf0 {
			dst = append(dst, byte(n))
		} else {
			dst = binary.BigEndian.AppendUint16(dst, 0xf000|uint16(n))
		}
	case s == shapeLen2:
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(key)+len(extra)))
	case s == shapeCAR && len(key) > 0:
		dst = append(dst, byte(1+len(key)+len(extra)), byte(len(key)-1))
	}
	return append(append(dst, key...), extra...)
}

// AppendAnnouncement appends an UPDATE that announces routes of one family and one record: its attributes as they came,
// and a field of [AppendNLRI]. It is an error if that is longer than a BGP message can be.
func AppendAnnouncement(dst []byte, f Family, rec, field []byte) ([]byte, error) {
	start := len(dst)
	dst = appendHeader(dst, PDUUpdate)
	dst = append(dst, 0, 0, 0, 0)
	at := len(dst)
	it := attrs{rest: RecordAttrs(rec)}
	mp := false
	for it.next() {
		if it.code == AttrMPReach && !mp {
			dst = appendReach(dst, it.flags, f, it.value, field)
			mp = true
			continue
		}
		dst = append(dst, it.whole...)
	}
	if !mp && f != IPv4Unicast {
		dst = appendReach(dst, 0x80, f, nil, field)
		mp = true
	}
	if n := len(dst) - at; n <= maxPDU {
		binary.BigEndian.PutUint16(dst[at-2:], uint16(n))
	}
	if !mp {
		dst = append(dst, field...)
	}
	if n := len(dst) - start; n > maxPDU {
		return dst[:start], fmt.Errorf("UPDATE of %d bytes: too long", n)
	}
	return sealPDU(dst, start), nil
}

func appendReach(dst []byte, flags uint8, f Family, nextHop, field []byte) []byte {
	n := 5 + len(nextHop) + len(field)
	if n > 255 {
		dst = append(dst, flags|flagExtended, AttrMPReach, byte(n>>8), byte(n))
	} else {
		dst = append(dst, flags&^flagExtended, AttrMPReach, byte(n))
	}
	dst = binary.BigEndian.AppendUint16(dst, f.AFI)
	dst = append(dst, f.SAFI, byte(len(nextHop)))
	dst = append(append(dst, nextHop...), 0)
	return append(dst, field...)
}

// AppendEndOfRIB appends the End-of-RIB marker of a family, RFC 4724, Section 2.
func AppendEndOfRIB(dst []byte, f Family) []byte {
	start := len(dst)
	dst = append(appendHeader(dst, PDUUpdate), 0, 0)
	if f == IPv4Unicast {
		dst = append(dst, 0, 0)
	} else {
		dst = append(dst, 0, 6, 0x80, AttrMPUnreach, 3)
		dst = append(binary.BigEndian.AppendUint16(dst, f.AFI), f.SAFI)
	}
	return sealPDU(dst, start)
}

// maxPDU is the longest BGP message that its length field allows, RFC 8654.
const maxPDU = 65535
