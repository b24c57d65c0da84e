package shell

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
	"bmp/shell/cluster"
)

// named is the station attached to under a name.
func (s *Shell) named(name string) *link {
	for _, l := range s.all() {
		if l.name == name {
			return l
		}
	}
	return nil
}

// attachTo attaches to a station, or goes back to one.
func attachTo(c *call) error {
	s := c.shell
	target, name := c.match.Value("target"), c.match.Value("station")
	if l := s.named(target); l != nil && name == "" && !c.match.Has("ro") {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.current = l
		return nil
	}
	if name == "all" {
		a, _ := c.match.Arg("station")
		return control.Invalid(a, "'all' is every station")
	}
	station, err := Find(target)
	if err != nil {
		return asError(err)
	}
	if len(station.Others) > 0 && name != "" {
		a, _ := c.match.Arg("station")
		return control.Invalid(a, "the %d stations there have names of their own", 1+len(station.Others))
	}
	if len(station.Others) > 0 && s.named(station.Name) != nil {
		// Attached to before: the others may be new.
		whole := station
		for i, x := range station.Others {
			if s.named(x.Name) == nil {
				rest := station.Others[i+1:]
				station, station.Others = x, rest
				break
			}
		}
		if station.Name == whole.Name {
			s.note("%% Attached to all %d stations already", 1+len(whole.Others))
			return nil
		}
	}
	l := &link{name: name, station: station, readOnly: c.match.Has("ro"), again: s.o.Terminal}
	if l.name == "" {
		l.name = station.Name
	}
	if s.named(l.name) != nil {
		return errorf(control.CodeConflict, "Already attached to %s (attach %s as NAME)", l.name, target)
	}
	return s.attachAll(c, l)
}

// detach leaves a station. The shell goes back to the one attached to before.
func detach(c *call) error {
	s := c.shell
	l := s.at()
	if name := c.match.Value("station"); name != "" {
		if l = s.named(name); l == nil {
			return errorf(control.CodeNotFound, "Not attached to '%s'", name)
		}
	}
	if l == nil {
		return errorf(control.CodeNotFound, "Not attached to a station")
	}
	s.mu.Lock()
	var left []*link
	for _, x := range s.links {
		if x != l {
			left = append(left, x)
		}
	}
	s.links = left
	if s.current == l {
		s.current = nil
		if len(left) > 0 {
			s.current = left[len(left)-1]
		}
	}
	s.mu.Unlock()
	debugs := len(l.following())
	l.close()
	if debugs > 0 {
		s.note("%% %s ended", plural(debugs, "debug"))
	}
	return nil
}

// listStations prints the stations attached to.
func listStations(c *call) error {
	if err := c.out.Columns(filter.Column{Name: "", Width: 1}, filter.Column{Name: "Name", Width: 12, Gap: 1}, filter.Column{Name: "Target", Width: 20},
		filter.Column{Name: "Role", Width: 6}, filter.Column{Name: "State", Width: 6}, filter.Column{Name: "Debugs", Right: true}); err != nil {
		return err
	}
	for _, l := range c.shell.all() {
		mark, role, state := "", "", "gone"
		if l == c.shell.at() {
			mark = "*"
		}
		if client := l.connected(); client != nil {
			role, state = client.Role().String(), "up"
			if l.readOnly {
				role = "ro"
			}
		}
		target := l.station.Name
		if l.station.Target.Network != "" {
			target = cluster.Redacted(l.station.Target.String())
		}
		debugs := len(l.following())
		if err := c.out.Record(filter.Record{Cells: []string{mark, l.name, target, role, state, fmt.Sprint(debugs)},
			JSON: map[string]any{"name": l.name, "target": target, "role": role, "state": state, "debugs": debugs, "current": mark != ""}}); err != nil {
			return err
		}
	}
	return nil
}

