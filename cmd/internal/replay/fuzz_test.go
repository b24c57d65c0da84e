package replay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// drain reads a source to its end; events must not lie about their bytes.
func drain(t *testing.T, s source, limit int) []byte {
	var all []byte
	for range limit {
		e, err := s.next()
		if err != nil {
			if _, again := s.next(); again == nil {
				t.Fatal("there is an event after the error ", err)
			}
			return all
		}
		if len(e.Data) == 0 && !e.End {
			t.Fatal("an event of nothing")
		}
		all = append(all, e.Data...)
	}
	t.Fatalf("more than %d events", limit)
	return nil
}

func inputOf(b []byte) *input {
	in := &input{}
	in.r = bufio.NewReader(&counter{r: bytes.NewReader(b), n: &in.n})
	return in
}

// FuzzMRT: whatever an MRT file holds, what comes of it is whole BMP messages.
func FuzzMRT(f *testing.F) {
	hx := bmptest.Hex
	f.Add(slices.Concat(
		mrtRecord(13, 1, hx("0a000001 0000 0001 02 0a000002 c0000201 0000fde9")),
		mrtRecord(13, 2, hx("00000000 18 cb0071 0001 0000 5b000000 0014 40010100 40020602010000fde9 400304c0000201")),
		mrtRecord(13, 10, hx("00000000 20 20010db8 0001 0000 5b000000 00000007 000d 40010100 40020602010000fde9"))))
	f.Add(mrtRecord(12, 1, hx("0000 0001 cb007100 18 01 5b000000 c0000201 fde9 0012 40010100 40020402 01fde9 400304c0000201")))
	f.Add(slices.Concat(
		mrtRecord(16, 4, hx("0000fde9 0000fdea 0000 0001 c0000201 c0000202"), bmptest.EndOfRIB(bmptest.IPv4Unicast)),
		mrtRecord(17, 5, hx("00000001 0000fde9 0000fdea 0000 0001 c0000201 c0000202 0006 0001"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMRT(inputOf(b), planMRT(inputOf(b)), func(string) {})
		out := drain(t, m, 16*len(b)+16)
		r := bmp.NewReader(bytes.NewReader(out), bmp.ReaderOptions{})
		var p bmp.Parser
		for {
			frame, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Parse(frame); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzCapture(f *testing.F) {
	stream := session("r1")[:300]
	for _, kind := range []Kind{PCAP, PCAPNG} {
		f.Add(captureFile(f, kind, flow(segment{from: "192.0.2.1", to: "192.0.2.9", port: 20001}, stream, 100)...))
		f.Add(captureFile(f, kind, flow(segment{from: "2001:db8::1", to: "2001:db8::9", port: 20001, vlan: true}, stream, 100)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kind := kindOf(b)
		if kind != PCAP && kind != PCAPNG {
			return
		}
		c, err := newCapture(inputOf(b), kind, 0, func(string) {})
		if err != nil {
			return
		}
		drain(t, c, len(b)+16)
	})
}
