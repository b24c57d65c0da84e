package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// text writes the fields of a key. It is false when the key is not laid out so.
func (l layout) text(f Family, key []byte) (string, bool) {
	if l.fields == "" || len(key) < l.header || !l.lengthOK(f, key) {
		return "", false
	}
	var out []string
	if l.typ >= 0 {
		out = append(out, strconv.Itoa(l.typ))
	}
	v := key[l.header:]
	take := func(n int) []byte {
		b := v[:n]
		v = v[n:]
		return b
	}
	for i := range len(l.fields) {
		c := l.fields[i]
		need, ok := fieldLen(f, c, v)
		if !ok || need > len(v) {
			return "", false
		}
		b := take(need)
		switch c {
		case 'R':
		case 'e':
			out = append(out, colonHex(b))
		case 't':
			out = append(out, strconv.FormatUint(uint64(binary.BigEndian.Uint32(b)), 10))
		case 'h':
			out = append(out, strconv.Itoa(int(binary.BigEndian.Uint16(b))))
		case 'm':
			out = append(out, "48", colonHex(b[1:]))
		case 'v':
			out = append(out, netip.AddrFrom4([4]byte(b)).String())
		case 'i':
			if len(b) == 1 {
				if i == len(l.fields)-1 && f == L2VPNEVPN && l.typ == evpnMACIP {
					break // a MAC address alone, as other routers write it
				}
				out = append(out, "0", "*")
				break
			}
			out = append(out, strconv.Itoa(int(b[0])), addrText(b[1:]))
		case 'a':
			out = append(out, addrText(b))
		case 'p':
			p, ok := prefixOf(f, int(b[0]), b[1:])
			if !ok || p != p.Masked() {
				return "", false
			}
			out = append(out, p.String())
		case 'P':
			out = append(out, strconv.Itoa(int(b[0])), addrText(b[1:]))
		case 'u':
			n := addrLen(f)
			out = append(out, strconv.Itoa(int(b[0])), addrText(b[1:1+n]), "0x"+hex.EncodeToString(b[1+n:]))
		case 'x':
			out = append(out, "0x"+hex.EncodeToString(b))
		}
	}
	if len(v) != 0 {
		return "", false
	}
	return "[" + strings.Join(out, "]:[") + "]", true
}

// lengthOK checks the length in the header of a key: no other may give the same text.
func (l layout) lengthOK(f Family, key []byte) bool {
	switch f.shape() {
	case shapeEVPN, shapeTLV, shapeMUP:
		return int(key[l.header-1]) == len(key)-l.header
	case shapeBits8:
		return int(key[0]) == 8*(len(key)-1)
	}
	return true
}

func addrLen(f Family) int {
	if f.AFI == 2 {
		return 16
	}
	return 4
}

// fieldLen is the length that field c has at the beginning of v; false when it cannot stand there.
func fieldLen(f Family, c byte, v []byte) (int, bool) {
	switch c {
	case 'R':
		return 8, true
	case 'e':
		return 10, true
	case 't', 'v':
		return 4, true
	case 'h':
		return 2, true
	case 'x':
		return len(v), true
	case 'a':
		return len(v), len(v) == 4 || len(v) == 16
	}
	if len(v) == 0 {
		return 0, false
	}
	bits := int(v[0])
	switch c {
	case 'm':
		return 7, bits == 48
	case 'i':
		return 1 + bits/8, bits == 0 || bits == 32 || bits == 128
	case 'p':
		return 1 + (bits+7)/8, bits <= 8*addrLen(f)
	case 'P':
		n := len(v) - 1
		return len(v), (n == 4 || n == 16) && bits <= 8*n
	case 'u':
		n := addrLen(f)
		return 1 + (bits+7)/8, bits >= 8*n && bits <= 8*n+32 && bits%8 == 0
	}
	return 0, false
}

