package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bmp/cmd/internal/quantity"
	"bmp/cmd/internal/replay"
	"bmp/engine/client"
	"bmp/proto/control"
	"bmp/proto/grammar"
	"bmp/shell"
)

// recordWords are the words of `bmp record FILE [client X]`.
type recordWords struct {
	file string
	who  string // client X; empty: all, or the only one
}

const recordUsage = "bmp record FILE [client X]"

func parseRecord(words []string) (r recordWords, err error) {
	switch {
	case len(words) == 0:
		return r, badUsage("Incomplete command: record (expected: FILE)")
	case len(words) > 3, len(words) > 1 && words[1] != "client":
		return r, badUsage("Invalid input: %s (usage: %s)", words[min(len(words)-1, 3)], recordUsage)
	case len(words) == 2:
		return r, badUsage("Incomplete command: record %s client (expected: X)", words[0])
	case len(words) == 3:
		r.who = words[2]
	}
	r.file = words[0]
	return r, nil
}

// recordFile records what arrives at a station until Ctrl-C. A session that is up when the recording begins is told in
// short first, so that each recorded session can be played by itself. When the station goes, it waits for it to come back.
func recordFile(inv *invocation) int {
	ctx, stop := untilInterrupt()
	defer stop()
	r := &recording{recordWords: inv.record, out: os.Stdout, err: os.Stderr}
	s, err := shell.Find(inv.target)
	if err == nil {
		err = r.create()
	}
	if err != nil {
		return shell.PrintError(os.Stderr, false, err)
	}
	err = r.run(ctx, s)
	if cerr := r.close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil && ctx.Err() == nil:
		return shell.PrintError(os.Stderr, false, err)
	case err != nil:
		shell.PrintError(os.Stderr, false, err)
	case r.made == 0:
		r.say("Nothing was recorded")
	}
	return control.ExitStatus(control.CodeCancelled)
}

// recording is one being made. It is for one goroutine.
type recording struct {
	recordWords
	out, err io.Writer
	kind     replay.Kind
	w        replay.Writer // nil: there is no file to write to yet
	name     string        // of the file
	made     int           // files
	client   uint32        // the only one, where the kind of file holds no more; 0: it has not come yet
	told     map[uint32]bool
	sessions map[int]netip.AddrPort // by the number of their feed
	feeds    int                    // the highest number of earlier connections to the station
	last     int                    // of all

	messages int
	bytes    int64
}

// one says that a file holds one client alone.
func (r *recording) one() bool { return r.kind != replay.PCAP }

func (r *recording) create() (err error) {
	if r.kind, err = replay.WriterKind(r.file); err != nil {
		return err
	}
	r.sessions, r.told = make(map[int]netip.AddrPort), make(map[uint32]bool)
	return r.open(r.file)
}

func (r *recording) open(name string) (err error) {
	r.w, err = replay.Create(name)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already", name)
	}
	if err != nil {
		return err
	}
	r.name, r.made = name, r.made+1
	r.messages, r.bytes = 0, 0
	return nil
}

// next opens a further file, as a file of raw BMP holds one session: edge.bmp, edge.2.bmp.
func (r *recording) next() error {
	if r.made == 0 {
		return r.open(r.file)
	}
	ext := filepath.Ext(r.file)
	for {
		name := fmt.Sprintf("%s.%d%s", strings.TrimSuffix(r.file, ext), r.made+1, ext)
		err := r.open(name)
		if err == nil {
			return nil
		}
		if _, there := os.Stat(name); there != nil {
			return err
		}
		r.made++ // of an earlier recording
	}
}

// close ends the file, and says what is in it. One without a message does not stay.
func (r *recording) close() error {
	if r.w == nil {
		return nil
	}
	clear(r.sessions) // they go on, and the file does not say otherwise
	err := r.w.Close()
	if r.messages == 0 {
		r.w = nil
		r.made--
		return errors.Join(err, os.Remove(r.name)) // it was made by us
	}
	fmt.Fprintf(r.out, "%s: %s, %s\n", r.name, quantity.Of(r.messages, "message"), quantity.Bytes(r.bytes))
	for _, what := range r.w.Left() {
		fmt.Fprintf(r.err, "%% Left out: %s\n", what)
	}
	r.w = nil
	return err
}

func (r *recording) say(format string, args ...any) {
	fmt.Fprintf(r.err, format+"\n", args...)
}

