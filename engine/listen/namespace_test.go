package listen_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bmp/engine/listen"
	"bmp/engine/listen/netnstest"
)

// Three namespaces with the same addresses, a router's namespace behind each: every listener hears its own router and
// no other, though all three are at the same address and port and all routers have the same address.
func TestSameAddressesInThreeNamespaces(t *testing.T) {
	type site struct {
		name, router string
		listener     *listen.Listener
	}
	const port = 11019
	stationAddr, routerAddr := netip.MustParseAddr("10.9.9.1"), netip.MustParseAddr("10.9.9.2")
	var sites []site
	for range 3 {
		s := site{name: netnstest.New(t), router: netnstest.New(t)}
		netnstest.Connect(t, "cable0", s.name, "10.9.9.1/24", s.router, "10.9.9.2/24")
		l, err := listen.Listen(t.Context(), listen.Spec{Netns: s.name, Addr: stationAddr, Port: port}, listen.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		s.listener = l
		sites = append(sites, s)
	}
	for _, s := range sites {
		c, err := netnstest.Dial(s.router, routerAddr, netip.AddrPortFrom(stationAddr, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintln(c, s.router)
	}
	for _, s := range sites {
		stop := time.AfterFunc(10*time.Second, func() { s.listener.Close() })
		c, err := s.listener.Accept()
		stop.Stop()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(line); got != s.router || c.Remote().Addr() != routerAddr {
			t.Errorf("%s heard %s from %s, want %s from %s", s.name, got, c.Remote(), s.router, routerAddr)
		}
	}
	own, err := listen.OwnNamespaceID()
	if err != nil {
		t.Fatal(err)
	}
	list, err := listen.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sites {
		i := slices.IndexFunc(list, func(n listen.Namespace) bool { return n.Name == s.name })
		if i < 0 || list[i].ID != s.listener.NamespaceID() || list[i].ID == own || list[i].Own {
			t.Errorf("%s is not among %+v with the ID %d", s.name, list, s.listener.NamespaceID())
		}
	}
}

func TestPortInUseInANamespace(t *testing.T) {
	ns := netnstest.New(t)
	spec := listen.Spec{Netns: ns, Port: 1111}
	l, err := listen.Listen(t.Context(), spec, listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = listen.Listen(t.Context(), spec, listen.Options{})
	if want := "Port 1111 is in use in network namespace " + ns; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = listen.Listen(t.Context(), listen.Spec{Netns: ns, Addr: netip.MustParseAddr("10.9.9.9"), Port: 1112}, listen.Options{})
	if want := "Address 10.9.9.9 is not on this machine in network namespace " + ns; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// Two listeners on one port, each bound to a device of its own: VRF devices where the kernel has them, otherwise the
// cables themselves, which the socket option does not tell apart.
func TestDevicesOfTheirOwn(t *testing.T) {
	ns := netnstest.New(t)
	far := netnstest.New(t)
	devices := []string{"cable0", "cable1"}
	for i, dev := range devices {
		netnstest.Connect(t, dev, ns, fmt.Sprintf("10.9.%d.1/24", i), far, fmt.Sprintf("10.9.%d.2/24", i))
		vrf := fmt.Sprintf("vrf%d", i)
		err := exec.Command("ip", "-n", ns, "link", "add", vrf, "up", "type", "vrf", "table", fmt.Sprint(100+i)).Run()
		if err != nil {
			t.Logf("no VRF devices in this kernel, binding to %s", dev)
			continue
		}
		netnstest.IP(t, "-n", ns, "link", "set", dev, "master", vrf)
		devices[i] = vrf
	}
	var listeners []*listen.Listener
	for _, dev := range devices {
		l, err := listen.Listen(t.Context(), listen.Spec{Netns: ns, Port: 1111, VRF: dev}, listen.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		listeners = append(listeners, l)
	}
	// The other way round from how they were opened.
	for i := len(listeners) - 1; i >= 0; i-- {
		l := listeners[i]
		c, err := netnstest.Dial(far, netip.Addr{}, netip.MustParseAddrPort(fmt.Sprintf("10.9.%d.1:1111", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		stop := time.AfterFunc(10*time.Second, func() { l.Close() })
		got, err := l.Accept()
		stop.Stop()
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		if got.Remote().String() != c.LocalAddr().String() {
			t.Errorf("%s accepted %s, want %s", l.Spec(), got.Remote(), c.LocalAddr())
		}
	}
	_, err := listen.Listen(t.Context(), listen.Spec{Netns: ns, Port: 1111, VRF: devices[0]}, listen.Options{})
	if want := "Port 1111 is in use on device " + devices[0] + " in network namespace " + ns; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestVisitComesBack(t *testing.T) {
	ns := netnstest.New(t)
	before := threadNamespace(t)
	var inside uint64
	for range 50 {
		if err := listen.In(ns, func() error {
			inside = threadNamespace(t)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if inside == before {
		t.Error("the visit did not leave the station's namespace")
	}
	// Every thread of the process is where it was.
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var st unix.Stat_t
		if err := unix.Stat("/proc/self/task/"+task.Name()+"/ns/net", &st); err == nil && st.Ino != before {
			t.Errorf("thread %s was left in another namespace", task.Name())
		}
	}
	sentinel := errors.New("from inside")
	if err := listen.In(ns, func() error { return sentinel }); err != sentinel {
		t.Errorf("In returns %v, want the function's own error", err)
	}
}

func threadNamespace(t *testing.T) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestNoCapability(t *testing.T) {
	ns := netnstest.New(t)
	// One thread gives up its capability; the goroutine ends locked to it, so that it is not used again.
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := dropSysAdmin(); err != nil {
			result <- err
			return
		}
		result <- listen.InThisThread(ns)
	}()
	err := <-result
	var e *listen.CapabilityError
	if !errors.As(err, &e) || err.Error() != "Network namespace '"+ns+"' needs CAP_SYS_ADMIN" {
		t.Errorf("error %v", err)
	}
}

// A thread that could not be put back is ended rather than given to another goroutine.
func TestThreadThatIsStuckIsNotReused(t *testing.T) {
	ns := netnstest.New(t)
	own := threadNamespace(t)
	// The process's first thread cannot be ended; the runtime parks it for ever. Another one is as good for the test.
	tid := os.Getpid()
	for range 100 {
		if tid = listen.VisitAndStay(ns); tid != os.Getpid() {
			break
		}
	}
	if tid == os.Getpid() {
		t.Skip("the runtime always chose the first thread")
	}
	deadline := time.After(10 * time.Second)
	for {
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/self/task/%d/ns/net", tid), &st); err != nil {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("thread %d lives on in the other namespace", tid)
		default:
			runtime.Gosched()
		}
	}
	// Whatever runs now runs where the station is.
	for range 100 {
		seen := make(chan uint64)
		go func() { seen <- threadNamespace(t) }()
		if got := <-seen; got != own {
			t.Fatal("a goroutine woke up in another namespace")
		}
	}
}

func dropSysAdmin() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
	return unix.Capset(&header, &data[0])
}

// The file of a namespace that was removed by force is no namespace, and is not listed as one.
func TestFileThatIsNoNamespace(t *testing.T) {
	netnstest.New(t) // for its skips, and for the directory
	f, err := os.CreateTemp("/run/netns", "bmptest-file-")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	defer os.Remove(f.Name())
	name := strings.TrimPrefix(f.Name(), "/run/netns/")
	if err := listen.In(name, func() error { return nil }); err == nil || err.Error() != f.Name()+" is not a network namespace" {
		t.Errorf("error %v", err)
	}
	list, err := listen.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list {
		if n.Name == name {
			t.Errorf("%s is listed as a namespace", name)
		}
	}
}