// onStations runs a command with its filters on one station, or on all one after
// the other. With all, each row carries the name of its station, and one that
// fails does not hide the others.
func onStations(c *call) error {
	s := c.shell
	command := c.match.Value("command")
	if !c.match.Has("all") {
		l := s.named(c.match.Value("station"))
		if l == nil {
			return errorf(control.CodeNotFound, "Not attached to '%s'", c.match.Value("station"))
		}
		p, err := s.inner(c, command)
		if err != nil {
			return err
		}
		v := s.perform(c, l, p, c.row, s.confirmer(c))
		if v.Code == control.CodeSubscribed {
			s.note("%s", v.Text)
			return nil
		}
		return verdictError(v, c, command)
	}
	p, err := s.inner(c, command)
	if err != nil {
		return err
	}
	if p.word != nil {
		return errorf(control.CodeForbidden, "'%s' is of the shell itself", strings.Join(p.match.Words, " "))
	}
	links := s.all()
	width := len("Station")
	for _, l := range links {
		width = max(width, len(l.name))
	}
	var elements []json.RawMessage
	heading := ""
	asJSON := false
	status := 0
	for _, l := range links {
		var doc bytes.Buffer
		v := s.perform(c, l, p, func(x control.Line) error {
			switch x.Code {
			case control.CodeHeading:
				if x.Text == heading {
					return nil
				}
				heading = x.Text
				x.Text = fmt.Sprintf("%-*s  %s", width, "Station", x.Text)
			case control.CodeJSON:
				asJSON = true
				doc.WriteString(x.Text + "\n")
				return nil
			default:
				x.Text = fmt.Sprintf("%-*s  %s", width, l.name, x.Text)
			}
			return c.row(x)
		}, nil)
		elements = append(elements, named(l.name, doc.Bytes())...)
		if c.Err() != nil {
			return c.Err()
		}
		if v.Err() != nil && !v.said {
			s.fail(errorf(v.Code, "%s: %v", l.name, nameWord(v.Verdict, command)))
		}
		if status == 0 {
			status = v.Status()
		}
	}
	if asJSON {
		for i, e := range elements {
			text := string(e)
			if p.filters.Format != filter.JSONLines && s.settings().format != filter.JSONLines {
				text = map[bool]string{true: "[", false: " "}[i == 0] + text + map[bool]string{true: "]", false: ","}[i == len(elements)-1]
			}
			if err := c.row(control.Line{Code: control.CodeJSON, Text: text}); err != nil {
				return err
			}
		}
	}
	return scriptStatus(status)
}

// named puts the station's name into the elements of a JSON document: those of
// an array or of JSON lines, or the document itself.
func named(station string, doc []byte) []json.RawMessage {
	var values []json.RawMessage
	if json.Unmarshal(doc, &values) != nil {
		d := json.NewDecoder(bytes.NewReader(doc))
		for {
			var v json.RawMessage
			if d.Decode(&v) != nil {
				break
			}
			values = append(values, v)
		}
	}
	name, _ := json.Marshal(station) // of a string: cannot fail
	for i, v := range values {
		v = bytes.TrimSpace(v)
		if rest, ok := bytes.CutPrefix(v, []byte("{")); ok {
			sep := ","
			if bytes.HasPrefix(bytes.TrimSpace(rest), []byte("}")) {
				sep = ""
			}
			values[i] = fmt.Appendf(nil, `{"station":%s%s%s`, name, sep, rest)
		} else {
			values[i] = fmt.Appendf(nil, `{"station":%s,"value":%s}`, name, v)
		}
	}
	return values
}

// inner judges a command within a line; errors point into the whole line.
func (s *Shell) inner(c *call, command string) (*plan, error) {
	p, err := s.plan(command)
	if g, ok := err.(*grammar.Error); ok {
		if a, ok := c.match.Arg("command"); ok {
			moved := *g
			moved.Col += a.Col - 1
			return nil, &moved
		}
	}
	return p, err
}

// verdictError is a verdict within a line as an error of the line.
func verdictError(v outcome, c *call, command string) error {
	if v.Err() == nil {
		if v.Status() != 0 {
			return &statusError{v.Status()}
		}
		return nil
	}
	if a, ok := c.match.Arg("command"); ok && v.Col > 0 {
		return &grammar.Error{Code: v.Code, Text: v.Text, Col: v.Col + a.Col - 1, Len: v.Len}
	}
	return v.Err()
}

// auth raises the role by a secret that is asked for and not shown.
func auth(c *call) error {
	s := c.shell
	l := s.at()
	if l == nil || l.connected() == nil {
		return errorf(codeNoStation, "Not attached to a station")
	}
	if l.connected().Role() == control.RoleAdmin {
		s.note("Authenticated role=admin")
		return nil
	}
	secret, err := s.readSecret(c, "Secret: ")
	if err != nil {
		return err
	}
	return s.login(c, l, secret)
}

func authToken(c *call) error {
	l := c.shell.at()
	if l == nil || l.connected() == nil {
		return errorf(codeNoStation, "Not attached to a station")
	}
	return c.shell.login(c, l, c.match.Value("secret"))
}

// login proves that the shell knows a secret, without sending it, and fetches
// what a connection without a role could not have.
func (s *Shell) login(c *call, l *link, secret string) error {
	client := l.connected()
	v, err := client.Auth(c, secret)
	if err != nil {
		return lost(l.station, err)
	}
	text, _, _ := strings.Cut(v.Text, " nonce=")
	if v.Err() != nil {
		return errorf(v.Code, "%s", text)
	}
	if l.grammar() == nil {
		if err := l.begin(c, client); err != nil {
			return err
		}
	}
	s.note("%s", text)
	return nil
}
