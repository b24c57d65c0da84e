package command

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"bmp/engine/client"
	"bmp/proto/control"
	"bmp/proto/filter"
)

type proofJSON struct {
	Offset int64  `json:"offset"` // in the session's stream
	Length int    `json:"length"` // of the whole message
	Hex    string `json:"hex"`    // its first bytes
}

type findingJSON struct {
	Time    any        `json:"time"` // when it was last seen
	Peer    any        `json:"peer"`
	Finding string     `json:"finding"`
	Count   uint64     `json:"count"`
	Detail  any        `json:"detail"`
	Proof   *proofJSON `json:"proof"`
}

func showHealth(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	err = c.out.Columns(filter.Column{Name: "Last", Key: "time", Width: 12}, filter.Column{Name: "Peer", Width: 15},
		filter.Column{Name: "Finding", Width: 28}, filter.Column{Name: "Count", Width: 7, Right: true},
		filter.Column{Name: "Proof", Width: 12}, filter.Column{Name: "Detail"})
	if err != nil {
		return err
	}
	findings, more := cl.Health()
	for i := range findings {
		f := &findings[i]
		proof := "-"
		j := findingJSON{Time: c.time(f.Last), Finding: f.Kind.String(), Count: f.Count, Detail: jsonString(f.Detail)}
		if f.ProofOffset >= 0 && len(f.Proof) > 0 {
			proof = fmt.Sprintf("at %d", f.ProofOffset)
			j.Proof = &proofJSON{f.ProofOffset, f.ProofLength, hex.EncodeToString(f.Proof)}
		}
		if f.Peer != 0 {
			if l, ok := cl.PeerLabel(f.Peer); ok {
				j.Peer = addrJSON(l.Address)
			}
		}
		err := c.out.Record(filter.Record{JSON: j, Cells: []string{c.clock(f.Last), dash(f.PeerName), f.Kind.String(), formatCount(f.Count, 1), proof, f.Detail}})
		if err != nil {
			return err
		}
	}
	switch {
	case len(findings) == 0:
		return c.out.Trailer("no findings")
	case more > 0:
		return c.out.Trailer(formatCount(more, 1) + " more occurrences found no room")
	}
	return nil
}

type malformedJSON struct {
	Number uint64 `json:"number"`
	Time   any    `json:"time"`
	PeerID any    `json:"peer_id"`
	Peer   any    `json:"peer"`
	Type   string `json:"type"`
	Offset int64  `json:"offset"` // of the message in its session's stream
	At     any    `json:"at"`     // of the fault in the message
	Reason string `json:"reason"`
	Class  any    `json:"class"` // of RFC 7606
	Bytes  int    `json:"bytes"`
	Hex    string `json:"hex"`
}

func (c *call) malformedJSON(cl *client.Client, m *client.MalformedMessage) malformedJSON {
	j := malformedJSON{Number: m.Number, Time: c.time(m.Time), Type: m.Type.String(), Offset: m.Offset, Reason: m.Reason, Bytes: len(m.Raw),
		Hex: hex.EncodeToString(m.Raw)}
	if m.At >= 0 {
		j.At = m.At
	}
	if m.Class != 0 {
		j.Class = m.Class.String()
	}
	if m.Peer != 0 {
		j.PeerID = m.Peer
		if l, ok := cl.PeerLabel(m.Peer); ok {
			j.Peer = addrJSON(l.Address)
		}
	}
	return j
}

func showMalformed(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	list, total := cl.Malformed()
	if n, ok := c.m.Number("n"); ok {
		for i := range list {
			if list[i].Number == n {
				return c.malformedWhole(cl, &list[i])
			}
		}
		return control.Errorf(control.CodeNotFound, "No malformed message %d on client %d (see 'show client %d malformed')", n, cl.ID(), cl.ID())
	}
	err = c.out.Columns(filter.Column{Name: "Number", Width: 6, Right: true}, filter.Column{Name: "Time", Width: 12},
		filter.Column{Name: "Peer", Width: 15}, filter.Column{Name: "Type", Width: 17}, filter.Column{Name: "Bytes", Width: 6, Right: true},
		filter.Column{Name: "Offset", Width: 6, Right: true}, filter.Column{Name: "Class", Width: 17}, filter.Column{Name: "Fault", Key: "reason"})
	if err != nil {
		return err
	}
	for i := range list {
		m := &list[i]
		at, class := "-", "-"
		if m.At >= 0 {
			at = strconv.Itoa(m.At)
		}
		if m.Class != 0 {
			class = m.Class.String()
		}
		err := c.out.Record(filter.Record{JSON: c.malformedJSON(cl, m), Cells: []string{strconv.FormatUint(m.Number, 10), c.clock(m.Time),
			dash(m.PeerName), m.Type.Word(), strconv.Itoa(len(m.Raw)), at, class, m.Reason}})
		if err != nil {
			return err
		}
	}
	if total > uint64(len(list)) {
		return c.out.Trailer(fmt.Sprintf("%d kept of %s", len(list), formatCount(total, 1)))
	}
	return nil
}

