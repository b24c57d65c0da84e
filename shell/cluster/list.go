package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"bmp/proto/carrier"
)

// Found is a station that was looked for.
type Found struct {
	carrier.Service      // Station alone, of one that is away
	Away            bool // it has an archive in the cluster and does not answer
}

// How long answers are waited for: as long as the round trip that a moment ago went to the server, several times, and not
// longer than somebody at a prompt would.
const (
	listQuiet = 300 * time.Millisecond
	listMost  = 3 * time.Second
)

// List finds the stations of a cluster, by name: those that answer, and those that only their archive tells of, where the
// cluster lets that be seen. Two of one name are both in it.
func List(ctx context.Context, place Place) ([]Found, error) {
	denied := make(chan error, 1)
	nc, err := connect(ctx, place, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if strings.Contains(err.Error(), "$SRV.INFO") || strings.Contains(err.Error(), "Subscription") {
			select {
			case denied <- err:
			default:
			}
		}
	}))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, listMost)
	defer cancel()
	quiet := listQuiet
	if rtt, err := nc.RTT(); err == nil {
		quiet = max(quiet, 4*rtt)
	}
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	info, err := micro.ControlSubject(micro.InfoVerb, carrier.ServiceName, "")
	if err != nil {
		return nil, err
	}
	if err := nc.PublishRequest(info, inbox, nil); err != nil {
		return nil, err
	}
	known := archived(ctx, nc, quiet)
	var list []Found
	missing := slices.Clone(known)
	for last := time.Now(); ; {
		// Nobody is waited for when all that are known have answered; a new one may have no archive that is seen.
		wait := quiet
		if len(known) > 0 && len(missing) == 0 {
			wait = quiet / 4
		}
		m, err := sub.NextMsg(max(time.Until(last.Add(wait)), time.Millisecond))
		if err != nil || ctx.Err() != nil {
			break
		}
		if m.Header.Get("Status") == noResponders {
			break
		}
		var i micro.Info
		if json.Unmarshal(m.Data, &i) != nil || i.Metadata["station"] == "" {
			continue // another service of the name
		}
		last = time.Now()
		s := carrier.ServiceOf(i.Metadata)
		if !slices.ContainsFunc(list, func(f Found) bool { return f.Instance == s.Instance }) {
			list = append(list, Found{Service: s})
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == s.Station })
	}
	if err := context.Cause(ctx); err != nil && len(list) == 0 && ctx.Err() == context.Canceled {
		return nil, err
	}
	select {
	case err := <-denied:
		return nil, err // who may not ask does not know that nobody is there
	default:
	}
	for _, name := range missing {
		list = append(list, Found{Service: carrier.Service{Station: name}, Away: true})
	}
	slices.SortFunc(list, func(a, b Found) int { return strings.Compare(a.Station+"\x00"+a.Since, b.Station+"\x00"+b.Since) })
	return list, nil
}

// archived are the names of the stations that have an archive in the cluster; none where that cannot be seen.
func archived(ctx context.Context, nc *nats.Conn, most time.Duration) []string {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*most)
	defer cancel()
	var names []string
	for s := range js.ListStreams(ctx, jetstream.WithStreamListSubject(carrier.ArchiveSubjects)).Info() {
		if name := s.Config.Metadata[carrier.ArchiveStation]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
