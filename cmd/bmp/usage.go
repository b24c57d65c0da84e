package main

// usage is what bmp prints without words, and for -h, --help and help.
const usage = `bmp - a BMP (RFC 7854) station: routers connect, you ask

Station:
  bmp -s [NETNS/][ADDR:]PORT [options]   start a station, in the background; -s may repeat
    -i            shell attached, in the foreground
    -f            in the foreground, no shell
    -q            quiet: no console lines on the terminal
    -l FILE       console lines to FILE (SIGHUP reopens it)
    -d DIR        state folder
    -n NETNS      network namespace of every -s without its own
    -a ADDR       address of every -s without its own
    -m SIZE       memory limit of the process, like 4GB (default 75 % of the machine or cgroup)
    -c CONFIG     station commands to begin with, one per line (SIGHUP reads it again)
    --name NAME   name of the station (default HOST-PORT)
    --nats URL    archive in a NATS cluster, and be found and asked through it; several URLs by commas.
                  Credentials and TLS: NATS_CREDS, NATS_USER ... in the environment (bmp man)
    --sync always messages are on the disk before they count as archived (default: at most 1s later)
    --no-loopback no control port on 127.0.0.1 and ::1
    --control [NETNS/]ADDR[:PORT][,tls CERT KEY][,allow PREFIX]...[,role view|admin]
                  a further control listener; may repeat

Questions to a running station:
  bmp COMMAND                one command, for example: bmp show clients
  bmp PORT COMMAND           to the station that listens on PORT, when several run
  bmp -t TARGET COMMAND      to TARGET: PORT, HOST:PORT (control port), unix:PATH, tls:HOST:PORT,
                             nats://HOST[/STATION]; without STATION all of the cluster are meant
  bmp -j [PORT] COMMAND      with JSON out, as '| json'
  bmp shell [TARGET]         a shell on the station; also bmp -i
  bmp [--check] -x FILE [ARG ...]
                             a script, - is standard input; --check reads it and runs nothing
  bmp run NAME [ARG ...]     a shipped script, for example: bmp run health-check
  bmp completion bash        completion for bash: source <(bmp completion bash)
  bmp man                    the manual: bmp man | man -l -
  bmp [PORT] record FILE [client X]
                             record what arrives, until Ctrl-C: raw BMP; also .pcap and .mrt
  bmp replay FILE ADDR:PORT [speed N]
                             play BMP, pcap, pcapng or MRT into a BMP port, as it was recorded or N times as fast
  bmp demo                   a station with simulated routers, to look around

Commands (the words may be abbreviated; bmp shell completes them):
  show summary | show clients | show client X [messages|peers|health|malformed|statistics]
  show client X peer Y [messages|routes ...] | show peers | show bgp ... | show diff ...
  clear client X | flush client X | debug client X | listen ... | shutdown
`
