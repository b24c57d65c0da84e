package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/shell/edit"
)

// Command is one command line for one station.
type Command struct {
	Target string // as in Find; "" is BMP_TARGET, or the only one that runs
	Line   string
	JSON   bool // as `| json`
	Stdout io.Writer
	Stderr io.Writer
	// Abort, if set, ends what still goes on after ctx has ended: the filters
	// behind a debug. It is the second Ctrl-C.
	Abort context.Context
}

// OneShot runs a command and returns its exit status. When ctx ends the
// command is cancelled: 130. A command that follows something (debug) goes on
// until then, or until the station goes away: 3.
func OneShot(ctx context.Context, c Command) int {
	inJSON := c.JSON || asksJSON(c.Line)
	if err := oneLine(c.Line); err != nil {
		return PrintError(c.Stderr, inJSON, err)
	}
	if c.Target == "" && os.Getenv("BMP_TARGET") == "" {
		list, err := running()
		if err != nil {
			return PrintError(c.Stderr, inJSON, err)
		}
		if len(list) > 1 && asksAll(ctx, c.Line, list) {
			return askAll(ctx, c, inJSON, list)
		}
	}
	s, err := Find(c.Target)
	if err != nil {
		return PrintError(c.Stderr, inJSON, err)
	}
	if s.warning != "" {
		fmt.Fprintln(c.Stderr, "% "+s.warning)
	}
	switch {
	case firstWord(c.Line) == "help":
		return inShell(ctx, s, c)
	case len(s.Others) > 0:
		list := append([]Station{s}, s.Others...)
		switch {
		case asksAll(ctx, c.Line, list):
			return askAll(ctx, c, inJSON, list)
		case isOwn(c.Line):
			return inShell(ctx, s, c)
		}
		return PrintError(c.Stderr, inJSON, errSeveralInCluster(s))
	}
	return ask(ctx, s, c, inJSON)
}

// inShell runs a line that is the shell's own, or whose output goes into a file.
func inShell(ctx context.Context, s Station, c Command) int {
	ed := edit.NewPlain(strings.NewReader(""), c.Stdout, edit.PlainOptions{})
	defer ed.Close()
	sh := New(Options{Station: s, Editor: ed, Stderr: c.Stderr})
	defer sh.Close()
	if c.JSON {
		sh.change(func(t *settings) { t.format = filter.JSON })
	}
	if err := sh.attachFirst(ctx); err != nil {
		return PrintError(c.Stderr, c.JSON, err)
	}
	sh.command(ctx, c.Line)
	return sh.status
}

// isOwn reports whether a line is one that only the shell can run.
func isOwn(line string) bool {
	if _, err := New(Options{}).own.Match(line, grammar.Env{}); err == nil {
		return true
	}
	for i := range len(line) {
		if line[i] != '|' {
			continue
		}
		if p, err := filter.Parse(line[i+1:], i+2, filter.Options{Client: true}); err == nil {
			return p.Save != ""
		}
	}
	return false
}

// oneLine refuses what would be several lines to the station, or none.
func oneLine(line string) error {
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
		return errorf(control.CodeBadBytes, "Invalid input: control character at byte %d", i+1)
	}
	if strings.TrimSpace(line) == "" {
		return errorf(control.CodeIncomplete, "Incomplete command (expected: COMMAND)")
	}
	return nil
}

// asksJSON says whether the filters of a line make JSON of the reply, so that
// errors have to be JSON too. What is behind a bar that stands in quotes is
// hardly ever a list of filters.
func asksJSON(line string) bool {
	for i := range len(line) {
		if line[i] != '|' {
			continue
		}
		if p, err := filter.Parse(line[i+1:], i+2, filter.Options{Client: true}); err == nil {
			return p.Format != filter.Text
		}
	}
	return false
}

// asksAll says whether the line is the one command that every running station
// answers.
func asksAll(ctx context.Context, line string, list []Station) bool {
	words := strings.Fields(line)
	if len(words) >= 2 && words[0] == "show" && words[1] == "summary" {
		return true
	}
	// It may be abbreviated: the first station that can be asked knows.
	for _, s := range list {
		c, err := s.Dial(ctx, nil)
		if err != nil {
			continue
		}
		defer c.Close()
		tree, err := c.Grammar(ctx)
		if err != nil {
			return false
		}
		m, err := tree.Match(line, grammar.Env{})
		return err == nil && len(m.Words) == 2 && m.Words[0] == "show" && m.Words[1] == "summary"
	}
	return false
}

