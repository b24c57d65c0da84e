package bmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// header is a common header of version 3 for a body of n bytes.
func header(t MessageType, n int) []byte {
	b := []byte{3, 0, 0, 0, 0, byte(t)}
	binary.BigEndian.PutUint32(b[1:], uint32(HeaderLen+n))
	return b
}

// stream is messages of the given body sizes, and their raw bytes one by one.
func stream(sizes ...int) (all []byte, each [][]byte) {
	for i, n := range sizes {
		m := header(200, n)
		for j := range n {
			m = append(m, byte(i+j))
		}
		each = append(each, m)
		all = append(all, m...)
	}
	return all, each
}

// readAll collects copies of all frames and the error that ended it.
func readAll(r *Reader) (frames []Frame, err error) {
	for {
		f, err := r.Next()
		if err != nil {
			return frames, err
		}
		f.Raw = bytes.Clone(f.Raw)
		frames = append(frames, f)
	}
}

func TestReaderCutsAnyReadSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 5, 4089, 4090, 4091, 9000, 40000, 300000, DefaultMaxMessage - HeaderLen}
	for range 300 {
		sizes = append(sizes, rng.IntN(5000))
	}
	all, each := stream(sizes...)
	sources := map[string]func() io.Reader{
		"whole":        func() io.Reader { return bytes.NewReader(all) },
		"half reads":   func() io.Reader { return iotest.HalfReader(bytes.NewReader(all)) },
		"EOF at once":  func() io.Reader { return iotest.DataErrReader(bytes.NewReader(all)) },
		"random reads": func() io.Reader { return randomReader{bytes.NewReader(all), rng} },
		"1 byte":       func() io.Reader { return iotest.OneByteReader(bytes.NewReader(all)) },
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			r := NewReader(source(), ReaderOptions{})
			var offset int64
			for i, want := range each {
				f, err := r.Next()
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				if !bytes.Equal(f.Raw, want) || f.Offset != offset || f.Version != 3 || f.Type != 200 {
					t.Fatalf("message %d of %d bytes at %d: got %d bytes at %d", i, len(want), offset, len(f.Raw), f.Offset)
				}
				offset += int64(len(want))
				if r.Offset() != offset {
					t.Fatalf("Offset = %d, want %d", r.Offset(), offset)
				}
			}
			for range 3 {
				if _, err := r.Next(); err != io.EOF {
					t.Fatalf("at the end: %v", err)
				}
			}
		})
	}
}

type randomReader struct {
	r   io.Reader
	rng *rand.Rand
}

func (r randomReader) Read(b []byte) (int, error) {
	return r.r.Read(b[:1+r.rng.IntN(min(len(b), 20000))])
}

func TestBadLengths(t *testing.T) {
	good, _ := stream(10, 20)
	for _, tt := range []struct {
		name   string
		bytes  []byte
		max    int
		reason string
	}{
		{"length 0", []byte{3, 0, 0, 0, 0, 4}, 0, "message length 0 is less than 6"},
		{"length 5", []byte{3, 0, 0, 0, 5, 4}, 0, "message length 5 is less than 6"},
		{"length 4 GiB - 1", []byte{3, 255, 255, 255, 255, 4}, 0, "message length 4294967295 is more than 1048576"},
		{"one more than 1 MiB", []byte{3, 0, 0x10, 0, 1, 4}, 0, "message length 1048577 is more than 1048576"},
		{"one more than configured", []byte{4, 0, 0, 0, 101, 4}, 100, "message length 101 is more than 100"},
		{"version 0", []byte{0}, 0, "version 0"},
		{"version 5", []byte{5, 0, 0, 0, 6, 4}, 0, "version 5"},
		{"version 9", []byte{9, 0, 0, 0, 6, 4}, 0, "version 9"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: station\r\n\r\n"), 0, "version 71, an HTTP request"},
		{"HTTP POST", []byte("POST /x HTTP/1.1\r\n"), 0, "version 80, an HTTP request"},
		{"HTTP/2", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0, "version 80, an HTTP/2 connection"},
		{"TLS", []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}, 0, "version 22, a TLS ClientHello"},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.2\r\n"), 0, "version 83, an SSH connection"},
		{"BGP", bytes.Repeat([]byte{255}, 16), 0, "version 255, a BGP message: this is the BMP port"},
		{"version 1, no such type", []byte{1, 4}, 0, "message type 4, which version 1 does not have"},
		{"version 2, no such type", []byte{2, 200}, 0, "message type 200, which version 2 does not have"},
		{"version 1, BGP length 18", append(make([]byte, 0), legacy(1, 0, pdu(18))...), 0, "BGP length 18 is less than 19"},
		{"version 1, statistics", legacy(1, 1, []byte{0, 0, 4, 1}), 0, "1025 statistics, more than 1024"},
		{"version 1, too long", legacy(1, 0, pdu(4096)), 4000, "a message of at least 4140 bytes, more than 4000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, before := range [][]byte{nil, good} {
				in := append(bytes.Clone(before), tt.bytes...)
				r := NewReader(bytes.NewReader(in), ReaderOptions{MaxMessage: tt.max})
				frames, err := readAll(r)
				var e *FramingError
				if !errors.As(err, &e) {
					t.Fatalf("error is %v", err)
				}
				if e.Reason != tt.reason || e.Offset != int64(len(before)) {
					t.Errorf("offset %d, %q; want %d, %q", e.Offset, e.Reason, len(before), tt.reason)
				}
				around := in[max(0, len(before)-errorBefore):min(len(in), len(before)+errorAfter)]
				if !bytes.Equal(e.Bytes, around) || e.Before != min(len(before), errorBefore) {
					t.Errorf("bytes around: %x, %d of them before; want %x", e.Bytes, e.Before, around)
				}
				if want := len(before) / 20; len(frames) != min(want, 2) {
					t.Errorf("%d frames before the error", len(frames))
				}
				if _, again := r.Next(); again != err {
					t.Errorf("then: %v", again)
				}
			}
		})
	}
}

