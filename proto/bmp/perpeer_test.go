package bmp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

func TestViews(t *testing.T) {
	for _, tt := range []struct {
		typ   PeerType
		flags uint8
		view  View
		as4   bool
		v6    bool
	}{
		{GlobalPeer, 0x00, AdjInPre, true, false},
		{GlobalPeer, 0x80, AdjInPre, true, true},
		{GlobalPeer, 0x40, AdjInPost, true, false},
		{RDPeer, 0x60, AdjInPost, false, false},
		{RDPeer, 0x10, AdjOutPre, true, false},
		{LocalPeer, 0xf0, AdjOutPost, false, true},
		{LocRIBPeer, 0x00, LocRIB, true, false},
		{LocRIBPeer, 0xff, LocRIB, true, false}, // flags other than F mean nothing
		{251, 0x50, AdjOutPost, true, false},
	} {
		h := PerPeerHeader{Type: tt.typ, Flags: tt.flags}
		if h.View() != tt.view || h.AS4() != tt.as4 || h.IPv6() != tt.v6 {
			t.Errorf("type %v, flags %#x: %v, AS4 %v, IPv6 %v", tt.typ, tt.flags, h.View(), h.AS4(), h.IPv6())
		}
	}
	h := PerPeerHeader{Type: LocRIBPeer, Flags: 0xf0}
	if !h.Filtered() || h.PostPolicy() || h.AdjOut() {
		t.Error("flags of Loc-RIB")
	}
	for v := range View(Views) {
		for _, s := range []string{v.String(), v.Key()} {
			if got, ok := ParseView(s); got != v || !ok {
				t.Errorf("ParseView(%q) = %v, %v", s, got, ok)
			}
		}
	}
	if AdjOutPost.String() != "adj-out-post" || AdjOutPost.Key() != "adj_out_post" {
		t.Error(AdjOutPost.String(), AdjOutPost.Key())
	}
	if _, ok := ParseView("adj"); ok {
		t.Error("ParseView of an abbreviation")
	}
}

func TestMessageTypeNames(t *testing.T) {
	for typ := range MessageType(MessageTypes) {
		for _, s := range []string{typ.String(), typ.Word()} {
			if got, ok := ParseMessageType(s); got != typ || !ok {
				t.Errorf("ParseMessageType(%q) = %v, %v", s, got, ok)
			}
		}
	}
	if s := MessageType(100).String(); s != "unknown" {
		t.Error(s)
	}
	if s := MessageType(100).Name(); s != "Message type 100" {
		t.Error(s)
	}
}

// TestAddresses: which address the 16 bytes are, and that they come out again.
func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		typ   PeerType
		flags uint8
		hex   string
		want  netip.Addr
	}{
		{"IPv4", GlobalPeer, 0, "000000000000000000000000 0a000001", netip.MustParseAddr("10.0.0.1")},
		{"IPv4, all zero", GlobalPeer, 0, "00000000000000000000000000000000", netip.MustParseAddr("0.0.0.0")},
		{"IPv6", GlobalPeer, 0x80, "20010db8000000000000000000000001", netip.MustParseAddr("2001:db8::1")},
		{"IPv6 with an IPv4 tail", GlobalPeer, 0x80, "000000000000000000000000 0a000001", netip.MustParseAddr("::a00:1")},
		{"IPv4-mapped", GlobalPeer, 0x80, "00000000000000000000ffff0a000001", netip.MustParseAddr("::ffff:10.0.0.1")},
		{"IPv6 without its flag", GlobalPeer, 0, "20010db8000000000000000000000001", netip.MustParseAddr("2001:db8::1")},
		{"Loc-RIB", LocRIBPeer, 0x80, "00000000000000000000000000000000", netip.Addr{}},
		{"Loc-RIB with an address", LocRIBPeer, 0, "000000000000000000000000 0a000001", netip.MustParseAddr("10.0.0.1")},
	} {
		b := append([]byte{byte(tt.typ), tt.flags, 0, 0, 0, 0, 0, 0, 0, 0}, unhex(t, tt.hex)...)
		b = append(b, make([]byte, 16)...)
		var h PerPeerHeader
		h.parse(b)
		if h.Address != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, h.Address, tt.want)
		}
		if out := h.AppendTo(nil); !bytes.Equal(out, b) {
			t.Errorf("%s: %x, want %x", tt.name, out, b)
		}
	}
}

func TestTime(t *testing.T) {
	var h PerPeerHeader
	if _, ok := h.Time(); ok {
		t.Error("zero is a time")
	}
	want := time.Unix(1600000000, 123456000)
	h.SetTime(want)
	if got, ok := h.Time(); !ok || !got.Equal(want) {
		t.Error(got)
	}
	h.SetTime(time.Time{})
	if _, ok := h.Time(); ok {
		t.Error("zero is a time")
	}
}
