package archive

import (
	"encoding/binary"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// Bounds of a block.
const (
	blockBytes = 256 << 10   // of records, but for one that is longer alone
	blockTime  = time.Second // from its first record to its end
	maxRaw     = 16 << 20    // of one message, far beyond what a station is set to take
)

// record is one message or marker in an open block, where records stand one after the other:
//
//	arrival, unix nanoseconds 8 | offset 8 | ADD-PATH families 8 | session 4 | length 4 | kind 1 | flags 1 | profile 1 | 0 | bytes
//
// all big endian. The codec makes columns of it; decoding makes the same bytes again.
type record struct {
	arrival int64
	offset  int64
	addPath bgp.AddPathSet
	session uint32
	kind    Kind
	flags   uint8
	profile bmp.Profile
	raw     []byte // aliases the block
}

const recordHeader = 36

// Flags of a record.
const (
	recordAS4 = 1 << iota // AS numbers of its UPDATE were read as 4 octets
	recordBad             // it could not be read
)

func appendRecord(dst []byte, r *record) []byte {
	n := len(dst)
	dst = dst[:n+recordHeader]
	h := dst[n:]
	binary.BigEndian.PutUint64(h[0:], uint64(r.arrival))
	binary.BigEndian.PutUint64(h[8:], uint64(r.offset))
	binary.BigEndian.PutUint64(h[16:], uint64(r.addPath))
	binary.BigEndian.PutUint32(h[24:], r.session)
	binary.BigEndian.PutUint32(h[28:], uint32(len(r.raw)))
	h[32], h[33], h[34], h[35] = uint8(r.kind), r.flags, uint8(r.profile), 0
	return append(dst, r.raw...)
}

// nextRecord reads the first record of b and returns what is behind it; not ok if b is not whole records.
func nextRecord(b []byte, r *record) (rest []byte, ok bool) {
	if len(b) < recordHeader {
		return nil, false
	}
	n := int(binary.BigEndian.Uint32(b[28:]))
	if n > len(b)-recordHeader {
		return nil, false
	}
	*r = record{
		arrival: int64(binary.BigEndian.Uint64(b[0:])),
		offset:  int64(binary.BigEndian.Uint64(b[8:])),
		addPath: bgp.AddPathSet(binary.BigEndian.Uint64(b[16:])),
		session: binary.BigEndian.Uint32(b[24:]),
		kind:    Kind(b[32]),
		flags:   b[33],
		profile: bmp.Profile(b[34]),
		raw:     b[recordHeader : recordHeader+n : recordHeader+n],
	}
	return b[recordHeader+n:], true
}

// message is the record as it is handed out.
func (r *record) message(client uint32, block uint64) Message {
	m := Message{
		Entry: Entry{
			Time: time.Unix(0, r.arrival), Offset: r.offset, Session: r.session, Raw: r.raw, Profile: r.profile,
			Context: bgp.Context{AS4: r.flags&recordAS4 != 0, AddPath: r.addPath}, Bad: r.flags&recordBad != 0,
		},
		Client: client, Kind: r.kind, Block: block,
	}
	if r.kind == MessageRecord {
		m.Type = messageType(r.raw)
	}
	return m
}
