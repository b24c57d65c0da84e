package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bmp/engine/client"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

type atomicInt struct{ v atomic.Int64 }

func (a *atomicInt) load() int64   { return a.v.Load() }
func (a *atomicInt) store(v int64) { a.v.Store(v) }

// badMonitoring is a Route Monitoring whose UPDATE has an ORIGIN of three bytes and announces 10.9.0.0/16.
func badMonitoring(p bmptest.Peer) []byte {
	attrs := append([]byte{0x40, 1, 3, 0, 0, 0}, []byte{0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1}...)
	body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attrs)))
	body = append(append(body, attrs...), 16, 10, 9)
	m := bmp.RouteMonitoring{PeerHeader: p.Header, Update: bmptest.PDU(2, body)}
	b, _ := m.Append(nil, bmp.Encoding{})
	return b
}

// TestBadInput has each sort of bad input end at most its own session, with a reason that is logged, while another
// client goes on.
func TestBadInput(t *testing.T) {
	s := startStation(t, nil)
	good := connect(t, s, "127.0.0.2", "good")
	header := func(version byte, length uint32, typ byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{version}, length), typ)
	}
	random := make([]byte, 4096)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(random)
	random[0] = 200
	for _, x := range []struct {
		name, reason string
		bytes        []byte
	}{
		{"length 0", "length 0 is less than 6", header(3, 0, 4)},
		{"length 5", "length 5 is less than 6", header(3, 5, 4)},
		{"length 4 GiB", "length 4294967295 is more than", header(3, 1<<32-1, 0)},
		{"version 0", "version 0", header(0, 6, 4)},
		{"version 9", "version 9", header(9, 6, 4)},
		{"an HTTP request", "an HTTP request", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"random bytes", "version 200", random},
	} {
		t.Run(x.name, func(t *testing.T) {
			// As the first thing said.
			before := s.Summary().Unreadable
			first := &router{t: t, station: s, conn: dial(t, s, "127.0.0.3")}
			first.write(x.bytes)
			first.closed()
			until(t, "it is counted", func() bool { return s.Summary().Unreadable == before+1 })

			// In the middle of a session.
			r := connect(t, s, "127.0.0.3", x.name)
			r.write(x.bytes)
			if why := r.closed(); !strings.Contains(why, x.reason) {
				t.Errorf("closed with %q, not because of %q", why, x.reason)
			}
			info := r.client.Info(time.Now())
			if last := info.Sessions[len(info.Sessions)-1]; !strings.Contains(string(last.Around), string(x.bytes[:6])) {
				t.Errorf("the bytes around were not kept: %x", last.Around)
			}
			if r.finding(client.StreamDamaged) != 1 {
				t.Error("no health finding")
			}
			if got := lines(s, r.conn.LocalAddr().String()+" DOWN (framing lost"); len(got) != 1 {
				t.Errorf("console lines %q", got)
			}
		})
	}
	if got := lines(s, "closed before a first message"); uint64(len(got)) != s.Summary().Unreadable {
		t.Errorf("%d sessions never began, of these was said %q", s.Summary().Unreadable, got)
	}
	good.send(new(bmptest.Session).PeerUp(bmptest.NewPeer("10.0.0.1", 65001)))
}

// TestStreamCutAnywhere ends a session at every offset of a stream.
func TestStreamCutAnywhere(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	m := new(bmptest.Session).Initiation("edge1", "").PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16")).
		PeerDown(p, bmp.DownRemote, nil).Termination(0)
	stream := m.Bytes()
	ends := map[int]bool{}
	n := 0
	for _, x := range m.Messages() {
		n += len(x)
		ends[n] = true
	}
	first := len(m.Messages()[0])
	for cut := first; cut <= len(stream); cut++ {
		c := replayAgain(t, s, stream[:cut], uint64(cut-first+1))
		why := c.Info(time.Now()).DownReason
		whole := !strings.Contains(why, "within a message")
		if whole != ends[cut] {
			t.Fatalf("cut at %d: %q", cut, why)
		}
	}
	if got := s.Clients()[0].Info(time.Now()).DownReason; !strings.HasPrefix(got, "terminated: session administratively closed") {
		t.Errorf("the last session ended with %q", got)
	}
}

