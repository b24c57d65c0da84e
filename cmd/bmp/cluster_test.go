package main

import (
	"path/filepath"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"bmp/engine/cluster/clustertest"
)

// clusters are the servers of each script that runs, by its TestScript.
var clusters sync.Map

func scriptNATS(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nats N")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	servers, err := clustertest.Open(filepath.Join(ts.MkAbs("."), "nats"), n)
	ts.Defer(servers.Close)
	ts.Check(err)
	clusters.Store(ts, servers)
	ts.Defer(func() { clusters.Delete(ts) })
	ts.Setenv("NATS", servers.URL())
	ts.Setenv("CLUSTER", servers.Target())
}

func scriptNATSKill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: natskill N")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	v, ok := clusters.Load(ts)
	if !ok {
		ts.Fatalf("natskill: no servers")
	}
	servers := v.(clustertest.Servers)
	servers[n].Shutdown()
	servers[n].WaitForShutdown()
}
