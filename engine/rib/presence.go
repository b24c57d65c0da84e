package rib

import (
	"sync/atomic"
)

const (
	presenceBits = 128
	presenceIDs  = bigWords * 64 / presenceBits // numbers in a page
)

// presence is 128 bits: of a table, the three that stand for it; of a prefix, those of all sparse tables that hold
// it. A table all of whose bits a prefix has may hold it: with ten holders among ten thousand tables that is a
// hundred to look at. A bit of a prefix is never cleared while the prefix lives: a sweep builds the bits anew.
type presence [presenceBits / 64]uint64

// presenceOf is the bits of the table with a number. The first is the table's bucket, so that a bucket's tables are
// as many as another's.
func presenceOf(table uint32) (p presence) {
	h := table*0x9e3779b1 + 0x85ebca6b
	h ^= h >> 15
	h *= 0x2c1b3c6d
	for _, b := range [3]uint32{table, h >> 25, h >> 18} {
		p[b/64%2] |= 1 << (b % 64)
	}
	return p
}

// has says whether all bits of q are in p.
func (p presence) has(q presence) bool { return p[0]&q[0] == q[0] && p[1]&q[1] == q[1] }

// presenceFrom is how many sparse tables a family has before presence is kept for it: fewer are asked one and all.
const presenceFrom = 64

// A family's presence is off; or kept, so that writers add to it, but not complete; or ready, and queries go by it.
// It changes while the guard is held exclusively, at the beginning and the end of a sweep, which completes it.
const (
	presenceOff = iota
	presenceKept
	presenceReady
)

// sparse is a table that is not dense, with its bits.
type sparse struct {
	bits presence
	t    *Table
}

// setPresence notes that table t may hold id. It must come before the cell. It is false when there is no memory.
func (d *dict) setPresence(s *Store, id uint32, t *Table) bool {
	if d.present.Load() == presenceOff {
		return true
	}
	if !d.addPresence(s, id, 0, t.bits) {
		return false
	}
	if d.marks.Load() != nil {
		d.addPresence(s, id, 2, t.bits)
	}
	return true
}

// renewedPresence notes it in what a sweep builds.
func (d *dict) renewedPresence(s *Store, id uint32, t *Table) {
	if d.present.Load() != presenceOff {
		d.addPresence(s, id, 2, t.bits)
	}
}

// switchPresence begins or ends the keeping of presence, as the number of sparse tables asks for. The guard is held
// exclusively.
func (f *family) switchPresence(s *Store) {
	f.mu.RLock()
	n := len(f.tables) - len(f.numbers) - len(f.dense)
	f.mu.RUnlock()
	switch on := f.dict.present.Load() != presenceOff; {
	case !on && n >= s.presenceFrom:
		f.dict.present.Store(presenceKept)
	case on && n < s.presenceFrom/2:
		f.dict.present.Store(presenceOff)
	}
}

// addPresence adds bits in the pages from k on.
func (d *dict) addPresence(s *Store, id, k uint32, bits presence) bool {
	k += id % blockIDs / presenceIDs
	n := atomic.LoadUint32(&d.block(id).pres[k])
	if n == 0 {
		if n = d.presencePage(s, id, k); n == 0 {
			return false
		}
	}
	words := presenceWords(s, n, id)
	for i, b := range bits {
		if b != 0 && atomic.LoadUint64(&words[i])&b != b {
			atomic.OrUint64(&words[i], b)
		}
	}
	return true
}

// presenceWords is the bits of a number in its page.
func presenceWords(s *Store, page, id uint32) *presence {
	return (*presence)(s.big.big(page)[id%presenceIDs*(presenceBits/64):])
}

// presencePage returns presence page k of the block of id, and makes it if need be.
func (d *dict) presencePage(s *Store, id, k uint32) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	field := &d.block(id).pres[k]
	if *field == 0 {
		n := s.big.alloc(true)
		if n == 0 && k >= 2 {
			d.freshLost = true
		}
		atomic.StoreUint32(field, n)
	}
	return *field
}

// presence is the bits of the tables that may hold id.
func (d *dict) presence(s *Store, id uint32) (p presence) {
	if n := atomic.LoadUint32(&d.block(id).pres[id%blockIDs/presenceIDs]); n != 0 {
		words := presenceWords(s, n, id)
		for i := range p {
			p[i] = atomic.LoadUint64(&words[i])
		}
	}
	return p
}

// clearPresence forgets which tables may hold id. d.mu is held.
func (d *dict) clearPresence(s *Store, id uint32) {
	b := d.block(id)
	for k := id % blockIDs / presenceIDs; k < 4; k += 2 {
		if n := b.pres[k]; n != 0 {
			words := presenceWords(s, n, id)
			for i := range words {
				atomic.StoreUint64(&words[i], 0)
			}
		}
	}
}

// renewPresence puts the bits that a sweep has built in place of the old, if they are complete. The guard is held
// exclusively.
func (d *dict) renewPresence(s *Store, complete bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	complete = complete && !d.freshLost
	off := d.present.Load() == presenceOff
	var old []uint32
	blocks := *d.blocks.Load()
	for i := range blocks {
		p := &blocks[i].pres
		for k := range uint32(2) {
			use, drop := p[k], p[k+2]
			if complete || off {
				use, drop = drop, use // when it is off there is nothing new
			}
			if drop != 0 {
				old = append(old, drop)
			}
			atomic.StoreUint32(&p[k], use)
			atomic.StoreUint32(&p[k+2], 0)
		}
	}
	if complete && !off {
		d.present.Store(presenceReady)
	}
	d.freshLost = false
	s.big.give(old)
}
