package replay

import (
	"errors"
	"fmt"
	"time"

	"bmp/proto/bmp"
)

// bmpFile plays a raw BMP stream: message by message, and not a byte changed.
type bmpFile struct {
	in *input
	r  *bmp.Reader
	n  int
}

func newBMP(in *input) *bmpFile {
	return &bmpFile{in: in, r: bmp.NewReader(in.r, bmp.ReaderOptions{})}
}

func (b *bmpFile) next() (Event, error) {
	f, err := b.r.Next()
	if err != nil {
		var framing *bmp.FramingError
		var cut *bmp.TruncatedError
		if errors.As(err, &framing) || errors.As(err, &cut) {
			return Event{}, fmt.Errorf("message %d at byte %d: %w", b.n+1, b.r.Offset(), err)
		}
		return Event{}, b.in.wrap(err)
	}
	b.n++
	return Event{Time: routerTime(f), Data: f.Raw}, nil
}

// routerTime is the time in the Per-Peer Header of a Route Monitoring message. The times of others are those of the
// session they tell of.
func routerTime(f bmp.Frame) time.Time {
	at := bmp.HeaderLen // of the Per-Peer Header; before version 3 the header has no length
	if f.Version < 3 {
		at = 2
	}
	if f.Type != bmp.RouteMonitoringType || len(f.Raw) < at+42 {
		return time.Time{}
	}
	h := f.Raw[at+34:]
	sec := int64(h[0])<<24 | int64(h[1])<<16 | int64(h[2])<<8 | int64(h[3])
	micro := int64(h[4])<<24 | int64(h[5])<<16 | int64(h[6])<<8 | int64(h[7])
	if sec == 0 || micro >= 1e6 {
		return time.Time{}
	}
	return time.Unix(sec, micro*1000)
}
