package client

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"bmp/engine/event"
	"bmp/engine/rib"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// serve runs a session of what conn gives to its end.
func serve(t *testing.T, conn net.Conn) (*Client, *End) {
	store := rib.New(rib.Options{NoBackground: true})
	t.Cleanup(func() { store.Close() })
	env := &Env{Store: store, Bus: event.NewBus(), Budget: new(Budget)}
	s := NewSession(env, conn, Endpoint{Remote: netip.MustParseAddrPort("10.0.0.9:4000")}, time.Now())
	end := s.Serve(func(h Hello) (*Client, error) {
		c := New(env, 1, Identity{SysName: h.SysName}, h.Time)
		c.Begin(h.Session, h.Time)
		return c, nil
	})
	return end.Client, end
}

func address(i int) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24+uint32(i))
	return netip.AddrFrom4(b).String()
}

// wide is a stream of which a read takes all there is room for.
type wide struct{ stream }

func (s *wide) Read(p []byte) (int, error) { return s.r.Read(p) }

// TestPeersAreBounded has a router speak of more peers than are kept.
func TestPeersAreBounded(t *testing.T) {
	b := &bmptest.Session{}
	b.Initiation("edge1", "")
	for i := range maxPeers {
		b.Statistics(bmptest.NewPeer(address(i), 65001), bmptest.Gauge(7, 1))
	}
	b.Statistics(bmptest.NewPeer(address(maxPeers), 65001), bmptest.Gauge(7, 1)) // no room
	b.PeerDown(bmptest.NewPeer(address(7), 65001), bmp.DownRemote, nil)
	c, _ := serve(t, &wide{stream{r: bytes.NewReader(b.Bytes())}})
	if n := len(c.Peers()); n != maxPeers {
		t.Fatalf("%d peers", n)
	}
	m, total := c.Malformed()
	if total != 1 || m[0].Reason != errTooManyPeers.Error() || len(c.FindPeers(address(maxPeers))) != 0 {
		t.Errorf("%d malformed: %+v", total, m)
	}
	// A peer that is down gives its place to a new one.
	s := &bmptest.Session{}
	s.Initiation("edge1", "").PeerUp(bmptest.NewPeer(address(maxPeers+1), 65001))
	next := NewSession(c.env, &stream{r: bytes.NewReader(s.Bytes())}, Endpoint{}, time.Now())
	next.Serve(func(h Hello) (*Client, error) { c.Begin(h.Session, h.Time); return c, nil })
	if len(c.FindPeers(address(maxPeers+1))) != 1 || len(c.FindPeers(address(7))) != 0 || len(c.Peers()) != maxPeers {
		t.Error("the peer that is down did not give way")
	}
}

// TestTextsAreBounded has a router send texts as long as a TLV.
func TestTextsAreBounded(t *testing.T) {
	long := strings.Repeat("é", 30_000)
	kept := strings.Repeat("é", maxText/2) + "..."
	p := bmptest.NewPeer("10.0.0.1", 65001)
	p.TLVs = []bmp.TLV{{Type: bmp.PeerTableName, Value: []byte(long)}, {Type: bmp.PeerAdminLabel, Value: []byte(long)}, {Value: []byte(long)}}
	b := &bmptest.Session{}
	b.Initiation(long, long).PeerUp(p)
	b.Add(&bmp.StatisticsReport{PeerHeader: p.Header, Stats: []bmp.Stat{{Type: 900, Raw: make([]byte, 5000)}}})
	b.Add(&bmp.Termination{TLVs: []bmp.TLV{{Type: bmp.TermString, Value: []byte(long)}}})
	c, end := serve(t, &stream{r: bytes.NewReader(b.Bytes())})
	d, _ := c.Peer(1)
	info := c.Info(time.Now())
	for name, got := range map[string]string{
		"sysName": info.Name, "sysDescr": info.SysDescr, "identity": c.Identity().SysName, "table": d.Table,
		"admin label": d.AdminLabel, "information": strings.Join(d.InfoStrings, ""),
		"reason": strings.TrimPrefix(end.Reason, "terminated: no reason given: "),
	} {
		if got != kept {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
	if len(d.Statistics) != 1 || len(d.Statistics[0].Raw) != maxStatBytes {
		t.Errorf("statistics: %+v", d.Statistics)
	}
}

// failing is a connection that ends with an error.
type failing struct {
	stream
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.stream.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

// TestReasonOfACutMessage tells a router that closed within a message from a connection that broke.
func TestReasonOfACutMessage(t *testing.T) {
	b := &bmptest.Session{}
	b.Initiation("edge1", "")
	n := len(b.Bytes())
	b.PeerUp(bmptest.NewPeer("10.0.0.1", 65001))
	cut := b.Bytes()[:n+20]
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for err, want := range map[error]string{
		io.EOF: "remote closed within a message at offset %d",
		reset:  "connection reset by peer within a message at offset %d",
	} {
		_, end := serve(t, &failing{stream{r: bytes.NewReader(cut)}, err})
		if want = fmt.Sprintf(want, n); end.Reason != want {
			t.Errorf("%q, want %q", end.Reason, want)
		}
	}
}
