package shell

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bmp/proto/control"
)

// goneWait is how long a shutdown waits for the station's process to end.
const goneWait = 5 * time.Second

// processOf is a descriptor of a station's process, to wait for its end; -1 where there is none to be had.
func processOf(s Station) int {
	if s.Target.Network != "unix" {
		return -1
	}
	found, _ := control.RunningStations() // one that is not found is not waited for
	for _, r := range found {
		if r.Socket == s.Target.Address && r.PID > 0 {
			if fd, err := unix.PidfdOpen(r.PID, 0); err == nil {
				return fd
			}
		}
	}
	return -1
}

// stops says whether a line stops the station. The word cannot be abbreviated.
func stops(line string) bool {
	words := strings.Fields(line)
	return len(words) > 0 && words[0] == "shutdown"
}

// awaitEnd waits until the station has closed the connection and its process, if it is known, has ended: who starts
// another one next finds name, ports and state folder free.
func awaitEnd(ctx context.Context, client *control.Client, process int) {
	ctx, cancel := context.WithTimeout(ctx, goneWait)
	defer cancel()
	select {
	case <-client.Done():
	case <-ctx.Done():
		return
	}
	client.Close()
	if process < 0 {
		return
	}
	deadline, _ := ctx.Deadline()
	for {
		left := max(0, int(time.Until(deadline).Milliseconds()))
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, left)
		if err != unix.EINTR {
			return
		}
	}
}
