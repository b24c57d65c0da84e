package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// unkept remembers of which clients messages wait that are in memory alone, while storing fails and the spill has no room
// either: in a file that was given its room before. So when a station ends then, in whatever way, the next one says what
// is missing, as a Gap. It is used by the spill's goroutine, and by Close after that.
//
//	"bmpu" | CRC-32C of the rest of what is there 4 | how many 4 | each: client 4 | messages 8 | bytes 8 | first 8 | last 8
type unkept struct {
	f    *os.File // nil: there is none to write to
	said bool     // it names some
	at   time.Time
	buf  []byte
}

const (
	unkeptMagic   = "bmpu"
	unkeptHeader  = 12
	unkeptEntry   = 36
	unkeptClients = 1 << 14 // of more it knows nothing
	unkeptEvery   = time.Second
)

// open opens or makes the file, and returns what an earlier run had to give up.
func (u *unkept) open(dir string) (gaps []Gap, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "unkept"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	b := make([]byte, unkeptHeader+unkeptEntry*unkeptClients)
	n, _ := f.ReadAt(b, 0)
	gaps = parseUnkept(b[:n])
	u.said = len(gaps) > 0
	if n < len(b) {
		if _, err := f.WriteAt(b[n:], int64(n)); err != nil {
			f.Close()
			return nil, fmt.Errorf("archive: %w", err)
		}
	}
	u.f = f
	return gaps, nil
}

// parseUnkept reads what the file says; nil where that makes no sense.
func parseUnkept(b []byte) (gaps []Gap) {
	if len(b) < unkeptHeader || string(b[:4]) != unkeptMagic {
		return nil
	}
	n := int(binary.BigEndian.Uint32(b[8:]))
	if n > unkeptClients || len(b) < unkeptHeader+n*unkeptEntry ||
		crc32.Checksum(b[8:unkeptHeader+n*unkeptEntry], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil
	}
	for b = b[unkeptHeader:]; n > 0; n, b = n-1, b[unkeptEntry:] {
		gaps = append(gaps, Gap{
			Client: binary.BigEndian.Uint32(b), Messages: binary.BigEndian.Uint64(b[4:]), Bytes: binary.BigEndian.Uint64(b[12:]),
			From: time.Unix(0, int64(binary.BigEndian.Uint64(b[20:]))), To: time.Unix(0, int64(binary.BigEndian.Uint64(b[28:]))),
		})
	}
	return gaps
}

// remember writes what there is to be remembered, or that there is nothing.
func (u *unkept) remember(gaps []Gap) error {
	if u.f == nil || len(gaps) == 0 && !u.said {
		return nil
	}
	b := append(u.buf[:0], unkeptMagic...)
	b = append(b, 0, 0, 0, 0)
	gaps = gaps[:min(len(gaps), unkeptClients)]
	b = binary.BigEndian.AppendUint32(b, uint32(len(gaps)))
	for _, g := range gaps {
		b = binary.BigEndian.AppendUint32(b, g.Client)
		for _, v := range []uint64{g.Messages, g.Bytes, uint64(g.From.UnixNano()), uint64(g.To.UnixNano())} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	u.buf = b
	_, err := u.f.WriteAt(b, 0)
	u.said = err != nil || len(gaps) > 0
	return err
}

func (u *unkept) close() {
	if u.f != nil {
		u.f.Close()
	}
}

// inMemoryAlone is what would be lost if the process ended now, but for messages in blocks that are open, or that wait for
// less than spillAfter.
func (a *Archive) inMemoryAlone(now time.Time) (gaps []Gap) {
	a.mu.Lock()
	list := make(map[*Appender]struct{}, len(a.busy)+len(a.gapped))
	for p := range a.busy {
		list[p] = struct{}{}
	}
	for p := range a.gapped {
		list[p] = struct{}{}
	}
	a.mu.Unlock()
	for p := range list {
		if g := p.inMemoryAlone(now); g.Messages > 0 {
			gaps = append(gaps, g)
		}
	}
	slices.SortFunc(gaps, func(a, b Gap) int { return int(a.Client) - int(b.Client) })
	return gaps
}

func (p *Appender) inMemoryAlone(now time.Time) Gap {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := Gap{Client: p.id}
	for _, w := range p.sealed {
		if w.place > 0 || w.count > 0 && now.Sub(w.at) < spillAfter {
			continue
		}
		if w.gap != nil {
			all.add(w.gap)
		}
		if w.count > 0 {
			all.add(&Gap{Messages: uint64(w.count), Bytes: uint64(len(w.buf) - w.count*recordHeader), From: w.opened, To: w.at})
		}
	}
	for _, g := range []*Gap{p.before, &p.gap} {
		if g != nil && g.Messages > 0 {
			all.add(g)
		}
	}
	return all
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
