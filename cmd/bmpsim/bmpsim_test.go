package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bmp/proto/bmp"
)

// counts is what one connection sent.
type counts struct {
	messages int
	names    string
	err      error
}

// station listens on loopback. each, if not nil, is told the number of messages so far of a connection.
func station(t *testing.T, each func(int)) (addr string, ended <-chan counts) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan counts, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				out <- count(c, each)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), out
}

func count(r io.Reader, each func(int)) (n counts) {
	frames := bmp.NewReader(r, bmp.ReaderOptions{})
	var p bmp.Parser
	for {
		f, err := frames.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				n.err = err
			}
			return n
		}
		m, err := p.Parse(f)
		if err != nil {
			n.err = err
			return n
		}
		if i, ok := m.(*bmp.Initiation); ok {
			n.names += i.SysName()
		}
		n.messages++
		if each != nil {
			each(n.messages)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args   string
		status int
		want   string // in what it prints
	}{
		{"", 0, "bmpsim replay"},
		{"--help", 0, "Exit status:"},
		{"-routers 3", 2, "% ADDR:PORT is missing (try 'bmpsim help')"},
		{"-bogus 127.0.0.1:1", 2, "flag provided but not defined: -bogus"},
		{"-ipv6 2 127.0.0.1:1", 2, "a share that is not from 0 to 1"},
		{"-views nonsense 127.0.0.1:1", 2, `no such view: "nonsense"`},
		{"-routers 0 127.0.0.1:1", 2, "0 routers"},
		{"127.0.0.1:1 x", 2, `what is "x"?`},
		{"127.0.0.1:99999", 2, "is not ADDR:PORT"},
		{"-o x 127.0.0.1:1", 2, "either a file or a station"},
		{"replay", 2, "FILE is missing"},
		{"replay x", 2, "ADDR:PORT is missing"},
		{"replay x 1111 speed", 2, "speed: a number, or max"},
		{"replay x 1111 speed -1", 2, "-1"},
		{"replay x 1111 speed 0", 2, "speed 0: a number above 0, or max"},
		{"replay x 1111 bogus", 2, `what is "bogus"?`},
		{"replay x 1111 -port 70000", 2, "-port 70000"},
		{"replay /nonexistent 1111", 1, "no such file"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), strings.Fields(test.args), &out, &errs)
		if all := out.String() + errs.String(); status != test.status || !strings.Contains(all, test.want) {
			t.Errorf("bmpsim %s: status %d, printed %q", test.args, status, all)
		}
		if (status == 0) != (errs.Len() == 0) {
			t.Errorf("bmpsim %s: status %d with %q on standard error", test.args, status, errs.String())
		}
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	name := filepath.Join(t.TempDir(), "stream")
	if status := run(t.Context(), []string{"-o", name}, io.Discard, io.Discard); status != 0 {
		t.Fatalf("-o: status %d", status)
	}
	for _, args := range [][]string{{addr}, {"replay", name, addr}} {
		var errs bytes.Buffer
		if status := run(t.Context(), args, io.Discard, &errs); status != statusNoConnection || !strings.HasPrefix(errs.String(), "% ") {
			t.Errorf("%v: status %d, %q", args, status, errs.String())
		}
	}
}

func TestSimulatedAndReplayed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "stream")
	args := strings.Fields("-seed 7 -peers 2 -routes 200 -ipv6 0.5 -views adj-in-pre,loc-rib -changes 50 -name r%d")
	if status := run(t.Context(), append(args, "-o", name), io.Discard, io.Discard); status != 0 {
		t.Fatalf("-o: status %d", status)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := count(f, nil)
	if want.err != nil || want.names != "r1" || want.messages < 100 {
		t.Fatalf("the file has %+v", want)
	}
	addr, ended := station(t, nil)
	for _, args := range [][]string{append(args, addr), {"replay", name, addr, "speed", "max"}, {"replay", name, addr, "speed", "1000"}} {
		var out, errs bytes.Buffer
		if status := run(t.Context(), args, &out, &errs); status != 0 {
			t.Errorf("%v: status %d, %s", args, status, errs.String())
		}
		if got := <-ended; got != want {
			t.Errorf("%v: the station got %+v, want %+v", args, got, want)
		}
		if !strings.Contains(out.String(), "1 router") {
			t.Errorf("%v printed %q", args, out.String())
		}
	}

	// A file cut short: what is there is played, the status is 1, and the place is told.
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b[:len(b)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	if status := run(t.Context(), []string{"replay", name, addr, "speed", "max"}, io.Discard, &errs); status != 1 || !strings.Contains(errs.String(), "at byte") {
		t.Errorf("cut short: status %d, %s", status, errs.String())
	}
	if got := <-ended; got.messages != want.messages-1 {
		t.Errorf("of the file cut short the station got %d messages, want %d", got.messages, want.messages-1)
	}
}

func TestHoldEndsWithTheSignal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "stream")
	if status := run(t.Context(), []string{"-o", name}, io.Discard, io.Discard); status != 0 {
		t.Fatalf("-o: status %d", status)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := count(f, nil)
	for _, args := range [][]string{{"-hold"}, {"replay", name, "speed", "max", "hold"}} {
		all := make(chan struct{})
		addr, ended := station(t, func(n int) {
			if n == want.messages {
				close(all)
			}
		})
		if args[0] == "replay" {
			args = append([]string{"replay", name, addr}, args[2:]...)
		} else {
			args = append(args, addr)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan int, 1)
		go func() { got <- run(ctx, args, io.Discard, io.Discard) }()
		<-all
		select {
		case c := <-ended:
			t.Errorf("%v: the connection ended by itself after %+v", args, c)
		default:
		}
		cancel()
		if status := <-got; status != 0 {
			t.Errorf("%v: status %d", args, status)
		}
		<-ended
	}
}

// Interrupted before everything is sent: status 130.
func TestInterrupted(t *testing.T) {
	some := make(chan struct{})
	addr, ended := station(t, func(n int) {
		if n == 100 {
			close(some)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan int, 1)
	go func() { got <- run(ctx, []string{"-changes", "-1", "-rate", "1", addr}, io.Discard, io.Discard) }()
	<-some
	cancel()
	if status := <-got; status != statusInterrupted {
		t.Errorf("status %d", status)
	}
	<-ended
}
