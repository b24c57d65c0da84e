package bmp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"bmp/proto/wire"
)

// unhex reads hexadecimal with blanks, newlines and comments from # to the end of a line.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	marker = "ffffffffffffffff ffffffffffffffff"
	eor    = marker + " 0017 02 0000 0000\n"
	open   = marker + ` 001d 01    # OPEN of 29 bytes
		04 fde8 00b4 c0000201 00    # version 4, AS 65000, hold time 180, ID 192.0.2.1, no parameters
		`
	notification = marker + " 0015 03 06 02\n" // Cease, Administrative Shutdown
)

// peer is a Per-Peer Header of type 0 with the given flags.
func peerHex(typ, flags string) string {
	return typ + " " + flags + ` 0000000000000000    # type, flags, distinguisher
		000000000000000000000000 c0000202    # 192.0.2.2
		0000fde9 c0000203                    # AS 65001, ID 192.0.2.3
		5f5e1000 000f4240                    # seconds, microseconds
		`
}

func peer(typ PeerType, flags uint8) PerPeerHeader {
	return PerPeerHeader{Type: typ, Flags: flags, Address: netip.MustParseAddr("192.0.2.2"), AS: 65001,
		BGPID: [4]byte{192, 0, 2, 3}, Sec: 0x5f5e1000, Micro: 1000000}
}

func locRIB() PerPeerHeader {
	h := peer(LocRIBPeer, 0x80)
	h.Address, h.Distinguisher = netip.Addr{}, 0x0000fde800000001
	return h
}

const locRIBHex = `03 80 0000fde800000001             # Loc-RIB, filtered, RD 65000:1
	00000000000000000000000000000000     # no address
	0000fde9 c0000203 5f5e1000 000f4240
	`

