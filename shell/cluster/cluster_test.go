package cluster

import "testing"

func TestParsePlace(t *testing.T) {
	for _, x := range []struct{ address, url, station string }{
		{"n1", "nats://n1", ""},
		{"n1/", "nats://n1", ""},
		{"n1:4333,n2/edge", "nats://n1:4333,nats://n2", "edge"},
		{"al:s@n1/edge", "nats://al:s@n1", "edge"},
		{"[2001:db8::1]:4222/e-1", "nats://[2001:db8::1]:4222", "e-1"},
	} {
		p, err := ParsePlace(x.address)
		if err != nil || p.URL != x.url || p.Station != x.station {
			t.Errorf("%s: %+v, %v", x.address, p, err)
		}
	}
	for _, bad := range []string{"n1,/edge", ",n1", "n1/a.b", "n1/1111", "n1/*"} {
		if p, err := ParsePlace(bad); err == nil {
			t.Errorf("%s: %+v", bad, p)
		}
	}
}

func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{
		"n1/edge":                           "n1/edge",
		"nats://n1:4222":                    "nats://n1:4222",
		"nats://al:s@n1,bo:p:q@n2/edge":     "nats://al:xxxxx@n1,bo:xxxxx@n2/edge",
		"nats://token@n1":                   "nats://xxxxx@n1",
		"nats://al:p@ss@n1/":                "nats://al:xxxxx@n1/",
		"nats://al:s@n1,tls://bo:p@n2:4222": "nats://al:xxxxx@n1,tls://bo:xxxxx@n2:4222",
		"al:s@n1,n2/edge":                   "al:xxxxx@n1,n2/edge",
	} {
		if got := Redacted(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
