package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bmp/engine"
	"bmp/engine/client"
	"bmp/engine/event"
	"bmp/engine/listen"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/control"
	"bmp/proto/grammar"
)

// ConfigFile is the name of the file in the state folder that write keeps the
// run-time configuration in where -c names no other.
const ConfigFile = "config"

// place turns the error of a listener into the reply that it is: what was typed
// wrong, what is not there, what is taken.
func (c *call) place(err error) error {
	var spec *listen.SpecError
	var none *listen.NoNamespaceError
	var used *listen.InUseError
	var taken *control.TakenError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &spec):
		if i := strings.LastIndex(c.Line, spec.Word); spec.Word != "" && i >= 0 {
			return control.Invalid(grammar.Arg{Col: i + 1, Len: len(spec.Word)}, "%s", spec.Msg)
		}
		return &grammar.Error{Code: control.CodeIncomplete, Col: len(c.Line) + 1, Text: "Incomplete command: " + c.m.Redacted() + " (" + spec.Msg + ")"}
	case errors.As(err, &none):
		return control.Errorf(control.CodeNotFound, "%s", none)
	case errors.As(err, &used):
		return control.Errorf(control.CodeConflict, "%s", used)
	case errors.As(err, &taken):
		return control.Errorf(control.CodeConflict, "%s", taken)
	}
	return err
}

// arguments are the words after the command's own, as a listener is written:
// quotes are those of the command line and gone, but for a word with blanks,
// which a file name of a control listener may be.
func (c *call) arguments() string {
	words := grammar.Words(c.m.Line)[1:]
	for i, w := range words {
		if strings.ContainsAny(w, " \t") {
			words[i] = `"` + w + `"`
		}
	}
	return strings.Join(words, " ")
}

func listenAt(ctx context.Context, c *call) error {
	spec, err := listen.ParseSpec(c.arguments())
	if err != nil {
		return c.place(err)
	}
	l, err := c.station.Listen(ctx, spec)
	if err != nil {
		return c.place(err)
	}
	c.out.Done("Listening on %s", engine.ListenerName(l))
	return nil
}

func noListen(ctx context.Context, c *call) error {
	spec, err := listen.ParsePlace(c.m.Value("listener"))
	if err != nil {
		return c.place(err)
	}
	name := spec.Name()
	sessions := 0
	found := false
	for _, l := range c.station.Listeners() {
		if engine.ListenerName(l) == name {
			found, sessions = true, l.Stats().Sessions
		}
	}
	if !found {
		return control.Errorf(control.CodeNotFound, "No listener '%s'", name)
	}
	if err := c.confirm("Close listener " + name + "?"); err != nil {
		return err
	}
	if !c.station.NoListen(name) {
		return control.Errorf(control.CodeNotFound, "No listener '%s'", name)
	}
	text := "Listener " + name + " closed"
	if sessions > 0 {
		text += "; its " + plural(sessions, "session") + " go on"
	}
	c.out.Done("%s", text)
	return nil
}

func connect(ctx context.Context, c *call) error {
	remote, err := listen.ParseRemote(c.arguments())
	if err != nil {
		return c.place(err)
	}
	d, err := c.station.Connect(remote)
	switch {
	case errors.Is(err, engine.ErrDialledAlready):
		return control.Errorf(control.CodeConflict, "Router %s is dialled already", remote.Name())
	case errors.Is(err, engine.ErrTooManyRemotes):
		return control.Errorf(control.CodeTooMany, "%v", err)
	case err != nil:
		return c.place(err)
	}
	switch st := d.Stats(); {
	case st.Connected:
		c.out.Done("Connected to %s", remote.Name())
	case st.Trouble != "":
		c.out.Done("Router %s is dialled again and again (%s)", remote.Name(), st.Trouble)
	default:
		c.out.Done("Router %s is being dialled", remote.Name())
	}
	return nil
}

