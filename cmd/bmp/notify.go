package main

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// sdNotify tells a service manager how the station is, in the words of
// sd_notify(3): "READY=1", "RELOADING=1", "STOPPING=1". Without a manager, that
// is without NOTIFY_SOCKET, it does nothing. A name beginning with @ is an
// abstract socket, which net writes the same way.
func sdNotify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}

// sdReloading says that a reload begins. The manager tells it from an older one
// by the monotonic time that goes with it.
func sdReloading() error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return err
	}
	return sdNotify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
}
