package wire

import (
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "edge1.ams": "edge1.ams", "Zürich": "Zürich",
		"a\tb": "a b", "Cisco IOS\r\nSupport": `Cisco IOS\x0d\x0aSupport`,
		"\x1b[2Jx": `\x1b[2Jx`, "\x00\x7f\u0085": `\x00\x7f\x85`, "\xff\xc3": `\xff\xc3`,
		"\u202eabc\u2066": `\u202eabc\u2066`, "\uFFFD": "\uFFFD",
	} {
		if got := CleanString(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := string(Clean([]byte(in))); got != want {
			t.Errorf("%q as bytes: %q, want %q", in, got, want)
		}
	}
}

// Whatever comes, what is printed is one line of UTF-8 without control characters, and cleaning it again changes nothing.
func FuzzClean(f *testing.F) {
	f.Add("a\r\n\x1b[2J\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := CleanString(s)
		for _, c := range got {
			if c < ' ' || c >= 0x7f && c < 0xa0 {
				t.Fatalf("%q: %q", s, got)
			}
		}
		if !utf8.ValidString(got) || CleanString(got) != got {
			t.Fatalf("%q: %q", s, got)
		}
	})
}
