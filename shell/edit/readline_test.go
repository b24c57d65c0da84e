package edit

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bmp/shell/edit/edittest"
)

func TestReadlineKeys(t *testing.T) {
	tests := []struct {
		name, keys, want string
		err              error
	}{
		{"a line", "show clients\r", "show clients", nil},
		{"LF ends it as well", "show\n", "show", nil},
		{"backspace", "showx\x7f\r", "show", nil},
		{"left and insert", "shw\x1b[Do\r", "show", nil},
		{"home and end", "how\x1b[Hs\x1b[F!\r", "show!", nil},
		{"home and end of other terminals", "how\x1b[1~s\x1b[4~!\r", "show!", nil},
		{"Ctrl-A, Ctrl-E", "how\x01s\x05!\r", "show!", nil},
		{"kill to the end and yank", "show clients\x01\x0b\x19\r", "show clients", nil},
		{"kill to the start", "rubbish\x15show\r", "show", nil},
		{"kill a word", "show clients\x17peers\r", "show peers", nil},
		{"words back and forth", "how clients\x1bb\x1bb\x1b[Ds\r", "show clients", nil},
		{"delete key", "sshow\x1b[H\x1b[3~\r", "show", nil},
		{"delete key on an empty line is not the end", "\x1b[3~show\r", "show", nil},
		{"Ctrl-C drops the line", "show\x03", "", ErrInterrupt},
		{"Ctrl-D on an empty line leaves", "\x04", "", io.EOF},
		{"Ctrl-D in a line deletes", "sshow\x01\x04\r", "show", nil},
		{"Ctrl-Z does nothing", "sh\x1aow\r", "show", nil},
		{"Ctrl-R with an empty history does nothing", "\x12show\r", "show", nil},
		{"NUL and private runes are no keys", "s\x00h\ue000o\ue00fw\r", "show", nil},
		{"invalid UTF-8 is dropped", "s\xffh\xc3\x28ow\r", "sh(ow", nil},
		{"UTF-8", "find zürich\r", "find zürich", nil},
		{"wide runes", "find 東京\x1b[D\x1b[Dx\r", "find x東京", nil},
		{"an unknown sequence is dropped", "sh\x1b[15~ow\r", "show", nil},
		{"Enter within a sequence", "show\x1bO\r", "show", nil},
		{"Enter within another sequence", "show\x1b[\r", "show", nil},
		{"Ctrl-C within a sequence", "show\x1bO\x03", "", ErrInterrupt},
		{"a question mark after $", "echo $?\r", "echo $?", nil},
		{"a question mark after Ctrl-V", "show a\x16?\r", "show a?", nil},
		{"Ctrl-V alone", "sh\x16ow\r", "show", nil},
		{"a literal question mark in quotes", "find 'a?'\r", "find 'a?'", nil},
		{"pasted text has no keys", "\x1b[200~show ?\tx\x1b[201~\r", "show ? x", nil},
		{"completion of one", "sh\tx\r", "show x", nil},
		{"completion of a common part", "cl\t\x7fx\r", "cx", nil},
		{"completion within the line", "cli 1\x1b[D\x1b[D\te\r", "cliente 1", nil},
		{"nothing to complete", "zz\t\r", "zz", nil},
		{"history", "\x1b[A\r", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := edittest.New(t, 80, 24)
			r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
			r.read(1)
			s.Type(tt.keys)
			r.got(tt.want, tt.err)
		})
	}
}

