package replay

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Kind is what a file was found to be.
type Kind uint8

// The kinds of files.
const (
	BMP Kind = 1 + iota
	PCAP
	PCAPNG
	MRT
)

// String is "BMP", "pcap", "pcapng" or "MRT".
func (k Kind) String() string {
	return [...]string{"unknown", "BMP", "pcap", "pcapng", "MRT"}[min(k, MRT)]
}

// Event is some bytes that a router sent, or the end of its connection.
type Event struct {
	// Stream is the number of the connection in the file, from 0 in the order in which they begin.
	Stream int
	// Time is when the bytes were sent: of the packet, or of the MRT record; for raw BMP what the router says, which
	// may be anything. Zero where nothing is known: as soon as possible.
	Time time.Time
	// Data is part of the stream, from one byte up; whole BMP messages but for captures. Valid until the next call of
	// Next.
	Data []byte
	// End says that the connection was closed; Data may be empty then.
	End bool
}

// source is what each kind of file is read by.
type source interface {
	// next returns the next event, or io.EOF after the last.
	next() (Event, error)
}

// Options are the options of Open.
type Options struct {
	// Port is the TCP port of the station in a capture; 0 is any connection that begins like BMP.
	Port uint16
}

// File is a recorded file. It is for one goroutine.
type File struct {
	name    string
	kind    Kind
	f       *os.File
	unpack  io.Closer
	src     source
	in      *input
	skipped map[string]skipped
	err     error
}

// skipped is how often something could not be used, and where the first was.
type skipped struct {
	n     int
	first int64 // offset, unpacked
}

// Open opens a file and finds out what it is by its first bytes; the name does not matter.
func Open(name string, o Options) (*File, error) {
	f := &File{name: name, skipped: map[string]skipped{}}
	in, err := f.open()
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*File, error) {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	head, err := in.r.Peek(48)
	if err != nil && !errors.Is(err, io.EOF) {
		return fail(in.wrap(err))
	}
	err = nil // a short file is short, whatever it is
	switch f.kind = kindOf(head); f.kind {
	case BMP:
		f.src = newBMP(in)
	case PCAP, PCAPNG:
		f.src, err = newCapture(in, f.kind, o.Port, f.skip)
	case MRT:
		// An MRT file does not say in advance what its peers speak, and the OPENs of a Peer Up must: it is read twice.
		var p *plan
		if p, err = f.plan(); err == nil {
			f.src = newMRT(in, p, f.skip)
		}
	default:
		err = fmt.Errorf("not BMP, pcap, pcapng or MRT (it begins with % x)", head[:min(len(head), 8)])
		if len(head) == 0 {
			err = errors.New("empty")
		}
	}
	if err != nil {
		return fail(err)
	}
	return f, nil
}

// plan reads the file once with a handle of its own.
func (f *File) plan() (*plan, error) {
	second := &File{name: f.name, skipped: map[string]skipped{}}
	in, err := second.open()
	if err != nil {
		return nil, err
	}
	defer second.Close()
	return planMRT(in), nil
}

// open opens the file and unpacks it.
func (f *File) open() (*input, error) {
	file, err := os.Open(f.name)
	if err != nil {
		return nil, err
	}
	f.f = file
	r := bufio.NewReaderSize(file, 64<<10)
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	in := &input{}
	f.in = in
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: gzip: %w", f.name, err)
		}
		f.unpack, in.packed = z, "gzip"
		r = bufio.NewReaderSize(&counter{r: z, n: &in.n}, 64<<10)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(256<<20))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: zstd: %w", f.name, err)
		}
		f.unpack, in.packed = z.IOReadCloser(), "zstd"
		r = bufio.NewReaderSize(&counter{r: z, n: &in.n}, 64<<10)
	case bytes.HasPrefix(head, []byte("BZh")):
		in.packed = "bzip2"
		r = bufio.NewReaderSize(&counter{r: bzip2.NewReader(r), n: &in.n}, 64<<10)
	default:
		r = bufio.NewReaderSize(&counter{r: r, n: &in.n}, 64<<10)
	}
	in.r = r
	return in, nil
}

// counter counts the bytes that were unpacked.
type counter struct {
	r io.Reader
	n *int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	*c.n += int64(n)
	return n, err
}

// input is an unpacked file that knows where it is.
type input struct {
	r      *bufio.Reader
	n      int64 // bytes unpacked so far
	record int64 // offset of the packet or record that is being worked on
	packed string
}

// at is the offset of the next byte, unpacked.
func (in *input) at() int64 { return in.n - int64(in.r.Buffered()) }

// wrap says of an error that came from unpacking what it was.
func (in *input) wrap(err error) error {
	if in.packed == "" || err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the %s data is cut short after %d bytes", in.packed, in.n)
	}
	return fmt.Errorf("%s, after %d bytes: %w", in.packed, in.n, err)
}

// kindOf judges the first bytes of a file.
func kindOf(b []byte) Kind {
	if len(b) >= 4 {
		switch binary.BigEndian.Uint32(b) {
		case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1:
			return PCAP
		case 0x0a0d0d0a:
			return PCAPNG
		}
	}
	switch {
	case beginsBMP(b):
		return BMP
	case len(b) >= 12 && mrtType(binary.BigEndian.Uint16(b[4:])) && binary.BigEndian.Uint16(b[6:]) < 64 &&
		binary.BigEndian.Uint32(b[8:]) <= maxRecord:
		return MRT
	}
	return 0
}

// beginsBMP reports whether bytes look like the beginning of a BMP message of any version. Six bytes are enough.
func beginsBMP(b []byte) bool {
	if len(b) < 6 {
		return false
	}
	switch b[0] {
	case 1, 2: // version, message type, peer type, flags
		return b[1] <= 3 && b[2] <= 2 && b[3]&0x1f == 0
	case 3, 4:
		n := binary.BigEndian.Uint32(b[1:])
		return n >= 6 && n <= 1<<20 && (b[5] <= 6 || b[5] >= 100)
	}
	return false
}

// Name is the name the file was opened by.
func (f *File) Name() string { return f.name }

// Kind is what the file was found to be.
func (f *File) Kind() Kind { return f.kind }

// Next returns the next event; io.EOF after the last. Any other error names the file and the place, and stays.
func (f *File) Next() (Event, error) {
	if f.err != nil {
		return Event{}, f.err
	}
	e, err := f.src.next()
	if err != nil {
		if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%s: %w", f.name, err)
		}
		f.err = err
	}
	return e, err
}

func (f *File) skip(what string) {
	x := f.skipped[what]
	if x.n++; x.n == 1 {
		x.first = f.in.record
	}
	f.skipped[what] = x
}

// Skipped tells what of the file could not be used so far, "12 MRT records of type 5, the first at byte 1024", sorted.
// Of a packed file the byte is one of what was unpacked.
func (f *File) Skipped() []string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(f.skipped)) {
		x := f.skipped[what]
		first := ", the first"
		if x.n == 1 {
			first = ","
		}
		out = append(out, fmt.Sprintf("%d %s%s at byte %d", x.n, what, first, x.first))
	}
	return out
}

// counted tells counts as "12 messages of adj-in-post", sorted.
func counted(m map[string]int) []string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[what], what))
	}
	return out
}

// Close closes the file.
func (f *File) Close() error {
	if f.unpack != nil {
		f.unpack.Close()
	}
	return f.f.Close()
}
