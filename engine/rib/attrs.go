package rib

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"
)

const (
	attrShift  = 32                       // an attribute slot: 32 bits of hash | record number
	attrLanes  = 8                        // writers that add records side by side
	attrShare  = 2                        // records are 4 units or more: so sets of records have one bit for 4 units
	attrModest = 1                        // chunks that are not made of huge pages
	hashShard  = 64 - 6                   // the uppermost bits of the hash choose the shard
	hashSlot   = uint64(1)<<attrShift - 1 // the lowest make the slot
)

// attrs interns attribute records: equal bytes have one number while any table holds it. Finding one that exists
// takes no lock. There are no reference counts; see sweep.go.
type attrs struct {
	seed  maphash.Seed
	arena arena
	shard [shards]slots
	made  atomic.Int64 // records made, ever
	sets  atomic.Int64 // records held
	marks atomic.Pointer[marks]
}

func (a *attrs) init(m *memory) {
	a.seed = maphash.MakeSeed()
	a.arena.init(m, attrLanes, attrModest, 1<<attrShare)
}

func (a *attrs) hash(rec []byte) uint64 { return maphash.Bytes(a.seed, rec) }

// find looks for a record. It returns its slot, with the record's number, and where that is; or 0.
func (a *attrs) find(s *Store, h uint64, rec []byte) (slot uint64, f found) {
	want := h & hashSlot << attrShift
	if f.page = a.shard[h>>hashShard].page(want); f.page == 0 {
		return 0, f
	}
	p := s.big.big(f.page)
	for i := slotStart(want); ; i = f.at + 1 {
		slot, f.at = p.probe(i, attrShift, want)
		if slot == 0 || bytes.Equal(a.arena.record(uint32(slot)), rec) {
			return slot, f
		}
	}
}

// intern returns the number of a record, or 0 when there is no room for it. The guard is held shared, so that the
// number stays good until it is released or the number is in a cell.
func (a *attrs) intern(s *Store, h uint64, rec []byte, lane int) uint32 {
	for {
		slot, f := a.find(s, h, rec)
		id := uint32(slot)
		if id == 0 {
			return a.add(s, h, rec, lane)
		}
		m := a.marks.Load()
		if m == nil {
			return id
		}
		m.set(id)
		if a.shard[h>>hashShard].holds(s, f, slot) {
			return id
		}
	}
}

func (a *attrs) add(s *Store, h uint64, rec []byte, lane int) uint32 {
	x := &a.shard[h>>hashShard]
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, _ := a.find(s, h, rec)
	id := uint32(slot)
	if id == 0 {
		if id = a.arena.add(lane, rec, a.marks.Load()); id == 0 {
			return 0
		}
		if !x.insert(s, h&hashSlot<<attrShift|uint64(id)) {
			a.arena.drop(lane, id)
			return 0
		}
		a.made.Add(1)
		a.sets.Add(1)
		return id
	}
	if m := a.marks.Load(); m != nil {
		m.set(id)
	}
	return id
}
