// Package shell is the other end of a station's control port: it attaches to
// stations, sends them lines, shows what comes back, and says by an exit status
// how it went. It meets a station in proto/control alone and works the same
// over a Unix socket, TCP, TLS, or a pipe within one process.
//
//	Station     where a station is: PORT, HOST:PORT, unix:PATH, tls:HOST:PORT, nats://HOST[/STATION]
//	OneShot     one command, its output, its status
//	Script      a script, run by itself
//	Configure   the lines of a station's configuration, which are no script
//	Shell       the prompt; Interactive is one on this process's terminal,
//	            Console one for a telnet connection, which the station runs
//	Assistant   completion and `?` for the line editors of shell/edit
//
// The way of a typed line:
//
//	line    edit.Editor         drawn, completed, kept in the history
//	plan    grammar, filter     judged here, against the station's command tree merged with the words of words.go
//	run     link, or word       sent to the station, or run by the shell
//	rows    screen              a page at a time; or a printer, or a file (save)
//	verdict                     the caret under the word that was wrong; the exit status
//
// What comes by itself goes another way, from the link to the editor's Async,
// which shows it above the line being typed; what a debug with filters follows
// is given to these instead (follow.go).
//
// A link keeps one connection: it dials again when the station has gone away,
// fetches the command tree once, and asks for live values in bounded time. So
// keywords, `?` and what is wrong with a line need no round trip.
//
// What the package never does: read a station's state, or know a command of the
// station. The text of an answer goes to standard output as the station wrote
// it; what begins with "% " goes to standard error, or below the line typed.
// status.go maps reply codes to exit statuses; nothing else does.
package shell
