package bgp

import "testing"

func FuzzLibraryKey(f *testing.F) {
	for i := range families {
		f.Add(uint8(i), []byte{10, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	}
	f.Fuzz(func(t *testing.T, fam uint8, b []byte) {
		fm := families[int(fam)%len(families)].family
		if len(b) == 0 {
			return
		}
		if s := fm.shape(); s == shapeFlow || s == shapeLS {
			libraryKey(fm, b)
		}
	})
}

// frameTLVs makes TLVs with right lengths of any bytes, so that the fuzzer gets behind the length checks: a control byte
// says how long a value is and whether it is TLVs again.
func frameTLVs(b []byte, t, l, depth int, next func() (byte, bool)) []byte {
	var out []byte
	for {
		c, ok := next()
		if !ok || c == 0xff {
			return out
		}
		typ := make([]byte, t)
		for i := range typ {
			typ[i], _ = next()
		}
		if t == 2 {
			typ[0] &= 7 // the code points are low
		}
		var v []byte
		if c&0x80 != 0 && depth > 0 {
			if c&0x40 != 0 {
				x, _ := next()
				v = append(v, x)
			}
			st, sl := 2, 2
			if c&1 != 0 {
				st, sl = 1, 2
			}
			if c&2 != 0 {
				st, sl = 1, 1
			}
			v = append(v, frameTLVs(b, st, sl, depth-1, next)...)
		} else {
			for range c & 0x3f {
				x, _ := next()
				v = append(v, x)
			}
		}
		if l == 1 {
			v = v[:min(len(v), 255)]
			out = append(append(out, typ...), byte(len(v)))
		} else {
			out = append(append(out, typ...), byte(len(v)>>8), byte(len(v)))
		}
		out = append(out, v...)
	}
}

func FuzzLibraryAttr(f *testing.F) {
	f.Add(uint8(0), []byte{4, 0, 1, 1, 2, 3, 4})
	f.Add(uint8(1), []byte{0x80, 0, 15, 2, 12, 1, 2})
	f.Add(uint8(2), []byte{0xc0, 5, 0, 0x81, 1, 1, 2, 3, 4, 4})
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		next := func() (byte, bool) {
			if len(b) == 0 {
				return 0, false
			}
			c := b[0]
			b = b[1:]
			return c, true
		}
		code := []uint8{AttrTunnelEncap, AttrBGPLS, AttrPrefixSID}[which%3]
		tl := 2
		if code == AttrPrefixSID {
			tl = 1
		}
		v := frameTLVs(b, tl, 2, 3, next)
		a := append([]byte{0xd0, code, byte(len(v) >> 8), byte(len(v))}, v...)
		it := attrs{rest: a}
		for len(v) < 65536 && it.next() {
			if r, _ := checkValue(it.code, &attrRules[it.code], it.value, true); r == "" {
				libraryAttr(&it)
			}
		}
	})
}
