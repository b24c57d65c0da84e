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
	"sync"
	"time"
)

// spill keeps the blocks that have to wait where a killed process leaves them: in the page cache, by way of some files
// beside the embedded server's, which are filled in turn. While storing keeps up, nothing is written here; when it does not, each block that has
// waited for spillAfter is appended to one of the files as it is, unpacked. A file all blocks of which are stored is cut to
// nothing; what the next run finds it stores first. With all files full, no room on the disk, or a disk that does not
// follow for spillPatience, blocks wait in memory alone.
//
//	"bmpw" | CRC-32C of the rest 4 | length of the block 4 | client 4 | run 8 | number 8 | records 4 | flags 1 |
//	gap before it: messages 8, bytes 8, from 8, to 8 | block
type spill struct {
	a     *Archive
	files [spillFiles]*spillFile // nil: there are none to write to
	now   int                    // the one that is filled
	buf   []byte
	runs  bool // run was started
	rest  unkept
	alive *os.File

	mu   sync.Mutex // guards live of the files
	stop chan struct{}
	done chan struct{}
}

type spillFile struct {
	f    *os.File
	size int64
	live int // blocks in it that are not stored
}

const (
	spillFiles    = 8 // each of a quarter of what the queue may hold
	spillAfter    = 100 * time.Millisecond
	spillTick     = 50 * time.Millisecond
	spillPatience = 10 * time.Second
	spillHeader   = 4 + 4 + 4 + 4 + 8 + 8 + 4 + 1 + 32
	spillMagic    = "bmpw"
)

// Flags of a spilled block.
const (
	spilledBack = 1 << iota
	spilledFull
)

// open opens the files of the folder and queues what an earlier run left in them. An archive in a cluster has none.
func (s *spill) open() error {
	a := s.a
	if a.o.Dir == "" {
		return nil
	}
	for i := range s.files {
		f, err := os.OpenFile(filepath.Join(a.o.Dir, fmt.Sprintf("waiting.%d", i)), os.O_RDWR|os.O_CREATE, 0o640)
		if err != nil {
			s.closeFiles()
			return fmt.Errorf("archive: %w", err)
		}
		s.files[i] = &spillFile{f: f}
	}
	for i, x := range s.files {
		if err := s.recover(i, x); err != nil {
			s.closeFiles()
			return err
		}
	}
	rest, err := s.rest.open(a.o.Dir)
	if err == nil {
		if s.alive, err = os.OpenFile(filepath.Join(a.o.Dir, aliveFile), os.O_WRONLY|os.O_CREATE, 0o640); err != nil {
			err = fmt.Errorf("archive: %w", err)
		}
	}
	if err != nil {
		s.closeFiles()
		return err
	}
	for _, g := range rest {
		p := a.Client(g.Client)
		for slices.ContainsFunc(p.sealed, func(w *sealed) bool { return w.run == g.run && w.number == g.first }) {
			g.first++ // it was spilled since
		}
		if g.first > g.last {
			continue
		}
		p.sealed = append(p.sealed, &sealed{run: g.run, number: g.first, upTo: g.last, gap: &g.Gap, at: time.Now()})
	}
	for _, p := range a.appenders {
		p.takeSpilled()
	}
	s.runs = true
	go s.run()
	return nil
}

