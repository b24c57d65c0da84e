// Package edit reads lines from people: the line editors of the shell behind
// one interface.
//
// An Editor owns the terminal (or pipe) it was made on: it alone reads keys
// and draws, so that text arriving while somebody types can be put above the
// half-typed line instead of through it. Everything that wants to be seen goes
// through it: replies through Out, events through Async.
//
//	Editor     what the shell needs of any editor
//	Assistant  what an editor asks while somebody types: completion and help
//	Plain      lines as they come: pipes, TERM=dumb, nc
//
// It knows nothing of stations, commands or the text protocol: what may stand
// at a place of a line is the Assistant's to say.
package edit
