package client

import (
	"testing"
	"time"

	"bmp/engine/event"
	"bmp/engine/rib"
)

// A number names one malformed message, also after the counters were cleared while it was kept.
func TestMalformedNumbersAreNotGivenTwice(t *testing.T) {
	store := rib.New(rib.Options{NoBackground: true})
	defer store.Close()
	c := New(&Env{Store: store, Bus: event.NewBus(), Budget: new(Budget)}, 1, Identity{}, time.Now())
	for range 3 {
		c.malformed.add(malformedEntry{reason: "before"})
	}
	c.ClearCounters()
	c.malformed.add(malformedEntry{reason: "after"})
	list, total := c.Malformed()
	if total != 1 || len(list) != 4 {
		t.Fatalf("%d counted, %d kept", total, len(list))
	}
	for i, m := range list {
		if m.Number != uint64(i)+1 {
			t.Errorf("message %d has number %d", i, m.Number)
		}
	}
}
