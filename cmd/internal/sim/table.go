package sim

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
)

// family is an index into what is there once for IPv4 and once for IPv6.
type family int

const (
	ipv4 family = iota
	ipv6
	families
)

// table is the prefixes of a family, as one run of NLRI that UPDATEs are cut from.
type table struct {
	nlri   []byte
	units  []unit
	sets   int
	routes int
}

// unit is what one UPDATE carries.
type unit struct {
	off   uint32 // in nlri
	size  uint16 // bytes
	count uint16 // routes
	set   uint32 // attribute set
}

// maxPerUnit keeps an UPDATE under 4,096 bytes in either family.
const maxPerUnit = 200

// newTable makes n prefixes, in attribute sets of perSet on average and UPDATEs of perUpdate.
func newTable(f family, n int, perUpdate, perSet float64, rng *rand.Rand) *table {
	t := &table{routes: n}
	prefixes := make([][]byte, 0, n) // runs of one to eight neighbours, to be shuffled
	var all []byte
	next := generator(f)
	for made := 0; made < n; {
		start := len(all)
		for range min(1+rng.IntN(8), n-made) {
			all = next(all, rng)
			made++
		}
		prefixes = append(prefixes, all[start:])
		all = all[len(all):]
	}
	rng.Shuffle(len(prefixes), func(i, j int) { prefixes[i], prefixes[j] = prefixes[j], prefixes[i] })
	for _, p := range prefixes {
		t.nlri = append(t.nlri, p...)
	}
	sizes := setSizes(n, perSet, rng)
	t.sets = len(sizes)
	most := perUnit(sizes, n, perUpdate)
	off := 0
	for set, size := range sizes {
		parts := (size + most - 1) / most
		for i := range parts {
			u := unit{off: uint32(off), set: uint32(set), count: uint16((size*(i+1))/parts - size*i/parts)}
			for range u.count {
				off += 1 + (int(t.nlri[off])+7)/8
			}
			u.size = uint16(off - int(u.off))
			t.units = append(t.units, u)
		}
	}
	return t
}

// setSizes draws how many routes each attribute set has: log-normal, as few origins have many prefixes and most have one.
func setSizes(n int, mean float64, rng *rand.Rand) []int {
	const sigma = 1.5
	mu := math.Log(mean-1) - sigma*sigma/2 // of what is beyond the first; minus infinity for a mean of 1
	var sizes []int
	for left := n; left > 0; {
		size := 1
		if mean > 1 {
			size += int(math.Exp(mu+sigma*rng.NormFloat64()) + rng.Float64())
		}
		size = min(size, left)
		sizes = append(sizes, size)
		left -= size
	}
	return sizes
}

// perUnit is the most routes that an UPDATE may have for the mean to be as wanted, or as near as the sets allow.
func perUnit(sizes []int, n int, mean float64) int {
	best := 1
	for most := 1; most <= maxPerUnit; most++ {
		units := 0
		for _, size := range sizes {
			units += (size + most - 1) / most
		}
		if float64(n) <= mean*float64(units) {
			best = most
		} else {
			return best
		}
	}
	return best
}

// generator makes distinct prefixes in ascending order and appends them as NLRI.
func generator(f family) func([]byte, *rand.Rand) []byte {
	// Lengths by their share in percent of what is seen in the Internet, rounded.
	lengths := [...][]struct{ bits, percent int }{
		ipv4: {{24, 59}, {23, 10}, {22, 11}, {21, 5}, {20, 5}, {19, 4}, {18, 2}, {17, 1}, {16, 2}, {15, 1}},
		ipv6: {{48, 48}, {32, 15}, {44, 10}, {40, 10}, {36, 5}, {46, 4}, {47, 4}, {29, 3}, {64, 1}},
	}
	draw := func(rng *rand.Rand) int {
		p := rng.IntN(100)
		for _, l := range lengths[f] {
			if p -= l.percent; p < 0 {
				return l.bits
			}
		}
		return lengths[f][0].bits
	}
	// The first 64 bits of an address, of which IPv4 uses 32.
	cursor, end := uint64(1)<<56, uint64(224)<<56
	longest := 24
	if f == ipv6 {
		cursor, end, longest = 0x2400<<48, 0x4000<<48, 64
	}
	last, lastBits := uint64(0), 0
	full := 0 // from when the space is used up: one longer length a round
	return func(b []byte, rng *rand.Rand) []byte {
		bits := draw(rng)
		if full > 0 {
			bits = full
		}
		at := alignUp(cursor, bits)
		if at == last && bits <= lastBits { // within the prefix before, so longer than it
			bits = min(lastBits+4, longest)
			at = alignUp(cursor, bits)
		}
		if f == ipv4 {
			for _, skip := range [...]uint64{10, 127} { // private and loopback
				if at>>56 == skip {
					at = (skip + 1) << 56
				}
			}
		}
		if at >= end || at < last {
			full = max(full, longest) + 1
			if f == ipv6 {
				full = 65 // beyond what 64 bits can tell apart: never in practice
			}
			bits, at = full, uint64(1)<<56
		}
		last, lastBits = at, bits
		cursor = at
		if full > 0 || bits >= longest-3 || rng.IntN(100) >= 30 { // else the next are within it
			cursor = at + 1<<(64-bits)
		}
		b = append(b, byte(bits))
		var addr [8]byte
		binary.BigEndian.PutUint64(addr[:], at)
		return append(b, addr[:(bits+7)/8]...)
	}
}

// alignUp is the first address at or after a that a prefix of the length may have.
func alignUp(a uint64, bits int) uint64 {
	step := uint64(1)<<(64-bits) - 1
	return (a + step) &^ step
}

// prefixes yields the prefixes of NLRI.
func prefixes(f family, nlri []byte, yield func(netip.Prefix) bool) bool {
	for len(nlri) > 0 {
		bits := int(nlri[0])
		n := 1 + (bits+7)/8
		var b [16]byte
		copy(b[:], nlri[1:n])
		addr := netip.AddrFrom16(b)
		if f == ipv4 {
			addr = netip.AddrFrom4([4]byte(b[:4]))
		}
		if !yield(netip.PrefixFrom(addr, bits)) {
			return false
		}
		nlri = nlri[n:]
	}
	return true
}

// run is the part of a table that a peer has: n units from start on, around the end, the last one with last routes.
type run struct {
	start, n int
	last     int
}

// newRun draws a run of routes.
func newRun(t *table, routes int, rng *rand.Rand) run {
	if routes == 0 || len(t.units) == 0 {
		return run{}
	}
	r := run{}
	if routes < t.routes {
		r.start = rng.IntN(len(t.units))
	}
	for left := routes; left > 0; r.n++ {
		r.last = min(left, int(t.units[(r.start+r.n)%len(t.units)].count))
		left -= r.last
	}
	return r
}

// at is unit i of the run, and its NLRI.
func (r run) at(t *table, i int) (unit, []byte) {
	j := r.start + i
	if j >= len(t.units) {
		j -= len(t.units)
	}
	u := t.units[j]
	nlri := t.nlri[u.off : u.off+uint32(u.size)]
	if i == r.n-1 && r.last < int(u.count) {
		u.count = uint16(r.last)
		end := 0
		for range u.count {
			end += 1 + (int(nlri[end])+7)/8
		}
		nlri = nlri[:end]
		u.size = uint16(end)
	}
	return u, nlri
}