// hello tells the station what its replies should look like.
func hello(ctx context.Context, c *control.Client, out io.Writer, inJSON bool) error {
	h := control.Hello{Zone: zoneName(), Width: width(out)}
	if inJSON {
		h.Format, h.Events = filter.JSON, "json"
	}
	v, err := c.Hello(ctx, h)
	if err != nil {
		return err
	}
	return v.Err()
}

// width is the terminal's, 0 when out is none.
func width(out io.Writer) int {
	if f, ok := out.(*os.File); ok {
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil {
			return cols
		}
	}
	return 0
}

// ask runs the command on one station and prints the reply as it comes.
func ask(ctx context.Context, s Station, c Command, inJSON bool) int {
	events := newFollower()
	client, err := s.Dial(ctx, events.take)
	if err != nil {
		return PrintError(c.Stderr, inJSON, err)
	}
	defer client.Close()
	if err := hello(ctx, client, c.Stdout, c.JSON); err != nil {
		return PrintError(c.Stderr, inJSON, lost(s, err))
	}
	p := newPrinter(c.Stdout, c.Stderr, inJSON)
	m, filters, err := debugFilters(ctx, client, c.Line)
	if err != nil {
		return PrintError(c.Stderr, inJSON, nameWord(verdictOf(err).Verdict, c.Line))
	}
	line, row := c.Line, p.line
	if m != nil {
		if line, row = m.Line, nil; inJSON {
			if err := hello(ctx, client, c.Stdout, true); err != nil {
				return PrintError(c.Stderr, inJSON, lost(s, err))
			}
		}
	}
	process := -1
	if stops(line) {
		if process = processOf(s); process >= 0 {
			defer unix.Close(process)
		}
	}
	v, err := client.Do(ctx, line, row)
	if ferr := p.flush(); ferr != nil && err == nil {
		return PrintError(c.Stderr, inJSON, errorf(control.CodeFailed, "%v", ferr))
	}
	switch {
	case err != nil:
		return PrintError(c.Stderr, inJSON, lost(s, err))
	case v.Code == control.CodeSubscribed && m != nil:
		return events.filter(ctx, client, s, c, filters, inJSON)
	case v.Code == control.CodeSubscribed:
		return events.follow(ctx, client, s, c, inJSON)
	case v.Code == control.CodeForbidden && isOwn(c.Line):
		return inShell(ctx, s, c)
	case v.Err() != nil:
		return PrintError(c.Stderr, inJSON, nameWord(v, c.Line))
	}
	if text := doneText(v); text != "" && !inJSON {
		fmt.Fprintln(c.Stdout, text)
	}
	if stops(line) {
		awaitEnd(ctx, client, process)
	}
	return v.Status()
}

func lost(s Station, err error) error {
	if e, ok := err.(*control.Error); ok {
		return e
	}
	return errorf(codeNoStation, "Connection to %s lost: %s", s.Name, reason(err))
}

// askAll asks every station for the same. Text is printed one after the other;
// JSON documents, which are lists, become one list. One that fails does not
// hide the others; the status is that of the first that failed.
func askAll(ctx context.Context, c Command, inJSON bool, list []Station) int {
	var all []json.RawMessage // elements of the documents
	documents, failed, nothing := 0, 0, 0
	for i, s := range list {
		doc, v, err := askOne(ctx, s, c, inJSON, i > 0)
		if err != nil {
			if status := PrintError(c.Stderr, inJSON, err); failed == 0 {
				failed = status
			}
			continue
		}
		if v.Status() != 0 {
			nothing++ // a filter let nothing of this one through
		}
		var elements []json.RawMessage
		if json.Unmarshal(doc, &elements) == nil {
			documents++
			all = append(all, elements...)
		} else {
			c.Stdout.Write(doc) // `json lines`, or what a filter made of it
		}
	}
	if documents > 0 {
		io.WriteString(c.Stdout, "[")
		for i, e := range all {
			if i > 0 {
				io.WriteString(c.Stdout, ",\n ")
			}
			c.Stdout.Write(e)
		}
		io.WriteString(c.Stdout, "]\n")
	}
	switch {
	case failed != 0:
		return failed
	case nothing == len(list):
		return control.ExitStatus(control.CodeNothing)
	}
	return 0
}

