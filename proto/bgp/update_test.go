package bgp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// Attributes that the tests put together, each whole.
const (
	origin   = "40 01 01 00 "
	path4    = "40 02 06 02 01 0000fde9 "
	path2    = "40 02 04 02 01 fde9 "
	nextHop  = "40 03 04 0a000001 "
	med      = "80 04 04 00000064 "
	mandated = origin + path4 + nextHop
)

func TestUpdateFields(t *testing.T) {
	pdu := update(
		unhex(t, "08 0a   # 10.0.0.0/8"),
		unhex(t, `
			80 0f 08   0002 01   20 20010db8          # MP_UNREACH_NLRI
			40 01 01 00                               # ORIGIN
			40 02 06 02 01 0000fde9                   # AS_PATH
			40 03 04 0a000001                         # NEXT_HOP
			90 0e 0026 0002 01 20                     # MP_REACH_NLRI, extended length
			   20010db8000000000000000000000001 fe800000000000000000000000000001
			   00  00                                 # reserved; ::/0
		`),
		unhex(t, "18 c00002   # 192.0.2.0/24"))
	var u Update
	if err := u.Parse(pdu, Context{AS4: true, AddPath: AddPathSet(0).With(IPv6Unicast)}); err != nil {
		t.Fatal(err)
	}
	if u.Malformed != nil {
		t.Errorf("malformed: %v", u.Malformed)
	}
	var got []string
	for _, s := range u.Sections(nil) {
		got = append(got, fmt.Sprintf("%s %v %v % x", s.Family, s.Withdraw, s.AddPath, s.Field))
		if !bytes.Equal(pdu[s.Offset:s.Offset+len(s.Field)], s.Field) {
			t.Errorf("section % x is not at offset %d", s.Field, s.Offset)
		}
	}
	want := []string{
		"ipv4-unicast true false 08 0a",
		"ipv6-unicast true true 20 20 01 0d b8",
		"ipv6-unicast false true 00",
		"ipv4-unicast false false 18 c0 00 02",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("sections\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := len(u.Reach.NextHop); n != 32 {
		t.Errorf("next hop of %d bytes", n)
	}
}

func TestUpdateMalformed(t *testing.T) {
	const nlri = "18 c00002"
	for _, test := range []struct {
		name, attrs, nlri string
		as2               bool
		want              string // "" : well formed
		class             ErrorClass
		attrOffset        int // of the attribute in question, from the start of attrs
	}{
		{"well formed", mandated + med, nlri, false, "", 0, 0},
		{"two octets", origin + path2 + nextHop, nlri, true, "", 0, 0},
		{"two octets read as four", origin + path2 + nextHop, nlri, false, "UPDATE attribute 2 ends inside a segment", TreatAsWithdraw, 4},
		{"origin length", "40 01 02 0000 " + path4 + nextHop, nlri, false, "UPDATE attribute 1 length 2", TreatAsWithdraw, 0},
		{"origin value", "40 01 01 03 " + path4 + nextHop, nlri, false, "UPDATE attribute 1 value 3", TreatAsWithdraw, 0},
		{"origin flags", "c0 01 01 00 " + path4 + nextHop, nlri, false, "UPDATE attribute 1 flags 0xc0", TreatAsWithdraw, 0},
		{"path segment type", origin + "40 02 06 05 01 0000fde9" + nextHop, nlri, false, "UPDATE attribute 2 segment type 5", TreatAsWithdraw, 4},
		{"path segment empty", origin + "40 02 02 02 00" + nextHop, nlri, false, "UPDATE attribute 2 segment of AS numbers 0", TreatAsWithdraw, 4},
		{"path with one byte left", origin + "40 02 07 02 01 0000fde9 02" + nextHop, nlri, false, "UPDATE attribute 2 ends inside a segment", TreatAsWithdraw, 4},
		{"empty path", origin + "40 02 00" + nextHop, nlri, false, "", 0, 0},
		{"next hop length", origin + path4 + "40 03 05 0a00000100", nlri, false, "UPDATE attribute 3 length 5", TreatAsWithdraw, 13},
		{"med length", mandated + "80 04 03 000064", nlri, false, "UPDATE attribute 4 length 3", TreatAsWithdraw, 20},
		{"local pref length", mandated + "40 05 03 000064", nlri, false, "UPDATE attribute 5 length 3", TreatAsWithdraw, 20},
		{"atomic aggregate length", mandated + "40 06 01 00", nlri, false, "UPDATE attribute 6 length 1", AttributeDiscard, 20},
		{"aggregator of the other width", mandated + "c0 07 06 fde9 0a000001", nlri, false, "UPDATE attribute 7 length 6", AttributeDiscard, 20},
		{"aggregator", origin + path2 + nextHop + "c0 07 06 fde9 0a000001", nlri, true, "", 0, 0},
		{"no communities", mandated + "c0 08 00", nlri, false, "UPDATE attribute 8 length 0", TreatAsWithdraw, 20},
		{"communities", mandated + "c0 08 05 0000000000", nlri, false, "UPDATE attribute 8 length 5", TreatAsWithdraw, 20},
		{"originator id", mandated + "80 09 05 0000000000", nlri, false, "UPDATE attribute 9 length 5", TreatAsWithdraw, 20},
		{"cluster list", mandated + "80 0a 00", nlri, false, "UPDATE attribute 10 length 0", TreatAsWithdraw, 20},
		{"ext communities", mandated + "c0 10 04 00000000", nlri, false, "UPDATE attribute 16 length 4", TreatAsWithdraw, 20},
		{"as4 path", mandated + "c0 11 04 02 01 0000", nlri, false, "UPDATE attribute 17 ends inside a segment", AttributeDiscard, 20},
		{"as4 aggregator", mandated + "c0 12 06 000000000000", nlri, false, "UPDATE attribute 18 length 6", AttributeDiscard, 20},
		{"pmsi tunnel", mandated + "c0 16 04 00000000", nlri, false, "UPDATE attribute 22 length 4", TreatAsWithdraw, 20},
		{"tunnel encapsulation", mandated + "c0 17 05 0008 0002 00", nlri, false, "UPDATE attribute 23 TLV length 2", AttributeDiscard, 20},
		{"ipv6 ext communities", mandated + "c0 19 08 0000000000000000", nlri, false, "UPDATE attribute 25 length 8", TreatAsWithdraw, 20},
		{"aigp", mandated + "80 1a 0a 01 000a 00000000000000", nlri, false, "UPDATE attribute 26 length 10", AttributeDiscard, 20},
		{"aigp whole", mandated + "80 1a 0b 01 000b 0000000000000064", nlri, false, "", 0, 0},
		{"aigp length under its header", mandated + "80 1a 03 02 0002", nlri, false, "UPDATE attribute 26 TLV length 2", AttributeDiscard, 20},
		{"bgp-ls", mandated + "80 1d 06 0400 0003 0000", nlri, false, "UPDATE attribute 29 TLV length 3", AttributeDiscard, 20},
		{"large communities", mandated + "c0 20 0b 0000000000000000000000", nlri, false, "UPDATE attribute 32 length 11", TreatAsWithdraw, 20},
		{"otc", mandated + "c0 23 02 fde9", nlri, false, "UPDATE attribute 35 length 2", TreatAsWithdraw, 20},
		{"prefix-sid", mandated + "c0 28 04 01 0007 00", nlri, false, "UPDATE attribute 40 TLV length 7", AttributeDiscard, 20},
		{"attr-set", mandated + "c0 80 02 0000", nlri, false, "UPDATE attribute 128 length 2", TreatAsWithdraw, 20},
		{"unknown attribute", mandated + "c0 c8 01 00", nlri, false, "", 0, 0},
		{"unknown well-known attribute", mandated + "40 c8 01 00", nlri, false, "UPDATE attribute 200 well-known and unknown", SessionReset, 20},
		{"no origin", path4 + nextHop, nlri, false, "UPDATE attribute 1 missing", TreatAsWithdraw, 0},
		{"no path", origin + nextHop, nlri, false, "UPDATE attribute 2 missing", TreatAsWithdraw, 0},
		{"no next hop keeps the route", origin + path4, nlri, false, "UPDATE attribute 3 missing", AttributeDiscard, 0},
		{"no attributes, nothing announced", "", "", false, "", 0, 0},
		{"twice", mandated + med + med, nlri, false, "UPDATE attribute 4 appears twice", AttributeDiscard, 27},
		{"worst class wins", mandated + med + med + "40 05 03 000064", nlri, false, "UPDATE attribute 5 length 3", TreatAsWithdraw, 34},
		{"first of a class wins", mandated + "40 05 03 000064" + "c0 08 00", nlri, false, "UPDATE attribute 5 length 3", TreatAsWithdraw, 20},
		{"overrun", mandated + "80 04 05 00000064", nlri, false, "UPDATE attribute 4 runs over the end: length 5", TreatAsWithdraw, 20},
		{"cut header", mandated + "80 04", nlri, false, "UPDATE attribute 4 cut in its header", TreatAsWithdraw, 20},
		{"cut after the flags", mandated + "80", nlri, false, "UPDATE cut in its header", TreatAsWithdraw, 20},
		{"cut extended length", mandated + "90 04 00", nlri, false, "UPDATE attribute 4 cut in its header", TreatAsWithdraw, 20},
		{"reach short", origin + path4 + "80 0e 04 0002 01 00", "", false, "UPDATE attribute 14 length 4", SessionReset, 13},
		{"reach next hop overrun", origin + path4 + "80 0e 05 0002 01 10 00", "", false, "UPDATE attribute 14 next hop length 16", SessionReset, 13},
		{"reach next hop length", origin + path4 + "80 0e 0b 0002 01 05 0000000000 00 00", "", false, "UPDATE attribute 14 next hop length 5", SessionReset, 13},
		{"reach twice", origin + path4 + "80 0e 06 0002 01 00 00 00 80 0e 06 0002 01 00 00 00", "", false, "UPDATE attribute 14 appears twice", SessionReset, 22},
		{"unreach short", "80 0f 02 0002", "", false, "UPDATE attribute 15 length 2", SessionReset, 0},
		{"reach without origin", path4 + "80 0e 06 0002 01 00 00 00", "", false, "UPDATE attribute 1 missing", TreatAsWithdraw, 0},
		{"reach needs no next hop attribute", origin + path4 + "80 0e 06 0002 01 00 00 00", "", false, "", 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			pdu := update(nil, unhex(t, test.attrs), unhex(t, test.nlri))
			var u Update
			if err := u.Parse(pdu, Context{AS4: !test.as2}); err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if u.Malformed != nil {
					t.Errorf("malformed: %v", u.Malformed)
				}
				return
			}
			if u.Malformed == nil {
				t.Fatalf("well formed, want %s", test.want)
			}
			if got := u.Malformed.Error(); got != test.want || u.Malformed.Class != test.class {
				t.Errorf("%s (%s), want %s (%s)", got, u.Malformed.Class, test.want, test.class)
			}
			if want := HeaderLen + 4 + test.attrOffset; u.Malformed.Offset != want {
				t.Errorf("at offset %d, want %d", u.Malformed.Offset, want)
			}
		})
	}
}

