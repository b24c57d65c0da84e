package engine

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"testing"

	"bmp/engine/archive"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// stacks is how much memory the stacks of goroutines take.
func stacks() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// A router that has sent its few routes waits on a stack of 4 KiB: what its session did before needed none that is deeper,
// or its stack has been cut since. With ten thousand of them the next size would be 40 MB.
func TestIdleSessionsNeedLittleStack(t *testing.T) {
	if raceDetector {
		t.Skip("stacks are deeper with -race")
	}
	s := startStation(t, func(o *Options) { o.StateDir, o.Archive = t.TempDir(), &archive.Options{} })
	const n = 300
	runtime.GC()
	before := stacks()
	p := bmptest.NewPeer("10.0.0.1", 65001)
	for i := range n {
		r := connect(t, s, "127.0.0.2", fmt.Sprint("edge", i))
		r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16", "10.2.0.0/16")).
			EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast))
	}
	runtime.GC()
	if each := (int64(stacks()) - int64(before)) / n; each > 5<<10 {
		t.Errorf("%d bytes of stack for each", each)
	}
}
