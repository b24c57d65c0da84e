package quantity

import "testing"

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1536: "1.5KB", 5 << 20: "5.0MB", 3 << 30: "3.0GB", 3 << 40: "3072.0GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	for n, want := range map[int]string{0: "0 routers", 1: "1 router", 2: "2 routers"} {
		if got := Of(n, "router"); got != want {
			t.Errorf("Of(%d) = %q, want %q", n, got, want)
		}
	}
}
