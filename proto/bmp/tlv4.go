package bmp

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"time"

	"bmp/proto/wire"
)

// Profile is which draft the TLV types of a version 4 Route Monitoring follow: they changed between drafts, and routers
// were shipped meanwhile.
type Profile uint8

// The profiles.
const (
	ProfileAuto     Profile = iota // found out by what comes, message by message
	ProfileDraft20                 // draft-ietf-grow-bmp-tlv-20
	ProfileDeployed                // what routers and other stations do
	ProfileEditors                 // the editors' copy of July 2026
)

var profileNames = [...]string{"auto", "draft20", "deployed", "editors"}

// String is the word that commands use.
func (p Profile) String() string {
	if int(p) < len(profileNames) {
		return profileNames[p]
	}
	return fmt.Sprintf("profile %d", uint8(p))
}

// Kind is the meaning of a TLV of a version 4 Route Monitoring, whatever its type in the profile.
type Kind uint8

// The kinds.
const (
	UnknownTLV       Kind = iota
	BGPMessageTLV         // the UPDATE
	GroupTLV              // gives a group of NLRIs an index: Section 5.2.1
	TableNameTLV          // VRF/Table Name: Section 5.2.2
	StatelessTLV          // Stateless Parsing, a BGP capability: Section 5.2.3
	TimestampTLV          // Section 5.6.1
	SequenceTLV           // Sequence Number: Section 5.6.2
	ExtendedFlagsTLV      // Section 5.6.3
	PathMarkingTLV        // draft-ietf-grow-bmp-path-marking-tlv
)

var kindNames = [...]string{"unknown", "BGP message", "group", "table name", "stateless parsing", "timestamp", "sequence number",
	"extended flags", "path marking"}

// String is the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// profileKinds are the kinds by profile and type.
var profileKinds = [...][8]Kind{
	ProfileDraft20:  {1: SequenceTLV, ExtendedFlagsTLV, TimestampTLV, GroupTLV, TableNameTLV, StatelessTLV, BGPMessageTLV},
	ProfileDeployed: {1: StatelessTLV, GroupTLV, TableNameTLV, BGPMessageTLV, PathMarkingTLV},
	ProfileEditors:  {1: GroupTLV, TableNameTLV, StatelessTLV, BGPMessageTLV, SequenceTLV, ExtendedFlagsTLV, TimestampTLV},
}

// Kind is what a TLV of the type means in the profile.
func (p Profile) Kind(t *TLV) Kind {
	if t.Enterprise || int(p) >= len(profileKinds) || int(t.Type) >= len(profileKinds[p]) {
		return UnknownTLV
	}
	return profileKinds[p][t.Type]
}

// TLV makes a TLV of a kind, about the NLRI of an index. Not ok if the profile has no such kind.
func (p Profile) TLV(k Kind, index uint16, value []byte) (t TLV, ok bool) {
	typ := p.code(k)
	return TLV{Type: typ, Index: index, Value: value}, typ != 0
}

// code is the type of a kind, 0 if the profile has none.
func (p Profile) code(k Kind) uint16 {
	for typ, kind := range profileKinds[p] {
		if kind == k && k != UnknownTLV {
			return uint16(typ)
		}
	}
	return 0
}

