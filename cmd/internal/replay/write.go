package replay

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bmp/proto/bgp"
)

// Writer writes what routers say as they say it, into a file that Open reads: raw BMP, pcap or MRT.
type Writer interface {
	// Begin begins a session of a router, with a number of the caller's. Whether a file can hold several at a time, or one
	// after the other, WriterKind tells.
	Begin(session int, remote, local netip.AddrPort, at time.Time) error
	// Message writes a message of a session.
	Message(session int, m *Message) error
	// End ends a session.
	End(session int, at time.Time) error
	// Flush has what was written in the file.
	Flush() error
	// Left tells what the format has no place for, "12 messages of adj-in-post", sorted.
	Left() []string
	Close() error
}

// Message is a BMP message as it is recorded.
type Message struct {
	Time    time.Time   // of arrival
	Context bgp.Context // how the UPDATE of Route Monitoring is read
	Raw     []byte
}

// WriterKind is the kind of file by the ending of its name: .pcap and .mrt say what they are, everything else is raw BMP.
// It is an error for endings by which a reader would take the file for something else.
func WriterKind(name string) (Kind, error) {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".pcap":
		return PCAP, nil
	case ".mrt":
		return MRT, nil
	case ".pcapng":
		return 0, fmt.Errorf("%s: pcapng is not written, .pcap is", name)
	case ".gz", ".zst", ".bz2":
		return 0, fmt.Errorf("%s: it is written unpacked, and the name says otherwise", name)
	}
	return BMP, nil
}

// Create makes a file, which must not be there, and its writer.
//
//	raw BMP  one session; another Begin is an error
//	MRT      one router, session after session
//	pcap     any number of routers at a time
func Create(name string) (Writer, error) {
	kind, err := WriterKind(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	o := out{f: f, w: bufio.NewWriterSize(f, 64<<10)}
	var w Writer
	switch kind {
	case PCAP:
		w, err = newPCAPWriter(o)
	case MRT:
		w = newMRTWriter(o)
	default:
		w = &bmpWriter{out: o}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// out is a file being written.
type out struct {
	f *os.File
	w *bufio.Writer
}

func (o *out) Flush() error { return o.w.Flush() }

func (o *out) Close() error {
	err := o.w.Flush()
	if cerr := o.f.Close(); err == nil {
		err = cerr
	}
	return err
}

// bmpWriter writes one session as the bytes that it was.
type bmpWriter struct {
	out
	begun bool
}

func (b *bmpWriter) Begin(int, netip.AddrPort, netip.AddrPort, time.Time) error {
	if b.begun {
		return fmt.Errorf("raw BMP holds one session")
	}
	b.begun = true
	return nil
}

func (b *bmpWriter) Message(_ int, m *Message) error {
	_, err := b.w.Write(m.Raw)
	return err
}

func (b *bmpWriter) End(int, time.Time) error { return nil }
func (b *bmpWriter) Left() []string           { return nil }
