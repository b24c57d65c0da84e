package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"

	"github.com/osrg/gobgp/v4/pkg/packet/mrt"
)

func dataDir(t testing.TB) string {
	dir := os.Getenv("BMP_DATA")
	if dir == "" {
		t.Skip("BMP_DATA is not set: no recorded files here")
	}
	return dir
}

// held is a station in small: what a stream of BMP leaves, by peer and family. Path identifiers are part of a route.
type held struct {
	types  map[string]int
	routes map[string]map[string]map[string]bool // peer, "afi/safi", prefix
	as     map[string]uint32
	eor    map[string]int
	bytes  int
	names  []string
}

// hold reads a whole stream.
func hold(t testing.TB, r io.Reader) *held {
	t.Helper()
	h := &held{types: map[string]int{}, routes: map[string]map[string]map[string]bool{}, as: map[string]uint32{}, eor: map[string]int{}}
	counted := &countReader{r: r}
	frames := bmp.NewReader(counted, bmp.ReaderOptions{})
	var p bmp.Parser
	in := map[string]bgp.AddPathSet{}
	for n := 0; ; n++ {
		f, err := frames.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatalf("message %d: %v", n, err)
			}
			h.bytes = counted.n
			return h
		}
		m, err := p.Parse(f)
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		h.types[fmt.Sprint(int(f.Type))]++
		var peer string
		if hdr := m.Peer(); hdr != nil {
			peer = hdr.Address.String()
			if hdr.Type != bmp.GlobalPeer {
				peer += fmt.Sprintf("#%d", hdr.Distinguisher)
			}
		}
		switch m := m.(type) {
		case *bmp.Initiation:
			h.names = append(h.names, m.SysName())
		case *bmp.PeerUp:
			sent, err1 := bgp.ParseOpen(m.SentOpen)
			received, err2 := bgp.ParseOpen(m.ReceivedOpen)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatalf("message %d: %v", n, err)
			}
			if _, up := h.as[peer]; up {
				t.Errorf("message %d: Peer Up of %s, which is up", n, peer)
			}
			in[peer] = bgp.AddPathIn(&sent, &received)
			h.as[peer] = received.AS
			h.routes[peer] = map[string]map[string]bool{}
		case *bmp.PeerDown:
			delete(h.as, peer)
			delete(h.routes, peer)
		case *bmp.RouteMonitoring:
			if _, up := h.as[peer]; !up {
				t.Errorf("message %d: a route of %s, which is not up", n, peer)
				continue
			}
			var u bgp.Update
			if err := u.Parse(m.Update, bgp.Context{AS4: m.PeerHeader.AS4(), AddPath: in[peer]}); err != nil {
				t.Logf("message %d: %v", n, err)
				continue
			}
			if u.EoR {
				h.eor[u.EoRFamily.String()]++
			}
			for _, s := range u.Sections(nil) {
				it := bgp.SplitNLRI(s.Family, s.AddPath, s.Withdraw, s.Field)
				fam := fmt.Sprintf("%d/%d", s.Family.AFI, s.Family.SAFI)
				for it.Next() {
					_, prefix := bgp.KeyText(s.Family, it.Key)
					if s.AddPath {
						prefix = fmt.Sprintf("%d %s", it.PathID, prefix)
					}
					if s.Withdraw {
						delete(h.routes[peer][fam], prefix)
						continue
					}
					if h.routes[peer][fam] == nil {
						h.routes[peer][fam] = map[string]bool{}
					}
					h.routes[peer][fam][prefix] = true
				}
				if err := it.Err(); err != nil {
					t.Logf("message %d: %v", n, err)
				}
			}
		}
	}
}

type countReader struct {
	r io.Reader
	n int
}

