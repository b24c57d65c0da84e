package shell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"bmp/proto/control"
	"bmp/shell/edit"
)

// What a console is given, for its memory is the station's.
const (
	consoleTypeAhead = 256 << 10 // runes typed while nothing reads them
	consoleReply     = 1 << 20   // bytes of a reply that wait for the screen
)

// How long a console waits.
const (
	consoleAnswer  = 300 * time.Millisecond // for the client to tell its size, before the first prompt
	consoleGoodbye = time.Second            // at the end, for what is under way to be heard
)

// errOwnEcho is the end of an editor whose client echoes by itself: each key would be seen twice.
var errOwnEcho = errors.New("the telnet client refuses remote echo")

// Console is the shell on a telnet connection, run by the station: engine.Options.Console. conn is the connection, behind the
// words that asked for the editor; ctl is a pipe into the control server, with the connection's role. It returns when the shell
// was left, or when the connection or ctx has ended; with control.Plain to go back to plain lines. Nothing of it goes on then.
//
// The terminal of somebody far away is left as it is found: no mode is set in it that a lost connection would leave behind.
func Console(ctx context.Context, conn, ctl net.Conn) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTelnet(conn, cancel)
	t.begin()
	assistant := new(Assistant)
	ed, err := edit.NewReadline(edit.ReadlineOptions{
		In: t, Out: t, Assistant: assistant, Size: t.size, Resized: t.resized, TypeAhead: consoleTypeAhead,
		PageLength: func() int { _, rows := t.size(); return assistant.pageLength(rows) },
	})
	if err != nil {
		return err
	}
	t.await(consoleAnswer, func() bool { return t.refused || t.cols > 0 || t.him[optionNAWS] == optionNo })
	s := New(Options{
		Station: Station{Name: "the station"},
		Dial: func(ctx context.Context, event func(control.Line)) (*control.Client, error) {
			return control.NewClient(ctx, ctl, control.ClientOptions{Product: Product, MaxBuffer: consoleReply, Event: func(l control.Line) {
				if l.Code != control.CodeStopping { // said below, when everything else has ended
					event(l)
				}
			}})
		},
		Editor: ed, Assistant: assistant, Stderr: ed.Out(), Terminal: true, Remote: true,
	})
	left := make(chan struct{}) // closed when the shell has ended
	hurried := make(chan struct{})
	hurry := context.AfterFunc(ctx, func() {
		defer close(hurried)
		select {
		case <-left:
		case <-time.After(consoleGoodbye):
			_ = conn.SetWriteDeadline(time.Unix(1, 0)) // of a console that does not read
		}
	})
	if !t.refuses() {
		s.Run(running)
	}
	if ctx.Err() != nil {
		fmt.Fprintf(ed.Out(), "\r\n%% %v\n", context.Cause(ctx))
	}
	close(left)
	if !hurry() {
		<-hurried
	}
	if ctx.Err() == nil && (s.plain || t.refuses()) {
		return t.plain(ed)
	}
	err = ed.Close()
	_ = conn.SetWriteDeadline(time.Unix(1, 0)) // answers of telnet are not waited for any more
	t.stop()
	if t.written != nil {
		return t.written
	}
	return err
}

// plain ends the editor and gives the connection back as it was, with what was typed ahead.
func (t *telnet) plain(ed *edit.Readline) error {
	text := "200 Plain lines\n"
	if t.refuses() {
		text = "200 Plain lines: " + errOwnEcho.Error() + "\n"
	}
	t.end(consoleGoodbye)
	t.stop()
	ahead := []byte(strings.ReplaceAll(ed.Ahead(), "\r", "\r\n"))
	if err := ed.Close(); err != nil {
		return err
	}
	if _, err := t.Write([]byte(text)); err != nil {
		return err
	}
	return control.Plain(ahead)
}