func TestReadlineScreen(t *testing.T) {
	t.Run("question mark shows the table and the line again", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		r.read(1)
		s.Type("show cl?")
		s.Shows(`
bmp# show cl?
  clear    end a session
  clients  all clients
  client   one client
bmp# show cl`)
		s.CursorAt(12, 4)
		s.Type("ie\r")
		r.got("show clie", nil)
	})
	t.Run("question mark in the middle of a line keeps the cursor", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		r.read(1)
		s.Type("sh x\x1b[D\x1b[D?")
		s.Shows("bmp# sh x?\n  show  ask\nbmp# sh x")
		s.CursorAt(7, 2)
		s.Type("ow\r")
		r.got("show x", nil)
	})
	t.Run("Tab shows the table where several remain", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		r.read(1)
		s.Type("cli\t")
		s.Shows("bmp# client")
		s.Type("\t")
		s.Shows(`
bmp# client
  clients  all clients
  client   one client
bmp# client`)
		s.Type("s\r")
		r.got("clients", nil)
	})
	t.Run("a table on a narrow terminal", func(t *testing.T) {
		s := edittest.New(t, 20, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		r.read(1)
		s.Type("c?")
		s.Until("cut rows", func(text string) bool { return strings.Contains(text, "  clear    end a se\n") })
		s.Type("\r")
		r.got("c", nil)
	})
	t.Run("ten columns", func(t *testing.T) {
		s := edittest.New(t, 10, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		r.read(1)
		s.Type("show clients and more\x1b[D\x1b[Dx\r")
		r.got("show clients and moxre", nil)
	})
	t.Run("a wrapped line is drawn whole", func(t *testing.T) {
		s := edittest.New(t, 20, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		r.read(1)
		s.Type("0123456789abcdefghijklmnopqrstuvwxyz")
		s.Shows("bmp# 0123456789abcde\nfghijklmnopqrstuvwxy\nz")
		s.Type("\r")
		r.got("0123456789abcdefghijklmnopqrstuvwxyz", nil)
	})
	t.Run("async lines above a wrapped line with the cursor in its upper row", func(t *testing.T) {
		s := edittest.New(t, 20, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		fmt.Fprintln(r.ed.Out(), "kept 1\nkept 2")
		r.read(1)
		s.Type("0123456789abcdefghijklmnopq\x01x")
		s.Shows("kept 1\nkept 2\nbmp# x0123456789abcd\nefghijklmnopq")
		fmt.Fprintln(r.ed.Async(), "event")
		s.Shows("kept 1\nkept 2\nevent\nbmp# x0123456789abcd\nefghijklmnopq")
		s.CursorAt(6, 3)
		s.Type("\r")
		r.got("x0123456789abcdefghijklmnopq", nil)
	})
	t.Run("async lines above the line being typed", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
		r.read(1)
		s.Type("show cl")
		s.Shows("bmp# show cl")
		fmt.Fprintln(r.ed.Async(), "[05:12:02.211] Client UP")
		s.Shows("[05:12:02.211] Client UP\nbmp# show cl")
		s.Type("ients\r")
		r.got("show clients", nil)
		s.Shows("[05:12:02.211] Client UP\nbmp# show clients")
	})
	t.Run("async lines while a command runs", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{})
		fmt.Fprintln(r.ed.Async(), "event")
		s.Shows("event")
		r.read(1)
		s.Type("x\r")
		r.got("x", nil)
	})
	t.Run("output without a newline does not glue to the prompt", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{})
		fmt.Fprint(r.ed.Out(), "no newline")
		r.read(1)
		s.Shows("no newline\nbmp#")
	})
	t.Run("Ctrl-C shows itself", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{})
		r.read(2)
		s.Type("abc\x03")
		r.got("", ErrInterrupt)
		s.Shows("bmp# abc^C\nbmp#")
	})
	t.Run("a new width", func(t *testing.T) {
		s := edittest.New(t, 40, 24)
		r := newReader(t, s, ReadlineOptions{})
		r.read(1)
		s.Type("0123456789")
		s.Shows("bmp# 0123456789")
		s.Resize(60, 24)
		s.Type("abcdefghijklmnopqrstuvwxyz0123456789\r")
		r.got("0123456789abcdefghijklmnopqrstuvwxyz0123456789", nil)
		s.Shows("bmp# 0123456789abcdefghijklmnopqrstuvwxyz0123456789")
	})
}

func TestReadlineSearch(t *testing.T) {
	s := edittest.New(t, 80, 24)
	r := newReader(t, s, ReadlineOptions{})
	r.read(8)
	s.Type("show clients\rshow peers\r")
	r.got("show clients", nil)
	r.got("show peers", nil)
	s.Type("\x12cli")
	s.Until("the line found", func(text string) bool { return strings.Contains(text, "bck-i-search: cli") })
	s.Type("\r")
	r.got("show clients", nil)
	s.Type("\x12nothing like this")
	s.Until("the search failing", func(text string) bool { return strings.Contains(text, "failing bck-i-search") })
	s.Type("\x03")
	r.got("", ErrInterrupt)
	s.Type("x\r")
	r.got("x", nil)
	s.Type("\x1b[A\x1b[A\x1b[A\r")
	r.got("show peers", nil)
	s.Type("y\x1b[A\x1b[B\r")
	r.got("y", nil)
}

