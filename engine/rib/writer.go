package rib

import "time"

// Outcome is what one announcement or withdrawal did to a table.
type Outcome uint8

// The outcomes; Counts explains them.
const (
	New Outcome = iota
	Changed
	Unchanged
	Withdrawn
	NotFound
	Refused
)

// Change is one announcement or withdrawal as it took effect. Its slices are valid until the hook returns.
type Change struct {
	Table   *Table
	Outcome Outcome
	Key     []byte
	PathID  uint32
	Record  []byte // nil for a withdrawal
	Time    time.Time
}

// Writer stages announcements and withdrawals and applies them in batches, in the order they were made. One goroutine
// uses a Writer at a time; a table may be written by several Writers, whose order is then that of their batches.
type Writer struct {
	// Hook, when not nil, is called for every staged operation from within Flush, after it took effect and with no lock
	// held. It costs about as much as the operation.
	Hook func(Change)
}

// NewWriter makes a Writer. It holds no memory worth mention while nothing is staged, and needs no closing.
func (s *Store) NewWriter() *Writer { return &Writer{} }

// Announce stages a route. The key is canonical (package bgp), the record is what Update.AppendRecord made; both are
// copied before Announce returns. It flushes when the batch is full. Announcing the same record again and again costs
// one comparison: make it once per UPDATE.
func (w *Writer) Announce(t *Table, key []byte, pathID uint32, rec []byte, now time.Time) {}

// Withdraw stages the end of a route; arguments as in Announce.
func (w *Writer) Withdraw(t *Table, key []byte, pathID uint32, now time.Time) {}

// Flush applies what is staged. It must be called before the goroutine waits for more input, and before Clear, Drop,
// BeginRefresh and SweepStale of a table that was written to.
func (w *Writer) Flush() {}
