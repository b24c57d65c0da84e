package command

import (
	"fmt"
	"strconv"
	"time"
)

// formatUptime is the form of every uptime and age in a column: HH:MM:SS, from
// one day on 3d04h11m. A negative duration (a clock that was set back) shows as
// zero.
func formatUptime(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	s := int64(d / time.Second)
	if s < 86400 {
		return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%dd%02dh%02dm", s/86400, s/3600%24, s/60%60)
}

// formatUptimeLong is the form of show summary: 3d 04h 11m.
func formatUptimeLong(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	m := int64(d / time.Minute)
	return fmt.Sprintf("%dd %02dh %02dm", m/1440, m/60%24, m%60)
}

// formatCount is the form of a count in a column: plain up to 9999999, then in
// millions, billions (10^6, 10^9) with the given decimals.
func formatCount(n uint64, decimals int) string {
	if n <= 9999999 {
		return strconv.FormatUint(n, 10)
	}
	return scale(n, 1000, decimals, []string{"", "K", "M", "B"})
}

// formatSize is the form of an amount of data: bytes plain, then KB, MB, GB, TB
// with the given decimals. As in everything that is typed (retention archive 7d
// 20GB), a KB is 1024 bytes.
func formatSize(n uint64, decimals int) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	return scale(n, 1024, decimals, []string{"B", "KB", "MB", "GB", "TB"})
}

// scale divides by unit until what is printed stays below it: 1,048,575 bytes
// are 1.0MB, not 1024.0KB.
func scale(n uint64, unit float64, decimals int, names []string) string {
	half := 0.5
	for range decimals {
		half /= 10
	}
	f, u := float64(n), 0
	for f+half >= unit && u < len(names)-1 {
		f /= unit
		u++
	}
	return strconv.FormatFloat(f, 'f', decimals, 64) + names[u]
}

// formatClock is a moment as shown in text: the time of day of somebody's zone,
// with the date where it was not today.
func formatClock(t time.Time, zone *time.Location, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t, now = t.In(zone), now.In(zone)
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05.000")
	}
	return t.Format("2006-01-02 15:04:05.000")
}

// plural is "1 route", "2 routes".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// dash stands for a value that is not known, in text.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// jsonTime is a moment as JSON wants it, nil for none.
func jsonTime(t time.Time, zone *time.Location) any {
	if t.IsZero() {
		return nil
	}
	return t.In(zone).Format("2006-01-02T15:04:05.000Z07:00")
}

// jsonCoarseTime is jsonTime without digits that are not known: the route store keeps times rounded down to an eighth of a
// second, so hundredths would say what is not so. It is rounded up: who asks what was at that time is told of the route.
func jsonCoarseTime(t time.Time, zone *time.Location) any {
	if t.IsZero() {
		return nil
	}
	const tenth = 100 * time.Millisecond
	up := t.Add(storeTick - time.Millisecond + tenth - time.Nanosecond).Truncate(tenth)
	return up.In(zone).Format("2006-01-02T15:04:05.0Z07:00")
}

// jsonString is nil for a string that is empty, for values that may be absent.
func jsonString(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// jsonSeconds is a duration in whole seconds.
func jsonSeconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }
