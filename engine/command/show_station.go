package command

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"bmp/engine"
	"bmp/engine/listen"
	"bmp/proto/control"
	"bmp/proto/filter"
)

type versionJSON struct {
	Version      string   `json:"version"`
	Protocol     int      `json:"protocol"`
	Go           string   `json:"go"`
	Platform     string   `json:"platform"`
	Revision     any      `json:"revision"`
	Modules      []module `json:"modules"`
	RibFallbacks []string `json:"rib_fallbacks"`
	Started      any      `json:"started"`
}

type module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

func showVersion(ctx context.Context, c *call) error {
	s := c.station.Summary()
	j := versionJSON{Version: c.h.options.Version, Protocol: 1, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Modules: []module{}, RibFallbacks: orEmpty(s.Fallbacks), Started: c.time(c.station.Started())}
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, b := range info.Settings {
			if b.Key == "vcs.revision" {
				revision = b.Value
				j.Revision = b.Value
			}
		}
		for _, m := range info.Deps {
			j.Modules = append(j.Modules, module{m.Path, m.Version})
		}
	}
	if err := c.out.Document(j); err != nil {
		return err
	}
	if err := c.lines("bmp " + c.h.options.Version); err != nil {
		return err
	}
	fields := []field{{"Control protocol", "BMPCTL/1"}, {"Built with", runtime.Version() + " " + j.Platform}, {"Revision", revision},
		{"Started", c.clock(c.station.Started())}}
	for _, f := range s.Fallbacks {
		fields = append(fields, field{"Route store", f})
	}
	return c.block(fields...)
}

type listenerJSON struct {
	Kind       string   `json:"kind"` // bmp, connect, control
	Name       string   `json:"name"`
	Address    string   `json:"address"`
	Netns      any      `json:"netns"`
	VRF        any      `json:"vrf"`
	Sessions   int      `json:"sessions"`  // of clients
	HalfOpen   int      `json:"half_open"` // connections without a first whole message
	Limit      any      `json:"limit"`
	Accepted   uint64   `json:"accepted"`
	NotAllowed uint64   `json:"not_allowed"`
	TooMany    uint64   `json:"too_many"`
	Allow      []string `json:"allow"`
	TLS        bool     `json:"tls"`
	MD5        bool     `json:"md5"`
	Role       any      `json:"role"`
	Failed     uint64   `json:"failed"`         // attempts to connect
	Trouble    any      `json:"trouble"`        // why the last one failed
	Gone       bool     `json:"namespace_gone"` // the namespace the socket is in has lost its name
}

