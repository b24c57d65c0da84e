package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"bmp/cmd/internal/sim"
)

// runPmbmpd loads pmbmpd of pmacct with the small and the large dump of one router, as the station is loaded. It keeps a RIB, in
// which it finds a route by hashing, as it is told to dump it, once a day.
func (b *bench) runPmbmpd(path string) error {
	var cpu [2]time.Duration
	var rss [2]int64
	sizes := [2]int{b.sizes.small / 10, b.sizes.small}
	for i, routes := range sizes {
		if err := b.onePmbmpd(path, sim.Options{Seed: 1, Peers: 10, Routes: routes}, &cpu[i], &rss[i]); err != nil {
			return err
		}
	}
	n := float64(10 * (sizes[1] - sizes[0]))
	b.row(fmt.Sprintf("pmbmpd, 1 router x 10 peers, from %s to %s routes each", count1000(sizes[0]), count1000(sizes[1])), "beside ours",
		fmt.Sprintf("%.3f CPU-s/M, %.0f B/route (it parses, and keeps a RIB, too)", (cpu[1]-cpu[0]).Seconds()*1e6/n, float64(rss[1]-rss[0])/n))
	return nil
}

func (b *bench) onePmbmpd(path string, o sim.Options, cpu *time.Duration, rss *int64) error {
	dir, err := os.MkdirTemp(b.dir, "pmbmpd-")
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	config := filepath.Join(dir, "pmbmpd.conf")
	text := fmt.Sprintf("daemonize: false\nbmp_daemon_ip: 127.0.0.1\nbmp_daemon_port: %d\nbmp_daemon_max_peers: 10\n"+
		"bmp_dump_file: %s/dump-%%%%s\nbmp_dump_refresh_time: 86400\n", addr.Port, dir) // without a dump to come it keeps no RIB
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(b.ctx, path, "-f", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	s := &benchStation{cmd: cmd, addr: addr.String()}
	for b.ctx.Err() == nil {
		if conn, err := net.Dial("tcp", s.addr); err == nil {
			conn.Close()
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-b.ctx.Done():
		}
	}
	before := s.cpu()
	load, err := b.dump(s, o)
	if err != nil {
		return err
	}
	defer load.close()
	// It cannot be asked whether it is done: it is when it takes no more processor time.
	for last := time.Duration(-1); b.ctx.Err() == nil; {
		now := s.cpu()
		if now == last {
			break
		}
		last = now
		select {
		case <-time.After(500 * time.Millisecond):
		case <-b.ctx.Done():
		}
	}
	*cpu, *rss = s.cpu()-before, s.rss()
	return b.ctx.Err()
}
