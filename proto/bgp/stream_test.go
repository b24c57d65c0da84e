package bgp_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bmp/proto/bgp"
	"bmp/proto/bmp"

	"github.com/klauspost/compress/zstd"
)

// dataDir is the folder of recorded streams, or the test is skipped.
func dataDir(t testing.TB) string {
	dir := os.Getenv("BMP_DATA")
	if dir == "" {
		t.Skip("BMP_DATA is not set: no recorded streams here")
	}
	return dir
}

// openStream opens a recorded stream, plain or packed.
func openStream(t testing.TB, name string) io.Reader {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	switch filepath.Ext(name) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		return z
	case ".zst":
		z, err := zstd.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	return f
}

// peerState is what the test keeps of a peer to know how its messages are coded.
type peerState struct{ in, out, loc bgp.AddPathSet }

type peerKey struct {
	typ  bmp.PeerType
	rd   uint64
	addr string
}

// tally is what one message holds: how many NLRI, by "afi/safi", and the attributes as tshark writes them.
type tally struct {
	nlri  map[string]int
	attrs map[string]bool
}

// shorten cuts where tshark does not yet: it ends long lines in dots.
func shorten(s string) string { return s[:min(len(s), 200)] }

// tsharkText writes attributes as tshark does, as far as both have one text for them.
func tsharkText(a bgp.Attributes) map[string]bool {
	all := map[string]bool{}
	add := func(name, text string) { all[shorten(name+": "+text)] = true }
	if o := map[string]string{"i": "IGP", "e": "EGP", "?": "INCOMPLETE"}[a.Origin]; o != "" {
		add("ORIGIN", o)
	}
	path := strings.ReplaceAll(a.ASPath, ",", ", ")
	if path == "" {
		path = "empty"
	}
	add("AS_PATH", path)
	if a.MED != nil {
		add("MULTI_EXIT_DISC", fmt.Sprint(*a.MED))
	}
	if a.LocalPref != nil {
		add("LOCAL_PREF", fmt.Sprint(*a.LocalPref))
	}
	if a.Communities != nil {
		add("COMMUNITIES", strings.Join(a.Communities, " "))
	}
	if a.LargeCommunities != nil {
		add("LARGE_COMMUNITY", strings.Join(a.LargeCommunities, " "))
	}
	for _, o := range a.Others {
		switch o.Name {
		case "originator-id":
			add("ORIGINATOR_ID", o.Text)
		case "cluster-list":
			add("CLUSTER_LIST", o.Text)
		}
	}
	return all
}

var tsharkNames = []string{"ORIGIN:", "AS_PATH:", "MULTI_EXIT_DISC:", "LOCAL_PREF:", "COMMUNITIES:", "LARGE_COMMUNITY:", "ORIGINATOR_ID:", "CLUSTER_LIST:"}

