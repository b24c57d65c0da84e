package command

import (
	"context"
	"strings"

	"bmp/proto/grammar"
)

// row is one command: what is typed and what it runs.
type row struct {
	grammar.Command
	run func(context.Context, *call) error
}

// What many patterns have in common.
const (
	messageOptions = "{last N|since T|from T to T|type TYPE|detail|hex}"
	routeFilters   = "client CLIENT|peer PEER|view VIEW|rd RD|next-hop ADDR|as-path ASPATH|origin-as AS|community COMMUNITY...|" +
		"large-community LARGE...|ext-community EXT...|med N|local-pref N|path-id N|limit N|stale|detail|" +
		"at T|since T|from T to T|history|diff T [T]"
	// peerRouteFilters leave out what the command has said already.
	peerRouteFilters = "view VIEW|rd RD|next-hop ADDR|as-path ASPATH|origin-as AS|community COMMUNITY...|large-community LARGE...|" +
		"ext-community EXT...|med N|local-pref N|path-id N|limit N|stale|detail|at T|since T|from T to T|history|diff T [T]"
	routeMatch = "(PREFIX|ADDR|NLRI) [exact|longer|shorter|lpm]"
)

var (
	clientColumns  = []string{"ID", "Address:Port", "Uptime", "Peers", "Messages", "Data", "Routes", "Name"}
	messageColumns = []string{"Time", "Type", "Peer", "Message"}
	peerColumns    = []string{"ID", "Address", "R-D", "AS", "BGP-ID", "State", "Uptime", "Pre", "Post", "Out", "Loc", "Table", "Reason"}
	allPeerColumns = append([]string{"Client"}, peerColumns...)
	routeColumns   = []string{"Client", "Peer", "View", "Prefix", "Next hop", "Path", "Age"}
	diffColumns    = []string{"Action", "Prefix", "Next hop", "Path", "Changed"}
	changeColumns  = []string{"Time", "Router's time", "Action", "Client", "Peer", "View", "Prefix", "Next hop", "Path", "Changed"}
)

