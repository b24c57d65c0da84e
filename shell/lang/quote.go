package lang

import "strings"

// joinWords makes a command line of expanded words, quoted so that the station
// splits it into the same words again, and says in which column each starts.
func joinWords(words []string, starts []int) (string, []int) {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		starts = append(starts, b.Len()+1)
		if w == barMark {
			b.WriteByte('|')
		} else {
			b.WriteString(quote(w))
		}
	}
	return b.String(), starts
}

// quote puts a word in single quotes where it is not plain.
func quote(w string) string {
	if w != "" && strings.IndexFunc(w, special) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

func special(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r >= 0x80:
		return false
	}
	return !strings.ContainsRune("-_./:,+=@%[]{}^~*", r)
}
