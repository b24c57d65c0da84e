package lang

import (
	"fmt"
	"regexp"
	"strings"
)

// A rewritten source has as many lines as the original, so only columns move.
type rewritten struct {
	text    string
	plain   []string    // plain lines by number, as typed
	places  []Line      // where they stand
	columns [][]segment // by line, where columns were moved
	// language is how many bytes are no plain lines and no comments.
	language int
}

// A segment says that what stands from column to on (bytes from 1, in the
// rewritten line) stood from column from on in the original.
type segment struct{ to, from int }

// column maps a place of the rewritten source back.
func (r *rewritten) column(line, col int) int {
	if line < 1 || line > len(r.columns) {
		return col
	}
	shift := 0
	for _, s := range r.columns[line-1] {
		if s.to > col {
			break
		}
		shift = s.from - s.to
	}
	return max(1, col+shift)
}

var functionHead = regexp.MustCompile(`(?m)^\s*(?:function\s+([^\s(){}]+)|([^\s(){}#$]+)\s*\(\s*\))`)
var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\+?=`)

// functionNames are the functions that a source declares anywhere.
func functionNames(source string) map[string]bool {
	names := map[string]bool{}
	for _, m := range functionHead.FindAllStringSubmatch(source, -1) {
		names[m[1]+m[2]] = true
	}
	return names
}

// IsPlain reports whether a line typed by itself is a plain command, sent to
// the station as it is.
func IsPlain(line string) bool { return isPlain(line, nil) }

func isPlain(line string, functions map[string]bool) bool {
	line = strings.TrimSpace(line)
	first, _, _ := strings.Cut(line, " ")
	first, _, _ = strings.Cut(first, "\t")
	if line == "" || assignment.MatchString(first) || isOneOf(keywords, first) || isOneOf(builtins, first) || functions[first] ||
		isOneOf(rawFilters, first) || first == "source" {
		return false
	}
	if strings.ContainsAny(line, "$;`") || strings.HasSuffix(line, "\\") || strings.HasSuffix(line, "|") {
		return false
	}
	// Raw arguments may hold anything. The rest must close what it opens, and
	// hold no operator outside quotes.
	var rest strings.Builder
	from := 0
	for {
		at, end := rawArgument(line, from)
		if at < 0 {
			break
		}
		rest.WriteString(line[from:at])
		from = end
	}
	rest.WriteString(line[from:])
	return isClosed(rest.String())
}

// isClosed reports whether a line has no quote left open, and no operator of a
// shell but bars.
func isClosed(line string) bool {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\':
		case c == '\\':
			i++
		case quote != 0:
			quote = 0
		case c == '\'' || c == '"':
			quote = c
		case strings.IndexByte("&<>()", c) >= 0, strings.HasPrefix(line[i:], "||"):
			return false
		}
	}
	return quote == 0
}

// rewrite takes plain lines aside and quotes raw arguments.
func rewrite(source string, functions map[string]bool) *rewritten {
	r := &rewritten{}
	var out strings.Builder
	open := byte(0) // quote left open by the lines before
	joined := false // the line before ended in a bar or a backslash
	lines := strings.Split(source, "\n")
	for n, line := range lines {
		if n > 0 {
			out.WriteByte('\n')
		}
		line = strings.TrimSuffix(line, "\r")
		var columns []segment
		switch trimmed := strings.TrimSpace(line); {
		case open != 0:
			open = quoteAfter(line, open)
			out.WriteString(line)
			r.language += len(line)
		case strings.HasPrefix(line, "!") && !joined: // a comment, as on a router
			out.WriteString("#")
		case strings.HasPrefix(trimmed, "#"):
			out.WriteString("#")
		case !joined && isPlain(withoutComment(line), functions):
			indent := len(line) - len(strings.TrimLeft(line, " \t"))
			fmt.Fprintf(&out, "%s%s %d", line[:indent], plainMark, len(r.plain))
			text := strings.TrimSpace(withoutComment(line))
			r.plain = append(r.plain, text)
			r.places = append(r.places, Line{text, n + 1, indent + 1})
		default:
			var quoted string
			quoted, columns = quoteRaw(line)
			open = quoteAfter(quoted, 0)
			r.language += len(quoted)
			out.WriteString(quoted)
			joined = strings.HasSuffix(trimmed, "|") || strings.HasSuffix(trimmed, "\\") || strings.HasSuffix(trimmed, "&&")
			r.columns = append(r.columns, columns)
			continue
		}
		joined = false
		r.columns = append(r.columns, columns)
	}
	r.text = out.String()
	return r
}

// quoteAfter is the quote that is open after line, when quote was before it.
func quoteAfter(line string, quote byte) byte {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\':
		case c == '\\':
			i++
		case quote != 0:
			quote = 0
		case c == '\'' || c == '"':
			quote = c
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t' || line[i-1] == ';'):
			return 0
		}
	}
	return quote
}

// withoutComment cuts an unquoted comment that begins a word. In a raw argument
// there is none.
func withoutComment(line string) string {
	from := 0
	for {
		at, end := rawArgument(line, from)
		if at < 0 {
			break
		}
		if i := comment(line[:at], from); i >= 0 {
			return strings.TrimRight(line[:i], " \t")
		}
		from = end
	}
	if i := comment(line, from); i >= 0 {
		return strings.TrimRight(line[:i], " \t")
	}
	return line
}

// comment finds where one begins, at or after byte from, which is outside
// quotes; or -1.
func comment(line string, from int) int {
	quote := byte(0)
	for i := from; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\':
		case c == '\\':
			i++
		case quote != 0:
			quote = 0
		case c == '\'' || c == '"':
			quote = c
		case c == '#' && i > 0 && isBlank(line[i-1]):
			return i
		}
	}
	return -1
}

