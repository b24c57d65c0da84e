package edit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"
)

// Plain reads lines as they come, without editing: the terminal's own line
// discipline, a pipe, nc.
type Plain struct {
	in     io.Reader
	out    io.Writer
	prompt bool // somebody is there to see one

	lines  chan plainLine
	want   chan struct{} // one per line wanted: nothing is read ahead
	quit   chan struct{}
	once   sync.Once
	signal chan os.Signal
	breaks chan struct{}

	mu      sync.Mutex // of the terminal: one writer at a time
	reading bool       // a prompt stands on the terminal
	shown   string     // that prompt

	queue *asyncQueue
}

type plainLine struct {
	text string
	err  error
}

// PlainOptions are what a Plain needs to know. The zero value reads without a
// prompt.
type PlainOptions struct {
	// Prompt is whether prompts are printed: true when in is a terminal.
	Prompt bool
	// Signals is whether Ctrl-C is to be taken from the process's SIGINT.
	Signals bool
	// MaxLine bounds a line in bytes, 1 MiB when 0. A longer one is an error
	// and its rest is skipped.
	MaxLine int
}

// ErrLineTooLong is returned for a line beyond MaxLine. The next ReadLine
// begins behind it.
var ErrLineTooLong = errors.New("line too long")

// NewPlain returns an editor on in and out. It reads in only while a line is
// wanted, and reads no byte behind that line when in delivers line by line.
func NewPlain(in io.Reader, out io.Writer, o PlainOptions) *Plain {
	if o.MaxLine == 0 {
		o.MaxLine = 1 << 20
	}
	p := &Plain{
		in: in, out: out, prompt: o.Prompt,
		lines:  make(chan plainLine),
		want:   make(chan struct{}),
		quit:   make(chan struct{}),
		breaks: make(chan struct{}, 1),
	}
	p.queue = newAsyncQueue(p.writeAsync)
	if o.Signals {
		p.signal = make(chan os.Signal, 1)
		signal.Notify(p.signal, os.Interrupt)
		go p.forward()
	}
	go p.read(o.MaxLine)
	return p
}

// forward turns signals into breaks until Close.
func (p *Plain) forward() {
	for {
		select {
		case <-p.signal:
			select {
			case p.breaks <- struct{}{}:
			default: // one that nobody has taken yet is enough
			}
		case <-p.quit:
			return
		}
	}
}

// read is the goroutine that blocks in Read. It ends with the input or, after
// Close, when the Read it is in returns: a read of a terminal cannot be broken
// off, and the process is about to end then.
func (p *Plain) read(maxLine int) {
	defer close(p.lines)
	in := bufio.NewReader(p.in)
	for {
		select {
		case <-p.want:
		case <-p.quit:
			return
		}
		text, err := ReadLine(in, maxLine)
		select {
		case p.lines <- plainLine{text, err}:
		case <-p.quit:
			return
		}
		if err != nil && err != ErrLineTooLong {
			return
		}
	}
}

// ReadLine reads one line of at most maxLine bytes, without its end (LF or CRLF). A
// longer one is skipped to its end: ErrLineTooLong. At the end of input it is io.EOF.
func ReadLine(in *bufio.Reader, maxLine int) (string, error) {
	var line []byte
	long := false
	for {
		chunk, err := in.ReadSlice('\n')
		if !long {
			line = append(line, chunk...)
			if len(line) > maxLine+1 {
				long, line = true, nil
			}
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && (len(line) > 0 || long):
			err = nil // the end is met again by the next call
		case err != nil:
			return "", err
		}
		if long {
			return "", ErrLineTooLong
		}
		for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
			line = line[:len(line)-1]
		}
		return string(line), err
	}
}

// ReadLine implements Editor. A line that is asked for and then given up with
// ctx or ErrInterrupt is not lost: what comes is the next call's line.
func (p *Plain) ReadLine(ctx context.Context, prompt string) (string, error) {
	p.mu.Lock()
	p.reading, p.shown = true, prompt
	if p.prompt {
		io.WriteString(p.out, prompt)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.reading = false
		p.mu.Unlock()
	}()
	want := p.want
	for {
		select {
		case want <- struct{}{}:
			want = nil
		case l, ok := <-p.lines:
			if !ok {
				l.err = io.EOF
			}
			if l.err == io.EOF && p.prompt {
				p.newline()
			}
			return l.text, l.err
		case <-p.breaks:
			p.newline()
			return "", ErrInterrupt
		case <-ctx.Done():
			return "", ctx.Err()
		case <-p.quit:
			return "", io.EOF
		}
	}
}

func (p *Plain) newline() {
	p.mu.Lock()
	defer p.mu.Unlock()
	io.WriteString(p.out, "\n")
}

// Out implements Editor.
func (p *Plain) Out() io.Writer { return lockedWriter{p} }

type lockedWriter struct{ p *Plain }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.out.Write(b)
}

// Async implements Editor.
func (p *Plain) Async() io.Writer { return p.queue }

// writeAsync prints lines over a standing prompt and the prompt again behind
// them. What was typed cannot be seen from here; the terminal still has it.
func (p *Plain) writeAsync(text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading && p.prompt {
		io.WriteString(p.out, "\r")
	}
	p.out.Write(text)
	if p.reading && p.prompt {
		io.WriteString(p.out, p.shown)
	}
}

// Size implements Editor.
func (p *Plain) Size() (cols, rows int) {
	f, ok := p.out.(*os.File)
	if !ok {
		return 0, 0
	}
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return cols, rows
}

// Interrupts implements Editor.
func (p *Plain) Interrupts() <-chan struct{} { return p.breaks }

// Suspend implements Editor. A plain terminal has nothing to hand over.
func (p *Plain) Suspend() (resume func()) { return func() {} }

// Close implements Editor. It shows what events are still waiting.
func (p *Plain) Close() error {
	p.once.Do(func() {
		if p.signal != nil {
			signal.Stop(p.signal)
		}
		close(p.quit)
		p.queue.close()
	})
	return nil
}