// recover queues the blocks of a file. One that is not whole ends it: the process was killed while it wrote.
func (s *spill) recover(place int, x *spillFile) (err error) {
	st, err := x.f.Stat()
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	r := io.NewSectionReader(x.f, 0, st.Size())
	defer func() {
		// Blocks are to stand behind whole ones, or the next run would not find them.
		if rest := st.Size() - x.size; rest > 0 && err == nil {
			if err = x.f.Truncate(x.size); err != nil {
				err = fmt.Errorf("archive: %w", err)
			} else if s.a.o.OnNote != nil {
				s.a.o.OnNote(fmt.Sprintf("%d bytes at the end of %s are no whole block, they are left out", rest, x.f.Name()))
			}
		}
	}()
	var h [spillHeader]byte
	for {
		if _, err := io.ReadFull(r, h[:]); err != nil || string(h[:4]) != spillMagic {
			return nil
		}
		n := int(binary.BigEndian.Uint32(h[8:]))
		if n > maxRaw+blockBytes {
			return nil
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil
		}
		if crc32.Update(crc32.Checksum(h[8:], castagnoli), castagnoli, b) != binary.BigEndian.Uint32(h[4:]) {
			return nil
		}
		w := &sealed{
			buf: b, count: int(binary.BigEndian.Uint32(h[32:])), run: int64(binary.BigEndian.Uint64(h[16:])), number: binary.BigEndian.Uint64(h[24:]),
			back: h[36]&spilledBack != 0, full: h[36]&spilledFull != 0, at: time.Now(), place: place + 1,
		}
		if !w.measure() {
			return nil
		}
		client := binary.BigEndian.Uint32(h[12:])
		if g := h[37:]; binary.BigEndian.Uint64(g) > 0 {
			w.gap = &Gap{Client: client, Messages: binary.BigEndian.Uint64(g), Bytes: binary.BigEndian.Uint64(g[8:]),
				From: time.Unix(0, int64(binary.BigEndian.Uint64(g[16:]))), To: time.Unix(0, int64(binary.BigEndian.Uint64(g[24:])))}
		}
		p := s.a.Client(client)
		p.sealed = append(p.sealed, w)
		x.live++
		x.size += int64(len(h) + n)
	}
}

// measure works out what is known of a block that was made here, and is false where it is no whole records.
func (w *sealed) measure() bool {
	var r record
	for b, ok := w.buf, true; len(b) > 0; {
		if b, ok = nextRecord(b, &r); !ok {
			return false
		}
		if w.raw == 0 && w.first == 0 {
			w.first = r.arrival
		}
		w.last = r.arrival
		w.raw += len(r.raw)
	}
	return true
}

// run looks after what waits.
func (s *spill) run() {
	defer close(s.done)
	t := time.NewTicker(spillTick)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-t.C:
			s.tidy()
			clock := s.a.o.now() // before: what comes meanwhile is not looked at
			if s.a.sealedCount.Load() > 0 {
				s.keep(now)
			}
			if now.Sub(s.rest.looks) >= unkeptEvery {
				s.rest.looks = now
				list := s.a.unsettled()
				until := earlier(clock, knownUntil(list, now))
				if s.rest.remember(inMemoryAlone(list, now)) == nil { // an error is that of the disk, which is told
					s.live(until.Add(-aliveSpare))
				}
			}
		}
	}
}

// live says that the station is alive, and what came until then known.
func (s *spill) live(until time.Time) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(until.UnixNano()))
	s.alive.WriteAt(b[:], 0) // an error is that of the disk, which is told
}

// tidy empties files of which everything is stored.
func (s *spill) tidy() {
	for _, x := range s.files {
		s.mu.Lock()
		empty := x.live == 0 && x.size > 0
		s.mu.Unlock()
		if empty && x.f.Truncate(0) == nil { // only this goroutine adds blocks
			x.size = 0
		}
	}
}

// keep writes the blocks that wait for longer than spillAfter.
func (s *spill) keep(now time.Time) {
	for _, p := range s.a.waiting() {
		for {
			w := p.toSpill(now)
			if w == nil {
				break
			}
			place, err := s.write(p.id, w)
			p.spilled(w, place)
			if err != nil {
				return // the disk is full, or there is no more room here: they wait in memory
			}
		}
	}
}

var errSpillFull = errors.New("no room for more blocks")

