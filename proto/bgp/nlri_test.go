package bgp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// nlriCase is an NLRI field and what it splits into: lines "pathID key extra rd text", keys and extras in hex, "-" for
// what is empty.
type nlriCase struct {
	name     string
	family   Family
	addPath  bool
	withdraw bool
	field    string
	want     []string
	err      string
}

var nlriCases = []nlriCase{
	{"ipv4", IPv4Unicast, false, false, "00  08 0a  18 c00002  20 cb007101",
		[]string{"0 00 - - 0.0.0.0/0", "0 080a - - 10.0.0.0/8", "0 18c00002 - - 192.0.2.0/24", "0 20cb007101 - - 203.0.113.1/32"}, ""},
	{"host bits are no part of the key", IPv4Unicast, false, false, "09 0aff  0f cb01",
		[]string{"0 090a80 - - 10.128.0.0/9", "0 0fcb00 - - 203.0.0.0/15"}, ""},
	{"ipv4 with path identifiers", IPv4Unicast, true, false, "00000001 08 0a  ffffffff 08 0a",
		[]string{"1 080a - - 10.0.0.0/8", "4294967295 080a - - 10.0.0.0/8"}, ""},
	{"ipv4 too long", IPv4Unicast, false, false, "08 0a 21 0a00000000", []string{"0 080a - - 10.0.0.0/8"}, "ipv4-unicast NLRI length 33 at offset 2"},
	{"ipv4 cut", IPv4Unicast, false, false, "18 c000", nil, "ipv4-unicast NLRI bytes missing: 1 at offset 0"},
	{"path identifier cut", IPv4Unicast, true, false, "00000001 08 0a 000000", []string{"1 080a - - 10.0.0.0/8"}, "ipv4-unicast NLRI path identifier in bytes: 3 at offset 6"},
	{"nothing after the path identifier", IPv4Unicast, true, false, "00000001", nil, "ipv4-unicast NLRI path identifier in bytes: 4 at offset 0"},
	{"ipv6", IPv6Unicast, false, false, "00  20 20010db8  80 20010db8000000000000000000000001",
		[]string{"0 00 - - ::/0", "0 2020010db8 - - 2001:db8::/32", "0 8020010db8000000000000000000000001 - - 2001:db8::1/128"}, ""},
	{"ipv6 too long", IPv6Unicast, false, false, "81 20010db800000000000000000000000100", nil, "ipv6-unicast NLRI length 129 at offset 0"},
	{"multicast", IPv4Multicast, false, false, "08 0a", []string{"0 080a - - 10.0.0.0/8"}, ""},
	{"labelled", IPv4Labeled, false, false, "30 000641 c00002", []string{"0 18c00002 000641 - 192.0.2.0/24"}, ""},
	{"label stack", IPv4Labeled, false, false, "48 000640 000651 c00002", []string{"0 18c00002 000640000651 - 192.0.2.0/24"}, ""},
	{"labelled withdrawal, 0x800000", IPv4Labeled, false, true, "30 800000 c00002  30 800000 c00003",
		[]string{"0 18c00002 - - 192.0.2.0/24", "0 18c00003 - - 192.0.3.0/24"}, ""},
	{"labelled withdrawal, 0", IPv4Labeled, false, true, "30 000000 c00002", []string{"0 18c00002 - - 192.0.2.0/24"}, ""},
	{"labelled withdrawal with its label", IPv4Labeled, false, true, "30 000641 c00002", []string{"0 18c00002 - - 192.0.2.0/24"}, ""},
	{"label without bottom of stack", IPv4Labeled, false, false, "38 000640 c0000202", []string{"0 20c0000202 000640 - 192.0.2.2/32"}, ""},
	{"labels only", IPv4Labeled, false, false, "18 000641", []string{"0 00 000641 - 0.0.0.0/0"}, ""},
	{"no label", IPv4Labeled, false, false, "10 0a00", nil, "ipv4-labeled-unicast NLRI without end of label stack, length 16 at offset 0"},
	{"labelled too long", IPv4Labeled, false, false, "39 000641 0a00000000", nil, "ipv4-labeled-unicast NLRI without end of label stack, length 57 at offset 0"},
	{"labelled ipv6 with path identifier", IPv6Labeled, true, false, "00000007 38 000641 20010db8", []string{"7 2020010db8 000641 - 2001:db8::/32"}, ""},
	{"vpn", IPv4VPN, false, false, "70 0003e1 0000fde800000001 c00002",
		[]string{"0 180000fde800000001c00002 0003e1 65000:1 192.0.2.0/24"}, ""},
	{"vpn with two labels", IPv4VPN, false, false, "88 0003e0 0003f1 0000fde800000001 c00002",
		[]string{"0 180000fde800000001c00002 0003e00003f1 65000:1 192.0.2.0/24"}, ""},
	{"vpn label without bottom of stack", IPv4VPN, false, false, "70 e00040 0000fde800000001 c00002",
		[]string{"0 180000fde800000001c00002 e00040 65000:1 192.0.2.0/24"}, ""},
	{"vpn withdrawal", IPv4VPN, false, true, "70 800000 00010a0000010005 c00002",
		[]string{"0 1800010a0000010005c00002 - 10.0.0.1:5 192.0.2.0/24"}, ""},
	{"vpn default route", IPv4VPN, false, false, "58 0003e1 0000fde800000001", []string{"0 000000fde800000001 0003e1 65000:1 0.0.0.0/0"}, ""},
	{"vpn without its RD", IPv4VPN, false, false, "38 0003e1 c0000202", nil, "ipv4-vpn NLRI without end of label stack, length 56 at offset 0"},
	{"vpnv6", IPv6VPN, false, false, "78 0003e1 0002fa56ea000001 20010db8",
		[]string{"0 200002fa56ea00000120010db8 0003e1 4200000000:1 2001:db8::/32"}, ""},
	{"vpn multicast", IPv4VPNMulticast, false, false, "70 0003e1 0000fde800000001 c00002",
		[]string{"0 180000fde800000001c00002 0003e1 65000:1 192.0.2.0/24"}, ""},
	{"classful transport", IPv4CT, false, false, "78 0003e1 0000fde800000001 0a000001",
		[]string{"0 200000fde8000000010a000001 0003e1 65000:1 10.0.0.1/32"}, ""},
	{"evpn auto discovery", L2VPNEVPN, false, false, "01 19 0000fde800000001 00112233445566778899 00000005 000641",
		[]string{"0 01160000fde80000000100112233445566778899" + "00000005 000641 65000:1 [1]:[00:11:22:33:44:55:66:77:88:99]:[5]"}, ""},
	{"evpn mac", L2VPNEVPN, false, false, "02 21 0000fde800000001 00112233445566778899 00000005 30 0200000000aa 00 000641",
		[]string{"0 02140000fde80000000100000005300200000000aa00 00112233445566778899000641 65000:1 [2]:[5]:[48]:[02:00:00:00:00:aa]"}, ""},
	{"evpn mac and ip, two labels", L2VPNEVPN, false, false, "02 28 0000fde800000001 00000000000000000000 00000000 30 0200000000aa 20 0a000001 000641 000651",
		[]string{"0 02180000fde80000000100000000300200000000aa200a000001 00000000000000000000000641000651 65000:1 [2]:[0]:[48]:[02:00:00:00:00:aa]:[32]:[10.0.0.1]"}, ""},
	{"evpn mac and ipv6", L2VPNEVPN, false, true, "02 31 0000fde800000001 00000000000000000000 00000000 30 0200000000aa 80 20010db8000000000000000000000001 800000",
		[]string{"0 02240000fde80000000100000000300200000000aa8020010db8000000000000000000000001 - 65000:1 [2]:[0]:[48]:[02:00:00:00:00:aa]:[128]:[2001:db8::1]"}, ""},
	{"evpn inclusive multicast", L2VPNEVPN, false, false, "03 11 0000fde800000001 00000000 20 0a000001",
		[]string{"0 03110000fde80000000100000000200a000001 - 65000:1 [3]:[0]:[32]:[10.0.0.1]"}, ""},
	{"evpn ethernet segment", L2VPNEVPN, false, false, "04 17 0000fde800000001 00112233445566778899 20 0a000001",
		[]string{"0 04170000fde80000000100112233445566778899200a000001 - 65000:1 [4]:[00:11:22:33:44:55:66:77:88:99]:[32]:[10.0.0.1]"}, ""},
	{"evpn prefix, host bits", L2VPNEVPN, false, false, "05 22 0000fde800000001 00000000000000000000 00000000 18 c00002ff 0a000009 000641",
		[]string{"0 05110000fde8000000010000000018c0000200 000000000000000000000a000009000641 65000:1 [5]:[0]:[24]:[192.0.2.0]"}, ""},
	{"evpn ipv6 prefix", L2VPNEVPN, false, false, "05 3a 0000fde800000001 00000000000000000000 00000000 20 20010db8000000000000000000000000 00000000000000000000000000000000 000641",
		[]string{"0 051d0000fde800000001000000002020010db8000000000000000000000000 0000000000000000000000000000000000000000000000000000000641 65000:1 [5]:[0]:[32]:[2001:db8::]"}, ""},
	{"evpn smet", L2VPNEVPN, false, false, "06 1c 0000fde800000001 00000000 20 0a000001 20 e1000001 20 0a000002 04",
		[]string{"0 061b0000fde80000000100000000200a00000120e1000001200a000002 04 65000:1 [6]:[0]:[32]:[10.0.0.1]:[32]:[225.0.0.1]:[32]:[10.0.0.2]"}, ""},
	{"evpn smet of any source", L2VPNEVPN, false, false, "06 18 0000fde800000001 00000000 00 20 e1000001 20 0a000002 04",
		[]string{"0 06170000fde800000001000000000020e1000001200a000002 04 65000:1 [6]:[0]:[0]:[*]:[32]:[225.0.0.1]:[32]:[10.0.0.2]"}, ""},
	{"evpn join sync", L2VPNEVPN, false, false, "07 26 0000fde800000001 00112233445566778899 00000000 20 0a000001 20 e1000001 20 0a000002 04",
		[]string{"0 07250000fde8000000010011223344556677889900000000200a00000120e1000001200a000002 04 65000:1 [7]:[00:11:22:33:44:55:66:77:88:99]:[0]:[32]:[10.0.0.1]:[32]:[225.0.0.1]:[32]:[10.0.0.2]"}, ""},
	{"evpn leave sync", L2VPNEVPN, false, false, "08 2b 0000fde800000001 00112233445566778899 00000000 20 0a000001 20 e1000001 20 0a000002 00000000 0a 04",
		[]string{"0 08250000fde8000000010011223344556677889900000000200a00000120e1000001200a000002 000000000a04 65000:1 [8]:[00:11:22:33:44:55:66:77:88:99]:[0]:[32]:[10.0.0.1]:[32]:[225.0.0.1]:[32]:[10.0.0.2]"}, ""},
	{"evpn per-region", L2VPNEVPN, false, false, "09 14 0000fde800000001 00000000 0009fde900000000",
		[]string{"0 09140000fde800000001000000000009fde900000000 - 65000:1 [9]:[0]:[0x0009fde900000000]"}, ""},
	{"evpn s-pmsi", L2VPNEVPN, false, false, "0a 1b 0000fde800000001 00000000 20 0a000001 20 e1000001 20 0a000002",
		[]string{"0 0a1b0000fde80000000100000000200a00000120e1000001200a000002 - 65000:1 [10]:[0]:[32]:[10.0.0.1]:[32]:[225.0.0.1]:[32]:[10.0.0.2]"}, ""},
	{"evpn leaf", L2VPNEVPN, false, false, "0b 02 0304", []string{"0 0b020304 - - [11]:[0x0304]"}, ""},
	{"evpn of no known type", L2VPNEVPN, false, false, "63 02 0304", []string{"0 63020304 - - [99]:[0x0304]"}, ""},
	{"evpn mac of an odd length is kept whole", L2VPNEVPN, false, false, "02 03 010203", []string{"0 0203010203 - - 0x0203010203"}, ""},
	{"evpn cut", L2VPNEVPN, false, false, "03 11 0000", nil, "l2vpn-evpn NLRI bytes missing: 15 at offset 0"},
	{"evpn cut in the header", L2VPNEVPN, false, false, "03", nil, "l2vpn-evpn NLRI header in bytes: 1 at offset 0"},
	{"mvpn", IPv4MVPN, false, false, "01 0c 0000fde800000001 0a000001  05 12 0000fde800000001 20 0a000001 20 e1000001",
		[]string{"0 010c0000fde8000000010a000001 - 65000:1 [1]:[10.0.0.1]",
			"0 05120000fde800000001200a00000120e1000001 - 65000:1 [5]:[32]:[10.0.0.1]:[32]:[225.0.0.1]"}, ""},
	{"mvpn joins", IPv4MVPN, false, false, "02 0c 0000fde800000001 0000fde9  03 16 0000fde800000001 20 0a000001 20 e1000001 0a000002  07 16 0000fde800000001 0000fde9 20 0a000001 20 e1000001  04 05 0304050607",
		[]string{"0 020c0000fde8000000010000fde9 - 65000:1 [2]:[65001]",
			"0 03160000fde800000001200a00000120e10000010a000002 - 65000:1 [3]:[32]:[10.0.0.1]:[32]:[225.0.0.1]:[10.0.0.2]",
			"0 07160000fde8000000010000fde9200a00000120e1000001 - 65000:1 [7]:[65001]:[32]:[10.0.0.1]:[32]:[225.0.0.1]",
			"0 04050304050607 - - [4]:[0x0304050607]"}, ""},
	{"mcast-vpls", L2VPNMCASTVPLS, false, false, "03 16 0000fde800000001 20 0a000001 20 e1000001 0a000002",
		[]string{"0 03160000fde800000001200a00000120e10000010a000002 - 65000:1 [3]:[32]:[10.0.0.1]:[32]:[225.0.0.1]:[10.0.0.2]"}, ""},
	{"mdt", IPv4MDT, false, false, "80 0000fde800000001 0a000001 e8000001",
		[]string{"0 800000fde8000000010a000001e8000001 - 65000:1 [10.0.0.1]:[232.0.0.1]"}, ""},
	{"vpls", L2VPNVPLS, false, false, "0011 0000fde800000001 0003 0001 0008 000641",
		[]string{"0 0000fde800000001000300010008 000641 65000:1 [3]:[1]:[8]"}, ""},
	{"vpls discovery", L2VPNVPLS, false, false, "000c 0000fde800000001 0a000001", []string{"0 0000fde8000000010a000001 - 65000:1 [10.0.0.1]"}, ""},
	{"ms-pw", L2VPNMSPW, false, false, "a0 0000fde800000001 0000fde8 0a000001 00000007",
		[]string{"0 a00000fde8000000010000fde80a00000100000007 - 65000:1 [65000]:[10.0.0.1]:[7]"}, ""},
	{"route target membership", IPv4RTC, false, false, "00  60 0000fde9 0002fde800000064  20 0000fde9  60 0000fde9 0202fa56ea000001  30 0000fde9 0002",
		[]string{"0 00 - - default", "0 600000fde90002fde800000064 - - 65001:65000:100/96", "0 200000fde9 - - 65001/32",
			"0 600000fde90202fa56ea000001 - - 65001:4200000000:1/96", "0 300000fde90002 - - 65001:0x0002/48"}, ""},
	{"route target membership too short", IPv4RTC, false, false, "10 0000", nil, "ipv4-rtc NLRI length 16 at offset 0"},
	{"route target membership too long", IPv4RTC, false, false, "61 00000000000000000000000000", nil, "ipv4-rtc NLRI length 97 at offset 0"},
	{"flowspec", IPv4FlowSpec, false, false, "0c 01 18 c00002 03 81 06 05 91 1f90",
		[]string{"0 0118c000020381060591" + "1f90 - - [destination: 192.0.2.0/24][protocol: ==tcp][destination-port: ==8080]"}, ""},
	{"flowspec of no length", IPv4FlowSpec, false, false, "00", []string{"0 - - - -"}, ""},
	{"flowspec, length in two bytes", IPv4FlowSpec, false, false, "f005 01 18 c00002", []string{"0 0118c00002 - - [destination: 192.0.2.0/24]"}, ""},
	{"flowspec cut", IPv4FlowSpec, false, false, "05 01 18 c000", nil, "ipv4-flowspec NLRI bytes missing: 1 at offset 0"},
	{"flowspec cut in its length", IPv4FlowSpec, false, false, "f0", nil, "ipv4-flowspec NLRI header in bytes: 1 at offset 0"},
	{"vpn flowspec", IPv4VPNFlowSpec, false, false, "0d 0000fde800000001 01 18 c00002",
		[]string{"0 0000fde8000000010118c00002 - 65000:1 [destination: 192.0.2.0/24]"}, ""},
	{"bgp-ls node", BGPLS, false, false, "0001 0027 02 0000000000000000 0100 001a 0200 0004 0000fde8 0201 0004 00000000 0203 0006 000000000001",
		[]string{"0 00010027020000000000000000" + "0100001a020000040000fde802010004000000000203" + "0006000000000001 - - NODE { AS:65000 BGP-LS ID:0 0000.0000.0001 ISIS-L2:0 }"}, ""},
	{"bgp-ls unknown type", BGPLS, false, false, "00ff 0001 00", []string{"0 00ff000100 - - 0x00ff000100"}, ""},
	{"bgp-ls cut", BGPLS, false, false, "0001 0027 02", nil, "bgp-ls NLRI bytes missing: 38 at offset 0"},
	{"sr policy", IPv4SRPolicy, false, false, "60 00000001 00000064 0a000001", []string{"0 6000000001000000640a000001 - - [1]:[100]:[10.0.0.1]"}, ""},
	{"ipv6 sr policy", IPv6SRPolicy, false, false, "c0 00000001 00000064 20010db8000000000000000000000001",
		[]string{"0 c0000000010000006420010db8000000000000000000000001 - - [1]:[100]:[2001:db8::1]"}, ""},
	{"encapsulation", IPv4Encap, false, false, "20 0a000001", []string{"0 200a000001 - - [10.0.0.1]"}, ""},
	{"mup", IPv4MUP, false, false, "01 0001 0c 0000fde800000001 18 c00002  01 0002 0c 0000fde800000001 0a000001",
		[]string{"0 0100010c0000fde80000000118c00002 - 65000:1 [1]:[192.0.2.0/24]", "0 0100020c0000fde8000000010a000001 - 65000:1 [2]:[10.0.0.1]"}, ""},
	{"mup type 1 session", IPv4MUP, false, false, "01 0003 17 0000fde800000001 20 c0000201 00003039 09 20 0a000001",
		[]string{"0 0100030d0000fde80000000120c0000201 0000303909200a000001 65000:1 [3]:[192.0.2.1/32]"}, ""},
	{"mup type 2 session", IPv4MUP, false, false, "01 0004 11 0000fde800000001 40 0a000001 00003039",
		[]string{"0 010004110000fde800000001400a00000100003039 - 65000:1 [4]:[64]:[10.0.0.1]:[0x00003039]"}, ""},
	{"car", IPv4CAR, false, false, "10 08 01 18 c00002 00000064 01 04 01020304",
		[]string{"0 0118c0000200000064 010401020304 - [1]:[192.0.2.0/24]:[100]"}, ""},
	{"sfc", SFC, false, false, "0001 0003 010203", []string{"0 00010003010203 - - 0x00010003010203"}, ""},
	{"a family nobody knows", Family{99, 9}, true, false, "01020304", []string{"0 01020304 - - 0x01020304"}, ""},
	{"raw family with path identifiers", IPv4Unreach, true, false, "0000000108 0a", []string{"0 00000001080a - - 0x00000001080a"}, ""},
	{"empty", IPv4Unicast, true, false, "", nil, ""},
}

