// Package sim is routers that do not exist: any number of them, with peers and routes as a real table has them, that dial a
// BMP station or write their stream anywhere.
//
//	Fleet            what all routers share: the options, and the table of prefixes that every peer draws from
//	└ Router         one BMP session: Initiation, Peer Ups, for each peer a dump with End-of-RIB, statistics, then changes
//	  └ peer         a run of the table, and which UPDATEs of it were changed or withdrawn
//
// The table is made once: prefixes with the lengths of the Internet's table, cut into attribute sets of very different
// sizes, and these into UPDATEs. An UPDATE is then written from pieces, faster than any station reads. Nothing of a peer is
// stored until it changes, so a router of a million routes and ten peers costs no more than the table.
//
// Everything is a function of the seed: two runs send the same bytes, if Options.Clock is set. What was sent can be asked for,
// in numbers (Report) and route by route (Router.Routes), so that a test can compare it with what a station holds.
package sim
