package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// RD is a route distinguisher, RFC 4364, Section 4.2: type 2, value 6. It is comparable.
type RD [8]byte

// String writes "65000:1" (type 0), "10.0.0.1:5" (type 1), "4200000000:1" (type 2; "65000L:1" when the AS number would
// fit two octets, so that it is not taken for type 0), and "0x..." for types nobody assigned. ParseRD reads them all.
func (r RD) String() string {
	switch binary.BigEndian.Uint16(r[:]) {
	case 0:
		return fmt.Sprintf("%d:%d", binary.BigEndian.Uint16(r[2:]), binary.BigEndian.Uint32(r[4:]))
	case 1:
		return fmt.Sprintf("%s:%d", netip.AddrFrom4([4]byte(r[2:6])), binary.BigEndian.Uint16(r[6:]))
	case 2:
		as := binary.BigEndian.Uint32(r[2:])
		long := ""
		if as <= 65535 {
			long = "L"
		}
		return fmt.Sprintf("%d%s:%d", as, long, binary.BigEndian.Uint16(r[6:]))
	}
	return "0x" + hex.EncodeToString(r[:])
}

// RDOf is the route distinguisher in a Peer Distinguisher of BMP (RFC 7854, Section 4.2).
func RDOf(distinguisher uint64) (r RD) {
	binary.BigEndian.PutUint64(r[:], distinguisher)
	return r
}

// ParseRD reads what String writes.
func ParseRD(s string) (RD, error) {
	var r RD
	bad := fmt.Errorf("%q is not a route distinguisher (65000:1, 10.0.0.1:1, 4200000000:1)", s)
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != 8 {
			return r, bad
		}
		return RD(b), nil
	}
	admin, number, ok := strings.Cut(s, ":")
	if !ok {
		return r, bad
	}
	if a, err := netip.ParseAddr(admin); err == nil && a.Is4() {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return r, bad
		}
		a4 := a.As4()
		r[1] = 1
		copy(r[2:], a4[:])
		binary.BigEndian.PutUint16(r[6:], uint16(n))
		return r, nil
	}
	admin, long := strings.CutSuffix(admin, "L")
	as, err := strconv.ParseUint(admin, 10, 32)
	if err != nil {
		return r, bad
	}
	if as <= 65535 && !long {
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return r, bad
		}
		binary.BigEndian.PutUint16(r[2:], uint16(as))
		binary.BigEndian.PutUint32(r[4:], uint32(n))
		return r, nil
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return r, bad
	}
	r[1] = 2
	binary.BigEndian.PutUint32(r[2:], uint32(as))
	binary.BigEndian.PutUint16(r[6:], uint16(n))
	return r, nil
}
