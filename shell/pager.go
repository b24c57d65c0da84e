package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"bmp/shell/edit"
)

// external is another program as the pager: BMP_PAGER. It is started when there
// is more than a page.
type external struct {
	command string
	ed      edit.Editor
	cmd     *exec.Cmd
	in      io.WriteCloser
	resume  func()
	breaks  chan os.Signal
}

// toProgram holds the first page back, and hands everything to the program once
// there is more.
func (p *page) toProgram(lines []outLine) (int, error) {
	if p.less.in != nil {
		return len(lines), p.less.write(lines)
	}
	p.first = append(p.first, lines...)
	cols, _ := p.ed.Size()
	height := 0
	for _, l := range p.first {
		height += lineHeight(l.text, cols)
	}
	if height <= p.length() || p.keys.TypedAhead() {
		return len(lines), nil
	}
	if err := p.less.start(p.ctx); err != nil {
		return 0, err
	}
	p.setAsking(true) // the station does not wait for somebody who reads
	first := p.first
	p.first = nil
	return len(lines), p.less.write(first)
}

func (x *external) start(ctx context.Context) error {
	x.resume = x.ed.Suspend()
	// Ctrl-C is the program's business while it has the terminal.
	x.breaks = make(chan os.Signal, 1)
	signal.Notify(x.breaks, os.Interrupt)
	x.cmd = exec.CommandContext(ctx, "sh", "-c", x.command)
	x.cmd.Stdout, x.cmd.Stderr = os.Stdout, os.Stderr
	in, err := x.cmd.StdinPipe()
	if err == nil {
		err = x.cmd.Start()
	}
	if err != nil {
		signal.Stop(x.breaks)
		x.resume()
		return err
	}
	x.in = in
	return nil
}

func (x *external) write(lines []outLine) error {
	var b []byte
	for _, l := range lines {
		b = append(append(b, l.text...), '\n')
	}
	if _, err := x.in.Write(b); errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		return errQuit // it was left before the end
	} else if err != nil {
		return err
	}
	return nil
}

// finish waits for the program to be left. What fitted on a page is shown
// without it.
func (x *external) finish(p *page) error {
	if x.in == nil {
		p.less = nil
		p.free = true
		_, err := p.write(p.first)
		return err
	}
	x.in.Close()
	err := x.cmd.Wait()
	signal.Stop(x.breaks)
	x.resume()
	var status *exec.ExitError
	if errors.As(err, &status) {
		return nil // as the program likes
	}
	return err
}
