// Package bmp reads and writes the BGP Monitoring Protocol: framing, the Per-Peer Header, the messages and their TLVs.
//
// RFC 7854 with RFC 8671 (Adj-RIB-Out), RFC 9069 (Loc-RIB), RFC 9736 (Peer Up TLVs) and RFC 9972 (statistics) is version 3;
// version 4 is draft-ietf-grow-bmp-tlv; versions 1 and 2 are what came before the RFC. BGP messages inside stay bytes: package
// bgp reads them. What there is no code point for is kept raw, as an [Unknown] message or a [TLV].
//
//	version 3, 4:  version 1 | length 4 | type 1 | [Per-Peer Header 42] | body        length is of the whole message
//	version 1, 2:  version 1 | type 1            |  Per-Peer Header 42  | body        no length: the body tells it
//
//	Per-Peer Header:  type 1 | flags 1 | distinguisher 8 | address 16 | AS 4 | BGP ID 4 | seconds 4 | microseconds 4
//	TLV:              type 2 | length 2 | value              version 4: type is E bit and 15 bits, E puts a PEN before value
//	TLV of a version 4 Route Monitoring:   type 2 | length 2 | G bit and index 15 bits | [PEN 4] | value
//
// A [Reader] cuts a stream into frames, a [Parser] makes a [Message] of a frame; both are one session's, for one goroutine,
// and reuse what they return: a frame lives until the next Next, a message until the next Parse, and both alias the
// Reader's buffer. Route Monitoring goes through both without allocating.
//
// A length is bounded before anything is sliced or allocated by it. A stream whose framing is lost ends with a
// [*FramingError]; a body that is malformed is a [*wire.Error] of Parse, and the stream goes on. Nothing here logs, keeps
// state of peers, or guesses how a BGP message is coded.
package bmp
