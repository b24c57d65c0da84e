package bgp

import (
	"encoding/binary"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// What GoBGP's packet library decodes for showing: FlowSpec and BGP-LS NLRI, and the attributes Tunnel Encapsulation,
// BGP-LS and Prefix-SID. It is only called with bytes whose own lengths were checked here, because it slices by them.

// libraryKey writes a FlowSpec or BGP-LS key, "" when the library cannot.
func libraryKey(f Family, key []byte) string {
	nlri := key
	switch f.shape() {
	case shapeFlow:
		if !flowOK(f, key) {
			return ""
		}
		nlri = flowLength(key)
		f.AFI = map[uint16]uint16{1: 1, 2: 2, 25: 25}[f.AFI]
	case shapeLS:
		if f != BGPLS || !lsOK(key) {
			return ""
		}
	}
	n, err := gobgp.NLRIFromSlice(gobgp.NewFamily(f.AFI, f.SAFI), nlri)
	if err != nil {
		return ""
	}
	return n.String()
}

func flowLength(key []byte) []byte {
	if len(key) < 0xf0 {
		return append([]byte{byte(len(key))}, key...)
	}
	return append([]byte{0xf0 | byte(len(key)>>8), byte(len(key))}, key...)
}

func flowOK(f Family, key []byte) bool { return true }
func lsOK(key []byte) bool             { return len(key) > 4 }

// libraryAttr writes an attribute, "" when the library cannot.
func libraryAttr(it *attrs) string {
	p, err := gobgp.GetPathAttribute(it.whole)
	if err != nil {
		return ""
	}
	if p.DecodeFromBytes(it.whole) != nil {
		return ""
	}
	return p.String()
}

var _ = binary.BigEndian
