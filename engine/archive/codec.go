package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// A block is stored as columns, each compressed alone:
//
//	version 1 | count of records, varint | CRC-32C of the records 4 | columns, each: method 1 | length, varint | stored length, varint | bytes
//
//	contexts   the distinct contexts of the block: Per-Peer Header without its time 34, ADD-PATH families 8, session 4,
//	           kind 1, flags 1, profile 1
//	control    one byte a record, below
//	numbers    varints: what the control byte says is there
//	lengths    varints: of withdrawn routes, attributes, NLRI
//	attrs      path attributes; of MP_REACH_NLRI and MP_UNREACH_NLRI only what is before the NLRI
//	nlri       withdrawn routes, NLRI of MP_REACH_NLRI and MP_UNREACH_NLRI, NLRI
//	escape     records that are not Route Monitoring of version 3 as it should be, whole
//
// What is not in a column follows from the rest: the marker, types and lengths that agree. A message for which this is
// not so (another marker, bytes behind the UPDATE, lengths that disagree) goes whole into the escape column. So
// decoding gives the records back byte for byte, and the CRC says that it did.
const codecVersion = 1

const (
	colContexts = iota
	colControl
	colNumbers
	colLengths
	colAttrs
	colNLRI
	colEscape
	columns
)

// Bits of the control byte.
const (
	ctlEscape  = 1 << iota // the record is in the escape column; its length is the last of its numbers
	ctlContext             // number: index of the context; else that of the record before
	ctlArrival             // number: arrival less that before, zigzag
	ctlOffset              // number: offset less the end of the record before in the stream, zigzag
	ctlTime                // numbers: router's seconds less those before, zigzag, and microseconds
	ctlAttrs               // attributes are not those of the record before: their length is there
	ctlMP                  // NLRI of MP attributes are in the NLRI column
	ctlPlain               // withdrawn routes have length 0: it is not there
)

// Methods of compression.
const (
	stored = iota
	methodS2
	methodZstd
)

const contextLen = 34 + 8 + 4 + 3

type contextKey [contextLen]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encoder makes the payload of blocks. It is for one goroutine and reuses all it has.
type encoder struct {
	zstd  *zstd.Encoder
	col   [columns][]byte
	index map[contextKey]uint64
	near  [64]struct {
		key contextKey
		at  uint64 // 1 + index
	}
	out  []byte
	hot  bool
	prev []byte // attributes of the record before; aliases the block
}

func newEncoder() (*encoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(blockBytes), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	return &encoder{zstd: z, index: make(map[contextKey]uint64)}, nil
}

