package rib

import (
	"context"
	"errors"
	"time"

	"bmp/proto/bgp"
)

// Match is how Query.Key selects.
type Match uint8

const (
	All     Match = iota // every route; Key is not looked at
	Exact                // the key itself
	LPM                  // for each table its longest prefix that covers the key
	Longer               // the key and everything more specific
	Shorter              // the key and everything that covers it
)

// Query selects routes of one family. The zero value of each field but Family selects everything.
type Query struct {
	Family bgp.Family
	Tables []*Table         // the tables asked; nil means all of the family
	Where  func(Owner) bool // further selects tables; called with no order and perhaps more than once per table

	Match Match
	Key   []byte // canonical key; LPM, Longer and Shorter need a family whose keys are prefixes (else ErrNotPrefixes)
	AnyRD bool   // the route distinguisher in Key is not looked at: every known one is asked

	PathID *uint32               // only this path identifier
	Stale  bool                  // only stale routes
	Attrs  func(rec []byte) bool // evaluated at most once or twice per attribute set, with a lock shared: keep it short

	// Sorted orders by key, then client, peer, view and path identifier. Unsorted is faster on many routes and starts at
	// once. Exact, LPM, Longer and Shorter are always sorted.
	Sorted bool
	Limit  int // most routes returned; 0 means no limit
}

// ErrNotPrefixes is returned for LPM, Longer and Shorter in a family whose keys are not prefixes, and for a key that is not one.
var ErrNotPrefixes = errors.New("not a prefix")

// Route is one route. Key and Record are valid until the callback returns, and must not be written to; routes with equal
// attributes may share a Record.
type Route struct {
	Table  *Table
	Key    []byte
	PathID uint32
	Record []byte
	Since  time.Time // when it was first announced with these attributes
	Stale  bool
	AttrID uint32 // equal for equal records within one callback
}

// Query calls fn with batches of the routes selected. No lock is held while fn runs, so it may take its time; routes that come and
// go meanwhile may or may not be seen, all others are seen exactly once. An error of fn ends the query and is returned; so does
// the context's end, within some milliseconds.
func (s *Store) Query(ctx context.Context, q Query, fn func(batch []Route) error) error { return nil }

// Totals of the routes a query selects.
type Totals struct {
	Routes        int
	Prefixes      int // distinct keys
	AttributeSets int // distinct attribute sets
	Tables        int // tables with at least one such route
}

// Count counts what Query would return, without Limit, at about 3 ns a route.
func (s *Store) Count(ctx context.Context, q Query) (Totals, error) { return Totals{}, nil }
