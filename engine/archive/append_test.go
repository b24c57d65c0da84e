package archive

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"
)

func TestSessionRecordIsWrittenAsJSONIs(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 70_000, time.UTC)
	for _, s := range []SessionRecord{
		{},
		{Session: 7, Time: at, Start: at.Add(-time.Second).In(time.FixedZone("", 5400)), Address: netip.MustParseAddrPort("10.1.0.1:22011"),
			Listener: "blue/10.0.0.1:1111", Netns: "blue", VRF: "red", Name: "edge1.ams", Reason: "remote closed", Messages: 8, Bytes: 1 << 40},
		{Address: netip.MustParseAddrPort("[fe80::1%eth0]:179"), Name: "a \"b\" \\ <c> & \x01\n\xff ü \u2028", Reason: "~"},
	} {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.appendJSON(nil); string(got) != string(want) {
			t.Errorf("%s\nis not\n%s", got, want)
		}
	}
}
