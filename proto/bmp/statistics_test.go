package bmp

import "testing"

func TestStatValues(t *testing.T) {
	b4, b8 := []byte{0, 0, 0, 7}, []byte{0, 0, 0, 1, 0, 0, 0, 0}
	b11 := []byte{0, 25, 70, 0, 0, 0, 0, 0, 0, 0, 5}
	for _, tt := range []struct {
		typ   uint16
		raw   []byte
		value uint64
		ok    bool
		name  string
	}{
		{0, b4, 7, true, "prefixes rejected by inbound policy"},
		{0, b8, 0, false, "prefixes rejected by inbound policy"},
		{13, b4, 7, true, "duplicate updates"},
		{7, b8, 1 << 32, true, "routes in Adj-RIB-In"},
		{7, b4, 0, false, "routes in Adj-RIB-In"},
		{17, b11, 5, true, "routes in post-policy Adj-RIB-Out per family"},
		{18, b8, 1 << 32, true, "routes in pre-policy Adj-RIB-In"},
		{24, b8, 1 << 32, true, "type 24"}, // unassigned
		{43, b11, 5, true, "routes without ROA in post-policy Adj-RIB-Out per family"},
		{44, b11, 0, false, "type 44"},
		{65531, b4, 7, true, "type 65531"},
		{65531, []byte{1}, 0, false, "type 65531"},
	} {
		s := Stat{Type: tt.typ, Raw: tt.raw}
		if v, ok := s.Value(); v != tt.value || ok != tt.ok {
			t.Errorf("type %d, %d bytes: %d, %v", tt.typ, len(tt.raw), v, ok)
		}
		if s.Name() != tt.name {
			t.Errorf("type %d: %q", tt.typ, s.Name())
		}
		afi, safi, ok := s.Family()
		if want := tt.ok && len(tt.raw) == 11; ok != want || ok && (afi != 25 || safi != 70) {
			t.Errorf("type %d: family %d/%d, %v", tt.typ, afi, safi, ok)
		}
	}
}

// TestStatTypes compares the table with IANA's registry: which types are there, and which are per family.
func TestStatTypes(t *testing.T) {
	perFamily := map[int]bool{9: true, 10: true, 16: true, 17: true, 19: true, 21: true, 22: true, 23: true, 26: true, 27: true,
		28: true, 30: true, 32: true, 34: true, 35: true, 36: true, 37: true, 38: true, 40: true, 41: true, 42: true, 43: true}
	for typ := range 44 {
		want := counter32
		switch {
		case typ == 24 || typ == 25:
			want = 0
		case perFamily[typ]:
			want = familyGauge
		case typ == 7 || typ == 8 || typ >= 14:
			want = gauge64
		}
		if got := (Stat{Type: uint16(typ)}).form(); got != want {
			t.Errorf("type %d: form %d, want %d", typ, got, want)
		}
		if name := (Stat{Type: uint16(typ)}).Name(); (want == 0) != (name == "type 24" || name == "type 25") || name == "" {
			t.Errorf("type %d: %q", typ, name)
		}
	}
}
