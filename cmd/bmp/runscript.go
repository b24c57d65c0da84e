package main

import (
	"os"

	"bmp/shell"
)

// runScript is bmp -x FILE [ARG ...] and bmp run NAME [ARG ...].
func runScript(inv *invocation) int {
	x := shell.Script{
		Target: inv.target, Name: inv.script, Args: inv.words, Check: inv.check, JSON: inv.json,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	var err error
	switch {
	case inv.run:
		x.Source, err = shell.ShippedScript(inv.script)
	case inv.script == "-":
		x.Name, x.Stdin = "stdin", nil
		x.Source, err = shell.ReadScript(x.Name, os.Stdin)
	default:
		var f *os.File
		if f, err = os.Open(inv.script); err == nil {
			x.Source, err = shell.ReadScript(inv.script, f)
			f.Close()
		}
	}
	if err != nil {
		return shell.PrintError(os.Stderr, inv.json, err)
	}
	ctx, stop := untilInterrupt()
	defer stop()
	return x.Run(ctx)
}
