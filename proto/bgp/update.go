package bgp

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Context is what decides the meaning of the bytes of an UPDATE; nothing is guessed from the bytes.
type Context struct {
	AS4     bool       // AS numbers are 4 octets wide
	AddPath AddPathSet // the families whose NLRI carry path identifiers
}

// Section is one NLRI field of an UPDATE.
type Section struct {
	Family   Family
	Withdraw bool
	AddPath  bool   // as the context has it
	Field    []byte // aliases the PDU
	Offset   int    // from the start of the PDU
}

// Update is an UPDATE (RFC 4271, Section 4.3) taken apart. All slices alias the PDU. It is reused: Parse sets every
// field and allocates nothing.
type Update struct {
	Context   Context
	PDU       []byte
	Withdrawn []byte // the classic fields: IPv4 unicast
	Attrs     []byte // all path attributes as they came
	NLRI      []byte

	HasReach bool
	Reach    struct {
		Family  Family
		NextHop []byte
		NLRI    []byte
	}
	HasUnreach bool
	Unreach    struct {
		Family Family
		NLRI   []byte
	}

	// EoR is set for an End-of-RIB marker of EoRFamily, RFC 4724, Section 2.
	EoR       bool
	EoRFamily Family

	// Malformed is nil for a well-formed UPDATE; else what is wrong with it, by RFC 7606, the worst if there is more.
	// It points into the Update and is overwritten by the next Parse. From TreatAsWithdraw on the routes of Sections are
	// withdrawn, whatever they say; with AttributeDiscard AppendRecord leaves the bad attributes out.
	Malformed *AttrError

	attrsOff    int
	reachAttr   [2]int // start and end of the MP_REACH_NLRI attribute in Attrs; 0, 0: none
	reachNLRI   int    // offset of its NLRI in Attrs
	unreachAttr [2]int
	unreachNLRI int
	path        []byte // value of AS_PATH
	dropped     bool   // some attributes must be left out of the record
	drop        [256 / 64]uint64
	malformed   AttrError
}

// fail notes an error; the first of the worst class is kept.
func (u *Update) fail(class ErrorClass, attr uint8, off int, reason string, value int) {
	if u.Malformed != nil && u.Malformed.Class >= class {
		return
	}
	u.malformed = AttrError{class, attr, off, reason, value}
	u.Malformed = &u.malformed
}

// Parse takes an UPDATE apart. pdu is the whole message with its header. An error means that its fields cannot be told
// apart: there are no sections then. Everything else that is wrong is in Malformed; the error, too. It does not look
// into the NLRI: an NLRI iterator does.
func (u *Update) Parse(pdu []byte, ctx Context) error {
	u.reset(pdu, ctx)
	if !headerOK(pdu) {
		u.fail(SessionReset, 0, 0, "header: "+headerError(pdu).Error(), -1)
		return u.Malformed
	}
	if t := PDUType(pdu[18]); t != PDUUpdate {
		u.fail(SessionReset, 0, 18, "expected, not BGP message type", int(t))
		return u.Malformed
	}
	b := pdu[HeaderLen:]
	if len(b) < 4 {
		u.fail(SessionReset, 0, HeaderLen, "message length", len(pdu))
		return u.Malformed
	}
	wlen := int(binary.BigEndian.Uint16(b))
	if wlen+4 > len(b) {
		u.fail(SessionReset, 0, HeaderLen, "withdrawn routes length", wlen)
		return u.Malformed
	}
	alen := int(binary.BigEndian.Uint16(b[2+wlen:]))
	if wlen+alen+4 > len(b) {
		u.fail(SessionReset, 0, HeaderLen+2+wlen, "path attributes length", alen)
		return u.Malformed
	}
	u.Withdrawn = b[2 : 2+wlen]
	u.attrsOff = HeaderLen + 4 + wlen
	u.Attrs = b[4+wlen : 4+wlen+alen]
	u.NLRI = b[4+wlen+alen:]
	u.walk()
	if wlen == 0 && len(u.NLRI) == 0 && u.Malformed == nil {
		switch {
		case alen == 0:
			u.EoR, u.EoRFamily = true, IPv4Unicast
		case u.HasUnreach && len(u.Unreach.NLRI) == 0 && u.unreachAttr[1]-u.unreachAttr[0] == alen:
			u.EoR, u.EoRFamily = true, u.Unreach.Family
		}
	}
	return nil
}

