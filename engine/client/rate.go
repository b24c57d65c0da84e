package client

import "time"

// A rate sample covers rateInterval; an hour of them is kept.
const (
	rateInterval = 10 * time.Second
	rateSamples  = 360
)

type rateSample struct {
	start                                 int64 // unix nanoseconds
	messages, bytes, announced, withdrawn uint32
}

// rate is how fast a client talks. It is fed once for each batch read, not for each message. Guarded by Client.mu.
type rate struct {
	samples []rateSample // newest last; grows to rateSamples, then the oldest fall out
	// Totals at the start of the newest sample.
	messages, bytes, announced, withdrawn uint64
}

// note brings the newest sample up to date. Nothing is kept for intervals in which nothing came.
func (r *rate) note(now int64, messages, bytes, announced, withdrawn uint64) {
	start := now - now%int64(rateInterval)
	n := len(r.samples)
	if n == 0 || r.samples[n-1].start != start {
		if n == rateSamples {
			copy(r.samples, r.samples[1:])
			r.samples = r.samples[:n-1]
		}
		r.samples = append(r.samples, rateSample{start: start})
		n = len(r.samples)
	}
	s := &r.samples[n-1]
	s.messages += uint32(messages - r.messages)
	s.bytes += uint32(bytes - r.bytes)
	s.announced += uint32(announced - r.announced)
	s.withdrawn += uint32(withdrawn - r.withdrawn)
	r.messages, r.bytes, r.announced, r.withdrawn = messages, bytes, announced, withdrawn
}

// snapshot computes the rates of the last full minute and the peak of the last hour.
func (r *rate) snapshot(now time.Time) Rate {
	const window = 6 * rateInterval
	out := Rate{Window: window, TotalMessages: r.messages, TotalBytes: r.bytes}
	end := now.UnixNano() - now.UnixNano()%int64(rateInterval)
	for _, s := range r.samples {
		if s.start < end-rateSamples*int64(rateInterval) {
			continue
		}
		out.Samples = append(out.Samples, RateSample{
			Start: time.Unix(0, s.start), Messages: uint64(s.messages), Bytes: uint64(s.bytes),
			Announced: uint64(s.announced), Withdrawn: uint64(s.withdrawn),
		})
		if p := float64(s.messages) / rateInterval.Seconds(); p > out.PeakMessages {
			out.PeakMessages, out.PeakTime = p, time.Unix(0, s.start)
		}
		// The running interval counts for the part of it that is over, so that a client just up has a rate.
		if s.start > end-int64(window) {
			out.Messages += float64(s.messages)
			out.Bytes += float64(s.bytes)
			out.Announced += float64(s.announced)
			out.Withdrawn += float64(s.withdrawn)
		}
	}
	covered := (window - rateInterval + time.Duration(now.UnixNano()-end)).Seconds()
	out.Messages /= covered
	out.Bytes /= covered
	out.Announced /= covered
	out.Withdrawn /= covered
	return out
}
