package command

import (
	"testing"
	"time"
)

func TestFormatUptime(t *testing.T) {
	for _, c := range []struct {
		d           time.Duration
		short, long string
	}{
		{-time.Second, "00:00:00", "0d 00h 00m"},
		{3*time.Minute + 11*time.Second, "00:03:11", "0d 00h 03m"},
		{24*time.Hour - time.Second, "23:59:59", "0d 23h 59m"},
		{24 * time.Hour, "1d00h00m", "1d 00h 00m"},
		{76*time.Hour + 11*time.Minute + 59*time.Second, "3d04h11m", "3d 04h 11m"},
		{400 * 24 * time.Hour, "400d00h00m", "400d 00h 00m"},
	} {
		if got := formatUptime(c.d); got != c.short {
			t.Errorf("formatUptime(%v) = %q, want %q", c.d, got, c.short)
		}
		if got := formatUptimeLong(c.d); got != c.long {
			t.Errorf("formatUptimeLong(%v) = %q, want %q", c.d, got, c.long)
		}
	}
}

func TestFormatCount(t *testing.T) {
	for _, c := range []struct {
		n        uint64
		decimals int
		want     string
	}{
		{0, 1, "0"},
		{9999999, 1, "9999999"},
		{10000000, 1, "10.0M"},
		{10230000, 2, "10.23M"},
		{999949999, 1, "999.9M"},
		{999950000, 1, "1.0B"},
		{1<<64 - 1, 1, "18446744073.7B"},
	} {
		if got := formatCount(c.n, c.decimals); got != c.want {
			t.Errorf("formatCount(%d, %d) = %q, want %q", c.n, c.decimals, got, c.want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for _, c := range []struct {
		n        uint64
		decimals int
		want     string
	}{
		{0, 1, "0B"},
		{1023, 1, "1023B"},
		{1024, 1, "1.0KB"},
		{1048500, 1, "1023.9KB"},
		{1048575, 1, "1.0MB"},
		{2306867, 1, "2.2MB"},
		{31666995, 1, "30.2MB"},
		{2362232012, 2, "2.20GB"},
		{20 << 30, 1, "20.0GB"},
		{5 << 40, 1, "5.0TB"},
	} {
		if got := formatSize(c.n, c.decimals); got != c.want {
			t.Errorf("formatSize(%d, %d) = %q, want %q", c.n, c.decimals, got, c.want)
		}
	}
}
