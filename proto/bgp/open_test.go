package bgp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// fullOpen has every capability that has a text.
const fullOpen = `
	04            # version
	5ba0          # my autonomous system: AS_TRANS
	005a          # hold time 90
	0a000001      # BGP identifier
	%s
`

func TestOpen(t *testing.T) {
	caps := `
		01 04 0001 00 01                          # multiprotocol
		01 04 0019 00 46
		02 00                                     # route refresh
		03 07 0001 00 01 01 40 03                 # ORF
		05 06 0001 0001 0002                      # extended next hop
		06 00                                     # extended message
		08 04 0001 80 02                          # multiple labels
		09 01 03                                  # role customer
		40 06 c05a 0001 01 80                     # graceful restart
		41 04 fa56ea00                            # 4-octet AS
		45 08 0001 01 03 0002 01 01               # ADD-PATH
		46 00                                     # enhanced refresh
		47 07 0001 01 80 000e10                   # long-lived graceful restart
		49 0a 03 6e7931 05 6c6f63616c             # FQDN
		4b 06 05 46525220 38                      # software version
		ef 02 abcd                                # experimental
		63 01 07                                  # nobody knows
		41 02 0001                                # 4-octet AS of the wrong length
	`
	want := []string{
		"multiprotocol: ipv4-unicast", "multiprotocol: l2vpn-evpn", "route-refresh:", "orf: ipv4-unicast type 64 both",
		"extended-next-hop: ipv4-unicast by AFI 2", "extended-message:", "multiple-labels: ipv4-vpn 2", "role: customer",
		"graceful-restart: 90s restarting notification, ipv4-unicast forwarding", "4-octet-as: 4200000000",
		"add-path: ipv4-unicast both, ipv6-unicast receive", "enhanced-route-refresh:",
		"long-lived-graceful-restart: ipv4-unicast 3600s forwarding", "fqdn: ny1.local", "software-version: FRR 8",
		"experimental-239: 0xabcd", "capability-99: 0x07", "4-octet-as: 0x0001",
	}
	v := unhex(t, caps)
	long := binary.BigEndian.AppendUint16([]byte{255, 255}, uint16(3+len(v))) // RFC 9072
	long = append(binary.BigEndian.AppendUint16(append(long, 2), uint16(len(v))), v...)
	for _, test := range []struct {
		name   string
		params []byte
	}{
		{"one parameter", append([]byte{byte(2 + len(v)), 2, byte(len(v))}, v...)},
		{"long form", long},
	} {
		pdu := message(PDUOpen, append(unhex(t, fmt.Sprintf(fullOpen, "")), test.params...))
		o, err := ParseOpen(pdu)
		if err != nil {
			t.Fatal(err)
		}
		if o.Version != 4 || o.MyAS != 23456 || o.AS != 4200000000 || o.HoldTime != 90 || o.ID != [4]byte{10, 0, 0, 1} || o.Extended != (test.name == "long form") {
			t.Errorf("%s: %+v", test.name, o)
		}
		var got []string
		for _, c := range o.Capabilities {
			got = append(got, strings.TrimSpace(c.Name()+": "+c.Text()))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if f := fmt.Sprint(o.Families()); f != "[ipv4-unicast l2vpn-evpn]" {
			t.Errorf("families %s", f)
		}
		if !o.HasAS4() || !o.ExtendedMessage() || o.AddPath(IPv4Unicast) != AddPathBoth || o.AddPath(IPv4VPN) != 0 {
			t.Error("what the OPEN says is not found")
		}
		again, err := ParseOpen(o.Append(nil))
		if err != nil || fmt.Sprint(again.Capabilities) != fmt.Sprint(o.Capabilities) || again.AS != o.AS || again.ID != o.ID {
			t.Errorf("appended and parsed: %+v, %v", again, err)
		}
	}
}

func TestOpenLayout(t *testing.T) {
	o := Open{Version: 4, MyAS: 65001, HoldTime: 180, ID: [4]byte{10, 0, 0, 1},
		Capabilities: []Capability{{CapMultiprotocol, []byte{0, 1, 0, 1}}, {CapRouteRefresh, nil}}}
	want := unhex(t, `ffffffffffffffffffffffffffffffff 0029 01
		04 fde9 00b4 0a000001 0c
		02 06 01 04 0001 00 01
		02 02 02 00`)
	if got := o.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("% x, want\n% x", got, want)
	}
	o.Extended = true
	want = unhex(t, `ffffffffffffffffffffffffffffffff 002e 01
		04 fde9 00b4 0a000001 ff ff 000e
		02 0006 01 04 0001 00 01
		02 0002 02 00`)
	if got := o.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("long form % x, want\n% x", got, want)
	}
	// What does not fit the short form takes the long one by itself.
	o.Extended = false
	for range 40 {
		o.Capabilities = append(o.Capabilities, Capability{99, make([]byte, 5)})
	}
	if again, err := ParseOpen(o.Append(nil)); err != nil || !again.Extended || len(again.Capabilities) != 42 {
		t.Errorf("many capabilities: %d, extended %v, %v", len(again.Capabilities), again.Extended, err)
	}
}

