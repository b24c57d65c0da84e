package listen

import (
	"errors"
	"net/netip"
	"reflect"
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
		"1111 vrf a vrf b":               "given twice",
		"1111 allow":                     "a value is missing after 'allow'",
		"1111 allow 10.0.0.0/33":         "expected a prefix",
		"1111 allow 10.0.0.1/8":          "the network is 10.0.0.0/8",
		"1111 allow ::ffff:10.0.0.0/104": "expected a prefix",
		"1111 limit 0":                   "expected a number of sessions",
		"1111 limit x":                   "expected a number of sessions",
		"1111 limit 1 limit 2":           "given twice",
		"1111 bogus":                     "expected vrf, allow, limit, md5, tls or ca",
		"1111 vr red":                    "expected vrf, allow, limit, md5, tls or ca",
	} {
		s, err := ParseSpec(text)
		var e *SpecError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q = %v, %v; want a SpecError saying %q", text, s, err, want)
		}
	}
}

// An error must not tell a key.
func TestSecurityOptions(t *testing.T) {
	s, err := ParseSpec(`1111 allow 10.0.0.0/8 md5 secret tls cert.pem "my key.pem" ca roots.pem`)
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{Port: 1111, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, MD5: MD5{Key: "secret"},
		TLS: TLS{Cert: "cert.pem", Key: "my key.pem", CA: "roots.pem"}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
	s, err = ParseSpec("1111 md5 file /etc/key")
	if err != nil || s.MD5 != (MD5{File: "/etc/key"}) {
		t.Errorf("got %+v, %v", s, err)
	}
	long := strings.Repeat("secret", 20)
	for text, want := range map[string]string{
		"1111 md5": "a value is missing after 'md5'", "1111 md5 file": "a value is missing after 'md5'", "1111 md5 " + long: "at most 80 octets",
		"1111 tls cert": "a value is missing after 'tls'", "1111 ca x": "goes with tls", `1111 tls "a`: "closing",
	} {
		_, err := ParseSpec(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestParseRemote(t *testing.T) {
	for text, want := range map[string]Remote{
		"192.0.2.1:1790":                      {Addr: netip.MustParseAddrPort("192.0.2.1:1790")},
		"blue/[2001:db8::1]:1790 vrf mgmt":    {Netns: "blue", Addr: netip.MustParseAddrPort("[2001:db8::1]:1790"), VRF: "mgmt"},
		"192.0.2.1:1790 tls ca x netns blue":  {Netns: "blue", Addr: netip.MustParseAddrPort("192.0.2.1:1790"), TLS: true, CA: "x"},
		"192.0.2.1:1790 md5 file /etc/bmp/m5": {Addr: netip.MustParseAddrPort("192.0.2.1:1790"), MD5: MD5{File: "/etc/bmp/m5"}},
	} {
		got, err := ParseRemote(text)
		if err != nil || got != want {
			t.Errorf("%q = %+v, %v", text, got, err)
		}
		if again, err := ParseRemote(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q and read again as %+v, %v", text, got, again, err)
		}
	}
	for text, want := range map[string]string{
		"": "expected [NETNS/]ADDR:PORT", "1790": "expected [NETNS/]ADDR:PORT", "192.0.2.1": "with an address", "192.0.2.1:0": "with an address",
		"192.0.2.1:1 ca x": "goes with tls", "a/192.0.2.1:1 netns b": "a second network namespace", "192.0.2.1:1 limit 1": "expected netns, vrf",
		"192.0.2.1:1 netns a/b": "the name of a network namespace",
	} {
		if _, err := ParseRemote(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
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
		"1111 md5 x", `1111 tls a "b c" ca d md5 file e`, "1111 allow ::/0 allow 0.0.0.0/0", "a/b/1", "[::ffff:1.2.3.4]:5",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err != nil {
			return
		}
		again, err := ParseSpec(s.String())
		if err != nil || again.String() != s.String() || !again.SamePlace(s) || again.Limit != s.Limit || again.MD5 != s.MD5 || again.TLS != s.TLS {
			t.Errorf("%q is written %q and read again as %q, %v", text, s, again, err)
		}
	})
}
