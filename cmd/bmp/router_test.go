package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// bmpsend is the router of the transcripts:
//
//	bmpsend [-from ADDR] HOST:PORT FILE
//
// connects and sends what FILE says, a message a line, and then holds the
// session until it is interrupted, as a router would:
//
//	initiation NAME DESCRIPTION...
//	up PEER as=N [rd=N:M] [table=NAME]      PEER: an address, or loc-rib
//	announce PEER PREFIX... path=N,N... [nh=ADDR] [med=N] [lp=N] [comm=N:M,...] [view=VIEW]
//	withdraw PEER PREFIX... [view=VIEW]
//	eor PEER [view=VIEW]
//	down PEER reason=N [fsm=N] [code=N/N]
//	stats PEER TYPE=VALUE...                counters of 4 bytes, gauges of 8 from type 7 on
//	mirror PEER PREFIX... path=N,N...       an UPDATE, mirrored
//	termination REASON
//	hex BYTES...                            as they are
//	text "..."                              as it is, a Go string
//	close                                   end the session here
//	closed                                  wait until the station ends it, and say so
func bmpsend() {
	args := os.Args[1:]
	d := net.Dialer{Timeout: scriptLimit}
	if len(args) > 2 && args[0] == "-from" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(args[1])}
		args = args[2:]
	}
	if len(args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bmpsend [-from ADDR] HOST:PORT FILE")
		os.Exit(2)
	}
	if err := sendFile(&d, args[0], args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bmpsend:", err)
		os.Exit(1)
	}
}

func sendFile(d *net.Dialer, to, file string) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	conn, err := d.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := router{peers: map[string]bmptest.Peer{}}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#':
			continue
		case line == "close":
			return nil
		case line == "closed":
			conn.SetReadDeadline(time.Now().Add(scriptLimit))
			if _, err := io.Copy(io.Discard, conn); err != nil && os.IsTimeout(err) {
				return fmt.Errorf("line %d: the station did not close the session", n)
			}
			fmt.Println("closed by the station")
			return nil
		}
		b, err := r.message(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
	<-interrupted
	return lines.Err()
}

// router remembers the peers that it brought up.
type router struct {
	peers map[string]bmptest.Peer
}

// statement is a line taken apart: words, and options with a "=". The first
// error in it sticks.
type statement struct {
	words   []string
	options map[string]string
	err     error
}

func parseStatement(line string) *statement {
	s := &statement{options: map[string]string{}}
	for w := range strings.FieldsSeq(line) {
		if k, v, ok := strings.Cut(w, "="); ok {
			s.options[k] = v
		} else {
			s.words = append(s.words, w)
		}
	}
	return s
}

func (s *statement) fail(err error) {
	if err != nil && s.err == nil {
		s.err = err
	}
}

// parse reads a number of at most the given bits; what is not there is 0.
func (s *statement) parse(text string, bits int) uint64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, bits)
	s.fail(err)
	return n
}

func (s *statement) number(name string, bits int) uint64 { return s.parse(s.options[name], bits) }

// pair reads N:M as n<<shift|m.
func (s *statement) pair(text string, shift int) uint64 {
	n, m, _ := strings.Cut(text, ":")
	return s.parse(n, 64-shift)<<shift | s.parse(m, shift)
}

func (s *statement) optional(name string) *uint32 {
	if s.options[name] == "" {
		return nil
	}
	n := uint32(s.number(name, 32))
	return &n
}

func (r *router) message(line string) ([]byte, error) {
	verb, rest, _ := strings.Cut(line, " ")
	var out bmptest.Session
	out.Time = time.Now()
	switch verb {
	case "hex":
		return bmptest.Hex(rest), nil
	case "text":
		s, err := strconv.Unquote(strings.TrimSpace(rest))
		return []byte(s), err
	case "initiation":
		name, descr, _ := strings.Cut(rest, " ")
		return out.Initiation(name, descr).Bytes(), nil
	}
	s := parseStatement(rest)
	if len(s.words) == 0 {
		return nil, fmt.Errorf("%s of what?", verb)
	}
	switch verb {
	case "termination":
		out.Termination(bmp.TerminationReason(s.parse(s.words[0], 16)))
	case "up":
		out.PeerUp(r.up(s))
	default:
		p, ok := r.peers[s.words[0]]
		if !ok {
			return nil, fmt.Errorf("%s: peer %s is not up", verb, s.words[0])
		}
		r.peerMessage(&out, verb, p, s)
	}
	return out.Bytes(), s.err
}

