package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowWriter is a terminal that somebody stopped, until go on is closed.
type slowWriter struct {
	goOn chan struct{}
	mu   sync.Mutex
	got  strings.Builder
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.goOn
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.Write(p)
}

func TestConsoleNeverBlocks(t *testing.T) {
	w := &slowWriter{goOn: make(chan struct{})}
	c, err := newConsole(w, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * consoleQueue { // would hang here
		c.Line(time.Now(), "event")
	}
	close(w.goOn)
	c.Close()
	text := w.got.String()
	if !regexp.MustCompile(`\d+ console lines dropped`).MatchString(text) {
		t.Errorf("nothing says that lines were dropped: %.200s", text)
	}
	if n := strings.Count(text, "event\n"); n < consoleQueue || n >= 3*consoleQueue {
		t.Errorf("%d lines written", n)
	}
}

func TestConsoleOnATerminal(t *testing.T) {
	var first, second strings.Builder
	c, err := newConsole(&first, "")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 5, 11, 33, 471e6, time.Local)
	c.Line(at, "Listening on port 1111")
	c.redirect(&second, true)
	c.Line(at, "BMP-1111-ADJCHANGE: Client 10.1.0.1:22011 UP")
	c.Close()
	if got, want := first.String(), "[05:11:33.471] Listening on port 1111\n"; got != want {
		t.Errorf("before the verdict %q, want %q", got, want)
	}
	if got, want := second.String(), "\n[05:11:33.471] BMP-1111-ADJCHANGE: Client 10.1.0.1:22011 UP\n"; got != want {
		t.Errorf("on the terminal %q, want %q", got, want)
	}
}

// goneWriter is a terminal that was closed.
type goneWriter struct{ writes int }

func (w *goneWriter) Write(p []byte) (int, error) {
	w.writes++
	return 0, errors.New("input/output error")
}

func TestConsoleStopsWhenTheTerminalIsGone(t *testing.T) {
	w := &goneWriter{}
	c, err := newConsole(w, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c.Line(time.Now(), "x")
		c.do(func() {}) // each line by itself
	}
	c.Close()
	if w.writes != 1 {
		t.Errorf("%d writes to a terminal that is gone", w.writes)
	}
}

func TestLogFileIsReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bmp.log")
	c, err := newConsole(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 5, 11, 33, 471e6, time.FixedZone("", 3600))
	c.Line(at, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	c.Line(at, "two")
	if err := c.reopen(); err != nil {
		t.Fatal(err)
	}
	c.Line(at, "three")
	c.Close()
	for file, want := range map[string]string{
		path + ".1": "2026-11-22T05:11:33.471+01:00 one\n2026-11-22T05:11:33.471+01:00 two\n",
		path:        "2026-11-22T05:11:33.471+01:00 three\n",
	} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", filepath.Base(file), got, err, want)
		}
	}
	if _, err := newConsole(nil, filepath.Join(t.TempDir(), "none", "bmp.log")); err == nil {
		t.Error("a log file that cannot be opened is no error")
	}
}