// rows are the station's commands, in the order of the manual.
func rows() []row {
	list := []row{
		// Core.
		{grammar.Command{ID: "show summary", Pattern: "show summary", Help: "the station in few lines, and whether it keeps up",
			Long: "Read lag is for how long the client furthest behind has been worked on without a look at its connection; read queue is " +
				"what the kernel holds for all clients, unread: it is bounded, and the routers wait when it is full. Route store says what " +
				"was refused for want of memory, how often changes had to wait for old attributes to be freed, and what the system " +
				"would not give (huge pages). Memory limit is -m, or less where the machine, a cgroup or ulimit has no more: at 90 % of " +
				"it new clients are refused, at 100 % reading pauses until the client that grew most is closed and its memory is free. Archive queue is what waits to be stored; " +
				"what it had no room for is a gap.\n\n" +
				"JSON has the same as read_lag_seconds, read_queue_bytes, batches_delayed, routes_refused, store_fallbacks, " +
				"memory_limit_bytes, refusing_clients, reading_paused, sessions_refused, clients_closed and archive {queued_bytes, queue_limit_bytes, " +
				"gaps, open_gaps, messages_lost, bytes_lost, events_lost, failing}; archive is null where there is none.",
			Examples: []string{"show summary", "show summary | json"}}, showSummary},
		{grammar.Command{ID: "show clients", Pattern: "show clients", Help: "all clients, one line each", Columns: clientColumns,
			Examples: []string{"show clients", "show clients | include down", "show clients | sort Routes desc | first 10"}}, showClients},
		{grammar.Command{ID: "show client", Pattern: "show client CLIENT", Help: "one client: identity, counters, peers, routes, sessions",
			Examples: []string{"show client 1", "show client edge1.ams", "show client 10.1.0.1"}}, showClient},
		{grammar.Command{ID: "show client messages", Pattern: "show client CLIENT messages " + messageOptions, Help: "the newest messages, decoded",
			Columns: messageColumns,
			Long: "The newest 50, or as many as last says, up to 10,000. Where messages are archived, the newest 1,000 or 256KB of each client are in " +
				"memory, and what is missing is read from the archive: at most 256MB of messages are looked through for those of a peer or a type, " +
				"since T for all of them. Without an archive there are 10,000 messages or 16MB of each client, in memory. All clients together " +
				"have 256MB there, less where the memory limit is low; the client with the most gives way.",
			Examples: []string{"show client 1 messages", "show client 1 messages last 5 type peer-down detail"}}, showMessages},
		{grammar.Command{ID: "show client peers", Pattern: "show client CLIENT peers", Help: "the peers of a client, one line each", Columns: peerColumns,
			Examples: []string{"show client 1 peers", "show client 1 peers | include ' down '"}}, showClientPeers},
		{grammar.Command{ID: "show client peer", Pattern: "show client CLIENT peer PEER", Help: "one peer: OPENs compared, counters, statistics",
			Examples: []string{"show client 1 peer 10.0.0.1", "show client edge1 peer 65000:1/10.0.0.2", "show client 1 peer loc-rib"}}, showPeer},
		{grammar.Command{ID: "show client peer messages", Pattern: "show client CLIENT peer PEER messages " + messageOptions,
			Help: "the newest messages of one peer", Columns: messageColumns,
			Examples: []string{"show client 1 peer 10.0.0.1 messages last 10"}}, showMessages},
		{grammar.Command{ID: "show client peer routes",
			Pattern: "show client CLIENT peer PEER routes [VIEW] [FAMILY] [" + routeMatch + "] {" + peerRouteFilters + "}",
			Help:    "the routes of one peer", Columns: routeColumns,
			Examples: []string{"show client 1 peer 10.0.0.1 routes", "show client 1 peer 10.0.0.1 routes adj-in-pre ipv4 10.0.0.0/8 longer",
				"show client 1 peer 10.0.0.1 routes as-path _65010$", "show client 1 peer 10.0.0.1 routes at -15m",
				"show client 1 peer 10.0.0.1 routes diff -1h -5m"}}, showPeerRoutes},
		{grammar.Command{ID: "clear client", Pattern: "clear client CLIENT", Help: "close the BMP session; the router reconnects", Role: grammar.Admin,
			Examples: []string{"clear client 1"}}, clearClient},
		{grammar.Command{ID: "clear client counters", Pattern: "clear client CLIENT counters", Help: "zero the counters; the session stays", Role: grammar.Admin,
			Examples: []string{"clear client 1 counters"}}, clearCounters},
		{grammar.Command{ID: "debug client",
			Pattern:  "debug client CLIENT {peer PEER|route (PREFIX|ADDR)|type TYPE|(detail|hex|json)|rate N}",
			Help:     "follow a client live: messages, peer and route changes",
			Examples: []string{"debug client 1", "debug client 1 peer 10.0.0.1 route 10.0.0.0/8", "debug client 1 type peer-down detail"}}, debugClient},
		{grammar.Command{ID: "undebug", Pattern: "undebug (all|ID)", Help: "end following, all of it or one subscription",
			Examples: []string{"undebug all", "undebug 7"}}, undebug},
		{grammar.Command{ID: "undebug client", Pattern: "undebug client CLIENT", Help: "end following one client",
			Examples: []string{"undebug client 1"}}, undebugClient},
		{grammar.Command{ID: "flush client", Pattern: "flush client CLIENT", Role: grammar.Admin,
			Help:     "throw away what is stored of a client, and the client itself if it is down",
			Examples: []string{"flush client 2"}}, flushClient},
		{grammar.Command{ID: "flush client routes", Pattern: "flush client CLIENT routes", Role: grammar.Admin,
			Help:     "all of flush client X, and the live routes besides: the session is cleared so that they come again",
			Examples: []string{"flush client 2 routes"}}, flushClient},

		// Routes.
		{grammar.Command{ID: "show peers", Pattern: "show peers [up|down|unannounced|unmonitored] {client CLIENT|as AS|rd RD|table TABLE}",
			Help: "the peers of all clients", Columns: allPeerColumns,
			Examples: []string{"show peers down", "show peers as 65001", "show peers up client 1"}}, showPeers},
		{grammar.Command{ID: "show bgp summary", Pattern: "show bgp [FAMILY] summary", Help: "routes, prefixes, peers, attribute sets per family and view",
			Columns:  []string{"Family", "View", "Routes", "Prefixes", "Peers", "Attribute sets"},
			Examples: []string{"show bgp summary", "show bgp ipv4 vpn summary"}}, showBGPSummary},
		{grammar.Command{ID: "show bgp", Pattern: "show bgp [FAMILY] [rd RD] [all|" + routeMatch + "] {" + routeFilters + "|all}",
			Help: "routes over all clients, peers and views", Columns: routeColumns,
			Examples: []string{"show bgp 203.0.113.0/24", "show bgp 203.0.113.7", "show bgp 10.0.0.0/8 longer view loc-rib",
				"show bgp ipv4 vpn rd 65000:1", "show bgp ipv6 origin-as 65010 limit 20", "show bgp evpn all | count",
				"show bgp 203.0.113.0/24 detail", "show bgp ipv4 as-path _65010$", "show bgp 203.0.113.0/24 at 10:05",
				"show bgp 203.0.113.0/24 history", "show bgp 10.0.0.0/8 longer since -5m", "show bgp 203.0.113.0/24 diff -1h"}}, showBGP},
		{grammar.Command{ID: "show bgp attribute", Pattern: "show bgp [FAMILY] attribute {" + routeFilters + "}",
			Help: "routes by their attributes", Columns: routeColumns,
			Examples: []string{"show bgp attribute next-hop 10.0.0.1"}}, showBGP},
		{grammar.Command{ID: "show diff client", Pattern: "show diff client CLIENT peer PEER VIEW VIEW [FAMILY] [PREFIX|NLRI]",
			Help: "two views of a peer: what policy rejected, changed, added", Columns: diffColumns,
			Examples: []string{"show diff client 1 peer 10.0.0.1 adj-in-pre adj-in-post"}}, showDiffViews},
		{grammar.Command{ID: "show diff client at", Pattern: "show diff client CLIENT peer PEER [VIEW] [VIEW] [FAMILY] [PREFIX|NLRI] at T T",
			Help: "a peer's routes at two times", Columns: changeColumns,
			Examples: []string{"show diff client 1 peer 10.0.0.1 at -1h -5m", "show diff client 1 peer 10.0.0.1 adj-in-pre ipv4 at 10:00 10:05"}}, showDiffTimes},
		{grammar.Command{ID: "show diff", Pattern: "show diff (PREFIX|ADDR|NLRI)", Help: "one prefix, all clients side by side",
			Examples: []string{"show diff 203.0.113.0/24"}}, showDiffPrefix},

		// Station.
		{grammar.Command{ID: "show version", Pattern: "show version", Help: "version of the station and of its parts"}, showVersion},
		{grammar.Command{ID: "show listeners", Pattern: "show listeners", Help: "where routers and consoles can connect",
			Columns: []string{"Kind", "Listener", "Netns", "VRF", "Sessions", "Limit", "Accepted", "Refused", "Options"}}, showListeners},
		{grammar.Command{ID: "show namespaces", Pattern: "show namespaces", Help: "the network namespaces of this machine",
			Columns: []string{"Namespace", "Listeners", "Note"}}, showNamespaces},
		{grammar.Command{ID: "show sessions", Pattern: "show sessions", Help: "the consoles connected to the station",
			Columns: []string{"ID", "Who", "Listener", "Role", "Since", "Idle", "Requests", "Following", "Running"}}, showSessions},
		{grammar.Command{ID: "show consoles", Pattern: "show consoles", Help: "the consoles connected to the station", Hidden: true}, showSessions},
		{grammar.Command{ID: "show debug", Pattern: "show debug", Help: "what consoles follow",
			Columns: []string{"Console", "Who", "ID", "Following", "Since", "Sent", "Dropped"}}, showDebug},
		{grammar.Command{ID: "show archive", Pattern: "show archive", Help: "the message archive: span, size, gaps, clients",
			Examples: []string{"show archive", "show archive | json"}}, showArchive},
		{grammar.Command{ID: "show log", Pattern: "show log [last N|since T|from T to T]", Help: "the console lines",
			Examples: []string{"show log", "show log last 20", "show log since -10m", "show log | include DOWN"}}, showLog},
		{grammar.Command{ID: "show events", Pattern: "show events", Help: "what happened, counted by kind and client",
			Columns: []string{"Client", "Name", "Kind", "Count"}}, showEvents},
		{grammar.Command{ID: "show client health", Pattern: "show client CLIENT health", Help: "what is wrong with the feed, with proof",
			Columns: []string{"Last", "Peer", "Finding", "Count", "Detail"}}, showHealth},
		{grammar.Command{ID: "show client malformed", Pattern: "show client CLIENT malformed [N]",
			Help: "the messages that could not be read; one of them whole", Columns: []string{"Number", "Time", "Peer", "Type", "Bytes", "Fault", "Offset"},
			Examples: []string{"show client 1 malformed", "show client 1 malformed 12"}}, showMalformed},
		{grammar.Command{ID: "show client statistics", Pattern: "show client CLIENT statistics [NAME]",
			Help: "what the router counted, as last reported", Columns: []string{"Peer", "Statistic", "Type", "View", "Family", "Value", "Age"},
			Examples: []string{"show client 1 statistics", "show client 1 statistics adj-rib-in"}}, showStatistics},
		{grammar.Command{ID: "show client rate", Pattern: "show client CLIENT rate", Help: "messages and routes per second",
			Columns: []string{"Start", "Messages", "Data", "Announced", "Withdrawn"}}, showRate},
		{grammar.Command{ID: "listen", Pattern: "listen LISTENER {vrf DEV|allow ALLOW...|limit N|md5 (file FILE|key:SECRET)|tls cert:FILE key:FILE|ca FILE}",
			Help: "open a further BMP listener, [NETNS/][ADDR:]PORT", Role: grammar.Admin,
			Examples: []string{"listen 1790", "listen blue/1111 allow 10.0.0.0/8 limit 100", "listen 10.0.0.1:1111 vrf mgmt", "listen 1790 tls cert.pem key.pem"}}, listenAt},
		{grammar.Command{ID: "no listen", Pattern: "no listen LISTENER", Help: "close a BMP listener; its sessions stay", Role: grammar.Admin,
			Examples: []string{"no listen 1790"}}, noListen},
		{grammar.Command{ID: "connect", Pattern: "connect ROUTER {netns NETNS|vrf DEV|md5 (file FILE|key:SECRET)|tls|ca FILE}",
			Help: "dial a passive router, [NETNS/]ADDR:PORT", Role: grammar.Admin,
			Examples: []string{"connect 192.0.2.1:1790", "connect 192.0.2.1:1790 netns blue", "connect [2001:db8::1]:1790 tls ca ca.pem"}}, connect},
		{grammar.Command{ID: "no connect", Pattern: "no connect ROUTER", Help: "stop dialling a router; its session ends", Role: grammar.Admin,
			Examples: []string{"no connect 192.0.2.1:1790"}}, noConnect},
		{grammar.Command{ID: "control", Pattern: "control LISTENER [OPTION...]", Help: "open a further control listener, [NETNS/]ADDR[:PORT]", Role: grammar.Admin,
			Examples: []string{"control 192.0.2.1 allow 192.0.2.0/24", "control 0.0.0.0:1112 tls cert.pem key.pem role admin"}}, controlAt},
		{grammar.Command{ID: "no control", Pattern: "no control LISTENER", Help: "close a control listener", Role: grammar.Admin,
			Examples: []string{"no control 192.0.2.1:1112"}}, noControl},
		{grammar.Command{ID: "retention archive", Pattern: "retention archive DURATION SIZE", Help: "how long and how much of the messages is archived", Role: grammar.Admin,
			Examples: []string{"retention archive 7d 20GB"}}, retentionArchive},
		{grammar.Command{ID: "retention stale", Pattern: "retention stale DURATION", Help: "how long routes of a client that is down are kept", Role: grammar.Admin,
			Examples: []string{"retention stale 2h"}}, retentionStale},
		{grammar.Command{ID: "relay", Pattern: "relay ADDRPORT [client CLIENT]", Help: "send on what arrives to another collector", Role: grammar.Admin,
			Examples: []string{"relay 192.0.2.9:1790", "relay 192.0.2.9:1790 client edge1.ams"}}, relayTo},
		{grammar.Command{ID: "no relay", Pattern: "no relay ADDRPORT", Help: "stop sending on", Role: grammar.Admin,
			Examples: []string{"no relay 192.0.2.9:1790"}}, noRelay},
		{grammar.Command{ID: "show relays", Pattern: "show relays", Help: "what is sent on to other collectors, and how far that is",
			Columns: relayColumns, Examples: []string{"show relays", "show relays | json"}}, showRelays},
		{grammar.Command{ID: "feed", Pattern: "feed! [client CLIENT]", Help: "send what arrives to this console, as bmp record does", Role: grammar.Admin, Hidden: true}, feed},
		{grammar.Command{ID: "record", Pattern: "record! FILE [client CLIENT]", Help: "record what arrives into a file", Role: grammar.Admin},
			ownProgram("record FILE [client X]")},
		{grammar.Command{ID: "replay", Pattern: "replay! FILE ADDRPORT [speed N]", Help: "play a recording into a BMP port", Role: grammar.Admin},
			ownProgram("replay FILE ADDR:PORT [speed N]")},
		{grammar.Command{ID: "quirk add-path", Pattern: "quirk client CLIENT [peer PEER] add-path FAMILY ONOFF [when-there]",
			Help: "say whether routes carry path IDs", Role: grammar.Admin,
			Examples: []string{"quirk client 1 peer 10.0.0.1 add-path ipv4 off"}}, quirkAddPath},
		{grammar.Command{ID: "quirk as-width", Pattern: "quirk client CLIENT [peer PEER] as-width WIDTH [when-there]", Help: "say how wide AS numbers are: 2 or 4 octets",
			Role: grammar.Admin, Examples: []string{"quirk client 1 as-width 4"}}, quirkASWidth},
		{grammar.Command{ID: "quirk v4-profile", Pattern: "quirk client CLIENT v4-profile (draft20|deployed|editors) [when-there]",
			Help: "say which code points BMP version 4 has", Role: grammar.Admin,
			Examples: []string{"quirk client 1 v4-profile draft20"}}, quirkProfile},
		{grammar.Command{ID: "no quirk", Pattern: "no quirk client CLIENT [peer PEER] [add-path FAMILY|as-width|v4-profile]",
			Help: "detect it again", Role: grammar.Admin, Examples: []string{"no quirk client 1"}}, noQuirk},
		{grammar.Command{ID: "write", Pattern: "write", Help: "keep the run-time configuration for the next start", Role: grammar.Admin}, write},
		{grammar.Command{ID: "shutdown", Pattern: "shutdown!", Help: "stop the station (asks)", Role: grammar.Admin}, shutdown},
	}
	// Words of the shell that the station answers, too; the IDs take the place of the protocol's own, which refuse them.
	list = append(list,
		row{grammar.Command{ID: "shell list", Pattern: "list", Help: "every command", Examples: []string{"list", "list | include client"}}, listCommands},
		row{grammar.Command{ID: "shell find", Pattern: "find RE", Help: "commands about something", Examples: []string{"find next-hop"}}, listCommands})
	return append(list, laterSpellings(list)...)
}

