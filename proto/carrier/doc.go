// Package carrier carries byte streams, like those of BMPCTL/1, over a broker of messages: NATS. It is what stations and
// shells of a cluster agree on; neither NATS nor the protocol carried is known here.
//
//	subject                    who listens      what
//	$SRV.INFO.bmp              every station    NATS micro service "bmp": one answer each, metadata as in Service
//	bmp.STATION.here           the station      who it is, as JSON (Service); nobody listens: the name is free
//	bmp.STATION.ctl            the station      one request line; the lines of its reply come back in order
//	bmp.STATION.console        the station      opens a console; the reply subject is where its frames go
//	bmp.STATION.console.ID     the station      frames of that console
//
// # One request
//
// The reply to a line sent to bmp.STATION.ctl is one or more messages of whole lines, as BMPCTL/1 has them; the last one has
// the header Bmp-Code with the verdict's code. Each names a reply subject: whatever comes there cancels the request, and so
// does that nobody listens for the reply any more. It ends after 16 MiB, and follows nothing: for both there are consoles.
//
// # A console
//
// A stream is two directions of bytes, carried in frames: messages of up to 32 KiB, the bytes being the payload.
//
//	Bmp-At: 4096      the place of the payload's first byte in its direction
//	Bmp-Got: 120      bytes of the other direction that arrived so far, its end being one more
//	Bmp-Room: 262144  how many more may be sent
//	Bmp-End: bye      no frame follows but to repeat; behind this payload is the end, and nothing is read any more
//	Bmp-Who: al@host  in the frame that opens alone: who asks, by his own word
//
// The frame that opens has no payload. Each frame's reply subject is where the other end's frames go.
//
// A broker loses what is under way when a server of it dies, and does not say so. What has not arrived is sent again, from
// the first byte that is missing, so that a stream outlives the server it went through. When nothing comes for longer than
// that takes, or nobody listens at the other end, the stream is over.
package carrier
