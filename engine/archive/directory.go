package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

// directory is a list that is stored.
type directory struct {
	seq         uint64 // of its message
	first, last uint64 // blocks

	// What follows is nil when it is not in memory.
	seed    uint64   // of listKey
	blocks  []uint64 // sequences
	holders []holder
	parts   []keysPart
}

// keysPart is a message with entries from a key on; of this there may be some in the part before.
type keysPart struct {
	first uint64
	seq   uint64
}

func (d *directory) size() int { return 64 + 8*len(d.blocks) + 64*len(d.holders) + 16*len(d.parts) }

// writeList stores a list that is sorted; nil if that cannot be, and then the blocks need their filters.
func (c *catalog) writeList(client uint32, l *keyList) *directory {
	entries := l.sorted
	d := &directory{seed: c.a.seed, first: l.blocks[0].seq, last: l.blocks[len(l.blocks)-1].seq, holders: l.holders}
	for _, i := range l.blocks {
		d.blocks = append(d.blocks, i.seq)
	}
	var b []byte
	var key, first uint64
	store := func() bool {
		m := &nats.Msg{Subject: c.a.store.subject("checkpoint", keysSubject(client)), Data: packed(b),
			Header: nats.Header{hdrVersion: {formatVersion}, hdrKind: {kindKeysPart}}}
		seq, err := c.a.store1(m, fmt.Sprintf("k%x.%d.%d.%d", c.a.run, client, d.first, len(d.parts)))
		d.parts = append(d.parts, keysPart{first, seq})
		b, key = b[:0], 0
		return err == nil
	}
	for at := 0; at < len(entries); {
		end, most := at+1, at+1+(listPart-len(b))/listEntry
		for end < min(most, len(entries)) && entries[end].key>>16 == entries[at].key>>16 {
			end++
		}
		if len(b) == 0 {
			first = entries[at].key >> 16
		}
		b = appendEntries(b, key, entries[at:end])
		key = entries[at].key >> 16
		if at = end; len(b) >= listPart-listEntry || at == len(entries) {
			if !store() {
				c.listsLost.Add(1)
				return nil
			}
		}
	}
	m := &nats.Msg{Subject: c.a.store.subject("checkpoint", client), Data: packed(d.append(nil)),
		Header: nats.Header{hdrVersion: {formatVersion}, hdrKind: {kindKeys}, hdrBlocks: {numbers(int64(d.first), int64(d.last))}}}
	seq, err := c.a.store1(m, fmt.Sprintf("k%x.%d.%d", c.a.run, client, d.first))
	if err != nil {
		c.listsLost.Add(1)
		return nil
	}
	d.seq = seq
	return d
}

func keysSubject(client uint32) string { return fmt.Sprintf("%d-keys", client) }

// appendEntries writes entries of one key, which may have more: difference to the key before | how many | each: difference of the holder,
// block or difference of it where the holder is the same, hash.
func appendEntries(b []byte, before uint64, list []touch) []byte {
	b = binary.AppendUvarint(b, list[0].key>>16-before)
	b = binary.AppendUvarint(b, uint64(len(list)))
	var p touch
	for _, e := range list {
		if e.holder() != p.holder() {
			p.block = 0
		}
		b = binary.AppendUvarint(b, uint64(e.holder()-p.holder()))
		b = binary.AppendUvarint(b, uint64(e.block-p.block))
		b = binary.LittleEndian.AppendUint32(b, e.hash)
		p = e
	}
	return b
}

func (d *directory) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, d.seed)
	b = binary.AppendUvarint(b, uint64(len(d.blocks)))
	last := uint64(0)
	for _, seq := range d.blocks {
		b, last = binary.AppendUvarint(b, seq-last), seq
	}
	b = binary.AppendUvarint(b, uint64(len(d.holders)))
	for _, h := range d.holders {
		b = appendHolder(b, h)
	}
	b = binary.AppendUvarint(b, uint64(len(d.parts)))
	for _, p := range d.parts {
		b = binary.AppendUvarint(binary.AppendUvarint(b, p.first), p.seq)
	}
	return b
}

// appendHolder writes type 1 | view 1 | distinguisher 8 | BGP ID 4 | length of the address 1 | address | path ID, varint.
func appendHolder(b []byte, h holder) []byte {
	b = append(b, byte(h.peer.Type), byte(h.view))
	b = binary.BigEndian.AppendUint64(b, h.peer.Distinguisher)
	b = append(b, h.peer.BGPID[:]...)
	a := h.peer.Address.AsSlice()
	b = append(append(b, byte(len(a))), a...)
	return binary.AppendUvarint(b, uint64(h.path))
}

