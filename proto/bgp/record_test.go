package bgp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

func record(t testing.TB, ctx Context, attrs, nlri string, f Family, extra string) []byte {
	t.Helper()
	var u Update
	if err := u.Parse(update(nil, unhex(t, attrs), unhex(t, nlri)), ctx); err != nil {
		t.Fatal(err)
	}
	return u.AppendRecord(nil, f, unhex(t, extra))
}

func TestRecordBytes(t *testing.T) {
	const (
		reach   = "80 0e 09 0002 01 00 00 20 20010db8"
		reachNH = "80 0e 15 0002 01 10 20010db8000000000000000000000001 00"
		unreach = "80 0f 08 0002 01 20 20010db8"
		v4      = "18 c00002"
	)
	for _, test := range []struct {
		name, attrs, nlri string
		family            Family
		extra, want       string
	}{
		{"classic", mandated + med, v4, IPv4Unicast, "", "01" + mandated + med},
		{"the peer's order stays", med + nextHop + path4 + origin, v4, IPv4Unicast, "", "01" + med + nextHop + path4 + origin},
		{"extra with its length behind it", mandated, v4, IPv4Labeled, "000641", "03" + mandated + "000641 03"},
		{"reach is cut to its next hop", origin + reachNH + path4, "", IPv6Unicast, "", "01" + origin + "80 0e 10 20010db8000000000000000000000001" + path4},
		{"reach first", reachNH + origin + path4, "", IPv6Unicast, "", "01 80 0e 10 20010db8000000000000000000000001" + origin + path4},
		{"reach last, extended length", origin + path4 + "90 0e 0015 0002 01 10 20010db8000000000000000000000001 00", "", IPv6Unicast, "", "01" + origin + path4 + "80 0e 10 20010db8000000000000000000000001"},
		{"no next hop", origin + path4 + reach, "", IPv6Unicast, "", "01" + origin + path4 + "80 0e 00"},
		{"reach is not of the classic routes", mandated + reach, v4, IPv4Unicast, "", "01" + mandated},
		{"unreach is left out", unreach + mandated, v4, IPv4Unicast, "", "01" + mandated},
		{"both, unreach first", unreach + origin + reachNH + path4, "", IPv6Unicast, "", "01" + origin + "80 0e 10 20010db8000000000000000000000001" + path4},
		{"both, reach first", origin + reachNH + path4 + unreach, "", IPv6Unicast, "", "01" + origin + "80 0e 10 20010db8000000000000000000000001" + path4},
		{"both side by side", reachNH + unreach + origin + path4, "", IPv6Unicast, "", "01 80 0e 10 20010db8000000000000000000000001" + origin + path4},
		{"discarded attribute", mandated + "40 06 01 00" + med, v4, IPv4Unicast, "", "01" + mandated + med},
		{"second of two", mandated + med + "80 04 04 00000007", v4, IPv4Unicast, "", "01" + mandated + med},
		{"discarded beside reach", origin + "40 06 01 00" + reachNH + path4 + unreach, "", IPv6Unicast, "", "01" + origin + "80 0e 10 20010db8000000000000000000000001" + path4},
		{"overrun is cut", mandated + "80 04 05 00", v4, IPv4Unicast, "", "01" + mandated},
	} {
		got := fmt.Sprintf("%x", record(t, Context{AS4: true}, test.attrs, test.nlri, test.family, test.extra))
		if want := fmt.Sprintf("%x", unhex(t, test.want)); got != want {
			t.Errorf("%s:\n%s, want\n%s", test.name, got, want)
		}
	}
	if rec := record(t, Context{}, origin+path2+nextHop, v4, IPv4Unicast, ""); RecordAS4(rec) || rec[0] != 0 {
		t.Errorf("2-octet record has flags %#x", rec[0])
	}
	// One UPDATE announces the same prefix by MP_REACH_NLRI when there is no classic NLRI.
	rec := record(t, Context{AS4: true}, origin+path4+"80 0e 0d 0001 01 04 0a000002 00 18 c00002", "", IPv4Unicast, "")
	if a, ok := NextHop(rec); !ok || a.String() != "10.0.0.2" {
		t.Errorf("next hop %v", a)
	}
}