func TestOpenMalformed(t *testing.T) {
	const head = "04 fde9 00b4 0a000001 "
	for _, test := range []struct{ name, body, err string }{
		{"nothing", "", "version: 1 bytes needed, 0 there at offset 19"},
		{"no parameters length", "04 fde9 00b4 0a000001", "optional parameters length: 1 bytes needed, 0 there at offset 28"},
		{"parameters cut", head + "05 02 06", "optional parameters: 5 bytes needed, 2 there at offset 29"},
		{"bytes behind the parameters", head + "00 00", "end: 1 bytes left over at offset 29"},
		{"parameter cut", head + "03 02 06 01", "parameter value: 6 bytes needed, 1 there at offset 31"},
		{"capability cut", head + "06 02 04 01 04 0001", "capability value: 4 bytes needed, 2 there at offset 33"},
		{"long form cut", head + "ff ff 00", "extended optional parameters length: 2 bytes needed, 1 there at offset 30"},
		{"long form, parameters cut", head + "ff ff 0005 02", "optional parameters: 5 bytes needed, 1 there at offset 32"},
	} {
		_, err := ParseOpen(message(PDUOpen, unhex(t, test.body)))
		if err == nil || !strings.HasPrefix(err.Error(), test.err) {
			t.Errorf("%s: %v, want %s", test.name, err, test.err)
		}
	}
	if _, err := ParseOpen(AppendKeepalive(nil)); err == nil {
		t.Error("a KEEPALIVE is an OPEN")
	}
	o, err := ParseOpen(message(PDUOpen, unhex(t, head+"04 01 02 0000")))
	if err != nil || o.Parameters != 1 || len(o.Capabilities) != 0 {
		t.Errorf("a parameter of another kind: %+v, %v", o, err)
	}
}

func addPathOpen(modes map[Family]AddPathMode) *Open {
	var v []byte
	for f, m := range modes {
		v = append(binary.BigEndian.AppendUint16(v, f.AFI), f.SAFI, byte(m))
	}
	return &Open{Capabilities: []Capability{{CapAddPath, v}}}
}

func TestAddPathNegotiation(t *testing.T) {
	for _, test := range []struct {
		sent, received AddPathMode
		in, out, loc   bool
	}{
		{AddPathReceive, AddPathSend, true, false, true},
		{AddPathBoth, AddPathSend, true, false, true},
		{AddPathBoth, AddPathBoth, true, true, true},
		{AddPathSend, AddPathReceive, false, true, true},
		{AddPathSend, AddPathSend, false, false, true},
		{AddPathReceive, AddPathReceive, false, false, true},
		{0, AddPathBoth, false, false, false},
		{AddPathBoth, 0, false, false, true},
		{7, AddPathBoth, false, false, false}, // no mode of RFC 7911
		{AddPathBoth, 255, false, false, true},
	} {
		sent, received := addPathOpen(map[Family]AddPathMode{IPv6VPN: test.sent}), addPathOpen(map[Family]AddPathMode{IPv6VPN: test.received})
		in, out, loc := AddPathIn(sent, received), AddPathOut(sent, received), AddPathListed(sent)
		if in.Has(IPv6VPN) != test.in || out.Has(IPv6VPN) != test.out || loc.Has(IPv6VPN) != test.loc || in.Has(IPv4Unicast) {
			t.Errorf("%v and %v: in %v, out %v, listed %v", test.sent, test.received, in.Families(), out.Families(), loc.Families())
		}
	}
}

