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
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		next := func() (byte, bool) {
			if len(b) == 0 {
				return 0, false
			}
			c := b[0]
			b = b[1:]
			return c, true
		}
		code := []uint8{AttrTunnelEncap, AttrBGPLS}[which%2]
		v := frameTLVs(b, 2, 2, 3, next)
		a := append([]byte{0xd0, code, byte(len(v) >> 8), byte(len(v))}, v...)
		it := attrs{rest: a}
		for len(v) < 65536 && it.next() {
			if r, _ := checkValue(it.code, &attrRules[it.code], it.value, true); r == "" {
				libraryAttr(&it)
			}
		}
	})
}

// updateInvariants is what holds of every UPDATE that can be split.
func updateInvariants(t *testing.T, pdu []byte, ctx Context) {
	var u Update
	if err := u.Parse(pdu, ctx); err != nil {
		if u.Malformed == nil || len(u.Sections(nil)) != 0 {
			t.Fatalf("error %v, malformed %v, sections %v", err, u.Malformed, u.Sections(nil))
		}
		return
	}
	if m := u.Malformed; m != nil && (m.Class == 0 || m.Offset < 0 || m.Offset > len(pdu) || m.Error() == "") {
		t.Fatalf("malformed %+v", m)
	}
	_ = u.String()
	u.ASPathWidths()
	var again Update // a used Update parses as a new one
	_ = again.Parse(update([]byte{0}, []byte{0x40, 6, 1, 0, 0x80, 15, 3, 0, 2, 1, 0x80, 14, 5, 0, 2, 1, 0, 0}, []byte{0}), ctx)
	_ = again.Parse(pdu, ctx)
	var it NLRI
	for i, s := range u.Sections(nil) {
		if string(pdu[s.Offset:s.Offset+len(s.Field)]) != string(s.Field) {
			t.Fatalf("section %d is not at offset %d", i, s.Offset)
		}
		n, err := CheckNLRI(s.Family, s.AddPath, s.Withdraw, s.Field)
		it.Reset(s.Family, s.AddPath, s.Withdraw, s.Field)
		for it.Next() {
			n--
			if it.Offset() < 0 || it.Offset() >= len(s.Field) {
				t.Fatalf("NLRI at offset %d of %d bytes", it.Offset(), len(s.Field))
			}
			rec := u.AppendRecord(nil, s.Family, it.Extra)
			if string(again.AppendRecord(nil, s.Family, it.Extra)) != string(rec) {
				t.Fatalf("another record from a used Update: % x, % x", again.AppendRecord(nil, s.Family, it.Extra), rec)
			}
			if len(it.Extra) <= 255 && string(RecordExtra(rec)) != string(it.Extra) {
				t.Fatalf("extra % x in a record is % x", it.Extra, RecordExtra(rec))
			}
			checkRecord(t, rec, s.Family)
			checkKey(t, s.Family, it.Key)
			if !s.Withdraw {
				rejoin(t, s.Family, s.AddPath, &it)
			}
		}
		if n != 0 || (err == nil) != (it.Err() == nil) {
			t.Fatalf("CheckNLRI and Next differ by %d, %v and %v", n, err, it.Err())
		}
	}
}

// checkKey asks for the text of a key and reads it back.
func checkKey(t *testing.T, f Family, key []byte) {
	rd, text := KeyText(f, key)
	KeyPrefix(f, key)
	if s := f.shape(); s == shapeFlow || s == shapeLS {
		return
	}
	if len(key) == 0 {
		return
	}
	back, err := ParseKey(f, rd, text)
	if err != nil || string(back) != string(key) {
		t.Fatalf("%s key % x is %q %q, which is % x, %v", f, key, rd, text, back, err)
	}
}

// checkRecord asks everything of a record.
func checkRecord(t *testing.T, rec []byte, f Family) {
	a := Decode(rec, f)
	a.All()
	if p := string(AppendASPath(nil, rec)); p != a.ASPath {
		t.Fatalf("path %q and %q", p, a.ASPath)
	}
	if nh, ok := NextHop(rec); ok && !a.NextHop.IsValid() || a.NextHop.IsValid() && nh != a.NextHop && f == IPv4Unicast {
		t.Fatalf("next hop %v and %v", nh, a.NextHop)
	}
	OriginAS(rec)
	MED(rec)
	LocalPref(rec)
	HasCommunity(rec, 1)
	HasLargeCommunity(rec, [3]uint32{1, 2, 3})
	HasExtCommunity(rec, [8]byte{1})
	RecordAS4(rec)
}

