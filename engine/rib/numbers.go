package rib

const (
	numbersBlock = 1 << 16 // numbers in one block of a set
	numbersWords = numbersBlock / 64
)

// numbers is a set of 32-bit numbers, for one goroutine: what was counted already. Its blocks are made when first
// needed, as what is counted is often little of what there is.
type numbers struct {
	shift  uint // lower bits of a number that do not matter
	blocks []*[numbersWords]uint64
}

// add is true where the number was not in the set.
func (s *numbers) add(n uint32) bool {
	n >>= s.shift
	b := int(n / numbersBlock)
	for b >= len(s.blocks) {
		s.blocks = append(s.blocks, nil)
	}
	if s.blocks[b] == nil {
		s.blocks[b] = new([numbersWords]uint64)
	}
	w, bit := &s.blocks[b][n%numbersBlock/64], uint64(1)<<(n%64)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	return true
}

// clear empties the set, and keeps its memory.
func (s *numbers) clear() {
	for _, b := range s.blocks {
		if b != nil {
			clear(b[:])
		}
	}
}
