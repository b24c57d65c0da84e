package rib

import (
	"bytes"
	"runtime"
	"testing"

	"bmp/proto/bgp"
)

// TestIndexBuiltWhilePrefixesCome: the first question in order makes the index while a session goes on numbering
// prefixes. Those that it meets both ways are in it once. Nearly each round has some.
func TestIndexBuiltWhilePrefixesCome(t *testing.T) {
	const rounds, prefixes, ask = 4, 200_000, 180_000
	for range rounds {
		s := testStore(t, Options{NoBackground: true})
		table := s.NewTable(Owner{Family: bgp.IPv4Unicast}, false)
		loaded := make(chan struct{})
		go func() {
			defer close(loaded)
			w := s.NewWriter()
			for i := range uint32(prefixes) {
				w.Announce(table, key4(32, i*2654435761), 0, []byte{1}, testEpoch)
			}
			w.Flush()
		}()
		for table.Len() < ask {
			runtime.Gosched()
		}
		q := Query{Family: bgp.IPv4Unicast, Match: Longer, Key: key4(0, 0), Limit: 1}
		if err := s.Query(t.Context(), q, func([]Route) error { return nil }); err != nil {
			t.Fatal(err)
		}
		<-loaded
		q.Limit = 0
		n, last := 0, []byte(nil)
		if err := s.Query(t.Context(), q, func(batch []Route) error {
			for _, r := range batch {
				if n++; bytes.Equal(r.Key, last) {
					t.Fatalf("%x twice", r.Key)
				}
				last = append(last[:0], r.Key...)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if n != prefixes {
			t.Errorf("%d routes, want %d", n, prefixes)
		}
	}
}
