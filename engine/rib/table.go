package rib

import (
	"time"

	"bmp/proto/bgp"
)

// Owner says whose routes a table holds.
type Owner struct {
	Client uint32
	Peer   uint32 // the peer's number on that client; not given to another peer while a table of it lives
	View   uint8  // bmp.View
	Family bgp.Family
}

// Counts says what announcements and withdrawals did.
type Counts struct {
	New       uint64 // announced, and was not there
	Changed   uint64 // announced with other attributes than before
	Unchanged uint64 // announced again with equal attributes: the route keeps its time
	Withdrawn uint64 // withdrawn, and was there
	NotFound  uint64 // withdrawn, and was not there
	Refused   uint64 // announced, but no memory or number was left for it: the route is not held, nor is its predecessor
}

// Table holds the routes of one peer, view and family. Its methods may be called from any goroutine. What a Writer has
// staged is not part of the table until its Flush: flush before Clear, Drop, BeginRefresh and SweepStale.
type Table struct {
}

// Owner is what the table was made with.
func (t *Table) Owner() Owner { return Owner{} }

// AddPath says whether path identifiers tell routes of one key apart.
func (t *Table) AddPath() bool { return false }

// Len is the number of routes held, stale ones included.
func (t *Table) Len() int { return 0 }

// StaleLen is the number of routes that were not announced since the last BeginRefresh.
func (t *Table) StaleLen() int { return 0 }

// Counts is what was done to the table since it was made.
func (t *Table) Counts() Counts { return Counts{} }

// Emptied is when the table last lost all its routes at once (Clear), or when it was made.
func (t *Table) Emptied() time.Time { return time.Time{} }

// Clear drops all routes, in microseconds whatever their number, and returns how many there were.
func (t *Table) Clear(now time.Time) int { return 0 }

// BeginRefresh marks every route as stale; each that is announced again is not. Routes that were still stale from an
// earlier refresh are dropped first; their number is returned.
func (t *Table) BeginRefresh(now time.Time) int { return 0 }

// SweepStale drops the routes that are still stale and returns how many there were.
func (t *Table) SweepStale(now time.Time) int { return 0 }

// Drop clears the table and takes it out of the store. What is announced to it later is refused.
func (t *Table) Drop() {}
