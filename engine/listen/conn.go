package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// handshakeTimeout is how long a router may take to agree on TLS.
const handshakeTimeout = 30 * time.Second

// A Conn is a connection with a router, accepted or dialled. Closing it, once or more often, gives its place under the
// listener's limit back. A BMP station never writes.
type Conn struct {
	*net.TCPConn
	from    netip.AddrPort
	release func() // nil: dialled
	once    sync.Once

	tls    *tls.Conn // nil: none
	agreed bool      // on TLS; of the goroutine that reads
}

// secure reads through TLS from now on. The handshake is the first Read's, so that a router that is slow with it holds
// up nobody else.
func (c *Conn) secure(t *tls.Conn) { c.tls = t }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.tls != nil {
		return c.readTLS(p)
	}
	return c.TCPConn.Read(p)
}

func (c *Conn) readTLS(p []byte) (int, error) {
	if !c.agreed {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		defer cancel()
		if err := c.tls.HandshakeContext(ctx); err != nil {
			return 0, fmt.Errorf("TLS: %w", err)
		}
		c.agreed = true
	}
	return c.tls.Read(p)
}

// Remote is the router's address and port; an IPv4 router is an IPv4 address whatever the socket.
func (c *Conn) Remote() netip.AddrPort { return c.from }

// Close closes the session.
func (c *Conn) Close() error {
	c.once.Do(func() {
		if c.release != nil {
			c.release()
		}
	})
	return c.TCPConn.Close()
}
