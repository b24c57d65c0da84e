package rib

import "bmp/proto/bgp"

// Stats is what the store holds and what that costs. Numbers are of one moment only as far as no writer runs.
type Stats struct {
	Routes        int64
	Tables        int
	Prefixes      int64 // over all families
	AttributeSets int64
	Refused       int64 // routes refused for want of memory since New
	Families      []FamilyStats

	// Bytes in use, by part. The sum is Used.
	AttributeBytes  int64 // attribute records
	AttributeIndex  int64 // their hash table
	DictionaryBytes int64 // prefixes: hash tables, keys, times of change, presence, order
	CellBytes       int64 // pages of cells
	TableBytes      int64 // the tables' own memory, and their directories
	QueueBytes      int64 // retired, waiting for readers
	Used            int64
	FreeBytes       int64 // resident and free for reuse
	Mapped          int64 // address space taken from the system, touched or not

	Sweeps    int64
	Throttled int64    // batches delayed by half a millisecond, as attributes changed faster than a sweep could free the old ones
	Fallbacks []string // what could not be had (huge pages, memory) and what is done instead; empty when all is well
}

// FamilyStats is the part of one family.
type FamilyStats struct {
	Family   bgp.Family
	Tables   int
	Routes   int64
	Prefixes int64
}

// Stats reports. It costs some microseconds per thousand tables.
func (s *Store) Stats() Stats {
	var st Stats
	resident, mapped, notes := s.mem.state()
	st.Mapped, st.Fallbacks = mapped, notes
	st.AttributeSets, st.Refused, st.Sweeps = s.attrs.sets.Load(), s.refused.Load(), s.sweeps.Load()
	st.Throttled = s.throttled.Load()
	pages := func(shard *[shards]slots) (n int64) {
		for i := range shard {
			shard[i].mu.Lock()
			n += int64(shard[i].pages)
			shard[i].mu.Unlock()
		}
		return n * bigWords * 8
	}
	st.AttributeBytes = s.attrs.arena.live.Load() * unitBytes
	st.AttributeIndex = pages(&s.attrs.shard)
	st.DictionaryBytes = s.keys.live.Load() * unitBytes
	for _, fam := range s.Families() {
		f := s.familyOf(fam, false)
		fs := FamilyStats{Family: fam, Prefixes: f.dict.held.Load()}
		f.mu.RLock()
		for _, t := range f.tables {
			if t == nil {
				continue
			}
			fs.Tables++
			fs.Routes += int64(t.n.Load())
			st.TableBytes += tableBytes
			if r := t.root.Load(); r != nil {
				st.TableBytes += int64(4*len(r.dense)) + 80*int64(len(r.branches))
			}
		}
		f.mu.RUnlock()
		st.Tables += fs.Tables
		st.Routes += fs.Routes
		st.Prefixes += fs.Prefixes
		st.Families = append(st.Families, fs)
		big, few, other := f.dict.size()
		st.DictionaryBytes += pages(&f.dict.shard) + big*bigWords*8 + few*smallWords*8 + other
	}
	st.QueueBytes = s.retired.bytes.Load()
	all := (s.big.used.Load()*bigWords + s.small.used.Load()*smallWords) * 8
	st.CellBytes = max(0, all-st.QueueBytes-st.AttributeIndex-st.DictionaryBytes+s.keys.live.Load()*unitBytes+s.orders())
	st.Used = st.AttributeBytes + st.AttributeIndex + st.DictionaryBytes + st.CellBytes + st.TableBytes + st.QueueBytes
	st.FreeBytes = max(0, resident-(st.Used-st.TableBytes-s.orders()))
	return st
}

// tableBytes is what a Table and its places in the lists take.
const tableBytes = 224

// orders is the bytes of dictionaries that are on the Go heap.
func (s *Store) orders() (n int64) {
	for _, f := range *s.families.Load() {
		_, _, other := f.dict.size()
		n += other
	}
	return n
}

// size is the pages of the columns, and the bytes on the Go heap.
func (d *dict) size() (big, small, other int64) {
	d.mu.Lock()
	blocks := *d.blocks.Load()
	for i := range blocks {
		if blocks[i].page != 0 {
			big, small = big+1, small+1
		}
		for _, n := range blocks[i].pres {
			if n != 0 {
				big++
			}
		}
	}
	other = int64(len(blocks))*24 + int64(len(d.rds))*16
	d.mu.Unlock()
	if x := d.index.snap.Load(); x != nil {
		other += 4 * int64(cap(x.main)+cap(x.recent))
	}
	return big, small, other
}
