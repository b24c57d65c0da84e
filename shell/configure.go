package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"bmp/proto/control"
	"bmp/shell/edit"
)

// maxBatchLine is the most that a station takes as one line.
const maxBatchLine = 8192

// batchLine is a line of the file that is a command.
type batchLine struct {
	number int
	text   string
}

// Configure runs the lines of a station's configuration on client, and closes
// it. It ends at the first line that fails, with an error that names it. again
// says that the configuration has been read before: what conflicts with what is
// there already is then there already.
func Configure(ctx context.Context, client *control.Client, name string, in io.Reader, again bool) error {
	defer client.Close()
	lines, err := readLines(name, in)
	if err != nil {
		return err
	}
	for _, l := range lines {
		v, err := client.Do(ctx, l.text, nil)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, l.number, err)
		}
		if v.Err() == nil || again && v.Code == control.CodeConflict {
			continue
		}
		return errorf(v.Code, "%s:%d:%d: %v", name, l.number, max(v.Col, 1), nameWord(v, l.text))
	}
	return nil
}

// readLines takes the commands out of a file. What only the script language can
// mean is refused here: sent to the station it would be something else.
func readLines(name string, r io.Reader) ([]batchLine, error) {
	var lines []batchLine
	in := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		text, err := edit.ReadLine(in, maxBatchLine)
		if err == io.EOF {
			return lines, nil
		}
		if errors.Is(err, edit.ErrLineTooLong) {
			return nil, errorf(control.CodeTooLong, "%s:%d: line longer than %d bytes", name, n, maxBatchLine)
		}
		if err != nil {
			return nil, errorf(control.CodeFailed, "%s: %v", name, err)
		}
		if strings.HasPrefix(text, "!") || strings.HasPrefix(text, "#") || strings.TrimSpace(text) == "" {
			continue
		}
		if what := language(text); what != "" {
			return nil, errorf(control.CodeFailed, "%s:%d: A configuration is plain commands, and no script (%s)", name, n, what)
		}
		if err := oneLine(text); err != nil {
			return nil, errorf(asError(err).Code, "%s:%d: %v", name, n, err)
		}
		word := strings.Fields(text)[0]
		if !slices.ContainsFunc(configures, func(c string) bool { return strings.HasPrefix(c, word) }) {
			return nil, errorf(control.CodeUnknown, "%s:%d:%d: Invalid command: %s (a configuration has %s)", name, n, strings.Index(text, word)+1,
				word, strings.Join(configures, ", "))
		}
		lines = append(lines, batchLine{n, text})
	}
}

// configures is what the lines of a configuration begin with. What else a
// station does at a command is nothing that it should do at every start.
var configures = []string{"listen", "connect", "control", "retention", "quirk", "relay", "no"}

var (
	languageMark  = regexp.MustCompile("\\$[A-Za-z_0-9({@#?*!]|&&|\\|\\||`|;( |$)")
	languageStart = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z_0-9]*=|(if|then|else|elif|fi|for|while|until|do|done|case|esac|function|expect|wait-until|sleep)(\s|$)|[A-Za-z_][A-Za-z_0-9]*\s*\(\)|[{}(]|\[)`)
)

// language finds what makes a line one of the script language; "" for a plain
// command.
func language(line string) string {
	if m := languageStart.FindString(line); m != "" {
		return strings.TrimSpace(m)
	}
	return strings.TrimSpace(languageMark.FindString(line))
}

// usesLanguage reports whether a line is one of the script language whatever
// commands there are.
func usesLanguage(line string) bool { return language(line) != "" }
