package engine

import (
	"net"
	"strings"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// router is a monitored router of a test: one connection to the station.
type router struct {
	t       *testing.T
	station *Station
	conn    net.Conn
	from    string
	client  *client.Client
	sent    uint64 // messages
}

// connect dials from an address and sends an Initiation with the name, unless that is empty.
func connect(t *testing.T, s *Station, from, name string) *router {
	t.Helper()
	r := &router{t: t, station: s, conn: dial(t, s, from), from: from}
	if name != "" {
		r.send(new(bmptest.Session).Initiation(name, "a router of the test"))
	}
	return r
}

// send writes messages and waits until the station has applied them.
func (r *router) send(m *bmptest.Session) {
	r.t.Helper()
	r.write(m.Bytes())
	r.sent += uint64(len(m.Messages()))
	until(r.t, "the messages are applied", func() bool {
		if r.client == nil {
			r.client = r.find()
		}
		return r.client != nil && r.applied() >= r.sent
	})
}

// applied is how many messages of this session have been applied.
func (r *router) applied() uint64 {
	list := r.client.Info(time.Now()).Sessions
	if len(list) == 0 || !list[len(list)-1].End.IsZero() {
		return 0
	}
	return list[len(list)-1].Messages
}

func (r *router) write(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// find is the client that this connection is a session of.
func (r *router) find() *client.Client {
	for _, c := range r.station.Clients() {
		if x := c.Session(); x != nil && x.Endpoint().Remote.String() == r.conn.LocalAddr().String() {
			return c
		}
	}
	return nil
}

// close ends the connection and waits until the client is down.
func (r *router) close() {
	r.t.Helper()
	x := r.client.Session()
	r.conn.Close()
	if x != nil {
		<-x.Done()
	}
}

// closed waits until the station has closed the connection, and says with which reason.
func (r *router) closed() string {
	r.t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := r.conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		r.t.Fatalf("the station did not close the session: %v", err)
	}
	if r.client == nil {
		return ""
	}
	until(r.t, "the session is logged", func() bool { return r.client.Brief().State == client.Down })
	return r.client.Info(time.Now()).DownReason
}

// routes lists what is held, as "PEER VIEW PREFIX[#PATHID]", stale ones with " stale" behind.
func (r *router) routes() map[string]rib.Route {
	r.t.Helper()
	out := make(map[string]rib.Route)
	for _, f := range r.station.Store().Families() {
		err := r.station.Store().Query(r.t.Context(), rib.Query{
			Family: f, Where: func(o rib.Owner) bool { return o.Client == r.client.ID() },
		}, func(batch []rib.Route) error {
			for _, x := range batch {
				o := x.Table.Owner()
				l, _ := r.client.PeerLabel(o.Peer)
				rd, prefix := bgp.KeyText(f, x.Key)
				key := strings.TrimSpace(l.Name() + " " + bmp.View(o.View).String() + " " + rd + prefix)
				if x.Table.AddPath() {
					key += "#" + string(rune('0'+x.PathID))
				}
				x.Key, x.Record = nil, append([]byte(nil), x.Record...)
				out[key] = x
			}
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return out
}

// peer is the one peer that Y names.
func (r *router) peer(y string) client.PeerDetail {
	r.t.Helper()
	found := r.client.FindPeers(y)
	if len(found) != 1 {
		r.t.Fatalf("%d peers match %s", len(found), y)
	}
	d, _ := r.client.Peer(found[0].ID)
	return d
}

// finding is how often a finding happened, on all peers.
func (r *router) finding(k client.FindingKind) (n uint64) {
	list, _ := r.client.Health()
	for _, f := range list {
		if f.Kind == k {
			n += f.Count
		}
	}
	return n
}

// lines are the console lines so far that contain a text.
func lines(s *Station, text string) (out []string) {
	log, _ := s.Events().Log(time.Time{})
	for _, e := range log {
		if l := e.Line("1111"); strings.Contains(l, text) {
			out = append(out, l)
		}
	}
	return out
}

// announce is an UPDATE of IPv4 routes.
func announce(as uint32, prefixes ...string) []byte {
	return bmptest.Update{
		ASPath: []uint32{as, 64512}, Announce: bmptest.Prefixes(prefixes...),
	}.Bytes()
}

func withdraw(prefixes ...string) []byte {
	return bmptest.Update{Withdraw: bmptest.Prefixes(prefixes...)}.Bytes()
}

func kindsOf(s *Station, id uint32) map[event.Kind]uint64 {
	out := make(map[event.Kind]uint64)
	for _, c := range s.Events().Counts() {
		if c.Client == id {
			out[c.Kind] = c.N
		}
	}
	return out
}

func now() time.Time { return time.Now() }
