package engine

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"bmp/engine/client"
)

// fullDisk is a state file on a disk with room for so many bytes.
type fullDisk struct {
	stateFile
	room int
}

func (f *fullDisk) WriteString(s string) (int, error) {
	if len(s) <= f.room {
		f.room -= len(s)
		return f.stateFile.WriteString(s)
	}
	n, err := f.stateFile.WriteString(s[:f.room])
	f.room = 0
	return n, errors.Join(err, errors.New("no space left on device"))
}

// TestFullDiskLeavesAReadableState has a line cut short by a full disk, and another written once there is room again.
func TestFullDiskLeavesAReadableState(t *testing.T) {
	dir, start := t.TempDir(), time.Unix(1764460800, 123456789)
	s, _, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	router := func(name string) client.Identity {
		return client.Identity{Address: netip.MustParseAddr("10.1.0.1"), SysName: name}
	}
	disk := &fullDisk{stateFile: s.file, room: len(stateLine(1, knownSince(router("edge1"), start))) + 10}
	s.file = disk
	if id, err := s.NewID(router("edge1"), start); id != 1 || err != nil {
		t.Fatalf("ID %d, %v", id, err)
	}
	if id, err := s.NewID(router("edge2"), start); err == nil {
		t.Fatalf("ID %d on a full disk", id)
	}
	disk.room = 1 << 20
	if id, err := s.NewID(router("edge3"), start); id != 2 || err != nil {
		t.Fatalf("ID %d, %v", id, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, known, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(known) != 2 || known[1] != knownSince(router("edge1"), start) || known[2] != knownSince(router("edge3"), start) || s.next != 3 {
		t.Errorf("next %d, clients %v", s.next, known)
	}
}

// TestStateIsWrittenAnew has clients come and go until the file is long.
func TestStateIsWrittenAnew(t *testing.T) {
	dir, start := t.TempDir(), time.Unix(1764460800, 123456789)
	s, _, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	router := func(name string) client.Identity {
		return client.Identity{Netns: "blue", Address: netip.MustParseAddr("2001:db8::1"), SysName: name}
	}
	add := func(name string) uint32 {
		id, err := s.NewID(router(name), start)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	edge := add("edge1")
	if err := s.Renamed(edge, router("core1"), start); err != nil {
		t.Fatal(err)
	}
	size, most := s.size, int64(0)
	// Sessions that end and leave the client what it was write nothing.
	for range 10 {
		if err := s.Renamed(edge, router("core1"), start); err != nil || s.size != size {
			t.Fatalf("%d bytes after %d: %v", s.size, size, err)
		}
	}
	for range 20_000 {
		if err := s.Gone(add("guest")); err != nil {
			t.Fatal(err)
		}
		most = max(most, s.size)
		if s.size > stateSlack { // what the janitor does once a second
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	stay := add("edge2")
	if fi, err := os.Stat(s.path); err != nil || fi.Size() != s.size || most > 2*stateSlack || s.size > most {
		t.Errorf("%v, %v; %d bytes known, %d at most", fi, err, s.size, most)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, known, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(known) != 2 || known[edge] != knownSince(router("core1"), start) || known[stay] != knownSince(router("edge2"), start) || s.next != stay+1 {
		t.Errorf("next %d of %d, clients %v", s.next, stay, known)
	}
}
