// Package grammar is the command language: a tree of commands made from one
// pattern each, and everything that follows from it: matching with
// abbreviation, errors with a position, completion, the answers to `?`, the
// generated help, and a JSON form that the station sends to the shell, so that
// both sides judge a line by the same rows.
//
// A pattern is written the way a manual writes a command:
//
//	show client CLIENT peer PEER routes [VIEW] [FAMILY] [PREFIX [exact|longer|shorter|lpm]] {limit N|stale|as-path RE}
//
//	word          a keyword; it may be abbreviated to a prefix that is unique among the words possible there
//	word!         a keyword that matches only when typed whole and never makes another prefix ambiguous (shutdown!)
//	KIND          a value, checked by the kind's syntax (see Kinds); an unknown kind takes any one word
//	name:KIND     the same under a name of its own
//	[ a b ]       may be left out
//	( a | b )     one of them; [ a | b ] the same, or none
//	{ a | b X }   any of them in any order, each once; may be left out altogether
//	{ a X ... }   "..." ends an alternative that may repeat, or follows a value that may
//
// A line is split into words by blanks, with the quoting of a POSIX shell and
// nothing else of it: '...' is literal, in "..." a backslash escapes " \ $ and
// backtick, elsewhere a backslash escapes the next character. An unquoted bar
// ends the command; what follows are filters (proto/filter). A regular
// expression (kind RE) that does not start with a quote is raw: it runs to a bar
// with blanks round it, or to the end of the line, so `as-path ^(65001|65002)_`
// needs no quotes.
//
// The package knows no command, no station and no terminal. Live values (which
// clients are there) come from a callback.
package grammar
