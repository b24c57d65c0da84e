package sim

import (
	"encoding/binary"
	"net/netip"
)

// transit are AS numbers that paths go through.
var transit = [...]uint32{174, 701, 1299, 2914, 3257, 3320, 3356, 3491, 5511, 6453, 6461, 6762, 6830, 6939, 7018, 7922, 9002, 12956,
	1273, 4134, 4637, 4826, 6327, 7473, 8220, 8359, 9498, 12389, 20485, 20764, 31133, 37100, 199524, 264409, 265702, 328474}

// sharedPeer is the peer that shared attribute sets are made for.
var sharedPeer = attributeSource{as: 64999, v4: [4]byte{192, 0, 2, 254}, v6: [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 254}}

// attributeSource is what of a peer goes into attributes.
type attributeSource struct {
	seed   uint64
	as     uint32
	v4     [4]byte // next hops
	v6     [16]byte
	shared uint64 // sets whose hash is below this are those of sharedPeer
}

// mix spreads bits: the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// resolve is the source of a set: the peer's own, or the shared one.
func (s *attributeSource) resolve(set uint32) attributeSource {
	if s.shared > 0 && mix(s.seed^uint64(set)<<20)>>1 < s.shared {
		shared := sharedPeer
		shared.seed = s.seed
		return shared
	}
	return *s
}

// originAS is different for each set, and of 2 or 4 octets.
func originAS(set uint32) uint32 {
	if set < 60000 {
		return 1000 + set
	}
	return 131072 + set
}

// appendAttributes appends the path attributes of a set, but for MP_REACH_NLRI. A version above 0 is what a change made of
// it: another MED.
func (s *attributeSource) appendAttributes(b []byte, f family, set uint32, version uint8) []byte {
	src := s.resolve(set)
	h := mix(src.seed ^ mix(uint64(src.as)<<32|uint64(set)<<1|uint64(f)))
	origin := byte(0)
	if h%16 == 0 {
		origin = 2 // INCOMPLETE
	}
	h >>= 4
	b = append(b, 0x40, 1, 1, origin)
	b = append(b, 0x40, 2, 0, 2, 0)
	path := len(b)
	b = binary.BigEndian.AppendUint32(b, src.as)
	for range [8]int{0, 1, 1, 1, 2, 2, 3, 4}[h%8] {
		h = mix(h)
		b = binary.BigEndian.AppendUint32(b, transit[h%uint64(len(transit))])
	}
	h = mix(h)
	prepend := 1
	if h%16 == 0 {
		prepend = 2 + int(h>>4%3)
	}
	for range prepend {
		b = binary.BigEndian.AppendUint32(b, originAS(set))
	}
	b[path-1] = byte((len(b) - path) / 4)
	b[path-3] = byte(len(b) - path + 2)
	if f == ipv4 {
		b = append(b, 0x40, 3, 4, src.v4[0], src.v4[1], src.v4[2], src.v4[3])
	}
	h >>= 8
	switch {
	case version > 0:
		b = append(b, 0x80, 4, 4, 0, 1, 0, version)
	case h%10 < 3:
		b = append(b, 0x80, 4, 4, 0, 0, 0, byte(h>>8))
	}
	h = mix(h)
	if n := [8]int{0, 0, 0, 1, 2, 2, 4, 8}[h%8]; n > 0 {
		b = append(b, 0xc0, 8, byte(4*n))
		for i := range n {
			v := mix(h + uint64(i))
			b = append(b, byte(transit[v%16]>>8), byte(transit[v%16]), 0x0b, byte(v>>32))
		}
	}
	if h>>8%10 == 0 {
		b = append(b, 0xc0, 32, 12)
		b = binary.BigEndian.AppendUint32(b, src.as)
		b = append(b, 0, 0, 0, 1, 0, 0, 0, byte(h>>16))
	}
	return b
}

// nextHop is what a set's routes have.
func (s *attributeSource) nextHop(f family, set uint32) netip.Addr {
	src := s.resolve(set)
	if f == ipv4 {
		return netip.AddrFrom4(src.v4)
	}
	return netip.AddrFrom16(src.v6)
}