func TestUpdateThatCannotBeSplit(t *testing.T) {
	for _, test := range []struct {
		name string
		pdu  []byte
		want string
	}{
		{"no fields", message(PDUUpdate, nil), "UPDATE message length 19"},
		{"three bytes", message(PDUUpdate, []byte{0, 0, 0}), "UPDATE message length 22"},
		{"withdrawn overrun", message(PDUUpdate, []byte{0, 1, 0, 0}), "UPDATE withdrawn routes length 1"},
		{"withdrawn 65535", message(PDUUpdate, []byte{0xff, 0xff, 0, 0}), "UPDATE withdrawn routes length 65535"},
		{"attributes overrun", message(PDUUpdate, []byte{0, 1, 0, 0, 1}), "UPDATE path attributes length 1"},
		{"not an update", AppendKeepalive(nil), "UPDATE expected, not BGP message type 4"},
		{"no header", []byte{1, 2, 3}, "UPDATE header: marker: 16 bytes needed, 3 there at offset 0 (RFC 4271, Section 4.1)"},
	} {
		var u Update
		err := u.Parse(test.pdu, Context{})
		if err == nil || err.Error() != test.want || u.Malformed == nil || u.Malformed.Class != SessionReset {
			t.Errorf("%s: %v, malformed %v, want %s", test.name, err, u.Malformed, test.want)
		}
		if s := u.Sections(nil); len(s) != 0 {
			t.Errorf("%s: %d sections", test.name, len(s))
		}
	}
}