// streamCounts parses every BGP message of a stream, records included, and returns what each BMP message holds.
func streamCounts(t *testing.T, name string) (counts []tally, malformed []string, noNextHop int) {
	r := bmp.NewReader(openStream(t, name), bmp.ReaderOptions{})
	var p bmp.Parser
	peers := map[peerKey]*peerState{}
	var u bgp.Update
	var it bgp.NLRI
	var rec []byte
	for {
		f, err := r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("message %d: %v", len(counts), err)
			}
			return counts, malformed, noNextHop
		}
		c := tally{map[string]int{}, nil}
		i := len(counts)
		counts = append(counts, c)
		m, err := p.Parse(f)
		if err != nil {
			malformed = append(malformed, err.Error())
			continue
		}
		hdr := m.Peer()
		var key peerKey
		if hdr != nil {
			key = peerKey{hdr.Type, hdr.Distinguisher, hdr.Address.String()}
		}
		switch m := m.(type) {
		case *bmp.PeerUp:
			sent, err1 := bgp.ParseOpen(m.SentOpen)
			received, err2 := bgp.ParseOpen(m.ReceivedOpen)
			if err := errors.Join(err1, err2); err != nil {
				malformed = append(malformed, err.Error())
				continue
			}
			for _, o := range []*bgp.Open{&sent, &received} {
				again, err := bgp.ParseOpen(o.Append(nil))
				if err != nil || again.String() != o.String() || len(again.Capabilities) != len(o.Capabilities) {
					t.Errorf("message %d: OPEN %v appended and parsed is %v, %v", i, o, &again, err)
				}
			}
			peers[key] = &peerState{bgp.AddPathIn(&sent, &received), bgp.AddPathOut(&sent, &received), bgp.AddPathListed(&sent)}
		case *bmp.PeerDown:
			if len(m.Notification) > 0 {
				if n, err := bgp.ParseNotification(m.Notification); err != nil || n.String() == "" {
					malformed = append(malformed, err.Error())
				}
			}
		case *bmp.RouteMonitoring:
			ctx := bgp.Context{AS4: hdr.AS4()}
			if st := peers[key]; st != nil {
				switch hdr.View() {
				case bmp.AdjInPre, bmp.AdjInPost:
					ctx.AddPath = st.in
				case bmp.AdjOutPre, bmp.AdjOutPost:
					ctx.AddPath = st.out
				default:
					ctx.AddPath = st.loc
				}
			}
			for code, value := range m.Capabilities() { // version 4
				switch code {
				case bgp.CapFourOctetAS:
					ctx.AS4 = true
				case bgp.CapAddPath:
					o := bgp.Open{Capabilities: []bgp.Capability{{Code: code, Value: value}}}
					ctx.AddPath = bgp.AddPathListed(&o)
				}
			}
			if err := u.Parse(m.Update, ctx); err != nil {
				malformed = append(malformed, err.Error())
				continue
			}
			if two, four := u.ASPathWidths(); two && !four && ctx.AS4 || four && !two && !ctx.AS4 {
				ctx.AS4 = !ctx.AS4
				_ = u.Parse(m.Update, ctx)
			}
			if u.Malformed != nil {
				malformed = append(malformed, u.Malformed.Error())
			}
			var buf [4]bgp.Section
			for _, s := range u.Sections(buf[:0]) {
				_, err := bgp.CheckNLRI(s.Family, s.AddPath, s.Withdraw, s.Field)
				if err != nil {
					if _, other := bgp.CheckNLRI(s.Family, !s.AddPath, s.Withdraw, s.Field); other == nil {
						s.AddPath = !s.AddPath
					} else {
						malformed = append(malformed, err.Error())
						continue
					}
				}
				it.Reset(s.Family, s.AddPath, s.Withdraw, s.Field)
				for it.Next() {
					c.nlri[fmt.Sprintf("%d/%d", s.Family.AFI, s.Family.SAFI)]++
					rd, text := bgp.KeyText(s.Family, it.Key)
					if text == "" || strings.HasPrefix(text, "0x") {
						t.Errorf("message %d: %s key % x has the text %q %q", i, s.Family, it.Key, rd, text)
					}
					if key, err := bgp.ParseKey(s.Family, rd, text); err == nil && !slices.Equal(key, it.Key) {
						t.Errorf("message %d: %s key % x reads %s %s and parses as % x", i, s.Family, it.Key, rd, text, key)
					}
					if s.Withdraw {
						continue
					}
					rec = u.AppendRecord(rec[:0], s.Family, it.Extra)
					a := bgp.Decode(rec, s.Family)
					counts[i].attrs = tsharkText(a)
					if !a.NextHop.IsValid() && !strings.Contains(s.Family.String(), "flowspec") {
						noNextHop++
					}
					for _, o := range a.Others {
						if strings.HasPrefix(o.Text, "0x") {
							t.Errorf("message %d: %s undecoded: %s", i, o.Name, o.Text)
						}
					}
				}
				if err := it.Err(); err != nil {
					t.Errorf("message %d: %v", i, err)
				}
			}
		}
	}
}

