package filter

import (
	"fmt"
	"sync/atomic"
)

// Budget bounds the rows that the sort and last of several replies hold together. The zero Budget works. It may be used
// concurrently.
type Budget struct {
	Limit int64 // bytes; 0: 512 MiB. Not changed once a reply has begun

	used atomic.Int64
}

// Used is how many bytes are held now.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) limit() int64 {
	if b.Limit > 0 {
		return b.Limit
	}
	return maxBytes
}

// take counts n more bytes as held by op, fewer where n is negative, or is the error that they are too many.
func (b *Budget) take(op string, n int) error {
	if b == nil || b.used.Add(int64(n)) <= b.limit() || n < 0 {
		return nil
	}
	b.used.Add(int64(-n))
	return fmt.Errorf("%s: the replies being sorted or cut hold %d MB together, all that they may: try again, or filter before it", op, b.limit()>>20)
}