func (c *countReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

// station accepts connections on a loopback port and keeps what they send.
type station struct {
	l    net.Listener
	mu   sync.Mutex
	all  [][]byte
	over *sync.Cond // a connection has ended
	done int        // that have
}

func newStation(t testing.TB) *station {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{l: l}
	s.over = sync.NewCond(&s.mu)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.all = append(s.all, nil)
			s.mu.Unlock()
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c)
				s.mu.Lock()
				s.all[n] = b
				s.done++
				s.mu.Unlock()
				s.over.Broadcast()
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-stopped })
	return s
}

// got is what n connections sent, once they have ended.
func (s *station) got(n int) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.done < n {
		s.over.Wait()
	}
	return s.all
}

// play plays a file into a new station and returns what it got, by connection.
func play(t testing.TB, name string, o Options) ([][]byte, *File, error) {
	t.Helper()
	f, err := Open(name, o)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { f.Close() })
	s := newStation(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rep, err := Play(ctx, f, s.l.Addr().String(), PlayOptions{})
	all := s.got(rep.Streams)
	got := 0
	for _, b := range all {
		got += len(b)
	}
	if rep.Bytes != int64(got) || rep.Streams != len(all) {
		t.Errorf("%+v was played, the station got %d bytes in %d connections", rep, got, len(all))
	}
	return all, f, err
}

func writeFile(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// session is a small BMP stream.
func session(name string) []byte {
	p := bmptest.NewPeer("192.0.2.1", 65001)
	s := new(bmptest.Session).Initiation(name, "a router")
	s.PeerUp(p)
	for i := range 50 {
		s.Monitor(p, bmp.AdjInPre, bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes(fmt.Sprintf("203.0.%d.0/24", i))}.Bytes())
	}
	return s.Bytes()
}

