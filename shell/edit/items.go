package edit

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

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
