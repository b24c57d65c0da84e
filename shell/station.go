package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"bmp/proto/control"
	"bmp/shell/cluster"
)

// Station is a station one can attach to: a target, and what to call it.
type Station struct {
	Target control.Target
	Port   int    // its BMP port, where it was found on this machine by it; else 0
	Name   string // for messages: "1111", the name in a cluster, or the target as it was written
	// Others are those of a cluster that was named alone: a shell attaches to all of them.
	Others []Station

	view    int    // its control port on loopback, where it was found on this machine and has one; else 0
	away    bool   // it does not answer, and is known by its archive alone
	warning string // what there is to be said about finding it
}

// Find resolves a target. "" is BMP_TARGET, else the only station that runs on
// this machine. A PORT is looked for among the running ones, so that the
// answers can say what is wrong with it.
func Find(target string) (Station, error) {
	if target == "" {
		target = os.Getenv("BMP_TARGET")
	}
	if target == "" {
		list, err := running()
		switch {
		case err != nil:
			return Station{}, err
		case len(list) == 1:
			return list[0], nil
		}
		return Station{}, errSeveral(list)
	}
	t, err := control.ParseTarget(target)
	if err != nil {
		return Station{}, asInvalid(err)
	}
	switch t.Network {
	case "nats":
		return findCluster(target, t)
	case "port":
		port, _ := strconv.Atoi(t.Address)
		return findPort(port)
	}
	return Station{Target: t, Name: target}, nil
}

// asInvalid gives an error without a code that of a wrong word.
func asInvalid(err error) error {
	var e *control.Error
	if errors.As(err, &e) {
		return e
	}
	return errorf(control.CodeInvalid, "%v", err)
}

// running lists the stations of this machine by port; those that this user may
// not ask are among them. It is an error when there are none.
func running() ([]Station, error) {
	found, err := control.RunningStations()
	if len(found) == 0 {
		if err != nil {
			return nil, errorf(codeNoStation, "%v", err)
		}
		return nil, errorf(codeNoStation, "No BMP servers running")
	}
	list := make([]Station, len(found))
	for i, r := range found {
		list[i] = stationOf(r)
	}
	return list, nil
}

func stationOf(r control.Running) Station {
	s := Station{Target: control.Target{Network: "unix", Address: r.Socket}, Port: r.Port, view: r.ControlPort(), Name: r.Name}
	if r.Port != 0 {
		s.Name = strconv.Itoa(r.Port)
	}
	return s
}

// findPort looks for the station that listens on a port. The control port of
// another one is easily typed instead, and gets its own answer.
func findPort(port int) (Station, error) {
	found, err := control.RunningStations()
	if len(found) == 0 && err != nil {
		return Station{}, errorf(codeNoStation, "%v", err)
	}
	for _, r := range found {
		if r.Port == port {
			return stationOf(r), nil
		}
	}
	for _, r := range found {
		if r.ControlPort() == port {
			return Station{}, errorf(control.CodeConflict, "Port %d is the control port of server %d", port, r.Port)
		}
	}
	return Station{}, errorf(codeNoStation, "No server running on port: %d", port)
}

func errSeveral(list []Station) error {
	var b strings.Builder
	b.WriteString("Multiple servers - specify port after 'bmp'\n")
	for _, s := range list {
		fmt.Fprintf(&b, "\n* %s", s.Name)
	}
	return &control.Error{Code: control.CodeAmbiguous, Text: b.String()}
}

// Dial attaches to the station. event gets the lines that belong to no reply;
// it may be nil and must not block. The error is a *control.Error, worded for
// whoever named the station.
func (s Station) Dial(ctx context.Context, event func(control.Line)) (*control.Client, error) {
	o := control.ClientOptions{Product: Product, Event: event}
	dial := func() (*control.Client, error) { return control.Dial(ctx, s.Target, o) }
	if s.Target.Network == "nats" {
		dial = func() (*control.Client, error) { return s.dialCluster(ctx, o) }
	}
	c, err := dial()
	if err == nil {
		return c, nil
	}
	var e *control.Error
	switch {
	case errors.As(err, &e):
		return nil, e
	case s.Port != 0 && s.view == 0 && errors.Is(err, fs.ErrPermission):
		return nil, errorf(control.CodeForbidden, "Server %d: permission denied", s.Port)
	case s.Port != 0 && errors.Is(err, fs.ErrPermission):
		return nil, errorf(control.CodeForbidden, "Server %d: permission denied (view through 127.0.0.1:%d)", s.Port, s.view)
	case ctx.Err() != nil:
		return nil, errorf(control.CodeCancelled, "Cancelled")
	default:
		name := s.Name
		if s.Target.Network == "nats" {
			name = cluster.Redacted(s.Target.String())
		}
		return nil, errorf(codeNoStation, "No connection to %s: %s", name, reason(err))
	}
}

// reason is the last cause of an error of the network; the operation and the
// address around it have been said already.
func reason(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// Product is how the shell introduces itself to a station.
const Product = "bmp/" + Version

// Version is the release of bmp.
const Version = "0.1.0"
