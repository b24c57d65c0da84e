package wire

import "unicode/utf8"

// Clean makes a line of text safe to print: what others say of themselves may hold line breaks, escape sequences, marks that turn
// the direction of writing, and bytes that are not UTF-8. A TAB becomes a blank, all else of that is written out: \x1b, \u202e.
// Mostly the line is returned as it is.
func Clean(line []byte) []byte {
	for i := range line {
		if c := line[i]; c < ' ' || c >= 0x7f {
			return cleaned(line)
		}
	}
	return line
}

// CleanString is Clean of a string.
func CleanString(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return string(cleaned([]byte(s)))
		}
	}
	return s
}

func cleaned(line []byte) []byte {
	const hex = "0123456789abcdef"
	var out []byte
	for i := 0; i < len(line); {
		c, n := utf8.DecodeRune(line[i:])
		switch {
		case c == '\t':
			out = append(out, ' ')
		case c == utf8.RuneError && n == 1:
			out = append(out, '\\', 'x', hex[line[i]>>4], hex[line[i]&15])
		case c < ' ' || c >= 0x7f && c < 0xa0:
			out = append(out, '\\', 'x', hex[c>>4], hex[c&15])
		case c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069:
			out = append(out, '\\', 'u', hex[c>>12], hex[c>>8&15], hex[c>>4&15], hex[c&15])
		default:
			out = append(out, line[i:i+n]...)
		}
		i += n
	}
	return out
}
