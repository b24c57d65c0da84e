package archive

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// unkept remembers which blocks wait in memory alone, while storing fails and the spill has no room either: in a file that
// was given its room before, as far as the file system has such. So when a station ends then, in whatever way, the next one
// says what is missing, as a Gap of the run that lost it. It is used by the spill's goroutine, and by Close after that.
//
// What is written last stands in one of two places, which are written to in turns, so that one of them is always whole:
//
//	"bmpu" | CRC-32C of the rest of what is there 4 | counter 8 | how many 4 |
//	each: client 4 | run 8 | blocks, first and last number 16 | messages 8 | bytes 8 | first 8 | last 8
type unkept struct {
	f     *os.File // nil: there is none to write to
	said  bool     // it names some
	turn  uint64
	looks time.Time // when it was looked last
	buf   []byte
}

// unkeptBlocks are blocks of a client that follow each other, which are not kept.
type unkeptBlocks struct {
	run         int64
	first, last uint64
	Gap
}

const (
	unkeptMagic  = "bmpu"
	unkeptHeader = 20
	unkeptEntry  = 60
	unkeptMost   = 1 << 13 // of more it knows nothing
	unkeptPlace  = unkeptHeader + unkeptEntry*unkeptMost
	unkeptEvery  = 250 * time.Millisecond
)

// open opens or makes the file, and returns what an earlier run had to give up.
func (u *unkept) open(dir string) (list []unkeptBlocks, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "unkept"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	b := make([]byte, 2*unkeptPlace)
	n, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(b))), b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.Close()
		return nil, fmt.Errorf("archive: %w", err)
	}
	for at := 0; at < n; at += unkeptPlace {
		if turn, found, ok := parseUnkept(b[at:min(n, at+unkeptPlace)]); ok && turn >= u.turn {
			u.turn, list = turn, found
		}
	}
	u.said = len(list) > 0
	if n < len(b) {
		if _, err := f.WriteAt(b[n:], int64(n)); err != nil {
			f.Close()
			return nil, fmt.Errorf("archive: %w", err)
		}
	}
	u.f = f
	return list, nil
}

// parseUnkept reads what one of the places says; not ok where that makes no sense.
func parseUnkept(b []byte) (turn uint64, list []unkeptBlocks, ok bool) {
	if len(b) < unkeptHeader || string(b[:4]) != unkeptMagic {
		return 0, nil, false
	}
	n := binary.BigEndian.Uint32(b[16:])
	if n > unkeptMost || len(b) < unkeptHeader+int(n)*unkeptEntry ||
		crc32.Checksum(b[8:unkeptHeader+int(n)*unkeptEntry], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return 0, nil, false
	}
	turn = binary.BigEndian.Uint64(b[8:])
	for b = b[unkeptHeader:]; n > 0; n, b = n-1, b[unkeptEntry:] {
		at := func(i int) uint64 { return binary.BigEndian.Uint64(b[i:]) }
		list = append(list, unkeptBlocks{int64(at(4)), at(12), at(20), Gap{
			Client: binary.BigEndian.Uint32(b), Messages: at(28), Bytes: at(36), From: time.Unix(0, int64(at(44))), To: time.Unix(0, int64(at(52))),
		}})
	}
	return turn, list, true
}

// errUnkeptMany is that not all is remembered.
var errUnkeptMany = errors.New("there is too much to be remembered")

// remember writes what there is to be remembered, or that there is nothing.
func (u *unkept) remember(list []unkeptBlocks) error {
	if u.f == nil || len(list) == 0 && !u.said {
		return nil
	}
	more := len(list) > unkeptMost
	u.turn++
	b := append(u.buf[:0], unkeptMagic...)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, u.turn)
	list = list[:min(len(list), unkeptMost)]
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	for _, g := range list {
		b = binary.BigEndian.AppendUint32(b, g.Client)
		for _, v := range []uint64{uint64(g.run), g.first, g.last, g.Messages, g.Bytes, uint64(g.From.UnixNano()), uint64(g.To.UnixNano())} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	u.buf = b
	_, err := u.f.WriteAt(b, int64(u.turn%2)*unkeptPlace)
	u.said = err != nil || len(list) > 0
	if err == nil && more {
		return errUnkeptMany
	}
	return err
}

