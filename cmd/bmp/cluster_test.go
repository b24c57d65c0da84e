package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"bmp/engine/cluster/clustertest"
	"bmp/shell"
	"bmp/shell/cluster"
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

// TestClusterAccess: what the environment says of logging in and TLS, as for the program nats, opens a server that asks
// for both; without it nothing is found, and no password is in what is said.
func TestClusterAccess(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string]*pem.Block{ca: {Type: "CERTIFICATE", Bytes: der}, cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	servers := clustertest.Start(t, 1, func(o *server.Options) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(parsed)
		o.TLS, o.TLSTimeout = true, 30
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		o.Username, o.Password = "al", "secret"
	})
	set := func(env map[string]string) {
		for _, k := range []string{"NATS_CREDS", "NATS_NKEY", "NATS_USER", "NATS_PASSWORD", "NATS_CA", "NATS_CERT", "NATS_KEY"} {
			t.Setenv(k, env[k])
		}
	}
	host := servers[0].Addr().String()
	all := map[string]string{"NATS_USER": "al", "NATS_PASSWORD": "secret", "NATS_CA": ca, "NATS_CERT": cert, "NATS_KEY": key}
	for _, x := range []struct {
		change, to, wrong string
	}{
		{"", "", ""},
		{"NATS_CA", "", "certificate signed by unknown authority"},
		{"NATS_PASSWORD", "wrong", "Authorization Violation"},
		{"NATS_KEY", "", "NATS_CERT and NATS_KEY: one of them is missing"},
		{"NATS_CREDS", filepath.Join(dir, "none"), "no such file"},
	} {
		env := maps.Clone(all)
		if x.change != "" {
			env[x.change] = x.to
		}
		set(env)
		_, err := cluster.List(t.Context(), cluster.Place{URL: "nats://" + host})
		if x.wrong == "" && err != nil || x.wrong != "" && (err == nil || !strings.Contains(err.Error(), x.wrong)) {
			t.Errorf("%s=%s: %v", x.change, x.to, err)
		}
	}
	// A name and password in the target do as well.
	delete(all, "NATS_USER")
	delete(all, "NATS_PASSWORD")
	set(all)
	if _, err := cluster.List(t.Context(), cluster.Place{URL: "nats://al:secret@" + host}); err != nil {
		t.Error(err)
	}
	_, err = shell.Find("nats://al:wrong@" + host)
	if err == nil || strings.Contains(err.Error(), "wrong") || !strings.Contains(err.Error(), "al:xxxxx@") {
		t.Errorf("with a wrong password: %v", err)
	}
}
