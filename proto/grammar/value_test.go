package grammar

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bmp/proto/bgp"
)

func TestParseTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("no time zone data: %v", err)
	}
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct{ text, now, want string }{ // want "" is an error of syntax, "!x" one that says x
		{"10:05", "2026-11-22T10:30:00+01:00", "2026-11-22T10:05:00+01:00"},
		{"10:05:30", "2026-11-22T10:30:00+01:00", "2026-11-22T10:05:30+01:00"},
		{"10:31", "2026-11-22T10:30:00+01:00", "2026-11-21T10:31:00+01:00"}, // the most recent past one
		{"10:30", "2026-11-22T10:30:00+01:00", "2026-11-22T10:30:00+01:00"},
		{"2026-11-22T10:05Z", "2026-11-22T13:00:00+01:00", "2026-11-22T10:05:00Z"},
		{"2026-11-22T10:05:06.5Z", "2026-11-22T13:00:00+01:00", "2026-11-22T10:05:06.5Z"},
		{"2026-11-22T10:05+02:00", "2026-11-22T13:00:00+01:00", "2026-11-22T08:05:00Z"},
		{"2026-11-22T10:05", "2026-11-22T13:00:00+01:00", "2026-11-22T10:05:00+01:00"},
		{"2026-11-22", "2026-11-22T13:00:00+01:00", "2026-11-22T00:00:00+01:00"},
		{"-15m", "2026-11-22T10:30:00+01:00", "2026-11-22T10:15:00+01:00"},
		{"-1d2h", "2026-11-22T10:30:00+01:00", "2026-11-21T08:30:00+01:00"},
		{"yesterday", "2026-11-22T10:30:00+01:00", "2026-11-21T00:00:00+01:00"},
		{"yesterday", "2026-10-26T10:30:00+01:00", "2026-10-25T00:00:00+02:00"}, // the day the clock was put back
		{"2026-11-22T10:31", "2026-11-22T10:30:00+01:00", "!future"},
		{"2027-01-01", "2026-11-22T10:30:00+01:00", "!future"},
		// The clock was put back at 03:00 on 25 October 2026: 02:30 was twice.
		{"2026-10-25T02:30", "2026-10-26T10:30:00+01:00", "!twice: 2026-10-25T02:30:00+02:00 and 2026-10-25T02:30:00+01:00"},
		{"02:30", "2026-10-25T10:00:00+01:00", "!twice: 2026-10-25T02:30:00+02:00 and 2026-10-25T02:30:00+01:00"},
		{"02:30", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+02:00"}, // the second has not been yet
		{"02:30", "2026-10-26T10:00:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"2026-10-25T02:30+01:00", "2026-10-26T10:30:00+01:00", "2026-10-25T02:30:00+01:00"},
		// It was put forward at 02:00 on 29 March 2026: 02:30 was not.
		{"2026-03-29T02:30", "2026-03-30T10:30:00+02:00", "!skipped"},
		{"02:30", "2026-03-29T10:00:00+02:00", "2026-03-28T02:30:00+01:00"},
		{"25:00", "2026-11-22T10:30:00+01:00", ""},
		{"10", "2026-11-22T10:30:00+01:00", ""},
		{"-15", "2026-11-22T10:30:00+01:00", ""},
		{"+15m", "2026-11-22T10:30:00+01:00", ""},
		{"tomorrow", "2026-11-22T10:30:00+01:00", ""},
		{"", "2026-11-22T10:30:00+01:00", ""},
	} {
		got, err := ParseTime(c.text, at(c.now), berlin)
		switch {
		case c.want == "":
			if err != errSyntax {
				t.Errorf("%q: %v, %v", c.text, got, err)
			}
		case c.want[0] == '!':
			if err == nil || !strings.Contains(err.Error(), c.want[1:]) {
				t.Errorf("%q: %v, %v; want %s", c.text, got, err, c.want)
			}
		case err != nil || !got.Equal(at(c.want)):
			t.Errorf("%q at %s = %v, %v; want %s", c.text, c.now, got, err, c.want)
		case got.Location() != berlin:
			t.Errorf("%q is shown in %s", c.text, got.Location())
		}
	}
}

func TestParseDurationAndSize(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "3d04h11m": 76*time.Hour + 11*time.Minute, "1w": 168 * time.Hour,
		"1.5h": 90 * time.Minute, "0s": 0, "250ms": 250 * time.Millisecond,
		"": -1, "5": -1, "m": -1, "5x": -1, "-5m": -1, "5m3": -1, "999999999999999w": -1, "1..2s": -1,
	} {
		got, err := ParseDuration(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q = %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "1K": 1024, "64KB": 64 << 10, "64KiB": 64 << 10, "1.5GB": 3 << 29, "2g": 2 << 30, "1TB": 1 << 40, "12B": 12,
		"": -1, "K": -1, "1X": -1, "1KK": -1, "-1": -1, "1I": -1, "1IB": -1, "99999999999999999T": -1, "1 K": -1, "1BK": -1,
	} {
		got, err := ParseSize(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q = %v, %v", text, got, err)
		}
	}
}

func TestKinds(t *testing.T) {
	env := testEnv()
	for _, c := range []struct{ kind, good, bad string }{
		{"PEER", "7|10.0.0.1|2001:db8::1|fe80::1%eth0|65000:1/10.0.0.1|red/2001:db8::1|loc-rib|65000:1/loc-rib|a/b/loc-rib", "10.0.0.999|x|/10.0.0.1|red/|10.0.0.0/8|-1|red/loc"},
		{"ADDR", "10.0.0.1|::1", "10.0.0|x|10.0.0.0/8"},
		{"ADDRPORT", "10.0.0.1:1|[::1]:1", "10.0.0.1|::1:1|x:1"},
		{"PREFIX", "10.0.0.0/8|2001:db8::/32|0.0.0.0/0", "10.0.0.0|10.0.0.1/8|10.0.0.0/33"},
		{"RD", "65000:1|10.0.0.1:1|4200000000:1|1L:5|0x0003000000000001", "65000|x:1|:1|1:|65000:99999999999|0x12"},
		{"N", "0|18446744073709551615", "-1|1.5|x|18446744073709551616"},
		{"AS", "65000|4294967295|1.10", "4294967296|x|1.70000|1.2.3"},
		{"COMMUNITY", "65000:1|no-export|NO-EXPORT|0:0", "65536:1|1|1:2:3|no-such"},
		{"LARGE", "1:2:3|4294967295:0:0", "1:2|1:2:x|4294967296:0:0"},
		{"EXT", "rt:65000:1|0x0002fde800000001", "rt"},
		{"NLRI", "[2][x]", "x"},
		{"RE", "a|^b$", "(|"},
		{"ASPATH", "_65000_|[_]|[]_]", "(_"},
	} {
		k := kindsByName[c.kind]
		for text := range strings.SplitSeq(c.good, "|") {
			if _, err := k.parse(text, &env); err != nil {
				t.Errorf("%s %q: %v", c.kind, text, err)
			}
		}
		for text := range strings.SplitSeq(c.bad, "|") {
			if v, err := k.parse(text, &env); err == nil {
				t.Errorf("%s %q is taken for %v", c.kind, text, v)
			}
		}
	}
}

// The names of families are those of proto/bgp, in full and in two words.
func TestEveryNamedFamilyCanBeTyped(t *testing.T) {
	tree, err := New([]Command{{ID: "x", Pattern: "x [FAMILY] end"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range bgp.KnownFamilies() {
		for _, typed := range []string{f.String(), strings.Replace(f.String(), "-", " ", 1)} {
			if strings.HasPrefix(typed, "bgp ") || strings.Contains(typed, " ") && !strings.HasPrefix(typed, "ip") && !strings.HasPrefix(typed, "l2") {
				continue
			}
			m, err := tree.Match("x "+typed+" end", Env{Strict: true})
			if err != nil || m.Value("family") != f.String() {
				t.Errorf("%q: %v, %v", typed, m, err)
			}
		}
	}
	for typed, want := range map[string]string{"ipv4": "ipv4-unicast", "evpn": "l2vpn-evpn", "vpnv6": "ipv6-vpn", "25/70": "25/70"} {
		if m, err := tree.Match("x "+typed+" end", Env{}); err != nil || m.Value("family") != want {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

func TestASPathRegexp(t *testing.T) {
	for _, c := range []struct {
		re, path string
		want     bool
	}{
		{"_65010_", "65001 65010", true}, {"_65010_", "65010", true}, {"_65010_", "165010", false}, {"_65020_", "1 {65020,65021}", true},
		{"_65020_", "(65020 1) 2", true}, {"^$", "", true}, {"^_$", "", true}, {`\_`, "1 2", false}, {"[_]", "1 2", false}, {"[]_]1", "_1", true},
		{"[^_]1", "_1", false}, {"_1_2_", "1 2", true},
	} {
		v, err := parseASPath(c.re, nil)
		if err != nil {
			t.Errorf("%q: %v", c.re, err)
			continue
		}
		if got := v.(interface{ MatchString(string) bool }).MatchString(c.path); got != c.want {
			t.Errorf("%q on %q: %v (%v)", c.re, c.path, got, v)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "a", "edge 1", "it's", `a\b"c`, "a|b", "$x", "10.0.0.0/8", "\t", "é"} {
		w, open := lexWord(Quote(s), 0)
		if open >= 0 || w.text != s || w.end != len(Quote(s)) {
			t.Errorf("%q quoted %q reads %q", s, Quote(s), w.text)
		}
	}
}

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                 nil,
		"  listen\t'[::1]:1790'  vrf a":    {"listen", "[::1]:1790", "vrf", "a"},
		`control "a b"c tls | include tls`: {"control", "a bc", "tls"},
	} {
		if got := Words(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
