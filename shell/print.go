package shell

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"bmp/proto/control"
)

// printer writes the data lines of a reply: rows, headings and JSON to
// standard output, warnings and progress to standard error. It buffers, but a
// reply that comes slowly is seen as it comes.
type printer struct {
	out     *bufio.Writer
	stderr  io.Writer
	flushed time.Time
}

// flushEvery is how long a row may wait for more.
const flushEvery = 100 * time.Millisecond

func newPrinter(stdout, stderr io.Writer) *printer {
	return &printer{out: bufio.NewWriterSize(stdout, 64<<10), stderr: stderr}
}

func (p *printer) line(l control.Line) error {
	switch l.Code {
	case control.CodeProgress:
		return nil // for those who watch a terminal: not yet
	case control.CodeWarning:
		p.out.Flush()
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

func (p *printer) flush() error { return p.out.Flush() }
