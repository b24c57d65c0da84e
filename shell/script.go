package shell

import (
	"context"

	"bmp/proto/control"
)

// RunScript runs a script with its arguments on the shell's stations and
// returns its exit status. What is wrong with it is said as
// FILE:LINE:COL: % message.
func (s *Shell) RunScript(ctx context.Context, name string, source []byte, args []string) int {
	return s.fail(errorf(control.CodeFailed, "Not available yet: the script language (%s)", name))
}
