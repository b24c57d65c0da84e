package edit

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Terminal is a local terminal in raw mode: keys come one by one, Ctrl-C as
// a byte. Output keeps its newlines.
type Terminal struct {
	in, out  *os.File
	saved    unix.Termios
	wake     [2]int // a pipe whose end breaks off a waiting Read
	resized  chan struct{}
	signals  chan os.Signal
	finished chan struct{}

	mu     sync.Mutex
	paused bool
	goOn   sync.Cond
	closed bool
}

// OpenTerminal puts a terminal into raw mode. Close gives it back as it was.
func OpenTerminal(in, out *os.File) (*Terminal, error) {
	saved, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t := &Terminal{in: in, out: out, saved: *saved, resized: make(chan struct{}, 1), signals: make(chan os.Signal, 1), finished: make(chan struct{})}
	t.goOn.L = &t.mu
	if err := unix.Pipe2(t.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	if err := t.raw(); err != nil {
		unix.Close(t.wake[0])
		unix.Close(t.wake[1])
		return nil, err
	}
	signal.Notify(t.signals, unix.SIGWINCH)
	go t.watch()
	return t, nil
}

func (t *Terminal) raw() error {
	raw := t.saved
	raw.Iflag &^= unix.BRKINT | unix.ICRNL | unix.INPCK | unix.ISTRIP | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ICANON | unix.IEXTEN | unix.ISIG
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETSW, &raw)
}

func (t *Terminal) cooked() error {
	return unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETSW, &t.saved)
}

// watch ends with Close.
func (t *Terminal) watch() {
	for {
		select {
		case <-t.signals:
			select {
			case t.resized <- struct{}{}:
			default:
			}
		case <-t.finished:
			return
		}
	}
}

// Resized says that Size has changed.
func (t *Terminal) Resized() <-chan struct{} { return t.resized }

// Size is 0, 0 when the terminal does not say.
func (t *Terminal) Size() (cols, rows int) {
	ws, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(ws.Col), int(ws.Row)
}

// Read waits for keys. It is broken off by Close (io.EOF) and stands still
// while the terminal is lent.
func (t *Terminal) Read(p []byte) (int, error) {
	return t.read(p, func() bool { return false })
}

// Keys is the terminal's input for one editor. When it is closed, that editor
// meets the end of its input, and the terminal is free for the next one.
func (t *Terminal) Keys() io.ReadCloser { return &terminalKeys{t: t} }

type terminalKeys struct {
	t    *Terminal
	over atomic.Bool
}

func (k *terminalKeys) Read(p []byte) (int, error) { return k.t.read(p, k.over.Load) }

// Close implements io.Closer.
func (k *terminalKeys) Close() error {
	k.over.Store(true)
	k.t.mu.Lock()
	defer k.t.mu.Unlock()
	k.t.goOn.Broadcast()
	if !k.t.closed {
		unix.Write(k.t.wake[1], []byte{0})
	}
	return nil
}

// read is Read until over says that nobody wants more.
func (t *Terminal) read(p []byte, over func() bool) (int, error) {
	for {
		t.mu.Lock()
		for t.paused && !t.closed && !over() {
			t.goOn.Wait()
		}
		closed := t.closed
		t.mu.Unlock()
		if closed || over() {
			return 0, io.EOF
		}
		fds := []unix.PollFd{{Fd: int32(t.in.Fd()), Events: unix.POLLIN}, {Fd: int32(t.wake[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return 0, err
		}
		if fds[1].Revents != 0 {
			var b [16]byte
			unix.Read(t.wake[0], b[:])
			continue
		}
		if fds[0].Revents == 0 || over() {
			continue
		}
		n, err := unix.Read(int(t.in.Fd()), p)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Lend gives the terminal to another program, in the mode it was found in.
func (t *Terminal) Lend() (resume func()) {
	t.pause(true)
	t.cooked()
	return func() {
		t.raw()
		t.pause(false)
	}
}

// Cook gives the terminal its own line discipline (echo, lines, Ctrl-C as a
// signal) for an editor that wants it, or takes it away again.
func (t *Terminal) Cook(on bool) error {
	if on {
		return t.cooked()
	}
	return t.raw()
}

func (t *Terminal) pause(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = on
	t.goOn.Broadcast()
	unix.Write(t.wake[1], []byte{0})
}

// Close puts the terminal back as it was. It is safe to call twice.
func (t *Terminal) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.goOn.Broadcast()
	signal.Stop(t.signals)
	close(t.finished)
	unix.Write(t.wake[1], []byte{0})
	return t.cooked()
}
