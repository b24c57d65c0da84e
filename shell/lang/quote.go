package lang

import "strings"

// joinWords makes a command line of expanded words, quoted so that the station
// splits it into the same words again, and says in which column each starts.
func joinWords(words []string, starts []int) (string, []int) {
	var b strings.Builder
	raw := false     // the next word would be read as a raw argument, were it not quoted
	options := false // or as an option before that
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		starts = append(starts, b.Len()+1)
		first := i == 0 || words[i-1] == barMark
		switch {
		case w == barMark:
			b.WriteByte('|')
			raw = false
			continue
		case first && isRawFilter(w), first && isOneOf(rawWords, w), w == "as-path":
			b.WriteString(w)
			raw, options = true, first && takesOptions(w)
			continue
		case raw && options && isOption(w):
			b.WriteString(w)
			continue
		case raw && i+1 < len(words) && words[i+1] != barMark:
			b.WriteString(quoted(w))
		default:
			b.WriteString(quote(w))
		}
		raw = false
	}
	return b.String(), starts
}

// quote puts a word in single quotes where it is not plain.
func quote(w string) string {
	if w != "" && strings.IndexFunc(w, special) < 0 {
		return w
	}
	return quoted(w)
}

func quoted(w string) string { return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'" }

func special(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r >= 0x80:
		return false
	}
	return !strings.ContainsRune("-_./:,+=@%[]{}^~*", r)
}
