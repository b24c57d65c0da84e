package control

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runtimeDir makes a private directory the only place where stations are looked for.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	t.Setenv("BMP_RUNTIME_DIR", dir)
	got, err := RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	if got != dir {
		t.Fatalf("RuntimeDir() = %s, want %s", got, dir)
	}
	return dir
}

func start(t *testing.T, dir, name string, port uint16) (*Claim, *net.UnixListener) {
	t.Helper()
	c, err := ClaimStation(dir, name, port)
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Listen(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return c, l
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestStationIsFoundWhileItRuns(t *testing.T) {
	dir := runtimeDir(t)
	a, al := start(t, dir, "edge-1111", 1111)
	b, bl := start(t, dir, "core-2222", 2222)
	list, err := RunningStations()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 {
		t.Fatalf("found %+v, want two stations", list)
	}
	want := Running{Name: "edge-1111", Port: 1111, Socket: filepath.Join(dir, "edge-1111.sock"), PID: os.Getpid()}
	if list[0] != want || list[1].Port != 2222 {
		t.Errorf("found %+v, want first %+v", list, want)
	}
	if got := list[0].ControlPort(); got != 1112 {
		t.Errorf("control port %d, want 1112", got)
	}
	// The link leads to the same socket.
	c, err := net.Dial("unix", filepath.Join(dir, "1111.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	al.Close()
	bl.Close()
	for _, claim := range []*Claim{a, b} {
		if err := claim.Release(); err != nil {
			t.Error(err)
		}
	}
	if list, err := RunningStations(); err != nil || len(list) != 0 {
		t.Errorf("after release found %+v, %v", list, err)
	}
	if got := names(t, dir); got != ".lock" {
		t.Errorf("left in the directory: %s", got)
	}
}

// TestStationWithoutControlPort: the port after its own is not taken by it, and it is not asked there.
func TestStationWithoutControlPort(t *testing.T) {
	dir := runtimeDir(t)
	c, err := ClaimStation(dir, "edge", 1111)
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Listen(false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next, nl := start(t, dir, "next", 1112)
	list, err := RunningStations()
	if err != nil || len(list) != 2 || list[0].ControlPort() != 0 || list[1].Port != 1112 || list[1].ControlPort() != 1113 {
		t.Errorf("found %+v, %v", list, err)
	}
	l.Close()
	nl.Close()
	for _, claim := range []*Claim{c, next} {
		if err := claim.Release(); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, dir); got != ".lock" {
		t.Errorf("left in the directory: %s", got)
	}
	// What a killed one left is no other's.
	if err := os.Symlink("edge.sock", filepath.Join(dir, "1111.no-control.sock")); err != nil {
		t.Fatal(err)
	}
	start(t, dir, "edge", 1111)
	if list, err = RunningStations(); err != nil || len(list) != 1 || list[0].ControlPort() != 1112 {
		t.Errorf("found %+v, %v", list, err)
	}
}

func TestSocketModeIsNotLeftToTheUmask(t *testing.T) {
	dir := runtimeDir(t)
	for _, mask := range []int{0, 0o077} {
		old := syscall.Umask(mask)
		c, l := start(t, dir, "edge", 1111)
		syscall.Umask(old)
		fi, err := os.Stat(c.Socket())
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != 0o660 {
			t.Errorf("umask %04o: socket mode %04o, want 0660", mask, got)
		}
		l.Close()
		if err := c.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNameAndPortAreTakenOnce(t *testing.T) {
	dir := runtimeDir(t)
	start(t, dir, "edge", 1111)
	var taken *TakenError
	if _, err := ClaimStation(dir, "edge", 2222); !errors.As(err, &taken) || taken.Text != "A server named edge is already running" {
		t.Errorf("second of one name: %v", err)
	}
	if _, err := ClaimStation(dir, "other", 1111); !errors.As(err, &taken) || taken.Text != "Port 1111 is in use by server edge" {
		t.Errorf("second on one port: %v", err)
	}
	if list, err := RunningStations(); err != nil || len(list) != 1 {
		t.Errorf("refused stations left a trace: %+v, %v", list, err)
	}
}

// A killed station leaves its files and loses its lock.
func TestLeftoversOfAKilledStationAreRemoved(t *testing.T) {
	dir := runtimeDir(t)
	dead, l := start(t, dir, "dead", 1111)
	start(t, dir, "alive", 2222)
	l.Close()
	if err := dead.lock.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), ".lock 1111.sock 2222.sock alive.lock alive.sock dead.lock dead.sock"; got != want {
		t.Fatalf("before: %s, want %s", got, want)
	}
	list, err := RunningStations()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Name != "alive" {
		t.Errorf("found %+v, want alive alone", list)
	}
	if got, want := names(t, dir), ".lock 2222.sock alive.lock alive.sock"; got != want {
		t.Errorf("after: %s, want %s", got, want)
	}
	// And starting over the leftovers works without anybody looking first.
	again, l := start(t, dir, "dead", 1111)
	l.Close()
	again.lock.Close()
	start(t, dir, "dead", 1111)
}

// Somebody else's directory is looked into without its locks, and never tidied up.
func TestForeignDirectoryIsOnlyLookedInto(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give a directory away")
	}
	dir := runtimeDir(t)
	dead, l := start(t, dir, "dead", 1111)
	start(t, dir, "alive", 2222)
	l.Close()
	dead.lock.Close()
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	list, err := RunningStations()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Name != "alive" {
		t.Errorf("found %+v, want alive alone", list)
	}
	if _, err := os.Lstat(filepath.Join(dir, "dead.sock")); err != nil {
		t.Errorf("a foreign directory was tidied up: %v", err)
	}
	if _, err := RuntimeDir(); err == nil {
		t.Error("a station would put its socket into a foreign directory")
	}
}

func TestRuntimeDirRefusals(t *testing.T) {
	base := t.TempDir()
	refused := func(t *testing.T, why string) {
		t.Helper()
		_, err := RuntimeDir()
		var e *RuntimeDirError
		if !errors.As(err, &e) || !strings.Contains(e.Why, why) {
			t.Errorf("RuntimeDir() error = %v, want a refusal saying %q", err, why)
		}
		if list, err := RunningStations(); !errors.As(err, &e) {
			t.Errorf("RunningStations() = %v, %v, want a refusal", list, err)
		}
	}
	t.Run("symlink", func(t *testing.T) {
		real, link := filepath.Join(base, "real"), filepath.Join(base, "link")
		if err := errors.Join(os.Mkdir(real, 0o700), os.Symlink(real, link)); err != nil {
			t.Fatal(err)
		}
		t.Setenv("BMP_RUNTIME_DIR", link)
		refused(t, "symbolic link")
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(base, "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("BMP_RUNTIME_DIR", path)
		refused(t, "not a directory")
	})
	t.Run("writable by others", func(t *testing.T) {
		path := filepath.Join(base, "open")
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o770)); err != nil {
			t.Fatal(err)
		}
		t.Setenv("BMP_RUNTIME_DIR", path)
		refused(t, "others may write")
	})
	t.Run("relative", func(t *testing.T) {
		t.Setenv("BMP_RUNTIME_DIR", "run")
		if _, err := RuntimeDir(); err == nil || !strings.Contains(err.Error(), "absolute") {
			t.Errorf("relative path: %v", err)
		}
	})
}

// The directory under /tmp must have mode 0700 exactly, be ours and be no link: anybody may have made it first.
func TestTemporaryDirectoryMustBePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bmp-"+strconv.Itoa(os.Geteuid()))
	p := runtimePlace{path: path, private: true}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o755, 0o701, 0o500} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, station := range []bool{true, false} {
			if _, err := p.check(station); err == nil || !strings.Contains(err.Error(), "must be 0700") {
				t.Errorf("mode %04o, station %v: %v", mode, station, err)
			}
		}
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if ours, err := p.check(true); err != nil || !ours {
		t.Errorf("private directory: ours %v, %v", ours, err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(path, 12345, -1); err != nil {
			t.Fatal(err)
		}
		for _, station := range []bool{true, false} {
			if _, err := p.check(station); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
				t.Errorf("of another user, station %v: %v", station, err)
			}
		}
	}
}

func TestRuntimePlaces(t *testing.T) {
	t.Setenv("BMP_RUNTIME_DIR", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1")
	t.Setenv("TMPDIR", "/var/tmp")
	places, err := runtimePlaces()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range places {
		got = append(got, p.path)
	}
	temporary := "/var/tmp/bmp-" + strconv.Itoa(os.Geteuid())
	want := []string{"/run/user/1/bmp", temporary, "/run/bmp"}
	if os.Geteuid() == 0 {
		want = []string{"/run/bmp", temporary}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("places %v, want %v", got, want)
	}
}

func TestValidName(t *testing.T) {
	for _, ok := range []string{"edge-1111", "a", "A_b-9", "9a", strings.Repeat("x", 64)} {
		if err := ValidName(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "1111", "-a", "a.b", "a/b", "..", "a b", "ä", strings.Repeat("x", 65)} {
		if ValidName(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if name := DefaultName(1111); ValidName(name) != nil || !strings.HasSuffix(name, "-1111") {
		t.Errorf("DefaultName(1111) = %q", name)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ClaimStation(dir, "edge", 1111); err == nil || !strings.Contains(err.Error(), "system allows 107") {
		t.Errorf("long path: %v", err)
	}
}

// waiters is how many wait for the lock of a file, by the kernel's word.
func waiters(t *testing.T, path string) (n int) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Skip(err)
	}
	inode := ":" + strconv.FormatUint(fi.Sys().(*syscall.Stat_t).Ino, 10) + " "
	for l := range strings.Lines(string(locks)) {
		if strings.Contains(l, "-> FLOCK") && strings.Contains(l, inode) {
			n++
		}
	}
	return n
}

// TestLocksAreWaitedFor has one wait in vain, who leaves nothing behind, and one until the lock is given back.
func TestLocksAreWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".lock")
	first, held, err := tryLock(path)
	if err != nil || held {
		t.Fatal(held, err)
	}
	if _, held, err := tryLock(path); err != nil || !held {
		t.Fatal(held, err)
	}
	if _, err := waitLock(path, time.Millisecond); err == nil || !strings.Contains(err.Error(), "held by another process for 1ms") {
		t.Errorf("%v", err)
	}
	waiters(t, path) // skips where it cannot be known
	got := make(chan *os.File, 1)
	go func() {
		f, err := waitLock(path, time.Minute)
		if err != nil {
			t.Error(err)
		}
		got <- f
	}()
	for end := time.Now().Add(10 * time.Second); waiters(t, path) < 2; runtime.Gosched() { // the one who gave up is still there
		if time.Now().After(end) {
			t.Fatalf("%d wait", waiters(t, path))
		}
	}
	first.Close()
	f := <-got
	if _, held, err := tryLock(path); err != nil || !held {
		t.Error(held, err)
	}
	f.Close()
	last, err := waitLock(path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	last.Close()
}
