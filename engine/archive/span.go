package archive

import (
	"context"
	"fmt"
	"time"
)

// Span is how many bytes of blocks there are, and when the oldest and the newest of them were stored; zero: there is
// none. Unlike Stats it looks at no block, so that it costs the same however much there is.
func (a *Archive) Span(ctx context.Context) (bytes uint64, from, to time.Time, err error) {
	a.storeMu.RLock()
	defer a.storeMu.RUnlock()
	i, err := a.store.msgs.Info(ctx)
	if err != nil {
		return 0, from, to, fmt.Errorf("archive: %w", err)
	}
	if i.State.Msgs > 0 {
		from, to = i.State.FirstTime, i.State.LastTime
	}
	return i.State.Bytes, from, to, nil
}
