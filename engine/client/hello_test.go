package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"bmp/proto/bmptest"
)

// begun is a connection of which the given bytes come, and then nothing until it is closed.
type begun struct {
	wide
	idle   chan struct{} // closed when everything was read
	closed chan struct{}
	once   sync.Once
}

func beginning(b []byte) *begun {
	return &begun{wide: wide{stream{r: bytes.NewReader(b)}}, idle: make(chan struct{}), closed: make(chan struct{})}
}

func (c *begun) Read(p []byte) (int, error) {
	if n, err := c.wide.Read(p); err == nil {
		return n, nil
	}
	close(c.idle)
	<-c.closed
	return 0, net.ErrClosed
}

func (c *begun) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// TestUnfinishedFirstMessagesAreBounded has connections that send most of a message of 1 MiB and then nothing.
func TestUnfinishedFirstMessagesAreBounded(t *testing.T) {
	env := &Env{}
	part := make([]byte, 900<<10)
	part[0], part[5] = 3, 4
	binary.BigEndian.PutUint32(part[1:], 1<<20)
	noClient := func(Hello) (*Client, error) { return nil, errors.New("not a router") }

	var open []*Session
	var last *End
	for last == nil {
		if len(open) > 1024 {
			t.Fatalf("%d sessions hold %d MB", len(open), len(open)*len(part)>>20)
		}
		conn := beginning(part)
		s := NewSession(env, conn, Endpoint{}, time.Now())
		ended := make(chan *End, 1)
		go func() { ended <- s.Serve(noClient) }()
		select {
		case <-conn.idle:
			open = append(open, s)
		case last = <-ended:
		}
	}
	if !strings.HasPrefix(last.Reason, "closed to make room: ") || len(open)*len(part) > hellosMost || len(open)*4*len(part) < hellosMost {
		t.Errorf("after %d sessions: %+v", len(open), last)
	}

	// A router that begins as routers do is served all the same.
	b := new(bmptest.Session)
	b.Initiation("edge1", "a router")
	if end := NewSession(env, &stream{r: bytes.NewReader(b.Bytes())}, Endpoint{}, time.Now()).Serve(noClient); end.Reason != "not a router" {
		t.Errorf("a router's session ended: %q", end.Reason)
	}

	for _, s := range open {
		s.Close("enough")
		<-s.Done()
	}
	if n := env.hellos.Load(); n != 0 {
		t.Errorf("%d bytes are counted with no session left", n)
	}
}
