package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bmp/engine/streamtest"
	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// blockOf makes the records of messages, with contexts that vary.
func blockOf(messages [][]byte, rng *rand.Rand) (block []byte, count int) {
	r := record{arrival: 1e18, session: 1, flags: recordAS4}
	for _, m := range messages {
		r.raw = m
		if rng != nil {
			if rng.IntN(3) == 0 {
				r.arrival += int64(rng.Uint64N(1 << rng.IntN(40)))
			}
			if rng.IntN(20) == 0 {
				r.offset += int64(rng.IntN(1000)) - 500
				r.addPath = bgp.AddPathSet(rng.Uint64())
				r.flags = uint8(rng.IntN(4))
				r.session = rng.Uint32()
			}
		}
		block = appendRecord(grow(block, recordHeader+len(m)), &r)
		r.offset += int64(len(m))
		count++
	}
	return block, count
}

func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, 2*cap(b)+n), b...)
	}
	return b
}

// roundTrip is the test of the codec: the same bytes come back.
func roundTrip(t testing.TB, e *encoder, d *decoder, block []byte, count int) (size, escaped int) {
	t.Helper()
	d2 := append([]byte(nil), e.encode(block, count, true)...)
	if got, _, err := d.decode(d2); err != nil || !bytes.Equal(got, block) {
		t.Fatalf("hot: %v", err)
	}
	p := e.encode(block, count, false)
	got, n, err := d.decode(p)
	if err != nil || n != count {
		t.Fatalf("%d of %d records, %v", n, count, err)
	}
	if !bytes.Equal(got, block) {
		t.Fatal("the records that come back are others")
	}
	return len(p), len(e.col[colEscape])
}

func codecs(t testing.TB) (*encoder, *decoder) {
	t.Helper()
	e, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return e, d
}

// session is a stream with something of all that the codec treats apart.
func someSession() *bmptest.Session {
	s := new(bmptest.Session).Initiation("edge1", "a router")
	for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
		p := bmptest.NewPeer(a, 65001)
		s.PeerUp(p)
		u := bmptest.Update{ASPath: []uint32{65001, 65010}, Announce: bmptest.Prefixes("203.0.113.0/24", "198.51.100.0/25")}
		s.Monitor(p, bmp.AdjInPre, u.Bytes())
		s.Monitor(p, bmp.AdjInPost, u.Bytes())
		s.Monitor(p, bmp.AdjInPre, bmptest.Update{Withdraw: bmptest.Prefixes("203.0.113.0/24")}.Bytes())
		s.Monitor(p, bmp.AdjInPre, bmptest.Update{Family: bmptest.IPv6Unicast, ASPath: []uint32{65001}, Announce: bmptest.Prefixes("2001:db8:1::/48"), Withdraw: bmptest.Prefixes("2001:db8:2::/48")}.Bytes())
		s.EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast)
		s.EndOfRIB(p, bmp.AdjInPre, bmptest.IPv6Unicast)
		s.Statistics(p, bmptest.Counter(0, 7))
		s.PeerDown(p, bmp.DownRemote, nil)
	}
	return s.Termination(0)
}

func TestCodecSession(t *testing.T) {
	e, d := codecs(t)
	block, n := blockOf(someSession().Messages(), nil)
	roundTrip(t, e, d, block, n)
	roundTrip(t, e, d, nil, 0)
	var r record
	r.kind, r.raw = SessionStart, []byte(`{}`)
	roundTrip(t, e, d, appendRecord(grow(nil, 100), &r), 1)
}