// encode makes the payload of a block of records; it is valid until the next encode. A hot block is packed with half the
// work and a quarter worse: it is one of a client that fills blocks, which is when work counts.
func (e *encoder) encode(block []byte, count int, hot bool) []byte {
	e.hot = hot
	for i := range e.col {
		e.col[i] = e.col[i][:0]
	}
	clear(e.index)
	for i := range e.near {
		e.near[i].at = 0
	}
	e.prev = nil
	var r record
	var last, arrival, next int64 // index of the context, arrival, offset behind the record before
	var sec uint32
	var micro uint32
	last = -1
	var key contextKey
	for b := block; len(b) > 0; {
		b, _ = nextRecord(b, &r)
		control := byte(0)
		withdrawn, attrs, nlri, ok := splitUpdate(r.kind, r.raw)
		clear(key[:34])
		if !ok {
			control |= ctlEscape
		} else {
			copy(key[:34], r.raw[6:40])
		}
		binary.BigEndian.PutUint64(key[34:], uint64(r.addPath))
		binary.BigEndian.PutUint32(key[42:], r.session)
		key[46], key[47], key[48] = byte(r.kind), r.flags, byte(r.profile)
		numbers := e.col[colNumbers]
		if at := e.context(&key); int64(at) != last {
			control |= ctlContext
			numbers = binary.AppendUvarint(numbers, at)
			last = int64(at)
		}
		if d := r.arrival - arrival; d != 0 {
			control |= ctlArrival
			numbers = binary.AppendVarint(numbers, d)
			arrival = r.arrival
		}
		if d := r.offset - next; d != 0 {
			control |= ctlOffset
			numbers = binary.AppendVarint(numbers, d)
		}
		next = r.offset + int64(len(r.raw))
		if !ok {
			e.col[colNumbers] = binary.AppendUvarint(numbers, uint64(len(r.raw)))
			e.col[colControl] = append(e.col[colControl], control)
			e.col[colEscape] = append(e.col[colEscape], r.raw...)
			continue
		}
		s, m := binary.BigEndian.Uint32(r.raw[40:]), binary.BigEndian.Uint32(r.raw[44:])
		if s != sec || m != micro {
			control |= ctlTime
			numbers = binary.AppendVarint(numbers, int64(s)-int64(sec))
			numbers = binary.AppendUvarint(numbers, uint64(m))
			sec, micro = s, m
		}
		e.col[colNumbers] = numbers
		lengths := e.col[colLengths]
		if len(withdrawn) > 0 {
			lengths = binary.AppendUvarint(lengths, uint64(len(withdrawn)))
			e.col[colNLRI] = append(e.col[colNLRI], withdrawn...)
		} else {
			control |= ctlPlain
		}
		if string(attrs) != string(e.prev) || e.prev == nil {
			control |= ctlAttrs
			lengths = binary.AppendUvarint(lengths, uint64(len(attrs)))
			e.prev = attrs
			if len(attrs) > 0 && e.splitMP(attrs) {
				control |= ctlMP
			} else {
				e.col[colAttrs] = append(e.col[colAttrs], attrs...)
			}
		}
		e.col[colLengths] = binary.AppendUvarint(lengths, uint64(len(nlri)))
		e.col[colNLRI] = append(e.col[colNLRI], nlri...)
		e.col[colControl] = append(e.col[colControl], control)
	}
	out := append(e.out[:0], codecVersion)
	out = binary.AppendUvarint(out, uint64(count))
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(block, castagnoli))
	for i, c := range e.col {
		out = e.compress(out, c, i)
	}
	e.out = out
	return out
}

// context is the index of a context in the block.
func (e *encoder) context(k *contextKey) uint64 {
	// The last bytes of the address, the AS and the view tell neighbours apart.
	near := &e.near[(k[25]^k[24]<<3^k[29]^k[28]^k[33]^k[1]>>2^k[9])%64]
	if near.at != 0 && near.key == *k {
		return near.at - 1
	}
	at, ok := e.index[*k]
	if !ok {
		at = uint64(len(e.index))
		e.index[*k] = at
		e.col[colContexts] = append(e.col[colContexts], k[:]...)
	}
	near.key, near.at = *k, at+1
	return at
}

// splitUpdate takes a Route Monitoring of version 3 apart; not ok if it is anything else, or not made of these parts and
// what follows from them.
func splitUpdate(kind Kind, raw []byte) (withdrawn, attrs, nlri []byte, ok bool) {
	const update = 48 // where the UPDATE begins
	if kind != MessageRecord || len(raw) < update+23 || raw[0] != 3 || raw[5] != 0 ||
		binary.BigEndian.Uint32(raw[1:]) != uint32(len(raw)) {
		return nil, nil, nil, false
	}
	u := raw[update:]
	if binary.BigEndian.Uint64(u) != 1<<64-1 || binary.BigEndian.Uint64(u[8:]) != 1<<64-1 ||
		int(binary.BigEndian.Uint16(u[16:])) != len(u) || u[18] != 2 {
		return nil, nil, nil, false
	}
	w := int(binary.BigEndian.Uint16(u[19:]))
	if w > len(u)-23 {
		return nil, nil, nil, false
	}
	withdrawn, u = u[21:21+w], u[21+w:]
	a := int(binary.BigEndian.Uint16(u))
	if a > len(u)-2 {
		return nil, nil, nil, false
	}
	return withdrawn, u[2 : 2+a], u[2+a:], true
}

