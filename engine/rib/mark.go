package rib

import "sync/atomic"

const (
	markUnits = 1 << 16 // numbers in one block of marks
	markWords = markUnits / 64
)

// marks is a set of 32-bit numbers that many goroutines add to: what a sweep has found alive. Blocks are made when
// first needed, on the Go heap, for the time of the sweep.
//
// While marks are in place, whoever obtains a number from a hash table without its lock adds it here first and then
// looks whether the page it found it in is still in its place; the sweep takes the page out of its place first and
// then looks here. One of them sees the other.
type marks struct {
	shift  uint // lower bits of a number that do not matter
	blocks []atomic.Pointer[[markWords]uint64]
}

// newMarks makes a set for numbers below 1<<bits that differ in more than the lowest shift bits.
func newMarks(bits, shift uint) *marks {
	return &marks{shift: shift, blocks: make([]atomic.Pointer[[markWords]uint64], 1<<(bits-shift)/markUnits)}
}

func (m *marks) block(n uint32) *[markWords]uint64 {
	p := &m.blocks[n/markUnits]
	if b := p.Load(); b != nil {
		return b
	}
	p.CompareAndSwap(nil, new([markWords]uint64))
	return p.Load()
}

func (m *marks) set(n uint32) {
	n >>= m.shift
	w := &m.block(n)[n%markUnits/64]
	if bit := uint64(1) << (n % 64); atomic.LoadUint64(w)&bit == 0 {
		atomic.OrUint64(w, bit)
	}
}

// setWord adds the 64 numbers from n on, a multiple of 64, whose bits are set in word.
func (m *marks) setWord(n uint32, word uint64) {
	w := &m.block(n)[n%markUnits/64]
	if atomic.LoadUint64(w)&word != word {
		atomic.OrUint64(w, word)
	}
}

func (m *marks) has(n uint32) bool {
	n >>= m.shift
	b := m.blocks[n/markUnits].Load()
	return b != nil && atomic.LoadUint64(&b[n%markUnits/64])>>(n%64)&1 != 0
}
