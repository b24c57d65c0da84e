package bmp_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"bmp/proto/bmp"
)

// dataFolder is the folder of recorded streams, whose SOURCES.md tells what each holds.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("BMP_DATA")
	if dir == "" {
		t.Skip("BMP_DATA does not name the folder of recorded streams")
	}
	return dir
}

// openFile opens a file, uncompressed by its ending.
func openFile(t *testing.T, name string) io.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	b := bufio.NewReaderSize(f, 1<<20)
	switch filepath.Ext(name) {
	case ".gz":
		z, err := gzip.NewReader(b)
		if err != nil {
			t.Fatal(err)
		}
		return z
	case ".zst":
		z, err := zstd.NewReader(b)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	return b
}

// source is a line of the table in SOURCES.md.
type source struct {
	bytes    int64
	messages int
	types    map[int]int
	version  uint8
}

func readSources(t *testing.T, dir string) map[string]source {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "SOURCES.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]source{}
	for line := range strings.Lines(string(b)) {
		cell := strings.Split(line, "|")
		if len(cell) < 9 || !strings.Contains(cell[1], ".bmp") {
			continue
		}
		for i := range cell {
			cell[i] = strings.TrimSpace(cell[i])
		}
		s := source{types: map[int]int{}}
		var err error
		if s.bytes, err = strconv.ParseInt(cell[2], 10, 64); err != nil {
			t.Fatal(err)
		}
		if s.messages, err = strconv.Atoi(cell[3]); err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Fields(cell[4]) {
			var typ, n int
			if _, err := fmt.Sscanf(f, "%d:%d", &typ, &n); err != nil {
				t.Fatal(err)
			}
			s.types[typ] = n
		}
		s.version = cell[7][0] - '0'
		all[cell[1]] = s
	}
	return all
}

// oracle is what tshark makes of one message.
type oracle struct {
	Off     int64
	Ln      int
	Version uint8
	Type    bmp.MessageType
	Peer    *struct {
		Type  bmp.PeerType
		Flags string
		RD    string
		Addr  string
		AS    uint32
		BGPID string `json:"bgp_id"`
		Sec   uint32
		Usec  uint32
	}
	Fields map[string][]string
}

// TestStreams reads every recorded stream and compares it with SOURCES.md and, message by message, with tshark.
func TestStreams(t *testing.T) {
	dir := dataFolder(t)
	sources := readSources(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.bmp*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no streams in %s: %v", dir, err)
	}
	seen := 0
	for _, file := range files {
		name := filepath.Base(file)
		base, _, _ := strings.Cut(name, ".bmp")
		if !strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst"), ".bmp") {
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := sources[name]
			if !ok {
				t.Fatalf("SOURCES.md does not tell of %s", name)
			}
			var oracles *json.Decoder
			if _, err := os.Stat(filepath.Join(dir, base+".tshark.jsonl.gz")); err == nil {
				oracles = json.NewDecoder(openFile(t, filepath.Join(dir, base+".tshark.jsonl.gz")))
			}
			checkStream(t, openFile(t, file), want, oracles)
		})
	}
	if seen != len(sources) {
		t.Errorf("%d streams, SOURCES.md tells of %d", seen, len(sources))
	}
}

func checkStream(t *testing.T, src io.Reader, want source, oracles *json.Decoder) {
	r, p := bmp.NewReader(src, bmp.ReaderOptions{}), bmp.Parser{}
	types := map[int]int{}
	n := 0
	for {
		f, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		if f.Version != want.version {
			t.Fatalf("message %d: version %d", n, f.Version)
		}
		m, err := p.Parse(f)
		if err != nil {
			t.Errorf("message %d at %d: %v: %x", n, f.Offset, err, f.Raw[:min(len(f.Raw), 200)])
		}
		if oracles != nil && m != nil {
			var o oracle
			if err := oracles.Decode(&o); err != nil {
				t.Fatalf("message %d: oracle: %v", n, err)
			}
			checkOracle(t, n, f, m, &o)
		}
		if m != nil {
			checkRoundTrip(t, n, f, m)
		}
		types[int(f.Type)]++
		n++
		if t.Failed() && n > 2000 {
			t.FailNow()
		}
	}
	if oracles != nil && oracles.More() {
		t.Error("the oracle has more messages")
	}
	if n != want.messages || fmt.Sprint(types) != fmt.Sprint(want.types) || r.Offset() != want.bytes {
		t.Errorf("%d bytes, %d messages, %v; want %d, %d, %v", r.Offset(), n, types, want.bytes, want.messages, want.types)
	}
}

