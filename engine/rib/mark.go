package rib

import "sync/atomic"

// marks is a set of numbers that many goroutines add to: what a sweep has found alive. It has a bit for each number
// that was in use when the sweep began; a number that came into use later is in it from the start, as it is nothing
// that this sweep may free. It is on the Go heap, for the time of the sweep.
//
// While marks are in place, whoever obtains a number from a hash table without its lock adds it here first and then
// looks whether its slot is still where it was found; the sweep takes the slot out first and then looks here. One of
// them sees the other.
type marks struct {
	shift uint // lower bits of a number that do not matter
	words []uint64
}

// newMarks makes a set for the numbers below a bound, and a few more, that differ in more than the lowest shift bits.
func newMarks(below uint64, shift uint) *marks {
	return &marks{shift: shift, words: make([]uint64, (below>>shift+63)/64)}
}

func (m *marks) set(n uint32) {
	n >>= m.shift
	if i := n / 64; int(i) < len(m.words) {
		if p, bit := &m.words[i], uint64(1)<<(n%64); atomic.LoadUint64(p)&bit == 0 {
			atomic.OrUint64(p, bit)
		}
	}
}

// setWord adds the 64 numbers from n on, a multiple of 64, whose bits are set in word.
func (m *marks) setWord(n uint32, word uint64) {
	if i := n / 64; int(i) < len(m.words) && atomic.LoadUint64(&m.words[i])&word != word {
		atomic.OrUint64(&m.words[i], word)
	}
}

func (m *marks) has(n uint32) bool {
	n >>= m.shift
	i := n / 64
	return int(i) >= len(m.words) || atomic.LoadUint64(&m.words[i])>>(n%64)&1 != 0
}
