package grammar

import "strings"

// word is one word of a line.
type word struct {
	text       string // without its quotes
	start, end int    // bytes in the line
	quoted     bool   // any of it was quoted or escaped: never a keyword abbreviation's business, but still a word
}

// isBlank: the protocol takes TAB as a blank.
func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func skipBlanks(line string, i int) int {
	for i < len(line) && isBlank(line[i]) {
		i++
	}
	return i
}

// lexWord reads the word that starts at i, where there is neither a blank nor a bar. open is the position of a quote that is
// not closed, or -1; the word then goes to the end of the line, which is what completion wants.
func lexWord(line string, i int) (w word, open int) {
	w.start = i
	open = -1
	// Nearly every word is plain: no copy is made of it.
	for i < len(line) && !isBlank(line[i]) && line[i] != '|' && line[i] != '\'' && line[i] != '"' && line[i] != '\\' {
		i++
	}
	if i == len(line) || isBlank(line[i]) || line[i] == '|' {
		w.text, w.end = line[w.start:i], i
		return w, open
	}
	w.quoted = true
	var b strings.Builder
	b.WriteString(line[w.start:i])
	for i < len(line) {
		c := line[i]
		switch {
		case isBlank(c) || c == '|':
			w.text, w.end = b.String(), i
			return w, -1
		case c == '\\':
			if i+1 < len(line) {
				i++
			}
			b.WriteByte(line[i])
			i++
		case c == '\'':
			start := i
			n := strings.IndexByte(line[i+1:], '\'')
			if n < 0 {
				b.WriteString(line[i+1:])
				w.text, w.end = b.String(), len(line)
				return w, start
			}
			b.WriteString(line[i+1 : i+1+n])
			i += n + 2
		case c == '"':
			start := i
			for i++; i < len(line) && line[i] != '"'; i++ {
				if line[i] == '\\' && i+1 < len(line) && strings.IndexByte("\"\\$`", line[i+1]) >= 0 {
					i++
				}
				b.WriteByte(line[i])
			}
			if i == len(line) {
				w.text, w.end = b.String(), len(line)
				return w, start
			}
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	w.text, w.end = b.String(), len(line)
	return w, -1
}

// lexRaw reads a raw argument that starts at i: to a bar with blanks round it, or to the end, without the blanks before that.
func lexRaw(line string, i int) word {
	end := len(line)
	for j := i; j < len(line); j++ {
		if line[j] == '|' && (j == i || isBlank(line[j-1])) && (j+1 == len(line) || isBlank(line[j+1])) {
			end = j
			break
		}
	}
	for end > i && isBlank(line[end-1]) {
		end--
	}
	return word{text: line[i:end], start: i, end: end, quoted: true}
}

// Words are the words of a command line, without their quotes, as far as its first bar.
func Words(line string) []string {
	var words []string
	for i := skipBlanks(line, 0); i < len(line) && line[i] != '|'; i = skipBlanks(line, i) {
		w, _ := lexWord(line, i)
		words = append(words, w.text)
		i = w.end
	}
	return words
}

// Quote writes a word so that it is read back as one word, by this grammar and by a POSIX shell.
func Quote(s string) string {
	if s == "" {
		return "''"
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("_./:@%+,=^-", c) >= 0, c >= 0x80:
		default:
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return s
}
