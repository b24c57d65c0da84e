// Package quantity writes numbers as the commands do when they say what they did.
package quantity

import "fmt"

// Bytes writes a number of bytes as the station does: 512B, 1.5KB.
func Bytes(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KB", "MB"} {
		if f < 1024 {
			if unit == "B" {
				return fmt.Sprintf("%dB", n)
			}
			return fmt.Sprintf("%.1f%s", f, unit)
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1fGB", f)
}

// Of writes how many there are: "1 router", "2 routers".
func Of(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