// checkOracle compares with tshark, but for what SOURCES.md says it gets wrong: TLVs of version 4.
func checkOracle(t *testing.T, n int, f bmp.Frame, m bmp.Message, o *oracle) {
	t.Helper()
	if f.Offset != o.Off || len(f.Raw) != o.Ln || f.Version != o.Version || f.Type != o.Type {
		t.Fatalf("message %d: %d bytes at %d, version %d, type %d; tshark: %+v", n, len(f.Raw), f.Offset, f.Version, f.Type, o)
	}
	h := m.Peer()
	if (h == nil) != (o.Peer == nil) {
		t.Errorf("message %d: Per-Peer Header %+v; tshark: %+v", n, h, o.Peer)
	} else if h != nil {
		addr := h.Address
		if !addr.IsValid() {
			// tshark takes bit 0x80 of a Loc-RIB for the V flag.
			addr = netip.IPv4Unspecified()
			if h.Flags&bmp.FlagIPv6 != 0 {
				addr = netip.IPv6Unspecified()
			}
		}
		got := fmt.Sprintf("%d %#02x %016x %s %d %s %d %d", h.Type, h.Flags, h.Distinguisher, addr, h.AS, h.ID(), h.Sec, h.Micro)
		want := fmt.Sprintf("%d %s %s %s %d %s %d %d", o.Peer.Type, o.Peer.Flags, o.Peer.RD, o.Peer.Addr, o.Peer.AS, o.Peer.BGPID,
			o.Peer.Sec, o.Peer.Usec)
		if got != want {
			t.Errorf("message %d: Per-Peer Header\n%s\ntshark:\n%s", n, got, want)
		}
	}
	field := func(name string) string { return strings.Join(o.Fields[name], " ") }
	switch m := m.(type) {
	case *bmp.PeerDown:
		if got := fmt.Sprint(uint8(m.Reason)); got != field("peer.down.reason") {
			t.Errorf("message %d: Peer Down reason %s; tshark: %s", n, got, field("peer.down.reason"))
		}
	case *bmp.PeerUp:
		got := fmt.Sprintf("%d %d", m.LocalPort, m.RemotePort)
		if want := field("peer.up.port.local") + " " + field("peer.up.port.remote"); got != want {
			t.Errorf("message %d: Peer Up ports %s; tshark: %s", n, got, want)
		}
		if want := field("peer.up.ip.addr") + field("peer.up.ipv6.addr"); m.LocalAddress.IsValid() && m.LocalAddress.String() != want {
			t.Errorf("message %d: Peer Up local address %s; tshark: %s", n, m.LocalAddress, want)
		}
	case *bmp.StatisticsReport:
		if got := fmt.Sprint(len(m.Stats)); got != field("stats.count") {
			t.Errorf("message %d: %s statistics; tshark: %s", n, got, field("stats.count"))
		}
		var types, lengths []string
		for _, s := range m.Stats {
			types = append(types, fmt.Sprint(s.Type))
			lengths = append(lengths, fmt.Sprint(len(s.Raw)))
			key, number := statField[s.Type], ""
			if v, ok := s.Value(); ok {
				number = fmt.Sprint(v)
			}
			if values := o.Fields["stats.data."+key]; key != "" && !contains(values, number) {
				t.Errorf("message %d: statistic %d is %s; tshark: %v", n, s.Type, number, values)
			}
			if afi, safi, ok := s.Family(); ok && key != "" && (!contains(o.Fields["stats.data."+key+".afi"], fmt.Sprint(afi)) ||
				!contains(o.Fields["stats.data."+key+".safi"], fmt.Sprint(safi))) {
				t.Errorf("message %d: statistic %d is of %d/%d; tshark: %v", n, s.Type, afi, safi, o.Fields)
			}
		}
		if strings.Join(types, " ") != field("stats.type") || strings.Join(lengths, " ") != field("stats.length") {
			t.Errorf("message %d: statistics %v of %v bytes; tshark: %s of %s", n, types, lengths, field("stats.type"), field("stats.length"))
		}
	case *bmp.Initiation:
		var types, texts []string
		for _, tlv := range m.TLVs {
			types = append(types, fmt.Sprint(tlv.Type))
			texts = append(texts, string(tlv.Value))
		}
		if strings.Join(types, " ") != field("init.type") || strings.Join(texts, "|") != strings.Join(o.Fields["init.info"], "|") {
			t.Errorf("message %d: Initiation %v %q; tshark: %v", n, types, texts, o.Fields)
		}
	}
}

