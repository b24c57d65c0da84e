// Package shell is the other end of a station's control port: it attaches to
// a station, sends it lines, shows what comes back, and says by an exit status
// how it went. It meets the station in proto/control alone and works the same
// over a Unix socket, TCP, TLS, or a pipe within one process.
//
//	Target    where a station is: PORT, HOST:PORT, unix:PATH, tls:HOST:PORT
//	OneShot   one command, its output, its status
//	Script    a script from a file, and its language at the prompt
//	Configure command lines of a station's configuration
//	Shell     the prompt
//
// What it never does: read a station's state, or know a command of the
// station. The words a line may have come from the station's grammar; those of
// the shell's own (exit, terminal, attach ...) are in words.go.
//
// The text of an answer goes to standard output as the station wrote it; what
// begins with "% " goes to standard error. status.go maps reply codes to exit
// statuses; nothing else does.
package shell
