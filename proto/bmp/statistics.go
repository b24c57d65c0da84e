package bmp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bmp/proto/wire"
)

// StatisticsReport is the Statistics Report message, RFC 7854, Section 4.8.
type StatisticsReport struct {
	PeerHeader PerPeerHeader
	Stats      []Stat
	// TLVs, in version 4 alone: those beside the Stats TLV. Bare says that a version 4 message had its statistics
	// as version 3 has them, without that TLV, as routers following older drafts do; then there are no TLVs.
	TLVs []TLV
	Bare bool
}

// Type implements [Message].
func (m *StatisticsReport) Type() MessageType { return StatisticsReportType }

// Peer implements [Message].
func (m *StatisticsReport) Peer() *PerPeerHeader { return &m.PeerHeader }

// Stat is one statistic.
type Stat struct {
	Type       uint16 // in version 4 without the E bit
	Enterprise bool   // the E bit: PEN is the enterprise whose type it is
	PEN        uint32
	Raw        []byte // aliases the frame
}

// statForm is the layout of a statistic's value.
type statForm uint8

const (
	counter32   statForm = iota + 1 // 4 bytes
	gauge64                         // 8 bytes
	familyGauge                     // AFI 2, SAFI 1, gauge 8
)

// statTypes are the statistics of IANA's registry: RFC 7854, Section 4.8 (0 to 13); RFC 8671, Section 6.2 (14 to 17);
// RFC 9972 (18 to 43).
var statTypes = [...]struct {
	name string
	form statForm
}{
	0:  {"prefixes rejected by inbound policy", counter32},
	1:  {"duplicate prefix advertisements", counter32},
	2:  {"duplicate withdraws", counter32},
	3:  {"updates invalidated by CLUSTER_LIST loop", counter32},
	4:  {"updates invalidated by AS_PATH loop", counter32},
	5:  {"updates invalidated by ORIGINATOR_ID", counter32},
	6:  {"updates invalidated by AS_CONFED loop", counter32},
	7:  {"routes in Adj-RIB-In", gauge64},
	8:  {"routes in Loc-RIB", gauge64},
	9:  {"routes in Adj-RIB-In per family", familyGauge},
	10: {"routes in Loc-RIB per family", familyGauge},
	11: {"updates subjected to treat-as-withdraw", counter32},
	12: {"prefixes subjected to treat-as-withdraw", counter32},
	13: {"duplicate updates", counter32},
	14: {"routes in pre-policy Adj-RIB-Out", gauge64},
	15: {"routes in post-policy Adj-RIB-Out", gauge64},
	16: {"routes in pre-policy Adj-RIB-Out per family", familyGauge},
	17: {"routes in post-policy Adj-RIB-Out per family", familyGauge},
	18: {"routes in pre-policy Adj-RIB-In", gauge64},
	19: {"routes in pre-policy Adj-RIB-In per family", familyGauge},
	20: {"routes in post-policy Adj-RIB-In", gauge64},
	21: {"routes in post-policy Adj-RIB-In per family", familyGauge},
	22: {"routes rejected by inbound policy per family", familyGauge},
	23: {"routes accepted by inbound policy per family", familyGauge},
	26: {"routes damped per family", familyGauge},
	27: {"routes stale by Graceful Restart per family", familyGauge},
	28: {"routes stale by Long-Lived Graceful Restart per family", familyGauge},
	29: {"routes left to the route threshold", gauge64},
	30: {"routes left to the route threshold per family", familyGauge},
	31: {"routes left to the licence threshold", gauge64},
	32: {"routes left to the licence threshold per family", familyGauge},
	33: {"routes rejected for AS_PATH length", gauge64},
	34: {"routes rejected for AS_PATH length per family", familyGauge},
	35: {"routes invalid by ROA in post-policy Adj-RIB-In per family", familyGauge},
	36: {"routes valid by ROA in post-policy Adj-RIB-In per family", familyGauge},
	37: {"routes without ROA in post-policy Adj-RIB-In per family", familyGauge},
	38: {"routes rejected by outbound policy per family", familyGauge},
	39: {"routes filtered for AS_PATH length in Adj-RIB-Out", gauge64},
	40: {"routes filtered for AS_PATH length in Adj-RIB-Out per family", familyGauge},
	41: {"routes invalid by ROA in post-policy Adj-RIB-Out per family", familyGauge},
	42: {"routes valid by ROA in post-policy Adj-RIB-Out per family", familyGauge},
	43: {"routes without ROA in post-policy Adj-RIB-Out per family", familyGauge},
}

// form is the layout that the type demands; 0 for types that have none known.
func (s Stat) form() statForm {
	if s.Enterprise || int(s.Type) >= len(statTypes) {
		return 0
	}
	return statTypes[s.Type].form
}

// Name is the name of the statistic; "type 65531" where there is none.
func (s Stat) Name() string {
	switch {
	case s.Enterprise:
		return fmt.Sprintf("enterprise %d type %d", s.PEN, s.Type)
	case s.form() != 0:
		return statTypes[s.Type].name
	}
	return fmt.Sprintf("type %d", s.Type)
}