// laterSpellings are the words that the original used later for the same: show
// bgp routers for show clients, show bgp router X for show client X.
func laterSpellings(list []row) []row {
	var out []row
	for _, r := range list {
		pattern := ""
		if r.ID == "show clients" {
			pattern = "show bgp routers"
		} else if rest, ok := strings.CutPrefix(r.Pattern, "show client CLIENT"); ok {
			pattern = "show bgp router CLIENT" + rest
		}
		if pattern == "" {
			continue
		}
		twin := r
		twin.ID = strings.Replace(r.ID, "show client", "show bgp router", 1)
		twin.Pattern, twin.Hidden, twin.Examples = pattern, true, nil
		out = append(out, twin)
	}
	return out
}

// words are the helps of keywords that lead to more than one command.
var words = map[string]string{
	"show": "what is", "clear": "end sessions, zero counters", "flush": "throw away what is stored", "debug": "follow live",
	"undebug": "stop following", "no": "undo", "retention": "how long things are kept", "quirk": "say how a router codes what it does not say right",
	"show client": "one client", "clear client": "a client", "flush client": "a client", "debug client": "a client", "undebug client": "a client",
	"undebug all":      "everything this console follows",
	"show client peer": "one peer", "show client rate": "messages and bytes a second, now and lately", "show bgp": "routes", "show diff": "compare",
	"messages": "the newest messages", "routes": "routes", "counters": "its counters",
	"last": "how many", "since": "from a time on", "from": "from a time", "to": "to a time", "type": "of one type", "detail": "every field decoded",
	"hex": "the bytes", "json": "as JSON", "rate": "at most so many a second",
	"all": "all of them", "exact": "this prefix alone", "longer": "this prefix and everything inside it", "shorter": "this prefix and everything that covers it",
	"lpm": "the longest match in each table", "view": "of one view of the RIB", "rd": "of one route distinguisher", "next-hop": "with a next hop",
	"as-path": "whose AS path matches", "origin-as": "originated by an AS", "community": "with a community", "large-community": "with a large community",
	"ext-community": "with an extended community", "med": "with a MED", "local-pref": "with a local preference", "path-id": "with a path identifier",
	"limit": "at most so many", "stale": "not announced again since the client came back, or of one that is down",
	"at": "as it was at a time", "history": "every change", "diff": "what changed", "attribute": "by attributes", "summary": "in numbers",
	"client": "of one client", "peer": "of one peer", "as": "of one AS", "table": "of one table", "route": "one route and what is inside it",
	"up": "sessions that are up", "down": "sessions that are down", "unannounced": "messages came, but no Peer Up", "unmonitored": "the router no longer tells",
	"vrf": "bind to a device", "allow": "who may connect", "md5": "sign segments", "tls": "encrypt", "ca": "who must have signed the other side's certificate", "file": "read it from a file", "netns": "in a network namespace",
	"name": "what to call it", "speed": "faster than recorded", "archive": "the message archive",
	"add-path": "whether path IDs are there", "as-width": "how wide AS numbers are", "v4-profile": "the code points of BMP version 4",
	"when-there": "set it when the client or peer comes, if it is not there", "draft20": "as published in draft -20", "deployed": "as routers ship it", "editors": "the editors' copy of July 2026",
}