// oracle reads what tshark counted in each message.
func oracle(t *testing.T, name string) []tally {
	sc := bufio.NewScanner(openStream(t, name))
	sc.Buffer(nil, 1<<24)
	var counts []tally
	for sc.Scan() {
		var line struct {
			Type int
			BGP  []struct {
				Attrs   [][2]any
				Ann, Wd []struct {
					AFI, SAFI, N int
				}
			}
		}
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := tally{map[string]int{}, map[string]bool{}}
		if line.Type == 0 {
			for _, b := range line.BGP {
				for _, a := range b.Attrs {
					text, _ := a[1].(string)
					if name, _, ok := strings.Cut(text, " "); ok && slices.Contains(tsharkNames, name) {
						c.attrs[shorten(text)] = true
					}
				}
				for _, n := range slices.Concat(b.Ann, b.Wd) {
					if n.N > 0 {
						c.nlri[fmt.Sprintf("%d/%d", n.AFI, n.SAFI)] += n.N
					}
				}
			}
		}
		counts = append(counts, c)
	}
	return counts
}

// What is odd in the streams, and known: QUIRKS.txt and doc.go tell why.
var (
	// Malformed BGP messages by their text, in the whole stream.
	knownMalformed = map[string]map[string]int{
		"frr-8.4.4-policy":                   {"UPDATE attribute 3 missing": 10},
		"pmacct-206-bmp-high-availability-0": {"UPDATE attribute 3 missing": 140},
	}
	// Routes without a next hop, FlowSpec left out: those, and local routes of Cisco's Loc-RIB.
	knownNoNextHop = map[string]int{
		"frr-8.4.4-policy":                   10,
		"pmacct-206-bmp-high-availability-0": 140,
		"trafrep-proc-ipfix-bmp-s000":        12,
	}
	// Messages whose NLRI tshark takes for ones with path identifiers, though the OPENs negotiate none: their eight
	// bytes are three prefixes.
	tsharkGuessed = map[string][]int{"gobgp-3.10-all": {557, 5131}}
)

func TestStreamsAgainstOracle(t *testing.T) {
	dir := dataDir(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.bmp*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no streams in %s", dir)
	}
	for _, name := range files {
		base, _, _ := strings.Cut(filepath.Base(name), ".bmp")
		if strings.HasPrefix(base, "mrt-") {
			continue
		}
		want := filepath.Join(dir, base+".tshark.jsonl.gz")
		if _, err := os.Stat(want); err != nil {
			continue
		}
		t.Run(base, func(t *testing.T) {
			got, malformed, noNextHop := streamCounts(t, name)
			bad := map[string]int{}
			for _, m := range malformed {
				bad[m]++
			}
			if want := knownMalformed[base]; !maps.Equal(bad, want) {
				t.Errorf("malformed: %v, known is %v", bad, want)
			}
			if noNextHop != knownNoNextHop[base] {
				t.Errorf("%d routes without a next hop, known are %d", noNextHop, knownNoNextHop[base])
			}
			exp := oracle(t, want)
			if len(got) != len(exp) {
				t.Errorf("%d messages, tshark has %d", len(got), len(exp))
			}
			for i := range min(len(got), len(exp)) {
				if slices.Contains(tsharkGuessed[base], i) {
					if got[i].nlri["1/1"] != 3 || exp[i].nlri["1/1"] != 1 {
						t.Errorf("message %d: %v, tshark has %v", i, got[i], exp[i])
					}
					continue
				}
				if !maps.Equal(got[i].nlri, exp[i].nlri) {
					t.Errorf("message %d: %v, tshark has %v", i, got[i], exp[i])
				}
				if got[i].attrs != nil && !maps.Equal(got[i].attrs, exp[i].attrs) {
					t.Errorf("message %d: %v, tshark has %v", i, got[i].attrs, exp[i].attrs)
				}
			}
		})
	}
}