// splitMP writes attributes with the NLRI of MP_REACH_NLRI and MP_UNREACH_NLRI in the column of NLRI; it is false, and
// writes nothing, if there is none of them or the attributes are not whole.
func (e *encoder) splitMP(attrs []byte) bool {
	a, n := e.col[colAttrs], e.col[colNLRI]
	found := false
	for b := attrs; len(b) > 0; {
		head, keep, whole := attribute(b)
		if whole < 0 {
			return false
		}
		a = append(a, b[:head+keep]...)
		n = append(n, b[head+keep:whole]...)
		found = found || head+keep < whole
		b = b[whole:]
	}
	if found {
		e.col[colAttrs], e.col[colNLRI] = a, n
	}
	return found
}

// attribute measures the first path attribute of b: its header, how much of its value stays among the attributes, and
// all of it; whole is negative if it is cut. Only the first head bytes, and of MP_REACH_NLRI the next four, decide.
func attribute(b []byte) (head, keep, whole int) {
	head, keep = attributeHead(b)
	if head == 0 {
		return 0, 0, -1
	}
	n := int(b[2])
	if head == 4 {
		n = int(binary.BigEndian.Uint16(b[2:]))
	}
	if whole = head + n; whole > len(b) {
		return 0, 0, -1
	}
	return head, min(keep, n), whole
}

// attributeHead is the length of the header of the first attribute, and how much of a value of any length stays.
func attributeHead(b []byte) (head, keep int) {
	head = 3
	if len(b) > 0 && b[0]&0x10 != 0 {
		head = 4
	}
	if len(b) < head {
		return 0, 0
	}
	switch b[1] {
	case 14: // AFI 2, SAFI 1, next hop length 1, next hop, reserved 1: RFC 4760, Section 3
		if len(b) >= head+4 {
			return head, 5 + int(b[head+3])
		}
	case 15: // AFI 2, SAFI 1: RFC 4760, Section 4
		return head, 3
	}
	return head, 1 << 16
}

// compress appends a column.
func (e *encoder) compress(dst, col []byte, which int) []byte {
	method := byte(methodZstd)
	switch {
	case len(col) < 64:
		method = stored
	case e.hot || which == colControl || which == colContexts || len(col) < 4<<10:
		method = methodS2
	}
	dst = append(dst, method)
	dst = binary.AppendUvarint(dst, uint64(len(col)))
	if method == stored {
		return append(dst, col...)
	}
	// The stored length stands before the bytes: room for it is left, and closed up if it was too much.
	const room = 4
	start := len(dst)
	if method == methodS2 {
		n := s2.MaxEncodedLen(len(col))
		for cap(dst)-start-room < n {
			dst = append(dst[:cap(dst)], 0)
		}
		dst = dst[:start+room+n]
		dst = dst[:start+room+len(s2.Encode(dst[start+room:], col))]
	} else {
		dst = append(dst, make([]byte, room)...)
		dst = e.zstd.EncodeAll(col, dst)
	}
	n := len(dst) - start - room
	var b [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(b[:], uint64(n))
	copy(dst[start+k:], dst[start+room:])
	copy(dst[start:], b[:k])
	return dst[:start+k+n]
}

// decoder makes records of payloads. It is for one goroutine and reuses all it has.
type decoder struct {
	zstd *zstd.Decoder
	col  [columns][]byte
	out  []byte
}

// maxBlock is the most that the records of a block can take: a full block and one message more.
const maxBlock = blockBytes + maxRaw + recordHeader

func newDecoder() (*decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock*2), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return &decoder{zstd: z}, nil
}

func (d *decoder) close() { d.zstd.Close() }

var errCut = errors.New("it is cut")