func showListeners(ctx context.Context, c *call) error {
	err := c.out.Columns(filter.Column{Name: "Kind", Width: 7}, filter.Column{Name: "Listener", Key: "name", Width: 24},
		filter.Column{Name: "Sessions", Width: 8, Right: true}, filter.Column{Name: "Half-open", Width: 9, Right: true},
		filter.Column{Name: "Limit", Width: 6, Right: true}, filter.Column{Name: "Accepted", Width: 8, Right: true}, filter.Column{Name: "Refused", Width: 7, Right: true},
		filter.Column{Name: "Options"})
	if err != nil {
		return err
	}
	ids := make(map[string]uint64)
	if list, err := listen.Namespaces(); err == nil {
		for _, n := range list {
			ids[n.Name] = n.ID
		}
	}
	sessions, silent := c.station.Open()
	for _, l := range c.station.Listeners() {
		spec, st := l.Spec(), l.Stats()
		name := engine.ListenerName(l)
		j := listenerJSON{Kind: "bmp", Name: name, Address: l.Addr().String(), Netns: jsonString(spec.Netns), VRF: jsonString(spec.VRF),
			Sessions: sessions[name], HalfOpen: silent[name], Limit: numberOrNil(spec.Limit), Accepted: st.Accepted, NotAllowed: st.NotAllowed, TooMany: st.OverLimit,
			Allow: []string{}, Gone: spec.Netns != "" && ids[spec.Netns] != l.NamespaceID()}
		var options []string
		if spec.VRF != "" {
			options = append(options, "vrf "+spec.VRF)
		}
		for _, p := range spec.Allow {
			j.Allow = append(j.Allow, p.String())
			options = append(options, "allow "+p.String())
		}
		if j.MD5 = spec.MD5.Set(); j.MD5 {
			options = append(options, "md5")
		}
		if j.TLS = spec.TLS.Cert != ""; j.TLS {
			options = append(options, "tls")
		}
		if j.Gone {
			options = append(options, "its network namespace is gone")
		}
		limit := "-"
		if spec.Limit > 0 {
			limit = strconv.Itoa(spec.Limit)
		}
		err := c.out.Record(filter.Record{JSON: j, Cells: []string{"bmp", j.Name, strconv.Itoa(j.Sessions), strconv.Itoa(j.HalfOpen), limit, formatCount(st.Accepted, 1),
			formatCount(st.NotAllowed+st.OverLimit, 1), strings.Join(options, " ")}})
		if err != nil {
			return err
		}
	}
	for _, d := range c.station.Dialled() {
		if err := c.out.Record(dialledRecord(d, c.Now)); err != nil {
			return err
		}
	}
	ctl := c.station.Control()
	if ctl == nil {
		return nil
	}
	for _, l := range ctl.Listeners() {
		j := listenerJSON{Kind: "control", Name: l.Name, Address: l.Address, Netns: jsonString(l.Spec.Netns), Sessions: l.Consoles, Accepted: l.Served,
			NotAllowed: l.NotAllowed, TooMany: l.TooMany, Allow: []string{}, TLS: l.Spec.TLS(),
			Gone: l.Spec.Netns != "" && ids[l.Spec.Netns] != l.NsID}
		var options []string
		if l.Address != l.Name {
			options = append(options, l.Address)
		}
		if j.TLS {
			options = append(options, "tls")
		}
		for _, p := range l.Spec.Allow {
			j.Allow = append(j.Allow, p.String())
			options = append(options, "allow "+p.String())
		}
		if l.Spec.Role != control.RoleNone {
			j.Role = l.Spec.Role.String()
			options = append(options, "role "+l.Spec.Role.String())
		}
		if j.Gone {
			options = append(options, "its network namespace is gone")
		}
		err := c.out.Record(filter.Record{JSON: j, Cells: []string{"control", j.Name, strconv.Itoa(l.Consoles), "-", "-", formatCount(l.Served, 1),
			formatCount(l.NotAllowed+l.TooMany, 1), strings.Join(options, " ")}})
		if err != nil {
			return err
		}
	}
	return nil
}

// dialledRecord is a router that the station dials, as a row beside the listeners: what was accepted are connections made,
// what was refused are attempts that failed.
func dialledRecord(d *engine.Dialled, now time.Time) filter.Record {
	r, st := d.Remote(), d.Stats()
	j := listenerJSON{Kind: "connect", Name: r.Name(), Address: r.Addr.String(), Netns: jsonString(r.Netns), VRF: jsonString(r.VRF),
		Accepted: st.Made, Failed: st.Failed, Trouble: jsonString(st.Trouble), Allow: []string{}, TLS: r.TLS, MD5: r.MD5.Set()}
	var options []string
	if r.VRF != "" {
		options = append(options, "vrf "+r.VRF)
	}
	if r.MD5.Set() {
		options = append(options, "md5")
	}
	if r.TLS {
		options = append(options, "tls")
	}
	if st.Connected {
		j.Sessions = 1
	} else if st.Trouble != "" {
		options = append(options, fmt.Sprintf("%s, again in %v", st.Trouble, max(0, st.Next.Sub(now).Round(time.Second))))
	}
	return filter.Record{JSON: j, Cells: []string{"connect", j.Name, strconv.Itoa(j.Sessions), "-", "-", formatCount(st.Made, 1), formatCount(st.Failed, 1),
		strings.Join(options, "  ")}}
}

type namespaceJSON struct {
	Name      string   `json:"name"`
	Own       bool     `json:"own"`
	Listeners []string `json:"listeners"`
}

func showNamespaces(ctx context.Context, c *call) error {
	list, err := listen.Namespaces()
	if err != nil {
		return err
	}
	err = c.out.Columns(filter.Column{Name: "Namespace", Key: "name", Width: 16}, filter.Column{Name: "Listeners", Width: 24}, filter.Column{Name: "Note"})
	if err != nil {
		return err
	}
	in := make(map[string][]string)
	for _, l := range c.station.Listeners() {
		in[l.Spec().Netns] = append(in[l.Spec().Netns], engine.ListenerName(l))
	}
	own := false
	for _, n := range list {
		own = own || n.Own
	}
	row := func(name string, isOwn bool, listeners []string) error {
		note := ""
		if isOwn {
			note = "the station's own"
		}
		return c.out.Record(filter.Record{Cells: []string{name, dash(strings.Join(listeners, " ")), note},
			JSON: namespaceJSON{name, isOwn, orEmpty(listeners)}})
	}
	if !own {
		// It has no name, as is usual.
		if err := row("-", true, in[""]); err != nil {
			return err
		}
	}
	for _, n := range list {
		listeners := in[n.Name]
		if n.Own {
			listeners = append(listeners, in[""]...)
		}
		if err := row(n.Name, n.Own, listeners); err != nil {
			return err
		}
	}
	return nil
}