func noConnect(ctx context.Context, c *call) error {
	remote, err := listen.ParseRemotePlace(c.m.Value("router"))
	if err != nil {
		return c.place(err)
	}
	name := remote.Name()
	i := slices.IndexFunc(c.station.Dialled(), func(d *engine.Dialled) bool { return d.Remote().Name() == name })
	if i < 0 {
		return control.Errorf(control.CodeNotFound, "No router '%s' is dialled", name)
	}
	if c.station.Dialled()[i].Stats().Connected {
		if err := c.confirm("End the session with " + name + "?"); err != nil {
			return err
		}
	}
	if !c.station.NoConnect(name) {
		return control.Errorf(control.CodeNotFound, "No router '%s' is dialled", name)
	}
	c.out.Done("Router %s is no longer dialled", name)
	return nil
}

func controlAt(ctx context.Context, c *call) error {
	spec, err := engine.ParseControlSpec(c.arguments())
	if err != nil {
		return c.place(err)
	}
	ctl := c.station.Control()
	if ctl == nil {
		return control.Errorf(control.CodeFailed, "This station has no control server")
	}
	if err := ctl.Listen(spec); err != nil {
		return c.place(err)
	}
	c.out.Done("Control listener %s open", spec.Name())
	return nil
}

func noControl(ctx context.Context, c *call) error {
	ctl := c.station.Control()
	if ctl == nil {
		return control.Errorf(control.CodeFailed, "This station has no control server")
	}
	name := c.m.Value("listener")
	if err := c.confirm("Close control listener " + name + "?"); err != nil {
		return err
	}
	err := ctl.NoListen(name)
	switch {
	case errors.Is(err, engine.ErrNoListener):
		return control.Errorf(control.CodeNotFound, "No control listener '%s'", name)
	case errors.Is(err, engine.ErrBuiltInListener):
		return control.Errorf(control.CodeFailed, "Control listener %s belongs to the station (--no-loopback at start is the way to be without)", name)
	case err != nil:
		return err
	}
	c.out.Done("Control listener %s closed; its consoles go on", name)
	return nil
}

func retentionStale(ctx context.Context, c *call) error {
	d, _ := c.m.Duration("duration")
	if d <= 0 {
		return c.invalid("duration", "a duration above zero (1h)")
	}
	before := c.station.Retention()
	c.station.SetRetention(d)
	c.out.Done("Routes of a client that is down are kept for %s (before: %s)", durationText(d), durationText(before))
	return nil
}

// durationText writes a duration as it is typed: 1h30m, 2d.
func durationText(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if n := d / u.d; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.d
		}
	}
	if b.Len() == 0 {
		return d.String() // below a second
	}
	return b.String()
}

// quirkOf finds the client and the peer, if one is named, that a quirk is for.
func (c *call) quirkOf() (cl *client.Client, peer uint32, of string, err error) {
	if cl, err = c.client(); err != nil {
		return nil, 0, "", err
	}
	of = called(cl)
	if y := c.m.Value("peer"); y != "" {
		p, err := findPeer(cl, y)
		if err != nil {
			return nil, 0, "", err
		}
		peer, of = p.ID, "peer "+p.Name()+" of "+of
	}
	return cl, peer, of, nil
}

// setQuirk sets a quirk on whom the line names; one that is not there gets it
// when it comes, where the line says so.
func (c *call) setQuirk(q client.Quirk, what, then string) error {
	cl, peer, of, err := c.quirkOf()
	if err != nil {
		var e *control.Error
		if !c.m.Has("when-there") || !errors.As(err, &e) || e.Code != control.CodeNotFound {
			return err
		}
		if err := c.h.setWhenThere(waitingQuirk{c.m.Value("client"), c.m.Value("peer"), q}); err != nil {
			return err
		}
		c.out.Done("%s (%s); it is set when that comes", what, e.Text)
		return nil
	}
	q.Peer = peer
	cl.SetQuirk(q)
	c.out.Done("%s for %s%s", what, of, then)
	return nil
}