func (r *router) up(s *statement) bmptest.Peer {
	as, name := uint32(s.number("as", 32)), s.words[0]
	rd := s.pair(s.options["rd"], 32)
	var p bmptest.Peer
	if name == "loc-rib" {
		p = bmptest.NewLocRIB(s.options["table"], rd, as)
	} else {
		p = bmptest.NewPeer(name, as)
		p.Received.Families = []bmptest.Family{bmptest.IPv4Unicast, bmptest.IPv6Unicast}
		p.Sent.Families = p.Received.Families
		if rd != 0 {
			p.Header.Type, p.Header.Distinguisher = bmp.RDPeer, rd
		}
		if t := s.options["table"]; t != "" {
			p.TLVs = append(p.TLVs, bmp.TLV{Type: bmp.PeerTableName, Value: []byte(t)})
		}
	}
	r.peers[name] = p
	return p
}

func (r *router) peerMessage(out *bmptest.Session, verb string, p bmptest.Peer, s *statement) {
	view := bmp.AdjInPre
	if p.Header.Type == bmp.LocRIBPeer {
		view = bmp.LocRIB
	}
	if text := s.options["view"]; text != "" {
		v, ok := bmp.ParseView(text)
		if !ok {
			s.fail(fmt.Errorf("no view %s", text))
		}
		view = v
	}
	switch verb {
	case "announce", "withdraw":
		out.Monitor(p, view, s.update(verb == "announce"))
	case "mirror":
		out.Mirror(p, s.update(true))
	case "eor":
		out.EndOfRIB(p, view, bmptest.IPv4Unicast)
	case "down":
		m := &bmp.PeerDown{PeerHeader: p.Header, Reason: bmp.PeerDownReason(s.number("reason", 8)), FSMEvent: uint16(s.number("fsm", 16))}
		if code, sub, ok := strings.Cut(s.options["code"], "/"); ok {
			m.Notification = bmptest.Notification(uint8(s.parse(code, 8)), uint8(s.parse(sub, 8)))
		}
		out.Add(m)
	case "stats":
		var stats []bmp.Stat
		for typ := range uint16(64) {
			v, ok := s.options[strconv.Itoa(int(typ))]
			switch {
			case ok && typ < 7:
				stats = append(stats, bmptest.Counter(typ, uint32(s.parse(v, 32))))
			case ok:
				stats = append(stats, bmptest.Gauge(typ, s.parse(v, 64)))
			}
		}
		out.Statistics(p, stats...)
	default:
		s.fail(fmt.Errorf("no message %s", verb))
	}
}

// update announces or withdraws prefixes of one family.
func (s *statement) update(announce bool) []byte {
	u := bmptest.Update{Family: bmptest.IPv4Unicast}
	routes := bmptest.Prefixes(s.words[1:]...)
	if len(routes) > 0 && routes[0].Prefix.Addr().Is6() {
		u.Family = bmptest.IPv6Unicast
	}
	if !announce {
		u.Withdraw = routes
		return u.Bytes()
	}
	u.Announce, u.MED, u.LocalPref = routes, s.optional("med"), s.optional("lp")
	if nh := s.options["nh"]; nh != "" {
		a, err := netip.ParseAddr(nh)
		s.fail(err)
		u.NextHop = a
	}
	for _, hop := range splitList(s.options["path"]) {
		u.ASPath = append(u.ASPath, uint32(s.parse(hop, 32)))
	}
	for _, c := range splitList(s.options["comm"]) {
		u.Communities = append(u.Communities, uint32(s.pair(c, 16)))
	}
	return u.Bytes()
}

func splitList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