// parse4 reads a version 4 body. set is what the session's profile was set to, and detected what it seems to be so far:
// the new value of that is returned.
func (m *RouteMonitoring) parse4(c *wire.Cursor, set, detected Profile) (Profile, error) {
	c.Section("draft-ietf-grow-bmp-tlv, Section 5.2")
	off := c.Off()
	m.Update, m.Profile = nil, detected
	m.TLVs = readTLVs(m.TLVs[:0], c, indexedTLV)
	if err := c.Done(); err != nil {
		return detected, err
	}
	if set == ProfileAuto {
		detected = detect(m.TLVs, detected)
		m.Profile = detected
	} else {
		m.Profile = set
	}
	if m.Profile == ProfileAuto {
		c.FailAt(off, "BGP Message TLV", "missing")
		return detected, c.Err()
	}
	pdu := m.Profile.code(BGPMessageTLV)
	at, atOff, next := -1, 0, off
	for i := range m.TLVs {
		t := &m.TLVs[i]
		here := next
		next += 6 + t.codedLen()
		if t.Type != pdu || t.Enterprise {
			continue
		}
		if at >= 0 {
			c.FailAt(here, "BGP Message TLV", "there is a second one")
			return detected, c.Err()
		}
		at, atOff = i, here+6
	}
	if at < 0 {
		c.FailAt(off, "BGP Message TLV", "missing")
		return detected, c.Err()
	}
	update := m.TLVs[at].Value
	m.TLVs = append(m.TLVs[:at], m.TLVs[at+1:]...)
	if len(update) < bgpHeaderLen || int(binary.BigEndian.Uint16(update[16:])) != len(update) {
		return detected, badUpdate(update, atOff)
	}
	m.Update = update
	return detected, nil
}

// detect finds the profile by the types of one message: a BGP message in type 7 is draft -20; one in type 4 is what is
// deployed, unless a type 5 is 8 bytes long, which is a sequence number and no path marking, or a type 3 is a BGP capability
// and no name. What was detected before stays where this message does not tell.
func detect(tlvs []TLV, before Profile) Profile {
	var pdu4, pdu7, editors bool
	for i := range tlvs {
		t := &tlvs[i]
		if t.Enterprise {
			continue
		}
		switch t.Type {
		case 3:
			editors = editors || isCapability(t.Value)
		case 4:
			pdu4 = pdu4 || isPDU(t.Value)
		case 5:
			editors = editors || len(t.Value) == 8
		case 7:
			pdu7 = pdu7 || isPDU(t.Value)
		}
	}
	switch {
	case pdu7:
		return ProfileDraft20
	case pdu4 && (editors || before == ProfileEditors):
		return ProfileEditors
	case pdu4:
		return ProfileDeployed
	}
	return before
}

// isPDU says that b begins as a BGP message does.
func isPDU(b []byte) bool {
	return len(b) >= bgpHeaderLen && binary.BigEndian.Uint64(b) == 1<<64-1 && binary.BigEndian.Uint64(b[8:]) == 1<<64-1
}

// isCapability says that b is one BGP capability: code, length, and as many bytes.
func isCapability(b []byte) bool { return len(b) >= 2 && int(b[1]) == len(b)-2 }

// applies says whether a TLV of the message is about the NLRI of a number, counted from 1 in the order of the UPDATE: it
// has that index, index 0, or that of a group with the NLRI in it.
func (m *RouteMonitoring) applies(t *TLV, nlri int) bool {
	if t.Index&GroupBit == 0 {
		return t.Index == 0 || int(t.Index) == nlri
	}
	for i := range m.TLVs {
		g := &m.TLVs[i]
		if g.Index != t.Index || m.Profile.Kind(g) != GroupTLV {
			continue
		}
		for b := g.Value; len(b) >= 2; b = b[2:] {
			if int(binary.BigEndian.Uint16(b)) == nlri {
				return true
			}
		}
	}
	return false
}

// find is the first TLV of a kind.
func (m *RouteMonitoring) find(k Kind) *TLV {
	for i := range m.TLVs {
		if m.Profile.Kind(&m.TLVs[i]) == k {
			return &m.TLVs[i]
		}
	}
	return nil
}

// Stateless says whether the message tells how its UPDATE is coded; then its Capabilities hold in place of those of the
// Peer Up.
func (m *RouteMonitoring) Stateless() bool { return len(m.TLVs) > 0 && m.find(StatelessTLV) != nil }

// Capabilities yields code and value of the BGP capabilities in Stateless Parsing TLVs, RFC 5492, Section 4. One that is
// cut ends it.
func (m *RouteMonitoring) Capabilities() iter.Seq2[uint8, []byte] {
	return func(yield func(uint8, []byte) bool) {
		for i := range m.TLVs {
			if m.Profile.Kind(&m.TLVs[i]) != StatelessTLV {
				continue
			}
			for b := m.TLVs[i].Value; len(b) >= 2 && int(b[1]) <= len(b)-2; b = b[2+int(b[1]):] {
				if !yield(b[0], b[2:2+int(b[1])]) {
					return
				}
			}
		}
	}
}

