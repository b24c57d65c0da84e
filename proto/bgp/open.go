package bgp

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"bmp/proto/wire"
)

// AddPathMode is what a speaker says of ADD-PATH for a family, RFC 7911, Section 4.
type AddPathMode uint8

// The modes; 0 is none.
const (
	AddPathReceive AddPathMode = 1
	AddPathSend    AddPathMode = 2
	AddPathBoth    AddPathMode = 3
)

// String is "receive", "send" or "both".
func (m AddPathMode) String() string {
	switch m {
	case 0:
		return "none"
	case AddPathReceive:
		return "receive"
	case AddPathSend:
		return "send"
	case AddPathBoth:
		return "both"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Open is an OPEN, RFC 4271, Section 4.2.
type Open struct {
	Version      uint8
	MyAS         uint16 // the field; 23456 stands for a number that does not fit
	AS           uint32 // of the 4-octet AS capability, else MyAS
	HoldTime     uint16 // seconds
	ID           [4]byte
	Capabilities []Capability // in their order; the values alias the PDU
	// Parameters counts optional parameters that are not capabilities; they are not kept.
	Parameters int
	// Extended says that the optional parameters had their long form, RFC 9072; Append then uses it, too.
	Extended bool
}

const (
	paramCapabilities = 2
	paramExtended     = 255
)

// ParseOpen parses a whole OPEN message. Capabilities alias pdu.
func ParseOpen(pdu []byte) (Open, error) {
	t, _, err := SplitHeader(pdu)
	if err != nil {
		return Open{}, err
	}
	const section = "RFC 4271, Section 4.2"
	if t != PDUOpen {
		return Open{}, &wire.Error{Offset: 18, Field: "type", Section: section, Msg: t.String() + ", not OPEN"}
	}
	var o Open
	c := wire.NewCursorAt(pdu[HeaderLen:], HeaderLen, section)
	o.Version = c.U8("version")
	o.MyAS = c.U16("my autonomous system")
	o.HoldTime = c.U16("hold time")
	copy(o.ID[:], c.Bytes(4, "BGP identifier"))
	o.AS = uint32(o.MyAS)
	n := int(c.U8("optional parameters length"))
	// RFC 9072, Section 2: a first parameter of type 255 makes the two-octet length that follows it count.
	if p := c.Peek(1); n != 0 && p != nil && p[0] == paramExtended {
		c.Section("RFC 9072, Section 2")
		o.Extended = true
		c.U8("non-extended parameter type")
		n = int(c.U16("extended optional parameters length"))
	}
	params := c.Sub(n, "optional parameters")
	if err := c.Done(); err != nil {
		return Open{}, err
	}
	for params.Len() > 0 {
		t := params.U8("parameter type")
		var plen int
		if o.Extended {
			plen = int(params.U16("parameter length"))
		} else {
			plen = int(params.U8("parameter length"))
		}
		body := params.Sub(plen, "parameter value")
		if t != paramCapabilities {
			o.Parameters++
			continue
		}
		body.Section("RFC 5492, Section 4")
		for body.Len() > 0 {
			code := body.U8("capability code")
			v := body.Bytes(int(body.U8("capability length")), "capability value")
			if body.Err() == nil {
				o.Capabilities = append(o.Capabilities, Capability{code, v})
			}
		}
		params.Join(&body)
	}
	if err := params.Err(); err != nil {
		return Open{}, err
	}
	if v, ok := o.Capability(CapFourOctetAS); ok && len(v.Value) == 4 {
		o.AS = binary.BigEndian.Uint32(v.Value)
	}
	return o, nil
}

// Append appends the OPEN as a message, each capability in a parameter of its own. The AS number of the header is MyAS;
// Capabilities must hold the 4-octet one where there shall be one. The long form of RFC 9072 is used when Extended says
// so or the parameters do not fit the short one.
func (o *Open) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendHeader(dst, PDUOpen)
	dst = append(dst, o.Version)
	dst = binary.BigEndian.AppendUint16(dst, o.MyAS)
	dst = binary.BigEndian.AppendUint16(dst, o.HoldTime)
	dst = append(dst, o.ID[:]...)
	short := 0
	for _, c := range o.Capabilities {
		short += 4 + len(c.Value)
		if len(c.Value) > 253 {
			short = 1 << 16
		}
	}
	if !o.Extended && short <= 255 {
		dst = append(dst, byte(short))
		for _, c := range o.Capabilities {
			dst = append(dst, paramCapabilities, byte(2+len(c.Value)), c.Code, byte(len(c.Value)))
			dst = append(dst, c.Value...)
		}
		return sealPDU(dst, start)
	}
	dst = append(dst, 255, paramExtended)
	at := len(dst)
	dst = append(dst, 0, 0)
	for _, c := range o.Capabilities {
		dst = append(dst, paramCapabilities)
		dst = binary.BigEndian.AppendUint16(dst, uint16(2+len(c.Value)))
		dst = append(dst, c.Code, byte(len(c.Value)))
		dst = append(dst, c.Value...)
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(len(dst)-at-2))
	return sealPDU(dst, start)
}

// Capability finds the first capability with a code.
func (o *Open) Capability(code uint8) (Capability, bool) {
	for _, c := range o.Capabilities {
		if c.Code == code {
			return c, true
		}
	}
	return Capability{}, false
}

// Families lists the families of the Multiprotocol capabilities, in their order. A speaker without any speaks IPv4
// unicast.
func (o *Open) Families() []Family {
	var out []Family
	for _, c := range o.Capabilities {
		if c.Code == CapMultiprotocol && len(c.Value) == 4 {
			f := Family{binary.BigEndian.Uint16(c.Value), c.Value[3]}
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	if out == nil {
		out = []Family{IPv4Unicast}
	}
	return out
}

// AddPath is what the OPEN says of ADD-PATH for f; the last mention counts.
func (o *Open) AddPath(f Family) AddPathMode {
	var mode AddPathMode
	for _, c := range o.Capabilities {
		if c.Code != CapAddPath {
			continue
		}
		for g, m := range AddPathModes(c.Value) {
			if g == f {
				mode = m
			}
		}
	}
	return mode
}

func (o *Open) addPathFamilies() []Family {
	var out []Family
	for _, c := range o.Capabilities {
		if c.Code != CapAddPath {
			continue
		}
		for f := range AddPathModes(c.Value) {
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// AddPathModes yields the families of an ADD-PATH capability with their modes, RFC 7911, Section 4: AFI 2, SAFI 1, mode 1.
// Other modes than the three are ignored, as that says; a value of another length yields nothing.
func AddPathModes(capability []byte) iter.Seq2[Family, AddPathMode] {
	return func(yield func(Family, AddPathMode) bool) {
		if len(capability)%4 != 0 {
			return
		}
		for t := range slices.Chunk(capability, 4) {
			mode := AddPathMode(t[3])
			if mode < AddPathReceive || mode > AddPathBoth {
				continue
			}
			if !yield(Family{binary.BigEndian.Uint16(t), t[2]}, mode) {
				return
			}
		}
	}
}

// HasAS4 reports the 4-octet AS number capability, RFC 6793.
func (o *Open) HasAS4() bool { _, ok := o.Capability(CapFourOctetAS); return ok }

// ExtendedMessage reports the Extended Message capability, RFC 8654.
func (o *Open) ExtendedMessage() bool { _, ok := o.Capability(CapExtendedMessage); return ok }

// String is one line: "AS 65001, id 10.0.0.1, hold time 180, ipv4-unicast ipv6-unicast".
func (o *Open) String() string {
	var fs []string
	for _, f := range o.Families() {
		fs = append(fs, f.String())
	}
	return fmt.Sprintf("AS %d, id %s, hold time %d, %s", o.AS, netip.AddrFrom4(o.ID), o.HoldTime, strings.Join(fs, " "))
}

// AddPathIn is the set of families of which the monitored router gets path identifiers from its peer: sent is the OPEN
// of the router, received that of the peer. Adj-RIB-In is coded so.
func AddPathIn(sent, received *Open) AddPathSet {
	var s AddPathSet
	for _, f := range sent.addPathFamilies() {
		if sent.AddPath(f)&AddPathReceive != 0 && received.AddPath(f)&AddPathSend != 0 {
			s = s.With(f)
		}
	}
	return s
}

// AddPathOut is the set of families of which the monitored router sends path identifiers to its peer: Adj-RIB-Out.
func AddPathOut(sent, received *Open) AddPathSet { return AddPathIn(received, sent) }

// AddPathListed is the set of families that an OPEN mentions for ADD-PATH at all: that is how Loc-RIB is coded whose
// made-up OPEN it is (RFC 9069, Section 4.2).
func AddPathListed(sent *Open) AddPathSet {
	var s AddPathSet
	for _, f := range sent.addPathFamilies() {
		if sent.AddPath(f) != 0 {
			s = s.With(f)
		}
	}
	return s
}