func TestReadlineSearchGivenUp(t *testing.T) {
	begin := func(t *testing.T, lines int) (*edittest.Screen, *reader) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{})
		r.read(lines + 3)
		for i := range lines {
			s.Type(fmt.Sprintf("show client %d\r", i))
			r.got(fmt.Sprintf("show client %d", i), nil)
		}
		s.Type("half\x12cli\x12")
		s.Until("an older line", func(text string) bool {
			return strings.Contains(text, fmt.Sprintf("bmp# show client %d\nbck-i-search: cli", lines-2))
		})
		return s, r
	}
	t.Run("Ctrl-C drops the line found, too", func(t *testing.T) {
		s, r := begin(t, 3)
		s.Type("\x03")
		r.got("", ErrInterrupt)
		s.Type("\r")
		r.got("", nil)
	})
	t.Run("Ctrl-G brings back what was typed, at the end of the history", func(t *testing.T) {
		s, r := begin(t, 3)
		s.Type("\x07")
		s.Ends("show client 2\nbmp# half")
		s.Type(" a line\r")
		r.got("half a line", nil)
		s.Type("\x1b[A\x1b[A\r")
		r.got("show client 2", nil)
	})
	t.Run("Ctrl-G without a search does nothing", func(t *testing.T) {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{})
		r.read(1)
		s.Type("sh\x07ow\r")
		r.got("show", nil)
	})
}

// manyWords are more than a page.
var manyWords = func() fakeAssistant {
	var f fakeAssistant
	for i := range 12 {
		f.words = append(f.words, Item{Text: fmt.Sprintf("word%02d", i)})
	}
	return f
}()

func TestTablePages(t *testing.T) {
	begin := func(t *testing.T, o ReadlineOptions) (*edittest.Screen, *reader) {
		s := edittest.New(t, 40, 6)
		o.Assistant = manyWords
		r := newReader(t, s, o)
		r.read(1)
		return s, r
	}
	const first = "bmp# w?\n  word00\n  word01\n  word02\n  word03\n"
	t.Run("space, Enter, and the line again", func(t *testing.T) {
		s, r := begin(t, ReadlineOptions{})
		s.Type("w?")
		s.Shows(first + "--More--")
		s.Type(" ")
		s.Shows("  word04\n  word05\n  word06\n  word07\n  word08\n--More--")
		s.Type("\r")
		s.Shows("  word05\n  word06\n  word07\n  word08\n  word09\n--More--")
		s.Type(" ")
		s.Shows("  word07\n  word08\n  word09\n  word10\n  word11\nbmp# w")
		s.Type("x\r")
		r.got("wx", nil)
	})
	t.Run("q leaves the rest, and is not typed", func(t *testing.T) {
		s, r := begin(t, ReadlineOptions{})
		s.Type("word\t")
		s.Ends("word04\n--More--"[len("word04\n"):])
		s.Type("q")
		s.Ends("bmp# word")
		s.Type("1\r")
		r.got("word1", nil)
	})
	t.Run("Ctrl-C leaves the rest, and keeps the line", func(t *testing.T) {
		s, r := begin(t, ReadlineOptions{})
		s.Type("w?")
		s.Ends("--More--")
		s.Type("\x03")
		s.Ends("bmp# w")
		s.Type("x\r")
		r.got("wx", nil)
	})
	t.Run("a read that is called off", func(t *testing.T) {
		s, r := begin(t, ReadlineOptions{})
		s.Type("w?")
		s.Ends("--More--")
		r.stop()
		r.got("", context.Canceled)
	})
	t.Run("lines that came meanwhile", func(t *testing.T) {
		s, r := begin(t, ReadlineOptions{})
		s.Type("w?")
		s.Ends("--More--")
		fmt.Fprintln(r.ed.Async(), "an event")
		s.Type("q")
		s.Ends("an event\nbmp# w")
	})
	t.Run("all at once where pages have no length", func(t *testing.T) {
		s, r := begin(t, ReadlineOptions{PageLength: func() int { return 0 }})
		s.Type("w?")
		s.Ends("  word11\nbmp# w")
		s.Type("\r")
		r.got("w", nil)
	})
}