// reset is *u = Update{Context: ctx, PDU: pdu} but for what the flags say is not set: clearing all of it takes a third
// of Parse.
func (u *Update) reset(pdu []byte, ctx Context) {
	u.Context, u.PDU = ctx, pdu
	u.Withdrawn, u.Attrs, u.NLRI, u.path = nil, nil, nil, nil
	if u.HasReach {
		u.HasReach = false
		u.Reach.Family, u.Reach.NextHop, u.Reach.NLRI = Family{}, nil, nil
		u.reachAttr = [2]int{}
	}
	if u.HasUnreach {
		u.HasUnreach = false
		u.Unreach.Family, u.Unreach.NLRI = Family{}, nil
		u.unreachAttr = [2]int{}
	}
	if u.dropped {
		u.dropped, u.drop = false, [4]uint64{}
	}
	u.EoR, u.EoRFamily = false, Family{}
	u.Malformed = nil
}

// walk goes over the path attributes.
func (u *Update) walk() {
	a := u.Attrs
	as4 := u.Context.AS4
	var seen [256 / 64]uint64
	for i := 0; i < len(a); {
		if len(a)-i < 3 || a[i]&flagExtended != 0 && len(a)-i < 4 {
			u.fail(TreatAsWithdraw, codeAt(a, i), u.attrsOff+i, reasonCut, -1)
			u.dropped = true
			break
		}
		flags, code := a[i], a[i+1]
		v, n := i+3, int(a[i+2])
		if flags&flagExtended != 0 {
			v, n = i+4, n<<8|int(a[i+3])
		}
		if n > len(a)-v {
			u.fail(TreatAsWithdraw, code, u.attrsOff+i, reasonOverrun, n)
			u.dropped = true
			break
		}
		end := v + n
		word, bit := code>>6, uint64(1)<<(code&63)
		if seen[word]&bit != 0 {
			// RFC 7606, Section 3 g: MP attributes twice end the session, of others the first one counts.
			class := AttributeDiscard
			if code == AttrMPReach || code == AttrMPUnreach {
				class = SessionReset
			}
			u.fail(class, code, u.attrsOff+i, reasonDuplicate, -1)
			u.dropped = true
			i = end
			continue
		}
		seen[word] |= bit
		r := &attrRules[code]
		switch {
		case r.name == "":
			if flags&flagOptional == 0 {
				u.fail(SessionReset, code, u.attrsOff+i, reasonUnknown, -1)
			}
		case (flags^r.flags)&(flagOptional|flagTransitive) != 0 && r.class != 0:
			u.fail(TreatAsWithdraw, code, u.attrsOff+i, reasonFlags, int(flags))
		}
		if reason, value := checkValue(code, r, a[v:end], as4); reason != "" {
			u.fail(r.class, code, u.attrsOff+i, reason, value)
			if r.class == AttributeDiscard {
				u.dropped = true
				u.drop[word] |= bit
			}
		}
		switch code {
		case AttrASPath:
			u.path = a[v:end]
		case AttrMPReach:
			u.reach(i, v, end)
		case AttrMPUnreach:
			u.unreach(i, v, end)
		}
		i = end
	}
	if len(u.NLRI) > 0 || u.HasReach && len(u.Reach.NLRI) > 0 {
		u.mandatory(seen[0])
	}
}

func codeAt(a []byte, i int) uint8 {
	if i+1 < len(a) {
		return a[i+1]
	}
	return 0
}

// mandatory checks for the well-known mandatory attributes of a message that announces something (RFC 7606, Section 3 d).
//
// A missing NEXT_HOP is treat-as-withdraw there, too; here its class is the milder one that keeps the route. FRR leaves
// it out of routes that it holds and uses: those of VRFs (8.0), and labelled ones that it reports as unicast (8.4).
func (u *Update) mandatory(seen uint64) {
	const all = 1<<AttrOrigin | 1<<AttrASPath | 1<<AttrNextHop
	if seen&all == all {
		return
	}
	if seen>>AttrOrigin&1 == 0 {
		u.fail(TreatAsWithdraw, AttrOrigin, u.attrsOff, reasonMissing, -1)
	}
	if seen>>AttrASPath&1 == 0 {
		u.fail(TreatAsWithdraw, AttrASPath, u.attrsOff, reasonMissing, -1)
	}
	if seen>>AttrNextHop&1 == 0 && len(u.NLRI) > 0 {
		u.fail(AttributeDiscard, AttrNextHop, u.attrsOff, reasonMissing, -1)
	}
}

