package edit

import (
	"strings"
	"unicode/utf8"
)

// decoder makes runes of bytes that come in any portions: invalid UTF-8, NUL
// and private runes are dropped, bracketed paste becomes text without meaning
// keys, and keys that the editor library does not know become those it does.
type decoder struct {
	rest   []byte // of a rune or sequence not yet whole
	escape []byte // of a sequence ESC [ ... begun
	paste  bool
}

func (d *decoder) decode(b []byte) []rune {
	b = append(d.rest, b...)
	d.rest = nil
	var out []rune
	for len(b) > 0 {
		if !utf8.FullRune(b) {
			d.rest = append([]byte(nil), b...)
			break
		}
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r < ' ' && r != 27 && len(d.escape) > 0 {
			d.escape = d.escape[:0] // a key cuts a sequence short, and is a key
		}
		switch {
		case r == utf8.RuneError && n == 1, r == 0, r >= firstPrivate && r <= lastPrivate:
			continue
		case len(d.escape) > 0 || r == 27 && len(b) > 0 && b[0] == '[' || r == 27 && len(b) == 0 && d.paste:
			d.escape = utf8.AppendRune(d.escape, r)
			if len(d.escape) > 2 && r >= 0x40 && r <= 0x7e || len(d.escape) > 16 {
				out = append(out, d.sequence(string(d.escape))...)
				d.escape = d.escape[:0]
			}
		case d.paste && r == '\t':
			out = append(out, ' ')
		case d.paste && r == '?':
			out = append(out, runeQuestion)
		case d.paste && r < 32 && r != '\r' && r != '\n':
		default:
			out = append(out, r)
		}
	}
	return out
}

// sequence translates a whole ESC [ sequence.
func (d *decoder) sequence(s string) []rune {
	switch strings.TrimPrefix(s, "\x1b[") {
	case "200~":
		d.paste = true
	case "201~":
		d.paste = false
	case "3~":
		return []rune{runeDelete}
	case "1~", "7~":
		return []rune{1} // Home: to the start of the line
	case "4~", "8~":
		return []rune{5} // End
	default:
		if !d.paste {
			return []rune(s)
		}
	}
	return nil
}
