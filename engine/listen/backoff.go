package listen

import "time"

// Pauses between attempts while the kernel will not accept. They are short at first because one closed session is
// enough to help.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// Backoff paces an accept loop through trouble that passes, such as a process out of descriptors. The zero value is
// ready. It belongs to one goroutine.
type Backoff struct {
	pause time.Duration
}

// Wait waits before the next attempt, longer each time until Reset. It returns false when closed was closed meanwhile.
func (b *Backoff) Wait(closed <-chan struct{}) bool {
	b.pause = min(max(2*b.pause, firstBackoff), lastBackoff)
	timer := time.NewTimer(b.pause)
	defer timer.Stop()
	select {
	case <-closed:
		return false
	case <-timer.C:
		return true
	}
}

// Reset is called when an attempt worked.
func (b *Backoff) Reset() { b.pause = 0 }
