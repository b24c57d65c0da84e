package bgp

import (
	"bytes"
	"testing"
)

// rejoin checks that a route put together again is the same route.
func rejoin(t *testing.T, f Family, addPath bool, it *NLRI) {
	t.Helper()
	field := AppendNLRI(nil, f, addPath, it.PathID, it.Key, it.Extra)
	var again NLRI
	again.Reset(f, addPath, false, field)
	if !again.Next() {
		t.Fatalf("%s %x (%x): %x does not split: %v", f, it.Key, it.Extra, field, again.Err())
	}
	if again.PathID != it.PathID || !bytes.Equal(again.Key, it.Key) || !bytes.Equal(again.Extra, it.Extra) {
		t.Fatalf("%s %d %x (%x): %x splits into %d %x (%x)", f, it.PathID, it.Key, it.Extra, field, again.PathID, again.Key, again.Extra)
	}
	if again.Next() || again.Err() != nil {
		t.Fatalf("%s %x: %x holds more than one: %v", f, it.Key, field, again.Err())
	}
}

// Every NLRI is put together again so that it splits into the same key, path identifier and rest, and byte for byte
// where the peer coded it as everybody does.
func TestAppendNLRI(t *testing.T) {
	n := 0
	for _, test := range nlriCases {
		field := unhex(t, test.field)
		if test.withdraw || test.err != "" {
			continue
		}
		var all []byte
		it := SplitNLRI(test.family, test.addPath, false, field)
		masked := false
		for it.Next() {
			rejoin(t, test.family, test.addPath, it)
			all = AppendNLRI(all, test.family, test.addPath, it.PathID, it.Key, it.Extra)
			masked = masked || it.keyLen > 0 && !bytes.Contains(field, it.Key[max(0, len(it.Key)-2):])
			n++
		}
		if !masked && !bytes.Equal(all, field) && test.family.shape() != shapeFlow && !bytes.Contains([]byte(test.name), []byte("host bits")) {
			t.Errorf("%s: %x, not %x", test.name, all, field)
		}
	}
	if n < 40 {
		t.Errorf("only %d NLRI", n)
	}
}

// What a record was made of, put together again, makes the same record.
func TestAppendAnnouncement(t *testing.T) {
	const nh6 = "80 0e 15 0002 01 10 20010db8000000000000000000000001 00"
	for _, test := range []struct {
		name, attrs, nlri string
		family            Family
		again             string
	}{
		{"classic", mandated + med, "18 c00002 08 0a", IPv4Unicast, "18 c00002 08 0a"},
		{"IPv6", origin + nh6 + path4, "", IPv6Unicast, "20 20010db8"},
		{"IPv4 in MP_REACH", origin + path4 + "80 0e 0d 0001 01 04 0a000002 00 18 c00002", "", IPv4Unicast, "18 c00002"},
		{"no next hop", origin + path4 + "80 0e 05 0001 85 00 00", "", IPv4FlowSpec, "03 01 08 0a"},
	} {
		rec := record(t, Context{AS4: true}, test.attrs, test.nlri, test.family, "")
		pdu, err := AppendAnnouncement([]byte{1, 2, 3}, test.family, rec, unhex(t, test.again))
		if err != nil {
			t.Fatal(err)
		}
		var u Update
		if err := u.Parse(pdu[3:], Context{AS4: true}); err != nil || u.Malformed != nil && u.Malformed.Class > AttributeDiscard {
			t.Fatalf("%s: %x: %v, %v", test.name, pdu, err, u.Malformed)
		}
		sections := u.Sections(nil)
		if len(sections) != 1 || sections[0].Family != test.family || sections[0].Withdraw || !bytes.Equal(sections[0].Field, unhex(t, test.again)) {
			t.Errorf("%s: %+v", test.name, sections)
		}
		if got := u.AppendRecord(nil, test.family, nil); !bytes.Equal(got, rec) {
			t.Errorf("%s: record %x, not %x", test.name, got, rec)
		}
	}
	long := record(t, Context{AS4: true}, mandated, "08 0a", IPv4Unicast, "")
	if pdu, err := AppendAnnouncement(nil, IPv6Unicast, long, make([]byte, 66000)); err == nil {
		t.Errorf("an UPDATE of %d bytes", len(pdu))
	}
	for _, f := range []Family{IPv4Unicast, IPv6VPN} {
		var u Update
		if err := u.Parse(AppendEndOfRIB(nil, f), Context{}); err != nil || !u.EoR || u.EoRFamily != f {
			t.Errorf("End-of-RIB of %s: %v, %+v", f, err, u)
		}
	}
}
