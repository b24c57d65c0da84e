package bgp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// unhex reads bytes laid out field by field: blanks and newlines are ignored, and so is what follows a '#' on its line.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var all strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		for _, w := range strings.Fields(line) {
			all.WriteString(w)
		}
	}
	b, err := hex.DecodeString(all.String())
	if err != nil {
		t.Fatalf("%v in %q", err, s)
	}
	return b
}

// message puts a header before a body.
func message(t PDUType, body []byte) []byte {
	return sealPDU(append(appendHeader(nil, t), body...), 0)
}

// update builds an UPDATE of its three fields.
func update(withdrawn, attrs, nlri []byte) []byte {
	b := []byte{byte(len(withdrawn) >> 8), byte(len(withdrawn))}
	b = append(b, withdrawn...)
	b = append(b, byte(len(attrs)>>8), byte(len(attrs)))
	return message(PDUUpdate, append(append(b, attrs...), nlri...))
}

func TestHeader(t *testing.T) {
	ones := strings.Repeat("ff", 16)
	for _, test := range []struct {
		name, bytes string
		typ         PDUType
		err         string
	}{
		{"keepalive", ones + "0013 04", PDUKeepalive, ""},
		{"unknown type", ones + "0014 63 00", 99, ""},
		{"length beyond the bytes", ones + "0014 04", 0, "length: 20, in 19 bytes at offset 16"},
		{"length before the end", ones + "0013 04 00", 0, "length: 19, in 20 bytes at offset 16"},
		{"length 0", ones + "0000 04", 0, "length: 0, in 19 bytes at offset 16"},
		{"marker", "fffffe" + ones[6:] + "0013 04", 0, "marker: 0xfe, not 0xff at offset 2"},
		{"cut in the marker", "ffff", 0, "marker: 16 bytes needed, 2 there at offset 0"},
		{"cut before the type", ones + "0013", 0, "length: 19, in 18 bytes at offset 16"},
		{"empty", "", 0, "marker: 16 bytes needed, 0 there at offset 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			typ, _, err := SplitHeader(unhex(t, test.bytes))
			if typ != test.typ {
				t.Errorf("type %v, want %v", typ, test.typ)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
	if got := AppendKeepalive(nil); !bytes.Equal(got, unhex(t, ones+"0013 04")) {
		t.Errorf("KEEPALIVE is % x", got)
	}
}

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		name string
		pdu  []byte
		want string
	}{
		{"keepalive", AppendKeepalive(nil), "KEEPALIVE"},
		{"keepalive with a body", message(PDUKeepalive, []byte{0}), "KEEPALIVE malformed: 1 bytes left over at offset 19"},
		{"type 9", message(9, nil), "type 9"},
		{"nothing", nil, "BGP message malformed: marker: 16 bytes needed, 0 there at offset 0 (RFC 4271, Section 4.1)"},
		{"refresh", RouteRefresh{Family: IPv6Unicast, Subtype: 1}.Append(nil), "ROUTE-REFRESH ipv6-unicast begin"},
		{"short refresh", message(PDURouteRefresh, []byte{0, 1}), "ROUTE-REFRESH malformed: subtype: 1 bytes needed, 0 there at offset 21 (RFC 2918, Section 3)"},
		{"notification", Notification{Code: 4}.Append(nil), "NOTIFICATION Hold Timer Expired"},
		{"end of rib", update(nil, nil, nil), "UPDATE End-of-RIB ipv4-unicast"},
		{"withdrawal", update([]byte{8, 10, 16, 10, 1}, nil, nil), "UPDATE 2 ipv4-unicast withdrawn"},
		{"malformed update", update(nil, nil, []byte{8, 10}), "UPDATE 1 ipv4-unicast announced, malformed: UPDATE attribute 1 missing (treat-as-withdraw)"},
		{"cut update", message(PDUUpdate, []byte{0, 9, 0, 0}), "UPDATE withdrawn routes length 9"},
		{"open", (&Open{Version: 4, MyAS: 65001, AS: 65001, HoldTime: 90, ID: [4]byte{10, 0, 0, 1}}).Append(nil), "OPEN AS 65001, id 10.0.0.1, hold time 90, ipv4-unicast"},
		{"short open", message(PDUOpen, []byte{4, 0}), "OPEN malformed: my autonomous system: 2 bytes needed, 1 there at offset 20 (RFC 4271, Section 4.2)"},
	} {
		if got := Summary(test.pdu, Context{AS4: true}); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