func (s *source) holder() (h holder) {
	if b := s.take(15); len(b) == 15 {
		h.peer.Type, h.view = bmp.PeerType(b[0]), bmp.View(b[1])
		h.peer.Distinguisher, h.peer.BGPID = binary.BigEndian.Uint64(b[2:]), [4]byte(b[10:])
		h.peer.Address, _ = netip.AddrFromSlice(s.take(uint64(b[14])))
	}
	h.path = uint32(s.uvarint())
	return h
}

// appendTable writes a holder and AFI 2 | SAFI 1, which name a table.
func appendTable(b []byte, h holder, f bgp.Family) []byte {
	return append(binary.BigEndian.AppendUint16(appendHolder(b, h), f.AFI), f.SAFI)
}

func parseTable(raw []byte) (h holder, f bgp.Family, ok bool) {
	s := source{b: raw}
	h = s.holder()
	b := s.take(3)
	if s.bad || len(b) < 3 {
		return h, f, false
	}
	return h, bgp.Family{AFI: binary.BigEndian.Uint16(b), SAFI: b[2]}, true
}

// read fills in what a stored directory says.
func (d *directory) read(payload []byte) error {
	raw, err := unpacked(payload)
	if err != nil {
		return err
	}
	s := source{b: raw}
	if b := s.take(8); len(b) == 8 {
		d.seed = binary.BigEndian.Uint64(b)
	}
	last := uint64(0)
	for n := s.uvarint(); n > 0 && !s.bad; n-- {
		last += s.uvarint()
		d.blocks = append(d.blocks, last)
	}
	for n := s.uvarint(); n > 0 && !s.bad; n-- {
		d.holders = append(d.holders, s.holder())
	}
	for n := s.uvarint(); n > 0 && !s.bad; n-- {
		d.parts = append(d.parts, keysPart{s.uvarint(), s.uvarint()})
	}
	if s.bad || len(s.b) > 0 {
		return errCut
	}
	return nil
}

// packed is the payload of a directory or a part: CRC-32C | s2. What would be unpacked of a damaged one might pass for a list.
func packed(b []byte) []byte {
	out := append(make([]byte, 4), s2.Encode(nil, b)...)
	binary.BigEndian.PutUint32(out, crc32.Checksum(out[4:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

func unpacked(b []byte) ([]byte, error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, errSum
	}
	b = b[4:]
	if n, err := s2.DecodedLen(b); err != nil || n > listMaxBytes {
		return nil, errCut
	}
	return s2.Decode(nil, b)
}

// errNoList says that a list is no longer kept.
var errNoList = errors.New("no list")

// errSum says that a message is not as it was stored.
var errSum = errors.New("wrong checksum")

// listError is that a message of a list was read and makes no sense.
type listError struct {
	seq uint64
	at  time.Time // when it was stored
	err error
}

func (e *listError) Error() string { return fmt.Sprintf("archive: list %d: %v", e.seq, e.err) }

// unreadable counts a list that cannot be read.
func (v *mentions) unreadable(station string, client uint32, e *listError) {
	v.corrupt = append(v.corrupt, Corrupt{"BMP_" + station + "_CHECKPOINT", e.seq, client, e.at, fmt.Errorf("list of routes: %w", e.err)})
}

// directory is a list's, cached.
func (c *catalog) directory(ctx context.Context, x *clientIndex, d *directory) (directory, error) {
	x.mu.Lock()
	whole, forgot := *d, x.forgot
	x.mu.Unlock()
	if whole.blocks != nil {
		return whole, nil
	}
	m, err := c.message(ctx, d.seq)
	if err != nil {
		return directory{}, err
	}
	if err := whole.read(m.Data); err != nil {
		return directory{}, &listError{d.seq, m.Time, err}
	}
	x.mu.Lock()
	if d.blocks == nil && x.forgot == forgot {
		*d = whole
		c.hold(d.size())
	}
	x.mu.Unlock()
	return whole, nil
}

func (c *catalog) message(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	l := lookup{st: c.a.stream(checkpointStream)}
	m, err := l.get(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errNoList
	}
	if err == errDamaged {
		return nil, &listError{seq, time.Time{}, err}
	}
	if err != nil {
		return nil, fmt.Errorf("archive: list %d: %w", seq, err)
	}
	return m, nil
}
