package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// segment is one TCP packet of a made-up capture.
type segment struct {
	from, to string // ADDR port
	port     uint16 // of the router; the station's is 1790
	back     bool   // from the station
	seq      uint32
	syn, fin bool
	data     []byte
	vlan     bool
}

func packet(t testing.TB, s segment) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(s.port), DstPort: 1790, Seq: s.seq, SYN: s.syn, FIN: s.fin, ACK: !s.syn, Window: 65535}
	if s.back {
		tcp.SrcPort, tcp.DstPort = tcp.DstPort, tcp.SrcPort
	}
	all := []gopacket.SerializableLayer{eth}
	src, dst := net.ParseIP(s.from), net.ParseIP(s.to)
	var network interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	typ := layers.EthernetTypeIPv4
	if src.To4() == nil {
		typ = layers.EthernetTypeIPv6
		network = &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolTCP, HopLimit: 64, SrcIP: src, DstIP: dst}
	} else {
		network = &layers.IPv4{Version: 4, Protocol: layers.IPProtocolTCP, TTL: 64, SrcIP: src.To4(), DstIP: dst.To4()}
	}
	eth.EthernetType = typ
	if s.vlan {
		eth.EthernetType = layers.EthernetTypeDot1Q
		all = append(all, &layers.Dot1Q{VLANIdentifier: 7, Type: typ})
	}
	if err := tcp.SetNetworkLayerForChecksum(network); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	all = append(all, network, tcp, gopacket.Payload(s.data))
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// captureFile writes packets, a second apart.
func captureFile(t testing.TB, kind Kind, segments ...segment) []byte {
	t.Helper()
	var out bytes.Buffer
	at := time.Unix(1700000000, 0)
	var write func(gopacket.CaptureInfo, []byte) error
	flush := func() error { return nil }
	if kind == PCAP {
		w := pcapgo.NewWriter(&out)
		if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
			t.Fatal(err)
		}
		write = w.WritePacket
	} else {
		w, err := pcapgo.NewNgWriter(&out, layers.LinkTypeEthernet)
		if err != nil {
			t.Fatal(err)
		}
		write, flush = w.WritePacket, w.Flush
	}
	for i, s := range segments {
		p := packet(t, s)
		ci := gopacket.CaptureInfo{Timestamp: at.Add(time.Duration(i) * time.Second), CaptureLength: len(p), Length: len(p)}
		if err := write(ci, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// flow cuts a stream into segments of a connection, with SYN and FIN.
func flow(s segment, stream []byte, size int) []segment {
	s.seq, s.syn = 1000, true
	out := []segment{s}
	s.syn, s.seq = false, 1001
	for chunk := range slices.Chunk(stream, size) {
		s.data = chunk
		out = append(out, s)
		s.seq += uint32(len(chunk))
	}
	s.data, s.fin = nil, true
	return append(out, s)
}

// interleave takes from each in turn.
func interleave(all ...[]segment) []segment {
	var out []segment
	for i := 0; ; i++ {
		more := false
		for _, s := range all {
			if i < len(s) {
				out, more = append(out, s[i]), true
			}
		}
		if !more {
			return out
		}
	}
}

func TestCapture(t *testing.T) {
	one, two, three := session("r1"), session("r2"), session("r3")
	v4 := segment{from: "192.0.2.1", to: "192.0.2.9", port: 20001}
	v6 := segment{from: "2001:db8::1", to: "2001:db8::9", port: 20001}
	vlan := segment{from: "192.0.2.2", to: "192.0.2.9", port: 20001, vlan: true}
	web := segment{from: "192.0.2.3", to: "192.0.2.9", port: 30000}
	back := segment{from: "192.0.2.9", to: "192.0.2.1", port: 20001, back: true}

	disorder := flow(v4, one, 100)
	for i := 3; i+2 < len(disorder)-1; i += 4 { // out of order, and sent twice
		disorder[i], disorder[i+1] = disorder[i+1], disorder[i]
		disorder = slices.Insert(disorder, i+2, disorder[i])
	}
	again := v4
	again.port = 20002
	segments := interleave(disorder, flow(v6, two, 313), flow(vlan, three, 7), flow(web, []byte(strings.Repeat("GET / HTTP/1.1\r\n", 30)), 50), flow(back, nil, 1))
	segments = append(segments, flow(again, two, 1400)...)

	for _, kind := range []Kind{PCAP, PCAPNG} {
		got, f, err := play(t, writeFile(t, "capture", captureFile(t, kind, segments...)), Options{})
		if err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if f.Kind() != kind {
			t.Errorf("%v was taken for %v", kind, f.Kind())
		}
		var names []string
		for _, b := range got {
			names = append(names, fmt.Sprint(hold(t, bytes.NewReader(b)).names))
			if !bytes.Equal(b, one) && !bytes.Equal(b, two) && !bytes.Equal(b, three) {
				t.Errorf("%v: a stream of %d bytes is none that was sent", kind, len(b))
			}
		}
		slices.Sort(names)
		if fmt.Sprint(names) != "[[r1] [r2] [r2] [r3]]" {
			t.Errorf("%v: routers %v", kind, names)
		}
		if s := fmt.Sprint(f.Skipped()); !strings.HasPrefix(s, "[1 TCP streams that are not BMP, at byte 1") {
			t.Errorf("%v: skipped %s", kind, s)
		}
	}

	// Another port than the station's: nothing.
	got, _, err := play(t, writeFile(t, "port", captureFile(t, PCAP, segments...)), Options{Port: 1791})
	if err != nil || len(got) != 0 {
		t.Errorf("port 1791: %d streams, %v", len(got), err)
	}
	got, _, err = play(t, writeFile(t, "port", captureFile(t, PCAP, segments...)), Options{Port: 1790})
	if err != nil || len(got) != 4 {
		t.Errorf("port 1790: %d streams, %v", len(got), err)
	}
}

func TestCaptureThatBeginsInTheMiddle(t *testing.T) {
	stream := session("r1")
	at := segment{from: "192.0.2.1", to: "192.0.2.9", port: 20001}
	all := flow(at, stream, 100)
	all = all[1 : len(all)-1] // neither SYN nor FIN
	all[0].data = all[0].data[10:]
	all[0].seq += 10
	// A later packet begins with a message.
	rest := session("r2")
	at.seq = all[len(all)-1].seq + uint32(len(all[len(all)-1].data))
	at.data = rest
	got, f, err := play(t, writeFile(t, "middle", captureFile(t, PCAP, append(all, at)...)), Options{})
	if err != nil || len(got) != 1 {
		t.Fatalf("%d streams, %v, skipped %v", len(got), err, f.Skipped())
	}
	if !bytes.HasSuffix(got[0], rest) {
		t.Errorf("%d bytes were played", len(got[0]))
	}
	hold(t, bytes.NewReader(got[0][len(got[0])-len(rest):]))
	if len(f.Skipped()) == 0 {
		t.Error("what was left out is not told")
	}
}

// A connection that the capture does not see the end of goes on: it is the player's to close or to hold.
func TestCaptureOfAConnectionThatGoesOn(t *testing.T) {
	from := segment{from: "192.0.2.1", to: "192.0.2.9", port: 20001}
	whole := flow(from, session("r1"), 100)
	other := from
	other.port = 20002
	for _, c := range []struct {
		what     string
		segments []segment
		ends     string
	}{
		{"with its FIN", whole, "[0]"},
		{"without", whole[:len(whole)-1], "[]"},
		{"one of each", append(flow(other, session("r2"), 100), whole[:len(whole)-1]...), "[0]"},
	} {
		f, err := Open(writeFile(t, "goes-on", captureFile(t, PCAP, c.segments...)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		ends := []int{}
		for {
			e, err := f.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.End {
				ends = append(ends, e.Stream)
			}
		}
		f.Close()
		if fmt.Sprint(ends) != c.ends {
			t.Errorf("%s: streams %v end, not %s", c.what, ends, c.ends)
		}
	}
}

func TestCaptureWithAGap(t *testing.T) {
	stream := session("r1")
	all := flow(segment{from: "192.0.2.1", to: "192.0.2.9", port: 20001}, stream, 100)
	all = slices.Delete(all, 5, 6)
	other := flow(segment{from: "192.0.2.2", to: "192.0.2.9", port: 20001}, session("r2"), 100)
	got, _, err := play(t, writeFile(t, "gap", captureFile(t, PCAP, append(all, other...)...)), Options{})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1 port 20001 to 192.0.2.9 port 1790: 100 bytes are missing from the capture after byte 400 of the stream") {
		t.Errorf("gap: %v", err)
	}
	if len(got) != 2 || !bytes.Equal(got[0], stream[:400]) || !bytes.Equal(got[1], session("r2")) {
		t.Errorf("%d streams were played", len(got))
	}
}

func TestCaptureCutShort(t *testing.T) {
	stream := session("r1")
	for _, kind := range []Kind{PCAP, PCAPNG} {
		file := captureFile(t, kind, flow(segment{from: "192.0.2.1", to: "192.0.2.9", port: 20001}, stream, 100)...)
		cut := len(file) / 2
		for len(file)-cut > 0 && cut%7 != 3 {
			cut++
		}
		got, _, err := play(t, writeFile(t, "cut", file[:cut]), Options{})
		if err == nil || !strings.Contains(err.Error(), "packet ") || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("%v: %v", kind, err)
		}
		if len(got) != 1 || !bytes.HasPrefix(stream, got[0]) || len(got[0]) < len(stream)/4 {
			t.Errorf("%v: what was before is not played", kind)
		}
		if _, err := Open(writeFile(t, "header", file[:20]), Options{}); err == nil {
			t.Errorf("%v: a cut header is accepted", kind)
		}
	}
}
