package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Target says where a station is: TARGET of commands.md.
type Target struct {
	Network string // "port" (a local station, by its BMP port), "unix", "tcp", "tls", "nats"
	Address string // the port; the path; HOST:PORT; HOST[/STATION]
}

// ParseTarget reads PORT, HOST:PORT, unix:PATH, tls:HOST:PORT, nats://HOST[/STATION].
func ParseTarget(s string) (Target, error) {
	bad := fmt.Errorf("'%s' is no target: expected PORT, HOST:PORT, unix:PATH, tls:HOST:PORT or nats://HOST[/STATION]", s)
	if path, ok := strings.CutPrefix(s, "unix:"); ok && path != "" {
		return Target{"unix", path}, nil
	}
	if host, ok := strings.CutPrefix(s, "nats://"); ok && host != "" && host[0] != '/' {
		return Target{"nats", host}, nil
	}
	if !strings.Contains(s, ":") {
		if n, err := strconv.ParseUint(s, 10, 16); err != nil || n < 1 || n > 65534 {
			return Target{}, bad
		}
		return Target{"port", s}, nil
	}
	network, address := "tcp", s
	if rest, ok := strings.CutPrefix(s, "tls:"); ok {
		network, address = "tls", rest
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return Target{}, bad
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < 1 {
		return Target{}, bad
	}
	return Target{network, address}, nil
}

// String writes the target as ParseTarget reads it.
func (t Target) String() string {
	switch t.Network {
	case "unix", "tls":
		return t.Network + ":" + t.Address
	case "nats":
		return "nats://" + t.Address
	}
	return t.Address
}

// Dial connects and reads the greeting. A "port" target is found through RunningStations, then on loopback at PORT+1. Errors as
// NewClient's. "nats" targets are not for it: what reaches them is not of this package.
func Dial(ctx context.Context, t Target, o ClientOptions) (*Client, error) {
	o = o.filled()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	conn, err := dial(ctx, t, o)
	if err != nil {
		return nil, &LostError{err}
	}
	return NewClient(ctx, conn, o)
}

func dial(ctx context.Context, t Target, o ClientOptions) (net.Conn, error) {
	switch t.Network {
	case "unix", "tcp":
		return o.Dialer.DialContext(ctx, t.Network, t.Address)
	case "tls":
		d := tls.Dialer{NetDialer: o.Dialer, Config: o.TLS}
		return d.DialContext(ctx, "tcp", t.Address)
	case "port":
		return dialPort(ctx, t, o)
	}
	return nil, fmt.Errorf("a target of %s is not dialled here", t.Network)
}

// dialPort finds a station of this machine by its BMP port.
func dialPort(ctx context.Context, t Target, o ClientOptions) (net.Conn, error) {
	port, err := strconv.Atoi(t.Address)
	if err != nil {
		return nil, err
	}
	stations, findErr := RunningStations()
	tcp := true
	for _, s := range stations {
		if s.Port != port {
			continue
		}
		conn, err := o.Dialer.DialContext(ctx, "unix", s.Socket)
		if err == nil {
			return conn, nil
		}
		if tcp = !s.NoControl; !tcp {
			findErr = errors.Join(findErr, err)
		}
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		if !tcp {
			break // what is there is somebody else's
		}
		conn, err := o.Dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port+1)))
		if err == nil {
			return conn, nil
		}
		findErr = errors.Join(findErr, err)
	}
	return nil, fmt.Errorf("server on port %d: %w", port, findErr)
}
