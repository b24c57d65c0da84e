package command

import (
	"context"
	"strings"
	"sync"
	"time"

	"bmp/engine"
	"bmp/engine/client"
	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// Options of New. The zero value works.
type Options struct {
	Version string // of the program; empty: the station's
	Config  string // file that write keeps the run-time configuration in; empty: ConfigFile in the state folder
}

// Handler runs the station's commands. It keeps nothing between two commands
// but quirks that wait for their clients. Any goroutine may use it.
type Handler struct {
	station *engine.Station
	options Options
	tree    *grammar.Tree
	run     map[string]func(context.Context, *call) error

	mu       sync.Mutex
	pastOnly bool // of tests: questions about the past are not answered from the live tables
	waiting  []waitingQuirk
	watching bool // a goroutine looks for their clients; it may outlive the last of them until something happens
}

var _ control.Handler = (*Handler)(nil)

// New makes the handler of a station's commands: what engine.Options.Commands
// returns.
func New(s *engine.Station, o Options) *Handler {
	if o.Version == "" {
		o.Version = s.Version()
	}
	h := &Handler{station: s, options: o, run: make(map[string]func(context.Context, *call) error)}
	table := rows()
	commands := make([]grammar.Command, len(table))
	for i, r := range table {
		commands[i] = r.Command
		h.run[r.ID] = r.run
	}
	h.tree = grammar.Must(grammar.New(commands, words)).WithFilters(filter.Grammar())
	return h
}

// Tree is the station's command tree.
func (h *Handler) Tree() *grammar.Tree { return h.tree }

// Execute runs one matched command.
func (h *Handler) Execute(ctx context.Context, q *control.Request, r *control.Reply) error {
	run := h.run[q.Match.Command.ID]
	if run == nil {
		// A command of another side's tree (the shell's own words).
		return control.Errorf(control.CodeForbidden, "'%s' is a command of the shell, not of the station", q.Match.Command.ID)
	}
	c := &call{Request: q, m: q.Match, out: r, h: h, station: h.station}
	return run(ctx, c)
}

// call is one command being run.
type call struct {
	*control.Request
	m       *grammar.Match
	out     *control.Reply
	h       *Handler
	station *engine.Station

	asOf time.Time // the time that rows are of; zero: now

	// What rows say of clients and peers, looked up once a command.
	notes  map[uint32]*clientNote
	labels map[uint64]*client.Label
}

// clock is a moment in the zone of who asks, with the date where it was not today.
func (c *call) clock(t time.Time) string { return formatClock(t, c.Zone, c.Now) }

// age is how long ago a moment was, in the form of a column; of what was at a time, how long before that.
func (c *call) age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	now := c.Now
	if !c.asOf.IsZero() {
		now = c.asOf
	}
	return formatUptime(now.Sub(t))
}

// time is a moment for JSON.
func (c *call) time(t time.Time) any { return jsonTime(t, c.Zone) }

// since is jsonSeconds from a moment on; nil for none.
func (c *call) since(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return jsonSeconds(c.Now.Sub(t))
}

// columns announces the table of a command that also knows paragraphs (`detail`,
// `hex`): above those, headings would say nothing.
func (c *call) columns(list ...filter.Column) error {
	if _, json := c.out.Needs(); !json && (c.m.Has("detail") || c.m.Has("hex")) {
		return nil
	}
	return c.out.Columns(list...)
}

// title writes a line that heads a block of free text, with an empty one before
// it unless it is the first.
func (c *call) title(text string) error { return c.lines("", text) }

// lines writes lines of free text.
func (c *call) lines(lines ...string) error {
	for _, l := range lines {
		if err := c.out.Line(l); err != nil {
			return err
		}
	}
	return nil
}

// field is one line of a block: a name and what it is.
type field struct{ name, value string }

// block writes the fields of a block with their colons under one another.
// Fields without a value are left out.
func (c *call) block(fields ...field) error {
	width := 0
	for _, f := range fields {
		if f.value != "" {
			width = max(width, len(f.name))
		}
	}
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		if err := c.out.Line("  " + f.name + strings.Repeat(" ", width-len(f.name)) + " : " + f.value); err != nil {
			return err
		}
	}
	return nil
}
