package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"bmp/proto/control"
)

// lockState takes a state folder for this process, and creates it if
// necessary: two stations in one folder would give the same client IDs. The
// folder is free when the file is closed, or the process has ended.
func lockState(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, &control.TakenError{Text: fmt.Sprintf("State folder %s is in use by another server", dir)}
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("state folder %s: %w", dir, err)
	}
	return f, nil
}