const rebuilt = "; its tables are rebuilt from the messages kept"

func quirkAddPath(ctx context.Context, c *call) error {
	f, err := bgp.ParseFamily(c.m.Value("family"))
	if err != nil {
		return c.invalid("family", "a family")
	}
	word := c.m.Value("onoff")
	return c.setQuirk(client.Quirk{AddPath: true, Family: f, On: word == "on"}, fmt.Sprintf("ADD-PATH of %s is %s", f, word), rebuilt)
}

func quirkASWidth(ctx context.Context, c *call) error {
	var q client.Quirk
	switch c.m.Value("width") {
	case "2":
		q.ASWidth = 2
	case "4":
		q.ASWidth = 4
	default:
		return c.invalid("width", "2 or 4")
	}
	return c.setQuirk(q, fmt.Sprintf("AS numbers are %d octets wide", q.ASWidth), rebuilt)
}

func quirkProfile(ctx context.Context, c *call) error {
	var q client.Quirk
	for _, p := range []bmp.Profile{bmp.ProfileDraft20, bmp.ProfileDeployed, bmp.ProfileEditors} {
		if c.m.Has(p.String()) {
			q.Profile = p
		}
	}
	return c.setQuirk(q, "BMP version 4 code points are those of "+q.Profile.String(), "")
}

func noQuirk(ctx context.Context, c *call) error {
	cl, peer, of, err := c.quirkOf()
	if err != nil {
		if n := c.h.forget(c.m.Value("client"), c.m.Value("peer")); n > 0 {
			c.out.Done("%s that waited removed", plural(n, "quirk"))
			return nil
		}
		return err
	}
	family, onlyFamily := bgp.Family{}, false
	if text := c.m.Value("family"); text != "" {
		if family, err = bgp.ParseFamily(text); err != nil {
			return c.invalid("family", "a family")
		}
		onlyFamily = true
	}
	one := c.m.Has("add-path") || c.m.Has("as-width") || c.m.Has("v4-profile")
	n := 0
	for _, q := range cl.Quirks() {
		switch {
		case c.m.Value("peer") != "" && q.Peer != peer,
			one && q.AddPath != c.m.Has("add-path"),
			one && (q.ASWidth != 0) != c.m.Has("as-width"),
			one && (q.Profile != 0) != c.m.Has("v4-profile"),
			onlyFamily && q.Family != family:
			continue
		}
		if cl.RemoveQuirk(q) {
			n++
		}
	}
	if n == 0 {
		return control.Errorf(control.CodeNotFound, "No such quirk of %s", of)
	}
	c.out.Done("%s of %s removed", plural(n, "quirk"), of)
	return nil
}

