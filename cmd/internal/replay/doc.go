// Package replay reads recorded routers and plays them into a BMP station: raw BMP streams, packet captures (pcap and
// pcapng) of BMP sessions, and MRT files (RFC 6396), whose routes it puts into BMP messages as one router would send them.
// Each may be packed with gzip, zstd or bzip2.
//
//	file -> [unpack] -> BMP:  message by message, unchanged
//	                    pcap: packets -> TCP streams that begin like BMP -> their bytes, one stream for each connection
//	                    MRT:  records -> Initiation, Peer Ups with made-up OPENs, Route Monitoring, Peer Downs, End-of-RIB
//	     -> Event{stream, time, bytes} -> Play -> a TCP connection for each stream
//
// It holds no more of a file than one record, or the packets that a gap in a TCP stream keeps waiting; a file of any size
// is played in the same memory. What cannot be used is counted ([File.Skipped]); where a file is cut short the error names the
// place, after everything before it was played.
package replay
