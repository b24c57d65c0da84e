package edit

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// help answers `?`: the table, and the line again as it was.
func (e *Readline) help() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	prompt, line, pos := e.now()
	items := e.o.Assistant.Help(ctx, string(line), byteOffset(line, pos))
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s?\n", prompt, string(line))
	writeItems(&b, items, e.width())
	e.table(b.String())
}

// table shows the rows of a table, a page at a time, above the line being typed. Nothing else reads keys meanwhile: the one that
// asked for it holds the others back.
func (e *Readline) table(text string) {
	e.mu.Lock()
	ctx := e.ctx
	e.mu.Unlock()
	e.lib.Clean()
	pageItems(ctx, e.o, e.keys, e.out, text)
}

// completer answers Tab.
type completer struct{ e *Readline }

// Do implements readline.AutoCompleter. It never gives the library more than
// one candidate: its own table knows no helps.
func (c completer) Do(line []rune, pos int) ([][]rune, int) {
	e := c.e
	if e.o.Assistant == nil {
		return nil, 0
	}
	text := string(line)
	at := byteOffset(line, pos)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := e.o.Assistant.Complete(ctx, text, at)
	if got.From < 0 || got.From > at {
		return nil, 0
	}
	have := text[got.From:at]
	if insert, ok := strings.CutPrefix(got.Insert, have); ok && insert != "" {
		return [][]rune{[]rune(insert)}, utf8.RuneCountInString(have)
	} else if !ok && len(got.Items) == 1 {
		e.lib.Operation.SetBuffer(text[:got.From] + got.Insert + text[at:])
		return nil, 0
	}
	if len(got.Items) > 0 {
		var b strings.Builder
		prompt, _, _ := e.now()
		fmt.Fprintf(&b, "%s%s\n", prompt, text)
		writeItems(&b, got.Items, e.width())
		e.table(b.String())
		e.lib.Refresh()
	}
	return nil, 0
}

func byteOffset(line []rune, pos int) int { return len(string(line[:min(pos, len(line))])) }

// literal reports whether a `?` behind s stands for itself: within quotes, and as the shell variable `$?`.
func literal(s string) bool {
	return quoted(s) || strings.HasSuffix(s, "$") || strings.HasSuffix(s, "${")
}

// quoted reports whether the end of s is inside quotes.
func quoted(s string) bool {
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote == 0 && c == '\\', quote == '"' && c == '\\':
			i++
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return quote != 0
}

// maxItems is how many rows of a table are shown.
const maxItems = 200

// writeItems writes a described table, no line wider than the terminal.
func writeItems(w *strings.Builder, items []Item, width int) {
	if len(items) == 0 {
		w.WriteString("  (nothing is possible here)\n")
		return
	}
	widest := 0
	for _, it := range items[:min(len(items), maxItems)] {
		widest = max(widest, utf8.RuneCountInString(it.Text))
	}
	widest = min(widest, max(8, width/2))
	for i, it := range items {
		if i == maxItems {
			fmt.Fprintf(w, "  ... %d more\n", len(items)-maxItems)
			break
		}
		row := fmt.Sprintf("  %-*s  %s", widest, it.Text, it.Help)
		if rs := []rune(row); len(rs) >= width && width > 1 {
			row = string(rs[:width-1])
		}
		w.WriteString(strings.TrimRight(row, " "))
		w.WriteByte('\n')
	}
	if len(items) == maxItems { // which is where a station stops
		fmt.Fprintf(w, "  ... at most %d are shown\n", maxItems)
	}
}

// pageItems writes a table, and waits for a key where it is longer than a page: space for the next one, Enter for one more line,
// any other to leave the rest. ctx is that of the line being typed.
func pageItems(ctx context.Context, o ReadlineOptions, k *keys, out *lineWriter, text string) {
	cols, page := o.Size()
	if o.PageLength != nil {
		page = o.PageLength()
	}
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1] // of nothing behind the last newline
	room := page - 1             // the line being typed comes back below
	if cols > 0 {
		room -= (runewidth.StringWidth(lines[0]) - 1) / cols // the line that it was asked on may be a long one
	}
	var b strings.Builder
	for _, l := range lines {
		if page > 1 && room <= 0 {
			out.writeLines([]byte(b.String() + "--More--"))
			b.Reset()
			b.WriteString("\r\x1b[K")
			switch key, err := k.key(ctx); {
			case err == nil && key == " ":
				room = page - 1
			case err == nil && (key == "\r" || key == "\n"):
				room = 1
			default:
				out.writeLines([]byte(b.String()))
				return
			}
		}
		b.WriteString(l)
		room--
	}
	out.writeLines([]byte(b.String()))
}
