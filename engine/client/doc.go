// Package client is one monitored router: the BMP session loop, the peer table, the counters, and what is kept of
// the messages that came.
//
//	conn.Read -> bmp.Reader.Next -> bmp.Parser.Parse -> Client.apply -> rib.Writer, peers, counters, ring, events
//
// A Client is a router and outlives its sessions; a session is one TCP connection of it and has one goroutine, which
// reads, decodes and applies everything that router says, alone and in the order in which it came. While it works
// through what one read brought it holds Client.mu; it gives the lock back, with the rib writer's batch flushed,
// before every read that could block. So a question sees a client between two batches, never half a message, and
// costs the session no lock per message.
//
//	session goroutine                                      anybody else
//	  lock
//	  (frame, parse, apply)* until the buffer is empty
//	  flush the rib writer, unlock                          lock; copy out a snapshot; unlock
//	  read (with the deadline of the next due timer)
//	  lock, time.Now once ...
//
// What a session must do later (a silence to report, stale routes to drop, peer changes to sum up) it does itself,
// woken by its read deadline: there are no timers beside it. A client that is down has no session; its Expire is
// called by the station.
//
// Before a read a session passes Env.Gate, which is shut while the station has no memory for what would come. What is due goes
// by a clock of the session that nobody can set (Session.clock); what is shown has the time of day.
//
// # Identity
//
// A peer is keyed by {peer type, peer distinguisher, peer address}, and for Loc-RIB instance peers the BGP ID too.
// The L, O, A and F flags are not part of the key: they choose the view and the coding. Peers have small IDs that are
// never given twice on a client. A rib table belongs to {client, peer, view, family}.
//
// # Coding
//
// Whether an NLRI carries a path identifier, and how wide AS numbers are, is not in the bytes. Both start as
// negotiated (the OPENs of the Peer Up; the A flag of the per-peer header). A message that can be read one way alone
// is read that way and, where that is not the negotiated one, votes; three votes switch that peer, view and family
// (voting.go). Nothing else is guessed.
//
// # What the package never does
//
// It does not accept connections, give IDs, or know other clients (package engine does), and it renders nothing: the
// Info types of info.go are snapshots, plain values made under the lock, for package command to write.
package client
