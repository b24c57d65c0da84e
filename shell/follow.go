package shell

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// Commands that follow something (debug) have their answer in events. Where
// filters stand behind one, the shell runs them on the events: the first Ctrl-C
// ends the source, and the filters say what they have (`debug client 1 | count`);
// the second ends the filters, too.

// follows reports whether a line is a debug that is followed until Ctrl-C, and
// not one that goes on beside the prompt.
func (p *plan) follows() bool {
	return isDebug(p.match) && (p.foreground || p.match.RestCol > 0)
}

func isDebug(m *grammar.Match) bool { return len(m.Words) > 0 && m.Words[0] == "debug" }

// follow runs a debug with its filters until ctx ends or the filters want no
// more. It has a connection of its own where the shell can make one: the form
// of events, text or JSON, is that of a connection.
func (s *Shell) follow(ctx context.Context, l *link, p *plan, row func(control.Line) error) outcome {
	events := newFollower()
	format := s.settings().format
	if p.filters.Format != filter.Text {
		format = p.filters.Format
	}
	var client *control.Client
	var v control.Verdict
	if l.home && s.o.Dial != nil { // the one connection there is
		if client = l.connected(); client == nil {
			return verdictOf(l.lostError())
		}
		l.divert(events.take)
		defer l.divert(nil)
		line := p.match.Line
		if format != filter.Text && !p.match.Has("detail") && !p.match.Has("hex") && !p.match.Has("json") {
			line += " json"
		}
		v = l.ask(ctx, line, func(control.Line) error { return nil }, nil).Verdict
		defer func() {
			if id := subscription(v); id != 0 {
				end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				_, _ = client.Do(end, "undebug "+strconv.Itoa(id), nil) // it ends with the connection otherwise
			}
		}()
	} else {
		var err error
		if client, err = l.dial(ctx, events.take); err != nil {
			return verdictOf(asError(err))
		}
		defer client.Close()
		h := control.Hello{Zone: zoneName()}
		if format != filter.Text {
			h.Events = "json"
		}
		if v, err = client.Hello(ctx, h); err == nil && v.Err() == nil {
			v, err = client.Do(ctx, p.match.Line, nil)
		}
		if err != nil {
			return verdictOf(asError(lost(l.station, err)))
		}
	}
	if v.Code != control.CodeSubscribed {
		return outcome{Verdict: v}
	}
	w := p.filters.Start(rowSink{row}, format)
	err := events.into(ctx, client.Done(), w, func(text string) error {
		return row(control.Line{Code: control.CodeWarning, Text: text})
	})
	_, ferr := w.Finish(err != nil && !errors.Is(err, context.Canceled))
	switch {
	case errors.Is(err, errGone):
		return failed(codeNoStation, "Connection to %s lost", l.station.Name)
	case err != nil && !errors.Is(err, context.Canceled):
		return verdictOf(err)
	case ferr != nil:
		return verdictOf(ferr)
	case err != nil: // as it was meant to end: nothing is said of it
		return outcome{Verdict: control.Verdict{Code: control.CodeCancelled}, status: control.ExitStatus(control.CodeCancelled), said: true}
	}
	return went(control.CodeDone, "")
}

var errGone = errors.New("connection lost")

// into gives events to filters until these want no more (nil), the connection
// ends (errGone), or ctx does (context.Canceled): then what had come is given to
// them before it returns.
func (f *follower) into(ctx context.Context, gone <-chan struct{}, w *filter.Writer, warn func(text string) error) error {
	give := func(l control.Line) error {
		switch l.Code {
		case control.CodeEvent:
			if strings.HasPrefix(l.Text, "{") && json.Valid([]byte(l.Text)) { // of `debug ... json`
				return w.Record(filter.Record{Lines: []string{l.Text}, JSON: json.RawMessage(l.Text)})
			}
			return w.Line(l.Text)
		case control.CodeEventJSON:
			return w.Record(filter.Record{Lines: []string{l.Text}, JSON: json.RawMessage(l.Text)})
		}
		return warn(strings.TrimSpace(eventText(l)))
	}
	rest := func() error {
		for len(f.queue) > 0 {
			if err := give(<-f.queue); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		var err error
		select {
		case l := <-f.queue:
			err = give(l)
			if n := f.dropped.Swap(0); n > 0 && err == nil {
				err = warn(plural(int(n), "event") + " dropped (reading too slowly)")
			}
			if err == nil && len(f.queue) == 0 {
				err = w.Flush()
			}
		case <-ctx.Done():
			if err = rest(); err == nil {
				return context.Canceled
			}
		case <-gone:
			if err = rest(); err == nil {
				return errGone
			}
		}
		if errors.Is(err, filter.ErrDone) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// afterInterrupt is a context that only the second end of what ends ctx ends:
// another Ctrl-C.
func (s *Shell) afterInterrupt(ctx context.Context) (context.Context, func()) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-ctx.Done():
		case <-later.Done():
			return
		}
		select {
		case <-s.ed().Interrupts():
			cancel()
		case <-later.Done():
		}
	}()
	return later, cancel
}

// debugFilters finds whether a one-shot line is a debug with filters: then the
// filters are for this side. The station is asked for its words only where the
// line may be one.
func debugFilters(ctx context.Context, client *control.Client, line string) (*grammar.Match, *filter.Pipeline, error) {
	first, _, _ := strings.Cut(firstWord(line), "|")
	if first == "" || !strings.HasPrefix("debug", first) || !strings.Contains(line, "|") {
		return nil, nil, nil
	}
	tree, err := client.Grammar(ctx)
	if err != nil {
		return nil, nil, nil // the station will say what is wrong
	}
	m, err := tree.Match(line, grammar.Env{})
	if err != nil || !isDebug(m) || m.RestCol == 0 {
		return nil, nil, nil
	}
	p, err := filter.Parse(m.Rest, m.RestCol, filter.Options{Client: true})
	return m, p, err
}
