// Package cluster makes a station part of a NATS cluster, where shells find it and ask it. What goes over the cluster is
// written in proto/carrier.
//
//	Connect      the station's name is claimed: refused where another station has it
//	Open         it is found (micro service "bmp"), and answers
//	Accept       consoles that were opened through the cluster, to be served like those of any listener
//	Close, Leave it is not found any more; the connection is closed
//
// The rights of who asks are the broker's matter: whoever may publish to a station's subjects may ask it. NATS does not say
// to the station who that is, so that nobody is more than a viewer here, and secrets are not taken.
//
//	station    publish _INBOX.>, $JS.>, bmp.NAME.>              subscribe bmp.NAME.>, $SRV.>, _INBOX.>
//	shell      publish bmp.*.ctl, bmp.*.console.>, $SRV.INFO.bmp, bmp.*.console, and to know of stations that are
//	           away $JS.API.STREAM.LIST                         subscribe _INBOX.>
//
// Two stations of one name would write one archive. The second is refused when it starts; where they could not see each
// other then, each says so as soon as it sees the other.
//
// While the cluster is away nothing is asked through it and nothing else changes: the connection is made again for as long
// as the station runs. The package knows nothing of clients, routes or commands.
package cluster
