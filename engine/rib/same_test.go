package rib

import (
	"testing"
	"time"

	"bmp/proto/bgp"
)

// TestSameInAnotherCoding: a stale route announced again with a record that says the same keeps its time and takes the
// new record; one that is not stale does not.
func TestSameInAnotherCoding(t *testing.T) {
	s := testStore(t, Options{NoBackground: true, Epoch: benchNow.Add(-time.Hour), Same: func(a, b []byte) bool { return a[0] == b[0] }})
	table := s.NewTable(Owner{Client: 1, Family: bgp.IPv4Unicast}, false)
	w := s.NewWriter()
	key := key4(24, 0x0a000000)
	announce := func(rec string, after time.Duration) Counts {
		before := table.Counts()
		w.Announce(table, key, 0, []byte(rec), benchNow.Add(after))
		w.Flush()
		c := table.Counts()
		return Counts{Added: c.Added - before.Added, Changed: c.Changed - before.Changed, Unchanged: c.Unchanged - before.Unchanged}
	}
	route := func() (found Route) {
		err := s.Query(t.Context(), Query{Family: bgp.IPv4Unicast}, func(rs []Route) error {
			found = rs[0]
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	announce("A2", 0)
	if c := announce("A4", time.Minute); c.Changed != 1 {
		t.Errorf("without a refresh: %+v", c)
	}
	since := route().Since
	table.BeginRefresh(benchNow.Add(2 * time.Minute))
	if c := announce("A2", 3*time.Minute); c.Unchanged != 1 {
		t.Errorf("said again: %+v", c)
	}
	if r := route(); string(r.Record) != "A2" || !r.Since.Equal(since) || r.Stale {
		t.Errorf("route %+v, since %v", r, since)
	}
	if n := table.StaleLen(); n != 0 {
		t.Errorf("%d stale", n)
	}
	table.BeginRefresh(benchNow.Add(4 * time.Minute))
	if c := announce("B2", 5*time.Minute); c.Changed != 1 {
		t.Errorf("another route: %+v", c)
	}
	if r := route(); r.Since.Equal(since) {
		t.Error("a changed route kept its time")
	}
}