// pdu is a BGP message of n bytes, of type UPDATE.
func pdu(n int) []byte {
	b := make([]byte, max(n, bgpHeaderLen))
	for i := range 16 {
		b[i] = 0xff
	}
	binary.BigEndian.PutUint16(b[16:], uint16(n))
	b[18] = 2
	return b
}

// legacy is a message of version 1 or 2 with an empty Per-Peer Header.
func legacy(version, typ byte, body []byte) []byte {
	b := make([]byte, LegacyHeaderLen+PerPeerHeaderLen, LegacyHeaderLen+PerPeerHeaderLen+len(body))
	b[0], b[1] = version, typ
	return append(b, body...)
}

// TestTruncatedAtEveryOffset cuts streams of all versions at every byte: between messages is a clean end, elsewhere not.
func TestTruncatedAtEveryOffset(t *testing.T) {
	legacyStream := [][]byte{
		legacy(1, 0, pdu(23)),            // Route Monitoring
		legacy(2, 1, []byte{0, 0, 0, 0}), // Statistics Report without any
		legacy(1, 1, append([]byte{0, 0, 0, 2, 0, 0, 0, 4, 1, 2, 3, 4}, 0, 1, 0, 2, 5, 6)), // two
		legacy(1, 2, []byte{4}),                                                // Peer Down
		legacy(1, 2, []byte{2, 0, 7}),                                          // with FSM event
		legacy(1, 2, []byte{2}),                                                // without, before another message
		legacy(1, 2, append([]byte{3}, pdu(21)...)),                            // with NOTIFICATION
		legacy(2, 3, append(make([]byte, 20), append(pdu(29), pdu(31)...)...)), // Peer Up
		legacy(2, 2, []byte{2}),                                                // without FSM event, the last one
	}
	_, v3 := stream(0, 1, 30, 7)
	v4 := [][]byte{{4, 0, 0, 0, 6, 4}, {4, 0, 0, 0, 9, 6, 1, 2, 3}, {3, 0, 0, 0, 6, 5}}
	for name, each := range map[string][][]byte{"legacy": legacyStream, "v3": v3, "v4": v4} {
		t.Run(name, func(t *testing.T) {
			all := bytes.Join(each, nil)
			ends := map[int]int{0: 0} // offset: messages before it
			for i, off := 0, 0; i < len(each); i++ {
				if m := each[i]; m[0] < 3 && m[1] == 2 && m[44] == 2 {
					ends[off+45] = i + 1 // nothing follows the reason, so there is no FSM event
				}
				off += len(each[i])
				ends[off] = i + 1
			}
			for n := 0; n <= len(all); n++ {
				for _, source := range []io.Reader{bytes.NewReader(all[:n]), iotest.OneByteReader(bytes.NewReader(all[:n]))} {
					frames, err := readAll(NewReader(source, ReaderOptions{}))
					if count, clean := ends[n]; clean {
						if err != io.EOF || len(frames) != count {
							t.Fatalf("%d bytes: %d messages, %v; want %d, io.EOF", n, len(frames), err, count)
						}
						continue
					}
					var e *TruncatedError
					if !errors.As(err, &e) || !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Fatalf("%d bytes: %d messages, %v", n, len(frames), err)
					}
					if e.Offset+int64(e.Have) != int64(n) || e.Have >= e.Want {
						t.Fatalf("%d bytes: %+v", n, e)
					}
				}
			}
			frames, _ := readAll(NewReader(bytes.NewReader(all), ReaderOptions{}))
			for i, f := range frames {
				if !bytes.Equal(f.Raw, each[i]) || f.Version != each[i][0] {
					t.Errorf("message %d: %x", i, f.Raw)
				}
			}
		})
	}
}