// messageTests are messages byte by byte, in both directions.
func messageTests(t testing.TB) []struct {
	name string
	e    Encoding
	hex  string
	msg  Message
} {
	h := func(s string) []byte { return unhex(t, s) }
	return []struct {
		name string
		e    Encoding
		hex  string
		msg  Message
	}{
		{"initiation", Encoding{}, `
			03 00000026 04            # version, length, type
			0002 0005 6564676531      # sysName edge1
			0001 0003 204341          # sysDescr " CA"
			0000 0001 78              # string x
			9000 0002 abcd            # 16 bits of type: nobody's, kept`,
			&Initiation{TLVs: []TLV{{Type: 2, Value: []byte("edge1")}, {Type: 1, Value: []byte(" CA")}, {Type: 0, Value: []byte("x")},
				{Type: 0x9000, Value: []byte{0xab, 0xcd}}}}},
		{"initiation without TLVs", Encoding{}, "03 00000006 04", &Initiation{}},
		{"initiation, version 4", Encoding{Version: 4}, `
			04 0000001c 04
			8003 0006 00007ed9 6869   # E bit, type 3, length with PEN; PEN 32473; "hi"
			ffff 0004 00000001        # reserved type: no PEN`,
			&Initiation{TLVs: []TLV{{Type: 3, Enterprise: true, PEN: 32473, Value: []byte("hi")},
				{Type: 0xffff, Value: []byte{0, 0, 0, 1}}}}},
		{"termination", Encoding{}, `
			03 00000012 05
			0001 0002 0002            # reason: out of resources
			0000 0002 6279            # "by"`,
			&Termination{TLVs: []TLV{{Type: 1, Value: []byte{0, 2}}, {Type: 0, Value: []byte("by")}}}},
		{"peer up", Encoding{}, `
			03 00000087 03 ` + peerHex("00", "00") + `
			000000000000000000000000 c0000201   # local address
			00b3 c001                           # ports 179, 49153
			` + open + open + `
			0000 0005 41372e696e                # string A7.in, Juniper's table name`,
			&PeerUp{PeerHeader: peer(GlobalPeer, 0), LocalAddress: netip.MustParseAddr("192.0.2.1"), LocalPort: 179,
				RemotePort: 49153, SentOpen: h(open), ReceivedOpen: h(open), TLVs: []TLV{{Value: []byte("A7.in")}}}},
		{"peer up of an IPv6 peer", Encoding{}, `
			03 0000007e 03
			01 a0 0001 c6336401 0007                # RD peer; V, A; RD 198.51.100.1:7
			20010db8000000000000000000000002        # 2001:db8::2
			0000fde9 c0000203 00000000 00000000     # no time
			20010db8000000000000000000000001 00b3 c001
			` + open + open,
			&PeerUp{PeerHeader: PerPeerHeader{Type: RDPeer, Flags: 0xa0, Distinguisher: 0x0001c63364010007,
				Address: netip.MustParseAddr("2001:db8::2"), AS: 65001, BGPID: [4]byte{192, 0, 2, 3}},
				LocalAddress: netip.MustParseAddr("2001:db8::1"), LocalPort: 179, RemotePort: 49153,
				SentOpen: h(open), ReceivedOpen: h(open)}},
		{"peer up of Loc-RIB", Encoding{}, `
			03 0000008f 03 ` + locRIBHex + `
			00000000000000000000000000000000 0000 0000
			` + open + open + `
			0003 0006 676c6f62616c              # table name global
			0004 0003 6c6162                    # admin label lab`,
			&PeerUp{PeerHeader: locRIB(), SentOpen: h(open), ReceivedOpen: h(open),
				TLVs: []TLV{{Type: 3, Value: []byte("global")}, {Type: 4, Value: []byte("lab")}}}},
		{"peer up, version 2", Encoding{Version: 2}, `
			02 03 ` + peerHex("00", "00") + `
			000000000000000000000000 c0000201 00b3 c001
			` + open + open,
			&PeerUp{PeerHeader: peer(GlobalPeer, 0), LocalAddress: netip.MustParseAddr("192.0.2.1"), LocalPort: 179,
				RemotePort: 49153, SentOpen: h(open), ReceivedOpen: h(open)}},
		{"peer down 1", Encoding{}, "03 00000046 02" + peerHex("00", "40") + "01" + notification,
			&PeerDown{PeerHeader: peer(GlobalPeer, 0x40), Reason: DownLocalNotification, Notification: h(notification)}},
		{"peer down 2", Encoding{}, "03 00000033 02" + peerHex("00", "00") + "02 0012",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownLocal, FSMEvent: 18}},
		{"peer down 3", Encoding{}, "03 00000046 02" + peerHex("00", "00") + "03" + notification,
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownRemoteNotification, Notification: h(notification)}},
		{"peer down 4", Encoding{}, "03 00000031 02" + peerHex("00", "00") + "04",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownRemote}},
		{"peer down 5", Encoding{}, "03 00000031 02" + peerHex("00", "00") + "05",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownUnmonitored}},
		{"peer down 6", Encoding{}, "03 0000003b 02" + locRIBHex + "06 0003 0006 676c6f62616c",
			&PeerDown{PeerHeader: locRIB(), Reason: DownLocalTLV, TLVs: []TLV{{Type: 3, Value: []byte("global")}}}},
		{"peer down 9", Encoding{}, "03 00000033 02" + peerHex("00", "00") + "09 abcd",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: 9, Data: []byte{0xab, 0xcd}}},
		{"peer down 2, version 4", Encoding{Version: 4}, "04 0000003d 02" + peerHex("00", "00") + "02 0012 0003 0006 676c6f62616c",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownLocal, FSMEvent: 18, TLVs: []TLV{{Type: 3, Value: []byte("global")}}}},
		{"peer down 3, version 4", Encoding{Version: 4}, "04 0000004b 02" + peerHex("00", "00") + "03" + notification + "0000 0001 78",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownRemoteNotification, Notification: h(notification),
				TLVs: []TLV{{Value: []byte("x")}}}},
		{"peer down 2, version 1", Encoding{Version: 1}, "01 02" + peerHex("00", "00") + "02 0007",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownLocal, FSMEvent: 7}},
		{"peer down 2 without event, version 1", Encoding{Version: 1}, "01 02" + peerHex("00", "00") + "02",
			&PeerDown{PeerHeader: peer(GlobalPeer, 0), Reason: DownLocal, NoFSMEvent: true}},
		{"statistics", Encoding{}, `
			03 00000055 01 ` + peerHex("00", "00") + `
			00000004                              # count
			0000 0004 00000007                    # rejected: 7
			0007 0008 0000000100000000            # Adj-RIB-In: 2^32
			0009 0003 000101                      # per family, cut short
			fffb 0004 0000000a                    # FRR's own`,
			&StatisticsReport{PeerHeader: peer(GlobalPeer, 0), Stats: []Stat{{Type: 0, Raw: h("00000007")},
				{Type: 7, Raw: h("0000000100000000")}, {Type: 9, Raw: h("000101")}, {Type: 65531, Raw: h("0000000a")}}}},
		{"statistics, version 1", Encoding{Version: 1}, "01 01" + peerHex("00", "00") + "00000001 0001 0004 00000002",
			&StatisticsReport{PeerHeader: peer(GlobalPeer, 0), Stats: []Stat{{Type: 1, Raw: h("00000002")}}}},
		{"statistics, version 4", Encoding{Version: 4}, `
			04 0000005b 01 ` + peerHex("00", "00") + `
			0001 0017                             # Stats TLV
			  00000002                            # count
			  000a 000b 0002 01 0000000000000009  # Loc-RIB, IPv6 unicast: 9
			                                      # (and one of an enterprise:)
			  8001 0004 00007ed9
			0001 0008 0000000000000005            # sequence number, the other type 1`,
			nil},
		{"statistics, version 4 as version 3", Encoding{Version: 4}, "04 0000003c 01" + peerHex("00", "00") + "00000001 0001 0004 00000002",
			&StatisticsReport{PeerHeader: peer(GlobalPeer, 0), Stats: []Stat{{Type: 1, Raw: h("00000002")}}, Bare: true}},
		{"route monitoring", Encoding{}, "03 00000047 00" + peerHex("00", "70") + eor,
			&RouteMonitoring{PeerHeader: peer(GlobalPeer, 0x70), Update: h(eor)}},
		{"route monitoring, version 1", Encoding{Version: 1}, "01 00" + peerHex("00", "40") + eor,
			&RouteMonitoring{PeerHeader: peer(GlobalPeer, 0x40), Update: h(eor)}},
		{"route monitoring, version 4, draft 20", Encoding{Version: 4, Profile: ProfileDraft20}, `
			04 0000007a 00 ` + peerHex("00", "00") + `
			0006 0006 0000 41 04 0000fde8         # stateless parsing: 4-octet AS numbers
			0005 0003 0000 726564                 # table name red
			8001 0006 0001 00007ed9 abcd          # an enterprise's, NLRI 1
			0007 0017 0000 ` + eor,
			nil},
		{"route monitoring, version 4, deployed", Encoding{Version: 4, Profile: ProfileDeployed}, `
			04 0000006f 00 ` + locRIBHex + `
			0002 0004 8001 0001 0002              # group 1: NLRI 1 and 2
			0003 0006 0000 676c6f62616c           # table name global
			0005 0006 8001 00000002 0006          # of group 1: best, MED
			0004 0017 0000 ` + eor,
			nil},
		{"route mirroring", Encoding{}, `
			03 00000055 06 ` + peerHex("00", "00") + `
			0000 0015 ` + notification + `
			0001 0002 0000                        # errored PDU
			0063 0001 07                          # not known`,
			&RouteMirroring{PeerHeader: peer(GlobalPeer, 0), TLVs: []TLV{{Value: h(notification)}, {Type: 1, Value: []byte{0, 0}},
				{Type: 99, Value: []byte{7}}}}},
		{"unknown", Encoding{}, "03 00000009 64 0a0b0c", &Unknown{Kind: 100, Body: []byte{10, 11, 12}}},
	}
}