// reach reads MP_REACH_NLRI, RFC 4760, Section 3: AFI 2, SAFI 1, next hop length 1, next hop, reserved 1, NLRI.
func (u *Update) reach(start, v, end int) {
	a := u.Attrs
	if end-v < 5 {
		u.fail(SessionReset, AttrMPReach, u.attrsOff+start, reasonLength, end-v)
		u.dropped, u.drop[0] = true, u.drop[0]|1<<AttrMPReach
		return
	}
	nh := int(a[v+3])
	if v+4+nh+1 > end {
		u.fail(SessionReset, AttrMPReach, u.attrsOff+start, reasonNextHop, nh)
		u.dropped, u.drop[0] = true, u.drop[0]|1<<AttrMPReach
		return
	}
	u.HasReach = true
	u.Reach.Family = Family{binary.BigEndian.Uint16(a[v:]), a[v+2]}
	u.Reach.NextHop = a[v+4 : v+4+nh]
	u.reachNLRI = v + 4 + nh + 1
	u.Reach.NLRI = a[u.reachNLRI:end]
	u.reachAttr = [2]int{start, end}
	if !nextHopLen(u.Reach.Family, nh) {
		u.fail(SessionReset, AttrMPReach, u.attrsOff+start, reasonNextHop, nh)
	}
}

// nextHopLen judges the length of a next hop: an IPv4 or IPv6 address or an IPv6 address with its link-local one, each
// perhaps under an RD of zeros (RFC 4364, 4659, 8950). FlowSpec has none, and Cisco IOS XR writes none, or an RD alone,
// for the local routes of a Loc-RIB, which a BGP session would never carry.
func nextHopLen(f Family, n int) bool {
	switch n {
	case 0, 4, 8, 12, 16, 24, 32, 48:
		return true
	}
	return !f.Splits()
}

// unreach reads MP_UNREACH_NLRI, RFC 4760, Section 4: AFI 2, SAFI 1, withdrawn NLRI.
func (u *Update) unreach(start, v, end int) {
	if end-v < 3 {
		u.fail(SessionReset, AttrMPUnreach, u.attrsOff+start, reasonLength, end-v)
		u.dropped, u.drop[0] = true, u.drop[0]|1<<AttrMPUnreach
		return
	}
	u.HasUnreach = true
	u.Unreach.Family = Family{binary.BigEndian.Uint16(u.Attrs[v:]), u.Attrs[v+2]}
	u.unreachNLRI = v + 3
	u.Unreach.NLRI = u.Attrs[v+3 : end]
	u.unreachAttr = [2]int{start, end}
}

// Sections appends the NLRI fields that are not empty, at most four, withdrawals first. With a backing array on the
// caller's stack nothing is allocated.
func (u *Update) Sections(dst []Section) []Section {
	if len(u.Withdrawn) > 0 {
		dst = append(dst, Section{IPv4Unicast, true, u.Context.AddPath.Has(IPv4Unicast), u.Withdrawn, HeaderLen + 2})
	}
	if f := u.Unreach.Family; u.HasUnreach && len(u.Unreach.NLRI) > 0 {
		dst = append(dst, Section{f, true, u.Context.AddPath.Has(f), u.Unreach.NLRI, u.attrsOff + u.unreachNLRI})
	}
	if f := u.Reach.Family; u.HasReach && len(u.Reach.NLRI) > 0 {
		dst = append(dst, Section{f, false, u.Context.AddPath.Has(f), u.Reach.NLRI, u.attrsOff + u.reachNLRI})
	}
	if len(u.NLRI) > 0 {
		dst = append(dst, Section{IPv4Unicast, false, u.Context.AddPath.Has(IPv4Unicast), u.NLRI, len(u.PDU) - len(u.NLRI)})
	}
	return dst
}

// ASPathWidths tells whether the AS_PATH of the UPDATE parses exactly with AS numbers of 2 and of 4 octets. Without an
// AS_PATH, or with an empty one, both hold and nothing can be concluded.
func (u *Update) ASPathWidths() (two, four bool) {
	r2, _ := checkPath(u.path, 2)
	r4, _ := checkPath(u.path, 4)
	return r2 == "", r4 == ""
}

// String tells what the UPDATE does: "2 announced, 1 withdrawn ipv4-unicast", "End-of-RIB ipv6-unicast".
func (u *Update) String() string {
	if u.EoR {
		return "End-of-RIB " + u.EoRFamily.String()
	}
	var parts []string
	var buf [4]Section
	for _, s := range u.Sections(buf[:0]) {
		verb := "announced"
		if s.Withdraw {
			verb = "withdrawn"
		}
		n, err := CheckNLRI(s.Family, s.AddPath, s.Withdraw, s.Field)
		parts = append(parts, fmt.Sprintf("%d %s %s", n, s.Family, verb))
		if err != nil {
			parts = append(parts, "malformed: "+err.Error())
		}
	}
	if u.Malformed != nil {
		parts = append(parts, fmt.Sprintf("malformed: %s (%s)", u.Malformed, u.Malformed.Class))
	}
	if len(parts) == 0 {
		return "no routes"
	}
	return strings.Join(parts, ", ")
}
