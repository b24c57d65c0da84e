package shell

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"bmp/shell/edit"
)

// readSecret asks for a secret, which is not shown as it is typed.
func (s *Shell) readSecret(ctx context.Context, prompt string) (string, error) {
	ed := s.ed()
	keys, ok := ed.(edit.KeyReader)
	if !ok {
		defer hideEcho()()
		text, err := ed.ReadLine(ctx, prompt)
		if s.o.Terminal {
			io.WriteString(ed.Out(), "\n")
		}
		return text, err
	}
	io.WriteString(ed.Out(), prompt)
	defer io.WriteString(ed.Out(), "\n")
	var typed []rune
	for {
		key, err := keys.Key(ctx)
		switch {
		case err != nil:
			return "", err
		case key == "\r", key == "\n":
			return string(typed), nil
		case key == "\x7f", key == "\b":
			typed = typed[:max(len(typed)-1, 0)]
		case key == "\x15":
			typed = typed[:0]
		case key == "\x04" && len(typed) == 0:
			return "", edit.ErrInterrupt
		case key[0] >= ' ':
			typed = append(typed, []rune(key)...)
		}
	}
}

// hideEcho turns off the echo of the process's terminal, if it has one, until
// the function returned is called.
func hideEcho() func() {
	fd := int(os.Stdin.Fd())
	saved, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	hidden := *saved
	hidden.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, &hidden)
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, saved) }
}
