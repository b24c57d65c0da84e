package control

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"bmp/proto/filter"
)

// ownCommands run the connection's own words.
var ownCommands = map[string]func(c *Conn, q *Request, r *Reply) error{
	"exit": func(*Conn, *Request, *Reply) error { return &Error{CodeBye, "Bye"} },
	"quit": func(*Conn, *Request, *Reply) error { return &Error{CodeBye, "Bye"} },
	"terminal confirm": func(c *Conn, q *Request, r *Reply) error {
		c.confirm = q.Match.Value("onoff") == "on"
		r.Done("Confirmation %s", q.Match.Value("onoff"))
		return nil
	},
	"terminal strict": func(c *Conn, q *Request, r *Reply) error {
		c.strict = q.Match.Value("onoff") == "on"
		r.Done("Strict %s", q.Match.Value("onoff"))
		return nil
	},
	"terminal width": func(c *Conn, q *Request, r *Reply) error {
		n, _ := q.Match.Number("n")
		c.width = int(min(n, 10000))
		r.Done("Width %d", c.width)
		return nil
	},
	"terminal format": func(c *Conn, q *Request, r *Reply) error {
		for _, w := range []string{"text", "json", "json-lines"} {
			if q.Match.Has(w) {
				c.format = formats[w]
				r.Done("Format %s", w)
			}
		}
		return nil
	},
	"terminal monitor":     (*Conn).monitor,
	"terminal interactive": (*Conn).wantEditor,
	"terminal plain": func(c *Conn, _ *Request, r *Reply) error {
		// In the editor this is a word of its own; here lines are plain already.
		r.Done("Plain lines")
		return nil
	},
}

var formats = map[string]filter.Format{"text": filter.Text, "json": filter.JSON, "json-lines": filter.JSONLines}

// monitorTag marks the subscription of `terminal monitor`.
type monitorTag struct{}

// monitor follows the station's console lines.
func (c *Conn) monitor(q *Request, r *Reply) error {
	n := c.Unfollow(func(s Subscription) bool { return s.Tag == monitorTag{} })
	if q.Match.Value("onoff") == "off" {
		r.Done("%d subscription%s ended", n, plural(n))
		return nil
	}
	if c.server.o.Monitor == nil {
		return Errorf(CodeFailed, "This station has no console lines")
	}
	id, err := c.Follow("console lines", monitorTag{}, c.server.o.Monitor)
	if err != nil {
		return err
	}
	r.Subscribed(id)
	return nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// hello takes the settings of a program.
func (c *Conn) hello(line string) (int, string) {
	fields := strings.Fields(line)
	at := func(i int) int { // of field i, bytes from 1
		col := 0
		for n := 0; n <= i; n++ {
			col += strings.Index(line[col:], fields[n])
			if n < i {
				col += len(fields[n])
			}
		}
		return col + 1
	}
	if len(fields) < 2 {
		return CodeIncomplete, fmt.Sprintf("@%d+0 Incomplete command: hello (expected: VERSION)", len(line)+1)
	}
	if fields[1] != strconv.Itoa(Proto) {
		return CodeVersion, fmt.Sprintf("@%d+%d Version %s is not spoken here, only %d", at(1), len(fields[1]), fields[1], Proto)
	}
	format, width, zone, product := c.format, c.width, c.zone, c.product
	events, ids := c.eventsJSON.Load(), c.eventIDs.Load()
	for i, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		ok := true
		switch key {
		case "client":
			product = value[:min(len(value), 64)]
		case "format":
			format, ok = formats[value]
		case "width":
			n, err := strconv.ParseUint(value, 10, 15)
			width, ok = int(n), err == nil
		case "tz":
			z, err := time.LoadLocation(value)
			if ok = err == nil && value != ""; ok {
				zone = z
			}
		case "events":
			events, ok = value == "json", value == "json" || value == "text"
		case "ids":
			ids, ok = value == "on", value == "on" || value == "off"
		} // what a later version says is not known here
		if !ok {
			return CodeInvalid, fmt.Sprintf("@%d+%d Invalid input: %s", at(i+2), len(f), f)
		}
	}
	c.format, c.width, c.zone = format, width, zone
	c.eventsJSON.Store(events)
	c.eventIDs.Store(ids)
	c.mu.Lock()
	c.product = product
	c.mu.Unlock()
	return CodeDone, fmt.Sprintf("bmp %s proto=%d", c.server.o.Version, Proto)
}