// run records over one connection to the station after the other.
func (r *recording) run(ctx context.Context, s shell.Station) error {
	for first := true; ; first = false {
		lost := false
		c, err := s.Dial(ctx, nil)
		if err == nil {
			if first {
				err = r.choose(ctx, c)
			}
			if err == nil {
				lost, err = r.connection(ctx, c, first)
			}
			c.Close()
		} else if !first {
			lost = true
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case !lost:
			return err
		}
		for n := range r.sessions {
			if err := r.end(n, "connection to the station lost"); err != nil {
				return err
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// choose refuses a recording of several clients into a file that holds one.
func (r *recording) choose(ctx context.Context, c *control.Client) error {
	if r.who != "" || !r.one() {
		return nil
	}
	var up []string
	v, err := c.Do(ctx, "show clients | json lines", func(l control.Line) error {
		var x struct {
			ID      uint32  `json:"id"`
			Address string  `json:"address"`
			State   string  `json:"state"`
			Name    *string `json:"name"`
		}
		if l.Code == control.CodeJSON && json.Unmarshal([]byte(l.Text), &x) == nil && x.State == "up" {
			name := x.Address
			if x.Name != nil && *x.Name != "" {
				name = *x.Name
			}
			up = append(up, fmt.Sprintf("* %d %s", x.ID, name))
		}
		return nil
	})
	if err == nil {
		err = v.Err()
	}
	if err == nil && len(up) > 1 {
		err = &control.Error{Code: control.CodeConflict, Text: fmt.Sprintf("Multiple clients - a %s file holds one: specify it by 'client X', or record to a .pcap file\n\n%s", r.kind, strings.Join(up, "\n"))}
	}
	return err
}

// connection records until the connection is lost, the recording cancelled, or something is wrong.
func (r *recording) connection(ctx context.Context, c *control.Client, first bool) (lost bool, err error) {
	line := "feed"
	if r.who != "" {
		line += " client " + grammar.Quote(r.who)
	}
	if !first {
		r.say("The station is back")
	}
	r.feeds = r.last
	var failed error
	v, err := c.Do(ctx, line, func(l control.Line) error {
		switch l.Code {
		case control.CodeRow:
			failed = r.row(l.Text)
		case control.CodeWarning: // it waits for a client
			r.say("%s", l.Text)
		}
		return failed
	})
	switch {
	case failed != nil:
		return false, failed
	case ctx.Err() != nil:
		return false, nil
	case err != nil || v.Err() != nil && v.Code != control.CodeNotFound && ends(c):
		r.say("%% Connection to the station lost; waiting for it")
		return true, nil
	}
	return false, v.Err()
}

// ends says whether the station ends the connection: then what it answered is no more than its good-bye.
func ends(c *control.Client) bool {
	select {
	case <-c.Done():
		return true
	case <-time.After(time.Second):
		return false
	}
}

// row takes one line of the station's feed.
func (r *recording) row(text string) error {
	verb, rest, _ := strings.Cut(text, " ")
	if verb == "begin" {
		return r.begin(rest)
	}
	number, rest, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("the station's feed: %q", text[:min(len(text), 40)])
	}
	n += r.feeds
	if _, ok := r.sessions[n]; !ok {
		return nil // of a client that is not recorded
	}
	switch verb {
	case "data":
		batch, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return fmt.Errorf("the station's feed: %w", err)
		}
		if err := client.EachFed(batch, func(m *client.FeedMessage) error {
			r.messages++
			r.bytes += int64(len(m.Raw))
			return r.w.Message(n, &replay.Message{Time: m.Time, Context: m.Context, Raw: m.Raw})
		}); err != nil {
			return err
		}
		return r.w.Flush()
	case "end":
		return r.end(n, rest)
	case "lost":
		return r.end(n, "messages were lost: this recording is too slow; it begins anew")
	}
	return nil
}

// feedBegin is what the station says of a session.
type feedBegin struct {
	Feed   int            `json:"feed"`
	Client uint32         `json:"client"`
	Name   string         `json:"name"`
	Remote netip.AddrPort `json:"remote"`
	Local  netip.AddrPort `json:"local"`
	Late   bool           `json:"late"`
}

func (r *recording) begin(text string) error {
	var b feedBegin
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return fmt.Errorf("the station's feed: %w", err)
	}
	who := strings.TrimSpace(fmt.Sprintf("client %d (%s", b.Client, b.Name))
	who += strings.Repeat(" ", min(1, len(b.Name))) + b.Remote.String() + ")"
	if r.one() && r.client != 0 && r.client != b.Client {
		if !r.told[b.Client] {
			r.told[b.Client] = true
			r.say("%% Not recorded: %s; a %s file holds one client, a .pcap file all", who, r.kind)
		}
		return nil
	}
	if r.w == nil {
		if err := r.next(); err != nil {
			return err
		}
	}
	r.client = b.Client
	n := r.feeds + b.Feed
	r.last = max(r.last, n)
	r.sessions[n] = b.Remote
	r.say("Recording %s to %s", who, r.name)
	return r.w.Begin(n, b.Remote, b.Local, time.Now())
}

func (r *recording) end(n int, reason string) error {
	r.say("Session of %s is over (%s)", r.sessions[n], reason)
	delete(r.sessions, n)
	if err := r.w.End(n, time.Now()); err != nil {
		return err
	}
	if r.kind == replay.BMP {
		return r.close()
	}
	return r.w.Flush()
}
