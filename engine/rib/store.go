package rib

import (
	"time"

	"bmp/proto/bgp"
)

// Options of a Store. The zero value is what a station uses.
type Options struct {
	// Epoch is the earliest time the store can express; earlier times are kept as Epoch. Times have a resolution of
	// 1/8 s (rounded down) and reach 8.5 years beyond it. Zero means the moment New is called.
	Epoch time.Time

	// MaxBytes bounds the memory taken from the system for routes. Zero means no bound. A route that needs memory beyond
	// it is refused and counted (Counts.Refused).
	MaxBytes int64

	// NoBackground leaves the sweeping of dead attribute sets and prefixes to calls of Sweep.
	NoBackground bool

	heap bool // take memory from the Go heap, so that the race detector sees it
}

// Store holds the routes of every table. All methods may be called from any goroutine.
type Store struct {
}

// New makes an empty store. Close gives its memory back.
func New(o Options) *Store { return &Store{} }

// Close stops the background sweep, waits for it, and gives the memory back. Later calls of any method find an empty
// store; later announcements are refused.
func (s *Store) Close() error { return nil }

// NewTable makes an empty table. A table made with addPath keeps one route per key and path identifier; the others
// ignore path identifiers. Several tables may have the same Owner; the store does not look.
func (s *Store) NewTable(o Owner, addPath bool) *Table { return &Table{} }

// Tables is a snapshot of the live tables of a family, ordered by client, peer and view.
func (s *Store) Tables(f bgp.Family) []*Table { return nil }

// Families lists the families that have ever had a table, in ascending order.
func (s *Store) Families() []bgp.Family { return nil }

// LastChange is when a route for this key was last withdrawn from, or replaced in, any table: if it is at or before T
// and so is Table.Emptied, then what the table holds now for the key is what it held at T. It is never too early; it may
// be too late for a key that no table holds. Zero when nothing was ever withdrawn or replaced.
func (s *Store) LastChange(f bgp.Family, key []byte) time.Time { return time.Time{} }
