package replay

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/tcpassembly"
)

// Out of order packets that wait for what is before them, in pages of about 2 KB: more than this and what is missing is
// given up, which ends the stream.
const (
	pagesPerConnection = 2048
	pagesInAll         = 16384
)

// packets is the part of both pcapgo readers that is used here.
type packets interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

// capture plays the TCP streams of a packet capture that begin like BMP. Each is one router's connection, in the
// direction that speaks BMP.
type capture struct {
	in      *input
	r       packets
	mixed   bool // the link type comes with each packet
	port    uint16
	skip    func(string)
	asm     *tcpassembly.Assembler
	queue   []Event
	head    int
	streams int
	packet  int
	done    bool
	failed  error // the first stream that is not whole
}

func newCapture(in *input, kind Kind, port uint16, skip func(string)) (*capture, error) {
	c := &capture{in: in, port: port, skip: skip}
	if kind == PCAP {
		r, err := pcapgo.NewReader(in.r)
		if err != nil {
			return nil, fmt.Errorf("pcap header: %w", in.wrap(err))
		}
		c.r = r
	} else {
		r, err := pcapgo.NewNgReader(in.r, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf("pcapng header: %w", in.wrap(err))
		}
		c.r, c.mixed = r, true
	}
	c.asm = tcpassembly.NewAssembler(tcpassembly.NewStreamPool(c))
	c.asm.MaxBufferedPagesPerConnection = pagesPerConnection
	c.asm.MaxBufferedPagesTotal = pagesInAll
	return c, nil
}

func (c *capture) next() (Event, error) {
	for c.head == len(c.queue) {
		if c.done {
			if c.failed != nil {
				return Event{}, c.failed
			}
			return Event{}, io.EOF
		}
		clear(c.queue)
		c.queue, c.head = c.queue[:0], 0
		if err := c.read(); err != nil {
			return Event{}, err
		}
	}
	e := c.queue[c.head]
	c.head++
	return e, nil
}

// read takes one packet; at the end it lets go what still waits for missing packets.
func (c *capture) read() error {
	at := c.in.at()
	c.in.record = at
	data, ci, err := c.r.ReadPacketData()
	if err != nil {
		c.done = true
		c.asm.FlushAll()
		switch {
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		case c.failed == nil:
			c.failed = fmt.Errorf("packet %d at byte %d: %w", c.packet+1, at, cutShort(c.in.wrap(err)))
		}
		return nil
	}
	c.packet++
	link := c.r.LinkType()
	if c.mixed && len(ci.AncillaryData) > 0 {
		if l, ok := ci.AncillaryData[0].(layers.LinkType); ok {
			link = l
		}
	}
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	tcp, _ := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if tcp == nil || p.NetworkLayer() == nil {
		c.skip("packets that are not TCP")
		return nil
	}
	if c.port != 0 && tcp.DstPort != layers.TCPPort(c.port) {
		return nil
	}
	c.asm.AssembleWithTimestamp(p.NetworkLayer().NetworkFlow(), tcp, ci.Timestamp)
	return nil
}

// cutShort says the same of all ways in which readers tell that a file ends too early.
func cutShort(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the file is cut short")
	}
	return err
}

// New implements tcpassembly.StreamFactory.
func (c *capture) New(network, transport gopacket.Flow) tcpassembly.Stream {
	return &tcpStream{c: c, number: -1,
		name: fmt.Sprintf("%s port %s to %s port %s", network.Src(), transport.Src(), network.Dst(), transport.Dst())}
}

// tcpStream is one direction of one connection.
type tcpStream struct {
	c      *capture
	name   string
	number int // of the event stream; -1 until it is known to be BMP
	head   []byte
	bytes  int64
	dead   bool // not BMP, or not whole
	middle bool // its beginning is not in the capture
	closed bool // the capture has its FIN or RST
	last   time.Time
}

// Reassembled implements tcpassembly.Stream.
func (s *tcpStream) Reassembled(all []tcpassembly.Reassembly) {
	for _, r := range all {
		if s.dead {
			return
		}
		s.last = r.Seen
		s.middle, s.closed = s.middle || r.Skip < 0, s.closed || r.End
		if r.Skip > 0 && s.number >= 0 {
			// What follows begins anywhere in a message: there is no going on.
			if s.c.failed == nil {
				s.c.failed = fmt.Errorf("%s: %d bytes are missing from the capture after byte %d of the stream (packet %d)",
					s.name, r.Skip, s.bytes, s.c.packet)
			}
			s.end()
			return
		}
		s.add(r)
	}
}

func (s *tcpStream) add(r tcpassembly.Reassembly) {
	if len(r.Bytes) == 0 {
		return
	}
	data := append([]byte(nil), r.Bytes...) // a page of the assembler, used again
	if s.number < 0 {
		s.head = append(s.head, data...)
		data = s.head
		if len(data) < 6 {
			return
		}
		if !beginsBMP(data) {
			// A capture that began in the middle of the connection: a later packet may begin with a message, as most do.
			if s.middle {
				s.c.skip("packets before the first BMP message of a connection")
				s.head = nil
				return
			}
			s.c.skip("TCP streams that are not BMP")
			s.dead, s.head = true, nil
			return
		}
		s.head = nil
		s.number = s.c.streams
		s.c.streams++
	}
	s.bytes += int64(len(data))
	s.c.queue = append(s.c.queue, Event{Stream: s.number, Time: r.Seen, Data: data})
}

// ReassemblyComplete implements tcpassembly.Stream. The end of the capture completes all streams, also those of connections
// that went on.
func (s *tcpStream) ReassemblyComplete() {
	switch {
	case s.dead:
	case s.c.done && !s.closed && s.number >= 0:
		s.dead = true
	default:
		s.end()
	}
}

func (s *tcpStream) end() {
	s.dead = true
	if s.number >= 0 {
		s.c.queue = append(s.c.queue, Event{Stream: s.number, Time: s.last, End: true})
	} else if n := len(s.head); n > 0 {
		s.c.skip("TCP streams that are not BMP")
	}
}
