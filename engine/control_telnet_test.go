package engine

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Telnet's Synch: the Data Mark behind an Interrupt Process is sent as urgent data.
func TestTelnetSynch(t *testing.T) {
	c := startControl(t, nil)
	conn, err := net.Dial("tcp", c.loopback())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	greeting, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	// IAC IP, IAC DM: the DM is the urgent byte.
	if err := raw.Control(func(fd uintptr) { err = unix.Send(int(fd), []byte{255, 244, 255, 242}, unix.MSG_OOB) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("show version\r\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || strings.TrimSpace(line) != "100-bmp test" {
		t.Errorf("behind %q: %q, %v", greeting, line, err)
	}
}