// TestCodecAnything damages messages in every way: what does not fit the columns must come back all the same.
func TestCodecAnything(t *testing.T) {
	e, d := codecs(t)
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var messages [][]byte
		for _, m := range someSession().Messages() {
			m = bytes.Clone(m)
			switch rng.IntN(5) {
			case 0:
				for range 1 + rng.IntN(4) {
					m[rng.IntN(len(m))] = byte(rng.Uint32())
				}
			case 1:
				m = m[:rng.IntN(len(m)+1)]
			case 2:
				m = append(m, make([]byte, rng.IntN(30))...)
			case 3: // a length of the attributes, NLRI split elsewhere
				if len(m) > 75 {
					binary.BigEndian.PutUint16(m[69:], uint16(rng.IntN(len(m)-60)))
				}
			}
			messages = append(messages, m)
		}
		rng.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
		block, n := blockOf(messages, rng)
		p := bytes.Clone(e.encode(block, n, false))
		got, _, err := d.decode(p)
		if err != nil || !bytes.Equal(got, block) {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestCodecDamage: a payload with a bit changed is an error, whatever bit.
func TestCodecDamage(t *testing.T) {
	e, d := codecs(t)
	block, n := blockOf(someSession().Messages(), nil)
	p := bytes.Clone(e.encode(block, n, false))
	for i := range p {
		for bit := range 8 {
			p[i] ^= 1 << bit
			if got, _, err := d.decode(p); err == nil && !bytes.Equal(got, block) {
				t.Fatalf("byte %d bit %d: other records and no error", i, bit)
			}
			p[i] ^= 1 << bit
		}
	}
	for i := range p {
		if _, _, err := d.decode(p[:i]); err == nil {
			t.Fatalf("cut at %d: no error", i)
		}
	}
}

func FuzzCodec(f *testing.F) {
	for _, m := range someSession().Messages() {
		f.Add(m, m, uint64(3))
	}
	e, d := codecs(f)
	f.Fuzz(func(t *testing.T, a, b []byte, seed uint64) {
		block, n := blockOf([][]byte{a, b, a, b, b}, rand.New(rand.NewPCG(seed, 0)))
		roundTrip(t, e, d, block, n)
	})
}

func FuzzDecode(f *testing.F) {
	e, d := codecs(f)
	block, n := blockOf(someSession().Messages(), nil)
	f.Add(bytes.Clone(e.encode(block, n, false)))
	f.Fuzz(func(t *testing.T, p []byte) {
		records, n, err := d.decode(p)
		if err != nil {
			return
		}
		var r record
		for ok := true; len(records) > 0; n-- {
			if records, ok = nextRecord(records, &r); !ok {
				t.Fatal("records cannot be read")
			}
		}
		if n != 0 {
			t.Fatal("count of records does not agree")
		}
	})
}

// dataStreams are the recorded streams of the folder that BMP_DATA names.
func dataStreams(t testing.TB, most int64) map[string][]byte {
	t.Helper()
	streams := make(map[string][]byte)
	for _, name := range streamtest.Files(t) {
		base := filepath.Base(name)
		streams[base[:strings.Index(base, ".bmp")]] = firstOf(t, name, most)
	}
	return streams
}

// firstOf is what a file begins with.
func firstOf(t testing.TB, name string, most int64) []byte {
	t.Helper()
	b, err := io.ReadAll(io.LimitReader(streamtest.Open(t, name), most))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// framesOf cuts a stream; the messages alias it.
func framesOf(t testing.TB, stream []byte) (messages [][]byte) {
	t.Helper()
	r := bmp.NewReader(bytes.NewReader(stream), bmp.ReaderOptions{})
	defer r.Close()
	for {
		f, err := r.Next()
		if err != nil {
			var cut *bmp.TruncatedError
			if err != io.EOF && !errors.As(err, &cut) {
				t.Log(err)
			}
			return messages
		}
		messages = append(messages, stream[f.Offset:f.Offset+int64(len(f.Raw))])
	}
}

func TestCodecStreams(t *testing.T) {
	e, d := codecs(t)
	var raw, size, escaped int
	for name, stream := range dataStreams(t, 4<<20) {
		var streamRaw, streamSize, streamEscaped int
		for messages := framesOf(t, stream); len(messages) > 0; {
			n, bytes := 0, 0
			for n < len(messages) && bytes < blockBytes {
				bytes += recordHeader + len(messages[n])
				streamRaw += len(messages[n])
				n++
			}
			block, count := blockOf(messages[:n], nil)
			messages = messages[n:]
			s, esc := roundTrip(t, e, d, block, count)
			streamSize += s
			streamEscaped += esc
		}
		if streamRaw > 1<<20 {
			t.Logf("%-50s %9d bytes, ratio %.2f, %.1f %% escaped", name, streamRaw, float64(streamRaw)/float64(streamSize), 100*float64(streamEscaped)/float64(streamRaw))
		}
		raw, size, escaped = raw+streamRaw, size+streamSize, escaped+streamEscaped
	}
	t.Logf("all: %d bytes, ratio %.2f, %.2f %% escaped", raw, float64(raw)/float64(size), 100*float64(escaped)/float64(raw))
}

// TestABlockOfManyPrefixes: as many as a block can have are no more than what JetStream takes in its headers.
func TestABlockOfManyPrefixes(t *testing.T) {
	a := open(t, Options{})
	p := a.Client(1)
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	at := time.Now()
	p.Append(&Entry{Time: at, Raw: new(bmptest.Session).PeerUp(peer).Bytes(), Context: bgp.Context{AS4: true}})
	var last netip.Prefix
	for n := 0; n < 120_000; { // more than a block
		var list []bmptest.NLRI
		for range 900 {
			last = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
			list = append(list, bmptest.NLRI{Prefix: last})
			n++
		}
		u := bmptest.Update{ASPath: []uint32{65000}, Announce: list}
		for !p.Append(&Entry{Time: at, Raw: new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes(), Context: bgp.Context{AS4: true}}) {
			t.Fatal("no room")
		}
	}
	syncArchive(t, a, 1)
	if _, w := all(t, a, 1, Query{}); len(w.Gaps) > 0 || a.stored.Load() < 2 {
		t.Errorf("%d blocks, gaps %+v", a.stored.Load(), w.Gaps)
	}
	key := bgp.AppendPrefixKey(nil, bgp.IPv4Unicast, bgp.RD{}, last)
	if h, err := a.At(bg, 1, Want{Keys: []RouteKey{{bgp.IPv4Unicast, key}}}, time.Now()); err != nil || len(h.Routes) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
}