// parseLayout reads what layout.text writes.
func parseLayout(f Family, rd RD, s string) ([]byte, error) {
	bad := func() error { return fmt.Errorf("%q is not a route of %s ([type]:[field]:...)", s, f) }
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return nil, bad()
	}
	words := strings.Split(s[1:len(s)-1], "]:[")
	var key []byte
	switch f.shape() {
	case shapeEVPN, shapeTLV:
		key = []byte{0, 0}
	case shapeMUP:
		key = []byte{1, 0, 0, 0}
	case shapeCAR, shapeBits8:
		key = []byte{0}
	}
	if sh := f.shape(); sh != shapeBits8 && sh != shapeLen2 {
		t, err := strconv.ParseUint(words[0], 10, 16)
		if err != nil || t > 255 && sh != shapeMUP {
			return nil, bad()
		}
		words = words[1:]
		if sh == shapeMUP {
			binary.BigEndian.PutUint16(key[1:], uint16(t))
		} else {
			key[0] = byte(t)
		}
	}
	l := layoutOf(f, key)
	if f.shape() == shapeLen2 { // told apart by the length of the key, which is not there yet
		l = layout{0, -1, "Ra"}
		if len(words) == 3 {
			l.fields = "Rhhh"
		}
	}
	next := func() string {
		if len(words) == 0 {
			return ""
		}
		w := words[0]
		words = words[1:]
		return w
	}
	number := func(bits int) (uint64, bool) {
		n, err := strconv.ParseUint(next(), 10, bits)
		return n, err == nil
	}
	for i := range len(l.fields) {
		ok := true
		var n uint64
		switch l.fields[i] {
		case 'R':
			key = append(key, rd[:]...)
		case 'e':
			var b []byte
			b, ok = parseColonHex(next(), 10)
			key = append(key, b...)
		case 't':
			n, ok = number(32)
			key = binary.BigEndian.AppendUint32(key, uint32(n))
		case 'h':
			n, ok = number(16)
			key = binary.BigEndian.AppendUint16(key, uint16(n))
		case 'm':
			n, ok = number(8)
			b, isMAC := parseColonHex(next(), 6)
			ok = ok && n == 48 && isMAC
			key = append(append(key, 48), b...)
		case 'v':
			var a netip.Addr
			a, ok = parseAddr(next())
			ok = ok && a.Is4()
			key = append(key, a.AsSlice()...)
		case 'i':
			if len(words) == 0 && f == L2VPNEVPN {
				key = append(key, 0)
				break
			}
			n, ok = number(8)
			w := next()
			if key = append(key, byte(n)); n == 0 {
				ok = ok && w == "*"
				break
			}
			a, isAddr := parseAddr(w)
			ok = ok && isAddr && a.BitLen() == int(n)
			key = append(key, a.AsSlice()...)
		case 'a':
			var a netip.Addr
			a, ok = parseAddr(next())
			key = append(key, a.AsSlice()...)
		case 'p':
			p, err := netip.ParsePrefix(next())
			ok = err == nil && p.Addr().BitLen() == 8*addrLen(f)
			if ok {
				key = append(key, byte(p.Bits()))
				key = append(key, p.Masked().Addr().AsSlice()[:(p.Bits()+7)/8]...)
			}
		case 'P':
			n, ok = number(8)
			a, isAddr := parseAddr(next())
			if ok = ok && isAddr && int(n) <= a.BitLen(); ok {
				key = append(key, byte(n))
				key = append(key, netip.PrefixFrom(a, int(n)).Masked().Addr().AsSlice()...)
			}
		case 'u':
			n, ok = number(8)
			a, isAddr := parseAddr(next())
			teid, err := hex.DecodeString(strings.TrimPrefix(next(), "0x"))
			ok = ok && isAddr && err == nil && a.BitLen() == 8*addrLen(f) && a.BitLen()+8*len(teid) == int(n)
			key = append(append(append(key, byte(n)), a.AsSlice()...), teid...)
		case 'x':
			h, isHex := strings.CutPrefix(next(), "0x")
			b, err := hex.DecodeString(h)
			ok = isHex && err == nil
			key = append(key, b...)
		}
		if !ok {
			return nil, bad()
		}
	}
	if len(words) > 0 || l.fields == "" {
		return nil, bad()
	}
	// The length fields of the header.
	switch f.shape() {
	case shapeEVPN, shapeTLV, shapeMUP:
		if len(key)-l.header > 255 {
			return nil, bad()
		}
		key[l.header-1] = byte(len(key) - l.header)
	case shapeBits8:
		if 8*(len(key)-1) > 255 {
			return nil, bad()
		}
		key[0] = byte(8 * (len(key) - 1))
	}
	return key, nil
}

func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == ""
}

func addrText(b []byte) string {
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}

func colonHex(b []byte) string { return net.HardwareAddr(b).String() }

func parseColonHex(s string, n int) ([]byte, bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	return b, err == nil && len(b) == n
}

// rtcText writes a route target membership, {length in bits, origin AS 4, route target 8}: "65001:65000:100/96",
// "65001/32", "default", and with the target in hex where it is cut or of another kind.
func rtcText(key []byte) string {
	switch {
	case len(key) == 0:
		return "0x"
	case key[0] == 0:
		return "default"
	case len(key) < 5 || key[0] < 32:
		return hexKey(key)
	}
	as := strconv.FormatUint(uint64(binary.BigEndian.Uint32(key[1:])), 10)
	bits := strconv.Itoa(int(key[0]))
	if key[0] == 32 {
		return as + "/32"
	}
	target := key[5:]
	if key[0] == 96 && len(target) == 8 && target[0] <= extAS4 && target[1] == 2 {
		if s, ok := adminText(target); ok {
			return as + ":" + s + "/96"
		}
	}
	return as + ":0x" + hex.EncodeToString(target) + "/" + bits
}

func parseRTC(s string) ([]byte, error) {
	bad := fmt.Errorf("%q is not a route target membership (65001:65000:100/96, default)", s)
	if s == "default" {
		return []byte{0}, nil
	}
	s, mask, ok := strings.Cut(s, "/")
	bits, err := strconv.ParseUint(mask, 10, 8)
	if !ok || err != nil || bits < 32 || bits > 96 {
		return nil, bad
	}
	origin, target, _ := strings.Cut(s, ":")
	as, err := strconv.ParseUint(origin, 10, 32)
	if err != nil {
		return nil, bad
	}
	key := binary.BigEndian.AppendUint32([]byte{byte(bits)}, uint32(as))
	if h, ok := strings.CutPrefix(target, "0x"); ok {
		b, err := hex.DecodeString(h)
		if err != nil {
			return nil, bad
		}
		key = append(key, b...)
	} else if target != "" {
		c, err := ParseExtCommunity("rt:" + target)
		if err != nil {
			return nil, bad
		}
		key = append(key, c[:]...)
	}
	if len(key) != 1+(int(bits)+7)/8 {
		return nil, bad
	}
	return key, nil
}
