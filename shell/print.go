package shell

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"bmp/proto/control"
)

// printer writes the data lines of a reply: rows, headings and JSON to
// standard output, warnings and progress to standard error. It buffers, but a
// reply that comes slowly is seen as it comes. How far a long search has come
// is shown where standard error is a terminal, until something else is.
type printer struct {
	out      *bufio.Writer
	stderr   io.Writer
	flushed  time.Time
	json     bool // warnings are JSON, too
	terminal bool // standard error is one that can erase
	progress bool // stands there
}

// flushEvery is how long a row may wait for more.
const flushEvery = 100 * time.Millisecond

func newPrinter(stdout, stderr io.Writer, json bool) *printer {
	f, ok := stderr.(*os.File)
	return &printer{out: bufio.NewWriterSize(stdout, 64<<10), stderr: stderr, json: json,
		terminal: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"}
}

func (p *printer) line(l control.Line) error {
	if l.Code == control.CodeProgress {
		return p.tell(l.Text)
	}
	p.untell()
	switch l.Code {
	case control.CodeWarning:
		p.out.Flush()
		if p.json {
			_, err := fmt.Fprintf(p.stderr, "%s\n", control.WarningJSON(l.Text))
			return err
		}
		_, err := fmt.Fprintf(p.stderr, "%% %s\n", l.Text)
		return err
	case control.CodeCandidate, control.CodeHelp:
		cells := strings.Split(l.Text, "\t")
		fmt.Fprintf(p.out, "  %-22s", cells[0])
		for _, c := range cells[1:] {
			p.out.WriteByte(' ')
			p.out.WriteString(c)
		}
		p.out.WriteByte('\n')
	default:
		p.out.WriteString(l.Text)
		p.out.WriteByte('\n')
	}
	if now := time.Now(); now.Sub(p.flushed) >= flushEvery {
		p.flushed = now
		return p.out.Flush()
	}
	return nil
}

func (p *printer) tell(text string) error {
	if !p.terminal {
		return nil
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	p.progress = true
	_, err := fmt.Fprintf(p.stderr, "\r\x1b[K%s", text)
	return err
}

func (p *printer) untell() {
	if p.progress {
		p.progress = false
		fmt.Fprint(p.stderr, "\r\x1b[K")
	}
}

func (p *printer) flush() error {
	p.untell()
	return p.out.Flush()
}
