package archive

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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
	unkeptEvery  = time.Second
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

// remember writes what there is to be remembered, or that there is nothing.
func (u *unkept) remember(list []unkeptBlocks) error {
	if u.f == nil || len(list) == 0 && !u.said {
		return nil
	}
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
	return err
}

func (u *unkept) close() {
	if u.f != nil {
		u.f.Close()
	}
}

// inMemoryAlone is what would be lost if the process ended now, but for messages in blocks that are open, and, with young
// false, in those that wait for less than spillAfter. It is in the order of clients, of each in that of its blocks.
func (a *Archive) inMemoryAlone(now time.Time, young bool) (list []unkeptBlocks) {
	a.mu.Lock()
	of := make(map[*Appender]struct{}, len(a.busy)+len(a.gapped))
	for p := range a.busy {
		of[p] = struct{}{}
	}
	for p := range a.gapped {
		of[p] = struct{}{}
	}
	a.mu.Unlock()
	for p := range of {
		list = append(list, p.inMemoryAlone(now, young)...)
	}
	slices.SortStableFunc(list, func(a, b unkeptBlocks) int { return cmp.Compare(a.Client, b.Client) })
	return list
}

func (p *Appender) inMemoryAlone(now time.Time, young bool) (list []unkeptBlocks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add := func(run int64, first, last uint64, g *Gap) {
		if n := len(list); n == 0 || list[n-1].run != run || first > list[n-1].last+1 {
			list = append(list, unkeptBlocks{run: run, first: first, Gap: Gap{Client: p.id}})
		}
		x := &list[len(list)-1]
		x.last = last
		x.add(g)
	}
	for _, w := range p.sealed {
		if w.place > 0 {
			continue
		}
		if w.gap != nil {
			add(w.of(p.a), w.number, max(w.number, w.upTo), w.gap)
		}
		if w.count > 0 && (young || now.Sub(w.at) >= spillAfter) {
			add(w.of(p.a), w.number, w.number, w.content())
		}
	}
	if g := p.before; g != nil {
		add(p.a.run, p.number, p.number, g)
	}
	if p.gap.Messages > 0 {
		add(p.a.run, p.number+1, p.number+1, &p.gap)
	}
	return list
}

// content is what is lost with the block.
func (w *sealed) content() *Gap {
	g := &Gap{Messages: uint64(w.count)}
	var r record
	for b, ok := w.buf, true; len(b) > 0; {
		if b, ok = nextRecord(b, &r); !ok {
			break
		}
		at := time.Unix(0, r.arrival)
		if g.From.IsZero() {
			g.From = at
		}
		g.To = at
		g.Bytes += uint64(len(r.raw))
	}
	return g
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
