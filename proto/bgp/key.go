package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// rdAt is where the RD is in a key of f, -1 if this one has none.
func rdAt(f Family, key []byte) int {
	if !f.HasRD() {
		return -1
	}
	at := 0
	switch f.shape() {
	case shapeVPN, shapeBits8, shapeCAR:
		at = 1
	case shapeTLV, shapeEVPN:
		at = 2
		if l := layoutOf(f, key); len(l.fields) == 0 || l.fields[0] != 'R' {
			return -1
		}
	case shapeLS, shapeMUP:
		at = 4
	}
	if len(key) < at+8 {
		return -1
	}
	return at
}

// KeyRD is the route distinguisher of a key. There is none in families without, and in the few routes of the others
// that stand under no RD (Leaf A-D).
func KeyRD(f Family, key []byte) (RD, bool) {
	at := rdAt(f, key)
	if at < 0 {
		return RD{}, false
	}
	return RD(key[at : at+8]), true
}

// KeyPrefix is the IP prefix in a key, and its RD where there is one. It is false for families that do not consist of
// prefixes ([Family.IsPrefix]).
func KeyPrefix(f Family, key []byte) (rd RD, p netip.Prefix, ok bool) {
	s := f.shape()
	if s != shapePrefix && s != shapeLabeled && s != shapeVPN || len(key) == 0 {
		return RD{}, netip.Prefix{}, false
	}
	v := key[1:]
	if s == shapeVPN {
		if len(v) < 8 {
			return RD{}, netip.Prefix{}, false
		}
		rd, v = RD(v[:8]), v[8:]
	}
	p, ok = prefixOf(f, int(key[0]), v)
	return rd, p, ok
}

// prefixOf makes a prefix of its length and as many bytes as that needs.
func prefixOf(f Family, bits int, v []byte) (netip.Prefix, bool) {
	if len(v) != (bits+7)/8 {
		return netip.Prefix{}, false
	}
	if f.AFI == 2 {
		if bits > 128 {
			return netip.Prefix{}, false
		}
		var a [16]byte
		copy(a[:], v)
		return netip.PrefixFrom(netip.AddrFrom16(a), bits), true
	}
	if bits > 32 {
		return netip.Prefix{}, false
	}
	var a [4]byte
	copy(a[:], v)
	return netip.PrefixFrom(netip.AddrFrom4(a), bits), true
}

// AppendPrefixKey appends the key of a prefix of f, whose host bits are ignored. rd is used by the families that have
// one. f must satisfy IsPrefix and p be of its address family.
func AppendPrefixKey(dst []byte, f Family, rd RD, p netip.Prefix) []byte {
	p = p.Masked()
	dst = append(dst, byte(p.Bits()))
	if f.HasRD() {
		dst = append(dst, rd[:]...)
	}
	n := (p.Bits() + 7) / 8
	if a := p.Addr(); a.Is4() {
		b := a.As4()
		return append(dst, b[:n]...)
	} else {
		b := a.As16()
		return append(dst, b[:n]...)
	}
}

// layout is how the key of one kind of route is laid out, and so both its text and the way back. fields has a letter
// for each:
//
//	R  route distinguisher, not part of the text      e  ESI, 10 bytes             t  number of 4 bytes
//	h  number of 2 bytes                              m  length 48, MAC address    v  IPv4 address
//	i  length 0, 32 or 128, address                   a  address to the end        p  length, prefix in as few bytes
//	P  length, prefix in 4 or 16 bytes                u  length, endpoint address and TEID (MUP)
//	x  hex to the end
type layout struct {
	header int    // bytes of the key before the fields
	typ    int    // the route type, written before the fields; -1: none
	fields string // "" : no layout known
}

var (
	evpnLayouts = [...]string{1: "Ret", 2: "Rtmi", 3: "Rti", 4: "Rei", 5: "RtP", 6: "Rtiii", 7: "Retiii", 8: "Retiii",
		9: "Rtx", 10: "Rtiii", 11: "x"}
	mvpnLayouts = [...]string{1: "Ra", 2: "Rt", 3: "Riia", 4: "x", 5: "Rii", 6: "Rtii", 7: "Rtii"}
	mupLayouts  = [...]string{1: "Rp", 2: "Ra", 3: "Rp", 4: "Ru"}
	carLayouts  = [...]string{1: "pt", 2: "p"}
)

