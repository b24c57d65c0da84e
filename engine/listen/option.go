package listen

import (
	"fmt"
	"strings"
)

// options reads the words behind the place of a Spec or a Remote. The first error stays and ends the words.
type options struct {
	words   []string
	word    string // the option being read
	seen    []string
	repeats bool // it may come again
	err     error
}

func (o *options) next() bool {
	if o.word != "" && !o.repeats {
		o.seen = append(o.seen, o.word)
	}
	if o.err != nil || len(o.words) == 0 {
		return false
	}
	o.word, o.words, o.repeats = o.words[0], o.words[1:], false
	for _, s := range o.seen {
		if s == o.word {
			o.fail(&SpecError{Word: o.word, Msg: "given twice"})
			return false
		}
	}
	return true
}

func (o *options) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *options) unknown(expected string) {
	o.fail(&SpecError{Word: o.word, Msg: "expected " + expected})
}

// value takes the next word; empty when there is none.
func (o *options) value() string {
	if len(o.words) == 0 {
		o.fail(&SpecError{Msg: "a value is missing after '" + o.word + "'"})
		return ""
	}
	v := o.words[0]
	o.words = o.words[1:]
	if v == "" || strings.ContainsAny(v, "\"\x00\n\r") {
		o.fail(&SpecError{Word: v, Msg: "expected a value without quotes and control characters"})
	}
	return v
}

// device takes the name of an interface, by the kernel's rules.
func (o *options) device() string {
	name := o.value()
	if len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/:\x00 \t") {
		o.fail(&SpecError{Word: name, Msg: "expected the name of a device, at most 15 characters"})
	}
	return name
}

func (o *options) md5() MD5 {
	word := o.value()
	if word == "file" {
		return MD5{File: o.value()}
	}
	if len(word) > maxMD5Key {
		// The key itself is not for the log.
		o.fail(&SpecError{Msg: fmt.Sprintf("an MD5 key has at most %d octets", maxMD5Key)})
	}
	return MD5{Key: word}
}

// SplitWords cuts text at blanks, and at the further separators, outside double quotes. The error is a *SpecError.
func SplitWords(text, separators string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, inQuotes := false, false
	for _, r := range text {
		switch {
		case r == '"':
			inQuotes, inWord = !inQuotes, true
		case !inQuotes && (r == ' ' || r == '\t' || strings.ContainsRune(separators, r)):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inQuotes {
		return nil, &SpecError{Msg: "a closing '\"' is missing"}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// quoteWord writes a word as SplitWords reads it.
func quoteWord(s string) string {
	if strings.ContainsAny(s, " \t") {
		return `"` + s + `"`
	}
	return s
}
