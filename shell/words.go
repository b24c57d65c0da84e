package shell

import (
	"context"

	"bmp/proto/control"
)

// ownWords are the commands that the shell runs itself, by their first word.
// Everything else goes to the station.
var ownWords = map[string]func(s *Shell, ctx context.Context, line string){
	"exit": func(s *Shell, _ context.Context, _ string) { s.leave = true },
	"quit": func(s *Shell, _ context.Context, _ string) { s.leave = true },

	"attach": later,
	"detach": later,
	"on":     later,
	"watch":  later,
	"alias":  later,
	"find":   later,
	"source": later,
	"run":    later,
}

// later refuses a word of the contract that this release does not have.
func later(s *Shell, _ context.Context, line string) {
	s.status = s.fail(errorf(control.CodeFailed, "Not available yet: %s", firstWord(line)))
}
