package grammar

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"
	"time"
)

// Roles of a command.
const (
	View  = "view"  // may be run by everybody who is let in
	Admin = "admin" // changes something
)

// Command is one row of the tree. The zero Role is View.
type Command struct {
	ID       string   `json:"id"`                 // stable and unique: what the handler is found by ("show client peers")
	Pattern  string   `json:"pattern"`            // see the package comment
	Help     string   `json:"help"`               // one line, lower case, no full stop
	Long     string   `json:"long,omitempty"`     // paragraphs for `help COMMAND`
	Role     string   `json:"role,omitempty"`     // View or Admin
	Examples []string `json:"examples,omitempty"` // whole lines
	Columns  []string `json:"columns,omitempty"`  // names of the columns it prints, for completing `sort` and `columns`
	Hidden   bool     `json:"hidden,omitempty"`   // matches, but is in no list, help or completion (later spellings)
	Local    bool     `json:"local,omitempty"`    // belongs to the shell; the station refuses it
}

// Tree is a compiled set of commands. It never changes: any goroutine may use it.
type Tree struct{ t tree }

type tree struct{}

// New compiles commands. words are the helps shown by `?` for keywords, keyed by the word or by
// the words that lead to it ("show client peer"); the longest key that ends with the word wins, and
// without one the help of the only command it leads to is shown.
func New(commands []Command, words map[string]string) (*Tree, error) { return nil, nil }

// Must is New for trees written in the program: it panics with the error.
func Must(t *Tree, err error) *Tree { return t }

// WithFilters returns the tree with the words that may follow a bar, for completion and help.
func (t *Tree) WithFilters(filters *Tree) *Tree { return t }

// Merge returns a tree of both: where a pattern is in both, the one of b is taken. Filters are a's, or b's.
func Merge(a, b *Tree) (*Tree, error) { return nil, nil }

// Commands are the rows, in the order given. The slice is the tree's own.
func (t *Tree) Commands() []Command { return nil }

// Usages are the patterns as a person reads them, sorted, hidden ones left out: the shell's `list`.
func (t *Tree) Usages() []string { return nil }

// Doc is the generated help of the commands that line (words, possibly abbreviated and incomplete) leads to: usage, help,
// options and kinds, examples. The error is an *Error as for Match.
func (t *Tree) Doc(line string) ([]string, error) { return nil, nil }

func (t *Tree) MarshalJSON() ([]byte, error)    { return json.Marshal(nil) }
func (t *Tree) UnmarshalJSON(data []byte) error { return nil }

// Env is what the judgement of a line depends on besides the tree.
type Env struct {
	Now    time.Time      // zero: time.Now()
	Zone   *time.Location // zone of bare clock times; nil: time.Local
	Strict bool           // words must be whole
	// Values lists live values while completing; may be nil. kind is the name of the kind (CLIENT),
	// partial what is typed of it, m the words and values matched before it (m.Command may be nil).
	// It returns at most a few hundred; what does not start with partial is left out by the caller.
	Values func(ctx context.Context, kind, partial string, m *Match) []Candidate
}

// Match judges a line. The error is *Error.
func (t *Tree) Match(line string, env Env) (*Match, error) { return nil, nil }

// Match is a line understood.
type Match struct {
	Command *Command
	Args    []Arg    // the values in the order typed
	Words   []string // the keywords in the order typed, whole
	Rest    string   // what follows the first bar, "" without one
	RestCol int      // byte column (from 1) of Rest in the line; 0 without a bar
	Line    string   // the command without its filters, abbreviations written out
}

// Arg is one value of a matched line.
type Arg struct {
	Name  string // of name:KIND, else the kind in lower case
	After string // the keyword right before it, "" if none
	Kind  string
	Text  string // without quotes; enumerated values written out (ipv4-vpn)
	Col   int    // byte column from 1, in the line
	Len   int
	Value any // uint64, netip.Addr, netip.Prefix, time.Time, time.Duration, *regexp.Regexp ..., as Kinds says; nil for a word
}

// Has reports whether the keyword was typed (whole or abbreviated).
func (m *Match) Has(word string) bool { return false }

// Arg finds the first value by its name, or by the keyword right before it: after `next-hop ADDR`, both "next-hop" and
// "addr" find it.
func (m *Match) Arg(name string) (Arg, bool) { return Arg{}, false }

// Value is the text of Arg, "" if it was not given.
func (m *Match) Value(name string) string { return "" }

// Values are the texts of all values of that name.
func (m *Match) Values(name string) []string { return nil }

func (m *Match) Number(name string) (uint64, bool)          { return 0, false }
func (m *Match) Time(name string) (time.Time, bool)         { return time.Time{}, false }
func (m *Match) Duration(name string) (time.Duration, bool) { return 0, false }
func (m *Match) Size(name string) (int64, bool)             { return 0, false }
func (m *Match) Addr(name string) (netip.Addr, bool)        { return netip.Addr{}, false }
func (m *Match) Prefix(name string) (netip.Prefix, bool)    { return netip.Prefix{}, false }
func (m *Match) Regexp(name string) (*regexp.Regexp, bool)  { return nil, false }

// Redacted is Line with secrets (kind SECRET) replaced by ***, for logs and events.
func (m *Match) Redacted() string { return "" }

// Error is a line not understood, or a value that is not one.
type Error struct {
	Code       int    // 500 unknown, 501 incomplete, 502 ambiguous, 503 invalid, 403 not on this side
	Col, Len   int    // bytes, Col from 1
	Text       string // without place and without "% "
	Expected   []string
	Candidates []string
}

func (e *Error) Error() string { return e.Text }

// Candidate is one completion.
type Candidate struct {
	Text string // what is put in the line, quoted where it must be
	Help string // what one wants to know beside it
}

// Completion answers Tab. Col+Len is the part of the line that the candidates replace (Col from 1).
type Completion struct {
	Col, Len   int
	Prefix     string // longest common prefix of the candidates, at least what was typed
	Candidates []Candidate
}

// Complete lists what may stand at the end of line.
func (t *Tree) Complete(ctx context.Context, line string, env Env) Completion { return Completion{} }

// Item is one row of the answer to `?`. Word is "<cr>" where the line may end.
type Item struct {
	Word, Help, Next string // Next: the value that must follow the word, "" if none
	Value            bool   // Word is a live value or the name of a kind, not a keyword
}

// Help answers `?`: the words and values possible at the end of line that start with its last, partial word.
func (t *Tree) Help(ctx context.Context, line string, env Env) []Item { return nil }
