package client

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// FindingKind is what is wrong with a feed. Each has one line of text, the wording of `show client X health`.
type FindingKind uint8

// The findings.
const (
	IdentityCollision    FindingKind = iota // another BGP ID, AS or table name under the key of a peer
	AddPathNotNegotiated                    // path IDs are there or missing, against the OPENs
	ASWidthNotNegotiated                    // AS numbers are 2 or 4 octets wide, against the A flag
	AmbiguousCoding                         // on a peer that switched, a message that can be read both ways
	ExtendedMessage                         // UPDATE over 4096 octets without capability 6
	NoEndOfRIB                              // none so long after the Peer Up
	TimestampZero                           // router's stamp is 0
	TimestampUptime                         // router's stamp is an uptime
	TimestampOff                            // router's clock is off
	NeverAnnounced                          // routes or statistics of a peer without Peer Up
	DownNeverUp                             // Peer Down for a peer that was never up
	RepeatedPeerUp                          // the same Peer Up again
	LocRIBNotAnnounced                      // Loc-RIB routes without the Peer Up of RFC 9069
	CountDiffers                            // the router's count of routes is not what is held here
	StreamDamaged                           // the stream was cut or is damaged
	RoutesWhileDown                         // routes for a peer after its Peer Down
	ProfileConflict                         // BMP v4 code points contradict each other
	NumFindingKinds
)

var findingNames = [NumFindingKinds]string{
	"identity collision",
	"ADD-PATH not as negotiated",
	"AS width not as negotiated",
	"reads both ways",
	"extended message without the capability",
	"no End-of-RIB",
	"router timestamp zero",
	"router timestamp is an uptime",
	"router timestamp off",
	"peer never announced",
	"Peer Down for a peer never up",
	"repeated Peer Up",
	"Loc-RIB without its Peer Up",
	"route count differs",
	"stream cut or damaged",
	"routes of a peer that is down",
	"BMP v4 code points",
}

// String is the finding in a few words.
func (k FindingKind) String() string {
	if k < NumFindingKinds {
		return findingNames[k]
	}
	return "unknown"
}

// Bounds of the findings of one client. A router with ten thousand peers that are all wrong in one way is told about
// with a thousand lines and a count of the rest.
const (
	maxFindings = 1000
	proofBytes  = 128
)

type findingKey struct {
	kind FindingKind
	peer uint32
	sub  uint32 // what else tells findings of a kind apart: view and family
}

type finding struct {
	first, last int64 // unix nanoseconds
	count       uint64
	detail      string
	proofOffset int64
	proofLength int
	proof       []byte
}

// findings are guarded by Client.mu.
type findings struct {
	m    map[findingKey]*finding
	more uint64 // occurrences of findings for which there was no room
}

// note counts a finding and says whether it is a new one. Detail and proof are kept of the first occurrence: the
// proof is the start of the message that shows it, and msg may alias a buffer. detail is called only for a new one.
func (f *findings) note(k findingKey, now int64, offset int64, msg []byte, detail func() string) bool {
	if x := f.m[k]; x != nil {
		x.last = now
		x.count++
		return false
	}
	if len(f.m) >= maxFindings {
		f.more++
		return false
	}
	if f.m == nil {
		f.m = make(map[findingKey]*finding)
	}
	x := &finding{first: now, last: now, count: 1, proofOffset: offset, proofLength: len(msg)}
	x.proof = bytes.Clone(msg[:min(len(msg), proofBytes)])
	if detail != nil {
		x.detail = detail()
	}
	f.m[k] = x
	return true
}

// list makes the snapshot; name gives the text of a peer.
func (f *findings) list(name func(peer uint32) string) []Finding {
	out := make([]Finding, 0, len(f.m)+1)
	for k, x := range f.m {
		out = append(out, Finding{
			Kind: k.kind, Peer: k.peer, PeerName: name(k.peer), First: time.Unix(0, x.first), Last: time.Unix(0, x.last),
			Count: x.count, Detail: x.detail, ProofOffset: x.proofOffset, Proof: x.proof, ProofLength: x.proofLength,
		})
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Detail, b.Detail))
	})
	return out
}

// forget drops what was found about a peer that is gone.
func (f *findings) forget(peer uint32) {
	for k := range f.m {
		if k.peer == peer {
			delete(f.m, k)
		}
	}
}