func TestRawStream(t *testing.T) {
	want := session("r1")
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(want)
	z.Close()
	for _, test := range []struct {
		name string
		b    []byte
	}{{"plain", want}, {"gzip", gz.Bytes()}} {
		got, f, err := play(t, writeFile(t, test.name, test.b), Options{})
		if err != nil || len(got) != 1 || !bytes.Equal(got[0], want) || f.Kind() != BMP {
			t.Errorf("%s: %v, %d connections", test.name, err, len(got))
		}
	}
	// Cut in a message: what was before is played, and the error names the place.
	cut := want[:len(want)-5]
	got, _, err := play(t, writeFile(t, "cut", cut), Options{})
	if err == nil || !strings.Contains(err.Error(), "message 52 at byte") || len(got) != 1 {
		t.Errorf("cut stream: %v", err)
	}
	// Cut in the packed data.
	_, _, err = play(t, writeFile(t, "cut.gz", gz.Bytes()[:gz.Len()-12]), Options{})
	if err == nil || !strings.Contains(err.Error(), "the gzip data is cut short after") {
		t.Errorf("cut gzip: %v", err)
	}
	// Garbage in the middle.
	bad := slices.Concat(want, []byte("GET / HTTP/1.0\r\n\r\n"))
	got, _, err = play(t, writeFile(t, "bad", bad), Options{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("message 53 at byte %d", len(want))) || !bytes.Equal(got[0], want) {
		t.Errorf("garbage: %v", err)
	}
}

func TestWhatAFileIs(t *testing.T) {
	for _, test := range []struct {
		name, bytes, err string
		kind             Kind
	}{
		{"empty", "", "empty", 0},
		{"text", hex.EncodeToString([]byte("hello, this is no recording")), "not BMP, pcap, pcapng or MRT", 0},
		{"v4", "0400000006 04", "", BMP},
		{"v1", "01 00 00 00" + strings.Repeat("00", 60), "", BMP},
		{"mrt", "5a000000 0010 0004 00000000", "", MRT},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(test.bytes, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(writeFile(t, test.name, b), Options{})
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if f.Kind() != test.kind {
			t.Errorf("%s is %v", test.name, f.Kind())
		}
		f.Close()
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// expected is what mrt2bmp says a station holds after a file.
type expected struct {
	Types map[string]int
	Peers map[string]map[string]json.RawMessage
}

// withOracle are the files that mrt2bmp was run on.
var withOracle = []string{"bgpdump-updates.et-header.2015.gz", "bgprs-updates.20190101.0000.gz", "bgpipe-sample.mrt"}

func TestUpdateFilesAgainstOracle(t *testing.T) {
	dir := dataDir(t)
	for _, base := range withOracle {
		t.Run(base, func(t *testing.T) {
			oracle := "mrt-" + strings.TrimSuffix(strings.TrimSuffix(base, ".gz"), ".mrt") + ".expect.json"
			b, err := os.ReadFile(filepath.Join(dir, oracle))
			if err != nil {
				t.Fatal(err)
			}
			var want expected
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			got, f, err := play(t, filepath.Join(dir, "mrt", base), Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("skipped: %v", f.Skipped())
			h := hold(t, bytes.NewReader(got[0]))
			if fmt.Sprint(h.types) != fmt.Sprint(want.Types) {
				t.Errorf("messages by type %v, want %v", h.types, want.Types)
			}
			if len(h.as) < len(want.Peers) {
				t.Errorf("%d peers up, want %d", len(h.as), len(want.Peers))
			}
			for peer, families := range want.Peers {
				for fam, raw := range families {
					if fam == "as" {
						if fmt.Sprint(h.as[peer]) != string(raw) {
							t.Errorf("%s: AS %d, want %s", peer, h.as[peer], raw)
						}
						continue
					}
					var w struct {
						Routes int
						SHA    string `json:"sha256_of_sorted_prefixes"`
					}
					if err := json.Unmarshal(raw, &w); err != nil {
						t.Fatal(err)
					}
					var all []string
					for p := range h.routes[peer][fam] {
						all = append(all, p)
					}
					slices.Sort(all)
					sum := sha256.New()
					for _, p := range all {
						fmt.Fprintln(sum, p)
					}
					if sha := hex.EncodeToString(sum.Sum(nil)); len(all) != w.Routes || sha != w.SHA {
						t.Errorf("%s %s: %d routes %s, want %d %s", peer, fam, len(all), sha, w.Routes, w.SHA)
					}
				}
			}
		})
	}
}

// The other MRT files, their routes counted by GoBGP's parser where that reads the kind of record.
func TestOtherMRTFiles(t *testing.T) {
	dir := dataDir(t)
	files, err := filepath.Glob(filepath.Join(dir, "mrt", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no MRT files")
	}
	for _, name := range files {
		if slices.Contains(withOracle, filepath.Base(name)) {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			got, f, err := play(t, name, Options{})
			if strings.Contains(name, "firstMB") {
				if err == nil || !strings.Contains(err.Error(), "cut short") {
					t.Errorf("a file cut short: %v", err)
				}
				t.Log(err)
			} else if err != nil {
				t.Fatal(err)
			}
			h := hold(t, bytes.NewReader(got[0]))
			t.Logf("%v messages, %v End-of-RIB, skipped %v", h.types, h.eor, f.Skipped())
			want := dumpRoutes(t, name)
			if want == nil {
				return
			}
			n := map[string]int{}
			for peer, families := range h.routes {
				for _, routes := range families {
					n[strings.Split(peer, "#")[0]] += len(routes)
				}
			}
			for peer, w := range want {
				if n[peer] != w {
					t.Errorf("%s: %d routes, GoBGP reads %d", peer, n[peer], w)
				}
			}
		})
	}
}

// dumpRoutes counts the entries of a TABLE_DUMP_V2 file for each peer with GoBGP's package; nil for other files.
func dumpRoutes(t *testing.T, name string) map[string]int {
	f := &File{name: name}
	in, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var index []*mrt.Peer
	var n map[string]int
	for {
		var head [12]byte
		if _, err := io.ReadFull(in.r, head[:]); err != nil {
			return n
		}
		h, err := mrt.ParseHeader(append(head[:], 0, 0, 0, 0))
		if err != nil || h.Type != mrt.TABLE_DUMPv2 {
			return n
		}
		body := make([]byte, h.Len)
		if _, err := io.ReadFull(in.r, body); err != nil {
			return n
		}
		m, err := mrt.ParseBody(body, h)
		if err != nil {
			t.Fatal(err)
		}
		switch b := m.Body.(type) {
		case *mrt.PeerIndexTable:
			index, n = b.Peers, map[string]int{}
		case *mrt.Rib:
			for _, e := range b.Entries {
				n[index[e.PeerIndex].IpAddress.String()]++
			}
		}
	}
}

// mrtRecord lays out one record.
func mrtRecord(typ, subtype uint16, body ...[]byte) []byte {
	b := slices.Concat(body...)
	return slices.Concat([]byte{0x5c, 0x00, 0x00, 0x00, byte(typ >> 8), byte(typ), byte(subtype >> 8), byte(subtype),
		byte(len(b) >> 24), byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b)
}

func TestDumpOfEveryKind(t *testing.T) {
	hx := bmptest.Hex
	index := mrtRecord(13, 1, hx(`
		0a000001 0002 7631 0003      # collector, view "v1", three peers
		00 0a000002 c0000201 fde9    # IPv4, AS 65001
		03 0a000003 20010db8000000000000000000000001 0000fdea
		02 0a000004 c0000201 0000fdeb  # the address of the first with another AS
	`))
	attrs := hx("40010100 40020602010000fde9 400304c0000201")
	v6 := hx("40010100 40020602010000fde9 800e11 10 20010db8000000000000000000000001")
	whole := hx("40010100 40020602010000fde9 800e15 0002 01 10 20010db8000000000000000000000001 00")
	entry := func(peer byte, addPath bool, attrs []byte) []byte {
		b := []byte{0, peer, 0x5b, 0, 0, 0}
		if addPath {
			b = append(b, 0, 0, 0, 7)
		}
		return append(append(b, 0, byte(len(attrs))), attrs...)
	}
	seq := []byte{0, 0, 0, 1}
	file := slices.Concat(index,
		mrtRecord(13, 2, seq, hx("18 cb0071 0002"), entry(0, false, attrs), entry(2, false, attrs)),
		mrtRecord(13, 2, seq, hx("18 cb0072 0001"), entry(0, false, attrs)), // the same attributes: one UPDATE
		mrtRecord(13, 4, seq, hx("20 20010db8 0001"), entry(1, false, v6)),
		mrtRecord(13, 4, seq, hx("20 20010db9 0001"), entry(1, false, whole)),
		mrtRecord(13, 3, seq, hx("08 0a 0001"), entry(0, false, hx("40010100 40020602010000fde9 800e05 04 c0000201"))),
		mrtRecord(13, 9, seq, hx("08 0b 0001"), entry(1, true, hx("40010100 40020602010000fde9 800e05 04 c0000201"))),
		mrtRecord(13, 6, seq, hx("0001 80 70 0003e1 0000fde800000001 c00002 0001"), entry(0, false, hx("40010100 40020602010000fde9 800e0d 0c 0000000000000000c0000201"))),
		mrtRecord(13, 2, seq, hx("18 cb0073 0001"), entry(9, false, attrs)), // no such peer
		mrtRecord(13, 2, seq, hx("18 cb0073 0002"), entry(0, false, attrs)), // one entry is missing
		mrtRecord(13, 99, seq),
		mrtRecord(32, 0, seq),
	)
	got, f, err := play(t, writeFile(t, "rib", file), Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := hold(t, bytes.NewReader(got[0]))
	text := func() string {
		var out []string
		for peer, families := range h.routes {
			for fam, routes := range families {
				for r := range routes {
					out = append(out, peer+" "+fam+" "+r)
				}
			}
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	}
	want := `192.0.2.1 1/1 203.0.113.0/24
192.0.2.1 1/1 203.0.114.0/24
192.0.2.1 1/1 203.0.115.0/24
192.0.2.1 1/128 192.0.2.0/24
192.0.2.1 1/2 10.0.0.0/8
192.0.2.1#1 1/1 203.0.113.0/24
2001:db8::1 1/2 7 11.0.0.0/8
2001:db8::1 2/1 2001:db8::/32
2001:db8::1 2/1 2001:db9::/32`
	if text() != want {
		t.Errorf("held\n%s\nwant\n%s", text(), want)
	}
	if h.types["3"] != 3 || h.types["4"] != 1 || len(h.eor) != 4 || h.eor["ipv4-unicast"] != 2 {
		t.Errorf("%v messages, %v End-of-RIB", h.types, h.eor)
	}
	wantSkipped := []string{"1 MRT records of type 32, at byte 622", "1 RIB entries of a peer that is not in the index, at byte 506",
		"1 TABLE_DUMP_V2 records that are no RIB, or malformed, at byte 606", "1 malformed RIB records, at byte 556"}
	if fmt.Sprint(f.Skipped()) != fmt.Sprint(wantSkipped) {
		t.Errorf("skipped %q, want %q", f.Skipped(), wantSkipped)
	}

	// TABLE_DUMP, as RFC 6396 has it and as it was in 2000: several entries, whose view and sequence are not counted.
	one := hx("0000 0001 cb007100 18 01 5b000000 c0000201 fde9 0012 40010100 40020402 01fde9 400304c0000201")
	six := hx("0000 0001 20010db8000000000000000000000000 20 01 5b000000 20010db8000000000000000000000001 fde9 001f 40010100 40020402 01fde9 800e11 10 20010db8000000000000000000000001")
	old := slices.Concat(one, hx("cb007200 18 01 5b000000 c0000201 fde9 0012 40010100 40020402 01fde9 400304c0000201"))
	rec := mrtRecord(12, 1, old)
	rec[11] -= 4
	got, f, err = play(t, writeFile(t, "table", slices.Concat(mrtRecord(12, 1, one), mrtRecord(12, 2, six), rec, mrtRecord(12, 2, six))), Options{})
	if err != nil {
		t.Fatal(err)
	}
	h = hold(t, bytes.NewReader(got[0]))
	if want := "192.0.2.1 1/1 203.0.113.0/24\n192.0.2.1 1/1 203.0.114.0/24\n2001:db8::1 2/1 2001:db8::/32"; text() != want || len(f.Skipped()) != 0 {
		t.Errorf("held\n%s\nwant\n%s\nskipped %v", text(), want, f.Skipped())
	}
}

func TestUpdatesOfEveryKind(t *testing.T) {
	hx := bmptest.Hex
	head2 := hx("fde9 fdea 0000 0001 c0000201 c0000202")
	head4 := hx("0000fde9 0000fdea 0000 0001 c0000201 c0000202")
	other := hx("0000fdec 0000fdea 0000 0002 20010db8000000000000000000000001 20010db8000000000000000000000002")
	u2 := bmptest.PDU(2, hx("0000 0012 40010100 40020402 01fde9 400304c0000201 18 cb0071"))
	u4 := bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes("203.0.114.0/24")}.Bytes()
	path := bmptest.PDU(2, hx("0000 0014 40010100 40020602010000fdec 400304c0000201 00000005 18 cb0073"))
	file := slices.Concat(
		mrtRecord(16, 1, head2, u2),
		mrtRecord(16, 4, head4, u4),
		mrtRecord(16, 5, head4, hx("0006 0001")),
		mrtRecord(16, 5, head4, hx("0001 0006")),
		mrtRecord(16, 1, head2, u2),
		mrtRecord(17, 4, hx("000003e8"), head4, bmptest.Keepalive()),
		mrtRecord(16, 4, head4, []byte("no BGP message here")),
		mrtRecord(16, 9, other, path),
		mrtRecord(16, 7, head4, u4), // sent by the collector: Adj-RIB-Out
		mrtRecord(16, 3, head4),
	)
	got, f, err := play(t, writeFile(t, "updates", file), Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := hold(t, bytes.NewReader(got[0]))
	if fmt.Sprint(h.types) != "map[0:5 2:1 3:3 4:1]" {
		t.Errorf("messages by type %v", h.types)
	}
	if !h.routes["192.0.2.1"]["1/1"]["203.0.113.0/24"] || !h.routes["2001:db8::1"]["1/1"]["5 203.0.115.0/24"] {
		t.Errorf("held %v", h.routes)
	}
	want := "[1 BGP messages other than UPDATE, at byte 297 1 BGP messages with a malformed header, at byte 352 1 BGP4MP records of subtype 3, or cut, at byte 589]"
	if fmt.Sprint(f.Skipped()) != want {
		t.Errorf("skipped %v, want %s", f.Skipped(), want)
	}

	// Cut at every byte: everything whole before it is played, and the error names the record.
	for n := 13; n < len(file); n += 7 {
		_, _, err := play(t, writeFile(t, "cut", file[:n]), Options{})
		whole := n == len(mrtRecord(16, 1, head2, u2))
		if err == nil && !whole && !recordEnds(file, n) || err != nil && !strings.Contains(err.Error(), "MRT record") {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func recordEnds(file []byte, n int) bool {
	for at := 0; at <= n; {
		if at == n {
			return true
		}
		at += 12 + int(file[at+10])<<8 + int(file[at+11])
	}
	return false
}

func TestPace(t *testing.T) {
	start := time.Unix(1e9, 0)
	now := time.Unix(2e9, 0)
	p := pacer{speed: 2}
	for _, step := range []struct {
		at   time.Duration // of the recording
		want time.Duration // to wait, when the clock of the player stands
	}{
		{0, 0}, {10 * time.Second, 5 * time.Second}, {8 * time.Second, 0}, {10 * time.Second, 0}, {12 * time.Second, 6 * time.Second},
	} {
		if got := p.wait(start.Add(step.at), now); got != step.want {
			t.Errorf("at %v: wait %v, want %v", step.at, got, step.want)
		}
	}
	p = pacer{speed: 1, gap: time.Minute}
	p.wait(start, now)
	if got := p.wait(start.Add(time.Hour), now); got != 0 {
		t.Errorf("a gap of an hour is waited for: %v", got)
	}
	if got := p.wait(start.Add(time.Hour+time.Second), now); got != time.Second {
		t.Errorf("after the gap: %v", got)
	}
	if got := (&pacer{}).wait(start, now); got != 0 {
		t.Errorf("as fast as possible: %v", got)
	}
}

// A recording with a long pause ends when the context does, in the pause and in a write that nobody reads.
func TestPlayEndsWithTheContext(t *testing.T) {
	hx := bmptest.Hex
	head := hx("fde9 fdea 0000 0001 c0000201 c0000202")
	u := bmptest.PDU(2, hx("0000 0012 40010100 40020402 01fde9 400304c0000201 18 cb0071"))
	later := mrtRecord(16, 1, head, u)
	later[0]++ // half a year
	name := writeFile(t, "paused", slices.Concat(mrtRecord(16, 1, head, u), later))
	f, err := Open(name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	client, server := net.Pipe()
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() {
		_, err := Play(ctx, f, "", PlayOptions{Speed: 1, Dial: func(context.Context, int) (net.Conn, error) { return client, nil }})
		got <- err
	}()
	// The first messages arrive before the pause.
	r := bmp.NewReader(server, bmp.ReaderOptions{})
	for range 3 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("in a pause: %v", err)
	}

	f2, err := Open(name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f2.Close()
	client, server = net.Pipe()
	defer server.Close()
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, err := Play(ctx, f2, "", PlayOptions{Dial: func(context.Context, int) (net.Conn, error) { return client, nil }})
		got <- err
	}()
	var one [1]byte
	if _, err := server.Read(one[:]); err != nil { // the write is under way, and nobody reads on
		t.Fatal(err)
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("in a write: %v", err)
	}
}
