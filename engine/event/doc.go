// Package event is what happened on a station: clients and peers that came and went, messages that could not be
// read, identities that collided, commands that changed something; and, only while somebody follows a client, its
// decoded messages and route changes.
//
// An event goes three ways, and none of them can hold up the BMP session that published it:
//
//	             +-> counts      by kind and client, for `show events`
//	Publish -----+-> log         ring of the newest console lines, for `show log`
//	             +-> fan-out     to subscriptions: consoles, `debug`, the station's log file
//
// A subscription has a bounded queue. An event that does not fit is dropped for that subscription alone, and the
// subscription counts it and says so: nothing is dropped silently.
//
// A console line and a thing that happened are not always the same: 2300 peers of one client that come up within a
// second are 2300 things that happened (each is counted, and followed by those who debug the client) and one console
// line. Hence Event.Live and Event.Console.
//
// Messages and route changes are dear to make. Wants says, by one atomic load where nobody follows anything, whether
// somebody does; a session asks once for each batch it reads.
//
// What the package never does: it knows no state, decodes nothing, and writes to no socket or file.
package event
