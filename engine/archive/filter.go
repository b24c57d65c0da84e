package archive

import (
	"encoding/binary"
	"math/bits"

	"bmp/proto/bgp"
)

// hashBytes is a 64-bit hash that is the same in every run and on every machine, as it is stored. With a seed that is known
// a router can aim collisions: in filters they cost queries time and nothing else, as what a filter finds is read. Where a
// collision would pass for the thing itself, as in lists of routes, the seed is one of the run's, drawn at random.
func hashBytes(seed uint64, b []byte) uint64 {
	const m1, m2 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93
	h := seed*m2 ^ uint64(len(b))*m1
	for len(b) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), m1)
		b = b[8:]
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	return mix(h^last, m2) ^ h>>32
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// keyHash is the hash of a route's key in the filters.
func keyHash(f bgp.Family, key []byte) uint64 { return hashBytes(familySeed(f), key) }

// familySeed tells hashes of the same key in different families apart.
func familySeed(f bgp.Family) uint64 { return uint64(f.AFI)<<8 | uint64(f.SAFI) + 1 }

// filter is a Bloom filter over the keys of routes that a block touches: | probes 1 | bits |. Its length in bits is a
// power of two times eight. An empty filter holds nothing.
type filter []byte

// maxFilter bounds a filter, in bytes: JetStream takes 64 KiB of headers, and it is written there in base64. The more keys there are
// beyond that the more often it is wrong.
const maxFilter = 32 << 10

// Small blocks are many and hold little each: they get the bits for few false hits. Large ones hold a dump.
func newFilter(dst []byte, hashes []uint64) filter {
	if len(hashes) == 0 {
		return dst[:0]
	}
	perKey, probes := 16, 7
	if len(hashes) > 1000 {
		perKey, probes = 9, 5
	}
	size := (len(hashes)*perKey + 7) / 8
	size = min((size+7)&^7, maxFilter)
	dst = append(dst[:0], byte(probes))
	for range size {
		dst = append(dst, 0)
	}
	f := filter(dst)
	for _, h := range hashes {
		f.add(h)
	}
	return f
}

func (f filter) add(h uint64) {
	n := uint64(len(f)-1) * 8
	step := h>>32 | 1
	for range f[0] {
		hi, _ := bits.Mul64(h*0x9e3779b97f4a7c15, n)
		f[1+hi/8] |= 1 << (hi % 8)
		h += step << 17
	}
}

// has may be true for what is not there, never false for what is.
func (f filter) has(h uint64) bool {
	if len(f) < 2 {
		return false
	}
	n := uint64(len(f)-1) * 8
	step := h>>32 | 1
	for range f[0] {
		hi, _ := bits.Mul64(h*0x9e3779b97f4a7c15, n)
		if f[1+hi/8]&(1<<(hi%8)) == 0 {
			return false
		}
		h += step << 17
	}
	return true
}
