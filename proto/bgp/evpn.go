package bgp

// EVPN route types, RFC 7432, 9136, 9251, 9572.
const (
	evpnAutoDiscovery = 1
	evpnMACIP         = 2
	evpnMulticast     = 3
	evpnSegment       = 4
	evpnPrefix        = 5
	evpnSMET          = 6
	evpnJoinSync      = 7
	evpnLeaveSync     = 8
	evpnPerRegion     = 9
	evpnSPMSI         = 10
	evpnLeaf          = 11
)

// stepEVPN reads {type 1, length 1, value} and cuts out what is not part of the key: labels of types 1, 2 and 5, the
// ESI of types 2 and 5 and the gateway of type 5 (RFC 7432, RFC 9136), flags of types 6 to 8 and the times of type 8
// (RFC 9251). A route whose length is not one its type can have is kept whole.
//
//	type 1   RD 8  ESI 10            tag 4                                            label 3
//	type 2   RD 8  ESI 10 (cut)      tag 4  MAC length 1  MAC 6  IP length 1  IP 0,4,16   label 3 or 6 (cut)
//	type 5   RD 8  ESI 10 (cut)      tag 4  prefix length 1  prefix 4,16              gateway 4,16 (cut)  label 3 (cut)
//
// What is cut is told apart by its length alone: 3 type 1; 13 or 16 type 2; 17 or 29 type 5; 1 types 6 and 7; 6 type 8.
func (n *NLRI) stepEVPN(b []byte) bool {
	if !n.stepWhole(b, 2, 1) {
		return false
	}
	k := n.Key
	v := k[2:]
	switch k[0] {
	case evpnAutoDiscovery:
		if len(v) == 25 {
			n.cutEVPN(k, 22, 22)
		}
	case evpnMACIP:
		if len(v) < 33 {
			break
		}
		ip := 0
		switch v[29] {
		case 32:
			ip = 4
		case 128:
			ip = 16
		case 0:
		default:
			return true
		}
		if end := 30 + ip; len(v) == end+3 || len(v) == end+6 {
			n.cutEVPN(k, 8, end)
		}
	case evpnPrefix:
		switch {
		case len(v) == 34 && v[22] <= 32:
			n.cutEVPN(k, 8, 27)
			n.maskEVPN(int(v[22]))
		case len(v) == 58 && v[22] <= 128:
			n.cutEVPN(k, 8, 39)
			n.maskEVPN(int(v[22]))
		}
	case evpnSMET, evpnJoinSync:
		if end := smetLen(v, k[0]); end > 0 && end+1 == len(v) {
			n.cutEVPN(k, end, end)
		}
	case evpnLeaveSync:
		if end := smetLen(v, k[0]); end > 0 && end+6 == len(v) {
			n.cutEVPN(k, end, end)
		}
	}
	return true
}

// cutEVPN makes the key of what stands before esi, and between the ESI and end, with its length corrected; the rest is
// cut. esi == end means that no ESI is cut.
func (n *NLRI) cutEVPN(k []byte, esi, end int) {
	v := k[2:]
	n.buf[0] = k[0]
	n.keyLen = 2 + copy(n.buf[2:], v[:esi])
	n.extraLen = 0
	if esi < end {
		n.extraLen = copy(n.ext[:], v[esi:esi+10])
		n.keyLen += copy(n.buf[n.keyLen:], v[esi+10:end])
	}
	n.buf[1] = byte(n.keyLen - 2)
	n.extraLen += copy(n.ext[n.extraLen:], v[end:])
}

// maskEVPN clears the host bits of the prefix of a type 5 key, {type, length, RD 8, tag 4, prefix length 1, prefix}.
func (n *NLRI) maskEVPN(bits int) {
	p := n.buf[15:n.keyLen]
	for i := range p {
		switch left := bits - 8*i; {
		case left <= 0:
			p[i] = 0
		case left < 8:
			p[i] &^= 0xff >> left
		}
	}
}

// smetLen is the length of the key fields of a route of type 6, 7 or 8: {RD 8, [ESI 10], tag 4, source length 1, source,
// group length 1, group, originator length 1, originator}; -1 if they do not fit or are too long for a key.
func smetLen(v []byte, t byte) int {
	at := 12
	if t != evpnSMET {
		at += 10
	}
	for range 3 {
		if at >= len(v) || v[at]&7 != 0 || v[at] > 128 {
			return -1
		}
		at += 1 + int(v[at])/8
	}
	if at > len(v) {
		return -1
	}
	return at
}