func TestNegotiate(t *testing.T) {
	mp := func(f Family) Capability {
		return Capability{CapMultiprotocol, []byte{byte(f.AFI >> 8), byte(f.AFI), 0, f.SAFI}}
	}
	sent := &Open{Version: 4, AS: 65000, HoldTime: 180, ID: [4]byte{10, 0, 0, 1}, Capabilities: []Capability{
		mp(IPv4Unicast), mp(IPv6Unicast), {CapRouteRefresh, nil}, {CapFourOctetAS, []byte{0, 0, 0xfd, 0xe8}}, {CapAddPath, []byte{0, 1, 1, 3}}}}
	received := &Open{Version: 4, AS: 65001, HoldTime: 90, ID: [4]byte{10, 0, 0, 2}, Capabilities: []Capability{
		mp(L2VPNEVPN), mp(IPv4Unicast), {CapFourOctetAS, []byte{0, 0, 0xfd, 0xe9}}, {CapAddPath, []byte{0, 1, 1, 2}}, {CapExtendedMessage, nil}}}
	c := Negotiate(sent, received)
	if fmt.Sprint(c.Families) != "[ipv4-unicast]" || c.HoldTime != 90 || !c.AS4 || c.ExtendedMessage || !c.AddPathIn.Has(IPv4Unicast) || c.AddPathOut != 0 {
		t.Errorf("%+v", c)
	}
	var got []string
	for _, r := range c.Rows {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s", r.Name, r.Sent, r.Received, r.Negotiated))
	}
	want := `version|4|4|
as|65000|65001|
bgp-id|10.0.0.1|10.0.0.2|
hold-time|180|90|90
family ipv4-unicast|yes|yes|yes
family ipv6-unicast|yes||
family l2vpn-evpn||yes|
add-path ipv4-unicast|both|send|receive
route-refresh|yes||
extended-message||yes|
4-octet-as|65000|65001|yes`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestNotification(t *testing.T) {
	for _, test := range []struct {
		name, body, want string
	}{
		{"hold timer", "04 00", "Hold Timer Expired"},
		{"shutdown", "06 02 0b 6d61696e74656e616e6365", "Cease/Administrative Shutdown: maintenance"},
		{"shutdown without text", "06 02", "Cease/Administrative Shutdown"},
		{"shutdown with an empty text", "06 02 00", "Cease/Administrative Shutdown"},
		{"shutdown text longer than the data", "06 02 09 6d61", "Cease/Administrative Shutdown: 0x096d61"},
		{"shutdown text that is not UTF-8", "06 02 02 c328", "Cease/Administrative Shutdown: 0x02c328"},
		{"shutdown text with control characters", "06 04 03 411b42", `Cease/Administrative Reset: A\x1bB`},
		{"max prefixes", "06 01 0001 01 000003e8", "Cease/Maximum Number of Prefixes Reached: ipv4-unicast, limit 1000"},
		{"hard reset", "06 09 06 02 02 6869", "Cease/Hard Reset: Cease/Administrative Shutdown: hi"},
		{"hard reset in a hard reset", "06 09 06 09 06 02", "Cease/Hard Reset: 0x06090602"},
		{"capability", "02 07 41 04 0000fde8", "OPEN Message Error/Unsupported Capability: 4-octet-as 65000"},
		{"role", "02 0b", "OPEN Message Error/Role Mismatch"},
		{"update error with data", "03 05 c00801ff", "UPDATE Message Error/Attribute Length Error: 0xc00801ff"},
		{"subcode nobody knows", "06 63", "Cease/subcode 99"},
		{"code nobody knows", "63 01", "code 99/subcode 1"},
		{"code 0", "00 00", "code 0/subcode 0"},
		{"send hold timer", "08 00", "Send Hold Timer Expired"},
	} {
		pdu := message(PDUNotification, unhex(t, test.body))
		n, err := ParseNotification(pdu)
		if err != nil || n.String() != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, n, err, test.want)
		}
		if !bytes.Equal(n.Append(nil), pdu) {
			t.Errorf("%s: appended % x", test.name, n.Append(nil))
		}
	}
	if _, err := ParseNotification(message(PDUNotification, []byte{6})); err == nil {
		t.Error("a NOTIFICATION without a subcode is accepted")
	}
	if _, err := ParseNotification(AppendKeepalive(nil)); err == nil {
		t.Error("a KEEPALIVE is a NOTIFICATION")
	}
}

func TestRouteRefresh(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{"0001 00 01", "ipv4-unicast request"},
		{"0019 02 46", "l2vpn-evpn end"},
		{"0001 07 01", "ipv4-unicast subtype 7"},
		{"0001 00 01 01 40 0000", "ipv4-unicast request, 4 bytes of filters"},
	} {
		pdu := message(PDURouteRefresh, unhex(t, test.body))
		r, err := ParseRouteRefresh(pdu)
		if err != nil || r.String() != test.want || !bytes.Equal(r.Append(nil), pdu) {
			t.Errorf("%s: %v, %v", test.body, r, err)
		}
	}
}
