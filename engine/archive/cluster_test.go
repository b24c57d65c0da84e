package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"bmp/engine/cluster/clustertest"
)

// TestCluster: three servers, replicas 3, one is stopped under load. Nothing that was acknowledged is lost, nor, as the
// archive tries again, anything else; and questions go on.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("three NATS servers take seconds: run without -short")
	}
	servers := clustertest.Start(t, 3)
	a := open(t, Options{Station: "edge", URL: servers.URL(), MaxBytes: 1 << 30, NATS: []nats.Option{nats.Timeout(5 * time.Second)}, server: natsOptions{publishTimeout: 2 * time.Second}})
	var kept [2][][]byte
	var stop *server.Server
	for i := range 400 {
		if i == 150 {
			// The leader of the messages is the one that hurts.
			info, err := a.store.msgs.Info(bg)
			if err != nil {
				t.Fatal(err)
			}
			if stop = servers.Named(info.Cluster.Leader); stop == nil || info.Config.Replicas != 3 {
				t.Fatalf("no leader, or not three: %+v", info)
			}
			go stop.Shutdown()
		}
		for c := range kept {
			m := bytes.Repeat([]byte{byte(i), byte(i >> 8), byte(c)}, 3000)
			if !a.Client(uint32(c + 1)).Append(&Entry{Time: time.Now(), Raw: m}) {
				t.Fatal("no room")
			}
			kept[c] = append(kept[c], m)
			if i%10 == 0 {
				p := a.Client(uint32(c + 1))
				p.mu.Lock()
				p.seal()
				p.mu.Unlock()
			}
		}
		<-time.After(2 * time.Millisecond)
	}
	syncArchive(t, a, 1)
	syncArchive(t, a, 2)
	for c := range kept {
		got, w := all(t, a, uint32(c+1), Query{})
		same(t, got, kept[c])
		if len(w.Gaps)+len(w.Corrupt) > 0 {
			t.Errorf("%+v", w)
		}
	}
}

// TestClusterAway: while the cluster is away messages wait up to the bound, then they are a gap; when it is there again
// storing goes on by itself, and the gap is known.
func TestClusterAway(t *testing.T) {
	dir := t.TempDir()
	servers, err := clustertest.Open(dir, 1)
	t.Cleanup(func() { servers.Close() })
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Station: "edge", URL: servers.URL(), QueueBytes: 1 << 20, MaxBytes: 1 << 30, server: natsOptions{publishTimeout: time.Second}}
	var mu sync.Mutex
	var said []string
	var gaps []Gap
	o.OnTrouble = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			said = append(said, "fails")
		} else {
			said = append(said, "goes on")
		}
	}
	o.OnGap = func(g Gap) {
		mu.Lock()
		defer mu.Unlock()
		gaps = append(gaps, g)
	}
	told := func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(said, ", ")
	}
	a := open(t, o)
	p := a.Client(1)
	var kept [][]byte
	n := 0
	add := func() bool {
		n++
		m := bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(n >> 16)}, 1000)
		ok := p.Append(&Entry{Time: time.Now(), Raw: m})
		if ok {
			kept = append(kept, m)
		}
		return ok
	}
	for range 10 {
		add()
	}
	syncArchive(t, a, 1)
	url := servers[0].Addr().String()
	servers.Close()
	lost := 0
	eventually(t, "the queue is full", func() bool {
		if !add() {
			lost++
		}
		return lost > 0
	})
	for range 50 {
		if !add() {
			lost++
		}
	}
	eventually(t, "that storing fails is told", func() bool { return told() == "fails" })
	ctx, cancel := context.WithTimeout(bg, 200*time.Millisecond)
	defer cancel()
	if _, err := a.Messages(ctx, 1, Query{}, func(*Message) error { return nil }); !errors.Is(err, ErrAway) {
		t.Errorf("a question without a cluster: %v", err)
	}
	// No deadline: it must not wait for the cluster.
	if _, err := a.At(bg, 1, Want{}, time.Now()); !errors.Is(err, ErrUnstored) {
		t.Errorf("a question about now without a cluster: %v", err)
	}
	servers, err = clustertest.Open(dir, 1, func(o *server.Options) {
		_, p, _ := strings.Cut(url, ":")
		for _, c := range p {
			o.Port = max(o.Port, 0)*10 + int(c-'0')
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "storing goes on", func() bool { return told() == "fails, goes on" })
	eventually(t, "all is stored", func() bool { return a.sealedCount.Load() == 0 && a.used.Load() == 0 })
	add()
	syncArchive(t, a, 1)
	got, w := all(t, a, 1, Query{})
	same(t, got, kept)
	sum := uint64(0)
	for _, g := range w.Gaps {
		sum += g.Messages
	}
	if sum != uint64(lost) {
		t.Errorf("%d lost, gaps %+v", lost, w.Gaps)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(gaps) == 0 {
		t.Error("the gap was not told")
	}
}

// TestWalkOverAServerThatGoes: a question that is being answered goes on when the server that it is answered by ends; by another
// one, or when it is back after a while.
func TestWalkOverAServerThatGoes(t *testing.T) {
	if testing.Short() {
		t.Skip("NATS servers that come and go take seconds: run without -short")
	}
	t.Parallel() // it waits more than it works
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			servers, err := clustertest.Open(dir, n)
			t.Cleanup(func() { servers.Close() })
			if err != nil {
				t.Fatal(err)
			}
			back := make(chan clustertest.Servers, 1)
			a := open(t, Options{Station: "edge", URL: servers.URL(), MaxBytes: 1 << 30})
			p := a.Client(1)
			const blocks = 3 * walkAhead
			for i := range blocks {
				p.Append(&Entry{Time: time.Now(), Raw: []byte{byte(i), byte(i >> 8)}})
				p.mu.Lock()
				p.seal()
				p.mu.Unlock()
			}
			syncArchive(t, a, 1)
			goes := func() {
				if n == 1 {
					port := servers[0].Addr().(*net.TCPAddr).Port
					servers.Close()
					time.AfterFunc(stalled+time.Second, func() { // it is away for longer than a walk waits
						again, err := clustertest.Open(dir, 1, func(o *server.Options) { o.Port = port })
						if err != nil {
							t.Error(err)
						}
						back <- again
					})
					return
				}
				for c := range a.stream(messageStream).ListConsumers(bg).Info() {
					servers.Named(c.Cluster.Leader).Shutdown()
					return
				}
				t.Error("the walk has no consumer")
			}
			ctx, cancel := context.WithTimeout(bg, time.Minute)
			defer cancel()
			got := 0
			if _, err := a.Messages(ctx, 1, Query{}, func(*Message) error {
				if got++; got == 10 {
					goes()
				}
				return nil
			}); err != nil || got != blocks {
				t.Errorf("%d of %d messages, %v", got, blocks, err)
			}
			if n == 1 {
				servers = <-back
			}
		})
	}
}

