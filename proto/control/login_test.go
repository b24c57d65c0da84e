package control

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bmp/proto/grammar"
)

// A connection that may do nothing until auth does not stay for ever, and talking does not help it.
func TestConnectionWithoutLoginIsClosed(t *testing.T) {
	s := NewServer(ServerOptions{Handler: treeOnly{}})
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(t.Context(), here, Link{Who: "test", TCP: true, Token: true, Login: 50 * time.Millisecond})
	}()
	there.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(there, "show version\r\n")
	r := bufio.NewReader(there)
	var text strings.Builder
	if _, err := io.Copy(&text, r); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != errNoLogin {
		t.Errorf("ended with %v, want %v", err, errNoLogin)
	}
	for _, want := range []string{"role=none", "401 ", "603+No login for 50ms, closing"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q lacks %q", text.String(), want)
		}
	}
}

func TestAuthGivesAtMostWhatTheListenerDoes(t *testing.T) {
	keys := func() []Key { return []Key{{RoleAdmin, "an-admin-secret"}} }
	s := NewServer(ServerOptions{Handler: treeOnly{}, Keys: keys})
	for most, want := range map[Role]string{RoleNone: "role=admin", RoleView: "role=view", RoleAdmin: "role=admin"} {
		here, there := net.Pipe()
		go s.Serve(t.Context(), here, Link{Who: "test", Token: true, Most: most, Login: time.Hour})
		there.SetDeadline(time.Now().Add(10 * time.Second))
		go io.WriteString(there, "auth token an-admin-secret\r\nexit\r\n")
		text, err := io.ReadAll(there)
		if err != nil || !strings.Contains(string(text), "202 Authenticated "+want) {
			t.Errorf("most %s: %q, %v; want %s", most, text, err, want)
		}
	}
}

// treeOnly is a handler of no commands.
type treeOnly struct{}

func (treeOnly) Tree() *grammar.Tree                             { return grammar.Must(grammar.New(nil, nil)) }
func (treeOnly) Execute(context.Context, *Request, *Reply) error { return nil }
func (treeOnly) Values(context.Context, *Request, string, string, *grammar.Match) []grammar.Candidate {
	return nil
}