func (u *unkept) close() {
	if u.f != nil {
		u.f.Close()
	}
}

// inMemoryAlone is what would be lost of some clients if the process ended now, but for messages in blocks that are open, or wait
// for less than spillAfter. It is in the order of clients, of each in that of its blocks.
func inMemoryAlone(clients []*Appender, now time.Time) (list []unkeptBlocks) {
	for _, p := range clients {
		list = append(list, p.inMemoryAlone(now)...)
	}
	return mergeUnkept(list)
}

// unsettled are the clients that have something that is not stored, or a gap.
func (a *Archive) unsettled() []*Appender {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := make(map[*Appender]struct{}, len(a.busy)+len(a.gapped)+len(a.open))
	for p := range a.busy {
		of[p] = struct{}{}
	}
	for p := range a.gapped {
		of[p] = struct{}{}
	}
	for _, o := range a.open {
		of[o.p] = struct{}{}
	}
	return slices.Collect(maps.Keys(of))
}

func (p *Appender) inMemoryAlone(now time.Time) (list []unkeptBlocks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.sealed {
		if w.place == 0 {
			list = p.unkeptOf(list, w, now.Sub(w.at) >= spillAfter)
		}
	}
	if g := p.before; g != nil {
		list = append(list, unkeptBlocks{p.a.run, p.number, p.number, p.of(*g)})
	}
	if p.gap.Messages > 0 {
		list = append(list, unkeptBlocks{p.a.run, p.number + 1, p.number + 1, p.of(p.gap)})
	}
	return list
}

// unkeptOf adds what is lost with a block: before it, and of what is in it, too, with content.
func (p *Appender) unkeptOf(list []unkeptBlocks, w *sealed, content bool) []unkeptBlocks {
	if w.gap != nil {
		list = append(list, unkeptBlocks{w.of(p.a), w.number, max(w.number, w.upTo), p.of(*w.gap)})
	}
	if w.count > 0 && content {
		list = append(list, unkeptBlocks{w.of(p.a), w.number, w.number, Gap{
			Client: p.id, Messages: uint64(w.count), Bytes: uint64(w.raw), From: time.Unix(0, w.first), To: time.Unix(0, w.last)}})
	}
	return list
}

// of is a gap of the client.
func (p *Appender) of(g Gap) Gap {
	g.Client, g.Open = p.id, false
	return g
}

// mergeUnkept puts a list in order, and makes one of those that follow each other.
func mergeUnkept(list []unkeptBlocks) []unkeptBlocks {
	slices.SortStableFunc(list, func(a, b unkeptBlocks) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.run, b.run), cmp.Compare(a.first, b.first))
	})
	kept := list[:0]
	for _, x := range list {
		if n := len(kept); n > 0 && kept[n-1].Client == x.Client && kept[n-1].run == x.run && x.first <= kept[n-1].last+1 {
			kept[n-1].last = max(kept[n-1].last, x.last)
			kept[n-1].add(&x.Gap)
			continue
		}
		kept = append(kept, x)
	}
	return kept
}

// knownUntil is up to when all that came of clients, which are those that are unsettled, is stored, or on the disk, or in
// inMemoryAlone of the same now.
func knownUntil(clients []*Appender, now time.Time) time.Time {
	until := now
	for _, p := range clients {
		p.mu.Lock()
		if p.count > 0 {
			until = earlier(until, time.Unix(0, p.first))
		}
		for _, w := range p.sealed {
			if w.place == 0 && w.count > 0 && now.Sub(w.at) < spillAfter {
				until = earlier(until, time.Unix(0, w.first))
			}
		}
		p.mu.Unlock()
	}
	return until
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// add makes one gap of two.
func (g *Gap) add(more *Gap) {
	if g.Messages == 0 || more.From.Before(g.From) {
		g.From = more.From
	}
	if g.Messages == 0 || more.To.After(g.To) {
		g.To = more.To
	}
	g.Messages += more.Messages
	g.Bytes += more.Bytes
}
