// Package cluster is the shell's way to stations of a NATS cluster: it finds them, and opens consoles on them. What goes
// over the cluster is written in proto/carrier.
//
// Each console has a connection of its own to the cluster, which ends with it. A server of the cluster that dies is not the
// end of a console: the connection is made to another one, and what was lost is sent again.
package cluster
