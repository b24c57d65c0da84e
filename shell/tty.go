package shell

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"bmp/shell/edit"
)

// Interactive runs a shell on the process's standard input and output: with a
// line editor where both are a terminal, line by line elsewhere. o's Editor,
// Assistant, OpenEditor, Stderr, Terminal, History, RC and Env are filled in.
// begun, which may be nil, is given the writer for lines that come by
// themselves, once the editor is there. The terminal is as it was when
// Interactive returns.
func Interactive(ctx context.Context, o Options, begun func(async io.Writer)) int {
	o.Env, o.Stderr = os.Getenv, os.Stderr
	o.Terminal = term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
	if !o.Terminal {
		ed := edit.NewPlain(os.Stdin, os.Stdout, edit.PlainOptions{Signals: true})
		defer ed.Close()
		o.Editor = ed
		if begun != nil {
			begun(ed.Async())
		}
		return New(o).Run(ctx)
	}
	o.Assistant = new(Assistant)
	o.History = &edit.History{Path: historyPath()}
	o.RC = rcPath()
	t, err := openTTY(o.Assistant, o.History)
	if err != nil {
		return PrintError(os.Stderr, false, err)
	}
	defer t.Close()
	kind := "readline"
	if os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		kind = "plain"
	}
	o.OpenEditor = t.open
	if o.Editor, err = t.open(kind); err != nil {
		t.Close()
		return PrintError(os.Stderr, false, err)
	}
	s := New(o)
	o.History.Secret = s.Secret
	if begun != nil {
		begun(asyncWriter{s})
	}
	return s.Run(ctx)
}

// asyncWriter is the Async of whatever editor is in use.
type asyncWriter struct{ s *Shell }

func (w asyncWriter) Write(b []byte) (int, error) {
	w.s.mu.Lock()
	ed, watching := w.s.editor, w.s.watching
	w.s.mu.Unlock()
	if watching != nil {
		watching(string(b))
		return len(b), nil
	}
	return ed.Async().Write(b)
}

// tty is the process's terminal, which one editor has at a time.
type tty struct {
	terminal  *edit.Terminal
	assistant *Assistant
	history   *edit.History
	keys      io.Closer
	editor    edit.Editor
}

func openTTY(a *Assistant, h *edit.History) (*tty, error) {
	t, err := edit.OpenTerminal(os.Stdin, os.Stdout)
	if err != nil {
		return nil, err
	}
	return &tty{terminal: t, assistant: a, history: h}, nil
}

// open makes an editor in the place of the one before.
func (t *tty) open(kind string) (edit.Editor, error) {
	if kind == "popup" && !edit.HasPopup() {
		return nil, edit.ErrNoTerminal
	}
	if t.editor != nil {
		t.keys.Close()
		t.editor.Close()
	}
	keys := t.terminal.Keys()
	t.keys = keys
	o := edit.ReadlineOptions{In: keys, Out: os.Stdout, Assistant: t.assistant, Size: t.terminal.Size, Resized: t.terminal.Resized(),
		History: t.history, Lend: t.terminal.Lend, Paste: true, PageLength: t.pageLength}
	if err := t.terminal.Cook(kind == "plain"); err != nil {
		return nil, err
	}
	var err error
	switch kind {
	case "popup":
		t.editor, err = edit.NewPopup(o)
	case "plain":
		t.editor = edit.NewPlain(keys, os.Stdout, edit.PlainOptions{Prompt: true, Signals: true})
	default:
		t.editor, err = edit.NewReadline(o)
	}
	return t.editor, err
}

func (t *tty) pageLength() int {
	_, rows := t.terminal.Size()
	return t.assistant.pageLength(rows)
}

// Close gives the terminal back as it was.
func (t *tty) Close() {
	if t.editor != nil {
		t.keys.Close()
		t.editor.Close()
	}
	t.terminal.Close()
}

// historyPath is the file of the lines typed; "" where there is no place for it.
func historyPath() string {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "bmp", "history")
}

// rcPath is the file of settings and aliases.
func rcPath() string {
	base := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "bmp", "rc")
}