// TableName is the VRF/Table Name, "" if there is none.
func (m *RouteMonitoring) TableName() string {
	if t := m.find(TableNameTLV); t != nil {
		return t.Text()
	}
	return ""
}

// Sequence is the number of the message in the session, if it is told.
func (m *RouteMonitoring) Sequence() (n uint64, ok bool) {
	t := m.find(SequenceTLV)
	if t == nil || len(t.Value) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(t.Value), true
}

// TimestampType says which moment a timestamp means: draft-ietf-grow-bmp-tlv-20, Section 5.6.1.1. The editors' copy has no
// numbers yet.
type TimestampType uint8

// String is the moment in words, or its number.
func (t TimestampType) String() string {
	names := [...]string{"trigger", "export", "Adj-RIB-In", "Loc-RIB", "Adj-RIB-Out"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Timestamps yields the timestamps that are about an NLRI, with which moment each means. One of a wrong length is left out.
func (m *RouteMonitoring) Timestamps(nlri int) iter.Seq2[TimestampType, time.Time] {
	return func(yield func(TimestampType, time.Time) bool) {
		for i := range m.TLVs {
			t := &m.TLVs[i]
			if m.Profile.Kind(t) != TimestampTLV || len(t.Value) != 9 || !m.applies(t, nlri) {
				continue
			}
			sec, micro := binary.BigEndian.Uint32(t.Value[1:]), binary.BigEndian.Uint32(t.Value[5:])
			if !yield(TimestampType(t.Value[0]), time.Unix(int64(sec), int64(micro)*1000)) {
				return
			}
		}
	}
}

// PathStatus are the bits of a path marking, draft-ietf-grow-bmp-path-marking-tlv-05, Section 3.1.
type PathStatus uint32

var pathStatusNames = [...]string{"invalid", "best", "not selected", "primary", "backup", "not installed", "best external",
	"add-path", "filtered in", "filtered out", "stale", "suppressed"}

// String is the set bits in words, with commas between; bits without a name as a hexadecimal number; "none" if none is set.
func (s PathStatus) String() string {
	var words []string
	for i, name := range pathStatusNames {
		if s&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	if rest := s >> len(pathStatusNames) << len(pathStatusNames); rest != 0 {
		words = append(words, fmt.Sprintf("%#x", uint32(rest)))
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, ", ")
}

// PathReason is why a path was not selected, draft-ietf-grow-bmp-path-marking-tlv-05, Section 3.2; 0 is none given.
type PathReason uint16

// String is the reason in words, "" if none is given.
func (r PathReason) String() string {
	names := [...]string{"", "AS loop", "next hop", "local preference", "AS path", "origin", "MED", "peer type", "IGP cost",
		"router ID", "peer address", "AIGP"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint16(r))
}

// PathMarking is what the router made of a path.
type PathMarking struct {
	Status PathStatus
	Reason PathReason
}

// Marking is the path marking of an NLRI, counted from 1; what speaks of it alone goes before its group's, and that
// before what speaks of all. Not ok if there is none, or of a wrong length.
func (m *RouteMonitoring) Marking(nlri int) (mark PathMarking, ok bool) {
	rank := 0
	for i := range m.TLVs {
		t := &m.TLVs[i]
		if m.Profile.Kind(t) != PathMarkingTLV || len(t.Value) != 4 && len(t.Value) != 6 || !m.applies(t, nlri) {
			continue
		}
		r := 1
		switch {
		case t.Index&GroupBit != 0:
			r = 2
		case t.Index != 0:
			r = 3
		}
		if r <= rank {
			continue
		}
		rank, ok = r, true
		mark = PathMarking{Status: PathStatus(binary.BigEndian.Uint32(t.Value))}
		if len(t.Value) == 6 {
			mark.Reason = PathReason(binary.BigEndian.Uint16(t.Value[4:]))
		}
	}
	return mark, ok
}
