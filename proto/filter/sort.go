package filter

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"bmp/proto/grammar"
)

// sorter holds all rows and sorts them by a column, by what its cells mean: numbers with their units, ages, addresses, prefixes;
// everything else as text. Rows that are equal stay in order; empty cells come last.
type sorter struct {
	*stage
	held
	next link
	col  int
	seen bool
}

func (s *sorter) heading(cols []Column, shown bool) error {
	i, err := findColumn(cols, s.names[0], s.stage)
	if err != nil {
		return err
	}
	s.col, s.seen = i, true
	return s.next.heading(cols, shown)
}

func (s *sorter) row(r *row) error {
	if !s.seen || !r.table || s.col >= len(r.cells) {
		return s.none()
	}
	c, size, err := s.copy(r)
	if err != nil {
		return err
	}
	s.rows = append(s.rows, c)
	if len(s.rows) > maxSorted {
		return errHeld(s.held.op, maxSorted)
	}
	return s.hold(size, maxSorted)
}

func (s *sorter) end() error {
	type item struct {
		key sortKey
		row row
	}
	items := make([]item, len(s.rows))
	bytes := false
	for i := range s.rows {
		items[i] = item{parseSortKey(s.rows[i].cells[s.col]), s.rows[i]}
		bytes = bytes || items[i].key.bytes
	}
	for i := range items {
		// A lone B means bytes beside KB and MB, and billions beside K and M.
		if k := &items[i].key; k.loneB && !bytes {
			k.number *= 1e9
		}
	}
	slices.SortStableFunc(items, func(a, b item) int {
		if ea, eb := a.key.rank == rankEmpty, b.key.rank == rankEmpty; ea || eb {
			return b2i(ea) - b2i(eb)
		}
		c := a.key.compare(b.key)
		if s.desc {
			return -c
		}
		return c
	})
	for i := range items {
		s.rows[i] = items[i].row
	}
	return release(s.next, s.rows)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

type rank uint8

const (
	rankNumber rank = iota
	rankAddress
	rankText
	rankEmpty
)

// sortKey is what a cell means.
type sortKey struct {
	rank   rank
	number float64
	prefix netip.Prefix // an address has its full length
	port   uint16
	text   string
	bytes  bool // the unit was KB or larger
	loneB  bool // the unit was B
}

func (k sortKey) compare(o sortKey) int {
	if k.rank != o.rank {
		return int(k.rank) - int(o.rank)
	}
	switch k.rank {
	case rankNumber:
		switch {
		case k.number < o.number:
			return -1
		case k.number > o.number:
			return 1
		}
		return 0
	case rankAddress:
		if c := k.prefix.Addr().Compare(o.prefix.Addr()); c != 0 {
			return c
		}
		if c := k.prefix.Bits() - o.prefix.Bits(); c != 0 {
			return c
		}
		return int(k.port) - int(o.port)
	}
	return strings.Compare(k.text, o.text)
}

func parseSortKey(cell string) sortKey {
	cell = strings.TrimSpace(cell)
	if cell == "" || cell == "-" {
		return sortKey{rank: rankEmpty}
	}
	k := sortKey{text: cell}
	if c := cell[0]; c >= '0' && c <= '9' || c == '-' || c == '.' {
		if parseQuantity(cell, &k) {
			return k
		}
	}
	if a, err := netip.ParseAddr(cell); err == nil {
		k.rank, k.prefix = rankAddress, netip.PrefixFrom(a, a.BitLen())
		return k
	}
	if p, err := netip.ParsePrefix(cell); err == nil {
		k.rank, k.prefix = rankAddress, p
		return k
	}
	if ap, err := netip.ParseAddrPort(cell); err == nil {
		k.rank, k.prefix, k.port = rankAddress, netip.PrefixFrom(ap.Addr(), ap.Addr().BitLen()), ap.Port()
		return k
	}
	k.rank = rankText
	return k
}

// parseQuantity reads numbers (4,812 12.5% -3), counts (10.2M), sizes (2.2MB) and durations (00:03:11, 3d04h11m).
func parseQuantity(cell string, k *sortKey) bool {
	if parts := strings.Split(cell, ":"); len(parts) == 3 && !strings.Contains(cell, "::") {
		total := 0.0
		for _, p := range parts {
			n, err := strconv.ParseFloat(p, 64)
			if err != nil || n < 0 || len(p) > 9 {
				return false
			}
			total = total*60 + n
		}
		k.number = total
		return true
	}
	if d, err := grammar.ParseDuration(cell); err == nil && !strings.HasSuffix(cell, ".") {
		k.number = float64(d) / float64(time.Second)
		return true
	}
	n := len(cell)
	for n > 0 && !(cell[n-1] >= '0' && cell[n-1] <= '9') {
		n--
	}
	number, unit := strings.ReplaceAll(cell[:n], ",", ""), strings.TrimSpace(cell[n:])
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return false
	}
	switch unit {
	case "", "%":
	case "B":
		k.loneB = true
	case "K":
		v *= 1e3
	case "M":
		v *= 1e6
	case "G":
		v *= 1e9
	case "T":
		v *= 1e12
	case "KB", "MB", "GB", "TB":
		v *= math.Pow(1024, float64(1+strings.IndexByte("KMGT", unit[0])))
		k.bytes = true
	default:
		return false
	}
	k.number = v
	return true
}
