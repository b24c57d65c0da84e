package command

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"bmp/engine"
	"bmp/engine/client"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// router is a BMP session of a test with a station. What it says is written as
// lines:
//
//	initiation NAME DESCRIPTION
//	up PEER as=N [rd=N:N] [table=T] [id=A] [families=F,F] [addpath=F]
//	announce PEER PREFIX... [path=N,N] [nh=A] [origin=N] [med=N] [lp=N] [comm=N:N,...] [large=N:N:N] [ext=HEX]
//	         [view=V] [family=F] [nrd=N:N] [label=N] [pathid=N]
//	withdraw PEER PREFIX... [view=V] [family=F] [nrd=N:N] [pathid=N]
//	eor PEER [view=V] [family=F]
//	stats PEER TYPE=N...
//	down PEER REASON [CODE/SUBCODE]
//	shutdown PEER TEXT          peer down with a shutdown communication
//	clock RFC3339|0             the router's stamp on what follows
//	mirror PEER                 a KEEPALIVE, mirrored
//	terminate REASON
//	raw HEX                     one message, whatever it is
//	close
//
// PEER is an address or loc-rib; family one of ipv4, ipv6, vpn4, vpn6, evpn, flow4.
type router struct {
	t     testing.TB
	conn  net.Conn
	from  netip.AddrPort
	peers map[string]bmptest.Peer
}

func dialRouter(t testing.TB, s *engine.Station, from string) *router {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", s.Listeners()[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &router{t: t, conn: conn, from: conn.LocalAddr().(*net.TCPAddr).AddrPort(), peers: make(map[string]bmptest.Peer)}
}

// client is the router's client on the station; nil before its first message.
func (r *router) client(s *engine.Station) *client.Client {
	if found := s.FindClients(r.from.String()); len(found) == 1 {
		return found[0]
	}
	return nil
}

// play sends the messages of a script and waits until the station has read them.
func (r *router) play(s *engine.Station, script string) {
	r.t.Helper()
	session := new(bmptest.Session)
	closed := false
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if words[0] == "close" {
			closed = true
			break
		}
		r.say(session, words[0], words[1:])
	}
	r.send(s, session)
	if closed {
		r.conn.Close()
		waitFor(r.t, "the session to end", func() bool { return r.client(s).Brief().State == client.Down })
	}
}

// send sends what was written and waits until the station has read it.
func (r *router) send(s *engine.Station, session *bmptest.Session) {
	r.t.Helper()
	n := uint64(len(session.Messages()))
	if c := r.client(s); c != nil {
		n += c.Brief().Messages // counters may have been cleared meanwhile
	}
	if _, err := r.conn.Write(session.Bytes()); err != nil {
		r.t.Fatal(err)
	}
	waitFor(r.t, "the station to read what the router sent", func() bool {
		c := r.client(s)
		return c != nil && c.Brief().Messages >= n
	})
}

var testFamilies = map[string]bmptest.Family{"ipv4": bmptest.IPv4Unicast, "ipv6": bmptest.IPv6Unicast, "vpn4": bmptest.IPv4VPN,
	"vpn6": bmptest.IPv6VPN, "evpn": bmptest.EVPN, "flow4": bmptest.IPv4Flow}

