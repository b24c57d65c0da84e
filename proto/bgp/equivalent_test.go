package bgp

import "testing"

func TestEquivalent(t *testing.T) {
	four := []byte{recordAS4,
		0x40, 1, 1, 0, // ORIGIN igp
		0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xeb, // AS_PATH 65003
		0xc0, 7, 8, 0, 0, 0xfd, 0xeb, 10, 0, 0, 1, // AGGREGATOR 65003 10.0.0.1
		0x40, 3, 4, 10, 1, 0, 13, // NEXT_HOP
	}
	two := []byte{0,
		0x40, 3, 4, 10, 1, 0, 13,
		0x50, 1, 0, 1, 0, // the length in two octets
		0x40, 2, 4, 2, 1, 0xfd, 0xeb,
		0xc0, 7, 6, 0xfd, 0xeb, 10, 0, 0, 1,
	}
	with := func(rec []byte, more ...byte) []byte { return append(append([]byte(nil), rec...), more...) }
	for _, tt := range []struct {
		name string
		a, b []byte
		want bool
	}{
		{"equal bytes", four, four, true},
		{"width, order and form of lengths", four, two, true},
		{"another MED", four, with(two, 0x80, 4, 4, 0, 0, 0, 1), false},
		{"one attribute less", with(four, 0x80, 4, 4, 0, 0, 0, 1), two, false},
		{"another path", four, with([]byte{0}, 0x40, 3, 4, 10, 1, 0, 13, 0x40, 1, 1, 0, 0x40, 2, 4, 2, 1, 0xfd, 0xec, 0xc0, 7, 6, 0xfd, 0xeb, 10, 0, 0, 1), false},
		{"another aggregator", four, with([]byte{0}, 0x40, 3, 4, 10, 1, 0, 13, 0x40, 1, 1, 0, 0x40, 2, 4, 2, 1, 0xfd, 0xeb, 0xc0, 7, 6, 0xfd, 0xeb, 10, 0, 0, 2), false},
		{"AS4_PATH makes it whole", []byte{recordAS4, 0x40, 2, 6, 2, 1, 0, 3, 0, 1}, []byte{0, 0x40, 2, 4, 2, 1, 0x5b, 0xa0, 0xc0, 17, 6, 2, 1, 0, 3, 0, 1}, true},
		{"a label more", []byte{recordAS4, 0x40, 1, 1, 0}, []byte{recordAS4 | recordExtra, 0x40, 1, 1, 0, 0, 1, 1, 3}, false},
	} {
		if got := Equivalent(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if got := Equivalent(tt.b, tt.a); got != tt.want {
			t.Errorf("%s, the other way: %v", tt.name, got)
		}
	}
}