// malformedWhole shows one malformed message with its bytes and the place of the fault.
func (c *call) malformedWhole(cl *client.Client, m *client.MalformedMessage) error {
	class := ""
	if m.Class != 0 {
		class = m.Class.String()
	}
	at := ""
	if m.At >= 0 {
		at = fmt.Sprintf("%d (0x%04x)", m.At, m.At)
	}
	if err := c.out.Document(c.malformedJSON(cl, m)); err != nil {
		return err
	}
	if err := c.lines(fmt.Sprintf("Malformed message %d of client %d", m.Number, cl.ID())); err != nil {
		return err
	}
	err := c.block(field{"Time", c.clock(m.Time)}, field{"Peer", m.PeerName}, field{"Type", m.Type.Name()}, field{"Fault", m.Reason},
		field{"At offset", at}, field{"Class", class}, field{"In the stream at", strconv.FormatInt(m.Offset, 10)},
		field{"Bytes", strconv.Itoa(len(m.Raw))})
	if err != nil {
		return err
	}
	for i, l := range hexLines(m.Raw, "  ") {
		if m.At >= i*16 && m.At < i*16+16 {
			l += " <"
		}
		if err := c.out.Line(l); err != nil {
			return err
		}
	}
	return nil
}

// statisticNamed says whether a statistic is the one that was typed: its type's
// number, or a part of its name, hyphens standing for blanks.
func statisticNamed(s *client.Statistic, name string) bool {
	if name == "" || name == strconv.Itoa(int(s.Type)) {
		return true
	}
	flat := strings.NewReplacer("-", " ", "_", " ")
	return strings.Contains(flat.Replace(strings.ToLower(s.Name)), flat.Replace(strings.ToLower(name)))
}

func showStatistics(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	name := c.m.Value("name")
	err = c.out.Columns(filter.Column{Name: "Peer", Width: 15}, filter.Column{Name: "View", Width: 11}, filter.Column{Name: "Type", Width: 5, Right: true},
		filter.Column{Name: "Statistic", Key: "name", Width: 40}, filter.Column{Name: "Family", Width: 12},
		filter.Column{Name: "Value", Width: 10, Right: true}, filter.Column{Name: "Age", Key: "time", Width: 8, Right: true})
	if err != nil {
		return err
	}
	for _, ps := range cl.Statistics() {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range ps.Statistics {
			s := &ps.Statistics[i]
			if !statisticNamed(s, name) {
				continue
			}
			j := c.statisticJSON(&ps.Peer, s)
			family := "-"
			if f, ok := j.Family.(string); ok {
				family = f
			}
			err := c.out.Record(filter.Record{JSON: j, Cells: []string{ps.Peer.Name(), s.View.String(), strconv.Itoa(int(s.Type)), s.Name, family,
				statisticText(s), c.age(s.Time)}})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

type rateJSON struct {
	WindowSeconds      int64        `json:"window_seconds"`
	MessagesPerSecond  float64      `json:"messages_per_second"`
	BytesPerSecond     float64      `json:"bytes_per_second"`
	AnnouncedPerSecond float64      `json:"announced_per_second"`
	WithdrawnPerSecond float64      `json:"withdrawn_per_second"`
	PeakMessages       float64      `json:"peak_messages_per_second"`
	PeakTime           any          `json:"peak_time"`
	Messages           uint64       `json:"messages"`
	Bytes              uint64       `json:"bytes"`
	Samples            []sampleJSON `json:"samples"`
}

type sampleJSON struct {
	Start     any    `json:"start"`
	Messages  uint64 `json:"messages"`
	Bytes     uint64 `json:"bytes"`
	Announced uint64 `json:"announced"`
	Withdrawn uint64 `json:"withdrawn"`
}

// shownSamples is how many intervals show client X rate prints; JSON has all.
const shownSamples = 12

func showRate(ctx context.Context, c *call) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	r := cl.Rate(c.Now)
	peak := "none"
	if !r.PeakTime.IsZero() {
		peak = fmt.Sprintf("%.1f messages/s at %s", r.PeakMessages, c.clock(r.PeakTime))
	}
	j := rateJSON{jsonSeconds(r.Window), r.Messages, r.Bytes, r.Announced, r.Withdrawn, r.PeakMessages, c.time(r.PeakTime), r.TotalMessages,
		r.TotalBytes, []sampleJSON{}}
	for _, s := range r.Samples {
		j.Samples = append(j.Samples, sampleJSON{c.time(s.Start), s.Messages, s.Bytes, s.Announced, s.Withdrawn})
	}
	if err := c.out.Document(j); err != nil {
		return err
	}
	if err := c.lines(fmt.Sprintf("Client %d, over the last %s", cl.ID(), formatUptime(r.Window))); err != nil {
		return err
	}
	err = c.block(field{"Messages", fmt.Sprintf("%.1f/s", r.Messages)}, field{"Data", formatSize(uint64(r.Bytes), 1) + "/s"},
		field{"Announced", fmt.Sprintf("%.1f/s", r.Announced)}, field{"Withdrawn", fmt.Sprintf("%.1f/s", r.Withdrawn)},
		field{"Peak of the last hour", peak}, field{"In all", formatCount(r.TotalMessages, 1) + " messages, " + formatSize(r.TotalBytes, 1)})
	if err != nil {
		return err
	}
	for i, s := range r.Samples {
		if i < len(r.Samples)-shownSamples {
			continue
		}
		if i == 0 || i == len(r.Samples)-shownSamples {
			if err := c.lines("", fmt.Sprintf("  %-24s %10s %10s %10s %10s", "Interval from", "Messages", "Data", "Announced", "Withdrawn")); err != nil {
				return err
			}
		}
		if err := c.lines(fmt.Sprintf("  %-24s %10s %10s %10s %10s", c.clock(s.Start), formatCount(s.Messages, 1), formatSize(s.Bytes, 1),
			formatCount(s.Announced, 1), formatCount(s.Withdrawn, 1))); err != nil {
			return err
		}
	}
	return nil
}