func TestRecordAccessors(t *testing.T) {
	attrs := mandated + med + "40 05 04 000000c8" + "c0 08 08 fde80001 ffffff01" +
		"c0 20 18 0000fde8 00000001 00000002 0000fde8 00000003 00000004" + "c0 10 10 0002fde800000001 030b000000000064"
	rec := record(t, Context{AS4: true}, attrs, "18 c00002", IPv4Unicast, "010203")
	if a, ok := NextHop(rec); !ok || a != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("next hop %v", a)
	}
	if n, ok := MED(rec); !ok || n != 100 {
		t.Errorf("MED %d", n)
	}
	if n, ok := LocalPref(rec); !ok || n != 200 {
		t.Errorf("local pref %d", n)
	}
	if as, ok := OriginAS(rec); !ok || as != 65001 {
		t.Errorf("origin AS %d", as)
	}
	if p := string(AppendASPath([]byte("x "), rec)); p != "x 65001" {
		t.Errorf("path %q", p)
	}
	for _, c := range []struct {
		text string
		want bool
	}{{"65000:1", true}, {"no-export", true}, {"65535:65281", true}, {"65000:2", false}, {"0:65000", false}} {
		n, err := ParseCommunity(c.text)
		if err != nil || HasCommunity(rec, n) != c.want {
			t.Errorf("community %s: %v", c.text, !c.want)
		}
	}
	for _, c := range []struct {
		text string
		want bool
	}{{"65000:1:2", true}, {"65000:3:4", true}, {"2:65000:3", false}} {
		n, err := ParseLargeCommunity(c.text)
		if err != nil || HasLargeCommunity(rec, n) != c.want {
			t.Errorf("large community %s: %v", c.text, !c.want)
		}
	}
	for _, c := range []struct {
		text string
		want bool
	}{{"rt 65000:1", true}, {"rt:65000:1", true}, {"color 100", true}, {"soo 65000:1", false}, {"rt 65000L:1", false}} {
		n, err := ParseExtCommunity(c.text)
		if err != nil || HasExtCommunity(rec, n) != c.want {
			t.Errorf("ext community %s: %v", c.text, !c.want)
		}
	}
	if x := RecordExtra(rec); fmt.Sprintf("%x", x) != "010203" {
		t.Errorf("extra %x", x)
	}
	empty := []byte{}
	if _, ok := NextHop(empty); ok || RecordExtra(empty) != nil || RecordAttrs(empty) != nil || string(AppendASPath(nil, empty)) != "" {
		t.Error("an empty record has something")
	}
	if _, ok := MED(record(t, Context{AS4: true}, mandated, "", IPv4Unicast, "")); ok {
		t.Error("MED where there is none")
	}
}

func TestASPathText(t *testing.T) {
	for _, test := range []struct {
		name   string
		as4    bool
		attrs  string
		path   string
		origin uint32 // 0: none
	}{
		{"sequence", true, "40 02 0a 02 02 0000fde9 fa56ea00", "65001 4200000000", 4200000000},
		{"set", true, "40 02 10 02 01 0000fde9 01 02 0000fdfc 0000fdfd", "65001 {65020,65021}", 0},
		{"confederation", true, "40 02 10 03 02 0000fde9 0000fdea 02 01 0000fdf2", "(65001 65002) 65010", 65010},
		{"confederation set", true, "40 02 10 04 02 0000fde9 0000fdea 02 01 0000fdf2", "({65001,65002}) 65010", 65010},
		{"empty", true, "40 02 00", "", 0},
		{"none", true, origin, "", 0},
		{"two octets", false, "40 02 06 02 02 fde9 fdea", "65001 65002", 65002},
		{"as4 path", false, "40 02 08 02 03 fde9 5ba0 5ba0" + "c0 11 0a 02 02 fa56ea00 fa56ea01", "65001 4200000000 4200000001", 4200000001},
		{"as4 path as long as the path", false, "40 02 06 02 02 5ba0 5ba0" + "c0 11 0a 02 02 fa56ea00 fa56ea01", "4200000000 4200000001", 4200000001},
		{"as4 path longer than the path is ignored", false, "40 02 04 02 01 fde9" + "c0 11 0a 02 02 fa56ea00 fa56ea01", "65001", 65001},
		{"as4 path with a confederation before it", false, "40 02 08 03 01 fdea 02 01 5ba0" + "c0 11 06 02 01 fa56ea00", "(65002) 4200000000", 4200000000},
		{"as4 path and a set", false, "40 02 0c 02 02 fde9 5ba0 01 02 fdfc 5ba0" + "c0 11 10 02 01 fa56ea00 01 02 0000fdfc fa56ea01", "65001 4200000000 {65020,4200000001}", 0},
		{"as4 path ignored for the aggregator", false, "40 02 04 02 01 5ba0" + "c0 07 06 fde9 0a000001" + "c0 11 06 02 01 fa56ea00" + "c0 12 08 fa56ea00 0a000001", "23456", 23456},
		{"as4 path counts where the aggregator fits two octets", false, "40 02 04 02 01 5ba0" + "c0 07 06 fde9 0a000001" + "c0 11 06 02 01 fa56ea00", "4200000000", 4200000000},
		{"as4 path counts with AS_TRANS for aggregator", false, "40 02 04 02 01 5ba0" + "c0 07 06 5ba0 0a000001" + "c0 11 06 02 01 fa56ea00", "4200000000", 4200000000},
		{"as4 path of a 4-octet speaker is ignored", true, path4 + "c0 11 06 02 01 fa56ea00", "65001", 65001},
	} {
		rec := record(t, Context{AS4: test.as4}, test.attrs, "", IPv4Unicast, "")
		if got := string(AppendASPath(nil, rec)); got != test.path {
			t.Errorf("%s: %q, want %q", test.name, got, test.path)
		}
		if as, ok := OriginAS(rec); as != test.origin && ok || ok != (test.origin != 0) {
			t.Errorf("%s: origin AS %d %v, want %d", test.name, as, ok, test.origin)
		}
		for _, word := range strings.FieldsFunc(test.path, func(r rune) bool { return r < '0' || r > '9' }) {
			if n, err := strconv.ParseUint(word, 10, 32); err != nil || !HasAS(rec, uint32(n)) {
				t.Errorf("%s: AS %s is not found", test.name, word)
			}
		}
		if HasAS(rec, 65099) {
			t.Errorf("%s: AS 65099 is found", test.name)
		}
	}
}

