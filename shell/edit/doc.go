// Package edit reads lines from people: the line editors of the shell behind
// one interface.
//
// An Editor owns the terminal (or pipe) it was made on: it alone reads keys
// and draws, so that text arriving while somebody types can be put above the
// half-typed line instead of through it. Everything that wants to be seen goes
// through it: replies through Out, events through Async.
//
//	Editor     what the shell needs of any editor
//	Readline   the classic one, on a local terminal and over telnet
//	Popup      one that suggests while one types, on a local terminal
//	Plain      lines as they come: pipes, TERM=dumb, nc
//	Assistant  what an editor asks while somebody types: completion and help
//	History    the lines typed, in a file that several shells share
//	Terminal   a local terminal in raw mode, and as it was afterwards
//
// Readline and Popup are libraries that want the terminal for themselves. They
// get their keys from here, one at a time, and what is no key (lines to show
// above, a new width, the end of a read) as keys that nobody can type, so that
// they alone draw:
//
//	bytes   decode.go     UTF-8, bracketed paste, keys that the libraries do not know
//	keys    keys.go       typed ahead, held back, or Ctrl-C while a command runs
//	line    the library   drawn; help.go answers Tab and `?`
//	output  output.go     one writer at a time, behind the line or above it
//
// It knows nothing of stations, commands or the text protocol: what may stand
// at a place of a line is the Assistant's to say.
package edit
