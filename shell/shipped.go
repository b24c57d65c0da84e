package shell

import (
	"bmp/proto/control"
	"bmp/proto/grammar"
)

// runShipped runs one of the scripts that come with the program.
func runShipped(c *call) error {
	return errorf(control.CodeNotFound, "No script '%s'", c.match.Value("script"))
}

// shippedScripts are their names.
func shippedScripts() []grammar.Candidate { return nil }