func TestDecode(t *testing.T) {
	rd0 := "0000000000000000"
	for _, test := range []struct {
		name   string
		family Family
		ctx    Context
		attrs  string
		nlri   string
		extra  string
		want   string // All(), "name text" joined by "; "
	}{
		{"all the common ones", IPv4Unicast, Context{AS4: true},
			mandated + med + "40 05 04 000000c8 40 06 00 c0 07 08 0000fde9 0a000009 c0 08 08 fde80001 ffffff01 80 09 04 0a000002 80 0a 08 0a000003 0a000004 c0 20 0c 0000fde8 00000001 00000002 c0 10 08 0002fde800000001 c0 23 04 0000fde9",
			"18 c00002", "",
			"next-hop 10.0.0.1; origin i; as-path 65001; med 100; local-pref 200; communities 65000:1 no-export; large-communities 65000:1:2; ext-communities rt 65000:1; atomic-aggregate yes; aggregator 65001 10.0.0.9; originator-id 10.0.0.2; cluster-list 10.0.0.3 10.0.0.4; otc 65001"},
		{"two octets", IPv4Unicast, Context{}, "40 01 01 02" + path2 + nextHop + "c0 07 06 fde9 0a000009 c0 12 08 fa56ea00 0a000009", "18 c00002", "",
			"next-hop 10.0.0.1; origin ?; as-path 65001; aggregator 65001 10.0.0.9; as4-aggregator 4200000000 10.0.0.9"},
		{"ipv6 with link-local", IPv6Unicast, Context{AS4: true}, "40 01 01 01" + path4 + "80 0e 25 0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00", "", "",
			"next-hop 2001:db8::1; link-local fe80::1; origin e; as-path 65001"},
		{"vpn", IPv4VPN, Context{AS4: true}, origin + path4 + "80 0e 11 0001 80 0c" + rd0 + "0a000001 00", "", "000640 000651",
			"next-hop 10.0.0.1; origin i; as-path 65001; labels 100 101"},
		{"vpn over ipv6", IPv4VPN, Context{AS4: true}, origin + path4 + "80 0e 1d 0001 80 18" + rd0 + "20010db8000000000000000000000001 00", "", "000641",
			"next-hop 2001:db8::1; origin i; as-path 65001; labels 100"},
		{"next hop of an RD alone", IPv4VPN, Context{AS4: true}, origin + path4 + "80 0e 0d 0001 80 08" + rd0 + "00", "", "000641", "origin i; as-path 65001; labels 100"},
		{"both next hops", IPv6Unicast, Context{AS4: true}, mandated + "80 0e 15 0002 01 10 20010db8000000000000000000000001 00", "", "",
			"next-hop 2001:db8::1; origin i; as-path 65001; next-hop 10.0.0.1"},
		{"evpn 2 in a VXLAN", L2VPNEVPN, Context{AS4: true}, origin + path4 + "80 0e 09 0019 46 04 0a000001 00 c0 10 18 0002fde800000001 030c000000000008 0600010000000003", "", "00112233445566778899 0027d8 0027d9",
			"next-hop 10.0.0.1; origin i; as-path 65001; ext-communities rt 65000:1, encapsulation vxlan, mac-mobility 3 sticky; labels 10200 10201; esi 00:11:22:33:44:55:66:77:88:99"},
		{"evpn 5 with MPLS", L2VPNEVPN, Context{AS4: true}, origin + path4 + "80 0e 09 0019 46 04 0a000001 00", "", "00000000000000000000 0a000009 000641",
			"next-hop 10.0.0.1; origin i; as-path 65001; labels 100; esi 00:00:00:00:00:00:00:00:00:00; gateway 10.0.0.9"},
		{"pmsi tunnels", L2VPNEVPN, Context{AS4: true}, "c0 16 09 00 06 000641 0a000001", "", "", "pmsi-tunnel ingress-replication label 100 id 10.0.0.1"},
		{"pmsi sender and group", IPv4MVPN, Context{AS4: true}, "c0 16 0d 01 03 000000 0a000001 e8000001", "", "", "pmsi-tunnel pim-ssm label 0 id 10.0.0.1 232.0.0.1 flags 0x01"},
		{"aigp", IPv4Unicast, Context{}, "80 1a 0b 01 000b 0000000000000064", "", "", "aigp 100"},
		{"d-path", L2VPNEVPN, Context{}, "c0 24 0e 02 0000fde9 0001 0000fdea 0002 46", "", "", "d-path 65001:1 65002:2 (safi 70)"},
		{"attr-set", IPv4VPN, Context{}, "c0 80 0f 0000fde9 40 01 01 00 40 05 04 00000064", "", "", "attr-set origin-as 65001, origin i, local-pref 100"},
		{"attr-set with a path", IPv4VPN, Context{}, "c0 80 0d 0000fde9 40 02 06 02 01 fa56ea00", "", "", "attr-set origin-as 65001, as-path 4200000000"},
		{"bfd discriminator", IPv4MVPN, Context{}, "c0 26 05 01 00000007", "", "", "bfd-discriminator mode 1 discriminator 7"},
		{"pe distinguisher labels", IPv4MVPN, Context{}, "c0 1b 07 0a000001 000641", "", "", "pe-distinguisher-labels 10.0.0.1 100"},
		{"next hop capability", IPv4Labeled, Context{}, "c0 27 0c 0001 04 04 0a000001 0001 0000", "", "", "next-hop-capability ipv4-labeled-unicast 10.0.0.1, entropy-label"},
		{"ipv6 ext community", IPv6VPN, Context{}, "c0 19 14 0002 20010db8000000000000000000000001 0005", "", "", "ipv6-ext-communities rt [2001:db8::1]:5"},
		{"prefix-sid", IPv4Labeled, Context{}, "c0 28 0a 01 0007 00 0000 00000064", "", "", "prefix-sid label-index 100"},
		{"srgb", IPv4Labeled, Context{}, "c0 28 0b 03 0008 0000 003e80 001f40", "", "", "prefix-sid srgb 16000-23999"},
		{"srv6", IPv4VPN, Context{}, "c0 28 25 05 0022 00 01 001e 00 20010db8000000000000000000000000 00 0013 00 01 0006 28 18 10 00 10 40", "", "",
			"prefix-sid srv6-l3 sid 2001:db8:: behavior 19 structure 40:24:16:0 transposed 16:64"},
		{"tunnel encapsulation", IPv4SRPolicy, Context{}, "c0 17 0c 000f 0008 0c 06 0000 00000064", "", "", "tunnel-encapsulation {sr-policy: {Flags: 0x00, Preference: 100}}"},
		{"bgp-ls", BGPLS, Context{}, "80 1d 08 0402 0004 6c617831", "", "", "bgp-ls {Node Name: lax1}"},
		{"unknown attribute", IPv4Unicast, Context{}, "c0 c8 02 abcd", "", "", "attribute-200 0xabcd"},
		{"malformed, kept as hex", IPv4Unicast, Context{}, "80 04 03 000001", "", "", "med 0x000001"},
		{"mup session", IPv4MUP, Context{}, "", "", "00003039 09 20 0a000001", "session teid 0x00003039 qfi 9 endpoint 10.0.0.1"},
		{"car", IPv4CAR, Context{}, "", "", "010401020304", "nlri 0x010401020304"},
		{"vpls label base", L2VPNVPLS, Context{}, "", "", "000641", "labels 100"},
		{"smet flags", L2VPNEVPN, Context{}, "", "", "04", "flags 0x04"},
		{"leave sync", L2VPNEVPN, Context{}, "", "", "000000000a04", "max-response-time 10; flags 0x04"},
	} {
		a := Decode(record(t, test.ctx, test.attrs, test.nlri, test.family, test.extra), test.family)
		var got []string
		for _, n := range a.All() {
			got = append(got, n.Name+" "+n.Text)
		}
		s := strings.Join(got, "; ")
		if s != test.want {
			t.Errorf("%s:\n%s, want\n%s", test.name, s, test.want)
		}
	}
}