func FuzzUpdate(f *testing.F) {
	add := func(attrs, nlri string) {
		f.Add(update(nil, unhex(f, attrs), unhex(f, nlri)), true, uint64(0))
		f.Add(update(unhex(f, nlri), unhex(f, attrs), nil), false, ^uint64(0))
	}
	add(mandated+med, "18 c00002")
	add(origin+path4+"80 0e 20 0001 80 0c 0000000000000000 0a000001 00 70 0003e1 0000fde800000001 c00002", "")
	add(origin+path4+"80 0e 25 0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00", "")
	add("80 0f 08 0002 01 20 20010db8"+mandated+"40 06 01 00"+med+med, "18 c00002")
	for _, c := range nlriCases {
		mp := append([]byte{byte(c.family.AFI >> 8), byte(c.family.AFI), c.family.SAFI, 4, 10, 0, 0, 1, 0}, unhex(f, c.field)...)
		attrs := append(unhex(f, origin+path4), 0x90, AttrMPReach, byte(len(mp)>>8), byte(len(mp)))
		f.Add(update(nil, append(attrs, mp...), nil), true, uint64(0))
	}
	f.Fuzz(func(t *testing.T, pdu []byte, as4 bool, addPath uint64) {
		updateInvariants(t, pdu, Context{AS4: as4, AddPath: AddPathSet(addPath)})
		if len(pdu) >= HeaderLen && len(pdu) <= 65535 { // with the header put right, so that the fuzzer gets behind it
			whole := append([]byte(nil), pdu...)
			for i := range 16 {
				whole[i] = 0xff
			}
			whole[18] = byte(PDUUpdate)
			updateInvariants(t, sealPDU(whole, 0), Context{AS4: as4, AddPath: AddPathSet(addPath)})
			Summary(whole, Context{AS4: as4})
		}
	})
}

func FuzzNLRI(f *testing.F) {
	for _, c := range nlriCases {
		if i := c.family.place(); i >= 0 {
			f.Add(uint8(i), c.addPath, c.withdraw, unhex(f, c.field))
		}
	}
	f.Fuzz(func(t *testing.T, fam uint8, addPath, withdraw bool, field []byte) {
		if len(field) > 4096 {
			return
		}
		family := families[int(fam)%len(families)].family
		n, _ := CheckNLRI(family, addPath, withdraw, field)
		it := SplitNLRI(family, addPath, withdraw, field)
		for it.Next() {
			n--
			checkKey(t, family, it.Key)
		}
		if n != 0 {
			t.Fatalf("CheckNLRI counts %d more than Next", n)
		}
	})
}

// FuzzKeyText: whatever ParseKey accepts is the key of its own text.
func FuzzKeyText(f *testing.F) {
	for _, c := range nlriCases {
		i := c.family.place()
		it := SplitNLRI(c.family, c.addPath, c.withdraw, unhex(f, c.field))
		for i >= 0 && it.Next() {
			rd, text := KeyText(c.family, it.Key)
			f.Add(uint8(i), rd, text)
		}
	}
	f.Fuzz(func(t *testing.T, fam uint8, rd, text string) {
		family := families[int(fam)%len(families)].family
		key, err := ParseKey(family, rd, text)
		if err != nil || len(text) > 2 && text[:2] == "0x" {
			return
		}
		checkKey(t, family, key)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(uint8(0), []byte{0})
	f.Add(uint8(10), append([]byte{3}, unhex(f, mandated+med+"c0 10 08 030c000000000008 00112233445566778899 0027d8 0d")...))
	f.Add(uint8(6), append([]byte{0}, unhex(f, origin+path2+"c0 11 06 02 01 fa56ea00 c0 80 0f 0000fde9 40 01 01 00 40 05 04 00000064 c0 28 0a 01 0007 00 0000 00000064")...))
	f.Fuzz(func(t *testing.T, fam uint8, rec []byte) {
		checkRecord(t, rec, families[int(fam)%len(families)].family)
	})
}

func FuzzOpen(f *testing.F) {
	f.Add(unhex(f, "04 fde9 00b4 0a000001 0c 02 06 01 04 0001 00 01 02 02 02 00"))
	f.Add(unhex(f, "04 fde9 00b4 0a000001 ff ff 0009 02 0006 01 04 0001 00 01"))
	f.Add(unhex(f, "04 fde9 00b4 0a000001 14 02 12 49 0a 03 6e7931 05 6c6f63616c 40 04 c05a 0001"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 60000 {
			return
		}
		o, err := ParseOpen(message(PDUOpen, body))
		if err != nil {
			return
		}
		_ = o.String()
		for _, c := range o.Capabilities {
			_, _ = c.Name(), c.Text()
		}
		Negotiate(&o, &o)
		AddPathListed(&o)
		if len(o.Append(nil)) > 65535 { // capabilities that shared a parameter do not fit when each has its own
			return
		}
		again, err := ParseOpen(o.Append(nil))
		if err != nil || again.AS != o.AS || len(again.Capabilities) != len(o.Capabilities) {
			t.Fatalf("%+v appended and parsed is %+v, %v", o, again, err)
		}
		for i, c := range o.Capabilities {
			if again.Capabilities[i].Code != c.Code || string(again.Capabilities[i].Value) != string(c.Value) {
				t.Fatalf("capability %d: %v and %v", i, c, again.Capabilities[i])
			}
		}
	})
}

func FuzzNotification(f *testing.F) {
	f.Add([]byte{6, 2, 2, 'h', 'i'})
	f.Add([]byte{6, 9, 6, 9, 6, 2})
	f.Add([]byte{2, 7, 65, 4, 0, 0, 0, 1})
	f.Add([]byte{0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 60000 {
			return
		}
		pdu := message(PDUNotification, body)
		if n, err := ParseNotification(pdu); err == nil {
			_, _ = n.String(), n.Shutdown()
			if string(n.Append(nil)) != string(pdu) {
				t.Fatalf("% x appended is % x", pdu, n.Append(nil))
			}
		}
		pdu = message(PDURouteRefresh, body)
		if r, err := ParseRouteRefresh(pdu); err == nil {
			_ = r.String()
			if string(r.Append(nil)) != string(pdu) {
				t.Fatalf("% x appended is % x", pdu, r.Append(nil))
			}
		}
	})
}
