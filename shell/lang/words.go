package lang

import (
	"slices"
	"strings"
)

// Words that stand for something the text cannot contain: private runes, which
// Parse refuses in a source.
const (
	barMark   = "\ue001" // a bar between a command and its filter, as a word of the command
	ourMark   = "\ue002" // before a command of ours that is named like a builtin
	plainMark = "\ue003" // a plain line: followed by its number
	pipedMark = "\ue004" // before a filter that reads a pipe
)

const marks = barMark + ourMark + plainMark + pipedMark

// depthVariable counts nested function calls. It is set at the start of every
// function, local to it.
const depthVariable = "BMP_DEPTH"

// keywords begin or join compound commands: a line that starts with one is not plain.
var keywords = []string{"if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "in",
	"{", "}", "!", "function", "select", "time", "[[", "(", ")"}

// builtins of the shell grammar that scripts may use. Everything else that the
// interpreter would run by itself is ours, or unknown.
var builtins = []string{":", "[", "break", "continue", "echo", "eval", "exit", "false", "getopts", "let", "local", "printf", "read",
	"return", "set", "shift", "test", "true", "unset", "export", "readonly"}

// rawFilters take the rest as one regular expression, after their options.
var rawFilters = []string{"include", "exclude", "begin", "until", "section"}

// rawWords likewise, wherever they stand in a command.
var rawWords = []string{"as-path", "find", "expect"}

// filterWords may follow a bar.
var filterWords = append([]string{"count", "first", "last", "sort", "columns", "no-header", "uniq", "json", "no-more", "save",
	"append"}, rawFilters...)

// isFilter reports whether a word names a filter, whole or abbreviated: whether
// it may be abbreviated, who runs the line decides.
func isFilter(word string) bool {
	return word != "" && slices.ContainsFunc(filterWords, func(f string) bool { return strings.HasPrefix(f, word) })
}

// isRawFilter likewise, where it can be only one that takes a regular expression.
func isRawFilter(word string) bool { return isOneOf(rawFilters, onlyFilter(word)) }

// takesOptions: before the regular expression.
func takesOptions(filter string) bool {
	f := onlyFilter(filter)
	return f == "include" || f == "exclude"
}

func isOption(word string) bool { return word == "-i" || word == "-q" }

// onlyFilter is the filter that a word names, whole or abbreviated; "" if there
// is none, or several.
func onlyFilter(word string) string {
	if isOneOf(filterWords, word) || word == "" {
		return word
	}
	found := ""
	for _, f := range filterWords {
		if strings.HasPrefix(f, word) {
			if found != "" {
				return ""
			}
			found = f
		}
	}
	return found
}

func isOneOf(list []string, word string) bool { return slices.Contains(list, word) }
