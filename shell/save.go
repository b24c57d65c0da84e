package shell

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"bmp/proto/control"
)

// saving is the file behind `| save FILE` or `| append FILE`. It is opened with
// the first line of output: a command that fails leaves an old file as it was.
type saving struct {
	path      string
	appending bool
	file      *os.File
	w         *bufio.Writer
	lines     int
}

func (f *saving) open() error {
	if f.file != nil {
		return nil
	}
	mode := os.O_TRUNC
	if f.appending {
		mode = os.O_APPEND
	}
	var err error
	if f.file, err = os.OpenFile(fromHome(f.path), os.O_WRONLY|os.O_CREATE|mode, 0o644); err != nil {
		return err
	}
	f.w = bufio.NewWriterSize(f.file, 64<<10)
	return nil
}

// line takes one line of a reply.
func (f *saving) line(l control.Line) error {
	switch l.Code {
	case control.CodeProgress, control.CodeWarning:
		return nil
	}
	if err := f.open(); err != nil {
		return err
	}
	f.lines++
	f.w.WriteString(l.Text)
	return f.w.WriteByte('\n')
}

// finish closes the file; good says that the command went well, so that an
// empty answer is an empty file.
func (f *saving) finish(good bool) error {
	if good {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.file == nil {
		return nil
	}
	return errors.Join(f.w.Flush(), f.file.Close())
}

// fromHome writes out a ~ at the start of a path.
func fromHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	if !ok {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return filepath.Join(home, rest)
}
