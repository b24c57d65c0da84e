package client

import (
	"bytes"
	"testing"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// TestRDsOfPeersCanBeTyped has peers whose RDs differ in their type alone: each is found by the text of its own, which is
// the text that a filter on routes reads back.
func TestRDsOfPeersCanBeTyped(t *testing.T) {
	rds := map[uint64]string{0x0000fde800000001: "65000:1", 0x00020000fde80001: "65000L:1", 0x0003000000000001: "0x0003000000000001", 0: ""}
	b := &bmptest.Session{}
	for rd := range rds {
		p := bmptest.NewPeer("10.0.0.1", 65001)
		p.Header.Type, p.Header.Distinguisher = bmp.RDPeer, rd
		b.PeerUp(p)
	}
	c, _ := serve(t, &stream{r: bytes.NewReader(b.Bytes())})
	for distinguisher, text := range rds {
		if text == "" {
			continue
		}
		found := c.FindPeers(text + "/10.0.0.1")
		if len(found) != 1 || found[0].Distinguisher != distinguisher {
			t.Errorf("%s: %d peers", text, len(found))
		}
		if rd, err := bgp.ParseRD(text); err != nil || rd.String() != text {
			t.Errorf("%s is read back as %s, %v", text, rd, err)
		}
	}
}
