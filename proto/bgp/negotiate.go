package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Comparison is what two OPENs come to, for `show client X peer Y`.
type Comparison struct {
	Families        []Family // both speak them
	HoldTime        uint16   // seconds; the smaller one
	AS4             bool
	ExtendedMessage bool
	AddPathIn       AddPathSet // the router gets path identifiers
	AddPathOut      AddPathSet // the router sends path identifiers
	Rows            []ComparisonRow
}

// ComparisonRow is one item of both OPENs; "" is what an OPEN does not say.
type ComparisonRow struct{ Name, Sent, Received, Negotiated string }

// Negotiate compares the OPEN that the monitored router sent with the one it received.
func Negotiate(sent, received *Open) Comparison {
	var c Comparison
	row := func(name, s, r, n string) { c.Rows = append(c.Rows, ComparisonRow{name, s, r, n}) }
	number := func(n uint64) string { return fmt.Sprint(n) }
	row("version", number(uint64(sent.Version)), number(uint64(received.Version)), "")
	row("as", number(uint64(sent.AS)), number(uint64(received.AS)), "")
	row("bgp-id", netip.AddrFrom4(sent.ID).String(), netip.AddrFrom4(received.ID).String(), "")
	c.HoldTime = min(sent.HoldTime, received.HoldTime)
	row("hold-time", number(uint64(sent.HoldTime)), number(uint64(received.HoldTime)), number(uint64(c.HoldTime)))

	ours, theirs := sent.Families(), received.Families()
	for _, f := range union(ours, theirs) {
		both := ""
		if slices.Contains(ours, f) && slices.Contains(theirs, f) {
			c.Families = append(c.Families, f)
			both = "yes"
		}
		row("family "+f.String(), yes(slices.Contains(ours, f)), yes(slices.Contains(theirs, f)), both)
	}
	slices.SortFunc(c.Families, Family.Compare)
	c.AddPathIn, c.AddPathOut = AddPathIn(sent, received), AddPathOut(sent, received)
	for _, f := range union(sent.addPathFamilies(), received.addPathFamilies()) {
		var n []string
		if c.AddPathIn.Has(f) {
			n = append(n, "receive")
		}
		if c.AddPathOut.Has(f) {
			n = append(n, "send")
		}
		row("add-path "+f.String(), modeText(sent.AddPath(f)), modeText(received.AddPath(f)), strings.Join(n, " "))
	}
	c.AS4 = sent.HasAS4() && received.HasAS4()
	c.ExtendedMessage = sent.ExtendedMessage() && received.ExtendedMessage()

	// The other capabilities, each code once.
	var codes []uint8
	for _, cap := range slices.Concat(sent.Capabilities, received.Capabilities) {
		if cap.Code != CapMultiprotocol && cap.Code != CapAddPath && !slices.Contains(codes, cap.Code) {
			codes = append(codes, cap.Code)
		}
	}
	slices.Sort(codes)
	for _, code := range codes {
		s, inSent := sent.capText(code)
		r, inReceived := received.capText(code)
		row(Capability{Code: code}.Name(), s, r, yes(inSent && inReceived))
	}
	return c
}

// capText joins what an OPEN says under a capability code: "yes" when that is nothing but the code.
func (o *Open) capText(code uint8) (text string, ok bool) {
	var all []string
	for _, c := range o.Capabilities {
		if c.Code == code {
			ok = true
			if t := c.Text(); t != "" {
				all = append(all, t)
			}
		}
	}
	if ok && len(all) == 0 {
		return "yes", true
	}
	return strings.Join(all, ", "), ok
}

func union(a, b []Family) []Family {
	out := slices.Clone(a)
	for _, f := range b {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, Family.Compare)
	return out
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func modeText(m AddPathMode) string {
	if m == 0 {
		return ""
	}
	return m.String()
}
