package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"bmp/proto/control"
	"bmp/proto/grammar"
	"bmp/shell/edit"
)

// Batch is a file of command lines, run one after the other.
type Batch struct {
	Target string
	Name   string // of the file, for errors
	In     io.Reader
	Check  bool // read and judge the lines, run none
	JSON   bool
	Stdout io.Writer
	Stderr io.Writer
}

// maxBatchLine is the most that a station takes as one line.
const maxBatchLine = 8192

// batchLine is a line of the file that is a command.
type batchLine struct {
	number int
	text   string
}

// Run runs the batch and returns its exit status: that of the last command. A
// line that is no command ends it there, with FILE:LINE:COL; a command that
// failed does not. The file is read whole, and every line judged, before the
// first one runs.
func (b Batch) Run(ctx context.Context) int {
	lines, err := b.read()
	if err != nil {
		return PrintError(b.Stderr, b.JSON, err)
	}
	events := newFollower()
	s, err := Find(b.Target)
	var client *control.Client
	if err == nil {
		client, err = s.Dial(ctx, events.take)
	}
	if err != nil {
		return PrintError(b.Stderr, b.JSON, err)
	}
	defer client.Close()
	if err := hello(ctx, client, b.Stdout, b.JSON); err != nil {
		return PrintError(b.Stderr, b.JSON, lost(s, err))
	}
	tree, err := client.Grammar(ctx)
	if err != nil {
		return PrintError(b.Stderr, b.JSON, lost(s, err))
	}
	for _, l := range lines {
		if _, err := tree.Match(l.text, grammar.Env{}); err != nil {
			return b.wrong(l, err)
		}
	}
	if b.Check {
		return 0
	}
	status := 0
	p := newPrinter(b.Stdout, b.Stderr)
	for _, l := range lines {
		v, err := client.Do(ctx, l.text, p.line)
		p.flush()
		if err != nil {
			return PrintError(b.Stderr, b.JSON, lost(s, err))
		}
		status = v.Status()
		switch {
		case v.Code == control.CodeCancelled:
			return PrintError(b.Stderr, b.JSON, v.Err())
		case v.Code/100 == 5:
			return b.wrong(l, &grammar.Error{Code: v.Code, Col: v.Col, Len: v.Len, Text: v.Text})
		case v.Err() != nil:
			PrintError(b.Stderr, b.JSON, v.Err())
		}
	}
	return status
}

// Configure runs the lines of a station's configuration on client, and closes
// it. It ends at the first line that fails, with an error that names it. again
// says that the configuration has been read before: what conflicts with what is
// there already is then there already.
func Configure(ctx context.Context, client *control.Client, name string, in io.Reader, again bool) error {
	defer client.Close()
	lines, err := Batch{Name: name, In: in}.read()
	if err != nil {
		return err
	}
	for _, l := range lines {
		v, err := client.Do(ctx, l.text, nil)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, l.number, err)
		}
		if v.Err() == nil || again && v.Code == control.CodeConflict {
			continue
		}
		return errorf(v.Code, "%s:%d:%d: %v", name, l.number, max(v.Col, 1), nameWord(v, l.text))
	}
	return nil
}

// wrong says which line, and where in it.
func (b Batch) wrong(l batchLine, err error) int {
	var g *grammar.Error
	if !errors.As(err, &g) {
		return PrintError(b.Stderr, b.JSON, err)
	}
	named := nameWord(control.Verdict{Code: g.Code, Text: g.Text, Col: g.Col, Len: g.Len}, l.text)
	if b.JSON {
		return PrintError(b.Stderr, true, errorf(g.Code, "%s:%d:%d: %v", b.Name, l.number, max(g.Col, 1), named))
	}
	fmt.Fprintf(b.Stderr, "%s:%d:%d: %% %v\n", b.Name, l.number, max(g.Col, 1), named)
	return control.ExitStatus(g.Code)
}

// read takes the commands out of the file. What only the script language can
// mean is refused here: sent to the station it would be something else.
func (b Batch) read() ([]batchLine, error) {
	var lines []batchLine
	in := bufio.NewReaderSize(b.In, 64<<10)
	for n := 1; ; n++ {
		text, err := edit.ReadLine(in, maxBatchLine)
		if err == io.EOF {
			return lines, nil
		}
		if errors.Is(err, edit.ErrLineTooLong) {
			return nil, errorf(control.CodeTooLong, "%s:%d: line longer than %d bytes", b.Name, n, maxBatchLine)
		}
		if err != nil {
			return nil, errorf(control.CodeFailed, "%s: %v", b.Name, err)
		}
		if strings.HasPrefix(text, "!") || strings.HasPrefix(text, "#") || strings.TrimSpace(text) == "" {
			continue
		}
		if what := language(text); what != "" {
			return nil, errorf(control.CodeFailed, "%s:%d: Not available yet: the script language (%s)", b.Name, n, what)
		}
		if err := oneLine(text); err != nil {
			return nil, errorf(asError(err).Code, "%s:%d: %v", b.Name, n, err)
		}
		lines = append(lines, batchLine{n, text})
	}
}

var (
	languageMark  = regexp.MustCompile("\\$[A-Za-z_0-9({@#?*!]|&&|\\|\\||`|;( |$)")
	languageStart = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z_0-9]*=|(if|then|else|elif|fi|for|while|until|do|done|case|esac|function|expect|wait-until)(\s|$)|[A-Za-z_][A-Za-z_0-9]*\s*\(\)|[{}(]|\[)`)
)

// language finds what makes a line one of the script language; "" for a plain
// command.
func language(line string) string {
	if m := languageStart.FindString(line); m != "" {
		return strings.TrimSpace(m)
	}
	return strings.TrimSpace(languageMark.FindString(line))
}
