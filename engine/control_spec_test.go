package engine

import (
	"errors"
	"strings"
	"testing"

	"bmp/engine/listen"
	"bmp/proto/control"
)

func TestParseControlSpec(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1,allow 10.0.0.0/8":                       "10.0.0.1 allow 10.0.0.0/8 role view",
		"10.0.0.1:1113,allow 10.0.0.0/8,allow ::/0":       "10.0.0.1:1113 allow 10.0.0.0/8 allow ::/0 role view",
		"blue/10.0.0.1 allow 10.0.0.9":                    "blue/10.0.0.1 allow 10.0.0.9/32 role view",
		"2001:db8::1,tls /c /k":                           "2001:db8::1 tls /c /k role admin",
		"[2001:db8::1],tls /c /k,role view":               "2001:db8::1 tls /c /k role view",
		"[2001:db8::1]:1113 tls /c /k role admin":         "[2001:db8::1]:1113 tls /c /k role admin",
		"blue/[::]:1 allow ::/0 tls /c /k":                "blue/[::]:1 tls /c /k allow ::/0 role admin",
		`0.0.0.0:65535 tls "/my certs/a,b" "/my certs/k"`: `0.0.0.0:65535 tls "/my certs/a,b" "/my certs/k" role admin`,
	} {
		s, err := ParseControlSpec(text)
		if err != nil || s.String() != want {
			t.Errorf("%q = %q, %v; want %q", text, s, err, want)
			continue
		}
		if again, err := ParseControlSpec(s.String()); err != nil || again.String() != want {
			t.Errorf("%q is read again as %q, %v", want, again, err)
		}
	}
}

// What a listener without TLS would give away is refused when it is written, not when somebody connects.
func TestParseControlSpecErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "expected [NETNS/]ADDR[:PORT]",
		",":                                      "expected [NETNS/]ADDR[:PORT]",
		"10.0.0.1":                               "needs tls or allow",
		"10.0.0.1,role view":                     "needs tls or allow",
		"10.0.0.1,allow 10.0.0.0/8,role admin":   "without tls gives view only",
		"1112,allow 10.0.0.0/8":                  "expected [NETNS/]ADDR[:PORT]",
		"host:1112,allow 10.0.0.0/8":             "expected [NETNS/]ADDR[:PORT]",
		"[10.0.0.1]:1112,allow 10.0.0.0/8":       "expected [NETNS/]ADDR[:PORT]",
		"[2001:db8::1,allow 10.0.0.0/8":          "expected [NETNS/]ADDR[:PORT]",
		"[2001:db8::1]x,allow 10.0.0.0/8":        "expected [NETNS/]ADDR[:PORT]",
		"/10.0.0.1,allow 10.0.0.0/8":             "must be the name of a network namespace",
		"10.0.0.1:0,allow 10.0.0.0/8":            "expected a port",
		"10.0.0.1:,allow 10.0.0.0/8":             "expected a port",
		"10.0.0.1:65536,allow 10.0.0.0/8":        "expected a port",
		"10.0.0.1,tls /c":                        "a value is missing after 'tls'",
		"10.0.0.1,tls /c /k,tls /c /k":           "given twice",
		"10.0.0.1,allow":                         "a value is missing after 'allow'",
		"10.0.0.1,allow 10.0.0.1/8":              "the network is 10.0.0.0/8",
		"10.0.0.1,tls /c /k,role root":           "expected view or admin",
		"10.0.0.1,tls /c /k,role view role view": "given twice",
		`10.0.0.1,tls "/c /k`:                    "a closing '\"' is missing",
		"10.0.0.1,bogus":                         "expected tls, allow or role",
	} {
		s, err := ParseControlSpec(text)
		var e *listen.SpecError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q = %v, %v; want a SpecError saying %q", text, s, err, want)
		}
	}
}

func TestControlSpecDefaults(t *testing.T) {
	s, err := ParseControlSpec("10.0.0.1,allow 10.0.0.0/8")
	if err != nil || s.Role != control.RoleView || s.Port != 0 || s.TLS() {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzParseControlSpec(f *testing.F) {
	for _, s := range []string{
		"10.0.0.1,allow 10.0.0.0/8", `blue/[::1]:1 tls "a b" c role view`, "2001:db8::1,tls c k", "0.0.0.0:1 allow ::/0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseControlSpec(text)
		if err != nil {
			return
		}
		if !s.TLS() && (len(s.Allow) == 0 || s.Role != control.RoleView) {
			t.Errorf("%q is let through: %+v", text, s)
		}
		again, err := ParseControlSpec(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q is written %q and read again as %q, %v", text, s, again, err)
		}
	})
}
