package engine

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"bmp/engine/client"
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
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
				if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					total = kib << 10
				}
			}
		}
	}
	for _, path := range cgroupLimits() {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			total = min(total, n)
		}
	}
	return total
}

// cgroupLimits names the files that may hold a limit: of version 2 for the process's cgroup and all above it, of
// version 1 for its own.
func cgroupLimits() (paths []string) {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.SplitSeq(string(text), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			for dir := f[2]; ; dir = dir[:strings.LastIndexByte(dir, '/')] {
				paths = append(paths, "/sys/fs/cgroup"+strings.TrimSuffix(dir, "/")+"/memory.max")
				if strings.LastIndexByte(dir, '/') < 0 || dir == "/" {
					break
				}
			}
		case strings.Contains(f[1], "memory"):
			paths = append(paths, "/sys/fs/cgroup/memory"+f[2]+"/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
		}
	}
	return paths
}

// Shares of the memory limit, in percent.
const (
	refuseAt = 90 // new clients are refused
	acceptAt = 85 // and taken again
	closeAt  = 100
)

// memoryGuard keeps the station below its limit. Of the janitor alone, but for what is in atomics of the Station.
type memoryGuard struct {
	routes map[uint32]int // of each client when memory got short; nil before
	closed time.Time      // when a client was closed last
	floor  int64          // what was used then
}

// settleAfterClose is how long memory may take to come free after a client was closed, before another one is.
const settleAfterClose = 10 * time.Second

// memoryWatch is how often the memory is looked at between two rounds of the janitor: tables come in with 100 MB a second
// and more, which must not go by unseen for long.
const memoryWatch = 100 * time.Millisecond

// watchMemory has the memory guarded at once where there is little left.
func (s *Station) watchMemory(now time.Time) {
	if limit := s.options.MemoryLimit; limit >= 0 && s.options.memory() >= limit/100*(refuseAt-10) {
		s.guardMemory(now)
	}
}

// guardMemory refuses new clients at refuseAt percent of the limit, and at closeAt closes the client that grew most.
func (s *Station) guardMemory(now time.Time) {
	limit := s.options.MemoryLimit
	if limit < 0 {
		return
	}
	g := &s.guard
	used := s.used()
	s.memoryUsed.Store(used)
	switch refusing := s.refusing.Load(); {
	case !refusing && used >= limit/100*refuseAt:
		s.refusing.Store(true)
		s.say("Memory %s of %s in use: new clients are refused", size(used), size(limit))
	case refusing && used < limit/100*acceptAt:
		s.refusing.Store(false)
		s.say("Memory %s of %s in use: new clients are taken again", size(used), size(limit))
	}
	if used < limit/100*(refuseAt-10) {
		g.routes = nil
		return
	}
	// Growth is counted from here on, so that it is known who did it when the limit is reached. Where nobody has grown
	// the client with the most routes counts.
	first := g.routes == nil
	if first {
		g.routes = make(map[uint32]int)
	}
	var worst *client.Client
	most, mostRoutes := -1, -1
	for _, c := range s.Clients() {
		t := c.Totals()
		if !t.Up && t.Routes == 0 {
			continue
		}
		if first {
			g.routes[c.ID()] = t.Routes
		}
		growth := max(0, t.Routes-g.routes[c.ID()])
		if growth > most || growth == most && t.Routes > mostRoutes {
			worst, most, mostRoutes = c, growth, t.Routes
		}
	}
	if used < limit/100*closeAt || worst == nil {
		return
	}
	if now.Sub(g.closed) < settleAfterClose && used < g.floor+limit/50 {
		return
	}
	g.closed, g.floor = now, used
	reason := fmt.Sprintf("memory limit of %s reached, and this client grew most", size(limit))
	s.say("Memory %s of %s in use: closing client %d, which grew most, and dropping its %d routes", size(used), size(limit), worst.ID(), mostRoutes)
	delete(g.routes, worst.ID())
	worst.DropForMemory(reason)
	debug.FreeOSMemory()
}

// used is the memory in use: resident, less what the route store holds free for reuse.
func (s *Station) used() int64 {
	return s.options.memory() - s.store.Stats().FreeBytes
}

// size writes bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KB", n>>10)
}