func (r *router) say(s *bmptest.Session, verb string, words []string) {
	r.t.Helper()
	options := make(map[string]string)
	var plain []string
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			options[name] = value
		} else {
			plain = append(plain, w)
		}
	}
	number := func(name string) uint32 {
		n, err := strconv.ParseUint(options[name], 10, 32)
		if err != nil && options[name] != "" {
			r.t.Fatalf("%s=%s", name, options[name])
		}
		return uint32(n)
	}
	families := func(name string) (list []bmptest.Family) {
		for f := range strings.SplitSeq(options[name], ",") {
			if f != "" {
				list = append(list, testFamilies[f])
			}
		}
		return list
	}
	var p bmptest.Peer
	if len(plain) > 0 {
		p = r.peers[plain[0]]
	}
	view, _ := bmp.ParseView(options["view"])
	family := bmptest.IPv4Unicast
	if f, ok := testFamilies[options["family"]]; ok {
		family = f
	} else if len(plain) > 1 && strings.Contains(plain[1], ":") {
		family = bmptest.IPv6Unicast
	}
	switch verb {
	case "initiation":
		s.Initiation(plain[0], strings.Join(plain[1:], " "))
	case "up":
		rd := distinguisher(options["rd"])
		if plain[0] == "loc-rib" {
			p = bmptest.NewLocRIB(options["table"], rd, number("as"))
		} else {
			p = bmptest.NewPeer(plain[0], number("as"))
			if rd != 0 {
				p.Header.Type, p.Header.Distinguisher = bmp.RDPeer, rd
			}
			if t := options["table"]; t != "" {
				p.TLVs = []bmp.TLV{{Type: bmp.PeerTableName, Value: []byte(t)}}
			}
		}
		if f := families("families"); f != nil {
			p.Sent.Families, p.Received.Families = f, f
		}
		for _, f := range families("addpath") {
			p.Sent.AddPath = append(p.Sent.AddPath, bmptest.AddPath{Family: f, Mode: 1})
			p.Received.AddPath = append(p.Received.AddPath, bmptest.AddPath{Family: f, Mode: 2})
		}
		r.peers[plain[0]] = p
		s.PeerUp(p)
	case "announce", "withdraw":
		u := bmptest.Update{Family: family, Origin: uint8(number("origin"))}
		var list []bmptest.NLRI
		for _, x := range plain[1:] {
			n := bmptest.NLRI{PathID: number("pathid"), RD: distinguisher(options["nrd"])}
			if family == bmptest.EVPN || family == bmptest.IPv4Flow {
				b, err := hex.DecodeString(x)
				if err != nil {
					r.t.Fatal(err)
				}
				n.Raw = b
			} else {
				n.Prefix = netip.MustParsePrefix(x)
			}
			if options["label"] != "" {
				n.Labels = []uint32{number("label")}
			} else if family.SAFI == 128 {
				n.Labels = []uint32{0x800000}
			}
			list = append(list, n)
		}
		u.AddPath = options["pathid"] != ""
		if verb == "withdraw" {
			u.Withdraw = list
		} else {
			u.Announce = list
		}
		for as := range strings.SplitSeq(options["path"], ",") {
			if n, err := strconv.ParseUint(as, 10, 32); err == nil {
				u.ASPath = append(u.ASPath, uint32(n))
			}
		}
		if options["nh"] != "" {
			u.NextHop = netip.MustParseAddr(options["nh"])
		}
		if options["med"] != "" {
			n := number("med")
			u.MED = &n
		}
		if options["lp"] != "" {
			n := number("lp")
			u.LocalPref = &n
		}
		for c := range strings.SplitSeq(options["comm"], ",") {
			var hi, lo uint32
			if n, _ := fmt.Sscanf(c, "%d:%d", &hi, &lo); n == 2 {
				u.Communities = append(u.Communities, hi<<16|lo)
			}
		}
		var lc [3]uint32
		if n, _ := fmt.Sscanf(options["large"], "%d:%d:%d", &lc[0], &lc[1], &lc[2]); n == 3 {
			u.LargeCommunities = append(u.LargeCommunities, lc)
		}
		if n, err := strconv.ParseUint(options["ext"], 16, 64); err == nil {
			u.ExtCommunities = append(u.ExtCommunities, n)
		}
		s.Monitor(p, view, u.Bytes())
	case "eor":
		s.EndOfRIB(p, view, family)
	case "stats":
		var list []bmp.Stat
		for t, v := range options {
			typ, _ := strconv.Atoi(t)
			n, _ := strconv.ParseUint(v, 10, 64)
			if typ == 7 || typ == 8 {
				list = append(list, bmptest.Gauge(uint16(typ), n))
			} else {
				list = append(list, bmptest.Counter(uint16(typ), uint32(n)))
			}
		}
		s.Statistics(p, list...)
	case "down":
		reason, _ := strconv.Atoi(plain[1])
		var notification []byte
		if len(plain) > 2 {
			var code, subcode uint8
			fmt.Sscanf(plain[2], "%d/%d", &code, &subcode)
			notification = bmptest.Notification(code, subcode)
		}
		s.PeerDown(p, bmp.PeerDownReason(reason), notification)
	case "shutdown":
		s.PeerDown(p, bmp.DownRemoteNotification, bmptest.Shutdown(strings.Join(plain[1:], " ")))
	case "clock":
		s.Time = time.Time{}
		if plain[0] != "0" {
			t, err := time.Parse(time.RFC3339, plain[0])
			if err != nil {
				r.t.Fatal(err)
			}
			s.Time = t
		}
	case "mirror":
		s.Mirror(p, bmptest.Keepalive())
	case "terminate":
		reason, _ := strconv.Atoi(plain[0])
		s.Termination(bmp.TerminationReason(reason))
	case "raw":
		s.Raw(bmptest.Hex(strings.Join(words, " ")))
	default:
		r.t.Fatalf("a router does not say %q", verb)
	}
}

// distinguisher reads N:N as a route distinguisher of type 0.
func distinguisher(text string) uint64 {
	var as, n uint64
	if k, _ := fmt.Sscanf(text, "%d:%d", &as, &n); k != 2 {
		return 0
	}
	return as<<32 | n
}
