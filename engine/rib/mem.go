package rib

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

const (
	chunkBytes  = 2 << 20
	chunkWords  = chunkBytes / 8
	regionBytes = 16 * chunkBytes
)

// chunk is the unit in which memory is taken from the system: the size and alignment of a huge page. Nothing in it is a
// Go pointer, and the garbage collector never looks into it.
type chunk [chunkWords]uint64

func (c *chunk) bytes() *[chunkBytes]byte { return (*[chunkBytes]byte)(unsafe.Pointer(c)) }

// memory takes chunks from the system. Address space is asked for in small regions as it is needed, so that an address
// space limit or strict overcommit costs nothing until it is reached, and is then a refusal and not a crash.
type memory struct {
	mu       sync.Mutex
	heap     bool  // use the Go heap: where there is no mmap, and under the race detector
	limit    int64 // of resident; 0 is none
	resident int64 // chunks handed out and not released
	mapped   int64
	regions  [][]byte // for unmapping
	rest     []byte   // of the last region, aligned
	notes    []string // fall-backs, each once
}

func newMemory(limit int64, heap bool) *memory {
	m := &memory{limit: limit, heap: heap}
	if !heap && !canMap {
		m.heap = true
		m.note("no anonymous memory mapping on this system: routes are on the Go heap")
	}
	if !m.heap {
		if b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil || strings.Contains(string(b), "[never]") {
			m.note("no transparent huge pages: small pages are used, lookups are slower")
		}
	}
	return m
}

// note records a fall-back. m.mu is held, or m is not shared yet.
func (m *memory) note(s string) {
	if !slices.Contains(m.notes, s) {
		m.notes = append(m.notes, s)
	}
}

// take returns a zeroed chunk, or nil when no more is to be had. Small stores ask without huge, as a huge page becomes
// resident as a whole when its first byte is touched.
func (m *memory) take(huge bool) *chunk {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.room() {
		return nil
	}
	if m.heap {
		m.resident += chunkBytes
		m.mapped += chunkBytes
		return new(chunk)
	}
	if len(m.rest) == 0 && !m.grow() {
		return nil
	}
	b := m.rest[:chunkBytes]
	m.rest = m.rest[chunkBytes:]
	m.resident += chunkBytes
	if huge {
		if err := adviseHuge(b); err != nil {
			m.note(fmt.Sprintf("huge pages refused (%v): small pages are used, lookups are slower", err))
		}
	}
	return (*chunk)(unsafe.Pointer(&b[0]))
}

// room says whether one more chunk may become resident. m.mu is held.
func (m *memory) room() bool {
	if m.limit > 0 && m.resident+chunkBytes > m.limit {
		m.note("the memory bound is reached: routes are refused")
		return false
	}
	return true
}

// grow maps a region: a large one, or one chunk where that is refused.
func (m *memory) grow() bool {
	for _, size := range []int{regionBytes, chunkBytes} {
		b, err := mapRegion(size + chunkBytes) // one chunk more than needed, to align
		if err == nil {
			m.regions = append(m.regions, b)
			m.mapped += int64(len(b))
			skip := int(-uintptr(unsafe.Pointer(&b[0])) & (chunkBytes - 1))
			m.rest = b[skip : skip+size]
			return true
		}
		m.note(fmt.Sprintf("the system refused %d MiB (%v): routes beyond what is mapped are refused", size>>20, err))
	}
	return false
}

// release gives the memory of a chunk back to the system and keeps its address. The chunk reads as zeros.
func (m *memory) release(c *chunk) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heap || releasePages(c.bytes()[:]) != nil {
		return false
	}
	m.resident -= chunkBytes
	return true
}

// revive counts a released chunk as used again; false means that the bound does not allow it.
func (m *memory) revive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.room() {
		return false
	}
	m.resident += chunkBytes
	return true
}

// close unmaps everything: no chunk may be touched afterwards.
func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first error
	for _, b := range m.regions {
		if err := unmapRegion(b); err != nil && first == nil {
			first = fmt.Errorf("unmap %d bytes: %w", len(b), err)
		}
	}
	m.regions, m.rest, m.resident, m.mapped = nil, nil, 0, 0
	m.limit = 1 // nothing more
	return first
}

func (m *memory) state() (resident, mapped int64, notes []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.resident, m.mapped, slices.Clone(m.notes)
}