func TestMessages(t *testing.T) {
	for _, tt := range messageTests(t) {
		t.Run(tt.name, func(t *testing.T) {
			raw := unhex(t, tt.hex)
			if tt.msg == nil {
				return // looked at in tests of its own
			}
			if raw[0] >= 3 { // so that the lengths above need not be counted by hand
				fixLength(raw)
			}
			f, err := FrameOf(raw, 0)
			if err != nil {
				t.Fatal(err)
			}
			var p Parser
			for range 2 { // a second time into what the first left
				got, err := p.Parse(f)
				if err != nil {
					t.Fatal(err)
				}
				if !equal(got, tt.msg) {
					t.Fatalf("parsed:\n%+v\nwant:\n%+v", got, tt.msg)
				}
				if got.Type() != f.Type {
					t.Errorf("Type = %v", got.Type())
				}
			}
			out, err := tt.msg.Append([]byte("before"), tt.e)
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("before"), raw...); !bytes.Equal(out, want) {
				t.Errorf("appended:\n%x\nwant:\n%x", out, want)
			}
		})
	}
}

func fixLength(raw []byte) {
	raw[1], raw[2], raw[3], raw[4] = 0, 0, byte(len(raw)>>8), byte(len(raw))
}

// equal compares messages; an empty slice is a nil one.
func equal(a, b Message) bool {
	return fmt.Sprintf("%T%+v", a, a) == fmt.Sprintf("%T%+v", b, b) && reflect.TypeOf(a) == reflect.TypeOf(b)
}

