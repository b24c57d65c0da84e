// Package bgp reads BGP messages as BMP carries them: whole PDUs in bytes, of sessions that others hold.
//
// It owns the OPEN with its capabilities, the split of an UPDATE, the judgement of path attributes by RFC 7606, the NLRI
// of every address family, the bytes by which a route is known (its key) and those by which its attributes are kept (the
// record), and the text of all of it. It never holds a session, a table or a clock, never guesses how bytes are coded
// (that is passed in, [Context]), and never logs.
//
// # The way of an UPDATE
//
// The session loop keeps one [Update] and one [NLRI] and allocates nothing:
//
//	PDU -> Update.Parse(pdu, Context{AS4, AddPath})
//	       Malformed: AttributeDiscard | TreatAsWithdraw | SessionReset, attribute, offset
//	    -> Update.Sections                    at most four: withdrawn, MP_UNREACH, MP_REACH, NLRI
//	    -> NLRI.Reset(section), NLRI.Next     {PathID, Key, Extra} each
//	    -> Update.AppendRecord(family, Extra) once per UPDATE and again when Extra differs
//
// Only two things are read by hand at this speed: framing lengths and prefixes. Every family is split by one small length
// rule (family.go, nlri.go); one that nobody knows is a single key, the whole field.
//
// # The key of a route
//
// The key is the NLRI in one canonical form, without what its RFC does not make part of the route's identity. Host bits
// are zero. It holds no path identifier.
//
//	prefixes           length 1 (bits, of the prefix alone) | prefix, as few bytes as hold it
//	under an RD        length 1 (bits, of the prefix alone) | RD 8 | prefix
//	EVPN, MCAST-VPN    type 1 | length 1 (of what follows)  | fields; EVPN without labels, gateway, flags and, in types 2
//	                   and 5, ESI
//	BGP-LS, SFC        type 2 | length 2 | fields
//	MUP                architecture 1 | type 2 | length 1 | fields, of type 3 the RD and prefix
//	FlowSpec           [RD 8] | components
//	VPLS               RD 8 | VE ID 2 | offset 2 | size 2, without label base; or RD 8 | address
//	SR Policy, MDT, encapsulation, MS-PW, route targets     length 1 (bits) | fields
//	CAR                type 1 | key
//	unknown            the NLRI field as it came
//
// What was cut out is the Extra of [NLRI.Next].
//
// # The record
//
// A record is what the route store interns: equal bytes are one attribute set. It is made of the bytes as they came, in
// the peer's order, and decoded when somebody looks ([Decode]), or asked by the accessors that filters use.
//
//	flags 1 | path attributes | [ extra | length of extra 1 ]
//
//	flags  0x01  AS numbers have 4 octets (so 2-octet and 4-octet sets never mix)
//	       0x02  the record ends with what was cut out of the NLRI
//
// Of MP_REACH_NLRI only the next hop is there, as the value of an attribute of type 14; MP_UNREACH_NLRI is left out, and
// so are attributes that RFC 7606 has discarded.
//
// # Text
//
// Everything has one text, and filters read the same: communities 65000:1 or by name (no-export), rt 65000:1, paths
// 65001 {65010,65011} (65101), EVPN [2]:[0]:[48]:[02:00:00:00:00:01]. What has no text is 0x and hex. GoBGP's packet library
// writes FlowSpec and BGP-LS NLRI, and the attributes BGP-LS and Tunnel Encapsulation (library.go).
//
// Where routers differ from the RFCs stands where it matters: update.go (missing next hops), nlri.go (label stacks).
package bgp
