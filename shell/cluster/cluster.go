package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"bmp/proto/carrier"
	"bmp/proto/control"
)

// Place is what the address of a target leads to.
type Place struct {
	URL     string // of servers, by commas
	Station string // empty: the target names the cluster alone
}

// ParsePlace reads HOST[,HOST...][/STATION], the address of a nats:// target. A host may have a port behind it and a name
// and password before it.
func ParsePlace(address string) (Place, error) {
	hosts, station, named := strings.Cut(address, "/")
	var urls []string
	for h := range strings.SplitSeq(hosts, ",") {
		if h == "" {
			return Place{}, fmt.Errorf("'nats://%s': expected HOST[,HOST...][/STATION]", Redacted(address))
		}
		urls = append(urls, "nats://"+h)
	}
	if named && station != "" {
		if err := control.ValidName(station); err != nil {
			return Place{}, err
		}
	}
	return Place{strings.Join(urls, ","), station}, nil
}

// Redacted is an address of a target, or a URL, as it may be shown: without passwords and tokens.
func Redacted(address string) string {
	list := strings.Split(address, ",")
	for i, h := range list {
		scheme, rest := "", h
		if j := strings.Index(h, "://"); j >= 0 {
			scheme, rest = h[:j+3], h[j+3:]
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			who, _, pair := strings.Cut(rest[:at], ":")
			if pair {
				who += ":xxxxx"
			} else {
				who = "xxxxx" // a token
			}
			rest = who + rest[at:]
		}
		list[i] = scheme + rest
	}
	return strings.Join(list, ",")
}

// Environment are the options that NATS_CREDS, NATS_NKEY, NATS_USER with NATS_PASSWORD (or, without a password, a token),
// NATS_CA, NATS_CERT and NATS_KEY ask for, as for the program nats. Files are read when a connection is made.
func Environment(env func(string) string) ([]nats.Option, error) {
	var opts []nats.Option
	if f := env("NATS_CREDS"); f != "" {
		opts = append(opts, nats.UserCredentials(f))
	}
	if f := env("NATS_NKEY"); f != "" {
		o, err := nats.NkeyOptionFromSeed(f)
		if err != nil {
			return nil, fmt.Errorf("NATS_NKEY %s: %w", f, err)
		}
		opts = append(opts, o)
	}
	switch name, password := env("NATS_USER"), env("NATS_PASSWORD"); {
	case name != "" && password == "":
		opts = append(opts, nats.Token(name))
	case name != "":
		opts = append(opts, nats.UserInfo(name, password))
	}
	if f := env("NATS_CA"); f != "" {
		opts = append(opts, nats.RootCAs(f))
	}
	switch cert, key := env("NATS_CERT"), env("NATS_KEY"); {
	case cert != "" && key != "":
		opts = append(opts, nats.ClientCert(cert, key))
	case cert != "" || key != "":
		return nil, errors.New("NATS_CERT and NATS_KEY: one of them is missing")
	}
	return opts, nil
}

// Variables are the names that Environment reads, and what they are.
var Variables = [][2]string{
	{"NATS_CREDS, NATS_NKEY", "files with which to log in to NATS"},
	{"NATS_USER, NATS_PASSWORD", "a name and password for NATS; the first alone is a token"},
	{"NATS_CA, NATS_CERT, NATS_KEY", "files for TLS with NATS: who is trusted, and who one is"},
}

// Connect timeouts and waits.
const (
	connectTime = 5 * time.Second
	reconnect   = 200 * time.Millisecond
)

func connect(ctx context.Context, place Place, more ...nats.Option) (*nats.Conn, error) {
	opts, err := Environment(os.Getenv)
	if err != nil {
		return nil, err
	}
	wait := connectTime
	if by, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(by))
	}
	opts = append([]nats.Option{nats.Name("bmp shell"), nats.Timeout(wait), nats.MaxReconnects(-1), nats.ReconnectWait(reconnect),
		nats.ReconnectBufSize(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, append(opts, more...)...)
	nc, err := nats.Connect(place.URL, opts...)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		nc.Close()
		return nil, context.Cause(ctx)
	}
	return nc, nil
}

// ErrNoStation is a station that does not answer.
var ErrNoStation = errors.New("no such station in the cluster, or it is away")

// noResponders is the status of a message by which a server says that nobody listens.
const noResponders = "503"

// Dial opens a console on the station of a place. ctx bounds the opening; the error is ErrNoStation where nobody answers
// to the name.
func Dial(ctx context.Context, place Place) (net.Conn, error) {
	denied := make(chan error, 1)
	nc, err := connect(ctx, place, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case denied <- err:
		default:
		}
	}))
	if err != nil {
		return nil, err
	}
	inbox := nc.NewInbox()
	first, made := make(chan *nats.Msg, 1), make(chan struct{})
	var c *carrier.Conn
	begun := false // of the goroutine of the subscription alone
	_, err = nc.Subscribe(inbox, func(m *nats.Msg) {
		if !begun {
			begun = true
			first <- m
			<-made
			return
		}
		if c != nil {
			receive(c, m)
		}
	})
	defer close(made)
	if err == nil {
		f := carrier.Frame{Room: carrier.Options{}.Room(), Who: who()}
		err = nc.PublishMsg(&nats.Msg{Subject: carrier.ConsoleSubject(place.Station), Reply: inbox, Header: f.Header()})
	}
	var m *nats.Msg
	if err == nil {
		select {
		case m = <-first:
		case err = <-denied:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	f, err := carrier.ParseFrame(m.Header, m.Data)
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") == noResponders:
		err = ErrNoStation
	case m.Header.Get("Nats-Service-Error") != "":
		err = errors.New(m.Header.Get("Nats-Service-Error"))
	case err == nil && m.Reply == "":
		err = errors.New("a frame that names no place to answer to")
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	to := m.Reply
	c = carrier.New(carrier.Options{Local: inbox, Remote: to}, f.Room, func(f carrier.Frame) error {
		return nc.PublishMsg(&nats.Msg{Subject: to, Reply: inbox, Header: f.Header(), Data: f.Data})
	}, func() {
		_ = nc.FlushTimeout(reconnect) // the last frame, if there is a server
		nc.Close()
	})
	c.Receive(f)
	return console{c}, nil
}

// console is a stream whose end the station hears of before the process goes.
type console struct{ *carrier.Conn }

// goodbye is how long it is given for that.
const goodbye = 300 * time.Millisecond

func (c console) Close() error {
	err := c.Conn.Close()
	late := time.NewTimer(goodbye)
	defer late.Stop()
	select {
	case <-c.Done():
	case <-late.C:
	}
	return err
}

// receive gives a message to the stream.
func receive(c *carrier.Conn, m *nats.Msg) {
	if len(m.Data) == 0 && m.Header.Get("Status") == noResponders {
		c.Unreachable()
		return
	}
	if f, err := carrier.ParseFrame(m.Header, m.Data); err == nil {
		c.Receive(f)
	}
}

// who says to a station who asks.
func who() string {
	name := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}
