package lang

import "slices"

// Words that stand for something the text cannot contain: private runes, which
// Parse refuses in a source.
const (
	barMark   = "\ue001" // a bar between a command and its filter, as a word of the command
	ourMark   = "\ue002" // before a command of ours that is named like a builtin
	plainMark = "\ue003" // a plain line: followed by its number
)

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

func isOneOf(list []string, word string) bool { return slices.Contains(list, word) }