// statField are tshark's names of the statistics that the streams have.
var statField = map[uint16]string{0: "prefix_rej", 1: "prefix_dup", 2: "withdraw_dup", 3: "cluster_loop", 4: "as_loop",
	5: "inv_originator", 6: "as_confed_loop", 7: "routes_adj_rib_in", 8: "routes_loc_rib", 9: "routes_per_adj_rib_in",
	10: "routes_per_loc_rib", 11: "update_treat", 12: "prefixes_treat", 14: "routes_pre_adj_rib_out",
	15: "routes_post_adj_rib_out", 16: "routes_pre_per_adj_rib_out", 17: "routes_post_per_adj_rib_out"}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// checkRoundTrip writes the message again: the same bytes, but for the place of the BGP message among the TLVs of version 4.
func checkRoundTrip(t *testing.T, n int, f bmp.Frame, m bmp.Message) {
	t.Helper()
	e := bmp.Encoding{Version: f.Version}
	if rm, ok := m.(*bmp.RouteMonitoring); ok {
		e.Profile = rm.Profile
		if rm.Update == nil {
			return
		}
	}
	raw, err := m.Append(nil, e)
	if err != nil {
		t.Fatalf("message %d: %v", n, err)
	}
	if f.Version < 4 && string(raw) != string(f.Raw) || len(raw) != len(f.Raw) {
		t.Errorf("message %d: read\n%x\nwritten\n%x", n, f.Raw, raw)
	}
}

// TestVersion4Streams looks into the TLVs that tshark cannot read.
func TestVersion4Streams(t *testing.T) {
	dir := dataFolder(t)
	marked, stateless := 0, 0
	for _, name := range []string{"netgauze-bmp_path-status_ipv4_unicast_path_marking.bmp",
		"netgauze-bmp_vpnv4-stateless-with-withdraw_vpnv4-stateless-with-withdraw.bmp"} {
		r, p := bmp.NewReader(openFile(t, filepath.Join(dir, name)), bmp.ReaderOptions{}), bmp.Parser{}
		for {
			f, err := r.Next()
			if err != nil {
				break
			}
			m, err := p.Parse(f)
			if err != nil {
				t.Fatal(err)
			}
			rm, ok := m.(*bmp.RouteMonitoring)
			if !ok {
				continue
			}
			if rm.Profile != bmp.ProfileDeployed || rm.TableName() != "global" || len(rm.Update) == 0 {
				t.Errorf("%s: %+v", name, rm)
			}
			if mark, ok := rm.Marking(1); ok {
				marked++
				if s := mark.Status.String(); s != "best, primary, add-path" || mark.Reason != 0 {
					t.Errorf("%s: marked %s, %v", name, s, mark.Reason)
				}
			}
			for code, value := range rm.Capabilities() {
				stateless++
				if code != 69 || string(value) != "\x00\x01\x80\x03" {
					t.Errorf("%s: capability %d %x", name, code, value)
				}
			}
		}
	}
	if marked != 2 || stateless != 14 {
		t.Errorf("%d messages with path marking, %d with stateless parsing", marked, stateless)
	}
}