func TestStatisticsVersion4(t *testing.T) {
	raw := unhex(t, `
		04 00000000 01 `+peerHex("00", "00")+`
		0001 001b                             # Stats TLV
		  00000002                            # count
		  000a 000b 0002 01 0000000000000009  # Loc-RIB, IPv6 unicast: 9
		  8001 0004 00007ed9                  # an enterprise's, empty
		0001 0008 0000000000000005            # sequence number, the other type 1`)
	fixLength(raw)
	m, err := parseOne(raw)
	if err != nil {
		t.Fatal(err)
	}
	r := m.(*StatisticsReport)
	if len(r.Stats) != 2 || len(r.TLVs) != 1 || r.TLVs[0].Type != 1 || len(r.TLVs[0].Value) != 8 || r.Bare {
		t.Fatalf("%+v", r)
	}
	if v, ok := r.Stats[0].Value(); v != 9 || !ok {
		t.Errorf("Value = %d, %v", v, ok)
	}
	if afi, safi, ok := r.Stats[0].Family(); afi != 2 || safi != 1 || !ok {
		t.Errorf("Family = %d/%d, %v", afi, safi, ok)
	}
	if got := r.Stats[1].Name(); got != "enterprise 32473 type 1" {
		t.Errorf("Name = %q", got)
	}
	out, err := r.Append(nil, Encoding{Version: 4})
	if err != nil || !bytes.Equal(out, raw) {
		t.Errorf("%x, %v", out, err)
	}
}

func parseOne(raw []byte) (Message, error) {
	f, err := FrameOf(raw, 0)
	if err != nil {
		return nil, err
	}
	return new(Parser).Parse(f)
}

