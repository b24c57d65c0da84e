// Package command is the station's command tree and the handlers behind it:
// what an engineer types and what is printed.
//
// A command is a row (pattern, one line of help, role, examples) plus one
// function, in the file named for it. The grammar (proto/grammar) turns a line
// into the row and its values; help, completion, abbreviation and usage errors
// come from the row alone. The handler reads the station, and produces
// records; the filter chain (proto/filter) behind its output aligns columns or
// writes JSON:
//
//	request line -> proto/control -> grammar.Match -> handler(ctx, call) -> records -> rows
//
// A handler never touches a socket, a terminal or its width. It copies what it
// shows out of the station in batches and writes with no lock held, so that a
// console that reads slowly holds up nobody. Output order is stable: clients by
// ID, peers by ID, routes by family, key, client, peer, view.
//
// Every command has one data model for text and JSON: a row of text and a JSON
// element are made from the same record. Text is made here, once, and never
// parsed back.
//
// What the package never does: it changes nothing of a client's state by
// itself. Clear, flush, listen and the rest are calls on the station.
package command
