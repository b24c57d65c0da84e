// Package listen owns the sockets between a BMP station and its routers: which address, in which network namespace,
// bound to which VRF device, signed (RFC 2385) or encrypted by which keys, and who may connect. It ends where there is a
// connection, accepted or dialled: it never reads a byte of BMP and knows no client.
//
// A listener is written the same way on the command line, in a configuration and at the prompt:
//
//	[NETNS/][ADDR:]PORT [vrf DEV] [allow PREFIX]... [limit N] [md5 KEY | md5 file F] [tls CERT KEY] [ca FILE]
//
//	1111                                    every address, IPv4 and IPv6, of the station's own namespace
//	10.0.0.1:1111 allow 10.0.0.0/8          one address, routers of one network only
//	[2001:db8::1]:1111                      IPv6
//	blue/1111 vrf customers limit 100       in the namespace blue, through one VRF device, at most 100 sessions
//
// and so is a passive router that the station dials (dial.go): [NETNS/]ADDR:PORT [netns N] [vrf DEV] [md5 ...] [tls] [ca FILE].
//
// A socket belongs for ever to the network namespace of the thread that created it, so a listener in another
// namespace costs one visit: a thread of its own enters the namespace, creates and binds the socket, and goes back
// (namespace.go). The station stays where it is, and accepting needs no thread in the namespace. A thread that cannot
// be put back is never used again.
//
// Accept never fails for trouble that passes: when the process has run out of descriptors the listener says so once,
// backs off, and goes on when it can.
package listen