// replayAgain sends a stream of the router that the station knows already; n is which of its sessions it is.
func replayAgain(t *testing.T, s *Station, stream []byte, n uint64) *client.Client {
	t.Helper()
	conn := dial(t, s, "127.0.0.2")
	if _, err := conn.Write(stream); err != nil {
		t.Fatal(err)
	}
	conn.(interface{ CloseWrite() error }).CloseWrite()
	var c *client.Client
	until(t, "the session has come and gone", func() bool {
		all := s.Clients()
		if len(all) == 0 {
			return false
		}
		c = all[0]
		info := c.Info(time.Now())
		return info.State == client.Down && uint64(len(info.Sessions))+info.SessionsLost == n
	})
	conn.Close()
	return c
}

// TestMalformedMessagesAreKept also has treat-as-withdraw withdraw.
func TestMalformedMessagesAreKept(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	r.send(new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.9.0.0/16", "10.8.0.0/16")))
	bad := badMonitoring(p)
	r.send(new(bmptest.Session).Raw(bad))
	if got := r.routes(); len(got) != 1 {
		t.Errorf("%d routes: RFC 7606 has those of a malformed UPDATE withdrawn", len(got))
	}
	list, total := r.client.Malformed()
	if len(list) != 1 || total != 1 {
		t.Fatalf("%d kept, %d counted", len(list), total)
	}
	m := list[0]
	if m.Reason != "UPDATE attribute 1 length 3" || m.Class != bgp.TreatAsWithdraw || string(m.Raw) != string(bad) ||
		m.At != 48+23 || m.PeerName != "10.0.0.1" {
		t.Errorf("%+v", m)
	}
	until(t, "it is said", func() bool {
		return len(lines(s, "BMP-1111-MALFORMED: Client "+r.conn.LocalAddr().String()+" Peer 10.0.0.1 UPDATE attribute 1 length 3 (kept, 1 so far)")) == 1
	})

	flood := new(bmptest.Session)
	for range 200 {
		flood.Raw(bad)
	}
	r.send(flood)
	if list, total = r.client.Malformed(); len(list) != 64 || total != 201 || list[63].Number != 201 {
		t.Errorf("%d kept of %d", len(list), total)
	}
	if d := r.peer("10.0.0.1"); d.Malformed != 201 {
		t.Errorf("%d counted on the peer", d.Malformed)
	}
	until(t, "the flood is summed up", func() bool { return len(lines(s, "more malformed messages within")) == 1 })
	if got := lines(s, "MALFORMED"); len(got) > 20 {
		t.Errorf("%d lines", len(got))
	}
	// A body that cannot be read at all; the session goes on.
	tlv := []byte{3, 0, 0, 0, 10, 4, 0, 1, 0, 200}
	r.send(new(bmptest.Session).Raw(tlv))
	if list, _ = r.client.Malformed(); list[63].Type != bmp.InitiationType {
		t.Errorf("%+v", list[63])
	}
	r.send(new(bmptest.Session).Monitor(p, bmp.AdjInPre, announce(65001, "10.7.0.0/16")))
}

// TestOneByteASecond is a router that sends byte by byte: it is served, and holds up nobody who looks at it.
func TestByteByByte(t *testing.T) {
	s := startStation(t, nil)
	p := bmptest.NewPeer("10.0.0.1", 65001)
	r := connect(t, s, "127.0.0.2", "edge1")
	m := new(bmptest.Session).PeerUp(p).Monitor(p, bmp.AdjInPre, announce(65001, "10.1.0.0/16"))
	for i := range m.Bytes() {
		r.write(m.Bytes()[i : i+1])
		r.client.Brief() // would wait for ever if the session held its lock
	}
	r.sent += 2
	until(t, "it is applied", func() bool { return r.applied() == r.sent })
	if len(r.routes()) != 1 {
		t.Error("no route")
	}
}

// A flood of connections that are no routers is told of in so many lines, and
// then in one a second, which counts the others.
func TestFlood(t *testing.T) {
	var f flood
	now := time.Unix(1000, 0)
	said := 0
	for range 100 {
		if _, ok := f.tell(now); ok {
			said++
		}
	}
	if said != floodLines {
		t.Errorf("%d lines at once", said)
	}
	more, ok := f.tell(now.Add(time.Second))
	if !ok || more != 100-floodLines {
		t.Errorf("a second later: %v, %d more", ok, more)
	}
	if _, ok := f.tell(now.Add(time.Second)); ok {
		t.Error("two lines in a second")
	}
	if more, ok := f.tell(now.Add(time.Hour)); !ok || more != 1 {
		t.Errorf("an hour later: %v, %d more", ok, more)
	}
}
