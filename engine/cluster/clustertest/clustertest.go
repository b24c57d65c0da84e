// Package clustertest runs NATS servers with JetStream in the process of a test.
package clustertest

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Servers are those of one cluster, on 127.0.0.1, on ports that the system gave.
type Servers []*server.Server

// URL names all of them.
func (s Servers) URL() string {
	var urls []string
	for _, x := range s {
		urls = append(urls, x.ClientURL())
	}
	return strings.Join(urls, ",")
}

// Target is a shell's target that leads to them: nats://HOST,HOST....
func (s Servers) Target() string {
	return "nats://" + strings.ReplaceAll(s.URL(), "nats://", "")
}

// Named is the server of a name, nil for none.
func (s Servers) Named(name string) *server.Server {
	for _, x := range s {
		if x.Name() == name {
			return x
		}
	}
	return nil
}

// Start starts n servers, which are one cluster if there are several, and waits for them to be ready. change may change
// the options of each. They end with the test.
func Start(t testing.TB, n int, change ...func(*server.Options)) Servers {
	t.Helper()
	s, err := Open(t.TempDir(), n, change...)
	t.Cleanup(s.Close)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Open is Start outside of a test: the servers keep their files in dir, and are to be closed, on an error, too.
func Open(dir string, n int, change ...func(*server.Options)) (list Servers, err error) {
	var routes []string
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, "nats://"+l.Addr().String())
	}
	for i := range n {
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true,
			StoreDir: filepath.Join(dir, fmt.Sprint(i)), JetStreamMaxStore: 100 << 30, JetStreamMaxMemory: 64 << 20,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "bmp", Host: "127.0.0.1", Port: ports[i]}
			o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		}
		for _, f := range change {
			f(o)
		}
		s, err := server.NewServer(o)
		if err != nil {
			return list, err
		}
		list = append(list, s)
		s.Start()
	}
	for _, s := range list {
		if !s.ReadyForConnections(30 * time.Second) {
			return list, fmt.Errorf("NATS server %s does not start", s.Name())
		}
	}
	if n > 1 && !eventually(func() bool {
		for _, s := range list {
			if s.JetStreamIsLeader() && s.JetStreamIsCurrent() {
				return len(s.JetStreamClusterPeers()) == n
			}
		}
		return false
	}) {
		return list, errors.New("no leader of the cluster within a minute")
	}
	return list, nil
}

// Close ends all of them.
func (s Servers) Close() {
	for _, x := range s {
		x.Shutdown()
		x.WaitForShutdown()
	}
}

// Eventually waits for a condition, for a minute at most.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !eventually(ok) {
		t.Fatalf("%s: not within a minute", what)
	}
}

func eventually(ok func() bool) bool {
	late := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(late) {
			return false
		}
		<-tick.C
	}
	return true
}
