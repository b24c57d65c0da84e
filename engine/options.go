package engine

import (
	"context"
	"net"
	"time"

	"bmp/engine/archive"
	"bmp/engine/client"
	"bmp/engine/cluster"
	"bmp/engine/listen"
	"bmp/proto/control"
)

// Options of a Station. Listen is necessary; the zero value of all else works.
type Options struct {
	Name    string // empty: the first listener's port
	Version string // of the program, for the greeting
	// Port is what the station is called by on the machine and in console lines; 0: the first listener's.
	Port     uint16
	StateDir string        // created if absent; empty: IDs are not kept from one run to the next
	Listen   []listen.Spec // the first one names the station

	// Claim is the station's name and port on this machine; Run releases it. nil: there is no control server.
	Claim      *control.Claim
	NoLoopback bool          // no control on 127.0.0.1 and ::1
	Control    []ControlSpec // further control listeners
	KeysFile   string        // control.keys; empty: nobody can log in
	// Commands makes the handler of the command tree.
	Commands func(*Station) control.Handler
	// Console runs a line editor on a telnet connection; ctl is a console of the station with the connection's role.
	Console func(ctx context.Context, conn, ctl net.Conn) error

	// MemoryLimit of the process in bytes: 0 is 75 % of the machine or cgroup, negative is none. New clients are refused near
	// it, and where that is not enough the client that grows most is closed.
	MemoryLimit int64
	MaxMessage  int           // longest BMP message, bytes; 0: 1 MiB
	Retention   time.Duration // how long a down client's routes are kept; 0: 1 h
	MaxDown     int           // most down clients kept; 0: 10,000
	HalfOpen    int           // most sessions that have sent nothing; 0: 1,024
	ReplaceIdle time.Duration // a session silent for so long gives way to a new one of the same router; 0: 60 s
	Timing      client.Timing
	// Archive has the messages archived, in the state folder or where the options say; nil: they are not. Station, Dir,
	// OnGap and OnTrouble are filled in.
	Archive *archive.Options
	// Cluster has the station found and asked through a NATS cluster; Station, Port, Version and Say are filled in. nil: it
	// is not. Where Archive has a URL, too, it is that of the same cluster.
	Cluster    *cluster.Options
	RingBudget int64 // bytes of messages kept of all clients; 0: 256 MiB, or less where the memory limit is low

	janitor    time.Duration                  // interval; 0: 1 s
	memory     func() int64                   // resident bytes, for tests; nil: the kernel's word
	settle     time.Duration                  // there must be memory for so long before new clients are taken again; 0: 10 s
	memoryLeft func() (left int64, by string) // what more there is, for tests; nil: the kernel's word
	relays     relayTiming
	look       time.Duration // at the archive for checkpoints, at least; 0: leastLook
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Retention, time.Hour)
	set(&o.ReplaceIdle, time.Minute)
	set(&o.janitor, time.Second)
	set(&o.settle, 10*time.Second)
	if o.MaxDown == 0 {
		o.MaxDown = 10_000
	}
	if o.memory == nil {
		o.memory = residentBytes
	}
	if o.memoryLeft == nil {
		o.memoryLeft = memoryLeft
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = machineMemory() / 4 * 3
	}
	if share := o.MemoryLimit / keptShare; share > 0 {
		if o.RingBudget == 0 && share < client.DefaultBudget {
			o.RingBudget = share
		}
		if o.Archive != nil && o.Archive.QueueBytes == 0 && share < archive.DefaultQueue {
			a := *o.Archive
			a.QueueBytes = share
			o.Archive = &a
		}
	}
	return o
}
