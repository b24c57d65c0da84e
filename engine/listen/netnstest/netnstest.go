// Package netnstest makes network namespaces for tests and takes them away again. What it needs, root and ip(8), is
// not everywhere: a test that calls it is skipped, with the reason, where it is not.
package netnstest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bmp/engine/listen"
)

var made atomic.Int64

// New makes a network namespace with its loopback up and returns its name. It is removed when the test ends.
func New(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need ip(8), Debian package iproute2")
	}
	name := fmt.Sprintf("bmptest-%d-%d", os.Getpid(), made.Add(1))
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("network namespaces cannot be made here: %s", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { IP(t, "netns", "del", name) })
	IP(t, "-n", name, "link", "set", "lo", "up")
	return name
}

// IP runs ip(8); an error ends the test.
func IP(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Connect joins two namespaces by a cable whose ends, both called dev, have the given prefixes ("192.0.2.1/24"). An
// IPv6 address can be used at once.
func Connect(t testing.TB, dev, a, prefixA, b, prefixB string) {
	t.Helper()
	IP(t, "-n", a, "link", "add", dev, "type", "veth", "peer", "name", dev, "netns", b)
	for _, end := range [][2]string{{a, prefixA}, {b, prefixB}} {
		add := []string{"-n", end[0], "addr", "add", end[1], "dev", dev}
		if strings.Contains(end[1], ":") {
			add = append(add, "nodad")
		}
		IP(t, add...)
		IP(t, "-n", end[0], "link", "set", dev, "up")
	}
}

// Dial connects by TCP from inside a namespace (empty: the test's own), from an address of its own where from is valid.
func Dial(ns string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var c net.Conn
	err := listen.In(ns, func() (err error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		if from.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		// With an address and no name the socket is made by this very goroutine, in the namespace.
		c, err = d.DialContext(context.Background(), "tcp", to.String())
		return err
	})
	return c, err
}