func TestReadlinePaste500Lines(t *testing.T) {
	for _, bracketed := range []bool{false, true} {
		s := edittest.New(t, 80, 24)
		r := newReader(t, s, ReadlineOptions{})
		r.read(500)
		var b strings.Builder
		for i := range 500 {
			fmt.Fprintf(&b, "show client %d\r", i)
		}
		text := b.String()
		if bracketed {
			text = "\x1b[200~" + text + "\x1b[201~"
		}
		go s.Type(text)
		for i := range 500 {
			r.got(fmt.Sprintf("show client %d", i), nil)
		}
	}
}

func TestReadlineTypedAheadAndInterrupts(t *testing.T) {
	s := edittest.New(t, 80, 24)
	r := newReader(t, s, ReadlineOptions{})
	s.Type("typed ahead")
	s.Type("\x03")
	<-r.ed.Interrupts()
	s.Type("next\r")
	r.read(1)
	r.got("next", nil)
}

func TestReadlineHalfTypedLineSurvives(t *testing.T) {
	s := edittest.New(t, 80, 24)
	r := newReader(t, s, ReadlineOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	r.ctx = ctx
	r.read(1)
	s.Type("show cli")
	s.Shows("bmp# show cli")
	cancel()
	r.got("", context.Canceled)
	r.ctx = context.Background()
	r.read(1)
	s.Until("the line again", func(text string) bool { return strings.HasSuffix(text, "bmp# show cli") })
	s.Type("ents\r")
	r.got("show clients", nil)
}

// TestReadlineManyEvents is the flood of a debug: a thousand lines while
// somebody types. The line typed is whole, and so is every line shown.
func TestReadlineManyEvents(t *testing.T) {
	s := edittest.New(t, 80, 24)
	r := newReader(t, s, ReadlineOptions{Assistant: routerWords})
	r.read(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 1000 {
			fmt.Fprintf(r.ed.Async(), "event %d of a router\n", i)
		}
	}()
	for _, k := range []string{"s", "h", "\t", "c", "l", "?", "i", "\t", "s", "\x1b[D", "\x1b[C"} {
		s.Type(k)
	}
	<-done
	s.Until("the line and all events", func(text string) bool {
		return strings.Contains(text, "event 999 of a router\n") && strings.HasSuffix(text, "\nbmp# show clients")
	})
	fmt.Fprintln(r.ed.Async(), "last event")
	s.Until("the last event and the line", func(text string) bool {
		return strings.HasSuffix(text, "last event\nbmp# show clients")
	})
	text, _, _ := s.Text()
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, "event") && !strings.HasSuffix(l, "of a router") || strings.Contains(l, "bmp#") && strings.Contains(l, "event") {
			t.Errorf("a damaged line: %q", l)
		}
	}
	s.Type("\r")
	r.got("show clients", nil)
}

func TestHistoryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bmp", "history")
	h := &History{Path: path, Secret: func(l string) bool { return strings.HasPrefix(l, "auth ") }}
	other := &History{Path: path}
	for i := range 3 {
		if err := h.Add(fmt.Sprintf("show client %d", i)); err != nil {
			t.Fatal(err)
		}
		if err := other.Add(fmt.Sprintf("show peer %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Add("auth token secret"); err != nil {
		t.Fatal(err)
	}
	lines, err := h.Load()
	want := "show client 0,show peer 0,show client 1,show peer 1,show client 2,show peer 2"
	if got := strings.Join(lines, ","); got != want || err != nil {
		t.Errorf("history %q, %v; want %q", got, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for i := range 2*maxHistory + 5 {
		if err := h.Add(fmt.Sprintf("a line that is long enough %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	lines, err = h.Load()
	if err != nil || len(lines) != maxHistory || lines[maxHistory-1] != fmt.Sprintf("a line that is long enough %d", 2*maxHistory+4) {
		t.Errorf("%d lines, newest %q, %v", len(lines), lines[len(lines)-1], err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2*maxHistory*64 {
		t.Errorf("size %v, %v", info.Size(), err)
	}
}