type consoleJSON struct {
	ID          int      `json:"id"`
	Who         string   `json:"who"`
	Listener    string   `json:"listener"`
	Product     any      `json:"product"`
	Role        string   `json:"role"`
	Since       any      `json:"since"`
	IdleSeconds int64    `json:"idle_seconds"`
	Requests    uint64   `json:"requests"`
	Following   []string `json:"following"`
	Running     any      `json:"running"`
}

// consoles are the consoles of this station, none where it has no control server.
func (c *call) consoles() []control.Console {
	if ctl := c.station.Control(); ctl != nil {
		return ctl.Consoles()
	}
	return nil
}

func showSessions(ctx context.Context, c *call) error {
	err := c.out.Columns(filter.Column{Name: "ID", Width: 4, Right: true}, filter.Column{Name: "Who", Width: 20}, filter.Column{Name: "Listener", Width: 16},
		filter.Column{Name: "Role", Width: 5}, filter.Column{Name: "Since", Width: 8, Right: true}, filter.Column{Name: "Idle", Key: "idle_seconds", Width: 8, Right: true},
		filter.Column{Name: "Requests", Width: 8, Right: true}, filter.Column{Name: "Following", Width: 9, Right: true}, filter.Column{Name: "Running"})
	if err != nil {
		return err
	}
	for _, s := range c.consoles() {
		following := []string{}
		for _, x := range s.Subscriptions {
			following = append(following, x.What)
		}
		err := c.out.Record(filter.Record{
			Cells: []string{strconv.Itoa(s.ID), s.Who, s.Listener, s.Role.String(), c.age(s.Since), formatUptime(s.Idle), formatCount(s.Requests, 1),
				strconv.Itoa(len(following)), s.Running},
			JSON: consoleJSON{s.ID, s.Who, s.Listener, jsonString(s.Product), s.Role.String(), c.time(s.Since), jsonSeconds(s.Idle), s.Requests,
				following, jsonString(s.Running)},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

type debugJSON struct {
	Console int    `json:"console"`
	Who     string `json:"who"`
	ID      int    `json:"id"`
	What    string `json:"what"`
	Since   any    `json:"since"`
	Sent    uint64 `json:"sent"`
	Dropped uint64 `json:"dropped"`
}

func showDebug(ctx context.Context, c *call) error {
	err := c.out.Columns(filter.Column{Name: "Console", Width: 7, Right: true}, filter.Column{Name: "Who", Width: 20}, filter.Column{Name: "ID", Width: 4, Right: true},
		filter.Column{Name: "Since", Width: 8, Right: true}, filter.Column{Name: "Sent", Width: 8, Right: true},
		filter.Column{Name: "Dropped", Width: 8, Right: true}, filter.Column{Name: "Following", Key: "what"})
	if err != nil {
		return err
	}
	for _, s := range c.consoles() {
		for _, x := range s.Subscriptions {
			err := c.out.Record(filter.Record{
				Cells: []string{strconv.Itoa(s.ID), s.Who, strconv.Itoa(x.ID), c.age(x.Since), formatCount(x.Sent, 1), formatCount(x.Dropped, 1), x.What},
				JSON:  debugJSON{s.ID, s.Who, x.ID, x.What, c.time(x.Since), x.Sent, x.Dropped},
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func shutdown(ctx context.Context, c *call) error {
	clients := c.station.Summary().Clients
	question := fmt.Sprintf("Stop the station on port %d", c.station.Port())
	if clients > 0 {
		question += fmt.Sprintf(" (%s connected)", plural(clients, "client"))
	}
	if err := c.confirm(question + "?"); err != nil {
		return err
	}
	// Whoever asks next is to hear that there is no station, so it is gone before the answer.
	reason := "shutdown by " + c.Who
	c.out.After(func() { c.station.Stop(reason) })
	closed, err := c.station.Retire(reason)
	if err != nil {
		return err
	}
	c.out.Done("Stopped: %s closed", plural(closed, "client"))
	return nil
}
