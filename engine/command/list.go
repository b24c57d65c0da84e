package command

import (
	"context"
	"strings"

	"bmp/proto/control"
	"bmp/proto/filter"
)

// listWidth is how wide a usage may be before its options are left out.
const listWidth = 60

type commandJSON struct {
	Usage    string   `json:"usage"`
	Help     string   `json:"help"`
	Role     string   `json:"role"`
	Examples []string `json:"examples"`
}

// listCommands prints every command, in the order of the manual: those whose
// usage or help matches, where `find` says what.
func listCommands(ctx context.Context, c *call) error {
	re, _ := c.m.Regexp("re")
	if err := c.out.Columns(filter.Column{Name: "Command", Key: "usage", Width: listWidth}, filter.Column{Name: "Help"}); err != nil {
		return err
	}
	commands := c.h.tree.Commands()
	found := 0
	for i := range commands {
		k := &commands[i]
		usage := k.Usage()
		if k.Hidden || re != nil && !re.MatchString(usage) && !re.MatchString(k.Help) {
			continue
		}
		found++
		role := k.Role
		if role == "" {
			role = control.RoleView.String()
		}
		// Options fill lines of their own; here the words that lead to a command are enough.
		short := usage
		if i := strings.IndexAny(usage, "{("); i > 0 && len(usage) > listWidth {
			short = strings.TrimRight(usage[:i], " [") + " ..."
		}
		err := c.out.Record(filter.Record{Cells: []string{short, k.Help}, JSON: commandJSON{usage, k.Help, role, orEmpty(k.Examples)}})
		if err != nil {
			return err
		}
	}
	if found == 0 {
		return control.Errorf(control.CodeNotFound, "No command about '%s'", c.m.Value("re"))
	}
	return nil
}
