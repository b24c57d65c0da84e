package rib

import (
	"encoding/binary"
	"testing"
	"time"

	"bmp/proto/bgp"
)

// A set of attributes counts once for a client, however many tables and routes have it.
func TestScaleCountsSetsOnce(t *testing.T) {
	s := New(Options{NoBackground: true})
	defer s.Close()
	now := time.Now()
	f := bgp.Family{AFI: 1, SAFI: 1}
	fill := func(peer uint32, distinct bool) *Table {
		t := s.NewTable(Owner{Client: 1, Peer: peer, Family: f}, false)
		w := s.NewWriter()
		rec := make([]byte, 200)
		for i := range uint32(1000) {
			if distinct {
				binary.BigEndian.PutUint32(rec[1:], i+1)
			}
			w.Announce(t, []byte{24, 10, byte(i >> 8), byte(i)}, 0, rec, now)
		}
		w.Flush()
		return t
	}
	few, many := fill(1, false), fill(2, true)
	again := fill(3, true)
	x := s.NewScale()
	light, heavy, both := x.Weigh([]*Table{few}), x.Weigh([]*Table{many}), x.Weigh([]*Table{many, again})
	if light <= 0 || light > 50_000 {
		t.Errorf("1000 routes of one set weigh %d", light)
	}
	if heavy < 200_000 || heavy > 300_000 {
		t.Errorf("1000 routes of a set each weigh %d", heavy)
	}
	if both < heavy || both > heavy+50_000 {
		t.Errorf("the sets of two tables that have the same weigh %d, those of one %d", both, heavy)
	}
	if x.Weigh([]*Table{few}) != light {
		t.Error("weighed again it is another weight")
	}
}