func dash(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return fmt.Sprintf("%x", b)
}

func TestNLRI(t *testing.T) {
	for _, test := range nlriCases {
		t.Run(test.name, func(t *testing.T) {
			field := unhex(t, test.field)
			it := SplitNLRI(test.family, test.addPath, test.withdraw, field)
			var got []string
			for it.Next() {
				rd, text := KeyText(test.family, it.Key)
				if rd == "" {
					rd = "-"
				}
				if len(it.Key) == 0 {
					text = "-"
				}
				got = append(got, fmt.Sprintf("%d %s %s %s %s", it.PathID, dash(it.Key), dash(it.Extra), rd, text))
				if s := test.family.shape(); s == shapeFlow || s == shapeLS || s == shapeRaw {
					continue
				}
				if rd == "-" {
					rd = ""
				}
				if key, err := ParseKey(test.family, rd, text); err != nil || !bytes.Equal(key, it.Key) {
					t.Errorf("%q %q parses as %x, %v; it is of %x", rd, text, key, err, it.Key)
				}
			}
			if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			err := it.Err()
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("error %v, want %q", err, test.err)
			}
			n, err := CheckNLRI(test.family, test.addPath, test.withdraw, field)
			if n != len(test.want) || (err == nil) != (test.err == "") {
				t.Errorf("CheckNLRI: %d, %v", n, err)
			}
		})
	}
}

