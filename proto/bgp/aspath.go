package bgp

import (
	"encoding/binary"
	"strconv"
)

// Segment types of an AS_PATH, RFC 4271 and RFC 5065.
const (
	segSet            = 1
	segSequence       = 2
	segConfedSequence = 3
	segConfedSet      = 4
)

// checkPath tells whether v is an AS_PATH with numbers of w octets, to its last byte.
func checkPath(v []byte, w int) (reason string, value int) {
	for len(v) > 0 {
		if len(v) < 2 {
			return reasonPath, -1
		}
		if t := v[0]; t < segSet || t > segConfedSet {
			return reasonSegment, int(t)
		}
		n := int(v[1])
		if n == 0 {
			return reasonCount, 0
		}
		if 2+n*w > len(v) {
			return reasonPath, -1
		}
		v = v[2+n*w:]
	}
	return "", 0
}

func asNumber(v []byte, w int) uint32 {
	if w == 4 {
		return binary.BigEndian.Uint32(v)
	}
	return uint32(binary.BigEndian.Uint16(v))
}

// appendPath appends an AS_PATH as people write it: "65001 65010 {65020,65021}", confederation sequences as "(65101
// 65102)" and sets as "({65101,65102})". What does not parse is left out; checkPath was asked before it was stored.
func appendPath(dst []byte, v []byte, w int) []byte {
	start := len(dst)
	for len(v) >= 2 {
		t, n := v[0], int(v[1])
		if 2+n*w > len(v) {
			break
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		sep := byte(' ')
		switch t {
		case segSet:
			dst, sep = append(dst, '{'), ','
		case segConfedSequence:
			dst = append(dst, '(')
		case segConfedSet:
			dst, sep = append(dst, '(', '{'), ','
		}
		for i := range n {
			if i > 0 {
				dst = append(dst, sep)
			}
			dst = strconv.AppendUint(dst, uint64(asNumber(v[2+i*w:], w)), 10)
		}
		switch t {
		case segSet:
			dst = append(dst, '}')
		case segConfedSequence:
			dst = append(dst, ')')
		case segConfedSet:
			dst = append(dst, '}', ')')
		}
		v = v[2+n*w:]
	}
	return dst
}

// pathHops counts AS numbers as RFC 4271, Section 9.1.2.2 does: a set is one, confederation segments are none
// (RFC 5065).
func pathHops(v []byte, w int) int {
	hops := 0
	for len(v) >= 2 {
		t, n := v[0], int(v[1])
		if 2+n*w > len(v) {
			break
		}
		switch t {
		case segSet:
			hops++
		case segSequence:
			hops += n
		}
		v = v[2+n*w:]
	}
	return hops
}

// mergeAS4 rebuilds the path of a 2-octet speaker from its AS_PATH and AS4_PATH, RFC 6793, Section 4.2.3: the leading
// numbers of the AS_PATH that the AS4_PATH does not cover, then the AS4_PATH. The result has 4-octet numbers. An
// AS4_PATH that is longer than the AS_PATH is ignored.
func mergeAS4(path, as4 []byte) []byte {
	keep := pathHops(path, 2) - pathHops(as4, 4)
	if len(as4) == 0 || keep < 0 {
		return widen(nil, path, -1)
	}
	out := widen(nil, path, keep)
	// Two sequences that meet become one: that is how the path was before it was cut.
	if n := len(out); n > 0 && len(as4) > 2 && as4[0] == segSequence {
		if last := lastSegment(out); last >= 0 && out[last] == segSequence && int(out[last+1])+int(as4[1]) <= 255 {
			out[last+1] += as4[1]
			return append(out, as4[2:]...)
		}
	}
	return append(out, as4...)
}

// widen copies the first `hops` hops of a 2-octet path with 4-octet numbers, and the confederation segments before and
// beside them; all of it when hops is negative.
func widen(dst, v []byte, hops int) []byte {
	for len(v) >= 2 {
		t, n := v[0], int(v[1])
		if 2+n*2 > len(v) {
			break
		}
		take := n
		switch {
		case hops < 0 || t == segConfedSequence || t == segConfedSet:
		case hops == 0:
			return dst
		case t == segSet:
			hops--
		default:
			take = min(n, hops)
			hops -= take
		}
		dst = append(dst, t, byte(take))
		for i := range take {
			dst = binary.BigEndian.AppendUint32(dst, uint32(binary.BigEndian.Uint16(v[2+2*i:])))
		}
		v = v[2+n*2:]
	}
	return dst
}

// lastSegment is the start of the last segment of a 4-octet path, -1 if there is none.
func lastSegment(v []byte) int {
	at, last := 0, -1
	for at+2 <= len(v) {
		last = at
		at += 2 + 4*int(v[at+1])
	}
	return last
}
