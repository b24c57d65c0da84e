package carrier

import (
	"fmt"
	"strconv"
	"strings"
)

// Headers of a frame, and of the replies to one request.
const (
	HeaderAt   = "Bmp-At"
	HeaderGot  = "Bmp-Got"
	HeaderRoom = "Bmp-Room"
	HeaderEnd  = "Bmp-End"
	HeaderWho  = "Bmp-Who"
	HeaderCode = "Bmp-Code"
)

// MaxData is the most bytes in a frame.
const MaxData = 32 << 10

// Frame is one message of a stream.
type Frame struct {
	At   uint64 // place of Data's first byte
	Got  uint64 // what has arrived of the other direction
	Room uint64 // how much more of it may come
	End  string // not empty: the end is behind Data, and why
	Who  string // of the one that opens
	Data []byte
}

// Header is the frame's, for a message.
func (f Frame) Header() map[string][]string {
	h := map[string][]string{
		HeaderAt: {strconv.FormatUint(f.At, 10)}, HeaderGot: {strconv.FormatUint(f.Got, 10)}, HeaderRoom: {strconv.FormatUint(f.Room, 10)},
	}
	if f.End != "" {
		h[HeaderEnd] = []string{headerText(f.End)}
	}
	if f.Who != "" {
		h[HeaderWho] = []string{headerText(f.Who)}
	}
	return h
}

// headerText is text that may stand in a header: short, and of printable ASCII.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 200)])
}

// ParseFrame reads a frame. Data is not copied.
func ParseFrame(header map[string][]string, data []byte) (Frame, error) {
	f := Frame{Data: data}
	if len(data) > MaxData {
		return f, fmt.Errorf("frame: %d bytes, at most %d", len(data), MaxData)
	}
	for _, x := range []struct {
		name string
		to   *uint64
	}{{HeaderAt, &f.At}, {HeaderGot, &f.Got}, {HeaderRoom, &f.Room}} {
		v := header[x.name]
		if len(v) != 1 {
			return f, fmt.Errorf("frame: no %s", x.name)
		}
		n, err := strconv.ParseUint(v[0], 10, 62) // so that sums of them fit
		if err != nil {
			return f, fmt.Errorf("frame: %s: %.40q is no number", x.name, v[0])
		}
		*x.to = n
	}
	if v := header[HeaderEnd]; len(v) > 0 {
		f.End = headerText(v[0])
		if f.End == "" {
			f.End = "closed"
		}
	}
	if v := header[HeaderWho]; len(v) > 0 {
		f.Who = headerText(v[0])
	}
	return f, nil
}
