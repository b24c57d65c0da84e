package lang

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeStation records the lines it is sent and answers from a table.
type fakeStation struct {
	mu      sync.Mutex // the commands of a pipeline come from several goroutines
	lines   []string
	answers map[string]string
	results map[string]Result
}

func (f *fakeStation) exec(_ context.Context, line string, in io.Reader, out io.Writer) Result {
	record := line
	if in != nil {
		b, err := io.ReadAll(in)
		if err != nil {
			return Result{Status: 1, Message: err.Error()}
		}
		record += " < " + strings.TrimSpace(string(b))
	}
	f.mu.Lock()
	f.lines = append(f.lines, record)
	f.mu.Unlock()
	io.WriteString(out, f.answers[line])
	return f.results[line]
}

func runScript(t *testing.T, f *fakeStation, source string, args ...string) (stdout, stderr string, status int, err error) {
	t.Helper()
	s, err := Parse("test.bmpsh", []byte(source))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	var out, errs bytes.Buffer
	r, err := New(Options{Exec: f.exec, Stdout: &out, Stderr: &errs, MaxSteps: 10000, MaxDepth: 50, MaxMemory: 1 << 20, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	status, err = r.Run(ctx, s, args...)
	return out.String(), errs.String(), status, err
}

func TestLinesSent(t *testing.T) {
	tests := []struct {
		name, source string
		args         []string
		want         []string
	}{
		{"plain lines go as typed", "show clients\n  show  client 1 peers | include  'a  b'\n", nil,
			[]string{"show clients", "show  client 1 peers | include  'a  b'"}},
		{"a router's comment, a shell's, and one behind", "! show x\n# show y\nshow z # rest\n", nil, []string{"show z"}},
		{"filters stay with their command", "x=1; show client $x peers | include -q ' up ' | count\n", nil,
			[]string{"show client 1 peers | include -q ' up ' | count"}},
		{"raw arguments", "n=65001; show bgp ipv4 as-path ^($n|65002)_ | include UP|DOWN | count\n", nil,
			[]string{"show bgp ipv4 as-path '^(65001|65002)_' | include 'UP|DOWN' | count"}},
		{"a dollar before a digit is not expanded", "x=1; show bgp ipv4 as-path _$65001\n", nil, []string{"show bgp ipv4 as-path '_$65001'"}},
		{"a raw argument ends with the substitution", "for c in $(show clients | include (UP|DOWN)); do show client $c; done\n", nil,
			[]string{"show clients | include '(UP|DOWN)'", "show client 7"}},
		{"braces, tildes and patterns are literal", "x=; show bgp {1,2} ~ * a?c$x\n", nil, []string{"show bgp {1,2} ~ * 'a?c'"}},
		{"arguments", "show client $1 peer \"$2\"\n", []string{"3", "a b"}, []string{"show client 3 peer 'a b'"}},
		{"names of builtins", "x=1\nhelp show\nhistory $x\nsource a.bmpsh\nalias a = show $x\n", nil,
			[]string{"help show", "history 1", "source a.bmpsh", "alias a = show 1"}},
		{"functions, loops, conditions", "f() { show client $1; }\nfor i in 1 2; do f $i; done\nif true; then show a; else show b; fi\n", nil,
			[]string{"show client 1", "show client 2", "show a"}},
		{"a filter behind something that is not ours", "echo hello | include hel\n", nil, []string{"include hel < hello"}},
		{"a plain line in a loop", "for i in 1 2; do\n  show clients\ndone\n", nil, []string{"show clients", "show clients"}},
		{"negation stays", "if ! show a; then show b; fi\n", nil, []string{"show a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeStation{answers: map[string]string{"show clients | include '(UP|DOWN)'": "7\n"}}
			_, stderr, _, err := runScript(t, f, tt.source, tt.args...)
			if err != nil || stderr != "" {
				t.Errorf("error %v, stderr %q", err, stderr)
			}
			if got := strings.Join(f.lines, "\n"); got != strings.Join(tt.want, "\n") {
				t.Errorf("sent:\n%s\nwant:\n%s", got, strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestErrorsHaveTheirPlace(t *testing.T) {
	unknown := Result{Status: 127, Abort: true, Message: "Invalid command: bogus (try 'help')", Col: 1, Len: 5}
	results := map[string]Result{
		"bogus":                 unknown,
		"show client 9":         {Status: 1, Message: "No client '9'", Col: 13, Len: 1},
		"show client 9 | count": {Status: 1, Message: "No client '9'", Col: 13, Len: 1},
		"show sess":             {Status: 2, Abort: true, Message: "Incomplete command: show sess", Col: 6, Len: 4},
	}
	tests := []struct {
		name, source, stderr, err string
		status                    int
	}{
		{"unknown ends the script", "show a\n  bogus\nshow b\n", "", "test.bmpsh:2:3: % Invalid command: bogus (try 'help')", 127},
		{"in a condition too", "if bogus; then show a; fi\n", "", "test.bmpsh:1:4: % Invalid command: bogus (try 'help')", 127},
		{"failed is a status", "c=9; show client $c\nshow a\n", "test.bmpsh:1:18: % No client '9'\n", "", 0},
		{"the place of a word in a plain line", "    show client 9\n", "test.bmpsh:1:17: % No client '9'\n", "", 1},
		{"after a raw argument the column is the source's", "x=1; show client 9 | include a|b; show sess\n", "", "", 0},
		{"expect", "show a\nexpect b+\n", "", "test.bmpsh:2:1: % Expected /b+/ in the output: it begins \"aaa\"", 1},
		{"wait-until gives up", "wait-until timeout 20ms show client 9\n", "", "test.bmpsh:1:1: % Not reached in 20ms: show client 9", 1},
		{"recursion without end", "f() { f; }\nf\n", "", "test.bmpsh:1:7: % Functions nested more than 50 deep: the script is stopped", 1},
		{"a loop without end", "while :; do :; done\n", "", "test.bmpsh:1:13: % More than 10000 commands: the script is stopped", 1},
		{"memory without end", "x=aaaaaaaaaaaaaaaa\nwhile :; do x=$x$x; done\n", "", "test.bmpsh:2:7: % Variables hold more than 1048576 bytes: the script is stopped", 1},
		{"the exit status", "exit 7\n", "", "", 7},
		{"arithmetic ends the script", "show a\necho $((1/0))\nshow b\n", "", "test.bmpsh:2:6: % Division by zero", 1},
		{"in an assignment, in a loop", "for i in 1 2; do\n  n=0\n  x=$((10/n))\n  show a\ndone\n", "", "test.bmpsh:3:5: % Division by zero", 1},
		{"of two alike, the one behind what ran", "x=$((4/2))\n:\ny=$((4 % 0))\n", "", "test.bmpsh:3:3: % Division by zero", 1},
		{"in a function", "f() {\n  if [ $(( $1 / 0 )) = 1 ]; then :; fi\n}\nf 4\n", "", "test.bmpsh:2:8: % Division by zero", 1},
		{"in a substitution", "x=$(echo $((1/0)))\n", "", "test.bmpsh:1:10: % Division by zero", 1},
		{"in a pipe", "show a; echo $((1/0)) | include 1\n", "", "test.bmpsh:1:14: % Division by zero", 1},
		{"in what is evaluated", "eval 'echo $((1/0))'\n", "", "test.bmpsh:1:1: % Division by zero", 1},
		{"a variable that is not set", "set -u\necho $zzz\n", "", "test.bmpsh:2:6: % Variable 'zzz' is not set", 1},
		{"or must be", "show a\necho ${b:?is needed}\n", "", "test.bmpsh:2:6: % b: is needed", 1},
		{"one that is read-only", "readonly a=1\na=2\nshow a\n", "test.bmpsh:2:1: % Variable 'a' is read-only\n", "", 0},
		{"a builtin", "test 1 -foo 2\nshow a\n", "test.bmpsh:1:1: % Invalid test: not a valid test operator: `-foo`\n", "", 0},
		{"a condition", "if [ a = ]; then :; fi\nfalse\n", "test.bmpsh:1:4: % Invalid [: = must be followed by a word\n", "", 1},
		{"a declaration", "show a\n  local x=1\n", "", "test.bmpsh:2:3: % local: can only be used in a function", 1},
		{"a break that a function does in no loop", "f() { break; }\nf\nshow a\n", "", "test.bmpsh:1:7: % Invalid break: break is only useful in a loop", 1},
		{"an exit that is evaluated", "eval 'exit abc'\nshow a\n", "", "test.bmpsh:1:1: % Invalid exit: invalid exit status code: \"abc\"", 1},
		{"a return of what is no number", "f() { n=abc; return $n; }\nf\nshow a\n", "", "test.bmpsh:1:14: % Invalid return: invalid return status code: \"abc\"", 1},
		{"a trace of several lines", "set -x\nfor i in 'a\nb'; do :; done\n", "+ for i in 'a\nb'\n+ :\n+ :\n", "", 0},
		{"pipefail", "show client 9 | count\n", "test.bmpsh:1:13: % No client '9'\n", "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeStation{answers: map[string]string{"show a": "aaa\n"}, results: results}
			_, stderr, status, err := runScript(t, f, tt.source)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err || stderr != tt.stderr || status != tt.status {
				t.Errorf("error %q\nstderr %q\nstatus %d\nsent %q\nwant %q, %q, %d", text, stderr, status, f.lines, tt.err, tt.stderr, tt.status)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for source, want := range map[string]string{
		"x=1; show a > $x\n":      "s:1:13: % Redirection is not possible here; output goes to a file by '| save FILE'",
		"show a &\n":              "s:1:8: % Commands cannot run in the background ('&')",
		"show <<E\nE\n":           "s:1:6: % unclosed here-document `E`",
		"show a\nif true; then\n": "s:2:10: % `then` must be followed by a statement list",
		"show <(show b)\n":        "s:1:6: % Process substitution is not possible here",
		"show a\x00\n":            "s:1:7: % Invalid byte in script",
		"for i in 1; do :; done\nif true; then break; fi\n": "s:2:15: % Invalid break: it is not in a loop",
		"continue\n":                  "s:1:1: % Invalid continue: it is not in a loop",
		"f() { :; }\nreturn 1\n":      "s:2:1: % Invalid return: it is not in a function (exit ends the script)",
		"exit abc\n":                  "s:1:6: % Invalid exit status 'abc' (expected: a number)",
		"f() { return abc; }\n":       "s:1:14: % Invalid return status 'abc' (expected: a number)",
		"exit 1 2\n":                  "s:1:8: % Invalid exit: one status at most",
		"select x in 1; do :; done\n": "s:1:1: % select is not possible here",
		"show 'a\n":                   "s:1:6: % reached EOF without closing quote `'`",
	} {
		_, err := Parse("s", []byte(source))
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", source, err, want)
		}
		var e *Error
		if errors.As(err, &e) && e.Status != 2 {
			t.Errorf("%q: status %d", source, e.Status)
		}
	}
}

func TestWhereTheyBelong(t *testing.T) {
	for _, source := range []string{
		"for i in 1 2; do while :; do if true; then break 2; fi; done; done\n", "until false; do continue; done\n",
		"f() { return 1; }\n", "g() { break; }\n", "n=1; exit $n\n", "exit\n", "exit 3\n", "break() { :; }\nbreak\n",
	} {
		if _, err := Parse("s", []byte(source)); err != nil {
			t.Errorf("%q: %v", source, err)
		}
	}
}

func TestCancel(t *testing.T) {
	s, err := Parse("s", []byte("while :; do x=1; done\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{Exec: (&fakeStation{}).exec, MaxSteps: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if status, err := r.Run(ctx, s); status != 130 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("status %d, %v", status, err)
	}
}

func BenchmarkCommand(b *testing.B) {
	s, err := Parse("s", []byte("x=1; show client $x peers | include a\n"))
	if err != nil {
		b.Fatal(err)
	}
	r, err := New(Options{Exec: func(context.Context, string, io.Reader, io.Writer) Result { return Result{} }, MaxSteps: 1 << 60})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Run(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}
