package bmp

import "testing"

func TestTexts(t *testing.T) {
	i := Initiation{TLVs: []TLV{{Type: InitSysDescr, Value: []byte(" 7.10.2")}, {Type: InitSysName, Value: []byte("edge1\x00")}}}
	if i.SysName() != "edge1" || i.SysDescr() != " 7.10.2" {
		t.Errorf("%q, %q", i.SysName(), i.SysDescr())
	}
	if s := (TLV{Value: []byte("a\xffb")}).Text(); s != "a\uFFFDb" {
		t.Errorf("%q", s)
	}
	term := Termination{TLVs: []TLV{{Type: TermReason, Value: []byte{0, 3}}, {Value: []byte("bye")}}}
	if r, ok := term.Reason(); !ok || r.String() != "redundant connection" || term.Text() != "bye" {
		t.Errorf("%v, %v, %q", r, ok, term.Text())
	}
	term.TLVs[0].Value = []byte{3}
	if _, ok := term.Reason(); ok {
		t.Error("a reason of one byte")
	}
	m := RouteMirroring{TLVs: []TLV{{Type: MirrorInformation, Value: []byte{0, 1}}, {Value: []byte{1}}, {Value: []byte{2}}}}
	if c, ok := m.Information(); !ok || c.String() != "messages lost" {
		t.Errorf("%v, %v", c, ok)
	}
	n := byte(0)
	for b := range m.Messages() {
		if n++; b[0] != n {
			t.Errorf("message %d: %x", n, b)
		}
	}
	if n != 2 {
		t.Errorf("%d messages", n)
	}
	up := PeerUp{TLVs: []TLV{{Value: []byte("inet.0")}, {Type: PeerTableName, Value: []byte("red")}, {Type: PeerAdminLabel, Value: []byte("x")}}}
	if up.Text() != "inet.0" || up.TableName() != "red" || up.AdminLabel() != "x" {
		t.Errorf("%+v", up)
	}
	for event, want := range map[uint16]string{0: "no event given", 2: "ManualStop", 18: "TcpConnection fails", 28: "update message error", 29: "event 29"} {
		if got := FSMEventName(event); got != want {
			t.Errorf("event %d: %q", event, got)
		}
	}
	for r, want := range map[PeerDownReason]string{0: "reason 0", 1: "local system closed, notification sent", 6: "local system closed"} {
		if r.String() != want {
			t.Errorf("reason %d: %q", r, r)
		}
	}
}