func TestExtCommunityText(t *testing.T) {
	for _, test := range []struct {
		hex, text string
		back      bool // ParseExtCommunity reads it
	}{
		{"0002fde800000001", "rt 65000:1", true},
		{"01020a0000010005", "rt 10.0.0.1:5", true},
		{"0202fa56ea000001", "rt 4200000000:1", true},
		{"02020000fde80001", "rt 65000L:1", true},
		{"0003fde800000001", "soo 65000:1", true},
		{"0005fde800000001", "ospf-domain-id 65000:1", true},
		{"030b000000000064", "color 100", true},
		{"030b400000000064", "color 01:100", false},
		{"030c000000000008", "encapsulation vxlan", true},
		{"030d000000000000", "default-gateway", false},
		{"4300000000000000", "rpki valid", true},
		{"4300000000000002", "rpki invalid", true},
		{"4004fde84996b438", "link-bandwidth 65000:1234567", false},
		{"0600010000000005", "mac-mobility 5 sticky", false},
		{"0601010000000641", "esi-label 100 single-active", false},
		{"0602020000000001", "es-import 02:00:00:00:00:01", false},
		{"0603020000000001", "router-mac 02:00:00:00:00:01", false},
		{"8006000000000000", "traffic-rate 0:0", false},
		{"8007000000000003", "traffic-action sample continue", false},
		{"8008fde800000001", "redirect 65000:1", false},
		{"80090000000000" + "0a", "traffic-marking 10", false},
		{"9901020304050607", "0x9901020304050607", true},
	} {
		c := [8]byte(unhex(t, test.hex))
		if got := ExtCommunityText(c); got != test.text {
			t.Errorf("%s is %q, want %q", test.hex, got, test.text)
		}
		if back, err := ParseExtCommunity(test.text); test.back && (err != nil || back != c) {
			t.Errorf("%q parses as %x, %v", test.text, back, err)
		}
	}
	for _, bad := range []string{"", "rt", "rt 65000", "rt 70000:70000", "rt 0x0000fde800000001", "color x", "bogus 1:1", "0x12", "encapsulation bogus"} {
		if c, err := ParseExtCommunity(bad); err == nil {
			t.Errorf("%q is %x", bad, c)
		}
	}
}

func TestCommunityText(t *testing.T) {
	for _, test := range []struct {
		n    uint32
		text string
	}{{65000<<16 | 1, "65000:1"}, {0xffffff01, "no-export"}, {0xffff029a, "blackhole"}, {0xffff1234, "65535:4660"}, {0, "0:0"}} {
		if got := CommunityText(test.n); got != test.text {
			t.Errorf("%#x is %q, want %q", test.n, got, test.text)
		}
		if back, err := ParseCommunity(test.text); err != nil || back != test.n {
			t.Errorf("%q parses as %#x, %v", test.text, back, err)
		}
	}
	for _, bad := range []string{"", "65536:1", "1:65536", "1:2:3", "x", "-1"} {
		if n, err := ParseCommunity(bad); err == nil {
			t.Errorf("%q is %#x", bad, n)
		}
		if n, err := ParseLargeCommunity(bad); err == nil && bad != "1:2:3" {
			t.Errorf("%q is %v", bad, n)
		}
	}
}
