package command

import (
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bmp/proto/bgp"
	"bmp/proto/bmptest"
	"bmp/proto/grammar"
)

func TestLiteralASes(t *testing.T) {
	for expr, want := range map[string][]uint32{
		"_65010$": {65010}, "^65001_65010_": {65001, 65010}, "^65001$": {65001}, "_65001_.*_65010_": {65001, 65010}, "_1_2_3_": {1, 2, 3},
		"_65010": nil, "65010$": nil, "65010": nil, "": nil, "_": nil, "^$": nil, ".*": nil, "_65010.*": nil, ".*65010_": nil,
		"_65010_*": nil, "_*65010_": nil, "_65010 *$": nil, "_65010_|_65011_": nil, "_6501[0-9]_": nil, "_65010_?": nil, "(_65010_)": nil,
		"_65010_+": nil, "_65010_{0}": nil, "_99999999999_": nil, "_A65010_": nil, "_A_65010_": nil, `\_65010_`: nil, "_65010_.**": nil,
	} {
		if got := literalASes(expr); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", expr, got, want)
		}
	}
}

// Whatever expression of plain parts matches a path, the path has the numbers that are looked for first.
func TestLiteralASesAreNecessary(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{"_", "^", "$", " ", ".*", "1", "2", "12", "*", ".", "_1_", "_12_", "_21$", "^2_", "^1$"}
	used := 0
	for range 20_000 {
		var expr strings.Builder
		for range 1 + rng.IntN(4) {
			expr.WriteString(parts[rng.IntN(len(parts))])
		}
		needs := literalASes(expr.String())
		re, err := regexp.Compile(grammar.ASPathRegexp(expr.String()))
		if err != nil {
			if needs != nil {
				t.Fatalf("%q is no expression", expr.String())
			}
			continue
		}
		var path []uint32
		var words []string
		for range rng.IntN(4) {
			as := []uint32{1, 2, 12, 21, 121}[rng.IntN(5)]
			path, words = append(path, as), append(words, strconv.Itoa(int(as)))
		}
		if !re.MatchString(strings.Join(words, " ")) {
			continue
		}
		for _, as := range needs {
			used++
			if !slices.Contains(path, as) {
				t.Fatalf("%q matches %v, which has no %d", expr.String(), path, as)
			}
		}
	}
	if used < 100 {
		t.Errorf("only %d numbers looked for", used)
	}
}

func BenchmarkASPath(b *testing.B) {
	var u bgp.Update
	pdu := bmptest.Update{
		ASPath: []uint32{64512, 3356, 1299, 65010, 65011}, NextHop: netip.MustParseAddr("10.0.0.1"),
		Announce: []bmptest.NLRI{{Prefix: netip.MustParsePrefix("203.0.113.0/24")}},
	}.Bytes()
	if err := u.Parse(pdu, bgp.Context{AS4: true}); err != nil {
		b.Fatal(err)
	}
	rec := u.AppendRecord(nil, bgp.IPv4Unicast, nil)
	if !bgp.HasAS(rec, 65011) {
		b.Fatal("no path")
	}
	b.Run("number", func(b *testing.B) {
		for b.Loop() {
			if bgp.HasAS(rec, 65012) {
				b.Fatal("found")
			}
		}
	})
	re := regexp.MustCompile(grammar.ASPathRegexp("_65012_"))
	var path []byte
	b.Run("text", func(b *testing.B) {
		for b.Loop() {
			if path = bgp.AppendASPath(path[:0], rec); re.Match(path) {
				b.Fatal("found")
			}
		}
	})
}