// quoteRaw puts every raw argument of a line in double quotes, in which $name
// still expands and nothing else does.
func quoteRaw(line string) (string, []segment) {
	var out strings.Builder
	var columns []segment
	from := 0
	for {
		at, end := rawArgument(line, from)
		if at < 0 {
			break
		}
		columns = escapeUntil(&out, line, from, at, columns)
		out.WriteByte('"')
		columns = append(columns, segment{out.Len() + 1, at + 1})
		for i := at; i < end; i++ {
			c := line[i]
			dollar := c == '$' && (i+1 >= end || !isNameStart(line[i+1]))
			if c == '"' || c == '\\' || c == '`' || dollar {
				out.WriteByte('\\')
				columns = append(columns, segment{out.Len() + 1, i + 1})
			}
			out.WriteByte(c)
		}
		out.WriteByte('"')
		columns = append(columns, segment{out.Len() + 1, end + 1})
		from = end
	}
	columns = escapeUntil(&out, line, from, len(line), columns)
	return out.String(), columns
}

// escapeUntil writes line[from:to], which begins outside quotes. Behind a bar
// `until` is the filter: with a backslash the grammar does not take it for the
// beginning of a loop.
func escapeUntil(out *strings.Builder, line string, from, to int, columns []segment) []segment {
	quote := byte(0)
	for i := from; i < to; i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\':
		case c == '\\' && i+1 < to:
			out.WriteByte(c)
			i++
		case quote != 0:
			quote = 0
		case c == '\'' || c == '"':
			quote = c
		case c == '|':
			word := i + 1
			for word < to && isBlank(line[word]) {
				word++
			}
			if after, ok := strings.CutPrefix(line[word:to], "until"); ok && (after == "" || isBlank(after[0])) {
				out.WriteString(line[i:word])
				out.WriteByte('\\')
				columns = append(columns, segment{out.Len() + 1, word + 1})
				i = word
			}
		}
		out.WriteByte(line[i])
	}
	return columns
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isNameStart(c byte) bool {
	return c == '_' || c == '{' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// rawArgument finds the first raw argument at or after byte from: where it
// starts and ends, or -1. An argument that starts with a quote is not raw.
func rawArgument(line string, from int) (start, end int) {
	quote := byte(0)
	word := -1        // where the current word starts
	atCommand := true // the next word is the first of a command
	afterBar := false // ... of a filter
	option := false   // the word before was a raw filter: options may follow
	depth := 0        // of brackets before the argument
	for i := 0; i <= len(line); i++ {
		c := byte(' ')
		if i < len(line) {
			c = line[i]
		}
		if quote != 0 {
			if c == '\\' && quote == '"' {
				i++
			} else if c == quote {
				quote = 0
			}
			continue
		}
		switch c {
		case '\'', '"':
			quote = c
			if word < 0 {
				word = i
			}
			continue
		case '\\':
			if word < 0 {
				word = i
			}
			i++
			continue
		case '#':
			if word < 0 {
				return -1, -1
			}
			continue
		case ' ', '\t', '|', ';', '&', '(', ')':
		default:
			if word < 0 {
				word = i
			}
			continue
		}
		if word >= 0 {
			text := line[word:i]
			raw := false
			switch {
			case option && isOption(text):
				raw = true
			case afterBar && isRawFilter(text):
				raw, option = true, takesOptions(text)
			case text == "as-path" || atCommand && isOneOf(rawWords, text):
				raw, option = true, false
			default:
				option = false
			}
			if raw && (c == ' ' || c == '\t') {
				at := i
				for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
					at++
				}
				if at < len(line) && !(option && isOption(wordAt(line, at))) && line[at] != '\'' && line[at] != '"' && line[at] != '|' && line[at] != ';' {
					if end := rawEnd(line, at, depth > 0); end > at {
						if at >= from {
							return at, end
						}
						// One that was found before: nothing in it means anything.
						i, word = end-1, -1
						atCommand, afterBar, option = false, false, false
						continue
					}
				}
			}
			if !(atCommand && assignment.MatchString(text)) && !isOneOf(keywords, text) {
				atCommand, afterBar = false, false
			}
			word = -1
		}
		switch c {
		case '|':
			afterBar, atCommand = true, true
		case ';', '&':
			atCommand, afterBar, option = true, false, false
		case '(':
			depth++
			atCommand, afterBar = true, false
		case ')':
			depth--
		}
	}
	return -1, -1
}

// wordAt is the unquoted word that starts at byte at.
func wordAt(line string, at int) string {
	end := at
	for end < len(line) && !isBlank(line[end]) && line[end] != '|' {
		end++
	}
	return line[at:end]
}

// rawEnd is where a raw argument that starts at byte at ends: before a bar,
// `;` or `&&` with blanks round it, before the bracket that closes what encloses
// it, or at the end of the line; trailing blanks are not of it.
func rawEnd(line string, at int, enclosed bool) int {
	blank := func(i int) bool { return i >= len(line) || line[i] == ' ' || line[i] == '\t' }
	end, depth := len(line), 0
scan:
	for i := at; i < len(line); i++ {
		switch c := line[i]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 && enclosed {
				end = i
				break scan
			}
		case i > at && !blank(i-1):
		case (c == '|' || c == ';') && blank(i+1), strings.HasPrefix(line[i:], "&&") && blank(i+2):
			end = i
			break scan
		}
	}
	return at + len(strings.TrimRight(line[at:end], " \t"))
}