// What a cluster holds for another state folder, another version or another station is not taken for one's own.
func TestClusterOfAnother(t *testing.T) {
	servers := clustertest.Start(t, 1)
	o := Options{Station: "edge", URL: servers.URL(), Owner: "one"}
	closeArchive(t, open(t, o))
	closeArchive(t, open(t, o))
	o.Owner = "two"
	if _, err := Open(bg, o); !errors.Is(err, ErrOwner) || !strings.Contains(err.Error(), "BMP_edge") {
		t.Errorf("another folder: %v", err)
	}
	nc, err := nats.Connect(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(bg, "BMP_edge")
	if err != nil {
		t.Fatal(err)
	}
	c := st.CachedInfo().Config
	for key, want := range map[string]error{"bmp-archive": ErrVersion, "bmp-station": ErrStation} {
		x := c
		x.Metadata = map[string]string{}
		for k, v := range c.Metadata {
			x.Metadata[k] = v
		}
		x.Metadata[key] = "other"
		if _, err := js.UpdateStream(bg, x); err != nil {
			t.Fatal(err)
		}
		o.Owner = "one"
		if _, err := Open(bg, o); !errors.Is(err, want) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A stream is as large, and kept as often, as the servers have room for; that it is less than asked for is said.
func TestClusterWithoutRoom(t *testing.T) {
	servers := clustertest.Start(t, 1, func(o *server.Options) { o.JetStreamMaxStore = 3 << 30 })
	var notes []string
	a := open(t, Options{Station: "edge", URL: servers.URL(), OnNote: func(s string) { notes = append(notes, s) }})
	st, err := a.Stats(bg)
	if err != nil {
		t.Fatal(err)
	}
	if st.Replicas != 1 || st.Embedded || len(notes) == 0 || !strings.Contains(notes[0], "MiB at most") {
		t.Errorf("%+v, said %q", st, notes)
	}
	info, err := a.store.msgs.Info(bg)
	if err != nil || info.Config.MaxBytes > 3<<30 || info.Config.MaxBytes < 1<<30 {
		t.Errorf("%d bytes, %v", info.Config.MaxBytes, err)
	}
	small := clustertest.Start(t, 1, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	if _, err := Open(bg, Options{Station: "edge", URL: small.URL()}); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("64 KiB messages: %v", err)
	}
}