// Value is the counter or gauge. A type that is not known is read as RFC 7854, Section 4.8 has it: 4 bytes are a
// counter, 8 a gauge. Not ok if the length fits neither, or not the type.
func (s Stat) Value() (v uint64, ok bool) {
	form := s.form()
	switch {
	case len(s.Raw) == 4 && (form == counter32 || form == 0):
		return uint64(binary.BigEndian.Uint32(s.Raw)), true
	case len(s.Raw) == 8 && (form == gauge64 || form == 0):
		return binary.BigEndian.Uint64(s.Raw), true
	case len(s.Raw) == 11 && form == familyGauge:
		return binary.BigEndian.Uint64(s.Raw[3:]), true
	}
	return 0, false
}

// Family is the family a statistic is about; not ok if it is about none, or malformed.
func (s Stat) Family() (afi uint16, safi uint8, ok bool) {
	if s.form() != familyGauge || len(s.Raw) != 11 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(s.Raw), s.Raw[2], true
}

// statsTLV is the type of the TLV that wraps the statistics: draft-ietf-grow-bmp-tlv, Section 5.4.
const statsTLV = 1

func (m *StatisticsReport) parse(f Frame, c *wire.Cursor) error {
	c.Section("RFC 7854, Section 4.8")
	m.Stats, m.TLVs, m.Bare = m.Stats[:0], m.TLVs[:0], false
	if f.Version < 4 {
		m.readStats(c, formOf(f.Version))
		return c.Done()
	}
	// A count of 65,536 or more, of at least 4 bytes each, makes no report that a router would send; a TLV of a type
	// below 1 does not exist. So the first two bytes tell the two forms from one another.
	if head := c.Peek(2); head != nil && binary.BigEndian.Uint16(head) == 0 {
		m.Bare = true
		m.readStats(c, enterpriseTLV)
		return c.Done()
	}
	c.Section("draft-ietf-grow-bmp-tlv, Section 5.4")
	off := c.Off()
	m.TLVs = readTLVs(m.TLVs, c, enterpriseTLV)
	if err := c.Done(); err != nil {
		return err
	}
	for i, t := range m.TLVs { // type 1 may also be a sequence number, which comes after
		if t.Type == statsTLV && !t.Enterprise {
			for _, before := range m.TLVs[:i] {
				off += 4 + before.codedLen()
			}
			off += 4
			m.TLVs = append(m.TLVs[:i], m.TLVs[i+1:]...)
			inner := wire.NewCursorAt(t.Value, off, "RFC 7854, Section 4.8")
			m.readStats(&inner, enterpriseTLV)
			return inner.Done()
		}
	}
	c.FailAt(off, "Stats TLV", "missing")
	return c.Err()
}

// codedLen is what the length field of the TLV says.
func (t TLV) codedLen() int {
	if t.Enterprise {
		return len(t.Value) + 4
	}
	return len(t.Value)
}

// readStats reads the count and that many statistics.
func (m *StatisticsReport) readStats(c *wire.Cursor, form tlvForm) {
	count := c.U32("stats count")
	for range count {
		t := readTLV(c, form)
		if c.Err() != nil {
			return // not at the count: it is the router's word, not ours
		}
		m.Stats = append(m.Stats, Stat{Type: t.Type, Enterprise: t.Enterprise, PEN: t.PEN, Raw: t.Value})
	}
}

// Append implements [Message].
func (m *StatisticsReport) Append(dst []byte, e Encoding) ([]byte, error) {
	start := len(dst)
	dst, err := e.begin(dst, StatisticsReportType, &m.PeerHeader)
	if err != nil {
		return dst, err
	}
	wrapped := e.version() >= 4 && !m.Bare
	if !wrapped && len(m.TLVs) > 0 {
		return dst, errors.New("statistics report: no TLVs beside the statistics in this form")
	}
	wrap := len(dst)
	if wrapped {
		dst = append(dst, 0, statsTLV, 0, 0)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Stats)))
	for i := range m.Stats {
		s := &m.Stats[i]
		t := TLV{Type: s.Type, Enterprise: s.Enterprise, PEN: s.PEN, Value: s.Raw}
		if dst, err = appendTLV(dst, &t, formOf(e.version())); err != nil {
			return dst, fmt.Errorf("statistics report: %w", err)
		}
	}
	if wrapped {
		n := len(dst) - wrap - 4
		if n > 0xffff {
			return dst, fmt.Errorf("statistics report: %d bytes are too long for a TLV", n)
		}
		binary.BigEndian.PutUint16(dst[wrap+2:], uint16(n))
	}
	if dst, err = appendTLVs(dst, m.TLVs, formOf(e.version())); err != nil {
		return dst, fmt.Errorf("statistics report: %w", err)
	}
	return e.end(dst, start)
}
