package command

import (
	"bytes"
	"runtime/pprof"
	"testing"

	"bmp/engine"
	"bmp/proto/control"
)

// Quirks that wait for a client that never comes, set and removed again and again, cost one goroutine in all.
func TestWaitingQuirksShareOneWatcher(t *testing.T) {
	ts := startStation(t, engine.Options{})
	for range 20 {
		for _, line := range []string{"quirk client nobody as-width 4 when-there", "no quirk client nobody"} {
			if out, v := ts.typed(line); v.Code != control.CodeDone {
				t.Fatalf("%s: %s", line, out)
			}
		}
	}
	// A station of another test may still be ending.
	waitFor(t, "one watcher", func() bool {
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		return bytes.Count(stacks.Bytes(), []byte("(*Handler).watch(")) <= 1
	})
}
