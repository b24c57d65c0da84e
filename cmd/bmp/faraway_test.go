package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bmp/cmd/internal/sim"
	"bmp/engine/listen"
	"bmp/engine/listen/netnstest"
	"bmp/shell/edit/edittest"
)

// A longCable joins two network namespaces: each packet takes its time, and
// none arrives while it is cut.
type longCable struct {
	delay time.Duration
	cut   atomic.Bool
}

// lay joins namespace a, with its address, and b. Its ends are devices called far.
func lay(t *testing.T, a, addrA, b, addrB string, delay time.Duration) *longCable {
	t.Helper()
	c := &longCable{delay: delay}
	ends := []*os.File{tunDevice(t, a), tunDevice(t, b)}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		for _, f := range ends {
			f.Close()
		}
		wg.Wait()
	})
	for _, x := range [][2]string{{a, addrA}, {b, addrB}} {
		netnstest.IP(t, "-n", x[0], "addr", "add", x[1], "dev", "far")
		netnstest.IP(t, "-n", x[0], "link", "set", "far", "up")
	}
	wg.Go(func() { c.carry(ends[0], ends[1]) })
	wg.Go(func() { c.carry(ends[1], ends[0]) })
	return c
}

// carry takes packets from one end to the other until one is closed.
func (c *longCable) carry(from, to *os.File) {
	type packet struct {
		at    time.Time
		bytes []byte
	}
	under := make(chan packet, 10_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for p := range under {
			time.Sleep(time.Until(p.at))
			if !c.cut.Load() {
				_, _ = to.Write(p.bytes) // a packet that is lost is sent again
			}
		}
	})
	for {
		b := make([]byte, 2000)
		n, err := from.Read(b)
		if err != nil {
			break
		}
		select {
		case under <- packet{time.Now().Add(c.delay), b[:n]}:
		default:
		}
	}
	close(under)
	wg.Wait()
}

// tunDevice makes a network device in a namespace, whose packets are read and
// written by the test.
func tunDevice(t *testing.T, ns string) *os.File {
	t.Helper()
	var f *os.File
	err := listen.In(ns, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		r, err := unix.NewIfreq("far")
		if err == nil {
			r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
		}
		if err != nil {
			unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), "far")
		return nil
	})
	if err != nil {
		t.Skipf("no network device of one's own here: %v", err)
	}
	return f
}

// A station behind 200 ms, each way, in another network namespace: keywords, `?`
// and what is wrong with a line need no round trip, which is shown by cutting
// the cable.
func TestStationFarAway(t *testing.T) {
	here, there := netnstest.New(t), netnstest.New(t)
	cable := lay(t, here, "192.0.2.1/24", there, "192.0.2.2/24", 200*time.Millisecond)
	r := startStation(t, "--control", there+"/192.0.2.2:4000,allow 192.0.2.0/24")
	r.routers(sim.Options{Routers: 1, Peers: 3, Routes: 100})

	cmd := r.command("shell", "192.0.2.2:4000")
	cmd.Args = append([]string{"ip", "netns", "exec", here}, cmd.Args...)
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = ip
	c := edittest.Start(t, cmd, 80, 30)
	c.Shows("bmp>")
	took := func(what string, began time.Time) {
		t.Logf("%-40s %v", what, time.Since(began).Round(100*time.Microsecond))
	}

	began := time.Now()
	c.Type("sh\tcl\t")
	c.Ends("bmp> show client")
	took("keywords by Tab", began)
	began = time.Now()
	c.Type("?")
	c.Ends("  client   one client\n  clients  all clients, one line each\nbmp> show client")
	took("a table by ?", began)
	began = time.Now()
	c.Type("s | inc\t\x15show clients bogus\r")
	c.Holds("^\n% Invalid")
	took("an error below its place", began)
	began = time.Now()
	c.Type("show clients | columns Name | no-header\r")
	c.Ends("\nsim1\nbmp>")
	took("show clients", began)
	began = time.Now()
	c.Type("show client 1 peer 10.0.0.\t\t")
	c.Ends("  10.0.0.1  AS64512 up\n  10.0.0.2  AS64513 up\n  10.0.0.3  AS64514 up\nbmp> show client 1 peer 10.0.0.")
	took("live values by Tab", began)
	began = time.Now()
	c.Type("\x15watch every 100ms show clients\r")
	c.Holds("Every 100ms")
	c.Type("\x03")
	c.Ends("bmp>")
	took("a watch, ended by Ctrl-C", began)

	// With the cable cut all that needs no station is as before.
	cable.cut.Store(true)
	c.Type("\x0c")
	c.Until("cleared", func(text string) bool { return strings.TrimSpace(text) == "bmp>" })
	began = time.Now()
	c.Type("sh\tcl\t?")
	c.Ends("  client   one client\n  clients  all clients, one line each\nbmp> show client")
	took("keywords and ? without the station", began)
	began = time.Now()
	c.Type("s bogus\r")
	c.Holds("^\n% Invalid")
	took("an error without the station", began)
	began = time.Now()
	c.Type("show client ?") // where values are possible they are not waited for for ever
	c.Holds("  CLIENT ")
	took("a table without its live values", began)
	c.Type("\x15find as-path\r")
	c.Until("the commands found", func(text string) bool { return strings.Contains(text, "show bgp") && strings.HasSuffix(text, "\nbmp>") })
	c.Type("show clients\r")
	c.Until("it is asked", func(text string) bool {
		_, x, _ := c.Text()
		return x == 0 && strings.HasSuffix(text, "show clients")
	})
	began = time.Now()
	c.Type("\x03")
	c.Ends("% Cancelled\nbmp>")
	took("Ctrl-C without the station", began)

	cable.cut.Store(false)
	c.Type("show client 1 peer 10.0.0.2 | include AS64513\r") // answered when the lost ones have been sent again
	c.Holds("AS64513")
	c.Type("\x15exit\r")
	c.Exits(0)
}
