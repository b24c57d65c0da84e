package edit

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxHistory is how many lines are kept.
const maxHistory = 5000

// History keeps the lines typed, in a file that several shells share. The zero
// History keeps nothing. Lines that hold a secret are not kept.
type History struct {
	Path string
	// Secret reports whether a line must not be kept; nil: none.
	Secret func(line string) bool

	mu sync.Mutex
}

// Load returns the newest lines of the file, oldest first.
func (h *History) Load() ([]string, error) {
	if h.Path == "" {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := os.Open(h.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	return readHistory(f)
}

func readHistory(r io.Reader) ([]string, error) {
	var lines []string
	in := bufio.NewReader(r)
	for {
		line, err := ReadLine(in, 1<<20)
		switch {
		case err == ErrLineTooLong:
			continue
		case err == io.EOF:
			return lines[max(0, len(lines)-maxHistory):], nil
		case err != nil:
			return nil, err
		}
		lines = append(lines, line)
	}
}

// Add appends a line. Shells that write at once lose none: the file is locked,
// and when it has grown to twice the limit, the newest lines are kept.
func (h *History) Add(line string) error {
	if h.Path == "" || strings.ContainsAny(line, "\n\r") || h.Secret != nil && h.Secret(line) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(h.Path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		return err
	}
	return shorten(f)
}

// shorten rewrites a file that holds more than twice the limit. The file stays
// the same one, so that the lock holds for all.
func shorten(f *os.File) error {
	if info, err := f.Stat(); err != nil || info.Size() < 2*maxHistory*8 {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	all, err := io.ReadAll(io.LimitReader(f, 64<<20))
	if err != nil {
		return err
	}
	if strings.Count(string(all), "\n") < 2*maxHistory {
		return nil
	}
	lines, err := readHistory(strings.NewReader(string(all)))
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return err
}
