package bgp

import "net/netip"

// --- PDU ---

type PDUType uint8

const (
	PDUOpen PDUType = 1 + iota
	PDUUpdate
	PDUNotification
	PDUKeepalive
	PDURouteRefresh
)

func (t PDUType) String() string { return "" } // "OPEN", "UPDATE", ...

const HeaderLen = 19

// SplitHeader checks the 19-byte header of a whole PDU and returns its type and body (aliases pdu).
func SplitHeader(pdu []byte) (PDUType, []byte, error) { return 0, nil, nil }

// --- UPDATE ---

// Context: what decides the meaning of the bytes of an UPDATE.
type Context struct {
	AS4     bool
	AddPath AddPathSet
}

type ErrorClass uint8

const (
	AttributeDiscard ErrorClass = 1 + iota
	TreatAsWithdraw
	SessionReset // AFI/SAFI or session reset of RFC 7606; here nothing is reset
)

func (c ErrorClass) String() string { return "" }

// AttrError: a malformed UPDATE. Error(): "UPDATE attribute 5 length 3".
type AttrError struct {
	Class  ErrorClass
	Attr   uint8 // 0: not of one attribute
	Offset int   // from the start of the PDU
	Reason string
	Value  int
}

func (e *AttrError) Error() string { return "" }

// Section is one NLRI field of an UPDATE.
type Section struct {
	Family   Family
	Withdraw bool
	AddPath  bool // the context says that it carries path identifiers
	Field    []byte
	Offset   int
}

// Update aliases the PDU. Reuse one per session: Parse allocates nothing.
type Update struct {
	Context              Context
	PDU                  []byte
	Withdrawn            []byte
	Attrs                []byte
	NLRI                 []byte
	HasReach, HasUnreach bool
	Reach                struct {
		Family        Family
		NextHop, NLRI []byte
		NLRIOffset    int
	}
	Unreach struct {
		Family     Family
		NLRI       []byte
		NLRIOffset int
	}
	EoR       bool
	EoRFamily Family
	Malformed *AttrError // nil: well formed; the strongest class otherwise. Points into the Update.
}

// Parse splits. A non-nil error means the UPDATE cannot be split at all (it is also in Malformed, class SessionReset).
func (u *Update) Parse(pdu []byte, ctx Context) error { return nil }

// Sections appends the NLRI fields that are not empty, withdraws first (at most four).
func (u *Update) Sections(dst []Section) []Section { return dst }

// ASPathWidths: whether the AS_PATH parses exactly with 2- and with 4-octet numbers (both true when there is none or it is empty).
func (u *Update) ASPathWidths() (two, four bool) { return }

// AppendRecord appends the record of the attributes for routes of family f (see doc.go).
func (u *Update) AppendRecord(dst []byte, f Family, extra []byte) []byte { return dst }

// --- NLRI ---

// NLRI iterates over an NLRI field. Keep one per session and Reset it: no allocation. Key and Extra are valid until Next.
type NLRI struct {
	PathID uint32
	Key    []byte
	Extra  []byte
	err    error
	buf    [64]byte
}

func SplitNLRI(f Family, addPath, withdraw bool, field []byte) NLRI  { return NLRI{} }
func (n *NLRI) Reset(f Family, addPath, withdraw bool, field []byte) {}
func (n *NLRI) Next() bool                                           { return false }
func (n *NLRI) Err() error                                           { return n.err }
func (n *NLRI) Offset() int                                          { return 0 } // in the field, of the NLRI that Next gave or of the error

// CheckNLRI: whether the field splits exactly; count is the number of NLRI.
func CheckNLRI(f Family, addPath, withdraw bool, field []byte) (count int, err error) { return 0, nil }

// --- keys and RD ---

type RD [8]byte

func (r RD) String() string        { return "" } // "65000:1", "10.0.0.1:5"; type 2 with a 2-octet AS "4200000000:1", unknown "0x..."
func ParseRD(s string) (RD, error) { return RD{}, nil }

func KeyText(f Family, key []byte) (rd, prefix string)     { return }
func ParseKey(f Family, rd, prefix string) ([]byte, error) { return nil, nil }

// KeyPrefix is for families with IsPrefix.
func KeyPrefix(f Family, key []byte) (rd RD, p netip.Prefix, ok bool)    { return }
func AppendPrefixKey(dst []byte, f Family, rd RD, p netip.Prefix) []byte { return dst }

// --- records ---