func TestErrorOfTheSource(t *testing.T) {
	broken := errors.New("connection reset")
	all, _ := stream(10, 10)
	_, err := readAll(NewReader(io.MultiReader(bytes.NewReader(all), iotest.ErrReader(broken)), ReaderOptions{}))
	if err != broken {
		t.Errorf("between messages: %v", err)
	}
	_, err = readAll(NewReader(io.MultiReader(bytes.NewReader(all[:20]), iotest.ErrReader(broken)), ReaderOptions{}))
	var e *TruncatedError
	if !errors.As(err, &e) || !errors.Is(err, broken) || e.Have != 4 || e.Offset != 16 {
		t.Errorf("within one: %v", err)
	}
	_, err = readAll(NewReader(nothing{}, ReaderOptions{}))
	if err != io.ErrNoProgress {
		t.Errorf("a source that gives nothing: %v", err)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// script is a source that returns what it is told, and says how much room each read had.
type script struct {
	reads [][]byte
	rooms []int
}

func (s *script) Read(b []byte) (int, error) {
	s.rooms = append(s.rooms, len(b))
	if len(s.reads) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.reads[0])
	if s.reads[0] = s.reads[0][n:]; len(s.reads[0]) == 0 {
		s.reads = s.reads[1:]
	}
	return n, nil
}

func TestBufferIsSmallWhileIdle(t *testing.T) {
	burst, _ := stream(make([]int, 100000)...) // 600,000 bytes
	s := &script{reads: [][]byte{burst, burst[:600], burst[:600]}}
	r := NewReader(s, ReaderOptions{})
	n := 0
	for ; ; n++ {
		before := len(s.reads)
		if _, err := r.Next(); err != nil {
			break
		}
		if len(s.reads) < before && len(s.reads) < 2 && len(r.buf) != smallBuffer {
			t.Errorf("a buffer of %d bytes while waiting", len(r.buf))
		}
	}
	if n != 100200 {
		t.Errorf("%d messages", n)
	}
	if got := fmt.Sprint(s.rooms[:3]); !strings.HasPrefix(got, "[1024 32") {
		t.Errorf("room of the first reads: %v", s.rooms)
	}
	largest := 0
	for _, room := range s.rooms {
		largest = max(largest, room)
	}
	if largest < largeBuffer-8192 || largest > largeBuffer {
		t.Errorf("room under load: %v", s.rooms)
	}
	if last := s.rooms[len(s.rooms)-1]; last > smallBuffer {
		t.Errorf("room at the end: %v", s.rooms)
	}
}

// TestLengthAloneAllocatesNothing: a header that promises 1 MiB and a byte now and then hold a small buffer.
func TestLengthAloneAllocatesNothing(t *testing.T) {
	s := &script{reads: [][]byte{{3, 0, 0x10, 0, 0, 0}, make([]byte, 1000), make([]byte, 1000), make([]byte, 10000)}}
	r := NewReader(s, ReaderOptions{})
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	for i, room := range s.rooms {
		if room > mediumBuffer {
			t.Errorf("read %d had room for %d bytes", i, room)
		}
	}
}

func TestBuffered(t *testing.T) {
	all, each := stream(10, 20, 30)
	s := &script{reads: [][]byte{all[:len(all)-1], all[len(all)-1:], {9}}}
	r := NewReader(s, ReaderOptions{})
	for i, want := range []int{len(each[1]) + len(each[2]) - 1, 0, 0} {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if got := r.Buffered(); got != want {
			t.Errorf("after message %d: Buffered = %d, want %d", i, got, want)
		}
	}
	if _, err := r.Next(); err == nil {
		t.Error("no error")
	}
}

func TestClose(t *testing.T) {
	all, _ := stream(make([]int, 10000)...)
	r := NewReader(bytes.NewReader(all), ReaderOptions{})
	for range 1000 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	if _, err := r.Next(); err == nil {
		t.Error("Next after Close")
	}
	r.Close()
}

func TestFrameOf(t *testing.T) {
	all, each := stream(3)
	f, err := FrameOf(all, 7)
	if err != nil || f.Version != 3 || f.Type != 200 || f.Offset != 7 || !bytes.Equal(f.Raw, each[0]) {
		t.Errorf("%+v, %v", f, err)
	}
	var trunc *TruncatedError
	if _, err := FrameOf(all[:8], 0); !errors.As(err, &trunc) && err == nil {
		t.Error("a cut message is a frame")
	}
	if _, err := FrameOf(append(bytes.Clone(all), 0), 0); err == nil {
		t.Error("more than a message is a frame")
	}
	var framing *FramingError
	if _, err := FrameOf([]byte{9}, 0); !errors.As(err, &framing) {
		t.Error(err)
	}
	if f, err := FrameOf(legacy(1, 2, []byte{2}), 0); err != nil || f.Type != PeerDownType {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestRandomBytes: whatever comes, the Reader ends with an error it can name.
func TestRandomBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		b := make([]byte, rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if len(b) > 0 {
			b[0] = byte(rng.IntN(6))
		}
		frames, err := readAll(NewReader(bytes.NewReader(b), ReaderOptions{}))
		checkFrames(t, b, frames, err)
	}
}

// checkFrames holds for every stream: frames join up, and the error tells where they end.
func checkFrames(t *testing.T, b []byte, frames []Frame, err error) {
	t.Helper()
	off := int64(0)
	var p Parser
	for _, f := range frames {
		if f.Offset != off || !bytes.HasPrefix(b[off:], f.Raw) || len(f.Raw) == 0 {
			t.Fatalf("frame at %d of %d bytes; %d expected", f.Offset, len(f.Raw), off)
		}
		off += int64(len(f.Raw))
		checkMessage(t, &p, f)
	}
	var framing *FramingError
	var trunc *TruncatedError
	switch {
	case err == io.EOF:
		if off != int64(len(b)) {
			t.Fatalf("io.EOF at %d of %d", off, len(b))
		}
	case errors.As(err, &trunc):
		if trunc.Offset != off || trunc.Have != len(b)-int(off) || trunc.Want <= trunc.Have {
			t.Fatalf("%+v at %d of %d", trunc, off, len(b))
		}
	case errors.As(err, &framing):
		if framing.Offset != off || framing.Reason == "" || len(framing.Bytes) == 0 {
			t.Fatalf("%+v at %d", framing, off)
		}
	default:
		t.Fatal(err)
	}
}

func FuzzReader(f *testing.F) {
	all, _ := stream(0, 1, 30)
	f.Add(all, 7)
	f.Add(all[:20], 1)
	f.Add(legacy(1, 2, []byte{2, 0, 7}), 3)
	f.Add(append(legacy(1, 2, []byte{2}), legacy(2, 3, append(make([]byte, 20), append(pdu(29), pdu(31)...)...))...), 100)
	f.Add(legacy(1, 1, []byte{0, 0, 0, 2, 0, 0, 0, 4, 1, 2, 3, 4, 0, 1, 0, 2, 5, 6}), 50)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 100)
	f.Add([]byte{3, 255, 255, 255, 255, 0}, 6)
	f.Fuzz(func(t *testing.T, b []byte, chunk int) {
		b = b[:min(len(b), 20000)]
		whole, err := readAll(NewReader(bytes.NewReader(b), ReaderOptions{}))
		checkFrames(t, b, whole, err)
		// However the bytes arrive, the same comes out.
		parts, partsErr := readAll(NewReader(&chunks{b, min(max(chunk, 1), 1<<16)}, ReaderOptions{}))
		if len(parts) != len(whole) || fmt.Sprintf("%T", err) != fmt.Sprintf("%T", partsErr) {
			t.Fatalf("%d messages and %v at once, %d and %v in parts", len(whole), err, len(parts), partsErr)
		}
	})
}

// chunks is a source that gives n bytes at a time.
type chunks struct {
	b []byte
	n int
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.b[:min(c.n, len(c.b))])
	c.b = c.b[n:]
	return n, nil
}