// askOne asks one of several. Its text is printed, behind a blank line if there
// was one before it; its JSON is returned.
func askOne(ctx context.Context, s Station, c Command, inJSON, blank bool) (doc []byte, v control.Verdict, err error) {
	client, err := s.Dial(ctx, nil)
	if err != nil {
		return nil, v, err
	}
	defer client.Close()
	if err := hello(ctx, client, c.Stdout, c.JSON); err != nil {
		return nil, v, lost(s, err)
	}
	p := newPrinter(c.Stdout, c.Stderr, inJSON)
	named := s.Target.Network != "nats" // the ports of several machines may be the same
	v, err = client.Do(ctx, c.Line, func(l control.Line) error {
		if l.Code == control.CodeJSON {
			doc = append(append(doc, l.Text...), '\n')
			return nil
		}
		if blank {
			p.out.WriteByte('\n')
			blank = false
		}
		if !named {
			fmt.Fprintf(p.out, "%s:\n", s.Name)
			named = true
		}
		return p.line(l)
	})
	p.flush()
	if err != nil {
		return nil, v, lost(s, err)
	}
	if v.Err() != nil {
		return nil, v, nameWord(v, c.Line)
	}
	return doc, v, nil
}

// follower holds the events of one shot between the connection, which must not
// wait, and standard output, which may.
type follower struct {
	queue   chan control.Line
	dropped atomic.Int64
}

func newFollower() *follower {
	return &follower{queue: make(chan control.Line, 10_000)}
}

func (f *follower) take(l control.Line) {
	select {
	case f.queue <- l:
	default:
		f.dropped.Add(1)
	}
}

// follow prints events until ctx or the connection ends.
func (f *follower) follow(ctx context.Context, client *control.Client, s Station, c Command, inJSON bool) int {
	p := newPrinter(c.Stdout, c.Stderr, inJSON)
	show := func(l control.Line) {
		switch l.Code {
		case control.CodeEvent, control.CodeEventJSON:
			p.line(control.Line{Code: control.CodeRow, Text: l.Text})
		default:
			p.flush()
			fmt.Fprintf(c.Stderr, "%% %s\n", strings.TrimSpace(eventText(l)))
		}
	}
	for {
		select {
		case l := <-f.queue:
			show(l)
			if n := f.dropped.Swap(0); n > 0 {
				p.flush()
				fmt.Fprintf(c.Stderr, "%% %d events dropped (reading too slowly)\n", n)
			}
			if len(f.queue) == 0 {
				if p.flush() != nil {
					return control.ExitStatus(control.CodeFailed)
				}
			}
		case <-ctx.Done():
			p.flush()
			return control.ExitStatus(control.CodeCancelled)
		case <-client.Done():
			for len(f.queue) > 0 {
				show(<-f.queue)
			}
			p.flush()
			return PrintError(c.Stderr, inJSON, errorf(codeNoStation, "Connection to %s lost", s.Name))
		}
	}
}

// filter gives events to filters until ctx, the connection or the filters end,
// and prints what comes out.
func (f *follower) filter(ctx context.Context, client *control.Client, s Station, c Command, filters *filter.Pipeline, inJSON bool) int {
	p := newPrinter(c.Stdout, c.Stderr, inJSON)
	row := p.line
	var file *saving
	if filters.Save != "" {
		file = &saving{path: filters.Save, appending: filters.Append}
		row = file.line
	}
	abort := c.Abort
	if abort == nil {
		abort = context.Background()
	}
	format := filter.Text
	if inJSON {
		format = filter.JSON
	}
	w := filters.Start(rowSink{func(l control.Line) error {
		if abort.Err() != nil {
			return abort.Err()
		}
		err := row(l)
		if len(f.queue) == 0 && err == nil {
			err = p.flush()
		}
		return err
	}}, format)
	err := f.into(ctx, client.Done(), w, func(text string) error {
		return row(control.Line{Code: control.CodeWarning, Text: text})
	})
	_, ferr := w.Finish(err != nil && !errors.Is(err, context.Canceled))
	if file != nil {
		ferr = errors.Join(ferr, file.finish(ferr == nil))
	}
	ferr = errors.Join(ferr, p.flush())
	switch {
	case errors.Is(err, errGone):
		return PrintError(c.Stderr, inJSON, errorf(codeNoStation, "Connection to %s lost", s.Name))
	case errors.Is(err, context.Canceled):
		return control.ExitStatus(control.CodeCancelled)
	case err != nil:
		return PrintError(c.Stderr, inJSON, err)
	case ferr != nil:
		return PrintError(c.Stderr, inJSON, ferr)
	}
	return 0
}

// eventText words the events that are not the station's own words.
func eventText(l control.Line) string {
	if l.Code == control.CodeDropped {
		return "events dropped: " + l.Text
	}
	return l.Text
}