func TestUpdateCutAtEveryByte(t *testing.T) {
	whole := update([]byte{8, 10}, unhex(t, mandated+med+"80 0f 08 0002 01 20 20010db8"), []byte{24, 192, 0, 2})
	for n := range whole {
		var u Update
		cut := sealPDU(append([]byte(nil), whole[:max(n, HeaderLen)]...), 0)
		err := u.Parse(cut, Context{AS4: true})
		if n < len(whole)-4 && err == nil {
			t.Errorf("cut to %d of %d bytes is accepted", n, len(whole))
		}
	}
}

func TestEndOfRIB(t *testing.T) {
	for _, test := range []struct {
		name   string
		pdu    []byte
		want   bool
		family Family
	}{
		{"ipv4", update(nil, nil, nil), true, IPv4Unicast},
		{"mp", update(nil, unhex(t, "80 0f 03 0001 80"), nil), true, IPv4VPN},
		{"mp with extended length", update(nil, unhex(t, "90 0f 0003 0019 46"), nil), true, L2VPNEVPN},
		{"mp with a route", update(nil, unhex(t, "80 0f 04 0002 01 00"), nil), false, Family{}},
		{"mp beside another attribute", update(nil, unhex(t, origin+"80 0f 03 0001 80"), nil), false, Family{}},
		{"a withdrawal", update([]byte{0}, nil, nil), false, Family{}},
		{"attributes alone", update(nil, unhex(t, origin), nil), false, Family{}},
	} {
		var u Update
		if err := u.Parse(test.pdu, Context{}); err != nil {
			t.Fatal(err)
		}
		if u.EoR != test.want || u.EoRFamily != test.family {
			t.Errorf("%s: %v %v", test.name, u.EoR, u.EoRFamily)
		}
	}
}

