// Package engine is the station: it listens for routers, knows which of them is which, keeps what they say, and serves
// the consoles that ask about it.
//
//	listen.Listener -> session goroutine -> Station.attach -> client.Client
//	                                                            peers, counters, ring, findings
//	                                                            rib.Store (one for the station)
//	                                                            event.Bus (one for the station)
//	                                                            archive.Archive (one for the station, or none)
//	                                                            client.Feed -> relays to other collectors (relay.go),
//	                                                                           bmp record (follow.go)
//	control sockets -> control.Server -> Options.Commands  (package engine/command reads the Station; engine never
//	                                                         imports it)
//	cluster.Member  ------^    consoles that come through a NATS cluster (clustering.go)
//
// # Goroutines
//
// This package alone starts goroutines per connection: one for each BMP session (client.Session.Serve), one for each
// console. Besides, one per listener accepts, and one, the janitor, does what happens to clients without a session:
// retention, the memory limit, writing down IDs. With an archive two more keep events there and make checkpoints; each
// client that is relayed has two for each collector. Whoever starts one waits for it: Run returns when all have ended.
//
// # Identity
//
// A session is nobody's until its first whole message. If that is an Initiation with the name, from the address (and
// namespace and VRF device), of a client that is down, it is that client again; otherwise a new one, with an ID that
// was never given before, not even by an earlier run of the station with the same state folder.
//
// # Relays
//
// What arrives is sent on to other collectors byte for byte, a connection for each client. A collector that is there when
// a session begins has all of it; one that comes late, or comes back, gets the session in short from the live peers and
// tables, not from the archive: Initiation as it came, a Peer Up for each peer that is up, its routes, End-of-RIB where the
// router has said it; from then on the bytes. What waits for a collector is bounded, and one that reads too slowly is
// begun with anew.
//
// # Memory
//
// The janitor looks at the memory of the process ten times a second, and fifty where there is little left (memory.go). What
// sessions may read between two looks is bounded by what there is (client.Gate). Near the limit new clients are
// refused; at the limit all wait while the client that grew most is closed and its routes are swept.
//
// # Lock order
//
// Whoever holds one of these may take only those below it:
//
//	Station.mu          registry of clients, listeners
//	client.Client.mu    one client; held by its session while it works through a batch
//	relays.mu, relayed.mu, Follower.mu, client.Feed.mu
//	client.labelMu, named.mu, unread.mu, Budget.mu, ring.mu, the route store's locks, the archive's, event.Bus.mu, State.mu
//
// Two clients are never locked at once. No lock is held while something is written to a socket or a file, but for the
// lines of the state file that say to whom an ID belongs; nor while something is read, but for archived messages of which a
// session rebuilds a table that turned out to be coded otherwise: two seconds at most, and seldom (client/voting.go).
package engine