// decode makes the records of a payload; they are valid until the next decode.
func (d *decoder) decode(p []byte) (records []byte, count int, err error) {
	if len(p) == 0 {
		return nil, 0, errCut
	}
	if p[0] != codecVersion {
		return nil, 0, fmt.Errorf("codec version %d, not %d", p[0], codecVersion)
	}
	n, k := binary.Uvarint(p[1:])
	if k <= 0 || len(p) < 1+k+4 || n > maxBlock/recordHeader {
		return nil, 0, errCut
	}
	count = int(n)
	sum := binary.BigEndian.Uint32(p[1+k:])
	p = p[1+k+4:]
	for i := range d.col {
		if p, err = d.expand(p, i); err != nil {
			return nil, 0, fmt.Errorf("column %d: %w", i, err)
		}
	}
	if len(p) != 0 {
		return nil, 0, fmt.Errorf("%d bytes behind it", len(p))
	}
	if err := d.rows(count); err != nil {
		return nil, 0, err
	}
	if crc32.Checksum(d.out, castagnoli) != sum {
		return nil, 0, errors.New("checksum does not agree")
	}
	return d.out, count, nil
}

func (d *decoder) expand(p []byte, i int) (rest []byte, err error) {
	if len(p) == 0 {
		return nil, errCut
	}
	method := p[0]
	n, k := binary.Uvarint(p[1:])
	if k <= 0 || n > maxBlock {
		return nil, errCut
	}
	p = p[1+k:]
	have := n
	if method != stored {
		if have, k = binary.Uvarint(p); k <= 0 {
			return nil, errCut
		}
		p = p[k:]
	}
	if have > uint64(len(p)) {
		return nil, errCut
	}
	body, rest := p[:have], p[have:]
	switch method {
	case stored:
		d.col[i] = append(d.col[i][:0], body...)
	case methodS2:
		if m, err := s2.DecodedLen(body); err != nil || uint64(m) != n {
			return nil, errors.New("length does not agree")
		}
		d.col[i], err = s2.Decode(d.col[i][:cap(d.col[i])], body)
	case methodZstd:
		var h zstd.Header
		if err := h.Decode(body); err != nil {
			return nil, err
		}
		if h.HasFCS && h.FrameContentSize != n {
			return nil, errors.New("length does not agree")
		}
		d.col[i], err = d.zstd.DecodeAll(body, d.col[i][:0])
	default:
		return nil, fmt.Errorf("method %d", method)
	}
	if err == nil && uint64(len(d.col[i])) != n {
		err = errors.New("length does not agree")
	}
	return rest, err
}

// source is a column being read; the first thing that is not there makes it bad, and all after it zero.
type source struct {
	b   []byte
	bad bool
}

