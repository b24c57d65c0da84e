// Package control is BMPCTL/1, the line-oriented text protocol between shell and
// station: both halves, so that what one says the other understands.
//
//	C: show clients
//	S: 101-ID    Address:Port            Uptime ...
//	S: 100- 1   1.1.1.1:12234          00:03:11 ...
//	S: 600+[05:12:02.211] BMP-1111-ADJCHANGE: Client 10.1.0.1:22011 UP
//	S: 200 1 rows
//
// A line of the station is a three-digit code, a separator and the text: "-" more of this reply
// follows, " " the verdict, "+" an event that belongs to no reply.
//
// Through a NATS cluster the same bytes go in frames (package proto/carrier).
//
// Events do not say which subscription they are of, unless `hello 1 ids=on` asked for it: then their
// text begins with its ID, `600+id=7 05:12:04.501 ...`.
//
// Server runs connections: it reads ahead so that a cancel is seen at once, matches lines with the
// handler's tree, keeps roles, confirmation, subscriptions and limits, and feeds what the handler
// writes through the filters. It does not listen, does not know what a client or a route is, and
// never logs. Client is the other end.
package control
