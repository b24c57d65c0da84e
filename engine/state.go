package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bmp/engine/client"
)

// State is the file in the state folder that says which client IDs were given, and to whom. It is text, one change a
// line:
//
//	bmp clients 1
//	next 8                                               no ID below 8 is free
//	client 3 "" "" 10.1.0.1 "edge1.ams" 1764460800123    ID, namespace, VRF device, address, sysName, when it got the ID
//	gone 3
//
// The time is in Unix milliseconds; older files lack it.
//
// A line is written before its ID is used. It reaches the disk within about a second (Sync): a killed station loses
// none, a power cut at most those of the last second. A line that a full disk cut short is taken back before the next
// is written: with another behind it, nobody could read the file again.
//
// It grows with every new client, and is written anew without what is over (Sync) when it has become so much longer
// than it need be that this costs little.
type State struct {
	mu    sync.Mutex
	path  string
	file  stateFile // nil without a state folder
	size  int64     // of the whole lines in it
	least int64     // size when it was last written anew
	torn  bool      // there is more in it than those
	next  uint32
	known map[uint32]Known // what a reader of the file would know
	dirty bool
}

// Known is a client that can come back.
type Known struct {
	client.Identity
	First time.Time // when it got its ID, to the millisecond; zero where the file does not say
}

// The file is written anew when it has stateTimesLeast times the size it had when that was last done, and stateSlack more.
const (
	stateTimesLeast = 2
	stateSlack      = 256 << 10
)

// stateFile is the part of an *os.File that is used, so that a test can make it fail.
type stateFile interface {
	WriteString(s string) (n int, err error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// stateVersion is the first line of the file.
const stateVersion = "bmp clients 1"

// OpenState reads the file in dir, writes it anew without what is over, and returns the clients that can come back. An
// empty dir keeps nothing. A file of which a line cannot be read is an error: an ID could be given twice.
func OpenState(dir string) (*State, map[uint32]Known, error) {
	s := &State{next: 1, known: make(map[uint32]Known)}
	if dir == "" {
		return s, map[uint32]Known{}, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, nil, fmt.Errorf("state folder: %w", err)
	}
	s.path = filepath.Join(dir, "clients")
	text, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, nil, fmt.Errorf("state folder: %w", err)
	default:
		if err := s.read(text); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", s.path, err)
		}
	}
	if err := s.compact(); err != nil {
		// A full disk is no reason not to start: the old file is written on when there is room.
		if !errors.Is(err, syscall.ENOSPC) || s.writeOn() != nil {
			return nil, nil, fmt.Errorf("state folder: %w", err)
		}
	}
	return s, maps.Clone(s.known), nil
}

// writeOn opens the file that is there.
func (s *State) writeOn() error {
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	s.file, s.size, s.least = f, st.Size(), st.Size()
	return nil
}

// compact writes the file anew without what is over. A new file takes the old one's place whole: there is a readable
// one at every moment, and after an error it is the old one that is written on.
func (s *State) compact() error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nnext %d\n", stateVersion, s.next)
	for id, k := range s.known {
		b.WriteString(stateLine(id, k))
	}
	temp := s.path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if _, err = f.Write(b.Bytes()); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, s.path)
	}
	if err != nil {
		f.Close()
		return err
	}
	if s.file != nil {
		s.file.Close() // all that was in it is in the new one
	}
	s.file, s.size, s.torn, s.dirty = f, int64(b.Len()), false, false
	s.least = s.size
	return nil
}

// stateLine is written for each session that begins, in its goroutine: package fmt would need a deeper stack, which each of
// them kept.
func stateLine(id uint32, i Known) string {
	b := strconv.AppendUint(append(make([]byte, 0, 128), "client "...), uint64(id), 10)
	b = strconv.AppendQuote(append(b, ' '), i.Netns)
	b = strconv.AppendQuote(append(b, ' '), i.VRF)
	b = append(append(b, ' '), i.Address.String()...)
	b = strconv.AppendQuote(append(b, ' '), i.SysName)
	if !i.First.IsZero() {
		b = strconv.AppendInt(append(b, ' '), i.First.UnixMilli(), 10)
	}
	return string(append(b, '\n'))
}