// configuration is the run-time configuration as commands, one a line: what was
// changed since the start and the options of the start do not say.
func (h *Handler) configuration() []string {
	var lines []string
	if d := h.station.Retention(); d != time.Hour {
		lines = append(lines, "retention stale "+durationText(d))
	}
	if a := h.station.Archive(); a != nil {
		if age, size := a.Retention(); age != 7*24*time.Hour || size != 20<<30 {
			lines = append(lines, "retention archive "+durationText(age)+" "+sizeText(size))
		}
	}
	for _, l := range h.station.Listeners() {
		if !h.station.OfOptions(l) {
			lines = append(lines, "listen "+l.Spec().String())
		}
	}
	for _, d := range h.station.Dialled() {
		lines = append(lines, "connect "+d.Remote().String())
	}
	if ctl := h.station.Control(); ctl != nil {
		for _, l := range ctl.Listeners() {
			if l.Further {
				lines = append(lines, "control "+l.Spec.String())
			}
		}
	}
	for _, r := range h.station.RelayRules() {
		lines = append(lines, relayLine(r))
	}
	for _, cl := range h.station.Clients() {
		for _, q := range cl.Quirks() {
			// IDs of clients are kept and never given to another; those of peers are not.
			w := waitingQuirk{client: strconv.FormatUint(uint64(cl.ID()), 10), quirk: q}
			if q.Peer != 0 {
				l, ok := cl.PeerLabel(q.Peer)
				if !ok {
					continue
				}
				w.peer = l.Name()
			}
			lines = append(lines, w.String())
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.waiting {
		lines = append(lines, w.String())
	}
	return lines
}

// write keeps the configuration in the state folder, whole or not at all.
func write(ctx context.Context, c *call) error {
	path := c.h.options.Config
	if path == "" {
		if c.station.StateDir() == "" {
			return control.Errorf(control.CodeFailed, "This station has no state folder to write to")
		}
		path = filepath.Join(c.station.StateDir(), ConfigFile)
	}
	lines := c.h.configuration()
	text := "! written by 'write' on " + c.Now.Format(time.RFC3339) + "\n"
	for _, l := range lines {
		text += l + "\n"
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	c.out.Done("%s written to %s", plural(len(lines), "line"), path)
	return nil
}

// waitingQuirk is a quirk of a client or peer that is not there yet.
type waitingQuirk struct {
	client, peer string // as typed; peer is empty for all of the client
	quirk        client.Quirk
}

// String is the command that sets it.
func (w waitingQuirk) String() string {
	line := "quirk client " + grammar.Quote(w.client)
	if w.peer != "" {
		line += " peer " + grammar.Quote(w.peer)
	}
	switch {
	case w.quirk.AddPath && w.quirk.On:
		line += " add-path " + w.quirk.Family.String() + " on"
	case w.quirk.AddPath:
		line += " add-path " + w.quirk.Family.String() + " off"
	case w.quirk.ASWidth != 0:
		line += fmt.Sprintf(" as-width %d", w.quirk.ASWidth)
	default:
		line += " v4-profile " + w.quirk.Profile.String()
	}
	return line + " when-there"
}

// maxWaiting bounds the quirks that wait for their clients and peers.
const maxWaiting = 1000

// setWhenThere keeps a quirk until its client and peer are there. The goroutine
// that watches for them ends when nothing waits any more, or with the station.
func (h *Handler) setWhenThere(w waitingQuirk) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) >= maxWaiting {
		return control.Errorf(control.CodeTooMany, "%d quirks wait for their clients already", maxWaiting)
	}
	if !h.watching {
		h.watching = true
		// Clients and peers that come are console lines, peers in bulk as one.
		go h.watch(h.station.Events().Subscribe(event.Filter{Console: true}, 64))
	}
	if !h.set(w) { // it may have come just now
		h.waiting = append(h.waiting, w)
	}
	return nil
}

// forget drops the quirks that wait for a client, and for a peer if one is
// named, and says how many.
func (h *Handler) forget(client, peer string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.waiting)
	h.waiting = slices.DeleteFunc(h.waiting, func(w waitingQuirk) bool { return w.client == client && (peer == "" || w.peer == peer) })
	return n - len(h.waiting)
}

func (h *Handler) watch(sub *event.Subscription) {
	defer sub.Close()
	for ev := range sub.C() {
		if ev.Kind != event.Adjacency && ev.Kind != event.PeerChange {
			continue
		}
		h.mu.Lock()
		h.waiting = slices.DeleteFunc(h.waiting, h.set)
		done := len(h.waiting) == 0
		h.watching = !done
		h.mu.Unlock()
		if done {
			return
		}
	}
}

// set sets a quirk if its client and peer are there.
func (h *Handler) set(w waitingQuirk) bool {
	found := h.station.FindClients(w.client)
	if len(found) != 1 {
		return false
	}
	if w.peer != "" {
		peers := found[0].FindPeers(w.peer)
		if len(peers) != 1 {
			return false
		}
		w.quirk.Peer = peers[0].ID
	}
	found[0].SetQuirk(w.quirk)
	return true
}
