package shell

import (
	"fmt"
	"strconv"

	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/shell/edit"
)

// settings are what `terminal` sets.
type settings struct {
	length    int // lines of a page, 0: no pager, -1: as the terminal
	width     int // columns, 0: as the terminal
	format    filter.Format
	editor    string
	color     string // on, off, auto
	canColor  bool   // what auto means
	monitor   bool
	timing    bool
	timestamp bool
	confirm   bool
	strict    bool
}

func defaultSettings(s *Shell) settings {
	set := settings{length: -1, color: "auto", editor: "plain", confirm: s.o.Terminal}
	switch s.editor.(type) {
	case *edit.Readline:
		set.editor = "readline"
	case *edit.Popup:
		set.editor = "popup"
	}
	set.canColor = s.o.Terminal && s.o.Env("NO_COLOR") == "" && s.o.Env("TERM") != "dumb" && set.editor != "plain"
	return set
}

// settings are a copy of those in force.
func (s *Shell) settings() settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set
}

func (s *Shell) change(f func(*settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.set)
}

// colored reports whether colour is used.
func (t *settings) colored() bool { return t.color == "on" || t.color == "auto" && t.canColor }

// width is how wide lines may be, 0 not known.
func (s *Shell) width() int {
	if w := s.settings().width; w > 0 {
		return w
	}
	cols, _ := s.ed().Size()
	return cols
}

var formatNames = []string{filter.Text: "text", filter.JSON: "json", filter.JSONLines: "json-lines"}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// setTerminal runs the `terminal` words.
func setTerminal(c *call) error {
	s, m := c.shell, c.match
	on := m.Value("onoff") == "on"
	switch m.Command.ID {
	case "shell terminal length":
		n, _ := m.Number("n")
		s.change(func(t *settings) { t.length = int(min(n, 1_000_000)) })
	case "terminal width":
		n, _ := m.Number("n")
		s.change(func(t *settings) { t.width = int(min(n, 10_000)) })
		return c.tellStations("terminal width " + strconv.Itoa(s.width()))
	case "terminal format":
		for f, name := range formatNames {
			if m.Has(name) {
				s.change(func(t *settings) { t.format = filter.Format(f) })
				return c.tellStations("terminal format " + name)
			}
		}
	case "terminal monitor":
		on = on || m.Value("onoff") == ""
		s.change(func(t *settings) { t.monitor = on })
		return c.tellStations("terminal monitor " + onOff(on))
	case "terminal confirm":
		s.change(func(t *settings) { t.confirm = on })
		return c.tellStations("terminal confirm " + onOff(on))
	case "terminal strict":
		s.change(func(t *settings) { t.strict = on })
	case "shell terminal timing":
		s.change(func(t *settings) { t.timing = on })
	case "shell terminal timestamp":
		s.change(func(t *settings) { t.timestamp = on })
	case "shell terminal color":
		for _, w := range []string{"on", "off", "auto"} {
			if m.Has(w) {
				s.change(func(t *settings) { t.color = w })
			}
		}
	case "shell terminal editor":
		for _, w := range []string{"readline", "popup", "plain"} {
			if m.Has(w) {
				return s.switchEditor(w)
			}
		}
	}
	return nil
}

// tellStations sends a setting of the connection to every station attached to.
func (c *call) tellStations(line string) error {
	for _, l := range c.shell.all() {
		if l.connected() == nil {
			continue // it is told when it comes back
		}
		v := l.ask(c, line, func(control.Line) error { return nil }, nil)
		l.followed(c, []string{"terminal", c.match.Words[1]}, v.Verdict)
		if v.Err() != nil {
			return errorf(v.Code, "%s: %s", l.name, v.Text)
		}
	}
	return nil
}

// switchEditor changes the line editor. History and settings go on.
func (s *Shell) switchEditor(kind string) error {
	if s.settings().editor == kind {
		return nil
	}
	if s.o.OpenEditor == nil {
		return errorf(control.CodeFailed, "There is no other editor here")
	}
	ed, err := s.o.OpenEditor(kind)
	if err != nil {
		return errorf(control.CodeFailed, "%v", err)
	}
	s.mu.Lock()
	s.editor, s.set.editor = ed, kind
	s.mu.Unlock()
	return nil
}

// showTerminal prints the settings.
func showTerminal(c *call) error {
	s := c.shell
	set := s.settings()
	cols, rows := s.ed().Size()
	length, width := fmt.Sprintf("%d (of the terminal)", rows), fmt.Sprintf("%d (of the terminal)", cols)
	if set.length >= 0 {
		length = strconv.Itoa(set.length)
	}
	if set.length == 0 {
		length = "0 (no pager)"
	}
	if set.width > 0 {
		width = strconv.Itoa(set.width)
	}
	color := set.color
	if color == "auto" {
		color += " (" + onOff(set.colored()) + ")"
	}
	type setting struct{ name, value string }
	list := []setting{{"editor", set.editor}, {"length", length}, {"width", width}, {"format", formatNames[set.format]}, {"color", color},
		{"monitor", onOff(set.monitor)}, {"confirm", onOff(set.confirm)}, {"strict", onOff(set.strict)}, {"timing", onOff(set.timing)},
		{"timestamp", onOff(set.timestamp)}}
	if s.o.History != nil && s.o.History.Path != "" {
		list = append(list, setting{"history", s.o.History.Path})
	}
	doc := map[string]any{"editor": set.editor, "length": nil, "width": nil, "format": formatNames[set.format],
		"color": set.colored(), "monitor": set.monitor, "confirm": set.confirm, "strict": set.strict, "timing": set.timing,
		"timestamp": set.timestamp, "columns": cols, "rows": rows}
	if set.length >= 0 {
		doc["length"] = set.length
	}
	if set.width > 0 {
		doc["width"] = set.width
	}
	if err := c.out.Document(doc); err != nil {
		return err
	}
	for _, x := range list {
		if err := c.out.Line(fmt.Sprintf("%-10s %s", x.name, x.value)); err != nil {
			return err
		}
	}
	return nil
}
