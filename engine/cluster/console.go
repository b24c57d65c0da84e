package cluster

import (
	"cmp"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"bmp/proto/carrier"
)

// noResponders is the status of a message by which a server says that nobody listens.
const noResponders = "503"

// open opens a console for who asks for one.
func (m *Member) open(req micro.Request) {
	first, err := carrier.ParseFrame(req.Headers(), req.Data())
	if err != nil || req.Reply() == "" {
		_ = req.Error("400", fmt.Sprintf("no console is opened so: %v", err), nil) // whom to tell is not known
		return
	}
	to, own := req.Reply(), carrier.ConsoleSubject(m.o.Station)+"."+newID()
	var c *carrier.Conn
	made := make(chan struct{})
	sub, err := m.nc.Subscribe(own, func(msg *nats.Msg) {
		<-made
		receive(c, msg)
	})
	if err != nil {
		_ = req.Error("400", err.Error(), nil)
		return
	}
	who := "nats " + cmp.Or(first.Who, "somebody")
	o := m.o.carrier
	o.Local, o.Remote = own, to
	m.running.Add(1)
	c = carrier.New(o, first.Room, func(f carrier.Frame) error {
		return m.nc.PublishMsg(&nats.Msg{Subject: to, Reply: own, Header: f.Header(), Data: f.Data})
	}, func() {
		_ = sub.Unsubscribe() // fails only without a connection, and then nothing comes anyway
		m.running.Done()
	})
	close(made)
	go func() {
		if !m.hand(&Console{Conn: c, Who: who}) {
			c.Close()
		}
	}()
}

// receive gives a message to the stream it belongs to. What is no frame is somebody else's mistake.
func receive(c *carrier.Conn, msg *nats.Msg) {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == noResponders {
		c.Unreachable()
		return
	}
	if f, err := carrier.ParseFrame(msg.Header, msg.Data); err == nil {
		c.Receive(f)
	}
}
