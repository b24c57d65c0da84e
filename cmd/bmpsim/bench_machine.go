package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bmp/cmd/internal/quantity"
)

// machineFacts say where the numbers come from.
func machineFacts() []string {
	field := func(file, name string) string {
		text, _ := os.ReadFile(file)
		for line := range strings.SplitSeq(string(text), "\n") {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
				return strings.TrimSpace(v)
			}
		}
		return "unknown"
	}
	first := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(text))
	}
	memory := field("/proc/meminfo", "MemTotal")
	if kib, err := strconv.ParseInt(strings.TrimSuffix(memory, " kB"), 10, 64); err == nil {
		memory = quantity.Bytes(kib << 10)
	}
	var files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files) // zero says that it is not known
	fresh := "unknown"
	if once, again, err := firstTouch(256 << 20); err == nil {
		fresh = fmt.Sprintf("%.2f CPU-s a GB touched first, %.2f what was given back a moment ago", once, again)
	}
	return []string{
		fmt.Sprintf("CPU     %s, %d of them", field("/proc/cpuinfo", "model name"), runtime.NumCPU()),
		fmt.Sprintf("memory  %s; huge pages %s; overcommit %s", memory, first("/sys/kernel/mm/transparent_hugepage/enabled"), first("/proc/sys/vm/overcommit_memory")),
		fmt.Sprintf("pages   %s: part of every load", fresh),
		fmt.Sprintf("kernel  %s, %s; open files %d of %d", first("/proc/sys/kernel/osrelease"), runtime.Version(), files.Cur, files.Max),
		fmt.Sprintf("load    %s (1, 5, 15 minutes) when it began: above 0 others work here, too", strings.Join(strings.Fields(first("/proc/loadavg") + " ? ? ?")[:3], " ")),
	}
}

// firstTouch is the processor time, in seconds for each GB, of touching memory in huge pages for the first time, and once more
// after it was given back. In a virtual machine whose host hands out pages as they are touched, the first is many times the other.
func firstTouch(size int) (once, again float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, result := range []*float64{&once, &again} {
		m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return 0, 0, err
		}
		_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // as the station does; where there are none it has small ones, too
		before := threadTime()
		for i := 0; i < size; i += 4096 {
			m[i] = 1
		}
		*result = (threadTime() - before).Seconds() * 1e9 / float64(size)
		if err := unix.Munmap(m); err != nil {
			return 0, 0, err
		}
	}
	return once, again, nil
}

// threadTime is the processor time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// processCPU is the processor time that a process has had, of all its threads, in the kernel's ticks of 10 ms.
func processCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // the name before may have anything in it
	f := strings.Fields(string(rest))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}

// threadCPU is processCPU in nanoseconds, of the threads that there are now: for short times.
func threadCPU(pid int) (sum time.Duration) {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, e := range list {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, e.Name()))
		if err != nil {
			continue // it has just ended
		}
		f := strings.Fields(string(text))
		if len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// processMemory is the resident memory of a process now and at its most, in bytes.
func processMemory(pid int) (now, most int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			most = kib << 10
		}
	}
	return now, most, nil
}

// idleLoop runs until its standard input ends. It is how late a thread that only sleeps wakes up: what the machine alone does to whoever wants to run at once.
// It prints the number of sleeps, and the lateness at p50, p99, p99.9 and most in nanoseconds.
func idleLoop(in io.Reader, out io.Writer) {
	var late []time.Duration
	var ended atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, in) // an error is an end, too
		ended.Store(true)
	}()
	for !ended.Load() || len(late) == 0 {
		const nap = time.Millisecond
		at := time.Now()
		t := unix.NsecToTimespec(int64(nap))
		_ = unix.Nanosleep(&t, nil) // a sleep cut short is one that was not late
		late = append(late, max(0, time.Since(at)-nap))
	}
	fmt.Fprintln(out, len(late), int64(quantile(late, 0.5)), int64(quantile(late, 0.99)), int64(quantile(late, 0.999)), int64(quantile(late, 1)))
}

// gcTrace collects what GODEBUG=gctrace=1 prints. What is not of it is kept as text.
type gcTrace struct {
	cycles int
	cpu    time.Duration
	pauses []time.Duration // two of each cycle
}

// parse takes one line:
//
//	gc 1 @0.012s 2%: 0.018+0.84+0.005 ms clock, 0.036+0.26/0.62/0.38+0.010 ms cpu, 4->4->1 MB, ...
//
// of which the first and last of the clock are pauses. What collecting took is the cpu, but of the pauses the clock: the
// runtime takes their cpu for that times its processors, all of which wait until the last has stopped. It is false for
// another line.
func (g *gcTrace) parse(line string) bool {
	var cycle int
	if n, _ := fmt.Sscanf(line, "gc %d @", &cycle); n != 1 {
		return false
	}
	_, rest, ok := strings.Cut(line, ": ")
	clock, rest, ok2 := strings.Cut(rest, " ms clock, ")
	cpu, _, ok3 := strings.Cut(rest, " ms cpu")
	if !ok || !ok2 || !ok3 {
		return false
	}
	phases := strings.Split(clock, "+")
	if len(phases) != 3 {
		return false
	}
	span := func(s string) time.Duration {
		f, _ := strconv.ParseFloat(s, 64)
		return time.Duration(f * float64(time.Millisecond))
	}
	begin, beside, ok := strings.Cut(cpu, "+")
	beside, end, ok2 := strings.Cut(beside, "+")
	if !ok || !ok2 || begin == "" || end == "" {
		return false
	}
	g.cycles++
	g.pauses = append(g.pauses, span(phases[0]), span(phases[2]))
	g.cpu += span(phases[0]) + span(phases[2])
	for _, part := range strings.Split(beside, "/") {
		g.cpu += span(part)
	}
	return true
}

func (g *gcTrace) add(x gcTrace) {
	g.cycles += x.cycles
	g.cpu += x.cpu
	g.pauses = append(g.pauses, x.pauses...)
}

// raiseFiles makes the limit of open files at least n, if that is allowed, and says what it is then.
func raiseFiles(n uint64) uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return n
	}
	if l.Cur < n {
		want := unix.Rlimit{Cur: n, Max: max(n, l.Max)}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &want) != nil {
			want = unix.Rlimit{Cur: l.Max, Max: l.Max}
			if unix.Setrlimit(unix.RLIMIT_NOFILE, &want) != nil {
				return l.Cur
			}
		}
		l = want
	}
	return l.Cur
}