// write appends a block to a file; place is its number, from 1.
func (s *spill) write(client uint32, w *sealed) (place int, err error) {
	limit := max(s.a.o.QueueBytes/4, 1<<20)
	x := s.files[s.now]
	if x.size >= limit {
		next := (s.now + 1) % spillFiles
		if s.files[next].size > 0 {
			return 0, errSpillFull
		}
		s.now, x = next, s.files[next]
	}
	if err := s.a.store.room(uint64(limit)); err != nil {
		return 0, err
	}
	h := append(s.buf[:0], spillMagic...)
	h = append(h, 0, 0, 0, 0)
	h = binary.BigEndian.AppendUint32(h, uint32(len(w.buf)))
	h = binary.BigEndian.AppendUint32(h, client)
	h = binary.BigEndian.AppendUint64(h, uint64(w.of(s.a)))
	h = binary.BigEndian.AppendUint64(h, w.number)
	h = binary.BigEndian.AppendUint32(h, uint32(w.count))
	flags := byte(0)
	if w.back {
		flags |= spilledBack
	}
	if w.full {
		flags |= spilledFull
	}
	h = append(h, flags)
	var g Gap
	if w.gap != nil {
		g = *w.gap
	} else {
		g.From, g.To = time.Unix(0, 0), time.Unix(0, 0)
	}
	for _, v := range []uint64{g.Messages, g.Bytes, uint64(g.From.UnixNano()), uint64(g.To.UnixNano())} {
		h = binary.BigEndian.AppendUint64(h, v)
	}
	h = append(h, w.buf...)
	binary.BigEndian.PutUint32(h[4:], crc32.Checksum(h[8:], castagnoli))
	s.buf = h
	if cap(s.buf) > 4*blockBytes {
		s.buf = nil
	}
	if _, err := x.f.WriteAt(h, x.size); err != nil {
		return 0, err
	}
	x.size += int64(len(h))
	s.mu.Lock()
	x.live++
	s.mu.Unlock()
	return s.now + 1, nil
}

// stored says that a block of a file has been stored, or was given up.
func (s *spill) stored(place int) {
	s.mu.Lock()
	s.files[place-1].live--
	s.mu.Unlock()
}

// end has nothing more spilled.
func (s *spill) end() {
	if s.runs {
		s.runs = false
		close(s.stop)
		<-s.done
	}
}

// close ends the spill. What is given up is remembered.
func (s *spill) close(lost []unkeptBlocks) {
	s.end()
	s.rest.remember(lost)
	s.closeFiles()
}

// closeFiles closes the files. Those of which everything is stored are removed.
func (s *spill) closeFiles() {
	s.rest.close()
	if s.alive != nil {
		s.alive.Close()
	}
	for _, x := range s.files {
		if x == nil {
			continue
		}
		if x.live == 0 {
			os.Remove(x.f.Name())
		}
		x.f.Close()
	}
}

// waiting are the clients with blocks that wait to be stored.
func (a *Archive) waiting() []*Appender {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*Appender, 0, len(a.busy))
	for p := range a.busy {
		out = append(out, p)
	}
	return out
}

// of is the run that a block is of.
func (w *sealed) of(a *Archive) int64 {
	if w.run != 0 {
		return w.run
	}
	return a.run
}

// toSpill is the next block that has waited for long enough; nil for none. The block's buffer stays until spilled is called.
func (p *Appender) toSpill(now time.Time) *sealed {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.sealed {
		if age := now.Sub(w.at); w.place == 0 && w.upTo == 0 && age >= spillAfter && age < spillPatience {
			w.spilling = true
			return w
		}
	}
	return nil
}

// spilled says where a block was written; place 0: nowhere.
func (p *Appender) spilled(w *sealed, place int) {
	p.mu.Lock()
	w.spilling = false
	w.place = place
	stored := w.stored
	p.mu.Unlock()
	if stored {
		p.a.release(w)
	}
}

// release lets go of a block that was stored or given up.
func (a *Archive) release(w *sealed) {
	if w.place > 0 && !w.left {
		a.spill.stored(w.place)
	}
	if w.buf != nil && w.run == 0 {
		a.recycle(w.buf)
	}
}

// takeSpilled puts the blocks of earlier runs in order, without those that are there twice, and has them stored.
func (p *Appender) takeSpilled() {
	slices.SortStableFunc(p.sealed, func(v, w *sealed) int { return cmp.Or(cmp.Compare(v.run, w.run), cmp.Compare(v.number, w.number)) })
	p.sealed = slices.CompactFunc(p.sealed, func(v, w *sealed) bool {
		if v.run != w.run || v.number != w.number {
			return false
		}
		if w.place > 0 {
			p.a.spill.stored(w.place)
		}
		return true
	})
	if len(p.sealed) == 0 {
		return
	}
	p.a.sealedCount.Add(int64(len(p.sealed)))
	p.busy = true
	p.a.push(p)
}