func (s *source) take(n uint64) []byte {
	if n > uint64(len(s.b)) {
		s.bad = true
		return nil
	}
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

func (s *source) uvarint() uint64 {
	v, k := binary.Uvarint(s.b)
	if k <= 0 {
		s.bad = true
		return 0
	}
	s.b = s.b[k:]
	return v
}

func (s *source) varint() int64 {
	v, k := binary.Varint(s.b)
	if k <= 0 {
		s.bad = true
		return 0
	}
	s.b = s.b[k:]
	return v
}

var errColumns = errors.New("columns do not agree")

// rows puts the columns together.
func (d *decoder) rows(count int) error {
	numbers, lengths := source{b: d.col[colNumbers]}, source{b: d.col[colLengths]}
	attrs, nlri, escape := source{b: d.col[colAttrs]}, source{b: d.col[colNLRI]}, source{b: d.col[colEscape]}
	contexts := d.col[colContexts]
	if len(d.col[colControl]) != count || len(contexts)%contextLen != 0 {
		return errColumns
	}
	out := d.out[:0]
	context := contexts[:0]
	var arrival, next int64
	var sec, micro uint32
	var prev, prevMP [2]int // in out: attributes of the record before
	_ = prevMP
	for _, control := range d.col[colControl] {
		if control&ctlContext != 0 {
			at := numbers.uvarint()
			if at >= uint64(len(contexts)/contextLen) {
				return errColumns
			}
			context = contexts[at*contextLen : (at+1)*contextLen]
		}
		if len(context) == 0 {
			return errColumns
		}
		if control&ctlArrival != 0 {
			arrival += numbers.varint()
		}
		offset := next
		if control&ctlOffset != 0 {
			offset += numbers.varint()
		}
		start := len(out)
		out = binary.BigEndian.AppendUint64(out, uint64(arrival))
		out = binary.BigEndian.AppendUint64(out, uint64(offset))
		out = append(out, context[34:46]...) // ADD-PATH, session
		out = append(out, 0, 0, 0, 0)
		out = append(out, context[46:49]...)
		out = append(out, 0)
		body := len(out)
		if control&ctlEscape != 0 {
			out = append(out, escape.take(numbers.uvarint())...)
		} else {
			if control&ctlTime != 0 {
				sec = uint32(int64(sec) + numbers.varint())
				micro = uint32(numbers.uvarint())
			}
			out = append(out, 3, 0, 0, 0, 0, 0)
			out = append(out, context[:34]...)
			out = binary.BigEndian.AppendUint32(out, sec)
			out = binary.BigEndian.AppendUint32(out, micro)
			out = append(out, marker...)
			out = append(out, 0, 0, 2)
			var w uint64
			if control&ctlPlain == 0 {
				w = lengths.uvarint()
			}
			if w > 1<<16-1 {
				return errColumns
			}
			out = binary.BigEndian.AppendUint16(out, uint16(w))
			out = append(out, nlri.take(w)...)
			at := len(out) + 2
			if control&ctlAttrs == 0 {
				n := prev[1] - prev[0]
				out = binary.BigEndian.AppendUint16(out, uint16(n))
				out = append(out, out[prev[0]:prev[1]]...)
			} else {
				n := lengths.uvarint()
				if n > 1<<16-1 {
					return errColumns
				}
				out = binary.BigEndian.AppendUint16(out, uint16(n))
				if control&ctlMP == 0 {
					out = append(out, attrs.take(n)...)
				} else if out = joinMP(out, int(n), &attrs, &nlri); attrs.bad || nlri.bad {
					return errColumns
				}
			}
			prev = [2]int{at, len(out)}
			out = append(out, nlri.take(lengths.uvarint())...)
			if len(out)-body-48 > 1<<16-1 {
				return errColumns
			}
			binary.BigEndian.PutUint32(out[body+1:], uint32(len(out)-body))
			binary.BigEndian.PutUint16(out[body+48+16:], uint16(len(out)-body-48))
		}
		binary.BigEndian.PutUint32(out[start+28:], uint32(len(out)-body))
		next = offset + int64(len(out)-body)
		if numbers.bad || lengths.bad || attrs.bad || nlri.bad || escape.bad || len(out) > 2*maxBlock {
			return errColumns
		}
	}
	d.out = out
	if len(numbers.b)+len(lengths.b)+len(attrs.b)+len(nlri.b)+len(escape.b) != 0 {
		return errColumns
	}
	return nil
}

var marker = []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")

// joinMP is the inverse of splitMP for n bytes of attributes.
func joinMP(out []byte, n int, attrs, nlri *source) []byte {
	for n > 0 {
		head, keep := attributeHead(attrs.b)
		if head == 0 || head > n {
			attrs.bad = true
			return out
		}
		length := int(attrs.b[2])
		if head == 4 {
			length = int(binary.BigEndian.Uint16(attrs.b[2:]))
		}
		if head+length > n {
			attrs.bad = true
			return out
		}
		keep = min(keep, length)
		out = append(out, attrs.take(uint64(head+keep))...)
		out = append(out, nlri.take(uint64(length-keep))...)
		if attrs.bad || nlri.bad {
			return out
		}
		n -= head + length
	}
	return out
}