// TestMalformed: bodies that are wrong, where, and what of the message is there all the same.
func TestMalformed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hex    string
		offset int
		field  string
		peer   bool // a message with a Per-Peer Header is returned
	}{
		{"no Per-Peer Header", "03 00000000 00 00", 6, "Per-Peer Header", false},
		{"Per-Peer Header cut", "03 00000000 01 " + peerHex("00", "00")[:40], 6, "Per-Peer Header", false},
		{"no UPDATE", "03 00000000 00" + peerHex("00", "00"), 48, "UPDATE", true},
		{"UPDATE cut", "03 00000000 00" + peerHex("00", "00") + marker + " 0018 02 0000 0000", 64, "UPDATE", true},
		{"more than an UPDATE", "03 00000000 00" + peerHex("00", "00") + eor + "00", 71, "end", true},
		{"BGP length 3", "03 00000000 00" + peerHex("00", "00") + marker + " 0003 02 0000 0000", 64, "UPDATE", true},
		{"TLV longer than its message", "03 00000000 04 0002 0003 6162", 8, "TLV length", false},
		{"TLV of 65,535 bytes", "03 00000000 05 0002 ffff 6162", 8, "TLV length", false},
		{"TLV header cut", "03 00000000 04 0002 0001 61 0002 00", 13, "TLV length", false},
		{"mirroring TLV longer than its message", "03 00000000 06" + peerHex("00", "00") + "0000 0017 ffff", 50, "TLV length", true},
		{"peer up TLV longer", "03 00000000 03" + peerHex("00", "00") + "000000000000000000000000 c0000201 00b3 c001" + open + open + "0003 0009 61", 128, "TLV length", true},
		{"peer up without OPEN", "03 00000000 03" + peerHex("00", "00") + "000000000000000000000000 c0000201 00b3 c001" + open, 97, "received OPEN", true},
		{"peer up with an OPEN of 4,097 bytes", "03 00000000 03" + peerHex("00", "00") + "000000000000000000000000 c0000201 00b3 c001" +
			marker + " 1001 01" + strings.Repeat("00", 4097-19) + open, 84, "sent OPEN", true},
		{"peer up address cut", "03 00000000 03" + peerHex("00", "00") + "0000", 48, "local address", true},
		{"peer down without reason", "03 00000000 02" + peerHex("00", "00"), 48, "reason", true},
		{"peer down without NOTIFICATION", "03 00000000 02" + peerHex("00", "00") + "01", 49, "NOTIFICATION", true},
		{"peer down without FSM event", "03 00000000 02" + peerHex("00", "00") + "02 00", 49, "FSM event", true},
		{"peer down 4 with data", "03 00000000 02" + peerHex("00", "00") + "04 00", 49, "end", true},
		{"statistics count too high", "03 00000000 01" + peerHex("00", "00") + "ffffffff 0000 0004 00000001", 60, "TLV type", true},
		{"statistics count too low", "03 00000000 01" + peerHex("00", "00") + "00000000 0000 0004 00000001", 52, "end", true},
		{"statistic longer than its message", "03 00000000 01" + peerHex("00", "00") + "00000001 0000 0005 00000001", 54, "TLV length", true},
		{"version 4 statistic longer than its TLV", "04 00000000 01" + peerHex("00", "00") + "0001 000c 00000001 0000 0005 00000001", 58, "TLV length", true},
		{"version 4 statistics without them", "04 00000000 01" + peerHex("00", "00") + "0002 0001 00", 48, "Stats TLV", true},
		{"version 4 without BGP message", "04 00000000 00" + peerHex("00", "00") + "0003 0001 0000 61", 48, "BGP Message TLV", true},
		{"version 4 with two", "04 00000000 00" + peerHex("00", "00") + "0004 0017 0000 " + eor + "0004 0017 0000 " + eor, 77, "BGP Message TLV", true},
		{"version 4 with a cut one", "04 00000000 00" + peerHex("00", "00") + "0003 0001 0000 61 0004 0017 0000 " + marker + " 0018 02 0000 0000", 77, "UPDATE", true},
		{"version 4 enterprise TLV too short", "04 00000000 04 8001 0003 000000", 8, "TLV length", false},
		{"version 4 index cut", "04 00000000 00" + peerHex("00", "00") + "0004 0000 00", 52, "TLV index", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := unhex(t, tt.hex)
			fixLength(raw)
			m, err := parseOne(raw)
			var e *wire.Error
			if !errors.As(err, &e) {
				t.Fatalf("error is %v", err)
			}
			if e.Offset != tt.offset || e.Field != tt.field || e.Section == "" {
				t.Errorf("%+v; want offset %d, field %q", e, tt.offset, tt.field)
			}
			if tt.peer && (m == nil || m.Peer() == nil || m.Peer().AS != 65001) {
				t.Errorf("message is %+v", m)
			}
		})
	}
}

// TestCutAtEveryByte: a message that ends early, with a length that agrees, is an error or a shorter message, never a panic.
func TestCutAtEveryByte(t *testing.T) {
	for _, tt := range messageTests(t) {
		raw := unhex(t, tt.hex)
		if raw[0] < 3 {
			continue
		}
		for n := HeaderLen; n <= len(raw); n++ {
			cut := bytes.Clone(raw[:n])
			fixLength(cut)
			f, err := FrameOf(cut, 0)
			if err != nil {
				t.Fatal(err)
			}
			var p Parser
			checkMessage(t, &p, f)
		}
	}
}

