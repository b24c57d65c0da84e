package listen

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// DeadPeerTimeout is how long a session may be unreachable before it is closed.
const DeadPeerTimeout = 60 * time.Second

// DetectDeadPeer makes the kernel close a session whose other side has not acknowledged anything for the timeout,
// by keepalive probes when nothing is being sent (a BMP station never sends) and by TCP_USER_TIMEOUT when something
// is. A router that is alive and has nothing to say answers the probes and stays.
func DetectDeadPeer(c *net.TCPConn, timeout time.Duration) error {
	err := c.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: timeout / 3, Interval: timeout / 6, Count: 4,
	})
	if err != nil {
		return fmt.Errorf("keepalive: %w", err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("user timeout: %w", err)
	}
	err = control(raw, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds()))
	})
	if err != nil {
		return fmt.Errorf("user timeout: %w", err)
	}
	return nil
}
