package bgp

import (
	"encoding/binary"
	"strings"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"bmp/proto/wire"
)

// What GoBGP's packet library decodes for showing: FlowSpec and BGP-LS NLRI, and the attributes Tunnel Encapsulation
// and BGP-LS. It gets nothing whose outer lengths were not checked here, and it is asked when somebody looks,
// never while messages come in.

// libraryKey writes a FlowSpec or BGP-LS key; "" when the library does not know the family or cannot decode it.
func libraryKey(f Family, key []byte) string {
	var nlri []byte
	switch f.shape() {
	case shapeFlow:
		if len(key) < 0xf0 {
			nlri = append([]byte{byte(len(key))}, key...)
		} else {
			nlri = append([]byte{0xf0 | byte(len(key)>>8), byte(len(key))}, key...)
		}
	case shapeLS:
		if len(key) < 4 || len(key) != 4+int(binary.BigEndian.Uint16(key[2:])) || f.AFI != BGPLS.AFI {
			return ""
		}
		nlri = key
		if f == BGPLSVPN { // the same with an RD in front, RFC 9552, Section 5.2
			if len(key) < 12 {
				return ""
			}
			nlri = binary.BigEndian.AppendUint16([]byte{key[0], key[1]}, uint16(len(key)-12))
			nlri = append(nlri, key[12:]...)
		}
		f = BGPLS // BGP-LS-SPF has the same NLRI, RFC 9815
	default:
		return ""
	}
	n, err := gobgp.NLRIFromSlice(gobgp.NewFamily(f.AFI, f.SAFI), nlri)
	if err != nil {
		return ""
	}
	s := n.String()
	if f == BGPLS {
		s = strings.TrimSuffix(strings.TrimPrefix(s, "NLRI { "), " }")
	} else if rd, rest, ok := strings.Cut(s, "]"); ok && strings.HasPrefix(rd, "[rd: ") { // KeyText has it apart
		s = rest
	}
	return wire.CleanString(s)
}

// libraryAttr writes an attribute that passed checkValue; "" when the library cannot decode it.
func libraryAttr(it *attrs) string {
	p, err := gobgp.GetPathAttribute(it.whole)
	if err != nil || p.DecodeFromBytes(it.whole) != nil {
		return ""
	}
	s := p.String()
	for _, wrap := range [...]string{"{LsAttributes: ", "{TunnelEncap: "} {
		if in, ok := strings.CutPrefix(s, wrap); ok {
			s = strings.TrimSpace(strings.TrimSuffix(in, "}"))
		}
	}
	return wire.CleanString(s)
}
