package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"bmp/proto/control"
	"bmp/proto/grammar"
	"bmp/scripts"
	"bmp/shell"
)

// completeWord is what the completion script asks with: bmp completion LINE-SO-FAR.
const completeWord = "complete"

// bashCompletion asks bmp itself for what may stand next. What bash takes for a
// word ends at its COMP_WORDBREAKS (an address with a port is three words), so
// what is before the last of them is cut from the answers.
const bashCompletion = `# bash completion for bmp: source <(bmp completion bash)
_bmp() {
	local line=${COMP_LINE:0:COMP_POINT} cur=${COMP_WORDS[COMP_CWORD]} reply=() typed cut
	mapfile -t reply < <("${COMP_WORDS[0]}" completion ` + completeWord + ` "$line" 2>/dev/null)
	COMPREPLY=()
	[ ${#reply[@]} -gt 1 ] || return 0
	[ "${reply[0]}" != files ] || compopt -o default 2>/dev/null
	typed=${reply[1]}
	reply=("${reply[@]:2}")
	case $cur in
	\"* | \'*) cut= ;;
	*)
		cut=${typed%"${typed##*[:=]}"}
		case $COMP_WORDBREAKS in *:*) ;; *) cut= ;; esac
		;;
	esac
	local r
	for r in "${reply[@]}"; do
		COMPREPLY+=("${r#"$cut"}")
	done
	# A folder, or a value that goes on, wants no blank behind it.
	case ${#COMPREPLY[@]}:${COMPREPLY[0]} in 1:*/) compopt -o nospace 2>/dev/null ;; esac
	return 0
}
complete -o nosort -F _bmp bmp
`

// completion prints the script, or answers it: whether files are meant, the
// word that is being typed, and then what it may become, a line each.
func completion(inv *invocation) int {
	if inv.words[0] == "bash" {
		os.Stdout.WriteString(bashCompletion)
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	typed, list, files := completeLine(ctx, inv.words[1])
	what := "words"
	if files {
		what = "files"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%s\n", what, typed)
	for _, c := range list {
		fmt.Fprintln(&out, c)
	}
	os.Stdout.WriteString(out.String())
	return 0
}

// beforeFiles are the words and options behind which the name of a file stands.
var beforeFiles = []string{"save", "append", "source", "record", "replay", "file", "-x", "-c", "-l", "-d"}

// completeLine finds what the last word of a line that begins with bmp may
// become. files says that it may be the name of one, which bash knows.
func completeLine(ctx context.Context, line string) (typed string, list []string, files bool) {
	words, open := splitShell(line)
	if len(words) < 2 {
		return "", nil, false
	}
	typed, list = completeWords(ctx, words, open)
	all := strings.Fields(strings.Join(words[1:len(words)-1], " ") + " " + typed[:strings.LastIndexAny(typed, " \t|")+1])
	if len(all) > 0 && len(list) == 0 {
		// The arguments of a script may be anything, files too.
		files = slices.Contains(beforeFiles, all[len(all)-1]) || slices.Contains(words[1:len(words)-1], "-x")
	}
	return typed, list, files
}

func completeWords(ctx context.Context, words []string, open bool) (typed string, list []string) {
	typed = words[len(words)-1]
	before := words[1 : len(words)-1]
	target := ""
	for len(before) > 0 && strings.HasPrefix(before[0], "-") && before[0] != "-" {
		name, _, attached := strings.Cut(before[0], "=")
		o := findOption(name)
		before = before[1:]
		switch {
		case o == nil:
			return typed, nil
		case o.value == "" || attached:
		case len(before) == 0:
			return typed, beginning(typed, append(optionValues(name), clusterTargets(ctx, name, typed)...))
		default:
			if name == "-t" {
				target = before[0]
			}
			if name == "-x" {
				return typed, nil // its arguments
			}
			before = before[1:]
		}
	}
	if len(before) == 0 && strings.HasPrefix(typed, "-") && !open {
		for _, o := range options {
			list = append(list, strings.Fields(o.names)...)
		}
		return typed, beginning(typed, list)
	}
	if len(before) > 0 && target == "" && isDigits(before[0]) {
		target, before = before[0], before[1:]
	} else if len(before) == 0 && !open {
		list = append(invocationWords(), ports()...)
	}
	if len(before) > 0 {
		switch before[0] {
		case "shell":
			return typed, beginning(typed, append(ports(), clusterTargets(ctx, "-t", typed)...))
		case "run":
			if len(before) > 1 {
				return typed, nil
			}
			return typed, beginning(typed, scripts.Names())
		case "completion":
			return typed, beginning(typed, []string{"bash"})
		case "demo", "man", "help":
			return typed, nil
		case "replay":
			if len(before) == 3 {
				return typed, beginning(typed, []string{"speed"})
			}
			return typed, nil
		case "record":
			switch len(before) {
			case 2:
				return typed, beginning(typed, []string{"client"})
			case 3:
				before = append([]string{"feed"}, before[2:]...) // as the station completes a client
			default:
				return typed, nil
			}
		}
	}
	// The rest is a command. In quotes it may be one word with blanks in it.
	for i := range before {
		if before[i] != "|" {
			before[i] = grammar.Quote(before[i])
		}
	}
	command := strings.Join(append(before, typed), " ")
	candidates := ask(ctx, target, command)
	start := strings.LastIndexAny(typed, " \t|") + 1
	for _, c := range candidates {
		list = append(list, typed[:start]+c)
	}
	return typed, beginning(typed, list)
}

// invocationWords are the first words that are no commands of a station.
func invocationWords() []string {
	return []string{"shell", "demo", "run", "record", "replay", "completion", "man", "help"}
}

// ports are the stations of this machine.
func ports() []string {
	var list []string
	found, _ := control.RunningStations()
	for _, r := range found {
		if r.Port != 0 {
			list = append(list, fmt.Sprint(r.Port))
		}
	}
	return list
}

// optionValues are the values of an option that can be listed.
func optionValues(name string) []string {
	switch name {
	case "-t":
		return ports()
	case "-n":
		entries, _ := os.ReadDir("/run/netns")
		var list []string
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	case "--sync":
		return []string{"always", "1s"}
	}
	return nil
}

// clusterTargets are the stations of the cluster whose target is being typed.
func clusterTargets(ctx context.Context, option, typed string) []string {
	var list []string
	if option == "-t" {
		for _, c := range shell.ClusterValues(ctx, typed) {
			list = append(list, c.Text)
		}
	}
	return list
}

// ask asks the station what a command may become.
func ask(ctx context.Context, target, command string) []string {
	s, err := shell.Find(target)
	if err != nil {
		return nil
	}
	client, err := s.Dial(ctx, nil)
	if err != nil {
		return nil
	}
	defer client.Close()
	c, err := client.Complete(ctx, command)
	if err != nil {
		return nil
	}
	var list []string
	for _, x := range c.Candidates {
		list = append(list, x.Text)
	}
	return list
}

// beginning are those that begin as typed, in order, each once.
func beginning(typed string, list []string) []string {
	var out []string
	for _, x := range list {
		if strings.HasPrefix(x, typed) && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	slices.Sort(out)
	return out
}

// splitShell splits a line as bash does, and says whether a quote is open. The
// last word is the one being typed; it may be empty.
func splitShell(line string) (words []string, open bool) {
	var word strings.Builder
	quote, begun := byte(0), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			begun = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, begun = c, true
		case c == ' ' || c == '\t':
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	return append(words, word.String()), quote != 0
}
