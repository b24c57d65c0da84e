package replay

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// pcapWriter writes sessions as TCP connections, with the addresses and ports they had: a handshake, the bytes in
// segments, acknowledgements, and the end. There is no link layer.
type pcapWriter struct {
	out
	p       *pcapgo.Writer
	streams map[int]*pcapStream
	buf     gopacket.SerializeBuffer
}

// pcapStream is one connection.
type pcapStream struct {
	router, station netip.AddrPort
	sent            uint32 // sequence number of the router's next byte
}

// pcapSegment is the longest segment written: that of an Ethernet.
const pcapSegment = 1440

// stationSeq is the station's sequence number after its SYN: it never sends a byte.
const stationSeq = 1

func newPCAPWriter(o out) (*pcapWriter, error) {
	p := pcapgo.NewWriterNanos(o.w)
	if err := p.WriteFileHeader(262144, layers.LinkTypeRaw); err != nil {
		return nil, err
	}
	return &pcapWriter{out: o, p: p, streams: make(map[int]*pcapStream), buf: gopacket.NewSerializeBuffer()}, nil
}

func (p *pcapWriter) Begin(session int, remote, local netip.AddrPort, at time.Time) error {
	if remote.Addr().Is4() != local.Addr().Is4() {
		return fmt.Errorf("a connection from %s to %s", remote, local)
	}
	s := &pcapStream{router: remote, station: local, sent: 1}
	p.streams[session] = s
	for _, t := range []layers.TCP{{SYN: true}, {SYN: true, ACK: true, Ack: 1}, {ACK: true, Seq: 1, Ack: stationSeq}} {
		from, to := remote, local
		if t.SYN && t.ACK {
			from, to = local, remote
		}
		if err := p.packet(from, to, t, nil, at); err != nil {
			return err
		}
	}
	return nil
}

func (p *pcapWriter) Message(session int, m *Message) error {
	s := p.streams[session]
	for raw := m.Raw; len(raw) > 0; {
		n := min(len(raw), pcapSegment)
		if err := p.packet(s.router, s.station, layers.TCP{ACK: true, PSH: n == len(raw), Seq: s.sent, Ack: stationSeq}, raw[:n], m.Time); err != nil {
			return err
		}
		s.sent += uint32(n)
		raw = raw[n:]
	}
	return p.packet(s.station, s.router, layers.TCP{ACK: true, Seq: stationSeq, Ack: s.sent}, nil, m.Time)
}

func (p *pcapWriter) End(session int, at time.Time) error {
	s := p.streams[session]
	delete(p.streams, session)
	if err := p.packet(s.router, s.station, layers.TCP{FIN: true, ACK: true, Seq: s.sent, Ack: stationSeq}, nil, at); err != nil {
		return err
	}
	return p.packet(s.station, s.router, layers.TCP{FIN: true, ACK: true, Seq: stationSeq, Ack: s.sent + 1}, nil, at)
}

// packet writes one packet of a connection.
func (p *pcapWriter) packet(from, to netip.AddrPort, t layers.TCP, data []byte, at time.Time) error {
	t.SrcPort, t.DstPort, t.Window = layers.TCPPort(from.Port()), layers.TCPPort(to.Port()), 65535
	var network gopacket.SerializableLayer
	if from.Addr().Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolTCP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		if err := t.SetNetworkLayerForChecksum(ip); err != nil {
			return err
		}
		network = ip
	} else {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		if err := t.SetNetworkLayerForChecksum(ip); err != nil {
			return err
		}
		network = ip
	}
	if err := gopacket.SerializeLayers(p.buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, network, &t, gopacket.Payload(data)); err != nil {
		return err
	}
	b := p.buf.Bytes()
	return p.p.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(b), Length: len(b)}, b)
}

func (p *pcapWriter) Left() []string { return nil }
