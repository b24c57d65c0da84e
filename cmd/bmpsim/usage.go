package main

const usage = `bmpsim - routers for a BMP station, simulated or recorded

  bmpsim [options] ADDR:PORT                 simulated routers dial the station at ADDR:PORT
  bmpsim [options] -o FILE                   the stream of one simulated router into FILE (- is standard output)
  bmpsim replay [options] FILE ADDR:PORT [speed N|max] [hold]
                                             a recorded file, played at the pace of the recording
  bmpsim bench [quick|full|latency|soak] [-station BMP] [-for D]
                                             starts stations of its own, loads them, and prints what that took

ADDR:PORT is the BMP port of the station; PORT alone is one on 127.0.0.1.

What there is:
  -routers N      routers (1)                        -seed N         another number, other routes (1)
  -peers N        peers of each router (1)           -name FORMAT    sysName, with %d for the number (sim%d)
  -routes N       routes of each peer (1000)         -prefixes N     that all peers draw from (as -routes)
  -ipv6 SHARE     of the routes, 0 to 1 (0)          -shared SHARE   of attribute sets that all peers have alike (0)
  -views LIST     adj-in-pre,adj-in-post,adj-out-pre,adj-out-post,loc-rib (adj-in-pre)
  -per-update N   routes in an UPDATE (3.5)          -per-set N      routes of one attribute set (10.75)
What happens after the tables are sent:
  -changes N      UPDATEs of each router; -1: without end (0)
  -rate N         of these, a second and router; 0 is as fast as the station reads (0)
  -withdraw SHARE of the changes (0.3)               -flap N         a peer goes down and up after N changes (0: never)
  -malformed SHARE  malformed UPDATEs besides, of five kinds in turn (0)
How it connects:
  -within D       the routers dial one by one within this time (0s)
  -sources N      from N addresses of 127.0.0.0/8 in turn (0: as the system likes)
  -hold           stay connected until interrupted   -redial D       dial again so long after a lost session (0s: never)

Replay reads raw BMP streams, packet captures (pcap, pcapng) of BMP sessions, and MRT files (RIB dumps and updates), packed
with gzip, zstd or bzip2 or not. Each connection of a capture is a router; an MRT file is one router, with its peers.
  speed N         N times as fast as recorded; max: as fast as the station reads (RIB dumps always are)
  hold            stay connected at the end until interrupted
  -port PORT      of a capture, only connections to this port (any that begins like BMP)

Bench: quick takes less than a minute, full a quarter of an hour, both with and without the archive; latency asks while a
million routes a second come in; soak changes, flaps and cuts off routers for D (1m), while it asks, and compares what is held
route by route. BMP is the station's program (bmp beside bmpsim, else built here).

Exit status: 0 done, 1 failed (a file cut short is played up to there), 2 wrong arguments, 3 no connection or lost,
130 interrupted before everything was sent.

  bmpsim -routers 100 -peers 10 -routes 1000 -ipv6 0.3 -hold 127.0.0.1:1111
  bmpsim replay updates.20190101.0000.gz 127.0.0.1:1111 speed 60 hold
`
