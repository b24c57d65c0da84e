package grammar

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads 90s, 5m, 1h30m, 2d, 3d04h11m, 1w. A bare number is not a duration.
func ParseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration (30s, 5m, 2h, 3d)", text)
	if text == "" {
		return 0, bad
	}
	var total float64
	for rest := text; rest != ""; {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		number, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return 0, bad
		}
		rest = rest[n:]
		n = 0
		for n < len(rest) && rest[n] >= 'a' && rest[n] <= 'z' {
			n++
		}
		unit, ok := durationUnits[rest[:n]]
		if !ok {
			return 0, bad
		}
		rest = rest[n:]
		total += number * float64(unit)
	}
	if total > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is longer than can be", text)
	}
	return time.Duration(total), nil
}

var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// ParseSize reads 4096, 64KB, 1.5GB in bytes, units being powers of 1024; K and KiB are the same.
func ParseSize(text string) (int64, error) {
	bad := fmt.Errorf("%q is not a size (500MB, 10GB)", text)
	n := 0
	for n < len(text) && (text[n] >= '0' && text[n] <= '9' || text[n] == '.') {
		n++
	}
	number, err := strconv.ParseFloat(text[:n], 64)
	if err != nil {
		return 0, bad
	}
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(text[n:]), "B"), "I")
	shift := strings.Index(" KMGTP", unit)
	if unit == "" {
		shift = 0
	}
	if shift < 0 || len(unit) > 1 || unit == " " || strings.EqualFold(text[n:], "I") || strings.EqualFold(text[n:], "IB") {
		return 0, bad
	}
	size := number * float64(int64(1)<<(10*shift))
	if size > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is larger than can be", text)
	}
	return int64(size), nil
}

// dateLayouts are the forms of a time with its day; those without a zone are in the zone of who asks.
var dateLayouts = []struct {
	layout string
	zoned  bool
}{
	{time.RFC3339Nano, true}, {"2006-01-02T15:04Z07:00", true},
	{"2006-01-02T15:04:05.999999999", false}, {"2006-01-02T15:04", false},
	{"2006-01-02 15:04:05.999999999", false}, {"2006-01-02 15:04", false}, {"2006-01-02", false},
}

// ParseTime reads a time as one types it, seen at now from zone:
//
//	10:05  10:05:30             the most recent one that has been
//	2026-11-22T10:05Z           RFC 3339, with or without seconds, fractions and zone; also the day alone (its start)
//	-15m  -2h30m                before now
//	yesterday                   the start of yesterday
//
// A time in the future is an error, and so is a clock time that the zone had twice (which names both) or never.
func ParseTime(text string, now time.Time, zone *time.Location) (time.Time, error) {
	if zone == nil {
		zone = time.Local
	}
	if now.IsZero() {
		now = time.Now()
	}
	now = now.In(zone)
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		d, err := ParseDuration(ago)
		if err != nil {
			return time.Time{}, errSyntax
		}
		return now.Add(-d), nil
	}
	if text == "yesterday" {
		y, m, d := now.Date()
		return startOfDay(y, m, d-1, zone), nil
	}
	for _, layout := range []string{"15:04", "15:04:05.999999999"} {
		if clock, err := time.Parse(layout, text); err == nil {
			return recentClock(text, clock, now, zone)
		}
	}
	for _, l := range dateLayouts {
		t, err := time.Parse(l.layout, text)
		if err != nil {
			continue
		}
		if !l.zoned {
			if l.layout == "2006-01-02" {
				y, m, d := t.Date()
				t = startOfDay(y, m, d, zone)
			} else if t, err = oneInstant(text, t, zone); err != nil {
				return time.Time{}, err
			}
		}
		if t.After(now.Add(printedAhead)) {
			return time.Time{}, fmt.Errorf("%s is in the future (now is %s)", text, now.Format("2006-01-02T15:04:05.999Z07:00"))
		}
		if t.After(now) {
			t = now
		}
		return t.In(zone), nil
	}
	return time.Time{}, errSyntax
}

// printedAhead is how far ahead of now a time may be that was printed rounded up (the since of a route, to a tenth of a second).
const printedAhead = 250 * time.Millisecond

// errNever is a clock time that a zone skipped.
var errNever = errors.New("never")

// recentClock finds the last time the clock of zone showed a time of day.
func recentClock(text string, clock, now time.Time, zone *time.Location) (time.Time, error) {
	y, m, d := now.Date()
	for back := 0; back <= 2; back++ {
		wall := time.Date(y, m, d-back, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), time.UTC)
		var past []time.Time
		for _, t := range instants(wall, zone) {
			if !t.After(now) {
				past = append(past, t)
			}
		}
		switch len(past) {
		case 0: // not yet, or skipped that day
		case 1:
			return past[0], nil
		default:
			return time.Time{}, twice(text, past)
		}
	}
	return time.Time{}, fmt.Errorf("%s has not been in %s lately", text, zone)
}

// oneInstant is the instant at which the clock of zone showed wall (its fields, taken as UTC).
func oneInstant(text string, wall time.Time, zone *time.Location) (time.Time, error) {
	list := instants(wall, zone)
	switch len(list) {
	case 0:
		return time.Time{}, fmt.Errorf("%s: the clock of %s skipped it: %w", text, zone, errNever)
	case 1:
		return list[0], nil
	}
	return time.Time{}, twice(text, list)
}

func twice(text string, list []time.Time) error {
	both := make([]string, len(list))
	for i, t := range list {
		both[i] = t.Format(time.RFC3339)
	}
	return fmt.Errorf("%s was twice: %s", text, strings.Join(both, " and "))
}

// instants are all instants, in order, at which the clock of zone shows wall: mostly one, none when it was put forward over
// it, two when it was put back over it.
func instants(wall time.Time, zone *time.Location) []time.Time {
	var list []time.Time
	for _, near := range []time.Duration{-26 * time.Hour, 26 * time.Hour} {
		_, offset := wall.Add(near).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, o := t.Zone(); o != offset || len(list) == 1 && list[0].Equal(t) {
			continue
		}
		list = append(list, t)
	}
	if len(list) == 2 && list[1].Before(list[0]) {
		list[0], list[1] = list[1], list[0]
	}
	return list
}

// startOfDay is the first instant of a day, which need not be its midnight.
func startOfDay(y int, m time.Month, d int, zone *time.Location) time.Time {
	wall := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	if list := instants(wall, zone); len(list) > 0 {
		return list[0]
	}
	return time.Date(y, m, d, 0, 0, 0, 0, zone)
}
