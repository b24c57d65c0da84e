package engine

import (
	"math"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// residentBytes is how much memory the process has, by the kernel's word; 0 where it does not say.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// machineMemory is the memory of the machine, or of the process's cgroup if that is less.
func machineMemory() int64 {
	total := int64(math.MaxInt64)
	if n, ok := kernelBytes("/proc/meminfo", "MemTotal:"); ok {
		total = n
	}
	for _, g := range memoryGroups() {
		if limit, ok := g.limit(); ok {
			total = min(total, limit)
		}
	}
	return total
}

// kernelBytes is a line "NAME 12 kB" of a file of the kernel's.
func kernelBytes(file, name string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

// memoryGroup is a cgroup that may have a memory limit: of version 2 the process's and all above it, of version 1 its own.
type memoryGroup struct {
	dir     string
	limits  []string // files
	usage   string   // file
	statKey string   // prefix of the keys in memory.stat that speak of all below, too
}

func memoryGroups() (groups []memoryGroup) {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.SplitSeq(string(text), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			for dir := f[2]; ; dir = dir[:strings.LastIndexByte(dir, '/')] {
				groups = append(groups, memoryGroup{
					dir: "/sys/fs/cgroup" + strings.TrimSuffix(dir, "/"), limits: []string{"memory.max", "memory.high"}, usage: "memory.current",
				})
				if strings.LastIndexByte(dir, '/') < 0 || dir == "/" {
					break
				}
			}
		case strings.Contains(f[1], "memory"):
			for _, dir := range []string{"/sys/fs/cgroup/memory" + strings.TrimSuffix(f[2], "/"), "/sys/fs/cgroup/memory"} {
				groups = append(groups, memoryGroup{
					dir: dir, limits: []string{"memory.limit_in_bytes"}, usage: "memory.usage_in_bytes", statKey: "total_",
				})
			}
		}
	}
	return groups
}

// limit is the group's; not ok for none.
func (g memoryGroup) limit() (limit int64, ok bool) {
	limit = math.MaxInt64
	for _, f := range g.limits {
		if n, err := readNumber(g.dir + "/" + f); err == nil && n > 0 && n < math.MaxInt64/2 {
			limit, ok = min(limit, n), true
		}
	}
	return limit, ok
}

// left is what the group still gives: what it holds of files, and is written, can go.
func (g memoryGroup) left(limit int64) (int64, bool) {
	used, err := readNumber(g.dir + "/" + g.usage)
	if err != nil {
		return 0, false
	}
	text, _ := os.ReadFile(g.dir + "/memory.stat")
	for line := range strings.SplitSeq(string(text), "\n") {
		key, value, _ := strings.Cut(line, " ")
		key, ok := strings.CutPrefix(key, g.statKey)
		n, err := strconv.ParseInt(value, 10, 64)
		if !ok || err != nil {
			continue
		}
		switch key {
		case "inactive_file", "active_file":
			used -= n
		case "dirty", "writeback", "file_dirty", "file_writeback": // these cannot go at once
			used += n
		}
	}
	return limit - max(0, used), true
}

func readNumber(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is no number
}

// What is left to others, and to what it takes to free memory: a sweep of the route store needs some itself.
const (
	mostReserve     = 1 << 30
	leastReserve    = 16 << 20
	reserveFraction = 8
	addressReserve  = 128 << 20 // the runtime and the store take address space in pieces of 64 and 34 MiB
)

func reserve(total int64) int64 { return max(leastReserve, min(mostReserve, total/reserveFraction)) }

// memoryLeft is how much more the process could take before it might be killed or refused memory, and what sets that
// bound: the machine, or a cgroup.
func memoryLeft() (left int64, by string) {
	left = math.MaxInt64
	take := func(n int64, name string) {
		if n < left {
			left, by = n, name
		}
	}
	if n, ok := kernelBytes("/proc/meminfo", "MemAvailable:"); ok {
		total, _ := kernelBytes("/proc/meminfo", "MemTotal:")
		take(n-reserve(total), "the machine")
	}
	for _, g := range memoryGroups() {
		if limit, ok := g.limit(); ok {
			if n, ok := g.left(limit); ok {
				take(n-reserve(limit), "the cgroup")
			}
		}
	}
	return left, by
}

// addressLeft is how much more address space the process may take (ulimit -v, -d); not ok where nothing limits it.
func addressLeft() (left int64, ok bool) {
	left = math.MaxInt64
	for _, r := range []struct {
		resource int
		line     string
	}{{unix.RLIMIT_AS, "VmSize:"}, {unix.RLIMIT_DATA, "VmData:"}} {
		var limit unix.Rlimit
		if unix.Getrlimit(r.resource, &limit) != nil || limit.Cur >= math.MaxInt64 {
			continue
		}
		if n, has := kernelBytes("/proc/self/status", r.line); has {
			left, ok = min(left, int64(limit.Cur)-n-addressReserve), true
		}
	}
	return left, ok
}

// heapState is the Go heap's part: what is resident of the runtime's memory, what of that is free, what is in use,
// and what address space it holds beyond.
type heapState struct {
	resident, free, live, released int64
}

func readHeap() heapState {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	n := func(i int) int64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return int64(samples[i].Value.Uint64())
	}
	return heapState{resident: n(0) - n(1), free: n(2), live: n(3), released: n(1)}
}
