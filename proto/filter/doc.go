// Package filter is what stands behind a bar (include, count, json ...) and
// what stands before it: the Output that a command writes its records to, and
// the renderer that makes aligned rows or JSON of them.
//
//	handler -> Output -> filter -> filter -> ... -> renderer -> Sink (the protocol, or a file)
//
// Everything streams; only sort and last hold rows, up to a bound that is said
// when it is reached. A row is a record (one line, or the paragraph of
// `detail`) or a line of free text. A row that is a paragraph is taken apart
// into its lines by include, exclude, begin, until and section, which read as
// on a router; the others take it whole.
//
// Nothing here knows what the rows are about, or sockets.
package filter