func RecordAS4(rec []byte) bool                               { return false }
func RecordAttrs(rec []byte) []byte                           { return nil } // the attribute bytes
func RecordExtra(rec []byte) []byte                           { return nil }
func FindAttr(rec []byte, code uint8) (value []byte, ok bool) { return }
func NextHop(rec []byte) (netip.Addr, bool)                   { return netip.Addr{}, false }
func AppendASPath(dst []byte, rec []byte) []byte              { return dst }
func OriginAS(rec []byte) (uint32, bool)                      { return 0, false }
func MED(rec []byte) (uint32, bool)                           { return 0, false }
func LocalPref(rec []byte) (uint32, bool)                     { return 0, false }
func HasCommunity(rec []byte, c uint32) bool                  { return false }
func HasLargeCommunity(rec []byte, c [3]uint32) bool          { return false }
func HasExtCommunity(rec []byte, c [8]byte) bool              { return false }
func ParseCommunity(s string) (uint32, error)                 { return 0, nil }
func ParseLargeCommunity(s string) ([3]uint32, error)         { return [3]uint32{}, nil }
func ParseExtCommunity(s string) ([8]byte, error)             { return [8]byte{}, nil }

type NameText struct{ Name, Text string }

// Attributes is a record decoded for showing.
type Attributes struct {
	NextHop                                       netip.Addr
	LinkLocal                                     netip.Addr // second next hop of IPv6, else invalid
	Origin                                        string     // "i", "e", "?", "" when absent
	ASPath                                        string
	MED, LocalPref                                *uint32
	Communities, LargeCommunities, ExtCommunities []string
	Labels                                        []string
	Others                                        []NameText // the rest, in order of the attribute code; also esi and gateway of EVPN
}

// Decode is for families and records of this process; it never fails: what cannot be decoded is hex in Others.
func Decode(rec []byte, f Family) Attributes { return Attributes{} }

// --- OPEN ---

type AddPathMode uint8 // 1 receive, 2 send, 3 both

type Capability struct {
	Code  uint8
	Value []byte
}

func (c Capability) Name() string { return "" }
func (c Capability) Text() string { return "" }

type Open struct {
	Version        uint8
	AS             uint32 // of capability 65 where present
	MyAS           uint16
	HoldTime       uint16 // seconds
	ID             [4]byte
	Capabilities   []Capability
	ExtendedParams bool // RFC 9072
}

func ParseOpen(pdu []byte) (Open, error)                 { return Open{}, nil }
func (o *Open) Append(dst []byte) []byte                 { return dst }
func (o *Open) Families() []Family                       { return nil } // ipv4-unicast when no capability 1 is there
func (o *Open) AddPath(f Family) AddPathMode             { return 0 }
func (o *Open) HasAS4() bool                             { return false }
func (o *Open) ExtendedMessage() bool                    { return false }
func (o *Open) Capability(code uint8) (Capability, bool) { return Capability{}, false }

// AddPathIn: families whose routes from the peer (Adj-RIB-In) carry path IDs; AddPathOut likewise Adj-RIB-Out;
// AddPathListed: families that one OPEN lists at all (Loc-RIB).
func AddPathIn(sent, received *Open) AddPathSet  { return 0 }
func AddPathOut(sent, received *Open) AddPathSet { return 0 }
func AddPathListed(sent *Open) AddPathSet        { return 0 }

type Comparison struct {
	Families             []Family // negotiated
	HoldTime             uint16
	AS4, ExtendedMessage bool
	Rows                 []ComparisonRow
}
type ComparisonRow struct{ Name, Sent, Received, Negotiated string }

func Negotiate(sent, received *Open) Comparison { return Comparison{} }

// --- NOTIFICATION and the rest ---

type Notification struct {
	Code, Subcode uint8
	Data          []byte
}

func ParseNotification(pdu []byte) (Notification, error) { return Notification{}, nil }
func (n Notification) String() string                    { return "" } // "Cease/Administrative Shutdown: text"
func (n Notification) Name() string                      { return "" }
func (n Notification) Shutdown() string                  { return "" } // RFC 9003 text
func (n Notification) Append(dst []byte) []byte          { return dst }

type RouteRefresh struct {
	Family  Family
	Subtype uint8
	ORF     []byte
}

func ParseRouteRefresh(pdu []byte) (RouteRefresh, error) { return RouteRefresh{}, nil }
func (r RouteRefresh) String() string                    { return "" }

// Summary is one line for any PDU (mirrored messages, `messages`).
func Summary(pdu []byte, ctx Context) string { return "" }

func AppendKeepalive(dst []byte) []byte { return dst }