// What makes two NLRI the same route, and what does not.
func TestRouteKeys(t *testing.T) {
	key := func(f Family, withdraw bool, field string) string {
		it := SplitNLRI(f, false, withdraw, unhex(t, field))
		if !it.Next() {
			t.Fatalf("%s: %v", field, it.Err())
		}
		return string(it.Key)
	}
	const rd = "0000fde800000001"
	for _, test := range []struct {
		name   string
		family Family
		a, b   string // b is withdrawn
		same   bool
	}{
		{"labelled, withdrawn with 0x800000", IPv4Labeled, "30 000641 c00002", "30 800000 c00002", true},
		{"vpn, withdrawn with 0", IPv4VPN, "70 0003e1" + rd + "c00002", "70 000000" + rd + "c00002", true},
		{"vpn under another RD", IPv4VPN, "70 0003e1" + rd + "c00002", "70 0003e1 0000fde800000002 c00002", false},
		{"evpn 2 with another ESI and label", L2VPNEVPN,
			"02 21" + rd + "00112233445566778899 00000005 30 0200000000aa 00 000641",
			"02 24" + rd + "00000000000000000000 00000005 30 0200000000aa 00 000001 000002", true},
		{"evpn 2 of another MAC", L2VPNEVPN,
			"02 21" + rd + "00112233445566778899 00000005 30 0200000000aa 00 000641",
			"02 21" + rd + "00112233445566778899 00000005 30 0200000000ab 00 000641", false},
		{"evpn 5 with another gateway", L2VPNEVPN,
			"05 22" + rd + "00000000000000000000 00000000 18 c0000200 0a000009 000641",
			"05 22" + rd + "00112233445566778899 00000000 18 c0000200 00000000 000000", true},
		{"evpn 1 with another ESI", L2VPNEVPN,
			"01 19" + rd + "00112233445566778899 00000005 000641",
			"01 19" + rd + "00112233445566778800 00000005 000641", false},
		{"evpn 1 with another label", L2VPNEVPN,
			"01 19" + rd + "00112233445566778899 00000005 000641",
			"01 19" + rd + "00112233445566778899 00000005 000000", true},
		{"evpn 4 with another ESI", L2VPNEVPN,
			"04 17" + rd + "00112233445566778899 20 0a000001",
			"04 17" + rd + "00112233445566778800 20 0a000001", false},
		{"flowspec with another form of its length", IPv4FlowSpec, "05 01 18 c00002", "f005 01 18 c00002", true},
		{"mup session of another tunnel", IPv4MUP,
			"01 0003 17" + rd + "20 c0000201 00003039 09 20 0a000001",
			"01 0003 17" + rd + "20 c0000201 00000001 00 20 0a000002", true},
	} {
		if same := key(test.family, false, test.a) == key(test.family, true, test.b); same != test.same {
			t.Errorf("%s: the same route: %v", test.name, same)
		}
	}
}

