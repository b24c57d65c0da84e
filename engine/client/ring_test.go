package client

import (
	"bytes"
	"fmt"
	"testing"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
)

func newRing(b *Budget) *ring {
	r := &ring{budget: b}
	b.add(r)
	return r
}

func (r *ring) put(i, size int) {
	raw := bytes.Repeat([]byte{byte(i)}, size)
	r.append(&entry{
		time: int64(i), offset: int64(2 * i), addPath: bgp.AddPathSet(i), peer: uint32(i), typ: bmp.PeerUpType, view: bmp.AdjOutPre,
		flags: entryAS4, version: 3, profile: bmp.ProfileEditors, session: uint16(i), raw: raw,
	})
}

func (r *ring) all() (out []entry) {
	spans := r.pin()
	defer r.release(spans)
	for _, s := range spans {
		b := s.buf
		for range s.count {
			var e entry
			e, b = decodeEntry(b)
			e.raw = bytes.Clone(e.raw)
			out = append(out, e)
		}
	}
	return out
}

func TestRingGivesBackWhatWasKept(t *testing.T) {
	r := newRing(new(Budget))
	for i := range 500 {
		r.put(i, 100+i*7%1000)
	}
	for i, e := range r.all() {
		want := entry{
			time: int64(i), offset: int64(2 * i), addPath: bgp.AddPathSet(i), peer: uint32(i), typ: bmp.PeerUpType,
			view: bmp.AdjOutPre, flags: entryAS4, version: 3, profile: bmp.ProfileEditors, session: uint16(i),
			raw: bytes.Repeat([]byte{byte(i)}, 100+i*7%1000),
		}
		if fmt.Sprint(e) != fmt.Sprint(want) {
			t.Fatalf("entry %d: %v", i, e)
		}
	}
	if n := len(r.all()); n != 500 {
		t.Errorf("%d entries", n)
	}
}

func TestRingIsBoundedByCountAndBytes(t *testing.T) {
	r := newRing(new(Budget))
	for i := range 30_000 {
		r.put(i, 60)
	}
	if i := r.info(); i.Kept != ringMessages || i.Dropped != 20_000 {
		t.Errorf("%+v", i)
	}
	for i := range 100 {
		r.put(i, 1<<20)
	}
	if i := r.info(); i.Bytes > ringBytes || i.Kept < 14 {
		t.Errorf("%+v", i)
	}
	if n := r.clear(); n < 14 || r.budget.Used() != 0 || len(r.all()) != 0 {
		t.Errorf("%d cleared, %d bytes are accounted for", n, r.budget.Used())
	}
}

// A chunk that somebody reads is not written to again.
func TestPinnedChunksStay(t *testing.T) {
	r := newRing(new(Budget))
	for i := range 100 {
		r.put(i, 60)
	}
	spans := r.pin()
	before := bytes.Clone(spans[0].buf)
	for i := range 60_000 {
		r.put(i+1000, 60)
	}
	if !bytes.Equal(spans[0].buf, before) {
		t.Error("a pinned chunk was overwritten")
	}
	r.release(spans)
}

func TestTheLongestRingIsCutFirst(t *testing.T) {
	b := &Budget{Limit: 1 << 20}
	short, long := newRing(b), newRing(b)
	for i := range 1000 {
		short.put(i, 100)
	}
	for i := range 9000 {
		long.put(i, 200)
	}
	if b.Used() > b.Limit {
		t.Errorf("%d bytes are kept, %d allowed", b.Used(), b.Limit)
	}
	if i := short.info(); i.Kept != 1000 {
		t.Errorf("the short ring was cut to %d", i.Kept)
	}
	if i := long.info(); i.Dropped == 0 {
		t.Error("the long ring was not cut")
	}
	// Many clients share it, none with more than its part.
	for range 400 {
		r := newRing(b)
		for i := range 20 {
			r.put(i, 200)
		}
	}
	if b.Used() > b.Limit {
		t.Errorf("%d bytes are kept of 402 clients, %d allowed", b.Used(), b.Limit)
	}
}

// With an archive a ring is short, and a busy client's allocates nothing.
func TestArchivedRingIsShort(t *testing.T) {
	for _, size := range []int{20, 60, 150, 1000, 20_000} {
		r := newRing(new(Budget))
		r.archived = true
		for i := range 20_000 {
			r.put(i, size)
			if n := r.size.Load(); n > archivedBytes {
				t.Fatalf("%d bytes of messages of %d", n, size)
			}
		}
		i := r.info()
		if room := archivedBytes - archivedChunk - 4096; i.Kept > archivedMessages+2*archivedChunk/(ringHeaderLen+size) || i.Kept < min(archivedMessages, room/(ringHeaderLen+size)/2) ||
			i.Kept+int(i.Dropped) != 20_000 {
			t.Errorf("of %d bytes each: %+v", size, i)
		}
		if n := testing.AllocsPerRun(2000, func() { r.put(1, 0) }); n != 0 {
			t.Errorf("%v allocations for a message", n)
		}
	}
	// One that is longer than all that may be kept is kept alone.
	r := newRing(new(Budget))
	r.archived = true
	r.put(1, 60)
	r.put(2, 1<<20)
	if i := r.info(); i.Kept != 1 {
		t.Errorf("%+v", i)
	}
	r.put(3, 60)
	if i := r.info(); i.Kept != 1 || i.Bytes > archivedBytes {
		t.Errorf("%+v", i)
	}
}

// What the archive had no room for stays, with what came after it, for as long as without one.
func TestArchivedRingKeepsWhatOnlyItHas(t *testing.T) {
	r := newRing(new(Budget))
	r.archived = true
	for i := range 5000 {
		r.put(i, 60)
	}
	for i := range 10 {
		r.append(&entry{time: int64(10_000 + i), typ: bmp.PeerUpType, flags: entryOnly, raw: make([]byte, 60)})
	}
	for i := range 9000 {
		r.put(20_000+i, 60)
	}
	has := func() bool { return r.all()[0].time <= 10_000 }
	if !has() {
		t.Errorf("gone: %+v", r.info())
	}
	for i := range 3000 {
		r.put(30_000+i, 60)
	}
	if i := r.info(); has() || i.Kept > archivedMessages+2*archivedChunk/100 || i.Bytes > archivedBytes {
		t.Errorf("after 12,000 more: %+v", i)
	}
}
