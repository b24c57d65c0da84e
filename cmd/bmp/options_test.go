package main

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseArgs(t *testing.T) {
	for _, tt := range []struct {
		args string // words; _ stands for a blank within one
		want invocation
		err  string
	}{
		{args: "", want: invocation{mode: modeUsage}},
		{args: "-h", want: invocation{mode: modeUsage}},
		{args: "--help", want: invocation{mode: modeUsage}},
		{args: "help", want: invocation{mode: modeUsage}},
		{args: "help show", want: invocation{mode: modeCommand, words: []string{"help", "show"}}},

		{args: "-s 1111", want: invocation{mode: modeStation, listen: []string{"1111"}}},
		{args: "-s1111", want: invocation{mode: modeStation, listen: []string{"1111"}}},
		{args: "-s 1111 -s blue/[::1]:2222 -fq", want: invocation{mode: modeStation,
			listen: []string{"1111", "blue/[::1]:2222"}, foreground: true, quiet: true}},
		{args: "-s 1111 -i -l log -d state -n red -a 10.0.0.1 -m 2GB -c conf --name=x --no-loopback --control 0.0.0.0,allow_10.0.0.0/8 --control ::1",
			want: invocation{mode: modeStation, listen: []string{"1111"}, interactive: true, logFile: "log",
				stateDir: "state", netns: "red", addr: "10.0.0.1", memory: 2 << 30, config: "conf", name: "x",
				noLoopback: true, control: []string{"0.0.0.0,allow 10.0.0.0/8", "::1"}}},
		{args: "-s 1111 show clients", err: "Invalid input: show (options of -s only)"},
		{args: "-s", err: "Option -s needs a value: [NETNS/][ADDR:]PORT"},
		{args: "-s 1111 -i -f", err: "Options -i and -f exclude each other"},
		{args: "-s 1111 -l a -l b", err: "Option -l is given twice"},
		{args: "-s 1111 -j", err: "Option -j is not used here"},
		{args: "-s 1111 -t 2222", err: "Option -t is not used here"},
		{args: "-s 1111 -z", err: "Invalid option: -z (try 'bmp --help')"},
		{args: "-s 1111 --bogus=1", err: "Invalid option: --bogus (try 'bmp --help')"},
		{args: "-s 1111 --no-loopback=1", err: "Option --no-loopback takes no value"},
		{args: "-s 1111 -m 1.5G", want: invocation{mode: modeStation, listen: []string{"1111"}, memory: 3 << 29}},
		{args: "-s 1111 -m lots", err: "Invalid size: lots (like 512MB or 4GB)"},
		{args: "-s 1111 -m 1KB", err: "Invalid size: 1KB (64MB or more)"},
		{args: "-s 1111 -m 0", err: "Invalid size: 0 (like 512MB or 4GB)"},
		{args: "-s 1111 --nats nats://x,tls://y:4333", want: invocation{mode: modeStation, listen: []string{"1111"}, nats: "nats://x,tls://y:4333"}},
		{args: "-s 1111 --nats nats://al:secret@x,nats://", err: "Invalid value: --nats nats://al:xxxxx@x,nats:// (like nats://192.0.2.1:4222)"},
		{args: "-s 1111 --sync always", want: invocation{mode: modeStation, listen: []string{"1111"}, sync: "always"}},
		{args: "-s 1111 --sync 1s", want: invocation{mode: modeStation, listen: []string{"1111"}, sync: "1s"}},
		{args: "-s 1111 --sync never", err: "Invalid value: --sync never (expected: always or 1s)"},
		{args: "-s 1111 --nats nats://x --sync always",
			err: "Options --nats and --sync exclude each other: the servers of the cluster decide when they write"},
		{args: "--nats nats://x show clients", err: "Option --nats needs -s PORT"},
		{args: "--sync always", err: "Option --sync needs -s PORT"},
		{args: "-q show clients", err: "Option -q needs -s PORT"},
		{args: "-f", err: "Option -f needs -s PORT"},
		{args: "-j", err: "Incomplete command: expected COMMAND after -j"},

		{args: "show clients", want: invocation{mode: modeCommand, words: []string{"show", "clients"}}},
		{args: "1111 show clients", want: invocation{mode: modeCommand, target: "1111", words: []string{"show", "clients"}}},
		{args: "-j 1111 show clients", want: invocation{mode: modeCommand, target: "1111", json: true, words: []string{"show", "clients"}}},
		{args: "-t host:1112 -j show_clients_|_count", want: invocation{mode: modeCommand, target: "host:1112", json: true,
			words: []string{"show clients | count"}}},
		{args: "show log | include -i up", want: invocation{mode: modeCommand, words: strings.Fields("show log | include -i up")}},
		{args: "1111", err: "Incomplete command: 1111 (expected: COMMAND)"},
		{args: "0 show clients", err: "Invalid port: 0 (1 to 65534)"},
		{args: "65535 show clients", err: "Invalid port: 65535 (1 to 65534)"},
		{args: "99999999999999999999 show clients", err: "Invalid port: 99999999999999999999 (1 to 65534)"},
		{args: "-t 2222 1111 show clients", err: "Two targets: 2222 and 1111"},

		{args: "shell", want: invocation{mode: modeShell}},
		{args: "-i", want: invocation{mode: modeShell, interactive: true}},
		{args: "shell host:1112", want: invocation{mode: modeShell, target: "host:1112"}},
		{args: "-t 1111 shell", want: invocation{mode: modeShell, target: "1111"}},
		{args: "shell 1111 2222", err: "Invalid input: 2222 (usage: bmp shell [TARGET])"},
		{args: "she", want: invocation{mode: modeCommand, words: []string{"she"}}},
		{args: "demo", want: invocation{mode: modeDemo}},
		{args: "demo x", err: "Invalid input: x (usage: bmp demo)"},
		{args: "-t 1 -x file -j -t x", want: invocation{mode: modeScript, target: "1", script: "file", words: []string{"-j", "-t", "x"}}},
		{args: "-x file -- -j", want: invocation{mode: modeScript, script: "file", words: []string{"-j"}}},
		{args: "-x -", want: invocation{mode: modeScript, script: "-"}},
		{args: "--check -x file a b", want: invocation{mode: modeScript, script: "file", check: true, words: []string{"a", "b"}}},
		{args: "--check show", err: "Option --check is not used here"},
		{args: "run peers-down 1", want: invocation{mode: modeScript, run: true, script: "peers-down", words: []string{"1"}}},
		{args: "run", err: "Incomplete command: run (expected: NAME)"},
		{args: "replay", err: "Incomplete command: replay (expected: FILE)"},
		{args: "replay x", err: "Incomplete command: replay x (expected: ADDR:PORT)"},
		{args: "replay x 1111", err: "Invalid input: '1111' (expected: A.B.C.D:PORT or [X:X::X:X]:PORT)"},
		{args: "replay x 127.0.0.1:1111 fast", err: "Invalid input: 'fast' (usage: bmp replay FILE ADDR:PORT [speed N])"},
		{args: "replay x 127.0.0.1:1111 speed", err: "Incomplete command: replay x 127.0.0.1:1111 speed (expected: N)"},
		{args: "replay x 127.0.0.1:1111 speed 0", err: "Invalid input: '0' (expected: N, how many times as fast as it was recorded, or max)"},
		{args: "-t 1111 replay x 127.0.0.1:1111", err: "Option -t is not used here"},
		{args: "record", err: "Incomplete command: record (expected: FILE)"},
		{args: "record x client", err: "Incomplete command: record x client (expected: X)"},
		{args: "record x y", err: "Invalid input: y (usage: bmp record FILE [client X])"},
		{args: "record x client 1 2", err: "Invalid input: 2 (usage: bmp record FILE [client X])"},
		{args: "-j record x", err: "Option -j is not used here"},
		{args: "recor x", want: invocation{mode: modeCommand, words: []string{"recor", "x"}}},
		{args: "completion bash", want: invocation{mode: modeCompletion, words: []string{"bash"}}},
		{args: "man", want: invocation{mode: modeMan, words: []string{"man"}}},
		{args: "replay file [::1]:1111 speed 2.5", want: invocation{mode: modeReplay, words: []string{"replay", "file", "[::1]:1111", "speed", "2.5"},
			replay: replayWords{"file", netip.MustParseAddrPort("[::1]:1111"), 2.5}}},
		{args: "1111 record f.pcap client edge1", want: invocation{mode: modeRecord, target: "1111", words: []string{"record", "f.pcap", "client", "edge1"},
			record: recordWords{"f.pcap", "edge1"}}},
	} {
		var args []string
		for w := range strings.FieldsSeq(tt.args) {
			args = append(args, strings.ReplaceAll(w, "_", " "))
		}
		got, err := parseArgs(args)
		switch {
		case tt.err != "":
			if err == nil || err.Error() != tt.err {
				t.Errorf("bmp %s: error %v, want %s", tt.args, err, tt.err)
			}
		case err != nil:
			t.Errorf("bmp %s: %v", tt.args, err)
		default:
			if len(got.words) == 0 {
				got.words = nil
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("bmp %s:\n got %+v\nwant %+v", tt.args, *got, tt.want)
			}
		}
	}
}

// TestUsageNamesEveryOption keeps the usage text and the option table together.
func TestUsageNamesEveryOption(t *testing.T) {
	for _, o := range options {
		for name := range strings.FieldsSeq(o.names) {
			if name != "-h" && name != "--help" && !strings.Contains(usage, name) {
				t.Errorf("usage does not name %s", name)
			}
		}
	}
}
