// Package archive keeps every BMP message of every client, as the bytes it came in, in NATS JetStream, and answers what
// was said and what was held at a time that is past.
//
//	session goroutine                workers                        JetStream
//	  Appender.Append  -> open block -> sealed blocks -> encode  ->  bmp.STATION.msg.CLIENT          stream BMP_STATION
//	  (copies, never waits)             (256 KiB or 1 s)             bmp.STATION.event.KIND          stream BMP_STATION_EVENT
//	                                                                 bmp.STATION.checkpoint.CLIENT   stream BMP_STATION_CHECKPOINT
//	                                                                 bmp.STATION.checkpoint.CLIENT-keys
//
//	Messages, Events, Sessions, Stats     walk the blocks of a time (walk.go)
//	Newest (newest.go)                    goes back from the newest message, through what waits in memory and what is stored
//	At, History (at.go)                   find the blocks that decide (plan.go), decode them ahead of need (ahead.go), and replay
//	                                      their messages up to a time (replay.go)
//
// The server is an embedded one, without a port and with its files in Options.Dir, or a NATS cluster at Options.URL:
// the same code. In a cluster streams are kept three times where there are servers for it, and say in their metadata whose
// they are: those of another station, version or state folder (Options.Owner, which gave the clients their IDs) are not
// opened. While the cluster is away blocks wait as they do for a slow disk, and questions are answered with ErrAway.
//
// # Blocks
//
// A block is up to 256 KiB of one client's messages, or one second of them. It is stored as one JetStream message whose
// headers say what is in it (info.go): times, count, peers, a filter over the prefixes, whether something in it changes
// more than routes. So a reader skips without decoding. Blocks of one client are written one after the other, each
// acknowledged before the next is sent: their order in the stream is that of arrival. A block that was written twice,
// because its acknowledgement was lost, is known by its number.
//
// What is in the blocks' headers is collected under the checkpoint subject, by hour or earlier (index.go), beside the
// checkpoints of peers' tables (checkpoint.go), so that the search for a prefix does not walk the blocks. Of blocks that
// were ended by time the routes are listed there, too, by prefix, with whose they are and a hash of their attributes
// (keys.go makes the lists, directory.go stores them, mentions.go asks them): so it is known without reading them in which
// blocks a route became what it was. Archives without lists, and blocks that are in none, are searched by their filters.
//
// # Time
//
// Messages are ordered by arrival. Their arrival times are the station's clock's, which may be set back: blocks are cut
// there, and queries by time find both passes of an hour that was passed twice; At means the last, and takes all that
// arrived before.
//
// What the tables drop for the time that has passed, and not for a message, is a record of its own (Appender.DropStale).
//
// What the station holds ends with it: its starts are kept in the metadata of the stream of messages, also of runs in
// which a client did not come.
//
// # What expires
//
// Messages are kept for a time, and what a router that is quiet for longer said at first goes. So the station has checkpoints of
// all its peers made before that (Checkpoint); an answer that would need what has gone, and has no checkpoint, is Incomplete.
//
// # What waits
//
// Blocks that have to wait for more than a tenth of a second are written, as they are, to files beside the embedded
// server's (spill.go), which cost nothing while storing keeps up. So a killed process loses the open blocks, a second of
// messages at most, and not what its queue held; the next run stores what it finds there first. A file beside them is told all
// the time up to when all is known, so that a session without an end, of a station that was killed, ends then (store.go).
//
// # What cannot be kept
//
// The queue is bounded. What does not fit is a Gap: counted with its times, told by Options.OnGap, and written into the
// header of the client's next block, so that it is known after a restart, too. What waits in memory alone because nothing can
// be written is named in a file that has its room already (unkept.go), and a Gap of the next run if this one ends. A block that cannot be read, or that the
// store has lost (damage.go), is counted and named, and the rest is read.
//
// # What the package never does
//
// It does not know the clients, listeners or the live tables: IDs are given to it, and peers are known by what their
// headers say (PeerKey), as the numbers that a client gives its peers do not outlive a run of the station.
package archive
