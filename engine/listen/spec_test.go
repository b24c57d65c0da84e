package listen

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseSpec(t *testing.T) {
	prefix := netip.MustParsePrefix
	addr := netip.MustParseAddr
	for text, want := range map[string]Spec{
		"1111":                  {Port: 1111},
		"65534":                 {Port: 65534},
		"10.0.0.1:1111":         {Addr: addr("10.0.0.1"), Port: 1111},
		"[2001:db8::1]:1111":    {Addr: addr("2001:db8::1"), Port: 1111},
		"[fe80::1%eth0]:1111":   {Addr: addr("fe80::1%eth0"), Port: 1111},
		"blue/1111":             {Netns: "blue", Port: 1111},
		"blue/10.0.0.1:1111":    {Netns: "blue", Addr: addr("10.0.0.1"), Port: 1111},
		"a.b-c_1/[::]:1111":     {Netns: "a.b-c_1", Addr: addr("::"), Port: 1111},
		"1111 vrf red":          {Port: 1111, VRF: "red"},
		"1111 limit 5":          {Port: 1111, Limit: 5},
		"1111 allow 10.0.0.0/8": {Port: 1111, Allow: []netip.Prefix{prefix("10.0.0.0/8")}},
		"1111 allow 10.0.0.9":   {Port: 1111, Allow: []netip.Prefix{prefix("10.0.0.9/32")}},
		"1111 limit 2 allow ::/0 vrf red allow 10.0.0.0/8": {
			Port: 1111, VRF: "red", Limit: 2, Allow: []netip.Prefix{prefix("::/0"), prefix("10.0.0.0/8")}},
	} {
		got, err := ParseSpec(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got.String() != want.String() || !got.SamePlace(want) {
			t.Errorf("%q = %+v, want %+v", text, got, want)
		}
		again, err := ParseSpec(got.String())
		if err != nil || again.String() != got.String() {
			t.Errorf("%q: written %q, read again %q, %v", text, got, again, err)
		}
	}
}

func TestParseSpecErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "expected [NETNS/][ADDR:]PORT",
		"0":                              "expected a port, 1 to 65534",
		"65535":                          "expected a port, 1 to 65534",
		"65536":                          "expected a port, 1 to 65534",
		"+80":                            "expected a port, 1 to 65534",
		"-1":                             "expected a port, 1 to 65534",
		"blue/":                          "expected a port, 1 to 65534",
		"10.0.0.1:":                      "expected a port, 1 to 65534",
		"/1111":                          "must be the name of a network namespace",
		"../1111":                        "must be the name of a network namespace",
		"a/b/1111":                       "must be the name of a network namespace",
		"router:1111":                    "expected [NETNS/][ADDR:]PORT",
		"10.0.0.999:1111":                "expected [NETNS/][ADDR:]PORT",
		"2001:db8::1:1111":               "in brackets",
		"[10.0.0.1]:1111":                "brackets are for IPv6",
		"1111 vrf":                       "a value is missing after 'vrf'",
		"1111 vrf a-name-of-16-chr":      "at most 15 characters",
		"1111 vrf a/b":                   "expected the name of a device",
		"1111 vrf a vrf b":               "a second vrf",
		"1111 allow":                     "a value is missing after 'allow'",
		"1111 allow 10.0.0.0/33":         "expected a prefix",
		"1111 allow 10.0.0.1/8":          "the network is 10.0.0.0/8",
		"1111 allow ::ffff:10.0.0.0/104": "expected a prefix",
		"1111 limit 0":                   "expected a number of sessions",
		"1111 limit x":                   "expected a number of sessions",
		"1111 limit 1 limit 2":           "a second limit",
		"1111 bogus":                     "expected vrf, allow or limit",
		"1111 vr red":                    "expected vrf, allow or limit",
	} {
		s, err := ParseSpec(text)
		var e *SpecError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q = %v, %v; want a SpecError saying %q", text, s, err, want)
		}
	}
}

// What is not built yet is refused: a listener that ignored these words would let in whom it must not.
func TestSecurityWordsAreNeverIgnored(t *testing.T) {
	for _, text := range []string{
		"1111 md5 secret", "1111 md5 file /etc/key", "1111 tls cert key", "1111 allow 10.0.0.0/8 md5 secret", "1111 md5",
	} {
		_, err := ParseSpec(text)
		var e *NotAvailableError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "Not available yet: ") {
			t.Errorf("%q: %v, want a NotAvailableError", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error %q tells the secret", text, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for a, want := range map[string]bool{
		"10.1.2.3": true, "11.0.0.1": false, "::ffff:10.1.2.3": true, "::ffff:11.0.0.1": false,
		"2001:db8::1": true, "2001:db9::1": false, "::": false,
	} {
		if got := Allowed(list, netip.MustParseAddr(a)); got != want {
			t.Errorf("Allowed(%s) = %v, want %v", a, got, want)
		}
	}
	if !Allowed(nil, netip.MustParseAddr("192.0.2.1")) {
		t.Error("an empty list must allow everybody")
	}
}

func TestWithDefaults(t *testing.T) {
	d := netip.MustParseAddr("10.0.0.1")
	s := Spec{Port: 1}.WithDefaults("blue", d)
	if s.Name() != "blue/10.0.0.1:1" {
		t.Errorf("defaults give %s", s.Name())
	}
	s = Spec{Netns: "red", Addr: netip.MustParseAddr("::1"), Port: 1}.WithDefaults("blue", d)
	if s.Name() != "red/[::1]:1" {
		t.Errorf("defaults replace what was written: %s", s.Name())
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{
		"1111", "blue/10.0.0.1:1111 vrf red allow 10.0.0.0/8 limit 5", "[2001:db8::1]:1111", "[fe80::1%e]:1",
		"1111 md5 x", "1111 allow ::/0 allow 0.0.0.0/0", "a/b/1", "[::ffff:1.2.3.4]:5",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err != nil {
			return
		}
		again, err := ParseSpec(s.String())
		if err != nil || again.String() != s.String() || !again.SamePlace(s) || again.Limit != s.Limit {
			t.Errorf("%q is written %q and read again as %q, %v", text, s, again, err)
		}
	})
}