// checkMessage holds for every frame: it parses or has an error within it, and what parses survives being written and read.
func checkMessage(t *testing.T, p *Parser, f Frame) {
	t.Helper()
	m, err := p.Parse(f)
	if err != nil {
		var e *wire.Error
		if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(f.Raw) || e.Field == "" {
			t.Fatalf("error %v (%+v) of a frame of %d bytes", err, e, len(f.Raw))
		}
		return
	}
	before := fmt.Sprintf("%T%+v", m, m)
	e := Encoding{Version: f.Version}
	if rm, ok := m.(*RouteMonitoring); ok {
		e.Profile = rm.Profile
		readAccessors(rm)
	}
	raw, err := m.Append(nil, e)
	if err != nil {
		t.Fatalf("%v of %s", err, before)
	}
	if f.Version < 4 && !bytes.Equal(raw, f.Raw) {
		t.Fatalf("read:\n%x\nwritten:\n%x", f.Raw, raw)
	}
	again, err := FrameOf(raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	q := Parser{Profile: e.Profile}
	m2, err := q.Parse(again)
	if err != nil {
		t.Fatalf("%v of what was written: %x", err, raw)
	}
	if after := fmt.Sprintf("%T%+v", m2, m2); after != before {
		t.Fatalf("read:\n%s\nread again:\n%s", before, after)
	}
}

// readAccessors calls what looks into TLVs.
func readAccessors(m *RouteMonitoring) {
	m.Stateless()
	for range m.Capabilities() {
	}
	for range m.Timestamps(1) {
	}
	m.Marking(1)
	m.TableName()
	m.Sequence()
}

func FuzzParse(f *testing.F) {
	for _, tt := range messageTests(f) {
		raw := unhex(f, tt.hex)
		if raw[0] >= 3 {
			fixLength(raw)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) == 0 {
			return
		}
		version := raw[0]%4 + 1
		raw = bytes.Clone(raw)
		raw[0] = version
		if version >= 3 {
			if len(raw) < HeaderLen || len(raw) > 0xffff {
				return
			}
			fixLength(raw)
		}
		frame, err := FrameOf(raw, 0)
		if err != nil {
			return
		}
		for profile := ProfileAuto; profile <= ProfileEditors; profile++ {
			p := Parser{Profile: profile}
			checkMessage(t, &p, frame)
		}
	})
}

func TestAppendRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    Message
		e    Encoding
	}{
		{"initiation in version 1", &Initiation{}, Encoding{Version: 1}},
		{"termination in version 2", &Termination{}, Encoding{Version: 2}},
		{"mirroring in version 2", &RouteMirroring{}, Encoding{Version: 2}},
		{"unknown in version 1", &Unknown{Kind: 100}, Encoding{Version: 1}},
		{"version 5", &Initiation{}, Encoding{Version: 5}},
		{"enterprise TLV in version 3", &Initiation{TLVs: []TLV{{Enterprise: true}}}, Encoding{}},
		{"TLV of 64 KiB", &Initiation{TLVs: []TLV{{Value: make([]byte, 65536)}}}, Encoding{}},
		{"16-bit type in version 4", &Initiation{TLVs: []TLV{{Type: 0x8000}}}, Encoding{Version: 4}},
		{"index beside Route Monitoring", &Initiation{TLVs: []TLV{{Index: 1}}}, Encoding{Version: 4}},
		{"peer up TLVs in version 2", &PeerUp{TLVs: []TLV{{}}}, Encoding{Version: 2}},
		{"peer down TLVs in version 3", &PeerDown{Reason: DownRemote, TLVs: []TLV{{}}}, Encoding{}},
		{"route monitoring TLVs in version 3", &RouteMonitoring{TLVs: []TLV{{}}}, Encoding{}},
		{"statistics of 64 KiB in version 4", &StatisticsReport{Stats: []Stat{{Raw: make([]byte, 65535)}}}, Encoding{Version: 4}},
		{"statistics TLVs in version 3", &StatisticsReport{TLVs: []TLV{{}}}, Encoding{}},
	} {
		if b, err := tt.m.Append(nil, tt.e); err == nil {
			t.Errorf("%s: %x", tt.name, b)
		}
	}
}
