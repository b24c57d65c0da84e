// Package rib is the route store: every Adj-RIB-In, Adj-RIB-Out and Loc-RIB that the station's clients tell of. It
// holds a route in about 17 bytes when a hundred full tables are loaded, in 20 when ten thousand peers have a
// thousand routes each, and knows nothing of BGP but how keys of prefixes are built: keys and attribute records are
// bytes that package bgp makes and explains. It never decodes an attribute, never writes to a disk, and never calls
// anybody but the callbacks it was given.
//
//	client session ── Writer.Announce, Withdraw ──> batch ── Flush ──> Table          one goroutine per session
//	command        ── Store.Query, Count ──> batches of Route                         any goroutine
//	Store          ── Sweep ──> what no table holds any more is free again            one goroutine, now and then
//
// # Layout
//
// A route is a cell of 8 bytes. What it belongs to, its prefix, is a number that all tables of the family share;
// what it says, its attributes, is the number of a record that all tables of all families share.
//
//	dict (one per family)                       Table (one per peer, view, family)
//	  slots: key ──> number                       dense: array of pages of 256 cells, by number
//	  columns, by number:                         tree:  leaves of {number [path ID], cell}, in order
//	    key                                              for few of the prefixes, and for ADD-PATH
//	    time of last change                       │
//	    presence: the sparse tables               │ cell = record 32 | generation 1 | time 31
//	      that may hold it                        ▼
//	  index: numbers in the order of keys       attrs
//	                                              slots: hash of the bytes ──> record
//	                                              arena: records {length, bytes}, one after the other
//
// All of it lies in chunks of 2 MiB from the system (mem.go), in pages of 2 KiB and 256 bytes (slab.go) and in
// extents of 128 KiB (arena.go), where the garbage collector never looks: on the Go heap are the tables' heads and
// directories.
//
//	mem.go         chunks, huge pages, the memory bound
//	slab.go        pages of fixed size; quarantine.go keeps those that somebody may still look at
//	arena.go       byte records of any size
//	slots.go       hash tables of pages, found in without a lock
//	attrs.go       attribute records, each once
//	dict.go        prefixes, each once; index.go orders them; presence.go says which sparse tables have one
//	table.go       a table and its dense form; tree.go its sparse form
//	writer.go      batches of announcements and withdrawals
//	query.go       questions; probe.go asks many tables for one prefix, walk.go goes through tables in the order of
//	               memory, gather.go sorts what a walk with a filter finds; memo.go remembers which records pass it
//	sweep.go       mark and sweep in place of reference counts; mark.go the marks; pin.go which queries run
//	compact.go     what becomes of the holes that a sweep leaves among the records
//
// # Concurrency
//
// A session writes its tables through one Writer. A batch is applied in stages, each a loop over all its
// operations, so that the memory accesses of different routes overlap; it spans tables, so that interleaved peers
// are batched too. A Table has a mutex that writers hold; readers take none: a cell is one word, and what has more
// words (a leaf, a record) is not changed once it can be seen, but replaced. Only behind the last entry of a leaf more
// are written, and counted when they are whole; and the slots of a page, a word each, come and go where they are.
//
// Everybody holds Store.guard shared while looking: for a batch or for a chunk of a query, a millisecond at most.
// What is replaced goes into quarantine; when somebody has held the guard exclusively for a moment, nobody can be
// looking at it any more, and it is free. That is all there is for epochs. A peer that goes down is one pointer
// stored, whatever the number of its routes.
//
// Nothing counts references. A sweep marks what the cells of all tables hold and frees the rest, while sessions go
// on announcing: every number a writer obtains while a sweep runs is marked by the writer. sweep.go has the five
// steps. When it is quiet, records move, so that what changes once took does not stay with the process: compact.go
// has the steps.
//
// # Time
//
// A route's time is when it was first announced with its present attributes, in eighths of a second since
// Options.Epoch. Equal announcements keep it, over a reconnection too: BeginRefresh flips the table's generation,
// an equal announcement brings the route into the new one, and SweepStale drops what is left of the old.
//
// # Bounds
//
// 67 million prefixes in a family, 16 GiB of attribute records, 64 GiB of cells, records and keys of up to 65,500
// bytes, and Options.MaxBytes. Beyond them a route is refused: counted, told to Writer.Hook, not held, and no error
// of anything else.
package rib
