package rib

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	bigWords    = 256 // 2 KiB
	smallWords  = 32  // 256 bytes
	bigShift    = 10  // log2 of big pages in a chunk
	smallShift  = 13  // log2 of small pages in a chunk
	slabChunks  = 1 << 15
	modestSlabs = 1 // chunks of a slab that are not made of huge pages
)

type (
	bigPage   [bigWords]uint64
	smallPage [smallWords]uint64
)

// columns and halves are pages as 32-bit words.
type (
	columns [2 * bigWords]uint32
	halves  [2 * smallWords]uint32
)

func (p *bigPage) columns() *columns { return (*columns)(unsafe.Pointer(p)) }
func (p *smallPage) halves() *halves { return (*halves)(unsafe.Pointer(p)) }

// slab hands out pages of one size, by number. Number 0 is no page.
//
// Invariants: the chunk of a page, once in dir, stays there and mapped. A page that others may still read is not given
// back but retired (quarantine.go).
type slab struct {
	m     *memory
	shift uint
	words int
	used  atomic.Int64 // pages handed out and not given back

	mu       sync.Mutex
	next     uint32   // first number never handed out
	free     []uint32 // content undefined
	released []bool   // by chunk: its memory was given back to the system; all its pages are free

	dir [slabChunks]atomic.Pointer[chunk]
}

func (s *slab) init(m *memory, words int, shift uint) {
	s.m, s.words, s.shift, s.next = m, words, shift, 1
}

// big is the page of a number, in a slab of big pages.
func (s *slab) big(n uint32) *bigPage {
	c := s.dir[(n>>bigShift)&(slabChunks-1)].Load()
	return (*bigPage)(unsafe.Pointer(&c[(n&(1<<bigShift-1))*bigWords]))
}

// small is the page of a number, in a slab of small pages.
func (s *slab) small(n uint32) *smallPage {
	c := s.dir[(n>>smallShift)&(slabChunks-1)].Load()
	return (*smallPage)(unsafe.Pointer(&c[(n&(1<<smallShift-1))*smallWords]))
}

// alloc returns a page number, or 0 when there is no memory. The page is zeroed when asked for.
func (s *slab) alloc(zero bool) uint32 {
	s.mu.Lock()
	if k := len(s.free); k > 0 {
		n := s.free[k-1]
		if c := n >> s.shift; int(c) < len(s.released) && s.released[c] {
			if !s.m.revive() {
				s.mu.Unlock()
				return 0
			}
			s.released[c] = false
		}
		s.free = s.free[:k-1]
		s.mu.Unlock()
		s.used.Add(1)
		if zero {
			clear(s.of(n))
		}
		return n
	}
	n := s.next
	c := n >> s.shift
	if c >= slabChunks {
		s.mu.Unlock()
		return 0
	}
	if s.dir[c].Load() == nil {
		m := s.m.take(c >= modestSlabs)
		if m == nil {
			s.mu.Unlock()
			return 0
		}
		s.dir[c].Store(m)
		s.released = append(s.released, false)
	}
	s.next++
	s.mu.Unlock()
	s.used.Add(1)
	return n
}

// of is the page of a number as a slice.
func (s *slab) of(n uint32) []uint64 {
	c := s.dir[n>>s.shift].Load()
	at := int(n&(1<<s.shift-1)) * s.words
	return c[at : at+s.words]
}

// give takes pages back that nobody can read any more.
func (s *slab) give(pages []uint32) {
	if len(pages) == 0 {
		return
	}
	s.mu.Lock()
	s.free = append(s.free, pages...)
	s.mu.Unlock()
	s.used.Add(-int64(len(pages)))
}

// trim gives chunks all of whose pages are free back to the system, and sees to it that their pages are used last.
func (s *slab) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free)>>s.shift == 0 {
		return
	}
	count := make([]int, len(s.released))
	for _, n := range s.free {
		count[n>>s.shift]++
	}
	whole := 1 << s.shift
	for c := range count {
		if count[c] == whole && !s.released[c] {
			s.released[c] = s.m.release(s.dir[c].Load())
		}
	}
	last := 0
	for i, n := range s.free {
		if s.released[n>>s.shift] {
			s.free[i], s.free[last] = s.free[last], n
			last++
		}
	}
}
