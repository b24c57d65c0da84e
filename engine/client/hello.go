package client

import (
	"fmt"
	"io"
	"time"
)

// Bounds of what is held of sessions before their first whole message, which decides whether they are a router's at all:
// a thousand connections that each send most of a long message would else hold a thousand long messages.
const (
	helloFree  = 4 << 10  // of each session: four times its reader's first buffer, which holds any Initiation that routers send
	hellosMost = 64 << 20 // of all together, beyond that
)

// readHello is Read before the first whole message. The space it reads into counts as held, as it is.
func (s *Session) readHello(p []byte) (int, error) {
	if held := int64(s.hello + len(p) - helloFree); held > s.helloCharged {
		over := s.env.hellos.Add(held-s.helloCharged) > hellosMost
		s.helloCharged = held
		if over {
			s.Close(fmt.Sprintf("closed to make room: connections without a whole first message hold %d MB", hellosMost>>20))
			return 0, io.ErrClosedPipe
		}
	}
	n, err := s.conn.Read(p)
	s.stamp(time.Now())
	s.hello += n
	return n, err
}

// helloOver is called when the first message is whole, or never will be.
func (s *Session) helloOver() {
	s.env.hellos.Add(-s.helloCharged)
	s.helloCharged = 0
}