func TestFieldCutAtEveryByte(t *testing.T) {
	for _, test := range nlriCases {
		field := unhex(t, test.field)
		for n := range field {
			// An NLRI before the cut may be whole; no read may go beyond the field, which the race of a slice's capacity tells.
			it := SplitNLRI(test.family, test.addPath, test.withdraw, field[:n:n])
			for it.Next() {
				KeyText(test.family, it.Key)
			}
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, test := range []struct {
		family     Family
		rd, prefix string
	}{
		{IPv4Unicast, "", "2001:db8::/32"},
		{IPv6Unicast, "", "10.0.0.0/8"},
		{IPv6Unicast, "", "::ffff:10.0.0.0/104"},
		{IPv4Unicast, "", "10.0.0.0/33"},
		{IPv4Unicast, "", "10.0.0"},
		{IPv4Unicast, "", "0x"},
		{IPv4Unicast, "", "0xzz"},
		{IPv4VPN, "", "10.0.0.0/8"},
		{IPv4VPN, "x", "10.0.0.0/8"},
		{L2VPNEVPN, "65000:1", "[2]"},
		{L2VPNEVPN, "65000:1", "[2]:[0]:[48]:[02:00:00:00:00]"},
		{L2VPNEVPN, "65000:1", "[3]:[0]:[32]:[2001:db8::1]"},
		{L2VPNEVPN, "65000:1", "[3]:[0]:[32]:[10.0.0.1]:[7]"},
		{L2VPNEVPN, "65000:1", "[300]:[0x]"},
		{L2VPNEVPN, "65000:1", "3:0"},
		{L2VPNEVPN, "65000:1", "3]:[0]:[32]:[10.0.0.1]"},
		{L2VPNEVPN, "65000:1", "["},
		{L2VPNEVPN, "65000:1", "]"},
		{IPv4RTC, "", "65001"},
		{IPv4RTC, "", "65001:65000:1/64"},
		{IPv4FlowSpec, "", "[destination: 192.0.2.0/24]"},
		{IPv4MUP, "65000:1", "[4]:[64]:[10.0.0.1]:[0x01]"},
	} {
		if key, err := ParseKey(test.family, test.rd, test.prefix); err == nil {
			t.Errorf("%s %q %q is %x", test.family, test.rd, test.prefix, key)
		}
	}
}

func TestPrefixKeyOfAddress(t *testing.T) {
	key, err := ParseKey(IPv4Unicast, "", "192.0.2.1")
	if _, p, ok := KeyPrefix(IPv4Unicast, key); err != nil || !ok || p.String() != "192.0.2.1/32" {
		t.Errorf("%v %v", p, err)
	}
}

func TestRD(t *testing.T) {
	for _, test := range []struct{ hex, text string }{
		{"0000fde800000001", "65000:1"},
		{"0000fde8ffffffff", "65000:4294967295"},
		{"00010a0000010005", "10.0.0.1:5"},
		{"0002fa56ea000001", "4200000000:1"},
		{"00020000fde80001", "65000L:1"},
		{"0007010203040506", "0x0007010203040506"},
		{"0000000000000000", "0:0"},
	} {
		rd := RD(unhex(t, test.hex))
		if rd.String() != test.text {
			t.Errorf("%s is %s, want %s", test.hex, rd, test.text)
		}
		if back, err := ParseRD(test.text); err != nil || back != rd {
			t.Errorf("%s parses as %x, %v", test.text, back, err)
		}
		if of := RDOf(binary.BigEndian.Uint64(rd[:])); of != rd {
			t.Errorf("%s of a distinguisher is %s", test.text, of)
		}
	}
	for _, bad := range []string{"", "65000", "65000:", ":1", "70000:65536", "4294967296:1", "10.0.0.1:65536", "65000:4294967296", "a:b", "0x01", "::1:5"} {
		if rd, err := ParseRD(bad); err == nil {
			t.Errorf("%q is %s", bad, rd)
		}
	}
}

func TestFamilies(t *testing.T) {
	names := map[string]bool{}
	for i, f := range KnownFamilies() {
		if names[f.String()] {
			t.Errorf("%s twice", f)
		}
		names[f.String()] = true
		if f.place() != i {
			t.Errorf("%s is in place %d, found in %d", f, i, f.place())
		}
		for _, s := range []string{f.String(), strings.ToUpper(f.String()), strings.ReplaceAll(f.String(), "-", " ")} {
			if back, err := ParseFamily(s); err != nil || back != f {
				t.Errorf("%q is %v, %v", s, back, err)
			}
		}
		set := AddPathSet(0).With(f)
		if set.Has(f) != f.Splits() || set.Without(f) != 0 {
			t.Errorf("%s in the set %b", f, set)
		}
	}
	for _, name := range strings.Fields("ipv4-unicast ipv6-unicast ipv4-multicast ipv4-labeled-unicast ipv4-vpn ipv6-vpn l2vpn-evpn l2vpn-vpls ipv4-flowspec ipv4-vpn-flowspec ipv4-rtc ipv4-mvpn bgp-ls bgp-ls-vpn ipv4-sr-policy ipv4-mup") {
		if !names[name] {
			t.Errorf("no family is named %s", name)
		}
	}
	for _, test := range []struct {
		words string
		want  Family
	}{
		{"ipv4", IPv4Unicast}, {"ipv6", IPv6Unicast}, {"ipv4 vpn", IPv4VPN}, {"evpn", L2VPNEVPN}, {"vpnv6", IPv6VPN},
		{"ipv4 labeled", IPv4Labeled}, {"ipv6 vpn flowspec", IPv6VPNFlowSpec}, {"1/128", IPv4VPN}, {"7/9", Family{7, 9}},
	} {
		if f, err := ParseFamily(strings.Fields(test.words)...); err != nil || f != test.want {
			t.Errorf("%q is %v, %v", test.words, f, err)
		}
	}
	for _, bad := range []string{"", "ipv5", "1/256", "65536/1", "1/", "ipv4-"} {
		if f, err := ParseFamily(bad); err == nil {
			t.Errorf("%q is %v", bad, f)
		}
	}
	if s := (Family{7, 9}).String(); s != "7/9" {
		t.Errorf("7/9 is %s", s)
	}
	if IPv4Unicast.Compare(IPv6Unicast) >= 0 || IPv4VPN.Compare(Family{1, 200}) >= 0 || (Family{1, 200}).Compare(Family{2, 0}) >= 0 {
		t.Error("families are out of order")
	}
}
