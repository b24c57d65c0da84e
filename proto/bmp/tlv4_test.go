package bmp

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// monitoring4 is a version 4 Route Monitoring with the given TLVs.
func monitoring4(t *testing.T, tlvs string) []byte {
	t.Helper()
	raw := unhex(t, "04 00000000 00"+locRIBHex+tlvs)
	fixLength(raw)
	return raw
}

func TestProfiles(t *testing.T) {
	const (
		pdu4     = "0004 0017 0000" + eor + "\n"
		pdu7     = "0007 0017 0000" + eor + "\n"
		seq5     = "0005 0008 0000 0000000000000001\n"
		marking5 = "0005 0004 0001 00000002\n"
		cap3     = "0003 0006 0000 4104 00000064\n"
		name3    = "0003 0006 0000 676c6f62616c\n"
	)
	for _, tt := range []struct {
		name string
		tlvs []string // of messages in a row
		want []Profile
	}{
		{"draft 20", []string{pdu7}, []Profile{ProfileDraft20}},
		{"deployed", []string{pdu4}, []Profile{ProfileDeployed}},
		{"deployed with name and marking", []string{name3 + pdu4 + marking5}, []Profile{ProfileDeployed}},
		{"editors by sequence number", []string{pdu4 + seq5}, []Profile{ProfileEditors}},
		{"editors by capability", []string{cap3 + pdu4}, []Profile{ProfileEditors}},
		{"editors stays", []string{pdu4, cap3 + pdu4, pdu4}, []Profile{ProfileDeployed, ProfileEditors, ProfileEditors}},
	} {
		var p Parser
		for i, tlvs := range tt.tlvs {
			f, err := FrameOf(monitoring4(t, tlvs), 0)
			if err != nil {
				t.Fatal(err)
			}
			m, err := p.Parse(f)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			rm := m.(*RouteMonitoring)
			if rm.Profile != tt.want[i] || p.DetectedProfile() != tt.want[i] {
				t.Errorf("%s: message %d: %v", tt.name, i, rm.Profile)
			}
			if len(rm.Update) != 23 {
				t.Errorf("%s: UPDATE of %d bytes", tt.name, len(rm.Update))
			}
		}
	}
	// One that is set is taken at its word.
	f, _ := FrameOf(monitoring4(t, pdu4), 0)
	p := Parser{Profile: ProfileDraft20}
	if _, err := p.Parse(f); err == nil {
		t.Error("type 4 taken for the BGP message by draft 20")
	}
}

func TestDeployedTLVs(t *testing.T) {
	raw := monitoring4(t, `
		0001 0006 0000 4504 0001 8003         # stateless parsing: ADD-PATH for 1/128, both
		0002 0004 8001 0001 0002              # group 1: NLRI 1 and 2
		0003 0006 0000 676c6f62616c           # table name global
		0005 0006 8001 00000002 0006          # of group 1: best; MED
		0005 0004 0002 00000084               # of NLRI 2: not selected, add-path
		0005 0004 0000 80000000               # of all: a bit without a name
		8005 0008 0000 00007ed9 00000001      # an enterprise's type 5
		0004 0017 0000`+eor)
	m, err := parseOne(raw)
	if err != nil {
		t.Fatal(err)
	}
	rm := m.(*RouteMonitoring)
	if rm.Profile != ProfileDeployed || rm.TableName() != "global" || !rm.Stateless() || len(rm.TLVs) != 7 {
		t.Errorf("%+v", rm)
	}
	n := 0
	for code, value := range rm.Capabilities() {
		if n++; code != 69 || !bytes.Equal(value, []byte{0, 1, 128, 3}) {
			t.Errorf("capability %d: %x", code, value)
		}
	}
	if n != 1 {
		t.Errorf("%d capabilities", n)
	}
	for nlri, want := range map[int]string{1: "best; MED", 2: "not selected, add-path; ", 3: "0x80000000; "} {
		mark, ok := rm.Marking(nlri)
		if got := fmt.Sprintf("%v; %v", mark.Status, mark.Reason); got != want || !ok {
			t.Errorf("NLRI %d: %q, %v; want %q", nlri, got, ok, want)
		}
	}
	if out, err := rm.Append(nil, Encoding{Version: 4}); err != nil || !bytes.Equal(out, raw) {
		t.Errorf("%x, %v", out, err)
	}
}

func TestDraft20TLVs(t *testing.T) {
	m, err := parseOne(monitoring4(t, `
		0001 0008 0000 0000000000000102       # sequence number 258
		0002 0002 0000 8040                   # extended flags
		0003 0009 0002 02 5f5e1000 000f4240   # NLRI 2: Adj-RIB-In at
		0003 0009 0000 01 5f5e1000 00000000   # all: export at
		0003 0008 0000 01 5f5e1000 000000     # cut
		0004 0004 8001 0001 0003              # group
		0005 0003 0000 726564                 # red
		0006 0006 0000 4104 0000fde8          # stateless parsing
		0007 0017 0000`+eor))
	if err != nil {
		t.Fatal(err)
	}
	rm := m.(*RouteMonitoring)
	if n, ok := rm.Sequence(); n != 258 || !ok {
		t.Errorf("Sequence = %d, %v", n, ok)
	}
	if !bytes.Equal(rm.find(ExtendedFlagsTLV).Value, []byte{0x80, 0x40}) || rm.TableName() != "red" || !rm.Stateless() {
		t.Errorf("%+v", rm)
	}
	var got []string
	for typ, at := range rm.Timestamps(2) {
		got = append(got, fmt.Sprint(typ, " ", at.Sub(time.Unix(0x5f5e1000, 0))))
	}
	if fmt.Sprint(got) != "[Adj-RIB-In 1s export 0s]" {
		t.Error(got)
	}
	g := TLV{Index: GroupBit | 1}
	for nlri, want := range map[int]bool{1: true, 2: false, 3: true} {
		if rm.applies(&g, nlri) != want {
			t.Errorf("group applies to %d: %v", nlri, !want)
		}
	}
	if _, ok := rm.Marking(1); ok {
		t.Error("draft 20 has no path marking")
	}
}

func TestProfileTLV(t *testing.T) {
	for _, tt := range []struct {
		p    Profile
		kind Kind
		typ  uint16
	}{
		{ProfileDraft20, BGPMessageTLV, 7}, {ProfileDraft20, StatelessTLV, 6}, {ProfileDraft20, PathMarkingTLV, 0},
		{ProfileDeployed, BGPMessageTLV, 4}, {ProfileDeployed, StatelessTLV, 1}, {ProfileDeployed, PathMarkingTLV, 5},
		{ProfileDeployed, SequenceTLV, 0}, {ProfileEditors, BGPMessageTLV, 4}, {ProfileEditors, SequenceTLV, 5},
		{ProfileEditors, TimestampTLV, 7}, {ProfileEditors, GroupTLV, 1}, {ProfileAuto, GroupTLV, 0},
	} {
		tlv, ok := tt.p.TLV(tt.kind, 3, []byte{1})
		if ok != (tt.typ != 0) || tlv.Type != tt.typ {
			t.Errorf("%v, %v: type %d, %v; want %d", tt.p, tt.kind, tlv.Type, ok, tt.typ)
		}
		if ok && (tt.p.Kind(&tlv) != tt.kind || tlv.Index != 3) {
			t.Errorf("%v: type %d is %v", tt.p, tlv.Type, tt.p.Kind(&tlv))
		}
	}
}