func TestASPathWidths(t *testing.T) {
	for _, test := range []struct {
		name, attrs string
		two, four   bool
	}{
		{"none", origin, true, true},
		{"empty", "40 02 00", true, true},
		{"two", "40 02 06 02 02 fde9 fdea", true, false},
		{"four", "40 02 0a 02 02 0000fde9 0000fdea", false, true},
		// {2, 2, 0201 0201} {2, 1, 0001} with two octets, {2, 2, 02010201 02010001} with four
		{"both", "40 02 0a 02 02 0201 0201 02 01 0001", true, true},
		{"neither", "40 02 03 02 01 00", false, false},
	} {
		var u Update
		if err := u.Parse(update(nil, unhex(t, test.attrs), nil), Context{AS4: true}); err != nil {
			t.Fatal(err)
		}
		if two, four := u.ASPathWidths(); two != test.two || four != test.four {
			t.Errorf("%s: %v %v, want %v %v", test.name, two, four, test.two, test.four)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	pdu := update([]byte{8, 10}, unhex(t, mandated+med+"40 05 03 000064"+`80 0e 0d 0001 80 0c 0000000000000000 0a000001 00`+"80 0f 08 0002 01 20 20010db8"), []byte{24, 192, 0, 2})
	var u Update
	var it NLRI
	rec := make([]byte, 0, 256)
	n := testing.AllocsPerRun(100, func() {
		_ = u.Parse(pdu, Context{AS4: true})
		var buf [4]Section
		for _, s := range u.Sections(buf[:0]) {
			if _, err := CheckNLRI(s.Family, s.AddPath, s.Withdraw, s.Field); err != nil {
				return
			}
			it.Reset(s.Family, s.AddPath, s.Withdraw, s.Field)
			for it.Next() {
				rec = u.AppendRecord(rec[:0], s.Family, it.Extra)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
