package client

import (
	"net/netip"
	"time"

	"bmp/engine/rib"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// The types of this file are snapshots: plain values, made under the client's lock, that nobody changes afterwards.

// State is whether a client is connected.
type State uint8

// The states of a client.
const (
	Down State = iota
	Up
)

// String is "up" or "down".
func (s State) String() string {
	if s == Up {
		return "up"
	}
	return "down"
}

// PeerState is what is known of a peer's BGP session.
type PeerState uint8

// The states of a peer.
const (
	PeerUnannounced PeerState = iota // messages came, but no Peer Up
	PeerUp                           // Peer Up
	PeerDown                         // Peer Down
	PeerUnmonitored                  // Peer Down reason 5: the router no longer tells; the peer may well be up
	NumPeerStates
)

// String is the state as the commands spell it.
func (s PeerState) String() string {
	return [...]string{"unannounced", "up", "down", "unmonitored"}[min(s, PeerUnmonitored)]
}

// MessageCounts counts messages by type, and those of types that BMP does not have.
type MessageCounts struct {
	RouteMonitoring, StatisticsReport, PeerDown, PeerUp, Initiation, Termination, RouteMirroring, Unknown uint64
}

// Total is the sum of all types.
func (m MessageCounts) Total() uint64 {
	return m.RouteMonitoring + m.StatisticsReport + m.PeerDown + m.PeerUp + m.Initiation + m.Termination +
		m.RouteMirroring + m.Unknown
}

// ViewCount is how many routes one view and family holds.
type ViewCount struct {
	View   bmp.View
	Family bgp.Family
	Routes int
	Stale  int // of them, of an earlier session and not announced again
}

// ViewRoutes is routes by view, all families together. The index is a bmp.View.
type ViewRoutes [bmp.Views]int

// Brief is a client in one line of `show clients`.
type Brief struct {
	ID        uint32
	Address   netip.AddrPort
	Name      string // sysName of the Initiation; empty when there was none
	Netns     string // of the listener; empty for the station's own
	Listener  string // [NETNS/][ADDR:]PORT
	State     State
	Since     time.Time // of the state: when the session began or ended
	Peers     int       // known, in any state
	PeersUp   int
	Messages  uint64
	Bytes     uint64
	Routes    int
	Malformed uint64
}

// Info is all of a client, for `show client X`.
type Info struct {
	Brief
	SysDescr       string
	InitStrings    []string // free-form strings of the Initiation (TLV 0)
	VRF            string   // device of the listener
	Local          netip.AddrPort
	Version        uint8         // BMP version of the last message; 0 before one
	Profile        string        // code points of BMP v4: "deployed", "draft20", "editors"; empty below v4
	Uptime         time.Duration // of the session; 0 when down
	FirstSeen      time.Time     // when the client got its ID
	LastMessage    time.Time     // zero: none
	ByType         MessageCounts
	PeerStats      PeerStats
	Routes         []ViewCount // sorted by view, then family
	LastError      string      // newest malformed message or reason of the last session's end; empty for none
	LastErrorTime  time.Time
	DownReason     string    // why the last session ended; empty while the first is up
	StaleUntil     time.Time // when the retained routes go; zero when up or nothing is retained
	Terminated     string    // reason in the router's Termination message, if it sent one
	Sessions       []SessionInfo
	SessionsLost   uint64 // older sessions that the log no longer has
	Ring           RingInfo
	Health         int // number of findings
	CountersSince  time.Time
	MirrorErrored  uint64 // Route Mirroring information: errored PDUs
	MirrorLost     uint64 // and times that messages were lost
	UpdatesIgnored uint64 // routes in messages whose peer is down or that could not be applied
}

// PeerStats is how many peers there are of each sort.
type PeerStats struct {
	Total, Global, RD, Local, LocRIB, Other int // by peer type
	IPv4, IPv6                              int // by the address of the peer; Loc-RIB peers have none
	IBGP, EBGP                              int // by the OPENs; peers without Peer Up are in neither
	Up, Down, Unannounced, Unmonitored      int
	Stale                                   int // up when last heard of; not in Up
}

// SessionInfo is one session in the session log, the running one included.
type SessionInfo struct {
	Address  netip.AddrPort
	Listener string
	Start    time.Time
	End      time.Time // zero while it runs
	Reason   string    // why it ended
	Messages uint64
	Bytes    uint64
	// Around is what was read around the place where framing was lost, and AroundOffset where in the stream it starts.
	Around       []byte
	AroundOffset int64
}

// RingInfo says what of the messages is kept.
type RingInfo struct {
	Kept    int       // messages
	Bytes   int       // bytes they take
	Dropped uint64    // messages that are no longer kept
	Oldest  time.Time // arrival of the oldest kept; zero when none
}

// PeerInfo is a peer in one line of `show client X peers`.
type PeerInfo struct {
	Client        uint32
	ClientName    string
	ClientAddress netip.AddrPort
	ID            uint32
	Type          bmp.PeerType
	RD            string // empty for peers of type 0, "0:0" never
	Distinguisher uint64
	Address       netip.Addr // invalid for Loc-RIB
	AS            uint32
	BGPID         [4]byte
	State         PeerState
	Since         time.Time // of the state; arrival time of the message that changed it
	RouterTime    time.Time // the router's own stamp on that message; zero when it gave none
	Table         string    // VRF/table name of the Peer Up
	AdminLabel    string
	DownReason    string // of the last Peer Down; empty when none came
	Stale         bool   // not announced again since the client came back, or the client is down
	Routes        ViewRoutes
	Total         int // sum of Routes
	Malformed     uint64
	Messages      uint64
}

// Name is how the peer is called in text: its address, RD/address, loc-rib, RD/loc-rib.
func (p PeerInfo) Name() string { return peerName(p.Type, p.RD, p.Address) }

// PeerDetail is all of a peer, for `show client X peer Y`.
type PeerDetail struct {
	PeerInfo
	ByType           MessageCounts
	LastMessage      time.Time
	HasOpens         bool // Sent and Received are there
	Sent, Received   bgp.Open
	SentPDU          []byte // the OPENs as they came
	ReceivedPDU      []byte
	OpenError        string // an OPEN that could not be read
	LocalAddress     netip.Addr
	LocalPort        uint16
	RemotePort       uint16
	UpCount          uint64 // sessions of the peer: Peer Ups that began one
	DownCount        uint64
	RepeatedUps      uint64 // Peer Ups that said the same again
	LastUp           time.Time
	LastDown         time.Time
	InfoStrings      []string // Peer Up TLV 0
	Tables           []TableInfo
	Statistics       []Statistic
	StatisticsTime   time.Time
	Notification     *bgp.Notification // of the last Peer Down with one
	NotificationTime time.Time
	DownBy           string // "local", "remote", "" unknown
	FSMEvent         uint16 // of Peer Down reason 2
	DownCode         uint8  // reason code of the last Peer Down; 0 when none came
}

// TableInfo is one view and family of a peer.
type TableInfo struct {
	View        bmp.View
	Family      bgp.Family
	Routes      int
	Stale       int
	Announced   uint64 // NLRI announced
	Withdrawn   uint64
	EoR         time.Time // last End-of-RIB; zero when none came since the Peer Up
	AddPath     bool      // routes carry path IDs
	AddPathSaid bool      // as negotiated
	ASWidth     int       // 2 or 4, of the last message
	ASWidthSaid int       // as the A flag or the OPENs say
	Switched    bool      // the coding was switched by votes
	Forced      bool      // the coding was set by `quirk`
	Incomplete  bool      // emptied by a switch and not rebuilt: the messages kept do not reach back far enough
	LastUpdate  time.Time
	LastEmptied time.Time
}

// Statistic is one counter or gauge as last reported.
type Statistic struct {
	Type   uint16
	Name   string
	View   bmp.View   // view of the header that it came under
	Family bgp.Family // of a per family one; the zero Family otherwise
	Value  uint64
	Known  bool   // Value could be read
	Raw    []byte // as it came
	Time   time.Time
}

// Finding is one line of `show client X health`.
type Finding struct {
	Kind        FindingKind
	Peer        uint32 // 0: of the client
	PeerName    string
	First, Last time.Time
	Count       uint64
	Detail      string
	ProofOffset int64  // in the session's stream, of the message that shows it; -1 when there is no proof
	Proof       []byte // its first bytes
	ProofLength int    // how long it was
}

// MalformedMessage is one message that could not be read, for `show client X malformed`.
type MalformedMessage struct {
	Number   uint64 // counts from 1 on each client
	Time     time.Time
	Peer     uint32 // 0: none, or not to be read
	PeerName string
	Type     bmp.MessageType
	Offset   int64 // of the message in its session's stream
	At       int   // of the fault in the message; -1 unknown
	Reason   string
	Class    bgp.ErrorClass // of RFC 7606; 0 when it is not about an attribute
	Raw      []byte         // whole
}

// Rate is a client's message rates.
type Rate struct {
	Window                    time.Duration // over which it was measured
	Messages, Bytes           float64       // per second
	Announced, Withdrawn      float64       // NLRI per second
	PeakMessages              float64       // highest of the last hour, per second over ten seconds
	PeakTime                  time.Time
	TotalMessages, TotalBytes uint64
	Samples                   []RateSample // newest last, at most an hour
}

// RateSample is what came within one interval.
type RateSample struct {
	Start                                 time.Time
	Messages, Bytes, Announced, Withdrawn uint64
}

// Message is one BMP message out of the ring or off the wire, with what is needed to decode it again.
type Message struct {
	Time       time.Time // arrival
	RouterTime time.Time // per-peer header; zero when there is none or it is 0
	Offset     int64     // in its session's stream
	Type       bmp.MessageType
	Version    uint8
	Client     uint32
	Peer       uint32 // 0: message without a peer
	PeerName   string
	View       bmp.View
	HasView    bool        // View says something: Route Monitoring
	Context    bgp.Context // with which its UPDATE was read
	Announced  int         // NLRI
	Withdrawn  int
	EoR        bool
	Malformed  bool
	Raw        []byte // the whole message; immutable
	profile    bmp.Profile
}

// RouteChange is one NLRI of an UPDATE, for those who follow routes.
type RouteChange struct {
	Peer     uint32
	PeerName string
	View     bmp.View
	Family   bgp.Family
	Withdraw bool
	Outcome  rib.Outcome // what it did to the table
	Key      []byte      // canonical, without the path ID
	PathID   uint32
	AddPath  bool
	Record   []byte // interned record; nil for a withdraw
}
