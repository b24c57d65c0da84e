package bgp

import (
	"encoding/binary"
	"fmt"

	"bmp/proto/wire"
)

// RouteRefresh is a ROUTE-REFRESH, RFC 2918 and RFC 7313.
type RouteRefresh struct {
	Family  Family
	Subtype uint8  // 0 request, 1 begin, 2 end of the refresh
	ORF     []byte // outbound route filters, RFC 5291; aliases the message
}

// ParseRouteRefresh parses a whole ROUTE-REFRESH message.
func ParseRouteRefresh(pdu []byte) (RouteRefresh, error) {
	t, _, err := SplitHeader(pdu)
	if err != nil {
		return RouteRefresh{}, err
	}
	const section = "RFC 2918, Section 3"
	if t != PDURouteRefresh {
		return RouteRefresh{}, &wire.Error{Offset: 18, Field: "type", Section: section, Msg: t.String() + ", not ROUTE-REFRESH"}
	}
	c := wire.NewCursorAt(pdu[HeaderLen:], HeaderLen, section)
	var r RouteRefresh
	r.Family.AFI = c.U16("AFI")
	r.Subtype = c.U8("subtype")
	r.Family.SAFI = c.U8("SAFI")
	r.ORF = c.Rest()
	return r, c.Err()
}

// Append appends the ROUTE-REFRESH as a message.
func (r RouteRefresh) Append(dst []byte) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint16(appendHeader(dst, PDURouteRefresh), r.Family.AFI)
	dst = append(dst, r.Subtype, r.Family.SAFI)
	return sealPDU(append(dst, r.ORF...), start)
}

// String is "ipv4-unicast request", "ipv4-unicast begin".
func (r RouteRefresh) String() string {
	names := [...]string{"request", "begin", "end"}
	s := fmt.Sprintf("%s subtype %d", r.Family, r.Subtype)
	if int(r.Subtype) < len(names) {
		s = r.Family.String() + " " + names[r.Subtype]
	}
	if len(r.ORF) > 0 {
		s += fmt.Sprintf(", %d bytes of filters", len(r.ORF))
	}
	return s
}
