package command

import (
	"context"
	"testing"
	"time"

	"bmp/engine"
	"bmp/proto/control"
	"bmp/proto/filter"
	"bmp/proto/grammar"
)

// nowhere takes lines and drops them.
type nowhere struct{ lines int }

func (s *nowhere) Heading([]byte) error { return nil }
func (s *nowhere) Row([]byte) error     { s.lines++; return nil }
func (s *nowhere) JSON([]byte) error    { s.lines++; return nil }

// BenchmarkShowBGP is the cost of one route in a long answer, store and
// rendering together, without the protocol.
func BenchmarkShowBGP(b *testing.B) {
	for _, c := range []struct {
		name, line string
		format     filter.Format
	}{{"text", "show bgp all", filter.Text}, {"json", "show bgp all", filter.JSON}, {"count", "show bgp all | count", filter.Text},
		{"as-path", "show bgp ipv4 as-path _7_ | count", filter.Text}} {
		b.Run(c.name, func(b *testing.B) {
			ts := benchStation(b)
			h := New(ts.Station, Options{})
			m, err := h.Tree().Match(c.line, grammar.Env{Zone: time.UTC})
			if err != nil {
				b.Fatal(err)
			}
			p, err := filter.Parse(m.Rest, m.RestCol, filter.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				w := p.Start(&nowhere{}, c.format)
				q := &control.Request{Line: c.line, Match: m, Role: control.RoleAdmin, Zone: time.UTC, Now: time.Now()}
				if err := h.Execute(context.Background(), q, &control.Reply{Writer: w}); err != nil {
					b.Fatal(err)
				}
				w.Finish(false)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRoutes, "ns/route")
		})
	}
}

const benchRoutes = 200_000

func benchStation(b *testing.B) *testStation {
	ts := startStation(b, engine.Options{})
	ts.manyRoutes(benchRoutes)
	return ts
}
