// Package scripts are the scripts that come with the program, one file each:
// `run NAME` in the shell, `bmp run NAME` outside. The comment that a script
// begins with is its manual; its first line says what the script is for.
package scripts

import (
	"embed"
	"slices"
	"strings"
)

//go:embed *.bmpsh
var files embed.FS

const suffix = ".bmpsh"

// Names are their names, in order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), suffix))
	}
	slices.Sort(names)
	return names
}

// Text is the source of a script.
func Text(name string) ([]byte, bool) {
	if !slices.Contains(Names(), name) {
		return nil, false
	}
	text, err := files.ReadFile(name + suffix)
	return text, err == nil
}

// Doc is the comment that a script begins with, without its marks.
func Doc(name string) string {
	text, _ := Text(name)
	var lines []string
	for line := range strings.Lines(string(text)) {
		comment, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "!")
		if !ok {
			break
		}
		lines = append(lines, strings.TrimPrefix(comment, " "))
	}
	return strings.Join(lines, "\n")
}

// Help is its first line.
func Help(name string) string {
	first, _, _ := strings.Cut(Doc(name), "\n")
	return first
}