func pick(layouts []string, t int) string {
	if t < len(layouts) && layouts[t] != "" {
		return layouts[t]
	}
	return "x"
}

func layoutOf(f Family, key []byte) layout {
	if len(key) == 0 {
		return layout{}
	}
	t := int(key[0])
	switch f.shape() {
	case shapeEVPN:
		return layout{2, t, pick(evpnLayouts[:], t)}
	case shapeTLV:
		if f == L2VPNMCASTVPLS && t != 3 { // RFC 7117: only the S-PMSI A-D route is laid out as in MCAST-VPN
			return layout{2, t, "x"}
		}
		return layout{2, t, pick(mvpnLayouts[:], t)}
	case shapeMUP:
		if len(key) < 4 || key[0] != 1 {
			return layout{}
		}
		t = int(binary.BigEndian.Uint16(key[1:]))
		return layout{4, t, pick(mupLayouts[:], t)}
	case shapeCAR:
		l := layout{1, t, pick(carLayouts[:], t)}
		if f.HasRD() {
			l.fields = "R" + l.fields
		}
		return l
	case shapeLen2:
		if len(key) == 14 {
			return layout{0, -1, "Rhhh"}
		}
		return layout{0, -1, "Ra"}
	case shapeBits8:
		switch f {
		case IPv4MDT:
			return layout{1, -1, "Rvv"}
		case L2VPNMSPW:
			return layout{1, -1, "Rtvt"}
		case IPv4SRPolicy, IPv6SRPolicy:
			return layout{1, -1, "tta"}
		}
		return layout{1, -1, "a"}
	}
	return layout{}
}

// KeyText writes a key for people: the RD, "" if there is none, and the NLRI without it. Prefixes are "10.0.0.0/8";
// most others are "[type]:[field]:[field]" with the fields in their order on the wire; FlowSpec and BGP-LS are as GoBGP
// writes them; what has no other form is "0x..." in hex. [ParseKey] reads it back, but for FlowSpec and BGP-LS, of which
// it knows the hex form alone.
func KeyText(f Family, key []byte) (rd, prefix string) {
	if r, ok := KeyRD(f, key); ok {
		rd = r.String()
	}
	switch f.shape() {
	case shapePrefix, shapeLabeled, shapeVPN:
		if _, p, ok := KeyPrefix(f, key); ok {
			return rd, p.String()
		}
	case shapeRTC:
		return "", rtcText(key)
	case shapeFlow, shapeLS:
		if s := libraryKey(f, key); s != "" {
			return rd, s
		}
	default:
		l := layoutOf(f, key)
		if b, ok := l.text(f, key); ok {
			return rd, b
		}
	}
	return "", hexKey(key)
}

func hexKey(key []byte) string { return "0x" + hex.EncodeToString(key) }

// ParseKey makes a key of its text. rd is "" where there is none. Host bits of a prefix are cleared.
func ParseKey(f Family, rd, prefix string) ([]byte, error) {
	if h, ok := strings.CutPrefix(prefix, "0x"); ok {
		key, err := hex.DecodeString(h)
		if err != nil || len(key) == 0 {
			return nil, fmt.Errorf("%q is not a key in hex", prefix)
		}
		return key, nil
	}
	var r RD
	if f.HasRD() && rd != "" {
		var err error
		if r, err = ParseRD(rd); err != nil {
			return nil, err
		}
	}
	switch f.shape() {
	case shapePrefix, shapeLabeled, shapeVPN:
		p, err := netip.ParsePrefix(prefix)
		if err != nil {
			a, aerr := netip.ParseAddr(prefix)
			if aerr != nil {
				return nil, fmt.Errorf("%q is not a prefix", prefix)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if (f.AFI == 2) != p.Addr().Is6() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return nil, fmt.Errorf("%q is not a prefix of %s", prefix, f)
		}
		if f.HasRD() && rd == "" {
			return nil, fmt.Errorf("%s: a route distinguisher is needed", f)
		}
		return AppendPrefixKey(nil, f, r, p), nil
	case shapeRTC:
		return parseRTC(prefix)
	case shapeEVPN, shapeTLV, shapeMUP, shapeCAR, shapeLen2, shapeBits8:
		return parseLayout(f, r, prefix)
	}
	return nil, fmt.Errorf("a key of %s is written in hex, with 0x before it", f)
}
