// Package lang is the scripting language of the shell: the grammar of a POSIX
// shell over the station's commands, run in the client only.
//
//	! every router must have a peer up
//	for c in $(show clients | columns ID | no-header); do
//	    if show client $c peers | include -q ' up '; then echo "ok $c"; else echo "NO PEER UP on $c"; bad=1; fi
//	done
//	exit ${bad:-0}
//
// It owns the way from source text to command lines: which lines are plain
// commands, which arguments are raw, what of the shell is refused, how an
// expanded command becomes a line again, and where in the file an error is.
// Parsing and interpreting is mvdan.cc/sh. It never talks to a station and
// knows no command but its own expect, wait-until and sleep: a line goes to
// Options.Exec.
//
// # From text to lines
//
//	source line      plain?  --yes-->  kept aside, a placeholder stands in the source; sent as typed
//	                   |no
//	raw arguments    include A|B   ->  include "A|B"      columns mapped
//	syntax tree      a | count     ->  one command with its filters, where a is a command of ours
//	                 {1,2} ~ *     ->  literal; & << <( >  refused with their place
//	argv             expanded      ->  quoted into one line again, and sent
//
// What the interpreter finds wrong while it runs has its place, too (complaint.go).
//
// A line is plain when it has none of $ ; && || ` < > &, is no assignment, and
// begins with no keyword, builtin or function name of the script. Both paths
// give the station the same words.
package lang
