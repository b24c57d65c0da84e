package grammar

import "time"

// ParseTime reads a time as commands.md writes it (10:05, 10:05:30, RFC 3339 with or without seconds, -15m, yesterday)
// as seen at now in zone. A time in the future, or one the clock had twice, is an error.
func ParseTime(text string, now time.Time, zone *time.Location) (time.Time, error) {
	return time.Time{}, nil
}

// ParseDuration reads 90s, 5m, 1h30m, 2d, 3d04h11m, 1w. Zero is allowed, a bare number is not.
func ParseDuration(text string) (time.Duration, error) { return 0, nil }

// ParseSize reads 4096, 64KB, 1.5GB (powers of 1024; K and KiB too), in bytes.
func ParseSize(text string) (int64, error) { return 0, nil }

// Quote writes a word so that it is read back as one word.
func Quote(word string) string { return word }