func (s *State) read(text []byte) error {
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(nil, 1<<20)
	whole := len(text) > 0 && text[len(text)-1] == '\n'
	lines := strings.Count(string(text), "\n")
	for n := 1; sc.Scan(); n++ {
		if n > lines && !whole {
			break // cut by a power failure while it was written; its ID was not used then, or is not known to anybody
		}
		if n == 1 {
			if sc.Text() != stateVersion {
				return fmt.Errorf("line 1: %q, not %q", sc.Text(), stateVersion)
			}
			continue
		}
		if err := s.readLine(sc.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return sc.Err()
}

func (s *State) readLine(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	number, rest, _ := strings.Cut(rest, " ")
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not an ID", number)
	}
	switch word {
	case "next":
		s.next = max(s.next, uint32(id))
		return nil
	case "gone":
		delete(s.known, uint32(id))
		return nil
	case "client":
	default:
		return fmt.Errorf("%q is not known", word)
	}
	var k Known
	var addr, first string
	for _, f := range []*string{&k.Netns, &k.VRF, &addr, &k.SysName, &first} {
		var field string
		if field, rest, err = cutField(rest); err != nil {
			return err
		}
		*f = field
	}
	if k.Address, err = netip.ParseAddr(addr); err != nil {
		return err
	}
	if first != "" {
		ms, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a time", first)
		}
		k.First = time.UnixMilli(ms)
	}
	s.next = max(s.next, uint32(id)+1)
	if k.SysName != "" { // without a name nobody can come back as this client
		s.known[uint32(id)] = k
	}
	return nil
}

// cutField takes a word or a quoted string off the front.
func cutField(s string) (field, rest string, err error) {
	s = strings.TrimLeft(s, " ")
	if !strings.HasPrefix(s, `"`) {
		field, rest, _ = strings.Cut(s, " ")
		return field, rest, nil
	}
	q, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", fmt.Errorf("quoted string: %w", err)
	}
	field, err = strconv.Unquote(q)
	return field, s[len(q):], err
}

// NewID gives an ID that was never given before.
func (s *State) NewID(i client.Identity, now time.Time) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, k := s.next, knownSince(i, now)
	if err := s.write(stateLine(id, k)); err != nil {
		return 0, err
	}
	s.next++
	s.know(id, k)
	return id, nil
}

// Given says that an ID was given once, by an earlier run perhaps. It is not given again.
func (s *State) Given(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return id < s.next
}

func knownSince(i client.Identity, first time.Time) Known {
	return Known{i, time.UnixMilli(first.UnixMilli())}
}

// know is what reading the line of a client does.
func (s *State) know(id uint32, k Known) {
	if s.file != nil && k.SysName != "" {
		s.known[id] = k
	}
}

// Renamed says what identity a client is known by now, if that is another one, and since when it has had its ID.
func (s *State) Renamed(id uint32, i client.Identity, first time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := knownSince(i, first)
	if s.known[id] == k {
		return nil
	}
	if err := s.write(stateLine(id, k)); err != nil {
		return err
	}
	s.know(id, k)
	return nil
}

// Gone says that a client will not come back.
func (s *State) Gone(id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(fmt.Sprintf("gone %d\n", id)); err != nil {
		return err
	}
	delete(s.known, id)
	return nil
}

func (s *State) write(line string) error {
	if s.file == nil {
		return nil
	}
	if s.torn {
		if err := s.file.Truncate(s.size); err != nil {
			return err
		}
		s.torn = false
	}
	s.dirty = true
	n, err := s.file.WriteString(line)
	if err != nil {
		s.torn = n > 0
		return err
	}
	s.size += int64(n)
	return nil
}

// Sync brings what was written to the disk, and writes a file anew that has become long. One goroutine may call it.
func (s *State) Sync() error {
	s.mu.Lock()
	if s.file != nil && s.size > stateTimesLeast*s.least+stateSlack {
		defer s.mu.Unlock()
		s.least = s.size // where this fails, the next try comes when it has grown by as much again
		return s.compact()
	}
	f, dirty := s.file, s.dirty
	s.dirty = false
	s.mu.Unlock()
	if f == nil || !dirty {
		return nil
	}
	return f.Sync()
}

// Close syncs and closes the file.
func (s *State) Close() error {
	err := s.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}
